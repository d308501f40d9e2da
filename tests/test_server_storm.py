"""The storm and the load of a server in a short form; `server_storm.py` and `server_load.py` have the long ones."""

from __future__ import annotations

import pytest

pytest.importorskip("fastapi", reason="the extra server is not installed")

from server_farm import OVSBENCH, farm, state_of, submission
from server_load import load
from server_storm import storm

pytestmark = pytest.mark.slow


def test_kills_of_every_process_lose_nothing_and_score_nothing_twice(tmp_path):
    found = storm(tmp_path, kills=12, teams=2, each=1, interval=0.6)
    assert found.problems == []
    assert found.kills.total() >= 12
    assert (found.accepted, found.failed) == (2, 2)


def test_teams_that_send_at_once_lose_nothing(tmp_path):
    found = load(tmp_path, teams=4, megabytes=10)
    assert found.problems == []
    assert found.accepted == 4
    assert found.page_milliseconds, "pages are answered meanwhile; server_load.py says how fast"


def test_a_second_server_on_one_folder_is_told_in_a_sentence_and_the_first_goes_on(tmp_path):
    import subprocess

    made = farm(tmp_path)
    bundle, _ = submission(tmp_path, made.benchmark, "a")
    with made.running():
        command = [*OVSBENCH, "server", "run", str(made.folder.path)]
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (second.returncode, "is at work in this folder already" in second.stderr) == (1, True)
        told = made.server("team 0").send(bundle, "boxes-val")
        *_, last = made.server("team 0").watch(told["id"])
    assert last["state"] == "scored"
    assert [row["state"] for row in state_of(made).values()] == ["scored"]
