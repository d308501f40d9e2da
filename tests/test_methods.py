from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import pytest

from ovsbench.benchmark import methods
from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.methods import Options

FILE = """
from pathlib import Path

class Nothing:
    def __init__(self, **facts):
        self.facts = facts

    def predict(self, video, vocabulary, rules):
        return iter(())

def build(*, checkpoint: Path | None, device: str, steps: int = 1, rate: float | None = None, track: bool = True):
    return Nothing(checkpoint=checkpoint, device=device, steps=steps, rate=rate, track=track)

def wrong(*, checkpoint, device):
    return 5
"""


@pytest.fixture
def file(tmp_path) -> Path:
    (tmp_path / "mine.py").write_text(FILE)
    return tmp_path / "mine.py"


def test_our_methods_are_entry_points_like_anybodys():
    found = {method.name: method for method in methods.available()}
    assert {"gkc", "constant", "oracle-masks", "two-stage"} <= set(found)
    assert found["gkc"].package == "ovsbench"
    assert found["gkc"].entry_point == "ovsbench.gkc_video.method:build"


def test_listing_methods_imports_none_of_them():
    script = "import sys; from ovsbench.benchmark import methods; [methods.facts(m) for m in methods.available()]; "
    script += "print([m for m in ('torch', 'gkc_video', 'baselines') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_what_a_method_answers_and_needs_is_read_off_its_source(tmp_path, monkeypatch):
    for method in methods.available():
        assert methods.facts(method).tasks, method.name
        assert methods.facts(method).needs, method.name
    (tmp_path / "odd_module.py").write_text("import nothing\nTASKS = ('panoptic',)\nNEEDS = 1 + 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    odd = methods.MethodInfo("odd", "p", "1", "odd_module:build")
    assert methods.facts(odd) == methods.MethodFacts(("panoptic",), "")
    assert methods.facts(methods.MethodInfo("none", "p", "1", "no.such_module:build")) == methods.MethodFacts()


def test_an_unknown_method_gets_a_hint():
    with pytest.raises(MethodError, match=r"unknown method 'gck'; did you mean 'gkc'.*installed again"):
        methods.find("gck")


def test_our_method_wins_over_a_stranger_of_the_same_name(monkeypatch):
    class Distribution:
        name, version = "aaa", "9"

    class Point:
        name, value, dist = "gkc", "aaa:build", Distribution()

    class Other(Point):
        name = "theirs"

    plain = metadata.entry_points(group=methods.GROUP)
    monkeypatch.setattr(metadata, "entry_points", lambda group: [Point(), Other(), *plain])
    found = {method.name: method for method in methods.available()}
    assert found["gkc"].package == "ovsbench"
    assert found["theirs"] == methods.MethodInfo("theirs", "aaa", "9", "aaa:build")


def test_a_file_is_a_method(file):
    method = methods.create(
        f"{file}:build", checkpoint="w.bin", device="cpu", options={"steps": "4", "rate": "0.5", "track": "no"}
    )
    assert method.facts == {"checkpoint": Path("w.bin"), "device": "cpu", "steps": 4, "rate": 0.5, "track": False}
    assert methods.create(f"{file}:build", options={"rate": "none"}).facts["rate"] is None


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"step": "4"}, "no option 'step'; did you mean 'steps'"),
        ({"device": "cpu"}, "no option 'device'"),
        ({"steps": "four"}, "expected a whole number, got 'four'"),
        ({"steps": "1.5"}, "expected a whole number"),
        ({"rate": "fast"}, "expected a number, got 'fast'"),
        ({"track": "maybe"}, "expected true or false, got 'maybe'"),
    ],
)
def test_an_option_that_does_not_fit_is_one_sentence(file, options, sentence):
    with pytest.raises(MethodError, match=sentence):
        methods.create(f"{file}:build", options=options)


def test_options_may_be_choices_paths_and_anything():
    def build(*, checkpoint, device, mode: Literal["fast", "exact"] = "fast", folder: Path = Path(), **rest: str): ...

    options = {"mode": "exact", "folder": "a/b", "else": "1"}
    assert Options.of(build).read("m", options) == {"mode": "exact", "folder": Path("a/b"), "else": "1"}
    with pytest.raises(MethodError, match="did you mean 'fast'"):
        Options.of(build).read("m", {"mode": "fats"})


@dataclass(frozen=True)
class Group:
    depth: int = 1
    width: float | None = None


def test_a_dataclass_is_a_group_of_options():
    def build(*, checkpoint, device, group: Group = Group(), name: str = ""): ...

    assert Options.of(build).read("m", {"width": "2", "name": "n"}) == {"group": Group(width=2.0), "name": "n"}
    assert Options.of(build).read("m", {}) == {}
    with pytest.raises(MethodError, match=r"no option 'group'.*Known: depth, name, width"):
        Options.of(build).read("m", {"group": "1"})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = nowhere", r"cannot be imported: the method raised NameError: .* \(odd.py, line 2\)"),
        ("raise SystemExit(0)", r"cannot be imported: the method ended the program \(odd.py, line 2\)"),
        ("build = 3", "expected 'build' to be a function, got int"),
        (
            "def build(): ...",
            "cannot be built: the method raised TypeError: .*unexpected keyword argument 'checkpoint'",
        ),
        ("def build(*, checkpoint, device, depth: int): ...", "needs the option depth, got none. Give --option depth="),
        ("def build(*, checkpoint, device: Nothing): ...", "cannot be built: the method raised NameError"),
        ("def build(*, checkpoint, device): {}['w']", r"raised KeyError: 'w' \(odd.py, line 2\). Correct the method"),
        (
            "def build(*, checkpoint, device): import odd_lib",
            "needs the module odd_lib, which is not installed.*Install",
        ),
        ("def build(*, checkpoint, device): exit()", "cannot be built: the method ended the program"),
    ],
)
def test_whatever_the_code_of_a_file_does_wrong_is_one_sentence(text, sentence, tmp_path):
    (tmp_path / "odd.py").write_text(f"from __future__ import annotations\n{text}")
    with pytest.raises(MethodError, match=sentence):
        methods.create(f"{tmp_path}/odd.py:build")


def test_a_file_that_cannot_be_used_is_one_sentence(file, tmp_path):
    with pytest.raises(MethodError, match=r"none\.py: expected a Python file"):
        methods.find(f"{tmp_path}/none.py:build")
    with pytest.raises(MethodError, match=rf"Write {file}:build"):
        methods.find(str(file))
    with pytest.raises(MethodError, match="has no 'bild'"):
        methods.find(f"{file}:bild")
    with pytest.raises(MethodError, match=r"returned int, which has no predict\(\)"):
        methods.create(f"{file}:wrong")
    file.write_text("import a_package_that_nobody_has")
    with pytest.raises(MethodError, match="cannot be imported: No module named"):
        methods.find(f"{file}:build")
    file.write_text("def build(:")
    with pytest.raises(MethodError, match="cannot be imported"):
        methods.find(f"{file}:build")


@dataclass(frozen=True)
class Wording:
    prompt: str = "{}"
    synonyms: bool = False


def test_options_of_groups_are_named_and_those_of_others_are_not():
    def build(*, checkpoint, device, steps: int = 1, wording: Wording = Wording(), **rest: str):
        return None

    assert set(Options.of(build).kinds) == {"steps", "prompt", "synonyms"}


@pytest.mark.parametrize("statement", ["from benchmark.types import Segment", "import benchmark.types"])
@pytest.mark.parametrize("is_installed", [True, False])
def test_a_file_that_imports_by_the_old_name_is_told_the_new_one(tmp_path, monkeypatch, statement, is_installed):
    if is_installed:  # where no folder of a checkout is on the path
        monkeypatch.setattr(sys, "path", [p for p in sys.path if not (Path(p) / "benchmark").is_dir()])
        monkeypatch.delitem(sys.modules, "benchmark", raising=False)
    (tmp_path / "old.py").write_text(statement)
    with pytest.raises(MethodError, match=r"old.py: cannot be imported: .*Import ovsbench\.benchmark"):
        methods.find(f"{tmp_path / 'old.py'}:build")


def test_a_file_may_import_what_needs_torchvision_before_anything_of_ours_did(tmp_path):
    pytest.importorskip("transformers")
    imports = "from transformers import Mask2FormerForUniversalSegmentation as Model\nimport torchvision.ops\n"
    (tmp_path / "mine.py").write_text(imports + FILE + "assert Model\n")
    code = "from ovsbench.benchmark.record import Settings\nfrom ovsbench.plans.runs import create\n"
    code += f"create(Settings({str(tmp_path / 'mine.py:build')!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
