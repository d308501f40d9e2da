"""The source files of the project, by the name under which each is imported."""

from __future__ import annotations

import ast
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


def source_map() -> str:
    """One line a file: its path and the first sentence of its docstring, a heading for each folder."""
    lines: list[str] = []
    folder = None
    for path in sorted(source_files().values(), key=lambda path: (path.parent.as_posix(), path.name)):
        sentence = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
        if path.parent != folder:
            folder = path.parent
            about = sentence if path.name == "__init__.py" else ""
            lines += ["", f"**{folder.relative_to(ROOT).as_posix()}/** {about}".rstrip(), ""]
        if path.name != "__init__.py":
            lines.append(f"* `{path.name}` {sentence}")
    return "\n".join(lines).strip()


BEGIN, END = "<!-- source map: python tests/source_tree.py writes it -->", "<!-- end of source map -->"

if __name__ == "__main__":
    contributing = ROOT / "CONTRIBUTING.md"
    before, _, rest = contributing.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    contributing.write_text(f"{before}{BEGIN}\n\n{source_map()}\n\n{END}{after}", encoding="utf-8")
