"""What came later than lateness allows may have been read before a decision or after it: either is by the rules."""

from __future__ import annotations

from consumer.audit.calls import ReferenceRules
from consumer.audit.committed import Committed
from consumer.audit.findings import ARRIVED_LATE, Discrepancy, Flaw, Reconciliation, Scope
from consumer.audit.partition_log import PartitionLog
from consumer.audit.reading import Checkout, OutcomeRecord, Presentation
from consumer.audit.reconcile import reconcile

RULES = ReferenceRules(window=100, checkout_grace=10, lookback=300, lateness=20, max_skew=50)
SCOPE = Scope(1_000, 2_000, ("offers", "checkouts", "outcomes"), 3)
SHOWN = Presentation("s", "P", "o", 1_500, 7)
BUYING = Checkout("s", 1_550, ("o",), "c1", 4)
RECORDED = OutcomeRecord("s", "P", "o", 1_500, 1_560, "OPTED_OUT", "DECLINED", 204, 3, ("offers", 3, 7), "c1")
ABANDONED = RECORDED._replace(decided_at=1_600, reason="ABANDONED", checkout_id=None)
ALL_BELOW = Committed(100)


def kinds(result: Reconciliation) -> list[Flaw]:
    return list(result.exceptions.elements())


def only(result: Reconciliation) -> Discrepancy:
    ((one,),) = result.listed.values()
    return one


def test_a_purchase_that_came_too_late_is_told_to_be_so() -> None:
    log = PartitionLog(RULES)
    log.present([SHOWN], 1_500)
    log.complete(Checkout("t", 1_700, (), "c0", 3), 1_700)
    log.complete(BUYING, 1_550)
    log.settle(ABANDONED)
    result = Reconciliation()
    reconcile(log, SCOPE, result, ALL_BELOW)
    assert (kinds(result), only(result).by_the_rules) == ([Flaw.CALLED_THOUGH_BOUGHT], True)


def test_a_false_call_is_not_by_the_rules_because_something_else_of_the_session_came_late() -> None:
    log = PartitionLog(RULES)
    log.present([SHOWN], 1_500)
    log.present([SHOWN._replace(session_id="t", presented_at=1_900, offset=8)], 1_900)
    log.present([SHOWN._replace(offer_id="another", offset=9)], 1_500)  # late
    log.complete(BUYING, 1_550)
    log.complete(Checkout("t", 1_900, (), "c2", 5), 1_900)
    log.complete(Checkout("s", 1_560, (), "c3", 6), 1_560)  # late, and it decides nothing
    log.settle(RECORDED)
    result = Reconciliation()
    reconcile(log, SCOPE, result, Committed(8))
    assert (kinds(result), only(result).by_the_rules) == ([Flaw.CALLED_THOUGH_BOUGHT], False)


def test_a_checkout_that_cannot_be_read_may_have_come_after_the_decision() -> None:
    log, result = PartitionLog(RULES), Reconciliation()
    log.present([SHOWN, SHOWN._replace(session_id="t", offset=8)], 1_500)
    log.complete(Checkout("t", 1_700, (), "c1"), 1_700)
    log.cannot_complete(["s"], 1_540)
    log.settle(ABANDONED)
    reconcile(log, SCOPE, result, Committed(8))
    assert (kinds(result), dict(result.not_judged)) == ([], {ARRIVED_LATE: 1})
