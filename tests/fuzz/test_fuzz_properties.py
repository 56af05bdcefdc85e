"""`kafka.properties`: whatever librdkafka's own table of settings allows and forbids, a client is made or refused."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from fuzz.fuzzing import fuzz
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from consumer.errors import SettingsError
from consumer.kafka.config import (
    SMALL_FETCHES,
    admin_config,
    consumer_config,
    log_reader_config,
    producer_config,
    record_reader_config,
)
from consumer.kafka.trial import KINDS, try_clients
from consumer.settings import KafkaSettings

WORDS = ("", "x", "/nowhere", 1, True, 1.5, "a\0b", "PLAIN", "SCRAM-SHA-512", "OAUTHBEARER", "GSSAPI", "none", "range")
NO_FILES = re.compile(r"plugin|engine|providers|authentication\.type|token\.endpoint")
"""Not tried: what loads code into this process, or asks another machine for a token."""


def table(folder: Path) -> dict[str, str]:
    """The properties of the librdkafka that is installed, and the range of each, as its manual prints them."""
    (library,) = Path(confluent_kafka.__file__).parents[1].glob("confluent_kafka.libs/librdkafka*.so*")
    file = folder / "properties"
    c = ctypes.CDLL(None)
    c.fopen.restype = ctypes.c_void_p
    out = ctypes.c_void_p(c.fopen(str(file).encode(), b"w"))
    ctypes.CDLL(str(library)).rd_kafka_conf_properties_show(out)
    c.fclose(out)
    rows = [[part.strip() for part in line.split("|")] for line in file.read_text().splitlines()]
    return {row[0]: row[2] for row in rows if len(row) > 5 and re.fullmatch(r"[a-z_.]+", row[0])}


@pytest.fixture(scope="module")
def ranges(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    found = table(tmp_path_factory.mktemp("librdkafka"))
    assert found["session.timeout.ms"] == "1 .. 3600000", "this is not how it prints its table"
    return {name: range_ for name, range_ in found.items() if not NO_FILES.search(name)}


def values(range_: str) -> st.SearchStrategy[Any]:
    """Of a property: what is within its range, at the ends of it, and beyond them."""
    if ends := re.fullmatch(r"(-?\d+) \.\. (\d+)", range_):
        low, high = int(ends[1]), int(ends[2])
        return st.integers(low, high) | st.sampled_from((low - 1, low, high, high + 1)) | st.sampled_from(WORDS)
    return st.sampled_from([*WORDS, *(word.strip() for word in range_.split(",") if word)])


def make_all(kafka: KafkaSettings) -> None:
    """Make each client as the service does."""
    member = consumer_config(kafka, on_error=lambda _: None)
    for config in (member, member | SMALL_FETCHES, record_reader_config(kafka), log_reader_config(kafka)):
        Consumer(config).close()
    Producer(producer_config(kafka))
    AdminClient(admin_config(kafka))


@fuzz(60)
@given(st.data(), st.sampled_from(("classic", "consumer")))
def test_properties_are_refused_in_words_or_every_client_can_be_made(
    ranges: dict[str, str], data: st.DataObject, protocol: str
) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(ranges)), min_size=1, max_size=4, unique=True))
    properties = {name: data.draw(values(ranges[name])) for name in names}
    if data.draw(st.booleans()):
        properties["security.protocol"] = data.draw(st.sampled_from(("ssl", "sasl_ssl", "sasl_plaintext")))
    judge(properties, protocol)


@example({"max.poll.interval.ms": 20_000, "session.timeout.ms": 30_000})
@example({"receive.message.max.bytes": 1_000_000, "fetch.max.bytes": 50_000_000})
@example({"max.in.flight": 100})
@example({"retries": 0})
@fuzz(40)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "max.poll.interval.ms": st.integers(1, 60_000),
            "session.timeout.ms": st.integers(1, 60_000),
            "receive.message.max.bytes": st.integers(1_000, 100_000_000),
            "fetch.max.bytes": st.integers(0, 100_000_000),
            "message.max.bytes": st.integers(1_000, 100_000_000),
            "linger.ms": st.integers(0, 2_000),
            "message.timeout.ms": st.integers(0, 2_000),
            "retries": st.integers(0, 2),
            "retry.backoff.ms": st.integers(1, 2_000),
            "retry.backoff.max.ms": st.integers(1, 2_000),
            "reconnect.backoff.ms": st.integers(0, 2_000),
            "reconnect.backoff.max.ms": st.integers(0, 2_000),
        },
    )
)
def test_properties_that_must_fit_together_are_refused_in_words_or_every_client_can_be_made(
    properties: dict[str, Any],
) -> None:
    judge(properties, "classic")


def judge(properties: dict[str, Any], protocol: str) -> None:
    given = {"bootstrap_servers": "127.0.0.1:1", "group_protocol": protocol, "properties": properties}
    try:
        kafka = KafkaSettings.model_validate({**given, "revoke_timeout": "0s"})
    except ValidationError:
        return
    try:
        try_clients(kafka)
    except SettingsError as error:
        text = str(error)
        assert "kafka.properties" in text
        assert any(name in text for name in properties)
        assert "every client" in text or any(client in text for client in KINDS)
    else:
        make_all(kafka)
