"""JMESPath in which nothing is an error: for what a record must have.

JMESPath gives null where a path finds nothing, leaves such elements out of a list, and says that values of different
types differ. With a misspelt name the list of what was bought would be empty, and everything would be called. So here:

- A path that finds nothing is an error, and null is nothing: where a producer leaves a field of Avro's unions of null
  unfilled, it is null and never missing.
- Where a path may find nothing, the expression says so: by a path that stands alone beside `||` or `&&`, behind `!`, or
  in `not_null()`. What stands inside a filter, a comparison or a function is no such path, and a name may be missing in
  an object only. For example, with items of which some have no kind: `items[?kind && kind == 'insurance'].offerId`.
- To compare with null is to ask for it: of ``kind != `null` `` the name has to be there, and its value may be null.
- Values of different types are not compared.
- Only a text and a whole number have one text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jmespath.functions import Functions, signature
from jmespath.visitor import Options, TreeInterpreter

_PATHS = frozenset({"subexpression", "index_expression"})
"""The nodes of a tree that are steps one behind the other, or one step behind something else."""

_CHOICES = frozenset({"or_expression", "and_expression"})

_KINDS: tuple[tuple[str, type | tuple[type, ...]], ...] = (
    ("null", type(None)),
    ("a boolean", bool),  # before the numbers: to Python it is one
    ("a number", (int, float)),
    ("a text", str),
    ("a list", list),
    ("an object", dict),
)


class NothingFoundError(Exception):
    """A path finds nothing, or what cannot be compared or made a text; the text says what."""


class StrictInterpreter(TreeInterpreter):  # type: ignore[misc] # the library has no types
    """JMESPath in which a path that finds nothing is an error. It raises `NothingFoundError` among others."""

    def __init__(self) -> None:
        super().__init__(Options(custom_functions=_StrictFunctions()))

    def visit_field(self, node: Mapping[str, Any], value: Any) -> Any:
        found = _member(node["value"], value)
        if found is None:
            raise NothingFoundError(f"{node['value']!r} is null")
        return found

    def visit_current(self, node: Mapping[str, Any], value: Any) -> Any:
        if value is None:
            raise NothingFoundError("@ is null")
        return value

    def visit_index(self, node: Mapping[str, Any], value: Any) -> Any:
        found = super().visit_index(node, value)
        if found is None:
            raise NothingFoundError(f"there is no element {node['value']}")
        return found

    def visit_slice(self, node: Mapping[str, Any], value: Any) -> Any:
        return super().visit_slice(node, _list(value))

    def visit_flatten(self, node: Mapping[str, Any], value: Any) -> Any:
        _list(self.visit(node["children"][0], value))
        return super().visit_flatten(node, value)

    def visit_projection(self, node: Mapping[str, Any], value: Any) -> list[Any]:
        base, each = node["children"][:2]
        return [self._element(each, element) for element in _list(self.visit(base, value))]

    def visit_filter_projection(self, node: Mapping[str, Any], value: Any) -> list[Any]:
        base, each, condition = node["children"]
        return [
            self._element(each, element)
            for element in _list(self.visit(base, value))
            if is_true(self.visit(condition, element))
        ]

    def visit_value_projection(self, node: Mapping[str, Any], value: Any) -> list[Any]:
        base, each = node["children"][:2]
        values = self.visit(base, value)
        if not isinstance(values, dict):
            raise NothingFoundError("there is no object to take the values of")
        return [self._element(each, element) for element in values.values()]

    def visit_key_val_pair(self, node: Mapping[str, Any], value: Any) -> Any:
        # Of {id: id, price: price} the price may be null. Whoever takes it from there is told.
        return self._or_null(node["children"][0], value)

    def visit_comparator(self, node: Mapping[str, Any], value: Any) -> Any:
        operator, (left, right) = node["value"], node["children"]
        if operator in self._EQUALITY_OPS and (_is_null(left) or _is_null(right)):
            is_equal = self._or_null(left, value) is self._or_null(right, value)
            return is_equal if operator == "eq" else not is_equal
        one, other = self.visit(left, value), self.visit(right, value)
        if operator in self._EQUALITY_OPS:
            return _is_equal(one, other) if operator == "eq" else not _is_equal(one, other)
        if kind_of(one) != kind_of(other) or kind_of(one) not in {"a number", "a text"}:
            raise NothingFoundError(f"there are no two numbers, nor two texts, to compare by {operator}")
        return self.COMPARATOR_FUNC[operator](one, other)

    def visit_or_expression(self, node: Mapping[str, Any], value: Any) -> Any:
        left, right = node["children"]
        found = self._maybe(left, value)
        return found if is_true(found) else self.visit(right, value)

    def visit_and_expression(self, node: Mapping[str, Any], value: Any) -> Any:
        left, right = node["children"]
        found = self._maybe(left, value)
        return self.visit(right, value) if is_true(found) else found

    def visit_not_expression(self, node: Mapping[str, Any], value: Any) -> bool:
        return not is_true(self._maybe(node["children"][0], value))

    def visit_function_expression(self, node: Mapping[str, Any], value: Any) -> Any:
        if node["value"] == "not_null":
            found = next((each for child in node["children"] if (each := self._maybe(child, value)) is not None), None)
        else:
            found = super().visit_function_expression(node, value)
        if found is None:
            raise NothingFoundError(f"{node['value']}() finds nothing")
        return found

    def _element(self, each: Mapping[str, Any], element: Any) -> Any:
        """What is null in a list must not be left out of it: it may be what was bought."""
        found = self.visit(each, element)
        if found is None:
            raise NothingFoundError("an element of the list is null")
        return found

    def _maybe(self, node: Mapping[str, Any], value: Any) -> Any:
        """What a path finds that may find nothing: then null.

        Only its own steps may: in `(items[?type=='x'])[0].id` there may be no first element, but there must be `items`,
        and each of them must have a `type`. And a name is missing in an object only: of what was an object and is a
        list now, nobody knows what it holds.
        """
        kind = node["type"]
        if kind in _PATHS:
            found = value
            for child in node["children"]:
                if (found := self._maybe(child, found)) is None:
                    break
            return found
        if kind in _CHOICES:
            left, right = node["children"]
            found = self._maybe(left, value)
            return self._maybe(right, value) if is_true(found) == (kind == "and_expression") else found
        if kind == "current":
            return value
        if kind == "field" and isinstance(value, dict):
            return value.get(node["value"])
        if kind == "index" and isinstance(value, list):
            return super().visit_index(node, value)
        return self.visit(node, value)

    def _or_null(self, node: Mapping[str, Any], value: Any) -> Any:
        """What a path finds whose last name has to be there, and may be null."""
        if node["type"] in _PATHS:
            *before, last = node["children"]
            for child in before:
                value = self.visit(child, value)
            return self._or_null(last, value)
        if node["type"] == "field":
            return _member(node["value"], value)
        return value if node["type"] == "current" else self.visit(node, value)


class _StrictFunctions(Functions):  # type: ignore[misc] # as above
    """The library's, but for those that would make something of nothing. An argument is null only by a literal."""

    @signature({"types": []})  # type: ignore[untyped-decorator] # as above
    def _func_to_string(self, arg: Any) -> str:
        # 1 and 1.0 are one number with two texts, and of a list, a boolean or null none is an id.
        if kind_of(arg) not in {"a number", "a text"} or isinstance(arg, float):
            found = arg if isinstance(arg, float) else kind_of(arg)
            raise NothingFoundError(f"to_string() takes a text or a whole number, and there is {found}")
        return str(arg)

    @signature({"types": ["array", "string"]}, {"types": []})  # type: ignore[untyped-decorator] # as above
    def _func_contains(self, subject: Any, search: Any) -> bool:
        if isinstance(subject, str):
            return search in subject
        return any(_is_equal(each, search) for each in subject)


def kind_of(value: Any) -> str:
    """What a value is, in words: the types between which nothing is equal."""
    return next((name for name, types in _KINDS if isinstance(value, types)), "bytes")


def is_true(value: Any) -> bool:
    """As JMESPath has it: 0 is true."""
    return not (value is None or value is False or value in ("", [], {}))


def _is_equal(one: Any, other: Any) -> bool:
    if kind_of(one) != kind_of(other):
        raise NothingFoundError(f"{kind_of(one)} is compared with {kind_of(other)}, and would never be equal")
    if isinstance(one, list):
        return len(one) == len(other) and all(_is_equal(*both) for both in zip(one, other, strict=True))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_is_equal(one[name], other[name]) for name in one)
    return bool(one == other)


def _is_null(node: Mapping[str, Any]) -> bool:
    return bool(node["type"] == "literal" and node["value"] is None)


def _member(name: str, value: Any) -> Any:
    if not isinstance(value, dict) or name not in value:
        raise NothingFoundError(f"there is no {name!r}")
    return value[name]


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise NothingFoundError("there is no list to take the elements of")
    return value
