"""What a group has committed for a partition, as an audit needs it: what must have been settled by then.

Outcomes are flushed before the commit that relies on them. So whatever a commit calls settled has its outcome in the
topic by then, and whoever reads the commit first and the outcomes after it finds it there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .decision import Completed, Fate, Presented, Spans, fates


class Committed(NamedTuple):
    """One partition.

    Attributes:
        offset: every presentation below it is settled.
        next_offset, next_checkout: the records of the two inputs below these had been read.
        decided_to: what was due by this time (ms) is settled, unless listed; None: not known, or by other rules.
        unsettled: `offset` of the presentations that are listed.
        unit: by how much the offsets of presentations of two neighbouring records differ.
    """

    offset: int
    next_offset: int = 0
    next_checkout: int = 0
    decided_to: int | None = None
    unsettled: frozenset[int] = frozenset()
    unit: int = 1

    def settles(self, chain: Fate, shown: Sequence[Presented], checkouts: Sequence[Completed], rules: Spans) -> bool:
        """Whether the chain was settled by then. `shown` and `checkouts` are those of its offer and session.

        Only what had been read by then counts: a checkout that came after the commit may make a chain due sooner.
        """
        if all(offset < self.offset * self.unit for offset in chain.offsets):
            return True
        if self.decided_to is None or chain.offsets & self.unsettled:
            return False
        known = [event for event in shown if event.offset < self.next_offset * self.unit]
        read = [event for event in checkouts if event.offset < self.next_checkout]
        return any(
            fate.offsets == chain.offsets and fate.decide_at <= self.decided_to for fate in fates(known, read, rules)
        )

    def lists(self, chain: Fate) -> bool:
        """Whether the chain is decided and waits for its call."""
        return bool(chain.offsets & self.unsettled)
