import json

import pytest

from benchmark.errors import DataError
from data_prep.split import list_splits, load_split

SPLIT = {
    "schema": 1,
    "name": "zoo",
    "dataset": "zoo",
    "base": [{"id": 5, "name": "dog", "is_thing": True, "synonyms": ["hound"]}],
    "novel": [{"id": 2, "name": "lava", "is_thing": False}],
    "groups": {"hot": [2]},
    "source": "made up",
    "note": "for a test",
}


def write(folder, **changes):
    content = {key: value for key, value in {**SPLIT, **changes}.items() if value is not None}
    (folder / "zoo.json").write_text(json.dumps(content))
    return folder / "zoo.json"


@pytest.mark.parametrize("name", list_splits())
def test_every_split_that_we_ship_loads_and_is_named_like_its_file(name):
    split = load_split(name)
    assert split.name == name
    assert name in list_splits(split.dataset)
    assert split.vocabulary.base
    assert split.vocabulary.novel
    assert split.source
    assert split.note


@pytest.mark.parametrize("name", list_splits())
def test_no_word_of_a_novel_category_is_a_word_of_a_base_category(name):
    vocabulary = load_split(name).vocabulary
    base, novel = (
        {word.casefold() for c in vocabulary if c.is_novel == is_novel for word in (c.name, *c.synonyms)}
        for is_novel in (False, True)
    )
    assert not base & novel


def test_camvid_has_eleven_stuff_classes_of_which_pavement_and_bicyclist_are_novel():
    vocabulary = load_split("camvid").vocabulary
    names = "sky building pole road pavement tree sign fence car pedestrian bicyclist"
    assert [c.name for c in vocabulary] == names.split()
    assert [c.id for c in vocabulary] == list(range(11))
    assert vocabulary.novel == {4, 10}
    assert not vocabulary.things
    assert all(len(c.synonyms) >= 3 for c in vocabulary)


def test_a_split_of_ones_own_is_read_from_its_path_in_the_order_of_ids(tmp_path):
    split = load_split(write(tmp_path))
    lava, dog = split.vocabulary
    assert (lava.id, lava.name, lava.is_thing, lava.is_novel, lava.group) == (2, "lava", False, True, "hot")
    assert (dog.id, dog.name, dog.is_thing, dog.is_novel, dog.synonyms) == (5, "dog", True, False, ("hound",))
    assert split.vocabulary.groups["hot"] == {2}


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(DataError, match=r"there is no split 'camvit'; did you mean 'camvid'"):
        load_split("camvit")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"novel": None}, r"zoo\.json: a part of the split is missing or odd: KeyError\('novel'\)"),
        ({"base": [{"id": 5, "name": "dog"}]}, "KeyError"),
        ({"base": [{"id": "5", "name": "dog", "is_thing": True}]}, "whole number as id"),
        ({"base": [{"id": 2, "name": "dog", "is_thing": True}]}, "needs its own id"),
        ({"base": [{"id": 5, "name": "Lava", "is_thing": True}]}, "needs its own name"),
        ({"base": [{"id": 5, "name": "dog", "is_thing": True, "synonym": []}]}, "did you mean 'synonyms'"),
        ({"notes": "x"}, "did you mean 'note'"),
        ({"groups": {"hot": [3]}}, r"groups name categories that the split lacks: \[3\]"),
        ({"groups": {"hot": [2], "red": [2]}}, "is in two groups, 'hot' and 'red'"),
        ({"groups": [2]}, "AttributeError"),
        ({"schema": 99}, "Update ovsbench"),
    ],
)
def test_a_faulty_split_is_named_with_its_fault(changes, message, tmp_path):
    with pytest.raises(DataError, match=message):
        load_split(write(tmp_path, **changes))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"absent\.json: expected a split, found no such file"):
        load_split(tmp_path / "absent.json")
