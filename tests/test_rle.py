from __future__ import annotations

import functools
import json
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovsbench.benchmark.compiled import Loop
from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.storage import rle, rle_loop
from ovsbench.benchmark.storage.track_extents import measured_texts

SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9))


def masks_of(size: tuple[int, int]) -> st.SearchStrategy[np.ndarray]:
    bits = st.lists(st.booleans(), min_size=size[0] * size[1], max_size=size[0] * size[1])
    return bits.map(lambda row: np.array(row).reshape(size))


def read(masks: list[np.ndarray | None], size: tuple[int, int]) -> rle.Tracks:
    return rle.read_tracks([[None if mask is None else rle.encode(mask) for mask in masks]], size, len(masks))


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([[0, 0], [0, 0]], "4"),
        ([[1, 1], [1, 1]], "04"),
        ([[0, 1], [0, 1]], "22"),  # column by column
        ([[0, 1, 0, 1, 1]], "1111"),  # 1 outside, 1 inside, 1 outside, 2 inside, written as 2 - 1 = 1
        ([[0] * 16 + [1]], "`01"),  # 16 needs a second group, because the first one's fifth bit is a sign
    ],
)
def test_texts_of_small_masks_are_those_of_coco(rows, text):
    mask = np.array(rows, dtype=bool)
    assert rle.encode(mask) == text
    assert (rle.decode(text, mask.shape) == mask).all()


@settings(max_examples=60, deadline=None)
@given(SIZES.flatmap(lambda size: st.tuples(masks_of(size), masks_of(size))))
def test_tubes_measure_what_pixels_measure(pair):
    first, second = pair
    size = first.shape
    one, two = read([first, None, second], size), read([second, first, second], size)
    assert one.areas.tolist() == [[first.sum(), 0, second.sum()]]
    assert rle.area(one.tubes[0]) == first.sum() + second.sum()
    assert rle.intersection(one.tubes[0], two.tubes[0]) == (first & second).sum() + second.sum()
    assert (np.diff(one.tubes[0]) > 0).all()
    assert (rle.decode(rle.encode(first), size) == first).all()


@settings(max_examples=60, deadline=None)
@given(SIZES.flatmap(masks_of), st.integers(1, 2**32 - 1))
def test_masks_of_ids_are_those_of_each_id(mask, key):
    ids = np.where(mask, key, 0).astype(np.uint32)
    assert rle.encode_ids(ids) == ({key: rle.encode(mask)} if mask.any() else {})


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2**31), min_size=1, max_size=30))
def test_run_lengths_survive_their_text(runs):
    assert rle.lengths(rle.compress(runs)).tolist() == runs


def test_tracks_read_together_are_those_read_alone():
    rng = np.random.default_rng(0)
    texts = [[rle.encode(rng.random((5, 7)) < 0.5) if rng.random() < 0.7 else None for _ in range(4)] for _ in range(6)]
    texts[2] = [None] * 4
    together = rle.read_tracks(texts, (5, 7), 4)
    for number, track in enumerate(texts):
        alone = rle.read_tracks([track], (5, 7), 4)
        assert (together.areas[number] == alone.areas[0]).all()
        assert (together.tubes[number] == alone.tubes[0]).all()


@pytest.fixture
def loops(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Makes numba do all, or nothing."""
    pytest.importorskip("numba")

    def choose(compiled: bool) -> None:
        for loop in (rle_loop.READ, rle_loop.SHARED):
            ready = compiled_loop(loop) if compiled else None
            monkeypatch.setattr(loop, "ready", lambda work, ready=ready: ready)

    return choose


@functools.cache
def compiled_loop(loop: Loop) -> Callable:
    return Loop(loop._function, after=0).ready(1)


def some_tracks(rng: np.random.Generator, size: tuple[int, int], frames: int) -> list[list[str | None]]:
    """Tracks whose runs meet across columns and frames, are of full height, or of no length."""
    texts: list[list[str | None]] = []
    for share in (0.0, 0.1, 0.5, 0.9, 1.0):
        own = [rle.encode(rng.random(size) < share) if rng.random() < 0.8 else None for _ in range(frames)]
        blocks = np.zeros(size, dtype=bool)
        blocks[:, int(rng.integers(size[1])) :] = True
        texts += [own, [rle.encode(blocks)] * frames]
    spread = rng.integers(0, 3, size=(2 * size[0] * size[1],))
    lengths = [*spread[: int(np.searchsorted(np.cumsum(spread), size[0] * size[1]))].tolist()]
    lengths.append(size[0] * size[1] - sum(lengths))
    return [*texts, [rle.compress(lengths)] * frames, [None] * frames]


@pytest.mark.parametrize("size", [(5, 7), (1, 6), (6, 1), (40, 30)])
def test_the_compiled_loops_give_what_numpy_gives(loops, size):
    rng = np.random.default_rng(size[0])
    for _ in range(10):
        texts, found = some_tracks(rng, size, 4), []
        for compiled in (False, True):
            loops(compiled)
            masks = rle.read_tracks(texts, size, 4)
            assert {tube.dtype for tube in masks.tubes} == {np.dtype(np.int64)}
            extents, areas = measured_texts(texts, size, 4)
            assert areas.tolist() == masks.areas.tolist()
            found.append(([tube.tolist() for tube in masks.tubes], masks.areas.tolist(), extents))
            assert [type(number) for number in extents[0].box] == [int] * 4
        assert found[0] == found[1]


@pytest.mark.parametrize(
    "text", ["", "\xff", "p", "0P", "9", "o1", "00000", "PPPPPPPP0", "5N5", "ooooooooo0", '04","04', "04\\"]
)
def test_the_compiled_loops_leave_what_is_no_mask_to_numpy(loops, text):
    said = []
    for compiled in (False, True):
        loops(compiled)
        with pytest.raises(DataError) as caught:
            rle.read_tracks([["04", text]], (2, 2), 2)
        said.append(str(caught.value))
    assert said[0] == said[1]


def test_a_loop_is_compiled_after_enough_work_alone_and_another_one_sooner(monkeypatch):
    pytest.importorskip("numba")
    monkeypatch.setattr(Loop, "has_numba", False)
    loop = Loop(rle_loop.read_masks, after=10)
    assert [loop.ready(5), loop.ready(5)] == [None, None]
    assert loop.ready(1) is not None


def test_runs_of_no_length_change_nothing():
    plain, padded = rle.compress([2, 3, 1]), rle.compress([0, 0, 2, 1, 0, 2, 1, 0])
    assert (rle.decode(plain, (2, 3)) == rle.decode(padded, (2, 3))).all()
    assert rle.read_tracks([[padded]], (2, 3), 1).tubes[0].tolist() == [2, 5]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("22~", "no such text"),
        ("2\u00e9", "letters that do not occur"),
        ("2`", "cut off"),
        ("23", "2x2 = 4 pixels, got 5"),
        (rle.compress([2, 1]), "got 3"),
        ("o" * 9 + "1", "larger than any frame"),
        ("6N", "negative"),
    ],
)
def test_a_text_that_is_no_mask_is_refused(text, words):
    with pytest.raises(DataError, match=words):
        rle.read_tracks([[None, text]], (2, 2), 2)


def test_lengths_that_cannot_be_are_refused():
    with pytest.raises(DataError, match="at least 0"):
        rle.compress([3, -1, 2])


@pytest.mark.parametrize("case", ["tiny", "standard"])
def test_the_masks_of_reference_cases_survive(shared, case):
    for row in json.loads((shared / f"cases/{case}/ytvis/results.json").read_text()):
        for mask in row["segmentations"]:
            if mask is not None:
                assert rle.encode(rle.decode(mask["counts"], tuple(mask["size"]))) == mask["counts"]
    for row in json.loads((shared / f"cases/{case}/ytvis/gt.json").read_text())["annotations"]:
        texts = [mask and rle.compress(mask["counts"]) for mask in row["segmentations"]]
        areas = rle.read_tracks([texts], (row["height"], row["width"]), row["length"]).areas[0]
        assert areas.tolist() == [area or 0 for area in row["areas"]]
