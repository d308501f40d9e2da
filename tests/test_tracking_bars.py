"""How well identities last: on simulated motion with known identities, and on SA-V tracks where they are at hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from simulated_motion import HEIGHT, WIDTH, bouncing, came_back, disc, hidden, kept, linked, noisy, unit

from ovsbench.benchmark.storage import rle
from ovsbench.gkc_video.tracking.tracker import ASSOCIATIONS, DEFAULT

SETTINGS = ASSOCIATIONS[DEFAULT]


@pytest.fixture(scope="module")
def sav(request: pytest.FixtureRequest) -> npt.NDArray[np.bool_]:
    """The 14 tracks of a SA-V video at 6 frames a second, a quarter of their size: (121, 14, 212, 120)."""
    folder: Path = request.getfixturevalue("shared") / "data" / "sav"
    if not folder.is_dir():
        pytest.skip(f"no SA-V tracks at {folder}")
    parts = []
    for name in ("manual", "auto"):
        frames = json.loads((folder / f"sav_000001_{name}.json").read_text())["masklet"]
        size = tuple(frames[0][0]["size"])
        parts.append([[rle.decode(mask["counts"], size)[2::4, 2::4] for mask in frame] for frame in frames])
    return np.concatenate([np.array(part) for part in parts], axis=1)


@pytest.mark.parametrize(("cosine", "least"), [(1.0, 0.99), (0.707, 0.95), (0.5, 0.93)])
def test_real_tracks_keep_their_identity(sav: npt.NDArray[np.bool_], cosine: float, least: float):
    """With vectors of cosine .707 to their object, two detections of one object have .5 with each other."""
    shares = [kept(linked(sav, SETTINGS, np.random.default_rng(seed), cosine=cosine, fps=6)) for seed in range(2)]
    assert np.mean(shares) >= least


def test_real_objects_come_back_after_ten_seconds(sav: npt.NDArray[np.bool_]):
    assert came_back(sav, SETTINGS, 60, fps=6, seeds=2) >= 0.95
    assert came_back(sav, SETTINGS, 12, cosine=0.707, fps=6, seeds=2) >= 0.95


@pytest.mark.parametrize("speed", [2, 8, 16])
def test_fast_objects_keep_their_identity_in_spite_of_noise(speed: int):
    """At 16 cells a frame and radii up to 5 no mask overlaps its last one."""
    masks = bouncing(np.random.default_rng(1), 80, speed=speed, radius=(2, 5))
    assert kept(linked(masks, SETTINGS, np.random.default_rng(0), cosine=0.707)) >= 0.95
    steady = kept(linked(masks, ASSOCIATIONS["steady"], np.random.default_rng(0), cosine=0.707))
    assert speed < 16 or steady < 0.6, "judged by the mean of cosine and overlap they get new identities"


def test_a_static_object_comes_back_after_a_minute_of_frames_and_not_when_its_age_is_over():
    still = np.array([[disc((20, 20), 6), disc((40, 80), 6)]] * 100)
    shown = np.ones((100, 2), bool)
    shown[20:80, 1] = False
    ids = linked(still, SETTINGS, np.random.default_rng(0), visible=shown)
    assert ids[80, 1] == ids[19, 1]
    short = replace(SETTINGS, max_age_seconds=5.9, min_age_frames=0)
    assert linked(still, short, np.random.default_rng(0), visible=shown)[80, 1] > 2
    assert linked(still, replace(short, min_age_frames=60), np.random.default_rng(0), visible=shown)[80, 1] == 2


@pytest.mark.parametrize("speed", [1, 4])
def test_moving_objects_come_back(speed: int):
    """One that has turned at a border meanwhile may be outside its gate."""
    masks = bouncing(np.random.default_rng(5), speed=speed)
    assert came_back(masks, SETTINGS, 12) >= 0.95
    assert came_back(masks, SETTINGS, 60) >= 0.85


@pytest.mark.parametrize("alike", [0.9, 1.0])
def test_a_look_alike_of_a_real_object_that_enters_elsewhere_does_not_take_its_identity(
    sav: npt.NDArray[np.bool_], alike: float
):
    """A track ends at a random moment; 1 to 60 frames later a disc appears at least .35 diagonals away, and stays."""
    reused, sav = [], sav[..., ::2, ::2]
    for seed in range(6):
        rng = np.random.default_rng(seed)
        for gap in (1, 12, 30, 60):
            place, left = np.full(2, np.nan), 0
            while not 8 <= left < len(sav) - gap - 5:
                object_, left = int(rng.integers(sav.shape[1])), int(rng.integers(9, len(sav)))
                left = left if sav[left - 8 : left, object_].any((1, 2)).all() else 0
            rows, columns = np.nonzero(sav[left - 1, object_])
            size = np.array(sav.shape[2:])
            while not np.hypot(place[0] - rows.mean(), place[1] - columns.mean()) >= 0.35 * np.hypot(*size):
                place = rng.random(2) * size
            masks = np.concatenate([sav, np.zeros_like(sav[:, :1])], 1)
            masks[left:, object_] = False
            masks[left + gap :, -1] = disc(tuple(place), max(2, np.sqrt(len(rows) / np.pi)), sav.shape[2:])
            vectors = unit(rng.standard_normal((sav.shape[1], 64)))
            vectors = np.concatenate([vectors, noisy(rng, vectors[object_ : object_ + 1], alike)])
            ids = linked(masks, SETTINGS, rng, vectors=vectors, fps=6)
            reused.append(ids[left - 1, object_] == ids[left + gap, -1])
    assert np.mean(reused) <= 0.1


@pytest.mark.parametrize(("alike", "gaps"), [(0.9, (1, 6, 12, 60)), (1.0, (1, 6, 12))])
def test_a_look_alike_that_enters_elsewhere_does_not_take_the_identity(alike: float, gaps: tuple[int, ...]):
    """An object leaves for good; another one of cosine `alike` enters at least .35 diagonals from where it went."""
    reused = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        base = bouncing(rng, 100, 6, speed=1)
        for gap in gaps:
            masks, leaves = np.concatenate([base, np.zeros_like(base[:, :1])], 1), 20
            rows, columns = np.nonzero(base[leaves - 1, 0])
            where = np.array([rows.mean(), columns.mean()])
            corners = np.array([[8, 8], [8, WIDTH - 8], [HEIGHT - 8, 8], [HEIGHT - 8, WIDTH - 8]])
            far = corners[np.linalg.norm(corners - where, axis=1) > 0.35 * np.hypot(HEIGHT, WIDTH)]
            masks[leaves:, 0] = False
            masks[leaves + gap :, 6] = disc(tuple(rng.choice(far)), np.sqrt(len(rows) / np.pi))
            vectors = unit(rng.standard_normal((6, 64)))
            vectors = np.concatenate([vectors, noisy(rng, vectors[:1], alike)])
            ids = linked(masks, SETTINGS, rng, vectors=vectors)
            reused.append(ids[leaves - 1, 0] == ids[leaves + gap, 6])
    assert np.mean(reused) <= 0.1


@pytest.mark.parametrize("speed", [1, 2, 4, 8])
@pytest.mark.parametrize("offset", [0, 7, 18])
def test_twins_that_cross_keep_their_identities(speed: int, offset: int):
    """Two discs of radius 7 with one vector meet; with an offset of 0 one of them is hidden by the other."""
    count = (WIDTH - 14) // speed
    masks = np.zeros((count, 3, HEIGHT, WIDTH), bool)
    for t, frame in enumerate(masks):
        frame[0] = disc((30 - offset / 2, 7 + speed * t), 7)
        frame[1] = disc((30 + offset / 2, WIDTH - 7 - speed * t), 7) & ~frame[0]
        frame[2] = disc((52, 53), 5) & ~frame[:2].any(0)
    vectors = unit(np.random.default_rng(1).standard_normal((3, 64)))
    vectors[1] = vectors[0]
    for cosine in (1.0, 0.9, 0.707):
        ids = linked(masks, SETTINGS, np.random.default_rng(2), vectors=vectors, cosine=cosine)
        assert ids[0].tolist() == ids[-1].tolist()


def test_one_track_never_goes_to_two_regions_of_a_frame():
    masks = bouncing(np.random.default_rng(3), 60, speed=4)
    shown, _ = hidden(masks.any((2, 3)), np.random.default_rng(4), 20)
    for row in linked(masks, SETTINGS, np.random.default_rng(5), cosine=0.5, visible=shown):
        seen = row[row > 0]
        assert len(set(seen.tolist())) == len(seen)
