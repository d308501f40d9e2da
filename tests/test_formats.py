from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from ovsbench.benchmark import engine, manifest
from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.formats.faults import SHOWN, Faults
from ovsbench.benchmark.formats.vipseg_layout import export_vipseg, import_vipseg
from ovsbench.benchmark.formats.vspw_layout import export_vspw, import_vspw
from ovsbench.benchmark.labels.manifest_check import check
from ovsbench.benchmark.record import RunRecord, Settings
from ovsbench.benchmark.storage.store import FrameFolder, VideoWriter
from ovsbench.benchmark.types import PanopticFrame, Rules, Segment
from ovsbench.data_prep.defects import Defects
from ovsbench.data_prep.vipseg import build_vipseg
from ovsbench.data_prep.vspw import build_vspw


def png(path: Path, pixels: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.array(pixels, dtype=np.uint8)).save(path)


def id_png(path: Path, ids: list[list[int]]) -> None:
    png(path, [[[i % 256, i // 256 % 256, i // 65536] for i in row] for row in ids])


def info(key: int, category: int, **more: object) -> dict:
    return {"id": key, "category_id": category, **more}


class VipsegFiles:
    """One video "a" of two frames: ids 1 (thing, class 3) and 300 (stuff, class 5), then the first alone."""

    def __init__(self, folder: Path) -> None:
        self.raw, self.pred = folder / "raw", folder / "pred"
        rows = [
            {"file_name": "0.png", "segments_info": [info(1, 3, area=2, iscrowd=0), info(300, 5, area=1)]},
            {"file_name": "1.png", "segments_info": [info(1, 3)]},
        ]
        for base in (self.raw / "panomasksRGB", self.pred / "pan_pred"):
            id_png(base / "a/0.png", [[1, 1], [300, 0]])
            id_png(base / "a/1.png", [[1, 0], [0, 0]])
        categories = [{"id": 3, "name": "dog", "isthing": 1}, {"id": 5, "name": "sky", "isthing": 0}]
        self.labels = {"categories": categories, "annotations": [{"video_id": "a", "annotations": rows}]}
        self.predictions = json.loads(json.dumps({"annotations": self.labels["annotations"]}))
        self.write()

    def write(self) -> None:
        (self.raw / "panoptic_gt.json").write_text(json.dumps(self.labels))
        (self.pred / "pred.json").write_text(json.dumps(self.predictions))

    @property
    def rows(self) -> list[dict]:
        return self.predictions["annotations"][0]["annotations"]


@pytest.fixture
def vipseg(tmp_path: Path) -> VipsegFiles:
    return VipsegFiles(tmp_path)


def test_labels_of_vipseg_become_a_benchmark(vipseg, tmp_path):
    benchmark = build_vipseg(vipseg.raw, tmp_path / "data")
    assert [(c.id, c.name, c.is_thing) for c in benchmark.vocabulary] == [(3, "dog", True), (5, "sky", False)]
    frame = benchmark.truth("a", 0)
    assert frame.ids.tolist() == [[1, 1], [300, 0]]
    assert frame.segments == {1: Segment(1, 3), 300: Segment(300, 5)}
    assert benchmark.entry("a").frames == ("a/0.jpg", "a/1.jpg")
    assert check(benchmark, images=False) == []


def test_the_labels_file_may_have_its_official_name(vipseg, tmp_path):
    (vipseg.raw / "panoptic_gt.json").rename(vipseg.raw / "panoptic_gt_VIPSeg_val.json")
    assert len(build_vipseg(vipseg.raw, tmp_path / "data").entries) == 1


def test_an_imported_run_scores_like_any_other(vipseg, tmp_path):
    benchmark = build_vipseg(vipseg.raw, tmp_path / "data")
    facts = import_vipseg(benchmark, vipseg.pred, tmp_path / "run", name="theirs")
    assert RunRecord.read(tmp_path / "run") == facts
    assert (facts.method, facts.notes["layout"], facts.uses_labels) == ("theirs", "vipseg", False)
    scores = engine.score(benchmark, tmp_path / "run")
    assert scores.values["VPQ@2"]["all"] == scores.values["mIoU"]["all"] == 1.0


@pytest.mark.parametrize("stuff_first", [False, True])
def test_labels_keep_the_order_of_their_lists_which_the_official_stq_numbers_by(vipseg, tmp_path, stuff_first):
    for row in vipseg.labels["annotations"][0]["annotations"]:
        row["segments_info"].sort(key=lambda one: one["category_id"], reverse=stuff_first)
    vipseg.write()
    benchmark = build_vipseg(vipseg.raw, tmp_path / "data")
    assert list(benchmark.truth("a", 0).segments) == ([300, 1] if stuff_first else [1, 300])
    import_vipseg(benchmark, vipseg.pred, tmp_path / "run", name="theirs")
    values = engine.score(benchmark, tmp_path / "run").values
    # The dog is the only thing; where it is listed first it is number 0, which the official script leaves out.
    assert values["STQ_official_AQ"]["all"] == (1.0 if stuff_first else 0.0)
    assert values["STQ_AQ"]["all"] == 1.0


def broken_json(files: VipsegFiles) -> None:
    path = files.pred / "pred.json"
    path.write_text(path.read_text()[:-9])


def missing_video(files: VipsegFiles) -> None:
    files.predictions["annotations"][0]["video_id"] = "b"
    files.write()


def edit(change):
    def apply(files: VipsegFiles) -> None:
        change(files)
        files.write()

    return apply


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (broken_json, "may have been cut off"),
        (missing_video, "video a is missing"),
        (missing_video, "video b is not in the benchmark"),
        (edit(lambda f: f.rows.pop()), "frame 1 is missing"),
        (edit(lambda f: f.rows.append({"file_name": "2.png", "segments_info": []})), "frame 2 is not in the benchmark"),
        (edit(lambda f: f.rows.append(f.rows[0])), "frame 0 is there twice"),
        (edit(lambda f: f.rows[0].update(file_name="7.png")), "frame 0 is missing"),
        (edit(lambda f: f.rows[0].update(file_name="../0.png")), "expected the name of a file"),
        (edit(lambda f: f.rows[0]["segments_info"].pop()), "ids in the image that the JSON lacks: 300"),
        (edit(lambda f: f.rows[0]["segments_info"].append(info(9, 3))), "ids in the JSON that the image lacks: 9"),
        (edit(lambda f: f.rows[0]["segments_info"].append(info(1, 3))), "ids are listed twice: 1"),
        (edit(lambda f: f.rows[0]["segments_info"].append(info(0, 3))), "expected ids from 1"),
        (edit(lambda f: f.rows[0]["segments_info"][0].update(area=7)), "area in the JSON is not"),
        (edit(lambda f: f.rows[0]["segments_info"][0].update(category_id=4)), "categories that the benchmark lacks: 4"),
        (edit(lambda f: f.rows[0]["segments_info"][0].update(category_id=1.5)), "'float' object"),
        (edit(lambda f: f.rows[0]["segments_info"][0].update(id=1.5)), "'float' object"),
        (edit(lambda f: f.rows[0]["segments_info"][0].update(score=float("nan"))), "has score nan"),
        (edit(lambda f: f.rows[0]["segments_info"][0].update(score=-0.5)), "has score -0.5"),
        (edit(lambda f: f.rows[0]["segments_info"][0].pop("category_id")), "with id and category_id"),
        (
            edit(lambda f: f.predictions["annotations"].append(f.predictions["annotations"][0])),
            "video a is there twice",
        ),
        (lambda f: (f.pred / "pan_pred/a/1.png").unlink(), "mask 1 is missing"),
        (lambda f: id_png(f.pred / "pan_pred/a/2.png", [[0]]), "mask 2 is not in the benchmark"),
        (lambda f: id_png(f.pred / "pan_pred/a/1.png", [[1, 0, 0]]), "expected 2x2 pixels, got 3x1"),
        (lambda f: png(f.pred / "pan_pred/a/1.png", [[1, 0], [0, 0]]), "ids in the image that the JSON lacks: 65793"),
        (lambda f: (f.pred / "pan_pred/a/1.png").write_bytes(b"GIF"), "it is no PNG file"),
        (
            lambda f: (f.pred / "pan_pred/a/1.png").write_bytes((f.pred / "pan_pred/a/1.png").read_bytes()[:44]),
            "expected a PNG, got an error",
        ),
        (lambda f: (f.pred / "pred.json").unlink(), "cannot be read"),
        (lambda f: (f.pred / "pred.json").write_text("[]"), "expected an object with a list"),
    ],
)
def test_a_fault_of_predictions_is_named_and_no_run_is_made(vipseg, tmp_path, spoil, message):
    benchmark = build_vipseg(vipseg.raw, tmp_path / "data")
    spoil(vipseg)
    with pytest.raises(DataError) as caught:
        import_vipseg(benchmark, vipseg.pred, tmp_path / "run", name="theirs")
    assert message in str(caught.value)
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / ".run.partial").exists()


def test_all_faults_are_told_at_once(vipseg, tmp_path):
    benchmark = build_vipseg(vipseg.raw, tmp_path / "data")
    vipseg.rows[0]["segments_info"].pop()
    vipseg.rows[1]["segments_info"][0]["category_id"] = 77
    vipseg.write()
    with pytest.raises(DataError, match="2 faults") as caught:
        import_vipseg(benchmark, vipseg.pred, tmp_path / "run", name="theirs")
    assert "0.png" in str(caught.value)
    assert "1.png" in str(caught.value)


def test_of_many_faults_the_first_are_told_and_the_rest_counted():
    faults = Faults()
    for number in range(SHOWN + 5):
        faults.add(f"fault {number:02d}.")
    with pytest.raises(DataError, match="25 faults") as caught:
        faults.stop("a folder", "Mend it")
    assert "fault 19." in str(caught.value)
    assert "fault 20." not in str(caught.value)
    assert str(caught.value).endswith("... and 5 more")


def test_faulty_labels_make_no_benchmark(vipseg, tmp_path):
    vipseg.labels["annotations"][0]["annotations"][0]["segments_info"][0]["area"] = 3
    vipseg.write()
    with pytest.raises(DataError, match="1 fault"):
        build_vipseg(vipseg.raw, tmp_path / "data")
    assert not (tmp_path / "data/manifest.json").exists()


def test_a_folder_that_holds_something_is_not_written_over(vipseg, tmp_path):
    benchmark = build_vipseg(vipseg.raw, tmp_path / "data")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/mine.txt").touch()
    with pytest.raises(DataError, match="expected a new folder"):
        import_vipseg(benchmark, vipseg.pred, tmp_path / "run", name="theirs")
    assert (tmp_path / "run/mine.txt").exists()


def digests(benchmark: manifest.Benchmark, run: Path) -> list[str]:
    return [FrameFolder(run / "predictions" / entry.id).digest for entry in benchmark.entries]


def oracle_run(benchmark: manifest.Benchmark, run: Path) -> Path:
    engine.predict(engine.OracleMethod(), benchmark, run, settings=Settings("oracle"))
    return run


def test_a_run_that_goes_out_as_vipseg_and_comes_back_is_the_same(build_benchmark, tmp_path):
    benchmark = build_benchmark()
    run = oracle_run(benchmark, tmp_path / "run")
    export_vipseg(benchmark, run, tmp_path / "out")
    import_vipseg(benchmark, tmp_path / "out", tmp_path / "back", name="back")
    assert digests(benchmark, tmp_path / "back") == digests(benchmark, run)


def test_large_ids_go_out_as_other_ids_of_the_same_tracks(build_benchmark, tmp_path):
    benchmark = build_benchmark(videos=1, frames=3, size=(1, 3))
    run = oracle_run(benchmark, tmp_path / "run")
    large, next_large = (1 << 32) - 1, 1 << 24
    with VideoWriter(run / "predictions/v0", "v0", (1, 3)) as writer:
        for keys in ([5, large, 0], [5, large, next_large], [next_large, large, (1 << 24) - 1]):
            segments = {key: Segment(key, 4, 0.5) for key in keys if key}
            writer.add(PanopticFrame(np.array([keys], dtype=np.uint32), segments))
    export_vipseg(benchmark, run, tmp_path / "out")
    import_vipseg(benchmark, tmp_path / "out", tmp_path / "back", name="back")
    ids = [frame.ids[0].tolist() for frame in FrameFolder(tmp_path / "back/predictions/v0")]
    assert ids[0][0] == ids[1][0]
    assert ids[0][1] == ids[1][1] == ids[2][1]
    assert ids[1][2] == ids[2][0]
    assert len({ids[0][0], *ids[2]}) == 4


# VSPW


def vspw_raw(folder: Path, values: list[list[int]]) -> Path:
    png(folder / "data/a/mask/0.png", values)
    (folder / "val.txt").write_text("a")  # no line end, which the official script would cut a name for
    return folder


@pytest.mark.parametrize(("form", "values"), [("released", [[0, 1, 124, 255]]), ("shifted", [[255, 0, 123, 255]])])
def test_both_forms_of_labels_are_the_same_classes(tmp_path, form, values):
    benchmark = build_vspw(vspw_raw(tmp_path / "raw", values), tmp_path / "data", label_form=form)
    frame = benchmark.truth("a", 0)
    assert frame.ids.tolist() == [[0, 1, 124, 0]]
    assert {s.category for s in frame.segments.values()} == {0, 123}
    assert benchmark.rules == Rules(task="semantic")


@pytest.mark.parametrize(
    ("form", "value", "words"),
    [("released", 200, "No numbers of VSPW have them"), ("shifted", 124, "say --label-form released")],
)
def test_a_value_that_a_form_cannot_have_names_the_other_form_where_that_has_it(tmp_path, form, value, words):
    raw = vspw_raw(tmp_path / "raw", [[1, value]])
    with pytest.raises(DataError, match=f"values {value} cannot be in {form} numbers.*{words}"):
        build_vspw(raw, tmp_path / "data", label_form=form)


@pytest.fixture
def vspw(tmp_path) -> manifest.Benchmark:
    return build_vspw(vspw_raw(tmp_path / "raw", [[1, 2, 0, 255]]), tmp_path / "data")


def test_predictions_of_vspw_become_a_run(vspw, tmp_path):
    png(tmp_path / "pred/a/0.png", [[0, 0, 5, 5]])
    import_vspw(vspw, tmp_path / "pred", tmp_path / "run", name="theirs")
    scores = engine.score(vspw, tmp_path / "run")
    assert scores.values["mIoU"]["all"] == (1 / 2 + 0) / 2
    assert "STQ" not in scores.values


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a/0.png": [[0, 1, 2, 255]]}, "holds 255, which is no class"),
        ({"a/0.png": [[0, 1, 2, 124]]}, "--label-form released"),
        ({"a/0.png": [[0, 1, 2]]}, "expected 4x1 pixels, got 3x1"),
        ({"b/0.png": [[0, 1, 2, 3]]}, "video a is missing"),
        ({"a/1.png": [[0, 1, 2, 3]]}, "mask 0 is missing"),
        ({"a/0.png": [[0, 1, 2, 3]], "a/1.png": [[0]]}, "mask 1 is not in the benchmark"),
    ],
)
def test_a_fault_of_vspw_predictions_is_named(vspw, tmp_path, files, message):
    for name, values in files.items():
        png(tmp_path / "pred" / name, values)
    with pytest.raises(DataError) as caught:
        import_vspw(vspw, tmp_path / "pred", tmp_path / "run", name="theirs")
    assert message in str(caught.value)


def test_a_run_that_goes_out_as_vspw_and_comes_back_scores_the_same(build_benchmark, tmp_path):
    benchmark = build_benchmark()
    run = oracle_run(benchmark, tmp_path / "run")
    with pytest.raises(DataError, match="pixels are unnamed"):
        export_vspw(benchmark, run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    export_vspw(benchmark, run, tmp_path / "out", label_form="released")
    import_vspw(benchmark, tmp_path / "out", tmp_path / "back", name="back", label_form="released")
    assert engine.score(benchmark, tmp_path / "back").values["mIoU"]["all"] == 1.0


def test_classes_beyond_those_of_vspw_cannot_go_out(vspw, tmp_path):
    large = dataclasses.replace(vspw.vocabulary.categories[0], id=124, name="another")
    vocabulary = dataclasses.replace(vspw.vocabulary, categories=(*vspw.vocabulary.categories, large))
    with pytest.raises(DataError, match="holds classes 0 to 123"):
        export_vspw(dataclasses.replace(vspw, vocabulary=vocabulary), tmp_path / "run", tmp_path / "out")


@pytest.mark.parametrize("case", ["tiny", "standard"])
def test_files_in_official_layouts_score_what_the_official_scripts_say(shared, tmp_path, case):
    folder = shared / "cases" / case
    expected = json.loads((folder / "expected.json").read_text())
    vipseg = build_vipseg(folder / "vipseg/gt", tmp_path / "vipseg")
    import_vipseg(vipseg, folder / "vipseg/pred", tmp_path / "p", name="p")
    values = engine.score(vipseg, tmp_path / "p").values
    vspw = build_vspw(folder / "vspw/gt", tmp_path / "vspw", label_form="shifted")
    import_vspw(vspw, folder / "vspw/pred", tmp_path / "s", name="s")
    semantic = engine.score(vspw, tmp_path / "s").values
    for measured, official in (
        (values["VPQ@1"]["all"], expected["vpq"]["1"]["all"]["pq"]),
        (values["VPQ"]["things"], expected["vpq"]["mean_1_2_4_6"]["things"]),
        (values["VPQ_official"]["all"], expected["vpq"]["mean_1_2_4_6_8_official_final"]["all"]),
        (values["STQ"]["all"], expected["stq_ids_from_1"]["STQ"]),
        (values["STQ_official"]["all"], expected["stq"]["STQ"]),
        (semantic["mIoU"]["all"], expected["vspw"]["mIoU"]),
        (semantic["VC@16"]["all"], expected["vc"]["16"]["VC"]),
    ):
        assert measured == pytest.approx(official, abs=1e-9)


def test_the_verbs_build_import_score_and_export(vipseg, tmp_path):
    def ovsbench(*arguments: object) -> str:
        command = [sys.executable, "-c", "from ovsbench.cli import main; main()", *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    data, run, out = tmp_path / "data", tmp_path / "run", tmp_path / "out"
    ovsbench("data", "build", "vipseg", "--raw", vipseg.raw, "-o", data)
    assert f"ovsbench score {run}" in ovsbench("import", data, vipseg.pred, "--format", "vipseg", "-o", run)
    assert json.loads(ovsbench("score", run, "-j", 1, "--json"))["values"]["PQ"]["all"] == 1.0
    again = json.loads(ovsbench("import", data, vipseg.pred, "--format", "vipseg", "-o", tmp_path / "b", "--json"))
    assert again == {"run": str(tmp_path / "b"), "benchmark": json.loads((data / "manifest.json").read_text())["name"],
                     "videos": 1}  # fmt: skip
    told = json.loads(ovsbench("export", run, "--format", "vipseg", "-o", out, "--json"))
    assert told == {"folder": str(out), "format": "vipseg", "run": str(run)}
    assert json.loads((out / "pred.json").read_text())["annotations"][0]["video_id"] == "a"


def test_the_form_of_numbers_that_an_import_takes_is_said(vspw, tmp_path):
    """Values that both forms have do not say which one they are."""
    from typer.testing import CliRunner

    from ovsbench.cli import app

    png(tmp_path / "pred/a/0.png", [[0, 1, 2, 3]])
    command = ["import", str(tmp_path / "data"), str(tmp_path / "pred"), "--format", "vspw", "-o"]
    done = CliRunner().invoke(app, [*command, str(tmp_path / "run")])
    assert "Classes were read as shifted numbers; if they are the others" in done.stdout
    released = CliRunner().invoke(app, [*command, str(tmp_path / "run2"), "--label-form", "released", "--json"])
    assert json.loads(released.stdout)["label_form"] == "released"


@pytest.mark.parametrize(
    ("values", "form", "is_noted"),
    [
        ([[255, 0, 5, 123]], None, True),  # void is 255 and a class is 0
        ([[255, 0, 5, 124]], None, False),  # which only released numbers have
        ([[255, 1, 5, 123]], None, False),
        ([[0, 1, 5, 123]], None, False),
        ([[255, 0, 5, 123]], "released", False),  # said, and taken at its word
        ([[255, 0, 5, 123]], "shifted", False),
    ],
)
def test_labels_that_look_shifted_are_not_read_as_released_silently(tmp_path, values, form, is_noted):
    defects = Defects()
    build_vspw(vspw_raw(tmp_path / "raw", values), tmp_path / "data", label_form=form, defects=defects)
    assert ["--label-form shifted" in line for line in defects.lines] == [True] * is_noted


def test_one_released_frame_among_many_decides(tmp_path):
    raw = vspw_raw(tmp_path / "raw", [[255, 0, 5, 6]])
    png(raw / "data/a/mask/1.png", [[0, 1, 2, 124]])
    defects = Defects()
    build_vspw(raw, tmp_path / "data", defects=defects)
    assert not defects.lines


@pytest.mark.parametrize(("values", "is_told"), [([[1, 2, 3, 4]], True), ([[0, 2, 3, 4]], False)])
def test_predictions_that_look_released_are_not_read_as_shifted_silently(vspw, tmp_path, values, is_told):
    from typer.testing import CliRunner

    from ovsbench.cli import app

    png(tmp_path / "pred/a/0.png", values)
    command = [
        "import",
        str(tmp_path / "data"),
        str(tmp_path / "pred"),
        "--format",
        "vspw",
        "-o",
        str(tmp_path / "run"),
    ]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0
    assert ("--label-form released" in done.stderr) == is_told
