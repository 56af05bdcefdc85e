"""The reference decision: hand-made orders of events, each with the one fate that the rules give it."""

from __future__ import annotations

import pytest

from consumer.audit.calls import ReferenceRules
from consumer.audit.decision import UndatedCheckout, fates
from consumer.audit.reading import Checkout, Presentation
from consumer.events import Reason

BOUGHT, DECLINED, ABANDONED = Reason.PURCHASED, Reason.DECLINED, Reason.ABANDONED

RULES = ReferenceRules(window=100, checkout_grace=10, lookback=200)


def shown(at: int, offer_id: str = "o", session_id: str = "s") -> Presentation:
    return Presentation(session_id, "P", offer_id, at)


def checkout(at: int, *bought: str, session_id: str = "s") -> Checkout:
    return Checkout(session_id, at, bought)


def fate_of(presentations: list[Presentation], checkouts: list[Checkout]) -> list[tuple[int, str]]:
    return [(fate.decide_at, fate.reason) for fate in fates(presentations, checkouts, RULES)]


@pytest.mark.parametrize(
    ("presentations", "checkouts", "expected"),
    [
        pytest.param([shown(0)], [], [(100, ABANDONED)], id="no checkout: abandoned at the window's end"),
        pytest.param([shown(0)], [checkout(0)], [(10, DECLINED)], id="a checkout at the same moment declines"),
        pytest.param([shown(0)], [checkout(100)], [(110, DECLINED)], id="the window's last moment is inside"),
        pytest.param([shown(0)], [checkout(101)], [(100, ABANDONED)], id="after the window is outside"),
        pytest.param([shown(5)], [checkout(4)], [(105, ABANDONED)], id="a checkout before does not decline"),
        pytest.param([shown(0)], [checkout(50, "o")], [(60, BOUGHT)], id="named is bought"),
        pytest.param([shown(0)], [checkout(50, "x")], [(60, DECLINED)], id="another offer's purchase declines"),
        pytest.param([shown(0)], [checkout(50), checkout(60, "o")], [(60, BOUGHT)], id="bought at the grace's end"),
        pytest.param([shown(0)], [checkout(50), checkout(61, "o")], [(60, DECLINED)], id="bought after the grace"),
        pytest.param([shown(200)], [checkout(0, "o")], [(300, BOUGHT)], id="bought as early as the lookback allows"),
        pytest.param([shown(201)], [checkout(0, "o")], [(301, ABANDONED)], id="bought before the lookback"),
        pytest.param(
            [shown(0)], [checkout(50, "o", session_id="t")], [(100, ABANDONED)], id="another session's checkout"
        ),
        pytest.param([shown(0), shown(100)], [], [(200, ABANDONED)], id="shown again at decide_at: one chain"),
        pytest.param(
            [shown(0), shown(101)],
            [],
            [(100, ABANDONED), (201, ABANDONED)],
            id="shown again after it: two chains",
        ),
        pytest.param(
            [shown(0), shown(11)],
            [checkout(0), checkout(11, "o")],
            [(10, DECLINED), (21, BOUGHT)],
            id="two chains may have two fates",
        ),
        pytest.param(
            [shown(0), shown(90), shown(180), shown(201)],
            [],
            [(280, ABANDONED), (301, ABANDONED)],
            id="a chain lasts no longer than the lookback",
        ),
        pytest.param([shown(7), shown(7)], [], [(107, ABANDONED)], id="equal times are one presentation"),
        pytest.param(
            [shown(90), shown(0)],
            [checkout(150), checkout(95)],
            [(105, DECLINED)],
            id="the order read is no matter",
        ),
    ],
)
def test_a_chain_meets_the_fate_that_the_rules_give_it(
    presentations: list[Presentation], checkouts: list[Checkout], expected: list[tuple[int, str]]
) -> None:
    assert fate_of(presentations, checkouts) == expected


@pytest.mark.parametrize(
    ("undated", "expected"),
    [
        pytest.param(UndatedCheckout("s", -300, -201, checkout(0, "o")), ABANDONED, id="certainly too long before"),
        pytest.param(UndatedCheckout("s", -300, -200, checkout(0, "o")), BOUGHT, id="perhaps within the lookback"),
        pytest.param(UndatedCheckout("s", 100, 900, checkout(0, "o")), BOUGHT, id="perhaps just in time"),
        pytest.param(UndatedCheckout("s", 101, 900, checkout(0, "o")), ABANDONED, id="certainly too late"),
        pytest.param(UndatedCheckout("s", 0, 100, checkout(0, "x")), DECLINED, id="bought another: declined"),
        pytest.param(UndatedCheckout("s", -9, -1, checkout(0, "x")), ABANDONED, id="before it was shown: no decline"),
        pytest.param(UndatedCheckout("s", 0, 100), Reason.CHECKOUT_UNREADABLE, id="unreadable: nobody knows"),
        pytest.param(UndatedCheckout("t", 0, 100), ABANDONED, id="another session's"),
    ],
)
def test_an_undated_checkout_counts_wherever_it_may_have_been_and_ends_no_chain_sooner(
    undated: UndatedCheckout, expected: Reason
) -> None:
    (fate,) = fates([shown(0)], [], RULES, [undated])
    assert (fate.decide_at, fate.reason) == (100, expected)


@pytest.mark.parametrize(
    ("bought", "may_withhold"),
    [
        pytest.param([], set(), id="never bought"),
        pytest.param([(61, "o"), (9_999, "o")], {"c61", "c9999"}, id="after the decision"),
        pytest.param([(-201, "o")], {"c-201"}, id="longer than lookback before"),
        pytest.param([(61, "x")], set(), id="another offer"),
        pytest.param([(60, "o"), (61, "o")], set(), id="in time, and it is never called"),
    ],
)
def test_a_purchase_that_does_not_decide_may_withhold_the_call(
    bought: list[tuple[int, str]], may_withhold: set[str]
) -> None:
    checkouts = [Checkout("s", at, (offer,), f"c{at}") for at, offer in [(50, "y"), *bought]]
    (fate,) = fates([shown(0)], checkouts, RULES)
    assert fate.may_withhold == may_withhold
    assert fate.reason is (BOUGHT if (60, "o") in bought else DECLINED)


def test_an_undated_purchase_that_cannot_have_been_in_time_may_withhold_the_call_too() -> None:
    undated = UndatedCheckout("s", 101, 10_000, Checkout("s", 101, ("o",), "c"))
    (fate,) = fates([shown(0)], [], RULES, [undated])
    assert (fate.reason, fate.may_withhold) == (ABANDONED, {"c"})
