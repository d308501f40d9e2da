"""Public models for the verbs: all of one fetched beforehand, the best at hand, and what does not fit a video."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ovsbench.benchmark.domain import DRAWN, PHOTOGRAPHS
from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.record import Settings
from ovsbench.plans.runs import resolved

FOR_PHOTOGRAPHS = "m2f-clip"
"""The model that a newcomer with photographs is led to."""
SMALL = "m2f-tiny-clip"
"""The same for who has a processor alone."""


@dataclass(frozen=True)
class Here:
    """Weights that were fetched: as they are named, their place, commit, and the sha256 of each file."""

    name: str
    path: Path
    revision: str
    sha256: dict[str, str]


def fetch_all(name: str, report: Callable[[Here], None]) -> list[Here]:
    """Brings all weights that a model's name stands for, or that a text names, into the cache.

    Args:
        name: of `ovsbench list models`, or hf:ORG/NAME, or open_clip:MODEL/TAG.
        report: gets each as soon as it is here.

    Raises:
        MethodError: unknown, or see `hub.download.fetch`.
    """
    from ovsbench.gkc_video.torchvision_shim import prepare
    from ovsbench.hub.resolve import localise, references

    prepare()
    cached = []
    for text in references(name):
        fetched = localise(text).fetched
        cached.append(Here(text, fetched.path, fetched.revision, dict(fetched.sha256)))
        report(cached[-1])
    return cached


def best_at_hand(settings: Settings) -> Settings:
    """The settings with the best model that the cache holds whole; nothing is fetched, for nobody named it.

    Args:
        settings: whose method is not chosen yet.

    Raises:
        UserError: the cache holds none; leads to one.
    """
    from ovsbench.gkc_video.torchvision_shim import prepare
    from ovsbench.hub.connection import connection
    from ovsbench.hub.models import at_hand, models

    prepare()
    best = next(at_hand(), None)
    if best is None:
        first, small = (f"-m {name} fetches {models()[name].gigabytes} GB once" for name in (FOR_PHOTOGRAPHS, SMALL))
        raise UserError(
            f"expected a model, got none, and none was fetched yet. Name one: {first}, {small}; ovsbench list models "
            "has them all. Of what comes with the package, -c gkc-world has seen drawn shapes only"
        )
    with connection("nothing was named that may be fetched"):
        return resolved(dataclasses.replace(settings, method=best))


def choices(device: str) -> tuple[dict[str, Settings], dict[str, str]]:
    """Models that need no fetching, the best first, and for photographs what is to be said of some of them.

    Args:
        device: that they are to run on.

    Returns:
        Name to settings, and name to warning.
    """
    from ovsbench.gkc_video import checkpoint
    from ovsbench.gkc_video.torchvision_shim import prepare
    from ovsbench.hub.models import at_hand

    prepare()
    models = {name: Settings(name, device=device) for name in at_hand()}
    shipped = {name: Settings("gkc", name, device=device) for name in checkpoint.shipped() if name.startswith("gkc")}
    models |= shipped
    remedy = f"for photographs: ovsbench fetch {SMALL} or {FOR_PHOTOGRAPHS}, then start the page again"
    warnings = {
        name: f"{name} has seen {DRAWN} only; {remedy}"
        for name, settings in shipped.items()
        if misfit(settings, PHOTOGRAPHS)
    }
    return models, warnings


def misfit(settings: Settings, shown: str) -> str | None:
    """A line for who gives photographs to a checkpoint that has seen drawn shapes only; None where all is well.

    Args:
        settings: with the checkpoint.
        shown: what the video or benchmark shows, see `benchmark.domain`.
    """
    weights = settings.built.checkpoint
    if shown == DRAWN or not weights:
        return None
    from ovsbench.gkc_video import checkpoint

    path = checkpoint.shipped().get(weights, Path(weights))
    if not path.is_file() or checkpoint.domain(path) != DRAWN:
        return None
    return f"{settings.checkpoint} has seen {DRAWN} only; for photographs: -m {FOR_PHOTOGRAPHS}"
