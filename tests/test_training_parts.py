"""A training file that starts from another one: one command trains both, and can be stopped and given again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from typer.testing import CliRunner  # noqa: E402

from ovsbench.benchmark.errors import MethodError  # noqa: E402
from ovsbench.cli import app  # noqa: E402
from ovsbench.gkc_video import checkpoint  # noqa: E402
from ovsbench.gkc_video.training import train as training  # noqa: E402
from ovsbench.plans.training import parts_of, read_part  # noqa: E402

FIRST = """kind = "gkc"
out = "first.safetensors"
side = 64
[data.labelled]
build = "world"
folder = "train"
part = "train"
videos = 2
frames = 2
[clip]
checkpoint = "clip-world"
[model]
queries = 4
width = 32
encoder_layers = 1
decoder_layers = 1
feed_forward = 32
heads = 4
[augmentation]
size = [64, 96]
[training]
steps = 2
batch = 1
save_every = 1
"""
SECOND = FIRST.replace("side = 64", 'side = 96\nstart = "first.toml"').replace("[64, 96]", "[96, 160]")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("first.toml").write_text(FIRST)
    Path("second.toml").write_text(SECOND.replace("first.safetensors", "second.safetensors"))
    return tmp_path


def ovsbench(*arguments: str) -> tuple[int, str]:
    found = CliRunner().invoke(app, [*arguments, "--device", "cpu"])
    return found.exit_code, found.output.strip()


def test_both_are_trained_and_the_first_only_once(files: Path, monkeypatch: pytest.MonkeyPatch):
    real = training.train

    def stopped_between(tables, out=None, **rest):
        if str(out) == "own.safetensors":
            raise KeyboardInterrupt
        return real(tables, out, **rest)

    monkeypatch.setattr(training, "train", stopped_between)
    command = ["train", "second.toml", "-o", "own.safetensors", "--set", "training.learning_rate=1e-4"]
    code, said = ovsbench(*command)
    assert code != 0
    assert "own.start.safetensors, by first.toml, comes first" in said
    first = Path("own.start.safetensors").read_bytes()
    monkeypatch.setattr(training, "train", real)
    code, said = ovsbench(*command)
    assert code == 0, said
    assert "own.start.safetensors, by first.toml, is there already" in said
    assert Path("own.start.safetensors").read_bytes() == first
    assert not Path("first.safetensors").exists(), "it lies beside what it is made for"
    header, _ = checkpoint.read(Path("own.safetensors"), "gkc")
    assert header.config["side"] == 96
    assert header.metadata["start"].startswith("own.start.safetensors, sha256 ")
    begun, _ = checkpoint.read(Path("own.start.safetensors"), "gkc")
    assert (begun.metadata["start"], begun.config["side"]) == ("", 64)
    assert begun.metadata["training"]["learning_rate"] == header.metadata["training"]["learning_rate"] == 1e-4

    code, said = ovsbench("train", "second.toml", "-o", "own.safetensors", "--set", "training.steps=3")
    assert code == 1
    assert "own.start.safetensors: it was trained, or begun, with other settings in training" in said
    assert Path("own.start.safetensors").read_bytes() == first


def test_a_finished_checkpoint_can_be_named_instead(files: Path):
    assert ovsbench("train", "first.toml")[0] == 0
    code, said = ovsbench("train", "second.toml", "--set", "start=first.safetensors")
    assert code == 0, said
    assert checkpoint.read(Path("second.safetensors"), "gkc")[0].metadata["start"].startswith("first.safetensors")
    assert not Path("second.start.safetensors").exists()


def test_norms_can_stay_as_the_first_part_left_them(files: Path):
    Path("third.toml").write_text(Path("second.toml").read_text() + "frozen_norms = true\n")
    assert ovsbench("train", "third.toml", "-o", "third.safetensors")[0] == 0
    assert ovsbench("train", "second.toml", "--set", "start=third.start.safetensors")[0] == 0
    begun, frozen, moved = (
        checkpoint.read(Path(f"{name}.safetensors"), "gkc")[1] for name in ("third.start", "third", "second")
    )
    means = [name for name in begun if name.endswith("running_mean")]
    assert means
    for name in means:
        assert torch.equal(begun[name], frozen[name]), name
        assert not torch.equal(begun[name], moved[name]), name
        scale = name.replace("running_mean", "weight")
        assert not torch.equal(begun[scale], frozen[scale]), scale


def test_parts_come_in_order_and_settings_of_the_last_stay_there(files: Path):
    Path("third.toml").write_text(SECOND.replace('"first.toml"', '"second.toml"').replace("first.s", "third.s"))
    overrides = {"training.steps": "7", "out": "x.safetensors", "start_part": "masks"}
    first, second, third = parts_of(Path("third.toml"), None, lambda file, last: read_part(overrides, None, file, last))
    assert [str(part.checkpoint) for part in (first, second, third)] == [
        "x.start.start.safetensors",
        "x.start.safetensors",
        "x.safetensors",
    ]
    assert [part.tables["training"]["steps"] for part in (first, second, third)] == [7, 7, 7]
    assert [part.tables.get("start") for part in (first, second, third)] == [None, *map(str, (first.out, second.out))]
    assert ("start_part" in second.tables, third.tables["start_part"]) == (False, "masks")
    assert "start" not in third.checkable


def test_what_starts_from_itself_is_refused(files: Path):
    Path("first.toml").write_text(FIRST.replace("side = 64", 'start = "second.toml"'))
    code, said = ovsbench("train", "second.toml")
    assert (code, said) == (1, "error: second.toml: expected another training to start from, got itself. Correct start")


def test_faults_of_the_first_part_are_found_before_anything_is_built(files: Path):
    Path("first.toml").write_text(FIRST.replace("steps = 2", "steps = 0"))
    code, said = ovsbench("train", "second.toml")
    assert code == 1
    assert "steps: expected at least 1, got 0" in said
    Path("first.toml").unlink()
    code, said = ovsbench("train", "second.toml")
    assert (code, said) == (1, "error: first.toml: expected a TOML file, found none. See configs/ for some")
    assert sorted(path.name for path in files.iterdir()) == ["second.toml"]


def test_elsewhere_a_training_file_is_no_checkpoint(files: Path):
    import tomllib

    with pytest.raises(MethodError, match=r"start: expected a checkpoint here, got the training file first\.toml"):
        training.check(tomllib.loads(Path("second.toml").read_text()))


def test_an_unlabelled_part_of_the_world_is_built_again_over_its_captions(tmp_path: Path):
    from ovsbench.data_prep.world.build import WorldSettings, build_world

    settings = WorldSettings("unlabelled", videos=1, frames=1, size=(96, 160))
    digest = build_world(tmp_path, settings).digest
    captions = json.loads((tmp_path / "captions.json").read_text())
    assert build_world(tmp_path, settings).digest == digest
    assert json.loads((tmp_path / "captions.json").read_text()) == captions
