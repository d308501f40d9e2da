"""`ovsbench board`: the leaderboard site."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.console import finish
from benchmark.errors import UserError

app = typer.Typer(help="Render the leaderboard site.", no_args_is_help=True)


@app.command()
def build(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="[RUN]...", help="Scored run folders; all in runs/ by default.")
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the site.")] = Path("site"),
) -> None:
    """Render a static site from run folders: a page that opens from disk, and the same numbers as CSV, JSON, Markdown.

    \b
    [bold]Examples[/bold]
      ovsbench board build
      ovsbench board build runs/gkc runs/constant -o site
    """
    from leaderboard.render import write_site
    from leaderboard.run_folder import read_row

    folders = list(runs or sorted(path.parent for path in Path("runs").glob("*/scores.json")))
    if not folders:
        raise UserError("expected scored runs, found none in runs/. Name run folders, or make one with ovsbench run")
    index = write_site([read_row(folder) for folder in folders], out)
    finish(index, ["ovsbench", "show", *folders])
