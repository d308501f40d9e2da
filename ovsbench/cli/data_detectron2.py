"""`ovsbench data detectron2`: a training set in the form that detectron2 registers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ovsbench.cli.console import finish, plural, say
from ovsbench.cli.options import Jobs
from ovsbench.cli.progress_bar import progress


def detectron2(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A labelled folder, as data build makes it.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder to write; a stopped one goes on.")],
    jobs: Jobs = 1,
) -> None:
    """Write masks and records for detectron2 and its children: panoptic, semantic and instance forms of one folder.

    A training set, built with --variant ignore or delete, has its base classes only. detectron2 is not needed here; in
    your training code, ovsbench.data_prep.detectron2_catalog.register("DIR") adds the forms to its catalogs.

    \b
    [bold]Example[/bold]
      ovsbench data detectron2 data/camvid-train -o exported/camvid-train
    """
    from ovsbench.benchmark import manifest
    from ovsbench.benchmark.cores import core_count
    from ovsbench.data_prep.detectron2_export import export

    made = export(manifest.load(data), out, jobs=core_count(jobs), progress=progress())
    names = ", ".join(f"{made.name}_{form}" for form in made.forms)
    classes = f"{plural(len(made.classes), 'class')}, {len(made.things)} of them things"
    say(f"{names}: {plural(len(made.videos), 'video')}, {classes}")
    finish(
        out,
        ["python", "-c", f"from ovsbench.data_prep.detectron2_catalog import register; print(register({str(out)!r}))"],
    )
