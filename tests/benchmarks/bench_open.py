"""What an event costs as a hundred times as many sessions are open: the task alone, no broker. It should be flat.

    python tests/benchmarks/bench_open.py [--open 1000 10000 100000] [--events 100000]

A session shows an offer; half of the sessions check out after a while, every third of these buys. The events come as
densely in each row, and all the spans of the rules are longer, so that as many sessions are open at a time as the table
says; the largest has the defaults. Each task is filled until as many are decided as are presented, and only then
measured. An event's cost is that of taking it, deciding, settling, and its share of a commit for each 50,000 events;
decoding is not in it. The tasks take turns, slice by slice, and the median slice is shown, so that what else runs on
the machine falls on all of them alike. Each reason that was decided is held to what the session did.

Python's own time is what grows, if anything: with more open sessions less of them is in the processor's cache.
"""

from __future__ import annotations

import argparse
import sys
import time
import uuid
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random
from statistics import median
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.whole_way.machine import head
from benchmarks.whole_way.rows import Row, add

from consumer.core.chain import Chain
from consumer.core.checkpoint import Position
from consumer.core.rules import DecisionRules
from consumer.core.task import Task
from consumer.events import CheckoutCompleted, OfferPresented, Reason
from consumer.runtime.run import spare_the_collector

BEGIN = 10**12
"""When the first event happens, ms since 1970."""

TURN = 1_000
"""Events between two decisions."""

SLICE = 10_000
"""Events that are measured at a time."""

COMMIT_EVERY = 50_000
"""Events between two commits: somewhat less than the service reads in `kafka.commit_interval` when it catches up."""

Event = tuple[OfferPresented | CheckoutCompleted, int]
"""And its time in ms."""


class Spans(NamedTuple):
    """The rules, and how long after its offer a session checks out (ms)."""

    rules: DecisionRules
    checks_out_after: int

    @property
    def life(self) -> float:
        """How long a session is undecided on average (ms): half of them until a checkout's grace has passed."""
        rules = self.rules
        return (self.checks_out_after + rules.checkout_grace + rules.window) / 2 + rules.lateness


def spans(part: float) -> Spans:
    """A part of the defaults."""
    minute = round(60_000 * part)
    rules = DecisionRules(
        window=30 * minute,
        checkout_grace=minute,
        lookback=120 * minute,
        lateness=5 * minute,
        max_skew=5 * minute,
        checkout_silence=30 * minute,
    )
    return Spans(rules, 5 * minute)


def events(of: Spans, step: float) -> Iterator[Event]:
    """Without end, in the order of time: a session each `step` ms."""
    rng = Random(1)
    waiting = deque[tuple[int, str, str]]()
    number = checkouts = 0
    while True:
        at = BEGIN + round(number * step)
        while waiting and waiting[0][0] <= at:
            moment, session, offer = waiting.popleft()
            bought = (offer,) if checkouts % 3 == 0 else ()
            yield CheckoutCompleted(session, f"checkout-{checkouts}", moment, checkouts, bought), moment
            checkouts += 1
        session, offer = (str(uuid.UUID(int=rng.getrandbits(128), version=4)) for _ in range(2))
        yield OfferPresented(session, "ACME", offer, at, number), at
        if number % 2 == 0:
            waiting.append((at + of.checks_out_after, session, offer))
        number += 1


class Filled:
    """A task with as many open sessions as it is to have."""

    def __init__(self, open_at_a_time: int, most: int) -> None:
        of = spans(open_at_a_time / most)
        self.task = Task(of.rules, partitions=1, offers=Position(0), checkouts=Position(0))
        self.costs: list[float] = []
        self.decided: list[Chain] = []
        self._events = events(of, spans(1.0).life / most)
        self._taken = 0
        while self.task.decided_to <= BEGIN + of.rules.window:
            self.take(list(islice(self._events, SLICE)))
            self.judge()

    def measure(self) -> None:
        """One slice more."""
        made = list(islice(self._events, SLICE))
        began = time.process_time()
        self.take(made)
        self.costs.append((time.process_time() - began) / len(made) * 1e6)
        self.judge()

    def judge(self) -> None:
        """Hold what was decided to what the sessions did: the n-th offer is of the n-th session.

        Raises:
            SystemExit: one was decided wrongly.
        """
        for chain in self.decided:
            expected = Reason.ABANDONED if chain.start % 2 else Reason.DECLINED if chain.start % 6 else Reason.PURCHASED
            if chain.reason is not expected:
                raise SystemExit(f"the offer at {chain.start} is {chain.reason}, and should be {expected}")
        self.decided.clear()

    def take(self, made: list[Event]) -> None:
        """What the service does with events, without the world around it."""
        task = self.task
        for number, (event, at) in enumerate(made, 1):
            if isinstance(event, OfferPresented):
                task.offer(event, at, at)
            else:
                task.checkout(event, at, at)
            if number % TURN == 0:
                for chain in task.decide():
                    task.settle(chain)
                    self.decided.append(chain)
        self._taken += len(made)
        if self._taken % COMMIT_EVERY == 0 and (plan := task.prepare_commit()) is not None:
            task.commit_acknowledged(plan)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--open", type=int, nargs="+", default=[1_000, 10_000, 100_000], help="open at a time")
    parser.add_argument("--events", type=int, default=100_000, help="measured of each")
    arguments = parser.parse_args()
    print(head())
    spare_the_collector()
    filled = {count: Filled(count, max(arguments.open)) for count in arguments.open}
    for number in range(arguments.events // SLICE):
        # Whoever comes first is another one each time.
        for place in range(len(filled)):
            list(filled.values())[(place + number) % len(filled)].measure()
    table = Table(title=f"{arguments.events:,} events: take, decide, settle, commit; median of slices of {SLICE:,}")
    for heading in ("open at a time", "x the first", "us of CPU an event", "undecided at the end"):
        table.add_column(heading, justify="right")
    first = median(filled[arguments.open[0]].costs)
    for count, one in filled.items():
        cost = median(one.costs)
        table.add_row(f"{count:,}", f"{cost / first:.2f}", f"{cost:.1f}", f"{one.task.undecided:,}")
    Console(width=110).print(table)
    fewest, most = (filled[pick(arguments.open)] for pick in (min, max))
    low, high = median(fewest.costs), median(most.costs)
    times = max(arguments.open) // min(arguments.open)
    words = f"{high:.1f} us with {max(arguments.open):,} open to {low:.1f} us with {min(arguments.open):,}"
    add(
        Row(f"an event's cost, {times} times as many open", f"{high / low:.2f} x", words, "<= 1.1 x", high <= 1.1 * low)
    )


if __name__ == "__main__":
    main()
