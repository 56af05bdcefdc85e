"""Makes the calls until each is settled: who is called next, how often again, and when to leave a partner alone.

Everything runs on one event loop. A call that waits costs an entry in a queue, not a task; only calls in flight have
one, at most `delivery.concurrency` of them, and each goes on to the next call by itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Protocol

import structlog

from ..calls import Answer, AnswerKind, CallOwner, CallResult, OptOutCall
from ..events import Outcome
from ..settings import DeliverySettings
from .answers import on_answer
from .breaker import full_jitter
from .not_found import Belief
from .partner import Partner, PendingCall
from .retries import Retries
from .scheduler import Scheduler

REFUSED_RETRY_S = 300.0
"""Seconds until a refused request is tried again: somebody may have changed something, here or at the insurer."""


class Caller(Protocol):
    """Makes one call once. It must end by itself, in bounded time, since calls in flight are not cancelled."""

    async def __call__(self, call: OptOutCall, /) -> Answer: ...


@dataclass(frozen=True, slots=True)
class DeliverySnapshot:
    """What the delivery is doing: calls waiting, in flight, tries beyond each call's first, partners in words."""

    queued: int
    in_flight: int
    retried: int
    partners: dict[str, str]


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
    ) -> None:
        """`credential_of` gives for a partner code what rate limit and Retry-After count by.

        With `delivery.rejected = dead-letter`, of a partner's refused requests at most `max_refused_run` in a row are
        given back to be dead-lettered, with no 204 and no believed 404 between. More are held: a wrong path or a wrong
        body is refused for every offer, and must not drain the topic.
        """
        self._caller = caller
        self._on_result = on_result
        self._random = random
        self._settings = settings
        self._max_refused_run = max_refused_run
        self._loop = asyncio.get_running_loop()
        self._turns = Scheduler(settings, credential_of, random, self._pump)
        self._retries = Retries(self._due)
        self._running: set[PendingCall] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsettled = 0
        self._retried = 0
        self._closing = False
        # Bound once: the lazy logger would be set up anew at each call.
        self._log = structlog.get_logger(__name__).bind()

    # -- what others ask for --------------------------------------------------------------------------------------

    def submit(self, calls: Iterable[OptOutCall], *, retry_refused: bool = False) -> None:
        """Take over calls; each is tried until it is settled or cancelled.

        `retry_refused`: also if its request is refused, since it cannot be dead-lettered.
        """
        for call in calls:
            partner = self._turns.partner(call.partner_code)
            entry = PendingCall(call, partner, retry_refused=retry_refused)
            self._unsettled += 1
            partner.unsettled += 1
            if self._closing:
                self._report(entry, None)
            else:
                partner.fresh.append(entry)
                self._turns.enqueue(partner)
        # Not at once: what else is submitted in this step of the loop counts when the slots are shared out.
        self._loop.call_soon(self._pump)

    def cancel(self, owners: Collection[CallOwner]) -> None:
        """No new calls for these owners. Waiting ones are reported now, those in flight at their end.

        For several owners at once, since it goes through the whole queue.
        """
        gone = frozenset(owners)

        def cancelled(entry: PendingCall) -> bool:
            entry.cancelled = entry.cancelled or entry.call.owner in gone
            return entry.cancelled

        self._drop(cancelled)
        self._pump()

    def withdraw(self, owner: CallOwner, chain_starts: Collection[int]) -> None:
        """As `cancel`, for the owner's calls of these chains."""

        def withdrawn(entry: PendingCall) -> bool:
            call = entry.call
            entry.cancelled = entry.cancelled or (call.owner is owner and call.chain_start in chain_starts)
            return entry.cancelled

        self._drop(withdrawn)
        self._pump()

    def release(self, offers: Mapping[tuple[str, str], str]) -> None:
        """Somebody let these offers go: waiting calls are reported as RELEASED now, those in flight if not settled.

        The offers are given as partner_code and offer_id, with the note for the outcome.
        """

        def released(entry: PendingCall) -> bool:
            entry.released = offers.get((entry.call.partner_code, entry.call.offer_id), entry.released)
            return entry.released is not None

        self._drop(released)
        self._pump()

    def set_share(self, fraction: float) -> None:
        """Use this part (0 to 1) of the deployment's rate limit: this instance's tasks of all tasks."""
        self._turns.set_share(fraction)
        self._pump()

    async def close(self, timeout: float) -> None:  # noqa: ASYNC109 - past it the rest is cancelled, not an error raised
        """No new calls. Waits up to `timeout` seconds for those in flight, then cancels them; the rest is reported."""
        self._closing = True
        self._drop(_cancel)
        self._turns.close()
        self._retries.close()
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

    @property
    def retried(self) -> int:
        """Tries beyond the first of each call, since the start."""
        return self._retried

    def snapshot(self) -> DeliverySnapshot:
        """What the delivery is doing. May be called from another thread; the figures are then of about now."""
        now = self._loop.time()
        partners = {partner.code: partner.state(now) for partner in self._turns.partners() if partner.unsettled}
        return DeliverySnapshot(self.queued, self.in_flight, self._retried, partners)

    # -- making calls ---------------------------------------------------------------------------------------------

    def _next(self) -> PendingCall | None:
        entry = self._turns.next() if not self._closing else None
        if entry is not None:
            self._running.add(entry)
        return entry

    def _pump(self) -> None:
        """Give every free slot a call, as far as there are calls that may be made now."""
        while len(self._running) < self._settings.concurrency and (entry := self._next()) is not None:
            task = self._loop.create_task(self._work(entry))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    async def _work(self, first: PendingCall) -> None:
        entry: PendingCall | None = first
        while entry is not None:
            started = self._loop.time()
            try:
                answer = await self._caller(entry.call)
            except asyncio.CancelledError:
                self._leave(entry)
                self._report(entry, None)
                raise
            except Exception as error:
                # A call must not be lost to a mistake of ours.
                answer = Answer(AnswerKind.UNEXPECTED, note=f"the call could not be made: {error!r}")
            self._done(entry, answer, self._loop.time() - started)
            entry = self._next()
            self._pump()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._loop.call_exception_handler({"message": "the delivery of calls failed", "exception": error})

    def _leave(self, entry: PendingCall) -> bool:
        """The call is no longer in flight; True if it was a probe."""
        partner = entry.partner
        self._running.discard(entry)
        partner.in_flight -= 1
        was_probe = partner.probe is entry
        if was_probe:
            partner.probe = None
        return was_probe

    def _done(self, entry: PendingCall, answer: Answer, elapsed: float) -> None:
        partner, call = entry.partner, entry.call
        was_probe = self._leave(entry)
        entry.attempts += 1
        if entry.attempts > 1:
            self._retried += 1
        entry.status, entry.note = answer.status_code, answer.note
        if answer.verdict is AnswerKind.CREDENTIALS and partner.denies_alone(entry):
            answer = answer._replace(verdict=AnswerKind.DENIED)
        self._log.debug(
            "call answered",
            partner_code=call.partner_code,
            offer_id=call.offer_id,
            session_id=call.session_id,
            topic=call.source.topic,
            partition=call.source.partition,
            offset=call.source.offset,
            status=answer.status_code,
            attempt=entry.attempts,
            elapsed=round(elapsed, 4),
            note=answer.note,
        )
        on_answer(entry, answer, now=self._loop.time(), was_probe=was_probe, log=self._log)
        self._settle_or_wait(entry, answer)
        self._turns.enqueue(partner)

    # -- what becomes of a call -----------------------------------------------------------------------------------

    def _settle_or_wait(self, entry: PendingCall, answer: Answer) -> None:
        partner, verdict = entry.partner, answer.verdict
        if entry.refused and verdict not in {AnswerKind.REFUSED, AnswerKind.DENIED}:
            self._no_longer_refused(entry)
        if verdict is AnswerKind.RECORDED:
            partner.unexpected = False
            self._accepted(partner)
            if partner.guard.recorded():
                self._log.info("a 204 came: 404s are believed again", partner_code=partner.code)
            if partner.held:
                self._believe_held(partner)
            self._report(entry, Outcome.OPTED_OUT)
        elif verdict is AnswerKind.NOT_FOUND:
            self._not_found(entry)
        elif entry.cancelled or entry.released is not None:
            self._give_up(entry)
        elif verdict is AnswerKind.CREDENTIALS:
            partner.again.append(entry)
        elif verdict is AnswerKind.REFUSED:
            self._refused(entry)
        elif verdict is AnswerKind.DENIED:
            self._hold_refused(entry)
        else:
            self._back_off(entry)

    def _back_off(self, entry: PendingCall) -> None:
        entry.failures += 1
        self._retries.push(entry, full_jitter(entry.failures, self._random))

    def _due(self, entries: list[PendingCall]) -> None:
        for entry in entries:
            entry.partner.again.append(entry)
            self._turns.enqueue(entry.partner)
        self._pump()

    def _not_found(self, entry: PendingCall) -> None:
        partner, now = entry.partner, self._loop.time()
        had_tripped, belief = partner.guard.tripped, partner.guard.not_found(now)
        if belief is Belief.TERMINAL:
            self._accepted(partner)
            self._report(entry, Outcome.NOT_FOUND)
        elif entry.cancelled or entry.released is not None:
            self._give_up(entry)
        elif belief is Belief.HOLD:
            if not partner.held:
                self._loop.call_at(partner.guard.hold_until, self._hold_over, partner)
            partner.held.append(entry)
        else:
            self._back_off(entry)
        if partner.guard.tripped and not had_tripped:
            self._log.warning(
                "nothing but 404s: they are retried until a 204 comes; check api.base_url and the partner code, or "
                "set delivery.not_found_limit to 0 to accept them",
                partner_code=partner.code,
                limit=self._settings.not_found_limit,
            )
            held, partner.held = partner.held, []
            for waiting in held:
                self._back_off(waiting)

    def _hold_over(self, partner: Partner) -> None:
        if not partner.guard.tripped and partner.held:
            self._log.warning(
                "404s are believed though no 204 has come: too few to tell a wrong partner code by; check it",
                partner_code=partner.code,
                believed=len(partner.held),
            )
            self._believe_held(partner)

    def _believe_held(self, partner: Partner) -> None:
        held, partner.held = partner.held, []
        for entry in held:
            self._report(entry, Outcome.NOT_FOUND)

    def _refused(self, entry: PendingCall) -> None:
        partner = entry.partner
        if self._settings.rejected == "dead-letter" and not entry.retry_refused:
            partner.refused_run += 1
            if partner.refused_run <= self._max_refused_run:
                self._report(entry, Outcome.DEAD_LETTERED)
                return
            if partner.refused_run == self._max_refused_run + 1:
                self._log.warning(
                    "nothing but rejected requests: they are held, not dead-lettered, until a 204 or a 404 comes; "
                    "check api.path, api.body and the partner code",
                    partner_code=partner.code,
                    in_a_row=partner.refused_run,
                    status=entry.status,
                    note=entry.note,
                )
        self._hold_refused(entry)

    def _hold_refused(self, entry: PendingCall) -> None:
        partner = entry.partner
        if not entry.refused:
            entry.refused = True
            partner.refused += 1
            if partner.refused == 1:
                self._log.warning(
                    "rejected: the API refuses a request; such are tried again every 5 minutes, and hold the commit of "
                    "their partition. Read the note, and mend the offer's data, the partner code or the path, or let "
                    "the offer go by delivery.release_file",
                    partner_code=partner.code,
                    offer_id=entry.call.offer_id,
                    status=entry.status,
                    note=entry.note,
                )
        self._retries.push(entry, REFUSED_RETRY_S)

    def _no_longer_refused(self, entry: PendingCall) -> None:
        entry.refused = False
        entry.partner.refused -= 1
        if entry.partner.refused == 0:
            self._log.info("no rejected request of the partner waits any more", partner_code=entry.partner.code)

    def _accepted(self, partner: Partner) -> None:
        """The API took a request of the partner for what it is, so path and body are right."""
        if partner.refused_run > self._max_refused_run:
            self._log.info("a request was not rejected: others are dead-lettered again", partner_code=partner.code)
        partner.refused_run = 0

    def _give_up(self, entry: PendingCall) -> None:
        """Its owner is gone or an operator let it go; who did goes with it. Made no more."""
        if entry.released is None:
            self._report(entry, None)
        else:
            entry.note = entry.released
            self._report(entry, Outcome.RELEASED)

    def _report(self, entry: PendingCall, outcome: Outcome | None) -> None:
        if entry.refused:
            self._no_longer_refused(entry)
        self._unsettled -= 1
        entry.partner.unsettled -= 1
        self._on_result(CallResult(entry.call, outcome, entry.status, entry.attempts, entry.note))

    def _drop(self, unwanted: Callable[[PendingCall], bool]) -> None:
        """Give up what waits and is unwanted. `unwanted` marks it, and so what is in flight is given up at its end."""
        dropped: list[PendingCall] = []

        def wanted(entry: PendingCall) -> bool:
            if unwanted(entry):
                dropped.append(entry)
                return False
            return True

        for partner in self._turns.partners():
            partner.fresh = deque(filter(wanted, partner.fresh))
            partner.again = deque(filter(wanted, partner.again))
            partner.held = list(filter(wanted, partner.held))
        self._retries.keep(wanted)
        for entry in self._running:
            unwanted(entry)
        for entry in dropped:
            self._give_up(entry)


def _cancel(entry: PendingCall) -> bool:
    entry.cancelled = True
    return True
