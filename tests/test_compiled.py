"""What numba compiles gives the bits that numpy, Pillow and libspng give."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest

from ovsbench.bench.score_bench import VOCABULARY, scene
from ovsbench.benchmark import compiled, frame_loops, panoptic
from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.metrics.vc import Vc
from ovsbench.benchmark.panoptic import DenseFrame, dense_of_rgb, ids_to_rgb, overlap_dense
from ovsbench.benchmark.storage import png_loop
from ovsbench.benchmark.storage.image_files import BROKEN
from ovsbench.benchmark.storage.label_png import decode_rgb, dense_of_png, read_ids
from ovsbench.benchmark.storage.store import FrameFolder, VideoWriter
from ovsbench.benchmark.types import Rules, Segment

pytest.importorskip("numba")
LOOPS = (frame_loops.PAIRS, frame_loops.TRIPLES, png_loop.NUMBER, png_loop.UNFILTER)
COMPILED = {loop: compiled.Loop(loop._function, after=0).ready(1) for loop in LOOPS}


@pytest.fixture
def loops(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Makes numba do all, or nothing."""

    def choose(is_compiled: bool) -> None:
        for loop in LOOPS:
            ready = COMPILED[loop] if is_compiled else None
            monkeypatch.setattr(loop, "ready", lambda work, ready=ready: ready)

    return choose


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(pixels: np.ndarray, filters: np.ndarray) -> bytes:
    """A PNG of colours whose lines have the given filters, written from the definition."""
    height, width, _ = pixels.shape
    flat = pixels.reshape(height, -1).astype(int)
    lines = []
    for y in range(height):
        line = bytearray([filters[y]])
        for x in range(flat.shape[1]):
            left = flat[y, x - 3] if x >= 3 else 0
            up = flat[y - 1, x] if y else 0
            corner = flat[y - 1, x - 3] if y and x >= 3 else 0
            guess = left + up - corner
            paeth = min((abs(guess - left), 0, left), (abs(guess - up), 1, up), (abs(guess - corner), 2, corner))[2]
            line.append((flat[y, x] - (0, left, up, (left + up) // 2, paeth)[filters[y]]) % 256)
        lines.append(bytes(line))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"".join(lines))) + chunk(b"IEND", b"")


def test_every_filter_of_a_png_is_undone(loops):
    pytest.importorskip("imagecodecs")
    rng = np.random.default_rng(0)
    for size in ((1, 1), (5, 1), (1, 7), (23, 19)):
        pixels = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
        pixels[::2] //= 100
        data = png(pixels, rng.integers(0, 5, size[0]))
        loops(True)
        plain = png_loop.decode_plain(data)
        assert plain is not None
        assert np.array_equal(plain.pixels, pixels)
        loops(False)
        assert png_loop.decode_plain(data) is None
        assert np.array_equal(decode_rgb(data), pixels)


def test_a_png_that_is_not_plain_or_is_damaged_is_left_to_the_other_readers(loops):
    pytest.importorskip("imagecodecs")
    loops(True)
    pixels = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    whole = png(pixels, np.zeros(4, dtype=int))
    begin = whole.index(b"IDAT")
    transparent = whole[: begin - 4] + chunk(b"tRNS", bytes(6)) + whole[begin - 4 :]
    too_long = whole[:33] + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    unknown = whole[:33] + chunk(b"IDAT", zlib.compress(b"\x07".ljust(16, b"\0") * 4)) + chunk(b"IEND", b"")
    flipped = bytearray(whole)
    flipped[begin + 8] ^= 1
    for data in (transparent, too_long, unknown, bytes(flipped), whole[:-12], whole[:-30]):
        assert png_loop.decode_plain(data) is None
    for broken in (unknown, bytes(flipped), whole[:-30]):
        with pytest.raises((OSError, SyntaxError, ValueError)):
            decode_rgb(broken)


def test_files_with_parts_that_readers_see_differently_are_refused_alike(loops):
    pytest.importorskip("imagecodecs")
    pixels = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    whole = png(pixels, np.arange(4))
    start, end = whole.index(b"IDAT") - 4, whole.index(b"IEND") - 4
    packed = whole[start + 8 : end - 4]
    pieces = [chunk(b"IDAT", packed[:9]), chunk(b"IDAT", packed[9:])]
    before, after = whole[:start], whole[end:]
    large = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 5, 1 << 30, 8, 2, 0, 0, 0))
    odd = {
        "in the pixels": before + chunk(b"tEXt", b"a\0b").join(pieces) + after,
        "too short": before + chunk(b"gAMA", b"123") + whole[start:],
        "an animation": before + chunk(b"acTL", b"123") + whole[start:],
        "no colour profile": before + chunk(b"iCCP", b"") + whole[start:],
        "a header that lies": large + whole[start:],
    }
    said = {}
    for is_compiled in (True, False):
        loops(is_compiled)
        for name, data in odd.items():
            with pytest.raises(BROKEN) as raised:
                decode_rgb(data)
            said.setdefault(name, []).append(str(raised.value))
    assert all(one == other for one, other in said.values()), said
    assert said["no colour profile"][0] == "it is damaged, or no image of the kind PNG"
    loops(True)
    for data in (before + b"".join(pieces) + after, before + chunk(b"gAMA", b"1234") + whole[start:]):
        assert np.array_equal(png_loop.decode_plain(data).pixels, pixels)


def test_frames_are_numbered_and_paired_alike(loops):
    for true, guess in scene(2, (48, 64)):
        found = []
        for is_compiled in (False, True):
            loops(is_compiled)
            frames = [dense_of_rgb(ids_to_rgb(frame.ids), frame.segments) for frame in (true, guess)]
            table = overlap_dense(*frames)
            level = (np.arange(48 * 64) // 7 % 9).astype(np.uint8)
            found.append((frames, table.pixels, table.histogram_with(level, 9)))
            assert (table.known_runs is None) == is_compiled
        for left, right in zip(found[0][0], found[1][0], strict=True):
            assert np.array_equal(left.numbers, right.numbers)
            assert left.numbers.dtype == right.numbers.dtype == np.uint8
            assert left.segments == right.segments
        for number in (1, 2):
            assert np.array_equal(found[0][number], found[1][number])
            assert found[0][number].dtype == found[1][number].dtype


def test_the_ids_of_a_png_are_numbered_alike(loops):
    pytest.importorskip("imagecodecs")
    rng = np.random.default_rng(1)
    for case in range(60):
        size, count = (int(rng.integers(1, 12)), int(rng.integers(1, 40))), int(rng.integers(1, 7))
        known = np.array([0, *sorted(rng.choice(1 << 24, count, replace=False).tolist())], dtype=np.uint32)
        known[1:] = np.sort(known[1:] % (1 << 16) | (known[1:] & 0x30000)) if case % 5 == 0 else known[1:]
        place = rng.integers(0, count + 1, size)
        for axis in range(2):  # runs of some length, as labels have
            place = np.repeat(place, 1 + case % 5, axis=axis).take(np.arange(size[axis]), axis=axis)
        ids = known[place]
        data = png(ids_to_rgb(ids), rng.integers(0, 5, size[0]))
        segments = {key: Segment(key, 0) for key in rng.permutation(known).tolist() if key}
        found = []
        for is_compiled in (False, True):
            loops(is_compiled)
            found.append(dense_of_png(data, segments))
        assert np.array_equal(known[found[1].numbers], ids)
        assert np.array_equal(found[0].numbers, found[1].numbers)
        assert found[0].numbers.dtype == found[1].numbers.dtype == np.uint8
        assert (found[0].segments, found[0].listed) == (found[1].segments, found[1].listed)


@pytest.mark.parametrize("likely", [(1, 70_000, 3), (1,), (), range(1, 600)])
def test_the_ids_of_a_file_are_read_alike_whichever_are_likely(loops, tmp_path, likely):
    pytest.importorskip("imagecodecs")
    ids = np.array([[1, 70_000, 3], [0, 0, 3]], dtype=np.uint32)
    (tmp_path / "a.png").write_bytes(png(ids_to_rgb(ids), np.array([0, 4])))
    for is_compiled in (False, True):
        loops(is_compiled)
        found = read_ids(tmp_path / "a.png", (2, 3), likely)
        assert np.array_equal(found, ids)
        assert found.dtype == np.uint32


def test_an_id_without_a_segment_is_told_in_the_same_words(loops):
    pytest.importorskip("imagecodecs")
    pixels = ids_to_rgb(np.array([[1, 70000, 3]], dtype=np.uint32))
    said = []
    for is_compiled in (False, True):
        loops(is_compiled)
        for kind in range(5):
            with pytest.raises(DataError) as caught:
                dense_of_png(png(pixels, np.array([kind])), {1: Segment(1, 0), 3: Segment(3, 0)})
            said.append(str(caught.value))
    assert len(set(said)) == 1
    assert "70000" in said[0]


def test_a_part_of_a_loop_is_compiled_with_it():
    loop = compiled.Loop(frame_loops.count_pairs, after=0)
    assert loop.ready(1) is not None
    whole = compiled._with_parts(png_loop.number_rows, lambda part: part)
    assert whole.__globals__["_place"] is not png_loop._place
    assert whole.__globals__["_place"](np.array([0, 4, 9]), 4) == 1


def test_numbers_of_more_than_a_byte_are_counted_by_numpy(loops):
    loops(True)
    numbers = np.arange(12, dtype=np.int32).reshape(3, 4)
    frame = DenseFrame(numbers, tuple(Segment(n, 0) for n in range(1, 12)))
    assert np.array_equal(overlap_dense(frame, frame).pixels, np.eye(12, dtype=np.int64))
    assert overlap_dense(frame, frame).known_runs is not None


def test_vc_is_the_same_also_where_a_process_begins_to_compile_half_way(loops):
    found = []
    for choice in ((False,) * 20, (True,) * 20, (False,) * 9 + (True,) * 11):
        accumulator = Vc().start(VOCABULARY, Rules())
        for is_compiled, (true, guess) in zip(choice, scene(20, (24, 32)), strict=True):
            loops(is_compiled)
            frames = panoptic.dense_of_rgb(ids_to_rgb(true.ids), true.segments), panoptic.dense(guess)
            small = DenseFrame(frames[1].numbers.astype(np.uint8), frames[1].segments)
            accumulator.add(frames[0], small, overlap_dense(frames[0], small))
        found.append(accumulator.counts())
    assert found[0] == found[1] == found[2]
    assert found[0].scores(None)["VC@8"] is not None


def test_own_files_are_read_alike(loops, tmp_path):
    pytest.importorskip("imagecodecs")
    with VideoWriter(tmp_path / "v", "v", (48, 64)) as writer:
        for true, _ in scene(2, (48, 64)):
            writer.add(true)
    folder = FrameFolder(tmp_path / "v")
    found = []
    for is_compiled in (False, True):
        loops(is_compiled)
        found.append([folder.dense(index).numbers for index in range(2)])
    assert np.array_equal(*found)
    assert found[0][0].dtype == found[1][0].dtype


def test_without_numba_nothing_is_compiled(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "numba", None)
    assert compiled.Loop(frame_loops.count_pairs, after=0).ready(1) is None
