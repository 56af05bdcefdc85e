"""Tasks under the `consumer` protocol: the partitions come and go one by one, and what stays is left alone."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import confluent_kafka
import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from structlog.testing import capture_logs
from support.kafka import Consumer, Message, Place, marked

from consumer.core.checkpoint import Position
from consumer.core.commits import CommitPlan
from consumer.core.rules import DecisionRules
from consumer.errors import PartitionsChangedError, StartError, StopError
from consumer.kafka.config import consumer_config
from consumer.kafka.consumer import GroupConsumer
from consumer.kafka.start_offsets import StartOffsets, TaskStart
from consumer.settings import KafkaSettings
from consumer.settings.kafka import CLASSIC_PROPERTIES

OFFERS, CHECKOUTS = "offers", "checkouts"
PARTITIONS = 4


class StrictConsumer(Consumer):
    """A consumer as strict as librdkafka about which calls fit the protocol and what is assigned."""

    def __init__(self, protocol: str) -> None:
        super().__init__(partitions=PARTITIONS, committed=0)
        self.high = 1_000
        self.protocol = protocol
        self.events: list[Message | Callable[[], None]] = []
        self.reading: dict[Place, int] = {}
        self.paused: set[Place] = set()
        self.timeouts: list[float] = []
        self.in_callback = False

    def subscribe(self, topics: list[str], on_assign: Any, on_revoke: Any, on_lost: Any) -> None:
        self._on_assign, self._on_revoke, self._on_lost = on_assign, on_revoke, on_lost

    # --- what the test lets happen within a poll

    def consume(self, most: int, timeout: float) -> list[Message]:
        records: list[Message] = []
        for event in self.events:
            if isinstance(event, Message):
                records.append(event)
            else:
                self.in_callback = True
                event()
                self.in_callback = False
        self.events = []
        return records

    def close(self) -> None:
        self.consume(0, 0.0)
        self.take(*self.reading)()

    def give(self, *places: Place) -> Callable[[], None]:
        return lambda: self._on_assign(self, [TopicPartition(*place) for place in places])

    def take(self, *places: Place) -> Callable[[], None]:
        return lambda: self._on_revoke(self, [TopicPartition(*place) for place in places])

    def lose(self, *places: Place) -> Callable[[], None]:
        return lambda: self._on_lost(self, [TopicPartition(*place) for place in places])

    # --- librdkafka

    def assign(self, places: list[TopicPartition]) -> None:
        assert self.protocol == "classic"
        self.reading = {(place.topic, place.partition): place.offset for place in places}

    def unassign(self) -> None:
        assert self.protocol == "classic"
        self.reading = {}

    def incremental_assign(self, places: list[TopicPartition]) -> None:
        assert self.protocol == "consumer"
        for place in places:
            assert (place.topic, place.partition) not in self.reading
            self.reading[place.topic, place.partition] = place.offset

    def incremental_unassign(self, places: list[TopicPartition]) -> None:
        assert self.protocol == "consumer"
        for place in places:
            del self.reading[place.topic, place.partition]

    def pause(self, places: list[TopicPartition]) -> None:
        assert {(place.topic, place.partition) for place in places} <= self.reading.keys()
        self.paused |= {(place.topic, place.partition) for place in places}

    def resume(self, places: list[TopicPartition]) -> None:
        assert {(place.topic, place.partition) for place in places} <= self.reading.keys()
        self.paused -= {(place.topic, place.partition) for place in places}

    def list_topics(self, topic: str, timeout: float) -> Any:
        assert not self.in_callback, "the real client ends the process if another callback follows"
        self.timeouts.append(timeout)
        return super().list_topics(topic, timeout)


class AssignmentWorld:
    """A source with tasks that commit, when they are revoked, how far the test says that they are."""

    def __init__(self, protocol: str = "consumer") -> None:
        self.consumer = StrictConsumer(protocol)
        self.tasks: dict[int, TaskStart] = {}
        self.settled = 7
        self.told: list[tuple[str, list[int]]] = []
        self.now = 0.0
        settings = KafkaSettings(group_id="g", offer_topic=OFFERS, checkout_topic=CHECKOUTS, group_protocol=protocol)
        self.source = GroupConsumer(
            lambda _: self.consumer,  # type: ignore[arg-type,return-value]
            settings,
            StartOffsets(
                settings, DecisionRules(window=1, checkout_grace=0, lookback=1, lateness=0, max_skew=1), PARTITIONS
            ),
            self,
            lambda _: None,
            lambda: self.now,
        )
        self.source.subscribe(0)
        self.consumer.commits.clear()

    def begin(self, partition: int, start: TaskStart) -> None:
        assert partition not in self.tasks
        self.tasks[partition] = start

    def revoked(self, partitions: list[int]) -> None:
        self.told.append(("revoked", partitions))
        at = [Position(self.settled, marked(topic, self.settled, PARTITIONS)) for topic in (OFFERS, CHECKOUTS)]
        self.source.commit({partition: CommitPlan(*at, 0, 0) for partition in partitions})
        for partition in partitions:
            del self.tasks[partition]

    def lost(self, partitions: list[int]) -> None:
        self.told.append(("lost", partitions))
        for partition in partitions:
            del self.tasks[partition]

    def poll(self, *events: Message | Callable[[], None]) -> list[tuple[Place, int]]:
        """What a poll hands on in which this happens; then everything is read, as at the end of a turn."""
        self.consumer.events = list(events)
        records = [((message.topic(), message.partition()), message.offset()) for message in self.source.poll(100, 0.0)]  # type: ignore[attr-defined]
        self.source.pause(set())
        return records


def pair(*partitions: int) -> list[Place]:
    return [(topic, partition) for partition in partitions for topic in (OFFERS, CHECKOUTS)]


@pytest.fixture
def world() -> AssignmentWorld:
    return AssignmentWorld()


# --- halves


@pytest.mark.parametrize(("first", "second"), [(OFFERS, CHECKOUTS), (CHECKOUTS, OFFERS)])
def test_a_task_begins_when_both_its_partitions_are_here_in_either_order(
    world: AssignmentWorld, first: str, second: str
) -> None:
    world.poll(world.consumer.give((first, 2)))
    assert world.tasks == {}
    assert world.consumer.reading == {}, "a half is read"
    assert world.source.halves == (2,)
    world.poll(world.consumer.give((second, 2)))
    assert world.tasks.keys() == {2}
    assert world.consumer.reading.keys() == set(pair(2))
    assert world.source.halves == ()


def test_a_task_begins_where_the_former_owner_committed_last_though_the_first_half_came_before_that(
    world: AssignmentWorld,
) -> None:
    world.consumer.committed_offsets |= dict.fromkeys(pair(2), 10)
    world.poll(world.consumer.give((OFFERS, 2)))
    world.consumer.committed_offsets |= dict.fromkeys(pair(2), 20)
    world.poll(world.consumer.give((CHECKOUTS, 2)))
    assert world.tasks[2].offers.offset == world.tasks[2].checkouts.offset == 20
    assert world.consumer.reading == dict.fromkeys(pair(2), 20)


@pytest.mark.parametrize(("goes", "stays"), [(OFFERS, CHECKOUTS), (CHECKOUTS, OFFERS)])
def test_a_task_ends_when_either_half_goes_and_commits_both_in_one_request(
    world: AssignmentWorld, goes: str, stays: str
) -> None:
    world.poll(world.consumer.give(*pair(0, 2)))
    world.poll(world.consumer.take((goes, 2)))
    assert world.consumer.commits == [dict.fromkeys(pair(2), 7)]
    assert world.tasks.keys() == {0}
    assert world.consumer.reading.keys() == set(pair(0)), "the half that stays is read"
    world.poll(world.consumer.take((stays, 2)))
    assert len(world.consumer.commits) == 1, "something was committed for a half"
    assert world.told == [("revoked", [2])]


def test_nothing_is_committed_for_a_half_that_never_made_a_task(world: AssignmentWorld) -> None:
    world.poll(world.consumer.give((OFFERS, 1)))
    world.poll(world.consumer.take((OFFERS, 1)))
    world.poll(world.consumer.give((CHECKOUTS, 1)))
    world.poll(world.consumer.lose((CHECKOUTS, 1)))
    assert world.consumer.commits == []
    assert world.tasks == {}


def test_a_half_that_stayed_makes_a_task_again_from_what_was_committed_since(world: AssignmentWorld) -> None:
    world.poll(world.consumer.give(*pair(2)))
    world.poll(world.consumer.take((OFFERS, 2)))
    world.consumer.committed_offsets |= {(OFFERS, 2): 31, (CHECKOUTS, 2): 32}
    world.poll(world.consumer.give((OFFERS, 2)))
    assert world.consumer.reading == {(OFFERS, 2): 31, (CHECKOUTS, 2): 32}
    assert world.tasks.keys() == {2}


def test_a_half_that_is_lost_ends_the_task_without_a_commit(world: AssignmentWorld) -> None:
    world.poll(world.consumer.give(*pair(2, 3)))
    world.poll(world.consumer.lose((CHECKOUTS, 3)))
    assert world.told == [("lost", [3])]
    assert world.consumer.commits == []
    assert world.consumer.reading.keys() == set(pair(2))


def test_two_members_with_one_half_each_have_no_task(world: AssignmentWorld) -> None:
    other = AssignmentWorld()
    world.poll(world.consumer.give(*pair(0), (OFFERS, 1)))
    other.poll(other.consumer.give(*pair(2), (CHECKOUTS, 1)))
    assert (world.tasks.keys(), other.tasks.keys()) == ({0}, {2})


def test_a_half_that_waits_for_a_minute_is_named_again_and_again_until_its_pair_comes(world: AssignmentWorld) -> None:
    def warnings() -> list[dict[str, Any]]:
        with capture_logs() as lines:
            world.poll()
        return [line for line in lines if line["log_level"] == "warning"]

    world.poll(world.consumer.give((OFFERS, 1), *pair(0)))
    world.now = 59.0
    assert warnings() == []
    for now in (61.0, 122.0):
        world.now = now
        (line,) = warnings()
        assert (line["topic"], line["partitions"], line["missing"]) == (OFFERS, [1], CHECKOUTS)
        assert warnings() == []
    world.poll(world.consumer.give((CHECKOUTS, 1)))
    world.now = 300.0
    assert warnings() == []


def test_on_the_classic_protocol_halves_are_a_foreign_member_and_stop_the_service() -> None:
    world = AssignmentWorld("classic")
    with pytest.raises(StopError, match="Look for a foreign member"):
        world.poll(world.consumer.give(*pair(0), (OFFERS, 1)))
    assert world.tasks == {}
    assert world.consumer.reading == {}


def test_the_start_is_asked_for_again_if_the_group_has_just_moved_on(world: AssignmentWorld) -> None:
    world.consumer.errors["committed"] = [KafkaError.STALE_MEMBER_EPOCH]
    world.consumer.committed_offsets |= dict.fromkeys(pair(2), 10)
    world.poll(world.consumer.give(*pair(2)))
    assert world.consumer.reading == dict.fromkeys(pair(2), 10)


# --- what stays


def test_the_records_of_tasks_that_stay_are_handed_on_from_a_poll_in_which_others_come_and_go(
    world: AssignmentWorld,
) -> None:
    world.poll(world.consumer.give(*pair(0, 1)))
    found = world.poll(
        Message(OFFERS, 0, 5),
        Message(OFFERS, 1, 5),
        world.consumer.take(*pair(1)),
        world.consumer.give(*pair(2)),
        Message(CHECKOUTS, 0, 6),
        Message(CHECKOUTS, 2, 6),
    )
    assert found == [((OFFERS, 0), 5), ((CHECKOUTS, 0), 6)], "the client does not read them again"


def test_no_record_of_a_task_that_ended_and_began_again_in_one_poll_is_handed_on(world: AssignmentWorld) -> None:
    world.poll(world.consumer.give(*pair(1)))
    found = world.poll(
        Message(OFFERS, 1, 5), world.consumer.take((OFFERS, 1)), world.consumer.give((OFFERS, 1)), Message(OFFERS, 1, 6)
    )
    assert found == []
    assert world.consumer.reading == dict.fromkeys(pair(1), 7)


def test_what_comes_and_goes_leaves_the_pauses_of_what_stays_as_they_are(world: AssignmentWorld) -> None:
    world.poll(world.consumer.give(*pair(0, 1)))
    world.source.pause({(OFFERS, 0), (OFFERS, 1)})
    world.consumer.events = [world.consumer.take(*pair(1)), world.consumer.give(*pair(2))]
    world.source.poll(100, 0.0)
    assert world.consumer.paused & world.consumer.reading.keys() == {(OFFERS, 0), *pair(2)}
    world.source.pause({(OFFERS, 2)})
    assert world.consumer.paused & world.consumer.reading.keys() == {(OFFERS, 2)}


def test_an_error_of_the_client_is_heard_in_a_poll_with_a_rebalance(world: AssignmentWorld) -> None:
    fatal = SimpleNamespace(code=lambda: KafkaError._FATAL, fatal=lambda: False, str=lambda: "Fatal error: no")
    with pytest.raises(StopError, match="Fatal error: no"):
        world.poll(world.consumer.give(*pair(0)), Message(None, -1, -1001, error=fatal))


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_all_that_is_revoked_is_committed_in_one_request_and_read_no_more(protocol: str) -> None:
    world = AssignmentWorld(protocol)
    world.poll(world.consumer.give(*pair(0, 1)))
    assert world.poll(Message(OFFERS, 0, 5), world.consumer.take(*pair(0, 1))) == []
    assert world.consumer.commits == [dict.fromkeys(pair(0, 1), 7)]
    assert world.consumer.reading == {}


def test_an_error_while_a_task_begins_leaves_it_unread(world: AssignmentWorld) -> None:
    world.consumer.committed_offsets |= dict.fromkeys(pair(0), 5_000)
    with pytest.raises(StartError, match="the broker holds 0 to 1000"):
        world.poll(world.consumer.give(*pair(0)))
    assert world.consumer.reading == {}


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_what_is_given_to_a_member_that_leaves_begins_no_task_and_asks_nothing(protocol: str) -> None:
    world = AssignmentWorld(protocol)
    world.consumer.errors["committed"] = [KafkaError._TIMED_OUT]
    world.consumer.events = [world.consumer.give(*pair(0))]
    world.source.close()
    assert (world.told, world.consumer.reading, world.consumer.commits) == ([], {}, [])
    assert world.consumer.errors["committed"], "a client that closes does not answer"


# --- what the group does not tell


def test_topics_that_grew_stop_a_member_in_the_poll_that_gives_it_something(world: AssignmentWorld) -> None:
    world.poll(world.consumer.give(*pair(0)))
    world.consumer.partitions = PARTITIONS + 2
    with pytest.raises(PartitionsChangedError):
        world.poll(world.consumer.take(*pair(0)), world.consumer.give(*pair(1)))


def test_a_partition_that_was_not_there_at_the_start_makes_no_task(world: AssignmentWorld) -> None:
    with pytest.raises(PartitionsChangedError, match="offers, checkouts had 4 partitions"):
        world.poll(world.consumer.give(*pair(PARTITIONS)))
    assert world.tasks == {}


def test_topics_that_grew_stop_a_member_to_which_nothing_came_and_nothing_went(world: AssignmentWorld) -> None:
    world.poll(world.consumer.give(*pair(0)))
    world.poll()
    world.consumer.partitions = PARTITIONS + 2
    world.poll()
    world.now = 31.0
    with pytest.raises(PartitionsChangedError, match="had 4 partitions when this service started and has 6 now"):
        world.poll()


@pytest.mark.parametrize("told", [None, 0])
def test_a_broker_that_does_not_tell_how_many_partitions_there_are_stops_nothing(
    world: AssignmentWorld, told: int | None
) -> None:
    world.poll(world.consumer.give(*pair(0)))
    world.consumer.partitions = told
    world.now = 31.0
    asked = len(world.consumer.timeouts)
    world.poll()
    assert len(world.consumer.timeouts) == asked + 1
    assert world.consumer.timeouts[-1] <= 2, "the poll thread waits long"


# --- commits


def test_a_commit_that_comes_before_the_news_of_a_new_epoch_is_made_again(world: AssignmentWorld) -> None:
    world.poll(world.consumer.give(*pair(0)))
    world.consumer.errors["commit"] = [KafkaError.STALE_MEMBER_EPOCH] * 2
    world.poll(world.consumer.take(*pair(0)))
    assert world.consumer.commits == [dict.fromkeys(pair(0), 7)]


def test_a_commit_of_a_member_that_the_group_gave_up_is_not_made_again(world: AssignmentWorld) -> None:
    world.poll(world.consumer.give(*pair(0)))
    world.consumer.errors["commit"] = [KafkaError.UNKNOWN_MEMBER_ID]
    plan = CommitPlan(Position(3), Position(3), 0, 0)
    assert world.source.commit({0: plan}) == set()
    assert world.consumer.commits == []


# --- the client's configuration


def config(protocol: str) -> dict[str, Any]:
    return consumer_config(KafkaSettings(group_protocol=protocol), on_error=lambda _: None)


def test_each_protocol_is_told_to_give_partitions_of_the_same_number_to_one_member() -> None:
    classic, new = config("classic"), config("consumer")
    assert classic["partition.assignment.strategy"] == new["group.remote.assignor"] == "range"
    assert "partition.assignment.strategy" not in new
    assert (classic["group.protocol"], new["group.protocol"]) == ("classic", "consumer")


def test_the_classic_settings_that_are_refused_are_those_that_librdkafka_refuses() -> None:
    """`partition.assignment.strategy`, the fourth, is refused on either protocol."""
    values = {"session.timeout.ms": 6_000, "heartbeat.interval.ms": 500, "group.protocol.type": "consumer"}
    assert values.keys() == CLASSIC_PROPERTIES.keys()
    confluent_kafka.Consumer(config("consumer")).close()
    for name, value in values.items():
        with pytest.raises(KafkaException, match=name):
            confluent_kafka.Consumer({**config("consumer"), name: value})


@pytest.mark.parametrize(
    ("cause", "advice"),
    [
        (KafkaError.UNSUPPORTED_VERSION, "Kafka 4.0"),
        (KafkaError.UNRELEASED_INSTANCE_ID, "kafka.group_instance_id"),
        (KafkaError.UNSUPPORTED_ASSIGNOR, "group.consumer.assignors"),
    ],
)
def test_a_broker_that_refuses_the_member_for_good_stops_it_with_advice(
    world: AssignmentWorld, cause: int, advice: str
) -> None:
    said = f"Fatal error: {KafkaError(cause).str()}: ConsumerGroupHeartbeat fatal error"
    fatal = SimpleNamespace(code=lambda: KafkaError._FATAL, fatal=lambda: False, str=lambda: said)
    with pytest.raises(StopError, match=advice):
        world.poll(Message(None, -1, -1001, error=fatal))
