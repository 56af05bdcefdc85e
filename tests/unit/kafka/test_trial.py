"""What librdkafka refuses only to who makes a client is refused when settings are checked, and no broker is asked."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from typer.testing import CliRunner

from consumer.cli import app
from consumer.errors import SettingsError
from consumer.kafka import tokens
from consumer.kafka.trial import KINDS, try_clients
from consumer.settings import KafkaSettings

MEMBER, READER, PRODUCER, ADMIN = KINDS
BOTH_CONSUMERS = f"{MEMBER} and {READER}"


def settings(**properties: Any) -> KafkaSettings:
    return KafkaSettings.model_validate({"bootstrap_servers": "127.0.0.1:1", "properties": properties})


def said(kafka: KafkaSettings) -> str:
    with pytest.raises(SettingsError) as caught:
        try_clients(kafka)
    return str(caught.value)


REFUSED = [
    ({"no.such": "x"}, "no.such", "every client"),
    ({"max.poll.interval.ms": 20_000, "session.timeout.ms": 30_000}, "max.poll.interval.ms", BOTH_CONSUMERS),
    ({"max.poll.interval.ms": 20_000}, "max.poll.interval.ms", BOTH_CONSUMERS),
    ({"receive.message.max.bytes": 1_000_000, "fetch.max.bytes": 50_000_000}, "fetch.max.bytes", BOTH_CONSUMERS),
    ({"retries": 0}, "retries", PRODUCER),
    ({"message.send.max.retries": 0}, "message.send.max.retries", PRODUCER),
    ({"linger.ms": 1_000, "message.timeout.ms": 500}, "linger.ms", f"{PRODUCER} and {ADMIN}"),
    ({"queuing.strategy": "lifo"}, "queuing.strategy", PRODUCER),
    ({"enable.gapless.guarantee": True}, "enable.gapless.guarantee", ADMIN),
    ({"security.protocol": "sasl_ssl", "sasl.mechanism": "PLAIN"}, "sasl.mechanism", "every client"),
    ({"security.protocol": "sasl_plaintext"}, "security.protocol", "every client"),
    ({"security.protocol": "ssl", "ssl.ca.location": "/nowhere"}, "ssl.ca.location", "every client"),
    ({"plugin.library.paths": "nowhere"}, "plugin.library.paths", "every client"),
    ({"stats_cb": "x"}, "stats_cb", "every client"),
]


@pytest.mark.parametrize(("properties", "name", "clients"), REFUSED)
def test_a_refusal_names_the_property_and_the_clients(properties: dict[str, Any], name: str, clients: str) -> None:
    text = said(settings(**properties))
    assert text.startswith("1 setting is wrong:\n  OPT_OUT_KAFKA__PROPERTIES (kafka.properties in a TOML file)")
    assert name in text.split("property ")[1].split(": ")[0].split(", ")
    assert text.endswith(f"(refused by {clients})")


def test_what_one_client_has_against_it_stands_beside_what_another_has() -> None:
    text = said(settings(**{"retries": 0, "max.poll.interval.ms": 20_000}))
    assert text.startswith("2 settings are wrong:\n")
    assert text.index("property max.poll.interval.ms: ") < text.index("property retries: ")


def test_a_password_that_librdkafka_repeats_is_hidden() -> None:
    text = said(settings(**{"sasl.password": "no.such", "no.such": "x"}))
    assert '"***"' in text
    text = said(settings(**{"sasl.password": "s3cret", "security.protocol": "s3cret"}))
    assert "s3cret" not in text
    assert "***" in text


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"compression.type": "lz4", "fetch.min.bytes": 2, "client.id": "me", "log_level": 3},
        {"max.poll.interval.ms": 45_000, "session.timeout.ms": 45_000},
        {"receive.message.max.bytes": 50_000_512, "fetch.max.bytes": 50_000_000},
    ],
)
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_what_each_client_takes_is_taken(properties: dict[str, Any], protocol: str) -> None:
    if protocol == "consumer":
        properties = {name: value for name, value in properties.items() if name != "session.timeout.ms"}
    given = {"bootstrap_servers": "b:1", "group_protocol": protocol, "properties": properties}
    try_clients(KafkaSettings.model_validate(given))


def test_no_broker_is_asked() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        try_clients(KafkaSettings(bootstrap_servers=address))
        with socket.create_connection(server.getsockname()) as ours:
            # The first connection that waits is the test's own.
            accepted, peer = server.accept()
            accepted.close()
            assert peer == ours.getsockname()


@pytest.mark.parametrize("command", [["settings"], ["run"], ["topics"], ["positions"]])
@pytest.mark.parametrize(
    "properties", [{"retries": 0}, {"max.in.flight": 100}, *(given for given, _, _ in REFUSED[1:4])]
)
def test_every_command_that_reads_settings_refuses_in_words(
    command: list[str], properties: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPT_OUT_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("OPT_OUT_KAFKA__PROPERTIES", json.dumps(properties))
    monkeypatch.setenv("OPT_OUT_API__AUTH", "none")
    error = CliRunner().invoke(app, command).exception
    assert isinstance(error, SettingsError)
    assert "kafka.properties" in str(error)
    assert next(iter(properties)) in str(error)


def test_a_trial_asks_nobody_for_a_token() -> None:
    """One that is slow, or in trouble, would hold up each command by many seconds for each client."""
    with socket.create_server(("127.0.0.1", 0)) as endpoint:
        endpoint.settimeout(0.5)
        try_clients(
            KafkaSettings(
                properties={
                    "security.protocol": "SASL_SSL",
                    "sasl.mechanism": "OAUTHBEARER",
                    "sasl.oauthbearer.method": "oidc",
                    "sasl.oauthbearer.client.id": "c",
                    "sasl.oauthbearer.client.secret": "s",
                    "sasl.oauthbearer.token.endpoint.url": f"http://127.0.0.1:{endpoint.getsockname()[1]}/token",
                }
            )
        )
        with pytest.raises(TimeoutError):
            endpoint.accept()


def test_a_token_is_asked_for_by_no_client_that_is_made_for_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setattr(tokens, "_signed", lambda: pytest.fail("a token was asked for"))
    kafka = KafkaSettings.model_validate({"bootstrap_servers": "127.0.0.1:1", "token": "aws-msk-iam"})
    try_clients(kafka)
    monkeypatch.setattr(tokens, "_region", lambda: None)
    assert "set AWS_REGION" in said(kafka)
