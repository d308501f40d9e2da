"""VIPSeg (Miao et al., CVPR 2022): 124 classes on every pixel of everyday video, 58 of them objects with tracks.

    original   raw/train.txt, val.txt, test.txt                a video a line
               raw/panomasks/<video>/<frame>.png               class codes, see `CodedMasks`
               raw/imgs/<video>/<frame>.jpg
    720p       raw/panoptic_gt_VIPSeg_val.json                 what the official conversion makes of it
               raw/panomasksRGB/<video>/<frame>.png            colours are ids, see formats/vipseg_layout.py
               raw/images/<video>/<frame>.jpg

Both give the same benchmark: labels of the original are brought to 720 lines as the conversion does, its images are
brought to that size when they are read, and tracks are numbered anew. Images may be missing where nothing is run on
them. The labels of `test` are not public. Annotations were refined in June 2022; the classes did not change.

A file in the JSON layout with other classes than VIPSeg's becomes a benchmark of those classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from ovsbench.benchmark.formats.faults import Faults
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.storage.label_png import png_size
from ovsbench.benchmark.types import Rules
from ovsbench.data_prep.convert import RawVideo, recipe_of
from ovsbench.data_prep.defects import Defects, whole_pairs
from ovsbench.data_prep.layouts import find_layout
from ovsbench.data_prep.listing import first_folder, image_folder, read_list
from ovsbench.data_prep.official import benchmark_name, official_classes, vocabulary_of
from ovsbench.data_prep.release import Watch, Work, source_of, write_release
from ovsbench.data_prep.vipseg_labels import Labels, read_labels
from ovsbench.data_prep.vipseg_masks import CodedMasks, ColouredMasks

SPLIT = "vipseg-gkc"


def build_vipseg(
    raw: str | Path,
    folder: str | Path,
    *,
    subset: str = "val",
    split: str | Path | None = SPLIT,
    variant: str | None = None,
    layout: str | None = None,
    height: int = 720,
    images: str | Path | None = None,
    **work: Unpack[Work],
) -> Benchmark:
    """Turns labels of VIPSeg into a benchmark folder; images stay where they are.

    Args:
        raw: the folder in one of the layouts above.
        folder: the benchmark folder to write.
        subset: train or val.
        split: which classes are novel; None for no class.
        variant: None for a benchmark to score on, else how a training set hides novel classes, see `recipe_of`.
        layout: `original` or `720p`; found by itself if None.
        height: that labels of the original layout are brought to; 0 to keep theirs.
        images: folder of <video>/<frame>.jpg, if not in the raw folder.
        work: see `Work`.

    Raises:
        DataError: the raw folder has another layout, or something in it cannot be read; all of it told at once.
    """
    raw = Path(raw).resolve()
    found = find_layout(raw, "vipseg", layout)
    watch = Watch(**work)
    defects, faults = watch.defects, watch.faults
    image_root = image_folder(images) or first_folder(raw, ("images", "imgs"))
    classes = official_classes("vipseg")
    labels = None
    if found.name == "720p":
        labels = read_labels(raw, subset, classes, defects, faults)
        videos = _converted(raw, labels, image_root, defects, faults)
    else:
        videos = _original(raw, subset, height, image_root, defects, faults)
    official = labels is None or labels.official
    vocabulary = vocabulary_of(split, ["vipseg"], classes) if labels is None or official else labels.vocabulary
    licence = "VIPSeg (Miao et al. 2022): annotations CC BY-NC-SA 4.0, videos of their owners"
    return write_release(
        folder,
        videos,
        watch,
        name=benchmark_name("vipseg", split if official else None, subset, variant),
        source=source_of(f"VIPSeg, list {subset}", licence, variant),
        rules=Rules(),
        vocabulary=vocabulary,
        image_root=image_root or raw / "imgs",
        variant=variant,
        what=f"VIPSeg {subset} in {raw}",
        recipe=recipe_of(vocabulary, variant, numbered=official),
        resize_images=labels is None,
    )


def _original(
    raw: Path, subset: str, height: int, image_root: Path | None, defects: Defects, faults: Faults
) -> list[RawVideo]:
    videos = []
    for video in sorted(read_list(raw / f"{subset}.txt")):
        with faults.collecting():
            frames, paths = whole_pairs(video, raw / "panomasks" / video, image_root, video, None, defects)
            if frames:
                full = png_size(paths[0])
                size = (height, height * full[1] // full[0]) if height else full
                videos.append(RawVideo(video, size, frames, CodedMasks(paths, full, size), paths))
    return videos


def _converted(raw: Path, labels: Labels, image_root: Path | None, defects: Defects, faults: Faults) -> list[RawVideo]:
    videos = []
    for video, listed in sorted(labels.videos.items()):
        with faults.collecting():
            masks = raw / "panomasksRGB" / video
            frames, paths = whole_pairs(video, masks, image_root, video, listed.stems, defects)
            if frames:
                size = png_size(paths[0])
                read = ColouredMasks(labels.path, listed.span, paths, size, labels.categories)
                videos.append(RawVideo(video, size, frames, read, (labels.path, *paths)))
    return videos
