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

PACKAGES = ("benchmark", "baselines", "data_prep", "gkc_video", "leaderboard")
DECODERS = ("decord", "av", "imagecodecs")
EXTRAS = {"gkc": ("torch", "torchvision", "open_clip", "transformers", "safetensors", "huggingface_hub"),
          "video": ("decord", "av"), "detectron2": ("detectron2",), "fast": ("imagecodecs",)}  # fmt: skip
"""The modules that each extra of the installation brings."""


def doctor(as_json: Json = False) -> None:
    """Print versions, torch and CUDA, video decoders, where the packages lie, processor cores, and installed extras.

    \b
    [bold]Examples[/bold]
      ovsbench doctor
      ovsbench doctor --json
    """
    from ovsbench.benchmark.machine import versions

    subjects = {"version": versions, "torch": _torch, "decoder": _decoders, "folder": _folders, "machine": _machine,
                "extra": _extras}  # fmt: skip
    facts = [(subject, name, found) for subject, look in subjects.items() for name, found in look().items()]
    if as_json:
        print_json([{"subject": subject, "name": name, "found": found} for subject, name, found in facts])
    else:
        print_table("", ("subject", "name", "found"), facts, words=3)


def _torch() -> dict[str, str]:
    if util.find_spec("torch") is None:
        return {"torch": 'not installed: pip install "ovsbench[gkc]"'}
    torch: Any = importlib.import_module("torch")
    cards = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    return {
        "CUDA build": torch.version.cuda or "none: a build for processors alone",
        **{f"GPU {number}": f"{card.name}, {card.total_memory / 2**30:.0f} GiB" for number, card in enumerate(cards)},
        "threads": str(torch.get_num_threads()),
    }


def _decoders() -> dict[str, str]:
    return {name: _imported(name) for name in DECODERS}


def _imported(name: str) -> str:
    """The version of a module that can be imported, or why it cannot."""
    if util.find_spec(name) is None:
        return "not installed"
    try:
        module = importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:  # a wheel of another machine
        return f"cannot be imported: {error}"
    return str(getattr(module, "__version__", "installed"))


def _folders() -> dict[str, str]:
    folders = [Path(ovsbench.__file__).parent / name for name in PACKAGES]
    return {at.name: f"{at} -> {at.readlink()}" if at.is_symlink() else str(at) for at in folders}


def _machine() -> dict[str, str]:
    from ovsbench.benchmark.cores import core_count

    cores = f"{core_count()} of {os.cpu_count()} may be used"
    return {"system": f"{platform.system()} {platform.machine()}", "python": sys.executable, "cores": cores}


def _extras() -> dict[str, str]:
    lacking = {extra: [name for name in names if util.find_spec(name) is None] for extra, names in EXTRAS.items()}
    methods = sorted({point.name for point in metadata.entry_points(group="ovsbench.methods")})
    states = {extra: f"lacks {', '.join(names)}" if names else "installed" for extra, names in lacking.items()}
    return {**states, "methods": ", ".join(methods)}
