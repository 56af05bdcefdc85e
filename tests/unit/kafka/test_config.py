"""What each client is configured with, and that no client complains of another one's properties."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from consumer.kafka.config import (
    admin_config,
    consumer_config,
    log_reader_config,
    producer_config,
    record_reader_config,
    unless_ignored,
)
from consumer.settings import KafkaSettings
from consumer.settings.kafka import REFUSED_PROPERTIES

OF_CONSUMERS = {"session.timeout.ms": 6_000, "fetch.min.bytes": 2, "check.crcs": True, "max.poll.interval.ms": 310_000}
OF_PRODUCERS = {"linger.ms": 7, "partitioner": "murmur2", "compression.type": "lz4", "message.timeout.ms": 9_000}
ANYBODYS = {"client.id": "me", "socket.keepalive.enable": True, "retry.backoff.ms": 90}
DEPRECATED = {"socket.blocking.max.ms": 10}
GIVEN = {**OF_CONSUMERS, **OF_PRODUCERS, **ANYBODYS, **DEPRECATED}

Make = Callable[[dict[str, Any]], Any]


def settings(**properties: Any) -> KafkaSettings:
    return KafkaSettings.model_validate({"bootstrap_servers": "127.0.0.1:1", "properties": properties})


def group_config(kafka: KafkaSettings) -> dict[str, Any]:
    return consumer_config(kafka, on_error=lambda _: None)


CLIENTS = [
    pytest.param(Consumer, group_config, id="consumer"),
    pytest.param(Consumer, record_reader_config, id="record reader"),
    pytest.param(Consumer, log_reader_config, id="log reader"),
    pytest.param(Producer, producer_config, id="producer"),
]


def warnings_of(make: Make, config: dict[str, Any]) -> list[str]:
    """What librdkafka says of the configuration when such a client is made, as far as the client's logger lets it."""
    told: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    config["logger"].addHandler(handler)
    try:
        client = make(config)
        client.poll(0.05)
        if isinstance(client, Consumer):
            client.close()
    finally:
        config["logger"].removeHandler(handler)
    return [line for line in told if "CONFWARN" in line]


@pytest.mark.parametrize(("make", "configured"), CLIENTS)
def test_no_client_complains_of_what_belongs_to_another(make: Make, configured: Any) -> None:
    config = configured(settings(**GIVEN))
    (told,) = warnings_of(make, config)
    assert "socket.blocking.max.ms is deprecated" in told


@pytest.mark.parametrize(("make", "configured"), CLIENTS)
def test_it_is_the_filter_that_keeps_these_lines_away(make: Make, configured: Any) -> None:
    config = configured(settings(**GIVEN))
    unfiltered = logging.Logger("unfiltered")
    others = OF_PRODUCERS if make is Consumer else OF_CONSUMERS
    told = warnings_of(make, config | {"logger": unfiltered})
    assert len([line for line in told if "property and will be ignored by this" in line]) >= len(others)


def test_a_logger_is_filtered_once_however_often_it_is_asked_for() -> None:
    for _ in range(3):
        logger = producer_config(settings())["logger"]
    assert logger.filters.count(unless_ignored) == 1


@pytest.mark.parametrize(("make", "configured"), CLIENTS)
def test_each_client_is_given_what_the_settings_pass_through(make: Make, configured: Any) -> None:
    assert configured(settings(**GIVEN)).items() >= GIVEN.items()


@pytest.mark.parametrize(
    ("make", "harmful"),
    [
        (Consumer, {"message.timeout.ms": 1, "linger.ms": 100}),
        (Consumer, {"retries": 0}),
        (Producer, {"session.timeout.ms": 400_000, "max.poll.interval.ms": 300_000}),
        (Producer, {"fetch.max.bytes": 1}),
    ],
)
def test_what_belongs_to_another_client_does_no_harm(make: Make, harmful: dict[str, Any]) -> None:
    """Properties that do not fit together: the client to which they belong refuses to be made, no other."""
    owner, other = (producer_config, group_config) if make is Consumer else (group_config, producer_config)
    with pytest.raises(KafkaException):
        (Producer if make is Consumer else Consumer)(owner(settings(**harmful)))
    client = make(other(settings(**harmful)))
    if make is Consumer:
        client.close()


def test_an_admin_client_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    AdminClient(admin_config(settings(**GIVEN))).poll(0.05)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("configured", [group_config, record_reader_config, log_reader_config, producer_config])
def test_no_property_undoes_what_a_promise_rests_on(configured: Any) -> None:
    """The settings refuse these properties; should one get through, the promise wins all the same."""
    undone = dict.fromkeys(REFUSED_PROPERTIES, "undone")
    config = configured(KafkaSettings.model_construct(bootstrap_servers="b", properties=undone))
    promised = set(configured(KafkaSettings.model_construct(bootstrap_servers="b")))
    assert not {name for name in promised & REFUSED_PROPERTIES.keys() if config[name] == "undone"}
    assert {"bootstrap.servers"} <= promised & REFUSED_PROPERTIES.keys()
