"""The purchased ids of one task that name no offer, in a row: what the guard against unmatched ids goes by."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

from .rules import MAX_TIME, MIN_TIME


class PurchasedIds:
    """Counts the purchased ids of one task that name no offer, in a row.

    Args:
        knows: tells whether an offer was presented in a session, by session_id and offer_id.
        unmatched, judged_to: as below, from before a restart.
        counted_to: the checkouts of those were of this time (ms) at the latest.

    Attributes:
        since: those of checkouts before this time (ms) are not counted, since their offers may not have been read.
        judged_to: up to this time (ms) ids were judged; those of later checkouts are to be told again after a restart.
        last: session_id and id of the one that was counted last.
        last_at: of the checkouts that were counted the newest (ms).
    """

    def __init__(
        self,
        knows: Callable[[str, str], bool],
        unmatched: int = 0,
        judged_to: int = MIN_TIME,
        counted_to: int = MIN_TIME,
    ) -> None:
        self.since = MIN_TIME
        self.judged_to = judged_to
        self.last: tuple[str, str] | None = None
        self.last_at = counted_to
        self._row = [counted_to] * unmatched
        """A heap of the times (ms) of the checkouts that were counted."""
        self._knows = knows
        self._waiting: list[tuple[int, str, str]] = []
        self._matched_at = MIN_TIME

    def purchased(self, session_id: str, offer_id: str, completed_at: int) -> None:
        """A checkout (time in ms) names the id."""
        heappush(self._waiting, (completed_at, session_id, offer_id))

    def judge(self, watermark: int, most: int = MAX_TIME) -> None:
        """Judge the ids of checkouts up to the watermark (ms); no more than the `most` newest are counted.

        To be called before decisions are made: they make offers unknown.
        """
        waiting = self._waiting
        while waiting and waiting[0][0] <= watermark:
            completed_at, session_id, offer_id = heappop(waiting)
            if self._knows(session_id, offer_id):
                self.matched(completed_at)
                self._matched_at = max(self._matched_at, completed_at)
            elif completed_at >= self.since:
                heappush(self._row, completed_at)
                if len(self._row) > most:
                    heappop(self._row)
                self.last, self.last_at = (session_id, offer_id), max(self.last_at, completed_at)
        self.judged_to = max(self.judged_to, watermark)

    @property
    def unmatched(self) -> int:
        """Ids in a row without a match."""
        return len(self._row)

    @property
    def waiting(self) -> int:
        """How many ids are not judged yet."""
        return len(self._waiting)

    def take_match(self) -> int:
        """The time (ms) of the newest checkout of which an id has matched since this was asked last, while the task was
        restoring included; MIN_TIME: none has."""
        matched_at, self._matched_at = self._matched_at, MIN_TIME
        return matched_at

    def matched(self, matched_at: int) -> None:
        """An id of a checkout of that time (ms) has matched, in whichever task. What is newer goes on to count."""
        while self._row and self._row[0] <= matched_at:
            heappop(self._row)
