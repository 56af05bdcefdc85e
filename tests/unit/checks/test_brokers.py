"""Who answers, at which addresses, and until when certificates are good."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from consumer.checks.brokers import DAY, SOON, judge_cluster, judge_listeners, reach
from consumer.errors import StartError
from consumer.kafka.listeners import Listener
from consumer.settings import KafkaSettings

NOW = 1_800_000_000.0


def test_the_cluster_is_named_with_its_brokers() -> None:
    brokers = {n: SimpleNamespace(host=f"kafka-{n}", port=9092) for n in (2, 1)}
    check = judge_cluster(SimpleNamespace(brokers=brokers, cluster_id="abc"))  # type: ignore[arg-type]
    assert (check.level, check.found) == ("ok", "2 brokers of cluster abc: kafka-1:9092, kafka-2:9092")


def test_a_cluster_that_does_not_answer_is_an_error_that_names_the_setting() -> None:
    class Silent:
        def list_topics(self, timeout: float) -> Any:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    with pytest.raises(StartError, match=r"no broker of kafka:9092 answered within .*kafka\.bootstrap_servers"):
        reach(Silent(), KafkaSettings(bootstrap_servers="kafka:9092"))  # type: ignore[arg-type]


def test_an_address_that_leads_nowhere_is_an_error_that_names_it() -> None:
    (error,) = judge_listeners([Listener("a:1"), Listener("b:2", refused="Connection refused")], NOW)
    assert error.level == "error"
    assert "b:2, and nothing is reached there from here (Connection refused)" in error.found
    assert "advertised.listeners" in error.remedy


def test_addresses_without_tls_are_well_and_nothing_is_said_of_certificates() -> None:
    assert [(check.name, check.level) for check in judge_listeners([Listener("a:1")], NOW)] == [("listeners", "ok")]


@pytest.mark.parametrize(("left", "level"), [(SOON - 1, "warning"), (SOON, "ok")])
def test_the_certificate_that_ends_first_counts(left: float, level: str) -> None:
    found = list(judge_listeners([Listener("a:1", expires=NOW + 90 * DAY), Listener("b:2", expires=NOW + left)], NOW))
    assert [check.name for check in found] == ["listeners", "certificates"]
    assert found[1].level == level
    assert "the certificate of b:2 ends on 2027-01-29, in 14 days" in found[1].found


def test_a_certificate_that_cannot_be_looked_at_is_a_warning() -> None:
    found = list(judge_listeners([Listener("a:1", unknown="unknown CA")], NOW))
    assert [check.level for check in found] == ["ok", "warning"]
    assert "a:1 ends is not known: unknown CA" in found[1].found
