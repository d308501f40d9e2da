"""Paths below a URL, on fsspec's store in memory: what is fetched, what is sent and when, and what is refused."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import layout_trees as trees
import pytest
from conftest import Guess, boxes, bundle_in

from ovsbench.benchmark import engine, manifest
from ovsbench.benchmark.errors import DataError, UsageError
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.running.scores import read_counts
from ovsbench.benchmark.storage import files, local_cache, object_store, remote
from ovsbench.benchmark.storage.remote import RemotePath, place
from ovsbench.data_prep.folder_check import audit
from ovsbench.data_prep.vspw import build_vspw
from ovsbench.data_prep.world.build import WorldSettings, build_world
from ovsbench.data_prep.ytvis import build_ytvis

pytest.importorskip("fsspec", reason="needs fsspec, of the extra [remote]")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RemotePath:
    """An empty store, and an empty cache of one megabyte."""
    monkeypatch.setattr(local_cache, "_caches", {})
    monkeypatch.setenv(local_cache.FOLDER, str(tmp_path / "cache"))
    monkeypatch.setenv(local_cache.SIZE, "1")
    store = object_store.store_of("memory")._files
    store.store.clear()
    store.pseudo_dirs[:] = [""]
    folder = place(f"memory://{tmp_path.name}")
    assert isinstance(folder, RemotePath)
    return folder


def upload(folder: Path, to: RemotePath) -> RemotePath:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            (to / path.relative_to(folder)).write_bytes(path.read_bytes())
    return to


def objects(folder: RemotePath) -> dict[str, bytes]:
    """All objects below a URL, read from the store and not through the cache."""
    store = folder._store
    sizes = {url: store.find(url) for url in store.below(folder.url)}
    return {url.removeprefix(folder.url + "/"): store.read(url, entry.size) for url, entry in sizes.items() if entry}


def disk(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("text", ["data/world", "/data/world", ".", "a:b", "C:stuff"])
def test_a_path_of_this_machine_stays_one(text: str):
    assert place(text) == Path(text)
    assert not isinstance(place(text), RemotePath)


def test_a_file_url_is_a_path_of_this_machine():
    assert place("file:///data/world") == Path("/data/world")


@pytest.mark.parametrize("text", ["s3://bucket/data", "s3:/bucket/data", "memory://a/b", "gs://b/x/y"])
def test_a_url_prints_as_itself_also_after_pathlib_took_a_slash(text: str):
    path = place(text)
    assert str(path) == text.replace(":///", "://").replace("s3:/b", "s3://b")
    assert str(path / "labels" / "a.png") == f"{path}/labels/a.png"
    assert str(path.parent / "x") == str(path).rpartition("/")[0] + "/x"
    assert place(Path(path)) == path  # what lost its kind on the way gets it back
    assert pickle.loads(pickle.dumps(path)) == path
    assert type(pickle.loads(pickle.dumps(path))) is RemotePath


@pytest.mark.parametrize(
    "text",
    ["s3://key:SECRET@bucket/x", "s3://bucket/x?X-Amz-Signature=SECRET", "simplecache::s3://k:SECRET@b/x",
     "s3://key:SEC/RET@bucket/x"],
)  # fmt: skip
def test_a_url_with_credentials_is_refused_and_not_repeated(text: str):
    with pytest.raises(UsageError) as refused:
        place(text)
    assert "SECRET" not in str(refused.value)
    assert "bucket/x" not in str(refused.value)
    assert "credentials" in str(refused.value)


@pytest.mark.parametrize("text", ["https://example.org/data", "http://example.org", "ftp://example.org/x"])
def test_a_url_that_cannot_be_listed_is_refused(text: str):
    with pytest.raises(UsageError, match="cannot be listed"):
        place(text)


def test_no_path_leads_out_of_a_url(root: RemotePath):
    for path in (root / ".." / "x", root / "/etc/passwd", root / "a/../../.."):
        for use in (lambda one: one.exists(), lambda one: one.read_bytes(), lambda one: one.__fspath__()):
            with pytest.raises(DataError, match="leads out"):
                use(path)


def test_names_of_a_listing_that_lead_out_of_the_cache_are_left_out(root: RemotePath):
    store = root._store._files
    store.pipe_file(f"/{root.name}/run/good.png", b"good")
    for name in ("run/../../../../escaped.png", "run/./x.png", "run/a\\..\\b.png", "run//double.png"):
        store.store[f"/{root.name}/{name}"] = type(store.store[f"/{root.name}/run/good.png"])(store, name, b"bad")
    assert [path.name for path in (root / "run").iterdir()] == ["good.png"]
    assert (root / "run" / "good.png").read_bytes() == b"good"
    cache = local_cache.local_cache().folder
    assert all(path.resolve().is_relative_to(cache.resolve()) for path in cache.rglob("*"))


def test_a_path_of_a_store_answers_as_one_of_a_disk(root: RemotePath, tmp_path: Path):
    names = ["manifest.json", "labels/a/00000.png", "labels/a/video.json", "labels/b/video.json", "timing.jsonl"]
    for name in names:
        files.write_bytes(tmp_path / "disk" / name, name.encode())
        files.write_bytes(root / name, name.encode())
    here = tmp_path / "disk"
    for name in [*names, "labels", "labels/a", "missing", "labels/c"]:
        one, other = here / name, root / name
        assert (one.exists(), one.is_file(), one.is_dir()) == (other.exists(), other.is_file(), other.is_dir()), name
        if one.is_file():
            assert one.read_text() == other.read_text()
            assert one.stat().st_size == other.stat().st_size
            assert abs(one.stat().st_mtime_ns - other.stat().st_mtime_ns) < 60e9
    for pattern in ("*", "labels/*/video.json", "*/*", "*.json", "time*.jsonl", "labels/a/video.json", "x*/y"):
        expected = sorted(p.relative_to(here).as_posix() for p in here.glob(pattern))
        assert sorted(p.relative_to(root).as_posix() for p in root.glob(pattern)) == expected, pattern
    assert sorted(p.name for p in root.rglob("*.json")) == sorted(p.name for p in here.rglob("*.json"))
    with pytest.raises(FileNotFoundError):
        (root / "missing").read_bytes()
    with pytest.raises(OSError, match="written as a whole"):
        (root / "x").open("w")
    (root / "manifest.json").unlink()
    assert not (root / "manifest.json").exists()
    files.remove_folder(root / "labels")
    assert not (root / "labels").exists()


def test_a_folder_appears_with_its_mark_last_and_goes_with_it_first(root: RemotePath, monkeypatch):
    """A reader who believes video.json never sees a video of which a file is missing or of before."""
    store, done = root._store, []
    for name in ("put", "remove"):
        work = getattr(store, name)

        def noted(first, *rest, name=name, work=work, **more):
            done.extend((name, url.rpartition("/")[2]) for url in ([first] if isinstance(first, str) else first))
            return work(first, *rest, **more)

        monkeypatch.setattr(store, name, noted)
    for contents in ({"0.png": b"1", "1.png": b"2"}, {"0.png": b"3"}):
        done.clear()
        with files.whole_folder(root / "video", replace=True) as partial:
            for name, content in contents.items():
                (partial / name).write_bytes(content)
            (partial / "video.json").write_bytes(b"{}")
            assert done == []  # nothing of an unfinished video is sent
        puts = [one for kind, one in done if kind == "put"]
        assert puts[-1] == "video.json"
        assert sorted(puts) == sorted([*contents, "video.json"])
    assert done[0] == ("remove", "video.json")
    assert done.index(("remove", "1.png")) < done.index(("put", "video.json"))
    assert objects(root / "video") == {"0.png": b"3", "video.json": b"{}"}
    assert (root / "video" / "0.png").read_bytes() == b"3"


def test_a_folder_that_fails_leaves_nothing_and_keeps_the_one_of_before(root: RemotePath):
    with files.whole_folder(root / "video") as partial:
        (partial / "video.json").write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), files.whole_folder(root / "video", replace=True) as partial:
        (partial / "video.json").write_bytes(b"new")
        raise ZeroDivisionError
    assert objects(root) == {"video/video.json": b"old"}
    with pytest.raises(DataError, match="expected a new folder"), files.whole_folder(root / "video"):
        pass


def test_lines_that_are_added_one_by_one_are_one_file(root: RemotePath):
    path = root / "timing.jsonl"
    assert list(files.read_lines(path)) == []
    files.write_bytes(path, b'{"a":0}\n')
    for number in (1, 2):
        files.append_line(path, {"a": number})
    assert [line["a"] for line in files.read_lines(path)] == [0, 1, 2]
    assert [found.name for found in root.glob("timing*.jsonl")] == ["timing.jsonl"]
    files.join_lines(path)
    assert objects(root) == {"timing.jsonl": b'{"a":0}\n{"a":1}\n{"a":2}\n'}
    files.append_line(path, {"a": 3})
    assert [line["a"] for line in files.read_lines(path)] == [0, 1, 2, 3]
    path.unlink()
    assert (objects(root), path.exists()) == ({}, False)


def test_a_file_that_another_process_writes_anew_is_read_anew(root: RemotePath):
    files.write_bytes(root / "run.json", b"one")
    assert (root / "run.json").read_bytes() == b"one"
    root._store.put((root / "run.json").url, b"three")
    assert (root / "run.json").read_bytes() == b"three"


def test_the_cache_keeps_to_its_size_and_every_file_is_read_right(root: RemotePath):
    contents = {f"{number:03d}.png": bytes([number]) * 100_000 for number in range(40)}  # 4 MB, the cache has 1 MB
    for name, content in contents.items():
        (root / "images" / name).write_bytes(content)
    folder, most = local_cache.local_cache().folder, 0
    for name in [*contents, *reversed(contents), *contents]:
        assert (root / "images" / name).read_bytes() == contents[name]
        while remote._in_flight:  # what is just coming lies beside until others have gone
            time.sleep(0.001)
        kept = [path.stat().st_size for path in folder.rglob("*.png")]
        most = max(most, sum(kept))
    assert 100_000 < most <= 1 << 20


def test_the_next_files_of_a_folder_are_fetched_before_they_are_asked_for(root: RemotePath, monkeypatch):
    for number in range(40):
        (root / "images" / f"{number:03d}.png").write_bytes(b"x")
    got = []
    download = root._store.download
    monkeypatch.setattr(root._store, "download", lambda url, *rest: (got.append(url), download(url, *rest)))
    (root / "images" / "010.png").read_bytes()
    until = time.monotonic() + 10
    while len(got) < 17 and time.monotonic() < until:
        time.sleep(0.01)
    assert sorted(url[-7:] for url in got) == [f"{number:03d}.png" for number in range(10, 27)]
    (root / "images" / "020.png").read_bytes()
    assert len([url for url in got if url.endswith("020.png")]) == 1


def test_an_object_longer_than_a_piece_is_read_in_ranges(root: RemotePath, monkeypatch):
    monkeypatch.setattr(object_store, "PIECE", 1000)
    content = bytes(number % 251 for number in range(3500))
    root._store._files.pipe_file(f"/{root.name}/big.bin", content)
    asked = []
    cat = root._store._files.cat_file
    monkeypatch.setattr(
        root._store._files, "cat_file", lambda url, start, end: (asked.append((start, end)), cat(url, start, end))[1]
    )
    assert (root / "big.bin").read_bytes() == content
    assert [one for one in asked if one != (0, 1)] == [(0, 1000), (1000, 2000), (2000, 3000), (3000, 3500)]


class Flaky:
    """Fails a number of times in one way, then answers."""

    def __init__(self, error: Exception, times: int) -> None:
        self.error, self.times, self.calls = error, times, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return "answer"


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr(object_store.time, "sleep", found.append)
    return found


@pytest.mark.parametrize("error", [ConnectionResetError(), TimeoutError(), OSError(5, "SlowDown"), EOFError()])
def test_what_may_pass_is_tried_again_with_growing_waits(root: RemotePath, waits: list[float], error: Exception):
    work = Flaky(error, object_store.TRIES - 1)
    assert root._store._tried("memory://b/x", work) == "answer"
    assert len(waits) == object_store.TRIES - 1
    assert all(0 < wait <= object_store.LONGEST_WAIT for wait in waits)
    assert waits[-1] > 4 * waits[0]


def test_a_store_that_never_answers_is_one_sentence_without_its_text(root: RemotePath, waits: list[float]):
    with pytest.raises(DataError, match=r"memory://b/x: .* 7 times in a row \(OSError\)") as refused:
        root._store._tried("memory://b/x", Flaky(OSError("key AKIASECRET"), 99))
    assert "SECRET" not in str(refused.value)
    assert refused.value.__suppress_context__


@pytest.mark.parametrize("error", [FileNotFoundError(), FileExistsError(), PermissionError("AKIASECRET"), TypeError()])
def test_what_will_not_pass_is_not_tried_again(root: RemotePath, waits: list[float], error: Exception):
    work = Flaky(error, 1)
    with pytest.raises((type(error), DataError)) as refused:
        root._store._tried("memory://b/x", work)
    assert (work.calls, waits) == (1, [])
    assert "SECRET" not in str(refused.value)


UNFINISHED = """
import asyncio, threading
from fsspec import asyn
from ovsbench.benchmark.storage.object_store import store_of

began = threading.Event()

async def request():
    began.set()
    try:
        await asyncio.sleep(1000)
    finally:
        print("dropped", flush=True)

store_of("memory")
asyncio.run_coroutine_threadsafe(request(), asyn.get_loop())
began.wait()
"""


def test_requests_that_a_process_does_not_wait_for_are_dropped_when_it_ends():
    done = subprocess.run([sys.executable, "-c", UNFINISHED], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "dropped\n", "")


def test_a_store_whose_package_is_missing_is_one_sentence():
    code = (
        "import sys; sys.modules['s3fs'] = None\nfrom ovsbench.cli import main\n"
        "sys.argv = ['ovsbench', 'show', 's3://bench/run']; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stderr == 'error: s3:// needs s3fs, which is not installed. pip install "ovsbench[remote]"\n'
    with pytest.raises(UsageError, match="no kind of store"):
        object_store.ObjectStore("nonsense")


@pytest.mark.parametrize("kind", ["a file", "below a file"])
def test_a_folder_of_copies_that_cannot_be_is_named_and_not_what_was_to_be_read(tmp_path, monkeypatch, kind):
    (tmp_path / "file").touch()
    monkeypatch.setattr(local_cache, "_caches", {})
    folder = tmp_path / "file" if kind == "a file" else tmp_path / "file" / "cache"
    monkeypatch.setenv(local_cache.FOLDER, str(folder))
    there = place(f"memory://copies/{tmp_path.name}")
    with pytest.raises(DataError, match=rf"^{folder}: copies .* cannot be kept here: .*OVSBENCH_REMOTE_CACHE"):
        files.write_bytes(there / "a.json", b"{}")


def test_without_a_url_fsspec_is_not_imported(tmp_path: Path):
    boxes(tmp_path / "data", videos=1, frames=2)
    code = (
        "import sys\nfrom ovsbench.cli import app\n"
        "try: app(['run', 'data', '--oracle', '-o', 'run', '--json'])\nexcept SystemExit as e: assert not e.code\n"
        "assert not {'fsspec', 's3fs', 'aiohttp', 'botocore'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_run_in_a_store_has_the_bytes_of_one_on_disk(root: RemotePath, tmp_path: Path):
    local = boxes(tmp_path / "data", videos=3, frames=5)
    upload(tmp_path / "data", root / "data")
    for benchmark, run in ((local, tmp_path / "run"), (manifest.load(root / "data"), root / "run")):
        engine.predict(Guess(), benchmark, run, settings=Settings("guess"))
        engine.score(benchmark, run)
    here, there = disk(tmp_path / "run"), objects(root / "run")
    differing = {name for name in here if name not in there or here[name] != there[name]}
    assert differing == {".lock", "run.json", ".lock-record", "timing.jsonl"}  # times and places, and locks of a disk
    assert set(there) == set(here) - {".lock", ".lock-record"}
    assert there["timing.jsonl"].count(b"\n") == 3
    assert list(read_counts(local, root / "run")) == ["v0", "v1", "v2"]


def test_a_video_that_was_cut_off_is_made_again_and_others_are_kept(root: RemotePath, tmp_path: Path):
    benchmark = boxes(tmp_path / "data", videos=3, frames=4)
    engine.predict(Guess(), benchmark, root / "run", settings=Settings("guess"))
    before = objects(root / "run")
    root._store.remove([(root / "run/predictions/v1/00002.png").url])
    local_cache.local_cache().forget((root / "run")._here)
    engine.predict(Guess(), benchmark, root / "run", settings=Settings("guess"))
    after = objects(root / "run")
    assert {name: after[name] for name in after if name.startswith("predictions")} == {
        name: before[name] for name in before if name.startswith("predictions")
    }
    lines = [line["video"] for line in files.read_lines(root / "run" / "timing.jsonl")]
    assert lines == ["v0", "v1", "v2", "v1"]


def test_data_sets_are_built_into_a_store_with_the_bytes_of_a_disk(root: RemotePath, tmp_path: Path):
    world = build_world(tmp_path / "world", WorldSettings(videos=2, frames=3, size=(32, 48)))
    trees.write_vspw(world, tmp_path / "vspw")
    trees.write_tracks(world, tmp_path / "ytvis2019", "ytvis2019")
    for folder in (tmp_path / "disk", root):
        build_world(folder / "world", WorldSettings(videos=2, frames=3, size=(32, 48)))
        build_vspw(tmp_path / "vspw", folder / "vspw")
        build_ytvis(tmp_path / "ytvis2019", folder / "ytvis", dataset="ytvis2019", subset="train")
        build_vspw(tmp_path / "vspw", folder / "vspw")  # what is there is kept
    assert objects(root) == {name: content for name, content in disk(tmp_path / "disk").items() if ".lock" not in name}
    assert audit(manifest.load(root / "ytvis")).problems == ()


def test_from_python_a_url_is_a_folder_too(root: RemotePath, tmp_path: Path):
    import ovsbench

    boxes(tmp_path / "data", videos=3, frames=3)
    benchmark = ovsbench.load_benchmark(str(upload(tmp_path / "data", root / "data")))
    run = ovsbench.run(Guess(), benchmark, str(root / "run"))
    assert ovsbench.evaluate(str(root / "run"), benchmark).scores == run.scores
    assert not (tmp_path / "memory:").exists()


def test_only_the_videos_that_are_asked_for_are_read(root: RemotePath, tmp_path: Path, monkeypatch):
    boxes(tmp_path / "data", videos=3, frames=4)
    benchmark = manifest.load(upload(tmp_path / "data", root / "data"))
    got = []
    download = root._store.download
    monkeypatch.setattr(root._store, "download", lambda url, *rest: (got.append(url), download(url, *rest)))
    engine.predict(Guess(), benchmark, tmp_path / "run", settings=Settings("guess"), limit=1)
    assert {url.split("/images/")[1].partition("/")[0] for url in got if "/images/" in url} == {"v0"}


def test_a_board_in_a_store_is_added_to_verified_and_shown(root: RemotePath, tmp_path: Path, monkeypatch):
    from typer.testing import CliRunner

    from ovsbench.cli import app
    from ovsbench.leaderboard.site.serve import serving

    bundle = bundle_in(tmp_path, boxes(tmp_path / "data", videos=12, frames=2))
    monkeypatch.chdir(tmp_path)
    entries, site = str(root / "entries"), root / "site"
    for command in (
        ["board", "add", str(bundle), "--entries", entries, "--new-benchmark"],
        ["board", "verify", "--entries", entries],
        ["board", "build", "--entries", entries, "-o", str(site)],
        ["board", "build", "--entries", entries, "-o", str(site)],  # in place of the one of before
    ):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
        assert "verify" not in command or "1 entry sound" in done.output
    assert "| guess |" in (site / "leaderboard.md").read_text()
    with serving(site, 0) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        for name in ("index.html", "leaderboard.md"):
            with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/{name}", timeout=20) as answer:
                assert answer.read() == (site / name).read_bytes()
        server.shutdown()
    again = CliRunner().invoke(app, ["board", "add", str(bundle), "--entries", entries])
    assert again.exit_code == 1
    assert not (tmp_path / "memory:").exists()
    broken = next((root / "entries").glob("*/*/*/scores.json"))
    broken.write_bytes(broken.read_bytes().replace(b"0.", b"1.", 1))
    assert CliRunner().invoke(app, ["board", "verify", "--entries", entries]).exit_code == 1


def test_a_verb_that_takes_no_url_there_says_so_and_makes_no_folder_of_that_name(tmp_path: Path, monkeypatch):
    from typer.testing import CliRunner

    from ovsbench.cli import app

    bundle_in(tmp_path, boxes(tmp_path / "data", videos=2, frames=2))
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["show", "runs/guess", "--csv", "memory://b/table.csv"])
    assert done.exit_code == 2
    assert "of this machine" in done.output
    assert not (tmp_path / "memory:").exists()
