"""What the brokers say that this client may do. Real ones, with an authorizer, are in integration/test_rights.py."""

from __future__ import annotations

import time
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AclOperation, AdminClient

from consumer.demo.broker import embedded_broker, make_topics
from consumer.kafka.rights import Rights, rights_of

INPUTS = ("offer.presented", "checkout.completed")
TOPICS = ("offer.outcome", "opt-out.dead-letter")
ALL = [AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE]


class Admin:
    """Answers by topic or group: with operations, with None, or with the code of an error."""

    def __init__(self, answers: dict[str, list[AclOperation] | int | None], controller: int = 1) -> None:
        self.answers, self.controller = answers, controller

    def list_topics(self, timeout: float) -> Any:
        return SimpleNamespace(controller_id=self.controller, brokers={1: None})

    def describe_topics(self, topics: Any, include_authorized_operations: bool, request_timeout: float) -> Any:
        assert include_authorized_operations
        return {name: self._answer(name) for name in (*INPUTS, *TOPICS)}

    def describe_consumer_groups(
        self, groups: list[str], include_authorized_operations: bool, request_timeout: float
    ) -> Any:
        assert include_authorized_operations
        return {name: self._answer(name) for name in groups}

    def _answer(self, name: str) -> Future[Any]:
        answer: Future[Any] = Future()
        told = self.answers.get(name, ALL)
        if isinstance(told, int):
            answer.set_exception(KafkaException(KafkaError(told)))
        else:
            answer.set_result(SimpleNamespace(authorized_operations=told))
        return answer


def asked(controller: int = 1, **answers: list[AclOperation] | int | None) -> Rights:
    named = {name.replace("__", ".").replace("_", "-"): told for name, told in answers.items()}
    return rights_of(Admin(named, controller), INPUTS, TOPICS, "g")  # type: ignore[arg-type]


def test_where_everything_is_allowed_all_of_it_may_be_done() -> None:
    assert asked() == Rights(dict.fromkeys(INPUTS, True), dict.fromkeys(TOPICS, True), True)


@pytest.mark.parametrize("told", [[AclOperation.DESCRIBE], KafkaError.TOPIC_AUTHORIZATION_FAILED])
def test_a_topic_that_may_not_be_written_to_is_told_whether_it_may_be_seen_or_not(told: Any) -> None:
    assert asked(offer__outcome=told).write == {"offer.outcome": False, "opt-out.dead-letter": True}


@pytest.mark.parametrize("told", [[AclOperation.DESCRIBE], KafkaError.TOPIC_AUTHORIZATION_FAILED])
def test_an_input_that_may_not_be_read_is_told_whether_it_may_be_seen_or_not(told: Any) -> None:
    assert asked(checkout__completed=told).read == {"offer.presented": True, "checkout.completed": False}


@pytest.mark.parametrize("told", [[AclOperation.DESCRIBE], KafkaError.GROUP_AUTHORIZATION_FAILED])
def test_a_group_that_may_not_be_read_is_told_whether_it_may_be_seen_or_not(told: Any) -> None:
    assert asked(g=told).read_group is False


@pytest.mark.parametrize("told", [None, [], KafkaError._TIMED_OUT, KafkaError._UNSUPPORTED_FEATURE])
def test_what_the_brokers_do_not_tell_is_neither_allowed_nor_forbidden(told: Any) -> None:
    rights = asked(offer__outcome=told, g=told)
    assert (rights.write["offer.outcome"], rights.write["opt-out.dead-letter"], rights.read_group) == (None, True, None)
    assert len(rights.untold) == (2 if isinstance(told, int) else 0)


def test_a_cluster_without_a_controller_is_not_asked() -> None:
    rights = asked(controller=-1, g=KafkaError.GROUP_AUTHORIZATION_FAILED)
    assert rights[:3] == (dict.fromkeys(INPUTS), dict.fromkeys(TOPICS), None)


def test_the_mock_cluster_does_not_tell_and_is_not_waited_for() -> None:
    with embedded_broker() as bootstrap:
        make_topics(bootstrap, (*INPUTS, *TOPICS))
        began = time.monotonic()
        rights = rights_of(AdminClient({"bootstrap.servers": bootstrap}), INPUTS, TOPICS, "g")
    assert time.monotonic() - began < 10, "it was waited for"
    assert rights[:3] == (dict.fromkeys(INPUTS), dict.fromkeys(TOPICS), None)
    assert rights.untold
