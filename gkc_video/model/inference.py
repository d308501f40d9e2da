"""The network at test time: frames in; masks, embeddings and class logits out, on any device."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F

from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.timing.stages import stage
from ovsbench.gkc_video.model.network import GKC, Prediction, pad
from ovsbench.gkc_video.model.pointwise import use_onednn
from ovsbench.gkc_video.model.preparing import cast_once, fold_norms
from ovsbench.gkc_video.text.text_space import NameTable

Precision = Literal["float32", "bfloat16"]
MOST_GRAPHS = 8
"""Shapes of input for which a recorded network is kept; each keeps its own memory on the device."""


@dataclass(frozen=True)
class RawOutputs:
    """What a network says of B frames, before post-processing.

    Attributes:
        masks: logits (B, Q, h, w), without the padding.
        embeddings: (B, Q, D), not normalised.
        states: (B, Q, E), what distinguishes the queries, not normalised.
        classes: logits (B, Q, C + 1), no-object last.
        size: (H, W) of the frames.
    """

    masks: torch.Tensor
    embeddings: torch.Tensor
    states: torch.Tensor
    classes: torch.Tensor
    size: tuple[int, int]


class ClassHead(NamedTuple):
    """The names that embeddings are compared with, as they are needed in each frame.

    Attributes:
        anchors: (D, N + 1), scaled vectors of the names and, last, of no-object.
        owner: (N + 1,), the class of each; no-object is the class C.
        classes: C.
        penalty: see `NameTable`.
    """

    anchors: torch.Tensor
    owner: torch.Tensor
    classes: int
    penalty: torch.Tensor | None

    @staticmethod
    def of(model: GKC, table: NameTable) -> ClassHead:
        """Of a vocabulary's names, which are thus projected once."""
        owner = torch.cat([table.owner, torch.full_like(table.owner[:1], table.classes)])
        return ClassHead(model.anchors(table.vectors).float().T.contiguous(), owner, table.classes, table.penalty)

    def logits(self, embeddings: torch.Tensor) -> torch.Tensor:
        """(B, Q, C + 1) of embeddings (B, Q, D): a class has its best name's, less its penalty."""
        names = F.normalize(embeddings, dim=-1) @ self.anchors
        best = names.new_full((*names.shape[:-1], self.classes + 1), -torch.inf)
        best = best.scatter_reduce_(-1, self.owner.expand_as(names), names, "amax", include_self=False)
        return penalised(best, self.penalty)


@dataclass(frozen=True)
class Network:
    """A GKC and how it is run; `prepared` makes one ready.

    Attributes:
        model: in evaluation mode.
        side: shorter side of its input in pixels, None for the frame's own size.
        precision: of its weights and arithmetic; normalisation, logits and what it gives are float32.
        cuda_graphs: whether its launches are recorded for each shape of its input and replayed as one, on a GPU.
    """

    model: GKC
    side: int | None = None
    precision: Precision = "float32"
    cuda_graphs: bool = False
    _heads: list[tuple[NameTable, ClassHead]] = field(default_factory=list, repr=False, compare=False)
    _compiled: set[tuple[torch.Size, torch.dtype]] = field(default_factory=set, repr=False, compare=False)
    _compiling: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)
    _graphs: dict[tuple[torch.Size, torch.dtype], Graph] = field(default_factory=dict, repr=False, compare=False)

    @staticmethod
    def prepared(model: GKC, side: int | None, precision: Precision, *, cuda_graphs: bool) -> Network:
        """With batch normalisation folded, the weights cast, and the fastest kernels of a processor, in place."""
        if model.trunk.kind == "resnet":
            fold_norms(model.trunk)
        if model.no_object.device.type == "cpu":
            use_onednn(model)
        if precision == "bfloat16":
            cast_once(model, torch.bfloat16)
        return Network(model, side, precision, cuda_graphs)

    @property
    def device(self) -> torch.device:
        """That the model is on."""
        return self.model.no_object.device

    @torch.inference_mode()
    def run(self, frames: torch.Tensor, table: NameTable) -> RawOutputs:
        """Runs the network on frames of one size at once.

        Args:
            frames: uint8 (B, 3, H, W) on the model's device.
            table: names to choose from, on the same device.

        Raises:
            MethodError: the device's memory is not enough.
        """
        size = (frames.shape[-2], frames.shape[-1])
        with enough_memory(self.device, len(frames), size):
            with stage("resize"):
                pixels = self._resized(frames)
                height, width = pixels.shape[-2:]
                pixels = pad(pixels).to(memory_format=torch.channels_last)
            with stage("model"):
                masks, embeddings, states = self._forward(pixels)
                masks = masks[..., : -(-height // 4), : -(-width // 4)]
                classes = self._head(table).logits(embeddings)
        return RawOutputs(masks, embeddings, states, classes, size)

    def _forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Masks, embeddings and states in float32, of the caller's own: a graph writes over what it gave before."""
        if not (self.cuda_graphs and pixels.is_cuda):
            last = self._layers(pixels)[-1]
            return [part.to(torch.float32, copy=True) for part in (last.masks, last.embeddings, last.states)]
        key = (
            pixels.shape,
            pixels.dtype,
        )  # frames that were resized or padded are float, of the same shape others are not
        graph = self._graphs.get(key)
        if graph is None:
            if len(self._graphs) >= MOST_GRAPHS:
                self._graphs.clear()
            graph = self._graphs[key] = Graph(self.model, pixels)
        return graph.replay(pixels)

    def _layers(self, pixels: torch.Tensor) -> list[Prediction]:
        """Of the model, which compiles for the first input of a shape: one thread does, and the others wait for it."""
        if self.model._compiled_call_impl is not None:
            with self._compiling:
                if (key := (pixels.shape, pixels.dtype)) not in self._compiled:
                    layers: list[Prediction] = self.model(pixels, last_only=True)
                    self._compiled.add(key)
                    return layers
        return self.model(pixels, last_only=True)

    def _head(self, table: NameTable) -> ClassHead:
        kept = next(iter(self._heads), None)
        if kept is None or kept[0] is not table:
            kept = (table, ClassHead.of(self.model, table))
            self._heads[:] = [kept]  # which another thread may change meanwhile
        return kept[1]

    def _resized(self, frames: torch.Tensor) -> torch.Tensor:
        shortest = min(frames.shape[-2:])
        if self.side is None or shortest == self.side:
            return frames
        factor = self.side / shortest
        size = [max(1, round(n * factor)) for n in frames.shape[-2:]]
        return F.interpolate(frames.float(), size, mode="bilinear", align_corners=False, antialias=factor < 1)


class Graph:
    """The eager network recorded as one CUDA graph for one shape of its input: one launch instead of a thousand.

    Args:
        model: in evaluation mode, on a GPU.
        pixels: of that shape; they only serve to record.
    """

    WARM_UP = 3
    """Runs before the recording, in which libraries choose their kernels and constants of the shape are made."""

    def __init__(self, model: GKC, pixels: torch.Tensor) -> None:
        self._pixels = pixels.clone(memory_format=torch.channels_last)
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(self.WARM_UP):
                model(self._pixels, last_only=True)
        torch.cuda.current_stream().wait_stream(beside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            last = model(self._pixels, last_only=True)[-1]
            self._outputs = [part.float() for part in (last.masks, last.embeddings, last.states)]

    def replay(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Masks, embeddings and states of other pixels of the shape, as copies."""
        self._pixels.copy_(pixels)
        self._graph.replay()
        return [part.clone() for part in self._outputs]


def penalised(logits: torch.Tensor, penalty: torch.Tensor | None) -> torch.Tensor:
    """Class logits (..., C + 1), no-object last, less a penalty (C,) of each class: calibrated stacking.

    Only the choice between classes changes: the probability that a query is any of them at all stays.

    Source: Chao et al., An Empirical Study and Analysis of Generalized Zero-Shot Learning, ECCV 2016.
    """
    if penalty is None:
        return logits
    named = logits[..., :-1]
    less = named - penalty
    kept = named.logsumexp(-1, keepdim=True) - less.logsumexp(-1, keepdim=True)
    return torch.cat([less + kept, logits[..., -1:]], -1)


@contextmanager
def enough_memory(device: torch.device, batch: int, size: tuple[int, ...]) -> Iterator[None]:
    """Says which options lower memory where there is too little of it for `batch` frames of (height, width) `size`.

    Raises:
        MethodError: there is.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        is_memory = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        if not is_memory and not any(sign in str(error) for sign in ("can't allocate memory", "not enough memory")):
            raise
        other = "--threads 1" if device.type == "cpu" else "--device cpu"
        raise MethodError(
            f"the memory of {device.type} is not enough for {batch} {'frame' if batch == 1 else 'frames'} of "
            f"{size[1]}x{size[0]} pixels at once. "
            f"Lower --option side=..., use --option batch=1 or --option precision=bfloat16, or {other}"
        ) from error
