"""Which steps the doctor makes by the settings, and what it gives to them. What they find at real edges is told in
integration/test_doctor.py."""

from __future__ import annotations

from typing import Any

import pytest

from consumer.checks import doctor as module
from consumer.checks import registry
from consumer.checks.check import Check
from consumer.checks.doctor import RELEASES, Doctor
from consumer.kafka.causes import Causes
from consumer.kafka.record import Record
from consumer.kafka.topics import TopicFacts
from consumer.runtime.tasks import rules_of
from consumer.settings import Settings

T = 1_800_000_000_000
NOBODY = "127.0.0.1:1"


def doctor(**settings: Any) -> Doctor:
    given = Settings.model_validate({"kafka": {"bootstrap_servers": NOBODY}, **settings})
    return Doctor(given, rules_of(given.join), Causes(given.kafka, logs=False))


def look(examiner: Doctor, name: str) -> list[Check]:
    (step,) = [one for one in examiner.steps() if one.name == name]
    return list(step.look())


def names(examiner: Doctor) -> set[str]:
    return {step.name for step in examiner.steps()}


def test_where_nothing_names_a_registry_none_is_asked() -> None:
    assert registry.NAME not in names(doctor())


@pytest.mark.parametrize("name", ["outcome_format", "format"])
def test_a_registry_that_a_start_needs_is_asked_for_the_outcomes_alone_too(name: str) -> None:
    """With plain inputs nobody reads by it, and a start ends without an id for the outcomes."""
    examiner = doctor(avro={name: "registry", "registry_url": f"http://{NOBODY}"})
    (check,) = look(examiner, registry.NAME)
    assert (check.level, check.name) == ("error", "registry")
    if name == "outcome_format":
        assert look(examiner, registry.OUTCOMES)[0].found == "not looked at: the registry does not tell"


def test_a_release_file_is_looked_at_where_there_is_one() -> None:
    assert RELEASES not in names(doctor())
    assert RELEASES in names(doctor(delivery={"release_file": "/nowhere"}))


@pytest.mark.parametrize(
    ("dead_letter", "bad", "level"),
    [
        ({"max_run": 5}, range(990, 995), "warning"),
        ({"max_run": 5}, range(990, 1000), "error"),
        # As the error of a run that stopped says: raise max_ratio.
        ({"max_ratio": 1.0}, range(1000), "error"),
    ],
)
def test_records_are_judged_by_what_stops_a_run(
    monkeypatch: pytest.MonkeyPatch, dead_letter: dict[str, Any], bad: range, level: str
) -> None:
    event = b'{"event_id": "e", "session_id": "s", "partner_code": "P", "offer_id": "o", "presented_at": %d}' % T
    records = [Record("offer.presented", 0, n, T, b"s", b"no JSON" if n in bad else event) for n in range(1000)]
    monkeypatch.setattr(module, "newest", lambda *_: records)
    examiner = doctor(dead_letter=dead_letter, input={"offers": {"format": "json"}})
    examiner._facts = TopicFacts({"offer.presented": 1}, {}, {}, [], None)
    (check,) = [one for one in look(examiner, "offers") if one.name == "offers"]
    assert check.level == level, check.found
