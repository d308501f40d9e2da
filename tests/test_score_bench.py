from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest

from ovsbench.bench import ap_bench, compare_bench, score_peer
from ovsbench.bench.jobs_bench import measure_jobs
from ovsbench.bench.score_bench import measure, scene
from ovsbench.benchmark.panoptic import ids_to_rgb
from ovsbench.benchmark.storage import label_png


def test_the_made_up_video_is_the_same_every_time():
    first, again = (list(scene(2, (48, 64))) for _ in range(2))
    for (true, guess), (true_again, guess_again) in zip(first, again, strict=True):
        assert np.array_equal(true.ids, true_again.ids)
        assert np.array_equal(guess.ids, guess_again.ids)
        assert guess.segments == guess_again.segments
    assert not np.array_equal(first[0][0].ids, first[1][0].ids)


def test_every_stage_of_the_scorer_is_measured(tmp_path):
    report = measure(tmp_path, frames=3, size=(48, 64), repeats=1)
    assert {"decode, number", "joint histogram", "vpq", "stq", "miou", "vc"} <= report.from_png.keys()
    assert report.from_store.keys() == report.from_png.keys() - {"decode, number"} | {"read"}
    assert 0 < report.from_png_named < report.from_png_total
    assert 0 < report.ratios["store_named"] < report.ratios["store"]
    assert report.store_bytes < report.png_bytes
    assert report.peers[score_peer.OFFICIAL_WAY] > 0


def test_processes_are_timed_against_one(tmp_path):
    report = measure_jobs(tmp_path, 2, frames=1, size=(24, 32))
    assert (report.videos, report.frames) == (8, 16)
    assert min(report.alone, report.together, report.speedup) > 0


def test_a_comparison_is_timed_from_stored_counts(tmp_path):
    report = compare_bench.measure_compare(tmp_path, videos=12, swaps=50, repeats=1)
    assert (report.videos, report.classes, report.swaps) == (12, 124, 50)
    assert report.total == report.reading + report.comparing > 0


def test_every_stage_of_ap_is_measured(tmp_path):
    report = ap_bench.measure(tmp_path, videos=2, repeats=1)
    assert {"json", "rle", "overlaps", "match", "scores"} <= report.stages.keys()
    assert min(report.importing, report.scoring, report.at_once) > 0
    assert report.all_metrics > 0
    assert 0 < report.ap < 1
    if report.peer is not None:
        assert report.speedup == report.peer / report.at_once
        assert report.peer_ap == pytest.approx(report.ap, abs=1e-12)


def test_both_decoders_of_rgb_masks_give_the_same_pixels(monkeypatch):
    pytest.importorskip("imagecodecs")
    true, _ = next(iter(scene(1, (48, 64))))
    file = io.BytesIO()
    PIL.Image.fromarray(ids_to_rgb(true.ids)).save(file, "PNG")
    fast = label_png.decode_rgb(file.getvalue())
    broken = file.getvalue()[:-40]
    with pytest.raises((OSError, SyntaxError)):
        label_png.decode_rgb(broken)
    monkeypatch.setattr(label_png, "_fast_decoder", lambda: None)
    assert np.array_equal(label_png.decode_rgb(file.getvalue()), fast)
    with pytest.raises((OSError, SyntaxError)):
        label_png.decode_rgb(broken)
