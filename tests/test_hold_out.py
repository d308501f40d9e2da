"""Base classes that a training holds out: void, nameless, and written into the header."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from ovsbench.benchmark.errors import DataError, MethodError  # noqa: E402
from ovsbench.benchmark.manifest import Benchmark, load  # noqa: E402
from ovsbench.benchmark.types import Category, Vocabulary  # noqa: E402
from ovsbench.data_prep.world.build import WorldSettings, build_world  # noqa: E402
from ovsbench.gkc_video import checkpoint  # noqa: E402
from ovsbench.gkc_video.training import backward  # noqa: E402
from ovsbench.gkc_video.training.frame_reader import _read_there  # noqa: E402
from ovsbench.gkc_video.training.frames import Augmentation, FrameSource  # noqa: E402
from ovsbench.gkc_video.training.hold_out import held_out  # noqa: E402
from ovsbench.gkc_video.training.train import train  # noqa: E402
from ovsbench.gkc_video.training.training_state import State  # noqa: E402
from ovsbench.gkc_video.training.training_tables import SynonymSources, words_of  # noqa: E402

torch.set_num_threads(1)
WORDS = Vocabulary(
    (Category(1, "dog", True), Category(2, "cat", True), Category(3, "cow", True), Category(9, "yak", True, True))
)

HIDDEN = ["grass", "red circle"]


def quiet(line: str) -> None:
    """Takes the log."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("data")
    build_world(root / "train", WorldSettings("train", videos=3, frames=2, size=(96, 160)))
    return {"train": root / "train"}


def recipe(folders: dict[str, Path], **training: object) -> dict:
    return {
        "kind": "gkc",
        "side": 96,
        "data": {"labelled": {"folder": str(folders["train"])}},
        "clip": {"checkpoint": "clip-world"},
        "model": {"queries": 4, "width": 32, "encoder_layers": 1, "decoder_layers": 1, "feed_forward": 32, "heads": 4},
        "augmentation": {"size": [96, 160]},
        "training": {"steps": 1, "batch": 1, "save_every": 1, **training},
    }  # fmt: skip


def test_segments_of_held_out_classes_are_void_and_no_class(build_benchmark: Callable[..., Benchmark]):
    data = build_benchmark(role="train", videos=1, frames=4, size=(32, 32), categories=(4, 2, 9))
    hidden = held_out(("cat",), data.vocabulary, 0)
    assert hidden == {2}
    source = FrameSource(data, Augmentation((32, 32), brightness=0.0), hidden)
    assert [c.name for c in source.vocabulary] == ["dog", "grass"], "classes 0 and 1 of the loss"
    met = set()
    for seed in range(8):
        sample = source.draw(np.random.default_rng(seed))
        truth = data.truth("v0", sample.frame)
        visible = {key: s.category for key, s in truth.segments.items() if s.category != 2}
        known = np.isin(truth.ids, list(visible))[:, :: -1 if sample.flips[0] else 1]
        assert sample.target is not None
        assert np.allclose(sample.target.valid, known.reshape(8, 4, 8, 4).mean((1, 3))), "a cell is 4 x 4 pixels"
        assert sorted(sample.target.classes.tolist()) == sorted((4, 9).index(c) for c in visible.values())
        assert set(source.original(sample)[1].segments) == set(visible), "nor is the teacher asked about them"
        met |= {s.category for s in truth.segments.values()}
        (other,) = _read_there(data.folder, source.augmentation, hidden, [(seed,)])
        (again,) = (source.draw(np.random.default_rng((seed,))),)
        assert other.target is not None
        assert again.target is not None
        assert torch.equal(other.target.valid, again.target.valid), "a reading process hides them too"
    assert 2 in met, "there was something to hide"


def test_a_number_is_drawn_by_the_seed_from_base_classes():
    draws = [held_out(2, WORDS, seed) for seed in range(20)]
    assert set(map(len, draws)) == {2}
    assert set.union(*map(set, draws)) == {1, 2, 3}
    assert len(set(draws)) > 1
    assert all(held_out(1, WORDS, seed) < draw for seed, draw in enumerate(draws))
    assert held_out((), WORDS, 0) == held_out(0, WORDS, 0) == frozenset()


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        (["gras"], "no base class 'gras' in the data; did you mean 'grass'"),
        (["red heart"], "no base class 'red heart' in the data"),
        (-1, "hold_out: expected at least 0, got -1"),
        (1000, "expected fewer than the .* base classes of the data, got 1000"),
        ("grass", r"\[training\] hold_out: expected a whole number or \[a text, ...\], got 'grass'"),
        ([1], "hold_out: expected a whole number or"),
        (True, "hold_out: expected a whole number or"),
    ],
)
def test_what_cannot_be_held_out_is_refused_before_anything_is_built(
    folders: dict[str, Path], tmp_path: Path, wanted: object, sentence: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delattr("ovsbench.gkc_video.text.clip.load_clip")
    with pytest.raises((MethodError, DataError), match=sentence):
        train(recipe(folders, hold_out=wanted), tmp_path / "m.safetensors", device="cpu", log=quiet)


def test_no_word_of_a_held_out_class_is_drawn(folders: dict[str, Path], tmp_path: Path):
    class Space:
        asked: Sequence[str] = ()

        def knows(self, name: str) -> bool:
            return True

        def encode(self, names: Sequence[str]) -> torch.Tensor:
            self.asked = names
            return torch.zeros(len(names), 1)

    (tmp_path / "words.json").write_text('{"schema": 1, "words": {"sand": ["Grass", "lawn", "dune"]}}')
    sources, data, space = (
        SynonymSources(own=False, table=str(tmp_path / "words.json")),
        load(folders["train"]),
        Space(),
    )
    words_of(sources, FrameSource(data, Augmentation((96, 160)), held_out(("grass",), data.vocabulary, 0)), space)  # type: ignore[arg-type]
    assert "dune" in space.asked
    assert not {"grass", "Grass", "lawn", "meadow"} & set(space.asked)


def test_the_header_names_what_was_seen_and_what_was_held_out(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """And the names of the loss are only those seen, and a state, or a start, of another choice is refused."""
    offered, whole = [], backward.losses

    def losses(model: object, batch: object, names: object, *rest: object, **more: object) -> object:
        offered.append(names.plain.shape[0])  # type: ignore[attr-defined]
        return whole(model, batch, names, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(backward, "losses", losses)
    out = train(recipe(folders, hold_out=HIDDEN), tmp_path / "m.safetensors", device="cpu", log=quiet)
    metadata = checkpoint.read(out, "gkc")[0].metadata
    base = [c.name for c in load(folders["train"]).vocabulary.offered("base")]
    assert sorted(metadata["held_out"]) == HIDDEN
    assert metadata["classes"] == [name for name in base if name not in HIDDEN]
    assert offered == [len(base) - 2]
    with pytest.raises(MethodError, match=r"start: expected weights that never saw .* masks of 'sand'"):
        train({**recipe(folders, hold_out=["sand"]), "start": str(out)}, tmp_path / "n.safetensors", log=quiet)

    save = State.save

    def save_and_stop(*arguments: object) -> None:
        save(*arguments)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(State, "save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        train(recipe(folders, steps=2, hold_out=2), tmp_path / "s.safetensors", device="cpu", log=quiet)
    with pytest.raises(DataError, match="a stopped training with other settings"):
        train(recipe(folders, steps=2, hold_out=3), tmp_path / "s.safetensors", device="cpu", log=quiet)


def test_a_frame_whose_every_segment_is_held_out_teaches_nothing_and_breaks_nothing(
    folders: dict[str, Path], tmp_path: Path
):
    base = [c.name for c in load(folders["train"]).vocabulary.offered("base")]
    tables = recipe(folders, hold_out=[name for name in base if name != "sand"], steps=2, batch=2)
    header, _ = checkpoint.read(train(tables, tmp_path / "m.safetensors", device="cpu", log=quiet), "gkc")
    assert header.metadata["classes"] == ["sand"]
    assert all(np.isfinite(value) for value in header.metadata["final"].values())
