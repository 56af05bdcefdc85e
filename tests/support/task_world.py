"""A world for one task: it plays the broker, the partner's API and the crashes, and it checks every rule on the way.

The world keeps what a real one would keep when a process dies: the two logs, what the broker holds as committed, and
which calls were made. Everything else dies with the task.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from support import task_checks
from support.strategies import Garbage, Logs, Record, Step

from consumer.audit.decision import Fate, UndatedCheckout, fates
from consumer.core.admission import Admission
from consumer.core.chain import Chain
from consumer.core.checkpoint import CheckoutCheckpoint, OfferCheckpoint, Position, UnreadableMetadata
from consumer.core.commits import CommitPlan
from consumer.core.rules import MAX_TIME, MIN_TIME, DecisionRules
from consumer.core.task import Task
from consumer.core.watermark import CLOCK_TOLERANCE, Side
from consumer.events import CheckoutCompleted, OfferPresented, Reason

BOTH = (Side.OFFERS, Side.CHECKOUTS)


class Decision(NamedTuple):
    """A chain that the task decided, in which of its lives, and by which rules."""

    life: int
    fate: Fate
    rules: DecisionRules


class TaskWorld:
    """One task, its two logs and its broker.

    Args:
        logs: what will be read, with the rules to read it by.
        metadata_limit: characters of metadata that the broker takes.
        strict: every presentation is on time, so each fate must be the oracle's; but in a session with an overdue
            checkout, it must be the oracle's of what was read when it was decided.
        halves: a commit may reach one of the two partitions only.
        forgetful: a crash may lose the metadata of the offer partition's commit.
        later_rules: the settings that come into force with crashes to come, in turn.
        portion: so much of what is due is decided at a time.
    """

    def __init__(
        self,
        logs: Logs,
        *,
        metadata_limit: int = 4096,
        strict: bool = True,
        halves: bool = False,
        forgetful: bool = False,
        later_rules: Iterable[DecisionRules] = (),
        portion: int = MAX_TIME,
    ) -> None:
        self.logs = logs
        self.portion = portion
        self.rules = logs.rules
        self.all_rules = [logs.rules]
        self.strict = strict
        self.metadata_limit = metadata_limit
        self.halves = halves
        self.forgetful = forgetful
        self.later_rules = list(later_rules)
        believed = [shown for r in logs.offers if not self._implausible(r) for shown in r.shown]
        spans = [rules.window + rules.checkout_grace + rules.lookback + rules.lateness for rules in self.later_rules]
        self.clock = logs.end_of_time + sum(spans)  # the wall clock: late enough for everything to be over
        self.doubtful = [r for r in logs.checkouts if self._is_doubtful(r)]
        doubted = {r.offset for r in self.doubtful}
        self.believed = believed
        self.overdue = {r.event.session_id for r in logs.checkouts if (r.overdue or r.stale) and r.event is not None}
        self.completed = [c for c in logs.completed if c.offset not in doubted]
        # What the log says at the least: a checkout without a date lies at or after the moment when it came.
        told = fates(believed, self.completed, logs.rules, [self.at_least(r) for r in self.doubtful])
        # The decisions alone: whether a call is withheld is known when it is made, see `check_withheld`.
        self.expected = [fate._replace(may_withhold=frozenset()) for fate in told]
        self.by_offset = {offset: fate for fate in self.expected for offset in fate.offsets}
        self.broker = (Position(0), Position(0))
        self.produced = [0, 0]  # how many records of each log exist so far: what was read once exists for ever
        self.reached = [MIN_TIME, MIN_TIME]  # the watermark of each input, worked out here, over all lives
        self.decisions: list[Decision] = []
        self.settled: set[int] = set()  # those whose fate is sealed, in whichever life; see `offsets_of`
        self.called: set[int] = set()
        self.dead: set[int] = set()  # offsets dead-lettered as late or implausible, acknowledged or not
        self.written: list[tuple[Side, int]] = []  # records whose dead letter was acknowledged
        self.life = 0
        self._born()

    # --- life and death

    def _born(self) -> None:
        offers, checkouts = self.start = self.broker
        self.task = Task(
            self.rules,
            partitions=1,
            offers=offers,
            checkouts=checkouts,
            horizon=None if checkouts.offset == 0 else MAX_TIME,
            metadata_limit=self.metadata_limit,
            each=self.logs.each,
        )
        self.at = [_index(log, p.offset) for log, p in zip(self.both_logs, self.broker, strict=True)]
        # Checkouts that are known to have been read before: no decision may be made without them.
        self.read_before = _index(self.logs.checkouts, _next_checkout(self.broker))
        self.restoring, self.rebuilt = self.task.restoring, None
        self.in_flight: list[Chain] = []
        self.purchases: list[CheckoutCompleted] = []  # all that were read in this life
        self.dead_in_flight: list[tuple[Side, int]] = []
        self.written_in_this_life: list[tuple[Side, int]] = []
        self.last_plan: CommitPlan | None = None

    @property
    def both_logs(self) -> tuple[list[Record], list[Record]]:
        return self.logs.offers, self.logs.checkouts

    def crash(self, choice: int = 0) -> None:
        """The process dies; calls in flight may or may not have been answered. It comes back, perhaps set anew."""
        self.life += 1
        self.clock += 5 * self.rules.lookback  # a restart reads the same records at another time
        if choice == 6 and self.forgetful:
            self.broker = (Position(self.broker[0].offset), self.broker[1])
        if choice == 7 and self.later_rules:
            before, self.rules = self.rules, self.later_rules.pop(0)
            self.all_rules.append(self.rules)
            # Lateness decides no fate: with another one, each is still to be the oracle's.
            self.strict = self.strict and self.rules == replace(before, lateness=self.rules.lateness)
        self._born()

    def _implausible(self, record: Record) -> bool:
        event = record.event
        return isinstance(event, OfferPresented) and (
            event.presented_at > record.timestamp + self.rules.max_skew
            or self.rules.is_far_behind(event.presented_at, record.timestamp)
        )

    # --- checkouts that cannot be dated

    def _is_doubtful(self, record: Record, rules: DecisionRules | None = None) -> bool:
        rules = rules or self.rules
        match record.event:
            case Garbage():
                return True
            case CheckoutCompleted(completed_at=time):
                ahead = time - rules.max_skew > min(record.timestamp, self.clock)
                return ahead or rules.is_far_behind(time, record.timestamp)
            case _:
                return False

    def at_least(self, record: Record) -> UndatedCheckout:
        """Between which times it lies at the least: it came at its true time or later, and was written by then."""
        return self.at_most(record)._replace(earliest=record.true_time)

    def at_most(self, record: Record) -> UndatedCheckout:
        """Between which times it may lie, by its record and by the clock at which it is read."""
        event, rules = record.event, self.rules
        assert isinstance(event, Garbage | CheckoutCompleted)
        now = self.clock + CLOCK_TOLERANCE
        believed = record.timestamp <= now + rules.max_skew
        dated = event.completed_at if isinstance(event, CheckoutCompleted) else now
        return UndatedCheckout(
            event.session_id,
            min(dated, record.timestamp - rules.lateness) if believed else MIN_TIME,
            min(max(dated, record.timestamp), now) + rules.max_skew,
            event if isinstance(event, CheckoutCompleted) else None,
        )

    def known(self, rules: DecisionRules | None = None) -> list[tuple[list[CheckoutCompleted], list[UndatedCheckout]]]:
        """The checkouts that count, by these rules or by those that the logs were made with. What the task has read
        counts for all that is undecided; nothing that it has not read may matter, and what is overdue, or stamped as
        if it were, does not even exist for it.

        Twice at the first decision after a restart: what had been decided before is decided when the rebuild ends.
        """
        counts = (self.at[1] if self.rebuilt is None else self.rebuilt, self.at[1])
        counts = tuple(dict.fromkeys(max(count, self.read_before) for count in counts))
        return [self._known_of(count, rules or self.logs.rules) for count in counts]

    def _known_of(self, count: int, rules: DecisionRules) -> tuple[list[CheckoutCompleted], list[UndatedCheckout]]:
        doubtful = [r for r in self.logs.checkouts if self._is_doubtful(r, rules)]
        doubted = {r.offset for r in doubtful}
        read, unread = self.logs.checkouts[:count], self.logs.checkouts[count:]
        missing = {r.offset for r in unread if r.overdue or r.stale}
        return (
            [c for c in self.logs.completed if c.offset not in doubted and c.offset not in missing],
            [self.at_most(r) if r in read else self.at_least(r) for r in doubtful if r.offset not in missing],
        )

    def true_time_of(self, checkout: CheckoutCompleted) -> int:
        """When it was completed, by its date, or if that is stale by what the log was made from."""
        stale = next((r for r in self.logs.checkouts if r.offset == checkout.offset and r.stale), None)
        return checkout.completed_at if stale is None else stale.true_time

    def _note_rebuilt(self) -> None:
        if self.restoring and not self.task.restoring:
            self.restoring, self.rebuilt = False, self.at[1]

    # --- what the runtime does

    def read(self, source: int) -> bool:
        """Apply the next record of an input, if there is one and the task lets it."""
        more = self._read(Side(source))
        self._note_rebuilt()
        return more

    def read_some(self, offers: int, checkouts: int) -> None:
        """Apply up to so many records of each input."""
        for side, count in zip(BOTH, (offers, checkouts), strict=True):
            for _ in range(count):
                self.read(side)

    def _read(self, side: Side) -> bool:
        log, at = self.both_logs[side], self.at[side]
        if at == len(log):
            return False
        record = log[at]
        stop = self.task.restore_until(side)
        if stop is not None and record.offset >= stop:
            self.task.read_to(side, stop)  # nothing lies between: the next record is beyond
            return False
        self.at[side] += 1
        self.produced[side] = max(self.produced[side], self.at[side])
        if record.event is None:
            self.task.read_to(side, record.offset + 1)
        elif isinstance(record.event, Garbage):
            if side is Side.OFFERS:
                dead = self.task.unreadable_offer(record.offset)
            else:
                session_id = record.event.session_id
                dead, _ = self.task.unreadable_checkout(record.offset, (session_id,), record.timestamp, self.clock)
            if dead:
                self.dead_in_flight.append((side, record.offset))
        elif isinstance(record.event, OfferPresented):
            self._present(record, record.event, self._implausible(record))
        else:
            self.purchases.append(record.event)
            doubtful = self._is_doubtful(record)
            if not doubtful:
                self._reach(side, min(record.event.completed_at, record.timestamp))
            verdict = self.task.checkout(_copy(record.event), record.timestamp, self.clock).admission
            assert verdict is (Admission.IMPLAUSIBLE if doubtful else Admission.ACCEPTED)
        return True

    def _present(self, record: Record, event: OfferPresented, implausible: bool) -> None:
        rules, before, rebuilding = self.rules, self.task.watermark, self.task.restoring
        timestamp = record.timestamp
        if not implausible:
            self._reach(Side.OFFERS, min(event.presented_at, timestamp))
        verdict = self.task.offer(event, timestamp, self.clock, record.others)
        if verdict is Admission.SETTLED:
            assert (Side.OFFERS, record.offset) in self.written, (
                f"{event} was given up without an acknowledged dead letter"
            )
        elif implausible:
            # What was read before stays what it was found to be by the rules of then.
            was_believed = event.presented_at <= timestamp + rules.max_skew and any(
                not then.is_far_behind(event.presented_at, timestamp) for then in self.all_rules[:-1]
            )
            may_be = {Admission.LATE, *([Admission.ACCEPTED] if was_believed else [])} if rebuilding else set()
            assert verdict in may_be | {Admission.IMPLAUSIBLE}
        elif self.strict:  # no overdue checkout changes that: it moves no watermark
            assert verdict is Admission.ACCEPTED, f"{event} is on time, yet {verdict.name}"
        elif event.presented_at < before - rules.window - rules.checkout_grace and not rebuilding:
            assert verdict is Admission.LATE, f"{event} came {before - event.presented_at} behind the watermark"
        if verdict in (Admission.LATE, Admission.CUT_OFF, Admission.IMPLAUSIBLE):
            self.task.give_up(record.offset, verdict)
            self.dead |= offsets_of(record)
            self.dead_in_flight.append((Side.OFFERS, record.offset))

    def _reach(self, side: Side, time: int) -> None:
        self.reached[side] = max(self.reached[side], time - self.rules.lateness - 1)

    def read_to_end(self, side: Side) -> None:
        """The broker says where the partition ends, markers included: all below was read."""
        log, at = self.both_logs[side], self.at[side]
        stop = self.task.restore_until(side)
        if at == self.produced[side]:
            end = log[at].offset if at < len(log) else (log[-1].offset + 3 if log else 0)
            self.task.read_to(side, end if stop is None else min(end, stop))
            self._note_rebuilt()

    def idle(self, side: Side, at_most: int = MAX_TIME) -> None:
        """The input stands at its end, at the latest wall clock at which every record to come would be on time, but for
        the overdue ones; no later than `at_most` (ms)."""
        if self.at[side] < self.produced[side] or self.task.restoring:
            return
        to_come = [_time(r) for r in self.both_logs[side][self.at[side] :] if r.event is not None and not r.overdue]
        clock = min(to_come) + self.rules.lateness if to_come else self.clock
        clock = min(clock, at_most)
        self._reach(side, clock)
        self.task.idle(side, clock)

    def decide(self) -> None:
        """Decide what is due, or a portion of it; calls are made at once, and answered when `settle` says."""
        rebuilding = self.task.restoring
        if self.portion < MAX_TIME:
            self.task.due.skip()  # as if a turn had decided nothing, since when nothing was read
        chains = self.task.decide(most=self.portion)
        self._decided(chains, rebuilding)
        if not rebuilding:
            self.rebuilt = None

    def _decided(self, chains: list[Chain], rebuilding: bool) -> None:
        assert not (rebuilding and chains), "decided while rebuilding"
        for chain in chains:
            fate = fate_of(chain)
            task_checks.check_decision(self, chain, fate)
            self.decisions.append(Decision(self.life, fate, self.rules))
            if chain.reason is Reason.PURCHASED or (chain.reason is Reason.ABANDONED and not self.rules.call_abandoned):
                self._settle(chain)
            else:
                if chain.reason is not Reason.CHECKOUT_UNREADABLE:
                    task_checks.check_withheld(self, chain)
                    if chain.bought_by is None:
                        self.called |= fate.offsets
                self.in_flight.append(chain)

    def settle(self, which: int) -> None:
        """One of the calls in flight is answered."""
        if self.in_flight:
            chain = self.in_flight.pop(which % len(self.in_flight))
            if chain.reason is not Reason.CHECKOUT_UNREADABLE:
                task_checks.check_withheld(self, chain)
            self._settle(chain)

    def _settle(self, chain: Chain) -> None:
        self.settled |= {p.offset for p in chain.presentations}
        self.task.settle(chain)

    def acknowledge(self, which: int) -> None:
        """One of the dead letters under way is written."""
        if self.dead_in_flight:
            source, offset = self.dead_in_flight.pop(which % len(self.dead_in_flight))
            self.written.append((source, offset))
            self.written_in_this_life.append((source, offset))
            if source is Side.OFFERS:
                self.settled |= next(offsets_of(record) for record in self.logs.offers if record.offset == offset)
            self.task.acknowledged(offset, source)

    def commit(self, how: int = 0) -> bool:
        """Commit. `how`: 0-3 it works; 4 the answer is lost; 5, 6 one partition only; 7 the request is lost."""
        plan = self.task.prepare_commit()
        if plan is None:
            return False
        if how in (5, 6) and not self.halves:
            how = 7
        task_checks.check_plan(self, plan)
        self.last_plan = plan
        if how != 7:
            offers, checkouts = self.broker
            self.broker = (plan.offers if how != 6 else offers, plan.checkouts if how != 5 else checkouts)
            task_checks.check_retained(self)
        if how < 4:
            self.task.commit_acknowledged(plan)
        return True

    # --- a schedule

    def step(self, step: Step) -> None:
        """One step of a drawn schedule."""
        what, choice = step
        source = BOTH[choice % 2]
        match what:
            case "read":
                self.read(source)
            case "decide":
                self.decide()
            case "settle":
                self.settle(choice)
            case "acknowledge":
                self.acknowledge(choice)
            case "commit":
                self.commit(choice)
            case "end":
                self.read_to_end(source)
            case "idle":
                self.idle(source)
            case "crash":
                self.crash(choice)

    def run(self, schedule: Iterable[Step], *, crashes: bool = True) -> None:
        for step in schedule:
            if crashes or step.what != "crash":
                self.step(step)

    def rebuild(self) -> None:
        """Read on until the task is as far as it was before it died."""
        for _ in range(len(self.logs.offers) + len(self.logs.checkouts) + 2):
            for source in BOTH:
                if self.task.restoring:
                    self.read(source)
                    self.read_to_end(source)
        assert not self.task.restoring, "the rebuild does not end"

    def finish(self) -> None:
        """Read everything, let time pass until everything is decided, and let every call be answered."""
        self.rebuild()
        self.decide()
        more = True
        while more:
            more = self.read(Side.OFFERS) | self.read(Side.CHECKOUTS)
            self.decide()
        for source in BOTH:
            self.read_to_end(source)
            self.idle(source)
        self.decide()
        while self.task.due.has_more:
            self.decide()
        self.drain()

    def is_settled(self, record: Record) -> bool:
        """Whether all that an offer record holds is settled."""
        return offsets_of(record) <= self.settled

    def drain(self) -> None:
        """Every call in flight is answered, every dead letter written."""
        while self.in_flight:
            self.settle(0)
        while self.dead_in_flight:
            self.acknowledge(0)

    def check_all_told(self) -> None:
        """At the end: nothing missed, nothing false, nothing lost, and no offer met two different fates."""
        task_checks.check_all_told(self)


def offsets_of(record: Record) -> set[int]:
    """Those of the presentations that it holds, or where it can not be read, its own."""
    return {shown.offset for shown in record.shown} or {record.offset}


def fate_of(chain: Chain) -> Fate:
    """What the task says of a chain, in the oracle's words."""
    return Fate(
        chain.session_id,
        chain.partner_code,
        chain.offer_id,
        frozenset(p.offset for p in chain.presentations),
        chain.begin,
        chain.last.presented_at,
        chain.decide_at,
        chain.reason,
        chain.checkout and chain.checkout.checkout_id,
    )


def other_rules(rules: DecisionRules, *, window: int, grace: int, lookback: int, call: bool = True) -> DecisionRules:
    """The rules with other spans, valid again: grace <= window <= lookback."""
    window = max(2, rules.window + window)
    return replace(
        rules,
        window=window,
        checkout_grace=min(window, max(1, rules.checkout_grace + grace)),
        lookback=max(window, rules.lookback + lookback),
        call_abandoned=call,
    )


def _next_checkout(committed: tuple[Position, Position]) -> int:
    """Up to where checkouts were read, by what is committed with either partition; 0 if neither can be read."""
    found = 0
    for kind, position in zip((OfferCheckpoint, CheckoutCheckpoint), committed, strict=True):
        with suppress(UnreadableMetadata):
            checkpoint = kind.decode(position.metadata, position.offset)
            found = max(
                found, checkpoint.next_checkout if isinstance(checkpoint, OfferCheckpoint) else checkpoint.next_offset
            )
    return found


def _index(log: list[Record], offset: int) -> int:
    return next((i for i, record in enumerate(log) if record.offset >= offset), len(log))


def _time(record: Record) -> int:
    match record.event:
        case OfferPresented(presented_at=time) | CheckoutCompleted(completed_at=time):
            return record.true_time if record.happened is not None else min(time, record.timestamp)
        case _:
            return record.true_time


def _copy(c: CheckoutCompleted) -> CheckoutCompleted:
    return CheckoutCompleted(c.session_id, c.checkout_id, c.completed_at, c.offset, c.purchased)
