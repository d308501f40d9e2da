"""Find a method by name or by file, and build it.

Installed packages offer methods as entry points of the group `ovsbench.methods`, ours as well as anybody's; a file that
is not installed is named as `path/to/file.py:build`. Either way `build(*, checkpoint, device, **options)` returns a
`ovsbench.benchmark.types.Method`.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, get_type_hints

from ovsbench.benchmark.errors import MethodError, UserError, did_you_mean
from ovsbench.benchmark.foreign_code import misdeed
from ovsbench.benchmark.settings import Reader
from ovsbench.benchmark.types import Method

GROUP = "ovsbench.methods"
OLD_ROOMS = ("benchmark", "baselines", "data_prep", "gkc_video", "leaderboard")
"""Packages that were once imported by these bare names."""
Build = Callable[..., Method]


@dataclass(frozen=True, slots=True)
class MethodInfo:
    """A method that can be built.

    Attributes:
        name: what a person types after `-m`.
        package: the distribution that brings it, "" for a file.
        version: of that distribution; of a file, the sha256 of its bytes.
        entry_point: `module:function`, or the file.
    """

    name: str
    package: str
    version: str
    entry_point: str


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
    module = method.entry_point.rpartition(":")[0]
    top, *rest = module.split(".")
    try:
        if not method.package and module.endswith(".py"):
            file = Path(module)
        else:
            spec = importlib.util.find_spec(top)
            folders = list(spec.submodule_search_locations or []) if spec else []
            inside = folders and rest
            file = Path(folders[0], *rest).with_suffix(".py") if inside else Path((spec and spec.origin) or "")
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


def info(name: str, also: Collection[str] = ()) -> MethodInfo:
    """What is known about a method before it is imported.

    Args:
        name: of the method.
        also: other names that a person may have meant, for the message.

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
            f"unknown method {name!r}; {did_you_mean(name, [*known, *also])}. "
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
    module_name, _, function = found.entry_point.rpartition(":")
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
        fault = str(error) if isinstance(error, (ImportError, SyntaxError)) else misdeed(error)
        missing = error.name or "" if isinstance(error, ModuleNotFoundError) else ""
        is_old = missing.partition(".")[0] in OLD_ROOMS
        remedy = f"Import ovsbench.{missing}" if is_old else "Correct the file"
        raise MethodError(f"{path}: cannot be imported: {fault}. {remedy}") from error
    return module


@dataclass(frozen=True)
class Options:
    """The options of a build function: its keywords but `checkpoint` and `device`.

    Attributes:
        kinds: name to annotation, text without one.
        groups: parameters annotated with a dataclass; each field of it is an option.
        needed: options without a default.
        takes_any: whether it has `**options`, which names none.
    """

    kinds: Mapping[str, Any]
    groups: Mapping[str, Any]
    needed: tuple[str, ...]
    takes_any: bool

    @staticmethod
    def of(build: Callable[..., Any]) -> Options:
        """Those that the signature of a build function names."""
        hints, parameters = get_type_hints(build), inspect.signature(build).parameters.values()
        named = [p for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
        groups = {p.name: hints[p.name] for p in named if dataclasses.is_dataclass(hints.get(p.name))}
        alone = [p for p in named if p.name not in groups and p.name not in ("checkpoint", "device")]
        kinds = {p.name: hints.get(p.name, str) for p in alone}
        for group in groups.values():
            kinds |= get_type_hints(group)
        needed = tuple(p.name for p in alone if p.default is p.empty)
        return Options(kinds, groups, needed, any(p.kind is p.VAR_KEYWORD for p in parameters))

    def read(self, method: str, texts: Mapping[str, str]) -> dict[str, Any]:
        """The keyword arguments that options given as text stand for.

        Raises:
            MethodError: an unknown option, one that is missing, or text that is not of the annotated kind.
        """
        for key in texts:
            if key not in self.kinds and not self.takes_any:
                raise MethodError(f"method {method} has no option {key!r}; {did_you_mean(key, self.kinds)}")
        for key in self.needed:
            if key not in texts:
                raise MethodError(f"method {method} needs the option {key}, got none. Give --option {key}=VALUE")
        reader = Reader(MethodError, is_text=True)
        values = {
            k: reader.value(self.kinds.get(k, str), text, f"option {k} of method {method}") for k, text in texts.items()
        }
        for parameter, group in self.groups.items():
            if given := {f.name: values.pop(f.name) for f in dataclasses.fields(group) if f.name in values}:
                values[parameter] = group(**given)
        return values


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
        arguments = Options.of(build).read(name, options or {})
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
