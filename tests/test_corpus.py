from __future__ import annotations

from pathlib import Path

import pytest
from corpus import CASES, Case


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_file_is_read_right_or_refused_with_the_sentence_that_belongs_to_it(case: Case, tmp_path: Path):
    assert case.outcome(tmp_path) == ("refused" if case.is_refused else "right")


def test_the_corpus_is_as_large_as_promised_and_names_no_case_twice():
    assert len(CASES) >= 120
    assert len({case.name for case in CASES}) == len(CASES)
