"""BURST (Athar et al., WACV 2023): masks for the videos of TAO, 482 classes; labels of val and test are public too.

    raw/val/all_classes.json                               also train, test; `annotations` may be there as a level
    raw/images/val/<data set>/<video>/<frame>.jpg          TAO's images; `frames` does as well, or --images

The frames of the benchmark are those with labels, one a second in val and test. A video is called by the number of its
id. The files use ids of LVIS, so classes are joined by their names with the list of 482. A mask without a pixel is
none: BURST says that such masks spoil scores. Labels are not exhaustive: for each video the files list classes that are
there and not all labelled, and classes that are known to be absent; the manifest keeps both lists, of which
`HOTA_burst` and `AP_burst` know. Classes are grouped as BURST's script has them: common (among them `person`, which
LVIS calls baby), uncommon, and distractors, which are labelled and not evaluated.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Unpack

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.formats.faults import Faults
from ovsbench.benchmark.formats.ytvis_layout import is_empty, read_entry, read_track
from ovsbench.benchmark.manifest import Benchmark, VideoEntry
from ovsbench.benchmark.storage.big_json import Span, elements, read_span
from ovsbench.benchmark.types import InstanceTrack, Rules, Scope, Vocabulary
from ovsbench.data_prep.convert import RawVideo
from ovsbench.data_prep.defects import Defects, whole_frames
from ovsbench.data_prep.layouts import find_layout
from ovsbench.data_prep.listing import image_folder
from ovsbench.data_prep.official import benchmark_name, official_classes, vocabulary_of
from ovsbench.data_prep.release import Watch, Work, source_of, write_release
from ovsbench.data_prep.ytvis_labels import plain_class

SPLIT = "burst-frequency"
_LABELS = ("{}/all_classes.json", "annotations/{}/all_classes.json")
_IMAGES = ("images/{}", "frames/{}", "{}", ".")


@dataclass(frozen=True, slots=True)
class _Sequence:
    """A video of the file: its entry, its tracks with the file's ids of classes, and where the file speaks of it.

    Attributes:
        absent, not_exhaustive: the file's ids of classes that are not there, and of those that are not all labelled.
    """

    entry: VideoEntry
    tracks: tuple[tuple[str, int], ...]
    span: Span
    absent: tuple[int, ...]
    not_exhaustive: tuple[int, ...]


@dataclass(frozen=True)
class _Tracks:
    """The tracks of a video.

    Attributes:
        json: the file.
        sequence: the video, with all frames of the file.
        kept: the numbers of the frames that the benchmark has.
        classes: the file's ids of classes, and those of the list of 482.
        vocabulary: all 482.
    """

    json: Path
    sequence: _Sequence
    kept: tuple[int, ...]
    classes: Mapping[int, int]
    vocabulary: Vocabulary

    def __call__(self, index: int, defects: Defects) -> InstanceTrack:
        key, category = self.sequence.tracks[index]
        entry = self.sequence.entry
        where = f"{self.json}, video {entry.id}, track {key}"
        if category not in self.classes:
            raise DataError(f"{where}: expected the id of one of the {len(self.vocabulary)} classes, got {category}")
        frames = _segmentations(self.json, self.sequence.span, self.json.stat().st_mtime_ns)
        size = list(entry.size)
        masks = [
            {"size": size, "counts": _counts(frames[i][key], where)} if key in frames[i] else None for i in self.kept
        ]
        row = {"category_id": self.classes[category], "segmentations": masks}
        shown = dataclasses.replace(entry, frames=tuple(entry.frames[i] for i in self.kept))
        track = read_track(row, index + 1, shown, self.vocabulary, where, is_label=True)
        return dataclasses.replace(track, masks=tuple(None if is_empty(mask) else mask for mask in track.masks))


@functools.lru_cache(maxsize=1)
def _segmentations(path: Path, span: Span, changed: int) -> Any:
    """Of each frame of a sequence the masks by track; kept while the tracks of one sequence are read in turn.

    Args:
        path, span: where they are.
        changed: when the file was, so that another content is read.
    """
    return read_span(path, span)["segmentations"]


def build_burst(
    raw: str | Path,
    folder: str | Path,
    *,
    subset: str = "val",
    split: str | Path | None = SPLIT,
    variant: str | None = None,
    images: str | Path | None = None,
    **work: Unpack[Work],
) -> Benchmark:
    """Turns labels of BURST into a benchmark folder; images stay where they are, and may be missing for scoring.

    Args:
        raw: the folder in the layout above.
        folder: the benchmark folder to write.
        subset: train, val or test.
        split: which classes are novel; None for no class.
        variant: None for a benchmark to score on, else how a training set hides novel classes, see `recipe_of`.
        images: folder of <data set>/<video>/<frame>.jpg, if not in the raw folder.
        work: see `Work`.

    Raises:
        DataError: the raw folder has another layout, or something in it cannot be read; all of it told at once.
    """
    raw = Path(raw).resolve()
    find_layout(raw, "burst")
    watch = Watch(**work)
    defects, faults = watch.defects, watch.faults
    classes = official_classes("burst")
    vocabulary = Vocabulary(
        tuple(
            dataclasses.replace(c, group=c.group or classes.by_id[c.id].group)
            for c in vocabulary_of(split, ["burst"], classes)
        )
    )
    path = next((raw / place.format(subset) for place in _LABELS if (raw / place.format(subset)).is_file()), None)
    if path is None:
        raise DataError(
            f"{raw / _LABELS[0].format(subset)}: expected labels of BURST, found none. Choose another --subset"
        )
    sequences, names = _look_through(path, faults)
    numbers = {plain_class(category.name): category.id for category in classes}
    numbers["baby"] = numbers["person"]
    joined = {own: numbers[name] for own, name in names.items() if name in numbers}
    image_root = image_folder(images) or _image_root(raw, subset, sequences)
    made = (_raw_video(path, sequence, image_root, joined, classes, defects) for sequence in sequences)
    return write_release(
        folder,
        [video for video in made if video is not None],
        watch,
        name=benchmark_name("burst", split, subset, variant),
        source=source_of(
            f"BURST, {subset}",
            "BURST: annotations MIT, images under the terms of TAO",
            variant,
            "labels are not exhaustive",
        ),
        rules=Rules(task="instance", labelled="in part"),
        vocabulary=vocabulary,
        image_root=image_root or raw / "images" / subset,
        variant=variant,
        what=f"BURST {subset} in {raw}",
    )


def _look_through(path: Path, faults: Faults) -> tuple[list[_Sequence], dict[int, str]]:
    """The videos of the file in the order of their ids, and the names of its classes; one video in memory at a time."""
    sequences: dict[str, _Sequence] = {}
    names: dict[int, str] = {}
    for number, element in enumerate(elements(path, "labels of BURST"), 1):
        with faults.collecting():
            try:
                if element.key == "sequences":
                    sequence = _sequence(element.value, element.span, f"{path}, video number {number}")
                    if sequence.entry.id in sequences:
                        raise DataError(f"{path}: the id {sequence.entry.id} came before")
                    sequences[sequence.entry.id] = sequence
                elif element.key == "categories":
                    names[int(element.value["id"])] = plain_class(str(element.value["name"]))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise DataError(
                    f"{path}, element {number}: expected what BURST's annotation format says, got an error at {error!r}"
                ) from error
    for key, found in (("sequences", sequences), ("categories", names)):
        if not found and not faults.count:
            raise DataError(f"{path}: expected a list `{key}` with something in it, found none. Download it again")
    return [sequences[key] for key in sorted(sequences, key=int)], names


def _sequence(row: Any, span: Span, where: str) -> _Sequence:
    place = f"{row['dataset']}/{row['seq_name']}"
    names = [f"{place}/{name}" for name in row["annotated_image_paths"]]
    entry = read_entry({**row, "file_names": names, "length": len(row["segmentations"])}, where)
    tracks = tuple((key, int(category)) for key, category in row["track_category_ids"].items())
    strange = {key for frame in row["segmentations"] for key in frame} - {key for key, _ in tracks}
    if strange:
        raise DataError(f"{where} (id {entry.id}): expected a class of every track, track {min(strange)} has none")
    lists = (tuple(map(int, row.get(key, ()))) for key in ("neg_category_ids", "not_exhaustive_category_ids"))
    return _Sequence(entry, tracks, span, *lists)


def _counts(mask: Any, where: str) -> str:
    text = mask.get("rle") if isinstance(mask, Mapping) else None
    if not isinstance(text, str):
        raise DataError(f"{where}: expected a mask with run lengths as rle, got {repr(mask)[:40]}")
    return text


def _image_root(raw: Path, subset: str, sequences: list[_Sequence]) -> Path | None:
    """The folder in which images of the first videos lie; None if there are no images."""
    places = [raw / place.format(subset) for place in _IMAGES]
    first = [PurePosixPath(sequence.entry.frames[0]).parent for sequence in sequences[:20]]
    return next((place for parent in first for place in places if (place / parent).is_dir()), None)


def _raw_video(
    path: Path,
    sequence: _Sequence,
    image_root: Path | None,
    joined: Mapping[int, int],
    classes: Vocabulary,
    defects: Defects,
) -> RawVideo | None:
    """A video for `convert`; None if it has no frame left."""
    entry = sequence.entry
    kept, frames = whole_frames(entry.id, entry.frames, image_root, defects)
    if not kept:
        return None
    read = _Tracks(path, sequence, kept, joined, classes)
    absent, not_exhaustive = (
        tuple(sorted({joined[c] for c in ids if c in joined})) for ids in (sequence.absent, sequence.not_exhaustive)
    )
    scope = Scope(absent=absent, not_exhaustive=not_exhaustive)
    return RawVideo(entry.id, entry.size, frames, read, (path,), parts=len(sequence.tracks), scope=scope)
