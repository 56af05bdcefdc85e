"""The judge of the comparison: each way to be wrong is told from the others, and from being right."""

from __future__ import annotations

import pytest
from benchmarks.whole_way.verdicts import Judged, Said, judge

from consumer.audit.decision import Fate
from consumer.events import Reason

OFFER = ("s", "P", "o")


def fate(reason: Reason, offer: str = "o", may_withhold: frozenset[str] = frozenset()) -> Fate:
    return Fate("s", "P", offer, frozenset({1}), 0, 0, 60_000, reason, None, may_withhold)


def said(*outcomes: str) -> list[Said]:
    return [Said(OFFER, outcome, 1_000 + number) for number, outcome in enumerate(outcomes)]


@pytest.mark.parametrize(
    ("reason", "outcomes", "expected"),
    [
        (Reason.DECLINED, ["OPTED_OUT"], Judged(right=1, last_at=1_000)),
        (Reason.ABANDONED, ["OPTED_OUT"], Judged(right=1, last_at=1_000)),
        (Reason.PURCHASED, ["PURCHASED"], Judged(right=1, last_at=1_000)),
        (Reason.DECLINED, ["OPTED_OUT", "OPTED_OUT"], Judged(right=1, repeated=1, last_at=1_000)),
        (Reason.DECLINED, [], Judged(silent=1)),
        (Reason.DECLINED, ["PURCHASED"], Judged(missed=1, last_at=1_000)),
        (Reason.PURCHASED, [], Judged(silent=1)),
        (Reason.PURCHASED, ["OPTED_OUT"], Judged(false=1, last_at=1_000)),
        (Reason.PURCHASED, ["OPTED_OUT", "PURCHASED"], Judged(false=1, then_bought=1, last_at=1_000)),
        (Reason.DECLINED, ["DEAD_LETTERED"], Judged(odd=1, last_at=1_000)),
    ],
)
def test_what_is_said_of_an_offer(reason: Reason, outcomes: list[str], expected: Judged) -> None:
    assert judge([fate(reason)], said(*outcomes)) == expected


def test_a_purchase_that_comes_too_late_to_count_may_be_told_or_not() -> None:
    late = fate(Reason.DECLINED, may_withhold=frozenset({"c"}))
    assert judge([late], said("PURCHASED")).right == 1
    assert judge([late], said("OPTED_OUT")).right == 1
    assert judge([late], []).silent == 1


def test_the_last_first_verdict_is_what_ends_the_time_and_other_offers_count_for_nothing() -> None:
    told = [Said(OFFER, "OPTED_OUT", 5), Said(OFFER, "OPTED_OUT", 9), Said(("t", "P", "other"), "OPTED_OUT", 99)]
    assert judge([fate(Reason.DECLINED)], told).last_at == 5


def test_the_order_of_what_was_said_is_that_of_the_broker_s_clock() -> None:
    assert judge([fate(Reason.DECLINED)], reversed(said("OPTED_OUT", "OPTED_OUT"))).last_at == 1_000


def test_wrong_is_the_sum_of_what_was_told_wrongly() -> None:
    assert Judged(right=7, missed=1, false=2, then_bought=2, odd=4, silent=5, repeated=9).wrong == 7


def test_two_chains_of_an_offer_are_refused() -> None:
    with pytest.raises(ValueError, match="two chains"):
        judge([fate(Reason.DECLINED), fate(Reason.DECLINED)], said("OPTED_OUT"))
