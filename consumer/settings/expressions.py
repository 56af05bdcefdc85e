"""Where a field is found in a record of another shape: JMESPath, and names for what stands beside the value.

`$key` is the record's key and `$headers` an object of its headers, both as text. Where a record holds several
presentations, a path is of one of them, and `$record` is the whole. They are names at the top of the document, and
stand wherever a name can: `$headers.kind == 'shown'`.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple, NoReturn

_QUOTED_OR_OURS = re.compile(
    r"""'(?:\\.|[^'\\])*'|`(?:\\.|[^`\\])*`|"(?:\\.|[^"\\])*"|(?P<ours>\$(?:key|headers|record)\b)"""
)
"""What is quoted is passed by: a text may hold the same letters."""


class Expression(NamedTuple):
    """A JMESPath expression that was read once.

    Attributes:
        text: as it was given.
        tree: as the library has parsed it.
        beside: it asks for the record's key or headers.
        of_record: it asks for the record that the document is a part of.
    """

    text: str
    tree: dict[str, object]
    beside: bool
    of_record: bool = False


def parse_expression(text: str) -> Expression:
    """Read an expression.

    Raises:
        ValueError: it is no JMESPath; the message has the place. Or what stands in backticks is no JSON.
    """
    import jmespath  # noqa: PLC0415 - most deployments map nothing
    from jmespath.exceptions import JMESPathError  # noqa: PLC0415 - as above
    from jmespath.functions import Functions  # noqa: PLC0415 - as above

    asked: set[str] = set()

    def quoted(found: re.Match[str]) -> str:
        if found[0].startswith("`"):
            _see_that_it_is_json(found[0])
        if found["ours"] is None:
            return found[0]
        asked.add(found["ours"])
        return f'"{found["ours"]}"'

    plain = _QUOTED_OR_OURS.sub(quoted, text)
    try:
        tree = jmespath.compile(plain).parsed
        # The library finds a function that is none only when it is called, which would be once for each record.
        if unknown := _functions_in(tree) - set(Functions.FUNCTION_TABLE):
            raise ValueError(f"JMESPath has no function {sorted(unknown)[0]}()")
        return Expression(text, tree, bool(asked - {"$record"}), "$record" in asked)
    except JMESPathError as error:
        # Its message draws the expression and an arrow below it, over several lines.
        first, *_ = str(error).split(" for expression:")
        raise ValueError(f"no JMESPath expression: {' '.join(first.split())}") from None


def _see_that_it_is_json(literal: str) -> None:
    """What is none is a text to the library, and nobody is told: no value that is true is equal to `True`."""
    try:
        json.loads(literal[1:-1].replace("\\`", "`"), parse_constant=_refuse_constant)
    except ValueError:
        shown = " ".join(literal.split())
        raise ValueError(
            f"no JMESPath expression: {shown} is no JSON. A text stands in quotes, such as 'paid', and what stands in "
            'backticks is JSON, such as `true`, `3` or `"paid"`'
        ) from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON's")


def _functions_in(node: object) -> set[str]:
    if not isinstance(node, dict):
        return set()
    within = {name for child in node.get("children", ()) for name in _functions_in(child)}
    return within | {node["value"]} if node["type"] == "function_expression" else within
