"""What the brokers have deleted: nobody is called whose checkout may be gone, and nothing is reset silently."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.deployment import AGE, LATENESS_MS, LOOKBACK_MS, Deployment, deployed, headers, now, until

from consumer.core.checkpoint import CheckoutCheckpoint
from consumer.core.horizon import Horizon
from consumer.events import Outcome, Reason


def horizon(deployment: Deployment) -> int | None:
    """H as it is committed with the only checkout partition."""
    offset, metadata = deployment.committed(deployment.checkout_topic)[0]
    return CheckoutCheckpoint.decode(metadata, offset).horizon if metadata else None


def dead_lettered_as_late(deployment: Deployment) -> set[str]:
    late = {o.offer_id for o in deployment.outcomes() if (o.outcome, o.reason) == (Outcome.DEAD_LETTERED, Reason.LATE)}
    letters = deployment.dead_letters()
    assert [headers(letter)["reason"] for letter in letters] == ["late"] * len(late)
    return late


def test_offers_whose_checkouts_may_be_deleted_are_late_at_the_first_start(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(1, 1)) as deployment:
        begin = now() - 60_000
        deployment.check_out("bought", session="s1", at=begin)
        for n in range(Horizon.HEAD):
            deployment.check_out(session="x", at=begin + 30_000 - 100 * n)
        oldest = begin + 30_000 + LATENESS_MS + LOOKBACK_MS
        deployment.present("bought", session="s1", at=begin - 1)
        deployment.present("may-be-bought", session="s2", at=oldest - 1)
        deployment.present("not-bought", session="s3", at=oldest)
        deployment.flush()
        deployment.delete_records(deployment.checkout_topic, before=1)
        process = deployment.start()
        until(lambda: deployment.committed_total() == 3, within=30, what="the three offers to be settled")
        assert deployment.called() == ["not-bought"]
        assert dead_lettered_as_late(deployment) == {"bought", "may-be-bought"}
        assert "the checkout log no longer begins at its first record" in process.text()
        assert (horizon(deployment) or 0) >= begin + 30_000 + LATENESS_MS


def test_offers_are_late_where_all_checkouts_are_deleted_until_lookback_has_passed(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(1, 1)) as deployment:
        for _ in range(3):
            deployment.check_out("bought", session="s1", at=now() - AGE)
        deployment.present("bought", session="s1", at=now() - AGE)
        deployment.flush()
        deployment.delete_records(deployment.checkout_topic, before=3)
        process = deployment.start()
        until(lambda: deployment.committed_total() == 1, within=30, what="the offer to be settled")
        assert "the checkout log no longer begins at its first record" in process.text()
        assert dead_lettered_as_late(deployment) == {"bought"}
        first_known = (horizon(deployment) or 0) + LOOKBACK_MS
        assert first_known > now()
        until(lambda: now() > first_known, within=30, what="lookback to pass")
        deployment.present("not-bought", session="s2")
        deployment.flush()
        until(lambda: deployment.committed_total() == 2, within=30, what="the second offer to be settled")
        assert deployment.called() == ["not-bought"]


@pytest.mark.parametrize("which", ["offers", "checkouts"])
def test_a_committed_offset_that_retention_deleted_stops_the_start(real_kafka, tmp_path: Path, which: str) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(1, 1)) as deployment:
        for n in range(4):
            deployment.present(f"offer-{n}", session=f"s{n}", at=now() - AGE)
            deployment.check_out(f"offer-{n}", session=f"s{n}", at=now() - AGE)
        deployment.flush()
        topic = deployment.offer_topic if which == "offers" else deployment.checkout_topic
        first = deployment.start()
        until(lambda: deployment.committed(topic).get(0, (0, ""))[0] == 4, within=30, what="all four to be committed")
        assert first.terminate() == 0
        for n in range(4, 6):
            deployment.present(f"offer-{n}", session=f"s{n}", at=now() - AGE)
            deployment.check_out(f"offer-{n}", session=f"s{n}", at=now() - AGE)
        deployment.flush()
        deployment.delete_records(topic, before=5)
        process = deployment.start()
        assert process.popen.wait(30) == 1
        assert f"committed offset 4 of {topic}[0], but the broker holds 5 to 6" in process.text()
        assert "retention has deleted records" in process.text()
        assert "`opt-out positions --accept`" in process.text()
        assert "Traceback" not in process.text()
        assert deployment.called() == []
        assert deployment.committed(topic)[0][0] == 4, "it was reset silently"


def test_what_retention_deletes_before_it_is_read_stops_the_running_service(real_kafka, tmp_path: Path) -> None:
    settings = {"DELIVERY__MAX_UNSETTLED": "1"}
    with deployed(
        real_kafka.bootstrap_servers, tmp_path, scenario="503", partitions=(1, 1), settings=settings
    ) as deployment:
        deployment.present("read", session="s0", at=now() - AGE)
        deployment.flush()
        process = deployment.start()
        until(lambda: process.lines("reading is paused"), within=30, what="reading to be paused")
        for n in range(5):
            deployment.present(f"unread-{n}", session=f"s{n}")
        deployment.flush()
        deployment.delete_records(deployment.offer_topic, before=4)
        deployment.api.set_scenario("204")
        assert process.popen.wait(30) == 1
        assert f"{deployment.offer_topic}[0]: the broker no longer has the offset to be read next" in process.text()
        assert "Traceback" not in process.text()
        assert set(deployment.called()) == {"read"}
        assert deployment.committed_total() <= 1, "what was deleted was put behind"
        # A restart does not get over it either.
        assert deployment.start().popen.wait(30) == 1


@pytest.mark.parametrize("which", ["offers", "checkouts"])
def test_a_compacted_input_stops_the_start(real_kafka, tmp_path: Path, which: str) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, compacted=which) as deployment:
        process = deployment.start()
        assert process.popen.wait(30) == 1
        topic = deployment.offer_topic if which == "offers" else deployment.checkout_topic
        assert f"{topic} is compacted" in process.text()
        assert "set cleanup.policy=delete" in process.text()
        assert "Traceback" not in process.text()
