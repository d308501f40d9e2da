"""What an entry is to the others of its benchmark: a copy, a correction, of the same name, or of other labels."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from ovsbench.benchmark.errors import DataError, UserError
from ovsbench.benchmark.running.scores import read_counts
from ovsbench.leaderboard import nearness
from ovsbench.leaderboard.bundle.card import CARD, Card, read_card
from ovsbench.leaderboard.bundle.check import Checked, CorrectedBy
from ovsbench.leaderboard.label_counts import Labels, other_labels, path_of, read_labels
from ovsbench.leaderboard.look_alike import skeleton
from ovsbench.leaderboard.row import slug
from ovsbench.leaderboard.verified import Verified


class Neighbours:
    """The entries of a board, each read once, for an entry that is on the board or wants to be.

    Args:
        entries: the folder of the board.
        marks: of its entries, by their ids.
        doubtful: entries that are in question themselves, so that others do not have to be like them.
    """

    def __init__(self, entries: Path, marks: Mapping[str, Verified], doubtful: Collection[str] = ()) -> None:
        self._entries, self._marks, self._doubtful = entries, marks, frozenset(doubtful)
        self._cards: dict[str, Card | None] = {}
        self._answers: dict[str, dict[str, nearness.Answers]] = {}
        self._labels: dict[str, Labels | None] = {}

    def problems(self, checked: Checked, own: str = "") -> Iterator[str]:
        """Why an entry cannot stand on the board, one sentence each.

        Args:
            checked: the entry.
            own: its id if it is there already.
        """
        yield from self._wrong_corrections(checked, own)
        yield from self._copies(checked, own)
        yield from self._same_names(checked, own)
        labels = self.labels(checked, own)
        if labels is not None:
            yield from list(other_labels(checked.counts, labels))[:1]

    def near(self, checked: Checked, own: str = "") -> str:
        """The entry, or `nearness.LABELS`, whose counts those of an entry are near; "" for nobody's.

        Its own corrections and what the same author signed are no copies. What is near another itself is passed over,
        and what came later, unless the entry is in question: the date that it bears is its own word then.
        """
        if not checked.record.uses_labels and nearness.is_perfect(checked):
            return nearness.LABELS
        aside, key = self._earlier(checked.card.supersedes), checked.card.author_key
        others: dict[str, nearness.Answers] = {}
        for entry, mark in self._of_benchmark(checked, own):
            is_kin = entry in aside or own in self._earlier(mark.supersedes) or (key and key == self._key(entry))
            is_later = own in self._marks and own not in self._doubtful and mark.added > self._marks[own].added
            if not is_kin and not is_later and (not mark.near or mark.level == "rerun"):
                others |= self._answers_of(entry, checked)
        labels = self.labels(checked, own)
        if labels is not None and labels.are_labels and not checked.record.uses_labels:
            others[nearness.LABELS] = nearness.answers_of(labels.counts)
        return nearness.nearest(nearness.answers_of(checked.counts), others)

    def corrected_by(self, checked: Checked, is_maintainer: bool) -> CorrectedBy:
        """Who may say that an entry takes the place of the one that its card names; "" for nobody."""
        first, key = checked.card.supersedes, checked.card.author_key
        if first and first in self._marks and key and self._key(first) == key:
            return "author"
        return "maintainers" if first and is_maintainer else ""

    def labels(self, checked: Checked, own: str = "") -> Labels | None:
        """What the labels of a benchmark give: as the board keeps it, or as the first entry has it that is not own."""
        digest = checked.benchmark.digest
        if digest not in self._labels:
            path = path_of(self._entries, slug(checked.benchmark.name), digest)
            self._labels[digest] = read_labels(path, checked.benchmark)
        known = self._labels[digest]
        for entry, _ in self._of_benchmark(checked, own) if known is None else ():
            try:
                return Labels(entry, read_counts(checked.benchmark, self._entries / entry), are_labels=False)
            except UserError:
                continue  # that is said where that entry is checked
        return known

    def _card(self, entry: str) -> Card | None:
        """The card of an entry, None for one that cannot be read: that is said where that entry is checked."""
        if entry not in self._cards:
            path = self._entries / entry / CARD
            try:
                self._cards[entry] = read_card(path.read_bytes(), str(path))
            except (OSError, DataError):
                self._cards[entry] = None
        return self._cards[entry]

    def _key(self, entry: str) -> str:
        card = self._card(entry)
        return card.author_key if card else ""

    def _of_benchmark(self, checked: Checked, own: str) -> list[tuple[str, Verified]]:
        """The other entries of its benchmark, those in question last, then the first that was added first."""
        digest = checked.benchmark.digest
        others = [(entry, mark) for entry, mark in self._marks.items() if entry != own and mark.digest == digest]
        return sorted(others, key=lambda one: (one[0] in self._doubtful, one[1].added, one[0]))

    def _answers_of(self, entry: str, checked: Checked) -> dict[str, nearness.Answers]:
        """By its id what an entry answered; nothing for one that cannot be read."""
        if entry not in self._answers:
            try:
                counts = read_counts(checked.benchmark, self._entries / entry)
                self._answers[entry] = (
                    {entry: nearness.answers_of(counts)} if len(counts) == len(checked.counts) else {}
                )
            except UserError:
                self._answers[entry] = {}
        return self._answers[entry]

    def _earlier(self, entry: str) -> set[str]:
        """An entry and all that it corrected, one after the other."""
        corrected: set[str] = set()
        while entry and entry not in corrected:
            corrected.add(entry)
            entry = self._marks[entry].supersedes if entry in self._marks else ""
        return corrected

    def _wrong_corrections(self, checked: Checked, own: str) -> Iterator[str]:
        first = checked.card.supersedes
        if not first:
            return
        if first not in self._marks or first == own:
            yield f"the card supersedes {first!r}, which is not on the board. Name an entry of the board"
            return
        if first.split("/")[0] != slug(checked.benchmark.name):
            yield f"{first} is about another benchmark than {checked.benchmark.name}. Name an entry of the same"
        for entry, mark in self._marks.items():
            if mark.supersedes == first and entry != own:
                yield f"{first} was superseded by {entry} already. Name that one in supersedes"
        if not checked.corrected_by or (checked.corrected_by == "author" and not self.corrected_by(checked, False)):
            yield (
                f"{first} can be corrected by its author, with the key that signed it (ovsbench submit --key), or by "
                "the maintainers of the board (ovsbench board add --maintainer), and by nobody else. Leave supersedes "
                "empty and choose a name of your own"
            )

    def _copies(self, checked: Checked, own: str) -> Iterator[str]:
        facts = (checked.scores.counts_sha256, checked.benchmark.digest, checked.record.offered)
        aside = self._earlier(checked.card.supersedes)
        for entry, mark in self._of_benchmark(checked, own):
            is_same = (mark.counts_sha256, mark.digest, mark.offered) == facts
            if is_same and entry not in aside and own not in self._earlier(mark.supersedes):
                yield f"these predictions are on the board as {entry}. To correct its card, name it in supersedes"
                return

    def _same_names(self, checked: Checked, own: str) -> Iterator[str]:
        name, aside = skeleton(checked.card.name), self._earlier(checked.card.supersedes)
        for entry, mark in self._of_benchmark(checked, own):
            is_other = entry not in aside and own not in self._earlier(mark.supersedes)
            card = self._card(entry)
            if is_other and card and skeleton(card.name) == name:
                yield (
                    f"the name {checked.card.name!a} looks like that of {entry}. Choose another name in the card, or "
                    "name that one in supersedes"
                )
                return
        place, method = slug(checked.benchmark.name), slug(checked.record.method)
        for entry in self._marks:
            other = entry.split("/")[1]
            if entry.split("/")[0] == place and other != method and other.casefold() == method.casefold():
                yield f"the method {method} differs from {other} of {entry} by case alone. Choose another name"
                return
        for folder in sorted(path.name for path in self._entries.glob("*") if path.is_dir()):
            if folder != place and skeleton(folder) in (skeleton(place), skeleton(checked.benchmark.name)):
                yield f"the benchmark {checked.benchmark.name!a} looks like {folder}, which is on the board. Rename it"
                return
