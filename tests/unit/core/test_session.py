"""A session of many: the same decisions as by looking through it, at a cost that does not grow with what is open."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from support.strategies import Logs, Step, examples, logs, schedules
from support.task_world import TaskWorld

from consumer.core import session as session_module
from consumer.core.calendar import EXPIRY_BITS
from consumer.core.checkpoint import Position
from consumer.core.join import Join, Undated
from consumer.core.rules import DecisionRules
from consumer.core.task import Task
from consumer.events import CheckoutCompleted, OfferPresented

RULES = DecisionRules(window=1_800_000, checkout_grace=60_000, lookback=7_200_000, lateness=0, max_skew=0)
START = 10**12


class Looked:
    """Counts how often an attribute of an event was read."""

    def __init__(self) -> None:
        self.reads = 0


class CountedOffer(OfferPresented):
    """Counts the looks at whose it is."""

    __slots__ = ("looked",)

    def __getattribute__(self, name: str) -> object:
        if name == "offer_id":
            object.__getattribute__(self, "looked").reads += 1
        return object.__getattribute__(self, name)


class CountedCheckout(CheckoutCompleted):
    """Counts the looks at what it bought."""

    __slots__ = ("looked",)

    def __getattribute__(self, name: str) -> object:
        if name == "purchased":
            object.__getattribute__(self, "looked").reads += 1
        return object.__getattribute__(self, name)


@pytest.mark.parametrize("few", [0, 1, 3])
@examples(150)
@given(logs(late=True, garbage=True), schedules())
def test_an_indexed_session_decides_as_one_that_is_looked_through(few: int, drawn: Logs, schedule: list[Step]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session_module, "FEW", few)
        world = TaskWorld(drawn, strict=False)
        world.run(schedule)
        world.finish()
    world.check_all_told()
    plain = TaskWorld(drawn, strict=False)
    plain.run(schedule)
    plain.finish()
    assert Counter(d.fate for d in world.decisions) == Counter(d.fate for d in plain.decisions)


def test_a_record_costs_the_same_however_many_offers_are_open_in_its_session() -> None:
    """A producer writes a constant where the session belongs. Looks are counted, since a clock would not repeat."""

    def looks(count: int) -> tuple[float, float]:
        offers, checkouts = Looked(), Looked()
        task = Task(RULES, partitions=1, offers=Position(0), checkouts=Position(0))
        step = RULES.checkout_grace / count  # all of them are open within the grace
        for number in range(2 * count):
            at = START + round(number * step)
            shown = CountedOffer("everyone", "ACME", f"o{number}", at, number)
            shown.looked = offers
            task.offer(shown, at, at)
            if number % 10 == 9:
                bought = CountedCheckout("everyone", f"c{number}", at, number // 10, (f"o{number}",))
                bought.looked = checkouts
                task.checkout(bought, at, at)
            if number % 100 == 0:
                for chain in task.decide():
                    task.settle(chain)
        assert task.undecided >= count
        return offers.reads / count, checkouts.reads / count

    few, many = looks(200), looks(2_000)
    assert many[0] <= 1.2 * few[0], f"offers were looked at {few[0]:.1f} times each, {many[0]:.1f} among many"
    assert many[1] <= 1.2 * few[1], f"checkouts were looked at {few[1]:.1f} times each, {many[1]:.1f} among many"


def test_a_checkout_measures_only_what_it_may_be_the_first_of(monkeypatch: pytest.MonkeyPatch) -> None:
    join, measured = Join(RULES), []
    measure = join._measure
    monkeypatch.setattr(join, "_measure", lambda open_offer: (measured.append(open_offer), measure(open_offer)))
    for number in range(100):
        at = START + 1_000 * number
        join.present(OfferPresented("s", "ACME", f"o{number}", at, number))
        join.complete(CheckoutCompleted("s", f"c{number}", at + 500, number))
    beyond = measured[session_module.FEW * (session_module.FEW + 1) // 2 + session_module.FEW + 1 :]
    assert len(beyond) < 100, "each offer is measured by the first checkout behind it"


def test_one_offer_of_two_partners_is_two_and_each_is_closed_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "FEW", 0)
    join = Join(RULES)
    for offset, partner in enumerate(("ada", "bob")):
        join.present(OfferPresented("s", partner, "o", START + offset, offset))
    (first,) = join.decide(START + RULES.window)
    assert (first.partner_code, join.has_open("s", "o"), join.sessions) == ("ada", True, 1)
    (second,) = join.decide(START + RULES.window + 1)
    assert (second.partner_code, join.has_open("s", "o"), join.sessions) == ("bob", False, 0)


@pytest.mark.parametrize("few", [0, 32])
def test_what_an_open_offer_may_need_is_kept_and_the_rest_forgotten(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "FEW", few)
    join, lookback = Join(RULES), RULES.lookback
    join.present(OfferPresented("s", "ada", "o", START, 0))
    for offset, at in enumerate((START - lookback - 1, START - lookback, START + 1)):
        join.complete(CheckoutCompleted("s", f"c{offset}", at, offset, ("o",)))
    join.complete(CheckoutCompleted("t", "c", START, 3))
    join.complete_undated(Undated("s", START - lookback, START - lookback))
    join.complete_undated(Undated("s", START - lookback - 1, START - lookback - 1))
    assert join.sessions == 2
    join.forget(START + 10 * lookback)
    assert join.sessions == 1, "of the other one nothing is open"
    (session,) = join._sessions.values()
    assert [c.checkout_id for c in session.checkouts] == ["c1", "c2"]
    assert join._undated == {"s": [Undated("s", START - lookback, START - lookback)]}
    (chain,) = join.decide(START + RULES.window)
    assert chain.checkout is not None
    assert chain.checkout.checkout_id == "c1"
    assert join.sessions == 0, "nothing is open, so nothing is needed"
    join.forget(START + 12 * lookback)
    assert join._undated == {}, "looked at again a lookback later"


def test_a_session_that_came_again_is_not_forgotten_by_what_was_in_it_before() -> None:
    join, span = Join(RULES), 2**EXPIRY_BITS
    start = START // span * span
    join.complete(CheckoutCompleted("s", "c0", start + 1, 0))
    join.complete(CheckoutCompleted("s", "c1", start + span + 1, 1))
    join.forget(start + span + 2)
    assert join.sessions == 0, "both are older, though the span of the second is not over"
    join.complete(CheckoutCompleted("s", "c2", start + 9 * span, 2))
    join.forget(start + 3 * span)
    assert join.sessions == 1
    join.forget(start + 11 * span)
    assert join.sessions == 0
