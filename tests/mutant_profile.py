"""A plugin of pytest for `mutate.py`: examples that Hypothesis finds are not made shorter, and always the same."""

from __future__ import annotations

from hypothesis import Phase, settings

settings.register_profile("mutants", phases=(Phase.explicit, Phase.generate), derandomize=True, database=None)
settings.load_profile("mutants")
