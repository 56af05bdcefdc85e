"""Stops the service when so much of an input is unreadable that the input, not a record, must be wrong.

What is dead-lettered is settled only once as many records are read behind it as tell whether it was one of too many, or
none is bad for a while. So when the service stops, what it stops for is not committed, and whoever starts again finds
it whole, and stops. Otherwise a supervisor that starts it again and again would drain the topic, a hundred records each
time. Nor does a hand-over settle it: each stop of one instance is a hand-over of the others.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from ..errors import TooManyDeadLettersError

_SPAN = 1_000

MOST_WAITING = 100
"""Bad records that are not settled, where `max_run` and `max_ratio` bear more: a commit has to name each of them."""

QUIET = 2.0
"""Seconds without a bad record after which all are settled: a producer that is wrong and writes more slowly than that
drains a hundred records in minutes, and each stop is told."""


class BadRecordLimit:
    """Counts the records of one topic, over all tasks, and the bad ones.

    Bad is what cannot be decoded or has a foreign key. What is late or dated ahead has a guard of its own: `LateRun`.

    Args:
        topic: for the message.
        max_run: how many in a row are one too many, less one.
        max_ratio: the same as a part of the last 1,000.
        monotonic: a clock in seconds.
        by_row: what is bad is settled once its row has ended, and not only 1,000 records later. For the checkouts:
            while one of them is not settled nothing can be committed, and a few of a hundred may be bad for ever.

    Attributes:
        read: how many were read that are not passed over.
    """

    def __init__(
        self,
        topic: str,
        max_run: int,
        max_ratio: float,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        by_row: bool = False,
    ) -> None:
        self.read = 0
        self._topic = topic
        self._max_run = max_run
        self._most = int(max_ratio * _SPAN)
        self._run = 0
        self._bad: deque[tuple[int, int]] = deque()
        """By the number of the record, as below, and its partition."""
        self._monotonic = monotonic
        self._bad_at = float("-inf")
        self._by_row = by_row
        self._acknowledged: list[tuple[int, int, Callable[[], None]]] = []
        """By the number of the record, how many had been read with it, and by its partition."""

    def bad(self, error: str, partition: int) -> None:
        """The record counted last is bad; it is of this partition.

        Raises:
            TooManyDeadLettersError: too many are.
        """
        self._run = self._run + 1 if self._bad and self._bad[-1][0] == self.read - 1 else 1
        self._bad.append((self.read, partition))
        self._bad_at = self._monotonic()
        while self._bad[0][0] <= self.read - _SPAN:
            self._bad.popleft()
        if self._run > self._max_run or len(self._bad) > self._most:
            found = f"{self._run} in a row" if self._run > self._max_run else f"{len(self._bad)} of the last {_SPAN}"
            raise TooManyDeadLettersError(
                f"{found} records of {self._topic} cannot be used, the last because: {error}. A wrong schema or a "
                "foreign producer must not drain the topic: mend the producer, or, if these records are to be "
                "dead-lettered, raise dead_letter.max_run and dead_letter.max_ratio, and start again."
            )

    def task_gone(self, partition: int) -> None:
        """A task has gone to another instance, or comes again: what was bad of it is read, and counted, anew."""
        self._run = 0
        self._bad = deque(one for one in self._bad if one[1] != partition)
        self._acknowledged = [one for one in self._acknowledged if one[1] != partition]

    def acknowledged(self, number: int, partition: int, settle: Callable[[], None]) -> None:
        """The dead letter of a bad record of this partition is acknowledged; `settle` is called when it may be settled.
        `number`: what `read` was when that record was."""
        self._acknowledged.append((number, partition, settle))

    def settle(self, *, at_once: bool = False) -> None:
        """Settle what is acknowledged and has waited for long enough. To be called once a turn, when no record is in
        hand.

        `at_once`: all of it, since the service was asked to stop.
        """
        if not self._acknowledged:
            return
        settled_to = self.read - _SPAN
        # A longer row is one that `max_run` allows.
        goes_on = self._bad and self._bad[-1][0] == self.read
        row_has_ended = self._by_row and (not goes_on or len(self._acknowledged) >= _SPAN)
        if at_once or row_has_ended or self._monotonic() >= self._bad_at + QUIET:
            settled_to = self.read
        elif len(self._acknowledged) > MOST_WAITING:
            settled_to = max(settled_to, self._acknowledged[-MOST_WAITING - 1][0])
        due = [settle for number, _, settle in self._acknowledged if number <= settled_to]
        self._acknowledged = [one for one in self._acknowledged if one[0] > settled_to]
        for settle in due:
            settle()
