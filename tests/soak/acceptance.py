"""The whole thing at size: 100,000 events on a real broker, two consumers, faults, a kill -9, and an independent judge.

    python tests/soak/acceptance.py [--events 100000] [--span 60]

Three partners' shopping sessions are written as they happen, over `--span` seconds; the emulated API answers 204, 404,
500, 429 or nothing; in the middle one consumer is killed hard and started again. When all is settled, the judge reads
the two input topics and the API's log, and nothing else. Exit 0 only if no call was missed and none was false.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import brokers
from soak.shop import Shop
from soak.spans import Spans
from support.deployment import Deployment, end_all

from consumer.audit.calls import Judgement, in_words, judge_from_topics
from consumer.emulator.emulator import running

PARTITIONS = 6
SPANS = Spans(window=10_000, grace=1_000, lookback=20_000, lateness=5_000)
# Per cent of the offers. Each 429 closes the gate of the credential that all share for a second: a few are plenty.
SCENARIO = "404=5,500=5,429=0.02,hang=0.5"
PATIENCE = 300.0
"""Seconds after the last event in which all must be settled."""


def play(bootstrap: str, events: int, span: int, folder: Path) -> Judgement:
    with running(folder / "calls.jsonl", scenario=SCENARIO, seed=42) as api:
        consumers = Deployment(bootstrap, api, folder, SPANS.settings(), (PARTITIONS, PARTITIONS))
        topics = consumers.offer_topic, consumers.checkout_topic
        shop = Shop(consumers, SPANS.plan(events, span, seed=42), SPANS.lateness)
        first, _ = consumers.start(), consumers.start()
        try:
            began = time.monotonic()
            with shop.open():
                shop.wait(span / 2)
                first.kill()
                print(f"{time.monotonic() - began:6.1f} s  killed one consumer hard, and started it again", flush=True)
                consumers.start()
                while not shop.wait(10):
                    pass
            print(f"{time.monotonic() - began:6.1f} s  all events are written", flush=True)
            deadline = time.monotonic() + PATIENCE
            found = judge_from_topics(bootstrap, topics, api.log_path, SPANS.rules)
            while found.missed and time.monotonic() < deadline:
                time.sleep(2)  # between two looks at what the judge still misses
                found = judge_from_topics(bootstrap, topics, api.log_path, SPANS.rules)
            print(f"{time.monotonic() - began:6.1f} s  all is settled", flush=True)
        finally:
            codes = end_all(consumers, within=60)
        print(f"the consumers ended with exit codes {codes}")
        return judge_from_topics(bootstrap, topics, api.log_path, SPANS.rules)


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
