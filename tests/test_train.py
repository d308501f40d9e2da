"""Training on a few frames: the loss falls, a stopped run goes on to the same bytes, bad settings are named."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from ovsbench.benchmark.errors import DataError, MethodError  # noqa: E402
from ovsbench.benchmark.manifest import load  # noqa: E402
from ovsbench.data_prep.world.build import WorldSettings, build_world  # noqa: E402
from ovsbench.data_prep.world.world_captions import build_captions  # noqa: E402
from ovsbench.gkc_video import checkpoint  # noqa: E402
from ovsbench.gkc_video.text import clip  # noqa: E402
from ovsbench.gkc_video.training import backward  # noqa: E402
from ovsbench.gkc_video.training.distributed import ALONE, Distributed  # noqa: E402
from ovsbench.gkc_video.training.frame_reader import batches  # noqa: E402
from ovsbench.gkc_video.training.frames import Augmentation, FrameSource, Seen, _recoloured  # noqa: E402
from ovsbench.gkc_video.training.gkc_settings import GKCTraining  # noqa: E402
from ovsbench.gkc_video.training.late_mean import Mean  # noqa: E402
from ovsbench.gkc_video.training.teacher_cache import TeacherCache  # noqa: E402
from ovsbench.gkc_video.training.train import train  # noqa: E402
from ovsbench.gkc_video.training.train_clip import contrast, schedule  # noqa: E402
from ovsbench.gkc_video.training.training_state import State  # noqa: E402
from ovsbench.gkc_video.training.training_tables import check  # noqa: E402
from ovsbench.gkc_video.training.unlabelled import confident_regions  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("data")
    build_world(root / "train", WorldSettings("train", videos=4, frames=2, size=(96, 160)))
    build_world(root / "unlabelled", WorldSettings("unlabelled", videos=2, frames=2, size=(96, 160)))
    build_captions(root / "captions", pictures=96, seed=4)
    return {path.name: path for path in root.iterdir()}


def quiet(line: str) -> None:
    """Takes the log."""


def recipe(folders: dict[str, Path], **training: object) -> dict:
    return {
        "kind": "gkc",
        "side": 96,
        "data": {name: {"folder": str(folders[where])} for name, where in
                 (("labelled", "train"), ("unlabelled", "unlabelled"))},
        "clip": {"checkpoint": "clip-world"},
        "model": {"queries": 6, "width": 32, "encoder_layers": 1, "decoder_layers": 1, "feed_forward": 32, "heads": 4},
        "augmentation": {"size": [96, 160], "flip_vertical": True},
        "training": {"steps": 4, "batch": 2, "save_every": 2, **training},
    }  # fmt: skip


def test_a_stopped_training_goes_on_to_the_same_bytes(tmp_path: Path, folders, monkeypatch):
    tables = recipe(folders, unlabelled=1, distil_from=0.0)
    whole = train(tables, tmp_path / "whole.safetensors", device="cpu", log=lambda line: None)

    save = State.save

    def save_and_stop(*arguments: object) -> None:
        save(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(State, "save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        train(tables, tmp_path / "stopped.safetensors", device="cpu", log=lambda line: None)
    assert not (tmp_path / "stopped.safetensors").exists()
    with pytest.raises(DataError, match="stopped training with other settings"):
        train(recipe(folders, seed=5), tmp_path / "stopped.safetensors", device="cpu", log=lambda line: None)
    monkeypatch.setattr(State, "save", save)
    lines: list[str] = []
    stopped = train(tables, tmp_path / "stopped.safetensors", device="cpu", log=lines.append)
    assert lines[0] == "going on after step 2"
    (first, one), (second, two) = checkpoint.read(whole, "gkc"), checkpoint.read(stopped, "gkc")
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert first.metadata["saw_novel"] == "without labels"
    assert first.metadata["training"] == second.metadata["training"]
    assert not list(tmp_path.glob(".*.state"))


def test_training_brings_the_loss_down_and_records_that_novel_things_stayed_unseen(tmp_path: Path, folders):
    lines: list[str] = []
    tables = recipe(folders, steps=50, batch=4, learning_rate=3e-3)
    out = train(tables, tmp_path / "m.safetensors", device="cpu", log=lines.append)
    header, tensors = checkpoint.read(out, "gkc")
    assert header.metadata["final"]["mask"] < 0.62, "0.69 is what a mask of one half everywhere costs"
    assert header.metadata["saw_novel"] == "no"
    assert header.metadata["domain"] == checkpoint.domain(out) == "drawn shapes"
    assert "red heart" not in header.metadata["classes"]
    assert any(name.startswith("text.") for name in tensors)


def test_a_training_can_start_from_a_checkpoint_also_of_another_shape(tmp_path: Path, folders):
    first = train(recipe(folders, steps=1), tmp_path / "first.safetensors", device="cpu", log=lambda line: None)
    lines: list[str] = []
    tables = {**recipe(folders, steps=1, seed=3), "start": str(first)}
    out = train(tables, tmp_path / "second.safetensors", device="cpu", log=lines.append)
    total = lines[0].split()[2]
    assert lines[0] == f"{total} of {total} tensors start from first.safetensors"
    assert checkpoint.digest(first) in checkpoint.read(out, "gkc")[0].metadata["start"]
    tables["model"] = {**tables["model"], "queries": 5}
    train(tables, tmp_path / "third.safetensors", device="cpu", log=lines.append)
    wider = next(line for line in lines[1:] if "start from" in line)
    assert int(wider.split()[0]) == int(total) - 2, "the queries' two embeddings are of another shape"


def test_a_training_can_start_from_the_masks_alone_and_keeps_what_its_start_saw(tmp_path: Path, folders):
    quiet = {"device": "cpu", "log": lambda line: None}
    taught = train(recipe(folders, steps=1, unlabelled=1), tmp_path / "first.safetensors", **quiet)
    tables = {**recipe(folders, steps=1, seed=3, learning_rate=1e-9, weight_decay=0.0), "start": str(taught)}
    out = train({**tables, "start_part": "masks"}, tmp_path / "second.safetensors", **quiet)
    (_, before), (header, after) = checkpoint.read(taught, "gkc"), checkpoint.read(out, "gkc")
    same = {n for n, t in before.items() if t.is_floating_point() and torch.allclose(t, after[n], rtol=0, atol=1e-3)}
    assert "student.segmenter.transformer.queries_features.weight" in same
    assert "student.trunk.visual.conv1.weight" in same
    assert not {n for n in same if n.startswith("student.project.") and n.endswith("weight")}, "names begin anew"
    assert header.metadata["start_part"] == "masks"
    assert header.metadata["saw_novel"] == "without labels", "the start saw novel things"
    with pytest.raises(MethodError, match="start_part: expected one of all, masks, got 'names'"):
        train({**tables, "start_part": "names"}, tmp_path / "third.safetensors", **quiet)


def test_a_teacher_learns_from_pictures(tmp_path: Path, folders):
    tables = {
        "kind": "clip",
        "data": {"captions": {"folder": str(folders["captions"])}},
        "training": {"steps": 30, "batch": 32, "learning_rate": 2e-3},
    }
    out = train(tables, tmp_path / "clip.safetensors", device="cpu", log=lambda line: None)
    header, _ = checkpoint.read(out, "clip")
    assert header.metadata["final_loss"] < np.log(32)
    assert header.metadata["pictures"] == 96


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": "gck"}, "expected kind = clip or gkc"),
        ({"augmentations": {}}, "the training file: unknown key 'augmentations'; did you mean 'augmentation'"),
        ({"training": {"step": 4}}, "unknown key 'step'; did you mean 'steps'"),
        ({"model": {"querys": 4}}, "unknown key .querys.; did you mean .queries"),
        ({"data": {}}, r"expected \[data.labelled\] with a folder"),
        ({"clip": {}}, r"\[clip\]: expected checkpoint or model"),
        ({"text": {"bank": "nowhere.npy"}}, "found no nowhere.npy"),
        ({"augmentation": {}}, "size"),
        ({"augmentation": {"size": 96}}, r"\[augmentation\] size: expected \[a whole number, a whole number\], got 96"),
        ({"training": {"steps": "many"}}, r"\[training\] steps: expected a whole number, got 'many'"),
        ({"training": {"learning_rate": True}}, "expected a number, got true"),
        ({"side": "big"}, "the training file: side: expected a whole number, got 'big'"),
        ({"clip": 3}, "the training file: clip: expected keys with values, got 3"),
        ({"text": {"templates": "a {}"}}, r"\[text\] templates: expected \[a text, ...\], got 'a {}'"),
    ],
)
def test_a_training_file_with_a_fault_is_refused_in_words(tmp_path: Path, folders, change: dict, sentence: str):
    with pytest.raises((MethodError, DataError), match=sentence):
        train({**recipe(folders), **change}, tmp_path / "m.safetensors", device="cpu", log=lambda line: None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [("steps = 0", "steps: expected at least 1, got 0"), ("step = 4", "unknown key 'step'")],
)
def test_settings_are_looked_at_before_data_is_built(tmp_path: Path, setting: str, sentence: str):
    from ovsbench.cli.train import train as verb

    folder = tmp_path / "captions"
    (tmp_path / "t.toml").write_text(
        f'kind = "clip"\n[data.captions]\nbuild = "captions"\nfolder = "{folder}"\n[training]\n{setting}\n'
    )
    with pytest.raises((MethodError, DataError), match=sentence):
        verb(tmp_path / "t.toml", out=tmp_path / "out.safetensors")
    assert not folder.exists()


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"clip": {"checkpoint": "nowhere"}}, "checkpoint file or the name of a shipped one, got 'nowhere'"),
        ({"start": "nowhere"}, "checkpoint file or the name of a shipped one, got 'nowhere'"),
        ({"text": {"bank": "nowhere.npy"}}, "found no nowhere.npy"),
    ],
)
def test_files_are_looked_at_before_data_is_built(table: dict, sentence: str, folders):
    with pytest.raises((MethodError, DataError), match=sentence):
        check({**recipe(folders), **table}, Path("m.safetensors"))


def test_a_full_disk_is_one_sentence_and_leaves_no_half_file(tmp_path: Path, folders, monkeypatch):
    def full(state: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(DataError, match=r"cannot be written: PytorchStreamWriter failed.*Make room"):
        train(recipe(folders), tmp_path / "out.safetensors", device="cpu", log=lambda line: None)
    assert not list(tmp_path.iterdir())
    with pytest.raises(DataError, match=r"file/a\.safetensors: cannot be written"):
        (tmp_path / "file").write_text("")
        checkpoint.write(tmp_path / "file" / "a.safetensors", checkpoint.Header("gkc", {}, {}), {})


def test_no_place_to_write_is_refused(folders):
    with pytest.raises(MethodError, match="expected the checkpoint to write"):
        train(recipe(folders))


def test_equal_captions_are_equally_right():
    image = torch.eye(3)
    text = image[[0, 0, 2]]
    tokens = torch.tensor([[1, 2], [1, 2], [3, 4]])
    right = contrast(image[[0, 0, 2]], text, torch.tensor(50.0), tokens)
    assert right.item() == pytest.approx(np.log(2) * 2 / 3, rel=1e-3), "two of three rows share their answer"


def test_the_rate_rises_then_falls_to_nothing():
    rates = [schedule(step, 100) for step in range(100)]
    assert rates.index(max(rates)) in (4, 5)
    assert rates[0] < 0.3
    assert rates[-1] < 0.001


def test_a_drawn_frame_keeps_image_and_target_together(folders):
    """Flips, scales and cuts move both: a cell that is one segment has that segment's colour on average."""
    data = load(folders["train"])
    plain = FrameSource(data, Augmentation((96, 160), brightness=0.0))
    moved = FrameSource(data, Augmentation((64, 96), scale=(0.8, 1.2), flip_vertical=True, brightness=0.0))
    for source, size in ((plain, (96, 160)), (moved, (64, 96))):
        for seed in range(5):
            sample = source.draw(np.random.default_rng(seed))
            image, target = sample.image, sample.target
            assert image.shape == (*size, 3)
            assert target is not None
            assert target.masks.shape[1:] == target.valid.shape == (size[0] // 4, size[1] // 4)
            assert torch.allclose(target.masks.sum(0), target.valid, atol=1e-5), "segments share out what is labelled"
            assert (target.masks.flatten(1).sum(1) > 0).all()


def test_other_colours_leave_labels_and_grey_alone(folders):
    data = load(folders["train"])
    still = Augmentation((96, 160), brightness=0.0)
    plain = FrameSource(data, still).draw(np.random.default_rng(3))
    for change in ({"contrast": 0.5}, {"saturation": 0.5}, {"hue": 0.5}):
        moved = FrameSource(data, replace(still, **change)).draw(np.random.default_rng(3))
        assert plain.target is not None
        assert moved.target is not None
        assert torch.equal(plain.target.masks, moved.target.masks)
        assert plain.flips == moved.flips
        assert (plain.image != moved.image).mean() > 0.1
    grey = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, 2)
    how = replace(still, saturation=0.9, hue=0.9)
    assert np.array_equal(_recoloured(grey, how, np.random.default_rng(0)), grey)
    red = np.full((4, 4, 3), (255, 0, 0), np.uint8)
    turned = _recoloured(red, replace(still, hue=0.99), np.random.default_rng(0))
    assert turned.max() == 255, "another hue is as bright"
    assert tuple(turned[0, 0]) != (255, 0, 0)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"size": (96, 100)}, r"size: expected two multiples of 32"),
        ({"size": (0, 32)}, r"size: expected two multiples of 32"),
        (
            {"scale": (1.2, 0.8)},
            r"scale: expected a smallest and a largest factor above 0 and up to 8.0, got \[1.2, 0.8\]",
        ),
        ({"hue": 1.0}, "hue: expected a share from 0 to below 1, got 1.0"),
        ({"contrast": float("nan")}, "contrast: expected a share from 0 to below 1, got nan"),
    ],
)
def test_an_augmentation_that_cannot_be_is_one_sentence(change: dict, sentence: str):
    with pytest.raises(DataError, match=sentence):
        Augmentation(**{"size": (96, 160), **change})


def test_the_same_step_sees_the_same_frames(folders):
    source = FrameSource(load(folders["train"]), Augmentation((96, 160)))
    settings = GKCTraining(steps=11, batch=4, accumulate=2)

    def images(first: int, distributed: Distributed = ALONE, readers: int = 0) -> list[np.ndarray]:
        how = replace(settings, readers=readers)
        with closing(batches(how, source, None, first=first, distributed=distributed)) as read:
            return [image for part in next(read) for image in part.images]

    alone = images(9)
    assert np.array_equal(alone, images(9, readers=1)), "who reads them does not matter"
    assert not np.array_equal(alone, images(10))
    shares = [images(9, Distributed(rank, 2)) for rank in range(2)]
    assert np.array_equal(alone, [shares[0][0], shares[1][0], shares[0][1], shares[1][1]]), "two parts, dealt out"


def test_sharp_regions_are_taken_once():
    mask = torch.full((8, 8), -8.0)
    mask[:, :4] = 8.0
    blurred = torch.full((8, 8), 0.1)
    masks = torch.stack([mask, mask * 0.9, blurred, -mask])
    absent = torch.tensor([0.1, 0.1, 0.1, 0.95])
    found = confident_regions(masks[[1, 0, 2, 3]].repeat(2, 1, 1, 1)[:, [1, 0, 2, 3]], absent.repeat(2, 1))
    assert [(frame, query) for frame, query, _ in found] == [(0, 0), (1, 0)]
    assert found[0][2].shape == (32, 32)
    assert found[1][2][:, :14].all()


@pytest.mark.parametrize("how", ["draw", "thresRand", "clusterMax", "clusterAvg"])
def test_every_kind_of_diversification_trains(tmp_path: Path, folders, how: str):
    out = train(
        recipe(folders, steps=1, diversify=how, tgkd="separate"), tmp_path / "a.safetensors", device="cpu", log=quiet
    )
    header, tensors = checkpoint.read(out, "gkc")
    assert header.metadata["words"] > len(header.metadata["classes"])
    assert {"tgkd", "pairs", "names", "classes"} <= set(header.metadata["final"])
    assert not [name for name in tensors if "distil" in name or "relation" in name], "only training needs them"


def test_a_training_that_diversifies_and_distils_goes_on_to_the_same_bytes(tmp_path: Path, folders, monkeypatch):
    """With the teacher's vectors in a cache, with dropped regions, and with a step in two parts."""
    tables = recipe(folders, diversify="thresRand", tgkd="merged", region_dropout=0.5, accumulate=2)
    whole = train(tables, tmp_path / "whole.safetensors", device="cpu", log=quiet)
    tables["clip"]["cache"] = str(tmp_path / "cache")
    save = State.save

    def save_and_stop(*arguments: object) -> None:
        save(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(State, "save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            train(tables, tmp_path / "stopped.safetensors", device="cpu", log=quiet)
    tables["training"]["readers"] = 1  # a process that looks into the cache, and cuts the crops that are not there
    train(tables, tmp_path / "stopped.safetensors", device="cpu", log=quiet)
    _, one = checkpoint.read(whole, "gkc")
    _, two = checkpoint.read(tmp_path / "stopped.safetensors", "gkc")
    assert all(torch.equal(one[name], two[name]) for name in one), "with a cache or without"
    (index,) = (tmp_path / "cache").rglob("*.index")
    assert 0 < index.stat().st_size <= 8 * 4 * 28, "eight frames that are flipped in four ways"
    rows = (tmp_path / "stopped.csv").read_text().splitlines()
    assert rows[0].startswith("step,seconds,mask,dice")
    assert rows[-1].startswith("4,")


def test_cached_vectors_are_those_of_the_teacher(tmp_path: Path, folders):
    data = load(folders["train"])
    source = FrameSource(data, Augmentation((96, 160), flip_vertical=True, brightness=0.0))
    teacher = clip.load_clip("clip-world")
    cached = TeacherCache.of(teacher, source, GKCTraining(diversify="thresRand"), "x", tmp_path)
    met: set[int] = set()
    with cached.writing() as writer:
        for seed in range(4):
            sample = source.draw(np.random.default_rng(seed))
            assert sample.target is not None
            image, truth = source.original(sample)
            way = np.s_[:: -1 if sample.flips[1] else 1, :: -1 if sample.flips[0] else 1]
            assert np.array_equal(image[way], sample.image)
            numbers = [sorted(truth.segments)[place] for place in sample.target.kept]
            crops = [teacher.mask_crop(sample.image, truth.ids[way] == number) for number in numbers]
            for _ in range(2):  # asked, then from the cache
                seen = cached.crops.of(source, sample)
                assert (seen.vectors is not None) == (cached.crops.key(sample) in met)
                met.add(cached.crops.key(sample))
                found = cached.regions([replace(sample, seen=seen)], writer)
                assert torch.allclose(found.regions, teacher.encode_images(crops), atol=2e-3)
                assert found.boxes.shape == found.regions.shape
    alone = TeacherCache.of(teacher, source, GKCTraining(tgkd="merged"))
    assert len(alone.crops.of(source, sample).crops) == len(truth.segments), "no boxes where no synonym is chosen"
    with alone.writing() as none:
        assert none is None


def test_a_frame_without_labelled_regions_has_no_vectors(folders):
    source = FrameSource(load(folders["train"]), Augmentation((96, 160)))
    sample = source.draw(np.random.default_rng(0))
    assert sample.target is not None
    bare = replace(sample, target=replace(sample.target, kept=()))
    teacher = clip.load_clip("clip-world")
    asked = TeacherCache.of(teacher, source, GKCTraining(diversify="thresRand"))
    none = Seen(crops=np.zeros((0, teacher.side, teacher.side, 3), np.uint8))
    labelled = replace(sample, seen=asked.crops.of(source, sample))
    both = asked.regions([replace(bare, seen=none), labelled])
    assert torch.equal(both.regions, asked.regions([labelled]).regions)
    assert asked.regions([replace(bare, seen=none)]).boxes.shape == (0, both.boxes.shape[1])


def test_a_loss_that_is_no_number_stops_with_the_frames_of_its_step(tmp_path: Path, folders, monkeypatch):
    nan = torch.tensor(float("nan"), requires_grad=True)
    monkeypatch.setattr(backward, "losses", lambda *a, **k: {"mask": Mean.of(nan, 1)})
    with pytest.raises(DataError, match=r"step 1: the loss mask is no number any more; .*\.jpg"):
        train(recipe(folders), tmp_path / "a.safetensors", device="cpu", log=quiet)
    assert not (tmp_path / "a.safetensors").exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "steps: expected at least 1"),
        ({"accumulate": 3}, "accumulate: expected a divisor of batch = 2"),
        ({"diversify": "some"}, "expected one of off, draw"),
        ({"region_dropout": 1.5}, "region_dropout from 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path: Path, folders, wrong: dict, message: str):
    with pytest.raises((DataError, MethodError), match=message):
        train(recipe(folders, **wrong), tmp_path / "a.safetensors", device="cpu", log=quiet)
