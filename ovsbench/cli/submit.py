"""`ovsbench submit` and `ovsbench check`: bundles for the leaderboard, made and examined."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.storage.remote import place
from ovsbench.cli.console import complain, finish, fraction, plural, print_json, print_table, say
from ovsbench.cli.options import Json, RunFolder
from ovsbench.cli.progress_bar import progress

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from ovsbench.leaderboard.bundle.check import Checked

Card = Annotated[Path, typer.Option("--card", metavar="FILE", help="The card of the run.")]
Train = Annotated[
    list[Path] | None, typer.Option("--train", metavar="DATA", help="A training set to audit; may be repeated.")
]
Labels = Annotated[
    Path | None,
    typer.Option("--data", metavar="DATA", parser=place, help="The benchmark folder: predictions are counted again."),
]


def submit(
    run: RunFolder,
    card: Card = Path("card.toml"),
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="ZIP", help="The bundle; RUN.zip here.")] = None,
    init: Annotated[bool, typer.Option("--init", help="Write a commented card to fill in, and nothing else.")] = False,
    data: Annotated[Path | None, typer.Option("--data", help="The benchmark folder, if it has moved.")] = None,
    predictions: Annotated[
        bool, typer.Option("--predictions", help="Put the masks in, so that they can be counted.")
    ] = False,
    pictures: Annotated[
        int, typer.Option("--pictures", min=0, max=6, help="Videos whose drawn frames to put in; they show the images.")
    ] = 0,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="Sign with this key; a new one is made if missing.")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="URL", help="Send predictions to an evaluation server, see login.")
    ] = None,
    phase: Annotated[str | None, typer.Option("--phase", help="With --to: of the server, if several fit.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="With --to: wait for the scores and the receipt.")] = False,
    publish: Annotated[bool, typer.Option("--publish", help="With --to: wait, and show the row to everybody.")] = False,
    as_json: Json = False,
) -> None:
    """Pack a scored run into a bundle for the leaderboard; the same run gives the same bytes.

    With --to the predictions are checked here and sent to a server that has the labels; RUN may be a bundle then.

    \b
    [bold]Examples[/bold]
      ovsbench submit runs/gkc --init
      ovsbench submit runs/gkc --card card.toml -o gkc.zip
      ovsbench submit runs/gkc --card card.toml -o gkc.zip --key ~/.ovsbench-key.pem
      ovsbench submit runs/gkc --card card.toml -o gkc.zip --predictions --pictures 2
      ovsbench submit runs/gkc --card card.toml --to https://example.org --wait
    """
    from ovsbench.benchmark.record import RunRecord
    from ovsbench.benchmark.storage import files
    from ovsbench.leaderboard.bundle import pack
    from ovsbench.leaderboard.bundle.card import template
    from ovsbench.plans.run_benchmarks import benchmark_of

    if to is not None and not init:
        from ovsbench.cli.submit_to import Sending, send

        send(Sending(run, to, card, data, phase, wait, publish, as_json))
        return
    if not run.is_dir():
        raise UserError(f"{run}: expected a run folder, found none. Make one with: ovsbench run")
    name = run.resolve().name
    if init:
        if card.exists():
            raise UserError(f"{card} is there already. Remove it, or name another file with --card")
        files.write_bytes(card, template(RunRecord.read(run), name).encode())
        next_one = ["ovsbench", "submit", run, "--card", card, "-o", f"{name}.zip"]
        print_json({"card": str(card)}) if as_json else finish(card, next_one)
        return
    path = out or Path(f"{name}.zip")
    author = None if key is None else author_key(key)
    pack.pack(run, card, benchmark_of(run, data), path, predictions=predictions, strips=pictures, key=author)
    if as_json:
        print_json({"bundle": str(path), "bytes": path.stat().st_size, "sha256": pack.digest(path)})
        return
    say(f"{path.stat().st_size / 1e6:.2f} MB, sha256 {pack.digest(path)}")
    finish(path, ["ovsbench", "check", path], ["ovsbench", "board", "add", path])


def author_key(path: Path) -> Ed25519PrivateKey:
    """The key of a file; one that is not there yet is made, and said so."""
    from ovsbench.leaderboard import signature

    if path.exists():
        return signature.read_key(path)
    key = signature.generate_key(path)
    complain(f"{path}: a new key was made. Keep it: nobody else can correct the entries that it signs")
    return key


def check(
    path: Annotated[Path, typer.Argument(metavar="ZIP", help="A bundle, or the folder of an entry.")],
    data: Labels = None,
    train: Train = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the row it would get, and nothing else.")] = False,
    as_json: Json = False,
) -> None:
    """Check a bundle: complete, of the benchmark that it names, and scores that follow from its counts to the bit.

    \b
    [bold]Examples[/bold]
      ovsbench check gkc.zip
      ovsbench check gkc.zip --data data/world
      ovsbench check gkc.zip --train data/train
    """
    checked = checked_bundle(path, data, train, quiet=as_json or markdown)
    if as_json:
        print_json(summary(checked))
        return
    if markdown:
        from ovsbench.leaderboard.site.review import row_markdown

        say(row_markdown(checked))
        return
    _print(checked)
    finish(path, ["ovsbench", "board", "add", path, *(["--data", data] if data else [])])


def checked_bundle(path: Path, data: Path | None, train: list[Path] | None, *, quiet: bool = False) -> Checked:
    """What `check` found, with the warnings of training sets; complains of each."""
    from ovsbench.benchmark import manifest
    from ovsbench.leaderboard.bundle.check import check as check_bundle
    from ovsbench.leaderboard.bundle.training_set_audit import contradictions

    told = progress(quiet=quiet)
    if path.is_dir():
        checked = _checked_entry(path)
    else:
        checked = check_bundle(path, data=manifest.load(data) if data else None, progress=told)
    found = [
        one
        for folder in train or []
        for one in contradictions(checked.card, checked.benchmark, manifest.load(folder), told)
    ]
    checked = dataclasses.replace(checked, warnings=(*checked.warnings, *found))
    for warning in checked.warnings:
        complain(f"warning: {warning}")
    return checked


def _checked_entry(folder: Path) -> Checked:
    from ovsbench.leaderboard.entries import check_entry
    from ovsbench.leaderboard.verified import VERIFIED

    folder = folder.resolve()
    if not (folder / VERIFIED).is_file():
        raise UserError(f"{folder}: expected a bundle, or the folder of an entry with {VERIFIED}. Name one of them")
    return check_entry(folder.parents[2], "/".join(folder.parts[-3:]))


def summary(checked: Checked) -> dict[str, Any]:
    """What is known about a bundle, as JSON."""
    return {
        "name": checked.card.name,
        "method": checked.record.method,
        "benchmark": checked.benchmark.name,
        "digest": checked.benchmark.digest,
        "offered": checked.record.offered,
        "level": checked.level,
        "warnings": list(checked.warnings),
        "values": {name: dict(by_group) for name, by_group in checked.scores.values.items()},
    }


def _print(checked: Checked) -> None:
    from ovsbench.benchmark.metrics import described_for
    from ovsbench.leaderboard.bundle.check import LEVELS

    groups = [g for g in ("all", "base", "novel", "harmonic") if any(g in v for v in checked.scores.values.values())]
    rows = [
        (name, *(fraction(by_group.get(group)) for group in groups)) for name, by_group in checked.scores.values.items()
    ]
    known = described_for(checked.benchmark.rules)
    main = [row for row in rows if row[0] in known and known[row[0]].value.shown != "details"]
    title = f"{checked.card.name} on {checked.benchmark.name}, {plural(checked.scores.videos, 'video')}"
    print_table(f"{title}, {checked.record.offered} names offered", ("score", *groups), main)
    say(f"Sound. Verified level: {checked.level} ({LEVELS[checked.level]})")
    if checked.level == "counts" and checked.has_predictions:
        say("It holds predictions: with --data they are counted again, and the level is predictions")
