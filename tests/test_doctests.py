"""The examples in docstrings are true."""

from __future__ import annotations

import doctest
import importlib

import pytest
from source_tree import source_files

MODULES = [name for name, path in source_files().items() if ">>> " in path.read_text(encoding="utf-8")]


def test_there_are_examples() -> None:
    assert len(MODULES) > 35


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_are_true(name: str) -> None:
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0
