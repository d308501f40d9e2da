"""Find a method by name or by file, and build it.

Installed packages offer methods as entry points of the group `ovsbench.methods`, ours as well as anybody's; a file that
is not installed is named as `path/to/file.py:build`. Either way `build(*, checkpoint, device, **options)` returns a
`ovsbench.benchmark.types.Method`.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from ovsbench.benchmark.errors import MethodError, UserError, did_you_mean
from ovsbench.benchmark.foreign_code import misdeed
from ovsbench.benchmark.method_options import convert_options
from ovsbench.benchmark.types import Method

GROUP = "ovsbench.methods"
Build = Callable[..., Method]


@dataclass(frozen=True, slots=True)
class MethodInfo:
    """A method that can be built.

    Attributes:
        name: what a person types after `-m`.
        package: the distribution that brings it, "" for a file.
        version: of that distribution; of a file, the sha256 of its bytes.
        target: `module:function`, or the file.
    """

    name: str
    package: str
    version: str
    target: str


def available() -> tuple[MethodInfo, ...]:
    """The installed methods by name, none of them imported; our own win over others of the same name."""
    found: dict[str, MethodInfo] = {}
    for point in sorted(metadata.entry_points(group=GROUP), key=lambda point: point.name):
        package, version = (point.dist.name, point.dist.version) if point.dist else ("", "")
        if point.name not in found or package == "ovsbench":
            found[point.name] = MethodInfo(point.name, package, version, point.value)
    return tuple(found.values())


@dataclass(frozen=True, slots=True)
class MethodFacts:
    """What the module of a method says of it, in constants `TASKS` and `NEEDS`; empty where it does not.

    Attributes:
        tasks: task kinds that it answers, such as ("semantic", "panoptic").
        needs: weights, labels and libraries, in a few words.
    """

    tasks: tuple[str, ...] = ()
    needs: str = ""


def facts(method: MethodInfo) -> MethodFacts:
    """Reads the constants off the source of the method's module; nothing is imported or run."""
    module = method.target.partition(":")[0]
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
        folders = list(spec.submodule_search_locations or []) if spec else []
        file = Path(folders[0], *rest).with_suffix(".py") if folders and rest else Path((spec and spec.origin) or "")
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return MethodFacts()
    found: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            with contextlib.suppress(ValueError):
                found[node.targets[0].id] = ast.literal_eval(node.value)
    tasks, needs = found.get("TASKS", ()), found.get("NEEDS", "")
    return MethodFacts(tuple(map(str, tasks)) if isinstance(tasks, tuple) else (), str(needs))


def info(name: str) -> MethodInfo:
    """What is known about a method before it is imported.

    Raises:
        MethodError: there is none of this name.
    """
    if ".py:" in name:
        path = Path(name.rpartition(":")[0])
        if not path.is_file():
            raise MethodError(f"{path}: expected a Python file with a build function, found none. Check the path")
        return MethodInfo(name, "", hashlib.sha256(path.read_bytes()).hexdigest(), name)
    known = {method.name: method for method in available()}
    if name not in known and name.endswith(".py"):
        raise MethodError(f"expected a file with the name of its build function, got {name}. Write {name}:build")
    if name not in known:
        raise MethodError(
            f"unknown method {name!r}; {did_you_mean(name, known)}. "
            "A package with a new method has to be installed again before it is found; "
            "a file is named path/to/file.py:build"
        )
    return known[name]


def find(name: str) -> Build:
    """The build function of a method.

    Args:
        name: of an installed method, or `path/to/file.py:function`.

    Raises:
        MethodError: there is none, or it cannot be imported.
    """
    found = info(name)
    module_name, _, function = found.target.rpartition(":")
    if not found.package and module_name.endswith(".py"):
        module = _module_of_file(Path(module_name))
    else:
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            raise MethodError(
                f"method {name} needs a module that cannot be imported: {error}. "
                f'Install what it needs, for methods of ovsbench with pip install "ovsbench[gkc]"'
            ) from error
        except (Exception, SystemExit) as error:
            raise MethodError(f"method {name} cannot be imported: {misdeed(error)}. Correct the package") from error
    try:
        build: Build = getattr(module, function)
    except AttributeError:
        raise MethodError(f"method {name}: {module_name} has no {function!r}. Name the function that builds") from None
    if not callable(build):
        raise MethodError(
            f"method {name}: expected {function!r} to be a function, got {type(build).__name__}. "
            "Name the function that builds"
        )
    return build


def _module_of_file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"ovsbench_method_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None, "a .py file always has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickle look their module up
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        told = str(error) if isinstance(error, (ImportError, SyntaxError)) else misdeed(error)
        raise MethodError(f"{path}: cannot be imported: {told}. Correct the file") from error
    return module


def create(
    name: str,
    *,
    checkpoint: str | Path | None = None,
    device: str = "auto",
    options: Mapping[str, str] | None = None,
) -> Method:
    """Builds a method.

    Args:
        name: as for `find`.
        checkpoint: weights, in whatever form the method takes.
        device: "auto", "cpu", "cuda", ...; the method's build decides what "auto" means.
        options: keyword options of the build function, as text; converted by the function's annotations.

    Raises:
        MethodError: no such method, an option that it does not have, or a value that does not fit; and whatever else
            its own code raises.
    """
    build = find(name)
    weights = None if checkpoint is None else Path(checkpoint)
    try:
        arguments = convert_options(name, build, options or {})
        method = build(checkpoint=weights, device=device, **arguments)
    except (UserError, MemoryError):
        raise  # says itself what to do, or the command line does
    except (Exception, SystemExit) as error:
        hint = "Correct the method"
        if isinstance(error, ModuleNotFoundError):
            hint = 'Install it, for methods of ovsbench with pip install "ovsbench[gkc]"'
        raise MethodError(f"method {name} cannot be built: {misdeed(error)}. {hint}") from error
    if not hasattr(method, "predict") and not hasattr(method, "with_labels"):
        raise MethodError(
            f"method {name}: build() returned {type(method).__name__}, which has no predict(). Return one that has"
        )
    return method
