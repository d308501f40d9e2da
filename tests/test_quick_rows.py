"""What is read of results.json by the compiled loop is what the parser of JSON reads, or nothing."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovsbench.benchmark.compiled import Loop
from ovsbench.benchmark.formats.quick_rows import QuickRows, with_texts
from ovsbench.benchmark.storage import rle, rle_loop
from ovsbench.benchmark.storage.big_json import list_elements
from ovsbench.benchmark.storage.rle import ListedMasks
from ovsbench.benchmark.storage.track_extents import Extent, measured_texts

pytest.importorskip("numba")
LOOP = Loop(rle_loop.read_masks, after=0).ready(1)
assert LOOP is not None
SIZE = (3, 2)
SPACES = st.sampled_from(["", " ", "\n\t"])
TEXTS = [rle.compress(runs) for runs in ([2, 2, 2], [6], [0, 6], [0, 1, 5], [1, 1, 1, 1, 1, 1], [0, 0, 3, 1, 2])]


def read(text: str) -> tuple[dict[str, Any], int] | None:
    return QuickRows(LOOP)(text.encode(), 0)


def row(masks: str, before: str = "", after: str = "") -> str:
    return f'{{"video_id": 1, {before}"segmentations": [{masks}]{after}}}'


@st.composite
def written(draw: st.DrawFn) -> tuple[str, list[str | None]]:
    """A prediction with spaces and an order of keys as a tool may write it, all masks alike; and its texts."""
    space, counts_first = draw(SPACES), draw(st.booleans())
    texts = draw(st.lists(st.sampled_from([None, *TEXTS]), max_size=6))
    parts = [f'"size":{space}[{space}3,{space}2]', '"counts":' + space + "%s"]
    form = "{" + f",{space}".join(parts[::-1] if counts_first else parts) + "}"
    masks = f"{space},{space}".join("null" if text is None else form % json.dumps(text) for text in texts)
    note = draw(st.text(st.characters(exclude_characters="}"), max_size=5))
    rest = {"video_id": draw(st.integers(0, 9)), "score": draw(st.floats(0, 1)), "note": note}
    members = [
        f'"segmentations"{space}:{space}[{space}{masks}{space}]',
        *(f'"{k}": {json.dumps(v)}' for k, v in rest.items()),
    ]
    return "{" + f"{space},".join(draw(st.permutations(members))) + "}", texts


@settings(max_examples=150, deadline=None)
@given(written(), st.sampled_from(["", ", {", "]"]))
def test_a_prediction_is_read_as_json_reads_it(made, behind):
    text, texts = made
    found = read(text + behind)
    if not any(texts):
        assert found is None
        return
    assert found is not None
    value, end = found
    assert end == len(text.encode())
    masks = value.pop("segmentations")
    assert isinstance(masks, ListedMasks)
    assert {**value, "segmentations": with_texts(masks)} == json.loads(text)
    assert masks.text == rle.json_list(texts)
    (extent,), areas = measured_texts([texts], SIZE, len(texts))
    assert (Extent.of_list(masks), masks.areas.tolist()) == (extent, areas[0].tolist())


GOOD = '{"size": [3, 2], "counts": "222"}'


@pytest.mark.parametrize(
    "text",
    [
        row("null, null"),
        row(""),
        row(GOOD + ", " + GOOD.replace("222", "223")),
        row(GOOD + ", " + GOOD.replace("222", "")),
        row(GOOD + ", " + GOOD.replace("[3, 2]", "[2, 3]")),
        row(GOOD + " " + GOOD),
        row(GOOD + ", "),
        row(", " + GOOD),
        row(GOOD + ", nul"),
        row(GOOD.replace("}", ', "id": 1}')),
        row(GOOD.replace('"size": [3, 2], ', "")),
        row(GOOD.replace("}", ', "size": [3, 2]}')),
        row(GOOD.replace('"222"', "[2, 2, 2]")),
        row(GOOD.replace("[3, 2]", "[03, 2]")),
        row(GOOD.replace("222", "2\\u0032" + "2")),
        row(GOOD)[:-1],
        row(GOOD)[:40],
        row(GOOD, before='"box": {"a": 1}, ')[:-1] + "]",
        row(GOOD, after=', "more": {"a": 1}}'),
        row(GOOD, after=', "segmentations": []'),
        row(GOOD, after=', "segmentations": "\\u0000masks\\u0000"'),
        row(GOOD.replace('"}', '"\x0c}')),
        row(GOOD.replace("],", "]\x0c,")),
        '{"inner": ' + row(GOOD) + ', "segmentations": [null]}',
        '{"video_id": 1}, ' + row(GOOD),
        "7, " + row(GOOD),
        row(GOOD).replace("1", "\\"),
    ],
)
def test_what_is_written_in_another_way_is_left_to_the_parser(text):
    assert read(text) is None


def test_a_backslash_of_a_mask_is_two_in_json():
    text = next(t for n in range(9000, 9999) if "\\" in (t := rle.compress([n, 1, 19_999 - n])))
    made = row(json.dumps({"size": [100, 200], "counts": text}))
    found = read(made)
    assert found is not None
    assert with_texts(found[0]["segmentations"]) == json.loads(made)["segmentations"]
    assert read(made.replace("\\\\", "\\")) is None


def test_sizes_may_change_from_prediction_to_prediction():
    rows = [{"segmentations": [{"counts": rle.compress([n, 1, 9 * n]), "size": [1, 1 + 10 * n]}]} for n in (1, 2, 1, 3)]
    quick = QuickRows(LOOP)
    for one in rows:
        found = quick(json.dumps(one).encode(), 0)
        assert found is not None
        assert {"segmentations": with_texts(found[0]["segmentations"])} == one


@pytest.mark.parametrize("chunk", [7, 50, 1000])
def test_a_file_is_read_alike_however_it_is_cut(chunk, tmp_path, monkeypatch):
    monkeypatch.setattr("ovsbench.benchmark.storage.big_json.CHUNK", chunk)
    rng = np.random.default_rng(0)
    masks = [rle.encode(rng.random((9, 8)) < 0.5) for _ in range(40)]
    rows = [{"n": n, "segmentations": [{"size": [9, 8], "counts": text}, None]} for n, text in enumerate(masks)]
    rows[7] = {"n": "\u00e9", "segmentations": None}
    path = tmp_path / "results.json"
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    plain, quick = list(list_elements(path, "a test")), list(list_elements(path, "a test", QuickRows(LOOP)))
    assert [span for _, span in quick] == [span for _, span in plain]
    for (value, _), (expected, _) in zip(quick, plain, strict=True):
        found = value["segmentations"]
        assert {**value, "segmentations": with_texts(found) if isinstance(found, ListedMasks) else found} == expected
    assert sum(isinstance(value["segmentations"], ListedMasks) for value, _ in quick) > 30 * (chunk > 50)
