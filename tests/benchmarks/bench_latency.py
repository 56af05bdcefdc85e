"""How long after a watermark has passed what decides an offer its call arrives, at so many calls a second.

    python tests/benchmarks/bench_latency.py [--rates 100 1000] [--seconds 20]

A real Kafka, `opt-out run` as a process of its own, customers who shop as the clock goes on, and a server in another
process that answers 204 at once and notes when each call came. Each session shows an offer and checks out without it.
The time runs from when the broker has taken the record that moves the second of both watermarks to the offer's
decide_at, by the broker's clock, until the call arrives: reading from the broker, deciding and calling are in it.

What comes in the first seconds is not counted: the first calls of a run leave one at a time.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from fastavro import parse_schema, schemaless_reader
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

import brokers
from benchmarks.whole_way.contenders import product, task_begins
from benchmarks.whole_way.latency import Passages, histogram, percentiles
from benchmarks.whole_way.machine import head
from benchmarks.whole_way.measured import cpu_of, started
from benchmarks.whole_way.rows import Row, add
from benchmarks.whole_way.topics import Topics
from brokers.apache import dies_with_us
from brokers.producers import ordered_producer

from consumer.audit.reading import read_topic
from consumer.codecs.plain import PlainCodec
from consumer.codecs.schemas import CHECKOUT_COMPLETED, OFFER_PRESENTED, load_schema, without_logical_types

CHECKS_OUT_AFTER, GRACE, LATENESS, WINDOW = 500, 500, 1_000, 10_000
"""All in ms: a call comes two seconds after its offer was shown."""

WARMING_UP = 5.0
"""Seconds from the first session on that are not counted."""


REACH = {100: 25.0, 1_000: 50.0}
"""By calls a second, the ms within which 99 of 100 calls are to arrive."""


class Found(NamedTuple):
    """What was measured at one rate: ms from due to called, calls that are missing, and the process's use of a core."""

    latencies: list[float]
    missing: int
    cpu: float


def shop(topics: Topics, rate: int, seconds: float) -> dict[str, tuple[int, int]]:
    """Write sessions as the clock goes on; by offer id, when it was shown and when its session checked out (ms)."""
    codec, rng = PlainCodec(), Random(1)
    producer = ordered_producer(topics.bootstrap, linger_ms=1)
    shown: dict[str, tuple[int, int]] = {}
    leaving = deque[tuple[int, str]]()
    begin = time.time()
    # The sessions after the counted ones move the watermarks past these.
    until = begin + WARMING_UP + seconds + 2 * (CHECKS_OUT_AFTER + GRACE + LATENESS) / 1000
    while (now := time.time()) < until:
        at = int(now * 1000)
        while len(shown) < (now - begin) * rate:
            session, offer = (str(uuid.UUID(int=rng.getrandbits(128), version=4)) for _ in range(2))
            event = {
                "event_id": offer,
                "session_id": session,
                "partner_code": "ACME",
                "offer_id": offer,
                "presented_at": at,
                "price": "9.90",
            }
            producer.produce(topics.offers, key=session, value=codec.encode_offer(event))
            shown[offer] = at, at + CHECKS_OUT_AFTER
            leaving.append((at + CHECKS_OUT_AFTER, session))
        while leaving and leaving[0][0] <= at:
            completed_at, session = leaving.popleft()
            event = {
                "event_id": session,
                "session_id": session,
                "checkout_id": session,
                "completed_at": completed_at,
                "purchased_offer_ids": [],
            }
            producer.produce(topics.checkouts, key=session, value=codec.encode_checkout(event))
        producer.poll(0)
        time.sleep(0.002)
    producer.flush(30)
    return shown


@contextmanager
def noting(file: Path) -> Iterator[str]:
    """The server; its base URL. What it noted is in the file afterwards."""
    program = Path(__file__).parent / "whole_way" / "noting_server.py"
    server = subprocess.Popen(
        [*dies_with_us(), sys.executable, str(program), str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(server.stdout.readline())}/x"
    finally:
        server.stdin.close()
        server.wait(30)


def measure(bootstrap: str, rate: int, seconds: float, folder: Path) -> Found:
    """One rate, with topics and a process of its own."""
    topics = Topics(bootstrap, stamped_by_broker=True)
    noted, log = folder / f"calls-{rate}", folder / f"service-{rate}.log"
    with noting(noted) as base_url:
        join = {
            "JOIN__WINDOW": f"{WINDOW}ms",
            "JOIN__CHECKOUT_GRACE": f"{GRACE}ms",
            "JOIN__LATENESS": f"{LATENESS}ms",
            "JOIN__LOOKBACK": f"{WINDOW}ms",
        }
        service = product(base_url, join)
        outcomes = topics.output("outcomes")
        environ = service.environ(topics, outcomes)
        with started(service.command, environ, [log]) as (process,):
            until = time.monotonic() + 120
            while task_begins(log.read_text()) is None:
                if time.monotonic() > until or process.poll() is not None:
                    raise SystemExit(f"the service did not begin:\n{log.read_text()[-3000:]}")
                time.sleep(0.1)
            began, cpu = time.time(), cpu_of(process.pid)
            shown = shop(topics, rate, seconds)
            cpu = (cpu_of(process.pid) - cpu) / (time.time() - began)
            # Where it cannot keep up its calls come late, but they come.
            counted = sum(at < (began + WARMING_UP + seconds) * 1000 for at, _ in shown.values())
            patience = time.monotonic() + 60
            while topics.taken(outcomes) < counted and time.monotonic() < patience:
                time.sleep(0.2)
    return judged(topics, shown, noted, since=began + WARMING_UP, until=began + WARMING_UP + seconds, cpu=cpu)


def judged(
    topics: Topics, shown: dict[str, tuple[int, int]], noted: Path, *, since: float, until: float, cpu: float
) -> Found:
    """By what stands in the topics, and what the server noted."""
    passages, partition_of = Passages(LATENESS), dict[str, int]()
    schemas: list[Any] = [
        parse_schema(without_logical_types(load_schema(name))) for name in (OFFER_PRESENTED, CHECKOUT_COMPLETED)
    ]
    for is_checkout, topic in enumerate((topics.offers, topics.checkouts)):
        for message in read_topic(topics.bootstrap, topic):
            fields: Any = schemaless_reader(BytesIO(message.value() or b""), schemas[is_checkout], None)
            partition = message.partition() or 0
            at = fields["completed_at" if is_checkout else "presented_at"]
            passages.read(partition, bool(is_checkout), at, message.timestamp()[1])
            if not is_checkout:
                partition_of[fields["offer_id"]] = partition
    called: dict[str, float] = {}
    for line in noted.read_text().splitlines():
        at, offer = line.split()
        called.setdefault(offer, float(at) * 1000)
    latencies, missing = [], 0
    for offer, (shown_at, completed_at) in shown.items():
        if not since * 1000 <= shown_at < until * 1000:
            continue
        due = passages.passed_at(partition_of[offer], completed_at + GRACE)
        if due is None or offer not in called:
            missing += 1
        else:
            latencies.append(called[offer] - due)
    return Found(latencies, missing, cpu)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=int, nargs="+", default=[100, 1_000], help="calls a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="that are counted of each")
    parser.add_argument("--keep", type=Path, help="a folder for the service's logs")
    arguments = parser.parse_args()
    print(head())
    search = brokers.search()
    broker = search.start()
    print(f"kafka: {search}")
    table = Table(title="from the watermarks past decide_at to the call's arrival")
    for heading in ("calls a second", "p50 ms", "p99 ms", "longest ms", "calls", "missing", "service's CPU"):
        table.add_column(heading, justify="right")
    made, missing = list[Row](), 0
    try:
        if not broker.is_real:
            print("left out: a mock of Kafka does not say when it took a record")
            return
        with tempfile.TemporaryDirectory() as temporary:
            folder = arguments.keep or Path(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            for rate in arguments.rates:
                found = measure(broker.bootstrap_servers, rate, arguments.seconds, folder)
                median, p99, longest = percentiles(found.latencies)
                figures = f"{median:.1f}", f"{p99:.1f}", f"{longest:.1f}"
                missing += found.missing
                reach = REACH.get(rate)
                made.append(
                    Row(
                        f"from decide_at passed to the POST, p99, {rate:,} calls/s",
                        "",
                        f"{p99:.0f} ms (p50 {median:.0f}, longest {longest:.0f}), {found.cpu:.0%} of a core",
                        f"<= {reach:.0f} ms" if reach else "none",
                        p99 <= reach if reach else None,
                    )
                )
                counts = f"{len(found.latencies):,}", f"{found.missing:,}"
                table.add_row(f"{rate:,}", *figures, *counts, f"{found.cpu:.0%} of a core")
                print(f"\n{rate:,} calls a second", *histogram(found.latencies), sep="\n")
    finally:
        broker.close()
    Console(width=110).print(table)
    if missing:
        raise SystemExit(f"{missing:,} calls did not come")
    add(*made)


if __name__ == "__main__":
    main()
