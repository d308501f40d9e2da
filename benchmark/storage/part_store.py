"""Arrays too many for memory: appended part by part, read back in that order as often as one likes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.storage.files import writing

IN_MEMORY = 4 << 20
"""Bytes of all parts together from which on they lie in a temporary file, which vanishes with the store."""
Records = npt.NDArray[np.void]


class PartStore:
    """Keeps one-dimensional arrays of records (structured dtypes); if they are many, one at a time is in memory.

    >>> store = PartStore()
    >>> store.append(np.array([(1, 2), (3, 4)], dtype=[("a", "i4"), ("b", "i4")]))
    >>> [part["b"].tolist() for part in store]
    [[2, 4]]
    """

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115, closed with the store
        self._parts: list[tuple[np.dtype[Any], int]] = []  # type and number of the records of each part

    def append(self, part: Records) -> None:
        """Keeps one more part.

        Raises:
            DataError: the temporary file cannot be written.
        """
        with writing(Path(tempfile.gettempdir())):
            self._file.seek(0, 2)
            self._file.write(part.tobytes())
        self._parts.append((part.dtype, len(part)))

    def __iter__(self) -> Iterator[Records]:
        place = 0
        for dtype, number in self._parts:
            self._file.seek(place)
            yield np.frombuffer(self._file.read(number * dtype.itemsize), dtype=dtype)
            place += number * dtype.itemsize

    def mapped(self, change: Callable[[Records], Records]) -> PartStore:
        """A store of what `change` makes of each part."""
        changed = PartStore()
        for part in self:
            changed.append(change(part))
        return changed

    def __del__(self) -> None:
        self._file.close()
