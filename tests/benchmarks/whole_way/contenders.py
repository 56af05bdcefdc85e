"""Who is compared: how each is started, with which settings, and how it says that it has begun to read."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

from brokers.base import kafka_version

from . import built
from .sessions import GRACE, LATENESS, LOOKBACK, WINDOW
from .topics import Topics

HERE = Path(__file__).parent
PEERS = HERE.parent / "peers"
ROOT = HERE.parents[2]
SCHEMAS = ROOT / "schemas"

DAYS_LOOP = "a day's loop in Python"


@dataclass(frozen=True, slots=True)
class Contender:
    """One of those that are compared.

    Attributes:
        name: for the table.
        settings: in which it runs, in words.
        command: of the process.
        environ: what it is told, by the topics and the name of its output.
        begun: when its first records came, seconds since 1970, by its log; None: it does not say so.
        instances: how many processes of it share the partitions.
    """

    name: str
    settings: str
    command: Sequence[str]
    environ: Callable[[Topics, str], Mapping[str, str]]
    begun: Callable[[str], float | None]
    instances: int = 1


def peer(name: str, settings: str, command: Sequence[str], **environ: str) -> Contender:
    """One of `peers/`, which are all told the same way, and say `begun SECONDS` at their first records."""

    def told(topics: Topics, output: str) -> Mapping[str, str]:
        return inherited() | {
            "BOOTSTRAP": topics.bootstrap,
            "GROUP": output,
            "OFFERS": topics.offers,
            "CHECKOUTS": topics.checkouts,
            "VERDICTS": output,
            "SCHEMAS": str(SCHEMAS),
            "WINDOW_MS": str(WINDOW),
            "GRACE_MS": str(GRACE),
            "LOOKBACK_MS": str(LOOKBACK),
            "LATENESS_MS": str(LATENESS),
            **environ,
        }

    return Contender(name, settings, command, told, begun_by_line)


def days_loop() -> Contender:
    """The loop that a good engineer writes in a day."""
    return peer(DAYS_LOOP, "loses its open sessions at a restart", [sys.executable, str(PEERS / "days_loop.py")])


def kafka_streams(folder: Path, threads: int) -> Contender:
    """Kafka Streams' left join; its state is below `folder`.

    Raises:
        UnavailableError: it cannot be built here.
    """
    words = f"RocksDB with changelogs, {threads} threads, at least once, max.task.idle.ms 1000, ParallelGC, heap 1 GB"
    command = built.kafka_streams()
    name = f"Kafka Streams {kafka_version()}, left join"
    return peer(name, words, command, STATE=str(folder / "streams"), THREADS=str(threads))


def quix(folder: Path) -> Contender:
    """Quix Streams' left interval join; its state is below `folder`.

    Raises:
        UnavailableError: it cannot be installed here.
    """
    words = "RocksDB with changelogs, at least once, commit every 5 s"
    name = f"Quix Streams {built.QUIX_VERSION}, left interval join"
    return peer(name, words, built.quix(), STATE=str(folder / "quix"))


def product(
    base_url: str | None = None, settings: Mapping[str, str] = MappingProxyType({}), *, instances: int = 1
) -> Contender:
    """The service: with its calls answered in the process, or made over HTTP to `base_url`.

    `settings`: more of them, as `JOIN__WINDOW`.
    """
    if base_url is None:
        name, program = "opt-out run, calls answered in the process", [str(HERE / "answered_run.py")]
    else:
        name, program = "opt-out run, calls made over HTTP", ["-m", "consumer"]

    def told(topics: Topics, output: str) -> Mapping[str, str]:
        ours = {
            "KAFKA__BOOTSTRAP_SERVERS": topics.bootstrap,
            "KAFKA__GROUP_ID": output,
            "KAFKA__OFFER_TOPIC": topics.offers,
            "KAFKA__CHECKOUT_TOPIC": topics.checkouts,
            "KAFKA__OUTCOME_TOPIC": output,
            "KAFKA__DEAD_LETTER_TOPIC": topics.dead_letters,
            "JOIN__WINDOW": f"{WINDOW}ms",
            "JOIN__CHECKOUT_GRACE": f"{GRACE}ms",
            "JOIN__LOOKBACK": f"{LOOKBACK}ms",
            "JOIN__LATENESS": f"{LATENESS}ms",
            "API__BASE_URL": base_url or "http://127.0.0.1:9/x",
            "API__KEY": "key",
            "API__SECRET": "secret",
            # Whoever stands there, if anybody, tells no time.
            "API__USE_DATE": "false",
            "DELIVERY__RATE_LIMIT": "0",
            "SERVER__PORT": "0",
            "LOG__FORMAT": "json",
            **settings,
        }
        return inherited() | {f"OPT_OUT_{name}": value for name, value in ours.items()}

    if instances > 1:
        name += f", {instances} instances"
    words = "its defaults, but the spans, and no rate limit"
    return Contender(name, words, [sys.executable, *program, "run"], told, task_begins, instances)


def inherited() -> dict[str, str]:
    """The environment of this process, without settings of the service; a peer finds the tree's packages by it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPT_OUT_")}
    return kept | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}


def begun_by_line(log: str) -> float | None:
    """By the line that the peers print."""
    found = re.search(r"^begun ([\d.]+)$", log, re.MULTILINE)
    return None if found is None else float(found[1])


def task_begins(log: str) -> float | None:
    """By the line of the service's log that tells of its first task; what it reads first comes after."""
    for line in log.splitlines():
        if '"task begins"' in line:
            entry = json.loads(line)
            return datetime.fromisoformat(entry["timestamp"]).timestamp()
    return None
