"""Who waits, and who may be called next: the calls of one partner, and of one credential."""

from __future__ import annotations

import math
from asyncio import TimerHandle
from collections import deque
from random import Random

from ..calls import OptOutCall
from .breaker import Breaker
from .limit import Pacer
from .not_found import NotFoundGuard

CREDENTIALS_PROBE_S = 30.0
"""Seconds between probes of a partner whose credentials are refused: a wrong key tried often may be locked out."""


class PendingCall:
    """A call that is not settled yet, and how it has gone so far. A million of these may wait."""

    __slots__ = (
        "attempts",
        "call",
        "cancelled",
        "denied_at",
        "failures",
        "note",
        "partner",
        "refused",
        "released",
        "retry_refused",
        "status",
    )

    def __init__(self, call: OptOutCall, partner: Partner, *, retry_refused: bool = False) -> None:
        self.call = call
        self.partner = partner
        self.attempts = 0
        self.failures = 0
        self.refused = False
        self.cancelled = False
        self.released: str | None = None
        """Who let the offer go while its call was in flight, and why."""
        self.retry_refused = retry_refused
        """Refused, it is tried again all the same: it cannot be dead-lettered."""
        self.denied_at: int | None = None
        """How many 204s of the partner had come when it was first answered 401 or 403."""
        self.status: int | None = None
        self.note: str | None = None


class CredentialLimiter:
    """One credential: the rate limit and the Retry-After gate that its partners share, and whose turn it is."""

    def __init__(self, rate: float) -> None:
        self.pacer = Pacer(rate)
        self.gated_until = -math.inf
        self.turn: deque[Partner] = deque()
        """Partners that may have something to call, in the order they are served."""
        self.listed = False
        self.timer: TimerHandle | None = None

    def open_at(self) -> float:
        """The earliest time, on the loop's clock, at which the credential may be used."""
        return max(self.gated_until, self.pacer.next_at())

    def gate(self, now: float, seconds: float) -> bool:
        """No call for so long; True if the gate was open before."""
        was_open = self.gated_until <= now
        self.gated_until = max(self.gated_until, now + seconds)
        return was_open


class Partner:
    """One partner's queue, and what keeps it from being called."""

    def __init__(self, code: str, limiter: CredentialLimiter, not_found_limit: int, random: Random) -> None:
        self.code = code
        self.limiter = limiter
        self.fresh: deque[PendingCall] = deque()
        self.again: deque[PendingCall] = deque()
        """Called before, and due again. Apart from the fresh ones, so that neither can starve the other."""
        self.held: list[PendingCall] = []
        """Answered 404, not believed yet."""
        self.unsettled = 0
        self.in_flight = 0
        self.refused = 0
        """How many wait whose request was refused."""
        self.refused_run = 0
        """How many requests in a row were refused, with no 204 and no believed 404 between."""
        self.unexpected = False
        """An answer outside the contract was reported, and no 204 has come since."""
        self.recorded = 0
        """How many 204s have come."""
        self.fault = False
        """The credentials are refused: one probe at a time."""
        self.probe: PendingCall | None = None
        self.breaker = Breaker(random)
        self.guard = NotFoundGuard(not_found_limit)
        self.listed = False
        self.timer: TimerHandle | None = None
        self._fault_probe_at = -math.inf
        self._fresh_next = True

    def ready(self) -> int:
        """How many could be called now, were the partner free to be called."""
        return len(self.fresh) + len(self.again)

    def probe_at(self) -> float:
        """The earliest time of the next probe; past while the partner needs none."""
        return max(self._fault_probe_at, self.breaker.probe_at)

    def take(self, now: float) -> PendingCall | None:
        """The next call to make, if one may be made now."""
        if self.fault or self.breaker.is_open:
            if self.probe is not None or now < self.probe_at() or not self.ready():
                return None
            # In turn: those never tried, then the longest waiting, so that one bad offer can't speak for all.
            self.probe = (self.fresh or self.again).popleft()
            if self.fault:
                self._fault_probe_at = now + CREDENTIALS_PROBE_S
            return self.probe
        if not self.again:
            return self.fresh.popleft() if self.fresh else None
        self._fresh_next = not self._fresh_next
        return self.fresh.popleft() if self.fresh and not self._fresh_next else self.again.popleft()

    def denies_alone(self, entry: PendingCall) -> bool:
        """A call was answered 401 or 403. True if it was before, and 204s have come since: it is not the credentials.

        Else one such offer would stop the partner's calls each time that it is tried.
        """
        if entry.denied_at is None:
            entry.denied_at = self.recorded
        return entry.denied_at < self.recorded

    def refuse_credentials(self, now: float) -> bool:
        """A call was answered 401 or 403; True if the calls were not stopped before."""
        if self.fault:
            return False
        self.fault = True
        self._fault_probe_at = now + CREDENTIALS_PROBE_S
        return True

    def accept_credentials(self) -> None:
        """The probe was answered by anything but 401 and 403."""
        self.fault = False
        self._fault_probe_at = -math.inf

    def state(self, now: float) -> str:
        """In words, why the partner's calls are not made, or `calling`; `now` on the loop's clock."""
        parts = []
        if self.fault:
            parts.append(f"credentials refused, next probe in {max(0.0, self._fault_probe_at - now):.0f} s")
        if self.breaker.is_open:
            parts.append(f"failing, next probe in {max(0.0, self.breaker.probe_at - now):.0f} s")
        if self.limiter.gated_until > now:
            parts.append(f"told to wait by Retry-After for {self.limiter.gated_until - now:.0f} s")
        if self.guard.tripped:
            parts.append("nothing but 404s: wrong base URL or partner code?")
        elif self.held:
            parts.append(f"{len(self.held)} answered 404, held until a 204 or {self.guard.hold_until - now:.0f} s pass")
        if self.refused:
            parts.append(f"{self.refused} refused by the API")
        return "; ".join(parts) or "calling"
