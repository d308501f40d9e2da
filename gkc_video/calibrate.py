"""Chooses the base logit penalty of a checkpoint on base classes that its training held out, without novel ones.

Neither the name of a novel class is offered, nor its label read: its pixels are void. A penalty only moves the
choice between classes, so the network runs once on each frame and every value chooses among the same regions.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import softmax

from ovsbench.benchmark.errors import DataError, MethodError
from ovsbench.benchmark.manifest import Benchmark, VideoEntry
from ovsbench.benchmark.metrics import harmonic
from ovsbench.benchmark.metrics.miou import Miou, MiouCounts
from ovsbench.benchmark.panoptic import DenseFrame, dense, overlap_dense, void_categories
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.storage import files
from ovsbench.benchmark.types import PanopticFrame, Vocabulary
from ovsbench.gkc_video.method import GKCMethod
from ovsbench.gkc_video.model import class_maps, post_process
from ovsbench.gkc_video.proposals import paint
from ovsbench.gkc_video.text import NameTable
from ovsbench.gkc_video.tracking import Linker

COUNTS = "calibration.jsonl"
"""In the output folder: one line for each video and value, so that a stopped calibration goes on."""
_LEAST = np.finfo(np.float32).tiny


@dataclass(frozen=True)
class Classes:
    """The base classes of a benchmark, as a training met them.

    Attributes:
        offered: all of them.
        seen, held_out: ids; a class that the training's data did not have is in neither.
    """

    offered: Vocabulary
    seen: frozenset[int]
    held_out: frozenset[int]

    @staticmethod
    def of(method: GKCMethod, benchmark: Benchmark) -> Classes:
        """Sorts the base classes by what the method's checkpoint says of its training.

        Raises:
            MethodError: the training held out nothing.
            DataError: the benchmark has no frames with labels, or no class that was seen, or none that was held out.
        """
        if not method.held_out:
            raise MethodError(
                "expected a checkpoint whose training held out base classes, got one that held out none. Train "
                "one with hold_out = 5 in [training], calibrate it, and give the value to the training on all of them"
            )
        if benchmark.role == "unlabelled" or benchmark.rules.task == "instance":
            raise DataError(
                f"benchmark {benchmark.name}: expected frames with labels of a semantic or panoptic task, got "
                f"{'none' if benchmark.role == 'unlabelled' else 'tracks'}. Calibrate on another folder"
            )
        offered = benchmark.vocabulary.offered("base")
        seen = frozenset(c.id for c in offered if c.name in method.seen)
        held_out = frozenset(c.id for c in offered if c.name in method.held_out)
        for what, ids, names in (("seen", seen, method.seen), ("held out", held_out, method.held_out)):
            if not ids:
                raise DataError(
                    f"benchmark {benchmark.name}: expected base classes that the training had {what}, such as "
                    f"{sorted(names)[0]!r}, found none. Calibrate on data with the classes of the training"
                )
        return Classes(offered, seen, held_out)


@dataclass(frozen=True)
class Row:
    """What a value brings: mIoU, fractions in [0, 1].

    Attributes:
        value: taken from the logits of seen classes.
        seen, held_out: over the classes that the training saw, and over those that it held out.
        harmonic: of the two.
    """

    value: float
    seen: float
    held_out: float
    harmonic: float


def best(rows: Sequence[Row]) -> Row:
    """The row with the highest harmonic mean; of equal ones that which changes least.

    >>> best([Row(0.0, 0.5, 0.0, 0.0), Row(1.0, 0.4, 0.4, 0.4), Row(2.0, 0.4, 0.4, 0.4)]).value
    1.0
    """
    return max(rows, key=lambda row: (row.harmonic, -abs(row.value)))


def calibrate(
    method: GKCMethod,
    benchmark: Benchmark,
    values: Iterable[float],
    out: Path,
    *,
    limit: int | None = None,
    progress: Progress = SILENT,
) -> list[Row]:
    """Scores of every value, in rising order; what an earlier, stopped call counted is kept.

    Args:
        method: of a checkpoint with held-out classes; its own penalty is not used.
        benchmark: with labels.
        values: to try.
        out: folder for the counts, made if missing.
        limit: only the first so many videos.
        progress: notified of frames and videos.

    Raises:
        MethodError, DataError: see `Classes.of`; or the frames show no pixel of seen, or of held-out classes, or the
            folder holds something else.
    """
    classes, tried = Classes.of(method, benchmark), sorted(set(values))
    entries = benchmark.entries[:limit]
    _refuse_other_folders(out)
    with files.folder_lock(out):
        key = _key(method, benchmark, classes)
        known = _known(out / COUNTS, key)
        progress.start(len(entries), sum(len(e.frames) for e in entries), f"calibrating on {benchmark.name}")
        try:
            for entry in entries:
                new = [value for value in tried if (entry.id, value) not in known]
                for value, counts in _count(method, benchmark, classes, new, entry).items() if new else ():
                    known[entry.id, value] = counts
                    line = {"schema": files.SCHEMA, "key": key, "video": entry.id, "value": value}
                    files.append_line(out / COUNTS, {**line, "counts": counts.to_json()})
                progress.frame(len(entry.frames))
                progress.video()
        finally:
            progress.stop()
    sums = {value: sum((known[e.id, value] for e in entries), MiouCounts()) for value in tried}
    return [_row(value, counts, classes, benchmark) for value, counts in sums.items()]


def _row(value: float, counts: MiouCounts, classes: Classes, benchmark: Benchmark) -> Row:
    seen, held_out = counts.scores(classes.seen)["mIoU"], counts.scores(classes.held_out)["mIoU"]
    mean = harmonic(seen, held_out)
    if seen is None or held_out is None or mean is None:
        raise DataError(
            f"benchmark {benchmark.name}: expected pixels of seen and of held-out classes in its frames, found none of "
            f"{'held-out' if held_out is None else 'seen'} ones. Take more videos (--limit) or other data"
        )
    return Row(value, seen, held_out, mean)


def _count(
    method: GKCMethod, benchmark: Benchmark, classes: Classes, values: Sequence[float], entry: VideoEntry
) -> dict[float, MiouCounts]:
    """The pixels of one video for each value."""
    labels, novel = benchmark.truth_frames(entry.id), benchmark.vocabulary.novel

    @functools.lru_cache(maxsize=1)
    def truth(index: int) -> DenseFrame:
        return dense(void_categories(labels.frame(index), novel))

    counters = {value: Miou().start(classes.offered, benchmark.rules) for value in values}
    done = dict.fromkeys(values, 0)
    named = _semantic if benchmark.rules.task == "semantic" else _panoptic
    for value, frame in named(method, benchmark, classes, values, entry):
        true, predicted = truth(done[value]), dense(frame)
        counters[value].add(true, predicted, overlap_dense(true, predicted))
        done[value] += 1
    return {value: counter.counts() for value, counter in counters.items()}


def _panoptic(
    method: GKCMethod, benchmark: Benchmark, classes: Classes, values: Sequence[float], entry: VideoEntry
) -> Iterator[tuple[float, PanopticFrame]]:
    linkers = {value: Linker(classes.offered, method.association, method.delay, entry.fps) for value in values}
    table, penalty = _without_penalty(method, classes)
    of_seen: npt.NDArray[np.float32] = penalty.cpu().numpy()
    for batch in method.computed(
        lambda frames: post_process(method.network.run(frames, table), method.post_processing),
        benchmark.video(entry.id).images(),
    ):
        for proposals in batch:
            for value, linker in linkers.items():
                for frame in linker.add(proposals, penalised(proposals.probabilities, np.float32(value) * of_seen)):
                    yield value, frame
    for value, linker in linkers.items():
        for frame in linker.rest():
            yield value, frame


def _semantic(
    method: GKCMethod, benchmark: Benchmark, classes: Classes, values: Sequence[float], entry: VideoEntry
) -> Iterator[tuple[float, PanopticFrame]]:
    table, penalty = _without_penalty(method, classes)

    def maps(frames: torch.Tensor) -> list[tuple[float, npt.NDArray[Any]]]:
        outputs = method.network.run(frames, table)
        return [(value, each) for value in values for each in class_maps(outputs, value * penalty)]

    for batch in method.computed(maps, benchmark.video(entry.id).images()):
        for value, class_map in batch:
            yield value, paint(class_map, classes.offered)


def _without_penalty(method: GKCMethod, classes: Classes) -> tuple[NameTable, torch.Tensor]:
    """The names without the method's own penalty; and (C,), 1 for each class that was seen."""
    table = replace(method.name_table(classes.offered), penalty=None)
    return table, torch.tensor([float(c.id in classes.seen) for c in classes.offered], device=table.vectors.device)


def penalised(probabilities: npt.NDArray[np.float32], penalty: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Class probabilities (N, C) as they are if a penalty (C,) is taken from the logits, see `inference.penalised`."""
    logits = np.log(np.maximum(probabilities, _LEAST)) - penalty
    return np.asarray(softmax(logits, axis=-1), np.float32)


def _key(method: GKCMethod, benchmark: Benchmark, classes: Classes) -> str:
    """Digest of all that decides the counts beside the value."""
    settings = [
        method.network.side,
        method.network.precision,
        method.post_processing,
        method.association,
        method.delay,
        method.synonyms,
    ]
    facts = [method.checkpoint_sha256, *map(repr, settings), dict(method.notes), benchmark.digest, Miou().version]
    return files.json_digest([*facts, classes.offered.digest, sorted(classes.seen)])


def _known(path: Path, key: str) -> dict[tuple[str, float], MiouCounts]:
    """The counts by video and value that an earlier call left; those of other weights or data are passed over."""
    found: dict[tuple[str, float], MiouCounts] = {}
    for line in files.read_lines(path):
        try:
            if line["key"] == key:
                found[str(line["video"]), float(line["value"])] = Miou().counts_from_json(line["counts"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: a line is no counts of a video: {error!r}. Remove the file") from error
    return found


def _refuse_other_folders(out: Path) -> None:
    found = sorted(path.name for path in out.iterdir() if not path.name.startswith(".")) if out.is_dir() else []
    if found and COUNTS not in found:
        raise DataError(
            f"{out}: expected a new folder or one of a calibration, found no {COUNTS} but {', '.join(found[:3])}. "
            "Choose another output folder with -o"
        )
