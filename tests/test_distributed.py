"""Two processes that train together are one process: the same losses, gradients and running statistics."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from ovsbench.benchmark.errors import DataError, MethodError  # noqa: E402
from ovsbench.data_prep.world.build import WorldSettings, build_world  # noqa: E402
from ovsbench.gkc_video.training.distributed import Distributed  # noqa: E402
from ovsbench.gkc_video.training.frame_reader import Plan  # noqa: E402
from ovsbench.gkc_video.training.gkc_settings import GKCTraining  # noqa: E402
from ovsbench.gkc_video.training.late_mean import Mean  # noqa: E402
from ovsbench.gkc_video.training.shared_norm import SharedBatchNorm, freeze_norms, share_norms  # noqa: E402

# Trains as `ovsbench train` does, and keeps what each step computed at full precision.
WORKER = """
import os, sys, torch
from ovsbench.cli import main
from ovsbench.gkc_video.training import train_gkc
torch.set_num_threads(1)
out = sys.argv.pop()
kept = {"values": [], "gradients": [], "regions": [], "buffers": []}
clip, step = torch.nn.utils.clip_grad_norm_, train_gkc.Training.step
def keep_gradients(parameters, norm):
    parameters = list(parameters)
    kept["gradients"].append([None if p.grad is None else p.grad.clone() for p in parameters])
    return clip(parameters, norm)
def keep_values(training, number, parts, *rest):
    kept["regions"].append(sum(len(t.classes) for part in parts for t in part.targets))
    kept["values"].append(step(training, number, parts, *rest))
    buffers = training.learner.model.named_buffers()
    kept["buffers"].append({name: b.clone() for name, b in buffers if b.is_floating_point()})
    torch.save(kept, f"{out}-{os.environ.get('RANK', 0)}.pt")
    return kept["values"][-1]
torch.nn.utils.clip_grad_norm_, train_gkc.Training.step = keep_gradients, keep_values
main()
"""
PARTS = ("mask", "dice", "classes", "names", "tgkd", "pairs", "distil", "profiles", "pseudo_masks")
RECIPE = """
kind = "gkc"
start = "gkc-world-fast"
[data.labelled]
folder = "{train}"
[data.unlabelled]
folder = "{unlabelled}"
[clip]
checkpoint = "clip-world"
[model]
queries = 20
width = 96
encoder_layers = 1
decoder_layers = 3
feed_forward = 256
heads = 4
[augmentation]
size = [96, 160]
[losses]
profiles = 1.0
pseudo_masks = 1.0
[training]
steps = 2
batch = 2
unlabelled = 2
distil_from = 0.0
diversify = "thresRand"
tgkd = "separate"
region_dropout = 0.3
learning_rate = 1e-4
seed = 7
"""


def launch(tmp_path: Path, name: str, size: int) -> list[subprocess.Popen[str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = ["train", str(tmp_path / "t.toml"), "-o", str(tmp_path / f"{name}.safetensors"), "--device", "cpu"]
    return [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, *command, str(tmp_path / name)],
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                **({} if size == 1 else {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1",
                                             "MASTER_PORT": port, "LOCAL_RANK": str(rank)}),
            },
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in range(size)
    ]  # fmt: skip


@pytest.mark.slow
def test_two_processes_compute_what_one_does(tmp_path: Path):
    build_world(tmp_path / "train", WorldSettings("train", videos=4, frames=2, size=(96, 160)))
    build_world(tmp_path / "unlabelled", WorldSettings("unlabelled", videos=2, frames=2, size=(96, 160)))
    (tmp_path / "t.toml").write_text(RECIPE.format(train=tmp_path / "train", unlabelled=tmp_path / "unlabelled"))
    workers = [*launch(tmp_path, "one", 1), *launch(tmp_path, "two", 2)]
    texts = [worker.communicate(timeout=300)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0], texts
    assert "step 2/2" in texts[0]
    assert "step 2/2" in texts[1]
    assert not texts[2], "only the first process talks, and no warning does"

    one, first, second = (torch.load(tmp_path / f"{name}.pt") for name in ("one-0", "two-0", "two-1"))
    assert first["regions"] != second["regions"], "the processes have different numbers of regions"
    assert [a + b for a, b in zip(first["regions"], second["regions"], strict=True)] == one["regions"]
    for step in range(2):
        values = one["values"][step]
        assert all(values[part] > 0 for part in PARTS), "the start knows regions well enough to distil on them"
        assert set(PARTS) == set(values)
        assert first["values"][step] == second["values"][step]
        assert first["values"][step] == pytest.approx(values, rel=1e-4)
        whole = torch.cat([a.flatten() for a in one["gradients"][step] if a is not None]).norm()
        apart = 0.0
        for a, b, c in zip(one["gradients"][step], first["gradients"][step], second["gradients"][step], strict=True):
            assert (a is None) == (b is None) == (c is None)
            if a is not None:
                assert torch.equal(b, c)
                assert (a - b).norm() < 1e-2 * a.norm() + 1e-6 * whole, (
                    "a cell on the other side of a threshold, no more"
                )
                apart += float((a - b).norm() ** 2)
        assert apart**0.5 < 5e-3 * whole
        for name, buffer in one["buffers"][step].items():
            assert torch.allclose(buffer, first["buffers"][step][name], rtol=1e-4, atol=1e-5), name


def test_a_step_is_dealt_out_to_parts_and_processes():
    settings = GKCTraining(batch=8, accumulate=2, unlabelled=3)
    plans = [Plan.of(settings, Distributed(rank, 2)) for rank in range(2)]
    assert plans[0].labelled == ((0, 4), (1, 5))
    assert plans[1].labelled == ((2, 6), (3, 7))
    assert plans[0].unlabelled == ((0,), (1,))
    assert plans[1].unlabelled == ((2,), ()), "three frames for four places"
    with pytest.raises(DataError, match="expected a multiple of 3 processes times accumulate = 2, got 8"):
        settings.check_world_size(3)


def test_a_mean_is_taken_over_counts_and_then_over_points():
    mean = Mean(torch.tensor([6.0, 0.0, 4.0]), torch.tensor([3.0, 0.0, 1.0]))
    assert mean.value.item() == pytest.approx((2 + 0 + 4) / 3)


def test_norms_are_shared_with_their_parameters_and_odd_ones_refused():
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.Sequential(torch.nn.BatchNorm2d(4)))
    before = dict(model.named_parameters())
    names = list(model.state_dict())
    share_norms(model)
    assert isinstance(model[1][0], SharedBatchNorm)
    assert list(model.state_dict()) == names
    assert all(before[name] is parameter for name, parameter in model.named_parameters())
    with pytest.raises(MethodError, match="got a BatchNorm1d"):
        share_norms(torch.nn.Sequential(torch.nn.BatchNorm1d(3)))


def test_frozen_norms_keep_their_means_and_still_learn_scales():
    norm = torch.nn.BatchNorm2d(2)
    norm.running_mean.copy_(torch.tensor([1.0, 2.0]))
    model = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Sequential(norm)).train()
    freeze_norms(model)
    assert model.training
    out = model(torch.full((3, 2, 4, 4), 5.0))
    assert out[:, 0].mean().item() == pytest.approx(4.0, abs=1e-4), "5 less the mean kept, over a deviation of 1"
    assert out[:, 1].mean().item() == pytest.approx(3.0, abs=1e-4)
    out.square().sum().backward()
    assert norm.weight.grad.abs().min() > 0
    assert norm.running_mean.tolist() == [1.0, 2.0]
