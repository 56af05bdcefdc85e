"""Records whose schema the registry has not told yet wait; nothing else does."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs
from support.builders import NOW, checkout, offer
from support.loop_world import LoopWorld
from support.runner_world import AT, RULES, FakeRecordReader, Sink, edges, limits, record
from support.standing_world import LATENESS, StandingWorld
from support.waiting_codec import WaitingCodec, behind

from consumer.calls import CallResult, Withheld
from consumer.core.checkpoint import Position
from consumer.core.rules import MAX_TIME
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.delivery.gate import Opening
from consumer.events import Outcome
from consumer.runtime.clock_check import ClockCheck
from consumer.runtime.runner import TaskRunner
from consumer.runtime.same_record import is_same
from consumer.runtime.standstill import PATIENCE


class SchemaWorld:
    """A runner whose records may wait for schema 7, and whose clock is believed."""

    def __init__(self, late_limit: int = 0, max_run: int = 100) -> None:
        self.codec, self.sink = WaitingCodec(), Sink()
        self.clock_check = ClockCheck(lambda: NOW / 1000, lambda: 0.0, max_skew=300.0)
        self.limits = limits(max_run)
        self.runner = TaskRunner(
            0,
            Task(RULES, partitions=1, offers=Position(0), checkouts=Position(0)),
            topics=("offers", "checkouts"),
            edges=edges(
                outputs=self.sink, codec=self.codec, clock_check=self.clock_check, record_reader=FakeRecordReader()
            ),
            bad_records=self.limits,
            late_limit=late_limit,
        )

    def next_offsets(self) -> tuple[int, int]:
        return self.runner.task.next_offset(Side.OFFERS), self.runner.task.next_offset(Side.CHECKOUTS)


def test_a_record_and_all_behind_it_wait_and_are_read_in_their_order_once_the_schema_is_known() -> None:
    world = SchemaWorld()
    for message in (offer(0, AT), behind(7, offer(1, AT + 1)), offer(2, AT + 2), behind(8, offer(3, AT + 3))):
        world.runner.on_message(Side.OFFERS, message, NOW)
    for _ in range(3):
        assert world.next_offsets() == (1, 0)
        assert world.runner.pauses() == {Side.OFFERS}
        assert (world.limits[Side.OFFERS].read, world.sink.dead, bool(world.runner.waiting)) == (1, [], True)
        assert world.runner.waiting.schemas == {Side.OFFERS: "schema id 7: the registry does not answer"}
        world.runner.drain_waiting(NOW)
    world.codec.known.add(7)
    world.runner.drain_waiting(NOW)
    assert (world.next_offsets(), world.limits[Side.OFFERS].read) == ((3, 0), 3)
    assert world.runner.waiting.schemas == {Side.OFFERS: "schema id 8: the registry does not answer"}
    world.codec.known.add(8)
    world.runner.drain_waiting(NOW)
    assert (world.next_offsets(), world.limits[Side.OFFERS].read) == ((4, 0), 4)
    assert (world.runner.waiting.schemas, world.runner.waiting.sides, bool(world.runner.waiting)) == ({}, set(), False)


def test_however_many_wait_they_are_no_unusable_records() -> None:
    world = SchemaWorld(max_run=0)
    for offset in range(1_100):
        world.runner.on_message(Side.CHECKOUTS, behind(7, checkout(offset, AT)), NOW)
    world.runner.drain_waiting(NOW)
    assert (world.next_offsets(), world.sink.dead) == ((0, 0), [])


def test_a_waiting_checkout_closes_no_gate_and_one_ahead_of_the_clock_does() -> None:
    world = SchemaWorld()
    world.clock_check.waits_beyond = AT
    world.runner.on_message(Side.CHECKOUTS, checkout(0, AT + 1), NOW)
    world.runner.on_message(Side.CHECKOUTS, behind(7, checkout(1, AT + 1)), NOW)
    assert world.clock_check.gate().opening is Opening.CLOSED
    world.clock_check.waits_beyond = MAX_TIME
    world.runner.drain_waiting(NOW)
    assert world.next_offsets() == (0, 1)
    assert world.runner.waiting.sides == {Side.CHECKOUTS}
    assert world.clock_check.gate().opening is Opening.OPEN


def test_what_is_kept_back_behind_a_straggler_may_wait_for_its_schema_afterwards() -> None:
    world = SchemaWorld(late_limit=5)
    world.runner.on_message(Side.OFFERS, offer(0, 900_000), NOW)
    world.runner.on_message(Side.CHECKOUTS, checkout(0, 900_000), NOW)
    world.runner.on_message(Side.OFFERS, offer(1, AT), NOW)
    world.runner.on_message(Side.OFFERS, behind(7, offer(2, 900_001, offer_id="o2")), NOW)
    assert [message.offset() for message in world.runner.late_run.kept] == [1, 2]
    world.runner.late_run._begun_at -= 100
    assert world.runner.judge_late_run(NOW)
    assert (world.sink.dead, world.next_offsets()[0]) == ([(1, "late")], 2)
    world.codec.known.add(7)
    world.runner.drain_waiting(NOW)
    assert world.next_offsets()[0] == 3


def test_a_record_of_an_unknown_schema_is_not_the_one_that_was_read() -> None:
    codec = WaitingCodec()
    found = record()
    shown = codec.decode_offer(found.key, found.value or b"", 0)
    framed = found._replace(value=b"\x00\x00\x00\x00\x07" + (found.value or b""))
    assert not is_same(codec, framed, shown)
    codec.known.add(7)
    assert is_same(codec, framed, shown)


def test_calls_that_were_decided_go_on_while_offers_wait_and_are_committed_up_to_these() -> None:
    world = LoopWorld(codec=(codec := WaitingCodec()))
    world.begin()
    world.decide()
    world.turn([behind(7, offer(1, 21_000, session="s2", offer_id="o2"))])
    assert world.runner.withholds(world.delivery.calls[0]) is None
    world.delivery.answer()
    for _ in range(3):
        world.turn([])
    assert [outcome.outcome for outcome in world.sink.outcomes] == [Outcome.OPTED_OUT]
    assert world.consumer.paused == {"offers"}
    assert world.sink.dead == []
    world.commit()
    assert world.consumer.commits[-1]["offers", 0] == 1
    assert world.consumer.commits[-1]["checkouts", 0] == 0
    codec.known.add(7)
    world.turn([])
    assert world.consumer.paused == set()
    assert world.runner.task.next_offset(Side.OFFERS) == 2


def given_back(world: LoopWorld, *, maybe_recorded: bool = False) -> None:
    """The gate has found that the first call may not leave now, and it is given back."""
    (call, *others) = world.delivery.calls
    assert world.runner.withholds(call) == Withheld()
    world.delivery.calls = others
    world.delivery.results.put(CallResult(call, None, None, 1, None, maybe_recorded))
    world.turn([])


def test_calls_wait_while_checkouts_do_and_are_made_once_these_are_read() -> None:
    """Any of those checkouts may be the purchase of what is to be called."""
    world = LoopWorld(codec=(codec := WaitingCodec()))
    world.begin()
    world.decide()
    world.turn([behind(7, checkout(0, 21_000))])
    given_back(world)
    for _ in range(3):
        world.turn([])
    assert (world.delivery.calls, world.sink.outcomes, world.runner.outstanding) == ([], [], 0)
    assert (world.runner.task.unsettled, world.runner.first_calls.waiting) == (1, 1)
    assert world.consumer.paused == {"checkouts"}
    world.commit()
    assert [commit["offers", 0] for commit in world.consumer.commits] in ([], [0])
    codec.known.add(7)
    world.turn([])
    assert [call.offer_id for call in world.delivery.calls] == ["o1"]
    assert world.runner.withholds(world.delivery.calls[0]) is None
    world.delivery.answer()
    world.turn([])
    assert [outcome.outcome for outcome in world.sink.outcomes] == [Outcome.OPTED_OUT]


@pytest.mark.parametrize("buys", [0, 1], ids=["by the one that waits", "by a readable one behind it"])
def test_what_a_waiting_checkout_or_one_behind_it_buys_is_not_called(buys: int) -> None:
    world = LoopWorld(codec=(codec := WaitingCodec()))
    world.begin()
    world.decide()
    first, second = (checkout(at, 21_000, *(["o1"] if at == buys else []), session="s1") for at in (0, 1))
    world.turn([behind(7, first), second])
    given_back(world)
    codec.known.add(7)
    world.turn([])
    world.turn([])
    assert world.delivery.calls == []
    assert [outcome.outcome for outcome in world.sink.outcomes] == [Outcome.PURCHASED]


def test_that_a_call_may_have_been_recorded_is_not_forgotten_while_it_waits_for_a_schema() -> None:
    world = LoopWorld(codec=(codec := WaitingCodec()))
    world.begin()
    world.decide()
    world.turn([behind(7, checkout(0, 21_000))])
    given_back(world, maybe_recorded=True)
    with capture_logs() as lines:
        world.turn([checkout(1, 21_000, "o1", session="s1")])
        codec.known.add(7)
        world.turn([])
    assert [outcome.outcome for outcome in world.sink.outcomes] == [Outcome.PURCHASED]
    assert [line["offer_id"] for line in lines if line["event"] == "purchase_after_opt_out"] == ["o1"]


def test_calls_of_a_task_whose_checkouts_wait_are_not_handed_over_where_all_else_stands_still() -> None:
    """As where the memory is full: what would be read next is the checkouts, and these are what waits."""
    world = SchemaWorld()
    world.runner.on_message(Side.OFFERS, offer(0, AT), NOW)
    world.runner.on_message(Side.OFFERS, offer(1, NOW, offer_id="o2"), NOW)
    world.runner.on_message(Side.CHECKOUTS, checkout(0, NOW), NOW)
    world.runner.on_message(Side.CHECKOUTS, behind(7, checkout(1, NOW)), NOW)
    assert world.runner.decide(at_once=True) == []
    world.codec.known.add(7)
    world.runner.drain_waiting(NOW)
    assert [call.offer_id for call in world.runner.decide(at_once=True)] == ["o1"]


def test_it_is_told_why_the_watermark_stands_still_and_until_when() -> None:
    codec = WaitingCodec()
    world = StandingWorld(codec=codec)
    world.begin()
    world.follow_clock()
    at = round(world.now * 1000)
    world.read(behind(7, checkout(0, at, stamp=at)))
    world.pass_time(round(PATIENCE) + 2)
    (line,) = world.lines
    assert (line["input"], line["cause"], line["offset"]) == ("checkouts", "schema", 0)
    assert line["schema"] == "schema id 7: the registry does not answer"
    assert "(schema id 7: the registry does not answer)" in world.health.ready().reason
    codec.known.add(7)
    world.pass_time(round(2 * LATENESS))
    assert len(world.ended) == 1
    assert "schema" not in world.health.ready().reason


def test_no_watermark_passes_what_waits() -> None:
    world = StandingWorld(codec=WaitingCodec())
    world.begin()
    world.follow_clock()
    before = world.runner.task.watermark
    at = round(world.now * 1000)
    world.read(behind(7, offer(0, at, stamp=at)))
    world.pass_time(3 * round(LATENESS))
    assert world.runner.task.watermark < at
    assert world.runner.task.watermark - before < 60_000


def test_a_call_that_is_given_back_in_the_turn_in_which_the_schema_is_told_is_made_again() -> None:
    world = LoopWorld(codec=(codec := WaitingCodec()))
    world.begin()
    world.decide()
    (call,) = world.delivery.calls
    world.turn([behind(7, checkout(0, 21_000, session="another"))])
    assert world.runner.withholds(call) is not None, "the delivery's thread gives it up"
    codec.known.add(7)
    settle = world.loop.tasks.settle_results

    def just_missed(wait: float = 0.0) -> None:
        settle(wait)
        world.delivery.answer(None)  # it comes behind the look at the results, before what waited is applied

    world.loop.tasks.settle_results = just_missed  # type: ignore[method-assign]
    world.turn()
    world.loop.tasks.settle_results = settle  # type: ignore[method-assign]
    assert not world.runner.waiting
    for _ in range(3):
        world.turn()
    assert world.runner.first_calls.waiting == 0
    assert [one.offer_id for one in world.delivery.calls] == ["o1"]


class ReleasesOfSchemaWaits:
    """Releases that the test changes."""

    def __init__(self) -> None:
        self.notes: dict[tuple[str, str], str] = {}
        self.is_new = False

    def note_of(self, offer: object) -> str | None:
        return self.notes.get((offer.partner_code, offer.offer_id))  # type: ignore[attr-defined]

    def changed(self, now: float) -> bool:
        new, self.is_new = self.is_new, False
        return new


def test_an_offer_is_let_go_whose_call_waits_since_a_schema_is_not_told() -> None:
    """The schema was deleted, for example, so that it is never told: the operator lets the offers go one by one."""
    releases = ReleasesOfSchemaWaits()
    world = LoopWorld(releases, codec=WaitingCodec())  # type: ignore[arg-type]
    world.begin()
    world.decide()
    world.turn([behind(7, checkout(0, 21_000, session="another"))])
    world.delivery.answer(None)  # given back
    world.turn()
    releases.notes, releases.is_new = {("P", "o1"): "ops: no such offer"}, True
    for _ in range(3):
        world.turn()
    assert [one.outcome.name for one in world.sink.outcomes] == ["RELEASED"]
