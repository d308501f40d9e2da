"""What is computed of several batches at a time comes in order, and as one thread alone would give it."""

import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ovsbench.benchmark.errors import DataError, MethodError
from ovsbench.benchmark.running.frame_loop import predict_video
from ovsbench.benchmark.timing.stages import StageClock, works_beside
from ovsbench.benchmark.types import Category, PanopticFrame, Rules, Segment, Video, Vocabulary
from ovsbench.gkc_video import region_cache
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

    def compute(batch: torch.Tensor) -> str:
        together.wait(60)  # breaks unless so many are there
        return threading.current_thread().name

    assert len(set(computed(compute, numbered(6), "cpu"))) == threads


def os_threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.mark.skipif(sys.platform != "linux", reason="counts the threads of the process as Linux shows them")
@pytest.mark.parametrize(("most", "share"), [(8, 1), (1, 3)])
def test_operations_of_a_thread_take_its_share_from_the_first_one_on(
    threads: int, monkeypatch: pytest.MonkeyPatch, most: int, share: int
) -> None:
    monkeypatch.setattr(batches, "MOST_AT_ONCE", most)
    factor = torch.rand(600, 600)

    def helpers(_: torch.Tensor) -> tuple[int, int]:
        before = os_threads()
        factor @ factor  # by the BLAS, which does not ask torch for the number
        return os_threads() - before, torch.get_num_threads()

    assert list(computed(helpers, numbered(1), "cpu")) == [(share - 1, share)]


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


def broken(index: int, image: int) -> np.ndarray:
    if index == image:
        raise OSError(f"image {image} is broken")
    return np.zeros((2, 3, 3), np.uint8)


@pytest.mark.parametrize(("device", "count"), [("cpu", 1), ("cpu", 3), ("cpu", 8), ("cuda", 1)])
@pytest.mark.parametrize(("image", "frame", "reason"), [(5, 9, "image 5 is broken"), (4, 2, "no frame 2")])
def test_all_answers_before_the_first_error_come_out(
    threads: int, device: str, count: int, image: int, frame: int, reason: str
) -> None:
    torch.set_num_threads(count)

    def images() -> Iterator[torch.Tensor]:
        for batch in numbered(9):
            broken(number(batch), image)
            yield batch

    def compute(batch: torch.Tensor) -> int:
        if number(batch) == frame:
            raise MethodError(f"no frame {frame}")
        return number(batch)

    answers: list[int] = []
    with pytest.raises((OSError, MethodError), match=reason):
        answers.extend(computed(compute, images(), device))
    assert answers == list(range(min(image, frame)))


class Answering:
    """A method that answers on a device whatever a batch's number is."""

    name = "answering"

    def __init__(self, device: str) -> None:
        self.device = device

    def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame]:
        images = (torch.from_numpy(image).permute(2, 0, 1)[None] for image in video.images())
        for _ in computed(number, images, self.device):
            yield PanopticFrame(np.ones(video.size, np.uint32), {1: Segment(1, 1)})


WORDS = Vocabulary((Category(1, "dog", True),))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_frame_that_failed_is_named(threads: int, device: str) -> None:
    video = Video("one", tuple(map(str, range(9))), (2, 3), lambda index: broken(index, 5))
    with pytest.raises(MethodError, match=r"video one, frame 5: .*image 5 is broken"):
        predict_video(Answering(device), video, WORDS, Rules(), list)


def pool_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("batches")]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_nothing_goes_on_after_a_sink_has_failed(threads: int, device: str) -> None:
    def full(frames: Iterator[PanopticFrame]) -> None:
        next(frames)
        raise OSError("the disk is full")

    video = Video("one", tuple(map(str, range(60))), (2, 3), lambda index: broken(index, 60))
    with pytest.raises(OSError, match="the disk is full") as kept:
        predict_video(Answering(device), video, WORDS, Rules(), full)
    assert kept.value.__traceback__ is not None, "which holds the loop and all that it went through"
    assert not works_beside()
    assert not pool_threads()


def test_nothing_goes_on_after_regions_could_not_be_kept(
    threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(region_cache, "_save", full)
    video = Video("one", tuple(map(str, range(9))), (32, 32), lambda _: np.zeros((32, 32, 3), np.uint8))
    with pytest.raises(DataError, match="the disk is full") as kept:
        region_cache.record(build(checkpoint=Path("gkc-world-fast"), device="cpu"), video, WORDS, tmp_path / "cache")
    assert kept.value.__cause__ is not None, "which holds all that the regions went through"
    assert not works_beside()
    assert not pool_threads()


def test_an_interrupt_begins_nothing_more(threads: int) -> None:
    begun: set[int] = set()

    def compute(batch: torch.Tensor) -> None:
        begun.add(number(batch))
        if number(batch) == 2:
            time.sleep(0.1)  # until the fourth batch waits for a thread
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.6)

    with pytest.raises(KeyboardInterrupt):
        list(computed(compute, numbered(9), "cpu"))
    assert begun <= {0, 1, 2}


def threads_of_a_new_thread() -> int:
    counts: list[int] = []
    new = threading.Thread(target=lambda: counts.append(torch.get_num_threads()))
    new.start()
    new.join()
    return counts[0]


@pytest.mark.parametrize(("first", "second"), [(5, 9), (9, 5)])
def test_of_two_that_overlap_neither_changes_the_others_threads(threads: int, first: int, second: int) -> None:
    def name(batch: torch.Tensor) -> str:
        return threading.current_thread().name

    one, other = computed(name, numbered(first), "cpu"), computed(name, numbered(second), "cpu")
    for both in itertools.zip_longest(one, other):
        assert all(each is None or each.startswith("batches") for each in both)
        assert (torch.get_num_threads(), threads_of_a_new_thread()) == (threads, threads)
        assert works_beside() == (both != (None, None))
    assert not works_beside()
    assert not pool_threads()


def test_what_begins_in_one_thread_may_end_in_another(threads: int) -> None:
    results = computed(number, numbered(9), "cpu")
    assert next(results) == 0
    assert works_beside()
    ending = threading.Thread(target=results.close)
    ending.start()
    ending.join()
    assert not works_beside()
    assert (torch.get_num_threads(), threads_of_a_new_thread()) == (threads, threads)


def test_autocast_of_the_caller_holds(threads: int) -> None:
    factor = torch.rand(4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert set(computed(lambda _: (factor @ factor).dtype, numbered(4), "cpu")) == {torch.bfloat16}


def names(*words: str) -> Vocabulary:
    return Vocabulary(tuple(Category(key, word, True) for key, word in enumerate(words, 1)))


def test_a_vocabulary_that_another_thread_needs_meanwhile_changes_nothing() -> None:
    method = build(checkpoint=Path("gkc-world-fast"), device="cpu")
    method.name_table(names("red", "blue"))
    intruding = dict(method._tables)
    others = method.network._head(method.name_table(names("red", "blue")))

    class Tables(dict[str, Any]):
        def __setitem__(self, key: str, value: Any) -> None:
            self.clear()
            self.update(intruding)

    class Heads(list[Any]):
        def __setitem__(self, at: Any, kept: Any) -> None:
            super().__setitem__(at, [(next(iter(intruding.values())), others)])

    contended = replace(method, _tables=Tables(), network=replace(method.network, _heads=Heads()))
    table = contended.name_table(names("dog", "cat", "grass"))
    assert table.classes == 3
    assert contended.network._head(table).classes == 3


def test_frames_do_not_depend_on_the_number_of_threads(threads: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 40, 56, 3), dtype=np.uint8)
    video = Video("one", tuple(f"{index}" for index in range(5)), (40, 56), images.__getitem__)
    words = names("dog", "cat", "grass")

    def frames(count: int) -> list[PanopticFrame]:
        torch.set_num_threads(count)
        method = build(checkpoint=Path("gkc-world-fast"), device="cpu")
        return [frame for frame in method.predict(video, words, Rules()) if isinstance(frame, PanopticFrame)]

    for one, other in zip(frames(1), frames(3), strict=True):
        assert np.array_equal(one.ids, other.ids)
        assert one.segments == other.segments
