"""How fast the scorer is: CPU milliseconds a frame by stage, beside the bare decoding of the same two PNGs with Pillow.

The masks are made here, the same for the same number: objects and stuff with smooth outlines that drift, about as many
segments and bytes as VIPSeg has, and a prediction that is off by some pixels and misnames some segments. CPU time and
not the clock, so that other work on the machine disturbs as little as it can; medians over frames and repetitions.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image

from ovsbench.benchmark.machine import peak_memory_gb
from ovsbench.benchmark.metrics import frame_metrics_for
from ovsbench.benchmark.panoptic import DenseFrame, dense_of_rgb, ids_to_rgb, overlap_dense
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.storage.files import writing
from ovsbench.benchmark.storage.image_files import open_image
from ovsbench.benchmark.storage.label_png import decode_rgb
from ovsbench.benchmark.storage.store import FrameFolder, VideoWriter
from ovsbench.benchmark.types import Category, Image, PanopticFrame, Rules, Segment, Vocabulary

SEGMENTS, CLASSES = 16, 124
NAMED = ("vpq", "stq", "miou", "vc")
"""The metrics that together are held against the bare decoding: VPQ of five windows, PQ, STQ, mIoU and VC."""
_SHIFT = 4
VOCABULARY = Vocabulary(tuple(Category(number, f"class {number}", number % 2 == 0) for number in range(CLASSES)))


@dataclass(frozen=True)
class Report:
    """What was measured; milliseconds are CPU time a frame, medians.

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
        peak_memory_gb: of the process.
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


@dataclass
class _Clock:
    """Adds up CPU seconds by stage; a stage begins where the last one ended."""

    rows: dict[str, list[float]] = field(default_factory=dict)
    since: float = 0.0

    def start(self) -> None:
        self.since = time.process_time()

    def stage(self, name: str) -> None:
        now = time.process_time()
        self.rows.setdefault(name, []).append(now - self.since)
        self.since = time.process_time()

    def medians(self) -> dict[str, float]:
        return {name: 1000 * statistics.median(values) for name, values in self.rows.items()}

    def total(self, left_out: Collection[str] = ()) -> float:
        """The median over frames of the sum of the stages."""
        rows = [values for name, values in self.rows.items() if name not in left_out]
        return 1000 * statistics.median(map(sum, zip(*rows, strict=True)))


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
    folder: Path, *, frames: int = 24, size: tuple[int, int] = (480, 854), repeats: int = 3, progress: Progress = SILENT
) -> Report:
    """Makes the files of a video in a folder, scores them both ways and times each stage.

    Memory does not depend on the number of frames.

    Raises:
        DataError: the disk is full.
    """
    segments: list[tuple[Mapping[int, Segment], Mapping[int, Segment]]] = []
    clock = _Clock()
    progress.start(1, frames * (1 + repeats), "measuring the scorer")
    try:
        with (
            writing(folder),
            VideoWriter(folder / "labels", "labels", size) as labels,
            VideoWriter(folder / "predictions", "predictions", size) as predictions,
        ):
            for index, (true, predicted) in enumerate(scene(frames, size)):
                for name, frame in (("true", true), ("predicted", predicted)):
                    PIL.Image.fromarray(ids_to_rgb(frame.ids)).save(_png(folder, name, index))
                segments.append((true.segments, predicted.segments))
                labels.add(true)
                clock.start()
                predictions.add(predicted)
                clock.stage("write")
                progress.frame()
        both = FrameFolder(folder / "labels"), FrameFolder(folder / "predictions")
        png, store, bare, read = _Clock(), _Clock(), _Clock(), _Clock()
        for _ in range(repeats):
            from_png, from_store = _scorer(png), _scorer(store)
            for index in range(frames):
                bare.start()
                for name in ("true", "predicted"):
                    _decode(_png(folder, name, index))
                bare.stage("decode")
                png.start()
                images = [decode_rgb(_png(folder, name, index).read_bytes()) for name in ("true", "predicted")]
                png.stage("decode")
                numbered = [dense_of_rgb(rgb, which) for rgb, which in zip(images, segments[index], strict=True)]
                png.stage("numbering")
                from_png(numbered[0], numbered[1])
                read.start()
                true_frame = both[0].dense(index)
                read.stage("read")
                predicted_frame = both[1].dense(index)
                read.stage("read")
                store.start()
                true_frame, predicted_frame = both[0].dense(index), both[1].dense(index)
                store.stage("read")
                from_store(true_frame, predicted_frame)
                progress.frame()
        progress.video()
    finally:
        progress.stop()
    others = {metric.name for metric in frame_metrics_for(Rules())} - {*NAMED}
    return Report(
        frames=frames,
        size=size,
        repeats=repeats,
        decode=bare.total(),
        from_png=png.medians(),
        from_store=store.medians(),
        from_png_named=png.total(others),
        from_store_named=store.total(others),
        from_png_total=png.total(),
        from_store_total=store.total(),
        write=clock.total(),
        read=read.total(),
        png_bytes=_png(folder, "predicted", 0).stat().st_size,
        store_bytes=(folder / "predictions" / "00000.png").stat().st_size,
        peak_memory_gb=peak_memory_gb(),
    )


def _png(folder: Path, name: str, index: int) -> Path:
    return folder / f"{name}-{index:05d}.png"


def _decode(path: Path) -> Image:
    with open_image(path.read_bytes(), ("PNG",)) as image:
        return np.asarray(image)


def _scorer(clock: _Clock) -> Callable[[DenseFrame, DenseFrame], None]:
    """Feeds frames of one video to every metric and notes what each takes."""
    rules = Rules()
    accumulators = {metric.name: metric.start(VOCABULARY, rules) for metric in frame_metrics_for(rules)}

    def add(truth: DenseFrame, prediction: DenseFrame) -> None:
        overlap = overlap_dense(truth, prediction)
        clock.stage("joint histogram")
        for name, accumulator in accumulators.items():
            accumulator.add(truth, prediction, overlap)
            clock.stage(name)

    return add
