"""Masked attention of an encoder-only GKC while it trains: first whole, at the end of the training gone.

A masked query sees, of the patches, only those inside the mask that it has before the block. The share of masked
queries of each block falls from 1 to 0, one block after another from the first on, so that at test time no block needs
a mask. Source: Kerssies et al., Your ViT is Secretly an Image Segmentation Model, CVPR 2025 (mask annealing).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

POWER = 0.9
"""Of the fall of the share of masked queries within a block's turn."""


def masked_shares(progress: float, blocks: int, until: float) -> npt.NDArray[np.float64]:
    """The share of masked queries of each block, (blocks,), in [0, 1].

    Args:
        progress: share of the training's steps that are done.
        blocks: those that queries take part in.
        until: share of the steps after which no query is masked. It is divided into one turn more than there are
            blocks: in the first all queries are masked in all blocks, then each block gives it up within its turn.

    >>> [masked_shares(progress, 2, 0.75).tolist() for progress in (0.0, 0.5, 0.75)]
    [[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]]
    """
    if progress >= until:
        return np.zeros(blocks)
    turns = progress / until * (blocks + 1) - np.arange(1, blocks + 1)
    return (1 - np.clip(turns, 0, 1)) ** POWER


def draw_masked(
    shares: npt.NDArray[np.float64], queries: int, rngs: Sequence[np.random.Generator]
) -> npt.NDArray[np.bool_]:
    """Which queries are masked in each block of each frame, (frames, blocks, queries).

    Args:
        shares: (blocks,).
        queries: number of them.
        rngs: one for each frame.
    """
    return np.stack([rng.random((len(shares), queries)) < shares[:, None] for rng in rngs])
