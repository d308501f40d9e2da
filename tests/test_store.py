from __future__ import annotations

import errno
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovsbench.benchmark.errors import BusyError, DataError
from ovsbench.benchmark.storage import files
from ovsbench.benchmark.storage.store import FrameFolder, VideoWriter
from ovsbench.benchmark.types import PanopticFrame, Segment

SIZE = (4, 6)


def frame(values: list[int], **segment: float) -> PanopticFrame:
    ids = np.zeros(SIZE, dtype=np.uint32)
    ids.flat[: len(values)] = values
    return PanopticFrame(ids, {key: Segment(key, key % 3, **segment) for key in set(values) - {0}})


def write(folder: Path, frames: list[PanopticFrame]) -> FrameFolder:
    with VideoWriter(folder, "street", SIZE) as video:
        for one in frames:
            video.add(one)
    return FrameFolder(folder)


def same(left: PanopticFrame, right: PanopticFrame) -> bool:
    return left.ids.dtype == right.ids.dtype and (left.ids == right.ids).all() and left.segments == right.segments


plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
nested = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=30
)


@given(nested)
@settings(max_examples=200, deadline=None)
def test_json_with_indents_is_what_json_of_python_writes(value):
    for one in (value, [value, {"again": value}, value]):  # what is in several places is written once
        assert files.indented_json(one) == json.dumps(one, sort_keys=True, indent=1, ensure_ascii=False)


id_lists = st.lists(
    st.lists(st.sampled_from([0, 1, 2, 7, 300, 70_000, (1 << 32) - 1]), max_size=24), min_size=1, max_size=4
)


@given(id_lists)
@settings(max_examples=25, deadline=None)
def test_what_was_written_is_read(tmp_path_factory, videos):
    frames = [frame(values, score=0.1) for values in videos]
    stored = write(tmp_path_factory.mktemp("store") / "street", frames)
    assert len(stored) == len(frames)
    assert all(same(left, right) for left, right in zip(stored, frames, strict=True))
    for index, one in enumerate(frames):
        numbers, segments = stored.dense(index)
        assert (np.array([0, *(s.id for s in segments)], dtype=np.uint32)[numbers] == one.ids).all()
    stored.verify()


def test_crowds_and_scores_are_kept_exactly(tmp_path):
    one = PanopticFrame(
        np.full(SIZE, 5, dtype=np.uint32), {5: Segment(5, 2, score=float(np.float32(0.1)), is_crowd=True)}
    )
    assert same(write(tmp_path / "street", [one]).frame(0), one)


def test_the_same_frames_give_the_same_bytes(tmp_path):
    frames = [frame([1, 2, 300]), frame([2])]
    assert write(tmp_path / "a", frames).digest == write(tmp_path / "b", frames).digest
    assert write(tmp_path / "c", frames[::-1]).digest != write(tmp_path / "b", frames).digest


def test_a_person_can_open_a_frame_and_a_track_keeps_its_colour(tmp_path):
    write(tmp_path / "street", [frame([0, 9, 4]), frame([7, 4, 0])])
    colours = []
    for name in ("00000.png", "00001.png"):
        with PIL.Image.open(tmp_path / "street" / name) as image:
            assert image.mode == "P"
            colours.append([image.convert("RGB").getpixel((x, 0)) for x in range(3)])
    assert colours[0][2] == colours[1][1]
    assert colours[0][0] == colours[1][2] == (0, 0, 0)


def test_late_tracks_of_a_long_video_still_fit_eight_bits(tmp_path):
    frames = [frame([1, key]) for key in range(2, 600)]
    stored = write(tmp_path / "street", frames)
    assert all(same(left, right) for left, right in zip(stored, frames, strict=True))
    with PIL.Image.open(tmp_path / "street" / "00597.png") as image:
        assert image.mode == "P"


def test_a_frame_of_more_than_255_segments_is_grey_of_sixteen_bits(tmp_path):
    ids = np.arange(1, 601, dtype=np.uint32).reshape(20, 30)
    one = PanopticFrame(ids, {int(key): Segment(int(key), 1) for key in ids.ravel()})
    with VideoWriter(tmp_path / "street", "street", (20, 30)) as video:
        video.add(one)
    assert same(FrameFolder(tmp_path / "street").frame(0), one)
    assert FrameFolder(tmp_path / "street").dense(0).numbers.max() == 600


def test_an_error_leaves_nothing_and_an_older_video_whole(tmp_path):
    write(tmp_path / "street", [frame([1])])
    with pytest.raises(ZeroDivisionError), VideoWriter(tmp_path / "street", "street", SIZE) as video:
        video.add(frame([2]))
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["street"]
    assert list(FrameFolder(tmp_path / "street").frame(0).segments) == [1]


def test_writing_again_replaces_the_video(tmp_path):
    write(tmp_path / "street", [frame([1]), frame([1])])
    assert len(write(tmp_path / "street", [frame([2])])) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["street"]
    assert not (tmp_path / "street" / "00001.png").exists()


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (PanopticFrame(np.zeros((3, 3), np.uint32)), "expected 6x4 pixels, got 3x3"),
        (PanopticFrame(np.full(SIZE, 3, np.uint32)), "these have none: [3]"),
        (PanopticFrame(np.zeros(SIZE, np.uint32), {8: Segment(8, 1)}), "segments without a pixel: [8]"),
    ],
)
def test_a_frame_that_is_no_frame_is_refused(tmp_path, bad, sentence):
    with pytest.raises(DataError) as caught, VideoWriter(tmp_path / "street", "street", SIZE) as video:
        video.add(bad)
    assert sentence in str(caught.value)
    assert "video street, frame 0" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch):
    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DataError, match="No space left on device") as caught:
        with VideoWriter(tmp_path / "street", "street", SIZE) as video:
            monkeypatch.setattr(Path, "write_bytes", full)
            video.add(frame([1]))
    assert str(tmp_path / "street") in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_folder_without_its_description_is_no_video(tmp_path):
    write(tmp_path / "street", [frame([1])])
    (tmp_path / "street" / "video.json").unlink()
    with pytest.raises(DataError, match=r"video\.json: expected the description of a video's masks"):
        FrameFolder(tmp_path / "street")


@pytest.mark.parametrize("damage", ["missing", "cut", "text", "other size", "colour", "other value"])
def test_a_damaged_frame_is_named(tmp_path, damage):
    stored = write(tmp_path / "street", [frame([1]), frame([1, 2])])
    path = tmp_path / "street" / "00001.png"
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(data[:-30])
    elif damage == "text":
        path.write_text("no image at all, but long enough for a header")
    elif damage == "other size":
        PIL.Image.new("L", (7, 7)).save(path)
    elif damage == "colour":
        PIL.Image.new("RGB", (6, 4)).save(path)
    else:
        PIL.Image.new("L", (6, 4), 77).save(path)
    for read in (stored.frame, stored.dense):
        with pytest.raises(DataError, match=r"00001\.png \(video street, frame 1\)"):
            read(1)
    with pytest.raises(DataError):
        stored.verify()
    assert list(stored.frame(0).segments) == [1]


def test_a_picture_that_claims_to_be_huge_is_not_unpacked(tmp_path):
    stored = write(tmp_path / "street", [frame([1])])
    header = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (tmp_path / "street" / "00000.png").write_bytes(bomb)
    with pytest.raises(DataError, match="100000x100000 pixels, not 6x4"):
        stored.frame(0)


@pytest.mark.parametrize("line", ["", "{}\n", '{"segments": [[1, 1]]}\n', '{"segments": [[900, 1, 1, 1.0]]}\n', "x\n"])
def test_a_damaged_list_of_segments_is_named(tmp_path, line):
    write(tmp_path / "street", [frame([1])])
    (tmp_path / "street" / "segments.jsonl").write_text(line)
    with pytest.raises(DataError, match=r"segments\.jsonl \(video street"):
        FrameFolder(tmp_path / "street").frame(0)


def test_changed_bytes_do_not_verify(tmp_path):
    stored = write(tmp_path / "street", [frame([1, 2])])
    path = tmp_path / "street" / "segments.jsonl"
    path.write_text(path.read_text().replace("[1,1,1,", "[1,1,2,"))
    with pytest.raises(DataError, match="changed since they were written"):
        stored.verify()


def test_json_of_a_later_schema_asks_for_an_update(tmp_path):
    (tmp_path / "a.json").write_text('{"schema": 99}')
    with pytest.raises(DataError, match=r"got schema 99\. Update ovsbench"):
        files.read_json(tmp_path / "a.json", "a thing")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema": "1"}', "\udcff"])
def test_json_that_is_none_of_ours_is_refused(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(DataError, match="expected a thing"):
        files.read_json(tmp_path / "a.json", "a thing")


def test_json_has_sorted_keys_and_leaves_no_second_file(tmp_path):
    files.write_json(tmp_path / "a.json", {"schema": 1, "b": 1, "a": None})
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert list(json.loads((tmp_path / "a.json").read_text())) == ["a", "b", "schema"]
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "a.json", {"schema": 1, "a": float("nan")})


def test_a_line_that_a_crash_cut_off_is_dropped(tmp_path):
    path = tmp_path / "a.jsonl"
    assert list(files.read_lines(path)) == []
    files.append_line(path, {"n": 1})
    with path.open("a") as file:
        file.write('{"n": 2')
    assert list(files.read_lines(path)) == [{"n": 1}]
    files.append_line(path, {"n": 3})
    assert list(files.read_lines(path)) == [{"n": 1}, {"n": 3}]
    path.write_text('{"n": 2')
    files.append_line(path, {"n": 4})
    assert list(files.read_lines(path)) == [{"n": 4}]


def test_a_second_process_is_told_who_works_here(tmp_path):
    script = "import sys; from pathlib import Path; from ovsbench.benchmark.storage.files import folder_lock\n"
    script += "with folder_lock(Path(sys.argv[1])): print('in', flush=True); sys.stdin.read()"
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "in\n"
        with pytest.raises(BusyError, match=rf"another process \(pid {child.pid}\)"), files.folder_lock(tmp_path):
            pass
        child.kill()
        child.wait()
    with files.folder_lock(tmp_path):  # a killed process leaves no lock behind
        pass


def test_shared_locks_go_together_and_keep_an_exclusive_one_out(tmp_path):
    with files.folder_lock(tmp_path, shared=True), files.folder_lock(tmp_path, shared=True):
        with pytest.raises(BusyError), files.folder_lock(tmp_path):
            pass
