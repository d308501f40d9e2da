from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from ovsbench.benchmark import engine, manifest
from ovsbench.benchmark.compiled import Loop
from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.formats.ytvis_layout import export_ytvis, import_ytvis
from ovsbench.benchmark.record import RunRecord
from ovsbench.benchmark.storage import rle, rle_loop
from ovsbench.cli import app
from ovsbench.data_prep.vipseg import build_vipseg
from ovsbench.data_prep.ytvis import build_own_classes

BOX = [2, 2, 2]  # of 3x2 pixels: two outside, two inside, two outside
TEXT = rle.compress(BOX)


def mask(counts: object = TEXT, size: tuple[int, int] = (3, 2)) -> dict[str, Any]:
    return {"size": list(size), "counts": counts}


def labels() -> dict[str, Any]:
    return {
        "videos": [
            {"id": 10, "width": 2, "height": 3, "length": 2, "file_names": ["b/0.jpg", "b/1.jpg"]},
            {"id": 9, "width": 2, "height": 3, "length": 2, "file_names": ["a/0.jpg", "a/1.jpg"]},
        ],
        "categories": [
            {"id": 4, "name": "dog", "partition": 1},
            {"id": 7, "name": "unicorn", "partition": 2},
            {"id": 8, "name": "lamp"},
        ],
        "annotations": [
            {"id": 1, "video_id": 9, "category_id": 4, "segmentations": [mask(BOX), None], "areas": [6.5, None]},
            {"id": 2, "video_id": 9, "category_id": 7, "iscrowd": 1, "segmentations": [None, mask()]},
        ],
    }


def results() -> list[dict[str, Any]]:
    return [
        {"video_id": 9, "category_id": 4, "score": 0.5, "segmentations": [mask(), None]},
        {"video_id": 9, "category_id": 7, "score": 2, "segmentations": [mask(), mask(BOX)]},
        {"video_id": 10, "category_id": 4, "score": 0.25, "segmentations": [None, None]},
    ]


def written(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def benchmark(tmp_path: Path) -> manifest.Benchmark:
    return build_own_classes(written(tmp_path / "gt.json", labels()), tmp_path / "data")


@pytest.fixture(params=["parser", "loop"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Predictions are read by the parser of JSON alone, and with the compiled loop where there is numba."""
    loop = Loop(rle_loop.read_masks, after=0).ready(1) if request.param == "loop" else None
    monkeypatch.setattr(rle_loop.READ, "ready", lambda work: loop)


def test_labels_become_an_instance_benchmark_with_videos_in_order_of_their_ids(benchmark):
    assert [entry.id for entry in benchmark.entries] == ["9", "10"]
    assert [(c.id, c.name, c.is_thing, c.is_novel) for c in benchmark.vocabulary] == [
        (4, "dog", True, False),
        (7, "unicorn", True, True),
        (8, "lamp", True, False),
    ]
    first, second = benchmark.truth_tracks("9").tracks
    assert (first.category, first.masks, first.area, first.is_crowd) == (4, (TEXT, None), 6.5, False)
    assert (second.category, second.masks, second.area, second.is_crowd) == (7, (None, TEXT), None, True)
    assert benchmark.truth_tracks("10").tracks == ()
    assert benchmark.entry("10").frames == ("b/0.jpg", "b/1.jpg")


@pytest.mark.usefixtures("either_way")
def test_an_imported_run_scores_and_comes_back_as_it_was(benchmark, tmp_path):
    path = written(tmp_path / "results.json", results())
    facts = import_ytvis(benchmark, path, tmp_path / "run", name="theirs")
    assert RunRecord.read(tmp_path / "run") == facts
    assert (facts.method, facts.notes["layout"]) == ("theirs", "ytvis")
    scores = engine.score(benchmark, tmp_path / "run")
    assert scores.values["AP"] == {
        "all": 1.0, "base": 1.0, "novel": None, "harmonic": None, "things": 1.0
    }  # fmt: skip
    assert scores.values["AP_lvvis"]["novel"] == pytest.approx(0.1)  # half of the track: right at threshold 0.5 alone
    export_ytvis(benchmark, tmp_path / "run", tmp_path / "out")
    again = json.loads((tmp_path / "out/results.json").read_text())
    expected = results()
    for row in (*expected, *again):
        row["segmentations"] = [one and one["counts"] for one in row["segmentations"]]
    expected[1]["segmentations"][1] = TEXT
    assert again == expected
    assert engine.score(benchmark, tmp_path / "run", jobs=2).counts_sha256 == scores.counts_sha256


def change(content: Any, place: tuple[Any, ...], value: Any) -> Any:
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return content


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ((0, "score"), float("nan"), "prediction 1 .video 9.: expected a score of at least 0, got nan"),
        ((0, "score"), -0.1, "score of at least 0, got -0.1"),
        ((0, "score"), 10**400, "score of at least 0"),
        ((0, "score"), "0.5", "score of at least 0, got '0.5'"),
        ((0, "score"), ..., "score is missing"),
        ((0, "category_id"), 5, "category_id, got 5"),
        ((0, "video_id"), 11, "id of a video of ytvis as video_id, got '11'"),
        ((0, "segmentations"), [None], "segmentations of 2 frames, got 1"),
        ((0, "segmentations"), None, "segmentations of 2 frames, got None"),
        ((0, "segmentations", 0), mask(size=(2, 3)), r"frame 0: expected a mask of size \[height, width\] = \[3, 2\]"),
        ((0, "segmentations", 0), mask([2, 3]), "3 = 6 pixels, got 5"),
        ((0, "segmentations", 0), mask([8, -2]), "at least 0"),
        ((0, "segmentations", 0), mask([2**70]), "prediction 1"),
        ((0, "segmentations", 0), mask("2~"), "cut off or no such text"),
        ((0, "segmentations", 0), mask(7), "counts as a text or a list"),
        ((0, "segmentations", 0), [[0, 0, 1, 1]], "null or run lengths"),
        ((1,), results()[0], "repeats prediction 1"),
        ((1,), 7, "prediction 2"),
    ],
)
@pytest.mark.usefixtures("either_way")
def test_what_is_wrong_with_predictions_is_told_and_no_run_is_made(
    either_way, benchmark, tmp_path, place, value, words
):
    path = written(tmp_path / "results.json", change(results(), place, value))
    with pytest.raises(DataError, match=words):
        import_ytvis(benchmark, path, tmp_path / "run", name="theirs")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{}", "expected a list of predictions in JSON, .* got '{'"),
        ("[] []", "goes on with '.' after the end of the list"),
        ("[1, [2]]", "expected predictions with video_id, got 1"),
        (json.dumps(results())[:-9], "may have been cut off"),
        ("[" * 100_000, "nested too deeply"),
        (json.dumps([{**row, "video_id": 77} for row in results()]), "none of its videos is in ytvis .77 are not"),
    ],
)
@pytest.mark.usefixtures("either_way")
def test_a_file_that_cannot_be_of_this_benchmark_is_refused(benchmark, tmp_path, content, words):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(DataError, match=words):
        import_ytvis(benchmark, tmp_path / "results.json", tmp_path / "run", name="theirs")


@pytest.mark.usefixtures("either_way")
def test_all_faults_are_counted_and_the_first_are_told(benchmark, tmp_path):
    rows = [{**results()[0], "score": -number - 1} for number in range(30)]
    with pytest.raises(DataError, match="30 faults") as caught:
        import_ytvis(benchmark, written(tmp_path / "results.json", rows), tmp_path / "run", name="theirs")
    assert "got -20" in str(caught.value)
    assert "got -21" not in str(caught.value)
    assert "and 10 more" in str(caught.value)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("videos",), ..., "expected a list `videos`"),
        (("annotations",), ..., "expected a list `annotations`"),
        (("categories", 0, "name"), ..., "categories with id and name"),
        (("categories", 1, "id"), 4, "came more than once"),
        (("categories", 1, "id"), 4.5, "categories with id and name"),
        (("categories", 1, "partition"), 7, r"partition of \(0, 1, 2, 3\) for category \d, got 7"),
        (("annotations", 0, "iscrowd"), "no", "iscrowd to be 0 or 1, got 'no'"),
        (("annotations", 0, "areas"), [10**400, 1], "areas as numbers"),
        (("videos", 0, "file_names"), ["b/0.jpg"], "each of 2 frames, got 1"),
        (("videos", 0, "id"), 9, "the id 9 came before"),
        (("videos", 0, "width"), ..., "expected id, width, height and file_names"),
        (("annotations", 0, "video_id"), 3, "annotation 1: expected the id of a video"),
        (("annotations", 0, "category_id"), 3, r"annotation 1 \(video 9\): expected the id of a category"),
        (("annotations", 0, "areas"), [1], "areas of 2 frames"),
        (("annotations", 0, "areas"), ["x", 1], "areas as numbers"),
        (("annotations", 0, "segmentations", 0), mask([3]), "6 pixels, got 3"),
    ],
)
def test_what_is_wrong_with_labels_is_told_and_no_benchmark_is_made(tmp_path, place, value, words):
    path = written(tmp_path / "gt.json", change(labels(), place, value))
    with pytest.raises(DataError, match=words):
        build_own_classes(path, tmp_path / "data")
    assert not (tmp_path / "data/manifest.json").exists()


def test_missing_and_foreign_files_are_told(tmp_path, benchmark):
    with pytest.raises(DataError, match=r"gt\.json: expected labels .*: No such file"):
        build_own_classes(tmp_path / "none", tmp_path / "x") if (tmp_path / "none").mkdir() is None else None
    with pytest.raises(DataError, match="in JSON, got an error"):
        build_own_classes(written(tmp_path / "list.json", []), tmp_path / "x")
    with pytest.raises(DataError, match=r"results.json: expected a list of predictions, got an error: No such file"):
        import_ytvis(benchmark, tmp_path, tmp_path / "run", name="theirs")


def test_tracks_are_not_imported_on_a_benchmark_of_frames(build_benchmark, tmp_path):
    with pytest.raises(DataError, match="of task instance"):
        import_ytvis(build_benchmark(), written(tmp_path / "r.json", results()), tmp_path / "run", name="theirs")
    with pytest.raises(DataError, match="the layout of YouTube-VIS holds tracks"):
        export_ytvis(build_benchmark("other"), tmp_path / "run", tmp_path / "out")


@pytest.mark.parametrize("case", ["tiny", "standard"])
def test_reference_cases_score_as_the_official_scripts_score_them(shared, tmp_path, case):
    folder = shared / "cases" / case
    benchmark = build_own_classes(folder / "ytvis", tmp_path / "data")
    import_ytvis(benchmark, folder / "ytvis", tmp_path / "run", name="theirs")
    values = engine.score(benchmark, tmp_path / "run").values
    expected = json.loads((folder / "expected.json").read_text())
    for section, suffix in (("ytvis", ""), ("lvvis", "_lvvis")):
        for key, value in expected[section].items():
            if key not in ("printed", "per_class_AP"):
                name, _, group = key.partition("_")
                found = values[name + suffix][group or "all"]
                assert (-1 if found is None else found) == pytest.approx(value, abs=1e-12), key
    if case == "standard":
        assert values["AP"]["all"] == pytest.approx(0.3237623762376238, abs=1e-12)


def test_labels_of_vipseg_and_of_youtube_vis_are_told_apart(tmp_path):
    (tmp_path / "panoptic_gt.json").write_text(json.dumps(labels()))
    with pytest.raises(DataError):
        build_vipseg(tmp_path, tmp_path / "data")


def test_a_benchmark_may_have_empty_masks(tmp_path):
    content = labels()
    content["annotations"][0]["segmentations"] = [mask([6]), mask([6])]
    content["annotations"][0]["areas"] = [0, 0]
    benchmark = build_own_classes(written(tmp_path / "gt.json", content), tmp_path / "data")
    assert benchmark.truth_tracks("9").tracks[0].area == 0.0
    assert not np.any(benchmark.truth_tracks("9").decoded().masks.areas[0])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (json.dumps([{**results()[0], "segmentations": [mask("23", (2, 2)), None]}]), "mask of size"),
        (json.dumps([{**results()[0], "segmentations": [mask("23"), None]}]), "expected run lengths of 2x3 = 6 pixels"),
        (json.dumps([{**results()[0], "score": float("nan")}]), "score of at least 0, got nan"),
        (json.dumps([{**results()[0], "score": -1}]), "score of at least 0, got -1"),
        (json.dumps([{**results()[0], "category_id": 99}]), "category of the benchmark as category_id, got 99"),
        (json.dumps([*results(), {**results()[0], "video_id": 11}]), "id of a video of ytvis"),
        (json.dumps([{**results()[0], "video_id": 77}]), "none of its videos is in ytvis"),
        (json.dumps(results())[:-9], "The file may have been cut off"),
    ],
)
def test_the_command_line_refuses_bad_results_in_one_sentence(benchmark, tmp_path, content, words):
    (tmp_path / "results.json").write_text(content)
    before = sorted(path.name for path in tmp_path.iterdir())
    run = ["import", benchmark.folder, tmp_path / "results.json", "--format", "ytvis", "-o", tmp_path / "run"]
    result = CliRunner().invoke(app, [str(word) for word in run])
    assert result.exit_code == 1
    assert words in " ".join(result.output.split())
    assert "Traceback" not in result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == before
