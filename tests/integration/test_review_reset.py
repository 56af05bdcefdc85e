"""`--reset-to` over checkouts that retention deleted: whether older ones are there, is told by the stamp of the head."""

from __future__ import annotations

import time
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition
from integration.test_positions import SOLD, bought, has_run, positions
from support.deployment import PARTITIONS, moment, now, until


def test_a_delayed_checkout_at_the_head_does_not_say_that_older_ones_are_there(real_kafka, tmp_path: Path) -> None:
    with has_run(real_kafka, tmp_path, settings={"JOIN__MAX_SKEW": "1s"}) as deployment:
        shown = min(o.presented_at for o in deployment.outcomes())
        ends = Consumer({"bootstrap.servers": deployment.bootstrap, "group.id": "ends"})
        places = [TopicPartition(deployment.checkout_topic, p) for p in range(PARTITIONS)]
        cut = [
            TopicPartition(p.topic, p.partition, ends.get_watermark_offsets(p, timeout=20)[1]) for p in places
        ]
        ends.close()
        for n in range(60):
            deployment.check_out(session=f"delayed-{n}", at=shown - 300_000)
        for n in range(60):
            deployment.check_out(session=f"new-{n}", at=now())
        deployment.flush()
        for future in deployment.admin.delete_records(cut).values():  # as retention does
            future.result(20)
        before = len(deployment.called())
        code, told = positions(deployment, "--reset-to", moment(shown - 1_000))
        print(told)
        assert code == 0
        deployment.start()
        until(lambda: len(deployment.outcomes()) >= 4 * SOLD, within=60, what="the offers to be settled again")
        time.sleep(1)
        again = deployment.called()[before:]
        print("called", len(again), "bought", len(bought(again)))
        assert bought(again) == []
