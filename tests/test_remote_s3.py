"""Benchmarks and runs in S3: moto's server on loopback, behind a proxy that loses, cuts, delays and refuses."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Guess, boxes
from remote_store import BUCKET, Faults, store_with_faults
from test_remote_paths import disk, objects, upload
from typer.testing import CliRunner

from ovsbench.benchmark import engine, manifest
from ovsbench.benchmark.errors import BusyError, DataError, UserError
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.storage import files, local_cache, object_store
from ovsbench.benchmark.storage.remote import RemotePath, place
from ovsbench.cli import app

pytest.importorskip("s3fs", reason="needs s3fs, of the extra [remote]")
pytest.importorskip("moto.server", reason="needs moto[s3,server], which make cluster installs")

WAITING_METHOD = """
import time
from pathlib import Path
from conftest import Guess

class Waiting(Guess):
    def predict(self, video, vocabulary, rules):
        while video.id >= "v2" and not Path("go-on").exists():
            time.sleep(0.02)
        return super().predict(video, vocabulary, rules)

def build(checkpoint=None, device="cpu"):
    return Waiting()
"""
"""A guess that waits with the third video for a file, so that a run is not over when it is to be killed."""
QUICK_METHOD = "from conftest import Guess\ndef build(checkpoint=None, device='cpu'):\n    return Guess()\n"


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Faults]]:
    names = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
    with pytest.MonkeyPatch.context() as patch, store_with_faults() as (address, faults):
        for name, value in zip(names, (address, "id", "hidden-key", "us-east-1"), strict=True):
            patch.setenv(name, value)
        object_store.store_of.cache_clear()
        yield address, faults
    object_store.store_of.cache_clear()


@pytest.fixture
def root(server: tuple[str, Faults], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RemotePath]:
    monkeypatch.setattr(local_cache, "_caches", {})
    monkeypatch.setenv(local_cache.FOLDER, str(tmp_path / "cache"))
    monkeypatch.setenv(local_cache.SIZE, "1")
    server[1].every, server[1].refuse = 0, {}
    folder = place(f"s3://{BUCKET}/{tmp_path.name}")
    assert isinstance(folder, RemotePath)
    yield folder
    server[1].every, server[1].refuse = 0, {}


def command(*arguments: str, folder: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "ovsbench", *arguments],
        cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_a_run_through_a_bad_network_has_the_bytes_of_one_on_disk(root: RemotePath, server, tmp_path, monkeypatch):
    faults = server[1]
    monkeypatch.setattr(object_store, "FIRST_WAIT", 0.01)
    local = boxes(tmp_path / "data", videos=3, frames=5)
    engine.predict(Guess(), local, tmp_path / "run", settings=Settings("guess"))
    engine.score(local, tmp_path / "run")
    upload(tmp_path / "data", root / "data")
    faults.every = 4
    benchmark = manifest.load(root / "data")
    engine.predict(Guess(), benchmark, root / "run", settings=Settings("guess"))
    engine.score(benchmark, root / "run")
    faults.every = 0
    here, there = disk(tmp_path / "run"), objects(root / "run")
    assert {name for name in here if here[name] != there.get(name)} == {
        ".lock", ".lock-record", "run.json", "timing.jsonl",
    }  # fmt: skip
    assert set(there) == set(here) - {".lock", ".lock-record"}
    assert all(faults.done[kind] > 3 for kind in ("503", "reset", "lost answer", "truncated", "slow")), faults.done


def test_a_run_that_is_killed_goes_on_and_makes_no_finished_video_again(root: RemotePath, tmp_path: Path):
    local = boxes(tmp_path / "data", videos=4, frames=5)
    engine.predict(Guess(), local, tmp_path / "run", settings=Settings("guess"))
    upload(tmp_path / "data", root / "data")
    (tmp_path / "waiting.py").write_text(WAITING_METHOD)
    arguments = ["run", str(root / "data"), "-m", "waiting.py:build", "-o", str(root / "run"), "-j", "1"]
    first = command(*arguments, folder=tmp_path)
    until = time.monotonic() + 60
    while not (root / "run/predictions/v1/video.json").exists() and first.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert first.returncode == -signal.SIGKILL
    done = {video for video in ("v0", "v1", "v2", "v3") if (root / f"run/predictions/{video}/video.json").exists()}
    assert done == {"v0", "v1"}
    (tmp_path / "go-on").touch()
    second = command(*arguments, folder=tmp_path)
    output = second.communicate(timeout=120)
    assert second.returncode == 0, output
    names = [line["video"] for line in files.read_lines(root / "run" / "timing.jsonl")]
    assert all(names.count(video) == 1 for video in done)
    assert set(names) == {"v0", "v1", "v2", "v3"}
    here, there = disk(tmp_path / "run" / "predictions"), objects(root / "run" / "predictions")
    assert here == there
    left = [path for path in (tmp_path / "cache").glob("ovsbench-remote-*") if path != local_cache.local_cache().folder]
    assert left == []  # what the killed one left was removed by the second


def test_a_second_writer_of_a_run_is_refused_and_the_first_goes_on(root: RemotePath, tmp_path: Path):
    benchmark = boxes(tmp_path / "data", videos=2, frames=2)
    with files.folder_lock(root / "run"):
        other = command("run", "data", "--oracle", "-o", str(root / "run"), folder=tmp_path)
        _, errors = other.communicate(timeout=120)
        assert other.returncode == 1
        assert f"another process (pid {os.getpid()} on " in errors
        with pytest.raises(BusyError):
            engine.predict(Guess(), benchmark, root / "run", settings=Settings("guess"))
    engine.predict(Guess(), benchmark, root / "run", settings=Settings("guess"))


def test_a_suite_in_a_bucket_with_several_processes(root: RemotePath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    upload(boxes(tmp_path / "data", videos=4, frames=2).folder, root / "data")
    text = f'out = "{root}/suite"\n[benchmarks.boxes]\nfolder = "{root}/data"\n[methods.guess]\n'
    text += 'method = "quick.py:build"\n'
    (tmp_path / "quick.py").write_text(QUICK_METHOD)
    (tmp_path / "suite.toml").write_text(text)
    for arguments in (
        ["suite", "suite.toml"],
        ["score", f"{root}/suite/boxes/all/guess", "-j", "2"],
        ["data", "check", f"{root}/data", "-j", "2"],
    ):
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
    names = objects(root / "suite")
    assert {"boxes/all/guess/scores.json", "table.json", "site/index.html"} <= set(names)
    assert json.loads(names["boxes/all/guess/scores.json"])["videos"] == 4
    assert not {path.name for path in tmp_path.iterdir()} - {"__pycache__", "cache", "data", "quick.py", "suite.toml"}


@pytest.mark.parametrize(("method", "code"), [("PUT", "AccessDenied"), ("HEAD", "AccessDenied"), ("GET", "403")])
def test_a_refusal_of_the_store_is_one_sentence_at_once(root: RemotePath, server, monkeypatch, method: str, code: str):
    files.write_bytes(root / "run" / "run.json", b"{}")
    server[1].refuse = {method: code}
    waited: list[float] = []
    monkeypatch.setattr(object_store, "time", types.SimpleNamespace(sleep=waited.append))
    with pytest.raises(DataError, match=f"^{root}/run.*: access is refused") as refused:
        if method == "PUT":
            files.write_bytes(root / "run" / "x.json", b"{}")
        else:
            files.read_json(root / "run" / "run.json", "the record of a run")
    assert waited == [], "it is not tried again"
    assert "SECRET" not in str(refused.value)
    assert "hidden-key" not in str(refused.value)


def test_a_store_without_conditional_puts_is_told_so_at_once(root: RemotePath, server, monkeypatch):
    server[1].refuse = {"PUT": "NotImplemented"}
    waited: list[float] = []
    monkeypatch.setattr(object_store, "time", types.SimpleNamespace(sleep=waited.append))
    with pytest.raises(DataError, match=r"Choose a store that has conditional puts"), files.folder_lock(root / "run"):
        pass
    assert waited == []


@pytest.mark.parametrize("work", ["read", "write", "lock"])
def test_a_bucket_that_is_not_there_is_one_sentence(root: RemotePath, work: str):
    folder = place("s3://no-such-bucket/data")
    with pytest.raises(DataError, match="there is no s3://no-such-bucket, or it cannot be seen from here"):
        if work == "read":
            manifest.load(folder)
        elif work == "write":
            files.write_bytes(folder / "x.json", b"{}")
        else:
            with files.folder_lock(folder):
                pass


def test_a_conditional_put_lets_one_of_two_write(root: RemotePath):
    (root / "claim").create(b"first")
    with pytest.raises(FileExistsError):
        (root / "claim").create(b"second")
    assert (root / "claim").read_bytes() == b"first"


def test_no_record_or_error_holds_credentials(root: RemotePath, tmp_path: Path):
    benchmark = boxes(tmp_path / "data", videos=1, frames=2)
    engine.predict(Guess(), benchmark, root / "run", settings=Settings("guess"))
    assert not any(b"hidden-key" in content for content in objects(root / "run").values())
    with contextlib.suppress(UserError):
        engine.score(benchmark, root / "nothing")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray, of the extra [ray]")
def test_actors_of_a_cluster_write_a_run_in_a_bucket(root: RemotePath, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "local")  # a Ray of its own, whatever else this machine runs
    local = boxes(tmp_path / "data", videos=4, frames=3)
    engine.predict(Guess(), local, tmp_path / "run", settings=Settings("guess"))
    engine.score(local, tmp_path / "run")
    upload(tmp_path / "data", root / "data")
    (tmp_path / "quick.py").write_text(QUICK_METHOD)
    done = command(
        "run", f"{root}/data", "-m", "quick.py:build", "-o", f"{root}/run", "--on", "ray", "--actors", "2",
        folder=tmp_path,
    )  # fmt: skip
    output = done.communicate(timeout=240)
    assert done.returncode == 0, output
    here, there = disk(tmp_path / "run"), objects(root / "run")
    same = [name for name in here if name.startswith(("predictions/", "counts", "scores"))]
    assert {name: there.get(name) for name in same} == {name: here[name] for name in same}
    names = [line["video"] for path in (root / "run").glob("timing*.jsonl") for line in files.read_lines(path)]
    assert sorted(names) == ["v0", "v1", "v2", "v3"]
    assert not [name for name in there if ".added/" in name or "/.lock" in name]
