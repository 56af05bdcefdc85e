"""What is found of the schema registry. At a real one: integration/test_doctor_and_registry.py."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from consumer.checks.registry import ids_of, judge_answer, judge_ids, judge_outcomes, plain_outcomes, unknown_of
from consumer.codecs.codec import UNDECODABLE
from consumer.codecs.framing import HEADER, framed
from consumer.codecs.registry_client import RegistryError, Trouble
from consumer.errors import DecodeError
from consumer.kafka.record import Record

GUID = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")


def record(value: bytes | None, *headers: tuple[str, bytes]) -> Record:
    return Record("offers", 0, 0, 0, b"s", value, headers)


def test_a_registry_that_answers_is_well_and_the_others_say_what_to_do() -> None:
    assert judge_answer("http://r:1", None).level == "ok"
    for trouble in Trouble:
        check = judge_answer("http://r:1", RegistryError(trouble, "so it says"))
        assert check.level == "error"
        assert check.found.startswith("http://r:1: ")
        assert check.found.endswith("(so it says)")
        assert check.remedy.startswith("see ")


def test_ids_are_counted_wherever_they_stand_and_what_has_none_is_left_to_the_reading() -> None:
    head = (HEADER, b"\x01" + GUID.bytes)
    records = [record(framed(7, b"x")), record(framed(7, b"y")), record(b"x", head), record(None), record(b"{}")]
    assert ids_of(records) == {7: 2, GUID: 1}


class KnownSubject:
    """A registry that knows one subject, and the schema of one id."""

    def __init__(self, found: int | None = None, versions: int = 0, fits: bool = False) -> None:
        self._found, self._versions, self._fits = found, versions, fits

    def schema(self, schema_id: int) -> None:
        if schema_id == 8:
            raise RegistryError(Trouble.UNKNOWN, "404")
        if schema_id == 9:
            raise DecodeError(UNDECODABLE, "is a Protobuf schema")

    def find(self, subject: str, text: str) -> int | None:
        assert subject == "offer.outcome-value"
        assert "OfferOutcome" in text
        return self._found

    def versions(self, subject: str) -> int:
        return self._versions

    def takes(self, subject: str, text: str) -> bool:
        return self._fits


def test_an_id_that_is_not_known_is_an_error_and_the_others_are_named() -> None:
    counts = {7: 50, 8: 9, 9: 1}
    unknown = unknown_of(KnownSubject(), counts)  # type: ignore[arg-type]
    assert list(unknown) == [8]
    error, well = judge_ids("offers", counts, unknown)
    assert error.level == "error"
    assert (
        "9 of the newest records of offers have the schema id 8, and the registry does not know this id" in error.found
    )
    assert "avro.registry_url" in error.remedy
    assert (well.level, well.found[-32:]) == ("ok", "offers: 7 (50 records), 9 (1 records)"[-32:])


@pytest.mark.parametrize(
    ("registry", "level", "says", "remedy"),
    [
        (KnownSubject(found=12), "ok", "the schema id 12, ours in the subject offer.outcome-value", ""),
        (KnownSubject(), "error", "has no subject offer.outcome-value", "run `opt-out topics --register`"),
        (
            KnownSubject(versions=2, fits=True),
            "error",
            "has 2 versions, and none is",
            "run `opt-out topics --register`",
        ),
        (KnownSubject(versions=1), "error", "has 1 version, and none is", "give the outcomes a topic of their own"),
    ],
)
def test_the_schema_of_the_outcomes_has_to_be_there(registry: Any, level: str, says: str, remedy: str) -> None:
    check = judge_outcomes(registry, "offer.outcome")
    assert check.level == level
    assert says in check.found
    assert check.remedy.startswith(remedy)


def test_a_registry_that_does_not_tell_of_the_outcomes_is_an_error() -> None:
    class Forbidden(KnownSubject):
        def find(self, subject: str, text: str) -> int | None:
            raise RegistryError(Trouble.REFUSED, "403")

    check = judge_outcomes(Forbidden(), "offer.outcome")  # type: ignore[arg-type]
    assert (check.level, check.found) == ("error", "the subject offer.outcome-value: the registry refuses us (403)")
    assert "may read schemas" in check.remedy


def test_in_plain_avro_it_is_the_one_that_this_version_carries() -> None:
    assert "optout.events.OfferOutcome" in plain_outcomes().found
