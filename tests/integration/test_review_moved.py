"""`--accept` on another cluster, to which a link or a mirror has kept records, offsets and the group's metadata."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from integration.test_positions import positions, set_offsets
from support.deployment import deployed, now, until

from consumer.core.checkpoint import OfferCheckpoint


@pytest.mark.parametrize("how", ["another cluster", "without this service's metadata"])
def test_a_chain_that_the_committed_offset_cuts_is_not_called_though_its_beginning_was_bought(
    real_kafka, tmp_path: Path, how: str
) -> None:
    settings = {"JOIN__MAX_SKEW": "1s"}
    with deployed(
        real_kafka.bootstrap_servers, tmp_path, partitions=(1, 1), scenario="500", settings=settings
    ) as deployment:
        t0 = now() - 60_000
        deployment.check_out("y", session="sy", at=t0)  # within lookback of the chain's beginning, and not of its end
        for after in (3_400, 20_000):
            deployment.check_out(session="filler", at=t0 + after)
        deployment.present("y", session="sy", at=t0 + 7_500)
        deployment.present("y", session="sy", at=t0 + 11_000)
        deployment.present("x", session="sx", at=t0 + 11_200)  # is not settled: the API is down
        deployment.present("y", session="sy", at=t0 + 14_800)
        deployment.flush()
        process = deployment.start()
        until(lambda: deployment.committed_total() == 2, within=40, what="the commit to stand at x")
        until(lambda: [o.offer_id for o in deployment.outcomes()] == ["y"], within=20, what="y to be settled")
        assert deployment.outcomes()[0].outcome.name == "PURCHASED"
        assert process.terminate() == 0
        offset, text = deployment.committed(deployment.offer_topic)[0]
        found = OfferCheckpoint.decode(text, offset)
        if how == "another cluster":
            told = replace(found, provenance=replace(found.provenance, cluster="the-one-that-burnt-down"))
            set_offsets(deployment, TopicPartition(deployment.offer_topic, 0, offset, metadata=told.encode(offset)))
        else:  # as a tool does that keeps offsets and not what stands with them
            checkouts, _ = deployment.committed(deployment.checkout_topic)[0]
            set_offsets(
                deployment,
                TopicPartition(deployment.offer_topic, 0, offset),
                TopicPartition(deployment.checkout_topic, 0, checkouts),
            )
        code, words = positions(deployment)
        assert code == 1 and how in words
        code, words = positions(deployment, "--accept")
        print(words)
        assert code == 0
        deployment.api.set_scenario("204")
        before = len(deployment.outcomes())
        process = deployment.start()
        until(lambda: deployment.committed_total() == 4, within=40, what="all to be settled")
        print([(o.offer_id, o.outcome.name) for o in deployment.outcomes()[before:]])
        assert "y" not in deployment.settled(), "it was bought, and that was read and told before the move"
