"""The table of public models: each name is a complete method with its weights and options; the data is models.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.settings import Reader
from ovsbench.hub.download import is_cached
from ovsbench.hub.references import ClipReference, is_reference, parse


@dataclass(frozen=True, kw_only=True)
class Model:
    """One row of the table.

    Attributes:
        about: what it is, in a line.
        method: that it is built by.
        checkpoint, options: what that is built with; text that names weights of a hub among them.
        licence: of the weights.
        gigabytes: that are fetched, in 10**9 bytes.
        needs: hardware and whatever else.
        gated: whether a licence has to be accepted first.
        domain: what its training has seen.
    """

    about: str
    method: str
    checkpoint: str
    options: Mapping[str, str] = field(default_factory=dict)
    licence: str
    gigabytes: float
    needs: str
    gated: bool = False
    domain: str = "photographs"

    @property
    def references(self) -> tuple[str, ...]:
        """All weights of a hub that it needs."""
        return tuple(text for text in (self.checkpoint, *self.options.values()) if is_reference(text))


@cache
def models() -> Mapping[str, Model]:
    """Name to model, in order of preference."""
    text = resources.files("ovsbench.hub").joinpath("models.toml").read_text("utf-8")
    return {name: Reader(DataError).table(Model, table, name) for name, table in tomllib.loads(text).items()}


def at_hand() -> Iterator[str]:
    """Names of the models that the cache holds whole, the best first."""
    for name, model in models().items():
        parsed = map(parse, model.references)
        if all(is_cached(one.weights if isinstance(one, ClipReference) else one) for one in parsed):
            yield name
