"""The words of the embedded world: its categories, what they look like, and other words for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ovsbench.benchmark.types import Category, Vocabulary
from ovsbench.data_prep.split import load_split

FILL_WORDS: Mapping[str, tuple[str, ...]] = {
    "red": ("crimson", "scarlet"),
    "green": ("emerald", "jade"),
    "blue": ("azure", "cobalt"),
    "yellow": ("golden", "lemon"),
    "purple": ("violet", "plum"),
    "white": ("ivory", "chalky"),
    "black": ("ebony", "jet"),
    "striped": ("banded", "zebra"),
}
SHAPE_WORDS: Mapping[str, tuple[str, ...]] = {
    "circle": ("disc", "dot"),
    "square": ("box", "block"),
    "triangle": ("wedge", "pyramid"),
    "star": ("pentagram", "starburst"),
    "cross": ("plus sign", "plus"),
    "ring": ("hoop", "annulus"),
    "bar": ("rod", "stick"),
    "heart": ("valentine", "love heart"),
    "crescent": ("moon", "sickle"),
    "arrow": ("pointer", "dart"),
    "flower": ("blossom", "daisy"),
    "drop": ("droplet", "teardrop"),
    "bolt": ("lightning", "thunderbolt"),
    "gear": ("cogwheel", "cog"),
}
STUFF_WORDS: Mapping[str, tuple[str, ...]] = {
    "grass": ("lawn", "meadow"),
    "sand": ("beach", "desert"),
    "brick": ("brickwork", "masonry"),
    "wood": ("timber", "planks"),
    "snow": ("powder snow", "snowfield"),
    "gravel": ("pebbles", "shingle"),
    "asphalt": ("tarmac", "road surface"),
    "carpet": ("rug", "woven mat"),
    "water": ("pond", "lake"),
    "tile": ("tiling", "ceramic tiles"),
    "concrete": ("cement", "concrete slabs"),
    "straw": ("hay", "thatch"),
    "cobblestone": ("cobbles", "paving stones"),
    "lava": ("magma", "molten rock"),
    "marble": ("marbling", "polished stone"),
}
"""Synonyms, first the plain name's nearest. Our own choice of words."""


@dataclass(frozen=True)
class Thing:
    """A category of objects: a fill in a shape."""

    id: int
    fill: str
    shape: str
    is_novel: bool

    @property
    def name(self) -> str:
        return f"{self.fill} {self.shape}"


@dataclass(frozen=True)
class Stuff:
    """A category of ground."""

    id: int
    name: str
    is_novel: bool


@dataclass(frozen=True)
class World:
    """All that can appear; its ids and its base and novel groups are those of its split file."""

    vocabulary: Vocabulary
    things: tuple[Thing, ...]
    stuffs: tuple[Stuff, ...]

    def without(self, names: frozenset[str]) -> World:
        """The world in which these categories do not exist."""
        return _world(Vocabulary(tuple(c for c in self.vocabulary if c.name not in names)))


DEV_WORDS = frozenset(
    {
        *("red ring", "green cross", "blue star", "yellow triangle", "purple square", "white circle"),
        *("blue drop", "yellow bolt", "red gear", "purple drop", "green gear"),
        *("lava", "marble"),
    }
)
"""Novel categories on which choices are made; `val` has all others, so no choice has seen them."""


def _thing(category: Category) -> Thing:
    fill, shape = category.name.split(" ")
    return Thing(category.id, fill, shape, category.is_novel)


def _world(vocabulary: Vocabulary) -> World:
    things = tuple(_thing(c) for c in vocabulary if c.is_thing)
    stuffs = tuple(Stuff(c.id, c.name, c.is_novel) for c in vocabulary if not c.is_thing)
    return World(vocabulary, things, stuffs)


def load_world(part: str = "train") -> World:
    """The categories of a part of the world: dev and val hold their own novel ones, other parts hold all."""
    world = _world(load_split("world").vocabulary)
    if part == "val":
        return world.without(DEV_WORDS)
    if part == "dev":
        return world.without(frozenset(c.name for c in world.vocabulary if c.is_novel) - DEV_WORDS)
    return world
