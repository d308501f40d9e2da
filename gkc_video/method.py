"""GKC as a method of the suite: frames of named, tracked segments, one a frame, without the image encoder of CLIP."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.timing.stages import stage
from ovsbench.benchmark.types import Image, PanopticFrame, Rules, Segment, Video, Vocabulary
from ovsbench.gkc_video import checkpoint as checkpoints
from ovsbench.gkc_video.device import choose
from ovsbench.gkc_video.model.compiling import compile_in_place
from ovsbench.gkc_video.model.inference import Merging
from ovsbench.gkc_video.model.load import RANDOM, load_gkc, random_gkc
from ovsbench.gkc_video.model.network import GKC
from ovsbench.gkc_video.model.post_processing import Proposals, assemble, class_map, propose, propose_all
from ovsbench.gkc_video.text.text_space import Bank, NameTable, TextSpace, name_table
from ovsbench.gkc_video.tracking.tracker import DEFAULT, Association, Regions, Track, Tracker
from ovsbench.gkc_video.tracking.tracker import association as settings_of

TASKS = ("semantic", "panoptic")
NEEDS = "-c GKC; extra gkc"


def build(
    *,
    checkpoint: Path | None = None,
    device: str = "auto",
    text_bank: Path | None = None,
    synonyms: bool = False,
    objectness: float = 0.5,
    overlap: float = 0.5,
    side: int | None = None,
    association: str = DEFAULT,
    vote: bool = True,
    max_age_seconds: float | None = None,
    delay: int = 0,
    batch: int = 1,
    precision: Literal["float32", "bfloat16"] = "float32",
    compile: bool = False,
    cuda_graphs: bool = False,
    tiles: int = 0,
    calibration: float | None = None,
) -> GKCMethod:
    """GKC with a trained checkpoint.

    Args:
        checkpoint: a file of `ovsbench train`, the name of a shipped one, or see `load.random_gkc`.
        device: "auto", "cpu", "cuda", ...
        text_bank: precomputed name vectors instead of the checkpoint's own text side; of the same CLIP.
        synonyms: whether a class may also be recognised by its synonyms.
        objectness: see `Merging`, like `overlap`.
        overlap: share of its mask that a region must keep.
        side: shorter side of the network's input; by default the size it was trained for.
        association: how regions are linked over time, a name of `ovsbench.gkc_video.tracking.tracker.ASSOCIATIONS`.
        vote: whether class scores are averaged along a track.
        max_age_seconds: for how long an unseen object is kept; by default as the association has it.
        delay: frames that an answer waits, so that so many later ones vote for its classes too; 0 answers at once.
        batch: frames that go through the network at once.
        precision: of the network's arithmetic.
        compile: whether torch compiles the network at the first frame of each size, which takes minutes and then pays.
        cuda_graphs: whether the compiled network is also replayed as a CUDA graph; on a GPU alone.
        tiles: for timing alone, see `Merging`.
        calibration: taken from the logits of the classes whose masks were seen in training, against the bias for them;
            by default as the checkpoint's header says. `ovsbench calibrate` chooses it on held-out base classes.

    Raises:
        MethodError: no checkpoint, one of another kind, or an option out of its range.
    """
    if checkpoint is None:
        example = next((name for name in checkpoints.shipped() if name.startswith("gkc")), "FILE")
        raise MethodError(
            f"the method gkc needs trained weights, got no checkpoint. Give one with -c, such as -c {example}"
        )
    for name, value in (("objectness", objectness), ("overlap", overlap)):
        if not 0.0 <= value <= 1.0:
            raise MethodError(f"option {name} of method gkc: expected a number from 0 to 1, got {value}. Write one")
    for name, count, least in (
        ("side", side, 1),
        ("max_age_seconds", max_age_seconds, 0),
        ("delay", delay, 0),
        ("batch", batch, 1),
        ("tiles", tiles, 0),
    ):
        if count is not None and count < least:
            raise MethodError(f"option {name} of method gkc: expected at least {least}, got {count}. Write more")
    if calibration is not None and not math.isfinite(calibration):
        raise MethodError(f"option calibration of method gkc: expected a number, got {calibration}. Write one")
    linking = settings_of(association, vote=vote, max_age_seconds=max_age_seconds)
    is_random = str(checkpoint).startswith(RANDOM)
    path = checkpoint if is_random else checkpoints.resolve(checkpoint)
    loaded = random_gkc(str(path), choose(device)) if is_random else load_gkc(path, choose(device))
    if compile or cuda_graphs:
        compile_in_place(loaded.model, graphs=cuda_graphs)
    space = loaded.space if text_bank is None else Bank.read(text_bank)
    merging = Merging(
        objectness=objectness,
        overlap=overlap,
        side=loaded.side if side is None else side,
        precision=precision,
        tiles=tiles,
    )
    if calibration is None:
        calibration = loaded.calibration
    told = ("data", "saw_novel", "unlabelled", "captions")
    story = {key: str(loaded.story[key]) for key in told if loaded.story.get(key)}
    return GKCMethod(
        loaded.model,
        space,
        merging,
        linking,
        delay=delay,
        batch=batch,
        synonyms=synonyms,
        calibration=calibration,
        seen=frozenset(loaded.story.get("classes", ())),
        held_out=frozenset(loaded.story.get("held_out", ())),
        checkpoint_sha256="" if is_random else checkpoints.digest(path),
        notes={
            "trained_on": story.get("data", ""),
            **story,
            **space.about,
            "association": f"{association}; of ovsbench, not part of GKC",
        },
    )


@dataclass(frozen=True)
class GKCMethod:
    """See `build`."""

    model: GKC
    space: TextSpace
    merging: Merging
    association: Association
    delay: int = 0
    batch: int = 1
    synonyms: bool = False
    calibration: float = 0.0
    seen: frozenset[str] = frozenset()
    held_out: frozenset[str] = frozenset()
    checkpoint_sha256: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)
    name: str = "gkc"
    _tables: dict[str, NameTable] = field(default_factory=dict, repr=False, compare=False)

    @property
    def precision(self) -> str:
        """Of the network's arithmetic."""
        return self.merging.precision

    @property
    def device(self) -> str:
        """That the model is on."""
        return str(self.model.no_object.device)

    def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame]:
        """Yields one frame for each image; its memory does not grow with the video."""
        table = self.names(vocabulary)
        if rules.task == "semantic":
            return (self._semantic(image, table, vocabulary) for image in video.images())
        return self._panoptic(video, table, vocabulary)

    def names(self, vocabulary: Vocabulary) -> NameTable:
        """The vocabulary's vectors on the model's device; those of the last vocabulary are kept for the next video."""
        if vocabulary.digest not in self._tables:
            table = name_table(self.space, vocabulary, synonyms=self.synonyms)
            device = self.model.no_object.device
            self._tables.clear()
            handicap = None
            if self.calibration:
                handicap = torch.tensor([self.calibration * (c.name in self.seen) for c in vocabulary], device=device)
            self._tables[vocabulary.digest] = NameTable(table.vectors.to(device), table.owner.to(device), handicap)
        return self._tables[vocabulary.digest]

    def propose(self, image: Image, table: NameTable) -> Proposals:
        """The regions of a frame, also for methods that name them in another way."""
        return propose(self.model, image, table, self.merging)

    def _panoptic(self, video: Video, table: NameTable, vocabulary: Vocabulary) -> Iterator[PanopticFrame]:
        linker = Linker(vocabulary, self.association, self.delay, video.fps)
        for images in batched(video.images(), self.batch):
            for proposals in propose_all(self.model, images, table, self.merging):
                yield from linker.add(proposals, proposals.probabilities)
        yield from linker.rest()

    def _semantic(self, image: Image, table: NameTable, vocabulary: Vocabulary) -> PanopticFrame:
        return paint(class_map(self.model, image, table, self.merging), vocabulary)


def batched(images: Iterator[Image], count: int) -> Iterator[list[Image]]:
    """The images in groups of `count`, the last one of what is left.

    >>> [len(group) for group in batched(iter([0, 1, 2, 3, 4]), 2)]
    [2, 2, 1]
    """
    while group := list(islice(images, count)):
        yield group


class Linker:
    """Links named regions to those of the frames before, for any method that has regions; one for each video.

    Args:
        vocabulary: the C classes.
        settings: of the linking.
        delay: frames that an answer waits for later votes.
        fps: frames a second of the video, None where unknown.
    """

    def __init__(self, vocabulary: Vocabulary, settings: Association, delay: int = 0, fps: float | None = None) -> None:
        self._vocabulary = vocabulary
        self._tracker = Tracker(settings, fps)
        self._delay = delay
        self._waiting: deque[tuple[Proposals, npt.NDArray[np.float32], tuple[Track, ...]]] = deque()

    def add(self, proposals: Proposals, probabilities: npt.NDArray[np.float32]) -> Iterator[PanopticFrame]:
        """Takes in a frame's regions and their class probabilities (N, C), whoever gave them; yields what is ready."""
        with stage("association"):
            regions = Regions(proposals.masks, proposals.embeddings, probabilities, proposals.queries)
            self._waiting.append((proposals, probabilities, self._tracker.follow(regions)))
        while len(self._waiting) > self._delay:
            yield self._frame()

    def rest(self) -> Iterator[PanopticFrame]:
        """Yields the frames that still wait at the end of the video."""
        while self._waiting:
            yield self._frame()

    def _frame(self) -> PanopticFrame:
        proposals, probabilities, tracks = self._waiting.popleft()
        ids = np.array([track.id for track in tracks], np.int64)
        if self._tracker.settings.vote and tracks:
            probabilities = np.stack([track.vote for track in tracks])
        with stage("post-processing"):
            return assemble(proposals.numbers, ids, probabilities, proposals.objectness, self._vocabulary)


def paint(classes: npt.NDArray[np.int32], vocabulary: Vocabulary) -> PanopticFrame:
    """A frame of class indices (H, W) as segments, one a class, with the id 1 + index."""
    listed = list(vocabulary)
    present = np.flatnonzero(np.bincount(classes.ravel())).tolist()
    return PanopticFrame((classes + 1).astype(np.uint32), {n + 1: Segment(n + 1, listed[n].id) for n in present})
