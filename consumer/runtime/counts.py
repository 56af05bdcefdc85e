"""Counts what became of records and offers, and remembers the last few: one for all tasks, so that it outlives each.

It costs an addition a record that is out of the common and a decision. What every record would have to be counted for
is counted already (`BadRecordLimit`).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable

from ..core.watermark import Side
from ..events import OfferOutcome, Outcome, Reason
from ..hiding import hide
from ..kafka.record import Record
from ..snapshot import RecentDeadLetter, RecentOutcome

MOST_RECENT = 20
"""Outcomes and dead letters that are remembered one by one: a page of each."""

MOST_WORDS = 500
"""Characters of an error that are remembered: it may quote a record."""


class Counts:
    """What has been counted since the start. Owned by the poll thread.

    Args:
        wall: a clock in seconds.

    Attributes:
        left_out: records of another kind, by input.
        decisions: chains decided, by reason.
        outcomes: chains settled, by outcome.
        dead_letters: records that were dead-lettered, by input and reason.
        repeats_skipped: of tasks that have gone; see `Task.repeats_skipped`.
        purchases_after_opt_out: offers that the insurer was told of and that were bought.
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self.left_out: Counter[Side] = Counter()
        self.decisions: Counter[Reason] = Counter()
        self.outcomes: Counter[Outcome] = Counter()
        self.dead_letters: Counter[tuple[str, str]] = Counter()
        self.repeats_skipped = 0
        self.purchases_after_opt_out = 0
        self._wall = wall
        self._last_outcomes: deque[OfferOutcome] = deque(maxlen=MOST_RECENT)
        self._last_dead_letters: deque[RecentDeadLetter] = deque(maxlen=MOST_RECENT)

    def outcome(self, outcome: OfferOutcome) -> None:
        """A chain was settled."""
        self.outcomes[outcome.outcome] += 1
        self._last_outcomes.append(outcome)

    def dead_letter(self, side: Side, record: Record, reason: str, error: str) -> None:
        """A record goes to the dead-letter topic. Secrets in `error` are hidden."""
        self.dead_letters[side.name.lower(), reason] += 1
        self._last_dead_letters.append(
            RecentDeadLetter(
                written_at=int(self._wall() * 1000),
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                reason=reason,
                error=hide(error)[:MOST_WORDS],
            )
        )

    def recent_outcomes(self) -> tuple[RecentOutcome, ...]:
        """The last ones, newest first."""
        return tuple(
            RecentOutcome(
                settled_at=one.settled_at,
                outcome=one.outcome.value,
                reason=one.reason.value,
                partner_code=one.partner_code,
                offer_id=one.offer_id,
                session_id=one.session_id,
                partition=one.source.partition,
                offset=one.source.offset,
                status_code=one.status_code,
                note=one.note,
            )
            for one in reversed(self._last_outcomes)
        )

    def recent_dead_letters(self) -> tuple[RecentDeadLetter, ...]:
        """The last ones, newest first."""
        return tuple(reversed(self._last_dead_letters))
