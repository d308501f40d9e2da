"""What is computed of each batch of frames, in the frames' order, with the device kept busy."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from ovsbench.benchmark.timing.stages import keeps_to_one_thread, stage, working_beside

MOST_AT_ONCE = 8
"""Batches that a processor works on at a time; each needs the memory of a network's activations."""

Result = TypeVar("Result")


def computed(
    compute: Callable[[torch.Tensor], Result], batches: Iterable[torch.Tensor], device: str | torch.device
) -> Generator[Result, None, None]:
    """Yields what `compute` makes of each batch, in order.

    A GPU already works on the next batch while what came of the last one is taken. A processor works on as many batches
    at a time as torch has threads, each batch on a thread of its own: unlike threads that share out an operation, these
    do not wait for one another thousands of times a frame, and how many they are changes no bit of what they compute.
    An answer waits until as many later batches have been read.

    Args:
        compute: is called from several threads at a time.
        batches: uint8 (B, 3, H, W), read as they are wanted.
        device: where they are.
    """
    threads = torch.get_num_threads()
    if torch.device(device).type != "cpu":
        yield from _one_ahead(map(compute, batches))
    elif threads == 1 or keeps_to_one_thread():
        yield from map(compute, batches)
    else:
        at_once = min(threads, MOST_AT_ONCE)
        torch.set_num_threads(threads // at_once)
        try:
            yield from _by_threads(compute, batches, at_once)
        finally:
            torch.set_num_threads(threads)


def _one_ahead(results: Iterator[Result]) -> Iterator[Result]:
    waiting = deque[Result]()
    with working_beside():
        for result in results:
            waiting.append(result)
            if len(waiting) > 1:
                yield waiting.popleft()
    yield from waiting


def _by_threads(
    compute: Callable[[torch.Tensor], Result], batches: Iterable[torch.Tensor], at_once: int
) -> Iterator[Result]:
    waiting = deque[Future[Result]]()
    with working_beside(), ThreadPoolExecutor(at_once, thread_name_prefix="batches") as pool:
        for batch in batches:
            waiting.append(pool.submit(compute, batch))
            if len(waiting) > at_once:
                yield _result(waiting.popleft())
        while waiting:
            yield _result(waiting.popleft())


def _result(future: Future[Result]) -> Result:
    with stage("model"):  # which is waited for; its parts pass in other threads
        return future.result()
