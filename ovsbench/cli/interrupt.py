"""Ctrl-C while the command is still importing: one sentence and exit code 130, as later on."""

from __future__ import annotations

import os
import sys
from types import TracebackType


def _say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    sys.stdout.flush()
    sys.stderr.write("interrupted: nothing was begun; run the same command again\n")
    sys.stderr.flush()
    os._exit(130)  # an uncaught Ctrl-C would end the process by its signal, which scripts cannot tell from a crash


def install() -> None:
    """From now on a Ctrl-C that nothing catches ends so."""
    sys.excepthook = _say
