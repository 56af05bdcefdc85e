"""Reading the two topics: subscription, assignment, start positions, pauses, commits.

One thread owns the source and everything in it: the poll thread. The consumer's callbacks run inside its polls.

The assignment is co-partitioned: `range` over two topics with equal partition counts gives partition p of both to
one member. A task begins when both are here and ends when either goes; see `assignment.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from ..core.commits import CommitPlan
from ..core.watermark import Side
from ..errors import OffsetGoneError, OptOutError, StartError, StopError
from ..settings import KafkaSettings
from .assignment import Assignment
from .causes import Causes
from .leader_epochs import ReadEpochs
from .log_doubts import LogDoubts
from .positions import Positions
from .start_offsets import StartOffsets, TaskStart
from .topic_watch import TopicWatch

log = structlog.get_logger(__name__)

_LOST_MEMBERSHIP = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.FENCED_MEMBER_EPOCH,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError._ASSIGNMENT_LOST,
        KafkaError._NO_OFFSET,
    }
)

_REFUSED = {
    KafkaError.UNSUPPORTED_VERSION: "kafka.group_protocol = consumer needs brokers of Kafka 4.0 or newer: set it to "
    "classic, or have them upgraded.",
    KafkaError.UNSUPPORTED_ASSIGNOR: "The brokers' group.consumer.assignors must hold 'range': add it, or set "
    "kafka.group_protocol to classic.",
    KafkaError.UNRELEASED_INSTANCE_ID: "Another instance runs with this kafka.group_instance_id, or one that was "
    "killed did until less than the brokers' group.consumer.session.timeout.ms ago: give each its own, or start again.",
}
"""Why a broker may refuse a member for good on the `consumer` protocol, and what to do."""

_EPOCH_TRIES, _EPOCH_WAIT = 20, 0.05
"""How often, and after how many seconds each, a commit is made again that came before the news of a new epoch."""

_LOOK = 30.0
"""Seconds between two looks at how many partitions there are, besides the one after each assignment."""

_LOOK_TIMEOUT = 2.0
"""Seconds that such a look waits: meanwhile nothing is read, and the next one comes soon enough."""

_SHARED_ANEW = "the group shares its partitions anew, and what was read just before waits meanwhile"


class RebalanceListener(Protocol):
    """Who runs the tasks. Called within `GroupConsumer.poll` and `GroupConsumer.close`, on the poll thread."""

    def begin(self, partition: int, start: TaskStart) -> None:
        """Both inputs of the task are assigned; records follow from the start on."""

    def revoked(self, partitions: list[int]) -> None:
        """The tasks are about to go to another member: finish within the time budget and commit."""

    def lost(self, partitions: list[int]) -> None:
        """The tasks have gone already: commit nothing."""

    def metadata_refused(self, partition: int) -> None:
        """The broker takes no metadata of that length: the next is to be shorter."""


class GroupConsumer:
    """The consumer and what it is assigned.

    Args:
        consumer: makes the consumer, given the handler for its errors.
        starts: finds where tasks start.
        tasks: is told of tasks that begin and end.
        on_trouble: is told in words of errors after which producers may still be writing what they had buffered.
        monotonic: a clock in seconds.
        is_spare: tells by its member id whether a member that was told nothing has joined and gets nothing; where the
            client tells that by itself, None.
        topic_watch: sees that a topic was made anew; None: nobody does.
        causes: is told of the errors.
        on_unread: is told why records that were read wait; with nothing, that none does. Any may be a purchase.
    """

    def __init__(
        self,
        consumer: Callable[[Callable[[KafkaError], None]], Consumer],
        settings: KafkaSettings,
        starts: StartOffsets,
        tasks: RebalanceListener,
        on_trouble: Callable[[str], None],
        monotonic: Callable[[], float] = time.monotonic,
        is_spare: Callable[[str], bool] | None = None,
        topic_watch: TopicWatch | None = None,
        causes: Causes | None = None,
        on_unread: Callable[[str], None] = lambda why: None,
    ) -> None:
        self._topic_watch = topic_watch
        self._on_unread = on_unread
        self._causes = causes or Causes(settings)
        self._waiting: list[Message] = []
        """Read, and not to be handed on while the topics may have been made anew."""
        self._held = False
        """Whether nothing more is read meanwhile, since a whole batch waits."""
        self._topics = (settings.offer_topic, settings.checkout_topic)
        self._group = settings.group_id
        self._starts = starts
        self._tasks = tasks
        self._on_trouble = on_trouble
        self._monotonic = monotonic
        self._is_spare = is_spare
        self._assignment = Assignment(self._topics, self._group, settings.group_protocol, monotonic)
        self._next_look = monotonic() + _LOOK
        self._closing = False
        self._failure: OptOutError | None = None
        self._partitions: set[int] = set()
        self._changed: set[int] = set()
        self._paused: set[tuple[str, int]] = set()
        self._epochs = ReadEpochs()
        self._doubts = LogDoubts(self._epochs, starts, topic_watch, self._trouble, on_unread)
        self._assigned = False
        self._consumer = consumer(self._on_error)

    @property
    def partitions(self) -> frozenset[int]:
        """The tasks that run here."""
        return frozenset(self._partitions)

    @property
    def assigned(self) -> bool:
        """Whether the group has said which tasks run here; they may be none."""
        return self._assigned

    @property
    def halves(self) -> tuple[int, ...]:
        """The partitions that wait for their pair, of which nothing is decided here."""
        return self._assignment.halves

    @property
    def paused(self) -> frozenset[tuple[str, int]]:
        """The partitions, by topic and number, that are read no further for now."""
        if self._held:
            return frozenset((place.topic, place.partition) for place in self._places(self._partitions))
        return frozenset(self._paused)

    def topic(self, side: Side) -> str:
        """The topic of an input."""
        return self._topics[side]

    def subscribe(self, now: int, before: Callable[[], None] | None = None) -> None:
        """Join the group, once what it has committed is found to be ours; if it is new, where it starts is settled.

        `now` is the wall clock (ms). `before` is called once that is settled, before anything is read.
        """
        self._starts.begin_group(self._consumer, now)
        if before is not None:
            before()
        self._consumer.subscribe(
            list(self._topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def poll(self, most: int, timeout: float) -> list[Message]:
        """Read up to `most` records and partition ends, waiting up to `timeout` seconds.

        Raises:
            StopError, StartError: the consumer cannot go on, or a log was cut; nothing of this poll was handed on.
        """
        if not self._waiting:
            self._on_unread("")
        self._changed.clear()
        if self._failure is None:
            # Before the records are in hand: this may wait, and calls would leave while purchases are not applied.
            self._look_for_growth()
        # While records wait, one more at a time: the polls themselves must go on.
        messages = self._waiting + self._consumer.consume(1 if self._waiting else most, timeout)
        self._waiting = []
        if self._failure is not None:
            # Where one topic grew, the pairs are uneven, and that is nobody's fault: growth is the better word.
            self._next_look = self._monotonic()
            self._look_for_growth()
            raise self._failure
        self._assignment.report_halves()
        if not self._assigned and self._is_spare is not None:
            self._assigned = self._is_spare(self._consumer.memberid() or "")
        if self._changed:
            # Of a task that began or ended here, all this was read before: it may stand ahead of where the new task
            # starts, which is paused until the next poll. What stays is another matter: the client goes on behind
            # its records, so they must not be dropped.
            messages = [message for message in messages if message.partition() not in self._changed]
        messages = [message for message in messages if message.error() is None or self._is_end(message)]
        if (are_uncut := self._doubts.are_uncut(messages)) and self._doubts.are_of_same_topics(messages):
            self._go_on()
            return messages
        self._waiting = messages
        if len(messages) >= most or not are_uncut:
            self._hold()
        return []

    def pause(self, wanted: set[tuple[str, int]]) -> None:
        """Read nothing from exactly these partitions of those assigned."""
        if wanted == self._paused:
            return
        more, fewer = wanted - self._paused, self._paused - wanted
        if more:
            self._consumer.pause([TopicPartition(*place) for place in more])
        if fewer:
            self._consumer.resume([TopicPartition(*place) for place in fewer])
        self._paused = set(wanted)

    def commit(self, plans: Mapping[int, CommitPlan]) -> set[int]:
        """Commit both partitions of each task in one request. Returns the tasks for which both were acknowledged.

        A failed commit is no loss: what it would have said is said again by the next one, or found out by a restart.
        """
        offsets = [
            self._epochs.committed((topic, partition), position, read_to)
            for partition, plan in plans.items()
            for topic, position, read_to in zip(self._topics, (plan.offers, plan.checkouts), plan.read_to, strict=True)
        ]
        if not offsets:
            return set()
        try:
            answers = self._commit(offsets)
        except KafkaException as error:
            cause = error.args[0]
            if cause.code() == KafkaError.OFFSET_METADATA_TOO_LARGE:
                return self._commit_each(plans)
            level = log.info if cause.code() in _LOST_MEMBERSHIP else log.warning
            level("commit failed", error=str(cause), partitions=sorted(plans))
            return set()
        for answer in answers:
            if answer.error is not None:
                log.warning("commit failed", topic=answer.topic, partition=answer.partition, error=str(answer.error))
        acknowledged = {(answer.topic, answer.partition) for answer in answers if answer.error is None}
        return {partition for partition in plans if all((topic, partition) in acknowledged for topic in self._topics)}

    def _commit_each(self, plans: Mapping[int, CommitPlan]) -> set[int]:
        """The broker takes no metadata as long as that of one of these tasks, and the client does not say of which one.
        What it took of the others is not known either."""
        if len(plans) > 1:
            return {partition for one, plan in plans.items() for partition in self.commit({one: plan})}
        for partition in plans:
            self._tasks.metadata_refused(partition)
        return set()

    def positions(self) -> Positions:
        """What the group has committed, for all partitions. Waits for the broker.

        Raises:
            StartError: it did not tell.
        """
        return self._starts.positions(self._consumer)

    def close(self) -> None:
        """Leave the group. Tasks that still run are revoked first."""
        self._closing = True
        self._consumer.close()

    # --- the consumer's callbacks

    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        self._on_unread(_SHARED_ANEW if self._partitions else "")
        try:
            whole = self._assignment.add(assigned)
            # What is still given to a member that leaves is given on; and a client that closes is told no starts.
            starts = {} if self._closing else self._starts.of(consumer, whole)
        except OptOutError as error:
            self._failure = error
            self._assignment.read(consumer, [])
            return
        except KafkaException as error:
            self._failure = StartError(
                f"group {self._group}: the broker did not answer where to start: {error.args[0]}. "
                "Check the broker, then start again; nothing was committed."
            )
            self._assignment.read(consumer, [])
            return
        places = [
            TopicPartition(topic, partition, position.offset)
            for partition, start in starts.items()
            for topic, position in zip(self._topics, (start.offers, start.checkouts), strict=True)
        ]
        self._assignment.read(consumer, places)
        if places:
            consumer.pause(places)
        self._paused.update((place.topic, place.partition) for place in places)
        self._partitions.update(starts)
        self._changed.update(starts)
        self._next_look = self._monotonic()
        self._assigned = True
        log.info("assigned", partitions=sorted(starts))
        for partition, start in sorted(starts.items()):
            for topic, read_to in zip(self._topics, start.read_to, strict=True):
                self._epochs.begin((topic, partition), read_to)
            try:
                self._tasks.begin(partition, start)
            except OptOutError as error:
                self._failure = error

    def _on_revoke(self, consumer: Consumer, revoked: list[TopicPartition]) -> None:
        self._give_back(consumer, revoked, self._tasks.revoked, "revoked")

    def _on_lost(self, consumer: Consumer, lost: list[TopicPartition]) -> None:
        self._on_trouble("the group gave the partitions away")
        self._give_back(consumer, lost, self._tasks.lost, "lost")

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._failure = _cannot_go_on(error)
        else:
            self._causes.heard(error)
            self._trouble(error.str())

    # --- inside

    def _give_back(
        self, consumer: Consumer, gone: list[TopicPartition], how: Callable[[list[int]], None], word: str
    ) -> None:
        partitions = [partition for partition in self._assignment.remove(gone) if partition in self._partitions]
        self._on_unread(_SHARED_ANEW)
        if partitions:
            try:
                how(partitions)
            except OptOutError as error:
                self._failure = error
        self._assignment.stop_reading(consumer, self._places(partitions))
        self._partitions.difference_update(partitions)
        self._epochs.drop(self._places(partitions))
        self._changed.update(partitions)
        self._assigned = bool(self._partitions)
        self._paused = {place for place in self._paused if place[1] in self._partitions}
        log.info(word, partitions=partitions)

    def _commit(self, offsets: list[TopicPartition]) -> list[TopicPartition]:
        # The group may have a new epoch of which the member hears with its next heartbeat. It still has what it
        # commits for: of what goes it would have heard first.
        for _ in range(_EPOCH_TRIES):
            try:
                return self._consumer.commit(offsets=offsets, asynchronous=False) or []
            except KafkaException as error:
                if error.args[0].code() != KafkaError.STALE_MEMBER_EPOCH:
                    raise
            time.sleep(_EPOCH_WAIT)
        return self._consumer.commit(offsets=offsets, asynchronous=False) or []

    def _look_for_growth(self) -> None:
        # A topic that grows makes the group share anew. But on the `consumer` protocol a member to which nothing comes
        # and from which nothing goes is not told, and would go on although keys have moved.
        now = self._monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK
        try:
            self._starts.check_partitions(self._consumer, _LOOK_TIMEOUT)
        except KafkaException as error:
            log.info("the broker does not tell how many partitions there are", error=str(error.args[0]))

    def _hold(self) -> None:
        # Again at each poll: what was not to be paused may have been resumed since.
        self._held = True
        self._consumer.pause(self._places(self._partitions))

    def _go_on(self) -> None:
        if self._held:
            self._held, places = False, self._places(self._partitions)
            self._consumer.resume([p for p in places if (p.topic, p.partition) not in self._paused])

    def _places(self, partitions: Iterable[int]) -> list[TopicPartition]:
        return [TopicPartition(topic, partition) for partition in partitions for topic in self._topics]

    def _is_end(self, message: Message) -> bool:
        error = message.error()
        assert error is not None  # noqa: S101 - the caller has looked
        if error.code() == KafkaError._PARTITION_EOF:
            return True
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            raise OffsetGoneError(
                f"{message.topic()}[{message.partition()}]: the broker no longer has the offset to be read next "
                f"({error.str()}): retention has deleted records that were not read, or the topic was made anew or "
                f"cut. `opt-out positions` shows where group {self._group} stands. To go on without what is gone, "
                "knowing that opt-outs may be missed: `opt-out positions --accept`."
            )
        if error.fatal() or error.code() == KafkaError._FATAL:
            raise _cannot_go_on(error)
        if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED):
            raise StopError(f"{message.topic()}: {error.str()}. Check that the topic exists and may be read.")
        self._causes.heard(error, message.topic(), message.partition())
        self._trouble(error.str())
        return False

    def _trouble(self, words: str) -> None:
        self._on_trouble(words)
        if self._topic_watch is not None:
            self._topic_watch.doubt()


def _cannot_go_on(error: KafkaError) -> StopError:
    # The cause of a fatal error is told in its text alone.
    advice = [todo for cause, todo in _REFUSED.items() if KafkaError(cause).str() in error.str()]
    return StopError(f"the Kafka client cannot go on: {error.str()}. {' '.join(advice) or 'Start again.'}")
