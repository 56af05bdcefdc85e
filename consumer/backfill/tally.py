"""Counts the fates of a backfill on their way to the outcome topic, or to nowhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from ..events import OfferOutcome
from ..kafka.producer import Outputs
from ..kafka.record import Record
from .told import KnownFate, is_cut_off


class FateTally:
    """Passes outcomes and dead letters on, and counts them: `Outputs`.

    Args:
        outputs: where they go.
        on_outcome: is told of each outcome.

    Attributes:
        fates: how many chains have each fate.
        cut_off: those of them that are given up since a part of the log is gone: what bought them may be.
        dead_letters: records that cannot be used.
    """

    def __init__(self, outputs: Outputs, on_outcome: Callable[[OfferOutcome], None] = lambda outcome: None) -> None:
        self.fates: Counter[KnownFate] = Counter()
        self.cut_off = 0
        self.dead_letters = 0
        self._outputs = outputs
        self._on_outcome = on_outcome

    @property
    def calls(self) -> int:
        """Chains that the insurer was told of."""
        return sum(count for fate, count in self.fates.items() if fate.is_call)

    def outcome(self, outcome: OfferOutcome, partition: int) -> None:
        """See `Outputs`."""
        self.fates[KnownFate(outcome.outcome, outcome.reason)] += 1
        self.cut_off += is_cut_off(outcome)
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
