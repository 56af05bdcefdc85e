"""Finds and reads the Avro schemas: installed they lie in the package, in a checkout beside it."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from ..errors import StartError

OFFER_PRESENTED = "offer_presented"
CHECKOUT_COMPLETED = "checkout_completed"
OFFER_OUTCOME = "offer_outcome"


@cache
def schema_text(name: str) -> str:
    """The text of `<name>.avsc`.

    Raises:
        StartError: neither place has it.
    """
    package = resources.files(__package__.partition(".")[0])
    for folder in (package / "schemas", package / ".." / "schemas"):
        file = folder / f"{name}.avsc"
        if file.is_file():
            return file.read_text(encoding="utf-8")
    raise StartError(f"the schema {name}.avsc is neither in the installed package nor beside it: install again")


def load_schema(name: str) -> dict[str, Any]:
    """The schema as parsed JSON; a new object at each call, since fastavro's parsing marks it.

    Raises:
        StartError: see `schema_text`.
    """
    schema: dict[str, Any] = json.loads(schema_text(name))
    return schema


def without_logical_types(schema: Any) -> Any:
    """The same schema with raw longs for times: making a datetime of each would take longer than all else."""
    if isinstance(schema, dict):
        bare = {key: without_logical_types(value) for key, value in schema.items() if key != "logicalType"}
        return bare["type"] if set(bare) == {"type"} else bare
    if isinstance(schema, list):
        return [without_logical_types(branch) for branch in schema]
    return schema
