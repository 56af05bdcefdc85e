"""How long a restart takes: from the start of the process until its tasks begin, and until the first call leaves.

    python tests/benchmarks/bench_restart.py [--open 200000] [--runs 3] [--due 1.0]

A deployment of real processes: a broker (`tests/brokers`), `opt-out run`, and the API's emulator on loopback. Half as
many checkouts as offers are written, one in five of them a purchase. A first run reads all of it while nothing is due,
and is stopped in order. Once `--due` of the offers are due, the service is started again, each time in a group of its
own with what the first run had committed, and is ended by force when its first call has come. No call may be for an
offer that was bought. What the first run holds in memory once it has read everything is shown, too.

The table has a row for each start: seconds from the start of the process on, and in brackets the seconds of CPU that it
had used by then, on all threads. Figures are compared only within one run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from random import Random
from typing import NamedTuple

from confluent_kafka import Consumer, TopicPartition
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

import brokers
from benchmarks.whole_way.measured import cpu_of, resident_of
from benchmarks.whole_way.rows import Row, add
from support.deployment import PARTITIONS, Deployment, Process, committed_offsets, deployed, now, until

from consumer.core.checkpoint import OfferCheckpoint

SPREAD_MS = 20_000
"""Over so long the offers are presented, so that a part of them may be due."""

LATENESS_MS = 2_000

TO_READ_S = 30.0
"""Seconds that the first run has, and one more for each READ_A_SECOND offers: until then nothing may come due."""

READ_A_SECOND = 20_000

STEPS = {
    "starting": "is set up",
    "keys were sampled": "keys are judged",
    "assigned": "is assigned",
    "task begins": "tasks begin",
}
"""Lines of the log, of each the last one, and what they are called in the table."""

FIRST_CALL = "first call"


class Moment(NamedTuple):
    """Seconds since the start of a process, and the seconds of CPU that it had used."""

    wall: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.wall:.1f} ({self.cpu:.1f})"


class WholeStart(Process):
    """A process that loads its libraries itself, as in a deployment: that is a part of a start, and of its memory."""

    def __init__(self, environ: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as stream:
            command = [sys.executable, "-m", "consumer", "run"]
            self.popen = subprocess.Popen(command, env=environ, stdout=stream, stderr=stream)


def start(deployment: Deployment) -> Process:
    """Start the service once more."""
    log = deployment.folder / f"consumer-{len(deployment.processes)}.log"
    process = WholeStart(deployment.environ(), log)
    deployment.processes.append(process)
    return process


def write_events(deployment: Deployment, offers: int, begin: int, rng: Random) -> set[str]:
    """The offers, two a session, and a checkout for each session; all presented within SPREAD_MS of `begin` (ms).

    Returns those that were bought.
    """
    bought = set()
    for number in range(0, offers, 2):
        session, at = str(uuid.UUID(int=rng.getrandbits(128))), begin + SPREAD_MS * number // offers
        ids = [str(uuid.UUID(int=rng.getrandbits(128))) for _ in range(2)]
        for offer_id in ids:
            deployment.present(offer_id, session=session, at=at)
        named = ids[: number % 10 == 0]
        deployment.check_out(*named, session=session, at=at + 1)
        bought.update(named)
    deployment.flush()
    return bought


def write_a_little(deployment: Deployment) -> None:
    """Sessions of now in each partition, by which the watermark moves as where there is traffic."""
    at = now()
    for number in range(20 * PARTITIONS):
        session = f"now-{at}-{number}"
        deployment.present(f"offer-{session}", session=session, at=at)
        deployment.check_out(session=session, at=at)
    deployment.flush()


def read_so_far(deployment: Deployment) -> int:
    """How many offers the group has read, by what it has committed."""
    found = deployment.committed(deployment.offer_topic).values()
    return sum(OfferCheckpoint.decode(text, offset).next_offset for offset, text in found if offset >= 0)


def first_run(deployment: Deployment, offers: int, within: float) -> tuple[list[TopicPartition], int]:
    """Read all of it and stop in order. Returns what is committed then, and the bytes that were in memory before."""
    process = start(deployment)
    until(lambda: read_so_far(deployment) >= offers, within=within, what="everything is read")
    resident = resident_of(process.popen.pid)
    code = process.terminate(60)
    if code != 0 or deployment.called():
        raise SystemExit(f"the first run ended with {code}, and made {len(deployment.called())} calls")
    places = [
        TopicPartition(topic, partition, offset, metadata=text)
        for topic in (deployment.offer_topic, deployment.checkout_topic)
        for partition, (offset, text) in committed_offsets(deployment.bootstrap, deployment.group, topic).items()
    ]
    return places, resident


def go_on_as_new_group(deployment: Deployment, places: list[TopicPartition]) -> None:
    """Give a new group what another one had committed; the deployment's processes are of it from now on."""
    deployment.group = f"group-{uuid.uuid4().hex[:8]}"
    consumer = Consumer({"bootstrap.servers": deployment.bootstrap, "group.id": deployment.group})
    try:
        consumer.commit(offsets=places, asynchronous=False)
    finally:
        consumer.close()


def timed_start(deployment: Deployment, bought: set[str], within: float) -> dict[str, Moment]:
    """Start, wait for the first call, end. Returns when each step was done."""
    made_before = len(deployment.called())
    started = time.time()
    process = start(deployment)
    cpu: dict[str, float] = {}

    def steps_are(done: Callable[[], bool]) -> bool:
        for line in process.lines():
            if line.get("event") in STEPS:
                cpu.setdefault(str(line["event"]), cpu_of(process.popen.pid))
        return done()

    until(lambda: steps_are(lambda: STEPS.keys() <= cpu.keys()), within=within, what="the tasks begin")
    until(lambda: deployment.api.log_path.read_bytes().count(b"\n") > made_before, within=within, what="a call")
    used = cpu_of(process.popen.pid)
    process.kill()
    calls = deployment.api.calls()[made_before:]
    if false := bought.intersection(deployment.called()[made_before:]):
        raise SystemExit(f"{len(false)} calls for offers that were bought, such as {min(false)}")
    moments = {name: _moment(process, event, started, cpu[event]) for event, name in STEPS.items()}
    return moments | {FIRST_CALL: Moment(calls[0].time_ms / 1000 - started, used)}


def _moment(process: Process, event: str, started: float, cpu: float) -> Moment:
    at = process.lines(event)[-1]["timestamp"]
    return Moment(datetime.fromisoformat(at).timestamp() - started, cpu)


def measured(bootstrap: str, offers: int, runs: int, due: float) -> tuple[list[dict[str, Moment]], int]:
    """All starts, one after the other, and the bytes that the first run had in memory."""
    to_read = TO_READ_S + offers / READ_A_SECOND
    with tempfile.TemporaryDirectory() as folder, deployed(bootstrap, Path(folder)) as deployment:
        begin = now() - SPREAD_MS
        bought = write_events(deployment, offers, begin, Random(1))
        window = now() - begin - LATENESS_MS + int(to_read * 1000)
        deployment.settings |= {
            "JOIN__WINDOW": f"{window}ms",
            # A checkout makes nothing due sooner than what has none.
            "JOIN__CHECKOUT_GRACE": f"{window}ms",
            "JOIN__LOOKBACK": f"{4 * window}ms",
            "JOIN__LATENESS": f"{LATENESS_MS}ms",
            "LOG__LEVEL": "info",
            "KAFKA__COMMIT_INTERVAL": "1s",
        }
        places, resident = first_run(deployment, offers, to_read)
        due_at = begin + window + LATENESS_MS + int(due * SPREAD_MS)
        time.sleep(max(0.0, due_at - now()) / 1000)
        found = []
        for _ in range(runs):
            write_a_little(deployment)
            go_on_as_new_group(deployment, places)
            found.append(timed_start(deployment, bought, 300))
        return found, resident


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--open", type=int, default=200_000, help="offers that are open")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--due", type=float, default=1.0, help="the part of them that is due by the restart")
    arguments = parser.parse_args()
    broker = brokers.search().start()
    try:
        found, resident = measured(broker.bootstrap_servers, arguments.open, arguments.runs, arguments.due)
    finally:
        broker.close()
    table = Table(title=f"a restart with {arguments.open:,} open, {arguments.open // 2:,} checkouts: seconds (of CPU)")
    for name in found[0]:
        table.add_column(name, justify="right")
    for moments in found:
        table.add_row(*map(str, moments.values()))
    Console(width=110).print(table)
    add(*rows_of(found, resident, arguments.open))


def rows_of(found: list[dict[str, Moment]], resident: int, offers: int) -> Iterator[Row]:
    """What the table of all benchmarks has of it; the slowest of the starts counts."""
    each, events = resident / offers, f"{offers:,} open, {offers // 2:,} checkouts"
    words = f"{each:,.0f} B each, {resident / 2**20:,.0f} MiB with {events}"
    yield Row("memory of an open presentation, whole process", "", words, "<= 300 B", each <= 300)
    for name, what, most in (("tasks begin", "until tasks begin", 2), (FIRST_CALL, "to the first call", 10)):
        seconds = sorted(moments[name].wall for moments in found)
        words = ", ".join(f"{one:.1f}" for one in seconds) + f" s with {events}"
        yield Row(f"restart {what}", "", words, f"<= {most} s", seconds[-1] <= most)


if __name__ == "__main__":
    main()
