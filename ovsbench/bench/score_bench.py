"""How fast the scorer is: CPU milliseconds a frame by stage, beside the bare decoding of the same two PNGs with Pillow.

The masks are made here, the same for the same number: objects and stuff with smooth outlines that drift, about as many
segments and bytes as VIPSeg has, and a prediction that is off by some pixels and misnames some segments. CPU time and
not the clock, so that other work on the machine disturbs as little as it can; means over frames, of the repetition that
took least. Loops are compiled before, as they are after some hundred frames.
"""

from __future__ import annotations

import collections
import contextlib
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image

from ovsbench.bench.score_peer import measure_peers
from ovsbench.benchmark.frame_loops import PAIRS, TRIPLES
from ovsbench.benchmark.machine import peak_memory_gb
from ovsbench.benchmark.metrics import frame_metrics_for
from ovsbench.benchmark.metrics.base import Accumulator
from ovsbench.benchmark.panoptic import DenseFrame, ids_to_rgb, overlap_dense
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.storage.files import writing
from ovsbench.benchmark.storage.image_files import open_image
from ovsbench.benchmark.storage.label_png import dense_of_png
from ovsbench.benchmark.storage.png_loop import NUMBER, UNFILTER
from ovsbench.benchmark.storage.store import FrameFolder, VideoWriter
from ovsbench.benchmark.timing.stages import OTHER, StageClock, stage
from ovsbench.benchmark.types import Category, Image, PanopticFrame, Rules, Segment, Vocabulary

SEGMENTS, CLASSES = 16, 124
SIDES = ("labels", "predictions")
NAMED = ("vpq", "stq", "miou", "vc")
"""The metrics that together are held against the bare decoding: VPQ of five windows, PQ, STQ, mIoU and VC."""
_SHIFT = 4
_PEER_FRAMES = 24
"""The official script holds all masks of a video at once."""
VOCABULARY = Vocabulary(tuple(Category(number, f"class {number}", number % 2 == 0) for number in range(CLASSES)))


@dataclass(frozen=True)
class Report:
    """What was measured; milliseconds are CPU time a frame, of the repetition that took least.

    Attributes:
        frames: of the video.
        size: (height, width).
        repeats: how often each frame was scored.
        decode: bare decoding of the label's and the prediction's PNG with Pillow into arrays.
        from_png: scoring from two RGB PNGs in the layout of VIPSeg, by stage.
        from_store: scoring from the suite's own files, by stage.
        from_png_named, from_store_named: of the stages of a frame that the named metrics need, see `NAMED`.
        from_png_total, from_store_total: of all stages of a frame.
        write: one predicted frame into the suite's own files.
        read: one frame of them.
        png_bytes, store_bytes: of one predicted frame.
        peers: milliseconds of other programs on the first frames, decoding included, by name.
        peak_memory_gb: of the process before those.
    """

    frames: int
    size: tuple[int, int]
    repeats: int
    decode: float
    from_png: Mapping[str, float]
    from_store: Mapping[str, float]
    from_png_named: float
    from_store_named: float
    from_png_total: float
    from_store_total: float
    write: float
    read: float
    png_bytes: int
    store_bytes: int
    peers: Mapping[str, float]
    peak_memory_gb: float

    @property
    def ratios(self) -> dict[str, float]:
        """The sums over the bare decoding of the RGB PNGs; from own files over that of the same RGB PNGs."""
        return {
            "png_named": self.from_png_named / self.decode,
            "store_named": self.from_store_named / self.decode,
            "png": self.from_png_total / self.decode,
            "store": self.from_store_total / self.decode,
        }


Rows = list[Mapping[str, float]]
"""CPU seconds by stage, a row for each frame."""


@contextlib.contextmanager
def _timed(rows: Rows) -> Iterator[None]:
    """Adds a row of the stages within the block."""
    clock = StageClock(now=time.process_time)
    with clock.listening():
        yield
    rows.append({name: seconds for name, seconds in clock.seconds.items() if name != OTHER})


def _stages(rows: Rows, frames: int, repeats: int, left_out: Collection[str] = ()) -> dict[str, float]:
    """Milliseconds a frame by stage, of the repetition that took least: not all frames take the same time.

    Args:
        rows: of all frames of all repetitions, in order, a few more in each where something is done at its end.
        frames: of the video.
        repeats: how often they were repeated.
        left_out: stages that are not wanted.
    """
    size = len(rows) // repeats
    each = [
        {
            name: 1000 / frames * sum(row.get(name, 0.0) for row in rows[start : start + size])
            for name in rows[0]
            if name not in left_out
        }
        for start in range(0, len(rows), size)
    ]
    return min(each, key=lambda stages: sum(stages.values()))


def _total(rows: Rows, frames: int, repeats: int, left_out: Collection[str] = ()) -> float:
    """The sum of the stages."""
    return sum(_stages(rows, frames, repeats, left_out).values())


def scene(frames: int, size: tuple[int, int], seed: int = 0) -> Iterator[tuple[PanopticFrame, PanopticFrame]]:
    """A made-up video: labels and a prediction of each frame.

    Args:
        frames: how many.
        size: (height, width).
        seed: another one makes another video.
    """
    height, width = size
    random = np.random.default_rng(seed)
    ids = random.choice(np.arange(1, 1 << 24, dtype=np.uint32), 2 * SEGMENTS, replace=False).reshape(2, SEGMENTS)
    classes = random.choice(CLASSES, SEGMENTS, replace=False)
    guessed = np.where(random.random(SEGMENTS) < 0.2, np.roll(classes, 1), classes)
    hills = _fields(random, SEGMENTS, (5, 8), (height, width))
    ripples = 0.12 * _fields(random, SEGMENTS, (40, 70), (height, width))
    for time_ in range(frames):
        # A walk to and fro, so that a long video does not leave the landscape.
        shift = abs((2 * time_ + width // 2) % (2 * width) - width)
        true = np.argmax(np.roll(hills, shift, axis=2) + ripples, axis=0)
        guess = np.argmax(np.roll(hills, shift + _SHIFT, axis=2) + np.roll(ripples, 1, axis=0), axis=0)
        yield _frame(true, ids[0], classes, void=True), _frame(guess, ids[1], guessed, void=False)


def _fields(
    random: np.random.Generator, count: int, coarse: tuple[int, int], size: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """Smooth landscapes, (count, H, W)."""
    points = random.random((count, *coarse), dtype=np.float32)
    large = (size[1], size[0])
    return np.stack(
        [np.asarray(PIL.Image.fromarray(one).resize(large, PIL.Image.Resampling.BICUBIC)) for one in points]
    )


def _frame(
    index: npt.NDArray[np.intp], ids: npt.NDArray[np.uint32], classes: npt.NDArray[np.int64], *, void: bool
) -> PanopticFrame:
    pixels = ids[index]
    if void:
        pixels[: len(pixels) // 20] = 0
    present = [number for number in range(SEGMENTS) if (pixels == ids[number]).any()]
    return PanopticFrame(pixels, {int(ids[n]): Segment(int(ids[n]), int(classes[n])) for n in present})


def measure(
    folder: Path,
    *,
    frames: int = 24,
    size: tuple[int, int] = (480, 854),
    repeats: int = 3,
    compiled: bool = True,
    progress: Progress = SILENT,
) -> Report:
    """Makes the files of a video in a folder, scores them both ways and times each stage.

    Memory does not depend on the number of frames.

    Args:
        folder: to write in.
        frames: of the video.
        size: (height, width).
        repeats: how often each frame is scored.
        compiled: whether loops are compiled before anything is timed, as they are after some hundred frames.
        progress: told of frames.

    Raises:
        DataError: the disk is full.
    """
    rows: dict[str, Rows] = collections.defaultdict(list)
    progress.start(1, frames * (1 + repeats), "measuring the scorer")
    try:
        segments = _write_files(folder, frames, size, rows, progress)
        if compiled:
            for loop in (NUMBER, PAIRS, TRIPLES, UNFILTER):
                loop.load()
            _score(folder, segments[: min(frames, 9)], collections.defaultdict(list), SILENT)  # VC begins with the 8th
        for _ in range(repeats):
            _score(folder, segments, rows, progress)
        memory = peak_memory_gb()
        some = range(min(frames, _PEER_FRAMES))
        paths = [[_png(folder, side, index) for side in SIDES] for index in some]
        peers = measure_peers(folder, paths, segments[: len(some)], VOCABULARY)
        progress.video()
    finally:
        progress.stop()
    others = {metric.name for metric in frame_metrics_for(Rules())} - {*NAMED}
    return Report(
        frames=frames,
        size=size,
        repeats=repeats,
        decode=_total(rows["bare"], frames, repeats),
        from_png=_stages(rows["png"], frames, repeats),
        from_store=_stages(rows["store"], frames, repeats),
        from_png_named=_total(rows["png"], frames, repeats, others),
        from_store_named=_total(rows["store"], frames, repeats, others),
        from_png_total=_total(rows["png"], frames, repeats),
        from_store_total=_total(rows["store"], frames, repeats),
        write=_total(rows["write"], frames, 1),
        read=_total(rows["read"], 2 * frames, repeats),
        png_bytes=_png(folder, "predictions", 0).stat().st_size,
        store_bytes=(folder / "predictions" / "00000.png").stat().st_size,
        peers=peers,
        peak_memory_gb=memory,
    )


def _write_files(
    folder: Path, frames: int, size: tuple[int, int], rows: dict[str, Rows], progress: Progress
) -> list[list[Mapping[int, Segment]]]:
    """Both sides of the video as RGB PNGs and in the suite's own files; gives the segments of each frame."""
    segments = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(writing(folder))
        writers = [stack.enter_context(VideoWriter(folder / side, side, size)) for side in SIDES]
        for index, pair in enumerate(scene(frames, size)):
            for side, frame in zip(SIDES, pair, strict=True):
                PIL.Image.fromarray(ids_to_rgb(frame.ids)).save(_png(folder, side, index))
            segments.append([frame.segments for frame in pair])
            writers[0].add(pair[0])
            with _timed(rows["write"]), stage("write"):
                writers[1].add(pair[1])
            progress.frame()
    return segments


def _score(
    folder: Path, segments: Sequence[Sequence[Mapping[int, Segment]]], rows: dict[str, Rows], progress: Progress
) -> None:
    """Every frame of the video once: bare decoding, scoring from PNGs, reading, scoring from own files."""
    both = [FrameFolder(folder / side) for side in SIDES]
    from_png, from_store = _accumulators(), _accumulators()
    for index, described in enumerate(segments):
        paths = [_png(folder, side, index) for side in SIDES]
        with _timed(rows["bare"]), stage("decode"):
            for path in paths:
                _decode(path)
        with _timed(rows["png"]):
            with stage("decode, number"):
                frames = [dense_of_png(path.read_bytes(), own) for path, own in zip(paths, described, strict=True)]
            _add(from_png, *frames)
        for stored in both:
            with _timed(rows["read"]), stage("read"):
                stored.dense(index)
        with _timed(rows["store"]):
            with stage("read"):
                frames = [stored.dense(index) for stored in both]
            _add(from_store, *frames)
        progress.frame()
    for name, accumulators in (("png", from_png), ("store", from_store)):
        with _timed(rows[name]):
            for metric, accumulator in accumulators.items():
                with stage(metric):
                    accumulator.counts()


def _png(folder: Path, name: str, index: int) -> Path:
    return folder / f"{name}-{index:05d}.png"


def _decode(path: Path) -> Image:
    with open_image(path.read_bytes(), ("PNG",)) as image:
        return np.asarray(image)


def _accumulators() -> dict[str, Accumulator]:
    """Every metric at the beginning of a video, by name."""
    return {metric.name: metric.start(VOCABULARY, Rules()) for metric in frame_metrics_for(Rules())}


def _add(accumulators: Mapping[str, Accumulator], truth: DenseFrame, prediction: DenseFrame) -> None:
    with stage("joint histogram"):
        overlap = overlap_dense(truth, prediction)
    for name, accumulator in accumulators.items():
        with stage(name):
            accumulator.add(truth, prediction, overlap)
