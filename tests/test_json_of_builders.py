"""What verbs that make something print with --json: one document on stdout, and nothing else there."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ovsbench.benchmark.manifest import load
from ovsbench.cli import app

TRAINING = """kind = "gkc"
out = "small.safetensors"
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
steps = 1
batch = 1
"""


def told(*arguments: str) -> dict[str, Any]:
    found = CliRunner().invoke(app, [*arguments, "--json"])
    assert found.exit_code == 0, found.output
    document = json.loads(found.stdout)
    assert isinstance(document, dict)
    return document


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_world_and_its_board():
    built = told("data", "build", "world", "--videos", "1", "--frames", "2", "-o", "world")
    world = load(Path("world"))
    assert (built["folder"], built["videos"], built["frames"]) == ("world", 1, 2)
    assert (built["digest"], built["novel"]) == (world.digest, len(world.vocabulary.novel))
    assert CliRunner().invoke(app, ["run", "world", "-m", "constant", "-o", "runs/constant"]).exit_code == 0
    board = told("board", "build", "runs/constant", "-o", "site")
    assert Path(board["site"]).is_file()
    (table,) = board["tables"]
    assert (table["digest"], len(table["rows"])) == (world.digest, 1)


def test_captions():
    assert told("data", "build", "captions", "--pictures", "3", "-o", "captions")["pictures"] == 3
    assert len(Path("captions/captions.jsonl").read_text().splitlines()) == 3


def test_a_data_set_of_its_owners():
    import numpy as np
    import PIL.Image

    for folder in ("raw/val", "raw/valannot"):
        Path(folder).mkdir(parents=True)
    PIL.Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save("raw/val/0016E5_00001.png")
    PIL.Image.fromarray(np.full((6, 8), 3, np.uint8)).save("raw/valannot/0016E5_00001.png")
    Path("raw/val.txt").write_text("/SegNet/CamVid/val/0016E5_00001.png /SegNet/CamVid/valannot/0016E5_00001.png\n")
    built = told("data", "build", "camvid", "--raw", "raw", "--subset", "val", "-o", "camvid")
    assert (built["task"], built["frames"]) == ("semantic", 1)


def test_a_training():
    pytest.importorskip("torch")
    Path("t.toml").write_text(TRAINING)
    made = told("train", "t.toml", "--device", "cpu")
    assert made["checkpoint"] == "small.safetensors"
    assert made["sha256"] == hashlib.sha256(Path("small.safetensors").read_bytes()).hexdigest()
    assert (made["steps"], made["training"]["batch"], made["saw_novel"]) == (1, 1, "no")
    assert set(made["final"]) == {"mask", "dice", "classes", "names"}
