"""What long work tells the one who waits; the command line draws it, the core only reports."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told of videos and frames as they are done; `stop` is always called after `start`."""

    def start(self, videos: int, frames: int, title: str) -> None:
        """Work on this many videos and frames begins."""
        ...

    def frame(self, count: int = 1) -> None:
        """Frames are done."""
        ...

    def video(self) -> None:
        """A video is done."""
        ...

    def stop(self) -> None:
        """The work is over, well or not."""
        ...


class Silent:
    """Progress that nobody watches."""

    def start(self, videos: int, frames: int, title: str) -> None:
        pass

    def frame(self, count: int = 1) -> None:
        pass

    def video(self) -> None:
        pass

    def stop(self) -> None:
        pass


SILENT: Progress = Silent()
