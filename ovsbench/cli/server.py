"""`ovsbench server`: an evaluation server for benchmarks whose labels stay with their host."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from ovsbench.cli import server_phases, server_teams
from ovsbench.cli.console import complain, finish, plural, print_json, print_table, say, say_served
from ovsbench.cli.options import Json, one_of
from ovsbench.cli.server_folder import Folder, opened

app = typer.Typer(help="Run an evaluation server: labels stay here, submissions come.", no_args_is_help=True)
app.command("add-benchmark")(server_phases.add_benchmark)
app.command("close")(server_phases.close)
app.command("export")(server_phases.export)
app.command("team")(server_teams.team)
app.command("quota")(server_teams.quota)
app.command("ban")(server_teams.ban)
app.command("withdraw")(server_teams.withdraw)


@app.command()
def init(
    folder: Folder,
    name: Annotated[str, typer.Option("--name", help="Shown on the pages and in receipts.")] = "ovsbench",
    as_json: Json = False,
) -> None:
    """Make the folder of a new server: settings, key, an empty database, and the token of its first host.

    \b
    [bold]Example[/bold]
      ovsbench server init server --name "Open-vocabulary challenge"
    """
    from ovsbench.leaderboard.server import accounts, server_folder
    from ovsbench.leaderboard.server.database import Database

    made = server_folder.create(folder, name)
    database = Database(made.database_url)
    database.create()
    with database.write() as session:
        token = accounts.add(session, "host", is_host=True)
    if as_json:
        print_json({"folder": str(folder), "host_token": token, "public_key": made.public_key})
        return
    say(f"Token of the host, shown this once: {token}")
    say(f"Public key, for whoever checks receipts: {made.public_key}")
    say(
        "Labels and the key that signs lie in private/. Under one user the web process could read them too: for two "
        "users start it twice, with --only web and --only worker, see docs/server.md"
    )
    add = ["ovsbench", "server", "add-benchmark", folder, "DATA", "--phase", "val", "--public", "public-copy"]
    finish(folder / server_folder.CONFIG, add, ["ovsbench", "server", "run", folder])


@app.command()
def run(
    folder: Folder,
    only: Annotated[str | None, typer.Option("--only", help="web or worker: the other part runs by itself.")] = None,
) -> None:
    """Serve, and score what comes; Ctrl-C ends it. Ended at any moment, the same command goes on.

    \b
    [bold]Examples[/bold]
      ovsbench server run server
      ovsbench server run server --only worker
    """
    from ovsbench.leaderboard.server import supervisor
    from ovsbench.leaderboard.server.database import Database
    from ovsbench.leaderboard.server.server_folder import open_folder

    one_of(only, "cannot start", ("web", "worker"))
    found = open_folder(folder)
    Database(found.database_url).create()
    parts = (only,) if only else ("web", "worker")

    supervisor.run(found, parts, say_served)
    complain("stopped")


@app.command()
def check(folder: Folder, as_json: Json = False) -> None:
    """Look at the journal, the files and the states of a server, also while it runs.

    \b
    [bold]Example[/bold]
      ovsbench server check server
    """
    from ovsbench.leaderboard.server.health import inspect

    found, database = opened(folder)
    report = inspect(found, database)
    if as_json:
        print_json({"states": dict(report.states), "journal": report.lines, "problems": list(report.problems)})
    else:
        for problem in report.problems:
            complain(problem)
        states = ", ".join(f"{count} {state}" for state, count in sorted(report.states.items())) or "none"
        say(f"Submissions: {states}; {plural(report.lines, 'line')} of the journal")
    if report.problems:
        raise typer.Exit(1)
    if not as_json:
        finish(folder)


@app.command()
def rescore(
    folder: Folder,
    phase: Annotated[str, typer.Argument(metavar="PHASE")],
    everything: Annotated[bool, typer.Option("--all", help="Also those whose metrics are the same.")] = False,
    as_json: Json = False,
) -> None:
    """Score the submissions of a phase again where a metric has another version now, and show what changed.

    \b
    [bold]Examples[/bold]
      ovsbench server rescore server world-val
      ovsbench server rescore server world-val --all
    """
    from ovsbench.leaderboard.server.rescoring import rescore as score_again

    found, database = opened(folder)
    changes = score_again(found, database, phase, everything=everything)
    if as_json:
        print_json([dataclasses.asdict(change) for change in changes])
        return
    if changes:
        rows = [(c.submission, c.title, c.score, f"{c.before}", f"{c.after}") for c in changes]
        print_table("Scored again", ("submission", "title", "score", "before", "after"), rows, words=3)
    else:
        say("Nothing to score again: every metric is of the version that it was scored with")
    finish(folder)


@app.command()
def backup(
    folder: Folder,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="A new folder, a server of its own.")],
    as_json: Json = False,
) -> None:
    """Copy a server, also while it runs: one moment of the database, and the files that it speaks of.

    \b
    [bold]Example[/bold]
      ovsbench server backup server -o backup-2026-12-01
    """
    from ovsbench.leaderboard.server.backup import copy_server

    found, database = opened(folder)
    rows = copy_server(found, database, out)
    if as_json:
        print_json({"folder": str(out), "rows": rows})
        return
    say(f"{plural(rows, 'row')}, and the files that they speak of; the copy has its database in SQLite")
    finish(out, ["ovsbench", "server", "check", out])
