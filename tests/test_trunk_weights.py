"""Weights of a file for a trunk of timm: by name, or by the order in which another project wrote the same network."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
if find_spec("timm") is None:
    pytest.skip("timm is not there", allow_module_level=True)

from safetensors.torch import save_file  # noqa: E402

from ovsbench.benchmark.errors import MethodError  # noqa: E402
from ovsbench.gkc_video.model.backbones import Backbone, open_backbone  # noqa: E402
from ovsbench.gkc_video.training.trunk_weights import fill_trunk  # noqa: E402

NAME = "timm:tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def source() -> Backbone:
    torch.manual_seed(3)
    return open_backbone(NAME).eval()


def same(trunk: Backbone, source: Backbone) -> bool:
    pixels = torch.rand(1, 3, 64, 64)
    return all(torch.equal(a, b) for a, b in zip(trunk.eval()(pixels), source(pixels), strict=True))


def test_weights_are_taken_by_name_and_a_classifier_is_left(tmp_path: Path, source):
    save_file({**source.net.state_dict(), "classifier.weight": torch.zeros(3, 4)}, tmp_path / "a.safetensors")
    trunk = open_backbone(NAME)
    assert not same(trunk, source)
    assert fill_trunk(trunk, tmp_path / "a.safetensors") == len(source.net.state_dict())
    assert same(trunk, source)


def test_names_of_another_project_are_understood_by_their_order(tmp_path: Path, source):
    renamed = {f"_part{n}.{name.rpartition('.')[2]}": t for n, (name, t) in enumerate(source.net.state_dict().items())}
    torch.save({**renamed, "_fc.weight": torch.zeros(3, 4)}, tmp_path / "a.pth")
    trunk = open_backbone(NAME)
    fill_trunk(trunk, tmp_path / "a.pth")
    assert same(trunk, source)


def swapped(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors by other names, with scales and shifts of the norms in the others' places."""
    order = sorted(state, key=lambda name: (name.rpartition(".")[0], name.rpartition(".")[2] != "bias"))
    return {f"_{n}.{name.rpartition('.')[2]}": state[name] for n, name in enumerate(order)}


@pytest.mark.parametrize("change", [swapped, lambda state: dict(list(state.items())[:-1]), lambda state: {}])
def test_weights_of_another_network_are_refused_and_nothing_is_taken(tmp_path: Path, source, change):
    torch.save(change(source.net.state_dict()), tmp_path / "a.pth")
    trunk = open_backbone(NAME)
    before = {name: tensor.clone() for name, tensor in trunk.net.state_dict().items()}
    with pytest.raises(MethodError, match=r"a\.pth: expected the \d+ tensors of .* by name or in its order, found \d+"):
        fill_trunk(trunk, tmp_path / "a.pth")
    assert all(torch.equal(before[name], tensor) for name, tensor in trunk.net.state_dict().items())


@pytest.mark.parametrize("content", [b"", b"not a file of weights", b"PK\x03\x04"])
def test_a_file_of_something_else_is_one_sentence(tmp_path: Path, source, content: bytes):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(MethodError, match=r"a\.pth: expected weights by name, got .*Give a state dictionary"):
        fill_trunk(open_backbone(NAME), tmp_path / "a.pth")


def test_a_trunk_of_clip_has_weights_of_its_own(tmp_path: Path):
    with pytest.raises(MethodError, match=r"expected \[model\] trunk of timm or transformers for a\.pth"):
        fill_trunk(torch.nn.Conv2d(1, 1, 1), tmp_path / "a.pth")
