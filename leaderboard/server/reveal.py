"""What of a result may be shown to whom and when: the one place of this decision."""

from __future__ import annotations

from collections.abc import Mapping

from ovsbench.leaderboard.server.database import Phase, now
from ovsbench.leaderboard.server.outcome import Outcome

Values = Mapping[str, Mapping[str, float | None]]
DIGITS = 3
"""Of a fraction that is shown rounded: a tenth of a percent, too coarse to probe single videos."""


def is_over(phase: Phase) -> bool:
    """Whether the phase has closed."""
    return bool(phase.exported) or now() >= phase.closes


def shows_scores(phase: Phase) -> bool:
    """Whether scores are shown at all now."""
    return phase.show != "none-until-close" or is_over(phase)


def own_values(phase: Phase, outcome: Outcome) -> Values | None:
    """The scores that a team sees of its own submission; None where none are shown yet."""
    if not shows_scores(phase):
        return None
    return outcome.values if phase.show == "full" or phase.exported else rounded(outcome.values)


def own_categories(phase: Phase, outcome: Outcome) -> Values:
    """The scores of single categories that a team sees of its own submission; {} for none."""
    is_shown = shows_scores(phase) and (phase.shows_categories or is_over(phase))
    return rounded(outcome.categories) if is_shown else {}


def public_values(phase: Phase, outcome: Outcome) -> Values | None:
    """The scores that everybody sees of a published submission; None where none are shown yet."""
    return rounded(outcome.values) if shows_scores(phase) else None


def rounded(values: Values) -> dict[str, dict[str, float | None]]:
    """Every score with `DIGITS` digits.

    >>> rounded({"mIoU": {"all": 0.123456, "novel": None}})
    {'mIoU': {'all': 0.123, 'novel': None}}
    """
    return {
        name: {group: None if value is None else round(value, DIGITS) for group, value in by_group.items()}
        for name, by_group in values.items()
    }
