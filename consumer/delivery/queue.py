"""Makes the calls until each is settled: who is called next, how often again, and when to leave a partner alone.

Everything runs on one event loop. A call that waits costs an entry in a queue, not a task; only calls in flight have
one, at most `delivery.concurrency` of them, and each goes on to the next call by itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from random import Random
from typing import Protocol

import structlog
from structlog.typing import FilteringBoundLogger

from ..backoff import full_jitter
from ..calls import Answer, AnswerKind, CallOwner, CallResult, OptOutCall
from ..events import Outcome
from ..settings import DeliverySettings
from ..telling import Telling
from .answers import Effect, effect_of
from .counts import CallCounts
from .doing import DeliverySnapshot, snapshot_of
from .gate import LOOK_S, Condition, Gate
from .limiter import CredentialLimiter
from .partner import Partner, PendingCall
from .retries import Retries
from .runs import KeptRuns
from .scheduler import Scheduler

REFUSED_RETRY_S = 300.0
"""Seconds until a refused request is tried again: somebody may have changed something, here or at the insurer."""


class Caller(Protocol):
    """Makes one call once. It must end by itself, in bounded time, since calls in flight are not cancelled.

    `may_leave` is asked when all is ready for the call to be sent; if it says no, the answer is WITHHELD.
    """

    async def __call__(self, call: OptOutCall, may_leave: Callable[[], bool], /) -> Answer: ...


class Delivery:
    """Queue, retry, rate limit and breaker; see `submit`. Must be made and used on one running event loop.

    Each call submitted gets exactly one result, by `on_result` on the loop.
    """

    def __init__(
        self,
        caller: Caller,
        settings: DeliverySettings,
        on_result: Callable[[CallResult], None],
        *,
        credential_of: Callable[[str], Hashable],
        random: Random,
        max_refused_run: int = 100,
        conditions: Sequence[Condition] = (),
    ) -> None:
        """`credential_of` gives for a partner code what rate limit and Retry-After count by.

        While one of the `conditions` is closed, no call leaves.

        With `delivery.rejected = dead-letter`, of a partner's refused requests at most `max_refused_run` in a row are
        given back to be dead-lettered, with no 204 and no believed 404 between. More are tried again: a wrong path or
        a wrong body is refused for every offer, and must not drain the topic.
        """
        self._caller = caller
        self._on_result = on_result
        self._random = random
        self._settings = settings
        self._runs = KeptRuns(settings, max_refused_run)
        self._loop = asyncio.get_running_loop()
        self._scheduler = Scheduler(settings, credential_of, self._new_partner, self._on_forget, self._pump)
        self._retries = Retries(self._due)
        self._gate = Gate(conditions, self._loop.time)
        self._look_again: asyncio.TimerHandle | None = None
        self._running: set[PendingCall] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsettled = 0
        self._counts = CallCounts()
        self._telling = Telling()
        self._closing = False
        # Bound once: the lazy logger would be set up anew at each call.
        self._log: FilteringBoundLogger = structlog.get_logger(__name__).bind()

    # -- what others ask for --------------------------------------------------------------------------------------

    def submit(self, calls: Iterable[OptOutCall], *, retry_refused: bool = False) -> None:
        """Take over calls; each is tried until it is settled or cancelled.

        `retry_refused`: also if its request is refused, since it cannot be dead-lettered.
        """
        for call in calls:
            partner = self._scheduler.partner(call.partner_code)
            pending = PendingCall(call, partner, retry_refused=retry_refused)
            self._unsettled += 1
            partner.unsettled += 1
            if self._closing:
                self._report(pending, None)
            else:
                partner.fresh.append(pending)
                self._scheduler.enqueue(partner)
        # Not at once: what else is submitted in this step of the loop counts when the slots are shared out.
        self._loop.call_soon(self._pump)

    def cancel(self, owners: Collection[CallOwner]) -> None:
        """No new calls for these owners. Waiting ones are reported now, those in flight at their end.

        For several owners at once, since it goes through the whole queue.
        """
        gone = frozenset(owners)

        def cancelled(pending: PendingCall) -> bool:
            pending.cancelled = pending.cancelled or pending.call.owner in gone
            return pending.cancelled

        self._drop(cancelled)
        self._pump()

    def withdraw(self, owner: CallOwner, chain_starts: Collection[int]) -> None:
        """As `cancel`, for the owner's calls of these chains."""

        def withdrawn(pending: PendingCall) -> bool:
            call = pending.call
            pending.cancelled = pending.cancelled or (call.owner is owner and call.chain_start in chain_starts)
            return pending.cancelled

        self._drop(withdrawn)
        self._pump()

    def release(self, offers: Mapping[tuple[str, str], str]) -> None:
        """Somebody let these offers go: waiting calls are reported as RELEASED now, those in flight if not settled.

        The offers are given as partner_code and offer_id, with the note for the outcome.
        """

        def released(pending: PendingCall) -> bool:
            pending.released = offers.get((pending.call.partner_code, pending.call.offer_id), pending.released)
            return pending.released is not None

        self._drop(released)
        self._pump()

    def set_share(self, fraction: float) -> None:
        """Use this part (0 to 1) of the deployment's rate limit: this instance's tasks of all tasks."""
        self._scheduler.set_share(fraction)
        self._pump()

    async def close(self, timeout: float) -> None:  # noqa: ASYNC109 - past it the rest is cancelled, not an error raised
        """No new calls. Waits up to `timeout` seconds for those in flight, then cancels them; the rest is reported."""
        self._closing = True
        self._drop(_cancel)
        self._scheduler.close()
        self._retries.close()
        if self._look_again is not None:
            self._look_again.cancel()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=timeout)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    @property
    def queued(self) -> int:
        """Calls that wait, for their turn or for another try."""
        return self._unsettled - len(self._running)

    @property
    def in_flight(self) -> int:
        """Calls being made now."""
        return len(self._running)

    def snapshot(self) -> DeliverySnapshot:
        """What the delivery is doing."""
        return snapshot_of(
            self._scheduler.partners(),
            self._counts,
            self._gate,
            queued=self.queued,
            in_flight=self.in_flight,
            now=self._loop.time(),
        )

    def _new_partner(self, code: str, limiter: CredentialLimiter[Partner]) -> Partner:
        return Partner(code, limiter, self._runs.take(code), self._random)

    def _on_forget(self, partner: Partner) -> None:
        self._runs.keep(partner.code, partner.runs)

    # -- making calls ---------------------------------------------------------------------------------------------

    def _next(self) -> PendingCall | None:
        if self._closing or not self._gate_lets_begin(len(self._running)):
            return None
        pending = self._scheduler.next()
        if pending is not None:
            self._running.add(pending)
        return pending

    def _gate_lets_begin(self, others_in_flight: int) -> bool:
        """Whether the conditions of all calls let one begin. Where they do not, they are looked at again soon."""
        lets_begin = self._gate.lets_begin(others_in_flight)
        if not self._gate.is_open and self._look_again is None and not self._closing:
            self._look_again = self._loop.call_later(LOOK_S, self._look_at_gate)
        return lets_begin

    def _look_at_gate(self) -> None:
        self._look_again = None
        self._pump()

    def _pump(self) -> None:
        """Give every free slot a call, as far as there are calls that may be made now."""
        while len(self._running) < self._settings.concurrency and (pending := self._next()) is not None:
            task = self._loop.create_task(self._work(pending))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    async def _work(self, first: PendingCall) -> None:
        pending: PendingCall | None = first
        while pending is not None:
            # Here and not when it was given out: the loop has done other things since, and so has the poll thread.
            if not self._gate.withholds(pending) and self._gate_lets_begin(len(self._running) - 1):
                await self._call(pending)
            else:
                self._not_left(pending)
            pending = self._next()
            self._pump()

    async def _call(self, pending: PendingCall) -> None:
        started = self._loop.time()
        self._gate.begun()
        try:
            answer = await self._caller(
                pending.call, lambda: self._gate.lets_leave(pending, others_in_flight=len(self._running) - 1)
            )
        except asyncio.CancelledError:
            self._running.discard(pending)
            pending.partner.leave(pending)
            pending.maybe_recorded = True
            self._report(pending, None)
            raise
        except Exception as error:
            # A call must not be lost to a mistake of ours.
            answer = Answer(AnswerKind.UNEXPECTED, note=f"the call could not be made: {error!r}")
        if answer.kind is AnswerKind.WITHHELD:
            self._not_left(pending)
        else:
            self._done(pending, answer, self._loop.time() - started)

    def _not_left(self, pending: PendingCall) -> None:
        """It was given out and has not left: it takes its place again, or is to be made no more."""
        self._running.discard(pending)
        if withheld := self._gate.withholds(pending):
            pending.partner.not_left(pending)
        else:
            pending.partner.put_back(pending)
        self._scheduler.enqueue(pending.partner)
        if withheld:
            self._give_up(pending)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._loop.call_exception_handler({"message": "the delivery of calls failed", "exception": error})

    def _done(self, pending: PendingCall, answer: Answer, elapsed: float) -> None:
        partner, call = pending.partner, pending.call
        self._running.discard(pending)
        was_probe = partner.leave(pending)
        pending.attempts += 1
        with self._telling:
            self._counts.answered(call.partner_code, answer.status_code, elapsed, again=pending.attempts > 1)
        pending.status, pending.note = answer.status_code, answer.note
        if answer.kind in {AnswerKind.TRANSIENT, AnswerKind.UNEXPECTED}:
            pending.maybe_recorded = True
        log = self._log_of(call)
        log.debug(
            "call answered",
            partner_code=call.partner_code,
            offer_id=call.offer_id,
            session_id=call.session_id,
            topic=call.source.topic,
            partition=call.source.partition,
            offset=call.source.offset,
            status=answer.status_code,
            attempt=pending.attempts,
            elapsed=round(elapsed, 4),
            note=answer.note,
        )
        now = self._loop.time()
        partner.on_answer(pending, answer, now, was_probe=was_probe, log=log)
        self._carry_out(pending, effect_of(answer.kind, pending, now), log)
        self._scheduler.enqueue(partner)

    def _log_of(self, call: OptOutCall) -> FilteringBoundLogger:
        """The log for what an answer to this call causes."""
        return self._log if call.trace is None else self._log.bind(trace_id=call.trace.context.trace_id)

    # -- what becomes of a call -----------------------------------------------------------------------------------

    def _carry_out(self, pending: PendingCall, effect: Effect, log: FilteringBoundLogger) -> None:
        partner = pending.partner
        if pending.refused and effect is not Effect.RETRY_REFUSED:
            partner.refuse_no_longer(pending, log)
        match effect:
            case Effect.SETTLE_OPTED_OUT:
                self._believe_unconfirmed(partner)
                self._report(pending, Outcome.OPTED_OUT)
            case Effect.SETTLE_NOT_FOUND:
                self._report(pending, Outcome.NOT_FOUND)
            case Effect.DEAD_LETTER:
                self._report(pending, Outcome.DEAD_LETTERED)
            case Effect.GIVE_UP:
                self._give_up(pending)
            case Effect.AWAIT_BELIEF:
                partner.unconfirmed.append(pending)
                if partner.belief_timer is None:
                    when = partner.not_found.believe_at
                    partner.belief_timer = self._loop.call_at(when, self._unconfirmed_long_enough, partner)
            case Effect.AWAIT_CREDENTIALS:
                partner.again.append(pending)
            case Effect.RETRY_REFUSED:
                partner.refuse(pending, log)
                self._retries.push(pending, REFUSED_RETRY_S)
            case Effect.BACK_OFF:
                self._back_off(pending)
        if partner.not_found.tripped and partner.unconfirmed:
            for waiting in partner.take_unconfirmed():
                self._back_off(waiting)

    def _back_off(self, pending: PendingCall) -> None:
        pending.failures += 1
        self._retries.push(pending, full_jitter(pending.failures, self._random.uniform))

    def _due(self, due: list[PendingCall]) -> None:
        for pending in due:
            pending.partner.again.append(pending)
            self._scheduler.enqueue(pending.partner)
        self._pump()

    def _unconfirmed_long_enough(self, partner: Partner) -> None:
        if partner.unconfirmed:
            # Of a partner that was answered 204 before, it is usual that a few are not known.
            tell = self._log.info if partner.recorded else self._log.warning
            tell(
                "404s are believed though no 204 has come: too few to tell a wrong partner code by; check it",
                partner_code=partner.code,
                believed=len(partner.unconfirmed),
            )
            partner.accept_request(self._log)
        self._believe_unconfirmed(partner)

    def _believe_unconfirmed(self, partner: Partner) -> None:
        for pending in partner.take_unconfirmed():
            self._report(pending, Outcome.NOT_FOUND)

    def _give_up(self, pending: PendingCall) -> None:
        """Its owner is gone or an operator let it go; who did goes with it. Made no more."""
        if pending.released is None:
            self._report(pending, None)
        else:
            pending.note = pending.released
            self._report(pending, Outcome.RELEASED)

    def _report(self, pending: PendingCall, outcome: Outcome | None) -> None:
        if pending.refused:
            pending.partner.refuse_no_longer(pending, self._log)
        if outcome is not None:
            self._gate.settled()
        self._unsettled -= 1
        pending.partner.unsettled -= 1
        if not pending.partner.unsettled:
            self._scheduler.idle(pending.partner)
        self._on_result(
            CallResult(pending.call, outcome, pending.status, pending.attempts, pending.note, pending.maybe_recorded)
        )

    def _drop(self, unwanted: Callable[[PendingCall], bool]) -> None:
        """Give up what waits and is unwanted. `unwanted` marks it, and so what is in flight is given up at its end."""
        dropped: list[PendingCall] = []

        def wanted(pending: PendingCall) -> bool:
            if unwanted(pending):
                dropped.append(pending)
                return False
            return True

        for partner in self._scheduler.partners():
            partner.fresh = deque(filter(wanted, partner.fresh))
            partner.again = deque(filter(wanted, partner.again))
            partner.unconfirmed = list(filter(wanted, partner.unconfirmed))
        self._retries.keep(wanted)
        for pending in self._running:
            unwanted(pending)
        for pending in dropped:
            self._give_up(pending)


def _cancel(pending: PendingCall) -> bool:
    pending.cancelled = True
    return True
