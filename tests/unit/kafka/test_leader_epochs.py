"""Leader epochs: which one goes with a position, and what a broker's answer to it says of the log."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from confluent_kafka import KafkaError, TopicPartition
from support.kafka import Message, Place, partition_end

from consumer.core.checkpoint import Position
from consumer.errors import StartError
from consumer.kafka.leader_epochs import NO_EPOCH, NOT_READ, CutLogs, ReadEpochs, ReadTo

PLACE = ("checkouts", 0)


def record(offset: int, epoch: int | None, place: Place = PLACE) -> Message:
    return Message(*place, offset, epoch=epoch)


def doubted(epochs: ReadEpochs, messages: list[Message]) -> dict[Place, ReadTo]:
    """What these leave in doubt; the broker then tells that the logs are whole."""
    found = dict(epochs.saw(messages))
    epochs.whole()
    return found


# --- which epoch goes with a position


def test_a_position_has_the_epoch_of_the_last_record_below_it() -> None:
    epochs = ReadEpochs()
    epochs.begin(PLACE, NOT_READ)
    epochs.saw([record(3, 4), record(4, 4), record(5, 7)])
    epochs.saw([record(9, 8)])
    assert [epochs.below(PLACE, offset) for offset in range(3, 12)] == [NO_EPOCH, 4, 4, 7, 7, 7, 7, 8, 8]


def test_partitions_have_epochs_of_their_own() -> None:
    epochs = ReadEpochs()
    epochs.saw([record(0, 4), record(0, 2, ("offers", 0)), record(0, 3, ("checkouts", 1)), record(1, 5)])
    assert [epochs.below(place, 1) for place in (PLACE, ("offers", 0), ("checkouts", 1))] == [4, 2, 3]
    assert epochs.below(PLACE, 2) == 5


def test_records_that_are_told_twice_change_nothing() -> None:
    """While a topic may have been made anew, records wait, and are told again with those that come."""
    epochs, waiting = ReadEpochs(), [record(3, 4), record(4, 4), record(5, 7)]
    epochs.saw(waiting)
    epochs.saw([*waiting, record(6, 7)])
    assert [epochs.below(PLACE, offset) for offset in (4, 5, 6, 7)] == [4, 4, 7, 7]


def test_the_end_of_a_partition_has_no_epoch() -> None:
    epochs = ReadEpochs()
    epochs.saw([record(3, 4), partition_end(*PLACE, 4)])
    assert epochs.below(PLACE, 4) == 4


def test_where_nothing_was_read_since_the_start_a_position_keeps_the_epoch_that_it_had() -> None:
    epochs = ReadEpochs()
    epochs.begin(PLACE, ReadTo(9, 4))
    assert epochs.below(PLACE, 8) == NO_EPOCH, "the record below that was another one"
    assert epochs.below(PLACE, 9) == 4
    assert epochs.below(PLACE, 10) == 4, "a marker has been read since, and no record"
    epochs.saw([record(10, 6)])
    assert [epochs.below(PLACE, offset) for offset in (10, 11)] == [4, 6]


def test_a_task_that_begins_anew_knows_nothing_of_what_was_read_before() -> None:
    epochs = ReadEpochs()
    epochs.saw([record(3, 4), record(9, 5)])
    epochs.begin(PLACE, ReadTo(3, 2))
    assert epochs.below(PLACE, 10) == 2
    epochs.saw([record(3, 5)])
    assert epochs.below(PLACE, 4) == 5


def test_the_first_record_of_another_leader_leaves_in_doubt_what_was_read_before_it_and_no_other_does() -> None:
    epochs = ReadEpochs()
    epochs.begin(PLACE, ReadTo(3, 2))
    assert doubted(epochs, [partition_end(*PLACE, 3)]) == {}
    assert doubted(epochs, [record(3, 4), record(4, 4)]) == {PLACE: ReadTo(3, 2)}
    assert doubted(epochs, [record(5, 6)]) == {}, "from the first record on the client compares"
    epochs.begin(PLACE, ReadTo(6, 6))
    assert doubted(epochs, [record(6, 6)]) == {}
    epochs.begin(PLACE, ReadTo(7, 6))
    assert doubted(epochs, [record(3, 4), record(6, 6), record(7, 6)]) == {}, "it is read again"
    epochs.begin(PLACE, ReadTo(7, 6))
    assert doubted(epochs, [record(7, 5)]) == {PLACE: ReadTo(7, 6)}, "epochs never fall within a log"
    epochs.begin(PLACE, ReadTo(7, NO_EPOCH))
    assert doubted(epochs, [record(7, 9)]) == {}, "nothing is known to compare with"


def test_a_record_below_what_was_read_that_a_newer_leader_wrote_leaves_it_in_doubt() -> None:
    epochs = ReadEpochs()
    epochs.begin(PLACE, ReadTo(28, 4))
    assert doubted(epochs, [record(20, 3), record(22, 4)]) == {}, "it is read again"
    assert doubted(epochs, [record(25, 6)]) == {PLACE: ReadTo(28, 4)}
    epochs.begin(PLACE, ReadTo(28, 4))
    assert doubted(epochs, [record(20, 4), record(28, 6)]) == {}, "from there on the client compares"


def test_a_record_of_an_older_leader_than_the_one_before_it_leaves_in_doubt_what_was_read() -> None:
    epochs, read = ReadEpochs(), [record(26, 2), record(27, 4)]
    epochs.begin(PLACE, ReadTo(26, 2))
    epochs.saw(read)
    assert doubted(epochs, [*read, record(28, 3)]) == {PLACE: ReadTo(28, 4)}
    epochs.begin(PLACE, ReadTo(26, 2))
    epochs.saw([*read, record(28, None)])
    assert doubted(epochs, [record(29, 4)]) == {}, "there was no epoch between"
    assert doubted(epochs, [record(30, 3)]) == {PLACE: ReadTo(30, 4)}


def test_a_doubt_stays_until_the_broker_has_told_or_the_task_has_gone() -> None:
    epochs = ReadEpochs()
    epochs.begin(PLACE, ReadTo(3, 2))
    epochs.saw([record(3, 4)])
    assert epochs.saw([]) == {PLACE: ReadTo(3, 2)}
    epochs.drop([TopicPartition(*PLACE)])
    assert epochs.saw([]) == {}
    epochs.begin(PLACE, ReadTo(3, 2))
    epochs.saw([record(3, 4)])
    epochs.begin(PLACE, ReadTo(5, 4))
    assert epochs.saw([record(5, 4)]) == {}


def test_a_record_without_an_epoch_leaves_the_position_without_one() -> None:
    epochs = ReadEpochs()
    epochs.begin(PLACE, ReadTo(3, 2))
    epochs.saw([record(3, 4), record(4, None)])
    assert [epochs.below(PLACE, offset) for offset in (4, 5)] == [4, NO_EPOCH]


def test_a_commit_has_the_epoch_of_how_far_was_read_and_not_of_its_own_offset() -> None:
    epochs = ReadEpochs()
    epochs.saw([record(3, 4), record(9, 5)])
    place = epochs.committed(PLACE, Position(4, "text"), 10)
    assert (place.topic, place.partition, place.offset, place.metadata, place.leader_epoch) == (*PLACE, 4, "text", 5)
    assert epochs.committed(PLACE, Position(0, "text"), 0).leader_epoch is None


# --- what the broker says of it


class PlayedLogs:
    """A reader that the broker's answers come to, in turns."""

    def __init__(self, *turns: list[Message]) -> None:
        self.turns = list(turns)
        self.assigned: list[tuple[str, int, int, int | None]] = []
        self.paused: list[Place] = []
        self.closed = False

    def assign(self, places: list[TopicPartition]) -> None:
        self.assigned = [(p.topic, p.partition, p.offset, p.leader_epoch) for p in places]

    def consume(self, most: int, timeout: float) -> list[Message]:
        return self.turns.pop(0) if self.turns else []

    def pause(self, places: list[TopicPartition]) -> None:
        self.paused += [(place.topic, place.partition) for place in places]

    def close(self) -> None:
        self.closed = True


def asked(logs: PlayedLogs, **read: tuple[int, int]) -> dict[Place, int]:
    seconds = count()
    cut_logs = CutLogs(lambda: logs, lambda: float(next(seconds)))  # type: ignore[arg-type,return-value]
    return cut_logs.of({(topic, 0): ReadTo(*to) for topic, to in read.items()})


def test_the_broker_is_asked_for_all_partitions_at_once_with_their_epochs() -> None:
    logs = PlayedLogs([partition_end("offers", 0, 9)], [record(28, 6)])
    assert asked(logs, offers=(9, 3), checkouts=(28, 4)) == {}
    assert logs.assigned == [("offers", 0, 8, 3), ("checkouts", 0, 27, 4)]
    assert logs.closed


def test_a_record_from_below_what_was_read_tells_that_the_log_was_cut() -> None:
    logs = PlayedLogs([record(25, 6), record(26, 6), partition_end("offers", 0, 9)])
    assert asked(logs, offers=(9, 3), checkouts=(28, 4)) == {PLACE: 25}
    assert PLACE in logs.paused, "the first one tells it"


def test_an_end_from_below_what_was_read_tells_it_too() -> None:
    assert asked(PlayedLogs([partition_end(*PLACE, 20)]), checkouts=(28, 4)) == {PLACE: 20}


def test_a_marker_of_a_newer_epoch_is_no_cut() -> None:
    """The broker says that epoch 3 ends at 8, and the client goes back to there: no record stands below 9."""
    assert asked(PlayedLogs([partition_end(*PLACE, 9)]), checkouts=(9, 3)) == {}
    assert asked(PlayedLogs([record(9, 5)]), checkouts=(9, 3)) == {}


def test_retention_that_has_deleted_what_was_read_is_no_cut() -> None:
    assert asked(PlayedLogs([record(40, 6)]), checkouts=(28, 4)) == {}


def test_a_log_that_went_on_under_an_older_epoch_is_not_what_was_read() -> None:
    """Record 27 was of epoch 4. A leader of epoch 3 that had written to 40 is elected: 28 lies before its end.

    Where epoch 4 began is told by nobody.
    """
    assert asked(PlayedLogs([record(28, 3)]), checkouts=(28, 4)) == {PLACE: 0}
    assert asked(PlayedLogs([record(40, 3)]), checkouts=(28, 4)) == {PLACE: 0}, "retention has deleted up to 40"
    assert asked(PlayedLogs([record(28, 4)]), checkouts=(28, 4)) == {}


def test_where_an_older_log_ends_at_what_was_read_its_last_record_tells_that_the_log_was_cut() -> None:
    """Record 27 was of epoch 4. A leader of epoch 3 that had written to 28 is elected, and writes on under epoch 5."""
    assert asked(PlayedLogs([record(27, 3), record(28, 5)]), checkouts=(28, 4)) == {PLACE: 0}
    assert asked(PlayedLogs([record(27, 5)]), checkouts=(28, 4)) == {PLACE: 27}, "cut there, and written anew"
    assert asked(PlayedLogs([record(27, 4), record(28, 5)]), checkouts=(28, 4)) == {}


def test_what_was_read_leaves_a_doubt_where_its_last_record_is_found_to_be_of_an_older_leader() -> None:
    epochs = ReadEpochs()
    epochs.begin(PLACE, ReadTo(28, 4))
    assert doubted(epochs, [record(20, 3), record(27, 3)]) == {}, "it is read again"
    assert doubted(epochs, [record(28, 5)]) == {PLACE: ReadTo(28, 4)}


def test_what_was_read_leaves_that_doubt_too_where_the_older_log_goes_on_behind_it() -> None:
    """After the start was checked, a leader of epoch 3 that had written to 40 is elected: no epoch changes at 28."""
    epochs, again = ReadEpochs(), [record(20, 3), record(27, 3)]
    epochs.begin(PLACE, ReadTo(28, 4))
    assert doubted(epochs, again) == {}, "it is read again"
    assert doubted(epochs, [*again, record(28, 3)]) == {PLACE: ReadTo(28, 4)}
    assert doubted(epochs, [record(29, 3)]) == {}, "the broker was asked"
    epochs.begin(PLACE, ReadTo(28, 4))
    assert doubted(epochs, [record(20, 3), record(27, 4), record(28, 4), record(29, 4)]) == {}
    assert [epochs.below(PLACE, offset) for offset in (21, 27, 28, 30)] == [3, 3, 4, 4]


@pytest.mark.parametrize("unknown", [None, NO_EPOCH])
def test_a_record_whose_epoch_is_not_known_is_of_no_older_one(unknown: int | None) -> None:
    assert asked(PlayedLogs([record(28, unknown)]), checkouts=(28, 4)) == {}
    assert asked(PlayedLogs([record(27, unknown)]), checkouts=(28, 4)) == {}


def test_without_an_epoch_nothing_is_asked() -> None:
    def unused() -> Any:
        raise AssertionError("no client is made")

    assert CutLogs(unused).of({PLACE: ReadTo(28, NO_EPOCH), ("offers", 0): NOT_READ, ("offers", 1): ReadTo(0, 3)}) == {}


def test_a_broker_that_does_not_answer_stops_the_start() -> None:
    error = KafkaError(KafkaError._ALL_BROKERS_DOWN, "all brokers are down")
    logs = PlayedLogs([partition_end("offers", 0, 9), Message(None, 0, 0, error=error)])
    with pytest.raises(StartError, match=r"checkouts\[0\]: the broker does not(?s:.*)all brokers are down") as told:
        asked(logs, offers=(9, 3), checkouts=(28, 4))
    assert "offers[0]" not in str(told.value)
    assert logs.closed
