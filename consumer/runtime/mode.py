"""What a run is about: all chains, for as long as it runs, or those of a range.

The deployment's is `RunMode` itself. A backfill's says more: see `consumer.backfill.mode`. The loop is the same.
"""

from __future__ import annotations

from ..core.rules import MIN_TIME
from ..core.task import Task
from ..core.watermark import Side
from ..events import Mode, OfferPresented


class RunMode:
    """The deployment: it settles all that it reads, and never comes to an end."""

    mode = Mode.LIVE
    """As outcomes say it."""

    trusts_idleness_at_once = False
    """Whether an input that is read to its end is believed to be idle without having been watched for lateness."""

    is_bounded = False
    """Whether it reads a range, and not all there is. Its first calls then wait until the checkouts are read as far
    ahead as whoever had the task before may have read them, and not to the end of the log."""

    def lost_below(self, partition: int) -> int:
        """The time (ms) below which checkouts may be gone for good, beside what is committed."""
        return MIN_TIME

    def begin(self, task: Task) -> None:
        """A task begins: tell it what is known of the run."""

    def settles(self, partition: int, shown: OfferPresented, *, may_join: bool = True) -> bool:
        """Whether a chain is this run's to settle, whose last presentation this is; or one that does not join.

        What is not is let go without a call, an outcome or a dead letter, since it is another run's. `may_join`: false
        of one whose date is not believed. It joins in no run, so that no chain's outcome is its own.
        """
        return True

    def dead_letters(self, side: Side, partition: int, offset: int, timestamp: int) -> bool:
        """Whether a record that cannot be read, stamped `timestamp` (ms), is this run's to dead-letter."""
        return True

    def is_done(self, partition: int, task: Task) -> bool:
        """Whether all of the run is settled in this task: it is read no further."""
        return False


LIVE = RunMode()
