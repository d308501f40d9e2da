"""Who works in a folder where no lock of the operating system reaches: in a store, or on a file system without them.

A claim is a file of the folder that must not be there yet, written by a conditional put or an exclusive creation. It
names its owner and ends by itself unless the owner renews it; so a killed owner blocks nobody for long, and on its own
machine, where it can be seen to be gone, not at all. An owner that slept through the end of its claim may find
another's: it writes no more.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ovsbench.benchmark.errors import BusyError, UsageError, UserError
from ovsbench.benchmark.storage.remote import RemotePath

_VARIABLE = "OVSBENCH_LEASE_SECONDS"
_GIVEN = os.environ.get(_VARIABLE, "60")
SECONDS = float(_GIVEN) if re.fullmatch(r"[0-9]{1,6}", _GIVEN) else 0.0
"""After which a claim that is not renewed ends; 0 where what the environment says is no such time."""
_lost: set[str] = set()  # folders whose claim another has taken over


@contextlib.contextmanager
def lease(folder: Path, name: str, *, shared: bool, wait: bool) -> Iterator[None]:
    """Keeps others out of a folder, as `files.folder_lock` does, whose arguments these are.

    Raises:
        BusyError: another holds a claim.
        UsageError: the environment says an odd time.
    """
    if not SECONDS:
        raise UsageError(f"{_VARIABLE}: expected a whole number of seconds from 1, got {_GIVEN!r}. Correct it")
    while True:
        try:
            claim = _claim(folder, name, shared)
            break
        except BusyError:
            if not wait:
                raise
        time.sleep(min(0.5, SECONDS / 4))
    ended = threading.Event()
    renewing = threading.Thread(target=_renew, args=(folder, name, claim, ended), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()
        _lost.discard(str(folder))
        claim.unlink(missing_ok=True)


def refuse_lost(path: Path) -> None:
    """Before something is put in place: refuses it in a folder that another has taken over.

    Raises:
        BusyError: so it is.
    """
    if _lost and not _lost.isdisjoint(map(str, (path, *path.parents))):
        raise BusyError(
            f"{path}: this process stood still for more than {SECONDS:.0f} s, and another has taken its place. "
            "What it finished is kept; let the other go on"
        )


def _claim(folder: Path, name: str, shared: bool) -> Path:
    """The file of a new claim; that of an owner who is gone is removed."""
    old = _claims(folder, name)
    _refuse(folder, old, shared)
    numbers = [int(path.suffix[1:]) for path in old if path.suffix[1:].isdecimal()]
    number = f"{max(numbers, default=0) + 1:08d}"
    mine = folder / f"{name}.{f'shared-{secrets.token_hex(8)}' if shared else number}"
    content = _content()
    try:
        _create(mine, content)
    except FileExistsError:
        if mine.read_bytes() != content:  # else a try whose answer was lost
            _refuse(folder, {mine: _read(mine)}, shared)
    others = {path: row for path, row in _claims(folder, name).items() if path != mine}
    try:
        _refuse(folder, others, shared)  # one of the other kind may have come between
    except BusyError:
        mine.unlink(missing_ok=True)
        raise
    for path, row in others.items():
        if not _is_live(row):
            path.unlink(missing_ok=True)
    return mine


def _claims(folder: Path, name: str) -> dict[Path, dict[str, Any]]:
    patterns = (f"{name}.[0-9]*", f"{name}.shared-*")
    return {path: _read(path) for pattern in patterns for path in folder.glob(pattern)}


def _refuse(folder: Path, claims: dict[Path, dict[str, Any]], shared: bool) -> None:
    for path, row in claims.items():
        if _is_live(row) and not (shared and ".shared-" in path.name):
            left = max(0.0, float(row["ends"]) - time.time())
            raise BusyError(
                f"another process (pid {row['pid']} on {row['host']}) is writing {folder}; wait for it or choose "
                f"another output folder with -o. If it was killed, its claim ends in {left:.0f} s"
            )


def _renew(folder: Path, name: str, mine: Path, ended: threading.Event) -> None:
    """Writes the claim anew until it is over; the folder is lost if another took it over."""
    held_until = time.time() + SECONDS
    while not ended.wait(SECONDS / 4):
        with contextlib.suppress(OSError, UserError):  # the store may be away for a while
            others = {path: row for path, row in _claims(folder, name).items() if path != mine}
            if not mine.exists() or any(_is_live(row) and ".shared-" not in path.name for path, row in others.items()):
                break
            mine.write_bytes(_content())
            held_until = time.time() + SECONDS
        if time.time() > held_until:
            break
    else:
        return
    _lost.add(str(folder))


def _create(path: Path, content: bytes) -> None:
    if isinstance(path, RemotePath):
        path.create(content)
    else:
        with path.open("xb") as file:
            file.write(content)


def _content() -> bytes:
    row = {"host": socket.gethostname(), "pid": os.getpid(), "machine": _machine(), "ends": time.time() + SECONDS}
    return json.dumps({**row, "begun": _begun(os.getpid())}).encode()


def _read(path: Path) -> dict[str, Any]:
    """A claim; of one that is being written just now little is known but that it is there."""
    try:
        row = json.loads(path.read_bytes())
        return {**row, "ends": float(row["ends"]), "pid": int(row["pid"]), "host": str(row["host"])}
    except FileNotFoundError:
        return {"ends": 0.0, "pid": 0, "host": ""}
    except (OSError, ValueError, KeyError, TypeError):
        return {"ends": path.stat().st_mtime + SECONDS, "pid": 0, "host": "an unknown machine"}


def _is_live(row: dict[str, Any]) -> bool:
    if row["ends"] < time.time():
        return False
    return row.get("machine") != _machine() or row.get("begun") == _begun(row["pid"]) != ""


def _machine() -> str:
    """What tells the processes that share their numbers with this one from those elsewhere."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()} {boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return f"{socket.gethostname()} {secrets.token_hex(8)}"


def _begun(pid: int) -> str:
    """When a process of this machine began, in ticks since the machine did; "" if there is none of this number."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except OSError:
        return ""
