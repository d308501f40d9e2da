"""Where masks come from, for every method that names the regions of others: GKC, or a closed-set segmenter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from ovsbench.baselines.regions import MaskSource
from ovsbench.benchmark import methods
from ovsbench.benchmark.errors import MethodError
from ovsbench.gkc_video.checkpoint import shipped


def open_masks(weights: str | Path, *, device: str, options: Mapping[str, str]) -> MaskSource:
    """The masks of a GKC checkpoint, or of a folder that transformers saved.

    Args:
        weights: file, shipped name, or folder with a `config.json`.
        device: "auto", "cpu", "cuda", ...
        options: of the method gkc, or closed-set, as text.

    Raises:
        MethodError: no such weights, or an option that its method does not have.
    """
    name = "closed-set" if Path(weights).is_dir() else "gkc"
    return cast(MaskSource, methods.create(name, checkpoint=weights, device=device, options=options))


def partner_clip(weights: str | Path) -> str | None:
    """The shipped CLIP, whose text encoder every shipped GKC has."""
    return "clip-world" if str(weights) in shipped() and str(weights).startswith("gkc-") else None


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
