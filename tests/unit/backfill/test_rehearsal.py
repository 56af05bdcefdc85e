"""The edges of a dry run: nothing leaves the process."""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import OFFSET_INVALID, TopicPartition
from support.kafka import Message
from support.owner import Owner

from consumer.backfill.rehearsal import NoGroup, NothingWritten, RehearsedCalls
from consumer.calls import OptOutCall, Withheld
from consumer.events import Outcome, Reason, RecordRef
from consumer.kafka.record import Record


def call(owner: Owner) -> OptOutCall:
    return OptOutCall("ada", "o", "s", Reason.DECLINED, {}, RecordRef("offers", 0, 0), owner, 0)


def test_each_call_is_taken_for_recorded_unless_its_owner_withholds_it() -> None:
    calls = RehearsedCalls()
    owners = [Owner(), Owner(), Owner()]
    owners[1].withheld[0], owners[2].withheld[0] = Withheld(), Withheld(released="by hand")
    calls.submit([call(owner) for owner in owners])
    found = [calls.results.get_nowait() for _ in range(3)]
    assert [result.outcome for result in found] == [Outcome.OPTED_OUT, None, Outcome.RELEASED]
    assert [result.attempts for result in found] == [0, 0, 0]
    assert found[2].note == "by hand"


def test_a_dead_letter_is_acknowledged_at_the_next_look_and_not_before() -> None:
    written, acknowledged = NothingWritten(), list[int]()
    record = Record.of(Message("offers", 0, 7, b"k", b"v"))
    acknowledge: Callable[[], None] = lambda: acknowledged.append(7)  # noqa: E731 - named for its type
    written.dead_letter(record, reason="r", error="e", on_ack=acknowledge)
    assert acknowledged == []
    written.poll()
    assert acknowledged == [7]
    assert written.flush(0.0)
    assert acknowledged == [7], "once"


class Real:
    """A consumer that no group may be asked of."""

    def __init__(self) -> None:
        self.did: list[str] = []

    def consume(self, most: int, timeout: float) -> list[Message]:
        self.did.append("consume")
        return []

    def pause(self, places: list[TopicPartition]) -> None:
        self.did.append("pause")

    def close(self) -> None:
        self.did.append("close")

    def subscribe(self, *_: object, **__: object) -> None:
        raise AssertionError("it joins a group")

    def commit(self, **_: object) -> None:
        raise AssertionError("it commits")


def test_all_partitions_are_its_own_and_what_it_commits_stays_in_memory() -> None:
    real = Real()
    group = NoGroup(lambda on_error, **more: real, 2)  # type: ignore[arg-type,return-value]
    member, came, went = group.member(lambda error: None), list[TopicPartition](), list[TopicPartition]()
    place = TopicPartition("offers", 1, 7, metadata="m")
    (before,) = member.committed([place], timeout=1.0)
    assert before.offset == OFFSET_INVALID
    assert member.commit(offsets=[place], asynchronous=False) == [place]
    assert member.committed([TopicPartition("offers", 1)], timeout=1.0)[0].metadata == "m"
    assert group.member(lambda error: None).committed([place], timeout=1.0)[0].offset == 7, "another one finds it too"
    member.subscribe(
        ["offers", "checkouts"],
        on_assign=lambda it, places: came.extend(places),
        on_revoke=lambda it, places: went.extend(places),
        on_lost=lambda it, places: None,
    )
    assert came == []
    member.consume(1, 0.0)
    member.consume(1, 0.0)
    places = [(topic, partition) for topic in ("offers", "checkouts") for partition in range(2)]
    assert [(found.topic, found.partition) for found in came] == places
    member.pause([place])
    assert member.memberid() == ""
    member.close()
    assert [(found.topic, found.partition) for found in went] == places
    assert real.did == ["consume", "consume", "pause", "close"]
