"""Zip files of strangers, field by field: what the heads of a member and the end of the file may say, and how much."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from pathlib import Path

import pytest
from test_hidden_bytes import deflated, raw_zip

from ovsbench.benchmark.errors import DataError
from ovsbench.leaderboard.bundle import archive
from ovsbench.leaderboard.bundle.archive import opened, write

CONTENTS = {"a.txt": b"some bytes " * 20, "b.txt": b"other bytes"}
LOCAL = {  # fields of the head of a member that the table of contents has too: where, and how many bytes
    "mark": (0, 4), "flags": (6, 2), "method": (8, 2), "crc": (14, 4), "packed size": (18, 4), "size": (22, 4),
    "length of the name": (26, 2), "length of more": (28, 2),
}  # fmt: skip
END = {  # fields of the end record
    "mark": (0, 4), "disk": (4, 2), "first disk": (6, 2), "members here": (8, 2), "members": (10, 2),
    "length": (12, 4), "start": (16, 4), "comment": (20, 2),
}  # fmt: skip


def members(contents: dict[str, bytes] = CONTENTS) -> list[tuple[str, bytes, bytes, int]]:
    return [(name, content, deflated(content), zipfile.ZIP_DEFLATED) for name, content in contents.items()]


def read(path: Path, most: int = 1 << 20) -> dict[str, bytes]:
    with opened(path, lambda name: most) as file:
        return {name: file.read(name) for name in file.members}


def refused(path: Path, content: bytes | None = None) -> str:
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(path)
    return str(caught.value)


def changed(content: bytes, at: int, size: int, by: int) -> bytes:
    """One field, little-endian, is larger by a number."""
    value = (int.from_bytes(content[at : at + size], "little") + by) % (1 << 8 * size)
    return content[:at] + value.to_bytes(size, "little") + content[at + size :]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return raw_zip(tmp_path / "x.zip", members())


def test_what_is_written_is_read_back_and_is_the_same_every_time(tmp_path, path):
    write(tmp_path / "w.zip", CONTENTS.items())
    assert read(tmp_path / "w.zip") == read(path) == CONTENTS
    with zipfile.ZipFile(tmp_path / "w.zip") as file:
        for info in file.infolist():
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
            assert (info.create_system, info.compress_type) == (3, zipfile.ZIP_DEFLATED)
            assert info.external_attr == (stat.S_IFREG | 0o644) << 16
            assert info.compress_size == len(deflated(CONTENTS[info.filename])), "level 6"


@pytest.mark.parametrize("by", [1, -1])
@pytest.mark.parametrize("field", LOCAL)
def test_the_head_of_a_member_says_what_the_table_of_contents_says(path, field, by):
    at, size = LOCAL[field]
    content = path.read_bytes()
    for member in (0, content.index(b"PK\x03\x04", 4)):
        said = refused(path, changed(content, member + at, size, by))
        assert "hidden before or in its head" in said or (member == 0 and "no zip archive" in said), said


def test_the_name_in_the_head_of_a_member_is_that_of_the_table_of_contents(path):
    content = path.read_bytes()
    assert "in its head" in refused(path, content.replace(b"b.txt", b"c.txt", 1))
    assert "in its head" in refused(path, content.replace(b"b.txt", b"B.txt", 1))


def test_versions_and_times_in_the_head_of_a_member_may_be_any(path):
    content = path.read_bytes()
    for at in (4, 10, 12):
        path.write_bytes(changed(content, at, 2, 1))
        assert read(path) == CONTENTS


@pytest.mark.parametrize("by", [1, -1])
@pytest.mark.parametrize("field", END)
def test_the_end_record_says_what_is_there(path, field, by):
    at, size = END[field]
    content = path.read_bytes()
    said = refused(path, changed(content, len(content) - 22 + at, size, by))
    if field in ("length", "start"):
        assert "something before, between or behind" in said, said
    else:
        assert "cut off, or has a comment or several parts" in said, said


@pytest.mark.parametrize("field", [{"here": 0xFFFF}, {"length": 0xFFFFFFFF}, {"start": 0xFFFFFFFF}])
def test_zip64_is_refused_by_its_marks(path, field):
    content = path.read_bytes()
    _, _, _, here, _, length, start, _ = struct.unpack("<4s4H2LH", content[-22:])
    here, length, start = field.get("here", here), field.get("length", length), field.get("start", start)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, here, here, length, start, 0)
    assert "a ZIP64 archive" in refused(path, content[:-22] + end)


def test_zip64_is_refused_by_its_locator(path):
    content = path.read_bytes()
    locator = b"PK\x06\x07" + bytes(16)
    assert "a ZIP64 archive" in refused(path, content[:-22] + locator + content[-22:])
    assert "before, between or behind" in refused(path, content[:-22] + b"PK\x06\x08" + bytes(16) + content[-22:])


def test_bounds_are_those_of_the_documentation():
    assert archive.MOST_MEMBERS == 65_000
    assert archive.MOST_DIRECTORY == 16 * 2**20
    assert archive.MOST_TOTAL == 8 * 2**30


@pytest.mark.parametrize(("name", "at", "said"), [
    ("MOST_MEMBERS", 2, "2 members and"), ("MOST_DIRECTORY", 2 * 46 + 10, "102 bytes of contents"),
    ("MOST_TOTAL", 231, "at most 230 bytes inside, its headers announce 231"),
])  # fmt: skip
def test_at_the_bound_an_archive_is_read_and_one_beyond_it_is_refused(path, monkeypatch, name, at, said):
    monkeypatch.setattr(archive, name, at)
    assert read(path) == CONTENTS
    monkeypatch.setattr(archive, name, at - 1)
    assert said in refused(path)


def test_no_more_members_are_written_than_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MOST_MEMBERS", 2)
    write(tmp_path / "two.zip", CONTENTS.items())
    with pytest.raises(DataError, match="expected at most 2 files"):
        write(tmp_path / "three.zip", [*CONTENTS.items(), ("c", b"")])
    assert not (tmp_path / "three.zip").exists()


def test_a_member_may_be_as_large_as_its_limit_says(path):
    assert read(path, most=220) == CONTENTS
    with pytest.raises(DataError, match=r"'a\.txt' may have 219 bytes, its header announces 220"):
        read(path, most=219)
    with (
        pytest.raises(DataError, match=r"'b\.txt' does not belong into a bundle"),
        opened(path, lambda name: None if name == "b.txt" else 220),
    ):
        pass


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a/../b", "leads out"), ("..", "leads out"), ("/a", "leads out"), ("a\\b", "leads out"), ("c:/b", "leads out"),
        ("a\0b", "holds what no name may hold"), ("a..b", None), ("a/c:b", None), ("a/b", None), ("a" * 90, None),
    ],
)  # fmt: skip
def test_a_name_stays_inside_the_bundle(tmp_path, name, said):
    path = raw_zip(tmp_path / "x.zip", [(name, b"x", b"x", zipfile.ZIP_STORED)])
    if said:
        assert said in refused(path)
    else:
        assert read(path) == {name: b"x"}


FLAGS, METHOD, MODE = 8, 10, 38  # in the table of contents; flags and method stand in the head of the member too


@pytest.mark.parametrize(
    ("at", "value", "said"),
    [
        (FLAGS, 0x1, "is encrypted or packed in another way"),
        (FLAGS, 0x8, "hidden before or in its head"),
        (FLAGS, 0x800, None),
        (METHOD, 9, "is encrypted or packed in another way"),
        (MODE, 0, None),
        (MODE, (stat.S_IFREG | 0o777) << 16, None),
        (MODE, (stat.S_IFLNK | 0o777) << 16, "is a link or no plain file"),
        (MODE, (stat.S_IFDIR | 0o755) << 16, "is a link or no plain file"),
    ],
)
def test_a_member_is_a_plain_file(tmp_path, at, value, said):
    path = raw_zip(tmp_path / "x.zip", members({"a": b"bytes"}))
    content = path.read_bytes()
    directory = content.index(b"PK\x01\x02")
    size = 4 if at == MODE else 2
    content = content[: directory + at] + value.to_bytes(size, "little") + content[directory + at + size :]
    if at != MODE:
        content = content[: at - 2] + value.to_bytes(2, "little") + content[at:]
    path.write_bytes(content)
    if said:
        assert said in refused(path)
    else:
        assert read(path) == {"a": b"bytes"}


def test_a_name_outside_ascii_says_that_it_is_in_utf8(tmp_path):
    path = raw_zip(tmp_path / "x.zip", members({"é": b"bytes"}))
    content = bytearray(path.read_bytes())
    lengths = content.index(b"PK\x01\x02")
    for at, value in ((26, 2), (lengths + 28, 2)):  # two bytes of UTF-8
        content[at : at + 2] = value.to_bytes(2, "little")
    end = len(content) - 22 + 12
    content[end : end + 4] = (46 + 2).to_bytes(4, "little")
    assert "is not in UTF-8" in refused(path, bytes(content))
    for at in (6, lengths + 8):
        content[at : at + 2] = (0x800).to_bytes(2, "little")
    path.write_bytes(bytes(content))
    assert read(path) == {"é": b"bytes"}


EMPTY = b"\0\0\0\xff\xff"  # a block of a deflate stream that holds nothing, five bytes long


def stored_block(content: bytes) -> bytes:
    return b"\1" + struct.pack("<2H", len(content), 0xFFFF - len(content)) + content


@pytest.mark.parametrize(
    ("size", "blocks", "is_sound"),
    [(0, 11, True), (999, 11, True), (999, 12, False), (1000, 12, True), (1000, 13, False), (6004, 13, True)],
)
def test_a_stream_is_longer_than_its_content_by_64_bytes_and_a_thousandth_at_most(tmp_path, size, blocks, is_sound):
    content = b"x" * size
    packed = EMPTY * blocks + stored_block(content)
    assert zlib.decompress(packed, -15) == content
    path = raw_zip(tmp_path / "x.zip", [("a", content, packed, zipfile.ZIP_DEFLATED)])
    if is_sound:
        assert read(path) == {"a": content}
    else:
        assert "hidden before or in its head" in refused(path)


def test_a_stored_member_is_as_long_as_it_says(tmp_path):
    for packed in (b"12345", b"123"):
        path = raw_zip(tmp_path / "x.zip", [("a", b"1234", packed, zipfile.ZIP_STORED)])
        assert "hidden before or in its head" in refused(path)


@pytest.mark.parametrize(("by", "said"), [(1, "it is shorter than its header"), (-1, "it is longer than its header")])
def test_a_size_that_lies_in_both_heads_is_told(tmp_path, by, said):
    path = raw_zip(tmp_path / "x.zip", members({"a": b"bytes" * 9}))
    content = path.read_bytes()
    directory = content.index(b"PK\x01\x02")
    content = changed(changed(content, 22, 4, by), directory + 24, 4, by)
    assert said in refused(path, content)


def test_damage_of_a_stream_is_told(tmp_path):
    content = b"bytes" * 9
    good = deflated(content)
    other = zlib.crc32(b"other")
    for packed, said in (
        (good[:-1], "its stream is cut off"),
        (good + b"x", "something is hidden behind its stream"),
        (b"\7" + good, "it is damaged"),
    ):
        path = raw_zip(tmp_path / "x.zip", [("a", content, packed, zipfile.ZIP_DEFLATED)])
        assert said in refused(path)
    path = raw_zip(tmp_path / "x.zip", [("a", content, good, zipfile.ZIP_DEFLATED)])
    spoiled = path.read_bytes().replace(struct.pack("<L", zlib.crc32(content)), struct.pack("<L", other))
    assert "its checksum is another" in refused(path, spoiled)


def test_members_lie_one_behind_the_other(path):
    content = path.read_bytes()
    directory = content.index(b"PK\x01\x02")
    gap = content[:directory] + b"spare" + content[directory:-6] + struct.pack("<L", directory + 5) + content[-2:]
    assert "something is hidden behind its members" in refused(path, gap)
    short = content[: directory - 1] + content[directory:-6] + struct.pack("<L", directory - 1) + content[-2:]
    assert "Pack the bundle" in refused(path, short)
    second = content.index(b"PK\x01\x02", directory + 4)
    for by in (1, -1, -content.index(b"PK\x03\x04", 4)):
        assert "overlaps with another member" in refused(path, changed(content, second + 42, 4, by))
    with pytest.raises(DataError, match=r"a\.txt is in it twice"):
        read(raw_zip(path, [*members(), *members()[:1]]))


def test_what_is_too_short_is_no_archive(path):
    content = path.read_bytes()
    for short in (b"", b"PK\3\4", content[-22:], content[-21:], b"PK\3\4" + bytes(17)):
        assert "a file that is no zip archive" in refused(path, short)
    assert "cut off" in refused(path, b"PK\3\4" + bytes(18))
    fewer = content[:-14] + struct.pack("<2H", 1, 1) + content[-10:]
    assert "a table of contents with more members than it announces" in refused(path, fewer)
