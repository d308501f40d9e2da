"""Rooms and arrows: who may import whom, one import name, and no torch where numbers are made."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from source_tree import BEGIN, END, ROOMS, ROOT, source_files, source_map

BELOW = {
    "benchmark": set[str](),
    "data_prep": {"benchmark"},
    "leaderboard": {"benchmark"},
    "gkc_video": {"benchmark"},
    "baselines": {"benchmark", "gkc_video"},
    "hub": {"benchmark"},
    "bench": {"benchmark"},
    "plans": {"benchmark", "data_prep", "leaderboard", "gkc_video", "baselines", "hub"},
    "api": {"benchmark", "data_prep", "leaderboard", "gkc_video", "baselines", "hub", "plans"},
    "app": {"api", "benchmark", "hub", "plans"},
    "cli": {"benchmark", "data_prep", "leaderboard", "gkc_video", "baselines", "hub", "bench", "plans", "api", "app"},
}
"""For each room those that it may import. Some are named before there is a file in them: the order is settled."""

INSIDE = {
    "gkc_video": (
        "device",
        "torchvision_shim",
        "checkpoint",
        "proposals",
        "text",
        "model",
        "tracking",
        "method",
        "*",
        "training",
    ),
    "leaderboard": ("signature", "look_alike", "bundle", "*", "site", "review", "server"),
    "benchmark": ("errors", "types", "*"),
}
"""Within a room, from the ground up: a part imports only parts that stand before it; * is everything not named."""

TORCH = {"torch", "torchvision", "open_clip", "transformers", "timm", "safetensors"}
FILES = source_files()


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


def parsed(name: str) -> ast.Module:
    return ast.parse(FILES[name].read_text(encoding="utf-8"))


def own_imports(tree: ast.AST) -> list[str]:
    return [name for name in imports(tree) if name.partition(".")[0] == "ovsbench"]


def room_of(name: str) -> str:
    """The room of a module name; "" for `ovsbench` itself."""
    return ([*name.split("."), ""])[1] if name.startswith("ovsbench") else ""


def level_of(name: str, order: tuple[str, ...]) -> int:
    part = ([*name.split("."), "", ""])[2]
    return order.index(part if part in order else "*")


def test_the_walk_sees_every_file():
    seen = {path.relative_to(ROOT).as_posix() for path in FILES.values()}
    assert len(seen) > 250
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    assert {
        line for line in listed.splitlines() if not line.startswith(("tests/", "docs/")) and (ROOT / line).exists()
    } <= seen


def test_every_room_has_its_place_in_the_order():
    assert {room_of(name) for name in FILES} - {"", "__main__"} <= set(BELOW)


@pytest.mark.parametrize("name", FILES)
def test_rooms_import_only_what_lies_below_them(name):
    room = room_of(name)
    if room not in ("", "__main__"):
        used = {room_of(used) for used in own_imports(parsed(name))} & set(BELOW)
        assert used <= BELOW[room] | {room}


@pytest.mark.parametrize("name", [name for name in FILES if room_of(name) in INSIDE])
def test_parts_of_a_room_import_only_parts_before_them(name):
    room = room_of(name)
    order = INSIDE[room]
    if name == f"ovsbench.{room}":
        return
    for used in own_imports(parsed(name)):
        if room_of(used) == room and used != f"ovsbench.{room}":
            assert level_of(used, order) <= level_of(name, order), f"{name} imports {used}"


PUBLIC = {f"ovsbench.gkc_video.{part}" for part in ("model", "text", "tracking", "device", "checkpoint")}
"""What of gkc_video other methods build on: packages with a list of names, and two modules."""


@pytest.mark.parametrize("name", [name for name in FILES if room_of(name) == "baselines"])
def test_baselines_use_only_what_gkc_video_offers_to_others(name):
    for used in own_imports(parsed(name)):
        if room_of(used) == "gkc_video" and used not in PUBLIC:
            package, _, attribute = used.rpartition(".")
            assert package in PUBLIC, f"{name} imports {used}"
            listed = [
                node for node in parsed(package).body if isinstance(node, ast.Assign) and "__all__" in ast.dump(node)
            ]
            assert not listed or attribute in ast.literal_eval(listed[0].value), f"{name} imports {used}"


@pytest.mark.parametrize("name", [name for name in FILES if room_of(name) in ("benchmark", "data_prep", "leaderboard")])
def test_scoring_building_and_publishing_import_no_torch(name):
    assert not {used.partition(".")[0] for used in imports(parsed(name))} & TORCH


@pytest.mark.parametrize("name", [name for name in FILES if room_of(name) in ("cli", "plans")])
def test_verbs_and_plans_open_heavy_rooms_only_inside_their_functions(name):
    used = {room_of(used) for used in own_imports(at_once(parsed(name)))}
    light = {"cli": {"benchmark", "cli", "plans"}, "plans": {"benchmark", "plans"}}
    assert used - {""} <= light[room_of(name)]


def bare_names(text: str) -> list[str]:
    """Modules of a room that are named without `ovsbench.` before them, in code, strings and prose alike."""
    rooms = "|".join(ROOMS)
    modules = "|".join(
        sorted({name.split(".")[2] for name in FILES if name.count(".") >= 2 and room_of(name) in ROOMS})
    )
    statement = rf"^\s*(?:from|import) (?:{rooms})\b"
    quoted = rf"(?<![\w.])(?:{rooms})\.(?:{modules})(?:\.\w+)*:\w+"
    return re.findall(statement, text, re.MULTILINE) + re.findall(quoted, text)


WITH_NAMES = sorted(
    path
    for pattern in ("*.py", "*.md", "*.toml", "*.sh", "*.yml", "Makefile", "*.ipynb")
    for path in ROOT.rglob(pattern)
    if not {".venv", ".git", "entries", "build", "demo", "data", "runs"} & set(path.relative_to(ROOT).parts)
    and not any(parent.is_symlink() for parent in path.parents)
)


def test_bare_names_are_found():
    assert len(WITH_NAMES) > 350
    assert bare_names("from benchmark.types import Segment\nx = 'gkc_video.method:build'") == [
        "from benchmark", "gkc_video.method:build"]  # fmt: skip
    assert not bare_names("from ovsbench.benchmark.types import Segment\nx = 'ovsbench.gkc_video.method:build'")


@pytest.mark.parametrize("path", WITH_NAMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_imported_by_a_bare_name(path):
    if path.name != Path(__file__).name:
        assert not bare_names(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_refuses_to_be_imported_by_a_second_name(room):
    done = subprocess.run(
        [sys.executable, "-c", f"import {room}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert f"Import ovsbench.{room}" in done.stderr


def test_a_strangers_packages_of_the_same_names_do_no_harm(tmp_path):
    for room in ROOMS:
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").write_text("raise SystemExit('a stranger')\n")
    code = "import ovsbench.benchmark.types, ovsbench.leaderboard; print(ovsbench.benchmark.__name__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "ovsbench.benchmark\n"


def test_nothing_is_called_utils():
    names = {part for name in FILES for part in name.split(".")}
    assert not names & {"utils", "util", "helpers", "helper", "common", "misc"}


def test_the_map_in_contributing_names_every_file():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    written = text.partition(BEGIN)[2].partition(END)[0].strip()
    assert written == source_map(), "python tests/source_tree.py writes it anew"
