"""The evaluation server: quotas, leases, uploads, what is shown to whom, receipts, the journal, administration."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

pytest.importorskip("fastapi", reason="the extra server is not installed")
pytest.importorskip("httpx", reason="httpx, which drives the application, is not installed")

from conftest import Guess
from server_farm import POSTGRES, Farm, farm, postgres, submission
from sqlalchemy import select
from starlette.testclient import TestClient

from ovsbench.benchmark import manifest
from ovsbench.benchmark.errors import DataError, UserError
from ovsbench.benchmark.types import PanopticFrame, Rules, Video, Vocabulary
from ovsbench.leaderboard import entries, signature
from ovsbench.leaderboard.bundle import archive
from ovsbench.leaderboard.bundle.pack import digest
from ovsbench.leaderboard.bundle.submission import check_submission
from ovsbench.leaderboard.server import accounts, admin, journal, phases, queue, receipts, reveal, uploads
from ovsbench.leaderboard.server.backup import copy_server
from ovsbench.leaderboard.server.database import Database, Event, Phase, Submission
from ovsbench.leaderboard.server.health import inspect
from ovsbench.leaderboard.server.outcome import JOB, OUTCOME, RUN, Outcome, ScoringJob
from ovsbench.leaderboard.server.publishing import export_phase
from ovsbench.leaderboard.server.refused import RefusedError
from ovsbench.leaderboard.server.rescoring import rescore
from ovsbench.leaderboard.server.scoring import scored as scored_outcome
from ovsbench.leaderboard.server.server_folder import open_folder
from ovsbench.leaderboard.server.web import guarded
from ovsbench.leaderboard.server.worker import Worker
from ovsbench.leaderboard.verify import verify

URL = "http://127.0.0.1"


class Lab:
    """A server that is driven in this process, and submissions to send to it."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.path = folder
        self.farm: Farm = farm(folder, teams=3, **options)
        self.app = guarded(self.farm.folder, self.farm.database)

    def client(self, team: str | None = "team 0") -> TestClient:
        headers = {"authorization": f"Bearer {self.farm.tokens[team]}"} if team else {}
        return TestClient(self.app, base_url=URL, headers=headers, raise_server_exceptions=False)  # type: ignore[arg-type]

    def page(self, team: str) -> Page:
        return Page(self, team)

    def bundle(self, name: str, seed: int = 0, **options: Any) -> Path:
        path = self.path / f"{name}.zip"
        return path if path.exists() else submission(self.path, self.farm.benchmark, name, seed, **options)[0]

    def send(self, bundle: Path, team: str = "team 0") -> Any:
        """Uploads in two parts; the last answer."""
        client, content = self.client(team), bundle.read_bytes()
        begun = client.post("/api/submissions", json=announced(bundle))
        if begun.status_code != 200 or begun.json()["state"] != "uploading":
            return begun
        place, half = f"/api/submissions/{begun.json()['id']}", len(content) // 2
        for at, part in ((0, content[:half]), (half, content[half:])):
            assert client.patch(place, content=part, headers={"upload-offset": str(at)}).status_code == 200
        return client.post(f"{place}/complete")

    def score(self, bundle: Path, team: str = "team 0") -> dict[str, Any]:
        """Uploads, scores, and shows the submission."""
        answer = self.send(bundle, team)
        assert answer.status_code == 200, answer.text
        while self.worker().work():
            continue
        shown: dict[str, Any] = self.client(team).get(f"/api/submissions/{answer.json()['id']}").json()
        return shown

    def worker(self, kind: type[Worker] | None = None) -> Worker:
        return (kind or InThisProcess)(self.farm.folder, self.farm.database, "worker-0")

    def row(self, submission: str) -> Submission:
        with self.farm.database.read() as session:
            return session.get_one(Submission, submission)

    def phase(self) -> Phase:
        with self.farm.database.read() as session:
            return phases.find(session, "boxes-val")


class InThisProcess(Worker):
    """A worker that scores in the process of the test, without limits: a new process takes seconds to start."""

    def _run(self, job: queue.Job, folder: Path) -> int:
        content = json.loads((folder / JOB).read_text())
        del content["schema"]
        (folder / OUTCOME).write_text(scored_outcome(ScoringJob(**content), folder / RUN).to_json())
        return 0


class Page:
    """Somebody who is logged in by a page."""

    def __init__(self, lab: Lab, team: str) -> None:
        self.client = lab.client(None)
        answer = self.client.post("/login", data={"token": lab.farm.tokens[team]}, follow_redirects=False)
        assert answer.status_code == 303, answer.text
        self.csrf = self.client.get("/me").text.partition('name="csrf" value="')[2].partition('"')[0]

    def post(self, path: str, files: Any = None, **form: str) -> Any:
        return self.client.post(path, data={"csrf": self.csrf, **form}, files=files, follow_redirects=False)


def announced(bundle: Path) -> dict[str, Any]:
    return {"phase": "boxes-val", "bytes": bundle.stat().st_size, "sha256": digest(bundle)}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A server for tests that leave their own submissions behind and no more."""
    return Lab(tmp_path_factory.mktemp("lab"))


@pytest.fixture
def own_lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


@pytest.fixture(scope="module")
def scored(lab: Lab) -> dict[str, Any]:
    return lab.score(lab.bundle("good", seed=1))


# scores


def test_the_score_of_a_hidden_set_is_the_local_one_to_the_bit(lab, scored):
    row = lab.row(scored["id"])
    kept = lab.farm.folder.results(row.id) / row.scores_sha256[:16]
    for name in ("scores.json", "counts.jsonl"):
        assert (kept / name).read_bytes() == (lab.path / "runs" / "good" / name).read_bytes()
    local = json.loads((lab.path / "runs" / "good" / "scores.json").read_text())["values"]
    assert Outcome.from_json(row.result).values == local


def test_a_bundle_with_forged_scores_gets_those_of_its_masks(lab, scored):
    bundle = lab.bundle("good")
    forged = lab.path / "forged.zip"
    with zipfile.ZipFile(bundle) as file:
        members = {name: file.read(name) for name in file.namelist()}
    members["scores.json"] = b'{"values": {"mIoU": {"all": 1.0}}}'
    archive.write(forged, iter(members.items()))
    assert lab.score(forged)["scores"] == scored["scores"]


DAMAGE = {
    "cut off": (lambda content: content[:-30], "cut off"),
    "a text": (lambda content: b"no zip at all", "no zip archive"),
    "a flipped byte": (lambda content: content[:3000] + bytes([content[3000] ^ 255]) + content[3001:], ""),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_bundle_fails_with_words_and_costs_no_quota(lab, kind):
    damage, words = DAMAGE[kind]
    path = lab.path / f"{kind}.zip"
    path.write_bytes(damage(lab.bundle("good").read_bytes()))
    before = lab.client().get("/api/me").json()["left"]
    shown = lab.score(path)
    assert shown["state"] == "failed"
    assert words in shown["words"]
    assert str(lab.path) not in shown["words"]
    assert lab.client().get("/api/me").json()["left"] == before


def test_a_mask_that_was_changed_after_it_was_written_is_refused_here_and_there(lab):
    bundle, changed = lab.bundle("good"), lab.path / "changed.zip"
    with zipfile.ZipFile(bundle) as file:
        members = {name: file.read(name) for name in file.namelist()}
    masks = sorted(name for name in members if name.endswith(".png"))
    members[masks[0]] = members[masks[1]]
    archive.write(changed, iter(members.items()))
    with pytest.raises(DataError, match="changed since they were written"):
        check_submission(changed)
    assert "changed since they were written" in lab.score(changed)["words"]


def test_a_name_that_leads_out_of_the_bundle_is_refused(lab):
    path = lab.path / "out.zip"
    with zipfile.ZipFile(lab.bundle("good")) as file:
        members = {name: file.read(name) for name in file.namelist()}
    archive.write(path, iter({**members, "predictions/../../private/key.pem": b"x"}.items()))
    assert "leads out of the bundle" in lab.score(path)["words"]


def test_another_benchmark_is_refused_by_its_digest(lab, tmp_path):
    from conftest import boxes

    other, _ = submission(tmp_path, boxes(tmp_path / "data", videos=2, frames=4), "other")
    with pytest.raises(DataError, match="expected the benchmark with digest"):
        check_submission(other, digest=lab.farm.benchmark.digest)
    assert "expected the benchmark with digest" in lab.score(other)["words"]


def test_a_submission_needs_no_labels_and_no_scores(lab, tmp_path):
    public = tmp_path / "public"
    phases.write_public_copy(lab.farm.benchmark, public)
    opened = manifest.load(public)
    assert opened.digest == lab.farm.benchmark.digest
    assert opened.hides_labels
    assert not (public / "labels").exists()
    with pytest.raises(DataError, match="stay with its host"):
        opened.labels("v0")
    assert opened.video("v0").read(0).shape == lab.farm.benchmark.video("v0").read(0).shape


# uploads


def test_an_upload_goes_on_where_it_ended(lab):
    bundle = lab.bundle("parts", seed=2)
    content, client = bundle.read_bytes(), lab.client()
    first = client.post("/api/submissions", json=announced(bundle)).json()
    place = f"/api/submissions/{first['id']}"
    client.patch(place, content=content[:100], headers={"upload-offset": "0"})
    again = client.post("/api/submissions", json=announced(bundle)).json()
    assert (again["id"], again["offset"]) == (first["id"], 100)
    wrong = client.patch(place, content=content[50:], headers={"upload-offset": "50"})
    assert wrong.status_code == 409
    assert "begins at 100" in wrong.json()["error"]
    assert client.post(f"{place}/complete").status_code == 409
    assert client.patch(place, content=content[100:], headers={"upload-offset": "100"}).status_code == 200
    assert client.post(f"{place}/complete").json()["state"] == "queued"
    assert client.post(f"{place}/complete").json()["state"] == "queued"


def test_other_bytes_than_announced_are_not_accepted(lab):
    bundle, client = lab.bundle("good"), lab.client("team 1")
    wrong = {**announced(bundle), "sha256": "0" * 64}
    place = f"/api/submissions/{client.post('/api/submissions', json=wrong).json()['id']}"
    client.patch(place, content=bundle.read_bytes(), headers={"upload-offset": "0"})
    answer = client.post(f"{place}/complete")
    assert (answer.status_code, "another sha256" in answer.json()["error"]) == (409, True)
    assert client.get(place).json()["offset"] == 0


def test_more_bytes_than_announced_are_refused_while_they_come(lab):
    bundle, client = lab.bundle("good"), lab.client("team 1")
    small = {**announced(bundle), "sha256": "1" * 64, "bytes": 10}
    place = f"/api/submissions/{client.post('/api/submissions', json=small).json()['id']}"
    answer = client.patch(place, content=b"x" * 5_000_000, headers={"upload-offset": "0"})
    assert answer.status_code == 413
    assert lab.farm.folder.part(place.rpartition("/")[2]).stat().st_size <= 10


ODD = [b"", b"[]", b"{", b'{"phase": "boxes-val"}', b"\xff", b'{"phase":"x","bytes":1e999,"sha256":""}',
       b'{"phase": "boxes-val", "bytes": -1, "sha256": "' + b"a" * 64 + b'"}',
       b'{"phase": "boxes-val", "bytes": true, "sha256": "' + b"a" * 64 + b'"}',
       b'{"phase": "\\ud800", "bytes": 1, "sha256": "' + b"a" * 64 + b'"}', b"[" * 100_000]  # fmt: skip


@pytest.mark.parametrize("body", ODD, ids=range(len(ODD)))
def test_an_odd_request_is_refused_in_a_sentence(lab, body):
    answer = lab.client().post("/api/submissions", content=body)
    assert 400 <= answer.status_code < 500
    assert answer.json()["error"]


def test_a_body_that_is_too_long_is_refused(lab):
    assert lab.client().post("/api/submissions", content=b" " * 200_000).status_code == 413


def test_a_full_disk_keeps_what_came(lab, monkeypatch):
    bundle, client = lab.bundle("disk", seed=3), lab.client("team 1")
    place = f"/api/submissions/{client.post('/api/submissions', json=announced(bundle)).json()['id']}"
    client.patch(place, content=bundle.read_bytes()[:100], headers={"upload-offset": "0"})

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    class Full:
        write, close = full, lambda self: None

    with monkeypatch.context() as patch:
        patch.setattr(uploads.Uploads, "_open_part", lambda *_: Full())
        answer = client.patch(place, content=bundle.read_bytes()[100:], headers={"upload-offset": "100"})
    assert (answer.status_code, "disk of the server is full" in answer.json()["error"]) == (507, True)
    assert client.get(place).json()["offset"] == 100
    assert client.patch(place, content=bundle.read_bytes()[100:], headers={"upload-offset": "100"}).status_code == 200
    assert client.post(f"{place}/complete").json()["state"] == "queued"


# quotas


def test_quotas_hold_and_failures_are_free(tmp_path):
    lab = Lab(tmp_path, per_day=1, total=2)
    bad = tmp_path / "bad.zip"
    bad.write_bytes(b"PK no")
    assert lab.score(bad)["state"] == "failed"
    assert lab.score(lab.bundle("a"))["state"] == "scored"
    second = lab.send(lab.bundle("b", seed=1))
    assert (second.status_code, "submissions of today" in second.json()["error"]) == (429, True)
    assert lab.send(lab.bundle("a")).json()["state"] == "scored", "the same bytes again are the same submission"
    with lab.farm.database.write() as session:
        session.scalars(select(Submission).where(Submission.state == "scored")).one().accepted = "2026-01-01T00:00"
    assert lab.score(lab.bundle("b", seed=1))["state"] == "scored"
    with lab.farm.database.write() as session:
        for row in session.scalars(select(Submission).where(Submission.state == "scored")):
            row.accepted = "2026-01-01T00:00"
    assert "all 2 submissions" in lab.send(lab.bundle("c", seed=2)).json()["error"]
    with lab.farm.database.write() as session:
        admin.act(session, {"action": "quota", "name": "TEAM 0", "phase": "boxes-val", "per_day": "5", "total": "3"})
    assert lab.send(lab.bundle("c", seed=2)).json()["state"] == "queued"


def test_two_uploads_that_end_at_once_do_not_share_the_last_of_a_quota(tmp_path):
    lab = Lab(tmp_path, per_day=1, total=1)
    client, places = lab.client(), []
    for number in range(2):
        bundle = lab.bundle(f"r{number}", seed=number)
        place = f"/api/submissions/{client.post('/api/submissions', json=announced(bundle)).json()['id']}"
        client.patch(place, content=bundle.read_bytes(), headers={"upload-offset": "0"})
        places.append(place)
    answers = [client.post(f"{place}/complete").status_code for place in places]
    assert answers == [200, 429]


def test_what_is_withdrawn_unscored_is_free_and_what_was_scored_is_not(own_lab):
    lab = own_lab
    first = lab.send(lab.bundle("a")).json()["id"]
    lab.client().post(f"/api/submissions/{first}/withdraw")
    assert lab.client().get("/api/me").json()["left"]["boxes-val"]["total"] == 100
    assert not lab.worker().work()
    second = lab.score(lab.bundle("b", seed=1))["id"]
    lab.client().post(f"/api/submissions/{second}/withdraw")
    assert lab.client().get("/api/me").json()["left"]["boxes-val"]["total"] == 99


def test_a_phase_takes_nothing_before_it_opens_and_after_it_closes(own_lab):
    lab = own_lab
    with lab.farm.database.write() as session:
        phases.find(session, "boxes-val").opens = "2999-01-01"
    assert "takes no submissions now" in lab.send(lab.bundle("a")).json()["error"]
    with lab.farm.database.write() as session:
        phases.find(session, "boxes-val").opens = "2000-01-01"
        phases.close(session, "boxes-val")
    assert lab.send(lab.bundle("a")).status_code == 409


# leases


def test_a_job_of_a_dead_worker_goes_to_the_next_one_and_ends_once(own_lab, monkeypatch):
    lab = own_lab
    monkeypatch.setattr(queue, "LEASE_SECONDS", 0.05)
    identity = lab.send(lab.bundle("a")).json()["id"]
    dead = queue.claim(lab.farm.database, "worker-9:1:x", queue.Watch())
    assert dead is not None
    other = lab.worker()
    assert not other.work(), "its beat was only just seen"
    time.sleep(0.1)
    assert other.work()
    assert not queue.beat(lab.farm.database, dead)
    queue.fail(lab.farm.database, dead, "too late")
    row = lab.row(identity)
    assert (row.state, row.attempts, row.words) == ("scored", 2, "")
    assert not inspect(lab.farm.folder, lab.farm.database).problems


def test_a_beat_keeps_a_lease_whatever_the_clock_of_the_wall_does(own_lab, monkeypatch):
    lab = own_lab
    monkeypatch.setattr(queue, "LEASE_SECONDS", 0.2)
    lab.send(lab.bundle("a"))
    job, watch = queue.claim(lab.farm.database, "worker-9:1:x", queue.Watch()), queue.Watch()
    for jump in (0, 10**6, -(10**6), 0):
        monkeypatch.setattr(time, "time", lambda jump=jump: 1e9 + jump)
        assert queue.beat(lab.farm.database, job)
        assert queue.claim(lab.farm.database, "worker-1:1:y", watch) is None
        time.sleep(0.1)


def test_a_new_process_of_a_slot_takes_back_what_the_old_one_held(own_lab):
    lab = own_lab
    identity = lab.send(lab.bundle("a")).json()["id"]
    queue.claim(lab.farm.database, "worker-0:1:x", queue.Watch())
    worker = lab.worker()
    with worker.in_slot():
        assert lab.row(identity).state == "queued"
        with pytest.raises(UserError, match="at work in this folder already"), lab.worker().in_slot():
            pass


def test_a_scoring_that_is_ended_from_outside_is_tried_again_but_not_for_ever(own_lab, monkeypatch):
    lab = own_lab
    monkeypatch.setattr(queue, "MOST_CRASHES", 2)
    identity = lab.send(lab.bundle("a")).json()["id"]
    for state in ("queued", "failed"):
        job = queue.claim(lab.farm.database, "worker-0:1:x", queue.Watch())
        queue.retry(lab.farm.database, job)
        assert lab.row(identity).state == state
    assert "ended from outside 2 times" in lab.row(identity).words
    assert lab.client().get("/api/me").json()["left"]["boxes-val"]["total"] == 100


def test_the_scoring_process_comes_to_what_this_process_comes_to(own_lab):
    identity = own_lab.send(own_lab.bundle("a")).json()["id"]
    assert own_lab.worker(Worker).work()
    local = (own_lab.path / "runs" / "a" / "scores.json").read_bytes()
    assert own_lab.row(identity).scores_sha256 == hashlib.sha256(local).hexdigest()


def test_a_scoring_that_takes_too_long_is_ended_with_words(own_lab):
    lab = own_lab
    config = dataclasses.replace(lab.farm.folder.config, minutes=0.001)
    lab.farm.folder = dataclasses.replace(lab.farm.folder, config=config)
    identity = lab.send(lab.bundle("a")).json()["id"]
    lab.worker(Worker).work()
    assert (lab.row(identity).state, "took longer" in lab.row(identity).words) == ("failed", True)


GREEDY = """
import sys, time
from pathlib import Path
from ovsbench.leaderboard.server import scoring
scoring.scored = lambda job, run: bytearray(3 * 10**9)
scoring.main(Path(sys.argv[1]), time.monotonic())
"""


def test_a_scoring_that_takes_too_much_memory_says_so(tmp_path):
    job = {"schema": 1, "bundle": "", "benchmark": "", "memory": 10**9, "seconds": 60}
    (tmp_path / JOB).write_text(json.dumps(job))
    subprocess.run([sys.executable, "-P", "-c", GREEDY, str(tmp_path)], check=True)
    assert "more than the 1.0 GB of memory" in Outcome.from_json((tmp_path / OUTCOME).read_text()).words


# what is shown


def test_others_do_not_see_a_submission_until_it_is_published(lab, scored):
    assert lab.client("team 1").get(f"/api/submissions/{scored['id']}").status_code == 404
    assert "guess" not in lab.client(None).get("/phases/boxes-val").text
    assert lab.client().post(f"/api/submissions/{scored['id']}/publish").status_code == 200
    page = lab.client(None).get("/phases/boxes-val").text
    assert "good" in page
    assert "team 0" in page
    lab.client().post(f"/api/submissions/{scored['id']}/publish-anonymously")
    page = lab.client(None).get("/phases/boxes-val").text
    assert "anonymous" in page
    assert "team 0" not in page
    lab.client().post(f"/api/submissions/{scored['id']}/hide")
    assert "Nothing is published" in lab.client(None).get("/phases/boxes-val").text


SHOWN = {("rounded", False): True, ("full", False): True, ("none-until-close", False): False,
         ("none-until-close", True): True}  # fmt: skip


@pytest.mark.parametrize(("show", "is_over"), SHOWN)
def test_scores_are_shown_as_the_phase_says(lab, scored, show, is_over):
    phase = Phase(show=show, closes="2000" if is_over else "2999", exported="", shows_categories=False)
    outcome = Outcome.from_json(lab.row(scored["id"]).result)
    own, everybody = reveal.own_values(phase, outcome), reveal.public_values(phase, outcome)
    assert (own is not None) == (everybody is not None) == SHOWN[show, is_over]
    if own is not None:
        exact = outcome.values["mIoU"]["all"]
        assert everybody["mIoU"]["all"] == round(exact, 3)
        assert own["mIoU"]["all"] == (exact if show == "full" else round(exact, 3))
    assert bool(reveal.own_categories(phase, outcome)) == is_over


def test_no_answer_holds_counts_draws_or_scores_of_single_videos(own_lab):
    lab = own_lab
    scored = lab.score(lab.bundle("good", seed=1))
    client, page = lab.client(), lab.page("team 0")
    lab.client().post(f"/api/submissions/{scored['id']}/publish")
    texts = [client.get(path).text for path in ("/api", "/api/me", f"/api/submissions/{scored['id']}",
             f"/api/submissions/{scored['id']}/receipt", "/api/journal")]  # fmt: skip
    texts += [page.client.get(path).text for path in ("/", "/me", "/phases/boxes-val", f"/submissions/{scored['id']}")]
    left_out = Outcome.from_json(lab.row(scored["id"]).result).left_out
    exact = repr(Outcome.from_json(lab.row(scored["id"]).result).values["mIoU"]["all"])
    for text in texts:
        assert not re.search(r"[^\w]v0[^\w-]", text)
        assert left_out[:16] not in text
        assert exact not in text


class Told:
    """A method that was told the labels by somebody, and does not say so."""

    notes: ClassVar[dict[str, str]] = {}

    def __init__(self, benchmark: manifest.Benchmark) -> None:
        self.benchmark = benchmark

    def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame]:
        return (self.benchmark.truth(video.id, index) for index in range(len(video)))


def test_ranks_are_those_of_the_board(tmp_path):
    lab = Lab(tmp_path, videos=14)
    for number, method in enumerate((Guess(), Told(lab.farm.benchmark))):
        shown = lab.score(lab.bundle(f"n{number}", method=method), f"team {number}")
        lab.client(f"team {number}").post(f"/api/submissions/{shown['id']}/publish")
    from ovsbench.leaderboard.run_row import read_row
    from ovsbench.leaderboard.site.table import tables

    rows = [read_row(lab.path / "runs" / f"n{number}", with_summary=True) for number in range(2)]
    board = {line.row.slug: line.rank for line in tables(rows)[0].lines}
    from ovsbench.leaderboard.server.standings import standings

    with lab.farm.database.read() as session:
        (table,) = standings(session, lab.farm.folder, phases.find(session, "boxes-val"))
    assert {line.title: line.rank for line in table.lines} == board == {"n1": 1, "n0": 2}


# receipts and the journal


@pytest.fixture(scope="module")
def receipt(lab: Lab, scored: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("receipt") / "receipt.json"
    path.write_bytes(lab.client().get(f"/api/submissions/{scored['id']}/receipt").content)
    return path


def test_a_receipt_holds(lab, receipt, tmp_path):
    lines = tmp_path / "journal.jsonl"
    lines.write_bytes(lab.client().get("/api/journal").content)
    found = receipts.verify(receipt, lab.farm.folder.public_key, lab.bundle("good"), lines)
    assert found.data_digest == lab.farm.benchmark.digest
    assert found.bundle_sha256 == digest(lab.bundle("good"))
    with pytest.raises(DataError, match="is about the bundle"):
        receipts.verify(receipt, lab.farm.folder.public_key, lab.bundle("parts", seed=2))
    changed = lines.read_text().replace('"event":"account"', '"event":"accounts"', 1)
    lines.write_text(changed)
    with pytest.raises(DataError, match="does not follow"):
        receipts.verify(receipt, lab.farm.folder.public_key, journal=lines)


@pytest.mark.parametrize("key", ["bundle_sha256", "scored", "scores", "metrics", "journal_number", "server"])
def test_a_receipt_that_was_changed_does_not_hold(lab, receipt, tmp_path, key):
    content = json.loads(receipt.read_text())
    content[key] = {"scores": None, "metrics": {}, "journal_number": 1}.get(key, "0" * 64)
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps(content))
    with pytest.raises(DataError, match="signature does not hold"):
        receipts.verify(changed, lab.farm.folder.public_key)


def test_a_receipt_signed_by_another_key_does_not_hold(lab, receipt, tmp_path):
    other = signature.generate_key(tmp_path / "key.pem")
    changed = tmp_path / "other.json"
    changed.write_text(receipts.signed(receipts.read(receipt), other).to_json())
    with pytest.raises(DataError, match="was signed with the key"):
        receipts.verify(changed, lab.farm.folder.public_key)


@pytest.mark.parametrize("spoil", ["change", "drop", "cut"])
def test_a_journal_that_was_changed_is_seen(own_lab, spoil):
    with own_lab.farm.database.write() as session:
        assert not journal.problems(session)
        events = session.scalars(select(Event).order_by(Event.number)).all()
        if spoil == "change":
            events[1].line = (
                events[1].line.replace("2026", "2025", 1).replace("2027", "2025", 1).replace("2028", "2025")
            )
        else:
            session.delete(events[1 if spoil == "drop" else -1])
        session.flush()
        assert journal.problems(session)


# accounts and pages


def test_tokens_are_kept_as_digests_alone(lab):
    content = b"".join(path.read_bytes() for path in lab.farm.folder.path.glob("database.sqlite*"))
    log = lab.farm.folder.path / "server.log"
    for token in lab.farm.tokens.values():
        assert token.encode() not in content
        assert not log.exists() or token not in log.read_text()


def test_names_that_look_alike_are_one(own_lab):
    with own_lab.farm.database.write() as session:
        for name in ("TEAM  0", "ＴＥＡＭ 0", "", " ", "a\u202eb", "x" * 61):
            with pytest.raises(UserError):
                accounts.add(session, name)


def test_a_team_that_was_shut_out_can_do_nothing_and_is_not_shown(own_lab):
    lab = own_lab
    shown = lab.score(lab.bundle("a"))
    lab.client().post(f"/api/submissions/{shown['id']}/publish")
    page = lab.page("team 0")
    with lab.farm.database.write() as session:
        accounts.ban(session, "team 0", is_banned=True)
    assert "shut out" in lab.client().get("/api/me").json()["error"]
    assert page.client.get("/me", follow_redirects=False).headers["location"] == "/login"
    assert "team 0" not in lab.client(None).get("/phases/boxes-val").text
    with lab.farm.database.write() as session:
        accounts.ban(session, "team 0", is_banned=False)
    assert "team 0" in lab.client(None).get("/phases/boxes-val").text


def test_a_new_token_ends_the_old_one(own_lab):
    with own_lab.farm.database.write() as session:
        token = accounts.renew(session, "team 0")
    assert own_lab.client().get("/api/me").status_code == 401
    own_lab.farm.tokens["team 0"] = token
    assert own_lab.client().get("/api/me").status_code == 200


def test_a_form_without_the_secret_of_the_session_does_nothing(lab, scored):
    page = lab.page("team 0")
    for csrf in ("", "x", lab.page("team 1").csrf):
        answer = page.client.post(f"/submissions/{scored['id']}/withdraw", data={"csrf": csrf})
        assert (answer.status_code, "not of your session" in answer.text) == (403, True)
    answer = page.client.post(
        f"/submissions/{scored['id']}/withdraw", data={"csrf": page.csrf}, headers={"origin": "https://evil.example"}
    )
    assert answer.status_code == 403
    assert lab.row(scored["id"]).state == "scored"


def test_a_bundle_can_be_sent_by_a_form(own_lab):
    lab, page = own_lab, own_lab.page("team 1")
    with lab.bundle("a").open("rb") as file:
        answer = page.post("/me/upload", files={"bundle": ("a.zip", file)}, phase="boxes-val")
    assert answer.status_code == 303, answer.text
    assert lab.worker().work()
    place = answer.headers["location"]
    assert "Scored" in page.client.get(place).text
    assert page.post(f"{place}/publish").status_code == 303
    assert "team 1" in lab.client(None).get("/phases/boxes-val").text
    assert page.post("/logout").status_code == 303
    assert page.client.get(place).status_code == 401


def test_pages_forbid_what_they_do_not_need(lab):
    answer = lab.client(None).get("/")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    login = lab.client(None).post("/login", data={"token": lab.farm.tokens["team 0"]}, follow_redirects=False)
    assert {"HttpOnly", "SameSite=strict"} <= set(login.headers["set-cookie"].split("; "))


def test_another_host_name_is_not_answered(lab):
    assert lab.client(None).get("/", headers={"host": "evil.example"}).status_code == 400


def test_guessing_tokens_is_slowed_down(own_lab):
    client = own_lab.client(None)
    codes = [client.get("/api/me", headers={"authorization": f"Bearer guess{i}"}).status_code for i in range(15)]
    assert codes[:10] == [401] * 10
    assert 429 in codes


@pytest.mark.parametrize("path", ["/nothing", "/phases/nothing", "/submissions/x", "/api/nothing", "/%00", "/admin",
                                  "/phases/%ff", "/api/phases/..%2f..%2fprivate/benchmark.json"])  # fmt: skip
def test_a_page_that_is_not_there_is_told_in_a_sentence(lab, path):
    answer = lab.client(None).get(path)
    assert 300 < answer.status_code < 500 or "Log in" in answer.text
    assert "Traceback" not in answer.text


def test_names_of_strangers_are_escaped(own_lab):
    lab = own_lab
    name = "<script>x</script>"
    with lab.farm.database.write() as session:
        lab.farm.tokens[name] = accounts.add(session, name)
    shown = lab.score(lab.bundle("a"), name)
    lab.client(name).post(f"/api/submissions/{shown['id']}/publish")
    assert "<script>x" not in lab.client(None).get("/phases/boxes-val").text
    assert "<script>x" not in lab.page("host").client.get("/admin").text


def test_hosts_administer_by_a_page_and_teams_do_not(own_lab):
    lab = own_lab
    assert lab.page("team 0").client.get("/admin").status_code == 403
    assert lab.page("team 0").post("/admin", action="add-team", name="x").status_code == 403
    host = lab.page("host")
    made = host.post("/admin", action="add-team", name="Newcomer").text
    token = made.partition("<code>")[2].partition("</code>")[0]
    assert lab.client(None).get("/api/me", headers={"authorization": f"Bearer {token}"}).json()["name"] == "Newcomer"
    assert token not in host.client.get("/admin").text
    assert "is shut out" in host.post("/admin", action="ban", name="Newcomer").text
    assert (
        "may submit 7 a day"
        in host.post("/admin", action="quota", name="team 0", phase="boxes-val", per_day="7", total="9").text
    )
    assert lab.client().get("/api/me").json()["left"]["boxes-val"] == {"today": 7, "total": 9}
    assert "unknown team" in host.post("/admin", action="ban", name="nobody").text


def test_the_health_check_says_how_long_the_queue_is(own_lab):
    own_lab.send(own_lab.bundle("a"))
    assert own_lab.client(None).get("/health").json() == {"ok": True, "queued": 1, "running": 0}


# administration


def test_scoring_again_shows_what_changed(own_lab, monkeypatch):
    lab = own_lab
    shown = lab.score(lab.bundle("a"))
    assert rescore(lab.farm.folder, lab.farm.database, "boxes-val", everything=False) == []
    with lab.farm.database.write() as session:  # as if a version before had scored it
        row = session.get_one(Submission, shown["id"])
        outcome = Outcome.from_json(row.result)
        row.result = dataclasses.replace(
            outcome, metrics={**outcome.metrics, "miou": 0}, values={"mIoU": {"all": 0.5, "harmonic": 0.5}}
        ).to_json()
    (change,) = rescore(lab.farm.folder, lab.farm.database, "boxes-val", everything=False)
    assert (change.before, change.after) == (0.5, outcome.values["mIoU"]["harmonic"])
    assert lab.client().get("/api/me").json()["left"]["boxes-val"]["total"] == 99
    assert not inspect(lab.farm.folder, lab.farm.database).problems


def test_a_backup_is_a_server_of_its_own(own_lab, tmp_path):
    lab = own_lab
    shown = lab.score(lab.bundle("a"))
    copy_server(lab.farm.folder, lab.farm.database, tmp_path / "copy")
    copied = open_folder(tmp_path / "copy")
    database = Database(copied.database_url)
    assert not inspect(copied, database).problems
    with database.read() as session:
        assert session.get_one(Submission, shown["id"]).receipt == lab.row(shown["id"]).receipt
    assert copied.public_key == lab.farm.folder.public_key


def test_a_closed_phase_becomes_entries_and_a_site(own_lab, tmp_path):
    lab = own_lab
    ids = [lab.score(lab.bundle(f"n{i}", seed=i, wrong=0.2 * i), f"team {i}")["id"] for i in range(3)]
    lab.client("team 0").post(f"/api/submissions/{ids[0]}/publish")
    lab.client("team 1").post(f"/api/submissions/{ids[1]}/publish-anonymously")
    with pytest.raises(UserError, match=r"is open, it (closes|never closes)"):
        export_phase(lab.farm.folder, lab.farm.database, "boxes-val", tmp_path / "out")
    with lab.farm.database.write() as session:
        phases.close(session, "boxes-val")
    exported = export_phase(lab.farm.folder, lab.farm.database, "boxes-val", tmp_path / "out")
    assert (len(exported.entries), exported.left_out) == (2, ())
    assert verify(tmp_path / "out" / "entries") == []
    rows = entries.read_rows(tmp_path / "out" / "entries")
    local = json.loads((lab.path / "runs" / "n0" / "scores.json").read_text())["values"]
    assert [row.scores["mIoU"] for row in rows if not row.title.startswith("anonymous")] == [local["mIoU"]]
    text = "".join(p.read_text() for p in (tmp_path / "out").rglob("*") if p.suffix in (".html", ".toml", ".jsonl"))
    assert "A. Person" in text
    assert "n2" not in text
    assert "team 1" not in text
    released = manifest.load(tmp_path / "out" / "data")
    assert released.digest == lab.farm.benchmark.digest
    released.labels("v0").verify()
    assert lab.send(lab.bundle("late", seed=9)).status_code == 409
    full = json.loads(lab.client("team 0").get(f"/api/submissions/{ids[0]}/receipt").content)
    assert full["scores"]["mIoU"] == local["mIoU"]
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps(full))
    assert receipts.verify(path, lab.farm.folder.public_key, journal=tmp_path / "out" / "journal.jsonl")


def test_uploads_that_nobody_goes_on_with_are_given_up(own_lab):
    lab = own_lab
    bundle = lab.bundle("a")
    identity = lab.client().post("/api/submissions", json=announced(bundle)).json()["id"]
    lab.client().patch(f"/api/submissions/{identity}", content=b"x", headers={"upload-offset": "0"})
    uploads.Uploads(lab.farm.folder, lab.farm.database).sweep()
    assert lab.row(identity).state == "uploading"
    with lab.farm.database.write() as session:
        session.get_one(Submission, identity).created = "2026-01-01"
    uploads.Uploads(lab.farm.folder, lab.farm.database).sweep()
    assert lab.row(identity).state == "failed"
    assert not lab.farm.folder.part(identity).exists()


@pytest.mark.parametrize("change", ['port = "x"', "port = 99999", "nonsense = 1", "workers = 0", "= 3"])
def test_damaged_settings_are_told_in_a_sentence(own_lab, change):
    path = own_lab.farm.folder.path / "server.toml"
    key = change.split(" ")[0]
    lines = [line for line in path.read_text().splitlines() if not key or not line.startswith(f"{key} ")]
    path.write_text("\n".join([*lines, change]))
    with pytest.raises(UserError, match=r"server\.toml"):
        open_folder(own_lab.farm.folder.path)


# PostgreSQL


@pytest.fixture(scope="module")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not (POSTGRES / "initdb").exists() or (os.getuid() == 0 and shutil.which("setpriv") is None):
        pytest.skip("PostgreSQL 15 is not installed")
    with postgres(tmp_path_factory.mktemp("postgres")) as url:
        yield url


def test_sqlite_and_postgresql_come_to_the_same(postgres_url, tmp_path):
    found = {}
    for name, url in (("sqlite", ""), ("postgres", postgres_url)):
        lab = Lab(tmp_path / name, database=url, per_day=2, total=2)
        bad = tmp_path / f"{name}.zip"
        bad.write_bytes(b"PK no")
        rows = [lab.score(path) for path in (lab.bundle("a"), bad, lab.bundle("b", seed=1))]
        lab.client().post(f"/api/submissions/{rows[0]['id']}/publish")
        refused = lab.send(lab.bundle("c", seed=2)).json()["error"]
        copy_server(lab.farm.folder, lab.farm.database, tmp_path / f"{name}-copy")
        copied = open_folder(tmp_path / f"{name}-copy")
        for folder, database in ((lab.farm.folder, lab.farm.database), (copied, Database(copied.database_url))):
            report = inspect(folder, database)
            assert not report.problems
        table = lab.client(None).get("/phases/boxes-val").text.partition("<tbody>")[2].partition("</tbody>")[0]
        keys = ("state", "words", "scores", "title")
        left = lab.client().get("/api/me").json()["left"]
        found[name] = ([[row.get(key) for key in keys] for row in rows], refused, table, left, dict(report.states))
        lab.farm.database.engine.dispose()
    assert found["sqlite"] == found["postgres"]


def test_a_database_that_is_away_is_told_in_a_sentence(tmp_path):
    lab = Lab(tmp_path)
    lab.farm.database.engine.dispose()
    for path in lab.farm.folder.path.glob("database.sqlite-*"):
        path.unlink()
    (lab.farm.folder.path / "database.sqlite").write_bytes(b"no database at all, but text" * 100)
    answer = lab.client(None).get("/health")
    assert answer.status_code == 503
    assert "database does not answer" in answer.json()["error"]


# without the extra


def test_without_the_extra_it_is_one_sentence_and_nothing_is_imported(tmp_path):
    code = "\n".join(
        (
            "import sys",
            "for name in ('fastapi', 'starlette', 'uvicorn', 'sqlalchemy', 'psycopg'): sys.modules[name] = None",
            "import ovsbench.cli, ovsbench.leaderboard.server.client, ovsbench.leaderboard.server.receipts",
            f"sys.argv = ['ovsbench', 'server', 'init', {str(tmp_path / 'x')!r}]",
            "ovsbench.cli.main()",
        )
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert 'pip install "ovsbench[server]"' in done.stderr
    assert done.stderr.count("\n") == 1


def test_times_have_one_writing():
    assert phases.moment("2026-12-24T00:00:00Z") == "2026-12-24T00:00:00.000000+00:00"
    with pytest.raises(UserError, match="expected a time"):
        phases.moment("tomorrow")
    zone = datetime.timezone(datetime.timedelta(hours=2))
    assert phases.moment(datetime.datetime(2026, 1, 1, 1, tzinfo=zone).isoformat()) < "2026-01-01"


def test_a_phase_that_closes_before_it_opens_is_refused():
    with pytest.raises(UserError, match="closes after it opens"):
        phases.PhaseSettings("x", opens="2026-02", closes="2026-01")


def test_what_is_refused_has_a_status():
    assert RefusedError("no").status == 400
