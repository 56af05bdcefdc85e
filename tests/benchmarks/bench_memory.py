"""How much memory an offer takes: while it is undecided, and once it is decided and its call waits.

    python tests/benchmarks/bench_memory.py [--offers 200000] [--metadata]

The second figure is what `consumer.runtime.memory.BYTES_AN_UNSETTLED_CHAIN` says. Records are decoded, joined and
decided as in the service, the calls wait in a real delivery whose API never answers, and the process's resident
memory is looked at in between. Ids are UUIDs, as they come. With --metadata each offer has four keys that go to the
insurer.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import uuid
from collections.abc import Callable, Hashable
from pathlib import Path
from random import Random

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.kafka import Message
from support.runner_world import FakeRecordReader, SlowSink, edges, limits

from consumer.calls import Answer, OptOutCall
from consumer.codecs.plain import PlainCodec
from consumer.core.checkpoint import Position
from consumer.core.rules import DecisionRules
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.delivery.thread import DeliveryThread
from consumer.runtime.run import spare_the_collector
from consumer.runtime.runner import TaskRunner
from consumer.settings import DeliverySettings

RULES = DecisionRules(window=1_800_000, checkout_grace=60_000, lookback=7_200_000, lateness=300_000, max_skew=300_000)

KEYS = ("campaign", "page", "variant", "device")

BEGIN = 1_700_000_000_000


class Hanging:
    """An API that never answers."""

    async def __call__(self, call: OptOutCall, may_leave: Callable[[], bool], /) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    def credential_of(self, partner_code: str) -> Hashable:
        return partner_code

    async def aclose(self) -> None: ...


def resident() -> int:
    """Bytes of this process that are in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def present(runner: TaskRunner, codec: PlainCodec, number: int, rng: Random, metadata: bool) -> None:
    session_id = str(uuid.UUID(int=rng.getrandbits(128)))
    event = {
        "event_id": str(number),
        "session_id": session_id,
        "partner_code": "ACME",
        "offer_id": str(uuid.UUID(int=rng.getrandbits(128))),
        "presented_at": BEGIN + number,
        "product_code": "trip",
        "country": "DE",
        "currency": "EUR",
        "price": f"{rng.randrange(500, 3000) / 100:.2f}",
        "metadata": {key: f"{rng.randrange(10**9)}" for key in KEYS} if metadata else {},
    }
    at = BEGIN + number
    message = Message("offers", 0, number, session_id.encode(), codec.encode_offer(event), timestamp=at)
    runner.on_message(Side.OFFERS, message, at)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--offers", type=int, default=200_000)
    parser.add_argument("--metadata", action="store_true")
    arguments = parser.parse_args()
    count, rng, codec = arguments.offers, Random(1), PlainCodec(KEYS)
    spare_the_collector()
    runner = TaskRunner(
        0,
        Task(RULES, partitions=1, offers=Position(0), checkouts=Position(0)),
        topics=("offers", "checkouts"),
        edges=edges(outputs=SlowSink(), record_reader=FakeRecordReader(), codec=codec),
        bad_records=limits(100),
    )
    delivery = DeliveryThread(lambda _: Hanging(), DeliverySettings(concurrency=64, rate_limit=0))
    delivery.start()

    empty = resident()
    for number in range(count):
        present(runner, codec, number, rng, arguments.metadata)
    undecided = resident()
    for side in Side:
        runner.task.idle(side, BEGIN + count + RULES.window + RULES.lateness + 1)
    calls = runner.decide()
    assert len(calls) == count
    delivery.submit(calls)
    del calls
    while delivery.snapshot().calls.queued + delivery.snapshot().calls.in_flight < count:
        pass
    unsettled = resident()

    table = Table(title=f"{count:,} offers")
    for heading in ("an offer that is", "bytes of resident memory"):
        table.add_column(heading, justify="left" if heading[0] == "a" else "right")
    table.add_row("undecided", f"{(undecided - empty) / count:,.0f}")
    table.add_row("decided, its call waiting", f"{(unsettled - empty) / count:,.0f}")
    Console(width=110).print(table)
    delivery.stop(0)


if __name__ == "__main__":
    main()
