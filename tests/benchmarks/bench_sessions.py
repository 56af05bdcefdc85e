"""What a record costs where everybody has one session id, against sessions of their own: the join alone, no broker.

    python tests/benchmarks/bench_sessions.py [--open 1000 4000 16000]

A producer that writes a constant where the session belongs makes one session of a whole partition. It joins nothing
rightly, but it must not stop the service: a record's cost may not grow with what is open. Each run plays ten minutes of
offers, a checkout to ten of them; so many are shown within checkout_grace that, as a rule, as many are open as the
table says. Figures are compared only within one run.
"""

from __future__ import annotations

import argparse
import time

from rich.console import Console
from rich.table import Table

from consumer.core.checkpoint import Position
from consumer.core.rules import DecisionRules
from consumer.core.task import Task
from consumer.events import CheckoutCompleted, OfferPresented

RULES = DecisionRules(window=1_800_000, checkout_grace=60_000, lookback=7_200_000, lateness=0, max_skew=300_000)

SPAN = 600_000
"""Milliseconds that are played."""

TURN = 500
"""Records between two decisions."""


def play(open_at_a_time: int, *, shared: bool) -> tuple[float, int]:
    """Microseconds of CPU a record, and how many chains were decided."""
    task = Task(RULES, partitions=1, offers=Position(0), checkouts=Position(0))
    offers = SPAN * open_at_a_time // RULES.checkout_grace
    step = RULES.checkout_grace / open_at_a_time
    begin, checkouts, decided = 10**12, 0, 0
    started = time.process_time()
    for number in range(offers):
        at = begin + round(number * step)
        session_id = "everyone" if shared else f"s{number // 10}"
        task.offer(OfferPresented(session_id, "ACME", f"o{number}", at, number), at, at)
        if number % 10 == 9:
            bought = (f"o{number}",) if number % 30 == 9 else ()
            task.checkout(CheckoutCompleted(session_id, f"c{checkouts}", at, checkouts, bought), at, at)
            checkouts += 1
        if number % TURN == 0:
            for chain in task.decide():
                decided += 1
                task.settle(chain)
    return (time.process_time() - started) / (offers + checkouts) * 1e6, decided


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--open", type=int, nargs="+", default=[1_000, 4_000, 16_000], help="open at a time")
    arguments = parser.parse_args()
    table = Table(title="join, decide, settle: microseconds a record")
    for heading in ("open at a time", "one session : own sessions", "one session", "own sessions"):
        table.add_column(heading, justify="right")
    for count in arguments.open:
        own, decided = play(count, shared=False)
        one, as_many = play(count, shared=True)
        if decided != as_many:
            raise SystemExit(f"one session decided {as_many} chains, own sessions {decided}")
        table.add_row(f"{count:,}", f"{one / own:.1f}", f"{one:.1f}", f"{own:.1f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
