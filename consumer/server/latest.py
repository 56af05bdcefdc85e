"""The newest snapshot of the run: the poll thread swaps it in, the server's thread reads it."""

from __future__ import annotations

from ..snapshot import Snapshot
from .history import History


class Latest:
    """Holds one snapshot, and what those before it counted. Each is swapped as a whole, so neither side needs a lock.

    Attributes:
        snapshot: the newest; None before the first turn.
        history: of the last hour.
    """

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None
        self.history = History()

    def swap_in(self, snapshot: Snapshot) -> None:
        """This is the newest."""
        self.history.note(snapshot)
        self.snapshot = snapshot
