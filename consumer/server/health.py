"""The health endpoints, GET /livez and /readyz, for whoever restarts instances and whoever waits for them.

**Live** is a service whose loop turns, which takes milliseconds, but for as long as calls in flight are waited for.
An API or a broker that is down leaves it live: a restart cures neither, and costs repeated calls. The API's answers
are waited for by another thread; a wait for the brokers, which has no end until they answer, is told to `Health`.

**Ready** is a member of the group that runs what it was given: it has been assigned, and no task is restoring from
the log. What it was given may be nothing: where there are more members than partitions, one is spare, and a rollout
that waits for that one must not wait for ever.

The poll thread swaps in one immutable `Heartbeat` at each turn, and the server's thread reads whichever is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ..settings import Settings

ANSWER = 60.0
"""Seconds for all that a turn does beside waiting for calls.

Twice `kafka.start_offsets.TIMEOUT`, its longest other wait."""


STALL = 5.0
"""Seconds without a turn after which nobody reads what was bought, or hears that the tasks are another's. The longest
turns that have a reason, a full batch and a commit, take half of that."""

IN_HAND = 1.0
"""Seconds for which calls may leave while records that were read are applied. A full batch takes less, unless it waits,
as for room in the producer's queue."""

CALM = 2.0
"""Seconds of turns after a stall until the loop knows again what is so: the group's answer to a member that was stopped
comes within a heartbeat's way to the broker and back."""

MOST_STANDING = 3
"""Watermarks of which it is told one by one that they stand still: often all do for one reason."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What the poll thread says of its last turn.

    Attributes:
        ended: by the monotonic clock, in seconds.
        assigned: the group has said which tasks are this member's, be it none.
        tasks: their partitions.
        restoring: those of them that read again what had been read before.
        stopping: it was asked to stop.
        waits_for: what it waits for that only a broker can end.
        standing: which watermarks stand still, and why, in words.
        halves: partitions that wait for their pair: see `kafka.assignment`.
    """

    ended: float
    assigned: bool = False
    tasks: tuple[int, ...] = ()
    restoring: tuple[int, ...] = ()
    stopping: bool = False
    waits_for: str | None = None
    standing: tuple[str, ...] = ()
    halves: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class HealthStatus:
    """Whether it is so, and why or why not."""

    ok: bool
    reason: str


def since_boot() -> float:
    """Seconds that also pass while the machine is suspended, when the monotonic clock of Linux stands still."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Health:
    """What the endpoints say. The poll thread calls `turned` and `waiting`; any thread the others.

    Args:
        bound: seconds after which a loop that has not turned is stuck; see `bound_of`.
        monotonic: a clock, in seconds. By it a loop is stuck: one that was suspended with its machine is not.
        boottime: as `since_boot`; None: as `monotonic`. By it nobody has read for so long what was bought, or heard
            whose the tasks are.

    Attributes:
        bound: the same.
    """

    def __init__(
        self,
        bound: float,
        monotonic: Callable[[], float] = time.monotonic,
        boottime: Callable[[], float] | None = None,
    ) -> None:
        self.bound = bound
        self._monotonic = monotonic
        self._boottime = boottime or monotonic
        self._turned_at = self._boottime()
        self._last = Heartbeat(monotonic())
        self._calm_from = monotonic()
        self._unread = ""
        self._in_hand_since = float("inf")

    def turned(
        self,
        *,
        assigned: bool,
        tasks: tuple[int, ...],
        restoring: tuple[int, ...],
        stopping: bool,
        standing: tuple[str, ...] = (),
        halves: tuple[int, ...] = (),
    ) -> None:
        """A turn has ended; see `Heartbeat`."""
        now = self._note_stall()
        self._last = Heartbeat(now, assigned, tasks, restoring, stopping, standing=standing, halves=halves)

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """For the length of a call that has no time-out of its own and ends when a broker answers."""
        self._last = replace(self._last, waits_for=what)
        try:
            yield
        finally:
            # In one step: what comes after the wait has its whole time.
            self._last = replace(self._last, ended=self._note_stall(), waits_for=None)

    def records_wait(self, why: str) -> None:
        """Why records that were read, or may have been, are not applied for now; empty: none wait."""
        self._unread = why

    @contextmanager
    def applying(self) -> Iterator[None]:
        """While what was read is applied, and calls are taken back for it."""
        self._in_hand_since = self._monotonic()
        try:
            yield
        finally:
            self._in_hand_since = float("inf")

    def waiting_for(self) -> tuple[str, float] | None:
        """What the loop waits for that only a broker can end, and since how many seconds it has not turned."""
        last = self._last
        return None if last.waits_for is None else (last.waits_for, self._monotonic() - last.ended)

    def turned_ago(self) -> float:
        """Seconds since the loop has turned."""
        return max(0.0, self._monotonic() - self._last.ended)

    def unattended(self) -> str:
        """Why it cannot be known now whether a call may still leave, in words; empty: the loop turns.

        What was read and is not applied may have bought any offer.
        """
        if why := self._unread:
            return why
        now = self._monotonic()
        if (waits := now - self._in_hand_since) > IN_HAND:
            return (
                f"records that were read, purchases perhaps, are not applied for {waits:.0f} s: see what they wait for"
            )
        age = self._age(now)
        if age > STALL:
            return f"the loop that reads what was bought has not turned for {age:.0f} s: see what it waits for"
        if now < self._calm_from:
            return "the loop that reads what was bought has only just gone on"
        return ""

    def _note_stall(self) -> float:
        """The time; and the loop is calm a while after that, if it had stalled."""
        now = self._monotonic()
        if self._age(now) > STALL:
            self._calm_from = now + CALM
        self._turned_at = self._boottime()
        return now

    def _age(self, now: float) -> float:
        """Seconds since the loop has turned, those included for which the machine was suspended."""
        return max(now - self._last.ended, self._boottime() - self._turned_at)

    def live(self) -> HealthStatus:
        """Whether the loop turns."""
        last = self._last
        age = self.turned_ago()
        if last.waits_for is not None:
            return HealthStatus(True, f"waiting for the brokers: {last.waits_for}; the loop turned {age:.1f} s ago")
        if age > self.bound:
            return HealthStatus(
                False, f"the loop has not turned for {age:.0f} s, and is stuck beyond {self.bound:.0f} s"
            )
        return HealthStatus(True, f"the loop turned {age:.1f} s ago")

    def ready(self) -> HealthStatus:
        """Whether it runs what the group gave it."""
        live, last = self.live(), self._last
        if not live.ok:
            return live
        if last.stopping:
            return HealthStatus(False, "stopping")
        if not last.assigned:
            return HealthStatus(False, "the group has not said yet which partitions are this member's")
        if last.restoring:
            return HealthStatus(False, f"reading again what was read before the start: {_listed(last.restoring)}")
        if not last.tasks:
            half = f"nothing runs: the pair of {_listed(last.halves)} is not here" if last.halves else ""
            return HealthStatus(True, half or "spare: the group has more members than partitions")
        return HealthStatus(True, "; ".join([f"running {_listed(last.tasks)}", *_waits(last)]))


def bound_of(settings: Settings) -> float:
    """Seconds after which a loop that has not turned is stuck: by default 95.

    Longer than any turn that has a reason, which is one in which partitions are taken away or the service stops; and
    by default well below the five minutes (max.poll.interval.ms) after which the group gives up a member that does
    not poll, so that a restart comes before the tasks go to others who would have to restore them.
    """
    waits = settings.kafka.revoke_timeout + settings.delivery.shutdown_timeout
    return ANSWER + waits.total_seconds()


def _waits(last: Heartbeat) -> Iterator[str]:
    """What an instance that is ready waits for: a restart would not end it."""
    if last.waits_for is not None:
        yield f"waiting for the brokers: {last.waits_for}"
    yield from last.standing[:MOST_STANDING]
    if len(last.standing) > MOST_STANDING:
        yield f"and {len(last.standing) - MOST_STANDING} more"


def _listed(partitions: tuple[int, ...]) -> str:
    return f"partitions {', '.join(map(str, sorted(partitions)))}"
