"""Known faults of a release, such as an empty image file: told, survived, and left out; an error for who wants that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.storage.folder_listing import IMAGES, MASKS, Found, files_in

SHOWN = 20


class Defects:
    """Collects one sentence for each defect; keeps the first few and counts the rest.

    Args:
        strict: whether a defect ends the build.

    >>> defects = Defects()
    >>> defects.note("v1/00003.jpg: the image is empty; the frame is left out")
    >>> defects.lines
    ('v1/00003.jpg: the image is empty; the frame is left out',)
    """

    def __init__(self, *, strict: bool = False) -> None:
        self.strict = strict
        self.count = 0
        self._first: list[str] = []

    def note(self, sentence: str) -> None:
        """Notes one defect: what it is, where, and what becomes of it."""
        self.count += 1
        if len(self._first) < SHOWN:
            self._first.append(sentence)

    def absorb(self, other: Defects) -> None:
        """Takes over what another collection noted."""
        self._first = [*self._first, *other._first][:SHOWN]
        self.count += other.count

    @property
    def lines(self) -> tuple[str, ...]:
        """The sentences, the last one about those that were only counted."""
        more = self.count - len(self._first)
        return (*self._first, *([f"... and {more} more"] if more else []))

    def settle(self, what: str) -> None:
        """Ends a strict build if anything was noted.

        Raises:
            DataError: it is strict and there is a defect.
        """
        if self.strict and self.count:
            defects = "1 defect" if self.count == 1 else f"{self.count} defects"
            raise DataError(
                f"{what}: {defects} of the release, which --strict makes an error. Mend them, or build without "
                "--strict\n  " + "\n  ".join(self.lines)
            )


def only_whole(
    video: str,
    names: Iterable[str],
    *,
    images: Mapping[str, Found] | None,
    masks: Mapping[str, Found],
    defects: Defects,
) -> list[str]:
    """The frames that have both an image and a mask, in the order given; the others are noted.

    Args:
        video: for the message.
        names: the frames that there should be, without endings.
        images: the image files that are there, by their names without endings; None if none are needed.
        masks: likewise of the label files.
        defects: told of missing and of empty files.
    """
    kept = []
    for name in names:
        for what, files in (("image", images), ("mask", masks)):
            if files is not None and not (name in files and files[name].bytes):
                state = "empty" if name in files else "missing"
                defects.note(f"video {video}, frame {name}: the {what} is {state}; the frame is left out")
                break
        else:
            kept.append(name)
    return kept


def whole_pairs(
    video: str, masks: Path, root: Path | None, place: str, listed: Iterable[str] | None, defects: Defects
) -> tuple[tuple[str, ...], tuple[Path, ...]]:
    """The images of a video's frames that are whole, relative to the image root, and their masks, in order of names.

    Args:
        video: for messages.
        masks: folder of its masks.
        root: of the images; None if none are needed, which are called .jpg then.
        place: folder of its images, relative to the root.
        listed: names without endings of the frames that there should be; None for all that have a file.
        defects: told of missing and of empty files.

    Raises:
        DataError: a folder has no such file.
    """
    there, pictures = files_in(masks, MASKS), None if root is None else files_in(root / place, IMAGES)
    for what, folder, files in (("masks", masks, there), ("images", f"{root}/{place}", pictures)):
        if files is not None and not files:
            raise DataError(f"{folder}: expected the {what} of a video, found none. Complete the raw folder")
    names = sorted(listed if listed is not None else there | (pictures or {}))
    kept = only_whole(video, names, images=pictures, masks=there, defects=defects)
    shown = (f"{name}.jpg" if pictures is None else pictures[name].name for name in kept)
    return tuple(f"{place}/{name}" for name in shown), tuple(masks / there[name].name for name in kept)


def whole_frames(
    video: str, frames: Sequence[str], image_root: Path | None, defects: Defects
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The numbers of the frames whose images are there, and these images as their files are called; others are noted.

    Args:
        video: for the message.
        frames: image files relative to the root, with endings that the files need not have.
        image_root: folder of the images; None keeps all frames.
        defects: told of missing and of empty files.
    """
    if image_root is None:
        return tuple(range(len(frames))), tuple(frames)
    paths = [PurePosixPath(frame) for frame in frames]
    there = {folder: files_in(image_root / folder, IMAGES) for folder in {path.parent for path in paths}}
    kept = []
    for number, path in enumerate(paths):
        found = there[path.parent].get(path.stem)
        if found is not None and found.bytes:
            kept.append((number, str(path.with_name(found.name))))
        else:
            state = "missing" if found is None else "empty"
            defects.note(f"video {video}, frame {path}: the image is {state}; the frame is left out")
    return tuple(number for number, _ in kept), tuple(name for _, name in kept)
