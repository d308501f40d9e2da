"""Counts predictions of a bundle again, against the labels of the benchmark."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.manifest import Benchmark, VideoEntry
from ovsbench.benchmark.progress import Progress
from ovsbench.benchmark.running.counting import PREDICTIONS, count_video
from ovsbench.benchmark.storage import files
from ovsbench.leaderboard.bundle import archive
from ovsbench.leaderboard.bundle.differences import differences, shown

MOST_HEAD = 1 << 16
"""Bytes of a mask beyond twice its pixels: headers."""


def check_complete(opened: archive.Archive, predicted: list[str], benchmark: Benchmark) -> None:
    """Looks at the names and sizes of predictions before one of them is read.

    Args:
        opened: the bundle.
        predicted: the members that are predictions.
        benchmark: that was run on.

    Raises:
        DataError: they are inside for some videos only, or a file is none of its video or too large for its frames.
    """
    path = opened.path
    videos = {name.split("/")[1] for name in predicted}
    wanted = set(benchmark.by_id)
    if videos and videos != wanted:
        odd = sorted(videos ^ wanted)
        raise DataError(
            f"{path}: expected predictions of all {len(wanted)} videos or of none; in one only: {odd[0][:60]!r}. "
            "Pack the bundle anew"
        )
    for name in predicted:
        _, video, file = name.split("/")
        entry = benchmark.by_id[video]
        stem, _, kind = file.partition(".")
        pixels = entry.size[0] * entry.size[1]
        if kind == "png" and (int(stem) >= len(entry.frames) or opened.members[name] > 8 * pixels + MOST_HEAD):
            raise DataError(
                f"{path}, {name!a}: its video has {len(entry.frames)} frames of {pixels} pixels, so this is no "
                "mask of it. Pack the bundle anew"
            )


def check_predictions(
    opened: archive.Archive, data: Benchmark, counts: bytes, metrics: Mapping[str, int], progress: Progress
) -> None:
    """Counts the predictions of every video and compares.

    Args:
        opened: the bundle; `check_complete` has looked at it.
        data: the benchmark with its labels.
        counts: the bytes of the counts in the bundle.
        metrics: name and version of each metric in them; one that is not installed here is not counted.
        progress: told of videos.

    Raises:
        DataError: predictions cannot be counted, or give other counts.
    """
    given = {line["video"]: line for line in map(json.loads, counts.splitlines())}
    by_video: dict[str, list[str]] = {}
    for name in opened.members:
        if name.startswith(f"{PREDICTIONS}/"):
            by_video.setdefault(name.split("/")[1], []).append(name)
    progress.start(len(data.entries), sum(len(e.frames) for e in data.entries), f"counting {opened.path.name} again")
    try:
        for entry in data.entries:
            _count_again(opened, data, entry, by_video[entry.id], given[entry.id], metrics)
            progress.frame(len(entry.frames))
            progress.video()
    finally:
        progress.stop()


def _count_again(
    opened: archive.Archive,
    data: Benchmark,
    entry: VideoEntry,
    names: list[str],
    given: dict[str, Any],
    metrics: Mapping[str, int],
) -> None:
    where = f"{opened.path}, video {entry.id}"
    with tempfile.TemporaryDirectory(prefix="ovsbench-check-") as temporary:
        folder = Path(temporary) / PREDICTIONS / entry.id
        folder.mkdir(parents=True)
        for name in names:  # allowed by `bundle.limit`: the last part is one of a few plain names
            (folder / name.rpartition("/")[2]).write_bytes(opened.read(name))
        try:
            counted = count_video(data, Path(temporary), entry.id, versions=metrics, decode_all=True)
        except (DataError, MemoryError) as error:
            reason = str(error).replace(f"{temporary}/", "")
            raise DataError(f"{where}: its predictions cannot be counted: {reason}") from error
    true = json.loads(files.json_line(counted.to_json())) if counted else given
    given = {**given, "counts": {name: value for name, value in given["counts"].items() if name in true["counts"]}}
    for name, one, other in differences(given, true):
        raise DataError(f"{where}: {name} is {shown(one)}, the predictions give {shown(other)}. Score the run again")
