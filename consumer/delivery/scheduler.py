"""Whose turn it is: one credential after the other, and within it one partner after the other."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from functools import partial

from ..settings import DeliverySettings
from .limiter import CredentialLimiter
from .partner import Partner, PendingCall

MOST_IDLE = 1_000
"""How many partners without a call are known, with all that their answers have told. Of others only their runs are
kept. A producer may write any number of partner codes; an insurer has some hundreds."""


class Scheduler:
    """Gives out calls fairly, as far as rate limits, gates and breakers let it, and wakes up when they let go."""

    def __init__(
        self,
        settings: DeliverySettings,
        credential_of: Callable[[str], Hashable],
        new_partner: Callable[[str, CredentialLimiter[Partner]], Partner],
        on_forget: Callable[[Partner], None],
        on_wake: Callable[[], None],
    ) -> None:
        """`new_partner` makes one, by its code, and `on_forget` takes it back.

        `on_wake` is called on the loop when `next` may have a call again.
        """
        self._settings = settings
        self._credential_of = credential_of
        self._new_partner = new_partner
        self._on_forget = on_forget
        self._on_wake = on_wake
        self._loop = asyncio.get_running_loop()
        self._share = 1.0
        self._partners: dict[str, Partner] = {}
        self._limiters: dict[Hashable, CredentialLimiter[Partner]] = {}
        self._idle: OrderedDict[str, Partner] = OrderedDict()
        """Partners without a call, by code, the one that had none for the longest time first."""
        self._turn: deque[CredentialLimiter[Partner]] = deque()
        """Credentials with a partner in turn, in the order they are served."""
        self._waiting: set[Partner] = set()
        """Partners that may have something to call; one whose calls are stopped waits for no slot."""
        self._parked: set[Partner] = set()
        """Those of them that have half of the slots and more to call, while others wait."""

    def partner(self, code: str) -> Partner:
        """The partner of this code, which is about to have a call; made when it is not known, or not any more."""
        partner = self._partners.get(code)
        self._idle.pop(code, None)
        if partner is None:
            credential = self._credential_of(code)
            limiter = self._limiters.get(credential)
            if limiter is None:
                limiter = self._limiters[credential] = CredentialLimiter(credential, self._rate())
            limiter.members += 1
            partner = self._partners[code] = self._new_partner(code, limiter)
        return partner

    def idle(self, partner: Partner) -> None:
        """None of the partner's calls is unsettled any more. Beyond `MOST_IDLE`, those idle for longest are forgotten.

        But not the last one of a credential that is used up or told to wait: that counts for whoever uses it next.
        """
        self._idle[partner.code] = partner
        now = self._loop.time()
        # Two looks for each that is added: so the number falls again after some could not be forgotten.
        for _ in range(min(2, len(self._idle) - MOST_IDLE)):
            code, longest = next(iter(self._idle.items()))
            if longest.listed or (longest.limiter.members == 1 and longest.limiter.open_at() > now):
                self._idle.move_to_end(code)
            else:
                del self._idle[code]
                self._forget(longest)

    def partners(self) -> list[Partner]:
        """All partners that are known."""
        return list(self._partners.values())

    def set_share(self, fraction: float) -> None:
        """The part of the deployment's rate that is ours."""
        if not 0.0 <= fraction <= 1.0:
            raise ValueError(f"a share of the rate limit is between 0 and 1, not {fraction}")
        self._share = fraction
        for limiter in self._limiters.values():
            limiter.pacer.rate = self._rate()
            self._enqueue_limiter(limiter)

    def enqueue(self, partner: Partner) -> None:
        """The partner may have become callable: something was queued, a call ended, or a pause is over."""
        if not partner.listed and (partner.fresh or partner.again):
            partner.listed = True
            partner.limiter.turn.append(partner)
            self._waiting.add(partner)
            self._parked.discard(partner)
            self._enqueue_limiter(partner.limiter)

    def next(self) -> PendingCall | None:
        """The next call to make, counted as in flight from now; None if nothing may be called now."""
        pending = self._next()
        if pending is None and self._parked:
            for partner in [partner for partner in self._parked if not self._others_wait(partner)]:
                self.enqueue(partner)
            pending = self._next()
        return pending

    def close(self) -> None:
        """Wake up no more."""
        sleepers: list[Partner | CredentialLimiter[Partner]] = [*self._partners.values(), *self._limiters.values()]
        for sleeper in sleepers:
            if sleeper.timer is not None:
                sleeper.timer.cancel()

    def _next(self) -> PendingCall | None:
        if not self._turn:
            return None
        now = self._loop.time()
        while self._turn:
            limiter = self._turn[0]
            open_at = limiter.open_at()
            pending = self._next_of(limiter, now) if open_at <= now else None
            if pending is not None:
                limiter.pacer.take(now)
                self._turn.rotate(-1)
                pending.partner.in_flight += 1
                return pending
            self._turn.popleft()
            limiter.listed = False
            if limiter.turn:
                self._wake_at(limiter, open_at, partial(self._enqueue_limiter, limiter))
        return None

    def _forget(self, partner: Partner) -> None:
        del self._partners[partner.code]
        self._on_forget(partner)
        self._waiting.discard(partner)
        self._parked.discard(partner)
        timers = [partner.timer, partner.belief_timer]
        limiter = partner.limiter
        limiter.members -= 1
        if not limiter.members:
            del self._limiters[limiter.credential]
            timers.append(limiter.timer)
        for timer in timers:
            if timer is not None:
                timer.cancel()

    def _rate(self) -> float:
        return self._settings.rate_limit * self._share if self._settings.rate_limit else math.inf

    def _enqueue_limiter(self, limiter: CredentialLimiter[Partner]) -> None:
        if not limiter.listed and limiter.turn:
            limiter.listed = True
            self._turn.append(limiter)

    def _next_of(self, limiter: CredentialLimiter[Partner], now: float) -> PendingCall | None:
        # A partner that hangs must leave slots for others; while none waits, it may have them all.
        half = max(1, self._settings.concurrency // 2)
        while limiter.turn:
            partner = limiter.turn.popleft()
            partner.listed = False
            if partner.in_flight >= half and self._others_wait(partner):
                self._parked.add(partner)
                continue
            pending = partner.take(now)
            self._waiting.discard(partner)
            if pending is not None:
                self.enqueue(partner)
                return pending
            if partner.ready() and partner.probe is None:
                self._wake_at(partner, partner.probe_at(), partial(self.enqueue, partner))
        return None

    def _others_wait(self, partner: Partner) -> bool:
        return any(other is not partner and other.ready() for other in self._waiting)

    def _wake_at(self, sleeper: Partner | CredentialLimiter[Partner], when: float, enqueue: Callable[[], None]) -> None:
        timer = sleeper.timer
        if when == math.inf or (timer is not None and timer.when() <= when):
            return
        if timer is not None:
            timer.cancel()
        sleeper.timer = self._loop.call_at(when, self._wake, sleeper, enqueue)

    def _wake(self, sleeper: Partner | CredentialLimiter[Partner], enqueue: Callable[[], None]) -> None:
        sleeper.timer = None
        enqueue()
        self._on_wake()
