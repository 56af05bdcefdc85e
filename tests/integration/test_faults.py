"""What goes wrong around the consumer, and what it does then."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from brokers.producers import ordered_producer
from support.deployment import AGE, LATENESS_MS, PROTOCOL, WINDOW_MS, Deployment, deployed, headers, now, until
from support.job import wait_until_all_is_settled

from consumer.emulator.emulator import DEMO_SECRET
from consumer.events import Outcome, Reason
from consumer.runtime.loop import FOR_CALLS


def test_unequal_partition_counts_stop_the_start_and_name_both(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(4, 3)) as deployment:
        process = deployment.start()
        assert process.popen.wait(30) == 1
        assert f"{deployment.offer_topic} has 4" in process.text()
        assert f"{deployment.checkout_topic} has 3" in process.text()
        assert "Traceback" not in process.text()


def test_a_wrong_setting_names_itself_and_exits_2(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        process = deployment.start(JOIN__WINDOW="half an hour")
        assert process.popen.wait(30) == 2
        assert "OPT_OUT_JOIN__WINDOW" in process.text()
        assert "half an hour" in process.text()
        assert "Traceback" not in process.text()


def test_the_member_stays_in_the_group_while_the_api_is_down(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        deployment.present("offer-1", at=now() - AGE)
        deployment.flush()
        os.kill(deployment.api.pid, signal.SIGSTOP)
        try:
            process = deployment.start()
            before = until(lambda: deployment.assigned() if process.lines("assigned") else None, within=30, what="it")
            # Longer than the session time-out (6 s), the interval after which the group would give it up.
            until_after = time.monotonic() + 9
            while time.monotonic() < until_after:
                assert deployment.assigned().keys() == before.keys()
                time.sleep(0.5)
            assert deployment.committed_total() == 0
        finally:
            os.kill(deployment.api.pid, signal.SIGCONT)
        until(lambda: deployment.committed_total() == 1, within=40, what="the offer to be settled after the outage")
        assert process.running


def test_reading_pauses_at_max_unsettled_in_the_group_and_goes_on_by_itself(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, scenario="503") as deployment:
        for n in range(40):
            deployment.present(f"first-{n}", session=f"s{n}", at=now() - AGE)
        deployment.flush()
        process = deployment.start(DELIVERY__MAX_UNSETTLED="20")
        until(lambda: process.lines("reading is paused"), within=30, what="the pause")
        members = deployment.assigned()
        for n in range(40):
            deployment.present(f"second-{n}", session=f"s{n}")
        deployment.flush()
        # Longer than the session time-out (6 s), the interval after which the group would give it up.
        until_after = time.monotonic() + 8
        while time.monotonic() < until_after:
            assert deployment.assigned() == members
            assert not any(offer.startswith("second") for offer in deployment.called()), "read while paused"
            time.sleep(0.5)
        deployment.api.set_scenario("204")
        until(lambda: deployment.committed_total() == 80, within=90, what="all to be settled")
        assert len(set(deployment.settled())) == 80
        assert process.lines("reading goes on")


def test_sigterm_while_calls_hang_ends_in_time_commits_and_exits_0(real_kafka, tmp_path: Path) -> None:
    with deployed(
        real_kafka.bootstrap_servers, tmp_path, scenario="hang", settings={"API__TIMEOUT": "60s"}
    ) as deployment:
        deployment.present("hangs", session="s1", at=now() - AGE)
        deployment.present("bought", session="s2", at=now() - AGE)
        deployment.check_out("bought", session="s2", at=now() - AGE)
        deployment.flush()
        process = deployment.start(DELIVERY__SHUTDOWN_TIMEOUT="1s", KAFKA__COMMIT_INTERVAL="1h")
        until(deployment.called, within=30, what="the call")
        began = time.monotonic()
        assert process.terminate(within=20) == 0
        assert time.monotonic() - began >= FOR_CALLS * 1.0, "calls in flight were given no time"
        assert deployment.assigned() == {}
        assert {o.offer_id: o.outcome for o in deployment.outcomes()} == {"bought": Outcome.PURCHASED}
        commits = deployment.committed(deployment.offer_topic)
        assert any(metadata for _, metadata in commits.values()), "nothing was committed at the stop"
        deployment.api.set_scenario("204")
        deployment.start()
        until(lambda: "hangs" in deployment.settled(), within=30, what="the call that hung to be made again")
        assert "bought" not in deployment.called()


def test_undecodable_input_goes_to_the_dead_letter_topic_unchanged(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        deployment.produce(deployment.offer_topic, "s1", b"\xff\xffnot avro", now(), headers=[("trace", b"7")])
        deployment.present("good", session="s1", at=now() - AGE)
        deployment.flush()
        deployment.start()
        until(lambda: deployment.committed_total() == 2, within=30, what="both records to be settled")
        (letter,) = deployment.dead_letters()
        assert (letter.key(), letter.value()) == (b"s1", b"\xff\xffnot avro")
        found = headers(letter)
        assert (found["trace"], found["reason"], found["source.topic"]) == ("7", "undecodable", deployment.offer_topic)
        assert found["source.offset"] == "0"
        assert deployment.called() == ["good"]


def test_a_key_that_differs_from_the_session_is_dead_lettered(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        event = {"event_id": "e", "session_id": "s1", "partner_code": "ACME", "offer_id": "o", "presented_at": now()}
        deployment.produce(deployment.offer_topic, "other", deployment.codec.encode_offer(event), now())
        deployment.flush()
        deployment.start()
        until(lambda: deployment.committed_total() == 1, within=30, what="the record to be settled")
        (letter,) = deployment.dead_letters()
        assert headers(letter)["reason"] == "key_mismatch"
        assert deployment.called() == []


def test_a_late_presentation_is_dead_lettered_and_not_called(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        deployment.present("on-time", session="s1", at=now() - AGE)
        deployment.flush()
        deployment.start()
        until(lambda: deployment.committed_total() == 1, within=30, what="the watermark to have moved")
        deployment.present("late", session="s1", at=now() - AGE)
        deployment.flush()
        until(lambda: deployment.committed_total() == 2, within=30, what="the late one to be settled")
        (letter,) = deployment.dead_letters()
        assert headers(letter)["reason"] == "late"
        assert deployment.called() == ["on-time"]
        outcomes = {o.offer_id: (o.outcome, o.reason) for o in deployment.outcomes()}
        assert outcomes["late"] == (Outcome.DEAD_LETTERED, Reason.LATE)


def test_an_unreadable_checkout_taints_its_session_alone(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        deployment.present("tainted", session="s1", at=now() - AGE)
        deployment.present("clean", session="s2", at=now() - AGE)
        deployment.produce(deployment.checkout_topic, "s1", b"\xff\xff", now() - AGE + 1_000)
        deployment.flush()
        deployment.start()
        until(lambda: deployment.committed_total() == 2, within=30, what="both to be settled")
        assert deployment.called() == ["clean"]
        outcomes = {o.offer_id: (o.outcome, o.reason) for o in deployment.outcomes()}
        assert outcomes["tainted"] == (Outcome.DEAD_LETTERED, Reason.CHECKOUT_UNREADABLE)


def test_a_checkout_with_a_foreign_key_taints_both_sessions(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(1, 1)) as deployment:
        for session in ("of-key", "of-value", "clean"):
            deployment.present(f"offer-{session}", session=session, at=now() - AGE)
        deployment.check_out("offer-of-value", session="of-value", at=now() - AGE + 1_000, key="of-key")
        deployment.flush()
        deployment.start()
        until(lambda: deployment.committed_total() == 3, within=30, what="all to be settled")
        assert deployment.called() == ["offer-clean"]
        outcomes = {o.offer_id: (o.outcome, o.reason) for o in deployment.outcomes() if o.session_id != "clean"}
        tainted = Outcome.DEAD_LETTERED, Reason.CHECKOUT_UNREADABLE
        assert outcomes == {"offer-of-key": tainted, "offer-of-value": tainted}
        (letter,) = deployment.dead_letters()
        assert headers(letter)["reason"] == "key_mismatch"


def test_an_implausibly_dated_checkout_is_a_purchase_after_a_restart_too(real_kafka, tmp_path: Path) -> None:
    """Its record is stamped ahead as well, so that nothing tells when it was; the restart reads it when the offer that
    it bought has long been due."""
    with deployed(real_kafka.bootstrap_servers, tmp_path, scenario="503", partitions=(1, 1)) as deployment:
        begin = now()
        deployment.present("bought", session="s1")
        deployment.present("not-bought", session="s1")
        deployment.check_out("bought", session="s1", at=begin + 1_800_000)  # the broker takes up to an hour
        deployment.flush()
        process = deployment.start(KAFKA__COMMIT_INTERVAL="1h")
        until(lambda: process.lines("implausible checkout"), within=30, what="the checkout to be read")
        process.kill()
        until(lambda: now() - begin > WINDOW_MS + LATENESS_MS, within=30, what="the offers to be due")
        deployment.api.set_scenario("204")
        deployment.start()
        until(lambda: deployment.committed_total() == 2, within=30, what="both offers to be settled")
        assert set(deployment.called()) == {"not-bought"}
        outcomes = {o.offer_id: (o.outcome, o.reason) for o in deployment.outcomes()}
        assert outcomes["bought"] == (Outcome.PURCHASED, Reason.PURCHASED)
        assert outcomes["not-bought"] == (Outcome.OPTED_OUT, Reason.DECLINED)


def test_an_unreadable_checkout_without_a_key_stops_the_service(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        deployment.present("offer-1", session="s1", at=now() - AGE)
        deployment.produce(deployment.checkout_topic, None, b"\xff\xff", now(), partition=0)
        deployment.flush()
        process = deployment.start()
        assert process.popen.wait(30) == 1
        assert "no readable key" in process.text()


def test_too_many_unreadable_records_in_a_row_stop_the_service(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, settings={"DEAD_LETTER__MAX_RUN": "20"}) as deployment:
        for _ in range(40):
            deployment.produce(deployment.offer_topic, "s1", b"\xff\xff", now())
        deployment.flush()
        process = deployment.start()
        assert process.popen.wait(30) == 1
        assert "21 in a row" in process.text()
        assert len(deployment.dead_letters()) <= 21


def test_tombstones_are_skipped(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        deployment.produce(deployment.offer_topic, "s1", None, now())
        deployment.present("offer-1", session="s1", at=now() - AGE)
        deployment.flush()
        deployment.start()
        until(lambda: deployment.committed_total() == 2, within=30, what="both records to be put behind")
        assert deployment.dead_letters() == []


def test_the_log_tells_of_each_call_and_never_a_secret(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        deployment.present("offer-1", at=now() - AGE)
        deployment.flush()
        process = deployment.start()
        until(lambda: deployment.committed_total() == 1, within=30, what="the offer to be settled")
        calls = [line for line in process.lines() if line.get("offer_id") == "offer-1" and "status" in line]
        assert calls, "no line tells of the call"
        assert {"partner_code", "session_id", "topic", "partition", "offset"} <= calls[0].keys()
        assert DEMO_SECRET not in process.text()
        assert "do not show" not in process.text()


def test_no_client_is_given_a_property_that_it_warns_of(real_kafka, tmp_path: Path) -> None:
    given = {"max.poll.interval.ms": 60_000, "fetch.min.bytes": 1, "linger.ms": 1}
    if PROTOCOL == "classic":  # on `consumer` the brokers set it, and it is refused
        given["session.timeout.ms"] = 6000
    with deployed(
        real_kafka.bootstrap_servers, tmp_path, settings={"KAFKA__PROPERTIES": json.dumps(given)}
    ) as deployment:
        deployment.present("offer-1", at=now() - AGE)
        deployment.flush()
        process = deployment.start()
        until(lambda: deployment.committed_total() == 1, within=30, what="the offer to be settled")
        assert process.terminate() == 0
        assert "CONFWARN" not in process.text()


@pytest.mark.parametrize("topic", ["offers", "checkouts"])
def test_transaction_markers_at_the_end_do_not_hold_the_watermark(real_kafka, tmp_path: Path, topic: str) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        deployment.present("offer-1", at=now() - AGE)
        deployment.flush()
        end_with_a_marker(deployment, deployment.offer_topic if topic == "offers" else deployment.checkout_topic)
        deployment.start()
        until(lambda: "offer-1" in deployment.settled(), within=30, what="the offer behind the marker to be decided")


def end_with_a_marker(deployment: Deployment, topic: str) -> None:
    """End every partition of a topic with the marker of an aborted transaction."""
    producer = ordered_producer(deployment.bootstrap, transactional_id=f"t-{deployment.suffix}")
    producer.init_transactions(30)
    producer.begin_transaction()
    for partition in range(4):
        producer.produce(topic, key="s1", value=b"aborted", partition=partition)
    producer.flush(30)
    producer.abort_transaction(30)


def test_the_broker_stopped_and_started_again_loses_nothing(own_broker, tmp_path: Path) -> None:
    with deployed(own_broker.bootstrap_servers, tmp_path) as deployment:
        for n in range(50):
            deployment.present(f"before-{n}", session=f"s{n}", at=now() - AGE)
        deployment.flush()
        process = deployment.start()
        until(lambda: len(deployment.settled()) == 50, within=30, what="the first to be settled")
        own_broker.stop()
        own_broker.start()
        for n in range(50):
            deployment.present(f"after-{n}", session=f"t{n}")
        deployment.flush()
        wait_until_all_is_settled(deployment, within=60)
        assert process.running
        assert set(deployment.settled()) == {f"{w}-{n}" for w in ("before", "after") for n in range(50)}
