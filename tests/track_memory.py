"""Peak memory of `import` and `score` for one long video of SA-Co/VEval with 60 labelled and 60 predicted tracks.

    python tests/track_memory.py MINUTES [--fps 24] [--folder FOLDER]

Boxes move across frames of 480x854 pixels, 6 phrases are asked, 10 tracks each. This process stays small and takes no
array into memory, because a child's peak counts that of its parent when it was started.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

HEIGHT, WIDTH = 480, 854
TRACKS, PHRASES = 60, 6


@cache
def number(value: int) -> str:
    """The letters of a number in compressed run lengths."""
    letters = ""
    while True:
        group, value = value & 31, value >> 5
        if value == (-1 if group & 16 else 0):
            return letters + chr(group + 48)
        letters += chr(group + 80)


def box_text(left: int, top: int, width: int, height: int) -> str:
    """The compressed run lengths of a box that ends before the last row and column."""
    before, between = left * HEIGHT + top, HEIGHT - height
    after = HEIGHT * WIDTH - before - (width - 1) * HEIGHT - height
    same = "0" * (2 * width - 4)
    return number(before) + number(height) + number(between) + number(0) + same + number(after - between)


def moving(draw: random.Random, frames: int) -> Iterator[tuple[int, int, int, int]]:
    """A box in each frame as left, top, width and height; it comes back from the borders."""
    width, height = draw.randint(20, 90), draw.randint(40, 160)
    room = WIDTH - width - 8, HEIGHT - height - 8
    x, y, right, down = draw.random() * 900, draw.random() * 500, draw.uniform(-3, 3), draw.uniform(-3, 3)
    for frame in range(frames):
        places = (abs((start + frame * step) % (2 * most) - most) for start, step, most in
                  ((x, right, room[0]), (y, down, room[1])))  # fmt: skip
        left, top = map(int, places)
        yield left, top, width, height


def rows(frames: int, jitter: int) -> Iterator[dict[str, Any]]:
    """The tracks; predictions are those of the labels, pushed by up to `jitter` pixels in each frame."""
    push = random.Random(1)
    for track in range(TRACKS):
        boxes = []
        for left, top, width, height in moving(random.Random(track), frames):
            boxes.append([left + push.randint(0, jitter), top + push.randint(0, jitter), width, height])
        yield {
            "video_id": 1,
            "category_id": 1 + track % PHRASES,
            "score": push.uniform(0.4, 1),
            "segmentations": [{"size": [HEIGHT, WIDTH], "counts": box_text(*box)} for box in boxes],
            "bboxes": boxes,
            "areas": [width * height for _, _, width, height in boxes],
        }


def write(folder: Path, frames: int) -> None:
    """Writes `labels.json` and `results.json`."""
    video = {
        "id": 1, "video_name": "v", "height": HEIGHT, "width": WIDTH, "length": frames,
        "file_names": [f"v/{frame:05d}.jpg" for frame in range(frames)],
    }  # fmt: skip
    phrases = [{"id": c, "name": f"box {c}"} for c in range(1, PHRASES + 1)]
    pairs = [
        {"video_id": 1, "category_id": c["id"], "noun_phrase": c["name"], "num_masklets": TRACKS // PHRASES}
        for c in phrases
    ]
    head = json.dumps({"info": {}, "videos": [video], "categories": phrases, "video_np_pairs": pairs})
    for name, begin, end, jitter in (
        ("labels.json", head[:-1] + ', "annotations": [', "]}", 0),
        ("results.json", "[", "]", 6),
    ):
        with (folder / name).open("w") as file:
            file.write(begin)
            for place, row in enumerate(rows(frames, jitter)):
                more = {} if jitter else {"id": place + 1, "iscrowd": 0}
                file.write(", " * bool(place) + json.dumps({**row, **more}))
            file.write(end)


def peak(*words: object) -> float:
    """Runs a verb in a process of its own; its peak memory in MB."""
    child = subprocess.Popen([sys.executable, "-m", "ovsbench", *map(str, words)], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"ovsbench {words[0]} failed")
    return used.ru_maxrss * 1024 / 1e6


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("minutes", type=float)
    asked.add_argument("--fps", type=float, default=24)
    asked.add_argument("--folder", type=Path, help="where to put the case, and to leave it; a temporary one by default")
    given = asked.parse_args()
    frames = round(given.minutes * 60 * given.fps)
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        data, run = folder / "data", folder / "run"
        if not data.exists():
            write(folder, frames)
            peak("data", "build", "sacoveval", "--raw", folder / "labels.json", "-o", data)
        results = folder / "results.json"
        importing = peak("import", data, results, "--format", "sacoveval", "-o", run)
        scoring = peak("score", run)
    print(f"{frames} frames, {TRACKS} tracks: import {importing:.0f} MB, score {scoring:.0f} MB")


if __name__ == "__main__":
    main()
