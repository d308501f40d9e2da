"""What a training tells of itself while it runs: a line of numbers now and then, as CSV, PNG and for TensorBoard."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.storage import files


class Curve:
    """Numbers by step in `<stem>.csv`; a resumed training cuts what came after its state.

    Args:
        path: the CSV file.
        board: folder for TensorBoard, None for none.

    Raises:
        MethodError: TensorBoard is asked for and not installed.
    """

    def __init__(self, path: Path, board: Path | None = None) -> None:
        self.path = path
        self.rows: list[dict[str, str]] = []
        self._board = board
        self._writer: Any = None
        if board is not None:
            _summary_writer()

    def begin(self, step: int) -> None:
        """Keeps the lines of a stopped training up to the step that it goes on from."""
        if step and self.path.exists():
            with self.path.open(newline="", encoding="utf-8-sig") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
        if self._board is not None:
            self._writer = _summary_writer()(str(self._board), purge_step=step + 1)

    def add(self, step: int, values: Mapping[str, float | None], seconds: float) -> None:
        """Writes one more line; columns are all numbers so far."""
        texts = {name: "" if value is None else f"{value:.5f}" for name, value in values.items()}
        self.rows.append({"step": str(step), "seconds": f"{seconds:.0f}", **texts})
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        with files.writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        files.write_bytes(self.path, text.getvalue().encode())
        if self._writer is not None:
            for name, value in values.items():
                if value is not None:
                    self._writer.add_scalar(f"{self.path.stem}/{name}", value, step)

    def draw(self) -> None:
        """Draws the numbers over the steps into `<stem>.png`, a panel each; nothing for fewer than two lines."""
        if len(self.rows) < 2:
            return
        from ovsbench.benchmark.pictures.training_plot import training_curves

        names = [name for name in dict.fromkeys(n for row in self.rows for n in row) if name not in ("step", "seconds")]
        curves = {name: [(int(row["step"]), float(row[name])) for row in self.rows if row.get(name)] for name in names}
        files.write_bytes(self.path.with_suffix(".png"), training_curves(curves))

    def close(self) -> None:
        """Ends TensorBoard's file."""
        if self._writer is not None:
            self._writer.close()


def _summary_writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MethodError(
            f"[training] tensorboard = true needs the package tensorboard, which is missing ({error}). "
            "Run `pip install tensorboard`, or leave the setting out: the losses are in the CSV file"
        ) from error
    return SummaryWriter
