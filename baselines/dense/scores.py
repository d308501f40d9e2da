"""Class probabilities of every pixel of a frame by a dense CLIP: resize, slide, compare, enlarge, refine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ovsbench.baselines.dense.attention import SIGMA, Kind
from ovsbench.baselines.dense.refine import refine
from ovsbench.baselines.dense.towers import dense_features, family, stride
from ovsbench.baselines.region_clip import Namer, class_logits
from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.types import Vocabulary
from ovsbench.gkc_video.text import Clip, NameTable, Prompted

USUAL: Mapping[str, Kind] = {"vit": "naclip", "resnet": "maskclip", "timm": "raw"}
BATCH = 32
"""Most windows, of all frames of a batch, that go through the tower together."""


@dataclass(frozen=True)
class DenseScorer:
    """A CLIP that scores pixels.

    Attributes:
        namer: the CLIP and how it is asked.
        kind: its last attention.
        side: shorter side of the input in pixels.
        window, step: of sliding windows in input pixels, multiples of the tower's stride; None for the whole frame.
        background: names that are no class.
        refining: rounds of refinement.
    """

    namer: Namer
    kind: Kind
    side: int
    window: int | None = None
    step: int | None = None
    background: tuple[str, ...] = ()
    refining: int = 0

    @staticmethod
    def of(
        namer: Namer,
        kind: Kind | None,
        *,
        side: int | None,
        window: int | None,
        step: int | None,
        background: tuple[str, ...],
        refining: int,
    ) -> DenseScorer:
        """With what fits the tower where nothing is said, and windows rounded up to its stride.

        Raises:
            MethodError: a tower without patches in the text space, or a kind that it does not have.
        """
        visual, name = namer.clip.model.visual, namer.clip.name
        which, unit = family(visual, name), stride(visual, name)
        if which == "timm" and kind not in (None, "raw"):
            raise MethodError(f"{name} has no attention to change, so there is no {kind} of it. Use kind=raw")
        if window is not None:
            window = -(-window // unit) * unit
            step = -(-(step or window // 2) // unit) * unit
        return DenseScorer(namer, kind or USUAL[which], side or namer.clip.side, window, step, background, refining)

    @property
    def notes(self) -> Mapping[str, str]:
        """Facts for the record of a run."""
        sliding = "the whole frame" if self.window is None else f"windows of {self.window} every {self.step}"
        return {
            **self.namer.notes,
            "attention": self.kind + (f", sigma {SIGMA:g}" if self.kind == "naclip" else ""),
            "input": f"shorter side {self.side}, {sliding}",
            **({"background": ", ".join(self.background)} if self.background else {}),
            **({"refinement": f"{self.refining} rounds"} if self.refining else {}),
        }

    def reader(self, vocabulary: Vocabulary) -> Callable[[torch.Tensor], torch.Tensor]:
        """Encodes the names; frames uint8 (B, 3, H, W) to probabilities (B, C, H, W) on the CLIP's device.

        With a last class for the background if any.
        """
        table = self.namer.table(vocabulary)
        if self.background:
            others = Prompted(self.namer.clip, self.namer.templates).encode(self.background).to(table.vectors)
            owner = torch.full((len(others),), table.classes, device=table.owner.device)
            vectors, owners = torch.cat([table.vectors, others]), torch.cat([table.owner, owner])
            table = NameTable(vectors, owners, table.classes + 1)
        return lambda frames: self._score(frames, table)

    @torch.inference_mode()
    def _score(self, frames: torch.Tensor, table: NameTable) -> torch.Tensor:
        clip = self.namer.clip
        pixels = input_pixels(clip, frames, self.side, stride(clip.model.visual, clip.name))
        size = (pixels.shape[2], pixels.shape[3])
        total = pixels.new_zeros(len(frames), table.classes, *size)
        seen = pixels.new_zeros(size)
        boxes = list(windows(size, self.window, self.step or 1))
        most = max(1, BATCH // len(frames))
        for start in range(0, len(boxes), most):
            some = boxes[start : start + most]
            found = dense_features(clip.model.visual, clip.name, torch.cat([pixels[box] for box in some]), self.kind)
            patches = F.normalize(found.patches.float(), dim=1)
            cosines = torch.einsum("bdhw,nd->bhwn", patches, table.vectors)
            logits = class_logits(self.namer.scale * cosines, table).permute(0, 3, 1, 2)
            for box, of_frames in zip(some, logits.split(len(frames)), strict=True):
                extent = pixels[box].shape[2:]
                total[box] += F.interpolate(of_frames, extent, mode="bilinear", align_corners=False)
                seen[box[2:]] += 1
        means = F.interpolate(total / seen, frames.shape[-2:], mode="bilinear", align_corners=False)
        chance = means.softmax(1)
        if not self.refining:
            return chance
        colours = frames.to(chance)
        return torch.stack([refine(*frame, self.refining) for frame in zip(chance, colours, strict=True)])


Box = tuple[slice, slice, slice, slice]


def windows(size: tuple[int, int], window: int | None, step: int) -> Iterator[Box]:
    """Boxes of (B, 3, H, W) that cover all of it; the last of a row or column ends with the frame.

    >>> [(box[2].start, box[3].start) for box in windows((64, 128), 64, 48)]
    [(0, 0), (0, 48), (0, 64)]
    """
    if window is None:
        yield slice(None), slice(None), slice(0, size[0]), slice(0, size[1])
        return
    starts = [sorted({*range(0, max(n - window, 0), step), max(n - window, 0)}) for n in size]
    for top in starts[0]:
        for left in starts[1]:
            yield (
                slice(None),
                slice(None),
                slice(top, min(top + window, size[0])),
                slice(left, min(left + window, size[1])),
            )


def input_pixels(clip: Clip, frames: torch.Tensor, side: int, unit: int) -> torch.Tensor:
    """Frames as the input (B, 3, h, w) of a tower, on the CLIP's device.

    Args:
        clip: gives statistics and device.
        frames: uint8 (B, 3, H, W).
        side: wanted length of the shorter side in pixels.
        unit: height and width become multiples of it, the nearest ones.
    """
    factor = side / min(frames.shape[-2:])
    size = [max(1, round(n * factor / unit)) * unit for n in frames.shape[-2:]]
    pixels = frames.to(clip.device).float()
    if list(frames.shape[-2:]) != size:
        shrinks = size[0] < frames.shape[-2]
        pixels = F.interpolate(pixels, size, mode="bicubic", align_corners=False, antialias=shrinks).clamp(0, 255)
    return clip.normalise(pixels)
