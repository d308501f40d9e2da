"""Where masks come from, for every method that names the regions of others: GKC, or a closed-set segmenter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ovsbench.baselines.regions import MaskSource, Propose
from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.methods import Options
from ovsbench.benchmark.types import Vocabulary
from ovsbench.gkc_video import method as gkc_method
from ovsbench.gkc_video.checkpoint import shipped
from ovsbench.gkc_video.method import GKCMethod
from ovsbench.gkc_video.tracking.tracker import Association


def open_masks(weights: str | Path, *, device: str, options: Mapping[str, str]) -> MaskSource:
    """The masks of a GKC checkpoint, or of a folder that transformers saved.

    Args:
        weights: file, shipped name, or folder with a `config.json`.
        device: "auto", "cpu", "cuda", ...
        options: of GKC, or of the method closed-set, as text.

    Raises:
        MethodError: no such weights, or an option that its method does not have.
    """
    if Path(weights).is_dir():
        from ovsbench.baselines import closed_set

        given = Options.of(closed_set.build).read("closed-set", options)
        return closed_set.build(checkpoint=Path(weights), device=device, **given)
    given = Options.of(gkc_method.build).read("gkc", options)
    return GkcMasks(gkc_method.build(checkpoint=Path(weights), device=device, **given))


def partner_clip(weights: str | Path) -> str | None:
    """The shipped CLIP of the same world as a shipped GKC."""
    partner = str(weights).replace("gkc-", "clip-")
    return partner if str(weights) in shipped() and partner in shipped() and partner != str(weights) else None


def require_clip(method: str, clip: str | None, masks: Path) -> str:
    """The CLIP that was named, or the one that belongs to the masks.

    Raises:
        MethodError: there is neither.
    """
    found = clip or partner_clip(masks)
    if found is None:
        raise MethodError(
            f"the method {method} needs a CLIP that names the masks of {masks}, got none. "
            "Give one: --option clip=FILE, or --option clip=TAG --option clip_model=NAME for one that open_clip knows"
        )
    return found


@dataclass(frozen=True)
class GkcMasks:
    """GKC's regions and linking; its own class scores decide only which queries are regions."""

    gkc: GKCMethod

    @property
    def association(self) -> Association:
        """GKC's own."""
        return self.gkc.association

    @property
    def delay(self) -> int:
        """GKC's own."""
        return self.gkc.delay

    @property
    def sha256(self) -> str:
        """Of GKC's weights."""
        return self.gkc.checkpoint_sha256

    @property
    def device(self) -> str:
        """That GKC is on."""
        return self.gkc.device

    @property
    def notes(self) -> Mapping[str, str]:
        """GKC's own."""
        return self.gkc.notes

    def reader(self, vocabulary: Vocabulary) -> Propose:
        """GKC reads the names once a video."""
        table = self.gkc.names(vocabulary)
        return lambda image: self.gkc.propose(image, table)
