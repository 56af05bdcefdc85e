"""One step that hangs, fails or cannot be made does not keep the others, and each ends in a line of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

import pytest
from confluent_kafka import KafkaError, KafkaException

from consumer.checks.check import Check
from consumer.checks.examine import Step, examine
from consumer.errors import OptOutError, TopicsError
from consumer.kafka.causes import Causes

WELL = Check("well", "ok", "it is")
AFTER = Step("after", lambda: [WELL], "nobody")


def found(*steps: Step, bound: float = 60.0) -> list[Check]:
    return list(examine(steps, Causes(logs=False), bound))


def failing(error: BaseException) -> Iterable[Check]:
    def look() -> Iterator[Check]:
        yield WELL
        raise error

    return look()


def test_what_the_steps_find_comes_in_their_order() -> None:
    one, two = Check("a", "error", "bad", "mend it"), Check("b", "warning", "odd")
    assert found(Step("first", lambda: [one, two], "nobody"), AFTER) == [one, two, WELL]


def test_a_step_that_hangs_is_an_error_that_names_whom_it_waited_for_and_the_others_go_on() -> None:
    never = threading.Event()

    def hang() -> Iterable[Check]:
        never.wait()
        return [WELL]

    hung, after = found(Step("slow", hang, "an oracle"), AFTER, bound=0.2)
    never.set()
    assert (hung.name, hung.level) == ("slow", "error")
    assert "did not end within 0.2 s" in hung.found
    assert "it waited for an oracle" in hung.found
    assert after == WELL


@pytest.mark.parametrize(
    ("error", "says", "remedy"),
    [
        (TopicsError("they do not fit: mend them"), "they do not fit", "opt-out manual runbook#the-topics-do-not-fit"),
        (OptOutError("no"), "no", "opt-out manual runbook#a-command-failed"),
        (KafkaException(KafkaError(KafkaError._TIMED_OUT)), "the brokers did not answer: Local: Timed out", "runbook#"),
        (ZeroDivisionError("a bug"), "the check failed itself: ZeroDivisionError('a bug')", "report this"),
    ],
)
def test_a_step_that_fails_is_an_error_in_words(error: BaseException, says: str, remedy: str) -> None:
    failed, after = found(Step("fails", lambda: failing(error), "nobody"), AFTER)
    assert (failed.name, failed.level, after) == ("fails", "error", WELL)
    assert says in failed.found
    assert remedy in failed.remedy


def test_what_needs_a_step_that_failed_says_so_and_is_no_error_of_its_own() -> None:
    first = Step("brokers", lambda: failing(OptOutError("no broker")), "the brokers")
    second = Step("topics", lambda: [WELL], "the brokers", needs="brokers")
    third = Step("records", lambda: [WELL], "the brokers", needs="topics")
    assert [(check.name, check.level) for check in found(first, second, third, AFTER)] == [
        ("brokers", "error"),
        ("topics", "warning"),
        ("records", "warning"),
        ("well", "ok"),
    ]


def test_an_error_that_a_step_finds_does_not_keep_what_needs_its_answer() -> None:
    bad = Check("brokers", "error", "one of three is gone")
    assert found(Step("brokers", lambda: [bad], "them"), AFTER._replace(needs="brokers")) == [bad, WELL]
