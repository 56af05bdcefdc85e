"""What is settled of the offers, said again under other names, or with what is lost, where a commit has room for it.

A list that is full has no room for one more character, and when the listed offers were due is not known any more: so D
cannot be lowered to what fits. D stays, and the list may tell of more than is not settled (see `core.shorter`). But the
committed offset may cut chains: their rest alone may lack the presentation whose lookback found the purchase, and must
not be called again. So what is listed more is no part of such a chain. Either it is too young for that, or the position
goes back to where those chains are read whole.

Example: shown at 9:45 and at 10:14, and bought at 8:00, which is settled. Committed is the offset of 10:10. What is
listed more begins at 12:10 and what may come late of it; or the position goes back to before 9:45.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from confluent_kafka import Consumer, Message, TopicPartition

from ..core.checkpoint import METADATA_LIMIT, OfferCheckpoint
from ..core.provenance import NOT_KNOWN, Provenance
from ..core.rules import MIN_TIME, DecisionRules
from ..core.shorter import with_less_dead, with_more_listed
from ..core.watermark import Side
from .end_offsets import bounds
from .positions import CommittedPosition
from .start_offsets import StartOffsets, readable
from .whole_chains import Beginning


class KeptOffers:
    """Says again what is settled.

    Args:
        first_record: of a log from an offset on and before another one; None if none stands there.
        provenance: whose a commit is that is made now.

    Attributes:
        room: characters that a broker takes.
    """

    def __init__(
        self,
        consumer: Consumer,
        starts: StartOffsets,
        rules: DecisionRules,
        provenance: Provenance,
        first_record: Callable[[CommittedPosition, int, int], Message | None],
    ) -> None:
        self._consumer = consumer
        self._starts = starts
        self._rules = rules
        self._provenance = provenance
        self._first_record = first_record
        self.room = METADATA_LIMIT

    def said_again(
        self, kept: OfferCheckpoint, offset: int, checkouts_end: int, now: int, lost_below: int
    ) -> OfferCheckpoint:
        """All that is kept of it from `offset` on. What is settled stays settled. An offer of which checkouts may be
        gone is late, whatever is kept here; and of any other all are there, so that what was decided of it is found
        again."""
        first = offset * kept.unit
        return replace(
            kept,
            next_offset=max(kept.next_offset, offset),
            next_checkout=min(kept.next_checkout, checkouts_end),
            splits=frozenset(one for one in kept.splits if one >= first),
            dead=frozenset(one for one in kept.dead if one >= first),
            unsettled=frozenset(one for one in kept.unsettled if one >= first),
            provenance=self._provenance.at(now),
            trusted_since=MIN_TIME,  # nobody has watched the inputs until now
            lost_below=lost_below,
        )

    def with_room(self, offers: CommittedPosition, kept: OfferCheckpoint, offset: int) -> OfferCheckpoint | None:
        """The same, so that there is room for it with `offset`; None where there is none that is safe."""
        fits = self._room(offers, offset)
        if fits(kept):
            return kept
        return with_less_dead(kept, fits) or _listing_more(kept, fits, self._after_cut_chains(offers, kept, offset))

    def from_further_back(
        self, offers: CommittedPosition, kept: OfferCheckpoint, beginning: Beginning, horizon: int
    ) -> OfferCheckpoint | None:
        """The same from a beginning on, from which what stood at the position is read whole.

        `horizon`: the time (ms) below which checkouts may be gone. None where there is no room, or where some are gone
        that such a whole needs.
        """
        if beginning.horizon is None or horizon > max(beginning.horizon, kept.lost_below):
            return None
        # What was late by the checkouts that the old position began with may begin such a chain.
        whole = replace(kept, late_below=min(kept.late_below, beginning.checkpoint.late_below))
        return _listing_more(whole, self._room(offers, beginning.offers), 0)

    def what_is_lost(self, was: CommittedPosition, offset: int, text: str) -> TopicPartition | None:
        """The position as it was found, with no more than what a change to `offset` and `text` says is lost for good;
        None if it says nothing of that. It is true whatever else the broker takes: the checkouts' log may grow past
        what was read of it before the change is made again, and then nothing else says that some are lost.

        Where there is no room for that, it is the change, under the names of then: so it is asked for again.
        """
        change = OfferCheckpoint.decode(text, offset)
        if not isinstance(was.checkpoint, OfferCheckpoint) or change.lost_below <= was.lost_below:
            return None
        same = replace(was.checkpoint, lost_below=change.lost_below)
        if self._has_room(same, was.offset):
            metadata = same.encode(was.offset)
            return TopicPartition(was.topic, was.partition, was.offset, metadata=metadata, leader_epoch=was.epoch)
        then = replace(change, provenance=was.checkpoint.provenance)
        return TopicPartition(was.topic, was.partition, offset, metadata=then.encode(offset))

    def _after_cut_chains(self, offers: CommittedPosition, kept: OfferCheckpoint, offset: int) -> int:
        """The first offset of a presentation from which on none belongs to a chain that a commit of `offset` cuts."""
        if offset == 0 or kept.decided_to == MIN_TIME:  # with nothing before it, or nothing decided, it cuts none
            return offset * kept.unit
        _, end = bounds(self._consumer, TopicPartition(offers.topic, offers.partition))
        record = self._first_record(offers, offset, end)
        if record is None:
            return end * kept.unit
        # By then all that stands before the offset was stamped, if those are not far out of order.
        stamped = record.timestamp()[1] + self._rules.lateness + self._rules.max_skew
        if self._at(offers, stamped) < offset:
            return end * kept.unit
        lasts = max(kept.rules[2], self._rules.lookback)
        return self._at(offers, stamped + self._rules.max_skew + lasts + self._rules.lateness) * kept.unit

    def _at(self, offers: CommittedPosition, moment: int) -> int:
        return self._starts.offsets_at(self._consumer, Side.OFFERS, moment, (offers.partition,))[offers.partition]

    def _room(self, offers: CommittedPosition, offset: int) -> Callable[[OfferCheckpoint], bool]:
        """Under the names of now, and under those of then: what is lost is committed first, see `what_is_lost`."""
        then = offers.provenance or NOT_KNOWN
        return lambda one: self._has_room(one, offset) and self._has_room(replace(one, provenance=then), offset)

    def _has_room(self, checkpoint: OfferCheckpoint, offset: int) -> bool:
        return len(checkpoint.encode(offset)) <= self.room


def kept_in_words(
    offers: CommittedPosition, offset: int, kept: OfferCheckpoint, fitted: OfferCheckpoint, begin: int
) -> str:
    """What was done, and what it costs.

    Args:
        offset: up to where all was settled or is gone.
        kept: all that was to be said.
        fitted: what there was room for.
        begin: the offset that it is committed with.
    """
    if (gone := offset - offers.offset) > 0:
        what = f"goes on behind {gone} records that retention deleted: those of them that were not settled are missed"
    else:
        what = "goes on under the present names and API"
    costs = []
    if more := len(fitted.unsettled) - len(kept.unsettled):
        costs.append(f"up to {-(-more // kept.unit)} offers that are settled are called again")
    if dead := len(kept.dead) - len(fitted.dead):
        costs.append(f"{dead} records that were dead-lettered are so again, or their offers are called")
    if begin < offset:
        costs.append(
            f"{offset - begin} records before are read again, of which those are called again that were due after "
            f"{readable(kept.decided_to)}, and those dead-lettered again that were"
        )
    if costs:
        return f"{what}; since a commit has no room for all that is settled, {'; '.join(costs)}"
    return what if gone > 0 else f"{what}; what is settled is not repeated"


def _listing_more(kept: OfferCheckpoint, fits: Callable[[OfferCheckpoint], bool], first: int) -> OfferCheckpoint | None:
    return with_more_listed(kept, fits, first) or with_more_listed(replace(kept, dead=frozenset()), fits, first)
