"""What a backfill settles of what its loop reads, and when it is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ..core.chain import Chain
from ..core.rules import MIN_TIME
from ..core.task import Task
from ..core.watermark import Side
from ..events import Mode, OfferPresented, Outcome, RecordIdentity, RecordRef
from ..runtime.mode import RunMode
from .scope import BackfillScope
from .told import KnownFate, Told


class BackfillMode(RunMode):
    """The chains of a range, but for those that have an outcome.

    Args:
        topics: of the offers and of the checkouts.
        scope: the range.
        told: what has an outcome or a dead letter already; None: all is settled, told or not, as a rehearsal does.
        lost: by partition the time (ms) below which checkouts are gone for good; see `deployment.lost_checkouts`.

    Attributes:
        skipped: chains that were decided, and had an outcome already.
    """

    mode = Mode.BACKFILL
    is_bounded = True

    def __init__(
        self,
        topics: tuple[str, str],
        scope: BackfillScope,
        told: Told | None,
        lost: Mapping[int, int] = MappingProxyType({}),
    ) -> None:
        self.scope = scope
        self.skipped = 0
        self._topics = topics
        self._told = told
        self._lost = lost

    def lost_below(self, partition: int) -> int:
        """See `RunMode.lost_below`."""
        return self._lost.get(partition, MIN_TIME)

    def begin(self, task: Task) -> None:
        """See `RunMode.begin`. What is bought was presented up to window + checkout_grace before: ids of checkouts from
        before that are of offers that are not read, and would look like ids of no offer."""
        rules = self.scope.rules
        task.guard.ids.since = self.scope.begin + rules.window + rules.checkout_grace

    def settles(self, partition: int, chain: Chain) -> bool:
        """See `RunMode.settles`."""
        if not self.scope.range.contains(partition, chain.last):
            return False
        return self._told is None or self._is_anew(self._told.of_chain(chain.presentations), chain.presentations)

    def gives_up(self, partition: int, shown: OfferPresented, *, may_join: bool = True) -> bool:
        """See `RunMode.gives_up`."""
        if not self.scope.range.contains(partition, shown):
            return False
        return self._told is None or self._is_anew(self._told.of(shown, may_join=may_join), [shown])

    def _is_anew(self, fate: KnownFate | None, presentations: Sequence[OfferPresented]) -> bool:
        """Whether what has this fate is settled once more. By force too, what was told to be bought is never called."""
        if fate is not None and not (self.scope.force and fate.outcome is not Outcome.PURCHASED):
            self.skipped += 1
            return False
        if self._told is not None:
            self._told.is_anew(presentations)
        return True

    def dead_letters(self, side: Side, partition: int, offset: int, timestamp: int) -> bool:
        """See `RunMode.dead_letters`. Offsets of a range are the offers' own: its checkouts go by their stamps."""
        record = RecordIdentity(RecordRef(self._topics[side], partition, offset), timestamp)
        if self._told is not None and record in self._told.dead:
            return False
        if side is Side.OFFERS:
            return self.scope.range.is_of(partition, offset, timestamp)
        begin, end = self.scope.range.shown_between()
        return begin <= timestamp < end

    def is_done(self, partition: int, task: Task) -> bool:
        """See `RunMode.is_done`."""
        if task.restoring or task.unsettled or task.decided_to < self.scope.done_at(partition):
            return False
        return self.scope.range.is_read(partition, task.next_offset(Side.OFFERS))


class RehearsalMode(BackfillMode):
    """The same, where nothing is called: the end of a log is believed at once, since nothing rests on it."""

    trusts_idleness_at_once = True
