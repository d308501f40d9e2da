"""`ovsbench new-method` and `check-method`: from nothing to a method of one's own."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from ovsbench.benchmark.errors import MethodError, UsageError, UserError
from ovsbench.cli.console import finish, plural, print_json, say
from ovsbench.cli.options import Checkpoint, Device, Json, Options, method_options, one_of

_TEMPLATES = {"panoptic": "method_template.txt", "instance": "instance_template.txt"}


def new_method(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The Python file to write, such as my_method.py.")],
    task: Annotated[
        str, typer.Option("--task", help="panoptic: frames of segments; instance: objects that may overlap.")
    ] = "panoptic",
) -> None:
    """Write a commented template of a method; it runs as it is, change what it does.

    \b
    [bold]Examples[/bold]
      ovsbench new-method my_method.py
      ovsbench new-method my_tracks.py --task instance
      ovsbench check-method my_method.py:build
      ovsbench run data/world -m my_method.py:build -o runs/mine
    """
    from ovsbench.benchmark.storage.files import write_bytes

    one_of(task, "unknown task", _TEMPLATES)
    if file.suffix != ".py":
        raise UsageError(f"expected a file that ends in .py, got {file}")
    if file.exists():
        raise UserError(f"{file}: expected a new file, found one there. Choose another name or remove it")
    if not file.parent.is_dir():
        raise UserError(f"{file}: expected its folder to be there, found none. Make {file.parent} first")
    template = resources.files("ovsbench.benchmark.running").joinpath(_TEMPLATES[task]).read_text("utf-8")
    write_bytes(file, template.replace("FILE", str(file)).replace("STEM", file.stem).encode())
    finish(file, ["ovsbench", "check-method", f"{file}:build"])


def check_method(
    method: Annotated[str, typer.Argument(metavar="METHOD", help="file.py:build, or a name of list methods.")],
    checkpoint: Checkpoint = None,
    device: Device = "auto",
    option: Options = None,
    as_json: Json = False,
) -> None:
    """Check that a method keeps the rules, on a world of three frames: shapes, types, ids, names, repeatability.

    A method whose TASKS name instance is checked on tracks that may overlap, too.

    \b
    [bold]Examples[/bold]
      ovsbench check-method my_method.py:build --option threshold=100
      ovsbench check-method gkc -c gkc-world --json
    """
    from ovsbench.benchmark.record import Settings
    from ovsbench.plans.method_check import check_on_worlds

    findings = check_on_worlds(Settings(method, checkpoint, method_options(option, None), device=device))
    broken = [finding for finding in findings if finding.fault]
    if as_json:
        print_json([{"rule": f.rule, "is_kept": not f.fault, "fault": f.fault} for f in findings])
    else:
        for finding in findings:
            say(f"{'FAULT' if finding.fault else 'ok   '}  {finding.rule}")
            if finding.fault:
                say(f"       {finding.fault}")
    if broken:
        raise MethodError(
            f"{method} breaks {plural(len(broken), 'rule')} of {len(findings)}. Correct it, then check again"
        )
    if not as_json:
        weights = [] if checkpoint is None else ["-c", checkpoint]
        finish(f"{method} keeps all {len(findings)} rules", ["ovsbench", "run", "DATA", "-m", method, *weights])
