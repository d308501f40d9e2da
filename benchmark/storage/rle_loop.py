"""Loops over the letters and the runs of tracks' masks, for numba.

What they give is what `rle.tube_of`, `Extent.of` and `track_overlaps` give with numpy. Of a text that is no mask they
say nothing but that; numpy then finds the words for it.
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


def measure_letters(
    letters: Any, ends: Any, frames: Any, tracks: Any, size: tuple[int, int], areas: Any, boxes: Any
) -> Any:
    """Reads the texts of tracks for their areas and boxes alone, see `Extent.of`.

    Args:
        letters, ends: as for `read_letters`.
        frames: int64 (T,), the place of each text in `areas`, read line by line.
        tracks: int64 (T,), the place of the track of each text.
        size: (height, width) of the frames.
        areas: int64 (K * frames,) zeros, filled with the pixels of each mask.
        boxes: int64 (K, 4) zeros, filled with top, left, bottom and right, the last two exclusive.

    Returns:
        The number of texts; -1 if one is no mask of the size.
    """
    height, width = size
    at = 0
    for text in range(len(ends)):
        end = ends[text]
        if at == end:
            return -1
        top, left, bottom, right = height, width, 0, 0
        row, column, number, before, last, area = 0, 0, 0, 0, 0, 0
        while at < end:
            letter = int(letters[at]) - 48
            at += 1
            length = letter & 31
            if letter < 0 or letter > 63:
                return -1
            shift = 5
            while letter & 32:
                if at == end or shift == 5 * _GROUPS:
                    return -1
                letter = int(letters[at]) - 48
                at += 1
                if letter < 0 or letter > 63:
                    return -1
                length |= (letter & 31) << shift
                shift += 5
            if letter & 16:
                length -= 1 << shift
            if number > 2:
                length += before
            if length < 0:
                return -1
            before, last = last, length
            is_inside = number & 1 == 1 and length > 0
            if is_inside:
                area += length
                top, left = min(top, row), min(left, column)
            row += length
            if row > height:  # the run ends in a later column
                if is_inside:
                    top, bottom = 0, height
                if row > 2 * height:
                    column += (row - 1) // height
                    row -= (row - 1) // height * height
                else:
                    column += 1
                    row -= height
            if is_inside:
                bottom, right = max(bottom, row), column + 1
            if row == height:
                row = 0
                column += 1
            number += 1
        if row != 0 or column != width:
            return -1
        if area:
            areas[frames[text]] = area
            box = boxes[tracks[text]]
            if box[2] == 0:
                box[0], box[1] = top, left
            box[0], box[1] = min(box[0], top), min(box[1], left)
            box[2], box[3] = max(box[2], bottom), max(box[3], right)
    return len(ends)


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


READ = Loop(read_letters, after=10_000_000)  # letters, half a second
MEASURE = Loop(measure_letters, after=10_000_000)  # likewise
SHARED = Loop(shared_pixels, after=50_000_000)  # bounds of pairs of tubes, likewise
