"""`opt-out doctor` at a real schema registry: what is well is said so, and each planted fault is found."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import brokers
import pytest
from registry import ApicurioRegistry
from support.deployment import Deployment, deployed, now
from support.examined import examine

from consumer.codecs.framing import framed
from consumer.codecs.schemas import CHECKOUT_COMPLETED, OFFER_OUTCOME, OFFER_PRESENTED, load_schema, schema_text


def by(registry: ApicurioRegistry, **more: str) -> dict[str, str]:
    return {"AVRO__FORMAT": "registry", "AVRO__REGISTRY_URL": registry.url, "JOIN__LATENESS": "30s", **more}


def shop(deployment: Deployment, offers_id: int, checkouts_id: int) -> None:
    at = now() - 5_000
    for n in range(30):
        session = f"session-{n}"
        ids = {"event_id": uuid4().hex, "session_id": session}
        offer = {**ids, "partner_code": "ACME", "offer_id": f"offer-{n}", "presented_at": at}
        checkout = {**ids, "checkout_id": f"c{n}", "completed_at": at, "purchased_offer_ids": [f"offer-{n}"]}
        value = framed(offers_id, deployment.codec.encode_offer(offer))
        deployment.produce(deployment.offer_topic, session, value, at)
        value = framed(checkouts_id, deployment.codec.encode_checkout(checkout))
        deployment.produce(deployment.checkout_topic, session, value, at)
    deployment.flush()


@pytest.fixture
def ids(apicurio: ApicurioRegistry) -> tuple[int, int]:
    return (
        apicurio.register(f"offers-{uuid4().hex}", load_schema(OFFER_PRESENTED)),
        apicurio.register(f"checkouts-{uuid4().hex}", load_schema(CHECKOUT_COMPLETED)),
    )


def test_a_registry_that_is_well_knows_the_schemas_and_takes_our_outcomes(
    real_kafka: brokers.Broker, apicurio: ApicurioRegistry, ids: tuple[int, int], tmp_path: Path
) -> None:
    framing = by(apicurio, AVRO__OUTCOME_FORMAT="registry")
    with deployed(real_kafka.bootstrap_servers, tmp_path, settings=framing) as deployment:
        shop(deployment, *ids)
        subject = f"{deployment.outcome_topic}-value"
        found = examine(deployment)
        assert found.code == 1
        assert f"error: the registry has no subject {subject}" in found.said("outcomes")
        assert "run `opt-out topics --register`" in found.said("outcomes")
        apicurio.register(subject, schema_text(OFFER_OUTCOME))
        found = examine(deployment)
        for name in ("registry", "schemas", "outcomes", "offers", "checkouts", "ids"):
            assert found.level(name) == "ok", found.said(name)
        assert f"{ids[0]} (30 records)" in found.said("schemas")
        assert f"{ids[1]} (30 records)" in found.said("schemas")


def test_a_subject_of_the_outcomes_that_is_somebody_elses_is_an_error(
    real_kafka: brokers.Broker, apicurio: ApicurioRegistry, tmp_path: Path
) -> None:
    only = {"AVRO__OUTCOME_FORMAT": "registry", "AVRO__REGISTRY_URL": apicurio.url}
    with deployed(real_kafka.bootstrap_servers, tmp_path, settings=only) as deployment:
        subject = f"{deployment.outcome_topic}-value"
        older = [field for field in load_schema(OFFER_OUTCOME)["fields"] if field["name"] != "note"]
        apicurio.register(subject, {**load_schema(OFFER_OUTCOME), "fields": older})
        found = examine(deployment)
        assert f"the subject {subject} has 1 version, and none is the schema of our outcomes" in found.said("outcomes")
        assert "opt-out topics --register" in found.said("outcomes")
        apicurio.register(subject, {"type": "record", "name": "Other", "fields": [{"name": "a", "type": "string"}]})
        apicurio.set_compatibility(subject, "BACKWARD")
        found = examine(deployment)
        assert "nor is ours compatible with the last" in found.said("outcomes")
        assert "kafka.outcome_topic" in found.said("outcomes")


def test_an_id_that_the_registry_does_not_know_is_an_error_and_the_others_are_read(
    real_kafka: brokers.Broker, apicurio: ApicurioRegistry, ids: tuple[int, int], tmp_path: Path
) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, settings=by(apicurio)) as deployment:
        shop(deployment, 2_000_000, ids[1])
        found = examine(deployment)
        assert found.code == 1
        assert "error: 30 of the newest records" in found.said("schemas")
        assert "have the schema id 2000000, and the registry does not know this id" in found.said("schemas")
        assert "30 of the 30 newest records" in found.said("offers")
        assert (found.level("offers"), found.level("checkouts")) == ("warning", "ok")
        assert found.level("partitioners") != "error"


def test_a_registry_that_is_not_there_is_one_error_and_what_needs_it_is_none(
    real_kafka: brokers.Broker, apicurio: ApicurioRegistry, ids: tuple[int, int], tmp_path: Path
) -> None:
    framing = by(apicurio, AVRO__OUTCOME_FORMAT="registry")
    with deployed(real_kafka.bootstrap_servers, tmp_path, settings=framing) as deployment:
        shop(deployment, *ids)
        found = examine(deployment, AVRO__REGISTRY_URL="http://127.0.0.1:1")
        assert found.code == 1
        assert "error: http://127.0.0.1:1: the registry does not answer" in found.said("registry")
        assert [name for name, checks in found.checks.items() if checks[0]["level"] == "error"] == ["registry"]
        for name in ("offers", "checkouts", "schemas", "outcomes"):
            assert found.said(name).startswith("warning: not looked at: "), found.said(name)
        wrong = apicurio.url.replace("v7", "v99")
        assert "what answers gives no schema" in examine(deployment, AVRO__REGISTRY_URL=wrong).said("registry")
        assert json.loads(found.text)["counts"]["error"] == 1
