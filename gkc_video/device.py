"""Which torch device to use."""

from __future__ import annotations

import os

import torch

from ovsbench.benchmark.errors import MethodError


def choose(name: str = "auto") -> str:
    """The device meant by a name; "auto" is what OVSBENCH_DEVICE names, else the first GPU, or the CPU without one.

    Raises:
        MethodError: torch does not know the device, or the machine lacks it.
    """
    if name == "auto":
        name = os.environ.get("OVSBENCH_DEVICE") or name
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise MethodError(
            f"expected a device that this machine has, got {name!r} ({first}). Use cpu or auto"
        ) from error
    return name
