"""Objects of a store that fsspec knows, such as S3: listed, read, written, removed; tried again where that may help.

The one place that imports fsspec, and only once a URL was given. No sentence repeats the text of an error of a store,
which may hold parts of credentials: they give its kind and its code.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import datetime
import functools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ovsbench.benchmark.errors import DataError, UsageError, UserError

TRIES = 7
"""Of a request that fails in a way that may pass; the waits between them double from FIRST_WAIT: 12 s in all."""
FIRST_WAIT, LONGEST_WAIT = 0.2, 10.0
PIECE = 8 << 20
"""Bytes that one request reads; a longer object is read range by range, each tried again by itself."""
_AT_ONCE = 1000  # objects that one request removes
_OPTIONS: dict[str, dict[str, Any]] = {
    # The tries are counted here alone, or they would multiply.
    "s3": {"config_kwargs": {"connect_timeout": 10, "read_timeout": 30, "retries": {"total_max_attempts": 1}}},
}
_OPTIONS["s3a"] = _OPTIONS["s3"]
_FAULTS_OF_CODE = (TypeError, AttributeError, NameError, AssertionError, NotImplementedError, MemoryError)
_SURE = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)
T = TypeVar("T")


class Entry(NamedTuple):
    """What a store says of an object, or of a folder of objects.

    Attributes:
        size: in bytes; 0 of a folder.
        modified: seconds since 1970; 0 where unknown.
        is_folder: whether it is a folder: objects lie below it.
    """

    size: int
    modified: float
    is_folder: bool


class ObjectStore:
    """The objects of one kind of URL.

    Raises (every method):
        FileNotFoundError: there is no such object.
        UserError: access is refused, the bucket is not there, or the store does not answer however often it is asked.
    """

    def __init__(self, scheme: str) -> None:
        import fsspec

        try:
            self._files = fsspec.filesystem(scheme, use_listings_cache=False, **_OPTIONS.get(scheme, {}))
        except ImportError as error:
            package = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}.get(scheme, "another package")
            how = 'pip install "ovsbench[remote]"' if package == "s3fs" else f"Install {package}"
            raise UserError(f"{scheme}:// needs {package}, which is not installed. {how}") from error
        except ValueError as error:
            raise UsageError(f"{scheme}:// is no kind of store that fsspec knows. Check the URL") from error
        self._files.retries = 1  # of s3fs; see _OPTIONS

    def find(self, url: str) -> Entry | None:
        """What lies at a URL, None for nothing."""
        try:
            return _entry(self._tried(url, lambda: self._files.info(url)))
        except FileNotFoundError:
            return None

    def children(self, url: str) -> dict[str, Entry]:
        """What lies directly below a URL, by name; names that could lead out of a folder are left out."""
        base = self._files._strip_protocol(url).rstrip("/")
        try:
            rows = self._tried(url, lambda: self._files.ls(url, detail=True))
        except FileNotFoundError:
            return {}
        found = {}
        for row in rows:
            name = row["name"].rstrip("/").removeprefix(base).removeprefix("/")
            if name not in ("", ".", "..") and not {"/", "\\", "\0"} & set(name):
                found[name] = _entry(row)
        return found

    def below(self, url: str) -> list[str]:
        """The URLs of all objects below one."""
        base = self._files._strip_protocol(url).rstrip("/")
        names = self._tried(url, lambda: self._files.find(url))
        return [url + name.removeprefix(base) for name in names if name.startswith(base + "/")]

    def download(self, url: str, size: int, target: Path) -> None:
        """Writes an object of a known size to a file of this machine, in memory one piece at a time."""
        with target.open("wb") as file:
            for piece in self._pieces(url, size):
                file.write(piece)

    def read(self, url: str, size: int) -> bytes:
        """The bytes of an object of a known size."""
        return b"".join(self._pieces(url, size))

    def _pieces(self, url: str, size: int) -> Iterator[bytes]:
        for begin in range(0, size, PIECE):
            yield self._tried(url, functools.partial(self._piece, url, begin, min(begin + PIECE, size)))

    def _piece(self, url: str, begin: int, end: int) -> bytes:
        piece: bytes = self._files.cat_file(url, start=begin, end=end)
        if len(piece) != end - begin:
            raise ConnectionError("the body was cut off")
        return piece

    def put(self, url: str, content: bytes, *, is_new: bool = False) -> None:
        """Writes an object, whole or not at all.

        Args:
            url: of the object.
            content: all of it.
            is_new: whether it must not be there yet; of several that try so at the same time, one succeeds.

        Raises:
            FileExistsError: it is there, though it was to be new; perhaps by a try of ours whose answer was lost.
        """
        mode = {"mode": "create"} if is_new else {}
        self._tried(url, lambda: self._files.pipe_file(url, content, **mode))

    def upload(self, source: Path, url: str) -> None:
        """Writes a file of this machine to an object; a large one in parts."""
        if source.stat().st_size <= PIECE:
            self.put(url, source.read_bytes())
        else:
            self._tried(url, lambda: self._files.put_file(str(source), url))

    def remove(self, urls: Sequence[str]) -> None:
        """Removes objects; those that are not there are no fault."""
        for begin in range(0, len(urls), _AT_ONCE):
            batch = list(urls[begin : begin + _AT_ONCE])
            try:
                self._tried(batch[0], functools.partial(self._files.rm, batch))
            except FileNotFoundError:
                for url in batch if len(batch) > 1 else ():
                    self.remove([url])

    def _tried(self, url: str, work: Callable[[], T]) -> T:
        attempt = 0
        while True:
            attempt += 1
            try:
                return work()
            except _FAULTS_OF_CODE:
                raise
            except Exception as error:
                refusal = _refusal(error, url)
                if refusal is not None:
                    raise refusal from None
                if isinstance(error, _SURE):
                    raise
                if attempt == TRIES:
                    raise DataError(
                        f"{url}: the store did not do what was asked, {TRIES} times in a row ({_kind(error)}). "
                        "Run the same command again later; what is finished is kept"
                    ) from None
            time.sleep(min(FIRST_WAIT * 2 ** (attempt - 1), LONGEST_WAIT) * random.uniform(0.5, 1.0))


@functools.cache
def store_of(scheme: str) -> ObjectStore:
    """The store of a kind of URL, opened once a process."""
    store = ObjectStore(scheme)
    atexit.register(_drop_requests)
    return store


def _drop_requests() -> None:
    """Drops what is still asked of stores when the process ends, as after Ctrl-C; else Python complains of each."""
    from fsspec import asyn

    async def cancel() -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    if asyn.loop[0] is not None:
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(cancel(), asyn.loop[0]).result(5)


def _entry(row: dict[str, Any]) -> Entry:
    when = row.get("LastModified") or row.get("updated") or row.get("mtime") or row.get("created") or 0.0
    if isinstance(when, str):
        when = datetime.datetime.fromisoformat(when)
    modified = when.timestamp() if isinstance(when, datetime.datetime) else float(when)
    is_folder = row["type"] == "directory"
    return Entry(0 if is_folder else int(row.get("size") or 0), modified, is_folder)


def _response(error: BaseException | None) -> dict[str, Any]:
    """What the store answered, where an error of botocore is among the causes of an error."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            return response
        error = error.__cause__ or error.__context__
    return {}


def _code(error: BaseException) -> str:
    code = _response(error).get("Error", {}).get("Code", "")
    return code if isinstance(code, str) and code.isalnum() else ""


def _kind(error: BaseException) -> str:
    """Kind and code of an error, without its text."""
    return " ".join(filter(None, (type(error).__name__, _code(error))))


def _refusal(error: Exception, url: str) -> UserError | None:
    """The sentence about an error that no further try can mend; None for others."""
    scheme, _, rest = url.partition("://")
    bucket, code = rest.partition("/")[0], _code(error)
    if code in ("NoSuchBucket", "InvalidBucketName") or type(error).__name__ == "ParamValidationError":
        return DataError(
            f"{url}: there is no {scheme}://{bucket}, or it cannot be seen from here. Check the name of the bucket and "
            "the address of the store, such as AWS_ENDPOINT_URL"
        )
    if "Credentials" in type(error).__name__:
        return DataError(
            f"{url}: no credentials for {scheme}:// were found on this machine. Set them as for the store's own tools, "
            "such as AWS_PROFILE"
        )
    if isinstance(error, PermissionError) or code in ("403", "InvalidToken", "AuthorizationHeaderMalformed"):
        return DataError(
            f"{url}: access is refused{f' ({code})' if code else ''}. Check the credentials of this machine and what "
            "the bucket allows them"
        )
    if code in ("NotImplemented", "501"):
        return DataError(
            f"{url}: this store does not know what was asked of it ({code}), such as a put on condition that nothing "
            "is there, by which two writers are told apart. Choose a store that has conditional puts"
        )
    if code in ("PermanentRedirect", "301"):
        return DataError(f"{url}: the bucket lies in another region. Set AWS_REGION to it")
    return None
