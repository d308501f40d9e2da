"""What a pull request's comment says of an entry: the row that it would get, how far it was checked, what is wrong."""

from __future__ import annotations

from ovsbench.benchmark.visible_text import visible
from ovsbench.leaderboard import nearness
from ovsbench.leaderboard.bundle.check import Checked
from ovsbench.leaderboard.entries import row_of
from ovsbench.leaderboard.site.export import as_markdown
from ovsbench.leaderboard.site.table import tables
from ovsbench.leaderboard.verify import Finding

CORRECTED_BY = {"": "nobody who may", "author": "its author", "maintainers": "the maintainers"}


def row_markdown(checked: Checked) -> str:
    """The row of an entry or a bundle, its level, and what stands in its way to a rank."""
    lines = [as_markdown(tables([row_of(checked)])), f"Verified level: {checked.level}"]
    if checked.card.supersedes:
        lines[-1] += f"; it takes the place of `{checked.card.supersedes}`, says {CORRECTED_BY[checked.corrected_by]}"
    if checked.near:
        whose = "the labels" if checked.near == nearness.LABELS else f"`{checked.near}`"
        lines.append(f"Its counts are near those of {whose}: it is not ranked until somebody ran it again")
    return "\n".join(lines)


def section(finding: Finding, *, is_trusted: bool) -> tuple[str, bool]:
    """The part of a comment that is about an entry, or about the board, and whether it is sound.

    Args:
        finding: what was found.
        is_trusted: whether it comes from somebody who may say how far an entry was verified.
    """
    parts, refusals = [f"### `{finding.entry}`"] if finding.entry else [], []
    if finding.checked is not None:
        parts.append(row_markdown(finding.checked))
        if finding.checked.warnings:
            parts.append(_quoted("\n".join(f"warning: {warning}" for warning in finding.checked.warnings)))
        if not is_trusted and finding.checked.corrected_by == "maintainers":
            refusals.append("A pull request cannot speak for the maintainers. Sign with the key of what it corrects.")
        if not is_trusted and finding.checked.level != "counts":
            refusals.append(
                "A pull request can show the level counts and no other. Send the bundle too: who has the data may "
                "raise it."
            )
    parts += refusals
    if finding.problems:
        parts += ["Not sound:" if finding.entry else "The board is not sound:", _quoted("\n".join(finding.problems))]
    return "\n\n".join(parts) + "\n", not finding.problems and not refusals


def _quoted(text: str) -> str:
    """Lines that Markdown shows as they are: indented code, in which nothing is a mark."""
    return "\n".join(f"    {visible(line)}".replace("`", "'") for line in text.splitlines())
