"""Caption grounding: the loss by its formula, the words of captions, their files, and training with them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402

from ovsbench.benchmark.errors import DataError, MethodError  # noqa: E402
from ovsbench.benchmark.manifest import load  # noqa: E402
from ovsbench.benchmark.types import Category, Vocabulary  # noqa: E402
from ovsbench.data_prep.world.build import WorldSettings, build_world  # noqa: E402
from ovsbench.gkc_video import checkpoint  # noqa: E402
from ovsbench.gkc_video.text.synonyms import Table, Thesaurus  # noqa: E402
from ovsbench.gkc_video.text.text_space import Bank  # noqa: E402
from ovsbench.gkc_video.training import caption_source as captions_file  # noqa: E402
from ovsbench.gkc_video.training.caption_source import CaptionSource, read_captions  # noqa: E402
from ovsbench.gkc_video.training.distributed import ALONE, Distributed  # noqa: E402
from ovsbench.gkc_video.training.frame_reader import batches  # noqa: E402
from ovsbench.gkc_video.training.frames import Augmentation, FrameSource  # noqa: E402
from ovsbench.gkc_video.training.gkc_settings import GKCTraining  # noqa: E402
from ovsbench.gkc_video.training.grounding import WordFinder, contrast, known_words, similarities  # noqa: E402
from ovsbench.gkc_video.training.train import train  # noqa: E402
from ovsbench.gkc_video.training.training_state import State  # noqa: E402
from ovsbench.gkc_video.training.training_tables import check  # noqa: E402

torch.set_num_threads(1)
NONE = Thesaurus(())


def loss_of(embeddings: torch.Tensor, present: torch.Tensor, vectors: torch.Tensor, captions, scale: torch.Tensor):
    shares = torch.zeros(len(vectors), len(captions))
    for number, caption in enumerate(captions):
        shares[list(caption), number] = 1 / len(caption)
    return contrast(similarities(embeddings, present, vectors, shares, scale), captions, scale).value


def by_hand(embeddings, present, vectors, captions, s: float) -> float:
    """The module's formula, one number at a time."""
    count = len(captions)
    fits = [[0.0] * count for _ in range(count)]
    for i in range(count):
        for j, caption in enumerate(captions):
            for word in caption:
                cosines = [float(e @ vectors[word] / (e.norm() * vectors[word].norm())) for e in embeddings[i]]
                pulls = [float(o) * math.exp(s * c) for o, c in zip(present[i], cosines, strict=True)]
                fits[i][j] += sum(p * c for p, c in zip(pulls, cosines, strict=True)) / sum(pulls) / len(caption)
    total = 0.0
    for i in range(count):
        alike = [j for j in range(count) if set(captions[j]) == set(captions[i])]
        for row in (fits[i], [fits[j][i] for j in range(count)]):
            everything = math.log(sum(math.exp(s * value) for value in row))
            total += sum(everything - s * row[j] for j in alike) / len(alike) / 2
    return total / count


@pytest.mark.parametrize("captions", [[(0, 1), (2,), (1, 3, 4)], [(0,), (2, 1), (1, 2)], [(3,)], [(1,), (1,), (1,)]])
def test_the_loss_is_its_formula(captions):
    draw = torch.Generator().manual_seed(len(captions))
    embeddings = torch.randn(len(captions), 4, 6, generator=draw)
    present = torch.rand(len(captions), 4, generator=draw)
    vectors = F.normalize(torch.randn(5, 6, generator=draw), dim=-1)
    found = loss_of(embeddings, present, vectors, captions, torch.tensor(3.0)).item()
    assert found == pytest.approx(by_hand(embeddings, present, vectors, captions, 3.0), rel=1e-5)


def test_two_pictures_that_each_show_their_word_cost_what_can_be_counted():
    words = torch.eye(2)
    shown = 2 * words[:, None]  # one query each, of any length
    cost = loss_of(shown, torch.ones(2, 1), words, [(0,), (1,)], torch.tensor(5.0)).item()
    assert cost == pytest.approx(math.log(1 + math.exp(-5)), rel=1e-4)
    same = loss_of(shown, torch.ones(2, 1), words, [(0,), (0,)], torch.tensor(5.0)).item()
    assert same == pytest.approx((math.log(2) + math.log(1 + math.exp(5)) - 2.5) / 2, rel=1e-4)
    assert loss_of(shown[:1], torch.ones(1, 1), words, [(0,)], torch.tensor(5.0)).item() == 0, "nothing to tell from"


def test_a_query_that_is_no_object_takes_no_part():
    words = torch.eye(3)
    queries = torch.stack([words[[0, 1]], words[[1, 2]]])
    present = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    shares = torch.eye(3)[:, [0, 2]]
    fits = similarities(queries, present, words, shares, torch.tensor(4.0))
    assert torch.allclose(fits, torch.eye(2), atol=1e-3)


def test_gradients_reach_queries_and_temperature_and_not_the_text():
    embeddings = torch.randn(2, 3, 4, requires_grad=True)
    scale = torch.tensor(4.0, requires_grad=True)
    vectors = F.normalize(torch.randn(3, 4), dim=-1)
    loss_of(embeddings, torch.ones(2, 3), vectors, [(0, 1), (2,)], scale).backward()
    assert (embeddings.grad.abs().sum(-1) > 0).all(), "every query of every picture"
    assert scale.grad.abs() > 0
    assert vectors.grad is None


def test_queries_learn_the_words_of_their_captions_without_being_told_which():
    captions = [(0, 1), (1, 2), (0, 2), (3, 0)]
    words = torch.eye(4)
    embeddings = torch.randn(4, 2, 4, generator=torch.Generator().manual_seed(3)).requires_grad_()
    optimiser = torch.optim.Adam([embeddings], lr=0.05)
    for _ in range(300):
        optimiser.zero_grad()
        loss_of(embeddings, torch.ones(4, 2), words, captions, torch.tensor(10.0)).backward()
        optimiser.step()
    assert [set(picture.argmax(-1).tolist()) for picture in embeddings] == [set(caption) for caption in captions]


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A dog.", ["dog"]),
        ("Two DOGS, a fire-hydrant & a Traffic  light!", ["dog", "fire hydrant", "traffic light"]),
        ("lights on a traffic light", ["light", "traffic light"]),
        ("dog dogs dog", ["dog"]),
        ("butterflies and boxes", ["butterfly", "box"]),
        ("glasses beside a glass", ["glasses", "glass"]),
        ("hotdog, doghouse, traffic", []),
        ("ein Kätzchen, 猫", ["kätzchen", "猫"]),
        ("", []),
    ],
)
def test_words_are_found_longest_first_and_in_the_plural(caption: str, words: list[str]):
    known = ["light", "traffic light", "dog", "fire hydrant", "butterfly", "box", "glass", "glasses", "kätzchen", "猫"]
    assert [known[row] for row in WordFinder.of(known).find(caption)] == words


def test_a_word_that_a_novel_class_claims_is_novel():
    vocabulary = Vocabulary(
        (
            Category(1, "dog", is_thing=True, synonyms=("hound",)),
            Category(2, "sky-other-merged", is_thing=False),
            Category(3, "wolf", is_thing=True, is_novel=True, synonyms=("grey_wolf",)),
        )
    )
    table = Table("t", {"dog": ("wolf", "puppy"), "wolf": ("hound",)})
    known = known_words(vocabulary, Thesaurus((table,)))
    owners = {"wolf": 3, "grey wolf": 3, "hound": 3, "dog": 1, "puppy": 1, "sky": 2}
    assert {word: category.id for word, category in known.items()} == owners
    assert list(known_words(vocabulary, Thesaurus((table,)), frozenset({2})))[3] == "sky", "held out, it claims first"


NAMES = Vocabulary((Category(1, "dog", is_thing=True), Category(2, "cat", is_thing=True, is_novel=True)))
SPACE = Bank(("dog", "cat"), torch.eye(2), "m", "{}")


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(content: object, pictures: tuple[str, ...] = ("a.png", "b.png")) -> Path:
        for name in pictures:
            Pillow.new("RGB", (8, 8)).save(tmp_path / name)
        file = tmp_path / "captions.json"
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        return file

    return write


def layout(*captions: tuple[object, object]) -> dict:
    return {
        "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
        "annotations": [{"image_id": key, "caption": text} for key, text in captions],
    }


def source(file: Path, *, novel_words: bool = True) -> CaptionSource:
    hidden = frozenset() if novel_words else NAMES.novel
    return CaptionSource.of(file.parent, file, known_words(NAMES, NONE), SPACE, hidden)


def test_captions_become_words_and_tell_whether_they_name_something_novel(write):
    file = write(layout((1, "a dog"), (1, "nothing known"), (2, "a cat and a dog"), (1, "dogs")))
    found = source(file)
    dog, cat = found.vectors.tolist().index([1, 0]), found.vectors.tolist().index([0, 1])
    assert found.pictures == ((file.parent / "a.png", ((dog,), (dog,))), (file.parent / "b.png", ((cat, dog),)))
    assert found.facts.names_novel
    assert found.facts.about.endswith("2 pictures, 2 words")
    without = source(file, novel_words=False)
    assert without.pictures[1][1] == ((dog,),)
    assert without.facts.names_novel, "the picture shows it all the same"
    assert not source(write(layout((1, "a dog"), (2, "a dog")))).facts.names_novel
    path, words = found.pick(np.random.default_rng(0))
    assert (path, words) == found.pick(np.random.default_rng(0))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"images": [', "expected captions in JSON, got an error"),
        ("[1]", 'with a list "images" of objects'),
        ({"images": [], "annotations": []}, 'a list "images" of objects that is not empty'),
        ({**layout((1, "dog")), "annotations": []}, 'a list "annotations" of objects that is not empty'),
        ({**layout((1, "dog")), "images": [3]}, 'with a list "images" of objects'),
        (layout((9, "a dog")), r"annotations\[0\]: expected the image_id of one of its images, got 9"),
        (layout((1, "a dog"), (1, 5)), r"annotations\[1\]: expected an image_id and a caption"),
        (layout((True, "a dog")), r"annotations\[0\]: expected an image_id"),
        (layout((1, "dog " * 2000)), "at most 4000 characters"),
        (layout((1, "nothing that is known")), "names of classes such as 'cat' or their synonyms, found none"),
        ({**layout((1, "dog")), "images": [{"id": 1, "file_name": "../a.png"}]}, "a file_name in .*, got '../a.png'"),
        ({**layout((1, "dog")), "images": [{"id": 1, "file_name": "/etc/a"}]}, "a file_name in .*, got '/etc/a'"),
        ({**layout((1, "dog")), "images": [{"id": 1, "file_name": "c.png"}]}, "the picture .*c.png, found none"),
        (
            {**layout((1, "dog")), "images": [{"id": 1, "file_name": "a.png"}] * 2},
            r"images\[1\]: expected an id",
        ),
        ({**layout((1, "dog")), "images": [{"file_name": "a.png"}]}, r"images\[0\]: expected an id of its own"),
        ('{"images": [{"id": NaN}]}', "NaN is no number"),
    ],
)
def test_captions_with_a_fault_are_one_sentence(write, content: object, sentence: str):
    with pytest.raises(DataError, match=sentence) as error:
        source(write(content))
    assert "captions.json" in str(error.value)
    assert "\n" not in str(error.value)


def test_captions_that_are_missing_or_too_large_are_refused(write, tmp_path: Path, monkeypatch):
    with pytest.raises(DataError, match=r"got an error: No such file.*Correct file in \[data.captions\]"):
        read_captions(tmp_path, tmp_path / "none.json")
    monkeypatch.setattr(captions_file, "LARGEST", 10)
    with pytest.raises(DataError, match="expected captions of at most 0 MB"):
        source(write(layout((1, "dog"))))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("data")
    build_world(root / "train", WorldSettings("train", videos=2, frames=2, size=(96, 160)))
    build_world(root / "captioned", WorldSettings("unlabelled", videos=3, frames=2, size=(96, 160)))
    return {path.name: path for path in root.iterdir()}


def recipe(folders: dict[str, Path], **training: object) -> dict:
    return {
        "kind": "gkc",
        "data": {name: {"folder": str(folders[where])} for name, where in
                 (("labelled", "train"), ("unlabelled", "captioned"), ("captions", "captioned"))},
        "clip": {"checkpoint": "clip-world"},
        "model": {"queries": 6, "width": 32, "encoder_layers": 1, "decoder_layers": 1, "feed_forward": 32, "heads": 4},
        "augmentation": {"size": [64, 96]},
        "losses": {"grounding": 2.0},
        "training": {"steps": 2, "batch": 2, "save_every": 1, "captions": 4, "accumulate": 2, **training},
    }  # fmt: skip


def quiet(line: str) -> None:
    """Takes the log."""


def test_captions_of_the_world_name_what_its_frames_show(folders):
    folder = folders["captioned"]
    data, found = load(folder), read_captions(folder, folder / "captions.json")
    words = {word: c for c in data.vocabulary for word in (c.name, *c.synonyms)}
    finder = WordFinder.of(list(words))
    assert [path.name for path, _ in found] == ["00000.jpg", "00001.jpg"] * 3
    named = [words[list(words)[row]] for _, captions in found for text in captions for row in finder.find(text)]
    assert any(c.is_novel for c in named)
    assert {c.is_thing for c in named} == {True, False}
    assert all(len(captions) == 2 for _, captions in found)


def test_a_stopped_training_with_captions_goes_on_to_the_same_bytes_and_says_what_it_saw(
    tmp_path: Path, folders, monkeypatch
):
    tables = recipe(folders)
    whole = train(tables, tmp_path / "whole.safetensors", device="cpu", log=quiet)
    save = State.save

    def save_and_stop(*arguments: object) -> None:
        save(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(State, "save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            train(tables, tmp_path / "stopped.safetensors", device="cpu", log=quiet)
    stopped = train(tables, tmp_path / "stopped.safetensors", device="cpu", log=quiet)
    (header, one), (_, two) = checkpoint.read(whole, "gkc"), checkpoint.read(stopped, "gkc")
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert header.metadata["saw_novel"] == "words in captions"
    assert header.metadata["captions"].startswith("captions.json, sha256 ")
    assert header.metadata["final"]["grounding"] > 0
    plain = train(recipe(folders, captions=0), tmp_path / "plain.safetensors", device="cpu", log=quiet)
    header, three = checkpoint.read(plain, "gkc")
    assert "grounding" not in header.metadata["final"]
    assert (header.metadata["saw_novel"], header.metadata["captions"]) == ("no", "")
    assert not all(torch.equal(one[name], three[name]) for name in one)


def test_a_training_passes_over_novel_words_and_tells_of_the_pictures(tmp_path: Path, folders):
    tables = recipe(folders, steps=1, novel_words=False)
    header, _ = checkpoint.read(train(tables, tmp_path / "a.safetensors", device="cpu", log=quiet), "gkc")
    assert header.metadata["saw_novel"] == "without labels"
    tables = {**recipe(folders, steps=1, unlabelled=2, distil_from=0.0), "start": str(tmp_path / "a.safetensors")}
    header, _ = checkpoint.read(train(tables, tmp_path / "b.safetensors", device="cpu", log=quiet), "gkc")
    assert header.metadata["saw_novel"] == "without labels; words in captions"
    assert {"distil", "grounding"} <= set(header.metadata["final"])


def test_words_of_classes_that_are_held_out_are_passed_over(tmp_path: Path, folders, monkeypatch):
    kept = []
    of = CaptionSource.of
    monkeypatch.setattr(CaptionSource, "of", lambda *a, **k: kept.append((a, of(*a, **k))) or kept[-1][1])
    tables = recipe(folders, steps=1, hold_out=12)
    header, _ = checkpoint.read(train(tables, tmp_path / "a.safetensors", device="cpu", log=quiet), "gkc")
    (_, _, known, *_), source = kept[0]
    used = {row for _, captions in source.pictures for rows in captions for row in rows}
    names = {list(known.values())[row].name for row in used}
    assert len(header.metadata["held_out"]) == 12
    assert names
    assert not names & set(header.metadata["held_out"])


def test_captioned_pictures_do_not_depend_on_who_reads_them(folders):
    frames = FrameSource(load(folders["train"]), Augmentation((64, 96), scale=(1.0, 1.2)))
    vocabulary = frames.benchmark.vocabulary
    space = Bank(tuple(c.name for c in vocabulary), torch.eye(len(vocabulary)), "m", "{}")
    known = known_words(vocabulary, NONE)
    source = CaptionSource.of(folders["captioned"], folders["captioned"] / "captions.json", known, space)
    settings = GKCTraining(steps=6, batch=2, captions=4)

    def samples(distributed: Distributed = ALONE, readers: int = 0):
        how = replace(settings, readers=readers)
        with closing(batches(how, frames, None, first=4, distributed=distributed, captions=source)) as read:
            return [(c.image, c.words) for part in next(read) for c in part.captioned]

    alone = samples()
    assert [image.shape for image, _ in alone] == [(64, 96, 3)] * 4
    shares = [samples(Distributed(rank, 2)) for rank in range(2)]
    dealt = [shares[0][0], shares[1][0], shares[0][1], shares[1][1]]
    for other in (samples(readers=1), dealt):
        assert [words for _, words in other] == [words for _, words in alone]
        assert np.array_equal([image for image, _ in other], [image for image, _ in alone])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"training": {"captions": 1}}, "captions: expected 0, or at least 2 for each of accumulate = 1"),
        ({"training": {"captions": 3, "batch": 2, "accumulate": 2}}, "accumulate = 2 parts, to tell them apart, got 3"),
        ({"training": {"captions": -2}}, "captions: expected 0"),
        ({"training": {"captions": 4, "novel_words": 1}}, "novel_words: expected true or false, got 1"),
        (
            {"training": {"captions": 4}, "data": {"labelled": {"folder": "x"}}},
            r"expected \[data.captions\]",
        ),
        (
            {"data": {"labelled": {"folder": "x"}, "captions": {"folder": "x", "file": 3}}},
            "expected a text, got 3",
        ),
        ({"losses": {"ground": 1.0}}, "unknown key 'ground'; did you mean 'grounding'"),
    ],
)
def test_settings_of_captions_that_cannot_be_are_refused_before_anything_is_built(folders, change: dict, sentence: str):
    with pytest.raises((DataError, MethodError), match=sentence):
        check({**recipe(folders), **change}, Path("m.safetensors"))
    with pytest.raises(DataError, match="captions: expected at least 2 for each of 2 processes"):
        GKCTraining(captions=2).check_world_size(2)
