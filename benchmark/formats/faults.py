"""All that is wrong with a set of files, told at once: a person who mends files wants the whole list."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ovsbench.benchmark.errors import DataError

SHOWN = 20
MOST = 1000
"""Faults after which nothing more is read: such files are of another kind, and the rest would only take time."""


class TooManyFaultsError(DataError):
    """There are more than `MOST` faults; it is not noted as one more, and ends the work."""


class LeftOutError(Exception):
    """Leaves the writer of a video without keeping what it wrote; the reasons were noted already."""


class Faults:
    """Collects sentences; keeps the first few and counts the rest.

    >>> faults = Faults()
    >>> faults.add("frame 3 is missing")
    >>> faults.count
    1
    """

    def __init__(self) -> None:
        self.count = 0
        self._first: list[str] = []

    def add(self, sentence: str) -> None:
        """Notes one fault.

        Raises:
            TooManyFaultsError: there were `MOST` before.
        """
        self.count += 1
        if len(self._first) < SHOWN:
            self._first.append(sentence)
        self._limit()

    def absorb(self, other: Faults) -> None:
        """Takes over what another collection noted; errors as of `add`."""
        self._first = [*self._first, *other._first][:SHOWN]
        self.count += other.count
        self._limit()

    def _limit(self) -> None:
        if self.count > MOST:
            listed = "\n  ".join(self._first)
            raise TooManyFaultsError(f"more than {MOST} faults; what comes after them was not read\n  {listed}")

    @contextlib.contextmanager
    def collecting(self) -> Iterator[None]:
        """Notes a `DataError` of the block and goes on after it; also after a video that was left out."""
        try:
            yield
        except TooManyFaultsError:
            raise
        except DataError as error:
            self.add(str(error))
        except LeftOutError:
            pass

    def stop(self, what: str, advice: str) -> None:
        """Ends the work if anything was noted.

        Args:
            what: the files, for the head of the message.
            advice: what to do next, a sentence without a full stop.

        Raises:
            DataError: there is a fault.
        """
        if not self.count:
            return
        more = f"\n  ... and {self.count - SHOWN} more" if self.count > SHOWN else ""
        faults = "1 fault" if self.count == 1 else f"{self.count} faults"
        raise DataError(f"{what}: {faults}. {advice}\n  " + "\n  ".join(self._first) + more)
