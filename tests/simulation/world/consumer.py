"""What the service takes for librdkafka's consumer, on the simulated broker; on either protocol of the group."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from simulation.checkers.violation import Violation
from simulation.world.broker import Broker, CommitFault, Partition, Record
from simulation.world.clients import Process, message
from simulation.world.group import ClassicGroup, ConsumerGroup, Place
from support.kafka import Message

OUTAGE = KafkaError._ALL_BROKERS_DOWN


class SimulatedConsumer:
    """The consumer of one process: eager rebalances on the classic protocol, piecemeal ones on `consumer`.

    Attributes:
        unaware_until: until then it has not heard that it is no longer a member.
        paused: what it was told not to read.
        began: where it began to read, of each partition of which it has committed nothing since.
    """

    def __init__(self, broker: Broker, process: Process, on_error: Callable[[KafkaError], None]) -> None:
        self._broker = broker
        self._process = process
        self._on_error = on_error
        self._generation = -1
        self._positions: dict[Place, int] = {}
        self._ended: dict[Place, int] = {}
        self._handed: dict[Place, range] = {}
        self._came: set[Place] = set()
        self._held: set[Place] | None = None
        self._subscribed = False
        self._losing = False
        self._told_down = False
        self.paused: set[Place] = set()
        self.began: dict[Place, int] = {}
        self.unaware_until = 0.0
        self.begins_anew = False
        """Where a partition has no such offset, it is read from its first record on (`auto.offset.reset`)."""

    # --- the group

    def subscribe(self, topics: list[str], on_assign: Any, on_revoke: Any, on_lost: Any) -> None:
        self._process.touch("subscribe")
        self._on_assign, self._on_revoke, self._on_lost = on_assign, on_revoke, on_lost
        self._subscribed = True

    def consume(self, most: int, timeout: float) -> list[Message]:
        self._process.touch("consume")
        broker = self._broker
        if broker.down:
            if not self._told_down:
                self._told_down = True
                self._on_error(KafkaError(OUTAGE, "all brokers are down"))
            if self._subscribed:
                return []
        else:
            self._told_down = False
        if not self._subscribed:
            messages = self._fetch(most)
            if not messages:
                self._process.wait(lambda: False, timeout)
            return messages
        self._came.clear()
        # What is fetched before the rebalance is handed over with it, as the real client does.
        messages = self._fetch(most) if broker.random.random() < 0.5 else []
        if broker.clock.now >= self.unaware_until:
            group = broker.group
            if isinstance(group, ClassicGroup):
                self._rebalance(group)
            elif isinstance(group, ConsumerGroup):
                self._reconcile(group)
        messages = messages or self._fetch(most)
        self._hand(messages)
        return messages

    def _hand(self, messages: list[Message]) -> None:
        for given in messages:
            place = given.topic() or "", given.partition() or 0
            if given.error() is None:
                self._broker.on_read(*place, given.offset() or 0, int(1000 * self._process.wall()))
            # What was read of a partition before it came once more is no news of it.
            if given.error() is None and place in self._handed and place not in self._came:
                self._handed[place] = range(self._handed[place].start, (given.offset() or 0) + 1)

    def was_handed(self, place: Place, offset: int) -> bool:
        """Whether the process was given the record since the partition was assigned to it."""
        return offset in self._handed.get(place, ())

    def reads(self, place: Place) -> bool:
        """Whether it may give the process records of the partition."""
        return place in self._positions and place not in self.paused

    def _rebalance(self, group: ClassicGroup) -> None:
        name = self._process.name
        member = group.members.get(name)
        if member is None and self._held is not None and self._generation >= 0:
            self._lose()
            self._generation = -1
        if member is None or (group.rebalancing and not member.joined):
            if self._held is not None:
                self._process.tell("is to give its partitions back")
                self._let_go(self._on_revoke)
            group.join(name)
            member = group.members[name]
        if not group.rebalancing and member.generation != self._generation:
            self._generation = member.generation
            self._held = set()
            self._take(sorted(member.owned))

    def _reconcile(self, group: ConsumerGroup) -> None:
        name = self._process.name
        if name not in group.members:
            if self._held is not None:
                self._lose()
            self._held = set()
            group.join(name)
        goes, comes = group.reconcile(name)
        if goes:
            self._process.tell(f"is to give back {goes}")
            assert self._held is not None
            self._held.difference_update(goes)
            self._on_revoke(self, [TopicPartition(*place) for place in goes])
            group.let_go(name, goes)
        if comes:
            self._take(comes)

    def _take(self, places: list[Place]) -> None:
        assert self._held is not None
        before = self._tasks()
        self._held.update(places)
        self._process.tell(f"is assigned {places}")
        for partition in sorted(self._tasks() - before):
            self._process.begins(partition)
        self._on_assign(self, [TopicPartition(*place) for place in places])

    def _tasks(self) -> set[int]:
        held = self._held or set()
        return {p for _, p in held if all((topic, p) in held for topic in self._broker.topics)}

    def _lose(self) -> None:
        self._process.tell("lost its partitions")
        self._let_go_of_lost()

    def _let_go_of_lost(self) -> None:
        self._losing = True
        try:
            self._let_go(self._on_lost)
        finally:
            self._losing = False

    def _let_go(self, callback: Any) -> None:
        places = [TopicPartition(*place) for place in sorted(self._held or ())]
        try:
            callback(self, places)
        finally:
            self._held = None
            self.assign([])

    def close(self) -> None:
        self._process.touch("close")
        if not self._subscribed:
            return
        if self._held is not None:
            if self._process.name in self._broker.group.members:
                self._let_go(self._on_revoke)
            else:
                self._let_go_of_lost()
        self._broker.group.leave(self._process.name)

    # --- reading

    def assign(self, places: list[TopicPartition]) -> None:
        self._positions = {(place.topic, place.partition): self._valid(place) for place in places}
        self.began = dict(self._positions)
        self._begin(self._positions)
        self.paused.clear()
        self._ended.clear()

    def _valid(self, place: TopicPartition) -> int:
        """Where it reads from: where the epoch ends, if that is before; see `CutLogs`."""
        epoch = place.leader_epoch
        return place.offset if epoch is None else min(place.offset, self._log(place).end_of(epoch))

    def unassign(self) -> None:
        self.assign([])

    def incremental_assign(self, places: list[TopicPartition]) -> None:
        begins = {(place.topic, place.partition): place.offset for place in places}
        self._positions.update(begins)
        self.began.update(begins)
        self._begin(begins)

    def incremental_unassign(self, places: list[TopicPartition]) -> None:
        for place in places:
            gone = place.topic, place.partition
            del self._positions[gone]
            self.began.pop(gone, None)
            self._handed.pop(gone, None)
            self._ended.pop(gone, None)
            self.paused.discard(gone)

    def _begin(self, begins: dict[Place, int]) -> None:
        self._came.update(begins)
        for place in [*self._handed]:
            if place not in self._positions:
                del self._handed[place]
        self._handed.update((place, range(offset, offset)) for place, offset in begins.items())

    def pause(self, places: list[TopicPartition]) -> None:
        self.paused.update((place.topic, place.partition) for place in places)

    def resume(self, places: list[TopicPartition]) -> None:
        self.paused.difference_update((place.topic, place.partition) for place in places)

    def _fetch(self, most: int) -> list[Message]:
        random = self._broker.random
        places = [p for p in self._positions if p not in self.paused and self._broker.fetches(p)]
        random.shuffle(places)
        messages: list[Message] = []
        for place in places:
            log, position = self._broker.logs[place], self._positions[place]
            if self.begins_anew and (position < log.start or position > log.end):
                self._positions[place] = position = log.start
            if position < log.start or position > log.end:
                gone = KafkaError(KafkaError._AUTO_OFFSET_RESET, "no such offset")
                messages.append(message(place, Record(position, -1, None, None), gone))
                continue
            records = log.read(position, min(most, random.choice((1, 3, 10, 1000))))
            messages += [message(place, record, epoch=log.epoch_of(record.offset)) for record in records]
            if records:
                self._positions[place] = position = records[-1].offset + 1
            if not log.read(position, 1) and self._ended.get(place) != log.end:
                self._positions[place] = self._ended[place] = log.end
                end = KafkaError(KafkaError._PARTITION_EOF, "the end")
                messages.append(message(place, Record(log.end, -1, None, None), end))
        return messages

    # --- questions

    def committed(self, places: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        self._ask("committed")
        if self._broker.coordinator_moves:
            raise KafkaException(KafkaError(KafkaError.NOT_COORDINATOR, "it moves"))
        group = self._broker.group
        return [
            TopicPartition(
                p.topic,
                p.partition,
                offset,
                metadata=metadata,
                leader_epoch=group.epochs.get((p.topic, p.partition), -1) if offset >= 0 else -1,
            )
            for p in places
            for offset, metadata in [group.committed.get((p.topic, p.partition), (-1001, ""))]
        ]

    def get_watermark_offsets(self, place: TopicPartition, timeout: float, cached: bool) -> tuple[int, int]:
        self._ask("get_watermark_offsets")
        if (place.topic, place.partition) in self._broker.moving:
            raise KafkaException(KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION, "it moves"))
        log = self._log(place)
        return log.start, log.end

    def offsets_for_times(self, places: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        self._ask("offsets_for_times")
        return [TopicPartition(p.topic, p.partition, self._offset_at(self._log(p), p.offset)) for p in places]

    def list_topics(self, topic: str, timeout: float) -> Any:
        self._ask("list_topics")
        return SimpleNamespace(topics={topic: SimpleNamespace(partitions=range(self._broker.count), error=None)})

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition]:
        self._process.touch("commit, before")
        if self._losing:
            raise Violation(f"{self._process.name} was told that its partitions are lost, and commits")
        wanted = {(p.topic, p.partition): (p.offset, p.metadata or "") for p in offsets}
        if not self._subscribed:
            if not self._broker.commit_start(wanted):
                raise KafkaException(KafkaError(KafkaError.UNKNOWN_MEMBER_ID, "the group has members"))
            self._note_epochs(offsets, set(wanted))
            return offsets
        name = self._process.name
        what, taken = self._broker.commit(name, self._generation, wanted)
        self._note_epochs(offsets, taken)
        for place in taken:
            self.began.pop(place, None)
        self._process.tell(f"commits {sorted((p.topic[:1], p.partition, p.offset) for p in offsets)}: {what}")
        self._process.touch("commit, after")
        if isinstance(what, str):
            self._process.refused(what, [place.partition for place in offsets])
            raise KafkaException(KafkaError(getattr(KafkaError, what), what))
        if what in (CommitFault.REFUSED, CommitFault.ANSWER_LOST):
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, what.value))
        if too_large := [p for p in offsets if len(p.metadata or "") >= self._broker.metadata_limit]:
            # As the real client does, though the broker has taken the others, and without a word of which it is.
            self._process.refused("OFFSET_METADATA_TOO_LARGE", [place.partition for place in too_large])
            raise KafkaException(KafkaError(KafkaError.OFFSET_METADATA_TOO_LARGE, "not taken"))
        return [p if (p.topic, p.partition) in taken else self._failed(p) for p in offsets]

    def _note_epochs(self, offsets: list[TopicPartition], taken: set[Place]) -> None:
        epochs = {(p.topic, p.partition): -1 if p.leader_epoch is None else p.leader_epoch for p in offsets}
        self._broker.group.epochs.update({place: epoch for place, epoch in epochs.items() if place in taken})

    def _failed(self, place: TopicPartition) -> Any:
        error = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, "not taken")
        return SimpleNamespace(topic=place.topic, partition=place.partition, offset=place.offset, error=error)

    def _ask(self, what: str) -> None:
        self._process.touch(what)
        if self._broker.down:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "no answer"))

    def _log(self, place: TopicPartition) -> Partition:
        return self._broker.logs[place.topic, place.partition]

    @staticmethod
    def _offset_at(log: Partition, moment: int) -> int:
        return next((r.offset for r in log.records if r.offset >= log.start and r.timestamp >= moment), -1)
