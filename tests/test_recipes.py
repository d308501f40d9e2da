"""The training files of this repository, on tiny folders in the layout that each of them expects."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import layout_trees as trees  # noqa: E402

from ovsbench.benchmark.manifest import Benchmark, load  # noqa: E402
from ovsbench.data_prep.world.build import WorldSettings, build_world  # noqa: E402
from ovsbench.gkc_video import checkpoint  # noqa: E402
from ovsbench.gkc_video.training.frames import Augmentation, FrameSource  # noqa: E402
from ovsbench.gkc_video.training.gkc_settings import GKCTraining  # noqa: E402
from ovsbench.gkc_video.training.train import train  # noqa: E402
from ovsbench.gkc_video.training.training_tables import check  # noqa: E402
from ovsbench.plans.building import build_data  # noqa: E402
from ovsbench.plans.config_files import with_overrides  # noqa: E402

torch.set_num_threads(1)
CONFIGS = Path(__file__).parents[1] / "configs"


def write_coco(world: Benchmark, root: Path) -> None:
    for subset in ("train", "val"):
        trees.write_coco_panoptic(world, root, subset)


TREES: dict[str, Callable[[Benchmark, Path], None]] = {
    "coco-gkc": write_coco,
    "coco-gkc-small": write_coco,
    "coco-paper": write_coco,
    "vipseg-ignore": lambda world, root: trees.write_vipseg_720p(world, root, "train"),
    "vipseg-delete": lambda world, root: trees.write_vipseg_720p(world, root, "train"),
}
SMALL = {
    "data.labelled.raw": "raw", "data.labelled.folder": "built", "data.labelled.jobs": "1",
    "evaluation.raw": "raw", "evaluation.folder": "val", "evaluation.jobs": "1", "evaluation.videos": "2",
    "clip": '{checkpoint = "clip-world", cache = "cache"}', "training.precision": "float32",
    "training.steps": "2", "training.batch": "2", "training.readers": "0", "out": "out.safetensors",
    "model": "{queries = 8, width = 32, encoder_layers = 1, decoder_layers = 1, feed_forward = 32, heads = 4}",
    "augmentation": "{size = [64, 96], scale = [0.8, 1.2]}",
}  # fmt: skip


def recipes() -> list[Path]:
    return sorted(p for p in CONFIGS.glob("*.toml") if "kind" in tomllib.loads(p.read_text()))


@pytest.mark.parametrize("path", recipes(), ids=lambda path: path.stem)
def test_every_recipe_has_settings_that_can_be(path: Path):
    tables = tomllib.loads(path.read_text())
    if tables.get("clip", {}).get("checkpoint") == "openai":
        tables["clip"] = {"checkpoint": "random", "model": "RN50-quickgelu"}  # weights that no test has
    if str(tables.get("clip", {}).get("checkpoint")).startswith("runs/"):
        outs = [tomllib.loads(recipe.read_text())["out"] for recipe in recipes()]
        assert tables["clip"]["checkpoint"] in outs, "trained first"
        tables["clip"]["checkpoint"] = "clip-world"  # of the same shape
    tables.pop("text", None)  # a bank that is not part of the repository, nor are weights of trunks
    tables.pop("trunk_weights", None)
    if str(tables.get("start")).endswith(".toml"):
        assert (CONFIGS.parent / tables.pop("start")) in recipes(), "trained first"
    check(tables)


@pytest.mark.parametrize("name", TREES)
def test_a_recipe_of_real_data_trains_on_a_tiny_tree_of_its_layout(name: str, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    world = build_world(tmp_path / "world", WorldSettings("train", videos=4, frames=2, size=(96, 160)))
    TREES[name](world, tmp_path / "raw")
    tables = tomllib.loads((CONFIGS / f"{name}.toml").read_text())
    evaluates = "evaluation" in tables
    tables = with_overrides(tables, {k: v for k, v in SMALL.items() if evaluates or not k.startswith("evaluation")})
    check(tables)
    build_data(tables)
    build_data(tables)  # the second time it is there
    metadata = checkpoint.read(train(tables, device="cpu", log=lambda line: None), "gkc")[0].metadata
    assert metadata["steps"] == 2
    data = load("built")
    assert data.role == "train"
    assert metadata["saw_novel"] == "no"
    assert not {c.name for c in data.vocabulary if c.is_novel} & set(metadata["classes"])
    if evaluates:
        assert load("val").role == "benchmark"
        columns, *rows = Path("out.evaluation.csv").read_text().splitlines()
        assert tables["evaluation"]["by"] in columns.split(",")
        assert len(rows) == 1


def test_the_recipe_of_coco_learns_from_captions_too(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_coco(
        build_world(tmp_path / "w", WorldSettings("train", videos=2, frames=2, size=(96, 160))), tmp_path / "raw"
    )
    names = sorted(path.name for path in Path("raw/train2017").iterdir())
    text = ["Two dogs lie on a sofa.", "A cow near some buses"]
    captions = {
        "images": [{"id": key, "file_name": name, "license": 3} for key, name in enumerate(names)],
        "annotations": [{"id": key, "image_id": key % len(names), "caption": text[key % 2]} for key in range(8)],
    }
    Path("raw/annotations/captions_train2017.json").write_text(json.dumps(captions))
    changed = {
        "training.captions": "4", "data.captions.folder": "raw/train2017",
        "data.captions.file": "raw/annotations/captions_train2017.json",
    }  # fmt: skip
    tables = with_overrides(tomllib.loads((CONFIGS / "coco-gkc.toml").read_text()), {**SMALL, **changed})
    check(tables)
    build_data(tables)
    metadata = checkpoint.read(train(tables, device="cpu", log=lambda line: None), "gkc")[0].metadata
    assert metadata["final"]["grounding"] > 0
    assert metadata["saw_novel"] == "words in captions", "cows are novel in this split"
    assert metadata["captions"].endswith(f"{len(names)} pictures, 4 words")


def test_crowds_are_void_to_a_training(tmp_path: Path):
    from ovsbench.data_prep.coco_panoptic import build_coco_panoptic

    trees.write_coco_panoptic(
        build_world(tmp_path / "world", WorldSettings("train", videos=2, frames=1, size=(96, 160))), tmp_path / "raw"
    )
    data = build_coco_panoptic(tmp_path / "raw", tmp_path / "built", split=None)
    source = FrameSource(data, Augmentation((96, 160), brightness=0.0))
    for seed in range(4):
        sample = source.draw(np.random.default_rng(seed))
        _, truth = source.original(sample)
        crowds = [s for s in truth.segments.values() if s.is_crowd]
        assert sample.target is not None
        assert len(crowds) == 1
        assert len(sample.target.classes) == len(truth.segments) - 1
        labelled = np.isin(truth.ids, [s.id for s in truth.segments.values() if not s.is_crowd]).mean()
        assert sample.target.valid.mean().item() == pytest.approx(labelled, abs=1e-6)


def test_the_papers_schedule_falls_twice():
    settings = GKCTraining(steps=50_000, schedule="steps")
    rates = [settings.rate(step) for step in (0, 9, 39_999, 40_000, 44_999, 45_000)]
    assert rates == pytest.approx([1, 1, 1, 0.1, 0.1, 0.01])


def test_unlabelled_frames_that_no_step_takes_are_not_built(tmp_path: Path):
    folder = tmp_path / "unlabelled"
    table = {"build": "world", "folder": str(folder), "part": "unlabelled", "videos": 1, "frames": 1}
    build_data({"data": {"unlabelled": table}, "training": {"unlabelled": 0}})
    assert not folder.exists()
    build_data({"data": {"unlabelled": table}, "training": {"unlabelled": 1}})
    assert folder.exists()
