"""A cache of vectors in a few files: what one process adds, others find at once; a killed process leaves it whole.

Each process that adds has two files of its own: `N.vectors`, float16 numbers one entry's after another's, and
`N.index`, a record of 28 bytes for each entry, written after its numbers. What a killed process left behind the last
record is cut off by the next that takes its place. Records have a checksum: damage is noticed, not computed with.
"""

from __future__ import annotations

import os
import zlib
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.errors import BusyError, DataError
from ovsbench.benchmark.storage.files import folder_lock, writing

Vectors = npt.NDArray[np.float16]
_RECORD = np.dtype([("key", "<u8"), ("rows", "<u4"), ("width", "<u4"), ("checksum", "<u4"), ("begin", "<u8")])


class VectorStore:
    """The entries in a folder, by number, also of processes that go on adding."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shards: dict[Path, _Shard] = {}
        self._places: dict[int, tuple[_Shard, int]] = {}

    def __contains__(self, key: int) -> bool:
        """Whether there is an entry; a look at the disk if it is not known yet."""
        if key not in self._places:
            for index in sorted(self._folder.glob("*.index")):
                shard = self._shards.setdefault(index, _Shard(index))
                first = len(shard.records)
                shard.read_on()
                self._places.update((int(new), (shard, n)) for n, new in enumerate(shard.records["key"][first:], first))
        return key in self._places

    def find(self, key: int) -> Vectors | None:
        """The vectors of an entry, (rows, width); None if there is no such entry.

        Raises:
            DataError: a file of the cache is damaged.
        """
        if key not in self:
            return None
        shard, place = self._places[key]
        return shard.vectors(place)


class VectorWriter:
    """Adds entries to a folder, beside other processes; open until the `with` block ends.

    Raises:
        DataError: the folder cannot be written, or a file of the cache is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._store, self._held = VectorStore(folder), ExitStack()
        number = 0
        while True:  # the first place that no other process holds
            try:
                self._held.enter_context(folder_lock(folder, f".{number}.lock"))
                break
            except BusyError:
                number += 1
        self._index, self._path = folder / f"{number}.index", folder / f"{number}.vectors"
        shard = _Shard(self._index)
        shard.read_on()
        with writing(self._path):
            self._files = [self._held.enter_context(path.open("ab")) for path in (self._path, self._index)]
            for file, end in zip(self._files, (shard.numbers_end, shard.records.nbytes), strict=True):
                file.truncate(end)

    def __enter__(self) -> VectorWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    def add(self, key: int, vectors: Vectors) -> None:
        """Adds an entry, (rows, width); one that is there stays."""
        if key in self._store:
            return
        numbers = np.ascontiguousarray(vectors, "<f2").tobytes()
        with writing(self._path):
            begin = self._files[0].seek(0, os.SEEK_END)
            record = np.array([(key, *vectors.shape, 0, begin)], _RECORD)
            record["checksum"] = _checksum(record[0], numbers)
            for file, content in zip(self._files, (numbers, record.tobytes()), strict=True):
                file.write(content)
                file.flush()


class _Shard:
    """The entries of one pair of files, as far as they have been read."""

    def __init__(self, index: Path) -> None:
        self._index, self._path = index, index.with_suffix(".vectors")
        self.records = np.zeros(0, _RECORD)

    def read_on(self) -> None:
        """Reads the entries that came since; a record that is half written is left for later.

        Raises:
            DataError: the file of vectors is shorter than its index says.
        """
        size = self._index.stat().st_size if self._index.exists() else 0
        if size - self.records.nbytes < _RECORD.itemsize:
            return
        try:
            content = self._index.read_bytes()
        except OSError as error:
            raise self._damaged(error.strerror or str(error)) from error
        self.records = np.frombuffer(content, _RECORD, len(content) // _RECORD.itemsize)
        has = self._path.stat().st_size if self._path.exists() else 0
        if has < self.numbers_end:
            raise self._damaged(f"{has} bytes where its index asks for {self.numbers_end}")

    @property
    def numbers_end(self) -> int:
        """The size that the file of vectors has at least."""
        return sum(_extent(self.records[-1])) if len(self.records) else 0

    def vectors(self, place: int) -> Vectors:
        """Those of an entry, (rows, width)."""
        record = self.records[place]
        begin, size = _extent(record)
        try:
            with self._path.open("rb") as file:
                has = os.fstat(file.fileno()).st_size
                numbers = os.pread(file.fileno(), size, begin) if begin + size <= has else b""
        except OSError as error:
            raise self._damaged(error.strerror or str(error)) from error
        if len(numbers) != size or _checksum(record, numbers) != record["checksum"]:
            raise self._damaged("numbers of another checksum")
        return np.frombuffer(numbers, "<f2").reshape(int(record["rows"]), int(record["width"]))

    def _damaged(self, got: str) -> DataError:
        return DataError(
            f"{self._path}: expected cached vectors of a teacher, got {got}. Remove it and {self._index.name} beside "
            "it; what they held is made anew"
        )


def _checksum(record: Any, numbers: bytes) -> int:
    """Over an entry's key, shape and numbers."""
    head = np.array([record[name] for name in ("key", "rows", "width")], "<u8").tobytes()
    return zlib.crc32(numbers, zlib.crc32(head))


def _extent(record: Any) -> tuple[int, int]:
    """Begin and size in bytes of an entry's numbers."""
    return int(record["begin"]), 2 * int(record["rows"]) * int(record["width"])
