"""SAM 3, and boxes of OWLv2 or Grounding DINO with masks of SAM 2, from tiny folders with random weights."""

import json
import shutil

import numpy as np
import pytest

from ovsbench.benchmark import methods
from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.running.instance_checks import check_instance_frame
from ovsbench.benchmark.types import Category, Rules, Video, Vocabulary, check_frame

torch = pytest.importorskip("torch")
from ovsbench.baselines import box_detectors, box_sam2  # noqa: E402
from ovsbench.baselines.video_objects import (  # noqa: E402
    Followed,
    clip_tokens,
    frame_of_objects,
    open_model,
    stretched_pixels,
)
from ovsbench.gkc_video.torchvision_shim import prepare  # noqa: E402

prepare()
import transformers  # noqa: E402

WORDS = Vocabulary((Category(3, "dog", True), Category(5, "grass", False)))
REPEATED = Vocabulary((Category(3, "dog", True), Category(5, "cat", True), Category(8, "dog", True)))
BLOCK = {"num_attention_heads": 2, "intermediate_size": 16}


def owlv2():
    tower = {"hidden_size": 16, "num_hidden_layers": 1, **BLOCK}
    return transformers.Owlv2ForObjectDetection(
        transformers.Owlv2Config(
            text_config={**tower, "max_position_embeddings": 16},
            vision_config={**tower, "image_size": 32, "patch_size": 8},
            projection_dim=16,
        )
    )


def grounding_dino():
    swin = {"model_type": "swin", "image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [1] * 4,
            "num_heads": [1, 1, 2, 2], "window_size": 4, "out_indices": [2, 3, 4]}  # fmt: skip
    bert = {"model_type": "bert", "vocab_size": 1100, "hidden_size": 16, "num_hidden_layers": 1,
            "max_position_embeddings": 32, **BLOCK}  # fmt: skip
    part = {f"{half}_{what}": 2 for half in ("encoder", "decoder") for what in ("layers", "attention_heads")}
    return transformers.GroundingDinoForObjectDetection(
        transformers.GroundingDinoConfig(
            backbone_config=swin, text_config=bert, d_model=32, num_queries=5, max_text_len=12,
            encoder_ffn_dim=16, decoder_ffn_dim=16, **part,
        )
    )  # fmt: skip


def bert_tokenizer(folder):
    """A tokenizer.json of BERT with few words; the special ones have the numbers that the model has built in."""
    from tokenizers import BertWordPieceTokenizer

    words = {f"[unused{number}]": number for number in range(1100)}
    words = {word: number for word, number in words.items() if number not in (0, 100, 101, 102, 1012, 1029)}
    words |= {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, ".": 1012, "?": 1029}
    for number, word in enumerate(("dog", "grass", "cat", "red", "bus", "##es", "st"), 1):
        del words[f"[unused{number}]"]
        words[word] = number
    BertWordPieceTokenizer(words, lowercase=True).save(str(folder / "tokenizer.json"))
    return folder


def sam2():
    backbone = transformers.Sam2HieraDetConfig(
        hidden_size=8, num_attention_heads=1, image_size=[64, 64], window_positional_embedding_background_size=[2, 2],
        embed_dim_per_stage=[8, 16, 32, 64], num_attention_heads_per_stage=[1] * 4, blocks_per_stage=[1, 1, 2, 1],
        global_attention_blocks=[3], window_size_per_stage=[4, 2, 2, 2],
    )  # fmt: skip
    vision = transformers.Sam2VisionConfig(
        backbone_config=backbone, backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
    )  # fmt: skip
    return transformers.Sam2VideoModel(
        transformers.Sam2VideoConfig(
            vision_config=vision, image_size=64, prompt_encoder_config={"image_size": 64},
            mask_decoder_config={"mlp_dim": 32, "num_hidden_layers": 1}, memory_attention_num_layers=1,
            memory_attention_rope_feat_sizes=[4, 4], memory_attention_feed_forward_hidden_size=64,
            memory_fuser_num_layers=1, memory_fuser_intermediate_dim=64,
        )
    )  # fmt: skip


def sam3():
    width = 128
    part = {"hidden_size": width, **BLOCK}
    vision = {
        "backbone_config": {
            "model_type": "sam3_vit_model", "hidden_size": 16, "num_hidden_layers": 1, "image_size": 112,
            "pretrain_image_size": 56, "window_size": 4, "global_attn_indexes": [0], **BLOCK,
        },
        "fpn_hidden_size": width,
        "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
    }  # fmt: skip
    config = transformers.Sam3VideoConfig(
        detector_config={
            "vision_config": vision,
            "text_config": {
                "hidden_size": 32, "num_hidden_layers": 1, "max_position_embeddings": 32, "projection_dim": 32, **BLOCK,
            },
            "geometry_encoder_config": {"num_layers": 1, **part},
            "detr_encoder_config": {"num_layers": 1, **part},
            "detr_decoder_config": {"num_layers": 1, "num_queries": 4, **part},
            "mask_decoder_config": {"hidden_size": width, "num_attention_heads": 2},
        },
        tracker_config={
            "vision_config": vision,
            "prompt_encoder_config": {"hidden_size": width, "image_size": 112},
            "mask_decoder_config": {
                "hidden_size": width, "mlp_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                "iou_head_hidden_dim": 16,
            },
            "memory_attention_hidden_size": width, "memory_attention_num_layers": 1,
            "memory_attention_feed_forward_hidden_size": 16, "memory_attention_rope_feat_sizes": [8, 8],
            "memory_encoder_hidden_size": width, "mask_downsampler_embed_dim": width,
            "memory_fuser_num_layers": 1, "memory_fuser_embed_dim": width, "memory_fuser_intermediate_dim": 16,
        },
        low_res_mask_size=32, score_threshold_detection=0.0, new_det_thresh=0.0, hotstart_delay=0, fill_hole_area=0,
    )  # fmt: skip
    config.image_size = 112
    return transformers.Sam3VideoModel(config)


def saved(make, folder):
    torch.manual_seed(0)
    make().save_pretrained(folder)
    return folder


def three_frames(method):
    images = [np.random.default_rng(i).integers(0, 256, (48, 64, 3), np.uint8) for i in range(3)]
    video = Video("v", tuple("012"), (48, 64), lambda i: images[i])
    frames = list(method.predict(video, WORDS, Rules()))
    assert len(frames) == 3
    for frame in frames:
        check_frame(frame, video.size, WORDS, "here")
    objects = list(method.predict(video, REPEATED, Rules(task="instance")))
    assert len(objects) == 3
    for one in objects:
        check_instance_frame(one, video.size, REPEATED, "here")
    return frames, [one.scores for frame in objects for one in frame.objects]


@pytest.mark.skipif(not hasattr(transformers, "Sam3VideoModel"), reason="SAM 3 needs transformers 5.0 or later")
def test_sam3_answers_three_frames_from_text_alone(tmp_path):
    method = methods.create("sam3-video", checkpoint=saved(sam3, tmp_path / "sam3"), device="cpu")
    frames, named = three_frames(method)
    assert any(frame.segments for frame in frames)
    assert any(3 in scores for scores in named)
    for scores in named:  # the same text is asked once, and names both its categories
        assert (3 in scores) == (8 in scores)
        assert scores.get(3) == scores.get(8)
    assert len(method.checkpoint_sha256) == 64


@pytest.mark.skipif(not hasattr(transformers, "Sam2VideoModel"), reason="SAM 2 needs transformers 5.0 or later")
def test_boxes_of_owlv2_are_followed_by_sam2_over_three_frames(tmp_path):
    folders = saved(owlv2, tmp_path / "owl"), saved(sam2, tmp_path / "sam2")
    options = {"sam": str(folders[1]), "score": "0", "every": "2", "objects": "3"}
    _, named = three_frames(methods.create("box-sam2", checkpoint=folders[0], device="cpu", options=options))
    assert named
    for scores in named:
        assert set(scores) == {3, 5, 8}, "every class of a box"
        assert list(scores.values()) == sorted(scores.values(), reverse=True)
    with pytest.raises(MethodError, match=r"a score from 0 to 1, got 0, 20, 10 and 0.1"):
        methods.create("box-sam2", checkpoint=folders[0], options={"sam": str(folders[1]), "every": "0"})
    with pytest.raises(MethodError, match=r"do not fit|expected a model"):
        methods.create("box-sam2", checkpoint=folders[1], device="cpu", options={"sam": str(folders[1])})


@pytest.fixture(scope="module")
def dino(tmp_path_factory):
    """A folder of Grounding DINO as its repository has it."""
    folder = bert_tokenizer(saved(grounding_dino, tmp_path_factory.mktemp("hub") / "dino"))
    sides = {"shortest_edge": 64, "longest_edge": 96}
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": sides, "do_pad": True}))
    return folder


@pytest.mark.skipif(not hasattr(transformers, "Sam2VideoModel"), reason="SAM 2 needs transformers 5.0 or later")
def test_boxes_of_grounding_dino_are_followed_by_sam2_over_three_frames(dino, tmp_path):
    options = {"sam": str(saved(sam2, tmp_path / "sam2")), "score": "0", "every": "2", "objects": "3"}
    method = methods.create("box-sam2", checkpoint=dino, device="cpu", options=options)
    assert method.notes["architecture"] == "Grounding DINO boxes, SAM 2 masks"
    _, named = three_frames(method)
    assert named
    for scores in named:
        assert scores[3] == scores[8], "one text, two categories"


def test_grounding_dino_reads_each_name_as_one_phrase_of_a_sentence(dino):
    detector = box_detectors.open_detector(dino, "cpu")
    names = ["Dog", "st. red buses", "grass?", "cat", "[SEP] bus"]
    assert list(detector.sentences(names)) == [
        ([101, 1, 1012, 7, 4, 5, 6, 1012, 2, 1012, 102], {"Dog": (1, 2), "st. red buses": (3, 7), "grass?": (8, 9)}),
        ([101, 3, 1012, 100, 100, 100, 5, 1012, 102], {"cat": (1, 2), "[SEP] bus": (3, 7)}),
    ], "marks that end a phrase are left out of names, the text [SEP] is none; at most 12 tokens a sentence"
    for name in ("?", "dog " * 10):
        with pytest.raises(MethodError, match=r"reads names of 1 to 9 tokens, got '.*' with (0|10)\. Rename it"):
            list(detector.sentences([name]))


def test_grounding_dino_scores_a_name_by_the_mean_over_its_own_tokens(dino):
    detector = box_detectors.open_detector(dino, "cpu")
    image = np.random.default_rng(0).integers(0, 256, (60, 120, 3), np.uint8)
    boxes, chance = detector.look(image, ["red buses", "dog", "red buses"])
    assert boxes.shape == (5, 4)
    assert (boxes[:, :2] <= boxes[:, 2:]).all()
    pixels = stretched_pixels(image, (48, 96), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # 96 is the longest
    seen = detector.model(input_ids=torch.tensor([[101, 4, 5, 6, 1012, 1, 1012, 102]]), pixel_values=pixels)
    of_token = seen.logits[0].sigmoid().numpy()
    expected = np.stack([of_token[:, 1:4].mean(1), of_token[:, 5], of_token[:, 1:4].mean(1)], 1)
    np.testing.assert_allclose(chance, expected, rtol=1e-5)
    # names in two sentences: the boxes of each know its own names alone
    boxes, chance = detector.look(image, ["dog", "red buses", "grass", "cat", "bus"])
    assert boxes.shape == (10, 4)
    assert (chance[:5] > 0).tolist() == [[True] * 4 + [False]] * 5
    assert (chance[5:] > 0).tolist() == [[False] * 4 + [True]] * 5


def test_a_detector_without_its_tokenizer_or_of_another_kind_is_one_sentence(dino, tmp_path):
    folder = shutil.copytree(dino, tmp_path / "dino")
    (folder / "tokenizer.json").write_text('{"model": ')
    with pytest.raises(MethodError, match=r"tokenizer.json: expected a tokenizer, got .*Bring that"):
        box_detectors.open_detector(folder, "cpu")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(MethodError, match=r"tokenizer.json: expected a tokenizer, got No such file.*Bring that"):
        box_detectors.open_detector(folder, "cpu")
    (folder / "config.json").write_text('{"model_type": "detr"}')
    with pytest.raises(MethodError, match=r"a model of owlv2 or grounding-dino that finds boxes, got detr"):
        box_detectors.open_detector(folder, "cpu")
    (folder / "config.json").write_text("[1")
    with pytest.raises(MethodError, match=r"config.json: expected a config of transformers, got"):
        box_detectors.open_detector(folder, "cpu")


def test_models_that_are_missing_are_one_sentence(tmp_path):
    for method in ("sam3-video", "box-sam2"):
        with pytest.raises(MethodError, match="Give"):
            methods.create(method)
    with pytest.raises(MethodError, match=r"Sam9 is not in transformers \d.*Install 5.0 or later"):
        open_model("Sam9", tmp_path, "cpu")


def test_of_overlapping_objects_the_surest_pixel_wins_and_stuff_is_one_segment():
    masks = torch.tensor([[[2.0, 2.0, -1.0, -1.0]], [[-1.0, 3.0, 3.0, -1.0]], [[-1.0, -1.0, -1.0, 1.0]]])
    objects = [Followed(0, 0, 0.9, masks[0]), Followed(4, 1, 0.5, masks[1]), Followed(5, 1, 0.7, masks[2])]
    frame = frame_of_objects(objects, (1, 4), WORDS)
    assert frame.ids.tolist() == [[3, 2, 2, 2]]
    assert {key: (s.category, s.score) for key, s in frame.segments.items()} == {3: (3, 0.9), 2: (5, 0.7)}
    assert frame_of_objects([], (1, 4), WORDS).segments == {}


def test_a_box_keeps_the_track_of_the_mask_of_its_class():
    mask = torch.full((4, 4), -1.0)
    mask[:2, :2] = 1.0
    boxes = np.array([[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]], np.float32)
    found = box_sam2.Found(boxes, np.array([1, 0, 0]), np.ones(3, np.float32), np.full(3, -1))
    kept, born = box_sam2.keep_tracks(found, [Followed(7, 0, 1.0, mask)], 8)
    assert kept.tracks.tolist() == [8, 7, 9]
    assert born == 10
    assert box_sam2.mask_box(np.zeros((2, 2), bool)) is None


def test_boxes_that_say_the_same_are_one():
    boxes = np.array([[0, 0, 1, 1], [0, 0, 1, 0.9], [0, 0, 0.2, 0.2], [0.8, 0.8, 1, 1]], np.float32)
    assert box_sam2.distinct(boxes, np.array([0.5, 0.9, 0.3, 0.1], np.float32), 0.2, 5) == [1, 2]


def test_tokens_end_with_the_last_that_counts():
    ids, mask = clip_tokens(["dog", "a red dog"], 8, "OWLv2")
    assert ids.shape == mask.shape == (2, 8)
    assert mask.sum(1).tolist() == [3, 5]
    assert (ids[mask == 0] == 0).all()
    with pytest.raises(MethodError, match="OWLv2 reads at most 4 tokens of a text, got 5: 'a red dog'"):
        clip_tokens(["dog", "a red dog"], 4, "OWLv2")
