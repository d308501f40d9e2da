"""Layers whose activations are computed again on the way back and not kept (gradient checkpointing)."""

from __future__ import annotations

import functools

from torch.utils.checkpoint import checkpoint

from ovsbench.benchmark.errors import MethodError
from ovsbench.gkc_video.model.network import GKC
from ovsbench.gkc_video.model.segmenter import Segmenter


def recompute_layers(model: GKC) -> None:
    """Lets the layers of pixel decoder and decoder keep their inputs alone; they draw no random numbers.

    The trunk keeps what it computes: a second pass would count its frames twice in the means of its norms.

    Raises:
        MethodError: the model has no such layers.
    """
    if not isinstance(model.segmenter, Segmenter):
        raise MethodError(
            "[training] recompute is for the layers of pixel decoder and decoder, which an encoder-only model has not. "
            "Leave it out"
        )
    for layer in (*model.segmenter.pixel_decoder.encoder.layers, *model.segmenter.transformer.decoder.layers):
        layer.forward = functools.partial(checkpoint, layer.forward, use_reentrant=False)
