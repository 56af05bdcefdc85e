"""Rule 2 at a real Kafka: what was bought while `input.checkouts.when` was spelt wrong counts once it is mended.

While it is wrong no checkout counts, and the guard against a silence holds all decisions: but the checkouts' position
goes on past those purchases.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from brokers import Broker
from support.deployment import Deployment, deployed, now, until

from consumer.events import Outcome

SETTINGS = {
    "JOIN__CHECKOUT_SILENCE": "3s",
    "INPUT__OFFERS__FORMAT": "json",
    "INPUT__CHECKOUTS__FORMAT": "json",
    "INPUT__CHECKOUTS__WHEN": "status == 'PAYED'",
}
MENDED = {"INPUT__CHECKOUTS__WHEN": "status == 'PAID'"}
OFFERS = 12


def send(deployment: Deployment, topic: str, session: str, at: int, **fields: Any) -> None:
    value = {"event_id": "e", "session_id": session, **fields}
    deployment.produce(topic, session, json.dumps(value).encode(), at)


def show_and_buy(deployment: Deployment, offer: str, at: int) -> None:
    send(deployment, deployment.offer_topic, offer, at, partner_code="ACME", offer_id=offer, presented_at=at)
    fields = {"checkout_id": "c", "completed_at": at + 1, "purchased_offer_ids": [offer], "status": "PAID"}
    send(deployment, deployment.checkout_topic, offer, at + 1, **fields)


def test_what_was_bought_while_when_was_spelt_wrong_is_not_called_once_it_is_mended(
    real_kafka: Broker, tmp_path: Path
) -> None:
    base = now() - 30_000
    with deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(1, 1), settings=SETTINGS) as deployment:
        for n in range(OFFERS):
            show_and_buy(deployment, f"o{n}", base + 500 * n)
        deployment.flush()
        first = deployment.start()
        until(lambda: any("no checkout comes" in line["event"] for line in first.lines()), within=30, what="the guard")
        until(lambda: deployment.committed(deployment.checkout_topic)[0][0] == OFFERS, within=30, what="a commit")
        assert first.terminate() == 0
        assert deployment.called() == []
        code, said = deployment.positions("--accept", **MENDED)
        assert code == 0, said
        second = deployment.start(**MENDED)
        show_and_buy(deployment, "later", now())
        deployment.flush()
        until(lambda: len(deployment.outcomes()) >= OFFERS, within=60, what="a fate for each")
        assert second.terminate() == 0
        assert {o.outcome for o in deployment.outcomes()} == {Outcome.PURCHASED}
        assert deployment.called() == []
