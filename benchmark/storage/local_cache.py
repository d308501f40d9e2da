"""Copies of remote files on this machine, of this process alone: as many as fit, those longest unused go first.

They lie in a folder for temporary files that goes when the process ends; what a killed process left is removed by the
next.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
from collections import OrderedDict
from multiprocessing.util import Finalize
from pathlib import Path

from ovsbench.benchmark.errors import DataError, UsageError

FOLDER, SIZE = "OVSBENCH_REMOTE_CACHE", "OVSBENCH_REMOTE_CACHE_MB"
"""Variables of the environment: where the folder lies, and how many megabytes of copies each process keeps."""
DEFAULT_MB = 1024
_PREFIX, _LOCK = "ovsbench-remote-", ".lock"


class LocalCache:
    """A folder of copies; the latest one is kept even if it alone is larger than the limit.

    Args:
        folder: where its own folder is made.
        limit: bytes of all copies together.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"{_PREFIX}*"):
            _remove_if_left(left)
        new = Path(tempfile.mkdtemp(prefix=".ovsbench-", dir=folder))
        self._lock = os.open(new / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)  # held until the process ends
        with contextlib.suppress(OSError):
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.folder = new.rename(folder / (_PREFIX + new.name.removeprefix(".ovsbench-")))
        self.limit = limit
        self._sizes: OrderedDict[Path, int] = OrderedDict()  # longest unused first
        self._bytes = 0
        self._guard = threading.Lock()
        Finalize(None, shutil.rmtree, (self.folder, True), exitpriority=0)  # also in processes of a pool, unlike atexit

    def keep(self, path: Path) -> None:
        """Notes a file of the folder as a copy, and removes others until all fit."""
        size = path.stat().st_size
        with self._guard:
            self._bytes += size - self._sizes.pop(path, 0)
            self._sizes[path] = size
            while self._bytes > self.limit and len(self._sizes) > 1:
                oldest, freed = self._sizes.popitem(last=False)
                self._bytes -= freed
                oldest.unlink(missing_ok=True)

    def has(self, path: Path) -> bool:
        """Whether a copy is there; it counts as used now."""
        with self._guard:
            if path not in self._sizes:
                return False
            self._sizes.move_to_end(path)
            return True

    def forget(self, folder: Path) -> None:
        """Removes a copy, or all copies in a folder."""
        with self._guard:
            for path in [one for one in self._sizes if one == folder or folder in one.parents]:
                self._bytes -= self._sizes.pop(path)
                path.unlink(missing_ok=True)


_caches: dict[int, LocalCache] = {}


def local_cache() -> LocalCache:
    """The cache of this process."""
    if os.getpid() not in _caches:
        text = os.environ.get(SIZE, str(DEFAULT_MB))
        if not text.isdecimal() or int(text) < 1:
            raise UsageError(f"{SIZE}: expected a whole number of megabytes, at least 1, got {text!r}. Correct it")
        folder = Path(os.environ.get(FOLDER) or tempfile.gettempdir())
        try:
            _caches[os.getpid()] = LocalCache(folder, int(text) << 20)
        except OSError as error:
            raise DataError(
                f"{folder}: copies of remote files cannot be kept here: {error.strerror}. Name another one in {FOLDER}"
            ) from error
    return _caches[os.getpid()]


def _remove_if_left(folder: Path) -> None:
    """Removes a cache whose process is gone: nobody holds its lock."""
    with contextlib.suppress(OSError):
        handle = os.open(folder / _LOCK, os.O_RDWR)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(handle)
