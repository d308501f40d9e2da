"""A part of a video, and every n-th frame of it, as a video."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import replace

from ovsbench.benchmark.errors import UsageError, UserError
from ovsbench.benchmark.types import Video


def cut(video: Video, *, start: str = "", end: str = "", every: int = 1) -> Video:
    """The frames from `start` up to but without `end`, every n-th of them; frames between are not read.

    Args:
        video: the whole.
        start, end: a frame number from 0, or seconds with an s, such as "120" or "4.5s", for the first frame that is
            shown then or later; "" for the video's own.
        every: 1 takes every frame.

    Raises:
        UsageError: not such a place.
        UserError: seconds in a video without times or a frame rate, or no frame left.
    """
    if every < 1:
        raise UserError(f"expected every frame or every n-th, n at least 1, got {every}. Write 1 for all")
    first, last = _frame(start, video, 0), _frame(end, video, len(video))
    numbers = range(first, min(last, len(video)), every)
    if not numbers:
        raise UserError(
            f"{video.id}: expected a start before the end and within its {len(video)} frames, got frames {first} to "
            f"{last}. Choose others"
        )
    read = video.read
    times = [video.seconds(number) for number in numbers]
    return replace(
        video,
        frames=tuple(video.frames[number] for number in numbers),
        fps=None if video.fps is None else video.fps / every,
        read=lambda index: read(numbers[index]),
        times=None if None in times else tuple(time for time in times if time is not None),
    )


def _frame(text: str, video: Video, default: int) -> int:
    if not text:
        return default
    if text.isdecimal() and len(text) < 19:
        return int(text)
    try:
        seconds = float(text.removesuffix("s")) if text.endswith("s") else math.nan
    except ValueError:
        seconds = math.nan
    if not (0 <= seconds < 1e9):
        raise UsageError(f"expected a frame number or seconds, such as 120 or 4.5s, got {text!r}. Write it that way")
    if video.seconds(0) is None:
        raise UserError(f"{video.id}: its frame rate is unknown, so {text!r} is no place in it. Give a frame number")
    return bisect_left(range(len(video)), seconds - 1e-6, key=lambda number: video.seconds(number) or 0.0)
