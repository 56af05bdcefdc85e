"""What the demo's faults make of the API's answers, and where they send who looks on."""

from __future__ import annotations

import pytest

from consumer.demo.faults import Faults
from consumer.emulator.scenario import Scenario
from consumer.manual import text_of


@pytest.mark.parametrize(
    ("faults", "answers"),
    [
        (Faults(), ("204", "204")),
        (Faults(api_down=True), ("503", "503")),
        (Faults(forbid="ACME"), ("403", "204")),
        (Faults(api_down=True, forbid="ACME"), ("403", "503")),
        (Faults(silence_checkouts=True), ("204", "204")),
    ],
)
def test_a_forbidden_partner_is_denied_and_the_others_are_answered_as_the_api_is(
    faults: Faults, answers: tuple[str, str]
) -> None:
    scenario = Scenario.parse(faults.scenario("204"))
    assert (scenario.answer("ACME", "o", 1), scenario.answer("HARBOR", "o", 1)) == answers


def test_each_fault_names_an_entry_that_the_runbook_has() -> None:
    entries = [entry for _, entry in Faults(api_down=True, forbid="ACME", silence_checkouts=True).in_words()]
    assert len(entries) == 3
    assert all(text_of(f"runbook#{entry}") for entry in entries)
