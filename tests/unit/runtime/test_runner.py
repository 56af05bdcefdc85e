"""One task's runner: what comes back when it is closed, what is buffered while restoring, and what stops it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import structlog
from support.builders import CODEC, NOW, checkout, end, offer, raw, release_file
from support.runner_world import (
    AT,
    NOTE,
    RULES,
    RunnerWorld,
    Sink,
    committed_after,
    edges,
    limits,
    make,
    pass_time,
    record,
    show,
)

from consumer.calls import CallResult, Withheld
from consumer.codecs.inputs import codec_of
from consumer.core.checkpoint import Position
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.errors import TooManyDeadLettersError, TruncatedLogError
from consumer.events import CheckoutCompleted, Outcome, Reason, RecordRef
from consumer.kafka.record import Record
from consumer.runtime.releases import Releases
from consumer.runtime.runner import TaskRunner
from consumer.settings import Settings


@pytest.fixture
def world() -> RunnerWorld:
    return RunnerWorld()


@pytest.mark.parametrize("outcome", [Outcome.OPTED_OUT, Outcome.NOT_FOUND])
def test_a_result_after_the_partition_is_gone_is_written_and_commits_nothing(outcome: Outcome) -> None:
    runner, sink = make()
    runner.on_message(Side.OFFERS, offer(0, 10_000), NOW)
    pass_time(runner, 20_000)
    (call,) = runner.decide()
    runner.close()
    runner.on_result(CallResult(call, outcome, 204, 1, None))
    assert [written.outcome for written in sink.outcomes] == [outcome]
    assert runner.outstanding == 0
    plan = runner.task.prepare_commit()
    assert plan is not None
    assert plan.offers.offset == 0, "what came back behind the fence moved the commit"


def test_a_result_in_time_moves_the_commit() -> None:
    runner, _ = make()
    runner.on_message(Side.OFFERS, offer(0, 10_000), NOW)
    pass_time(runner, 20_000)
    (call,) = runner.decide()
    runner.on_result(CallResult(call, Outcome.OPTED_OUT, 204, 1, None))
    plan = runner.task.prepare_commit()
    assert plan is not None
    assert plan.offers.offset == 1


def test_an_offer_is_decided_now_unless_it_was_before_the_start() -> None:
    before, _ = make()
    before.on_message(Side.OFFERS, offer(0, 10_000, session="s0"), NOW)
    pass_time(before, 11_500)
    before.decide()
    plan = before.task.prepare_commit()
    assert plan is not None
    runner, _ = make(plan.offers, plan.checkouts)
    runner.on_message(Side.OFFERS, offer(0, 10_000, session="s0"), NOW)
    runner.on_message(Side.OFFERS, offer(1, 12_000, session="s1"), NOW)
    pass_time(runner, 20_000)
    runner.decide()
    chains = sorted(runner.task.unsettled_chains(), key=lambda chain: chain.start)
    assert [chain.decided_at for chain in chains] == [chains[0].decide_at, NOW]


def test_a_cancelled_call_settles_nothing_and_writes_nothing() -> None:
    runner, sink = make()
    runner.on_message(Side.OFFERS, offer(0, 10_000), NOW)
    pass_time(runner, 20_000)
    (call,) = runner.decide()
    runner.on_result(CallResult(call, None, None, 0, None))
    assert sink.outcomes == []
    assert runner.task.unsettled == 1


def test_what_had_not_been_read_before_the_restart_waits_for_the_rebuild() -> None:
    offers, checkouts = committed_after([0, 1, 2])
    runner, _ = make(offers, checkouts)
    assert runner.task.restoring
    assert runner.pauses() == {Side.CHECKOUTS}
    runner.on_message(Side.OFFERS, offer(0, 10_000, session="s0"), NOW)
    runner.on_message(Side.OFFERS, offer(1, 10_001, session="s1"), NOW)
    assert runner.task.restoring
    runner.on_message(Side.OFFERS, offer(2, 10_002, session="s2"), NOW)
    assert not runner.task.restoring
    assert runner.task.watermark == 10_499
    assert Side.CHECKOUTS not in runner.pauses()


def test_a_gap_in_the_offsets_does_not_hold_the_rebuild() -> None:
    offers, checkouts = committed_after([0, 5])
    runner, _ = make(offers, checkouts)
    runner.on_message(Side.OFFERS, offer(0, 10_000, session="s0"), NOW)
    runner.on_message(Side.OFFERS, offer(9, 10_600, session="s9"), NOW)  # 5 was compacted away since
    assert not runner.task.restoring
    assert runner.task.next_offset(Side.OFFERS) == 10


def test_a_log_that_ends_below_what_was_read_stops_the_service() -> None:
    offers, checkouts = committed_after([0, 1, 2])
    runner, _ = make(offers, checkouts)
    with pytest.raises(TruncatedLogError, match=r"offers\[0\] ends at 2, but was read up to 3 before"):
        runner.on_message(Side.OFFERS, end("offers", 2), NOW)


def half_committed(known: int = 0) -> tuple[Position, Position]:
    """The offer partition's commit when so many checkouts were read, and the checkout partition's when three were."""
    runner, _ = make()
    runner.on_message(Side.OFFERS, offer(0, 10_000, session="s0"), NOW)
    pass_time(runner, 10_500)
    for offset in range(known):
        runner.on_message(Side.CHECKOUTS, checkout(offset, 10_501), NOW)
    before = runner.task.prepare_commit()
    for offset in range(known, 3):
        runner.on_message(Side.CHECKOUTS, checkout(offset, 10_501), NOW)
    after = runner.task.prepare_commit()
    assert before is not None
    assert after is not None
    return before.offers, after.checkouts


def test_checkouts_that_the_offers_commit_does_not_know_of_wait_for_the_offers_and_are_read_before_anything_new() -> (
    None
):
    runner, _ = make(*half_committed())
    for offset in range(4):
        runner.on_message(Side.CHECKOUTS, checkout(offset, 10_501), NOW)
    assert runner.task.next_offset(Side.CHECKOUTS) == 0
    assert runner.pauses() == {Side.CHECKOUTS}
    runner.on_message(Side.OFFERS, offer(0, 10_000, session="s0"), NOW)
    runner.on_message(Side.OFFERS, offer(1, 10_502), NOW)
    assert runner.task.restoring
    assert runner.task.next_offset(Side.OFFERS) == 1
    assert runner.pauses() == {Side.OFFERS, Side.CHECKOUTS}
    runner.drain_waiting(NOW)
    assert not runner.task.restoring
    runner.drain_waiting(NOW)
    assert [runner.task.next_offset(side) for side in Side] == [2, 4]


def test_a_checkout_that_shows_that_the_last_one_is_gone_is_itself_applied_if_it_had_been_read_before() -> None:
    runner, _ = make(*half_committed(known=1))
    runner.on_message(Side.OFFERS, offer(0, 10_000, session="s0"), NOW)
    assert runner.task.restore_until(Side.CHECKOUTS) == 1
    runner.on_message(Side.CHECKOUTS, checkout(2, 10_501), NOW)
    assert not runner.task.restoring


def test_a_checkout_log_that_ends_below_what_either_commit_read_stops_the_service() -> None:
    runner, _ = make(*half_committed())
    with pytest.raises(TruncatedLogError, match=r"checkouts\[0\] ends at 2, but was read up to 3 before"):
        runner.on_message(Side.CHECKOUTS, end("checkouts", 2), NOW)


def test_a_record_seen_twice_is_applied_once() -> None:
    runner, _ = make()
    runner.on_message(Side.OFFERS, offer(0, 10_000), NOW)
    runner.on_message(Side.OFFERS, offer(0, 10_000), NOW)
    pass_time(runner, 20_000)
    (call,) = runner.decide()
    assert call.offer_id == "o1"


def test_what_could_be_read_before_a_restart_and_cannot_now_is_dead_lettered() -> None:
    offers, checkouts = committed_after([0, 1])
    runner, sink = make(offers, checkouts)
    runner.on_message(Side.OFFERS, raw("offers", 0, "s0", b"\xff\xff"), NOW)
    assert sink.dead == [(0, "undecodable")]


def test_bad_records_in_a_row_stop_the_service() -> None:
    runner, sink = make(max_run=3)
    for offset in range(3):
        runner.on_message(Side.OFFERS, raw("offers", offset, "s", b"\xff"), NOW)
    with pytest.raises(TooManyDeadLettersError, match="4 in a row"):
        runner.on_message(Side.OFFERS, raw("offers", 3, "s", b"\xff"), NOW)
    assert len(sink.dead) == 4


def test_an_unreadable_checkout_dead_letters_its_session_and_no_other() -> None:
    runner, sink = make()
    runner.on_message(Side.OFFERS, offer(0, NOW - 100, session="tainted"), NOW)
    runner.on_message(Side.OFFERS, offer(1, NOW - 100, session="clean", offer_id="o2"), NOW)
    runner.on_message(Side.CHECKOUTS, raw("checkouts", 0, "tainted", b"\xff"), NOW)
    pass_time(runner, NOW + 5_000)
    assert [call.offer_id for call in runner.decide()] == ["o2"]
    (outcome,) = sink.outcomes
    assert (outcome.outcome, outcome.reason) == (Outcome.DEAD_LETTERED, Reason.CHECKOUT_UNREADABLE)


@pytest.mark.parametrize(("checkout_id", "reason"), [("c", "key_mismatch"), ("", "empty_id")])
def test_a_checkout_with_a_foreign_key_taints_the_session_of_its_key_and_that_of_its_value(
    checkout_id: str, reason: str
) -> None:
    runner, sink = make()
    for offset, session in enumerate(("key", "value", "clean")):
        runner.on_message(Side.OFFERS, offer(offset, NOW - 100, session=session, offer_id=f"of-{session}"), NOW)
    foreign = checkout(0, NOW - 50, "of-value", key="key", session="value", checkout_id=checkout_id)
    runner.on_message(Side.CHECKOUTS, foreign, NOW)
    pass_time(runner, NOW + 5_000)
    assert [call.offer_id for call in runner.decide()] == ["of-clean"]
    assert {o.offer_id: o.reason for o in sink.outcomes} == dict.fromkeys(
        ("of-key", "of-value"), Reason.CHECKOUT_UNREADABLE
    )
    assert sink.dead == [(0, reason)], "one record is one dead letter"


def test_the_input_that_is_ahead_is_paused() -> None:
    runner, _ = make()
    runner.task.idle(Side.OFFERS, 50_000)
    runner.task.idle(Side.CHECKOUTS, 10_000)
    assert runner.pauses() == {Side.OFFERS}


def test_a_record_at_the_end_of_the_rebuild_waits_and_those_after_it_too() -> None:
    first, _ = make()
    for offset in range(2):
        first.on_message(Side.OFFERS, offer(offset, AT, session=f"s{offset}"), NOW)
    first.on_message(Side.CHECKOUTS, checkout(0, AT), NOW)
    pass_time(first, AT + 100)
    first.decide()
    plan = first.task.prepare_commit()
    assert plan is not None
    runner, _ = make(plan.offers, plan.checkouts)
    for offset in range(4):
        runner.on_message(Side.OFFERS, offer(offset, AT, session=f"s{offset}"), NOW)
    assert runner.task.next_offset(Side.OFFERS) == 2
    assert Side.OFFERS in runner.pauses()
    runner.on_message(Side.CHECKOUTS, checkout(0, AT), NOW)
    assert not runner.task.restoring
    runner.drain_waiting(NOW)
    assert runner.task.next_offset(Side.OFFERS) == 4


def test_a_log_that_ends_where_it_was_read_to_is_whole() -> None:
    first, _ = make()
    first.on_message(Side.OFFERS, offer(0, AT), NOW)
    pass_time(first, AT + 100)
    first.decide()
    plan = first.task.prepare_commit()
    assert plan is not None
    runner, _ = make(plan.offers, plan.checkouts)
    with pytest.raises(TruncatedLogError):
        runner.on_message(Side.OFFERS, end("offers", 0), NOW)
    runner.on_message(Side.OFFERS, end("offers", 1), NOW)
    assert not runner.task.restoring


def test_unreadable_checkouts_are_counted_when_they_are_read_again_and_settled_offers_are_not() -> None:
    first, _ = make()
    first.on_message(Side.OFFERS, raw("offers", 0, "s", b"\xff"), NOW)
    first.on_message(Side.OFFERS, offer(1, AT), NOW)
    first.on_message(Side.CHECKOUTS, raw("checkouts", 0, "s", b"\xff"), NOW)
    pass_time(first, AT + 100)
    first.decide()
    plan = first.task.prepare_commit()
    assert plan is not None
    runner, sink = make(plan.offers, plan.checkouts, max_run=0)
    with pytest.raises(TooManyDeadLettersError, match=r"1 in a row records of checkouts .* IndexError"):
        runner.on_message(Side.CHECKOUTS, raw("checkouts", 0, "s", b"\xff"), NOW)
    assert sink.dead == []


def test_the_dead_letter_of_a_checkout_holds_its_own_partition(world: RunnerWorld) -> None:
    world.runner.on_message(Side.CHECKOUTS, raw("checkouts", 0, "s", b"\xff"), NOW)
    assert world.runner.task.prepare_commit() is None
    world.sink.acks[0]()
    assert world.runner.task.prepare_commit() is not None


def test_calls_that_were_made_before_are_still_counted_as_outstanding(world: RunnerWorld) -> None:
    show(world)
    world.runner.on_message(Side.OFFERS, offer(9, AT + 20_000, session="s9"), NOW)
    pass_time(world.runner, 50_000)
    assert len(world.runner.decide()) == 1
    assert world.runner.outstanding == 2


# --- let go, or refused


def test_an_offer_that_is_let_go_is_settled_when_it_is_decided_and_never_called(tmp_path: Path) -> None:
    world = RunnerWorld(Releases(release_file(tmp_path, "o1")))
    world.runner.on_message(Side.OFFERS, offer(0, 10_000), NOW)
    world.runner.on_message(Side.OFFERS, offer(1, 10_000, offer_id="o2"), NOW)
    pass_time(world.runner, 20_000)
    with structlog.testing.capture_logs() as logs:
        assert [call.offer_id for call in world.runner.decide()] == ["o2"]
    (outcome,) = world.sink.outcomes
    assert (outcome.offer_id, outcome.outcome, outcome.reason) == ("o1", Outcome.RELEASED, Reason.RELEASED)
    assert (outcome.note, outcome.attempts, outcome.status_code) == (NOTE, 0, None)
    assert world.committed == 1
    (line,) = logs
    assert (line["event"], line["partner_code"], line["offer_id"], line["note"]) == ("released", "P", "o1", NOTE)


def test_what_was_released_and_not_committed_is_released_again_after_a_restart(tmp_path: Path) -> None:
    before = RunnerWorld()
    before.call()
    plan = before.runner.task.prepare_commit()
    assert plan is not None
    task = Task(RULES, partitions=1, offers=plan.offers, checkouts=plan.checkouts)
    world = RunnerWorld(Releases(release_file(tmp_path, "o1")), task)
    world.runner.on_message(Side.OFFERS, offer(0, 10_000), NOW)
    assert world.runner.decide() == []
    assert [outcome.outcome for outcome in world.sink.outcomes] == [Outcome.RELEASED]


def test_an_offer_that_was_bought_keeps_its_own_fate_though_it_is_let_go(tmp_path: Path) -> None:
    world = RunnerWorld(Releases(release_file(tmp_path, "o1")))
    world.runner.on_message(Side.OFFERS, offer(0, 10_000), NOW)
    bought = {"event_id": "e", "session_id": "s1", "checkout_id": "c", "completed_at": 10_500}
    value = CODEC.encode_checkout({**bought, "purchased_offer_ids": ["o1"]})
    world.runner.on_message(Side.CHECKOUTS, raw("checkouts", 0, "s1", value), NOW)
    pass_time(world.runner, 20_000)
    assert world.runner.decide() == []
    assert [outcome.outcome for outcome in world.sink.outcomes] == [Outcome.PURCHASED]


def test_every_chain_of_an_offer_is_let_go_while_its_entry_stands_and_none_after(tmp_path: Path) -> None:
    releases = Releases(release_file(tmp_path, "o1"))
    world = RunnerWorld(releases)
    for offset, at in enumerate((10_000, 30_000)):
        world.runner.on_message(Side.OFFERS, offer(offset, at), NOW)
        pass_time(world.runner, at + 10_000)
        assert world.runner.decide() == []
    release_file(tmp_path)
    assert releases.changed(10.0)
    world.runner.on_message(Side.OFFERS, offer(2, 50_000), NOW)
    pass_time(world.runner, 60_000)
    assert [call.source.offset for call in world.runner.decide()] == [2]


def test_a_call_that_is_let_go_moves_the_commit_and_tells_who_and_why() -> None:
    world = RunnerWorld()
    world.runner.on_result(CallResult(world.call(), Outcome.RELEASED, 503, 7, NOTE))
    (outcome,) = world.sink.outcomes
    assert (outcome.outcome, outcome.reason, outcome.note) == (Outcome.RELEASED, Reason.RELEASED, NOTE)
    assert (outcome.status_code, outcome.attempts) == (503, 7)
    assert (world.committed, world.runner.outstanding) == (1, 0)


def test_a_release_that_comes_after_the_runner_is_closed_is_left_to_whoever_reads_on() -> None:
    world = RunnerWorld()
    call = world.call()
    world.runner.close()
    world.runner.on_result(CallResult(call, Outcome.RELEASED, None, 0, NOTE))
    assert world.sink.outcomes == []
    assert (world.committed, world.runner.outstanding) == (0, 0)


@pytest.mark.parametrize("maybe_recorded", [False, True])
def test_a_purchase_after_a_release_is_reported_only_if_the_insurer_may_have_heard_of_the_offer(
    maybe_recorded: bool,
) -> None:
    world = RunnerWorld()
    world.runner.on_result(CallResult(world.call(), Outcome.RELEASED, None, 1, NOTE, maybe_recorded))
    effect = world.runner.task.checkout(CheckoutCompleted("s1", "c", 11_900, 0, ("o1",)), NOW, NOW)
    assert bool(effect.bought_after_call) is maybe_recorded


@pytest.mark.parametrize("maybe_recorded", [False, True])
def test_a_purchase_after_a_refusal_is_reported_only_if_the_insurer_may_have_heard_of_the_offer(
    maybe_recorded: bool,
) -> None:
    world = RunnerWorld()
    refused = world.refused()._replace(maybe_recorded=maybe_recorded)
    world.runner.on_record_fetched(refused, record())
    world.sink.acks[0]()
    effect = world.runner.task.checkout(CheckoutCompleted("s1", "c", 11_900, 0, ("o1",)), NOW, NOW)
    assert bool(effect.bought_after_call) is maybe_recorded


@pytest.mark.parametrize("maybe_recorded", [False, True])
def test_what_the_insurer_may_have_heard_is_not_forgotten_when_a_refused_call_is_made_anew(
    maybe_recorded: bool,
) -> None:
    world = RunnerWorld()
    call = world.runner.on_record_fetched(world.refused()._replace(maybe_recorded=maybe_recorded), None)
    assert call is not None
    world.runner.task.checkout(CheckoutCompleted("s1", "c", 11_900, 0, ("o1",)), NOW, NOW)
    with structlog.testing.capture_logs() as logs:
        world.runner.on_result(CallResult(call, None, None, 0, None))
    assert [line["event"] for line in logs] == ["purchase_after_opt_out"] * maybe_recorded


def test_the_offer_that_stands_first_in_the_log_is_named_as_the_one_that_holds_the_commit() -> None:
    world = RunnerWorld()
    assert world.runner.task.oldest_unsettled() is None
    world.runner.on_message(Side.OFFERS, offer(0, 10_900, offer_id="first"), NOW)
    world.runner.on_message(Side.OFFERS, offer(1, 10_000, offer_id="second"), NOW)
    pass_time(world.runner, 20_000)
    assert [call.offer_id for call in world.runner.decide()] == ["second", "first"]
    oldest = world.runner.task.oldest_unsettled()
    assert oldest is not None
    assert oldest.offer_id == "first"


def test_a_refused_offers_record_is_dead_lettered_unchanged_and_settled_once_that_is_acknowledged() -> None:
    world = RunnerWorld()
    world.refused()
    assert (world.reader.asked, world.runner.outstanding, world.sink.outcomes) == ([RecordRef("offers", 0, 0)], 1, [])
    assert world.reader.on_fetched[0](record()) is None
    assert world.sink.records == [(record(), "rejected", "422: Unexpected field")]
    (outcome,) = world.sink.outcomes
    assert (outcome.outcome, outcome.reason) == (Outcome.DEAD_LETTERED, Reason.ABANDONED)
    assert (outcome.status_code, outcome.attempts, outcome.note) == (422, 1, "Unexpected field")
    assert world.runner.outstanding == 0
    assert world.committed == 0, "committed before the dead letter is acknowledged"
    world.sink.acks[0]()
    assert world.committed == 1


def test_an_id_that_cannot_be_sent_is_dead_lettered_with_the_reason_in_words() -> None:
    world = RunnerWorld()
    world.runner.on_record_fetched(world.refused(None, "not sent: it is '.'"), record())
    assert world.sink.records[0][1:] == ("rejected", "not sent: it is '.'")


@pytest.mark.parametrize(
    "found",
    [None, record(offer_id="other"), record(at=10_001), record(value=b"\xff")],
    ids=["none", "another offer", "another time", "not an offer"],
)
def test_a_refused_offer_whose_record_is_gone_is_held_and_reported_not_lost(found: Record | None) -> None:
    world = RunnerWorld()
    result = world.refused()
    with structlog.testing.capture_logs() as logs:
        assert world.runner.on_record_fetched(result, found) is result.call
    assert world.runner.outstanding == 1
    assert (world.sink.records, world.sink.outcomes, world.committed) == ([], [], 0)
    assert [(line["log_level"], line["offer_id"]) for line in logs] == [("error", "o1")]
    assert "delivery.release_file" in logs[0]["event"]


def test_a_refused_offer_whose_record_is_gone_can_be_let_go(tmp_path: Path) -> None:
    releases = Releases(release_file(tmp_path))
    world = RunnerWorld(releases)
    result = world.refused()
    release_file(tmp_path, "o1")
    assert releases.changed(10.0)
    assert world.runner.on_record_fetched(result, None) is None
    assert [outcome.outcome for outcome in world.sink.outcomes] == [Outcome.RELEASED]
    assert (world.committed, world.runner.outstanding) == (1, 0)


def test_a_call_is_withheld_once_its_offer_is_let_go_or_its_task_drains_or_is_closed(tmp_path: Path) -> None:
    releases = Releases(release_file(tmp_path))
    world = RunnerWorld(releases)
    call = world.call()
    assert world.runner.withholds(call) is None
    release_file(tmp_path, "o1")
    assert releases.changed(10.0)
    assert world.runner.withholds(call) == Withheld(NOTE)
    world.runner.draining = True
    assert world.runner.withholds(call) == Withheld(), "whoever reads on makes it, or lets it go"
    world.runner.draining = False
    world.runner.close()
    assert world.runner.withholds(call) == Withheld()


def test_no_call_is_made_again_for_a_task_that_is_draining() -> None:
    world = RunnerWorld()
    result = world.refused()
    world.runner.draining = True
    assert world.runner.on_record_fetched(result, None) is None
    assert (world.runner.outstanding, world.sink.outcomes, world.committed) == (0, [], 0)


@pytest.mark.parametrize("when", ["refused", "read", "acknowledged"])
def test_a_refused_offer_is_not_settled_after_the_runner_is_closed(when: str) -> None:
    world = RunnerWorld()
    call = world.call()
    result = CallResult(call, Outcome.DEAD_LETTERED, 422, 1, None)
    if when == "refused":
        world.runner.close()
    world.runner.on_result(result)
    if when == "read":
        world.runner.close()
    if when != "refused":
        world.runner.on_record_fetched(result, record())
    if when == "acknowledged":
        world.runner.close()
        world.sink.acks[0]()
    else:
        assert (world.reader.asked == [], world.sink.records, world.sink.outcomes) == (when == "refused", [], [])
    assert (world.runner.outstanding, world.committed) == (0, 0)


def test_a_record_of_another_kind_is_passed_over_and_counted() -> None:
    sink = Sink()
    codec = codec_of(Settings(input={"offers": {"format": "json", "when": "kind == 'shown'"}}))
    runner = TaskRunner(
        0,
        Task(RULES, partitions=1, offers=Position(0), checkouts=Position(0)),
        topics=("offers", "checkouts"),
        edges=edges(outputs=sink, codec=codec),
        bad_records=limits(max_run=100),
        late_limit=0,
    )
    shown = {"event_id": "e", "session_id": "s1", "partner_code": "P", "offer_id": "o", "presented_at": AT}
    for offset, kind in enumerate(["hidden", "shown", "hidden", "hidden"]):
        value = json.dumps({**shown, "kind": kind}).encode()
        runner.on_message(Side.OFFERS, raw("offers", offset, "s1", value, AT), NOW)
    assert (runner.left_out, sink.dead) == (3, [])
    assert runner.task.next_offset(Side.OFFERS) == 4
    pass_time(runner, 20_000)
    (call,) = runner.decide()
    assert (call.offer_id, call.source.offset) == ("o", 1)
    runner.on_result(CallResult(call, Outcome.OPTED_OUT, 204, 1, None))
    plan = runner.task.prepare_commit()
    assert plan is not None
    assert plan.offers.offset == 4
