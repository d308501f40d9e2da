"""Weights that are not ours: QuickGELU where a tag wants it, one sentence where a file does not fit."""

import pickle

import pytest

from ovsbench.benchmark.errors import MethodError

torch = pytest.importorskip("torch")
from ovsbench.gkc_video.text import clip as clips  # noqa: E402
from ovsbench.gkc_video.torchvision_shim import prepare  # noqa: E402

prepare()
import open_clip  # noqa: E402


def test_a_tag_that_wants_quick_gelu_is_loaded_with_it_or_refused(monkeypatch):
    asked = []

    def create_model(name, **settings):
        asked.append((name, settings["pretrained"], settings["force_quick_gelu"]))
        return torch.nn.Module()

    monkeypatch.setattr(open_clip, "create_model", create_model)
    monkeypatch.setattr(torch.nn.Module, "set_grad_checkpointing", lambda *_: None, raising=False)
    for name, tag in (("ViT-B-16", "openai"), ("ViT-B-16", "laion2b_s34b_b88k"), ("ViT-B-16-quickgelu", "openai")):
        clips.create(name, pretrained=tag)
    clips.create("ViT-B-16")
    assert [quick for _, _, quick in asked] == [True, False, True, False]
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda *_: {"url": "elsewhere"})
    with pytest.raises(MethodError, match=r"trained without QuickGELU, which 'ViT-B-32-quickgelu' has"):
        clips.create("ViT-B-32-quickgelu", pretrained="laion2b_s34b_b79k")


class Evil:
    def __reduce__(self):
        return exec, ("raise SystemExit('code of a weights file was run')",)


def test_a_weights_file_cannot_run_code_and_one_of_another_model_names_the_first_keys(tmp_path):
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Evil(), protocol=2))
    torch.save({"visual.conv9.weight": torch.zeros(3)}, tmp_path / "other.pt")
    for file in ("evil.pt", "other.pt"):
        with pytest.raises(MethodError, match=r"open_clip could not make 'ovsbench-world'") as error:
            clips.create("ovsbench-world", pretrained=str(tmp_path / file))
        assert len(str(error.value)) < 900
    assert "Missing key(s)" in str(error.value)
