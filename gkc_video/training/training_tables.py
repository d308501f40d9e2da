"""What the tables of a training file say, looked at before anything is built or loaded."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ovsbench.benchmark.errors import DataError, MethodError
from ovsbench.benchmark.manifest import MANIFEST, load
from ovsbench.benchmark.settings import Reader, shown
from ovsbench.benchmark.types import Vocabulary
from ovsbench.gkc_video.checkpoint import resolve
from ovsbench.gkc_video.model.network import ModelConfig
from ovsbench.gkc_video.model.post_processing import PostProcessing
from ovsbench.gkc_video.text.synonyms import OWN, Table, Thesaurus
from ovsbench.gkc_video.text.text_space import Bank, NameTable, TextSpace, name_table
from ovsbench.gkc_video.text.wordnet import WordNet
from ovsbench.gkc_video.training import train_clip
from ovsbench.gkc_video.training.evaluation import EvaluationSettings
from ovsbench.gkc_video.training.frames import LONGEST, MASK_STRIDE, Augmentation, FrameSource
from ovsbench.gkc_video.training.gkc_settings import GKCTraining
from ovsbench.gkc_video.training.hold_out import held_out, refuse_start
from ovsbench.gkc_video.training.initialization import Part
from ovsbench.gkc_video.training.paper import with_preset
from ovsbench.gkc_video.training.weights import Weights

T = TypeVar("T")
READER = Reader(MethodError)
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class TrainingFile:
    """The keys of a training file whose `kind` is clip."""

    kind: str
    out: str | None = None
    data: Mapping[str, Settings] = field(default_factory=dict)
    training: Settings = field(default_factory=dict)


@dataclass(frozen=True)
class GKCTrainingFile(TrainingFile):
    """The keys of a training file whose `kind` is gkc.

    Attributes:
        side: pixels of the shorter side of the input at test time; None for frames as they are.
        base_logit_penalty: what the method takes from the logits of seen classes.
        start, start_part: what the training starts from, see `start_of`.
        trunk_weights: a file of weights for a trunk of timm, see `ovsbench.gkc_video.training.trunk_weights`.
        paper: whether what the file leaves open is as in the paper, see `ovsbench.gkc_video.training.paper`.
        post_processing: what the method does by default with a checkpoint of this training.
    """

    side: int | None = None
    base_logit_penalty: float = 0.0
    start: str | None = None
    start_part: Part = "all"
    trunk_weights: str | None = None
    clip: Settings = field(default_factory=dict)
    text: Settings = field(default_factory=dict)
    synonyms: Settings = field(default_factory=dict)
    model: Settings = field(default_factory=dict)
    augmentation: Settings = field(default_factory=dict)
    losses: Settings = field(default_factory=dict)
    evaluation: Settings | None = None
    paper: bool = False
    post_processing: Settings = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.side is not None and not 1 <= self.side <= LONGEST:
            raise ValueError(f"expected side from 1 to {LONGEST} pixels, got {shown(self.side)}. Correct it")
        if self.start is None and self.start_part != "all":
            raise ValueError("start_part says what is taken of start, and there is none. Name one, or leave it out")


@dataclass(frozen=True)
class ClipSource:
    """Where trunk, text encoder and teacher come from: the table [clip].

    Attributes:
        checkpoint: of this project, or a tag that open_clip knows; None for a `model` with first weights.
        model: a name of open_clip; None for what the checkpoint says.
        cache: folder for vectors of labelled regions; None for none.
        tag: of open_clip, whose statistics and activation the weights of a file have.
    """

    checkpoint: str | None = None
    model: str | None = None
    cache: str | None = None
    tag: str | None = None

    def __post_init__(self) -> None:
        if self.checkpoint is None and self.model is None:
            raise ValueError("expected checkpoint or model, where trunk, text and teacher come from, got none. Add one")
        if self.tag is not None and (self.checkpoint is None or self.model is None):
            raise ValueError("tag says whose weights the file of checkpoint holds for model; one is missing. Name both")
        if self.cache == "":
            raise ValueError("expected cache with the name of a folder, got none. Name one, or leave it out")


@dataclass(frozen=True)
class TextSource:
    """Where the vectors of names come from: the table [text].

    Attributes:
        bank: a file of vectors; None for the text encoder of [clip].
        alias: other words that stand for a name of the bank.
        templates: of the text encoder's prompts.
    """

    bank: str | None = None
    alias: Mapping[str, str] | None = None
    templates: tuple[str, ...] = ("{}",)

    def __post_init__(self) -> None:
        if not self.templates or not all("{}" in template for template in self.templates):
            raise ValueError(f"expected templates with {{}} for the name, got {list(self.templates)}. Correct them")
        if self.alias is not None and self.bank is None:
            raise ValueError("alias is of the names of a bank, and there is none. Name one, or leave alias out")


_FILES: Mapping[object, type[TrainingFile]] = {"clip": TrainingFile, "gkc": GKCTrainingFile}


def settings_of(kind: type[T], tables: Mapping[str, Any], name: str) -> T:
    """The settings of one table of a training file.

    Raises:
        MethodError: a setting is unknown, missing or of another type.
        DataError: a setting that cannot be.
    """
    return READER.table(kind, tables.get(name, {}), f"[{name}]")


def check(tables: Mapping[str, Any], out: Path | None = None) -> Path:
    """Looks at what the tables say before anything is built or loaded, and names the checkpoint to write.

    Raises:
        MethodError: an unknown kind, table or setting, one that is missing, or a checkpoint that is.
        DataError: a setting that cannot be, a text bank that cannot be read.
    """
    tables = with_preset(tables)
    kind = tables.get("kind")
    if not isinstance(kind, str) or kind not in _FILES:
        raise MethodError(f"expected kind = clip or gkc in the training file, got {kind!r}. Add it at the top")
    given = READER.table(_FILES[kind], tables, "the training file")
    if out is None and not given.out:
        raise MethodError("expected the checkpoint to write, got none. Give -o, or out = in the training file")
    target = out or Path(given.out or "")
    if target.is_dir():
        raise MethodError(
            f"{target}: expected a file to write the checkpoint to, found a folder. Choose another output"
        )
    if kind == "clip":
        settings_of(train_clip.ClipTraining, tables, "training")
        folder_of(tables, "captions")
    else:
        training = settings_of(GKCTraining, tables, "training")
        synonyms = settings_of(SynonymSources, tables, "synonyms")
        _check_together(
            training, settings_of(Augmentation, tables, "augmentation"), settings_of(Weights, tables, "losses")
        )
        source, text = settings_of(ClipSource, tables, "clip"), settings_of(TextSource, tables, "text")
        for name, used in (("labelled", 1), ("unlabelled", training.unlabelled), ("captions", training.captions)):
            if used:
                folder_of(tables, name)
        ModelConfig.from_json(tables.get("model", {}))
        settings_of(PostProcessing, tables, "post_processing")
        if training.captions:
            captions_file(tables)
        evaluation_of(tables)
        if is_ours(tables["clip"]):
            resolve(str(source.checkpoint))
        if text.bank is not None:
            Bank.read(Path(text.bank), text.alias)
            if synonyms.prompt != "{}":
                raise MethodError(
                    "[synonyms] prompt needs a text encoder, and [text] bank has vectors of bare names. Leave out one"
                )
        if tables.get("trunk_weights") is not None and not Path(tables["trunk_weights"]).is_file():
            raise MethodError(f"trunk_weights: expected a file, found no {tables['trunk_weights']}. Correct the path")
        start, folder = start_of(tables), folder_of(tables, "labelled")
        if training.hold_out and (folder / MANIFEST).exists():  # else looked at when it is built
            vocabulary = load(folder).vocabulary
            hidden = held_out(training.hold_out, vocabulary, training.seed)
            if start is not None:
                refuse_start(start, [vocabulary.by_id[key].name for key in hidden])
    return target


def _check_together(training: GKCTraining, augmentation: Augmentation, weights: Weights) -> None:
    """Refuses settings of different tables that do not go together."""
    if not training.points and augmentation.label_stride != MASK_STRIDE:
        raise DataError(
            f"[augmentation] label_stride: expected {MASK_STRIDE}, the size of predicted masks, unless "
            f"[training] points says at how many points they are compared, got "
            f"{augmentation.label_stride}. Set points = 12544"
        )
    without_labels = [name for name in ("pseudo_masks", "profiles", "self_training") if getattr(weights, name)]
    if without_labels and not training.unlabelled:
        raise DataError(
            f"[losses] {without_labels[0]} weighs a loss on frames without labels, of which [training] unlabelled = 0 "
            "takes none. Change one"
        )
    if weights.self_training and len(without_labels) > 1:
        raise DataError(
            f"[losses] self_training stands in the place of {without_labels[0]}, and both are above 0. Leave out one"
        )
    if weights.synonyms and training.diversify == "off":
        raise DataError(
            '[losses] synonyms weighs names of text diversification, which [training] diversify = "off" leaves out. '
            "Change one"
        )


def evaluation_of(tables: Mapping[str, Any]) -> EvaluationSettings | None:
    """The table [evaluation] without what names and builds its benchmark; None where there is none."""
    if "evaluation" not in tables:
        return None
    table = tables["evaluation"]
    if "folder" not in table:
        raise MethodError("expected [evaluation] with the folder of a benchmark, found none. Add it")
    known = {setting.name for setting in dataclasses.fields(EvaluationSettings)}
    READER.value(str, table["folder"], "[evaluation] folder")
    builds = {"folder"} | (set(table) - known if "build" in table else set())
    own = {key: value for key, value in table.items() if key not in builds}
    return settings_of(EvaluationSettings, {"evaluation": own}, "evaluation")


@dataclass(frozen=True)
class SynonymSources:
    """Where text diversification takes its words from, beside the vocabulary: the `[synonyms]` table.

    Attributes:
        own: whether the table of this project is asked.
        table: a further table, a file in the form of `words/own.json`; "" for none.
        wordnet: folder of WordNet's database files; "" for none.
        senses: meanings of a name that WordNet is asked for, among those of physical things; 0 for all it has.
        prompt: in which the teacher is asked which synonym fits a region, such as "a photo of {}".
    """

    own: bool = True
    table: str = ""
    wordnet: str = ""
    senses: int = 1
    prompt: str = "{}"

    def __post_init__(self) -> None:
        if self.senses < 0 or "{}" not in self.prompt:
            raise ValueError(
                f"expected senses from 0 and a prompt with {{}}, got {self.senses} and {self.prompt!r}. Correct it"
            )


def thesaurus_of(sources: SynonymSources) -> Thesaurus:
    """The tables and WordNet that the sources name."""
    tables = [
        *([Table.read(OWN)] if sources.own else []),
        *([Table.read(Path(sources.table))] if sources.table else []),
    ]
    wordnet = WordNet(Path(sources.wordnet)) if sources.wordnet else None
    if sources.senses == 0:
        return Thesaurus(tuple(tables), wordnet, None, None)
    return Thesaurus(tuple(tables), wordnet, sources.senses)


def words_of(
    sources: SynonymSources, labelled: FrameSource, space: TextSpace, asked: TextSpace | None = None
) -> NameTable:
    """Names and synonyms of the classes to learn that have a vector, without those of a novel or held-out one.

    Args:
        sources: of synonyms.
        labelled: whose classes are learnt.
        space: which words have a vector.
        asked: gives the vectors, where they are wanted in another prompt.
    """
    hidden = [category for category in labelled.benchmark.vocabulary if category.id not in labelled.vocabulary]
    found = thesaurus_of(sources).diversify(labelled.vocabulary, hidden)
    known = [dataclasses.replace(c, synonyms=tuple(word for word in c.synonyms if space.knows(word))) for c in found]
    return name_table(asked or space, Vocabulary(tuple(known)), synonyms=True)


def is_ours(source: Mapping[str, Any]) -> bool:
    """Whether the CLIP of [clip] is a checkpoint of this project, and no model of open_clip."""
    return "checkpoint" in source and "model" not in source


def start_of(tables: Mapping[str, Any]) -> Path | None:
    """The checkpoint, or the folder of a Mask2Former, that a training starts from; None where it starts from none."""
    if "start" not in tables:
        return None
    if str(tables["start"]).endswith(".toml"):
        raise MethodError(
            f"start: expected a checkpoint here, got the training file {tables['start']}. Train it first, and name its "
            "checkpoint; only `ovsbench train` does so by itself"
        )
    return Path(tables["start"]) if Path(tables["start"]).is_dir() else resolve(tables["start"])


def folder_of(tables: Mapping[str, Any], name: str) -> Path:
    """The folder of the table [data.NAME]."""
    table = tables.get("data", {}).get(name, {})
    if "folder" not in table:
        raise MethodError(f"expected [data.{name}] with a folder in the training file, found none. Add it")
    return Path(READER.value(str, table["folder"], f"[data.{name}] folder"))


def captions_file(tables: Mapping[str, Any]) -> Path:
    """The captions, by default captions.json in the folder of the pictures, as the embedded world's unlabelled part."""
    name = tables["data"]["captions"].get("file", str(folder_of(tables, "captions") / "captions.json"))
    return Path(READER.value(str, name, "[data.captions] file"))
