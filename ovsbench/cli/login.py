"""`ovsbench login`: a token for an evaluation server, kept on this machine."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ovsbench.cli.console import finish, print_json, say
from ovsbench.cli.options import Json


def login(
    url: Annotated[str, typer.Argument(metavar="URL", help="Address of the server.")],
    token: Annotated[
        str | None, typer.Option("--token", help="From the host; asked for if left out, - to read it from stdin.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Keep the token of your team for an evaluation server, and the key that signs its receipts.

    \b
    [bold]Examples[/bold]
      ovsbench login https://example.org
      ovsbench login http://127.0.0.1:8080 --token - < token.txt
    """
    from ovsbench.leaderboard.server.client import Server, address, keep

    if token == "-":
        token = sys.stdin.readline()
    server = Server(address(url), (token or typer.prompt("Token", hide_input=True)).strip())
    name = str(server.ask("GET", "/api/me")["name"])
    key = str(server.ask("GET", "/api")["public_key"])
    path = keep(server.url, {"token": server.token, "public_key": key, "name": name})
    if as_json:
        print_json({"server": server.url, "name": name, "public_key": key})
        return
    say(f"Logged in as {name}; receipts of this server are signed with {key}")
    finish(path, ["ovsbench", "submit", "runs/mine", "--to", server.url])
