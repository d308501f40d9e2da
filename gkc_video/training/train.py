"""Training from a configuration: the tables of a TOML file become settings, data and models, then the loop runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.manifest import load
from ovsbench.gkc_video.checkpoint import digest as checkpoint_digest
from ovsbench.gkc_video.checkpoint import resolve
from ovsbench.gkc_video.device import choose
from ovsbench.gkc_video.model.backbones import describe
from ovsbench.gkc_video.model.load import image_tower
from ovsbench.gkc_video.model.network import ModelConfig
from ovsbench.gkc_video.text import clip
from ovsbench.gkc_video.text.text_space import Bank, Prompted, TextSpace
from ovsbench.gkc_video.training import train_clip, train_gkc
from ovsbench.gkc_video.training.caption_source import CaptionSource
from ovsbench.gkc_video.training.distributed import ALONE, Ranks
from ovsbench.gkc_video.training.evaluation import Evaluator
from ovsbench.gkc_video.training.frames import Augmentation, FrameSource
from ovsbench.gkc_video.training.gkc_settings import GKCTraining
from ovsbench.gkc_video.training.grounding import known_words
from ovsbench.gkc_video.training.hold_out import held_out
from ovsbench.gkc_video.training.losses import Weights
from ovsbench.gkc_video.training.teacher_cache import Teaching
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

Log = Callable[[str], None]


def train(
    tables: Mapping[str, Any],
    out: Path | None = None,
    *,
    device: str = "auto",
    ranks: Ranks = ALONE,
    log: Log = print,
) -> Path:
    """Trains what the tables describe and writes a checkpoint.

    Args:
        tables: of a TOML file: `kind` ("clip" or "gkc"), `out`, `[data.*]` with the `folder` of each data set, if
            wanted `start` (a GKC checkpoint, or the folder of a Mask2Former, to begin from) and `start_part`, and
            settings; `configs/` has examples. The folders exist.
        out: instead of the tables' own.
        device: torch device, "auto" for the first GPU.
        ranks: this process among those that train together, see `ovsbench.gkc_video.training.distributed.join`.
        log: takes a line now and then.

    Returns:
        The checkpoint's path.

    Raises:
        MethodError: an unknown kind, table or setting.
        DataError: a folder or a text bank that cannot be read.
    """
    target = check(tables, out)
    if tables["kind"] == "gkc":
        return _train_gkc(tables, target, ranks, choose(device), log)
    if ranks.size > 1:
        raise MethodError('a teacher, kind = "clip", is trained by one process. Start it without torchrun')
    settings = settings_of(train_clip.ClipTraining, tables, "training")
    return train_clip.train(settings, folder_of(tables, "captions"), target, device=choose(device), log=log)


def _train_gkc(tables: Mapping[str, Any], out: Path, ranks: Ranks, device: str, log: Log) -> Path:
    source = tables.get("clip", {})
    augmentation = settings_of(Augmentation, tables, "augmentation")
    settings = settings_of(GKCTraining, tables, "training")
    if "checkpoint" in source:
        teacher = clip.load(source["checkpoint"], model=source.get("model"), device=device)
    else:  # a trunk from nothing, for those who have no weights
        teacher = clip.freeze(*clip.create(source["model"], device=device), source["model"], "")
    text = tables.get("text", {})
    space: TextSpace
    if "bank" in text:
        bank = Bank.read(Path(text["bank"]), text.get("alias"))
        space = dataclasses.replace(bank, vectors=bank.vectors.to(device))
        about: dict[str, object] = {
            "kind": "bank",
            "names": list(bank.names),
            "model": bank.model,
            "prompt": bank.prompt,
        }
        about["alias"] = dict(bank.alias)
        tensors = {"vectors": bank.vectors}
    else:
        space = Prompted(teacher, tuple(text.get("templates", ["{}"])))
        about = {"kind": "clip", "model": teacher.name, "templates": list(space.templates)}
        state = teacher.model.state_dict()
        tensors = clip.pack_tokens({name: t for name, t in state.items() if not name.startswith("visual.")})
    shape = ModelConfig.from_json({"trunk": teacher.name, **tables.get("model", {}), "text_width": space.width})
    shape = dataclasses.replace(shape, backbone=describe(shape.trunk))
    own_trunk = shape.trunk != teacher.name
    data, sources = load(folder_of(tables, "labelled")), settings_of(SynonymSources, tables, "synonyms")
    labelled = FrameSource(data, augmentation, held_out(settings.hold_out, data.vocabulary, settings.seed))
    words = words_of(sources, labelled, space) if settings.diversify != "off" else None
    captions = None
    if settings.captions:
        captions = CaptionSource.of(
            folder_of(tables, "captions"),
            captions_file(tables),
            known_words(data.vocabulary, thesaurus_of(sources), labelled.held_out),
            space,
            hidden=labelled.held_out | (frozenset() if settings.novel_words else data.vocabulary.novel),
        )
    teaching = None
    if settings.needs_teacher:
        cache = Path(source["cache"]) if "cache" in source else None
        digest = checkpoint_digest(resolve(source["checkpoint"])) if is_ours(source) else str(source.get("checkpoint"))
        teaching = Teaching(teacher, labelled, digest, cache)
    unlabelled = None
    if settings.unlabelled:
        unlabelled = FrameSource(load(folder_of(tables, "unlabelled")), augmentation)
    evaluator = None
    evaluation = evaluation_of(tables)
    if evaluation is not None:
        folder = Path(tables["evaluation"]["folder"])
        evaluator = Evaluator(evaluation, load(folder), out, device=device, log=log)
    trunk = image_tower(shape, weights=True) if own_trunk else teacher.model.visual
    material = train_gkc.Material(
        labelled,
        unlabelled,
        space,
        teaching,
        trunk,
        words=words,
        captions=captions,
        start=start_of(tables),
        start_part=tables.get("start_part", "all"),
    )
    return train_gkc.train(
        settings,
        shape,
        settings_of(Weights, tables, "losses"),
        material,
        out=out,
        config={"text": about, "side": tables.get("side"), "calibration": tables.get("base_logit_penalty", 0.0)},
        text_tensors=tensors,
        evaluator=evaluator,
        ranks=ranks,
        device=device,
        log=log,
    )
