from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ovsbench.benchmark import manifest
from ovsbench.benchmark.errors import DataError, UserError
from ovsbench.benchmark.metrics.miou import MiouCounts
from ovsbench.benchmark.pair_tests import MOST_SWAPPED
from ovsbench.benchmark.running.comparison import left_out_of, methods_of
from ovsbench.benchmark.running.score_names import ScoreName, ranking_score
from ovsbench.leaderboard import entries, signature, summary
from ovsbench.leaderboard.bundle import pack
from ovsbench.leaderboard.bundle.check import check
from ovsbench.leaderboard.own_runs import ENTRIES as OWN
from ovsbench.leaderboard.row import Fact, Row
from ovsbench.leaderboard.run_row import DECLARED, NOTED, _once
from ovsbench.leaderboard.site.pages import _of_table, page_table
from ovsbench.leaderboard.site.table import tables
from ovsbench.leaderboard.summary import unpack
from ovsbench.leaderboard.verified import read_verified
from ovsbench.leaderboard.verify import verify


def filed(path: Path, board: Path, **more: bool) -> str:
    return entries.add(check(path), board, bundle_sha256=pack.digest(path), **{"new_benchmark": True, **more})


@pytest.fixture
def board(tmp_path: Path) -> Path:
    return tmp_path / "board"


def test_an_entry_is_filed_under_its_benchmark_method_and_name(make_bundle, board):
    entry = filed(make_bundle("first"), board)
    assert entry == "boxes/guess/first"
    assert {path.name for path in (board / entry).iterdir()} == {
        "card.toml", "counts.jsonl", "run.json", "scores.json", "verified.json",
    }  # fmt: skip
    assert verify(board) == []
    (row,) = entries.read_rows(board)
    assert (row.title, row.level, row.entry, row.trained_on) == ("first", "counts", entry, ("nothing",))


def test_predictions_are_counted_and_not_kept(make_bundle, board, tmp_path):
    checked = check(make_bundle(predictions=True), data=manifest.load(tmp_path / "data"))
    entry = entries.add(checked, board, bundle_sha256="", new_benchmark=True)
    assert not (board / entry / "predictions").exists()
    assert entries.read_rows(board)[0].level == "predictions"
    assert entries.check_entry(board, entry).level == "predictions"


def test_a_benchmark_that_the_board_does_not_have_needs_a_word(make_bundle, board):
    with pytest.raises(UserError, match=r"is on no table of .*known: none\. .*--new-benchmark"):
        filed(make_bundle(), board, new_benchmark=False)
    filed(make_bundle(), board)
    assert filed(make_bundle("more", seed=1), board, new_benchmark=False) == "boxes/guess/more"


def test_a_duplicate_is_refused_with_the_name_of_the_entry(make_bundle, board):
    filed(make_bundle("first"), board)
    with pytest.raises(UserError, match="on the board as boxes/guess/first"):
        filed(make_bundle("second"), board)
    with pytest.raises(UserError, match=r"'first' looks like that of boxes/guess/first\. Choose another"):
        filed(bundle_of_same_name(make_bundle), board)


def bundle_of_same_name(make_bundle) -> Path:
    card = 'name = "first"\ntitle = "t"\nauthors = ["a"]\nsaw_novel = "no"\nsupersedes = "{supersedes}"'
    return make_bundle("third", seed=3, card=card)


def test_a_correction_takes_the_place_of_what_it_names_and_nothing_is_removed(make_bundle, board):
    filed(make_bundle("first"), board)
    second = filed(make_bundle("second", seed=2, supersedes="boxes/guess/first"), board, is_maintainer=True)
    first_row, second_row = entries.read_rows(board)
    assert (first_row.is_contestant, second_row.is_contestant) == (False, True)
    assert "corrected" in {flag.name for flag in first_row.flags}
    assert any("boxes/guess/first, says the maintainers" in flag.meaning for flag in second_row.flags)
    assert entries.entry_ids(board) == ["boxes/guess/first", second]
    with pytest.raises(UserError, match="was superseded by boxes/guess/second already"):
        filed(make_bundle("third", seed=3, supersedes="boxes/guess/first"), board, is_maintainer=True)
    with pytest.raises(UserError, match="'boxes/guess/none', which is not on the board"):
        filed(make_bundle("fourth", seed=4, supersedes="boxes/guess/none"), board, is_maintainer=True)
    bundle = make_bundle("fifth", seed=2, supersedes=second)  # the same predictions under a better card
    same = filed(bundle, board, is_maintainer=True)
    assert [row.entry for row in entries.read_rows(board) if row.is_contestant] == [same]
    assert verify(board) == []


def test_an_entry_is_corrected_by_the_key_that_signed_it_and_by_no_other(make_bundle, board, tmp_path):
    mine, other = signature.generate_key(tmp_path / "mine"), signature.generate_key(tmp_path / "other")
    first = filed(make_bundle("first", key=mine), board)
    for key in (None, other):
        with pytest.raises(UserError, match="can be corrected by its author, with the key that signed it"):
            filed(make_bundle("second", seed=2, supersedes=first, key=key), board)
    second = filed(make_bundle("second", seed=2, supersedes=first, key=mine), board)
    assert (read_verified(board, second).corrected_by, verify(board)) == ("author", [])
    marks = [row.is_contestant for row in entries.read_rows(board)]
    assert marks == [False, True]


def test_a_mark_of_a_correction_that_nobody_may_make_is_found(make_bundle, board, tmp_path):
    first = filed(make_bundle("first"), board)
    key = signature.generate_key(tmp_path / "key")
    bundle = make_bundle("second", seed=2, supersedes=first, key=key)
    path = board / filed(bundle, board, is_maintainer=True) / "verified.json"
    for forged in ("author", ""):
        path.write_text(json.dumps({**json.loads(path.read_text()), "corrected_by": forged}))
        (problem,) = verify(board)
        assert "can be corrected by its author" in problem


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("scores.json", lambda text: text.replace('"videos": 3', '"videos": 4'), "videos is 4, the counts give 3"),
        ("counts.jsonl", lambda text: text.replace("v1", "v7"), "has no video 'v7'"),
        ("verified.json", lambda text: text.replace('"counts"', '"trust me"'), "expected one of counts, predictions"),
        ("card.toml", lambda text: text + "\nsupersedes = 3", "expected TOML"),
        ("virus.exe", lambda text: "x", "does not belong into an entry"),
    ],
)
def test_an_entry_that_was_edited_is_found(make_bundle, board, name, change, reason):
    path = board / filed(make_bundle("first"), board) / name
    path.write_text(change(path.read_text() if path.exists() else ""))
    (problem,) = verify(board)
    assert reason in problem


def test_a_link_in_an_entry_is_found(make_bundle, board, tmp_path):
    folder = board / filed(make_bundle("first"), board)
    (tmp_path / "elsewhere").write_bytes((folder / "card.toml").read_bytes())
    (folder / "card.toml").unlink()
    (folder / "card.toml").symlink_to(tmp_path / "elsewhere")
    (problem,) = verify(board)
    assert "found a link" in problem


def test_counts_against_other_labels_are_refused(make_bundle, board):
    """Counts may add up and still be of other labels; but two methods see as many labelled pixels of each class."""
    filed(make_bundle("first"), board)
    checked = check(make_bundle("second", seed=1))
    (video, counts), *_ = checked.counts.items()
    pixels = counts["miou"].videos[0]
    (c, row), *_ = [item for item in pixels.items() if item[1].true]
    more = MiouCounts(({**pixels, c: row._replace(true=row.true + 1)},))
    changed = dataclasses.replace(checked, counts={**checked.counts, video: {**counts, "miou": more}})
    with pytest.raises(UserError, match=f"video {video}: miou counts {c}: .* boxes/guess/first has other numbers"):
        entries.add(changed, board, bundle_sha256="")


def test_two_writers_lose_nothing_and_a_kill_leaves_the_board_valid(make_bundle, board, tmp_path):
    paths = [make_bundle(f"n{seed}", seed=seed) for seed in range(3)]
    code = (
        "import sys\nfrom pathlib import Path\nfrom ovsbench.leaderboard import entries\n"
        "from ovsbench.leaderboard.bundle import pack\n"
        "from ovsbench.leaderboard.bundle.check import check\n"
        "for name in sys.argv[2:]:\n"
        "    path = Path(name)\n"
        "    entries.add(check(path), Path(sys.argv[1]), bundle_sha256=pack.digest(path), new_benchmark=True)\n"
    )

    def start(*chosen: Path, code: str = code) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", code, str(board), *map(str, chosen)], stderr=subprocess.PIPE)

    both = [start(paths[0]), start(paths[1])]
    assert [one.wait(60) for one in both] == [0, 0]
    for one in both:
        one.stderr.close()
    assert len(entries.entry_ids(board)) == 2
    killed = start(
        paths[2], code=f"import time\nfrom pathlib import Path\nPath.rename = lambda *_: time.sleep(600)\n{code}"
    )
    deadline = time.monotonic() + 60
    while not (board / ".adding" / "verified.json").exists() and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.kill()  # just before the entry would appear
    assert killed.wait() == -signal.SIGKILL
    killed.stderr.close()
    assert (board / ".adding").exists()
    assert verify(board) == []
    assert len(entries.entry_ids(board)) == 2
    filed(paths[2], board)
    assert len(entries.read_rows(board)) == 3
    assert not (board / ".adding").exists()


def test_a_rank_is_one_and_the_number_of_rows_that_are_clearly_ahead(make_bundle, build_benchmark, board):
    build_benchmark(videos=14, frames=2)
    for seed, wrong in enumerate((0.9, 0.9, 0.0)):
        filed(make_bundle(f"n{seed}", seed=seed, wrong=wrong), board)
    (table,) = tables(entries.read_rows(board))
    for line in table.lines:
        value = line.values[table.columns.index(table.ranked_by)]
        assert line.interval.low <= value <= line.interval.high
    folders = [str(line.row.folder) for line in table.lines]
    behind = [sum(table.found.is_clear(one, other) for other in folders[:place]) for place, one in enumerate(folders)]
    assert [line.rank for line in table.lines] == [1 + number for number in behind]
    assert [(n.first, n.second) for n in table.neighbours] == [tuple(folders[:2]), tuple(folders[1:])]
    known = {str(row.folder): row.counted() for row in entries.read_rows(board)}
    methods = methods_of({folder: [known[folder][1]] for folder in folders})
    of_score = left_out_of(known[folders[0]][0], methods[folders[0]], [ScoreName.read(table.ranked_by.key)])
    assert table.found.left_out[folders[0]] == pytest.approx(next(iter(of_score.values())), abs=1e-7)


def test_a_table_without_counts_or_of_many_rows_is_tested_by_t(make_bundle, build_benchmark, board):
    build_benchmark(videos=8, frames=2)
    filed(make_bundle("first"), board)
    (row,) = entries.read_rows(board)
    key = "mIoU.harmonic"

    def moved(name: str, by: float) -> Row:
        left_out = row.summary.left_out[key] + by + 0.001 * np.cos(np.arange(9) * by * 1000)
        scores = {**row.scores, "mIoU": {**row.scores["mIoU"], "harmonic": float(left_out[0])}}
        new = dataclasses.replace(row.summary, left_out={**row.summary.left_out, key: left_out})
        return dataclasses.replace(
            row, folder=Path(name), title=name, slug=name, scores=scores, summary=new, counted=None
        )

    rows = [moved("a", 0.0), moved("b", 0.001), moved("c", 0.3)]
    (table,) = tables(rows)
    assert [(line.row.title, line.rank) for line in table.lines] == [("c", 1), ("b", 2), ("a", 2)]
    bound = dataclasses.replace(moved("bound", 0.4), is_contestant=False)
    (table,) = tables([bound, *rows])
    assert [line.rank for line in table.lines] == [1, 2, 2, None]
    many = [moved(f"m{number}", 0.0005 * number) for number in range(MOST_SWAPPED)]
    (table,) = tables([dataclasses.replace(one, counted=row.counted) for one in (*many, rows[2])])
    assert table.lines[0].rank == 1
    assert all(line.rank > 1 for line in table.lines[1:])
    data = _of_table(page_table(table, "page", {}), page_table(table, "page", {}).lines[0])
    clear, others = table.found.alone[table.found.clear], table.found.alone[~table.found.clear]
    assert clear.max() < data["most"] < np.nanmin(others), "with a margin, as the page works p out to fewer digits"
    assert data["most"] - clear.max() > 1e-3 * data["most"]


def test_where_only_novel_names_are_offered_they_alone_are_shown_and_rank(make_bundle, board):
    for seed in (0, 1):
        filed(make_bundle(f"n{seed}", seed, offered="novel"), board)
    (table,) = tables(entries.read_rows(board))
    assert table.ranked_by.key == "mIoU.novel"
    assert {column.key.partition(".")[2] for column in table.columns if column.unit == "score"} == {"novel"}
    assert all(line.values[0] is not None for line in table.lines)


def test_an_entry_that_was_put_there_by_hand_is_looked_at_beside_the_others(make_bundle, board):
    first = filed(make_bundle("n0"), board)

    def copied(name: str, change: Callable[[dict], object], card: str) -> list[str]:
        folder = board / "boxes" / "guess" / name
        shutil.copytree(board / first, folder)
        mark = json.loads((folder / "verified.json").read_text())
        change(mark)
        (folder / "verified.json").write_text(json.dumps(mark))
        text = (folder / "card.toml").read_text().replace('"n0"', f'"{card}"')
        (folder / "card.toml").write_text(text.replace('supersedes = ""', f'supersedes = "{mark["supersedes"]}"'))
        problems = verify(board, [f"boxes/guess/{name}"])
        shutil.rmtree(folder)
        return problems

    (problem,) = copied("copy", lambda mark: None, "copy")
    assert "these predictions are on the board as boxes/guess/n0" in problem
    (problem,) = copied("other", lambda mark: mark.update(supersedes=first), "copy")
    assert "expected it at boxes/guess/copy" in problem
    (problem,) = copied("copy", lambda mark: mark.update(supersedes="boxes/guess/none"), "copy")[:1]
    assert "supersedes 'boxes/guess/none', which is not on the board" in problem
    corrects = {"supersedes": first, "corrected_by": "maintainers"}
    assert copied("copy", lambda mark: mark.update(corrects), "copy") == []
    assert verify(board) == []


def test_what_papers_report_is_shown_and_never_ranked(make_bundle, board):
    filed(make_bundle("first"), board)
    reported = board / "boxes" / "reported.toml"
    row = '[[row]]\nname = "<b>Paper</b>"\npaper = "https://example.org/"\nvalues = {{ "mIoU.all" = {value} }}\n'
    reported.write_text(row.format(value=0.99))
    (table,) = tables(entries.read_rows(board))
    assert [(line.row.level, line.rank) for line in table.lines] == [("counts", 1), ("reported", None)]
    assert verify(board) == []
    reported.write_text(row.format(value=99))
    with pytest.raises(DataError, match="expected the address of a paper, and fractions"):
        entries.read_rows(board)


def test_numbers_of_papers_make_a_table_of_their_own_where_nothing_was_filed(make_bundle, board):
    filed(make_bundle(), board)
    (board / "lvvis-val").mkdir()
    row = '[[row]]\nname = "A paper"\npaper = "https://example.org/"\nvalues = { "AP.all" = 0.3, "AP.novel" = 0.2 }\n'
    (board / "lvvis-val" / "reported.toml").write_text(row)
    ours, theirs = tables(entries.read_rows(board))
    assert (ours.benchmark, theirs.benchmark) == ("boxes", "lvvis-val")
    assert [column.key for column in theirs.columns] == ["AP.all", "AP.novel"]
    assert [line.rank for line in theirs.lines] == [None]
    assert theirs.facts == ("all names offered", "numbers of papers alone: nobody has filed an entry yet")
    assert verify(board) == []


def test_the_numbers_of_papers_that_come_with_the_project_can_be_read():
    rows = [row for row in entries.read_rows(OWN) if row.level == "reported"]
    images = {
        "ade20k-150-validation", "ade20k-847-validation", "pascal-context-59-validation",
        "pascal-context-459-validation", "voc-20-val", "cityscapes-val",
    }  # fmt: skip
    videos = {
        "lvvis-val", "lvvis-test", "vipseg-gkc-val", "vspw-ov2vss-val", "ytvis2019-val", "ytvis2021-val", "ovis-val",
        "burst-frequency-test", "tao-val", "tao-test",
        "sacoveval-sav_test", "sacoveval-yt1b_test", "sacoveval-smartglasses_test",
    }  # fmt: skip
    assert {row.benchmark for row in rows} == {*videos, *images}
    people = {row.benchmark: row.scores["cgF1"]["all"] for row in rows if row.title == "Human"}
    assert people == {
        "sacoveval-sav_test": 0.531, "sacoveval-yt1b_test": 0.712, "sacoveval-smartglasses_test": 0.585,
    }  # fmt: skip
    for table in tables(rows):  # what a row has is a column of its table
        assert all(any(line.row.value(column.key) is not None for column in table.columns) for line in table.lines)
    assert all(row.links[0][1].startswith("https://") and not row.is_contestant for row in rows)


def test_scores_without_each_video_are_stored_in_float32():
    values = np.array([0.0, 1.0, 0.123456789, -0.25, np.nan]).astype(np.float32).astype(np.float64)
    assert unpack(summary.pack(values)).tolist()[:4] == values.tolist()[:4]
    assert np.isnan(unpack(summary.pack(values))[4])


def test_the_score_that_ranks_is_the_one_that_the_task_has():
    assert str(ranking_score({"VPQ": ["all"], "mIoU": ["all", "harmonic"]})) == "mIoU.harmonic"
    assert str(ranking_score({"AP": ["all"]})) == "AP.all"


def test_a_summary_of_another_version_is_made_again(make_bundle, board):
    filed(make_bundle("first"), board)
    (path,) = (board / ".summaries").glob("*.json")
    before = entries.read_rows(board)[0].summary
    path.write_text(json.dumps({"schema": 1, "key": "of another version"}))
    after = entries.read_rows(board)[0].summary
    assert after.left_out.keys() == before.left_out.keys()
    assert after.key == before.key
    whole = path.read_bytes()  # kept again
    path.write_text(path.read_text().replace('"v0"', '"v9"', 1))
    assert verify(board) == []
    assert path.read_bytes() == whole, "verify makes it anew, whatever stands there"


def test_a_summary_that_an_entry_brings_is_not_believed(make_bundle, board):
    folder = board / filed(make_bundle("first"), board)
    (path,) = (board / ".summaries").glob("*.json")
    true = entries.read_rows(board)[0].summary.videos
    forged = json.loads(path.read_text())
    forged["videos"] = {video: [1.0] * len(values) for video, values in forged["videos"].items()}
    (folder / "summary.json").write_text(json.dumps(forged))  # with the right key
    path.unlink()
    assert entries.read_rows(board)[0].summary.videos == true


def test_what_a_row_has_seen_of_novel_words_is_said_once():
    facts = (Fact(DECLARED, "words: yes"), Fact("Method", "gkc"), Fact(NOTED, "words, through its teacher"))
    assert _once(facts) == facts[:2]
    assert _once(facts[1:]) == facts[1:]
