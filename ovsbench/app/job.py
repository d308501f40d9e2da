"""The one job of the page: a video is received, predicted in a thread, packed; it can be cancelled at any time."""

from __future__ import annotations

import shutil
import threading
import traceback
import zipfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ovsbench.benchmark.errors import StoppedError, UserError
from ovsbench.benchmark.progress import Progress
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.storage.files import writing
from ovsbench.benchmark.types import Vocabulary
from ovsbench.plans.video_prediction import VideoResult, predict_file

State = Literal["receiving", "running", "done", "failed", "cancelled"]
BUSY = ("receiving", "running")
PATIENCE = 10.0
"""Seconds that the end of the server, or the next job, waits for one that is cancelled or over to end."""


class TooLargeError(UserError):
    """A video has more bytes than the server takes."""

    def __init__(self, size: int, most: int) -> None:
        super().__init__(
            f"expected a video of at most {most / 1e6:.0f} MB, got {size / 1e6:.0f} MB or more. Cut it, or make it "
            "smaller; ovsbench app --most-mb takes larger ones"
        )


class BusyError(UserError):
    """Another job is not over yet."""


@dataclass
class Job(Progress):
    """One video with its words and model.

    Attributes:
        folder: its own; holds the video and the results.
        state: see `State`.
        done, total: frames.
        message: why it failed.
        result: what came out.
    """

    folder: Path
    name: str
    state: State = "receiving"
    done: int = 0
    total: int = 0
    message: str = ""
    result: VideoResult | None = None
    stop_asked: threading.Event = field(default_factory=threading.Event)

    def start(self, videos: int, frames: int, title: str) -> None:
        self.total = frames

    def frame(self, count: int = 1) -> None:
        self.check()
        self.done += count

    def check(self) -> None:
        """Ends the work where a cancel was asked for.

        Raises:
            StoppedError: it was.
        """
        if self.stop_asked.is_set():
            raise StoppedError("cancelled")

    @property
    def overlay(self) -> Path:
        return self.folder / "overlay.mp4"

    @property
    def masks(self) -> Path:
        return self.folder / "masks.zip"

    async def receive(self, chunks: AsyncIterator[bytes], most: int) -> Path:
        """Writes the video as it comes.

        Args:
            chunks: of the body.
            most: bytes.

        Raises:
            TooLargeError: more came.
            DataError: the disk is full.
            StoppedError: cancelled meanwhile.
        """
        path, size = self.folder / self.name, 0
        try:
            with writing(path), path.open("wb") as file:
                async for chunk in chunks:
                    self.check()
                    size += len(chunk)
                    if size > most:
                        raise TooLargeError(size, most)
                    file.write(chunk)
        except BaseException as error:
            path.unlink(missing_ok=True)
            is_fault = isinstance(error, UserError) and not isinstance(error, StoppedError)  # else it was called off
            self.message, self.state = str(error), "failed" if is_fault else "cancelled"
            raise
        return path

    def run(self, video: Path, vocabulary: Vocabulary, settings: Settings) -> None:
        """Predicts and packs; whatever happens, the state says so."""
        try:
            self.check()
            self.result = predict_file(video, vocabulary, self.overlay, settings=settings, progress=self)
            _pack(self.result.predictions, self.masks)
            self.state = "done"
        except StoppedError:
            self.state = "cancelled"
        except UserError as error:
            self.message, self.state = str(error).replace(f"{self.folder}/", ""), "failed"
        except Exception as error:  # the page lives on, the terminal has the traceback
            traceback.print_exc()
            self.message, self.state = f"an error of the program, {type(error).__name__}: see its terminal", "failed"
        finally:
            video.unlink(missing_ok=True)

    def to_json(self) -> dict[str, Any]:
        """What the page shows."""
        found: Mapping[str, int] = self.result.found if self.result else {}
        tracks: Mapping[str, int] = self.result.tracks if self.result else {}
        return {
            "state": self.state, "done": self.done, "total": self.total, "message": self.message,
            "id": self.folder.name,
            "found": [{"name": name, "frames": count, "tracks": tracks[name]} for name, count in found.items()],
            "notes": list(self.result.notes) if self.result else [],
        }  # fmt: skip


class Desk:
    """Where jobs are handed in: one at a time; the results of the last one stay until the next."""

    def __init__(self, folder: Path) -> None:
        self.job: Job | None = None
        self._folder = folder
        self._count = 0
        self._thread: threading.Thread | None = None

    def open(self, name: str) -> Job:
        """A new job, which receives its video.

        Args:
            name: of the file; only its end is kept.

        Raises:
            BusyError: one is not over.
        """
        if self._thread is not None and self.job is not None and self.job.state not in BUSY:
            self._thread.join(PATIENCE)  # it has said its last word, and has a file to remove
        if self.job is not None and (self.job.state in BUSY or (self._thread and self._thread.is_alive())):
            raise BusyError("expected one job at a time, and one is not over yet. Wait, or cancel it")
        if self.job is not None:
            shutil.rmtree(self.job.folder, ignore_errors=True)
        self._count += 1
        folder = self._folder / f"job-{self._count}"
        folder.mkdir()
        end = Path(name).suffix.lower()
        self.job = Job(folder, f"video{end if end[1:].isalnum() and end.isascii() and len(end) < 8 else ''}")
        return self.job

    def begin(self, job: Job, video: Path, vocabulary: Vocabulary, settings: Settings) -> None:
        """Starts the work of a job whose video is here."""
        job.state = "running"
        self._thread = threading.Thread(target=job.run, args=(video, vocabulary, settings), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Cancels what runs and waits for it a little."""
        if self.job is not None:
            self.job.stop_asked.set()
        if self._thread is not None:
            self._thread.join(PATIENCE)


def _pack(folder: Path, out: Path) -> None:
    """All files of the predictions as a zip archive."""
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, f"masks/{path.relative_to(folder)}")
