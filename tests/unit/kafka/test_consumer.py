"""What the source makes of the client's answers and errors: commits, ends of partitions, what ends the service."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from structlog.testing import capture_logs
from support.kafka import Message, partition_end

from consumer.core.checkpoint import Position
from consumer.core.commits import CommitPlan
from consumer.core.watermark import Side
from consumer.errors import OffsetGoneError, OptOutError, StartError, StopError, TopicMadeAnewError
from consumer.kafka.config import consumer_config
from consumer.kafka.consumer import GroupConsumer
from consumer.kafka.leader_epochs import NOT_READ, Place, ReadTo
from consumer.kafka.start_offsets import TaskStart
from consumer.settings import KafkaSettings

SETTINGS = KafkaSettings(bootstrap_servers="127.0.0.1:1", offer_topic="offers", checkout_topic="checkouts")
PLAN = CommitPlan(Position(7, "o"), Position(5, "c"), retain_from=0, decided_to=0)


class Client:
    """The part of a Kafka consumer that a source uses."""

    def __init__(self, on_error: Any) -> None:
        self.on_error = on_error
        self.messages: list[Any] = []
        self.during_consume: list[Any] = []
        self.commits: list[Any] = []
        self.answers: list[Any] = []
        self.reading: list[tuple[str, int, int]] = []
        self.paused: set[tuple[str, int]] = set()
        self.member: str | None = None
        self.most = 0

    def subscribe(self, topics: list[str], on_assign: Any, on_revoke: Any, on_lost: Any) -> None:
        self.on_assign, self.on_revoke, self.on_lost = on_assign, on_revoke, on_lost

    def consume(self, most: int, timeout: float) -> list[Any]:
        self.most = most
        for happens in self.during_consume:
            happens()
        self.during_consume = []
        return self.messages

    def commit(self, **how: Any) -> Any:
        self.commits.append(how)
        answer = self.answers.pop(0)
        if isinstance(answer, int):
            raise KafkaException(KafkaError(answer))
        return answer

    def assign(self, places: list[TopicPartition]) -> None:
        self.reading = [(place.topic, place.partition, place.offset) for place in places]

    def unassign(self) -> None:
        self.reading = []

    def pause(self, places: list[TopicPartition]) -> None:
        self.paused |= {(place.topic, place.partition) for place in places}

    def resume(self, places: list[TopicPartition]) -> None:
        self.paused -= {(place.topic, place.partition) for place in places}

    def memberid(self) -> str | None:
        return self.member


class Starts:
    """Says where tasks start, or why it cannot. `read_to`: how far both topics had been read."""

    def __init__(self) -> None:
        self.read_to = NOT_READ, NOT_READ
        self.error: Exception | None = None
        self.cut: set[Place] = set()
        self.untold = ""
        self.asked: list[set[Place]] = []
        self.on_ask: Callable[[], object] = lambda: None

    def check_cuts(self, read: Mapping[Place, ReadTo]) -> str:
        self.asked.append(set(read))
        self.on_ask()
        if not self.untold and self.cut & read.keys():
            raise OffsetGoneError("cut")
        return self.untold

    def begin_group(self, consumer: Any, now: int) -> None:
        pass

    def check_partitions(self, consumer: Any, timeout: float) -> None:
        pass

    def of(self, consumer: Any, partitions: Any) -> dict[int, TaskStart]:
        self.on_ask()
        if self.error is not None:
            raise self.error
        return {partition: TaskStart(Position(3), Position(4), None, read_to=self.read_to) for partition in partitions}


class Tasks:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.error: OptOutError | None = None
        self.on_told: Callable[[], object] = lambda: None

    def _note(self, word: str, what: Any) -> None:
        self.told.append((word, what))
        self.on_told()
        if self.error is not None:
            raise self.error

    def begin(self, partition: int, start: TaskStart) -> None:
        self._note("begin", partition)

    def revoked(self, partitions: list[int]) -> None:
        self._note("revoked", partitions)

    def lost(self, partitions: list[int]) -> None:
        self._note("lost", partitions)

    def metadata_refused(self, partition: int) -> None:
        self._note("metadata refused", partition)


class ConsumerWorld:
    """A source with what it stands between."""

    def __init__(self, is_spare: Callable[[str], bool] | None = None, watch: Any = None) -> None:
        self.starts, self.tasks, self.trouble = Starts(), Tasks(), list[str]()
        clients: list[Client] = []

        def make(on_error: Any) -> Any:
            clients.append(Client(on_error))
            return clients[0]

        self.unread = ""
        """Why no call may leave for the sake of what was read, as the gate is told it."""
        self.source = GroupConsumer(
            make,
            SETTINGS,
            self.starts,  # type: ignore[arg-type] # the part of it that is used
            self.tasks,
            self.trouble.append,
            lambda: 0.0,
            is_spare,
            watch,
            on_unread=lambda why: setattr(self, "unread", why),
        )
        self.client = clients[0]
        self.source.subscribe(0)

    def poll(self, *messages: Any, then: Any = ()) -> list[Any]:
        self.client.messages, self.client.during_consume = list(messages), list(then)
        return self.source.poll(10, 0.0)

    def places(self, *partitions: int) -> list[TopicPartition]:
        return [TopicPartition(topic, p) for p in partitions for topic in ("offers", "checkouts")]

    def assign(self, *partitions: int) -> None:
        self.poll(then=[lambda: self.client.on_assign(self.client, self.places(*partitions))])


def message(error: Any = None) -> Any:
    return Message("offers", 2, 0, error=error)


def answer(partition: int, code: int | None = None, *, topic: str = "checkouts") -> Any:
    return SimpleNamespace(topic=topic, partition=partition, error=None if code is None else KafkaError(code))


def acknowledged(*partitions: int) -> list[Any]:
    return [answer(partition, topic=topic) for partition in partitions for topic in ("offers", "checkouts")]


# --- configuration


def test_what_promises_rest_on_is_set_whatever_the_settings_pass_through() -> None:
    config = consumer_config(SETTINGS.model_copy(update={"group_instance_id": "one"}), on_error=print)
    promises = {
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
        "group.instance.id": "one",
        "partition.assignment.strategy": "range",
    }
    assert promises.items() <= config.items()
    logger = config["logger"]
    assert (logger.name, logger.parent) == ("librdkafka.consumer", logging.getLogger("librdkafka")), "as all others"
    assert "group.instance.id" not in consumer_config(SETTINGS, on_error=print)


# --- commits


def test_a_commit_is_one_request_with_both_partitions_of_each_task_and_is_waited_for() -> None:
    world = ConsumerWorld()
    world.client.answers = [acknowledged(0, 1)]
    assert world.source.commit({0: PLAN, 1: PLAN}) == {0, 1}
    (how,) = world.client.commits
    assert how["asynchronous"] is False
    assert [(o.topic, o.partition, o.offset, o.metadata) for o in how["offsets"]] == [
        ("offers", 0, 7, "o"),
        ("checkouts", 0, 5, "c"),
        ("offers", 1, 7, "o"),
        ("checkouts", 1, 5, "c"),
    ]


def epochs_committed(world: ConsumerWorld, offers: int, checkouts: int) -> list[int | None]:
    """Those that go with a commit by which both were read so far; the offset itself is lower."""
    world.client.answers = [acknowledged(0)]
    world.source.commit({0: replace(PLAN, read_to=(offers, checkouts))})
    return [place.leader_epoch for place in world.client.commits[-1]["offsets"]]


def test_a_commit_carries_the_epoch_of_the_last_record_that_was_read() -> None:
    world = ConsumerWorld()
    world.starts.read_to = ReadTo(20, 2), NOT_READ
    world.assign(0)
    assert epochs_committed(world, 20, 9) == [2, None], "nothing was read since"
    world.poll(Message("offers", 0, 20, epoch=3), Message("checkouts", 0, 5, epoch=6))
    world.poll(Message("offers", 0, 25, epoch=4), partition_end("offers", 0, 26))
    assert epochs_committed(world, 20, 5) == [2, None], "it is read, and not applied"
    assert epochs_committed(world, 21, 6) == [3, 6]
    assert epochs_committed(world, 25, 6) == [3, 6]
    assert epochs_committed(world, 26, 6) == [4, 6]


def test_the_first_record_of_a_newer_leader_is_handed_on_once_its_log_holds_what_was_read() -> None:
    world = ConsumerWorld()
    world.starts.read_to = ReadTo(20, 2), ReadTo(9, 3)
    world.assign(0)
    world.starts.cut = {("checkouts", 0)}
    assert len(world.poll(Message("offers", 0, 20, epoch=3), Message("offers", 0, 21, epoch=4))) == 2
    with pytest.raises(OffsetGoneError):
        world.poll(Message("checkouts", 0, 9, epoch=4))


# --- rule 1: no call leaves while what was read is in hand and a broker is waited for


def test_no_call_leaves_while_a_broker_is_asked_of_cuts_with_purchases_in_hand() -> None:
    world, told = ConsumerWorld(), list[str]()
    world.starts.read_to = NOT_READ, ReadTo(9, 3)
    world.assign(0)
    world.poll()
    assert not world.unread
    world.starts.on_ask = lambda: told.append(world.unread)
    assert len(world.poll(Message("checkouts", 0, 9, epoch=4))) == 1
    assert len(told) == 1
    assert "whether a log was cut" in told[0]
    assert world.unread, "they are handed on, and not applied yet"
    world.poll()
    assert not world.unread


def test_no_call_leaves_while_the_group_shares_anew_with_purchases_in_hand() -> None:
    world, told = ConsumerWorld(), list[str]()
    world.assign(0)
    world.poll()
    world.starts.on_ask = world.tasks.on_told = lambda: told.append(world.unread)
    client = world.client
    world.poll(Message("checkouts", 0, 9), then=[lambda: client.on_assign(client, world.places(1))])
    assert told
    assert all(told), "the starts of the new task, then its begin"
    told.clear()
    world.poll()
    assert not world.unread
    world.poll(Message("checkouts", 0, 10), then=[lambda: client.on_revoke(client, world.places(1))])
    assert told
    assert all(told), "the calls of what goes are waited for"


def test_no_call_leaves_until_what_waited_for_the_topics_is_applied() -> None:
    """That they are the same opens the gate for the one reason: what was bought meanwhile has to be applied first."""
    watch = Watch()
    world = ConsumerWorld(watch=watch)
    world.assign(2)
    world.poll()
    watch.certain = False
    assert world.poll(record(2)) == []
    watch.on_look = lambda: setattr(watch, "certain", True)
    assert offsets(world.poll(record(3))) == [2, 3]
    assert world.unread, "they are handed on, and not applied yet"
    world.poll()
    assert not world.unread
    watch.certain = False
    assert offsets(world.poll(record(4))) == [4]
    assert world.unread, "nor may one have waited before"


def test_a_member_that_had_no_task_has_no_call_to_wait() -> None:
    world = ConsumerWorld()
    world.assign(0)
    assert not world.unread


def test_where_the_broker_does_not_tell_of_cuts_records_wait_and_it_is_asked_again() -> None:
    world = ConsumerWorld()
    world.starts.read_to = ReadTo(20, 2), ReadTo(9, 3)
    world.assign(0)
    world.starts.untold = "it does not answer"
    assert world.poll(Message("checkouts", 0, 9, epoch=4)) == []
    assert world.poll(Message("offers", 0, 20, epoch=2)) == []
    assert world.unread
    assert world.trouble == ["it does not answer"] * 2
    assert world.client.paused >= {("checkouts", 0), ("offers", 0)}
    world.starts.untold = ""
    assert offsets(world.poll()) == [9, 20]
    assert world.starts.asked == [{("checkouts", 0)}] * 3
    assert offsets(world.poll(Message("checkouts", 0, 10, epoch=4))) == [10]
    assert not world.unread
    assert len(world.starts.asked) == 3, "it has told"


def test_a_doubt_goes_with_its_task() -> None:
    world = ConsumerWorld()
    world.starts.read_to = NOT_READ, ReadTo(9, 3)
    world.assign(0)
    world.starts.untold = "it does not answer"
    world.poll(Message("checkouts", 0, 9, epoch=4))
    asked = len(world.starts.asked)
    world.poll(then=[lambda: world.client.on_revoke(world.client, world.places(0))])
    assert len(world.starts.asked) == asked
    world.poll()
    assert not world.unread


def test_what_came_before_a_task_began_tells_nothing_of_its_epochs() -> None:
    """It may stand ahead of where the task starts, and is not handed on."""
    world = ConsumerWorld()
    world.poll(Message("offers", 0, 30, epoch=9), then=[lambda: world.client.on_assign(world.client, world.places(0))])
    world.poll(Message("offers", 0, 20, epoch=3))
    assert epochs_committed(world, 31, 9) == [3, None]


def test_a_task_of_which_one_partition_was_refused_is_not_committed() -> None:
    world = ConsumerWorld()
    refused = answer(1, KafkaError.UNKNOWN_TOPIC_OR_PART)
    world.client.answers = [[*acknowledged(0), answer(1, topic="offers"), refused]]
    with capture_logs() as logs:
        assert world.source.commit({0: PLAN, 1: PLAN}) == {0}
    assert [line["partition"] for line in logs] == [1]


def test_of_tasks_whose_metadata_is_too_long_together_each_is_committed_alone_and_the_long_one_made_shorter() -> None:
    """For all of a request the client raises what the broker answered for one partition, and does not say for which."""
    world = ConsumerWorld()
    too_large = KafkaError.OFFSET_METADATA_TOO_LARGE
    world.client.answers = [too_large, acknowledged(0), too_large, acknowledged(2)]
    assert world.source.commit({0: PLAN, 1: PLAN, 2: PLAN}) == {0, 2}
    assert world.tasks.told == [("metadata refused", 1)]
    asked = [commit["offsets"] for commit in world.client.commits]
    assert [{place.partition for place in commit} for commit in asked] == [{0, 1, 2}, {0}, {1}, {2}]


@pytest.mark.parametrize("answers", [None, [], [answer(0)], [answer(0, topic="offers")]])
def test_what_the_broker_does_not_answer_for_is_not_committed(answers: Any) -> None:
    world = ConsumerWorld()
    world.client.answers = [answers]
    assert world.source.commit({0: PLAN}) == set()


@pytest.mark.parametrize(
    ("code", "level"), [(KafkaError.ILLEGAL_GENERATION, "info"), (KafkaError._TIMED_OUT, "warning")]
)
def test_a_failed_commit_commits_nothing_and_is_said(code: int, level: str) -> None:
    world = ConsumerWorld()
    world.client.answers = [code]
    with capture_logs() as logs:
        assert world.source.commit({0: PLAN}) == set()
    assert [(line["log_level"], line["partitions"]) for line in logs] == [(level, [0])]
    assert KafkaError(code).str() in logs[0]["error"]


def test_a_commit_before_the_news_of_a_new_epoch_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("consumer.kafka.consumer.time.sleep", waits.append)
    world, stale = ConsumerWorld(), KafkaError.STALE_MEMBER_EPOCH
    world.client.answers = [stale, stale, acknowledged(0)]
    assert world.source.commit({0: PLAN}) == {0}
    world.client.answers = [stale] * 20 + [acknowledged(0)]
    assert world.source.commit({0: PLAN}) == {0}
    world.client.answers = [stale] * 30
    assert world.source.commit({0: PLAN}) == set()
    assert len(world.client.answers) == 9
    assert all(how == world.client.commits[0] for how in world.client.commits)
    assert sum(waits) == pytest.approx(0.05 * (2 + 20 + 20))


# --- assignment


def test_a_task_begins_where_its_start_says_and_the_rest_is_read_no_more_when_it_goes() -> None:
    world = ConsumerWorld()
    assert not world.source.assigned
    world.assign(0, 1)
    assert world.source.assigned
    assert world.client.reading == [("offers", 0, 3), ("checkouts", 0, 4), ("offers", 1, 3), ("checkouts", 1, 4)]
    assert world.tasks.told == [("begin", 0), ("begin", 1)]
    world.poll(then=[lambda: world.client.on_revoke(world.client, world.places(1))])
    assert world.source.assigned
    world.poll(then=[lambda: world.client.on_revoke(world.client, world.places(0))])
    assert world.tasks.told[2:] == [("revoked", [1]), ("revoked", [0])]
    assert not world.source.assigned
    assert world.client.reading == []


def test_a_member_that_is_given_nothing_asks_whether_it_is_spare_until_it_is_given_something() -> None:
    asked: list[str] = []
    world = ConsumerWorld(lambda member: bool(asked.append(member)) or len(asked) > 1)
    world.poll()
    assert not world.source.assigned
    world.client.member = "m1"
    world.poll()
    assert world.source.assigned
    world.poll()
    assert asked == ["", "m1"]


def test_what_is_lost_is_trouble_since_others_may_have_gone_on() -> None:
    world = ConsumerWorld()
    world.assign(0)
    world.poll(then=[lambda: world.client.on_lost(world.client, world.places(0))])
    assert world.tasks.told == [("begin", 0), ("lost", [0])]
    assert len(world.trouble) == 1


def test_an_assignment_to_no_task_is_one_too() -> None:
    world = ConsumerWorld()
    world.assign()
    assert world.source.assigned


@pytest.mark.parametrize(
    ("error", "stops"),
    [(StopError("why"), StopError), (KafkaException(KafkaError(KafkaError._TIMED_OUT)), StartError)],
)
def test_a_start_that_cannot_be_found_ends_the_service_before_anything_is_read(
    error: Exception, stops: type[OptOutError]
) -> None:
    world = ConsumerWorld()
    world.starts.error = error
    with pytest.raises(stops, match="why" if stops is StopError else r"group offer-opt-out: .*imed out"):
        world.assign(0)
    assert world.client.reading == []
    assert world.tasks.told == []


def test_a_task_that_cannot_begin_or_end_ends_the_service() -> None:
    world = ConsumerWorld()
    world.tasks.error = StopError("begin")
    with pytest.raises(StopError, match="begin"):
        world.assign(0)
    world = ConsumerWorld()
    world.assign(0)
    world.tasks.error = StopError("end")
    with pytest.raises(StopError, match="end"):
        world.poll(then=[lambda: world.client.on_revoke(world.client, world.places(0))])


# --- errors


def test_the_end_of_a_partition_is_handed_on_and_other_errors_are_trouble() -> None:
    world = ConsumerWorld()
    end, record = message(KafkaError(KafkaError._PARTITION_EOF)), message()
    with capture_logs() as logs:
        assert world.poll(record, end, message(KafkaError(KafkaError._TRANSPORT))) == [record, end]
    assert [(line["topic"], line["partition"], bool(line["error"])) for line in logs] == [("offers", 2, True)]
    assert world.trouble == [KafkaError(KafkaError._TRANSPORT).str()]


@pytest.mark.parametrize(
    ("error", "stops", "why"),
    [
        (
            KafkaError(KafkaError._AUTO_OFFSET_RESET),
            OffsetGoneError,
            r"offers\[2\]: the broker no longer has the offset",
        ),
        (KafkaError(KafkaError.OFFSET_OUT_OF_RANGE), OffsetGoneError, "group offer-opt-out stands"),
        (KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART), StopError, "offers: .* the topic exists"),
        (KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED), StopError, "offers: .* may be read"),
        (KafkaError(KafkaError._FATAL), StopError, r"cannot go on: .*\. Start again\.$"),
    ],
)
def test_an_error_that_would_lose_records_stops(error: KafkaError, stops: type[OptOutError], why: str) -> None:
    with pytest.raises(stops, match=why):
        ConsumerWorld().poll(message(error))


def test_the_client_s_own_error_is_trouble_or_the_end() -> None:
    world = ConsumerWorld()
    with capture_logs() as logs:
        world.client.on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    assert world.poll() == []
    assert world.trouble == [KafkaError(KafkaError._ALL_BROKERS_DOWN).str()]
    assert [(line["error"], line["code"]) for line in logs] == [(world.trouble[0], "_ALL_BROKERS_DOWN")]
    reason = "refused: " + KafkaError(KafkaError.UNSUPPORTED_VERSION).str()
    world.client.on_error(KafkaError(KafkaError._FATAL, reason, fatal=True))
    with pytest.raises(StopError, match=r"cannot go on: .*needs brokers of Kafka 4\.0"):
        world.poll()


def test_an_input_has_its_topic() -> None:
    assert [ConsumerWorld().source.topic(side) for side in Side] == ["offers", "checkouts"]


# --- a topic that may have been made anew


class Watch:
    """Says whether the topics are the same, as the test says it."""

    def __init__(self) -> None:
        self.certain = True
        self.error: OptOutError | None = None
        self.doubts, self.epochs = 0, list[Any]()
        self.on_look: Callable[[], object] = lambda: None

    def doubt(self) -> None:
        self.doubts += 1

    def saw_epoch(self, *seen: Any) -> None:
        self.epochs.append(seen)

    def look(self) -> None:
        self.on_look()
        if self.error is not None:
            raise self.error


def record(offset: int, epoch: int = 5) -> Any:
    return Message("offers", 2, offset, b"k", b"v", epoch=epoch)


def offsets(messages: list[Any]) -> list[int]:
    return [message.offset() for message in messages]


def test_in_doubt_records_wait_and_come_in_their_order_once_the_topics_are_known_to_be_the_same() -> None:
    watch = Watch()
    world = ConsumerWorld(watch=watch)
    assert offsets(world.poll(record(1))) == [1]
    watch.certain = False
    assert world.poll(record(2), record(3)) == []
    assert world.poll(record(4)) == []
    assert world.client.most == 1, "meanwhile one at a time"
    watch.certain = True
    assert offsets(world.poll(record(5))) == [2, 3, 4, 5]
    assert offsets(world.poll(record(6))) == [6]
    assert world.client.most == 10


def test_once_a_whole_batch_waits_no_more_is_read_until_the_topics_are_known_to_be_the_same() -> None:
    watch = Watch()
    world = ConsumerWorld(watch=watch)
    world.assign(2)
    world.source.pause({("checkouts", 2)})
    assert world.client.paused == {("checkouts", 2)}
    watch.certain = False
    world.poll(*(record(n) for n in range(9)))
    assert world.client.paused == world.source.paused == {("checkouts", 2)}
    world.poll(record(9))
    assert world.source.paused == {("checkouts", 2), ("offers", 2)}
    assert world.client.paused == {("offers", 2), ("checkouts", 2)}
    world.source.pause(set())
    assert world.poll() == []
    assert world.client.paused == {("offers", 2), ("checkouts", 2)}
    world.source.pause({("checkouts", 2)})
    watch.certain = True
    assert offsets(world.poll()) == list(range(10))
    assert world.client.paused == {("checkouts", 2)}


def test_records_that_wait_are_dropped_with_their_task() -> None:
    watch = Watch()
    world = ConsumerWorld(watch=watch)
    world.assign(2)
    watch.certain = False
    world.poll(record(2))
    watch.certain = True
    then = [lambda: world.client.on_revoke(world.client, world.places(2))]
    assert world.poll(then=then) == []


def test_a_topic_that_was_made_anew_ends_the_poll_and_no_record_is_handed_on() -> None:
    watch = Watch()
    world = ConsumerWorld(watch=watch)
    watch.error = TopicMadeAnewError("offers was deleted")
    with pytest.raises(TopicMadeAnewError):
        world.poll(record(2))


def test_an_error_is_a_doubt_and_the_newest_record_of_a_batch_tells_its_epoch() -> None:
    watch = Watch()
    world = ConsumerWorld(watch=watch)
    world.poll(record(1), record(2, epoch=6))
    assert watch.epochs == [("offers", 2, 6)]
    assert watch.doubts == 0
    world.poll(Message("offers", 2, 0, error=KafkaError(KafkaError._TRANSPORT)))
    assert watch.doubts == 1
    world.client.on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    assert watch.doubts == 2
    world.poll(partition_end("offers", 2, 3))
    assert watch.doubts == 2, "that a partition ends is no error"
