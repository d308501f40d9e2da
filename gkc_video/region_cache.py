"""Regions of a video kept on disk, so that what comes after the model can be tried again without running it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.storage.files import whole_folder, writing
from ovsbench.benchmark.types import Video, Vocabulary
from ovsbench.gkc_video.method import GKCMethod
from ovsbench.gkc_video.model import computed, uploaded
from ovsbench.gkc_video.proposals import Proposals


def record(method: GKCMethod, video: Video, vocabulary: Vocabulary, folder: Path) -> Recorded:
    """Runs the model once on each frame; a folder that holds the whole video already is taken as it is.

    Raises:
        DataError: the folder cannot be written.
    """
    if not folder.is_dir():
        propose = method.reader(vocabulary)
        batches = uploaded(video.images(), method.batch, method.device)
        with (
            whole_folder(folder) as partial,
            writing(folder),
            closing(computed(propose, batches, method.device)) as found,
        ):
            for index, proposals in enumerate(proposals for batch in found for proposals in batch):
                _save(partial / f"{index:05d}.npz", proposals)
    return Recorded(folder, len(video))


class Recorded:
    """The regions of a video on disk, read frame by frame.

    Args:
        folder: as `record` left it.
        length: number of frames.
    """

    def __init__(self, folder: Path, length: int) -> None:
        self._folder, self._length = folder, length

    def __iter__(self) -> Iterator[Proposals]:
        """The regions of each frame, in order.

        Raises:
            DataError: a frame is missing or damaged.
        """
        for index in range(self._length):
            path = self._folder / f"{index:05d}.npz"
            try:
                with np.load(path, allow_pickle=False) as stored:
                    arrays = {key: stored[key] for key in stored.files}
                arrays["masks"] = np.unpackbits(arrays["masks"], count=int(np.prod(arrays["shape"]))).astype(bool)
                arrays["masks"] = arrays["masks"].reshape(arrays.pop("shape"))
                yield Proposals(**arrays)
            except (OSError, ValueError, KeyError, TypeError, BadZipFile) as error:
                raise DataError(
                    f"{path}: expected the regions of a frame, got an error: {error}. Remove {self._folder}"
                ) from error


def _save(path: Path, proposals: Proposals) -> None:
    arrays = {f.name: getattr(proposals, f.name) for f in fields(proposals)}
    arrays["shape"], arrays["masks"] = np.array(proposals.masks.shape), np.packbits(proposals.masks)
    np.savez_compressed(path, **{key: value for key, value in arrays.items() if value is not None})
