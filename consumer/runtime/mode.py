"""What a run is about: all chains, for as long as it runs, or those of a range.

The deployment's is `RunMode` itself. A backfill's says more: see `consumer.backfill.mode`. The loop is the same.
"""

from __future__ import annotations

from ..core.chain import Chain
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

    def settles(self, partition: int, chain: Chain) -> bool:
        """Whether a chain is this run's to settle. What is not is let go without a call or an outcome: it is another
        run's."""
        return True

    def gives_up(self, partition: int, shown: OfferPresented, *, may_join: bool = True) -> bool:
        """Whether a presentation that joins no chain is this run's to give up, as above: else it has no dead letter.

        `may_join`: false of one whose date is not believed. It joins in no run, so that no chain's outcome is its own.
        """
        return True

    def dead_letters(self, side: Side, partition: int, offset: int, timestamp: int) -> bool:
        """Whether a record that cannot be read, stamped `timestamp` (ms), is this run's to dead-letter."""
        return True

    def is_done(self, partition: int, task: Task) -> bool:
        """Whether all of the run is settled in this task: it is read no further."""
        return False


LIVE = RunMode()
