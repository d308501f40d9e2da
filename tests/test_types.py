from __future__ import annotations

import numpy as np
import pytest

from ovsbench.benchmark.errors import DataError, MethodError, did_you_mean
from ovsbench.benchmark.types import Category, PanopticFrame, Segment, Video, Vocabulary, check_frame


def test_groups_name_every_part_that_holds_a_class(vocabulary):
    assert vocabulary.groups == {
        "all": {4, 2, 9, 7, 11}, "base": {4, 2, 9}, "novel": {7, 11}, "things": {4, 2, 7}, "stuff": {9, 11},
    }  # fmt: skip
    shapes = Vocabulary((Category(0, "a", True, group="new shapes"), Category(1, "b", True)))
    assert shapes.groups == {"all": {0, 1}, "base": {0, 1}, "things": {0, 1}, "new shapes": {0}}


def test_a_part_of_the_vocabulary_keeps_its_ids(vocabulary):
    assert [c.id for c in vocabulary.offered("novel")] == [7, 11]
    assert vocabulary.offered("all") is vocabulary
    with pytest.raises(DataError, match="no novel category to offer"):
        vocabulary.offered("base").offered("novel")


@pytest.mark.parametrize(
    ("categories", "sentence"),
    [
        ([Category(-1, "a", True)], "0 or more"),
        ([Category(0, "a", True), Category(0, "b", True)], "its own id; '0'"),
        ([Category(0, " ", True)], "needs a name; number 1 is empty"),
    ],
)
def test_a_vocabulary_that_is_none_is_refused(categories, sentence):
    with pytest.raises(DataError, match=sentence):
        Vocabulary(tuple(categories))


def test_the_digest_of_a_vocabulary_sees_every_part(vocabulary):
    one, *rest = vocabulary.categories
    others = [
        Vocabulary((Category(one.id, one.name, one.is_thing, **change), *rest))
        for change in ({}, {"is_novel": True}, {"synonyms": ("hound",)}, {"group": "pets"})
    ]
    assert others[0].digest == vocabulary.digest
    assert len({other.digest for other in others}) == 4


def test_an_image_of_another_size_is_refused():
    video = Video("v", ("a.png",), (4, 6), lambda index: np.zeros((6, 4, 3), dtype=np.uint8))
    with pytest.raises(DataError, match=r"video v, frame a\.png: expected an image of 6x4 pixels, got 4x6"):
        video.image(0)


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        (PanopticFrame(np.zeros((2, 3), np.uint32), {}), None),
        (PanopticFrame(np.full((2, 3), 5, np.uint32), {5: Segment(5, 4)}), None),
        (PanopticFrame(np.zeros((3, 2), np.uint32), {}), "expected ids as uint32 of shape"),
        (PanopticFrame(np.zeros((2, 3), np.uint32), {5: Segment(5, 4)}), r"in one only: \[5\]"),
        (PanopticFrame(np.full((2, 3), 5, np.uint32), {}), r"in one only: \[5\]"),
        (PanopticFrame(np.full((2, 3), 5, np.uint32), {5: Segment(6, 4)}), "segment 6 is filed under 5"),
        (PanopticFrame(np.full((2, 3), 5, np.uint32), {5: Segment(5, 3)}), "category 3, which was not offered"),
        (PanopticFrame(np.full((2, 3), 5, np.uint32), {5: Segment(5, 4, -0.1)}), "between 0 and 1"),
    ],
)
def test_a_prediction_is_checked(vocabulary, frame, sentence):
    if sentence is None:
        check_frame(frame, (2, 3), vocabulary, "here")
        return
    with pytest.raises(MethodError, match=f"here: .*{sentence}"):
        check_frame(frame, (2, 3), vocabulary, "here")


def test_an_id_in_the_last_pixel_alone_is_seen(vocabulary):
    ids = np.zeros((2, 3), dtype=np.uint32)
    ids[1, 2] = 8
    with pytest.raises(MethodError, match=r"in one only: \[8\]"):
        check_frame(PanopticFrame(ids), (2, 3), vocabulary, "here")


def test_hints_name_the_nearest_and_all():
    assert did_you_mean("gck", ["gkc", "constant"]) == "did you mean 'gkc'? Known: constant, gkc"
    assert did_you_mean("x", []) == "none is known"


def test_names_may_repeat_and_ids_tell_categories_apart():
    twins = Vocabulary((Category(4, "a TV", True), Category(2, "a tv", True), Category(7, "a TV", True, is_novel=True)))
    assert [c.id for c in twins] == [4, 2, 7]
    assert twins.by_id[4].name == "a TV"
    assert [c.id for c in twins.part({7, 2, 99})] == [2, 7]
    assert len(twins.part(())) == 0
    with pytest.raises(DataError, match="its own name; 'a tv'"):
        twins.refuse_same_names()
    with pytest.raises(DataError, match="at least one category"):
        twins.part(()).refuse_empty()
