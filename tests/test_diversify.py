"""Text diversification and text-guided distillation against counts by hand and plain loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402

from ovsbench.benchmark.errors import DataError  # noqa: E402
from ovsbench.benchmark.types import Category, Vocabulary  # noqa: E402
from ovsbench.gkc_video.model.network import GKC, ModelConfig  # noqa: E402
from ovsbench.gkc_video.text import clip  # noqa: E402
from ovsbench.gkc_video.text.synonyms import OWN, Table, Thesaurus, plain  # noqa: E402
from ovsbench.gkc_video.text.text_space import NameTable, Prompted  # noqa: E402
from ovsbench.gkc_video.text.wordnet import WordNet  # noqa: E402
from ovsbench.gkc_video.training import step_names, tgkd  # noqa: E402
from ovsbench.gkc_video.training.diversify import ImageNames, StepNames, draw_words, image_names, word_chances  # noqa: E402
from ovsbench.gkc_video.training.targets import Target  # noqa: E402

torch.set_num_threads(1)
EYE = NameTable(torch.eye(5), torch.tensor([0, 0, 0, 1, 1]), 2)  # class 0 has the words 0, 1, 2; class 1 the words 3, 4


def test_a_drawn_word_takes_the_place_of_its_class_and_a_second_one_is_appended():
    """Class 0 draws 1, then 2, then 1 again, then its own name 0; class 1 keeps its name."""
    assert image_names([0, 3], [0, 0, 0, 1, 0], [1, 2, 1, 3, 0]) == ImageNames((1, 3, 2, 0), (0, 2, 0, 1, 3))


def test_without_regions_the_list_is_the_class_names():
    assert image_names([0, 3], [], []) == ImageNames((0, 3), ())


@given(st.lists(st.integers(0, 4), max_size=12))
def test_every_region_finds_its_word_in_the_list_of_its_image(words: list[int]):
    owner = [0, 0, 0, 1, 1]
    found = image_names([0, 3], [owner[w] for w in words], words)
    assert [found.words[slot] for slot in found.slots] == words
    assert len(set(found.words)) == len(found.words), "no word stands in the list twice"


def test_only_words_that_fit_are_drawn_and_the_name_where_none_does():
    chances = np.array([[0.05, 0.9, 0.05, 0, 0], [0, 0, 0, 0.5, 0.5], [0.09, 0.08, 0.07, 0, 0]], np.float32)
    owner = EYE.owner.numpy()
    drawn = [draw_words(chances, owner, [0, 1, 0], np.random.default_rng(seed)) for seed in range(40)]
    assert {row[0] for row in drawn} == {1}
    assert {row[1] for row in drawn} == {3, 4}
    assert {row[2] for row in drawn} == {0}


def test_chances_are_shared_among_the_words_of_a_class_only():
    boxes = F.normalize(torch.tensor([[1.0, 1.0, 0, 0, 0], [0, 0, 0, 1.0, 0]]), dim=-1)
    chances = word_chances(boxes, EYE, torch.tensor([0, 1]), scale=100.0)
    assert chances[0].tolist() == pytest.approx([0.5, 0.5, 0, 0, 0], abs=1e-6)
    assert chances[1].tolist() == pytest.approx([0, 0, 0, 1, 0], abs=1e-6)


@pytest.fixture(scope="module")
def model() -> GKC:
    torch.manual_seed(0)
    shape = ModelConfig("ovsbench-world", 5, 4, 32, 1, 1, 32, 4, distil_head=True)
    return GKC(shape, clip.create("ovsbench-world")[0].visual)


def test_padding_of_a_shorter_list_takes_no_part(model: GKC):
    names = StepNames.of_images(EYE, [ImageNames((0, 3), ()), ImageNames((0, 3, 1), ())])
    embeddings = torch.randn(2, 4, 5)
    logits = names.logits(model, embeddings)
    assert logits.shape == (2, 4, 4)
    assert torch.isinf(logits[0, :, 2]).all()
    alone = StepNames.plain(EYE.vectors[[0, 3]]).logits(model, embeddings[:1])
    assert torch.allclose(logits[:1].softmax(-1)[..., [0, 1, 3]], alone.softmax(-1), atol=1e-6)
    assert torch.allclose(names.of(1).logits(model, embeddings[1:]), logits[1:])


@pytest.mark.parametrize(("mean", "pooled"), [(False, [2.0, 7.0]), (True, [1.0, 5.0])])
def test_pooled_words_count_by_their_best_or_their_mean(model: GKC, mean: bool, pooled: list[float]):
    names = StepNames(EYE.vectors[None], torch.ones(1, 5, dtype=torch.bool), EYE.owner, mean)
    values = torch.tensor([0.0, 1.0, 2.0, 3.0, 7.0])
    length = values.norm()
    logits = names.logits(model, values[None, None]) * length / model.log_scale.exp()
    assert logits[0, 0, :2].tolist() == pytest.approx(pooled, abs=1e-5)


def target(classes: list[int]) -> Target:
    return Target(torch.zeros(len(classes), 2, 2), torch.tensor(classes), torch.ones(2, 2), tuple(range(len(classes))))


def test_each_kind_of_diversification_names_regions_its_own_way():
    rng = np.random.default_rng(0)
    targets, boxes = [target([0, 1])], EYE.vectors[[2, 4]]
    fitting = step_names.name_step("thresRand", EYE, targets, boxes, 100.0, rng, [rng] * len(targets))
    assert fitting.regions.tolist() == EYE.vectors[[2, 4]].tolist(), "the words that fit the boxes"
    assert fitting.offered.vectors[0].tolist() == EYE.vectors[[2, 4]].tolist()
    off = step_names.name_step("off", EYE, targets, None, 1.0, rng)
    assert off.offered.vectors[0].tolist() == EYE.vectors[[0, 3]].tolist() == off.plain.tolist()
    pooled = step_names.name_step("clusterAvg", EYE, targets, None, 1.0, rng)
    assert pooled.offered.mean
    assert pooled.offered.pool is not None
    drawn = step_names.name_step("draw", EYE, targets, None, 1.0, rng)
    assert drawn.regions.tolist() == drawn.offered.vectors[0].tolist()


def relations(v, c, t, scale: float, takes=None) -> tgkd.Relations:
    """Those of one image at one prediction point, or of several images."""
    v, c, t = (of if of.ndim == 3 else of[None] for of in (v, c, t))
    takes = torch.ones(v.shape[:2], dtype=torch.bool) if takes is None else takes
    return tgkd.relations(v[None], c, t, torch.tensor(scale), takes[None])


def test_relations_of_one_region_are_one_plain_and_one_pair_term():
    v, c, t = (F.normalize(torch.tensor([row]), dim=-1) for row in ([1.0, 0.0], [0.6, 0.8], [0.0, 1.0]))
    part = relations(v, c, t, 2.0)
    assert part.plain.tolist() == pytest.approx([2 - 2 * 0.6])
    assert part.pairs.tolist() == pytest.approx([(4 * 1 - 0.6) ** 2])
    assert part.merged.value.item() == pytest.approx((0.8 + 3.4**2) / 2)
    assert [x.value.item() for x in part.separate] == pytest.approx([0.8, 3.4**2])


def test_relations_are_those_of_a_loop_over_pairs_of_each_image():
    v, c, t = (F.normalize(torch.randn(2, 4, 6), dim=-1) for _ in range(3))
    takes = torch.tensor([[True, True, False, True], [False, True, False, False]])
    terms: dict[str, list[float]] = {"plain": [], "pairs": []}
    for image in range(2):
        for i in np.flatnonzero(takes[image]):
            terms["plain"].append(((v[image, i] - c[image, i]) ** 2).sum().item())
            for j in np.flatnonzero(takes[image]):
                pair = (1.3**2 * (t[image, i] @ t[image, j]) - v[image, i] @ c[image, j]) ** 2
                terms["pairs"].append(pair.item())
    part = relations(v, c, t, 1.3, takes)
    assert len(terms["pairs"]) == 3 * 3 + 1
    assert part.merged.value.item() == pytest.approx(np.mean(terms["plain"] + terms["pairs"]), abs=1e-6)
    assert [x.value.item() for x in part.separate] == pytest.approx([np.mean(of) for of in terms.values()], abs=1e-6)


def test_spellings_of_data_sets_are_understood():
    assert plain("Fence-merged") == plain(" fence ") == "fence"
    assert plain("sky-other-merged") == "sky"
    assert [s.word for s in Thesaurus().synonyms("traffic_light")] == ["traffic signal", "stoplight"]


def test_own_table_has_no_name_among_its_synonyms_and_none_twice():
    for name, words in Table.read(OWN).words.items():
        found = [plain(word) for word in words]
        assert 0 < len(set(found)) == len(found), name
        assert name not in found


def test_a_synonym_that_names_a_novel_class_is_a_leak_and_dropped():
    vocabulary = Vocabulary(
        (
            Category(1, "couch", True, synonyms=("Sofa", "divan")),
            Category(2, "sofa", True, is_novel=True),
            Category(3, "bed", True, synonyms=("divan",)),
        )
    )
    thesaurus = Thesaurus(tables=())
    assert [(leak.base, leak.synonym.word, leak.novel) for leak in thesaurus.leaks(vocabulary)] == [
        ("couch", "Sofa", "sofa")
    ]
    base = vocabulary.offered("base")
    found = thesaurus.diversify(base, [c for c in vocabulary if c.is_novel])
    assert [(c.name, c.synonyms) for c in found] == [("couch", ("divan",)), ("bed", ())], "a word has one class"


def wordnet(folder: Path) -> Path:
    """A WordNet of three synsets."""
    licence = b"  1 This is a small file in the form of WordNet's.  \n"
    entries = [
        b"06 n 02 couch 0 sofa 0 001 @ 00000000 n 0000 | a seat  \n",
        b"06 n 01 couch 1 000 | a coat of paint  \n",
        b"04 n 02 couch 2 phrasing 0 000 | an act  \n",
    ]
    offset, data, offsets = len(licence), licence, []
    for entry in entries:
        offsets.append(offset)
        data += f"{offset:08d} ".encode() + entry
        offset = len(data)
    folder.mkdir(exist_ok=True)
    (folder / "data.noun").write_bytes(data)
    row = " ".join(f"{o:08d}" for o in offsets)
    index = f"couch n 3 1 @ 3 1 {row}  \ntraffic_light n 1 1 @ 1 0 {offsets[0]:08d}  \n"
    (folder / "index.noun").write_bytes(licence + index.encode())
    return folder


def test_wordnet_gives_the_most_frequent_meanings_that_a_camera_sees(tmp_path: Path):
    folder = wordnet(tmp_path / "wn")
    assert [sense.kind for sense in WordNet(folder).senses("Couch")] == [6, 6, 4]
    assert [w.word for w in Thesaurus((), WordNet(folder), senses=3).synonyms("couch")] == ["sofa"]
    everything = Thesaurus((), WordNet(folder), senses=3, kinds=frozenset(range(46)))
    assert [(w.word, w.source[:7]) for w in everything.synonyms("couch")][-1] == ("phrasing", "wordnet")
    assert WordNet(folder).senses("unheard of") == ()
    assert [w.word for w in Thesaurus((), WordNet(folder)).synonyms("traffic light")] == ["couch", "sofa"]


def test_a_folder_that_is_no_wordnet_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"index\.noun: expected a file of WordNet"):
        WordNet(tmp_path).senses("dog")
    folder = wordnet(tmp_path / "wn")
    (folder / "data.noun").write_bytes(b"x" * 400)
    with pytest.raises(DataError, match="expected a synset at byte"):
        WordNet(folder).senses("couch")
    (folder / "index.noun").write_text("couch n three\n")
    with pytest.raises(DataError, match="line 1: expected a noun"):
        WordNet(folder).senses("couch")


@pytest.mark.parametrize("words", ['{"dog": "hound"}', '["dog"]', '{"dog": [""]}', '{"dog": [1]}'])
def test_a_table_of_another_form_is_refused(tmp_path: Path, words: str):
    path = tmp_path / "words.json"
    path.write_text(f'{{"schema": 1, "words": {words}}}')
    with pytest.raises(DataError, match='expected "words" with a list of words'):
        Table.read(path)


def test_a_text_encoder_reads_names_as_they_are_said():
    space = Prompted(clip.load_clip("clip-world"))
    said = space.encode(["sky", "door stuff", "red heart", "t shirt"])
    assert torch.equal(space.encode(["sky-other-merged", "door-stuff", "red_heart", "t-shirt"]), said)
    assert not torch.equal(said[0], said[1])
