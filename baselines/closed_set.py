"""A closed-set segmenter made open: its classes are mapped to the vocabulary; whatever it has no class for it misses.

Any checkpoint folder of transformers' universal segmentation: Mask2Former, MaskFormer, OneFormer, EoMT.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from ovsbench.baselines.class_names import ClassMap, map_classes, report_new
from ovsbench.baselines.hf_folder import load_folder, read_preprocessor
from ovsbench.baselines.regions import Propose
from ovsbench.baselines.shared_options import Linking, Wording
from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.machine import path_digest
from ovsbench.benchmark.timing.stages import stage
from ovsbench.benchmark.types import InstanceFrame, PanopticFrame, Rules, Video, Vocabulary
from ovsbench.gkc_video.device import choose
from ovsbench.gkc_video.model import (
    USUAL,
    InstanceOptions,
    PostProcessing,
    RawOutputs,
    computed,
    objects_of,
    post_process,
    prepare_torchvision,
    uploaded,
)
from ovsbench.gkc_video.text import Prompted, TextSpace
from ovsbench.gkc_video.tracking import Association, InstanceLinker, Linker, Proposals

TASKS = ("semantic", "panoptic", "instance")
NEEDS = "-c folder of transformers; extra gkc"
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def build(
    *,
    checkpoint: Path | None = None,
    device: str = "auto",
    clip: str | None = None,
    threshold: float = 0.9,
    objectness: float = 0.5,
    min_kept_share: float = 0.5,
    side: int | None = None,
    batch: int = 1,
    wording: Wording = Wording(),
    linking: Linking = Linking(),
    instances: InstanceOptions = USUAL,
) -> ClosedSet:
    """The method.

    Args:
        checkpoint: a folder that transformers' `save_pretrained` wrote; its config names the classes.
        device: "auto", "cpu", "cuda", ...
        clip: whose text encoder compares words that are neither equal nor synonyms; without one they stay unmapped.
        threshold: the least cosine of two words that mean the same.
        objectness: a query less likely to be of a mapped class is dropped.
        min_kept_share: share of its mask that a region must keep.
        side: shorter side of the input in pixels; by default as the folder's preprocessor says, or the frame's own.
        batch: frames that go through the model at once; a VideoMT hands its queries on from frame to frame within them.
        wording: how the CLIP is asked.
        linking: of regions over time.
        instances: what becomes an object on an instance benchmark.

    Raises:
        MethodError: no folder, weights that do not fit it, or an option out of its range.
    """
    if checkpoint is None:
        raise MethodError("the method closed-set needs a folder that transformers saved, got none. Give one with -c")
    for option, value in (("threshold", threshold), ("objectness", objectness), ("min_kept_share", min_kept_share)):
        if not 0.0 <= value <= 1.0:
            raise MethodError(f"option {option} of method closed-set: expected 0 to 1, got {value}")
    if batch < 1:
        raise MethodError(f"option batch of method closed-set: expected at least 1, got {batch}")
    settings = linking.settings
    prepare_torchvision()
    from transformers import AutoModelForUniversalSegmentation

    chosen = choose(device)
    model = load_folder(AutoModelForUniversalSegmentation, checkpoint, chosen)
    for part in model.modules():  # a OneFormer saved for training asks for texts, and drops out states in evaluation
        if getattr(part, "is_training", False):
            part.is_training = False
    space: TextSpace | None = None
    digest = path_digest(checkpoint)
    if clip is not None:
        from ovsbench.baselines.region_clip import Namer

        namer = Namer.load(clip, wording, device=device)
        space = Prompted(namer.clip, namer.templates)
        digest = hashlib.sha256(f"{digest} {namer.sha256}".encode()).hexdigest()
    return ClosedSet(
        model,
        Input.of(checkpoint, model.config, side),
        PostProcessing(objectness, min_kept_share=min_kept_share),
        settings,
        linking.delay,
        space,
        threshold,
        digest,
        batch=batch,
        instances=instances,
    )


@dataclass(frozen=True)
class Input:
    """What the model wants to see.

    Attributes:
        mean, std: of RGB in [0, 1].
        side: shorter side in pixels, a multiple of 32 each; None for the frame's own size.
        square: a fixed size that the model cannot leave, None where any.
    """

    mean: tuple[float, ...] = _MEAN
    std: tuple[float, ...] = _STD
    side: int | None = None
    square: int | None = None

    @staticmethod
    def of(folder: Path, config: Any, side: int | None) -> Input:
        """As the folder's `preprocessor_config.json` says, where there is one."""
        usual = read_preprocessor(folder)
        square = getattr(config, "image_size", None) if "eomt" in str(config.model_type) else None
        return Input(usual.mean or _MEAN, usual.std or _STD, side or usual.side, square)

    def pixels(self, frames: torch.Tensor) -> torch.Tensor:
        """uint8 (B, 3, H, W) to (B, 3, h, w) normalised."""
        height, width = frames.shape[-2:]
        pixels = frames.float() / 255
        factor = 1.0 if self.side is None else self.side / min(height, width)
        size = [max(1, round(n * factor / 32)) * 32 for n in (height, width)]
        if self.square is not None:
            size = [self.square, self.square]
        if size != [height, width]:
            pixels = F.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=size[0] < height)
        mean, std = (torch.tensor(v, device=frames.device).view(1, 3, 1, 1) for v in (self.mean, self.std))
        return (pixels - mean) / std


@dataclass(frozen=True)
class ClosedSet:
    """See `build`; it also gives its masks, whatever their class, to methods that name them otherwise."""

    model: Any
    input: Input
    post_processing: PostProcessing
    association: Association
    delay: int
    space: TextSpace | None
    threshold: float
    checkpoint_sha256: str
    name: str = "closed-set"
    batch: int = 1
    instances: InstanceOptions = USUAL
    class_map_notes: dict[str, str] = field(default_factory=dict)

    @property
    def device(self) -> str:
        """That the model is on."""
        return str(next(self.model.parameters()).device)

    @property
    def notes(self) -> Mapping[str, str]:
        """Facts for the record of a run; the mapping once a vocabulary was seen."""
        likeness = "none" if self.space is None else f"at least {self.threshold:g}"
        return {"architecture": type(self.model).__name__, "likeness of words": likeness, **self.class_map_notes}

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the model's classes, in order."""
        return tuple(str(self.model.config.id2label[number]) for number in range(self.model.config.num_labels))

    def mapping(self, vocabulary: Vocabulary) -> ClassMap:
        """Maps the classes, and prints the mapping once."""
        found = map_classes(self.classes, vocabulary, space=self.space, threshold=self.threshold)
        report_new(found, self.class_map_notes, self.name)
        return found

    def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame | InstanceFrame]:
        """Yields one frame for each image; regions of unmapped classes are void.

        On an instance benchmark its objects may overlap and have several names each.

        Raises:
            MethodError: no class maps to any name.
        """
        matrix = torch.from_numpy(self.mapping(vocabulary).matrix)
        if not matrix.any():
            raise MethodError(
                f"none of the {len(matrix)} classes of {type(self.model).__name__} maps to a name of the vocabulary. "
                "Give a CLIP that compares words, --option clip=..., or lower --option threshold"
            )
        if rules.task == "instance":
            yield from self._instances(video, vocabulary, matrix)
            return
        linker = Linker(vocabulary, self.association, self.delay, video.fps, video.times)
        batches = uploaded(linker.watched(video.images()), self.batch, self.device)
        for batch in computed(lambda frames: self._propose(frames, matrix, is_open=False), batches, self.device):
            for proposals in batch:
                yield from linker.add(proposals)
        yield from linker.rest()

    def _instances(self, video: Video, vocabulary: Vocabulary, matrix: torch.Tensor) -> Iterator[InstanceFrame]:
        linker = InstanceLinker(vocabulary, self.association, self.instances.top_k, video.fps, video.times)
        batches = uploaded(linker.watched(video.images()), self.batch, self.device)
        for batch in computed(
            lambda frames: list(objects_of(self._run(frames, matrix, is_open=False), vocabulary, self.instances)),
            batches,
            self.device,
        ):
            for objects in batch:
                yield linker.link(objects)

    def reader(self, vocabulary: Vocabulary) -> Propose:
        """Regions of all classes; their probabilities are of the mapped ones, even where none is."""
        matrix = torch.from_numpy(self.mapping(vocabulary).matrix)
        return lambda frames: self._propose(frames, matrix, is_open=True)

    def _propose(self, frames: torch.Tensor, matrix: torch.Tensor, *, is_open: bool) -> list[Proposals]:
        return post_process(self._run(frames, matrix, is_open=is_open), self.post_processing)

    @torch.inference_mode()
    def _run(self, frames: torch.Tensor, matrix: torch.Tensor, *, is_open: bool) -> RawOutputs:
        """The network on frames; if open, a class that maps to no name is spread over all names."""
        with stage("resize"):
            pixels = self.input.pixels(frames)
        with stage("model"):
            if self.model.main_input_name == "pixel_values_videos":  # a VideoMT: the batch is its clip
                found = self.model(pixel_values_videos=pixels[None])
            else:
                found = self.model(pixel_values=pixels, **self._task())
        own = found.class_queries_logits.float().softmax(-1)  # (B, Q, L + 1)
        mapped = own[..., :-1] @ matrix.to(own)  # (B, Q, C)
        share, nothing = mapped.sum(-1, keepdim=True), own[..., -1:]
        if is_open:
            even = (1 - nothing) / mapped.shape[-1]
            mapped = torch.where(share > 1e-6, mapped / share.clamp(min=1e-6) * (1 - nothing), even)
        else:
            nothing = 1 - share
        classes = torch.cat([mapped, nothing], -1).clamp(min=1e-12).log()
        states = _states(found, own, encoder_only=self.input.square is not None)
        size = (frames.shape[-2], frames.shape[-1])
        return RawOutputs(found.masks_queries_logits.float(), states, states, classes, size)

    def _task(self) -> dict[str, torch.Tensor]:
        """OneFormer takes its task in words, as CLIP's tokens."""
        if self.model.config.model_type != "oneformer":
            return {}
        import open_clip

        tokens = open_clip.tokenize(["the task is panoptic"], context_length=self.model.config.task_seq_len)
        return {"task_inputs": tokens.to(next(self.model.parameters()).device)}


def _states(found: Any, own: torch.Tensor, *, encoder_only: bool) -> torch.Tensor:
    """What distinguishes queries, (B, Q, E): last states of the decoder, or class scores where it keeps none."""
    for key in ("transformer_decoder_last_hidden_state", "transformer_decoder_object_queries"):
        states = getattr(found, key, None)
        if isinstance(states, torch.Tensor) and states.ndim == 3 and states.shape[1] == own.shape[1]:
            return states.float()
    tokens = getattr(found, "last_hidden_state", None)
    if encoder_only and isinstance(tokens, torch.Tensor):  # EoMT and its kin: the queries are the first tokens
        return tokens[:, : own.shape[1]].float()
    return own
