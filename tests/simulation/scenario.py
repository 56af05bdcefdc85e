"""What a seed draws: the settings, the two logs with the moments at which each record is written, and the faults."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

from unit.oracle import Fate, Undated, fates

from consumer.core.rules import Rules
from consumer.events import CheckoutCompleted, OfferPresented, Reason
from consumer.kafka.codec import PlainCodec

CODEC = PlainCodec()
START = 1_800_000_000
OFFERS, CHECKOUTS = "offers", "checkouts"
UNREADABLE = b"\xff\xff\xff"


class Written(NamedTuple):
    """A record of an input, and when it is written (ms)."""

    at: int
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    event: OfferPresented | CheckoutCompleted | None
    on_time: bool


@dataclass
class Scenario:
    """Everything that a run is told, but for what it draws as it goes.

    Attributes:
        strict: all events are on time and the settings do not change, so each fate is the oracle's.
        span: ms from the first event to the last.
        settings: those of each start in turn; the last ones stay.
    """

    seed: int
    partitions: int
    instances: int
    span: int
    strict: bool
    call_abandoned: bool
    settings: list[Rules]
    checkout_silence: int
    unmatched_limit: int
    max_unsettled: int
    commit_interval: float
    records: list[Written] = field(default_factory=list)
    unknown: frozenset[str] = frozenset()

    @property
    def rules(self) -> Rules:
        return self.settings[0]

    def presentations(self, partition: int) -> list[Written]:
        """Those that can be read and believed."""
        return [
            w
            for w in self.records
            if w.partition == partition and isinstance(w.event, OfferPresented) and not implausible(w, self.rules)
        ]

    def fates(self, partition: int, *, widely: bool = False) -> list[Fate]:
        """The oracle's. `widely`: when unreadable checkouts were completed is doubted as far as it may be."""
        mine = [w for w in self.records if w.partition == partition]
        checkouts = [w.event for w in mine if isinstance(w.event, CheckoutCompleted)]
        before, after = (self.rules.lateness, 10**9) if widely else (0, self.rules.max_skew)
        unreadable = [
            Undated(w.key.decode(), w.timestamp - before, w.timestamp + after)
            for w in mine
            if w.topic == CHECKOUTS and w.event is None and w.value is not None and w.key is not None
        ]
        offers = [w.event for w in self.presentations(partition) if isinstance(w.event, OfferPresented)]
        return fates(offers, checkouts, self.rules, unreadable)


def implausible(written: Written, rules: Rules) -> bool:
    """Dated too far ahead of its record."""
    event = written.event
    return isinstance(event, OfferPresented) and event.presented_at > written.timestamp + rules.max_skew


def callable_reason(reason: Reason, rules: Rules) -> bool:
    """Whether a chain of this reason is called."""
    return reason is Reason.DECLINED or (reason is Reason.ABANDONED and rules.call_abandoned)


def draw(seed: int) -> Scenario:
    """The scenario of a seed."""
    random = Random(seed)
    window = 4_000
    rules = Rules(
        window=window,
        checkout_grace=random.choice((0, 500, window)),
        lookback=random.choice((window, 8_000, 12_000)),
        lateness=random.choice((1_000, 3_000)),
        max_skew=2_000,
        call_abandoned=random.random() < 0.8,
    )
    settings = [rules]
    if random.random() < 0.12:
        settings += [_other(rules, random) for _ in range(random.randint(1, 2))]
    late = random.random() < 0.2
    scenario = Scenario(
        seed=seed,
        partitions=random.randint(1, 3),
        instances=random.randint(1, 3),
        span=random.choice((10_000, 30_000, 60_000)),
        strict=not late and len(settings) == 1,
        call_abandoned=rules.call_abandoned,
        settings=settings,
        checkout_silence=random.choice((0, 0, 10_000, 1_800_000)),
        unmatched_limit=random.choice((0, 3, 50)),
        max_unsettled=1_000,
        commit_interval=random.choice((0.3, 2.0, 5.0)),
    )
    if scenario.unmatched_limit == 0:
        # Held for that reason with no room to read on, no offer is read that could match: it takes a person.
        scenario.max_unsettled = random.choice((5, 1_000))
    _Drawing(scenario, random, late).draw()
    return scenario


def _other(rules: Rules, random: Random) -> Rules:
    window = random.choice((2_000, 4_000, 6_000))
    grace = random.choice((0, 500, 1_500))
    lookback = max(window, random.choice((4_000, 8_000, 12_000)))
    return Rules(window, grace, lookback, rules.lateness, rules.max_skew, random.random() < 0.8)


class _Drawing:
    """Draws the events of sessions, then the order in which their records come."""

    def __init__(self, scenario: Scenario, random: Random, late: bool) -> None:
        self.scenario, self.random, self.rules = scenario, random, scenario.rules
        self.late = late
        self.drafts: list[tuple[int, str, int, int, bytes | None, bytes | None, Any, bool]] = []
        self.distances = [0, 1, self.rules.window, self.rules.checkout_grace, self.rules.lookback, self.rules.lateness]
        self.bad = 0

    def draw(self) -> None:
        scenario, random = self.scenario, self.random
        known: set[str] = set()
        for number in range(random.choice((3, 10, 25))):
            self._session(f"s{number}", known)
        self._closing()
        scenario.unknown = frozenset(o for o in sorted(known) if random.random() < 0.1)
        ends: dict[tuple[str, int], int] = {}
        for at, topic, partition, stamp, key, value, make, on_time in sorted(self.drafts, key=lambda d: d[0]):
            place = topic, partition
            offset = ends.get(place, 0) + (random.randint(1, 3) if random.random() < 0.1 else 0)
            ends[place] = offset + 1
            event = None if make is None else make(offset)
            scenario.records.append(Written(at, topic, partition, offset, stamp, key, value, event, on_time))

    def _session(self, session: str, known: set[str]) -> None:
        random = self.random
        begin = START * 1000 + random.randint(0, self.scenario.span)
        partner = random.choice(("ada", "bob", "eve"))
        offers = [f"{session}-o{n}" for n in range(random.choice((1, 1, 2, 3)))]
        known.update(offers)
        moments = [begin]
        for offer in offers:
            for _ in range(random.choice((1, 1, 1, 2, 4))):
                at = self._near(moments)
                moments.append(at)
                self._offer(session, partner, offer, at)
        for number in range(random.choice((0, 1, 1, 2))):
            at = self._near(moments)
            moments.append(at)
            bought = [o for o in [*offers, "booking"] if random.random() < 0.35]
            self._checkout(session, f"{session}-c{number}", at, bought)

    def _near(self, moments: list[int]) -> int:
        random = self.random
        sign = random.choice((1, 1, 1, -1))
        at = random.choice(moments) + sign * random.choice(self.distances) + random.choice((-1, 0, 0, 1, 300, 1_500))
        return max(START * 1000, at)

    def _closing(self) -> None:
        """At the end, and after the last fault, something is shown and bought in every partition, so that no guard has
        a reason to hold."""
        end = START * 1000 + self.scenario.span + 4 * self.rules.lookback + 90_000
        for partition in range(self.scenario.partitions):
            session = next(s for n in range(1_000) if self._partition(s := f"end{n}") == partition)
            self._offer(session, "ada", f"{session}-o", end, plain=True)
            self._checkout(session, f"{session}-c", end + 100, [f"{session}-o"], plain=True)
            for partner in ("ada", "bob", "eve"):
                # A 204 at last, or a partner's 404s would not be believed.
                self._offer(session, partner, f"{session}-{partner}", end, plain=True)

    def _offer(self, session: str, partner: str, offer: str, at: int, *, plain: bool = False) -> None:
        fields = {"event_id": "e", "session_id": session, "partner_code": partner, "offer_id": offer}
        value = CODEC.encode_offer({**fields, "presented_at": at})
        self._write(OFFERS, session, at, value, lambda o: OfferPresented(session, partner, offer, at, o), plain=plain)

    def _checkout(self, session: str, checkout: str, at: int, bought: list[str], *, plain: bool = False) -> None:
        fields = {"event_id": "e", "session_id": session, "checkout_id": checkout, "purchased_offer_ids": bought}
        value = CODEC.encode_checkout({**fields, "completed_at": at})
        made = tuple(bought)
        self._write(
            CHECKOUTS, session, at, value, lambda o: CheckoutCompleted(session, checkout, at, o, made), plain=plain
        )

    def _write(
        self, topic: str, session: str, at: int, value: bytes, make: Callable[[int], Any], *, plain: bool
    ) -> None:
        random, rules = self.random, self.rules
        partition, key = self._partition(session), session.encode()
        delay = 0 if plain else random.choice((0, 0, random.randint(0, rules.lateness - 1)))
        on_time = True
        if self.late and not plain and random.random() < 0.1:
            delay = random.randint(rules.lateness, 3 * (rules.window + rules.lookback))
            on_time = delay <= rules.lateness
        stamp = random.choice((at, at + delay))
        luck = 1.0 if plain else random.random()
        if luck < 0.02:
            self.drafts.append((at + delay, topic, partition, at + delay, key, None, None, True))  # a tombstone
        elif luck < 0.04 and (topic == OFFERS or self.scenario.seed % 3 == 0):
            self.drafts.append((at + delay, topic, partition, at + delay, key, UNREADABLE, None, True))
            return
        elif luck < 0.05 and topic == OFFERS:
            # Dated ahead of the moment at which it is written: not to be believed.
            ahead = at - rules.max_skew - 1
            self.drafts.append((max(ahead, START * 1000), topic, partition, min(ahead, at), key, value, make, True))
            return
        elif luck < 0.08:
            again = at + random.randint(delay, max(delay, rules.lateness - 1))
            self.drafts.append((again, topic, partition, random.choice((at, again)), key, value, make, on_time))
        self.drafts.append((at + delay, topic, partition, stamp, key, value, make, on_time))

    def _partition(self, session: str) -> int:
        return zlib.crc32(session.encode()) % self.scenario.partitions
