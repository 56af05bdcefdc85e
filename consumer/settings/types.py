"""What the groups of settings have in common: their base, durations, and objects given as JSON."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from .durations import parse_duration


def _positive(duration: timedelta) -> timedelta:
    if duration <= timedelta():
        raise ValueError("must be longer than 0")
    return duration


Duration: TypeAlias = Annotated[timedelta, BeforeValidator(parse_duration)]
PositiveDuration: TypeAlias = Annotated[Duration, AfterValidator(_positive)]


class Group(BaseModel):
    """What all groups have in common."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        # A default can be wrong as well: window = 3h makes the default lookback too short.
        validate_default=True,
        hide_input_in_errors=True,
        str_strip_whitespace=True,
    )


def read_json(text: str, right: str) -> Any:
    """Read JSON that was given as text; `right` says what it should have been.

    Raises:
        ValueError: it is none.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        # The error's text gives a position and never the text itself, which may be secret.
        raise ValueError(f"not JSON ({error}); write {right}") from None


def read_object(given: object) -> object:
    """Text from the environment as a JSON object; a table from a TOML file as it is.

    Raises:
        ValueError: the text is none.
    """
    if not isinstance(given, str):
        return given
    value = read_json(given, 'an object such as {"name": …}')
    if not isinstance(value, dict):
        raise ValueError('must be a JSON object such as {"name": …}')
    return value
