"""`opt-out doctor` at a real Kafka and the API emulator: what is well is said so, and each planted fault is found."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import brokers
import pytest
from brokers.producers import ordered_producer
from brokers.secured import SecuredBroker
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, TopicPartition
from confluent_kafka.admin import AclOperation, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from support.deployment import Deployment, deployed, now, read_topic, until
from support.examined import examine

from consumer.emulator.emulator import DEMO_KEY, DEMO_SECRET

# --- topics, rights and brokers


def test_a_topic_that_is_missing_is_an_error(real_kafka: brokers.Broker, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        found = examine(deployment, KAFKA__OFFER_TOPIC="nowhere")
        assert found.code == 1
        assert "error: the input nowhere does not exist" in found.said("topics")


def test_inputs_with_unequal_partitions_are_an_error(real_kafka: brokers.Broker, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(3, 2)) as deployment:
        found = examine(deployment)
        assert found.code == 1
        assert f"{deployment.offer_topic} has 3 partitions but {deployment.checkout_topic} has 2" in found.said(
            "topics"
        )


def test_an_input_that_is_compacted_is_an_error(real_kafka: brokers.Broker, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, compacted="checkouts") as deployment:
        found = examine(deployment)
        assert found.code == 1
        assert f"error: {deployment.checkout_topic} is compacted" in found.said("topics")


def test_brokers_that_do_not_answer_are_one_error_and_what_needs_them_is_none(
    real_kafka: brokers.Broker, tmp_path: Path
) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        found = examine(deployment, KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1")
        assert found.code == 1
        assert "nobody listens at 127.0.0.1:1" in found.said("brokers")
        assert [name for name, checks in found.checks.items() if checks[0]["level"] == "error"] == ["brokers"]
        assert "without the check of brokers above" in found.said("topics")


# --- what the newest records tell


def shop(deployment: Deployment, *, bought: str = "offer-{}", time: int | None = None, sessions: int = 60) -> None:
    """Sessions in which an offer was presented, of which every second one bought it under this id."""
    at = now() - 5_000
    for n in range(sessions):
        deployment.present(f"offer-{n}", session=f"session-{n}", at=time or at, stamp=at)
        deployment.check_out(*[bought.format(n)] * (n % 2), session=f"session-{n}", at=time or at, stamp=at)
    deployment.flush()


def test_records_that_are_well_are_said_to_be(real_kafka: brokers.Broker, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, settings={"JOIN__LATENESS": "10s"}) as deployment:
        shop(deployment)
        found = examine(deployment)
        for name in ("offers", "checkouts", "times of offers", "times of checkouts", "partitioners", "ids"):
            assert found.level(name) == "ok", found.said(name)
        assert "60 of the 60 newest records" in found.said("offers")
        assert "30 of 30 purchased ids are of the 60 newest offers" in found.said("ids")


def test_topics_without_a_record_are_no_error(real_kafka: brokers.Broker, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        found = examine(deployment)
        for name in ("offers", "checkouts", "partitioners", "ids"):
            assert found.level(name) == "warning"
        assert "holds no record" in found.said("offers")


def test_records_that_cannot_be_read_are_an_error_with_what_is_wrong(
    real_kafka: brokers.Broker, tmp_path: Path
) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        shop(deployment)
        for n in range(60):
            deployment.produce(deployment.checkout_topic, f"session-{n}", b"\xff\xffnot avro", now())
        deployment.flush()
        found = examine(deployment)
        assert found.code == 1
        assert found.level("offers") == "ok"
        assert "error: 60 of the 120 newest records" in found.said("checkouts")
        assert "(60 undecodable)" in found.said("checkouts")


def test_times_in_seconds_are_an_error_that_says_so(real_kafka: brokers.Broker, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        shop(deployment, time=now() // 1_000)
        found = examine(deployment)
        assert found.code == 1
        for name in ("times of offers", "times of checkouts"):
            assert found.level(name) == "error"
            assert "seconds instead of milliseconds" in found.said(name)


def test_booking_ids_instead_of_ids_of_offers_are_an_error(real_kafka: brokers.Broker, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        shop(deployment, bought="BOOKING-{}")
        found = examine(deployment)
        assert found.code == 1
        assert "error: 30 are the id of no offer of their session" in found.said("ids")


def test_producers_with_different_partitioners_are_an_error(real_kafka: brokers.Broker, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        at = now()
        other = ordered_producer(deployment.bootstrap, partitioner="consistent_random")
        for n in range(80):
            deployment.present(f"offer-{n}", session=f"session-{n}", at=at)
            event = {
                "event_id": str(n),
                "session_id": f"session-{n}",
                "checkout_id": str(n),
                "completed_at": at,
                "purchased_offer_ids": [],
            }
            other.produce(deployment.checkout_topic, deployment.codec.encode_checkout(event), f"session-{n}")
        deployment.flush()
        assert other.flush(30) == 0
        found = examine(deployment)
        assert found.code == 1
        assert "do not put a session in the same partition" in found.said("partitioners")


# --- the API and the clock


def test_an_api_that_is_well_takes_our_credentials_and_agrees_about_the_time(
    real_kafka: brokers.Broker, tmp_path: Path
) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        shop(deployment)
        found = examine(deployment)
        for name in ("api", "clock", "credentials"):
            assert found.level(name) == "ok", found.said(name)
        assert "partner 'ACME': a signed GET is answered 405, one without a signature 403" in found.said("credentials")
        assert deployment.called() == []


def test_a_secret_that_is_wrong_is_an_error_that_names_the_partner(real_kafka: brokers.Broker, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        deployment.present("offer-1")
        deployment.present("offer-2", partner="BETA")
        deployment.flush()
        own = json.dumps({"BETA": {"key": DEMO_KEY, "secret": "another"}})
        found = examine(deployment, API__CREDENTIALS=own)
        assert found.code == 1
        assert [check["level"] for check in found.checks["credentials"]].count("error") == 1
        assert "error: the API refuses the credentials of partner 'BETA'" in found.said("credentials")
        assert DEMO_SECRET not in found.text


def test_a_name_that_leads_nowhere_is_an_error_and_what_needs_the_api_is_none(
    real_kafka: brokers.Broker, tmp_path: Path
) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        found = examine(deployment, API__BASE_URL="https://nowhere.invalid/x")
        assert found.code == 1
        assert "error: https://nowhere.invalid/x is not reached: the name leads nowhere" in found.said("api")
        assert "not looked at: the API is not reached" in found.said("clock")
        assert "not looked at: the API is not reached" in found.said("credentials")


def test_a_port_without_tls_is_an_error(real_kafka: brokers.Broker, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        found = examine(deployment, API__BASE_URL=deployment.api.base_url.replace("http:", "https:"))
        assert found.code == 1
        assert "there is no TLS to be agreed upon" in found.said("api")


@pytest.mark.parametrize(("ahead", "level"), [(60.0, "warning"), (-60.0, "warning"), (600.0, "error")])
def test_a_clock_that_is_off_is_found(real_kafka: brokers.Broker, tmp_path: Path, ahead: float, level: str) -> None:
    clock = tmp_path / "clock"
    clock.write_text(str(ahead))
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        found = examine(deployment, clock)
        assert found.level("clock") == level
        assert f"s {'ahead of' if ahead > 0 else 'behind'} the API's" in found.said("clock")


# --- the group


def test_what_a_foreign_consumer_has_committed_is_an_error(real_kafka: brokers.Broker, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        deployment.present("offer-1")
        deployment.flush()
        commit(deployment, [TopicPartition(deployment.offer_topic, p, 0) for p in range(4)])
        found = examine(deployment)
        assert found.code == 1
        assert "error: " in found.said("positions")
        assert "the offset stands without this service's metadata" in found.said("positions")
        assert "opt-out positions" in found.said("positions")


def test_what_this_service_has_committed_is_well_and_what_it_holds_is_told(
    real_kafka: brokers.Broker, tmp_path: Path
) -> None:
    # What is bought is held for as long as lookback.
    long = {"JOIN__WINDOW": "1h", "JOIN__LOOKBACK": "2h"}
    with deployed(real_kafka.bootstrap_servers, tmp_path, settings=long) as deployment:
        shop(deployment)
        process = deployment.start()
        until(
            lambda: max(at for at, _ in deployment.committed(deployment.offer_topic).values()) >= 0,
            within=60,
            what="a commit",
        )
        found = examine(deployment)
        assert found.level("members") == "warning"
        assert f"1 member of group {deployment.group} (stable)" in found.said("members")
        assert f"4 of {deployment.offer_topic}" in found.said("members")
        assert process.terminate() == 0
        found = examine(deployment)
        assert found.level("members") == "ok"
        assert found.level("positions") == "ok", found.said("positions")
        assert f"the first record of {deployment.checkout_topic} that the group has not put behind it" in found.said(
            "held"
        )


def test_a_member_of_another_program_is_an_error(real_kafka: brokers.Broker, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        stranger = Consumer({"bootstrap.servers": deployment.bootstrap, "group.id": deployment.group})
        try:
            stranger.subscribe([deployment.outcome_topic])
            until(lambda: stranger.poll(0.1) is not None or stranger.assignment(), within=60, what="to be assigned")
            found = examine(deployment)
        finally:
            stranger.close()
        assert found.code == 1
        assert f"which reads {deployment.outcome_topic}: it is another program" in found.said("members")


def commit(deployment: Deployment, places: list[TopicPartition]) -> None:
    """As any program may."""
    consumer = Consumer({"bootstrap.servers": deployment.bootstrap, "group.id": deployment.group})
    try:
        consumer.commit(offsets=places, asynchronous=False)
    finally:
        consumer.close()


# --- rights, retention and limits


def test_rights_that_are_missing_are_errors_with_what_to_allow(tmp_path: Path) -> None:
    with guarded() as broker:
        login = {
            "KAFKA__BOOTSTRAP_SERVERS": broker.guarded_servers,
            "KAFKA__PROPERTIES": json.dumps(dict(broker.login)),
        }
        with deployed(broker.bootstrap_servers, tmp_path, settings=login) as deployment:
            shop(deployment)
            for topic in (deployment.offer_topic, deployment.dead_letter_topic):
                broker.allow(ResourceType.TOPIC, topic, AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE)
            for topic in (deployment.outcome_topic, deployment.checkout_topic):
                broker.allow(ResourceType.TOPIC, topic, AclOperation.DESCRIBE)
            broker.allow(ResourceType.GROUP, deployment.group, AclOperation.READ)
            found = examine(deployment)
            assert found.code == 1
            assert f"error: {deployment.outcome_topic} may not be written to" in found.said("rights")
            assert f"error: {deployment.checkout_topic} may not be read" in found.said("rights")
            assert found.level("offers") == "ok"
            # By trying: it must not look like a topic without a record.
            assert f"error: {deployment.checkout_topic}: none of its records was read" in found.said("checkouts")
            assert "no right on a topic" in found.said("checkouts")
            assert "DescribeConfigs on it" in found.said("topics")
            assert "warning: the brokers do not tell their own settings" in found.said("limits")


@contextmanager
def guarded() -> Iterator[brokers.AuthorizingBroker]:
    """A broker with an authorizer."""
    try:
        broker = brokers.AuthorizingBroker()
        broker.start()
    except brokers.UnavailableError as reason:
        pytest.skip(f"needs a broker of our own, with an authorizer: {reason}")
    try:
        yield broker
    finally:
        broker.close()


def test_a_retention_that_is_too_short_is_a_warning(real_kafka: brokers.Broker, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        set_topic(deployment, deployment.checkout_topic, "retention.ms", "5000")
        found = examine(deployment)
        assert f"warning: {deployment.checkout_topic} keeps records for 5s" in found.said("topics")
        assert found.level("limits") == "ok", found.said("limits")


def set_topic(deployment: Deployment, topic: str, name: str, value: str) -> None:
    place = ConfigResource(ResourceType.TOPIC, topic)
    place.add_incremental_config(ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET))
    for future in deployment.admin.incremental_alter_configs([place]).values():
        future.result(20)


def test_many_small_segments_and_a_bound_of_bytes_are_warnings(real_kafka: brokers.Broker, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        set_topic(deployment, deployment.outcome_topic, "retention.ms", "604800000")
        set_topic(deployment, deployment.outcome_topic, "segment.ms", "1000")
        set_topic(deployment, deployment.offer_topic, "retention.bytes", "1000000")
        found = examine(deployment)
        assert found.level("limits") == "warning"
        assert f"{deployment.outcome_topic} begins a segment every 1s (segment.ms)" in found.said("limits")
        assert f"{deployment.offer_topic} keeps at most 1000000 bytes a partition" in found.said("limits")
        assert found.level("topics") == "ok", found.said("topics")


# --- the brokers' time, and files of ours


def newest_is_stamped_by_the_broker(deployment: Deployment) -> bool:
    """Write a checkout; a broker takes a topic's setting over some time after it has said yes to it."""
    deployment.check_out(session="session-1")
    deployment.flush()
    newest = read_topic(deployment.bootstrap, deployment.checkout_topic)[-1]
    return newest.timestamp()[0] == TIMESTAMP_LOG_APPEND_TIME


@pytest.mark.parametrize(("ahead", "level"), [(0.0, "ok"), (-60.0, "warning"), (-600.0, "error")])
def test_a_clock_that_is_behind_the_brokers_is_found_where_they_stamp_records(
    real_kafka: brokers.Broker, tmp_path: Path, ahead: float, level: str
) -> None:
    clock = tmp_path / "clock"
    clock.write_text(str(ahead))
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        set_topic(deployment, deployment.checkout_topic, "message.timestamp.type", "LogAppendTime")
        until(lambda: newest_is_stamped_by_the_broker(deployment), within=30, what="the setting to be in force")
        found = examine(deployment, clock)
        assert found.level("broker clock") == level, found.said("broker clock")
        assert "a broker" in found.said("broker clock")


def test_without_a_record_that_a_broker_stamped_its_time_is_not_known_yet(
    real_kafka: brokers.Broker, tmp_path: Path
) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        deployment.present("offer-1")
        deployment.flush()
        found = examine(deployment)
        assert "ok: no record that was read is stamped by a broker" in found.said("broker clock")


def test_a_release_file_that_is_wrong_is_an_error_before_the_start_is_refused(
    real_kafka: brokers.Broker, tmp_path: Path
) -> None:
    file = tmp_path / "releases.toml"
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        file.write_text('[[release]]\npartner_code = "ACME"\noffer_id = "o-1"\nwho = "on call"\nwhy = "gone"\n')
        well = examine(deployment, DELIVERY__RELEASE_FILE=str(file))
        assert f"ok: {file} (delivery.release_file) is read: 1 offer is let go" in well.said("releases")
        file.write_text('[[release]]\npartner_code = "ACME"\n')
        for broken in (file, tmp_path / "nowhere.toml"):
            found = examine(deployment, DELIVERY__RELEASE_FILE=str(broken))
            assert found.code == 1
            assert f"is '{broken}'" in found.said("releases")
            assert found.level("releases") == "error"


# --- all together


def test_where_all_is_well_there_is_no_error_and_it_exits_0_in_words_too(
    real_kafka: brokers.Broker, tmp_path: Path
) -> None:
    well = {"JOIN__LATENESS": "30s", "DELIVERY__NOT_FOUND_LIMIT": "20"}
    with deployed(real_kafka.bootstrap_servers, tmp_path, settings=well) as deployment:
        shop(deployment)
        found = examine(deployment)
        assert found.code == 0
        assert [check for checks in found.checks.values() for check in checks if check["level"] != "ok"] == []
        assert found.checks.keys() >= {"settings", "brokers", "listeners", "topics", "limits", "rights", "offers"}
        assert found.checks.keys() >= {"checkouts", "partitioners", "ids", "members", "positions", "held", "api"}
        command = [sys.executable, "-m", "consumer", "doctor"]
        done = subprocess.run(
            command, env=deployment.environ(), capture_output=True, text=True, timeout=120, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        *lines, last = done.stdout.splitlines()
        assert last == f"{sum(map(len, found.checks.values()))} ok, 0 warnings, 0 errors"
        assert "\x1b" not in done.stdout
        assert all(line.startswith(("ok       ", "         ")) for line in lines)
        short = subprocess.run(
            [*command, "--json"], env=deployment.environ(), capture_output=True, text=True, timeout=120, check=False
        )
        assert json.loads(short.stdout).keys() == {"checks", "counts", "notes"}
        # Nothing was called, committed or written by any of this.
        assert deployment.called() == []
        assert {offset for offset, _ in deployment.committed(deployment.offer_topic).values()} == {-1001}
        assert deployment.outcomes() == []


# --- what hangs, and certificates


def test_a_broker_that_takes_connections_and_is_silent_is_an_error_in_time(
    real_kafka: brokers.Broker, tmp_path: Path
) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment, socket.create_server(("127.0.0.1", 0)) as dumb:
        found = examine(deployment, KAFKA__BOOTSTRAP_SERVERS=f"127.0.0.1:{dumb.getsockname()[1]}")
        assert found.code == 1
        assert "error: no broker of 127.0.0.1" in found.said("brokers")
        assert found.level("api") == "ok", found.said("api")


def test_an_api_that_is_silent_is_an_error_in_time(real_kafka: brokers.Broker, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment, socket.create_server(("127.0.0.1", 0)) as dumb:
        url = f"http://127.0.0.1:{dumb.getsockname()[1]}/x"
        for timeout, says in (("1s", "there is no answer in time"), ("1m", "did not end within 10 s")):
            found = examine(deployment, API__BASE_URL=url, API__TIMEOUT=timeout)
            assert found.code == 1
            assert says in found.said("api")
            assert "not looked at" in found.said("credentials")


def test_a_certificate_that_ends_soon_is_a_warning_and_one_of_another_ca_an_error(tmp_path: Path) -> None:
    with secured() as broker:
        login = {
            "KAFKA__BOOTSTRAP_SERVERS": broker.servers["SSL"],
            "KAFKA__PROPERTIES": json.dumps(broker.at("SSL")),
        }
        with deployed(broker.bootstrap_servers, tmp_path, settings=login) as deployment:
            found = examine(deployment)
            assert found.level("brokers") == "ok", found.said("brokers")
            assert f"warning: the certificate of {broker.servers['SSL']} ends on" in found.said("certificates")
            other = json.dumps(broker.at("SSL") | {"ssl.ca.location": str(broker.other_ca)})
            found = examine(deployment, KAFKA__PROPERTIES=other)
            assert found.code == 1
            assert "is of a CA that is not known here" in found.said("brokers")


def test_a_certificate_of_our_own_is_told_with_its_end_and_one_that_has_ended_is_an_error(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    with secured() as broker:
        ours = {"ssl.certificate.location": str(broker.keys), "ssl.key.location": str(broker.keys)}
        login = {
            "KAFKA__BOOTSTRAP_SERVERS": broker.servers["SSL"],
            "KAFKA__PROPERTIES": json.dumps(broker.at("SSL") | ours),
        }
        with deployed(broker.bootstrap_servers, tmp_path, settings=login) as deployment:
            hours = 3600
            for ahead, level in ((0, "ok"), (46 * hours, "warning"), (49 * hours, "error")):
                clock.write_text(str(ahead))
                found = examine(deployment, clock)
                assert found.level("own certificates") == level, found.said("own certificates")
            assert f"{broker.keys} (ssl.certificate.location) has ended on" in found.said("own certificates")


@contextmanager
def secured() -> Iterator[SecuredBroker]:
    """A broker with TLS."""
    try:
        broker = SecuredBroker()
        broker.start()
    except brokers.UnavailableError as reason:
        pytest.skip(f"needs a broker of our own, with TLS: {reason}")
    try:
        yield broker
    finally:
        broker.close()
