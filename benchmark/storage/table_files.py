"""Tables as files: CSV, JSON and Parquet out of one DataFrame."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.storage import files

if TYPE_CHECKING:
    import pandas as pd


def frame_of(rows: Iterable[Sequence[Any]], columns: Sequence[str]) -> pd.DataFrame:
    """A DataFrame of whatever stands in the rows, None and whole numbers as they are.

    Args:
        rows: as long as `columns` each.
        columns: the heads; one may stand twice.
    """
    import pandas as pd

    return pd.DataFrame(list(rows), columns=list(columns), dtype=object)


def frame_of_records(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A DataFrame of dictionaries, which need not have the same keys; columns in the order of their first use."""
    columns = list(dict.fromkeys(key for record in records for key in record))
    return frame_of(([record.get(key) for key in columns] for record in records), columns)


def records_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """One dictionary a row, for JSON."""
    columns = list(frame.columns)
    return [dict(zip(columns, row, strict=True)) for row in frame.itertuples(index=False, name=None)]


def csv_text(frame: pd.DataFrame) -> str:
    """The frame as CSV; an empty cell where there is nothing."""
    return frame.to_csv(index=False, lineterminator="\n")


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Writes a frame as CSV, or as Parquet where the file's name ends so; it is whole or not there.

    Raises:
        UserError: Parquet needs pyarrow, which is not installed.
        DataError: the file cannot be written.
    """
    if path.suffix != ".parquet":
        files.write_bytes(path, csv_text(frame).encode())
        return
    content = io.BytesIO()
    try:
        typed = frame.convert_dtypes()
        typed.to_parquet(content, engine="pyarrow", index=False)
    except ImportError as error:
        raise UserError(
            f"{path}: Parquet needs pyarrow, which is not installed. Install it with "
            'pip install "ovsbench[parquet]", or name a file that ends in .csv'
        ) from error
    files.write_bytes(path, content.getvalue())
