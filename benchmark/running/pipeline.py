"""Reading and writing beside the method's work: the next images are read and the last frames written meanwhile.

One thread reads, one writes, a few items wait between them and the method: memory does not depend on the length of the
video. What fails in a thread is raised where its outcome is asked for.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar

from ovsbench.benchmark.types import Image, InstanceFrame, InstanceMask, InstanceTrack, PanopticFrame

AHEAD = 4
"""Images that wait to be asked for, and frames that wait to be written, at most."""
_Item = TypeVar("_Item")
_End = Literal["complete", "failed"]
"""What follows the last item."""


class ReadAhead:
    """Reads the images of a video in a thread of its own; while they are asked for in order, the next ones too.

    An image is read when the method gets near it, never twice for being asked for once, and never by two threads at a
    time, which readers of video files could not bear.

    Args:
        read: frame number to image.
        length: number of frames.
        ahead: how many images may wait.
    """

    def __init__(self, read: Callable[[int], Image], length: int, ahead: int = AHEAD) -> None:
        self._read, self._length, self._ahead = read, length, ahead
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="images")
        self._lock = threading.Lock()
        self._coming: dict[int, Future[Image]] = {}
        self._last = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def __call__(self, index: int) -> Image:
        """The image; raises what reading it raised."""
        with self._lock:
            wanted = self._coming.pop(index, None)
            if wanted is None:  # asked for out of order: what was to come is not wanted
                for other in self._coming.values():
                    other.cancel()
                self._coming.clear()
                wanted = self._pool.submit(self._read, index)
            if index == self._last + 1:
                for ahead in range(index + 1, min(index + 1 + self._ahead, self._length)):
                    if ahead not in self._coming:
                        self._coming[ahead] = self._pool.submit(self._read, ahead)
            self._last = index
        return wanted.result()


def own(frame: PanopticFrame) -> PanopticFrame:
    """A copy of a frame, which a method that uses its arrays again cannot change."""
    return PanopticFrame(frame.ids.copy(), dict(frame.segments))


def own_instances(frame: InstanceFrame) -> InstanceFrame:
    """Likewise of the objects of a frame."""
    return InstanceFrame(tuple(InstanceMask(o.track, o.mask.copy(), dict(o.scores)) for o in frame.objects))


def own_track(track: InstanceTrack) -> InstanceTrack:
    """Likewise of a whole track, whose numbers may be numpy's and whose masks a list."""
    return InstanceTrack(int(track.id), int(track.category), tuple(track.masks), float(track.score))


def adding(add: Callable[[Any], object]) -> Callable[[Iterator[Any]], None]:
    """The consumer that gives every answer to a writer's `add`."""

    def consume(answers: Iterator[Any]) -> None:
        for answer in answers:
            add(answer)

    return consume


class _AbandonedError(Exception):
    """Ends a consumer whose producer failed, so that it cleans up."""


class Behind(Generic[_Item]):
    """Hands items to a consumer that works in a thread of its own.

    At the end of the `with` block the consumer has taken everything. If the block fails, the consumer is stopped by an
    exception at its next item. If the consumer fails, its exception is raised by the next `put`, or at the end.

    >>> with Behind(lambda numbers: print(sum(numbers))) as adding:
    ...     adding.put(1)
    ...     adding.put(2)
    3

    Args:
        consume: goes through the items.
        room: how many items may wait; `put` waits for room.
    """

    def __init__(self, consume: Callable[[Iterator[_Item]], object], room: int = AHEAD) -> None:
        self._consume = consume
        self._items: queue.Queue[tuple[_Item] | _End] = queue.Queue(room)
        self._has_ended = False
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="frames")

    def __enter__(self) -> Self:
        self._work = self._pool.submit(self._run)
        self._pool.submit(self._drain)  # after it, in the same thread
        return self

    def put(self, item: _Item) -> None:
        """Hands over an item that nobody changes any more; raises what the consumer raised so far."""
        if self._work.done():
            self._work.result()
        self._items.put((item,))

    def finish(self) -> None:
        """Waits until the consumer has taken everything; raises what it raised. Nothing is handed over afterwards."""
        self._items.put("complete")
        self._work.result()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._pool:
            if kind is None:
                self.finish()
            else:
                self._items.put("failed")

    def _run(self) -> None:
        stream = self._stream()
        try:
            self._consume(stream)
        except _AbandonedError:
            pass
        finally:
            stream.close()

    def _drain(self) -> None:
        """Keeps the producer of a consumer that failed from waiting for room in a queue that nobody empties."""
        while not self._has_ended:
            self._has_ended = isinstance(self._items.get(), str)

    def _stream(self) -> Generator[_Item]:
        while not isinstance(item := self._items.get(), str):
            yield item[0]
        self._has_ended = True
        if item == "failed":
            raise _AbandonedError
