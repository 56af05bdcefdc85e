"""Takes what is due out of the join in portions, so that what was decided is called while the rest is decided.

After a restart, or where decisions were suspended, a million chains may be due at once. Decided in one go, the first of
them would not be called before the last one is decided.
"""

from __future__ import annotations

from itertools import islice

from .chain import Chain
from .join import Join
from .rules import MIN_TIME


class DueChains:
    """What is due in one task.

    Args:
        join: what it is taken out of.

    Attributes:
        has_more: whether the last call left something that was due, or may have.
        taken_to: all that was due up to then (ms) was taken out by it.
    """

    def __init__(self, join: Join) -> None:
        self.has_more = False
        self.taken_to = MIN_TIME
        self._join = join
        self._undecided = 0

    def skip(self) -> None:
        """Nothing is to be taken now."""
        self.has_more = False
        self._undecided = self._join.presentations

    def take(self, until: int, most: int) -> list[Chain]:
        """What is due by `until` (ms), in order of decide_at.

        Of more than `most` it is the first: so many, and as many as were read since the last call, or reading might
        outrun deciding for ever. What is due in the same millisecond is taken whole, so that `taken_to` is as true as
        `until` is where everything is taken.
        """
        most += max(0, self._join.presentations - self._undecided)
        chains = list(islice(self._join.decide(until), most))
        self.has_more = len(chains) >= most
        if self.has_more:
            until = max(chain.decide_at for chain in chains)
            chains += self._join.decide(until)
        self.taken_to = until
        self._undecided = self._join.presentations
        return chains
