"""The log of every call that reached the API emulator: one JSON object a line, written before the answer is sent."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO


@dataclass(frozen=True, slots=True)
class Call:
    """One POST that reached the emulator.

    Attributes:
        time_ms: wall clock when it came, milliseconds since the epoch.
        partner_code, offer_id: from the path, percent-decoded once.
        status: what it was answered; None: it was never answered.
        attempt: 1 for the first call of this offer that this emulator received, and so on.
        signature_ok: whether key and signature were right.
        terminal: whether the answer settles the call for good: 204, or a 404 that says there is no such offer.
        reason: `partner_metadata.reason` of the body, if there was one.
        recorded: whether the API took it down: it answered 204, or would have, had the answer not been lost.
    """

    time_ms: int
    partner_code: str
    offer_id: str
    status: int | None
    attempt: int
    signature_ok: bool
    terminal: bool
    reason: str | None = None
    recorded: bool = False


class CallLog:
    """Writes calls to a file or a stream; each line is flushed, so that it survives a kill."""

    def __init__(self, target: Path | TextIO) -> None:
        self._stream: TextIO = target.open("a", encoding="utf-8", buffering=1) if isinstance(target, Path) else target

    def write(self, call: Call) -> None:
        """Append one call."""
        self._stream.write(json.dumps(asdict(call)) + "\n")
        self._stream.flush()


def read_calls(path: Path) -> list[Call]:
    """All calls of a log; a last line without its end, cut off by a kill, is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [Call(**json.loads(line)) for line in lines[:-1]]
