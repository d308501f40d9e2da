"""From names to files: a model's name is spelled out, and weights of a hub become paths; the one place that does it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ovsbench.benchmark import methods
from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.record import Settings
from ovsbench.hub.download import Fetched, fetch, fetch_tokenizer
from ovsbench.hub.models import models
from ovsbench.hub.references import ClipReference, is_reference, parse

CLIP_MODEL = "clip_model"
"""The option of methods that open a CLIP which says what its weights are of: MODEL or MODEL/TAG of open_clip."""


@dataclass(frozen=True)
class Local:
    """What stands for a reference here.

    Attributes:
        fetched: the weights.
        options: what the method has to know of them.
    """

    fetched: Fetched
    options: Mapping[str, str]

    @property
    def note(self) -> str:
        """Revision and sha256, for the record of a run."""
        files = [f"{name} sha256 {digest}" for name, digest in sorted(self.fetched.sha256.items())]
        return "; ".join([f"revision {self.fetched.revision}", *files])


def localise(text: str) -> Local:
    """Fetches what a text names, unless it is here.

    Raises:
        MethodError: see `references.parse` and `download.fetch`.
    """
    parsed = parse(text)
    if isinstance(parsed, ClipReference):
        if parsed.tokenizer:
            fetch_tokenizer(parsed.tokenizer)
        return Local(fetch(parsed.weights), {CLIP_MODEL: f"{parsed.model}/{parsed.tag}"})
    return Local(fetch(parsed), {})


def references(name: str) -> Iterator[str]:
    """The weights that a model's name, or a text that names weights itself, stands for.

    Raises:
        MethodError: it is neither.
    """
    if is_reference(name):
        yield name
    elif name in models():
        yield from models()[name].references
    elif name.count("/") == 1:
        raise MethodError(f"expected weights of a hub as hf:ORG/NAME, got {name!r}. Write hf:{name}")
    else:
        methods.info(name, also=models())
        raise MethodError(
            f"{name} is a method, and there is nothing to fetch by its name alone. Name a model of ovsbench list "
            "models, or its weights as hf:ORG/NAME or open_clip:MODEL/TAG"
        )


def resolve(settings: Settings) -> Settings:
    """The settings with what they are built from here, `local`, and the facts of what was fetched, `notes`.

    Args:
        settings: as a person gave them; `method` may be a model's name, whose checkpoint and options those given
            replace; `checkpoint` and options may name weights of a hub.

    Raises:
        MethodError: no such method, model or weights; see `download.fetch`.
    """
    if settings.local is not None:
        return settings
    given = _spelled_out(settings)
    texts = {
        text: localise(text) for text in (given.checkpoint, *given.options.values()) if text and is_reference(text)
    }
    if not texts and given is settings:
        methods.info(settings.method, also=models())
        return settings
    paths = {text: str(local.fetched.path) for text, local in texts.items()}
    extra = {key: value for local in texts.values() for key, value in local.options.items()}
    options = {**extra, **{key: paths.get(value, value) for key, value in given.options.items()}}
    local = replace(
        given,
        method=_method(given),
        checkpoint=paths.get(given.checkpoint or "", given.checkpoint),
        options=options,
    )
    notes = {f"weights {text}": one.note for text, one in texts.items()}
    return replace(given, local=local, notes=notes)


def _method(settings: Settings) -> str:
    model = models().get(settings.method)
    return settings.method if model is None else model.method


def _spelled_out(settings: Settings) -> Settings:
    """The settings with the checkpoint and options of the model that they name; the method keeps the model's name."""
    inner = settings.options.get("method", "") if settings.method == "linked" else ""
    model = models().get(inner or settings.method)
    if model is None:
        return settings
    options = {**model.options, **settings.options} | ({"method": model.method} if inner else {})
    return replace(settings, checkpoint=settings.checkpoint or model.checkpoint, options=options)
