"""Stored files of earlier versions are read by the names of this one."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from ovsbench.benchmark.old_names import OLD_NAMES, StoredFile, renamed


def test_the_record_of_an_earlier_version_has_its_entry_point() -> None:
    assert renamed("run", {"method": "gkc", "target": "a.b:build"}) == {"method": "gkc", "entry_point": "a.b:build"}


def test_what_was_passed_in_stays() -> None:
    header: dict[str, Any] = {"story": {"steps": 3}, "config": {"calibration": 1.5}}
    assert renamed("checkpoint", header) == {"metadata": {"steps": 3}, "config": {"base_logit_penalty": 1.5}}
    assert header == {"story": {"steps": 3}, "config": {"calibration": 1.5}}


@pytest.mark.parametrize("content", [{}, {"config": None}, {"config": [1]}, {"config": {}}, {"config": "calibration"}])
def test_a_damaged_file_is_left_to_its_reader(content: dict[str, Any]) -> None:
    assert renamed("checkpoint", content) == content


def test_a_file_with_both_names_keeps_both_so_that_its_reader_refuses_it() -> None:
    both = {"target": "a:b", "entry_point": "c:d"}
    assert renamed("run", both) == both


def test_every_kind_of_file_has_a_table_and_no_new_name_is_an_old_one() -> None:
    assert set(OLD_NAMES) == set(get_args(StoredFile))
    for names in OLD_NAMES.values():
        assert not set(names) & set(names.values())
        assert all(old.rpartition(".")[0] == new.rpartition(".")[0] for old, new in names.items()), "one level"
