"""Submissions: bundles of predictions without scores, for benchmarks whose labels only a host has.

run.json, benchmark.json, card.toml   as in every bundle, see `ovsbench.leaderboard.bundle.pack`
predictions/                          the masks of every video; the host makes counts and scores of them

A bundle that also holds counts and scores is taken too: the host makes its own.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ovsbench.benchmark.errors import DataError, UserError
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.record import RECORD, RunRecord
from ovsbench.benchmark.running.counting import PREDICTIONS, predictions
from ovsbench.benchmark.storage import files
from ovsbench.benchmark.storage.store import FrameFolder
from ovsbench.leaderboard.bundle import archive, pack
from ovsbench.leaderboard.bundle.card import CARD, Card, read_card
from ovsbench.leaderboard.bundle.check import read_parts
from ovsbench.leaderboard.bundle.recount import check_complete

PARTS = (RECORD, pack.BENCHMARK, CARD)


@dataclass(frozen=True)
class Submission:
    """What a submission says of itself.

    Attributes:
        record, card, benchmark: the parts; labels are not among them.
        contents: the bytes of the parts by name.
    """

    record: RunRecord
    card: Card
    benchmark: Benchmark
    contents: dict[str, bytes]


def pack_submission(run: Path, card: Path, benchmark: Benchmark, out: Path) -> None:
    """Writes the predictions of a run, scored or not, as a submission; the same run gives the same bytes.

    Args:
        run: the run folder, finished.
        card: its card.
        benchmark: that was run on; its labels are not read.
        out: the zip file; replaced if it is there.

    Raises:
        UserError: something is missing, incomplete or of another benchmark.
    """
    record = RunRecord.read(run)
    if record.benchmark_digest != benchmark.digest:
        raise UserError(f"{run} was made on another {record.benchmark} than {benchmark.folder}. Name it with --data")
    if not card.is_file():
        raise UserError(f"{card}: expected the card of the run, found no file. Run: ovsbench submit {run} --init")
    missing = [e.id for e in benchmark.entries if not (run / PREDICTIONS / e.id / "video.json").is_file()]
    if missing:
        raise UserError(
            f"{run}: {len(missing)} of {len(benchmark.entries)} videos have no predictions, such as {missing[0]}. "
            "Finish the run with the same command"
        )
    content = card.read_bytes()
    read_card(content, str(card))
    archive.write(out, _members(run, content, record, benchmark))


def _members(run: Path, card: bytes, record: RunRecord, benchmark: Benchmark) -> Iterator[tuple[str, bytes]]:
    yield RECORD, pack.json_bytes(pack.public(record).to_json())
    yield pack.BENCHMARK, pack.json_bytes(benchmark.definition)
    yield CARD, card
    for entry in benchmark.entries:
        for path in sorted((run / PREDICTIONS / entry.id).iterdir()):
            yield f"{PREDICTIONS}/{entry.id}/{path.name}", path.read_bytes()


def check_submission(path: Path, *, digest: str = "", progress: Progress = SILENT) -> Submission:
    """Checks a submission as the host will, but for what needs labels: every mask is read.

    Args:
        path: the zip file.
        digest: of the benchmark that it has to be about; any if empty.
        progress: told of videos.

    Raises:
        DataError: something is missing, damaged, or about another benchmark.
    """
    with tempfile.TemporaryDirectory(prefix="ovsbench-submission-") as folder:
        return unpack(path, Path(folder), digest=digest, keep=False, progress=progress)


def unpack(path: Path, run: Path, *, digest: str = "", keep: bool = True, progress: Progress = SILENT) -> Submission:
    """Checks a submission and makes a run folder of it; see `check_submission`.

    Args:
        path: the zip file.
        run: an empty folder.
        digest: of the benchmark that it has to be about; any if empty.
        keep: whether the predictions are to stay; else each video goes once it was looked at.
        progress: told of videos.
    """
    with archive.opened(path, pack.limit) as opened:
        missing = [name for name in PARTS if name not in opened.members]
        if missing:
            raise DataError(f"{path}: {missing[0]} is missing. Pack it with ovsbench submit RUN --to URL")
        contents = {name: opened.read(name) for name in PARTS}
        record, benchmark, card = read_parts(contents, str(path))
        if digest and benchmark.digest != digest:
            raise DataError(
                f"{path}: it is about {benchmark.name} (digest {benchmark.digest[:12]}), expected the benchmark with "
                f"digest {digest[:12]}. Run the method on the one that is meant"
            )
        predicted = [name for name in opened.members if name.startswith(f"{PREDICTIONS}/")]
        check_complete(opened, predicted, benchmark)
        if not predicted:
            raise DataError(f"{path}: it holds no predictions. Pack it with ovsbench submit RUN --to URL")
        files.write_bytes(run / RECORD, contents[RECORD])
        _unpack_videos(opened, predicted, benchmark, run, keep, progress)
    return Submission(record, card, benchmark, contents)


def _unpack_videos(
    opened: archive.Archive, names: list[str], benchmark: Benchmark, run: Path, keep: bool, progress: Progress
) -> None:
    by_video: dict[str, list[str]] = {}
    for name in names:
        by_video.setdefault(name.split("/")[1], []).append(name)
    progress.start(len(by_video), sum(len(e.frames) for e in benchmark.entries), f"checking {opened.path.name}")
    with contextlib.ExitStack() as stack:
        stack.callback(progress.stop)
        for entry in benchmark.entries:
            folder = run / PREDICTIONS / entry.id
            with files.writing(folder):
                folder.mkdir(parents=True)
                for name in by_video[entry.id]:  # allowed by `pack.limit`: the last part is one of a few plain names
                    (folder / name.rpartition("/")[2]).write_bytes(opened.read(name))
            _read_masks(opened.path, benchmark, run, entry.id)
            if not keep:
                for path in folder.iterdir():
                    path.unlink()
            progress.frame(len(entry.frames))
            progress.video()


def _read_masks(path: Path, benchmark: Benchmark, run: Path, video: str) -> None:
    """Reads every mask of a video once; what is wrong is told by the names of the archive."""
    known = set(benchmark.vocabulary.ids)
    try:
        masks = predictions(benchmark, run, video)
        masks.verify()
        if isinstance(masks, FrameFolder):
            used = {s.category for i in range(len(masks)) for s in masks.dense(i).segments}
        else:
            used = {track.category for track in masks.decoded().tracks}
    except (DataError, MemoryError) as error:
        raise DataError(f"{path}, video {video}: {str(error).replace(f'{run}/', '')}") from error
    if used - known:
        raise DataError(
            f"{path}, video {video}: it names category {min(used - known)}, which {benchmark.name} does not have. "
            "Use the ids of the benchmark's categories"
        )
