"""Counts purchased ids in a row that name no offer: a checkout producer that sends other ids buys nothing, for ever.

In the order of event time: an id is judged once the watermark has passed its checkout, since the offer may be read
after it. Known is an offer that is undecided in the session, or was called not longer than lookback ago.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

from .rules import MIN_TIME


class Matching:
    """The purchased ids of one task.

    Args:
        knows: tells whether an offer was presented in a session, by session_id and offer_id.
        run, judged_to: as below, from before a restart.

    Attributes:
        run: ids in a row without a match.
        judged_to: up to this time (ms) ids were judged; those of later checkouts are to be told again after a restart.
        last: session_id and id of the one that was counted last.
    """

    def __init__(self, knows: Callable[[str, str], bool], run: int = 0, judged_to: int = MIN_TIME) -> None:
        self.run = run
        self.judged_to = judged_to
        self.last: tuple[str, str] | None = None
        self._knows = knows
        self._waiting: list[tuple[int, str, str]] = []

    def purchased(self, session_id: str, offer_id: str, completed_at: int) -> None:
        """A checkout (time in ms) names the id."""
        heappush(self._waiting, (completed_at, session_id, offer_id))

    def judge(self, watermark: int) -> bool:
        """Judge the ids of checkouts up to the watermark (ms). True if one has matched.

        To be called before decisions are made: they make offers unknown.
        """
        waiting, matched = self._waiting, False
        while waiting and waiting[0][0] <= watermark:
            _, session_id, offer_id = heappop(waiting)
            if self._knows(session_id, offer_id):
                self.run, matched = 0, True
            else:
                self.run += 1
                self.last = session_id, offer_id
        self.judged_to = max(self.judged_to, watermark)
        return matched
