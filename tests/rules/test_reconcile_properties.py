"""The reconciliation against random logs: a faithful log of outcomes has no exception, one wrong outcome has one."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from support.strategies import EACH, Garbage, Logs, examples, logs

from consumer.audit.calls import ReferenceRules
from consumer.audit.committed import Committed
from consumer.audit.decision import Fate, fates
from consumer.audit.findings import Flaw, Reconciliation, Scope
from consumer.audit.partition_log import EVER, PartitionLog
from consumer.audit.reading import OutcomeRecord
from consumer.audit.reconcile import reconcile
from consumer.events import MOST_ELEMENTS, CheckoutCompleted, Reason

MOST_STAMPED_LATE = 6 * 3_000
"""Milliseconds; see `support.strategies`."""

TOPICS = "offers", "checkouts", "outcomes"


class _Case(NamedTuple):
    """Two logs, and the outcomes that a service would write that decides by the reference alone."""

    logs: Logs
    rules: ReferenceRules
    chains: list[Fate]
    outcomes: list[OutcomeRecord]

    @property
    def unit(self) -> int:
        return MOST_ELEMENTS if self.logs.each == EACH else 1


def case_of(drawn: Logs) -> _Case:
    r = drawn.rules
    # The logs keep the bound of lateness; but a record may be stamped later than that, and is taken for late then.
    lateness = r.lateness + MOST_STAMPED_LATE
    rules = ReferenceRules(r.window, r.checkout_grace, r.lookback, r.call_abandoned, lateness, r.max_skew)
    chains = fates(drawn.presentations, drawn.completed, rules)
    shown_at = {event.offset: event for event in drawn.presentations}
    outcomes = []
    for number, chain in enumerate(chains):
        source = max(offset for offset in chain.offsets if shown_at[offset].presented_at == chain.last)
        outcomes.append(outcome_of(number, chain, rules, shown_at[source].record_offset))
    return _Case(drawn, rules, chains, outcomes)


def outcome_of(number: int, chain: Fate, rules: ReferenceRules, source: int) -> OutcomeRecord:
    called = chain.reason is Reason.DECLINED or (chain.reason is Reason.ABANDONED and rules.call_abandoned)
    outcome, reason, checkout, note = str(chain.reason), str(chain.reason), chain.checkout_id, None
    status = None
    if called and chain.may_withhold:
        outcome, reason, checkout, note = "PURCHASED", "PURCHASED", min(chain.may_withhold), "known before the call"
    elif called:
        outcome, status = ("OPTED_OUT", 204) if number % 3 else ("NOT_FOUND", 404)
    elif chain.reason is Reason.ABANDONED:
        outcome = "IGNORED"
    return OutcomeRecord(
        chain.session_id,
        chain.partner_code,
        chain.offer_id,
        chain.last,
        chain.decide_at,
        outcome,
        reason,
        status,
        0,
        ("offers", 0, source),
        checkout,
        note,
        number,
    )


def judged(
    case: _Case,
    outcomes: list[OutcomeRecord],
    more: CheckoutCompleted | None = None,
    committed: Committed | None = None,
    scope: tuple[int, int] = (-EVER, EVER),
) -> Reconciliation:
    log, found = PartitionLog(case.rules), Reconciliation()
    for record in case.logs.offers:
        log.present(record.shown, record.timestamp)
    for record in case.logs.checkouts:
        assert not isinstance(record.event, Garbage)
        if record.event is not None:
            log.complete(record.event, record.timestamp)
    if more is not None:
        log.complete(more, more.completed_at)
    for outcome in outcomes:
        log.settle(outcome)
    reconcile(log, Scope(*scope, TOPICS, 0, case.unit), found, committed, all_settled=committed is None)
    assert found.adds_up
    return found


def kinds(found: Reconciliation) -> Counter[Flaw]:
    return Counter(found.exceptions)


DRAWN = logs(several=True).map(case_of).filter(lambda case: case.chains)


@examples(120)
@given(DRAWN)
def test_a_faithful_log_of_outcomes_has_no_exception(case: _Case) -> None:
    found = judged(case, case.outcomes)
    assert (kinds(found), found.is_whole, found.presented) == (Counter(), True, len(case.chains))
    again = judged(case, case.outcomes * 2)
    assert (kinds(again), again.repeated) == (Counter(), len(case.chains))


@examples(120)
@given(DRAWN, st.integers(0, 99))
def test_an_outcome_that_is_missing_is_one_exception(case: _Case, choice: int) -> None:
    dropped = case.outcomes[choice % len(case.outcomes)]
    found = judged(case, [o for o in case.outcomes if o is not dropped])
    assert found.without_outcome == 1
    assert kinds(found) == {Flaw.NO_OUTCOME: 1}
    (one,) = found.listed[Flaw.NO_OUTCOME]
    assert (one.session_id, one.partner_code, one.offer_id, one.presented_at) == dropped.chain


@examples(120)
@given(DRAWN, st.integers(0, 99), st.integers(0, 4))
def test_an_outcome_that_is_wrong_is_one_exception(case: _Case, choice: int, how: int) -> None:
    place = choice % len(case.outcomes)
    right = case.outcomes[place]
    wrong = [
        right._replace(decided_at=right.decided_at + 1),
        right._replace(partition=1),
        right._replace(outcome="OPTED_OUT", reason="ABANDONED" if right.reason == "DECLINED" else "DECLINED"),
        right._replace(status=500 if right.status else right.status, checkout_id="none", note=None, reason="RELEASED"),
        right._replace(outcome="PURCHASED", reason="PURCHASED", checkout_id="none", note=None),
    ][how]
    found = judged(case, [*case.outcomes[:place], wrong, *case.outcomes[place + 1 :]])
    bought = case.chains[place].reason is Reason.PURCHASED
    assert kinds(found) == {Flaw.CALLED_THOUGH_BOUGHT if how == 2 and bought else Flaw.OTHER_FATE: 1}


@examples(120)
@given(DRAWN, st.integers(0, 99))
def test_a_second_outcome_that_differs_is_one_exception(case: _Case, choice: int) -> None:
    right = case.outcomes[choice % len(case.outcomes)]
    other = right._replace(outcome="RELEASED", reason="RELEASED", status=None, offset=99)
    assert kinds(judged(case, [*case.outcomes, other])) == {Flaw.TWO_OUTCOMES: 1}


@examples(120)
@given(DRAWN, st.integers(0, 99))
def test_an_outcome_of_no_chain_is_one_exception(case: _Case, choice: int) -> None:
    right = case.outcomes[choice % len(case.outcomes)]
    stray = right._replace(offer_id="nobody's")
    assert kinds(judged(case, [*case.outcomes, stray])) == {Flaw.UNKNOWN_CHAIN: 1}


@examples(120)
@given(DRAWN, st.integers(0, 99))
def test_a_purchase_after_the_call_is_one_exception_a_chain_that_was_called(case: _Case, choice: int) -> None:
    chain = case.chains[choice % len(case.chains)]
    after = max(c.decide_at for c in case.chains) + 1
    bought = CheckoutCompleted(chain.session_id, "after", after, 10_000, (chain.offer_id,))
    called = [
        fate
        for fate, told in zip(case.chains, case.outcomes, strict=True)
        if told.status is not None and (fate.session_id, fate.offer_id) == (chain.session_id, chain.offer_id)
    ]
    found = judged(case, case.outcomes, bought)
    assert kinds(found) == ({Flaw.BOUGHT_AFTER_CALL: len(called)} if called else {})
    assert all(one.by_the_rules for one in found.listed[Flaw.BOUGHT_AFTER_CALL])


@examples(120)
@given(DRAWN, st.integers(0, 99))
def test_an_offer_that_was_called_and_bought_in_its_time_is_one_exception(case: _Case, choice: int) -> None:
    place = choice % len(case.outcomes)
    chain, right = case.chains[place], case.outcomes[place]
    called = right._replace(outcome="OPTED_OUT", reason="DECLINED", status=204)
    found = judged(case, [*case.outcomes[:place], called, *case.outcomes[place + 1 :]])
    if chain.reason is Reason.PURCHASED:
        assert kinds(found) == {Flaw.CALLED_THOUGH_BOUGHT: 1}
    elif chain.reason is Reason.DECLINED and chain.may_withhold:
        assert sum(kinds(found).values()) == 1
    else:
        assert kinds(found) == ({} if chain.reason is Reason.DECLINED else {Flaw.OTHER_FATE: 1})


@examples(120)
@given(DRAWN, st.integers(0, 99))
def test_what_a_commit_does_not_cover_is_open(case: _Case, choice: int) -> None:
    offset = case.logs.offers[choice % len(case.logs.offers)].offset
    committed = Committed(offset, unit=case.unit)
    found = judged(case, [], committed=committed)
    below = [c for c in case.chains if max(c.offsets) < offset * case.unit]
    assert (found.without_outcome, found.open) == (len(below), len(case.chains) - len(below))


@examples(120)
@given(DRAWN, st.integers(0, 99), st.integers(0, 99))
def test_each_chain_belongs_to_one_of_two_neighbouring_ranges(case: _Case, choice: int, nudge: int) -> None:
    border = case.chains[choice % len(case.chains)].last + nudge % 3 - 1
    before = judged(case, case.outcomes, scope=(-EVER, border))
    behind = judged(case, case.outcomes, scope=(border, EVER))
    assert (kinds(before), kinds(behind)) == (Counter(), Counter())
    assert before.presented == sum(c.last < border for c in case.chains)
    assert before.presented + behind.presented == len(case.chains)
