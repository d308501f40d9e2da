from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import re
import resource
import stat
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ovsbench.benchmark import engine, manifest
from ovsbench.benchmark.errors import DataError, UserError
from ovsbench.benchmark.record import RunRecord, Settings, Timing
from ovsbench.benchmark.running.oracle import OracleMethod
from ovsbench.benchmark.running.score_names import ranking_score
from ovsbench.benchmark.storage import files
from ovsbench.leaderboard.bundle import pack
from ovsbench.leaderboard.bundle.card import CARD, read_card, template
from ovsbench.leaderboard.bundle.check import check, check_rerun
from ovsbench.leaderboard.bundle.speed_bound import credible
from ovsbench.leaderboard.bundle.training_set_audit import contradictions

Parts = dict[str, bytes]
HTML = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def parts_of(path: Path) -> Parts:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def zipped(path: Path, parts: Parts, **more: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in {**parts, **more}.items():
            file.writestr(name, content)
    return path


@pytest.fixture
def parts(make_bundle) -> Parts:
    return parts_of(make_bundle())


@pytest.fixture
def refused(tmp_path: Path) -> Callable[[Parts], str]:
    def attempt(parts: Parts) -> str:
        with pytest.raises(DataError) as caught:
            check(zipped(tmp_path / "hostile.zip", parts))
        assert len(str(caught.value)) < 800
        return str(caught.value)

    return attempt


def edited(content: bytes, change: Callable[[dict], object]) -> bytes:
    value = json.loads(content)
    change(value)
    return pack.json_bytes(value)


def test_a_bundle_of_a_scored_run_is_sound_and_says_how_far_it_was_checked(make_bundle, tmp_path):
    path = make_bundle(predictions=True)
    checked = check(path)
    assert (checked.level, checked.card.name, checked.scores.videos) == ("counts", "guess", 3)
    assert check(path, data=manifest.load(tmp_path / "data")).level == "predictions"


def test_the_same_run_gives_the_same_bytes(make_bundle):
    first = make_bundle(predictions=True)
    content = first.read_bytes()
    assert make_bundle(predictions=True).read_bytes() == content


def test_a_bundle_tells_no_folder_of_the_submitter(make_bundle, tmp_path):
    for content in parts_of(make_bundle()).values():
        assert str(tmp_path).encode() not in content


def test_a_score_edited_by_hand_fails_with_the_value_it_should_be(parts, refused):
    true = json.loads(parts["scores.json"])["values"]["mIoU"]["novel"]
    parts["scores.json"] = edited(parts["scores.json"], lambda s: s["values"]["mIoU"].update(novel=0.99))
    assert f"values.mIoU.novel is 0.99, the counts give {true!r}" in refused(parts)


def test_a_score_that_differs_in_its_last_bit_fails(parts, refused):
    def nudge(scores):
        scores["values"]["VPQ"]["all"] = math.nextafter(scores["values"]["VPQ"]["all"], 1)

    parts["scores.json"] = edited(parts["scores.json"], nudge)
    assert "values.VPQ.all is" in refused(parts)


def test_a_bundle_whose_objects_are_found_better_later_is_sound(make_bundle, tmp_path):
    """Its decay is below 0, its counts are not."""
    make_bundle()
    benchmark, run = manifest.load(tmp_path / "data"), tmp_path / "runs" / "guess"
    scores = engine.score(benchmark, run, extra=["davis"])
    assert min(c.scores["J_decay"] or 0 for c in scores.categories) < 0
    pack.pack(run, tmp_path / "guess.toml", benchmark, tmp_path / "more.zip", predictions=True, strips=0)
    assert check(tmp_path / "more.zip", data=benchmark).scores.values["J_decay"] == scores.values["J_decay"]


def test_counts_edited_by_hand_fail_against_the_predictions(make_bundle, tmp_path):
    path = make_bundle(predictions=True)
    parts = parts_of(path)
    other = parts_of(make_bundle("other", seed=1, predictions=True))
    mixed = {**parts, **{name: other[name] for name in ("counts.jsonl", "scores.json")}}
    data = manifest.load(tmp_path / "data")
    check(zipped(tmp_path / "mixed.zip", mixed))
    with pytest.raises(DataError, match=r"video v0: .* the predictions give"):
        check(tmp_path / "mixed.zip", data=data)
    some = {name: content for name, content in parts.items() if "predictions/v1" not in name}
    with pytest.raises(DataError, match="predictions of all 3 videos or of none; in one only: 'v1'"):
        check(zipped(tmp_path / "some.zip", some), data=data)


def counts_with(parts: Parts, change: Callable[[list[dict]], object]) -> Parts:
    """The parts with changed counts that are written as counts are written."""
    lines = [json.loads(line) for line in parts["counts.jsonl"].splitlines()]
    change(lines)
    return {**parts, "counts.jsonl": "".join(map(files.json_line, lines)).encode()}


def first_class(line: dict, metric: str) -> list:
    counts = line["counts"][metric]
    rows = {"miou": lambda: counts["videos"][0], "vpq": lambda: counts["windows"]["1"], "vc": lambda: counts["8"]}
    rows["hota"], rows["stq"] = lambda: counts, lambda: counts["classes"]
    return next(iter(rows[metric]().values()))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda lines: lines.pop(), "1 of 3 videos of boxes are missing: v2"),
        (lambda lines: lines.append(lines[0]), "line 4: video 'v0' is in it twice"),
        (lambda lines: lines.reverse(), "another order"),
        (lambda lines: lines[0].update(video="v9"), "has no video 'v9'"),
        (lambda lines: lines[0]["counts"].pop("stq"), "not written as this version writes them"),
        (lambda lines: lines[0].update(more=1), "not written as this version writes them"),
        (lambda lines: first_class(lines[0], "miou").__setitem__(0, 10**6), "common pixels of"),
        (lambda lines: first_class(lines[0], "miou").__setitem__(0, -1), "negative, too large or no number"),
        (lambda lines: first_class(lines[0], "miou").__setitem__(0, 10**400), "negative, too large or no number"),
        (lambda lines: first_class(lines[0], "miou").__setitem__(0, "7"), "unexpected kind"),
        (lambda lines: first_class(lines[0], "miou").__setitem__(2, 10**7), "labelled pixels in a video of 2240"),
        (lambda lines: first_class(lines[0], "vpq").__setitem__(1, 10**6), "vpq@1 of category"),
        (lambda lines: first_class(lines[0], "hota")[2].__setitem__(0, 10**6), "1000000 matches of"),
        (lambda lines: first_class(lines[0], "stq").__setitem__(3, 1000), "association of 1000"),
        (lambda lines: first_class(lines[0], "stq").__setitem__(2, 2239), "stq and miou disagree"),
        (lambda lines: lines[0]["counts"]["confusion"].popitem(), "confusion and miou disagree"),
        (lambda lines: lines[0]["counts"]["vpq"]["windows"].pop("2"), "vpq has windows of"),
        (lambda lines: lines[0]["counts"]["miou"]["videos"][0].update({"77": [0, 0, 1]}), "category 77, which the"),
    ],
)
def test_counts_that_cannot_be_are_refused(parts, refused, change, reason):
    assert reason in refused(counts_with(parts, change))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("run.json", b"[" * 200_000, "nested too deeply"),
        ("run.json", b'{"schema": 1, "seed": NaN}', "NaN is no number of JSON"),
        ("run.json", b'{"schema": 1, "seed": ' + b"9" * 5000 + b"}", "expected JSON"),
        ("run.json", b"\xff\xfe", "expected JSON"),
        ("run.json", b'{"schema": 2}', "of schema 1"),
        ("scores.json", b"{}", "of schema 1"),
        ("benchmark.json", b'{"schema": 1}', "a part of the benchmark is missing"),
        ("counts.jsonl", b"[" * 100_000 + b"\n", "nested too deeply"),
        ("counts.jsonl", b"{}\n", "expected the counts of a video"),
        ("counts.jsonl", b"", "3 of 3 videos"),
        ("counts.jsonl", b'{"video":"v0"}', "last line is cut off"),
        ("card.toml", b"a = " + b"[" * 20_000, "expected TOML"),
        ("card.toml", b"name = 3", "name: expected one line of printable text, got 3"),
        ("card.toml", b'nam = "x"', "unknown key 'nam'; did you mean 'name'"),
        ("card.toml", b'name = "' + b"x" * 50 + b'"', "at most 40 characters"),
        ("card.toml", 'name = "a\u202eb"'.encode(), "name: expected one line of printable text, got"),
        ("card.toml", b"\xff", "expected TOML"),
        ("card.toml", b"x" * 70_000, "70000"),
        ("card.toml", b"a.b.c." * 5000 + b"d = 1", "it has 15000 dots"),
        ("counts.jsonl", b"\n" * 10_000_000, "expected JSON"),
        ("counts.jsonl", b'{"video": "' + b"a" * 20_000_000 + b'"}\n', "lines of 8 MB at most"),
    ],
)
def test_a_part_that_is_not_what_it_has_to_be_is_refused(parts, refused, name, content, reason):
    assert reason in refused({**parts, name: content})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"benchmark_digest": "ab" * 32}, "No such benchmark is known"),
        ({"benchmark": "another"}, "names another benchmark"),
        ({"vocabulary_digest": ""}, "the names offered are not the all names"),
        ({"limit": 2}, "only the first 2 videos"),
        ({"seed": 2**60}, "expected a whole number, got a number out of range"),
        ({"seed": "1"}, "expected a whole number, got '1'"),
        ({"device": "a\nb"}, "expected one line of printable text"),
        ({"notes": {"a": 3}}, "expected one line of printable text, got 3"),
        ({"notes": []}, "expected keys with values, got []"),
        ({"offered": "some"}, "expected one of all, base, novel"),
        ({"peak_memory_gb": -1.0}, "at least 0"),
        ({"colour": "red"}, "unknown key 'colour'"),
    ],
)
def test_a_record_that_cannot_be_is_refused(parts, refused, change, reason):
    parts["run.json"] = edited(parts["run.json"], lambda record: record.update(change))
    assert reason in refused(parts)


def test_a_benchmark_that_was_changed_has_another_digest(parts, refused):
    def easier(content):
        content["videos"].pop()

    parts["benchmark.json"] = edited(parts["benchmark.json"], easier)
    assert "No such benchmark is known" in refused(parts)
    parts["benchmark.json"] = edited(parts["benchmark.json"], lambda b: b["videos"][0].update(size=[10**9, 10**9]))
    assert "frames of no size" in refused(parts)


@pytest.mark.parametrize("missing", pack.PARTS)
def test_a_bundle_without_one_of_its_parts_is_refused(parts, refused, missing):
    del parts[missing]
    assert f"{missing} is missing" in refused(parts)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../run.json", "leads out of the bundle"),
        ("/etc/passwd", "leads out of the bundle"),
        ("predictions/../../x/00000.png", "leads out of the bundle"),
        ("C:/x", "leads out of the bundle"),
        ("a\\b", "leads out of the bundle"),
        ("inner.zip", "does not belong into a bundle"),
        ("predictions/v0/inner.zip", "does not belong into a bundle"),
        ("predictions/", "is a link or no plain file"),
        ("strips/v0/image.svg", "does not belong into a bundle"),
        ("strips/v0/image.jpg", "is missing beside its sisters"),
        ("strips/v9/image.jpg", "boxes has no video 'v9' to show"),
        ("strips/v\u202e0/image.jpg", "does not belong into a bundle"),
    ],
)
def test_a_name_that_no_bundle_has_is_refused(parts, refused, name, reason):
    assert reason in refused({**parts, name: b"x"})


def test_pictures_are_opened_before_they_may_lie_on_a_page(parts, refused):
    fakes = {f"strips/v0/{name}": b"<html>" for name in pack.PICTURES}
    assert "no JPEG picture" in refused({**parts, **fakes})


def test_links_encrypted_members_and_doubles_are_refused(parts, tmp_path):
    def attempt(info: zipfile.ZipInfo, reason: str) -> None:
        path = zipped(tmp_path / "x.zip", parts)
        with pytest.warns(UserWarning, match="Duplicate name") if info.filename in parts else zipfile.ZipFile(path):
            with zipfile.ZipFile(path, "a") as file:
                file.writestr(info, b"card.toml")
        with pytest.raises(DataError, match=reason):
            check(path)

    link = zipfile.ZipInfo("predictions/v0/00000.png")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    attempt(link, "is a link")
    attempt(zipfile.ZipInfo("card.toml"), "card.toml is in it twice")
    packed = zipfile.ZipInfo("predictions/v0/00000.png")
    packed.compress_type = zipfile.ZIP_LZMA
    attempt(packed, "another way than deflate")


def test_an_archive_that_hides_or_shares_bytes_is_refused(parts, tmp_path):
    path = tmp_path / "x.zip"
    content = zipped(path, parts).read_bytes()
    directory = content.index(b"PK\x01\x02")

    def attempt(content: bytes, reason: str) -> None:
        path.write_bytes(content)
        with pytest.raises(DataError, match=reason):
            check(path)

    second = content.index(b"PK\x01\x02", directory + 4)
    attempt(content[: second + 42] + bytes(4) + content[second + 46 :], "overlaps with another member")
    start = struct.pack("<L", directory + 5)
    attempt(content[:directory] + b"spare" + content[directory:-6] + start + content[-2:], "hidden behind its members")
    for more in ({"comment": b"x"}, {"extra": b"\x01\x02\x00\x00"}):
        with zipfile.ZipFile(path, "w") as file:
            for name, part in parts.items():
                info = zipfile.ZipInfo(name)
                for key, value in more.items():
                    setattr(info, key, value)
                file.writestr(info, part)
        attempt(path.read_bytes(), "hidden before or in its head")


def test_a_key_that_stands_twice_is_refused(parts, refused):
    for name in ("run.json", "scores.json", "benchmark.json"):
        twice = parts[name].replace(b"{", b'{"schema": 7,', 1)
        assert json.loads(twice) == json.loads(parts[name])
        assert f"{name}: it is not written as" in refused({**parts, name: twice})


def test_masks_of_frames_that_are_not_there_and_masks_too_large_are_refused_unread(make_bundle, tmp_path):
    parts = parts_of(make_bundle(predictions=True))
    for name in ("predictions/v0/00099.png", "predictions/v0/00000.png"):
        path = zipped(tmp_path / "x.zip", {**parts, name: bytes(100_000)})
        with pytest.raises(DataError, match=r"v0/000.*: its video has 7 frames of 320 pixels, so this is no mask"):
            check(path)


def test_a_nearest_name_is_a_base_name_at_a_cosine(parts, refused):
    for base, similarity in ((7, 0.5), (2, 1.5)):
        near = {"base": base, "similarity": similarity, "space": "x"}
        changed = edited(parts["benchmark.json"], lambda b, near=near: b["categories"][3].update(nearest=near))
        assert "no base name at a cosine" in refused({**parts, "benchmark.json": changed})


def test_damaged_archives_are_refused(parts, tmp_path):
    whole = zipped(tmp_path / "whole.zip", parts).read_bytes()
    path = tmp_path / "x.zip"

    def attempt(content: bytes, reason: str) -> None:
        path.write_bytes(content)
        with pytest.raises(DataError, match=reason):
            check(path)

    attempt(b"", "no zip archive")
    attempt(whole[:-30], "cut off")
    attempt(b"#!/bin/sh\n" + whole, "no zip archive")
    attempt(whole + b"more", "cut off")
    stored = tmp_path / "stored.zip"
    with zipfile.ZipFile(stored, "w") as file:
        for name, content in parts.items():
            file.writestr(name, content)
    attempt(stored.read_bytes().replace(b"A. Person", b"B. Person"), "its checksum is another")
    renamed = whole.replace(b"card.toml", b"car\xff.toml")
    attempt(renamed, "not in UTF-8|does not belong")
    with pytest.raises(DataError, match="expected a bundle, got an error"):
        check(tmp_path / "absent.zip")


def test_bombs_are_refused_in_bounded_memory_and_time(parts, tmp_path):
    """10 GB in a few bytes, sizes that lie, and a million members; each in a process that may take 400 MB more."""
    big = tmp_path / "big.zip"
    with zipfile.ZipFile(big, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in parts.items():
            file.writestr(name, content)
        file.writestr("strips/v0/image.jpg", bytes(1 << 20))
    content = bytearray(big.read_bytes())
    announced = struct.pack("<L", 1 << 20)
    lying = tmp_path / "lying.zip"  # announces 1 byte, inflates to 1 MB
    lying.write_bytes(bytes(content).replace(announced, struct.pack("<L", 1)))
    huge = tmp_path / "huge.zip"  # announces nearly 4 GB
    huge.write_bytes(bytes(content).replace(announced, struct.pack("<L", 0xFFFFFFF0)))
    many = tmp_path / "many.zip"
    record = b"PK\x01\x02" + bytes(24) + struct.pack("<HHHHHLL", 1, 0, 0, 0, 0, 0, 0) + b"a"
    directory = record * 1_000_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 9, 9, len(directory), 4, 0)
    many.write_bytes(b"PK\x03\x04" + directory + end)
    short = tmp_path / "short.zip"  # fewer bytes, still far more members than announced
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 9, 9, 47 * 100_000, 4, 0)
    short.write_bytes(b"PK\x03\x04" + record * 100_000 + end)
    code = (
        "import sys\nfrom pathlib import Path\nfrom ovsbench.benchmark.errors import DataError\n"
        "from ovsbench.leaderboard.bundle.check import check\nimport numpy, PIL.Image\n"
        "for name in sys.argv[1:]:\n"
        "    try:\n        check(Path(name))\n        print('accepted', name)\n"
        "    except DataError as error:\n        print(str(error)[:300])\n"
    )
    limit = 4 << 30  # of addresses; numpy's libraries alone map more than one
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, (lying, huge, many, short))],
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        check=False,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 4, done.stderr
    for line, reason in zip(
        lines,
        ("header says|damaged|hidden", "its header announces 4294967280", "47000000 bytes", "more members"),
        strict=True,
    ):
        assert re.search(reason, line), line
    assert time.monotonic() - begin < 30


def test_html_in_a_card_is_text(make_bundle):
    card = (
        'name = "{name}"\ntitle = "'
        + HTML
        + '"\nauthors = ["'
        + HTML
        + '"]\nsaw_novel = "no"\nsupersedes = "{supersedes}"'
    )
    assert check(make_bundle(card=card)).card.title == HTML


@pytest.mark.parametrize("address", ["javascript:alert(1)", "ftp://x", 'https://x/" onclick="y', "data:text/html,x"])
def test_an_address_that_could_run_code_is_refused(address):
    card = f"name = 'a'\ntitle = 'b'\nauthors = ['c']\nsaw_novel = 'no'\npaper = '{address}'"
    with pytest.raises(DataError, match="paper: expected an address"):
        read_card(card.encode(), "card.toml")


def test_a_template_names_what_is_to_be_filled_in(make_bundle, tmp_path):
    from ovsbench.benchmark.record import RunRecord

    make_bundle()
    text = template(RunRecord.read(tmp_path / "runs" / "guess"), "guess")
    with pytest.raises(DataError, match=r"title is empty\. Fill it in"):
        read_card(text.encode(), CARD)
    filled = text.replace('title = ""', 'title = "t"').replace("authors = []", 'authors = ["a"]')
    filled = filled.replace('saw_novel = ""', 'saw_novel = "words"')
    assert read_card(filled.encode(), CARD).saw_novel == "words"


def test_a_card_that_contradicts_the_run_gets_a_warning(parts, tmp_path):
    parts["run.json"] = edited(parts["run.json"], lambda record: record["notes"].update(saw_novel="captions"))
    warnings = check(zipped(tmp_path / "x.zip", parts)).warnings
    assert any("the run's own notes say: captions" in warning for warning in warnings)


def test_a_training_set_that_holds_novel_names_contradicts_the_card(make_bundle, build_benchmark, tmp_path):
    checked = check(make_bundle())
    train = build_benchmark("train", role="train")
    assert any("novel category 'unicorn'" in one for one in contradictions(checked.card, checked.benchmark, train))
    clean = build_benchmark("clean", role="train", categories=(4, 2, 9))
    assert list(contradictions(checked.card, checked.benchmark, clean)) == []


def test_a_second_run_to_the_same_score_raises_the_level(make_bundle, tmp_path):
    checked = check(make_bundle())

    assert check_rerun(checked, tmp_path / "runs" / "guess").level == "rerun"
    make_bundle("other", seed=5)
    with pytest.raises(UserError, match="when run again, the bundle says"):
        check_rerun(checked, tmp_path / "runs" / "other")
    data = manifest.load(tmp_path / "data")
    engine.predict(OracleMethod(), data, tmp_path / "runs" / "oracle", settings=Settings("oracle"))
    engine.score(data, tmp_path / "runs" / "oracle")
    with pytest.raises(UserError, match="its method is not that of the bundle"):
        check_rerun(checked, tmp_path / "runs" / "oracle")


@pytest.mark.parametrize("change", [-0.0051, -0.0049, 0.0049, 0.0051])
def test_a_second_run_may_differ_by_half_a_point(make_bundle, tmp_path, change):
    checked = check(make_bundle())
    path = tmp_path / "runs" / "guess" / "scores.json"
    scores = json.loads(path.read_bytes())
    main = ranking_score(checked.scores.values, checked.record.offered)
    scores["values"][main.value][main.group] += change
    path.write_text(json.dumps(scores))
    if abs(change) < 0.005:
        assert check_rerun(checked, tmp_path / "runs" / "guess").level == "rerun"
    else:
        with pytest.raises(UserError, match="when run again, the bundle says"):
            check_rerun(checked, tmp_path / "runs" / "guess")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=st.data())
def test_damage_anywhere_is_refused_or_harmless(one_bundle, drawn):
    """Bytes of the archive, or of a part inside it, are changed; nothing but a `DataError` may come of it."""
    parts, folder = parts_of(one_bundle), one_bundle.parent
    if drawn.draw(st.booleans()):
        content = bytearray(zipped(folder / "x.zip", parts).read_bytes())
    else:
        name = drawn.draw(st.sampled_from(sorted(parts)))
        content = bytearray(parts[name])
    for _ in range(drawn.draw(st.integers(1, 4))):
        at = drawn.draw(st.integers(0, len(content) - 1))
        length = drawn.draw(st.integers(0, 6))
        content[at : at + length] = drawn.draw(st.binary(max_size=6))
    if "name" in locals():
        zipped(folder / "x.zip", {**parts, name: bytes(content)})
    else:
        (folder / "x.zip").write_bytes(content)
    with contextlib.suppress(DataError):
        check(folder / "x.zip")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=st.data())
def test_any_value_anywhere_in_the_json_is_refused_or_harmless(one_bundle, drawn):
    parts, folder = parts_of(one_bundle), one_bundle.parent
    name = drawn.draw(st.sampled_from(["run.json", "scores.json", "benchmark.json", "counts.jsonl"]))
    lines = [json.loads(line) for line in parts[name].splitlines()] if name.endswith("l") else [json.loads(parts[name])]
    place = lines
    while True:
        keys = range(len(place)) if isinstance(place, list) else sorted(place)
        key = drawn.draw(st.sampled_from(keys))
        if isinstance(place[key], (dict, list)) and place[key] and drawn.draw(st.integers(0, 5)):
            place = place[key]
            continue
        break
    place[key] = drawn.draw(json_values)
    text = "".join(json.dumps(line, sort_keys=True, separators=(",", ":")) + "\n" for line in lines)
    if not name.endswith("l") and isinstance(lines[0], dict):
        text = json.dumps(lines[0], sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    with contextlib.suppress(DataError):
        check(zipped(folder / "y.zip", {**parts, name: text.encode()}))


@pytest.mark.parametrize(("seconds", "is_kept"), [(1e-6, False), (1.0, True)])
def test_a_run_faster_than_a_decoder_is_packed_without_a_speed(make_bundle, tmp_path, seconds, is_kept):
    """A method that looks at no image takes next to no time; that is no speed, and no reason to refuse its counts."""
    make_bundle()
    record = RunRecord.read(tmp_path / "runs" / "guess")
    record = dataclasses.replace(record, timing=Timing(frames=record.timing.frames or 21, seconds=seconds))
    found = credible(record, manifest.load(tmp_path / "data"))
    assert found == (record.timing if is_kept else Timing())
    labelled = dataclasses.replace(record, uses_labels=True)
    assert credible(labelled, manifest.load(tmp_path / "data")) == record.timing
