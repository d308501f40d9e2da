"""CamVid in the layout of the SegNet tutorial: street video of 2007, eleven classes and void, no single objects.

    raw/train.txt  raw/val.txt  raw/test.txt      a line a frame: image path, label path
    raw/train/0001TP_006690.png                   images; JPEG does as well
    raw/trainannot/0001TP_006690.png              labels, one channel: class 0 to 10, 11 is void

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
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import PIL.Image

from benchmark.errors import DataError, did_you_mean
from benchmark.files import json_digest
from benchmark.manifest import Benchmark, Source, load
from benchmark.manifest_writer import BenchmarkWriter
from benchmark.panoptic import void_categories
from benchmark.progress import SILENT, Progress
from benchmark.types import VOID, PanopticFrame, Rules, Segment, Vocabulary
from data_prep.split import Split, load_split

Variant = Literal["ignore", "delete"]
VERSION = "1"
VOID_LABEL = 11
RECORDED_FPS = 30


@dataclass(frozen=True, slots=True)
class _Frame:
    """One line of a list, after a look at its files.

    Attributes:
        image, label: paths relative to the raw folder.
        recording, number: which moment of which recording it is.
        size: (height, width) of image and label.
        classes: those that have a pixel.
        label_sha256: digest of the label file.
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
    split: str | Path = "camvid",
    variant: Variant | None = None,
    progress: Progress = SILENT,
) -> Benchmark:
    """Turns a list of CamVid frames into a benchmark folder; images stay in the raw folder.

    Each class in a frame is one segment, its id is the class number plus 1, so a class is one track.

    Args:
        raw: folder with the lists.
        folder: the benchmark folder to write.
        subset: name of a list: train, val, test.
        split: which classes are novel; classes that it lacks become void.
        variant: None for a benchmark to score on. For a training set, what hides the novel classes: `ignore` makes
            their pixels void and keeps every frame; `delete` leaves out every frame that shows one of them (frames,
            not videos, because no recording is free of pavement; of 367 training frames 18 remain).
        progress: told of frames and videos.

    Raises:
        DataError: the raw folder is not in this layout; the message names the file and line.
    """
    raw, folder = Path(raw).resolve(), Path(folder)
    if variant is not None and variant not in get_args(Variant):
        raise DataError(f"CamVid has no training variant {variant!r}; {did_you_mean(variant, get_args(Variant))}")
    vocabulary = _load_split(split).vocabulary
    lines = _read_list(raw, subset)
    progress.start(0, len(lines), f"looking at CamVid {subset}")
    try:
        frames = []
        for number, line in enumerate(lines, 1):
            if line.strip():
                frames.append(_look_at(raw, line, f"{raw / subset}.txt, line {number}"))
            progress.frame()
    finally:
        progress.stop()
    videos = _videos(frames, without=vocabulary.novel if variant == "delete" else frozenset(), subset=subset)
    writer = BenchmarkWriter(
        folder,
        name="-".join(filter(None, ("camvid", subset, variant))),
        version=VERSION,
        source=Source(
            name=f"CamVid, index labels of the SegNet tutorial, list {subset}",
            digest=json_digest([[frame.image, frame.label_sha256] for frame in frames]),
            note=f"novel classes hidden: {variant}" if variant else "",
            licence="CamVid (Brostow et al. 2008, 2009): images and labels for research use",
        ),
        rules=Rules(task="semantic"),
        vocabulary=vocabulary,
        image_root=raw,
        role="train" if variant else "benchmark",
    )
    hidden = vocabulary.novel if variant else frozenset()
    progress.start(len(videos), sum(map(len, videos.values())), f"writing {folder.name}")
    try:
        with writer:
            for recording, shown in videos.items():
                with writer.video(recording, shown[0].size, [f.image for f in shown], _fps(shown)) as labels:
                    for frame in shown:
                        labels.add(void_categories(_to_segments(_read_label(raw / frame.label), vocabulary), hidden))
                        progress.frame()
                progress.video()
    finally:
        progress.stop()
    return load(folder)


def _load_split(name: str | Path) -> Split:
    split = load_split(name)
    strange = sorted(split.vocabulary.ids - set(range(VOID_LABEL)))
    if split.dataset != "camvid" or strange:
        raise DataError(
            f"expected a split of camvid with class numbers 0 to {VOID_LABEL - 1}, got split {split.name} of "
            f"{split.dataset} with {strange or 'other classes'}. Choose another split"
        )
    return split


def _read_list(raw: Path, subset: str) -> list[str]:
    path = raw / f"{subset}.txt"
    if not path.is_file():
        found = sorted(file.stem for file in raw.glob("*.txt"))
        raise DataError(
            f"{path}: expected a list of image and label paths, found no such file; "
            + (did_you_mean(subset, found) if found else "the raw folder holds no list. Give CamVid's folder as --raw")
        )
    lines = path.read_text(encoding="utf-8").splitlines()
    if not any(line.strip() for line in lines):
        raise DataError(f"{path}: expected a line for each frame, the list is empty. Download it again")
    return lines


def _look_at(raw: Path, line: str, where: str) -> _Frame:
    """Checks the files that a line of a list names."""
    words = line.split()
    if len(words) != 2:
        raise DataError(f"{where}: expected an image path and a label path, got {line.strip()!r}. Correct the list")
    image, label = (_find(raw, word, where) for word in words)
    name = re.fullmatch(r"(.+)_f?([0-9]+)", PurePosixPath(image).stem)
    if name is None:
        raise DataError(
            f"{where}: expected an image name of recording and frame number such as 0016E5_07959, got "
            f"{PurePosixPath(image).name}. Use the original file names"
        )
    numbers = _read_label(raw / label)
    height, width = numbers.shape
    try:
        with PIL.Image.open(raw / image) as file:
            image_width, image_height = file.size
    except OSError as error:
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
        label_sha256=sha256((raw / label).read_bytes()).hexdigest(),
    )


def _find(raw: Path, path: str, where: str) -> str:
    """The path relative to the raw folder; the tutorial's own lists start with /SegNet/CamVid/, which is not there."""
    parts = PurePosixPath(path).parts
    relative = [part for part in parts if part not in ("/", "..", ".")]
    for candidate in (relative, relative[-2:]):
        if candidate and raw.joinpath(*candidate).is_file():
            return "/".join(candidate)
    raise DataError(f"{where}: expected the file {raw.joinpath(*relative[-2:])}, found none. Complete the raw folder")


def _read_label(path: Path) -> npt.NDArray[np.uint8]:
    """Class numbers, uint8 (H, W)."""
    try:
        with PIL.Image.open(path) as file:
            mode = file.mode
            numbers = np.asarray(file)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: expected a readable label image, got an error: {error}. Replace it") from error
    if mode not in ("L", "P"):
        raise DataError(
            f"{path}: expected class numbers in one channel of 8 bits, got a {mode} image; the colour labels with 32 "
            "classes cannot be read. Use the index labels of the SegNet tutorial"
        )
    if int(numbers.max()) > VOID_LABEL:
        raise DataError(
            f"{path}: expected class numbers 0 to {VOID_LABEL}, got {int(numbers.max())}. "
            "Use the index labels of the SegNet tutorial"
        )
    return numbers


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


def _to_segments(numbers: npt.NDArray[np.uint8], vocabulary: Vocabulary) -> PanopticFrame:
    """One segment for each class of the vocabulary that has a pixel."""
    table = np.zeros(VOID_LABEL + 1, dtype=np.uint32)
    for category in vocabulary.ids:
        table[category] = category + 1
    ids = table[numbers]
    present = np.flatnonzero(np.bincount(ids.ravel())).tolist()
    return PanopticFrame(ids, {key: Segment(key, key - 1) for key in present if key != VOID})
