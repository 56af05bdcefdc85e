"""The invariants, judged from outside: what was committed, what was called, what stands in the output topics."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable

from broker import Broker, Place, Record
from insurer import Call
from scenario import CODEC, OFFERS, Scenario, Written, callable_reason
from unit.oracle import Fate, fates

from consumer.events import CheckoutCompleted, OfferOutcome, OfferPresented, Outcome, Reason

OUTCOME_OF = {
    Reason.PURCHASED: {Outcome.PURCHASED},
    Reason.DECLINED: {Outcome.OPTED_OUT, Outcome.NOT_FOUND},
    Reason.ABANDONED: {Outcome.OPTED_OUT, Outcome.NOT_FOUND, Outcome.IGNORED},
    Reason.CHECKOUT_UNREADABLE: {Outcome.DEAD_LETTERED},
}


class Violation(AssertionError):  # noqa: N818 - what it is, and no error of the simulation
    """An invariant is broken."""


class Judge:
    """Knows the scenario and the oracle's fates; is told of commits, calls and records written."""

    def __init__(self, scenario: Scenario, broker: Broker, concurrency: int, tell: Callable[[str], None]) -> None:
        self._scenario, self._broker, self._tell = scenario, broker, tell
        self._concurrency = concurrency
        self._home: dict[tuple[int, int], Fate] = {}
        self._else: dict[tuple[int, int], Fate] = {}
        self._chains: dict[str, list[Fate]] = defaultdict(list)
        self._shown: dict[tuple[int, int], Written] = {}
        for partition in range(scenario.partitions):
            for fate in scenario.fates(partition):
                self._chains[fate.offer_id].append(fate)
                self._home.update(((partition, offset), fate) for offset in fate.offsets)
            for fate in scenario.fates(partition, widely=True):
                self._else.update(((partition, offset), fate) for offset in fate.offsets)
            self._shown.update(((partition, w.offset), w) for w in scenario.presentations(partition))
        self._partition_of = {o: p for (p, _), f in self._home.items() for o in [f.offer_id]}
        self._surely_bought = self._find_surely_bought()
        self._covered: set[tuple[int, int]] = set()
        self._outcomes: dict[tuple[int, int], set[Outcome]] = defaultdict(set)
        self._settling: Counter[str] = Counter()
        self._answered: Counter[str] = Counter()
        self._told: Counter[str] = Counter()
        self._since_commit: Counter[int] = Counter()
        self._allowed_repeats: Counter[int] = Counter()
        self._seen = {place: 0 for place in broker.logs if place[0] in (broker.outcome_topic, broker.dead_letter_topic)}
        broker.on_commit = self.on_commit

    # --- while it runs

    def on_call(self, call: Call) -> None:
        """No call before its watermark; none for an offer that was bought."""
        offer = call.offer_id
        if offer in self._surely_bought:
            raise Violation(f"{offer} was bought, and is called")
        partition = self._partition_of[offer]
        if self._scenario.strict:
            rules = self._scenario.rules
            due = [
                fate.decide_at
                for chains in (self._chains[offer], self._alternatives(offer))
                for fate in chains
                if callable_reason(fate.reason, rules) and fate.reason.value == call.reason
            ]
            if not due:
                raise Violation(f"{offer} is called as {call.reason}, and has no chain of that fate")
            if call.at <= min(due) + rules.lateness:
                raise Violation(f"{offer} is called at {call.at}, before its watermark: it is due at {min(due)}")
        self._answered[offer] += call.settling
        owner = self._broker.group.members.get(call.process)
        if call.settling and (owner is None or partition not in owner.partitions):
            # A member that was frozen does not know yet that it lost the task; the new one makes the call too.
            self._allowed_repeats[partition] += 1
        if call.settling and call.status == 204:
            # Not a 404: while the guard does not believe it, it is asked again, and settles nothing.
            self._settling[offer] += 1
            self._since_commit[partition] += 1

    def on_begin(self, partition: int) -> None:
        """A member begins with a task: it may repeat what was not committed."""
        self._allowed_repeats[partition] += self._concurrency + self._since_commit[partition]

    def on_commit(self, offsets: dict[Place, tuple[int, str]]) -> None:
        """Committed is never more than what is settled, and never goes back."""
        self.read_outputs()
        committed = self._broker.group.committed
        for (topic, partition), (offset, _) in offsets.items():
            before = committed.get((topic, partition), (0, ""))[0]
            if offset < before and (self._scenario.strict or topic == OFFERS):
                raise Violation(f"the commit of {topic}[{partition}] goes back from {before} to {offset}")
            if topic == OFFERS:
                for record in self._broker.logs[topic, partition].records:
                    settled = record.value is None or (partition, record.offset) in self._covered
                    if before <= record.offset < offset and not settled:
                        raise Violation(f"committed {offset} of {topic}[{partition}]: {record.offset} is not settled")
                self._since_commit[partition] = self._untold(partition)
        if self._scenario.strict:
            self._check_hold({**committed, **offsets})

    def _check_hold(self, committed: dict[Place, tuple[int, str]]) -> None:
        """An offer that would be read again is never without the checkout that bought it."""
        for (partition, offset), fate in self._home.items():
            if fate.reason is not Reason.PURCHASED:
                continue
            from_offer = committed.get((OFFERS, partition), (0, ""))[0]
            from_checkout = committed.get((self._broker.topics[1], partition), (0, ""))[0]
            if offset < from_offer or (partition, offset) in self._covered:
                continue
            if not any(c >= from_checkout for c in self._buyers(partition, fate)):
                raise Violation(f"{fate.offer_id} at {offset} would be read again without the checkout that bought it")

    def _buyers(self, partition: int, fate: Fate) -> list[int]:
        rules = self._scenario.rules
        return [
            w.offset
            for w in self._scenario.records
            if w.partition == partition
            and w.topic != OFFERS
            and w.event is not None
            and not isinstance(w.event, OfferPresented)
            and w.event.session_id == fate.session_id
            and fate.offer_id in w.event.purchased
            and fate.begin - rules.lookback <= w.event.completed_at <= fate.decide_at
        ]

    def read_outputs(self) -> None:
        """Take in what was written to the output topics."""
        for place, seen in self._seen.items():
            records = self._broker.logs[place].records
            for record in records[seen:]:
                if place[0] == self._broker.outcome_topic:
                    self._take_outcome(CODEC.decode_outcome(record.value or b""))
                else:
                    self._take_dead_letter(record)
            self._seen[place] = len(records)

    def _take_outcome(self, outcome: OfferOutcome) -> None:
        place = outcome.source.partition, outcome.source.offset
        self._outcomes[place].add(outcome.outcome)
        self._told[outcome.offer_id] += outcome.outcome is Outcome.OPTED_OUT
        self._covered.add(place)
        home = self._home.get(place)
        if outcome.reason in (Reason.LATE, Reason.IMPLAUSIBLE_TIME) or home is None:
            if self._scenario.strict and place in self._home:
                raise Violation(f"{outcome.offer_id} at {place} is on time, and is given up: {outcome.reason}")
            return
        if not self._scenario.strict:
            self._cover_by_offer(outcome, place[0])
            return
        self._covered.update((place[0], offset) for offset in home.offsets)
        if outcome.reason not in (home.reason, self._else[place].reason):
            raise Violation(f"{outcome.offer_id} at {place} is told {outcome.reason}, it is {home.reason}")
        if outcome.outcome not in OUTCOME_OF[outcome.reason]:
            raise Violation(f"{outcome.offer_id}: {outcome.reason} cannot be {outcome.outcome}")

    def _cover_by_offer(self, outcome: OfferOutcome, partition: int) -> None:
        # Where presentations are given up as late or the rules change, a chain is not the oracle's: all that was
        # shown of the offer up to the chain's last is settled by it.
        for place, written in self._shown.items():
            event = written.event
            assert isinstance(event, OfferPresented)
            same = (event.session_id, event.partner_code, event.offer_id) == (
                outcome.session_id, outcome.partner_code, outcome.offer_id,
            )  # fmt: skip
            if place[0] == partition and same and event.presented_at <= outcome.presented_at:
                self._covered.add(place)

    def _take_dead_letter(self, record: Record) -> None:
        headers = {name: (value or b"").decode() for name, value in record.headers}
        place = int(headers["source.partition"]), int(headers["source.offset"])
        if headers["source.topic"] != OFFERS:
            return
        if headers["reason"] == "rejected":
            return
        if self._scenario.strict and place in self._home:
            raise Violation(f"offset {place} is on time, and is dead-lettered: {headers['reason']}")
        self._covered.add(place)

    # --- at the end

    def check_end(self) -> None:
        """Every chain has met its one fate, every other record is dead-lettered, and repeats are bounded."""
        self.read_outputs()
        scenario, rules = self._scenario, self._scenario.rules
        for written in scenario.records:
            place = written.partition, written.offset
            if written.topic == OFFERS and written.value is not None and place not in self._covered:
                raise Violation(f"{place} {written.event} was lost")
        if not scenario.strict:
            return
        for offer, chains in self._chains.items():
            wanted = sum(callable_reason(fate.reason, rules) for fate in chains)
            tainted = any(f.reason is Reason.CHECKOUT_UNREADABLE for f in self._alternatives(offer))
            if self._answered[offer] < wanted and not tainted:
                raise Violation(f"{offer}: {wanted} chains are to be called, and {self._answered[offer]} were")
        for place, outcomes in self._outcomes.items():
            kinds = {Outcome.OPTED_OUT if o is Outcome.NOT_FOUND else o for o in outcomes}
            if len(kinds) > 1 and self._else[place].reason is not Reason.CHECKOUT_UNREADABLE:
                raise Violation(f"{place} has met {len(kinds)} fates: {kinds}")
        self._check_repeats()

    def _check_repeats(self) -> None:
        rules = self._scenario.rules
        for partition in range(self._scenario.partitions):
            repeats = 0
            for offer, chains in self._chains.items():
                if self._partition_of[offer] == partition:
                    wanted = sum(callable_reason(fate.reason, rules) for fate in chains)
                    repeats += max(0, self._settling[offer] - wanted)
            if repeats > self._allowed_repeats[partition]:
                raise Violation(
                    f"partition {partition}: {repeats} repeated, {self._allowed_repeats[partition]} allowed"
                )

    def _untold(self, partition: int) -> int:
        """Calls that were answered 204, and whose outcome is not written yet: a commit cannot rely on them."""
        mine = (offer for offer in self._settling if self._partition_of[offer] == partition)
        return sum(max(0, self._settling[offer] - self._told[offer]) for offer in mine)

    @property
    def repeats(self) -> int:
        """Settling answers beyond one a chain."""
        rules = self._scenario.rules
        return sum(
            max(0, self._settling[offer] - sum(callable_reason(f.reason, rules) for f in chains))
            for offer, chains in self._chains.items()
        )

    # --- inside

    def _alternatives(self, offer: str) -> list[Fate]:
        return [self._else[p, o] for (p, o), f in self._home.items() if f.offer_id == offer]

    def _find_surely_bought(self) -> set[str]:
        """Offers of which every presentation, even alone, was bought by a checkout on time, by any of the settings."""
        callable_offers: set[str] = set()
        for partition in range(self._scenario.partitions):
            # One that comes late may end a chain sooner, if it is read in time for that; what it buys is not relied on.
            checkouts = [
                w.event if w.on_time else _empty(w.event)
                for w in self._scenario.records
                if w.partition == partition and isinstance(w.event, CheckoutCompleted)
            ]
            for written in self._scenario.presentations(partition):
                assert isinstance(written.event, OfferPresented)
                for rules in self._scenario.settings:
                    (alone,) = fates([written.event], checkouts, rules)
                    if alone.reason is not Reason.PURCHASED:
                        callable_offers.add(written.event.offer_id)
        return set(self._chains) - callable_offers


def _empty(checkout: CheckoutCompleted) -> CheckoutCompleted:
    return CheckoutCompleted(checkout.session_id, checkout.checkout_id, checkout.completed_at, checkout.offset, ())
