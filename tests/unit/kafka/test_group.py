"""A spare member is told from one that has not joined, by what the group's coordinator says."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException

from consumer.kafka.group import INTERVAL, Membership

STABLE = ConsumerGroupState.STABLE


class Admin:
    """Answers when the test says so."""

    def __init__(self) -> None:
        self.asked: list[Future[Any]] = []

    def describe_consumer_groups(self, groups: list[str], request_timeout: float) -> dict[str, Future[Any]]:
        assert groups == ["g"]
        self.asked.append(Future())
        return {"g": self.asked[-1]}


def member(name: str, assigned: int = 0, target: int | None = 0) -> SimpleNamespace:
    def partitions(count: int) -> SimpleNamespace:
        return SimpleNamespace(topic_partitions=list(range(count)))

    return SimpleNamespace(
        member_id=name,
        assignment=partitions(assigned),
        target_assignment=None if target is None else partitions(target),
    )


class Asking:
    def __init__(self) -> None:
        self.now, self.admin = 10.0, Admin()
        self.membership = Membership(self.admin, "g", lambda: self.now)  # type: ignore[arg-type]

    def is_spare(self) -> bool:
        return self.membership.is_spare("me")

    def told(self, *members: SimpleNamespace, state: ConsumerGroupState = STABLE) -> bool:
        """What is made of this answer."""
        assert not self.is_spare(), "nothing is known before the answer"
        self.admin.asked[-1].set_result(SimpleNamespace(state=state, members=members))
        return self.is_spare()


def test_a_member_of_a_stable_group_with_nothing_for_it_is_spare() -> None:
    assert Asking().told(member("other", 2, 2), member("me"))
    assert Asking().told(member("me", target=None)), "a broker may not tell the target"


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (member("other"), STABLE),
        (member("me", assigned=2), STABLE),
        (member("me", target=2), STABLE),
        (member("me"), ConsumerGroupState.PREPARING_REBALANCING),
    ],
)
def test_whoever_is_not_counted_or_has_something_or_may_get_it_is_not(
    found: SimpleNamespace, state: ConsumerGroupState
) -> None:
    assert not Asking().told(found, state=state)


def test_a_broker_that_refuses_is_asked_again_and_told_of_once(capsys: pytest.CaptureFixture[str]) -> None:
    asking = Asking()
    for _ in range(2):
        assert not asking.is_spare()
        asking.admin.asked[-1].set_exception(KafkaException(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED)))
        assert not asking.is_spare()
        asking.now += INTERVAL
    assert capsys.readouterr().out.count("does not tell who is in the group") == 1
    assert asking.told(member("me"))


def test_it_asks_one_question_at_a_time_and_not_at_each_turn() -> None:
    asking = Asking()
    for _ in range(3):
        asking.is_spare()
    assert len(asking.admin.asked) == 1
    asking.admin.asked[0].set_result(SimpleNamespace(state=STABLE, members=[]))
    for _ in range(3):
        asking.is_spare()
    assert len(asking.admin.asked) == 1
    asking.now += INTERVAL
    asking.is_spare()
    assert len(asking.admin.asked) == 2
