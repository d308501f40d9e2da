from __future__ import annotations

import importlib.util
import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from source_tree import source_files

from ovsbench.benchmark import pair_tests
from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.percent import percent
from ovsbench.benchmark.ranking import neighbours, one_rank, ranks, separating
from ovsbench.benchmark.storage.table_files import frame_of_records, records_of, write_table
from ovsbench.benchmark.types import Rules
from ovsbench.plans.suite_table import refuse_rank_by

SCORES = st.dictionaries(st.sampled_from("abcdefg"), st.sampled_from([0.1, 0.2, 0.3, float("nan")]), min_size=1)


@given(SCORES, st.booleans())
def test_the_rank_of_a_value_is_one_and_the_number_of_better_ones(values, lower_is_better):
    sign = -1 if lower_is_better else 1
    worth = {name: -np.inf if np.isnan(value) else sign * value for name, value in values.items()}
    expected = {name: 1 + sum(other > worth[name] for other in worth.values()) for name in values}
    found = ranks(values, lower_is_better=lower_is_better)
    assert found == expected
    assert list(found.values()) == sorted(found.values()), "best first"


def left_out_of(**means: float) -> dict[str, np.ndarray]:
    """Ten videos whose scores differ as little between methods as the last digit of their mean says."""
    hard = np.linspace(-0.2, 0.2, 10)
    found = {}
    for number, (name, mean) in enumerate(means.items()):
        values = mean + hard + 0.02 * np.cos(np.arange(10) * (number + 1))
        found[name] = np.array([values.mean(), *((values.sum() - values) / 9)])
    return found


def test_a_rank_is_one_and_the_number_of_methods_that_are_clearly_ahead():
    left_out = left_out_of(a=0.61, b=0.60, c=0.4)
    found = pair_tests.tested(left_out, {})
    values = {name: float(of[0]) for name, of in left_out.items()} | {"d": float("nan")}
    assert [found.is_clear(*pair) for pair in ("ab", "ac", "bc")] == [False, True, True]
    assert ranks(values, found) == {"a": 1, "b": 1, "c": 3, "d": 4}
    turned = ranks(values, found, lower_is_better=True)
    assert (turned["c"], turned["a"], turned["b"], turned["d"]) == (1, 2, 2, 4)


def test_a_method_that_nothing_separates_from_the_first_is_first():
    """c is clearly behind a, b varies so much that it is behind neither."""
    values = {"a": 0.6, "b": 0.5, "c": 0.4}
    clear = np.zeros((3, 3), dtype=bool)
    clear[0, 2] = clear[2, 0] = True
    nothing = np.full((3, 3), np.nan)
    left_out = left_out_of(a=0.6, b=0.5, c=0.4)
    found = pair_tests.Tested(left_out, nothing, nothing, np.zeros((3, 3), dtype=np.int64), clear)
    assert ranks(values, found) == {"a": 1, "b": 1, "c": 2}


def test_neighbours_say_how_many_videos_would_separate_them():
    left_out = left_out_of(c=0.4, a=0.61, b=0.60)
    found = pair_tests.tested(left_out, {})
    values = {name: float(of[0]) for name, of in left_out.items()}
    first, second = neighbours(values, found)
    assert (first.first, first.second, first.is_clear) == ("a", "b", False)
    assert (second.first, second.second, second.is_clear) == ("b", "c", True)
    assert first.videos > 10 > second.videos
    sentence = separating((first, second))
    assert sentence == f"About {first.videos} videos would separate a from b (in 80 of 100 such benchmarks)."
    assert neighbours(values, found, lower_is_better=True)[0].first == "c"
    assert separating([second]) == ""


@pytest.mark.parametrize(("videos", "methods"), [(6, 2), (6, 3), (7, 3), (7, 4), (8, 4), (11, 10), (12, 10)])
def test_a_table_says_that_its_videos_are_too_few_for_its_pairs(videos, methods):
    """The largest difference that there can be: every exchange of a video makes it smaller."""
    left_out = {f"m{place}": np.full(1 + videos, place / 10) for place in range(methods)}
    p = 1 / len(pair_tests.exchanges(videos))
    tests = dict.fromkeys(itertools.combinations(left_out, 2), (p, 0))
    found = pair_tests.tested(left_out, tests)
    assert bool(one_rank(videos, methods)) != bool(found.clear.any())
    assert one_rank(5, methods) == "", "which is said elsewhere"


def test_few_random_exchanges_say_nothing_of_many_pairs():
    assert one_rank(20, 5, 99) == "One rank: the smallest p by 99 exchanges is 0.0100, corrected for 10 pairs 0.1000."
    assert one_rank(20, 2, 19) == ""
    assert one_rank(6, 13) == "", "which are tested by Student's t"


def test_a_score_that_a_benchmark_of_a_suite_lacks_is_refused_before_anything_runs(build_benchmark):
    panoptic = build_benchmark("one")
    refuse_rank_by(None, [panoptic])
    refuse_rank_by("VPQ@2.novel", [panoptic])
    for asked, sentence in (
        ("AP.all", "unknown score AP.all to rank by: boxes is a benchmark of panoptic segmentation"),
        ("STQ", "unknown score STQ.all to rank by: boxes is a benchmark of semantic segmentation"),
        ("mIoU.birds", "no part of the vocabulary 'birds'"),
        ("IDSW.harmonic", "a number of events has no harmonic mean"),
    ):
        semantic = build_benchmark(f"s{asked}", rules=Rules(task="semantic"))
        with pytest.raises(UserError, match=sentence):
            refuse_rank_by(asked, [panoptic, semantic])


def test_percent_is_made_in_one_place():
    found = source_files()
    assert len(found) > 200
    pattern = re.compile(r"\b100(\.0)? ?\* |\* ?100\b|[:.]\d*%\}")
    makers = [str(path) for path in found.values() if pattern.search(path.read_text()) and "trees.py" not in path.name]
    assert [path.rpartition("/")[2] for path in makers] == ["percent.py"]
    assert percent(0.0005) == "0.1"
    assert percent(-0.031, signed=True) == "-3.1"


def test_one_frame_makes_csv_and_parquet_and_says_what_parquet_needs(tmp_path):
    frame = frame_of_records([{"run": "a", "rank": 1, "mIoU.all": 0.1 + 0.2}, {"run": "b", "fps": 2.5, "rank": None}])
    write_table(frame, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == "run,rank,mIoU.all,fps\na,1,0.30000000000000004,\nb,,,2.5\n"
    assert records_of(frame)[0] == {"run": "a", "rank": 1, "mIoU.all": 0.1 + 0.2, "fps": None}
    if importlib.util.find_spec("pyarrow") is None:
        with pytest.raises(UserError, match=r'pip install "ovsbench\[parquet\]"'):
            write_table(frame, tmp_path / "t.parquet")
        assert not (tmp_path / "t.parquet").exists()
    else:
        import pandas as pd

        write_table(frame, tmp_path / "t.parquet")
        back = pd.read_parquet(tmp_path / "t.parquet")
        assert list(back.columns) == list(frame.columns)
        assert back["mIoU.all"][0] == 0.1 + 0.2
        assert back["rank"].isna().tolist() == [False, True]
