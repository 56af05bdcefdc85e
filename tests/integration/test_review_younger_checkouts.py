"""A checkout topic that begins at its first offset, and is younger than the offers: it was made anew before the start."""

from __future__ import annotations

from pathlib import Path

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from integration.test_positions import SOLD, bought, has_run, make_anew, positions, show
from support.deployment import AGE, PARTITIONS, deployed, now, until


def test_a_new_group_does_not_take_a_checkout_topic_made_anew_for_all_checkouts_that_there_were(
    real_kafka, tmp_path: Path
) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        show(deployment, "sold", at=now() - AGE)
        make_anew(deployment, deployment.checkout_topic, records=0)
        for n in range(40):
            deployment.check_out(session=f"new-{n}", at=now())
        deployment.flush()
        deployment.start()
        until(lambda: len(deployment.outcomes()) >= 2 * SOLD, within=60, what="the offers to be settled")
        assert bought(deployment.called()) == []


def test_a_yes_to_a_group_whose_offsets_are_gone_does_not_either(real_kafka, tmp_path: Path) -> None:
    """A week and more in which nothing ran: the topic was made anew meanwhile, and all offsets of the group expired."""
    with has_run(real_kafka, tmp_path) as deployment:
        show(deployment, "second", at=now() - AGE)
        make_anew(deployment, deployment.checkout_topic, records=0)
        for n in range(40):
            deployment.check_out(session=f"new-{n}", at=now())
        deployment.flush()
        group = deployment.admin.delete_consumer_groups([deployment.group])[deployment.group]
        try:
            group.result(20)
        except KafkaException as error:
            assert error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND
        code, told = positions(deployment)
        assert code == 1 and "expired" in told
        code, told = positions(deployment, "--accept")
        print(told)
        assert code == 0
        deployment.start()
        until(lambda: len(deployment.outcomes()) >= 6 * SOLD, within=60, what="the offers to be settled again")
        called = [offer for offer in deployment.called() if offer.startswith("second")]
        print(len(called), len(bought(called)))
        assert bought(called) == []
        _ = (TopicPartition, PARTITIONS)
