"""Progress that a person sees: bars on a terminal, a plain line now and then elsewhere, always on stderr."""

from __future__ import annotations

import os
import sys
import time

from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.visible_text import visible
from ovsbench.cli.console import QUIET, complain, plural

SECONDS_BETWEEN_LINES = 15.0


def progress(*, quiet: bool = False) -> Progress:
    """The progress that suits where stderr goes.

    Args:
        quiet: show nothing, as for `--json`; so does `ovsbench -q`.
    """
    if quiet or os.environ.get(QUIET):
        return SILENT
    return Bars() if sys.stderr.isatty() else Lines()


class Bars(Progress):
    """A bar of frames, with videos, frames a second and the time that is left."""

    def start(self, videos: int, frames: int, title: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._begin = time.monotonic()
        self._bars = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=16),
            TextColumn("video {task.fields[done]}/{task.fields[videos]}"),
            TextColumn("{task.fields[fps]:.1f} fps"),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            TextColumn("{task.fields[machines]}", markup=False),
            console=Console(stderr=True),
        )
        self._id = self._bars.add_task(visible(title), total=frames, done=0, videos=videos, fps=0.0, machines="")
        self._bars.start()

    def frame(self, count: int = 1) -> None:
        frames = self._bars.tasks[0].completed + count
        self._bars.update(self._id, advance=count, fps=frames / max(time.monotonic() - self._begin, 1e-6))

    def video(self) -> None:
        self._bars.update(self._id, done=self._bars.tasks[0].fields["done"] + 1)

    def machines(self, text: str) -> None:
        self._bars.update(self._id, machines=visible(text))

    def stop(self) -> None:
        self._bars.stop()


class Lines(Progress):
    """A line when work begins, one each quarter of a minute, and one at the end: for log files."""

    def start(self, videos: int, frames: int, title: str) -> None:
        self._title, self._videos, self._total, self._machines = title, videos, frames, ""
        self._done = self._frames = 0
        self._begin = self._last = time.monotonic()
        complain(f"{title}: {plural(videos, 'video')}, {plural(frames, 'frame')}")

    def frame(self, count: int = 1) -> None:
        self._frames += count
        if time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self.stop()

    def video(self) -> None:
        self._done += 1

    def machines(self, text: str) -> None:
        self._machines = text
        if time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self.stop()

    def stop(self) -> None:
        """The line of now."""
        self._last = time.monotonic()
        seconds = self._last - self._begin
        fps = self._frames / max(seconds, 1e-6)
        line = f"{self._title}: video {self._done}/{self._videos}, frame {self._frames}/{self._total}, {fps:.1f} fps"
        left = (self._total - self._frames) / fps if fps else 0.0
        line += f", {left:.0f} s left" if left >= 1 else f", {seconds:.1f} s"
        complain(f"{line}; {self._machines}" if self._machines and self._done < self._videos else line)
