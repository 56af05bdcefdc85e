"""What a seed is told: the settings, and the two logs with the moments at which each record is written."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Literal, NamedTuple

from consumer.audit.decision import Fate, UndatedCheckout, fates
from consumer.codecs.plain import PlainCodec
from consumer.core.rules import DecisionRules
from consumer.events import CheckoutCompleted, OfferPresented, Reason

CODEC = PlainCodec()
START = 1_800_000_000
OFFERS, CHECKOUTS = TOPICS = "offers", "checkouts"
FAR_AHEAD = 10**10
"""ms by which a wrong producer's clock is ahead: more than any jump of a reader's clock."""

OF_ANOTHER_KIND = b"another kind"
"""The value of a record that is neither an offer nor a checkout, and is passed over."""

_EVER = 10**15


class Written(NamedTuple):
    """A record of an input, and when it is written (ms).

    `on_time`: within lateness. `sessions`: those that it may be about, where it cannot be used. `happened`: when the
    customer did it (ms), whatever the record says. `bought`: what the customer bought, whatever the record says.
    """

    at: int
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    event: OfferPresented | CheckoutCompleted | None
    on_time: bool
    sessions: tuple[str, ...] = ()
    happened: int = 0
    bought: tuple[str, ...] = ()

    @property
    def says_nothing(self) -> bool:
        """It is empty, or of another kind: nothing becomes of it."""
        return is_nothing(self.value)

    @property
    def dated(self) -> int:
        """What the event says of when it happened (ms)."""
        assert self.event is not None
        return self.event.presented_at if isinstance(self.event, OfferPresented) else self.event.completed_at


@dataclass
class Scenario:
    """Everything that a run is told, but for what it draws as it goes.

    Attributes:
        span: ms from the first event to the last.
        settings: those of each start in turn; the last ones stay.
        unknown, refused: offers that the insurer answers by 404, by 422 (with partner_code).
        rate_limit: calls a second; 0 = none.
        not_found_limit: 404s in a row that look like a wrong route; 0 = none do.
        outage: seconds from the start on at which the brokers go and come back, as their producers were delayed.
        unwritten: offers of which a purchase was never written.
        max_run, max_ratio: see `dead_letter`.
        eaten: sessions whose lateness was eaten by a producer that is ahead: see `read`.
        kinds: what was drawn, for the summary.
    """

    seed: int
    partitions: int
    instances: int
    span: int
    settings: list[DecisionRules]
    checkout_silence: int
    unmatched_limit: int
    max_unsettled: int
    commit_interval: float
    group_protocol: Literal["classic", "consumer"]
    rejected: Literal["hold", "dead-letter"]
    metadata_limit: int
    loses_metadata: bool
    records: list[Written] = field(default_factory=list)
    unknown: frozenset[str] = frozenset()
    refused: frozenset[tuple[str, str]] = frozenset()
    rate_limit: float = 0.0
    not_found_limit: int = 20
    outage: tuple[float, float] | None = None
    unwritten: set[str] = field(default_factory=set)
    eaten: set[str] = field(default_factory=set)
    max_run: int = 100
    max_ratio: float = 0.1
    kinds: Counter[str] = field(default_factory=Counter)

    @property
    def rules(self) -> DecisionRules:
        return self.settings[0]

    @property
    def loosest(self) -> DecisionRules:
        """The rules, but for the longest lookback of all settings: what these do not believe, none does."""
        return replace(self.rules, lookback=max(rules.lookback for rules in self.settings))

    @property
    def one_setting(self) -> bool:
        """The settings do not change."""
        return len(self.settings) == 1

    @cached_property
    def all_on_time(self) -> bool:
        """No record comes later than lateness."""
        return all(w.on_time for w in self.records)

    @cached_property
    def _loose(self) -> set[str]:
        late = [w for w in self.records if not w.on_time]
        return {session_id for w in late for session_id in (w.sessions if w.event is None else (w.event.session_id,))}

    def strict(self, session_id: str) -> bool:
        """Whether each fate of the session is the oracle's: its events are on time, and the settings do not change."""
        return self.one_setting and session_id not in self._loose and session_id not in self.eaten

    def read(self, topic: str, partition: int, offset: int, wall: int, now: int) -> None:
        """A process reads the record, by its clock at `wall`, while `now` is true time (ms).

        One whose date and stamp are ahead, both within max_skew, eats the lateness of what stands behind it, where it
        is read so late that no clock tells that it is ahead, or by a clock that is ahead too, by less than counts as
        wrong. It is a limit that the manual states.
        """
        for seen, earliest, sessions in self._behind_ahead.get((topic, partition, offset), ()):
            if min(seen, max(wall, now)) - self.rules.lateness > earliest:
                self.eaten.update(sessions)

    @cached_property
    def _behind_ahead(self) -> dict[tuple[str, int, int], list[tuple[int, int, tuple[str, ...]]]]:
        """Of each record that is ahead of the time at which it was written: how far, and what stands behind it that the
        log alone takes for late: from when it may be, and of which sessions."""
        found: dict[tuple[str, int, int], list[tuple[int, int, tuple[str, ...]]]] = defaultdict(list)
        for number, ahead in enumerate(self.records):
            if ahead.event is None or implausible(ahead, self.loosest):
                continue
            seen = min(ahead.dated, ahead.timestamp)
            if seen <= ahead.at:
                continue
            for w in self.records[number + 1 :]:
                if (w.topic, w.partition) != (ahead.topic, ahead.partition) or w.offset < ahead.offset:
                    continue
                is_dated = w.event is not None and not implausible(w, self.loosest)
                earliest = w.dated if is_dated else w.timestamp - self.rules.lateness
                sessions = w.sessions if w.event is None else (w.event.session_id,)
                if seen - self.rules.lateness > earliest:
                    found[ahead.topic, ahead.partition, ahead.offset].append((seen, earliest, sessions))
        return found

    def offers(self) -> Iterator[OfferPresented]:
        """All presentations that can be read."""
        yield from (w.event for w in self.records if isinstance(w.event, OfferPresented))

    def presentations(self, partition: int) -> list[Written]:
        """Those that can be read and believed."""
        return [
            w
            for w in self.records
            if w.partition == partition and isinstance(w.event, OfferPresented) and not implausible(w, self.loosest)
        ]

    def checkouts(self, partition: int) -> list[CheckoutCompleted]:
        """Those that can be read and believed."""
        return [
            w.event
            for w in self.records
            if w.partition == partition and isinstance(w.event, CheckoutCompleted) and not implausible(w, self.loosest)
        ]

    def undated(self, partition: int) -> Iterator[tuple[Written, UndatedCheckout, UndatedCheckout]]:
        """The checkouts that cannot be read or whose date is not believed: each with the least and the most of doubt
        about when it was completed. How much there is depends on when it is read.
        """
        for w in self.records:
            if w.topic != CHECKOUTS or w.partition != partition:
                continue
            event = w.event if isinstance(w.event, CheckoutCompleted) and implausible(w, self.loosest) else None
            believed = w.timestamp <= w.at
            if event is not None and far_behind(w, self.loosest):
                since, skew = min(w.dated, w.timestamp - self.rules.lateness), self.rules.max_skew
                yield (
                    w,
                    UndatedCheckout(event.session_id, max(since, w.happened), min(w.timestamp, w.at) + skew, event),
                    UndatedCheckout(event.session_id, since, w.timestamp + skew, event),
                )
                continue
            at, earliest = (w.timestamp, w.timestamp - self.rules.lateness) if believed else (w.at, -_EVER)
            # A stamp that is ahead by less than max_skew is believed by who does not wait for the clock.
            at = max(at, w.timestamp - self.rules.lateness)
            for session_id in w.sessions if event is None else (event.session_id,):
                yield w, UndatedCheckout(session_id, at, at, event), UndatedCheckout(session_id, earliest, _EVER, event)

    def fates(self, partition: int, keep: Iterator[Written] | None = None) -> Iterator[tuple[Fate, list[Fate]]]:
        """Each chain's fate with the least doubt about undated checkouts, and all that it may have.

        `keep`: by these presentations alone.
        """
        shown, undated = defaultdict(list), defaultdict(list)
        for w in self.presentations(partition) if keep is None else keep:
            assert isinstance(w.event, OfferPresented)
            shown[w.event.session_id].append(w.event)
        for _, least, most in self.undated(partition):
            undated[least.session_id].append((least, most))
        checkouts = self.checkouts(partition)
        for session_id, offers in shown.items():
            bought = [c for c in checkouts if c.session_id == session_id]
            # Chains are the same in each, and come in the same order.
            doubts = [fates(offers, bought, self.rules, doubt) for doubt in product(*undated[session_id])]
            yield from ((of_one[0], list(of_one)) for of_one in zip(*doubts, strict=True))


def is_nothing(value: bytes | None) -> bool:
    """Whether a record of this value says nothing to us."""
    return value is None or value == OF_ANOTHER_KIND


def far_behind(written: Written, rules: DecisionRules) -> bool:
    """Dated too far behind its record."""
    return written.event is not None and written.dated < written.timestamp - rules.lookback


def implausible(written: Written, rules: DecisionRules) -> bool:
    """Dated too far behind its record, or too far ahead of it or of any clock."""
    if written.event is None:
        return False
    if far_behind(written, rules):
        return True
    return written.dated > min(written.timestamp, written.at + FAR_AHEAD // 2) + rules.max_skew


def believed(written: Written, rules: DecisionRules) -> bool:
    """Whether the clock of its producer was as right as the contract asks for."""
    return abs(written.dated - written.happened) <= rules.max_skew


def callable_reason(reason: Reason, rules: DecisionRules) -> bool:
    """Whether a chain of this reason is called."""
    return reason is Reason.DECLINED or (reason is Reason.ABANDONED and rules.call_abandoned)
