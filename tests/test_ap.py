from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Sequence

import numpy as np
import pytest

from ovsbench.bench.ap_peer import average_precisions
from ovsbench.benchmark.metrics.ap import Ap, ApCounts, value_names
from ovsbench.benchmark.metrics.ap_matching import AREAS, KEPT, THRESHOLDS
from ovsbench.benchmark.metrics.phrase_ap import PhraseApCounts
from ovsbench.benchmark.metrics.plausible import VideoShape
from ovsbench.benchmark.storage import rle
from ovsbench.benchmark.storage.rle import DecodedTracks
from ovsbench.benchmark.types import InstanceTrack, Rules

SIZE = (1, 12)


def row(text: str) -> str:
    """A mask of one line: "..##" has its last two pixels."""
    return rle.encode(np.array([[letter == "#" for letter in text]]))


def track(text: str, score: float = 1.0, category: int = 1, **more) -> InstanceTrack:
    return InstanceTrack(1, category, (row(text.ljust(SIZE[1], ".")),), score, **more)


def video(*tracks: InstanceTrack, size: tuple[int, int] = SIZE) -> DecodedTracks:
    frames = max((len(one.masks) for one in tracks), default=1)
    masks = rle.read_tracks([track.masks for track in tracks], size, frames)
    return DecodedTracks(tracks, masks, rle.mean_areas(masks.areas))


def count(truth: Sequence[InstanceTrack], found: Sequence[InstanceTrack]) -> ApCounts:
    return Ap().count(video(*truth), video(*found))


def test_a_perfect_prediction_scores_one():
    counts = count([track("##"), track("...##", category=2)], [track("##"), track("...##", category=2)])
    scores = counts.scores(None)
    assert {scores[name] for name in ("AP", "AP50", "AP75", "APs", "AR1", "AR100", "AP_lvvis")} == {1.0}
    assert scores["APl"] is None


def test_of_two_labels_one_found_first_is_half_of_the_recalls():
    # recall 0.5 at precision 1 covers 51 of the 101 recalls, the false alarm after it changes nothing
    counts = count([track("##"), track("....##")], [track("##", 0.9), track("........##", 0.8)])
    assert counts.scores(None)["AP"] == pytest.approx(51 / 101)
    assert counts.scores(None)["AR1"] == 0.5


def test_a_false_alarm_before_the_right_one_halves_precision():
    counts = count([track("##")], [track("......##", 0.9), track("##", 0.8)])
    assert counts.scores(None)["AP50"] == pytest.approx(0.5)
    assert (counts.scores(None)["AR1"], counts.scores(None)["AR10"]) == (0.0, 1.0)


def test_an_overlap_counts_up_to_its_threshold_and_at_it():
    counts = count([track("####")], [track("###")])  # IoU 0.75: right at 0.50, 0.55, ... 0.75
    assert counts.scores(None)["AP"] == pytest.approx(0.6)
    assert counts.scores(None)["AP75"] == 1.0


def test_the_iou_is_of_whole_videos():
    truth = InstanceTrack(1, 1, (row("##".ljust(12, ".")), None))
    found = InstanceTrack(1, 1, (row("##".ljust(12, ".")), row("##".ljust(12, "."))))
    scores = count([truth], [found]).scores(None)  # 2 of 4 pixels
    assert (scores["AP50"], scores["AP75"]) == (1.0, 0.0)


def test_a_second_track_on_the_same_label_is_a_false_alarm():
    counts = count([track("##")], [track("##", 0.9), track("##", 0.8)])
    assert counts.scores(None)["AP"] == 1.0
    (found,) = counts.by_class[1]
    assert found.matched[0] > 0
    assert found.matched[1] == 0


def test_only_predictions_of_the_same_class_match():
    scores = count([track("##", category=1)], [track("##", category=2)])
    assert scores.scores(None)["AP"] == 0.0
    assert scores.scores(frozenset({2}))["AP"] is None


def test_a_crowd_is_ignored_but_not_by_the_rule_of_lvvis():
    truth = [track("##"), track("....##", is_crowd=True)]
    scores = count(truth, [track("....##", 0.9), track("##", 0.8)]).scores(None)
    assert (scores["AP"], scores["AP_lvvis"]) == (1.0, 1.0)
    scores = count(truth, [track("##", 0.8)]).scores(None)
    assert (scores["AP"], scores["AP_lvvis"]) == (1.0, pytest.approx(51 / 101))
    assert count(truth[1:], []).scores(None)["AP"] is None


def test_by_the_rule_of_lvvis_each_match_of_a_crowd_is_a_success():
    scores = count([track("##", is_crowd=True)], [track("##", 0.9), track("##", 0.8), track("....##", 0.7)])
    assert scores.scores(None)["AP"] is None
    assert (scores.scores(None)["AP_lvvis"], scores.scores(None)["AR100_lvvis"]) == (1.0, 2.0)
    both = [track("##", is_crowd=True), track("....##")]
    scores = count(both, [track("##", 0.9), track("........##", 0.8), track("##", 0.7)]).scores(None)
    assert scores["AP50_lvvis"] == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)


def test_an_entry_may_hold_a_crowd_that_is_matched_twice_but_no_other_label():
    shape = VideoShape(1, SIZE[1], frozenset({1}), Rules(task="instance"))
    twice = [track("##", 0.9), track("##", 0.8)]
    crowd = count([track("##", is_crowd=True)], twice)
    assert list(crowd.problems(shape, {})) == []
    (plain,) = count([track("##")], twice).by_class[1]
    forged = ApCounts({1: (plain._replace(matched=plain.matched[[0, 0]]),)})
    assert list(forged.problems(shape, {})) == ["ap of category 1 has 2 matches of 1 labels"]


def test_a_label_counts_where_its_stated_area_says():
    scores = count([track("##", area=200.0**2)], [track("##")]).scores(None)
    assert (scores["APs"], scores["APm"], scores["APl"]) == (None, 1.0, None)


def test_a_hundred_tracks_of_a_class_are_looked_at():
    wrong = [track("......##", 1 - number / 1000) for number in range(100)]
    assert count([track("##")], [*wrong, track("##", 0.1)]).scores(None)["AR100"] == 0.0
    assert count([track("##")], [*wrong[1:], track("##", 0.1)]).scores(None)["AR100"] == 1.0


def random_tracks(rng: np.random.Generator, number: int, frames: int, is_label: bool) -> list[InstanceTrack]:
    tracks = []
    for key in range(number):
        place, length = int(rng.integers(0, 6)), int(rng.integers(1, 7))
        masks = []
        for _ in range(frames):
            inside = np.zeros((8, 8), dtype=bool)
            inside[max(0, place + int(rng.integers(-1, 2))) : place + length, place : place + length] = True
            masks.append(rle.encode(inside) if rng.random() < 0.8 else None)
        score = 1.0 if is_label else float(rng.choice([0.2, 0.4, rng.random()]))
        area = float(rng.choice([20.0, 129.0**2, 300.0**2])) if is_label and any(masks) else None
        crowd = bool(is_label and rng.random() < 0.2)
        tracks.append(InstanceTrack(key + 1, int(rng.integers(1, 4)), tuple(masks), score, crowd, area))
    return tracks


def near(rng: np.random.Generator, label: InstanceTrack, key: int) -> InstanceTrack:
    """A prediction of a label: cut off in some frames, pushed aside in others, at times under another name."""
    masks = []
    for text in label.masks:
        pixels = np.zeros((8, 8), dtype=bool) if text is None else rle.decode(text, (8, 8)).copy()
        if rng.random() < 0.3:
            pixels[int(rng.integers(0, 8))] = False
        if rng.random() < 0.2:
            pixels = np.roll(pixels, 1, axis=1)
        masks.append(rle.encode(pixels) if pixels.any() and rng.random() < 0.95 else None)
    category = label.category if rng.random() < 0.85 else int(rng.integers(1, 4))
    return InstanceTrack(key, category, tuple(masks), float(rng.choice([0.2, 0.4, rng.random()])))


def random_videos(seed: int, count: int = 3, guesses: int = 8) -> list[tuple[DecodedTracks, DecodedTracks]]:
    """Labels, and predictions of which most are near one of them; some labels are predicted several times."""
    rng = np.random.default_rng(seed)
    videos = []
    for _ in range(count):
        labels = random_tracks(rng, 6, 3, is_label=True)
        tracks = random_tracks(rng, guesses // 4, 3, is_label=False)
        tracks += [near(rng, labels[int(rng.integers(6))], key) for key in range(len(tracks) + 1, guesses + 1)]
        videos.append((video(*labels, size=(8, 8)), video(*tracks, size=(8, 8))))
    return videos


def summed(videos: Sequence[tuple[DecodedTracks, DecodedTracks]]) -> ApCounts:
    total = ApCounts()
    for truth, found in videos:
        total = total + Ap().count(truth, found)
    return total


@functools.cache
def pixels(masks: tuple[str | None, ...]) -> np.ndarray:
    return np.stack([np.zeros((8, 8), bool) if text is None else rle.decode(text, (8, 8)) for text in masks])


def slow(videos: Sequence[tuple[DecodedTracks, DecodedTracks]], crowds: bool, kept: int, area: str) -> dict:
    """Precision at 101 recalls and recall by class and threshold, as the definition says it, with pixels."""

    def mean_area(one: InstanceTrack) -> float:
        own = [mask.sum() for mask in pixels(one.masks) if mask.any()]
        return one.area if one.area is not None else float(np.mean(own)) if own else 0.0

    low, high = AREAS[area]
    found: dict = {}
    for category, threshold in itertools.product((1, 2, 3), THRESHOLDS):
        events, labels = [], 0
        for truth, prediction in videos:
            mine = [one for one in truth.tracks if one.category == category]
            skipped = [(crowds and one.is_crowd) or not low <= mean_area(one) <= high for one in mine]
            labels += len(mine) - sum(skipped)
            free = set(range(len(mine)))
            guesses = sorted((one for one in prediction.tracks if one.category == category), key=lambda one: -one.score)
            for guess in guesses[:kept]:
                overlaps = {}
                for place in free:
                    both, either = (
                        f(pixels(guess.masks), pixels(mine[place].masks)).sum() for f in (np.logical_and, np.logical_or)
                    )
                    if either and both / either >= threshold:
                        overlaps[place] = both / either
                counting = [place for place in overlaps if not skipped[place]] or list(overlaps)
                best = max(counting, key=lambda place: (overlaps[place], place), default=None)
                if best is None:
                    events.append((guess.score, None if not low <= mean_area(guess) <= high else False))
                else:
                    if not mine[best].is_crowd:
                        free.discard(best)
                    events.append((guess.score, None if skipped[best] else True))
        if not labels:
            continue
        events = [event for event in sorted(events, key=lambda event: -event[0]) if event[1] is not None]
        right = np.cumsum([event[1] for event in events] or [0])
        precision = right / np.arange(1, len(right) + 1)
        curve = [max(precision[right / labels >= recall], default=0.0) for recall in np.linspace(0, 1, 101)]
        found.setdefault(category, []).append((float(np.mean(curve)), right[-1] / labels))
    return found


def test_sizes_and_thresholds_are_those_of_youtube_vis():
    assert AREAS == {"": (0, 1e10), "s": (0, 16_384), "m": (16_384, 65_536), "l": (65_536, 1e10)}
    assert pytest.approx([0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]) == list(THRESHOLDS)
    assert KEPT == (1, 10, 100)


@pytest.mark.parametrize("seed", range(2))
def test_random_videos_score_what_a_slow_count_of_pixels_scores(seed):
    videos = random_videos(seed)
    scores = summed(videos).scores(None)
    for crowds, suffix in ((True, ""), (False, "_lvvis")):
        for area in AREAS:
            classes = slow(videos, crowds, 100, area)
            values = [np.mean([precision for precision, _ in rows]) for rows in classes.values()]
            assert scores[f"AP{area}{suffix}"] == (pytest.approx(np.mean(values)) if values else None)
        classes = slow(videos, crowds, 100, "")
        assert scores[f"AP75{suffix}"] == pytest.approx(np.mean([rows[5][0] for rows in classes.values()]))
        for kept in KEPT:
            recalls = [np.mean([r for _, r in rows]) for rows in slow(videos, crowds, kept, "").values()]
            assert scores[f"AR{kept}{suffix}"] == pytest.approx(np.mean(recalls))


@pytest.mark.parametrize("seed", range(4))
def test_results_in_files_score_what_the_official_steps_score(tmp_path, seed):
    """Crowds included, of which one may be matched more than once."""
    pytest.importorskip("pycocotools")
    videos = random_videos(seed, count=6)

    def rows(side: int) -> list[dict]:
        return [
            {
                "video_id": number,
                "category_id": one.category,
                "score": one.score,
                "iscrowd": int(one.is_crowd),
                "segmentations": [text and {"size": [8, 8], "counts": text} for text in one.masks],
            }
            | ({"areas": [one.area if text else None for text in one.masks]} if side == 0 else {})
            for number, pair in enumerate(videos, 1)
            for one in pair[side].tracks
        ]

    truth = {"videos": [{"id": n} for n in range(1, 7)], "categories": [{"id": n} for n in (1, 2, 3)]}
    (tmp_path / "labels.json").write_text(json.dumps({**truth, "annotations": rows(0)}))
    (tmp_path / "results.json").write_text(json.dumps(rows(1)))
    expected = average_precisions(tmp_path / "labels.json", tmp_path / "results.json")
    scores = summed(videos).scores(None)
    measured = {name: -1 if scores[f"{name}_lvvis"] is None else scores[f"{name}_lvvis"] for name in expected}
    assert measured == pytest.approx(expected, abs=1e-12)


def test_counts_survive_their_json_and_are_put_behind_one_another():
    videos = random_videos(7)
    rows = [Ap().count(*one) for one in videos]
    again = [Ap().counts_from_json(json.loads(json.dumps(one.to_json()))) for one in rows]
    whole = Ap().counts_from_json(json.loads(json.dumps(summed(videos).to_json())))
    assert sum(again, Ap().zero(Rules())).scores(None) == summed(videos).scores(None) == whole.scores(None)
    with pytest.raises(ValueError, match="differ in length"):
        Ap().counts_from_json({"1": [[[1, 0, 0, 0], [0.5], [], []]]})


def scored_anew(videos: Sequence[tuple[DecodedTracks, DecodedTracks]]) -> list[tuple[DecodedTracks, DecodedTracks]]:
    """The videos with predictions of which no two have the same score."""
    rng = np.random.default_rng(3)
    return [
        (
            truth,
            video(*(InstanceTrack(t.id, t.category, t.masks, float(rng.random())) for t in found.tracks), size=(8, 8)),
        )
        for truth, found in videos
    ]


def test_the_order_of_videos_and_of_predictions_does_not_matter_when_scores_differ():
    videos = scored_anew(random_videos(5))
    expected = summed(videos).scores(None)
    turned = [(truth, video(*reversed(found.tracks), size=(8, 8))) for truth, found in reversed(videos)]
    assert summed(turned).scores(None) == pytest.approx(expected, nan_ok=True)


def test_names_of_tracks_do_not_matter():
    videos = random_videos(2)
    renamed = [
        tuple(
            video(
                *(InstanceTrack(t.id + 70, t.category, t.masks, t.score, t.is_crowd, t.area) for t in v.tracks),
                size=(8, 8),
            )
            for v in pair
        )
        for pair in videos
    ]
    assert summed(renamed).scores(None) == summed(videos).scores(None)


def test_a_choice_of_videos_scores_what_its_videos_score():
    videos = scored_anew(random_videos(11, count=4, guesses=60))
    rows = [Ap().count(*one) for one in videos]
    whole = summed(videos).scores(None)
    assert whole["AR1"] < whole["AR10"] < whole["AR100"], "more than ten tracks of a class and video"
    times = np.random.default_rng(2).multinomial(4, [0.25] * 4, 4)
    for part in (None, frozenset({1, 3})):
        drawn = {name: rows[0].drawn(rows, part, times, name) for name in value_names()}
        for number, row_of in enumerate(times.tolist()):
            total = ApCounts()
            for one, repeats in zip(rows, row_of, strict=True):
                for _ in range(repeats):
                    total = total + one
            for name, value in total.scores(part).items():
                assert drawn[name][number] == pytest.approx(np.nan if value is None else value, nan_ok=True), name


def test_a_choice_of_videos_scores_what_its_phrases_score():
    """AP of phrases: all pairs of a video and a phrase together; of a part without a label it is undefined."""
    videos = [Ap().count(*one) for one in scored_anew(random_videos(11, count=4, guesses=60))]
    rows = [PhraseApCounts(({c: one for c, (one,) in video.by_class.items()},)) for video in videos]
    times = np.random.default_rng(2).multinomial(4, [0.25] * 4, 4)
    for part in (None, frozenset({1, 3}), frozenset({99})):
        for name in ("phrase_AP", "phrase_AP50", "phrase_AP75"):
            drawn = rows[0].drawn(rows, part, times, name)
            for number, row_of in enumerate(times.tolist()):
                chosen = sum((row for row, n in zip(rows, row_of, strict=True) for _ in range(n)), PhraseApCounts())
                value = chosen.scores(part)[name]
                assert (value is None) == (part == {99})
                assert drawn[number] == pytest.approx(np.nan if value is None else value, nan_ok=True)
