"""JSON files of predictions, written by other people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.storage.text_files import MOST_BYTES, no_collection, read_text


def read_raw(path: Path) -> Any:
    """The content of a JSON file of other people.

    Raises:
        DataError: it is missing, larger than `MOST_BYTES`, cut off or no JSON.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataError(
                f"{path}: expected JSON of at most {MOST_BYTES >> 20} MB, as it is read into memory, got "
                f"{path.stat().st_size >> 20} MB. Keep the 100 best tracks of each video, or write masks as text"
            )
        text = read_text(path)
        with no_collection():
            return json.loads(text)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}. Check the path") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: expected JSON, got an error: {error}. The file may have been cut off") from error
    except RecursionError:
        raise DataError(f"{path}: expected JSON, got brackets that are nested too deeply. Write it again") from None
    except ValueError as error:
        raise DataError(f"{path}: expected JSON in UTF-8, got an error: {error}. Write it again") from error
