"""What a worker and its scoring process tell each other: what is to be scored, and what it came to."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from ovsbench.benchmark.settings import UNTRUSTED
from ovsbench.benchmark.types import Offer

JOB = "job.json"
OUTCOME = "outcome.json"
RUN = "run"
MOST_BYTES = 16 << 20


@dataclass(frozen=True)
class ScoringJob:
    """What is to be scored.

    Attributes:
        bundle: the zip file.
        benchmark: the benchmark folder, with labels.
        memory: bytes.
        seconds: of the processor.
    """

    bundle: str
    benchmark: str
    memory: int
    seconds: int


@dataclass(frozen=True)
class Outcome:
    """Scores, or why there are none.

    Attributes:
        words: why there are none, "" where there are some.
        title: what the card calls the method.
        method: name of the method in the run's record.
        offered: the part of the vocabulary that was offered.
        ranked_by: the score that ranks, as in "mIoU.harmonic".
        left_out: that score, then without each video, see `summary.pack`; never shown, ranks come of it.
        values: value to group to fraction.
        categories: category to value to fraction.
        metrics: name and version of each metric.
        scores_sha256, counts_sha256: of the two files.
        version: of ovsbench.
        seconds: that it took, start of the process included.
        has_network: whether the process could not be cut off from the network.
    """

    words: str = ""
    title: str = ""
    method: str = ""
    offered: Offer = "all"
    ranked_by: str = ""
    left_out: str = ""
    values: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    categories: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    metrics: Mapping[str, int] = field(default_factory=dict)
    scores_sha256: str = ""
    counts_sha256: str = ""
    version: str = ""
    seconds: float = 0.0
    has_network: bool = False

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True, ensure_ascii=False, allow_nan=False)

    @staticmethod
    def from_json(text: str | bytes) -> Outcome:
        """Reads it back.

        Raises:
            UserError, ValueError: it is none.
        """
        content = json.loads(text)
        left_out = content.pop("left_out", "")  # longer than a line of text may be
        if not isinstance(left_out, str):
            raise ValueError("left_out is no text")
        return dataclasses.replace(UNTRUSTED.table(Outcome, content, OUTCOME), left_out=left_out)
