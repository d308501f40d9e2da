from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.formats.vspw_layout import import_vspw
from ovsbench.benchmark.manifest import Benchmark


@pytest.fixture
def masks(build_benchmark, tmp_path: Path) -> tuple[Benchmark, Path]:
    """A benchmark, and predictions of it in the layout of VSPW, all of the first class."""
    benchmark = build_benchmark()
    first = benchmark.vocabulary.categories[0].id
    for entry in benchmark.entries:
        for frame in entry.frames:
            path = tmp_path / "masks" / entry.id / f"{Path(frame).stem}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(np.full(entry.size, first, dtype=np.uint8)).save(path)
    return benchmark, tmp_path / "masks"


def message(benchmark: Benchmark, folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        import_vspw(benchmark, folder, folder.parent / "run", name="theirs")
    assert not (folder.parent / "run").exists()
    return str(caught.value)


def test_a_png_that_breaks_off_is_named(masks):
    benchmark, folder = masks
    path = next(folder.rglob("*.png"))
    path.write_bytes(path.read_bytes()[:44])
    assert f"{path}: expected a PNG, got an error" in message(benchmark, folder)


def test_a_mask_of_colours_is_refused(masks):
    benchmark, folder = masks
    path = next(folder.rglob("*.png"))
    PIL.Image.open(path).convert("RGB").save(path)
    assert "expected values as one grey channel or a palette, got colours" in message(benchmark, folder)


def test_a_huge_size_is_refused_before_anything_is_unpacked(masks):
    benchmark, folder = masks
    path = next(folder.rglob("*.png"))
    head = bytearray(path.read_bytes())
    head[16:24] = (1 << 30).to_bytes(4, "big") * 2
    path.write_bytes(head)
    assert "got 1073741824x1073741824" in message(benchmark, folder)


def test_predictions_of_another_data_set_are_told_by_their_names(masks, tmp_path: Path):
    benchmark, folder = masks
    for entry in benchmark.entries:
        (folder / entry.id).rename(folder / f"other-{entry.id}")
    text = message(benchmark, folder)
    assert f"{2 * len(benchmark.entries)} faults" in text
    assert "video v0 is missing" in text
    assert "video other-v0 is not in the benchmark" in text
