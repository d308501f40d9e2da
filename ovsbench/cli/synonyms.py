"""`ovsbench synonyms`: which other words text diversification would use, and which of them would leak."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ovsbench.benchmark.errors import UsageError
from ovsbench.cli.console import print_json, print_table, say
from ovsbench.cli.options import Json

if TYPE_CHECKING:
    from ovsbench.gkc_video.text.synonyms import Thesaurus


def synonyms(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME...", help="Class names.")] = None,
    audit: Annotated[
        str | None, typer.Option(help="Instead: synonyms of a split's base names that name a novel class.")
    ] = None,
    wordnet: Annotated[
        Path | None, typer.Option(help="Folder of WordNet's database files (index.noun, data.noun).")
    ] = None,
    senses: Annotated[int, typer.Option(help="Meanings of a name that WordNet is asked for, most frequent first.")] = 1,
    any_kind: Annotated[
        bool, typer.Option("--any-kind", help="Also meanings that no camera sees, such as acts and feelings.")
    ] = False,
    table: Annotated[Path | None, typer.Option(help="A table of your own, in the form of words/own.json.")] = None,
    as_json: Json = False,
) -> None:
    """Show synonyms of class names, each with its source.

    \b
    [bold]Examples[/bold]
      ovsbench synonyms "traffic light" couch
      ovsbench synonyms couch --wordnet /usr/share/wordnet --senses 2
      ovsbench synonyms --audit world
    """
    from ovsbench.gkc_video.text.synonyms import OWN, Table, Thesaurus
    from ovsbench.gkc_video.text.wordnet import PHYSICAL, WordNet

    if bool(names) == (audit is not None):
        raise UsageError("expected names, or --audit with a split, and not both. See ovsbench synonyms --help")
    if senses < 1:
        raise UsageError(f"expected at least 1 sense, got {senses}. Leave --senses out for the most frequent one")
    thesaurus = Thesaurus(
        tables=(Table.read(OWN), *([Table.read(table)] if table else [])),
        wordnet=WordNet(wordnet) if wordnet else None,
        senses=senses,
        kinds=frozenset(range(46)) if any_kind else PHYSICAL,
    )
    if audit is not None:
        _audit(audit, thesaurus, as_json)
        return
    rows = [(name, s.word, s.source) for name in dict.fromkeys(names or []) for s in thesaurus.synonyms(name)]
    if as_json:
        print_json([dict(zip(("name", "word", "source"), row, strict=True)) for row in rows])
        return
    print_table("synonyms", ("name", "synonym", "source"), rows, words=3)
    for name in dict.fromkeys(names or []):
        if name not in {row[0] for row in rows}:
            say(f"{name}: no synonym is known; training uses the name itself")


def _audit(split_name: str, thesaurus: Thesaurus, as_json: bool) -> None:
    from ovsbench.data_prep.split import load_split

    vocabulary = load_split(split_name).vocabulary
    leaks = [(x.base, x.synonym.word, x.synonym.source, x.novel) for x in thesaurus.leaks(vocabulary)]
    if as_json:
        print_json([dict(zip(("base", "synonym", "source", "novel"), leak, strict=True)) for leak in leaks])
        return
    print_table(f"leaks of {split_name}", ("base name", "synonym", "source", "names the novel class"), leaks, words=4)
    say(
        f"{len(leaks)} synonyms of {len(vocabulary.base)} base names name one of {len(vocabulary.novel)} novel classes"
        + ("; training leaves them out" if leaks else "")
    )
