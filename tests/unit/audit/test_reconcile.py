"""The reconciliation objects where it must: hand-made outcomes, each with the one verdict that is right."""

from __future__ import annotations

import pytest

from consumer.audit.calls import ReferenceRules
from consumer.audit.committed import Committed
from consumer.audit.dead_letters import DeadLetters
from consumer.audit.findings import (
    ARRIVED_LATE,
    CHAIN_CUT,
    CHECKOUTS_GONE,
    OFFERS_GONE,
    OUTCOMES_GONE,
    Discrepancy,
    Flaw,
    Reconciliation,
    Scope,
)
from consumer.audit.partition_log import EVER, PartitionLog
from consumer.audit.reading import Checkout, OutcomeRecord, Presentation
from consumer.audit.reconcile import beyond_answers, reconcile
from consumer.emulator.call_log import Call

RULES = ReferenceRules(window=100, checkout_grace=10, lookback=300, lateness=20, max_skew=50)
IGNORING = RULES._replace(call_abandoned=False)
SCOPE = Scope(1_000, 2_000, ("offers", "checkouts", "outcomes"), 3)

SHOWN = Presentation("s", "P", "o", 1_500, 7)
DECLINING = Checkout("s", 1_550, ("other",), "c1", 4)
BUYING = Checkout("s", 1_550, ("o",), "c1", 4)
RECORDED = OutcomeRecord("s", "P", "o", 1_500, 1_560, "OPTED_OUT", "DECLINED", 204, 3, ("offers", 3, 7), "c1")
ABANDONED = RECORDED._replace(decided_at=1_600, reason="ABANDONED", checkout_id=None)
PURCHASED = RECORDED._replace(outcome="PURCHASED", reason="PURCHASED", status=None)
LATE = RECORDED._replace(outcome="DEAD_LETTERED", reason="LATE", status=None, decided_at=1_500, checkout_id=None)
ALL_BELOW = Committed(100)


def found(
    shown: list[Presentation],
    checkouts: list[Checkout],
    outcomes: list[OutcomeRecord],
    committed: Committed | None = ALL_BELOW,
    *,
    rules: ReferenceRules = RULES,
    scope: Scope = SCOPE,
    **gone: int,
) -> Reconciliation:
    log = PartitionLog(rules)
    for name, value in gone.items():
        setattr(log, name, value)
    for event in shown:
        log.present([event], event.presented_at)
    for done in checkouts:
        log.complete(done, done.completed_at)
    for outcome in outcomes:
        log.settle(outcome)
    result = Reconciliation()
    reconcile(log, scope, result, committed)
    assert result.adds_up
    return result


def kinds(result: Reconciliation) -> list[Flaw]:
    return list(result.exceptions.elements())


def only(result: Reconciliation) -> Discrepancy:
    ((one,),) = result.listed.values()
    return one


@pytest.mark.parametrize(
    ("checkouts", "outcome", "rules"),
    [
        pytest.param([DECLINING], RECORDED, RULES, id="declined and recorded"),
        pytest.param([DECLINING], RECORDED._replace(outcome="NOT_FOUND", status=404), RULES, id="not found"),
        pytest.param([], ABANDONED, RULES, id="abandoned"),
        pytest.param([], ABANDONED._replace(outcome="IGNORED", status=None), IGNORING, id="ignored"),
        pytest.param([BUYING], PURCHASED, RULES, id="bought"),
        pytest.param(
            [DECLINING], RECORDED._replace(outcome="DEAD_LETTERED", status=422, note="no"), RULES, id="rejected"
        ),
        pytest.param(
            [DECLINING],
            RECORDED._replace(outcome="DEAD_LETTERED", status=None, attempts=1, note="not sent: an id is empty"),
            RULES,
            id="no request can be made of it",
        ),
        pytest.param(
            [DECLINING], RECORDED._replace(outcome="RELEASED", reason="RELEASED", status=None), RULES, id="released"
        ),
    ],
)
def test_an_outcome_that_is_the_chains_fate_is_in_order(
    checkouts: list[Checkout], outcome: OutcomeRecord, rules: ReferenceRules
) -> None:
    result = found([SHOWN], checkouts, [outcome], rules=rules)
    assert (kinds(result), result.is_whole, dict(result.fates)) == ([], True, {outcome.outcome: 1})


@pytest.mark.parametrize(
    ("checkouts", "outcome"),
    [
        pytest.param([], RECORDED._replace(decided_at=1_600), id="another reason"),
        pytest.param([DECLINING], RECORDED._replace(status=None), id="no status"),
        pytest.param([DECLINING], RECORDED._replace(outcome="NOT_FOUND"), id="not the status of its class"),
        pytest.param([DECLINING], PURCHASED, id="a purchase that was none"),
        pytest.param([BUYING], PURCHASED._replace(checkout_id="c9"), id="a purchase by another checkout"),
        pytest.param([DECLINING], RECORDED._replace(outcome="IGNORED", status=None), id="ignored"),
        pytest.param([DECLINING], RECORDED._replace(decided_at=1_561), id="decided at another time"),
        pytest.param([DECLINING], RECORDED._replace(partition=2), id="in another partition than its source"),
        pytest.param(
            [DECLINING],
            RECORDED._replace(outcome="DEAD_LETTERED", status=None, attempts=0),
            id="dead-lettered as refused, and never tried",
        ),
        pytest.param([DECLINING], RECORDED._replace(checkout_id="another"), id="declined by another checkout"),
        pytest.param([DECLINING], RECORDED._replace(checkout_id=None), id="declined by no checkout"),
        pytest.param(
            [DECLINING], RECORDED._replace(source=("offers", 3, 99)), id="of another record than its presentation"
        ),
        pytest.param([BUYING], PURCHASED._replace(outcome="RELEASED", reason="RELEASED"), id="released though bought"),
        pytest.param(
            [DECLINING],
            RECORDED._replace(outcome="DEAD_LETTERED", reason="CHECKOUT_UNREADABLE", status=None, note="x"),
            id="quarantined for nothing",
        ),
    ],
)
def test_an_outcome_that_is_not_the_chains_fate_is_wrong(checkouts: list[Checkout], outcome: OutcomeRecord) -> None:
    result = found([SHOWN], checkouts, [outcome])
    assert kinds(result) == [Flaw.OTHER_FATE]
    assert not only(result).by_the_rules


def test_a_chain_that_must_be_settled_and_has_no_outcome() -> None:
    result = found([SHOWN], [DECLINING], [])
    one = only(result)
    assert (kinds(result), result.without_outcome) == ([Flaw.NO_OUTCOME], 1)
    assert (one.session_id, one.partner_code, one.offer_id, one.presented_at) == ("s", "P", "o", 1_500)
    assert one.places == (("offers", 3, 7),)
    assert "DECLINED and to be called" in one.words


@pytest.mark.parametrize(
    ("committed", "undecided", "waiting"),
    [
        pytest.param(None, 1, 0, id="nothing is committed"),
        pytest.param(Committed(7), 1, 0, id="not read"),
        pytest.param(Committed(7, 8, 5, 1_559), 1, 0, id="not due"),
        pytest.param(Committed(7, 7, 5, 1_560), 1, 0, id="due, and not read by then"),
        pytest.param(Committed(7, 8, 4, 1_560), 1, 0, id="the checkout came after the commit"),
        pytest.param(Committed(7, 8, 5, 1_560, frozenset({7})), 0, 1, id="its call waits"),
    ],
)
def test_what_no_commit_calls_settled_is_open(committed: Committed | None, undecided: int, waiting: int) -> None:
    result = found([SHOWN], [DECLINING], [], committed)
    assert (kinds(result), result.undecided, result.waiting, result.oldest_open) == ([], undecided, waiting, 1_500)


def test_a_chain_is_settled_below_the_commit_only_with_all_of_its_presentations() -> None:
    again = SHOWN._replace(presented_at=1_490, offset=3)
    assert found([again, SHOWN], [DECLINING], [], Committed(7)).undecided == 1
    assert found([again, SHOWN], [DECLINING], [], Committed(8)).without_outcome == 1


def test_offsets_of_several_presentations_a_record_are_counted_in_its_unit() -> None:
    of_several = SHOWN._replace(offset=7 * 64 + 2)
    several = SCOPE._replace(unit=64)
    assert found([of_several], [], [], Committed(7, unit=64), scope=several).undecided == 1
    result = found([of_several], [], [], Committed(8, unit=64), scope=several)
    assert only(result).places == (("offers", 3, 7),)


def test_what_was_due_by_the_commit_and_is_not_listed_must_have_its_outcome() -> None:
    assert kinds(found([SHOWN], [DECLINING], [], Committed(7, 8, 5, 1_560))) == [Flaw.NO_OUTCOME]


def test_two_outcomes_that_differ() -> None:
    result = found([SHOWN], [DECLINING], [RECORDED, PURCHASED._replace(offset=9)])
    one = only(result)
    assert (kinds(result), one.by_the_rules) == ([Flaw.TWO_OUTCOMES], False)
    assert one.places == (("offers", 3, 7), ("outcomes", 3, 0), ("outcomes", 3, 9))
    again = found([SHOWN], [DECLINING], [RECORDED, RECORDED._replace(outcome="NOT_FOUND", status=404)])
    assert (kinds(again), only(again).by_the_rules) == ([Flaw.TWO_OUTCOMES], True)


def test_the_same_outcome_again_is_counted() -> None:
    result = found([SHOWN], [DECLINING], [RECORDED, RECORDED, RECORDED._replace(mode="BACKFILL")])
    assert (kinds(result), result.repeated, result.fates["OPTED_OUT"]) == ([], 2, 1)


@pytest.mark.parametrize("kind", ["DEAD_LETTERED", "RELEASED"])
def test_a_backfill_replaces_what_was_let_go(kind: str) -> None:
    reason = "RELEASED" if kind == "RELEASED" else "DECLINED"
    let_go = RECORDED._replace(outcome=kind, reason=reason, status=None, note="x")
    result = found([SHOWN], [DECLINING], [let_go, RECORDED._replace(mode="BACKFILL")])
    assert (kinds(result), result.replaced, dict(result.fates)) == ([], 1, {"OPTED_OUT": 1})
    assert kinds(found([SHOWN], [DECLINING], [let_go, RECORDED])) == [Flaw.TWO_OUTCOMES]


def test_called_though_bought_names_the_purchase() -> None:
    result = found([SHOWN], [BUYING], [RECORDED])
    assert (kinds(result), only(result).by_the_rules) == ([Flaw.CALLED_THOUGH_BOUGHT], False)
    assert ("checkouts", 3, 4) in only(result).places
    assert "bought by checkout c1" in only(result).words


@pytest.mark.parametrize(
    ("at", "kind"),
    [
        (1_561, Flaw.BOUGHT_AFTER_CALL),
        (1_900, Flaw.BOUGHT_AFTER_CALL),
        (1_199, Flaw.BOUGHT_LONG_BEFORE),
    ],
)
def test_bought_outside_of_the_time_that_counts_and_called(at: int, kind: Flaw) -> None:
    result = found([SHOWN], [DECLINING, Checkout("s", at, ("o",), "c2", 5)], [RECORDED])
    if at < 1_500:
        result = found([SHOWN], [Checkout("s", at, ("o",), "c2", 3), DECLINING], [RECORDED])
    assert (kinds(result), only(result).by_the_rules) == ([kind], True)


WITHHELD = PURCHASED._replace(checkout_id="c2", note="the purchase came after the decision")
AFTER = Checkout("s", 1_700, ("o",), "c2", 5)


def test_a_withheld_call_is_in_order_if_a_purchase_excuses_it() -> None:
    assert found([SHOWN], [DECLINING, AFTER], [WITHHELD]).holds
    for wrong in (WITHHELD._replace(note=None), WITHHELD._replace(checkout_id="c1")):
        assert kinds(found([SHOWN], [DECLINING, AFTER], [wrong])) == [Flaw.OTHER_FATE]


def test_an_outcome_of_a_chain_that_there_is_not() -> None:
    result = found([SHOWN], [DECLINING], [RECORDED, PURCHASED._replace(presented_at=1_400)])
    assert kinds(result) == [Flaw.UNKNOWN_CHAIN]
    assert kinds(found([], [], [RECORDED])) == [Flaw.UNKNOWN_CHAIN]


def test_an_outcome_of_no_chain_outside_of_the_range_is_of_another_one() -> None:
    assert kinds(found([], [], [RECORDED._replace(presented_at=999), RECORDED._replace(presented_at=2_000)])) == []


def test_only_chains_that_were_presented_last_in_the_range_count() -> None:
    for at in (999, 2_000):
        outside = SHOWN._replace(presented_at=at)
        result = found([outside], [], [PURCHASED._replace(presented_at=at)])
        assert (result.presented, kinds(result)) == (0, [])
    again = [SHOWN._replace(presented_at=1_990), SHOWN._replace(presented_at=2_050, offset=8)]
    assert found(again, [], []).presented == 0


def test_a_late_presentation_counts_as_the_dead_letter_that_it_is() -> None:
    result = found([SHOWN], [DECLINING], [LATE, LATE])
    assert (kinds(result), dict(result.fates), result.repeated) == ([], {"DEAD_LETTERED": 1}, 1)


def test_a_late_presentation_that_a_backfill_decided_is_a_chain() -> None:
    result = found([SHOWN], [DECLINING], [LATE, RECORDED._replace(mode="BACKFILL")])
    assert (kinds(result), result.presented, result.fates["OPTED_OUT"]) == ([], 1, 1)


def test_called_though_bought_is_that_also_where_it_was_late_before() -> None:
    """`backfill --force` called what is bought."""
    result = found([SHOWN], [BUYING], [LATE, RECORDED._replace(mode="BACKFILL")])
    assert (kinds(result), result.presented, result.replaced) == ([Flaw.CALLED_THOUGH_BOUGHT], 1, 1)
    # Nor is it passed over as what cannot be judged, since it came late.
    log, result = PartitionLog(RULES), Reconciliation()
    log.present([SHOWN._replace(session_id="t")], 1_600)
    log.present([SHOWN], 1_500)
    log.complete(BUYING, 1_550)
    for outcome in (LATE, RECORDED._replace(mode="BACKFILL")):
        log.settle(outcome)
    reconcile(log, SCOPE._replace(end=1_501), result, None)
    assert kinds(result) == [Flaw.CALLED_THOUGH_BOUGHT]


def test_a_late_presentation_beside_one_on_time_is_no_part_of_its_chain() -> None:
    late = SHOWN._replace(presented_at=1_420, offset=9)
    told = LATE._replace(presented_at=1_420, source=("offers", 3, 9))
    result = found([SHOWN, late], [DECLINING], [RECORDED, told])
    assert (kinds(result), result.presented, dict(result.fates)) == ([], 2, {"OPTED_OUT": 1, "DEAD_LETTERED": 1})


def test_a_chain_has_no_outcome_by_a_late_record_of_the_same_date() -> None:
    """It is to be called: a backfill finds it so, too."""
    late, told = SHOWN._replace(offset=9), LATE._replace(source=("offers", 3, 9))
    assert kinds(found([SHOWN, late], [DECLINING], [told])) == [Flaw.NO_OUTCOME]
    assert kinds(found([SHOWN, late], [DECLINING], [told, RECORDED])) == []


def test_a_late_presentation_stays_one_where_that_explains_as_much() -> None:
    late = SHOWN._replace(presented_at=1_420, offset=9)
    told = LATE._replace(presented_at=1_420, source=("offers", 3, 9))
    result = found([SHOWN, late], [DECLINING], [RECORDED, PURCHASED, told])
    assert (kinds(result), dict(result.fates)) == ([Flaw.TWO_OUTCOMES], {"OPTED_OUT": 1, "DEAD_LETTERED": 1})


def test_a_presentation_whose_date_is_not_believed_belongs_to_the_time_of_its_record() -> None:
    def judged(outcomes: list[OutcomeRecord], committed: Committed, stamp: int = 1_500) -> Reconciliation:
        log, result = PartitionLog(RULES), Reconciliation()
        log.present([SHOWN._replace(presented_at=9_999)], stamp)
        for outcome in outcomes:
            log.settle(outcome)
        reconcile(log, SCOPE, result, committed)
        assert result.adds_up
        return result

    told = LATE._replace(reason="IMPLAUSIBLE_TIME", presented_at=9_999)
    assert dict(judged([told], ALL_BELOW).fates) == {"DEAD_LETTERED": 1}
    assert kinds(judged([], ALL_BELOW)) == [Flaw.NO_OUTCOME]
    assert judged([], Committed(7)).undecided == 1
    assert judged([told], ALL_BELOW, 9_960).presented == 0


def test_a_presentation_that_is_given_up_for_a_date_that_is_believed_is_wrong() -> None:
    told = LATE._replace(reason="IMPLAUSIBLE_TIME", settled_at=1_600)
    assert kinds(found([SHOWN], [DECLINING], [told])) == [Flaw.OTHER_FATE]
    # Ahead of the wall clock of then it was not believed.
    assert kinds(found([SHOWN], [DECLINING], [told._replace(settled_at=1_400)])) == []
    # A backfill decided it since.
    assert kinds(found([SHOWN], [DECLINING], [told, RECORDED._replace(mode="BACKFILL")])) == []


def dead_letter(reason: str, timestamp: int | None = 1_500, written_at: int = 1_600) -> DeadLetters:
    dead = DeadLetters()
    dead.add(reason, 7, timestamp, written_at)
    return dead


def test_a_record_that_cannot_be_read_must_be_in_the_dead_letter_topic() -> None:
    for dead, committed, expected in (
        (dead_letter("undecodable"), ALL_BELOW, []),
        (dead_letter("resubmitted", None), ALL_BELOW, []),
        (DeadLetters(), ALL_BELOW, [Flaw.NO_DEAD_LETTER]),
        (DeadLetters(), Committed(7), []),
        (None, ALL_BELOW, []),
        # These are of what stood there before the topic was made anew.
        (dead_letter("undecodable", 1_400), ALL_BELOW, [Flaw.NO_DEAD_LETTER]),
        (dead_letter("resubmitted", None, 1_499), ALL_BELOW, [Flaw.NO_DEAD_LETTER]),
    ):
        log, result = PartitionLog(RULES), Reconciliation()
        log.cannot_present(7, 1_500, "no Avro")
        reconcile(log, SCOPE, result, committed, lambda dead=dead: dead)
        assert (kinds(result), result.unreadable, result.adds_up) == (expected, 1, True)


def test_what_was_dead_lettered_as_unreadable_and_can_be_read_by_now_is_no_missing_outcome() -> None:
    for dead, expected in (
        (dead_letter("undecodable", 1_510), []),
        (dead_letter("late", 1_510), [Flaw.NO_OUTCOME]),
        (dead_letter("rejected", 1_510), [Flaw.NO_OUTCOME]),
        (DeadLetters(), [Flaw.NO_OUTCOME]),
        # Of what stood there before the topic was made anew.
        (dead_letter("undecodable", 1_400), [Flaw.NO_OUTCOME]),
    ):
        log, result = PartitionLog(RULES), Reconciliation()
        log.present([SHOWN], 1_510)
        reconcile(log, SCOPE, result, ALL_BELOW, lambda dead=dead: dead)
        assert (kinds(result), result.unreadable, result.adds_up) == (expected, 1 if not expected else 0, True)


def test_what_came_too_late_for_the_reference_is_not_judged_unless_nothing_covers_it() -> None:
    earlier = SHOWN._replace(presented_at=1_450, offset=9)
    # The later one was decided before the earlier one was read, so that each has an outcome of its own.
    log, result = PartitionLog(RULES), Reconciliation()
    log.present([SHOWN], 1_500)
    log.present([earlier], 1_450)
    log.settle(ABANDONED)
    log.settle(ABANDONED._replace(presented_at=1_450, source=("offers", 3, 9)))
    reconcile(log, SCOPE, result, ALL_BELOW)
    assert (kinds(result), dict(result.not_judged)) == ([], {ARRIVED_LATE: 1})
    log, result = PartitionLog(RULES), Reconciliation()
    log.present([SHOWN], 1_500)
    log.present([earlier], 1_450)
    reconcile(log, SCOPE, result, ALL_BELOW)
    assert kinds(result) == [Flaw.NO_OUTCOME]


@pytest.mark.parametrize(
    ("gone", "outcomes", "reason"),
    [
        ({"checkouts_from": 1_201}, [PURCHASED], CHECKOUTS_GONE),
        ({"presentations_from": 1_391}, [RECORDED._replace(decided_at=1_500)], CHAIN_CUT),
        ({"outcomes_from": 1_561}, [], OUTCOMES_GONE),
        ({"first_offset": 6}, [RECORDED, PURCHASED._replace(presented_at=1_100, source=("offers", 3, 5))], OFFERS_GONE),
    ],
)
def test_what_retention_has_deleted_is_counted_and_not_guessed(
    gone: dict[str, int], outcomes: list[OutcomeRecord], reason: str
) -> None:
    result = found([SHOWN], [DECLINING], outcomes, **gone)
    assert (kinds(result), dict(result.not_judged), result.is_whole) == ([], {reason: 1}, False)
    whole = found([SHOWN], [DECLINING], outcomes, **{name: value - 1 for name, value in gone.items()})
    assert len(kinds(whole)) == 1


def test_what_the_logs_prove_is_an_exception_whatever_is_gone() -> None:
    assert kinds(found([SHOWN], [BUYING], [RECORDED], checkouts_from=EVER)) == [Flaw.CALLED_THOUGH_BOUGHT]
    assert kinds(found([SHOWN], [], [RECORDED, PURCHASED], checkouts_from=EVER)) == [Flaw.TWO_OUTCOMES]


def test_a_checkout_that_cannot_be_read_allows_what_it_may_have_been() -> None:
    def judged(outcome: OutcomeRecord, stamp: int) -> list[Flaw]:
        log, result = PartitionLog(RULES), Reconciliation()
        log.present([SHOWN], 1_500)
        log.cannot_complete(["s"], stamp)
        log.settle(outcome)
        reconcile(log, SCOPE, result, ALL_BELOW)
        return kinds(result)

    quarantined = ABANDONED._replace(outcome="DEAD_LETTERED", reason="CHECKOUT_UNREADABLE", status=None)
    assert judged(quarantined, 1_540) == []
    assert judged(ABANDONED, 1_540) == [Flaw.OTHER_FATE]
    # It may have been made by the end of the window, or not: it depends on when it was read.
    assert judged(quarantined, 1_610) == judged(ABANDONED, 1_610) == []


def test_no_more_than_so_many_of_a_kind_are_listed() -> None:
    shown = [SHOWN._replace(session_id=f"s{n}", offset=n) for n in range(5)]
    log = PartitionLog(RULES)
    for event in shown:
        log.present([event], 1_500)
    result = Reconciliation(most=2)
    reconcile(log, SCOPE, result, ALL_BELOW)
    assert (result.exceptions[Flaw.NO_OUTCOME], len(result.listed[Flaw.NO_OUTCOME])) == (5, 2)


def test_outcomes_of_answers_that_the_api_never_gave() -> None:
    def answered(status: int | None = 204, offer_id: str = "o") -> Call:
        return Call(100, "P", offer_id, status, 1, True, terminal=status in {204, 404})

    assert beyond_answers([RECORDED, PURCHASED], [answered()]) == []
    for calls in ([], [answered(404)], [answered(None)], [answered(offer_id="other")]):
        assert len(beyond_answers([RECORDED], calls)) == 1
    assert len(beyond_answers([RECORDED, RECORDED], [answered()])) == 1
    assert beyond_answers([RECORDED, RECORDED], [answered(), answered()]) == []
