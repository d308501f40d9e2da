"""Who may work in a folder where nothing can be locked: claims in stores, and on file systems without locks."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from ovsbench.benchmark.errors import BusyError
from ovsbench.benchmark.running.run_folder import locked
from ovsbench.benchmark.storage import files, lease
from ovsbench.benchmark.storage.remote import place


@pytest.fixture(params=["memory", "disk"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a store, and one of a disk that answers flock as some network file systems do."""

    def refuse(handle: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    if request.param == "memory":
        pytest.importorskip("fsspec", reason="needs fsspec, of the extra [remote]")
        return place(f"memory://leases/{tmp_path.name}")
    monkeypatch.setattr(fcntl, "flock", refuse)
    return tmp_path / "run"


def claims(folder: Path) -> list[Path]:
    return [path for path in folder.glob(".lock*") if path.name != ".lock"]


def write(path: Path, **changed: object) -> None:
    """A claim as another process would have written it."""
    row = {**json.loads(lease._content()), **changed}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(json.dumps(row).encode())


def until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_of_two_only_one_works_in_a_folder(folder: Path):
    with files.folder_lock(folder):
        with pytest.raises(BusyError, match=rf"pid {os.getpid()} on .* is writing .*its claim ends in \d+ s"):
            with files.folder_lock(folder):
                pass
        with pytest.raises(BusyError), files.folder_lock(folder, shared=True):
            pass
    assert claims(folder) == []
    with files.folder_lock(folder):
        pass


def test_those_who_share_a_folder_keep_out_who_does_not(folder: Path):
    with files.folder_lock(folder, shared=True), files.folder_lock(folder, shared=True):
        with pytest.raises(BusyError), files.folder_lock(folder):
            pass
    with files.folder_lock(folder):
        pass


def test_shards_share_a_run_but_not_a_shard(folder: Path):
    with locked(folder, (1, 2)), locked(folder, (2, 2)):
        for other in ((1, 2), (1, 1), (1, 3)):
            with pytest.raises(BusyError), locked(folder, other):
                pass
    with locked(folder, (1, 3)):
        pass


def test_of_many_at_the_same_moment_one_gets_the_folder(folder: Path):
    start, held, most, got = threading.Barrier(8), [0], [0], []

    def work() -> None:
        start.wait()
        try:
            with files.folder_lock(folder):
                held[0] += 1
                most[0] = max(most[0], held[0])
                until(lambda: len(got) == 7)  # the others have tried
                held[0] -= 1
                got.append(True)
        except BusyError:
            got.append(False)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), most[0], got.count(True)) == (8, 1, 1)


def test_who_waits_gets_the_folder_when_it_is_free(folder: Path):
    order: list[str] = []

    def wait() -> None:
        with files.folder_lock(folder, wait=True):
            order.append("second")

    with files.folder_lock(folder):
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.3)
        order.append("first")
    thread.join(20)
    assert order == ["first", "second"]


def test_the_claim_of_another_machine_ends_by_itself(folder: Path):
    write(folder / ".lock.00000001", machine="another", host="node7", ends=time.time() + 30)
    with pytest.raises(BusyError, match="on node7"), files.folder_lock(folder):
        pass
    write(folder / ".lock.00000001", machine="another", host="node7", ends=time.time() - 1)
    with files.folder_lock(folder):
        assert [path.name for path in claims(folder)] == [".lock.00000002"]


def test_the_claim_of_a_process_of_this_machine_that_was_killed_is_not_waited_for(folder: Path):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    write(folder / ".lock.00000001", pid=child.pid, begun=lease._begun(child.pid))
    with pytest.raises(BusyError, match=f"pid {child.pid}"), files.folder_lock(folder):
        pass
    child.kill()
    child.wait()
    with files.folder_lock(folder):
        pass


def test_another_process_that_got_the_number_of_a_killed_one_is_not_taken_for_it(folder: Path):
    write(folder / ".lock.00000001", begun="1")
    with files.folder_lock(folder):
        pass


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"ends": "x"}', b"\xff"])
def test_a_claim_that_is_just_being_written_is_one(folder: Path, content: bytes):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".lock.00000001").write_bytes(content)
    with pytest.raises(BusyError), files.folder_lock(folder):
        pass


def test_a_claim_is_renewed_while_the_work_lasts(folder: Path, monkeypatch: pytest.MonkeyPatch):
    clock, refused = [time.time()], []
    monkeypatch.setattr(lease, "time", types.SimpleNamespace(time=lambda: clock[0]))

    class Ticks(threading.Event):
        """Waits as long as it is told to by a clock that the test moves on; then somebody else asks for the folder."""

        def wait(self, timeout: float | None = None) -> bool:
            clock[0] += timeout or 0.0
            with pytest.raises(BusyError, match=f"pid {os.getpid()} .* its claim ends in"):
                lease._claim(folder, ".lock", False)
            refused.append(clock[0])
            return len(refused) == 12

    begin = clock[0]
    folder.mkdir(parents=True, exist_ok=True)
    mine = lease._claim(folder, ".lock", False)
    lease._renew(folder, ".lock", mine, Ticks())
    assert clock[0] - begin == pytest.approx(3 * lease.SECONDS)
    assert str(folder) not in lease._lost
    clock[0] += lease.SECONDS + 1  # nobody renews it any more
    assert lease._claim(folder, ".lock", False) != mine


def test_who_slept_through_the_end_of_his_claim_writes_no_more(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lease, "SECONDS", 0.4)
    with files.folder_lock(folder):
        files.write_bytes(folder / "a.txt", b"a")
        write(folder / ".lock.00000002", machine="another", ends=time.time() + 100)  # as if it had slept
        until(lambda: str(folder) in lease._lost)
        for path in (folder / "b.txt", folder / "predictions" / "v" / "video.json"):
            with pytest.raises(BusyError, match="another has taken its place"):
                files.write_bytes(path, b"b")
        with pytest.raises(BusyError), files.whole_folder(folder / "video"):
            pass
        files.write_bytes(folder.parent / f"{folder.name}-other.txt", b"c")
    assert not (folder / "b.txt").exists()
    assert not (folder / "video").exists()
    assert [path.name for path in claims(folder)] == [".lock.00000002"]


def test_a_claim_whose_answer_was_lost_is_ones_own(folder: Path, monkeypatch: pytest.MonkeyPatch):
    create = lease._create

    def twice(path: Path, content: bytes) -> None:
        create(path, content)
        create(path, content)

    monkeypatch.setattr(lease, "_create", twice)
    with files.folder_lock(folder):
        assert len(claims(folder)) == 1


@pytest.mark.parametrize("text", ["abc", "0", "-1", "nan", "1e9"])
def test_an_odd_time_of_the_environment_is_one_sentence_of_who_needs_it(tmp_path: Path, text: str):
    pytest.importorskip("fsspec", reason="needs fsspec, of the extra [remote]")
    environment = {**os.environ, "OVSBENCH_LEASE_SECONDS": text}
    code = (
        "from ovsbench.benchmark.storage import files; from ovsbench.benchmark.storage.remote import place\n"
        "with files.folder_lock(place('memory://a')): pass"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    last = done.stderr.splitlines()[-1]
    assert "UsageError: OVSBENCH_LEASE_SECONDS: expected a whole number of seconds from 1, got" in last
