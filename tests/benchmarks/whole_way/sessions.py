"""The events of the whole way: customers' sessions over an hour or more, and what must become of each offer.

A pure function of its plan. Each session is shown one to three offers, two of them on average, and has on average one
checkout, so that there are twice as many presentations as checkouts:

- most sessions check out once, a while after; four in ten of these checkouts buy;
- a fifth never check out;
- a few correct their checkout within its grace, buy before they are shown the offer once more, or buy when the offer's
  fate is decided already.

An offer has one chain, so that one verdict for each is right. Events are written up to a fifth of lateness after
younger ones. Behind the sessions that are judged a trickle of others follows for as long as a watermark needs to pass
all that is due: the judged ones are decided by the events alone, at no contender's idle clock.

All spans are a fifth of the service's defaults, and so is what customers take their time for. As many are open at a
time as if both were five times as long; but the trickle is short, and no guard takes it for a silence of the checkouts.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

from consumer.audit.decision import Fate, fates

MINUTE = 60_000 // 5
"""A fifth of one, in ms."""
WINDOW, GRACE, LOOKBACK, LATENESS = 30 * MINUTE, MINUTE, 120 * MINUTE, 5 * MINUTE
"""`join.window`, `checkout_grace`, `lookback` and `lateness`, in ms."""

PARTNERS = ("ALPINE", "HARBOR", "ZEPHYR", "MERIDIAN")
PRODUCTS = (("travel_cancellation", "EUR"), ("ticket_protection", "USD"), ("device_care", "GBP"))
COUNTRIES = ("DE", "US", "GB", "FR")

TURNS = ("buys none", "buys some", "abandons", "checks out twice", "corrects", "bought before", "too late")
WEIGHTS = (39, 26, 20, 6, 4, 3, 2)
"""What sessions do, and how many of a hundred do so."""


class Rules(NamedTuple):
    """The spans that the reference decision goes by, in ms."""

    window: int = WINDOW
    checkout_grace: int = GRACE
    lookback: int = LOOKBACK


class Shown(NamedTuple):
    """A presentation, as the reference decision takes it. `offset` tells it from the others, and is none of Kafka's."""

    session_id: str
    partner_code: str
    offer_id: str
    presented_at: int
    offset: int


class Bought(NamedTuple):
    """A checkout, as the reference decision takes it."""

    session_id: str
    checkout_id: str
    completed_at: int
    offset: int
    purchased: tuple[str, ...]


class Written(NamedTuple):
    """An event to be written: the fields of its schema, when it happened, and by how much later it is written (ms)."""

    is_checkout: bool
    session_id: str
    fields: dict[str, Any]
    at: int
    delay: int


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """What to generate.

    Attributes:
        presentations: how many offers are shown in the sessions that are judged; a few more, to end the last session.
        begin: when the first session begins, ms since 1970.
        span: over how much event time the judged sessions begin, ms.
        seed: another one gives other sessions.
    """

    presentations: int
    begin: int
    span: int
    seed: int = 1

    @property
    def end(self) -> int:
        """No judged session begins later; ms since 1970."""
        return self.begin + self.span


class Sessions:
    """The events of a plan, and what must become of its offers.

    Attributes:
        events: in the order in which they are to be written.
        shown, bought: those of the sessions that are judged.
        others: how many presentations the trickle behind them has.
    """

    def __init__(self, plan: SessionPlan) -> None:
        self._rng = Random(plan.seed)
        self.shown: list[Shown] = []
        self.bought: list[Bought] = []
        made: list[Written] = []
        expected = plan.presentations / 2
        count = 0
        while len(self.shown) < plan.presentations:
            # Evenly, so that nothing but the plan decides how many are open at a time.
            at = plan.begin + min(plan.span, round(plan.span * count / expected))
            made.extend(self._judged(self._session(at)))
            count += 1
        # The last judged offer is due within two windows, and a watermark lags by lateness.
        trickle = [self._session(at) for at in range(plan.end, plan.end + 2 * WINDOW + 2 * LATENESS, MINUTE // 6)]
        self.others = sum(not event.is_checkout for session in trickle for event in session)
        made.extend(event for session in trickle for event in session)
        made.sort(key=lambda event: event.at + event.delay)
        self.events = made

    def fates(self) -> list[Fate]:
        """What must become of each judged offer, by the reference decision."""
        return fates(self.shown, self.bought, Rules())

    def _judged(self, session: list[Written]) -> Iterator[Written]:
        for event in session:
            fields = event.fields
            if event.is_checkout:
                purchased = tuple(fields["purchased_offer_ids"])
                number = len(self.bought)
                self.bought.append(Bought(event.session_id, fields["checkout_id"], event.at, number, purchased))
            else:
                number = len(self.shown)
                self.shown.append(Shown(event.session_id, fields["partner_code"], fields["offer_id"], event.at, number))
            yield event

    def _session(self, begin: int) -> list[Written]:
        rng = self._rng
        session_id, partner = self._id(), rng.choice(PARTNERS)
        times = sorted(begin + rng.randrange(3 * MINUTE) for _ in range(rng.randint(1, 3)))
        offers = [self._id() for _ in times]
        made = [self._show(session_id, partner, offer, at) for offer, at in zip(offers, times, strict=True)]
        last = times[-1]
        soon = last + rng.randrange(MINUTE // 6, 12 * MINUTE)
        some = tuple(rng.sample(offers, rng.randint(1, len(offers))))
        match rng.choices(TURNS, WEIGHTS)[0]:
            case "buys none":
                checkouts: list[tuple[int, tuple[str, ...]]] = [(soon, ())]
            case "buys some":
                checkouts = [(soon, some)]
            case "abandons":
                checkouts = []
            case "checks out twice":
                checkouts = [(soon, some), (soon + rng.randrange(GRACE // 10, GRACE), ())]
            case "corrects":
                checkouts = [(soon, ()), (soon + rng.randrange(GRACE // 10, GRACE), some)]
            case "bought before":
                checkouts = [(times[0] - rng.randrange(MINUTE, 20 * MINUTE), (offers[0],)), (soon, ())]
            case _:
                checkouts = [(soon, ()), (soon + GRACE + rng.randrange(MINUTE, 10 * MINUTE), some)]
        return [*made, *(self._check_out(session_id, at, purchased) for at, purchased in checkouts)]

    def _show(self, session_id: str, partner: str, offer: str, at: int) -> Written:
        rng = self._rng
        product, currency = rng.choice(PRODUCTS)
        fields = {
            "event_id": self._id(),
            "session_id": session_id,
            "partner_code": partner,
            "offer_id": offer,
            "presented_at": at,
            "product_code": product,
            "country": rng.choice(COUNTRIES),
            "currency": currency,
            "price": f"{rng.randrange(500, 3000) / 100:.2f}",
            "metadata": {},
        }
        return Written(False, session_id, fields, at, self._delay())

    def _check_out(self, session_id: str, at: int, purchased: tuple[str, ...]) -> Written:
        fields = {
            "event_id": self._id(),
            "session_id": session_id,
            "checkout_id": self._id(),
            "completed_at": at,
            "purchased_offer_ids": list(purchased),
            "metadata": {},
        }
        return Written(True, session_id, fields, at, self._delay())

    def _delay(self) -> int:
        return self._rng.randrange(MINUTE) if self._rng.random() < 0.2 else 0

    def _id(self) -> str:
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
