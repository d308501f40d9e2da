"""What `ovsbench predict` leaves beside the masks: a line of objects for each frame, and a sheet of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import PIL.Image

from ovsbench.benchmark.panoptic import dense
from ovsbench.benchmark.pictures.contact_sheet import contact_sheet
from ovsbench.benchmark.pictures.strips import spread
from ovsbench.benchmark.storage.files import SCHEMA, json_line, writing
from ovsbench.benchmark.storage.rle import encode_ids
from ovsbench.benchmark.storage.track_extents import measured_texts
from ovsbench.benchmark.types import Image, InstanceTrack, PanopticFrame, Segment, Video, Vocabulary


class ObjectLines:
    """Writes a JSON line for each frame: its name, and of every segment track, name, score, area and box.

    The file is beside its place until `move`. Boxes are left, top, width and height in pixels; with `rle` each segment
    also has its mask as COCO writes it, run lengths of columns.

    Args:
        path: where the file will be.
        video: names and size of the frames.
        vocabulary: names of the categories.
        rle: whether masks are written too.
    """

    def __init__(self, path: Path, video: Video, vocabulary: Vocabulary, *, rle: bool) -> None:
        self._partial = path.with_name(f".{path.name}.partial")
        self._video, self._vocabulary, self._rle = video, vocabulary, rle
        self._index = 0

    def __enter__(self) -> Self:
        with writing(self._partial):
            self._file = self._partial.open("w", encoding="utf-8")
        return self

    def add(self, frame: PanopticFrame | Sequence[InstanceTrack]) -> None:
        """The next frame: its segments, or the tracks that it shows, which may overlap, with one mask each."""
        name = self._video.frames[self._index]
        objects = self._segments(frame) if isinstance(frame, PanopticFrame) else self._tracks(frame)
        line = {"schema": SCHEMA, "frame": name, "size": list(self._video.size), "objects": objects}
        with writing(self._partial):
            self._file.write(json_line(line))
        self._index += 1

    def _segments(self, frame: PanopticFrame) -> list[dict[str, Any]]:
        numbers, segments = dense(frame)
        masks = encode_ids(frame.ids) if self._rle else {}
        objects = []
        for number, segment in enumerate(segments, 1):
            rows, columns = np.nonzero(numbers == number)
            box = int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1
            objects.append(self._object(segment, len(rows), box, masks.get(segment.id)))
        return objects

    def _tracks(self, tracks: Sequence[InstanceTrack]) -> list[dict[str, Any]]:
        size = self._video.size
        extents, _ = measured_texts([track.masks for track in tracks], size, 1)
        return [
            self._object(track, extent.pixels, extent.box, track.masks[0] if self._rle else None)
            for track, extent in zip(tracks, extents, strict=True)
            if extent.pixels and extent.box is not None
        ]

    def _object(
        self, one: Segment | InstanceTrack, area: int, box: tuple[int, int, int, int], counts: str | None
    ) -> dict[str, Any]:
        top, left, bottom, right = box
        return {
            "track": one.id,
            "category": one.category,
            "name": self._vocabulary.by_id[one.category].name,
            "score": round(float(one.score), 6),
            "area": area,
            "box": [left, top, right - left, bottom - top],
            **({} if counts is None else {"counts": counts}),
        }

    def move(self, path: Path) -> None:
        """Puts the whole file into its place."""
        self._file.close()
        with writing(path):
            self._partial.replace(path)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._partial.unlink(missing_ok=True)


class Sheet:
    """Keeps a few painted frames, evenly spread and small, and lays them out at the end.

    Args:
        video: its length and the names of its frames.
        pictures: how many.
    """

    WIDEST = 480

    def __init__(self, video: Video, pictures: int = 12) -> None:
        self._wanted = set(spread(len(video), pictures))
        self._images: list[Image] = []
        self._captions: list[str] = []
        self._video = video

    def add(self, index: int, image: Image) -> None:
        """A painted frame, kept if it is one of the wanted."""
        if index not in self._wanted:
            return
        picture = PIL.Image.fromarray(image)
        picture.thumbnail((self.WIDEST, self.WIDEST))
        seconds = self._video.seconds(index)
        at = "" if seconds is None else f", {seconds:.1f} s"
        self._images.append(np.asarray(picture))
        self._captions.append(f"frame {self._video.frames[index]}{at}")

    def write(self, path: Path) -> None:
        """As PNG; at least one frame was added."""
        sheet = contact_sheet(self._images, 4, captions=self._captions, cell_width=max(self._images[0].shape[1], 160))
        with writing(path):
            PIL.Image.fromarray(sheet).save(path)
