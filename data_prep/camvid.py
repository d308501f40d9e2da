"""CamVid: street video of 2007 with a class on every pixel, no single objects; two layouts, which differ in classes.

    segnet    raw/train.txt, val.txt, test.txt               a line a frame: image path, label path
              raw/train/0001TP_006690.png                    images; JPEG does as well
              raw/trainannot/0001TP_006690.png               labels, one channel: class 0 to 10, 11 is void
    colour    raw/701_StillsRaw_full/0001TP_006690.png       images; `images`, or `train`, `val`, `test` do as well
              raw/LabeledApproved_full/0001TP_006690_L.png   colours of 31 classes, black is void; likewise `labels`, or
                                                             `train_labels`, `val_labels`, `test_labels`
              raw/val.txt                                    if wanted: an image a line; without it the subset is `all`

A video is the part of a recording (the file name up to its last `_`) that a list holds, in the order of the frame
numbers. Recordings have 30 frames a second, of which mostly every thirtieth has a label; the list `val` holds every
second frame of one recording.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from statistics import median_low
from typing import Unpack, get_args

import numpy as np

from ovsbench.benchmark.errors import DataError, did_you_mean
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.progress import Progress
from ovsbench.benchmark.storage.files import json_digest
from ovsbench.benchmark.storage.folder_listing import IMAGES
from ovsbench.benchmark.storage.image_files import BROKEN, open_image
from ovsbench.benchmark.types import Rules
from ovsbench.data_prep.camvid_labels import KINDS, ClassMasks, LabelKind
from ovsbench.data_prep.camvid_lists import Line, find_file, pair_files, read_lines
from ovsbench.data_prep.convert import RawVideo, Recipe, Variant
from ovsbench.data_prep.layouts import find_layout
from ovsbench.data_prep.official import benchmark_name
from ovsbench.data_prep.release import Watch, Work, source_of, write_release

RECORDED_FPS = 30


@dataclass(frozen=True, slots=True)
class _Frame:
    """One line of a list, after a look at its files.

    Attributes:
        image, label: paths relative to the raw folder.
        recording, number: which moment of which recording it is.
        size: (height, width) of image and label.
        classes: those that have a pixel.
        label_sha256: digest of the classes of all pixels, row by row.
    """

    image: str
    label: str
    recording: str
    number: int
    size: tuple[int, int]
    classes: frozenset[int]
    label_sha256: str


def build_camvid(
    raw: str | Path,
    folder: str | Path,
    *,
    subset: str = "val",
    split: str | Path | None = "default",
    variant: Variant | None = None,
    layout: str | None = None,
    recordings: str | None = None,
    **work: Unpack[Work],
) -> Benchmark:
    """Turns a list of CamVid frames into a benchmark folder; images stay in the raw folder.

    Each class in a frame is one segment, its id is the class number plus 1, so a class is one track.

    Args:
        raw: the folder in one of the layouts above.
        folder: the benchmark folder to write.
        subset: name of a list: train, val, test; of the colour layout also all.
        split: which classes are novel, None for no class; classes that it lacks become void. By default `camvid` for
            eleven classes, and no novel one of the 31.
        variant: None for a benchmark to score on. For a training set, what hides the novel classes: `ignore` makes
            their pixels void and keeps every frame; `delete` leaves out every frame that shows one of them (frames,
            not videos, because no recording is free of pavement; of 367 training frames 18 remain).
        layout: `segnet` or `colour`; found by itself if None.
        recordings: only the frames of these, such as `0001TP,0006R0`; CamVid's own lists share recordings.
        work: see `Work`; no defects are known of CamVid.

    Raises:
        DataError: the raw folder is not in this layout, or the list has none of a recording; the message names it.
    """
    raw, watch = Path(raw).resolve(), Watch(**work)
    kind = KINDS[find_layout(raw, "camvid", layout).name]
    if variant is not None and variant not in get_args(Variant):
        raise DataError(f"CamVid has no training variant {variant!r}; {did_you_mean(variant, get_args(Variant))}")
    split = kind.split if split == "default" else split
    vocabulary = kind.vocabulary(split)
    lines = read_lines(raw, subset) if kind is KINDS["segnet"] else pair_files(raw, subset)
    frames = _look_at_all(raw, lines, kind, watch.progress, f"looking at CamVid {subset}")
    if recordings is not None:
        frames = _of_recordings(frames, recordings.split(","), subset)
        subset = f"{subset}-{recordings.replace(',', '-')}"
    videos = _videos(frames, without=vocabulary.novel if variant == "delete" else frozenset(), subset=subset)
    return write_release(
        folder,
        [_raw_video(raw, recording, shown, kind) for recording, shown in videos.items()],
        watch,
        name=benchmark_name(kind.name, split, subset, variant),
        source=source_of(
            f"CamVid, {kind.words}, list {subset}",
            "CamVid (Brostow et al. 2008, 2009): images and labels for research use",
            variant,
            digest=json_digest([[frame.image, frame.label_sha256] for frame in frames]),
        ),
        rules=Rules(task="semantic"),
        vocabulary=vocabulary,
        image_root=raw,
        variant=variant,
        what=f"CamVid {subset} in {raw}",
        recipe=Recipe(kept=vocabulary.base if variant else vocabulary.ids),
    )


def _raw_video(raw: Path, recording: str, shown: Sequence[_Frame], kind: LabelKind) -> RawVideo:
    labels = tuple(raw / frame.label for frame in shown)
    images = tuple(frame.image for frame in shown)
    return RawVideo(recording, shown[0].size, images, ClassMasks(labels, kind), labels, _fps(shown))


def _look_at_all(raw: Path, lines: Sequence[Line], kind: LabelKind, progress: Progress, title: str) -> list[_Frame]:
    frames = []
    progress.start(0, len(lines), title)
    try:
        for line in lines:
            frames.append(_look_at(raw, line, kind))
            progress.frame()
    finally:
        progress.stop()
    return frames


def _look_at(raw: Path, line: Line, kind: LabelKind) -> _Frame:
    """Checks the files that a line of a list names."""
    where = line.where
    image, label = find_file(raw, line.image, where, IMAGES), find_file(raw, line.label, where)
    name = re.fullmatch(r"(.+)_f?([0-9]+)", PurePosixPath(image).stem)
    if name is None:
        raise DataError(
            f"{where}: expected an image name of recording and frame number such as 0016E5_07959, got "
            f"{PurePosixPath(image).name}. Use the original file names"
        )
    numbers = kind.read(raw / label)
    height, width = numbers.shape
    try:
        with open_image(raw / image) as file:
            image_width, image_height = file.size
    except BROKEN as error:
        raise DataError(f"{raw / image}: expected a readable image, got an error: {error}. Replace it") from error
    if (image_height, image_width) != (height, width):
        raise DataError(
            f"{where}: expected a label of the image's size {image_width}x{image_height}, {raw / label} has "
            f"{width}x{height}. Take image and label from the same copy of CamVid"
        )
    return _Frame(
        image=image,
        label=label,
        recording=name[1],
        number=int(name[2]),
        size=(height, width),
        classes=frozenset(np.flatnonzero(np.bincount(numbers.ravel())).tolist()),
        label_sha256=sha256(numbers.tobytes()).hexdigest(),
    )


def _of_recordings(frames: Sequence[_Frame], wanted: Sequence[str], subset: str) -> list[_Frame]:
    there = list(dict.fromkeys(frame.recording for frame in frames))
    strange = [recording for recording in wanted if recording not in there]
    if strange:
        raise DataError(f"the list {subset} has no recording {strange[0]!r}; {did_you_mean(strange[0], there)}")
    return [frame for frame in frames if frame.recording in wanted]


def _videos(frames: Sequence[_Frame], *, without: frozenset[int], subset: str) -> Mapping[str, list[_Frame]]:
    """Frames by recording, in the order of recordings in the list and of frame numbers; those with a class left out."""
    videos: dict[str, list[_Frame]] = {}
    for frame in sorted(frames, key=lambda frame: frame.number):
        videos.setdefault(frame.recording, [])
        if not frame.classes & without:
            videos[frame.recording].append(frame)
    order = dict.fromkeys(frame.recording for frame in frames)
    kept = {recording: videos[recording] for recording in order if videos[recording]}
    if not kept:
        raise DataError(
            f"expected frames without a novel class in the list {subset}, every frame shows one. Use the variant ignore"
        )
    for recording, shown in kept.items():
        odd = next((frame for frame in shown if frame.size != shown[0].size), None)
        if odd is not None:
            raise DataError(
                f"recording {recording}: expected all images of one size, {shown[0].image} and {odd.image} differ. "
                "Take all from the same copy of CamVid"
            )
        twice = next((b for a, b in itertools.pairwise(shown) if a.number == b.number), None)
        if twice is not None:
            raise DataError(f"the list {subset} names frame {twice.image} twice. Correct the list")
    return kept


def _fps(frames: Sequence[_Frame]) -> float | None:
    """Labelled frames a second, by the commonest step between frame numbers; None for a single frame."""
    if len(frames) < 2:
        return None
    return RECORDED_FPS / median_low(b.number - a.number for a, b in itertools.pairwise(frames))
