"""A method checked on small worlds, of the kinds of benchmark that it says it is for."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ovsbench.benchmark import methods
from ovsbench.benchmark.record import Settings

if TYPE_CHECKING:
    from ovsbench.plans.conformance import Finding


def check_on_worlds(settings: Settings) -> tuple[Finding, ...]:
    """Checks a method on a world of panoptic frames, one of tracks, or both, as the `TASKS` of its module say.

    Raises:
        UserError: it cannot be built.
    """
    from ovsbench.data_prep.world.build import WorldSettings, build_world
    from ovsbench.data_prep.world.instances import build_instance_world
    from ovsbench.plans.conformance import check
    from ovsbench.plans.runs import create, resolved

    tasks = methods.facts(methods.info(resolved(settings).built.method)).tasks
    drawn = WorldSettings(part="dev", videos=1, frames=3)
    findings: tuple[Finding, ...] = ()
    with tempfile.TemporaryDirectory(prefix="ovsbench-") as folder:
        if tasks != ("instance",):
            findings = check(lambda: create(settings), build_world(Path(folder) / "world", drawn))
        if "instance" in tasks:
            world = build_instance_world(Path(folder) / "tracks", drawn)
            of_instances = check(lambda: create(settings), world)
            findings += tuple(dataclasses.replace(one, rule=f"instances: {one.rule}") for one in of_instances)
    return findings
