"""`ovsbench board`: entries checked and filed, and the leaderboard site made of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.storage.remote import place
from ovsbench.cli.console import complain, finish, plural, print_json, say, say_served
from ovsbench.cli.options import Json
from ovsbench.cli.progress_bar import progress
from ovsbench.cli.submit import Labels, Train, checked_bundle

if TYPE_CHECKING:
    from ovsbench.leaderboard.row import Row

app = typer.Typer(help="File checked bundles, check them again, render the leaderboard site.", no_args_is_help=True)

OURS = Path("leaderboard/entries")
"""Where a checkout keeps the project's own entries; elsewhere the default is entries/."""

NOT_SHIPPED = (
    ". The project's own entries come with its repository and not with the installed package: in a checkout they lie "
    f"in {OURS}, which --entries can name"
)

Entries = Annotated[
    Path | None,
    typer.Option(
        "--entries",
        metavar="DIR",
        parser=place,
        help="Folder of the entries; leaderboard/entries or entries by default.",
    ),
]
Site = Annotated[Path, typer.Option("-o", "--out", metavar="DIR", parser=place, help="Folder of the site.")]


def _entries(given: Path | None) -> Path:
    return given or (OURS if OURS.is_dir() else Path("entries"))


@app.command()
def add(
    path: Annotated[Path, typer.Argument(metavar="ZIP", help="A bundle of ovsbench submit.")],
    entries: Entries = None,
    data: Labels = None,
    train: Train = None,
    rerun: Annotated[
        Path | None,
        typer.Option("--rerun", metavar="RUN", parser=place, help="Your own run of the same method, to prove it."),
    ] = None,
    new_benchmark: Annotated[
        bool, typer.Option("--new-benchmark", help="Begin a table that is not there yet.")
    ] = False,
    maintainer: Annotated[
        bool, typer.Option("--maintainer", help="You keep this board, and may correct entries of others.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check a bundle and file it as an entry; entries are never changed, a correction names what it supersedes.

    \b
    [bold]Examples[/bold]
      ovsbench board add gkc.zip
      ovsbench board add gkc.zip --data data/world --new-benchmark
      ovsbench board add gkc.zip --rerun runs/again
    """
    from ovsbench.leaderboard import entries as store
    from ovsbench.leaderboard.bundle import pack
    from ovsbench.leaderboard.bundle.check import check_rerun
    from ovsbench.leaderboard.verified import read_verified

    checked = checked_bundle(path, data, train, quiet=as_json)
    if rerun is not None:
        checked = check_rerun(checked, rerun)
    folder = _entries(entries)
    labels = _labels(data) if data is not None and new_benchmark else None
    entry = store.add(
        checked, folder, bundle_sha256=pack.digest(path), new_benchmark=new_benchmark, is_maintainer=maintainer,
        labels=labels,
    )  # fmt: skip
    near = read_verified(folder, entry).near
    if as_json:
        print_json({"entry": entry, "level": checked.level, "near": near, "folder": str(folder / entry)})
        return
    say(f"Filed as {entry}, verified level {checked.level}")
    if near:
        complain(
            f"warning: on more than half of the videos its counts are near {near}: not ranked until it is run again"
        )
    finish(folder / entry, ["ovsbench", "board", "build", "--entries", folder, "-o", "site"])


def _labels(data: Path) -> bytes:
    from ovsbench.benchmark import manifest
    from ovsbench.leaderboard.label_counts import count_labels

    return count_labels(manifest.load(data), progress())


@app.command()
def labels(
    data: Annotated[Path, typer.Argument(metavar="DATA", parser=place, help="The benchmark folder.")],
    entries: Entries = None,
) -> None:
    """Count the labels of a benchmark, and keep that beside it: what every entry is held against, the first one too.

    \b
    [bold]Examples[/bold]
      ovsbench board labels data/world --entries leaderboard/entries
    """
    from ovsbench.benchmark import manifest
    from ovsbench.benchmark.storage import files
    from ovsbench.leaderboard.label_counts import path_of
    from ovsbench.leaderboard.row import slug

    benchmark, folder = manifest.load(data), _entries(entries)
    path = path_of(folder, slug(benchmark.name), benchmark.digest)
    files.write_bytes(path, _labels(data))
    finish(path, ["ovsbench", "board", "verify", "--entries", folder])


@app.command()
def reported(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A reported.toml as it was, empty for none.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="As it is.")],
) -> None:
    """Print what changed in numbers of papers, old -> new, as Markdown.

    \b
    [bold]Examples[/bold]
      ovsbench board reported before.toml leaderboard/entries/lvvis-val/reported.toml
    """
    from ovsbench.leaderboard.reported import changes
    from ovsbench.leaderboard.site.export import markdown_cell

    found = [(markdown_cell(text or "(none)") for text in change) for change in changes(old, new)]
    for key, before, after in found:
        say(f"* {key}: {before} -> {after}")
    if not found:
        say("* No value changed.")


@app.command()
def rerun(
    entry: Annotated[str, typer.Argument(metavar="ENTRY", help="Of the board, such as world-val/gkc/gkc.")],
    run: Annotated[Path, typer.Argument(metavar="RUN", parser=place, help="Your own run of the same method, scored.")],
    entries: Entries = None,
) -> None:
    """Note that an entry was run again, to the same score: its level becomes rerun, and it carries "verified".

    \b
    [bold]Examples[/bold]
      ovsbench board rerun world-val/gkc/gkc runs/again
    """
    from ovsbench.leaderboard.entries import raise_to_rerun
    from ovsbench.leaderboard.verified import entry_ids

    folder = _entries(entries)
    if entry not in entry_ids(folder):
        raise UserError(f"{entry}: not on the board {folder}. Check the name")
    raise_to_rerun(folder, entry, run)
    finish(folder / entry, ["ovsbench", "board", "build", "--entries", folder, "-o", "site"])


@app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(metavar="[ENTRY]...", help="Entries; all by default.")] = None,
    entries: Entries = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the rows of these entries, for a comment.")
    ] = False,
    trusted: Annotated[
        bool, typer.Option("--trusted", help="With --markdown: they come from who may raise levels.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check all entries of a board again: every score still follows from its counts. Makes their summaries anew.

    \b
    [bold]Examples[/bold]
      ovsbench board verify
      ovsbench board verify world-val/gkc/gkc --entries leaderboard/entries
    """
    from ovsbench.leaderboard.site.review import section
    from ovsbench.leaderboard.verified import entry_ids
    from ovsbench.leaderboard.verify import examine

    folder = _entries(entries)
    if not folder.is_dir():
        raise UserError(f"{folder}: expected the entries of a board, found no folder. Name it with --entries")
    count = len(names or entry_ids(folder))
    found = examine(folder, names, progress(quiet=as_json or markdown), are_new=markdown)
    if markdown:
        sections = [section(one, is_trusted=trusted) for one in found if one.entry or one.problems]
        say("\n".join(text for text, _ in sorted(sections, key=lambda one: one[1])))  # what is not sound comes first
        raise typer.Exit(0 if all(is_sound for _, is_sound in sections) else 1)
    problems = [problem for one in found for problem in one.problems]
    if as_json:
        print_json({"entries": str(folder), "checked": count, "problems": problems})
    for problem in [] if as_json else problems:
        complain(problem)
    if problems:
        complain(f"{folder}: {plural(len(problems), 'problem')} found")
        raise typer.Exit(1)
    if not as_json:
        say(f"{plural(count, 'entry')} sound")
        finish(folder, ["ovsbench", "board", "build", "--entries", folder, "-o", "site"])


@app.command()
def build(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="[RUN]...", parser=place, help="Scored run folders to show.")
    ] = None,
    out: Site = Path("site"),
    entries: Entries = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Also print the tables, for a text page.")] = False,
    as_json: Json = False,
) -> None:
    """Render a static site: pages that open from disk, and the same numbers as CSV, JSON, Markdown.

    Without an argument: of the entries, if there are any, else of the runs in runs/.

    \b
    [bold]Examples[/bold]
      ovsbench board build
      ovsbench board build runs/gkc runs/constant -o site
      ovsbench board build --entries leaderboard/entries -o site --markdown
    """
    from ovsbench.benchmark.storage.files import read_json
    from ovsbench.leaderboard.site.render import write_site

    rows = _rows(runs, entries)
    index = write_site(rows, out)
    if as_json:
        print_json({"site": str(index), **read_json(out / "leaderboard.json", "the tables of a site")})
        return
    if markdown:
        say((out / "leaderboard.md").read_text(encoding="utf-8"))
        return
    finish(index, ["ovsbench", "board", "serve", "-o", out])


def _rows(runs: list[Path] | None, entries: Path | None) -> list[Row]:
    from ovsbench.leaderboard import entries as store
    from ovsbench.leaderboard.own_runs import ENTRIES
    from ovsbench.leaderboard.run_row import read_row

    folder = _entries(entries)
    if entries is not None and not folder.is_dir():
        raise UserError(
            f"{folder}: expected the entries of a board, found no folder. Fill one with: ovsbench board add"
        )
    rows: list[Row] = []
    if folder.is_dir() and (entries is not None or not runs):
        rows = store.read_rows(folder)
    folders = runs if runs or rows else sorted(path.parent for path in Path("runs").glob("*/scores.json"))
    rows += [read_row(run, with_summary=True) for run in folders or []]
    if not rows:
        raise UserError(
            "expected entries or scored runs, found none. Name run folders, or file a bundle with ovsbench board add"
            f"{'' if ENTRIES.is_dir() else NOT_SHIPPED}"
        )
    return rows


@app.command()
def serve(
    out: Site = Path("site"),
    port: Annotated[int, typer.Option(help="0 for any that is free.")] = 8000,
    open_it: Annotated[bool, typer.Option("--open/--no-open", help="Open it in the browser.")] = True,
) -> None:
    """Show a built site in the browser, from this machine to this machine only; Ctrl-C ends it.

    \b
    [bold]Examples[/bold]
      ovsbench board serve
      ovsbench board serve -o site --port 0 --no-open
    """
    import webbrowser

    from ovsbench.leaderboard.site.serve import serving

    with serving(out, port) as server:
        address = f"http://127.0.0.1:{server.server_port}/"
        say_served(address)
        if open_it:
            webbrowser.open(address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            complain("stopped")
