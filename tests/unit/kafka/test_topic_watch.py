"""Rule 2: a topic that is deleted, or made anew, while running stops the run; in doubt nothing is read on."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from structlog.testing import capture_logs

from consumer.errors import TopicMadeAnewError
from consumer.kafka.topic_watch import INTERVAL, PATIENCE, TopicWatch


class Admin:
    """Answers with these ids when the test says so; an error in place of an id is raised."""

    def __init__(self) -> None:
        self.ids: dict[str, str | KafkaError] = {"offers": "o", "checkouts": "k"}
        self.answers: list[dict[str, Future[Any]]] = []
        self.at_once = True

    def describe_topics(self, topics: TopicCollection, request_timeout: float) -> dict[str, Future[Any]]:
        answers: dict[str, Future[Any]] = {topic: Future() for topic in topics.topic_names}
        self.answers.append(answers)
        if self.at_once:
            self.answer()
        return answers

    def answer(self) -> None:
        for topic, future in self.answers[-1].items():
            told = self.ids[topic]
            if isinstance(told, KafkaError):
                future.set_exception(KafkaException(told))
            else:
                future.set_result(SimpleNamespace(topic_id=told))


class Watched:
    def __init__(self, **ids: str) -> None:
        self.admin, self.now = Admin(), 0.0
        known = ids or {"offers": "o", "checkouts": "k"}
        self.watch = TopicWatch(self.admin, known, lambda: self.now)  # type: ignore[arg-type]

    def look(self, times: int = 2) -> None:
        for _ in range(times):
            self.watch.look()

    @property
    def asked(self) -> int:
        return len(self.admin.answers)


GONE = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
DOWN = KafkaError(KafkaError._TIMED_OUT)


def test_it_asks_once_an_interval_and_waits_for_no_answer() -> None:
    watched = Watched()
    watched.admin.at_once = False
    watched.look(5)
    assert watched.asked == 1
    watched.admin.answer()
    watched.look(5)
    assert watched.asked == 1
    watched.now += INTERVAL
    watched.look()
    assert watched.asked == 2
    assert watched.watch.certain


@pytest.mark.parametrize("topic", ["offers", "checkouts"])
def test_a_topic_with_another_id_stops_the_run(topic: str) -> None:
    watched = Watched()
    watched.look()
    watched.admin.ids[topic] = "another"
    watched.now += INTERVAL
    with pytest.raises(TopicMadeAnewError, match=f"{topic} was deleted and made anew"):
        watched.look()


def test_a_topic_that_is_unknown_twice_was_deleted_and_once_is_a_broker_that_comes_up() -> None:
    watched = Watched()
    watched.admin.ids["offers"] = GONE
    watched.look(4)
    assert (watched.asked, watched.watch.certain) == (1, False)
    watched.admin.ids["offers"] = "o"
    watched.now += INTERVAL
    watched.look()
    assert watched.watch.certain
    for _ in range(2):
        watched.admin.ids["offers"] = GONE
        watched.now += INTERVAL
        watched.watch.look()
    with pytest.raises(TopicMadeAnewError, match="offers was deleted while"):
        watched.look()


def test_in_doubt_it_asks_at_once_and_an_answer_to_an_earlier_question_does_not_count() -> None:
    watched = Watched()
    watched.admin.at_once = False
    watched.look()
    watched.watch.doubt()
    watched.admin.answer()
    watched.look()
    assert (watched.asked, watched.watch.certain) == (2, False)
    watched.admin.answer()
    watched.look()
    assert watched.watch.certain


def test_a_leader_epoch_that_falls_is_a_doubt() -> None:
    watched = Watched()
    watched.look()
    for epoch in (3, 3, 4, None, -1, 4):
        watched.watch.saw_epoch("offers", 0, epoch)
    watched.watch.saw_epoch("offers", 1, 0)
    assert watched.watch.certain
    watched.watch.saw_epoch("offers", 0, 3)
    assert not watched.watch.certain


def test_a_broker_that_does_not_tell_is_reported_once_and_leaves_the_doubt() -> None:
    watched = Watched()
    watched.admin.ids = {"offers": DOWN, "checkouts": "k"}
    watched.watch.doubt()
    with capture_logs() as logs:
        for _ in range(5):
            watched.look()
            watched.now += INTERVAL
    assert [line["log_level"] for line in logs] == ["warning"]
    assert not watched.watch.certain
    watched.admin.ids["offers"] = "o"
    watched.now += INTERVAL
    watched.look()
    assert watched.watch.certain


@pytest.mark.parametrize("error", [DOWN, None], ids=["it cannot be asked", "it keeps silent"])
def test_a_broker_that_has_not_told_for_long_leaves_a_doubt_though_nothing_is_odd(error: KafkaError | None) -> None:
    """Else a topic that was made anew would be read on from for as long as only the ids are not told."""
    watched = Watched()
    watched.look()
    watched.admin.ids["checkouts"] = error or "k"
    watched.admin.at_once = error is not None
    while watched.now < PATIENCE:
        watched.now += INTERVAL
        watched.look()
        assert watched.watch.certain == (watched.now <= PATIENCE)
    watched.now += INTERVAL
    watched.look()
    assert not watched.watch.certain
    watched.admin.ids["checkouts"] = "k"
    if error is None:
        watched.admin.answer()
        watched.admin.at_once = True
        watched.watch.look()
        assert not watched.watch.certain, "that was asked too long ago"
    watched.now += INTERVAL
    watched.look()
    assert watched.watch.certain


def test_a_broker_that_has_no_ids_says_nothing_of_topics_that_were_made_anew() -> None:
    watched = Watched()
    watched.admin.ids["offers"] = "A" * 22
    watched.watch.doubt()
    watched.look(2)
    assert watched.watch.certain


def test_topics_without_known_ids_are_not_watched() -> None:
    watched = Watched(offers="", checkouts="")
    watched.watch.doubt()
    watched.look(3)
    assert (watched.asked, watched.watch.certain) == (0, True)
