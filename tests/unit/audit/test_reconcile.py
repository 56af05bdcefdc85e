"""The reconciliation objects where it must: hand-made outcomes, each with the one verdict that is right."""

from __future__ import annotations

import pytest

from consumer.audit.decision import Fate
from consumer.audit.reading import OutcomeRecord
from consumer.audit.reconcile import Reconciliation, reconcile
from consumer.emulator.call_log import Call
from consumer.events import Reason

BOUGHT, DECLINED, ABANDONED = Reason.PURCHASED, Reason.DECLINED, Reason.ABANDONED

RIGHT = OutcomeRecord("s", "P", "o", 5, 60, "OPTED_OUT", "DECLINED", 204, 3, ("offers", 3, 7))
NOT_FOUND = RIGHT._replace(outcome="NOT_FOUND", status=404)
PURCHASED = RIGHT._replace(outcome="PURCHASED", reason="PURCHASED", status=None)
DEAD = RIGHT._replace(outcome="DEAD_LETTERED", reason="LATE", status=None)


def fate(kind: str = DECLINED, last: int = 5) -> Fate:
    return Fate("s", "P", "o", frozenset(), last, last, 60, Reason(kind))


def answered(status: int | None = 204, offer_id: str = "o") -> Call:
    return Call(100, "P", offer_id, status, 1, True, terminal=status in {204, 404})


def found(fates: list[Fate], outcomes: list[OutcomeRecord], calls: list[Call] | None = None) -> Reconciliation:
    return reconcile(fates, outcomes, [answered()] if calls is None else calls)


@pytest.mark.parametrize(
    ("kind", "outcome", "calls"),
    [
        pytest.param(DECLINED, RIGHT, [answered()], id="declined and recorded"),
        pytest.param(DECLINED, NOT_FOUND, [answered(404)], id="declined and not found"),
        pytest.param(ABANDONED, RIGHT._replace(reason="ABANDONED"), [answered(500), answered()], id="abandoned"),
        pytest.param(BOUGHT, PURCHASED, [], id="bought"),
    ],
)
def test_an_outcome_that_is_the_chains_fate_is_in_order(kind: str, outcome: OutcomeRecord, calls: list[Call]) -> None:
    assert found([fate(kind)], [outcome], calls).holds


def test_a_chain_without_an_outcome_is_missing() -> None:
    assert len(found([fate()], []).missing) == 1
    again = found([fate(), fate(last=900)], [RIGHT, RIGHT], [answered(), answered()])
    assert (len(again.missing), again.repeated, again.holds) == (1, 1, False)


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        pytest.param(BOUGHT, RIGHT, id="another class"),
        pytest.param(ABANDONED, RIGHT, id="another reason"),
        pytest.param(DECLINED, RIGHT._replace(status=None), id="no status"),
        pytest.param(DECLINED, RIGHT._replace(outcome="NOT_FOUND"), id="not the status of its class"),
        pytest.param(DECLINED, PURCHASED, id="a purchase that was none"),
        pytest.param(DECLINED, RIGHT._replace(outcome="IGNORED", status=None), id="ignored"),
        pytest.param(DECLINED, RIGHT._replace(decided_at=61), id="decided at another time"),
        pytest.param(DECLINED, RIGHT._replace(partition=2), id="in another partition than its source"),
    ],
)
def test_an_outcome_that_is_not_the_chains_fate_is_wrong(kind: str, outcome: OutcomeRecord) -> None:
    judged = found([fate(kind)], [outcome])
    assert len(judged.wrong) == 1
    assert not judged.holds


def test_one_wrong_outcome_among_right_ones_is_found() -> None:
    calls = [answered(), answered()]
    assert len(found([fate()], [RIGHT, PURCHASED, RIGHT], calls).wrong) == 1


@pytest.mark.parametrize(
    "calls",
    [
        pytest.param([], id="never called"),
        pytest.param([answered(404)], id="answered otherwise"),
        pytest.param([answered(None)], id="not answered"),
        pytest.param([answered(offer_id="other")], id="another offer"),
    ],
)
def test_an_outcome_of_an_answer_that_the_api_never_gave_is_unfounded(calls: list[Call]) -> None:
    judged = found([fate()], [RIGHT], calls)
    assert len(judged.unfounded) == 1
    assert not judged.holds


def test_two_outcomes_of_one_answer_are_one_too_many() -> None:
    assert len(found([fate()], [RIGHT, RIGHT], [answered()]).unfounded) == 1
    repeated = found([fate()], [RIGHT, RIGHT], [answered(), answered()])
    assert (repeated.repeated, repeated.holds) == (1, True)


def test_an_outcome_of_a_chain_that_there_is_not_is_unfounded() -> None:
    assert len(found([fate()], [RIGHT, PURCHASED._replace(presented_at=4)]).unfounded) == 1


def test_an_offer_on_time_that_was_dead_lettered_is_an_objection() -> None:
    judged = found([fate()], [RIGHT, DEAD])
    assert (len(judged.dead), judged.holds) == (1, False)


WITHHELD = PURCHASED._replace(checkout_id="late", note="the purchase came after the decision")


@pytest.mark.parametrize("kind", [DECLINED, ABANDONED])
@pytest.mark.parametrize("status", [None, 503])
def test_a_withheld_call_is_in_order_if_a_purchase_excuses_it(kind: str, status: int | None) -> None:
    excused = fate(kind)._replace(may_withhold=frozenset({"late"}))
    assert found([excused], [WITHHELD._replace(status=status)], []).holds


@pytest.mark.parametrize(
    ("may_withhold", "outcome"),
    [
        pytest.param(set(), WITHHELD, id="nothing was bought"),
        pytest.param({"other"}, WITHHELD, id="another checkout"),
        pytest.param({"late"}, WITHHELD._replace(note=None), id="it does not say so"),
        pytest.param({"late"}, WITHHELD._replace(outcome="OPTED_OUT"), id="called as purchased"),
    ],
)
def test_a_withheld_call_that_no_purchase_excuses_is_wrong(may_withhold: set[str], outcome: OutcomeRecord) -> None:
    assert len(found([fate()._replace(may_withhold=frozenset(may_withhold))], [outcome], []).wrong) == 1
