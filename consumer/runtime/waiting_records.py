"""Keeps the records of one task that may not be applied yet, in the order of the log."""

from __future__ import annotations

from collections.abc import Iterator

from confluent_kafka import Message

from ..core.watermark import Side
from .clock_check import ClockCheck


class WaitingRecords:
    """Records that wait: for the task to be restored, for our clock to tell whether they are ahead of it, or for the
    schema that they were written with. What follows one of them in its input waits behind it.

    Owned by the poll thread, but for `withhold_calls`.

    Args:
        clock_check: is told while checkouts wait for our clock, since no call of any task leaves then.

    Attributes:
        records: those of each input. While one waits the next of its input has to.
        schemas: which inputs wait for a schema, and why that is not known.
        withhold_calls: checkouts wait for a schema. Each of them, and each behind it, may be the purchase of an offer
            that is about to be called, so no call of this task leaves meanwhile. Read on any thread: it stays until
            what had waited is applied.
    """

    def __init__(self, clock_check: ClockCheck) -> None:
        self.records: tuple[list[Message], list[Message]] = ([], [])
        self.schemas: dict[Side, str] = {}
        self.withhold_calls = False
        self._clock_check = clock_check
        self._checkouts_wait_for_clock = False

    def __bool__(self) -> bool:
        """Whether any waits."""
        return any(self.records)

    @property
    def sides(self) -> set[Side]:
        """The inputs of which records wait."""
        return {side for side in Side if self.records[side]}

    def add(self, side: Side, message: Message) -> None:
        """It waits behind those of its input, or for the task to be restored."""
        self.records[side].append(message)

    def add_for_clock(self, side: Side, message: Message) -> None:
        """It is dated ahead of our clock, which nobody confirms: it may be the clock that is behind."""
        self._clock_check.waits(message)
        if side is Side.CHECKOUTS:
            self._checkouts_wait_for_clock = True
            self._clock_check.checkouts_wait(self, True)
        self.add(side, message)

    def add_for_schema(self, side: Side, message: Message, why: str) -> None:
        """The registry has not told its schema, for this reason."""
        self.schemas[side] = why
        self.withhold_calls = self.withhold_calls or side is Side.CHECKOUTS
        self.add(side, message)

    def drain(self) -> Iterator[tuple[Side, Message]]:
        """Those that waited, to be applied or added anew, in their order. It is to be iterated to its end."""
        self._checkouts_wait_for_clock = False
        self.schemas.clear()
        for side in Side:
            records = self.records[side].copy()
            self.records[side].clear()
            for message in records:
                yield side, message
        # Only now, since a call could leave between a record's being taken and its being applied.
        self.withhold_calls = Side.CHECKOUTS in self.schemas
        if not self._checkouts_wait_for_clock:
            self._clock_check.checkouts_wait(self, False)

    def close(self) -> None:
        """The task is gone: nothing waits for it any more."""
        self._clock_check.checkouts_wait(self, False)
