"""The status page of a real consumer: what it says of a partner that is denied, on a real broker, over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
from brokers.base import free_port
from support.deployment import AGE, Deployment, Process, deployed, now, until


class Asked:
    """A consumer whose page is asked for."""

    def __init__(self, deployment: Deployment, **settings: str) -> None:
        self._url = f"http://127.0.0.1:{(port := free_port())}"
        self.process: Process = deployment.start(SERVER__PORT=str(port), **settings)

    def status(self) -> dict[str, Any]:
        """What `/status` says; nothing while nobody listens."""
        try:
            found: dict[str, Any] = httpx.get(f"{self._url}/status", timeout=10).json()
        except httpx.ConnectError:
            assert self.process.running, self.process.text()
            return {}
        return found

    def page(self) -> str:
        return httpx.get(self._url, timeout=10).text


def test_a_partner_that_is_denied_is_said_with_its_partition_and_the_others_go_on(real_kafka, tmp_path: Path) -> None:
    scenario = "ACME:403; P2/gone:404; 204"
    with deployed(real_kafka.bootstrap_servers, tmp_path, scenario=scenario, partitions=(1, 1)) as deployment:
        asked = Asked(deployment)
        until(lambda: asked.status().get("verdict") == "well", within=60, what="all to be well")
        assert "<h1>All is well</h1>" in asked.page()

        at = now()
        for n in range(3):
            deployment.present(f"secret-offer-{n}", session=f"secret-session-{n}", at=at, partner="P2")
        deployment.present("secret-denied", session="secret-session-9", at=at + 1)
        deployment.present("gone", session="secret-session-7", at=at + 2, partner="P2")
        deployment.produce(deployment.offer_topic, "secret-session-8", b"secret-bytes", at)
        deployment.flush()

        def is_told() -> bool:
            found = asked.status()
            said = [problem["partner"] for problem in found["problems"]]
            (task,) = found["run"]["tasks"]
            return said == ["ACME"] and task["offers"]["committed"] == 3 and len(found["run"]["outcomes"]) == 4

        until(is_told, within=90, what="the denied partner to be said, and the others to be called")
        found = asked.status()
        assert found["verdict"] == "trouble", found["problems"]
        (problem,) = found["problems"]
        assert problem["sentence"].startswith("partition 0: oldest unsettled offer is ")
        assert ", partner ACME answers 403; 1 call waits; committed offset held at 3" in problem["sentence"]
        assert problem["since"] is None, "it was so at the start: since when nobody knows"
        assert problem["sentence"].endswith("; 1 call waits; committed offset held at 3")
        assert problem["runbook"] == "manual/runbook#credentials-refused"

        run = found["run"]
        (task,) = run["tasks"]
        assert (task["phase"], task["unsettled"]) == ("running", 1)
        partners = {partner["partner_code"]: partner for partner in run["partners"]}
        assert partners["ACME"]["stopped_by"] == ["credentials"]
        assert partners["ACME"]["answers"]["403"] >= 1
        assert partners["P2"]["answers"] == {"204": 3, "404": 1}
        assert sorted(one["outcome"] for one in run["outcomes"]) == ["NOT_FOUND", *["OPTED_OUT"] * 3]
        assert [(one["reason"], one["offset"]) for one in run["dead_letters"]] == [("undecodable", 5)]
        assert sum(minute["answered"] for minute in found["last_hour"]) == 4

        page = asked.page()
        assert "answers 403" in page
        assert "secret" not in page
        assert "secret" not in str(found)
        assert asked.process.terminate() == 0


def test_where_ids_are_to_be_shown_they_are(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(1, 1)) as deployment:
        asked = Asked(deployment, SERVER__SHOW_IDS="true")
        deployment.present("known-offer", session="known-session", at=now() - AGE)
        deployment.flush()
        until(lambda: (asked.status().get("run") or {}).get("outcomes"), within=90, what="the outcome")
        (outcome,) = asked.status()["run"]["outcomes"]
        assert (outcome["offer_id"], outcome["session_id"]) == ("known-offer", "known-session")
        assert "known-offer" in asked.page()
