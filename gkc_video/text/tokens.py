"""Names to token ids, whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ovsbench.benchmark.errors import MethodError


def whole_tokens(tokenize: Any, texts: Sequence[str], reader: str) -> torch.Tensor:
    """Token ids, int64 (N, length); open_clip's tokenizers cut a longer text without a word.

    Args:
        tokenize: one of open_clip's tokenizers.
        texts: (N,).
        reader: the model, for the sentence.

    Raises:
        MethodError: a text has more tokens than the model reads.
    """
    tokens: torch.Tensor = tokenize(list(texts))
    for text, is_full in zip(texts, (tokens[:, -1] != 0).tolist(), strict=True):
        if is_full and (count := _count(tokenize, text)) > tokens.shape[1]:
            raise MethodError(
                f"{reader} reads at most {tokens.shape[1]} tokens of a text, got {count}: {text[:60]!r}. "
                "Shorten the name"
            )
    return tokens


def _count(tokenize: Any, text: str) -> int:
    """The tokens of a whole text, with those that begin and end it."""
    of_transformers = getattr(tokenize, "tokenizer", None)
    if of_transformers is not None:
        return len(of_transformers(tokenize.clean_fn(text)).input_ids)
    return len(tokenize.encode(text)) + 2
