"""How long `opt-out report` and `opt-out export` take over many outcomes, and how much memory, from a real broker.

    python tests/benchmarks/bench_report.py [--outcomes 2000000] [--partitions 8]

The outcomes are of many partners and a month of days, and one in fifty stands there twice. The memory is that of all
the processes of the command, looked at ten times a second: the greatest sum of what each of them has of its own
(anonymous memory), without the pages of files that the system keeps for all. Beside it: how fast one process decodes
the same records when it does nothing else. Figures are compared only within one run.
"""

from __future__ import annotations

import argparse
import io
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import fastavro
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

import brokers
from support.evidence import DAY, FATES, EvidenceTopics
from support.run_command import clean_environ

from consumer.codecs.schemas import OFFER_OUTCOME, load_schema, without_logical_types
from consumer.evidence.outcome_rows import OutcomeRows
from consumer.row_file import as_time

DAYS = 30
SAMPLE = 100_000


class Run(NamedTuple):
    """A command that was run: seconds by the clock, and of the processors; memory of all its processes in bytes."""

    name: str
    seconds: float
    cpu: float
    memory: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--outcomes", type=int, default=2_000_000)
    parser.add_argument("--partitions", type=int, default=8)
    arguments = parser.parse_args()
    search = brokers.search()
    broker = search.start()
    print(f"kafka: {search}")
    try:
        topics = EvidenceTopics(broker.bootstrap_servers, arguments.partitions)
        sample = produce(topics, arguments.outcomes)
        alone = decode(sample)
        with tempfile.TemporaryDirectory() as folder:
            runs = [
                run(topics, "report", "report", "--by", "partner,day", "--output", "csv"),
                run(topics, "report, one page", "report", "--output", "html", "--file", f"{folder}/report.html"),
                run(topics, "export", "export", f"{folder}/outcomes"),
            ]
            size = sum(path.stat().st_size for path in Path(folder, "outcomes").rglob("*.parquet"))
    finally:
        broker.close()
    table = Table(title=f"{arguments.outcomes:,} outcomes in {arguments.partitions} partitions")
    for heading in ("what", "of decoding alone", "outcomes/s", "seconds", "CPU s", "MB of all processes"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    table.add_row("decoding alone", "1.00", f"{alone:,.0f}", "", "", "")
    for one in runs:
        rate = arguments.outcomes / one.seconds
        clocks = f"{one.seconds:.1f}", f"{one.cpu:.1f}"
        table.add_row(one.name, f"{rate / alone:.2f}", f"{rate:,.0f}", *clocks, f"{one.memory / 1e6:,.0f}")
    console = Console(width=100)
    console.print(table)
    console.print(f"{size / arguments.outcomes:.0f} bytes of Parquet an outcome")


def produce(topics: EvidenceTopics, outcomes: int) -> list[bytes]:
    """Write them, stamped now. Returns some of their values."""
    random, schema = Random(1), fastavro.parse_schema(without_logical_types(load_schema(OFFER_OUTCOME)))
    begin, sample = topics.day - (DAYS - 1) * DAY, []
    for number in range(outcomes):
        outcome, reason, status = FATES[0] if random.random() < 0.1 else FATES[1 + number % 2]
        if random.random() < 0.02:
            outcome, reason, status = random.choice(FATES)
        at, partition = begin + random.randrange(DAYS * DAY), number % topics.partitions
        fields = {
            "offer_id": f"{random.getrandbits(96):024x}",
            "partner_code": f"PARTNER{number % 40}",
            "session_id": f"{random.getrandbits(128):032x}",
            "outcome": outcome.value,
            "reason": reason.value,
            "checkout_id": None if reason == "ABANDONED" else f"{random.getrandbits(96):024x}",
            "presented_at": at,
            "decided_at": at + 1_800_000,
            "settled_at": at + 2_100_000 + random.randrange(10_000),
            "status_code": status,
            "attempts": int(status is not None),
            "product_code": f"product-{number % 7}",
            "country": ("DE", "AT", "GB", "US")[number % 4],
            "currency": "EUR",
            "price": f"{random.randrange(10_000) / 100}",
            "source": {"topic": topics.topics["OFFER"], "partition": partition, "offset": number},
            "mode": "LIVE",
            "note": None,
        }
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, schema, fields)
        value = stream.getvalue()
        if len(sample) < SAMPLE:
            sample.append(value)
        for _ in range(2 if number % 50 == 0 else 1):
            topics.record_at_once("OUTCOME", value, partition)
    topics.written()
    return sample


def decode(sample: list[bytes]) -> float:
    """Records a second that one process decodes to rows."""
    row, begin = OutcomeRows().row, time.perf_counter()
    for offset, value in enumerate(sample):
        row(value, 0, offset)
    return len(sample) / (time.perf_counter() - begin)


def run(topics: EvidenceTopics, name: str, command: str, *arguments: Any) -> Run:
    """Run a command over all the days to its end."""
    span = ("--from", as_time(topics.day - (DAYS - 1) * DAY), "--to", as_time(topics.day + DAY))
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with subprocess.Popen(
        [sys.executable, "-m", "consumer", command, *span, *arguments],
        env=clean_environ() | topics.environ,
        stdout=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
    ) as process:
        peak = 0
        done = threading.Event()

        def look() -> None:
            nonlocal peak
            while not done.wait(0.1):
                peak = max(peak, sum(map(anonymous_memory, family(process.pid))))

        watcher = threading.Thread(target=look)
        watcher.start()
        code = process.wait()
        done.set()
        watcher.join()
    if code != 0:
        raise SystemExit(f"{name} exited with {code}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(name, time.perf_counter() - begin, cpu, peak)


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for one in found:
        try:
            for task in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except OSError:  # it has ended meanwhile
            continue
    return found


def anonymous_memory(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)


if __name__ == "__main__":
    main()
