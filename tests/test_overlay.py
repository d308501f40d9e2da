from itertools import pairwise

import numpy as np
import pytest

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.pictures.contact_sheet import contact_sheet
from ovsbench.benchmark.pictures.overlay import TAG, OverlayPainter, _place_tags, overlay, track_colour
from ovsbench.benchmark.types import Category, PanopticFrame, Segment, Vocabulary

VOCABULARY = Vocabulary((Category(0, "sky", False), Category(7, "fire hydrant", True)))
SIZES = [(96, 160), (360, 640), (1080, 1920)]


def halves(height: int, width: int, *, ids=(3, 9)) -> PanopticFrame:
    """Left half one segment, right half another, the lowest tenth void."""
    array = np.full((height, width), ids[0], np.uint32)
    array[:, width // 2 :] = ids[1]
    array[height * 9 // 10 :] = 0
    return PanopticFrame(array, {ids[0]: Segment(ids[0], 0), ids[1]: Segment(ids[1], 7, 0.5)})


def tag_pixels(painted: np.ndarray, track: int) -> np.ndarray:
    """Pixels in the plain colour of a track: its outline and its name tag."""
    return (painted == track_colour(track)).all(-1)


@pytest.mark.parametrize("size", SIZES)
def test_segments_are_coloured_and_named_and_void_stays_as_it_is(size):
    height, width = size
    grey = np.full((*size, 3), 100, np.uint8)
    painted = overlay(grey, halves(*size), VOCABULARY)
    assert painted.shape == grey.shape
    assert painted.dtype == np.uint8
    assert (painted[height * 9 // 10 :] == 100).all()
    assert (painted[: height // 8, : width // 8] != 100).any(-1).all()
    for track, side in ((3, np.s_[:, : width // 2]), (9, np.s_[:, width // 2 :])):
        inner = tag_pixels(painted, track)[side][height // 8 : height * 3 // 4, width // 16 : -width // 16]
        assert inner.sum() > 100, "the name tag is missing"


def test_a_track_keeps_its_colour_and_near_tracks_differ():
    colours = [track_colour(i) for i in range(1, 40)]
    assert len(set(colours)) == 39
    for one, other in pairwise(colours):
        assert sum(abs(a - b) for a, b in zip(one, other, strict=True)) > 100


def test_the_image_given_is_not_changed():
    image = np.full((96, 160, 3), 100, np.uint8)
    overlay(image, halves(96, 160), VOCABULARY)
    assert (image == 100).all()


def test_outlines_lie_inside_their_segment_and_not_along_the_border_of_the_frame():
    painted = overlay(np.full((96, 160, 3), 100, np.uint8), halves(96, 160), VOCABULARY)
    assert tag_pixels(painted, 3)[:80, 79].sum() > 60
    assert tag_pixels(painted, 9)[:80, 80].sum() > 60
    assert not tag_pixels(painted, 3)[:80, 0].any()


def test_segments_far_too_small_for_a_name_get_none():
    ids = np.zeros((96, 160), np.uint32)
    ids[40:44, 40:44] = 5
    painted = overlay(np.zeros((96, 160, 3), np.uint8), PanopticFrame(ids, {5: Segment(5, 7)}), VOCABULARY)
    assert not painted[:38].any()
    assert not painted[46:].any()


def test_names_do_not_cover_each_other_and_lie_in_the_frame():
    ids = np.zeros((360, 640), np.int32)
    for i in range(10):
        ids[100 + 4 * i : 104 + 4 * i, 100:500] = i + 1
    places = _place_tags(ids, [Segment(i, 7) for i in range(1, 11)], dict.fromkeys(range(1, 11), (70, 12)), {})
    assert len(places) >= 5
    covered = np.zeros(ids.shape, int)
    for left, top, right, bottom in places.values():
        assert 0 <= left < right <= 640
        assert 0 <= top < bottom <= 360
        covered[top:bottom, left:right] += 1
    assert covered.max() == 1


def test_a_name_stays_where_it_is_while_its_segment_changes_a_little():
    painter = OverlayPainter(VOCABULARY)
    image = np.zeros((360, 640, 3), np.uint8)
    places = []
    for grow in (0, 6, 12, 18):
        ids = np.zeros((360, 640), np.uint32)
        ids[100:260, 100 : 300 + grow] = 4
        painter.paint(image, PanopticFrame(ids, {4: Segment(4, 7)}))
        places.append(painter._last_places[4])
    assert max(np.ptp([x for x, _ in places]), np.ptp([y for _, y in places])) <= 8


def test_an_empty_frame_and_an_unknown_category_and_long_names_paint():
    image = np.full((96, 160, 3), 100, np.uint8)
    assert (overlay(image, PanopticFrame(np.zeros((96, 160), np.uint32)), VOCABULARY) == 100).all()
    full = PanopticFrame(np.full((96, 160), 4_000_000_000, np.uint32), {4_000_000_000: Segment(4_000_000_000, 55)})
    assert tag_pixels(overlay(image, full, VOCABULARY), 4_000_000_000).sum() > 100
    long = Vocabulary((Category(55, "a name that is much wider than the whole of this small frame", True),))
    assert not tag_pixels(overlay(image, full, long), 4_000_000_000).any()


def test_an_image_of_another_size_is_refused():
    with pytest.raises(DataError, match="expected an image of 160x96 pixels as its segments have, got 64x32"):
        overlay(np.zeros((32, 64, 3), np.uint8), halves(96, 160), VOCABULARY)


def test_a_contact_sheet_holds_every_picture_in_rows():
    images = [np.full((30, 40, 3), 40 * i, np.uint8) for i in range(5)]
    sheet = contact_sheet(images, 2, cell_width=40)
    assert sheet.shape == (3 * 30 + 4 * 4, 2 * 40 + 3 * 4, 3)
    for i in range(5):
        assert (sheet[4 + i // 2 * 34 + 15, 4 + i % 2 * 44 + 20] == 40 * i).all()


def test_a_contact_sheet_fits_other_sizes_into_its_cells_and_has_captions():
    images = [np.zeros((90, 120, 3), np.uint8), np.zeros((200, 50, 3), np.uint8)]
    plain = contact_sheet(images, 4)
    captioned = contact_sheet(images, 4, captions=["one", "a caption that is far too long for its small cell"])
    assert plain.shape[1] == captioned.shape[1] == 2 * 120 + 3 * 4
    assert captioned.shape[0] > plain.shape[0]
    assert (captioned[96 + 4 :, :] < 100).any()


def test_a_contact_sheet_of_nothing_is_refused():
    with pytest.raises(DataError, match="needs an image and a column"):
        contact_sheet([], 3)
    with pytest.raises(DataError, match="needs an image and a column"):
        contact_sheet([np.zeros((3, 3, 3), np.uint8)], 0)


@pytest.mark.parametrize("track", range(1, 25))
def test_a_red_bar_stays_red_whatever_colour_its_track_has(track):
    red = np.full((240, 320, 3), (200, 30, 30), np.uint8)
    frame = PanopticFrame(np.full((240, 320), track, np.uint32), {track: Segment(track, 7)})
    red_part, green, blue = np.median(overlay(red, frame, VOCABULARY).reshape(-1, 3), axis=0)
    assert red_part > 2 * max(green, blue)


def test_a_name_stands_on_a_ground_of_no_colour():
    painted = overlay(np.zeros((360, 640, 3), np.uint8), halves(360, 640), VOCABULARY)
    ground = (painted == TAG).all(-1).sum()
    assert ground > 2 * tag_pixels(painted, 3)[60:270, 40:280].sum()
