"""A training that the suite looks at now and then: a table of scores, the best kept, nothing else changed."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from ovsbench.benchmark.errors import DataError, MethodError  # noqa: E402
from ovsbench.data_prep.world.build import WorldSettings, build_world  # noqa: E402
from ovsbench.gkc_video import checkpoint  # noqa: E402
from ovsbench.gkc_video.training.curve_log import Curve  # noqa: E402
from ovsbench.gkc_video.training.train import train  # noqa: E402
from ovsbench.gkc_video.training.training_state import State  # noqa: E402
from ovsbench.gkc_video.training.training_tables import check  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict:
    root = tmp_path_factory.mktemp("data")
    build_world(root / "train", WorldSettings("train", videos=3, frames=2, size=(96, 160)))
    build_world(root / "dev", WorldSettings("dev", videos=2, frames=2, size=(96, 160)))
    return {
        "kind": "gkc",
        "side": 128,
        "start": "gkc-world",
        "data": {"labelled": {"folder": str(root / "train")}},
        "clip": {"checkpoint": "clip-world"},
        "model": {"queries": 20, "width": 96, "encoder_layers": 1, "decoder_layers": 3, "feed_forward": 256,
                  "heads": 4},
        "augmentation": {"size": [64, 96]},
        "training": {"steps": 5, "batch": 1, "save_every": 2, "learning_rate": 1e-4},
        "evaluation": {"folder": str(root / "dev"), "every": 2, "videos": 1, "keep": "best", "by": "VPQ.all"},
    }  # fmt: skip


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def test_a_training_is_evaluated_and_resumed_and_its_weights_do_not_notice(tmp_path: Path, tables, monkeypatch):
    lines: list[str] = []
    watched = train(tables, tmp_path / "watched.safetensors", device="cpu", log=lines.append)
    found = rows(tmp_path / "watched.evaluation.csv")
    assert [row["step"] for row in found] == ["2", "4", "5"]
    assert {"mIoU.base", "mIoU.novel", "mIoU.harmonic", "VPQ.all", "mIoU.novel stuff"} <= found[0].keys()
    assert 0.2 < float(found[0]["mIoU.all"]) < 1, "the shipped weights have .37 here, a start from nothing 0"
    assert sum("evaluation after step" in line for line in lines) == 3
    assert (tmp_path / "watched.evaluation.png").read_bytes()[:4] == b"\x89PNG"
    best = max(found, key=lambda row: float(row["VPQ.all"]))
    header, _ = checkpoint.read(tmp_path / "watched.best.safetensors", "gkc")
    assert header.metadata["steps"] == int(best["step"])
    left = sorted(path.name for path in tmp_path.iterdir())
    assert [name for name in left if name.startswith(".")] == [], "no state, no run is left"

    save = State.save

    def save_and_stop(*arguments: object) -> None:
        save(*arguments)
        if arguments[2] == 4:  # steps done
            raise KeyboardInterrupt

    alone = {key: value for key, value in tables.items() if key != "evaluation"}
    monkeypatch.setattr(State, "save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        train(tables, tmp_path / "stopped.safetensors", device="cpu", log=lines.append)
    monkeypatch.setattr(State, "save", save)
    # What a killed run had added after its state is dropped.
    Curve(tmp_path / "stopped.evaluation.csv").add(9, {"VPQ.all": 1.0}, 0)
    stopped = train(tables, tmp_path / "stopped.safetensors", device="cpu", log=lines.append)
    plain = train(alone, tmp_path / "plain.safetensors", device="cpu", log=lines.append)
    assert rows(tmp_path / "stopped.evaluation.csv")[-1] == found[-1]
    weights = [checkpoint.read(path, "gkc")[1] for path in (watched, stopped, plain)]
    for other in weights[1:]:
        assert all(torch.equal(tensor, other[name]) for name, tensor in weights[0].items())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"every": 0}, r"\[evaluation\]: expected every from 1"),
        ({"keep": "worst"}, "expected one of last, best, got 'worst'"),
        ({"evry": 3}, "unknown key 'evry'; did you mean 'every'"),
    ],
)
def test_a_fault_in_the_table_is_found_before_anything_is_built(tables, change: dict, sentence: str):
    with pytest.raises((MethodError, DataError), match=sentence):
        check({**tables, "evaluation": {**tables["evaluation"], **change}}, Path("a"))
    with pytest.raises(MethodError, match=r"expected \[evaluation\] with the folder"):
        check({**tables, "evaluation": {"every": 2}}, Path("a"))


def test_an_unknown_score_is_named(tmp_path: Path, tables):
    wrong = {**tables, "evaluation": {**tables["evaluation"], "by": "VPQ.novle"}}
    with pytest.raises(DataError, match=r"there is no score 'VPQ.novle'; did you mean 'VPQ.novel'"):
        train(wrong, tmp_path / "a.safetensors", device="cpu", log=lambda line: None)


def test_a_missing_tensorboard_is_one_sentence(tmp_path: Path, tables, monkeypatch):
    import builtins

    real = builtins.__import__

    def without(name: str, *rest: object, **more: object) -> object:
        if name == "torch.utils.tensorboard":
            raise ImportError("No module named 'tensorboard'")
        return real(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    wanted = {**tables, "training": {**tables["training"], "tensorboard": True}}
    with pytest.raises(MethodError, match="needs the package tensorboard, which is missing"):
        train(wanted, tmp_path / "a.safetensors", device="cpu", log=lambda line: None)
    assert not list(tmp_path.iterdir())


def test_curves_are_drawn_from_two_lines_on(tmp_path: Path):
    curve = Curve(tmp_path / "a.csv")
    curve.add(1, {"mask": 0.5}, 1.0)
    curve.draw()
    assert not (tmp_path / "a.png").exists()
    curve.add(2, {"mask": 0.4, "distil": 1.0, "VPQ": None}, 2.0)
    curve.draw()
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "a.csv").read_text().splitlines()[1] == "1,1,0.50000,,"
