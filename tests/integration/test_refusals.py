"""Why a real broker refuses us: each cause is said in words, with what to change, at a start and while running."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers import SecuredBroker, UnavailableError
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AclOperation, AdminClient, ResourceType
from structlog.testing import capture_logs
from support.deployment import AGE, Deployment, Process, deployed, now, until

from consumer.codecs.plain import PlainCodec
from consumer.errors import DeadLetterError, StartError
from consumer.kafka.causes import ENDS_AFTER, Causes
from consumer.kafka.config import admin_config, in_order, producer_config
from consumer.kafka.producer import OutputProducer
from consumer.kafka.topics import look_at_topics
from consumer.settings import KafkaSettings

TOPIC, GROUP = ResourceType.TOPIC, ResourceType.GROUP
READ, WRITE, DESCRIBE = AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE


@pytest.fixture(scope="module")
def secured() -> Iterator[SecuredBroker]:
    """A broker with a listener for each security protocol."""
    try:
        broker = SecuredBroker()
        broker.start()
    except UnavailableError as reason:
        pytest.skip(f"needs a broker of our own, with TLS and logins: {reason}")
    try:
        broker.set_scram_password("hush")
        yield broker
    finally:
        broker.close()


def settings(servers: str, properties: dict[str, Any]) -> KafkaSettings:
    return KafkaSettings.model_validate({"bootstrap_servers": servers, "properties": properties})


def refused(kafka: KafkaSettings) -> str:
    """What a start says that asks this cluster for its topics."""
    causes = Causes(kafka, logs=False)
    admin = causes.attend(AdminClient(admin_config(kafka, causes)))

    def ask() -> None:
        try:
            admin.list_topics(timeout=2.0)
        except KafkaException as error:
            raise StartError(f"no broker answered: {error.args[0].str()}") from error

    with pytest.raises(StartError) as caught, causes.explained():
        ask()
    return str(caught.value)


SAYS: dict[str, tuple[Callable[[SecuredBroker], tuple[str, dict[str, Any]]], str, str]] = {
    "a wrong password": (
        lambda b: (b.servers["SASL_PLAINTEXT"], b.at("SASL_PLAINTEXT", **{"sasl.password": "wrong"})),
        "refuses the user name or the password",
        "sasl.password",
    ),
    "a wrong password over TLS, by SCRAM": (
        lambda b: (b.servers["SASL_SSL"], b.at("SASL_SSL", "SCRAM-SHA-512", **{"sasl.password": "wrong"})),
        "refuses the user name or the password",
        "sasl.password",
    ),
    "a user that is not there": (
        lambda b: (b.servers["SASL_PLAINTEXT"], b.at("SASL_PLAINTEXT", "SCRAM-SHA-512", **{"sasl.username": "nobody"})),
        "sasl.username is nobody",
        "sasl.username",
    ),
    "a mechanism that is not there": (
        lambda b: (b.servers["SASL_PLAINTEXT"], b.at("SASL_PLAINTEXT", "SCRAM-SHA-256")),
        "lets nobody log in by SCRAM-SHA-256, but by PLAIN,SCRAM-SHA-512,OAUTHBEARER",
        "sasl.mechanism",
    ),
    "a token that is not taken": (
        lambda b: (
            b.servers["SASL_PLAINTEXT"],
            {
                "security.protocol": "SASL_PLAINTEXT",
                "sasl.mechanism": "OAUTHBEARER",
                "enable.sasl.oauthbearer.unsecure.jwt": True,
                "sasl.oauthbearer.config": "principal=opt-out principalClaimName=other",
            },
        ),
        "does not take the token",
        "sasl.oauthbearer.scope",
    ),
    "no token to be had": (
        lambda b: (
            b.servers["SASL_PLAINTEXT"],
            {
                "security.protocol": "SASL_PLAINTEXT",
                "sasl.mechanism": "OAUTHBEARER",
                "sasl.oauthbearer.method": "oidc",
                "sasl.oauthbearer.client.id": "me",
                "sasl.oauthbearer.client.secret": "hush-hush",
                "sasl.oauthbearer.token.endpoint.url": "http://me:hush-hush@127.0.0.1:1/token",
            },
        ),
        "no token to log in with",
        "sasl.oauthbearer.token.endpoint.url",
    ),
    "TLS is spoken there": (
        lambda b: (b.servers["SSL"], {}),
        "as a listener with TLS does; security.protocol is plaintext",
        "security.protocol in kafka.properties to SSL",
    ),
    "TLS is spoken there, and one logs in": (
        lambda b: (b.servers["SASL_SSL"], b.at("SASL_PLAINTEXT")),
        "as a listener with TLS does; security.protocol is sasl_plaintext",
        "security.protocol in kafka.properties to SASL_SSL",
    ),
    "no TLS is spoken there": (
        lambda b: (b.servers["PLAINTEXT"], b.at("SSL")),
        "as a listener without TLS does, and one that is just stopping; security.protocol is ssl",
        "security.protocol in kafka.properties to PLAINTEXT",
    ),
    "one must log in": (
        lambda b: (b.servers["SASL_PLAINTEXT"], {}),
        "as a listener does where one must log in; security.protocol is plaintext",
        "security.protocol in kafka.properties to SASL_PLAINTEXT",
    ),
    "one must log in over TLS": (
        lambda b: (b.servers["SASL_SSL"], b.at("SSL")),
        "as a listener does where one must log in; security.protocol is ssl",
        "security.protocol in kafka.properties to SASL_SSL",
    ),
    "nobody logs in there": (
        lambda b: (b.servers["SSL"], b.at("SASL_SSL")),
        "wants no login at this port, and security.protocol is sasl_ssl",
        "security.protocol in kafka.properties to SSL",
    ),
    "an unknown CA": (
        lambda b: (b.servers["SSL"], b.at("SSL", **{"ssl.ca.location": str(b.other_ca)})),
        "is of a CA that is not known here",
        "ssl.ca.location",
    ),
    "no CA given": (
        lambda b: (b.servers["SSL"], {"security.protocol": "ssl"}),
        "is of a CA that is not known here",
        "ssl.ca.location",
    ),
    "another host's name": (
        lambda b: (b.servers["SSL"].replace("localhost", "127.0.0.1"), b.at("SSL")),
        "is not for the name 127.0.0.1",
        "kafka.bootstrap_servers",
    ),
    "a name that leads nowhere": (
        lambda b: ("no-such-host.invalid:9092", {}),
        "the name in no-such-host.invalid:9092 leads nowhere",
        "kafka.bootstrap_servers",
    ),
    "a port where nobody listens": (
        lambda b: ("127.0.0.1:1", {}),
        "nobody listens at 127.0.0.1:1",
        "kafka.bootstrap_servers",
    ),
    "a controller's port": (
        lambda b: (b.controller, {}),
        "it is a controller",
        "kafka.bootstrap_servers",
    ),
    "a protocol in the address": (
        lambda b: (f"SSL://{b.servers['SSL']}", {}),
        'does not take: protocol "SSL" does not match',
        "security.protocol",
    ),
}


@pytest.mark.parametrize("case", SAYS)
def test_a_start_says_why_it_is_refused_and_what_to_change(secured: SecuredBroker, case: str) -> None:
    given, cause, remedy = SAYS[case]
    text = refused(settings(*given(secured)))
    assert cause in text
    assert remedy in text
    assert "hush-hush" not in text


@pytest.mark.parametrize("protocol", ["SSL", "SASL_PLAINTEXT"])
def test_a_listener_that_takes_connections_and_never_answers_is_told_before_a_start_gives_up(protocol: str) -> None:
    login = {"sasl.mechanism": "PLAIN", "sasl.username": "me", "sasl.password": "hush-hush"}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        servers = f"127.0.0.1:{listener.getsockname()[1]}"
        kafka = settings(servers, {"security.protocol": protocol} | (login if "SASL" in protocol else {}))
        causes = Causes(kafka, logs=False)
        admin = causes.attend(AdminClient(admin_config(kafka, causes)))
        with pytest.raises(StartError) as caught, causes.explained():
            look_at_topics(admin, kafka)
    text = str(caught.value)
    assert f"{servers} takes connections and answers nothing" in text
    assert f"security.protocol is {protocol.lower()}" in text
    assert "firewall" in text


def test_what_is_right_is_not_refused(secured: SecuredBroker) -> None:
    for protocol, mechanism in [("SSL", ""), ("SASL_SSL", "SCRAM-SHA-512"), ("SASL_PLAINTEXT", "PLAIN")]:
        kafka = settings(secured.servers[protocol], secured.at(protocol, mechanism))
        causes = Causes(kafka, logs=False)
        AdminClient(admin_config(kafka, causes)).list_topics(timeout=20)


def test_a_password_that_is_changed_while_running_is_told_once_and_its_end_too(secured: SecuredBroker) -> None:
    secured.set_scram_password("first")
    kafka = settings(
        secured.servers["SASL_SSL"],
        secured.at("SASL_SSL", "SCRAM-SHA-512", **{"sasl.password": "first", "reconnect.backoff.max.ms": "200"}),
    )
    # As an output, without which no producer is let in: brokers infer the right to write in order from it.
    secured.create_topics({"rotation": 1})
    secured.allow(TOPIC, "rotation", WRITE, DESCRIBE)
    ahead = 0.0
    causes = Causes(kafka, lambda: time.monotonic() + ahead)
    told: list[str] = []
    config = producer_config(kafka, causes)
    config["error_cb"] = lambda error: (told.append(error.str()), causes.heard(error))
    producer = Producer(in_order(config))
    producer.list_topics(timeout=20)
    with capture_logs() as lines:
        secured.set_scram_password("second")

        def refusals() -> int:
            producer.poll(0.1)
            return sum("authentication" in text.lower() for text in told)

        until(lambda: refusals() >= 3, within=60, what="the broker to refuse the old password again and again")
        about = [line for line in lines if "refuses the user name or the password" in line.get("cause", "")]
        assert len(about) == 1
        assert "sasl.password" in about[0]["do"]
        assert about[0]["log_level"] == "warning"
        secured.set_scram_password("first")
        until(lambda: refusals() and _answers(producer), within=60, what="the producer to be let in again")
        ahead = ENDS_AFTER
        causes.look()
    ends = [line for line in lines if line["event"] == "kafka: this trouble has ended"]
    assert [line["cause"] for line in ends if "password" in line["cause"]] == [about[0]["cause"]]


def _answers(producer: Producer) -> bool:
    try:
        return bool(producer.list_topics(timeout=1).brokers)
    except KafkaException:
        return False


def test_a_producer_that_is_refused_for_good_stops_in_words(secured: SecuredBroker) -> None:
    kafka = settings(secured.servers["SASL_PLAINTEXT"], secured.at("SASL_PLAINTEXT", **{"sasl.username": "stranger"}))
    causes = Causes(kafka)
    outputs = OutputProducer(Producer(producer_config(kafka, causes)), "rotation", "rotation", PlainCodec(()))

    def fail() -> None:
        with causes.explained():
            outputs.poll()
            outputs.check()

    def failure() -> str:
        try:
            fail()
        except DeadLetterError as error:
            return str(error)
        return ""

    text = until(failure, within=60, what="the broker to refuse it")
    assert "whatever is written could not be written" in text
    assert "has no right on the cluster" in text
    assert outputs.flush(1.0) is False


# --- the service itself


def at(broker: SecuredBroker, **properties: str) -> dict[str, str]:
    session: dict[str, Any] = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
    return {
        "KAFKA__BOOTSTRAP_SERVERS": broker.servers["SASL_PLAINTEXT"],
        "KAFKA__GROUP_PROTOCOL": "classic",
        "KAFKA__PROPERTIES": json.dumps({**broker.at("SASL_PLAINTEXT"), **session, **properties}),
    }


def allow_all(broker: SecuredBroker, deployment: Deployment) -> None:
    for topic in (deployment.offer_topic, deployment.checkout_topic):
        broker.allow(TOPIC, topic, READ, DESCRIBE, AclOperation.DESCRIBE_CONFIGS)
    for topic in (deployment.outcome_topic, deployment.dead_letter_topic):
        broker.allow(TOPIC, topic, WRITE, DESCRIBE, READ)
    broker.allow(GROUP, deployment.group, READ)


def causes_told(process: Process, words: str) -> list[dict[str, Any]]:
    return [line for line in process.lines("kafka") if words in line.get("cause", "")]


def test_a_run_with_a_wrong_password_ends_in_words(secured: SecuredBroker, tmp_path: Path) -> None:
    wrong = at(secured, **{"sasl.password": "wrong-one"})
    with deployed(secured.bootstrap_servers, tmp_path, settings=wrong) as deployment:
        process = deployment.start()
        assert process.popen.wait(60) == 1
        assert "refuses the user name or the password (sasl.username is opt-out" in process.text()
        assert len(causes_told(process, "password")) == 1
        assert "Traceback" not in process.text()
        assert "wrong-one" not in process.text()


@pytest.mark.parametrize("topic", ["offer_topic", "checkout_topic"])
def test_without_the_right_to_read_an_input_no_start_goes_on(
    secured: SecuredBroker, tmp_path: Path, topic: str
) -> None:
    with deployed(secured.bootstrap_servers, tmp_path, settings=at(secured)) as deployment:
        allow_all(secured, deployment)
        name = getattr(deployment, topic)
        secured.withdraw(TOPIC, name, READ)
        process = deployment.start()
        assert process.popen.wait(60) == 1
        assert f"{name} may not be read: allow Read and Describe on this topic" in process.text()


def test_the_right_on_the_group_withdrawn_while_running_is_told_once_and_given_again_all_goes_on(
    secured: SecuredBroker, tmp_path: Path
) -> None:
    with deployed(secured.bootstrap_servers, tmp_path, settings=at(secured)) as deployment:
        allow_all(secured, deployment)
        deployment.present("first", session="first", at=now() - AGE)
        deployment.flush()
        process = deployment.start()
        until(lambda: deployment.committed_total() == 1, within=60, what="the first to be settled")
        secured.withdraw(GROUP, deployment.group, READ)
        until(lambda: causes_told(process, "no right on the group"), within=60, what="the cause")
        until(lambda: len(process.lines("commit failed")) >= 3, within=60, what="commits to be refused")
        (line,) = causes_told(process, f"no right on the group {deployment.group}")
        assert "Allow Read" in line["do"]
        secured.allow(GROUP, deployment.group, READ)
        deployment.present("second", session="second", at=now())
        deployment.flush()
        until(lambda: deployment.committed_total() == 2, within=60, what="the second to be settled")


def test_the_right_to_read_a_topic_withdrawn_while_running_stops_in_words(
    secured: SecuredBroker, tmp_path: Path
) -> None:
    with deployed(secured.bootstrap_servers, tmp_path, settings=at(secured)) as deployment:
        allow_all(secured, deployment)
        deployment.present("first", session="first", at=now() - AGE)
        deployment.flush()
        process = deployment.start()
        until(lambda: deployment.committed_total() == 1, within=60, what="the first to be settled")
        secured.withdraw(TOPIC, deployment.checkout_topic, READ, DESCRIBE, AclOperation.DESCRIBE_CONFIGS)
        assert process.popen.wait(60) == 1
        assert f"{deployment.checkout_topic}: " in process.text()
        assert "Allow Read and Describe on" in process.text()
        assert "Traceback" not in process.text()


def test_a_certificate_that_changes_while_a_commit_waits_is_told(secured: SecuredBroker, tmp_path: Path) -> None:
    tls = {"KAFKA__BOOTSTRAP_SERVERS": secured.servers["SASL_SSL"]}
    tls["KAFKA__PROPERTIES"] = json.dumps(secured.at("SASL_SSL"))
    with deployed(secured.bootstrap_servers, tmp_path, settings=at(secured) | tls) as deployment:
        allow_all(secured, deployment)
        deployment.present("first", session="first", at=now() - AGE)
        deployment.flush()
        process = deployment.start(patience=5)
        until(lambda: deployment.committed_total() == 1, within=60, what="the first to be settled")
        with secured.another_certificate():
            until(lambda: causes_told(process, "certificate"), within=60, what="the cause")
            assert causes_told(process, "of a CA that is not known here")
        deployment.present("second", session="second", at=now())  # the watermark may be at any time since the first
        deployment.flush()
        until(lambda: "second" in deployment.settled(), within=60, what="the second to be called")
