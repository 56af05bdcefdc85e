"""Shopping sessions in compressed time: what customers were shown and what they bought, as two topics' events.

`generate` is a pure function of its plan: the same plan gives the same events. It makes every turn that the join has
to get right: offers shown again soon, late and much later; checkouts that buy some, none, before, at and after an
offer; corrections within the grace; abandoned sessions; duplicates; events written after younger ones.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

DEMO_PARTNERS = ("ALPINE", "HARBOR", "ZEPHYR")

_PRODUCTS = (("travel_cancellation", "EUR"), ("ticket_protection", "USD"), ("device_care", "GBP"))
_COUNTRIES = ("DE", "US", "GB", "FR")


class Event(NamedTuple):
    """One event to be written.

    Attributes:
        is_checkout: which of the two topics it goes to.
        fields: as the topic's schema names them; times count from the plan's beginning.
        time: when it happened, ms from the plan's beginning; the same as in `fields`.
        delay: how long after that it is written, ms.
    """

    is_checkout: bool
    fields: Mapping[str, Any]
    time: int
    delay: int

    @property
    def key(self) -> str:
        """The message key."""
        return str(self.fields["session_id"])


@dataclass(frozen=True, slots=True)
class Plan:
    """What to generate. Times are milliseconds.

    Attributes:
        seed: another one gives other sessions.
        events: stop after so many events (the last session is made whole).
        span: sessions begin spread evenly over this time.
        window, grace, lookback: the join's rules, so that events can be put right at their edges.
        lateness: events are written less than this after they happened.
        partners: partner codes, each with an equal share of the sessions.
    """

    events: int
    span: int
    window: int
    grace: int
    lookback: int
    lateness: int
    seed: int = 0
    partners: tuple[str, ...] = DEMO_PARTNERS


def generate(plan: Plan) -> list[Event]:
    """The plan's events, in the order in which they are to be written."""
    rng = random.Random(plan.seed)  # noqa: S311 - repeatable on purpose
    made: list[Event] = []
    while len(made) < plan.events:
        made.extend(_Session(plan, rng).events())
    return sorted(made, key=lambda event: event.time + event.delay)


@dataclass(slots=True)
class _Session:
    """One customer's visit, under construction."""

    plan: Plan
    rng: random.Random
    partner_code: str = ""
    session_id: str = ""
    begin: int = 0
    shown: list[tuple[str, int]] = field(default_factory=list)
    page: list[int] = field(default_factory=list)
    """When each of its offers was first shown."""
    made: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.partner_code = self.rng.choice(self.plan.partners)
        self.session_id = f"s-{self._id()}"
        # Room for what happened before the session's first presentation.
        self.begin = self.plan.lookback // 2 + self.rng.randrange(max(1, self.plan.span))

    def events(self) -> list[Event]:
        """All events of the session, duplicates included."""
        at = self.begin
        for _ in range(self.rng.choices((1, 2, 3, 4), (4, 3, 2, 1))[0]):
            self._show(self._offer_id(), at)
            at += self.rng.randrange(self.plan.window // 8 + 1)
        self.page = [shown_at for _, shown_at in self.shown]
        for offer_id, shown_at in tuple(self.shown):
            if self.rng.random() < 0.25:
                # Mostly within the chain; sometimes long after its fate is decided, which begins another.
                self._show(offer_id, shown_at + self.rng.randrange(int(self.plan.window * 1.4)))
        turns = (
            (self._abandons, 28),
            (self._buys_some, 26),
            (self._buys_none, 26),
            (self._bought_before, 5),
            (self._corrects_within_grace, 5),
            (self._changes_mind_too_late, 2),
            (self._checks_out_at_an_edge, 8),
        )
        turn = self.rng.choices([turn for turn, _ in turns], [weight for _, weight in turns])[0]
        turn()
        return self.made

    def _abandons(self) -> None:
        pass

    def _buys_some(self) -> None:
        self._check_out(self._soon(), self._some())

    def _buys_none(self) -> None:
        self._check_out(self._soon(), ())

    def _bought_before(self) -> None:
        """A page is shown again after the purchase: the presentation is younger than the checkout that bought it."""
        offer_id, at = self.shown[0]
        self._check_out(at - self.rng.randrange(self.plan.lookback // 2), (offer_id,))

    def _corrects_within_grace(self) -> None:
        """A checkout without the offer, at once followed by one with it."""
        at = self._soon()
        self._check_out(at, ())
        self._check_out(at + self.rng.randrange(self.plan.grace + 1), self._some())

    def _changes_mind_too_late(self) -> None:
        """A purchase after the offer's fate was decided: the call cannot be taken back, and was right when made."""
        at = self._soon()
        self._check_out(at, ())
        self._check_out(at + self.plan.grace + 1 + self.rng.randrange(self.plan.window), self._some())

    def _checks_out_at_an_edge(self) -> None:
        """At the very moment of a presentation, or at the last or first moment inside or outside its window."""
        offer_id, at = self.rng.choice(self.shown)
        window = self.plan.window
        edge = self.rng.choice((0, -1, window - 1, window, window + 1, window + self.plan.grace))
        self._check_out(at + edge, self.rng.choice(((), (offer_id,))))

    def _soon(self) -> int:
        """A moment after the page's offers were shown and within the window of each, as customers mostly are."""
        first, last = self.page[0], self.page[-1]
        return last + self.rng.randrange(int(first + self.plan.window * 0.95) - last)

    def _some(self) -> Sequence[str]:
        offers = sorted({offer_id for offer_id, _ in self.shown})
        return self.rng.sample(offers, self.rng.randint(1, len(offers)))

    def _show(self, offer_id: str, at: int) -> None:
        self.shown.append((offer_id, at))
        product_code, currency = self.rng.choice(_PRODUCTS)
        self._add(
            False,
            {
                "event_id": self._id(),
                "session_id": self.session_id,
                "partner_code": self.partner_code,
                "offer_id": offer_id,
                "presented_at": at,
                "product_code": product_code,
                "country": self.rng.choice(_COUNTRIES),
                "currency": currency,
                "price": f"{self.rng.randrange(300, 9000) / 100:.2f}",
                "metadata": {},
            },
            at,
        )

    def _check_out(self, at: int, purchased: Sequence[str]) -> None:
        self._add(
            True,
            {
                "event_id": self._id(),
                "session_id": self.session_id,
                "checkout_id": f"c-{self._id()}",
                "completed_at": at,
                "purchased_offer_ids": list(purchased),
                "metadata": {},
            },
            at,
        )

    def _add(self, is_checkout: bool, fields: Mapping[str, Any], at: int) -> None:
        copies = 2 if self.rng.random() < 0.03 else 1
        for _ in range(copies):
            # Half of lateness at most: the other half is for the machine's own hiccups.
            delay = self.rng.randrange(self.plan.lateness // 2 + 1) if self.rng.random() < 0.3 else 0
            self.made.append(Event(is_checkout, fields, at, delay))

    def _offer_id(self) -> str:
        # An id is data: some hold what would change a path if it were not encoded.
        return f"{self._id()}/..?a=%2F&b=ü" if self.rng.random() < 0.01 else self._id()

    def _id(self) -> str:
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
