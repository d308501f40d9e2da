"""The source files of the project, by the name under which each is imported."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("benchmark", "baselines", "data_prep", "gkc_video", "leaderboard")


def source_files() -> dict[str, Path]:
    """Module name to file; the real folders are walked, never the links of a checkout."""
    found: dict[str, Path] = {}
    for folder in (ROOT / "ovsbench", *(ROOT / room for room in ROOMS)):
        inside = [p for p in folder.rglob("*.py") if not any(q.is_symlink() for q in p.parents)]
        for path in sorted(inside):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts if parts[0] == "ovsbench" else ("ovsbench", *parts))
            found[name.removesuffix(".__init__")] = path
    return found
