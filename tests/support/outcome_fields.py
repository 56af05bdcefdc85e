"""Writes the tables of the manual's page `outcomes` from the schema of the outcomes: a part of `make manual`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from .documents import MANUAL, ROOT

SCHEMA = ROOT / "schemas" / "offer_outcome.avsc"
PAGE = MANUAL / "outcomes.md"

BEGIN, END = "<!-- written by `make manual` from schemas/offer_outcome.avsc -->", "<!-- end -->"
_BLOCK = re.compile(rf"(?<={re.escape(BEGIN)}\n).*?(?={re.escape(END)})", re.DOTALL)


def schema() -> dict[str, Any]:
    """The schema of the outcomes, as the file has it."""
    found: dict[str, Any] = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return found


def fields() -> Iterator[tuple[str, Any, str]]:
    """Name, type and doc of each field, those of records within by their path."""
    for field in schema()["fields"]:
        yield field["name"], field["type"], field["doc"]
        if isinstance(field["type"], dict) and field["type"]["type"] == "record":
            for inner in field["type"]["fields"]:
                yield f"{field['name']}.{inner['name']}", inner["type"], inner["doc"]


def symbols() -> Iterator[tuple[str, str, str]]:
    """Field, symbol and meaning of each symbol, as the doc of its enum tells them.

    Raises:
        ValueError: a doc does not tell each symbol once, in their order.
    """
    for name, kind, _ in fields():
        if isinstance(kind, dict) and kind["type"] == "enum":
            told = re.findall(r"\b([A-Z_]{4,}): (.*?)(?= [A-Z_]{4,}: |$)", kind["doc"])
            if [symbol for symbol, _ in told] != kind["symbols"]:
                raise ValueError(f"the doc of {kind['name']} tells of {[symbol for symbol, _ in told]}")
            yield from ((name, symbol, meaning) for symbol, meaning in told)


def tables() -> str:
    """What stands between the two marks."""
    rows = "".join(f"| `{name}` | {_kind(kind)} | {doc} |\n" for name, kind, doc in fields())
    of_symbols = "".join(f"| `{name}` | {symbol} | {meaning} |\n" for name, symbol, meaning in symbols())
    return (
        f"\n| field | type | what it is |\n|---|---|---|\n{rows}"
        f"\n| field | symbol | what it means |\n|---|---|---|\n{of_symbols}\n"
    )


def shown() -> str:
    """What the page has there."""
    (found,) = _BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    return str(found)


def main() -> None:
    """Write the page anew."""
    PAGE.write_text(_BLOCK.sub(lambda _: tables(), PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def _kind(kind: Any) -> str:
    if isinstance(kind, list):
        return " or ".join(_kind(one) for one in reversed(kind))
    if isinstance(kind, dict):
        return "time" if "logicalType" in kind else str(kind["type"])
    return str(kind)


if __name__ == "__main__":
    main()
