"""The purchased ids of one task that name no offer, in a row: what the guard against unmatched ids goes by."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

from .rules import MIN_TIME


class PurchasedIds:
    """Counts the purchased ids of one task that name no offer, in a row.

    Args:
        knows: tells whether an offer was presented in a session, by session_id and offer_id.
        unmatched, judged_to: as below, from before a restart.

    Attributes:
        unmatched: ids in a row without a match. The guards set it to 0.
        since: those of checkouts before this time (ms) are not counted, since their offers may not have been read.
        judged_to: up to this time (ms) ids were judged; those of later checkouts are to be told again after a restart.
        last_at: of the checkouts that were counted the newest (ms); after a restart it is no older than that.
        remembered: what a restart counts from at least. The guards set it.
        last: session_id and id of the one that was counted last.
    """

    def __init__(self, knows: Callable[[str, str], bool], unmatched: int = 0, judged_to: int = MIN_TIME) -> None:
        self.unmatched = unmatched
        self.since = MIN_TIME
        self.judged_to = judged_to
        self.last_at = judged_to
        self.remembered = 0
        self.last: tuple[str, str] | None = None
        self._knows = knows
        self._waiting: list[tuple[int, str, str]] = []
        self._matched_at = MIN_TIME

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
                self.unmatched, self._matched_at = 0, completed_at
            elif completed_at >= self.since:
                self.unmatched, self.last_at = self.unmatched + 1, max(self.last_at, completed_at)
                self.last = session_id, offer_id
        self.judged_to = max(self.judged_to, watermark)

    @property
    def waiting(self) -> int:
        """How many ids are not judged yet."""
        return len(self._waiting)

    def take_match(self) -> int:
        """The time (ms) of the last checkout of which an id has matched since this was asked last, while the task was
        restoring included; MIN_TIME: none has."""
        matched_at, self._matched_at = self._matched_at, MIN_TIME
        return matched_at

    def matched_elsewhere(self, matched_at: int) -> None:
        """An id of a checkout of that time (ms) has matched, in another task. What is newer goes on to count."""
        if self.last_at <= matched_at:
            self.unmatched = 0
