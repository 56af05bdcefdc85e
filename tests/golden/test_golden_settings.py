"""The settings: their names, defaults, meanings and types. Deployments are configured by them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from golden.nets import hold, hold_json, opt_out

from consumer.settings import Settings


@pytest.fixture(scope="module")
def shown() -> str:
    done = opt_out("settings")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_table_of_the_settings_with_nothing_set(shown: str) -> None:
    hold("settings.txt", shown)


def test_every_name_and_its_default() -> None:
    """Apart from the meanings, which may be put better without changing what anybody relies on."""
    found = json.loads(opt_out("settings", "--output", "json").stdout)["settings"]
    assert {row["source"] for row in found} == {"default"}
    hold_json("settings-defaults.json", {row["setting"]: row["value"] for row in found})


def test_the_schema_of_the_file() -> None:
    """Editors and checks of others hold files against it."""
    hold("settings.schema.json", opt_out("settings", "--schema").stdout)


def test_every_type() -> None:
    """What values a setting takes, by its group and name; the classes that hold them may be named as they like."""
    schema = Settings.model_json_schema()
    types: dict[str, Any] = {}
    for group, reference in schema["properties"].items():
        for name, of in _definition(schema, reference)["properties"].items():
            types[f"{group}.{name}"] = _shape(schema, of)
    hold_json("settings-types.json", types)


def _definition(schema: dict[str, Any], of: dict[str, Any]) -> dict[str, Any]:
    reference = of.get("$ref") or next(part["$ref"] for part in of.get("allOf", ()) if "$ref" in part)
    found: dict[str, Any] = schema["$defs"][reference.rpartition("/")[2]]
    return found


def _shape(schema: dict[str, Any], of: Any) -> Any:
    """A JSON schema without names of classes and without words for people; defaults stand in the other file."""
    if isinstance(of, list):
        return [_shape(schema, part) for part in of]
    if not isinstance(of, dict):
        return of
    if "$ref" in of:
        return _shape(schema, _definition(schema, of))
    words = {"title", "description", "default"}
    return {key: _shape(schema, value) for key, value in of.items() if key not in words or isinstance(value, dict)}
