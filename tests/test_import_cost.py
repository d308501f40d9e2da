from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = (
    "torch",
    "torchvision",
    "open_clip",
    "transformers",
    "av",
    "decord",
    "ovsbench.gkc_video",
    "ovsbench.baselines",
)


def modules_after(code: str) -> set[str]:
    """The modules that are loaded once a new interpreter has run some code."""
    script = f"{code}\nimport json, sys; print('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_the_package_loads_nothing_but_itself():
    new = modules_after("import ovsbench") - modules_after("")
    assert new == {"ovsbench"}


@pytest.mark.parametrize(
    "module", ["engine", "running.counting", "manifest", "methods", "running.scores", "metrics", "storage.store"]
)
def test_scoring_loads_no_torch(module):
    assert not modules_after(f"import ovsbench.benchmark.{module}") & set(HEAVY)


def test_help_loads_no_torch():
    code = "import ovsbench.cli, sys\nsys.argv = ['ovsbench', '--help']\n"
    code += "try:\n    ovsbench.cli.main()\nexcept SystemExit:\n    pass"
    loaded = modules_after(code)
    assert not loaded & {*HEAVY, "numpy", "pandas", "matplotlib", "scipy"}
