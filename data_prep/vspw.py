"""VSPW (Miao et al., CVPR 2021): 124 classes on every pixel of everyday video, no single objects.

    raw/train.txt, val.txt, test.txt             a video a line
    raw/data/<video>/mask/<frame>.png            numbers of classes, see `ovsbench.benchmark.formats.vspw_layout`
    raw/data/<video>/origin/<frame>.jpg          images; they may be missing where nothing is run on them

The level `data` may be missing. The release at 480 lines and the one at full size lie alike; each gives a benchmark of
its own size. The labels of `test` are not public. Known of the release: frames whose image or mask is missing (the one
at 480 lines has 250,412 of 251,633), and images without a byte in video 988_f_Xvy_DCPt8.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.formats import LabelForm
from ovsbench.benchmark.formats.faults import Faults
from ovsbench.benchmark.formats.vspw_layout import check_form, look_shifted, read_frame
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.storage.label_png import png_size
from ovsbench.benchmark.types import PanopticFrame, Rules, Vocabulary
from ovsbench.data_prep.convert import RawVideo
from ovsbench.data_prep.defects import Defects, whole_pairs
from ovsbench.data_prep.layouts import find_layout
from ovsbench.data_prep.listing import read_list
from ovsbench.data_prep.official import benchmark_name, official_classes, vocabulary_of
from ovsbench.data_prep.release import Watch, Work, source_of, write_release

SPLIT = "vspw-ov2vss"


@dataclass(frozen=True)
class _Masks:
    """The label images of a video.

    Attributes:
        paths: of the frames.
        size: (height, width) of each.
        form: how classes are numbered.
    """

    paths: tuple[Path, ...]
    size: tuple[int, int]
    form: LabelForm

    def __call__(self, index: int, defects: Defects) -> PanopticFrame:
        return read_frame(self.paths[index], self.size, self.form, is_label=True)


def build_vspw(
    raw: str | Path,
    folder: str | Path,
    *,
    subset: str = "val",
    split: str | Path | None = SPLIT,
    variant: str | None = None,
    label_form: LabelForm | None = None,
    **work: Unpack[Work],
) -> Benchmark:
    """Turns labels of VSPW into a benchmark folder; images stay where they are.

    Args:
        raw: the folder in the layout above.
        folder: the benchmark folder to write.
        subset: train or val.
        split: which classes are novel, of VSPW or of VIPSeg, which has the same; None for no class.
        variant: None for a benchmark to score on, else how a training set hides novel classes, see `recipe_of`.
        label_form: how classes are numbered; None for released numbers, with a note where labels look shifted.
        work: see `Work`.

    Raises:
        DataError: the raw folder has another layout, or something in it cannot be read; all of it told at once.
    """
    raw = Path(raw).resolve()
    check_form(label_form or "released")
    find_layout(raw, "vspw")
    watch = Watch(**work)
    defects, faults = watch.defects, watch.faults
    root = raw / "data" if (raw / "data").is_dir() else raw
    found = vocabulary_of(split, ("vspw", "vipseg"), official_classes("vipseg"), kinds=False)
    vocabulary = Vocabulary(tuple(replace(category, is_thing=False) for category in found))
    videos = _videos(root, read_list(raw / f"{subset}.txt"), label_form or "released", defects, faults)
    if label_form is None:
        _note_shifted(videos, defects)
    return write_release(
        folder,
        videos,
        watch,
        name=benchmark_name("vspw", split, subset, variant),
        source=source_of(
            f"VSPW, list {subset}", "VSPW (Miao et al. 2021): for research use, videos of their owners", variant
        ),
        rules=Rules(task="semantic"),
        vocabulary=vocabulary,
        image_root=root,
        variant=variant,
        what=f"VSPW {subset} in {raw}",
    )


def _note_shifted(videos: list[RawVideo], defects: Defects) -> None:
    """Notes labels that look shifted, of which every class would be taken for its neighbour.

    The first frame of every video is looked at, and all frames only if those look shifted.
    """
    first = [path for video in videos for path in video.files[:1]]
    rest = (path for video in videos for path in video.files[1:])
    with contextlib.suppress(DataError):  # a file that cannot be read is told of with all others
        if look_shifted(first) and look_shifted([*first, *rest]):
            defects.note(
                "the labels hold 0 and 255 and nowhere 124, as shifted numbers do (classes 0 to 123); they are read as "
                "released ones (1 to 124, void 0), and if they are not, no score is true: --label-form shifted. "
                "--label-form released ends this note"
            )


def _videos(root: Path, names: list[str], form: LabelForm, defects: Defects, faults: Faults) -> list[RawVideo]:
    videos = []
    with_images = any((root / video / "origin").is_dir() for video in names)
    for video in names:
        with faults.collecting():
            image_root = root if with_images else None
            frames, paths = whole_pairs(video, root / video / "mask", image_root, f"{video}/origin", None, defects)
            if frames:
                size = png_size(paths[0])
                videos.append(RawVideo(video, size, frames, _Masks(paths, size, form), paths))
    return videos
