from __future__ import annotations

import dataclasses
import random
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from ovsbench.benchmark import machine, record
from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.record import RunRecord, Settings, Timing


def test_a_folder_of_weights_has_a_digest_of_names_and_bytes(tmp_path):
    for folder in ("one", "two", "three"):
        (tmp_path / folder).mkdir()
    for folder, order in (("one", "ab"), ("two", "ba"), ("three", "ac")):
        for name in order:
            (tmp_path / folder / name).write_text("same")
    one, two, three = (machine.path_digest(tmp_path / folder) for folder in ("one", "two", "three"))
    assert one == two != three


def test_times_add_up_and_the_warm_up_stays_apart():
    total = Timing(3, 1.5, warmup_frames=1, warmup_seconds=9.0) + Timing(5, 0.5, 1.0, 2.0)
    assert total == Timing(8, 2.0, 1.0, 2.0, 1, 9.0)
    assert total.fps == 4.0
    assert Timing().fps is None


def test_facts_that_a_method_tells_are_in_its_record(build_benchmark):
    class Told:
        notes = {"saw_novel": False, "precision": "float16"}  # noqa: RUF012
        checkpoint_sha256 = "abc"
        device = "cpu"

    facts = record.describe(Told(), Settings("told", checkpoint="short-name"), build_benchmark(videos=1))
    assert facts.notes == {"saw_novel": "False", "precision": "float16"}
    assert (facts.checkpoint, facts.checkpoint_sha256, facts.device) == ("short-name", "abc", "cpu")
    assert facts.entry_point.endswith("Told")


def test_what_was_written_is_read(build_benchmark, tmp_path):
    facts = record.describe(object(), Settings("none", options={"a": "1"}), build_benchmark(videos=1))
    facts = dataclasses.replace(facts, limit=3, timing=Timing(2, 0.25), peak_device_memory_gb=1.5)
    facts.write(tmp_path)
    assert RunRecord.read(tmp_path) == facts


def test_a_damaged_record_is_one_sentence(tmp_path):
    (tmp_path / "run.json").write_text('{"schema": 1, "timing": {}, "categories": [], "colour": 1}')
    with pytest.raises(DataError, match=r"run\.json: a part of the record is missing or odd"):
        RunRecord.read(tmp_path)


def test_the_same_video_gets_the_same_random_numbers_whenever_it_is_made():
    def draw(seed: int, video: str) -> tuple[float, float]:
        machine.set_seed(seed, video)
        return random.random(), float(np.random.rand())

    first = draw(0, "a")
    assert draw(0, "b") != first != draw(1, "a")
    assert draw(0, "a") == first


def test_the_threads_of_torch_are_recorded_once_it_is_loaded(monkeypatch, build_benchmark):
    benchmark = build_benchmark(videos=1)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(get_num_threads=lambda: 3))
    assert record.describe(object(), Settings("none", device="cpu"), benchmark).threads == 3
    monkeypatch.delitem(sys.modules, "torch")
    assert record.describe(object(), Settings("none", device="cpu"), benchmark).threads is None


def test_the_hardware_has_a_name_without_torch():
    assert machine.device_name("cpu")
    if "torch" not in sys.modules:
        assert machine.peak_device_memory_gb() is None
