"""`ovsbench receipt`: signed receipts of an evaluation server, fetched and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ovsbench.benchmark.errors import UserError
from ovsbench.cli.console import finish, print_json, say
from ovsbench.cli.options import Json

app = typer.Typer(help="Fetch and check the signed receipts of an evaluation server.", no_args_is_help=True)


@app.command()
def verify(
    path: Annotated[Path, typer.Argument(metavar="RECEIPT", help="A receipt of a server.")],
    key: Annotated[
        str | None, typer.Option("--key", metavar="HEX", help="Public key of the server; those of login by default.")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", metavar="ZIP", help="The bundle that it should be about.")
    ] = None,
    journal: Annotated[
        Path | None, typer.Option("--journal", metavar="FILE", help="The server's journal, to find its line in.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check, without a network, that a receipt is as the server signed it.

    \b
    [bold]Examples[/bold]
      ovsbench receipt verify mine.receipt.json
      ovsbench receipt verify mine.receipt.json --key 5f0c... --bundle mine.zip
    """
    from ovsbench.leaderboard.server import receipts

    receipt = receipts.verify(path, key or _known_key(path), bundle, journal)
    if as_json:
        print_json({"is_sound": True, "submission": receipt.submission, "server": receipt.server})
        return
    say(f"Sound: signed by {receipt.server} with {receipt.public_key}")
    say(f"Submission {receipt.submission}, phase {receipt.phase}, accepted {receipt.accepted}, scored {receipt.scored}")
    say(f"Bundle {receipt.bundle_sha256}")
    say(f"Data   {receipt.data_digest} ({receipt.benchmark}, version {receipt.benchmark_version})")
    say(f"Scores {receipt.scores_sha256}" + ("" if receipt.scores else ", not shown before the phase closes"))


def _known_key(path: Path) -> str:
    """The key of the receipt, if a server that was logged in to has it."""
    from ovsbench.leaderboard.server.client import known_servers
    from ovsbench.leaderboard.server.receipts import read

    key = read(path).public_key
    if key not in {facts.get("public_key") for facts in known_servers().values()}:
        raise UserError(
            f"{path}: it says that {key[:16]}... signed it, which is the key of no server that you logged in to. "
            "Ask the host for the key, and give it with --key"
        )
    return key


@app.command()
def fetch(
    submission: Annotated[str, typer.Argument(metavar="ID", help="Of a submission of your team.")],
    to: Annotated[str, typer.Option("--to", metavar="URL", help="The server.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The receipt; ID.receipt.json here.")] = None,
    as_json: Json = False,
) -> None:
    """Fetch the receipt of a submission.

    \b
    [bold]Example[/bold]
      ovsbench receipt fetch 3f2a9c... --to https://example.org
    """
    path = save(submission, to, out or Path(f"{submission}.receipt.json"))
    if as_json:
        print_json({"receipt": str(path)})
        return
    finish(path, ["ovsbench", "receipt", "verify", path])


def save(submission: str, url: str, out: Path) -> Path:
    """Fetches a receipt into a file."""
    from ovsbench.benchmark.storage import files
    from ovsbench.leaderboard.server.client import Server

    files.write_bytes(out, Server.known(url).fetch("GET", f"/api/submissions/{submission}/receipt"))
    return out
