"""Training from a configuration: the tables of a TOML file become settings, data and models, then the loop runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from ovsbench.benchmark.errors import DataError, MethodError
from ovsbench.benchmark.manifest import load
from ovsbench.gkc_video.checkpoint import digest as checkpoint_digest
from ovsbench.gkc_video.checkpoint import resolve
from ovsbench.gkc_video.device import choose
from ovsbench.gkc_video.model.backbones import describe
from ovsbench.gkc_video.model.load import image_tower
from ovsbench.gkc_video.model.network import ModelConfig
from ovsbench.gkc_video.text import clip
from ovsbench.gkc_video.text.text_space import Bank, Prompted, TextSpace
from ovsbench.gkc_video.training import step_profile, train_clip, train_gkc
from ovsbench.gkc_video.training.caption_source import CaptionSource
from ovsbench.gkc_video.training.distributed import ALONE, Distributed
from ovsbench.gkc_video.training.evaluation import Evaluator
from ovsbench.gkc_video.training.frames import Augmentation, FrameSource
from ovsbench.gkc_video.training.gkc_settings import GKCTraining
from ovsbench.gkc_video.training.grounding import known_words
from ovsbench.gkc_video.training.hold_out import held_out
from ovsbench.gkc_video.training.initialization import weights_file
from ovsbench.gkc_video.training.material import Material
from ovsbench.gkc_video.training.paper import with_preset
from ovsbench.gkc_video.training.step_profile import StepProfile
from ovsbench.gkc_video.training.teacher_cache import TeacherCache
from ovsbench.gkc_video.training.training_tables import (
    SynonymSources,
    captions_file,
    check,
    evaluation_of,
    folder_of,
    is_ours,
    settings_of,
    start_of,
    thesaurus_of,
    words_of,
)
from ovsbench.gkc_video.training.trunk_weights import fill_trunk
from ovsbench.gkc_video.training.weights import Weights

Log = Callable[[str], None]


def train(
    tables: Mapping[str, Any],
    out: Path | None = None,
    *,
    device: str = "auto",
    distributed: Distributed = ALONE,
    log: Log = print,
) -> Path:
    """Trains what the tables describe and writes a checkpoint.

    Args:
        tables: of a TOML file: `kind` ("clip" or "gkc"), `out`, `[data.*]` with the `folder` of each data set, if
            wanted `start` (a GKC checkpoint, or the folder of a Mask2Former, to begin from) and `start_part`, and
            settings; `configs/` has examples. The folders exist.
        out: instead of the tables' own.
        device: torch device, "auto" for the first GPU.
        distributed: this process among those that train together, see `ovsbench.gkc_video.training.distributed.join`.
        log: takes a line now and then.

    Returns:
        The checkpoint's path.

    Raises:
        MethodError: an unknown kind, table or setting.
        DataError: a folder or a text bank that cannot be read.
    """
    target, tables = check(tables, out), with_preset(tables)
    if tables["kind"] == "gkc":
        return _train_gkc(tables, target, distributed, choose(device), log)
    if distributed.world_size > 1:
        raise MethodError('a teacher, kind = "clip", is trained by one process. Start it without torchrun')
    settings = settings_of(train_clip.ClipTraining, tables, "training")
    return train_clip.train(settings, folder_of(tables, "captions"), target, device=choose(device), log=log)


@dataclasses.dataclass(frozen=True)
class TextSide:
    """What turns names into vectors, and what a checkpoint has to hold of it.

    Attributes:
        space: the vectors.
        about: for the header of the checkpoint.
        tensors: weights of a text encoder, or the vectors of a bank.
    """

    space: TextSpace
    about: Mapping[str, object]
    tensors: Mapping[str, torch.Tensor]

    @staticmethod
    def of_bank(table: Mapping[str, Any], device: str) -> TextSide:
        """Vectors that were computed elsewhere."""
        bank = Bank.read(Path(table["bank"]), table.get("alias"))
        about = {"kind": "bank", "names": list(bank.names), "model": bank.model, "prompt": bank.prompt}
        space = dataclasses.replace(bank, vectors=bank.vectors.to(device))
        return TextSide(space, {**about, "alias": dict(bank.alias)}, {"vectors": bank.vectors})

    @staticmethod
    def of_encoder(teacher: clip.Clip, templates: tuple[str, ...]) -> TextSide:
        """The text encoder of the CLIP that also teaches."""
        tensors = clip.pack_tokens(clip.text_tensors(teacher.model))
        about = {"kind": "clip", "model": teacher.name, "templates": list(templates)}
        return TextSide(Prompted(teacher, templates), about, tensors)


def profile(
    tables: Mapping[str, Any], *, device: str = "auto", distributed: Distributed = ALONE, log: Log = print
) -> StepProfile:
    """Goes through a few steps of what the tables describe, and says where their time went; nothing is written but
    the cache of a teacher.

    Args:
        tables: as for `train`, of a GKC.
        device: torch device, "auto" for the first GPU.
        distributed: this process among those that train together.
        log: takes a line now and then.

    Raises:
        MethodError: an unknown kind, table or setting, or a training of a CLIP.
        DataError: a folder or a text bank that cannot be read.
    """
    check(tables, Path("profile.safetensors"))
    tables = with_preset(tables)
    if tables["kind"] != "gkc":
        raise MethodError('--profile is for trainings of a GKC, got kind = "clip". Leave it out')
    described = _described(tables, choose(device))
    return step_profile.measure(*described.core, distributed=distributed, device=choose(device), log=log)


@dataclasses.dataclass(frozen=True)
class _Described:
    """A training as its tables describe it.

    Attributes:
        core: settings, shape of the model, weights of the losses, and what it is trained with.
        side: the text side.
    """

    core: tuple[GKCTraining, ModelConfig, Weights, Material]
    side: TextSide


def _described(tables: Mapping[str, Any], device: str) -> _Described:
    source, text = tables.get("clip", {}), tables.get("text", {})
    settings = settings_of(GKCTraining, tables, "training")
    torch.manual_seed(settings.seed)  # of a CLIP or a trunk without weights
    if "checkpoint" in source:
        teacher = clip.load_clip(source["checkpoint"], model=source.get("model"), tag=source.get("tag"), device=device)
    else:  # a trunk from nothing, for those who have no weights
        teacher = clip.freeze(*clip.create(source["model"], device=device), source["model"], "")
    teacher = dataclasses.replace(teacher, name=clip.lasting_name(teacher))
    if "bank" in text:
        side = TextSide.of_bank(text, device)
    else:
        side = TextSide.of_encoder(teacher, tuple(text.get("templates", ["{}"])))
    shape = ModelConfig.from_json({"trunk": teacher.name, **tables.get("model", {}), "text_width": side.space.width})
    shape = dataclasses.replace(shape, backbone=describe(shape.trunk))
    trunk = image_tower(shape, weights=True) if shape.trunk != teacher.name else teacher.model.visual
    material = _material(tables, settings, teacher, side.space, trunk)
    if tables.get("trunk_weights") is not None:
        file = Path(tables["trunk_weights"])
        fill_trunk(trunk, file)
        material = dataclasses.replace(material, trunk_weights=f"{file.name}, sha256 {checkpoint_digest(file)}")
    return _Described((settings, shape, settings_of(Weights, tables, "losses"), material), side)


def _train_gkc(tables: Mapping[str, Any], out: Path, distributed: Distributed, device: str, log: Log) -> Path:
    evaluator = None
    evaluation = evaluation_of(tables)
    if evaluation is not None:
        folder = Path(tables["evaluation"]["folder"])
        evaluator = Evaluator(evaluation, load(folder), out, device=device, log=log)
    described = _described(tables, device)
    return train_gkc.train(
        *described.core,
        out=out,
        config={
            "text": described.side.about,
            "side": tables.get("side"),
            "base_logit_penalty": tables.get("base_logit_penalty", 0.0),
            **({"post_processing": tables["post_processing"]} if "post_processing" in tables else {}),
        },
        text_tensors=described.side.tensors,
        evaluator=evaluator,
        distributed=distributed,
        device=device,
        log=log,
    )


def _material(
    tables: Mapping[str, Any], settings: GKCTraining, teacher: clip.Clip, space: TextSpace, trunk: torch.nn.Module
) -> Material:
    """Data, words, teacher and first weights, as far as the settings need them."""
    augmentation, source = settings_of(Augmentation, tables, "augmentation"), tables.get("clip", {})
    data, sources = load(folder_of(tables, "labelled")), settings_of(SynonymSources, tables, "synonyms")
    if data.role == "unlabelled":
        raise DataError(f"[data.labelled]: expected labelled frames, got {data.folder} without labels. Name another")
    labelled = FrameSource(data, augmentation, held_out(settings.hold_out, data.vocabulary, settings.seed))
    captions = unlabelled = teacher_cache = None
    if settings.captions:
        captions = CaptionSource.of(
            folder_of(tables, "captions"),
            captions_file(tables),
            known_words(data.vocabulary, thesaurus_of(sources), labelled.held_out),
            space,
            hidden=labelled.held_out | (frozenset() if settings.novel_words else data.vocabulary.novel),
        )
    if settings.needs_teacher:
        cache = Path(source["cache"]) if "cache" in source else None
        teacher_cache = TeacherCache.of(teacher, labelled, settings, _weights_of(source, settings.seed), cache)
    if settings.unlabelled:
        unlabelled = FrameSource(load(folder_of(tables, "unlabelled")), augmentation)
    words = prompted = None
    if settings.diversify != "off":
        words = words_of(sources, labelled, space)
        if sources.prompt != "{}":
            prompted = words_of(sources, labelled, space, Prompted(teacher, (sources.prompt,))).to(teacher.device)
    start = start_of(tables)
    weights = None if start is None else weights_file(start)
    first = checkpoint_digest(weights) if weights is not None and weights.is_file() else ""
    text = sorted(tables.get("text", {}).items())
    return Material(
        labelled,
        unlabelled,
        space,
        teacher_cache,
        trunk,
        words=words,
        prompted=prompted,
        captions=captions,
        start=start,
        start_part=tables.get("start_part", "all"),
        origins=repr((_weights_of(source, settings.seed), teacher.mean, teacher.std, text, sources, first)),
    )


def _weights_of(source: Mapping[str, Any], seed: int) -> str:
    """What the weights of [clip] are: the digest of their file, a tag of open_clip, or the seed of random ones."""
    name = source.get("checkpoint", "random")
    if name == "random":
        return f"random, seed {seed}"
    path = resolve(name) if is_ours(source) else Path(name)
    return checkpoint_digest(path) if path.is_file() else str(name)
