"""What the process that reads a stranger's file may use: so much memory and time, no network, no life without its worker."""

from __future__ import annotations

import ctypes
import os
import resource
import signal

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
MOST_FILES = 256
GRACE_SECONDS = 5


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
        memory: bytes of address space.
        seconds: of the processor.
        file_bytes: of a file that it writes.

    Returns:
        Whether the network is cut off; some containers do not allow a process to do that to itself.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    is_cut_off = any(libc.unshare(flags) == 0 for flags in (_CLONE_NEWNET, _CLONE_NEWUSER | _CLONE_NEWNET))
    limits = {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_NOFILE: MOST_FILES,
        resource.RLIMIT_CORE: 0,
    }
    for limit, most in limits.items():
        hard = resource.getrlimit(limit)[1]
        own = most + GRACE_SECONDS if limit == resource.RLIMIT_CPU else most  # of the two signals the first says why
        hard = own if hard == resource.RLIM_INFINITY else min(own, hard)
        resource.setrlimit(limit, (min(most, hard), hard))
    return is_cut_off
