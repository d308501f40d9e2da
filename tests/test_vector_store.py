"""The cache of a teacher's vectors: what is added is found, by other processes too, and damage is noticed."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
from ovsbench.benchmark.errors import DataError
from ovsbench.gkc_video.training.vector_store import VectorStore, VectorWriter


def vectors(key: int, rows: int = 3) -> np.ndarray:
    return np.random.default_rng(key).standard_normal((rows, 5)).astype(np.float16)


def test_what_is_added_is_found_at_once_also_by_a_store_that_looked_before(tmp_path: Path):
    store = VectorStore(tmp_path)
    assert store.find(1) is None
    with VectorWriter(tmp_path) as writer:
        for key in (1, 7 << 40, 3):
            writer.add(key, vectors(key))
            assert np.array_equal(store.find(key), vectors(key))
        writer.add(3, vectors(99))
        assert np.array_equal(store.find(3), vectors(3)), "an entry stays"
        writer.add(4, vectors(4, rows=0))
    assert store.find(4).shape == (0, 5)
    assert store.find(5) is None
    assert sorted(path.suffix for path in tmp_path.iterdir() if path.name[0] != ".") == [".index", ".vectors"]


def test_two_writers_have_files_of_their_own_and_the_next_goes_on_with_the_first(tmp_path: Path):
    with VectorWriter(tmp_path) as first, VectorWriter(tmp_path) as second:
        first.add(1, vectors(1))
        second.add(1, vectors(1))
        second.add(2, vectors(2))
    with VectorWriter(tmp_path) as third:
        third.add(3, vectors(3))
    assert sorted(path.name for path in tmp_path.glob("*.index")) == ["0.index", "1.index"]
    assert all(np.array_equal(VectorStore(tmp_path).find(key), vectors(key)) for key in (1, 2, 3))
    assert (tmp_path / "1.index").stat().st_size == 28, "what another has is not written twice"


@pytest.mark.parametrize("cut", [1, 27])
def test_what_a_killed_process_left_half_written_is_cut_off(tmp_path: Path, cut: int):
    with VectorWriter(tmp_path) as writer:
        writer.add(1, vectors(1))
        writer.add(2, vectors(2))
    index = tmp_path / "0.index"
    index.write_bytes(index.read_bytes()[:-cut])  # its numbers are there, its record is not
    assert VectorStore(tmp_path).find(2) is None
    with VectorWriter(tmp_path) as writer:
        writer.add(3, vectors(3))
        writer.add(2, vectors(2))
    assert all(np.array_equal(VectorStore(tmp_path).find(key), vectors(key)) for key in (1, 2, 3))
    assert (tmp_path / "0.vectors").stat().st_size == 3 * 30


def test_a_cut_or_changed_file_is_named_with_what_to_do(tmp_path: Path):
    with VectorWriter(tmp_path) as writer:
        writer.add(1, vectors(1))
        writer.add(2, vectors(2))
    whole = (tmp_path / "0.vectors").read_bytes()
    (tmp_path / "0.vectors").write_bytes(whole[:-1])
    message = r"0\.vectors: expected cached vectors of a teacher, got 59 bytes .* asks for 60\. Remove it and 0\.index"
    for opening in (lambda: VectorStore(tmp_path).find(1), lambda: VectorWriter(tmp_path)):
        with pytest.raises(DataError, match=message):
            opening()
    (tmp_path / "0.vectors").write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
    assert np.array_equal(VectorStore(tmp_path).find(1), vectors(1)), "the other entry is sound"
    with pytest.raises(DataError, match="numbers of another checksum"):
        VectorStore(tmp_path).find(2)


def add_many(folder: Path, keys: list[int]) -> None:
    with VectorWriter(folder) as writer:
        for key in keys:
            writer.add(key, vectors(key))


def test_processes_write_and_read_at_the_same_time(tmp_path: Path):
    fresh = multiprocessing.get_context("spawn")
    workers = [fresh.Process(target=add_many, args=(tmp_path, [*range(n, 400, 3), *range(40)])) for n in range(3)]
    for worker in workers:
        worker.start()
    store, met = VectorStore(tmp_path), 0
    while any(worker.is_alive() for worker in workers):
        for key in range(0, 400, 37):
            found = store.find(key)
            if found is not None:
                met += 1
                assert np.array_equal(found, vectors(key))
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert all(np.array_equal(store.find(key), vectors(key)) for key in range(400))


@pytest.mark.parametrize("place", [0, 8, 12])
def test_a_changed_record_is_never_taken_for_another_entry(tmp_path: Path, place: int):
    with VectorWriter(tmp_path) as writer:
        for key in (1, 2):
            writer.add(key, np.full((2, 4), key, np.float16))
    index = bytearray((tmp_path / "0.index").read_bytes())
    index[place] ^= 6  # the key 1 becomes 7; or more rows or columns
    (tmp_path / "0.index").write_bytes(index)
    store = VectorStore(tmp_path)
    with pytest.raises(DataError, match="expected cached vectors of a teacher"):
        store.find(7 if place == 0 else 1)
    index[11] = 255  # more rows than any memory holds
    (tmp_path / "0.index").write_bytes(index)
    with pytest.raises(DataError, match="expected cached vectors of a teacher"):
        VectorStore(tmp_path).find(7 if place == 0 else 1)
