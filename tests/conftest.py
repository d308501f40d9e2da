from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import PIL.Image
import pytest

from ovsbench.benchmark import engine, manifest
from ovsbench.benchmark.labels.manifest_writer import BenchmarkWriter
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.types import Category, Offer, PanopticFrame, Rules, Segment, Video, Vocabulary
from ovsbench.leaderboard.bundle import pack

# Commands run within tests take this many threads, and so do the processes that tests start; tests are many already.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What tests expect to the digit is of a processor; those of a GPU name it, and are skipped where there is none.
os.environ.setdefault("OVSBENCH_DEVICE", "cpu")

# A shell that runs the tests in the background makes them deaf to Ctrl-C, and what they start as well.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Reference cases beside the checkout, or where OVSBENCH_SHARED says; without them tests are skipped."""
    folder = Path(os.environ.get("OVSBENCH_SHARED") or Path(__file__).parents[1].parent / "shared")
    if not folder.is_dir():
        pytest.skip(f"reference cases are not here: {folder}")
    return folder


BOXES = Vocabulary(
    (
        Category(4, "dog", is_thing=True),
        Category(2, "cat", is_thing=True),
        Category(9, "grass", is_thing=False),
        Category(7, "unicorn", is_thing=True, is_novel=True),
        Category(11, "lava", is_thing=False, is_novel=True),
    )
)
"""Three base and two novel classes, things and stuff on both sides; ids are neither sorted nor from 0."""


@pytest.fixture
def vocabulary() -> Vocabulary:
    return BOXES


def frame_of(rows: Sequence[Sequence[int]], categories: dict[int, int], crowds: Sequence[int] = ()) -> PanopticFrame:
    """A frame from its ids, written out, and the category of each id; ids that do not occur are left out."""
    ids = np.array(rows, dtype=np.uint32)
    present = [int(key) for key in np.unique(ids) if key]
    return PanopticFrame(ids, {key: Segment(key, categories[key], 1.0, key in crowds) for key in present})


def random_frames(
    rng: np.random.Generator, count: int, size: tuple[int, int], categories: Sequence[int]
) -> list[PanopticFrame]:
    """Moving boxes with void between them: tracks appear, vanish and cover each other."""
    boxes = [
        (int(key), *rng.integers(0, size[0], 2), *rng.integers(-2, 3, 2), int(rng.integers(2, 6)))
        for key in rng.choice(np.arange(1, 1 << 20), size=4, replace=False)
    ]
    kinds = {box[0]: int(rng.choice(categories)) for box in boxes}
    frames = []
    for time in range(count):
        ids = np.zeros(size, dtype=np.uint32)
        for key, top, left, down, right, side in boxes:
            y, x = top + down * time, left + right * time
            ids[max(y, 0) : max(y + side, 0), max(x, 0) : max(x + side, 0)] = key
        frames.append(frame_of(ids.tolist(), kinds))
    return frames


def boxes(
    folder: Path,
    videos: int = 3,
    frames: int = 7,
    size: tuple[int, int] = (16, 20),
    rules: Rules | None = None,
    role: manifest.Role = "benchmark",
    categories: Sequence[int] = (4, 2, 9, 7, 11),
) -> manifest.Benchmark:
    """A small benchmark folder with images and labels of moving boxes."""
    rng = np.random.default_rng(7)
    with BenchmarkWriter(
        folder,
        name="boxes",
        version="1",
        source=manifest.Source("moving boxes", licence="none"),
        rules=rules or Rules(vpq_windows=(1, 2, 4)),
        vocabulary=BOXES,
        image_root=".",
        role=role,
    ) as writer:
        for number in range(videos):
            video = f"v{number}"
            names = [f"images/{video}/{i:03d}.png" for i in range(frames)]
            (folder / "images" / video).mkdir(parents=True)
            with writer.video(video, size, names, fps=10.0) as labels:
                for image_name, frame in zip(names, random_frames(rng, frames, size, categories), strict=True):
                    rgb = np.stack([frame.ids % 251, frame.ids % 241, frame.ids % 239], axis=-1).astype(np.uint8)
                    PIL.Image.fromarray(rgb).save(folder / image_name)
                    labels.add(frame)
    return manifest.load(folder)


BuildBenchmark = Callable[..., manifest.Benchmark]


@pytest.fixture
def build_benchmark(tmp_path: Path) -> BuildBenchmark:
    """Makes small benchmark folders, see `boxes`."""

    def build(name: str = "data", *arguments: Any, **named: Any) -> manifest.Benchmark:
        return boxes(tmp_path / name, *arguments, **named)

    return build


class Guess:
    """A method that finds every box of the moving boxes, and calls some by a wrong name: seeded, without labels."""

    notes: ClassVar[dict[str, str]] = {"trained_on": "nothing"}

    def __init__(self, seed: int = 0, wrong: float = 0.3) -> None:
        self.seed, self.wrong = seed, wrong

    def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame]:
        rng = np.random.default_rng([self.seed, *video.id.encode()])
        ids = [c.id for c in vocabulary]
        kinds: dict[int, int] = {}
        for image in video.images():
            pixels = image[..., 0].astype(np.uint32)
            for key in np.unique(pixels).tolist():
                kinds.setdefault(
                    key, ids[int(rng.integers(len(ids)))] if rng.random() < self.wrong else ids[key % len(ids)]
                )
            yield PanopticFrame(pixels, {key: Segment(key, kinds[key]) for key in np.unique(pixels).tolist() if key})


CARD = """
name = "{name}"
title = "Guesses by colour"
authors = ["A. Person"]
paper = "https://example.org/paper"
trained_on = ["nothing"]
saw_novel = "no"
supersedes = "{supersedes}"
"""

MakeBundle = Callable[..., Path]


def bundle_in(
    folder: Path,
    benchmark: manifest.Benchmark,
    name: str = "guess",
    seed: int = 0,
    supersedes: str = "",
    card: str = CARD,
    offered: Offer | None = None,
    wrong: float = 0.3,
    **contents: Any,
) -> Path:
    """Runs `Guess` and packs the run; the run stays in runs/NAME."""
    run = folder / "runs" / name
    engine.predict(Guess(seed, wrong), benchmark, run, settings=Settings("guess", offered=offered))
    engine.score(benchmark, run)
    text = folder / f"{name}.toml"
    text.write_text(card.format(name=name, supersedes=supersedes))
    pack.pack(run, text, benchmark, folder / f"{name}.zip", **{"predictions": False, "strips": 0, **contents})
    return folder / f"{name}.zip"


@pytest.fixture
def make_bundle(build_benchmark: BuildBenchmark, tmp_path: Path) -> MakeBundle:
    """Makes a bundle of a run of `Guess` on the moving boxes, which stay in the folder `data` beside it."""

    def make(*arguments: Any, **named: Any) -> Path:
        data = tmp_path / "data"
        benchmark = manifest.load(data) if data.exists() else build_benchmark()
        return bundle_in(tmp_path, benchmark, *arguments, **named)

    return make


@pytest.fixture(scope="session")
def one_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One bundle for many examples, in a folder of its own."""
    folder = tmp_path_factory.mktemp("bundle")
    return bundle_in(folder, boxes(folder / "data", videos=2, frames=3))


@pytest.fixture(scope="session")
def three_bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Bundles n0, n1, n2 of three runs on one benchmark, of enough videos for intervals."""
    folder = tmp_path_factory.mktemp("bundles")
    benchmark = boxes(folder / "data", videos=8)
    return [bundle_in(folder, benchmark, f"n{seed}", seed, wrong=seed / 3) for seed in range(3)]
