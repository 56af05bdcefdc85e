"""Whether a log was cut below what was read of it, though it has grown past that since: its leaders' epochs tell.

Each leader of a partition has a higher epoch than the one before, and writes it with every batch. A log loses its end
with an unclean election, or where a broker comes back with an older copy of its disk. What is written after that has a
higher epoch than what is gone. By its offsets alone such a log looks like the old one.

So each commit carries an epoch: that of the last record below the first offset that had not been read, which stands in
the metadata. It is not that of the record below the committed offset. This lies further back, and what was cut behind
it, and read, would not be seen. To Kafka it is as good: the epoch of a commit is the least that the log must have seen.
Example: committed at 20, read to 28, and record 27 is of epoch 4. The log is cut at 25 and grows to 40 under epoch 6.
At the next start the broker says that epoch 4 ends at 25, and 28 lies behind that.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeAlias

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from ..core.checkpoint import Position
from ..errors import StartError
from .end_offsets import TIMEOUT

WHILE_RUNNING = 10.0
"""Seconds that a look at cuts may take while the service runs: meanwhile no signal is heeded."""

CUT_OR_NOT = (
    "whether a log was cut below what was read of it is not known yet, and records wait until it is: see that the "
    "brokers answer, and that the topics may be read"
)
"""Why records wait."""

_ROUND = 0.2
"""Seconds that a look for answers waits."""

Place: TypeAlias = tuple[str, int]
"""A topic and a partition."""


NO_EPOCH = -1
"""An epoch that is not known, as Kafka writes it."""


def known_epoch(told: int | None) -> int:
    """As the client tells it, or NO_EPOCH."""
    return NO_EPOCH if told is None else told


class ReadTo(NamedTuple):
    """How far a log had been read.

    Attributes:
        offset: the first that had not been.
        epoch: of the leader that wrote the last record below that offset; NO_EPOCH: not known.
    """

    offset: int
    epoch: int


NOT_READ = ReadTo(0, NO_EPOCH)


class ReadEpochs:
    """The leader epochs of what is read of each partition, as stretches of offsets. Not thread-safe."""

    def __init__(self) -> None:
        self._begun: dict[Place, ReadTo] = {}
        self._newest: dict[Place, int | None] = {}
        self._stretches: dict[Place, list[tuple[int, int]]] = {}
        """By partition, the first offset of each stretch and its epoch."""
        self._in_doubt: dict[Place, ReadTo] = {}

    def begin(self, place: Place, read_to: ReadTo) -> None:
        """A task begins; `read_to` is what its commit says."""
        self._forget(place)
        self._begun[place] = read_to

    def drop(self, places: Iterable[TopicPartition]) -> None:
        """Tasks have gone."""
        for place in places:
            self._forget((place.topic, place.partition))

    def _forget(self, place: Place) -> None:
        for known in (self._begun, self._newest, self._stretches, self._in_doubt):
            known.pop(place, None)

    def saw(self, messages: Iterable[Message]) -> Mapping[Place, ReadTo]:
        """These were read, those of each partition in order, and some perhaps twice.

        Ends of partitions among them say nothing. Returns how far those partitions had been read that the log may have
        been cut below since. They are returned again until they are known to be `whole`:

        - A record is the first since the task began, and of another leader than what had been read. Until then the
          client compares nothing when the leader changes. What is read again may be of an older one, of course.
        - A record below what had been read is of a newer leader than that. Example: read to 28, record 27 of epoch 4,
          and after a restart from 20 record 25 is of epoch 6. The client had only read to 21 when it compared.
        - A record is of an older leader than the one before it: epochs never fall within a log. The client does not
          find out, since of an epoch that it does not have the broker tells the end of the last one before.
        - What had been read was read again, and its last record is of an older leader than it was. What comes first
          behind it tells, be it of the same one.
        """
        newest = self._newest
        for message in messages:
            place = message.topic() or "", message.partition() or 0
            epoch = message.leader_epoch()
            if newest.get(place) != epoch and message.error() is None:
                stretches, offset = self._stretches.setdefault(place, []), message.offset() or 0
                told, again = known_epoch(epoch), offset < self._begun.get(place, NOT_READ).offset
                if not stretches or offset > stretches[-1][0]:
                    other = not stretches or told != stretches[-1][1]
                    if (other or not again) and (read_to := self._doubted(place, offset, told)) is not None:
                        self._in_doubt.setdefault(place, read_to)
                    if other:
                        stretches.append((offset, told))
                    if not again:  # the first of these is looked at though no epoch changes there
                        newest[place] = epoch
        return self._in_doubt

    def whole(self) -> None:
        """The broker still has all that `saw` has returned."""
        self._in_doubt.clear()

    def _doubted(self, place: Place, offset: int, told: int) -> ReadTo | None:
        """How far had been read of what this record leaves in doubt, which is of another leader than the one before it,
        or the first behind what was read again."""
        begun, stretches = self._begun.get(place, NOT_READ), self._stretches[place]
        if NO_EPOCH not in {told, begun.epoch}:
            if told > begun.epoch and (offset < begun.offset or not stretches):
                return begun
            if told < begun.epoch and offset >= begun.offset and not stretches:
                return begun
        before = max((known for _, known in stretches), default=NO_EPOCH)
        if NO_EPOCH < before < begun.epoch and offset >= begun.offset:
            return begun
        return ReadTo(offset, before) if NO_EPOCH < told < before else None

    def below(self, place: Place, offset: int) -> int:
        """The epoch of the last record below `offset`; NO_EPOCH: not known.

        An offset behind a transaction's marker, or behind records that are gone, has the epoch of the record before
        these: never a newer one.
        """
        stretches = self._stretches.get(place, [])
        found = bisect_left(stretches, (offset, NO_EPOCH)) - 1
        if found < 0:
            begun = self._begun.get(place, NOT_READ)
            return begun.epoch if begun.offset <= offset else NO_EPOCH
        return stretches[found][1]

    def committed(self, place: Place, position: Position, read_to: int) -> TopicPartition:
        """A position to commit, with the epoch of how far was read."""
        epoch = self.below(place, read_to)
        return TopicPartition(*place, position.offset, metadata=position.metadata, leader_epoch=epoch)


class CutLogs:
    """Asks the broker whether it still has what was read of its logs.

    Args:
        reader: makes a consumer with `config.epoch_reader_config`; it is in no group.
        monotonic: a clock in seconds.
    """

    def __init__(self, reader: Callable[[], Consumer], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._reader = reader
        self._monotonic = monotonic

    def of(self, read: Mapping[Place, ReadTo], timeout: float = TIMEOUT) -> dict[Place, int]:
        """Of each log that was cut below what was read of it, the first offset behind the cut at which anything stands.

        Where no epoch is known nothing is asked, and nothing told. `timeout`: seconds for all answers together.

        Raises:
            StartError: the broker did not answer in time.
        """
        asked = {place: to for place, to in read.items() if to.epoch != NO_EPOCH and to.offset > 0}
        if not asked:
            return {}
        consumer = self._reader()
        try:
            return self._ask(consumer, asked, timeout)
        finally:
            consumer.close()

    def _ask(self, consumer: Consumer, asked: Mapping[Place, ReadTo], timeout: float) -> dict[Place, int]:
        """Read on, in each log, behind what was read of it.

        The client has the broker tell where the epoch ends before it reads. Where that is below the offset it goes on
        from there (`auto.offset.reset`). So what comes first from below the offset was written behind a cut. That the
        epoch ends below the offset is not enough: a marker that ends a transaction is no record that anybody reads,
        and it may be of a newer epoch. Example: record 7 of epoch 3, its marker at 8 of epoch 4, read to 9.

        Nor does an epoch that ends further on tell that nothing was cut: of one that it does not have, the broker tells
        the end of the last one before. But epochs never fall within a log. So where a record behind the offset is of an
        older epoch, what was read below is gone, and nobody tells from where on: the cut is put at 0. Example: read to
        28, record 27 of epoch 4. A leader of epoch 3 that had written to 40 is elected, and record 28 is of epoch 3.
        Had it written to 28, nothing behind that would tell. So the last offset that was read is read again: where a
        record stands there, it is of the same epoch as it was.
        """
        consumer.assign([TopicPartition(*place, to.offset - 1, leader_epoch=to.epoch) for place, to in asked.items()])
        waiting = dict(asked)
        cut: dict[Place, int] = {}
        deadline = self._monotonic() + timeout
        why = "it does not answer"
        while waiting:
            if self._monotonic() > deadline:
                topic, partition = min(waiting)
                raise StartError(
                    f"{topic}[{partition}]: the broker does not tell whether it still has what was read of it: {why}. "
                    "Nothing is read on before it tells. Check the broker and the right to read the topic; what has "
                    "ended is to be started again then."
                )
            for message in consumer.consume(len(waiting), _ROUND):
                error, offset = message.error(), message.offset()
                place = message.topic() or "", message.partition() or 0
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    why = error.str()
                elif (to := waiting.pop(place, None)) is not None:
                    consumer.pause([TopicPartition(*place)])
                    told = NO_EPOCH if error is not None else known_epoch(message.leader_epoch())
                    if offset == to.offset - 1 and error is None and told in {to.epoch, NO_EPOCH}:
                        continue
                    if NO_EPOCH < told < to.epoch:
                        cut[place] = 0
                    elif offset is not None and offset < to.offset:
                        cut[place] = offset
        return cut
