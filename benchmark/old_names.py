"""Keys of stored files that had another name in an earlier version: the one table, used by every reader of such files.

Files keep their bytes; a reader passes what it parsed through `renamed` and knows new names only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

StoredFile = Literal["run", "checkpoint", "card", "recipe"]

OLD_NAMES: Mapping[StoredFile, Mapping[str, str]] = {
    "run": {"target": "entry_point"},
    "checkpoint": {"story": "metadata", "config.calibration": "config.base_logit_penalty"},
    "card": {},
    "recipe": {"calibration": "base_logit_penalty", "losses.unclaimed": "losses.pseudo_masks"},
}
"""Kind of file to old key to new key, dots between the levels: `run.json`, the header of a checkpoint, `card.toml` and
the settings that a checkpoint was trained with (`*.recipe.json`). An old name never gets another meaning."""


def renamed(kind: StoredFile, content: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a stored file with the names of this version; what was passed in stays as it is.

    A key whose new name is there too is left, so that the reader refuses it as unknown.

    >>> renamed("checkpoint", {"kind": "gkc", "story": {}, "config": {"side": 128, "calibration": 0.0}})
    {'kind': 'gkc', 'config': {'side': 128, 'base_logit_penalty': 0.0}, 'metadata': {}}
    """
    out = dict(content)
    for old_path, new_path in OLD_NAMES[kind].items():
        *levels, old = old_path.split(".")
        table = out
        for level in levels:
            if not isinstance(table.get(level), Mapping):
                break
            table[level] = dict(table[level])
            table = table[level]
        else:
            new = new_path.rpartition(".")[2]
            if old in table and new not in table:
                table[new] = table.pop(old)
    return out
