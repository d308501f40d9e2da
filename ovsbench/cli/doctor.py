"""`ovsbench doctor`: what this installation can do, and what it lacks."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from importlib import metadata, util
from pathlib import Path
from typing import Any

import ovsbench
from ovsbench.cli.console import print_json, print_table
from ovsbench.cli.options import Json

ROOMS = ("benchmark", "baselines", "data_prep", "gkc_video", "leaderboard")
DECODERS = ("decord", "av", "imagecodecs")
EXTRAS = {"gkc": ("torch", "torchvision", "open_clip", "transformers", "safetensors"), "video": ("decord", "av"),
          "detectron2": ("detectron2",), "fast": ("imagecodecs",)}  # fmt: skip
"""The modules that each extra of the installation brings."""

Fact = tuple[str, str, str]
"""Subject, name, and what was found."""


def doctor(as_json: Json = False) -> None:
    """Print versions, torch and CUDA, video decoders, where the packages lie, processor cores, and installed extras.

    \b
    [bold]Examples[/bold]
      ovsbench doctor
      ovsbench doctor --json
    """
    facts = [*_versions(), *_torch(), *_decoders(), *_rooms(), *_cores(), *_extras()]
    if as_json:
        print_json([{"subject": subject, "name": name, "found": found} for subject, name, found in facts])
    else:
        print_table("", ("subject", "name", "found"), facts, words=3)


def _versions() -> list[Fact]:
    from ovsbench.benchmark.machine import versions

    own = [("version", "ovsbench", ovsbench.__version__), ("version", "python", platform.python_version())]
    others = {name: version for name, version in versions().items() if name not in ("ovsbench", "python")}
    return [*own, *(("version", name, version) for name, version in sorted(others.items()))]


def _torch() -> list[Fact]:
    if util.find_spec("torch") is None:
        return [("torch", "torch", 'not installed: pip install "ovsbench[gkc]"')]
    torch: Any = importlib.import_module("torch")
    found = [("torch", "CUDA build", torch.version.cuda or "none: a build for processors alone")]
    for number in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(number)
        found.append(("torch", f"GPU {number}", f"{card.name}, {card.total_memory / 2**30:.0f} GiB"))
    return [*found, ("torch", "threads", str(torch.get_num_threads()))]


def _decoders() -> list[Fact]:
    return [("decoder", name, _imported(name)) for name in DECODERS]


def _imported(name: str) -> str:
    """The version of a module that can be imported, or why it cannot."""
    if util.find_spec(name) is None:
        return "not installed"
    try:
        module = importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:  # a wheel of another machine
        return f"cannot be imported: {error}"
    return str(getattr(module, "__version__", "installed"))


def _rooms() -> list[Fact]:
    home = Path(ovsbench.__file__).parent
    links = {room: f" -> {(home / room).readlink()}" if (home / room).is_symlink() else "" for room in ROOMS}
    return [("folder", room, f"{home / room}{link}") for room, link in links.items()]


def _cores() -> list[Fact]:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return [("machine", "system", f"{platform.system()} {platform.machine()}"), ("machine", "python", sys.executable),
            ("machine", "cores", f"{allowed} of {os.cpu_count()} may be used")]  # fmt: skip


def _extras() -> list[Fact]:
    found = []
    for extra, modules in EXTRAS.items():
        lacking = [name for name in modules if util.find_spec(name) is None]
        found.append(("extra", extra, f"lacks {', '.join(lacking)}" if lacking else "installed"))
    entry_points = metadata.entry_points(group="ovsbench.methods")
    return [*found, ("extra", "methods", ", ".join(sorted({point.name for point in entry_points})))]
