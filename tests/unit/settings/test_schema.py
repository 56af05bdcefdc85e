"""The JSON Schema of the TOML file takes what the loader takes, and refuses what the loader refuses by its type."""

from __future__ import annotations

import json
import tomllib
from datetime import date, datetime, time
from operator import attrgetter
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError
from support.documents import examples as documented
from support.strategies import examples

from consumer.errors import SettingsError
from consumer.settings import Settings, load_settings
from consumer.settings.model import SECRETS, names
from consumer.settings.schema import toml_schema

SCHEMA = toml_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
SETTINGS = [f"{group}.{name}" for group, name in names()]


def as_json(value: Any) -> Any:
    """What a validator of TOML files is given: JSON has no times, which are texts to it."""
    if isinstance(value, dict):
        return {key: as_json(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [as_json(inner) for inner in value]
    return value.isoformat() if isinstance(value, datetime | date | time) else value


def faults(text: str) -> list[str]:
    """Where a TOML file breaks the schema."""
    return [".".join(map(str, error.path)) for error in VALIDATOR.iter_errors(as_json(tomllib.loads(text)))]


def schema_of(name: str) -> dict[str, Any]:
    found = SCHEMA
    for part in name.split("."):
        found = found["properties"][part]
    return found


def table_of(name: str, value: Any) -> dict[str, Any]:
    """The tables of a file that gives this setting alone."""
    for part in reversed(name.split(".")):
        value = {part: value}
    return value


# --- what is in it


def test_it_is_a_schema_of_the_draft_that_it_names() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


def test_each_setting_is_described_and_each_secret_may_be_a_file() -> None:
    for name in SETTINGS:
        assert schema_of(name)["description"], name
    for name in SECRETS:
        assert schema_of(f"{name}_file")["type"] == "string"
    assert set(schema_of("join")["properties"]) == set(type(Settings().join).model_fields)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_default_is_what_the_file_would_say(name: str, tmp_path: Path) -> None:
    default = attrgetter(name)(Settings())
    shown = schema_of(name).get("default")
    if shown is None:
        assert default is None
        return
    VALIDATOR.validate(table_of(name, shown))
    assert attrgetter(name)(Settings.model_validate(table_of(name, shown))) == default


def test_durations_are_written_as_people_write_them() -> None:
    assert schema_of("join.window")["default"] == "30m"
    assert schema_of("join.lookback")["default"] == "2h"


# --- files


def test_the_examples_of_the_manual_are_valid() -> None:
    found = [text for text in documented("toml") if "[[release]]" not in text]
    assert found
    for text in found:
        assert faults(text) == []


GOOD = """
[kafka]
bootstrap_servers = "kafka-1:9092,kafka-2:9092"
start_from = 2026-11-01T00:00:00Z
properties.sasl.mechanism = "PLAIN"
properties."fetch.min.bytes" = 5
properties."enable.ssl.certificate.verification" = true
[join]
window = "1h30m"
checkout_silence = 0
[api]
secret_file = "/run/secrets/api"
key = "k"
metadata_keys = ["tier", "channel"]
[api.credentials]
ACME = { key = "k", secret = "s" }
[delivery]
rate_limit = 2.5
concurrency = "64"
[log]
level = "WARNING"
"""


def test_a_file_that_uses_every_kind_of_value_is_valid(tmp_path: Path) -> None:
    assert faults(GOOD) == []
    file = tmp_path / "opt-out.toml"
    file.write_text(GOOD.replace("/run/secrets/api", str(tmp_path / "secret")), encoding="utf-8")
    (tmp_path / "secret").write_text("hush", encoding="utf-8")
    load_settings(file, {}, for_kafka=True, for_api=True)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[joins]\nwindow = '1h'", ""),
        ("[join]\nwindows = '1h'", "join"),
        ("join = '1h'", "join"),
        ("[join]\nwindow = 30", "join.window"),
        ("[join]\nwindow = '30'", "join.window"),
        ("[join]\nwindow = 'soon'", "join.window"),
        ("[join]\nwindow_file = 'f'", "join"),
        ("[join]\nabandoned = 'forget'", "join.abandoned"),
        ("[delivery]\nconcurrency = 0", "delivery.concurrency"),
        ("[delivery]\nconcurrency = 1.5", "delivery.concurrency"),
        ("[delivery]\nconcurrency = true", "delivery.concurrency"),
        ("[server]\nport = 65536", "server.port"),
        ("[api]\nuse_date = 'perhaps'", "api.use_date"),
        ("[api]\nsecret_file = 7", "api.secret_file"),
        ("[api.credentials]\nACME = { key = 'k' }", "api.credentials"),
        ("[api.credentials]\nACME = { key = 'k', secret = 's', more = 1 }", "api.credentials"),
        ("[kafka]\noffer_topic = 'a topic'", "kafka.offer_topic"),
        ("[kafka.properties]\na = ['b']", "kafka.properties"),
        ("[log]\nlevel = 'loud'", "log.level"),
    ],
)
def test_a_wrong_file_is_invalid_at_its_place_and_refused_by_the_loader(text: str, place: str, tmp_path: Path) -> None:
    assert faults(text) == [place]
    file = tmp_path / "opt-out.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError):
        load_settings(file, {})


# --- any value

BY_TYPE = ("_type", "_parsing", "literal_error", "extra_forbidden", "missing", "int_from_float")
"""How pydantic's kinds of errors end that are about the type of a value."""

OURS = ("such as 500ms, 30s, 5m, 2h or 1d", "must be a number")
"""And how ours do."""

NUMBERS = ["0", "64", " 7 ", "1_000", "+5", "-1", "2.5", "64.0", "5.", ".5", "1e3", "1_0.5", "1__0", "_1", "0x10", "05"]
WORDS = [
    "",
    "x",
    "true",
    "YES",
    "Off",
    "T",
    " on ",
    "1h",
    "1h30m",
    " 5m ",
    "5 m",
    "latest",
    "WARNING",
    "json",
    "{}",
    "[]",
]
TEXTS = st.sampled_from(NUMBERS + WORDS) | st.text(
    st.characters(codec="ascii", categories=["L", "N", "P", "S"]), max_size=6
)
SCALARS = (
    TEXTS | st.booleans() | st.integers(-2, 70_000) | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0.0, -0.0, 1.0, 64.0])
)  # fmt: skip
VALUES = (
    SCALARS
    | st.lists(SCALARS, max_size=2)
    | st.dictionaries(TEXTS, SCALARS | st.dictionaries(TEXTS, SCALARS), max_size=2)
)


def mistakes(name: str, value: Any) -> list[Any]:
    """What the loader has against the value; only that of this setting."""
    try:
        Settings.model_validate(table_of(name, value))
    except ValidationError as error:
        found = error.errors(include_url=False)
        return [one for one in found if ".".join(map(str, one["loc"])).startswith(name)]
    return []


@examples(500)
@given(st.sampled_from(SETTINGS), VALUES)
@example("join.window", 0.0)
@example("delivery.concurrency", True)
@example("delivery.rate_limit", True)
@example("api.use_date", 1.0)
def test_what_the_loader_takes_is_valid_and_what_it_refuses_by_type_is_not(name: str, value: Any) -> None:
    is_valid = VALIDATOR.is_valid(table_of(name, value))
    refused = mistakes(name, value)
    if not refused:
        assert is_valid
    elif any(one["type"].endswith(BY_TYPE) or one["msg"].endswith(OURS) for one in refused):
        assert not is_valid
