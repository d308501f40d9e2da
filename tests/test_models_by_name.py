"""Models by name through the command line, against a hub on this machine with tiny random models in real layouts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from local_hub import TOKEN, Hub, serving

torch = pytest.importorskip("torch")
from ovsbench.gkc_video.torchvision_shim import prepare  # noqa: E402

prepare()
import transformers  # noqa: E402
from test_closed_set import mask2former  # noqa: E402
from test_video_models import bert_tokenizer, grounding_dino, owlv2, sam2, sam3  # noqa: E402

COMMIT = "a4edee47b1b2662241ceed627430aa22d0647bd0"
TINY_CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1},
}
DRIVER = """
import json, socket, sys
from ovsbench.hub.connection import close
close()
from ovsbench.gkc_video.torchvision_shim import prepare
prepare()
import open_clip
open_clip.add_model_config(sys.argv[1])
if sys.argv[3] == "no sockets":
    def refuse(*_):
        raise AssertionError("a socket was opened")
    socket.socket.connect = socket.getaddrinfo = refuse
from typer.testing import CliRunner
from ovsbench.cli import app
for command in json.loads(sys.argv[2]):
    done = CliRunner().invoke(app, command)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    print(json.dumps([done.exit_code, done.stdout, done.stderr]))
"""
"""Runs commands one after another, with an open_clip whose ViT-B-16 is tiny, and prints what each said."""


def run(folder: Path, commands, *, sockets: bool = True, **environment: str):
    """Exit code, stdout and stderr of each command, in a process of its own."""
    mine = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "OVSBENCH_"))}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(folder / "clips"), json.dumps(commands), "" if sockets else "no sockets"],
        cwd=folder, capture_output=True, text=True, check=False,
        env={**mine, "OMP_NUM_THREADS": "1", "HF_HUB_CACHE": str(folder / "cache"), **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def saved(make, folder: Path, preprocessor: dict, **how) -> Path:
    torch.manual_seed(0)
    make().save_pretrained(folder, **how)
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    (folder / "README.md").write_text("---\nlicense: other\n---\n")
    return folder


def tiny_clip(
    folder: Path, name: str = "ViT-B-16", about: dict | None = None, file: str = "open_clip_model", quick: bool = True
) -> Path:
    """A small architecture of this name in `clips`, and weights of it in the layout of open_clip's repositories."""
    import open_clip
    from safetensors.torch import save_file

    about = TINY_CLIP if about is None else about
    for one, at in ((name, "clips"), (f"tiny-{name}", "made")):  # this process keeps the real ones by their names
        (folder / at).mkdir(exist_ok=True)
        (folder / at / f"{one}.json").write_text(json.dumps(about))
    open_clip.add_model_config(folder / "made")
    torch.manual_seed(0)
    net = open_clip.create_model(f"tiny-{name}", force_quick_gelu=quick)
    repository = folder / f"repository-{name}"
    repository.mkdir()
    save_file({k: t.contiguous() for k, t in net.state_dict().items()}, repository / f"{file}.safetensors")
    pixels = {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]}
    (repository / "open_clip_config.json").write_text(json.dumps({"model_cfg": about, "preprocess_cfg": pixels}))
    (repository / "open_clip_pytorch_model.bin").write_bytes(b"\x80")
    return repository


def siglip(folder: Path) -> Path:
    """As SigLIP 2 in open_clip: towers apart, a projection with a bias, a tokenizer of transformers beside."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    about = {
        "embed_dim": 16, "init_logit_bias": -10, "custom_text": True,
        "vision_cfg": {"image_size": 224, "timm_model_name": "vit_tiny_patch16_224", "timm_model_pretrained": False,
                       "timm_pool": "avg", "timm_proj": "linear"},
        "text_cfg": {"context_length": 8, "vocab_size": 16, "hf_tokenizer_name": "timm/ViT-B-16-SigLIP2", "width": 64,
                     "tokenizer_kwargs": {"clean": "canonicalize"}, "heads": 1, "layers": 1, "no_causal_mask": True,
                     "proj_bias": True, "pool_type": "last"},
    }  # fmt: skip
    repository = tiny_clip(folder, "ViT-B-16-SigLIP2", about, quick=False)
    words = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "dog": 2, "grass": 3}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")
    fast.save_pretrained(repository)
    return repository


CONVNEXT = {
    **TINY_CLIP,
    "vision_cfg": {"timm_model_name": "convnext_atto", "timm_model_pretrained": False, "timm_pool": "",
                   "timm_proj": "mlp", "image_size": 64},
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with frames of a video, and a hub with the repositories of four models."""
    folder = tmp_path_factory.mktemp("hub")
    (folder / "street").mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (48, 64, 3), np.uint8)
        PIL.Image.fromarray(pixels).save(folder / "street" / f"{number}.png")
    repos = folder / "repositories"
    pickled = repos / "m2f-main"
    pickled.mkdir(parents=True)
    (pickled / "config.json").write_text("{}")
    (pickled / "pytorch_model.bin").write_bytes(b"\x80")
    # As transformers writes them: Mask2Former in three shards, the size as an object, the mean and spread of ImageNet.
    shortest = {"size": {"shortest_edge": 64, "longest_edge": 128}, "image_mean": [0.48, 0.46, 0.41],
                "image_std": [0.23, 0.22, 0.22]}  # fmt: skip
    m2f = saved(mask2former, repos / "m2f", shortest, max_shard_size="150KB")
    assert len(list(m2f.glob("model-*-of-*.safetensors"))) > 1
    square = {"size": {"height": 32, "width": 32}}
    with serving(Hub()) as hub:
        hub.add("facebook/mask2former-swin-large-coco-panoptic", pickled)
        hub.add("facebook/mask2former-swin-large-coco-panoptic", m2f, COMMIT)
        hub.add("timm/vit_base_patch16_clip_224.openai", tiny_clip(folder))
        hub.add("timm/ViT-B-16-SigLIP2", siglip(folder))
        convnext = tiny_clip(folder, "convnext_large_d_320", CONVNEXT, "open_clip_pytorch_model", quick=False)
        hub.add("laion/CLIP-convnext_large_d_320.laion2B-s29B-b131K-ft-soup", convnext)
        hub.add("google/owlv2-base-patch16-ensemble", saved(owlv2, repos / "owl", square))
        dino = saved(grounding_dino, repos / "dino", {"size": {"shortest_edge": 64, "longest_edge": 96}})
        hub.add("IDEA-Research/grounding-dino-tiny", bert_tokenizer(dino))
        hub.add("facebook/sam2.1-hiera-tiny", saved(sam2, repos / "sam2", square))
        hub.add("facebook/sam3", saved(sam3, repos / "sam3", square), is_gated=True)
        yield folder, hub


def predict(*extra):
    return ["predict", "street", "--names", "dog, grass", "--stuff", "grass", "--device", "cpu", *extra]


NAMES = ("m2f-clip", "clip-dense", "owl-sam2", "gdino-sam2", "sam3", "m2f-siglip2", "fc-clip-convnext")


SUITE = """
[benchmarks.world]
folder = "data"

[methods.owl-sam2]
[methods.masks]
method = "closed-set"
checkpoint = "hf:facebook/mask2former-swin-large-coco-panoptic"
"""


@pytest.fixture(scope="module")
def online(world):
    """What each command said while the hub answered, by the command's words."""
    folder, hub = world
    (folder / "suite.toml").write_text(SUITE)
    build = ["data", "build", "world", "--part", "dev", "--videos", "1", "--frames", "2", "-o", "data"]
    repeated = ["run", "data", "-m", "m2f-clip", "-o", "run", "--device", "cpu", "-j", "1"]
    commands = [
        ["fetch", "m2f-clip"],
        *(predict("-m", name, "-o", f"{name}.mp4") for name in NAMES),
        build,
        repeated,
        repeated,
        ["run", "data", "-m", "clip-dense", "--option", "kind=maskclip", "-o", "dense", "--device", "cpu", "-j", "1"],
        ["speed", "m2f-clip", "clip-dense", "--frames", "1", "--repeats", "1", "--device", "cpu", "--json"],
        ["check-method", "clip-dense", "--device", "cpu"],
        ["suite", "suite.toml"],
    ]
    done = run(folder, commands, HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN)
    assert [code for code, _, _ in done] == [0] * len(commands), [d for d in done if d[0]]
    return done


def test_fetching_brings_safetensors_of_what_was_named_alone(world, online):
    hub = world[1]
    assert "Next:   ovsbench predict VIDEO" in online[0][1]
    assert f"hf:facebook/mask2former-swin-large-coco-panoptic: revision {COMMIT[:12]}" in online[0][1]
    files = {line.rpartition("/")[2] for line in hub.asked if line.startswith("GET ") and "/resolve/" in line}
    assert {"open_clip_model.safetensors", "model.safetensors", "model.safetensors.index.json"} <= files
    assert not {"pytorch_model.bin", "open_clip_pytorch_model.bin", "README.md"} & files


def test_models_answer_offline_the_second_time_as_they_did_the_first(world, online):
    folder, hub = world
    made = {name: (folder / name / "objects.jsonl").read_bytes() for name in NAMES}
    hub.asked.clear()
    again = [predict("-m", name, "-o", f"{name}.mp4") for name in NAMES]
    again += [predict("-o", "best.mp4"), predict("-m", "eomt-clip")]
    again += [predict("-m", "m2f-siglip2", "--names", "dog dog dog dog dog, grass")]  # behind "a photo of a"
    offline = run(folder, again, sockets=False, HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="1")
    assert [code for code, _, _ in offline] == [0] * 8 + [1, 1], offline
    assert not hub.asked
    assert "Model: m2f-clip, the best of those that were fetched" in offline[7][2]
    assert "ViT-B-16-SigLIP2 reads at most 8 tokens of a text, got 9" in offline[9][2]
    for name, before in made.items():
        assert (folder / name / "objects.jsonl").read_bytes() == before, name
    assert "hf:tue-mps/coco_panoptic_eomt_large_640 is not in the cache, and HF_HUB_OFFLINE is set" in offline[8][2]
    assert f"copy {folder / 'cache' / 'models--tue-mps--coco_panoptic_eomt_large_640'} here" in offline[8][2]


def test_a_run_keeps_the_models_name_its_weights_revisions_and_digests(world, online):
    folder, _ = world
    record = json.loads((folder / "run" / "run.json").read_text())
    assert record["method"] == "m2f-clip"
    assert record["entry_point"] == "ovsbench.baselines.two_stage:build"
    assert record["checkpoint"] == "hf:facebook/mask2former-swin-large-coco-panoptic"
    assert record["options"] == {"clip": "open_clip:ViT-B-16/openai", "prompt": "a photo of a {}"}
    masks = record["notes"]["weights hf:facebook/mask2former-swin-large-coco-panoptic"]
    assert masks.startswith(f"revision {COMMIT}; model-00001-of-")
    clip = record["notes"]["weights open_clip:ViT-B-16/openai"]
    assert "open_clip_model.safetensors sha256 " in clip
    assert record["notes"]["text model"] == "ViT-B-16"
    assert json.loads((folder / "dense" / "run.json").read_text())["options"]["kind"] == "maskclip"
    predicted = json.loads((folder / "m2f-clip" / "names.json").read_text())["made_by"]
    for key in ("method", "entry_point", "checkpoint", "options", "checkpoint_sha256"):
        assert predicted[key] == record[key], key
    assert predicted["notes"]["weights open_clip:ViT-B-16/openai"] == clip
    assert [method["name"] for method in json.loads(online[12][1])["methods"]] == ["m2f-clip", "clip-dense"]


def test_a_suite_takes_models_by_name_and_weights_of_a_hub(world, online):
    folder, _ = world
    lines = json.loads((folder / "runs" / "suite" / "table.json").read_text())["tables"][0]["lines"]
    assert sorted(line["name"] for line in lines) == ["masks", "owl-sam2"]
    for row in ("owl-sam2", "masks"):
        record = json.loads((folder / "runs" / "suite" / "world" / "all" / row / "run.json").read_text())
        notes = record["notes"][f"weights {record['checkpoint']}"]
        assert notes.startswith("revision ")
        assert ".safetensors sha256 " in notes


def test_what_is_refused_is_one_sentence_and_exit_code_1(world):
    folder, hub = world
    hub.repositories["timm/vit_base_patch16_clip_224.openai"].cut["open_clip_model.safetensors"] = 1000
    refused = {
        f"Accept it at {hub.url}/facebook/sam3": predict("-m", "sam3"),
        "got a pickle (pytorch_model.bin)": predict(
            "-m", "two-stage", "-c", "hf:facebook/mask2former-swin-large-coco-panoptic@main"
        ),
        "did you mean 'm2f-clip'?": predict("-m", "m2f-clp"),
        "open_clip knows no weights 'opnai' of ViT-B-16; did you mean 'openai'?": predict(
            "-m", "dense", "-c", "open_clip:ViT-B-16/opnai"
        ),
        "has no repository 'facebook/nothing'": predict("-m", "closed-set", "-c", "hf:facebook/nothing"),
        "Name one: -m m2f-clip fetches 1.5 GB once": predict(),
        "unknown method 'gkcc'": ["fetch", "gkcc"],
        "two-stage is a method, and there is nothing to fetch": ["fetch", "two-stage"],
        "open_clip_model.safetensors did not arrive whole": ["fetch", "open_clip:ViT-B-16/openai"],
    }
    cache = str(folder / "empty")
    done = run(folder, list(refused.values()), HF_ENDPOINT=hub.url, HF_HUB_CACHE=cache, HF_TOKEN="")
    for (code, _, said), expected in zip(done, refused, strict=True):
        line = said.splitlines()[-1]
        assert (code, line[:7]) == (1, "error: "), said
        assert expected in line
        assert "Traceback" not in said


def test_a_tag_decides_activation_and_colours_of_weights_in_a_file(tmp_path, monkeypatch):
    import open_clip

    from ovsbench.gkc_video.text import load_clip

    file = tiny_clip(tmp_path, "clip") / "open_clip_model.safetensors"
    about = {"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.5, 0.5), "quick_gelu": True}
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda model, tag: about if tag == "mine" else {})
    tagged, plain = load_clip(file, model="tiny-clip/mine"), load_clip(file, model="tiny-clip")
    assert (tagged.name, tagged.mean) == ("tiny-clip", (0.1, 0.2, 0.3))
    assert plain.mean != tagged.mean
    image = np.full((32, 32, 3), 90, np.uint8)
    plain = type(plain)(plain.model, plain.tokenize, plain.name, "", 32, tagged.mean, tagged.std)
    assert not torch.allclose(tagged.encode_images([image]), plain.encode_images([image])), "QuickGELU or not"
