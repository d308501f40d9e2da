"""Loops over the letters and the runs of tracks' masks, for numba.

What they give is what `rle.tube_of`, `Extent.of` and `track_overlaps` give with numpy. Of a text that is no mask they
say nothing but that; numpy then finds the words for it.
"""

from __future__ import annotations

from typing import Any

from ovsbench.benchmark.compiled import Loop

_GROUPS = 7  # as in rle.py


def read_masks(
    source: Any, at: int, marks: tuple[Any, Any], size: tuple[int, int], text: Any, bounds: Any, areas: Any, found: Any
) -> Any:
    """Reads the masks of a track from a list in JSON: each is null, or a text between two marks.

    Args:
        source: uint8 (N,), JSON.
        at: the place behind the list's opening bracket.
        marks: uint8 arrays, what stands before and after each text; the second begins with a quote.
        size: (height, width) of the frames.
        text: uint8, filled with what `rle.json_list` makes of the masks; of length 0 to leave it out.
        bounds: int64, filled with the track's tube; of length 0 to leave it out.
        areas: int64, filled with the pixels of each mask.
        found: int64 (9,), filled with the lengths of `text`, `areas` and `bounds`, and with the track's pixels, the
            frames that show it, and its box: top, left, bottom, right, see `Extent`.

    Returns:
        The place behind the closing bracket; -1 if something is not as expected, or the source ends before.
    """
    height, width = size
    stop, written, filled, frame, pixels, shown = len(source), 0, 0, 0, 0, 0
    top, left, bottom, right = height, width, 0, 0
    follows = 44  # a comma
    while follows == 44:
        while at < stop and (source[at] == 32 or source[at] == 10 or source[at] == 13 or source[at] == 9):
            at += 1
        if frame == 0 and at < stop and source[at] == 93:  # the bracket of an empty list
            at += 1
            break
        if at + 4 > stop or frame == len(areas):
            return -1
        area = 0
        if source[at] == 110 and source[at + 1] == 117 and source[at + 2] == 108 and source[at + 3] == 108:  # null
            begin, at = at, at + 4
            end = at
        else:
            for letter in marks[0]:
                if at == stop or source[at] != letter:
                    return -1
                at += 1
            begin = at - 1  # with its quotes
            row, column, number, last, last_but_one = 0, 0, 0, 0, 0
            while at < stop:
                letter = int(source[at]) - 48
                if letter < 0 or letter > 63:
                    break  # at the quote, or else the marks behind the text are not found
                at += 1
                length = (letter ^ 16) - 16  # of five bits the highest is the sign
                if letter > 31:
                    length, shift = letter & 31, 5
                    while letter & 32:
                        if letter == 44:  # a backslash, which JSON has twice
                            at += 1
                            if at > stop or source[at - 1] != 92:
                                return -1
                        if at >= stop or shift == 5 * _GROUPS:
                            return -1
                        letter = int(source[at]) - 48
                        at += 1
                        if letter < 0 or letter > 63:
                            return -1
                        length |= (letter & 31) << shift
                        shift += 5
                    length -= (letter & 16) << (shift - 4)
                if number > 2:
                    length += last_but_one
                if length < 0:
                    return -1
                last_but_one, last = last, length
                if number & 1 == 0:
                    row += length
                    if row >= 2 * height:
                        column += row // height
                        row %= height
                    elif row >= height:
                        column += 1
                        row -= height
                elif length > 0:
                    area += length
                    top, left = min(top, row), min(left, column)
                    if len(bounds):
                        first = (frame * width + column) * height + row
                        if filled > 0 and bounds[filled - 1] == first:
                            filled -= 2
                        else:
                            bounds[filled] = first
                        bounds[filled + 1] = first + length
                        filled += 2
                    row += length
                    if row > height:  # it ends in a later column
                        top, bottom = 0, height
                        column += (row - 1) // height
                        row -= (row - 1) // height * height
                    bottom, right = max(bottom, row), max(right, column + 1)
                    if row == height:
                        row = 0
                        column += 1
                number += 1
            if number == 0 or row != 0 or column != width:
                return -1
            end = at + 1
            for letter in marks[1]:
                if at >= stop or source[at] != letter:
                    return -1
                at += 1
        areas[frame] = area
        pixels += area
        shown += area > 0
        frame += 1
        while at < stop and (source[at] == 32 or source[at] == 10 or source[at] == 13 or source[at] == 9):
            at += 1
        if at == stop or (source[at] != 44 and source[at] != 93):
            return -1
        follows = source[at]
        at += 1
        if len(text):
            if written > 0:
                text[written] = 44
                written += 1
            text[written : written + end - begin] = source[begin:end]
            written += end - begin
    if pixels == 0:
        top, left = 0, 0
    for place, number in enumerate((written, frame, filled, pixels, shown, top, left, bottom, right)):
        found[place] = number
    return at


def shared_pixels(tube: Any, bounds: Any, ends: Any, pixels: int, shared: Any) -> Any:
    """The pixels that a track has in common with others in each frame.

    Args:
        tube: int64 (2n,), the track, see `rle.Tube`.
        bounds: int64 (N,), the tubes of the others, one after the other.
        ends: int64 (K,), where each ends.
        pixels: of a frame.
        shared: int64 (K, frames) zeros, filled.
    """
    begin = 0
    for other in range(len(ends)):
        own, place, frame, border = 0, begin, 0, pixels
        begin = ends[other]
        while own < len(tube) and place < ends[other]:
            start, stop = max(tube[own], bounds[place]), min(tube[own + 1], bounds[place + 1])
            if tube[own + 1] <= bounds[place + 1]:
                own += 2
            else:
                place += 2
            while start < stop:
                while start >= border:
                    frame += 1
                    border += pixels
                shared[other, frame] += min(stop, border) - start
                start = min(stop, border)


READ = Loop(read_masks, after=10_000_000)  # letters, half a second
SHARED = Loop(shared_pixels, after=50_000_000)  # bounds of pairs of tubes, likewise
