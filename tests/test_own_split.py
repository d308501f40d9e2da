import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ovsbench.benchmark import manifest
from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.labels.label_counts import CategoryCount
from ovsbench.benchmark.storage import files
from ovsbench.benchmark.storage.text_bank import TextBank, plain_name, read_bank
from ovsbench.benchmark.types import Category, Nearest, Vocabulary
from ovsbench.cli import app
from ovsbench.cli.data_split import _dataset_of
from ovsbench.data_prep.novelty import measure
from ovsbench.data_prep.own_split import Rule, choose_novel, own_split
from ovsbench.data_prep.split import load_split

BANKS = Path(__file__).parents[1] / "gkc_video" / "banks"
ANGLES = {"dog": 0, "wolf": 10, "car": 90, "bus": 120, "moon": 200, "ghost": 290}  # degrees on a circle


def bank_of(angles=ANGLES, alias=None):
    turns = np.deg2rad(list(angles.values()))
    vectors = np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32)
    return TextBank(tuple(angles), vectors, "circle", "{}", alias or {})


def count(number, name, videos=5, frames=50, share=0.01, **flags):
    return CategoryCount(Category(number, name, is_thing=True, **flags), videos, videos, frames, share)


COUNTS = [count(number, name) for number, name in enumerate(ANGLES)]


def test_a_novel_class_is_as_near_as_the_cosine_of_its_name_and_the_nearest_base_name():
    words = Vocabulary(
        (Category(3, "wolf", True, is_novel=True), Category(1, "dog", True), Category(2, "car", True),
         Category(5, "bus", True, is_novel=True))
    )  # fmt: skip
    wolf, dog, car, bus = measure(words, bank_of()).vocabulary
    assert wolf.nearest == Nearest(1, round(float(np.cos(np.deg2rad(10))), 4), "circle, prompt: {}")
    assert bus.nearest == Nearest(2, round(float(np.cos(np.deg2rad(30))), 4), "circle, prompt: {}")
    assert dog.nearest is car.nearest is None


def test_a_class_without_a_vector_is_nobodys_nearest_and_is_named():
    words = Vocabulary((Category(0, "hound", True), Category(1, "car", True), Category(2, "wolf", True, is_novel=True)))
    measured = measure(words, bank_of())
    assert measured.missing == ("hound",)
    assert measured.vocabulary.by_id[2].nearest.base == 1
    assert measure(words, bank_of(alias={"hound": "dog"})).vocabulary.by_id[2].nearest.base == 0


def test_a_synonym_gives_a_class_its_vector_where_the_name_has_none():
    words = Vocabulary((Category(0, "hound", True, synonyms=("Dog",)), Category(2, "wolf", True, is_novel=True)))
    assert measure(words, bank_of()).missing == ()


def test_a_bank_that_knows_no_class_of_a_part_is_refused():
    words = Vocabulary((Category(0, "chair", True), Category(2, "wolf", True, is_novel=True)))
    with pytest.raises(DataError, match="names of base classes, it has none of them: for 'chair'"):
        measure(words, bank_of())
    with pytest.raises(DataError, match="names of novel classes, it has none of them: the split has none"):
        measure(Vocabulary((Category(0, "dog", True),)), bank_of())


def test_one_class_is_drawn_from_each_stratum_of_distance():
    # by the cosine of the nearest other name: ghost (0), moon (0.17), car and bus (0.87), dog and wolf (0.98)
    vectors = dict(enumerate(bank_of().vectors))
    for seed in range(20):
        novel = choose_novel(COUNTS, vectors, Rule(3, seed))
        assert [len(novel & part) for part in ({4, 5}, {2, 3}, {0, 1})] == [1, 1, 1]


def test_a_rare_class_is_likelier_to_become_novel():
    counts = [count(0, "dog", frames=900), count(1, "wolf", frames=100)]
    vectors = {number: bank_of().vectors[number] for number in (0, 1)}
    drawn = [choose_novel(counts, vectors, Rule(1, seed)) for seed in range(400)]
    assert 0.85 < drawn.count(frozenset({1})) / 400 < 0.95  # 900 : 100


def test_the_same_seed_draws_the_same_classes_whatever_the_order_of_the_counts():
    vectors = dict(enumerate(bank_of().vectors))
    drawn = {seed: choose_novel(COUNTS, vectors, Rule(2, seed)) for seed in range(12)}
    assert {seed: choose_novel(COUNTS[::-1], vectors, Rule(2, seed)) for seed in range(12)} == drawn
    assert len(set(drawn.values())) > 1


def test_classes_that_are_too_rare_too_common_or_without_a_vector_stay_base():
    counts = [
        count(0, "dog"), count(1, "wolf", videos=1), count(2, "car", share=0.3), count(3, "bus"),
        count(9, "unheard of", is_novel=True, group="old"),
    ]  # fmt: skip
    for seed in range(20):
        made = own_split(counts, bank_of(), Rule(2, seed, min_videos=2)).vocabulary
        assert made.novel == {0, 3}
        assert made.by_id[9] == Category(9, "unheard of", is_thing=True)  # what an earlier split said is forgotten
    with pytest.raises(DataError, match=r"at least 3 classes that may become novel .* found 2 of 5"):
        own_split(counts, bank_of(), Rule(3, min_videos=2))


def test_at_least_one_class_stays_base():
    with pytest.raises(DataError, match="one that stays base"):
        own_split(COUNTS, bank_of(), Rule(6))


@pytest.mark.parametrize("settings", [(0,), (1, -1), (1, 0, 0), (1, 0, 1, 0.0), (1, 0, 1, float("nan"))])
def test_odd_settings_are_refused(settings):
    with pytest.raises(DataError, match="expected at least one novel class"):
        Rule(*settings)


def test_the_shipped_split_of_camvid_is_what_the_rule_draws(shared):
    bank = read_bank(
        shared / "data" / "clip_text_embeddings" / "vitb16_cocostuff171.npy",
        BANKS,
        {"pedestrian": "person", "bicyclist": "bicycle", "sign": "stop sign"},
    )
    frames = (366, 365, 366, 367, 349, 319, 351, 173, 360, 317, 201)  # of the list train
    shares = (0.1685, 0.2326, 0.0098, 0.3166, 0.0449, 0.0972, 0.0117, 0.0113, 0.0587, 0.0064, 0.0029)
    classes = load_split("camvid").vocabulary
    counts = [CategoryCount(c, 3, 3, n, share) for c, n, share in zip(classes, frames, shares, strict=True)]
    assert own_split(counts, bank, Rule(4)).vocabulary == load_split("camvid-novel4").vocabulary


@pytest.mark.parametrize(
    ("name", "bank"),
    [
        ("lvvis", "vitb32_lvvis"),
        ("ytvis2019-ovformer", "vitb32_ytvis19"),
        ("ytvis2021-coco", "vitb32_ytvis21"),
        ("coco-panoptic-gkc", "vitb16_cocostuff171"),
    ],
)
def test_the_similarities_of_a_shipped_split_are_those_of_the_vectors(name, bank, shared):
    vectors = read_bank(shared / "data" / "clip_text_embeddings" / f"{bank}.npy", BANKS)
    split = load_split(name)
    measured = measure(split.vocabulary, vectors)
    assert measured.missing == ()
    for ours, again in zip(split.vocabulary, measured.vocabulary, strict=True):
        assert (ours.nearest is None) == (again.nearest is None) == (not ours.is_novel)
        if ours.nearest is not None:
            assert ours.nearest.base == again.nearest.base
            assert ours.nearest.similarity == pytest.approx(again.nearest.similarity, abs=2e-4)


def write_bank(folder, rows, **about):
    np.save(folder / "mine.npy", rows)
    content = {"schema": 1, "names": ["dog", "cat"], "model": "m", "prompt": "{}", **about}
    (folder / "mine.json").write_text(json.dumps(content))
    return folder / "mine.npy"


def test_a_bank_of_ones_own_is_read_with_unit_vectors(tmp_path):
    bank = read_bank(write_bank(tmp_path, np.array([[2.0, 0.0], [0.0, 3.0]])), BANKS)
    assert bank.find("Cat").tolist() == [0.0, 1.0]
    assert bank.find("mouse", "dog").tolist() == [1.0, 0.0]
    assert bank.find("mouse") is None
    assert bank.space == "m, prompt: {}"


@pytest.mark.parametrize(
    ("rows", "about", "message"),
    [
        (np.ones((3, 2)), {}, "finite vectors for 2 names, got an array of shape"),
        (np.ones(2), {}, "finite vectors"),
        (np.ones((2, 2), int), {}, "finite vectors"),
        (np.full((2, 2), np.nan), {}, "finite vectors"),
        (np.array([[0.0, 0.0], [1.0, 0.0]]), {}, "the vector of 'dog' is zero"),
        (np.ones((2, 2)), {"names": "dog"}, "expected `names`, a list of words"),
        (np.ones((2, 2)), {"model": 3}, "expected model, prompt and sha256 as text"),
        (np.ones((2, 2)), {"sha256": "0" * 64}, "its bytes are not those"),
        (np.array([[{}], [{}]], object), {}, "expected an array of numbers"),
    ],
)
def test_a_faulty_bank_is_named_with_its_fault(rows, about, message, tmp_path):
    with pytest.raises(DataError, match=message):
        read_bank(write_bank(tmp_path, rows, **about), BANKS)


def test_a_bank_without_vectors_or_description_is_refused_with_the_known_ones(tmp_path):
    np.save(tmp_path / "lonely.npy", np.ones((2, 2)))
    for name in ("lonely.npy", "absent.npy"):
        with pytest.raises(DataError, match="vitb16_cocostuff171"):
            read_bank(tmp_path / name, BANKS)
    (tmp_path / "cut.json").write_text('{"schema": 1, "names": ["dog"], "model": "m", "prompt": "{}"}')
    (tmp_path / "cut.npy").write_bytes(b"")
    with pytest.raises(DataError, match="expected an array of numbers"):
        read_bank(tmp_path / "cut.npy", BANKS)


def test_a_bank_that_claims_more_vectors_than_its_file_holds_takes_no_memory(tmp_path):
    path = write_bank(tmp_path, np.eye(2))
    content = path.read_bytes().replace(b"(2, 2), ", b"(2, 9999999999), ").replace(b" " * 10 + b"\n", b"\n", 1)
    path.write_bytes(content)
    with pytest.raises(DataError, match="expected an array of numbers"):
        read_bank(path, BANKS)


def test_an_alias_must_stand_for_a_name_of_the_bank(tmp_path):
    path = write_bank(tmp_path, np.eye(2))
    assert read_bank(path, BANKS, {"hound": "dog"}).find("hound").tolist() == [1.0, 0.0]
    with pytest.raises(DataError, match="the alias hound = 'wolf' stands for no name"):
        read_bank(path, BANKS, {"hound": "wolf"})


def test_words_meet_without_case_underscores_and_suffixes_of_coco():
    assert plain_name("Wall-other-merged") == plain_name("wall") == "wall"
    assert plain_name("octopus_(food)") == "octopus food" != plain_name("octopus_(animal)")


# the commands


@pytest.fixture
def boxes_bank(tmp_path) -> Path:
    """Vectors for the classes of `build_benchmark`, all but unicorn."""
    folder = tmp_path / "bank"
    folder.mkdir()
    rows = np.array([[1.0, 0], [0.9, 0.1], [0, 1], [-0.1, 1]])
    return write_bank(folder, rows, names=["dog", "cat", "grass", "lava"])


def test_data_split_writes_a_split_that_loads_and_says_how_it_was_made(build_benchmark, boxes_bank, tmp_path):
    data, out = str(build_benchmark().folder), tmp_path / "mine.json"
    arguments = ["data", "split", data, "--text-bank", str(boxes_bank), "--novel", "2", "--max-share", "1"]
    result = CliRunner().invoke(app, [*arguments, "-o", str(out)])
    assert result.exit_code == 0, result.output
    assert "has no vector for 1 of the classes: unicorn" in result.stderr
    split = load_split(out)
    assert (split.name, len(split.vocabulary.novel), len(split.vocabulary.base)) == ("mine", 2, 3)
    assert all(c.nearest is not None for c in split.vocabulary if c.is_novel)
    assert "seed 0" in split.note
    again = CliRunner().invoke(app, [*arguments, "--json", "-o", str(tmp_path / "again.json")])
    told = json.loads(again.stdout)
    assert {row["id"] for row in told["novel"]} == split.vocabulary.novel
    assert told["missing"] == ["unicorn"]


def test_data_novelty_measures_a_split_and_writes_it_when_asked(boxes_bank, tmp_path):
    content = {
        "schema": 1, "name": "zoo", "dataset": "zoo", "base": [{"id": 1, "name": "dog", "is_thing": True}],
        "novel": [{"id": 2, "name": "hound", "is_thing": True}],
    }  # fmt: skip
    (tmp_path / "zoo.json").write_text(json.dumps(content))
    arguments = ["data", "novelty", str(tmp_path / "zoo.json"), "--text-bank", str(boxes_bank)]
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 1
    assert "names of novel classes" in refused.stderr
    result = CliRunner().invoke(app, [*arguments, "--alias", "hound=cat", "-o", str(tmp_path / "out.json")])
    assert result.exit_code == 0, result.output
    assert load_split(tmp_path / "out.json").vocabulary.by_id[2].nearest.base == 1
    odd = CliRunner().invoke(app, [*arguments, "--alias", "hound"])
    assert odd.exit_code == 2
    assert "key=value" in odd.stderr


def test_a_benchmark_built_with_a_measured_split_carries_the_numbers_and_keeps_its_digest(build_benchmark):
    built = build_benchmark()
    near = [dataclasses.replace(c, nearest=Nearest(4, 0.5, "space") if c.is_novel else None) for c in built.vocabulary]
    told = dataclasses.replace(built, vocabulary=Vocabulary(tuple(near)))
    assert told.digest == built.digest
    assert told.vocabulary.digest == built.vocabulary.digest
    content = manifest.to_json(told)
    files.write_json(built.folder / manifest.MANIFEST, content)
    assert manifest.load(built.folder).vocabulary == told.vocabulary


def test_list_splits_tells_everything_as_json():
    rows = {row["name"]: row for row in json.loads(CliRunner().invoke(app, ["list", "splits", "--json"]).stdout)}
    gkc = rows["vipseg-gkc"]
    assert (len(gkc["base"]), len(gkc["novel"])) == (112, 12)
    assert gkc["source"]["repository"] == "yongliu20/GKC"
    assert gkc["protocol"]["training"] == "ignore or delete"
    assert gkc["licence"]
    assert rows["ytvis2021-ovformer"]["corrected"]
    assert rows["lvvis"]["novel"][0]["nearest"]["similarity"] > 0.5


@pytest.mark.parametrize(
    ("name", "dataset"),
    [("coco-panoptic-gkc-train", "coco-panoptic"), ("camvid-novel4-val", "camvid"), ("camvid32-val", "camvid32")],
)
def test_a_split_belongs_to_the_data_set_that_its_benchmark_is_named_after(name, dataset):
    assert _dataset_of(name) == dataset
