"""GKC as a method of the suite: frames of named, tracked segments, one a frame, without the image encoder of CLIP."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import torch

from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.types import Image, InstanceFrame, PanopticFrame, Rules, Video, Vocabulary
from ovsbench.gkc_video import checkpoint as checkpoints
from ovsbench.gkc_video.device import choose
from ovsbench.gkc_video.model import (
    USUAL,
    InstanceOptions,
    Network,
    PostProcessing,
    class_maps,
    computed,
    objects_of,
    post_process,
    uploaded,
)
from ovsbench.gkc_video.model.compiling import compile_in_place
from ovsbench.gkc_video.model.inference import Precision
from ovsbench.gkc_video.model.load import RANDOM, LoadedGKC, load_gkc, random_gkc
from ovsbench.gkc_video.model.post_processing import launch, unpacked
from ovsbench.gkc_video.proposals import Proposals, paint
from ovsbench.gkc_video.text import Bank, NameTable, TextSpace, name_table
from ovsbench.gkc_video.tracking import DEFAULT, Association, InstanceLinker, Linker
from ovsbench.gkc_video.tracking import association as settings_of

TASKS = ("semantic", "panoptic", "instance")
NEEDS = "-c GKC; extra gkc"

Result = TypeVar("Result")


def build(
    *,
    checkpoint: Path | None = None,
    device: str = "auto",
    text_bank: Path | None = None,
    synonyms: bool = False,
    objectness: float | None = None,
    min_kept_share: float | None = None,
    mask_nms_iou: float | None = None,
    side: int | None = None,
    association: str = DEFAULT,
    vote: bool = True,
    max_age_seconds: float | None = None,
    propagate: int = 0,
    delay: int = 0,
    batch: int = 1,
    precision: Precision = "float32",
    compile: bool = False,
    cuda_graphs: bool | None = None,
    tiles: int = 0,
    base_logit_penalty: float | None = None,
    instances: InstanceOptions = USUAL,
) -> GKCMethod:
    """GKC with a trained checkpoint.

    Args:
        checkpoint: a file of `ovsbench train`, the name of a shipped one, or see `load.random_gkc`.
        device: "auto", "cpu", "cuda", ...
        text_bank: precomputed name vectors instead of the checkpoint's own text side; of the same CLIP.
        synonyms: whether a class may also be recognised by its synonyms.
        objectness: least probability of being any of the names, of a query that becomes a region; by default, as the
            next two, what the checkpoint's header says, else 0.5.
        min_kept_share: share of its mask that a region must keep; else 0.5.
        mask_nms_iou: of two masks that overlap with a higher IoU the less confident is dropped, 1 for none; else 0.6.
        side: shorter side of the network's input; by default the size it was trained for.
        association: how regions are linked over time, a name of `ovsbench.gkc_video.tracking.ASSOCIATIONS`.
        vote: whether class scores are averaged along a track.
        max_age_seconds: for how long an unseen object is kept; by default as the association has it.
        propagate: frames in a row for which an object that is missed keeps its mask, moved to where the pictures match.
        delay: frames that an answer waits, so that so many later ones vote for its classes too; 0 answers at once.
        batch: frames that go through the network at once; on a GPU an answer also waits for the next batch.
        precision: of the network's arithmetic.
        compile: whether torch compiles the network at the first frame of each size, which takes minutes and then pays.
        cuda_graphs: whether the network is recorded at the first frames of each size and replayed; by default on a GPU.
        tiles: for timing alone, see `PostProcessing`.
        base_logit_penalty: taken from the logits of the classes whose masks were seen in training, against the bias for
            them; by default as the checkpoint's header says. `ovsbench calibrate` chooses it on held-out base classes.
        instances: what becomes an object on an instance benchmark.

    Raises:
        MethodError: no checkpoint, one of another kind, or an option out of its range.
    """
    if checkpoint is None:
        example = next((name for name in checkpoints.shipped() if name.startswith("gkc")), "FILE")
        raise MethodError(
            f"the method gkc needs trained weights, got no checkpoint. Give one with -c, such as -c {example}"
        )
    _check_counts(side=(side, 1), max_age_seconds=(max_age_seconds, 0), delay=(delay, 0), batch=(batch, 1),
                  tiles=(tiles, 0))  # fmt: skip
    if base_logit_penalty is not None and not math.isfinite(base_logit_penalty):
        raise MethodError(f"option base_logit_penalty of method gkc: expected a number, got {base_logit_penalty}")
    linking = settings_of(association, vote=vote, max_age_seconds=max_age_seconds, propagate=propagate)
    given = {"objectness": objectness, "min_kept_share": min_kept_share, "mask_nms_iou": mask_nms_iou}
    shares = {name: value for name, value in given.items() if value is not None}
    _check_shares(**shares)
    loaded, digest = _opened(checkpoint, choose(device))
    network = _network(loaded, side, precision, cuda_graphs)
    if compile:
        compile_in_place(network.model)
    space = loaded.space if text_bank is None else Bank.read(text_bank)
    return GKCMethod(
        network,
        space,
        replace(replace(loaded.post_processing, tiles=tiles), **shares),  # type: ignore[arg-type]
        linking,
        delay=delay,
        batch=batch,
        instances=instances,
        synonyms=synonyms,
        base_logit_penalty=loaded.base_logit_penalty if base_logit_penalty is None else base_logit_penalty,
        seen=frozenset(loaded.metadata.get("classes", ())),
        held_out=frozenset(loaded.metadata.get("held_out", ())),
        checkpoint_sha256=digest,
        notes={**_notes(loaded), **space.about, "association": f"{association}; of ovsbench, not part of GKC"},
    )


def _notes(loaded: LoadedGKC) -> dict[str, str]:
    """What a checkpoint's metadata contributes to the record of a run."""
    keys = ("data", "saw_novel", "unlabelled", "captions")
    known = {key: str(loaded.metadata[key]) for key in keys if loaded.metadata.get(key)}
    return {"trained_on": known.get("data", ""), **known}


def _check_shares(**options: float) -> None:
    for name, value in options.items():
        if not 0.0 <= value <= 1.0:
            raise MethodError(f"option {name} of method gkc: expected a number from 0 to 1, got {value}")


def _check_counts(**options: tuple[float | None, int]) -> None:
    for name, (value, least) in options.items():
        if value is not None and value < least:
            raise MethodError(f"option {name} of method gkc: expected at least {least}, got {value}")


def _opened(checkpoint: Path, device: str) -> tuple[LoadedGKC, str]:
    """What a checkpoint holds, and the sha256 of its file; "" for random weights."""
    if str(checkpoint).startswith(RANDOM):
        return random_gkc(str(checkpoint), device), ""
    path = checkpoints.resolve(checkpoint)
    return load_gkc(path, device), checkpoints.digest(path)


def _network(loaded: LoadedGKC, side: int | None, precision: Precision, cuda_graphs: bool | None) -> Network:
    device = loaded.model.no_object.device.type
    if cuda_graphs and device != "cuda":
        raise MethodError(f"option cuda_graphs needs a model on a GPU, this one is on {device}. Leave the option")
    graphs = device == "cuda" and cuda_graphs is not False
    return Network.prepared(loaded.model, loaded.side if side is None else side, precision, cuda_graphs=graphs)


@dataclass(frozen=True)
class GKCMethod:
    """See `build`; it also gives its regions to methods that name them in another way."""

    network: Network
    space: TextSpace
    post_processing: PostProcessing
    association: Association
    delay: int = 0
    batch: int = 1
    instances: InstanceOptions = USUAL
    synonyms: bool = False
    base_logit_penalty: float = 0.0
    seen: frozenset[str] = frozenset()
    held_out: frozenset[str] = frozenset()
    checkpoint_sha256: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)
    name: str = "gkc"
    _tables: dict[str, NameTable] = field(default_factory=dict, repr=False, compare=False)

    @property
    def precision(self) -> str:
        """Of the network's arithmetic."""
        return self.network.precision

    @property
    def device(self) -> str:
        """That the model is on."""
        return str(self.network.device)

    def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame | InstanceFrame]:
        """Yields one frame for each image, on instance benchmarks with masks that may overlap and several names each.

        Its memory does not grow with the video.
        """
        if rules.task == "instance":
            return self._instances(video, vocabulary)
        return (self._semantic if rules.task == "semantic" else self._panoptic)(video, vocabulary)

    def name_table(self, vocabulary: Vocabulary) -> NameTable:
        """The vocabulary's vectors on the model's device; those of the last vocabulary are kept for the next video."""
        table = self._tables.get(vocabulary.digest)
        if table is None:
            table = name_table(self.space, vocabulary, synonyms=self.synonyms)
            if self.base_logit_penalty:
                rows = [self.base_logit_penalty * (category.name in self.seen) for category in vocabulary]
                table = replace(table, penalty=torch.tensor(rows))
            table = table.to(self.network.device)
            self._tables.clear()
            self._tables[vocabulary.digest] = table
        return table

    def reader(self, vocabulary: Vocabulary) -> Callable[[torch.Tensor], list[Proposals]]:
        """The function from frames, uint8 (B, 3, H, W) on the model's device, to their regions."""
        table = self.name_table(vocabulary)
        return lambda frames: post_process(self.network.run(frames, table), self.post_processing)

    def _panoptic(self, video: Video, vocabulary: Vocabulary) -> Iterator[PanopticFrame]:
        linker = Linker(vocabulary, self.association, self.delay, video.fps, video.times)
        for proposals in self._regions(linker.watched(video.images()), vocabulary):
            yield from linker.add(proposals)
        yield from linker.rest()

    def _instances(self, video: Video, vocabulary: Vocabulary) -> Iterator[InstanceFrame]:
        table = self.name_table(vocabulary)
        linker = InstanceLinker(vocabulary, self.association, self.instances.top_k, video.fps, video.times)
        images = linker.watched(video.images())
        for batch in self.computed(
            lambda frames: list(objects_of(self.network.run(frames, table), vocabulary, self.instances)), images
        ):
            for objects in batch:
                yield linker.link(objects)

    def _regions(self, images: Iterator[Image], vocabulary: Vocabulary) -> Iterator[Proposals]:
        """The regions of each frame."""
        table = self.name_table(vocabulary)
        for packed in self.computed(
            lambda frames: launch(self.network.run(frames, table), self.post_processing), images
        ):
            yield from unpacked(packed, self.post_processing)

    def _semantic(self, video: Video, vocabulary: Vocabulary) -> Iterator[PanopticFrame]:
        table = self.name_table(vocabulary)
        for maps in self.computed(lambda frames: class_maps(self.network.run(frames, table)), video.images()):
            for classes in maps:
                yield paint(classes, vocabulary)

    def computed(self, compute: Callable[[torch.Tensor], Result], images: Iterator[Image]) -> Iterator[Result]:
        """What a function makes of each batch of frames, uint8 (B, 3, H, W) on the model's device, in order."""
        return computed(compute, uploaded(images, self.batch, self.network.device), self.network.device)
