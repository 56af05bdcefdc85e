"""A watermark that stands still says why, at a real Kafka: an open transaction, and brokers that answer nothing."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

from brokers.base import free_port
from brokers.producers import ordered_producer
from support.deployment import AGE, Deployment, Process, deployed, now, until

PATIENCE = 6.0
"""Seconds: longer than it takes to find quiet topics idle after a start."""
STANDS = "the watermark stands still: of this partition nothing is decided meanwhile"
MOVES = "the watermark moves again"


def stands(process: Process, cause: str) -> list[dict[str, Any]]:
    return [line for line in process.lines(STANDS) if line["cause"] == cause]


def ready(port: int) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
        assert answer.status == 200
        told: dict[str, Any] = json.load(answer)
        return told


def open_transaction(deployment: Deployment, partition: int) -> Any:
    """A checkout of session s1 in a transaction that is not ended."""
    producer = ordered_producer(
        deployment.bootstrap, transactional_id=f"t-{deployment.suffix}", **{"transaction.timeout.ms": 600_000}
    )
    producer.init_transactions(30)
    producer.begin_transaction()
    event = {
        "event_id": "e",
        "session_id": "s1",
        "checkout_id": "in-a-transaction",
        "completed_at": now() - AGE + 1_000,
        "purchased_offer_ids": ["bought"],
    }
    value = deployment.codec.encode_checkout(event)
    producer.produce(deployment.checkout_topic, key="s1", value=value, partition=partition)
    assert producer.flush(30) == 0
    return producer


def test_an_open_transaction_is_named_as_what_holds_the_watermark_and_its_end_is_told(
    real_kafka, tmp_path: Path
) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(2, 2)) as deployment:
        event = {"event_id": "e", "session_id": "s1", "partner_code": "P", "offer_id": "bought", "presented_at": now()}
        deployment.produce(deployment.checkout_topic, "s1", None, now(), partition=1)
        deployment.produce(deployment.offer_topic, "s1", deployment.codec.encode_offer(event), now(), partition=1)
        deployment.flush()
        transaction = open_transaction(deployment, partition=1)
        port = free_port()
        process = deployment.start(patience=PATIENCE, SERVER__PORT=str(port))
        until(lambda: process.lines(STANDS), within=60, what="the line that says what holds the watermark")
        (line,) = process.lines(STANDS)
        assert (line["cause"], line["partition"], line["input"]) == ("transaction", 1, "checkouts")
        assert (line["topic"], line["offset"], line["end"]) == (deployment.checkout_topic, 1, 2)
        assert line["level"] == "warning"
        assert line["waited_s"] >= PATIENCE
        assert line["runbook"] == "opt-out manual runbook#the-watermark-stands-still"
        told = ready(port)
        assert told["ok"]
        assert f"held by {deployment.checkout_topic}[1] at offset 1" in told["reason"]
        assert process.lines(MOVES) == []

        transaction.commit_transaction(30)
        until(lambda: process.lines(MOVES), within=30, what="the line that says that it moves again")
        (end,) = process.lines(MOVES)
        assert (end["partition"], end["held_by"]) == (1, ["checkouts: transaction"])
        until(lambda: "stands still" not in ready(port)["reason"], within=10, what="the endpoint to say so")
        until(lambda: deployment.committed_total() == 1, within=30, what="the offer to be settled")
        assert deployment.called() == []
        assert len(process.lines(STANDS)) == 1, "the other partition followed the clock"


def test_brokers_that_answer_nothing_are_named_and_that_they_answer_again_is_told(own_broker, tmp_path: Path) -> None:
    with deployed(own_broker.bootstrap_servers, tmp_path, partitions=(1, 1), protocol="classic") as deployment:
        deployment.present("before", at=now() - AGE)
        deployment.flush()
        # The group keeps the member, and no commit waits for the brokers.
        session = json.dumps({"session.timeout.ms": 120_000})
        process = deployment.start(patience=PATIENCE, KAFKA__COMMIT_INTERVAL="1h", KAFKA__PROPERTIES=session)
        until(lambda: "before" in deployment.settled(), within=30, what="the first to be settled")
        with own_broker.frozen():
            until(lambda: stands(process, "silent"), within=60, what="the line that names the brokers")
        (line,) = stands(process, "silent")
        assert line["partition"] == 0
        assert line["unanswered_s"] >= 1
        until(lambda: process.lines(MOVES), within=60, what="the line that says that it moves again")
        assert process.running


def test_a_member_that_the_group_has_given_up_says_that_it_has_nothing(own_broker, tmp_path: Path) -> None:
    with deployed(own_broker.bootstrap_servers, tmp_path, partitions=(1, 1), protocol="classic") as deployment:
        deployment.present("before", at=now() - AGE)
        deployment.flush()
        process = deployment.start(patience=PATIENCE, KAFKA__COMMIT_INTERVAL="1h")
        # The first commit, which may follow the assignment at once, is behind it then: no other waits for the brokers.
        until(lambda: "before" in deployment.settled(), within=30, what="the first to be settled")
        event = "the group has assigned nothing yet: here nothing is read, decided or committed until it has"
        with own_broker.frozen():
            until(lambda: process.lines(event), within=60, what="the line that says that it has nothing")
        until(lambda: process.lines("the group has assigned"), within=60, what="the line that tells the end")
        assert process.running


def test_a_commit_that_brokers_do_not_answer_is_named_and_its_end_is_told(own_broker, tmp_path: Path) -> None:
    with deployed(own_broker.bootstrap_servers, tmp_path, partitions=(1, 1)) as deployment:
        deployment.present("before", at=now() - AGE)
        deployment.flush()
        port = free_port()
        process = deployment.start(patience=PATIENCE, SERVER__PORT=str(port))
        until(lambda: deployment.committed_total() == 1, within=30, what="the first to be settled")
        waits = "the brokers do not answer: nothing is read, decided or committed until they do"
        with own_broker.frozen():
            until(lambda: process.lines(waits), within=60, what="the line that names the brokers")
            assert "waiting for the brokers: a commit" in ready(port)["reason"]
        until(lambda: process.lines("the brokers answer again"), within=60, what="the line that tells the end")
        deployment.present("after")
        deployment.flush()
        until(lambda: "after" in deployment.settled(), within=60, what="the service to go on")
