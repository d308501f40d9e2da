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
    """All that can appear; its ids and its base and novel groups are those of `splits/world.json`."""

    vocabulary: Vocabulary
    things: tuple[Thing, ...]
    stuffs: tuple[Stuff, ...]


def _thing(category: Category) -> Thing:
    fill, shape = category.name.split(" ")
    return Thing(category.id, fill, shape, category.is_novel)


def load_world() -> World:
    """The world's categories from its split file."""
    vocabulary = load_split("world").vocabulary
    things = tuple(_thing(c) for c in vocabulary if c.is_thing)
    stuffs = tuple(Stuff(c.id, c.name, c.is_novel) for c in vocabulary if not c.is_thing)
    return World(vocabulary, things, stuffs)
