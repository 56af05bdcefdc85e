"""A credential of which a new one may come while calls are made: the old one is good until the new one is accepted."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

import structlog

from ..calls import Answer, AnswerKind

log = structlog.get_logger(__name__)

RETRY_S = 25.0
"""Seconds until a new one that was refused is tried again, since a wrong key tried often may be locked out. Less than
between two probes of a partner whose calls stop, so that each of them tries it."""

ACCEPTING = frozenset({AnswerKind.RECORDED, AnswerKind.NOT_FOUND, AnswerKind.REFUSED})
"""What the API says to those it knows. Any other answer may be of a proxy or a gateway, which checks no signature."""


class Signing(Protocol):
    """What signs a call."""

    def secrets(self) -> tuple[str, str]:
        """The key and the secret."""


AnySigner = TypeVar("AnySigner", bound=Signing)


class RotatingCredential(Generic[AnySigner]):
    """The signer in force, and the new one if there is one. To be used on one event loop.

    Whoever makes a call asks `choose` what signs it, and tells `answered` what came of it, which gives what signs the
    same call at once again. A new signer signs one call; if that is refused (401, 403), the call is made again with the
    one in force, and the new one waits for RETRY_S. If the one in force is refused, the new one is tried for that call.
    From its first accepted call on, the new one is in force, and the other one is used no more. An answer that may be
    of a proxy or a gateway accepts nothing: both are kept.

    Attributes:
        counts_by: what the insurer's rate limit counts by. It stays, so that partners that share a credential share
            their limit before and after a change.
    """

    def __init__(
        self, partner_code: str | None, in_force: AnySigner | None, counts_by: Hashable, clock: Callable[[], float]
    ) -> None:
        """`partner_code`: whose it is, None for all without one; `clock`: monotonic, in seconds."""
        self.counts_by = counts_by
        self._partner_code = partner_code
        self._in_force = in_force
        self._clock = clock
        self._new: AnySigner | None = None
        self._next_try = -math.inf
        self._refused_until = -math.inf
        self._told = False

    @property
    def in_force(self) -> AnySigner | None:
        """What was accepted last, or was given at the start."""
        return self._in_force

    def uses(self, key: str) -> bool:
        """Whether it signs with this key, or is about to."""
        return any(signer is not None and signer.secrets()[0] == key for signer in (self._in_force, self._new))

    def offer(self, new: AnySigner) -> None:
        """Its file has this one now, which may be the one in force."""
        if self._new is not None and self._new.secrets() == new.secrets():
            return
        is_old = self._in_force is not None and self._in_force.secrets() == new.secrets()
        if is_old and self._new is None:
            return
        self._new = None if is_old else new
        self._next_try = self._refused_until = -math.inf
        self._told = False
        if is_old:
            log.info("new credentials withdrawn: their file has those in force again", partner_code=self._partner_code)
        else:
            log.info("new credentials read: they are tried with the next call", partner_code=self._partner_code)

    def choose(self) -> AnySigner | None:
        """What signs the next call; None if there is nothing."""
        now = self._clock()
        if self._new is not None and now >= self._next_try:
            self._next_try = now + RETRY_S
            return self._new
        return self._in_force or self._new

    def answered(self, signer: AnySigner, answer: Answer) -> AnySigner | None:
        """What signs the same call again after this answer to it; None: the answer stands."""
        if signer is self._new:
            return self._new_answered(answer)
        if answer.kind is not AnswerKind.CREDENTIALS:
            return None
        if signer is not self._in_force:  # another one was accepted meanwhile
            return self._in_force
        now = self._clock()
        if self._new is None or now < self._refused_until:
            return None
        self._next_try = now + RETRY_S
        return self._new

    def _new_answered(self, answer: Answer) -> AnySigner | None:
        if answer.kind in ACCEPTING and answer.status_code is not None and not answer.maybe_of_gateway:
            self._in_force, self._new = self._new, None
            log.info("new credentials accepted: the old ones are used no more", partner_code=self._partner_code)
            return None
        if answer.kind is not AnswerKind.CREDENTIALS:
            self._next_try = -math.inf  # it tells nothing: the next call may tell more
            return None
        self._next_try = self._refused_until = self._clock() + RETRY_S
        if not self._told:
            self._told = True
            log.warning(
                "new credentials refused: calls go on with the old ones, and the new ones are tried again after 25 s",
                partner_code=self._partner_code,
            )
        return self._in_force
