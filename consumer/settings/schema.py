"""The JSON Schema of the TOML file, for editors and for checks before a rollout.

It tells of each setting by itself what it may be: a value that a start takes is valid, and one of a wrong type is not.
What a value has to be beside others, and whether a file that is named is there, `opt-out settings --check` tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from .model import SECRETS, Settings, names
from .types import format_duration

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
# Numbers may be texts, as in the environment, and blanks around any text are none of it.
_DURATION = r"^\s*(([0-9]+(ms|s|m|h|d))+|0)\s*$"
_INTEGER = r"^\s*[+-]?[0-9]+(_[0-9]+)*(\.0+)?\s*$"
_FLOAT = r"^\s*[+-]?([0-9]+(_[0-9]+)*\.?([0-9]+(_[0-9]+)*)?|\.[0-9]+(_[0-9]+)*)([eE][+-]?[0-9]+)?\s*$"
_TRUTHS = ("true", "false", "yes", "no", "on", "off", "t", "f", "y", "n", "1", "0")

_PROPERTY: JsonSchemaValue = {
    "description": "A librdkafka setting. A dotted name without quotes is a table within tables.",
    "anyOf": [
        {"type": ["string", "number", "boolean"]},
        {"type": "object", "additionalProperties": {"$ref": "#/$defs/property"}},
    ],
}


class _TomlSchema(GenerateJsonSchema):
    """Types as the file writes them, which has no null."""

    def timedelta_schema(self, schema: core_schema.TimedeltaSchema) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string", "pattern": _DURATION}, {"const": 0}]}

    def int_schema(self, schema: core_schema.IntSchema) -> JsonSchemaValue:
        return {"anyOf": [super().int_schema(schema), {"type": "string", "pattern": _INTEGER}]}

    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        return {"anyOf": [super().float_schema(schema), {"type": "string", "pattern": _FLOAT}]}

    def bool_schema(self, schema: core_schema.BoolSchema) -> JsonSchemaValue:
        return {"anyOf": [{"type": "boolean"}, {"enum": [0, 1]}, _one_of(_TRUTHS)]}

    def str_schema(self, schema: core_schema.StringSchema) -> JsonSchemaValue:
        text = super().str_schema(schema)
        if "pattern" in text:
            text["pattern"] = rf"^\s*{text['pattern'].removeprefix('^').removesuffix('$')}\s*$"
        return text

    def datetime_schema(self, schema: core_schema.DatetimeSchema) -> JsonSchemaValue:
        return {"type": "string"}  # ISO 8601 has more forms than the format date-time

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def encode_default(self, dft: Any) -> Any:
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def _in_any_case(word: str) -> str:
    """A pattern of the word: there is no flag for it that all validators know."""
    return "".join(f"[{letter.upper()}{letter}]" if letter.isalpha() else letter for letter in word)


def _one_of(words: Sequence[str]) -> JsonSchemaValue:
    return {"type": "string", "pattern": f"^({'|'.join(map(_in_any_case, words))})$"}


def toml_schema() -> dict[str, Any]:
    """The schema (draft 2020-12), with a description and a default of each setting."""
    raw = Settings.model_json_schema(schema_generator=_TomlSchema)
    tables: dict[str, Any] = _inlined(raw, raw["$defs"])
    for group, name in names():
        table = tables
        for part in group.split("."):
            table = table["properties"][part]
            table.pop("default", None)
        setting = table["properties"][name] = _as_written(f"{group}.{name}", table["properties"][name])
        if f"{group}.{name}" in SECRETS:
            table["properties"][f"{name}_file"] = {
                "description": f"A file that holds {name}. {setting['description']}",
                "type": "string",
            }
    return {
        "$schema": _DRAFT,
        "title": "opt-out.toml",
        "description": "The settings of offer-opt-out. What is left out keeps its default.",
        **{key: tables[key] for key in ("type", "properties", "additionalProperties")},
        "$defs": {"property": _PROPERTY},
    }


def _as_written(name: str, setting: JsonSchemaValue) -> JsonSchemaValue:
    """What of a setting its type does not tell."""
    told = {key: setting[key] for key in ("description", "default") if setting.get(key) is not None}
    if name == "log.level":
        return {**told, "anyOf": [{"enum": setting["enum"]}, _one_of(setting["enum"])]}
    if name == "kafka.properties":
        setting = {"type": "object", "additionalProperties": {"$ref": "#/$defs/property"}}
    if setting.get("type") in ("object", "array"):
        # As in the environment, which has texts only.
        of = {key: value for key, value in setting.items() if key not in told}
        return {"default": {}, **told, "anyOf": [of, {"type": "string"}]}
    return {key: value for key, value in setting.items() if key != "default"} | told


def _inlined(of: Any, definitions: dict[str, Any]) -> Any:
    """A schema with its definitions where they are used, and without the names of our classes."""
    if isinstance(of, list):
        return [_inlined(part, definitions) for part in of]
    if not isinstance(of, dict):
        return of
    if "$ref" in of:
        of = {**definitions[of["$ref"].rpartition("/")[2]], **{key: of[key] for key in of if key != "$ref"}}
    found = {}
    for key, value in of.items():
        if key == "properties":
            found[key] = {name: _inlined(inner, definitions) for name, inner in value.items()}
        elif key not in ("title", "$defs"):
            found[key] = _inlined(value, definitions)
    return found
