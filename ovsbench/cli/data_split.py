"""`ovsbench data split` and `data novelty`: splits by a rule, and how far novel words are from base ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ovsbench.benchmark.errors import UserError
from ovsbench.cli.console import complain, finish, print_json, print_table, say
from ovsbench.cli.options import Json, parse_options
from ovsbench.cli.progress_bar import progress

if TYPE_CHECKING:
    from ovsbench.benchmark.storage.text_bank import TextBank
    from ovsbench.data_prep.novelty import Measured

Bank = Annotated[
    Path, typer.Option("--text-bank", metavar="F.npy", help="Vectors of names, described by a .json beside.")
]
Alias = Annotated[
    list[str] | None,
    typer.Option("--alias", metavar="WORD=NAME", help="A name of the bank that stands for a class; may be repeated."),
]


def split(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A benchmark folder in which no class is hidden.")],
    text_bank: Bank,
    novel: Annotated[int, typer.Option(help="How many classes become novel.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE.json", help="The split to write.")],
    seed: Annotated[int, typer.Option(help="Another seed draws other classes.")] = 0,
    min_videos: Annotated[int, typer.Option(help="In how many videos a novel class must occur.")] = 1,
    max_share: Annotated[float, typer.Option(help="Largest part of all pixels that a novel class may fill.")] = 0.1,
    alias: Alias = None,
    dataset: Annotated[str | None, typer.Option(help="Its data set; by default as DATA is named.")] = None,
    as_json: Json = False,
) -> None:
    """Choose novel classes by a rule: rare ones are likelier, and their names range from near to far.

    Classes are cut into strata by the distance of their names, and one is drawn from each with a chance inverse to the
    number of frames that show it. The file is a split like any other: give it to data build as --split.

    \b
    [bold]Examples[/bold]
      ovsbench data build camvid --raw CamVid --subset train --split none -o data/camvid-all
      ovsbench data split data/camvid-all --text-bank vitb16_cocostuff171.npy \\
          --alias pedestrian=person --novel 4 -o my-split.json
    """
    from ovsbench.benchmark import manifest
    from ovsbench.benchmark.labels.label_counts import count_categories
    from ovsbench.data_prep.own_split import Rule, own_split
    from ovsbench.data_prep.split import Origin, Protocol, Split, check_name, write_split

    check_name(out)
    rule = Rule(novel, seed, min_videos, max_share)
    bank = _read(text_bank, alias)
    benchmark = manifest.load(data)
    if benchmark.role == "train" and benchmark.vocabulary.novel:
        raise UserError(
            f"{data}: expected a folder in which no class is hidden, this is a training set without masks of "
            f"{len(benchmark.vocabulary.novel)} novel classes, which could not be counted. Build it with --split none"
        )
    counts = count_categories(benchmark, progress=progress(quiet=as_json))
    chosen = own_split(counts, bank, rule)
    words = "".join(f"; {word} by the vector of {name!r}" for word, name in bank.alias.items())
    made = Split(
        name=out.stem,
        dataset=dataset or _dataset_of(benchmark.name),
        vocabulary=chosen.vocabulary,
        source=Origin("none: chosen by the rule of ovsbench", "ovsbench", "data_prep/own_split.py"),
        protocol=Protocol(benchmark.rules.task, "generalised: all names compete", "ignore or delete", ""),
        note=f"{rule}; counted in {benchmark.name}, digest {benchmark.digest[:12]}; text bank {text_bank.name}{words}",
    )
    write_split(out, made)
    _report(chosen, as_json)
    if not as_json:
        finish(out, ["ovsbench", "data", "build", made.dataset, "--split", out, "--raw", "RAW", "-o", "DATA"])


def novelty(
    split: Annotated[str, typer.Argument(metavar="SPLIT", help="A name of list splits, or a file.")],
    text_bank: Bank,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE.json", help="Also write the split with the numbers.")
    ] = None,
    alias: Alias = None,
    as_json: Json = False,
) -> None:
    """Measure how novel the novel classes of a split are: nearest base class and cosine of the two names.

    \b
    [bold]Example[/bold]
      ovsbench data novelty ytvis2019-coco --text-bank vitb32_ytvis19.npy -o mine.json
    """
    import dataclasses

    from ovsbench.data_prep.novelty import measure
    from ovsbench.data_prep.split import load_split, write_split

    found = load_split(split)
    measured = measure(found.vocabulary, _read(text_bank, alias))
    if out is not None:
        write_split(out, dataclasses.replace(found, name=out.stem, vocabulary=measured.vocabulary))
    _report(measured, as_json)
    if out is not None and not as_json:
        finish(out, ["ovsbench", "data", "build", found.dataset, "--split", out, "--raw", "RAW", "-o", "DATA"])


def _read(path: Path, alias: list[str] | None) -> TextBank:
    from ovsbench import gkc_video
    from ovsbench.benchmark.storage.text_bank import read_bank

    known = Path(gkc_video.__file__).parent / "banks"
    return read_bank(path, known, parse_options(alias, "an alias"))


def _dataset_of(name: str) -> str:
    """The data set that a benchmark's name begins with: "coco-panoptic" of "coco-panoptic-train"."""
    from ovsbench.data_prep.split import list_splits, load_split

    known = {load_split(split).dataset for split in list_splits()}
    return max((one for one in known if f"{name}-".startswith(f"{one}-")), key=len, default=name.partition("-")[0])


def _report(measured: Measured, as_json: bool) -> None:
    names = {c.id: c.name for c in measured.vocabulary}
    rows = sorted(
        ((c, c.nearest) for c in measured.vocabulary if c.is_novel and c.nearest is not None),
        key=lambda row: (row[1].similarity, row[0].id),
    )
    if as_json:
        novel = [
            {
                "id": c.id,
                "name": c.name,
                "base": near.base,
                "base_name": names[near.base],
                "similarity": near.similarity,
            }
            for c, near in rows
        ]
        print_json({"space": rows[0][1].space, "novel": novel, "missing": list(measured.missing)})
        return
    print_table(
        f"novel classes, farthest first; cosine in {rows[0][1].space}",
        ("id", "novel", "nearest base", "cosine"),
        [(str(c.id), c.name, names[near.base], f"{near.similarity:.4f}") for c, near in rows],
        words=3,
    )
    if measured.missing:
        some = ", ".join(measured.missing[:6]) + (", ..." if len(measured.missing) > 6 else "")
        complain(f"the bank has no vector for {len(measured.missing)} of the classes: {some}. See --alias")
    say(f"{len(rows)} novel and {len(names) - sum(c.is_novel for c in measured.vocabulary)} base classes")
