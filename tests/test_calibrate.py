"""The base logit penalty that is chosen on base classes that a training held out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch")
from ovsbench.benchmark import engine  # noqa: E402
from ovsbench.benchmark.errors import DataError, MethodError  # noqa: E402
from ovsbench.benchmark.manifest import Benchmark, load  # noqa: E402
from ovsbench.benchmark.record import Settings  # noqa: E402
from ovsbench.benchmark.types import Rules  # noqa: E402
from ovsbench.cli import app  # noqa: E402
from ovsbench.data_prep.world.build import WorldSettings, build_world  # noqa: E402
from ovsbench.gkc_video import calibrate as calibrating  # noqa: E402
from ovsbench.gkc_video import checkpoint  # noqa: E402
from ovsbench.gkc_video.calibrate import COUNTS, calibrate  # noqa: E402
from ovsbench.gkc_video.method import GKCMethod, build  # noqa: E402
from ovsbench.gkc_video.model.inference import penalised as penalised_logits  # noqa: E402
from ovsbench.gkc_video.training.train import train  # noqa: E402

torch.set_num_threads(1)


def quiet(line: str) -> None:
    """Takes the log."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("data")
    build_world(root / "train", WorldSettings("train", videos=4, frames=2, size=(96, 160)))
    build_world(root / "dev", WorldSettings("dev", videos=2, frames=2, size=(96, 160)))
    return {path.name: path for path in root.iterdir()}


@pytest.fixture(scope="module")
def present(folders: dict[str, Path]) -> list[str]:
    """Base classes with pixels in both folders."""

    def names(data: Benchmark) -> set[str]:
        segments = [
            s for e in data.entries for f in data.truth_frames(e.id) for s in f.segments.values()
        ]  # fmt: skip
        return {data.vocabulary.by_id[s.category].name for s in segments if s.category in data.vocabulary.base}

    return sorted(names(load(folders["train"])) & names(load(folders["dev"])))


@pytest.fixture(scope="module")
def knows_too_much(folders: dict[str, Path], present: list[str], tmp_path_factory: pytest.TempPathFactory) -> GKCMethod:
    """The shipped checkpoint, with a header that says that it never saw two of its classes."""
    header, tensors = checkpoint.read(checkpoint.resolve("gkc-world"), "gkc")
    metadata = {**header.metadata, "held_out": present[:2]}
    metadata["classes"] = [name for name in header.metadata["classes"] if name not in present[:2]]
    path = tmp_path_factory.mktemp("weights") / "held.safetensors"
    checkpoint.write(path, replace(header, metadata=metadata), tensors)
    return build(checkpoint=path, device="cpu", base_logit_penalty=0.0)


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


def test_taking_from_logits_and_from_probabilities_is_the_same():
    """Odds 4 : 2 less ln 4 on the first are 1 : 2; and any other case as the network's logits have it."""
    odds = np.array([[4, 2]], np.float32) / 6
    moved = calibrating.penalised(odds, np.array([np.log(4), 0], np.float32))
    assert moved[0].tolist() == pytest.approx([1 / 3, 2 / 3])
    rng = np.random.default_rng(0)
    logits = torch.tensor(rng.normal(size=(50, 8)) * 9, dtype=torch.float32)
    penalty = torch.tensor(rng.normal(size=7), dtype=torch.float32)
    before, after = (h.softmax(-1)[:, :-1].numpy() for h in (logits, penalised_logits(logits, penalty)))
    given = before / before.sum(-1, keepdims=True)
    assert np.allclose(calibrating.penalised(given, penalty.numpy()), after / after.sum(-1, keepdims=True), atol=1e-5)
    assert calibrating.penalised(odds, np.array([1e6, 0], np.float32))[0].tolist() == [0, 1]
    assert np.isfinite(calibrating.penalised(np.array([[1, 0]], np.float32), np.array([1e6, 1e6], np.float32))).all()


@pytest.mark.parametrize("task", ["panoptic", "semantic"])
def test_one_pass_gives_what_a_run_for_every_value_gives(
    knows_too_much: GKCMethod, folders: dict[str, Path], tmp_path: Path, task: str
):
    """The slow way: the method itself with the value as its option, on a folder where nothing is novel."""
    data = load(folders["train"])
    data = replace(data, rules=Rules(task=task, vpq_windows=(1,)), entries=data.entries[:2])  # type: ignore[arg-type]
    values = (0.0, 2.5)
    method = replace(knows_too_much, base_logit_penalty=7.0, _tables={})  # its own value does not matter
    rows = calibrate(method, data, values, tmp_path / "out")
    ids = {c.name: c.id for c in data.vocabulary}
    for row, value in zip(rows, values, strict=True):
        slow = replace(knows_too_much, base_logit_penalty=value, _tables={})
        settings = Settings("gkc", None, {}, "base", "cpu")
        engine.predict(slow, data, tmp_path / f"run{value}", settings=settings)
        engine.score(data, tmp_path / f"run{value}")
        counts = json.loads((tmp_path / f"run{value}" / "counts.jsonl").read_text().splitlines()[0])["counts"]["miou"]
        lines = [json.loads(line) for line in (tmp_path / "out" / COUNTS).read_text().splitlines()]
        assert counts in [line["counts"] for line in lines if line["value"] == value]
        for found, names in ((row.seen, slow.seen), (row.held_out, slow.held_out)):
            assert found == pytest.approx(_miou(data, tmp_path / f"run{value}", {ids[n] for n in names if n in ids}))
    assert rows[0] != rows[1]


def _miou(data: Benchmark, run: Path, ids: set[int]) -> float:
    """By hand, pixel by pixel."""
    hits, true, made = (dict.fromkeys(ids, 0) for _ in range(3))
    for entry in data.entries:
        from ovsbench.benchmark.panoptic import semantic
        from ovsbench.benchmark.running.counting import predicted_frames

        for label, guess in zip(data.truth_frames(entry.id), predicted_frames(data, run, entry.id), strict=True):
            t, p = semantic(label), semantic(guess)
            for c in ids:
                hits[c] += int(((t == c) & (p == c)).sum())
                true[c] += int((t == c).sum())
                made[c] += int(((t >= 0) & (p == c)).sum())
    return float(np.mean([hits[c] / (true[c] + made[c] - hits[c]) for c in ids if true[c]]))


def test_a_large_value_leaves_every_pixel_to_held_out_classes_and_novel_ones_count_nowhere(
    knows_too_much: GKCMethod, folders: dict[str, Path], tmp_path: Path
):
    data = load(folders["dev"])
    assert data.vocabulary.novel
    low, _, high = calibrate(knows_too_much, data, [1e3, -1e3, 0.0], tmp_path / "out")
    assert (low.value, low.held_out, low.harmonic) == (-1e3, 0, 0)
    assert (high.value, high.seen, high.harmonic) == (1e3, 0, 0)
    hidden = {str(c.id) for c in data.vocabulary if c.name in knows_too_much.held_out}
    base = {str(key) for key in data.vocabulary.base}
    for line in map(json.loads, (tmp_path / "out" / COUNTS).read_text().splitlines()):
        (pixels,) = line["counts"]["videos"]
        assert set(pixels) <= base
        frames = data.truth_frames(line["video"])
        labelled = sum(
            int(np.isin(f.ids, [s.id for s in f.segments.values() if str(s.category) in base]).sum()) for f in frames
        )
        assert sum(true for _, _, true in pixels.values()) == labelled
        assert sum(predicted for _, predicted, _ in pixels.values()) == labelled, "pixels of novel classes are void"
        if line["value"] == 1e3:
            assert {key for key, (_, predicted, _) in pixels.items() if predicted} <= hidden


def test_what_was_counted_is_not_counted_again(
    knows_too_much: GKCMethod, folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    data, whole, counted = load(folders["dev"]), calibrating._count, []

    def count(method: object, benchmark: object, classes: object, values: list[float], entry: object) -> object:
        counted.append(values)
        return whole(method, benchmark, classes, values, entry)  # type: ignore[arg-type]

    monkeypatch.setattr(calibrating, "_count", count)
    calibrate(knows_too_much, data, [0.0], tmp_path / "out", limit=1)
    path = tmp_path / "out" / COUNTS
    path.write_bytes(path.read_bytes() + b'{"torn')
    again = calibrate(knows_too_much, data, [0.0, 1.0], tmp_path / "out")
    assert counted == [[0.0], [1.0], [0.0, 1.0]]
    assert again == calibrate(knows_too_much, data, [0.0, 1.0], tmp_path / "out")
    assert len(counted) == 3
    calibrate(replace(knows_too_much, delay=1), data, [0.0], tmp_path / "out", limit=1)
    assert len(counted) == 4, "other settings are counted anew"
    path.write_text('{"key": 3}\n')
    assert calibrate(knows_too_much, data, [0.0], tmp_path / "out", limit=1)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "run.json").write_text("{}")
    with pytest.raises(DataError, match=r"expected a new folder or one of a calibration, found no .* but run\.json"):
        calibrate(knows_too_much, data, [0.0], tmp_path / "other")


def test_data_that_cannot_tell_is_refused(
    knows_too_much: GKCMethod, folders: dict[str, Path], build_benchmark: Callable[..., Benchmark], tmp_path: Path
):
    def refused(method: GKCMethod, data: Benchmark, sentence: str) -> None:
        with pytest.raises((DataError, MethodError), match=sentence):
            calibrate(method, data, [0.0], tmp_path / "out")

    dev = load(folders["dev"])
    refused(replace(knows_too_much, held_out=frozenset()), dev, "that held out none. Train one with hold_out")
    refused(knows_too_much, replace(dev, role="unlabelled"), "expected frames with labels .* got none")
    refused(knows_too_much, replace(dev, rules=Rules(task="instance", vpq_windows=(1,))), "got tracks")
    refused(knows_too_much, build_benchmark(), "boxes: expected base classes that the training had held out, such as")
    absent = {c.name for c in dev.vocabulary.offered("base")} - {
        dev.vocabulary.by_id[s.category].name
        for entry in dev.entries for frame in dev.truth_frames(entry.id) for s in frame.segments.values()
    }  # fmt: skip
    never = replace(knows_too_much, held_out=frozenset(absent), seen=knows_too_much.seen - absent, _tables={})
    refused(never, dev, "found none of held-out ones. Take more videos")


def test_the_verb_chooses_a_value_from_a_training_to_a_line(
    folders: dict[str, Path], present: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)

    def ovsbench(*arguments: object):
        return CliRunner().invoke(app, [str(a) for a in arguments], prog_name="ovsbench")

    train(recipe(folders, hold_out=present[:2]), Path("held.safetensors"), device="cpu", log=quiet)
    done = ovsbench("calibrate", folders["dev"], "-c", "held.safetensors", "--values", "1,0,0.5", "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert f"held out: {', '.join(present[:2])}" in done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines() if line.strip()[:1].isdigit()] == ["0", "0.5", "1"]
    content = json.loads(Path("runs/calibrate-held/calibration.json").read_text())
    assert f"\n    {content['line']}\n" in done.stdout
    assert "Next:   ovsbench train CONFIG --set base_logit_penalty=" in done.stdout
    told = ovsbench("calibrate", folders["dev"], "-c", "held.safetensors", "--values", "1,0,0.5", "--json")
    assert json.loads(told.stdout) == content
    assert sorted(content["held_out"]) == present[:2]
    assert content["best"] in [row["value"] for row in content["values"]]
    for arguments, sentence in (
        (("-c", "gkc-world"), "got one that held out none"),
        (("--values", "0"), "the method gkc needs trained weights"),
        (("-c", "held.safetensors", "--values", "0,much"), "numbers separated by commas, got 'much'"),
        (("-c", "held.safetensors", "--values", "inf"), "got 'inf'"),
        (("-c", "held.safetensors", "--values", ","), "expected at least one number"),
        (("-c", "held.safetensors", "--option", "base_logit_penalty=1"), "Give its values with --values"),
        (("-c", "held.safetensors", "-o", folders["dev"]), "expected a new folder or one of a calibration"),
    ):
        wrong = ovsbench("calibrate", folders["dev"], *arguments)
        assert wrong.exit_code in (1, 2), wrong.output
        assert sentence in wrong.stderr
        assert wrong.stderr.count("error:") == 1
