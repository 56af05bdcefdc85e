"""The settings of the inputs: their names, and what is refused before anything is started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from consumer.codecs.schemas import CHECKOUT_COMPLETED, OFFER_PRESENTED, load_schema
from consumer.errors import SettingsError
from consumer.settings import (
    CheckoutInputSettings,
    InputSettings,
    InputsSettings,
    OfferInputSettings,
    load,
    load_settings,
)
from consumer.settings.table import rows


@pytest.mark.parametrize(
    ("model", "schema"), [(OfferInputSettings, OFFER_PRESENTED), (CheckoutInputSettings, CHECKOUT_COMPLETED)]
)
def test_the_fields_that_can_be_mapped_are_those_of_the_schema(model: type[InputSettings], schema: str) -> None:
    assert [field["name"] for field in load_schema(schema)["fields"]] == list(model.names)


def test_a_file_and_the_environment_give_the_same(tmp_path: Path) -> None:
    config = tmp_path / "opt-out.toml"
    config.write_text(
        '[input.checkouts]\nformat = "json"\ntime = "iso8601"\nwhen = "kind == \'done\'"\n'
        '[input.checkouts.fields]\npurchased_offer_ids = "items[?type==\'insurance\'].offerId"\nsession_id = "$key"\n'
    )
    fields = '{"purchased_offer_ids": "items[?type==\'insurance\'].offerId", "session_id": "$key"}'
    environ = {
        "OPT_OUT_INPUT__CHECKOUTS__FORMAT": "json",
        "OPT_OUT_INPUT__CHECKOUTS__TIME": "iso8601",
        "OPT_OUT_INPUT__CHECKOUTS__WHEN": "kind == 'done'",
        "OPT_OUT_INPUT__CHECKOUTS__FIELDS": fields,
    }
    given = load_settings(config, {}).input
    assert given == load_settings(None, environ).input
    assert given.checkouts.fields["session_id"] == "$key"
    assert given.offers == OfferInputSettings()
    assert given.checkouts.maps
    assert not given.offers.maps


def test_the_table_shows_them_and_where_they_come_from() -> None:
    loaded = load(
        None, {"OPT_OUT_INPUT__OFFERS__FORMAT": "json", "OPT_OUT_INPUT__OFFERS__FIELDS": '{"offer_id": "id"}'}
    )
    shown = {row.name: (row.value, row.source) for row in rows(loaded)}
    assert shown["input.offers.format"] == ("json", "environment")
    assert shown["input.offers.fields"] == ("offer_id = id", "environment")
    assert shown["input.checkouts.fields"] == ("(not set)", "default")


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("OFFERS__FORMAT", "xml", "'avro', 'registry' or 'json'"),
        ("OFFERS__FIELDS", "offer_id", "not JSON"),
        ("OFFERS__FIELDS", '{"ofer_id": "id"}', "did you mean offer_id?"),
        ("OFFERS__FIELDS", '{"x": "id"}', "those there are: event_id, session_id"),
        ("OFFERS__FIELDS", '{"offer_id": "offer."}', "offer_id: no JMESPath expression"),
        ("CHECKOUTS__FIELDS", '{"offer_id": "id"}', "offer_id is no field of this event"),
        ("CHECKOUTS__WHEN", "kind =", "JMESPath"),
        ("OFFERS__EACH", "offers[", "JMESPath"),
        ("OFFERS__EACH", "$record.offers", "this is of the record itself"),
        ("OFFERS__WHEN", "$record.kind == 'shown'", "this is of the record itself"),
        ("CHECKOUTS__WHEN", "$record.kind == 'shown'", "this is of the record itself"),
        ("CHECKOUTS__TIME", "ns", "'iso8601', 's', 'ms' or 'us'"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(name: str, value: str, what: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(None, {"OPT_OUT_INPUT__OFFERS__FORMAT": "json", f"OPT_OUT_INPUT__{name}": value})
    assert f"OPT_OUT_INPUT__{name}" in str(caught.value)
    assert what in str(caught.value)


def test_plain_avro_has_our_schema_and_nothing_to_map() -> None:
    with pytest.raises(SettingsError) as caught:
        load(None, {"OPT_OUT_INPUT__OFFERS__TIME": "s", "OPT_OUT_INPUT__OFFERS__WHEN": "kind"})
    assert "input.offers.when, input.offers.time: plain Avro says nothing of its schema" in str(caught.value)


def test_a_group_that_is_none_is_refused_with_the_nearest_setting(tmp_path: Path) -> None:
    config = tmp_path / "opt-out.toml"
    config.write_text('[input.offer]\nformat = "json"\n[input.offers.field]\noffer_id = "id"\n')
    with pytest.raises(SettingsError) as caught:
        load(config, {})
    assert "input.offer in" in str(caught.value)
    assert "input.offers.field in" in str(caught.value)
    assert "did you mean input.offers.fields?" in str(caught.value)


def test_an_offer_record_may_hold_several_and_a_checkout_is_one() -> None:
    given = {"OPT_OUT_INPUT__OFFERS__FORMAT": "json", "OPT_OUT_INPUT__OFFERS__EACH": "offers"}
    found = load_settings(None, given | {"OPT_OUT_INPUT__OFFERS__FIELDS": '{"session_id": "$record.session"}'}).input
    assert (found.offers.each, found.offers.maps, found.checkouts.has_elements) == ("offers", True, False)
    with pytest.raises(SettingsError, match="CHECKOUTS__EACH in the environment is not a setting"):
        load(None, {"OPT_OUT_INPUT__CHECKOUTS__EACH": "carts", "OPT_OUT_INPUT__CHECKOUTS__FORMAT": "json"})
    with pytest.raises(SettingsError, match=r"input\.offers\.each: plain Avro says nothing of its schema"):
        load(None, {"OPT_OUT_INPUT__OFFERS__EACH": "offers"})


@pytest.mark.parametrize("side", ["OFFERS", "CHECKOUTS"])
def test_there_is_no_record_around_a_record(side: str) -> None:
    given = {f"OPT_OUT_INPUT__{side}__FORMAT": "json"}
    given[f"OPT_OUT_INPUT__{side}__FIELDS"] = '{"session_id": "$record.session"}'
    with pytest.raises(SettingsError, match=r"session_id: \$record stands only where input\.offers\.each is set"):
        load(None, given)


JSON: dict[str, Any] = {"format": "json"}
OF_THE_LOG: dict[str, dict[str, Any]] = {
    "offers": {**JSON, "when": "kind == 'shown'"},
    "checkouts": {**JSON, "fields": {"completed_at": "at"}},
}


def mapping(**given: dict[str, Any]) -> str:
    return InputsSettings.model_validate(given).mapping


def test_records_of_our_own_shape_have_no_mapping_however_they_are_framed() -> None:
    assert mapping() == mapping(offers={"format": "registry"}, checkouts={"format": "registry"}) == ""


def test_a_mapping_is_told_by_a_hash_that_stays_the_same_from_version_to_version() -> None:
    assert mapping(**OF_THE_LOG) == "m2599e411.4fa1359b"


@pytest.mark.parametrize(
    ("side", "name", "value"),
    [
        *(("offers", name, "x") for name in ("session_id", "partner_code", "offer_id", "presented_at")),
        *(("checkouts", name, "x") for name in ("session_id", "completed_at", "purchased_offer_ids")),
        ("offers", "when", "x"),
        ("checkouts", "when", "x"),
        ("offers", "time", "s"),
        ("checkouts", "time", "iso8601"),
        ("offers", "format", "registry"),
        ("checkouts", "format", "registry"),
    ],
)
def test_whatever_decides_a_fate_makes_another_mapping(side: str, name: str, value: str) -> None:
    names = (OfferInputSettings if side == "offers" else CheckoutInputSettings).names
    before = OF_THE_LOG[side]
    is_field = name in names
    after = {**before, "fields": {**before.get("fields", {}), name: value}} if is_field else {**before, name: value}
    assert mapping(**OF_THE_LOG) != mapping(**{**OF_THE_LOG, side: after}) != ""


@pytest.mark.parametrize("name", ["event_id", "price", "product_code", "country", "currency", "metadata"])
def test_a_field_that_decides_nothing_makes_another_mapping_too(name: str) -> None:
    """By it a record may be unreadable; what decides a fate is told apart, since 0.8.0 told of nothing else."""
    offers = {**OF_THE_LOG["offers"], "fields": {**OF_THE_LOG["offers"].get("fields", {}), name: "x"}}
    before, after = mapping(**OF_THE_LOG), mapping(**{**OF_THE_LOG, "offers": offers})
    assert before != after
    assert before.partition(".")[0] == after.partition(".")[0]
    assert mapping(offers={"format": "registry", "fields": {name: "x"}}) != ""


def test_a_fields_own_name_written_out_makes_no_other_mapping() -> None:
    own = {"session_id": " session_id ", "price": "price"}
    given = {**OF_THE_LOG, "offers": {**JSON, "fields": {"offer_id": "x"}}}
    assert mapping(**{**given, "offers": {**JSON, "fields": {"offer_id": "x", **own}}}) == mapping(**given)
    assert mapping(**{**given, "offers": {**JSON, "fields": own}}) != mapping(**{**given, "offers": JSON}), "event_id"


def test_the_offers_mapping_is_not_taken_for_that_of_the_checkouts() -> None:
    given = {**JSON, "fields": {"session_id": "x"}}
    assert mapping(offers=given, checkouts=JSON) != mapping(offers=JSON, checkouts=given)
