"""How well propagated masks lie on real objects: holes of 1 to 5 frames in the true masks of DAVIS.

Prints, for each clip and for all, J in the last frame of the hole, of the mask propagated into it frame by frame and of
the last true mask left where it was, with 95 % intervals over the holes; a mask that is not propagated counts as 0.

Run: python tests/propagation_davis.py DAVIS
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ovsbench.benchmark.video.video_io import open_video
from ovsbench.gkc_video.tracking.propagation import picture_cells, propagated

LENGTHS = (1, 2, 3, 5)
Masks = Sequence[np.ndarray[Any, np.dtype[np.bool_]]]


def j(one: Any, other: Any) -> float:
    return 0.0 if one is None else float((one & other).sum() / max((one | other).sum(), 1))


def holes(cells: Sequence[Any], masks: Masks) -> dict[int, list[tuple[float, float]]]:
    """By length: J of the propagated mask and of the one that stays, for a hole after every third frame."""
    found: dict[int, list[tuple[float, float]]] = {length: [] for length in LENGTHS}
    for start in range(0, len(masks) - max(LENGTHS), 3):
        mask: Any = masks[start]
        for step in range(1, max(LENGTHS) + 1) if mask.any() else ():
            mask = None if mask is None else propagated(cells[start + step - 1], cells[start + step], mask)
            if step in found:
                found[step].append((j(mask, masks[start + step]), j(masks[start], masks[start + step])))
    return found


def shown(values: Sequence[float]) -> str:
    rng = np.random.default_rng(0)
    means = rng.choice(values, (2000, len(values))).mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{100 * np.mean(values):.1f} ({100 * low:.1f}–{100 * high:.1f})"


def main(davis: Path) -> None:
    of_all: dict[int, list[tuple[float, float]]] = {length: [] for length in LENGTHS}
    print("| clip | " + " | ".join(f"{n}: propagated | {n}: stays" for n in LENGTHS) + " |")
    print("| --- |" + " --- | --- |" * len(LENGTHS))
    for folder in sorted((davis / "Annotations" / "480p").iterdir()):
        cells = [picture_cells(image) for image in open_video(davis / "JPEGImages" / "480p" / folder.name).images()]
        found = holes(cells, [image.max(-1) > 0 for image in open_video(folder).images()])
        for length, pairs in found.items():
            of_all[length] += pairs
        print(f"| {folder.name} | {row(found)} |")
    print(f"| all | {row(of_all)} |")


def row(found: dict[int, list[tuple[float, float]]]) -> str:
    return " | ".join(shown(values) for pairs in found.values() for values in zip(*pairs, strict=True))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
