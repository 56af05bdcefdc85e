"""Each cause is said once, its end too, and an error about a broker says it.

Real ones are in integration/test_refusals.py.
"""

from __future__ import annotations

import logging
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from structlog.testing import capture_logs

from consumer.errors import OptOutError, SettingsError, StartError, StopError, TopicsError
from consumer.kafka.causes import ENDS_AFTER, Causes
from consumer.settings import KafkaSettings

PASSWORD = (
    "sasl_plaintext://k:1/bootstrap: SASL authentication error: Authentication failed (after 3ms in state AUTH_REQ)"
)
REFUSED = "k:1/1: Connect to ipv4#10.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)"
CLOSED = "k:1/1: Disconnected: connection closed by peer (after 3ms in state UP)"
CERTIFICATE = "ssl://127.0.0.1:1/1: SSL handshake failed: certificate verify failed"
UNANSWERED = "no broker of k:1 answered within 15 s: Failed to get metadata: Local: Broker transport failure."


class Clocked:
    """Causes with a clock that stands until it is moved."""

    def __init__(self, **more: Any) -> None:
        self.now = 1_000.0
        self.causes = Causes(KafkaSettings(), lambda: self.now, **more)

    def hear(self, text: str = PASSWORD, code: int = KafkaError._AUTHENTICATION, **place: Any) -> list[Any]:
        with capture_logs() as lines:
            self.causes.heard(KafkaError(code, text), **place)
        return lines

    def look(self) -> list[Any]:
        with capture_logs() as lines:
            self.causes.look()
        return lines

    def line(self, text: str, level: int = logging.ERROR) -> tuple[bool, list[Any]]:
        record = logging.LogRecord("librdkafka.x", level, "", 0, f"FAIL [me#x-1] [thrd:a]: {text}", None, None)
        with capture_logs() as lines:
            passes = self.causes.passes(record)
        return passes, lines

    def said_by(self, error: OptOutError) -> str:
        with pytest.raises(type(error)) as caught, self.causes.explained():
            raise error
        return str(caught.value)


def test_a_cause_is_said_once_in_words_with_what_to_do() -> None:
    world = Clocked()
    (line,) = world.hear()
    assert (line["event"], line["log_level"], line["code"]) == ("kafka", "warning", "_AUTHENTICATION")
    assert line["broker"] == "k:1"
    assert "refuses the user name or the password" in line["cause"]
    assert "sasl.password" in line["do"]
    assert line["error"] == PASSWORD
    assert world.hear() == []
    assert world.line(PASSWORD) == (False, []), "the line of the log is the same once more"


def test_the_same_of_another_broker_and_another_of_the_same_are_causes_of_their_own() -> None:
    world = Clocked()
    assert len(world.hear()) == len(world.hear(PASSWORD.replace("k:1", "k:2"))) == len(world.hear(REFUSED)) == 1


def test_what_is_not_known_is_said_in_the_client_s_words_once_each() -> None:
    world = Clocked()
    (line,) = world.hear("something new", KafkaError._FAIL, topic="t", partition=3)
    assert (line["error"], line["topic"], line["partition"]) == ("something new", "t", 3)
    assert "cause" not in line
    assert world.hear("something new", KafkaError._FAIL) == []
    assert len(world.hear("something else", KafkaError._FAIL)) == 1


def test_a_cause_ends_when_nobody_complains_any_more_and_is_said_anew_when_it_comes_again() -> None:
    world = Clocked()
    world.hear()
    world.now += ENDS_AFTER - 1
    assert world.look() == []
    world.hear()
    world.now += ENDS_AFTER - 1
    assert world.look() == [], "it was heard again since"
    world.now += 1
    (line,) = world.look()
    assert (line["event"], line["broker"], line["log_level"]) == ("kafka: this trouble has ended", "k:1", "info")
    assert "password" in line["cause"]
    assert world.look() == []
    assert len(world.hear()) == 1


def test_lines_of_the_log_tell_causes_as_errors_do_and_others_pass() -> None:
    world = Clocked()
    passes, lines = world.line(REFUSED)
    assert not passes
    assert ["nobody listens at k:1" in line["cause"] for line in lines] == [True]
    assert world.line("of its own", logging.INFO) == (True, [])
    assert world.line("GETSUBSCRIPTIONS failed", logging.ERROR) == (True, [])


def test_a_connection_that_is_closed_is_no_news_but_a_start_says_what_it_may_mean() -> None:
    world = Clocked()
    assert world.line(CLOSED, logging.INFO) == (True, [])
    assert "as a listener does where one must log in" in world.said_by(StartError(UNANSWERED))
    world.now += ENDS_AFTER
    assert world.look() == [], "its end is no news either"
    assert world.said_by(StartError(UNANSWERED)) == UNANSWERED


def test_what_may_have_many_causes_is_not_said_beside_a_better_word() -> None:
    world = Clocked()
    world.line(CLOSED, logging.INFO)
    world.hear("1/1 brokers are down", KafkaError._ALL_BROKERS_DOWN)
    world.hear()
    text = world.said_by(StartError(UNANSWERED))
    assert text.startswith(f"{UNANSWERED}\n  k:1 refuses the user name or the password")
    assert text.count("\n") == 1


def test_at_most_three_causes_are_said_by_one_error() -> None:
    world = Clocked()
    for n in range(9):
        world.hear(PASSWORD.replace("k:1", f"k:{n}"))
    assert world.said_by(StartError(UNANSWERED)).count("\n") == 3


@pytest.mark.parametrize("error", [TopicsError("the topics do not fit"), StopError("the partition count changed")])
def test_an_error_that_is_not_about_a_broker_stays_as_it_is(error: OptOutError) -> None:
    world = Clocked()
    world.hear()
    assert world.said_by(error) == str(error)


def test_an_error_made_of_one_of_the_client_s_is_about_a_broker() -> None:
    world = Clocked()
    world.hear()

    def ask() -> None:
        try:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        except KafkaException as error:
            raise StartError("no answer") from error

    with pytest.raises(StartError) as caught, world.causes.explained():
        ask()
    assert "sasl.password" in str(caught.value)


def test_a_missing_right_is_explained_from_the_error_itself() -> None:
    text = Clocked().said_by(StopError("t: Broker: Topic authorization failed. Check that it may be read."))
    assert "Allow Read and Describe on offer.presented and checkout.completed" in text


def test_a_wrong_setting_is_no_broker_s_fault() -> None:
    world = Clocked()
    world.hear()
    assert world.said_by(SettingsError("Local: no")) == "Local: no"


def test_without_a_log_nothing_is_said_but_by_the_error() -> None:
    world = Clocked(logs=False)
    assert world.hear() == []
    assert world.line("of its own") == (False, [])
    assert "sasl.password" in world.said_by(StartError(UNANSWERED))


class SpeakingClient:
    """A client that has something to tell when it is polled."""

    def __init__(self, causes: Causes, fails: bool) -> None:
        self.causes, self.fails = causes, fails

    def poll(self, timeout: float) -> None:
        assert timeout == 0
        if self.fails:
            raise KafkaException(KafkaError(KafkaError._AUTHENTICATION, PASSWORD, fatal=True))
        self.causes.heard(KafkaError(KafkaError._AUTHENTICATION, PASSWORD))


@pytest.mark.parametrize("fails", [False, True])
def test_a_client_that_nobody_polls_is_served_and_asked_before_an_error_is_explained(fails: bool) -> None:
    world = Clocked()
    world.causes.attend(SpeakingClient(world.causes, fails))
    assert "sasl.password" in world.said_by(StartError(UNANSWERED))
    other = Clocked()
    other.causes.attend(SpeakingClient(other.causes, fails))
    assert [line["event"] for line in other.look()] == ["kafka"]


def test_a_certificate_is_looked_at_before_it_is_said_and_an_error_waits_for_that() -> None:
    world = Clocked()
    with capture_logs() as lines:
        world.causes.heard(KafkaError(KafkaError._SSL, CERTIFICATE))
        text = world.said_by(StartError(UNANSWERED))
    assert "the certificate of 127.0.0.1:1 is not believed" in text
    assert [line["event"] for line in lines] == ["kafka"]
