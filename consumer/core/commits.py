"""Which offset of the offer partition may be committed, with which D, so that the list of the unsettled fits.

A commit says: every chain due by D is settled, but for those listed. The list has room for some thousands; where
more is unsettled, D is lowered to what the list can carry, and a restart repeats what was settled above it. The
offset depends on D in turn:

A settled chain may stand on both sides of the committed offset, and a restart then reads only a part of it. By D that
part is known to be settled (a part of a chain is never due later than the whole). Above D, or where another D must be
assumed, it would be decided anew, and wrongly: the part may lack the presentation whose lookback found the
purchase, or the later one that did. So the offset goes back to the first record of such a chain, and of every
chain whose records arrived out of order, which holds even if the metadata is lost.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

from .checkpoint import OfferCheckpoint
from .join import Chain
from .rules import MIN_TIME


class Span(NamedTuple):
    """A settled chain of several records: its first and last offset, when it was due (ms), and whether its records
    came out of order."""

    first: int
    last: int
    decide_at: int
    disordered: bool


class SettledSpans:
    """The settled chains of several records, as far as a commit may still cut one."""

    MOST = 10_000
    """How many are kept so that D may be lowered below them. One offer that cannot be settled for days would else
    collect all chains of those days."""

    def __init__(self) -> None:
        self._dropped = MIN_TIME
        self._spans: list[Span] = []

    def add(self, chain: Chain) -> None:
        """The chain was settled."""
        offsets = [presentation.offset for presentation in chain.presentations]
        self._spans.append(Span(min(offsets), max(offsets), chain.decide_at, offsets != sorted(offsets)))

    def start(self, offset: int, decided_to: int) -> int:
        """`offset`, or the lower one at which no chain is cut that may not be."""
        # By falling first offset one pass does: what was passed over begins at or above the offset found since.
        for span in sorted(self._spans, reverse=True):
            if span.first < offset <= span.last and (span.disordered or span.decide_at > decided_to):
                offset = span.first
        return offset

    def least_decided_to(self, committed: int) -> int:
        """The lowest D that may go with a commit of this offset or a higher one: below it a chain would be cut."""
        cut = [span.decide_at for span in self._spans if span.first < committed <= span.last]
        return max((self._dropped, *cut))

    def forget(self, committed: int, decided_to: int) -> None:
        """Drop what no commit at or after this offset can cut; where there are too many, what none with this D can."""
        self._spans = [span for span in self._spans if span.last >= committed]
        if len(self._spans) > self.MOST:
            dropped = [span for span in self._spans if not span.disordered and span.decide_at <= decided_to]
            self._dropped = max((self._dropped, *(span.decide_at for span in dropped)))
            self._spans = [span for span in self._spans if span.disordered or span.decide_at > decided_to]


def fit(
    checkpoint: OfferCheckpoint,
    lowest: int,
    *,
    pending: Mapping[int, Chain],
    stragglers: Mapping[int, Chain],
    unacknowledged: Collection[int],
    spans: SettledSpans,
    floor: int,
    limit: int,
) -> tuple[int, OfferCheckpoint] | None:
    """The offset to commit and its checkpoint, with D as high as the list allows.

    Args:
        checkpoint: complete but for the list of the unsettled; its D is the highest that may be said.
        lowest: the lowest open offset.
        pending: decided and unsettled chains in order of decide_at, but for the `stragglers` among them.
        unacknowledged: offsets whose dead letters are not acknowledged; they are always listed.
        floor: the offset committed last, below which none is committed.
        limit: characters of metadata.

    Returns:
        None if the metadata does not fit however low D is.
    """
    # More chains than characters can only be listed where they stand in long runs: twice as many is generous.
    most = 2 * limit
    chains = list(islice(pending.values(), most + 1))
    complete = len(chains) <= most
    chains = sorted({id(c): c for c in (*chains, *stragglers.values())}.values(), key=lambda c: c.decide_at)

    def attempt(count: int) -> tuple[int, OfferCheckpoint] | None:
        decided_to = checkpoint.decided_to
        if count < len(chains):
            decided_to = min(decided_to, chains[count].decide_at - 1)
        listed = {p.offset for chain in chains[:count] for p in chain.presentations}
        offset = max(floor, spans.start(lowest, decided_to))
        tried = replace(
            checkpoint,
            decided_to=decided_to,
            # Below the offset nothing is read again.
            splits=frozenset(o for o in checkpoint.splits if o >= offset),
            dead=frozenset(o for o in checkpoint.dead if o >= offset),
            unsettled=frozenset(listed.union(unacknowledged)),
        )
        return (offset, tried) if len(tried.encode(offset)) <= limit else None

    everything = attempt(len(chains)) if complete else None
    if everything is not None:
        return everything
    low, high, best = 0, len(chains), attempt(0)
    while best is not None and high - low > 1:
        middle = (low + high) // 2
        found = attempt(middle)
        if found is None:
            high = middle
        else:
            low, best = middle, found
    if best is None and checkpoint.dead:
        # Then some dead letters are written once more after a restart: never lose, rather repeat.
        return fit(
            replace(checkpoint, dead=frozenset()),
            lowest,
            pending=pending,
            stragglers=stragglers,
            unacknowledged=unacknowledged,
            spans=spans,
            floor=floor,
            limit=limit,
        )
    return best
