"""Reading and writing beside the method's work give what doing one after the other gives."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ovsbench.benchmark.engine import predict
from ovsbench.benchmark.errors import DataError, MethodError
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.running.pipeline import AHEAD, Behind, ReadAhead
from ovsbench.benchmark.storage.store import FrameFolder
from ovsbench.benchmark.types import PanopticFrame, Rules, Segment, Video, Vocabulary


def number(index: int) -> np.ndarray:
    return np.full((1, 1, 3), index, np.uint8)


@pytest.mark.parametrize("order", [range(9), [3, 3, 0, 1, 2, 8, 7], range(0, 9, 3), [8, 0, 1, 0, 1, 2]])
def test_every_order_gives_the_images_that_were_asked_for(order: list[int]):
    with ReadAhead(number, 9) as images:
        assert [int(images(index)[0, 0, 0]) for index in order] == list(order)


def test_images_in_order_are_read_once_by_one_thread_and_never_far_ahead():
    asked: list[int] = []
    threads: set[int] = set()

    def read(index: int) -> np.ndarray:
        asked.append(index)
        threads.add(threading.get_ident())
        return number(index)

    with ReadAhead(read, 10**9) as images:
        for index in range(20):
            images(index)
            assert max(asked) <= index + AHEAD
    assert asked == list(range(len(asked)))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_the_next_image_is_read_while_the_method_works():
    begun = threading.Event()

    def read(index: int) -> np.ndarray:
        if index == 1:
            begun.set()
        return number(index)

    with ReadAhead(read, 3) as images:
        images(0)
        assert begun.wait(5), "nobody asked for image 1 yet"


def test_a_broken_image_is_told_when_it_is_asked_for_and_not_before():
    def read(index: int) -> np.ndarray:
        if index == 2:
            raise DataError("frame 2 is damaged")
        return number(index)

    with ReadAhead(read, 4) as images:
        assert [images(index) is not None for index in (0, 1)] == [True, True]
        with pytest.raises(DataError, match="frame 2 is damaged"):
            images(2)


def test_a_consumer_takes_everything_before_the_block_ends():
    taken: list[int] = []

    def slowly(items: Iterator[int]) -> None:
        for item in items:
            time.sleep(0.001)
            taken.append(item)

    with Behind(slowly) as behind:
        for item in range(20):
            behind.put(item)
    assert taken == list(range(20))


def test_what_a_consumer_raises_reaches_the_producer_and_nobody_waits_for_ever():
    def fails(items: Iterator[int]) -> None:
        for item in items:
            if item == 2:
                raise DataError("the disk is full")

    put: list[int] = []
    with pytest.raises(DataError, match="the disk is full"), Behind(fails, room=1) as behind:
        for item in range(10**6):
            behind.put(item)
            put.append(item)
    assert len(put) < 10**6
    with pytest.raises(DataError, match="the disk is full"), Behind(fails) as behind:
        for item in range(3):
            behind.put(item)


def test_a_consumer_whose_producer_failed_cleans_up_and_writes_no_more():
    ends: list[str] = []

    def consume(items: Iterator[int]) -> None:
        try:
            for _ in items:
                pass
            ends.append("well")
        finally:
            ends.append("cleaned")

    with pytest.raises(MethodError, match="broken"), Behind(consume) as behind:
        behind.put(1)
        raise MethodError("the method is broken")
    assert ends == ["cleaned"]


class Reuses:
    """A method that writes all its answers into the same array and the same dictionary."""

    def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame]:
        ids, segments = np.zeros(video.size, np.uint32), {}
        first, second = list(vocabulary)[:2]
        for index, _ in enumerate(video.images()):
            ids[:] = index + 1
            segments.clear()
            segments[index + 1] = Segment(index + 1, (first if index % 2 else second).id)
            yield PanopticFrame(ids, segments)


def test_a_method_that_uses_its_arrays_again_is_written_as_it_answered(build_benchmark, tmp_path: Path):
    benchmark = build_benchmark()
    predict(Reuses(), benchmark, tmp_path / "run", settings=Settings(method="reuses"), limit=1)
    frames = FrameFolder(tmp_path / "run" / "predictions" / benchmark.entries[0].id)
    for index in range(len(benchmark.entries[0].frames)):
        assert set(frames.frame(index).segments) == {index + 1}
