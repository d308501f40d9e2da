"""What the server tells a participant: one sentence, and the status of HTTP that goes with it."""

from __future__ import annotations

from ovsbench.benchmark.errors import UserError


class RefusedError(UserError):
    """A request that is not granted.

    Attributes:
        status: of HTTP.
    """

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.status = status


def full_disk() -> RefusedError:
    """No room for an upload; what is there already stays."""
    return RefusedError(
        "the disk of the server is full; what it has stays. Send the rest later, or write to the host", 507
    )
