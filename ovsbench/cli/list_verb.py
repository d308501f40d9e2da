"""`ovsbench list`: what is installed, and from where."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from ovsbench.cli.console import print_json, print_table
from ovsbench.cli.options import Json, one_of

Listing = tuple[Sequence[str], list[Sequence[str]]]


def list_(
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT",
            help="models, methods, metrics, datasets, splits or checkpoints.",
            autocompletion=lambda: list(LISTINGS),
        ),
    ],
    as_json: Json = False,
) -> None:
    """List public models by name, and what is installed: methods, metrics, data sets, splits or checkpoints.

    \b
    [bold]Examples[/bold]
      ovsbench list models
      ovsbench list methods
      ovsbench list splits --json
    """
    one_of(what, "cannot list", LISTINGS)
    columns, rows = LISTINGS[what]()
    if as_json and what == "splits":
        print_json(_split_records())
    elif as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        print_table(what, columns, rows, words=len(columns))


def _models() -> Listing:
    from ovsbench.hub.models import models

    columns = ("name", "what", "method", "weights", "GB", "licence", "gated", "needs", "trained on")
    return columns, [
        (name, one.about, one.method, ", ".join(one.references), f"{one.gigabytes:.1f}", one.licence,
         "yes" if one.gated else "no", one.needs, one.domain)
        for name, one in models().items()
    ]  # fmt: skip


def _methods() -> Listing:
    from ovsbench.benchmark.methods import available, facts

    rows: list[Sequence[str]] = []
    for method in available():
        known = facts(method)
        rows.append(
            (method.name, ", ".join(known.tasks), known.needs, method.package, method.version, method.entry_point)
        )
    return ("name", "tasks", "needs", "package", "version", "entry_point"), rows


def _metrics() -> Listing:
    from ovsbench.benchmark.metrics import OPTIONAL, all_metrics

    return ("name", "title", "version", "counted"), [
        (
            metric.name,
            metric.title,
            str(metric.version),
            f"score --with {metric.name}" if metric in OPTIONAL else "always",
        )
        for metric in all_metrics()
    ]


def _datasets() -> Listing:
    from ovsbench.data_prep.split import list_splits
    from ovsbench.plans.datasets import READERS

    world = ("world", "panoptic", "the embedded world: drawn in seconds, nothing to download", "world -o data/world")
    known = [world, *((r.name, r.task, r.about.rstrip("."), f"{r.name} {r.example}") for r in READERS)]
    return ("name", "task", "what", "splits", "build with"), [
        (name, task, what, ", ".join(list_splits(name)), f"ovsbench data build {command}")
        for name, task, what, command in known
    ]


def _splits() -> Listing:
    from ovsbench.data_prep.split import list_splits, load_split

    splits = [load_split(name) for name in list_splits()]
    return ("name", "dataset", "base", "novel", "task", "vocabulary", "source"), [
        (s.name, s.dataset, str(len(s.vocabulary.base)), str(len(s.vocabulary.novel)), s.protocol.task,
         s.protocol.vocabulary.partition(":")[0], s.source.place)
        for s in splits
    ]  # fmt: skip


def _split_records() -> list[dict[str, Any]]:
    """Everything that the files of the splits say; for `--json`."""
    from ovsbench.data_prep.split import list_splits, load_split

    records = []
    for split in map(load_split, list_splits()):
        base, novel = ([dataclasses.asdict(c) for c in split.vocabulary if c.is_novel == new] for new in (False, True))
        about = {key: dataclasses.asdict(getattr(split, key)) for key in ("source", "protocol")}
        names = {"name": split.name, "dataset": split.dataset, "licence": split.licence, "note": split.note}
        records.append({**names, **about, "base": base, "novel": novel, "corrected": list(split.corrected)})
    return records


def _checkpoints() -> Listing:
    from ovsbench.gkc_video.checkpoint import digest, domain, shipped

    return ("name", "MB", "sha256", "trained on", "file"), [
        (name, f"{path.stat().st_size / 1e6:.1f}", digest(path)[:12], domain(path) or "", str(path))
        for name, path in shipped().items()
    ]


LISTINGS: dict[str, Callable[[], Listing]] = {
    "models": _models,
    "methods": _methods,
    "metrics": _metrics,
    "datasets": _datasets,
    "splits": _splits,
    "checkpoints": _checkpoints,
}
