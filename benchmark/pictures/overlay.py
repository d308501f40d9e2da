"""Pictures for people: segments painted over a frame, with outlines and names; sheets of many pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL import ImageDraw, ImageFont
from scipy import ndimage

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.panoptic import dense
from ovsbench.benchmark.pictures.fonts import can_be_drawn, font_of
from ovsbench.benchmark.storage.store import PALETTE
from ovsbench.benchmark.types import Image, PanopticFrame, Segment, Vocabulary

TAG = (24, 26, 30)
"""The ground of name tags."""
Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are not part of it."""

_SKETCH = 192  # name tags are placed on a copy of the frame with this many pixels on its longer side


def track_colour(track: int) -> tuple[int, int, int]:
    """The RGB colour of a track in every frame and every picture; near numbers get unlike colours.

    It is that of the stored masks, where tracks are numbered from 1 in the order in which they appear.

    >>> track_colour(1) == track_colour(1) != track_colour(2)
    True
    """
    value = (track - 1) % 255 + 1
    red, green, blue = PALETTE[3 * value : 3 * value + 3]
    return red, green, blue


TINT = 0.16
"""How much of a segment's colour lies over it: little, so that a red bar stays red whatever colour its track has."""


def overlay(image: Image, frame: PanopticFrame, vocabulary: Vocabulary, *, opacity: float = TINT) -> Image:
    """Paints one frame; for the frames of a video use one `OverlayPainter`, which keeps its name tags calm."""
    return OverlayPainter(vocabulary, opacity=opacity).paint(image, frame)


@dataclass(frozen=True)
class Label:
    """What a segment is called in pictures: `text`, and the track whose colour it has."""

    track: int
    text: str


@dataclass
class OverlayPainter:
    """Paints the segments of successive frames over them.

    Attributes:
        vocabulary: gives the names; a category that it lacks, or whose name the font cannot draw, is shown by its
            number.
        opacity: of the colour laid over a segment; its outline is opaque, and shows the colour of the track.
        numbered: whether things are called by name and number, as in "dog 2", the second dog of the video.
    """

    vocabulary: Vocabulary
    opacity: float = TINT
    numbered: bool = False
    _numbers: dict[int, dict[int, int]] = field(default_factory=dict)  # category: track: number from 1
    _last_places: dict[int, tuple[float, float]] = field(default_factory=dict)

    def paint(self, image: Image, frame: PanopticFrame) -> Image:
        """The image, uint8 (H, W, 3), with colours, outlines and a name for each segment that has room for one.

        In frames large enough, the name of a segment with a score below 1 ends in it. Where names would collide, the
        smaller segment goes first and the other one's name moves within its segment, or is left out.

        Raises:
            DataError: image and frame differ in size.
        """
        if image.shape != (*frame.ids.shape, 3):
            raise DataError(
                f"expected an image of {frame.ids.shape[1]}x{frame.ids.shape[0]} pixels as its segments have, "
                f"got {image.shape[1]}x{image.shape[0]}. Resize one of them"
            )
        numbers, segments = dense(frame)
        canvas = self._colour(image, numbers, segments)
        draw = ImageDraw.Draw(canvas)
        style = _TagStyle.for_size(*frame.ids.shape)
        tags = {segment.id: self._name(segment, with_score=style.has_room_for_scores) for segment in segments}
        sizes = {key: style.measure(text) for key, text in tags.items()}
        places = _place_tags(numbers, segments, sizes, self._last_places)
        self._last_places.update({key: ((b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for key, b in places.items()})
        for key, box in places.items():
            style.draw(draw, box, tags[key], track_colour(key))
        return np.asarray(canvas)

    def labels(self, frame: PanopticFrame) -> list[Label]:
        """The segments of a frame by name, things before stuff."""
        by_id = self.vocabulary.by_id
        order = sorted(
            frame.segments.values(), key=lambda s: (s.category in by_id and not by_id[s.category].is_thing, s.category)
        )
        named = [(segment.id, self._name(segment, with_score=True)) for segment in order]
        return [Label(track, text) for track, text in named]

    def _name(self, segment: Segment, with_score: bool) -> str:
        category = self.vocabulary.by_id.get(segment.category)
        is_known = category is not None and can_be_drawn(category.name)
        name = category.name if category is not None and is_known else f"category {segment.category}"
        if self.numbered and category is not None and category.is_thing:
            numbers = self._numbers.setdefault(segment.category, {})
            name = f"{name} {numbers.setdefault(segment.id, len(numbers) + 1)}"
        return name if segment.score >= 1.0 or not with_score else f"{name} {segment.score:.2f}"

    def _colour(self, image: Image, numbers: npt.NDArray[np.int32], segments: Sequence[Segment]) -> PIL.Image.Image:
        """Lays colours over the segments and draws their outlines, inside each segment."""
        colours = np.array([(0, 0, 0), *(track_colour(s.id) for s in segments)], dtype=np.uint8)
        weights = np.array([0, *(round(255 * self.opacity) for _ in segments)], dtype=np.uint8)
        share = weights[numbers]
        share[_edges(numbers, thickness=max(2, round(min(numbers.shape) / 160))) & (numbers > 0)] = 255
        layer = PIL.Image.fromarray(colours[numbers])
        return PIL.Image.composite(layer, PIL.Image.fromarray(image), PIL.Image.fromarray(share))


def _edges(numbers: npt.NDArray[np.int32], thickness: int) -> npt.NDArray[np.bool_]:
    """Pixels at most `thickness` rows or columns from another segment; the frame's border is no edge."""
    edge = np.zeros(numbers.shape, dtype=bool)
    for step in range(1, thickness + 1):
        across, down = numbers[:, step:] != numbers[:, :-step], numbers[step:] != numbers[:-step]
        edge[:, step:] |= across
        edge[:, :-step] |= across
        edge[step:] |= down
        edge[:-step] |= down
    return edge


@dataclass(frozen=True)
class _TagStyle:
    """How name tags look at one size of frame."""

    font: ImageFont.FreeTypeFont | ImageFont.ImageFont
    margin: int
    height: int
    has_room_for_scores: bool

    @classmethod
    def for_size(cls, height: int, width: int) -> _TagStyle:
        points = max(9, round(min(height, width) / 42))
        font = font_of(points)
        _, top, _, bottom = font.getbbox("Agjpq|")
        return cls(
            font=font,
            margin=max(1, points // 5),
            height=math.ceil(bottom - top) + 2 * (points // 8),
            has_room_for_scores=min(height, width) >= 240,
        )

    def measure(self, text: str) -> tuple[int, int]:
        """Width and height of a tag in pixels."""
        left, _, right, _ = self.font.getbbox(text)
        return math.ceil(right - left) + 2 * (self.margin + 2), self.height

    def draw(self, draw: ImageDraw.ImageDraw, box: Box, text: str, colour: tuple[int, int, int]) -> None:
        """A dark tag framed in the colour of its track: a name on a ground of another colour would contradict it."""
        left, top, right, bottom = box
        shape = (left, top, right - 1, bottom - 1)
        draw.rounded_rectangle(shape, radius=self.height // 5, fill=TAG, outline=colour, width=max(2, self.margin))
        draw.text(((left + right) / 2, (top + bottom) / 2), text, fill="white", font=self.font, anchor="mm")


def _place_tags(
    numbers: npt.NDArray[np.int32],
    segments: Sequence[Segment],
    sizes: dict[int, tuple[int, int]],
    last_places: dict[int, tuple[float, float]],
) -> dict[int, Box]:
    """A box for the tag of each segment that has room: deep inside it, near its place in the frame before.

    Args:
        numbers: (H, W), 1 + the position in `segments`, 0 void.
        segments: as numbered.
        sizes: width and height of each segment's tag.
        last_places: where the tags' centres were, (x, y).
    """
    height, width = numbers.shape
    step = max(1, math.ceil(max(numbers.shape) / _SKETCH))
    sketch = numbers[step // 2 :: step, step // 2 :: step]
    # Distance to the nearest other segment or to the frame's border, for all segments at once.
    inside = np.pad(~_edges(sketch, 1) & (sketch > 0), 1)
    depth = ndimage.distance_transform_edt(inside)[1:-1, 1:-1] * step
    areas = np.bincount(sketch.ravel(), minlength=len(segments) + 1)[1:] * step**2
    taken = np.zeros(numbers.shape, dtype=bool)
    places: dict[int, Box] = {}
    for index in np.argsort(areas, kind="stable"):
        key = segments[index].id
        wide, high = sizes[key]
        if areas[index] < wide * high / 4 or wide > width or high > height:
            continue  # a tag much larger than its segment hides it and points nowhere
        rows, columns = np.nonzero(sketch == index + 1)
        x, y = columns * step + step // 2, rows * step + step // 2
        worth = depth[rows, columns]
        if key in last_places:
            worth = worth - 0.5 * np.hypot(x - last_places[key][0], y - last_places[key][1])
        for candidate in np.argsort(-worth, kind="stable")[:: max(1, len(worth) // 400)]:
            left = min(max(int(x[candidate]) - wide // 2, 0), width - wide)
            top = min(max(int(y[candidate]) - high // 2, 0), height - high)
            box = (left, top, left + wide, top + high)
            if not taken[box[1] : box[3], box[0] : box[2]].any():
                places[key] = box
                taken[max(0, top - 1) : box[3] + 1, max(0, left - 1) : box[2] + 1] = True
                break
    return places
