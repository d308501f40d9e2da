"""What the folders of data sets look like as their owners ship them, and which of them a folder is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ovsbench.benchmark.errors import DataError, did_you_mean

_LOOKED_AT = 200  # neighbours of a wrong root


@dataclass(frozen=True, slots=True)
class Layout:
    """How one release of a data set lies on disk.

    Attributes:
        reader: what `data build` is given.
        name: of the layout, for `--layout` and messages.
        marks: patterns of paths; of each group one must be there.
    """

    reader: str
    name: str
    marks: tuple[tuple[str, ...], ...]

    def missing(self, root: Path) -> tuple[str, ...]:
        """What of the layout is not in a folder; empty if all is."""
        return tuple(" or ".join(group) for group in self.marks if not any(_is_there(root, mark) for mark in group))

    def __str__(self) -> str:
        return f"{self.reader} ({self.name} layout: {', '.join(' or '.join(group) for group in self.marks)})"


_YOUTUBE = ("train.json", "valid.json", "val.json", "*/instances.json", "instances_*.json", "annotations/*.json")
_VOC = (("JPEGImages",), ("SegmentationClass",), ("ImageSets",))
LAYOUTS = (
    Layout("vipseg", "720p", (("panomasksRGB",), ("panoptic_gt*.json",))),
    Layout("vipseg", "original", (("panomasks",), ("*.txt",))),
    Layout("vspw", "released", (("data/*/mask", "*/mask"), ("*.txt",))),
    Layout("camvid", "segnet", (("*annot",), ("*.txt",))),
    Layout(
        "camvid",
        "colour",
        (("701_StillsRaw_full", "images", "train"), ("LabeledApproved_full", "labels", "train_labels")),
    ),
    Layout("coco-panoptic", "2017", (("annotations/panoptic_*.json", "panoptic_[!g]*.json"),)),
    Layout("burst", "released", (("*/all_classes.json", "annotations/*/all_classes.json"),)),
    Layout("lvvis", "released", (("*_instances.json", "annotations/*_instances.json"),)),
    Layout("ovis", "released", (("annotations/*.json", "annotations_*.json", "train.json", "valid.json"),)),
    Layout("ytvis2019", "released", (_YOUTUBE,)),
    Layout("ytvis2021", "released", (_YOUTUBE,)),
    Layout("ade20k-150", "released", (("images",), ("annotations",))),
    Layout("ade20k-847", "converted", (("images_detectron2",), ("annotations_detectron2",))),
    Layout("pascal-context-59", "converted", (("images",), ("annotations_ctx59",))),
    Layout("pascal-context-459", "converted", (("images",), ("annotations_ctx459",))),
    Layout("voc-20", "released", _VOC),
    Layout("voc-21", "released", _VOC),
    Layout("cityscapes", "released", (("leftImg8bit",), ("gtFine",))),
)


def find_layout(raw: Path, reader: str, name: str | None = None) -> Layout:
    """The layout that a raw folder has.

    Args:
        raw: the folder.
        reader: whose layouts may be found.
        name: of the one that it must be, None for any.

    Raises:
        DataError: it has none of them; the sentence names the nearest.
    """
    own = [layout for layout in LAYOUTS if layout.reader == reader]
    if name is not None and name not in (names := [layout.name for layout in own]):
        raise DataError(f"{reader} has no layout {name!r}; {did_you_mean(name, names)}")
    if not raw.is_dir():
        raise DataError(f"{raw}: expected the raw folder of {reader}, found no folder. Check --raw")
    wanted = [layout for layout in own if name in (None, layout.name)]
    for layout in wanted:
        if not layout.missing(raw):
            return layout
    raise DataError(f"{raw}: expected {' or '.join(map(str, wanted))}; {_nearest(raw, wanted, own)}")


def _nearest(raw: Path, wanted: Iterable[Layout], own: Iterable[Layout]) -> str:
    """Ends the sentence about a wrong root."""
    for layout in own:
        if not layout.missing(raw):
            return f"this looks like the {layout.name} layout. Pass --layout {layout.name}, or leave --layout away"
    for place in _around(raw):
        for layout in own:
            if not layout.missing(place):
                return f"{place} looks like the {layout.name} layout. Give that folder as --raw"
    alike = list(dict.fromkeys(layout.reader for layout in LAYOUTS if not layout.missing(raw)))
    if alike:
        return f"this looks like {' or '.join(alike)}. Run: ovsbench data build {alike[0]}"
    nearest = min(wanted, key=lambda layout: len(layout.missing(raw)) / len(layout.marks))
    missing = nearest.missing(raw)
    if len(missing) < len(nearest.marks):
        return f"of the {nearest.name} layout {', '.join(missing)} is missing. Complete the folder"
    found = sorted(path.name for path in islice(raw.iterdir(), _LOOKED_AT))
    return f"found {', '.join(found[:5]) or 'an empty folder'}. Give the folder that holds them as --raw"


def _around(raw: Path) -> Iterator[Path]:
    """Folders that a person may have meant: one level down, one level up."""
    yield from islice((path for path in sorted(raw.iterdir()) if path.is_dir()), _LOOKED_AT)
    yield raw.parent


def _is_there(root: Path, pattern: str) -> bool:
    return next(root.glob(pattern), None) is not None
