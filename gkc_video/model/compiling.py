"""A network compiled by torch: the same answers but for rounding, sooner."""

from __future__ import annotations

import importlib.util
import os
import shutil

import torch

from ovsbench.benchmark.errors import MethodError


def compile_in_place(model: torch.nn.Module, backend: str = "inductor") -> None:
    """Has a network compiled when it is first run, and again for each further size of its input.

    Args:
        model: on its device.
        backend: of torch.compile; "aot_eager" captures the network and compiles nothing.

    Raises:
        MethodError: what compiles for its device is not installed.
    """
    device = next(model.parameters()).device.type
    if device == "cuda":
        needed, is_there = "the package triton", importlib.util.find_spec("triton") is not None
    else:
        compilers = (os.environ.get("CXX", ""), "g++", "clang++", "c++")
        needed, is_there = "a C++ compiler such as g++", any(shutil.which(name) for name in compilers if name)
    if not is_there:
        raise MethodError(f"option compile needs {needed} for a model on {device}, found none. Install it, or leave it")
    model.compile(dynamic=False, backend=backend)
