"""Whether libraries may reach a hub: never, but while weights that were named are being fetched."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator

OFFLINE = "OVSBENCH_OFFLINE"
"""What the user wants, kept here while `HF_HUB_OFFLINE` is set for all libraries; children inherit it."""
_TRUE = ("1", "ON", "YES", "TRUE")


def close() -> None:
    """Lets no library reach a hub from here on; for a command, before any of them is imported."""
    os.environ.setdefault(OFFLINE, os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or "0")
    os.environ["HF_HUB_OFFLINE"] = "1"


@contextlib.contextmanager
def connection(*, is_open: bool) -> Iterator[bool]:
    """Opens or closes the way to a hub for the block; what the user set stays: who is offline stays so.

    Yields:
        Whether it is open.
    """
    if importlib.util.find_spec("huggingface_hub") is None:
        yield False
        return
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    wished = os.environ.get(OFFLINE)
    is_offline = before if wished is None else wished.upper() in _TRUE
    constants.HF_HUB_OFFLINE = is_offline or not is_open
    try:
        yield not constants.HF_HUB_OFFLINE
    finally:
        constants.HF_HUB_OFFLINE = before
