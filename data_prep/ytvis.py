"""YouTube-VIS 2019 and 2021, LV-VIS and OVIS: objects with tracks, in the JSON of formats/ytvis_layout.py.

    ytvis2019, ytvis2021    raw/train.json (or raw/train/instances.json), raw/train/JPEGImages/<video>/00000.jpg
    lvvis                   raw/train_instances.json, raw/val_instances.json, raw/JPEGImages/val/<video>/00000.jpg
    ovis                    raw/annotations/train.json (or annotations_train.json), raw/train/<video>/img_0000001.jpg

Images may be missing where nothing is run on them. A video is called by the number of its id, as predictions call it.

The validation labels of YouTube-VIS and OVIS are hidden. `source="train"` cuts a validation set out of the training
labels: a fraction of the videos, drawn by a seed, or those of a list; the list is written into the benchmark folder as
`videos.txt`, and the same call with `subset="train"` gives the others. A video is in one of the two, never in both.
The training labels of LV-VIS are not exhaustive.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Unpack

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.formats.faults import Faults
from ovsbench.benchmark.labels.manifest_writer import VIDEOS
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.storage.files import write_bytes
from ovsbench.benchmark.storage.folder_listing import IMAGES, files_in
from ovsbench.benchmark.storage.remote import place
from ovsbench.benchmark.types import Rules
from ovsbench.data_prep.layouts import find_layout
from ovsbench.data_prep.listing import image_folder, read_list
from ovsbench.data_prep.official import benchmark_name, official_classes, vocabulary_of
from ovsbench.data_prep.release import Watch, Work, source_of, write_release
from ovsbench.data_prep.ytvis_labels import Annotated, Labels, check_classes, look_through, raw_videos


@dataclass(frozen=True, slots=True)
class Release:
    """One of the data sets.

    Attributes:
        title: for people.
        split: taken by default, None for no novel class.
        labels: places of the JSON file, {} is the subset.
        licence: of images and labels.
    """

    title: str
    split: str | None
    labels: tuple[str, ...]
    licence: str


_YOUTUBE = ("{}.json", "{}/instances.json", "{}/{}.json", "instances_{}.json", "annotations/{}.json")
RELEASES: Mapping[str, Release] = {
    "ytvis2019": Release("YouTube-VIS 2019", "ytvis2019-ovformer", _YOUTUBE, "terms of its challenge"),
    "ytvis2021": Release("YouTube-VIS 2021", "ytvis2021-ovformer", _YOUTUBE, "terms of its challenge"),
    "lvvis": Release("LV-VIS", "lvvis", ("{}_instances.json", "annotations/{}_instances.json"), "CC BY-NC-SA 4.0"),
    "ovis": Release("OVIS", None, ("annotations/{}.json", "annotations_{}.json", "{}.json"), "for research use"),
}
_HIDDEN = (
    "expected labels, found no annotation; those of this part are hidden. Cut a validation set out of the training "
    "labels: --from train --fraction 0.1"
)
_OTHER_NAMES = {"val": ("val", "valid"), "train": ("train",)}


def build_ytvis(
    raw: str | Path,
    folder: str | Path,
    *,
    dataset: str,
    subset: str = "val",
    source: str | None = None,
    fraction: float = 0.1,
    seed: int = 0,
    videos: str | Path | None = None,
    split: str | Path | None = "default",
    variant: str | None = None,
    images: str | Path | None = None,
    **work: Unpack[Work],
) -> Benchmark:
    """Turns labels in the layout of YouTube-VIS into a benchmark folder; images stay where they are.

    Args:
        raw: the folder in one of the layouts above.
        folder: the benchmark folder to write.
        dataset: one of `RELEASES`.
        subset: train or val.
        source: the labels that the subset is cut out of, mostly train; None to take the subset's own.
        fraction: of the videos of `source` that are its val, the others are its train.
        seed: another one draws other videos.
        videos: a list of names (folders) or ids of the videos that are its val, in place of a fraction.
        split: which classes are novel; None for no class.
        variant: None for a benchmark to score on, else how a training set hides novel classes, see `recipe_of`.
        images: folder of the images, if not in the raw folder.
        work: see `Work`.

    Raises:
        DataError: the raw folder has another layout, or something in it cannot be read; all of it told at once.
    """
    raw, folder, release = Path(raw).resolve(), place(folder), RELEASES[dataset]
    find_layout(raw, dataset)
    watch, classes = Watch(**work), official_classes(dataset)
    split = release.split if split == "default" else split
    vocabulary = vocabulary_of(split, [dataset], classes)
    path = _find(raw, release, source or subset)
    labels = _look_through(path, watch.faults, _HIDDEN)
    check_classes(path, labels.vocabulary, dataset)
    chosen = _chosen(labels.videos, subset, source, fraction, seed, videos)
    image_root = image_folder(images) or _image_root(raw, source or subset, chosen)
    cut = "" if source is None else f", cut out of {source}"
    built = write_release(
        folder,
        raw_videos(path, chosen, image_root, classes, watch.defects),
        watch,
        name=benchmark_name(dataset, split, subset, "cut" if source else None, variant),
        source=source_of(f"{release.title}, {subset}{cut}", f"{release.title}: {release.licence}", variant),
        rules=Rules(task="instance"),
        vocabulary=vocabulary,
        image_root=image_root or raw / "JPEGImages",
        variant=variant,
        what=f"{release.title} {subset} in {raw}",
    )
    if source is not None:
        write_bytes(folder / VIDEOS, "".join(f"{video.name}\n" for video in chosen).encode())
    return built


def build_own_classes(
    raw: str | Path,
    folder: str | Path,
    *,
    images: str | Path | None = None,
    **work: Unpack[Work],
) -> Benchmark:
    """Turns any JSON file in the layout of YouTube-VIS into a benchmark of the classes that it lists.

    Args:
        raw: the file, or a folder with `gt.json`.
        folder: the benchmark folder to write.
        images: folder of the `file_names`; JPEGImages beside the file by default.
        work: see `Work`.

    Raises:
        DataError: anything in the file is not in this layout, all of it told at once.
    """
    path = Path(raw).resolve()
    path = path / "gt.json" if path.is_dir() else path
    watch = Watch(**work)
    defects, faults = watch.defects, watch.faults
    hint = "expected a list `annotations` with something in it, found none. Give the labels"
    labels = _look_through(path, faults, hint)
    image_root = image_folder(images) or path.parent / "JPEGImages"
    return write_release(
        folder,
        raw_videos(path, labels.videos, image_root if image_root.is_dir() else None, labels.vocabulary, defects),
        watch,
        name="ytvis",
        source=source_of(f"YouTube-VIS layout, {path.name}", "of the data set's owners", None),
        rules=Rules(task="instance"),
        vocabulary=labels.vocabulary,
        image_root=image_root,
        variant=None,
        what=str(path),
    )


build_ytvis2019 = partial(build_ytvis, dataset="ytvis2019")
build_ytvis2021 = partial(build_ytvis, dataset="ytvis2021")
build_lvvis = partial(build_ytvis, dataset="lvvis")
build_ovis = partial(build_ytvis, dataset="ovis")


def _look_through(path: Path, faults: Faults, hint: str) -> Labels:
    """The labels; a file without an annotation is refused with its faults, or with the hint."""
    labels = look_through(path, faults)
    if not any(video.places for video in labels.videos):
        faults.stop(str(path), "Mend the file and build again")
        raise DataError(f"{path}: {hint}")
    return labels


def _find(raw: Path, release: Release, subset: str) -> Path:
    places = [
        raw / place.replace("{}", name) for place in release.labels for name in _OTHER_NAMES.get(subset, (subset,))
    ]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise DataError(
            f"{places[0]}: expected the labels of {release.title} {subset}, found none. Choose another --subset, or "
            "cut one out of the training labels: --from train"
        )
    return found


def _image_root(raw: Path, subset: str, videos: list[Annotated]) -> Path | None:
    """The folder in which the files of the first video lie that has one; None if there are no images."""
    places = [
        raw / place.replace("{}", name)
        for name in _OTHER_NAMES.get(subset, (subset,))
        for place in ("JPEGImages/{}", "{}/JPEGImages", "JPEGImages", "{}", ".")
    ]
    return next((place for video in videos[:20] for place in places if _holds_any(place, video.frames)), None)


def _holds_any(place: Path, frames: tuple[str, ...]) -> bool:
    there = files_in((place / frames[0]).parent, IMAGES)
    return any(PurePosixPath(frame).stem in there for frame in frames)


def _chosen(
    videos: tuple[Annotated, ...],
    subset: str,
    source: str | None,
    fraction: float,
    seed: int,
    listed: str | Path | None,
) -> list[Annotated]:
    """The videos of a subset; without a source all."""
    if source is None:
        return list(videos)
    if subset not in ("train", "val"):
        raise DataError(f"expected the subset train or val to cut out of {source}, got {subset!r}. Choose one")
    if listed is not None:
        wanted = set(read_list(Path(listed)))
        known = {name for video in videos for name in (video.name, str(video.id))}
        if strange := sorted(wanted - known):
            raise DataError(f"{listed}: videos that the labels lack: {', '.join(strange[:5])}. Correct the list")
        held_out = {video.id for video in videos if {video.name, str(video.id)} & wanted}
    elif not 0 < fraction < 1:
        raise DataError(f"expected a fraction between 0 and 1, got {fraction}. Choose another")
    else:
        drawn = sorted(videos, key=lambda video: hashlib.sha256(f"{seed} {video.name}".encode()).digest())
        held_out = {video.id for video in drawn[: max(1, round(fraction * len(videos)))]}
    return [video for video in videos if (video.id in held_out) == (subset == "val")]
