"""The whole thing at size: 100,000 events on a real broker, two consumers, faults, a kill -9, and an independent judge.

    python tests/benchmarks/acceptance.py [--events 100000] [--span 60]

Three partners' shopping sessions are written as they happen, over `--span` seconds; the emulated API answers 204, 404,
500, 429 or nothing; in the middle one consumer is killed hard and started again. When all is settled, the judge reads
the two input topics and the API's log, and nothing else. Exit 0 only if no call was missed and none was false.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import AdminClient, NewTopic

sys.path.insert(0, str(Path(__file__).parents[1]))

import brokers

from consumer.demo.check import Judgement, Rules, in_words, judge_topics
from consumer.demo.emulator import DEMO_KEY, DEMO_SECRET, Emulator, running
from consumer.demo.feed import feed
from consumer.demo.generator import Plan, generate

TOPICS = ("offer.presented", "checkout.completed")
OUTPUTS = ("offer.outcome", "opt-out.dead-letter")
PARTITIONS = 6
WINDOW, GRACE, LOOKBACK, LATENESS = 10_000, 1_000, 20_000, 5_000
# Per cent of the offers. Each 429 closes the gate of the credential that all share for a second: a few are plenty.
SCENARIO = "404=5,500=5,429=0.02,hang=0.5"
PATIENCE = 300.0
"""Seconds after the last event in which all must be settled."""


@dataclass
class Consumers:
    """The two consumer processes."""

    environ: dict[str, str]
    folder: Path

    def start(self, name: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen([sys.executable, "-m", "consumer", "run"], env=self.environ, stdout=log, stderr=log)


def environ(bootstrap: str, api: Emulator) -> dict[str, str]:
    settings = {
        "KAFKA__BOOTSTRAP_SERVERS": bootstrap,
        "KAFKA__PROPERTIES": '{"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}',
        "KAFKA__COMMIT_INTERVAL": "1s",
        "JOIN__WINDOW": f"{WINDOW}ms",
        "JOIN__CHECKOUT_GRACE": f"{GRACE}ms",
        "JOIN__LOOKBACK": f"{LOOKBACK}ms",
        "JOIN__LATENESS": f"{LATENESS}ms",
        "JOIN__IDLE_AFTER": "1s",
        "API__BASE_URL": api.base_url,
        "API__KEY": DEMO_KEY,
        "API__SECRET": DEMO_SECRET,
        "API__TIMEOUT": "2s",
        "DELIVERY__RATE_LIMIT": "0",
        "DELIVERY__NOT_FOUND_LIMIT": "0",
        "SERVER__PORT": "0",
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPT_OUT_")}
    return kept | {f"OPT_OUT_{name}": value for name, value in settings.items()}


def play(bootstrap: str, events: int, span: int, folder: Path) -> Judgement:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in (*TOPICS, *OUTPUTS)]).values():
        future.result(30)
    plan = Plan(events, span * 1000, WINDOW, GRACE, LOOKBACK, LATENESS, seed=42)
    with running(folder / "calls.jsonl", scenario=SCENARIO, seed=42) as api:
        consumers = Consumers(environ(bootstrap, api), folder)
        first, second = consumers.start("first"), consumers.start("second")
        written = threading.Event()

        def shop() -> None:
            base = int(time.time() * 1000) - LOOKBACK // 2
            feed(
                generate(plan), bootstrap=bootstrap, offer_topic=TOPICS[0], checkout_topic=TOPICS[1],
                base_ms=base, paced=True,
            )  # fmt: skip
            written.set()

        try:
            began = time.monotonic()
            threading.Thread(target=shop, daemon=True).start()
            written.wait(span / 2)
            first.kill()
            first.wait()
            print(f"{time.monotonic() - began:6.1f} s  killed one consumer hard, and started it again", flush=True)
            first = consumers.start("first-again")
            written.wait()
            print(f"{time.monotonic() - began:6.1f} s  all events are written", flush=True)
            deadline = time.monotonic() + PATIENCE
            found = judge_topics(bootstrap, TOPICS, api.log_path, Rules(WINDOW, GRACE, LOOKBACK))
            while found.missed and time.monotonic() < deadline:
                time.sleep(2)  # between two looks at what the judge still misses
                found = judge_topics(bootstrap, TOPICS, api.log_path, Rules(WINDOW, GRACE, LOOKBACK))
            print(f"{time.monotonic() - began:6.1f} s  all is settled", flush=True)
        finally:
            for process in (first, second):
                process.send_signal(signal.SIGTERM)
            codes = [process.wait(60) for process in (first, second)]
        print(f"the consumers ended with exit codes {codes}")
        return judge_topics(bootstrap, TOPICS, api.log_path, Rules(WINDOW, GRACE, LOOKBACK))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--span", type=int, default=60, help="seconds")
    arguments = parser.parse_args()
    search = brokers.search()
    broker = search.start()
    print(f"kafka: {broker.description}")
    try:
        with tempfile.TemporaryDirectory(prefix="acceptance-") as folder:
            found = play(broker.bootstrap_servers, arguments.events, arguments.span, Path(folder))
    finally:
        broker.close()
    print(f"{found.presentations + found.checkouts:,} records of {found.sessions:,} sessions; {found.calls:,} calls")
    for good, line in in_words(found):
        print("   ok  " if good else "  NOT  ", line)
    return 0 if found.holds else 1


if __name__ == "__main__":
    sys.exit(main())
