"""Producers whose clocks are ahead, up to what is believed: read live, and read late."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from hypothesis import example, given
from hypothesis import strategies as st
from support.strategies import START, examples

from consumer.audit.decision import fates
from consumer.core.admission import Admission
from consumer.core.checkpoint import Position
from consumer.core.rules import DecisionRules
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.events import CheckoutCompleted, OfferPresented, Reason

RULES = DecisionRules(window=30, checkout_grace=3, lookback=60, lateness=20, max_skew=20)


MOMENTS = (0, 3, 29, 30, 31, 33, 40, 60)
"""When things happen (ms): at the bounds of the rules, or nothing but luck would find a call that is made too early."""


class Draft(NamedTuple):
    """An event: when it happened, how long it was under way, and how far its producer's clock is ahead (ms)."""

    is_checkout: bool
    happened: int
    delay: int
    ahead: int
    session: str


class Arrival(NamedTuple):
    """A record that its topic got at a time (ms), dated and stamped by the clock of its producer."""

    at: int
    event: OfferPresented | CheckoutCompleted

    @property
    def stamp(self) -> int:
        return self.event.presented_at if isinstance(self.event, OfferPresented) else self.event.completed_at


@st.composite
def arrivals(draw: Callable[..., Any], *, room_for_skew: bool) -> list[Arrival]:
    """Records of two sessions in the order in which they arrive, each at most lateness after it happened.

    `room_for_skew`: a producer that is ahead delivers so much sooner, so that no record comes more than lateness
    behind the newest date.
    """
    drafts = draw(
        st.lists(
            st.tuples(
                st.booleans(),
                st.sampled_from(MOMENTS),
                st.sampled_from((0, 1, RULES.lateness // 2, RULES.lateness - 1, RULES.lateness)),
                st.integers(0, 2),
                st.sampled_from(("s", "t")),
            ),
            min_size=4,
            max_size=14,
        )
    )
    skews = draw(st.tuples(st.just(0), *[st.sampled_from((0, 1, RULES.max_skew - 1, RULES.max_skew))] * 2))
    spare = RULES.lateness - max(skews)
    return arriving(
        Draft(is_checkout, happened, min(delay, spare) if room_for_skew else delay, skews[producer], session)
        for is_checkout, happened, delay, producer, session in drafts
    )


def arriving(drafts: Iterable[Draft]) -> list[Arrival]:
    """The records of these, in the order in which they arrive."""
    found = []
    for number, draft in enumerate(drafts):
        at = START + draft.happened
        dated = at + draft.ahead
        event: OfferPresented | CheckoutCompleted
        if draft.is_checkout:
            event = CheckoutCompleted(draft.session, f"c{number}", dated, number, ("o",))
        else:
            event = OfferPresented(draft.session, "ada", "o", dated, number)
        found.append(Arrival(at + draft.delay, event))
    found.sort(key=lambda one: one.at)
    for number, one in enumerate(found):
        one.event.offset = number
    return found


Told = Counter[tuple[frozenset[int], Reason]]


def decided(task: Task) -> Told:
    return Counter((frozenset(p.offset for p in c.presentations), c.reason) for c in task.decide())


def read(task: Task, one: Arrival, now: int) -> None:
    if isinstance(one.event, OfferPresented):
        assert task.offer(one.event, one.stamp, now) is Admission.ACCEPTED, "no producer was late"
    else:
        task.checkout(one.event, one.stamp, now)


def read_all(order: Iterable[tuple[Arrival, int]], end: int) -> Told:
    """Read and decide one by one, each with the wall clock of then; at the end nothing more comes."""
    task = Task(RULES, partitions=1, offers=Position(0), checkouts=Position(0))
    told: Told = Counter()
    for one, now in order:
        read(task, one, now)
        for side in Side:
            assert task.watermarks.of(side).value <= now - RULES.lateness - 1
        told += decided(task)
    for side in Side:
        task.idle(side, end)
    return told + decided(task)


def expected(drawn: list[Arrival]) -> Told:
    offers = [one.event for one in drawn if isinstance(one.event, OfferPresented)]
    checkouts = [one.event for one in drawn if isinstance(one.event, CheckoutCompleted)]
    return Counter((fate.offsets, fate.reason) for fate in fates(offers, checkouts, RULES))


END = START + 10_000


FALSE_CALL = arriving(
    [
        Draft(False, 0, 0, 0, "s"),
        Draft(False, 33, 0, 20, "t"),
        Draft(True, 33, 0, 20, "t"),
        Draft(True, 29, 20, 0, "s"),
    ]
)
"""An offer's purchase comes as late as it may, after records of both inputs whose producers are 20 ms ahead."""


@examples(300)
@given(arrivals(room_for_skew=False))
@example(FALSE_CALL)
def test_read_live_no_producer_that_is_ahead_eats_the_lateness_of_the_others(drawn: list[Arrival]) -> None:
    assert read_all(((one, one.at) for one in drawn), END) == expected(drawn)


@examples(300)
@given(arrivals(room_for_skew=True), st.randoms(use_true_random=False))
def test_live_and_late_agree_where_lateness_has_room_for_delay_and_skew(drawn: list[Arrival], random: Any) -> None:
    live = read_all(((one, one.at) for one in drawn), END)
    offers = [one for one in drawn if isinstance(one.event, OfferPresented)]
    checkouts = [one for one in drawn if isinstance(one.event, CheckoutCompleted)]
    late: list[tuple[Arrival, int]] = []
    while offers or checkouts:
        late.append(((offers if not checkouts or (offers and random.random() < 0.5) else checkouts).pop(0), END))
    assert live == read_all(late, END) == expected(drawn)
