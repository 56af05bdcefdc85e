"""Hazards: worlds in which one thing goes wrong at one time, each made for one rule that drawn seeds hardly ever test.

The records and the faults of a hazard are fixed. A seed still draws how the world moves: how far time goes at a step,
how much a read brings, who comes first, how long an acknowledgement takes. A hazard is judged by the checkers of every
run, and by three rules that hold because it is made so:

- What was bought is never called, however late an outage made the record: it came within lateness of its end.
- Nothing in it comes late, so nothing is dead-lettered.
- Each answer that settles a call has an outcome of its own, if the process that made the call is still there.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple
from unittest.mock import patch

from simulation.checkers.violation import Violation
from simulation.workload.scenario import CHECKOUTS, CODEC, OFFERS, START, Scenario, Written
from simulation.world import world as world_module
from simulation.world.broker import CommitFault
from simulation.world.insurer import SLOW, Partner
from simulation.world.world import World

from consumer.core.rules import DecisionRules
from consumer.events import CheckoutCompleted, OfferPresented, Outcome

PARTNER = "ada"
WINDOW, GRACE, LOOKBACK, LATENESS = 4.0, 0.5, 4.0, 3.0
"""Seconds. An offer that nobody checks out for is due `WINDOW` after it was shown."""


@dataclass
class Hazard:
    """What happens, in seconds from the start on.

    Attributes:
        records: both inputs, in the order of writing.
        faults: when, and what is done with the world.
        commit_interval: seconds.
        unknown: offers that the insurer answers by 404.
        settled_by_404: a 404 settles each call at once: no guard doubts it.
    """

    records: list[Written] = field(default_factory=list)
    faults: list[tuple[float, Callable[[World], object]]] = field(default_factory=list)
    commit_interval: float = 0.3
    unknown: frozenset[str] = frozenset()
    settled_by_404: bool = False

    def show(self, offer: str, at: float) -> None:
        """An offer is presented, in a session of its own."""
        ms = _ms(at)
        fields = {"event_id": "e", "session_id": offer, "partner_code": PARTNER, "offer_id": offer}
        value = CODEC.encode_offer({**fields, "presented_at": ms})
        offset = self._end(OFFERS)
        event = OfferPresented(offer, PARTNER, offer, ms, offset)
        self.records.append(Written(ms, OFFERS, 0, offset, ms, offer.encode(), value, event, on_time=True, happened=ms))

    def buy(self, offer: str, at: float, *, written: float | None = None) -> None:
        """It is bought; `written`: when its producer could write that. It counts as on time all the same."""
        ms, offset = _ms(at), self._end(CHECKOUTS)
        fields = {"event_id": "e", "session_id": offer, "checkout_id": "c", "purchased_offer_ids": [offer]}
        value = CODEC.encode_checkout({**fields, "completed_at": ms})
        event = CheckoutCompleted(offer, "c", ms, offset, (offer,))
        moment = ms if written is None else _ms(written)
        self.records.append(
            Written(moment, CHECKOUTS, 0, offset, ms, offer.encode(), value, event, True, happened=ms, bought=(offer,))
        )

    def trade(self, begin: float, end: float) -> None:
        """Each second an offer is shown and, a second later, bought."""
        for second in range(int(end - begin)):
            self.show(f"o{second}", begin + second)
            self.buy(f"o{second}", begin + second + 1)

    def during(self, begin: float, end: float, on: Callable[[World], object], off: Callable[[World], object]) -> None:
        """Something lasts for a while."""
        self.faults += [(begin, on), (end, off)]

    def _end(self, topic: str) -> int:
        return sum(record.topic == topic for record in self.records)


class Judged(NamedTuple):
    """What became of a hazard. `failure`: the invariant that broke, in words."""

    failure: str | None
    calls: int
    trace: tuple[str, ...]


def run_hazard(make: Callable[[], Hazard], seed: int) -> Judged:
    """Run a hazard as a seed moves the world."""
    hazard = make()
    scenario = _scenario(hazard, seed)
    with patch.object(world_module, "draw", lambda *_: scenario):
        world = World(seed)
    world.plan = deque((at, partial(fault, world)) for at, fault in sorted(hazard.faults, key=lambda fault: fault[0]))
    failure = None
    with patch.object(world, "_draw_crash_point", lambda: None):
        try:
            world.run()
            _judge(hazard, world)
        except Violation as violation:
            failure = str(violation)
    return Judged(failure, len(world.insurer.calls), tuple(world.trace))


def _scenario(hazard: Hazard, seed: int) -> Scenario:
    rules = DecisionRules(
        window=_s(WINDOW),
        checkout_grace=_s(GRACE),
        lookback=_s(LOOKBACK),
        lateness=_s(LATENESS),
        max_skew=2_000,
        call_abandoned=True,
    )
    return Scenario(
        seed=seed,
        partitions=1,
        instances=1,
        span=60_000,
        settings=[rules],
        checkout_silence=0,
        unmatched_limit=0,
        max_unsettled=1_000,
        commit_interval=hazard.commit_interval,
        group_protocol="classic",
        rejected="hold",
        metadata_limit=4_096,
        loses_metadata=False,
        records=sorted(hazard.records, key=lambda record: record.at),
        unknown=hazard.unknown,
        not_found_limit=0 if hazard.settled_by_404 else 20,
    )


def _judge(hazard: Hazard, world: World) -> None:
    broker, calls = world.broker, world.insurer.calls
    bought = {o for r in hazard.records if isinstance(r.event, CheckoutCompleted) for o in r.event.purchased}
    if called := sorted(bought & {call.offer_id for call in calls}):
        raise Violation(f"{called} were bought, and are called")
    if letters := broker.logs[broker.dead_letter_topic, 0].records:
        raise Violation(f"nothing came late, and {len(letters)} records are dead-lettered")
    there = {process.name for process in world.processes}
    settles = {204: Outcome.OPTED_OUT} | ({404: Outcome.NOT_FOUND} if hazard.settled_by_404 else {})
    told = Counter(
        (outcome.offer_id, outcome.outcome)
        for record in broker.logs[broker.outcome_topic, 0].records
        for outcome in [CODEC.decode_outcome(record.value or b"")]
    )
    answered = Counter(
        (call.offer_id, settles[call.status])
        for call in calls
        if call.settling and call.status in settles and call.process in there
    )
    for (offer, outcome), count in answered.items():
        if told[offer, outcome] < count:
            raise Violation(f"{offer}: {count} calls were answered {outcome}, {told[offer, outcome]} of them are told")


def _ms(seconds: float) -> int:
    return START * 1000 + _s(seconds)


def _s(seconds: float) -> int:
    return round(seconds * 1000)


# --- the hazards


def an_answer_that_takes_long() -> Hazard:
    """The brokers answer after 2.5 s where the inputs end, and meanwhile a purchase is written and not read yet."""
    hazard = Hazard()
    hazard.show("bought", 10.0)
    hazard.buy("bought", 13.9, written=16.9)
    hazard.during(
        0.0, 60.0, lambda w: setattr(w.broker, "answer_delay", 2.5), lambda w: setattr(w.broker, "answer_delay", 0.0)
    )
    hazard.during(
        15.0,
        30.0,
        lambda w: w.broker.stalled.add((CHECKOUTS, 0)),
        lambda w: w.broker.stalled.discard((CHECKOUTS, 0)),
    )
    return hazard


def a_start_at_the_end_of_an_outage() -> Hazard:
    """The instance dies while the brokers are away, and starts as they come back: the producers' buffers still land."""
    hazard = Hazard()
    hazard.show("bought", 10.0)
    hazard.buy("bought", 12.0, written=22.9)
    hazard.during(11.0, 20.0, lambda w: _set_down(w, True), lambda w: _set_down(w, False))
    hazard.faults.append((17.0, lambda w: [process.kill() for process in w.processes]))
    hazard.faults.append((20.1, lambda w: w.start_at(w.clock.now)))
    return hazard


def an_outage() -> Hazard:
    """The brokers are away for a while; what was bought meanwhile lands after they have said that there is no more."""
    hazard = Hazard()
    hazard.show("bought", 10.0)
    hazard.buy("bought", 13.9, written=20.9)
    hazard.during(14.0, 18.0, lambda w: _set_down(w, True), lambda w: _set_down(w, False))
    return hazard


def a_leader_that_changes_unseen() -> Hazard:
    """The checkouts' leader changes between two questions; what the old one did not take lands on the new one."""
    hazard = Hazard()
    hazard.show("bought", 10.0)
    hazard.buy("bought", 12.0, written=18.0)
    hazard.faults.append((15.5, lambda w: _change_leader(w, CHECKOUTS)))
    return hazard


def a_rebalance_while_a_call_is_in_flight() -> Hazard:
    """The insurer takes longer over a call than a revoke waits, and a second instance comes."""
    hazard = Hazard()
    hazard.show("first", 1.0)
    hazard.show("slow", 10.0)
    partner = Partner()
    hazard.during(
        12.0,
        60.0,
        lambda w: (w.insurer.partners.__setitem__(PARTNER, partner), setattr(partner, "mode", SLOW)),
        lambda _: setattr(partner, "mode", "ok"),
    )
    hazard.faults.append((19.5, lambda w: w.start_at(w.clock.now)))
    return hazard


def a_rebalance_while_a_404_is_in_flight() -> Hazard:
    """The same, and the insurer does not know the offer."""
    hazard = a_rebalance_while_a_call_is_in_flight()
    hazard.unknown, hazard.settled_by_404 = frozenset({"slow"}), True
    return hazard


def half_of_each_commit() -> Hazard:
    """Of each commit the broker takes the checkouts' half only, for longer than checkouts are retained; then a kill."""
    hazard = Hazard()
    hazard.trade(5.0, 60.0)
    hazard.during(
        12.0,
        62.0,
        lambda w: setattr(w.broker, "commit_fault", CommitFault.CHECKOUTS_ONLY),
        lambda w: setattr(w.broker, "commit_fault", CommitFault.NONE),
    )
    hazard.faults.append((61.0, lambda w: [process.kill() for process in w.processes]))
    return hazard


def a_member_that_was_given_up() -> Hazard:
    """The instance stands still for longer than its session lasts, and has settled more than it has committed."""
    hazard = Hazard(commit_interval=5.0)
    hazard.trade(5.0, 40.0)
    for begin in (18.0, 33.0):
        hazard.faults.append((begin, lambda w: [process.hold_up(8.0, calls_too=True) for process in w.processes]))
    return hazard


def outcomes_that_are_refused() -> Hazard:
    """The right to write outcomes is withdrawn for a while."""
    hazard = Hazard()
    hazard.trade(5.0, 30.0)
    hazard.during(
        12.0,
        16.0,
        lambda w: w.broker.refused.add(w.broker.outcome_topic),
        lambda w: w.broker.refused.discard(w.broker.outcome_topic),
    )
    return hazard


def _set_down(world: World, down: bool) -> None:
    world.broker.down = down
    if not down:
        for topic in (OFFERS, CHECKOUTS):
            _change_leader(world, topic)


def _change_leader(world: World, topic: str) -> None:
    world.broker.logs[topic, 0].epoch += 1
