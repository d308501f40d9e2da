import json
import re

import pytest

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.types import Nearest
from ovsbench.data_prep.leaks import words_of
from ovsbench.data_prep.split import Origin, list_splits, load_split, write_split

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


OFFICIAL = {  # name of the split: where its base and novel classes stand in the official lists, and how many they are
    "vipseg-gkc": ("vipseg_gkc", 112, 12),
    "vipseg-tubelink-33-25": ("vipseg_tubelink_33_25", 33, 25),
    "vipseg-tubelink-46-12": ("vipseg_tubelink_46_12", 46, 12),
    "vspw-ov2vss": ("vspw_ov2vss", 80, 44),
    "coco-panoptic-gkc": ("coco_panoptic_gkc", 115, 18),
    "lvvis": ("lvvis", 641, 555),
    "burst-frequency": ("burst_frequency", 386, 96),
    "ytvis2019-ovformer": ("ytvis2019_ovformer", 33, 7),
    "ytvis2019-coco": ("ytvis2019_coco_overlap", 19, 21),
    "ytvis2021-ovformer": ("ytvis2021_ovformer", 34, 6),
    "ytvis2021-coco": ("ytvis2021_coco_overlap", 21, 19),
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


@pytest.mark.parametrize("name", OFFICIAL)
def test_a_published_split_has_the_numbers_of_its_paper_and_says_where_it_comes_from(name):
    split = load_split(name)
    _, base, novel = OFFICIAL[name]
    assert (len(split.vocabulary.base), len(split.vocabulary.novel)) == (base, novel)
    assert split.source.paper
    assert re.fullmatch(r"[\w-]+/[\w-]+", split.source.repository)
    assert split.source.file
    assert split.licence
    assert split.protocol.task in ("semantic", "panoptic", "instance")
    assert split.protocol.vocabulary
    assert split.protocol.training


@pytest.mark.parametrize("name", OFFICIAL)
def test_ids_and_names_of_a_published_split_are_those_of_the_official_lists(name, shared):
    lists = json.loads((shared / "reference" / "splits.json").read_text())
    vocabulary = load_split(name).vocabulary
    for part, names in ((False, ("base", "seen")), (True, ("novel", "unseen"))):
        official = [lists[key] for word in names if (key := f"{OFFICIAL[name][0]}_{word}") in lists]
        if official or part:  # of COCO the list of novel classes alone is published
            rows = {(row[0], row[1]) for row in official[0]["classes"]}
            assert {(c.id, c.name) for c in vocabulary if c.is_novel == part} == rows


def test_the_124_classes_of_vipseg_and_their_58_things_are_the_official_table(shared):
    table = json.loads((shared / "data" / "vipseg_meta" / "panoVIPSeg_categories.json").read_text())
    vocabulary = load_split("vipseg-gkc").vocabulary
    assert [(c.id, c.name, c.is_thing) for c in vocabulary] == [(c["id"], c["name"], bool(c["isthing"])) for c in table]
    assert (len(vocabulary), len(vocabulary.things)) == (124, 58)
    assert [(c.id, c.name) for c in load_split("vspw-ov2vss").vocabulary] == [(c.id, c.name) for c in vocabulary]


def test_the_133_classes_of_coco_and_their_80_things_are_the_official_table(shared):
    table = json.loads((shared / "data" / "coco_panoptic_sample" / "panoptic_coco_categories.json").read_text())
    vocabulary = load_split("coco-panoptic-gkc").vocabulary
    assert [(c.id, c.name, c.is_thing) for c in vocabulary] == [(c["id"], c["name"], bool(c["isthing"])) for c in table]
    assert (len(vocabulary), len(vocabulary.things)) == (133, 80)


@pytest.mark.parametrize(
    ("name", "known"),
    [("vipseg-gkc", 0), ("vipseg-tubelink-33-25", 12), ("vipseg-tubelink-46-12", 8), ("vspw-ov2vss", 18)],
)
def test_how_many_novel_classes_training_on_coco_has_seen_by_name(name, known):
    coco = frozenset[str]().union(*map(words_of, load_split("coco-panoptic-gkc").vocabulary))
    novel = [category for category in load_split(name).vocabulary if category.is_novel]
    assert sum(bool(words_of(category) & coco) for category in novel) == known


def test_the_words_of_a_double_name_are_its_synonyms():
    by_name = {c.name: c for c in load_split("vipseg-gkc").vocabulary}
    assert by_name["table_or_desk"].synonyms == ("table", "desk")
    assert by_name["Mobile_phone"].synonyms == ("mobile phone",)


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


def test_a_split_of_ones_own_needs_no_more_than_its_classes(tmp_path):
    split = load_split(write(tmp_path, groups=None, source=None, note=None))
    assert (split.name, split.dataset, split.licence, split.corrected) == ("zoo", "zoo", "", ())
    assert split.source == Origin()


def test_a_split_that_is_written_is_read_back_as_it_was(tmp_path):
    for name in ("world", "ytvis2019-ovformer"):
        split = load_split(name)
        write_split(tmp_path / "again.json", split)
        assert load_split(tmp_path / "again.json") == split
    with pytest.raises(DataError, match=r"ends in \.json"):
        write_split(tmp_path / "again.txt", split)


def test_a_novel_class_carries_its_nearest_base_class_and_the_space_of_the_number(tmp_path):
    novel = [{**SPLIT["novel"][0], "nearest": {"base": 5, "similarity": 0.5}}]
    path = write(tmp_path, novel=novel, space="ViT-B/16")
    lava, dog = load_split(path).vocabulary
    assert (lava.nearest, dog.nearest) == (Nearest(5, 0.5, "ViT-B/16"), None)
    write_split(tmp_path / "again.json", load_split(path))
    assert load_split(tmp_path / "again.json") == load_split(path)


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(DataError, match=r"there is no split 'camvit'; did you mean 'camvid'"):
        load_split("camvit")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"novel": None}, r"zoo\.json: novel: expected \[keys with values, \.\.\.\], got none"),
        ({"base": [{"id": 5, "name": "dog"}]}, "base, item 0: is_thing: expected true or false, got none"),
        ({"base": [{"id": "5", "name": "dog", "is_thing": True}]}, "id: expected a whole number, got '5'"),
        ({"base": [{"id": 2, "name": "dog", "is_thing": True}]}, "needs its own id"),
        ({"base": [{"id": 5, "name": "Lava", "is_thing": True}]}, "needs its own name"),
        ({"base": [{"id": 5, "name": "dog", "is_thing": True, "synonym": []}]}, "did you mean 'synonyms'"),
        ({"notes": "x"}, "did you mean 'note'"),
        ({"groups": {"hot": [3]}}, r"groups name categories that the split lacks: \[3\]"),
        ({"groups": {"hot": [2], "red": [2]}}, "is in two groups, 'hot' and 'red'"),
        ({"groups": [2]}, r"groups: expected keys with values, got \[2\]"),
        ({"schema": 99}, "Update ovsbench"),
        ({"base": []}, "nearest class of 'lava' is not among the base"),
        ({"name": 5}, "name: expected a text, got 5"),
        ({"dataset": None}, "dataset: expected a text, got none"),
        ({"dataset": ""}, "expected a name and a data set"),
        ({"source": {"papers": "x"}}, "did you mean 'paper'"),
        ({"source": {"paper": 3}}, "source: paper: expected a text, got 3"),
        ({"protocol": ["semantic"]}, r"protocol: expected keys with values, got \['semantic'\]"),
        ({"base": "all"}, r"base: expected \[keys with values, \.\.\.\], got 'all'"),
        (
            {"base": [{"id": 5, "name": "dog", "is_thing": True, "synonyms": "hound"}]},
            r"synonyms: expected \[a text, \.\.\.\], got 'hound'",
        ),
        ({"base": [{"id": True, "name": "dog", "is_thing": True}]}, "id: expected a whole number, got true"),
        ({"base": [{"id": 5, "name": None, "is_thing": True}]}, "name: expected a text, got none"),
        ({"base": [{**SPLIT["base"][0], "nearest": {"base": 5, "similarity": 1}}]}, "only novel ones"),
        ({"novel": [{**SPLIT["novel"][0], "nearest": {"base": 5, "similarity": 2}}]}, "similarity from -1 to 1"),
        (
            {"novel": [{**SPLIT["novel"][0], "nearest": {"base": 5}}]},
            "nearest: similarity: expected a number, got none",
        ),
        ({"space": ""}, "only novel ones of a split with a `space`"),
        (
            {"base": [{**SPLIT["base"][0], "synonyms": ["Lava"]}]},
            "'Lava' is a synonym of 'dog' and the name of another",
        ),
        ({"name": "../zoo"}, "expected a name that benchmarks can be called by"),
    ],
)
def test_a_faulty_split_is_named_with_its_fault(changes, message, tmp_path):
    near = [{**SPLIT["novel"][0], "nearest": {"base": 5, "similarity": 0.5}}]
    changes = {"novel": near, "space": "ViT-B/16", **changes}
    with pytest.raises(DataError, match=message):
        load_split(write(tmp_path, **changes))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"absent\.json: expected a split, found no such file"):
        load_split(tmp_path / "absent.json")
