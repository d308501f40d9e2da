"""A law of every reader of labels: the same pixels, stored otherwise, are the same benchmark."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from png_files import PALETTE, SAME_COLOURS, SAME_VALUES, png

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.storage.label_png import read_values, voc_colours
from ovsbench.benchmark.storage.store import FrameFolder, VideoWriter
from ovsbench.benchmark.types import PanopticFrame, Segment
from ovsbench.data_prep.camvid import build_camvid
from ovsbench.data_prep.coco_panoptic import build_coco_panoptic
from ovsbench.data_prep.official import official_classes, official_colours
from ovsbench.data_prep.vipseg import build_vipseg
from ovsbench.data_prep.vspw import build_vspw

SIZE = (5, 8)
IDS = np.array([[1, 1, 70000, 70000, 0, 300, 300, 9]] * SIZE[0], np.uint32)
AS_COLOURS = np.stack([IDS & 255, IDS >> 8 & 255, IDS >> 16], axis=-1).astype(np.uint8)
IMAGE = np.full((*SIZE, 3), 90, np.uint8)


def stripes(*values: int) -> np.ndarray:
    return np.repeat(np.array(values, np.uint8), SIZE[1] // len(values))[None].repeat(SIZE[0], 0)


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(pixels).save(path)


def infos(categories: list[int]) -> list[dict]:
    return [{"id": key, "category_id": category} for key, category in zip((1, 9, 300, 70000), categories, strict=True)]


def vspw(raw: Path) -> Path:
    save(raw / "data/v/mask/1.png", stripes(0, 1, 124, 255))
    (raw / "val.txt").write_text("v\n")
    return raw / "data/v/mask"


def vipseg_original(raw: Path) -> Path:
    save(raw / "panomasks/v/1.png", stripes(0, 1, 12, 91))
    (raw / "val.txt").write_text("v\n")
    return raw / "panomasks"


def vipseg_720p(raw: Path) -> Path:
    save(raw / "panomasksRGB/v/1.png", AS_COLOURS)
    rows = [{"video_id": "v", "annotations": [{"file_name": "1.jpg", "segments_info": infos([0, 1, 2, 2])}]}]
    kinds = [{"id": c.id, "name": c.name, "isthing": int(c.is_thing)} for c in official_classes("vipseg")]
    (raw / "panoptic_gt_VIPSeg_val.json").write_text(json.dumps({"annotations": rows, "categories": kinds}))
    return raw / "panomasksRGB"


def camvid(raw: Path) -> Path:
    save(raw / "val/R_1.png", IMAGE)
    save(raw / "valannot/R_1.png", stripes(0, 3, 10, 11))
    (raw / "val.txt").write_text("val/R_1.png valannot/R_1.png\n")
    return raw / "valannot"


def camvid_colours(raw: Path) -> Path:
    first, second = list(official_colours("camvid32"))[:2]
    save(raw / "images/R_1.png", IMAGE)
    row = np.array([[first, second, (0, 0, 0), first]], np.uint8)
    save(raw / "labels/R_1_L.png", row.repeat(SIZE[0], 0).repeat(2, 1))
    return raw / "labels"


def coco(raw: Path) -> Path:
    save(raw / "val2017/1.jpg", IMAGE)
    save(raw / "panoptic_val2017/1.png", AS_COLOURS)
    classes = [{"id": c.id, "name": c.name} for c in official_classes("coco-panoptic")]
    ids = [row["id"] for row in classes[:4]]
    (raw / "panoptic_val2017.json").write_text(
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "1.jpg", "height": SIZE[0], "width": SIZE[1]}],
                "annotations": [{"image_id": 1, "file_name": "1.png", "segments_info": infos(ids)}],
                "categories": classes,
            }
        )
    )
    return raw / "panoptic_val2017"


Build = Callable[[Path, Path], Benchmark]
READERS: Mapping[str, tuple[Callable[[Path], Path], Build, bool]] = {
    "VSPW": (vspw, lambda raw, out: build_vspw(raw, out, split=None), False),
    "VIPSeg original": (vipseg_original, lambda raw, out: build_vipseg(raw, out, split=None, height=0), False),
    "VIPSeg 720p": (vipseg_720p, lambda raw, out: build_vipseg(raw, out, split=None), True),
    "CamVid": (camvid, lambda raw, out: build_camvid(raw, out, split=None), False),
    "CamVid in colours": (camvid_colours, lambda raw, out: build_camvid(raw, out, subset="all", split=None), True),
    "COCO": (coco, lambda raw, out: build_coco_panoptic(raw, out, subset="val", split=None, variant=None), True),
}
"""How the raw folder is written, how it is built, and whether its labels are colours."""


@pytest.mark.parametrize("reader", READERS)
def test_the_same_pixels_stored_otherwise_are_the_same_benchmark(reader, tmp_path):
    write, build, is_colour = READERS[reader]
    masks = write(tmp_path / "raw")
    plain = build(tmp_path / "raw", tmp_path / "plain")
    assert len(plain.truth(plain.entries[0].id, 0).segments) >= 2
    seen = 0
    for number, (name, encode) in enumerate((SAME_COLOURS if is_colour else SAME_VALUES).items()):
        raw = tmp_path / f"raw{number}"
        shutil.copytree(tmp_path / "raw", raw)
        for path in (raw / masks.relative_to(tmp_path / "raw")).rglob("*.png"):
            path.write_bytes(encode(np.asarray(PIL.Image.open(path))))
            seen += 1
        if (reader, name) == ("VIPSeg original", "8 bits widened to 16"):  # its codes may have 16 bits
            with pytest.raises(DataError, match="as if 8 bits had been widened"):
                build(raw, tmp_path / f"data{number}")
        else:
            assert build(raw, tmp_path / f"data{number}").digest == plain.digest, name
    assert seen >= 10


def test_the_colour_map_of_voc_is_the_published_one():
    first = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128)]
    assert [tuple(colour) for colour in voc_colours()[:7].tolist()] == first
    assert voc_colours()[20].tolist() == [0, 64, 128]
    assert voc_colours()[255].tolist() == [224, 224, 192]


def test_random_greys_survive_every_order_of_their_palette(tmp_path):
    rng = np.random.default_rng(3)
    for _ in range(40):
        values = rng.choice(rng.permutation(256)[: rng.integers(1, 9)], (4, 5)).astype(np.uint8)
        used = rng.permutation(np.unique(values))
        index = np.argsort(used)[np.searchsorted(np.sort(used), values)]
        (tmp_path / "a.png").write_bytes(png(index, PALETTE, palette=[(int(v),) * 3 for v in used]))
        assert np.array_equal(read_values(tmp_path / "a.png"), values)


def test_a_stored_frame_that_a_tool_wrote_anew_is_not_read_wrongly(tmp_path):
    ids = np.array([[5, 5, 9], [9, 9, 5]], np.uint32)
    with VideoWriter(tmp_path / "v", "v", (2, 3)) as video:
        video.add(PanopticFrame(ids, {5: Segment(5, 1), 9: Segment(9, 2)}))
    path = tmp_path / "v/00000.png"
    assert np.array_equal(FrameFolder(tmp_path / "v").frame(0).ids, ids)
    with PIL.Image.open(path) as image:
        index, palette = np.asarray(image), np.array(image.getpalette()).reshape(-1, 3)
    path.write_bytes(png(2 - index, PALETTE, palette=palette[[2, 1]].tolist()))
    with pytest.raises(DataError, match="its palette is another one"):
        FrameFolder(tmp_path / "v").frame(0)
