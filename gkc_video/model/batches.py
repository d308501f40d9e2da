"""What is computed of each batch of frames, in the frames' order, with the device kept busy."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
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

    An error, of reading a batch or of `compute`, comes after the answers to all batches before it; of several the first
    one. Batches that were not begun then never are, nor when the caller leaves early.

    Args:
        compute: is called from several threads at a time, in which a mode of the caller's thread, such as torch's
            `FlopCounterMode`, does not hold. Under autocast it is called in the caller's thread alone.
        batches: uint8 (B, 3, H, W), read as they are wanted.
        device: where they are.
    """
    threads = torch.get_num_threads()
    if torch.device(device).type != "cpu":
        with working_beside():
            yield from _in_order(_begun(lambda batch: _finished(compute(batch)), batches), ahead=1)
    elif threads == 1 or keeps_to_one_thread() or torch.is_autocast_enabled("cpu"):
        yield from map(compute, batches)
    else:
        at_once = min(threads, MOST_AT_ONCE)
        with working_beside(), _pool(at_once, threads) as pool:
            yield from _in_order(_begun(lambda batch: pool.submit(compute, batch), batches), ahead=at_once)


def _finished(result: Result) -> Future[Result]:
    future = Future[Result]()
    future.set_result(result)
    return future


@contextmanager
def _pool(at_once: int, threads: int) -> Iterator[ThreadPoolExecutor]:
    """Threads whose operations take an equal share of torch's threads each; all that was begun is done at the end."""
    started = threading.Barrier(at_once)

    def start() -> None:
        torch.get_num_threads()  # the first time a thread asks, torch sets its number to that of the last thread set
        torch.set_num_threads(threads // at_once)
        started.wait()  # nobody takes a second one of these

    pool = ThreadPoolExecutor(at_once, thread_name_prefix="batches")
    try:
        wait([pool.submit(start) for _ in range(at_once)])
        torch.set_num_threads(threads)  # what was set there is also what new threads of others begin with
        yield pool
    finally:
        started.abort()
        pool.shutdown(cancel_futures=True)


def _begun(
    begin: Callable[[torch.Tensor], Future[Result]], batches: Iterable[torch.Tensor]
) -> Iterator[Future[Result]]:
    """The work on each batch; where a batch cannot be read, or not be begun, the last one, which has failed."""
    try:
        for batch in batches:
            yield begin(batch)
    except Exception as error:
        failed = Future[Result]()
        failed.set_exception(error)
        yield failed


def _in_order(work: Iterable[Future[Result]], ahead: int) -> Iterator[Result]:
    """What comes of each, once so many later ones have begun."""
    waiting = deque[Future[Result]]()
    for future in work:
        waiting.append(future)
        if len(waiting) > ahead:
            yield _result(waiting.popleft())
    while waiting:
        yield _result(waiting.popleft())


def _result(future: Future[Result]) -> Result:
    if not future.done():
        with stage("model"):  # which is waited for; its parts pass in other threads
            wait([future])
    return future.result()
