"""Files and folders that are whole or absent, JSON lines that survive a crash, and locks on folders."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import json
import math
import os
import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

from ovsbench.benchmark.errors import BusyError, DataError
from ovsbench.benchmark.storage.lease import lease, refuse_lost
from ovsbench.benchmark.storage.remote import RemotePath, refuse_url
from ovsbench.benchmark.storage.text_files import decode_text, read_whole

SCHEMA = 1
"""The number that every JSON file of this version carries as `schema`."""


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes a JSON file with sorted keys, beside its place and then renamed: it is whole or not there.

    Raises:
        DataError: the file cannot be written, such as on a full disk.
    """
    write_bytes(path, (indented_json(value) + "\n").encode())


def indented_json(value: Any) -> str:
    """What `json.dumps` gives with `indent=1`, which it writes in slow Python: here C writes all but the nesting.

    A line's end is in that text only where one was put: within texts it is written as an escape.

    >>> indented_json({"b": [1, 2], "a": None})
    '{\\n "a": null,\\n "b": [\\n  1,\\n  2\\n ]\\n}'
    """
    return _texts([value], 1)[0] if isinstance(value, _CONTAINERS) else _COMPACT.encode(value)


def _texts(values: list[Any], depth: int) -> list[str]:
    """The JSON of containers of one depth, all encoded at once; what is in several of them is written once."""
    plain, inner = list(values), list[tuple[int, int, Any]]()  # number of the container, line in it, key
    for number, value in enumerate(values):
        keys = sorted(value) if isinstance(value, dict) else range(len(value))
        found = [(number, line, key) for line, key in enumerate(keys) if isinstance(value[key], _CONTAINERS)]
        if found:
            plain[number] = dict(value) if isinstance(value, dict) else list(value)
            for _, _, key in found:
                plain[number][key] = None
            inner += found
    children = {id(child): child for number, _, key in inner for child in [values[number][key]]}
    text_of = dict(zip(children, _texts(list(children.values()), depth + 1), strict=True)) if children else {}
    lines = _LINES.encode(plain)[1:-1].split("\n")
    starts = [0, *itertools.accumulate(len(value) or 1 for value in values)]
    for number, line, key in inner:
        head, _, end = lines[starts[number] + line].rpartition("null")
        lines[starts[number] + line] = head + text_of[id(values[number][key])] + end
    pad, texts = "\n" + " " * depth, []
    for first, behind in itertools.pairwise(starts):
        text = pad.join(lines[first:behind]).removesuffix(",")
        texts.append(text if len(text) == 2 else text[0] + pad + text[1:-1] + pad[:-1] + text[-1])
    return texts


def write_bytes(path: Path, content: bytes, *, rivals: bool = False) -> None:
    """Writes a file beside its place and renames it then: it is whole or not there.

    Args:
        path: the file.
        content: all of it.
        rivals: whether other processes or threads may write this file at the same time; the last one's stays.

    Raises:
        DataError: the file cannot be written, such as on a full disk.
    """
    with whole_file(path, rivals=rivals) as beside:
        beside.write_bytes(content)


@contextlib.contextmanager
def whole_file(path: Path, *, rivals: bool = False) -> Iterator[Path]:
    """A path beside `path` to write to; it is renamed when the block ends well, and removed otherwise.

    Args:
        path: the file; it is whole or not there, or the one of before. Its folder is made if missing.
        rivals: whether other processes or threads may write this file at the same time; the last one's stays.

    Raises:
        DataError: the block or the renaming met an error of the operating system, such as a full disk.
    """
    own = f".{os.getpid()}-{threading.get_ident()}" if rivals else ""
    beside = path.with_name(f".{path.name}{own}.partial")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield beside
            refuse_lost(path)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(folder: Path, *, replace: bool = False, beside: Path | None = None) -> Iterator[Path]:
    """A hidden folder to fill; it gets the name `folder` when the block ends well, and goes away otherwise.

    Args:
        folder: whole or not there, or the one of before; the folders above it are made if missing.
        replace: whether a folder with files in it may be replaced.
        beside: the hidden folder, on the same disk; by default it lies beside `folder`. What a killed process left
            there is removed.

    Raises:
        DataError: `folder` holds something already and is not to be replaced, or the disk is full.
    """
    if folder.exists() and (not folder.is_dir() or (not replace and any(folder.iterdir()))):
        raise DataError(f"{folder}: expected a new folder, found something there. Choose another output folder with -o")
    partial, old = beside or folder.with_name(f".{folder.name}.partial"), folder.with_name(f".{folder.name}.old")
    try:
        with writing(folder):
            for left in (partial, old):
                shutil.rmtree(left, ignore_errors=True)
            partial.mkdir(parents=True)
        yield partial
        refuse_lost(folder)
        with writing(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            if folder.exists():  # a folder cannot be renamed onto one that holds files
                folder.rename(old)
            partial.rename(folder)
            shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_json(path: Path, what: str) -> dict[str, Any]:
    """Reads a JSON object that has a `schema` number.

    Args:
        path: the file.
        what: what the file is, for the message, such as "a benchmark's manifest".

    Raises:
        DataError: the file is missing, is not such an object, or is of a later schema.
    """
    try:
        value = parse_json(read_whole(path))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path}: expected {what}, found no such file. Check the path") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected {what} in JSON, got an error: {error}. Write the file again") from error
    if not isinstance(value, dict) or not isinstance(value.get("schema"), int):
        raise DataError(f"{path}: expected {what} with a number `schema`, got something else. Write the file again")
    if value["schema"] > SCHEMA:
        raise DataError(
            f"{path}: expected {what} of schema {SCHEMA} or before, got schema {value['schema']}. Update ovsbench"
        )
    return value


def parse_json(text: bytes | str) -> Any:
    """The value of a JSON text; what JSON does not know, such as NaN, and nesting without an end are refused.

    Raises:
        ValueError: it is not JSON in UTF-8, with or without a byte order mark, a number is too large for a float, or a
            text holds half a character.

    >>> parse_json(b'[1, 2.5]')
    [1, 2.5]
    """
    if isinstance(text, bytes):
        text = decode_text(text)
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
        if _HALF.search(text):  # may be half of a pair, such as an emoji: then it can be written as UTF-8
            _compact(value).encode()
    except RecursionError:
        raise ValueError("its brackets are nested too deeply") from None
    return value


_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def json_digest(value: object) -> str:
    """sha256 of a value's canonical JSON, 64 hexadecimal digits."""
    return hashlib.sha256(_compact(value).encode()).hexdigest()


def json_line(value: Mapping[str, Any]) -> str:
    """A JSON object on one line, with sorted keys and the line's end."""
    return _compact(value) + "\n"


_COMPACT = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_CONTAINERS = (dict, list, tuple)
_LINES = json.JSONEncoder(sort_keys=True, separators=(",\n", ": "), ensure_ascii=False, allow_nan=False)


def _compact(value: object) -> str:
    return _COMPACT.encode(value)


def append_line(path: Path, value: Mapping[str, Any] | str) -> None:
    """Adds one JSON line, or what `json_line` made, to a file; a last line that a crash cut off is dropped first."""
    line = value if isinstance(value, str) else json_line(value)
    if isinstance(path, RemotePath):
        path.add(line.encode())
        return
    with writing(path), path.open("a+b") as file:
        _drop_cut_line(file)
        file.write(line.encode())


def join_lines(path: Path) -> None:
    """Makes one object of a file in a store and the lines that were added to it; a file of a disk is one."""
    if isinstance(path, RemotePath):
        path.join_added()


def remove_folder(folder: Path) -> None:
    """Removes a folder with all that is in it."""
    if isinstance(folder, RemotePath):
        folder.remove_folder()
    else:
        shutil.rmtree(folder)


def _drop_cut_line(file: BinaryIO) -> None:
    end = file.seek(0, os.SEEK_END)
    if end == 0:
        return
    file.seek(end - 1)
    if file.read(1) != b"\n":
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON lines file, none if it is missing; a last line that a crash cut off is left out.

    Raises:
        DataError: a whole line is not JSON, or the file cannot be read.
    """
    for number, line in enumerate(whole_lines(path), 1):
        try:
            yield parse_json(line)
        except ValueError as error:
            raise DataError(
                f"{path}, line {number}: expected JSON, got an error: {error}. Remove the file and run again"
            ) from error


def whole_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, none if it is missing; a last line that a crash cut off is left out.

    Raises:
        DataError: the file cannot be read.
    """
    if not path.exists():
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}. Remove it and run again") from error
    with file:
        yield from (line for line in file if line.endswith(b"\n"))


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns an error of the operating system during a write into one sentence that names the file.

    Raises:
        UsageError: the path is the text of a URL: whoever made it takes none.
    """
    refuse_url(path)
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written: {error.strerror or error}. "
            "Make room or choose another output folder, then run the same command again"
        ) from error


@contextlib.contextmanager
def folder_lock(folder: Path, name: str = ".lock", *, shared: bool = False, wait: bool = False) -> Iterator[None]:
    """Keeps other processes out of a folder while the block runs; the lock ends with the process, however it ends.

    Where files cannot be locked, in stores and on some network file systems, a `lease` does it.

    Args:
        folder: made if missing.
        name: file in the folder that carries the lock.
        shared: whether others that ask for a shared lock may work here at the same time.
        wait: whether to wait for the lock and not to give up at once.

    Raises:
        BusyError: another process holds the lock.
    """
    if isinstance(folder, RemotePath):
        with lease(folder, name, shared=shared, wait=wait):
            yield
        return
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            holder = os.pread(handle, 32, 0).decode(errors="replace").strip()
            raise BusyError(
                f"another process (pid {holder or 'unknown'}) is writing {folder}; "
                "wait for it or choose another output folder with -o"
            ) from None
        except OSError:  # such as ENOLCK and EOPNOTSUPP of network file systems
            instead: AbstractContextManager[None] = lease(folder, name, shared=shared, wait=wait)
        else:
            instead = contextlib.nullcontext()
            with contextlib.suppress(OSError):  # the number is a courtesy; a full disk must not stop a reader
                os.ftruncate(handle, 0)
                os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        with instead:
            yield
    finally:
        os.close(handle)
