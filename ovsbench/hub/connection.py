"""Whether libraries may reach a hub: never, but while weights that were named are being fetched."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import threading
from collections.abc import Iterator

OFFLINE = "OVSBENCH_OFFLINE"
"""What the user wants, kept here while `HF_HUB_OFFLINE` is set for all libraries; children inherit it."""
_TRUE = ("1", "ON", "YES", "TRUE")


def close() -> None:
    """Lets no library reach a hub from here on; for a command, before any of them is imported."""
    os.environ.setdefault(OFFLINE, os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or "0")
    os.environ["HF_HUB_OFFLINE"] = "1"


_closed: list[str] = []  # reasons of the blocks that are open now
_one_at_a_time = threading.RLock()  # threads would put back what another one has set


@contextlib.contextmanager
def connection(refused: str = "") -> Iterator[str]:
    """Opens the way to a hub for the block, or with a reason closes it, for blocks within this one too.

    Args:
        refused: why nothing may be fetched; "" where it may. Who set HF_HUB_OFFLINE stays offline anyway.

    Yields:
        Why the way is closed; "" where it is open.
    """
    if importlib.util.find_spec("huggingface_hub") is None:
        yield "huggingface_hub is not installed"
        return
    from huggingface_hub import constants

    with _one_at_a_time:
        before, wished = constants.HF_HUB_OFFLINE, os.environ.get(OFFLINE)
        is_offline = before if wished is None else wished.upper() in _TRUE
        _closed.extend([refused] if refused else [])
        reason = "HF_HUB_OFFLINE is set" if is_offline and not _closed else "".join(_closed[:1])
        constants.HF_HUB_OFFLINE = bool(reason)
        try:
            yield reason
        finally:
            constants.HF_HUB_OFFLINE = before
            if refused:
                _closed.pop()
