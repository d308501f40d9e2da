"""What writes the folder of a video: beside its place first, then put there whole, or not at all."""

from __future__ import annotations

import hashlib
import io
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ovsbench.benchmark.storage.files import SCHEMA, write_json, writing


class FolderWriter(ABC):
    """The folder appears when the `with` block ends well; on an error nothing stays, and a folder of before is kept.

    Args:
        folder: where the video will be; a folder that is there is replaced.
        lines: name of the file that gets a line for each thing added.
    """

    def __init__(self, folder: Path, lines: str) -> None:
        self.folder = folder
        self.digest = ""  # SHA-256 of all that was written, known after the `with` block
        self._name = lines
        self._partial = folder.with_name(f".{folder.name}.partial")
        self._old = folder.with_name(f".{folder.name}.old")
        self._sha = hashlib.sha256()
        self._lines: io.BufferedWriter | None = None

    def __enter__(self) -> Self:
        with writing(self.folder):
            for left in (self._partial, self._old):  # by a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            self._partial.mkdir(parents=True)
            self._lines = (self._partial / self._name).open("wb")
        return self

    def _append(self, line: bytes, files: Mapping[str, bytes] | None = None) -> None:
        """Writes a line, and files that belong to it."""
        assert self._lines is not None, "add() belongs inside the `with` block"
        with writing(self.folder):
            for name, content in (files or {}).items():
                (self._partial / name).write_bytes(content)
            self._lines.write(line)
        for content in (line, *(files or {}).values()):
            self._sha.update(content)

    @abstractmethod
    def _facts(self) -> Mapping[str, Any]:
        """What `video.json` says beside schema and digest."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._lines is not None:
                with writing(self.folder):
                    self._lines.close()
            if kind is None:
                self._commit()
        finally:
            shutil.rmtree(self._partial, ignore_errors=True)

    def _commit(self) -> None:
        self.digest = self._sha.hexdigest()
        write_json(self._partial / "video.json", {"schema": SCHEMA, **self._facts(), "sha256": self.digest})
        with writing(self.folder):
            if self.folder.exists():  # a folder cannot be renamed onto one that holds files
                self.folder.rename(self._old)
            self._partial.rename(self.folder)
            shutil.rmtree(self._old, ignore_errors=True)
