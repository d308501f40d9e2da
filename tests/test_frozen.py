"""What metrics, statistics, tracking and checks of bundles hand around cannot be changed by who gets it."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterator

import pytest

ROOMS = ("ovsbench.benchmark.metrics", "ovsbench.gkc_video.tracking", "ovsbench.leaderboard.bundle")
MODULES = ("ovsbench.benchmark.stats", "ovsbench.benchmark.pair_tests")
LEARN = {"Normal", "Appearance", "Motion", "Track"}
"""These learn while a video runs."""
WITH_SLOTS = {"Value", "VideoShape", "Interval", "Difference", "Archive", "Kind"}
"""Of these there are many, or none may get another attribute."""


def classes(module: str) -> Iterator[type]:
    for name, one in vars(importlib.import_module(module)).items():
        if isinstance(one, type) and one.__module__ == module and dataclasses.is_dataclass(one):
            assert one.__name__ == name
            yield one


def modules() -> Iterator[str]:
    yield from MODULES
    for room in ROOMS:
        package = importlib.import_module(room)
        yield from (f"{room}.{found.name}" for found in pkgutil.iter_modules(package.__path__))


@pytest.mark.parametrize("module", list(modules()))
def test_dataclasses_are_frozen_but_for_those_that_learn(module: str):
    for one in classes(module):
        assert one.__dataclass_params__.frozen == (one.__name__ not in LEARN), one  # type: ignore[attr-defined]
        assert ("__slots__" in vars(one)) == (one.__name__ in WITH_SLOTS), one


def test_the_rooms_are_looked_at():
    found = {one.__name__ for module in modules() for one in classes(module)}
    assert len(found) > 50
    assert found >= LEARN | WITH_SLOTS
