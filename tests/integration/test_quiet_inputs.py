"""Quiet topics: what may still be coming holds the decision, and what may not does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import Producer
from deployment import deployed, now, read_topic, until
from test_faults import AGE

from consumer.events import Outcome


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

        transaction = Producer(
            {
                "bootstrap.servers": deployment.bootstrap,
                "transactional.id": f"t-{deployment.suffix}",
                "partitioner": "murmur2_random",
            }
        )
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
