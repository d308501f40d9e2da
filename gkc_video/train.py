"""Training from a configuration: the tables of a TOML file become settings, data and models, then the loop runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

from benchmark.errors import MethodError, did_you_mean
from benchmark.manifest import MANIFEST, load
from benchmark.types import Vocabulary
from gkc_video import clip, train_clip, train_gkc
from gkc_video.backbones import describe
from gkc_video.captions import CaptionSource
from gkc_video.checkpoint import digest as checkpoint_digest
from gkc_video.checkpoint import resolve
from gkc_video.device import choose
from gkc_video.evaluation import EvaluationSettings, Evaluator
from gkc_video.frames import Augmentation, FrameSource
from gkc_video.gkc_settings import GKCTraining
from gkc_video.grounding import known_words
from gkc_video.hold_out import held_out, refuse_start
from gkc_video.load import image_tower
from gkc_video.losses import Weights
from gkc_video.model import ModelConfig
from gkc_video.ranks import ALONE, Ranks
from gkc_video.settings import fits, settings_of
from gkc_video.start import Part
from gkc_video.synonyms import OWN, Table, Thesaurus
from gkc_video.teaching import Teaching
from gkc_video.text import Bank, NameTable, Prompted, TextSpace, name_table
from gkc_video.wordnet import WordNet

Log = Callable[[str], None]
_TABLES = {
    "clip": {"kind", "out", "data", "training"},
    "gkc": {
        "kind",
        "out",
        "side",
        "calibration",
        "start",
        "start_part",
        "data",
        "clip",
        "text",
        "synonyms",
        "model",
        "augmentation",
        "training",
        "losses",
        "evaluation",
    },
}


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
        ranks: this process among those that train together, see `gkc_video.ranks.join`.
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
    return train_clip.train(settings, _folder(tables, "captions"), target, device=choose(device), log=log)


def check(tables: Mapping[str, Any], out: Path | None = None) -> Path:
    """Looks at what the tables say before anything is built or loaded, and names the checkpoint to write.

    Raises:
        MethodError: an unknown kind, table or setting, one that is missing, or a checkpoint that is.
        DataError: a setting that cannot be, a text bank that cannot be read.
    """
    kind = tables.get("kind")
    if kind not in _TABLES:
        raise MethodError(f"expected kind = clip or gkc in the training file, got {kind!r}. Add it at the top")
    strange = sorted(set(tables) - _TABLES[kind])
    if strange:
        raise MethodError(
            f"the training file has an unknown part {strange[0]!r}; {did_you_mean(strange[0], _TABLES[kind])}"
        )
    if out is None and "out" not in tables:
        raise MethodError("expected the checkpoint to write, got none. Give -o, or out = in the training file")
    if kind == "clip":
        settings_of(train_clip.ClipTraining, tables, "training")
        _folder(tables, "captions")
    else:
        settings_of(Augmentation, tables, "augmentation")
        training = settings_of(GKCTraining, tables, "training")
        settings_of(Weights, tables, "losses")
        settings_of(SynonymSources, tables, "synonyms")
        if not {"checkpoint", "model"} & tables.get("clip", {}).keys():
            raise MethodError(
                "expected checkpoint or model in [clip], where trunk, text and teacher come from. Add one"
            )
        for name, used in (("labelled", 1), ("unlabelled", training.unlabelled), ("captions", training.captions)):
            if used:
                _folder(tables, name)
        if training.captions:
            _captions_file(tables)
        _evaluation(tables)
        _calibration(tables)
        if _is_ours(tables["clip"]):
            resolve(tables["clip"]["checkpoint"])
        if "bank" in tables.get("text", {}):
            Bank.read(Path(tables["text"]["bank"]), tables["text"].get("alias"))
        start, folder = _start(tables), _folder(tables, "labelled")
        if training.hold_out and (folder / MANIFEST).exists():  # else looked at when it is built
            vocabulary = load(folder).vocabulary
            hidden = held_out(training.hold_out, vocabulary, training.seed)
            if start is not None:
                refuse_start(start, [vocabulary.by_id[key].name for key in hidden])
    return out or Path(tables["out"])


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
    data, sources = load(_folder(tables, "labelled")), settings_of(SynonymSources, tables, "synonyms")
    labelled = FrameSource(data, augmentation, held_out(settings.hold_out, data.vocabulary, settings.seed))
    words = _words(sources, labelled, space) if settings.diversify != "off" else None
    captions = None
    if settings.captions:
        captions = CaptionSource.of(
            _folder(tables, "captions"),
            _captions_file(tables),
            known_words(data.vocabulary, _thesaurus(sources), labelled.held_out),
            space,
            hidden=labelled.held_out | (frozenset() if settings.novel_words else data.vocabulary.novel),
        )
    teaching = None
    if settings.needs_teacher:
        cache = Path(source["cache"]) if "cache" in source else None
        digest = checkpoint_digest(resolve(source["checkpoint"])) if _is_ours(source) else str(source.get("checkpoint"))
        teaching = Teaching(teacher, labelled, digest, cache)
    unlabelled = None
    if settings.unlabelled:
        unlabelled = FrameSource(load(_folder(tables, "unlabelled")), augmentation)
    evaluator = None
    evaluation = _evaluation(tables)
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
        start=_start(tables),
        start_part=tables.get("start_part", "all"),
    )
    return train_gkc.train(
        settings,
        shape,
        settings_of(Weights, tables, "losses"),
        material,
        out=out,
        config={"text": about, "side": tables.get("side"), "calibration": _calibration(tables)},
        text_tensors=tensors,
        evaluator=evaluator,
        ranks=ranks,
        device=device,
        log=log,
    )


def _calibration(tables: Mapping[str, Any]) -> float:
    """What the method takes from the logits of seen classes, see `gkc_video.method.build`; 0 by default."""
    value = tables.get("calibration", 0.0)
    if not fits(value, float):
        raise MethodError(f"calibration: expected a number, got {value!r}. Correct it")
    return float(value)


def _evaluation(tables: Mapping[str, Any]) -> EvaluationSettings | None:
    """The table [evaluation] without what names and builds its benchmark; None where there is none."""
    if "evaluation" not in tables:
        return None
    table = tables["evaluation"]
    if "folder" not in table:
        raise MethodError("expected [evaluation] with the folder of a benchmark, found none. Add it")
    known = {field.name for field in dataclasses.fields(EvaluationSettings)}
    builds = {"folder"} | (set(table) - known if "build" in table else set())
    own = {key: value for key, value in table.items() if key not in builds}
    return settings_of(EvaluationSettings, {"evaluation": own}, "evaluation")


@dataclasses.dataclass(frozen=True)
class SynonymSources:
    """Where text diversification takes its words from, beside the vocabulary: the `[synonyms]` table.

    Attributes:
        own: whether the table of this project is asked.
        table: a further table, a file in the form of `words/own.json`; "" for none.
        wordnet: folder of WordNet's database files; "" for none.
        senses: meanings of a name that WordNet is asked for.
    """

    own: bool = True
    table: str = ""
    wordnet: str = ""
    senses: int = 1


def _thesaurus(sources: SynonymSources) -> Thesaurus:
    tables = [
        *([Table.read(OWN)] if sources.own else []),
        *([Table.read(Path(sources.table))] if sources.table else []),
    ]
    return Thesaurus(tuple(tables), WordNet(Path(sources.wordnet)) if sources.wordnet else None, sources.senses)


def _words(sources: SynonymSources, labelled: FrameSource, space: TextSpace) -> NameTable:
    """Names and synonyms of the classes taught that have a vector, without those that name a novel or held-out one."""
    hidden = [category for category in labelled.benchmark.vocabulary if category.id not in labelled.vocabulary]
    found = _thesaurus(sources).diversify(labelled.vocabulary, hidden)
    known = [dataclasses.replace(c, synonyms=tuple(word for word in c.synonyms if space.knows(word))) for c in found]
    return name_table(space, Vocabulary(tuple(known)), synonyms=True)


def _is_ours(source: Mapping[str, Any]) -> bool:
    return "checkpoint" in source and "model" not in source


def _start(tables: Mapping[str, Any]) -> Path | None:
    if "start" not in tables:
        return None
    part = tables.get("start_part", "all")
    if part not in get_args(Part):
        raise MethodError(f"start_part: expected {' or '.join(get_args(Part))}, got {part!r}. Correct it")
    if str(tables["start"]).endswith(".toml"):
        raise MethodError(
            f"start: expected a checkpoint here, got the training file {tables['start']}. Train it first, and name its "
            "checkpoint; only `ovsbench train` does so by itself"
        )
    return Path(tables["start"]) if Path(tables["start"]).is_dir() else resolve(tables["start"])


def _folder(tables: Mapping[str, Any], name: str) -> Path:
    table = tables.get("data", {}).get(name, {})
    if "folder" not in table:
        raise MethodError(f"expected [data.{name}] with a folder in the training file, found none. Add it")
    return Path(table["folder"])


def _captions_file(tables: Mapping[str, Any]) -> Path:
    """The captions, by default captions.json in the folder of the pictures, as the embedded world's unlabelled part."""
    name = tables["data"]["captions"].get("file", str(_folder(tables, "captions") / "captions.json"))
    if not isinstance(name, str):
        raise MethodError(f"[data.captions] file: expected a path, got {name!r}. Correct it")
    return Path(name)
