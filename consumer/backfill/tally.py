"""Counts the fates of a backfill on their way to the outcome topic, or to nowhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from ..events import OfferOutcome, Reason
from ..kafka.producer import Outputs
from ..kafka.record import Record
from .told import KnownFate


class FateTally:
    """Passes outcomes and dead letters on, and counts them: `Outputs`.

    Args:
        outputs: where they go.
        on_outcome: is told of each outcome.

    Attributes:
        fates: how many chains have each fate.
        late: those of them that are dead-lettered as late.
        dead_letters: records that cannot be used.
    """

    def __init__(self, outputs: Outputs, on_outcome: Callable[[OfferOutcome], None] = lambda outcome: None) -> None:
        self.fates: Counter[KnownFate] = Counter()
        self.dead_letters = 0
        self._outputs = outputs
        self._on_outcome = on_outcome

    @property
    def late(self) -> int:
        """Chains that are dead-lettered as late: what bought them may be gone from the log."""
        return sum(count for fate, count in self.fates.items() if fate.reason is Reason.LATE)

    @property
    def calls(self) -> int:
        """Chains that the insurer was told of."""
        return sum(count for fate, count in self.fates.items() if fate.is_call)

    def outcome(self, outcome: OfferOutcome, partition: int) -> None:
        """See `Outputs`."""
        self.fates[KnownFate(outcome.outcome, outcome.reason)] += 1
        self._on_outcome(outcome)
        self._outputs.outcome(outcome, partition)

    def dead_letter(self, record: Record, *, reason: str, error: str, on_ack: Callable[[], None]) -> None:
        """See `Outputs`."""
        self.dead_letters += 1
        self._outputs.dead_letter(record, reason=reason, error=error, on_ack=on_ack)

    def poll(self) -> None:
        """See `Outputs`."""
        self._outputs.poll()

    def flush(self, timeout_s: float) -> bool:
        """See `Outputs`."""
        return self._outputs.flush(timeout_s)

    def check(self) -> None:
        """See `Outputs`."""
        self._outputs.check()
