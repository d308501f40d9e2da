"""Methods in two parts: somebody gives the masks of a frame, somebody names them; regions are linked by gkc_video."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from ovsbench.benchmark.timing.stages import StageClock, is_heard, stage
from ovsbench.benchmark.types import PanopticFrame, Rules, Video, Vocabulary
from ovsbench.gkc_video.model import computed, uploaded
from ovsbench.gkc_video.tracking import Association, Linker, Proposals

Propose = Callable[[torch.Tensor], list[Proposals]]
"""Frames on the device of the masks, uint8 (B, 3, H, W), to the regions of each."""
Name = Callable[[torch.Tensor, Sequence[Proposals]], Sequence[npt.NDArray[np.float32]]]
"""These frames (B, 3, H, W) and the N regions of each to class probabilities (N, C) of each."""


class MaskSource(Protocol):
    """A method that gives its masks to others; `batch` frames go through it at once."""

    @property
    def association(self) -> Association: ...

    @property
    def delay(self) -> int: ...

    @property
    def batch(self) -> int: ...

    @property
    def checkpoint_sha256(self) -> str: ...

    @property
    def device(self) -> str: ...

    @property
    def notes(self) -> Mapping[str, str]: ...

    def reader(self, vocabulary: Vocabulary) -> Propose:
        """The function from frames to regions; a source without classes ignores the vocabulary."""
        ...


class RegionNamer(Protocol):
    """A classifier of regions; `sha256` is of its weights, `notes` are facts for the record."""

    @property
    def sha256(self) -> str: ...

    @property
    def notes(self) -> Mapping[str, str]: ...

    def reader(self, vocabulary: Vocabulary) -> Name:
        """The function from the frames of a batch and their regions to class probabilities."""
        ...


class Cost:
    """Seconds by stage over all frames but the first ones of a process, in which models warm up.

    Args:
        device: whose queued work is waited for at the end of each stage.
    """

    def __init__(self, device: str) -> None:
        self.frames = 0
        self.seconds: dict[str, float] = {}
        self._is_warm = False
        self._wait = (lambda: torch.cuda.synchronize(device)) if device.startswith("cuda") else (lambda: None)
        self._adding = threading.Lock()

    @contextlib.contextmanager
    def frames_of(self, count: int) -> Iterator[None]:
        """Times a batch of frames in this thread, unless somebody else is timing the method."""
        if is_heard():
            yield
            return
        was_warm = self._is_warm
        with StageClock(wait=self._wait).listening() as clock:
            yield
        with self._adding:
            self._is_warm = True
            if was_warm:
                self.frames += count
                for name, spent in clock.seconds.items():
                    self.seconds[name] = self.seconds.get(name, 0.0) + spent

    @property
    def notes(self) -> Mapping[str, str]:
        """The cost in words; nothing before the second batch."""
        if self.frames < 1:
            return {}
        parts = [f"{name} {1000 * spent / self.frames:.1f}" for name, spent in self.seconds.items()]
        return {"milliseconds a frame": f"{', '.join(parts)} (over {self.frames} frames)"}


@dataclass(frozen=True)
class RegionMethod:
    """Masks from one, names from the other."""

    name: str
    masks: MaskSource
    names: RegionNamer
    cost: Cost

    @property
    def checkpoint_sha256(self) -> str:
        """Of both: other weights of either make another method."""
        return hashlib.sha256(f"{self.masks.checkpoint_sha256} {self.names.sha256}".encode()).hexdigest()

    @property
    def batch(self) -> int:
        """Frames that go through both at once."""
        return self.masks.batch

    @property
    def device(self) -> str:
        """That the masks are made on."""
        return self.masks.device

    @property
    def notes(self) -> Mapping[str, str]:
        """Facts for the record of a run, the cost by stage among them."""
        return {
            **self.masks.notes,
            **self.names.notes,
            "masks sha256": self.masks.checkpoint_sha256,
            "names sha256": self.names.sha256,
            **self.cost.notes,
        }

    def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame]:
        """Yields one frame for each image; its memory does not grow with the video."""
        propose, name = self.masks.reader(vocabulary), self.names.reader(vocabulary)
        linker = Linker(vocabulary, self.masks.association, self.masks.delay, video.fps, video.times)

        def named(frames: torch.Tensor) -> list[tuple[Proposals, npt.NDArray[np.float32]]]:
            with self.cost.frames_of(len(frames)):
                found = propose(frames)
                with stage("naming"):
                    return list(zip(found, name(frames, found), strict=True))

        batches = uploaded(linker.watched(video.images()), self.masks.batch, self.masks.device)
        for batch in computed(named, batches, self.masks.device):
            for proposals, probabilities in batch:
                yield from linker.add(proposals, probabilities)
        yield from linker.rest()
