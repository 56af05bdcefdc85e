"""The health endpoints of a real consumer, asked over HTTP."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import httpx
from brokers.base import free_port
from confluent_kafka import Consumer, TopicPartition
from support.deployment import AGE, PARTITIONS, Deployment, Process, deployed, now, until
from support.kafka import marked


class Probed:
    """A consumer with health endpoints."""

    def __init__(self, deployment: Deployment, **settings: str) -> None:
        self.port = free_port()
        self.process: Process = deployment.start(SERVER__PORT=str(self.port), **settings)

    def ask(self, path: str) -> tuple[int, str]:
        """The status and the reason; status 0 while nothing listens."""
        try:
            found = httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=10)
        except httpx.ConnectError:
            assert self.process.running, self.process.text()
            return 0, ""
        return found.status_code, found.json()["reason"]

    def until(self, path: str, status: int, *, within: float = 30) -> str:
        """Ask until the status is `status`; the reason that came with it. A second question may be answered anew."""
        answers: list[tuple[int, str]] = []

        def answered() -> bool:
            answers.append(self.ask(path))
            return answers[-1][0] == status

        until(answered, within=within, what=f"{path} to answer {status}")
        return answers[-1][1]


def test_ready_once_the_group_has_assigned_partitions_and_live_before_and_while_the_api_is_down(
    real_kafka, tmp_path: Path
) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        for n in range(8):
            deployment.present(f"offer-{n}", session=f"session-{n}", at=now() - AGE)
        deployment.flush()
        # A member that was assigned everything and polls no more: whoever joins waits until it gives that back.
        topics = [deployment.offer_topic, deployment.checkout_topic]
        holder = Consumer(
            {
                "bootstrap.servers": real_kafka.bootstrap_servers,
                "group.id": deployment.group,
                "enable.auto.commit": False,
                "partition.assignment.strategy": "range",
            }
        )
        try:
            positions = [
                TopicPartition(topic, partition, 0, metadata=marked(topic, 0, PARTITIONS))
                for topic in topics
                for partition in range(PARTITIONS)
            ]
            holder.commit(offsets=positions, asynchronous=False)
            holder.subscribe(topics)
            until(lambda: holder.poll(0.1) is None and holder.assignment(), within=30, what="the holder's assignment")

            # From before the start on: the first question for the time is asked while it waits for its partitions.
            os.kill(deployment.api.pid, signal.SIGSTOP)
            probed = Probed(deployment)
            assert "the group has not said yet" in probed.until("/readyz", 503)
            until(lambda: len(deployment.assigned()) == 2, within=30, what="the consumer to have joined")
            status, reason = probed.ask("/readyz")
            assert (status, probed.ask("/livez")[0]) == (503, 200), reason
        finally:
            holder.close()
        try:
            assert probed.until("/readyz", 200) == "running partitions 0, 1, 2, 3"
            # An API that does not answer does not tell the time either, without which a quiet topic is not decided.
            until(lambda: "nobody tells the time" in probed.process.text(), within=30, what="the API to be missed")
            assert [probed.ask(path)[0] for path in ("/livez", "/readyz")] == [200, 200]
        finally:
            os.kill(deployment.api.pid, signal.SIGCONT)
        assert probed.process.terminate() == 0


def test_a_port_that_is_taken_stops_the_start_and_names_the_setting(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        first = Probed(deployment)
        first.until("/livez", 200)
        second = deployment.start(SERVER__PORT=str(first.port))
        assert second.popen.wait(30) == 1
        assert "OPT_OUT_SERVER__PORT" in second.text()
        assert "Traceback" not in second.text()


def test_a_stop_during_the_start_is_heard(broker, tmp_path: Path) -> None:
    with deployed(broker.bootstrap_servers, tmp_path) as deployment, socket.create_server(("127.0.0.1", 0)) as silent:
        probed = Probed(deployment, KAFKA__BOOTSTRAP_SERVERS=f"127.0.0.1:{silent.getsockname()[1]}")
        probed.until("/livez", 200)
        assert "the group has not said yet" in probed.until("/readyz", 503)
        # The question it waits for an answer to has a time-out of 15 s.
        assert probed.process.terminate(within=30) == 0
        assert probed.process.lines("starting") == []


def test_every_member_is_ready_though_there_are_more_of_them_than_partitions(
    protocol: str, real_kafka, tmp_path: Path
) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, protocol=protocol, partitions=(1, 1)) as deployment:
        members = [Probed(deployment) for _ in range(4)]
        reasons = {member.until("/readyz", 200) for member in members}
        # Behind that it may say what it waits for just then.
        assert {reason.partition("; ")[0] for reason in reasons} <= {
            "running partitions 0",
            "spare: the group has more members than partitions",
        }
        until(
            lambda: sorted(member.ask("/readyz")[1][:7] for member in members) == ["running", *["spare: "] * 3],
            within=30,
            what="one to run and three to be spare",
        )
