"""Methods in two parts: somebody gives the masks of a frame, somebody names them; regions are linked by gkc_video."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from ovsbench.benchmark.timing.stages import StageClock, is_heard, stage
from ovsbench.benchmark.types import Image, PanopticFrame, Rules, Video, Vocabulary
from ovsbench.gkc_video.method import Linker
from ovsbench.gkc_video.model.post_processing import Proposals
from ovsbench.gkc_video.tracking.tracker import Association

Propose = Callable[[Image], Proposals]
Name = Callable[[Image, Proposals], npt.NDArray[np.float32]]
"""A frame and its N regions to class probabilities (N, C)."""


class MaskSource(Protocol):
    """Whoever gives masks; `sha256` is of its weights, `notes` are facts for the record."""

    @property
    def association(self) -> Association: ...

    @property
    def delay(self) -> int: ...

    @property
    def sha256(self) -> str: ...

    @property
    def device(self) -> str: ...

    @property
    def notes(self) -> Mapping[str, str]: ...

    def reader(self, vocabulary: Vocabulary) -> Propose:
        """The function from frame to regions; a source without classes ignores the vocabulary."""
        ...


class RegionNamer(Protocol):
    """Whoever names regions."""

    @property
    def sha256(self) -> str: ...

    @property
    def notes(self) -> Mapping[str, str]: ...

    def reader(self, vocabulary: Vocabulary) -> Name:
        """The function from frame and regions to class probabilities."""
        ...


class Cost:
    """Seconds by stage over all frames but the first of a process, in which models warm up.

    Args:
        device: whose queued work is waited for at the end of each stage.
    """

    def __init__(self, device: str) -> None:
        self.frames = -1
        self._wait = (lambda: torch.cuda.synchronize(device)) if device.startswith("cuda") else (lambda: None)
        self._clock = StageClock(wait=self._wait)

    @contextlib.contextmanager
    def frame(self) -> Iterator[None]:
        """Times a frame, unless somebody else is timing the method."""
        if is_heard():
            yield
            return
        with (self._clock if self.frames >= 0 else StageClock(wait=self._wait)).listening():
            yield
        self.frames += 1

    @property
    def notes(self) -> Mapping[str, str]:
        """The cost in words; nothing before the second frame."""
        if self.frames < 1:
            return {}
        parts = [f"{name} {1000 * spent / self.frames:.1f}" for name, spent in self._clock.seconds.items()]
        return {"milliseconds a frame": f"{', '.join(parts)} (over {self.frames} frames)"}


@dataclass(frozen=True)
class RegionMethod:
    """Masks from one, names from the other; `story` holds further notes."""

    name: str
    masks: MaskSource
    names: RegionNamer
    cost: Cost
    story: Mapping[str, str] = field(default_factory=dict)

    @property
    def checkpoint_sha256(self) -> str:
        """Of both: other weights of either make another method."""
        return hashlib.sha256(f"{self.masks.sha256} {self.names.sha256}".encode()).hexdigest()

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
            **self.story,
            "masks sha256": self.masks.sha256,
            "names sha256": self.names.sha256,
            **self.cost.notes,
        }

    def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame]:
        """Yields one frame for each image; its memory does not grow with the video."""
        propose, name = self.masks.reader(vocabulary), self.names.reader(vocabulary)
        linker = Linker(vocabulary, self.masks.association, self.masks.delay, video.fps)
        for image in video.images():
            with self.cost.frame():
                proposals = propose(image)
                with stage("naming"):
                    probabilities = name(image, proposals)
                ready = list(linker.add(proposals, probabilities))
            yield from ready
        yield from linker.rest()
