"""The lines of `counts.jsonl`, cut at their metrics; the counts of each are decoded when they are asked for.

A comparison asks for a third of what a line holds, and the rest is never decoded. A line that is not written as a run's
files are is decoded whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.metrics import Counts, Metric, VideoCounts
from ovsbench.benchmark.running.counting import CountedVideo, readable
from ovsbench.benchmark.storage.files import parse_json, whole_lines
from ovsbench.benchmark.storage.text_files import no_collection
from ovsbench.benchmark.types import Rules

_START = b'{"counts":{'
_NAME = re.compile(rb'"([^"]+)":\{')


def read_stored(path: Path, rules: Rules, versions: Mapping[str, int]) -> dict[str, VideoCounts]:
    """The counts of each video of a file, by its id.

    Args:
        path: `counts.jsonl` of a run.
        rules: of the benchmark.
        versions: of the metrics that made the counts; those of another version are lacking.

    Raises:
        DataError: a line is damaged; counts that are damaged raise it when they are asked for.
    """
    found: dict[str, VideoCounts] = {}
    for line in whole_lines(path):
        try:
            parts, rest = cut(line) or ({}, line)
            facts = parse_json(rest)
            if parts:
                found[facts["video"]] = StoredCounts(parts, dict(readable(parts, rules, versions)), path)
            else:
                found[facts["video"]] = CountedVideo.from_json(facts, rules, path, versions).counts
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(path, error) from error
    return found


def cut(line: bytes) -> tuple[dict[str, bytes], bytes] | None:
    """The JSON of each metric's counts, and the line without them; None if it is not written as a run's files are.

    Without a backslash no string has a quote in it, so that a name between quotes is one; a brace within a string is
    seen by what it leaves open.

    >>> cut(b'{"counts":{"a":{"1":{}},"b":{}},"key":"k"}')
    ({'a': b'{"1":{}}', 'b': b'{}'}, b'{"key":"k"}')
    """
    if not line.startswith(_START) or b"\\" in line:
        return None
    parts: dict[str, bytes] = {}
    place = len(_START)
    while (found := _NAME.match(line, place)) is not None:
        begin = found.end() - 1
        end = _end(line, begin)
        parts[found[1].decode()] = line[begin:end]
        if line[end : end + 2] == b"},":
            return parts, b"{" + line[end + 2 :]
        if line[end : end + 1] != b",":
            break
        place = end + 1
    return None


def _end(line: bytes, begin: int) -> int:
    """Where the object ends that begins here.

    Raises:
        ValueError: it does not end.
    """
    depth, at = 1, begin + 1
    while depth:
        brace = line.index(b"}", at)
        depth += line.count(b"{", at, brace) - 1
        at = brace + 1
    return at


class StoredCounts(MutableMapping[str, Counts]):
    """Counts by the name of the metric.

    Args:
        parts: JSON of the counts of each.
        metrics: that read them; those of others stay unread.
        path: of the file, for messages.
    """

    def __init__(self, parts: Mapping[str, bytes], metrics: Mapping[str, Metric], path: Path) -> None:
        self._parts, self._metrics, self._path = parts, dict(metrics), path
        self._decoded: dict[str, Counts] = {}

    def __getitem__(self, name: str) -> Counts:
        """The counts of a metric.

        Raises:
            DataError: they are damaged.
        """
        if name not in self._decoded:
            metric = self._metrics[name]
            try:
                with no_collection():
                    self._decoded[name] = metric.counts_from_json(parse_json(self._parts[name]))
            except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
                raise _damaged(self._path, error) from error
        return self._decoded[name]

    def __setitem__(self, name: str, counts: Counts) -> None:
        raise TypeError("counts of a run are not changed")

    def __delitem__(self, name: str) -> None:
        del self._metrics[name]
        self._decoded.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._metrics)

    def __len__(self) -> int:
        return len(self._metrics)


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: a line is no counts of a video: {error!r}. Score the run again")
