"""What an operator says of positions that are in doubt: yes to what is there, or back to a time when all was well.

Neither ever goes forward over records that were not read. What is not known any more is given up towards repeating:
offers are called once more, and those whose checkouts may be gone are dead-lettered as late, never called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from confluent_kafka import Consumer, ConsumerGroupState, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from ..core.checkpoint import CheckoutCheckpoint, OfferCheckpoint, new_checkouts
from ..core.provenance import Provenance
from ..core.rules import MIN_TIME, DecisionRules
from ..core.watermark import Side
from ..errors import PositionsError, StartError
from .end_offsets import TIMEOUT, bounds
from .positions import CommittedPosition, Doubt, Positions, check_partition_count, in_words
from .reader import LogReader
from .start_offsets import StartOffsets, Wanted, readable

_TIMEOUT = 15.0

_EMPTY = frozenset({ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD})

_OTHER_LOG = frozenset({Doubt.MADE_ANEW, Doubt.OTHER_CLUSTER})

_MOST_NAMED = 4
"""Partitions that a message names."""

_LATE = "dead-lettered as late, since their checkouts may be gone, that were"


@dataclass(frozen=True, slots=True)
class Change:
    """One partition's position was changed.

    Attributes:
        was: the offset that was committed, below 0 if none was.
        what: what was done and what it costs, in words.
    """

    topic: str
    partition: int
    was: int
    offset: int
    what: str


class PositionChanges:
    """Changes what a group without members has committed.

    Args:
        consumer: of the group, and not subscribed.
        admin: asks who is in the group.
        reader: makes a consumer with `config.record_reader_config`.
        starts: whose rules, topics and provenance count.
    """

    def __init__(
        self,
        consumer: Consumer,
        admin: AdminClient,
        reader: Callable[[], Consumer],
        starts: StartOffsets,
        *,
        group: str,
        provenance: Provenance,
        rules: DecisionRules,
        partitions: int,
    ) -> None:
        self._consumer = consumer
        self._admin = admin
        self._reader = reader
        self._starts = starts
        self._group = group
        self._provenance = provenance
        self._rules = rules
        self._partitions = partitions

    def accept(self, now: int) -> list[Change]:
        """Say yes to what is committed. Returns what had to be changed for that; `now` is the wall clock (ms).

        Raises:
            PositionsError: the group has members.
            StartError: the broker refused, or did not answer.
        """
        positions = self._positions()
        if positions.none_at_all:
            self._starts.commit_start_from(self._consumer, now)
            after = self._starts.positions(self._consumer).by_place.values()
            return [Change(p.topic, p.partition, -1, p.offset, "starts as kafka.start_from says") for p in after]
        changes: list[tuple[Change, str]] = []
        for partition in range(self._partitions):
            changes += self._accepted(partition, positions, now)
        return self._commit(changes)

    def reset_to(self, moment: int, now: int) -> list[Change]:
        """Go back to the offers of `moment` and the checkouts that these need. Times are wall clock (ms).

        Raises:
            PositionsError: that would be forward, the group has members, or the topic is another one.
            StartError: the broker refused, or did not answer.
        """
        if moment > now:
            raise PositionsError(
                f"group {self._group}: {readable(moment)} is still to come; this machine's clock says {readable(now)}. "
                "Nothing was changed. Choose an earlier time."
            )
        positions = self._positions()
        doubts = [one for one in positions.doubts(self._provenance) if one.doubt in _OTHER_LOG]
        if doubts:
            raise PositionsError(
                f"group {self._group}: a time of before cannot be found in another log:\n{in_words(doubts)}\n"
                "Nothing was changed. Say yes to the new log first: `opt-out positions --accept`."
            )
        wanted = self._starts.at(self._consumer, moment)
        self._refuse_forward(positions, wanted, moment)
        changes = []
        for (side, partition), (offset, horizon) in wanted.items():
            found = positions.by_place[side, partition]
            if side is Side.OFFERS:
                changes.append(self._offers_back_to(found, offset, now))
            else:
                whose = positions.by_place[Side.OFFERS, partition].provenance
                same = whose is not None and "" != whose.checkout_topic_id == self._provenance.checkout_topic_id
                changes.append(self._checkouts_back_to(found, offset, horizon, now, same=same))
        return self._commit(changes)

    # --- yes to what is there

    def _accepted(self, partition: int, found: Positions, now: int) -> Iterator[tuple[Change, str]]:
        offers, checkouts = (found.by_place[side, partition] for side in Side)
        differs = set(offers.provenance.differences(self._provenance)) if offers.provenance else set()
        moved = "cluster" in differs
        # On another cluster a mirror may have kept the offsets; in a topic that was made anew they mean nothing.
        offers_anew = "offer_topic_id" in differs and not moved
        checkouts_anew = "checkout_topic_id" in differs and not moved
        read_to = max([0, *(p.read_to(Side.CHECKOUTS) for p in (offers, checkouts))])
        cut = not checkouts_anew and read_to > self._bounds(checkouts)[1]
        checkouts_doubted = bool(
            checkouts.doubt or moved or cut or "checkout_topic_id" in differs or not self._is_there(checkouts)
        )
        if checkouts_doubted or offers.doubt or "offer_topic_id" in differs or not self._is_there(offers):
            yield self._offers_anew(offers, now, at_first=offers_anew)
        elif offers.read_to(Side.OFFERS) > self._bounds(offers)[1]:
            yield self._offers_anew(offers, now, at_first=False)
        elif differs and isinstance(offers.checkpoint, OfferCheckpoint):
            # Nobody has watched the inputs until now.
            kept = replace(offers.checkpoint, provenance=self._provenance.at(now), trusted_since=MIN_TIME)
            text = kept.encode(offers.offset)
            yield _change(offers, offers.offset, "goes on under the present names and API; nothing is repeated"), text
        if checkouts_doubted:
            same = bool(offers.provenance and offers.provenance.checkout_topic_id) and not (checkouts_anew or moved)
            yield self._checkouts_anew(checkouts, now, at_first=checkouts_anew, whole=same and not cut, cut=cut)

    def _offers_anew(self, offers: CommittedPosition, now: int, *, at_first: bool) -> tuple[Change, str]:
        low, high = self._bounds(offers)
        offset = low if at_first or not self._is_there(offers) else offers.offset
        what = f"starts anew: those not bought among up to {high - offset} offers are called, again if they were before"
        return _change(offers, offset, what), self._starts.new_offers(offset, now)

    def _checkouts_anew(
        self, checkouts: CommittedPosition, now: int, *, at_first: bool, whole: bool, cut: bool
    ) -> tuple[Change, str]:
        """`whole`: the topic is known to be the same, so that its very first record is the first checkout there was.

        `cut`: some that were read are gone from its end.
        """
        low, _ = self._bounds(checkouts)
        stays = not at_first and self._is_there(checkouts)
        offset = checkouts.offset if stays else low
        if offset > 0 and not cut:
            what = f"starts anew: offers are {_LATE} presented up to join.lookback after the first checkout read"
            return _change(checkouts, offset, what), new_checkouts(offset)
        if (stays or whole) and not cut:
            return _change(checkouts, offset, "starts at its very first record: none is gone"), new_checkouts(offset)
        # The first record of a topic that was made anew is not the first checkout that there ever was.
        horizon = self._horizon_of(checkouts, now, since_now=cut)
        what = f"starts anew: offers are {_LATE} presented before {readable(horizon + self._rules.lookback)}"
        return _change(checkouts, offset, what), self._starts.checkouts_from(offset, horizon)

    def _horizon_of(self, checkouts: CommittedPosition, now: int, *, since_now: bool = False) -> int:
        """The time (ms) below which checkouts may be missing from a log, by its first record, or by the clock."""
        low, high = self._bounds(checkouts)
        first = now
        if high > low and not since_now:
            record = self._first_record(checkouts, low, high)
            if record is not None and record.timestamp()[1] > 0:
                first = min(now, record.timestamp()[1])
        return first + self._rules.max_skew + self._rules.lateness

    def _first_record(self, position: CommittedPosition, low: int, high: int) -> Message | None:
        """The first record of a log that holds offsets from `low` to `high`; None if these hold none."""
        place = position.topic, position.partition
        consumer = self._reader()
        try:
            rounds = iter(range(int(TIMEOUT)))
            reader = LogReader(consumer, lambda _: None)
            for message in reader.read({place: (low, high)}, lambda: next(rounds, None) is not None):
                return message
        finally:
            consumer.close()
        if reader.unread:
            # By the clock instead, all offers until now would go late, and for good.
            raise StartError(
                f"{position.topic}[{position.partition}]: the broker does not give the first record, which tells how "
                "long ago the log begins. Nothing was changed. Check the broker, then do this again."
            )
        return None

    # --- back to a time

    def _refuse_forward(self, found: Positions, wanted: Wanted, moment: int) -> None:
        forward = []
        for (side, partition), (offset, _) in wanted.items():
            position = found.by_place[side, partition]
            low, end = self._bounds(position)
            # Where no record is as young as that, the position stays.
            if side is Side.OFFERS and position.offset >= 0 and max(low, position.offset) < offset < end:
                forward.append(f"{position.topic}[{partition}] from {position.offset} to {offset}")
        if forward:
            more = f" and {len(forward) - _MOST_NAMED} more" if len(forward) > _MOST_NAMED else ""
            raise PositionsError(
                f"group {self._group}: {readable(moment)} lies ahead of what is committed: "
                f"{', '.join(forward[:_MOST_NAMED])}{more}. The offers between would be missed. Nothing was changed. "
                "Choose an earlier time."
            )

    def _offers_back_to(self, found: CommittedPosition, offset: int, now: int) -> tuple[Change, str]:
        low, end = self._bounds(found)
        offset = offset if found.offset < 0 else max(low, min(found.offset, offset))
        what = (
            f"{end - offset} records are read again: each offer not bought among them is called, again if it was before"
        )
        return _change(found, offset, what), self._starts.new_offers(offset, now)

    def _checkouts_back_to(
        self, found: CommittedPosition, wanted: int, horizon: int | None, now: int, *, same: bool
    ) -> tuple[Change, str]:
        """`same`: the topic is known to be the same, so that its very first record is the first checkout there was."""
        ours = found.checkpoint if isinstance(found.checkpoint, CheckoutCheckpoint) else None
        low, _ = self._bounds(found)
        offset = wanted if ours is None else max(low, min(wanted, found.offset))
        if ours is not None and offset == found.offset and (horizon is None or ours.horizon <= horizon):
            # They stay for offers that stay, which may be older than that time, and whose checkouts are all there.
            return _change(found, offset, "stays: all that is wanted stands behind it"), found.metadata
        if low == 0 and ours is not None and ours.horizon == MIN_TIME and horizon is not None:
            text = self._starts.checkouts_from(offset, horizon)  # nothing was ever forgotten
        elif offset > low and horizon is not None:
            text = self._starts.checkouts_from(offset, horizon)
        elif offset > 0 or same:
            text = new_checkouts(offset)
        else:
            text = self._starts.checkouts_from(offset, self._horizon_of(found, now))
        return _change(found, offset, "is read from join.lookback and join.lateness before that time"), text

    # --- inside

    def _bounds(self, position: CommittedPosition) -> tuple[int, int]:
        return bounds(self._consumer, TopicPartition(position.topic, position.partition))

    def _is_there(self, position: CommittedPosition) -> bool:
        low, high = self._bounds(position)
        return low <= position.offset <= high

    def _positions(self) -> Positions:
        self._need_empty_group()
        positions = self._starts.positions(self._consumer)
        check_partition_count(self._group, positions, self._partitions)
        return positions

    def _need_empty_group(self) -> None:
        try:
            group = self._admin.describe_consumer_groups([self._group], request_timeout=_TIMEOUT)[self._group].result()
        except KafkaException as error:
            if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                return
            raise StartError(
                f"group {self._group}: the broker does not tell who is in it: {error.args[0].str()}. Nothing was "
                "changed. Allow Describe on the group, and do this again."
            ) from error
        if group.state not in _EMPTY:
            raise PositionsError(
                f"group {self._group} has {len(group.members)} members: its positions change only while nobody works "
                "on them. Nothing was changed. Stop all instances, and if one was killed wait until its session has "
                "timed out; then do this again."
            )

    def _commit(self, changes: list[tuple[Change, str]]) -> list[Change]:
        if changes:
            self._starts.commit(
                self._consumer,
                [TopicPartition(c.topic, c.partition, c.offset, metadata=text) for c, text in changes],
            )
        return [change for change, _ in changes]


def _change(position: CommittedPosition, offset: int, what: str) -> Change:
    return Change(position.topic, position.partition, position.offset, offset, what)
