"""How much memory an offer takes, undecided and while its call waits, and what goes on while a million calls wait.

    python tests/benchmarks/bench_memory.py [--offers 200000] [--metadata]

The second figure is what `consumer.runtime.memory.BYTES_AN_UNSETTLED_CHAIN` says. Records are decoded, joined and
decided as in the service, in its portions; the calls wait in a real delivery, since the API answers 503 to all of their
partner. The process's resident memory is looked at in between. Ids are UUIDs, as they come. With --metadata each offer
has four keys that go to the insurer. The baseline is what the day's loop of `peers/` holds of the same records.

Then offers of another partner come, of which every third is bought and the others are answered 204: to this task, and
to one where nothing waits. They take turns, and the fate of each offer is held to what was bought. Compared are the
processor time of reading, joining and deciding, the time until the calls are answered, and that of making a commit.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import sys
import time
import uuid
from collections.abc import Callable, Hashable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from statistics import median
from types import SimpleNamespace
from typing import Any

import structlog
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.whole_way.contenders import days_loop
from benchmarks.whole_way.machine import head
from benchmarks.whole_way.measured import resident_of
from benchmarks.whole_way.rows import Row, add
from support.kafka import Message
from support.runner_world import FakeRecordReader, SlowSink, edges, limits

from consumer.calls import RECORDED, Answer, AnswerKind, OptOutCall
from consumer.codecs.plain import PlainCodec
from consumer.core.checkpoint import Position
from consumer.core.rules import DecisionRules
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.delivery.thread import DeliveryThread
from consumer.events import Outcome
from consumer.runtime.loop import PORTION
from consumer.runtime.run import spare_the_collector
from consumer.runtime.runner import TaskRunner
from consumer.settings import DeliverySettings

RULES = DecisionRules(window=1_800_000, checkout_grace=60_000, lookback=7_200_000, lateness=300_000, max_skew=300_000)

KEYS = ("campaign", "page", "variant", "device")

BEGIN = 1_700_000_000_000

DOWN, UP = "ACME", "HARBOR"
"""A partner of whose calls none is answered, and one whose calls all are."""

SLICE, SLICES = 3_000, 20
"""Offers that come at a time while the others wait, and how often."""


class HalfDown:
    """An API that is down for one partner."""

    async def __call__(self, call: OptOutCall, may_leave: Callable[[], bool], /) -> Answer:
        return Answer(AnswerKind.TRANSIENT, 503) if call.partner_code == DOWN else RECORDED

    def credential_of(self, partner_code: str) -> Hashable:
        return partner_code

    async def aclose(self) -> None: ...


def resident() -> int:
    """Bytes of this process that are in memory, without what nobody needs any more."""
    gc.collect()
    return resident_of()


class Shop:
    """Records as they come, a session each."""

    def __init__(self, metadata: bool) -> None:
        self.codec, self.rng, self.shown, self.completed = PlainCodec(KEYS), Random(1), 0, 0
        self._metadata = metadata

    def show(self, partner: str) -> tuple[Message, str, str]:
        """The next offer, its session, and its id."""
        number, rng = self.shown, self.rng
        session_id, offer_id = (str(uuid.UUID(int=rng.getrandbits(128))) for _ in range(2))
        event = {
            "event_id": str(number),
            "session_id": session_id,
            "partner_code": partner,
            "offer_id": offer_id,
            "presented_at": BEGIN + number,
            "product_code": "trip",
            "country": "DE",
            "currency": "EUR",
            "price": f"{rng.randrange(500, 3000) / 100:.2f}",
            "metadata": {key: f"{rng.randrange(10**9)}" for key in KEYS} if self._metadata else {},
        }
        self.shown += 1
        value = self.codec.encode_offer(event)
        return Message("offers", 0, number, session_id.encode(), value, timestamp=BEGIN + number), session_id, offer_id

    def buy(self, session_id: str, offer_id: str) -> Message:
        """A checkout of now."""
        number, at = self.completed, BEGIN + self.shown
        event = {
            "event_id": str(number),
            "session_id": session_id,
            "checkout_id": str(number),
            "completed_at": at,
            "purchased_offer_ids": [offer_id],
        }
        self.completed += 1
        return Message("checkouts", 0, number, session_id.encode(), self.codec.encode_checkout(event), timestamp=at)


class Service:
    """A task's runner and the calls, without a broker."""

    def __init__(self, metadata: bool) -> None:
        self.shop, self.sink = Shop(metadata), SlowSink()
        self.runner = TaskRunner(
            0,
            Task(RULES, partitions=1, offers=Position(0), checkouts=Position(0)),
            topics=("offers", "checkouts"),
            edges=edges(outputs=self.sink, record_reader=FakeRecordReader(), codec=self.shop.codec),
            bad_records=limits(100),
            late_limit=0,
        )
        self.delivery = DeliveryThread(lambda _: HalfDown(), DeliverySettings(concurrency=64, rate_limit=0))
        self.delivery.start()
        self.reading, self.calling, self.committing = list[float](), list[float](), list[float]()
        self._now = 0

    def show(self, count: int) -> None:
        """Read so many offers of the partner whose calls are not answered."""
        for _ in range(count):
            message, _, _ = self.shop.show(DOWN)
            self.runner.on_message(Side.OFFERS, message, message.timestamp()[1])

    def decide(self) -> int:
        """All that was read, once its time has come; how many calls are to be made."""
        self._now += RULES.window + RULES.lateness + 1
        for side in Side:
            self.runner.task.idle(side, BEGIN + self.shop.shown + self._now)
        made = 0
        while calls := self.runner.decide(most=PORTION):
            self.delivery.submit(calls)
            made += len(calls)
        return made

    def wait_for(self, unsettled: int) -> None:
        """Until the delivery has taken over so many."""
        until = time.monotonic() + 120
        while sum(self.delivery.snapshot().calls.unsettled.values()) < unsettled:
            if time.monotonic() > until:
                raise SystemExit(f"the delivery has not taken over {unsettled:,} calls within two minutes")
            time.sleep(0.05)

    def go_on(self) -> None:
        """A slice of the other partner: measure, and hold each fate to what was bought."""
        expected: dict[str, Outcome] = {}
        records: list[tuple[Side, Message]] = []
        # In the future by now: what is behind the watermark would be late.
        self.shop.shown += self._now
        self._now = 0
        for number in range(SLICE):
            message, session_id, offer_id = self.shop.show(UP)
            records.append((Side.OFFERS, message))
            expected[offer_id] = Outcome.PURCHASED if number % 3 == 0 else Outcome.OPTED_OUT
            if number % 3 == 0:
                records.append((Side.CHECKOUTS, self.shop.buy(session_id, offer_id)))
        self.sink.outcomes.clear()
        began = time.thread_time()
        for side, message in records:
            self.runner.on_message(side, message, message.timestamp()[1])
        made = self.decide()
        self.reading.append(time.thread_time() - began)
        began = time.perf_counter()
        for _ in range(made):
            self.runner.on_result(self.delivery.results.get(timeout=60))
        self.calling.append(time.perf_counter() - began)
        began = time.perf_counter()
        if (plan := self.runner.task.prepare_commit()) is not None:
            self.runner.task.commit_acknowledged(plan)
        self.committing.append(time.perf_counter() - began)
        if {outcome.offer_id: outcome.outcome for outcome in self.sink.outcomes} != expected:
            raise SystemExit("what became of the other partner's offers is not what it should be")


def held_by_the_loop(count: int, metadata: bool, answer: Connection) -> None:
    """Tell how many bytes the day's loop holds of an offer that is open. In a process of its own."""

    topics: Any = SimpleNamespace(bootstrap="", offers="offers", checkouts="checkouts")
    os.environ.update(days_loop().environ(topics, "verdicts"))
    from benchmarks.peers import days_loop as peer  # noqa: PLC0415 - it reads the environment

    # It is given its records here, and is to ask no broker for them.
    vars(peer).update(Consumer=lambda _: None, Producer=lambda _: None)
    loop, shop = peer.Loop(), Shop(metadata)
    before = resident()
    for _ in range(count):
        loop.take(shop.show(DOWN)[0])
    answer.send((resident() - before) / count)


def baseline(count: int, metadata: bool) -> float:
    """See `held_by_the_loop`."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=held_by_the_loop, args=(count, metadata, there))
    process.start()
    if not here.poll(300):
        raise SystemExit("the day's loop has said nothing within five minutes")
    found: float = here.recv()
    process.join()
    return found


def rows_of(count: int, loop: float, undecided: float, unsettled: float, one: Service, other: Service) -> Iterator[Row]:
    """`one` has as many waiting, and `other` none."""
    words = f"{undecided:,.0f} to {loop:,.0f} B with {count:,} open"
    what = "memory of an open presentation, the task alone, to a day's loop"
    yield Row(what, f"{undecided / loop:.2f} x", words, "<= 180 B", undecided <= 180)
    words = f"{unsettled:,.0f} B each with {count:,} waiting"
    yield Row("memory of one decided and waiting", "", words, "<= 250 B", unsettled <= 250)
    waiting = f"with {count:,} waiting, to none"
    reading, before = (median(each.reading) / SLICE * 1e6 for each in (one, other))
    words = f"{reading:.0f} to {before:.0f} us of CPU an offer"
    yield Row(
        f"read and decide others {waiting}", f"{reading / before:.2f} x", words, "<= 1.1 x", reading <= 1.1 * before
    )
    calling, before = (median(each.calling) / SLICE * 1e6 for each in (one, other))
    words = f"{calling:.0f} to {before:.0f} us an offer"
    yield Row(
        f"calls of another partner {waiting}", f"{calling / before:.2f} x", words, "<= 1.1 x", calling <= 1.1 * before
    )
    longest, before = (max(each.committing) * 1000 for each in (one, other))
    words = f"the longest of {SLICES} took {longest:.1f} ms, with none waiting {before:.1f} ms"
    yield Row(f"make a commit {waiting}", f"{longest / before:.1f} x", words, "<= 100 ms", longest <= 100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--offers", type=int, default=200_000)
    parser.add_argument("--metadata", action="store_true")
    arguments = parser.parse_args()
    print(head())
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    count = arguments.offers
    loop = baseline(count, arguments.metadata)
    spare_the_collector()
    one, other = Service(arguments.metadata), Service(arguments.metadata)

    empty = resident()
    one.show(count)
    undecided = (resident() - empty) / count
    if one.decide() != count:
        raise SystemExit("not every offer is to be called")
    one.wait_for(count)
    unsettled = (resident() - empty) / count
    for number in range(SLICES):
        for service in (one, other) if number % 2 else (other, one):
            service.go_on()

    table = Table(title=f"{count:,} offers")
    for heading in ("an offer that is", "bytes of resident memory"):
        table.add_column(heading, justify="left" if heading[0] == "a" else "right")
    table.add_row("undecided", f"{undecided:,.0f}")
    table.add_row("undecided, in the day's loop", f"{loop:,.0f}")
    table.add_row("decided, its call waiting", f"{unsettled:,.0f}")
    Console(width=110).print(table)
    add(*rows_of(count, loop, undecided, unsettled, one, other))
    # What waits is not handed back one by one: a million results would be made only to be thrown away.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
