"""What a method asks of a device: operations, waits for a value, and the arithmetic that it could do at best."""

from __future__ import annotations

import collections
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

VIEWS = frozenset({"view", "reshape", "permute", "transpose", "t", "unsqueeze", "squeeze", "expand", "select", "slice",
                   "alias", "detach", "as_strided", "split", "unbind", "_unsafe_view", "split_with_sizes", "unfold",
                   "chunk", "expand_as", "lift_fresh", "flatten", "unflatten", "view_as", "movedim", "mT"})  # fmt: skip
"""Operations that launch nothing."""
READS = frozenset({"_local_scalar_dense", "nonzero", "equal", "is_nonzero", "item", "masked_select", "index",
                   "index_put_", "unique_dim", "_unique2"})  # fmt: skip
"""What waits for the device; `index` with a mask has a shape that depends on values."""


class Count(TorchDispatchMode):
    """Counts the operations that reach a device, a stand-in for the launches of kernels on a GPU.

    A copy from a GPU to the host counts as a read too; on a processor there is none to see. What a recorded CUDA graph
    replays is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.names: collections.Counter[str] = collections.Counter()
        self.copies = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names[function.overloadpacket.__name__] += 1
        made = function(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and made.device.type == "cpu":
            self.copies += any(isinstance(one, torch.Tensor) and one.is_cuda for one in args)
        return made

    @property
    def kernels(self) -> int:
        """Operations so far that are more than another view of the same memory."""
        return sum(count for name, count in self.names.items() if name not in VIEWS)

    @property
    def reads(self) -> int:
        """Times so far that the host waited for a value of the device."""
        return sum(self.names[name] for name in READS) + self.copies


@dataclass(frozen=True)
class RuntimeCalls:
    """Calls of the CUDA runtime by the host, as the profiler of torch sees them; of some work, or of a frame of it.

    Attributes:
        kernels: kernels launched one by one.
        graphs: recorded graphs launched, each with all its kernels.
        copies: copies of memory, and fillings with one byte.
        waits: for a stream, for an event, or within a copy that is not asynchronous.
    """

    kernels: float
    graphs: float
    copies: float
    waits: float

    @staticmethod
    def of(names: Mapping[str, float], frames: int = 1) -> RuntimeCalls:
        """From how often each event of a profile was seen, by its name, over so many frames.

        >>> RuntimeCalls.of({"cudaLaunchKernel": 3, "cuLaunchKernelEx": 1, "aten::add": 4, "cudaMemcpyAsync": 2}, 2)
        RuntimeCalls(kernels=2.0, graphs=0.0, copies=1.0, waits=0.0)
        """

        def share(*beginnings: str) -> float:
            return sum(count for name, count in names.items() if name.startswith(beginnings)) / frames

        return RuntimeCalls(
            kernels=share("cudaLaunchKernel", "cudaLaunchCooperativeKernel", "cuLaunchKernel"),
            graphs=share("cudaGraphLaunch", "cuGraphLaunch"),
            copies=share("cudaMemcpy", "cudaMemset"),
            waits=share("cudaStreamSynchronize", "cudaEventSynchronize") + names.get("cudaMemcpy", 0) / frames,
        )


def runtime_calls(work: Callable[[], object], frames: int = 1) -> RuntimeCalls:
    """Runs work on a GPU under the profiler of torch."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        work()
    return RuntimeCalls.of({event.key: event.count for event in seen.key_averages()}, frames)


def measured_peak(device: str, precision: str, seconds: float = 1.0) -> float:
    """Floating-point operations a second of the best matrix product of a few sizes, for about so many seconds.

    Args:
        device: "cpu", "cuda", ...
        precision: "float32" or "bfloat16".
        seconds: to spend.
    """
    best = 0.0
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    sides = (2048, 4096, 8192) if device.startswith("cuda") else (256, 512, 1024)
    for side in sides:
        a = torch.rand(side, side, device=device, dtype=getattr(torch, precision))
        a @ a
        wait()
        rounds, begin = 0, time.perf_counter()
        while time.perf_counter() - begin < seconds / len(sides):
            a @ a
            wait()
            rounds += 1
        best = max(best, 2.0 * side**3 * rounds / (time.perf_counter() - begin))
    return best
