"""`ovsbench cluster`: the suite on machines that a scheduler hands out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ovsbench.cli.console import finish, say

app = typer.Typer(help="Job scripts for clusters.", no_args_is_help=True)


@app.callback()
def cluster() -> None:
    """Keeps `slurm` a command of its own while it is the only one."""


@app.command(context_settings={"ignore_unknown_options": False})
def slurm(
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="What to run, such as run or suite.")],
    nodes: Annotated[int, typer.Option("--nodes", min=1, help="How many machines.")] = 1,
    gpus: Annotated[str, typer.Option("--gpus", metavar="N", help="Of each node: 4, or a100:4.")] = "0",
    cpus: Annotated[int, typer.Option("--cpus", min=1, help="Of each node.")] = 1,
    time: Annotated[str, typer.Option("--time", metavar="D-HH:MM:SS", help="Limit; the cluster's by default.")] = "",
    partition: Annotated[str, typer.Option("--partition", help="As sbatch takes it.")] = "",
    account: Annotated[str, typer.Option("--account", help="As sbatch takes it.")] = "",
    name: Annotated[str, typer.Option("--name", help="Of the job and its log, NAME-JOB.log.")] = "ovsbench",
    sbatch: Annotated[
        list[str] | None, typer.Option("--sbatch", metavar="OPTION", help="Any other of sbatch; may be repeated.")
    ] = None,
    container: Annotated[
        str, typer.Option("--container", metavar="IMAGE", help="Run all in this image, by apptainer.")
    ] = "",
    setup: Annotated[
        list[str] | None, typer.Option("--setup", metavar="LINE", help="A line of shell before; may be repeated.")
    ] = None,
    torchrun: Annotated[bool, typer.Option("--torchrun", help="Of a training: by torchrun on all nodes.")] = False,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE", help="Write the script here.")] = None,
) -> None:
    """Write a job script for SLURM: it starts Ray on the allocation and runs a command there, or trains by torchrun.

    \b
    [bold]Examples[/bold]
      ovsbench cluster slurm --nodes 4 --gpus 8 --cpus 64 --time 12:00:00 -o job.sh \\
          --setup "source venv/bin/activate" -- run s3://bucket/vipseg -m m2f-clip -o s3://bucket/run
      ovsbench cluster slurm --nodes 2 --gpus 8 --torchrun -o train.sh -- train configs/world.toml
    """
    from ovsbench.benchmark.storage.files import write_bytes
    from ovsbench.plans.slurm import SlurmJob, job_script, without_name

    job = SlurmJob(
        command=without_name(command), torchrun=torchrun, name=name, nodes=nodes, gpus=gpus, cpus=cpus, time=time,
        partition=partition, account=account, sbatch=tuple(sbatch or ()), container=container, setup=tuple(setup or ()),
    )  # fmt: skip
    script = job_script(job)
    if out is None:
        say(script.rstrip())
        return
    write_bytes(out, script.encode())
    out.chmod(0o755)
    finish(out, ["sbatch", out])
