"""What may be committed, and what a restart makes of it: one example for each rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.strategies import START, Logs, Record
from support.task_steps import RULES, S, Shown, checkout_log, finish, offer_log, pass_time, read_all, reasons, settle
from support.task_world import TaskWorld

from consumer.core.admission import Admission
from consumer.core.checkpoint import CheckoutCheckpoint, OfferCheckpoint, Position, rules_key
from consumer.core.restore import PartitionsMoved
from consumer.core.rules import MAX_TIME, DecisionRules
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.events import CheckoutCompleted, OfferPresented, Reason

pytestmark = pytest.mark.usefixtures("one_record_tells")

BOTH_OFFERS = (Side.OFFERS, Side.OFFERS)


def test_the_offer_partition_is_committed_at_the_lowest_offset_not_settled() -> None:
    world = TaskWorld(Logs(RULES, offer_log((0, 0, "a"), (5, 1, "b"), (9, 2, "c")), []))
    read_all(world)
    pass_time(world, 200)
    settle(world, "b")
    world.commit()
    assert world.broker[0].offset == 0
    settle(world, "a")
    world.commit()
    assert world.broker[0].offset == 9
    settle(world, "c")
    world.commit()
    assert world.broker[0].offset == 10


def test_what_was_settled_above_the_committed_offset_is_not_called_again() -> None:
    world = TaskWorld(Logs(RULES, offer_log((0, 0, "a"), (1, 1, "b"), (2, 2, "c")), []))
    read_all(world)
    pass_time(world, 200)
    settle(world, "b")
    world.commit()
    world.crash()
    finish(world)
    assert reasons(world, 1) == [("a", Reason.ABANDONED), ("c", Reason.ABANDONED)]


def test_calls_settled_since_the_last_commit_are_repeated() -> None:
    world = TaskWorld(Logs(RULES, offer_log((0, 0, "a")), []))
    read_all(world)
    pass_time(world, 200)
    world.commit()
    settle(world, "a")
    world.crash()
    finish(world)
    assert reasons(world, 1) == [("a", Reason.ABANDONED)]


def test_two_presentations_in_reverse_order_are_not_cut_by_the_commit() -> None:
    # The later one was written first. Between them stands an offer whose call hangs.
    rules = DecisionRules(100 * S, 10 * S, 300 * S, 60 * S, 10_000 * S)
    log = offer_log((0, 50, "a"), (1, 40, "hangs"), (2, 20, "a"))
    world = TaskWorld(Logs(rules, log, []), forgetful=True)
    read_all(world)
    pass_time(world, 400)
    settle(world, "a")
    world.commit()
    assert world.broker[0].offset == 0
    world.crash(6)  # even if the metadata is lost: the offer keeps its fate
    finish(world)


def test_a_purchase_that_settled_the_head_of_a_chain_is_found_again_for_its_tail() -> None:
    # Only the head is within the lookback of the purchase; the commit stands between head and tail.
    log = offer_log((0, 300, "a"), (1, 310, "hangs"), (2, 390, "a"))
    done = checkout_log((0, 0, "a"))
    world = TaskWorld(Logs(RULES, log, done))
    read_all(world)
    pass_time(world, 600)
    assert ("a", Reason.PURCHASED) in reasons(world, 0)
    world.commit()
    world.crash()
    world.rebuild()
    world.decide()
    assert reasons(world, 1) == [("hangs", Reason.ABANDONED)]
    world.commit()
    world.crash()
    finish(world)
    assert world.called == {1}


def test_a_checkout_is_held_for_the_earliest_presentation_that_would_be_read_again() -> None:
    log = offer_log((0, 0, "hangs"), (1, 900, "b"))
    done = checkout_log((0, -300, "hangs2"), (1, -301, ""), (2, -200, ""), (3, 880, ""))
    world = TaskWorld(Logs(RULES, log, done))
    read_all(world)
    for time in range(1_000, 2_001, 200):  # as whoever reads along, without a gap of lookback
        pass_time(world, time)
    world.commit()
    assert world.broker[0].offset == 0
    assert world.broker[1].offset == 0
    world.drain()
    world.commit()  # the offers may move on; the checkouts wait until that is acknowledged
    assert world.broker[0].offset == 2
    assert world.broker[1].offset == 0
    world.commit()
    assert world.broker[1].offset == 4


def test_checkouts_wait_for_the_acknowledgement_of_the_offers_commit() -> None:
    world = TaskWorld(Logs(RULES, offer_log((0, 0, "a")), checkout_log((0, -100, "a"), (1, 10, ""))))
    read_all(world)
    pass_time(world, 3000)
    assert reasons(world, 0) == [("a", Reason.PURCHASED)]
    world.commit(4)  # taken, and the answer is lost
    world.commit(4)
    assert world.broker[1].offset == 0


def test_a_late_checkout_just_before_a_crash_is_read_again() -> None:
    # It was completed long before the newest one, and comes behind it in the log.
    log = offer_log((0, 0, "a"))
    done = checkout_log((0, 90, ""), (1, 5, "a"))
    world = TaskWorld(Logs(RULES, log, done))
    read_all(world)
    world.commit()
    world.crash()
    finish(world)
    assert reasons(world, 1) == [("a", Reason.PURCHASED)]


def test_nothing_is_decided_or_committed_while_rebuilding() -> None:
    world = TaskWorld(Logs(RULES, offer_log((0, 0, "a"), (1, 1, "b")), checkout_log((0, 0, ""))))
    read_all(world)
    pass_time(world, 200)
    world.commit()
    world.crash()
    world.read(Side.OFFERS)
    assert world.task.restoring
    assert world.task.decide() == []
    assert world.task.prepare_commit() is None
    finish(world)


def test_an_offer_shown_again_long_after_it_was_bought_is_called_after_a_restart_too() -> None:
    world = TaskWorld(Logs(RULES, offer_log((0, 0, "a"), (1, 500, "a")), checkout_log((0, 10, "a"), (1, 500, ""))))
    world.read(Side.OFFERS)
    world.read(Side.CHECKOUTS)
    pass_time(world, 120)
    world.commit()
    world.crash()
    finish(world)
    assert [(d.fate.offsets, d.fate.reason) for d in world.decisions] == [
        ({0}, Reason.PURCHASED),
        ({1}, Reason.DECLINED),
    ]


def test_a_dead_letter_that_is_not_acknowledged_holds_the_commit_and_is_written_after_a_restart() -> None:
    rules = DecisionRules(100 * S, 10 * S, 300 * S, 5 * S, 50 * S)
    far = OfferPresented("s1", "ada", "far", START + 51 * S, 0)
    world = TaskWorld(Logs(rules, [Record(0, START, far), *offer_log((1, 0, "b"))], []))
    read_all(world)
    assert world.dead_in_flight == [(Side.OFFERS, 0)]
    world.commit()
    assert world.broker[0].offset == 0
    world.crash()
    world.rebuild()
    assert world.dead_in_flight == [(Side.OFFERS, 0)]
    world.acknowledge(0)
    world.commit()
    assert world.broker[0].offset == 1
    finish(world)


def test_without_the_first_checkouts_early_offers_are_late() -> None:
    task = Task(RULES, partitions=1, offers=Position(0), checkouts=Position(7), horizon=MAX_TIME)
    assert task.restore_until(Side.OFFERS) == 0
    task.checkout(CheckoutCompleted("s1", "c", START, 7, ()), START, START)
    # What is gone may be as recent as the first one that is left, and lateness more.
    oldest = START + RULES.lateness + RULES.lookback
    now = START + 10_000 * S
    assert task.offer(OfferPresented("s1", "ada", "a", oldest - 1, 0), oldest, now) is Admission.CUT_OFF
    assert task.offer(OfferPresented("s1", "ada", "a", oldest, 1), oldest, now) is Admission.ACCEPTED


def test_what_is_gone_is_not_told_by_a_checkout_whose_date_is_not_believed() -> None:
    rules = replace(RULES, max_skew=50 * S)
    task = Task(rules, partitions=1, offers=Position(0), checkouts=Position(7), horizon=MAX_TIME)
    now = START + 10_000 * S
    # Stamped in seconds instead of milliseconds: the offers of long ago would be taken for known.
    task.checkout(CheckoutCompleted("s1", "c", START, 7, ()), START // 1000, now)
    assert task.restore_until(Side.OFFERS) == 0
    task.checkout(CheckoutCompleted("s1", "c", START + S, 8, ()), START + S, now)
    assert task.restore_until(Side.OFFERS) is None
    oldest = START + S + RULES.lateness + RULES.lookback
    assert task.offer(OfferPresented("s1", "ada", "a", oldest - 1, 0), oldest, now) is Admission.CUT_OFF


def test_another_number_of_partitions_stops_the_start() -> None:
    world = TaskWorld(Logs(RULES, offer_log((0, 0, "a")), []))
    read_all(world)
    pass_time(world, 10)
    world.commit()
    with pytest.raises(PartitionsMoved, match="1 partitions"):
        Task(RULES, partitions=2, offers=world.broker[0], checkouts=world.broker[1])


def test_metadata_that_cannot_be_read_is_reported_and_ignored() -> None:
    world = TaskWorld(Logs(RULES, offer_log((0, 0, "a"), (1, 0, "b")), []))
    read_all(world)
    pass_time(world, 200)
    settle(world, "b")
    world.commit()
    world.broker = (Position(world.broker[0].offset, "?"), world.broker[1])
    world.crash()
    assert world.task.restore_warnings
    finish(world)
    assert reasons(world, 1) == [("a", Reason.ABANDONED), ("b", Reason.ABANDONED)]


def test_offsets_with_gaps_are_committed_past_the_gap() -> None:
    world = TaskWorld(Logs(RULES, offer_log((3, 0, "a"), (40, 1, "b")), []))
    read_all(world)
    pass_time(world, 200)
    settle(world, "a")
    world.commit()
    assert world.broker[0].offset == 40
    world.drain()
    world.read_to_end(Side.OFFERS)  # the end lies two transaction markers further on
    world.commit()
    assert world.broker[0].offset == 43
    world.crash()
    finish(world)
    assert reasons(world, 1) == []


def test_a_dead_letter_inside_a_span_that_is_read_again_is_not_forgotten() -> None:
    # The commit goes back to the span's first record, and so before a dead letter that was written long ago.
    rules = DecisionRules(100 * S, 10 * S, 300 * S, 60 * S, 50 * S)
    far = Record(1, START, OfferPresented("s1", "ada", "far", START + 51 * S, 1))
    around = offer_log((0, 50, "a"), (2, 40, "hangs"), (3, 20, "a"))
    world = TaskWorld(Logs(rules, [around[0], far, *around[1:]], []))
    read_all(world)
    pass_time(world, 400)
    settle(world, "a")
    world.acknowledge(0)
    world.commit()
    assert world.broker[0].offset == 0
    world.crash()
    finish(world)
    assert [offset for _, offset in world.written] == [1]


def committed_at(seconds: int, *done: Shown, offers: list[Record]) -> TaskWorld:
    """A world whose task read everything, decided up to W = START + seconds, settled all and committed twice."""
    world = TaskWorld(Logs(RULES, offers, checkout_log(*done)), strict=False)
    read_all(world)
    pass_time(world, seconds)
    world.drain()
    for _ in range(2):
        world.commit()
    return world


def test_without_open_offers_checkouts_are_held_for_the_oldest_presentation_that_would_not_be_late() -> None:
    # W - window - checkout_grace - lookback = 2000 - 100 - 10 - 300
    world = committed_at(2000, (0, 1580, ""), (1, 1595, ""), (2, 1850, ""), offers=offer_log((0, 1500, "a")))
    assert world.broker[1].offset == 1


def test_a_presentation_from_before_the_forgotten_checkouts_is_late_even_if_the_watermark_was_lost() -> None:
    world = committed_at(2000, (0, 10, ""), offers=offer_log((0, 0, "a")))
    hold = START + (2000 - 100 - 10 - 300) * S
    offers, checkouts = world.broker
    task = Task(RULES, partitions=1, offers=Position(offers.offset), checkouts=checkouts, horizon=MAX_TIME)
    now = START + 9000 * S
    oldest = hold + RULES.lookback
    assert task.offer(OfferPresented("s1", "ada", "b", oldest - 1, 1), oldest, now) is Admission.CUT_OFF
    assert task.offer(OfferPresented("s1", "ada", "b", oldest, 2), oldest, now) is Admission.ACCEPTED


@pytest.mark.parametrize(("acknowledged", "verdict"), [(True, Admission.SETTLED), (False, Admission.LATE)])
def test_a_late_presentation_that_is_read_again_is_never_joined(acknowledged: bool, verdict: Admission) -> None:
    # Before it stands an offer whose call hangs, so that it is read again.
    log = offer_log((0, 1950, "hangs"), (1, 2060, "x"), (2, 0, "late"))
    world = TaskWorld(Logs(RULES, log, []), strict=False)
    world.read(Side.OFFERS)
    world.read(Side.OFFERS)
    pass_time(world, 2050)
    world.read(Side.OFFERS)
    assert world.dead == {2}
    if acknowledged:
        world.acknowledge(0)
    for _ in range(2):
        world.commit()
    task = Task(RULES, partitions=1, offers=world.broker[0], checkouts=world.broker[1])
    verdicts = [task.offer(record.event, record.timestamp, world.clock) for record in log]
    assert verdicts == [Admission.ACCEPTED, Admission.ACCEPTED, verdict]


def test_a_straggler_that_is_not_decided_yet_is_not_taken_for_settled_after_a_restart() -> None:
    # It is behind the watermark by more than lateness and less than window and grace: joined, and due at once.
    world = TaskWorld(Logs(RULES, offer_log((0, 200, "a"), (1, 95, "straggler")), []), strict=False)
    world.read(Side.OFFERS)
    pass_time(world, 198)
    world.read(Side.OFFERS)
    world.commit()
    world.crash()
    finish(world)
    assert ("straggler", Reason.ABANDONED) in reasons(world, 1)


def test_a_straggler_whose_call_hangs_is_called_again_after_a_restart() -> None:
    world = TaskWorld(Logs(RULES, offer_log((0, 100, "a"), (1, 95, "straggler")), []), strict=False)
    world.read(Side.OFFERS)
    pass_time(world, 204)
    world.read(Side.OFFERS)
    world.decide()
    settle(world, "a")
    world.commit()
    world.crash()
    finish(world)
    assert reasons(world, 1) == [("straggler", Reason.ABANDONED)]


def test_half_a_commit_after_lookback_was_lowered_gives_up_no_offer() -> None:
    lower = replace(RULES, lookback=100 * S)
    log = offer_log((0, 1000, "old"), (1, 1150, "open"), (2, 1190, "newer"))
    world = TaskWorld(Logs(RULES, log, checkout_log((0, 10, ""))), halves=True, later_rules=[lower], strict=False)
    read_all(world)
    pass_time(world, 1200)
    world.drain()
    for _ in range(2):
        world.commit()
    world.crash(7)
    world.rebuild()
    pass_time(world, 1235)
    assert world.commit(6), "the checkout partition's half was to be taken"
    world.crash()
    finish(world)
    assert "open" in dict(reasons(world, 2))


def late_checkout_after_a_commit(*done: Shown, **more: Any) -> TaskWorld:
    """At W = 150 the commit lists "hangs"; "open" is due at 200, and so is not listed. Then the checkouts are read, and
    of the next commit the broker takes the checkout partition's half only."""
    log = offer_log((0, 0, "hangs"), (1, 100, "open"))
    overdue = [record._replace(overdue=True) for record in checkout_log(*done)]
    world = TaskWorld(Logs(RULES, log, overdue), halves=True, strict=False, **more)
    for _ in log:
        world.read(Side.OFFERS)
    pass_time(world, 150)
    assert world.commit()
    while world.read(Side.CHECKOUTS):
        pass
    world.decide()
    assert world.commit(6), "the checkout partition's half was to be taken"
    return world


def test_an_offer_that_a_late_checkout_made_due_is_called_though_only_the_checkouts_were_committed() -> None:
    world = late_checkout_after_a_commit((0, 110, ""))
    assert reasons(world, 0) == [("hangs", Reason.ABANDONED), ("open", Reason.DECLINED)]
    world.crash()
    finish(world)
    assert reasons(world, 1) == [("hangs", Reason.ABANDONED), ("open", Reason.DECLINED)]


def test_a_call_that_waits_is_not_made_if_only_the_commit_tells_that_the_purchase_was_read() -> None:
    world = late_checkout_after_a_commit((0, 50, "hangs"))
    world.crash()
    finish(world)
    assert reasons(world, 1) == [("hangs", Reason.PURCHASED), ("open", Reason.ABANDONED)]


def test_a_crash_between_what_was_settled_and_the_checkouts_read_since_forgets_nothing() -> None:
    world = late_checkout_after_a_commit((0, 110, ""), (1, 111, ""))
    world.crash()
    for reads in ((Side.OFFERS,), BOTH_OFFERS, (*BOTH_OFFERS, Side.CHECKOUTS)):
        for side in reads:
            assert world.read(side)
        assert world.task.restoring
        assert world.task.decide() == []
        assert not world.commit()
        world.crash()
    finish(world)
    assert reasons(world, world.life) == [("hangs", Reason.ABANDONED), ("open", Reason.DECLINED)]


def test_by_the_offers_own_half_of_a_commit_what_a_late_checkout_made_due_is_settled() -> None:
    world = late_checkout_after_a_commit((0, 110, ""))
    settle(world, "open")
    assert world.commit(5), "the offer partition's half was to be taken"
    world.crash()
    finish(world)
    assert reasons(world, 1) == [("hangs", Reason.ABANDONED)]


@pytest.mark.parametrize("now", [replace(RULES, window=200 * S), replace(RULES, checkout_grace=90 * S)])
def test_an_offer_that_a_late_checkout_made_due_is_decided_by_the_settings_of_now(now: DecisionRules) -> None:
    world = late_checkout_after_a_commit((0, 110, ""), (1, 195, "open"), later_rules=[now])
    assert ("open", Reason.DECLINED) in reasons(world, 0)
    world.crash(7)
    finish(world)
    bought = now.checkout_grace > RULES.checkout_grace
    assert dict(reasons(world, 1)) == {
        "hangs": Reason.DECLINED if now.window > RULES.window else Reason.ABANDONED,
        "open": Reason.PURCHASED if bought else Reason.DECLINED,
    }


@pytest.mark.parametrize(
    ("late_below", "unsettled", "verdict"),
    [(1151, (), Admission.SETTLED), (1151, (0,), Admission.LATE), (1150, (), Admission.CUT_OFF)],
)
def test_what_was_late_before_is_told_by_the_offers_own_commit(
    late_below: int, unsettled: tuple[int, ...], verdict: Admission
) -> None:
    # The checkout partition's commit may be of another time, or its horizon learnt anew: it says nothing of that.
    (shown,) = offer_log((0, 1150, "open"))
    assert isinstance(shown.event, OfferPresented)
    offers = OfferCheckpoint(
        rules_key(RULES), 1, START + 1200 * S, 1, 0, unsettled=frozenset(unsettled), late_below=START + late_below * S
    )
    checkouts = CheckoutCheckpoint(1, 0, START + 1000 * S)
    positions = Position(0, offers.encode(0)), Position(0, checkouts.encode(0))
    task = Task(RULES, partitions=1, offers=positions[0], checkouts=positions[1])
    assert task.offer(shown.event, shown.timestamp, START + 9000 * S) is verdict
