"""What long work reports; the command line shows it."""

from __future__ import annotations

import re
from collections.abc import Callable

Report = Callable[[str], None]
"""Takes a line about work that lasts: what begins, what is done, what failed."""


def unreported(line: str) -> None:
    """A report that nobody reads."""


def plural(count: int, noun: str) -> str:
    """A number with its noun.

    >>> plural(1, "video"), plural(3, "novel video"), plural(0, "entry"), plural(2, "class")
    ('1 video', '3 novel videos', '0 entries', '2 classes')
    """
    if count == 1:
        return f"1 {noun}"
    many = re.sub(r"(?<=[^aeiou])y$", "ie", noun)
    return f"{count} {many}{'es' if noun.endswith('s') else 's'}"


class Progress:
    """Receives videos and frames as they are done, and shows nothing; `stop` is always called after `start`."""

    def start(self, videos: int, frames: int, title: str) -> None:
        """Work on this many videos and frames begins."""

    def frame(self, count: int = 1) -> None:
        """Frames are done."""

    def video(self) -> None:
        """A video is done."""

    def machines(self, text: str) -> None:
        """What the machines of a cluster do now."""

    def stop(self) -> None:
        """The work is over, well or not."""


SILENT = Progress()
