"""Benchmarks and methods by name; a method on the frames and words of a program."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ovsbench.api.frames import NamedFrame
from ovsbench.api.given import array_of, benchmark_of
from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.running.frame_loop import answers_of, checked
from ovsbench.benchmark.types import Image, LabelReader, Method, Rules, Video, Vocabulary
from ovsbench.benchmark.video.video_io import open_video
from ovsbench.plans.names import parse_names
from ovsbench.plans.runs import create, resolved


def load_benchmark(folder: str | Path) -> Benchmark:
    """Opens a benchmark folder, such as `ovsbench data build` makes; images and labels are read when asked for.

    Raises:
        UserError: it is no path.
        DataError: it is missing or damaged.
    """
    return benchmark_of(folder)


@dataclass(frozen=True)
class LoadedMethod:
    """A method with its weights.

    Attributes:
        method: what does the work.
        settings: what it was made with; the record of a run holds them.
    """

    method: Method | LabelReader = field(repr=False)  # a network prints itself on hundreds of lines
    settings: Settings

    def predict(
        self,
        frames: Iterable[Any] | str | Path,
        names: str | Iterable[str] | Vocabulary,
        *,
        fps: float | None = None,
    ) -> Iterator[NamedFrame]:
        """Names what is in the frames of one video; identities are kept from frame to frame.

        Args:
            frames: images as uint8 (H, W, 3), RGB, of one size, numpy arrays or torch tensors; or the path of a video
                file, an image, or a folder of images.
            names: the words to look for: "dog, grass|lawn" with synonyms after |, a list of such words, or the
                vocabulary of a benchmark.
            fps: frames a second, where frames are given and it is known; associations that remember for seconds use it.

        Yields:
            One named frame for each frame, in order.

        Raises:
            UserError: no frame, frames of another type or size, or no names.
            DataError: a file is damaged.
            MethodError: the method fails, or needs labels.
        """
        if hasattr(self.method, "with_labels"):
            raise UserError(f"method {self.settings.method} needs labels, and frames alone have none. Choose another")
        video, vocabulary = _video(frames, fps), _vocabulary(names)
        recent: deque[tuple[int, Image]] = deque(maxlen=64)  # a method may answer some frames after it has read one

        def read(index: int) -> Image:
            image = video.read(index)
            recent.append((index, image))
            return image

        answers = answers_of(self.method, replace(video, read=read), vocabulary, Rules())
        for index, frame in enumerate(checked(answers, video, vocabulary)):
            image = next((image for number, image in recent if number == index), None)
            yield NamedFrame(index, video.image(index) if image is None else image, frame, vocabulary)


def load_method(
    name: str | Path,
    *,
    checkpoint: str | Path | None = None,
    device: str = "auto",
    options: Mapping[str, object] | None = None,
    seed: int = 0,
) -> LoadedMethod:
    """Makes a method by its name, see `ovsbench list methods`, or `path/to/file.py:build` of your own.

    Args:
        name: of the method, or of a public model, see `ovsbench list models`; what that needs is fetched once.
        checkpoint: its weights, where it has some: the name of one that comes with the package, a path, or weights of
            a hub as `hf:ORG/NAME[@REVISION][:FILE]` or `open_clip:MODEL/TAG`.
        device: "auto", "cpu", "cuda" or "cuda:1".
        options: of the method, such as {"association": "iou"}.
        seed: of random numbers, set anew for each video of a run.

    Raises:
        UserError: the name or the options are of another type.
        MethodError: unknown method or option, or weights that do not fit.
    """
    if not isinstance(name, (str, Path)) or not isinstance(options or {}, Mapping):
        raise UserError(
            f"expected the name of a method and its options as a dictionary, got {name!r} and {options!r}. "
            "ovsbench list methods and ovsbench list models have the names"
        )
    texts = {key: _text(value) for key, value in (options or {}).items()}
    weights = None if checkpoint is None else str(checkpoint)
    settings = resolved(Settings(str(name), weights, texts, device=device, seed=seed))
    return LoadedMethod(create(settings), settings)


def _text(value: object) -> str:
    """An option as the command line has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _video(frames: Iterable[Any] | str | Path, fps: float | None) -> Video:
    if isinstance(frames, (str, Path)):
        return open_video(frames)
    if not isinstance(frames, Iterable):
        raise UserError(f"expected frames, or the path of a video, got {frames!r}")
    if fps is not None and not (isinstance(fps, (int, float)) and 0 < fps < math.inf):
        raise UserError(f"expected fps as a number above 0, or None where it is unknown, got {fps!r}")
    images = [_image(frame, number) for number, frame in enumerate(frames)]
    if not images:
        raise UserError("expected at least one frame, got none")
    sizes = sorted({image.shape[:2] for image in images})
    if len(sizes) > 1:
        raise UserError(f"expected frames of one size, got {sizes[0]} and {sizes[1]} (height, width). Resize them")
    numbers = tuple(f"{number:05d}" for number in range(len(images)))
    height, width = sizes[0]
    return Video("frames", numbers, (height, width), images.__getitem__, fps=fps)


def _image(frame: Any, number: int) -> Image:
    array = array_of(frame, f"frame {number}")
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise UserError(
            f"frame {number}: expected RGB as uint8 of shape (height, width, 3), got {array.dtype} of shape "
            f"{array.shape}. Convert it"
        )
    return np.ascontiguousarray(array)


def _vocabulary(names: str | Iterable[str] | Vocabulary) -> Vocabulary:
    if isinstance(names, Vocabulary):
        return names
    if isinstance(names, str):
        return parse_names(names)
    if not isinstance(names, Iterable):
        raise UserError(f'expected names, such as "dog, grass" or ["dog", "grass"], got {names!r}')
    words = list(names)
    odd = next((word for word in words if not isinstance(word, str) or "," in word), None)
    if odd is not None:
        raise UserError(f"expected names as strings without a comma, got {odd!r}")
    return parse_names(",".join(words))
