"""From a document of another shape to the fields of our event: a JMESPath expression a field.

A required field, `when` and `each` are read strictly: a path that finds nothing makes the record unreadable, never
empty (see `strict`). A field that has a default in our schema is read as JMESPath has it, and gets the default where
nothing is found.

Where a record holds several presentations, `each` gives their list and the fields are read of each element. All of them
can be read, or the record cannot.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jmespath.visitor import TreeInterpreter

from ..errors import DecodeError
from ..events import MOST_ELEMENTS
from ..settings import InputSettings
from ..settings.expressions import Expression, parse_expression
from .codec import TOO_LARGE, UNDECODABLE, Headers, header_pairs
from .shapes import EventShape
from .strict import StrictInterpreter, is_true


@contextmanager
def of_element(place: int) -> Iterator[None]:
    """Whatever cannot be read is of the element at this place of a record's list, from 0 on."""
    try:
        yield
    except DecodeError as error:
        raise DecodeError(error.reason, f"element {place}: {error}", error.session_id) from error


class FieldMapping:
    """Maps documents of one input.

    Args:
        settings: the expressions.
        shape: of the event.

    Attributes:
        asks_beside: an expression asks for the record's key or headers.
    """

    def __init__(self, settings: InputSettings, shape: EventShape) -> None:
        self._shape = shape
        self._when = None if settings.when is None else parse_expression(settings.when)
        self._by_name = [field.name for field in shape.fields if field.name not in settings.fields]
        # In the order of the schema, where the session comes first: what is wrong behind it names whose record it is.
        self._fields = [
            (field.name, parse_expression(settings.fields[field.name]), _STRICT if field.required else _LENIENT)
            for field in shape.fields
            if field.name in settings.fields
        ]
        used = [expression for _, expression, _ in self._fields] + ([self._when] if self._when else [])
        self.asks_beside = any(expression.beside for expression in used)

    def apply(self, document: dict[str, Any], key: bytes | None, headers: Headers) -> dict[str, Any] | None:
        """The fields of the event; None where it is a record of another kind, by `when`.

        Raises:
            DecodeError: a path of a required field, or of `when`, finds nothing, or a field has a wrong type. It names
                the session where that was found.
        """
        if self.asks_beside:
            document = {**document, **_beside(key, headers)}
        return self.read(document) if self.counts(document) else None

    def counts(self, document: dict[str, Any]) -> bool:
        """Whether `when` is true of it.

        Raises:
            DecodeError: that finds nothing.
        """
        if self._when is None:
            return True
        session = {name: document.get(name) for name in self._by_name if name == "session_id"}
        return is_true(_evaluate(_STRICT, self._when, document, "when", session))

    def read(self, document: dict[str, Any]) -> dict[str, Any]:
        """The fields of the event.

        Raises:
            DecodeError: see `apply`.
        """
        found = {name: document.get(name) for name in self._by_name}
        for name, expression, interpreter in self._fields:
            found[name] = _evaluate(interpreter, expression, document, name, found)
        return self._shape.take(found)


class ElementMapping:
    """Maps documents that hold several events.

    Args:
        settings: the expressions of the fields, which are of an element, and of `when`, which is of the document.
        each: gives the elements.
        shape: of an event.
    """

    def __init__(self, settings: InputSettings, each: str, shape: EventShape) -> None:
        self._mapping = FieldMapping(settings, shape)
        self._each = parse_expression(each)
        self._beside = self._mapping.asks_beside or self._each.beside

    def apply(self, document: dict[str, Any], key: bytes | None, headers: Headers) -> list[dict[str, Any]] | None:
        """The fields of each event, in their order; None where the record is of another kind, by `when`.

        Raises:
            DecodeError: as for one event; or `each` finds nothing or no list, the list is too long, or an element is no
                object.
        """
        beside = _beside(key, headers) if self._beside else {}
        record = {**document, **beside}
        if not self._mapping.counts(record):
            return None
        elements = _evaluate(_STRICT, self._each, record, "each", {})
        if not isinstance(elements, list):
            raise DecodeError(UNDECODABLE, f"each ({self._each.text}) gives no list")
        if len(elements) > MOST_ELEMENTS:
            many = f"{len(elements)} elements, and {MOST_ELEMENTS} is the most that is taken"
            raise DecodeError(TOO_LARGE, f"each ({self._each.text}) gives {many}")
        found = []
        for place, element in enumerate(elements):
            with of_element(place):
                if not isinstance(element, dict):
                    raise DecodeError(UNDECODABLE, "it is no object. Of a list of ids, ids[].{id: @} makes objects")
                found.append(self._mapping.read({**element, **beside, "$record": document}))
        return found


_STRICT, _LENIENT = StrictInterpreter(), TreeInterpreter()


def _evaluate(
    interpreter: TreeInterpreter, expression: Expression, document: dict[str, Any], name: str, found: dict[str, Any]
) -> Any:
    try:
        return interpreter.visit(expression.tree, document)
    except Exception as error:
        # Whatever makes the library raise is no such document: JMESPathError, TypeError of its functions, and others.
        session_id, why = found.get("session_id"), " ".join(str(error).split())
        raise DecodeError(
            UNDECODABLE,
            f"{name} ({expression.text}): {why or type(error).__name__}",
            session_id if isinstance(session_id, str) else None,
        ) from None


def _beside(key: bytes | None, headers: Headers) -> dict[str, Any]:
    return {"$key": _text(key), "$headers": _texts_of(headers)}


def _text(data: bytes | None) -> str | None:
    try:
        return None if data is None else data.decode()
    except UnicodeDecodeError:
        return None


def _texts_of(headers: Headers) -> dict[str, str]:
    """The headers that are text, the last of each name."""
    return {name: text for name, value in header_pairs(headers) if (text := _text(value)) is not None}
