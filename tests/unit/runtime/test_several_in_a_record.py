"""A record that holds several presentations, from the record to the calls, the outcomes and the dead letter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import structlog
from support.builders import NOW, checkout, raw, release_file
from support.kafka import Message
from support.runner_world import AT, RULES, RunnerWorld, pass_time
from support.several import EACH, SEVERAL, page

from consumer.calls import CallResult, OptOutCall
from consumer.core.checkpoint import OfferCheckpoint, Position
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.events import MOST_ELEMENTS, Outcome, Reason
from consumer.kafka.record import Record
from consumer.runtime.late_run import HELD
from consumer.runtime.releases import Releases


def world(offers: Position = Position(0), checkouts: Position = Position(0), **more: object) -> RunnerWorld:  # noqa: B008
    task = Task(RULES, partitions=1, offers=offers, checkouts=checkouts, each=EACH)
    return RunnerWorld(task=task, codec=SEVERAL, **more)  # type: ignore[arg-type]


def read(world: RunnerWorld, *messages: Message) -> None:
    for message in messages:
        world.runner.on_message(Side(("offers", "checkouts").index(message.topic())), message, NOW)


def decided(world: RunnerWorld, until: int = 20_000) -> list[OptOutCall]:
    pass_time(world.runner, until)
    return world.runner.decide()


def answer(world: RunnerWorld, call: OptOutCall, outcome: Outcome = Outcome.OPTED_OUT, status: int = 204) -> CallResult:
    result = CallResult(call, outcome, status, 1, None)
    world.runner.on_result(result)
    return result


def plan(world: RunnerWorld) -> tuple[Position, Position]:
    found = world.runner.task.prepare_commit()
    assert found is not None
    world.runner.task.commit_acknowledged(found)
    return found.offers, found.checkouts


def test_each_is_called_by_itself_and_all_tell_of_their_record() -> None:
    several = world()
    read(several, page(3, AT, "a", "b", "c"), checkout(0, AT + 1, "b", session="s1"))
    calls = decided(several)
    assert [(call.offer_id, call.source.offset) for call in calls] == [("a", 3), ("c", 3)]
    assert len({call.chain_start for call in calls}) == 2
    for call in calls:
        answer(several, call)
    told = [(o.offer_id, o.outcome, o.source.offset) for o in several.sink.outcomes]
    assert told == [("b", Outcome.PURCHASED, 3), ("a", Outcome.OPTED_OUT, 3), ("c", Outcome.OPTED_OUT, 3)]
    assert several.committed == 4


def test_the_commit_stays_for_one_that_is_held_and_a_restart_calls_that_one() -> None:
    before = world()
    read(before, page(3, AT, "a", "b", "c"), page(5, AT, "d"))
    for call in decided(before):
        if call.offer_id != "b":
            answer(before, call)
    offers, checkouts = plan(before)
    assert offers.offset == 3
    assert OfferCheckpoint.decode(offers.metadata, 3).unsettled == {3 * MOST_ELEMENTS + 1}
    after = world(offers, checkouts)
    read(after, page(3, AT, "a", "b", "c"), page(5, AT, "d"))
    (call,) = after.runner.decide()
    assert (call.offer_id, call.source.offset) == ("b", 3)
    answer(after, call)
    pass_time(after.runner, 20_000)
    after.runner.decide()
    assert after.committed == 6
    assert [o.offer_id for o in after.sink.outcomes] == ["b"]


def test_a_page_that_shows_nothing_is_passed_over_and_counted() -> None:
    several = world()
    read(several, page(0, AT), page(1, AT, "a"), page(2, AT))
    assert (several.runner.left_out, several.sink.records) == (2, [])
    (call,) = decided(several)
    answer(several, call)
    assert several.committed == 3


@pytest.mark.parametrize(
    ("document", "reason", "why"),
    [
        ({"offers": [{"id": "a"}, {"identity": "b"}]}, "undecodable", "element 1: offer_id (id): there is no 'id'"),
        ({"offers": [{"id": "a"}, {"id": ""}]}, "empty_id", "element 1: offer_id is empty"),
        ({"offers": [{"id": "a"}, "b"]}, "undecodable", "element 1: it is no object"),
        ({"offers": [{"id": "a"}, None]}, "undecodable", "element 1: it is no object"),
        ({"offers": [{"id": str(n)} for n in range(65)]}, "too_large", "each (offers) gives 65 elements, and 64 is"),
        ({"offers": {"id": "a"}}, "undecodable", "each (offers) gives no list"),
        ({"offers": None}, "undecodable", "each (offers): 'offers' is null"),
        ({"offer": [{"id": "a"}]}, "undecodable", "each (offers): there is no 'offers'"),
    ],
)
def test_one_that_cannot_be_read_takes_its_whole_record_to_the_dead_letters_once(
    document: dict[str, object], reason: str, why: str
) -> None:
    several = world()
    value = json.dumps({"shop": "P", "at": AT, **document}).encode()
    read(several, raw("offers", 0, "s1", value, AT), page(1, AT, "x"))
    ((record, told, error),) = several.sink.records
    assert (record.offset, record.value, told) == (0, value, reason)
    assert error.startswith(why)
    (call,) = decided(several)
    answer(several, call)
    offers, _ = plan(several)
    assert offers.offset == 0, "its dead letter is not written"
    several.sink.acks[0]()
    assert plan(several)[0].offset == 2


def test_a_record_that_is_late_is_one_dead_letter_and_an_outcome_for_each_of_its_offers() -> None:
    several = world()
    decided(several, 20_000)
    read(several, page(0, AT, "a", "b"))
    ((record, reason, _),) = several.sink.records
    assert (record.offset, reason) == (0, "late")
    assert [(o.offer_id, o.reason, o.source.offset) for o in several.sink.outcomes] == [
        ("a", Reason.LATE, 0),
        ("b", Reason.LATE, 0),
    ]
    offers, _ = plan(several)
    assert (offers.offset, several.runner.task.next_offset(Side.OFFERS)) == (0, 1)
    several.sink.acks[0]()
    assert plan(several)[0].offset == 1


def test_a_late_record_is_kept_back_whole_until_it_is_told_what_it_is() -> None:
    several = world(late_limit=3)
    decided(several, 20_000)
    read(several, page(4, AT, "a", "b"), page(5, 20_000, "c", "d"))
    assert (several.sink.records, len(several.runner.late_run.kept)) == ([], 2)
    assert several.runner.task.next_offset(Side.OFFERS) == 0
    several.runner.late_run._begun_at -= HELD
    several.runner.judge_late_run(NOW)
    assert [record.offset for record, _, _ in several.sink.records] == [4]
    assert [o.offer_id for o in several.sink.outcomes] == ["a", "b"]
    assert [call.offer_id for call in decided(several, 40_000)] == ["c", "d"]


def test_records_are_counted_for_a_mass_and_not_what_they_hold() -> None:
    several = world(late_limit=3)
    decided(several, 20_000)
    names = [f"o{number}" for number in range(30)]
    read(several, page(0, AT, *names), page(1, AT, *names), page(2, AT), page(3, AT, "x"))
    assert not several.runner.late_run.suspended
    read(several, page(4, AT, "y"))
    assert several.runner.late_run.suspended


def test_a_refused_one_is_dead_lettered_with_its_record_and_the_others_are_settled_by_themselves() -> None:
    several = world()
    message = page(0, AT, "a", "b")
    read(several, message)
    one, other = decided(several)
    refused = answer(several, other, Outcome.DEAD_LETTERED, 422)
    assert several.reader.asked == [other.source]
    assert other.source.offset == 0
    assert several.runner.on_record_fetched(refused, Record.of(message)) is None
    assert [(reason, error) for _, reason, error in several.sink.records] == [("rejected", "422: offer b")]
    several.sink.acks[0]()
    assert several.committed == 0
    answer(several, one)
    assert several.committed == 1
    assert {o.offer_id: o.outcome for o in several.sink.outcomes} == {
        "a": Outcome.OPTED_OUT,
        "b": Outcome.DEAD_LETTERED,
    }


def test_one_that_is_let_go_settles_no_other_of_its_record(tmp_path: Path) -> None:
    several = world(releases=Releases(release_file(tmp_path, "b")))
    read(several, page(7, AT, "a", "b"))
    with structlog.testing.capture_logs() as logs:
        (call,) = decided(several)
    assert (call.offer_id, logs[-1]["event"], logs[-1]["offset"]) == ("a", "released", 7)
    assert several.committed == 7
    answer(several, call)
    assert several.committed == 8


def test_what_cannot_be_read_any_more_was_not_settled() -> None:
    """A mapping that went wrong must not settle what was read before: the record is dead-lettered, and is told of."""
    before = world()
    read(before, page(0, AT, "a", "b"))
    one, _ = decided(before)
    answer(before, one)
    offers, checkouts = plan(before)
    after = world(offers, checkouts)
    read(after, raw("offers", 0, "s1", b"{}", AT))
    assert [(record.offset, reason) for record, reason, _ in after.sink.records] == [(0, "undecodable")]
