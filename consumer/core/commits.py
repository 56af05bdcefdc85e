"""Which offset of the offer partition may be committed, with which `decided_to`, so that the list fits.

A commit says: every chain due by `decided_to` is settled, but for those listed. The list has room for some thousands.
Where more is unsettled, `decided_to` is lowered to what the list can carry, and a restart repeats what was settled
above it. The offset depends on `decided_to` in turn:

A settled chain may straddle the committed offset, and a restart then reads only a part of it. By `decided_to` that part
is known to be settled, since a part of a chain is never due later than the whole. Above it, or where another one must
be assumed, the part would be decided anew, and wrongly: it may lack the presentation whose lookback found the purchase,
or the later one that did. So the offset goes back to the first record of such a chain, and of every chain whose records
arrived out of order, which holds even if the metadata is lost.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple

from .chain import Chain, Listed
from .checkpoint import METADATA_LIMIT, CheckoutCheckpoint, OfferCheckpoint, Position
from .pending import PendingChains
from .refused import RefusedOffers
from .rules import MIN_TIME, DecisionRules


class Straddling(NamedTuple):
    """A settled chain of several presentations: the offsets of its first and last record, when it was due (ms), and
    whether its records came out of order."""

    first: int
    last: int
    decide_at: int
    disordered: bool


class StraddlingChains:
    """The settled chains of several records, as far as a commit may still cut one."""

    MOST = 10_000
    """How many are kept so that `decided_to` may be lowered below them. One offer that cannot be settled for days would
    else collect all chains of those days."""

    def __init__(self) -> None:
        self._dropped = MIN_TIME
        self._chains: list[Straddling] = []
        self._join_at = 2 * self.MOST

    def add(self, chain: Chain, planned: int) -> None:
        """The chain was settled; no commit will be below the offset `planned`."""
        offsets = [presentation.record_offset for presentation in chain.presentations]
        self._chains.append(Straddling(min(offsets), max(offsets), chain.decide_at, offsets != sorted(offsets)))
        if len(self._chains) > self._join_at:
            self._join(planned)

    def start(self, offset: int, decided_to: int) -> int:
        """`offset`, or the lower one at which no chain is cut that may not be."""
        # By falling first offset one pass does: what was passed over begins at or above the offset found since.
        for one in sorted(self._chains, reverse=True):
            if one.first < offset <= one.last and (one.disordered or one.decide_at > decided_to):
                offset = one.first
        return offset

    def least_decided_to(self, committed: int) -> int:
        """The lowest `decided_to` that may go with this offset or a higher one: below it a chain would be cut."""
        cut = [one.decide_at for one in self._chains if one.first < committed <= one.last]
        return max((self._dropped, *cut))

    def forget(self, committed: int, decided_to: int) -> None:
        """Drop what no commit at or after this offset can cut; where there are too many, see `limit`."""
        self._chains = [one for one in self._chains if one.last >= committed]
        self.limit(decided_to)

    def limit(self, decided_to: int) -> None:
        """Where there are too many, drop what no commit with this `decided_to` can cut: none may have a lower one."""
        if len(self._chains) > self.MOST:
            dropped = [one for one in self._chains if not one.disordered and one.decide_at <= decided_to]
            self._dropped = max((self._dropped, *(one.decide_at for one in dropped)))
            self._chains = [one for one in self._chains if one.disordered or one.decide_at > decided_to]

    def _join(self, planned: int) -> None:
        """Take neighbours for one chain, two and two.

        `decided_to` stands while more is unsettled than the list can carry, so that none of them may be dropped, for
        days maybe. What is cut by no commit as one is not cut as two either. But a commit may be held longer for it,
        and a restart repeats more: no more than chains that reach over each other would make it anyway.
        """
        cut = [one for one in self._chains if one.first < planned]  # a commit may have cut these already
        rest = sorted(one for one in self._chains if one.first >= planned)
        pairs = [rest[n : n + 2] for n in range(0, len(rest), 2)]
        self._chains = cut + [_as_one(pair) for pair in pairs]
        self._join_at = max(2 * self.MOST, 2 * len(self._chains))


def _as_one(chains: list[Straddling]) -> Straddling:
    return Straddling(
        min(one.first for one in chains),
        max(one.last for one in chains),
        max(one.decide_at for one in chains),
        any(one.disordered for one in chains),
    )


def _with_dead(checkpoint: OfferCheckpoint, more: Collection[int]) -> OfferCheckpoint:
    return replace(checkpoint, dead=checkpoint.dead.union(more))


LEAST_METADATA = 656
"""Characters that metadata without any list fit into, whatever the topics and the API are called."""


@dataclass(frozen=True, slots=True)
class CommitPlan:
    """What may be committed, both partitions together.

    Attributes:
        retain_from: checkouts completed at or after this time (ms) are still read after a restart from here.
        decided_to: that of the offer partition's metadata (ms).
        read_to: of the offers and of the checkouts, the first offset that had not been applied.
    """

    offers: Position
    checkouts: Position
    retain_from: int
    decided_to: int
    read_to: tuple[int, int] = (0, 0)

    @classmethod
    def of(
        cls, offset: int, offers: OfferCheckpoint, retained: int, checkouts: CheckoutCheckpoint, retain_from: int
    ) -> CommitPlan:
        """The plan to commit `offset` of the offers and `retained` of the checkouts, with these checkpoints."""
        texts = offers.encode(offset), checkouts.encode(retained)
        read_to = offers.next_offset, checkouts.next_offset
        return cls(Position(offset, texts[0]), Position(retained, texts[1]), retain_from, offers.decided_to, read_to)


class CommitPlanner:
    """Says which offset of the offer partition may be committed, with which `decided_to` and which lists.

    Args:
        rules: as set now.
        committed: the offset that the task starts from.
        decided_to: up to when everything is settled but what is listed, as the task starts (ms).
        limit: characters of metadata that the broker takes.

    Attributes:
        committed: the offset that was acknowledged last.
    """

    def __init__(
        self, rules: DecisionRules, committed: int, decided_to: int = MIN_TIME, limit: int = METADATA_LIMIT
    ) -> None:
        self.committed = committed
        self._rules = rules
        self._planned = committed
        self._least_decided_to = decided_to
        self._limit = limit
        self._straddling = StraddlingChains()
        self._settled_splits: dict[int, int] = {}
        """Starts of settled chains that follow on one which ended only because it had lasted for `lookback`, with when
        they were due (ms). A restart that decides such a chain anew, and reads only a part of the one before, would
        else take both for one."""

    def settled(self, chain: Chain) -> None:
        """The chain was settled: a commit may come to cut it."""
        if chain.split:
            self._settled_splits[chain.start] = chain.decide_at
        if len(chain.presentations) > 1:
            self._straddling.add(chain, self._planned)

    def settled_by_other_spans(self, chain: Chain) -> None:
        """The chain was settled by the rules of before a restart, by which it was due earlier than it may be by these.

        Until the watermark is past that, the last commit, with the rules of then, is the one that tells that it is
        settled. So none is made whose `decided_to` is lower.
        """
        due = chain.presentations[-1].presented_at + self._rules.late_after
        self._least_decided_to = max(self._least_decided_to, due)

    def lower_metadata_limit(self) -> int:
        """Plan with half of the room from now on, since the broker takes no more. Returns the new limit, characters."""
        self._limit = max(LEAST_METADATA, self._limit // 2)
        return self._limit

    def prepare(
        self,
        whole: OfferCheckpoint,
        lowest_open: int,
        pending: PendingChains,
        refused: RefusedOffers,
        doubted: Collection[Listed],
    ) -> tuple[int, OfferCheckpoint] | None:
        """The offset to commit and its checkpoint; None where nothing better than the last commit can be said.

        Args:
            whole: complete but for the list of the unsettled, and for what was late in `dead`; its `decided_to` is the
                highest that may be said.
            lowest_open: the lowest offset that is not settled.
            pending: the decided and unsettled chains.
            refused: of these, what may be in records whose dead letters are not acknowledged is always listed.
            doubted: what is open, and may be due sooner for whoever reads all again.
        """
        fitted = self.fit_metadata(whole, max(lowest_open, self.committed), pending, refused, doubted)
        if fitted is None or fitted[1].decided_to < self._least_decided_to:
            return None
        # Whether the broker takes it or not, and whether or not its answer arrives: commits never go back.
        self._planned = fitted[0]
        # Not only once it is taken: while the broker takes none, all chains of that time would be kept.
        self._straddling.limit(fitted[1].decided_to)
        self._forget_splits(fitted[0] * whole.unit, fitted[1].decided_to)
        self._keep_above_cuts(self._planned)
        return fitted

    def acknowledged(self, plan: CommitPlan) -> None:
        """The broker acknowledged the plan, for both partitions."""
        self.committed = plan.offers.offset
        self._straddling.forget(self.committed, plan.decided_to)
        self._keep_above_cuts(self.committed)

    def retain_from(self, decided_to: int, earliest_from_committed: int | None) -> int:
        """The time (ms) from which on checkouts must be read again after a restart.

        That suffices for the decisions, and for the purchases that make no decision but keep a call from leaving:

        - One from after the decision is always read again. A chain whose call waits is unsettled, so all of it stands
          at or after the committed offset, and what is completed from lookback before it on is retained. Example:
          shown at 10:00, decided at 10:30, bought at 15:00 while the API is down: 15:00 is far above 8:00.
        - One from longer than lookback before the chain is known while it is in memory, or where it is read again by
          chance. No decision counts it, so a restart may make the call.
        - One that was read after the last commit stands in the log when the restart begins: a task makes no call before
          it has read its checkouts to where they ended as it began.

        Args:
            decided_to: up to when the task has decided (ms); MIN_TIME before its first decision.
            earliest_from_committed: the earliest presentation at or after the committed offset (ms), None if none is.
        """
        if decided_to == MIN_TIME:
            return MIN_TIME
        retain = decided_to - self._rules.late_after
        if earliest_from_committed is not None:
            retain = min(retain, earliest_from_committed)
        return retain - self._rules.lookback

    def fit_metadata(
        self,
        whole: OfferCheckpoint,
        lowest: int,
        pending: PendingChains,
        refused: RefusedOffers,
        doubted: Collection[Listed] = (),
    ) -> tuple[int, OfferCheckpoint] | None:
        """The offset to commit and its checkpoint, with `decided_to` as high as the room for the list allows.

        What was dead-lettered as late never lowers `decided_to`: of that as much is listed as the rest leaves room for.

        Returns:
            None if the metadata does not fit however low `decided_to` is.
        """
        fitted = self._fit_without_late(whole, lowest, pending, refused.unacknowledged(), doubted)
        return None if fitted is None else (fitted[0], self._add_late(*fitted, refused))

    def _fit_without_late(
        self,
        whole: OfferCheckpoint,
        lowest: int,
        pending: PendingChains,
        unacknowledged: Collection[int],
        doubted: Collection[Listed],
    ) -> tuple[int, OfferCheckpoint] | None:
        """As `fit_metadata`, with nothing said of what was late."""
        # More chains than characters can only be listed where they stand in long runs: twice as many is generous.
        most = 2 * self._limit
        newest = list(islice(pending.by_start.values(), most + 1))
        complete = len(newest) <= most
        open_ones = (one for one in doubted if one.least_due <= whole.decided_to)
        found: list[Chain | Listed] = [*newest, *pending.late_decided.values(), *open_ones]
        chains = sorted({id(one): one for one in found}.values(), key=lambda one: one.least_due)

        everything = self._listing(whole, lowest, chains, len(chains), unacknowledged) if complete else None
        if everything is not None:
            return everything
        low, high, best = 0, len(chains), self._listing(whole, lowest, chains, 0, unacknowledged)
        while best is not None and high - low > 1:
            middle = (low + high) // 2
            fitting = self._listing(whole, lowest, chains, middle, unacknowledged)
            if fitting is None:
                high = middle
            else:
                low, best = middle, fitting
        if best is None and self._settled_splits:
            # Then a chain may be told once more as another one: never lose, rather repeat.
            self._settled_splits.clear()
            return self._fit_without_late(whole, lowest, pending, unacknowledged, doubted)
        if best is None and whole.dead > whole.unreadable:
            # Then some dead letters are written once more after a restart: never lose, rather repeat.
            fewer = replace(whole, dead=whole.unreadable)
            return self._fit_without_late(fewer, lowest, pending, unacknowledged, doubted)
        return best

    def _listing(
        self,
        whole: OfferCheckpoint,
        lowest: int,
        chains: list[Chain | Listed],
        count: int,
        unacknowledged: Collection[int],
    ) -> tuple[int, OfferCheckpoint] | None:
        """The checkpoint that lists the first `count` of these chains, due below the next; None if it is too long."""
        decided_to = whole.decided_to
        if count < len(chains):
            decided_to = min(decided_to, chains[count].least_due - 1)
        listed = {p.offset for chain in chains[:count] for p in chain.presentations}
        offset = max(self._planned, self._straddling.start(lowest, decided_to))
        first = offset * whole.unit
        tried = replace(
            whole,
            decided_to=decided_to,
            # Below the offset nothing is read again.
            splits=frozenset(o for o in whole.splits.union(self._again_above(decided_to)) if o >= first),
            dead=frozenset(o for o in whole.dead if o >= first),
            unsettled=frozenset(listed.union(unacknowledged)),
        )
        return (offset, tried) if self._has_room(offset, tried) else None

    def _add_late(self, offset: int, fitted: OfferCheckpoint, refused: RefusedOffers) -> OfferCheckpoint:
        """The same, with what was late in `dead`, as far as there is room.

        That is all of it, since what `decided_to` tells as well might join what came in time. Else it is what
        `decided_to` does not tell, and else the part of that which it comes to last. A restart decides the others as if
        they had been on time.
        """
        first = offset * fitted.unit
        for told_by in (MIN_TIME, fitted.decided_to):
            late = [one for one in refused.late(told_by) if one >= first]
            with_all = _with_dead(fitted, late)
            if not late or self._has_room(offset, with_all):
                return with_all
        counts = range(1, min(len(late), 2 * self._limit))  # twice the characters, as for the chains
        count = bisect_left(counts, True, key=lambda n: not self._has_room(offset, _with_dead(fitted, late[:n])))
        return _with_dead(fitted, late[:count])

    def _has_room(self, offset: int, checkpoint: OfferCheckpoint) -> bool:
        return len(checkpoint.encode(offset)) <= self._limit

    def _again_above(self, decided_to: int) -> Iterator[int]:
        """The splits of settled chains that a restart from a commit with this `decided_to` would decide anew."""
        return (start for start, due in self._settled_splits.items() if due > decided_to)

    def _forget_splits(self, below: int, decided_to: int) -> None:
        """Drop those that are never read again, and where there are too many, those that are told to be settled."""
        kept = {start: due for start, due in self._settled_splits.items() if start >= below}
        if len(kept) > StraddlingChains.MOST:
            dropped = max((due for due in kept.values() if due <= decided_to), default=MIN_TIME)
            self._least_decided_to = max(self._least_decided_to, dropped)
            kept = {start: due for start, due in kept.items() if due > decided_to}
        self._settled_splits = kept

    def _keep_above_cuts(self, offset: int) -> None:
        self._least_decided_to = max(self._least_decided_to, self._straddling.least_decided_to(offset))
