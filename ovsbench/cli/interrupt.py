"""Ctrl-C while the command is still importing: one sentence and exit code 130, as later on."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType, TracebackType

_SENTENCE = b"interrupted: nothing was begun; run the same command again\n"


def _end(number: int, frame: FrameType | None) -> None:
    """Ends the process here and now: modules amid their import may catch a KeyboardInterrupt and go on."""
    os.write(2, _SENTENCE)
    os._exit(130)  # an uncaught Ctrl-C would end the process by its signal, which scripts cannot tell from a crash


def _say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        _end(signal.SIGINT, None)
    sys.__excepthook__(kind, error, trace)


def install() -> None:
    """From now on a Ctrl-C ends so, and one that nothing catches also later."""
    sys.excepthook = _say
    processes = sys.modules.get("multiprocessing")  # imported already in a process that it has started, and dear else
    is_worker = processes is not None and processes.parent_process() is not None
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler and not is_worker:
        signal.signal(signal.SIGINT, _end)


def imports_are_done() -> None:
    """From now on a Ctrl-C is a KeyboardInterrupt again, which verbs answer."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)
