"""The purchased ids of one task that name no offer, in a row: what the guard against unmatched ids goes by."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

from .rows import TaskRow
from .rules import MIN_TIME


class PurchasedIds:
    """Counts the purchased ids of one task that name no offer, in a row.

    Args:
        knows: tells whether an offer was presented in a session, by session_id and offer_id.
        unmatched, judged_to: as below, from before a restart.
        counted_to: the checkouts of those were of this time (ms) at the latest.

    Attributes:
        row: those in a row, by the times of their checkouts. An id that matches disproves those of checkouts that are
            not newer.
        since: those of checkouts before this time (ms) are not counted, since their offers may not have been read.
        judged_to: up to this time (ms) ids were judged; those of later checkouts are to be told again after a restart.
        last: session_id and id of the one that was counted last.
    """

    def __init__(
        self,
        knows: Callable[[str, str], bool],
        unmatched: int = 0,
        judged_to: int = MIN_TIME,
        counted_to: int = MIN_TIME,
    ) -> None:
        self.row = TaskRow([counted_to] * unmatched)
        self.since = MIN_TIME
        self.judged_to = judged_to
        self.last: tuple[str, str] | None = None
        self._knows = knows
        self._waiting: list[tuple[int, str, str]] = []

    def purchased(self, session_id: str, offer_id: str, completed_at: int) -> None:
        """A checkout (time in ms) names the id."""
        heappush(self._waiting, (completed_at, session_id, offer_id))

    def judge(self, watermark: int) -> None:
        """Judge the ids of checkouts up to the watermark (ms).

        To be called before decisions are made: they make offers unknown.
        """
        waiting = self._waiting
        while waiting and waiting[0][0] <= watermark:
            completed_at, session_id, offer_id = heappop(waiting)
            if self._knows(session_id, offer_id):
                self.row.right(completed_at + 1)
            elif completed_at >= self.since:
                self.row.add(completed_at)
                self.last = session_id, offer_id
        self.judged_to = max(self.judged_to, watermark)

    @property
    def unmatched(self) -> int:
        """Ids in a row without a match."""
        return len(self.row.times)

    @property
    def waiting(self) -> int:
        """How many ids are not judged yet."""
        return len(self._waiting)
