"""A training and its parts: what its file starts from may be a training file too, and is then trained first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovsbench.benchmark.errors import StoppedError, UserError
from ovsbench.benchmark.progress import Progress, Report
from ovsbench.plans.building import build_data
from ovsbench.plans.config_files import read_config, with_overrides
from ovsbench.plans.recipe import refuse_other_recipe, training_recipe, write_recipe

if TYPE_CHECKING:
    from ovsbench.gkc_video.training.step_profile import StepProfile

LAST_ONLY = ("out", "start", "start_part")
"""Settings that, given on the command line, hold for the last part alone."""


@dataclass(frozen=True)
class TrainingPart:
    """One training of a chain.

    Attributes:
        file: that describes it.
        tables: of the file, with what the command line changes; `start` is the checkpoint of the part before.
        out: the checkpoint to write; None for the tables' own.
        follows: whether another part comes before it.
    """

    file: Path
    tables: dict[str, Any]
    out: Path | None
    follows: bool = False

    @property
    def checkpoint(self) -> Path:
        """Where the checkpoint will be."""
        return self.out or Path(self.tables["out"])

    @property
    def checkable(self) -> dict[str, Any]:
        """The tables without a start that is not made yet."""
        return without_start(self.tables) if self.follows else self.tables


def parts_of(
    file: Path, out: Path | None, read: Callable[[Path, bool], dict[str, Any]], later: tuple[Path, ...] = ()
) -> list[TrainingPart]:
    """The training of a file behind those that it starts from; these write `NAME.start.safetensors` beside it.

    Args:
        file: a training file.
        out: its checkpoint; None for that in the file.
        read: gives the tables of a file; True where it is the last one.
        later: files whose trainings follow.

    Raises:
        UserError: a training would start from itself, or there is no place to write to.
    """
    if file.resolve() in later:
        raise UserError(f"{file}: expected another training to start from, got itself. Correct start")
    tables = read(file, not later)
    start = tables.get("start")
    if not isinstance(start, str) or not start.endswith(".toml"):
        return [TrainingPart(file, tables, out)]
    if out is None and not isinstance(tables.get("out"), str):
        raise UserError("expected the checkpoint to write, got none. Give -o, or out = in the training file")
    written = out or Path(tables["out"])
    begin = written.with_name(f"{written.stem}.start.safetensors")
    before = parts_of(Path(start), begin, read, (*later, file.resolve()))
    return [*before, TrainingPart(file, {**tables, "start": str(begin)}, written, follows=True)]


def read_part(overrides: Mapping[str, str], text_bank: Path | None, file: Path, is_last: bool) -> dict[str, Any]:
    """The tables of a training file with what the command line lays over them."""
    mine = {key: text for key, text in overrides.items() if is_last or key not in LAST_ONLY}
    tables = with_overrides(read_config(file), mine)
    if text_bank is not None:
        tables["text"] = {**tables.get("text", {}), "bank": str(text_bank)}
    return _localised(tables)


def _localised(tables: dict[str, Any]) -> dict[str, Any]:
    """The tables with weights of a hub as files here: what the training starts from, and the CLIP that teaches."""
    from ovsbench.hub.references import is_reference
    from ovsbench.hub.resolve import CLIP_MODEL, localise

    start, teacher = tables.get("start"), tables.get("clip", {})
    if isinstance(start, str) and is_reference(start):
        tables = {**tables, "start": str(localise(start).fetched.path)}
    if is_reference(str(teacher.get("checkpoint", ""))):
        here = localise(teacher["checkpoint"])
        model = {"model": here.options[CLIP_MODEL]} if CLIP_MODEL in here.options else {}
        tables = {**tables, "clip": {**teacher, **model, "checkpoint": str(here.fetched.path)}}
    return tables


def profile_last(
    parts: Sequence[TrainingPart], device: str, *, report: Report, progress: Progress
) -> StepProfile | None:
    """Where a step of the last part goes; its data is built, and its start is left out where it is not trained yet.

    Returns:
        The profile; None in those processes of torchrun that talk not.

    Raises:
        UserError: settings that cannot be.
    """
    from ovsbench.gkc_video.training.distributed import join
    from ovsbench.gkc_video.training.train import profile
    from ovsbench.gkc_video.training.training_tables import check

    last = parts[-1]
    check(last.checkable, last.out or Path("profile.safetensors"))
    with join(device) as (distributed, chosen):
        with distributed.first_alone():
            build_data(last.tables, report, progress)
        found = profile(last.checkable, device=chosen, distributed=distributed, log=report)
        return found if distributed.is_first else None


def without_start(tables: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a training without what it starts from."""
    return {key: value for key, value in tables.items() if key not in ("start", "start_part")}


def train_parts(parts: Sequence[TrainingPart], device: str, *, report: Report, progress: Progress) -> Path | None:
    """Trains each part unless it is there already; data is built before the part that needs it.

    Returns:
        The last checkpoint; None in those processes of torchrun that write nothing.

    Raises:
        UserError: settings that cannot be, or a checkpoint of other settings; nothing was built then.
        StoppedError: Ctrl-C.
    """
    from ovsbench.gkc_video.training.distributed import join
    from ovsbench.gkc_video.training.train import train
    from ovsbench.gkc_video.training.training_tables import check

    *before, last = parts
    for part in parts:  # before data is built, which may take an hour
        check(part.checkable, part.out)
    for part in before:
        refuse_other_recipe(part.checkpoint, training_recipe(part.tables))
    try:
        with join(device) as (distributed, chosen):
            for part in before:
                with distributed.first_alone():
                    build_data(part.tables, report, progress)
                    is_made = part.checkpoint.exists()
                    if distributed.is_first:
                        write_recipe(part.checkpoint, training_recipe(part.tables))
                        report(f"{part.checkpoint}, by {part.file}, {'is there already' if is_made else 'comes first'}")
                if not is_made:
                    train(part.tables, part.checkpoint, device=chosen, distributed=distributed, log=report)
            with distributed.first_alone():
                build_data(last.tables, report, progress)
            checkpoint = train(last.tables, last.out, device=chosen, distributed=distributed, log=report)
            return checkpoint if distributed.is_first else None
    except KeyboardInterrupt:
        kept = (
            "a teacher is trained in one go and nothing of it is kept; the same command starts again"
            if last.tables.get("kind") == "clip"
            else "the same command goes on from the last saved step"
        )
        raise StoppedError(f"interrupted: {kept}") from None
