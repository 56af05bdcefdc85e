"""One partition of both inputs and of the outcomes, sorted by sessions: what an audit judges.

It takes the records in the order of the log, and tells of each what the logs alone can tell: whether its date is
believed, and whether it came later than `lateness` allows, so that a decision may have been made without it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from .calls import ReferenceRules
from .decision import Completed, Presented, UndatedCheckout
from .reading import OutcomeRecord

EVER = 2**62
"""A time (ms) after every other; below zero, before every other."""

_YEAR_2000 = 946_684_800_000
"""Kafka is from 2011: a presentation that is dated before has its time in another unit, or none."""


class ShownOffer(Presented, Protocol):
    """A presentation; several may stand in one record."""

    @property
    def record_offset(self) -> int: ...


class UncertainCheckout(NamedTuple):
    """A checkout whose time is not known: with the least and the most of doubt about it.

    How much there is depends on when it was read, which the log does not tell. Either is right.
    """

    least: UndatedCheckout
    most: UndatedCheckout


class UnreadablePresentation(NamedTuple):
    """A record of the offers' topic that is no event, or one whose date is not believed: it joins nothing."""

    offset: int
    timestamp: int
    why: str
    event: ShownOffer | None = None


class SessionLog:
    """What one session left in the partition. `late`: what of it came later than `lateness` allows."""

    __slots__ = ("checkouts", "doubts", "late", "outcomes", "shown")

    def __init__(self) -> None:
        self.shown: list[ShownOffer] = []
        self.checkouts: list[Completed] = []
        self.doubts: list[UncertainCheckout] = []
        self.outcomes: list[OutcomeRecord] = []
        self.late: tuple[ShownOffer | Completed | UncertainCheckout, ...] = ()

    @property
    def came_late(self) -> bool:
        """Whether some of it came later than `lateness` allows."""
        return bool(self.late)


class PartitionLog:
    """Takes records in the order of the log.

    Args:
        rules: of the decision.
        now: a wall clock (ms): what is dated beyond it by more than max_skew, or before the year 2000, is not believed.
            None: no clock counts.

    Attributes:
        sessions: by their ids.
        not_joined: presentations that cannot be read or believed.
        presentations_from: what was presented before this time (ms) may not have been read.
        checkouts_from: checkouts from before this time (ms) may be gone from the log.
        outcomes_from: outcomes written before this time (ms) may be gone from the log.
        first_offset: presentations below this offset are gone.
        stamps: the timestamps of the records (ms) of the presentations that are kept, by their offsets.
        kept: presentations from the first to the second of these times (ms, without it) are kept.
    """

    def __init__(self, rules: ReferenceRules, now: int | None = None) -> None:
        self.rules = rules
        self.sessions: defaultdict[str, SessionLog] = defaultdict(SessionLog)
        self.not_joined: list[UnreadablePresentation] = []
        self.presentations_from = self.checkouts_from = self.outcomes_from = -EVER
        self.first_offset = 0
        self.stamps: dict[int, int] = {}
        self.kept = -EVER, EVER
        self._now = EVER if now is None else now
        self._first_year = -EVER if now is None or now < _YEAR_2000 else _YEAR_2000
        self._newest_offer = self._newest_checkout = -EVER

    def present(self, events: Sequence[ShownOffer], timestamp: int) -> None:
        """A record with these presentations, which are of one time; `timestamp` is the record's (ms)."""
        if not events:
            return
        at = events[0].presented_at
        if not self.is_believed(at, timestamp):
            self.not_joined += [
                UnreadablePresentation(event.record_offset, timestamp, "its date is not believed", event)
                for event in events
            ]
            return
        late = at + self.rules.lateness < max(self._newest_offer, timestamp)
        self._newest_offer = max(self._newest_offer, _seen(at, timestamp))
        if not self.kept[0] <= at < self.kept[1]:
            return
        self.stamps[events[0].record_offset] = timestamp
        for event in events:
            session = self.sessions[event.session_id]
            session.shown.append(event)
            if late:
                session.late += (event,)

    def cannot_present(self, offset: int, timestamp: int, why: str) -> None:
        """A record of the offers' topic that is no event."""
        self.not_joined.append(UnreadablePresentation(offset, timestamp, why))

    def complete(self, event: Completed, timestamp: int) -> None:
        """A checkout. One of a session of which nothing was given before is passed over."""
        at, session, newest = event.completed_at, self.sessions.get(event.session_id), self._newest_checkout
        is_plausible = self._is_plausible(at, timestamp)
        if is_plausible:
            self._newest_checkout = max(newest, _seen(at, timestamp))
        if session is None:
            return
        if is_plausible:
            if at + self.rules.lateness < max(newest, timestamp):
                session.late += (event,)
            session.checkouts.append(event)
            return
        is_stamped, skew, least = self._is_stamped(timestamp), self.rules.max_skew, timestamp
        earliest = min(at, timestamp - self.rules.lateness) if is_stamped else -EVER
        latest = timestamp + skew if is_stamped and at < timestamp else EVER
        if not is_stamped:
            least = EVER
        self._doubt(session, _doubt(event.session_id, least, earliest, latest, event), timestamp)

    def cannot_complete(self, sessions: Iterable[str], timestamp: int) -> None:
        """A checkout that cannot be read, of one of these sessions."""
        is_stamped = self._is_stamped(timestamp)
        earliest = timestamp - self.rules.lateness if is_stamped else -EVER
        for session_id in self.sessions.keys() & set(sessions):
            least = timestamp if is_stamped else EVER
            self._doubt(self.sessions[session_id], _doubt(session_id, least, earliest, EVER, None), timestamp)

    def expect(self, session_id: str) -> None:
        """Checkouts of this session are wanted, whatever else there is of it."""
        self.sessions[session_id]

    def settle(self, outcome: OutcomeRecord) -> None:
        """An outcome."""
        self.sessions[outcome.session_id].outcomes.append(outcome)

    def is_believed(self, at: int, timestamp: int) -> bool:
        """Whether the date of a presentation is believed (both ms)."""
        return at >= self._first_year and self._is_plausible(at, timestamp)

    def _doubt(self, session: SessionLog, doubt: UncertainCheckout, timestamp: int) -> None:
        session.doubts.append(doubt)
        if self._is_stamped(timestamp) and timestamp + self.rules.lateness < self._newest_checkout:
            session.late += (doubt,)

    def _is_plausible(self, at: int, timestamp: int) -> bool:
        skew = self.rules.max_skew
        if timestamp >= 0 and not timestamp - self.rules.lookback <= at <= timestamp + skew:
            return False
        return at <= self._now + skew

    def _is_stamped(self, timestamp: int) -> bool:
        """Whether the record's stamp tells when it was written."""
        return 0 <= timestamp <= self._now + self.rules.max_skew


def _seen(at: int, timestamp: int) -> int:
    return at if timestamp < 0 else min(at, timestamp)


def _doubt(session_id: str, least: int, earliest: int, latest: int, event: Completed | None) -> UncertainCheckout:
    return UncertainCheckout(
        UndatedCheckout(session_id, least, least, event), UndatedCheckout(session_id, earliest, latest, event)
    )
