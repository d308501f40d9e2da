"""Videos too long for memory: what is read in parts is what is read at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from track_cases import SIZE, random_case

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.formats import foreign_json, ytvis_layout
from ovsbench.benchmark.formats.ytvis_layout import import_ytvis
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.metrics import burst, track_overlaps
from ovsbench.benchmark.metrics.burst import BurstAp, BurstHota
from ovsbench.benchmark.metrics.cgf1 import CgF1
from ovsbench.benchmark.metrics.phota import PhraseHota
from ovsbench.benchmark.metrics.teta import Teta
from ovsbench.benchmark.metrics.tracking import Tracking
from ovsbench.benchmark.storage import big_json, part_store, rle
from ovsbench.benchmark.storage.big_json import list_elements, read_span
from ovsbench.benchmark.storage.part_store import PartStore
from ovsbench.benchmark.storage.track_extents import Extent, measured_texts
from ovsbench.benchmark.types import Scope
from ovsbench.data_prep.ytvis import build_own_classes

METRICS = (Tracking(), Teta(), PhraseHota(), CgF1(), BurstHota(), BurstAp())
SCOPES = (Scope(), Scope(asked=(2, 5, 7)), Scope(absent=(9,), not_exhaustive=(5,)))


@pytest.mark.parametrize("seed", range(8))
def test_counts_do_not_depend_on_how_many_frames_are_in_memory(seed, monkeypatch):
    case = random_case(seed, frames=11, tracks=6)
    monkeypatch.setattr(burst, "_MOST", 3)
    at_once = [metric.count_overlaps(case.overlaps(scope)).to_json() for scope in SCOPES for metric in METRICS]
    monkeypatch.setattr(track_overlaps, "CHUNK", 3)
    monkeypatch.setattr(part_store, "IN_MEMORY", 1)
    in_parts = [metric.count_overlaps(case.overlaps(scope)).to_json() for scope in SCOPES for metric in METRICS]
    assert in_parts == at_once
    assert len(list(case.overlaps().pairs)) == 4


def test_parts_are_read_back_as_they_were_whether_in_memory_or_in_a_file(monkeypatch):
    dtype = np.dtype([("a", np.int32), ("b", np.float64)])
    parts = [np.array([(n, n / 3) for n in range(size)], dtype=dtype) for size in (3, 0, 40, 1)]
    for most in (1 << 20, 20):
        monkeypatch.setattr(part_store, "IN_MEMORY", most)
        store = PartStore()
        for part in parts:
            store.append(part)
        for first, second, expected in zip(store, store, parts, strict=True):  # two readers do not disturb each other
            assert first.tolist() == second.tolist() == expected.tolist()
        assert [part["a"].tolist() for part in store.mapped(lambda part: part[1:])] == [
            part["a"].tolist()[1:] for part in parts
        ]


def test_a_full_disk_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(part_store, "IN_MEMORY", 1)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(DataError, match="missing: cannot be written"):
        PartStore().append(np.zeros(9, dtype=[("a", np.int32)]))


def test_the_extent_of_a_track_is_that_of_its_parts():
    rng = np.random.default_rng(4)
    for _ in range(30):
        masks = rng.random((6, *SIZE)) < rng.choice([0.0, 0.02, 0.5, 1.0], (6, 1, 1))
        texts = [rle.encode(mask) for mask in masks]
        whole, first, second = (measured_texts([own], SIZE, len(own))[0][0] for own in (texts, texts[:2], texts[2:]))
        assert first.plus(second) == whole


def test_a_json_list_is_read_element_by_element(tmp_path, monkeypatch):
    monkeypatch.setattr(big_json, "CHUNK", 5)
    values: list[Any] = [{"é": [1, {"a": "]"}]}, 123456789, [], "ü", None, "x" * 40, -3.5e2]
    path = tmp_path / "x.json"
    for text in (json.dumps(values, indent=2), "\ufeff" + json.dumps(values, ensure_ascii=False) + "\n \n"):
        path.write_text(text, encoding="utf-8")
        found = list(list_elements(path, "a test"))
        assert [value for value, _ in found] == values
        assert [read_span(path, span) for _, span in found] == values
    path.write_text("[ ]")
    assert list(list_elements(path, "a test")) == []


@pytest.mark.parametrize(
    "text", ["", "[", "[1", "[1,", "[1,]", "[1 2]", "[1] 2", "[1]]", "{}", "7", "[" * 9999, "\xff"]
)
def test_what_is_no_json_list_is_refused(text, tmp_path):
    (tmp_path / "x.json").write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match="expected a test in JSON, got an error"):
        list(list_elements(tmp_path / "x.json", "a test"))


def mask(*counts: int) -> dict[str, Any]:
    return {"size": [3, 2], "counts": list(counts)}


@pytest.fixture
def benchmark(tmp_path: Path) -> Benchmark:
    """Two videos of 5 frames, one of another size of 3."""
    videos = [
        {"id": number, "width": width, "height": 3, "file_names": [f"{number}/{f}.jpg" for f in range(frames)]}
        for number, width, frames in ((1, 2, 5), (2, 2, 5), (3, 4, 3))
    ]
    shown = {"id": 1, "video_id": 1, "category_id": 4, "segmentations": [mask(2, 2, 2), None, None, None, None]}
    content = {"videos": videos, "categories": [{"id": 4, "name": "dog"}], "annotations": [shown]}
    (tmp_path / "gt.json").write_text(json.dumps(content))
    return build_own_classes(tmp_path / "gt.json", tmp_path / "data")


def rows() -> list[dict[str, Any]]:
    """Predictions whose videos come in turn."""
    made = []
    for n in range(9):
        video = 1 + n % 3
        masks = (
            [{"size": [3, 4], "counts": [n, 1, 11 - n]}] * 3 if video == 3 else [mask(n % 5, 1, 5 - n % 5), None] * 2
        )
        masks = masks if video == 3 else [*masks, mask(1, n % 4, 5 - n % 4)]
        made.append({"video_id": video, "category_id": 4, "score": n / 10, "segmentations": masks})
    return made


@pytest.mark.parametrize("together", [1, 2, 4, 7, 20_000])
def test_an_import_does_not_depend_on_how_much_is_decoded_at_once(together, benchmark, tmp_path, monkeypatch):
    monkeypatch.setattr(ytvis_layout, "_AT_ONCE", together)
    path = tmp_path / "results.json"
    path.write_text(json.dumps(rows(), indent=1))
    import_ytvis(benchmark, path, tmp_path / "run", name="theirs")
    for entry in benchmark.entries:
        own = [row for row in rows() if str(row["video_id"]) == entry.id]
        lines = (tmp_path / "run/predictions" / entry.id / "tracks.jsonl").read_text().splitlines()
        for number, (row, line) in enumerate(zip(own, lines, strict=True), 1):
            stored = json.loads(line)
            assert (stored["id"], stored["score"]) == (number, row["score"])
            texts = [None if m is None else rle.compress(m["counts"]) for m in row["segmentations"]]
            assert stored["masks"] == texts
            (extent,), _ = measured_texts([texts], entry.size, len(texts))
            assert Extent.from_json(stored) == extent


@pytest.mark.parametrize("together", [1, 3, 20_000])
def test_a_bad_mask_and_a_repeated_track_are_told_with_their_place(together, benchmark, tmp_path, monkeypatch):
    monkeypatch.setattr(ytvis_layout, "_AT_ONCE", together)
    bad = rows()
    bad[1]["segmentations"][4] = mask(1, 4)
    (tmp_path / "results.json").write_text(json.dumps([*bad, bad[0]]))
    with pytest.raises(DataError) as caught:
        import_ytvis(benchmark, tmp_path / "results.json", tmp_path / "run", name="theirs")
    first, second = str(caught.value).splitlines()[1:]
    assert "prediction 2 (video 2): frame 4: expected run lengths of 2x3 = 6 pixels, got 5" in first
    assert "prediction 10 (video 1): it repeats prediction 1 to the last pixel" in second
    assert not (tmp_path / "run").exists()


def test_a_long_file_of_another_benchmark_is_told_apart_from_one_with_many_faults(benchmark, tmp_path):
    foreign = [{**rows()[0], "video_id": 77}] * 1200
    (tmp_path / "results.json").write_text(json.dumps(foreign))
    with pytest.raises(DataError, match=r"none of the videos of its first 1001 predictions is in ytvis .77 are not"):
        import_ytvis(benchmark, tmp_path / "results.json", tmp_path / "run", name="theirs")
    (tmp_path / "results.json").write_text(json.dumps([rows()[0], *foreign]))
    with pytest.raises(DataError, match="more than 1000 faults"):
        import_ytvis(benchmark, tmp_path / "results.json", tmp_path / "run", name="theirs")
    (tmp_path / "results.json").write_text(json.dumps([1] * 1200))
    with pytest.raises(DataError, match="expected predictions with video_id, got 1"):
        import_ytvis(benchmark, tmp_path / "results.json", tmp_path / "run", name="theirs")


def test_a_file_that_is_read_as_a_whole_may_not_be_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(foreign_json, "MOST_BYTES", 4)
    (tmp_path / "x.json").write_text("[1, 2]")
    with pytest.raises(DataError, match="expected JSON of at most 0 MB"):
        foreign_json.read_raw(tmp_path / "x.json")


def test_the_extent_of_a_long_track_is_that_of_all_its_masks_and_a_broken_one_is_named():
    rng = np.random.default_rng(0)
    masks = [rle.encode(rng.random((6, 7)) < 0.3) if rng.random() < 0.7 else None for _ in range(1300)]
    masks[511], masks[512] = rle.encode(np.ones((6, 7), bool)), rle.encode(np.ones((6, 7), bool))  # two parts meet here
    whole = measured_texts([masks], (6, 7), 1300)[0][0]
    assert Extent.of_texts(masks, (6, 7)) == whole
    corner = np.zeros((6, 7), bool)
    corner[2, 3] = True
    few = [None] * 600 + [rle.encode(corner)] + [None] * 599
    assert Extent.of_texts(few, (6, 7)) == Extent(1, 1, (2, 3, 3, 4))
    assert Extent.of_texts([None] * 1300, (6, 7)) == Extent(0, 0, (0, 0, 0, 0))
    masks[900] = rle.encode(np.ones((6, 6), bool))
    with pytest.raises(DataError, match="frame 900: expected run lengths of 7x6 = 42 pixels, got 36"):
        Extent.of_texts(masks, (6, 7))
