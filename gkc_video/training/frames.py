"""Training frames: read from a benchmark folder, cut to the training size, labels brought to mask size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image as Pillow
from PIL import ImageEnhance

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.panoptic import dense, void_categories
from ovsbench.benchmark.settings import shown
from ovsbench.benchmark.types import Image, PanopticFrame, Video, Vocabulary
from ovsbench.gkc_video.training.stages import stage
from ovsbench.gkc_video.training.targets import Target
from ovsbench.gkc_video.training.vector_store import Vectors

MASK_STRIDE: Literal[4] = 4
LONGEST = 8192
"""Pixels of a training picture's side."""
LARGEST = 8.0
"""Factor from frame to picture."""


@dataclass(frozen=True)
class Augmentation:
    """How a frame becomes a training picture.

    Attributes:
        size: (height, width), multiples of 32.
        scale: smallest and largest factor from frame to picture, before a random cut of `size`; (1, 1) leaves it.
        flip_vertical: whether up and down mean nothing in these pictures.
        brightness, contrast, saturation: largest change of each, as a share below 1.
        hue: largest turn of the circle of colours, as a share of half a turn; 0 where colours have names.
        label_stride: pixels of the picture for a cell of the labels; other than 4, that of predicted masks, only where
            masks are compared at points.
    """

    size: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)
    flip_vertical: bool = False
    brightness: float = 0.15
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    label_stride: Literal[1, 2, 4] = MASK_STRIDE

    def __post_init__(self) -> None:
        if any(length % 32 or not 1 <= length <= LONGEST for length in self.size):
            raise DataError(
                f"[augmentation] size: expected two multiples of 32 up to {LONGEST}, got {shown(self.size)}. Correct it"
            )
        if not 0 < self.scale[0] <= self.scale[1] <= LARGEST:
            raise DataError(
                f"[augmentation] scale: expected a smallest and a largest factor above 0 and up to {LARGEST}, got "
                f"{list(self.scale)}. Correct it"
            )
        for name in ("brightness", "contrast", "saturation", "hue"):
            if not 0 <= getattr(self, name) < 1:
                raise DataError(
                    f"[augmentation] {name}: expected a share from 0 to below 1, got {getattr(self, name)}. Correct it"
                )


@dataclass(frozen=True)
class Seen:
    """The n regions of a frame for the teacher: alone on grey, and where boxes are asked for their boxes behind them.

    Attributes:
        vectors: (n or 2 n, D); None where the teacher has not seen them.
        crops: (n or 2 n, side, side, 3) uint8; None where it has.
    """

    vectors: Vectors | None = None
    crops: npt.NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Sample:
    """A frame as a training step sees it.

    Attributes:
        image: uint8 (H, W, 3), augmented.
        target: its labels; None for an unlabelled frame.
        video, frame: which frame it is, by their places in the benchmark.
        flips: whether left and right, up and down were swapped.
        seen: its regions for the teacher; None where there is none.
    """

    image: Image
    target: Target | None
    video: int
    frame: int
    flips: tuple[bool, bool]
    seen: Seen | None = None


class FrameSource:
    """Random frames of a folder; the same generator gives the same frames.

    Args:
        benchmark: the folder.
        augmentation: what is done to its frames.
        held_out: ids of base classes that the training must not see: their segments are void, and they are no class.
    """

    def __init__(
        self, benchmark: Benchmark, augmentation: Augmentation, held_out: frozenset[int] = frozenset()
    ) -> None:
        self.benchmark = benchmark
        self.augmentation = augmentation
        self.held_out = held_out
        self.labelled = benchmark.role != "unlabelled"
        self._videos: tuple[Video, ...] = benchmark.videos
        self._index = [(v, i) for v, video in enumerate(self._videos) for i in range(len(video))]
        if not self._index:
            raise DataError(f"{benchmark.folder}: expected frames to train on, found none. Build it with some videos")
        base = benchmark.vocabulary.offered("base")
        self.vocabulary = Vocabulary(tuple(c for c in base if c.id not in held_out))
        self._class_of = {category.id: number for number, category in enumerate(self.vocabulary)}

    def __len__(self) -> int:
        return len(self._index)

    def draw(self, rng: np.random.Generator) -> Sample:
        """A random frame, augmented."""
        number, index = self._index[int(rng.integers(len(self._index)))]
        video = self._videos[number]
        numbers: npt.NDArray[np.int32] | None = None
        classes: list[int] = []
        with stage("decode"):
            image = video.image(index)
            if self.labelled:
                frame = dense(self._truth(number, index))
                crowds = [number for number, s in enumerate(frame.segments, 1) if s.is_crowd]  # nobody's mask: void
                numbers = np.where(np.isin(frame.numbers, crowds), 0, frame.numbers).astype(np.int32)
                classes = [self._class(s.category, number, index) for s in frame.segments]
        with stage("augmentation"):
            image, numbers, flips = self._augment(image, numbers, rng)
            target = None if numbers is None else _target(numbers, classes, self.augmentation.label_stride)
        return Sample(image, target, number, index, flips)

    def _class(self, category: int, video: int, frame: int) -> int:
        """The place of a category among the classes to learn.

        Raises:
            DataError: it is none of them: the labels hold what a training must not see.
        """
        found = self._class_of.get(category)
        if found is None:
            name, shown = self.benchmark.vocabulary.by_id[category].name, self._videos[video]
            raise DataError(
                f"{self.benchmark.folder}: expected masks of base classes alone, found one of the novel {name!r} in "
                f"frame {shown.frames[frame]} of video {shown.id}. Give a training set, such as part = train"
            )
        return found

    def original(self, sample: Sample) -> tuple[Image, PanopticFrame]:
        """Picture and labels of a labelled frame as they are in the folder, without what is held out."""
        return self._videos[sample.video].image(sample.frame), self._truth(sample.video, sample.frame)

    def where(self, sample: Sample) -> str:
        """Names the frame, for messages."""
        return f"{self._videos[sample.video].id}/{self._videos[sample.video].frames[sample.frame]}"

    def augmented(self, image: Image, rng: np.random.Generator) -> Image:
        """A picture from elsewhere as a training picture of this source."""
        return self._augment(image, None, rng)[0]

    def _truth(self, video: int, frame: int) -> PanopticFrame:
        return void_categories(self.benchmark.truth(self._videos[video].id, frame), self.held_out)

    def _augment(
        self, image: Image, numbers: npt.NDArray[np.int32] | None, rng: np.random.Generator
    ) -> tuple[Image, npt.NDArray[np.int32] | None, tuple[bool, bool]]:
        how = self.augmentation
        if how.scale != (1.0, 1.0):
            factor = float(rng.uniform(*how.scale))
            to = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
            image = np.asarray(Pillow.fromarray(image).resize(to, Pillow.Resampling.BILINEAR, reducing_gap=2.0))
            if numbers is not None:
                numbers = np.asarray(Pillow.fromarray(numbers).resize(to, Pillow.Resampling.NEAREST))
        image, numbers = _cut(image, numbers, how.size, rng)
        mirrored = bool(rng.random() < 0.5)
        if mirrored:
            image, numbers = image[:, ::-1], None if numbers is None else numbers[:, ::-1]
        upturned = bool(how.flip_vertical and rng.random() < 0.5)
        if upturned:
            image, numbers = image[::-1], None if numbers is None else numbers[::-1]
        bright = 1 + float(rng.uniform(-how.brightness, how.brightness))
        image = np.clip(image * np.float32(bright), 0, 255).astype(np.uint8)
        return _recoloured(image, how, rng), numbers, (mirrored, upturned)


def _recoloured(image: Image, how: Augmentation, rng: np.random.Generator) -> Image:
    """With other contrast, saturation and hue; what the settings leave alone costs no draw."""
    for kind, most in ((ImageEnhance.Contrast, how.contrast), (ImageEnhance.Color, how.saturation)):
        if most:
            image = np.asarray(kind(Pillow.fromarray(image)).enhance(1 + float(rng.uniform(-most, most))))
    if how.hue:
        turn = round(float(rng.uniform(-how.hue, how.hue)) * 128)  # the circle has 256 steps
        hue, saturation, value = Pillow.fromarray(image).convert("HSV").split()
        hue = hue.point([(step + turn) % 256 for step in range(256)])
        image = np.asarray(Pillow.merge("HSV", (hue, saturation, value)).convert("RGB"))
    return image


def _cut(
    image: Image, numbers: npt.NDArray[np.int32] | None, size: tuple[int, int], rng: np.random.Generator
) -> tuple[Image, npt.NDArray[np.int32] | None]:
    """A random window of the size; what lies outside the frame is grey and void."""
    lack = [max(0, want - have) for want, have in zip(size, image.shape[:2], strict=True)]
    if any(lack):
        image = np.pad(image, ((0, lack[0]), (0, lack[1]), (0, 0)), constant_values=128)
        numbers = None if numbers is None else np.pad(numbers, ((0, lack[0]), (0, lack[1])))
    top, left = (int(rng.integers(have - want + 1)) for want, have in zip(size, image.shape[:2], strict=True))
    window = np.s_[top : top + size[0], left : left + size[1]]
    return image[window], None if numbers is None else numbers[window]


def _target(numbers: npt.NDArray[np.int32], classes: list[int], stride: int) -> Target:
    """Shares of each label cell; segments that the cut left without a pixel disappear."""
    height, width = (n // stride for n in numbers.shape)
    cells = np.arange(height)[:, None].repeat(stride, 0) * width + np.arange(width).repeat(stride)
    codes = (cells * (len(classes) + 1) + numbers).ravel()  # cell and segment in one number, 0 for void
    pixels = np.bincount(codes, minlength=height * width * (len(classes) + 1)).reshape(height, width, -1)
    kept = np.flatnonzero(pixels[..., 1:].any((0, 1)))
    shares = torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32) / stride**2)
    named = torch.tensor([classes[n] for n in kept], dtype=torch.int64)
    return Target(shares[1:][kept], named, 1 - shares[0], tuple(kept.tolist()))
