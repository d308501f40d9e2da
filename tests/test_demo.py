"""The demo: what it needs is said at once, and its page has one table of a name."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import cast

from typer.testing import CliRunner

from ovsbench.cli import app
from ovsbench.leaderboard.row import Row
from ovsbench.plans.demo import beside


def test_a_missing_module_is_said_before_anything_is_drawn(tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else found(name))
    done = CliRunner().invoke(app, ["demo", "-o", str(tmp_path / "demo")])
    assert done.exit_code == 1
    assert "needs torch, which this installation lacks" in done.output
    assert 'pip install "ovsbench[gkc,video]"' in done.output
    assert not (tmp_path / "demo").exists()


@dataclass(frozen=True)
class Only:
    benchmark: str
    digest: str


def test_shipped_tables_of_the_same_name_are_shown_only_with_the_same_content():
    own = [Only("world-val", "a")]
    shipped = [Only("world-val", "b"), Only("world-val", "a"), Only("lvvis-val", "")]
    assert beside(cast("list[Row]", own), cast("list[Row]", shipped)) == shipped[1:]
