"""Data sets that have a reader, and how a folder of one is built: for `ovsbench data build` and for training files."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovsbench.benchmark.progress import SILENT, Progress, Report
from ovsbench.benchmark.running.executor import Workers

if TYPE_CHECKING:
    from ovsbench.benchmark.manifest import Benchmark


@dataclass(frozen=True, slots=True)
class Reader:
    """One row of the table.

    Attributes:
        name: of the command.
        task: semantic, panoptic or instance.
        function: module and name; called with raw folder, output folder and the options.
        about: the first line of its help.
        example: what stands below that.
        options: names of the arguments that it takes.
    """

    name: str
    task: str
    function: str
    about: str
    example: str
    options: tuple[str, ...]


_TRACKS = ("subset", "source", "fraction", "seed", "videos", "split", "variant", "images")
READERS = (
    Reader("vipseg", "panoptic", "ovsbench.data_prep.vipseg:build_vipseg",
           "VIPSeg, original or converted to 720 lines: 124 classes on every pixel, things with tracks.",
           "--raw VIPSeg -o data/vipseg", ("subset", "split", "variant", "layout", "height", "images")),
    Reader("vspw", "semantic", "ovsbench.data_prep.vspw:build_vspw",
           "VSPW, at 480 lines or full size: 124 classes on every pixel.",
           "--raw VSPW_480p -o data/vspw", ("subset", "split", "variant", "label_form")),
    Reader("camvid", "semantic", "ovsbench.data_prep.camvid:build_camvid",
           "CamVid: street video, 11 classes or, with the colour labels, 31.",
           "--raw CamVid --subset train --variant ignore -o data/camvid-train",
           ("subset", "split", "variant", "layout", "recordings")),
    Reader("coco-panoptic", "panoptic", "ovsbench.data_prep.coco_panoptic:build_coco_panoptic",
           "COCO panoptic, single images with 133 classes, to train on (--variant none to score on).",
           "--raw coco -o data/coco-train", ("subset", "split", "variant", "images")),
    Reader("ytvis", "instance", "ovsbench.data_prep.ytvis:build_own_classes",
           "any JSON file in the layout of YouTube-VIS, with the classes that it lists.",
           "--raw mine/gt.json -o data/mine", ("images",)),
    Reader("ytvis2019", "instance", "ovsbench.data_prep.ytvis:build_ytvis2019",
           "YouTube-VIS 2019: objects with tracks, 40 classes; validation labels are hidden.",
           "--raw ytvis2019 --from train --fraction 0.1 -o data/ytvis2019", _TRACKS),
    Reader("ytvis2021", "instance", "ovsbench.data_prep.ytvis:build_ytvis2021",
           "YouTube-VIS 2021: objects with tracks, 40 classes; validation labels are hidden.",
           "--raw ytvis2021 --from train --fraction 0.1 -o data/ytvis2021", _TRACKS),
    Reader("lvvis", "instance", "ovsbench.data_prep.ytvis:build_lvvis",
           "LV-VIS: objects with tracks, 1,196 classes.",
           "--raw LVVIS -o data/lvvis", _TRACKS),
    Reader("ovis", "instance", "ovsbench.data_prep.ytvis:build_ovis",
           "OVIS: objects with tracks that hide each other, 25 classes; validation labels are hidden.",
           "--raw OVIS --from train --fraction 0.1 -o data/ovis", _TRACKS),
    Reader("sacoveval", "instance", "ovsbench.data_prep.sacoveval:build_sacoveval",
           "SA-Co/VEval: phrases asked of each video, present or absent, in three domains.",
           "--raw saco_veval --subset sav_test -o data/saco-sav", ("subset", "images")),
    Reader("burst", "instance", "ovsbench.data_prep.burst:build_burst",
           "BURST: objects with tracks in the videos of TAO, 482 classes; labels are not exhaustive.",
           "--raw BURST --images TAO/frames/val -o data/burst", ("subset", "split", "variant", "images")),
    Reader("ade20k-150", "semantic", "ovsbench.data_prep.image_sets:build_ade20k_150",
           "ADE20K, single images, 150 classes.", "--raw ADEChallengeData2016 -o data/ade150", ("subset",)),
    Reader("ade20k-847", "semantic", "ovsbench.data_prep.image_sets:build_ade20k_847",
           "ADE20K, single images, all 847 classes, as the scripts of Mask2Former convert it.",
           "--raw ADE20K_2021_17_01 -o data/ade847", ("subset",)),
    Reader("pascal-context-59", "semantic", "ovsbench.data_prep.image_sets:build_pascal_context_59",
           "PASCAL Context, single images, 59 classes, as the scripts of ODISE convert it.",
           "--raw pascal_ctx_d2 -o data/pc59", ("subset",)),
    Reader("pascal-context-459", "semantic", "ovsbench.data_prep.image_sets:build_pascal_context_459",
           "PASCAL Context, single images, 459 classes, as the scripts of ODISE convert it.",
           "--raw pascal_ctx_d2 -o data/pc459", ("subset",)),
    Reader("voc-20", "semantic", "ovsbench.data_prep.image_sets:build_voc_20",
           "PASCAL VOC 2012, single images, 20 classes; background is void.",
           "--raw VOCdevkit/VOC2012 -o data/voc20", ("subset",)),
    Reader("voc-21", "semantic", "ovsbench.data_prep.image_sets:build_voc_21",
           "PASCAL VOC 2012, single images, 20 classes and background.",
           "--raw VOCdevkit/VOC2012 -o data/voc21", ("subset",)),
    Reader("cityscapes", "semantic", "ovsbench.data_prep.image_sets:build_cityscapes",
           "Cityscapes, single street images, 19 classes.", "--raw cityscapes -o data/cityscapes", ("subset",)),
)  # fmt: skip


def build_dataset(
    name: str,
    raw: Path,
    out: Path,
    options: Mapping[str, Any],
    *,
    report: Report,
    jobs: Workers = 1,
    strict: bool = False,
    progress: Progress = SILENT,
) -> Benchmark:
    """Builds a folder by the reader of a name, and reports which known defects the data has.

    Args:
        name: of the reader.
        raw: the data set, as its owners ship it.
        out: folder to build, by `jobs` processes or an executor.
        options: of the reader; "none" for split or variant is None.
        report: gets a line for each defect; with `strict` a defect is an error.
        progress: gets videos and frames.
    """
    from ovsbench.data_prep.defects import Defects

    module, _, function = next(reader.function for reader in READERS if reader.name == name).partition(":")
    read = getattr(importlib.import_module(module), function)
    given = {key: None if key in ("split", "variant") and value == "none" else value for key, value in options.items()}
    defects = Defects(strict=strict)
    benchmark: Benchmark = read(raw, out, **given, jobs=jobs, defects=defects, progress=progress)
    for line in defects.lines:
        report(f"note: {line}")
    return benchmark
