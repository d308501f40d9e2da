"""What every metric says of itself and its values, in one table: names, places in tables, directions, constants."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ovsbench.benchmark.metrics import (
    METRICS,
    OPTIONAL,
    Value,
    ap_curves,
    burst,
    cgf1,
    confusion,
    described,
    hota,
    phota,
    plausible,
    teta,
    track_overlaps,
    tracking,
    vpq,
)
from ovsbench.benchmark.types import Rules

RULES = Rules(vpq_windows=(1, 2, 4, 6))
BY_NAME = {metric.name: metric for metric in (*METRICS, *OPTIONAL)}
WINDOWS = {"shown": "board", "heading": "VPQ, by window"}
OVER_TIME = {"shown": "board", "heading": "Over time"}
RANKS = {"shown": "headline", "by_part": True, "rank_order": 1}
EVENTS = {"lower_is_better": True, "is_fraction": False}
FOLLOWS = {"judges_tracks": True}
NAMES = {  # every value of a metric, and what is not as it is for most
    "vpq": (
        "VPQ VPQ_official PQ object_IoU VPQ@1 SQ@1 RQ@1 VPQ@2 SQ@2 RQ@2 VPQ@4 SQ@4 RQ@4 VPQ@6 SQ@6 RQ@6 "
        "VPQ@8 SQ@8 RQ@8",
        {"VPQ": {**RANKS, "rank_order": 2, "category_head": "VPQ", **FOLLOWS},
         "VPQ_official": {**WINDOWS, "head": "1 to 8"},
         **{f"VPQ@{k}": {**WINDOWS, "head": f"@{k}", **FOLLOWS} for k in (1, 2, 4, 6)},
         "VPQ@8": {"heading": "VPQ, by window", "head": "@8"}},
    ),
    "miou": (
        "mIoU mIoU_union mIoU_video fwIoU pixel_accuracy class_accuracy",
        {"mIoU": {**RANKS, "category_head": "IoU"}},
    ),
    "stq": (
        "STQ STQ_AQ STQ_SQ STQ_official STQ_official_AQ",
        {"STQ": {"shown": "headline", "heading": "Over time", **FOLLOWS}, "STQ_AQ": FOLLOWS},
    ),
    "hota": ("HOTA DetA AssA", {"HOTA": {**OVER_TIME, **FOLLOWS}, "AssA": FOLLOWS}),
    "clear": (
        "MOTA MOTP IDF1 IDP IDR IDSW FP FN",
        {"IDF1": FOLLOWS, "IDSW": EVENTS, "FP": EVENTS, "FN": EVENTS},
    ),
    "vc": (
        "VC@8 VC_strict@8 VC@16 VC_strict@16",
        {"VC@8": {**OVER_TIME, **FOLLOWS}, "VC@16": {**OVER_TIME, **FOLLOWS}},
    ),
    "confusion": ("named", {}),
    "vpq-video": ("VPQ_video SQ_video RQ_video", {"VPQ_video": {**WINDOWS, "head": "video"}}),
    "cgf1": (
        "cgF1 cgF1@50 cgF1@75 IL_MCC pmF1 pmF1@50 pmF1@75 cgF1_no_crowds",
        {"cgF1": RANKS, "IL_MCC": {"shown": "headline"}, "pmF1": {"shown": "headline", "category_head": "pmF1"}},
    ),
    "phota": ("pHOTA pDetA pAssA", {"pHOTA": {"shown": "headline", "by_part": True}}),
    "phrase-ap": ("phrase_AP phrase_AP50 phrase_AP75", {"phrase_AP": {"shown": "headline"}}),
    "burst-hota": ("HOTA_burst DetA_burst AssA_burst", {"HOTA_burst": {**RANKS, "category_head": "HOTA_burst"}}),
    "burst-ap": ("AP_burst AP50_burst AP75_burst", {"AP_burst": {"shown": "headline"}}),
    "ap": (
        " ".join(f"{name}{rule}" for rule in ("", "_lvvis")
                 for name in ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]),
        {"AP": {**RANKS, "category_head": "AP"},
         "AP50": {"shown": "headline", "by_part": True, "category_head": "AP50"},
         "AP75": {"shown": "headline"}, "AR100": {"category_head": "AR100"}},
    ),
    "tracking": (
        "HOTA DetA AssA MOTA MOTP IDF1 IDP IDR IDSW FP FN "
        "HOTA_class_mean DetA_class_mean AssA_class_mean MOTA_class_mean IDF1_class_mean "
        "HOTA_agnostic DetA_agnostic AssA_agnostic MOTA_agnostic IDF1_agnostic OWTA",
        {"HOTA": OVER_TIME, "IDSW": EVENTS, "FP": EVENTS, "FN": EVENTS, "OWTA": {**OVER_TIME, "by_part": True},
         **{name: {"heading": "Over time"} for name in ["DetA", "AssA", "MOTA", "MOTP", "IDF1", "IDP", "IDR"]}},
    ),
    "teta": ("TETA LocA AssocA ClsA", {"TETA": {"shown": "board", "by_part": True, "category_head": "TETA"}}),
    "davis": (
        "J&F J J_recall J_decay F F_recall F_decay",
        {"J_decay": {"lower_is_better": True}, "F_decay": {"lower_is_better": True}},
    ),
    "davis_semi": (
        "J&F_semi J_semi J_recall_semi J_decay_semi F_semi F_recall_semi F_decay_semi",
        {"J_decay_semi": {"lower_is_better": True}, "F_decay_semi": {"lower_is_better": True}},
    ),
}  # fmt: skip
VERSIONS = {**dict.fromkeys(NAMES, 1), "vpq": 2, "miou": 2, "ap": 2, "davis": 2}


def unusual(value: Value) -> dict[str, object]:
    """What a value says of itself that most do not, without its name and meaning."""
    said = dataclasses.asdict(value)
    usual = dataclasses.asdict(Value(value.name, value.meaning))
    return {key: said[key] for key in said if said[key] != usual[key]}


def test_the_table_names_every_metric():
    assert list(NAMES) == list(BY_NAME)
    assert dataclasses.asdict(Value("x")) == {
        "name": "x", "meaning": "", "shown": "details", "by_part": False, "heading": "", "head": "",
        "rank_order": None, "lower_is_better": False, "is_fraction": True, "category_head": "", "judges_tracks": False,
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_lists_its_values_and_says_which_rank_which_way(name: str):
    names, unlike = NAMES[name]
    values = BY_NAME[name].values(RULES)
    assert " ".join(value.name for value in values) == names
    assert {value.name: unusual(value) for value in values if unusual(value)} == unlike
    assert all(value.meaning for value in values)
    assert BY_NAME[name].version == VERSIONS[name]


def test_what_ranks_stands_first_in_tables():
    assert list(described(RULES.vpq_windows))[:6] == ["mIoU", "cgF1", "HOTA_burst", "AP", "VPQ", "VPQ_official"]


def test_values_at_an_iou_say_which():
    meanings = {value.name: value.meaning for metric in BY_NAME.values() for value in metric.values(RULES)}
    for name, words in {
        "cgF1@50": "at a track IoU of 0.50", "cgF1@75": "at a track IoU of 0.75", "pmF1@50": "0.50", "pmF1@75": "0.75",
        "AP50": "0.5", "AP75": "0.75", "phrase_AP50": "0.50", "phrase_AP75": "0.75", "AP50_burst": "0.5",
        "AP75_burst": "0.75", "VPQ@4": "4",
    }.items():  # fmt: skip
        assert words in meanings[name], name


def test_constants_are_those_of_the_papers():
    from_a_twentieth = np.arange(1, 20) / 20
    assert pytest.approx(from_a_twentieth) == hota.ALPHAS
    assert pytest.approx([0.0, *from_a_twentieth]) == teta.ALPHAS
    assert (cgf1.KEPT_FROM, phota.ABOVE, plausible.SLACK) == (0.5, 0.5, 1e-6)
    assert vpq.OFFICIAL == (1, 2, 4, 6, 8)
    assert pytest.approx(np.finfo("float").eps) == hota.EPSILON == tracking.EPSILON == teta.EPSILON
    assert (tracking._MATCH, teta._OVERLAP, burst._MOST, confusion.UNNAMED) == (0.5, 0.5, 300, -1)
    assert pytest.approx(np.arange(101) / 100) == ap_curves.RECALLS


def test_what_is_in_memory_at_once_is_bounded():
    assert (vpq.BLOCK, vpq._MOST_CELLS, track_overlaps.CHUNK, track_overlaps._KEPT) == (32, 2**20, 128, 1_000_000)
