"""What a checkpoint's training has seen, and the line for who gives it something else."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from ovsbench.benchmark import domain, manifest
from ovsbench.benchmark.domain import DRAWN, PHOTOGRAPHS
from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.record import Settings

pytest.importorskip("torch")
from typer.testing import CliRunner

from ovsbench.cli import app
from ovsbench.data_prep.world.build import WorldSettings, build_world
from ovsbench.gkc_video import checkpoint
from ovsbench.plans import models

SAID = "warning: gkc-world has seen drawn shapes only; for photographs: -m m2f-clip"


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> manifest.Benchmark:
    return build_world(tmp_path_factory.mktemp("world") / "data", WorldSettings("dev", videos=1, frames=2))


def ovsbench(*arguments: object):
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    assert done.exit_code == 0, done.output
    return done


def test_checkpoints_that_come_with_the_package_have_seen_drawn_shapes_only():
    assert {name: checkpoint.domain(path) for name, path in checkpoint.shipped().items()} == dict.fromkeys(
        checkpoint.shipped(), DRAWN
    )


@pytest.mark.parametrize(
    ("metadata", "seen"),
    [({"data": "vipseg-train"}, None), ({"data": "world-train-delete"}, DRAWN), ({}, None),
     ({"data": "world-train", "domain": PHOTOGRAPHS}, PHOTOGRAPHS)],
)  # fmt: skip
def test_a_checkpoint_says_itself_what_it_has_seen_or_its_data_does(tmp_path, metadata, seen):
    path = tmp_path / "a.safetensors"
    checkpoint.write(path, checkpoint.Header("gkc", {}, metadata), {})
    assert checkpoint.domain(path) == seen
    (tmp_path / "b.safetensors").write_bytes(b"nothing")
    assert checkpoint.domain(tmp_path / "b.safetensors") is None


def test_pictures_of_the_world_are_drawn_wherever_they_lie_in_it_and_all_others_are_photographs(world, tmp_path):
    images = world.folder / "images" / world.videos[0].id
    assert [domain.of_video(path) for path in (images, next(images.iterdir()))] == [DRAWN, DRAWN]
    shutil.copytree(images, tmp_path / "street")
    assert domain.of_video(tmp_path / "street") == domain.of_video(tmp_path / "street.mp4") == PHOTOGRAPHS
    assert domain.of_benchmark(world) == DRAWN
    assert domain.of_benchmark(replace(world, source=manifest.Source("VIPSeg"))) == PHOTOGRAPHS
    (tmp_path / "street" / "manifest.json").write_text("{")
    assert domain.of_video(tmp_path / "street" / "00000.png") == PHOTOGRAPHS


def test_a_checkpoint_of_drawn_shapes_warns_on_photographs_and_nothing_else_does():
    gkc = Settings("gkc", "gkc-world")
    assert models.misfit(gkc, PHOTOGRAPHS) == SAID.removeprefix("warning: ")
    assert models.misfit(gkc, DRAWN) is None
    assert models.misfit(Settings("constant"), PHOTOGRAPHS) is None
    assert models.misfit(Settings("gkc", "nowhere.safetensors"), PHOTOGRAPHS) is None
    other = Settings("m2f-clip", "hf:org/name", local=Settings("two-stage", "/nowhere"))
    assert models.misfit(other, PHOTOGRAPHS) is None


def test_predict_and_run_warn_in_one_line(world, tmp_path, build_benchmark):
    images = world.folder / "images" / world.videos[0].id
    shutil.copytree(images, tmp_path / "street")
    named = ["--names", "red star, grass", "-c", "gkc-world", "--device", "cpu"]
    assert SAID in ovsbench("predict", tmp_path / "street", *named, "-o", tmp_path / "a.mp4").stderr.splitlines()
    assert "warning" not in ovsbench("predict", images, *named, "-o", tmp_path / "b.mp4").stderr
    boxes = build_benchmark(videos=1, frames=2, size=(32, 32)).folder
    run = ["-m", "gkc", "-c", "gkc-world", "--device", "cpu", "-j", "1"]
    assert SAID in ovsbench("run", boxes, *run, "-o", tmp_path / "r").stderr.splitlines()
    assert "warning" not in ovsbench("run", world.folder, *run, "-o", tmp_path / "w").stderr


def test_building_leads_to_a_model_that_fits(tmp_path, monkeypatch):
    from ovsbench.cli import data

    told: list[str] = []
    monkeypatch.setattr(data, "say", told.append)
    monkeypatch.setattr(data, "advise", told.append)
    monkeypatch.setattr(data, "finish", lambda _, *commands: told.append(" ".join(map(str, commands[-1]))))
    benchmark = build_world(tmp_path / "data", WorldSettings("dev", videos=1, frames=1))
    data._built(benchmark, tmp_path / "data", False)
    assert told[-1].endswith("-m gkc -c gkc-world -o runs/gkc")
    data._built(replace(benchmark, source=manifest.Source("VIPSeg")), tmp_path / "data", False)
    assert told[-2] == "gkc-world has seen drawn shapes only; for photographs: -m m2f-clip"
    assert told[-1].endswith("-m m2f-clip -o runs/m2f-clip")


def test_without_a_model_the_first_that_is_at_hand_is_taken_or_the_way_to_one_is_told(monkeypatch):
    from ovsbench.hub import models as table

    monkeypatch.setattr(table, "is_cached", lambda reference: False)
    with pytest.raises(UserError, match=r"Name one: -m m2f-clip fetches 1.5 GB once, -m m2f-tiny-clip fetches 0.8 GB"):
        models.best_at_hand(Settings("gkc"))
    here = {"google/owlv2-base-patch16-ensemble", "facebook/sam2.1-hiera-tiny", "timm/vit_base_patch16_clip_224.openai"}
    monkeypatch.setattr(table, "is_cached", lambda reference: reference.repo in here)
    assert list(table.at_hand()) == ["owl-sam2", "clip-dense"]
    monkeypatch.setattr(models, "resolved", lambda settings: settings)
    assert models.best_at_hand(Settings("gkc", options={"every": "4"})).method == "owl-sam2"
