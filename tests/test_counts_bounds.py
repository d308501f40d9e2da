"""What counts of a video may be at most, metric by metric: at the bound they are sound, one beyond it is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import BOXES
from test_plausible import random_video
from track_cases import CLASSES, random_case

from ovsbench.benchmark.metrics import METRICS, OPTIONAL
from ovsbench.benchmark.metrics.ap import ApCounts
from ovsbench.benchmark.metrics.ap_matching import Found
from ovsbench.benchmark.metrics.base import LabelledCounts, OverlapMetric, SummedCounts
from ovsbench.benchmark.metrics.burst import BurstAp
from ovsbench.benchmark.metrics.plausible import VideoShape
from ovsbench.benchmark.metrics.vc import WHOLE
from ovsbench.benchmark.panoptic import dense, overlap_dense
from ovsbench.benchmark.types import Rules, Scope

BY_NAME = {metric.name: metric for metric in (*METRICS, *OPTIONAL)}
# Four frames of 100 pixels; 1 and 2 are things, 3 is stuff.
SHAPE = VideoShape(4, 400, frozenset({1, 2, 3}), Rules(vpq_windows=(1, 2)), frozenset({1, 2}))
Edits = dict[int, Any]


def problems(name: str, counts: Any, **beside: Any) -> list[str]:
    """What is said of counts that are given as JSON, beside those of other metrics."""
    read = {other: BY_NAME[other].counts_from_json(value) for other, value in beside.items()}
    return list(BY_NAME[name].counts_from_json(counts).problems(SHAPE, read))


def edited(row: list[Any], edits: Edits) -> list[Any]:
    return [edits.get(place, value) for place, value in enumerate(row)]


def falling(high: float, low: float, steps: int = 19) -> list[Any]:
    """High in the first half, low in the second."""
    return [high if step < steps // 2 else low for step in range(steps)]


CLEAR = [10, 8, 8, 8, 4.0, 8]  # labelled and predicted masks, matches, switches, sum of 1 - IoU, kept


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        ({}, None),
        ({0: 8, 1: 10}, None),
        ({2: 9, 4: 0.0}, "has 9 matches of 10 and 8 masks"),
        ({0: 8, 1: 10, 2: 9, 4: 0.0}, "has 9 matches of 8 and 10 masks"),
        ({3: 9}, "has 8 matches of 10 and 8 masks"),
        ({5: 9}, "has 8 matches of 10 and 8 masks"),
        ({2: 7, 3: 7, 4: 0.0}, "has 7 matches of 10 and 8 masks"),
        ({4: 4.001}, "has 8 matches at an IoU below one half"),
        *(({place: 1.0}, "has numbers of another kind") for place in (0, 1, 2, 3, 5)),
    ],
)
def test_clear(edits: Edits, said: str | None):
    assert problems("clear", {"1": edited(CLEAR, edits)}) == ([f"clear of category 1 {said}"] if said else [])


def test_clear_and_hota_count_the_same_masks_and_a_match_above_one_half_is_one_of_clear():
    def hota(threshold: int, matches: int, *masks: int) -> dict[str, Any]:
        return {"1": [*(masks or CLEAR[:2]), [matches] * threshold + [0] * (19 - threshold), [0.0] * 19]}

    clear = {"1": CLEAR}
    assert problems("clear", clear, hota=hota(11, 8)) == []
    assert problems("clear", clear, hota=hota(10, 9)) == [], "at 0.5 HOTA may count a tie that CLEAR does not"
    fewer = ["clear of category 1 has fewer matches than hota at a higher IoU"]
    assert problems("clear", clear, hota=hota(11, 9)) == fewer
    disagree = ["clear and hota disagree about the number of masks of category 1"]
    for masks in ((11, 8), (10, 9)):
        assert problems("clear", clear, hota=hota(11, 8, *masks)) == disagree
    assert problems("clear", {}, hota=hota(0, 0)) == disagree
    assert problems("clear", clear, hota={}) == disagree


@pytest.mark.parametrize(
    ("matches", "association", "said"),
    [
        (falling(8, 2), [float(m) for m in falling(8, 2)], None),
        (falling(8, 2), [m / 8 for m in falling(8, 2)], None),
        (falling(8, 2), [8.001, *falling(8, 2)[1:]], "more association than matches, or too little"),
        (falling(8, 2), [m / 8 - 1e-3 for m in falling(8, 2)], "more association than matches, or too little"),
        (falling(9, 2), falling(8, 2), "9 matches of 10 and 8 masks"),
        (falling(2, 3), falling(2, 2), "3 matches of 10 and 8 masks"),
        (falling(8, 2), [8.0] * 18, "numbers of another kind"),
        ([8.0, *falling(8, 2)[1:]], falling(8, 2), "numbers of another kind"),
    ],
)
def test_hota(matches: list[Any], association: list[Any], said: str | None):
    found = problems("hota", {"1": [10, 8, matches, association]})
    assert found == ([f"hota of category 1 has {said}"] if said else [])


@pytest.mark.parametrize(
    ("shared", "labelled", "is_sound"),
    [(190, 300, True), (189, 300, False), (3, 30, True), (2, 30, False), (190, 301, False)],
)
def test_matched_masks_share_the_pixels_that_their_threshold_asks_for(shared: int, labelled: int, is_sound: bool):
    """Three of four masks are matched at 0.95: the fourth may hold all 100 pixels of a frame, or none."""
    hota = {"1": [4, 3, [3] * 19, [3.0] * 19]}
    miou = {"videos": [{"1": [shared, 400, labelled]}]}
    told = ["hota of category 1 matches masks that share too few pixels with the labels"]
    assert problems("hota", hota, miou=miou) == ([] if is_sound else told)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"1": [100, 100, 300], "2": [50, 300, 100]}, []),
        ({"1": [101, 100, 300]}, ["category 1 has 101 common pixels of 100 predicted and 300 labelled ones"]),
        ({"1": [101, 300, 100]}, ["category 1 has 101 common pixels of 300 predicted and 100 labelled ones"]),
        ({"1": [1.0, 2, 2]}, ["category 1 has 1.0 common pixels of 2 predicted and 2 labelled ones"]),
        ({"1": [0, 100, 301], "2": [0, 300, 100]}, ["401 labelled pixels in a video of 400"]),
        ({"1": [0, 101, 300], "2": [0, 300, 100]}, ["401 predicted pixels in a video of 400"]),
    ],
)
def test_pixels(rows: dict[str, list[int]], said: list[str]):
    assert problems("miou", {"videos": [rows]}) == said


def test_pixels_are_those_of_one_video():
    assert problems("miou", {"videos": []}) == ["miou holds 0 videos for one"]
    assert problems("miou", {"videos": [{}, {}]}) == ["miou holds 2 videos for one"]


PAIRS = {"1": {"1": 30, "2": 5, "-1": 4}, "3": {"1": 2}}
MARGINS = {"1": [30, 32, 39], "2": [0, 5, 0], "3": [0, 0, 2]}


def test_the_table_of_classes_has_the_margins_of_miou():
    assert problems("confusion", PAIRS, miou={"videos": [MARGINS]}) == []
    for c, row in MARGINS.items():
        for place in range(3):
            other = {**MARGINS, c: edited(row, {place: row[place] + 1})}
            said = [f"confusion and miou disagree about the pixels of category {c}"]
            assert problems("confusion", PAIRS, miou={"videos": [other]}) == said


def test_stq_has_the_pixels_of_miou_and_associates_no_more_than_pixels_and_tubes_allow():
    def stq(association: float, tubes: Any, official: float, official_tubes: Any, unnamed: int = 4, first: int = 30):
        rows = {c: [*row, 0.0, 0, 0.0, 0] for c, row in MARGINS.items()}
        rows["1"] = [first, 32, 39, association, tubes, official, official_tubes]
        counts = {"classes": rows, "unnamed": unnamed}
        return problems("stq", counts, miou={"videos": [MARGINS]}, confusion=PAIRS)

    assert stq(7.0, 7, 6.0, 6) == []
    assert stq(35.0, 40, 35.0, 40) == [], "35 pixels of category 1 are predicted as things"
    assert stq(7.001, 7, 6.0, 6) == ["stq of category 1 has an association of 7.001 in 7 tubes"]
    assert stq(7.0, 7, 6.001, 6) == ["stq of category 1 has an association of 6.001 in 6 tubes"]
    assert stq(7.0, 7.0, 6.0, 6) == ["stq of category 1 has an association of 7.0 in 7.0 tubes"]
    assert stq(7.0, 7, 6.0, 6.0) == ["stq of category 1 has an association of 6.0 in 6.0 tubes"]
    shared = ["stq of category 1 has an association without as many pixels shared with things"]
    assert stq(35.01, 40, 0.0, 0) == stq(0.0, 0, 35.01, 40) == shared
    assert stq(7.0, 7, 6.0, 6, unnamed=3) == ["stq has 3 labelled pixels without a name, confusion has 4"]
    assert stq(7.0, 7, 6.0, 6, first=29) == ["stq and miou disagree about the pixels of category 1"]


@pytest.mark.parametrize(
    ("length", "row", "said"),
    [
        (3, [2.0, 2, 2.0, 2], []),
        (3, [3.0, 3, 2.0, 2], ["vc@3 has 3 windows in a video of 4 frames"]),
        (3, [2.0, 2, 2.0, 3], ["vc@3 has 2 windows in a video of 4 frames"]),
        (5, [0.0, 0, 0.0, 0], []),
        (6, [0.0, 0, 0.0, 0], []),
        (5, [1.0, 1, 0.0, 0], ["vc@5 has 1 windows in a video of 4 frames"]),
        (3, [2.0, 2.0, 2.0, 2], ["vc@3 has 2.0 windows in a video of 4 frames"]),
        (3, [2.001, 2, 2.0, 2], ["vc@3 of category 1 has a sum of 2.001 in 2 windows"]),
        (3, [2.0, 2, 1.001, 1], ["vc@3 of category 1 has a sum of 2.0 in 2 windows"]),
        (2, [1.0, 3, 2.0, 3], []),
        (2, [1.0, 3, 2.001, 3], ["vc@2 of category 1 has more that is right than stays the same"]),
    ],
)
def test_vc(length: int, row: list[Any], said: list[str]):
    assert problems("vc", {str(length): {"1": row}}) == said
    of_whole = [one.replace("category 1", f"category {WHOLE}") for one in said if "stays the same" not in one]
    assert problems("vc", {str(length): {str(WHOLE): row}}) == of_whole, "all pixels may be right and none stay"
    assert problems("vc", {str(length): {"9": [0.0, 0, 0.0, 0]}}) == [
        f"vc@{length} has category 9, which the benchmark lacks"
    ]


def test_what_is_right_for_so_many_frames_has_as_many_right_pixels():
    row = {"3": {"1": [1.0, 1, 0.5, 1]}}
    assert problems("vc", row, miou={"videos": [{"1": [3, 9, 9]}]}) == []
    assert problems("vc", row, miou={"videos": [{"1": [2, 9, 9]}]}) == [
        "vc@3 of category 1 has pixels that are right for 3 frames, miou has none"
    ]
    assert problems("vc", {"3": {"1": [1.0, 1, 0.0, 1]}}, miou={"videos": [{"1": [2, 9, 9]}]}) == []


def vpq(first: list[Any], second: list[Any] | None = None) -> dict[str, Any]:
    return {"headline": [1, 2], "windows": {"1": {"1": first}, "2": {"1": second} if second else {}, "4": {},
                                            "6": {}, "8": {}}}  # fmt: skip


def test_vpq_has_the_windows_that_are_asked_for_and_sums_between_one_half_and_one_a_match():
    assert problems("vpq", vpq([2.0, 4, 1, 1], [4.0, 4, 0, 0])) == []
    for row, said in (([1.999, 4, 1, 1], 1.999), ([4.001, 4, 1, 1], 4.001)):
        assert problems("vpq", vpq(row)) == [f"vpq@1 of category 1 has a sum of IoUs of {said} in 4 matches"]
    for place in (1, 2, 3):
        assert problems("vpq", vpq(edited([2.0, 4, 1, 1], {place: float((2, 4, 1, 1)[place])})))
    missing = vpq([2.0, 4, 1, 1])
    del missing["windows"]["2"]
    assert "vpq has windows of [1, 4, 6, 8] frames" in problems("vpq", missing)[0]
    assert "vpq has windows of" in problems("vpq", {**vpq([2.0, 4, 1, 1]), "headline": [1]})[0]
    short = VideoShape(4, 400, SHAPE.categories, SHAPE.rules, SHAPE.things)
    long = {**vpq([2.0, 4, 1, 1])}
    long["windows"] = {**long["windows"], "4": {"1": [2.0, 4, 0, 0]}, "6": {"1": [2.0, 4, 0, 0]}}
    found = list(BY_NAME["vpq"].counts_from_json(long).problems(short, {}))
    assert found == ["vpq has tubes of 6 frames in a video of 4"]


def test_a_tube_that_matches_shares_pixels():
    """Of two masks one is matched: of 150 labelled pixels at least 50 are its own, half of which are shared."""

    def told(shared: int, tp: int = 1, labelled: int = 150, hota: int = 2, pairs: Any = None) -> list[str]:
        beside = {
            "miou": {"videos": [{"1": [shared, 200, labelled]}]},
            "confusion": {"1": {"1": 30}} if pairs is None else pairs,
            "hota": {"1": [hota, 2, [2] * 19, [2.0] * 19]},
        }
        return problems("vpq", vpq([tp * 0.6, tp, 2 - tp, 2 - tp]), **beside)

    assert told(25) == []
    assert told(24) == ["vpq@1 of category 1 has 1 matches and 1 misses, miou too few common pixels"]
    assert told(2, tp=2, labelled=4) == []
    assert told(1, tp=2, labelled=2) == ["vpq@1 of category 1 has 2 matches and 0 misses, miou too few common pixels"]
    assert told(1, hota=3) == [], "a crowd is among the labels, of which nobody says how large it is"
    unnamed = told(25, pairs={"1": {"-1": 30}})
    assert unnamed == ["vpq@1 of category 1 has 1 matches and 1 misses, miou too few common pixels"]


def test_tubes_of_a_frame_are_no_more_than_masks_and_match_no_less_than_clear():
    def told(tubes: list[Any], clear: list[Any], masks: tuple[int, int] = (5, 6)) -> list[str]:
        beside = {"hota": {"1": [*masks, [0] * 19, [0.0] * 19]}, "clear": {"1": clear}}
        return problems("vpq", vpq(tubes), **beside)

    clear = [5, 6, 3, 0, 1.0, 0]  # three matches with a sum of IoUs of two
    assert told([2.0, 3, 3, 2], clear) == []
    assert told([2.0, 3, 4, 2], clear) == ["vpq@1 of category 1 has 3, 4, 2 tubes of 5 and 6 masks"]
    assert told([2.0, 3, 3, 3], clear) == ["vpq@1 of category 1 has 3, 3, 3 tubes of 5 and 6 masks"]
    less = ["vpq@1 of category 1 has less in its matches than clear"]
    assert told([1.5, 2, 3, 3], clear) == [], "a match at one half may be lacking"
    assert told([1.49, 2, 3, 3], clear) == less
    assert told([1.9, 3, 3, 2], clear) == less
    assert told([1.9, 3, 3, 1], clear) == [], "with a crowd among the labels"
    assert told([0.5, 1, 3, 4], [5, 6, 2, 0, 0.5, 0]) == less, "one and a half is more than a half and a half"
    assert told([1.0, 1, 3, 4], [5, 6, 2, 0, 0.5, 0]) == []


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ([2.0, 4, 1, 1], None),
        ([4.0, 4, 0, 0], None),
        ([1.99, 4, 1, 1], "a sum of IoUs of 1.99 in 4 matches"),
        ([4.01, 4, 1, 1], "a sum of IoUs of 4.01 in 4 matches"),
        ([2.0, 4.0, 1, 1], "numbers of another kind"),
        ([2.0, 4, 1.0, 1], "numbers of another kind"),
        ([2.0, 4, 1, 1.0], "numbers of another kind"),
        ([0.0, 0, -1, 0], "numbers of another kind"),
    ],
)
def test_vpq_of_whole_videos(row: list[Any], said: str | None):
    assert problems("vpq-video", {"1": row}) == ([f"vpq-video of category 1 has {said}"] if said else [])


@pytest.mark.parametrize("name", ["davis", "davis_semi"])
def test_davis_has_no_more_than_one_of_everything_an_object(name: str):
    width = BY_NAME[name].zero(Rules()).WIDTH
    sound = [2, *[2.0] * (width - 1)]
    assert problems(name, {"1": sound}) == []
    for place in range(1, width):
        (told,) = problems(name, {"1": edited(sound, {place: 2.01})})
        assert "of category 1 has a sum of 2.01 over 2 objects" in told
    assert problems(name, {"1": [2.0, *sound[1:]]})


# object tracks

T = 10  # thresholds of an IoU


def cgf1_row(**edits: Any) -> list[Any]:
    """By both rules one present pair with three labels, four predictions and matches that fall from three to none."""
    row = [1, 0, 0, 0, 3, 4, *falling(3, 0, T)]
    return [*edited(row, {int(k[1:]): v for k, v in edits.items() if k[0] == "a"}),
            *edited(row, {int(k[1:]): v for k, v in edits.items() if k[0] == "b"})]  # fmt: skip


@pytest.mark.parametrize("half", ["a", "b"])
def test_cgf1(half: str):
    def told(**edits: Any) -> list[str]:
        return problems("cgf1", {"1": cgf1_row(**{f"{half}{place[1:]}": value for place, value in edits.items()})})

    assert told() == []
    assert told(_4=4, _5=3) == []
    assert told(_4=2) == ["cgf1 of category 1 has 3 matches of 2 and 4 tracks"]
    assert told(_5=2) == ["cgf1 of category 1 has 3 matches of 3 and 2 tracks"]
    assert told(_7=2) == ["cgf1 of category 1 has 3 matches of 3 and 4 tracks"], "fewer at a lower IoU"
    for place in range(4):
        assert told(**{f"_{place}": 1 + (place == 0)}) == ["cgf1 of category 1 has 2 pairs in one video"]
    assert told(_0=0) == ["cgf1 of category 1 has 0 pairs in one video"]
    assert told(_0=0, _3=1) == []
    for place in range(6 + T):
        assert told(**{f"_{place}": 0.0}) == ["cgf1 of category 1 has numbers of another kind"]
    assert told(_15=-1) == ["cgf1 of category 1 has numbers of another kind"]
    assert set(problems("cgf1", {"1": cgf1_row()[:-1]})) == {"cgf1 of category 1 has numbers of another kind"}


A = 19  # thresholds of HOTA


def tracking_row(within: Edits | None = None, without: Edits | None = None) -> list[Any]:
    """By both rules five labelled masks and four predicted ones, all of which are matched and kept up to 0.45."""
    row = [5, 4, *falling(4, 1, A), *falling(4.0, 1.0, A), 4, 4, 4.0, 4]
    return [*edited(row, within or {}), *edited(row, without or {})]


@pytest.mark.parametrize("side", ["within", "without"])
def test_tracking(side: str):
    def told(edits: Edits) -> list[str]:
        return problems("tracking", {"1": tracking_row(**{side: edits})})

    matches, more = "tracking of category 1 has 4 matches", "tracking of category 1 has more association, switches"
    first, last = 2 + 2 * A, 2 + 2 * A + 3
    assert told({}) == []
    too_many = [f"{matches} of 5 masks"]
    assert told({1: 3}) == (too_many if side == "within" else []), "without classes it may be a track of another one"
    for place in (first, last):
        assert told({place: 5}) == (too_many if side == "within" else [])
        assert told({place: 6}) == too_many
    assert told({3: 3}) == [f"{matches} of 5 masks"], "fewer at a lower IoU"
    assert told({2 + A: 4.001})[0].startswith(more)
    assert told({first + 1: 5})[0].startswith(more)
    assert told({first + 2: 4.001})[0].startswith(more)
    assert told({last: 0}) == []
    for place in range(2 + A):
        assert told({place: 5.0}) == ["tracking of category 1 has numbers of another kind"]
    assert told({last: -1}) == ["tracking of category 1 has numbers of another kind"]


def test_tracking_has_all_its_numbers_and_the_same_labelled_masks_twice():
    row = tracking_row()
    assert problems("tracking", {"1": row[:-1]}) == [
        f"tracking of category 1 has {len(row) - 1} numbers, not {2 * (2 + 2 * A + 4)}"
    ]
    assert problems("tracking", {"1": tracking_row(without={0: 6})}) == [
        "tracking of category 1 has 5 labelled masks with classes and 6 without"
    ]


TETA_A = 20  # 0, 0.05, .. 0.95; names are judged from 0.5 on


def teta_row(edits: Edits | None = None) -> list[Any]:
    """Five labelled masks, of which four are found up to 0.5, then three; all of those keep their track and name."""
    found = [4] * 11 + [3] * 9
    row = [5, *found, *[9] * TETA_A, *map(float, found), *found[10:], *[7] * (TETA_A - 10)]
    return edited(row, edits or {})


def test_teta():
    def told(edits: Edits) -> list[str]:
        return problems("teta", {"1": teta_row(edits)})

    width, named = 1 + 3 * TETA_A + 20, 1 + 3 * TETA_A
    assert len(teta_row()) == width
    assert told({}) == []
    assert told({0: 4}) == []
    assert told({0: 3}) == ["teta of category 1 has 4 matches of 3 masks"]
    assert told({2: 5}) == ["teta of category 1 has 5 matches of 5 masks"], "more at a higher IoU"
    assert told({named: 5}) == ["teta of category 1 has 4 matches of 5 masks"]
    assert told({named + 1: 4}) == ["teta of category 1 has 4 matches of 5 masks"]
    assert told({1 + 2 * TETA_A: 4.001}) == ["teta of category 1 has more association than matches"]
    assert told({width - 1: 0}) == []
    for place in (*range(1 + 2 * TETA_A), *range(named, width)):
        assert told({place: 1.0}) == ["teta of category 1 has numbers of another kind"]
    assert told({named - 1: -1.0}) == ["teta of category 1 has numbers of another kind"]
    assert problems("teta", {"1": teta_row()[1:]}) == [f"teta of category 1 has {width - 1} numbers, not {width}"]


def test_teta_and_tracking_have_the_same_labelled_masks():
    assert problems("teta", {"1": teta_row()}, tracking={"1": tracking_row()}) == []
    other = tracking_row({0: 6}, {0: 6})
    assert problems("teta", {"1": teta_row()}, tracking={"1": other}) == [
        "teta and tracking disagree about the labelled masks"
    ]


def found(labels: tuple[int, ...], matched: list[int], ignored: list[int], crowd: Found | None = None) -> Found:
    scores = np.linspace(1, 0, len(matched))
    return Found(labels, scores, np.array(matched, np.int64), np.array(ignored, np.int64), crowd)


@pytest.mark.parametrize("area", range(4))
@pytest.mark.parametrize("threshold", [0, 4, 9])
def test_of_each_area_and_threshold_no_more_tracks_match_than_there_are_labels(area: int, threshold: int):
    bit = 1 << 10 * area + threshold
    labels = tuple(2 if own in (0, area) else int(area == 0) for own in range(4))
    assert list(found(labels, [bit, bit], [0, 0]).problems()) == []
    assert list(found(labels, [bit] * 3, [0] * 3).problems()) == ["has 3 matches of 2 labels"]
    assert list(found(labels, [bit] * 3, [0] * 3).problems(has_crowds=True)) == []
    both = "has predictions that are matched and ignored, or at thresholds that are none"
    assert list(found(labels, [bit], [bit]).problems()) == [both]
    assert list(found(labels, [bit, 0], [bit << 1 if threshold < 9 else 0, bit]).problems()) == []
    assert found(labels, [0, 0], [0, bit]).ignored_anywhere == (area == 0)


def test_bits_beyond_the_last_threshold_are_none():
    both = "has predictions that are matched and ignored, or at thresholds that are none"
    for matched, ignored, said in (
        (1 << 39, 0, []), (0, 1 << 39, []), (1 << 40, 0, [both]), (0, 1 << 40, [both]), (1 << 40, 1 << 41, [both]),
    ):  # fmt: skip
        assert list(found((2, 1, 0, 1), [matched], [ignored]).problems()) == said


@pytest.mark.parametrize(
    ("labels", "is_sound"),
    [((2, 2, 0, 0), True), ((2, 0, 1, 1), True), ((2, 2, 2, 2), True), ((2, 1, 0, 0), False), ((2, 3, 0, 0), False)],
)
def test_labels_by_size_are_all_labels_and_none_is_larger_than_all(labels: tuple[int, ...], is_sound: bool):
    told = [f"has {labels[0]} labels, which are {list(labels[1:])} by size"]
    assert list(found(labels, [], []).problems()) == ([] if is_sound else told)


def test_a_hundred_tracks_by_falling_score_are_kept():
    assert list(found((1, 1, 0, 0), [0] * 100, [0] * 100).problems()) == []
    assert list(found((1, 1, 0, 0), [0] * 101, [0] * 101).problems())
    equal = found((1, 1, 0, 0), [0, 0], [0, 0])._replace(scores=np.array([0.5, 0.5]))
    assert list(equal.problems()) == []


def test_ap_tells_of_which_category_and_by_which_rule():
    plain = found((2, 2, 0, 0), [0, 0], [0, 0])
    crowd = found((1, 1, 0, 0), [0, 0], [1, 1], plain)

    def told(*videos: Found) -> list[str]:
        return list(ApCounts({4: videos}).problems(SHAPE, {}))

    assert told(crowd) == told(plain) == []
    assert told(plain, plain) == ["ap of category 4 holds 2 videos for one"]
    without = ["ap of category 4 has predictions that are ignored without a crowd that they lie on"]
    assert told(found((1, 1, 0, 0), [0], [1])) == without
    assert told(crowd._replace(labels=(2, 2, 0, 0))) == without
    nothing = ["ap of category 4 has predictions that are ignored where nothing is a crowd"]
    assert told(crowd._replace(without_crowds=found((2, 2, 0, 0), [0, 0], [0, 1]))) == nothing
    fewer = ["ap of category 4 has other predictions by the rule of LV-VIS"]
    assert told(crowd._replace(without_crowds=found((2, 2, 0, 0), [0], [0]))) == fewer
    thrice = [(1 << 9)] * 3
    assert told(found((1, 1, 0, 0), [0] * 3, [1] * 3, found((2, 2, 0, 0), thrice, [0] * 3))) == []


def test_phrase_ap_is_of_one_video():
    row = [[1, 1, 0, 0], [0.5], [1], [0]]
    assert problems("phrase-ap", {"videos": [{"1": row}]}) == []
    assert problems("phrase-ap", {"videos": []}) == ["phrase-ap holds 0 videos for one"]
    (told,) = problems("phrase-ap", {"videos": [{"1": [[1, 0, 0, 0], [0.5], [1], [0]]}]})
    assert told.startswith("phrase-ap of category 1 has 1 labels")


# what labels decide


def labelled(name: str, counts: Any) -> Any:
    read = BY_NAME[name].counts_from_json(counts)
    assert isinstance(read, LabelledCounts)
    return read.labelled()


def test_what_labels_decide_is_read_off_the_right_numbers():
    assert labelled("clear", {"1": CLEAR, "2": [0, 3, 0, 0, 0.0, 0]}) == {"1": 10}
    assert labelled("confusion", PAIRS) == {"1": 39, "3": 2}
    assert labelled("miou", {"videos": [MARGINS]}) == {"1": 39, "3": 2}
    assert labelled(
        "stq", {"classes": {"1": [1, 2, 3, 0.5, 4, 0.5, 5], "2": [0, 9, 0, 0.0, 0, 0.0, 0]}, "unnamed": 0}
    ) == {"1": [3, 4, 5]}
    assert labelled("vpq-video", {"1": [2.0, 3, 9, 2], "2": [0.0, 0, 9, 0], "3": [0.0, 0, 0, 2]}) == {"1": 5, "3": 2}
    assert labelled("vpq", vpq([2.0, 3, 9, 2], [0.0, 0, 9, 0])) == {"1": {"1": 5}, "2": {}, "4": {}, "6": {}, "8": {}}
    assert labelled("vc", {"8": {"1": [0.5, 2, 0.25, 3]}}) == {"8": {"1": [2, 3]}}
    assert labelled("tracking", {"1": tracking_row(), "2": tracking_row({0: 0}, {0: 0})}) == {"1": 5}
    assert labelled("teta", {"1": teta_row(), "2": teta_row({0: 0})}) == {"1": 5}
    assert labelled("cgf1", {"1": cgf1_row()}) == {"1": 3}
    assert labelled(
        "phrase-ap", {"videos": [{"1": [[1, 1, 0, 0], [0.5], [1], [0]], "2": [[0] * 4, [0.5], [0], [0]]}]}
    ) == {"1": [1, 1, 0, 0]}


# classes of which nothing is there


def random_counts(name: str) -> Any:
    """Counts of a random video of frames, or of tracks that may overlap."""
    metric = BY_NAME[name]
    if isinstance(metric, OverlapMetric):
        return metric.count_overlaps(random_case(3).overlaps())
    rng, accumulator = np.random.default_rng(5), metric.start(BOXES, SHAPE.rules)
    for true, predicted in zip(*(random_video(rng, 18, (4, 5), 0.9) for _ in range(2)), strict=True):
        left, right = dense(true), dense(true if rng.random() < 0.5 else predicted)
        accumulator.add(left, right, overlap_dense(left, right))
    return accumulator.counts()


SUMMED = [m.name for m in BY_NAME.values() if m.name != "davis_semi" and isinstance(m.zero(Rules()), SummedCounts)]


@pytest.mark.parametrize("name", SUMMED)
def test_a_class_of_which_nothing_was_counted_changes_no_value(name: str):
    """As when none of its videos is drawn."""
    counts = random_counts(name)
    ids = sorted(counts.classes)
    assert len(ids) > 1
    values, more = (counts.read(counts.row(of)[None], False) for of in (ids, [*ids, 999]))
    names = [value.name for value in BY_NAME[name].values(SHAPE.rules) if value.name in values]
    assert any(np.isfinite(values[value]).all() for value in names)
    for value in names:
        assert more[value] == pytest.approx(values[value], nan_ok=True), value


OF_TRACKS = [metric.name for metric in BY_NAME.values() if isinstance(metric, OverlapMetric)]


@pytest.mark.parametrize("name", OF_TRACKS)
@pytest.mark.parametrize("scope", [Scope(), Scope(asked=(2, 5, 7)), Scope(absent=(9,), not_exhaustive=(5,))])
def test_counts_of_tracks_are_possible(name: str, scope: Scope):
    shape = VideoShape(9, 9 * 12 * 16, CLASSES.ids, Rules(task="instance"), CLASSES.ids)
    for seed in range(12):
        counts = BY_NAME[name].count_overlaps(random_case(seed).overlaps(scope))  # type: ignore[attr-defined]
        assert list(counts.problems(shape, {})) == []


def test_a_class_without_a_match_counts_as_zero_in_every_quality():
    """Two matches of 0.9 and 0.7; a false alarm and a miss of another class; nothing of a third."""
    frames = {"1": {"1": [1.6, 2, 0, 0], "2": [0.0, 0, 1, 1]}, "2": {}, "4": {}, "6": {}, "8": {}}
    counts = BY_NAME["vpq"].counts_from_json({"headline": [1], "windows": frames})
    scores = counts.scores(frozenset({1, 2, 3}))
    assert [scores[name] for name in ("VPQ@1", "SQ@1", "RQ@1", "PQ")] == pytest.approx([0.4, 0.4, 0.5, 0.4])
    assert scores["object_IoU"] == pytest.approx(1.6 / 3)
    assert scores["VPQ@2"] is None
    whole = BY_NAME["vpq-video"].counts_from_json(frames["1"]).scores(frozenset({1, 2, 3}))
    assert [whole[name] for name in ("VPQ_video", "SQ_video", "RQ_video")] == pytest.approx([0.4, 0.4, 0.5])


def of_tracks(name: str, labels: int, predictions: int, found: int) -> list[Any]:
    """A class with so many labelled, predicted and found masks; what is found keeps its track and name."""
    matches, sums = [found] * 19, [float(found)] * 19
    if name == "tracking":
        return [labels, predictions, *matches, *sums, found, 0, float(found), found] * 2
    if name == "teta":
        wrong = [predictions - found] * 20
        return [labels, *[found] * 20, *wrong, *[float(found)] * 20, *[found] * 10, *[0] * 10]
    return [labels, predictions, matches, sums]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("tracking", ["HOTA_class_mean", "DetA_class_mean", "AssA_class_mean", "IDF1_class_mean", "MOTA_class_mean"]),
        ("teta", ["TETA", "LocA", "AssocA", "ClsA"]),
        ("burst-hota", ["HOTA_burst", "DetA_burst", "AssA_burst"]),
    ],
)
def test_a_mean_over_classes_is_over_those_that_have_a_label_if_only_one(name: str, values: list[str]):
    """One class with a single label that is missed, one that is found, and one that is predicted alone."""
    rows = {"1": of_tracks(name, 1, 0, 0), "2": of_tracks(name, 5, 5, 5), "3": of_tracks(name, 0, 4, 0)}
    scores = BY_NAME[name].counts_from_json(rows).scores(None)
    assert [scores[value] for value in values] == pytest.approx([0.5] * len(values))


def test_of_a_category_that_is_not_labelled_throughout_what_is_not_right_is_ignored_at_every_threshold_and_size():
    seen = 0
    for seed in range(12):
        video = random_case(seed).overlaps(Scope(absent=(9,), not_exhaustive=(5,)))
        for (one,) in [BurstAp().count_overlaps(video).by_class.get(5, (found((0,) * 4, [], []),))]:
            assert (one.matched ^ one.ignored).tolist() == [2**40 - 1] * len(one.scores)
            assert not (one.matched & one.ignored).any()
            seen += len(one.scores)
    assert seen > 5
