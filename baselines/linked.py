"""Any frame-wise method with any association: its segments are linked anew, whatever ids it gave them.

A segment is known by its mask, its class with its score, and the mean and spread of its colours; things of other
frames are linked to it by `ovsbench.gkc_video.tracking`, and classes are voted along a track.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ovsbench.baselines.shared_options import Linking
from ovsbench.benchmark import methods
from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.panoptic import dense
from ovsbench.benchmark.running.instance_checks import only_frames
from ovsbench.benchmark.types import Image, Method, PanopticFrame, Rules, Video, Vocabulary
from ovsbench.gkc_video.tracking import Association, Linker, Proposals

TASKS = ("panoptic",)
NEEDS = "method=NAME and what that needs; extra gkc"
CELLS = 64
"""Most mask cells along a side: association compares masks at this size."""


def build(
    *,
    checkpoint: Path | None = None,
    device: str = "auto",
    method: str = "",
    linking: Linking = Linking(),
    **of_method: str,
) -> Linked:
    """The method.

    Args:
        checkpoint: of the other method.
        device: of the other method.
        method: the other method, a name of `ovsbench list methods` or file.py:build.
        linking: how its segments are linked; a method's own option `association` has to be left out.
        of_method: its options.

    Raises:
        MethodError: no method is named, or it needs labels.
    """
    if not method:
        raise MethodError("the method linked links the frames of another, got none. Name it: --option method=dense")
    settings = linking.settings
    inner = methods.create(method, checkpoint=checkpoint, device=device, options=of_method)
    if hasattr(inner, "with_labels"):
        raise MethodError(f"the method {method} needs labels, so there is nothing to link. Choose another")
    return Linked(inner, settings, linking.delay, f"{linking.association}; the tracks of {method} itself are not used")


@dataclass(frozen=True)
class Linked:
    """See the module."""

    inner: Method
    settings: Association
    delay: int
    about: str
    name: str = "linked"

    @property
    def notes(self) -> Mapping[str, str]:
        """The other method's, and the association."""
        return {**getattr(self.inner, "notes", {}), "association": self.about}

    def __getattr__(self, key: str) -> Any:
        """What the record asks of a method, such as its device, is the other method's."""
        if key in ("checkpoint_sha256", "device"):
            return getattr(self.inner, key)
        raise AttributeError(key)

    def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame]:
        """Yields the frames of the other method, their things linked."""
        linker = Linker(vocabulary, self.settings, self.delay, video.fps, video.times)
        images = linker.watched(video.images())
        rules = replace(rules, task="panoptic") if rules.task == "instance" else rules  # segments are linked
        frames = only_frames(self.inner.predict(video, vocabulary, rules))
        for frame, image in zip(frames, images, strict=True):
            proposals = regions_of_frame(frame, image, vocabulary)
            yield from linker.add(proposals)
        yield from linker.rest()


def regions_of_frame(frame: PanopticFrame, image: Image, vocabulary: Vocabulary) -> Proposals:
    """The segments of a finished frame as regions, with an appearance that any method has: colours."""
    region_map, segments = dense(frame)
    count, index_of = len(segments), {category.id: number for number, category in enumerate(vocabulary)}
    step = max(1, -(-max(region_map.shape) // CELLS))
    small = region_map[step // 2 :: step, step // 2 :: step]
    masks = small[None] == np.arange(1, count + 1)[:, None, None]
    probabilities = np.zeros((count, len(index_of)), np.float32)
    for row, segment in enumerate(segments):
        rest = (1 - segment.score) / max(len(index_of) - 1, 1)
        probabilities[row] = rest
        probabilities[row, index_of[segment.category]] = max(segment.score, 1e-6)
    return Proposals(
        region_map.astype(np.int32),
        masks,
        _colours(region_map, image, count),
        np.ones(count, np.float32),
        probabilities / np.maximum(probabilities.sum(1, keepdims=True), 1e-6),
    )


def _colours(region_map: npt.NDArray[Any], image: Image, count: int) -> npt.NDArray[np.float32]:
    """Unit vectors (count, 6): mean of the three channels about grey, and their standard deviations."""
    flat = region_map.ravel()
    areas = np.maximum(np.bincount(flat, minlength=count + 1)[1:], 1)
    channels = image.reshape(-1, 3).astype(np.float64) / 127.5 - 1
    means = np.stack([np.bincount(flat, c, count + 1)[1:] / areas for c in channels.T], 1)
    squares = np.stack([np.bincount(flat, c * c, count + 1)[1:] / areas for c in channels.T], 1)
    spread = np.sqrt(np.maximum(squares - means**2, 0))
    vectors = np.concatenate([means, spread], 1)
    return (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)).astype(np.float32)
