"""Folders that a URL names, such as s3://bucket/data, as paths: what is read is fetched, what is finished is sent.

The objects below the URL are the files that a folder on disk would have, under the same names. A `RemotePath` is a
path like others, so that no reader or writer knows of stores. What the suite writes is made here first, under a hidden
name, and sent when it is renamed into place: never a part of a file, and the file that says that a folder is whole,
last. Lines that are added one by one to a file become objects in NAME.added/ beside it, since no object can grow;
reading joins them.
"""

from __future__ import annotations

import errno
import fnmatch
import functools
import io
import os
import re
import shutil
import stat
import threading
import time
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PosixPath, PurePosixPath
from typing import IO, Any

from ovsbench.benchmark.errors import DataError, UsageError
from ovsbench.benchmark.storage.local_cache import local_cache
from ovsbench.benchmark.storage.object_store import Entry, ObjectStore, store_of

AHEAD = 16
"""Files of a folder that are fetched beyond the one that is opened."""
AT_ONCE = 16
"""Requests of one process at the same time."""
LAST = ("video.json", "verified.json", "index.html")
"""Files that say that their folder is whole: sent when all others are there, removed before any other."""
ADDED = ".added"
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_URL = re.compile(r"([a-z][a-z0-9+.:-]*):/+(.*)", re.DOTALL)
_NO_FOLDERS = ("http", "https", "data", "ftp")
_MOST_LISTINGS = 64


def place(folder: str | Path) -> Path:
    """A folder that a person named: a path of this machine, or a `RemotePath` for a URL.

    >>> place("data/world"), place("file:///data/world")
    (PosixPath('data/world'), PosixPath('/data/world'))

    Raises:
        UsageError: the URL holds a password or a signature, or is of a kind that has no folders to write to.
    """
    if isinstance(folder, RemotePath):
        return folder
    url = _URL.fullmatch(str(folder))
    if url is None:
        return Path(folder)
    scheme, rest = url.groups()
    if re.search(r":[^@]*@", rest) or "?" in rest or "::" in scheme:
        raise UsageError(
            f"expected {scheme}:// with a bucket and a path alone, got a URL with credentials, a query or another "
            "URL in it, which would stand in records and logs. Give credentials as the store's own tools take them"
        )
    if scheme in ("file", "local"):
        return Path("/", rest)
    if scheme in _NO_FOLDERS:
        raise UsageError(
            f"{folder}: {scheme}:// cannot be listed or written. Give a folder or a URL such as s3://B/DATA"
        )
    return RemotePath(f"{scheme}:", rest)


def refuse_url(path: Path) -> None:
    """Refuses a path of this machine that is the text of a URL.

    Raises:
        UsageError: it is.
    """
    if not isinstance(path, RemotePath) and (url := _URL.fullmatch(str(path))) is not None:
        raise UsageError(
            f"expected a file or folder of this machine here, got {url[1]}://{url[2]}. Name one, and copy it"
        )


class RemotePath(PosixPath):
    """A path below a URL. It prints as the URL; to the operating system it is the copy in the `local_cache`."""

    __slots__ = ()

    @property
    def url(self) -> str:
        """The URL, without a slash at its end."""
        if self.root or ".." in self.parts:
            raise DataError(f"{'/'.join(self.parts)}: expected a path below a URL, got one that leads out of it")
        return f"{self.parts[0]}//{'/'.join(self.parts[1:])}"

    def __str__(self) -> str:
        return self.url if self.parts else "."  # above a URL, where `parents` ends

    def __fspath__(self) -> str:
        return str(self._here)

    @property
    def _here(self) -> Path:
        return local_cache().folder.joinpath(*self.url.replace("://", "/", 1).split("/"))

    @property
    def _store(self) -> ObjectStore:
        return store_of(self.url.partition(":")[0])

    @property
    def _is_unfinished(self) -> bool:
        """Whether it is of a file or folder that gets its name when it is finished: until then it is here alone."""
        hidden = [part for part in self.parts if part.startswith(".")]
        return any(part.endswith((".partial", ".old")) or part in (".adding", ".building") for part in hidden)

    def resolve(self, strict: bool = False) -> RemotePath:
        return self

    def absolute(self) -> RemotePath:
        return self

    def is_absolute(self) -> bool:
        return True

    def relative_to(self, *other: Any, **_: Any) -> PurePosixPath:  # type: ignore[override]
        return PurePosixPath(*super().relative_to(*other).parts)  # below no URL any more

    def _entry(self) -> Entry | None:
        if self._is_unfinished:
            if not self._here.exists():
                return None
            here = self._here.stat()
            return Entry(here.st_size, here.st_mtime, self._here.is_dir())
        found = self._store.find(self.url)
        return Entry(0, 0.0, False) if found is None and self._added_lines() else found

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        return self._entry() is not None

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        entry = self._entry()
        return entry is not None and not entry.is_folder

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        entry = self._entry()
        return entry is not None and entry.is_folder

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        entry = self._entry()
        if entry is None:
            raise self._missing()
        mode = stat.S_IFDIR if entry.is_folder else stat.S_IFREG
        nanoseconds = {f"st_{kind}time_ns": int(entry.modified * 1e9) for kind in "amc"}
        return os.stat_result((mode | 0o644, 0, 0, 1, 0, 0, entry.size, *[int(entry.modified)] * 3), nanoseconds)

    def _missing(self) -> FileNotFoundError:
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.url)

    def _children(self) -> dict[str, Entry]:
        """Files and folders directly below; a file that has only been added to is one too."""
        if self._is_unfinished:
            return {path.name: Entry(0, 0.0, path.is_dir()) for path in self._here.iterdir()}
        found = self._store.children(self.url)
        for name in [name for name in found if name.endswith(ADDED)]:
            found.setdefault(name.removesuffix(ADDED), Entry(0, 0.0, False))
            del found[name]
        return found

    def iterdir(self) -> Iterator[RemotePath]:  # type: ignore[override]
        return (self / name for name in sorted(self._children()))

    def glob(self, pattern: str, **_: Any) -> Iterator[RemotePath]:  # type: ignore[override]
        """Lazily, one folder after the other; `**` is not known here."""
        head, _slash, rest = pattern.partition("/")
        if not set("*?[") & set(head):
            names = [head] if rest or (self / head).exists() else []
        else:
            names = sorted(
                name
                for name, entry in self._children().items()
                if fnmatch.fnmatchcase(name, head) and (entry.is_folder or not rest)
            )
        for name in names:
            yield from (self / name).glob(rest) if rest else [self / name]

    def rglob(self, pattern: str, **_: Any) -> Iterator[RemotePath]:  # type: ignore[override]
        """Files alone, whose names fit."""
        for url in self._store.below(self.url):
            found = self.joinpath(*url.removeprefix(self.url).split("/"))
            if fnmatch.fnmatchcase(found.name, pattern):
                yield found

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Makes the folder here; in the store folders are there with their first object."""
        self._here.mkdir(mode, parents=parents or not self._is_unfinished, exist_ok=exist_ok or not self._is_unfinished)

    def open(self, mode: str = "r", *args: Any, **kwargs: Any) -> IO[Any]:  # type: ignore[override]
        """Opens the copy that is here, fetched if it is not; to write, only under the hidden name of the unfinished."""
        if self._is_unfinished:
            return self._here.open(mode, *args, **kwargs)
        if set(mode) & set("wxa+"):
            raise OSError(errno.EROFS, "a file in a store is written as a whole, see files.whole_file", self.url)
        for _ in range(3):  # a small cache may have lost it again
            here = self._fetched()
            try:
                return here.open(mode, *args, **kwargs)
            except FileNotFoundError:
                local_cache().forget(here)
        raise DataError(f"{self}: the cache of remote files is too small for it. Set OVSBENCH_REMOTE_CACHE_MB higher")

    def read_bytes(self) -> bytes:
        with self.open("rb") as file:
            return bytes(file.read())

    def read_text(self, encoding: str | None = None, errors: str | None = None, newline: str | None = None) -> str:
        with io.TextIOWrapper(io.BytesIO(self.read_bytes()), encoding, errors, newline) as file:
            return file.read()

    def write_bytes(self, data: Any) -> int:
        content = bytes(data)
        if self._is_unfinished:
            return self._here.write_bytes(content)
        self._store.put(self.url, content)
        local_cache().forget(self._here)
        _listings.forget(self.parent)
        return len(content)

    def write_text(self, data: str, encoding: str | None = None, *args: Any, **kwargs: Any) -> int:
        return self.write_bytes(data.encode(encoding or "utf-8"))

    def create(self, content: bytes) -> None:
        """Writes an object that must not be there yet.

        Raises:
            FileExistsError: it is.
        """
        self._store.put(self.url, content, is_new=True)

    def unlink(self, missing_ok: bool = False) -> None:
        if self._is_unfinished:
            self._here.unlink(missing_ok)
            return
        self._remove([self.url, *self._added_lines()])

    def remove_folder(self) -> None:
        """Removes all objects below, those that say that a folder is whole first."""
        if self._is_unfinished:
            shutil.rmtree(self._here, ignore_errors=True)
        else:
            self._remove(self._store.below(self.url))

    def _remove(self, urls: list[str]) -> None:
        first = [url for url in urls if url.endswith(LAST)]
        for some in (first, [url for url in urls if url not in set(first)]):
            if some:
                self._store.remove(some)
        local_cache().forget(self._here)
        _listings.forget(self.parent)
        _listings.forget(self)

    def rename(self, target: str | os.PathLike[str]) -> RemotePath:
        """Sends what is finished to the place of `target`, which it replaces; what is put aside is only gone here."""
        assert isinstance(target, RemotePath), "a remote file is renamed within its store"
        if target._is_unfinished and not self._is_unfinished:
            local_cache().forget(self._here)  # what is put aside is replaced soon, by another that is sent
            shutil.rmtree(self._here, ignore_errors=True)
        elif target._is_unfinished:
            self._here.rename(target._here)
        else:
            target._receive(self._here)
        return target

    replace = rename

    def _receive(self, finished: Path) -> None:
        """Sends a file or a folder of this machine here; its files become copies in the cache."""
        is_folder = finished.is_dir()
        sources = sorted(path for path in finished.rglob("*") if path.is_file()) if is_folder else [finished]
        targets = [self / path.relative_to(finished) if is_folder else self for path in sources]
        old = self._store.below(self.url) if is_folder else list(self._added_lines())
        new = {target.url for target in targets}
        marks = {target.url for target in targets if target.name in LAST}
        if marks & set(old):
            self._store.remove(sorted(marks & set(old)))
        pairs = list(zip(sources, targets, strict=True))
        list(
            _pool().map(
                lambda pair: self._store.upload(pair[0], pair[1].url), [p for p in pairs if p[1].url not in marks]
            )
        )
        if left := [url for url in old if url not in new]:
            self._store.remove(left)
        for source, target in pairs:
            if target.url in marks:
                self._store.upload(source, target.url)
        local_cache().forget(self._here)
        for source, target in pairs:
            target._here.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target._here)
            local_cache().keep(target._here)
        _listings.forget(self.parent)
        _listings.forget(self)
        if is_folder:
            shutil.rmtree(finished, ignore_errors=True)

    @property
    def _added(self) -> RemotePath:
        return self.with_name(self.name + ADDED)

    def _added_lines(self) -> dict[str, int]:
        """The URLs of the objects that hold added lines, in the order of adding, and their sizes."""
        if self.suffix != ".jsonl":
            return {}
        return {
            f"{self._added.url}/{name}": e.size for name, e in sorted(self._store.children(self._added.url).items())
        }

    def add(self, line: bytes) -> None:
        """Adds a line to a file of lines."""
        self._store.put((self._added / f"{time.time_ns():020d}-{os.getpid()}").url, line)

    def join_added(self) -> None:
        """Makes one object of a file and the lines that were added to it; whoever adds meanwhile loses nothing."""
        if added := self._added_lines():
            self._store.put(self.url, self._joined(added))
            self._store.remove(list(added))

    def _joined(self, added: dict[str, int]) -> bytes:
        base = self._store.find(self.url)
        jobs = {**({} if base is None else {self.url: base.size}), **added}
        return b"".join(_pool().map(self._store.read, jobs, jobs.values()))

    @property
    def _changes(self) -> bool:
        """Whether its bytes may change while this process works: not those of pictures, nor of a folder with a mark."""
        return self.suffix.lower() not in PICTURES and not set(LAST[:2]) & set(_listings.of(self.parent))

    def _fetched(self) -> Path:
        """The copy here. What may change is fetched anew; of others the next files of the folder follow meanwhile."""
        siblings = _listings.of(self.parent)
        if self._changes or self.name not in siblings:
            siblings = _listings.of(self.parent, is_new=True)
        if self.name not in siblings:
            raise self._missing()
        if self._changes:
            added = self._added_lines()
            return self._download(self._joined(added) if added else siblings[self.name].size)
        names = [name for name, entry in siblings.items() if not entry.is_folder]
        begin = bisect_left(names, self.name)
        budget = local_cache().limit // 4
        for name in names[begin : begin + AHEAD + 1]:
            budget -= siblings[name].size
            if name == self.name or budget > 0:
                (self.parent / name)._order(siblings[name].size)
        if (ordered := _in_flight.get(self.url)) is not None:
            try:
                ordered.result()
            finally:  # a next time it is tried anew
                _in_flight.pop(self.url, None)
        return self._here

    def _order(self, size: int) -> None:
        """Begins to fetch a file that does not change, unless it is here or on its way."""
        with _guard:
            if self.url not in _in_flight and not local_cache().has(self._here):
                _in_flight[self.url] = _pool().submit(self._download, size)

    def _download(self, content: bytes | int) -> Path:
        """Writes the copy: of the bytes, or of an object of so many."""
        here, beside = self._here, local_cache().folder / f".{threading.get_ident()}.fetched"
        try:
            here.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                beside.write_bytes(content)
            else:
                self._store.download(self.url, content, beside)
            beside.replace(here)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise DataError(
                f"{self}: no copy can be kept in {local_cache().folder.parent}: {error.strerror}. Make room, or name "
                "another folder in OVSBENCH_REMOTE_CACHE"
            ) from error
        local_cache().keep(here)
        with _guard:
            _in_flight.pop(self.url, None)
        return here


_guard = threading.Lock()
_in_flight: dict[str, Future[Path]] = {}


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(AT_ONCE, "ovsbench-remote")


class _Listings:
    """What the folders hold that were read last, so that a video's folder is listed once and not for every frame."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, dict[str, Entry]] = OrderedDict()

    def of(self, folder: RemotePath, *, is_new: bool = False) -> dict[str, Entry]:
        """The children of a folder by name, in the order of their names."""
        with _guard:
            found = None if is_new else self._known.get(folder.url)
        if found is None:
            found = dict(sorted(folder._children().items()))
        with _guard:
            self._known[folder.url] = found
            self._known.move_to_end(folder.url)
            if len(self._known) > _MOST_LISTINGS:
                self._known.popitem(last=False)
        return found

    def forget(self, folder: RemotePath) -> None:
        """Lets a folder be listed anew."""
        with _guard:
            for url in [url for url in self._known if url == folder.url or url.startswith(folder.url + "/")]:
                del self._known[url]


_listings = _Listings()
