"""Files of other people: the official layouts of data sets, read as benchmarks and runs, and runs written back."""

from __future__ import annotations

from typing import Literal, get_args

Format = Literal["vipseg", "vspw", "ytvis", "sacoveval", "burst"]
FORMATS: tuple[str, ...] = get_args(Format)
LabelForm = Literal["released", "shifted"]
LABEL_FORMS: tuple[str, ...] = get_args(LabelForm)

__all__ = ["FORMATS", "LABEL_FORMS", "Format", "LabelForm"]
