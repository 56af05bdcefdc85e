"""Quiet topics: what may still be coming holds the decision, and what may not does not."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from brokers import ApacheBroker, SecondBroker
from brokers.producers import ordered_producer
from confluent_kafka import ElectionType, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from support.deployment import AGE, Deployment, deployed, now, read_topic, until

from consumer.events import Outcome
from consumer.kafka.end_offsets import EndOffsets


def test_after_a_start_a_quiet_topic_is_not_decided_for_the_length_of_lateness(real_kafka, tmp_path: Path) -> None:
    settings = {"JOIN__LATENESS": "3s"}
    with deployed(real_kafka.bootstrap_servers, tmp_path, settings=settings) as deployment:
        deployment.present("offer-1", at=now() - AGE)
        deployment.flush()
        process = deployment.start()
        until(lambda: process.lines("call answered"), within=30, what="the call")
        begun, called = (moment(process.lines(event)[0]) for event in ("task begins", "call answered"))
        assert called - begun >= timedelta(seconds=3)


def moment(line: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(line["timestamp"])


@pytest.mark.parametrize("end", ["commit", "abort"])
def test_an_open_transaction_holds_the_offers_that_it_may_have_bought(real_kafka, tmp_path: Path, end: str) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        deployment.present("bought", session="s1", at=now() - AGE)
        for n in range(16):
            deployment.present(f"control-{n}", session=f"c{n}")
        deployment.flush()
        places = {
            message.key().decode(): message.partition()
            for message in read_topic(deployment.bootstrap, deployment.offer_topic)
        }
        held = {f"control-{n}" for n in range(16) if places[f"c{n}"] == places["s1"]}
        others = {f"control-{n}" for n in range(16)} - held
        assert others, "every session is in one partition"

        transaction = ordered_producer(deployment.bootstrap, transactional_id=f"t-{deployment.suffix}")
        transaction.init_transactions(30)
        transaction.begin_transaction()
        event = {
            "event_id": "e",
            "session_id": "s1",
            "checkout_id": "in-a-transaction",
            "completed_at": now() - AGE + 1_000,
            "purchased_offer_ids": ["bought"],
        }
        transaction.produce(deployment.checkout_topic, key="s1", value=deployment.codec.encode_checkout(event))
        assert transaction.flush(30) == 0

        deployment.start()
        # They are due much later than the one that is held.
        until(lambda: others <= set(deployment.settled()), within=40, what="the offers of other partitions")
        assert set(deployment.called()) == others, "called although a transaction is open"
        if end == "commit":
            transaction.commit_transaction(30)
        else:
            transaction.abort_transaction(30)
        until(lambda: deployment.committed_total() == 17, within=40, what="the offers that were held to be settled")
        outcome = {o.offer_id: o.outcome for o in deployment.outcomes()}["bought"]
        assert outcome is (Outcome.PURCHASED if end == "commit" else Outcome.OPTED_OUT)
        assert ("bought" in deployment.called()) == (end == "abort")


def test_a_frozen_leader_is_trouble_and_no_partition_that_ends(own_broker) -> None:
    """The client counts its own time-out as an answer, with no offset, once it has known the leader."""
    admin = AdminClient({"bootstrap.servers": own_broker.bootstrap_servers, "log_level": 0})
    admin.create_topics([NewTopic("checkouts", 1, 1)])["checkouts"].result(20)
    trouble: list[str] = []
    ends = EndOffsets(admin, time.time, trouble.append)

    def told() -> dict[tuple[str, int], int]:
        ends.ask([("checkouts", 0)])
        answer = until(ends.answers, within=30, what="an answer, or that there is none")
        return answer[1]

    assert told() == {("checkouts", 0): 0}
    with own_broker.frozen():
        for times in (1, 2):
            assert told() == {}
            assert len(trouble) == times
    assert told() == {("checkouts", 0): 0}


@pytest.mark.cluster
def test_a_new_leader_is_noticed_by_its_epoch_and_freezes_idle_watermarks(own_broker, tmp_path: Path) -> None:
    """The leaders are moved by request between two brokers that both run: no connection is lost."""
    if not isinstance(own_broker, ApacheBroker):
        pytest.skip(f"needs two brokers of one cluster, which only Java gives: {own_broker.description} is one")
    second = SecondBroker(own_broker)
    second.start()
    try:
        with deployed(own_broker.bootstrap_servers, tmp_path, replicas=(2, 1)) as deployment:
            second.restart()  # the first leads from now on, though the second is preferred
            deployment.present("before", session="s1", at=now() - AGE)
            deployment.flush()
            process = deployment.start()
            until(lambda: "before" in deployment.settled(), within=40, what="the offer from before")
            until(lambda: leaders_and_copies(deployment) == {(1, 2)}, within=30, what="the second to have caught up")
            assert process.lines(FROZEN) == []
            inputs = deployment.offer_topic, deployment.checkout_topic
            places = [TopicPartition(topic, partition) for topic in inputs for partition in range(4)]
            deployment.admin.elect_leaders(ElectionType.PREFERRED, places).result(30)
            until(lambda: process.lines(FROZEN), within=30, what="the new leader to be noticed")
            # The broker refuses the old epoch, or has told the new one with the end.
            assert "leader" in process.lines(FROZEN)[0]["reason"].lower()
            deployment.present("after", session="s1")
            deployment.flush()
            until(lambda: "after" in deployment.settled(), within=40, what="the freeze to be over")
    finally:
        second.close()


FROZEN = "no idle watermark for the length of lateness"


def leaders_and_copies(deployment: Deployment) -> set[tuple[int, int]]:
    """(leader, how many copies are in sync) of the offer partitions."""
    told = deployment.admin.list_topics(deployment.offer_topic, timeout=20).topics[deployment.offer_topic]
    return {(partition.leader, len(partition.isrs)) for partition in told.partitions.values()}
