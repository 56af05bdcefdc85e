"""Rule: a committed position carries its provenance; what does not, stops the start, and a command answers it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from brokers import Broker
from brokers.producers import ordered_producer
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import NewTopic
from support.deployment import (
    AGE,
    LOOKBACK_MS,
    PARTITIONS,
    WINDOW_MS,
    Deployment,
    Process,
    deployed,
    moment,
    now,
    until,
)
from support.version_1 import as_version_1

from consumer.core.checkpoint import CheckoutCheckpoint, OfferCheckpoint
from consumer.core.rules import MIN_TIME
from consumer.kafka.partitioners import by_murmur2

SOLD = 8
"""Offers that are bought in a deployment that has run for a while, and as many that are not."""


@contextmanager
def has_run(broker: Broker, folder: Path, **more: str) -> Iterator[Deployment]:
    """A deployment that has settled some offers, and whose instances are stopped in good order."""
    with deployed(broker.bootstrap_servers, folder, **more) as deployment:
        # The checkouts of a minute ago are not the first ones ever.
        for n in range(40):
            deployment.check_out(session=f"old-{n}", at=now() - 600_000)
        show(deployment, "first")
        process = deployment.start()
        until(lambda: len(deployment.outcomes()) == 2 * SOLD, within=60, what="the first offers to be settled")
        assert process.terminate() == 0
        yield deployment


def show(deployment: Deployment, name: str, *, at: int | None = None) -> None:
    """Offers of which every other one is bought at once, due as soon as the topics are found idle."""
    at = now() - AGE if at is None else at
    for n in range(2 * SOLD):
        deployment.present(f"{name}-{n}", session=f"{name}-{n}", at=at)
        deployment.check_out(*[f"{name}-{n}"][: n % 2], session=f"{name}-{n}", at=at + 100)
    deployment.flush()


def bought(offers: list[str]) -> list[str]:
    return [offer for offer in offers if int(offer.rsplit("-", 1)[1]) % 2]


def refused(deployment: Deployment, *words: str, **settings: str) -> None:
    """A start is refused with these words, and nothing is called."""
    before = len(deployment.called())
    process = deployment.start(**settings)
    until(lambda: not process.running, within=60, what="the start to be refused")
    assert process.popen.returncode == 1
    for word in (*words, "opt-out positions", "manual runbook#what-is-committed-is-not-ours"):
        assert word in process.text()
    assert len(deployment.called()) == before
    code, told = deployment.positions(**settings)
    assert code == 1
    for word in words:
        assert word in told


def goes_on(deployment: Deployment, *, settled: int, **settings: str) -> Process:
    """A start goes on, and in all so many outcomes are told."""
    process = deployment.start(**settings)
    until(lambda: len(deployment.outcomes()) >= settled, within=60, what=f"{settled} outcomes")
    return process


def make_anew(deployment: Deployment, topic: str, *, records: int) -> None:
    """Delete a topic, make it anew under its name, and let each partition grow to so many records, each where its
    key belongs: else it is the partitioner that stops a start."""
    deployment.make_anew(topic)
    left = dict.fromkeys(range(PARTITIONS), records)
    names = (f"anew-{n}" for n in count())
    while max(left.values()) > 0:
        session = next(names)
        left[by_murmur2(session.encode(), PARTITIONS)] -= 1
        event = {
            "event_id": session, "session_id": session, "checkout_id": session, "completed_at": now(),
            "purchased_offer_ids": [],
        }  # fmt: skip
        deployment.produce(topic, session, deployment.codec.encode_checkout(event), now())
    deployment.flush()


def set_offsets(deployment: Deployment, *places: TopicPartition) -> None:
    """As a tool does it."""
    group = ConsumerGroupTopicPartitions(deployment.group, list(places))
    for answer in deployment.admin.alter_consumer_group_offsets([group]).values():
        answer.result(20)


def consume_as_a_tool(deployment: Deployment, topic: str, *, protocol: str, for_s: float = 0.0) -> int:
    """What kafka-console-consumer does with the group's name. Returns how many records it took."""
    tool = Consumer(
        {
            "bootstrap.servers": deployment.bootstrap,
            "group.id": deployment.group,
            "group.protocol": protocol,
            "auto.offset.reset": "earliest",
            "auto.commit.interval.ms": 100,
            "enable.partition.eof": True,
        }
    )
    taken, ends, until_time = 0, 0, time.monotonic() + max(30.0, for_s)
    least = time.monotonic() + for_s
    try:
        tool.subscribe([topic])
        while time.monotonic() < until_time and (ends < PARTITIONS or time.monotonic() < least):
            for message in tool.consume(100, 0.2):
                ends += message.error() is not None
                taken += message.error() is None
            if for_s and time.monotonic() > least:
                break
    finally:
        tool.close()
    return taken


# --- another log under the same name


def test_a_checkout_topic_made_anew_while_stopped_is_not_taken_for_the_old_one(real_kafka, tmp_path: Path) -> None:
    with has_run(real_kafka, tmp_path) as deployment:
        at = now() - AGE
        show(deployment, "second", at=at)
        make_anew(deployment, deployment.checkout_topic, records=50)
        refused(deployment, f"{deployment.checkout_topic}[", "made anew")
        code, told = deployment.positions("--accept")
        assert (code, "late" in told, "a start goes on" in told) == (0, True, True)
        assert deployment.positions()[0] == 0
        goes_on(deployment, settled=4 * SOLD)
        until(lambda: len(deployment.dead_letters()) >= 2 * SOLD, within=60, what="the offers to be given up as late")
        deployment.present("after-0", session="after", at=now())
        assert not [offer for offer in deployment.called() if offer.startswith("second")], "one may have been bought"


@pytest.mark.parametrize("which", ["offers", "checkouts"])
def test_a_topic_made_anew_while_running_stops_the_run_before_a_call(real_kafka, tmp_path: Path, which: str) -> None:
    with has_run(real_kafka, tmp_path) as deployment:
        process = deployment.start()
        until(lambda: process.lines("task begins"), within=60, what="the tasks to begin")
        topic = deployment.offer_topic if which == "offers" else deployment.checkout_topic
        make_anew(deployment, topic, records=50 if which == "checkouts" else 0)
        until(lambda: not process.running, within=30, what="the run to stop")
        assert process.popen.returncode == 1
        # Before the watch of the topics looks, the group may share anew over it: then the positions tell. Or it may be
        # read on from: then the broker does.
        watched = f"{topic} was deleted", "runbook#a-topic-was-made-anew"
        shared_anew = f"{topic}[0]", "runbook#what-is-committed-is-not-ours"
        read_on = f"{topic}[", "runbook#an-offset-is-gone"
        said = process.text()
        assert any(topic_named in said and entry in said for topic_named, entry in (watched, shared_anew, read_on))
        assert bought(deployment.called()) == []


# --- another program in the group


@pytest.mark.parametrize("topic", ["offers", "checkouts"])
def test_what_a_console_consumer_committed_is_not_read_on_from(
    real_kafka, tmp_path: Path, protocol: str, topic: str
) -> None:
    with has_run(real_kafka, tmp_path, protocol=protocol) as deployment:
        show(deployment, "second")
        name = deployment.offer_topic if topic == "offers" else deployment.checkout_topic
        assert consume_as_a_tool(deployment, name, protocol=protocol) >= 2 * SOLD
        refused(deployment, f"{name}[", "another program committed it")
        code, told = deployment.positions("--output", "json")
        shown = json.loads(told)
        assert (code, shown["group"], shown["goes_on"]) == (1, deployment.group, False)
        assert "another program committed it" in " ".join(shown["notes"])
        whose = {row["ours"] for row in shown["positions"] if row["topic"] == name}
        assert whose - {"yes"}, "one of the partitions at least is another's"
        assert all(isinstance(row["offset"], int) and row["log_end"] >= row["behind"] for row in shown["positions"])
        code, told = deployment.positions("--reset-to", moment(now() - 3 * AGE), "--output", "json")
        assert (code, "again" in told) == (0, True), told
        assert {"topic", "partition", "was", "now", "meaning"} == set(json.loads(told)["changes"][0])
        goes_on(deployment, settled=4 * SOLD)
        until(lambda: "second-0" in deployment.settled(), within=60, what="the calls")
        until(
            lambda: {o.offer_id for o in deployment.outcomes()} >= {f"second-{n}" for n in range(2 * SOLD)},
            within=60, what="no offer to be missed",
        )  # fmt: skip
        assert bought(deployment.called()) == []


def test_a_console_consumer_in_the_running_group_makes_nobody_miss_an_offer(kip_848, tmp_path: Path) -> None:
    with has_run(kip_848, tmp_path, protocol="consumer") as deployment:
        process = deployment.start()
        until(lambda: process.lines("task begins"), within=60, what="the tasks to begin")
        show(deployment, "second", at=now() - 2_000)
        consume_as_a_tool(deployment, deployment.offer_topic, protocol="consumer", for_s=5.0)
        until(lambda: not process.running, within=60, what="the run to stop over what the other has committed")
        assert "what is committed is not what this service left there" in process.text()
        assert deployment.positions()[0] == 1
        until(lambda: deployment.positions("--reset-to", moment(now() - 3 * AGE))[0] == 0, within=60, what="a reset")
        goes_on(deployment, settled=4 * SOLD)
        until(
            lambda: {o.offer_id for o in deployment.outcomes()} >= {f"second-{n}" for n in range(2 * SOLD)},
            within=60, what="no offer to be missed",
        )  # fmt: skip
        assert bought(deployment.called()) == []


@pytest.mark.parametrize("text", ["", "0:garbage"])
@pytest.mark.parametrize("topic", ["offers", "checkouts"])
def test_an_offset_without_our_metadata_is_not_read_on_from(real_kafka, tmp_path: Path, topic: str, text: str) -> None:
    with has_run(real_kafka, tmp_path) as deployment:
        name = deployment.offer_topic if topic == "offers" else deployment.checkout_topic
        committed = deployment.committed(name)
        set_offsets(deployment, *[TopicPartition(name, p, o, metadata=text) for p, (o, _) in committed.items()])
        refused(deployment, f"{name}[0]", "metadata" if text else "without this service's metadata")
        assert deployment.positions("--accept")[0] == 0
        assert deployment.positions()[0] == 0
        for partition, (offset, accepted) in deployment.committed(name).items():
            stood_at = committed[partition][0]
            if topic == "offers":  # what was presented before is read again with them
                assert offset <= stood_at == OfferCheckpoint.decode(accepted, offset).next_offset
            else:
                assert offset == stood_at


# --- offsets that are gone


def test_offsets_of_the_offers_that_vanished_alone_are_missed(real_kafka, tmp_path: Path) -> None:
    with has_run(real_kafka, tmp_path) as deployment:
        kept = deployment.committed(deployment.checkout_topic)
        deployment.admin.delete_consumer_groups([deployment.group])[deployment.group].result(20)
        set_offsets(
            deployment,
            *[TopicPartition(deployment.checkout_topic, p, o, metadata=text) for p, (o, text) in kept.items()],
        )
        refused(deployment, f"{deployment.offer_topic}[0]", "nothing is committed, though")
        assert deployment.dead_letters() == []


@pytest.mark.parametrize("start_from", ["latest", "earliest"])
def test_a_group_whose_offsets_expired_is_not_taken_for_a_new_one(real_kafka, tmp_path: Path, start_from: str) -> None:
    with has_run(real_kafka, tmp_path) as deployment:
        deployment.admin.delete_consumer_groups([deployment.group])[deployment.group].result(20)
        show(deployment, "second")
        refused(deployment, "offsets expired", deployment.outcome_topic, KAFKA__START_FROM=start_from)
        assert deployment.positions("--reset-to", moment(now() - 3 * AGE), KAFKA__START_FROM=start_from)[0] == 0
        goes_on(deployment, settled=4 * SOLD, KAFKA__START_FROM=start_from)
        until(
            lambda: {o.offer_id for o in deployment.outcomes()} >= {f"second-{n}" for n in range(2 * SOLD)},
            within=60, what="no offer to be missed",
        )  # fmt: skip
        assert bought(deployment.called()) == []


# --- another deployment


def test_a_staging_deployment_does_not_take_production_s_partitions(real_kafka, tmp_path: Path) -> None:
    with has_run(real_kafka, tmp_path) as deployment:
        process = deployment.start()
        until(lambda: process.lines("task begins"), within=60, what="the tasks to begin")
        staging = deployment.start(API__BASE_URL="https://staging.example/x")
        until(lambda: not staging.running, within=60, what="staging to be refused")
        assert "calls another API" in staging.text()
        assert "https://staging.example/x" in staging.text()
        assert len(deployment.assigned()) == 1, "it never joined"
        assert process.running
        code, told = deployment.positions("--accept", API__BASE_URL="https://staging.example/x")
        assert (code, "has 1 members" in told) == (1, True)
        assert process.terminate() == 0
        assert deployment.positions("--accept", API__BASE_URL="https://staging.example/x")[0] == 0
        offset, text = deployment.committed(deployment.offer_topic)[0]
        found = OfferCheckpoint.decode(text, offset)
        assert found.provenance.base_url == "https://staging.example/x"
        assert found.decided_to > MIN_TIME, "only the name was changed"


def test_a_renamed_topic_is_refused(real_kafka, tmp_path: Path) -> None:
    with has_run(real_kafka, tmp_path) as deployment:
        other = f"renamed-{deployment.suffix}"
        deployment.admin.create_topics([NewTopic(other, PARTITIONS, 1)])[other].result(20)
        until(lambda: other in deployment.admin.list_topics(timeout=20).topics, within=20, what="the topic to come")
        refused(deployment, f"{other}[0]", KAFKA__CHECKOUT_TOPIC=other)
        both = f"renamed-too-{deployment.suffix}"
        deployment.admin.create_topics([NewTopic(both, PARTITIONS, 1)])[both].result(20)
        until(lambda: both in deployment.admin.list_topics(timeout=20).topics, within=20, what="the topic to come")
        refused(deployment, "renamed", deployment.offer_topic, KAFKA__CHECKOUT_TOPIC=other, KAFKA__OFFER_TOPIC=both)


# --- going back


def test_a_reset_goes_back_and_never_forward_and_not_under_a_running_group(real_kafka, tmp_path: Path) -> None:
    with has_run(real_kafka, tmp_path) as deployment:
        code, told = deployment.positions("--reset-to", "yesterday")
        assert (code, "with its zone" in told) == (2, True)
        process = deployment.start()
        until(lambda: process.lines("task begins"), within=60, what="the tasks to begin")
        assert deployment.positions()[0] == 0, "it may be asked while the service runs"
        code, told = deployment.positions("--reset-to", moment(now() - 3 * AGE))
        assert (code, "has 1 members" in told) == (1, True)
        assert process.terminate() == 0
        show(deployment, "second", at=now() - AGE // 2)
        before = deployment.committed(deployment.offer_topic)
        show(deployment, "third", at=now())
        code, told = deployment.positions("--reset-to", moment(now() - AGE // 4))
        assert (code, "lies ahead" in told) == (1, True)
        assert deployment.committed(deployment.offer_topic) == before
        assert deployment.positions("--reset-to", moment(now() - 3 * AGE))[0] == 0
        goes_on(deployment, settled=8 * SOLD)
        until(
            lambda: sorted(deployment.settled()).count("first-0") == 2, within=60, what="the first to be called again"
        )
        assert bought(deployment.called()) == []


def test_a_reset_over_a_gap_without_records_is_no_way_forward(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(1, 1)) as deployment:
        for n in range(40):
            deployment.check_out(session=f"old-{n}", at=now() - 600_000)
        deployment.present("first", session="first", at=now() - 2 * AGE)
        deployment.flush()
        process = goes_on(deployment, settled=1)
        until(lambda: deployment.committed_total() == 1, within=60, what="it to be committed")
        assert process.terminate() == 0
        producer = ordered_producer(deployment.bootstrap, transactional_id=f"t-{deployment.suffix}")
        producer.init_transactions(20)
        producer.begin_transaction()
        producer.produce(deployment.offer_topic, key="s", value=b"never committed", timestamp=now() - 2 * AGE)
        producer.flush(20)
        producer.abort_transaction(20)
        reset_to = now() - AGE
        deployment.present("second", session="second", at=reset_to + 10)
        deployment.flush()
        code, told = deployment.positions("--reset-to", moment(reset_to))
        assert (code, "records are read again" in told) == (0, True), told
        goes_on(deployment, settled=2)
        until(lambda: "second" in deployment.called(), within=60, what="the offer behind the gap to be called")
        assert deployment.called() == ["first", "first", "second"], "the first was presented before, and settled since"


def test_a_reset_into_the_middle_of_an_offer_s_presentations_counts_what_bought_the_first(
    real_kafka, tmp_path: Path
) -> None:
    settings = {"JOIN__MAX_SKEW": "1s"}
    with deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(1, 1), settings=settings) as deployment:
        bought_at = now() - 60_000
        for n in range(40):
            deployment.check_out(session=f"old-{n}", at=bought_at - 600_000)
        deployment.check_out("o", session="s", at=bought_at)
        deployment.present("o", session="s", at=bought_at + LOOKBACK_MS - 1_000)
        deployment.present("o", session="s", at=bought_at + LOOKBACK_MS + WINDOW_MS - 1_500)
        deployment.present("x", session="x", at=bought_at + 30_000)
        deployment.flush()
        process = goes_on(deployment, settled=2)
        assert process.terminate() == 0
        reset_to = moment(bought_at + LOOKBACK_MS + WINDOW_MS - 1_600)
        code, told = deployment.positions("--reset-to", reset_to)
        assert (code, "dead-lettered" in told) == (0, False), told
        goes_on(deployment, settled=3)
        until(lambda: deployment.called() == ["x", "x"], within=60, what="what came after it to be called again")
        until(lambda: deployment.committed_total() == 3, within=60, what="all to be settled")
        assert deployment.called() == ["x", "x"], "`o` was bought"
        assert deployment.dead_letters() == []


def test_a_reset_to_after_the_last_offer_gives_up_none_that_still_waits(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, scenario="500") as deployment:
        for n in range(40):
            deployment.check_out(session=f"old-{n}", at=now() - 600_000)
        show(deployment, "first")
        process = deployment.start()
        until(lambda: len(set(deployment.called())) == SOLD, within=60, what="the calls to be tried")
        assert process.terminate() == 0
        code, told = deployment.positions("--reset-to", moment(now() + 3_600_000))
        assert (code, "still to come" in told) == (1, True)
        assert deployment.positions("--reset-to", moment(now()))[0] == 0
        deployment.api.set_scenario("204")
        goes_on(deployment, settled=2 * SOLD)
        until(lambda: len(set(deployment.settled())) == SOLD, within=60, what="the calls")
        assert deployment.dead_letters() == []
        assert bought(deployment.called()) == []


# --- up and down


def test_an_upgrade_in_place_from_version_1_repeats_no_call(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, scenario="500") as deployment:
        show(deployment, "first")
        process = deployment.start()
        until(lambda: len(set(deployment.called())) == SOLD, within=60, what="the calls to be tried")
        deployment.api.set_scenario("204")
        until(lambda: len(deployment.outcomes()) == 2 * SOLD, within=90, what="the first offers to be settled")
        assert process.terminate() == 0
        committed = deployment.committed(deployment.offer_topic)
        for partition, (offset, text) in committed.items():
            checkpoint = OfferCheckpoint.decode(text, offset)
            assert checkpoint.provenance.offer_topic_id
            assert checkpoint.decided_to > MIN_TIME
            old = as_version_1(checkpoint, offset)
            set_offsets(deployment, TopicPartition(deployment.offer_topic, partition, offset, metadata=old))
        calls = len(deployment.called())
        code, told = deployment.positions()
        assert (code, "not known" not in told.split("now:")[0]) == (0, False)
        show(deployment, "second", at=now())
        goes_on(deployment, settled=4 * SOLD)
        until(lambda: len(deployment.called()) == calls + SOLD, within=60, what="the new calls")
        assert not [offer for offer in deployment.called()[calls:] if offer.startswith("first")]


def test_a_new_group_commits_that_it_is_ours_before_it_reads(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        process = deployment.start(KAFKA__COMMIT_INTERVAL="1h")
        until(lambda: process.lines("task begins"), within=60, what="the tasks to begin")
        process.kill()
        for offset, text in deployment.committed(deployment.offer_topic).values():
            found = OfferCheckpoint.decode(text, offset)
            assert found.decided_to == MIN_TIME
            assert found.provenance.checkout_topic == deployment.checkout_topic
        for offset, text in deployment.committed(deployment.checkout_topic).values():
            assert CheckoutCheckpoint.decode(text, offset).horizon == MIN_TIME
