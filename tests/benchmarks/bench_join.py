"""How many events a second one process joins, from a real broker, against reading and decoding them alone.

    python tests/benchmarks/bench_join.py [--events 600000] [--profile] [--headers] [--trace]

Sessions of four offers and two checkouts. Nothing comes due, so what is
measured is consume + decode + join + track: the service's own loop, with the calls left out. Also prints the memory
that an open presentation takes, and how long a restart over all of them takes until the first new decision.
With `--headers` each offer has a `traceparent` among its headers, and with `--trace` it is read (`trace.enabled`).
Figures are compared only within one run.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import queue
import sys
import time
import uuid
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

import brokers
from brokers.producers import ordered_producer

from consumer.codecs.inputs import codec_of
from consumer.codecs.plain import PlainCodec
from consumer.core.watermark import Side
from consumer.delivery.doing import NOTHING_YET, DeliverySnapshot
from consumer.kafka.config import consumer_config, producer_config, record_reader_config
from consumer.kafka.end_offsets import EndOffsets
from consumer.kafka.producer import OutputProducer
from consumer.kafka.reader import RecordReader
from consumer.runtime.edges import Edges
from consumer.runtime.loop import Loop
from consumer.runtime.run import spare_the_collector
from consumer.settings import ApiSettings, JoinSettings, KafkaSettings, Settings, TraceSettings

PARTITIONS = 4


class NoCalls:
    """Stands where the calls are made; none is, since nothing comes due. Keeps the first call's time."""

    def __init__(self) -> None:
        self.results: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.first_call: float | None = None

    def start(self) -> None: ...
    def stop(self, timeout: float) -> None: ...
    def cancel(self, owners: object) -> None: ...
    def set_share(self, fraction: float) -> None: ...
    def check(self) -> None: ...
    def snapshot(self) -> DeliverySnapshot:
        return NOTHING_YET

    def submit(self, calls: Iterable[object]) -> None:
        self.first_call = self.first_call or time.perf_counter()


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def produce(settings: KafkaSettings, events: int, begin: int, *, headers: bool) -> tuple[int, int]:
    """Write the events; returns how many offers and checkouts there are."""
    codec, rng = PlainCodec(), Random(1)
    producer = ordered_producer(settings.bootstrap_servers, linger_ms=50, queue_buffering_max_messages=1_000_000)
    offers = checkouts = 0

    def write(topic: str, key: str, value: bytes, at: int) -> None:
        traces = (
            [("traceparent", f"00-{rng.getrandbits(128) | 1:032x}-{rng.getrandbits(64) | 1:016x}-01")]
            if headers
            else []
        )
        while True:
            try:
                return producer.produce(topic, key=key, value=value, timestamp=at, headers=traces)
            except BufferError:
                producer.poll(0.1)

    session = 0
    while offers + checkouts < events:
        session += 1
        session_id, at = str(uuid.UUID(int=rng.getrandbits(128))), begin + session
        for _ in range(4):
            offer = {
                "event_id": str(offers),
                "session_id": session_id,
                "partner_code": "ACME",
                "offer_id": str(uuid.UUID(int=rng.getrandbits(128))),
                "presented_at": at,
                "product_code": "trip",
                "country": "DE",
                "currency": "EUR",
                "price": f"{rng.randrange(500, 3000) / 100:.2f}",
            }
            write(settings.offer_topic, session_id, codec.encode_offer(offer), at)
            offers += 1
        for _ in range(2):
            checkout = {
                "event_id": str(checkouts),
                "session_id": session_id,
                "checkout_id": str(checkouts),
                "completed_at": at + 5,
                "purchased_offer_ids": [],
            }
            write(settings.checkout_topic, session_id, codec.encode_checkout(checkout), at + 5)
            checkouts += 1
    if producer.flush(120):
        raise SystemExit("the broker did not take the events within two minutes")
    return offers, checkouts


def read_and_decode(settings: KafkaSettings, *, decode: bool) -> float:
    """Events a second of the baseline: one consumer, no join."""
    codec = PlainCodec()
    consumer = Consumer(consumer_config(settings, on_error=lambda _: None))
    topics = settings.offer_topic, settings.checkout_topic
    consumer.assign([TopicPartition(topic, p, 0) for topic in topics for p in range(PARTITIONS)])
    ended: set[tuple[str | None, int | None]] = set()
    count = 0
    begin = 0.0
    while len(ended) < 2 * PARTITIONS:
        for message in consumer.consume(5_000, 0.02):
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    ended.add((message.topic(), message.partition()))
                continue
            begin = begin or time.perf_counter()
            count += 1
            if decode:
                if message.topic() == topics[0]:
                    codec.decode_offer(message.key(), message.value() or b"", message.offset() or 0)
                else:
                    codec.decode_checkout(message.key(), message.value() or b"", message.offset() or 0)
    rate = count / (time.perf_counter() - begin)
    consumer.close()
    return rate


def service(settings: Settings) -> tuple[Loop, NoCalls]:
    kafka = settings.kafka
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    codec, calls = codec_of(settings), NoCalls()
    edges = Edges(
        consumer=lambda on_error: Consumer(consumer_config(kafka, on_error=on_error)),
        ends=lambda on_trouble: EndOffsets(admin, time.time, on_trouble),
        outputs=OutputProducer(Producer(producer_config(kafka)), kafka.outcome_topic, kafka.dead_letter_topic, codec),
        delivery=calls,  # type: ignore[arg-type]
        codec=codec,
        record_reader=RecordReader(lambda: Consumer(record_reader_config(kafka))),
    )
    return Loop(settings, edges, partitions=PARTITIONS), calls


def applied(made: Loop) -> int:
    return sum(runner.task.next_offset(side) for runner in made.tasks.runners.values() for side in Side)


def join(settings: Settings, events: int) -> tuple[float, float]:
    """Events a second through the service's loop, and bytes of memory an open presentation."""
    made, _ = service(settings)
    made.tasks.consumer.subscribe(int(time.time() * 1000))
    while not applied(made):
        before = resident()
        made.run_once()
        begin = time.perf_counter()
    first = applied(made)
    while applied(made) < events:
        made.run_once()
    rate = (events - first) / (time.perf_counter() - begin)
    grown = resident() - before
    made.tasks.commit(list(made.tasks.runners), 10)
    made.tasks.consumer.close()
    return rate, grown


def cost_of_snapshots(settings: Settings, events: int, stretches: int = 40) -> tuple[float, float]:
    """The processor time of joining, with snapshots to that without, and the part of it that making them takes.

    In one run, in turns of some thousand events, and of the poll thread alone: what else runs on the machine counts
    less. A turn with snapshots begins with one, so that there are more of them than one a second.
    """
    own = settings.kafka.model_copy(update={"group_id": f"bench-{uuid.uuid4().hex[:8]}"})
    made, _ = service(settings.model_copy(update={"kafka": own}))
    look, spent, making = made._snapshots.look, [0.0, 0.0], 0.0

    def timed(*, stopping: bool) -> None:
        nonlocal making
        begin = time.thread_time()
        look(stopping=stopping)
        making += time.thread_time() - begin

    made.tasks.consumer.subscribe(int(time.time() * 1000))
    while not applied(made):
        made.run_once()
    for turn in range(stretches):
        with_them = turn % 4 in {1, 2}  # neither always comes first
        made._snapshots.look = timed if with_them else lambda **_: None  # type: ignore[method-assign]
        begin, before = time.thread_time(), applied(made)
        while applied(made) < events * (turn + 1) / stretches:
            made.run_once()
        read = applied(made) - before
        spent[with_them] += (time.thread_time() - begin) / max(1, read)
    made.tasks.consumer.close()
    return spent[True] / spent[False], making / (spent[True] * events / stretches)


def restart(settings: Settings) -> float:
    """Seconds from the start of a new process's service to its first new decision."""
    made, calls = service(settings)
    begin = time.perf_counter()
    made.tasks.consumer.subscribe(int(time.time() * 1000))
    while calls.first_call is None:
        made.run_once()
    made.tasks.consumer.close()
    return calls.first_call - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=600_000)
    parser.add_argument("--profile", action="store_true", help="profile the join and print where its time goes")
    parser.add_argument("--headers", action="store_true", help="give each offer a traceparent among its headers")
    parser.add_argument("--trace", action="store_true", help="read it: trace.enabled; implies --headers")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    spare_the_collector()
    search = brokers.search()
    broker = search.start()
    print(f"kafka: {search}")
    try:
        headers = arguments.headers or arguments.trace
        measure(broker.bootstrap_servers, arguments.events, arguments.profile, headers=headers, trace=arguments.trace)
    finally:
        broker.close()


def measure(bootstrap: str, events: int, profile: bool, *, headers: bool = False, trace: bool = False) -> None:
    stem = f"bench-{uuid.uuid4().hex[:8]}"
    kafka = KafkaSettings(
        bootstrap_servers=bootstrap,
        group_id=stem,
        offer_topic=f"{stem}.offers",
        checkout_topic=f"{stem}.checkouts",
        outcome_topic=f"{stem}.outcomes",
        dead_letter_topic=f"{stem}.dead",
        commit_interval=timedelta(seconds=5),
    )
    topics = (kafka.offer_topic, kafka.checkout_topic, kafka.outcome_topic, kafka.dead_letter_topic)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in topics]).values():
        future.result(30)
    # Idleness may not close a session while it is measured; the restart waits for just that.
    patient = JoinSettings(lateness=timedelta(hours=6), idle_after=timedelta(hours=1), abandoned="opt-out")
    traces = TraceSettings(enabled=trace)
    settings = Settings(kafka=kafka, join=patient, api=ApiSettings(auth="none"), trace=traces)
    # So long ago that what a gap holds, by the lateness of the join that is measured, has landed at the restart.
    begin = int(time.time() * 1000) - 8 * 3_600_000
    offers, checkouts = produce(kafka, events, begin, headers=headers)
    total = offers + checkouts

    consume_only = read_and_decode(kafka, decode=False)
    baseline = read_and_decode(kafka, decode=True)
    profiler = cProfile.Profile()
    if profile:
        profiler.enable()
    joined, grown = join(settings, total)
    profiler.disable()
    again = read_and_decode(kafka, decode=True)
    hasty = settings.model_copy(
        update={
            "join": patient.model_copy(update={"lateness": timedelta(seconds=1), "idle_after": timedelta(seconds=1)})
        }
    )
    ratio, part = cost_of_snapshots(settings, total)
    until_decision = restart(hasty)

    table = Table(title=f"{total:,} events ({offers:,} offers, {checkouts:,} checkouts)")
    for heading in ("what", "ratio to consume + decode", "figure"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    reference = (baseline + again) / 2
    table.add_row("consume + decode + join + track", f"{joined / reference:.2f}", f"{joined:,.0f} events/s")
    table.add_row("consume + decode, mean of before and after", "1.00", f"{reference:,.0f} events/s")
    table.add_row("consume alone", f"{consume_only / reference:.2f}", f"{consume_only:,.0f} events/s")
    table.add_row("the same: with snapshots to without", f"{ratio:.3f}", f"{part:.2%} of its time")
    table.add_row("memory, checkouts and client included", "", f"{grown / offers:,.0f} B an open presentation")
    table.add_row(f"restart with {offers:,} open", "", f"{until_decision:.1f} s to the first new decision")
    Console(width=110).print(table)
    if profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    main()
