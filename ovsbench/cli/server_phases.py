"""`ovsbench server add-benchmark`, `close` and `export`: phases of an evaluation server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ovsbench.cli.console import complain, finish, plural, print_json, say
from ovsbench.cli.options import Json, one_of
from ovsbench.cli.server_folder import Folder, opened

Phase = Annotated[str, typer.Argument(metavar="PHASE", help="Name of a phase.")]


def add_benchmark(
    folder: Folder,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="The benchmark folder, with its labels.")],
    phase: Annotated[str, typer.Option("--phase", help="val or test.")] = "val",
    name: Annotated[str | None, typer.Option("--name", help="Of the phase; benchmark and kind by default.")] = None,
    opens: Annotated[str, typer.Option("--opens", help="UTC, such as 2026-12-01T12:00; at once by default.")] = "",
    closes: Annotated[str, typer.Option("--closes", help="Likewise; never by default.")] = "",
    per_day: Annotated[int, typer.Option("--per-day", help="Submissions of a team in a day that are scored.")] = 2,
    total: Annotated[int, typer.Option("--total", help="And in the whole phase.")] = 20,
    show: Annotated[str, typer.Option("--show", help="full, rounded or none-until-close.")] = "rounded",
    categories: Annotated[bool, typer.Option("--categories", help="Teams see their scores by category.")] = False,
    public: Annotated[
        Path | None, typer.Option("--public", metavar="DIR", help="Write a copy without labels, to give out.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Begin a phase on a benchmark whose labels stay here; participants get a copy without labels.

    \b
    [bold]Example[/bold]
      ovsbench server add-benchmark server data/world --phase val --closes 2027-01-31 --public world-public
    """
    from ovsbench.benchmark import manifest
    from ovsbench.leaderboard.server import phases
    from ovsbench.leaderboard.server.database import now

    one_of(phase, "unknown kind of phase", ("val", "test"))
    one_of(show, "cannot show", ("full", "rounded", "none-until-close"))
    found, database = opened(folder)
    benchmark = manifest.load(data)
    begins, ends = phases.moment(opens) if opens else now(), phases.moment(closes) if closes else phases.NEVER
    named = name or phases.name_for(benchmark.name, phase)
    settings = phases.PhaseSettings(named, phase, begins, ends, per_day, total, show, categories)  # type: ignore[arg-type]
    if public is not None:
        phases.write_public_copy(benchmark, public)
    phases.add(found, database, benchmark, settings)
    if as_json:
        print_json({"phase": named, "digest": benchmark.digest, "public": str(public) if public else None})
        return
    say(f"Phase {named}: {plural(len(benchmark.entries), 'video')} of {benchmark.name}, {phases.shown(begins)} to "
        f"{phases.shown(ends)}")  # fmt: skip
    finish(public or folder, ["ovsbench", "server", "team", folder, "add", "NAME"])


def close(folder: Folder, phase: Phase, as_json: Json = False) -> None:
    """End a phase now: it takes no more submissions, and shows what it was to show at its end.

    \b
    [bold]Example[/bold]
      ovsbench server close server world-val
    """
    from ovsbench.leaderboard.server import phases

    _, database = opened(folder)
    with database.write() as session:
        phases.close(session, phase)
    if as_json:
        print_json({"phase": phase})
        return
    finish(phase, ["ovsbench", "server", "export", folder, phase, "-o", f"{phase}-export"])


def export(
    folder: Folder,
    phase: Phase,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="A new folder.")],
    as_json: Json = False,
) -> None:
    """Publish a closed phase: a static site, entries with the counts of every video, the labels; then it is frozen.

    \b
    [bold]Example[/bold]
      ovsbench server export server world-val -o world-val-export
    """
    from ovsbench.leaderboard.server.publishing import export_phase

    found, database = opened(folder)
    exported = export_phase(found, database, phase, out)
    for sentence in exported.left_out:
        complain(f"left out: {sentence}")
    if as_json:
        print_json({"entries": list(exported.entries), "left_out": list(exported.left_out), "folder": str(out)})
        return
    say(f"{plural(len(exported.entries), 'entry')}, labels of {plural(exported.videos, 'video')}")
    finish(out / "site" / "index.html", ["ovsbench", "board", "verify", "--entries", out / "entries"])
