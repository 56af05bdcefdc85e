"""Schemas are asked for until they are told, on a thread that nobody waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs
from support import deployment

from consumer.codecs.codec import UNDECODABLE
from consumer.codecs.framing import SchemaId
from consumer.codecs.registry_client import RegistryError, Trouble
from consumer.codecs.schema_source import CAP, AskingSource, SchemaSource
from consumer.codecs.written import WrittenSchema, parse_texts
from consumer.errors import DecodeError, SchemaWaitError, StartError

WRITTEN = parse_texts('"string"')


class FakeRegistry:
    """Answers as the test says, by id; asks that nobody has answered hang.

    Attributes:
        answers: what is given or raised.
        asked: the ids, in order.
    """

    def __init__(self) -> None:
        self.answers: dict[SchemaId, WrittenSchema | Exception] = {}
        self.asked: list[SchemaId] = []
        self.told = threading.Event()
        self.told.set()
        self.jitter = 0.001

    def fetch(self, schema_id: SchemaId) -> WrittenSchema:
        self.asked.append(schema_id)
        self.told.wait()
        answer = self.answers[schema_id]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry()


@pytest.fixture
def source(registry: FakeRegistry) -> Iterator[SchemaSource]:
    source = SchemaSource(registry.fetch, uniform=lambda _, longest: longest * registry.jitter)
    yield source
    registry.told.set()
    source.stop()


def known(source: SchemaSource, schema_id: SchemaId) -> Any:
    """What is given at last."""

    def found() -> Any:
        try:
            return source.get(schema_id)
        except SchemaWaitError:
            return None
        except DecodeError as error:
            return error

    return until(found)


def waits(source: SchemaSource, schema_id: SchemaId) -> str:
    with pytest.raises(SchemaWaitError) as caught:
        source.get(schema_id)
    return str(caught.value)


def until(condition: Callable[[], Any]) -> Any:
    return deployment.until(condition, within=10, what="what the source is to do")


def no_answer() -> RegistryError:
    return RegistryError(Trouble.UNREACHABLE, "connection refused")


def test_who_asks_never_waits_and_is_given_it_once_it_is_known(registry: FakeRegistry, source: SchemaSource) -> None:
    registry.answers[7] = WRITTEN
    registry.told.clear()
    for _ in range(3):
        assert waits(source, 7) == "schema id 7: it is being asked for"
    registry.told.set()
    with capture_logs() as lines:
        assert known(source, 7) is WRITTEN
        assert known(source, 7) is WRITTEN
    assert (registry.asked, lines) == ([7], [])


def test_a_registry_that_does_not_answer_is_asked_again_which_is_told_once_and_so_is_the_end(
    registry: FakeRegistry, source: SchemaSource
) -> None:
    registry.answers[7] = no_answer()
    with capture_logs() as lines:
        waits(source, 7)
        until(lambda: len(registry.asked) > 5)
        assert "the registry does not answer" in waits(source, 7)
        assert "connection refused" in waits(source, 7)
        registry.answers[7] = RegistryError(Trouble.UNKNOWN, "Schema not found")
        until(lambda: "does not know this id" in waits(source, 7))
        registry.answers[7] = WRITTEN
        assert known(source, 7) is WRITTEN
    assert [(line["log_level"], line["event"].partition(":")[0], line["schema_id"]) for line in lines] == [
        ("warning", "a schema is not known", "7"),
        ("warning", "a schema is not known", "7"),
        ("info", "a schema is known", "7"),
    ]
    assert "does not answer" in lines[0]["what"]
    assert lines[0]["error"] == "connection refused"
    assert lines[2]["tries"] > 6


def test_what_cannot_be_read_by_is_final(registry: FakeRegistry, source: SchemaSource) -> None:
    registry.answers[7] = DecodeError(UNDECODABLE, "is no Avro schema")
    for _ in range(3):
        error = known(source, 7)
        assert (error.reason, str(error)) == (UNDECODABLE, "is no Avro schema")
    assert registry.asked == [7]


def test_a_mistake_of_ours_ends_no_thread(registry: FakeRegistry, source: SchemaSource) -> None:
    registry.answers[7] = ZeroDivisionError("oh")
    waits(source, 7)
    until(lambda: "ZeroDivisionError" in waits(source, 7))
    registry.answers[7] = WRITTEN
    assert known(source, 7) is WRITTEN


def test_one_that_is_not_known_holds_up_no_other(registry: FakeRegistry, source: SchemaSource) -> None:
    registry.jitter = 1.0
    registry.answers |= {7: RegistryError(Trouble.UNKNOWN, "Schema not found"), 8: WRITTEN}
    waits(source, 7)
    until(lambda: "does not know" in waits(source, 7))
    assert known(source, 8) is WRITTEN


def test_while_nothing_answers_each_is_not_asked_for_by_itself() -> None:
    """Then each would wait for the same time-out."""
    registry, now = FakeRegistry(), 0.0
    source = SchemaSource(registry.fetch, monotonic=lambda: now, uniform=max)
    source._start = lambda: None  # type: ignore[method-assign]
    for schema_id in (7, 8):
        waits(source, schema_id)
    source._put_off(7, no_answer())
    assert [wait.due for wait in source._waits.values()] == [0.5, 0.5]
    source._put_off(8, no_answer())
    assert [wait.due for wait in source._waits.values()] == [1.0, 1.0]
    source._put_off(7, RegistryError(Trouble.REFUSED, "no"))
    source._put_off(8, no_answer())
    assert [wait.due for wait in source._waits.values()] == [1.0, 1.0]


@pytest.mark.parametrize("trouble", [Trouble.UNREACHABLE, Trouble.UNKNOWN])
def test_the_back_off_doubles_up_to_the_cap_and_is_jittered_in_full(trouble: Trouble) -> None:
    part = 1.0
    source = SchemaSource(FakeRegistry().fetch, monotonic=lambda: 0.0, uniform=lambda _, longest: longest * part)
    source._start = lambda: None  # type: ignore[method-assign]
    waits(source, 7)
    found = []
    for _ in range(2_000):
        source._put_off(7, RegistryError(trouble, "no"))
        found.append(source._waits[7].due)
    assert (found[:8], found[-1]) == ([0.5, 1, 2, 4, 8, 16, 32, CAP], CAP)
    part = 0.25
    source._waits[7].due = 0.0
    source._put_off(7, RegistryError(trouble, "no"))
    assert source._waits[7].due == CAP / 4


def test_it_stops_while_something_waits(registry: FakeRegistry) -> None:
    registry.jitter = 1.0
    registry.answers[7] = no_answer()
    source = SchemaSource(registry.fetch, uniform=lambda *_: 1e6)
    waits(source, 7)
    until(lambda: registry.asked)
    source.stop()
    SchemaSource(registry.fetch).stop()


def test_the_end_waits_for_no_registry_and_what_fails_then_is_no_warning(registry: FakeRegistry) -> None:
    registry.told.clear()
    registry.answers[7] = no_answer()
    source = SchemaSource(registry.fetch)
    waits(source, 7)
    until(lambda: registry.asked)
    source.stop()
    with capture_logs() as logs:
        registry.told.set()
        thread = source._thread
        assert thread is not None
        thread.join(10)
        assert not thread.is_alive()
    assert logs == []


def test_a_command_asks_once_for_an_id_that_is_not_known(registry: FakeRegistry) -> None:
    source = AskingSource(registry.fetch)
    registry.answers[7] = RegistryError(Trouble.UNKNOWN, "404: no such schema")
    for _ in range(3):
        with pytest.raises(SchemaWaitError, match=r"schema id 7: the registry does not know this id.*404"):
            source.get(7)
    assert registry.asked == [7]


def test_a_command_asks_at_once_and_ends_with_the_reason(registry: FakeRegistry) -> None:
    source = AskingSource(registry.fetch)
    registry.answers |= {7: WRITTEN, 8: no_answer(), 9: DecodeError(UNDECODABLE, "is no Avro schema")}
    assert source.get(7) is WRITTEN
    with pytest.raises(StartError, match=r"schema id 8: the registry does not answer.*connection refused"):
        source.get(8)
    with pytest.raises(DecodeError):
        source.get(9)
