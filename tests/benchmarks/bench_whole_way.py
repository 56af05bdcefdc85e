"""The whole way, against what a user would pick instead: events a second, processor time an event, memory, mistakes.

    python tests/benchmarks/bench_whole_way.py [--presentations 120000] [--rounds 3] [--only loop product]

Everybody reads the same two topics of a real Kafka, as a backlog of sessions that come, end and are decided as event
time passes, and writes a verdict for each offer. Each runs as a process of its own; the runs take turns, and the median
of the rounds is shown; Quix and the calls over HTTP run once. Ratios are to the day's loop of the same run. Each
offer's fate is held to the reference decision, and a wrong one of the service makes this program fail. With 500,000
presentations Java has more of its time to get warm.

Processor time is that of the contender's process, user and system, from its first records to the last offer's first
verdict; the broker shares the machine. None of the others makes a call: so the service stands there twice, with its
calls answered 204 within its process, and with calls over HTTP to a server in another process that does so at once.
Twice as many instances share the partitions where its row says so: of two cores the broker takes its part, too.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

import brokers
from benchmarks.whole_way.contenders import DAYS_LOOP, Contender, days_loop, kafka_streams, product, quix
from benchmarks.whole_way.machine import head
from benchmarks.whole_way.measured import watched
from benchmarks.whole_way.rows import Row, add
from benchmarks.whole_way.sessions import SessionPlan, Sessions
from benchmarks.whole_way.topics import Topics
from benchmarks.whole_way.verdicts import Judged, judge, read_verdicts

from consumer.audit.decision import Fate

ONCE = {"calls", "quix"}
"""Who runs in the first round only: the slowest, of which the median of three is not worth its minutes."""

OURS = {"product", "two", "calls"}
"""Whoever has to be right."""

EVERYBODY = ["loop", "product", "two", "calls", "streams", "quix"]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a contender.

    Attributes:
        rate: events a second, from its first records on.
        from_start: the same from the start of its process on.
        cpu_us: microseconds of processor time an event.
        peak: bytes.
    """

    rate: float
    from_start: float
    cpu_us: float
    peak: int
    judged: Judged


class Comparison:
    """Everybody on the same topics."""

    def __init__(self, topics: Topics, events: int, expected: Sequence[Fate], folder: Path) -> None:
        self._topics, self._events, self._expected, self._folder = topics, events, expected, folder
        self.runs: defaultdict[str, list[Run]] = defaultdict(list)
        self.cores = os.cpu_count() or 1

    def run(self, contender: Contender) -> None:
        """Run it once more.

        Raises:
            SystemExit: it failed, or nothing came of it; with the end of its log.
        """
        number = sum(map(len, self.runs.values()))
        output = self._topics.output(f"verdicts-{number}")
        seen = watched(
            contender.command,
            contender.environ(self._topics, output),
            [self._folder / f"{number}-{instance}.log" for instance in range(contender.instances)],
            lambda: self._topics.taken(output),
            len(self._expected),
        )
        texts = seen.texts()
        judged = judge(self._expected, read_verdicts(self._topics.bootstrap, output))
        begun = min((at for text in texts if (at := contender.begun(text)) is not None), default=None)
        if seen.ended is not None or begun is None or judged.last_at == 0:
            how = "said nothing" if seen.ended is None else f"ended by itself with {seen.ended}"
            raise SystemExit(f"{contender.name} {how}. The end of its log:\n{texts[0][-3000:]}")
        end = judged.last_at / 1000
        run = Run(
            self._events / (end - begun),
            self._events / (end - seen.started_at),
            seen.cpu_between(begun, end) / self._events * 1e6,
            seen.peak,
            judged,
        )
        self.runs[contender.name].append(run)
        self._topics.remove(output)
        print(
            f"  {contender.name}: {run.rate:,.0f} events/s ({run.from_start:,.0f} from its start), "
            f"{run.cpu_us:.1f} us, {run.peak / 2**20:,.0f} MiB; {in_words(judged)}",
            flush=True,
        )

    def table(self, contenders: Sequence[Contender]) -> Table:
        """The medians, ratios first."""
        table = Table(
            title=f"{self._events:,} events, {len(self._expected):,} offers; medians, ratios to the day's loop"
        )
        table.add_column("who", overflow="fold")
        for heading in ("events/s, x", "CPU, x", "events/s", "from start", "CPU us", "peak MiB", "wrong", "no word"):
            table.add_column(heading, justify="right")
        loop = self.runs.get(DAYS_LOOP)
        for contender in contenders:
            if not (runs := self.runs[contender.name]):
                continue
            rate, cpu = median(run.rate for run in runs), median(run.cpu_us for run in runs)
            table.add_row(
                contender.name,
                f"{rate / median(run.rate for run in loop):.2f}" if loop else "",
                f"{cpu / median(run.cpu_us for run in loop):.1f}" if loop else "",
                f"{rate:,.0f}",
                f"{median(run.from_start for run in runs):,.0f}",
                f"{cpu:.1f}",
                f"{median(run.peak for run in runs) / 2**20:,.0f}",
                f"{median(run.judged.wrong for run in runs):,.0f}",
                f"{median(run.judged.silent for run in runs):,.0f}",
            )
        return table

    def ratio(self, one: Contender, other: Contender) -> str:
        """The events a second of one to those of the other, in a line."""
        rates = [median(run.rate for run in self.runs[who.name]) for who in (one, other)]
        return f"{rates[0] / rates[1]:.2f} x  {one.name} : {other.name}"

    def median_of(self, who: Contender) -> tuple[float, float, str]:
        """Events a second, microseconds of processor time an event, and in words the mistakes of its worst run."""
        runs = self.runs[who.name]
        return (
            median(run.rate for run in runs),
            median(run.cpu_us for run in runs),
            in_words(max((run.judged for run in runs), key=lambda judged: (judged.wrong, judged.silent))),
        )


def rows_of(comparison: Comparison, contenders: dict[str, Contender]) -> Iterator[Row]:
    """What the table of all benchmarks has of it."""
    found = {name: comparison.median_of(one) for name, one in contenders.items()}
    if "product" not in found:
        return
    rate, cpu, _ = found["product"]
    if "loop" in found:
        loop, loop_cpu, _ = found["loop"]
        words = f"{rate:,.0f} to {loop:,.0f} events/s"
        yield Row("whole way, to a day's loop", f"{rate / loop:.2f} x", words, ">= 0.8 x", rate >= 0.8 * loop)
        words = f"{cpu:.1f} to {loop_cpu:.1f} us of CPU an event"
        yield Row("whole way, CPU to a day's loop", f"{cpu / loop_cpu:.2f} x", words, "<= 16 us", cpu <= 16)
    for name in ("streams", "quix"):
        if name in found:
            other, other_cpu, wrong = found[name]
            words = f"{rate:,.0f} to {other:,.0f} events/s, {cpu:.1f} to {other_cpu:.1f} us; {wrong}"
            who = f"whole way, to {contenders[name].name}"
            yield Row(who, f"{rate / other:.2f} x", words, ">= 2 x, and right", rate >= 2 * other)
    if "two" in found:
        two, _, _ = found["two"]
        words = f"{two:,.0f} to {rate:,.0f} events/s, {comparison.cores} cores with the broker on them"
        yield Row("two instances, to one", f"{two / rate:.2f} x", words, ">= 1.8 x", two >= 1.8 * rate)


def must_be_right(name: str, runs: Iterable[Run]) -> None:
    """Raises:
    SystemExit: one of the runs told a fate wrongly, or did not tell it.
    """
    for run in runs:
        if run.judged.wrong or run.judged.silent:
            raise SystemExit(f"{name}: {in_words(run.judged)}")


def in_words(judged: Judged) -> str:
    """What it got wrong."""
    parts = []
    if judged.wrong:
        parts.append(
            f"wrong {judged.wrong:,}: missed {judged.missed:,}, other {judged.odd:,}, "
            f"bought and called {judged.false:,}, of which then told as bought {judged.then_bought:,}"
        )
    if judged.silent:
        parts.append(f"no word of {judged.silent:,}")
    if judged.repeated:
        parts.append(f"{judged.repeated:,} called again")
    return "; ".join(parts) or "all right"


@contextmanager
def answering_204() -> Iterator[str]:
    """A server in another process that answers each call with 204 at once; its base URL."""
    from benchmarks.bench_calls import SERVER  # noqa: PLC0415 - it brings the whole delivery along

    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}/x"
    finally:
        server.kill()
        server.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presentations", type=int, default=120_000, help="half as many checkouts come with them")
    parser.add_argument("--density", type=float, default=40.0, help="presentations a second of event time")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=EVERYBODY, default=EVERYBODY)
    parser.add_argument("--keep", type=Path, help="a folder for the logs of the contenders")
    parser.add_argument("--settings", default="{}", help='of the service, as JSON: {"KAFKA__COMMIT_INTERVAL": "1s"}')
    arguments = parser.parse_args()
    print(head())
    settings = json.loads(arguments.settings)

    with answering_204() as base_url, tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        makers: dict[str, Callable[[], Contender]] = {
            "loop": days_loop,
            "product": partial(product, None, settings),
            "two": partial(product, None, settings, instances=2),
            "calls": partial(product, base_url, settings),
            "streams": partial(kafka_streams, folder, os.cpu_count() or 1),
            "quix": partial(quix, folder),
        }
        contenders: dict[str, Contender] = {}
        for name in arguments.only:
            try:
                contenders[name] = makers[name]()
            except brokers.UnavailableError as reason:
                print(f"left out: {name}, since {reason}")
        search = brokers.search()
        broker = search.start()
        print(f"kafka: {search}")
        try:
            if not broker.is_real:
                print("left out: a mock of Kafka does not say when it took a record")
                return
            compare(broker.bootstrap_servers, arguments, contenders, folder)
        finally:
            broker.close()


def compare(bootstrap: str, arguments: argparse.Namespace, contenders: dict[str, Contender], folder: Path) -> None:
    # Its last events are past for long, whatever the machine takes to write them.
    span = round(arguments.presentations / arguments.density * 1000)
    begin = time.time_ns() // 1_000_000 - span - 2 * 3_600_000
    sessions = Sessions(SessionPlan(arguments.presentations, begin, span))
    topics = Topics(bootstrap)
    events = topics.write(sessions.events)
    expected = sessions.fates()
    del sessions
    comparison = Comparison(topics, events, expected, folder)
    for number in range(arguments.rounds):
        print(f"round {number + 1}")
        names = [name for name in contenders if number == 0 or name not in ONCE]
        # Whoever is first in a round is another one each time.
        for place in range(len(names)):
            comparison.run(contenders[names[(place + number) % len(names)]])
    everybody = list(contenders.values())
    Console(width=130).print(comparison.table(everybody))
    for one, other in (("product", "streams"), ("product", "quix"), ("two", "product"), ("calls", "product")):
        if one in contenders and other in contenders:
            print(comparison.ratio(contenders[one], contenders[other]))
    print("settings:", *(f"  {one.name}: {one.settings}" for one in everybody), sep="\n")
    for name in OURS & contenders.keys():
        must_be_right(contenders[name].name, comparison.runs[contenders[name].name])
    add(*rows_of(comparison, contenders))


if __name__ == "__main__":
    main()
