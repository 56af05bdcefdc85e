"""What a real broker tells of its topics' retention, and the line that a held commit leads to."""

from __future__ import annotations

import uuid
from pathlib import Path

from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from support.deployment import AGE, deployed, moment, now, until

from consumer.kafka.retention import Kept, Retention


def test_a_real_broker_tells_what_it_keeps_and_where_a_log_begins(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(1, 1)) as deployment:
        for n in range(10):
            deployment.present(f"offer-{n}", session=uuid.uuid4().hex)
        deployment.flush()
        set_config(deployment.admin, deployment.offer_topic, {"retention.ms": "600000", "retention.bytes": "1000000"})
        deployment.delete_records(deployment.offer_topic, 4)
        retention = Retention(deployment.admin, (deployment.offer_topic, deployment.checkout_topic))
        told = until(lambda: retention.kept(deployment.offer_topic), within=20, what="the settings")
        assert told == Kept(600_000, 1_000_000)
        assert retention.kept(deployment.checkout_topic) == Kept(None, None)
        retention.ask_bounds([(deployment.offer_topic, 0)])
        assert until(retention.bounds, within=20, what="the bounds") == {(deployment.offer_topic, 0): (4, 10)}


def test_an_offer_that_is_never_settled_is_said_before_retention_deletes_it(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, scenario="422", partitions=(1, 1)) as deployment:
        # Longer than the broker takes to look for what to delete: only the line is wanted.
        set_config(deployment.admin, deployment.offer_topic, {"retention.ms": str(2 * AGE)})
        deployment.present("stuck", at=now() - AGE)
        deployment.flush()
        process = deployment.start()
        # With the second report of progress, after a minute.
        lines = until(
            lambda: [line for line in process.lines() if line["event"].startswith("a held commit nears")],
            within=90,
            what="the warning",
        )
        assert (lines[0]["topic"], lines[0]["offset"]) == (deployment.offer_topic, 0)
        assert lines[0]["oldest_unsettled"] == "ACME/stuck"
        assert lines[0]["runbook"].endswith("#a-held-commit-nears-the-retention")


def test_where_no_outcome_is_left_its_topic_tells_a_way_back_whether_some_may_be_gone(
    real_kafka, tmp_path: Path
) -> None:
    def goes_back() -> tuple[int, str]:
        return deployment.positions("--reset-to", moment(now() - 3 * AGE))

    with deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(1, 1)) as deployment:
        deployment.present("bought-by-nobody", at=now() - AGE)
        deployment.check_out(session="another", at=now() - AGE)
        deployment.flush()
        process = deployment.start()
        until(lambda: len(deployment.outcomes()) == 1, within=60, what="the offer to be settled")
        assert process.terminate() == 0
        deployment.delete_records(deployment.outcome_topic, -1)
        set_config(deployment.admin, deployment.outcome_topic, {"retention.ms": "1000"})
        code, told = goes_back()
        assert (code, "may be gone" in told, "Choose a time after" in told) == (1, True, True), told
        set_config(deployment.admin, deployment.outcome_topic, {"retention.ms": "31536000000"})
        code, told = goes_back()
        assert (code, "called, again if it was before" in told) == (0, True), told


def set_config(admin: AdminClient, topic: str, values: dict[str, str]) -> None:
    entries = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in values.items()]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    for answer in admin.incremental_alter_configs([resource]).values():
        answer.result(20)
