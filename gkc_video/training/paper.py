"""The preset `paper = true` of a training file: GKC as its paper and released code have it, without a part of ours.

Source: Han et al., Global Knowledge Calibration for Fast Open-Vocabulary Segmentation, ICCV 2023, and what its released
code fixes; docs/training.md says line by line what each value does. The final model's configuration was not published:
weights of losses are those of the released configuration, and of the code where that has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PAPER: Mapping[str, Mapping[str, Any]] = {
    "model": {
        "queries": 100, "width": 256, "encoder_layers": 6, "decoder_layers": 9, "heads": 8,
        "feed_forward": 1024, "decoder_feed_forward": 2048, "region_head": False,
    },
    "text": {"templates": ["{}"]},
    "synonyms": {"senses": 0, "prompt": "a photo of {}"},
    "augmentation": {"size": [512, 512], "scale": [0.64, 0.96], "brightness": 0.0, "label_stride": 1},
    "training": {
        "steps": 50000, "batch": 112, "schedule": "steps", "learning_rate": 3e-4, "trunk_rate": 0.1,
        "weight_decay": 0.05, "clip_norm": 0.01, "unlabelled": 0, "captions": 0,
        "diversify": "thresRand", "tgkd": "merged", "region_dropout": 0.5,
        "region_limit": 200, "region_limit_of": "step", "points": 12544, "void": "background",
        "deep_supervision": "sum", "teacher_crop": "stretched",
    },
    "losses": {
        "classes": 2.0, "synonyms": 10.0, "mask": 5.0, "dice": 5.0, "no_object": 0.1, "tgkd": 10.0,
        "names": 0.0, "profiles": 0.0, "pseudo_masks": 0.0,
    },
    "post_processing": {"objectness": 0.8, "min_kept_share": 0.8, "mask_nms_iou": 1.0, "min_area": 1},
}  # fmt: skip


def with_preset(tables: Mapping[str, Any]) -> Mapping[str, Any]:
    """The tables of a training file in which `paper = true` is written out; what the file says itself goes before.

    With WordNet its senses are all synonyms there are; without it they are those of this project's own table.
    """
    if tables.get("paper") is not True or tables.get("kind") != "gkc":
        return tables
    whole = {key: value for key, value in tables.items() if key != "paper"}
    for name, preset in PAPER.items():
        given = whole.get(name, {})
        if name == "synonyms" and isinstance(given, Mapping) and given.get("wordnet"):
            preset = {**preset, "own": False}
        whole[name] = {**preset, **given} if isinstance(given, Mapping) else given
    return whole
