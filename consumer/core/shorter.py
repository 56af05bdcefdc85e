"""Makes what is committed shorter where it has no room, so that a restart repeats something and loses nothing.

`commits` does that with all chains in hand: it lowers D, since it knows when each was due. Where only the text is left,
D stays: a lower one would leave it open which of the listed offsets are due by then, and chains that the commit cuts
would be decided anew by their rest alone. So the list tells of more than is not settled. Neighbouring runs of it become
one, and what stands between them, which is settled, is called again. What is listed never leaves the list.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate, pairwise

from .checkpoint import OfferCheckpoint
from .offset_list import MOST_LISTED

Fits = Callable[[OfferCheckpoint], bool]
"""Whether there is room for this."""


def with_less_dead(whole: OfferCheckpoint, fits: Fits) -> OfferCheckpoint | None:
    """The same without the first in `dead`, as few of them as makes it fit; None if it does not without any.

    Those are dead-lettered once more after a restart, or decided as if they had been on time. The planner gives them no
    room at the list's cost either, and drops first what D comes to first. What could not be read, and is not settled,
    stays: without it a chain that was cut would be decided by its rest.
    """
    unreadable = whole.unreadable
    dead = sorted(whole.dead - unreadable)

    def without(count: int) -> OfferCheckpoint:
        return replace(whole, dead=unreadable.union(dead[count:]))

    count = bisect_left(range(len(dead)), True, key=lambda n: fits(without(n)))
    fitting = without(count)
    return fitting if fits(fitting) else None


def with_more_listed(whole: OfferCheckpoint, fits: Fits, first: int = 0) -> OfferCheckpoint | None:
    """The same with a list that is shorter as text, since it lists what stands between its neighbours too.

    Args:
        first: the lowest offset of a presentation that may be listed more.

    Returns:
        None if it does not fit all the same, or would list more than may be read.
    """
    listed = sorted(whole.unsettled)
    gaps = [range(low + 1, high) for low, high in pairwise(listed) if low + 1 < high and low + 1 >= first]
    gaps.sort(key=lambda gap: (len(gap), -gap.start))  # of two that cost as much, the later one is the younger
    added = [0, *accumulate(map(len, gaps))]
    most = bisect_left(added, True, key=lambda sum_: len(listed) + sum_ > MOST_LISTED)

    def without_gaps(count: int) -> OfferCheckpoint:
        return replace(whole, unsettled=whole.unsettled.union(*gaps[:count]))

    # Each gap that is closed makes the text shorter: two numbers go, and one grows by less than they took.
    count = bisect_left(range(most), True, key=lambda n: fits(without_gaps(n)))
    return without_gaps(count) if count < most else None
