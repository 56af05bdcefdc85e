"""The schema files: found from anywhere, and saying what the events rely on."""

from __future__ import annotations

import pytest

from consumer.codecs import schemas as schema_files
from consumer.codecs.schemas import (
    CHECKOUT_COMPLETED,
    OFFER_OUTCOME,
    OFFER_PRESENTED,
    load_schema,
    without_logical_types,
)
from consumer.errors import StartError
from consumer.events import Mode, Outcome, Reason


@pytest.mark.parametrize(
    ("file", "name"),
    [(OFFER_PRESENTED, "OfferPresented"), (CHECKOUT_COMPLETED, "CheckoutCompleted"), (OFFER_OUTCOME, "OfferOutcome")],
)
def test_each_schema_is_found_wherever_the_program_is_started(
    file: str, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.chdir(str(tmp_path))
    schema_files.schema_text.cache_clear()
    schema = load_schema(file)
    assert (schema["namespace"], schema["name"]) == ("optout.events", name)


def test_a_schema_that_is_missing_is_named() -> None:
    with pytest.raises(StartError, match=r"no_such\.avsc"):
        load_schema("no_such")


def test_times_are_timestamps_in_the_files_and_raw_longs_for_the_reader() -> None:
    schema = load_schema(OFFER_PRESENTED)
    types = {field["name"]: field["type"] for field in schema["fields"]}
    assert types["presented_at"] == {"type": "long", "logicalType": "timestamp-millis"}
    bare = {field["name"]: field["type"] for field in without_logical_types(schema)["fields"]}
    assert bare["presented_at"] == "long"
    assert "logicalType" not in str(without_logical_types(load_schema(OFFER_OUTCOME)))


def test_a_checkout_that_lacks_its_purchases_must_not_read_as_bought_nothing() -> None:
    purchased = next(f for f in load_schema(CHECKOUT_COMPLETED)["fields"] if f["name"] == "purchased_offer_ids")
    assert "default" not in purchased


def test_the_outcome_schema_knows_every_fate_reason_and_mode() -> None:
    symbols = {
        field["name"]: field["type"]["symbols"]
        for field in load_schema(OFFER_OUTCOME)["fields"]
        if isinstance(field["type"], dict) and field["type"]["type"] == "enum"
    }
    assert symbols == {"outcome": list(Outcome), "reason": list(Reason), "mode": list(Mode)}
