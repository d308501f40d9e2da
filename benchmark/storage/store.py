"""Panoptic videos on disk: written whole or not at all, read one frame at a time.

One form serves labels and predictions. The folder of a video holds

    00000.png, 00001.png, ...  a small number for each pixel, 0 for void: 8-bit with a palette, so that a person can
                               open it; 16-bit grey for a frame of more than 255 segments
    segments.jsonl             one line a frame: {"segments": [[pixel value, segment id, category, score], ...]};
                               a fifth element 1 marks a crowd
    video.json                 id, number of frames, size and digest; written last
"""

from __future__ import annotations

import colorsys
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.panoptic import DenseFrame, dense, listed, look_up
from ovsbench.benchmark.storage.files import parse_json, read_json
from ovsbench.benchmark.storage.folder_writer import FolderWriter
from ovsbench.benchmark.storage.image_files import BROKEN, open_image, png_header
from ovsbench.benchmark.storage.png_loop import decode_plain
from ovsbench.benchmark.types import PanopticFrame, Segment

_COMPRESSION = (
    3  # of zlib's 0 to 9: the knee, 4 ms and 12 KB for 480x854; level 6 saves a third and takes twice as long
)


def _palette() -> bytes:
    """256 RGB colours that differ between neighbours; number 0, void, is black."""
    colours = [(0.0, 0.0, 0.0)]
    for number in range(255):
        hue = number * 0.618034 % 1.0  # golden ratio: neighbouring numbers lie far apart on the colour wheel
        colours.append(colorsys.hsv_to_rgb(hue, (0.65, 0.9, 0.45)[number % 3], (1.0, 0.8, 0.95, 0.65)[number % 4]))
    return bytes(round(255 * part) for colour in colours for part in colour)


PALETTE = _palette()
"""RGB of each pixel value, 256 x 3 bytes."""


class VideoWriter(FolderWriter):
    """Writes the frames of one video as they come; the folder appears when the `with` block ends well.

    On an error nothing stays. Memory does not depend on the number of frames.

    >>> with VideoWriter(Path("labels/street"), "street", (480, 854)) as video:  # doctest: +SKIP
    ...     video.add(PanopticFrame(ids, {1: Segment(id=1, category=7)}))

    Args:
        folder: where the video will be; a folder that is there is replaced.
        video_id: name of the video.
        size: (height, width) of every frame.
        keeps_order: whether rows have the order in which a frame lists its segments, as those of labels have; else they
            are sorted by id, because no metric asks for the order of predictions.
    """

    def __init__(self, folder: Path, video_id: str, size: tuple[int, int], *, keeps_order: bool = False) -> None:
        super().__init__(folder, "segments.jsonl")
        self._keeps_order = keeps_order
        self.video_id = video_id
        self.size = size
        self.frames = 0
        self._numbers: dict[int, int] = {}  # segment id: order of first appearance in the video, from 0

    def add(self, frame: PanopticFrame) -> None:
        """Appends a frame.

        Raises:
            DataError: another size, a pixel without a segment, a segment without a pixel, or a failing disk.
        """
        where = f"video {self.video_id}, frame {self.frames}"
        if frame.ids.shape != self.size:
            raise DataError(
                f"{where}: expected {self.size[1]}x{self.size[0]} pixels, got "
                f"{frame.ids.shape[1]}x{frame.ids.shape[0]}. Give every frame the size of the video"
            )
        try:
            numbered = dense(frame)
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
        segments = numbered.segments
        values = self._pixel_values(segments)
        png, present = _encode(numbered.numbers, values)
        missing = [s.id for s, seen in zip(segments, present, strict=True) if not seen]
        if missing:
            raise DataError(f"{where}: segments without a pixel: {missing[:5]}. List only segments that are visible")
        rows = [
            [value, int(s.id), int(s.category), float(s.score), *([1] if s.is_crowd else [])]  # plug-ins give numpy's
            for value, s in zip(values, segments, strict=True)
        ]
        if self._keeps_order and numbered.listed:
            rows.sort(key=lambda row: numbered.listed.index(row[1]))
        line = json.dumps({"segments": rows}, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        self._append(line, {frame_name(self.frames): png})
        self.frames += 1

    def _pixel_values(self, segments: tuple[Segment, ...]) -> list[int]:
        """A number from 1 for each segment; a track keeps its number, so its colour, unless another has it now."""
        for segment in segments:
            self._numbers.setdefault(segment.id, len(self._numbers))
        if len(segments) > 0xFFFF:
            raise DataError(f"a frame holds at most 65535 segments; here are {len(segments)}. Merge the smallest")
        span = 0xFF if len(segments) <= 0xFF else 0xFFFF
        wanted = {s.id: self._numbers[s.id] % span + 1 for s in segments}
        taken: dict[int, int] = {}  # pixel value: segment id; the older track keeps a contested value
        for key in sorted(wanted, key=self._numbers.__getitem__):
            value = wanted[key]
            while value in taken:
                value = value % span + 1
            taken[value] = key
        values = {key: value for value, key in taken.items()}
        return [values[s.id] for s in segments]

    def _facts(self) -> dict[str, Any]:
        return {"video": self.video_id, "frames": self.frames, "size": list(self.size)}


def frame_name(index: int) -> str:
    """File name of frame `index` in the folder of a video."""
    return f"{index:05d}.png"


def _encode(index: npt.NDArray[Any], values: list[int]) -> tuple[bytes, list[bool]]:
    """A PNG of pixel values, and for each segment whether it has a pixel."""
    table = np.array([0, *values], dtype=np.uint8 if max(values, default=0) <= 0xFF else np.uint16)
    if table.dtype == np.uint8:
        pixels = index.astype(np.uint8).tobytes().translate(table.tobytes().ljust(256, b"\0"))
        image = PIL.Image.frombytes("P", (index.shape[1], index.shape[0]), pixels)
        image.putpalette(PALETTE)
        counts = image.histogram()
    else:
        image = PIL.Image.fromarray(table[index])
        counts = np.bincount(table[index].ravel(), minlength=1 << 16).tolist()
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=_COMPRESSION)
    return file.getvalue(), [counts[value] > 0 for value in values]


class FrameFolder:
    """The frames of one video on disk, as a `VideoWriter` left them; read when asked for.

    Raises:
        DataError: the folder holds no whole video, or later: a frame is missing, broken or of another size.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        facts = read_json(folder / "video.json", "the description of a video's masks")
        try:
            self.video_id = str(facts["video"])
            self.size = (int(facts["size"][0]), int(facts["size"][1]))
            self.digest = str(facts["sha256"])
            self._length = int(facts["frames"])
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise DataError(
                f"{folder / 'video.json'}: expected video, frames, size and sha256, got an error at {error}. "
                "Write the video again"
            ) from error
        self._starts = self._line_starts()

    def _line_starts(self) -> npt.NDArray[np.int64]:
        """Where each frame's line begins and the last one ends, (frames + 1,); the lines themselves stay on disk."""
        path = self.folder / "segments.jsonl"
        try:
            with path.open("rb") as file:
                lengths = [len(line) for line in file if line.endswith(b"\n")]
        except OSError as error:
            raise self._broken(path, None, error.strerror or str(error)) from error
        if len(lengths) != self._length:
            raise self._broken(path, None, f"it has {len(lengths)} lines for {self._length} frames")
        return np.cumsum([0, *lengths], dtype=np.int64)

    def _broken(self, path: Path, index: int | None, reason: str) -> DataError:
        where = f"video {self.video_id}" + ("" if index is None else f", frame {index}")
        return DataError(f"{path} ({where}): expected the masks of a video, got an error: {reason}. Write it again")

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[PanopticFrame]:
        return (self.frame(i) for i in range(len(self)))

    def frame(self, index: int) -> PanopticFrame:
        """Frame `index` with its own segment ids."""
        rows = self._segments(index)
        pixels = self._pixels(index)
        table = self._table(index, pixels, [(value, segment.id) for value, segment in rows], np.dtype(np.uint32))
        ids = table.take(pixels)
        self._check_complete(index, ids, pixels)
        return PanopticFrame(ids, {segment.id: segment for _, segment in rows})

    def dense(self, index: int) -> DenseFrame:
        """Frame `index` as `panoptic.dense` would number it, without the way over ids; uint8 or uint16."""
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        rows = self._segments(index)
        pixels = self._pixels(index)
        in_order = sorted(rows, key=lambda row: row[1].id)
        numbered = [(value, number) for number, (value, _) in enumerate(in_order, 1)]
        numbers = pixels
        if int(pixels.max()) > len(rows) or any(value != number for value, number in numbered):  # mostly they are equal
            numbers = look_up(self._table(index, pixels, numbered, pixels.dtype), pixels)
            self._check_complete(index, numbers, pixels)
        return DenseFrame(numbers, tuple(segment for _, segment in in_order), listed(s.id for _, s in rows))

    def _table(
        self, index: int, pixels: npt.NDArray[Any], rows: list[tuple[int, int]], dtype: np.dtype[Any]
    ) -> npt.NDArray[Any]:
        """Look-up table from pixel value to what `rows` pairs it with, 0 for other values."""
        table = np.zeros(1 << 8 * pixels.itemsize, dtype=dtype)
        try:
            for value, other in rows:
                table[value] = other
        except (IndexError, OverflowError):
            raise self._broken(self.folder / "segments.jsonl", index, "a number is out of range") from None
        return table

    def _check_complete(self, index: int, mapped: npt.NDArray[Any], pixels: npt.NDArray[Any]) -> None:
        if np.count_nonzero(mapped) != np.count_nonzero(pixels):
            raise self._broken(self.folder / frame_name(index), index, "a pixel value has no segment")

    def _segments(self, index: int) -> list[tuple[int, Segment]]:
        """(pixel value, segment) of a frame, in the order of its line."""
        path = self.folder / "segments.jsonl"
        try:
            rows = parse_json(self._line(index))["segments"]
            segments = [
                (int(value), Segment(int(key), int(category), float(score), bool(crowd)))
                for value, key, category, score, *crowd in rows
            ]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._broken(path, index, str(error)) from error
        if len({value for value, _ in segments}) != len(rows) or len({s.id for _, s in segments}) != len(rows):
            raise self._broken(path, index, "a pixel value or a segment id occurs twice")
        return segments

    def _line(self, index: int) -> bytes:
        with (self.folder / "segments.jsonl").open("rb") as file:
            file.seek(int(self._starts[index]))
            return file.read(int(self._starts[index + 1] - self._starts[index]))

    def _pixels(self, index: int) -> npt.NDArray[Any]:
        """A frame's pixel values, uint8 or uint16 (H, W); its announced size is checked before it is unpacked."""
        path = self.folder / frame_name(index)
        try:
            data = path.read_bytes()
            height, width = png_header(data).size
            if (height, width) != self.size:
                raise ValueError(f"it is {width}x{height} pixels, not {self.size[1]}x{self.size[0]}")
            plain = decode_plain(data)
            if plain is not None and plain.pixels.ndim == 2 and PALETTE.startswith(plain.palette):
                return plain.pixels
            with open_image(data, ("PNG",)) as image:
                if image.mode not in ("P", "L", "I;16"):
                    raise ValueError(f"it has mode {image.mode}, not 8-bit palette or 16-bit grey")
                if image.palette is not None and not PALETTE.startswith(bytes(image.palette.palette)):
                    raise ValueError("its palette is another one: a tool wrote it anew, and its numbers are lost")
                return np.asarray(image)
        except BROKEN as error:
            raise self._broken(path, index, str(error)) from error

    def computed_digest(self) -> str:
        """The digest of the bytes that are on disk now."""
        sha = hashlib.sha256()
        for index in range(len(self)):
            path = self.folder / frame_name(index)
            try:
                sha.update(self._line(index))
                sha.update(path.read_bytes())
            except OSError as error:
                raise self._broken(path, index, error.strerror or str(error)) from error
        return sha.hexdigest()

    def verify(self) -> None:
        """Compares the bytes on disk with the digest that was noted when the video was written.

        Raises:
            DataError: they differ, or a file is missing.
        """
        if self.computed_digest() != self.digest:
            raise self._broken(self.folder, None, "its files were changed since they were written")
