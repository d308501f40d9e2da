from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovsbench.benchmark import manifest
from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.labels.manifest_check import check
from ovsbench.benchmark.labels.manifest_writer import BenchmarkWriter
from ovsbench.benchmark.storage import rle
from ovsbench.benchmark.storage.files import json_line
from ovsbench.benchmark.storage.track_extents import Extent, matchable
from ovsbench.benchmark.storage.track_store import TRACKS, TrackFolder, TrackWriter, around_masks
from ovsbench.benchmark.types import Category, InstanceTrack, PanopticFrame, Rules, Segment, Vocabulary

LEFT = rle.encode(np.array([[True, False], [True, False]]))
TOP = rle.encode(np.array([[True, True], [False, False]]))
WORDS = Vocabulary((Category(4, "dog", True), Category(2, "cat", True, is_novel=True)))
ONE = InstanceTrack(1, 4, (LEFT, None, TOP), 0.25)
TWO = InstanceTrack(7, 2, (TOP, LEFT, None), 0.75, is_crowd=True, area=2.5)


def write(folder: Path, *tracks: InstanceTrack) -> TrackFolder:
    with TrackWriter(folder, "a", (2, 2), 3, WORDS) as writer:
        for track in tracks:
            writer.add(track)
    found = TrackFolder(folder)
    assert found.digest == writer.digest
    return found


def test_tracks_come_back_as_they_were_written_and_in_their_order(tmp_path):
    found = write(tmp_path / "a", TWO, ONE)
    assert found.tracks == (TWO, ONE)
    assert (len(found), found.size, found.video_id) == (3, (2, 2), "a")
    found.verify()
    assert found.decoded().masks.areas.tolist() == [[2, 2, 0], [2, 0, 2]]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [TRACKS, "video.json"]


def test_a_line_is_the_json_of_a_track_also_where_letters_need_an_escape(tmp_path):
    """A mask may have a backslash among its letters."""
    track = InstanceTrack(3, 7, (rle.compress([44, 6, 50]), None, rle.compress([0, 100])), 0.5)
    assert "\\" in str(track.masks[0])
    with TrackWriter(tmp_path / "v", "v", (5, 20), 3, Vocabulary((Category(7, "dog", True),))) as writer:
        writer.add(track)
    line = (tmp_path / "v" / TRACKS).read_text()
    written = json.loads(line)
    extent = {"pixels": 106, "shown": 2, "box": [0, 0, 5, 20]}
    assert written == {**asdict(track), **extent, "masks": list(track.masks)}
    assert line == json_line(written)


def test_a_video_may_have_no_track(tmp_path):
    assert write(tmp_path / "a").tracks == ()


def test_a_picture_shows_the_higher_score_where_tracks_overlap(tmp_path):
    frame = write(tmp_path / "a", ONE, TWO).frame(0)
    assert frame.ids.tolist() == [[7, 7], [1, 0]]
    assert frame.segments == {1: Segment(1, 4, 0.25), 7: Segment(7, 2, 0.75, is_crowd=True)}


def test_the_same_tracks_make_the_same_bytes(tmp_path):
    assert write(tmp_path / "a", ONE, TWO).digest == write(tmp_path / "b", ONE, TWO).digest
    assert write(tmp_path / "a", TWO, ONE).digest != TrackFolder(tmp_path / "b").digest


@pytest.mark.parametrize(
    ("track", "words"),
    [
        (replace(ONE, id=0), "ids from 1"),
        (replace(TWO, id=1), "came before"),
        (replace(TWO, category=5), "category 5, which the vocabulary lacks"),
        (replace(TWO, masks=(LEFT,)), "expected 3 masks, one for each frame, got 1"),
        (replace(TWO, score=float("nan")), "score of at least 0, got nan"),
        (replace(TWO, score=-0.5), "score of at least 0, got -0.5"),
        (replace(TWO, masks=(None, None, "23")), "track 7, frame 2: expected run lengths of 2x2 = 4 pixels, got 5"),
    ],
)
def test_a_track_that_cannot_be_is_refused_and_nothing_stays(tmp_path, track, words):
    with pytest.raises(DataError, match=words):
        write(tmp_path / "a", ONE, track)
    assert list(tmp_path.iterdir()) == []


def line(**changes: object) -> str:
    row = {"id": 1, "category": 4, "score": 0.5, "is_crowd": False, "area": None, "masks": [LEFT, None, TOP]}
    return json.dumps({**row, **changes}) + "\n"


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[" * 10_000,
        line(masks=[LEFT, None]),
        line(masks=[LEFT, None, 5]),
        line(masks=[LEFT, None, "23"]),
        line(masks=7),
        line(id="x"),
        line() + line(),
        "",
    ],
)
def test_a_damaged_file_is_refused(tmp_path, content):
    write(tmp_path / "a", ONE)
    (tmp_path / "a" / TRACKS).write_text(content)
    with pytest.raises(DataError, match=r"tracks.jsonl \(video a\): expected the tracks of a video"):
        TrackFolder(tmp_path / "a").decoded()
    with pytest.raises(DataError, match="changed since"):
        TrackFolder(tmp_path / "a").verify()


def test_pixels_that_the_masks_do_not_have_are_found_when_these_are_decoded(tmp_path):
    write(tmp_path / "a", ONE)
    for lie, whole in (({"pixels": 5, "shown": 2}, "track 1 has 4 pixels"), ({"pixels": 9, "shown": 2}, "more pixels")):
        (tmp_path / "a" / TRACKS).write_text(line(**lie))
        with pytest.raises(DataError, match=whole):
            TrackFolder(tmp_path / "a").decoded()


def test_a_file_of_before_pixels_were_written_is_decoded_whole(tmp_path):
    write(tmp_path / "a", ONE)
    (tmp_path / "a" / TRACKS).write_text(line())
    assert TrackFolder(tmp_path / "a").decoded([]).masks.areas.tolist() == [[2, 0, 2]]


def test_only_tracks_of_one_category_and_like_size_can_match(tmp_path):
    large = replace(ONE, id=2, masks=("04", None, None))
    half, third, other = (
        replace(ONE, id=3, masks=(LEFT, None, None)),
        replace(ONE, id=4, masks=("013", None, None)),
        replace(TWO, id=5, masks=("04", None, None)),
    )
    truth, found = write(tmp_path / "a", large), write(tmp_path / "b", half, third, other)
    assert matchable(found.described, truth.described) == {3}
    assert matchable(truth.described, found.described) == {2}
    decoded = found.decoded({3})
    assert decoded.mean_areas.tolist() == [2, 1, 4]
    assert [len(tube) for tube in decoded.masks.tubes] == [2, 0, 0]


def test_a_description_without_its_numbers_is_refused(tmp_path):
    write(tmp_path / "a", ONE)
    (tmp_path / "a/video.json").write_text('{"schema": 1}')
    with pytest.raises(DataError, match="expected video, frames, tracks, size and sha256"):
        TrackFolder(tmp_path / "a")


def test_a_number_of_frames_that_cannot_be_is_refused(tmp_path):
    write(tmp_path / "a", ONE)
    facts = json.loads((tmp_path / "a/video.json").read_text())
    (tmp_path / "a/video.json").write_text(json.dumps({**facts, "frames": 10**30}))
    with pytest.raises(DataError, match="expected video, frames, tracks, size and sha256"):
        TrackFolder(tmp_path / "a")


def build(folder: Path, *, task: str = "instance", role: str = "benchmark") -> BenchmarkWriter:
    return BenchmarkWriter(
        folder,
        name="toy",
        version="1",
        source=manifest.Source("toy"),
        rules=Rules(task=task),
        vocabulary=WORDS,
        image_root=".",
        role=role,
    )


def test_an_instance_benchmark_keeps_its_tracks(tmp_path):
    with build(tmp_path / "data") as writer, writer.tracks("a", (2, 2), ["0.jpg", "1.jpg", "2.jpg"]) as labels:
        labels.add(ONE)
        labels.add(TWO)
    benchmark = manifest.load(tmp_path / "data")
    assert benchmark.rules.task == "instance"
    assert benchmark.truth_tracks("a").tracks == (ONE, TWO)
    assert benchmark.truth("a", 0).ids.tolist() == [[7, 7], [1, 0]]
    assert check(benchmark, images=False) == []
    with pytest.raises(DataError, match="tracks that may overlap, no frames"):
        benchmark.truth_frames("a")


def test_a_stopped_build_of_tracks_goes_on(tmp_path):
    with pytest.raises(KeyboardInterrupt), build(tmp_path / "data") as writer:
        with writer.tracks("a", (2, 2), ["0.jpg", "1.jpg", "2.jpg"]) as labels:
            labels.add(ONE)
        raise KeyboardInterrupt
    with build(tmp_path / "data") as writer:
        assert writer.has_labels("a", (2, 2), ["0.jpg", "1.jpg", "2.jpg"])
    assert manifest.load(tmp_path / "data").truth_tracks("a").tracks == (ONE,)


def test_tracks_and_frames_are_not_taken_for_one_another(tmp_path):
    with pytest.raises(DataError, match="takes tracks, no frames"), build(tmp_path / "a") as writer:
        writer.video("a", (2, 2), ["0.jpg"])
    with (
        pytest.raises(DataError, match="only a labelled"),
        build(tmp_path / "b", task="semantic") as one,
    ):
        one.tracks("a", (2, 2), ["0.jpg"]).__enter__()
    with build(tmp_path / "c", task="panoptic") as writer, writer.video("a", (2, 2), ["0.jpg"]) as labels:
        labels.add(PanopticFrame(np.zeros((2, 2), np.uint32)))
    with pytest.raises(DataError, match="holds frames, no tracks"):
        manifest.load(tmp_path / "c").truth_tracks("a")


def test_tracks_whose_boxes_lie_apart_cannot_match(tmp_path):
    left, right = (replace(ONE, masks=(rle.encode(np.array([row] * 2, bool)), None, None)) for row in ([1, 0], [0, 1]))
    both = write(tmp_path / "a", left), write(tmp_path / "b", right)
    assert [folder.described[1] for folder in both] == [(Extent(2, 1, (0, 0, 2, 1)),), (Extent(2, 1, (0, 1, 2, 2)),)]
    assert matchable(both[0].described, both[1].described) == set()
    assert matchable(both[0].described, both[0].described) == {1}


@given(st.lists(st.lists(st.booleans(), min_size=24, max_size=24), min_size=2, max_size=2))
def test_a_box_holds_every_pixel_of_a_track_and_no_more(rows):
    masks = np.array(rows).reshape(2, 4, 6)
    tracks = rle.read_tracks([[rle.encode(mask) for mask in masks]], (4, 6), 2)
    extent = Extent.of(tracks.tubes[0], tracks.areas[0].tolist(), (4, 6))
    down, right = np.flatnonzero(masks.any(axis=(0, 2))), np.flatnonzero(masks.any(axis=(0, 1)))
    assert extent[:2] == (masks.sum(), masks.any(axis=(1, 2)).sum())
    top, left, bottom, end = extent.box
    if masks.any():
        assert top <= down[0] <= down[-1] < bottom <= 4
        assert left <= right[0] <= right[-1] < end <= 6
        apart = tracks.tubes[0][0::2] // 4 == (tracks.tubes[0][1::2] - 1) // 4
        if apart.all():  # a run over two columns counts as high as the frame
            assert extent.box == (down[0], right[0], down[-1] + 1, right[-1] + 1)


def test_a_box_that_the_masks_do_not_have_is_found_when_all_are_decoded(tmp_path):
    write(tmp_path / "a", ONE)
    (tmp_path / "a" / TRACKS).write_text(line(pixels=4, shown=2, box=[0, 0, 2, 2]))
    TrackFolder(tmp_path / "a").decoded()
    (tmp_path / "a" / TRACKS).write_text(line(pixels=4, shown=2, box=[0, 0, 1, 2]))
    with pytest.raises(DataError, match=r"4 pixels in \(0, 0, 2, 2\), but says"):
        TrackFolder(tmp_path / "a").decoded()


@given(
    st.one_of(st.floats(0, 1e300), st.integers(0, 9)),
    st.one_of(st.none(), st.floats(0, 1e9)),
    st.booleans(),
    st.one_of(st.none(), st.tuples(*[st.integers(0, 99)] * 4)),
)
def test_the_line_of_a_track_is_canonical_json(score, area, is_crowd, box):
    extent = Extent(7, 2, box)
    head, tail = around_masks(InstanceTrack(3, 5, (), score, is_crowd, area), extent)
    track = {"id": 3, "category": 5, "score": score, "is_crowd": is_crowd, "area": area, "masks": ["04", None]}
    assert head + b'"04",null' + tail == json_line({**track, **extent._asdict()}).encode()
