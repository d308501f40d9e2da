"""What strangers hide in bundles and requests, and what two processes do to one file."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import struct
import threading
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_check import Parts, edited, parts_of, zipped

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.storage import files
from ovsbench.leaderboard import entries
from ovsbench.leaderboard.bundle import archive, pack
from ovsbench.leaderboard.bundle.check import check
from ovsbench.leaderboard.look_alike import is_blank, skeleton
from ovsbench.leaderboard.site.render import write_site
from ovsbench.leaderboard.site.serve import serving


def raw_zip(path: Path, members: list[tuple[str, bytes, bytes, int]]) -> Path:
    """A zip file of members given as name, content, packed bytes and method, whose heads all say the same."""
    body, directory = b"", b""
    for name, content, packed, method in members:
        sizes = struct.pack("<3L", zlib.crc32(content), len(packed), len(content))
        common = struct.pack("<3H2H", 20, 0, method, 0, 33) + sizes + struct.pack("<2H", len(name), 0)
        directory += b"PK\x01\x02" + struct.pack("<H", 20) + common
        directory += struct.pack("<3H2L", 0, 0, 0, 0o100644 << 16, len(body)) + name.encode()
        body += b"PK\x03\x04" + common + name.encode() + packed
    end = struct.pack("<4H2LH", 0, 0, len(members), len(members), len(directory), len(body), 0)
    path.write_bytes(body + directory + b"PK\x05\x06" + end)
    return path


def deflated(content: bytes) -> bytes:
    stream = zlib.compressobj(6, zlib.DEFLATED, -15)
    return stream.compress(content) + stream.flush()


def members_of(parts: Parts, name: str = "", more: bytes = b"") -> list[tuple[str, bytes, bytes, int]]:
    return [(n, c, deflated(c) + (more if n == name else b""), zipfile.ZIP_DEFLATED) for n, c in parts.items()]


def test_bytes_behind_a_stream_are_refused_in_every_member(make_bundle, tmp_path):
    parts = parts_of(make_bundle(predictions=True))
    assert check(raw_zip(tmp_path / "plain.zip", members_of(parts))).has_predictions
    for name in parts:  # also masks that nobody counts again
        with pytest.raises(DataError, match=f"{re.escape(name)}.*(hidden behind its stream|something is hidden)"):
            check(raw_zip(tmp_path / "hides.zip", members_of(parts, name, b"secret")))
    big = os.urandom(1 << 16)
    with pytest.raises(DataError, match="hidden"):
        check(raw_zip(tmp_path / "big.zip", members_of(parts, "card.toml", big)))
    stored = [(n, c, c + b"x" * (n == "card.toml"), zipfile.ZIP_STORED) for n, c in parts.items()]
    with pytest.raises(DataError, match="hidden"):
        check(raw_zip(tmp_path / "stored.zip", stored))


def test_digits_of_other_scripts_are_no_numbers_of_frames():
    assert pack.limit("predictions/v/00000.png")
    for name in ("predictions/v/٠٠٠٠٠.png", "predictions/v/０００００.png", "predictions/v/0000\u0967.png"):
        assert pack.limit(name) is None


@pytest.mark.parametrize("name", ["run.json", "benchmark.json", "counts.jsonl", "scores.json"])
@pytest.mark.parametrize("value", ["1e999", "-1e999", '"\\ud800"', "9" * 5000])
def test_numbers_without_end_and_half_characters_are_one_sentence(make_bundle, tmp_path, name, value):
    parts = parts_of(make_bundle())
    spoiled = re.sub(
        rb'"(benchmark_version|version|video|key)": ?"[^"]*"',
        b'"\\1":' + value.replace("\\", "\\\\").encode(),
        parts[name],
        count=1,
    )
    assert spoiled != parts[name]
    with pytest.raises(DataError, match=name.replace(".", r"\.")) as caught:
        check(zipped(tmp_path / "x.zip", {**parts, name: spoiled}))
    assert len(str(caught.value)) < 800


def test_a_pair_of_halves_is_a_character():
    assert files.parse_json(b'["\\ud83d\\ude00"]') == ["\N{GRINNING FACE}"]
    for text in (b'["\\ud83d"]', b'{"\\udc00": 1}', b"[1e999]"):
        with pytest.raises(ValueError, match=r"surrogates|too large"):
            files.parse_json(text)


def test_timing_that_no_decoder_gives_and_frames_that_are_not_there_are_refused(make_bundle, tmp_path):
    parts = parts_of(make_bundle())
    for change, reason in (
        ({"seconds": 1e-7}, "more than a decoder gives"),
        ({"frames": 7}, "8 frames were timed, boxes has 21"),
        ({"frames": 0, "warmup_frames": 0}, "0 frames were timed"),
    ):
        spoiled = edited(parts["run.json"], lambda run, change=change: run["timing"].update(change))
        with pytest.raises(DataError, match=reason):
            check(zipped(tmp_path / "x.zip", {**parts, "run.json": spoiled}))
    untimed = dict.fromkeys(
        ("frames", "warmup_frames", "seconds", "image_seconds", "store_seconds", "warmup_seconds"), 0
    )
    plain = edited(parts["run.json"], lambda run: run["timing"].update(untimed))
    assert "no speed was measured" in check(zipped(tmp_path / "y.zip", {**parts, "run.json": plain})).warnings


# names


def test_names_that_look_alike_have_one_skeleton():
    gkc = ["GKC", "gkc", "gk\u0441", "\uff27\uff2b\uff23", "g k-c", "ɡkc", "g\u0301kc", "gkc\u3164", "𝐠𝐤𝐜"]
    assert {skeleton(name) for name in gkc} == {skeleton("gkc")}
    others = ["gkc", "gkc-2", "gkc+", "gkc fast", "two-stage", "犬", "猫", "v1.1", "v11"]
    assert len({skeleton(name) for name in others}) == len(others)
    assert skeleton("OV2Seg") == skeleton("0V2Seg")
    assert all(map(is_blank, ("", " ", "\u3164", "\u2800\u115f", "--", "\u0301")))
    assert not any(map(is_blank, ("a", "犬", "7")))


# two processes, and kills


def test_two_that_pack_into_one_file_leave_a_whole_one(tmp_path):
    path, ready = tmp_path / "x.zip", threading.Barrier(2)

    def contents(letter: bytes) -> Iterator[tuple[str, bytes]]:
        for number in range(40):
            if number == 5:
                ready.wait(20)  # both have begun
            yield f"strips/v/{number}", letter * 50_000

    threads = [threading.Thread(target=archive.write, args=(path, contents(letter))) for letter in (b"a", b"b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
        assert len({file.read(name)[:1] for name in file.namelist()}) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["x.zip"]


@pytest.fixture
def rows(make_bundle, tmp_path):
    board = tmp_path / "board"
    entries.add(check(make_bundle(strips=0)), board, bundle_sha256="", new_benchmark=True)
    return entries.read_rows(board)


def killed_after(operations: int, rows: list, out: Path) -> bool:
    """Builds a site in a process that dies at one of its writes; whether it came to that."""
    pid = os.fork()
    if pid == 0:
        left = operations

        def counted(name):
            real = getattr(Path, name)

            def do(self, *rest, **named):
                nonlocal left
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(self, *rest, **named)

            return do

        for name in ("write_text", "rename", "replace", "mkdir"):
            setattr(Path, name, counted(name))
        with contextlib.suppress(BaseException):
            write_site(rows, out)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def files_of(site: Path) -> dict[str, bytes]:
    return {str(p.relative_to(site)): p.read_bytes() for p in site.rglob("*") if p.is_file() and p.name[0] != "."}


def test_a_build_that_was_killed_anywhere_goes_on(rows, tmp_path):
    write_site(rows, tmp_path / "whole")
    whole, site, kills = files_of(tmp_path / "whole"), tmp_path / "site", 0
    while killed_after(kills, rows, site):
        kills += 1
        if kills % 3 == 0:
            write_site(rows, site)
            assert files_of(site) == whole
    assert kills > 15
    assert files_of(site) == whole
    assert not (site / ".building").exists()


def test_a_full_disk_during_a_build_is_one_sentence_and_the_next_one_goes_on(rows, tmp_path, monkeypatch):
    real, left = Path.write_text, 3

    def full(self, *rest, **named):
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(28, "No space left on device")
        return real(self, *rest, **named)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(DataError, match="cannot be written: No space left"):
        write_site(rows, tmp_path / "site")
    monkeypatch.undo()
    assert write_site(rows, tmp_path / "site").is_file()


def test_four_builds_at_once_end_with_one_whole_site(rows, tmp_path):
    site, pids = tmp_path / "site", []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            code = 1
            with contextlib.suppress(BaseException):
                write_site(rows, site)
                code = 0
            os._exit(code)
        pids.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0] * 4
    write_site(rows, tmp_path / "whole")
    assert files_of(site) == files_of(tmp_path / "whole")


def test_a_folder_of_a_person_is_no_site(rows, tmp_path):
    (tmp_path / "mine" / "entries" / "boxes").mkdir(parents=True)
    with pytest.raises(DataError, match="expected a new folder or an earlier site"):
        write_site(rows, tmp_path / "mine")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["entries"]


# the server of a site


@pytest.fixture
def asked(rows, tmp_path):
    site = write_site(rows, tmp_path / "site").parent
    (tmp_path / "secret.txt").write_text("secret")
    (site / "link.html").symlink_to(tmp_path / "secret.txt")
    (site / "circle.html").symlink_to("circle.html")
    with serving(site, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def ask(path: str, host: str | None = None) -> http.client.HTTPResponse:
            connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
            connection.putrequest("GET", path, skip_host=True)
            if host != "":
                connection.putheader("Host", host or f"127.0.0.1:{server.server_port}")
            connection.endheaders()
            answer = connection.getresponse()
            answer.read()
            connection.close()
            return answer

        yield ask
        server.shutdown()


def test_a_site_is_served_to_its_own_name_with_a_policy(asked):
    answer = asked("/")
    assert (answer.status, answer.headers["X-Content-Type-Options"]) == (200, "nosniff")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert asked("/leaderboard.json").status == 200
    assert asked("/", "localhost").status == 200
    for host in ("evil.example", "127.0.0.1.evil.example", ""):
        assert asked("/", host).status == 421


@pytest.mark.parametrize("path", ["/%00", "/%ed%a0%80", "/link.html",
                                  "/circle.html", "/entries/", "/../secret.txt", "/%2e%2e/secret.txt", "/" + "a" * 5000,
                                  "//etc/passwd", "/nothing"])  # fmt: skip
def test_what_is_no_file_of_the_site_is_not_found(asked, path, capfd):
    assert asked(path).status == 404
    assert "Traceback" not in capfd.readouterr().err


def test_json_of_a_site_is_whole(rows, tmp_path):
    site = write_site(rows, tmp_path / "site").parent
    assert json.loads((site / "leaderboard.json").read_text())["tables"][0]["rows"][0]["flags"][0] == "declared"
