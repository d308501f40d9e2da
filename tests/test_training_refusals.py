"""What a training refuses before it begins or goes on: settings, data and starts that cannot be, a sentence each."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from conftest import boxes  # noqa: E402
from one_frame import match  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from scipy.optimize import linear_sum_assignment  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from ovsbench.benchmark.errors import DataError, MethodError, UserError  # noqa: E402
from ovsbench.cli import app  # noqa: E402
from ovsbench.data_prep.world.build import WorldSettings, build_world  # noqa: E402
from ovsbench.gkc_video import checkpoint  # noqa: E402
from ovsbench.gkc_video.model.network import GKC, ModelConfig  # noqa: E402
from ovsbench.gkc_video.text import clip  # noqa: E402
from ovsbench.gkc_video.training import train as training  # noqa: E402
from ovsbench.gkc_video.training.frames import Augmentation, FrameSource  # noqa: E402
from ovsbench.gkc_video.training.gkc_settings import GKCTraining  # noqa: E402
from ovsbench.gkc_video.training.initialization import start_from  # noqa: E402
from ovsbench.gkc_video.training.targets import Target  # noqa: E402
from ovsbench.gkc_video.training.teacher_cache import TeacherCache  # noqa: E402
from ovsbench.gkc_video.training.train import train  # noqa: E402
from ovsbench.gkc_video.training.training_state import State, optimiser_of  # noqa: E402
from ovsbench.gkc_video.training.training_tables import check  # noqa: E402
from ovsbench.gkc_video.training.weights import Weights  # noqa: E402
from ovsbench.plans.building import build_missing  # noqa: E402

torch.set_num_threads(1)
SHAPE = {"queries": 4, "width": 32, "encoder_layers": 1, "decoder_layers": 2, "feed_forward": 16,
         "decoder_feed_forward": 48, "heads": 4, "region_head": False}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("refusals")
    build_world(root / "train", WorldSettings("train", videos=2, frames=2, size=(96, 160)))
    for name, seed in (("frames", 0), ("others", 1)):
        build_world(root / name, WorldSettings("unlabelled", videos=1, frames=2, size=(96, 160), seed=seed))
    return root


def tables(folders: Path, **more: object) -> dict:
    return {
        "kind": "gkc", "out": "x.safetensors", "data": {"labelled": {"folder": str(folders / "train")}},
        "clip": {"checkpoint": "clip-world"}, "model": SHAPE, "augmentation": {"size": [64, 96]},
        "training": {"steps": 2, "batch": 1, "save_every": 1}, **more,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"model": {"queries": "8"}}, r"\[model\] queries: expected a whole number, got '8'"),
        ({"model": {"queries": 0}}, r"\[model\] queries: expected a number from 1 to 10000, got 0"),
        ({"model": {"width": 10_000_000}}, r"\[model\] width: expected a number from 1 to 4096"),
        ({"model": {"width": 30}}, r"expected a multiple of 32, and of heads, got 30 and 8"),
        ({"model": {"width": 32, "heads": 3}}, r"and of heads, got 32 and 3"),
        ({"model": {"decoder_feed_forward": 0}}, "decoder_feed_forward: expected a number from 1"),
        ({"augmentation": {"size": [32_000_000, 32]}}, "two multiples of 32 up to 8192"),
        ({"augmentation": {"size": [64, 96], "scale": [1.0, 1e6]}}, r"above 0 and up to 8.0, got \[1.0, 1000000.0\]"),
        ({"training": {"seed": -1}}, r"\[training\] seed: expected at least 0"),
        ({"training": {"seed": 2**70}}, r"\[training\] seed: .*, got a number out of range"),
        ({"training": {"points": 10**12}}, r"\[training\] points: expected at least 0 and at most 1000000"),
        ({"training": {"learning_rate": -1e-3}}, r"learning_rate: expected a number above 0, got -0.001"),
        ({"training": {"clip_norm": 0}}, r"clip_norm: expected a number above 0, got 0"),
        ({"losses": {"mask": -1.0}}, r"\[losses\]: expected mask from 0, got -1.0"),
        ({"losses": {"profiles": 1.0}}, r"profiles weighs a loss on frames without labels, of which .* unlabelled = 0"),
        ({"losses": {"profiles": 1.0, "self_training": 1.0}, "training": {"unlabelled": 1}},
         "self_training stands in the place of profiles, and both are above 0"),
        ({"text": {"templates": []}}, r"expected templates with \{\} for the name, got \[\]"),
        ({"text": {"templates": ["a photo"]}}, r"expected templates with \{\} for the name, got \['a photo'\]"),
        ({"text": {"alias": {"a": "b"}}}, "alias is of the names of a bank, and there is none"),
        ({"clip": {"model": "RN50", "tag": "openai"}}, "tag says whose weights the file of checkpoint holds"),
        ({"clip": {"checkpoint": "clip-world", "cache": ""}}, "expected cache with the name of a folder"),
        ({"side": 0}, "expected side from 1 to 8192 pixels, got 0"),
        ({"start_part": "masks"}, "start_part says what is taken of start, and there is none"),
        ({"post_processing": {"objectness": 2.0}}, "expected objectness from 0 to 1, got 2.0"),
        ({"post_processing": {"min_area": -1}}, "expected min_area and tiles from 0, got -1 and 0"),
        ({"evaluation": {"folder": 5}}, r"\[evaluation\] folder: expected a text, got 5"),
        ({"out": ""}, "expected the checkpoint to write, got none"),
        ({"out": "a\0b"}, "out: expected a text, got"),
        ({"out": "/"}, "/: expected a file to write the checkpoint to, found a folder"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused_before_anything_is_built(folders: Path, change: dict, sentence: str):
    unlabelled = {"data": {**tables(folders)["data"], "unlabelled": {"folder": str(folders / "frames")}}}
    with pytest.raises((DataError, MethodError), match=sentence):
        check({**tables(folders), **unlabelled, **change})


def test_the_preset_of_a_training_without_masks_is_called_by_its_name():
    given = {"kind": "clip", "paper": True, "out": "x", "data": {"captions": {"folder": "captions"}}}
    with pytest.raises(MethodError, match="unknown key 'paper'"):
        check(given)


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"build": []}, r"unknown builder \[\]"),
        ({"build": "world", "size": [96]}, r"\[data.x\] size: expected \[a whole number, a whole number\], got \[96\]"),
        ({"build": "world", "videos": "3"}, r"\[data.x\] videos: expected a whole number, got '3'"),
        ({"build": "world", "jobs": "x"}, r"\[data.x\] jobs: expected a whole number, got 'x'"),
        ({"build": "world", "vidos": 3}, r"\[data.x\]: unknown key 'vidos'; did you mean 'videos'"),
        ({"build": "world", "size": [10**6, 10**6]}, "frames of at most 8192 x 8192 pixels, got 1000000x1000000"),
        ({"build": "captions"}, r"\[data.x\] pictures: expected a whole number, got none"),
        ({"build": "vipseg"}, r"\[data.x\]: expected raw, the folder of the data set, found none"),
        ({"build": "vipseg", "raw": 5}, r"\[data.x\] raw: expected a path, got 5"),
        ({"build": "world", "folder": 5}, r"\[data.x\] folder: expected a text, got 5"),
    ],
)
def test_data_that_a_table_cannot_describe_is_refused(tmp_path: Path, table: dict, sentence: str):
    with pytest.raises(UserError, match=sentence):
        build_missing("data.x", {"folder": str(tmp_path / "new"), **table})
    assert not (tmp_path / "new").exists()


def test_training_data_without_frames_labels_or_base_classes_or_with_novel_masks_is_refused(
    tmp_path: Path, folders: Path
):
    def refusal(folder: Path) -> str:
        with pytest.raises((DataError, MethodError)) as found:
            train({**tables(folders), "data": {"labelled": {"folder": str(folder)}}}, tmp_path / "x", device="cpu")
        return str(found.value)

    assert "expected labelled frames" in refusal(folders / "frames")
    boxes(tmp_path / "novel", videos=1, frames=1, categories=(7,))
    assert "expected masks of base classes alone, found one of the novel 'unicorn'" in refusal(tmp_path / "novel")
    for name, change in (("empty", {"videos": []}), ("strange", {})):
        shutil.copytree(folders / "train", tmp_path / name)
        content = json.loads((tmp_path / name / "manifest.json").read_text()) | change
        for category in content["categories"]:
            category["is_novel"] = category["is_novel"] or name == "strange"
        (tmp_path / name / "manifest.json").write_text(json.dumps(content))
    assert "expected frames to train on, found none" in refusal(tmp_path / "empty")
    assert "expected a base class to learn" in refusal(tmp_path / "strange")


def test_a_picture_is_never_scaled_to_nothing(folders: Path):
    from ovsbench.benchmark.manifest import load

    source = FrameSource(load(folders / "train"), Augmentation((32, 64), scale=(1e-6, 1e-6)))
    assert source.draw(np.random.default_rng(0)).image.shape == (32, 64, 3)


def test_braces_in_a_template_or_name_are_letters(folders: Path):
    space = training.Prompted(clip.load_clip("clip-world"), ("{} {0.__class__}", "{}"))
    assert torch.isfinite(space.encode(["a {x}"])).all()


@pytest.fixture
def stopped(tmp_path: Path, folders: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dict, Path]:
    """The tables of a training with frames without labels that was stopped after a step, and its checkpoint's place."""
    data = {"labelled": {"folder": str(folders / "train")}, "unlabelled": {"folder": str(folders / "frames")}}
    settings = {"steps": 2, "batch": 1, "save_every": 1, "unlabelled": 1, "distil_from": 0.0, "diversify": "draw"}
    given, out, save = tables(folders, data=data, training=settings), tmp_path / "x.safetensors", State.save

    def save_and_stop(*arguments: object) -> None:
        save(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(State, "save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        train(given, out, device="cpu", log=lambda _: None)
    monkeypatch.setattr(State, "save", save)
    return given, out


def test_a_stopped_training_goes_on_with_the_same_teacher_frames_words_and_start_alone(
    stopped: tuple[dict, Path], folders: Path
):
    given, out = stopped
    header, tensors = checkpoint.read(checkpoint.resolve("clip-world"), "clip")
    other = out.with_name("other.safetensors")
    checkpoint.write(other, header, {n: 1.01 * t if t.is_floating_point() else t for n, t in tensors.items()})
    first = train(tables(folders), out.with_name("first.safetensors"), device="cpu", log=lambda _: None)
    for change in (
        {"clip": {"checkpoint": str(other)}},
        {"data": {**given["data"], "unlabelled": {"folder": str(folders / "others")}}},
        {"synonyms": {"own": False}},
        {"text": {"templates": ["a {}"]}},
        {"start": str(first)},
    ):
        with pytest.raises(DataError, match="stopped training with other settings or data"):
            train({**given, **change}, out, device="cpu", log=lambda _: None)
    lines: list[str] = []
    train(given, out, device="cpu", log=lines.append)
    assert lines[0] == "going on after step 1"


def test_a_clip_without_weights_is_that_of_the_seed(tmp_path: Path, folders: Path):
    given = tables(folders, clip={"model": "ovsbench-world"})
    runs = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.rand(3)  # whatever was drawn before
        again = {**given, "training": {**given["training"], "seed": seed}}
        train(again, tmp_path / name, device="cpu", log=lambda _: None)
        runs.append(checkpoint.read(tmp_path / name, "gkc")[1]["text.positional_embedding"])
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_weights_at_the_same_path_with_other_numbers_have_another_cache(tmp_path: Path, folders: Path):
    places = set()
    for seed in (0, 1):
        torch.manual_seed(seed)
        torch.save(clip.create("ovsbench-world")[0].state_dict(), tmp_path / "w.pt")
        given = tables(folders, clip={"checkpoint": str(tmp_path / "w.pt"), "model": "ovsbench-world"})
        places.add(training._weights_of(given["clip"], 0))
    assert len(places) == 2
    assert training._weights_of({"model": "RN50"}, 0) != training._weights_of({"model": "RN50"}, 1)


def test_the_cache_of_a_teacher_is_of_its_statistics_too(tmp_path: Path, folders: Path):
    from dataclasses import replace

    from ovsbench.benchmark.manifest import load

    teacher = clip.load_clip("clip-world")
    source = FrameSource(load(folders / "train"), Augmentation((64, 96)))
    asked = GKCTraining(tgkd="merged")
    others = [teacher, replace(teacher, mean=(0.5, 0.5, 0.5)), replace(teacher, std=(0.5, 0.5, 0.5))]
    assert len({TeacherCache.of(one, source, asked, "x", tmp_path).crops.folder for one in others}) == 3


def test_a_loss_that_is_no_number_names_a_state_only_where_there_is_one(tmp_path: Path, folders: Path):
    settings = {"steps": 9, "batch": 1, "learning_rate": 1e30}
    with pytest.raises(DataError, match=r"no number any more.*Lower learning_rate$") as without:
        train(tables(folders, training={**settings, "save_every": 9}), tmp_path / "a", device="cpu", log=lambda _: None)
    assert "state" not in str(without.value)
    with pytest.raises(DataError, match=r"the state of an earlier step is in .*\.b\.state"):
        train(tables(folders, training={**settings, "save_every": 1}), tmp_path / "b", device="cpu", log=lambda _: None)


def test_sure_masks_are_matched_as_cheaply_as_can_be():
    generator = torch.Generator().manual_seed(3)
    for _ in range(20):
        masks = 60 * torch.randn(4, 4, 6, generator=generator, dtype=torch.float64)
        truth = torch.stack([torch.rand(4, 6, generator=generator) < 0.5 for _ in range(3)]).float()
        target, x = Target(truth, torch.zeros(3, dtype=torch.int64), torch.ones(4, 6)), masks.numpy().reshape(4, 1, -1)
        t, share = truth.numpy().reshape(1, 3, -1), 1 / (1 + np.exp(-x))
        cost = 5 * (np.logaddexp(0, x) - x * t).mean(-1)
        cost += 5 * (1 - (2 * (share * t).sum(-1) + 1) / (share.sum(-1) + t.sum(-1) + 1))
        found = match(masks.float(), torch.zeros(4, 2), target, Weights())
        least = cost[linear_sum_assignment(cost)].sum()
        assert sum(cost[query, n] for n, query in enumerate(found)) == pytest.approx(least, rel=1e-5)


def test_embeddings_and_norms_are_spared_decay_and_what_multiplies_is_not():
    model = GKC(ModelConfig("ovsbench-world", 16, **SHAPE, distil_head=True), clip.create("ovsbench-world")[0].visual)
    decayed = {id(p) for group in optimiser_of(model, GKCTraining()).param_groups if group["weight_decay"]
               for p in group["params"]}  # fmt: skip
    decays = {name: id(p) in decayed for name, p in model.named_parameters()}
    of_queries = [f"segmenter.transformer.queries_{name}.weight" for name in ("features", "embedder")]
    for name in ("no_object", *of_queries, "segmenter.pixel_decoder.level_embed"):
        assert not decays[name], name
    assert decays["segmenter.transformer.decoder.mask_predictor.mask_embedder.0.0.weight"]
    assert decays["project.0.0.weight"]
    assert not decays["project.0.0.bias"]


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("official")
    resnet = transformers.ResNetConfig(depths=[1, 1, 1, 1], out_features=["stage1", "stage2", "stage3", "stage4"])
    sizes = {"feature_size": 32, "mask_feature_size": 32, "hidden_dim": 32, "encoder_feedforward_dim": 16,
             "dim_feedforward": 48, "encoder_layers": 1, "decoder_layers": 3, "num_attention_heads": 4,
             "num_queries": 4}  # fmt: skip
    config = transformers.Mask2FormerConfig(backbone_config=resnet, **sizes)
    transformers.Mask2FormerForUniversalSegmentation(config).save_pretrained(folder)
    return folder


@pytest.fixture
def changed(official: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(official, tmp_path / "changed"))


def model() -> GKC:
    return GKC(ModelConfig("ovsbench-world", 16, **SHAPE), clip.create("ovsbench-world")[0].visual)


def rewrite(folder: Path, change) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file(change(tensors), folder / "model.safetensors")


def test_tensors_that_a_start_lacks_are_named(changed: Path, tmp_path: Path, folders: Path):
    name = "model.transformer_module.queries_features.weight"
    rewrite(changed, lambda tensors: {n: t for n, t in tensors.items() if n != name})
    assert start_from(changed, model()).first == ("segmenter.transformer.queries_features.weight",)
    lines: list[str] = []
    train(tables(folders, start=str(changed)), tmp_path / "x", device="cpu", log=lines.append)
    (warning,) = [line for line in lines if "which begin anew" in line]
    assert warning.startswith("WARNING: changed has nothing for 1 tensors of what draws masks")
    assert "segmenter.transformer.queries_features.weight" in warning


def test_weights_of_a_start_in_half_precision_are_taken_and_whole_numbers_or_infinities_are_not(changed: Path):
    wanted = start_from(changed, model()).kept
    rewrite(changed, lambda tensors: {n: t.half() for n, t in tensors.items()})
    assert start_from(changed, model()).kept == wanted
    rewrite(changed, lambda tensors: {n: t * float("inf") for n, t in tensors.items()})
    with pytest.raises(MethodError, match="expected finite weights, got others in segmenter"):
        start_from(changed, model())
    rewrite(changed, lambda tensors: {n: torch.zeros(t.shape, dtype=torch.int8) for n, t in tensors.items()})
    with pytest.raises(MethodError, match="has a place of its shape and kind"):
        start_from(changed, model())


def test_odd_folders_of_a_start_are_one_sentence_and_run_no_code(changed: Path, official: Path, tmp_path: Path):
    def refusal() -> str:
        with pytest.raises(MethodError) as found:
            start_from(changed, model())
        return str(found.value)

    rewrite(changed, lambda tensors: {f"module.{n}": t for n, t in tensors.items()})
    assert "expected tensors under model.pixel_level_module.decoder. and" in refusal()
    (changed / "model.safetensors").rename(changed / "model-00001-of-00002.safetensors")
    assert "expected the weights in this one file, found model-00001-of-00002.safetensors" in refusal()
    about = json.loads((official / "config.json").read_text())
    marker = tmp_path / "ran"
    (changed / "own.py").write_text(f"open({str(marker)!r}, 'w')\nfrom transformers import PretrainedConfig as Own\n")
    about |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}
    (changed / "config.json").write_text(json.dumps(about))
    assert "expected a Mask2Former, got a model of type 'own'" in refusal()
    (changed / "config.json").write_text("[]")
    assert "expected a Mask2Former, got a model of type None" in refusal()
    (changed / "config.json").unlink()
    assert "expected a config of transformers" in refusal()
    assert not marker.exists()


def test_a_file_that_is_no_weights_of_a_clip_is_one_sentence(tmp_path: Path):
    for number, content in enumerate((b"junk" * 100, b"", b"\x80\x02}q\x00.", b"PK\x03\x04")):
        path = tmp_path / f"{number}.pt"
        path.write_bytes(content)
        with pytest.raises(MethodError, match="open_clip could not make 'ovsbench-world' with weights"):
            clip.load_clip(path, model="ovsbench-world")


def test_quiet_leaves_out_the_lines_of_steps_and_keeps_warnings(
    tmp_path: Path, folders: Path, changed: Path, monkeypatch: pytest.MonkeyPatch
):
    rewrite(changed, lambda tensors: dict(list(tensors.items())[:-1]))
    name = "model.transformer_module.queries_features.weight"
    rewrite(changed, lambda tensors: {n: t for n, t in tensors.items() if n != name})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OVSBENCH_QUIET", "1")  # put back afterwards
    shape = "\n".join(f"{key} = {str(value).lower()}" for key, value in SHAPE.items())
    Path("t.toml").write_text(
        f'kind = "gkc"\nout = "x.safetensors"\nstart = "{changed}"\n[data.labelled]\nfolder = "{folders / "train"}"\n'
        f'[clip]\ncheckpoint = "clip-world"\n[model]\n{shape}\n[augmentation]\nsize = [64, 96]\n'
        "[training]\nsteps = 1\nbatch = 1\n"
    )
    found = CliRunner().invoke(app, ["-q", "train", "t.toml", "--device", "cpu"])
    assert found.exit_code == 0, found.output
    assert found.stdout == ""
    assert [line.split(":")[0] for line in found.stderr.splitlines()] == ["WARNING"] * len(found.stderr.splitlines())
    assert "queries_features" in found.stderr
