"""Rule 2 at a real Kafka: a mapping that is changed at a roll is found out, and after a yes no offer is missed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from brokers import Broker
from support.deployment import Deployment, deployed, moment, now, until

from consumer.core.checkpoint import OfferCheckpoint

SETTINGS = {
    "JOIN__WINDOW": "20s",
    "JOIN__CHECKOUT_GRACE": "2s",
    "JOIN__LOOKBACK": "40s",
    "JOIN__LATENESS": "1s",
    "JOIN__IDLE_AFTER": "1h",
    # Or a partition whose first checkout is the clock would wait for what lands behind it.
    "JOIN__CHECKOUT_SILENCE": "0s",
    "INPUT__OFFERS__FORMAT": "json",
    "INPUT__CHECKOUTS__FORMAT": "json",
    "INPUT__CHECKOUTS__WHEN": "status == 'PAID'",
}
WIDER = {"INPUT__CHECKOUTS__WHEN": "status == 'PAID' || status == 'FREE'"}
AS_WELL = {"INPUT__CHECKOUTS__WHEN": "  status == 'PAID' "}
"""No other mapping."""


def send(deployment: Deployment, topic: str, session: str, at: int, **fields: Any) -> None:
    value = {"event_id": "e", "session_id": session, **fields}
    deployment.produce(topic, session, json.dumps(value).encode(), at)


def show(deployment: Deployment, offer: str, at: int) -> None:
    fields = {"partner_code": "ACME", "offer_id": offer, "presented_at": at}
    send(deployment, deployment.offer_topic, offer, at, **fields)


def check_out(deployment: Deployment, session: str, at: int, status: str) -> None:
    fields = {"checkout_id": "c", "completed_at": at, "purchased_offer_ids": [], "status": status}
    send(deployment, deployment.checkout_topic, session, at, **fields)


def move_clock(deployment: Deployment, at: int) -> None:
    show(deployment, f"clock-{at}", at)
    check_out(deployment, f"clock-{at}", at, "PAID")
    deployment.flush()


def decided_to(deployment: Deployment) -> int:
    committed = deployment.committed(deployment.offer_topic).values()
    return min((OfferCheckpoint.decode(text, offset).decided_to for offset, text in committed if text), default=0)


@pytest.mark.parametrize("back", [False, True], ids=["yes", "back"])
def test_an_offer_that_is_open_as_when_becomes_wider_is_called(real_kafka: Broker, tmp_path: Path, back: bool) -> None:
    base = now() - 300_000
    with deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(1, 1), settings=SETTINGS) as deployment:
        check_out(deployment, "someone", base + 80_000, "PAID")
        show(deployment, "free", base + 90_000)
        show(deployment, "other", base + 91_000)
        check_out(deployment, "free", base + 92_000, "FREE")
        move_clock(deployment, base + 100_000)
        first = deployment.start()
        until(lambda: decided_to(deployment) >= base + 98_000, within=60, what="a commit")
        assert first.terminate() == 0
        assert deployment.called() == []
        assert deployment.positions(**AS_WELL)[0] == 0
        code, said = deployment.positions(**WIDER)
        assert (code, "committed with another mapping of the inputs" in said) == (1, True), said
        refused = deployment.start(**WIDER)
        until(lambda: not refused.running, within=60, what="the end of a start that is refused")
        assert "another mapping of the inputs" in refused.text()
        code, said = deployment.positions(*(["--reset-to", moment(base + 89_000)] if back else ["--accept"]), **WIDER)
        assert code == 0, said
        second = deployment.start(**WIDER)
        move_clock(deployment, base + 190_000)
        until(lambda: decided_to(deployment) >= base + 188_000, within=60, what="a commit behind both")
        until(lambda: {"free", "other"} <= set(deployment.called()), within=30, what="the calls of both")
        assert second.terminate() == 0
        assert deployment.dead_letters() == []
