"""A task: partition p of both topics together, the unit of state, watermark and recovery.

The log is the state. A task starts from what was committed, reads again what had been read without deciding anything,
and tells by that what was settled before (see `restore`). From then on it runs. Everything here is a function of the
records, of the answers and of the clock that it is told; it does no input or output.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from ..events import CheckoutCompleted, OfferPresented
from .admission import Admission, CheckoutEffect, effect_of
from .chain import Chain
from .checkpoint import METADATA_LIMIT, CheckoutCheckpoint, OfferCheckpoint, Position, rules_key, unit_of
from .commits import CommitPlan, CommitPlanner
from .due import DueChains
from .guards import TaskGuard
from .horizon import Horizon
from .join import Join, Undated
from .offsets import CheckoutOffsets, EarliestFrom, OfferOffsets
from .pending import PendingChains
from .provenance import NOT_KNOWN, Provenance, date_step
from .restore import Restore
from .rules import MAX_TIME, MIN_TIME, YEAR_2000, DecisionRules, is_before_kafka
from .watermark import InputWatermark, Side, Watermarks, possible_times


class Task:
    """One task's state. Not thread-safe: one thread owns it.

    Args:
        rules: as set now. What was settled before the restart is told by the rules of then, which are in the metadata.
        partitions: how many partitions each of the two topics has.
        offers, checkouts: where to start reading, with what was committed there.
        horizon: the time (ms) below which checkouts may have been forgotten, for a start without metadata. None if the
            checkout partition still has its first offset and is read from there. MAX_TIME if it has not: it is then
            learnt from the first records whose dates are plausible; see `horizon`.
        metadata_limit: characters of metadata the broker takes.
        provenance: whose the commits are that are made from here on.
        each: see `OfferCheckpoint`. The offsets that a task is asked for, or told, are of records all the same.

    Raises PartitionsMoved: the committed metadata belongs to another number of partitions.

    Attributes:
        restore_warnings: what was odd about what was committed, in words, for the log.
        watermarks, guard: of its inputs, and what the guards go by.
        due: tells whether more is due than was decided.
        decided_to: D (ms): what is due by then is decided. It is below W while decisions are suspended or more is due.
        calls_abandoned: whether an abandoned offer is called, or settled as IGNORED.
        repeats_skipped: chains that were found called before the restart, and so are not called again.
    """

    def __init__(
        self,
        rules: DecisionRules,
        *,
        partitions: int,
        offers: Position,
        checkouts: Position,
        horizon: int | None = None,
        metadata_limit: int = METADATA_LIMIT,
        provenance: Provenance = NOT_KNOWN,
        each: str = "",
    ) -> None:
        self._rules, self._provenance, self._partitions = rules, provenance, partitions
        self._each, self._unit = each, unit_of(each)
        self._late_after, self._lookback = rules.late_after, rules.lookback
        found = Restore(rules, partitions, offers, checkouts, horizon, each)
        self.restore_warnings = found.warnings
        self.calls_abandoned, self.repeats_skipped = rules.call_abandoned, 0
        self._found: Restore | None = found
        self._told, self._until = False, found.until
        self._horizon = Horizon(found.checkouts.horizon, rules, found.offers.lost_below)
        self.decided_to, self._lost_below = found.offers.decided_to, found.offers.lost_below
        self._refused = found.refused

        remembered = found.checkouts.guard
        self._join = Join(found.rules_then, found.offers.chain_splits)
        self.watermarks = Watermarks(rules, remembered.first_offer, remembered.newest_checkout)
        self._inputs = self.watermarks.offers, self.watermarks.checkouts  # one look-up less for every record
        self.guard = TaskGuard(self.watermarks, self._knows, remembered, rules)
        # As the count itself, of the checkout partition's commit: the offers' may be a later one.
        self._counted_below, self._counted_to = found.checkouts.next_offset, remembered.judged_to
        self._offers, self._checkouts = OfferOffsets(offers.offset, self._unit), CheckoutOffsets(checkouts.offset)
        self.due, self._earliest, self._pending = DueChains(self._join), EarliestFrom(), PendingChains(rules)
        self._planner = CommitPlanner(rules, offers.offset, found.offers.decided_to, metadata_limit)
        self._unacknowledged_checkouts, self._listed = set[int](), list[Chain]()
        self._restore_if_read()

    # --- records in

    def offer(
        self, event: OfferPresented, timestamp: int, now: int, others: Sequence[OfferPresented] = ()
    ) -> Admission:
        """A presentation was read. `timestamp` is the record's, `now` the wall clock (ms). The `others` of its record
        have the same time, so that all are admitted or none. What is not admitted is to be given up (`give_up`)."""
        offset, presented_at = event.offset if self._unit == 1 else event.record_offset, event.presented_at
        admission = Admission.ACCEPTED
        # `is_before_kafka` spelt out, for every offer.
        plausible = not now >= YEAR_2000 > presented_at and self._inputs[0].observe(presented_at, timestamp, now)
        if self._found is not None and offset < self._until[0]:
            plausible = self._found.believes(event, timestamp, now)
            admission = self._found.admission(event, self._horizon.value, plausible=plausible)
        elif not plausible:
            admission = Admission.IMPLAUSIBLE
        elif self._is_late(presented_at):
            admission = Admission.LATE if self._is_behind(presented_at) else Admission.CUT_OFF
        if admission is Admission.ACCEPTED:
            self._offers.read(offset, 1 + len(others))
            self._earliest.add(offset, presented_at)
            for checkout in self._join.present(event):
                self._checkouts.keep(checkout.offset, presented_at)
            for other in others:
                for checkout in self._join.present(other):
                    self._checkouts.keep(checkout.offset, presented_at)
        elif admission is Admission.SETTLED:
            self._offers.skip_to(offset + 1)
        if self._found is not None:
            self._restore_if_read()
        return admission

    def would_refuse(self, event: OfferPresented, timestamp: int, now: int) -> bool:
        """Whether `offer` would find it late or implausible if it were the next. Asking changes nothing."""
        at = event.presented_at
        plausible = InputWatermark(self._rules).observe(at, timestamp, now) and not is_before_kafka(at, now)
        return not plausible or self._is_behind(at)

    def give_up(self, offset: int, admission: Admission) -> None:
        """The record that was not admitted is to be dead-lettered, then `acknowledged`."""
        self._offers.read(offset)
        self._refused.add(offset, admission, self.watermark)
        self._restore_if_read()

    def checkout(self, event: CheckoutCompleted, timestamp: int, now: int) -> CheckoutEffect:
        """A checkout was read. It is never late; an implausibly dated one buys whatever it may have bought."""
        event.stamped_at = timestamp if timestamp >= 0 else event.completed_at
        side, newest, warning = self._inputs[1], self._inputs[1].newest, None
        # Written after what was read before it: so long it may be needed, whatever its date and stamp.
        before = side.read_to
        came = before if event.offset < self._until[1] else max(before, self.decided_to)
        written = max(before, min(timestamp, now))
        until = self._join.keep(event, max(came, written))
        plausible = side.observe(event.completed_at, timestamp, now)
        self.guard.checkout_dated(written, plausible=plausible)
        if side.read_to - before > self._lookback:  # behind such a gap, any before it may have been written as late
            self._join.keep_all(side.read_to, self._checkouts.keep)
        if side.newest > newest:
            self.guard.newer_checkout(newest)
        if not plausible:
            self._horizon.read_undated(timestamp, now)
        elif self._horizon.unknown:
            # The record's time tells where the log was cut; the first records left may hold old events.
            warning = self._horizon.read(max(event.completed_at, min(timestamp, now)), came, now)
        ahead = not plausible and not self._rules.is_far_behind(event.completed_at, event.stamped_at)
        until = max(until, self._join.complete(event, now, ahead=ahead))
        if not plausible or event.completed_at < self.decided_to:  # else it makes nothing that was decided due sooner
            self._pending.completed(event.session_id, event.completed_at if plausible else None)
        after_call, before_settled = list[Chain](), list[Chain]()
        named = self._join.named_before(event)
        # Read again, and judged before, its offers may be settled and gone.
        counted = event.offset < self._counted_below and event.completed_at <= self._counted_to
        for offer_id in event.purchased:
            if event.offset >= self._until[1]:  # else it was reported then
                waiting, told = self._pending.bought(event, offer_id)
                before_settled += waiting
                after_call += told
            if plausible and not counted and offer_id not in named:
                self.guard.ids.purchased(event.session_id, offer_id, event.completed_at)
        self._checkouts.read(event.offset, max([until, *(chain.last.presented_at for chain in before_settled)]))
        if self._found is not None:
            self._restore_if_read()
        return effect_of(plausible, after_call, before_settled, warning)

    def unreadable_offer(self, offset: int) -> bool:
        """An undecodable presentation was read. True: it is to be dead-lettered, then `acknowledged`."""
        if settled := self._found is not None and self._found.was_dead_lettered(offset):
            self._offers.skip_to(offset + 1)
        else:
            self._offers.read(offset)
            self._refused.add(offset)
        self._restore_if_read()
        return not settled

    def unreadable_checkout(
        self, offset: int, sessions: tuple[str, ...], timestamp: int, now: int
    ) -> tuple[bool, list[Chain]]:
        """An unreadable checkout was read: it quarantines each session that its key or its value names.

        Args:
            offset, timestamp: the record's (ms); `now` is the wall clock (ms).
            sessions: those that it may be of.

        Returns:
            Whether it is to be dead-lettered, then `acknowledged`. And the chains that wait for their calls, which are
            not to be made, as far as they are not made yet: it may be their purchase. Each is told once.
        """
        between = possible_times(self._rules, timestamp, MAX_TIME, now)
        self._checkouts.read(offset, between[1])
        self._horizon.read_undated(timestamp, now)
        for session_id in sessions:
            self._join.complete_undated(Undated(session_id, *between))
        waiting = [chain for session_id in sessions for chain in self._pending.quarantine(session_id, between[1])]
        if is_new := offset >= self._until[1]:
            self._unacknowledged_checkouts.add(offset)
        self._restore_if_read()
        return is_new, waiting

    def read_to(self, side: Side, offset: int) -> None:
        """Everything below `offset` was read, by its end, which steps over transaction markers, or by a tombstone."""
        (self._offers if side is Side.OFFERS else self._checkouts).skip_to(offset)
        self._restore_if_read()

    def idle(self, side: Side, asked_at: int) -> str | None:
        """The input was read to its end, and its end was asked for at `asked_at` (wall clock, ms). Returns what was
        found out about the start of the task by it, in words, for the log."""
        before = self._inputs[side].read_to
        self._inputs[side].idle(asked_at)
        if side is Side.CHECKOUTS and asked_at - before > self._lookback:
            self._join.keep_all(asked_at, self._checkouts.keep)
        if side is Side.OFFERS or not self._horizon.unknown:
            return None
        warning = self._horizon.idle(asked_at)
        self._restore_if_read()
        return warning

    # --- how far it has come

    @property
    def restoring(self) -> bool:
        """Reading again what had been read before the restart: nothing is decided, nothing is committed."""
        return self._found is not None

    def restore_until(self, side: Side) -> int | None:
        """While restoring: the offset at which to stop applying records. That of the checkouts may rise once."""
        if self._found is None:
            return None
        if self._horizon.unknown:  # it takes the first checkouts to judge an offer
            return None if side is Side.CHECKOUTS else self._offers.next_offset
        if side is Side.CHECKOUTS and not self._told:
            return self._found.offers.next_checkout
        return self._until[side]

    def read_before_restart(self, side: Side) -> int:
        """The first offset that had not been read before the restart, by what is committed with either partition."""
        return self._until[side]

    @property
    def watermark(self) -> int:
        """W (ms): no on-time event with a time <= W is still to come. MIN_TIME while nothing is known."""
        return max(self.decided_to, self.watermarks.lower)

    def next_offset(self, side: Side) -> int:
        """The first offset that has not been applied."""
        return (self._offers if side is Side.OFFERS else self._checkouts).next_offset

    @property
    def sessions(self) -> int:
        """How many sessions are in memory: with an open offer, or with a checkout that one may still need."""
        return self._join.sessions

    @property
    def kept_checkouts(self) -> int:
        """How many checkouts are in memory, and how many purchased ids that the guards have not judged yet."""
        return self._join.checkouts + self.guard.ids.waiting

    @property
    def undecided(self) -> int:
        """How many presentations are read and undecided."""
        return self._join.presentations

    @property
    def unsettled(self) -> int:
        """How many chains are decided and not settled."""
        return len(self._pending.by_start)

    def open_offers(self) -> Iterator[OfferPresented]:
        """Of each offer that is read and undecided the last presentation of its first chain, and of its last one."""
        return self._join.open_offers()

    def unsettled_chains(self) -> Collection[Chain]:
        """The chains that are decided and not settled."""
        return self._pending.unsettled()

    def oldest_unsettled(self) -> Chain | None:
        """The chain, decided and not settled, that begins first in the log."""
        return self._pending.oldest()

    def pending_chain(self, start: int) -> Chain:
        """The chain, decided and not settled, whose `start` this is. Raises KeyError: there is none, or no longer."""
        return self._pending.by_start[start]

    # --- chains out

    def decide(self, *, suspended: bool = False, most: int = MAX_TIME) -> list[Chain]:
        """The chains that are due at the present watermark, in order of decide_at. Each is to be settled.

        First come those decided before the restart and not settled, once. While decisions are `suspended` they alone.
        `most`: of more the first, see `DueChains`. The rest comes with the next calls.
        """
        if self.restoring:
            self.due.skip()
            return []
        due, self._listed = self._listed, []
        watermark = self.watermark
        until = min(watermark, self.guard.decides_to)
        # Held by a gap, what a checkout that lands makes due in what was decided before waits for the others too.
        if not suspended and (until > self.decided_to or self.guard.decides_to == MAX_TIME):
            for chain in self.due.take(until, most):
                self._pending.add(chain, late_decided=chain.decide_at <= self.decided_to)
                due.append(chain)
            self.decided_to = max(self.decided_to, self.due.taken_to)
        else:
            self.due.skip()
        # What still comes was presented at most window + checkout_grace ago and looks back by lookback; by one lookback
        # more the guards know a purchase that is told twice. What is open keeps what it needs, however long.
        # Not before the inputs are read again to where they had been: what comes may tell that one is misdated.
        if self.watermarks.lower >= self.decided_to:
            self._join.forget(watermark - self._late_after - 2 * self._lookback)
        self._pending.forget(watermark)
        return due

    def settle(self, chain: Chain, *, called: bool = True) -> None:
        """Nothing more will be done for the chain, its outcome is handed over. `called`: the insurer was told of it."""
        if self._pending.settle(chain, called=called):
            self._settle_offsets(chain)

    def acknowledged(self, offset: int, side: Side = Side.OFFERS) -> None:
        """The dead letter of the record at `offset` is written."""
        if side is Side.OFFERS:
            self._refused.acknowledged(offset)
            self._offers.settle(offset * self._unit)
        else:
            self._unacknowledged_checkouts.discard(offset)

    # --- commits

    def prepare_commit(self, now: int = MIN_TIME, trusted_since: int = MIN_TIME) -> CommitPlan | None:
        """What may be committed `now`, while idleness is trusted since then (wall clock, ms; MIN_TIME: not said).

        To be called when every outcome handed to the producer is acknowledged. None while restoring, while a checkout's
        dead letter is not acknowledged, or where nothing better than the last commit can be said.
        """
        if self.restoring or self._unacknowledged_checkouts:
            return None
        whole = OfferCheckpoint(
            rules_key(self._rules),
            self._partitions,
            # A chain that became due behind the last decision is neither settled nor listed: this stays below it.
            min(self.decided_to, self._join.earliest_due(self.decided_to) - 1),
            self._offers.next_offset,
            self._checkouts.next_offset,
            splits=frozenset(self._pending.chain_starts) | self._join.open_splits() | self._refused.unreadable(),
            dead=self._refused.dead(),
            late_below=self._horizon.late_below,
            provenance=self._provenance.at(now, date_step(self._rules.lateness)),
            trusted_since=trusted_since,
            lost_below=self._lost_below,
            each=self._each,
        )
        fitted = self._planner.prepare(
            whole, self._offers.lowest_open(), self._pending, self._refused, self._join.doubted()
        )
        if fitted is None:
            return None
        decided_to = self.decided_to if self.watermarks.lower >= self.decided_to else MIN_TIME  # see `decide`
        retain_from = self._planner.retain_from(decided_to, self._earliest.at(self._planner.committed))
        checkouts = CheckoutCheckpoint(
            self._partitions,
            self._checkouts.next_offset,
            max(self._horizon.value, retain_from),
            self.guard.state(),
            self._lookback,
        )
        return CommitPlan.of(*fitted, self._checkouts.lowest_retained(retain_from), checkouts, retain_from)

    def commit_acknowledged(self, plan: CommitPlan) -> None:
        """The broker acknowledged the plan, for both partitions."""
        self._planner.acknowledged(plan)
        committed = self._planner.committed
        self._horizon.value = max(self._horizon.value, plan.retain_from)
        self._refused.forget(committed)
        self._join.forget_splits(committed * self._unit)

    def lower_metadata_limit(self) -> int:
        """Plan with half of the room from now on, since the broker takes no more. Returns the new limit, characters."""
        return self._planner.lower_metadata_limit()

    # --- inside

    def _knows(self, session_id: str, offer_id: str) -> bool:
        return self._pending.knows(session_id, offer_id) or self._join.has_open(session_id, offer_id)

    def _is_late(self, presented_at: int) -> bool:
        offers, checkouts = self._inputs[0].value, self._inputs[1].value  # `watermark` spelt out, for every offer
        watermark = offers if offers < checkouts else checkouts
        if watermark < self.decided_to:  # noqa: PLR1730 - max() costs a call
            watermark = self.decided_to
        return presented_at < watermark - self._late_after or presented_at - self._lookback < self._horizon.value

    def _is_behind(self, presented_at: int) -> bool:
        return presented_at < self.watermark - self._late_after

    def _restore_if_read(self) -> None:
        """Take the two steps of restoring, each once all that it rests on is read again; see `restore`."""
        found = self._found
        if found is None or self._horizon.unknown or self._offers.next_offset < self._until[0]:
            return
        if not self._told and self._checkouts.next_offset >= found.offers.next_checkout:
            self._told = True
            self.guard.ids.judge(found.offers.decided_to)  # before what is settled makes offers unknown
            for chain in found.tell_settled(self._join):
                if found.spans_changed:
                    self._planner.settled_by_other_spans(chain)
                self._pending.add_settled(chain)
                self.repeats_skipped += chain.told
                self._settle_offsets(chain)
            if found.spans_changed:  # by a shorter lookback, others are dated too far behind what stands beside them
                self._join.keep_all(self._inputs[1].read_to, self._checkouts.keep)
        if self._told and self._checkouts.next_offset >= self._until[1]:
            self._found = None
            self._listed = found.tell_listed(self._join)
            for chain in self._listed:
                self._pending.add(chain, late_decided=False)

    def _settle_offsets(self, chain: Chain) -> None:
        for presentation in chain.presentations:
            self._offers.settle(presentation.offset)
        self._planner.settled(chain)
