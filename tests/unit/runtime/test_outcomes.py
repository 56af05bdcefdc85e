"""What stands in the outcome topic and the dead-letter topic for each fate, field by field."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support.builders import CODEC, NOW, checkout, offer, raw, release_file
from support.runner_world import AT, NOTE, RULES, RunnerWorld, SlowSink, edges, limits, pass_time, show

from consumer.calls import CallResult
from consumer.core.checkpoint import Position
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.events import Mode, OfferOutcome, Outcome, Reason, RecordRef
from consumer.kafka.record import Record
from consumer.runtime.outcomes import BOUGHT_AFTER, KNOWN_AS_BOUGHT
from consumer.runtime.releases import Releases
from consumer.runtime.runner import TaskRunner


@pytest.fixture
def world() -> RunnerWorld:
    return RunnerWorld()


def told(world: RunnerWorld) -> OfferOutcome:
    (outcome,) = world.sink.outcomes
    return outcome


PLAIN = OfferOutcome(
    offer_id="o1",
    partner_code="P",
    session_id="s1",
    outcome=Outcome.OPTED_OUT,
    reason=Reason.ABANDONED,
    checkout_id=None,
    presented_at=AT,
    decided_at=AT + RULES.window,
    settled_at=NOW,
    status_code=None,
    attempts=0,
    details=CODEC.decode_offer(b"s1", offer(3, AT).value() or b"", 3).details,
    source=RecordRef("offers", 0, 3),
    mode=Mode.LIVE,
    note=None,
)


def test_an_offer_that_was_called(world: RunnerWorld) -> None:
    (call,) = show(world)
    world.runner.on_result(CallResult(call, Outcome.NOT_FOUND, 404, 3, "no such offer"))
    assert told(world) == replace(PLAIN, outcome=Outcome.NOT_FOUND, status_code=404, attempts=3, note="no such offer")


def test_an_offer_that_was_declined_and_called(world: RunnerWorld) -> None:
    (call,) = show(world, checkout(0, AT + 50, session="s1", checkout_id="c7"))
    world.runner.on_result(CallResult(call, Outcome.OPTED_OUT, 204, 1, None))
    assert told(world) == replace(
        PLAIN, reason=Reason.DECLINED, checkout_id="c7", decided_at=AT + 150, status_code=204, attempts=1
    )


def test_an_offer_that_was_bought(world: RunnerWorld) -> None:
    assert show(world, checkout(0, AT + 50, "o1", session="s1", checkout_id="c7")) == []
    assert told(world) == replace(
        PLAIN, outcome=Outcome.PURCHASED, reason=Reason.PURCHASED, checkout_id="c7", decided_at=AT + 150
    )


def test_an_abandoned_offer_that_is_ignored_by_setting_and_one_that_was_declined() -> None:
    rules = replace(RULES, call_abandoned=False)
    world = RunnerWorld(task=Task(rules, partitions=1, offers=Position(0), checkouts=Position(0)))
    declined = offer(4, AT, session="s2", offer_id="o2"), checkout(0, AT + 50, session="s2")
    assert [call.offer_id for call in show(world, *declined)] == ["o2"]
    assert told(world) == replace(PLAIN, outcome=Outcome.IGNORED)


def test_an_offer_that_is_late(world: RunnerWorld) -> None:
    (call,) = show(world, until=50_000)
    with capture_logs() as logs:
        world.runner.on_message(Side.OFFERS, offer(4, AT, offer_id="late"), NOW)
    why = "presented so long ago that the checkout that bought it may be forgotten"
    assert told(world) == replace(
        PLAIN,
        offer_id="late",
        outcome=Outcome.DEAD_LETTERED,
        reason=Reason.LATE,
        decided_at=AT,
        source=RecordRef("offers", 0, 4),
        note=why,
    )
    ((record, reason, error),) = world.sink.records
    assert (record.offset, reason, error) == (4, "late", f"presented_at {AT}: {why}")
    assert [line["event"] for line in logs] == ["dead letter"]
    assert world.committed == 3
    world.sink.acks[0]()
    world.runner.on_result(CallResult(call, Outcome.OPTED_OUT, 204, 1, None))
    assert world.committed == 5


def test_an_offer_that_is_late_or_implausible_stops_nothing_by_itself() -> None:
    sink = SlowSink()
    ahead = NOW + RULES.max_skew + 1
    runner = TaskRunner(
        0,
        Task(RULES, partitions=1, offers=Position(0), checkouts=Position(0)),
        topics=("offers", "checkouts"),
        edges=edges(outputs=sink),
        bad_records=limits(1),
        late_limit=0,
    )
    pass_time(runner, 50_000)
    runner.decide()
    for offset in range(3):
        runner.on_message(Side.OFFERS, offer(offset, AT), NOW)
    runner.on_message(Side.OFFERS, offer(3, ahead, offer_id="ahead"), NOW)
    assert (sink.outcomes[3].reason, sink.outcomes[3].presented_at) == (Reason.IMPLAUSIBLE_TIME, ahead)
    note = sink.outcomes[3].note or ""
    assert note.startswith("dated ahead of its record or of the clock by more than join.max_skew, or behind its record")
    assert "; it seems to be " in note
    assert sink.records[3][1] == "implausible_time"
    runner.on_message(Side.OFFERS, offer(4, ahead), NOW)
    assert [reason for _, reason, _ in sink.records] == ["late"] * 3 + ["implausible_time"] * 2


def test_an_implausible_checkout_is_no_dead_letter_and_is_said(world: RunnerWorld) -> None:
    with capture_logs() as logs:
        world.runner.on_message(Side.CHECKOUTS, checkout(0, NOW + RULES.max_skew + 1), NOW)
    assert [line["event"] for line in logs] == ["implausible checkout"]
    assert world.sink.records == []


def test_an_offer_whose_checkout_cannot_be_read(world: RunnerWorld) -> None:
    world.runner.on_message(Side.OFFERS, offer(3, NOW - 100), NOW)
    world.runner.on_message(Side.CHECKOUTS, raw("checkouts", 0, "s1", b"\xff"), NOW)
    pass_time(world.runner, NOW + 5_000)
    assert world.runner.decide() == []
    assert told(world) == replace(
        PLAIN,
        outcome=Outcome.DEAD_LETTERED,
        reason=Reason.CHECKOUT_UNREADABLE,
        presented_at=NOW - 100,
        decided_at=NOW - 100 + RULES.window,
    )


def test_an_offer_that_was_let_go(tmp_path: Path) -> None:
    world = RunnerWorld(Releases(release_file(tmp_path, "o1")))
    assert show(world, checkout(0, AT + 50, session="s1", checkout_id="c7")) == []
    assert told(world) == replace(
        PLAIN,
        outcome=Outcome.RELEASED,
        reason=Reason.RELEASED,
        checkout_id="c7",
        decided_at=AT + 150,
        note=NOTE,
    )


def test_a_refused_offer_of_which_a_purchase_comes_later_was_never_told_of(world: RunnerWorld) -> None:
    (call,) = show(world)
    result = CallResult(call, Outcome.DEAD_LETTERED, 422, 1, "Unexpected field")
    world.runner.on_result(result)
    record = Record.of(offer(3, AT))  # type: ignore[arg-type] # the part of a message that it reads
    world.runner.on_record_fetched(result, record)
    assert told(world) == replace(
        PLAIN, outcome=Outcome.DEAD_LETTERED, status_code=422, attempts=1, note="Unexpected field"
    )
    world.sink.acks[0]()
    with capture_logs() as logs:
        world.runner.on_message(Side.CHECKOUTS, checkout(0, AT + 10, "o1", session="s1"), NOW)
    assert logs == []


@pytest.mark.parametrize(
    ("completed_at", "note"),
    [
        (AT - RULES.lookback - 1, KNOWN_AS_BOUGHT),
        (AT + RULES.window, KNOWN_AS_BOUGHT),
        (AT + RULES.window + 1, BOUGHT_AFTER),
        (NOW, BOUGHT_AFTER),
    ],
)
@pytest.mark.parametrize("attempts", [0, 1])
def test_an_offer_whose_call_was_withheld(world: RunnerWorld, completed_at: int, note: str, attempts: int) -> None:
    (call,) = show(world)
    world.runner.on_message(Side.CHECKOUTS, checkout(0, completed_at, "o1", session="s1", checkout_id="c9"), NOW)
    world.runner.on_result(CallResult(call, None, 503 if attempts else None, attempts, "cancelled", attempts > 0))
    assert told(world) == replace(
        PLAIN,
        outcome=Outcome.PURCHASED,
        reason=Reason.PURCHASED,
        checkout_id="c9",
        status_code=503 if attempts else None,
        attempts=attempts,
        note=note,
    )
    with capture_logs() as logs:
        world.runner.on_message(Side.CHECKOUTS, checkout(1, AT + 20, "o1", session="s1"), NOW)
    assert [line["event"] for line in logs] == ["purchase_after_opt_out"] * bool(attempts)


def test_an_offer_that_was_bought_before_anybody_was_asked(world: RunnerWorld) -> None:
    world.runner.on_message(Side.OFFERS, offer(3, AT), NOW)
    pass_time(world.runner, 12_000)
    world.runner.task._listed = world.runner.task.decide()  # as after a rebuild
    with capture_logs() as logs:
        world.runner.on_message(Side.CHECKOUTS, checkout(0, AT + 10, "o1", session="s1", checkout_id="c9"), NOW)
        assert world.runner.decide() == []
    assert told(world) == replace(
        PLAIN, outcome=Outcome.PURCHASED, reason=Reason.PURCHASED, checkout_id="c9", note=KNOWN_AS_BOUGHT
    )
    assert logs == [], "nobody was told of it"


def test_an_offer_whose_purchase_from_after_the_decision_was_known_when_it_was_decided(world: RunnerWorld) -> None:
    bought = checkout(0, AT + RULES.window + 1, "o1", session="s1", checkout_id="c9")
    with capture_logs() as logs:
        assert show(world, bought) == []
        world.runner.on_message(Side.CHECKOUTS, checkout(1, NOW, "o1", session="s1"), NOW)
    assert told(world) == replace(
        PLAIN, outcome=Outcome.PURCHASED, reason=Reason.PURCHASED, checkout_id="c9", note=BOUGHT_AFTER
    )
    assert logs == [], "nobody was told of it"


def test_a_refused_offer_that_was_bought_while_its_record_was_read_again(world: RunnerWorld) -> None:
    (call,) = show(world)
    result = CallResult(call, Outcome.DEAD_LETTERED, 422, 1, "Unexpected field")
    world.runner.on_result(result)
    world.runner.on_message(Side.CHECKOUTS, checkout(0, AT + 10, "o1", session="s1", checkout_id="c9"), NOW)
    assert world.runner.on_record_fetched(result, None) is None
    assert told(world) == replace(
        PLAIN,
        outcome=Outcome.PURCHASED,
        reason=Reason.PURCHASED,
        checkout_id="c9",
        status_code=422,
        attempts=1,
        note=KNOWN_AS_BOUGHT,
    )


@pytest.mark.parametrize("found", [True, False])
def test_a_refused_offer_that_was_let_go_meanwhile_is_dead_lettered_if_its_record_is_there(
    found: bool, tmp_path: Path
) -> None:
    releases = Releases(release_file(tmp_path))
    world = RunnerWorld(releases)
    (call,) = show(world)
    result = CallResult(call, Outcome.DEAD_LETTERED, 422, 1, "Unexpected field")
    world.runner.on_result(result)
    release_file(tmp_path, "o1")
    assert releases.changed(10**9)
    record = Record.of(offer(3, AT)) if found else None  # type: ignore[arg-type] # the part of a message that it reads
    assert world.runner.on_record_fetched(result, record) is None
    expected = replace(PLAIN, status_code=422, attempts=1)
    assert told(world) == (
        replace(expected, outcome=Outcome.DEAD_LETTERED, note="Unexpected field")
        if found
        else replace(expected, outcome=Outcome.RELEASED, reason=Reason.RELEASED, note=NOTE)
    )


def test_the_dead_letter_of_a_record_that_cannot_be_decoded_tells_why(world: RunnerWorld) -> None:
    world.runner.on_message(Side.OFFERS, raw("offers", 0, "s", b"\xff"), NOW)
    ((_, reason, error),) = world.sink.records
    assert reason == "undecodable"
    assert error.startswith("not a optout.events.OfferPresented: ")


def test_a_purchase_after_the_call_is_reported_with_all_that_is_needed_to_find_it(world: RunnerWorld) -> None:
    (call,) = show(world)
    world.runner.on_result(CallResult(call, Outcome.OPTED_OUT, 204, 1, None))
    with capture_logs() as logs:
        world.runner.on_message(Side.CHECKOUTS, checkout(0, AT + 10, "o1", session="s1", checkout_id="c9"), NOW)
    (line,) = logs
    assert line["event"] == "purchase_after_opt_out"
    assert (line["partner_code"], line["offer_id"], line["session_id"], line["checkout_id"]) == ("P", "o1", "s1", "c9")
    assert (line["completed_at"], line["decided_at"]) == (AT + 10, AT + RULES.window)
