"""The calls of one partner that wait, which may be called next, and what the answers say of the partner."""

from __future__ import annotations

import math
from asyncio import TimerHandle
from collections import deque
from collections.abc import Mapping, Sequence
from random import Random
from typing import NamedTuple

from structlog.typing import FilteringBoundLogger

from ..calls import Answer, AnswerKind, OptOutCall
from ..snapshot import STOPS
from .breaker import Breaker
from .limiter import CredentialLimiter
from .not_found import Belief
from .runs import Runs

_SPEAKS_FOR: Mapping[AnswerKind, str] = {
    AnswerKind.CREDENTIALS: "credentials",
    AnswerKind.TRANSIENT: "breaker",
    AnswerKind.UNEXPECTED: "breaker",
    AnswerKind.NOT_FOUND: "not_found",
}
"""What stops a partner's calls if more such answers come, of `snapshot.STOPS`."""

CREDENTIALS_PROBE_S = 30.0
"""Seconds between probes of a partner whose credentials are refused: a wrong key tried often may be locked out."""


class Said(NamedTuple):
    """What was answered: the status, and what goes with it. Nothing, where there was no answer."""

    status: int | None = None
    note: str | None = None


class PendingCall:
    """A call that is not settled yet, and how it has gone so far. A million of these may wait."""

    __slots__ = (
        "attempts",
        "call",
        "cancelled",
        "denied_at",
        "failures",
        "maybe_recorded",
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
        self.maybe_recorded = False
        """A try was not answered as the contract has it: the insurer may have recorded it."""
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

    @property
    def given_up(self) -> bool:
        """Whether it is made no more: its owner is gone, or an operator let the offer go."""
        return self.cancelled or self.released is not None

    @property
    def denied_alone(self) -> bool:
        """Whether it is answered 401 or 403 though 204s have come since it was first: it is not the credentials.

        Else one such offer would stop the partner's calls each time that it is tried.
        """
        return self.denied_at is not None and self.denied_at < self.partner.recorded


class Partner:
    """One partner's queue, and what keeps it from being called."""

    def __init__(
        self,
        code: str,
        limiter: CredentialLimiter[Partner],
        runs: Runs,
        random: Random,
    ) -> None:
        """`runs` is what was counted of this partner before."""
        self.code = code
        self.limiter = limiter
        self.fresh: deque[PendingCall] = deque()
        self.again: deque[PendingCall] = deque()
        """Called before, and due again. Apart from the fresh ones, so that neither can starve the other."""
        self.unconfirmed: list[PendingCall] = []
        """Answered 404, not believed yet."""
        self.belief_timer: TimerHandle | None = None
        """Goes off when those are to be believed."""
        self.unsettled = 0
        self.in_flight = 0
        self.refused = 0
        """How many wait whose request was refused."""
        self.unexpected = False
        """An answer outside the contract was reported, and no 204 has come since."""
        self.recorded = 0
        """How many 204s have come."""
        self.last_failure = Said()
        """The last answer that was neither a 204 nor a 404 of the API."""
        self._said: dict[str, Said] = {}
        """The last answer that spoke for each of `snapshot.STOPS`."""
        self.fault = False
        """The credentials are refused: one probe at a time."""
        self.probe: PendingCall | None = None
        self.breaker = Breaker(random)
        self.runs = runs
        self.not_found = runs.not_found
        self.refusals = runs.refusals
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

    def leave(self, pending: PendingCall) -> bool:
        """The call is no longer in flight; True if it was the probe."""
        self.in_flight -= 1
        was_probe = self.probe is pending
        if was_probe:
            self.probe = None
        return was_probe

    def not_left(self, pending: PendingCall) -> None:
        """The call was taken and is not made: if it was the probe, another one may be at once."""
        if self.leave(pending) and self.fault:
            self._fault_probe_at = -math.inf

    def put_back(self, pending: PendingCall) -> None:
        """The call was taken and is not made yet: it is the next to be taken."""
        self.not_left(pending)
        (self.again if pending.attempts else self.fresh).appendleft(pending)

    def take_unconfirmed(self) -> list[PendingCall]:
        """Those answered 404 that were not believed; there are none from now on."""
        if self.belief_timer is not None:
            self.belief_timer.cancel()
            self.belief_timer = None
        unconfirmed, self.unconfirmed = self.unconfirmed, []
        return unconfirmed

    # -- what an answer says of the partner as a whole ------------------------------------------------------------

    def on_answer(
        self, pending: PendingCall, answer: Answer, now: float, *, was_probe: bool, log: FilteringBoundLogger
    ) -> None:
        """Note what an answer says of the partner as a whole. Each turn of events is acted on, and logged once.

        Without a status no server has answered, which neither clears the credentials nor closes the breaker.
        """
        if answer.kind is AnswerKind.RECORDED:
            self.recorded += 1
            if not (self.fault or self.breaker.is_open):
                self.breaker.answered()
                self._note_evidence(pending, answer, now, log)
                return
        self._stop_while_denied(pending, answer, now, was_probe=was_probe, log=log)
        self._note_words(pending, answer)
        if answer.retry_after is not None and self.limiter.gate(now, answer.retry_after):
            log.warning(
                "told to wait by Retry-After: no calls with this credential until then",
                seconds=answer.retry_after,
                partner_code=self.code,
                status=answer.status_code,
                note=answer.note,
            )
        self._note_failure(pending, answer, now, was_probe=was_probe, log=log)
        self._note_evidence(pending, answer, now, log)

    def _note_words(self, pending: PendingCall, answer: Answer) -> None:
        """Note what was answered by what it speaks for; what is rejected is noted where it waits for that."""
        said = Said(answer.status_code, answer.note)
        if answer.kind not in {AnswerKind.RECORDED, AnswerKind.NOT_FOUND}:
            self.last_failure = said
        if (stop := _SPEAKS_FOR.get(answer.kind)) is not None and not pending.denied_alone:
            self._said[stop] = said
        if answer.retry_after is not None:
            self._said["retry_after"] = said

    def _stop_while_denied(
        self, pending: PendingCall, answer: Answer, now: float, *, was_probe: bool, log: FilteringBoundLogger
    ) -> None:
        """Stop the partner's calls when its credentials are refused; any other answer to the probe lets them go on."""
        denied = answer.kind is AnswerKind.CREDENTIALS
        if denied and pending.denied_at is None:
            pending.denied_at = self.recorded
        if denied and not pending.denied_alone:
            if not self.fault:
                self.fault = True
                self._fault_probe_at = now + CREDENTIALS_PROBE_S
                log.warning(
                    "credentials refused: calls stop, one probe every 30 s; check the key and secret",
                    partner_code=self.code,
                    status=answer.status_code,
                    note=answer.note,
                )
        elif self.fault and was_probe and answer.status_code is not None and not denied:
            self.fault = False
            self._fault_probe_at = -math.inf
            log.info("credentials accepted: calls go on", partner_code=self.code)

    def _note_failure(
        self, pending: PendingCall, answer: Answer, now: float, *, was_probe: bool, log: FilteringBoundLogger
    ) -> None:
        """Open the breaker when calls fail, close it when one is answered; report what is not in the contract."""
        facts = {"partner_code": self.code, "status": answer.status_code, "note": answer.note}
        if answer.kind in {AnswerKind.TRANSIENT, AnswerKind.UNEXPECTED}:
            if self.breaker.failed(now, pending, was_probe=was_probe):
                log.warning("breaker opened: calls fail, one probe at a time until one is answered", **facts)
        elif answer.status_code is not None and self.breaker.answered():
            log.info("breaker closed: calls go on", partner_code=self.code)
        if answer.kind is AnswerKind.UNEXPECTED and not self.unexpected:
            self.unexpected = True
            log.warning("unexpected answer, retried: check api.base_url, api.path and what stands between", **facts)

    def _note_evidence(self, pending: PendingCall, answer: Answer, now: float, log: FilteringBoundLogger) -> None:
        """Note what speaks for or against URL, path, body and partner code: 204s, 404s, refused requests."""
        if answer.kind is AnswerKind.RECORDED:
            self.unexpected = False
            self.accept_request(log)
            if self.not_found.recorded():
                log.info("a 204 came: 404s are believed again", partner_code=self.code)
        elif answer.kind is AnswerKind.NOT_FOUND:
            if self.not_found.not_found(now):
                log.warning(
                    "nothing but 404s: they are retried until a 204 comes; check api.base_url and the partner code, or "
                    "set delivery.not_found_limit to 0 to accept them",
                    partner_code=self.code,
                    limit=self.not_found.limit,
                )
            elif self.not_found.belief(now) is Belief.TERMINAL:
                self.accept_request(log)
        elif answer.kind is AnswerKind.REFUSED and not (pending.given_up or pending.retry_refused):
            self._count_refusal(answer, log)

    def _count_refusal(self, answer: Answer, log: FilteringBoundLogger) -> None:
        if self.refusals.refused():
            log.warning(
                "nothing but rejected requests: they are held, not dead-lettered, until a 204 or a 404 comes; "
                "check api.path, api.body and the partner code",
                partner_code=self.code,
                in_a_row=self.refusals.in_a_row,
                status=answer.status_code,
                note=answer.note,
            )

    def accept_request(self, log: FilteringBoundLogger) -> None:
        """A request was taken for what it is: a run of refused ones ends."""
        if self.refusals.accepted():
            log.info("a request was not rejected: others are dead-lettered again", partner_code=self.code)

    # -- how many wait whose request was refused ------------------------------------------------------------------

    def refuse(self, pending: PendingCall, log: FilteringBoundLogger) -> None:
        """The call waits since its request was refused; the first such is reported."""
        self._said["rejected"] = Said(pending.status, pending.note)
        if pending.refused:
            return
        pending.refused = True
        self.refused += 1
        if self.refused == 1:
            log.warning(
                "rejected: the API refuses a request; such are tried again every 5 minutes, and hold the commit of "
                "their partition. Read the note, and mend the offer's data, the partner code or the path, or let "
                "the offer go by delivery.release_file",
                partner_code=self.code,
                offer_id=pending.call.offer_id,
                status=pending.status,
                note=pending.note,
            )

    def refuse_no_longer(self, pending: PendingCall, log: FilteringBoundLogger) -> None:
        """The call was answered otherwise, or waits no more; that no other waits is reported."""
        if not pending.refused:
            return
        pending.refused = False
        self.refused -= 1
        if self.refused == 0:
            log.info("no rejected request of the partner waits any more", partner_code=self.code)

    def stopped_by(self, now: float) -> tuple[str, ...]:
        """What stops the partner's calls, of `snapshot.STOPS`; `now` on the loop's clock.

        Nothing, while there is none: nobody probes then, and so nobody would find that it is over.
        """
        if not self.unsettled:
            return ()
        stops = (
            self.fault,
            self.breaker.is_open,
            self.limiter.gated_until > now,
            self.not_found.tripped,
            self.refused > 0,
        )
        return tuple(name for name, stop in zip(STOPS, stops, strict=True) if stop) if any(stops) else ()

    def words_for(self, stops: Sequence[str]) -> Said:
        """What was answered that stops the partner's calls, by the first of `stops`; of none, the last failure."""
        return self._said.get(stops[0], Said()) if stops else self.last_failure

    def state(self, now: float) -> str:
        """In words, why the partner's calls are not made, or `calling`; `now` on the loop's clock."""
        if not self.unsettled:
            return "calling"
        parts = []
        if self.fault:
            parts.append(f"credentials refused, next probe in {max(0.0, self._fault_probe_at - now):.0f} s")
        if self.breaker.is_open:
            parts.append(f"failing, next probe in {max(0.0, self.breaker.probe_at - now):.0f} s")
        if self.limiter.gated_until > now:
            parts.append(f"told to wait by Retry-After for {self.limiter.gated_until - now:.0f} s")
        if self.not_found.tripped:
            parts.append("nothing but 404s: wrong base URL or partner code?")
        elif self.unconfirmed:
            left = self.not_found.believe_at - now
            parts.append(f"{len(self.unconfirmed)} answered 404, held until a 204 or {left:.0f} s pass")
        if self.refused:
            parts.append(f"{self.refused} refused by the API")
        return "; ".join(parts) or "calling"
