"""Who is in each video of the world: categories are dealt like cards, so that none is rare by chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import numpy as np

from ovsbench.data_prep.world.words import Stuff, Thing, World

Plot = Literal["wander", "cross", "twins", "look-alikes", "leave", "chase"]
"""*cross*: two things meet, the nearer hides the other; *twins*: two of one category; *look-alikes*: two that share
fill or shape; *leave*: one runs out of the frame and back; *chase*: one follows another closely."""

_LIKELY = (0.25, 0.2, 0.15, 0.15, 0.15, 0.1)
_THINGS, _STUFFS = (4, 5, 6), (2, 2, 3)
_Card = TypeVar("_Card")


@dataclass(frozen=True)
class Cast:
    """The plot of a video and who is in it; in twins and look-alikes the last thing resembles the first."""

    plot: Plot
    things: tuple[Thing, ...]
    stuffs: tuple[Stuff, ...]


def cast_of(world: World, seed: int, part: int, number: int) -> Cast:
    """The cast of video `number` of a part; it does not depend on how many videos there are.

    Over any videos in a row each category is dealt equally often, but for one.
    """
    rng = np.random.default_rng([seed, part, number, 0xCA57])
    plot: Plot = get_args(Plot)[int(rng.choice(len(_LIKELY), p=_LIKELY))]
    things = _dealt(world.things, _THINGS, number, (seed, part, 0))
    stuffs = tuple(dict.fromkeys(_dealt(world.stuffs, _STUFFS, number, (seed, part, 1))))
    if plot == "twins":
        things = (*things, things[0])
    elif plot == "look-alikes":
        first = things[0]
        like = [t for t in world.things if t != first and (t.fill == first.fill) != (t.shape == first.shape)]
        things = (*things, like[int(rng.integers(len(like)))])
    return Cast(plot, things, stuffs)


def _dealt(cards: Sequence[_Card], hands: tuple[int, ...], number: int, key: tuple[int, int, int]) -> tuple[_Card, ...]:
    """Hand `number` of shuffled decks dealt one after the other; sizes of hands repeat."""
    rounds, place = divmod(number, len(hands))
    first = rounds * sum(hands) + sum(hands[:place])
    hand = []
    for dealt in range(first, first + hands[place]):
        shuffle, card = divmod(dealt, len(cards))
        order = np.random.default_rng([*key, 0xDECC, shuffle]).permutation(len(cards))
        hand.append(cards[order[card]])
    return tuple(hand)
