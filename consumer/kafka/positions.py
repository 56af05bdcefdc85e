"""Whether what a group has committed is what this service left there, of these topics, for this API.

An offset is a number, and anyone may commit one: `kafka-console-consumer --group` with the group's name, a tool that
mirrors or resets, a staging deployment that was given production's brokers. To read on from such a number is to miss
opt-outs without a line in the log, or to call offers whose checkouts are skipped. So each position is questioned
before anything is read, and any doubt stops the start; `opt-out positions` shows it, and answers it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from confluent_kafka import TopicPartition

from ..core.checkpoint import CheckoutCheckpoint, OfferCheckpoint, UnreadableMetadata, are_new_checkouts
from ..core.provenance import Provenance
from ..core.rules import MIN_TIME
from ..core.watermark import Side
from ..errors import PositionsError, StartError
from .leader_epochs import NO_EPOCH, CutLogs, ReadTo, known_epoch

_MOST_NAMED = 4
"""Partitions of one doubt that a message names."""


NOT_CUT = 2**63 - 1
"""`CommittedPosition.cut_at` of a log of which no cut is known: no offset is as high."""


class Doubt(Enum):
    """Why a position may not be taken as it is. The value says it in words."""

    MISSING = (
        "nothing is committed, though the group has committed elsewhere: the offset expired or was deleted, or the "
        "topic was made anew"
    )
    UNMARKED = (
        "the offset stands without this service's metadata: another program committed it, such as a console consumer "
        "with the group's name, a tool that sets offsets, or version 0.1 or 0.2 in a new group that it had only begun"
    )
    FOREIGN = "the metadata with the offset is not this service's, or was changed, or belongs to another offset"
    MADE_ANEW = "the topic is not the one that this was committed for: it was deleted and made anew"
    OTHER_CLUSTER = "this was committed on another cluster"
    RENAMED = "this was committed for topics of other names"
    GONE = "the broker no longer has this offset: retention has deleted records that were not settled"
    CUT = (
        "the log no longer holds all that was read from it: it lost its end, and may have grown again since, or it was "
        "made anew"
    )
    OTHER_API = "this was committed by a deployment that calls another API"
    OTHER_SCOPE = (
        "this was committed by a backfill of another range or other settings, or one of the deployment and the "
        "backfill was given the other one's group"
    )
    OTHER_EACH = (
        "this was committed with another input.offers.each, or with none, and does not tell which offers of a record "
        "are settled"
    )
    OTHER_MAPPING = (
        "this was committed with another mapping of the inputs (input.offers and input.checkouts: format, fields, when "
        "or time), and by the one of now other offers may be due by the time that all is decided to"
    )


_OF_DIFFERENCE = {
    "cluster": Doubt.OTHER_CLUSTER,
    "offer_topic_id": Doubt.MADE_ANEW,
    "checkout_topic_id": Doubt.MADE_ANEW,
    "offer_topic": Doubt.RENAMED,
    "checkout_topic": Doubt.RENAMED,
    "base_url": Doubt.OTHER_API,
    "scope": Doubt.OTHER_SCOPE,
    "mapping": Doubt.OTHER_MAPPING,
}


@dataclass(frozen=True, slots=True)
class CommittedPosition:
    """What a group has committed for one partition.

    Attributes:
        offset: below 0 where nothing is.
        metadata: as it was committed.
        checkpoint: what the metadata says; None where it says nothing, which may be right in a new group. Where
            `doubt` is OTHER_EACH, its sets of offsets are of no use.
        doubt: why it is not ours; None if it is.
        epoch: of the leader that wrote the last record that was read; NO_EPOCH: not known.
        cut_at: the first offset of the log that is not what it was when it was read, as far as that is known.
    """

    side: Side
    topic: str
    partition: int
    offset: int
    metadata: str
    checkpoint: OfferCheckpoint | CheckoutCheckpoint | None
    doubt: Doubt | None
    epoch: int = NO_EPOCH
    cut_at: int = NOT_CUT

    @classmethod
    def of(cls, side: Side, place: TopicPartition, each: str = "") -> CommittedPosition:
        """Read what a broker tells of a partition. `each` is as a commit of now has it; see `OfferCheckpoint`."""
        offset, metadata = place.offset, place.metadata or ""
        checkpoint: OfferCheckpoint | CheckoutCheckpoint | None = None
        doubt = None
        if offset < 0:
            doubt = Doubt.MISSING
        elif not metadata:
            doubt = Doubt.UNMARKED
        elif side is Side.OFFERS or not are_new_checkouts(metadata, offset):
            try:
                decode = OfferCheckpoint.decode if side is Side.OFFERS else CheckoutCheckpoint.decode
                checkpoint = decode(metadata, offset)
            except UnreadableMetadata:
                doubt = Doubt.FOREIGN
            if isinstance(checkpoint, OfferCheckpoint) and checkpoint.each != each:
                doubt = Doubt.OTHER_EACH
        epoch = known_epoch(place.leader_epoch)
        return cls(side, place.topic, place.partition, offset, metadata, checkpoint, doubt, epoch)

    def read_to(self, side: Side) -> int:
        """The first offset of an input that had not been read, as far as this says so; else 0."""
        if isinstance(self.checkpoint, OfferCheckpoint):
            return self.checkpoint.next_offset if side is Side.OFFERS else self.checkpoint.next_checkout
        return self.checkpoint.next_offset if self.checkpoint is not None and side is Side.CHECKOUTS else 0

    @property
    def was_read(self) -> ReadTo:
        """How far its own log had been read."""
        return ReadTo(self.read_to(self.side), self.epoch)

    @property
    def lost_below(self) -> int:
        """The time (ms) below which checkouts may be gone for good, as far as this says so."""
        return self.checkpoint.lost_below if isinstance(self.checkpoint, OfferCheckpoint) else MIN_TIME

    @property
    def horizon(self) -> int | None:
        """The time (ms) below which checkouts may be gone; None where nothing is said of it."""
        return self.checkpoint.horizon if isinstance(self.checkpoint, CheckoutCheckpoint) else None

    @property
    def provenance(self) -> Provenance | None:
        """Whose it is, as far as it says so."""
        return self.checkpoint.provenance if isinstance(self.checkpoint, OfferCheckpoint) else None


@dataclass(frozen=True, slots=True)
class Doubted:
    """A position in doubt.

    Attributes:
        side: of the topic.
        topic: the one in doubt, which for a checkout topic that was made anew is not the position's own.
        detail: what it was and what it is, where that is the doubt.
    """

    doubt: Doubt
    side: Side
    topic: str
    partition: int
    detail: str = ""

    @property
    def needs_a_yes(self) -> bool:
        """Whether nobody may go back before somebody said yes to it. In another log a time of before is not found. And
        of checkouts that are gone from the end of their log only the yes keeps up to when they are lost."""
        return self.doubt in _OTHER_LOG or (self.doubt is Doubt.CUT and self.side is Side.CHECKOUTS)


_OTHER_LOG = frozenset({Doubt.MADE_ANEW, Doubt.OTHER_CLUSTER})


class Positions:
    """All that a group has committed for the two topics, or a part of it. `each` is as a commit of now has it."""

    def __init__(self, topics: tuple[str, str], committed: Iterable[TopicPartition], each: str = "") -> None:
        self._topics = topics
        self.by_place: dict[tuple[Side, int], CommittedPosition] = {}
        for place in committed:
            side = Side(topics.index(place.topic))
            self.by_place[side, place.partition] = CommittedPosition.of(side, place, each)

    @property
    def none_at_all(self) -> bool:
        """Nothing is committed."""
        return all(position.offset < 0 for position in self.by_place.values())

    def find_cuts(self, logs: CutLogs, now: Provenance) -> None:
        """Have the broker asked whether it still has what was read of these logs.

        It is not asked of a log that is known to be another one than was read, by `now` as in `doubts`: epochs count
        the leaders of one log. Example: a mirror has kept epoch 7 with a commit, and its own log is of epoch 2.

        Raises:
            StartError: it did not answer.
        """
        of_place = {(position.topic, position.partition): place for place, position in self.by_place.items()}
        same = {named: place for named, place in of_place.items() if not self._is_another_log(*place, now)}
        read = {named: self.by_place[place].was_read for named, place in same.items()}
        for named, offset in logs.of(read).items():
            place = of_place[named]
            self.by_place[place] = replace(self.by_place[place], cut_at=offset)

    def _is_another_log(self, side: Side, partition: int, now: Provenance) -> bool:
        offers = self.by_place.get((Side.OFFERS, partition))
        whose = offers.provenance if offers is not None else None
        topic_id = "offer_topic_id" if side is Side.OFFERS else "checkout_topic_id"
        return whose is not None and not {"cluster", topic_id}.isdisjoint(whose.differences(now))

    def read_to(self, side: Side, partition: int) -> int:
        """The first offset of an input that had not been read, by what is committed with either."""
        offset = self.by_place[side, partition].offset
        return max(offset, *(self.by_place[s, partition].read_to(side) for s in Side))

    def partition_counts(self) -> set[int]:
        """The numbers of partitions that they were committed with."""
        return {p.checkpoint.partitions for p in self.by_place.values() if p.checkpoint is not None}

    def doubts(
        self, now: Provenance, logs: Mapping[tuple[Side, int], tuple[int, int]] | None = None
    ) -> Iterator[Doubted]:
        """Why these may not be taken as they are.

        `now` is whose a commit would be, `logs` the first offset and the end of each partition as far as is known.
        """
        for place, position in self.by_place.items():
            low, high = (logs or {}).get(place, (0, NOT_CUT))
            if 0 <= position.offset < low:
                yield Doubted(Doubt.GONE, position.side, position.topic, position.partition)
            # Both may be so: what retention has deleted says nothing of what the log has lost at its end.
            if self.read_to(*place) > min(high, position.cut_at):
                yield Doubted(Doubt.CUT, position.side, position.topic, position.partition)
            if position.doubt is not None:
                yield Doubted(position.doubt, position.side, position.topic, position.partition)
            if position.provenance is not None:
                for name, (then, current) in position.provenance.differences(now).items():
                    side = Side.CHECKOUTS if name.startswith("checkout") else position.side
                    detail = f"{then or 'none'}, now {current or 'none'}"
                    yield Doubted(_OF_DIFFERENCE[name], side, self._topics[side], position.partition, detail)


def check_positions(
    group: str,
    positions: Positions,
    now: Provenance,
    partitions: int,
    logs: Mapping[tuple[Side, int], tuple[int, int]] | None = None,
) -> None:
    """Refuse what is in doubt. `now` and `logs` are as `Positions.doubts` takes them.

    Raises:
        PositionsError: some of the positions are not ours, or of another log, name or API.
        StartError: they were committed with another number of partitions than there are now, or with ids that the
            cluster does not tell now.
    """
    check_partition_count(group, positions, partitions)
    check_told(group, positions, now)
    if doubts := list(positions.doubts(now, logs)):
        raise PositionsError(refusal(group, doubts))


def check_told(group: str, positions: Positions, now: Provenance) -> None:
    """Refuse positions of which it cannot be told whether they are of the same log.

    Raises:
        StartError: the cluster does not tell ids now with which they were committed.
    """
    known = [position.provenance for position in positions.by_place.values() if position.provenance is not None]
    if untold := sorted({words for provenance in known for words in provenance.untold(now)}):
        raise StartError(
            f"group {group}: the cluster does not tell {' and '.join(untold)}, and did when positions were committed: "
            "whether they are of the same log is not known. Nothing was read, and nothing is called. A cluster that "
            "has no controller for a moment tells it a moment later: start again. If it never tells any more, say yes "
            "to that by `opt-out positions --accept`."
        )


def check_partition_count(group: str, positions: Positions, partitions: int) -> None:
    """Refuse positions that were committed with another number of partitions.

    Raises:
        StartError: they were.
    """
    if counts := positions.partition_counts() - {partitions}:
        raise StartError(
            f"group {group}: committed with {min(counts)} partitions, the topics now have {partitions}: keys have "
            "moved between partitions, so offers and checkouts that belong together may no longer meet. Drain the "
            "topics with the old count, or start a new group."
        )


def refusal(group: str, doubts: Sequence[Doubted]) -> str:
    """Why the start is refused, and which command answers it."""
    if any(one.needs_a_yes for one in doubts):
        back = "There is no way back (`--reset-to TIME`) before that."
    else:
        back = "To go back to a time when all was well, `opt-out positions --reset-to TIME`."
    return (
        f"group {group}: what is committed is not what this service left there, or not of what it reads now. Nothing "
        f"was read, and nothing is called.\n{in_words(doubts)}\n"
        "`opt-out positions` shows all of it. If it is right as it is, `opt-out positions --accept` says so and says "
        f"what that costs. {back}"
    )


def in_words(doubts: Sequence[Doubted]) -> str:
    """Each kind of doubt with the partitions that it is about, a line each."""
    kinds: dict[tuple[Doubt, str], list[str]] = {}
    for one in doubts:
        kinds.setdefault((one.doubt, one.detail), []).append(f"{one.topic}[{one.partition}]")
    return "\n".join(
        f"  {_named(places)}: {doubt.value}{f' ({detail})' if detail else ''}"
        for (doubt, detail), places in kinds.items()
    )


def _named(places: Collection[str]) -> str:
    named = list(dict.fromkeys(places))
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return ", ".join(named[:_MOST_NAMED]) + more
