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
    stop, written, frame = len(source), 0, 0
    found[:] = 0
    found[5], found[6] = size
    follows = 44  # a comma
    while follows == 44:
        at = _after_space(source, at)
        if frame == 0 and at < stop and source[at] == 93:  # the bracket of an empty list
            at += 1
            break
        if at + 4 > stop or frame == len(areas):
            return -1
        begin, end = at, at + 4
        areas[frame] = 0
        if source[at] == 110 and source[at + 1] == 117 and source[at + 2] == 108 and source[at + 3] == 108:  # null
            at = end
        else:
            at = _after_mark(source, at, marks[0])
            begin = at - 1  # with its quotes
            if at > 0:
                at = _read_mask(source, at, size, frame, bounds, areas, found)
            if at > 0:
                end = at + 1
                at = _after_mark(source, at, marks[1])
            if at < 0:
                return -1
        frame += 1
        at = _after_space(source, at)
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
    found[0], found[1] = written, frame
    if found[3] == 0:
        found[5], found[6] = 0, 0
    return at


def _after_space(source: Any, at: int) -> Any:
    while at < len(source) and (source[at] == 32 or source[at] == 10 or source[at] == 13 or source[at] == 9):
        at += 1
    return at


def _after_mark(source: Any, at: int, mark: Any) -> Any:
    """The place behind a mark, -1 if another one stands here."""
    if at + len(mark) > len(source):
        return -1
    for place in range(len(mark)):
        if source[at + place] != mark[place]:
            return -1
    return at + len(mark)


def _read_mask(source: Any, at: int, size: tuple[int, int], frame: int, bounds: Any, areas: Any, found: Any) -> Any:
    """Reads the text of a mask; the place of the quote behind it, -1 if it is none. Arguments as of `read_masks`."""
    height, width = size
    row, column, outside, inside, area, filled, is_first = 0, 0, 0, 0, 0, found[2], True
    top, left, bottom, last = found[5], found[6], found[7], -1
    while True:
        length, behind = _read_length(source, at)
        if behind < 0:
            break
        at = behind
        outside += length
        if outside < 0:
            return -1
        row += outside
        if row >= height:
            column += 1
            row -= height
            if row >= height:
                column += row // height
                row %= height
        if is_first:
            outside = 0  # the next length outside is no difference yet
        length, behind = _read_length(source, at)
        if behind < 0:
            break
        at = behind
        inside += length
        is_first = False
        if inside <= 0:
            if inside < 0:
                return -1
            continue
        if area == 0:
            left = min(left, column)
        area += inside
        top = min(top, row)
        if len(bounds):
            first = (frame * width + column) * height + row
            if filled > 0 and bounds[filled - 1] == first:  # also across frames both runs are one
                filled -= 2
            else:
                bounds[filled] = first
            bounds[filled + 1] = first + inside
            filled += 2
        row += inside
        last = column
        if row >= height:
            bottom = height
            if row > height:  # it ends in a later column
                top = 0
                last += (row - 1) // height
            column += row // height
            row %= height
        else:
            bottom = max(bottom, row)
    if at >= len(source) or source[at] != 34 or row != 0 or column != width:
        return -1
    areas[frame] = area
    found[2] = filled
    found[3] += area
    found[4] += area > 0
    found[5], found[6], found[7], found[8] = top, left, bottom, max(found[8], last + 1)
    return at


def _read_length(source: Any, at: int) -> Any:
    """The number that begins here, and the place behind it, -1 if there is none."""
    if at >= len(source):
        return 0, -1
    letter = int(source[at]) - 48
    at += 1
    if 0 <= letter < 32:
        return (letter ^ 16) - 16, at  # of five bits the highest is the sign
    if letter < 0 or letter > 63:
        return 0, -1
    length, shift = letter & 31, 5
    while letter & 32:
        if letter == 44:  # a backslash, which JSON has twice
            at += 1
            if at > len(source) or source[at - 1] != 92:
                return 0, -1
        if at >= len(source) or shift == 5 * _GROUPS:
            return 0, -1
        letter = int(source[at]) - 48
        at += 1
        if letter < 0 or letter > 63:
            return 0, -1
        length |= (letter & 31) << shift
        shift += 5
    return length - ((letter & 16) << (shift - 4)), at


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
        while True:
            while own < len(tube) and place < ends[other] and tube[own + 1] <= bounds[place]:
                own += 2
            while place < ends[other] and own < len(tube) and bounds[place + 1] <= tube[own]:
                place += 2
            if own >= len(tube) or place >= ends[other]:
                break
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
