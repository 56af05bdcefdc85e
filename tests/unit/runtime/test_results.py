"""Offers that a task gives up: let go by an operator, or refused and dead-lettered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
from unit.runtime.test_runner import CODEC, NOW, RULES, Message, Sink, offer, pass_time

from consumer.calls import CallResult, OptOutCall
from consumer.core.task import Position, Side, Task
from consumer.events import CheckoutCompleted, Outcome, Reason
from consumer.kafka.record import Record
from consumer.runtime.bad_records import BadRecordLimit
from consumer.runtime.releases import Releases
from consumer.runtime.runner import TaskRunner

NOTE = "released by on call: gone at the insurer"


def release_file(folder: Path, *offers: str) -> Path:
    path = folder / "release.toml"
    path.write_text(
        "".join(
            f'[[release]]\npartner_code = "P"\noffer_id = "{name}"\nwho = "on call"\nwhy = "gone at the insurer"\n'
            for name in offers
        )
    )
    return path


class SlowSink(Sink):
    """Acknowledges a dead letter when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[tuple[Record, str, str]] = []
        self.acks: list[Callable[[], None]] = []

    def dead_letter(self, record: Record, *, reason: str, error: str, on_ack: Callable[[], None]) -> None:
        self.records.append((record, reason, error))
        self.acks.append(on_ack)


class World:
    def __init__(self, releases: Releases | None = None) -> None:
        self.sink = SlowSink()
        self.asked: list[CallResult] = []
        self.runner = TaskRunner(
            0,
            Task(RULES, partitions=1, offers=Position(0), checkouts=Position(0)),
            topics=("offers", "checkouts"),
            codec=CODEC,
            sink=self.sink,  # type: ignore[arg-type]
            intakes=(BadRecordLimit("offers", 100, 1.0), BadRecordLimit("checkouts", 100, 1.0)),
            wall=lambda: NOW / 1000,
            releases=releases,
            read_again=self.asked.append,
        )

    def call(self) -> OptOutCall:
        """One offer, presented at offset 0, is decided and to be called."""
        self.runner.on_message(Side.OFFERS, offer(0, 10_000), NOW)
        pass_time(self.runner, 12_000)
        (call,) = self.runner.decide()
        return call

    def refused(self, status: int | None = 422, note: str | None = "Unexpected field") -> CallResult:
        result = CallResult(self.call(), Outcome.DEAD_LETTERED, status, 1, note)
        self.runner.on_result(result)
        return result

    @property
    def committed(self) -> int:
        plan = self.runner.task.prepare_commit()
        assert plan is not None
        return plan.offers.offset


def record(at: int = 10_000, offer_id: str = "o1", value: bytes | None = None) -> Record:
    message = offer(0, at, offer_id=offer_id)
    return Record("offers", 0, 0, NOW, message.key(), message.value() if value is None else value, (("trace", b"7"),))


# --- let go


def test_an_offer_that_is_let_go_is_settled_when_it_is_decided_and_never_called(tmp_path: Path) -> None:
    world = World(Releases(release_file(tmp_path, "o1")))
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
    before = World()
    before.call()
    plan = before.runner.task.prepare_commit()
    assert plan is not None
    world = World(Releases(release_file(tmp_path, "o1")))
    world.runner.task = Task(RULES, partitions=1, offers=plan.offers, checkouts=plan.checkouts)
    world.runner.on_message(Side.OFFERS, offer(0, 10_000), NOW)
    assert world.runner.decide() == []
    assert [outcome.outcome for outcome in world.sink.outcomes] == [Outcome.RELEASED]


def test_an_offer_that_was_bought_keeps_its_own_fate_though_it_is_let_go(tmp_path: Path) -> None:
    world = World(Releases(release_file(tmp_path, "o1")))
    world.runner.on_message(Side.OFFERS, offer(0, 10_000), NOW)
    bought = {"event_id": "e", "session_id": "s1", "checkout_id": "c", "completed_at": 10_500}
    value = CODEC.encode_checkout({**bought, "purchased_offer_ids": ["o1"]})
    world.runner.on_message(Side.CHECKOUTS, Message("checkouts", 0, "s1", value), NOW)
    pass_time(world.runner, 20_000)
    assert world.runner.decide() == []
    assert [outcome.outcome for outcome in world.sink.outcomes] == [Outcome.PURCHASED]


def test_every_chain_of_an_offer_is_let_go_while_its_entry_stands_and_none_after(tmp_path: Path) -> None:
    releases = Releases(release_file(tmp_path, "o1"))
    world = World(releases)
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
    world = World()
    world.runner.on_result(CallResult(world.call(), Outcome.RELEASED, 503, 7, NOTE))
    (outcome,) = world.sink.outcomes
    assert (outcome.outcome, outcome.reason, outcome.note) == (Outcome.RELEASED, Reason.RELEASED, NOTE)
    assert (outcome.status_code, outcome.attempts) == (503, 7)
    assert (world.committed, world.runner.outstanding) == (1, 0)


def test_a_release_that_comes_behind_the_fence_is_left_to_whoever_reads_on() -> None:
    world = World()
    call = world.call()
    world.runner.close()
    world.runner.on_result(CallResult(call, Outcome.RELEASED, None, 0, NOTE))
    assert world.sink.outcomes == []
    assert (world.committed, world.runner.outstanding) == (0, 0)


@pytest.mark.parametrize(("attempts", "reported"), [(0, False), (1, True)])
def test_a_purchase_after_a_release_is_reported_only_if_the_offer_had_been_called(
    attempts: int, reported: bool
) -> None:
    world = World()
    world.runner.on_result(CallResult(world.call(), Outcome.RELEASED, None, attempts, NOTE))
    effect = world.runner.task.checkout(CheckoutCompleted("s1", "c", 11_900, 0, ("o1",)), NOW, NOW)
    assert bool(effect.bought_after_call) is reported


def test_the_offer_that_stands_first_in_the_log_is_named_as_the_one_that_holds_the_commit() -> None:
    world = World()
    assert world.runner.task.oldest_unsettled() is None
    world.runner.on_message(Side.OFFERS, offer(0, 10_900, offer_id="first"), NOW)
    world.runner.on_message(Side.OFFERS, offer(1, 10_000, offer_id="second"), NOW)
    pass_time(world.runner, 20_000)
    assert [call.offer_id for call in world.runner.decide()] == ["second", "first"]
    oldest = world.runner.task.oldest_unsettled()
    assert oldest is not None
    assert oldest.offer_id == "first"


# --- refused


def test_a_refused_offers_record_is_dead_lettered_unchanged_and_settled_once_that_is_acknowledged() -> None:
    world = World()
    result = world.refused()
    assert (world.asked, world.runner.outstanding, world.sink.outcomes) == ([result], 1, [])
    assert result.call.source.offset == 0
    assert world.runner.on_record_fetched(result, record()) is None
    assert world.sink.records == [(record(), "rejected", "422: Unexpected field")]
    (outcome,) = world.sink.outcomes
    assert (outcome.outcome, outcome.reason) == (Outcome.DEAD_LETTERED, Reason.ABANDONED)
    assert (outcome.status_code, outcome.attempts, outcome.note) == (422, 1, "Unexpected field")
    assert world.runner.outstanding == 0
    assert world.committed == 0, "committed before the dead letter is acknowledged"
    world.sink.acks[0]()
    assert world.committed == 1


def test_an_id_that_cannot_be_sent_is_dead_lettered_with_the_reason_in_words() -> None:
    world = World()
    world.runner.on_record_fetched(world.refused(None, "not sent: it is '.'"), record())
    assert world.sink.records[0][1:] == ("rejected", "not sent: it is '.'")


@pytest.mark.parametrize(
    "found",
    [None, record(offer_id="other"), record(at=10_001), record(value=b"\xff")],
    ids=["none", "another offer", "another time", "not an offer"],
)
def test_a_refused_offer_whose_record_is_gone_is_held_and_reported_not_lost(found: Record | None) -> None:
    world = World()
    result = world.refused()
    with structlog.testing.capture_logs() as logs:
        assert world.runner.on_record_fetched(result, found) is result.call
    assert world.runner.outstanding == 1
    assert (world.sink.records, world.sink.outcomes, world.committed) == ([], [], 0)
    assert [(line["log_level"], line["offer_id"]) for line in logs] == [("error", "o1")]
    assert "delivery.release_file" in logs[0]["event"]


def test_a_refused_offer_whose_record_is_gone_can_be_let_go(tmp_path: Path) -> None:
    releases = Releases(release_file(tmp_path))
    world = World(releases)
    result = world.refused()
    release_file(tmp_path, "o1")
    assert releases.changed(10.0)
    assert world.runner.on_record_fetched(result, None) is None
    assert [outcome.outcome for outcome in world.sink.outcomes] == [Outcome.RELEASED]
    assert (world.committed, world.runner.outstanding) == (1, 0)


def test_no_call_is_made_again_for_a_task_that_is_ending() -> None:
    world = World()
    result = world.refused()
    world.runner.ending = True
    assert world.runner.on_record_fetched(result, None) is None
    assert (world.runner.outstanding, world.sink.outcomes, world.committed) == (0, [], 0)


@pytest.mark.parametrize("when", ["refused", "read", "acknowledged"])
def test_a_refused_offer_is_not_settled_behind_the_fence(when: str) -> None:
    world = World()
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
        assert (world.asked == [], world.sink.records, world.sink.outcomes) == (when == "refused", [], [])
    assert (world.runner.outstanding, world.committed) == (0, 0)
