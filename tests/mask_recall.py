"""Class-agnostic recall of a run's masks: python tests/mask_recall.py DATA RUN

For each class, over the frames that show it: how often some predicted region, whatever it is called, covers the class's
pixels with an IoU of at least 0.5, and the mean of the best IoU. Void pixels do not count.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from ovsbench.benchmark import manifest
from ovsbench.benchmark.running.counting import predicted_frames


def main(data: Path, run: Path) -> None:
    benchmark = manifest.load(data)
    best = defaultdict[int, list[float]](list)
    for entry in benchmark.entries:
        for true, predicted in zip(benchmark.labels(entry.id), predicted_frames(benchmark, run, entry.id), strict=True):
            labelled = np.isin(true.ids, list(true.segments))
            regions = [(predicted.ids == key) & labelled for key in predicted.segments]
            for category in {segment.category for segment in true.segments.values()}:
                mask = np.isin(true.ids, [key for key, s in true.segments.items() if s.category == category])
                best[category].append(max(((mask & r).sum() / (mask | r).sum() for r in regions), default=0.0))
    for category in benchmark.vocabulary:
        if ious := best[category.id]:
            found = np.mean(np.array(ious) >= 0.5)
            print(f"{category.name}: {len(ious)} frames, found in {100 * found:.0f} %, best IoU {np.mean(ious):.2f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
