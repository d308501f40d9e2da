"""A network compiled by torch: the same answers but for rounding, sooner."""

from __future__ import annotations

import importlib.util
import os
import shutil

import torch

from ovsbench.benchmark.errors import MethodError


def compile_in_place(model: torch.nn.Module, backend: str = "inductor", *, graphs: bool = False) -> None:
    """Has a network compiled when it is first run, and again for each further size of its input.

    Args:
        model: on its device.
        backend: of torch.compile; "aot_eager" captures the network and compiles nothing.
        graphs: whether the compiled network is recorded as a CUDA graph and replayed, which saves the launches of its
            kernels. Each run then writes over the outputs of the one before; who keeps them has to copy them.

    Raises:
        MethodError: what compiles for its device is not installed, or graphs are asked for without a GPU.
    """
    device = next(model.parameters()).device.type
    if graphs and device != "cuda":
        raise MethodError(f"option cuda_graphs needs a model on a GPU, this one is on {device}. Leave the option")
    if device == "cuda":
        needed, is_there = "the package triton", importlib.util.find_spec("triton") is not None
    else:
        compilers = (os.environ.get("CXX", ""), "g++", "clang++", "c++")
        needed, is_there = "a C++ compiler such as g++", any(shutil.which(name) for name in compilers if name)
    if not is_there:
        raise MethodError(f"option compile needs {needed} for a model on {device}, found none. Install it, or leave it")
    how = {"mode": "reduce-overhead"} if graphs else {}
    model.compile(dynamic=False, backend=backend, **how)
