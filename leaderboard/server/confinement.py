"""What the process that reads a stranger's file may use: memory and time, no network; it ends with its worker."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
MOST_FILES = 256
SPARE_SECONDS, SPARE_MEMORY = 5, 256 << 20


def die_with(parent: int) -> None:
    """Makes the kernel end this process when its parent ends, however that ends; at once if it has.

    Args:
        parent: the process id of the parent.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def confine(memory: int, seconds: int, file_bytes: int) -> bool:
    """Limits this process; what it starts inherits the limits.

    Args:
        memory: bytes, beyond what the process has now, such as its code.
        seconds: of the processor.
        file_bytes: of a file that it writes.

    Returns:
        Whether the network is cut off; some containers do not allow a process to do that to itself.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    is_cut_off = any(libc.unshare(flags) == 0 for flags in (_CLONE_NEWNET, _CLONE_NEWUSER | _CLONE_NEWNET))
    limits = {
        resource.RLIMIT_AS: _size() + memory,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_NOFILE: MOST_FILES,
        resource.RLIMIT_CORE: 0,
    }
    spare = {resource.RLIMIT_CPU: SPARE_SECONDS, resource.RLIMIT_AS: SPARE_MEMORY}  # to say why it ends
    for limit, most in limits.items():
        before, hard = resource.getrlimit(limit)[1], most + spare.get(limit, 0)
        hard = hard if before == resource.RLIM_INFINITY else min(hard, before)
        resource.setrlimit(limit, (min(most, hard), hard))
    return is_cut_off


def _size() -> int:
    """Bytes of address space that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def loosen() -> None:
    """Lets this process use the memory that is kept for its last words."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
