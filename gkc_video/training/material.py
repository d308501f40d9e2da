"""What a model is trained with, and what a checkpoint says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ovsbench.benchmark.domain import of_benchmark
from ovsbench.gkc_video import checkpoint
from ovsbench.gkc_video.model.network import GKC
from ovsbench.gkc_video.text.text_space import NameTable, TextSpace
from ovsbench.gkc_video.training.caption_source import CaptionSource
from ovsbench.gkc_video.training.distributed import Distributed
from ovsbench.gkc_video.training.frames import FrameSource
from ovsbench.gkc_video.training.gkc_settings import GKCTraining
from ovsbench.gkc_video.training.initialization import Part, saw_novel, weights_file
from ovsbench.gkc_video.training.teacher_cache import TeacherCache
from ovsbench.gkc_video.training.weights import Weights


@dataclass(frozen=True)
class Material:
    """What a model is trained with.

    Attributes:
        labelled: frames whose labels hold base classes only; its vocabulary holds the classes to learn.
        unlabelled: frames for distillation.
        space: gives the vectors of the base names.
        teacher_cache: the teacher's vectors of labelled regions.
        trunk: image tower that the student's trunk starts from; it is copied.
        words: names and synonyms of the classes to learn, for text diversification; by default those of the data's
            vocabulary.
        prompted: the same words as the teacher is asked which of them fits a region, in a prompt; None for as they are.
        captions: captioned pictures for grounding.
        start: a GKC checkpoint or a Mask2Former, see `ovsbench.gkc_video.training.initialization`.
        start_part: what is taken from it.
        trunk_weights: name and digest of the file that the trunk's weights are of; empty for its own.
        origins: what teacher, words and first weights were made from; a stopped training goes on with the same alone.
    """

    labelled: FrameSource
    unlabelled: FrameSource | None
    space: TextSpace
    teacher_cache: TeacherCache | None
    trunk: torch.nn.Module
    words: NameTable | None = None
    prompted: NameTable | None = None
    captions: CaptionSource | None = None
    start: Path | None = None
    start_part: Part = "all"
    trunk_weights: str = ""
    origins: str = ""


def metadata_of(
    settings: GKCTraining,
    weights: Weights,
    material: Material,
    words: int,
    steps: int,
    running: Mapping[str, float],
    distributed: Distributed,
) -> dict[str, Any]:
    """How a checkpoint came to be, for its header."""
    data, unlabelled, start = material.labelled.benchmark, material.unlabelled, material.start
    return {
        "training": asdict(settings),
        "steps": steps,
        "losses": asdict(weights),
        "data": data.name,
        "data_digest": data.digest,
        "domain": of_benchmark(data),
        "frames": len(material.labelled),
        "classes": [c.name for c in material.labelled.vocabulary],
        "held_out": [c.name for c in data.vocabulary if c.id in material.labelled.held_out],
        "words": words,
        "size": list(material.labelled.augmentation.size),
        "unlabelled": unlabelled.benchmark.name if unlabelled is not None and settings.unlabelled else "",
        "captions": material.captions.facts.about if material.captions is not None and settings.captions else "",
        "start": "" if start is None else f"{start.name}, sha256 {checkpoint.digest(weights_file(start))}",
        "start_part": "" if start is None else material.start_part,
        "trunk_weights": material.trunk_weights,
        "saw_novel": _saw_novel(settings, material),
        "final": {name: round(value, 4) for name, value in running.items()},
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "processes": distributed.world_size,
    }


def _saw_novel(settings: GKCTraining, material: Material) -> str:
    """The word `no` stands only where neither this training nor its start met anything novel.

    Pictures whose captions name something novel show it, also where these words are passed over.
    """
    before = "no" if material.start is None else saw_novel(material.start)
    met = [] if before == "no" else before.split("; ")
    in_captions = settings.captions and material.captions is not None and material.captions.facts.names_novel
    if settings.unlabelled or (in_captions and not settings.novel_words):
        met.append("without labels")
    if in_captions and settings.novel_words:
        met.append("words in captions")
    return "; ".join(dict.fromkeys(met)) or "no"


def write_checkpoint(
    path: Path,
    model: GKC,
    config: Mapping[str, object],
    metadata: Mapping[str, Any],
    text_tensors: Mapping[str, torch.Tensor],
) -> Path:
    """Writes a model's checkpoint, with the text side inside it and without what only training needs."""
    shape = replace(model.config, distil_head=False).to_json()
    header = checkpoint.Header("gkc", {"model": shape, **config}, metadata)
    student = {n: t for n, t in model.state_dict().items() if not n.startswith(("distil.", "relation_scale"))}
    tensors = {f"student.{name}": t for name, t in student.items()}
    checkpoint.write(path, header, tensors | {f"text.{name}": t for name, t in text_tensors.items()})
    return path
