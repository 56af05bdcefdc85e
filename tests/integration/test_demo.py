"""The demo and its parts on the embedded broker: the whole thing, and the judge over real topics."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from io import StringIO
from pathlib import Path

import pytest
from brokers.producers import ordered_producer
from confluent_kafka import Consumer, TopicPartition
from rich.console import Console

from consumer.audit.calls import ReferenceRules, judge_from_topics
from consumer.audit.decision import Fate, fates
from consumer.audit.reading import read_events
from consumer.core.checkpoint import CheckoutCheckpoint, OfferCheckpoint
from consumer.demo import demo, service
from consumer.demo.broker import PARTITIONS, embedded_broker, make_topics
from consumer.demo.feed import feed
from consumer.demo.generator import Event, Plan, generate
from consumer.demo.progress import ProgressProbe
from consumer.emulator.call_log import Call
from consumer.events import Reason

OFFERS, CHECKOUTS = "offers", "checkouts"
RULES = ReferenceRules(window=3000, checkout_grace=500, lookback=6000)


@pytest.fixture(scope="module")
def bootstrap() -> Iterator[str]:
    with embedded_broker() as address:
        make_topics(address, (OFFERS, CHECKOUTS))
        yield address


@pytest.fixture(scope="module")
def events(bootstrap: str) -> list[Event]:
    made = generate(Plan(600, 10_000, RULES.window, RULES.checkout_grace, RULES.lookback, lateness=1000, seed=5))
    written = feed(
        made,
        bootstrap=bootstrap,
        offer_topic=OFFERS,
        checkout_topic=CHECKOUTS,
        base_ms=int(time.time() * 1000) - 60_000,
        paced=False,
    )
    assert written == len(made)
    return made


def write_log(path: Path, calls: list[Call]) -> Path:
    path.write_text("".join(json.dumps(asdict(call)) + "\n" for call in calls))
    return path


def right_calls(chains: list[Fate]) -> list[Call]:
    now = int(time.time() * 1000)
    return [
        Call(now, chain.partner_code, chain.offer_id, 204, 1, True, terminal=True, reason=chain.reason.upper())
        for chain in chains
        if chain.reason != Reason.PURCHASED
    ]


@pytest.mark.usefixtures("events")
def test_the_judge_reads_both_topics_to_their_ends_and_objects_to_each_wrong_log(
    bootstrap: str, tmp_path: Path
) -> None:
    presentations, checkouts, unreadable = read_events(bootstrap, (OFFERS, CHECKOUTS))
    assert (len(presentations) + len(checkouts) >= 600, unreadable) == (True, 0)
    chains = fates(presentations, checkouts, RULES)
    calls = right_calls(chains)
    bought = next(chain for chain in chains if chain.reason == Reason.PURCHASED)
    false = Call(calls[0].time_ms, bought.partner_code, bought.offer_id, 500, 1, True, terminal=False)

    def judged(log: list[Call]) -> tuple[bool, int, int, int]:
        found = judge_from_topics(bootstrap, (OFFERS, CHECKOUTS), write_log(tmp_path / "calls.jsonl", log), RULES)
        return found.holds, len(found.missed), len(found.false), found.repeated

    assert judged(calls) == (True, 0, 0, 0)
    assert judged(calls[1:]) == (False, 1, 0, 0)
    assert judged([*calls, false]) == (False, 0, 1, 0)
    assert judged([*calls, calls[3]]) == (True, 0, 0, 1)
    # What was bought after the decision may be withheld as well as called.
    must = sum(chain.reason != Reason.PURCHASED and not chain.may_withhold for chain in chains)
    assert judged([]) == (False, must, 0, 0)


def test_events_are_written_with_their_session_as_key_their_time_as_timestamp_and_partitioned_alike(
    bootstrap: str, events: list[Event]
) -> None:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "auto.offset.reset": "earliest"})
    partition_of: dict[bytes, int] = {}
    try:
        for topic in (OFFERS, CHECKOUTS):
            consumer.assign([TopicPartition(topic, p, 0) for p in range(PARTITIONS)])
            expected = sum(event.is_checkout == (topic == CHECKOUTS) for event in events)
            messages = [message for message in consumer.consume(expected, 20) if message.error() is None]
            assert len(messages) == expected
            for message in messages:
                partition = partition_of.setdefault(message.key(), message.partition())
                assert message.partition() == partition, "a session's events of both topics lie in one partition number"
            stamps = sorted(message.timestamp()[1] for message in messages)
            times = sorted(event.time for event in events if event.is_checkout == (topic == CHECKOUTS))
            assert [stamp - stamps[0] for stamp in stamps] == [at - times[0] for at in times]
    finally:
        consumer.close()
    assert set(partition_of.values()) == set(range(PARTITIONS))


def test_a_feed_that_falls_behind_moves_the_rest_rather_than_write_late(bootstrap: str) -> None:
    make_topics(bootstrap, ("slow-offers", "slow-checkouts"))
    plan = generate(Plan(60, 300, 300, 50, 600, lateness=100, seed=2))
    lags: list[int] = []

    def slow(event: Event, moment: int) -> None:
        if len(lags) == 10:
            time.sleep(1)  # the machine's hiccup itself, ten times what lateness allows
        lags.append(int(time.time() * 1000) - moment - event.delay)

    feed(
        plan,
        bootstrap=bootstrap,
        offer_topic="slow-offers",
        checkout_topic="slow-checkouts",
        base_ms=int(time.time() * 1000),
        paced=True,
        on_written=slow,
    )
    duplicates = len(plan) - len({event.fields["event_id"] for event in plan})
    assert sum(lag > 500 for lag in lags[11:]) <= duplicates, "only a duplicate keeps the time of its first copy"


def test_progress_is_read_from_what_the_group_committed(bootstrap: str) -> None:
    make_topics(bootstrap, ("p-offers", "p-checkouts"))
    producer = ordered_producer(bootstrap)
    for partition in range(PARTITIONS):
        for _ in range(5):
            producer.produce("p-offers", b"x", partition=partition)
    assert producer.flush(10) == 0
    probe = ProgressProbe(bootstrap, "p-group", ("p-offers", "p-checkouts"), PARTITIONS)
    assert (probe.ask().watermark, probe.ask().lag) == (None, 20)

    committer = Consumer({"bootstrap.servers": bootstrap, "group.id": "p-group"})
    rules = (RULES.window, RULES.checkout_grace, RULES.lookback, True)
    offers = [
        TopicPartition("p-offers", p, 2, OfferCheckpoint(rules, PARTITIONS, 7000 + p, 4, next_checkout=0).encode(2))
        for p in range(PARTITIONS)
    ]
    committer.commit(
        offsets=[*offers, TopicPartition("p-checkouts", 0, 0, CheckoutCheckpoint(PARTITIONS, 0, 0).encode(0))],
        asynchronous=False,
    )
    committer.close()
    assert (probe.ask().watermark, probe.ask().lag) == (7000, PARTITIONS)


def test_a_consumer_that_ends_by_itself_fails_the_demo_with_its_last_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setitem(service.SETTINGS, "OPT_OUT_JOIN__WINDOW", "never")
    stream = StringIO()
    assert demo.run(console=Console(file=stream, width=200)) == 1
    assert "the consumer ended with exit code 2" in stream.getvalue()
    assert "join.window" in stream.getvalue()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "customers write plain Avro"),
        (["--format", "json"], "OPT_OUT_INPUT__OFFERS__WHEN=eventType == 'OFFER_SHOWN'"),
        (["--format", "registry"], "a stand-in for a registry answers at http://127.0.0.1"),
    ],
)
def test_the_whole_demo_holds_in_under_a_minute_in_plain_lines(options: list[str], says: str) -> None:
    began = time.monotonic()
    command = [sys.executable, "-m", "consumer", "demo", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert says in done.stdout
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - began < 60
    assert "\x1b" not in done.stdout
    assert "killed the consumer hard" in done.stdout
    assert "started it again" in done.stdout
    assert done.stdout.count(demo.WAITS_FOR) == 1
    assert "it has the partitions of the killed one" in done.stdout
    assert "offers presented have one fate" in done.stdout
    assert "none was called that had been bought" in done.stdout
    assert "FAIL" not in done.stdout
    assert "are no events" not in done.stdout


@pytest.mark.parametrize(
    ("fault", "says", "entry"),
    [
        ([], "customers shop until you press Ctrl-C", None),
        (["--api-down"], "the API answers 503 to every call", "breaker-opened"),
        (["--forbid", "ACME"], "the API answers 403 to the calls of ACME", "credentials-refused"),
        (["--silence-checkouts"], "no checkout is written any more", "no-checkouts-come"),
    ],
)
def test_the_kept_demo_goes_on_until_ctrl_c_and_its_page_names_the_fault(
    fault: list[str], says: str, entry: str | None
) -> None:
    command = [sys.executable, "-u", "-m", "consumer", "demo", "--keep", *fault]
    # Whoever runs the tests in the background has SIGINT ignored, which a process inherits.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        playing = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    lines: list[str] = []
    seen = False
    with playing, killed_after(playing, 180):
        assert playing.stdout is not None
        for line in playing.stdout:
            lines.append(line)
            # Of what the page says before the fault begins, some is of the start.
            begun = not entry or "from now on" in "".join(lines[:-1])
            named = "the page says" in line and (f"runbook#{entry}`" if entry else "well") in line
            if begun and named and not seen:
                seen = True
                playing.send_signal(signal.SIGINT)
    told = "".join(lines)
    assert playing.returncode == 0, told
    assert says in told
    assert "its page is at http://127.0.0.1:" in told
    assert "the consumer ended with exit code 0" in told


@contextmanager
def killed_after(process: subprocess.Popen[str], seconds: float) -> Iterator[None]:
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def test_a_partner_that_is_no_code_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "consumer", "demo", "--forbid", "A:503;"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "give a partner code" in done.stderr
