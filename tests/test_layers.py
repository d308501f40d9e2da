from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {
    "benchmark": set[str](),
    "data_prep": {"benchmark"},
    "leaderboard": {"benchmark"},
    "gkc_video": {"benchmark"},
    "baselines": {"benchmark", "gkc_video"},
}
TORCH = {"torch", "torchvision", "open_clip", "transformers", "timm", "safetensors"}
FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def is_porch(path: Path) -> bool:
    return path.is_relative_to(ROOT / "benchmark" / "cli") or path == ROOT / "benchmark" / "cli.py"


def imports(tree: ast.AST) -> Iterator[str]:
    """Full names of the modules that a piece of code imports, wherever in it, a `from` import with its name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def at_once(tree: ast.Module) -> ast.Module:
    """What runs when the module is imported: not the bodies of functions, nor what only a type checker sees."""
    kept = [
        node
        for node in tree.body
        if not isinstance(node, ast.FunctionDef)
        and not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
    ]
    return ast.Module(kept, [])


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_there_are_files_to_look_at():
    assert len(FILES) > 10


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_rooms_import_only_what_lies_below_them(path):
    room = path.relative_to(ROOT).parts[0]
    used = {name.partition(".")[0] for name in imports(parsed(path))} & set(ROOMS)
    if not is_porch(path):
        assert used <= ROOMS[room] | {room}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_imports_the_command_line(path):
    if not is_porch(path):
        assert not [name for name in imports(parsed(path)) if name.startswith("benchmark.cli")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_scoring_building_and_publishing_import_no_torch(path):
    room = path.relative_to(ROOT).parts[0]
    if room in ("benchmark", "data_prep", "leaderboard"):
        assert not {name.partition(".")[0] for name in imports(parsed(path))} & TORCH


@pytest.mark.parametrize("path", [p for p in FILES if is_porch(p)], ids=lambda path: str(path.relative_to(ROOT)))
def test_the_porch_opens_rooms_only_inside_its_commands(path):
    used = {name.partition(".")[0] for name in imports(at_once(parsed(path)))}
    assert not used & (set(ROOMS) - {"benchmark"})
