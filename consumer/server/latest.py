"""The newest snapshot of the run: the poll thread swaps it in, the server's thread reads it."""

from __future__ import annotations

from ..snapshot import Snapshot


class Latest:
    """Holds one snapshot. An attribute is swapped as a whole, so neither side needs a lock.

    Attributes:
        snapshot: the newest; None before the first turn.
    """

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None

    def swap_in(self, snapshot: Snapshot) -> None:
        """This is the newest."""
        self.snapshot = snapshot
