"""Who is compared: told the same, and of the versions that the table names."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from benchmarks.whole_way.built import STREAMS
from benchmarks.whole_way.contenders import PEERS, days_loop, product
from brokers.base import kafka_version

from consumer.runtime import run
from consumer.xcover.api import connect

TOPICS: Any = SimpleNamespace(bootstrap="127.0.0.1:9092", offers="o", checkouts="c", dead_letters="d")


def test_kafka_streams_is_of_the_broker_s_version() -> None:
    assert f"<kafka.version>{kafka_version()}</kafka.version>" in (STREAMS / "pom.xml").read_text()


def test_the_service_and_a_peer_have_the_same_spans() -> None:
    ours, theirs = product().environ(TOPICS, "v"), days_loop().environ(TOPICS, "v")
    for span, name in (("WINDOW", "WINDOW"), ("CHECKOUT_GRACE", "GRACE"), ("LATENESS", "LATENESS")):
        assert ours[f"OPT_OUT_JOIN__{span}"] == f"{theirs[f'{name}_MS']}ms"


def test_where_calls_are_answered_in_the_process_is_where_the_service_connects() -> None:
    assert vars(run)["connect"] is connect


def test_the_service_is_told_nothing_by_the_environment_of_the_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPT_OUT_JOIN__ABANDONED", "ignore")
    assert "OPT_OUT_JOIN__ABANDONED" not in product().environ(TOPICS, "v")


@pytest.mark.parametrize(
    "file", ["days_loop.py", "quix_join.py", "kafka_streams/src/main/java/optout/bench/StreamsJoin.java"]
)
def test_a_peer_asks_for_nothing_that_it_is_not_told(file: str) -> None:
    text = (PEERS / file).read_text()
    asked = set(re.findall(r'(?:environ\[|env\(|span\()"(\w+)"', text)) | set(re.findall(r'"(\w+_MS)"', text))
    told = set(days_loop().environ(TOPICS, "v")) | {"STATE", "THREADS"}
    assert len(asked) > 4
    assert asked <= told
