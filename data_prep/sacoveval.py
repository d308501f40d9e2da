"""SA-Co/VEval (Carion et al., SAM 3, 2025): phrases are asked of videos that show them or do not.

    raw/annotation/saco_veval_<domain>_<part>.json      domain sav, yt1b or smartglasses; part val or test
    raw/media/saco_sav/JPEGImages_24fps/<video>/00000.jpg, 00004.jpg, ..     also saco_yt1b/, saco_sg/JPEGImages_6fps

The JSON is that of YouTube-VIS with one list more: `video_np_pairs` says which phrase is asked of which video, with
`num_masklets` 0 for one that is absent. Categories are phrases, 51,248 in all domains, whose names repeat up to case.
A frame whose box is null is one that does not show the object. Videos of YT1B vanish from the net: where images are
given, a video without any is left out and named in the benchmark's source, so that its digest tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from ovsbench.benchmark.errors import DataError, did_you_mean
from ovsbench.benchmark.formats.faults import Faults
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.storage.big_json import elements
from ovsbench.benchmark.storage.folder_listing import IMAGES, files_in
from ovsbench.benchmark.types import Rules, Scope, Vocabulary
from ovsbench.data_prep.listing import first_folder, image_folder
from ovsbench.data_prep.release import Watch, Work, source_of, write_release
from ovsbench.data_prep.ytvis_labels import Annotated, look_through, raw_videos

_DOMAINS: Mapping[str, tuple[str, str]] = {
    "sav": ("saco_sav/JPEGImages_24fps", "CC BY-NC 4.0"),
    "yt1b": ("saco_yt1b/JPEGImages_6fps", "CC BY-NC 4.0"),
    "smartglasses": ("saco_sg/JPEGImages_6fps", "CC BY 4.0"),
}
_NAME = "saco_veval_{}.json"


def build_sacoveval(
    raw: str | Path,
    folder: str | Path,
    *,
    subset: str | None = None,
    images: str | Path | None = None,
    **work: Unpack[Work],
) -> Benchmark:
    """Turns labels of SA-Co/VEval into a benchmark folder; images stay where they are, and may be missing for scoring.

    Args:
        raw: the folder in the layout above, or a JSON file of it.
        folder: the benchmark folder to write.
        subset: domain and part, such as sav_test; None if the folder holds one file alone, or raw is the file.
        images: folder of <video>/<frame>.jpg, if not in the raw folder.
        work: see `Work`.

    Raises:
        DataError: anything in the file is not in this layout, all of it told at once.
    """
    raw = Path(raw).resolve()
    path = _find(raw, subset)
    watch = Watch(**work)
    labels = look_through(path, watch.faults)
    asked = _asked(path, labels.vocabulary, labels.videos, watch.faults)
    name = path.stem.removeprefix("saco_veval_")
    media, licence = _DOMAINS.get(name.partition("_")[0], ("JPEGImages", "of the data set's owners"))
    image_root = image_folder(images) or first_folder(raw if raw.is_dir() else raw.parent, (f"media/{media}", media))
    kept: list[Annotated] = []
    gone: list[Annotated] = []
    for video in labels.videos:
        is_there = image_root is None or files_in((image_root / video.frames[0]).parent, IMAGES)
        (kept if is_there else gone).append(video)
    if gone and not kept:
        raise DataError(f"{image_root}: expected images of {path.name}, found none of any video. Check --images")
    for video in gone:
        watch.defects.note(f"video {video.id} ({video.name}): it has no image; the video is left out")
    made = [
        replace(one, scope=Scope(asked[int(one.id)]))
        for one in raw_videos(path, kept, image_root, labels.vocabulary, watch.defects)
    ]
    missing = f"left out, without images: {', '.join(str(video.id) for video in gone)}" if gone else ""
    return write_release(
        folder,
        made,
        watch,
        name=f"sacoveval-{name}",
        source=source_of(f"SA-Co/VEval, {name}", f"SA-Co/VEval: {licence}", None, missing),
        rules=Rules(task="instance", labelled="as asked"),
        vocabulary=labels.vocabulary,
        image_root=image_root or raw.parent / media,
        variant=None,
        what=str(path),
    )


def _find(raw: Path, subset: str | None) -> Path:
    """The JSON file."""
    if raw.is_file():
        if subset is not None:
            raise DataError(f"{raw}: expected a folder for --subset {subset}, got a file. Leave --subset out")
        return raw
    place = next((place for place in (raw / "annotation", raw) if next(place.glob(_NAME.format("*")), None)), None)
    if place is None:
        raise DataError(
            f"{raw / 'annotation' / _NAME.format('sav_test')}: expected labels of SA-Co/VEval, found none. Give the "
            "folder that holds annotation/, or a JSON file, as --raw"
        )
    found = {path.stem.removeprefix("saco_veval_"): path for path in sorted(place.glob(_NAME.format("*")))}
    if subset is None and len(found) == 1:
        return next(iter(found.values()))
    if subset not in found:
        raise DataError(
            f"{place}: expected --subset to be one of its parts, got {subset}; {did_you_mean(subset or '', found)}"
        )
    return found[subset]


def _asked(
    path: Path, vocabulary: Vocabulary, videos: tuple[Annotated, ...], faults: Faults
) -> dict[int, tuple[int, ...]]:
    """For each video the ids of the phrases that are asked of it; what is wrong with a pair is noted."""
    asked: dict[int, set[int]] = {video.id: set() for video in videos}
    number = 0
    for element in elements(path, "labels of SA-Co/VEval"):
        if element.key == "video_np_pairs" and element.in_list:
            number += 1
            with faults.collecting():
                video, phrase = _pair(element.value, vocabulary, asked, f"{path}, pair {number}")
                if phrase in asked[video]:
                    raise DataError(f"{path}, pair {number}: category {phrase} is asked of video {video} twice")
                asked[video].add(phrase)
    if not number:
        raise DataError(
            f"{path}: expected a list `video_np_pairs` of the phrases asked of each video, found none. For labels "
            "without it use: ovsbench data build ytvis"
        )
    return {video: tuple(sorted(phrases)) for video, phrases in asked.items()}


def _pair(row: Any, vocabulary: Vocabulary, videos: Mapping[int, Any], where: str) -> tuple[int, int]:
    """Video and phrase of a pair.

    Raises:
        DataError: the first thing that is wrong with it.
    """
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected video_id and category_id, got {repr(row)[:40]}")
    video, phrase = row.get("video_id"), row.get("category_id")
    if type(video) is not int or video not in videos:
        raise DataError(f"{where}: expected the id of a video of the list `videos` as video_id, got {video!r}")
    if type(phrase) is not int or phrase not in vocabulary:
        raise DataError(f"{where}: expected the id of a phrase of the list `categories` as category_id, got {phrase!r}")
    words = row.get("noun_phrase", vocabulary.by_id[phrase].name)
    if words != vocabulary.by_id[phrase].name:
        raise DataError(
            f"{where}: its noun_phrase is {words!r}, but category {phrase} is {vocabulary.by_id[phrase].name!r}"
        )
    return video, phrase
