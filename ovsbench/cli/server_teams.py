"""`ovsbench server team`, `quota`, `ban` and `withdraw`: what a host does with teams and their submissions."""

from __future__ import annotations

from typing import Annotated

import typer

from ovsbench.benchmark.errors import UserError
from ovsbench.cli.console import finish, print_json, print_table, say
from ovsbench.cli.options import Json, one_of
from ovsbench.cli.server_folder import Folder, opened

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of a team.")]


def team(
    folder: Folder,
    action: Annotated[str, typer.Argument(metavar="ACTION", help="add, token (a new one) or list.")],
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Of the team.")] = None,
    is_host: Annotated[bool, typer.Option("--host", help="It may administer by the page.")] = False,
    as_json: Json = False,
) -> None:
    """Add a team or a host, give it another token, or list all.

    \b
    [bold]Examples[/bold]
      ovsbench server team server add "Team A"
      ovsbench server team server add "Second host" --host
      ovsbench server team server token "Team A"
      ovsbench server team server list
    """
    from ovsbench.leaderboard.server import admin

    one_of(action, "unknown action", ("add", "token", "list"))
    _, database = opened(folder)
    if action == "list":
        with database.read() as session:
            accounts = admin.overview(session).accounts
        rows = [(a.name, "host" if a.is_host else "team", "shut out" if a.is_banned else "") for a in accounts]
        print_json([row[0] for row in rows]) if as_json else print_table("", ("name", "kind", "state"), rows, words=3)
        return
    if name is None:
        raise UserError(f"expected the name of a team to {action}, got none. Put it behind {action}")
    with database.write() as session:
        form = {"action": action if action == "token" else "add-host" if is_host else "add-team", "name": name}
        done = admin.act(session, form)
    if as_json:
        print_json({"name": name, "token": done.token})
        return
    say(f"{done.words}: {done.token}")
    finish(name, ["ovsbench", "login", "URL", "--token", done.token])


def quota(
    folder: Folder,
    name: Name,
    phase: Annotated[str, typer.Argument(metavar="PHASE")],
    per_day: Annotated[int, typer.Option("--per-day", min=0, max=10_000)],
    total: Annotated[int, typer.Option("--total", min=0, max=100_000)],
) -> None:
    """Give a team another number of submissions in a phase.

    \b
    [bold]Example[/bold]
      ovsbench server quota server "Team A" world-val --per-day 5 --total 50
    """
    numbers = {"per_day": str(per_day), "total": str(total)}
    _done(folder, {"action": "quota", "name": name, "phase": phase, **numbers})


def ban(
    folder: Folder,
    name: Name,
    lift: Annotated[bool, typer.Option("--lift", help="Let it in again.")] = False,
) -> None:
    """Shut a team out, or let it in again; its rows are not shown meanwhile.

    \b
    [bold]Example[/bold]
      ovsbench server ban server "Team A"
    """
    _done(folder, {"action": "pardon" if lift else "ban", "name": name})


def _done(folder: Folder, form: dict[str, str]) -> None:
    from ovsbench.leaderboard.server import admin

    _, database = opened(folder)
    with database.write() as session:
        done = admin.act(session, form)
    finish(done.words)


def withdraw(
    folder: Folder,
    submission: Annotated[str, typer.Argument(metavar="ID", help="Of a submission.")],
) -> None:
    """Take a submission back; one that was not scored costs its team no quota.

    \b
    [bold]Example[/bold]
      ovsbench server withdraw server 3f2a9c...
    """
    from ovsbench.leaderboard.server import uploads
    from ovsbench.leaderboard.server.database import Submission

    _, database = opened(folder)
    with database.write() as session:
        row = session.get(Submission, submission)
        if row is None:
            raise UserError(f"there is no submission {submission[:64]!r}. Its id stands on the page of hosts")
        uploads.withdraw(session, row)
    finish(f"{submission} is withdrawn")
