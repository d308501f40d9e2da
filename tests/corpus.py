"""Small files as common tools, systems and strangers write them, each with what has to be read from it or said of it.

`python tests/corpus.py` prints the table of outcomes: right, or refused with the sentence that belongs to the file.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

sys.path.insert(0, str(Path(__file__).parent))

from png_files import GREY, GREY_ALPHA, PALETTE, RGB, RGBA, SAME_COLOURS, SAME_VALUES, chunk, greys, indexed, png
from typer.testing import CliRunner

from ovsbench.benchmark.engine import score
from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.formats.vipseg_layout import import_vipseg
from ovsbench.benchmark.formats.vspw_layout import import_vspw
from ovsbench.benchmark.formats.ytvis_layout import import_ytvis
from ovsbench.benchmark.manifest import Benchmark, load
from ovsbench.benchmark.storage import rle
from ovsbench.benchmark.storage.folder_listing import IMAGES, files_in, folders_in
from ovsbench.benchmark.storage.label_png import read_colours, read_values, voc_colours
from ovsbench.benchmark.storage.text_bank import read_bank
from ovsbench.benchmark.video.images import read_image
from ovsbench.benchmark.video.video_io import open_video
from ovsbench.cli import app
from ovsbench.data_prep.camvid import build_camvid
from ovsbench.data_prep.defects import Defects
from ovsbench.data_prep.listing import read_list
from ovsbench.data_prep.split import load_split
from ovsbench.data_prep.vspw import build_vspw
from ovsbench.data_prep.ytvis import build_own_classes
from ovsbench.leaderboard.bundle.card import parse_toml
from ovsbench.plans.config_files import read_config
from ovsbench.plans.names import read_names

MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Case:
    """A file, or a folder of some.

    Attributes:
        name: what it is.
        read: makes it in an empty folder and gives what is read from it.
        right: what has to be read; a refusal is a pattern of the sentence.
        is_refused: whether it has to be refused.
    """

    name: str
    read: Callable[[Path], Any]
    right: Any
    is_refused: bool = False

    def outcome(self, folder: Path) -> str:
        """`right`, `refused`, or what went wrong."""
        try:
            found = self.read(folder)
        except UserError as error:
            sentence = str(error)
            if self.is_refused and re.search(self.right, sentence):
                return "refused"
            return f"WRONG: {sentence[:300]}"
        except Exception as error:  # a bug, told as one
            return f"WRONG: {error!r}"[:300]
        return "right" if not self.is_refused and found == self.right else f"WRONG: read {str(found)[:200]}"


def refused(name: str, read: Callable[[Path], Any], sentence: str) -> Case:
    return Case(name, read, sentence, is_refused=True)


# labels as images

VALUES = np.array([[0, 1, 2, 3, 4, 5], [5, 99, 124, 255, 0, 17], [7, 7, 7, 1, 12, 91]], np.uint8)
COLOURS = np.random.default_rng(0).integers(0, 256, (3, 4, 3)).astype(np.uint8)
RANDOM_MAP = np.random.default_rng(1).integers(0, 256, (150, 3)).tolist()
FEW = np.array([[0, 5, 20]], np.uint8)


def values_of(data: bytes, folder: Path, **more: Any) -> list[list[int]]:
    (folder / "a.png").write_bytes(data)
    return read_values(folder / "a.png", **more).tolist()


def colours_of(data: bytes, folder: Path) -> list[list[list[int]]]:
    (folder / "a.png").write_bytes(data)
    return read_colours(folder / "a.png").tolist()


def pillow(pixels: np.ndarray, form: str, **more: Any) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, form, **more)
    return file.getvalue()


def voc(index: np.ndarray, colours: int = 256, depth: int = 8) -> bytes:
    return png(index, PALETTE, depth, palette=voc_colours()[:colours].tolist())


def value_cases() -> list[Case]:
    same = [Case(f"values: {n}", partial(values_of, encode(VALUES)), VALUES.tolist()) for n, encode in
            SAME_VALUES.items()]  # fmt: skip
    codes = np.array([[0, 1, 9101]])
    few, bits = FEW.tolist(), np.array([[0, 1, 2, 3]], np.uint8)
    grey = np.array([[0, 1]], np.uint8)
    padded = png(np.array([[0, 1, 255]]), PALETTE, palette=[*voc_colours()[:21].tolist(), *greys([0] * 235)])
    palettes = {
        "the colours of VOC": (voc(FEW), few),
        "21 colours of VOC": (voc(FEW, 21), few),
        "VOC's colours and 255": (voc(np.array([[0, 255]])), [[0, 255]]),
        "all of 4 colours of VOC in 2 bits": (voc(bits, 4, 2), bits.tolist()),
        "21 colours of VOC, padded with black": (padded, [[0, 1, 255]]),
        "150 random colours": (png(FEW, PALETTE, palette=RANDOM_MAP), few),
        "Pillow's own palette": (pillow(FEW, "PNG") and _pillow_palette(FEW), few),
        "grey and 255 in 1 bit": (png(grey, GREY, 1), [[0, 255]]),
        "greys 0, 17, 34 in 4 bits": (png(np.array([[0, 1, 2]]), GREY, 4), [[0, 17, 34]]),
        "16 bits of small values": (png(FEW, GREY, 16), few),
    }
    ambiguous = "leaves open whether the index or the colour is the value"
    bad = {
        "VOC's colours, sorted by a tool": (indexed(voc_colours()[FEW]), ambiguous),
        "colours, sorted by a tool": (indexed(COLOURS), ambiguous),
        "two indices of one grey": (png(np.array([[0, 1]]), PALETTE, palette=greys([7, 7])), ambiguous),
        "an index beyond the palette": (png(np.array([[0, 5]]), PALETTE, palette=greys([0, 1])), "has 2 colours"),
        "colours": (png(COLOURS, RGB), "one grey channel or a palette, got colours"),
        "colours with alpha": (png(np.dstack([COLOURS, COLOURS[..., :1]]), RGBA), "got colours"),
        "grey with alpha": (png(np.dstack([FEW, FEW]), GREY_ALPHA), "got colours"),
        "16 bits that are no classes": (png(np.array([[1, 300]]), GREY, 16), "up to 255, got 16 bits up to 300"),
        "a JPEG": (pillow(VALUES, "JPEG"), "it is no PNG file"),
        "a GIF": (pillow(VALUES, "GIF"), "it is no PNG file"),
        "nothing": (b"", "it is no PNG file"),
        "a PNG cut off": (png(VALUES, GREY)[:60], "expected a PNG, got an error"),
        "a PNG of 40000x40000": (_huge(), "Image size .* exceeds limit"),
        "a PNG of 10000x10000": (_huge(10000), "at most 67108864 are read|exceeds limit"),
    }
    return [
        *same,
        *(Case(f"values: {name}", partial(values_of, data), right) for name, (data, right) in palettes.items()),
        *(refused(f"values: {name}", partial(values_of, data), words) for name, (data, words) in bad.items()),
        Case("codes: 16 bits", partial(values_of, png(codes, GREY, 16), largest=12499), codes.tolist()),
        refused(
            "codes: 8 bits widened to 16",
            partial(values_of, png(np.array([[257, 514]]), GREY, 16), largest=12499),
            "as if 8 bits had been widened",
        ),
    ]  # fmt: skip


def _pillow_palette(index: np.ndarray) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(index).convert("P").save(file, "PNG")
    return file.getvalue()


def _huge(side: int = 40000) -> bytes:
    data = bytearray(png(VALUES, GREY))
    data[16:24] = side.to_bytes(4, "big") * 2
    return bytes(data[:8]) + chunk(b"IHDR", bytes(data[16:29])) + bytes(data[33:])


def colour_cases() -> list[Case]:
    grey = np.array([[0, 9]], np.uint8)
    opaque = np.dstack([grey, [[255, 255]]])
    as_grey = [[[0] * 3, [9] * 3]]
    half = np.dstack([COLOURS, np.full(COLOURS.shape[:2], 128)])
    return [
        *(Case(f"colours: {n}", partial(colours_of, encode(COLOURS)), COLOURS.tolist())
          for n, encode in SAME_COLOURS.items()),
        Case("colours: stored as grey", partial(colours_of, png(grey, GREY)), as_grey),
        Case("colours: grey with an opaque alpha", partial(colours_of, png(opaque, GREY_ALPHA)), as_grey),
        refused("colours: half transparent", partial(colours_of, png(half, RGBA)), "pixels that are transparent"),
        refused("colours: a JPEG", partial(colours_of, pillow(COLOURS, "JPEG")), "it is no PNG file"),
    ]  # fmt: skip


# images

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(ran) print\nshowpage\n%%EOF\n"
PLAIN = np.full((6, 8, 3), 90, np.uint8)


def image_of(name: str, data: bytes, folder: Path) -> tuple[int, ...]:
    (folder / name).write_bytes(data)
    return read_image(folder / name).shape


def image_cases() -> list[Case]:
    kinds = {"JPEG": "jpg", "PNG": "png", "BMP": "bmp", "WEBP": "webp", "TIFF": "tif"}
    bad = {
        "an EPS called .png": ("a.png", EPS),
        "an EPS called .jpg": ("a.jpg", EPS),
        "a GIF called .png": ("a.png", pillow(PLAIN, "GIF")),
        "a PDF called .jpg": ("a.jpg", b"%PDF-1.4\n%%EOF"),
        "an SVG called .png": ("a.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        "an icon called .png": ("a.png", pillow(PLAIN, "ICO")),
        "a PPM called .bmp": ("a.bmp", pillow(PLAIN, "PPM")),
        "a PNG of 40000x40000": ("a.png", _huge()),
        "a JPEG cut off": ("a.jpg", pillow(PLAIN, "JPEG")[:200]),
        "an empty JPEG": ("a.jpg", b""),
    }
    return [
        *(Case(f"image: {kind}", partial(image_of, f"a.{end}", pillow(PLAIN, kind)), (6, 8, 3))
          for kind, end in kinds.items()),
        Case("image: a JPEG called .PNG", partial(image_of, "A.PNG", pillow(PLAIN, "JPEG")), (6, 8, 3)),
        *(refused(f"image: {name}", partial(image_of, *file), "a readable image") for name, file in bad.items()),
    ]  # fmt: skip


# names of files


def left_over(folder: Path) -> None:
    """What macOS and Windows leave beside files."""
    for name in ("._a.png", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (folder / name).write_bytes(b"\x00\x05\x16\x07")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "._a.png").write_bytes(b"")


def frames_of_folder(folder: Path) -> tuple[str, ...]:
    left_over(folder)
    for name in ("b.JPG", "a.png"):
        (folder / name).write_bytes(pillow(PLAIN, "PNG"))
    return open_video(folder).frames


def listed(folder: Path) -> list[str]:
    left_over(folder)
    for name in ("x.PNG", "y.Jpeg", "z.txt"):
        (folder / name).write_bytes(b"1")
    return [*files_in(folder, IMAGES), *folders_in(folder)]


def vspw_tree(folder: Path, values: np.ndarray, encode: Callable[[np.ndarray], bytes] = SAME_VALUES["grey of 8 bits"],
              name: str = "1.png") -> Path:  # fmt: skip
    raw = folder / "raw"
    (raw / "data/v/mask").mkdir(parents=True)
    (raw / "data/v/mask" / name).write_bytes(encode(values))
    (raw / "val.txt").write_text("v\n")
    return raw


def vspw_score(folder: Path, write: Callable[[Path], None], form: str = "shifted") -> float | None:
    """The mIoU of predictions of labels that are wall and the class 4, in shifted numbers 0 and 4."""
    benchmark = build_vspw(vspw_tree(folder, np.array([[1, 5]], np.uint8)), folder / "data", split=None)
    pred = folder / "pred"
    (pred / "v").mkdir(parents=True)
    write(pred)
    import_vspw(benchmark, pred, folder / "run", name="theirs", label_form=form)  # type: ignore[arg-type]
    return score(benchmark, folder / "run").values["mIoU"]["all"]


RIGHT = png(np.array([[0, 4]]), GREY)


def vspw_right(pred: Path, data: bytes = RIGHT, name: str = "1.png", beside: bool = False) -> None:
    (pred / "v" / name).write_bytes(data)
    if beside:
        left_over(pred / "v")
        left_over(pred)


def backslashes(folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    (folder / "JPEGImages/v").mkdir(parents=True)
    (folder / "JPEGImages/v/0.jpg").write_bytes(pillow(PLAIN, "JPEG"))
    content = ytvis_labels() | {"videos": [{"id": 1, "width": 8, "height": 6, "file_names": ["v\\0.jpg"]}]}
    defects = Defects()
    built = build_own_classes(written(folder / "gt.json", content), folder / "data", defects=defects)
    return built.entries[0].frames, defects.lines


def camvid_tree(folder: Path, separator: str = "/", mark: bytes = b"") -> Path:
    for name in ("val", "valannot"):
        (folder / "raw" / name).mkdir(parents=True)
    (folder / "raw/val/R_1.png").write_bytes(pillow(PLAIN, "PNG"))
    (folder / "raw/valannot/R_1.png").write_bytes(png(np.full((6, 8), 3), GREY))
    line = f"val{separator}R_1.png valannot{separator}R_1.png"
    (folder / "raw/val.txt").write_bytes(mark + f"{line}\r\n".encode())
    return folder / "raw"


def camvid_frames(folder: Path, **more: Any) -> tuple[str, ...]:
    return build_camvid(camvid_tree(folder, **more), folder / "data", split=None).entries[0].frames


def name_cases() -> list[Case]:
    return [
        Case("names: a folder of frames with left-overs", frames_of_folder, ("a.png", "b.JPG")),
        Case("names: endings in capitals, left-overs", listed, ["x", "y"]),
        Case("names: predictions of VSPW with left-overs",
             lambda f: vspw_score(f, partial(vspw_right, beside=True)), 1.0),
        Case("names: a prediction called .PNG", lambda f: vspw_score(f, partial(vspw_right, name="1.PNG")), 1.0),
        Case("names: labels called .PNG", lambda f: len(_labels(f, "1.PNG").entries), 1),
        Case("names: backslashes in file_names", backslashes, (("v/0.jpg",), ())),
        Case("names: backslashes in a list", partial(camvid_frames, separator="\\"), ("val/R_1.png",)),
        refused("names: a file_name that leads out", partial(leads_out, "..\\..\\x.jpg"), "inside the folder"),
        refused("names: an absolute file_name", partial(leads_out, "\\x.jpg"), "inside the folder of images"),
    ]  # fmt: skip


def _labels(folder: Path, name: str) -> Benchmark:
    return build_vspw(vspw_tree(folder, np.array([[1]], np.uint8), name=name), folder / "data", split=None)


def leads_out(name: str, folder: Path) -> Benchmark:
    content = ytvis_labels() | {"videos": [{"id": 1, "width": 8, "height": 6, "file_names": [name]}]}
    return build_own_classes(written(folder / "gt.json", content), folder / "data")


# text

BOX = np.zeros((6, 8), bool)
BOX[1:3, 2:7] = True  # left 2, top 1, 5 wide, 2 high
MASK = {"size": [6, 8], "counts": rle.encode(BOX)}


def ytvis_labels() -> dict[str, Any]:
    return {
        "videos": [{"id": 1, "width": 8, "height": 6, "file_names": ["v/0.jpg"]}],
        "categories": [{"id": 4, "name": "dog"}],
        "annotations": [{"video_id": 1, "category_id": 4, "segmentations": [MASK]}],
    }


def prediction(**more: Any) -> dict[str, Any]:
    return {"video_id": 1, "category_id": 4, "score": 0.5, "segmentations": [MASK], **more}


def written(path: Path, content: object, mark: bytes = b"", encoding: str = "utf-8") -> Path:
    path.write_bytes(mark + json.dumps(content, indent=1).replace("\n", "\r\n").encode(encoding))
    return path


def ytvis_score(folder: Path, rows: object, **more: Any) -> float | None:
    benchmark = build_own_classes(written(folder / "gt.json", ytvis_labels(), MARK), folder / "data")
    import_ytvis(benchmark, written(folder / "results.json", rows, **more), folder / "run", name="theirs")
    return score(benchmark, folder / "run").values["AP"]["all"]


def manifest_name(folder: Path, mark: bytes) -> str:
    built = build_own_classes(written(folder / "gt.json", ytvis_labels()), folder / "data")
    path = built.folder / "manifest.json"
    path.write_bytes(mark + path.read_bytes().replace(b"\n", b"\r\n"))
    return load(built.folder).name


def split_name(folder: Path) -> str:
    source = Path(load_split.__code__.co_filename).parent / "splits/camvid.json"
    (folder / "camvid.json").write_bytes(MARK + source.read_bytes().replace(b"\n", b"\r\n"))
    return load_split(folder / "camvid.json").dataset


def bank_names(folder: Path) -> tuple[str, ...]:
    np.save(folder / "b.npy", np.eye(2, dtype=np.float32))
    written(folder / "b.json", {"schema": 1, "names": ["a", "b"], "model": "m", "prompt": "p"}, MARK)
    return read_bank(folder / "b.npy", folder).names


def vipseg_score(folder: Path, mark: bytes = MARK, encode: Callable[[np.ndarray], bytes] = SAME_COLOURS["a palette"],
                 name: str = "1.png") -> float | None:  # fmt: skip
    """The PQ of a prediction in the layout of VIPSeg that is right; its labels are read from one."""
    from ovsbench.data_prep.vipseg import build_vipseg

    ids = np.zeros((4, 4, 3), np.uint8)
    ids[:2, :, 0], ids[2:, :, 1] = 7, 3  # ids 7 and 3 * 256
    info = [{"id": 7, "category_id": 0, "area": 8}, {"id": 768, "category_id": 5, "area": 8}]
    rows = [{"video_id": "v", "annotations": [{"file_name": "1.png", "segments_info": info}]}]
    kinds = [{"id": number, "name": f"class {number}", "isthing": 0} for number in (0, 5)]
    raw = folder / "raw"
    (raw / "panomasksRGB/v").mkdir(parents=True)
    (raw / "panomasksRGB/v/1.png").write_bytes(png(ids, RGB))
    written(raw / "panoptic_gt_VIPSeg_val.json", {"annotations": rows, "categories": kinds}, mark)
    benchmark = build_vipseg(raw, folder / "data", split=None)
    (folder / "pred/pan_pred/v").mkdir(parents=True)
    (folder / "pred/pan_pred/v" / name).write_bytes(encode(ids))
    written(folder / "pred/pred.json", {"annotations": rows}, mark)
    import_vipseg(benchmark, folder / "pred", folder / "run", name="theirs")
    return score(benchmark, folder / "run").values["PQ"]["all"]


def text(name: str, content: bytes, read: Callable[[Path], Any], folder: Path) -> Any:
    (folder / name).write_bytes(content)
    return read(folder / name)


def text_cases() -> list[Case]:
    toml, names = b'[data]\r\nname = "\xc3\xa4"\r\n', "dog|puppy\r\n# none\r\nähre\r\n".encode()
    right = {"data": {"name": "ä"}}
    words = [("dog", ("puppy",)), ("ähre", ())]

    def vocabulary(path: Path) -> list[tuple[str, tuple[str, ...]]]:
        return [(category.name, category.synonyms) for category in read_names(path)]

    sixteen = "UTF-16, as Windows PowerShell writes it; save it as UTF-8"
    return [
        Case("text: TOML with a mark", partial(text, "a.toml", MARK + toml, read_config), right),
        Case("text: TOML without one", partial(text, "a.toml", toml, read_config), right),
        Case("text: a card with a mark", lambda f: parse_toml(MARK + toml), right),
        Case("text: names with a mark", partial(text, "a.txt", MARK + names, vocabulary), words),
        Case("text: names without one", partial(text, "a.txt", names, vocabulary), words),
        Case("text: a list with a mark", partial(text, "val.txt", MARK + b"v1\r\nv2", read_list), ["v1", "v2"]),
        Case("text: a list of CamVid with a mark", partial(camvid_frames, mark=MARK), ("val/R_1.png",)),
        Case("text: a manifest with a mark", partial(manifest_name, mark=MARK), "ytvis"),
        Case("text: a split with a mark", split_name, "camvid"),
        Case("text: a text bank with a mark", bank_names, ("a", "b")),
        Case("text: results of YouTube-VIS with a mark", lambda f: ytvis_score(f, [prediction()], mark=MARK), 1.0),
        Case("text: results of YouTube-VIS without one", lambda f: ytvis_score(f, [prediction()]), 1.0),
        Case("text: results of VIPSeg with a mark", vipseg_score, 1.0),
        refused("text: TOML in UTF-16", partial(text, "a.toml", "a = 1".encode("utf-16"), read_config), sixteen),
        refused("text: names in UTF-16", partial(text, "a.txt", "dog".encode("utf-16"), read_names), sixteen),
        refused("text: a list in UTF-16", partial(text, "val.txt", "v1".encode("utf-16"), read_list), sixteen),
        refused("text: results in UTF-16", lambda f: ytvis_score(f, [prediction()], encoding="utf-16"), sixteen),
        refused("text: labels in UTF-16", lambda f: build_own_classes(
            written(f / "gt.json", ytvis_labels(), encoding="utf-16"), f / "data"), sixteen),
        refused("text: names in Latin-1", partial(text, "a.txt", "ähre".encode("latin-1"), read_names), "can't decode"),
        refused("text: results cut off", partial(cut_results), "may have been cut off"),
    ]  # fmt: skip


def cut_results(folder: Path) -> object:
    benchmark = build_own_classes(written(folder / "gt.json", ytvis_labels()), folder / "data")
    path = written(folder / "results.json", [prediction()])
    path.write_bytes(path.read_bytes()[:-9])
    return import_ytvis(benchmark, path, folder / "run", name="theirs")


# predictions


def prediction_cases() -> list[Case]:
    nothing = prediction(score=0.1, segmentations=[None])
    no_pixel = prediction(score=0.1, segmentations=[{"size": [6, 8], "counts": [48]}])
    by_rows = {"size": [6, 8], "counts": rle.encode(BOX.ravel().reshape(8, 6).T)}
    box = [[2, 1, 5, 2]]
    released = png(np.array([[1, 5]]), GREY)
    forms = {
        "class 124 in shifted numbers": ("shifted", [[124, 4]], "They are released numbers: say --label-form released"),
        "a number of no class": ("shifted", [[200, 4]], "No numbers of VSPW have them"),
        "255 in a prediction": ("shifted", [[255, 4]], "which is no class"),
        "200 in released numbers": ("released", [[200, 4]], "No numbers of VSPW have them"),
    }
    return [
        Case("tracks: two alike without a mask", lambda f: ytvis_score(f, [prediction(), nothing, nothing]), 1.0),
        Case("tracks: two alike without a pixel", lambda f: ytvis_score(f, [prediction(), no_pixel, no_pixel]), 1.0),
        Case("tracks: none with a mask", lambda f: ytvis_score(f, [nothing]), 0.0),
        Case("tracks: with its box", lambda f: ytvis_score(f, [prediction(bboxes=box)]), 1.0),
        Case("tracks: with no box", lambda f: ytvis_score(f, [prediction(bboxes=[None])]), 1.0),
        Case("tracks: with a box of its own kind", lambda f: ytvis_score(f, [prediction(bboxes=[[0, 0, 1, 1]])]), 1.0),
        refused("tracks: run lengths row by row",
                lambda f: ytvis_score(f, [prediction(segmentations=[by_rows], bboxes=box)]), "go row by row"),
        refused("tracks: width before height", lambda f: ytvis_score(
            f, [prediction(segmentations=[{**MASK, "size": [8, 6]}])]), "width.* = .6, 8., got .8, 6."),
        refused("tracks: two alike", lambda f: ytvis_score(f, [prediction(), prediction()]), "repeats prediction 1"),
        refused("tracks: NaN as a score", lambda f: ytvis_score(f, [prediction(score=float("nan"))]), "of at least 0"),
        Case("forms: released numbers", lambda f: vspw_score(f, partial(vspw_right, data=released), "released"), 1.0),
        Case("forms: the colours of VOC", lambda f: vspw_score(
            f, partial(vspw_right, data=voc(np.array([[0, 4]])))), 1.0),
        Case("forms: grey as a palette", lambda f: vspw_score(
            f, partial(vspw_right, data=indexed(np.array([[0, 4]], np.uint8), -1))), 1.0),
        *(refused(f"forms: {name}", partial(_form, *form), words) for name, (*form, words) in forms.items()),
    ]  # fmt: skip


def _form(form: str, values: list[list[int]], folder: Path) -> float | None:
    return vspw_score(folder, partial(vspw_right, data=png(np.array(values), GREY)), form)


# what is typed


def told(arguments: Sequence[str], folder: Path) -> str:
    """The one line that a command ends with; a bug, or a sentence of more lines, is an error."""
    for name in ("pipe", "pipe.json", "pipe.png"):
        os.mkfifo(folder / name)
    before = Path.cwd()
    os.chdir(folder)
    try:
        done = CliRunner().invoke(app, list(arguments))
    finally:
        os.chdir(before)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    lines = done.output.strip().splitlines()
    assert len(lines) == 1, done.output
    raise UserError(lines[0])


def typed_cases() -> list[Case]:
    long = "a" * 300
    pipe = "it is a pipe or a device and no file"
    typed = {
        "an escape character": (["show", "x\x1b[31my"], r"error: x\\u001b\[31my/run.json"),
        "a direction override": (["show", "x\u202ey"], r"error: x\\u202ey/run.json"),
        "bytes that are no UTF-8": (["show", "x\udcffy"], r"error: x\\udcffy/run.json"),
        "300 letters": (["data", "build", "ytvis", "--raw", f"{long}.json", "-o", "d"], "File name too long"),
        "300 letters for the output": (["import", "d", "p", "--format", "vspw", "-o", long], "expected the manifest"),
        "a pipe as labels": (["data", "build", "ytvis", "--raw", "pipe.json", "-o", "d"], pipe),
        "/dev/zero as labels": (["data", "build", "ytvis", "--raw", "/dev/zero", "-o", "d"], pipe),
        "a pipe as a bundle": (["check", "pipe"], pipe),
        "/dev/zero as a bundle": (["check", "/dev/zero"], pipe),
        "a pipe as names": (["predict", "a.png", "--names-file", "pipe"], pipe),
        "/dev/zero as names": (["predict", "a.png", "--names-file", "/dev/zero"], pipe),
        "a pipe as a config": (["train", "pipe", "-o", "o"], pipe),
        "a dash before a name": (["show", "--", "-x"], r"error: -x/run.json: expected the record"),
    }
    return [
        refused(f"typed: {name}", partial(told, arguments), words) for name, (arguments, words) in typed.items()
    ] + [refused("typed: a pipe as an image", lambda f: (os.mkfifo(f / "a.png"), read_image(f / "a.png")), pipe)]


CASES = (
    *value_cases(),
    *colour_cases(),
    *image_cases(),
    *name_cases(),
    *text_cases(),
    *prediction_cases(),
    *typed_cases(),
)


def main() -> None:
    begin, wrong = time.monotonic(), 0
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            outcome = case.outcome(Path(folder))
        wrong += outcome not in ("right", "refused")
        print(f"{outcome[:120]:10}  {case.name}")
    print(f"{len(CASES)} files in {time.monotonic() - begin:.1f} s, {wrong} wrong")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
