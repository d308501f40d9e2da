"""What a stranger tries to get onto the board, end to end through the script that looks at pull requests.

All attacks stand in one pull request beside entries of four methods; each has its own section.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from test_check_entries import FOLDER, SCRIPT, git
from world_board import world_board

from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.running.counting import CountedVideo
from ovsbench.benchmark.running.scores import scores_of
from ovsbench.benchmark.storage import files
from ovsbench.leaderboard.bundle import pack
from ovsbench.leaderboard.entries import check_entry, read_rows
from ovsbench.leaderboard.label_counts import read_labels
from ovsbench.leaderboard.row import slug

pytestmark = pytest.mark.skipif(not (shutil.which("git") and shutil.which("bash")), reason="git or bash is missing")
WORLD = "world-val"
GKC, TWO_STAGE, CONSTANT = f"{WORLD}/gkc/gkc", f"{WORLD}/two-stage/two-stage", f"{WORLD}/constant/constant"
ORACLE = f"{WORLD}/oracle-masks/oracle-masks"
Lines = list[dict[str, Any]]


def lines_of(entry: str) -> Lines:
    return [json.loads(line) for line in (world_board() / entry / "counts.jsonl").read_text().splitlines()]


@functools.cache
def benchmark() -> Benchmark:
    return check_entry(world_board(), GKC).benchmark


@dataclass
class Attack:
    """An entry of a stranger: files of another one, changed so that they follow from one another again.

    `expects` is what the check says of it, "" for nothing: it is sound.
    """

    name: str
    expects: str
    source: str = ORACLE
    counts: Callable[[Lines], object] = lambda lines: None
    record: dict[str, Any] = field(default_factory=dict)
    card: str = ""
    mark: dict[str, Any] = field(default_factory=dict)
    shown: str = ""
    scores: dict[str, int] = field(default_factory=dict)

    @property
    def entry(self) -> str:
        return f"{WORLD}/stranger/{slug(self.shown or self.name)}"

    def write(self, board: Path) -> None:
        folder = board / self.entry
        shutil.copytree(world_board() / self.source, folder)
        lines = lines_of(self.source)
        self.counts(lines)
        content = "".join(map(files.json_line, lines)).encode()
        (folder / "counts.jsonl").write_bytes(content)
        sha = hashlib.sha256(content).hexdigest()
        read = [CountedVideo.from_json(line, benchmark().rules, folder) for line in lines]
        made = scores_of(benchmark(), {one.video: one.counts for one in read}, counts_sha256=sha)
        plain = json.loads(json.dumps(dataclasses.asdict(made)))
        plain["metrics"] |= self.scores
        stated = pack.json_bytes(plain)
        (folder / "scores.json").write_bytes(stated)
        record = json.loads((folder / "run.json").read_text())
        record |= {"uses_labels": False, "method": "stranger"}
        record["timing"] |= self.record.get("timing", {})
        (folder / "run.json").write_bytes(pack.json_bytes(record))
        card = f'name = "{self.shown or self.name}"\ntitle = "Ours"\nauthors = ["A. Stranger"]\nsaw_novel = "no"\n'
        (folder / "card.toml").write_text(card + self.card)
        mark = json.loads((folder / "verified.json").read_text())
        mark |= {"level": "counts", "added": "2020-01-01T00:00:00+00:00", "counts_sha256": sha}
        mark |= {"scores_sha256": hashlib.sha256(stated).hexdigest(), **self.mark}
        (folder / "verified.json").write_text(json.dumps(mark))


# what is done to counts


def digit(place: int) -> Callable[[Lines], None]:
    """One hexadecimal digit of a key is another, so that the bytes are."""

    def change(lines: Lines) -> None:
        key = lines[place]["key"]
        lines[place]["key"] = ("0" if key[0] != "0" else "1") + key[1:]

    return change


def pixel(lines: Lines) -> None:
    """In every video each class has a right pixel less, in all metrics that count pixels."""
    for line in lines:
        scale_pixels(line, lambda n, _: max(0, n - 1))


def scale_pixels(line: dict[str, Any], change: Callable[[int, int], int]) -> None:
    """Changes right and wrong pixels of each class; what is lost was given no name."""
    counts = line["counts"]
    for true, row in counts["confusion"].items():
        total = sum(row.values())
        rest = {c: change(n, total) for c, n in row.items() if c != "-1"}
        lost = total - sum(rest.values())
        counts["confusion"][true] = {"-1": lost, **{c: n for c, n in rest.items() if n}} if lost else rest
    margins(counts)


def margins(counts: dict[str, Any]) -> None:
    """Makes miou and stq agree with confusion again."""
    pairs = counts["confusion"]
    predicted: dict[str, int] = {}
    for row in pairs.values():
        for c, n in row.items():
            predicted[c] = predicted.get(c, 0) + n
    unnamed = predicted.pop("-1", 0)
    rows = {
        c: [pairs.get(c, {}).get(c, 0), predicted.get(c, 0), sum(pairs.get(c, {}).values())]
        for c in sorted({*pairs, *predicted}, key=int)
    }
    counts["miou"]["videos"] = [rows]
    old, none = counts["stq"]["classes"], [0, 0, 0, 0.0, 0, 0.0, 0]
    counts["stq"] = {"classes": {c: [*row, *old.get(c, none)[3:]] for c, row in rows.items()}, "unnamed": unnamed}


def scaled(lines: Lines) -> None:
    for line in lines:
        scale_pixels(line, lambda n, _: int(n * 0.97))


def swapped(lines: Lines) -> None:
    """A mixture: a part of the videos is that of another entry."""
    for place, other in enumerate(lines_of(ORACLE)[:14]):
        lines[place] = other


def partial(lines: Lines) -> None:
    """A third of the videos is of another method, the rest of one."""
    lines[:10] = lines_of(CONSTANT)[:10]


def spoiled(lines: Lines) -> None:
    """A constant answer of another class, whose tubes only just match: nobody's."""
    for line in lines:
        scale_pixels(line, lambda n, _: n // 3)
        for by in line["counts"]["vpq"]["windows"].values():
            for row in by.values():
                row[0] = 0.51 * row[1]


def from_labels(lines: Lines) -> None:
    labels = read_labels(next((world_board() / WORLD).glob("labels-*.jsonl")), benchmark())
    for line in lines:
        known = {name: one.to_json() for name, one in labels.counts[line["video"]].items()}
        line["counts"] = json.loads(json.dumps({name: known[name] for name in line["counts"]}))


def perfect_tubes(lines: Lines) -> None:
    for by in lines[0]["counts"]["vpq"]["windows"].values():
        for c, (_, tp, _, fn) in by.items():
            by[c] = [float(tp + fn), tp + fn, 0, 0]


def fewer_tubes(lines: Lines) -> None:
    """Misses are left out."""
    for line in lines:
        for by in line["counts"]["vpq"]["windows"].values():
            for row in by.values():
                row[3] = 0


def first_class(metric: str, change: Callable[[list[Any]], None]) -> Callable[[Lines], None]:
    """Changes the row of the first class of the first video where that metric has one."""

    def work(lines: Lines) -> None:
        for line in lines:
            rows = line["counts"][metric]
            rows = rows["classes"] if metric == "stq" else rows["8"] if metric == "vc" else rows
            found = [row for c, row in rows.items() if c != "-1" and (metric != "stq" or row[4])]
            if found:
                change(found[0])
                return

    return work


def all_found(row: list[Any]) -> None:
    row[1:] = [row[0], [row[0]] * 19, [float(row[0])] * 19]


def put(*values: tuple[int, Any]) -> Callable[[list[Any]], None]:
    def change(row: list[Any]) -> None:
        for place, value in values:
            row[place] = value(row) if callable(value) else value

    return change


CORRECTS = f'supersedes = "{GKC}"\n'


def true(row: list[Any]) -> int:
    return row[0]


def gone(by: str) -> dict[str, str]:
    return {"supersedes": GKC, "corrected_by": by}


ATTACKS = [
    Attack("gkc-is-gone", "can be corrected by its author", counts=digit(1), card=CORRECTS, mark=gone("")),
    Attack("says-author", "can be corrected by its author", counts=digit(2), card=CORRECTS, mark=gone("author")),
    Attack("says-ours", "cannot speak for the maintainers", counts=digit(3), card=CORRECTS, mark=gone("maintainers")),
    Attack("one-digit", f"its counts are near {ORACLE}", counts=digit(4)),
    Attack("one-pixel", f"its counts are near {TWO_STAGE}", TWO_STAGE, pixel),
    Attack("scaled", f"its counts are near {ORACLE}", counts=scaled),
    Attack("mixture", f"its counts are near {GKC}", GKC, swapped),
    Attack("partial", f"its counts are near {TWO_STAGE}", TWO_STAGE, partial),
    Attack("constant-again", f"its counts are near {CONSTANT}", CONSTANT, digit(5)),
    Attack("labels", "its counts are near labels on", counts=from_labels),
    Attack("flagged", "", counts=digit(6), mark={"near": ORACLE}),
    Attack("perfect-tubes", "miou too few common pixels", CONSTANT, perfect_tubes),
    Attack("fewer-tubes", "vpq counts ", GKC, fewer_tubes),
    Attack("hota", "hota of category", CONSTANT, first_class("hota", all_found)),
    Attack("clear", "clear and hota disagree", GKC, first_class("clear", put((1, lambda row: row[1] + 1)))),
    Attack("clear-all", "than clear|disagree", CONSTANT, first_class("clear", put((1, true), (2, true)))),
    Attack("stq", "stq of category", CONSTANT, first_class("stq", put((3, lambda row: float(row[4]))))),
    Attack("vc", "vc@8 of category", CONSTANT, first_class("vc", put((2, lambda row: float(row[3]))))),
    Attack("vc-windows", "vc counts 8: ", ORACLE, first_class("vc", put((1, lambda row: row[1] - 1), (0, 0), (2, 0)))),
    Attack("fast", "more than a decoder gives", record={"timing": {"seconds": 1e-5, "fps": None}}),
    Attack("timed", "frames were timed", record={"timing": {"frames": 76700, "fps": None}}),
    Attack("case", "looks like that of world-val/gkc/gkc", counts=digit(7), shown="GKC"),
    Attack("cyrillic", "looks like that of world-val/gkc/gkc", counts=digit(8), shown="gk\u0441"),
    Attack("blank", "letters or digits that can be seen", shown="\u3164"),
    Attack("near-nobody", "its counts are near nobody's", CONSTANT, spoiled, mark={"near": GKC}),
    Attack("old-metric", "it was scored with version 1 of the metric miou", counts=digit(10), scores={"miou": 1}),
    Attack("rerun", "can show the level counts and no other", counts=digit(9), mark={"level": "rerun"}),
]  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str, Path]:
    """Status and text of the script for all attacks at once, and the board with them."""
    repository = tmp_path_factory.mktemp("attacks")
    board = repository / FOLDER
    shutil.copytree(world_board(), board, ignore=shutil.ignore_patterns(".*"))
    git(repository, "init", "-q")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "base")
    git(repository, "checkout", "-qb", "head")
    for attack in ATTACKS:
        attack.write(board)
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "head")
    git(repository, "checkout", "-q", "base")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(["bash", str(SCRIPT), "base", "head"], cwd=repository, env={**os.environ, "PATH": path},
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout, board


def said_of(text: str, entry: str) -> str:
    """The section of an entry."""
    return next(section for section in text.split("### `") if section.startswith(f"{entry}`"))


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_is_refused_or_flagged(report, attack):
    status, text, _ = report
    said = said_of(text, attack.entry)
    if attack.expects:
        assert re.search(attack.expects, said), said
    else:
        assert "Not sound" not in said
        assert f"Its counts are near those of `{ORACLE}`: it is not ranked until somebody ran it again" in said
    assert status == 1
    assert text.rstrip().endswith("**Not to be merged as it is.**")


def test_what_is_near_another_is_shown_with_its_name_and_has_no_rank(report):
    board = report[2]
    entry = next(attack.entry for attack in ATTACKS if attack.name == "flagged")
    for attack in ATTACKS:
        if attack.entry != entry:
            shutil.rmtree(board / attack.entry, ignore_errors=True)
    row = next(row for row in read_rows(board) if row.entry == entry)
    assert not row.is_contestant
    assert f"near {ORACLE}" in {flag.name for flag in row.flags}
    assert all(row.is_contestant for row in read_rows(board) if row.entry == GKC)
