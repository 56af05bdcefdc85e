"""The judge objects where it must: hand-made orders of events, each with the one verdict that is right."""

from __future__ import annotations

import pytest

from consumer.audit.calls import Judgement, ReferenceRules, in_words, judge
from consumer.audit.reading import Checkout, Presentation
from consumer.emulator.call_log import Call
from consumer.events import Reason

BOUGHT, DECLINED, ABANDONED = Reason.PURCHASED, Reason.DECLINED, Reason.ABANDONED

RULES = ReferenceRules(window=100, checkout_grace=10, lookback=200)


def shown(at: int, offer_id: str = "o", session_id: str = "s") -> Presentation:
    return Presentation(session_id, "P", offer_id, at)


def checkout(at: int, *bought: str, session_id: str = "s") -> Checkout:
    return Checkout(session_id, at, bought)


def call(status: int | None, offer_id: str = "o", time_ms: int = 10_000, reason: str | None = None) -> Call:
    return Call(time_ms, "P", offer_id, status, 1, True, terminal=status in {204, 404}, reason=reason)


def verdict(
    presentations: list[Presentation], checkouts: list[Checkout], calls: list[Call], rules: ReferenceRules = RULES
) -> Judgement:
    return judge(presentations, checkouts, calls, rules)


@pytest.mark.parametrize("status", [204, 404])
def test_an_offer_declined_and_answered_is_in_order(status: int) -> None:
    found = verdict([shown(0)], [checkout(50)], [call(500), call(None), call(status, reason="DECLINED")])
    assert found.holds
    assert (found.to_call, found.recorded, found.not_found, found.retried, found.repeated) == (
        1,
        int(status == 204),
        int(status == 404),
        2,
        0,
    )


@pytest.mark.parametrize(
    "calls",
    [
        pytest.param([], id="never called"),
        pytest.param([call(500), call(None), call(403)], id="called and never answered well"),
        pytest.param([Call(10_000, "P", "o", 404, 1, True, terminal=False)], id="a gateway's 404"),
        pytest.param([Call(10_000, "Q", "o", 204, 1, True, terminal=True)], id="called for another partner"),
    ],
)
def test_an_offer_without_a_settling_answer_is_missed(calls: list[Call]) -> None:
    found = verdict([shown(0)], [checkout(50)], calls)
    assert not found.holds
    assert len(found.missed) == 1


def test_of_two_chains_and_one_answer_one_is_missed() -> None:
    found = verdict([shown(0), shown(101)], [], [call(204)])
    assert (len(found.missed), found.recorded, found.holds) == (1, 1, False)


def test_the_answer_of_one_chain_given_again_is_none_for_a_later_chain() -> None:
    again = [call(204, time_ms=150), call(204, time_ms=160)]
    found = verdict([shown(0), shown(101)], [], again)
    assert (len(found.missed), found.recorded, found.repeated) == (1, 1, 0)
    assert verdict([shown(0), shown(101)], [], [again[0], call(204, time_ms=201)]).holds


@pytest.mark.parametrize("status", [204, 404, 500, 403, None])
def test_a_bought_offer_that_was_called_is_false_whatever_it_was_answered(status: int | None) -> None:
    found = verdict([shown(0)], [checkout(50, "o")], [call(status)])
    assert len(found.false) == 1
    assert not found.holds


def test_a_call_of_an_offer_never_presented_is_false() -> None:
    found = verdict([shown(0)], [checkout(50, "o")], [call(204, offer_id="other")])
    assert len(found.false) == 1
    assert not found.holds


def test_a_call_of_an_abandoned_offer_is_false_where_those_are_ignored() -> None:
    ignoring = RULES._replace(call_abandoned=False)
    assert len(verdict([shown(0)], [], [call(204)], ignoring).false) == 1
    silent = verdict([shown(0)], [], [], ignoring)
    assert silent.holds
    assert silent.ignored == 1


def test_a_second_settling_answer_is_repeated_and_nothing_worse() -> None:
    found = verdict([shown(0)], [checkout(50)], [call(204), call(204), call(404)])
    assert (found.repeated, found.recorded, found.holds) == (2, 1, True)


def test_a_call_before_the_fate_is_certain_is_a_guess_even_if_it_comes_true() -> None:
    assert verdict([shown(0)], [], [call(204, time_ms=100)]).holds
    found = verdict([shown(0)], [], [call(204, time_ms=99)])
    assert len(found.early) == 1
    assert not found.holds


def test_a_call_for_another_reason_than_the_offers_is_misreported() -> None:
    found = verdict([shown(0)], [], [call(204, reason="DECLINED")])
    assert len(found.misreported) == 1
    assert not found.holds


@pytest.mark.parametrize("at", [-201, 61, 10_000])
def test_an_offer_bought_too_late_for_the_decision_is_called_or_withheld(at: int) -> None:
    late = [checkout(50), checkout(at, "o")]
    called = verdict([shown(0)], late, [call(204)])
    assert (called.holds, called.to_call, called.bought_later, called.withheld) == (True, 1, 1, 0)
    withheld = verdict([shown(0)], late, [call(500)])
    assert (withheld.holds, withheld.to_call, withheld.bought_later, withheld.withheld) == (True, 0, 0, 1)
    assert all(good for good, _ in in_words(withheld))


@pytest.mark.parametrize("bought", [checkout(61, "other"), checkout(61, "o", session_id="another")])
def test_a_purchase_of_something_else_excuses_no_missing_call(bought: Checkout) -> None:
    assert len(verdict([shown(0)], [checkout(50), bought], []).missed) == 1


@pytest.mark.parametrize("at", [-200, 60])
def test_an_offer_bought_in_time_for_the_decision_may_not_be_called_though_it_is_bought_again(at: int) -> None:
    found = verdict([shown(0)], [checkout(50), checkout(at, "o"), checkout(10_000, "o")], [call(204)])
    assert (len(found.false), found.holds) == (1, False)


def test_an_answer_is_first_that_of_the_session_whose_call_nothing_excuses() -> None:
    # An offer id belongs to one session; where it does not, no chain may be taken for missed by mistake.
    presentations = [shown(0, session_id="s"), shown(50, session_id="t")]
    found = verdict(presentations, [checkout(200, "o", session_id="s")], [call(204)])
    assert (found.missed, found.withheld, found.holds) == ([], 1, True)


def test_each_objection_is_a_bad_line_in_the_words_for_a_person() -> None:
    assert all(good for good, _ in in_words(verdict([shown(0)], [], [call(204)])))
    for found in (
        verdict([shown(0)], [], []),
        verdict([shown(0)], [checkout(50, "o")], [call(204)]),
        verdict([shown(0)], [], [call(204, time_ms=0)]),
        verdict([shown(0)], [], [call(204, reason="DECLINED")]),
    ):
        assert not all(good for good, _ in in_words(found))
