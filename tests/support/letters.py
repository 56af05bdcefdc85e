"""Dead letters of a deployment: written as the service writes them, listed and re-submitted as an operator does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from confluent_kafka import Message, Producer
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from consumer.kafka.config import producer_config
from consumer.kafka.producer import OutputProducer
from consumer.kafka.record import Record
from consumer.settings import KafkaSettings

from .deployment import Deployment, headers, read_topic
from .preloaded import run_preloaded
from .run_command import clean_environ

HEADER = "opt-out.resubmitted-from"
HALTED = Path(__file__).with_name("halted_resubmission.py")


def dead_letter(deployment: Deployment, topic: str, reason: str, *, last: int = 1, times: int = 1) -> None:
    """Dead-letter the last records of a topic, each so many times, as the service would."""
    settings = KafkaSettings(bootstrap_servers=deployment.bootstrap)
    outputs = OutputProducer(
        Producer(producer_config(settings)), deployment.outcome_topic, deployment.dead_letter_topic, deployment.codec
    )
    newest = sorted(read_topic(deployment.bootstrap, topic), key=lambda message: message.offset() or 0)[-last:]
    written: list[int] = []
    for message in newest * times:
        record = Record.of(message)
        outputs.dead_letter(record, reason=reason, error="as a test says", on_ack=lambda: written.append(1))
    assert outputs.flush(30)
    assert len(written) == last * times


def dead_letters(
    deployment: Deployment, *arguments: str, halt: str | None = None, **settings: str
) -> subprocess.CompletedProcess[str]:
    """`opt-out dead-letters`, run to its end. `halt`: see `started`."""
    if halt is None:
        done = run_preloaded("dead-letters", *arguments, environ=_environ(deployment, settings), timeout=120)
    else:
        process = started(deployment, *arguments, halt=halt, **settings)
        out, err = process.communicate(timeout=120)
        done = subprocess.CompletedProcess(arguments, process.returncode, out, err)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def started(deployment: Deployment, *arguments: str, halt: str, **settings: str) -> subprocess.Popen[str]:
    """The same as a process. `halt`: where in `halted_resubmission.py` it stops."""
    return subprocess.Popen(
        [sys.executable, str(HALTED), halt, "dead-letters", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environ(deployment, settings) | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )


def _environ(deployment: Deployment, settings: dict[str, str]) -> dict[str, str]:
    ours = {name: settings.pop(name) for name in ("HALT", "COLUMNS") if name in settings}
    environ = {name: value for name, value in deployment.environ(**settings).items() if name.startswith("OPT_OUT_")}
    return clean_environ() | environ | ours | {"NO_COLOR": "1"}


def resubmit(deployment: Deployment, *arguments: str, **settings: str) -> tuple[int, dict[str, Any]]:
    """`opt-out dead-letters resubmit`: its exit code, and by what became of them how many dead letters there were."""
    done = dead_letters(deployment, "resubmit", *arguments, "--yes", "--output", "json", **settings)
    assert done.stdout, done.stderr
    shown = json.loads(done.stdout)
    counts: dict[str, int] = {}
    for row in shown["dead_letters"]:
        counts[row["fate"]] = counts.get(row["fate"], 0) + row["count"]
    assert shown["resubmitted"] == counts.get("resubmitted", 0)
    return done.returncode, counts


def resubmitted(deployment: Deployment, topic: str) -> list[Message]:
    """The records of a topic that say that they are re-submitted, in the order of their offsets."""
    found = [message for message in read_topic(deployment.bootstrap, topic) if HEADER in headers(message)]
    return sorted(found, key=lambda message: (message.partition() or 0, message.offset() or 0))


def limit(deployment: Deployment, topic: str, name: str, value: str) -> None:
    """Change a setting of a topic."""
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for future in deployment.admin.incremental_alter_configs([resource]).values():
        future.result(20)
