"""`make bench`: every program that has a row in the table, one after the other, and then the table.

    python tests/benchmarks/run_all.py [--small] [--only bench_open bench_calls]

The table stands in build/bench.md as well, as Markdown, with the machine, the versions, the date and the commands; the
manual's page on performance has it from there. A program that fails, since a result was wrong for instance, leaves its
rows out; the others run all the same, and the end is a failure. With --small each runs at a size that only shows that
it works: figures of that say nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import confluent_kafka
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.whole_way import rows
from benchmarks.whole_way.built import QUIX_VERSION
from benchmarks.whole_way.machine import machine, yardstick
from brokers.apache import find_java
from brokers.base import UnavailableError, kafka_version

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build"


class Program(NamedTuple):
    """A program beside this one, and its arguments: for the table, and to see that it works."""

    name: str
    arguments: str
    small: str


PROGRAMS = [
    Program("bench_whole_way", "--presentations 120000 --rounds 3", "--presentations 4000 --rounds 1"),
    Program("bench_latency", "--seconds 20", "--seconds 3 --rates 100"),
    Program("bench_memory", "--offers 1000000", "--offers 20000"),
    Program("bench_restart", "--open 1000000 --runs 2", "--open 20000 --runs 1"),
    Program("bench_calls", "--calls 10000 --rounds 3", "--calls 500 --rounds 1"),
    Program("bench_open", "--events 100000", "--events 20000 --open 100 10000"),
]


def versions() -> str:
    """Of all that takes part, in a line."""
    try:
        java = f"Java {find_java()[1]}"
    except UnavailableError:
        java = "no Java"
    return (
        f"Linux {os.uname().release}, Python {sys.version.split()[0]}, confluent-kafka {confluent_kafka.__version__} "
        f"on librdkafka {confluent_kafka.libversion()[0]}, Kafka and Kafka Streams {kafka_version()}, {java}, "
        f"Quix Streams {QUIX_VERSION}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [program.name for program in PROGRAMS]
    parser.add_argument("--small", action="store_true", help="to see that everything works")
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    options = parser.parse_args()
    BUILD.mkdir(exist_ok=True)
    kept = BUILD / "bench-rows.jsonl"
    kept.write_text("")
    where, began, failed, commands = machine(), time.monotonic(), [], []
    for program in PROGRAMS:
        if program.name not in options.only:
            continue
        arguments = program.small if options.small else program.arguments
        command = f"python tests/benchmarks/{program.name}.py {arguments}"
        print(f"\n== {command}", flush=True)
        at = time.monotonic()
        done = subprocess.run(
            [sys.executable, *command.split()[1:]], cwd=ROOT, env=os.environ | {rows.FILE: str(kept)}, check=False
        )
        commands.append(f"{command}  # {time.monotonic() - at:.0f} s")
        if done.returncode != 0:
            failed.append(program.name)
    found = rows.read(kept)
    about = [
        f"{datetime.now(UTC):%Y-%m-%d}, {where}; a million turns of an empty loop in Python take {yardstick():.0f} ms.",
        versions() + ".",
    ]
    text = [rows.markdown_of(found), "", *about, "", "```sh", *commands, "```", ""]
    (BUILD / "bench.md").write_text("\n".join(text), encoding="utf-8")
    console = Console(width=150)
    console.print(rows.table_of(found))
    print(*about, *commands, f"{time.monotonic() - began:.0f} s in all; as Markdown: build/bench.md", sep="\n")
    if failed:
        raise SystemExit(f"failed, and without a row: {', '.join(failed)}")


if __name__ == "__main__":
    main()
