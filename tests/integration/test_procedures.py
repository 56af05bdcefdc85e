"""What the manual tells a person to do, done by its words: the steps of procedures.md and the "Do" of the runbook."""

from __future__ import annotations

import json
import os
from pathlib import Path
from uuid import uuid4

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import NewTopic
from registry import ApicurioRegistry
from support.deployment import (
    AGE,
    LATENESS_MS,
    WINDOW_MS,
    Deployment,
    deployed,
    headers,
    moment,
    now,
    read_topic,
    until,
)
from support.signed_api import SignedApi

from consumer.codecs.framing import framed
from consumer.codecs.schemas import OFFER_PRESENTED, load_schema
from consumer.events import Outcome, Reason


def copy(deployment: Deployment, topic: str, to: str) -> None:
    """What is in a topic into another one, each record in the partition of the same number, as a mirror does."""
    for message in read_topic(deployment.bootstrap, topic):
        key = (message.key() or b"").decode()
        deployment.produce(to, key, message.value(), message.timestamp()[1], partition=message.partition() or 0)
    deployment.flush()


# --- procedures.md


def test_a_move_to_other_topics_misses_none_and_calls_none_that_was_bought(real_kafka, tmp_path: Path) -> None:
    """Some are settled in the old place, some are open at the move, and one of these is bought in the new place."""
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        first = deployment.start()
        for number in range(4):
            deployment.present(f"settled-{number}", session=f"a{number}", at=now())
            deployment.present(f"bought-{number}", session=f"b{number}", at=now())
            deployment.check_out(f"bought-{number}", session=f"b{number}")
        deployment.flush()
        until(lambda: len(deployment.outcomes()) == 8, within=60, what="the first to be settled")
        assert first.terminate() == 0
        shown = now()
        for number in range(4):
            deployment.present(f"open-{number}", session=f"c{number}", at=shown)
            deployment.present(f"bought-later-{number}", session=f"d{number}", at=shown)
        deployment.flush()
        old = {deployment.offer_topic: "moved-offers", deployment.checkout_topic: "moved-checkouts"}
        new = {topic: f"{name}-{deployment.suffix}" for topic, name in old.items()}
        partitions = deployment.partitions[0]
        for made in deployment.admin.create_topics([NewTopic(name, partitions, 1) for name in new.values()]).values():
            made.result(20)
        for topic, name in new.items():
            copy(deployment, topic, name)

        start_from = moment(shown - WINDOW_MS - LATENESS_MS - 60_000)
        deployment.offer_topic, deployment.checkout_topic = new.values()
        deployment.group += "-moved"
        for number in range(4):
            deployment.check_out(f"bought-later-{number}", session=f"d{number}", at=shown + 1_000)
        deployment.flush()
        deployment.start(KAFKA__START_FROM=start_from)
        until(
            lambda: {f"open-{number}" for number in range(4)} <= set(deployment.called()),
            within=60, what="what was open at the move to be called",
        )  # fmt: skip
        until(
            lambda: len({outcome.offer_id for outcome in deployment.outcomes()}) == 16,
            within=60,
            what="all to be settled",
        )
        assert not [offer for offer in deployment.called() if offer.startswith("bought")]
        code, told = deployment.positions()
        assert (code, "a start would go on from here" in told) == (0, True)


def test_a_new_pair_of_one_partner_is_taken_from_the_file_and_no_other_partner_waits(
    real_kafka, tmp_path: Path
) -> None:
    """The insurer revokes the old pair first, as after a leak."""
    acme_old, acme_new, globex = ("key-one", "secret-one"), ("key-two", "secret-two"), ("key-three", "secret-three")
    file = tmp_path / "credentials.json"

    def issue(acme: tuple[str, str]) -> None:
        pairs = {"ACME": acme, "GLOBEX": globex}
        beside = tmp_path / "credentials.json.new"
        beside.write_text(json.dumps({name: {"key": key, "secret": secret} for name, (key, secret) in pairs.items()}))
        os.replace(beside, file)

    issue(acme_old)
    with (
        SignedApi(acme_old, acme_new, globex).serving() as api,
        deployed(real_kafka.bootstrap_servers, tmp_path) as deployment,
    ):
        api.accepted = {acme_new, globex}
        settings = {"API__KEY": "", "API__SECRET": "", "API__CREDENTIALS_FILE": str(file)}
        process = deployment.start(API__BASE_URL=api.base_url, **settings)
        for number in range(3):
            for partner in ("ACME", "GLOBEX"):
                deployment.present(f"{partner}-{number}", session=f"{partner}{number}", at=now() - AGE, partner=partner)
        deployment.flush()
        until(lambda: "credentials refused: calls stop" in process.text(), within=60, what="ACME to be refused")
        until(lambda: {f"GLOBEX-{n}" for n in range(3)} <= api.recorded(), within=60, what="GLOBEX to be called")
        assert not [offer for offer in api.recorded() if offer.startswith("ACME")]
        issue(acme_new)
        until(
            lambda: len(api.recorded()) == 6, within=60, what="the probe to take the new pair, and the others to follow"
        )
        lines = [line for line in process.lines() if "credentials" in line["event"] and line["level"] == "info"]
        assert {line["partner_code"] for line in lines} == {"ACME"}
        assert [line["event"].partition(":")[0] for line in lines][-1] == "credentials accepted"
        assert process.terminate() == 0


# --- runbook.md


def test_the_way_past_a_checkout_without_a_key_calls_nothing_that_it_may_have_bought(
    real_kafka, tmp_path: Path
) -> None:
    """The one offset that is ever set forward: that of a checkout partition. What it may cost is late, and visible."""
    with deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(1, 1)) as deployment:
        deployment.present("before", session="s1", at=now() - AGE)
        deployment.flush()
        process = deployment.start()
        until(lambda: deployment.committed_total() == 1, within=60, what="one to be settled, and committed as such")
        deployment.present("open", session="s2")
        deployment.flush()
        deployment.produce(deployment.checkout_topic, None, b"\xff\xff", now())
        deployment.check_out(session="s3")
        deployment.flush()
        assert process.popen.wait(60) == 1
        assert "no readable key" in process.text()
        assert "manual runbook#the-service-stops" in process.text()

        # As kafka-consumer-groups.sh --reset-offsets --to-offset 1 does it.
        tool = Consumer({"bootstrap.servers": deployment.bootstrap, "group.id": deployment.group})
        tool.commit(offsets=[TopicPartition(deployment.checkout_topic, 0, 1)], asynchronous=False)
        tool.close()
        again = deployment.start()
        until(lambda: not again.running, within=60, what="the start to be refused before a yes")
        code, told = deployment.positions("--accept")
        assert code == 0
        assert "offers are dead-lettered as late, since their checkouts may be gone" in told
        last = deployment.start()
        until(
            lambda: {outcome.offer_id for outcome in deployment.outcomes()} == {"before", "open"},
            within=60, what="the other to be settled",
        )  # fmt: skip
        assert last.running
        fates = {outcome.offer_id: (outcome.outcome, outcome.reason) for outcome in deployment.outcomes()}
        assert fates["open"] == (Outcome.DEAD_LETTERED, Reason.LATE)
        assert deployment.called() == ["before"]


def test_an_id_that_can_never_be_known_is_given_a_schema_that_nothing_fits(
    real_kafka, own_registry: ApicurioRegistry, tmp_path: Path
) -> None:
    known = own_registry.register("known", load_schema(OFFER_PRESENTED))
    unknown = known + 1
    settings = {"AVRO__FORMAT": "registry", "AVRO__REGISTRY_URL": own_registry.url, "INPUT__CHECKOUTS__FORMAT": "avro"}
    with deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(1, 1), settings=settings) as deployment:

        def show(schema_id: int, offer_id: str) -> None:
            at = now() - AGE
            event = {
                "event_id": uuid4().hex, "session_id": offer_id, "partner_code": "ACME", "offer_id": offer_id,
                "presented_at": at, "metadata": {},
            }  # fmt: skip
            deployment.produce(
                deployment.offer_topic, offer_id, framed(schema_id, deployment.codec.encode_offer(event)), at
            )

        show(known, "before")
        show(unknown, "nonsense")
        show(known, "behind")
        deployment.flush()
        process = deployment.start()
        until(lambda: "a schema is not known" in process.text(), within=60, what="the wait to be told")
        assert deployment.dead_letters() == []
        draft = {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}
        assert own_registry.register("nothing-fits", draft, "JSON") == unknown
        until(lambda: sorted(deployment.called()) == ["before", "behind"], within=90, what="the others to be called")
        (letter,) = until(deployment.dead_letters, within=30, what="the record to be dead-lettered")
        assert headers(letter)["reason"] == "undecodable"
        assert process.running
