"""Keeps the first calls of a task until the checkouts are read that were there when it began.

Whoever had the task before may have read the purchase of what is to be called now. For example: a call waited in an
outage, its purchase was read, and the process died before it committed that. What the log held when the task began is
read within moments. Only then is it certain that nothing that was known is called.
"""

from __future__ import annotations

from ..calls import CallOwner, CallResult, CallTrace, OptOutCall
from ..core.chain import Chain
from ..core.task import Task
from ..core.watermark import Side
from ..events import RecordRef


class FirstCalls:
    """The chains of one task that are decided to be called, and whose calls may not be handed over yet.

    Args:
        task: whose chains they are.
        checkouts_end: where the log of its checkouts ended as it began, as an offset.

    Attributes:
        checkouts_end: the same.
    """

    def __init__(self, task: Task, checkouts_end: int) -> None:
        self._task = task
        self.checkouts_end = checkouts_end
        self._kept: list[Chain] = []
        self._fresh: list[Chain] = []
        """Those that were kept since they were taken last."""
        self._former_tries: dict[int, CallResult] = {}

    def keep(self, chain: Chain) -> None:
        """It is decided to be called, or its call was given back."""
        self._fresh.append(chain)

    def keep_on(self, chains: list[Chain]) -> None:
        """Of those that were taken these may not be called yet."""
        self._kept += chains

    @property
    def fresh(self) -> bool:
        """Whether one was kept since they were taken last."""
        return bool(self._fresh)

    @property
    def waiting(self) -> int:
        """How many there are."""
        return len(self._kept) + len(self._fresh)

    @property
    def may_leave(self) -> bool:
        """Whether the checkouts are read that were there when the task began."""
        return self._task.next_offset(Side.CHECKOUTS) >= self.checkouts_end

    def take(self, *, only_fresh: bool) -> list[Chain]:
        """All of them, or the fresh ones: a hundred thousand may wait, and are not looked through each turn. Those that
        may not be called yet are to be kept on (`keep_on`)."""
        fresh, self._fresh = self._fresh, []
        if only_fresh:
            return fresh
        kept, self._kept = self._kept, []
        return kept + fresh

    def note_tries(self, chain: Chain, result: CallResult) -> None:
        """What came of its call, which is to be made anew as another one."""
        self._former_tries[chain.start] = result

    def with_former_tries(self, chain: Chain, result: CallResult | None = None) -> CallResult | None:
        """The result, if any, with what came of the calls before it that were made for this chain."""
        former = self._former_tries.pop(chain.start, None)
        if former is None or result is None:
            return result or former
        maybe_recorded = former.maybe_recorded or result.maybe_recorded
        return result._replace(attempts=former.attempts + result.attempts, maybe_recorded=maybe_recorded)


def call_of(chain: Chain, owner: CallOwner, topic: str, partition: int) -> OptOutCall:
    """The call of a chain, whose presentations stand in this partition of the topic."""
    last = chain.last
    return OptOutCall(
        partner_code=last.partner_code,
        offer_id=last.offer_id,
        session_id=last.session_id,
        reason=chain.reason,
        metadata=last.metadata,
        source=RecordRef(topic, partition, last.record_offset),
        owner=owner,
        chain_start=chain.start,
        trace=None if last.trace is None else CallTrace(last.trace),
    )
