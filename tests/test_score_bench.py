from __future__ import annotations

import numpy as np

from benchmark.score_bench import measure, scene


def test_the_made_up_video_is_the_same_every_time():
    first, again = (list(scene(2, (48, 64))) for _ in range(2))
    for (true, guess), (true_again, guess_again) in zip(first, again, strict=True):
        assert np.array_equal(true.ids, true_again.ids)
        assert np.array_equal(guess.ids, guess_again.ids)
        assert guess.segments == guess_again.segments
    assert not np.array_equal(first[0][0].ids, first[1][0].ids)


def test_every_stage_of_the_scorer_is_measured(tmp_path):
    report = measure(tmp_path, frames=3, size=(48, 64), repeats=1)
    assert {"decode", "numbering", "joint histogram", "vpq", "stq", "miou", "vc"} <= report.from_png.keys()
    assert report.from_store.keys() == report.from_png.keys() - {"decode", "numbering"} | {"read"}
    assert report.png_ratio > 0
    assert report.store_ratio > 0
    assert report.store_bytes < report.png_bytes
