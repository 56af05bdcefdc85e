"""When a refused request is given back to be dead-lettered."""

from __future__ import annotations


class RejectionGuard:
    """Tells a bad request from a wrong path or body, for one partner.

    A wrong path is refused for every offer, and must not drain the topic. So at most `limit` requests in a row are
    dead-lettered, with no 204 and no believed 404 between. `limit` None: none is, and none is counted.
    """

    __slots__ = ("_limit", "in_a_row")

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self.in_a_row = 0

    @property
    def may_dead_letter(self) -> bool:
        """Whether the request that was refused last may be dead-lettered."""
        return self._limit is not None and self.in_a_row <= self._limit

    def refused(self) -> bool:
        """Count a request that might be dead-lettered; True if by this one the run passed the limit."""
        if self._limit is None:
            return False
        self.in_a_row += 1
        return self.in_a_row == self._limit + 1

    def use_up(self) -> None:
        """As many may have come in a row as may be dead-lettered: the next one is not."""
        self.in_a_row = self._limit or 0

    def accepted(self) -> bool:
        """A request was taken for what it is, so path and body are right; True if that ends a run past the limit."""
        was_past = self._limit is not None and self.in_a_row > self._limit
        self.in_a_row = 0
        return was_past
