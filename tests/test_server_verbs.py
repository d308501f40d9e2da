"""The verbs around the evaluation server: host and participant, each in its words."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("fastapi", reason="the extra server is not installed")

from conftest import CARD
from server_farm import Farm, farm, submission

from ovsbench.cli import app
from ovsbench.leaderboard.server import client


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    folder = tmp_path_factory.mktemp("verbs")
    made = farm(folder, teams=2)
    submission(folder, made.benchmark, "mine")
    with made.running():
        yield made


@pytest.fixture(autouse=True)
def _own_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("OVSBENCH_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)


def typed(*arguments: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


def test_a_participant_logs_in_submits_and_verifies(served, tmp_path):
    folder = served.folder.path.parent
    assert "Logged in as team 0" in typed("login", served.url, "--token", served.tokens["team 0"])
    assert client.tokens_file().stat().st_mode & 0o077 == 0
    card = tmp_path / "card.toml"
    card.write_text(CARD.format(name="mine", supersedes=""))
    sent = ["submit", folder / "runs" / "mine", "--card", card, "--to", served.url]
    assert "is scored" in typed(*sent, "--publish")
    (receipt,) = tmp_path.glob("*.receipt.json")
    assert "Sound: signed by Test server" in typed("receipt", "verify", receipt)
    with urllib.request.urlopen(f"{served.url}/api/journal") as answer:
        Path("journal.jsonl").write_bytes(answer.read())
    assert "Sound" in typed("receipt", "verify", receipt, "--journal", "journal.jsonl")
    Path("journal.jsonl").write_text("")
    assert "journal" in typed("receipt", "verify", receipt, "--journal", "journal.jsonl", code=1)
    again = typed("receipt", "fetch", receipt.name.partition(".")[0], "--to", served.url, "-o", "again.json")
    assert "Result: again.json" in again
    assert Path("again.json").read_bytes() == receipt.read_bytes()
    assert json.loads(typed("receipt", "verify", receipt, "--key", served.folder.public_key, "--json"))["is_sound"]
    Path("forged.json").write_text(
        receipt.read_text().replace("team", "Team").replace('"accepted": "20', '"accepted": "21')
    )
    assert "signature does not hold" in typed("receipt", "verify", "forged.json", code=1)
    client.tokens_file().unlink()
    assert "the key of no server" in typed("receipt", "verify", receipt, code=1)
    assert "there is no token" in typed(*sent, code=1)


def test_a_bundle_that_is_not_sound_is_not_sent(served, tmp_path):
    typed("login", served.url, "--token", served.tokens["team 1"])
    (tmp_path / "bad.zip").write_bytes(b"PK\x03\x04 and nothing else that a bundle has in it")
    assert "expected a bundle" in typed("submit", tmp_path / "bad.zip", "--to", served.url, code=1)
    assert served.server("team 1").ask("GET", "/api/me")["submissions"] == []


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://example.org", "readable by everybody"),
        ("ftp://example.org", "expected the address"),
        ("https://a:b@example.org", "expected the address"),
    ],
)
def test_a_token_is_sent_to_safe_addresses_alone(url, words):
    assert words in typed("login", url, "--token", "x", code=1)


def test_an_unknown_token_is_told(served):
    assert "token is not known" in typed("login", served.url, "--token", "nonsense", code=1)


def test_a_host_administers_by_verbs(served, tmp_path):
    folder = served.folder.path
    token = json.loads(typed("server", "team", folder, "add", "Newcomer", "--json"))["token"]
    assert client.Server(served.url, token).ask("GET", "/api/me")["name"] == "Newcomer"
    assert "reads like" in typed("server", "team", folder, "add", "NEWCOMER", code=1)
    renewed = json.loads(typed("server", "team", folder, "token", "Newcomer", "--json"))["token"]
    with pytest.raises(client.ServerError, match="not known"):
        client.Server(served.url, token).ask("GET", "/api/me")
    typed("server", "quota", folder, "Newcomer", "boxes-val", "--per-day", 3, "--total", 4)
    newcomer = client.Server(served.url, renewed)
    assert newcomer.ask("GET", "/api/me")["left"]["boxes-val"] == {"today": 3, "total": 4}
    typed("server", "ban", folder, "Newcomer")
    with pytest.raises(client.ServerError, match="shut out"):
        newcomer.ask("GET", "/api/me")
    assert "shut out" in typed("server", "team", folder, "list")
    typed("server", "ban", folder, "Newcomer", "--lift")
    assert "unknown team" in typed("server", "ban", folder, "Nobody", code=1)
    sent = newcomer.send(folder.parent / "mine.zip", "boxes-val")
    typed("server", "withdraw", folder, sent["id"])
    assert newcomer.ask("GET", f"/api/submissions/{sent['id']}")["state"] == "withdrawn"
    assert "lines of the journal" in typed("server", "check", folder)
    assert "Nothing to score again" in typed("server", "rescore", folder, "boxes-val")
    typed("server", "backup", folder, "-o", tmp_path / "copy")
    assert json.loads(typed("server", "check", tmp_path / "copy", "--json"))["problems"] == []


def test_a_host_begins_and_ends_a_phase(served, tmp_path):
    folder = tmp_path / "server"
    assert "Public key" in typed("server", "init", folder)
    assert "expected a new or empty folder" in typed("server", "init", folder, code=1)
    data, public = served.benchmark.folder, tmp_path / "public"
    add = ["server", "add-benchmark", folder, data, "--phase", "test", "--public", public]
    assert "closes after it opens" in typed(*add, "--opens", "2027-02-01", "--closes", "2027-01-01", code=1)
    assert "Phase boxes-test" in typed(*add)
    assert "nothing to score on" in typed("server", "add-benchmark", folder, public, code=1)
    assert "is open, it never closes, so" in typed(
        "server", "export", folder, "boxes-test", "-o", tmp_path / "out", code=1
    )
    typed("server", "close", folder, "boxes-test")
    assert "0 entries, labels of 2 videos" in typed("server", "export", folder, "boxes-test", "-o", tmp_path / "out")
    assert "there is no phase" in typed("server", "close", folder, "nothing", code=1)
    assert "found no server.toml" in typed("server", "check", tmp_path / "out", code=1)
