"""Runs one task: hands it its records, carries out what it decides, and settles what comes back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import structlog
from confluent_kafka import Message

from ..calls import CallResult, OptOutCall, Withheld
from ..core.admission import JOINED, Admission, CheckoutEffect
from ..core.chain import Chain
from ..core.rules import MAX_TIME
from ..core.task import Task
from ..core.watermark import Side
from ..errors import DecodeError, SchemaWaitError, TruncatedLogError
from ..events import CheckoutCompleted, OfferPresented, Outcome
from ..kafka.record import Record
from .bad_record_limit import BadRecordLimit
from .counts import Counts
from .edges import Edges
from .first_calls import FirstCalls, call_of
from .late_run import LateRun
from .misdated import Misdated
from .outcomes import NOT_ADMITTED, Outcomes, fate_without_call
from .reports import Reports, refused_in_words
from .same_record import is_same
from .unreadable import sessions_of
from .waiting_records import WaitingRecords

log = structlog.get_logger(__name__)

NONE: tuple[int, ...] = ()
"""No chain's call is to be taken back, as by nearly all records."""


class TaskRunner:
    """One task for the length of one assignment, closed to results that come back after it. Owned by the poll thread.

    Args:
        topics: of the offers and of the checkouts.
        bad_records: the limit of each of them, which all tasks share.
        late_limit: see `LateRun`.
        checkouts_end: see `FirstCalls`.
        misdated, counts: reports implausible dates, and counts what becomes of records and offers, for all tasks.

    Attributes:
        task: the pure part.
        late_run: what is kept back of its offers.
        outstanding: calls that are with the delivery, or whose record is fetched to be dead-lettered.
        draining: no new calls: the task is about to go.
        left_out: records of both inputs that are of another kind, so far.
        waiting: its records that may not be applied yet.
    """

    def __init__(
        self,
        partition: int,
        task: Task,
        *,
        topics: tuple[str, str],
        edges: Edges,
        bad_records: tuple[BadRecordLimit, BadRecordLimit],
        late_limit: int,
        checkouts_end: int = 0,
        misdated: Misdated | None = None,
        counts: Counts | None = None,
    ) -> None:
        self.partition = partition
        self.task = task
        self.outstanding = self.left_out = 0
        self.draining = False
        self.waiting = WaitingRecords(edges.clock_check)
        self._topics = topics
        self._codec, self._mode = edges.codec, edges.mode
        self._outputs, self._record_reader = edges.outputs, edges.record_reader
        self._releases = edges.releases
        self._clock_check, self._wall = edges.clock_check, edges.clock.wall
        self._bad_records = bad_records
        self._counts = counts or Counts(edges.clock.wall)
        self._outcomes = Outcomes(edges, topics[Side.OFFERS], partition, self._counts)
        self._decided_before = task.decided_to
        """What was due up to then (ms) was decided before the start."""
        self._restoring = True
        """Whether `task` may be: asked once more by each record until it is not, since it never is again."""
        self._closed = False
        self._notes_seen = self._releases.notes
        self.first_calls = FirstCalls(task, checkouts_end)
        self._misdated = misdated or Misdated(edges.clock.wall)
        self._reports = Reports(partition, self._counts, task.restore_warnings)
        self.late_run = LateRun(late_limit, task, topics[Side.OFFERS], edges, log.bind(partition=partition))

    # --- records

    def on_message(self, side: Side, message: Message, now: int) -> Sequence[int]:
        """A record or a partition end, in the order of the log. `now` is the wall clock (ms).

        Returns:
            The starts of the chains that it bought, or may have bought, after they were decided: no call is to be made.
        """
        if self.waiting.records[side] or (self._restoring and self._must_wait(side, message)):
            self.waiting.add(side, message)
            return NONE
        if side is Side.OFFERS and self.late_run.kept:
            self.late_run.keep(message, now)
            return NONE
        return self._apply(side, message, now)

    @property
    def is_done(self) -> bool:
        """See `RunMode.is_done`."""
        return not (self.outstanding or self.late_run.kept) and self._mode.is_done(self.partition, self.task)

    def judge_late_run(self, now: int) -> bool:
        """Apply what was kept back behind late presentations, once it is told what they are. Returns whether it was."""
        judged = False
        while messages := self.late_run.take():
            judged = True
            for message in messages:
                self.on_message(Side.OFFERS, message, now)
        return judged

    def drain_waiting(self, now: int) -> list[int]:
        """Apply what waited, as far as that is possible now. Returns what `on_message` does, for all."""
        return [start for side, message in self.waiting.drain() for start in self.on_message(side, message, now)]

    def pauses(self) -> set[Side]:
        """The inputs to be read no further for now."""
        if self.is_done:
            return set(Side)
        if self.task.restoring:
            stops = {side: self.task.restore_until(side) for side in Side}
            read = {s for s, at in stops.items() if at is not None and self.task.next_offset(s) >= at}
            return self.waiting.sides | read
        stopped = {self._ahead(), Side.OFFERS if self.late_run.suspended else None}
        return self.waiting.sides | {side for side in Side if side in stopped}

    def _ahead(self) -> Side | None:
        return self.task.watermarks.input_to_pause(calls_wait=self.outstanding + self.first_calls.waiting > 0)

    def _must_wait(self, side: Side, message: Message) -> bool:
        """Whether it may not be applied yet. While restoring, what had not been read before has to wait."""
        self._restoring = self.task.restoring
        stop = self.task.restore_until(side)
        if stop is None or message.error() is not None or (message.offset() or 0) < stop:
            return False
        # Offsets have gaps: that this record is the next says that there is nothing more below the stop.
        self.task.read_to(side, stop)
        stop = self.task.restore_until(side)
        return stop is not None and (message.offset() or 0) >= stop

    def _apply(self, side: Side, message: Message, now: int) -> Sequence[int]:
        offset, value = message.offset() or 0, message.value()
        if message.error() is not None:
            self._on_partition_end(side, offset)
            return NONE
        if offset < self.task.next_offset(side):
            return NONE
        if value is None:
            self.task.read_to(side, offset + 1)
            return NONE
        self._bad_records[side].read += 1
        if message.timestamp()[1] > self._clock_check.waits_beyond:
            return self._wait_for_clock(side, message)
        return self._apply_value(side, message, value, now)

    def _apply_value(self, side: Side, message: Message, value: bytes, now: int) -> Sequence[int]:
        apply = self._apply_offer if side is Side.OFFERS else self._apply_checkout
        try:
            return apply(message, value, now)
        except DecodeError as error:
            return self._take_unreadable(side, message, error, now)
        except SchemaWaitError as error:
            self._bad_records[side].read -= 1  # it will be, once it is applied
            self.waiting.add_for_schema(side, message, str(error))
            return NONE

    def _apply_offer(self, message: Message, value: bytes, now: int) -> Sequence[int]:
        offset = message.offset() or 0
        shown = self._codec.decode_offer(message.key(), value, offset, message.headers)
        others: Sequence[OfferPresented] = ()
        if not isinstance(shown, OfferPresented):
            if not shown:
                return self._pass_over(Side.OFFERS, offset)
            shown, *others = shown
        timestamp, clock_check = message.timestamp()[1], self._clock_check
        if shown.presented_at > clock_check.waits_beyond and not clock_check.is_misdated(shown, timestamp):
            return self._wait_for_clock(Side.OFFERS, message)
        if (admission := self.task.offer(shown, timestamp, now, others)) is not Admission.ACCEPTED:
            self._take_not_admitted(admission, message, (shown, *others), now)
        return NONE

    def _apply_checkout(self, message: Message, value: bytes, now: int) -> Sequence[int]:
        offset = message.offset() or 0
        completed = self._codec.decode_checkout(message.key(), value, offset, message.headers)
        if completed is None:
            return self._pass_over(Side.CHECKOUTS, offset)
        if completed.completed_at > self._clock_check.waits_beyond:
            return self._wait_for_clock(Side.CHECKOUTS, message)
        effect = self.task.checkout(completed, message.timestamp()[1], now)
        return NONE if effect is JOINED else self._carry_out(effect, completed)

    def _pass_over(self, side: Side, offset: int) -> Sequence[int]:
        """It is of another kind, by `input.….when`, or presents nothing, by `input.offers.each`."""
        self.task.read_to(side, offset + 1)
        if side is Side.OFFERS:
            self.late_run.passed_over(offset)
        self._bad_records[side].read -= 1  # or those of another kind would thin out what is wrong with ours
        self.left_out += 1
        self._counts.left_out[side] += 1
        return NONE

    def _wait_for_clock(self, side: Side, message: Message) -> Sequence[int]:
        self._bad_records[side].read -= 1  # it will be, once it is applied
        self.waiting.add_for_clock(side, message)
        return NONE

    def _carry_out(self, effect: CheckoutEffect, checkout: CheckoutCompleted) -> Sequence[int]:
        """Report what a checkout has changed. Returns the starts of the chains whose calls are to be taken back."""
        self._reports.finding(effect.warning)
        if effect.admission is not Admission.ACCEPTED:
            self._misdated.checkout(checkout, self._topics[Side.CHECKOUTS], self.partition)
        for chain in effect.bought_after_call:
            self._reports.purchase(checkout, chain)
        return [chain.start for chain in effect.bought_before_settled]

    def _take_unreadable(self, side: Side, message: Message, error: DecodeError, now: int) -> Sequence[int]:
        """Returns the starts of the chains whose calls are to be taken back: it may be their purchase."""
        offset, waiting = message.offset() or 0, list[Chain]()
        if side is Side.OFFERS:
            dead = self.task.unreadable_offer(offset)
        else:
            sessions = sessions_of(message, error)
            dead, waiting = self.task.unreadable_checkout(offset, sessions, message.timestamp()[1], now)
        if dead and not self._mode.dead_letters(side, self.partition, offset, message.timestamp()[1]):
            self.task.acknowledged(offset, side)
        elif dead:
            settle = partial(self.task.acknowledged, offset, side)
            limit = self._bad_records[side]
            on_ack = partial(limit.acknowledged, limit.read, self.partition, settle)
            self._dead_letter(side, message, error.reason, str(error), on_ack)
        if dead or side is Side.CHECKOUTS:
            # Checkouts are counted when they are read again too: with a wrong schema, all of them are unreadable.
            self._bad_records[side].bad(str(error), self.partition)
        return [chain.start for chain in waiting]

    def _on_partition_end(self, side: Side, offset: int) -> None:
        stop = self.task.read_before_restart(side)
        if self.task.restoring and offset < stop:
            raise TruncatedLogError(
                f"{self._topics[side]}[{self.partition}] ends at {offset}, but was read up to {stop} before: it was "
                "truncated or re-created. Find out what is gone; `opt-out positions --accept` says what that costs."
            )
        if side is Side.CHECKOUTS and offset < self.first_calls.checkouts_end:
            raise TruncatedLogError(
                f"{self._topics[side]}[{self.partition}] ends at {offset}, and ended at "
                f"{self.first_calls.checkouts_end} when the task began: it was truncated or re-created since. Start "
                "again: `opt-out positions` says where that would go on, and what is gone of what was read."
            )
        self.task.read_to(side, offset)

    def _take_not_admitted(
        self, admission: Admission, message: Message, shown: Sequence[OfferPresented], now: int
    ) -> None:
        event, offset = shown[0], message.offset() or 0
        if admission is Admission.SETTLED:
            return
        may_join = admission is not Admission.IMPLAUSIBLE
        if not (shown := [one for one in shown if self._mode.gives_up(self.partition, one, may_join=may_join)]):
            self.task.give_up(offset, admission)
            self.task.acknowledged(offset)
            return
        if admission is not Admission.CUT_OFF and self.late_run.keeps(offset):
            self._bad_records[Side.OFFERS].read -= 1  # it will be
            self.late_run.keep(message, now)
            return
        self.task.give_up(offset, admission)
        reason, why = NOT_ADMITTED[admission]
        if admission is Admission.IMPLAUSIBLE:
            seems = self._misdated.offer(event, message.timestamp()[1], self._topics[Side.OFFERS], self.partition)
            why += f"; it seems to be {seems}"
        told = f"presented_at {event.presented_at}: {why}"
        self._dead_letter(Side.OFFERS, message, reason.value.lower(), told, partial(self.task.acknowledged, offset))
        for one in shown:
            self._outcomes.not_admitted(one, reason, why)

    def _dead_letter(self, side: Side, message: Message, reason: str, error: str, on_ack: Callable[[], None]) -> None:
        record = Record.of(message)
        self._reports.dead_letter(side, record, reason, error, self.task.watermark)
        self._outputs.dead_letter(record, reason=reason, error=error, on_ack=on_ack)

    # --- decisions and their fates

    def decide(self, *, suspended: bool = False, at_once: bool = True, most: int = MAX_TIME) -> list[OptOutCall]:
        """Decide what is due. What is settled at once is written; the calls to be made are returned.

        `suspended`, `most`: see `Task.decide`. `at_once`: no offer is read before something is called.
        """
        due = self.task.decide(suspended=suspended, most=most)
        now = int(self._wall() * 1000) if due else 0  # one number in memory for all of them: a million may wait
        for chain in due:
            if not self._mode.settles(self.partition, chain):
                self.task.settle(chain, called=False)
                continue
            self._counts.decisions[chain.reason] += 1
            chain.decided_at = chain.decide_at if chain.decide_at <= self._decided_before else now
            if (fate := fate_without_call(chain, call_abandoned=self.task.calls_abandoned)) is None:
                self.first_calls.keep(chain)
            else:
                self._outcomes.not_called(chain, fate)
                self.task.settle(chain)
        # Where neither input is read on before something is called, waiting for the checkouts would be for ever.
        stands = (at_once or self.late_run.suspended or self._mode.is_bounded) and self._ahead() is Side.CHECKOUTS
        calls = self._take_first_calls(stands)
        self.outstanding += len(calls)
        return calls

    def _take_first_calls(self, at_once: bool) -> list[OptOutCall]:
        """Those to be made now, of what is decided to be called; what may not be called any more is settled."""
        held, notes = self.waiting.withhold_calls or not (at_once or self.first_calls.may_leave), self._releases.notes
        only_fresh = held and notes is self._notes_seen
        self._notes_seen = notes
        to_call: list[Chain] = []
        for chain in self.first_calls.take(only_fresh=only_fresh):
            if chain.is_withheld:
                self._settle_withheld(chain, self.first_calls.with_former_tries(chain))
            elif (note := self._releases.note_of(chain)) is not None:
                self._release(chain, note, self.first_calls.with_former_tries(chain))
            else:
                to_call.append(chain)
        if held:
            self.first_calls.keep_on(to_call)
            return []
        return [call_of(chain, self, self._topics[Side.OFFERS], self.partition) for chain in to_call]

    def withholds(self, call: OptOutCall) -> Withheld | None:
        """See `CallOwner`. Asked on another thread: it reads flags and looks up keys, which needs no lock."""
        if self.draining or self._closed or self.task.pending_chain(call.chain_start).is_withheld:
            return Withheld()
        note = self._releases.note_of(call)
        return Withheld(released=note) if note is not None or self.waiting.withhold_calls else None

    def on_result(self, result: CallResult) -> None:
        """A call was settled, is to be dead-lettered, or was given up: its offer is let go, its task is draining, or
        checkouts wait for a schema, until which it is put off.

        After the partition is gone the outcome of a call that was settled is written all the same, since the call was
        made; nothing is committed. What was not settled is left to whoever reads on.
        """
        chain = self.task.pending_chain(result.call.chain_start)
        result = self.first_calls.with_former_tries(chain, result) or result
        withheld = chain.is_withheld and not self._closed
        if result.outcome is Outcome.DEAD_LETTERED and not (self._closed or withheld):
            self._record_reader.ask(result.call.source, partial(self.on_record_fetched, result))
            return
        self.outstanding -= 1
        if withheld and result.outcome not in {Outcome.OPTED_OUT, Outcome.NOT_FOUND}:
            self._settle_withheld(chain, result)
        elif result.outcome is Outcome.RELEASED:
            if not self._closed:
                self._release(chain, result.note, result)
        elif result.outcome in {Outcome.OPTED_OUT, Outcome.NOT_FOUND}:
            self._outcomes.called(chain, result.outcome, result)
            if chain.bought_by is not None:
                self._reports.purchase(chain.bought_by, chain)
            if not self._closed:
                self.task.settle(chain)
        elif not (self.draining or self._closed):
            self.first_calls.note_tries(chain, result)
            self.first_calls.keep(chain)

    def on_record_fetched(self, result: CallResult, record: Record | None) -> OptOutCall | None:
        """The record of a refused call was read again: it is dead-lettered, and settled once that is acknowledged.

        Returns:
            The call, to be made again for as long as it is refused, where the record is gone: there is nothing to
            dead-letter, and an offer that is in no topic any more must not be let go by itself.
        """
        chain = self.task.pending_chain(result.call.chain_start)
        if chain.is_withheld and not self._closed:
            self.outstanding -= 1
            self._settle_withheld(chain, result)
            return None
        if record is not None and not is_same(self._codec, record, chain.last):
            record = None
        note = self._releases.note_of(chain) if record is None else None
        if record is None and note is None and not (self.draining or self._closed):
            self._reports.record_gone(chain, self._topics[Side.OFFERS], result)
            self.first_calls.note_tries(chain, result)
            return result.call
        self.outstanding -= 1
        if self._closed:
            return None
        if note is not None:
            self._release(chain, note, result)
        elif record is not None:
            on_ack = partial(self._acknowledged, chain, told=result.maybe_recorded)
            error = refused_in_words(chain, result)
            self._reports.dead_letter(Side.OFFERS, record, "rejected", error, self.task.watermark, chain)
            self._outputs.dead_letter(record, reason="rejected", error=error, on_ack=on_ack)
            self._outcomes.called(chain, Outcome.DEAD_LETTERED, result)
        return None

    def close(self) -> None:
        """The partition is gone: from now on nothing that comes back may change what is committed."""
        self._closed = True
        self.waiting.close()

    def _release(self, chain: Chain, note: str | None, result: CallResult | None = None) -> None:
        told = result is not None and result.maybe_recorded
        self._reports.released(chain, note, result)
        self._outcomes.released(chain, note, result)
        self.task.settle(chain, called=told)

    def _acknowledged(self, chain: Chain, *, told: bool) -> None:
        if not self._closed:
            self.task.settle(chain, called=told)

    def _settle_withheld(self, chain: Chain, result: CallResult | None = None) -> None:
        told = result is not None and result.maybe_recorded
        if chain.bought_by is None:
            self._outcomes.quarantined(chain, result)
        else:
            if told:
                self._reports.purchase(chain.bought_by, chain)
            if chain.bought_by.completed_at < chain.begin:
                self._misdated.checkout(chain.bought_by, self._topics[Side.CHECKOUTS], self.partition, chain.begin)
            self._outcomes.bought(chain, chain.bought_by, result)
        self.task.settle(chain, called=told)
