"""Where a rule of the task begins and where it ends: what lies on the bound itself, and one beside it."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import pytest

from consumer.core.admission import JOINED, Admission
from consumer.core.chain import Chain
from consumer.core.checkpoint import CheckoutCheckpoint, GuardState, OfferCheckpoint, Position, each_of, rules_key
from consumer.core.commits import LEAST_METADATA, CommitPlan
from consumer.core.guards import Guards
from consumer.core.join import Join, Undated
from consumer.core.purchased_ids import PurchasedIds
from consumer.core.rules import MAX_TIME, MIN_TIME, DecisionRules
from consumer.core.task import Task
from consumer.core.watermark import CLOCK_TOLERANCE, Side
from consumer.events import MOST_ELEMENTS, CheckoutCompleted, OfferAmongSeveral, OfferPresented, Reason

pytestmark = pytest.mark.usefixtures("one_record_tells")

RULES = DecisionRules(window=100, checkout_grace=10, lookback=300, lateness=5, max_skew=50)
T = 1_000_000
LATER = T + 10**6
BEGIN = Position(0)


def offer(offset: int, time: int, offer_id: str = "a", session: str = "s") -> OfferPresented:
    return OfferPresented(session, "ada", offer_id, T + time, offset)


def checkout(offset: int, time: int, *bought: str, session: str = "s") -> CheckoutCompleted:
    return CheckoutCompleted(session, f"c{offset}", T + time, offset, bought)


def fresh(horizon: int | None = None, **more: int) -> Task:
    return Task(RULES, partitions=1, offers=BEGIN, checkouts=BEGIN, horizon=horizon, **more)


def restarted(
    at: int = 0,
    *,
    next_offset: int,
    decided_to: int = T,
    dead: set[int] = frozenset(),  # type: ignore[assignment] # never written to
    unsettled: set[int] = frozenset(),  # type: ignore[assignment] # as above
    next_checkout: int = 0,
    horizon: int = MIN_TIME,
    guard: GuardState = GuardState(),  # noqa: B008 - frozen
) -> Task:
    """A task that goes on from a commit of offset `at`, with P, D and the rest as given."""
    offers = OfferCheckpoint(
        rules_key(RULES),
        1,
        decided_to,
        next_offset,
        next_checkout,
        dead=frozenset(dead),
        unsettled=frozenset(unsettled),
    )
    checkouts = CheckoutCheckpoint(1, next_checkout, horizon, guard, RULES.lookback)
    return Task(
        RULES,
        partitions=1,
        offers=Position(at, offers.encode(at)),
        checkouts=Position(0, checkouts.encode(0)),
    )


def reach(task: Task, time: int) -> list[Chain]:
    """Both inputs are idle until W is T + time; what is due then."""
    for side in Side:
        task.idle(side, T + time + RULES.lateness + 1)
    return task.decide()


def planned(task: Task) -> tuple[CommitPlan, OfferCheckpoint, CheckoutCheckpoint]:
    plan = task.prepare_commit()
    assert plan is not None
    return (
        plan,
        OfferCheckpoint.decode(plan.offers.metadata, plan.offers.offset),
        CheckoutCheckpoint.decode(plan.checkouts.metadata, plan.checkouts.offset),
    )


# --- H


def test_h_of_a_cut_checkout_log_is_its_first_record_and_lateness() -> None:
    task = fresh(horizon=MAX_TIME)
    effect = task.checkout(checkout(7, 0), T, LATER)
    late_below = 0 + RULES.lateness + RULES.lookback
    assert effect.warning is not None
    assert str(T + late_below) in effect.warning
    assert effect._replace(warning=None) == JOINED
    assert task.checkout(checkout(8, 0), T, LATER) is JOINED, "it is learnt once"
    assert task.offer(offer(0, late_below - 1), T + late_below, LATER) is Admission.CUT_OFF
    assert task.offer(offer(1, late_below), T + late_below, LATER) is Admission.ACCEPTED
    reach(task, 400)
    assert planned(task)[1].late_below == T + late_below


def test_h_of_a_cut_checkout_log_is_no_older_than_the_stamp_of_one_that_cannot_be_dated() -> None:
    task = fresh(horizon=MAX_TIME)
    task.checkout(checkout(6, -RULES.lookback - 1), T + 200, LATER)
    task.unreadable_checkout(7, ("s",), T + 300, LATER)
    warning = task.checkout(checkout(8, -50), T - 50, LATER).warning
    assert warning is not None
    assert str(T + 300 + RULES.lateness + RULES.lookback) in warning


def test_h_of_an_empty_checkout_log_is_the_clock_at_its_end_and_lateness() -> None:
    task = fresh(horizon=MAX_TIME)
    assert (task.restore_until(Side.CHECKOUTS), task.restore_until(Side.OFFERS)) == (None, 0)
    assert task.idle(Side.OFFERS, T) is None
    assert task.restoring, "the offers' end says nothing of the checkouts"
    assert task.idle(Side.CHECKOUTS, T) is not None
    assert not task.restoring
    assert task.idle(Side.CHECKOUTS, T) is None, "it is learnt once"
    late_below = RULES.lateness + RULES.lookback
    assert task.offer(offer(0, late_below - 1), T + late_below, LATER) is Admission.CUT_OFF
    assert task.offer(offer(1, late_below), T + late_below, LATER) is Admission.ACCEPTED


def test_where_no_checkout_was_ever_forgotten_nothing_is_late_for_it() -> None:
    task = fresh()
    task.offer(offer(0, 0), T, LATER)
    reach(task, 0)
    _, offers, checkouts = planned(task)
    assert offers.late_below == MIN_TIME
    assert checkouts.lookback == RULES.lookback, "H was made with it"


def test_read_again_an_offer_at_h_and_lookback_is_on_time() -> None:
    task = restarted(next_offset=2, horizon=T)
    assert task.offer(offer(0, RULES.lookback - 1), T + RULES.lookback, LATER) is Admission.CUT_OFF
    assert task.offer(offer(1, RULES.lookback), T + RULES.lookback, LATER) is Admission.ACCEPTED


# --- what was dead-lettered before a restart


def test_a_dead_letter_that_was_acknowledged_is_not_written_again_after_a_restart() -> None:
    task = restarted(next_offset=3, dead={0, 1}, unsettled={1})
    assert not task.unreadable_offer(0)
    assert task.next_offset(Side.OFFERS) == 1
    assert task.unreadable_offer(1), "its dead letter is not acknowledged"
    assert task.unreadable_offer(2), "it could be read before, and is settled by nobody"
    assert not task.restoring
    assert task.unreadable_offer(3), "it is new"


def test_an_unreadable_checkout_is_dead_lettered_once_over_restarts() -> None:
    task = restarted(next_offset=1, next_checkout=1)
    assert not task.unreadable_checkout(0, ("s",), T, LATER)[0]
    assert task.restoring
    assert task.unreadable_checkout(1, ("s",), T, LATER)[0], "it stands at Pc, and was not read before"
    assert fresh().unreadable_checkout(0, ("s",), T, LATER)[0]


def test_what_awaits_its_dead_letter_at_the_committed_offset_stays_known_as_dead() -> None:
    task = fresh()
    clock = T  # it is ahead of the clock alone: nothing in the log tells it again
    assert task.offer(offer(0, 3_051), T + 3_051, clock) is Admission.IMPLAUSIBLE
    task.give_up(0, Admission.IMPLAUSIBLE)
    for _ in range(2):
        plan, offers, _ = planned(task)
        assert (plan.offers.offset, offers.dead, offers.unsettled) == (0, {0}, {0})
        task.commit_acknowledged(plan)
    again = Task(RULES, partitions=1, offers=plan.offers, checkouts=plan.checkouts)
    assert again.offer(offer(0, 3_051), T + 3_051, LATER) is Admission.IMPLAUSIBLE


def test_read_again_an_offer_max_skew_ahead_of_its_record_is_plausible() -> None:
    task = restarted(next_offset=2)
    assert task.offer(offer(0, RULES.max_skew), T, LATER) is Admission.ACCEPTED
    assert task.offer(offer(1, RULES.max_skew + 1), T, LATER) is Admission.IMPLAUSIBLE


def test_read_again_an_offer_max_skew_ahead_of_the_clock_and_its_tolerance_is_plausible() -> None:
    task, ahead = restarted(next_offset=2), RULES.max_skew + CLOCK_TOLERANCE
    assert task.offer(offer(0, ahead), T + ahead, T) is Admission.ACCEPTED
    assert task.offer(offer(1, ahead + 1), T + ahead + 1, T) is Admission.IMPLAUSIBLE


def test_a_tombstone_is_read_and_is_nothing() -> None:
    task = fresh()
    for side in Side:
        task.read_to(side, 1)
        assert task.next_offset(side) == 1


# --- a list, and checkouts read after it


def half_committed(*done: CheckoutCompleted) -> Task:
    """At T nothing is due; then the checkouts are read, and only the checkout partition's commit is taken."""
    task = fresh()
    task.offer(offer(0, -95), T, LATER)
    task.offer(offer(1, -200), T, LATER)
    for chain in reach(task, 0):
        task.settle(chain)
    before, _, _ = planned(task)
    for event in done:
        task.checkout(copy(event), event.completed_at, LATER)
    after, _, _ = planned(task)
    return Task(RULES, partitions=1, offers=before.offers, checkouts=after.checkouts)


def test_while_restoring_checkouts_are_read_to_the_offers_own_pc_and_then_to_the_checkouts() -> None:
    again = half_committed(checkout(0, -50), checkout(1, -40))
    assert [again.restore_until(side) for side in Side] == [2, 0]
    assert [again.read_before_restart(side) for side in Side] == [2, 2]
    again.offer(offer(0, -95), T, LATER)
    again.offer(offer(1, -200), T, LATER)
    assert [again.restore_until(side) for side in Side] == [2, 2]
    for offset in range(2):
        assert again.restoring
        assert (again.decide(suspended=True), again.decide(), again.prepare_commit()) == ([], [], None)
        again.checkout(checkout(offset, -50), T, LATER)
    assert not again.restoring
    assert [again.restore_until(side) for side in Side] == [None, None]
    assert [chain.last.offset for chain in again.decide()] == [0], (
        "the late checkout made it due, and it is not settled"
    )


def test_a_purchase_that_came_after_the_call_and_was_reported_is_not_reported_again() -> None:
    again = half_committed(checkout(0, -150, "a"))
    again.offer(offer(0, -95), T, LATER)
    again.offer(offer(1, -200), T, LATER)
    effect = again.checkout(checkout(0, -150, "a"), T, LATER)
    assert not again.restoring
    assert effect.bought_after_call == ()
    effect = again.checkout(checkout(1, -150, "a"), T, LATER)
    assert len(effect.bought_after_call) == 1


# --- unreadable checkouts

AS_FAR = RULES.max_skew + CLOCK_TOLERANCE


@pytest.mark.parametrize(
    ("stamp", "tainted"),
    [(0, False), (AS_FAR, False), (AS_FAR + 1, True), (-LATER - 1, True)],
    ids=["now", "as far ahead as is believed", "further ahead", "no stamp"],
)
def test_an_unreadable_checkout_taints_what_was_over_only_if_its_stamp_tells_nothing(stamp: int, tainted: bool) -> None:
    task, now = fresh(), LATER
    task.offer(offer(0, 0), T, now)  # over long ago, and not decided yet: the watermark lags
    task.unreadable_checkout(0, ("s",), now + stamp, now)
    chain = reach(task, 500)[0]
    assert (chain.reason.name == "CHECKOUT_UNREADABLE") is tainted


def test_what_is_listed_goes_on_without_being_decided_anew_though_only_the_checkouts_commit_was_taken() -> None:
    offers = OfferCheckpoint(rules_key(RULES), 1, T, 1, 0, unsettled=frozenset({0})).encode(0)
    checkouts = CheckoutCheckpoint(1, 1, MIN_TIME, lookback=RULES.lookback).encode(0)
    task = Task(RULES, partitions=1, offers=Position(0, offers), checkouts=Position(0, checkouts))
    task.offer(offer(0, -200), T, LATER)
    task.checkout(checkout(0, -200, "another"), T, LATER)
    assert not task.restoring
    assert [chain.start for chain in task.decide(suspended=True)] == [0], (
        "it is what goes on while decisions are suspended"
    )
    assert task.prepare_commit() is not None, "and commits go on"


# --- ids that name no offer, over a restart


@pytest.mark.parametrize(
    ("offset", "time", "counted"),
    [(0, 0, False), (0, 1, True), (1, 0, True)],
    ids=["judged before", "read before, judged after", "new"],
)
def test_an_id_is_counted_once_over_a_restart(offset: int, time: int, counted: bool) -> None:
    guard = GuardState(T, MIN_TIME, MIN_TIME, 7, judged_to=T)
    task = restarted(next_offset=0, next_checkout=1, guard=guard)
    task.checkout(checkout(offset, time, "booking"), T + time, LATER)
    if offset == 0:
        task.read_to(Side.CHECKOUTS, 1)
    reach(task, 50)
    task.guard.ids.judge(task.watermark)
    assert task.guard.ids.unmatched == 7 + counted


def test_ids_are_counted_again_if_the_commit_with_their_count_was_not_taken() -> None:
    # D and Pc are the offers' and of a later commit: of these checkouts the count that was committed knows nothing.
    offers = OfferCheckpoint(rules_key(RULES), 1, T, 1, 3)
    counts = CheckoutCheckpoint(1, 1, MIN_TIME, GuardState(T - 60, MIN_TIME, MIN_TIME, 7, judged_to=T - 60))
    task = Task(RULES, partitions=1, offers=Position(0, offers.encode(0)), checkouts=Position(0, counts.encode(0)))
    guards = Guards(checkout_silence=0, unmatched_limit=100, lateness=RULES.lateness)
    guards.judge([task])
    for offset, time in enumerate((-60, -55, -70)):
        task.checkout(checkout(offset, time, f"booking{offset}"), T + time, LATER)
        guards.judge([task])
    assert task.guard.ids.unmatched == 7, "offers that they name may still be read again"
    task.offer(offer(0, -200), T, LATER)
    assert not task.restoring
    assert task.guard.ids.unmatched == 7 + 2


def test_an_offer_that_was_bought_and_is_read_again_is_known_to_the_count() -> None:
    offers = OfferCheckpoint(rules_key(RULES), 1, T, 1, 1)
    counts = CheckoutCheckpoint(1, 0, MIN_TIME, GuardState(unmatched=7, judged_to=T - 60))
    task = Task(RULES, partitions=1, offers=Position(0, offers.encode(0)), checkouts=Position(0, counts.encode(0)))
    task.checkout(checkout(0, -50, "a"), T - 50, LATER)
    task.offer(offer(0, -60), T, LATER)
    assert not task.restoring
    assert task.guard.ids.unmatched == 0
    guards = Guards(checkout_silence=0, unmatched_limit=3, lateness=RULES.lateness)
    other = fresh()
    other.guard.ids = PurchasedIds(lambda *_: False, unmatched=3)
    guards.judge([task, other])
    assert guards.unmatched == 0, "the match counts for the other tasks too"


# --- settled


def test_a_call_is_remembered_for_the_purchase_that_comes_too_late_unless_none_was_made() -> None:
    for called in (True, False):
        task = fresh()
        task.offer(offer(0, 0), T, LATER)
        (chain,) = reach(task, 100)
        if called:
            task.settle(chain)
        else:
            task.settle(chain, called=False)
        task.settle(chain)  # an answer and a release may meet
        effect = task.checkout(checkout(0, 90, "a"), T + 90, LATER)
        assert effect.bought_after_call == ((chain,) if called else ())


def test_of_a_settled_chain_no_split_is_listed() -> None:
    task = fresh()
    task.offer(offer(0, 0, "hangs"), T, LATER)
    for offset, time in enumerate((0, 100, 200, 300, 400), start=1):
        task.offer(offer(offset, time), T + time, LATER)
    hangs, first, second = reach(task, 500)
    assert (hangs.offer_id, second.split) == ("hangs", True)
    assert planned(task)[1].splits == {5}
    task.settle(first)
    task.settle(second)
    assert planned(task)[1].splits == frozenset()


def test_a_split_of_a_settled_chain_stays_listed_where_a_restart_would_decide_it_anew() -> None:
    """The commit cuts the chain before it, and its list has no room up to where both are settled. Without the split
    what is left of the first chain would be read again as one with the second, of other presentations and another fate.
    """
    task = fresh(metadata_limit=230)
    shown = [offer(0, 0), offer(1, 10, "hangs", session="other")]
    shown += [offer(offset, time) for offset, time in ((2, 100), (3, 200), (4, 300))]
    shown += [offer(5 + 7 * n * n, 310 + n, f"waits{n}", session=f"s{n}") for n in range(60)]  # in no long run
    shown.append(offer(90_000, 400))
    for event in shown:
        task.offer(event, event.presented_at, LATER)
    for chain in reach(task, 500):
        if chain.offer_id == "a":
            task.settle(chain)
    plan, offers, _ = planned(task)
    assert T + 400 <= offers.decided_to < T + 500
    assert (plan.offers.offset, offers.splits) == (1, {90_000})
    task.commit_acknowledged(plan)
    again = Task(RULES, partitions=1, offers=plan.offers, checkouts=plan.checkouts)
    for event in shown[1:]:
        again.offer(event, event.presented_at, LATER)
    (repeated,) = [chain for chain in reach(again, 500) if chain.offer_id == "a"]
    assert [one.offset for one in repeated.presentations] == [90_000]


def test_a_split_in_the_record_that_is_committed_stays_listed_whatever_its_place() -> None:
    task = Task(RULES, partitions=1, offers=BEGIN, checkouts=BEGIN, each=each_of("offers"))
    for record, time in enumerate((0, 100, 200, 300, 400), start=1):
        begin = record * MOST_ELEMENTS
        task.offer(among(begin, time, "x"), T + time, LATER, [among(begin + 1, time, "a")])
    for chain in reach(task, 400):
        task.settle(chain)
    for _ in range(2):  # each commit tells it anew, as long as it is open
        plan, offers, _ = planned(task)
        assert (plan.offers.offset, offers.splits) == (5, {5 * MOST_ELEMENTS, 5 * MOST_ELEMENTS + 1})
        task.commit_acknowledged(plan)
    again = Task(RULES, partitions=1, offers=plan.offers, checkouts=plan.checkouts, each=each_of("offers"))
    again.offer(among(5 * MOST_ELEMENTS, 400, "x"), T + 400, LATER, [among(5 * MOST_ELEMENTS + 1, 400, "a")])
    assert [(chain.offer_id, chain.split) for chain in reach(again, 500)] == [("x", True), ("a", True)]


def among(offset: int, time: int, offer_id: str) -> OfferAmongSeveral:
    return OfferAmongSeveral("s", "ada", offer_id, T + time, offset)


def test_the_room_for_metadata_is_halved_to_where_no_list_fits() -> None:
    task = fresh(metadata_limit=4_000)
    assert [task.lower_metadata_limit() for _ in range(4)] == [2_000, 1_000, LEAST_METADATA, LEAST_METADATA]


# --- presentations


def test_a_late_presentation_that_was_dead_lettered_before_a_restart_is_settled() -> None:
    offers = OfferCheckpoint(rules_key(RULES), 1, T, 1, 0, late_below=T)
    task = Task(RULES, partitions=1, offers=Position(0, offers.encode(0)), checkouts=BEGIN)
    assert task.offer(offer(0, -1), T, LATER) is Admission.SETTLED
    assert task.next_offset(Side.OFFERS) == 1
    assert not task.restoring


def test_what_is_late_is_told_by_the_input_that_is_behind() -> None:
    task = fresh()
    late_after = RULES.window + RULES.checkout_grace
    task.idle(Side.OFFERS, T + 10_000)
    task.idle(Side.CHECKOUTS, T + RULES.lateness + 1)  # W is T
    assert task.offer(offer(0, -late_after), T, LATER) is Admission.ACCEPTED
    assert task.offer(offer(1, -late_after - 1), T, LATER) is Admission.LATE


def test_what_is_not_admitted_changes_nothing_until_it_is_given_up() -> None:
    task = fresh()
    for side in Side:
        task.idle(side, T + RULES.lateness + 1)
    late, ahead = offer(0, -RULES.late_after - 1), offer(0, RULES.max_skew + 1)
    assert task.would_refuse(late, T, LATER)
    assert task.would_refuse(ahead, T, LATER)
    assert not task.would_refuse(offer(0, -RULES.late_after), T, LATER)
    assert task.offer(late, T, LATER) is Admission.LATE
    assert task.offer(ahead, T, LATER) is Admission.IMPLAUSIBLE
    assert (task.next_offset(Side.OFFERS), task.watermark) == (0, T)
    task.give_up(0, Admission.LATE)
    assert task.next_offset(Side.OFFERS) == 1
    plan, checkpoint, _ = planned(task)
    assert (plan.offers.offset, checkpoint.unsettled) == (0, {0}), "its dead letter is not acknowledged"
    task.acknowledged(0)
    assert planned(task)[0].offers.offset == 1


def test_the_undecided_presentations_are_counted() -> None:
    task = fresh()
    for offset, (time, offer_id) in enumerate(((0, "a"), (10, "a"), (50, "b"), (400, "a"))):
        task.offer(offer(offset, time, offer_id), T + time, LATER)
    assert task.undecided == 4
    reach(task, 110)
    assert task.undecided == 2
    reach(task, 500)
    assert task.undecided == 0


@pytest.mark.parametrize(("earliest", "reason"), [(100, "DECLINED"), (101, "ABANDONED")])
def test_an_undated_checkout_declines_up_to_the_end_of_the_window(earliest: int, reason: str) -> None:
    join = Join(RULES)
    join.present(offer(0, 0))
    join.complete_undated(Undated("s", T + earliest, T + 1_000, checkout(0, 1_000)))
    (chain,) = join.decide(T + 100)
    assert chain.reason.name == reason


# --- changed settings


def test_only_changed_rules_are_found_odd_at_a_start() -> None:
    assert restarted(next_offset=0).restore_warnings == ()
    offers = OfferCheckpoint((200, 10, 300, True), 1, T, 0, 0)
    task = Task(RULES, partitions=1, offers=Position(0, offers.encode(0)), checkouts=BEGIN)
    assert len(task.restore_warnings) == 1


# --- decided and not settled


def test_a_chain_is_found_by_its_start_until_it_is_settled() -> None:
    task = fresh()
    task.offer(offer(3, 50), T + 50, LATER)
    task.offer(offer(5, 0), T, LATER)  # of the same offer, and earlier
    (chain,) = reach(task, 500)
    assert (chain.start, task.pending_chain(5)) == (5, chain)
    for start in (3, 4):
        with pytest.raises(KeyError):
            task.pending_chain(start)
    task.settle(chain)
    with pytest.raises(KeyError):
        task.pending_chain(5)


# --- what was called, and what is forgotten

LONG = DecisionRules(window=100, checkout_grace=10, lookback=100_000, lateness=5, max_skew=50)
BUCKET = 2**14
"""What expires is kept up to so many ms longer."""


@pytest.mark.parametrize(("call_abandoned", "bought"), [(True, True), (False, False), (True, False)])
def test_only_what_was_called_is_remembered_as_called(call_abandoned: bool, bought: bool) -> None:
    rules = replace(LONG, call_abandoned=call_abandoned)
    task = Task(rules, partitions=1, offers=BEGIN, checkouts=BEGIN)
    task.offer(offer(0, 0), T, LATER)
    if bought:
        task.checkout(checkout(0, 50, "a"), T + 50, LATER)
    (chain,) = reach(task, 200)
    task.settle(chain)
    effect = task.checkout(checkout(1, 90, "a"), T + 90, LATER)
    assert bool(effect.bought_after_call) is (call_abandoned and not bought)


def test_a_call_is_remembered_for_lookback_and_not_much_longer() -> None:
    for later, known in ((LONG.lookback, True), (LONG.lookback + 2 * BUCKET, False)):
        task = Task(LONG, partitions=1, offers=BEGIN, checkouts=BEGIN)
        task.offer(offer(0, 0), T, LATER)
        (chain,) = reach(task, 100)
        task.settle(chain)
        reach(task, 100 + later)
        assert bool(task.checkout(checkout(0, 90, "a"), T + 90, LATER).bought_after_call) is known


def test_a_call_from_before_a_restart_is_remembered_for_lookback_too() -> None:
    task = Task(LONG, partitions=1, offers=BEGIN, checkouts=BEGIN)
    task.offer(offer(0, 0, "hangs"), T, LATER)
    task.offer(offer(1, 0), T, LATER)
    task.settle(next(chain for chain in reach(task, 100) if chain.offer_id == "a"))
    plan, _, _ = planned(task)
    again = Task(LONG, partitions=1, offers=plan.offers, checkouts=plan.checkouts)
    again.offer(offer(0, 0, "hangs"), T, LATER)
    again.offer(offer(1, 0), T, LATER)
    reach(again, 100 + LONG.lookback)
    assert len(again.checkout(checkout(0, 90, "a"), T + 90, LATER).bought_after_call) == 1


def test_a_checkout_is_forgotten_when_no_offer_can_need_it_and_not_much_later() -> None:
    task = Task(LONG, partitions=1, offers=BEGIN, checkouts=BEGIN)
    task.checkout(checkout(0, 0), T, LATER)
    needed = LONG.late_after + 2 * LONG.lookback
    for time in range(0, needed, LONG.lookback // 2):  # as whoever reads along, without a gap
        reach(task, time)
    reach(task, needed)
    assert task.sessions == 1
    reach(task, needed + 2 * BUCKET)
    assert task.sessions == 0


def test_one_that_stands_before_a_gap_is_kept_as_if_it_were_written_at_its_end() -> None:
    task = Task(LONG, partitions=1, offers=BEGIN, checkouts=BEGIN)
    task.checkout(checkout(0, 0), T, LATER)
    gap = 5 * LONG.lookback
    reach(task, gap)
    for time in range(gap, gap + LONG.late_after + 2 * LONG.lookback, LONG.lookback // 2):
        reach(task, time)
        assert task.sessions == 1
    for time in range(gap, gap + LONG.late_after + 4 * LONG.lookback, LONG.lookback // 2):
        reach(task, time)
    assert task.sessions == 0


def test_nothing_is_forgotten_before_a_restart_has_read_again() -> None:
    """A checkout that is dated and stamped in another year, and what tells so is read only after the restart."""
    task = Task(LONG, partitions=1, offers=BEGIN, checkouts=BEGIN)
    task.checkout(checkout(0, -T, "a"), 0, LATER)
    reach(task, LONG.lookback)
    for _ in range(2):
        plan, _, _ = planned(task)
        assert plan.checkouts.offset == 0
        task = Task(LONG, partitions=1, offers=plan.offers, checkouts=plan.checkouts)
        task.checkout(checkout(0, -T, "a"), 0, LATER)
        assert (task.restoring, task.decide()) == (False, [])
        assert task.sessions == 1


def test_a_hold_of_a_day_keeps_the_checkouts_of_the_hours_that_an_offer_may_need() -> None:
    """A session to two seconds, and one of them with an offer that is undecided from the first minute on."""
    hour = 3_600_000
    rules = DecisionRules(window=hour // 2, checkout_grace=60_000, lookback=2 * hour, lateness=300_000, max_skew=0)
    task = Task(rules, partitions=1, offers=BEGIN, checkouts=BEGIN)
    task.checkout(checkout(0, 0, "early", session="first"), T, T)
    task.offer(offer(0, 1_000, "early", session="first"), T + 1_000, T + 1_000)
    task.checkout(checkout(1, 60_000, session="first"), T + 60_000, T + 60_000)
    most = 0
    for number in range(2, 24 * 1_800):
        at = 2_000 * number + 60_000
        task.checkout(checkout(number, at, session=f"s{number}"), T + at, T + at)
        task.idle(Side.OFFERS, T + at)
        assert task.decide(suspended=True) == []
        most = max(most, task.sessions)
    needed = rules.late_after + 2 * rules.lookback + rules.lateness
    assert most <= (needed + 2**14) // 2_000 + 2, "what may still come is presented in the last 31 minutes"
    (chain,) = task.decide()
    assert (chain.offer_id, chain.reason, chain.checkout and chain.checkout.checkout_id) == (
        "early",
        Reason.PURCHASED,
        "c0",
    )


def test_what_was_called_before_the_restart_is_counted_as_a_repeat_that_is_skipped() -> None:
    task = restarted(next_offset=4, unsettled={2}, next_checkout=1)
    for offset in range(4):
        task.offer(offer(offset, -200, "a", f"s{offset}"), T, LATER)
        assert task.repeats_skipped == 0, "it is not known before all is read"
    task.checkout(checkout(0, -190, "a", session="s3"), T, LATER)
    assert not task.restoring
    assert task.repeats_skipped == 2, "one of the four is not settled, and one was bought and never called"
    assert [chain.last.offset for chain in task.decide()] == [2]
