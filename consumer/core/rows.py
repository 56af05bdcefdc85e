"""What is wrong with the checkouts, in a row: so many suspend decisions, until something that is right is newer.

Two guards go by such rows, that of purchased ids that match nothing and that of misdated checkouts. A row is a matter
of the times in the log, whatever was read first. For example, with a limit of 3: ids of 12:00, 12:10 and 12:20 match
nothing in one partition, and one of 12:30 matches in another. Whoever reads that one first never has three in a row;
whoever reads it last has, and lets go then. So the newest that is right is remembered, and what is older never counts.
"""

from __future__ import annotations

from collections.abc import Collection
from heapq import heapify, heappop, heappush

from .rules import MAX_TIME, MIN_TIME


class TaskRow:
    """What is wrong of one task's checkouts, in a row.

    Args:
        times: of those from before a restart (ms).

    Attributes:
        times: of each (ms), as a heap: the first is the oldest.
        right_before: what is older (ms) than that is disproved by something of this task that is right. MIN_TIME:
            nothing was.
    """

    def __init__(self, times: Collection[int] = ()) -> None:
        self.times = list(times)
        heapify(self.times)
        self.right_before = MIN_TIME

    def add(self, at: int) -> None:
        """One more is wrong, of that time (ms)."""
        heappush(self.times, at)

    def right(self, before: int) -> None:
        """Something of this task is right that disproves what is older (ms)."""
        self.right_before = max(self.right_before, before)
        self.keep(before)

    def all_right(self, before: int) -> None:
        """Something of this task is right, behind all that was read of it: nothing is left in a row."""
        self.times.clear()
        self.right_before = max(self.right_before, before)

    def keep(self, since: int, most: int = MAX_TIME) -> None:
        """Drop what is older (ms) than that, and the oldest where there are more than `most`."""
        times = self.times
        while times and (times[0] < since or len(times) > most):
            heappop(times)


class InstanceRow:
    """The rows of all tasks of an instance as one.

    A task may leave with a part of the row while that suspends decisions. Its part counts on until it is disproved. If
    the task comes back, that part may count twice: so decisions may be held for longer, and are never let go too soon.

    Args:
        limit: so many suspend decisions; 0 = they never do.
        most: so many are remembered of each task, the newest.

    Attributes:
        count: of all tasks that were looked at last.
        suspends: whether decisions are suspended by it.
    """

    def __init__(self, limit: int, most: int) -> None:
        self.count, self.suspends = 0, False
        self._limit = limit
        self._most = most
        self._rows = frozenset[TaskRow]()
        self._left = TaskRow()
        self._right_before = MIN_TIME

    def judge(self, rows: Collection[TaskRow], others: Collection[TaskRow] = ()) -> None:
        """Look at the rows of the tasks. Of the `others` only that counts which is right: they are read again, and what
        they have is a part of what they had.
        """
        if not rows and not others:
            # What others read from now on may disprove what this instance knew, and it would not be told.
            self._left, self._right_before, self.suspends = TaskRow(), MIN_TIME, False
        self._right_before = max([self._right_before, *(row.right_before for row in (*rows, *others))])
        before, self._rows = self._rows, frozenset(rows)
        if self.suspends:
            for at in (at for gone in before - self._rows for at in gone.times):
                self._left.add(at)
        for row in self._rows:
            row.keep(self._right_before, self._most)
        self._left.keep(self._right_before, self._limit)
        self.count = sum(len(row.times) for row in self._rows)
        self.suspends = 0 < self._limit <= self.count + len(self._left.times)
        if not self.suspends:
            self._left.times.clear()
