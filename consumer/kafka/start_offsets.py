"""Where a task starts to read: what the group has committed, checked against what the broker still has.

A group that has committed nothing starts as `kafka.start_from` says. That is resolved to offsets and committed before
anything is read, so that a crash right after finds the same place again. The checkouts start earlier than the
offers, by lookback and lateness: an offer at the very start may have been bought before.

Each of these commits says that it is ours, and whose. What does not say so later, was not committed by this service,
and stops the start: see `positions`. A group that seems new is not believed either while anything knows better.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeAlias

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from ..core.checkpoint import (
    CheckoutCheckpoint,
    GuardState,
    OfferCheckpoint,
    Position,
    UnreadableMetadata,
    new_checkouts,
    rules_key,
)
from ..core.horizon import Horizon
from ..core.provenance import NOT_KNOWN, Provenance
from ..core.rules import MAX_TIME, MIN_TIME, DecisionRules
from ..core.watermark import Side
from ..errors import OffsetGoneError, PartitionsChangedError, PositionsError, StartError
from ..settings import KafkaSettings
from .commit_refusals import refused_commit, refused_part
from .end_offsets import TIMEOUT, bounds
from .group import committed_by
from .history import GroupHistory
from .leader_epochs import NOT_READ, WHILE_RUNNING, CutLogs, Place, ReadTo
from .positions import CommittedPosition, Positions, check_positions

log = structlog.get_logger(__name__)

_NOTHING = GuardState()


Wanted: TypeAlias = dict[tuple[Side, int], tuple[int, int | None]]
"""For each partition of an input an offset, and of checkouts the time (ms) below which some may have been forgotten."""


@dataclass(frozen=True, slots=True)
class TaskStart:
    """Where a task starts.

    `horizon` is as `core.task.Task` takes it. `checkouts_end` is where the checkouts' log ends as the task begins.
    `read_to` is how far the offers and the checkouts had been read, by what is committed.
    """

    offers: Position
    checkouts: Position
    horizon: int | None
    checkouts_end: int = 0
    read_to: tuple[ReadTo, ReadTo] = NOT_READ, NOT_READ


class StartOffsets:
    """Finds the starts of tasks.

    Args:
        rules: as set now.
        partitions: how many partitions each of the two topics has.
        provenance: whose a commit is that is made now.
        history: what is known of the group beside its offsets; None: nothing is.
        each: as a commit of now has it; see `OfferCheckpoint`.
        cut_logs: tells of logs that were cut below what was read of them; None: nobody does.

    Attributes:
        topics: of the offers and of the checkouts.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        rules: DecisionRules,
        partitions: int,
        provenance: Provenance = NOT_KNOWN,
        history: GroupHistory | None = None,
        each: str = "",
        cut_logs: CutLogs | None = None,
    ) -> None:
        self._cut_logs = cut_logs
        self._settings = settings
        self._each = each
        self._provenance = provenance
        self._history = history
        self.topics = settings.offer_topic, settings.checkout_topic
        self._rules = rules
        self._count = partitions

    def begin_group(self, consumer: Consumer, now: int) -> None:
        """Check all that the group has committed; if that is nothing, commit what `start_from` means.

        To be called before subscribing. `now` is the wall clock (ms).

        Raises:
            PositionsError: what is committed is not ours, or the group is not as new as it looks.
            StartError: the broker refused, or did not answer.
        """
        try:
            positions = self.positions(consumer, with_cuts=True)
            if positions.none_at_all:
                try:
                    self.check_really_new()
                except PositionsError:
                    if not self._is_begun(consumer):  # and outcomes are told already
                        raise
                else:
                    self.commit_start_from(consumer, now)
                return
            check_positions(self._settings.group_id, positions, self._provenance, self._count)
        except KafkaException as error:
            raise StartError(
                f"group {self._settings.group_id}: the broker did not answer where to start: {error.args[0]}. Check "
                "the broker, then start again; nothing was read."
            ) from error

    def positions(self, consumer: Consumer, *, with_cuts: bool = False) -> Positions:
        """What the group has committed for all partitions of both topics; where `with_cuts`, held against their logs.

        Raises:
            StartError: the broker did not answer.
        """
        return self._positions(consumer, self._places(), with_cuts=with_cuts)

    def _positions(self, consumer: Consumer, places: list[TopicPartition], *, with_cuts: bool) -> Positions:
        found = Positions(self.topics, committed_by(consumer, places), self._each)
        if with_cuts and self._cut_logs is not None:
            found.find_cuts(self._cut_logs, self._provenance)
        return found

    def check_really_new(self) -> None:
        """Nothing is committed for our topics: see whether the group has run before all the same.

        Raises:
            PositionsError: it has, under other names, or its offsets expired.
            StartError: the broker does not tell.
        """
        if self._history is None:
            return
        group, topics = self._settings.group_id, " and ".join(self.topics)
        if others := self._history.other_topics():
            raise PositionsError(
                f"group {group} has committed nothing for {topics}, but has for {', '.join(others)}: the topics were "
                "renamed, or the group is another program's. Nothing was read, and nothing is called. If this is to "
                "start as a new deployment, with kafka.start_from, `opt-out positions --accept` says so; to go on "
                "from a time, `opt-out positions --reset-to TIME`."
            )
        if told := self._history.earlier_outcome():
            raise PositionsError(
                f"group {group} has committed nothing for {topics}, but {told.topic}[{told.partition}] tells at offset "
                f"{told.offset} of an outcome of {self.topics[0]}: the group's offsets expired or were deleted, or "
                "the group was renamed, or very many outcomes of backfills hide whether it has ever run. To start at "
                "kafka.start_from might miss offers, or call them once more. Nothing was read, and nothing is called. "
                "To go on from a time when all was well: `opt-out positions --reset-to TIME`; to start with "
                "kafka.start_from all the same: `opt-out positions --accept`."
            )

    def commit_start_from(
        self, consumer: Consumer, now: int, first_tells: Callable[[TopicPartition], int] | None = None
    ) -> None:
        """Commit for all partitions what `start_from` means at `now` (wall clock, ms).

        `first_tells`: the horizon (ms) of a checkout partition by its first records, in a group that has run before:
        the topic may be younger. None: the group is new, and the very first record is the first checkout there was.
        """
        start_from, at_first = self._settings.start_from, first_tells is None
        if start_from == "earliest":
            firsts: Wanted = {}
            for place in self._places():
                firsts[Side(self.topics.index(place.topic)), place.partition] = bounds(consumer, place)[0], None
            self.commit(consumer, self._marked(firsts, now, first_tells), at_first=at_first)
            log.warning("a new group starts at the first record of both topics", records=self._records(consumer))
            return
        moment = now if isinstance(start_from, str) else int(start_from.timestamp() * 1000)
        wanted = self.at(consumer, moment, offers_at_end=start_from == "latest")
        places = self._marked(wanted, now, first_tells)
        self.commit(consumer, places, at_first=at_first)
        log.warning(
            "a new group starts in the middle of both topics: offers presented before are not looked at",
            offers_from=readable(moment),
            checkouts_from=readable(self._since(moment)),
            records=self._records(consumer, [place.offset for place in places]),
        )

    def at(
        self,
        consumer: Consumer,
        moment: int,
        *,
        offers_at_end: bool = False,
        partitions: Collection[int] | None = None,
    ) -> Wanted:
        """Where the offers of a time (ms) begin, and the checkouts that these need; of all partitions, or of these."""
        since = self._since(moment)
        offers = self.offsets_at(consumer, Side.OFFERS, MAX_TIME if offers_at_end else moment, partitions)
        wanted: Wanted = {(Side.OFFERS, partition): (offset, None) for partition, offset in offers.items()}
        firsts = self.offsets_at(consumer, Side.CHECKOUTS, 0, partitions)
        for partition, offset in self.offsets_at(consumer, Side.CHECKOUTS, since, partitions).items():
            low, _ = bounds(consumer, TopicPartition(self.topics[1], partition))
            # Where nothing older is left than what is wanted, older ones may be gone: the horizon is then learnt by
            # reading. A gap at the beginning, such as a transaction's marker leaves, is nothing older; nor is it told
            # by fewer records than `Horizon.HEAD`. And an offer that is on time may be written after the start and
            # dated before it.
            known = since + self._rules.max_skew if offset >= firsts[partition] + Horizon.HEAD or low == 0 else None
            wanted[Side.CHECKOUTS, partition] = offset, known
        return wanted

    def _since(self, moment: int) -> int:
        # By its record's timestamp a checkout may be found as much as max_skew before its own time.
        return moment - self._rules.lookback - self._rules.lateness - self._rules.max_skew

    def _marked(
        self, wanted: Wanted, now: int, first_tells: Callable[[TopicPartition], int] | None
    ) -> list[TopicPartition]:
        """Positions that say that they are ours, and that nothing is decided from there on.

        The horizon of checkouts is None where it is to be learnt by reading, unless they begin at their very first
        record. What `first_tells` beyond it is lost for good, and stands with the offers too: the broker may take their
        part only, and a way back must not forget it.
        """
        places: list[TopicPartition] = []
        lost: dict[int, int] = {}
        for (side, partition), (offset, horizon) in sorted(wanted.items(), reverse=True):  # the checkouts first
            topic = self.topics[side]
            if side is Side.OFFERS:
                text = replace(self.undecided(offset, now), lost_below=lost.get(partition, MIN_TIME)).encode(offset)
            elif horizon is None and offset > 0:
                text = new_checkouts(offset)
            else:
                known = MIN_TIME if horizon is None else horizon
                if first_tells is not None and (told := first_tells(TopicPartition(topic, partition, offset))) > known:
                    lost[partition] = known = told
                text = self.checkouts_from(offset, known)
            places.append(TopicPartition(topic, partition, offset, metadata=text))
        return places[::-1]

    def new_offers(self, offset: int, now: int) -> str:
        """Metadata of ours for an offer partition of which nothing is decided from `offset` on."""
        return self.undecided(offset, now).encode(offset)

    def undecided(self, offset: int, now: int) -> OfferCheckpoint:
        """What that says."""
        whose = self._provenance.at(now)
        key = rules_key(self._rules)
        return OfferCheckpoint(key, self._count, MIN_TIME, offset, 0, provenance=whose, each=self._each)

    def checkouts_from(self, offset: int, horizon: int, guard: GuardState = _NOTHING) -> str:
        """Metadata of ours for a checkout partition that is read from `offset` on, with this horizon (ms)."""
        return CheckoutCheckpoint(self._count, offset, horizon, guard, self._rules.lookback).encode(offset)

    def of(self, consumer: Consumer, partitions: Sequence[int]) -> dict[int, TaskStart]:
        """The starts of these tasks.

        Raises:
            PartitionsChangedError: there is one that was not there when the service started.
            PositionsError: what is committed is not ours: another program may have been in the group since. Or the log
                was cut below what was read of it.
            OffsetGoneError: the broker no longer has a committed offset.
            StartError, KafkaException: it did not answer.
        """
        if partitions and max(partitions) >= self._count:
            raise self._changed(", ".join(self.topics), "more")
        places = [TopicPartition(topic, partition) for topic in self.topics for partition in partitions]
        if not places:
            return {}
        found = self._positions(consumer, places, with_cuts=True)
        check_positions(self._settings.group_id, found, self._provenance, self._count)
        starts: dict[int, TaskStart] = {}
        for partition in partitions:
            first, second = (found.by_place[side, partition] for side in Side)
            offers, _, _ = self._position(consumer, first)
            checkouts, low, end = self._position(consumer, second)
            checkouts = self._rewound(consumer, partition, offers, checkouts)
            complete = low == 0 and checkouts.offset == 0
            learns = None if complete else MAX_TIME
            starts[partition] = TaskStart(offers, checkouts, learns, end, (first.was_read, second.was_read))
        return starts

    def check_cuts(self, read: Mapping[Place, ReadTo]) -> str:
        """See that these logs still hold what was read of them, while running. Returns why that is not told, if so.

        Raises:
            OffsetGoneError: one was cut, and has grown since.
        """
        try:
            cut = self._cut_logs.of(read, WHILE_RUNNING) if read and self._cut_logs is not None else {}
        except StartError as error:
            return str(error)
        for (topic, partition), offset in cut.items():
            raise OffsetGoneError(
                f"{topic}[{partition}]: the log was cut and has grown since: what stands from offset {offset} on was "
                f"never read. `opt-out positions` shows where group {self._settings.group_id} stands, and the ways on."
            )
        return ""

    def check_partitions(self, consumer: Consumer, timeout: float) -> None:
        """Ask how many partitions the topics have, waiting up to `timeout` seconds for each answer.

        Never within a callback of the consumer: unlike its other questions, this one makes the client end the whole
        process (SIGABRT) if another callback or a line of its log follows in the same poll.

        Raises:
            PartitionsChangedError: another number than when the service started.
            KafkaException: the broker did not answer, or does not know the topic.
        """
        for topic in self.topics:
            told = consumer.list_topics(topic, timeout=timeout).topics.get(topic)
            if told is None or not told.partitions:
                raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
            count = len(told.partitions)
            if count != self._count:
                raise self._changed(topic, str(count))

    def _changed(self, topic: str, now: str) -> PartitionsChangedError:
        return PartitionsChangedError(
            f"{topic} had {self._count} partitions when this service started and has {now} now: keys have moved, and "
            "an offer no longer meets the checkout that bought it. No offer is called any more. Settle what was "
            "written before with the old number, then go on with a new group."
        )

    def _position(self, consumer: Consumer, committed: CommittedPosition) -> tuple[Position, int, int]:
        """The position, and where its log begins and ends now."""
        low, high = bounds(consumer, TopicPartition(committed.topic, committed.partition))
        if not low <= committed.offset <= high:
            raise OffsetGoneError(
                f"group {self._settings.group_id} committed offset {committed.offset} of "
                f"{committed.topic}[{committed.partition}], but the broker holds {low} to {high}: "
                f"{'retention has deleted records' if committed.offset < low else 'the topic was re-created or cut'} "
                "that were not settled. `opt-out positions` shows what is left. To go on without them, knowing that "
                "opt-outs may be missed: `opt-out positions --accept`."
            )
        return Position(committed.offset, committed.metadata), low, high

    def _rewound(self, consumer: Consumer, partition: int, offers: Position, checkouts: Position) -> Position:
        """The checkouts' position, further back where lookback was raised since: more of them are needed now."""
        try:
            found = CheckoutCheckpoint.decode(checkouts.metadata, checkouts.offset)
            beside = OfferCheckpoint.decode(offers.metadata, offers.offset)
        except UnreadableMetadata:
            return checkouts
        raised = self._rules.lookback - (beside.rules[2] if found.lookback is None else found.lookback)
        if raised <= 0 or found.horizon in (MIN_TIME, beside.lost_below):
            return checkouts
        horizon = max(found.horizon - raised, beside.lost_below)
        since = horizon - self._rules.lateness - self._rules.max_skew
        place = TopicPartition(self.topics[1], partition, since)
        (told,) = consumer.offsets_for_times([place], timeout=TIMEOUT)
        if told.error is not None:
            raise KafkaException(told.error)
        low, end = bounds(consumer, place)
        wanted = told.offset if told.offset >= 0 else end
        if low > 0 and wanted < self.offsets_at(consumer, Side.CHECKOUTS, 0, (partition,))[partition] + Horizon.HEAD:
            return checkouts  # those that are needed now may be gone: fewer older ones may all have come late
        start = min(wanted, checkouts.offset)
        log.warning("lookback was raised: checkouts are read again", partition=partition, from_offset=start)
        return Position(start, replace(found, horizon=horizon, lookback=self._rules.lookback).encode(start))

    def _places(self) -> list[TopicPartition]:
        return [TopicPartition(topic, p) for topic in self.topics for p in range(self._count)]

    def offsets_at(
        self, consumer: Consumer, side: Side, moment: int, partitions: Collection[int] | None = None
    ) -> dict[int, int]:
        """By partition the first offset whose record's timestamp is at or after `moment` (ms), else its end."""
        topic, asked = self.topics[side], range(self._count) if partitions is None else partitions
        ends = {partition: bounds(consumer, TopicPartition(topic, partition))[1] for partition in asked}
        if moment == MAX_TIME:
            return ends
        told = consumer.offsets_for_times([TopicPartition(topic, p, max(moment, 0)) for p in asked], timeout=TIMEOUT)
        for place in told:
            if place.error is not None:
                raise StartError(f"{topic}[{place.partition}]: the broker does not tell offsets by time: {place.error}")
        offsets = {place.partition: place.offset for place in told}
        return {p: offsets[p] if 0 <= offsets[p] <= end else end for p, end in ends.items()}

    def _records(self, consumer: Consumer, starts: Sequence[int] | None = None) -> int:
        """How many records are to be read from the starts (the first records, if None) to the present ends."""
        total = 0
        for place, topic in enumerate(self.topics):
            for partition in range(self._count):
                low, high = bounds(consumer, TopicPartition(topic, partition))
                total += high - (low if starts is None else starts[place * self._count + partition])
        return total

    def commit(self, consumer: Consumer, places: list[TopicPartition], *, at_first: bool = False) -> None:
        """Commit these positions for a group that has no members.

        `at_first`: the group is new, and it is as well if another member is quicker and has begun it.

        Raises:
            StartError: the broker did not take all of them.
        """
        if at_first and self._is_begun(consumer):
            return
        try:
            answers = consumer.commit(offsets=places, asynchronous=False) or []
        except KafkaException as error:
            if at_first and self._is_begun(consumer):
                return
            raise refused_commit(self._settings.group_id, error.args[0]) from error
        for answer in answers:
            if answer.error is not None:
                place = f"{answer.topic}[{answer.partition}]"
                raise refused_part(self._settings.group_id, place, answer.error, at_first=at_first)

    def _is_begun(self, consumer: Consumer) -> bool:
        """Whether another member of a new group was quicker. What it has committed stands: it may have said that the
        group starts at the end of the log as it was then, and offers may have been presented since."""
        positions = self.positions(consumer)
        if positions.none_at_all:
            return False
        check_positions(self._settings.group_id, positions, self._provenance, self._count)
        return True


def readable(moment: int) -> str:
    """For people, and at most as far as years have four digits; a start before 1970 is one at the first record."""
    return datetime.fromtimestamp(min(max(moment, 0), 253_402_300_799_000) / 1000, UTC).isoformat(timespec="seconds")
