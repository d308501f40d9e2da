"""`ovsbench data check` and `data show`: what is wrong with a benchmark folder, and what it holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.storage.remote import place
from ovsbench.cli.console import complain, finish, plural, print_json, print_table, say
from ovsbench.cli.options import Actors, Data, Jobs, Json, On, executor
from ovsbench.cli.progress_bar import progress

if TYPE_CHECKING:
    from ovsbench.benchmark.labels.label_counts import CategoryCount
    from ovsbench.benchmark.manifest import Benchmark

SHOWN = 20  # sentences of one kind, before the rest is counted


def check(
    data: Data,
    train: Annotated[
        list[Path] | None,
        typer.Option(
            "--train", metavar="TRAINSET", parser=place, help="Look for leaks from this training set; may be repeated."
        ),
    ] = None,
    images: Annotated[bool, typer.Option(help="Open every image too.")] = True,
    jobs: Jobs = 1,
    on: On = "local",
    actors: Actors = None,
    as_json: Json = False,
) -> None:
    """Open every file of a benchmark folder: digests, sizes, ids, order, copies; and find leaks from training sets.

    A leak is a novel class in training labels, a base class called like a novel one, a video that is in both, or frames
    that look alike. A stopped check goes on where it was.

    \b
    [bold]Examples[/bold]
      ovsbench data check data/world
      ovsbench data check data/camvid --train data/camvid-train -j 2
      ovsbench data check data/world --no-images --json
    """
    from ovsbench.benchmark import manifest
    from ovsbench.data_prep.folder_check import audit
    from ovsbench.data_prep.leaks import find_leaks

    benchmark, *training = map(manifest.load, [data, *(train or [])])
    for one in training:
        if one.folder.resolve() == benchmark.folder.resolve():
            raise UserError(f"{one.folder}: expected a training set beside the benchmark, got the same folder twice")
    bar = progress(quiet=as_json)
    with executor(on, actors, None, jobs=jobs) as where:
        audits = [audit(one, images=images, jobs=where, progress=bar) for one in (benchmark, *training)]
    problems = [problem for found in audits for problem in found.problems]
    remarks = [remark for found in audits for remark in found.remarks]
    leaks = [leak for found in audits[1:] for leak in find_leaks(audits[0], found)]
    if as_json:
        found_leaks = [{"kind": leak.kind, "text": leak.text} for leak in leaks]
        facts = {"data": str(data), "digest": benchmark.digest}
        print_json({**facts, "problems": problems, "leaks": found_leaks, "remarks": remarks})
    else:
        _complain_all("problem", problems)
        _complain_all("leak", [leak.text for leak in leaks])
        _complain_all("remark", remarks)
    if problems or leaks:
        counts = [plural(len(found), noun) for found, noun in ((problems, "problem"), (leaks, "leak")) if found]
        complain(f"{data}: {' and '.join(counts)} found")
        raise typer.Exit(1)
    if not as_json:
        say(f"{benchmark.name} is whole: {extent(benchmark)}")
        finish(data, ["ovsbench", "run", data, "-m", "gkc", "-c", "gkc-world", "-o", "runs/gkc"])


def _complain_all(kind: str, texts: list[str]) -> None:
    for text in texts[:SHOWN]:
        complain(f"{kind}: {text}")
    if len(texts) > SHOWN:
        complain(f"{kind}: and {len(texts) - SHOWN} more, see --json")


def show(
    data: Data,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Also draw a contact sheet into this image.")] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="DIR", help="Draw a contact sheet and figures into this folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print what a benchmark folder holds, category by category; draw its frames with labels, and figures.

    Figures: pixels of each class, which classes are seen together, lengths of tracks, and how near each novel word is
    to a base word where the split says so.

    \b
    [bold]Examples[/bold]
      ovsbench data show data/world
      ovsbench data show data/world -o sheet.png
      ovsbench data show data/camvid --plot plots
      ovsbench data show data/world --json
    """
    from ovsbench.benchmark import manifest
    from ovsbench.benchmark.labels.label_counts import count_labels

    benchmark = manifest.load(data)
    statistics = count_labels(benchmark, progress=progress(quiet=as_json))
    if out is not None:
        _draw_sheet(benchmark, out)
    if plot is not None:
        from ovsbench.benchmark.pictures.label_plots import draw_figures

        _draw_sheet(benchmark, plot / "sheet.png")
        draw_figures(statistics, benchmark.vocabulary, plot)
    facts = {**facts_of(benchmark), "void": round(statistics.void, 4)}
    if as_json:
        lengths = {str(length): count for length, count in statistics.track_lengths.items()}
        print_json({**facts, "categories": [c.to_json() for c in statistics.categories], "track_lengths": lengths})
        return
    for name, value in facts.items():
        say(f"{name + ':':<12}{value}")
    names = {c.id: c.name for c in benchmark.vocabulary}
    print_table(
        "",
        ("id", "category", "kind", "part", "nearest base", "videos", "tracks", "frames", "segments", "track length",
         "share of pixels"),
        [_row(count, names) for count in statistics.categories],
        words=5,
    )  # fmt: skip
    finish(plot or out or data, ["ovsbench", "data", "check", data])


def _row(count: CategoryCount, names: dict[int, str]) -> tuple[str, ...]:
    category, near, length = count.category, count.category.nearest, count.track_length
    words = (str(category.id), category.name, "thing" if category.is_thing else "stuff", count.part)
    nearest = "" if near is None else f"{names[near.base]} {near.similarity:.3f}"
    counts = map(str, (count.videos, count.tracks, count.frames, count.segments))
    return *words, nearest, *counts, "-" if length is None else f"{length:.1f}", f"{count.share:.4f}"


def extent(benchmark: Benchmark) -> str:
    """How much it holds, in words."""
    return f"{plural(len(benchmark.entries), 'video')}, {plural(_frames(benchmark), 'frame')}"


def _frames(benchmark: Benchmark) -> int:
    return sum(len(entry.frames) for entry in benchmark.entries)


def facts_of(benchmark: Benchmark) -> dict[str, Any]:
    """What a benchmark folder holds, in numbers and words."""
    vocabulary = benchmark.vocabulary
    return {
        "name": benchmark.name,
        "version": benchmark.version,
        "role": benchmark.role,
        "source": benchmark.source.name,
        "licence": benchmark.source.licence,
        "task": benchmark.rules.task,
        "offered": benchmark.rules.offered,
        "videos": len(benchmark.entries),
        "frames": _frames(benchmark),
        "sizes": ", ".join(sorted({f"{e.size[1]}x{e.size[0]}" for e in benchmark.entries})),
        "base": len(vocabulary.base),
        "novel": len(vocabulary.novel),
        "digest": benchmark.digest,
    }


def _draw_sheet(benchmark: Benchmark, out: Path) -> None:
    """Frames of up to 24 videos with labels where there are any; of fewer videos several frames, evenly spread."""
    import PIL.Image

    from ovsbench.benchmark.pictures.contact_sheet import contact_sheet
    from ovsbench.benchmark.pictures.strips import paint_categories, spread
    from ovsbench.benchmark.storage.files import writing

    pictures, captions = [], []
    entries = benchmark.entries[:24]
    if len(entries) < len(benchmark.entries):
        complain(f"{out} shows the first {len(entries)} of {len(benchmark.entries)} videos")
    for entry in entries:
        count = max(1, 12 // len(entries))
        for index in [len(entry.frames) // 2] if count == 1 else spread(len(entry.frames), count):
            image = benchmark.video(entry.id).image(index)
            if benchmark.role != "unlabelled":
                image = paint_categories(image, benchmark.truth(entry.id, index), benchmark.vocabulary)
            pictures.append(image)
            captions.append(entry.id if count == 1 else f"{entry.id}, frame {index}")
    sheet = contact_sheet(pictures, 4, captions=captions, cell_width=320)
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(sheet).save(out)
