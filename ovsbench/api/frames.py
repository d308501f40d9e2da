"""A predicted frame with its image and its words: painted, as detections, as COCO rows, as a picture in a notebook."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.types import Ids, Image, PanopticFrame, Segment, Vocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, repr=False)
class NamedFrame:
    """One frame of a video as a method sees it.

    Attributes:
        index: of the frame in the video, from 0.
        image: uint8 (H, W, 3), RGB.
        frame: the segments.
        vocabulary: the words that the method chose from.
    """

    index: int
    image: Image
    frame: PanopticFrame
    vocabulary: Vocabulary

    @property
    def ids(self) -> Ids:
        """The segment id of every pixel, uint32 (H, W); 0 where there is none. An id is a track: one object."""
        return self.frame.ids

    @property
    def segments(self) -> Mapping[int, Segment]:
        """Segment id to track, category and score."""
        return self.frame.segments

    @property
    def names(self) -> dict[int, str]:
        """Segment id to the name of its category."""
        return {key: self.vocabulary.by_id[segment.category].name for key, segment in self.segments.items()}

    def mask(self, segment: int) -> npt.NDArray[np.bool_]:
        """The pixels of a segment, bool (H, W).

        Raises:
            UserError: there is no such segment.
        """
        if segment not in self.segments:
            raise UserError(f"expected the id of a segment, one of {sorted(self.segments)}, got {segment}")
        return np.asarray(self.ids == segment)

    def overlay(self, *, opacity: float = 0.45) -> Image:
        """The image with coloured segments and their names, uint8 (H, W, 3).

        Args:
            opacity: of the colours, in [0, 1].

        Raises:
            UserError: it lies outside.
        """
        if not 0 <= opacity <= 1:
            raise UserError(f"expected an opacity from 0 to 1, got {opacity}")
        from ovsbench.benchmark.pictures.overlay import overlay

        return overlay(self.image, self.frame, self.vocabulary, opacity=opacity)

    def to_coco(self) -> list[dict[str, Any]]:
        """A row a segment in the form of COCO's results: RLE masks, boxes as left, top, width, height in pixels."""
        from ovsbench.benchmark.storage.rle import encode_ids

        masks, height, width = encode_ids(self.ids), *self.ids.shape
        return [
            {
                "image_id": self.index,
                "track_id": key,
                "category_id": segment.category,
                "category_name": self.names[key],
                "score": float(segment.score),
                "segmentation": {"size": [height, width], "counts": masks[key]},
                "bbox": [left, top, right - left, bottom - top],
                "area": int(self.mask(key).sum()),
            }
            for key, segment in sorted(self.segments.items())
            for left, top, right, bottom in [self._box(key)]
        ]

    def to_supervision(self) -> Any:
        """`supervision.Detections`: masks, boxes as left, top, right, bottom, classes, scores, tracks and names.

        Raises:
            UserError: the package supervision is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            raise UserError(
                "to_supervision needs the package supervision, which is not installed. "
                "Install it with: pip install supervision"
            ) from error
        keys = sorted(self.segments)
        if not keys:
            return supervision.Detections.empty()
        segments = [self.segments[key] for key in keys]
        return supervision.Detections(
            xyxy=np.array([self._box(key) for key in keys], dtype=np.float64),
            mask=np.stack([self.mask(key) for key in keys]),
            confidence=np.array([segment.score for segment in segments], dtype=np.float64),
            class_id=np.array([segment.category for segment in segments]),
            tracker_id=np.array(keys),
            data={"class_name": np.array([self.names[key] for key in keys])},
        )

    def _box(self, segment: int) -> tuple[int, int, int, int]:
        """Left, top, right, bottom in pixels; right and bottom are not part of it."""
        rows, columns = np.nonzero(self.mask(segment))
        return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1

    def __repr__(self) -> str:
        return f"NamedFrame({self.index}, {self.ids.shape[1]}x{self.ids.shape[0]} pixels, {self.names})"

    def _repr_html_(self) -> str:
        import html

        import PIL.Image

        file = io.BytesIO()
        PIL.Image.fromarray(self.overlay()).save(file, format="PNG")
        names = html.escape(", ".join(dict.fromkeys(self.names.values())) or "nothing", quote=True)
        data = base64.b64encode(file.getvalue()).decode()
        picture = f'<img alt="{names}" src="data:image/png;base64,{data}">'
        return f"<figure>{picture}<figcaption>{names}</figcaption></figure>"
