"""What metrics cost: counting each decision and outcome, making a snapshot, and answering who asks.

    python tests/benchmarks/bench_metrics.py [--offers 100000]

Offers and the checkouts that bought them are read, joined, decided and settled by a task's runner, with counting and
without, in turns. What snapshots cost the join is in `bench_join.py`. Ratios are of processor time within one run.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import structlog
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import virtual_time
from support.builders import CODEC, NOW, checkout, offer
from support.delivery_world import FAILED, DeliveryWorld
from support.loop_world import LoopWorld
from support.runner_world import RULES, Sink, edges, limits

from consumer.core.checkpoint import Position
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.events import OfferOutcome
from consumer.runtime.counts import Counts
from consumer.runtime.runner import TaskRunner
from consumer.server.collector import Exposition


class Nothing(dict[object, int]):
    """Counts nothing."""

    def __missing__(self, key: object) -> int:
        return 0

    def __setitem__(self, key: object, value: int) -> None: ...


class NoCounts(Counts):
    """Counts nothing, and remembers nothing."""

    def __init__(self) -> None:
        super().__init__(time.time)
        self.decisions = Nothing()  # type: ignore[assignment]

    def outcome(self, outcome: OfferOutcome) -> None: ...


class Forgetful(Sink):
    """Keeps nothing of what is written; encodes it, as it always is."""

    def outcome(self, outcome: OfferOutcome, partition: int) -> None:
        CODEC.encode_outcome(outcome)


def decide(offers: int, counts: Counts) -> float:
    """Seconds of processor time in which so many bought offers are read, decided and settled."""
    runner = TaskRunner(
        0,
        Task(RULES, partitions=1, offers=Position(0), checkouts=Position(0)),
        topics=("offers", "checkouts"),
        edges=edges(outputs=Forgetful()),
        bad_records=limits(100),
        late_limit=0,
        counts=counts,
    )
    at = NOW - 100_000
    read = [
        (offer(n, at, session=f"s{n}", offer_id=f"o{n}"), checkout(n, at + 1, f"o{n}", session=f"s{n}"))
        for n in range(offers)
    ]
    begin = time.process_time()
    for shown, completed in read:
        runner.on_message(Side.OFFERS, shown, NOW)
        runner.on_message(Side.CHECKOUTS, completed, NOW)
    for side in Side:
        runner.task.idle(side, NOW)
    assert runner.decide() == []
    return time.process_time() - begin


def seconds_of(what: Callable[[], object], times: int = 50) -> float:
    """Of processor time, each time."""
    begin = time.process_time()
    for _ in range(times):
        what()
    return (time.process_time() - begin) / times


def delivery_of(partners: int) -> float:
    """Seconds that the delivery's part of a snapshot takes, with a call of so many partners waiting."""

    async def main() -> float:
        world = DeliveryWorld(lambda _: FAILED, concurrency=1)
        for number in range(partners):
            world.submit("o", partner=f"partner-{number}")
        await world.until(1.0)
        return seconds_of(world.delivery.snapshot)

    return virtual_time.run(main())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--offers", type=int, default=100_000)
    offers = parser.parse_args().offers
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    spent = {True: 0.0, False: 0.0}
    for turn in range(6):
        for counted in (True, False) if turn % 2 else (False, True):
            spent[counted] += decide(offers, Counts(time.time) if counted else NoCounts())

    world = LoopWorld(partitions=100)
    world.begin()
    runner = world.runner
    world.loop.tasks.runners.update(dict.fromkeys(range(100), runner))
    for number in range(20):
        world.turn([offer(number, 10_000 + number, offer_id=f"o{number}")])
    world.loop._snapshots.take(stopping=False)
    exposition = Exposition(world.latest, iter(range(10**6)).__next__)

    table = Table(title=f"metrics: {offers:,} decisions a turn, 100 tasks")
    for heading in ("what", "ratio", "figure"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    table.add_row(
        "reading, deciding and settling with counting, to without",
        f"{spent[True] / spent[False]:.3f}",
        f"{(spent[True] - spent[False]) / (6 * offers) * 1e9:,.0f} ns a decision",
    )
    snapshot = seconds_of(lambda: world.loop._snapshots.take(stopping=False))
    table.add_row("a snapshot of 100 tasks, once a second", f"{snapshot:.2%}", f"{snapshot * 1000:.2f} ms")
    for partners in (10, 1_000, 10_000):
        taken = delivery_of(partners)
        table.add_row(
            f"the calls' part, {partners:,} partners, twice a second", f"{2 * taken:.2%}", f"{taken * 1000:.2f} ms"
        )
    answer = seconds_of(lambda: exposition.answer(""), times=10)
    table.add_row("answering GET /metrics, 100 tasks, each 15 s", f"{answer / 15:.2%}", f"{answer * 1000:.1f} ms")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
