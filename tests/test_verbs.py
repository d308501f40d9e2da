"""Verbs parse, call and print; what they set in motion is in plans, and each decision is taken once."""

from __future__ import annotations

import ast
import os

import pytest
from source_tree import source_files

from ovsbench.benchmark.cores import core_count

FILES = {name: path.read_text(encoding="utf-8") for name, path in source_files().items()}
CLI = [name for name in FILES if name.startswith("ovsbench.cli.")]
PLANS = [name for name in FILES if name.startswith("ovsbench.plans.")]


def functions(name: str) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(ast.parse(FILES[name])) if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize("name", CLI)
def test_no_function_of_the_command_line_has_more_than_30_lines(name: str):
    for function in functions(name):
        body = function.body[1:] if ast.get_docstring(function) else function.body
        if body:
            assert function.end_lineno - body[0].lineno < 30, function.name


def test_plans_return_results_and_print_none():
    assert len(PLANS) > 10
    for name in PLANS:
        calls = {node.func.id for node in ast.walk(ast.parse(FILES[name]))
                 if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}  # fmt: skip
        assert not calls & {"print", "say", "complain"}, name


def test_a_method_answers_in_one_loop_beside_the_one_that_times_it():
    callers = {
        name
        for name, text in FILES.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("method.predict")
    }
    assert callers == {"ovsbench.benchmark.running.frame_loop", "ovsbench.benchmark.timing.speed"}


def test_the_number_of_cores_is_decided_once():
    assert [name for name, text in FILES.items() if "sched_getaffinity" in text] == ["ovsbench.benchmark.cores"]
    assert core_count(3) == 3
    assert 1 <= core_count() <= os.cpu_count()
