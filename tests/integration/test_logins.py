"""Each way to log in at a real broker, with the rights that the manual names and no others; and what changes meanwhile.

The check of tokens of AWS IAM is `brokers/MskTokens.java`: it takes their form, and proves nothing of their signature.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from brokers import LoginsBroker, UnavailableError
from confluent_kafka import KafkaException
from confluent_kafka.admin import AclOperation, AdminClient, ResourceType
from structlog.testing import capture_logs
from support.deployment import AGE, Deployment, Process, deployed, now, until
from support.rights import allow_by_the_manual

from consumer.kafka import tokens
from consumer.kafka.causes import ENDS_AFTER, Causes
from consumer.kafka.certificate import validity_of
from consumer.kafka.clients import Clients
from consumer.settings import KafkaSettings

pytestmark = pytest.mark.cluster
"""Brokers of its own, with logins that end within seconds: four minutes."""

SESSION = {"session.timeout.ms": "6000", "heartbeat.interval.ms": "500"}
TAKEN = "kafka: every client logs in with the new password from now on"
STOPS = "kafka: a certificate or a secret has changed: stopping in order"


@pytest.fixture(scope="module")
def logins() -> Iterator[LoginsBroker]:
    """A broker with a listener for each way to log in, and an authorizer."""
    try:
        broker = LoginsBroker()
        broker.start()
    except UnavailableError as reason:
        pytest.skip(f"needs a broker of our own, with TLS and logins: {reason}")
    try:
        yield broker
    finally:
        broker.close()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials of nobody at AWS; the broker takes the key for the principal."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "opt-out")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush-of-aws")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")


def at(broker: LoginsBroker, listener: str, properties: dict[str, str]) -> dict[str, str]:
    """The settings by which a deployment logs in at a listener."""
    return {
        "KAFKA__BOOTSTRAP_SERVERS": broker.servers[listener],
        "KAFKA__GROUP_PROTOCOL": "classic",
        "KAFKA__PROPERTIES": json.dumps(properties | SESSION),
    }


def by_scram(broker: LoginsBroker, folder: Path) -> dict[str, str]:
    broker.set_scram_password("first-password")
    (folder / "password").write_text("first-password\n")
    properties = broker.at("SASL_SSL", "SCRAM-SHA-512")
    del properties["sasl.password"]
    return at(broker, "SASL_SSL", properties | {"sasl.password_file": str(folder / "password")})


def by_certificate(broker: LoginsBroker, folder: Path) -> dict[str, str]:
    return at(broker, "MTLS", broker.certificate_for(folder))


def by_oidc(broker: LoginsBroker, folder: Path) -> dict[str, str]:
    return at(broker, "OIDC", broker.oidc())


def by_aws_iam(broker: LoginsBroker, folder: Path) -> dict[str, str]:
    return at(broker, "MSK", {"ssl.ca.location": str(broker.ca)}) | {"KAFKA__TOKEN": "aws-msk-iam"}


WAYS = [by_scram, by_certificate, by_oidc, by_aws_iam]


def said(deployment: Deployment, *command: str, code: int = 0, **settings: str) -> str:
    """What a command says that ends with this exit code."""
    done = subprocess.run(
        [sys.executable, "-m", "consumer", *command],
        env=deployment.environ(**settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def present(deployment: Deployment, offer: str) -> None:
    """An offer that is due as soon as it is read; its topic was idle long enough before."""
    deployment.present(offer, session=offer, at=now() - AGE if offer == "first" else now())
    deployment.flush()


def settled(deployment: Deployment, count: int) -> None:
    until(lambda: deployment.committed_total() == count, within=60, what=f"{count} to be settled and committed")


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("way", WAYS)
def test_with_the_rights_of_the_manual_alone_all_works(logins: LoginsBroker, tmp_path: Path, way: object) -> None:
    assert callable(way)
    with deployed(logins.bootstrap_servers, tmp_path, settings=way(logins, tmp_path)) as deployment:
        allow_by_the_manual(logins, deployment)
        assert "note:" not in said(deployment, "topics", "--check")
        present(deployment, "first")
        deployment.produce(deployment.offer_topic, "s1", b"\xff\xffnot avro", now())
        deployment.flush()
        process = deployment.start()
        settled(deployment, 2)
        assert deployment.called() == ["first"]
        assert len(deployment.outcomes()) == 1
        assert len(deployment.dead_letters()) == 1
        assert "a start would go on from here" in said(deployment, "positions")
        range_of_time = ["--from", "2000-01-01T00:00:00Z", "--to", "2100-01-01T00:00:00Z"]
        report = json.loads(said(deployment, "report", *range_of_time, "--output", "json"))
        assert (report["figures"][-1]["opted_out"], report["figures"][-1]["open"]) == (1, 0)
        assert "may not" in report["notes"][-1] or "authoriz" in report["notes"][-1], "no right to read dead letters"
        assert "2000" not in said(deployment, "export", *range_of_time, str(tmp_path / "outcomes"))
        assert process.terminate() == 0
        assert process.lines("kafka") == []
        logins.allow(ResourceType.GROUP, "another-group", AclOperation.READ)
        told = said(deployment, "positions", code=1, KAFKA__GROUP_ID="another-group")
        assert "to start with kafka.start_from all the same" in told, "the outcomes are read where nothing is committed"
        assert "hush-hush" not in process.text()


def test_a_password_changes_at_the_broker_and_in_its_file_and_the_service_goes_on(
    logins: LoginsBroker, tmp_path: Path
) -> None:
    with deployed(logins.bootstrap_servers, tmp_path, settings=by_scram(logins, tmp_path)) as deployment:
        allow_by_the_manual(logins, deployment)
        present(deployment, "first")
        process = deployment.start()
        settled(deployment, 1)
        logins.set_scram_password("second-password")
        until(lambda: causes(process, "refuses the user name or the password"), within=60, what="the old to be refused")
        (tmp_path / "password").write_text("second-password\n")
        until(lambda: process.lines(TAKEN), within=60, what="the new password to be taken")
        present(deployment, "second")
        settled(deployment, 2)
        assert process.running
        assert sorted(deployment.called()) == ["first", "second"]
        assert "second-password" not in process.text()
        assert process.terminate() == 0


def test_a_certificate_that_is_replaced_stops_the_service_in_order_and_the_next_takes_it(
    logins: LoginsBroker, tmp_path: Path
) -> None:
    with deployed(logins.bootstrap_servers, tmp_path, settings=by_certificate(logins, tmp_path)) as deployment:
        allow_by_the_manual(logins, deployment)
        present(deployment, "first")
        process = deployment.start()
        settled(deployment, 1)
        logins.certificate_for(tmp_path, serial=3)
        assert process.popen.wait(60) == 1
        assert process.lines(STOPS)[0]["changed"] == ["ssl.certificate.location", "ssl.key.location"]
        assert process.lines("stopped"), "it stops in order"
        assert "ssl.certificate.location, ssl.key.location of kafka.properties changed" in process.text()
        assert "runbook#a-certificate-or-a-secret-has-changed" in process.text()
        present(deployment, "second")
        deployment.start()
        settled(deployment, 2)
        assert sorted(deployment.called()) == ["first", "second"], "the stop repeats no call"


def test_a_certificate_that_is_out_of_date_is_told_before_and_after_and_a_new_one_mends_it(
    logins: LoginsBroker, tmp_path: Path
) -> None:
    properties = logins.certificate_for(tmp_path, good_for=25)
    ends = validity_of(Path(properties["ssl.certificate.location"]))
    assert ends is not None
    with deployed(logins.bootstrap_servers, tmp_path, settings=at(logins, "MTLS", properties)) as deployment:
        allow_by_the_manual(logins, deployment)
        present(deployment, "first")
        process = deployment.start()
        settled(deployment, 1)
        assert process.lines("kafka: the client certificate ends soon")[0]["ends"] == ends.ends.isoformat()
        until(lambda: datetime.now(UTC) > ends.ends, within=60, what="the end of the certificate")
        present(deployment, "second")
        settled(deployment, 2)  # a connection that stands goes on
        logins.restart()
        until(lambda: causes(process, "does not take our certificate"), within=60, what="new connections to be refused")
        assert process.running
        logins.certificate_for(tmp_path, serial=3)
        assert process.popen.wait(90) == 1
        present(deployment, "third")
        deployment.start()
        settled(deployment, 3)
        assert set(deployment.called()) == {"first", "second", "third"}


@pytest.mark.usefixtures("aws")
def test_without_aws_credentials_a_start_says_so(
    logins: LoginsBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with deployed(logins.bootstrap_servers, tmp_path, settings=by_aws_iam(logins, tmp_path)) as deployment:
        process = deployment.start()
        assert process.popen.wait(60) == 1
        assert "no token of AWS IAM could be made" in process.text()
        assert "there are no AWS credentials" in process.text()
        assert "Traceback" not in process.text()


@pytest.mark.usefixtures("aws")
def test_a_token_that_is_not_to_be_had_is_told_once_and_asked_for_until_it_is(
    logins: LoginsBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, failing = tokens._signed, threading.Event()
    failures: list[float] = []

    def signed() -> tuple[str, float]:
        if failing.is_set():
            failures.append(time.monotonic())
            raise RuntimeError("nobody gives credentials")
        return made()[0], time.time() + 4  # the client asks anew when four fifths of that are over

    monkeypatch.setattr(tokens, "_signed", signed)
    kafka = KafkaSettings.model_validate(
        {
            "bootstrap_servers": logins.servers["MSK"],
            "token": "aws-msk-iam",
            "properties": {"ssl.ca.location": str(logins.ca)},
        }
    )
    ahead = 0.0
    told = Causes(kafka, lambda: time.monotonic() + ahead)
    admin = told.attend(Clients(kafka, told).admin())
    assert admin.list_topics(timeout=20).brokers
    with capture_logs() as lines:
        failing.set()
        until(lambda: len(failures) >= 2, within=60, what="two failures")
        told.look()
        about = [line for line in lines if "no token of AWS IAM" in line.get("cause", "")]
        assert len(about) == 1
        assert about[0]["cause"].endswith("nobody gives credentials")
        failing.clear()
        until(lambda: answers(admin), within=60, what="the client to be let in again")
        ahead = ENDS_AFTER
        told.look()
    ends = [line["cause"] for line in lines if line["event"] == "kafka: this trouble has ended"]
    assert about[0]["cause"] in ends


def test_tokens_of_an_issuer_are_asked_for_again_before_they_end(logins: LoginsBroker) -> None:
    logins.issuer.lifetime = 6
    try:
        kafka = KafkaSettings.model_validate({"bootstrap_servers": logins.servers["OIDC"], "properties": logins.oidc()})
        admin = Clients(kafka, Causes(kafka)).admin()
        before = logins.issuer.given
        until(lambda: logins.issuer.given >= before + 2, within=30, what="two more tokens")
        assert answers(admin)
    finally:
        logins.issuer.lifetime = 300


def causes(process: Process, words: str) -> list[dict[str, object]]:
    return [line for line in process.lines("kafka") if words in line.get("cause", "")]


def answers(admin: AdminClient) -> bool:
    try:
        return bool(admin.list_topics(timeout=1).brokers)
    except KafkaException:
        return False
