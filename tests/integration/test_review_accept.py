"""`--accept` of a checkout topic that was made anew: how old the new log is, is told by the stamp of its first record."""

from __future__ import annotations

import time
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import NewTopic
from integration.test_positions import SOLD, bought, consume_as_a_tool, has_run, positions, show
from support.deployment import PARTITIONS, deployed, moment, now, until


def test_a_delayed_checkout_at_the_head_of_the_new_log_does_not_make_it_older(real_kafka, tmp_path: Path) -> None:
    with has_run(real_kafka, tmp_path, settings={"JOIN__MAX_SKEW": "1s"}) as deployment:
        stopped = now()
        time.sleep(16)
        # The service is down. What is sold now stands in the old log, which nobody reads any more.
        show(deployment, "second", at=now() - 2_000)
        topic = deployment.checkout_topic
        deployment.admin.delete_topics([topic])[topic].result(20)
        until(lambda: topic not in deployment.admin.list_topics(timeout=20).topics, within=20, what="the topic to go")
        while True:
            try:
                deployment.admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(20)
                break
            except KafkaException:
                time.sleep(0.1)
        # The first to come are events that somebody had kept back for a while: stamped when they happened, as
        # producers do, which was after the stop, and while the old log still stood.
        for n in range(40):
            deployment.check_out(session=f"delayed-{n}", at=stopped + 1_000)
        for n in range(40):
            deployment.check_out(session=f"new-{n}", at=now())
        deployment.flush()
        code, told = positions(deployment, "--accept")
        print(told)
        assert code == 0
        process = deployment.start()
        until(
            lambda: len(deployment.outcomes()) >= 4 * SOLD or not process.running,
            within=60, what="the offers to be settled",
        )  # fmt: skip
        second = [offer for offer in deployment.called() if offer.startswith("second")]
        print("called of the second ones:", len(second), "bought among them:", len(bought(second)))
        assert bought(second) == []


def test_a_delayed_checkout_at_the_head_of_what_retention_left_does_not_make_it_older(real_kafka, tmp_path: Path) -> None:
    """The same at a first start: the record at the head was kept back by an outage, and those before it are deleted."""
    with deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(1, 1)) as deployment:
        begin = now() - 60_000
        deployment.check_out("bought", session="s1", at=begin + 100)
        deployment.check_out(session="x", at=begin + 1_000)
        deployment.check_out(session="delayed", at=begin - 30_000)
        deployment.check_out(session="x", at=begin + 1_100)
        deployment.present("bought", session="s1", at=begin)
        deployment.present("not-bought", session="s3", at=begin + 30_000)
        deployment.flush()
        deployment.delete_records(deployment.checkout_topic, before=2)
        deployment.start()
        until(lambda: deployment.committed_total() == 2, within=30, what="the offers to be settled")
        assert deployment.called() == ["not-bought"]


def test_a_delayed_checkout_behind_what_a_console_consumer_skipped_does_not_hide_the_skipped_ones(
    real_kafka, tmp_path: Path
) -> None:
    with has_run(real_kafka, tmp_path, settings={"JOIN__MAX_SKEW": "1s"}) as deployment:
        stopped = now()
        time.sleep(16)
        show(deployment, "second", at=now() - 2_000)
        consume_as_a_tool(deployment, deployment.checkout_topic, protocol=deployment.protocol)
        for n in range(40):
            deployment.check_out(session=f"delayed-{n}", at=stopped - 5_000)
        for n in range(40):
            deployment.check_out(session=f"new-{n}", at=now())
        deployment.flush()
        code, told = positions(deployment)
        assert code == 1
        code, told = positions(deployment, "--accept")
        print(told)
        assert code == 0
        deployment.start()
        until(lambda: len(deployment.outcomes()) >= 4 * SOLD, within=60, what="the offers to be settled")
        second = [offer for offer in deployment.called() if offer.startswith("second")]
        print("called", len(second), "bought", len(bought(second)))
        assert bought(second) == []


def test_a_delayed_checkout_at_the_head_is_no_older_one_for_a_start_at_a_time(real_kafka, tmp_path: Path) -> None:
    settings = {"JOIN__MAX_SKEW": "1s"}
    with deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(1, 1), settings=settings) as deployment:
        begin = now() - 60_000
        deployment.check_out("bought", session="s1", at=begin + 100)
        deployment.check_out(session="x", at=begin + 1_000)
        deployment.check_out(session="delayed", at=begin - 30_000)
        deployment.check_out(session="x", at=begin + 1_100)
        deployment.present("bought", session="s1", at=begin)
        deployment.present("not-bought", session="s3", at=begin + 30_000)
        deployment.flush()
        deployment.delete_records(deployment.checkout_topic, before=2)
        deployment.start(KAFKA__START_FROM=moment(begin - 1_000))
        until(lambda: deployment.committed_total() == 2, within=30, what="the offers to be settled")
        assert deployment.called() == ["not-bought"]
