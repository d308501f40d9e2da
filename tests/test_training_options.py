"""Options that change what a training costs and not what it learns; its profile; and kills in the midst of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from train_storm import storm  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from ovsbench.benchmark.errors import DataError, MethodError  # noqa: E402
from ovsbench.cli import app  # noqa: E402
from ovsbench.data_prep.world.build import WorldSettings, build_world  # noqa: E402
from ovsbench.gkc_video import checkpoint  # noqa: E402
from ovsbench.gkc_video.model import compiling  # noqa: E402
from ovsbench.gkc_video.model.network import GKC, ModelConfig  # noqa: E402
from ovsbench.gkc_video.text import clip  # noqa: E402
from ovsbench.gkc_video.training import train_gkc  # noqa: E402
from ovsbench.gkc_video.training.frames import _target  # noqa: E402
from ovsbench.gkc_video.training.gkc_settings import GKCTraining  # noqa: E402
from ovsbench.gkc_video.training.initialization import leave_unreached  # noqa: E402
from ovsbench.gkc_video.training.recomputing import recompute_layers  # noqa: E402
from ovsbench.gkc_video.training.stages import Stages, stage  # noqa: E402
from ovsbench.gkc_video.training.train import train  # noqa: E402

torch.set_num_threads(1)
SHAPE = {"queries": 6, "width": 32, "encoder_layers": 1, "decoder_layers": 2, "feed_forward": 32, "heads": 4}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "train"
    build_world(folder, WorldSettings("train", videos=3, frames=2, size=(96, 160)))
    return folder


def recipe(data: Path, **training: object) -> dict:
    return {
        "kind": "gkc",
        "data": {"labelled": {"folder": str(data)}},
        "clip": {"checkpoint": "clip-world"},
        "model": SHAPE,
        "augmentation": {"size": [64, 96]},
        "training": {"steps": 3, "batch": 2, **training},
    }


def trained(data: Path, out: Path, **training: object) -> dict[str, torch.Tensor]:
    path = train(recipe(data, **training), out, device="cpu", log=lambda line: None)
    return checkpoint.read(path, "gkc")[1]


@pytest.fixture(scope="module")
def plain(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    return trained(data, tmp_path_factory.mktemp("plain") / "plain.safetensors")


def test_what_is_computed_again_is_the_same_and_less_is_kept(data: Path, plain, tmp_path: Path):
    again = trained(data, tmp_path / "a.safetensors", recompute=True)
    assert all(torch.equal(tensor, again[name]) for name, tensor in plain.items())

    def kept(model: GKC) -> int:
        sizes: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            outcome = model.look(torch.zeros(1, 3, 64, 96))
        assert outcome
        return sum(sizes.values())

    model = GKC(ModelConfig("ovsbench-world", 128, **SHAPE), clip.create("ovsbench-world")[0].visual)
    before = kept(model)
    recompute_layers(model)
    assert kept(model) < 0.95 * before, "a trunk of a few cells keeps most of it"


def test_an_average_of_the_weights_is_what_is_written_and_goes_on_after_a_stop(data: Path, plain, tmp_path: Path):
    steps: list[dict[str, torch.Tensor]] = []
    step = train_gkc.Training.step

    def noted(training, *rest):
        values = step(training, *rest)
        steps.append({name: p.detach().clone() for name, p in training.learner.model.named_parameters()})
        return values

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_gkc.Training, "step", noted)
        found = trained(data, tmp_path / "a.safetensors", ema=0.75)
    first, second, third = steps
    for name in ("no_object", "segmenter.transformer.queries_features.weight"):
        by_hand = 0.75 * (0.75 * first[name] + 0.25 * second[name]) + 0.25 * third[name]
        assert torch.allclose(found[f"student.{name}"], by_hand, atol=2e-3), "a checkpoint has half precision"
    assert not all(torch.equal(found[name], plain[name]) for name in plain)
    with pytest.raises(DataError, match=r"ema: expected a share from 0 to below 1, got 1\.0"):
        GKCTraining(ema=1.0)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_a_compiled_model_learns_the_same(data: Path, plain, tmp_path: Path, monkeypatch):
    whole = compiling.compile_in_place
    asked: list[str] = []

    def captured(model: torch.nn.Module) -> None:
        asked.append(type(model).__name__)
        whole(model, backend="eager")

    monkeypatch.setattr(train_gkc, "compile_in_place", captured)
    found = trained(data, tmp_path / "a.safetensors", compile=True, steps=3)
    assert asked == ["Trunk", "Segmenter"]
    for name, tensor in plain.items():
        if tensor.is_floating_point():
            assert torch.allclose(tensor, found[name], atol=5e-3), name


def test_a_model_without_layers_to_compute_again_says_so():
    vit = clip.create("ViT-S-16")[0].visual if "ViT-S-16" in clip_names() else None
    if vit is None:
        pytest.skip("this open_clip has no small ViT")
    model = GKC(ModelConfig("ViT-S-16", 32, 4, 32, decoder_layers=1, architecture="encoder-only"), vit)
    with pytest.raises(MethodError, match="which an encoder-only model has not"):
        recompute_layers(model)


def clip_names() -> list[str]:
    import open_clip

    return open_clip.list_models()


def test_parameters_that_nothing_depends_on_wait_for_no_gradient():
    tower = clip.create("ovsbench-world")[0].visual
    model = GKC(ModelConfig("ovsbench-world", 128, **SHAPE), tower).train()
    model.trunk.unused = torch.nn.Parameter(torch.ones(3))
    means = {name: buffer.clone() for name, buffer in model.named_buffers()}
    leave_unreached(model)
    assert model.training
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == ["trunk.unused"]
    assert all(torch.equal(buffer, means[name]) for name, buffer in model.named_buffers())


def slow_target(numbers: np.ndarray, count: int, stride: int) -> np.ndarray:
    height, width = (n // stride for n in numbers.shape)
    shares = np.zeros((count + 1, height, width), np.float32)
    for row, column in np.ndindex(*numbers.shape):
        shares[numbers[row, column], row // stride, column // stride] += 1 / stride**2
    return shares


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_labels_of_cells_are_counted_pixel_by_pixel(stride: int):
    numbers = np.random.default_rng(stride).integers(0, 6, (8, 12)).astype(np.int32)
    numbers[numbers == 3] = 0  # a segment that a cut left without a pixel
    target, shares = _target(numbers, [4, 4, 9, 1, 2], stride), slow_target(numbers, 5, stride)
    assert target.kept == (0, 1, 3, 4)
    assert target.classes.tolist() == [4, 4, 1, 2]
    assert np.array_equal(target.masks.numpy(), shares[[1, 2, 4, 5]])
    assert np.array_equal(target.valid.numpy(), 1 - shares[0])
    make, parts = target.__reduce__()
    assert parts[0].dtype == np.uint8, "a byte a cell is what travels"
    assert torch.equal(make(*parts).masks, target.masks)


def test_a_stage_inside_another_counts_for_itself(monkeypatch):
    stages, clock = Stages("cpu"), iter(range(100))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(clock)))
    with stages.measuring():
        with stage("outer"), stage("inner"):
            pass
        with stage("outer"):
            pass
    assert {name: of.seconds for name, of in stages.found.items()} == {"other": 3, "outer": 3, "inner": 1}
    with stage("outer"):
        pass
    assert stages.found["outer"].seconds == 3, "nobody measures any more"


def test_a_profile_says_where_a_step_goes_and_writes_nothing(data: Path, tmp_path: Path):
    lines = [
        'kind = "gkc"', 'out = "never.safetensors"', "[data.labelled]", f'folder = "{data}"', "[clip]",
        'checkpoint = "clip-world"', f'cache = "{tmp_path / "cache"}"', "[model]",
        *(f"{key} = {value}" for key, value in SHAPE.items()), "[augmentation]", "size = [64, 96]",
        "[training]", "steps = 900", "batch = 2", 'diversify = "thresRand"', 'tgkd = "merged"',
    ]  # fmt: skip
    (tmp_path / "t.toml").write_text("\n".join(lines))
    command = ["train", str(tmp_path / "t.toml"), "--device", "cpu", "--profile"]
    done = CliRunner().invoke(app, [*command, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    rows = {row["stage"]: row for row in found["stages"]}
    for name in (
        "decode",
        "augmentation",
        "teacher",
        "upload",
        "forward",
        "matching",
        "losses",
        "backward",
        "optimizer",
    ):
        assert rows[name]["milliseconds"] > 0, name
    assert rows["backward"]["operations"] > rows["matching"]["operations"] > 20
    assert rows["matching"]["host_reads"] == 0, "on a processor a copy is none"
    inside = [row["milliseconds"] for row in found["stages"] if not row["by_readers"]]
    assert found["milliseconds"] == pytest.approx(sum(inside), abs=0.5)
    assert found["frames"] == 2
    assert found["activation_bytes"] > 1e6
    assert {path.name for path in tmp_path.iterdir()} == {"t.toml", "cache"}
    told = CliRunner().invoke(app, command).stdout
    assert "steps a second of 2 labelled frames on cpu" in told
    assert "kept for the way back" in told
    (tmp_path / "c.toml").write_text('kind = "clip"\nout = "c"\n[data.captions]\nfolder = "nowhere"\n')
    refused = CliRunner().invoke(app, ["train", str(tmp_path / "c.toml"), "--profile"])
    assert refused.exit_code == 1
    assert "--profile is for trainings of a GKC" in " ".join(refused.output.split())


@pytest.mark.slow
def test_a_training_that_is_killed_time_and_again_ends_with_the_same_weights(tmp_path: Path):
    counted = storm(tmp_path, kills=4)
    assert counted["kills"] == 4
    assert counted["finished"] >= 1
