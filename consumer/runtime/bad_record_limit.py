"""Stops the service when so much of an input is unreadable that the input, not a record, must be wrong."""

from __future__ import annotations

from collections import deque

from ..errors import TooManyDeadLettersError

_SPAN = 1_000


class BadRecordLimit:
    """Counts the records of one topic, over all tasks, and the bad ones.

    Bad is what cannot be decoded or has a foreign key. What is late or dated ahead has a guard of its own: `LateRun`.

    Args:
        topic: for the message.
        max_run: how many in a row are one too many, less one.
        max_ratio: the same as a part of the last 1,000.
    """

    def __init__(self, topic: str, max_run: int, max_ratio: float) -> None:
        self.read = 0
        self._topic = topic
        self._max_run = max_run
        self._most = int(max_ratio * _SPAN)
        self._run = 0
        self._bad: deque[int] = deque()

    def bad(self, error: str) -> None:
        """The record counted last is bad.

        Raises:
            TooManyDeadLettersError: too many are.
        """
        self._run = self._run + 1 if self._bad and self._bad[-1] == self.read - 1 else 1
        self._bad.append(self.read)
        while self._bad[0] <= self.read - _SPAN:
            self._bad.popleft()
        if self._run > self._max_run or len(self._bad) > self._most:
            found = f"{self._run} in a row" if self._run > self._max_run else f"{len(self._bad)} of the last {_SPAN}"
            raise TooManyDeadLettersError(
                f"{found} records of {self._topic} cannot be used, the last because: {error}. A wrong schema or a "
                "foreign producer must not drain the topic: mend the producer, or, if these records are to be "
                "dead-lettered, raise dead_letter.max_run and dead_letter.max_ratio, and start again."
            )
