"""Where our packages come from. Their names are common words, so a stranger's may stand in the way of ours."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import util
from pathlib import Path

from benchmark import __version__
from benchmark.cli.console import say
from benchmark.errors import UserError

NAMES = ("benchmark", "baselines", "data_prep", "gkc_video", "leaderboard")
HOME = Path(__file__).resolve().parents[2]
"""The folder that holds all five: site-packages, or a checkout."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where Python finds a package.

    Attributes:
        name: of the package.
        folder: where its files are; None when it is not found.
        is_ours: whether that is the folder next to the other packages of this distribution.
    """

    name: str
    folder: Path | None
    is_ours: bool


def origins() -> tuple[Origin, ...]:
    """Looks the five packages up without importing them."""
    found = []
    for name in NAMES:
        spec = util.find_spec(name)
        places = list(spec.submodule_search_locations or []) if spec else []
        if spec and spec.origin and not places:  # a single file, leaderboard.py, instead of a package
            places = [spec.origin]
        folder = Path(places[0]).resolve() if places else None
        found.append(Origin(name, folder, folder == HOME / name))
    return tuple(found)


def refuse_shadows() -> None:
    """Raises a `UserError` when a package of another owner would be imported in the place of one of ours."""
    for origin in origins():
        if not origin.is_ours:
            raise UserError(
                f"expected the package {origin.name!r} in {HOME / origin.name}, but Python finds it in "
                f"{origin.folder or 'no folder'}. Remove or rename that one, or install ovsbench in a virtual "
                "environment of its own"
            )


def print_version() -> None:
    """Prints the version, then one line a package."""
    say(f"ovsbench {__version__}")
    for origin in origins():
        remark = "" if origin.is_ours else f"   not ours: expected {HOME / origin.name}"
        say(f"  {origin.name:<12} {origin.folder or 'not found'}{remark}")
