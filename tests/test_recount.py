"""Which names and sizes predictions of a bundle may have, before one of them is read."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from ovsbench.benchmark.errors import DataError
from ovsbench.leaderboard.bundle.recount import MOST_HEAD, check_complete

FRAMES, PIXELS = 3, 12
BENCHMARK = SimpleNamespace(by_id={v: SimpleNamespace(size=(3, 4), frames=("a",) * FRAMES) for v in ("one", "two")})
WHOLE = {f"predictions/{video}/{index:05d}.png": 9 for video in ("one", "two") for index in range(FRAMES)}


def looked_at(changes: dict[str, int]) -> None:
    members = WHOLE | changes
    check_complete(SimpleNamespace(path=Path("b.zip"), members=members), list(members), BENCHMARK)


@pytest.mark.parametrize(
    "changes", [{}, {"predictions/one/00000.png": 8 * PIXELS + 65_536, "predictions/one/video.json": 10**9}]
)
def test_masks_of_every_frame_with_long_heads_may_be_there(changes):
    assert MOST_HEAD == 65_536
    looked_at(changes)


@pytest.mark.parametrize(
    "changes", [{"predictions/one/00000.png": 8 * PIXELS + 65_537}, {f"predictions/two/{FRAMES:05d}.png": 9}]
)
def test_a_mask_that_is_larger_than_its_frame_or_of_no_frame_is_refused(changes):
    with pytest.raises(DataError, match="has 3 frames of 12 pixels, so this is no mask of it"):
        looked_at(changes)


def test_predictions_of_another_video_or_of_some_videos_only_are_refused():
    with pytest.raises(DataError, match="in one only: 'three'"):
        looked_at({"predictions/three/00000.png": 9})
    with pytest.raises(DataError, match="all 2 videos or of none; in one only: 'two'"):
        some = [name for name in WHOLE if "/one/" in name]
        check_complete(SimpleNamespace(path=Path("b.zip"), members=WHOLE), some, BENCHMARK)
    check_complete(SimpleNamespace(path=Path("b.zip"), members=WHOLE), [], BENCHMARK)
