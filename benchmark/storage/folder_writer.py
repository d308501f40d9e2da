"""What writes the folder of a video: beside its place first, then put there whole, or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ovsbench.benchmark.processes import NODE
from ovsbench.benchmark.storage.files import SCHEMA, indented_json, whole_folder, writing


class FolderWriter(ABC):
    """The folder appears when the `with` block ends well; on an error nothing stays, and a folder of before is kept.

    Args:
        folder: where the video will be; a folder that is there is replaced.
        lines: name of the file that gets a line for each thing added.
        in_place: whether the folder is filled where it is: it is new, and part of one that appears whole or not at all.
    """

    def __init__(self, folder: Path, lines: str, *, in_place: bool = False) -> None:
        self.folder = folder
        self._partial = folder
        self._in_place = in_place
        self.digest = ""  # SHA-256 of all that was written, known after the `with` block
        self._name = lines
        self._sha = hashlib.sha256()
        self._lines: io.BufferedWriter | None = None

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            node, beside = os.environ.get(NODE), None
            if node:  # of a cluster: a process that was thought lost may still be writing this video
                beside = self.folder.with_name(f".{self.folder.name}.{node}-{os.getpid()}.partial")
            if not self._in_place:
                self._partial = stack.enter_context(whole_folder(self.folder, replace=True, beside=beside))
            with writing(self.folder):
                if self._in_place:
                    self.folder.mkdir(parents=True)
                self._lines = (self._partial / self._name).open("wb")
                stack.callback(self.pause)
            self._stack = stack.pop_all()
        return self

    def _append(self, line: bytes, files: Mapping[str, bytes] | None = None) -> None:
        """Writes a line, and files that belong to it."""
        assert self._lines is not None, "add() belongs inside the `with` block"
        with writing(self.folder):
            if self._lines.closed:
                self._lines = (self._partial / self._name).open("ab")
            for name, content in (files or {}).items():
                (self._partial / name).write_bytes(content)
            self._lines.write(line)
        for content in (line, *(files or {}).values()):
            self._sha.update(content)

    def pause(self) -> None:
        """Closes the file of lines until the next one comes, so that many folders may be written at a time."""
        if self._lines is not None:
            with writing(self.folder):
                self._lines.close()

    def read_back(self, begin: int, end: int) -> bytes:
        """What was written of the file of lines from one place up to another."""
        self.pause()
        with writing(self.folder), (self._partial / self._name).open("rb") as file:
            file.seek(begin)
            return file.read(end - begin)

    @abstractmethod
    def _facts(self) -> Mapping[str, Any]:
        """What `video.json` says beside schema and digest."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with writing(self.folder):
            if kind is not None:
                self._stack.__exit__(kind, error, trace)
                return
            with self._stack:
                self.digest = self._sha.hexdigest()
                facts = indented_json({"schema": SCHEMA, **self._facts(), "sha256": self.digest})
                (self._partial / "video.json").write_bytes(f"{facts}\n".encode())
