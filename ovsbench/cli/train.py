"""`ovsbench train`: from a TOML file to a checkpoint. Data that the file describes is built first."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

import typer

from ovsbench.cli.console import finish, print_json, reporting
from ovsbench.cli.options import Device, Json, Overrides, TextBank, parse_options
from ovsbench.cli.progress_bar import progress


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A TOML file; configs/ has examples.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The checkpoint to write.")] = None,
    settings: Overrides = None,
    text_bank: TextBank = None,
    device: Device = "auto",
    profile: Annotated[
        bool, typer.Option("--profile", help="Go through a few steps, print where their time goes, and write nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train GKC, or the image-text teacher of the embedded world, as a TOML file says.

    Each table [data.NAME] has a folder; with build = "world" (or captions, camvid) and the settings of that data set
    the folder is built when it is not there. Paths start at the current folder. Stopped, the same command goes on.
    Where `start` is a training file too, that one is trained first, beside the checkpoint; --set holds for all.
    Under torchrun each process takes its share of every step's frames, and the outcome is that of one process.

    \b
    [bold]Examples[/bold]
      ovsbench train configs/world-clip.toml -o clip.safetensors
      ovsbench train configs/world.toml --set training.steps=500 -o gkc.safetensors
      ovsbench train configs/world.toml --profile
      torchrun --nproc-per-node 2 --no-python ovsbench train configs/world.toml
    """
    from ovsbench.plans.training import parts_of, profile_last, read_part, train_parts

    overrides = parse_options(settings, "a setting")
    parts = parts_of(config, out, functools.partial(read_part, overrides, text_bank))
    if profile:
        found = profile_last(parts, device, report=reporting(as_json), progress=progress())
        if found is not None:
            print_json(found.to_json()) if as_json else typer.echo(found.table())
        return
    kind = str(parts[-1].tables.get("kind"))
    checkpoint = train_parts(parts, device, report=reporting(as_json), progress=progress())
    if checkpoint is None:
        return
    if as_json:
        from ovsbench.gkc_video import checkpoint as checkpoints

        metadata = checkpoints.read(checkpoint, kind)[0].metadata
        print_json({"checkpoint": str(checkpoint), "sha256": checkpoints.digest(checkpoint), **metadata})
    elif kind == "clip":
        finish(checkpoint, ["ovsbench", "train", "configs/world.toml", "--set", f"clip.checkpoint={checkpoint}"])
    else:
        finish(checkpoint, ["ovsbench", "run", "DATA", "-m", "gkc", "-c", checkpoint, "-o", "runs/gkc"])
