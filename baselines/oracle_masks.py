"""True masks and true tracks, named by a frozen CLIP: the bound that naming regions sets to any segmenter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ovsbench.baselines.shared_options import Wording
from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.panoptic import dense
from ovsbench.benchmark.storage import rle
from ovsbench.benchmark.types import (
    InstanceFrame,
    InstanceMask,
    InstanceTrack,
    LabelReader,
    Method,
    PanopticFrame,
    Rules,
    Segment,
    Video,
    Vocabulary,
)

if TYPE_CHECKING:
    from ovsbench.baselines.region_clip import Namer


TASKS = ("semantic", "panoptic", "instance")
NEEDS = "-c CLIP, labels; extra gkc"


def build(
    *,
    checkpoint: Path | None = None,
    device: str = "auto",
    wording: Wording = Wording(),
    vote: bool = True,
    top_k: int = 10,
) -> LabelReader:
    """The method; it has to be given the labels before it predicts.

    Args:
        checkpoint: a CLIP: a file or shipped name, or, with `clip_model`, an open_clip tag or weights file.
        device: "auto", "cpu", "cuda", ...
        wording: how the CLIP is asked.
        vote: whether the probabilities of a track are averaged over the frames seen so far.
        top_k: most names of an object, on instance benchmarks.

    Raises:
        MethodError: no checkpoint, or one that is not a CLIP.
    """
    if top_k < 1:
        raise MethodError(f"option top_k of method oracle-masks: expected at least 1, got {top_k}")
    if checkpoint is None:
        raise MethodError(
            "the method oracle-masks needs a CLIP that names the true masks, got no checkpoint. "
            "Give one, such as -c clip-world"
        )
    from ovsbench.baselines.region_clip import Namer

    return OracleMasks(Namer.load(checkpoint, wording, device=device), vote, top_k=top_k)


@dataclass(frozen=True)
class OracleMasks:
    """See the module; without labels it has nothing to name."""

    namer: Namer
    vote: bool = True
    truth: Callable[[str, int], PanopticFrame] | None = None
    tracks: Callable[[str], Iterable[InstanceTrack]] | None = None
    top_k: int = 10
    name: str = "oracle-masks"

    @property
    def checkpoint_sha256(self) -> str:
        """Of the CLIP."""
        return self.namer.sha256

    @property
    def device(self) -> str:
        """That the CLIP is on."""
        return str(self.namer.clip.device)

    @property
    def notes(self) -> Mapping[str, str]:
        """Facts for the record of a run."""
        return {**self.namer.notes, "masks and tracks": "the true ones"}

    def with_labels(self, truth: Callable[[str, int], PanopticFrame]) -> Method:
        """The method with masks to name."""
        return replace(self, truth=truth)

    def with_tracks(self, tracks: Callable[[str], Iterable[InstanceTrack]]) -> Method:
        """The method with the tracks of an instance benchmark, whose masks may overlap."""
        return replace(self, tracks=tracks)

    def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame | InstanceFrame]:
        """The true segments, each with the offered class that CLIP finds likeliest; the score is its probability.

        Segments of classes that are not offered keep their masks and get an offered class, as a segmenter's would.
        On instance benchmarks the true masks, which may overlap, each with its likeliest classes.

        Raises:
            MethodError: there are no labels.
        """
        if self.tracks is not None:
            return self._instances(tuple(self.tracks(video.id)), video, vocabulary)
        if self.truth is None:
            raise MethodError("the method oracle-masks needs true masks, and here are none. Run it on a benchmark")
        return self._panoptic(self.truth, video, vocabulary)

    def _instances(
        self, tracks: Sequence[InstanceTrack], video: Video, vocabulary: Vocabulary
    ) -> Iterator[InstanceFrame]:
        from ovsbench.gkc_video.model import uploaded

        classifier = self.namer.learn(vocabulary)
        ids = [category.id for category in vocabulary]
        for index, pixels in enumerate(uploaded(video.images(), 1, str(self.namer.clip.device))):
            texts = [(track.id, text) for track in tracks if (text := track.masks[index]) is not None]
            masks = [(key, rle.decode(text, video.size)) for key, text in texts]
            seen = [(key, mask) for key, mask in masks if mask.any()]
            if not seen:
                yield InstanceFrame()
                continue
            # Masks may overlap, so that each is alone in a map of its own.
            maps = [mask.astype(np.uint8) for _, mask in seen]
            rows = classifier.probabilities(pixels.expand(len(maps), -1, -1, -1), maps, [1] * len(maps))
            objects = []
            for (key, mask), row in zip(seen, np.concatenate(rows), strict=True):
                best = np.argsort(-row, kind="stable")[: self.top_k].tolist()
                objects.append(InstanceMask(key, mask, {ids[c]: min(float(row[c]), 1.0) for c in best}))
            yield InstanceFrame(tuple(objects))

    def _panoptic(
        self, truth: Callable[[str, int], PanopticFrame], video: Video, vocabulary: Vocabulary
    ) -> Iterator[PanopticFrame]:
        from ovsbench.gkc_video.model import uploaded

        classifier = self.namer.learn(vocabulary)
        categories = [category.id for category in vocabulary]
        votes: dict[int, npt.NDArray[np.float32]] = {}  # sums over the frames seen
        device = str(self.namer.clip.device)
        for index, pixels in enumerate(uploaded(video.images(), 1, device)):
            frame = truth(video.id, index)
            region_map, segments = dense(frame)
            (probabilities,) = classifier.probabilities(pixels, [region_map], [len(segments)])
            named = {}
            for segment, row in zip(segments, probabilities, strict=True):
                votes[segment.id] = row + votes[segment.id] if self.vote and segment.id in votes else row
                mean = votes[segment.id] / votes[segment.id].sum()
                best = int(mean.argmax())
                named[segment.id] = Segment(segment.id, categories[best], min(float(mean[best]), 1.0))
            yield PanopticFrame(frame.ids, named)
