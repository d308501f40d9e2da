"""Who is near another: copies that were changed a little; and not honest runs, however alike."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import bundle_in
from test_entries import filed
from test_plausible import found

from ovsbench.benchmark import engine, manifest
from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.metrics.ap import ApCounts
from ovsbench.benchmark.metrics.miou import MiouCounts, Pixels
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.running.oracle import OracleMethod
from ovsbench.leaderboard import entries, label_counts, nearness, signature
from ovsbench.leaderboard.bundle import pack
from ovsbench.leaderboard.bundle.check import check, check_rerun
from ovsbench.leaderboard.nearness import answers_of, nearest
from ovsbench.leaderboard.own_runs import ENTRIES as OWN
from ovsbench.leaderboard.verified import entry_ids, read_verified
from ovsbench.leaderboard.verify import verify

CLASSES = range(8)


def video(*wrong: int, scale: float = 1.0) -> dict[str, MiouCounts]:
    """Counts of a video of eight classes of 1,000 pixels each, of which so many are wrong in each."""
    rows = {
        c: Pixels(int((1000 - w) * scale), int((1000 + w) * scale), 1000) for c, w in zip(CLASSES, wrong, strict=True)
    }
    return {"miou": MiouCounts((rows,))}


A, B = (100, 210, 55, 80, 300, 120, 90, 10), (130, 180, 75, 60, 340, 80, 120, 30)


def near(*videos: tuple[dict, dict]) -> str:
    mine, theirs = ({f"v{i}": pair[side] for i, pair in enumerate(videos)} for side in (0, 1))
    return nearest(answers_of(mine), {"other": answers_of(theirs)})


def test_more_than_half_of_the_videos_make_a_copy():
    same, different = (video(*A), video(*A)), (video(*A), video(*B))
    assert near(same, same, different) == "other"
    assert near(same, different) == ""
    assert near(different, different, different) == ""
    assert near((video(*A), video(*A[:-1], 12)), (video(*A), video(*A, scale=0.9))) == "other"


def test_a_mixture_of_two_is_near_the_one_it_has_more_of():
    mine = {"v0": video(*A), "v1": video(*A), "v2": video(*B)}
    others = {"a": {"v0": video(*A), "v1": video(*A), "v2": video(*A)}, "b": {v: video(*B) for v in mine}}
    assert nearest(answers_of(mine), {name: answers_of(one) for name, one in others.items()}) == "a"


def test_who_answers_nothing_has_copied_nothing():
    nothing = {"miou": MiouCounts(({c: Pixels(0, 0, 1000) for c in CLASSES},))}
    assert near((nothing, nothing), (nothing, nothing)) == ""


def test_tracks_are_compared_by_scores_and_by_what_is_right():
    def tracks(scores, matched):
        return {"ap": ApCounts({1: (found((3, 1, 1, 1), matched, scores=scores),)})}

    many, right = [0.9 - 0.031 * i for i in range(12)], [1, 3, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]
    assert near((tracks(many, right), tracks(many, right))) == "other"
    assert near((tracks(many, right), tracks([s**2 for s in many], right))) == "other"  # another scale, the same order
    assert near((tracks(many, right), tracks([s**2 for s in many], [0, 0, 3, 1, *right[4:]]))) == ""
    assert near((tracks([0.9], [1]), tracks([0.7], [1]))) == "", "one track that is right is no evidence"


@pytest.mark.skipif(not OWN.is_dir(), reason="the project's own entries are in a checkout only")
def test_the_projects_own_methods_are_near_nobody_and_agree_on_the_labels():
    assert verify(OWN) == []
    assert not [entry for entry in entry_ids(OWN) if read_verified(OWN, entry).near]


def test_another_seed_and_another_method_are_near_nobody(make_bundle, tmp_path):
    board = tmp_path / "board"
    for seed in range(4):
        filed(make_bundle(f"n{seed}", seed, wrong=0.6), board)
    assert {read_verified(board, entry).near for entry in entry_ids(board)} == {""}


def flip(bundle: Path, name: str, key: object = None) -> Path:
    """The same run under another name, with one digit of a key changed."""
    run = bundle.parent / "runs" / "first"
    content = (run / "counts.jsonl").read_text()
    place = content.index('"key":"') + 7
    (run / "counts.jsonl").write_text(content[:place] + ("0" if content[place] != "0" else "1") + content[place + 1 :])
    data = manifest.load(bundle.parent / "data")
    scores = json.loads((run / "scores.json").read_text())
    scores["counts_sha256"] = pack.digest(run / "counts.jsonl")
    (run / "scores.json").write_bytes(pack.json_bytes(scores))
    card = bundle.parent / f"{name}.toml"
    card.write_text(f'name = "{name}"\ntitle = "t"\nauthors = ["a"]\nsaw_novel = "no"\n')
    pack.pack(run, card, data, bundle.parent / f"{name}.zip", predictions=False, strips=0, key=key)
    return bundle.parent / f"{name}.zip"


def test_a_copy_is_filed_flagged_without_a_rank_until_it_is_run_again(make_bundle, tmp_path):
    board = tmp_path / "board"
    bundle = make_bundle("first")
    first = filed(bundle, board)
    copy = filed(flip(bundle, "second"), board)
    assert read_verified(board, copy).near == first
    assert verify(board) == []
    rows = {row.entry: row for row in entries.read_rows(board)}
    assert (rows[first].is_contestant, rows[copy].is_contestant) == (True, False)
    assert f"near {first}" in {flag.name for flag in rows[copy].flags}
    entries.raise_to_rerun(board, copy, tmp_path / "runs" / "first")
    rows = {row.entry: row for row in entries.read_rows(board)}
    assert rows[copy].is_contestant
    assert {"verified", f"near {first}"} <= {flag.name for flag in rows[copy].flags}
    assert {fact.name: fact.by for fact in rows[copy].facts}["Method"] == "rerun"
    facts = {fact.name: fact.by for fact in rows[first].facts}
    assert (facts["Method"], facts["Speed"], facts["Reads labels"], facts["Benchmark"]) == (
        "declared", "declared", "declared", "files",
    )  # fmt: skip


def test_what_one_author_signed_is_no_copy_of_its_own(make_bundle, tmp_path):
    board, key = tmp_path / "board", signature.generate_key(tmp_path / "key")
    bundle = make_bundle("first", key=key)
    filed(bundle, board)
    assert read_verified(board, filed(flip(bundle, "second", key), board)).near == ""
    assert read_verified(board, filed(flip(bundle, "third"), board)).near == "boxes/guess/first"


def test_answers_of_the_labels_are_near_them_also_in_the_first_entry(build_benchmark, tmp_path):
    data, board = build_benchmark(), tmp_path / "board"
    run = tmp_path / "runs" / "mine"
    engine.predict(OracleMethod(), data, run, settings=Settings("mine"))
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "uses_labels": False}))
    engine.score(data, run)
    (tmp_path / "card.toml").write_text('name = "mine"\ntitle = "t"\nauthors = ["a"]\nsaw_novel = "no"\n')
    pack.pack(run, tmp_path / "card.toml", data, tmp_path / "mine.zip", predictions=False, strips=0)
    labels = label_counts.count_labels(data)
    entry = entries.add(check(tmp_path / "mine.zip"), board, bundle_sha256="", new_benchmark=True, labels=labels)
    assert read_verified(board, entry).near == nearness.LABELS
    assert [row.is_contestant for row in entries.read_rows(board)] == [False]


def test_the_first_entry_is_held_against_the_labels(build_benchmark, tmp_path):
    data, board = build_benchmark(), tmp_path / "board"
    other = build_benchmark("other", 3, 7, categories=(2, 4, 9, 11, 7))
    checked = check(bundle_in(tmp_path, data))
    head, *lines = label_counts.count_labels(other).decode().splitlines()
    labels = "\n".join([head.replace(other.digest, data.digest), *lines, ""]).encode()
    with pytest.raises(UserError, match=r"labels-[0-9a-f]{12}\.jsonl has other numbers"):
        entries.add(checked, board, bundle_sha256="", new_benchmark=True, labels=labels)


@pytest.mark.parametrize("field", ["package_version", "entry_point", "package"])
def test_a_second_run_of_other_code_proves_nothing(make_bundle, tmp_path, field):
    checked = check(make_bundle("first"))
    path = tmp_path / "runs" / "first" / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: "other"}))
    with pytest.raises(UserError, match=f"its {field} is not that of the bundle"):
        check_rerun(checked, path.parent)


@pytest.mark.parametrize(("share", "is_near"), [(0.0045, True), (0.0055, False)])
def test_answers_are_the_same_below_half_a_percent(share, is_near):
    """Pixels that went from one class to another count twice, where they are lacking and where they are too many."""
    keys = np.arange(4)
    pixels = np.array([4000.0, 3000.0, 2000.0, 1000.0])
    moved = pixels + np.array([-1.0, 1.0, 0.0, 0.0]) * share / 2 * pixels.sum()
    own, other = ([{"miou": (keys, numbers)}] * 3 for numbers in (pixels, moved))
    assert nearest(own, {"another": other}) == ("another" if is_near else "")
