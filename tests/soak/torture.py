"""Half a million events and every fault at once: kills, pauses, a broker restart, an API that fails; then the check.

    python tests/soak/torture.py [--events 500000] [--seconds 416] [--every 12] [--deadline 1500] [--seed 1]

Three consumers on a real Kafka. Every few seconds a random one is killed hard and another started, or is stopped for
longer than its session lasts and then let go on, a zombie that believes its tasks are still its own. The API answers
404 for good, 500, 429 with Retry-After, nothing at all, cuts connections, loses its answer to a call that it has
recorded, refuses one partner for a while, and fails for all for a while, in which customers go on to buy. In the
middle the broker is restarted.

When all is settled the judge reads the input topics, `offer.outcome`, the dead-letter topic and the API's log, and
nothing else, and recomputes every fate. Exit 0 only if nothing was missed, false, early or called for a wrong reason,
and every chain has its one fate in `offer.outcome`. Ends by itself: at the deadline what was not settled is missed.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import brokers
from soak.checker import check
from soak.nemesis import Nemesis
from soak.report import Ending, Report
from soak.shop import Shop
from soak.spans import Spans
from support.deployment import Deployment, end_all

from consumer.demo.generator import DEMO_PARTNERS
from consumer.demo.progress import ProgressProbe
from consumer.emulator.emulator import running

PARTITIONS = 12
INSTANCES = 3
RATE = 1_200
"""Events a second, unless --seconds says otherwise: what two cores bear, with the broker and the API on them."""

# The customers use half of lateness only. The rest is for the broker's restart: what the producer had to keep back
# meanwhile is still on time.
SPANS = Spans(window=10_000, grace=1_000, lookback=20_000, lateness=30_000, spare=15_000)
# Per cent of the offers. Each 429 closes the gate of the credential that all share for a second: a few are plenty.
USUAL = "404=5,500=4,429=0.01,hang=0.2,204-hang=0.2,cut=0.5,204-cut=0.5"
STORM = f"{DEMO_PARTNERS[1]}:403; {USUAL}"
STORM_S = 15.0
OUTAGE = "500"
OUTAGE_OF_API_S = 20.0
"""Longer than customers take to change their minds: what was decided waits, and is bought meanwhile."""
OUTAGE_S = 3.0
REPORT_S = 5.0
CHECK_S = 180.0
"""Kept free before the deadline for the judge."""


class Run:
    """One run, from the first event to the last outcome."""

    def __init__(self, arguments: argparse.Namespace, broker: brokers.Broker, folder: Path) -> None:
        self._arguments = arguments
        self._broker = broker
        self._folder = folder
        self._began = time.monotonic()
        self._next_report = 0.0
        self._log_at = 0
        self._calls = self._settling = 0

    def play(self) -> Report:
        """Do it all.

        Raises:
            FeedError: the broker did not take all events.
        """
        asked, span = self._arguments, self._arguments.seconds
        with running(self._folder / "calls.jsonl", scenario=USUAL, seed=asked.seed) as api:
            topics = (PARTITIONS, PARTITIONS)
            deployment = Deployment(self._broker.bootstrap_servers, api, self._folder, SPANS.settings(), topics)
            self._shop = Shop(deployment, SPANS.plan(asked.events, span, asked.seed), SPANS.lateness)
            self._probe = ProgressProbe(
                deployment.bootstrap,
                deployment.group,
                (deployment.offer_topic, deployment.checkout_topic),
                PARTITIONS,
            )
            rng = random.Random(asked.seed)
            self._say(f"{asked.events:,} events in {span:.0f} s, seed {asked.seed}; logs in {self._folder}")
            began_ms = int((time.time() - self._seconds) * 1000)
            try:
                self._nemesis = Nemesis(deployment, self._broker, rng, INSTANCES, asked.every, OUTAGE_S, say=self._say)
                with self._shop.open():
                    self._inject_faults(span)
                in_time = self._let_settle()
            finally:
                self._nemesis.wake()
                codes = end_all(deployment, within=60)
            self._say(f"the consumers ended with exit codes {codes}; now the check")
            return check(deployment, SPANS, self._shop, self._nemesis.faults, Ending(began_ms, in_time, codes))

    # --- inside

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._began

    @property
    def _time_is_up(self) -> bool:
        return self._seconds > self._arguments.deadline - CHECK_S

    def _inject_faults(self, span: float) -> None:
        """Faults while the shop is open, and until what it wrote last is being decided."""
        nemesis, began = self._nemesis, time.monotonic()
        # Nothing is decided, and nobody called, before the first offer's window and lateness are over.
        first = (SPANS.window + SPANS.lateness) / 1000
        due = [
            (first + 0.2 * span, lambda: nemesis.answer("storm", STORM)),
            (first + 0.2 * span + STORM_S, lambda: nemesis.answer("calm", USUAL)),
            (first + 0.5 * span, nemesis.restart_broker),
            (first + 0.7 * span, lambda: nemesis.answer("outage", OUTAGE)),
            (first + 0.7 * span + OUTAGE_OF_API_S, lambda: nemesis.answer("over", USUAL)),
        ]
        quiet_at = float("inf")
        while time.monotonic() < quiet_at and not self._time_is_up:
            if due and time.monotonic() - began > due[0][0]:
                due.pop(0)[1]()
            nemesis.turn()
            self._report()
            if self._shop.wait(0.1) and quiet_at == float("inf"):
                self._say("all events are written")
                quiet_at = time.monotonic() + first
            elif self._shop.closed.is_set():
                time.sleep(0.1)

    def _let_settle(self) -> bool:
        self._nemesis.wake()
        self._say("no more faults")
        while not self._time_is_up:
            if self._probe.ask().uncommitted == 0:
                return True
            self._nemesis.look()
            self._report()
            time.sleep(0.5)
        return False

    def _report(self) -> None:
        if self._seconds < self._next_report:
            return
        self._next_report = self._seconds + REPORT_S
        progress = self._probe.ask()
        self._read_on()
        waiting = "?" if progress.uncommitted is None else f"{progress.uncommitted:,}"
        lag = "?" if progress.lag is None else f"{progress.lag:,}"
        self._say(
            f"written {self._shop.written:,}, unread {lag}, offers not committed {waiting}, calls {self._calls:,} "
            f"({self._settling:,} settling), {INSTANCES} instances ({self._nemesis.paused} stopped)"
        )

    def _read_on(self) -> None:
        path = self._folder / "calls.jsonl"
        if path.exists():
            with path.open("rb") as log:
                log.seek(self._log_at)
                fresh = log.read()
            self._log_at += len(fresh)
            self._calls += fresh.count(b"\n")
            self._settling += fresh.count(b'"terminal": true')

    def _say(self, what: str) -> None:
        print(f"{self._seconds:7.1f} s  {what}", flush=True)


def parse() -> argparse.Namespace:
    """The arguments; ends with code 2 if they make no sense."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=500_000)
    parser.add_argument("--seconds", type=float, help=f"over which they happen; default: {RATE:,} events a second")
    parser.add_argument("--every", type=float, default=12.0, help="seconds between two faults, in the mean")
    parser.add_argument("--deadline", type=float, default=1_500.0, help="seconds after which it ends in any case")
    parser.add_argument("--seed", type=int, default=1, help="of events and faults; their interleaving is the machine's")
    parser.add_argument("--keep", action="store_true", help="keep the logs though all is well")
    arguments = parser.parse_args()
    if arguments.seconds is None:
        arguments.seconds = arguments.events / RATE
    # The last events are decided two latenesses after they happened, if a fault comes in between.
    least = CHECK_S + (SPANS.window + 2 * SPANS.lateness) / 1000 + 60
    if arguments.deadline < arguments.seconds + least:
        parser.error(f"--deadline must be at least {least:.0f} s above --seconds ({arguments.seconds:.0f})")
    return arguments


def too_long(*_: object) -> None:
    """The last resort, should something hang for ever."""
    raise TimeoutError("the deadline is past: ended")


def main() -> int:
    """See the module."""
    arguments = parse()
    search = brokers.search()
    broker = search.start()
    print(f"kafka: {broker.description}")
    if not (broker.is_real and broker.can_restart):
        broker.close()
        print(
            "this run stops and starts its Kafka: it needs a real one of its own. Unset TEST_KAFKA, and have Docker, "
            "or Java 17 and Maven, on this machine.",
            file=sys.stderr,
        )
        return 2
    # What ends this program must end what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(int(arguments.deadline))
    folder = Path(tempfile.mkdtemp(prefix="torture-"))
    good = False
    try:
        report = Run(arguments, broker, folder).play()
        good = report.holds
        print("\n".join(report.lines()))
    finally:
        broker.close()
        if good and not arguments.keep:
            shutil.rmtree(folder)
        else:
            print(f"the logs of the consumers and of the API are in {folder}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
