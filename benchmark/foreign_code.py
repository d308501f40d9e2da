"""What code that is not ours did wrong, in half a sentence."""

from __future__ import annotations

import traceback
from pathlib import Path

_OURS = Path(__file__).parent


def misdeed(error: BaseException) -> str:
    """What happened, and where in the foreign code; to be put into a sentence that says what to do.

    >>> misdeed(SystemExit(0)), misdeed(KeyError("dog"))
    ('the method ended the program', "the method raised KeyError: 'dog'")
    """
    if isinstance(error, ModuleNotFoundError):
        what = f"the method needs the module {error.name}, which is not installed"
    elif isinstance(error, SystemExit):
        what = "the method ended the program"
    else:
        what = f"the method raised {type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    if not frames or Path(frames[-1].filename).is_relative_to(_OURS) or isinstance(error, SyntaxError):
        return what  # nobody can mend it there, or the message says where itself
    return f"{what} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"
