"""`ovsbench data build NAME` of every data set that has a reader: one table, from which the commands are made."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ovsbench.cli.console import complain
from ovsbench.cli.options import BuildJobs, Json, Out
from ovsbench.cli.progress_bar import progress

if TYPE_CHECKING:
    from ovsbench.benchmark.manifest import Benchmark

OPTIONS: dict[str, Any] = {
    "subset": Annotated[str | None, typer.Option(help="Which part: train, val, and what else there is a list of.")],
    "split": Annotated[
        str | None, typer.Option(help="Base/novel split: a name of list splits, a file, or none for no novel class.")
    ],
    "variant": Annotated[
        str | None,
        typer.Option(help="For training: ignore (novel pixels are void) or delete (videos that show them left out)."),
    ],
    "layout": Annotated[str | None, typer.Option(help="Which release the folder holds; found by itself.")],
    "height": Annotated[
        int | None, typer.Option(min=0, help="Lines that labels are brought to, 720 by default; 0 keeps theirs.")
    ],
    "images": Annotated[Path | None, typer.Option(help="Folder of VIDEO/FRAME.jpg, if it is not in RAW.")],
    "source": Annotated[str | None, typer.Option("--from", help="Cut the subset out of these labels, such as train.")],
    "fraction": Annotated[
        float | None, typer.Option(help="Of --from: part of the videos that is val; 0.1 by default.")
    ],
    "seed": Annotated[int | None, typer.Option(min=0, help="Of --from: another seed draws other videos.")],
    "videos": Annotated[Path | None, typer.Option(help="Of --from: a list of the videos that are val.")],
    "label_form": Annotated[
        str | None, typer.Option("--label-form", help="released (classes 1 to 124) or shifted (0 to 123).")
    ],
}
"""The options that readers share, by the name of their argument; None leaves it to the reader."""


@dataclass(frozen=True, slots=True)
class Reader:
    """One row of the table.

    Attributes:
        name: of the command.
        task: semantic, panoptic or instance.
        function: module and name; called with raw folder, output folder and the options.
        about: the first line of its help.
        example: what stands below that.
        options: names of `OPTIONS` that it takes.
    """

    name: str
    task: str
    function: str
    about: str
    example: str
    options: tuple[str, ...]


_TRACKS = ("subset", "source", "fraction", "seed", "videos", "split", "variant", "images")
READERS = (
    Reader(
        "vipseg",
        "panoptic",
        "ovsbench.data_prep.vipseg:build_vipseg",
        "VIPSeg, original or converted to 720 lines: 124 classes on every pixel, things with tracks.",
        "--raw VIPSeg -o data/vipseg",
        ("subset", "split", "variant", "layout", "height", "images"),
    ),
    Reader(
        "vspw",
        "semantic",
        "ovsbench.data_prep.vspw:build_vspw",
        "VSPW, at 480 lines or full size: 124 classes on every pixel.",
        "--raw VSPW_480p -o data/vspw",
        ("subset", "split", "variant", "label_form"),
    ),
    Reader(
        "camvid",
        "semantic",
        "ovsbench.data_prep.camvid:build_camvid",
        "CamVid: street video, 11 classes or, with the colour labels, 31.",
        "--raw CamVid --subset train --variant ignore -o data/camvid-train",
        ("subset", "split", "variant", "layout"),
    ),
    Reader(
        "coco-panoptic",
        "panoptic",
        "ovsbench.data_prep.coco_panoptic:build_coco_panoptic",
        "COCO panoptic, single images with 133 classes, to train on (--variant none to score on).",
        "--raw coco -o data/coco-train",
        ("subset", "split", "variant", "images"),
    ),
    Reader(
        "ytvis",
        "instance",
        "ovsbench.data_prep.ytvis:build_own_classes",
        "any JSON file in the layout of YouTube-VIS, with the classes that it lists.",
        "--raw mine/gt.json -o data/mine",
        ("images",),
    ),
    Reader(
        "ytvis2019",
        "instance",
        "ovsbench.data_prep.ytvis:build_ytvis2019",
        "YouTube-VIS 2019: objects with tracks, 40 classes; validation labels are hidden.",
        "--raw ytvis2019 --from train --fraction 0.1 -o data/ytvis2019",
        _TRACKS,
    ),
    Reader(
        "ytvis2021",
        "instance",
        "ovsbench.data_prep.ytvis:build_ytvis2021",
        "YouTube-VIS 2021: objects with tracks, 40 classes; validation labels are hidden.",
        "--raw ytvis2021 --from train --fraction 0.1 -o data/ytvis2021",
        _TRACKS,
    ),
    Reader(
        "lvvis",
        "instance",
        "ovsbench.data_prep.ytvis:build_lvvis",
        "LV-VIS: objects with tracks, 1,196 classes.",
        "--raw LVVIS -o data/lvvis",
        _TRACKS,
    ),
    Reader(
        "ovis",
        "instance",
        "ovsbench.data_prep.ytvis:build_ovis",
        "OVIS: objects with tracks that hide each other, 25 classes; validation labels are hidden.",
        "--raw OVIS --from train --fraction 0.1 -o data/ovis",
        _TRACKS,
    ),
    Reader(
        "burst",
        "instance",
        "ovsbench.data_prep.burst:build_burst",
        "BURST: objects with tracks in the videos of TAO, 482 classes; labels are not exhaustive.",
        "--raw BURST --images TAO/frames/val -o data/burst",
        ("subset", "split", "variant", "images"),
    ),
)


def add_readers(app: typer.Typer, built: Callable[[Benchmark, Path, bool], None]) -> None:
    """Makes a command of every reader.

    Args:
        app: gets the commands.
        built: says what was built, as JSON or with what to do next.
    """
    for reader in READERS:
        app.command(reader.name, help=_help(reader))(_command(reader, built))


def _help(reader: Reader) -> str:
    return (
        f"Turn the labels of {reader.about} Images stay where they are; a stopped build goes on.\n\n\b\n"
        f"[bold]Example[/bold]\n  ovsbench data build {reader.name} {reader.example}"
    )


def build(
    name: str,
    raw: Path,
    out: Path,
    options: Mapping[str, Any],
    *,
    jobs: int = 1,
    strict: bool = False,
    quiet: bool = False,
) -> Benchmark:
    """Builds a folder by the reader of a name, and says which known defects the data has.

    Args:
        name: of the reader.
        raw: the data set, as its owners ship it.
        out: folder to build.
        options: of the reader; "none" for split or variant is None.
        jobs: processes.
        strict: whether a known defect is an error.
        quiet: whether no progress is shown.
    """
    from ovsbench.data_prep.defects import Defects

    module, _, function = next(reader.function for reader in READERS if reader.name == name).partition(":")
    reads = getattr(importlib.import_module(module), function)
    given = {key: None if key in ("split", "variant") and value == "none" else value for key, value in options.items()}
    defects = Defects(strict=strict)
    benchmark: Benchmark = reads(raw, out, **given, jobs=jobs, defects=defects, progress=progress(quiet=quiet))
    for line in defects.lines:
        complain(f"note: {line}")
    return benchmark


def _command(reader: Reader, built: Callable[[Benchmark, Path, bool], None]) -> Callable[..., None]:
    def command(out: Path, raw: Path, jobs: int, strict: bool, as_json: bool, **options: Any) -> None:
        given = {key: value for key, value in options.items() if value is not None}
        benchmark = build(reader.name, raw, out, given, jobs=jobs, strict=strict, quiet=as_json)
        built(benchmark, out, as_json)

    parameters = {
        "out": (Out, inspect.Parameter.empty),
        "raw": (Annotated[Path, typer.Option("--raw", help="The data set, as its owners ship it.")], None),
        **{name: (OPTIONS[name], None) for name in reader.options},
        "strict": (Annotated[bool, typer.Option("--strict", help="Make a known defect of the data an error.")], False),
        "jobs": (BuildJobs, 1),
        "as_json": (Json, False),
    }
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                annotation=annotation,
                default=inspect.Parameter.empty if name in ("out", "raw") else default,
            )
            for name, (annotation, default) in parameters.items()
        ]
    )
    command.__annotations__ = {name: annotation for name, (annotation, _) in parameters.items()}
    return command
