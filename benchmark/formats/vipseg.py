"""The layout of VIPSeg: ids of segments as colours of PNG files, and their classes in one JSON file.

    labels       panoptic_gt.json (or panoptic_gt_VIPSeg_val.json), panomasksRGB/<video>/<frame>.png
    predictions  pred.json, pan_pred/<video>/<frame>.png

    {"videos": [{"video_id", "images": [{"file_name", ...}]}], "categories": [{"id", "name", "isthing"}],
     "annotations": [{"video_id", "annotations": [{"file_name",
                      "segments_info": [{"id", "category_id", "area", "iscrowd", "bbox"}]}]}]}

id = R + 256 G + 65536 B, 0 is void. Predictions need no `videos` and no `categories`; a segment may have a `score`.
Frames are matched by name, and every id must be in both the image and the JSON: the official script pairs frames by
position and believes the JSON's areas, so that a slip changes its scores silently. Here it is an error.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from benchmark.counting import predicted_frames
from benchmark.errors import DataError
from benchmark.files import writing
from benchmark.formats.faults import Faults, LeftOutError
from benchmark.formats.masks import compare_names, png_size, read_png, stems
from benchmark.formats.runs import import_run, new_folder
from benchmark.manifest import Benchmark, Source, VideoEntry, load
from benchmark.manifest_writer import BenchmarkWriter
from benchmark.panoptic import dense, ids_to_rgb, rgb_to_ids
from benchmark.progress import SILENT, Progress
from benchmark.record import RunRecord
from benchmark.store import FrameFolder
from benchmark.types import Category, PanopticFrame, Rules, Segment, Vocabulary

LABELS = ("panoptic_gt.json", "panoptic_gt_VIPSeg_val.json")
_MASKS, _PREDICTED_MASKS, _PREDICTIONS = "panomasksRGB", "pan_pred", "pred.json"


@dataclass(frozen=True, slots=True)
class _Row:
    """One frame of the JSON: image file, segments by id, areas by id (None where the file has none)."""

    file: str
    segments: Mapping[int, Segment]
    areas: Mapping[int, int | None]


_Videos = dict[str, dict[str, _Row]]
"""Video id to frame stem to row, in the file's order."""


def build_vipseg(
    raw: str | Path, folder: str | Path, *, images: str | Path | None = None, progress: Progress = SILENT
) -> Benchmark:
    """Turns labels in the layout of VIPSeg into a benchmark folder; images stay where they are.

    Args:
        raw: folder with `panoptic_gt.json` and `panomasksRGB`.
        folder: the benchmark folder to write.
        images: folder of <video>/<frame>.jpg, `imgs` in the raw folder by default; scoring needs none.
        progress: told of frames and videos.

    Raises:
        DataError: anything in the raw folder is not in this layout, all of it told at once.
    """
    raw, folder = Path(raw).resolve(), Path(folder)
    path = next((raw / name for name in LABELS if (raw / name).exists()), None)
    if path is None:
        raise DataError(f"{raw}: expected {' or '.join(LABELS)}, found neither. Give the folder that holds it as --raw")
    content = _read_json(path)
    faults = Faults()
    vocabulary = _vocabulary(content, path)
    videos = _videos(content, path, faults)
    frame_count = sum(len(rows) for rows in videos.values())
    writer = BenchmarkWriter(
        folder,
        name="vipseg",
        version="1",
        source=Source(
            name=f"VIPSeg layout, {path.name}",
            digest=sha256(path.read_bytes()).hexdigest(),
            licence="VIPSeg (Miao et al. 2022): annotations CC BY-NC-SA 4.0, videos of their owners",
        ),
        rules=Rules(),
        vocabulary=vocabulary,
        image_root=Path(images).resolve() if images else raw / "imgs",
    )
    progress.start(len(videos), frame_count, "reading VIPSeg labels")
    try:
        with writer:
            for video, rows in videos.items():
                with faults.collecting():
                    _build_video(writer, raw / _MASKS / video, video, rows, vocabulary, faults, progress)
                progress.video()
            faults.stop(str(raw), "Mend the files and build again")
    finally:
        progress.stop()
    return load(folder)


def _build_video(
    writer: BenchmarkWriter,
    masks: Path,
    video: str,
    rows: Mapping[str, _Row],
    vocabulary: Vocabulary,
    faults: Faults,
    progress: Progress,
) -> None:
    before = faults.count
    size = png_size(masks / next(iter(rows.values())).file)
    names = [f"{video}/{stem}.jpg" for stem in rows]
    if writer.has_labels(video, size, names):
        progress.frame(len(rows))
        return
    with writer.video(video, size, names) as labels:
        for row in rows.values():
            with faults.collecting():
                frame = _frame(masks / row.file, size, row, vocabulary)
                if faults.count == before:
                    labels.add(frame)
            progress.frame()
        if faults.count > before:
            raise LeftOutError


def import_vipseg(
    benchmark: Benchmark, predictions: str | Path, run: str | Path, *, name: str, progress: Progress = SILENT
) -> RunRecord:
    """Makes a run of predictions in the layout of VIPSeg.

    Args:
        benchmark: what was predicted; its frames must have the names of the predictions' files.
        predictions: folder with `pred.json` and `pan_pred`.
        run: the run folder to make.
        name: of the method, for tables.
        progress: told of frames and videos.

    Raises:
        DataError: anything is wrong with the files, all of it told at once.
    """
    folder = Path(predictions)
    path = folder / _PREDICTIONS
    faults = Faults()
    videos = _videos(_read_json(path), path, faults)
    compare_names(str(path), "video", [entry.id for entry in benchmark.entries], videos, faults)
    for entry in benchmark.entries:
        if entry.id in videos:
            expected = stems(entry.frames)
            compare_names(f"{path}, video {entry.id}", "frame", expected, videos[entry.id], faults)
            masks = folder / _PREDICTED_MASKS / entry.id
            compare_names(str(masks), "mask", expected, stems(p.name for p in masks.glob("*.png")), faults)

    def read(entry: VideoEntry, index: int) -> PanopticFrame:
        row = videos.get(entry.id, {}).get(stems([entry.frames[index]])[0])
        if row is None:  # noted above
            return PanopticFrame(np.zeros(entry.size, dtype=np.uint32))
        mask = folder / _PREDICTED_MASKS / entry.id / row.file
        if not mask.exists():
            return PanopticFrame(np.zeros(entry.size, dtype=np.uint32))
        return _frame(mask, entry.size, row, benchmark.vocabulary)

    return import_run(
        benchmark,
        Path(run),
        read,
        faults,
        name=name,
        what=f"{folder} (VIPSeg layout)",
        digest=sha256(path.read_bytes()).hexdigest(),
        notes={"layout": "vipseg"},
        progress=progress,
    )


def export_vipseg(benchmark: Benchmark, run: str | Path, out: str | Path, *, progress: Progress = SILENT) -> None:
    """Writes a run's predictions in the layout of VIPSeg, as its official script reads them.

    Raises:
        DataError: predictions are missing or damaged, or the disk is full.
    """
    videos = []
    with new_folder(Path(out)) as partial:
        progress.start(len(benchmark.entries), sum(len(e.frames) for e in benchmark.entries), "exporting")
        try:
            for entry in benchmark.entries:
                masks = partial / _PREDICTED_MASKS / entry.id
                with writing(Path(out)):
                    masks.mkdir(parents=True)
                predictions = predicted_frames(benchmark, Path(run), entry.id)
                numbers = _numbers(predictions)
                frames = []
                for stem, frame in zip(stems(entry.frames), predictions, strict=True):
                    small = _renumbered(frame, numbers)
                    with writing(Path(out)):
                        PIL.Image.fromarray(ids_to_rgb(small.ids)).save(masks / f"{stem}.png", compress_level=3)
                    frames.append({"file_name": f"{stem}.png", "segments_info": _segments_info(small)})
                    progress.frame()
                videos.append({"video_id": entry.id, "annotations": frames})
                progress.video()
        finally:
            progress.stop()
        with writing(Path(out)):
            (partial / _PREDICTIONS).write_text(json.dumps({"annotations": videos}) + "\n", encoding="utf-8")


def _numbers(frames: FrameFolder) -> dict[int, int]:
    """Id to id below 2**24; empty if all are, otherwise every id gets a number by first appearance."""
    ids = dict.fromkeys(key for frame in frames for key in sorted(frame.segments))
    if max(ids, default=0) < 1 << 24:
        return {}
    return {key: number for number, key in enumerate(ids, 1)}


def _renumbered(frame: PanopticFrame, numbers: Mapping[int, int]) -> PanopticFrame:
    if not numbers:
        return frame
    index, segments = dense(frame)
    table = np.array([0, *(numbers[s.id] for s in segments)], dtype=np.uint32)
    return PanopticFrame(table[index], {numbers[s.id]: replace(s, id=numbers[s.id]) for s in segments})


def _segments_info(frame: PanopticFrame) -> list[dict[str, Any]]:
    index, segments = dense(frame)
    rows = []
    for number, segment in enumerate(segments, 1):
        mask = index == number
        down, right = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = [int(right[0]), int(down[0]), int(right[-1] - right[0] + 1), int(down[-1] - down[0] + 1)]
        rows.append(
            {
                "id": segment.id,
                "category_id": segment.category,
                "area": int(np.count_nonzero(mask)),
                "iscrowd": 0,
                "bbox": box,
                "score": segment.score,
            }
        )
    return rows


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}. Give the folder that holds it") from error
    except ValueError as error:
        raise DataError(f"{path}: expected JSON, got an error: {error}. The file may have been cut off") from error
    if not isinstance(content, dict) or not isinstance(content.get("annotations"), list):
        raise DataError(f"{path}: expected an object with a list `annotations`. See the layout of VIPSeg")
    return content


def _vocabulary(content: Mapping[str, Any], path: Path) -> Vocabulary:
    try:
        return Vocabulary(
            tuple(Category(int(c["id"]), str(c["name"]), bool(c["isthing"])) for c in content["categories"])
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: expected categories with id, name and isthing, got an error at {error}") from error
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _videos(content: Mapping[str, Any], path: Path, faults: Faults) -> _Videos:
    """The annotations of a file; what is wrong with them is noted."""
    videos: _Videos = {}
    for number, video in enumerate(content["annotations"]):
        where = f"{path}, video number {number + 1}"
        try:
            name, rows = str(video["video_id"]), list(video["annotations"])
        except (KeyError, TypeError) as error:
            faults.add(f"{where}: expected video_id and annotations, got an error at {error!r}")
            continue
        if name in videos:
            faults.add(f"{path}: video {name} is there twice")
            continue
        videos[name] = {}
        for row in rows:
            with faults.collecting():
                frame = _row(row, f"{path}, video {name}")
                stem = stems([frame.file])[0]
                if stem in videos[name]:
                    raise DataError(f"{path}, video {name}: frame {stem} is there twice")
                videos[name][stem] = frame
    return videos


def _row(row: Mapping[str, Any], where: str) -> _Row:
    try:
        file = str(row["file_name"])
        where = f"{where}, frame {file}"
        segments, areas = {}, {}
        twice = [key for key, times in Counter(int(s["id"]) for s in row["segments_info"]).items() if times > 1]
        if twice:
            raise DataError(f"{where}: ids are listed twice: {_some(twice)}")
        for info in row["segments_info"]:
            key, score = int(info["id"]), float(info.get("score", 1.0))
            if not 0 < key < 1 << 24:
                raise DataError(f"{where}: expected ids from 1 to {(1 << 24) - 1}, got {key}")
            if not (math.isfinite(score) and 0 <= score <= 1):
                raise DataError(f"{where}: segment {key} has score {score}; scores lie between 0 and 1")
            segments[key] = Segment(key, int(info["category_id"]), score, bool(info.get("iscrowd", 0)))
            areas[key] = info.get("area")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{where}: expected file_name and segments_info with id and category_id, got {error!r}"
        ) from error
    if "/" in file or "\\" in file or file.startswith("."):
        raise DataError(f"{where}: expected the name of a file, got {file!r}")
    return _Row(file, segments, areas)


def _frame(mask: Path, size: tuple[int, int], row: _Row, vocabulary: Vocabulary) -> PanopticFrame:
    """The frame of a mask and its row.

    Raises:
        DataError: the first thing that is wrong with it.
    """
    ids = rgb_to_ids(read_png(mask, size, ("RGB",)))
    flat = ids.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    ends = np.append(changes, flat.size - 1)
    present, which = np.unique(flat[ends], return_inverse=True)
    pixels = np.bincount(which, weights=np.diff(ends, prepend=-1)).astype(np.int64)
    area = {int(key): int(count) for key, count in zip(present, pixels, strict=True) if key}
    _refuse(mask, "ids in the image that the JSON lacks", area.keys() - row.segments.keys())
    _refuse(mask, "ids in the JSON that the image lacks", row.segments.keys() - area.keys())
    _refuse(mask, "categories that the benchmark lacks", {s.category for s in row.segments.values()} - vocabulary.ids)
    wrong = [key for key, value in row.areas.items() if value is not None and value != area[key]]
    _refuse(mask, "ids whose area in the JSON is not their number of pixels", wrong)
    return PanopticFrame(ids, dict(row.segments))


def _refuse(mask: Path, what: str, values: Iterable[int]) -> None:
    values = sorted(values)
    if values:
        raise DataError(f"{mask}: {what}: {_some(values)}")


def _some(values: Sequence[int]) -> str:
    return ", ".join(map(str, values[:5])) + (", ..." if len(values) > 5 else "")
