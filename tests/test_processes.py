from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import sys, time
from pathlib import Path
from ovsbench.benchmark.processes import process_pool

def work(folder, number):
    (Path(folder) / str(number)).touch()
    time.sleep(120)

if __name__ == "__main__":
    try:
        with process_pool(2) as pool:
            waiting = [pool.submit(work, sys.argv[1], number) for number in range(4)]
            waiting[0].result()
    except KeyboardInterrupt:
        print("stopped")
        sys.exit(130)
"""


@pytest.mark.slow
@pytest.mark.parametrize("started", [1, 2])
def test_ctrl_c_ends_every_process_at_once_and_only_the_parent_answers(tmp_path: Path, started: int) -> None:
    (tmp_path / "work.py").write_text(SCRIPT)
    (tmp_path / "done").mkdir()
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "work.py"), str(tmp_path / "done")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "done").iterdir())) < started and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(parent.pid, signal.SIGINT)  # as a terminal does it: to all of them
    stdout, stderr = parent.communicate(timeout=60)
    assert (parent.returncode, stdout, stderr) == (130, "stopped\n", "")


AMID_A_RESULT = """
import sys, time
from multiprocessing.connection import Connection
from pathlib import Path
from ovsbench.benchmark.processes import process_pool

def work(mark):
    def half(self, data):
        real(self, data[: len(data) // 2])
        Path(mark).touch()
        time.sleep(120)

    real, Connection._send = Connection._send, half
    return bytes(1000)

if __name__ == "__main__":
    try:
        with process_pool(1) as pool:
            pool.submit(work, sys.argv[1])
            while not Path(sys.argv[1]).exists():
                time.sleep(0.01)
            time.sleep(0.5)  # until the pool awaits the other half
            raise ValueError("enough")
    except ValueError as error:
        print(error)
"""


def test_a_process_that_is_stopped_amid_its_result_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(AMID_A_RESULT)
    command = [sys.executable, str(tmp_path / "work.py"), str(tmp_path / "mark")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "enough\n", "")
