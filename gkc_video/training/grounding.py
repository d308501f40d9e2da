"""Caption grounding: which words of a caption are where in its picture, learnt without masks.

For B pictures with captions, queries q of picture i with embeddings e_q, words k of caption j with vectors t_k:

    c_qk = cos(e_q, t_k)
    a_qk = o_q exp(s c_qk) / sum over q' of o_q' exp(s c_q'k)          which queries of the picture the word is at
    S_ij = mean over words k of caption j of sum over q of a_qk c_qk
    loss = mean over i of half of  -log softmax over j of s S_ij  at j = i  and  -log softmax over j of s S_ji  at j = i

s is the model's inverse temperature; o_q = 1 - probability of no-object among the words of the batch and the names of
the classes to learn, without gradient. Captions with the same words are right answers together, an equal share each.
Each process, and each part of a step, contrasts its own captions alone.

Source: the grounding loss of OpenSeg (Ghiasi et al., Scaling Open-Vocabulary Image Segmentation with Image-Level
Labels, ECCV 2022), an idea that CGG (ICCV 2023) shares; o_q, and what equal captions are, is ours. The released code of
GKC has another form, with distances and both ways of attention.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ovsbench.benchmark.types import Category, Vocabulary
from ovsbench.gkc_video.model.network import GKC
from ovsbench.gkc_video.text.synonyms import Thesaurus, plain
from ovsbench.gkc_video.training.late_mean import Mean


@dataclass(frozen=True)
class WordFinder:
    """Finds known words in captions.

    Attributes:
        rows: what a word is, letter for letter, to its place among the known words.
        longest: parts of the longest word.
    """

    rows: Mapping[tuple[str, ...], int]
    longest: int

    @staticmethod
    def of(words: Sequence[str]) -> WordFinder:
        """A finder of these words and of their plurals; a plural that is a word of its own stays that word."""
        rows = {parts: row for row, word in reversed(list(enumerate(words))) if (parts := _parts(word))}
        for (*before, last), row in list(rows.items()):
            for plural in _plurals(last):
                rows.setdefault((*before, plural), row)
        return WordFinder(rows, max(map(len, rows), default=0))

    def find(self, caption: str) -> tuple[int, ...]:
        """Places of the words in a caption, each once, in their order; where words overlap the longest counts.

        >>> WordFinder.of(["light", "traffic light", "dog"]).find("Two dogs under a traffic light, a dog")
        (2, 1)
        """
        parts, found, place = _parts(caption), dict[int, None](), 0
        while place < len(parts):
            for length in range(min(self.longest, len(parts) - place), 0, -1):
                row = self.rows.get(parts[place : place + length])
                if row is not None:
                    found[row] = None
                    break
            else:
                length = 1
            place += length
        return tuple(found)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[^\W_]+", text.casefold()))


def _plurals(noun: str) -> tuple[str, ...]:
    return (noun + "s", noun + "es", *([noun[:-1] + "ies"] if noun.endswith("y") else []))


def known_words(
    vocabulary: Vocabulary, thesaurus: Thesaurus, held_out: frozenset[int] = frozenset()
) -> dict[str, Category]:
    """The names of all classes and their synonyms, each with its class: a novel one before one held out before others.

    Args:
        vocabulary: base and novel classes.
        thesaurus: gives synonyms beside the vocabulary's own.
        held_out: ids of base classes.
    """
    words: dict[str, Category] = {}
    for category in sorted(vocabulary, key=lambda c: (not c.is_novel, c.id not in held_out)):
        synonyms = thesaurus.synonyms(category.name, category.synonyms)
        for word in (category.name, *(synonym.word for synonym in synonyms)):
            words.setdefault(plain(word), category)
    return words


def ground(
    model: GKC, embeddings: torch.Tensor, captions: Sequence[Sequence[int]], words: torch.Tensor, names: torch.Tensor
) -> Mean:
    """The loss of the pictures of one batch.

    Args:
        model: gives no-object and temperature.
        embeddings: (B, Q, D) of the pictures' queries, not normalised.
        captions: for each picture, the rows of its caption's words; at least one.
        words: (W, D) unit vectors.
        names: (C, D) unit vectors of further names that a query may stand for when it is distinguished from no-object.
    """
    if not captions:
        return Mean.of(embeddings.sum() * 0, 0)
    used = sorted({row for caption in captions for row in caption})
    column = {row: number for number, row in enumerate(used)}
    shares = torch.zeros(len(used), len(captions), device=embeddings.device)
    for number, caption in enumerate(captions):
        shares[[column[row] for row in caption], number] = 1 / len(caption)
    vectors = words[used]
    with torch.no_grad():
        present = 1 - model.logits(embeddings, torch.cat([vectors, names])).float().softmax(-1)[..., -1]
    scale = model.log_scale.exp()
    return contrast(similarities(embeddings, present, vectors, shares, scale), captions, scale)


def similarities(
    embeddings: torch.Tensor, present: torch.Tensor, vectors: torch.Tensor, shares: torch.Tensor, scale: torch.Tensor
) -> torch.Tensor:
    """How well each caption fits each picture: S of the module's formula, (B, captions).

    Args:
        embeddings: (B, Q, D), not normalised.
        present: (B, Q), o of the formula, in [0, 1].
        vectors: (W, D) unit vectors of the words.
        shares: (W, captions), the share of each word in each caption; columns sum to 1.
        scale: s.
    """
    cosines = F.normalize(embeddings, dim=-1) @ vectors.T  # (B, Q, W)
    where = (scale * cosines + present.clamp(min=1e-6).log()[..., None]).softmax(1)
    return (where * cosines).sum(1) @ shares


def contrast(fits: torch.Tensor, captions: Sequence[Sequence[int]], scale: torch.Tensor) -> Mean:
    """InfoNCE in both directions over pictures and captions, summed over the pictures.

    Args:
        fits: S of the module's formula, (B, B).
        captions: the words of each.
        scale: s.
    """
    sets = [frozenset(caption) for caption in captions]
    same = torch.tensor([[float(a == b) for b in sets] for a in sets], device=fits.device)
    right = same / same.sum(1, keepdim=True)
    logits = scale * fits.float()
    both = F.cross_entropy(logits, right, reduction="sum") + F.cross_entropy(logits.T, right, reduction="sum")
    return Mean.of(both / 2, len(sets))
