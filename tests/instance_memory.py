"""Peak memory of a run that yields overlapping tracks, by the length of the video: `python tests/instance_memory.py`.

Prints megabytes of `run` in a process of its own, for videos of so many seconds at 6 frames a second with 60 tracks.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ovsbench.benchmark.running.frame_loop import predict_video
from ovsbench.benchmark.running.instances import AnsweredTracks
from ovsbench.benchmark.running.pipeline import adding
from ovsbench.benchmark.types import Category, InstanceFrame, InstanceMask, Rules, Video, Vocabulary

TRACKS, RATE, SIZE = 60, 6, (120, 160)
WORDS = Vocabulary((Category(1, "dog", True),))


class Discs:
    """60 discs that move; each is seen in every frame."""

    def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[InstanceFrame]:
        y, x = np.ogrid[: SIZE[0], : SIZE[1]]
        for index in range(len(video)):
            places = [((7 * t + index) % SIZE[0], (13 * t + 2 * index) % SIZE[1]) for t in range(TRACKS)]
            yield InstanceFrame(
                tuple(
                    InstanceMask(t + 1, (y - top) ** 2 + (x - left) ** 2 < 150, {1: 0.5})
                    for t, (top, left) in enumerate(places)
                )
            )


def peak_megabytes(seconds: int) -> float:
    """Of a process that predicts a video of a length."""
    done = subprocess.run([sys.executable, __file__, str(seconds)], check=True, capture_output=True, text=True)
    return float(done.stdout)


def _run(seconds: int) -> None:
    import resource

    frames = RATE * seconds
    video = Video("v", tuple(map(str, range(frames))), SIZE, lambda _: np.zeros((*SIZE, 3), np.uint8))
    with (
        tempfile.TemporaryDirectory() as folder,
        AnsweredTracks(Path(folder) / "v", "v", SIZE, frames, WORDS) as writer,
    ):
        predict_video(Discs(), video, WORDS, Rules(task="instance"), adding(writer.add))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        _run(int(sys.argv[1]))
    else:
        short, long = peak_megabytes(120), peak_megabytes(1200)
        print(f"2 minutes {short:.0f} MB, 20 minutes {long:.0f} MB, ratio {long / short:.2f}")
