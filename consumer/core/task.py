"""A task: partition p of both topics together, the unit of state, watermark and recovery.

The log is the state. A task starts from what was committed, reads again what had been read (up to P and Pc) without
deciding anything, then sets its watermark to the committed D and decides once: what is due and not listed as
unsettled was settled before. From then on it runs. Everything here is a function of the records, of the answers
that it is told of, and of the clock that it is told; it does no input or output.

The phases, and the one transition between them:

    created ──> RESTORING ──> RUNNING ──> dropped
                    └────────────────────────^

    RESTORING  `restore_until` says how far each input may be applied. Nothing is decided: `decide` and `listed` are
               empty. Nothing is committed: `prepare_commit` is None.
    RUNNING    from the record or partition end by which both inputs have reached `read_before`. It never goes back.

A task without a commit behind it has nothing to restore and is RUNNING when it is created. Whoever owns it drops it
in either phase, when its partitions are revoked or lost.

The list was made with the checkouts below the Pc that stands beside it, and is read with these alone. A late checkout
behind them may make an offer due by D that was not due when the list was made: not listed, and not settled. If the
checkout partition's Pc is higher, since the broker took a later commit for that partition only, the checkouts up to it
are read next, and only then is anything called: the purchase of a listed offer may be among them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from typing import NamedTuple

from ..events import CheckoutCompleted, OfferPresented, Reason
from .checkpoint import METADATA_LIMIT, CheckoutCheckpoint, GuardState, OfferCheckpoint, UnreadableMetadata, rules_key
from .commits import SettledSpans, fit
from .expiry import Expiry
from .join import Chain, Join, Undated
from .matching import Matching
from .offsets import CheckoutOffsets, EarliestFrom, OfferOffsets
from .rules import MAX_TIME, MIN_TIME, DecisionRules
from .watermark import InputWatermark

LEAST_METADATA = 200
"""Characters that metadata without any list fit into."""


class Side(IntEnum):
    """The two inputs of a task."""

    OFFERS = 0
    CHECKOUTS = 1


class Phase(Enum):
    """Where a task is in its life; see the diagram at the head of the module."""

    RESTORING = auto()
    RUNNING = auto()


class Admission(Enum):
    """What becomes of a record.

    ACCEPTED: it joined. LATE, IMPLAUSIBLE: the caller writes it to the dead-letter topic, then calls `acknowledged`;
    but an IMPLAUSIBLE checkout joined nonetheless. SETTLED: it was dead-lettered before the restart; nothing is to be
    done.
    """

    ACCEPTED = auto()
    LATE = auto()
    IMPLAUSIBLE = auto()
    SETTLED = auto()


class CheckoutEffect(NamedTuple):
    """What a checkout that was read brought about.

    Attributes:
        admission: ACCEPTED or IMPLAUSIBLE; it joined either way.
        bought_after_call: chains that it names, which were called before and whose call cannot be taken back.
        bought_before_settled: chains that it bought after they were decided and before they are settled: their calls
            are to be taken back, as far as they are not made yet.
        warning: what was found out about the start of the task by it, in words, for the log.
    """

    admission: Admission
    bought_after_call: tuple[Chain, ...] = ()
    bought_before_settled: tuple[Chain, ...] = ()
    warning: str | None = None


JOINED = CheckoutEffect(Admission.ACCEPTED)
"""The usual effect, shared by all checkouts that did nothing but join."""


@dataclass(frozen=True, slots=True)
class Position:
    """An offset as committed: the first to read, and the metadata with it."""

    offset: int
    metadata: str = ""


@dataclass(frozen=True, slots=True)
class CommitPlan:
    """What may be committed, both partitions together. `hold` and `decided_to` are what it rests on (ms)."""

    offers: Position
    checkouts: Position
    hold: int
    decided_to: int


class PartitionsMoved(ValueError):  # noqa: N818 - the edge turns it into an error of its own
    """What was committed belongs to another number of partitions: keys have moved between tasks."""


class Task:
    """One task's state. Not thread-safe: one thread owns it.

    Args:
        rules: as set now. What was settled before the restart is told by the rules of then, which are in the
        metadata. partitions: how many partitions each of the two topics has. offers, checkouts: where to start
        reading, with what was committed there. horizon: H for a start without metadata: None if the checkout
        partition still has its first offset and is
            read from there; MAX_TIME if it has not, H is then learnt from the first record whose date is plausible
            (its time + lateness).
        metadata_limit: characters of metadata the broker takes.

    Raises:
        PartitionsMoved: the committed metadata belongs to another number of partitions.

    Attributes:
        restore_warnings: what was odd about what was committed, in words, for the log.
        unmatched: purchased ids in a row that named no offer, for the guards, who set it to 0.
        resume_at: kept here for the guards, and committed (`checkpoint.GuardState`).
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
    ) -> None:
        self._rules = rules
        self._late_after, self._lookback = rules.late_after, rules.lookback
        self._partitions = partitions
        self._metadata_limit = metadata_limit
        warnings: list[str] = []
        found = self._read_offer_checkpoint(offers, warnings)
        found_checkouts = self._read_checkout_checkpoint(checkouts, horizon, warnings)
        self.restore_warnings = tuple(warnings)
        self._found: OfferCheckpoint | None = found
        self._until = (found.next_offset, max(found.next_checkout, found_checkouts.next_offset))
        self._horizon = found_checkouts.horizon
        self._decided_to = found.decided_to
        self._committed = self._planned = offers.offset
        self._least_decided_to = found.decided_to
        self._dead = set(found.dead)

        window, grace, lookback, call_abandoned = found.rules
        then = DecisionRules(window, grace, lookback, rules.lateness, rules.max_skew, call_abandoned)
        self._join = Join(then, found.splits)
        guard = found_checkouts.guard
        self.resume_at = guard.resume_at
        self._inputs = (
            InputWatermark(rules, first=guard.first_offer),
            InputWatermark(rules, newest=guard.newest_checkout),
        )
        self._matching = Matching(self._knows, guard.unmatched, guard.judged_to)
        # As the count itself, of the checkout partition's commit: the offers' Pc and D may be of a later one.
        self._counted_below, self._counted_to = found_checkouts.next_offset, guard.judged_to
        self._offers = OfferOffsets(offers.offset)
        self._checkouts = CheckoutOffsets(checkouts.offset)
        self._earliest = EarliestFrom()
        self._pending: dict[int, Chain] = {}
        self._stragglers: dict[int, Chain] = {}
        self._splits: set[int] = set()
        self._spans = SettledSpans()
        self._unacknowledged: set[int] = set()
        self._unacknowledged_checkouts: set[int] = set()
        self._called: dict[tuple[str, str], Chain] = {}
        self._called_until: Expiry[Chain] = Expiry()
        self._due: list[Chain] = []
        self._ahead: Side | None = None
        self._tell_settled_if_read()

    # --- what comes in

    def offer(self, event: OfferPresented, timestamp: int, now: int) -> Admission:
        """A presentation was read. `timestamp` is the record's, `now` the wall clock (ms)."""
        offset, presented_at = event.offset, event.presented_at
        verdict = Admission.ACCEPTED
        if offset < self._until[0]:
            verdict = self._judge_again(event, timestamp, now)
            self._inputs[0].observe(presented_at, timestamp, now)
        elif not self._inputs[0].observe(presented_at, timestamp, now):
            verdict = Admission.IMPLAUSIBLE
            self._dead.add(offset)
        elif self._is_late(presented_at):
            verdict = Admission.LATE
        if verdict is Admission.SETTLED:
            self._offers.skip_to(offset + 1)
        else:
            self._offers.read(offset)
            if verdict is Admission.ACCEPTED:
                self._earliest.add(offset, presented_at)
                self._join.present(event)
            else:
                self._unacknowledged.add(offset)
        if self._found is not None:
            self._tell_settled_if_read()
        return verdict

    def checkout(self, event: CheckoutCompleted, timestamp: int, now: int) -> CheckoutEffect:
        """A checkout was read. It is never late; an implausibly dated one buys whatever it may have bought."""
        warning = None
        plausible = self._inputs[1].observe(event.completed_at, timestamp, now)
        if self._horizon == MAX_TIME and plausible:
            # The record's time tells where the log was cut; the first record left may hold an old event.
            self._horizon = max(event.completed_at, min(timestamp, now)) + self._rules.lateness
            warning = (
                "the checkout log no longer begins at its first record: offers presented before "
                f"{self._horizon + self._rules.lookback} (ms) may have been bought by one that is gone: dead-lettered"
            )
        between = event.completed_at, event.completed_at
        if plausible:
            self._checkouts.read(event.offset, event.completed_at)
            self._join.complete(event)
        else:
            between = self._between(timestamp, event.completed_at, now)
            self._checkouts.read(event.offset, between[1])
            self._join.complete_undated(Undated(event.session_id, *between, event))
        after_call: list[Chain] = []
        before_settled: list[Chain] = []
        read_before = event.offset < self._until[1]
        for offer_id in event.purchased:
            called = self._called.get((event.session_id, offer_id))
            if called is not None and not read_before:  # else it was reported then
                taken_back = self._taken_back(between, called)
                before_settled += taken_back
                if not taken_back:
                    after_call.append(called)
            # Read again, and judged before, its offers may be settled and gone.
            counted = event.offset < self._counted_below and event.completed_at <= self._counted_to
            if plausible and not counted and not self._join.named_before(event, offer_id):
                self._matching.purchased(event.session_id, offer_id, event.completed_at)
        if self._found is not None:
            self._tell_settled_if_read()
        if plausible and warning is None and not after_call and not before_settled:
            return JOINED
        admission = Admission.ACCEPTED if plausible else Admission.IMPLAUSIBLE
        return CheckoutEffect(admission, tuple(after_call), tuple(before_settled), warning)

    def unreadable_offer(self, offset: int) -> bool:
        """An undecodable presentation was read. True: it is to be dead-lettered, then `acknowledged`."""
        found = self._found
        # Only what was known as dead is settled: what could be read before and cannot be now was not.
        settled = found is not None and offset in found.dead and offset not in found.unsettled
        if settled:
            self._offers.skip_to(offset + 1)
        else:
            self._offers.read(offset)
            self._unacknowledged.add(offset)
            self._dead.add(offset)
        self._tell_settled_if_read()
        return not settled

    def unreadable_checkout(self, offset: int, sessions: tuple[str, ...], timestamp: int, now: int) -> bool:
        """An unreadable checkout was read: it taints each session that its key or its value names.

        True: it is to be dead-lettered, then `acknowledged`. Times are those of the record and of the wall clock (ms).
        """
        settled = offset < self._until[1]
        between = self._between(timestamp, MAX_TIME, now)
        self._checkouts.read(offset, between[1])
        for session_id in sessions:
            self._join.complete_undated(Undated(session_id, *between))
        if not settled:
            self._unacknowledged_checkouts.add(offset)
        self._tell_settled_if_read()
        return not settled

    def skip(self, side: Side, offset: int) -> None:
        """A tombstone was read."""
        self.read_to(side, offset + 1)

    def read_to(self, side: Side, offset: int) -> None:
        """Everything below `offset` was read, by what the partition's end says; it steps over transaction markers."""
        (self._offers if side is Side.OFFERS else self._checkouts).skip_to(offset)
        self._tell_settled_if_read()

    def idle(self, side: Side, asked_at: int) -> str | None:
        """The input was read to its end, and its end was asked for at `asked_at` (wall clock, ms).

        Returns:
            What was found out about the start of the task by it, in words, for the log.
        """
        self._inputs[side].idle(asked_at)
        if side is Side.OFFERS or self._horizon != MAX_TIME:
            return None
        self._horizon = asked_at + self._rules.lateness
        self._tell_settled_if_read()
        return "the checkout log holds no record, and its first ones are gone"

    # --- how far it has come

    @property
    def phase(self) -> Phase:
        """Where the task is in its life; see the diagram at the head of the module."""
        return Phase.RESTORING if self.restoring else Phase.RUNNING

    @property
    def restoring(self) -> bool:
        """Reading again what had been read before the restart: nothing is decided, nothing is committed."""
        return self._found is not None or self._checkouts.next_offset < self._until[1]

    @property
    def calls_abandoned(self) -> bool:
        """Whether an abandoned offer is called, or settled as IGNORED."""
        return self._rules.call_abandoned

    @property
    def watermark(self) -> int:
        """W (ms): no on-time event with a time <= W is still to come. MIN_TIME while nothing is known."""
        return max(self._decided_to, min(self._inputs[0].value, self._inputs[1].value))

    @property
    def sessions(self) -> int:
        """How many sessions are in memory: with an open offer, or with a checkout that one may still need."""
        return self._join.sessions

    @property
    def undecided(self) -> int:
        """How many presentations are read and undecided."""
        return self._join.presentations

    @property
    def unsettled(self) -> int:
        """How many chains are decided and not settled."""
        return len(self._pending)

    def unsettled_chains(self) -> Collection[Chain]:
        """The chains that are decided and not settled."""
        return self._pending.values()

    def pending_chain(self, start: int) -> Chain:
        """The chain, decided and not settled, whose `start` this is.

        Raises:
            KeyError: there is none; it was settled, or was never decided here.
        """
        return self._pending[start]

    def oldest_unsettled(self) -> Chain | None:
        """The chain, decided and not settled, that begins first in the log."""
        return self._pending[min(self._pending)] if self._pending else None

    def next_offset(self, side: Side) -> int:
        """The first offset that has not been applied."""
        return (self._offers if side is Side.OFFERS else self._checkouts).next_offset

    def input_watermark(self, side: Side) -> int:
        """The watermark (ms) of one input."""
        return self._inputs[side].value

    # --- what the guards go by

    @property
    def first_offer(self) -> int:
        """Event time (ms) of the first presentation seen; MIN_TIME if none was."""
        return self._inputs[0].first

    @property
    def newest_offer(self) -> int:
        """Event time (ms) of the newest presentation seen; MIN_TIME if none was."""
        return self._inputs[0].newest

    @property
    def newest_checkout(self) -> int:
        """Event time (ms) of the newest checkout ever seen; MIN_TIME if none was."""
        return self._inputs[1].newest

    @property
    def checkouts_read_to(self) -> int:
        """How far in time (ms) the checkouts were read, by the newest of them or by the clock at their end."""
        return self._inputs[1].read_to

    @property
    def unmatched(self) -> int:
        """Purchased ids in a row that named no offer. The guards set it to 0."""
        return self._matching.run

    @unmatched.setter
    def unmatched(self, run: int) -> None:
        self._matching.run = run

    @property
    def last_unmatched(self) -> tuple[str, str] | None:
        """Session and purchased id that were counted last."""
        return self._matching.last

    def match_purchases(self) -> bool:
        """Count the purchased ids whose offers must have been read by now. True if one named an offer."""
        return not self.restoring and self._matching.judge(self.watermark)

    def restore_until(self, side: Side) -> int | None:
        """While rebuilding: the offset at which to stop applying records. That of the checkouts may rise once."""
        if not self.restoring:
            return None
        if self._horizon == MAX_TIME:  # it takes the first checkout to judge an offer
            return None if side is Side.CHECKOUTS else self._offers.next_offset
        if side is Side.CHECKOUTS and self._found is not None:
            return self._found.next_checkout
        return self._until[side]

    def read_before(self, side: Side) -> int:
        """The first offset that had not been read before the restart, by what is committed with either partition."""
        return self._until[side]

    def input_to_pause(self) -> Side | None:
        """The input to pause so that the other catches up, and memory stays bounded; never the one that holds W.

        It is paused at a window ahead and resumed at half of that: each pause costs what the client had fetched.
        """
        offers, checkouts = self._inputs[0].value, self._inputs[1].value
        window = self._rules.window
        if offers > checkouts + window:
            self._ahead = Side.OFFERS
        elif checkouts > offers + window:
            self._ahead = Side.CHECKOUTS
        elif 2 * abs(offers - checkouts) <= window:
            self._ahead = None
        return self._ahead

    # --- decisions and their fates

    def decide(self) -> list[Chain]:
        """The chains that are due at the present watermark, in order of decide_at. Each is to be settled."""
        if self.restoring:
            return []
        due = self.listed()
        watermark = self.watermark
        for chain in self._join.decide(watermark):
            self._enqueue(chain, straggler=chain.decide_at <= self._decided_to)
            due.append(chain)
        self._decided_to = watermark
        self._forget(watermark)
        return due

    def listed(self) -> list[Chain]:
        """The chains that were decided before the restart and are not settled, once. Each is to be settled."""
        if self.restoring:
            return []
        due, self._due = self._due, []
        return due

    def settle(self, chain: Chain, *, called: bool = True) -> None:
        """Nothing more will be done for the chain, and its outcome is handed to the producer.

        `called` False: the insurer was never told of it, so that a purchase that comes later is no surprise.
        """
        key = chain.start
        if self._pending.pop(key, None) is None:
            return
        self._stragglers.pop(key, None)
        self._splits.discard(key)
        if not called:
            self._forget_called(chain)
        self._close(chain)

    def acknowledged(self, offset: int, side: Side = Side.OFFERS) -> None:
        """The dead letter of the record at `offset` is written."""
        if side is Side.OFFERS:
            self._unacknowledged.discard(offset)
            self._offers.settle(offset)
        else:
            self._unacknowledged_checkouts.discard(offset)

    # --- commits

    def prepare_commit(self) -> CommitPlan | None:
        """What may be committed now. To be called when every outcome handed to the producer is acknowledged.

        None while rebuilding, while a checkout's dead letter is not acknowledged, or where nothing better than the
        last commit can be said.
        """
        if self.restoring or self._unacknowledged_checkouts:
            return None
        # A straggler that came after the last decision is neither settled nor listed: D stays below it.
        decided_to = min(self._decided_to, self._join.earliest_due(self._decided_to) - 1)
        lowest = max(self._offers.lowest_open(), self._committed)
        checkpoint = OfferCheckpoint(
            rules_key(self._rules),
            self._partitions,
            decided_to,
            self._offers.next_offset,
            self._checkouts.next_offset,
            splits=frozenset(self._splits) | self._join.open_splits(),
            dead=frozenset(self._dead),
            late_below=MIN_TIME if self._horizon == MIN_TIME else self._horizon + self._rules.lookback,
        )
        fitted = fit(
            checkpoint,
            lowest,
            pending=self._pending,
            stragglers=self._stragglers,
            unacknowledged=self._unacknowledged,
            spans=self._spans,
            floor=self._planned,
            limit=self._metadata_limit,
        )
        if fitted is None or fitted[1].decided_to < self._least_decided_to:
            return None
        offset, checkpoint = fitted
        # Whether the broker takes it or not, and whether or not its answer arrives: commits never go back.
        self._planned = offset
        self._least_decided_to = max(self._least_decided_to, self._spans.least_decided_to(offset))
        hold = self._hold()
        checkouts = CheckoutCheckpoint(
            self._partitions,
            self._checkouts.next_offset,
            max(self._horizon, hold),
            GuardState(
                self.newest_checkout, self.first_offer, self.resume_at, self.unmatched, self._matching.judged_to
            ),
            self._rules.lookback,
        )
        held = self._checkouts.lowest_held(hold)
        return CommitPlan(
            Position(offset, checkpoint.encode(offset)),
            Position(held, checkouts.encode(held)),
            hold,
            checkpoint.decided_to,
        )

    def shorten_metadata(self) -> int:
        """Plan with half of the room from now on, since the broker takes no more. Returns the new limit, characters."""
        self._metadata_limit = max(LEAST_METADATA, self._metadata_limit // 2)
        return self._metadata_limit

    def commit_acknowledged(self, plan: CommitPlan) -> None:
        """The broker acknowledged the plan, for both partitions."""
        self._committed = plan.offers.offset
        self._horizon = max(self._horizon, plan.hold)
        self._spans.forget(self._committed, plan.decided_to)
        self._least_decided_to = max(self._least_decided_to, self._spans.least_decided_to(self._committed))
        self._dead = {offset for offset in self._dead if offset >= self._committed}
        self._join.forget_splits(self._committed)

    # --- inside

    def _knows(self, session_id: str, offer_id: str) -> bool:
        return (session_id, offer_id) in self._called or self._join.has_open(session_id, offer_id)

    def _taken_back(self, between: tuple[int, int], newest: Chain) -> list[Chain]:
        """Of `newest` and those called before it, the unsettled ones that a checkout between two times has bought."""
        taken_back: list[Chain] = []
        called: Chain | None = newest
        while called is not None:
            # As a restart would find it: the chain is listed, and decided anew with all that was read.
            in_time = between[1] >= called.begin - self._lookback and between[0] <= called.decide_at
            if in_time and self._is_unsettled(called):
                taken_back.append(called)
            called = called.called_before
        return taken_back

    def _between(self, timestamp: int, dated: int, now: int) -> tuple[int, int]:
        """The earliest and the latest time (ms) at which an event happened whose own date is not believed.

        On time, it came at most lateness before its record was stamped; a stamp that is missing or lies ahead of the
        clock tells nothing, and it may have happened at any time. It had happened when it was read, and is not older
        than it says: dates are wrong ahead. An old stamp is no upper bound, since that may be the wrong one of the two.
        """
        stamped = 0 <= timestamp <= now + self._rules.max_skew
        earliest = timestamp - self._rules.lateness if stamped else MIN_TIME
        return earliest, min(dated, now) + self._rules.max_skew

    def _read_offer_checkpoint(self, offers: Position, warnings: list[str]) -> OfferCheckpoint:
        found = None
        if offers.metadata:
            try:
                found = OfferCheckpoint.decode(offers.metadata, offers.offset)
            except UnreadableMetadata as error:
                warnings.append(f"{error}; calls since offset {offers.offset} are repeated")
        if found is None:
            return OfferCheckpoint(rules_key(self._rules), self._partitions, MIN_TIME, offers.offset, 0)
        self._check_partitions(found.partitions)
        if found.rules != rules_key(self._rules):
            warnings.append(
                "window, checkout_grace, lookback or abandoned differ from those of the last run: what was settled "
                f"by then stays settled by {found.rules}, the rest is decided by {rules_key(self._rules)}"
            )
        return found

    def _read_checkout_checkpoint(
        self, checkouts: Position, horizon: int | None, warnings: list[str]
    ) -> CheckoutCheckpoint:
        if checkouts.metadata:
            try:
                found = CheckoutCheckpoint.decode(checkouts.metadata, checkouts.offset)
            except UnreadableMetadata as error:
                warnings.append(str(error))
            else:
                self._check_partitions(found.partitions)
                return found
        return CheckoutCheckpoint(self._partitions, checkouts.offset, MIN_TIME if horizon is None else horizon)

    def _check_partitions(self, found: int) -> None:
        if found != self._partitions:
            raise PartitionsMoved(f"committed with {found} partitions, the topics now have {self._partitions}")

    def _judge_again(self, event: OfferPresented, timestamp: int, now: int) -> Admission:
        """A presentation from below P: what was found about it before the restart is found again."""
        found = self._found
        assert found is not None  # noqa: S101 - the caller has looked
        if event.offset in found.dead:
            return Admission.IMPLAUSIBLE if event.offset in found.unsettled else Admission.SETTLED
        believed = event.presented_at - self._rules.max_skew
        if believed > timestamp >= 0 or believed > now:
            return Admission.IMPLAUSIBLE  # and the list had no room to say that it was dead-lettered before
        if event.presented_at < found.late_below:
            return Admission.LATE if event.offset in found.unsettled else Admission.SETTLED
        if event.presented_at - self._rules.lookback < self._horizon:
            return Admission.LATE  # checkouts are gone that were there when it was read before
        return Admission.ACCEPTED

    def _is_late(self, presented_at: int) -> bool:
        # `watermark` spelt out: this runs for every offer.
        offers, checkouts = self._inputs[0].value, self._inputs[1].value
        watermark = offers if offers < checkouts else checkouts
        if watermark < self._decided_to:  # noqa: PLR1730 - max() costs a call
            watermark = self._decided_to
        return presented_at < watermark - self._late_after or presented_at - self._lookback < self._horizon

    def _tell_settled_if_read(self) -> None:
        """Once all that the list was made with is read again: tell what of it is settled, and what waits."""
        found = self._found
        if (
            found is None
            or self._offers.next_offset < self._until[0]
            or self._checkouts.next_offset < found.next_checkout
            or self._horizon == MAX_TIME
        ):
            return
        self._found = None
        rules, now = self._rules, rules_key(self._rules)
        waiting: list[Chain] = []
        self._matching.judge(found.decided_to)
        for chain in self._join.decide(found.decided_to):
            if not found.unsettled.isdisjoint(p.offset for p in chain.presentations):
                waiting.append(chain)
                continue
            if found.rules[:3] != now[:3]:
                # By the rules of now it may be due later. Until that is past, the last commit, with the rules of then,
                # is the one that tells that it is settled.
                self._least_decided_to = max(
                    self._least_decided_to, chain.presentations[-1].presented_at + rules.late_after
                )
            self._remember_called(chain)
            self._close(chain)
        if found.rules != now:
            self._join.change_rules(rules)
        if found.rules != now or self.restoring:  # then they are to be decided by the rules, or the checkouts, of now
            for chain in waiting:
                self._join.reopen(chain)
            return
        for chain in waiting:
            self._enqueue(chain, straggler=False)
            self._due.append(chain)

    def _enqueue(self, chain: Chain, *, straggler: bool) -> None:
        key = chain.start
        self._pending[key] = chain
        if straggler:
            self._stragglers[key] = chain
        if chain.split:
            self._splits.add(key)
        self._remember_called(chain)

    def _remember_called(self, chain: Chain) -> None:
        if chain.reason is Reason.DECLINED or (chain.reason is Reason.ABANDONED and self._rules.call_abandoned):
            chain.called_before = self._newest_unsettled(self._called.get((chain.session_id, chain.offer_id)))
            self._called[chain.session_id, chain.offer_id] = chain
            self._called_until.add(chain.decide_at + self._rules.lookback, chain)

    def _close(self, chain: Chain) -> None:
        for presentation in chain.presentations:
            self._offers.settle(presentation.offset)
        if len(chain.presentations) > 1:
            self._spans.add(chain)

    def _hold(self) -> int:
        rules = self._rules
        if self._decided_to == MIN_TIME:
            return MIN_TIME
        hold = self._decided_to - rules.late_after
        earliest = self._earliest.at(self._committed)
        return (hold if earliest is None else min(hold, earliest)) - rules.lookback

    def _forget(self, watermark: int) -> None:
        """Drop from memory the checkouts that no open or coming presentation can need.

        An open chain begins at most lookback + window + checkout_grace before the watermark.
        """
        rules = self._rules
        self._join.forget(watermark - rules.late_after - 2 * rules.lookback)
        for chain in self._called_until.take(watermark):
            if self._is_unsettled(chain):  # its call may still be taken back
                self._called_until.add(watermark + rules.lookback, chain)
                continue
            self._forget_called(chain)

    def _forget_called(self, chain: Chain) -> None:
        key = chain.session_id, chain.offer_id
        if self._called.get(key) is chain:
            del self._called[key]
            if (before := self._newest_unsettled(chain.called_before)) is not None:
                self._called[key] = before

    def _newest_unsettled(self, chain: Chain | None) -> Chain | None:
        """The chain, or the newest of those called before it, whose call may still be taken back."""
        while chain is not None and not self._is_unsettled(chain):
            chain = chain.called_before
        return chain

    def _is_unsettled(self, chain: Chain) -> bool:
        return self._pending.get(chain.start) is chain
