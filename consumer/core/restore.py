"""What a restart finds: the two checkpoints, and what they tell of the records that are read again.

A task that starts reads again what had been read, and decides nothing meanwhile. It reads the offers up to
`next_offset` of their checkpoint, and the checkouts up to the `next_checkout` that stands beside it. Then it decides
once, up to that checkpoint's `decided_to`: what is due and not listed was settled before, and what is listed waits.

The list was made with these checkouts, and is read with these alone. A late checkout behind them may make an offer due
that was not due when the list was made: it is neither listed nor settled. The checkout partition's own `next_offset`
may be higher, since a broker may take a commit for that partition only. Then the checkouts up to it are read next, and
only then is anything called: the purchase of a listed offer may be among them.

So a task has two phases, with one transition between them:

    created ──> restoring ──> running ──> dropped
                    └────────────────────────^

    restoring  `Task.restore_until` says how far each input may be applied. Nothing is decided: `decide` is empty.
               Nothing is committed: `prepare_commit` is None.
    running    from the record or partition end by which both inputs have reached `restore_until`. It never goes back.

A task without a commit behind it has nothing to restore and is running when it is created. Whoever owns it drops it in
either phase, when its partitions are revoked or lost.
"""

from __future__ import annotations

from ..events import OfferPresented
from .admission import Admission
from .chain import Chain
from .checkpoint import (
    CheckoutCheckpoint,
    OfferCheckpoint,
    Position,
    UnreadableMetadata,
    are_new_checkouts,
    rules_key,
    unit_of,
)
from .join import Join
from .refused import RefusedOffers
from .rules import MIN_TIME, DecisionRules
from .watermark import InputWatermark


class PartitionsMoved(ValueError):  # noqa: N818 - the edge turns it into an error of its own
    """What was committed belongs to another number of partitions: keys have moved between tasks."""


class Restore:
    """The checkpoints that one task starts from.

    Args:
        rules: as set now.
        partitions: how many partitions each of the two topics has.
        offers, checkouts: what was committed.
        horizon, each: as `Task` takes them.

    Raises:
        PartitionsMoved: the committed metadata belongs to another number of partitions.

    Attributes:
        offers, checkouts: what was found; where the metadata cannot be read, what may be said without it.
        until: the first offset of each input that had not been read before, by what is committed with either.
        refused: what is known of records that were given up.
        warnings: what was odd about what was committed, in words, for the log.
        rules_changed: the rules of now are others.
        spans_changed: window, checkout_grace or lookback are: a chain may be due later by them.
    """

    def __init__(
        self,
        rules: DecisionRules,
        partitions: int,
        offers: Position,
        checkouts: Position,
        horizon: int | None,
        each: str = "",
    ) -> None:
        self._rules = rules
        self._each = each
        self._partitions = partitions
        warnings: list[str] = []
        self.offers = self._read_offers(offers, warnings)
        self.checkouts = self._read_checkouts(checkouts, horizon, warnings)
        self.warnings = tuple(warnings)
        now = rules_key(rules)
        self.rules_changed, self.spans_changed = self.offers.rules != now, self.offers.rules[:3] != now[:3]
        self.until = self.offers.next_offset, max(self.offers.next_checkout, self.checkouts.next_offset)
        self._believed = InputWatermark(self.rules_then)
        self.refused = RefusedOffers(self.offers.dead, unit_of(each))

    @property
    def rules_then(self) -> DecisionRules:
        """The rules by which was decided what the list tells of."""
        window, grace, lookback, call_abandoned = self.offers.rules
        return DecisionRules(window, grace, lookback, self._rules.lateness, self._rules.max_skew, call_abandoned)

    def was_dead_lettered(self, offset: int) -> bool:
        """Whether an offer's record at this offset that cannot be read was settled: only what was known as dead was.

        What could be read before and cannot be now was not.
        """
        first = offset * self.offers.unit
        return first in self.offers.dead and not self._lists_of_record(first)

    def believes(self, event: OfferPresented, timestamp: int, now: int) -> bool:
        """Whether the date of a presentation from below `until` was believed, as far as settings decide that."""
        return self._believed.observe(event.presented_at, timestamp, now)

    def admission(self, event: OfferPresented, horizon: int, *, plausible: bool) -> Admission:
        """A record from below `until`: what was found about it before is found again.

        Args:
            event: its first presentation.
            horizon: H (ms): checkouts from before it may be gone.
            plausible: whether its date is believed.
        """
        found, offset = self.offers, event.offset
        if offset in found.dead:
            if self._lists_of_record(offset):
                # It was misdated, or could not be read. Of that an offer from before D may have gone on a chain which
                # is settled, and cut: what is left would be judged without the purchase before it.
                if not plausible or offset not in found.unreadable:
                    return Admission.IMPLAUSIBLE
                if event.presented_at <= found.decided_to:
                    return Admission.LATE
                self.refused.found_readable(offset)
                return self._by_time(event, offset, horizon)
            if plausible:
                self.refused.found_again(offset, event.presented_at + self._rules.late_after)
            return Admission.SETTLED
        if not plausible:
            return Admission.IMPLAUSIBLE  # and the list had no room to say that it was dead-lettered before
        return self._by_time(event, offset, horizon)

    def _by_time(self, event: OfferPresented, offset: int, horizon: int) -> Admission:
        """Of one whose date is believed."""
        found = self.offers
        if event.presented_at < found.late_below:
            return Admission.LATE if self._lists_of_record(offset) else Admission.SETTLED
        if event.presented_at - self._rules.lookback < horizon:
            return Admission.CUT_OFF  # checkouts are gone that were there when it was read before
        return Admission.ACCEPTED

    def _lists_of_record(self, first: int) -> bool:
        """Whether a presentation of the record whose first one is this stands in the list of the unsettled."""
        return not self.offers.unsettled.isdisjoint(range(first, first + self.offers.unit))

    def tell_settled(self, join: Join) -> list[Chain]:
        """With the checkouts that the list was made with: take out what was settled, and put back what waits."""
        settled, waiting = self._tell_apart(join)
        if self.rules_changed:
            join.change_rules(self._rules, settled)
        for chain in waiting:
            join.reopen(chain)
        return settled

    def tell_listed(self, join: Join) -> list[Chain]:
        """With all checkouts that had been read: take out what is listed, which goes on.

        What became due only by them is decided anew. So is all that waits, by the rules of now, if these are others.
        """
        if self.rules_changed:
            return []
        due_by_late_checkouts, listed = self._tell_apart(join)
        for chain in due_by_late_checkouts:
            join.reopen(chain)
        return listed

    def _tell_apart(self, join: Join) -> tuple[list[Chain], list[Chain]]:
        """Of the chains due by `decided_to`: those that are not listed as unsettled, and those that are."""
        others: list[Chain] = []
        listed: list[Chain] = []
        for chain in join.decide(self.offers.decided_to):
            is_listed = not self.offers.unsettled.isdisjoint(p.offset for p in chain.presentations)
            (listed if is_listed else others).append(chain)
        return others, listed

    def _read_offers(self, offers: Position, warnings: list[str]) -> OfferCheckpoint:
        found = None
        if offers.metadata:
            try:
                found = OfferCheckpoint.decode(offers.metadata, offers.offset)
            except UnreadableMetadata as error:
                warnings.append(f"{error}; calls since offset {offers.offset} are repeated")
        if found is not None and found.each != self._each:
            # No start comes here, since it is refused. By another setting, D and the lists say nothing of these offers.
            found = None
            warnings.append(f"input.offers.each was another; calls since offset {offers.offset} are repeated")
        now = rules_key(self._rules)
        if found is None:
            return OfferCheckpoint(now, self._partitions, MIN_TIME, offers.offset, 0)
        self._check_partitions(found.partitions)
        if found.rules != now:
            warnings.append(
                "window, checkout_grace, lookback or abandoned differ from those of the last run: what was settled "
                f"by then stays settled by {found.rules}, the rest is decided by {now}"
            )
        return found

    def _read_checkouts(self, checkouts: Position, horizon: int | None, warnings: list[str]) -> CheckoutCheckpoint:
        if checkouts.metadata and not are_new_checkouts(checkouts.metadata, checkouts.offset):
            try:
                found = CheckoutCheckpoint.decode(checkouts.metadata, checkouts.offset)
            except UnreadableMetadata as error:
                warnings.append(str(error))
            else:
                self._check_partitions(found.partitions)
                return found
        return CheckoutCheckpoint(self._partitions, checkouts.offset, MIN_TIME if horizon is None else horizon)

    def _check_partitions(self, found: int) -> None:
        if found != self._partitions:
            raise PartitionsMoved(f"committed with {found} partitions, the topics now have {self._partitions}")
