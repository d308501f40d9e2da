"""The baselines on painted frames and a CLIP that knows three colours, so that every answer can be seen."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image as Pillow

from ovsbench.baselines import constant, oracle_masks, two_stage
from ovsbench.benchmark import engine, record
from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.pictures.crops import cut_out
from ovsbench.benchmark.types import Category, PanopticFrame, Rules, Segment, Video, Vocabulary, check_frame

torch = pytest.importorskip("torch")
from ovsbench.baselines.cut_outs import cut_outs  # noqa: E402
from ovsbench.baselines.region_clip import Namer  # noqa: E402
from ovsbench.baselines.shared_options import Wording  # noqa: E402
from ovsbench.gkc_video.method import GKCMethod  # noqa: E402
from ovsbench.gkc_video.model import Network, PostProcessing  # noqa: E402
from ovsbench.gkc_video.model.network import GKC, ModelConfig  # noqa: E402
from ovsbench.gkc_video.proposals import Proposals  # noqa: E402
from ovsbench.gkc_video.text import clip as clips  # noqa: E402
from ovsbench.gkc_video.text.text_space import Prompted  # noqa: E402
from ovsbench.gkc_video.tracking.tracker import Association  # noqa: E402

COLOURS = {"red": (200, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 200)}
VOCABULARY = Vocabulary((Category(5, "green", True), Category(1, "red", False), Category(9, "blue", True, True)))
GREY = 128


class ColourClip:
    """A stand-in with the interface of `ovsbench.gkc_video.text.clip.Clip`: its space has the axes red, green, blue."""

    name = "colours"
    side = 4
    device = torch.device("cpu")

    def __init__(self):
        self.model = SimpleNamespace(logit_scale=torch.tensor(10.0).log())
        self.crops_seen: list[int] = []

    def encode_text(self, texts):
        words = {**COLOURS, "crimson": COLOURS["red"]}
        return torch.nn.functional.normalize(torch.tensor([words[t] for t in texts], dtype=torch.float32), dim=-1)

    def encode_pixels(self, pixels):
        self.crops_seen.append(len(pixels))
        if not len(pixels):
            return torch.zeros(0, 3)
        means = [one[:, (one - GREY).abs().amax(0) > 30].mean(1) for one in pixels]
        return torch.nn.functional.normalize(torch.stack(means), dim=-1)


def video(*images: np.ndarray) -> Video:
    frames = tuple(f"{i}.png" for i in range(len(images)))
    return Video("v", frames, images[0].shape[:2], lambda i: images[i])


def painted(ids: np.ndarray, colour_of: dict[int, tuple[int, int, int]]) -> np.ndarray:
    image = np.full((*ids.shape, 3), 90, np.uint8)
    for key, colour in colour_of.items():
        image[ids == key] = colour
    return image


def frame(rows: list[list[int]], categories: dict[int, int]) -> PanopticFrame:
    ids = np.array(rows, np.uint32)
    present = [int(key) for key in np.unique(ids) if key]
    return PanopticFrame(ids, {key: Segment(key, categories[key]) for key in present})


def predict(method, of: Video, vocabulary=VOCABULARY) -> list[PanopticFrame]:
    frames = list(method.predict(of, vocabulary, Rules()))
    assert len(frames) == len(of)
    for index, one in enumerate(frames):
        check_frame(one, of.size, vocabulary, f"frame {index}")
    return frames


BLANK = np.zeros((2, 4, 3), np.uint8)


def test_a_constant_answers_the_class_it_is_told_on_every_pixel_as_one_track():
    for one in predict(constant.build(category="Blue"), video(BLANK, BLANK)):
        assert (one.ids == 1).all()
        assert one.segments == {1: Segment(1, 9)}


def test_a_constant_that_reads_no_labels_is_no_label_reader():
    assert not hasattr(constant.build(category="red"), "with_labels")
    assert hasattr(constant.build(), "with_labels")


def test_a_constant_class_that_is_not_offered_is_answered_with_those_that_are():
    with pytest.raises(MethodError, match="'blau', which is not offered; did you mean 'blue'"):
        predict(constant.build(category="blau"), video(BLANK))
    with pytest.raises(MethodError, match="'blue', which is not offered"):
        predict(constant.build(category="blue"), video(BLANK), VOCABULARY.offered("base"))


def test_a_constant_has_no_weights():
    with pytest.raises(MethodError, match="has no weights"):
        constant.build(checkpoint=Path("gkc.safetensors"))


def test_without_a_class_the_most_frequent_of_the_video_is_answered():
    # red covers 3 pixels, green 2 + 3 in two segments, blue 4
    truth = [
        frame([[1, 1, 1, 2], [2, 3, 3, 0]], {1: 1, 2: 5, 3: 9}),
        frame([[4, 4, 4, 3], [3, 0, 0, 0]], {4: 5, 3: 9}),
    ]
    method = constant.build().with_labels(lambda _, i: truth[i])
    assert [one.segments[1].category for one in predict(method, video(BLANK, BLANK))] == [5, 5]
    base = Vocabulary((VOCABULARY.by_id[1], VOCABULARY.by_id[9]))
    assert predict(method, video(BLANK, BLANK), base)[0].segments[1].category == 9


def test_a_video_without_labels_of_the_offered_classes_gets_the_first_of_them():
    method = constant.build().with_labels(lambda *_: frame([[0, 0, 0, 0]] * 2, {}))
    assert predict(method, video(BLANK))[0].segments[1].category == 5


def test_methods_that_need_labels_say_so_without_them():
    with pytest.raises(MethodError, match="--option category=NAME"):
        predict(constant.build(), video(BLANK))
    with pytest.raises(MethodError, match="needs true masks"):
        predict(oracle_masks.OracleMasks(Namer(ColourClip())), video(BLANK))


def test_true_masks_keep_their_pixels_and_tracks_and_are_named_by_their_look():
    truth = frame([[7, 7, 3, 3], [0, 0, 3, 3]], {7: 9, 3: 9})
    image = painted(truth.ids, {7: COLOURS["red"], 3: COLOURS["green"]})
    method = oracle_masks.OracleMasks(Namer(ColourClip())).with_labels(lambda *_: truth)
    (named,) = predict(method, video(image))
    assert np.array_equal(named.ids, truth.ids)
    assert {key: segment.category for key, segment in named.segments.items()} == {7: 1, 3: 5}
    assert all(segment.score > 0.99 for segment in named.segments.values())


def test_the_score_of_a_named_mask_is_the_softmax_of_scaled_cosines():
    truth = frame([[1, 1, 1, 1]] * 2, {1: 1})
    image = painted(truth.ids, {1: (200, 200, 0)})  # half red, half green: cosines 0.7071, 0.7071, 0
    method = oracle_masks.OracleMasks(Namer(ColourClip())).with_labels(lambda *_: truth)
    expected = np.exp(7.0710678) / (2 * np.exp(7.0710678) + 1)
    assert predict(method, video(image))[0].segments[1].score == pytest.approx(expected, abs=1e-5)


def test_votes_along_a_track_correct_a_single_frame_and_can_be_switched_off():
    truth = frame([[1, 1, 1, 1]] * 2, {1: 1})
    looks = [(200, 0, 0), (200, 0, 0), (150, 200, 0)]
    images = [painted(truth.ids, {1: look}) for look in looks]

    def categories(vote: bool) -> list[int]:
        method = oracle_masks.OracleMasks(Namer(ColourClip()), vote=vote).with_labels(lambda *_: truth)
        return [one.segments[1].category for one in predict(method, video(*images))]

    assert categories(vote=True) == [1, 1, 1]
    assert categories(vote=False) == [1, 1, 5]


def test_all_cut_outs_of_a_frame_are_encoded_in_one_call():
    truth = frame([[1, 2, 3, 0], [1, 2, 3, 0]], {1: 1, 2: 5, 3: 9})
    clip = ColourClip()
    image = painted(truth.ids, dict(zip((1, 2, 3), COLOURS.values(), strict=True)))
    predict(oracle_masks.OracleMasks(Namer(clip)).with_labels(lambda *_: truth), video(image, image))
    assert clip.crops_seen == [3, 3]


@pytest.mark.parametrize("side", [16, 64])
def test_cut_outs_on_the_device_are_those_of_pillow(side):
    """Boxes from a third to three times the side; Pillow reduces with another filter, so single pixels may differ."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (12, 20, 3), dtype=np.uint8)
    image = np.asarray(Pillow.fromarray(coarse).resize((160, 96), Pillow.Resampling.BICUBIC))
    region_map = np.zeros((96, 160), np.uint8)
    region_map[5:50, 10:31], region_map[60:76, 40:150], region_map[:48, 150:] = 1, 2, 3
    region_map[20:30, 15:20] = 0
    frame = torch.from_numpy(image.copy()).permute(2, 0, 1)
    found = cut_outs(frame, region_map, 3, side).permute(0, 2, 3, 1).numpy()
    for number, one in enumerate(found, 1):
        expected = cut_out(image, region_map == number, side).astype(np.float32)
        assert np.abs(one - expected).mean() < (1.5 if side == 16 else 0.5)
        assert np.corrcoef(one.ravel(), expected.ravel())[0, 1] > 0.98
    assert cut_outs(frame, region_map, 0, side).shape == (0, 3, side, side)


def test_a_frame_without_segments_is_answered_with_none():
    empty = frame([[0, 0, 0, 0]] * 2, {})
    method = oracle_masks.OracleMasks(Namer(ColourClip())).with_labels(lambda *_: empty)
    assert predict(method, video(BLANK))[0].segments == {}


def test_synonyms_stand_for_their_class_when_asked_for():
    words = Vocabulary((Category(0, "green", True, synonyms=("crimson",)), Category(1, "blue", True)))
    truth = frame([[1, 1, 1, 1]] * 2, {1: 1})
    image = painted(truth.ids, {1: (190, 0, 60)})
    for synonyms, expected in ((False, 1), (True, 0)):
        method = oracle_masks.OracleMasks(Namer(ColourClip(), synonyms=synonyms)).with_labels(lambda *_: truth)
        assert predict(method, video(image), words)[0].segments[1].category == expected


def test_true_masks_need_a_clip():
    with pytest.raises(MethodError, match=r"got no checkpoint\. Give one, such as -c clip-world"):
        oracle_masks.build()


def test_a_prompt_without_a_place_for_the_name_is_refused():
    for prompt in ("a photo", "a {} {}", "a {name}", "{}|a photo"):
        with pytest.raises(MethodError, match=r"one {} where the name goes"):
            Namer.load("clip-world", Wording(prompt=prompt), device="cpu")


def proposals(rows: list[list[int]]) -> Proposals:
    """Regions as GKC would propose them; its own embeddings and classes all say the same."""
    region_map = np.array(rows, np.int32)
    count = int(region_map.max())
    masks = np.stack([region_map == n for n in range(1, count + 1)])
    axis = np.eye(count, 8, dtype=np.float32)
    even = np.full((count, len(VOCABULARY)), 1 / len(VOCABULARY), np.float32)
    return Proposals(region_map, masks, axis, np.full(count, 0.8, np.float32), even)


class HandMadeGKC:
    """Proposes the same two regions in each frame."""

    association = Association()
    delay = 0
    batch = 1
    checkpoint_sha256 = "student"
    device = "cpu"
    notes: ClassVar = {"trained_on": "nothing"}

    def reader(self, vocabulary):
        return lambda frames: [proposals([[1, 1, 2, 2], [1, 1, 2, 2]]) for _ in frames]


def test_two_stages_name_the_regions_of_gkc_by_their_look_and_link_them_as_gkc_does():
    ids = np.array([[1, 1, 2, 2], [1, 1, 2, 2]])
    images = [
        painted(ids, {1: COLOURS["red"], 2: COLOURS["green"]}),
        painted(ids, {1: (190, 10, 0), 2: (10, 190, 0)}),
    ]
    first, second = predict(two_stage.two_stage(HandMadeGKC(), Namer(ColourClip())), video(*images))
    left, right = int(first.ids[0, 0]), int(first.ids[0, 3])
    assert {first.segments[left].category, second.segments[left].category} == {1}
    assert {first.segments[right].category, second.segments[right].category} == {5}
    assert np.array_equal(first.ids, second.ids)
    assert first.segments[left].score == pytest.approx(0.8, abs=0.01)  # CLIP's probability times GKC's objectness


def test_all_regions_of_a_frame_go_through_clip_together():
    clip = ColourClip()
    image = painted(np.array([[1, 1, 2, 2]] * 2), {1: COLOURS["red"], 2: COLOURS["blue"]})
    predict(two_stage.two_stage(HandMadeGKC(), Namer(clip)), video(image, image, image))
    assert clip.crops_seen == [2, 2, 2]


def test_regions_of_a_batch_go_through_clip_together_and_each_frame_gets_its_own():
    ids = np.array([[1, 1, 2, 2]] * 2)
    images = [painted(ids, {1: COLOURS[left], 2: COLOURS[right]})
              for left, right in (("red", "blue"), ("blue", "green"), ("green", "red"))]  # fmt: skip
    frames = {}
    for batch in (1, 2):
        masks, clip = HandMadeGKC(), ColourClip()
        masks.batch, masks.association = batch, Association(vote=False)
        frames[batch] = predict(two_stage.two_stage(masks, Namer(clip)), video(*images))
        assert clip.crops_seen == {1: [2, 2, 2], 2: [4, 2]}[batch]
    for alone, together in zip(frames[1], frames[2], strict=True):
        assert np.array_equal(alone.ids, together.ids)
        assert alone.segments == together.segments
    found = [sorted(s.category for s in frame.segments.values()) for frame in frames[2]]
    assert found == [[1, 9], [5, 9], [1, 5]]


def test_the_record_of_two_stages_changes_with_the_weights_of_either():
    digests = {
        two_stage.two_stage(SimpleNamespace(checkpoint_sha256=student), Namer(ColourClip(), teacher)).checkpoint_sha256
        for student in "ab"
        for teacher in "ab"
    }
    assert len(digests) == 4


def test_the_cost_of_two_stages_is_told_by_stage():
    method = two_stage.two_stage(HandMadeGKC(), Namer(ColourClip()))
    assert "milliseconds a frame" not in method.notes
    image = painted(np.array([[1, 1, 2, 2]] * 2), {1: COLOURS["red"], 2: COLOURS["blue"]})
    predict(method, video(image, image, image))
    told = method.notes["milliseconds a frame"]
    assert re.fullmatch(r"(other|naming|association|post-processing) .*naming [\d.]+.* \(over 2 frames\)", told)


def test_two_stages_need_both_checkpoints(tmp_path):
    with pytest.raises(MethodError, match="needs a GKC checkpoint for its masks, got none"):
        two_stage.build()
    with pytest.raises(MethodError, match="--option clip=FILE"):
        two_stage.build(checkpoint=tmp_path / "gkc-mine.safetensors")


@pytest.fixture(scope="module")
def untrained() -> tuple[GKCMethod, Namer]:
    """Both models in their smallest form, with random weights."""
    torch.manual_seed(0)
    model, tokenizer = clips.create("ovsbench-world")
    clip = clips.freeze(model, tokenizer, "ovsbench-world", "random")
    width = model.text_projection.shape[1]
    shape = ModelConfig("ovsbench-world", width, queries=6, width=32, encoder_layers=1, decoder_layers=2,
                        feed_forward=32, heads=4)  # fmt: skip
    student = GKC(shape, clips.create("ovsbench-world")[0].visual).eval()
    return GKCMethod(Network(student), Prompted(clip), PostProcessing(objectness=0.0), Association()), Namer(clip)


def test_models_without_training_still_give_predictions_that_the_engine_accepts(untrained, build_benchmark, tmp_path):
    gkc, namer = untrained
    built = build_benchmark(videos=1, frames=2, size=(64, 96))
    for method in (two_stage.two_stage(gkc, namer), oracle_masks.OracleMasks(namer)):
        facts = engine.predict(method, built, tmp_path / method.name, settings=record.Settings(method=method.name))
        assert facts.device == "cpu"
        assert ("milliseconds a frame" in facts.notes) == (method.name == "two-stage")
        assert len(engine.score(built, tmp_path / method.name).values)


def test_true_masks_named_by_chance_still_overlap_perfectly(untrained, build_benchmark):
    built = build_benchmark(videos=1, frames=2, size=(64, 96))
    method = oracle_masks.OracleMasks(untrained[1]).with_labels(built.truth)
    for index, one in enumerate(predict(method, built.video("v0"), built.vocabulary)):
        assert np.array_equal(one.ids, built.truth("v0", index).ids)


def test_a_run_of_a_label_reader_is_marked_in_its_record(build_benchmark, tmp_path):
    built = build_benchmark(videos=1, frames=2)
    for name, method in (("bound", constant.build()), ("told", constant.build(category="grass"))):
        facts = engine.predict(method, built, tmp_path / name, settings=record.Settings(method="constant"))
        assert facts.uses_labels == (name == "bound")
