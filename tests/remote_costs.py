"""What each stage costs a video, on disk and in a store: `python tests/remote_costs.py [VIDEOS]` prints the table.

The store is moto's on loopback, so its seconds say little; requests and bytes are those that any store would see.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time

from remote_store import BUCKET, Faults, store_with_faults

from ovsbench.benchmark.storage.remote import place

STAGES = {
    "build": "data build world -o {0}/world --videos {1} --frames 24 --size 160x96",
    "run and score, gkc-world": "run {0}/world -m gkc -c gkc-world -o {0}/gkc --threads 1 --device cpu -j 1",
    "score alone": "score {0}/gkc -j 1",
}


def measured(command: str, faults: Faults, folder: str) -> list[float]:
    """Seconds on the clock and of the processor, requests by kind, and bytes, of a command of the suite."""
    if command.startswith("score"):
        for name in ("counts.jsonl", "scores.json"):
            (place(command.split()[1]) / name).unlink()
    faults.requests.clear()
    begin, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "ovsbench", *command.split()], cwd=folder, check=True, capture_output=True)
    spent, after = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    kinds = ("PUT", "GET", "HEAD", "list", "POST", "up", "down")
    return [spent, cpu, *(float(faults.requests[kind]) for kind in kinds)]


def main(videos: int) -> None:
    print("| stage | clock s | CPU s | PUT | GET | HEAD | list | delete | KB up | KB down |")
    print("| --- " * 10 + "|")
    with store_with_faults() as (address, faults), tempfile.TemporaryDirectory() as folder:
        os.environ |= {"AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key",
                       "AWS_DEFAULT_REGION": "us-east-1", "OMP_NUM_THREADS": "1"}  # fmt: skip
        for where, root in (("disk", f"{folder}/disk"), ("store", f"s3://{BUCKET}/costs")):
            few, many = {}, {}
            for count, found in ((videos // 4, few), (videos, many)):
                for stage, command in STAGES.items():
                    found[stage] = measured(command.format(f"{root}{count}", count), faults, folder)
            for stage in STAGES:  # of one more video: the difference leaves out what a command costs at all
                each = [(b - a) / (videos - videos // 4) for a, b in zip(few[stage], many[stage], strict=True)]
                each[-2:] = [size / 1024 for size in each[-2:]]
                print(f"| {stage}, {where} | " + " | ".join(f"{value:.2f}" for value in each) + " |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 16)
