"""What is computed of several batches at a time comes in order, and as one thread alone would give it."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.timing.stages import StageClock
from ovsbench.benchmark.types import Category, PanopticFrame, Rules, Video, Vocabulary
from ovsbench.gkc_video.method import build
from ovsbench.gkc_video.model import batches, computed


@pytest.fixture
def threads() -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(before)


def numbered(count: int) -> list[torch.Tensor]:
    return [torch.full((1, 3, 2, 2), index, dtype=torch.uint8) for index in range(count)]


def number(batch: torch.Tensor) -> int:
    return int(batch[0, 0, 0, 0])


def noted(count: int, read: list[int]) -> Iterator[torch.Tensor]:
    """Numbered batches; the numbers of those that were asked for are put into a list."""
    for batch in numbered(count):
        read.append(number(batch))
        yield batch


def test_results_come_in_the_order_of_the_batches(threads: int) -> None:
    def compute(batch: torch.Tensor) -> int:
        time.sleep(0.002 * (number(batch) % 3))
        return number(batch)

    assert list(computed(compute, numbered(20), "cpu")) == list(range(20))


def test_as_many_batches_are_worked_on_at_a_time_as_torch_has_threads(threads: int) -> None:
    together = threading.Barrier(threads)

    def compute(batch: torch.Tensor) -> tuple[str, int]:
        together.wait(60)  # breaks unless so many are there
        return threading.current_thread().name, torch.get_num_threads()

    found = list(computed(compute, numbered(6), "cpu"))
    assert len({name for name, _ in found}) == threads
    assert {inner for _, inner in found} == {1}
    assert torch.get_num_threads() == threads


def test_threads_beyond_the_most_batches_share_out_the_operations(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MOST_AT_ONCE", 1)
    assert set(computed(lambda _: torch.get_num_threads(), numbered(3), "cpu")) == {3}


def test_no_more_is_read_than_is_worked_on_and_the_next(threads: int) -> None:
    read: list[int] = []
    for index, _ in enumerate(computed(number, noted(20, read), "cpu")):
        assert len(read) <= index + 1 + threads


def test_one_thread_answers_before_the_next_batch_is_read(threads: int) -> None:
    torch.set_num_threads(1)
    read: list[int] = []
    for index, _ in enumerate(computed(number, noted(4, read), "cpu")):
        assert read == list(range(index + 1))


def test_a_gpu_works_on_the_next_batch_while_the_last_one_is_taken():
    made: list[int] = []

    def compute(batch: torch.Tensor) -> int:
        made.append(number(batch))
        return number(batch)

    for index, found in enumerate(computed(compute, numbered(4), "cuda")):
        assert found == index
        assert made == list(range(min(index + 2, 4)))


def test_a_clock_that_hears_every_stage_keeps_the_work_in_its_thread(threads: int) -> None:
    with StageClock(one_thread=True).listening():
        assert set(computed(lambda _: threading.get_ident(), numbered(4), "cpu")) == {threading.get_ident()}
    with StageClock().listening():
        assert threading.get_ident() not in set(computed(lambda _: threading.get_ident(), numbered(4), "cpu"))


def test_an_error_of_a_batch_comes_out_where_its_result_would(threads: int) -> None:
    def compute(batch: torch.Tensor) -> int:
        if number(batch) == 2:
            raise MethodError("the third")
        return number(batch)

    results = computed(compute, numbered(9), "cpu")
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(MethodError, match="the third"):
        next(results)
    assert torch.get_num_threads() == threads


def test_a_caller_who_leaves_early_gets_the_threads_back(threads: int) -> None:
    results = computed(number, numbered(9), "cpu")
    assert next(results) == 0
    results.close()
    assert torch.get_num_threads() == threads


def test_frames_do_not_depend_on_the_number_of_threads(threads: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 40, 56, 3), dtype=np.uint8)
    video = Video("one", tuple(f"{index}" for index in range(5)), (40, 56), images.__getitem__)
    words = Vocabulary(tuple(Category(key, name, True) for key, name in enumerate(("dog", "cat", "grass"), 1)))
    method = build(checkpoint=Path("gkc-world-fast"), device="cpu")

    def frames(count: int) -> list[PanopticFrame]:
        torch.set_num_threads(count)
        return [frame for frame in method.predict(video, words, Rules()) if isinstance(frame, PanopticFrame)]

    for one, other in zip(frames(1), frames(3), strict=True):
        assert np.array_equal(one.ids, other.ids)
        assert one.segments == other.segments
