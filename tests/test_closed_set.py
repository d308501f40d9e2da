"""Closed-set models made open: the mapping of names by hand, and tiny models of transformers from folders."""

import json
import pickle
from importlib.util import find_spec

import numpy as np
import pytest

from ovsbench.benchmark import engine, machine, methods, record
from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.types import Category, Rules, Video, Vocabulary, check_frame

torch = pytest.importorskip("torch")
from ovsbench.baselines.class_names import map_classes  # noqa: E402
from ovsbench.gkc_video.torchvision_shim import prepare  # noqa: E402

prepare()
import transformers  # noqa: E402

WORDS = Vocabulary(
    (
        Category(4, "dog", True),
        Category(2, "cat", True, synonyms=("kitten",)),
        Category(9, "grass", False),
        Category(7, "unicorn", True, True),
        Category(11, "lava", False, True),
    )
)
NAMES = ["Dog", "kitten", "sky-other-merged", "grass-merged"]


class Likeness:
    """A text space of three axes: dogs, plants, everything else."""

    width = 3
    about: dict = {}  # noqa: RUF012

    def encode(self, names):
        axes = {"dog": 0, "wolf": 0, "puppy": 0, "grass": 1, "lawn": 1}
        rows = [[0.0, 0.0, 1.0] if name not in axes else np.eye(3)[axes[name]].tolist() for name in names]
        rows = [[0.8, 0.0, 0.6] if name == "wolf" else row for name, row in zip(names, rows, strict=True)]
        return torch.tensor(rows)


def test_classes_are_mapped_by_name_then_by_synonym_and_the_rest_is_listed():
    found = map_classes([*NAMES, "plant, grass", "mouse (computer)"], WORDS)
    assert [(m.target, m.how) for m in found.matches] == [
        (0, "name"), (1, "synonym"), (None, None), (2, "name"), (2, "synonym"), (None, None),
    ]  # fmt: skip
    assert found.missing == ("unicorn", "lava")
    assert found.notes["unmapped names"] == "unicorn; lava"
    assert found.notes["unmapped classes"] == "sky-other-merged; mouse (computer)"
    assert found.notes["mapped"].startswith("Dog = dog (name); kitten = cat (synonym)")
    assert found.matrix.sum(1).tolist() == [1, 1, 0, 1, 1, 0]


def test_likeness_counts_from_the_threshold_on_and_ties_go_to_the_first_name():
    def targets(threshold):
        found = map_classes(["wolf", "lawn", "stone"], WORDS, space=Likeness(), threshold=threshold)
        return [match.target for match in found.matches]

    # "stone" is as near to cat as to unicorn and lava, which the space does not know either: the first of them.
    assert targets(0.8) == [0, 2, 1]
    assert targets(0.81) == [None, 2, 1]
    named = map_classes(["wolf", "dog"], WORDS, space=Likeness(), threshold=0.9)
    assert (named.matches[0].likeness, named.matches[1].how) == (pytest.approx(0.8), "name")


def swin(out=4):
    return transformers.SwinConfig(
        image_size=64, embed_dim=8, depths=[1] * out, num_heads=[1] * out, window_size=4,
        out_features=[f"stage{i + 1}" for i in range(out)],
    )  # fmt: skip


def label_names():
    return {"id2label": dict(enumerate(NAMES)), "label2id": {name: i for i, name in enumerate(NAMES)}}


def mask2former():
    return transformers.Mask2FormerForUniversalSegmentation(
        transformers.Mask2FormerConfig(
            backbone_config=swin(), feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=16,
            dim_feedforward=16, encoder_layers=1, decoder_layers=2, num_attention_heads=2, num_queries=5,
            **label_names(),
        )
    )  # fmt: skip


def maskformer():
    decoder = transformers.DetrConfig(
        d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=16, decoder_ffn_dim=16, num_queries=5,
    )  # fmt: skip
    config = transformers.MaskFormerConfig(
        fpn_feature_size=32, mask_feature_size=32, backbone_config=swin(), decoder_config=decoder, **label_names()
    )
    return transformers.MaskFormerForInstanceSegmentation(config)


def oneformer():
    return transformers.OneFormerForUniversalSegmentation(
        transformers.OneFormerConfig(
            backbone_config=swin(), hidden_dim=32, mask_dim=32, conv_dim=32, encoder_feedforward_dim=16,
            dim_feedforward=16, encoder_layers=1, decoder_layers=3, num_attention_heads=2, num_queries=5,
            text_encoder_width=32, text_encoder_num_layers=1, text_encoder_n_ctx=4, text_encoder_proj_layers=1,
            query_dec_layers=1, task_seq_len=77, is_training=False, **label_names(),
        )
    )  # fmt: skip


def eomt():
    return transformers.EomtForUniversalSegmentation(
        transformers.EomtConfig(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=1, image_size=64, patch_size=16,
            num_upscale_blocks=1, num_blocks=1, num_queries=5, **label_names(),
        )
    )  # fmt: skip


def videomt():
    return transformers.VideomtForUniversalSegmentation(
        transformers.VideomtConfig(
            hidden_size=16, num_hidden_layers=3, num_attention_heads=2, mlp_ratio=1, image_size=64, patch_size=16,
            num_upscale_blocks=1, num_blocks=2, num_queries=5, **label_names(),
        )
    )  # fmt: skip


has_videomt = pytest.mark.skipif(find_spec("transformers.models.videomt") is None, reason="an older transformers")
MODELS = [mask2former, maskformer, oneformer, eomt, pytest.param(videomt, marks=has_videomt)]


def saved(make, folder, **preprocessor):
    torch.manual_seed(0)
    make().save_pretrained(folder)
    if preprocessor:
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


def frames_of(method, size, words=WORDS):
    images = [np.random.default_rng(i).integers(0, 256, (*size, 3), np.uint8) for i in range(2)]
    video = Video("v", ("0", "1"), size, lambda i: images[i])
    frames = list(method.predict(video, words, Rules()))
    for frame in frames:
        check_frame(frame, size, words, "here")
    return frames


@pytest.mark.parametrize("make", MODELS)
def test_a_folder_of_each_architecture_answers_with_the_names_it_maps_to(make, tmp_path, capsys):
    folder = saved(make, tmp_path / "model", size={"shortest_edge": 64}, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    method = methods.create("closed-set", checkpoint=folder, device="cpu", options={"objectness": "0"})
    frames = frames_of(method, (60, 90))
    assert len(frames) == 2
    assert {s.category for frame in frames for s in frame.segments.values()} <= {4, 2, 9}
    assert "closed-set: mapped: Dog = dog (name); kitten = cat (synonym); grass-merged = grass (name)" in (
        capsys.readouterr().err
    )
    assert method.notes["unmapped names"] == "unicorn; lava"


@has_videomt
def test_a_videomt_hands_its_queries_on_within_a_batch(tmp_path):
    folder = saved(videomt, tmp_path / "model")
    outputs = []
    for batch in ("1", "2"):
        method = methods.create("closed-set", checkpoint=folder, device="cpu", options={"batch": batch})
        frames = torch.randint(0, 255, (1, 3, 64, 64), dtype=torch.uint8).expand(int(batch), -1, -1, -1)
        torch.nn.init.eye_(method.model.query_updater.weight)
        matrix = torch.from_numpy(method.mapping(WORDS).matrix)
        outputs.append(method._run(frames, matrix, is_open=True).states)
    assert outputs[0].shape == (1, 5, 16)
    assert outputs[1].shape == (2, 5, 16)
    assert not torch.allclose(outputs[1][0], outputs[1][1], atol=1e-4), "of one picture, seen twice in a clip"
    with pytest.raises(MethodError, match="option batch of method closed-set: expected at least 1, got 0"):
        methods.create("closed-set", checkpoint=folder, device="cpu", options={"batch": "0"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return saved(mask2former, tmp_path_factory.mktemp("hf") / "model")


def test_the_mapping_is_stored_in_the_record_of_a_run(folder, build_benchmark, tmp_path):
    built = build_benchmark(videos=1, frames=2, size=(64, 64))
    method = methods.create("closed-set", checkpoint=folder, device="cpu", options={"association": "iou"})
    facts = engine.predict(method, built, tmp_path / "run", settings=record.Settings("closed-set", str(folder)))
    assert "Dog = dog (name)" in facts.notes["mapped"]
    assert facts.checkpoint_sha256 == machine.path_digest(folder)


def test_its_masks_can_be_named_by_another_method(folder):
    from ovsbench.gkc_video.checkpoint import shipped

    if "clip-world" not in shipped():
        pytest.skip("the shipped checkpoints are not here")
    made = methods.create("two-stage", checkpoint=folder, device="cpu", options={"clip": "clip-world"})
    assert len(frames_of(made, (64, 64))) == 2


def test_a_model_without_a_class_that_means_anything_is_refused(folder):
    method = methods.create("closed-set", checkpoint=folder, device="cpu")
    with pytest.raises(MethodError, match=r"none of the 4 classes of Mask2Former.* maps to a name"):
        frames_of(method, (64, 64), Vocabulary((Category(1, "boat", True),)))


def test_folders_that_do_not_fit_are_one_sentence(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    def opened(path):
        return methods.create("closed-set", checkpoint=path, device="cpu")

    with pytest.raises(MethodError, match=r"expected a folder with a config.json"):
        opened(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(
        MethodError, match="expected a model that AutoModelForUniversalSegmentation opens, got an error"
    ):
        opened(other)
    (other / "config.json").write_bytes((folder / "config.json").read_bytes())
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("class_predictor.weight")
    save_file({**tensors, "head.extra": torch.zeros(1)}, other / "model.safetensors", {"format": "pt"})
    with pytest.raises(MethodError, match=r"1 missing \(class_predictor.weight\); 1 surplus \(head.extra\)"):
        opened(other)
    with pytest.raises(MethodError, match=r"got none\. Give one with -c"):
        methods.create("closed-set")


def test_folders_of_other_versions_open_whatever_tables_and_number_format_they_hold(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    biases = [name for name in tensors if name.endswith("relative_position_bias_table")]
    tables = {name.replace("bias_table", "index"): torch.zeros(16, 16, dtype=torch.int64) for name in biases}
    assert tables
    tensors.pop("criterion.empty_weight")
    halves = {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}
    config = json.loads((folder / "config.json").read_text()) | {"dtype": "float16"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "preprocessor_config.json").write_text('{"size": 64, "max_size": 1333}')
    save_file({**halves, **tables}, tmp_path / "model.safetensors", {"format": "pt"})
    method = methods.create("closed-set", checkpoint=tmp_path, device="cpu")
    assert method.input.side == 64
    assert len(frames_of(method, (48, 64))) == 2


def test_a_oneformer_that_was_saved_for_training_answers_without_texts(tmp_path):
    def trained():
        config = oneformer().config
        config.is_training, config.text_encoder_width = True, 64  # a head of attention takes 64
        return transformers.OneFormerForUniversalSegmentation(config)

    method = methods.create("closed-set", checkpoint=saved(trained, tmp_path / "model"), device="cpu")
    assert len(frames_of(method, (64, 64))) == 2


class Evil:
    def __reduce__(self):
        return exec, ("raise SystemExit('code of a weights file was run')",)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("pytorch_model.bin", pickle.dumps({"w": Evil()}, protocol=2)),
        ("pytorch_model.bin", None),  # the same, as torch.save writes it
        ("model.safetensors", b"cut off"),
        ("config.json", b"{"),
        ("config.json", b'{"model_type": "mask2former", "num_queries": "many", "backbone_config": 3}'),
        ("preprocessor_config.json", b'{"image_mean": 1}'),
        ("preprocessor_config.json", b"\xff"),
    ],
)
def test_a_file_of_a_folder_that_is_broken_or_runs_code_is_one_sentence(folder, tmp_path, file, content):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    if file.endswith(".bin"):
        (tmp_path / "model.safetensors").unlink()
    if content is None:
        torch.save({"w": Evil()}, tmp_path / file)
    else:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(MethodError, match=r"expected .*, got .*Give"):
        methods.create("closed-set", checkpoint=tmp_path, device="cpu")


def test_a_long_mapping_is_printed_shortened_and_once(capsys):
    from ovsbench.baselines.class_names import map_classes, report_new

    vocabulary = Vocabulary((Category(0, "dog", True),))
    found, known = map_classes([f"class number {n}" for n in range(150)], vocabulary), {}
    report_new(found, known, "closed-set")
    printed = capsys.readouterr().err.splitlines()
    assert max(map(len, printed)) < 260
    assert any(line.endswith("... (run.json has all)") for line in printed)
    assert "class number 149" in known["unmapped classes"]
    report_new(found, known, "closed-set")
    assert capsys.readouterr().err == ""
