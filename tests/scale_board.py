"""How long a board of 1,000 entries takes: 343 videos, 124 classes. Not collected by pytest; run it by hand:

python tests/scale_board.py FOLDER [ENTRIES]

A few runs are counted for real on small random frames; every entry is one of them with its scores moved a little.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np

from ovsbench.benchmark.record import RunRecord, Timing
from ovsbench.benchmark.running.scores import scores_of
from ovsbench.benchmark.timing.compare_bench import counted, made_up
from ovsbench.leaderboard import entries
from ovsbench.leaderboard.bundle.pack import json_bytes
from ovsbench.leaderboard.site.render import write_site
from ovsbench.leaderboard.summary import summarise, to_json
from ovsbench.leaderboard.verified import Verified

VIDEOS, RUNS = 343, 2


def write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content))  # on one line: indented JSON takes far longer to write


def fill(board: Path, count: int) -> None:
    benchmark, rng = made_up(VIDEOS), np.random.default_rng(0)
    board.mkdir(parents=True)
    (board / "scale").mkdir()
    (board / "scale" / f"benchmark-{benchmark.digest[:12]}.json").write_bytes(json_bytes(benchmark.definition))
    runs = []
    for seed in range(RUNS):
        counts, content = counted(benchmark, seed)
        (board / f".counts-{seed}.jsonl").write_bytes(content)
        sha = hashlib.sha256(content).hexdigest()
        scores = {"schema": 1, **dataclasses.asdict(scores_of(benchmark, counts, counts_sha256=sha))}
        summary = summarise(benchmark, counts, sha)
        (board / entries.SUMMARIES).mkdir(exist_ok=True)
        write(board / entries.SUMMARIES / f"{summary.key}.json", to_json(summary))
        runs.append((scores, sha))
        print(f"run {seed}: counts of {len(content) / 1e6:.1f} MB", flush=True)
    for number in range(count):
        plain_scores, sha = runs[number % RUNS]
        folder = board / "scale" / f"method-{number // 10}" / f"entry-{number}"
        folder.mkdir(parents=True)
        factor = float(rng.uniform(0.5, 1.0))
        moved = {
            name: {part: None if v is None else v * factor for part, v in by.items()}
            for name, by in plain_scores["values"].items()
        }
        write(folder / "scores.json", {**plain_scores, "values": moved})
        os.link(board / f".counts-{number % RUNS}.jsonl", folder / "counts.jsonl")
        device = f"device {number % 4}"
        RunRecord(
            f"method-{number // 10}", "scale", "1", benchmark.digest, "", "all",
            tuple(c.name for c in benchmark.vocabulary), benchmark.vocabulary.digest, device=device, device_name=device,
            timing=Timing(100, float(rng.uniform(1, 100))), peak_memory_gb=float(rng.uniform(0.5, 20)),
        ).write(folder)  # fmt: skip
        (folder / "card.toml").write_text(
            f'name = "entry {number}"\ntitle = "Made up"\nauthors = ["Nobody"]\nsaw_novel = "images"\n'
            f'trained_on = ["set {number % 7}"]\n'
        )
        mark = Verified("counts", sha, benchmark.digest, "all", "", (), "", "2000-01-01T00:00:00+00:00", "0")
        write(folder / "verified.json", {"schema": 1, **vars(mark), "warnings": []})


def main(folder: Path, count: int) -> None:
    board, site = folder / "entries", folder / "site"
    if not board.exists():
        begin = time.perf_counter()
        fill(board, count)
        print(f"{count} entries made in {time.perf_counter() - begin:.0f} s", flush=True)
    begin, cpu = time.perf_counter(), time.process_time()
    rows = entries.read_rows(board)
    print(f"{len(rows)} rows read in {time.perf_counter() - begin:.1f} s", flush=True)
    write_site(rows, site)
    print(f"site built in {time.perf_counter() - begin:.1f} s, {time.process_time() - cpu:.1f} s of one core")
    for page in ("index.html", "benchmarks/scale.html", "compare.html", "leaderboard.csv"):
        print(f"{page}: {(site / page).stat().st_size / 1e6:.3f} MB")
    total = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    print(f"whole site: {total / 1e6:.0f} MB; peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1000)
