"""Names to vectors of the text space: CLIP, banks of vectors computed elsewhere, synonyms.

The names below are imported when they are first used: synonyms and WordNet need no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ovsbench.gkc_video.text.clip import Clip, load_clip
    from ovsbench.gkc_video.text.text_space import Bank, NameTable, Prompted, TextSpace, name_table
    from ovsbench.gkc_video.text.tokens import whole_tokens

__all__ = ["Bank", "Clip", "NameTable", "Prompted", "TextSpace", "load_clip", "name_table", "whole_tokens"]
_MODULES = {"Clip": "clip", "load_clip": "clip", "whole_tokens": "tokens"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'text_space')}"), name)
