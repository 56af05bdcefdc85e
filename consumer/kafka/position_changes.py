"""What an operator says of positions that are in doubt: yes to what is there, or back to a time when all was well.

Neither ever goes forward over records that were not read. What is not known any more is given up towards repeating:
offers are called once more, and those whose checkouts may be gone are dead-lettered as late, never called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from confluent_kafka import Consumer, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from ..core.checkpoint import CheckoutCheckpoint, GuardState, OfferCheckpoint, new_checkouts
from ..core.horizon import Horizon
from ..core.provenance import NOT_KNOWN, Provenance
from ..core.rules import MAX_TIME, MIN_TIME, YEAR_2000, DecisionRules
from ..core.still_held import still_held
from ..core.watermark import Side
from ..errors import MetadataTooLongError, PositionsError
from .end_offsets import bounds
from .first_records import first_records
from .kept_offers import KeptOffers, kept_in_words
from .members import need_empty_group
from .positions import CommittedPosition, Doubt, Positions, check_partition_count, in_words
from .settled_since import SettledSince
from .start_offsets import StartOffsets, readable
from .whole_chains import Beginning, WholeChains

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
        settled: tells what a way back may not take for settled.
        unmatched_limit: as in the settings.
    """

    def __init__(
        self,
        consumer: Consumer,
        admin: AdminClient,
        reader: Callable[[], Consumer],
        starts: StartOffsets,
        settled: SettledSince,
        *,
        group: str,
        provenance: Provenance,
        rules: DecisionRules,
        partitions: int,
        unmatched_limit: int,
    ) -> None:
        self._consumer = consumer
        self._admin = admin
        self._reader = reader
        self._starts = starts
        self._settled = settled
        self._group = group
        self._provenance = provenance
        self._rules = rules
        self._partitions = partitions
        self._unmatched_limit = unmatched_limit
        self._kept = KeptOffers(consumer, starts, rules, provenance, self._first_record)

    def accept(self, now: int) -> list[Change]:
        """Say yes to what is committed. Returns what had to be changed for that; `now` is the wall clock (ms).

        Raises:
            PositionsError: the group has members.
            StartError: the broker refused, or did not answer.
        """
        positions = self._positions()
        if positions.none_at_all:
            return self._started(now)
        try:
            return self._commit(self._all_accepted(positions, now), positions)
        except MetadataTooLongError:
            # What is committed was taken: so much room is there, however little the broker allows.
            self._kept.room = max(len(found.metadata) for found in positions.by_place.values())
        positions = self._positions()
        return self._commit(self._all_accepted(positions, now), positions)

    def reset_to(self, moment: int, now: int) -> list[Change]:
        """Go back to the offers of `moment` and the checkouts that these need. Times are wall clock (ms).

        Raises:
            PositionsError: that would be forward, the group has members, or a log is another one or was cut.
            StartError: the broker refused, or did not answer.
        """
        if moment > now:
            raise PositionsError(
                f"group {self._group}: {readable(moment)} is still to come; this machine's clock says {readable(now)}. "
                "Nothing was changed. Choose an earlier time."
            )
        positions = self._positions()
        ends = {place: self._bounds(found) for place, found in positions.by_place.items() if place[0] is Side.CHECKOUTS}
        if doubts := [one for one in positions.doubts(self._provenance, ends) if one.needs_a_yes]:
            raise PositionsError(
                f"group {self._group}: a time of before cannot be found in another log, and which checkouts are lost "
                f"is kept only once you said yes to it:\n{in_words(doubts)}\nNothing was changed. Say yes to the log "
                "as it is now first: `opt-out positions --accept`. Then this can be given again."
            )
        wanted = self._starts.offsets_at(self._consumer, Side.OFFERS, moment)
        self._refuse_forward(positions, wanted, moment)
        since = self._settled.earliest_shown(moment)
        changes: list[tuple[Change, str]] = []
        for partition, offset in wanted.items():
            offers, checkouts = (positions.by_place[side, partition] for side in Side)
            settled_since = since.get(partition, MAX_TIME)
            guard = self._still_held(checkouts, now)
            changes += self._back_to(
                partition, offers, checkouts, now, offers.lost_below, guard, offset, moment, settled_since
            )
        return self._commit(changes, positions)

    # --- yes to what is there

    def _started(self, now: int) -> list[Change]:
        """This group, or one before it, has told outcomes: so the topic may be younger than what was decided by it, and
        its very first record is not known to be the first checkout that there was."""

        def first_tells(place: TopicPartition) -> int:
            return self._horizon_of(CommittedPosition.of(Side.CHECKOUTS, place), now)

        self._starts.commit_start_from(self._consumer, now, first_tells)
        after = self._starts.positions(self._consumer).by_place
        changes = [_change(replace(p, offset=-1), p.offset, "starts as kafka.start_from says") for p in after.values()]
        for partition in range(self._partitions):
            if (lost_below := after[Side.OFFERS, partition].lost_below) != MIN_TIME:
                what = f"but offers are {_LATE} presented before {readable(lost_below + self._rules.lookback)}"
                checkouts = after[Side.CHECKOUTS, partition]
                changes.append(_change(checkouts, checkouts.offset, what))
        return changes

    def _all_accepted(self, found: Positions, now: int) -> list[tuple[Change, str]]:
        return [one for partition in range(self._partitions) for one in self._accepted(partition, found, now)]

    def _accepted(self, partition: int, found: Positions, now: int) -> Iterator[tuple[Change, str]]:
        offers, checkouts = (found.by_place[side, partition] for side in Side)
        differs = set(offers.provenance.differences(self._provenance)) if offers.provenance else set()
        moved = "cluster" in differs
        # On another cluster a mirror may have kept the offsets; in a topic that was made anew they mean nothing.
        offers_anew = "offer_topic_id" in differs and not moved
        checkouts_anew = "checkout_topic_id" in differs and not moved
        # By another mapping neither D and the lists are of use, nor which checkouts were old enough to be forgotten.
        remapped = "mapping" in differs
        reread = remapped and (offers_anew or not self._is_there(offers))
        read_to = max([0, *(p.read_to(Side.CHECKOUTS) for p in (offers, checkouts))])
        cut = not checkouts_anew and read_to > self._same_to(checkouts)
        checkouts_doubted = bool(
            checkouts.doubt or moved or cut or "checkout_topic_id" in differs or reread or not self._is_there(checkouts)
        )
        is_same_log = "offer_topic_id" not in differs and offers.read_to(Side.OFFERS) <= self._same_to(offers)
        lost_below, checkouts_change = offers.lost_below, None
        if checkouts_doubted:
            same = bool(offers.provenance and offers.provenance.checkout_topic_id) and not (checkouts_anew or moved)
            read_until = offers.provenance.committed_at if checkouts_anew and offers.provenance else MIN_TIME
            if read_until != MIN_TIME:
                # The old log stood when this was committed: what it held by then is gone, however old the new one is.
                lost_below = max(lost_below, read_until + self._rules.max_skew + self._rules.lateness)
            checkouts_change, lost_below = self._checkouts_anew(
                checkouts, now, lost_below, at_first=checkouts_anew or reread, whole=same and not cut, cut=cut
            )
        goes_on = is_same_log and not moved and not remapped and offers.doubt is None
        if isinstance(offers.checkpoint, OfferCheckpoint) and goes_on:
            if differs or checkouts_doubted or not self._is_there(offers):
                offset = max(offers.offset, self._bounds(offers)[0])
                read_to = 0 if checkouts_anew else self._bounds(checkouts)[1]
                kept = self._kept.said_again(offers.checkpoint, offset, read_to, now, lost_below)
                fitted = self._kept.with_room(offers, kept, offset)
                if fitted is None:
                    known = replace(checkouts, checkpoint=None) if checkouts_doubted else checkouts
                    guard = self._still_held(checkouts, now)
                    yield from self._back_to(partition, offers, known, now, lost_below, guard, kept=kept)
                    return
                what = kept_in_words(offers, offset, kept, fitted, offset)
                yield _change(offers, offset, what), fitted.encode(offset)
        elif offers.doubt is Doubt.MISSING or offers_anew or not self._is_there(offers):
            yield self._offers_anew(offers, now, lost_below, at_first=offers_anew)
        elif offers.doubt or checkouts_doubted or remapped or not is_same_log:
            # It may stand within a chain. And of checkouts in doubt nothing that stands with their position is known.
            known = replace(checkouts, checkpoint=None) if checkouts_doubted else checkouts
            yield from self._back_to(partition, offers, known, now, lost_below, self._still_held(checkouts, now))
            return
        if checkouts_change is not None:
            yield checkouts_change

    def _offers_anew(
        self, offers: CommittedPosition, now: int, lost_below: int, *, at_first: bool
    ) -> tuple[Change, str]:
        low, high = self._bounds(offers)
        offset = low if at_first or not self._is_there(offers) else offers.offset
        what = f"starts anew: those not bought among up to {high - offset} offers are called, again if they were before"
        text = replace(self._starts.undecided(offset, now), lost_below=lost_below).encode(offset)
        return _change(offers, offset, what), text

    def _checkouts_anew(
        self, checkouts: CommittedPosition, now: int, lost_below: int, *, at_first: bool, whole: bool, cut: bool
    ) -> tuple[tuple[Change, str], int]:
        """The change, and the time (ms) below which checkouts are gone for good from now on.

        `whole`: the topic is known to be the same, so that its very first record is the first checkout there was.
        `cut`: some that were read are gone from its end.
        """
        low, _ = self._bounds(checkouts)
        stays = not at_first and self._is_there(checkouts)
        offset = checkouts.offset if stays else low
        known, guard = not cut and lost_below == MIN_TIME, self._still_held(checkouts, now)
        free = guard == GuardState()
        if offset > 0 and known and free:
            what = f"starts anew: offers are {_LATE} presented up to join.lookback after the first checkouts read"
            return (_change(checkouts, offset, what), new_checkouts(offset)), lost_below
        if offset == 0 and (stays or whole) and known:
            what = "starts at its very first record: none is gone"
            text = new_checkouts(offset) if free else self._starts.checkouts_from(offset, MIN_TIME, guard)
            return (_change(checkouts, offset, what), text), lost_below
        # The first record of a topic that was made anew is not the first checkout that there ever was.
        horizon = max(lost_below, self._horizon_of(checkouts, now, since_now=cut))
        what = f"starts anew: offers are {_LATE} presented before {readable(horizon + self._rules.lookback)}"
        return (_change(checkouts, offset, what), self._starts.checkouts_from(offset, horizon, guard)), horizon

    def _horizon_of(
        self, checkouts: CommittedPosition, now: int, *, since_now: bool = False, records: int | None = None
    ) -> int:
        """The time (ms) below which checkouts may be missing from a log, by its first record, or by the clock.

        So many `records` tell, by default `Horizon.HEAD`, and of them the newest; the clock, where there are fewer.
        """
        low, high = self._bounds(checkouts)
        needed, first = records or Horizon.HEAD, now
        if high > low and not since_now:
            head = self._first_records(checkouts, low, high, needed)
            stamps = [min(now, record.timestamp()[1]) for record in head]
            first = max(stamps) if len(stamps) >= needed and min(stamps) >= YEAR_2000 else now
        return first + self._rules.max_skew + self._rules.lateness

    def _first_record(self, position: CommittedPosition, low: int, high: int) -> Message | None:
        """The first record of a log from offset `low` on and before `high`; None if none stands there."""
        return next(iter(self._first_records(position, low, high, 1)), None)

    def _first_records(self, position: CommittedPosition, low: int, high: int, count: int) -> list[Message]:
        return first_records(self._reader, position.topic, position.partition, low, high, count)

    # --- back to a time

    def _refuse_forward(self, found: Positions, wanted: Mapping[int, int], moment: int) -> None:
        forward = []
        for partition, offset in wanted.items():
            position = found.by_place[Side.OFFERS, partition]
            low, end = self._bounds(position)
            stands = min(position.offset, position.cut_at)
            first = max(low, stands)
            # Behind a cut nothing was read, though what is committed lies further on: committed at 7, cut at 5.
            # Where no record is as young as that, the position stays. A gap without records is nothing to be missed.
            if position.offset >= 0 and first < offset < end and self._first_record(position, first, offset):
                whence = stands if stands == position.offset else f"its cut at {stands}"
                forward.append(f"{position.topic}[{partition}] from {whence} to {offset}")
        if forward:
            more = f" and {len(forward) - _MOST_NAMED} more" if len(forward) > _MOST_NAMED else ""
            raise PositionsError(
                f"group {self._group}: {readable(moment)} lies ahead of what is committed: "
                f"{', '.join(forward[:_MOST_NAMED])}{more}. The offers between would be missed. Nothing was changed. "
                "Choose an earlier time: after a way back, what is committed lies before the time that it led to."
            )

    def _back_to(
        self,
        partition: int,
        offers: CommittedPosition,
        checkouts: CommittedPosition,
        now: int,
        lost_below: int,
        guard: GuardState,
        wanted: int | None = None,
        moment: int | None = None,
        settled_since: int = MAX_TIME,
        kept: OfferCheckpoint | None = None,
    ) -> Iterator[tuple[Change, str]]:
        """Each offer from `wanted` on, where those of a moment (ms) begin, is decided anew, or from where the position
        stands or its log was cut, if that is earlier. None: from where it stands. `settled_since` is as
        `WholeChains.before` takes it. What is `kept` stays settled, as far as there is room to say so."""
        low, end = self._bounds(offers)
        offset = offers.offset if wanted is None else wanted
        if offers.offset >= 0:
            offset = max(low, min(offers.offset, offers.cut_at, offset))
        moment = now if moment is None else moment
        if offset != wanted and (record := self._first_record(offers, offset, end)) is not None:
            moment = min(moment, record.timestamp()[1])
        whole = WholeChains(self._consumer, self._starts, self._rules)
        settled = settled_since if kept is None else kept.decided_to + 1
        beginning = whole.before(partition, offset, moment, now, offers, settled)
        whose = offers.provenance
        same = whose is not None and "" != whose.checkout_topic_id == self._provenance.checkout_topic_id
        remapped = (whose or NOT_KNOWN).written_mapping != self._provenance.written_mapping
        checkouts_change, horizon = self._checkouts_back_to(
            checkouts, beginning, lost_below, now, guard, same=same, remapped=remapped
        )
        late_below = horizon + self._rules.lookback
        if kept is not None:
            fitted = self._kept.from_further_back(offers, kept, beginning, horizon)
            if fitted is None:
                yield from self._back_to(partition, offers, checkouts, now, lost_below, guard)
                return
            text = fitted.encode(beginning.offers)
            what = kept_in_words(offers, offset, kept, fitted, beginning.offers)
            if late_below > moment:
                what += f"; but offers are {_LATE} presented before {readable(late_below)}"
            yield from ((_change(offers, beginning.offers, what), text), checkouts_change)
            return
        what = (
            f"{end - offset} records are read again: each offer not bought among them is called, again if it was before"
        )
        if settled_since < moment:
            what += f"; so is each presented since {readable(settled_since)}: one of that time was settled after that"
        if late_below > moment:
            what += f"; but offers are {_LATE} presented before {readable(late_below)}"
        checkpoint = replace(
            beginning.checkpoint,
            late_below=max(beginning.checkpoint.late_below, late_below) if beginning.offers < offset else MIN_TIME,
            lost_below=lost_below,
        )
        yield _change(offers, beginning.offers, what), checkpoint.encode(beginning.offers)
        yield checkouts_change

    def _checkouts_back_to(
        self,
        found: CommittedPosition,
        beginning: Beginning,
        lost_below: int,
        now: int,
        guard: GuardState,
        *,
        same: bool,
        remapped: bool,
    ) -> tuple[tuple[Change, str], int]:
        """The change, and the time (ms) below which checkouts may be missing, as far as that is known.

        `same`: the topic is known to be the same, so that its very first record is the first checkout there was.
        `remapped`: what was old enough to be forgotten was so by another mapping, or by one that is not known.
        """
        ours = found.checkpoint if isinstance(found.checkpoint, CheckoutCheckpoint) else None
        low, wanted, horizon = self._bounds(found)[0], beginning.checkouts, beginning.horizon
        offset = wanted if found.offset < 0 else max(low, min(wanted, found.offset))
        stays = offset == found.offset and not remapped
        if ours is not None and stays and (horizon is None or ours.horizon <= horizon):
            # They stay for offers that stay, which may be older than that time, and whose checkouts are all there.
            change = _change(found, offset, "stays: all that is wanted stands behind it")
            return (change, found.metadata), ours.horizon
        change = _change(found, offset, "is read from join.lookback and join.lateness before the first of these offers")
        never_forgot = low == 0 and ours is not None and ours.horizon == MIN_TIME
        # Where the very first offset is there, nothing was deleted, and one record older than these tells it.
        needed = 1 if low == 0 and ours is not None else Horizon.HEAD
        older_are_there = len(self._first_records(found, low, offset, needed)) == needed
        if horizon is None or not (older_are_there or never_forgot):
            none_gone, free = offset == 0 and same and lost_below == MIN_TIME, guard == GuardState()
            horizon = MIN_TIME if none_gone else self._horizon_of(found, now, records=needed)
            if free and (none_gone or (offset > 0 and lost_below == MIN_TIME)):
                return (change, new_checkouts(offset)), horizon  # it is learnt as exactly as it can be
        horizon = max(horizon, lost_below)
        return (change, self._starts.checkouts_from(offset, horizon, guard)), horizon

    # --- inside

    def _still_held(self, checkouts: CommittedPosition, now: int) -> GuardState:
        if not isinstance(checkouts.checkpoint, CheckoutCheckpoint):
            return GuardState()
        return still_held(checkouts.checkpoint.guard, now, self._rules, self._unmatched_limit)

    def _bounds(self, position: CommittedPosition) -> tuple[int, int]:
        return bounds(self._consumer, TopicPartition(position.topic, position.partition))

    def _same_to(self, position: CommittedPosition) -> int:
        return min(self._bounds(position)[1], position.cut_at)

    def _is_there(self, position: CommittedPosition) -> bool:
        return self._bounds(position)[0] <= position.offset <= self._same_to(position)

    def _positions(self) -> Positions:
        need_empty_group(self._admin, self._group)
        positions = self._starts.positions(self._consumer, with_cuts=True)
        check_partition_count(self._group, positions, self._partitions)
        return positions

    def _commit(self, changes: list[tuple[Change, str]], found: Positions) -> list[Change]:
        """Commit the checkouts' part first. Whose a position is stands with the offers: where the broker takes only the
        first part, or a part of it, the next start is still refused, or reads more than it must."""
        offers, checkouts = ([one for one in changes if one[0].topic == topic] for topic in self._starts.topics)
        first = [_place(change, text) for change, text in checkouts]
        was = {change.partition: found.by_place[Side.OFFERS, change.partition] for change, _ in offers}
        first += [one for c, text in offers if (one := self._kept.what_is_lost(was[c.partition], c.offset, text))]
        for places in (first, [_place(change, text) for change, text in offers]):
            if places:
                self._starts.commit(self._consumer, places)
        return [change for change, _ in changes]


def _place(change: Change, text: str) -> TopicPartition:
    return TopicPartition(change.topic, change.partition, change.offset, metadata=text)


def _change(position: CommittedPosition, offset: int, what: str) -> Change:
    return Change(position.topic, position.partition, position.offset, offset, what)
