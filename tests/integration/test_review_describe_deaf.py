"""A topic is made anew while running, and nobody tells the topics' ids meanwhile."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import NewTopic
from support.deployment import AGE, PARTITIONS, Deployment, Process, deployed, now, until


class DeafProcess(Process):
    def __init__(self, environ, log: Path, deaf: Path) -> None:
        self.log = log
        with log.open("ab") as stream:
            self.popen = subprocess.Popen(
                [sys.executable, str(Path(__file__).parents[1] / "support" / "deaf.py"), str(deaf), "run"],
                env=environ, stdout=stream, stderr=stream,
            )


def make_anew_quickly(deployment: Deployment, topic: str) -> None:
    deployment.admin.delete_topics([topic])[topic].result(20)
    while True:
        try:
            deployment.admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(20)
            return
        except KafkaException:
            time.sleep(0.002)


@pytest.mark.parametrize("size", ["shorter", "longer"])
@pytest.mark.parametrize("which", ["checkouts"])
def test_made_anew_while_describe_hangs(real_kafka, tmp_path: Path, size: str, which: str) -> None:
    deaf = tmp_path / "deaf"
    deaf.write_text("hears")
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        before = 40
        for p in range(PARTITIONS):
            for n in range(before):
                session = f"old-{p}-{n}"
                event = {"event_id": session, "session_id": session, "checkout_id": session,
                         "completed_at": now() - 600_000, "purchased_offer_ids": []}
                deployment.produce(deployment.checkout_topic, session, deployment.codec.encode_checkout(event),
                                   now() - 600_000)
        deployment.flush()
        deployment.present("first", session="first", at=now() - AGE)
        deployment.flush()
        log = tmp_path / "deaf.log"
        process = DeafProcess(deployment.environ(), log, deaf)
        deployment.processes.append(process)
        until(lambda: "first" in deployment.called(), within=60, what="the first call")
        time.sleep(1)
        deaf.write_text("deaf")
        time.sleep(1.5)
        topic = deployment.checkout_topic
        make_anew_quickly(deployment, topic)
        # Shown, and bought at once: all of it on time, read by nobody but us.
        for n in range(40):
            deployment.present(f"sold-{n}", session=f"sold-{n}")
            deployment.check_out(f"sold-{n}", session=f"sold-{n}")
        deployment.flush()
        if size == "longer":
            for p in range(PARTITIONS):
                for n in range(3 * before):
                    session = f"new-{p}-{n}"
                    event = {"event_id": session, "session_id": session, "checkout_id": session,
                             "completed_at": now(), "purchased_offer_ids": []}
                    deployment.produce(topic, session, deployment.codec.encode_checkout(event), now())
            deployment.flush()
        end = time.monotonic() + 25
        while time.monotonic() < end and process.running:
            time.sleep(0.2)
        false = [offer for offer in deployment.called() if offer.startswith("sold")]
        for line in process.lines():
            if line.get("level") in ("warning", "error"):
                print(line)
        print(process.text()[-1500:])
        print("running", process.running, "false calls", len(false))
        assert not false
