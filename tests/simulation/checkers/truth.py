"""The second judge: it goes by what the customers did, and knows no rule by which the service decides.

It knows of each offer when it was bought, whatever date the checkout carries, and when the record of that could be read
in the log, if ever. It holds the service to what follows from that alone:

- No call leaves a process that was handed the purchase of its offer, nor one whose task began when the purchase stood
  in the log, nor one that was well for `WELL` seconds while it did. That holds for a purchase that cannot be read, too,
  if its session is known. But one from longer than lookback before the offer was shown last may be forgotten.
- An offer whose purchase came on time is never called. On time is by true times: no clock counts but the world's.
- An offer that nobody bought is not told to be PURCHASED.
- Of the offers that the insurer knows, fewer than `not_found_limit` are told NOT_FOUND in one run of 404s.
- No call leaves a process that knows of a refused write of its own, and few leave one that has recorded none yet.
- Each presentation in the log has a fate in the end: an outcome of its offer, or a dead letter of its own and the line
  of the log that names it.

Where the contract lets a bought offer be called, the call is counted with the reason, never passed over.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from typing import NamedTuple

from simulation.checkers.head import head_came_late
from simulation.checkers.violation import Violation
from simulation.workload.kinds import Kind
from simulation.workload.scenario import CHECKOUTS, CODEC, OFFERS, Scenario, Written, believed, far_behind
from simulation.world.broker import Broker, Record
from simulation.world.insurer import Call, Insurer
from simulation.world.journal import Journal
from simulation.world.process import SimulatedProcess

from consumer.events import CheckoutCompleted, OfferPresented, Outcome

WELL = 20.0
"""Seconds in which a process reads what stands in the log: it may be given one record at a time, once a second."""

FIRST_CALLS = 2
"""Calls that a process may have answered 204 before it knows that an outcome of its own is recorded."""

_IN_THE_LOG = "the purchase was in the log when the task began"


class Purchase(NamedTuple):
    """A customer bought an offer at `at` (ms). `record` tells of it, if it was written; `readable`: and names it."""

    offer_id: str
    at: int
    record: Written | None
    readable: bool


class TruthChecker:
    """Is told of each call as it leaves, and looks at each process after its turn.

    Attributes:
        excused: calls of bought offers, by why the contract lets them leave.
        unjudged: the sessions that they are of, with the reasons.
        left: of each offer that was called, when its first call left (ms).
    """

    def __init__(
        self, scenario: Scenario, broker: Broker, insurer: Insurer, journal: Journal, kinds: frozenset[Kind]
    ) -> None:
        self._scenario, self._broker, self._insurer, self._journal = scenario, broker, insurer, journal
        self._holds_to_known_routes = Kind.WRONG_ROUTE in kinds
        self._holds_to_known = Kind.KNOWN_PURCHASES in kinds
        self.excused: Counter[str] = Counter()
        self.left: dict[str, int] = {}
        self._processes: dict[str, SimulatedProcess] = {}
        self._unrecorded: Counter[str] = Counter()
        self.unjudged: dict[str, set[str]] = defaultdict(set)
        self._purchases: dict[str, list[Purchase]] = defaultdict(list)
        self._shown: dict[str, list[Written]] = defaultdict(list)
        self._lookback = min(rules.lookback for rules in scenario.settings)
        for w in scenario.records:
            for offer_id in w.bought:
                named = isinstance(w.event, CheckoutCompleted) and offer_id in w.event.purchased
                self._purchases[offer_id].append(Purchase(offer_id, w.happened, w, named))
            if isinstance(w.event, OfferPresented):
                self._shown[w.event.offer_id].append(w)
        for offer_id in scenario.unwritten:
            self._purchases[offer_id].append(Purchase(offer_id, 0, None, readable=False))
        self._promised = {offer_id for offer_id in self._purchases if self._is_promised(offer_id)}
        self._skipped: dict[int, int] = {}
        self._well_since: dict[tuple[str, int], float] = {}
        self._begun: dict[tuple[str, int], float] = {}
        """When a process had no task of the partition for the last time (s): the task began after that."""

    # --- calls

    def on_leave(self, process: SimulatedProcess, offer_id: str) -> None:
        """A call of the offer leaves the process now."""
        self._processes[process.name] = process
        self.left.setdefault(offer_id, self._broker.clock.ms)
        if process.is_refused:
            raise Violation(f"{process.name} calls {offer_id}, and knows that a write of its own was refused")
        purchases = self._purchases.get(offer_id)
        if purchases is None:
            return
        session_id = self._session_of(offer_id)
        if offer_id in self._promised and session_id in self._scenario.eaten:
            self._excuse_call(session_id, "a producer that is ahead has eaten its lateness")
        elif offer_id in self._promised and self._head_came_late(offer_id):
            self._excuse_call(session_id, "the records at the head of a log may all have come late")
        elif offer_id in self._promised:
            raise Violation(f"{offer_id} was bought, which the log told in time, and is called")
        now = self._broker.clock.ms
        why = ""
        misled = self._head_came_late(offer_id)
        for purchase in purchases:
            known = self._knows(process, purchase, now)
            if known == _IN_THE_LOG and misled:
                known, why = "", "the records at the head of a log may all have come late"
            if known and self._holds_to_known:
                raise Violation(f"{offer_id} is called by {process.name}: {known}")
            why = known or why or self._excuse(purchase, now)
        if not why:
            return
        self._excuse_call(session_id, why)

    def on_call(self, call: Call) -> None:
        """A call is answered."""
        if call.status != 204 or not call.settling or self._processes[call.process].has_recorded:
            return  # of an answer that never comes there is nothing to record
        self._unrecorded[call.process] += 1
        if self._unrecorded[call.process] > FIRST_CALLS:
            raise Violation(f"{call.process} has called {self._unrecorded[call.process]} offers, and recorded none")

    def _excuse_call(self, session_id: str, why: str) -> None:
        self.excused[why] += 1
        self.unjudged[session_id].add(why)

    def _head_came_late(self, offer_id: str) -> bool:
        return head_came_late(self._broker, self._scenario, self._shown[offer_id][0].partition)

    def _session_of(self, offer_id: str) -> str:
        shown = self._shown[offer_id][0].event
        assert shown is not None
        return shown.session_id

    def was_readable(self, offer_id: str) -> bool:
        """Whether the log tells, whenever it does, that the offer was bought."""
        return any(purchase.readable for purchase in self._purchases.get(offer_id, ()))

    def _knows(self, process: SimulatedProcess, purchase: Purchase, now: int) -> str:
        """How the process knows of the purchase, in words; empty if it does not."""
        record = purchase.record
        if record is None or record.at > now or self._is_old(purchase, now) or self._is_cut(record):
            return ""  # where the log was cut, all who had read it are dead
        if not (purchase.readable or self._quarantines(record, purchase.offer_id)):
            return ""
        if process.consumer.was_handed((CHECKOUTS, record.partition), record.offset):
            return "it was handed the purchase"
        if self._is_deleted(record):
            return ""
        if record.at / 1000 < self._begun.get((process.name, record.partition), 0.0):
            return _IN_THE_LOG
        since = self._well_since.get((process.name, record.partition), self._broker.clock.now)
        if max(since, record.at / 1000) < self._broker.clock.now - WELL:
            return f"the purchase is in the log for {(now - record.at) / 1000:.1f} s, and nothing keeps it from reading"
        return ""

    def _quarantines(self, record: Written, offer_id: str) -> bool:
        """Whether it cannot be read, and the task of the offer hears of it."""
        unreadable = record.event is None and not record.says_nothing
        return unreadable and record.partition == self._shown[offer_id][0].partition

    def _excuse(self, purchase: Purchase, now: int) -> str:
        record = purchase.record
        if record is None:
            return "its purchase was never written"
        if not purchase.readable:
            return "its purchase cannot be read"
        if record.at > now:
            if purchase.at > now:
                return ""  # and nobody had bought it
            late = record.at - purchase.at > self._scenario.rules.lateness
            return "its purchase came late" if late else "it was bought after its time, and that is on its way"
        if self._is_old(purchase, now):
            return "it was bought long before it was shown"
        if self._is_deleted(record):
            return "its purchase is gone from the log"
        return "its purchase is in the log, and not read yet"

    def _is_deleted(self, record: Written) -> bool:
        """Whether it is gone from the log, with its topic, by retention or since the log lost its end."""
        return self._is_cut(record) or record.offset < self._broker.logs[record.topic, record.partition].start

    def _is_cut(self, record: Written) -> bool:
        return (record.topic, record.partition, record.offset) in self._broker.cut

    def _is_old(self, purchase: Purchase, now: int) -> bool:
        """Whether it may be forgotten for its age, by the offer as it was shown last."""
        assert purchase.record is not None
        shown = max(w.dated for w in self._shown[purchase.offer_id] if w.at <= now)
        record = purchase.record
        if record.event is None:
            return record.at < shown - self._lookback
        # Whoever goes back by time goes by the stamps, and may leave out one that is stamped as wrongly as it is dated.
        is_misplaced = self._broker.lost_at >= 0 and record.timestamp < purchase.at
        at = record.timestamp if is_misplaced else purchase.at
        # What it says is not believed beyond the time when it was written.
        return max(at, min(record.dated, record.at)) < shown - self._lookback

    # --- who is well

    def look(self, process: SimulatedProcess) -> None:
        """To be called after each turn of a process."""
        for partition in range(self._scenario.partitions):
            place = CHECKOUTS, partition
            if process.is_full(partition):
                # It makes its calls, since it reads no further before it has.
                self._begun[process.name, partition] = 0.0
            elif process.dead or partition not in process.service.tasks.runners:
                # One that was given up by the group, and does not know it yet, goes on with the task that it has.
                self._begun[process.name, partition] = self._broker.clock.now
            well = (
                not process.dead
                and process.beats
                and self._broker.fetches(place)
                and process.consumer.reads(place)
                and self._broker.group.runs(process.name, partition)
            )
            if not well:
                self._well_since.pop((process.name, partition), None)
            else:
                self._well_since.setdefault((process.name, partition), self._broker.clock.now)

    # --- what an operator has said

    def on_answer(self, named: Collection[tuple[str, int]], skips: Mapping[tuple[str, int], int]) -> None:
        """An operator has said where to go on: what is left out by that is no fault, if the service had named it.

        `named`: the positions that the command named when it changed them. `skips`: by input, below
        which offset the answer takes for read before what was due by then.
        """
        for (topic, partition), (offset, _) in self._broker.group.committed.items():
            if topic == OFFERS and ((topic, partition) in named or self._is_named(f"{OFFERS}[{partition}]")):
                answered = max(offset, skips.get((OFFERS, partition), 0))
                self._skipped[partition] = max(answered, self._skipped.get(partition, 0))

    def _is_named(self, place: str) -> bool:
        """Whether a start was refused for this partition."""
        return any(line.fields.get("kind") == "PositionsError" and place in line.event for line in self._journal.lines)

    def on_made_anew(self, topic: str) -> None:
        """An input is deleted and made anew: what was not read of it is gone, and that is nobody's fault."""
        if topic == OFFERS:
            for partition in range(self._scenario.partitions):
                end = self._broker.logs[OFFERS, partition].end
                self._skipped[partition] = max(end, self._skipped.get(partition, 0))

    # --- at the end

    def check_end(self) -> None:
        """Every presentation that was written has a fate, or a line that says why not."""
        told: dict[str, list[int]] = defaultdict(list)
        not_found: set[str] = set()
        for log in self._logs(self._broker.outcome_topic):
            for record in log:
                outcome = CODEC.decode_outcome(record.value or b"")
                told[outcome.offer_id].append(outcome.presented_at)
                if outcome.outcome is Outcome.NOT_FOUND:
                    not_found.add(outcome.offer_id)
                if outcome.outcome is Outcome.PURCHASED and outcome.offer_id not in self._purchases:
                    raise Violation(f"{outcome.offer_id} is told to be bought, and nobody bought it")
        self._check_not_found(not_found)
        letters = self._letters()
        lasts = max(rules.lookback for rules in self._scenario.settings)
        for w in self._scenario.records:
            if w.topic != OFFERS or w.says_nothing or (w.partition, w.offset) in letters:
                continue
            if w.offset < self._skipped.get(w.partition, 0):
                continue
            if not isinstance(w.event, OfferPresented):
                raise Violation(
                    f"{OFFERS}[{w.partition}]@{w.offset} cannot be used, and no dead letter or line says so"
                )
            # A chain is told by its last presentation.
            if not any(0 <= at - w.event.presented_at <= lasts for at in told[w.event.offer_id]):
                raise Violation(f"{w.event} has no fate, and no line says why")

    def _check_not_found(self, told: set[str]) -> None:
        """A process believes a run of 404s only for so long as it may be by chance."""
        runs: Counter[tuple[str, str]] = Counter()
        last: dict[str, tuple[str, str, int]] = {}
        for call in self._insurer.calls:
            run = call.process, call.partner_code
            runs[run] += call.status == 204
            if call.status == 404 and call.settling and call.offer_id in told - self._scenario.unknown:
                # Who got the last one believed it. One before may have retried it until its task was taken away.
                last[call.offer_id] = *run, runs[run]
        wrong: dict[tuple[str, str, int], set[str]] = defaultdict(set)
        for offer_id, whose in last.items():
            wrong[whose].add(offer_id)
        for (process, partner, _), offers in wrong.items():
            if len(offers) >= self._scenario.not_found_limit and self._holds_to_known_routes:
                raise Violation(f"{process} believed {len(offers)} 404s of {partner} in a row: {sorted(offers)}")

    def _letters(self) -> set[tuple[int, int]]:
        """The presentations that were dead-lettered, and are named by a line of the log."""
        lines = {
            (line.fields["topic"], line.fields["partition"], line.fields["offset"])
            for line in self._journal.lines
            if line.event == "dead letter"
        }
        found = set()
        for log in self._logs(self._broker.dead_letter_topic):
            for record in log:
                headers = {name: (value or b"").decode() for name, value in record.headers}
                partition, offset = int(headers["source.partition"]), int(headers["source.offset"])
                if headers["source.topic"] == OFFERS and (OFFERS, partition, offset) in lines:
                    found.add((partition, offset))
        return found

    def _logs(self, topic: str) -> list[list[Record]]:
        return [log.records for place, log in self._broker.logs.items() if place[0] == topic]

    # --- what the log tells in time

    def _is_promised(self, offer_id: str) -> bool:
        """Whether each time that the offer was shown its purchase was on time, by true times, in whatever order of
        records and by whatever dates that are believed."""
        shown = self._shown[offer_id]
        sessions = {w.event.session_id for w in shown if w.event is not None}
        all_mine = [w for w in self._scenario.records if w.event is not None and w.event.session_id in sessions]
        # What is dated far behind its record ends nothing sooner, and buys as if its date were true.
        far = [w for w in all_mine if w.topic == CHECKOUTS and far_behind(w, self._scenario.loosest)]
        mine = [w for w in all_mine if w not in far]
        if not all(believed(w, self._scenario.rules) for w in mine):
            return False
        checkouts = [w for w in mine if w.topic == CHECKOUTS]
        errors = [w.dated - w.happened for w in mine] or [0]
        # What is within that of an edge may lie on either side of it, by the dates.
        blur = max(errors) - min(errors)
        buyers = [*checkouts, *far]
        return bool(shown) and all(any(self._buys(c, w, offer_id, checkouts, blur) for c in buyers) for w in shown)

    def _buys(self, checkout: Written, shown: Written, offer_id: str, checkouts: list[Written], blur: int) -> bool:
        """Whether the checkout buys the offer as it was shown there, by all settings, and was written on time."""
        at, since, event = checkout.happened, shown.happened, checkout.event
        if offer_id not in checkout.bought or not isinstance(event, CheckoutCompleted):
            return False
        others = [
            other.happened
            for other in checkouts
            if isinstance(other.event, CheckoutCompleted)
            and other.event.checkout_id != event.checkout_id
            and other.happened >= since - blur
        ]
        return (
            offer_id in event.purchased
            and checkout.at - at <= self._scenario.rules.lateness
            and all(
                since - rules.lookback + blur <= at <= since + rules.window - blur
                # Another checkout before it decides the offer, a grace later.
                and all(at <= other + rules.checkout_grace - blur for other in others)
                for rules in self._scenario.settings
            )
        )
