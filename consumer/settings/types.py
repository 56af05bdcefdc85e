"""What the groups of settings have in common: their base, durations, and objects given as JSON.

Durations are written as people write them: `500ms`, `30s`, `5m`, `2h`, `1d`, `1h30m`. They take a few lines of our own,
since the standard library reads none of these, pydantic reads only ISO 8601 (`PT30S`), and the libraries for it are
either unmaintained or so lenient that a typing error reads as some duration.
"""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationInfo, field_validator

_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_PART = re.compile(r"([0-9]+)(ms|s|m|h|d)")
_WHOLE = re.compile(r"(?:[0-9]+(?:ms|s|m|h|d))+")


def parse_duration(text: object) -> timedelta:
    """Read a duration; a `timedelta` is given back as it is, and 0 needs no unit.

    Raises:
        ValueError: it is anything else, a number without a unit included.
    """
    if isinstance(text, timedelta):
        return text
    written = str(text).strip()
    if written in ("0", "0.0", "-0.0"):  # in TOML, 0.0 is a number of its own
        return timedelta()
    if not isinstance(text, str) or not _WHOLE.fullmatch(written):
        raise ValueError("not a duration; write whole numbers with their unit, such as 500ms, 30s, 5m, 2h or 1d")
    try:
        return sum((int(number) * _UNITS[unit] for number, unit in _PART.findall(written)), timedelta())
    except OverflowError:
        raise ValueError("too long for a duration; write one such as 30s, 5m, 2h or 1d") from None


def format_duration(duration: timedelta) -> str:
    """Write a duration so that `parse_duration` reads it back, to the millisecond."""
    left = round(duration / _UNITS["ms"])
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        size = _UNITS[unit] // _UNITS["ms"]
        if left >= size:
            parts.append(f"{left // size}{unit}")
            left %= size
    return "".join(parts) or "0s"


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

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, given: object, info: ValidationInfo) -> object:
        # Python takes true for 1.
        if isinstance(given, bool) and info.field_name and cls.model_fields[info.field_name].annotation in (int, float):
            raise ValueError("must be a number")
        return given


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
