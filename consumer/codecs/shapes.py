"""The fields of our events and their types, by our schemas, for the formats that have no schema of their own.

Types are strict: a number is no text, and nothing is guessed. What is missing and has a default in the schema gets it;
`purchased_offer_ids` has none, so that a field under another name is never taken for "bought nothing".
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple, TypeAlias

from ..errors import DecodeError
from .codec import UNDECODABLE
from .schemas import load_schema

TimeForm: TypeAlias = Literal["iso8601", "s", "ms", "us"]
"""How a time is written: a text with its zone, or a number since 1970. See `input.….time`."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LONGS = range(-(2**63), 2**63)

_ISO_8601 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?"
    r"(?P<zone>[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?"
)
"""A date, a time of day and a zone. Without seconds, as Java writes a full minute, there is no fraction: Python would
take the one of a minute for seconds, and takes anything that stands between the date and the time."""

Reader: TypeAlias = Callable[[Any], Any]
"""Gives a value as our schema has it. Raises `ValueError`, in words, if it is none of this type."""


class FieldShape(NamedTuple):
    """One field of an event.

    Attributes:
        name: ours.
        read: see `Reader`.
        required: it has no default.
        default: what it is where it is missing.
    """

    name: str
    read: Reader
    required: bool
    default: Any


class EventShape:
    """What a document must have to be an event: takes its fields, and checks their types.

    Args:
        schema: the name of ours.
        time: how the event's time is written.
        optional: fields that may be missing though the schema requires them.
    """

    def __init__(self, schema: str, time: TimeForm = "ms", optional: frozenset[str] = frozenset()) -> None:
        self._schema = load_schema(schema)["name"]
        self.fields = tuple(
            FieldShape(
                field["name"],
                _reader_of(field["type"], time),
                "default" not in field and field["name"] not in optional,
                field.get("default", ""),
            )
            for field in load_schema(schema)["fields"]
        )

    def take(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of an event, all of them, from a document that has them by our names.

        Raises:
            DecodeError: one is missing, or has another type; it names the session where the document does.
        """
        found: dict[str, Any] = {}
        for name, read, required, default in self.fields:
            value = document.get(name)
            if value is None:
                if required:
                    raise self._refused(f"it has no {name}", document)
                found[name] = default
                continue
            try:
                found[name] = read(value)
            except ValueError as error:
                raise self._refused(f"{name} {error}", document) from None
        return found

    def _refused(self, why: str, document: Mapping[str, Any]) -> DecodeError:
        session_id = document.get("session_id")
        return DecodeError(
            UNDECODABLE, f"not a {self._schema}: {why}", session_id if isinstance(session_id, str) else None
        )


def _reader_of(kind: Any, time: TimeForm) -> Reader:
    """How a value of this type in our schema is read."""
    if isinstance(kind, list):
        return _text  # of null and string: null is no value
    name = kind if isinstance(kind, str) else kind["type"]
    return {"string": _text, "long": _TIMES[time], "array": _texts, "map": _texts_by_name}[name]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"is {_shown(value)}, and must be a text")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("holds half of a character (a lone surrogate)") from None
    return value


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise ValueError(f"is {_shown(value)}, and must be a list of texts")
    for position, item in enumerate(value):
        try:
            _text(item)
        except ValueError as error:
            raise ValueError(f"[{position}] {error}") from None
    return value


def _texts_by_name(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError(f"is {_shown(value)}, and must be an object of texts")
    texts = {}
    for name, item in value.items():
        if item is None:  # as a mapping leaves it where a path finds nothing
            continue
        try:
            texts[_text(name)] = _text(item)
        except ValueError as error:
            raise ValueError(f"{_shown(name)} {error}") from None
    return texts


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"is {_shown(value)}, and must be a whole number")
    return value


def _bounded(milliseconds: int) -> int:
    if milliseconds not in _LONGS:
        raise ValueError("is beyond all times")
    return milliseconds


def _bounded_seconds(seconds: float) -> float:
    if abs(seconds) > _LONGS.stop / 1_000:
        raise ValueError("is beyond all times")
    return seconds


def _from_milliseconds(value: Any) -> int:
    return _bounded(_whole(value))


def _from_microseconds(value: Any) -> int:
    return _bounded(_whole(value) // 1_000)


def _from_seconds(value: Any) -> int:
    if isinstance(value, float) and math.isfinite(value):  # as most languages give the time
        # Seconds first: their product may be beyond all floats, which cannot be rounded.
        return _bounded(round(_bounded_seconds(value) * 1_000))
    return _bounded(_whole(value) * 1_000)


def _from_iso8601(value: Any) -> int:
    found = _ISO_8601.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise _no_time(value)
    if found["zone"] is None:
        raise ValueError(f"is {_shown(value)}, which does not say its zone: write one, such as Z or +01:00")
    try:
        moment = datetime.fromisoformat(value.upper())
    except ValueError:  # there is no such day, hour or zone
        raise _no_time(value) from None
    return (moment - _EPOCH) // _MILLISECOND


def _no_time(value: Any) -> ValueError:
    return ValueError(f"is {_shown(value)}, and must be a time such as 2026-11-01T12:00:00Z")


_TIMES: Mapping[TimeForm, Reader] = {
    "iso8601": _from_iso8601,
    "s": _from_seconds,
    "ms": _from_milliseconds,
    "us": _from_microseconds,
}


def _shown(value: Any) -> str:
    """A value for a message: not more of it than tells what it is."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    try:
        text = repr(value)
    except ValueError:  # a number of thousands of digits
        return "a number"
    return text if len(text) <= 60 else f"{text[:60]}…"
