"""From where to read so that no offer is judged without what was presented of it before.

An offset in the middle of a chain leaves a part of it unread, and the rest would be judged by itself: the purchase that
only its first presentation looks back to would not count, and a bought offer would be called. So what is committed
lies earlier, by as long as a chain may last, and says of the time in between what a commit of then would have said:
everything due by D is settled, and nothing else is.

    committed offset                      D                     P
    |-- lookback + window + grace + skew -|- lateness or more --|
        read, and called by nobody          decided as of now     as before

What was due by lateness before P need not have been settled by then: a gap between two checkouts, a guard or the
insurer may have held it for long. So D lies below whatever was settled since, as `settled_since` tells: a lower D costs
repeated calls, a higher one misses some. Nothing else stands below P: what is not settled now is at or behind it.

Example: bought at 8:00, shown at 9:45 and at 10:14, and the way back leads to 10:10. Read from there alone, the second
presentation looks back to 8:14. Read with the first one, to 7:45.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from confluent_kafka import Consumer

from ..core.checkpoint import OfferCheckpoint, rules_key
from ..core.rules import MAX_TIME, DecisionRules
from ..core.watermark import Side
from .positions import CommittedPosition
from .start_offsets import StartOffsets


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where one partition is to be read from.

    Attributes:
        offers: the offset to commit.
        checkpoint: what is to be committed with it.
        checkouts: where the checkouts begin that these offers need.
        horizon: the time (ms) below which some of those may have been forgotten; None if that is to be learnt.
    """

    offers: int
    checkpoint: OfferCheckpoint
    checkouts: int
    horizon: int | None


class WholeChains:
    """Finds such beginnings.

    Args:
        consumer: of the group; it is asked for offsets by time.
        starts: whose rules, topics and provenance count.
    """

    def __init__(self, consumer: Consumer, starts: StartOffsets, rules: DecisionRules) -> None:
        self._consumer = consumer
        self._starts = starts
        self._rules = rules

    def before(
        self,
        partition: int,
        offset: int,
        moment: int,
        now: int,
        found: CommittedPosition,
        settled_since: int = MAX_TIME,
    ) -> Beginning:
        """The beginning from which every offer at or behind `offset` is judged whole.

        Args:
            offset: the first offer of which nothing is known.
            moment: a time (wall clock, ms): what is on time and dated `lateness` before it stands before `offset`.
            now: the wall clock (ms).
            found: what is committed. What was due at that moment was so by its rules: by a narrower window of now,
                offers that were not due then would be taken for settled.
            settled_since: of what was not settled at that moment, and is now, the earliest was presented last at this
                time (ms). MAX_TIME: there is none, or `offset` is where all before is settled.
        """
        rules = found.checkpoint.rules if isinstance(found.checkpoint, OfferCheckpoint) else rules_key(self._rules)
        window, grace, lookback, _ = rules
        decided_to = min(moment - self._rules.lateness, settled_since - 1)
        # Of a chain with a record before the beginning, the first is dated at most max_skew after that record's stamp.
        lasts = max(window + grace, self._rules.late_after) + max(lookback, self._rules.lookback)
        last_begin = decided_to - lasts
        wanted = self._starts.at(self._consumer, last_begin - self._rules.max_skew, partitions=(partition,))
        begin = min(offset, wanted[Side.OFFERS, partition][0])
        checkouts, horizon = wanted[Side.CHECKOUTS, partition]
        checkpoint = replace(self._starts.undecided(offset, now), rules=rules)
        if begin < offset:  # else there is nothing before it
            checkpoint = replace(
                checkpoint,
                decided_to=decided_to,
                next_checkout=self._starts.offsets_at(self._consumer, Side.CHECKOUTS, moment, (partition,))[partition],
                # What is older belongs to chains that are due by D. It needs no dead letter where checkouts are gone.
                late_below=last_begin,
            )
        return Beginning(begin, checkpoint, checkouts, horizon)
