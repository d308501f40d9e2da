"""Predictions of BURST (class-guided): the JSON of its labels, with a score and a category for each track.

    {"split": "val",
     "sequences": [{"id", "dataset", "seq_name", "width", "height", "annotated_image_paths",
                    "track_category_ids": {track: category},
                    "segmentations": [{track: {"rle", "score", "category_id"}}, ...]}],      one for each path
     "categories": [{"id", "name"}]}

Categories have the ids of LVIS as BURST's own list has them; where the file lists categories, its names decide. A video
is found by its data set and name, a frame by its file, so that predictions may have more frames than labels. The score
of a track is the mean over its frames, 1 where there is none; its category may stand in the frames. A mask without a
pixel is none, which the official script takes for a mask.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any, Unpack

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.formats.conversion import How, import_tracks
from ovsbench.benchmark.formats.faults import Faults
from ovsbench.benchmark.formats.foreign_json import read_raw
from ovsbench.benchmark.formats.ytvis_layout import is_empty, measured, read_track
from ovsbench.benchmark.manifest import Benchmark, VideoEntry
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.record import RunRecord
from ovsbench.benchmark.running.counting import predicted_tracks
from ovsbench.benchmark.storage.files import read_json, whole_folder, writing
from ovsbench.benchmark.storage.track_extents import Measured
from ovsbench.benchmark.storage.track_store import TrackWriter
from ovsbench.benchmark.types import InstanceTrack, Vocabulary

PREDICTIONS = "predictions.json"


@cache
def lvis_ids() -> dict[str, int]:
    """The name of each class of BURST and its id there."""
    ids: dict[str, int] = read_json(Path(__file__).with_name("burst_lvis.json"), "the ids of BURST's classes")["ids"]
    return ids


def _plain(name: str) -> str:
    return name.casefold().replace("_", " ").replace("-", " ")


def import_burst(benchmark: Benchmark, predictions: str | Path, run: str | Path, **how: Unpack[How]) -> RunRecord:
    """Makes a run of predictions of BURST; a video without a prediction has no track.

    Args:
        benchmark: what was predicted.
        predictions: the JSON file, or a folder with `predictions.json`.
        run: the run folder to make.
        how: see `How`.

    Raises:
        DataError: anything is wrong with the file, all of it told at once.
    """
    path = Path(predictions)
    path = path / PREDICTIONS if path.is_dir() else path
    _refuse_others(benchmark, str(path))
    content = read_raw(path)
    if not isinstance(content, dict) or not isinstance(content.get("sequences"), list):
        raise DataError(f"{path}: expected an object with a list `sequences`. See BURST's annotation format")
    faults = Faults()
    joined = _joined(content, benchmark.vocabulary, path)
    places = {_place(entry): entry for entry in benchmark.entries}
    tracks: dict[str, list[Measured]] = {entry.id: [] for entry in benchmark.entries}
    seen = set()
    for number, row in enumerate(content["sequences"], 1):
        with faults.collecting():
            where = f"{path}, sequence {number}"
            place = f"{row.get('dataset')}/{row.get('seq_name')}" if isinstance(row, dict) else ""
            if place not in places:
                raise DataError(f"{where}: expected dataset and seq_name of a video of {benchmark.name}, got {place!r}")
            if place in seen:
                raise DataError(f"{where}: {place} came before")
            seen.add(place)
            tracks[places[place].id] = _read_sequence(row, places[place], joined, benchmark.vocabulary, where, faults)

    def put(writer: TrackWriter, entry: VideoEntry) -> None:
        for track in tracks[entry.id]:
            writer.add(*track)

    return import_tracks(
        benchmark,
        Path(run),
        put,
        faults,
        what=f"{path} (BURST layout)",
        digest=sha256(path.read_bytes()).hexdigest(),
        notes={"layout": "burst"},
        **how,
    )


def _refuse_others(benchmark: Benchmark, what: str) -> None:
    if benchmark.rules.labelled != "in part" or not all("/" in _place(entry) for entry in benchmark.entries):
        raise DataError(
            f"{what}: expected a benchmark of BURST, {benchmark.name} is none. Build one with: data build burst"
        )


def _place(entry: VideoEntry) -> str:
    """Data set and name of a video, the folder of its images."""
    return str(PurePosixPath(entry.frames[0]).parent)


def _joined(content: Mapping[str, Any], vocabulary: Vocabulary, path: Path) -> dict[int, int]:
    """The file's ids of categories and those of the benchmark."""
    numbers = {_plain(category.name): category.id for category in vocabulary}
    listed = content.get("categories")
    if listed is None:
        return {own: numbers[_plain(name)] for name, own in lvis_ids().items() if _plain(name) in numbers}
    if "person" in numbers:
        numbers.setdefault("baby", numbers["person"])  # as LVIS calls it
    try:
        names = {int(row["id"]): _plain(str(row["name"])) for row in listed}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: expected categories with id and name, got an error at {error!r}. Write them"
        ) from error
    return {own: numbers[name] for own, name in names.items() if name in numbers}


def _read_sequence(
    row: dict[str, Any],
    entry: VideoEntry,
    joined: Mapping[int, int],
    vocabulary: Vocabulary,
    where: str,
    faults: Faults,
) -> list[Measured]:
    """The tracks of a video, in the order of `track_category_ids`; what is wrong with one is noted.

    Raises:
        DataError: the sequence has another form.
    """
    paths, frames = row.get("annotated_image_paths"), row.get("segmentations")
    categories = row.get("track_category_ids", {})
    if not isinstance(paths, list) or not isinstance(frames, list) or len(paths) != len(frames):
        raise DataError(
            f"{where}: expected segmentations for each of annotated_image_paths, got lists of other lengths"
        )
    if not isinstance(categories, dict) or not all(isinstance(frame, dict) for frame in frames):
        raise DataError(f"{where}: expected track_category_ids and segmentations by track, got something else")
    number_of = {PurePosixPath(name).stem: number for number, name in enumerate(entry.frames)}
    masks: dict[str, list[Any]] = {}
    scores: dict[str, list[Any]] = {}
    own = dict(categories)
    size = list(entry.size)
    for name, frame in zip(paths, frames, strict=True):
        number = number_of.get(PurePosixPath(str(name)).stem)
        if number is None:
            continue  # a frame without labels
        for key, mask in frame.items():
            if not isinstance(mask, dict) or not isinstance(mask.get("rle"), str):
                raise DataError(f"{where}, frame {name}, track {key}: expected a mask with run lengths as rle")
            masks.setdefault(key, [None] * len(entry.frames))[number] = {"size": size, "counts": mask["rle"]}
            scores.setdefault(key, []).append(mask.get("score", 1.0))
            own[key] = mask.get("category_id", own.get(key))
    tracks: list[Measured] = []
    for key in [*(key for key in categories if key in masks), *(key for key in masks if key not in categories)]:
        with faults.collecting():
            at = f"{where} ({_place(entry)}), track {key}"
            if own[key] not in joined:
                raise DataError(f"{at}: expected the id of a class of BURST as its category, got {own[key]!r}")
            if not all(type(score) in (int, float) and 0 <= score <= 1 for score in scores[key]):
                raise DataError(f"{at}: expected scores from 0 to 1, got {scores[key][:3]}")
            made = {
                "category_id": joined[own[key]],
                "segmentations": masks[key],
                "score": sum(scores[key]) / len(scores[key]),
            }
            track = read_track(made, len(tracks) + 1, entry, vocabulary, at, is_label=False)
            shown = tuple(None if mask is None or is_empty(mask) else mask for mask in track.masks)
            tracks.append(measured(InstanceTrack(track.id, track.category, shown, track.score), entry, at))
    return tracks


def export_burst(benchmark: Benchmark, run: str | Path, out: str | Path, *, progress: Progress = SILENT) -> None:
    """Writes a run's predictions as `predictions.json`, as BURST's script reads them; track ids differ between videos.

    Raises:
        DataError: the benchmark is none of BURST, predictions are missing or damaged, or the disk is full.
    """
    _refuse_others(benchmark, str(out))
    ids = {_plain(name): own for name, own in lvis_ids().items()}
    lacks = next((c.name for c in benchmark.vocabulary if _plain(c.name) not in ids), None)
    if lacks is not None:
        raise DataError(f"{benchmark.name}: {lacks!r} is no class of BURST. Export in another layout")
    sequences, last = [], 0
    progress.start(len(benchmark.entries), sum(len(e.frames) for e in benchmark.entries), "exporting")
    try:
        for entry in benchmark.entries:
            tracks = predicted_tracks(benchmark, Path(run), entry.id).tracks
            sequences.append(_sequence(entry, tracks, last, benchmark.vocabulary, ids))
            last += len(tracks)
            progress.frame(len(entry.frames))
            progress.video()
    finally:
        progress.stop()
    categories = [{"id": ids[_plain(c.name)], "name": c.name} for c in benchmark.vocabulary]
    with whole_folder(Path(out)) as partial, writing(Path(out)):
        (partial / PREDICTIONS).write_text(json.dumps({"sequences": sequences, "categories": categories}))


def _sequence(
    entry: VideoEntry,
    tracks: tuple[InstanceTrack, ...],
    last: int,
    vocabulary: Vocabulary,
    ids: Mapping[str, int],
) -> dict[str, Any]:
    dataset, _, name = _place(entry).partition("/")
    numbered = {str(last + number): track for number, track in enumerate(tracks, 1)}
    return {
        "id": int(entry.id) if entry.id.isdecimal() else entry.id,
        "dataset": dataset,
        "seq_name": name,
        "height": entry.size[0],
        "width": entry.size[1],
        "annotated_image_paths": [PurePosixPath(frame).name for frame in entry.frames],
        "track_category_ids": {key: ids[_plain(vocabulary.by_id[t.category].name)] for key, t in numbered.items()},
        "segmentations": [
            {
                key: {"rle": track.masks[frame], "score": track.score}
                for key, track in numbered.items()
                if track.masks[frame] is not None
            }
            for frame in range(len(entry.frames))
        ],
    }
