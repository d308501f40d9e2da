from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from ovsbench.benchmark import engine, methods
from ovsbench.benchmark.errors import BusyError, DataError, MethodError, StoppedError, UserError
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.metrics import is_fraction, metrics_for
from ovsbench.benchmark.record import RunRecord, Settings
from ovsbench.benchmark.running import counting, scores, scoring
from ovsbench.benchmark.storage import files
from ovsbench.benchmark.storage.store import VideoWriter
from ovsbench.benchmark.types import PanopticFrame, Rules, Segment, Video, Vocabulary

METHOD = '''
import os, random, signal
import numpy as np
from ovsbench.benchmark.types import PanopticFrame, Segment

class Thirds:
    """Three tracks by the colour of the pixel, with a pinch of noise; ends its own process where KILL_AT says."""

    notes = {"trained_on": "nothing"}

    def predict(self, video, vocabulary, rules):
        classes = [c.id for c in vocabulary]
        for index in range(len(video)):
            if os.environ.get("KILL_AT") == f"{video.id}/{index}":
                os.kill(os.getpid(), signal.SIGKILL)
            red = video.image(index)[..., 0]
            ids = np.where(red > 0, red % 3 + 1, 0).astype(np.uint32)
            ids[random.randrange(len(ids))] = 2
            present = [int(key) for key in np.unique(ids) if key]
            yield PanopticFrame(ids, {key: Segment(key, classes[key % len(classes)], 0.5) for key in present})

def build(*, checkpoint, device, strength: int = 1):
    return Thirds()
'''

SCRIPT = """
import os, signal, sys
from pathlib import Path
from ovsbench.benchmark import engine, manifest, methods
from ovsbench.benchmark.storage import files
from ovsbench.benchmark.metrics.vpq import VpqAccumulator
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.running.scores import Scores

def fatal(owner, name, time):
    plain, calls = getattr(owner, name), []
    def killing(*arguments, **named):
        calls.append(1)
        if len(calls) == time:
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(*arguments, **named)
    setattr(owner, name, killing)

if __name__ == "__main__":
    verb, data, run, method, point = sys.argv[1:]
    benchmark = manifest.load(data)
    if verb == "predict":
        engine.predict(methods.create(method), benchmark, Path(run), settings=Settings(method))
    else:
        {"frame": lambda: fatal(VpqAccumulator, "add", 9),
         "line": lambda: fatal(files, "append_line", 2),
         "counts": lambda: fatal(files, "write_bytes", 1),
         "parallel": lambda: fatal(files, "append_line", 2),
         "scores": lambda: fatal(Scores, "write", 1)}[point]()
        engine.score(benchmark, Path(run), jobs=2 if point == "parallel" else 1)
"""


@pytest.fixture
def method(tmp_path) -> str:
    path = tmp_path / "thirds.py"
    path.write_text(METHOD)
    return f"{path}:build"


def run_method(method: str, benchmark: Benchmark, run: Path, **arguments) -> RunRecord:
    settings = arguments.pop("settings", Settings(method))
    return engine.predict(methods.create(method), benchmark, run, settings=settings, **arguments)


def in_a_process(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-c", SCRIPT, *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def results(run: Path) -> dict[str, bytes]:
    """All that must be the same however often a run was stopped."""
    kept = [run / "counts.jsonl", run / "scores.json", *(run / "predictions").rglob("*")]
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in kept if path.is_file()}


def hidden(run: Path) -> list[str]:
    return [p.name for p in run.rglob(".*") if not p.name.startswith(".lock")]


@pytest.fixture
def undisturbed(build_benchmark, method, tmp_path) -> tuple[Benchmark, dict[str, bytes]]:
    benchmark = build_benchmark()
    run_method(method, benchmark, tmp_path / "whole")
    engine.score(benchmark, tmp_path / "whole")
    return benchmark, results(tmp_path / "whole")


def test_a_run_that_is_gone_on_with_by_other_code_says_so(build_benchmark, tmp_path, monkeypatch):
    benchmark, run = build_benchmark(), tmp_path / "run"

    def go_on(commit: str, is_dirty: bool = False, limit: int | None = None):
        monkeypatch.setattr("ovsbench.benchmark.machine.code_state", lambda: (commit, is_dirty))
        engine.predict(
            engine.OracleMethod(), benchmark, run, settings=Settings("oracle"), fresh=limit == 1, limit=limit
        )
        return RunRecord.read(run)

    assert go_on("one", limit=1).earlier_commits == ()
    assert go_on("one").earlier_commits == ()
    assert go_on("two", is_dirty=True).earlier_commits == ("one",)
    assert go_on("three").earlier_commits == ("one", "two+changes")
    assert go_on("one").earlier_commits == ("two+changes", "three")
    assert go_on("four", limit=1).earlier_commits == ()  # afresh


def test_the_labels_score_exactly_one(build_benchmark, tmp_path):
    benchmark = build_benchmark()
    record = engine.predict(engine.OracleMethod(), benchmark, tmp_path / "run", settings=Settings("oracle"))
    assert record.uses_labels
    result = engine.score(benchmark, tmp_path / "run")
    assert set(result.values) == {v.name for m in metrics_for(benchmark.rules) for v in m.values(benchmark.rules)}
    # Videos of seven frames have no window of eight; an official rule leaves the first object of a video out.
    exact = [name for name in result.values if not name.endswith(("@8", "@16")) and "official" not in name]
    followed = ("STQ", "STQ_AQ", "HOTA", "DetA", "AssA", "MOTA", "MOTP", "IDF1", "IDP", "IDR", "IDSW", "FP", "FN")
    stuff = [(name, "stuff") for name in followed]  # nothing to follow
    values = {(name, group): v for name in exact for group, v in result.values[name].items()}
    assert {values.pop(key) for key in stuff} == {None}
    assert {values.pop(key) for key in list(values) if not is_fraction(key[0])} == {0.0}
    assert set(values.values()) == {1.0}
    assert set(result.values["VPQ"]) == {"all", "base", "novel", "things", "stuff", "harmonic"}
    fractions = [name for name in exact if is_fraction(name)]
    assert all(category.scores[name] in (1.0, None) for category in result.categories for name in fractions)
    assert not result.is_partial
    assert scores.Scores.read(tmp_path / "run") == result


def test_labels_of_classes_that_are_not_offered_are_missed(build_benchmark, tmp_path):
    benchmark = build_benchmark(videos=6)
    settings = Settings("oracle", offered="base")
    record = engine.predict(engine.OracleMethod(), benchmark, tmp_path / "run", settings=settings)
    assert record.categories == ("dog", "cat", "grass")
    result = engine.score(benchmark, tmp_path / "run")
    assert result.values["mIoU"]["base"] == 1.0
    assert result.values["mIoU"]["novel"] == result.values["mIoU"]["harmonic"] == 0.0


def test_a_run_is_recorded(build_benchmark, method, tmp_path):
    benchmark = build_benchmark(videos=2, frames=5)
    record = run_method(method, benchmark, tmp_path / "run", settings=Settings(method, seed=3, device="cpu"))
    assert RunRecord.read(tmp_path / "run") == record
    assert (record.benchmark_digest, record.offered, record.seed) == (benchmark.digest, "all", 3)
    assert record.timing.frames + record.timing.warmup_frames == 10
    assert record.timing.warmup_frames == 1
    assert record.timing.seconds > 0
    assert record.timing.image_seconds > 0
    assert record.timing.fps == record.timing.frames / record.timing.seconds
    assert record.peak_memory_gb > 0
    assert record.notes == {"trained_on": "nothing"}
    assert not record.uses_labels
    assert record.versions["python"]
    assert len(record.package_version) == 64  # of a file: the sha256 of its bytes
    assert record.started.endswith("+00:00")


@pytest.mark.parametrize("at", ["v0/3", "v1/0", "v1/4", "v2/6"])
def test_a_run_that_was_killed_goes_on_to_the_same_bytes(undisturbed, method, tmp_path, at):
    benchmark, expected = undisturbed
    run = tmp_path / "killed"
    assert in_a_process("predict", benchmark.folder, run, method, "", KILL_AT=at).returncode == -signal.SIGKILL
    done = [name for name in ("v0", "v1", "v2") if (run / "predictions" / name).exists()]
    assert done == [name for name in ("v0", "v1", "v2") if name < at[:2]]
    record = run_method(method, benchmark, run)
    engine.score(benchmark, run)
    assert results(run) == expected
    assert hidden(run) == []
    assert record.timing.frames + record.timing.warmup_frames == 21


@pytest.mark.parametrize("point", ["frame", "line", "parallel", "counts", "scores"])
def test_scoring_that_was_killed_goes_on_to_the_same_bytes(undisturbed, method, tmp_path, point):
    benchmark, expected = undisturbed
    run = tmp_path / "killed"
    run_method(method, benchmark, run)
    assert in_a_process("score", benchmark.folder, run, method, point).returncode == -signal.SIGKILL
    assert not (run / "scores.json").exists()
    engine.score(benchmark, run)
    assert results(run) == expected
    assert hidden(run) == []


def test_scores_do_not_depend_on_the_number_of_processes(undisturbed, tmp_path):
    benchmark, expected = undisturbed
    (tmp_path / "whole/counts.jsonl").unlink()
    (tmp_path / "whole/scores.json").unlink()
    engine.score(benchmark, tmp_path / "whole", jobs=3)
    assert results(tmp_path / "whole") == expected


def test_scoring_again_counts_nothing_again(undisturbed, tmp_path, monkeypatch):
    benchmark, expected = undisturbed
    monkeypatch.setattr(counting, "overlap_dense", None)
    engine.score(benchmark, tmp_path / "whole")
    assert results(tmp_path / "whole") == expected


def test_counts_are_kept_by_bytes_and_not_by_name(undisturbed, tmp_path):
    benchmark, expected = undisturbed
    run = tmp_path / "whole"
    with VideoWriter(run / "predictions/v1", "v1", (16, 20)) as video:
        for _ in range(7):
            video.add(PanopticFrame(np.zeros((16, 20), dtype=np.uint32)))
    engine.score(benchmark, run)
    mine, theirs = (content["counts.jsonl"].splitlines() for content in (results(run), expected))
    assert [one == other for one, other in zip(mine, theirs, strict=True)] == [True, False, True]


def test_a_folder_in_the_place_of_the_counts_is_told(undisturbed, tmp_path):
    benchmark, _ = undisturbed
    (tmp_path / "whole/counts.jsonl").unlink()
    (tmp_path / "whole/counts.jsonl").mkdir()
    with pytest.raises(DataError, match=r"counts\.jsonl: cannot be"):
        engine.score(benchmark, tmp_path / "whole")


def test_damaged_counts_are_made_again(undisturbed, tmp_path):
    benchmark, expected = undisturbed
    (tmp_path / "whole/counts.jsonl").write_text('{"video": "v0", "key": "odd"}\n')
    engine.score(benchmark, tmp_path / "whole")
    assert results(tmp_path / "whole") == expected


def test_changed_predictions_are_not_scored(undisturbed, tmp_path):
    benchmark, _ = undisturbed
    path = tmp_path / "whole/predictions/v1/segments.jsonl"
    path.write_text(path.read_text().replace("0.5", "0.6"))
    with pytest.raises(DataError, match=r"video v1.*changed since they were written"):
        engine.score(benchmark, tmp_path / "whole")


def test_a_damaged_video_is_predicted_again(undisturbed, method, tmp_path):
    benchmark, expected = undisturbed
    (tmp_path / "whole/predictions/v1/00002.png").write_bytes(b"")
    run_method(method, benchmark, tmp_path / "whole")
    assert not (tmp_path / "whole/scores.json").exists()  # it spoke of other predictions
    engine.score(benchmark, tmp_path / "whole")
    assert results(tmp_path / "whole") == expected


def test_shards_fill_one_folder_with_the_same_bytes(undisturbed, method, tmp_path):
    benchmark, expected = undisturbed
    run = tmp_path / "shards"
    run_method(method, benchmark, run, shard=(2, 2))
    assert [path.name for path in (run / "predictions").iterdir()] == ["v1"]
    with pytest.raises(UserError, match=r"refuses incomplete results: 2 of 3 videos have no predictions \(v0, v2\)"):
        engine.score(benchmark, run)
    record = run_method(method, benchmark, run, shard=(1, 2))
    engine.score(benchmark, run)
    assert results(run) == expected
    assert record.shards == 2
    assert record.timing.frames + record.timing.warmup_frames == 21


def test_shards_keep_out_their_double_and_those_of_another_number(build_benchmark, method, tmp_path):
    benchmark, run = build_benchmark(), tmp_path / "run"
    with files.folder_lock(run, shared=True), files.folder_lock(run, ".lock-2-of-2"):
        run_method(method, benchmark, run, shard=(1, 2))
        for shard in ((2, 2), (1, 3), (1, 1)):
            with pytest.raises(BusyError, match="another process"):
                run_method(method, benchmark, run, shard=shard)


def test_a_run_is_not_scored_while_it_is_written(undisturbed, tmp_path):
    benchmark, _ = undisturbed
    with files.folder_lock(tmp_path / "whole", shared=True), pytest.raises(BusyError, match="another process"):
        engine.score(benchmark, tmp_path / "whole")


@pytest.mark.parametrize("shard", [(0, 2), (3, 2), (1, 0)])
def test_a_shard_that_cannot_be_is_refused(build_benchmark, method, tmp_path, shard):
    with pytest.raises(UserError, match="Number shards from 1"):
        run_method(method, build_benchmark(), tmp_path / "run", shard=shard)


def test_a_limit_scores_the_first_videos_and_says_so(undisturbed, method, tmp_path):
    benchmark, expected = undisturbed
    run = tmp_path / "limit"
    assert run_method(method, benchmark, run, limit=2).limit == 2
    result = engine.score(benchmark, run)
    assert (result.videos, result.videos_total, result.frames, result.is_partial) == (2, 3, 14, True)
    run_method(method, benchmark, run)  # without the limit the run becomes a whole one
    assert not engine.score(benchmark, run).is_partial
    assert results(run) == expected


def test_a_run_with_other_settings_is_not_mixed_in(build_benchmark, method, tmp_path):
    benchmark, run = build_benchmark(videos=1), tmp_path / "run"
    run_method(method, benchmark, run)
    for settings, part in (
        (Settings(method, seed=1), r"seed \(0, now 1\)"),
        (Settings(method, options={"strength": "2"}), "options"),
        (Settings(method, offered="novel"), "offered"),
        (Settings("other"), "method"),
    ):
        with pytest.raises(UserError, match=f"other settings: .*{part}.*--fresh"):
            run_method(method, benchmark, run, settings=settings)
    Path(method.rpartition(":")[0]).write_text(METHOD.replace("% 3", "% 2"))
    with pytest.raises(UserError, match="package version"):
        run_method(method, benchmark, run)
    with pytest.raises(UserError, match="benchmark"):
        run_method(method, build_benchmark(name="other", videos=2), run)


def test_a_run_that_never_finished_a_video_may_change_its_settings(build_benchmark, method, tmp_path, monkeypatch):
    benchmark, run = build_benchmark(videos=1), tmp_path / "run"
    with pytest.raises(MethodError):
        engine.predict(_Fails(), benchmark, run, settings=Settings("wrong", options={"category": "gras"}))
    assert run_method(method, benchmark, run).options == {}
    engine.score(benchmark, run)
    assert sorted(results(run))[:2] == ["counts.jsonl", "predictions/v0/00000.png"]


class _Fails:
    def predict(self, video, vocabulary, rules):
        raise MethodError("told to answer 'gras', which is not offered. Choose another")


def test_changed_weights_under_the_same_name_are_noticed(build_benchmark, method, tmp_path):
    benchmark, run, weights = build_benchmark(videos=1), tmp_path / "run", tmp_path / "weights.bin"
    weights.write_bytes(b"one")
    run_method(method, benchmark, run, settings=Settings(method, checkpoint=str(weights)))
    weights.write_bytes(b"two")
    with pytest.raises(UserError, match="checkpoint"):
        run_method(method, benchmark, run, settings=Settings(method, checkpoint=str(weights)))


def test_fresh_removes_the_earlier_run_and_nothing_else(undisturbed, method, tmp_path):
    benchmark, _ = undisturbed
    run = tmp_path / "whole"
    (run / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="shard cannot start afresh"):
        run_method(method, benchmark, run, shard=(1, 2), fresh=True)
    (run / "notes.txt").rename(tmp_path / "notes.txt")
    run_method(method, benchmark, run, fresh=True, settings=Settings(method, seed=8))
    assert RunRecord.read(run).seed == 8
    assert not (run / "counts.jsonl").exists()


def test_a_folder_that_is_no_run_is_left_alone(build_benchmark, method, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work")
    (tmp_path / "home" / "predictions").mkdir()
    for fresh in (False, True):
        with pytest.raises(UserError, match=r"found no run\.json but predictions, thesis\.tex"):
            run_method(method, build_benchmark(name=f"data{fresh}"), tmp_path / "home", fresh=fresh)
    assert {path.name for path in (tmp_path / "home").iterdir()} == {"predictions", "thesis.tex"}


def test_predictions_of_another_benchmark_are_not_scored(undisturbed, build_benchmark, tmp_path):
    with pytest.raises(UserError, match="its predictions were made on boxes"):
        engine.score(build_benchmark(name="other", videos=2), tmp_path / "whole")


def test_a_broken_image_stops_the_run_and_keeps_finished_videos(build_benchmark, method, tmp_path):
    benchmark, run = build_benchmark(), tmp_path / "run"
    image = benchmark.folder / "images/v1/003.png"
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"v1/003\.png"):
        run_method(method, benchmark, run)
    assert [path.name for path in (run / "predictions").iterdir()] == ["v0"]
    image.write_bytes(whole)
    run_method(method, benchmark, run)
    assert len(list((run / "predictions").iterdir())) == 3


def test_a_full_disk_stops_the_run_and_keeps_finished_videos(build_benchmark, method, tmp_path, monkeypatch):
    benchmark, run = build_benchmark(), tmp_path / "run"
    plain, written = Path.write_bytes, []

    def full(path: Path, data: bytes) -> int:
        written.append(path)
        if len(written) > 10:
            raise OSError(errno.ENOSPC, "No space left on device")
        return plain(path, data)

    with monkeypatch.context() as patch:
        patch.setattr("ovsbench.benchmark.storage.store.Path.write_bytes", full)
        with pytest.raises(DataError, match="No space left on device"):
            run_method(method, benchmark, run)
    assert hidden(run) == []
    run_method(method, benchmark, run)
    assert len(list((run / "predictions").iterdir())) == 3


class Made:
    """A method from a function of video and frame number."""

    def __init__(self, make) -> None:
        self.make = make

    def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame]:
        return self.make(video)


EMPTY = PanopticFrame(np.zeros((16, 20), dtype=np.uint32))


def stop(video: Video) -> Iterator[PanopticFrame]:
    for index in range(len(video)):
        if (video.id, index) == ("v1", 3):
            raise KeyboardInterrupt
        yield EMPTY


def test_ctrl_c_keeps_finished_videos_and_says_how_to_go_on(build_benchmark, tmp_path):
    with pytest.raises(StoppedError) as caught:
        engine.predict(Made(stop), build_benchmark(), tmp_path / "run", settings=Settings("made"))
    assert str(caught.value) == "interrupted: 1 of 3 videos done; run the same command to go on"
    assert caught.value.exit_code == 130
    assert [path.name for path in (tmp_path / "run" / "predictions").iterdir()] == ["v0"]
    assert RunRecord.read(tmp_path / "run").timing.warmup_frames == 1


def test_ctrl_c_while_scoring_keeps_what_was_counted(undisturbed, tmp_path, monkeypatch):
    benchmark, expected = undisturbed
    run = tmp_path / "whole"
    (run / "counts.jsonl").unlink()
    plain = scoring.count_video

    def interrupted(benchmark: Benchmark, run: Path, video: str, key: str | None = None, extra: Sequence[str] = ()):
        if video == "v2":
            raise KeyboardInterrupt
        return plain(benchmark, run, video, key, extra)

    with monkeypatch.context() as patch:
        patch.setattr(scoring, "count_video", interrupted)
        with pytest.raises(StoppedError, match="interrupted: 2 of 3 videos scored"):
            engine.score(benchmark, run)
    assert len(list(files.read_lines(run / ".counts.partial.jsonl"))) == 2
    engine.score(benchmark, run)
    assert results(run) == expected


def test_ctrl_c_in_a_terminal_reaches_the_workers_too_and_none_of_them_complains(undisturbed, tmp_path):
    benchmark, expected = undisturbed
    run = tmp_path / "whole"
    (run / "counts.jsonl").unlink()
    script = """
import os, signal, sys
from pathlib import Path
from ovsbench.benchmark import engine, manifest
from ovsbench.benchmark.labels.manifest_writer import BenchmarkWriter
from ovsbench.benchmark.errors import StoppedError

class Stop:  # when the workers have just been started
    def start(self, *numbers): pass
    def stop(self): pass
    def frame(self, count): pass
    def video(self): os.killpg(os.getpgid(0), signal.SIGINT)

if __name__ == "__main__":
    try:
        engine.score(manifest.load(sys.argv[1]), Path(sys.argv[2]), jobs=2, progress=Stop())
    except StoppedError as error:
        sys.exit(error.exit_code)
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", script, str(benchmark.folder), str(run)],
        start_new_session=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
    engine.score(benchmark, run)
    assert results(run) == expected


@pytest.mark.parametrize(
    ("frames", "sentence"),
    [
        ([EMPTY] * 6, "expected 7 frames, the method returned 6"),
        ([EMPTY] * 8, "expected 7 frames, the method returned more"),
        ([PanopticFrame(np.zeros((8, 8), np.uint32))] * 7, "video v0, frame 0 .*expected ids as uint32 of shape"),
        ([PanopticFrame(np.zeros((16, 20), np.int64))] * 7, "got int64"),
        ([PanopticFrame(np.ones((16, 20), np.uint32), {1: Segment(1, 99)})] * 7, "category 99, which was not offered"),
        ([PanopticFrame(np.ones((16, 20), np.uint32))] * 7, "segments listed must be the nonzero ids"),
        ([PanopticFrame(np.ones((16, 20), np.uint32), {1: Segment(1, 4, 2.0)})] * 7, "score 2.0"),
        ([PanopticFrame(np.ones((16, 20), np.uint32), {1: Segment(1, 4, float("nan"))})] * 7, "score nan"),
    ],
)
def test_what_is_no_prediction_is_refused(build_benchmark, tmp_path, frames, sentence):
    made = Made(lambda video: iter(frames))
    with pytest.raises(MethodError, match=sentence):
        engine.predict(made, build_benchmark(), tmp_path / "run", settings=Settings("made"))
    assert not (tmp_path / "run/predictions/v0").exists()
    assert hidden(tmp_path / "run") == []


def test_a_method_sees_the_offered_names_and_no_labels(build_benchmark, tmp_path):
    seen: list[tuple[set[str], str]] = []

    class Curious:
        def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame]:
            seen.append(({c.name for c in vocabulary}, rules.offered))
            return iter([EMPTY] * len(video))

    benchmark = build_benchmark(videos=1)
    engine.predict(Curious(), benchmark, tmp_path / "run", settings=Settings("curious", offered="novel"))
    assert seen == [({"unicorn", "lava"}, "novel")]


def test_scoring_a_folder_that_is_no_run_is_one_sentence(build_benchmark, tmp_path):
    with pytest.raises(UserError, match="expected a run folder, found none"):
        engine.score(build_benchmark(), tmp_path / "nowhere")
    with pytest.raises(UserError, match="was not scored"):
        scores.read_counts(build_benchmark(name="b"), tmp_path)


def test_stored_counts_give_the_stored_scores(undisturbed, tmp_path):
    benchmark, _ = undisturbed
    counts = scores.read_counts(benchmark, tmp_path / "whole")
    stored = scores.Scores.read(tmp_path / "whole")
    again = scores.scores_of(benchmark, counts, counts_sha256=stored.counts_sha256)
    assert again == stored
    assert list(scores.by_video(benchmark, counts)) == ["v0", "v1", "v2"]


def test_every_file_carries_a_schema_and_sorted_keys(undisturbed, tmp_path):
    whole = tmp_path / "whole"
    texts = [(whole / name).read_text() for name in ("run.json", "scores.json", "predictions/v0/video.json")]
    texts += (whole / "counts.jsonl").read_text().splitlines()
    for text in texts:
        content = json.loads(text)
        assert content["schema"] == 1
        assert list(content) == sorted(content)


MEMORY = """
import sys
from pathlib import Path
import numpy as np
from ovsbench.benchmark import engine, manifest
from ovsbench.benchmark.labels.manifest_writer import BenchmarkWriter
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.types import Category, PanopticFrame, Rules, Segment, Vocabulary

count, folder, size = int(sys.argv[1]), Path(sys.argv[2]), (120, 160)

def frame(time):
    ids = np.zeros(size, dtype=np.uint32)
    ids[:, time % 100 : time % 100 + 40] = 1 + time // 50  # tracks come and go
    ids[90:] = 1_000_000
    return PanopticFrame(ids, {int(k): Segment(int(k), int(k) % 2) for k in np.unique(ids) if k})

class Moving:
    def predict(self, video, vocabulary, rules):
        return map(frame, range(len(video)))

vocabulary = Vocabulary((Category(0, "a", True), Category(1, "b", True, is_novel=True)))
with BenchmarkWriter(folder / "data", name="long", version="1", source=manifest.Source("made"),
                              rules=Rules(), vocabulary=vocabulary, image_root=".") as writer:
    with writer.video("v", size, [f"{i}.png" for i in range(count)]) as labels:
        for time in range(count):
            labels.add(frame(time))
benchmark = manifest.load(folder / "data")
engine.predict(Moving(), benchmark, folder / "run", settings=Settings("moving"))
assert engine.score(benchmark, folder / "run").values["VPQ"]["all"] == 1.0
status = Path("/proc/self/status").read_text().split()
print(status[status.index("VmHWM:") + 1])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux to measure memory")
def test_memory_does_not_depend_on_the_length_of_a_video(tmp_path):
    peaks = []
    for count in (100, 1000):
        done = subprocess.run(
            [sys.executable, "-P", "-c", MEMORY, str(count), str(tmp_path / str(count))],
            capture_output=True, text=True, timeout=300, check=True,
        )  # fmt: skip
        peaks.append(int(done.stdout))
    assert peaks[1] <= 1.2 * peaks[0], f"kB at 100 and 1000 frames: {peaks}"


def test_an_optional_metric_is_counted_when_asked_for_and_kept_from_then_on(build_benchmark, tmp_path):
    benchmark = build_benchmark(videos=2)
    engine.predict(engine.OracleMethod(), benchmark, tmp_path / "run", settings=Settings("oracle"))
    assert "J&F" not in engine.score(benchmark, tmp_path / "run").values
    with pytest.raises(UserError, match="did you mean 'davis'"):
        engine.score(benchmark, tmp_path / "run", extra=["davids"])
    assert engine.score(benchmark, tmp_path / "run", extra=["davis"]).values["J&F"]["all"] == 1.0
    assert engine.score(benchmark, tmp_path / "run").values["J&F"]["all"] == 1.0
    assert engine.score(benchmark, tmp_path / "run", extra=["davis_semi"]).values["J&F_semi"]["all"] == 1.0
