"""COCO panoptic (Lin et al. 2014, Kirillov et al. 2019): single images with 133 classes, as videos of one frame.

    raw/annotations/panoptic_train2017.json, panoptic_val2017.json      `annotations` may be missing as a level
    raw/annotations/panoptic_train2017/000000000009.png                 colours are ids, as in VIPSeg's conversion
    raw/train2017/000000000009.jpg, raw/val2017/

It is there to train on: by default a training set in which the novel classes of the split are void. Ids of categories
are COCO's, which have gaps. Crowds stay crowds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.formats.faults import Faults
from ovsbench.benchmark.formats.frame_names import stems
from ovsbench.benchmark.formats.vipseg_json import read_frame, read_row, some
from ovsbench.benchmark.manifest import Benchmark, safe_name
from ovsbench.benchmark.storage.big_json import Span, elements, read_span
from ovsbench.benchmark.storage.folder_listing import IMAGES, MASKS, files_in
from ovsbench.benchmark.types import PanopticFrame, Rules, Vocabulary
from ovsbench.data_prep.convert import RawVideo
from ovsbench.data_prep.defects import Defects, only_whole
from ovsbench.data_prep.layouts import find_layout
from ovsbench.data_prep.listing import first_folder, image_folder
from ovsbench.data_prep.official import benchmark_name, official_classes, vocabulary_of
from ovsbench.data_prep.release import Watch, Work, source_of, write_release

SPLIT = "coco-panoptic-gkc"


@dataclass(frozen=True)
class _Mask:
    """The label image of one picture, and where the JSON speaks of it.

    Attributes:
        json: the file.
        span: the place in it.
        path: of the label image.
        size: (height, width).
        categories: ids that the JSON may use.
    """

    json: Path
    span: Span
    path: Path
    size: tuple[int, int]
    categories: frozenset[int]

    def __call__(self, index: int, defects: Defects) -> PanopticFrame:
        row = read_row(read_span(self.json, self.span), str(self.json))
        frame = read_frame(
            self.path,
            self.size,
            row,
            self.categories,
            lambda ids: defects.note(f"{self.path}: the JSON lacks ids {some(ids)}; these pixels are void"),
        )
        return PanopticFrame(frame.ids, dict(sorted(frame.segments.items())))  # no order in an image without a video


def build_coco_panoptic(
    raw: str | Path,
    folder: str | Path,
    *,
    subset: str = "train",
    split: str | Path | None = SPLIT,
    variant: str | None = "ignore",
    images: str | Path | None = None,
    **work: Unpack[Work],
) -> Benchmark:
    """Turns COCO's panoptic labels into a training set, or a benchmark; images stay where they are.

    Args:
        raw: the folder in the layout above.
        folder: the benchmark folder to write.
        subset: train or val.
        split: which classes are novel; None for no class.
        variant: how a training set hides novel classes, see `recipe_of`; None for a benchmark to score on.
        images: folder of the images, if not in the raw folder.
        work: see `Work`.

    Raises:
        DataError: the raw folder has another layout, or something in it cannot be read; all of it told at once.
    """
    raw = Path(raw).resolve()
    find_layout(raw, "coco-panoptic")
    watch = Watch(**work)
    defects, faults = watch.defects, watch.faults
    classes = official_classes("coco-panoptic")
    vocabulary = vocabulary_of(split, ["coco-panoptic"], classes)
    path = _find(raw, subset)
    image_root = image_folder(images) or first_folder(raw, (f"{subset}2017", "images", subset))
    if image_root is None:
        raise DataError(f"{raw / f'{subset}2017'}: expected COCO's images, found no folder. Give it as --images")
    return write_release(
        folder,
        _pictures(path, image_root, classes, defects, faults),
        watch,
        name=benchmark_name("coco-panoptic", split, subset, variant),
        source=source_of(
            f"COCO 2017 panoptic, {subset}", "COCO: annotations CC BY 4.0, images of their owners", variant
        ),
        rules=Rules(vpq_windows=(1,)),
        vocabulary=vocabulary,
        image_root=image_root,
        variant=variant,
        what=f"COCO panoptic {subset} in {raw}",
    )


def _find(raw: Path, subset: str) -> Path:
    names = [f"{level}panoptic_{subset}{year}.json" for year in ("2017", "") for level in ("annotations/", "")]
    found = next((raw / name for name in names if (raw / name).is_file()), None)
    if found is None:
        raise DataError(f"{raw / names[0]}: expected the labels of the subset {subset}, found none. Choose --subset")
    return found


def _pictures(path: Path, image_root: Path, classes: Vocabulary, defects: Defects, faults: Faults) -> list[RawVideo]:
    """A video of one frame for every annotation, by name; sizes are those of `images` in the JSON."""
    facts: dict[Any, tuple[str, tuple[int, int]]] = {}
    spans: dict[Any, Span] = {}
    own: dict[int, str] = {}
    try:
        for element in elements(path, "COCO's panoptic labels"):
            if element.key == "images":
                image = element.value
                facts[image["id"]] = (str(image["file_name"]), (int(image["height"]), int(image["width"])))
            elif element.key == "annotations":
                key = element.value["image_id"]
                if key in spans:
                    faults.add(f"{path}: image {key} has two annotations. Keep one")
                spans[key] = element.span
            elif element.key == "categories":
                own[int(element.value["id"])] = str(element.value["name"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: expected images with id, file_name, height and width, annotations with image_id and categories "
            f"with id and name, got an error at {error!r}. Take the panoptic labels of COCO"
        ) from error
    names = {category.id: category.name for category in classes}
    for number, name in own.items():
        if names.get(number) != name:
            raise DataError(
                f"{path}: category {number} is {name!r}, in COCO panoptic it is {names.get(number, 'no class')!r}. "
                "Take the panoptic labels of COCO"
            )
    for key, found in (("images", facts), ("annotations", spans)):
        if not found:
            raise DataError(f"{path}: expected a list `{key}` with something in it, found none. Download it again")
    masks, images = files_in(path.with_suffix(""), MASKS), files_in(image_root, IMAGES)
    videos = []
    for key in sorted(spans, key=str):
        with faults.collecting():
            if key not in facts:
                raise DataError(f"{path}: annotation of image {key}, which `images` lacks. Download it again")
            name, size = facts[key]
            stem = safe_name(stems([name])[0])
            if only_whole(stem, [stem], images=images, masks=masks, defects=defects):
                mask = path.with_suffix("") / masks[stem].name
                read = _Mask(path, spans[key], mask, size, classes.ids)
                videos.append(RawVideo(stem, size, (images[stem].name,), read, (mask,)))
    return sorted(videos, key=lambda video: video.id)
