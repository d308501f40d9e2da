"""Image data sets on which open-vocabulary segmentation is scored without training; each image is a video of one frame.

    ade20k-150           images/validation/*.jpg            annotations/validation/*.png: 0 void, 1 to 150
    ade20k-847           images_detectron2/validation/*.jpg annotations_detectron2/validation/*.tif: 0 to 846
    pascal-context-59    images/validation/*.jpg            annotations_ctx59/validation/*.png: 0 to 58
    pascal-context-459   images/validation/*.jpg            annotations_ctx459/validation/*.tif: 0 to 458
    voc-21, voc-20       JPEGImages/*.jpg                   SegmentationClass/*.png: 0 background, 1 to 20;
                                                            names in ImageSets/Segmentation/val.txt
    cityscapes           leftImg8bit/val/CITY/*_leftImg8bit.png
                                                            gtFine/val/CITY/*_gtFine_labelIds.png: 19 of 34 numbers

Every other number is void. ADE20K with 150 classes, VOC and Cityscapes lie as their owners ship them; the other three
as the scripts of Mask2Former, ODISE and FC-CLIP convert them, which is what papers score on. A class in an image is one
segment, its id is the class plus 1. The numbers and names of classes stand in `datasets/`, with their source. No class
is novel: what a model was trained on decides that, and papers report one mIoU over all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Unpack

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.formats.faults import Faults
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.storage.folder_listing import list_files
from ovsbench.benchmark.storage.image_files import BROKEN, open_image
from ovsbench.benchmark.storage.label_png import read_values
from ovsbench.benchmark.types import PanopticFrame, Rules, Segment
from ovsbench.data_prep.convert import RawVideo
from ovsbench.data_prep.defects import Defects
from ovsbench.data_prep.layouts import find_layout
from ovsbench.data_prep.listing import read_list
from ovsbench.data_prep.official import benchmark_name, class_numbers, official_classes
from ovsbench.data_prep.release import Watch, Work, source_of, write_release


@dataclass(frozen=True, slots=True)
class ImageSet:
    """How a data set lies on disk; a star stands for the name of the image, which label and image share.

    Attributes:
        title: for the record.
        licence: for the record.
        images: of a subset.
        labels: of a subset.
        names: the list of a subset; "" to take every label.
        subset: what SUBSET in these paths stands for by default.
    """

    title: str
    licence: str
    images: str
    labels: str
    names: str = ""
    subset: str = "validation"


_ADE = "ADE20K (Zhou et al. 2017): images for research use"
_VOC = "PASCAL VOC (Everingham et al.): images from Flickr, under its terms"
_CONTEXT = f"{_VOC}; labels PASCAL Context (Mottaghi et al. 2014)"
IMAGE_SETS = {
    "ade20k-150": ImageSet("ADE20K, 150 classes", _ADE, "images/SUBSET/*.jpg", "annotations/SUBSET/*.png"),
    "ade20k-847": ImageSet(
        "ADE20K, 847 classes", _ADE, "images_detectron2/SUBSET/*.jpg", "annotations_detectron2/SUBSET/*.tif"
    ),
    "pascal-context-59": ImageSet(
        "PASCAL Context, 59 classes", _CONTEXT, "images/SUBSET/*.jpg", "annotations_ctx59/SUBSET/*.png"
    ),
    "pascal-context-459": ImageSet(
        "PASCAL Context, 459 classes", _CONTEXT, "images/SUBSET/*.jpg", "annotations_ctx459/SUBSET/*.tif"
    ),
    "voc-20": ImageSet(
        "PASCAL VOC 2012, 20 classes",
        _VOC, "JPEGImages/*.jpg", "SegmentationClass/*.png", "ImageSets/Segmentation/SUBSET.txt", "val",
    ),
    "voc-21": ImageSet(
        "PASCAL VOC 2012, 20 classes and background",
        _VOC, "JPEGImages/*.jpg", "SegmentationClass/*.png", "ImageSets/Segmentation/SUBSET.txt", "val",
    ),
    "cityscapes": ImageSet(
        "Cityscapes, 19 classes", "Cityscapes (Cordts et al. 2016): research use, after registration",
        "leftImg8bit/SUBSET/*_leftImg8bit.png", "gtFine/SUBSET/*_gtFine_labelIds.png", subset="val",
    ),
}  # fmt: skip
"""By the name of the reader."""


@dataclass(frozen=True)
class _Label:
    """The label of one image.

    Attributes:
        path: of the file.
        size: (height, width).
        category_of: number in the file to category id; others are void.
    """

    path: Path
    size: tuple[int, int]
    category_of: dict[int, int]

    def __call__(self, index: int, defects: Defects) -> PanopticFrame:
        numbers = read_numbers(self.path, self.size)
        largest = max(int(numbers.max()), *self.category_of)
        table = np.zeros(largest + 1, dtype=np.uint32)
        for number, category in self.category_of.items():
            table[number] = category + 1
        ids = table[numbers]
        present = np.flatnonzero(np.bincount(ids.ravel())).tolist()
        return PanopticFrame(ids, {key: Segment(key, key - 1) for key in present if key})


def read_numbers(path: Path, size: tuple[int, int]) -> npt.NDArray[np.integer]:
    """The class numbers of a label file, (H, W): a PNG by value, a TIFF of 8 or 16 bits.

    Raises:
        DataError: it cannot be read, has another size, or more than one channel.
    """
    if path.suffix.lower() == ".png":
        return read_values(path, size)
    try:
        with open_image(path, ("TIFF",)) as image:
            numbers = np.asarray(image)
    except BROKEN as error:
        raise DataError(f"{path}: expected a TIFF of class numbers, got an error: {error}. Convert it again") from error
    if numbers.shape != size or numbers.dtype.kind != "u" or numbers.dtype.itemsize > 2:
        raise DataError(
            f"{path}: expected class numbers of 8 or 16 bits, {size[1]}x{size[0]} pixels, got {numbers.dtype} of "
            f"shape {numbers.shape}. Convert it again"
        )
    return numbers


def build_image_set(
    raw: str | Path, folder: str | Path, *, dataset: str, subset: str | None = None, **work: Unpack[Work]
) -> Benchmark:
    """Turns an image data set into a benchmark folder of one-frame videos; images stay where they are.

    Args:
        raw: the folder in the layout above.
        folder: the benchmark folder to write.
        dataset: a key of `IMAGE_SETS`.
        subset: part of the data set, the one for validation by default.
        work: see `Work`; no defects are known of these.

    Raises:
        DataError: the raw folder has another layout, or something in it cannot be read; all of it told at once.
    """
    raw, kind, watch = Path(raw).resolve(), IMAGE_SETS[dataset], Watch(**work)
    find_layout(raw, dataset)
    part = subset or kind.subset
    return write_release(
        folder,
        _videos(raw, dataset, kind, part, watch.faults),
        watch,
        name=benchmark_name(dataset, None, part, None),
        source=source_of(f"{kind.title}, {part}", kind.licence, None),
        rules=Rules(task="semantic"),
        vocabulary=official_classes(dataset),
        image_root=raw,
        variant=None,
        what=f"{dataset} {part} in {raw}",
    )


def _videos(raw: Path, dataset: str, kind: ImageSet, subset: str, faults: Faults) -> list[RawVideo]:
    images, labels = (path.replace("SUBSET", subset) for path in (kind.images, kind.labels))
    numbers, videos = class_numbers(dataset), []
    for name in _names(raw, kind, labels, subset):
        with faults.collecting():
            image, label = raw / images.replace("*", name), raw / labels.replace("*", name)
            for path in (image, label):
                if not path.is_file():
                    raise DataError(f"{path}: expected the file of {name}, found none. Bring it, or leave {name} out")
            size, seen = _size(label), _size(image)
            if size != seen:
                raise DataError(
                    f"{label}: expected a label of {seen[1]}x{seen[0]} pixels, as {image} has, got "
                    f"{size[1]}x{size[0]}. Bring both again"
                )
            frames = (image.relative_to(raw).as_posix(),)
            videos.append(RawVideo(name.replace("/", "_"), size, frames, _Label(label, size, numbers), (label,)))
    return videos


def _names(raw: Path, kind: ImageSet, labels: str, subset: str) -> list[str]:
    """The names that the star stands for, in order; with the folder of a city before those of Cityscapes."""
    if kind.names:
        return read_list(raw / kind.names.replace("SUBSET", subset))
    before, _, after = labels.rpartition("*")
    root, suffix = raw / before, "." + after.rpartition(".")[2]
    folders = [root, *sorted(path for path in root.iterdir() if path.is_dir())] if root.is_dir() else []
    found = [folder / file.name for folder in folders for file in list_files(folder, (suffix,))]
    names = [path.relative_to(root).as_posix().removesuffix(after) for path in found if path.name.endswith(after)]
    if not names:
        raise DataError(f"{root}: expected labels such as {labels}, found none. Check --raw and --subset")
    return names


def _size(path: Path) -> tuple[int, int]:
    try:
        with open_image(path) as image:
            return image.height, image.width
    except BROKEN as error:
        raise DataError(f"{path}: expected an image, got an error: {error}. Bring it again") from error


build_ade20k_150 = partial(build_image_set, dataset="ade20k-150")
build_ade20k_847 = partial(build_image_set, dataset="ade20k-847")
build_pascal_context_59 = partial(build_image_set, dataset="pascal-context-59")
build_pascal_context_459 = partial(build_image_set, dataset="pascal-context-459")
build_voc_20 = partial(build_image_set, dataset="voc-20")
build_voc_21 = partial(build_image_set, dataset="voc-21")
build_cityscapes = partial(build_image_set, dataset="cityscapes")
