"""Checks a backfill: the chains of its range and no others, each once, none too early; and that its end says the truth.

It goes by the reference decision, over the presentations from the first one on that the run reads. What stands before
that may change where a chain begins: `_is_exception` says of which offers alone. So may what is read, and is given up
since checkouts are gone: see `_begin_elsewhere`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from simulation.checkers.head import head_came_late
from simulation.checkers.truth import TruthChecker
from simulation.checkers.violation import Violation
from simulation.workload.scenario import CHECKOUTS, CODEC, Scenario, Written, callable_reason
from simulation.world.backfill import BackfillPlan, BackfillProcess, RehearsalProcess
from simulation.world.broker import Broker, Place
from simulation.world.insurer import Insurer
from support.chain_begins import is_begin_unknown

from consumer.audit.decision import Fate
from consumer.backfill.end import Left
from consumer.backfill.told import chain_key, key_of
from consumer.core.guards import SuspendedBy
from consumer.events import Mode, OfferOutcome, OfferPresented, Outcome, Reason, RecordIdentity, RecordRef


class BackfillTruth(TruthChecker):
    """A backfill reads the checkouts no further ahead than it must: known is what its process was given."""

    def _knows(self, *asked: object) -> str:
        known = super()._knows(*asked)  # type: ignore[arg-type]
        return known if known == "it was handed the purchase" else ""


_JOINED_NO_CHAIN = frozenset({Reason.LATE, Reason.IMPLAUSIBLE_TIME})
"""Reasons of outcomes of single records. Another record may hold the same offer with the same date, and join."""

_STAYS = frozenset({Outcome.OPTED_OUT, Outcome.NOT_FOUND, Outcome.PURCHASED})
"""Of several outcomes of one chain these are not put aside by a later one, but for a purchase, which tells the most."""


class Expected(NamedTuple):
    """A chain of the range, and why it may be settled; each with all doubts about undated checkouts.

    `offset`: of its last presentation; of several of one time, of the one that stands first.
    """

    partition: int
    fate: Fate
    may: list[Fate]
    offset: int

    @property
    def key(self) -> int:
        fate = self.fate
        return chain_key(fate.session_id, fate.partner_code, fate.offer_id, fate.last)


class BackfillChecker:
    """Judges one run: all processes of one name."""

    def __init__(
        self, scenario: Scenario, broker: Broker, insurer: Insurer, plan: BackfillPlan, faults: Counter[str]
    ) -> None:
        self._scenario, self._broker, self._insurer, self._plan = scenario, broker, insurer, plan
        self._faults = faults
        self._rules, self._range = plan.scope.rules, plan.scope.range
        self._seen = {place: len(log.records) for place, log in broker.logs.items() if place[0] not in broker.topics}
        self._told, self._given_up = self._read_told()
        self._calls_seen = len(insurer.calls)
        self._excused: set[str] = set()
        self.home: dict[Place | tuple[int, int], Expected] = {}
        self.chains: list[Expected] = []
        for partition in range(scenario.partitions):
            self._expect(partition)

    def _read_told(self) -> tuple[dict[int, Outcome], set[tuple[int, int]]]:
        """What has an outcome before the run: chains, with what became of them, and records that joined none."""
        chains, records = dict[int, Outcome](), set[tuple[int, int]]()
        for place, seen in self._seen.items():
            if place[0] != self._broker.outcome_topic:
                continue
            for record in self._broker.logs[place].records[:seen]:
                o = CODEC.decode_outcome(record.value or b"")
                key = chain_key(o.session_id, o.partner_code, o.offer_id, o.presented_at)
                if o.reason in _JOINED_NO_CHAIN:
                    records.add((o.source.partition, o.source.offset))
                elif o.outcome is Outcome.PURCHASED or chains.get(key) not in _STAYS:
                    chains[key] = o.outcome
        return chains, records

    def _skipped(self) -> set[int]:
        """The chains of the range that are told already, and left alone."""
        if self._plan.scope.force:
            return {one.key for one in self.chains if self._told_of(one) is Outcome.PURCHASED}
        return {one.key for one in self.chains if self._told_of(one) is not None}

    def _told_of(self, one: Expected) -> Outcome | None:
        """What is told of a chain: that a part of it is bought; else of what was presented last and not given up."""
        partition, fate = one.partition, one.fate
        shown = [w for w in self._scenario.presentations(partition) if w.offset in fate.offsets]
        times = sorted(
            ((w.event.presented_at, w.offset) for w in shown if isinstance(w.event, OfferPresented)), reverse=True
        )
        told = [self._told.get(chain_key(fate.session_id, fate.partner_code, fate.offer_id, at)) for at, _ in times]
        if Outcome.PURCHASED in told:
            return Outcome.PURCHASED
        for outcome, (_, offset) in zip(told, times, strict=True):
            if outcome is not None or (partition, offset) not in self._given_up:
                return outcome
        return Outcome.DEAD_LETTERED

    def _expect(self, partition: int) -> None:
        scenario = self._scenario
        view = [w for w in scenario.presentations(partition) if w.offset >= self._plan.starts[partition]]
        whole = {self._name(fate) for fate, _ in scenario.fates(partition) if self._is_mine(partition, fate)}
        for fate, may in scenario.fates(partition, iter(view)):
            one = Expected(partition, fate, may, self._last_of(partition, fate))
            self.home.update(((partition, offset), one) for offset in fate.offsets)
            if self._is_mine(partition, fate):
                self.chains.append(one)
        if self._plan.has_gaps and self._broker.logs[CHECKOUTS, partition].start > 0:
            unknown = self._begin_elsewhere(partition, view)
            self._excused.update(unknown)
            self._faults["where chains begin is not known, since a part of the log is gone"] += len(unknown)
        mine = {self._name(one.fate) for one in self.chains if one.partition == partition}
        for session_id, partner_code, offer_id, *_ in mine ^ whole:
            if not self._plan.has_gaps and not self._is_exception(partition, partner_code, offer_id):
                raise Violation(f"{offer_id} has other chains, seen from where the range is read: {mine ^ whole}")
            self._excused.add(session_id)
            self._faults["where the chains of an offer begin is not known"] += 1

    def _begin_elsewhere(self, partition: int, view: Iterable[Written]) -> set[str]:
        """The sessions in which a chain of the range may be another one, and no outcome says so.

        What was presented before some time joins no chain, since its purchase may be gone: a run learns that time from
        the log. What is left of a chain begins later, lasts longer, and may take in the next one. So each time is tried
        for each offer, up to the first presentation whose outcome would tell that it is given up: `_check_outcomes`
        sees that.
        """
        of_offer = defaultdict[tuple[str, str, str], list[Written]](list)
        for w in view:
            if isinstance(e := w.event, OfferPresented):
                of_offer[e.session_id, e.partner_code, e.offer_id].append(w)
        return {session_id for (session_id, *_), shown in of_offer.items() if self._may_be_others(partition, shown)}

    def _may_be_others(self, partition: int, shown: Sequence[Written]) -> bool:
        chains = self._mine_of(partition, shown)
        for gone in sorted({w.dated for w in shown}):
            if not all(self._is_silent(w) for w in shown if w.dated == gone):
                return False
            left = self._mine_of(partition, (w for w in shown if w.dated > gone))
            if left != {fate for fate in chains if fate.last > gone}:
                return True
        return False

    def _mine_of(self, partition: int, view: Iterable[Written]) -> set[Fate]:
        return {fate for fate, _ in self._scenario.fates(partition, iter(view)) if self._is_mine(partition, fate)}

    def _is_silent(self, w: Written) -> bool:
        """Whether a presentation is given up without an outcome: another range's, or told already."""
        shown = w.event
        assert isinstance(shown, OfferPresented)
        if not self._range.contains(w.partition, shown):
            return True
        told = self._told.get(key_of(shown))
        if self._plan.scope.force:
            return told is Outcome.PURCHASED
        return told is not None or (w.partition, w.offset) in self._given_up

    @staticmethod
    def _name(fate: Fate) -> tuple[str, str, str, int, int]:
        return fate.session_id, fate.partner_code, fate.offer_id, fate.begin, fate.last

    def _is_exception(self, partition: int, partner_code: str, offer_id: str) -> bool:
        """Whether the offer was shown, without a pause longer than window + grace, since before all that is read."""
        shown = [
            w.dated
            for w in self._scenario.presentations(partition)
            if isinstance(e := w.event, OfferPresented) and (e.partner_code, e.offer_id) == (partner_code, offer_id)
        ]
        return is_begin_unknown(shown, self._rules, self._plan.scope.begin)

    def _last_of(self, partition: int, fate: Fate) -> int:
        dated = {w.offset: w.dated for w in self._scenario.presentations(partition)}
        return min(offset for offset in fate.offsets if dated[offset] == fate.last)

    def _is_mine(self, partition: int, fate: Fate) -> bool:
        """Whether a chain is in the range."""
        whose = fate.session_id, fate.partner_code, fate.offer_id
        return self._range.contains(partition, OfferPresented(*whose, fate.last, self._last_of(partition, fate)))

    def _is_strict(self, session_id: str, partition: int) -> bool:
        return (
            self._scenario.strict(session_id)
            and session_id not in self._excused
            and not head_came_late(self._broker, self._scenario, partition)
        )

    def _strict(self) -> list[Expected]:
        """The chains of the range whose fate is the reference decision's."""
        return [one for one in self.chains if self._is_strict(one.fate.session_id, one.partition)]

    # --- what was done

    def check_run(self, processes: Sequence[BackfillProcess], *, is_repeated: bool) -> None:
        """All processes of the name have ended by themselves, the last one last.

        `is_repeated`: a task has begun twice.
        """
        outcomes = [
            CODEC.decode_outcome(record.value or b"")
            for place, seen in self._seen.items()
            if place[0] == self._broker.outcome_topic
            for record in self._broker.logs[place].records[seen:]
        ]
        done = self._check_outcomes(outcomes)
        repeated = [one.fate.offer_id for one in self._strict() if done[one.key] > 1]
        if repeated and not is_repeated:
            raise Violation(f"{repeated} have two outcomes, and each task has begun once")
        skipped = self._skipped()
        for one in self.chains:
            # To this run a late record may have split the chain: then what is told of a part is not told of the rest.
            is_told = one.key in self._told or self._is_strict(one.fate.session_id, one.partition)
            if one.key in skipped and done[one.key] and is_told:
                raise Violation(f"{one.fate.offer_id} has an outcome already, and is settled again")
        self._check_calls()
        self._check_dead_letters()
        self._check_end(processes, done.keys() | skipped)

    def check_rehearsal(self, process: RehearsalProcess) -> None:
        """A dry run has ended."""
        written = [p for p, seen in self._seen.items() if len(self._broker.logs[p].records) > seen]
        if written or len(self._insurer.calls) > self._calls_seen:
            raise Violation(f"a dry run has called, or written to {written}")
        if self._broker.group.committed or self._broker.group.members:
            raise Violation("a dry run has joined a group, or committed")
        done = self._check_outcomes(process.outcomes)
        if any(done[one.key] > 1 for one in self._strict()):
            raise Violation("a dry run has settled a chain twice")
        self._check_end([process], done.keys())

    def _check_outcomes(self, outcomes: Collection[OfferOutcome]) -> Counter[int]:
        """Each is of a chain of the range, and right. Returns how many times each chain was settled: 0, if its last
        presentation was given up."""
        if self._plan.has_gaps:  # of a chain that is given up in part the rest is another one
            given_up = [o.session_id for o in outcomes if o.reason is Reason.LATE]
            self._excused.update(given_up)
            self._faults["dead-lettered as late, since a part of the log is gone"] += len(given_up)
        done: Counter[int] = Counter()
        for o in outcomes:
            spot = o.source.partition, o.source.offset
            shown = OfferPresented(o.session_id, o.partner_code, o.offer_id, o.presented_at, o.source.offset)
            if o.mode is not Mode.BACKFILL or not self._range.contains(spot[0], shown):
                raise Violation(f"an outcome of {o.offer_id} at {o.presented_at}, outside of the range: {o}")
            one = self.home.get(spot)
            if o.reason not in _JOINED_NO_CHAIN:
                done[chain_key(o.session_id, o.partner_code, o.offer_id, o.presented_at)] += 1
            elif one is not None and spot[1] == one.offset:
                done[one.key] += 0  # given up: it has a fate, and is not settled once more
            if o.reason is Reason.IMPLAUSIBLE_TIME or not self._is_strict(o.session_id, spot[0]):
                continue
            if one is None or one.fate.last != o.presented_at:
                raise Violation(f"{o.offer_id} at {spot} is told, and no chain ends there: {one}")
            self._check_reason(o, one)
        return done

    def _check_reason(self, o: OfferOutcome, one: Expected) -> None:
        if o.reason in {fate.reason for fate in one.may}:
            return
        to_call = any(callable_reason(fate.reason, self._rules) for fate in one.may)
        withheld = o.outcome is Outcome.PURCHASED and o.checkout_id in {c for f in one.may for c in f.may_withhold}
        if not (to_call and o.note is not None and (withheld or o.reason is Reason.CHECKOUT_UNREADABLE)):
            raise Violation(f"{o.offer_id} is told {o.reason}, it is {[fate.reason for fate in one.may]}")

    def _check_calls(self) -> None:
        by_offer: dict[str, list[Expected]] = {}
        for one in self.chains:
            by_offer.setdefault(one.fate.offer_id, []).append(one)
        shown = {
            event.offer_id
            for p in range(self._scenario.partitions)
            for w in self._scenario.presentations(p)
            if isinstance(event := w.event, OfferPresented) and self._range.contains(p, event)
        }
        for call in self._insurer.calls[self._calls_seen :]:
            if call.offer_id not in shown:
                raise Violation(f"{call.offer_id} is called, and was not presented in the range")
            session_id = call.offer_id.rpartition("-")[0]
            partition = self._partition_of(call.offer_id)
            if not self._is_strict(session_id, partition):
                continue
            fates = [fate for one in by_offer.get(call.offer_id, ()) for fate in one.may]
            may = [f for f in fates if callable_reason(f.reason, self._rules) and f.reason.value == call.reason]
            if not may:
                raise Violation(f"{call.offer_id} is called as {call.reason}; in the range it is {fates}")
            if call.at <= min(fate.decide_at for fate in may) + self._rules.lateness:
                raise Violation(f"{call.offer_id} is called at {call.at}, before its watermark")

    def _partition_of(self, offer_id: str) -> int:
        return next(
            w.partition
            for w in self._scenario.records
            if isinstance(w.event, OfferPresented) and w.event.offer_id == offer_id
        )

    def _check_dead_letters(self) -> None:
        """Records of the range that cannot be used, and none beside it."""
        for place, seen in self._seen.items():
            if place[0] != self._broker.dead_letter_topic:
                continue
            for record in self._broker.logs[place].records[seen:]:
                headers = {name: (value or b"").decode() for name, value in record.headers}
                topic, partition, offset = (headers[f"source.{name}"] for name in ("topic", "partition", "offset"))
                told = self._plan.told
                if headers["reason"] in {"late", "implausible_time", "rejected"}:
                    continue  # told by its outcome: a crash may have come between the two
                source = RecordRef(topic, int(partition), int(offset))
                if RecordIdentity(source, int(headers["source.timestamp"])) in told.dead:
                    raise Violation(f"{topic}[{partition}]@{offset} is a dead letter already, and is written again")

    def _check_end(self, processes: Sequence[BackfillProcess], known: Collection[int]) -> None:
        """What is not settled was not due, and is counted; and `complete` is told where nothing is left."""
        last = processes[-1]
        suspended = any(p.service.suspension.by is not SuspendedBy.NONE or p.is_held for p in processes)
        left = [one for one in self._strict() if one.key not in known]
        if left and any(p.report.is_complete for p in processes):
            raise Violation(f"it is complete, and {len(left)} chains have no outcome: {left[0]}")
        late = [one for one in left if one.fate.decide_at <= self._decides_to(last)]
        if late and not suspended:
            raise Violation(f"{len(late)} chains are due and have no outcome: {late[0]}")
        # Counted are the first chain and the last one of each offer: what is between them is not told apart.
        first: dict[str, Expected] = {}
        for one in sorted(left, key=lambda one: one.fate.begin):
            first.setdefault(one.fate.offer_id, one)
        named = {one.fate.offer_id for one in left if self._is_told_open(one, first, last.planned.began)}
        counted = sum(p.report.left.undecided for p in processes)
        if len(named) > counted:
            raise Violation(f"{named} are open, {counted} are counted")
        complete = last.report.is_complete
        self._faults[f"a run is {'complete' if complete else 'suspended' if suspended else 'not complete'}"] += 1
        done_at = max(self._plan.scope.done_at(p) for p in range(self._scenario.partitions))
        for p in processes:
            if p is not last and (complete or last.report.left == Left(0, 0, ())):
                continue  # it did not know what the others had left, and one of them has settled it
            if not (p.report.is_complete or suspended or p.report.cut_off) and done_at <= self._decides_to(p):
                raise Violation(f"{p.name} is not complete, for no reason: {p.report}")

    def _decides_to(self, process: BackfillProcess) -> int:
        return process.planned.began - self._rules.lateness - 1

    def _is_told_open(self, one: Expected, first: dict[str, Expected], began: int) -> bool:
        """Whether the chain is the first of its offer, or the last one, by what was written when the run began."""
        name = one.fate.session_id, one.fate.partner_code, one.fate.offer_id
        shown = [
            w
            for w in self._scenario.presentations(one.partition)
            if w.at <= began
            and isinstance(e := w.event, OfferPresented)
            and (e.session_id, e.partner_code, e.offer_id) == name
        ]
        if not one.fate.offsets <= {w.offset for w in shown}:
            return False
        is_first = first[one.fate.offer_id] is one and one.fate.begin == min(w.dated for w in shown)
        return is_first or one.fate.last == max(w.dated for w in shown)
