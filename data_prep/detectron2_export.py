"""A benchmark folder in the form that detectron2 and its children (Mask2Former, FC-CLIP) train on.

    dataset.json                       classes, image root, forms; written last
    records/<video>.jsonl              a line a frame: image, and each segment with id, category, box, area, run lengths
    panoptic/<video>/<frame>.png       id of the segment as R + 256 G + 65536 B, 0 is void
    semantic/<video>/<frame>.png       number of the class, 8 bits, 255 is void
    images/<video>/<frame>.jpg         only where the images have another size than the labels: brought to theirs

Classes are numbered from 0, things first, then stuff. A training set has its base classes only. Overlapping tracks have
the instance form alone; more than 254 classes have no semantic form. `detectron2_catalog` registers the folder;
detectron2 is not needed to write it.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Generator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
from scipy import ndimage

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.manifest import Benchmark, VideoEntry, load
from ovsbench.benchmark.panoptic import dense, ids_to_rgb
from ovsbench.benchmark.processes import process_pool
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.storage import files, rle
from ovsbench.benchmark.storage.store import FrameFolder
from ovsbench.benchmark.storage.track_store import TrackFolder
from ovsbench.data_prep.detectron2_set import DATASET, VOID_CLASS, ExportedSet, Form


def export(benchmark: Benchmark, out: Path, *, jobs: int = 1, progress: Progress = SILENT) -> ExportedSet:
    """Writes a labelled benchmark or training set; a stopped export goes on, a finished one is not made again.

    Args:
        benchmark: an opened folder with labels.
        out: new, or of an export of the same folder.
        jobs: processes; the bytes do not depend on it.
        progress: told of frames and videos.

    Raises:
        DataError: it has no labels, a label uses a class that training must not see, or `out` holds something else.
    """
    made = _plan(benchmark, out)
    facts = made.to_json()
    begun = out / ".exporting.json"
    with files.writing(out):
        if out.exists() and any(out.iterdir()) and not (begun.exists() or (out / DATASET).exists()):
            raise DataError(
                f"{out}: expected a new folder, or one of an earlier export, found other files. Choose another"
            )
        (out / "records").mkdir(parents=True, exist_ok=True)
    for note in (begun, out / DATASET):
        if note.exists() and files.read_json(note, "the description of an export") != facts:
            raise DataError(f"{out}: it holds the export of another folder or state of it. Remove it or choose another")
    if (out / DATASET).exists():
        return made
    files.write_json(begun, facts)
    todo = [entry for entry in benchmark.entries if not made.records(entry.id).exists()]
    progress.start(len(todo), sum(len(entry.frames) for entry in todo), f"writing {out.name}")
    try:
        with contextlib.closing(_written(benchmark, out, todo, jobs)) as written:
            for frames in written:
                progress.frame(frames)
                progress.video()
    finally:
        progress.stop()
    files.write_json(out / DATASET, facts)
    begun.unlink(missing_ok=True)
    return made


def _plan(benchmark: Benchmark, out: Path) -> ExportedSet:
    if benchmark.role == "unlabelled":
        raise DataError(f"{benchmark.name} has no labels, so there is nothing to train on. Choose a labelled one")
    offered = benchmark.vocabulary.offered("base") if benchmark.role == "train" else benchmark.vocabulary
    classes = sorted(offered, key=lambda category: not category.is_thing)
    forms: list[Form] = ["instance"] if any(c.is_thing for c in classes) else []
    if benchmark.rules.task != "instance":
        forms += ["panoptic"]
        forms += ["semantic"] if len(classes) < VOID_CLASS else []
    root = (out / "images" if benchmark.resize_images else benchmark.folder / benchmark.image_root).resolve()
    videos = tuple(entry.id for entry in benchmark.entries)
    return ExportedSet(out, benchmark.name, benchmark.digest, root, tuple(classes), videos, tuple(forms))


def _written(benchmark: Benchmark, out: Path, todo: Sequence[VideoEntry], jobs: int) -> Generator[int, None, None]:
    """Writes videos and yields how many frames each has."""
    if jobs == 1 or len(todo) < 2:
        for entry in todo:
            yield _write_video(benchmark, out, entry)
        return
    with process_pool(min(jobs, len(todo))) as pool:
        waiting = deque(pool.submit(_write_elsewhere, benchmark.folder, out, entry.id) for entry in todo)
        while waiting:
            yield waiting.popleft().result()


def _write_elsewhere(folder: Path, out: Path, video: str) -> int:
    benchmark = load(folder)
    return _write_video(benchmark, out, benchmark.entry(video))


def _write_video(benchmark: Benchmark, out: Path, entry: VideoEntry) -> int:
    """Writes the masks of a video, then its records; returns the number of frames."""
    made = _plan(benchmark, out)
    number_of = {category.id: number for number, category in enumerate(made.classes)}
    labels, video = benchmark.labels(entry.id), benchmark.video(entry.id)
    numbers: dict[int, int] = {}  # track to id: ids of labels may be too large for a colour
    lines = []
    for index, image in enumerate(entry.frames):
        if isinstance(labels, TrackFolder):
            segments = _of_tracks(labels, index)
        else:
            segments = _of_frame(labels, index, out, entry.id, number_of, numbers, "semantic" in made.forms)
        strange = next((row["category"] for row in segments if row["category"] not in number_of), None)
        if strange is not None:
            name = benchmark.vocabulary.by_id[strange].name
            raise DataError(
                f"video {entry.id}, frame {index}: its labels show {name!r}, which training must not see. "
                "Build the training set with --variant ignore or delete"
            )
        if benchmark.resize_images:  # detectron2 refuses images of another size than the labels
            image = f"{entry.id}/{index:05d}.jpg"
            _save(video.image(index), made.image_root / image)
        about = {"image": image, "height": entry.size[0], "width": entry.size[1], "segments": segments}
        lines.append(files.json_line(about))
    files.write_bytes(made.records(entry.id), "".join(lines).encode())
    return len(entry.frames)


def _of_tracks(labels: TrackFolder, index: int) -> list[dict[str, Any]]:
    rows = []
    for track in labels.tracks:
        text = track.masks[index]
        if text is not None:
            mask = rle.decode(text, labels.size)
            if mask.any():
                rows.append(_row(track.id, track.category, track.is_crowd, mask, (0, 0), text))
    return rows


def _of_frame(
    labels: FrameFolder,
    index: int,
    out: Path,
    video: str,
    number_of: dict[int, int],
    numbers: dict[int, int],
    with_semantic: bool,
) -> list[dict[str, Any]]:
    """The rows of a frame; its masks are written."""
    frame = labels.frame(index)
    places, segments = dense(frame)
    own = np.array([0, *(numbers.setdefault(s.id, len(numbers) + 1) for s in segments)], dtype=np.uint32)
    texts = rle.encode_ids(frame.ids)
    _save(ids_to_rgb(own[places]), out / "panoptic" / video / f"{index:05d}.png")
    if with_semantic:
        table = np.array([VOID_CLASS, *(number_of.get(s.category, VOID_CLASS) for s in segments)], dtype=np.uint8)
        _save(table[places], out / "semantic" / video / f"{index:05d}.png")
    rows = []
    for number, (segment, window) in enumerate(zip(segments, ndimage.find_objects(places), strict=True), 1):
        corner = (window[0].start, window[1].start)
        mask = places[window] == number
        rows.append(_row(int(own[number]), segment.category, segment.is_crowd, mask, corner, texts[segment.id]))
    return rows


def _row(
    key: int, category: int, is_crowd: bool, mask: npt.NDArray[np.bool_], corner: tuple[int, int], text: str
) -> dict[str, Any]:
    """A segment; its mask may be a window whose upper left pixel is `corner`, (row, column)."""
    down, right = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return {
        "id": key,
        "category": category,
        "crowd": int(is_crowd),
        "area": int(np.count_nonzero(mask)),
        "box": [
            corner[1] + int(right[0]), corner[0] + int(down[0]), int(np.ptp(right)) + 1, int(np.ptp(down)) + 1,
        ],
        "rle": text,
    }  # fmt: skip


def _save(pixels: npt.NDArray[np.uint8], path: Path) -> None:
    buffer = BytesIO()
    if path.suffix == ".jpg":
        PIL.Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    else:
        PIL.Image.fromarray(pixels).save(buffer, "PNG", compress_level=3)
    files.write_bytes(path, buffer.getvalue())
