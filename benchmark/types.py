"""The nouns of the suite, frozen and free of files: categories, segments, frames, videos, rules."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.errors import DataError, MethodError

Offer = Literal["all", "base", "novel"]
Task = Literal["semantic", "panoptic", "instance"]
Labelled = Literal["wholly", "as asked", "in part"]
Ids = npt.NDArray[np.uint32]
Image = npt.NDArray[np.uint8]

LISTED_WHOLE = 2000
"""Categories that are all listed, category by category, whether they occur or not."""

VOID = 0
"""The segment id of pixels that belong to no segment, in labels and in predictions."""


@dataclass(frozen=True, slots=True)
class Nearest:
    """Which base class a novel one is nearest to by name: how novel the word is, as a number.

    Attributes:
        base: id of the base category.
        similarity: cosine of the vectors of the two names, in [-1, 1].
        space: the text model and prompt; similarities of different spaces are not comparable.
    """

    base: int
    similarity: float
    space: str


@dataclass(frozen=True, slots=True)
class Category:
    """A class of the vocabulary; the id identifies it, its words may repeat.

    Attributes:
        id: number, at least 0, as the data set's owners give it.
        name: the word offered to methods.
        is_thing: whether single objects are told apart (thing) or not (stuff).
        is_novel: whether its masks were withheld from training.
        synonyms: other words for the same class; methods may use them or not.
        group: a finer part of base or novel that is reported apart ("" for none).
        nearest: of a novel category where text vectors were at hand; describes, and enters no digest.
    """

    id: int
    name: str
    is_thing: bool
    is_novel: bool = False
    synonyms: tuple[str, ...] = ()
    group: str = ""
    nearest: Nearest | None = None


@dataclass(frozen=True)
class Vocabulary:
    """Classes told apart by their ids, in the order of the manifest: of a benchmark, or those asked of one video.

    A name is the phrase as its owners wrote it; names may repeat, up to case or wholly (`refuse_same_names` where they
    must not). A vocabulary without a class is that of a video of which nothing is asked.

    Raises:
        DataError: an id twice, a negative id, or an empty name.
    """

    categories: tuple[Category, ...]

    def __post_init__(self) -> None:
        if any(c.id < 0 for c in self.categories):
            raise DataError("category ids must be 0 or more; a negative one came. Number them from 0")
        if len(self.by_id) < len(self.categories):
            _refuse_twice("id", [str(c.id) for c in self.categories])
        nameless = next((number for number, c in enumerate(self.categories, 1) if not c.name.strip()), None)
        if nameless is not None:
            raise DataError(f"every category needs a name; number {nameless} is empty. Name it")

    def refuse_same_names(self) -> None:
        """Raises a `DataError` if a name came twice, up to case."""
        _refuse_twice("name", [c.name.strip().casefold() for c in self.categories])

    def refuse_empty(self) -> None:
        """Raises a `DataError` if there is no category."""
        if not self.categories:
            raise DataError("a vocabulary needs at least one category; none came. Give at least one name")

    def __iter__(self) -> Iterator[Category]:
        return iter(self.categories)

    def __len__(self) -> int:
        return len(self.categories)

    def __contains__(self, category_id: object) -> bool:
        return category_id in self.by_id

    @cached_property
    def by_id(self) -> Mapping[int, Category]:
        return {c.id: c for c in self.categories}

    @cached_property
    def order(self) -> Mapping[int, int]:
        """The place of each category, by its id."""
        return {c.id: place for place, c in enumerate(self.categories)}

    @property
    def ids(self) -> frozenset[int]:
        return frozenset(self.by_id)

    @property
    def base(self) -> frozenset[int]:
        return frozenset(c.id for c in self.categories if not c.is_novel)

    @property
    def novel(self) -> frozenset[int]:
        return frozenset(c.id for c in self.categories if c.is_novel)

    @property
    def things(self) -> frozenset[int]:
        return frozenset(c.id for c in self.categories if c.is_thing)

    @property
    def stuff(self) -> frozenset[int]:
        return frozenset(c.id for c in self.categories if not c.is_thing)

    @property
    def groups(self) -> Mapping[str, frozenset[int]]:
        """Every named part of the vocabulary that holds a class: all, base, novel, things, stuff, then `group`s."""
        named = {
            "all": self.ids, "base": self.base, "novel": self.novel, "things": self.things, "stuff": self.stuff,
        }  # fmt: skip
        for name in dict.fromkeys(c.group for c in self.categories if c.group):
            named[name] = frozenset(c.id for c in self.categories if c.group == name)
        return {name: ids for name, ids in named.items() if ids}

    def offered(self, which: Offer) -> Vocabulary:
        """The part of the vocabulary that a method may choose from; ids stay as they are."""
        if which == "all":
            return self
        kept = tuple(c for c in self.categories if c.is_novel == (which == "novel"))
        if not kept:
            raise DataError(f"this benchmark has no {which} category to offer. Use --offer all")
        return Vocabulary(kept)

    def part(self, ids: Collection[int]) -> Vocabulary:
        """Those of some ids that are here, by rising id; costs no more for a large vocabulary than for a small one."""
        return Vocabulary(tuple(self.by_id[c] for c in sorted(set(ids)) if c in self.by_id))

    def listed(self, occurring: Collection[int]) -> tuple[Category, ...]:
        """The categories that files and tables list: all, but of more than `LISTED_WHOLE` those that occur."""
        if len(self.categories) <= LISTED_WHOLE:
            return self.categories
        return tuple(sorted((self.by_id[c] for c in occurring), key=lambda c: self.order[c.id]))

    @property
    def digest(self) -> str:
        """sha256 over ids, names, flags and synonyms, in order."""
        rows = [[c.id, c.name, c.is_thing, c.is_novel, list(c.synonyms), c.group] for c in self.categories]
        return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()


def _refuse_twice(what: str, values: Sequence[str]) -> None:
    twice = [value for value, times in Counter(values).items() if times > 1]
    if twice:
        raise DataError(
            f"every category needs its own {what}; {', '.join(map(repr, twice[:5]))} came more than once. "
            "Keep one of each"
        )


@dataclass(frozen=True, slots=True)
class Segment:
    """One region of one frame. The id is the track: same id in a video, same object.

    Attributes:
        id: 1 to 2**32 - 1.
        category: id of a `Category`.
        score: confidence in [0, 1]; 1.0 for labels.
        is_crowd: labels only: a region of objects that are not told apart, which is neither found nor missed.
    """

    id: int
    category: int
    score: float = 1.0
    is_crowd: bool = False


@dataclass(frozen=True)
class PanopticFrame:
    """Non-overlapping segments of one frame.

    Attributes:
        ids: (H, W) uint32, the segment id of every pixel; 0 is void.
        segments: id to segment, exactly the nonzero ids of the array; of labels in the order in which the data set
            lists them, which some official scripts go by.
    """

    ids: Ids
    segments: Mapping[int, Segment] = field(default_factory=dict)


@dataclass(frozen=True)
class InstanceMask:
    """One predicted object in one frame.

    Attributes:
        track: 1 to 2**32 - 1: same number in a video, same object.
        mask: (H, W) bool; without a pixel where the object is followed, but hidden.
        scores: category id to confidence in [0, 1], for any number of categories that the object may be.
    """

    track: int
    mask: npt.NDArray[np.bool_]
    scores: Mapping[int, float]


@dataclass(frozen=True)
class InstanceFrame:
    """The predicted objects of one frame of an instance benchmark; their masks may overlap."""

    objects: tuple[InstanceMask, ...] = ()


@dataclass(frozen=True)
class InstanceTrack:
    """One object of a video, labelled or predicted, in all its frames; tracks may overlap.

    Attributes:
        id: 1 to 2**32 - 1, unique in the video.
        category: id of a `Category`.
        masks: for each frame the text of its mask, see `ovsbench.benchmark.storage.rle`; None where it is not seen.
        score: confidence, a finite number of at least 0; 1.0 for labels.
        is_crowd: labels only: objects that are not told apart.
        area: labels only: mean pixels of the frames in which it is seen, where the data set's owners state them; None
            to count the masks.
    """

    id: int
    category: int
    masks: tuple[str | None, ...]
    score: float = 1.0
    is_crowd: bool = False
    area: float | None = None


@dataclass(frozen=True)
class Video:
    """The frames of one video, read when asked for; it holds no labels.

    Attributes:
        id: name, unique in the benchmark; one path component.
        frames: a name for each frame, in time order.
        size: (height, width) of every frame.
        fps: frames a second, the mean of them where `times` are uneven; None where unknown.
        read: frame number to RGB image, uint8 (H, W, 3).
        times: presentation time of each frame in seconds, ascending; None where frames come evenly, or it is unknown.
        notes: what the record of a run should say about how the video was read, such as that its end is missing.
    """

    id: str
    frames: tuple[str, ...]
    size: tuple[int, int]
    read: Callable[[int], Image]
    fps: float | None = None
    times: tuple[float, ...] | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.frames)

    def seconds(self, index: int) -> float | None:
        """When frame `index` is shown, in seconds from the start; None where neither times nor rate are known."""
        if self.times is not None:
            return self.times[index]
        return index / self.fps if self.fps else None

    def image(self, index: int) -> Image:
        """Frame `index` as RGB uint8 (H, W, 3).

        Raises:
            DataError: the file is missing or broken, or its size is not `size`.
        """
        image = self.read(index)
        if image.shape != (*self.size, 3):
            raise DataError(
                f"video {self.id}, frame {self.frames[index]}: expected an image of {self.size[1]}x{self.size[0]} "
                f"pixels, got {image.shape[1]}x{image.shape[0]}. Bring the frames to one size, or build the data again"
            )
        return image

    def images(self) -> Iterator[Image]:
        """All frames in order, one in memory at a time."""
        return (self.image(i) for i in range(len(self)))


@dataclass(frozen=True, slots=True)
class Rules:
    """What a benchmark asks for and how it is scored; written in its manifest.

    Attributes:
        task: semantic (a class for each pixel), panoptic (also objects with identities) or instance (scored objects
            that may overlap, nothing else).
        offered: the part of the vocabulary that methods choose from.
        vpq_windows: window lengths, in frames, whose VPQ values are averaged.
        labelled: what the labels of a video speak of: every category (wholly), the categories that are asked of it,
            present or absent (as asked), or some, with lists of those known to be absent and of those whose objects are
            not all labelled (in part, as in BURST).
    """

    task: Task = "panoptic"
    offered: Offer = "all"
    vpq_windows: tuple[int, ...] = (1, 2, 4, 6)
    labelled: Labelled = "wholly"


@dataclass(frozen=True, slots=True)
class Scope:
    """What the labels of one video speak of, as rising ids of categories; see `Rules.labelled`.

    Attributes:
        asked: the categories that are asked of it, present or absent; None for the whole vocabulary.
        absent: those that are known not to be in it, where labels speak of a part of the vocabulary.
        not_exhaustive: likewise those of whose objects only some are labelled.
    """

    asked: tuple[int, ...] | None = None
    absent: tuple[int, ...] = ()
    not_exhaustive: tuple[int, ...] = ()


WHOLE = Scope()
"""Labels that speak of every category."""


Answer = PanopticFrame | InstanceFrame | InstanceTrack
"""What a method yields; the last two on instance benchmarks alone."""


class Method(Protocol):
    """Anything that turns a video and a vocabulary into frames of named segments, or into tracks that may overlap.

    A method that has to see labels (an upper bound, never a contestant) has `with_labels` as well, see `LabelReader`.
    """

    def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[Answer]:
        """Yields one frame for each frame of the video, in order; category ids are those of `vocabulary`.

        Where `rules.task` is instance it may yield `InstanceFrame`s instead, or whole `InstanceTrack`s in any order,
        none if it found nothing; one kind in a video.
        """
        ...


class LabelReader(Protocol):
    """A method that reads the true labels; runs of it are marked in their record and on the leaderboard."""

    def with_labels(self, truth: Callable[[str, int], PanopticFrame]) -> Method:
        """The method, given the labels as a function of video id and frame number."""
        ...


@runtime_checkable
class TrackReader(LabelReader, Protocol):
    """A method that reads true labels, and on instance benchmarks whole tracks, which may overlap."""

    def with_tracks(self, tracks: Callable[[str], Iterable[InstanceTrack]]) -> Method:
        """The method, given the labels as a function of the video id; they are read one after the other."""
        ...


def check_frame(frame: PanopticFrame, size: tuple[int, int], vocabulary: Vocabulary, where: str) -> None:
    """Raises a `MethodError` that says what is wrong with a predicted frame, if anything is.

    Args:
        frame: what a method returned.
        size: (height, width) that it must have.
        vocabulary: the classes that were offered.
        where: video and frame, for the message.
    """
    if not isinstance(frame, PanopticFrame) or not isinstance(frame.ids, np.ndarray):
        came = type(frame if not isinstance(frame, PanopticFrame) else frame.ids).__name__
        raise MethodError(f"{where}: expected a PanopticFrame with a numpy array of ids, got {came}. Yield one a frame")
    if frame.ids.shape != size or frame.ids.dtype != np.uint32:
        raise MethodError(
            f"{where}: expected ids as uint32 of shape {size}, got {frame.ids.dtype} of shape {frame.ids.shape}. "
            "Return ids of this type at the size of the frame"
        )
    if not isinstance(frame.segments, Mapping):
        came = type(frame.segments).__name__
        raise MethodError(f"{where}: expected segments as a dictionary from id to Segment, got {came}. Make one")
    if VOID in frame.segments:
        raise MethodError(f"{where}: a segment has the id {VOID}, which means background. Number segments from 1")
    for key, segment in frame.segments.items():
        if not isinstance(segment, Segment):
            raise MethodError(f"{where}: expected a Segment for id {key}, got {type(segment).__name__}. Make one")
        if key != segment.id:
            raise MethodError(f"{where}: segment {segment.id} is filed under {key}. File each under its own id")
        for what, number in (("id", segment.id), ("category", segment.category)):
            if not isinstance(number, (int, np.integer)):
                came = type(number).__name__
                raise MethodError(f"{where}: expected a whole number as {what} of segment {key}, got {came}. Give one")
    flat = frame.ids.ravel()
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]), flat.size - 1)  # of runs of one id: far fewer to sort
    present = set(np.unique(flat[ends]).tolist()) - {VOID}
    listed = set(frame.segments)
    if present != listed:
        odd = sorted(present ^ listed)[:5]
        raise MethodError(
            f"{where}: the segments listed must be the nonzero ids of the pixels; these are in one only: {odd}. "
            "List each segment that has a pixel, and no other"
        )
    for segment in frame.segments.values():
        if segment.category not in vocabulary:
            raise MethodError(
                f"{where}: segment {segment.id} has category {segment.category}, which was not offered. "
                "Choose from the vocabulary that predict() received"
            )
        if not 0.0 <= segment.score <= 1.0:
            raise MethodError(f"{where}: segment {segment.id} has score {segment.score}. Scores lie between 0 and 1")
