"""What a run's record says of machine, code and packages, and the one place where seeds are set."""

from __future__ import annotations

import functools
import hashlib
import platform
import random
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import ovsbench
from ovsbench.benchmark.storage import files

_PACKAGES = ("numpy", "scipy", "pillow", "torch", "torchvision", "open_clip_torch", "transformers", "safetensors")


def path_digest(path: Path) -> str:
    """sha256 of a file's bytes; of a folder, over the names and bytes of all files in it."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    inside = sorted(p for p in path.rglob("*") if p.is_file())
    return files.json_digest([[p.relative_to(path).as_posix(), path_digest(p)] for p in inside])


def versions() -> dict[str, str]:
    """Versions of Python, ovsbench, and those packages that matter and are installed."""
    found = {"python": platform.python_version(), "ovsbench": ovsbench.__version__}
    return found | {name: version for name in _PACKAGES if (version := _version_of(name))}


@functools.cache
def _version_of(package: str) -> str:
    """The installed version, which stays the same in a process; "" where there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def code_state() -> tuple[str, bool]:
    """Commit of the source tree that this package runs from, and whether it has changes; ("", False) elsewhere."""
    source = Path(ovsbench.__file__).parent

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(source), *arguments], capture_output=True, text=True, check=True, timeout=20
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    # A package inside someone's virtual environment may lie in their repository; only a tracked file is ours.
    if git("ls-files", "--error-unmatch", "__init__.py") is None:
        return "", False
    return git("rev-parse", "HEAD") or "", bool(git("status", "--porcelain", "--untracked-files=no"))


def device_name(device: str) -> str:
    """The name of the hardware behind a device; torch is asked only if a method has loaded it."""
    torch: Any = sys.modules.get("torch")
    if torch is not None and device.startswith("cuda") and torch.cuda.is_available():
        return str(torch.cuda.get_device_name(device))
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def threads() -> int | None:
    """Threads of torch; None while it is not loaded."""
    torch: Any = sys.modules.get("torch")
    return None if torch is None else int(torch.get_num_threads())


def peak_memory_gb() -> float:
    """The most memory that this process has held so far, in 10**9 bytes."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9


def peak_device_memory_gb() -> float | None:
    """The most memory that this process has held on the accelerator, in 10**9 bytes; None without one."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return float(torch.cuda.max_memory_allocated()) / 1e9


def set_seed(seed: int, video_id: str) -> None:
    """Seeds every source of random numbers that is loaded, for one video: order and resumption change nothing."""
    number = int.from_bytes(hashlib.sha256(f"{seed} {video_id}".encode()).digest()[:4], "big")
    random.seed(number)
    np.random.seed(number)
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(number)
