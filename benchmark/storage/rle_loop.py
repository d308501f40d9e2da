"""The loop over the letters of a track's masks, for numba: the run lengths of all texts, summed up as they are read.

What it gives is what `rle.tube_of` and `Extent.of` give with numpy. Of a text that is no mask it says nothing but that;
numpy then finds the words for it.
"""

from __future__ import annotations

from typing import Any

from ovsbench.benchmark.compiled import Loop

_GROUPS = 7  # as in rle.py


def read_letters(letters: Any, ends: Any, begins: Any, texts: Any, pixels: int, bounds: Any, areas: Any) -> Any:
    """Reads the texts of tracks.

    Args:
        letters: uint8 (N,), all texts one after the other.
        ends: int64 (T,), where each text ends.
        begins: int64 (T,), the first pixel of the frame of each.
        texts: int64 (K,), where the texts of each track end.
        pixels: of a frame.
        bounds: int64 (N + T,), filled with the begin and end of each run of pixels, track by track.
        areas: int64 (T,) zeros, filled with the pixels of each mask.

    Returns:
        Where the bounds of the last track end, after `texts` was filled with where those of each do; -1 if a text is no
        mask of the size.
    """
    filled, at, text = 0, 0, 0
    for track in range(len(texts)):
        begin = filled
        while text < texts[track]:
            if at == ends[text]:
                return -1
            position, number, before, last = 0, 0, 0, 0
            while at < ends[text]:
                length, shift, goes_on = 0, 0, True
                while goes_on:
                    letter = int(letters[at]) - 48
                    if letter < 0 or letter > 63 or shift == 5 * _GROUPS:
                        return -1
                    length |= (letter & 31) << shift
                    shift += 5
                    at += 1
                    goes_on = letter & 32 != 0
                    if goes_on and at == ends[text]:
                        return -1
                if letter & 16:
                    length |= -1 << shift
                if number > 2:
                    length += before
                if length < 0:
                    return -1
                before, last = last, length
                if number % 2 == 1 and length > 0:
                    start = begins[text] + position
                    if filled > begin and bounds[filled - 1] == start:
                        bounds[filled - 1] = start + length
                    else:
                        bounds[filled] = start
                        bounds[filled + 1] = start + length
                        filled += 2
                    areas[text] += length
                position += length
                number += 1
            if position != pixels:
                return -1
            text += 1
        texts[track] = filled
    return filled


def boxes_of_runs(bounds: Any, ends: Any, height: int, width: int, boxes: Any) -> None:
    """The boxes of tracks, see `Extent.of`.

    Args:
        bounds: int64 (2n,), as `read_letters` fills them.
        ends: int64 (K,), where those of each track end.
        height, width: of the frames.
        boxes: int64 (K, 4) zeros, filled with top, left, bottom and right, the last two exclusive.
    """
    place = 0
    for track in range(len(ends)):
        if place == ends[track]:
            continue
        top, bottom, left, right = height, 0, width, 0
        is_within, is_over = True, False  # runs stay within their column; one goes over the border of two frames
        column, base = 0, 0  # within the frame; first pixel of the column
        while place < ends[track]:
            rest = bounds[place] - base
            if rest >= height:
                step = rest // height if rest >= 2 * height else 1
                base += step * height
                column += step
                if column >= width:
                    column %= width
            top, left = min(top, bounds[place] - base), min(left, column)
            rest = bounds[place + 1] - 1 - base
            if rest >= height:
                step = rest // height if rest >= 2 * height else 1
                base += step * height
                column += step
                is_within = False
                if column >= width:
                    column %= width
                    is_over = True
            bottom, right = max(bottom, bounds[place + 1] - base), max(right, column + 1)
            place += 2
        if is_over:
            left, right = 0, width
        if not is_within and height > 1:
            top, bottom = 0, height
        boxes[track] = top, left, bottom, right


READ = Loop(read_letters, after=10_000_000)  # letters, half a second
BOX = Loop(boxes_of_runs, after=10_000_000)  # bounds, likewise
