"""An import that scores at once leaves what an import and a score after it leave, or nothing."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Guess
from typer.testing import CliRunner

from ovsbench.benchmark import engine
from ovsbench.benchmark.compiled import Loop
from ovsbench.benchmark.errors import DataError, UserError
from ovsbench.benchmark.formats import conversion
from ovsbench.benchmark.formats.vipseg_layout import export_vipseg, import_vipseg
from ovsbench.benchmark.formats.ytvis_layout import import_ytvis
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.running.scoring import metrics_to_count
from ovsbench.benchmark.storage import rle, rle_loop
from ovsbench.cli import app
from ovsbench.data_prep.ytvis import build_own_classes

SIZE, FRAMES, VIDEOS = (6, 5), 3, 12
Row = dict[str, Any]


def row(random: np.random.Generator, video: int) -> Row:
    masks = [random.random(SIZE) < random.choice([0.0, 0.3, 0.9]) for _ in range(FRAMES)]
    segmentations = [{"size": list(SIZE), "counts": rle.encode(one)} if one.any() else None for one in masks]
    score = float(np.round(random.random(), 3))
    return {
        "video_id": video,
        "category_id": int(random.integers(1, 4)),
        "score": score,
        "segmentations": segmentations,
    }


@pytest.fixture
def benchmark(tmp_path: Path) -> Benchmark:
    """Videos 1 to 12, each with two labels; `results.json` has them and others, those of a video not side by side."""
    random = np.random.default_rng(0)
    names = [f"{number}.jpg" for number in range(FRAMES)]
    videos = [
        {"id": v, "height": SIZE[0], "width": SIZE[1], "length": FRAMES, "file_names": names}
        for v in range(1, VIDEOS + 1)
    ]
    labels = [row(random, v) for v in range(1, VIDEOS + 1) for _ in range(2)]
    content = {"videos": videos, "categories": [{"id": c, "name": f"c{c}"} for c in (1, 2, 3)], "annotations": labels}
    (tmp_path / "gt.json").write_text(json.dumps(content))
    found = [{**one, "score": float(random.random())} for one in labels if one["video_id"] != VIDEOS]  # it has none
    found += [row(random, int(random.integers(1, VIDEOS))) for _ in range(60)]
    results = [found[place] for place in random.permutation(len(found))]
    (tmp_path / "results.json").write_text(json.dumps(results))
    return build_own_classes(tmp_path / "gt.json", tmp_path / "data")


def contents(run: Path) -> dict[str, bytes]:
    """The files of a run, without the time at which it began."""
    files = {path.relative_to(run).as_posix(): path.read_bytes() for path in run.rglob("*") if path.is_file()}
    files["run.json"] = json.dumps({**json.loads(files["run.json"]), "started": ""}).encode()
    files.pop(".lock", None)
    return files


@pytest.mark.parametrize("way", ["parser", "loop"])
@pytest.mark.parametrize("only", [(), ("ap",), ("teta", "ap")])
def test_an_import_that_scores_leaves_what_import_and_score_leave(benchmark, tmp_path, monkeypatch, way, only):
    loop = Loop(rle_loop.read_masks, after=0).ready(1) if way == "loop" else None
    monkeypatch.setattr(rle_loop.READ, "ready", lambda work: loop)
    results = tmp_path / "results.json"
    import_ytvis(benchmark, results, tmp_path / "apart", name="theirs")
    scores = engine.score(benchmark, tmp_path / "apart", only=only)
    metrics = metrics_to_count(benchmark, only=only)
    import_ytvis(benchmark, results, tmp_path / "at once", name="theirs", metrics=metrics)
    assert contents(tmp_path / "at once") == contents(tmp_path / "apart")
    assert 0 < scores.values["AP"]["all"] < 1
    assert engine.score(benchmark, tmp_path / "at once", only=only) == scores


def test_frames_are_scored_at_once_too(build_benchmark, tmp_path):
    benchmark = build_benchmark()
    engine.predict(Guess(), benchmark, tmp_path / "run", settings=Settings("guess"))
    export_vipseg(benchmark, tmp_path / "run", tmp_path / "files")
    import_vipseg(benchmark, tmp_path / "files", tmp_path / "apart", name="theirs")
    engine.score(benchmark, tmp_path / "apart")
    metrics = metrics_to_count(benchmark)
    import_vipseg(benchmark, tmp_path / "files", tmp_path / "at once", name="theirs", metrics=metrics)
    assert contents(tmp_path / "at once") == contents(tmp_path / "apart")


def test_few_files_are_open_at_a_time(benchmark, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + VIDEOS // 2, hard))
    try:
        import_ytvis(benchmark, tmp_path / "results.json", tmp_path / "run", name="theirs")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_repeated_prediction_is_found_among_those_of_other_videos(benchmark, tmp_path):
    rows = json.loads((tmp_path / "results.json").read_text())
    first = next(number for number, one in enumerate(rows, 1) if any(one["segmentations"]))
    (tmp_path / "results.json").write_text(json.dumps([*rows, rows[first - 1]]))
    with pytest.raises(DataError, match=f"(?s)1 fault.*prediction {len(rows) + 1} .*repeats prediction {first} to"):
        import_ytvis(benchmark, tmp_path / "results.json", tmp_path / "run", name="theirs")


@pytest.mark.parametrize("where", ["count_video", "write_scores"])
def test_what_is_stopped_while_it_scores_leaves_nothing(benchmark, tmp_path, monkeypatch, where):
    def stop(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    before = sorted(tmp_path.iterdir())
    metrics = metrics_to_count(benchmark, only=["ap"])
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(conversion, where, stop)
        import_ytvis(benchmark, tmp_path / "results.json", tmp_path / "run", name="theirs", metrics=metrics)
    assert sorted(tmp_path.iterdir()) == before


_KILLED_WHILE_IT_COUNTS = """
import os, signal, sys
from ovsbench.benchmark.formats import conversion
from ovsbench.cli import app
counted, whole = [], conversion.count_video
def count(*arguments, **options):
    counted.append(1)
    if len(counted) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(*arguments, **options)
conversion.count_video = count
app(sys.argv[1:])
"""


def test_the_same_command_works_after_one_that_was_killed(benchmark, tmp_path):
    words = ["import", benchmark.folder, tmp_path / "results.json", "--format", "ytvis", "--name", "x", "--score"]
    command = [*map(str, words), "--only", "ap", "-o"]
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED_WHILE_IT_COUNTS, *command, str(tmp_path / "run")], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "run").exists()
    for name in ("run", "other"):
        result = CliRunner().invoke(app, [*command, str(tmp_path / name)])
        assert result.exit_code == 0, result.output
    assert contents(tmp_path / "run") == contents(tmp_path / "other")
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"score": -1.0}, "1 fault.*prediction 7 .*score of at least 0, got -1.0"),
        ({"category_id": 9}, "prediction 7 .*category_id, got 9"),
        ({"segmentations": [None]}, "segmentations of 3 frames, got 1"),
    ],
)
def test_faulty_files_are_told_as_without_scores(benchmark, tmp_path, change, words):
    rows = json.loads((tmp_path / "results.json").read_text())
    rows[6] |= change
    (tmp_path / "results.json").write_text(json.dumps(rows))
    said = []
    for metrics in (None, metrics_to_count(benchmark)):
        with pytest.raises(DataError, match=f"(?s){words}") as caught:
            import_ytvis(benchmark, tmp_path / "results.json", tmp_path / "run", name="theirs", metrics=metrics)
        said.append(str(caught.value))
        assert not (tmp_path / "run").exists()
    assert said[0] == said[1]


def test_damaged_labels_leave_no_run(benchmark, tmp_path):
    labels = benchmark.labels_folder("2") / "tracks.jsonl"
    labels.write_bytes(labels.read_bytes().replace(b'"area":null', b'"area":null ', 1))
    with pytest.raises(DataError, match=r"tracks\.jsonl .video 2.*changed since it was written"):
        import_ytvis(
            benchmark, tmp_path / "results.json", tmp_path / "run", name="x", metrics=metrics_to_count(benchmark)
        )
    assert not (tmp_path / "run").exists()


def test_unknown_metrics_are_refused_before_anything_is_read(benchmark, tmp_path):
    with pytest.raises(UserError, match="there is no metric 'vpq' for the instance benchmark"):
        metrics_to_count(benchmark, only=["vpq"])
    words = ["import", benchmark.folder, tmp_path / "none.json", "--format", "ytvis", "-o", tmp_path / "run"]
    result = CliRunner().invoke(app, [*map(str, words), "--only", "ap"])
    assert result.exit_code == 2
    assert "--only ap says what --score counts, and nothing is to be scored. Add --score" in result.output
