"""The layout of VSPW: one 8-bit PNG a frame, whose pixels are numbers of classes.

    labels       data/<video>/mask/<frame>.png (read by data_prep)
    predictions  <video>/<frame>.png

Numbers come in two forms. As released, 0 is void ("others"), 1 to 124 are the classes, 255 is void. Shifted by one, as
the official evaluator reads them, 0 to 123 are the classes and 255 is void. A category's id is its shifted number.
A prediction names every pixel: the evaluator takes 255 for another class without a word, so it is an error here, and
only the released form can leave a pixel unnamed, with 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Unpack, get_args

import numpy as np
import numpy.typing as npt
import PIL.Image

from ovsbench.benchmark.errors import DataError, did_you_mean
from ovsbench.benchmark.formats import LabelForm
from ovsbench.benchmark.formats.conversion import How, import_run
from ovsbench.benchmark.formats.faults import Faults
from ovsbench.benchmark.formats.frame_names import compare_names, stems
from ovsbench.benchmark.manifest import Benchmark, VideoEntry
from ovsbench.benchmark.panoptic import semantic
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.record import RunRecord
from ovsbench.benchmark.running.counting import predicted_frames
from ovsbench.benchmark.storage.files import json_digest, whole_folder, writing
from ovsbench.benchmark.storage.folder_listing import MASKS, Found, files_in, folders_in
from ovsbench.benchmark.storage.label_png import read_values
from ovsbench.benchmark.types import PanopticFrame, Segment

CLASSES = 124
_VOID = 255


def import_vspw(
    benchmark: Benchmark,
    predictions: str | Path,
    run: str | Path,
    *,
    label_form: LabelForm = "shifted",
    **how: Unpack[How],
) -> RunRecord:
    """Makes a run of predictions in the layout of VSPW.

    Args:
        benchmark: what was predicted; its frames must have the names of the predictions' files.
        predictions: folder with a folder of masks for each video.
        run: the run folder to make.
        label_form: how classes are numbered.
        how: see `How`.

    Raises:
        DataError: anything is wrong with the files, all of it told at once.
    """
    folder = Path(predictions)
    check_form(label_form)
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder of predictions, found none. Check the path")
    faults = Faults()
    videos = folders_in(folder)
    compare_names(str(folder), "video", [entry.id for entry in benchmark.entries], videos, faults)
    there: dict[str, dict[str, Found]] = {}
    for entry in benchmark.entries:
        if entry.id in videos:
            there[entry.id] = files_in(folder / entry.id, MASKS)
            compare_names(str(folder / entry.id), "mask", stems(entry.frames), there[entry.id], faults)

    def read(entry: VideoEntry, index: int) -> PanopticFrame:
        mask = there.get(entry.id, {}).get(stems([entry.frames[index]])[0])
        if mask is None:  # noted above
            return PanopticFrame(np.zeros(entry.size, dtype=np.uint32))
        path = folder / entry.id / mask.name
        frame = read_frame(path, entry.size, label_form, is_label=False)
        unknown = sorted({s.category for s in frame.segments.values()} - benchmark.vocabulary.ids)
        if unknown:
            raise DataError(f"{path}: classes that the benchmark lacks: {unknown[:5]}")
        return frame

    return import_run(
        benchmark,
        Path(run),
        read,
        faults,
        what=f"{folder} (VSPW layout)",
        digest=json_digest([[video, sorted(names)] for video, names in there.items()]),
        notes={"layout": "vspw", "label_form": label_form},
        **how,
    )


def export_vspw(
    benchmark: Benchmark,
    run: str | Path,
    out: str | Path,
    *,
    label_form: LabelForm = "shifted",
    progress: Progress = SILENT,
) -> None:
    """Writes a run's predictions in the layout of VSPW, objects of a class together.

    Raises:
        DataError: predictions are missing or damaged, a class or an unnamed pixel cannot be written, or the disk is
            full.
    """
    check_form(label_form)
    if max(benchmark.vocabulary.ids) >= CLASSES:
        raise DataError(
            f"the layout of VSPW holds classes 0 to {CLASSES - 1}; {benchmark.name} has more. Export as vipseg"
        )
    with whole_folder(Path(out)) as partial:
        progress.start(len(benchmark.entries), sum(len(e.frames) for e in benchmark.entries), "exporting")
        try:
            for entry in benchmark.entries:
                with writing(Path(out)):
                    (partial / entry.id).mkdir()
                for stem, frame in zip(
                    stems(entry.frames), predicted_frames(benchmark, Path(run), entry.id), strict=True
                ):
                    classes = semantic(frame)
                    if label_form == "shifted" and (classes < 0).any():
                        raise DataError(
                            f"video {entry.id}, frame {stem}: {np.count_nonzero(classes < 0)} pixels are unnamed, "
                            "which shifted numbers cannot say. Export with --label-form released, where 0 says so"
                        )
                    pixels = (classes + (label_form == "released")).astype(np.uint8)
                    with writing(Path(out)):
                        PIL.Image.fromarray(pixels).save(partial / entry.id / f"{stem}.png", compress_level=3)
                    progress.frame()
                progress.video()
        finally:
            progress.stop()


def check_form(form: str) -> None:
    """Raises a `DataError` if there is no such form of numbers."""
    if form not in get_args(LabelForm):
        raise DataError(f"unknown label form {form!r}; {did_you_mean(form, get_args(LabelForm))}")


def look_shifted(labels: Iterable[Path]) -> bool:
    """Whether labels hold 0 and 255 and nowhere 124: what void and the first and last class are in shifted numbers.

    Raises:
        DataError: a file cannot be read.
    """
    seen: set[int] = set()
    for path in labels:
        seen |= _values_of(path)
        if CLASSES in seen:
            return False
    return {0, _VOID} <= seen


def look_released(predictions: Path) -> bool:
    """Whether the first mask of every video holds no 0: in shifted numbers that is a class, and a common one.

    Raises:
        DataError: a file cannot be read.
    """
    folders = [predictions / video for video in folders_in(predictions)]
    first = [folder / min(found.name for found in masks.values()) for folder in folders
             if (masks := files_in(folder, MASKS))]  # fmt: skip
    return bool(first) and not any(0 in _values_of(path) for path in first)


def _values_of(path: Path) -> set[int]:
    return set(np.flatnonzero(np.bincount(read_values(path).ravel(), minlength=256)).tolist())


def read_frame(path: Path, size: tuple[int, int], form: LabelForm, *, is_label: bool) -> PanopticFrame:
    """A frame from numbers of classes; a class is a segment, its id is one more than the category's.

    Args:
        path: a PNG of values.
        size: (height, width) that it must have.
        form: how classes are numbered.
        is_label: whether 255 may be there, for void.

    Raises:
        DataError: missing, broken, of another size or kind, or a value that cannot be in this form.
    """
    pixels = read_values(path, size)
    present = np.flatnonzero(np.bincount(pixels.ravel(), minlength=256)).tolist()
    table = _table(path, present, form, is_label=is_label)
    segments = {
        int(table[value]): Segment(int(table[value]), int(table[value]) - 1) for value in present if table[value]
    }
    return PanopticFrame(table[pixels], segments)


def _table(path: Path, present: Sequence[int], form: LabelForm, *, is_label: bool) -> npt.NDArray[Any]:
    """Pixel value to segment id, 0 for void.

    Raises:
        DataError: a value that is present cannot be in this form.
    """
    first = 1 if form == "released" else 0
    table = np.zeros(256, dtype=np.uint32)
    table[first : first + CLASSES] = np.arange(1, CLASSES + 1)
    allowed = set(range(CLASSES + first)) | ({_VOID} if is_label else set())
    odd = [value for value in present if value not in allowed]
    if odd == [_VOID]:
        raise DataError(
            f"{path}: a prediction holds {_VOID}, which is no class; official scripts would take it for another. "
            "Name every pixel" + ("" if form == "released" else ", or write released numbers, where 0 is unnamed")
        )
    if odd:
        other = "shifted" if form == "released" else "released"
        fits = CLASSES in odd and set(odd) <= {CLASSES, _VOID}  # which only released numbers have
        raise DataError(
            f"{path}: values {', '.join(map(str, odd[:5]))} cannot be in {form} numbers (classes {first} to "
            f"{first + CLASSES - 1}). "
            + (f"They are {other} numbers: say --label-form {other}" if fits else "No numbers of VSPW have them")
        )
    return table
