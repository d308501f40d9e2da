"""The part that all readers of data sets share: how they work, and how what they read becomes a benchmark folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from ovsbench.benchmark.formats.faults import Faults
from ovsbench.benchmark.labels.manifest_writer import BenchmarkWriter
from ovsbench.benchmark.manifest import Benchmark, Source
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.running.executor import Workers
from ovsbench.benchmark.types import Rules, Vocabulary
from ovsbench.data_prep.convert import RawVideo, Recipe, convert, recipe_of
from ovsbench.data_prep.defects import Defects

VERSION = "1"


class Work(TypedDict, total=False):
    """What every reader takes by name beside its own arguments.

    Attributes:
        jobs: processes, or an executor; the result does not depend on it; 1 by default.
        defects: told of known faults of the release.
        progress: told of frames and videos.
    """

    jobs: Workers
    defects: Defects
    progress: Progress


@dataclass(frozen=True)
class Watch:
    """`Work` with its defaults, and the faults that are found."""

    jobs: Workers = 1
    defects: Defects = field(default_factory=Defects)
    progress: Progress = SILENT
    faults: Faults = field(default_factory=Faults)


def write_release(
    folder: str | Path,
    videos: Sequence[RawVideo],
    watch: Watch,
    *,
    name: str,
    source: Source,
    rules: Rules,
    vocabulary: Vocabulary,
    image_root: Path,
    variant: str | None,
    what: str,
    recipe: Recipe | None = None,
    resize_images: bool = False,
) -> Benchmark:
    """Writes the benchmark folder of a release.

    Args:
        folder: the benchmark folder to write.
        videos: in the order of the manifest.
        watch: how, and what was found wrong so far.
        name, source, rules, vocabulary, image_root, resize_images: of the benchmark, see `Benchmark`.
        variant: None for a benchmark to score on, else how a training set hides novel classes.
        what: the raw data, for messages.
        recipe: what becomes of segments; that of vocabulary and variant if None.

    Raises:
        DataError: something cannot be read; all of it told at once.
    """
    writer = BenchmarkWriter(
        folder,
        name=name,
        version=VERSION,
        source=source,
        rules=rules,
        vocabulary=vocabulary,
        image_root=image_root,
        role="train" if variant else "benchmark",
        resize_images=resize_images,
    )
    return convert(writer, videos, recipe or recipe_of(vocabulary, variant), what=what, **vars(watch))


def source_of(title: str, licence: str, variant: str | None, note: str = "", digest: str = "") -> Source:
    """Where a benchmark comes from; that of a training set says what is hidden, in place of a note."""
    return Source(title, digest, f"novel classes hidden: {variant}" if variant else note, licence)
