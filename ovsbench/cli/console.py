"""What the verbs print: results to stdout, complaints to stderr, colour only on a terminal."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.progress import Report
from ovsbench.benchmark.progress import plural as plural

if TYPE_CHECKING:
    from ovsbench.plans.suite_run import Outcome

from ovsbench.benchmark.visible_text import visible

QUIET, VERBOSE = "OVSBENCH_QUIET", "OVSBENCH_VERBOSE"
"""Variables of the environment that `-q` and `-v` set, and that a person may set for good."""
WARNINGS = ("WARNING: ", "note: ")
"""Begin the lines about work that are no progress."""
WIDTH_WITHOUT_TERMINAL = 200
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


def complain(text: str) -> None:
    """One line on stderr."""
    print(f"{visible(text)}\n", end="", file=sys.stderr, flush=True)


def say(text: str = "") -> None:
    """One line on stdout, written at once: who reads it may close the pipe before a line end of its own would come."""
    print(f"{visible(text)}\n", end="", flush=True)


def say_served(where: str) -> None:
    """Where a server answers, which a program may read as the first line and then close the pipe."""
    say(f"Result: {where}\nStop it with Ctrl-C")


def reporting(as_json: bool) -> Report:
    """Where lines about work go: to stdout, or to stderr where that is for JSON alone; `-q` keeps warnings, there."""
    if os.environ.get(QUIET):
        return _complain_of_warnings
    return complain if as_json else say


def _complain_of_warnings(line: str) -> None:
    if line.startswith(WARNINGS):
        complain(line)


def print_json(value: Any) -> None:
    """The one thing on stdout of a verb that was asked for `--json`."""
    say(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False))


@contextlib.contextmanager
def whole_output() -> Iterator[None]:
    """Ends the command with a sentence where stdout is closed or full; what its encoding lacks is escaped."""
    if sys.stdout is None:
        complain("error: the standard output is closed, so no result can be printed. Redirect it, such as to /dev/null")
        raise SystemExit(1)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # who read it has seen enough
        _close_stdout()
        raise SystemExit(1) from None
    except OSError as error:
        if error.filename is not None or error.errno not in _NO_ROOM:  # files are written under `files.writing`
            raise
        _close_stdout()
        complain(f"error: the standard output cannot be written: {error.strerror}. Make room and run again")
        raise SystemExit(1) from None


def _close_stdout() -> None:
    """Lets what is not written yet go nowhere, or the interpreter would complain of it as it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1) -> None:
    """A table on stdout.

    Args:
        title: printed above.
        columns: the heads.
        rows: the cells.
        words: how many columns, from the left, hold words; the others hold numbers and go to the right.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(Text(column), justify="left" if i < words else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH_WITHOUT_TERMINAL, no_color=True)
    if title:
        console.print(Text(visible(title), style="bold"), soft_wrap=True)
    console.print(table)


def advise(line: str) -> None:
    """A line that `ovsbench -q` leaves out."""
    if not os.environ.get(QUIET):
        say(line)


def finish(where: Path | str, *commands: Sequence[object]) -> None:
    """The last lines of every verb: where the result lies and what to type next."""
    advise(f"Result: {where}")
    for number, command in enumerate(commands):
        advise(("Next:   " if number == 0 else "        ") + shlex.join(map(str, command)))


def fraction(value: float | None) -> str:
    """A score for the terminal: a fraction with four digits, or a dash where it is undefined.

    >>> fraction(0.61234), fraction(None)
    ('0.6123', '-')
    """
    return "-" if value is None else f"{value:.4f}"


def finish_tables(done: Outcome, title: str, seconds: float, as_json: bool) -> None:
    """The tables of a suite or an ablation, and where they are."""
    if as_json:
        say(done.files[2].read_text(encoding="utf-8").rstrip() if done.tables else '{"tables": []}')
    elif done.tables:
        say("\n".join(done.tables))
        say(f"{title} took {seconds:.0f} s")
        finish(", ".join(map(str, done.files)), ["ovsbench", "show", *done.runs[:2]])


def refuse_faults(faults: Mapping[str, str], count: int, noun: str, outcome: str) -> None:
    """The end of a verb some of whose tasks failed.

    Raises:
        UserError: there is a fault.
    """
    if faults:
        lines = "\n".join(f"  {name}: {fault}" for name, fault in faults.items())
        raise UserError(
            f"{plural(len(faults), noun)} of {count} failed{outcome}:\n{lines}\n"
            "Correct them and give the same command again; what is finished is kept"
        )
