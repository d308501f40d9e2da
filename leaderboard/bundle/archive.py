"""Zip files from strangers: what is inside is listed and read within bounds, and nothing is unpacked by its own name.

Only what our own writer makes is accepted: plain or deflated members, no encryption, no ZIP64, nothing before or behind
the archive. So a file that two programs could read in two ways is no bundle. The table of contents is bounded before
it is read, every member before it is inflated, and again while it is, because a header may lie.
"""

from __future__ import annotations

import contextlib
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.storage import files
from ovsbench.benchmark.storage.text_files import refuse_pipe

MOST_MEMBERS = 65_000
MOST_DIRECTORY = 16 * 1024**2
"""Bytes of the table of contents."""
MOST_TOTAL = 8 * 1024**3
"""Bytes of all members, inflated."""
_DATE = (1980, 1, 1, 0, 0, 0)
_END = struct.Struct("<4s4H2LH")
_LOCAL = struct.Struct("<4s5H3L2H")


@dataclass(frozen=True, slots=True)
class Archive:
    """An open bundle; `members` holds name to size, `starts` where the bytes of each begin, in the file's order."""

    path: Path
    file: zipfile.ZipFile
    members: Mapping[str, int]
    starts: Mapping[str, int]

    def read(self, name: str) -> bytes:
        """A member's bytes.

        Raises:
            DataError: it is damaged, of another length than its header says, or has something hidden behind its end.
        """
        info, size = self.file.getinfo(name), self.members[name]
        try:
            with self.path.open("rb") as raw:
                raw.seek(self.starts[name])
                content = raw.read(info.compress_size)
            if info.compress_type == zipfile.ZIP_DEFLATED:
                stream = zlib.decompressobj(-zlib.MAX_WBITS)
                content = stream.decompress(content, size + 1)
                if len(content) <= size and not stream.eof:
                    raise zlib.error("its stream is cut off")
                if stream.unused_data:
                    raise zlib.error("something is hidden behind its stream")
        except (zlib.error, OSError) as error:
            raise DataError(f"{self.path}, {name}: it is damaged: {error}. Pack the bundle anew") from error
        if len(content) != size:
            how = "longer" if len(content) > size else "shorter"
            raise DataError(f"{self.path}, {name}: it is {how} than its header says. Pack the bundle anew")
        if zlib.crc32(content) != info.CRC:
            raise DataError(f"{self.path}, {name}: it is damaged: its checksum is another. Pack the bundle anew")
        return content

    def skim(self, name: str) -> None:
        """Reads a member that nobody needs, so that nothing can be hidden in it; errors are those of `read`."""
        self.read(name)


Limit = Callable[[str], int | None]
"""Most bytes that a member of this name may have; None for a name that does not belong into a bundle."""


@contextlib.contextmanager
def opened(path: Path, limit: Limit) -> Iterator[Archive]:
    """Opens a bundle for the `with` block.

    Args:
        path: of the zip file.
        limit: which names are allowed, and how large.

    Raises:
        DataError: it is no zip file of the kind that `write` makes, or something in it is not allowed.
    """
    _check_outline(path)
    try:
        file = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, UnicodeDecodeError, ValueError, OSError, NotImplementedError, struct.error) as error:
        raise DataError(f"{path}: its table of contents is damaged: {error}. Pack the bundle anew") from error
    with file:
        members: dict[str, int] = {}
        for info in file.infolist():
            _check_member(path, info, limit)
            if info.filename in members:
                raise DataError(f"{path}: {info.filename} is in it twice. Pack the bundle anew")
            members[info.filename] = info.file_size
        starts = _check_places(path, file)
        if sum(members.values()) > MOST_TOTAL:
            raise DataError(
                f"{path}: expected at most {MOST_TOTAL} bytes inside, its headers announce {sum(members.values())}. "
                "Leave the predictions out"
            )
        yield Archive(path, file, members, starts)


def _check_outline(path: Path) -> None:
    """Reads the end record alone: how many members, and how long the table of contents is."""

    def bad(reason: str) -> DataError:
        return DataError(f"{path}: expected a bundle of ovsbench submit, got {reason}. Pack it anew")

    try:
        refuse_pipe(path)
        with path.open("rb") as file:
            begin = file.read(4)
            size = file.seek(0, 2)
            file.seek(max(0, size - _END.size - 20))
            tail = file.read()
            if begin != b"PK\x03\x04" or len(tail) < _END.size:
                raise bad("a file that is no zip archive")
            mark, disk, first, here, entries, length, start, comment = _END.unpack(tail[-_END.size :])
            if mark != b"PK\x05\x06" or comment or disk or first or here != entries:
                raise bad("a zip archive that is cut off, or has a comment or several parts")
            if entries == 0xFFFF or 0xFFFFFFFF in (length, start) or tail[: -_END.size][-20:-16] == b"PK\x06\x07":
                raise bad("a ZIP64 archive")
            if entries > MOST_MEMBERS or length > MOST_DIRECTORY:
                raise bad(f"{entries} members and {length} bytes of contents, of {MOST_MEMBERS} and {MOST_DIRECTORY}")
            if start + length + _END.size != size:
                raise bad("a zip archive with something before, between or behind")
            file.seek(start)
            if file.read(length).count(b"PK\x01\x02") > entries:  # a name may hold the mark; ours do not
                raise bad("a table of contents with more members than it announces")
    except OSError as error:
        raise DataError(
            f"{path}: expected a bundle, got an error: {error.strerror or error}. Check the path"
        ) from error


def _check_places(path: Path, file: zipfile.ZipFile) -> dict[str, int]:
    """Where the bytes of each member begin.

    Members lie one behind the other, each once, with nothing between: no byte is read twice, and none is hidden. What
    the head of a member says stands in the table of contents too.
    """
    at, starts = 0, {}
    with path.open("rb") as raw:
        for info in sorted(file.infolist(), key=lambda info: info.header_offset):
            raw.seek(at)
            head = raw.read(_LOCAL.size)
            fields = _LOCAL.unpack(head) if len(head) == _LOCAL.size else (b"",) * 11
            name = info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437")
            same = (b"PK\x03\x04", info.flag_bits, info.compress_type, info.CRC, info.compress_size, info.file_size)
            is_same = (fields[0], fields[2], fields[3], *fields[6:9]) == same and raw.read(len(name)) == name
            has_more = fields[9:] != (len(name), 0) or info.extra or info.comment or info.flag_bits & 0x8
            if info.header_offset != at or has_more or not is_same or _is_padded(info):
                raise DataError(
                    f"{path}: {info.filename[:80]!a} overlaps with another member, or something is hidden before "
                    "or in its head. Pack the bundle with ovsbench submit"
                )
            starts[info.filename] = at + _LOCAL.size + len(name)
            at = starts[info.filename] + info.compress_size
    if at != file.start_dir:
        raise DataError(f"{path}: something is hidden behind its members. Pack the bundle with ovsbench submit")
    return starts


def _is_padded(info: zipfile.ZipInfo) -> bool:
    """Whether a member takes more room than its bytes need, packed or not."""
    if info.compress_type == zipfile.ZIP_STORED:
        return info.compress_size != info.file_size
    return info.compress_size > info.file_size + info.file_size // 1000 + 64


def _check_member(path: Path, info: zipfile.ZipInfo, limit: Limit) -> None:
    name = ascii(info.orig_filename[:80])
    if info.orig_filename != info.filename or "\0" in info.orig_filename:
        raise DataError(f"{path}: the name {name} holds what no name may hold. Pack the bundle anew")
    parts = info.filename.split("/")
    if info.filename.startswith("/") or "\\" in info.filename or ".." in parts or ":" in parts[0]:
        raise DataError(f"{path}: the name {name} leads out of the bundle. Pack it anew")
    if not info.flag_bits & 0x800 and not info.filename.isascii():
        raise DataError(f"{path}: the name {name} is not in UTF-8. Pack the bundle anew")
    mode = info.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise DataError(f"{path}: {name} is a link or no plain file. Pack the bundle anew")
    if info.flag_bits & 0x1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(f"{path}: {name} is encrypted or packed in another way than deflate. Pack the bundle anew")
    most = limit(info.filename)
    if most is None:
        raise DataError(f"{path}: {name} does not belong into a bundle. Pack it with ovsbench submit")
    if info.file_size > most:
        raise DataError(f"{path}: {name} may have {most} bytes, its header announces {info.file_size}. Shorten it")


def write(path: Path, contents: Iterable[tuple[str, bytes]]) -> None:
    """Writes a zip file, whole or not at all; equal contents give equal bytes.

    Args:
        path: of the zip file.
        contents: name and bytes of each member, in order.

    Raises:
        DataError: it cannot be written, or holds more than a bundle may.
    """
    try:
        with (
            files.whole_file(path, rivals=True) as beside,
            zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED, allowZip64=False, compresslevel=6) as file,
        ):
            for name, content in contents:
                info = zipfile.ZipInfo(name, _DATE)
                info.compress_type, info.create_system = zipfile.ZIP_DEFLATED, 3
                info.external_attr = (stat.S_IFREG | 0o644) << 16
                file.writestr(info, content)
                if len(file.filelist) > MOST_MEMBERS:
                    raise DataError(f"{path}: expected at most {MOST_MEMBERS} files. Leave the predictions out")
    except zipfile.LargeZipFile as error:
        raise DataError(f"{path}: a bundle may have at most 4 GB. Leave the predictions out") from error
