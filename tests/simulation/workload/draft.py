"""A record as it is drawn, before it has its place in a log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

UNREADABLE = b"\xff\xff\xff"


class Draft(NamedTuple):
    """A record that has no offset yet. `make` gives its event, `write` the same with another date."""

    at: int
    topic: str
    partition: int
    stamp: int
    key: bytes
    value: bytes | None
    make: Callable[[int], Any] | None = None
    on_time: bool = True
    sessions: tuple[str, ...] = ()
    happened: int = 0
    bought: tuple[str, ...] = ()
    write: Callable[[int], tuple[bytes, Callable[[int], Any]]] | None = None
