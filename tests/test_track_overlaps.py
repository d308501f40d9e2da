"""What tracks share, against a count of pixels: by NumPy and by the compiled loop, in parts and at once."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from track_cases import CLASSES, Case, case_of, random_case

from ovsbench.benchmark import compiled
from ovsbench.benchmark.metrics import track_overlaps
from ovsbench.benchmark.storage import rle_loop


def full_frames() -> Case:
    """Runs that go on over the borders of frames: whole frames, last and first pixels, and nothing."""
    frames, size = 5, (3, 4)
    rng = np.random.default_rng(1)
    whole, ends, none = np.ones((frames, *size), bool), np.zeros((frames, *size), bool), np.zeros((frames, *size), bool)
    ends[:, -1, -1] = ends[1:, 0, 0] = True
    late = whole.copy()
    late[:2] = False
    last = none.copy()
    last[-1] = True
    noise = rng.random((3, frames, *size)) < 0.5
    true, predicted = [whole, ends, late, noise[0]], [ends, whole, none, last, noise[1], noise[2], whole]
    return case_of(true, predicted, [5, 2, 5, 9], [5, 2, 2, 9, 5, 7, 9], [0.9, 0.3, 0.9, 0.5, 0.7, 0.3, 0.9])


CASES = [full_frames(), *(random_case(seed) for seed in range(6))]


@pytest.fixture(params=["numpy", "numba"])
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = None
    if request.param == "numba":
        pytest.importorskip("numba")
        ready = compiled.Loop(rle_loop.shared_pixels, after=0).ready(1)
        assert ready is not None
    monkeypatch.setattr(track_overlaps.SHARED, "ready", lambda work: ready)


@pytest.mark.usefixtures("loop")
@pytest.mark.parametrize("chunk", [128, 2])
@pytest.mark.parametrize("case", CASES)
def test_shared_pixels_areas_and_overlaps_are_those_of_the_pixels(case: Case, chunk: int, monkeypatch):
    monkeypatch.setattr(track_overlaps, "CHUNK", chunk)
    video = case.overlaps()
    assert video.frames == case.true_masks.shape[1]
    assert np.array_equal(video.true_areas, case.true_masks.sum((2, 3)))
    assert np.array_equal(video.predicted_areas, case.predicted_masks.sum((2, 3)))
    both = np.einsum("gfhw,pfhw->gpf", case.true_masks.astype(int), case.predicted_masks.astype(int))
    expected = sorted(
        (int(f), int(g), int(p), int(both[g, p, f])) for g, p, f in np.argwhere(both)
    )  # fmt: skip
    rows = [tuple(map(int, row)) for part in video.pairs for row in part.tolist()]
    assert sorted(rows) == expected
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    assert len(list(video.pairs)) == -(-video.frames // chunk)
    either = video.true_areas.sum(1)[:, None] + video.predicted_areas.sum(1)[None] - both.sum(2)
    assert video.ious == pytest.approx(np.where(either > 0, both.sum(2) / np.maximum(either, 1), 1.0))
    for part in video.pairs:
        union = [
            (case.true_masks[row["true"], row["frame"]] | case.predicted_masks[row["predicted"], row["frame"]]).sum()
            for row in part
        ]
        assert video.similarity(part) == pytest.approx(part["shared"] / np.array(union))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("few", "chunk"), [(10**6, 128), (60, 128), (0, 2)])
def test_tables_of_a_choice_of_tracks_are_its_frames_as_often_as_they_are_read(case: Case, few, chunk, monkeypatch):
    monkeypatch.setattr(track_overlaps, "_KEPT", few)
    monkeypatch.setattr(track_overlaps, "CHUNK", chunk)
    video, rng = case.overlaps(), np.random.default_rng(0)
    for _ in range(4):
        true, predicted = (
            np.flatnonzero(rng.random(len(tracks)) < 0.7) for tracks in (case.truth, case.prediction)
        )  # fmt: skip
        tables = video.tables(true, predicted)
        for _ in range(2):
            found = list(tables)
            assert (tables._tables is not None) == (video.frames * len(true) * len(predicted) <= few)
            seen = [
                f for f in range(video.frames)
                if case.true_masks[true, f].any() or case.predicted_masks[predicted, f].any()
            ]  # fmt: skip
            assert [table.frame for table in found] == seen
            for table in found:
                own = [n for n, g in enumerate(true) if case.true_masks[g, table.frame].any()]
                other = [n for n, p in enumerate(predicted) if case.predicted_masks[p, table.frame].any()]
                assert (table.true.tolist(), table.predicted.tolist()) == (own, other)
                for row, g in enumerate(true[own]):
                    for column, p in enumerate(predicted[other]):
                        one, two = case.true_masks[g, table.frame], case.predicted_masks[p, table.frame]
                        assert table.similarity[row, column] == pytest.approx((one & two).sum() / (one | two).sum())


@pytest.mark.parametrize("case", CASES)
def test_tracks_by_category_are_those_that_have_a_pixel(case: Case):
    video, kept = case.overlaps(), np.arange(len(case.prediction)) % 3 != 1
    rows = {c: (true.tolist(), predicted.tolist()) for c, true, predicted in video.by_category(kept)}
    expected = {}
    for c in sorted(category.id for category in CLASSES):
        true = [n for n, t in enumerate(case.truth) if t.category == c and case.true_masks[n].any()]
        predicted = [
            n for n, t in enumerate(case.prediction)
            if t.category == c and kept[n] and case.predicted_masks[n].any()
        ]  # fmt: skip
        if true or predicted:
            expected[c] = true, predicted
    assert rows == expected
    assert list(rows) == sorted(rows)


def test_candidates_of_ap_go_by_falling_score_and_then_by_their_order(monkeypatch):
    case = full_frames()
    video = case.overlaps()
    found = video.candidates()
    assert {c: (one.labels, one.found) for c, one in found.items()} == {
        2: ([1], [2, 1]), 5: ([0, 2], [0, 4]), 7: ([], [5]), 9: ([3], [6, 3]),
    }  # fmt: skip
    for one in found.values():
        assert np.array_equal(one.overlaps, video.ious[np.ix_(one.labels, one.found)].T)
    empty = case_of([np.zeros((2, 3, 4), bool)], [np.zeros((2, 3, 4), bool)], [5], [5]).overlaps()
    assert empty.ious.tolist() == [[1.0]]
    assert empty.candidates()[5].overlaps.tolist() == [[0.0]], "of two tracks without a pixel neither matches"
    many = [np.ones((1, 1, 1), bool)] * 101
    assert len(case_of(many[:1], many, [5], [5] * 101).overlaps().candidates()[5].found) == 100


def test_predictions_count_on_frames_that_have_a_label_and_equal_tracks_are_one():
    case = full_frames()
    video = case.overlaps()
    assert video.originals.tolist() == [0, 1, 2, 3, 4, 5, 1]
    one = dataclasses.replace(video, true_areas=video.true_areas[2:3], truth=video.truth[2:3]).on_labelled_frames()
    assert np.array_equal(one.predicted_areas, video.predicted_areas * [0, 0, 1, 1, 1])
    true, predicted = video.measured()
    assert true.mean_areas.tolist() == [12.0, pytest.approx(9 / 5), 12.0, pytest.approx(case.true_masks[3].sum() / 5)]
    assert predicted.mean_areas[2:4].tolist() == [0.0, 12.0]
