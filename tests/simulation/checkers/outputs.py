"""Checks what stands in the output topics: outcomes and dead letters, each against what was read and called."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection

from simulation.checkers.expected import ExpectedFates, Spot
from simulation.checkers.head import HEAD
from simulation.checkers.violation import Violation
from simulation.workload.scenario import CHECKOUTS, CODEC, OFFERS, Written, callable_reason, implausible, is_nothing
from simulation.world.broker import Broker, Record
from simulation.world.insurer import Insurer

from consumer.core.rules import is_before_kafka
from consumer.events import CheckoutCompleted, OfferOutcome, OfferPresented, Outcome, Reason

CALLED = {Outcome.OPTED_OUT, Outcome.NOT_FOUND}
LET_GO = {Outcome.DEAD_LETTERED, Outcome.RELEASED}


class OutputChecker:
    """Reads the output topics as they grow.

    `released`: the offers that an operator has named so far.

    Attributes:
        covered: presentations that are settled, by what is written.
        told: by offer, how many OPTED_OUT are written.
    """

    def __init__(self, expected: ExpectedFates, broker: Broker, insurer: Insurer, released: Collection[str]) -> None:
        self._expected, self._broker, self._insurer = expected, broker, insurer
        self._scenario, self._released = expected.scenario, released
        self.covered: set[Spot] = set()
        self.told: Counter[str] = Counter()
        self._outcomes: dict[Spot, set[Outcome]] = defaultdict(set)
        self._letters: set[tuple[str, int, int]] = set()
        self._rejected: set[Spot] = set()
        self._quarantined: set[Spot] = set()
        self._skipped: dict[tuple[str, int], int] = {}
        self._too_late: dict[Spot, Written] = {}
        self._lost: list[tuple[int, int, int]] = []
        self._seen = {place: 0 for place in broker.logs if place[0] in (broker.outcome_topic, broker.dead_letter_topic)}

    def read(self) -> None:
        """Take in what is new."""
        for place, seen in self._seen.items():
            records = self._broker.logs[place].records
            if len(records) == seen:
                continue
            self._seen[place] = len(records)
            for record in records[seen:]:
                if place[0] == self._broker.outcome_topic:
                    self._take_outcome(CODEC.decode_outcome(record.value or b""))
                else:
                    self._take_dead_letter(record)

    def is_settled(self, topic: str, partition: int, record: Record) -> bool:
        """Whether an offer's or a checkout's record may be behind what is committed."""
        if is_nothing(record.value) or record.offset < self._skipped.get((topic, partition), 0):
            return True
        if topic == OFFERS:
            return (partition, record.offset) in self.covered
        written = self._expected.inputs[topic, partition, record.offset]
        return not self._expected.is_bad(written) or (topic, partition, record.offset) in self._letters

    def on_skip(self, topic: str, partition: int, offset: int) -> None:
        """An operator has said that all below may be left as it is."""
        self._skipped[topic, partition] = max(offset, self._skipped.get((topic, partition), 0))

    def is_too_late(self, written: Written) -> None:
        """When the presentation was written, a commit had long said that all of its time is decided."""
        self._too_late[written.partition, written.offset] = written

    def on_commit(self, partition: int, late_before: int) -> None:
        """A commit says that what was presented before this time (ms) is late; what is not, a restart takes in time."""
        self._too_late = {
            spot: one for spot, one in self._too_late.items() if spot[0] != partition or one.dated < late_before
        }

    def on_loss(self, partition: int, checkouts: int) -> None:
        """The metadata is lost: how much was forgotten is told by the first checkout from this offset on."""
        self._too_late = {spot: one for spot, one in self._too_late.items() if spot[0] != partition}
        self._lost.append((partition, checkouts, self._broker.clock.ms))

    # --- outcomes

    def _take_outcome(self, outcome: OfferOutcome) -> None:
        spot = outcome.source.partition, outcome.source.offset
        written = self._expected.inputs[OFFERS, *spot]
        event = written.event
        if not isinstance(event, OfferPresented) or event.offer_id != outcome.offer_id:
            raise Violation(f"an outcome for {outcome.offer_id} names {spot}, where it is not: {written}")
        if outcome.reason in (Reason.LATE, Reason.IMPLAUSIBLE_TIME):
            # Its dead letter is checked, and is what settles it.
            return
        home = self._expected.home.get(spot)
        if home is None:
            raise Violation(f"{outcome.offer_id} at {spot} is not to be believed, and is told {outcome.reason}")
        self._outcomes[spot].add(outcome.outcome)
        self.told[outcome.offer_id] += outcome.outcome is Outcome.OPTED_OUT
        self._check_outcome(outcome)
        if outcome.outcome is not Outcome.DEAD_LETTERED or outcome.reason is Reason.CHECKOUT_UNREADABLE:
            self._cover(spot)
        if not self._expected.strict(spot) or self._is_withheld(outcome) or self._is_quarantined(outcome):
            return
        if outcome.reason not in (may := self._expected.reasons(spot)) and outcome.reason is not Reason.RELEASED:
            raise Violation(f"{outcome.offer_id} at {spot} is told {outcome.reason}, it is {may}")

    def _is_withheld(self, outcome: OfferOutcome) -> bool:
        """Whether the chain was to be called, and is told as bought by a checkout that the decision does not count.

        That one must have been there to be read when the outcome was written.
        """
        if outcome.outcome is not Outcome.PURCHASED or outcome.note is None:
            return False
        spot = outcome.source.partition, outcome.source.offset
        named = [
            w
            for w in self._scenario.records
            if w.partition == spot[0]
            and isinstance(w.event, CheckoutCompleted)
            and w.event.session_id == outcome.session_id
            and w.event.checkout_id == outcome.checkout_id
            and outcome.offer_id in w.event.purchased
        ]
        if not any(w.at <= self._broker.clock.ms for w in named):
            raise Violation(f"{outcome.offer_id} at {spot} is told as bought by {outcome.checkout_id}: it is not there")
        return self._may_be_called(spot)

    def _is_quarantined(self, outcome: OfferOutcome) -> bool:
        """Whether the chain was to be called, and is not since a checkout of its session cannot be read.

        That one must have been there when the outcome was written.
        """
        if outcome.reason is not Reason.CHECKOUT_UNREADABLE or outcome.note is None:
            return False
        spot = outcome.source.partition, outcome.source.offset
        doubtful = [
            w
            for w in self._scenario.records
            if (w.topic, w.partition) == (CHECKOUTS, spot[0])
            and self._expected.is_bad(w)
            and outcome.session_id in w.sessions
        ]
        if not any(w.at <= self._broker.clock.ms for w in doubtful):
            raise Violation(
                f"{outcome.offer_id} at {spot} is quarantined, and no checkout is there that cannot be read"
            )
        self._quarantined.add(spot)
        return self._may_be_called(spot)

    def _may_be_called(self, spot: Spot) -> bool:
        reasons, settings = self._expected.reasons(spot), self._scenario.settings
        return any(callable_reason(reason, rules) for reason in reasons for rules in settings)

    def _check_outcome(self, outcome: OfferOutcome) -> None:
        """What was done fits why it was done."""
        kind, reason, offer = outcome.outcome, outcome.reason, outcome.offer_id
        called = any(callable_reason(reason, rules) for rules in self._scenario.settings)
        fits = {
            Outcome.PURCHASED: reason is Reason.PURCHASED,
            Outcome.IGNORED: reason is Reason.ABANDONED and not all(r.call_abandoned for r in self._scenario.settings),
            Outcome.OPTED_OUT: called and (offer, 204) in self._insurer.answers,
            Outcome.NOT_FOUND: called and (offer, 404) in self._insurer.answers,
            Outcome.DEAD_LETTERED: reason is Reason.CHECKOUT_UNREADABLE
            or (called and (offer, 422) in self._insurer.answers),
            Outcome.RELEASED: reason is Reason.RELEASED and offer in self._released,
        }[kind]
        if not fits:
            raise Violation(f"{offer}: {reason} cannot be {kind}")

    def _cover(self, spot: Spot) -> None:
        if self._expected.strict(spot):
            self.covered.update((spot[0], offset) for offset in self._expected.home[spot].offsets)
            return
        # Where presentations are given up as late or the rules change, a chain is not the oracle's: all that was
        # shown of the offer up to the chain's last is settled by it.
        last = self._expected.shown[spot].event
        assert isinstance(last, OfferPresented)
        for other, written in self._expected.shown.items():
            event = written.event
            assert isinstance(event, OfferPresented)
            same = (event.session_id, event.offer_id) == (last.session_id, last.offer_id)
            if other[0] == spot[0] and same and event.presented_at <= last.presented_at:
                self.covered.add(other)

    # --- dead letters

    def _take_dead_letter(self, record: Record) -> None:
        headers = {name: (value or b"").decode() for name, value in record.headers}
        topic, reason = headers["source.topic"], headers["reason"]
        spot = int(headers["source.partition"]), int(headers["source.offset"])
        written = self._expected.inputs[topic, *spot]
        if (record.key, record.value) != (written.key, written.value):
            raise Violation(f"the dead letter of {topic}{spot} is not what was read")
        if reason == "rejected":
            offer_id = self._expected.home[spot].offer_id
            if self._scenario.rejected == "hold" or (offer_id, 422) not in self._insurer.answers:
                raise Violation(f"{offer_id} is dead-lettered as rejected, and was not")
            self._rejected.add(spot)
            self._cover(spot)
            return
        fits = {
            "undecodable": self._expected.is_bad(written) and written.event is None,
            "key_mismatch": self._expected.is_bad(written) and written.event is None,
            "implausible_time": topic == OFFERS and any(implausible(written, r) for r in self._scenario.settings),
            "late": topic == OFFERS and self._may_be_late(spot),
        }
        if not fits[reason]:
            raise Violation(f"{topic}{spot} is dead-lettered, and is not {reason}: {written.event}")
        self._letters.add((topic, *spot))
        if topic == OFFERS:
            self.covered.add(spot)

    def _may_be_late(self, spot: Spot) -> bool:
        """Whether a member with one of the scenario's settings may have found the presentation late."""
        written, settings = self._expected.shown.get(spot), self._scenario.settings
        if written is None:
            return False
        assert isinstance(written.event, OfferPresented)
        presented_at = written.event.presented_at
        # A member looks back from a presentation by its own setting, whoever forgot the checkouts: H of a member that
        # looked back 4 s makes late for one that looks back 12 s what is presented less than 12 s after it.
        longest = max(rules.lookback for rules in settings)
        if any(presented_at < self._horizon(*lost) + longest for lost in self._lost if lost[0] == spot[0]):
            return True
        if self._broker.lost_at >= 0:
            # By what H is learnt then, a first record, a clock, an operator's answer, hangs on who starts when. Late is
            # the safe side; that nothing is called which it would forbid is the second judge's word. But none of these
            # lies further ahead than skew and lateness, and none counts that comes after H is known.
            known_at = self._broker.known_at.get(spot[0], self._broker.clock.now)
            rules = self._scenario.rules
            if presented_at < 1000 * known_at + rules.max_skew + rules.lateness + longest:
                return True
        eaten = written.event.session_id in self._scenario.eaten
        if self._scenario.one_setting and written.on_time and not eaten:
            return False
        watermark = self._broker.clock.ms - self._scenario.rules.lateness - 1
        late_after = min(rules.late_after for rules in settings)
        if self._broker.logs[CHECKOUTS, spot[0]].start > 0:
            # The checkouts that a raised lookback asks for may be deleted: H stays where the shorter one left it.
            late_after = min(rules.late_after + rules.lookback for rules in settings) - longest
        return presented_at < watermark - late_after

    def _horizon(self, partition: int, checkouts: int, lost_at: int) -> int:
        """H (ms) after a loss: checkouts from before it may be gone.

        Where it is not known that the topic is the same, the first checkout's record tells when it was begun anew.
        """
        rules, now = self._scenario.rules, self._broker.clock.ms
        left = [w for w in self._scenario.records if w.topic == CHECKOUTS and w.partition == partition]
        left = [w for w in left if w.offset >= checkouts]
        believed = {c.offset: c.completed_at for c in self._scenario.checkouts(partition)}
        # One in seconds tells nothing; where too few others are there yet, the clock tells.
        dated = [w for w in left if w.offset in believed and not is_before_kafka(believed[w.offset], now)][:HEAD]
        # An operator's answer goes by the first records whatever they say, and by their stamps alone.
        is_told = not any(is_before_kafka(w.timestamp, now) for w in left[:HEAD])
        if len(dated) < HEAD or dated[-1].at > lost_at or not is_told:
            return now + rules.max_skew + rules.lateness
        stamps = [min(now, w.timestamp) for w in left[: max(HEAD, left.index(dated[-1]) + 1)]]
        return max([max(stamps) + rules.max_skew, *(believed[w.offset] for w in dated)]) + rules.lateness

    # --- at the end

    def check_end(self) -> None:
        """Every record has met its one fate."""
        self.read()
        for (topic, *spot), written in self._expected.inputs.items():
            if not self.is_settled(topic, spot[0], Record(written.offset, 0, written.key, written.value)):
                raise Violation(f"{topic}{spot} {written.event} was lost")
        for spot, written in self._too_late.items():
            if (OFFERS, *spot) not in self._letters:
                raise Violation(f"{written.event} came far too late, and is not dead-lettered")
        for spot, kinds in self._outcomes.items():
            may = self._expected.reasons(spot)
            if not self._expected.strict(spot) or len(may) > 1:
                continue
            tainted = may == {Reason.CHECKOUT_UNREADABLE}
            told = self._rejected | self._quarantined
            if kinds == {Outcome.DEAD_LETTERED} and not tainted and spot not in told:
                raise Violation(f"{spot} is told to be dead-lettered, and is not")
            withheld = {Outcome.PURCHASED} if self._expected.home[spot].may_withhold else set()
            if len(kinds) > 1 and not kinds <= CALLED | LET_GO | withheld:
                raise Violation(f"{spot} has met {len(kinds)} fates: {kinds}")
