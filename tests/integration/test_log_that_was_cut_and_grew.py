"""Rule: where a checkout log lost its end, and has grown past what was read of it, what it gained is not passed over.

So it is after an unclean leader election, or where the only copy was on a disk that lost its last writes. An
orchestrator starts the service again and again meanwhile: the first start that finds the log long enough goes on.
"""

from __future__ import annotations

import struct
from pathlib import Path

from brokers import Broker
from brokers.apache import ApacheBroker
from brokers.producers import ordered_producer
from confluent_kafka import Consumer, TopicPartition
from support.deployment import PARTITIONS, Deployment, deployed, now, until


def ends(deployment: Deployment) -> dict[int, int]:
    consumer = Consumer({"bootstrap.servers": deployment.bootstrap, "group.id": "ends"})
    try:
        places = [TopicPartition(deployment.checkout_topic, partition) for partition in range(PARTITIONS)]
        return {place.partition: consumer.get_watermark_offsets(place, timeout=20)[1] for place in places}
    finally:
        consumer.close()


def cut(data: Path, topic: str, partition: int, end: int) -> None:
    """Let a partition end at an offset, at which a batch begins; the broker is down."""
    folder = data / f"{topic}-{partition}"
    (log,) = folder.glob("*.log")
    content, at = log.read_bytes(), 0
    while at < len(content):
        base, length = struct.unpack_from(">qi", content, at)
        if base >= end:
            break
        at += 12 + length
    log.write_bytes(content[:at])
    for stale in (*folder.glob("*.index"), *folder.glob("*.timeindex"), *folder.glob("*.snapshot")):
        stale.unlink()


def others(deployment: Deployment, count: int, since: int, name: str) -> None:
    for number in range(count):
        deployment.check_out(session=f"{name}-{number}", at=since + 10 * number)
    deployment.flush()


def test_what_a_checkout_log_gained_below_the_offset_that_was_read_is_known(own_broker: Broker, tmp_path: Path) -> None:
    assert isinstance(own_broker, ApacheBroker)
    assert own_broker._home is not None
    with deployed(own_broker.bootstrap_servers, tmp_path) as deployment:
        others(deployment, 200, now() - 110_000, "old")
        kept = ends(deployment)
        others(deployment, 80, now() - 100_000, "lost")
        whole = ends(deployment)
        process = deployment.start()
        until(
            lambda: {p: o for p, (o, _) in deployment.committed(deployment.checkout_topic).items()} == whole,
            within=60,
            what="all checkouts to be read and put behind the group",
        )
        assert process.terminate() == 0

        own_broker.stop()
        for partition in range(PARTITIONS):
            cut(own_broker._home / "data", deployment.checkout_topic, partition, kept[partition])
        own_broker.start()
        until(lambda: ends(deployment) == kept, within=60, what="the log to end where it was cut")

        # The old one has lost count, and is started again.
        deployment._producer = ordered_producer(deployment.bootstrap)
        for number in range(40):
            deployment.present(f"o{number}", session=f"o{number}", at=now() - 21_000)
            deployment.check_out(f"o{number}", session=f"o{number}", at=now() - 20_000)
        deployment.flush()
        others(deployment, 200, now() - 10_000, "new")
        assert all(ends(deployment)[p] > end for p, end in whole.items())

        process = deployment.start()
        until(lambda: len(deployment.outcomes()) >= 40 or not process.running, within=60, what="a fate of each offer")

        assert process.running, "what was cut is not seen by a start: it goes on"
        assert deployment.called() == [], "all of these were bought, and what bought them stands in the log"
