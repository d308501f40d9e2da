"""The two loops: `predict` fills a run folder with a method's predictions, `score` turns them into scores.

    run.json            where the numbers come from, see `ovsbench.benchmark.record`
    predictions/<video> see `ovsbench.benchmark.storage.store`
    timing.jsonl        one line a video; of shard 2 of 4: timing-2-of-4.jsonl; on a cluster, each process its own
    counts.jsonl        one line a video, see `ovsbench.benchmark.running.counting`
    scores.json         see `ovsbench.benchmark.running.scores`

Both may be stopped at any moment, also by a power cut; run again they go on and end with the same bytes.
"""

from __future__ import annotations

from ovsbench.benchmark.running.oracle import OracleMethod
from ovsbench.benchmark.running.predicting import predict, predict_on
from ovsbench.benchmark.running.scoring import score

__all__ = ["OracleMethod", "predict", "predict_on", "score"]
