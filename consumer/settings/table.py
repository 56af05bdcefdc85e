"""What `opt-out settings` shows: every setting, its value with secrets hidden, and where the value came from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, NamedTuple

from ..output import Column, Document, TableShown
from ..settings import Loaded
from .model import SECRETS, names
from .network import without_password
from .types import format_duration

HIDDEN = "(hidden)"
NOT_SET = "(not set)"

_SECRET_PROPERTY = re.compile(r"password|secret|token|jaas|\.key|\.pem|oauth", re.IGNORECASE)


class Row(NamedTuple):
    """One setting as it is shown; `source` is `default`, `environment` or a file."""

    name: str
    value: str
    source: str
    meaning: str


def rows(loaded: Loaded) -> Iterator[Row]:
    """Every setting, in the order of the groups."""
    for group, name in names():
        model = attrgetter(group)(loaded.settings)
        full = f"{group}.{name}"
        yield Row(
            full,
            _shown(full, getattr(model, name)),
            loaded.origins.get(full, "default"),
            type(model).model_fields[name].description or "",
        )


def document(loaded: Loaded) -> Document:
    """The rows, and the variables that are not ours and change how the API is reached, if any is set."""
    tables = {
        "settings": TableShown(
            "Settings in force",
            [Column(name, name) for name in ("setting", "value", "source", "meaning")],
            list(rows(loaded)),
            "join.window is OPT_OUT_JOIN__WINDOW in the environment, and window in table [join] of a TOML file",
        )
    }
    if loaded.outside:
        tables["variables"] = TableShown(
            "Variables of others",
            [Column("variable", "variable"), Column("value", "value"), Column("effect", "what it does")],
            [(variable.name, variable.value, variable.effect) for variable in loaded.outside],
        )
    return Document(tables)


def _shown(name: str, value: Any) -> str:  # noqa: PLR0911 - one return a kind of value
    if value is None or value in ("", (), {}):
        return NOT_SET
    match name, value:
        case "kafka.properties", _:
            pairs = sorted(value.items())
            return ", ".join(f"{key}={HIDDEN if _SECRET_PROPERTY.search(key) else inner}" for key, inner in pairs)
        case "api.credentials", _:
            return f"{', '.join(sorted(value))}: {HIDDEN}"
        case "api.proxy", _:
            return without_password(value.get_secret_value())
        case _ if name in SECRETS:
            return HIDDEN
        case _, timedelta():
            return format_duration(value)
        case _, datetime():
            return value.isoformat()
        case _, Mapping():
            return ", ".join(f"{key} = {inner}" for key, inner in value.items())
        case _, tuple():
            return ", ".join(value)
        case _:
            return f"{value:g}" if isinstance(value, float) else str(value)
