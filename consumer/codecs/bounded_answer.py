"""Bounds what is read of a registry's answer: its client reads whatever comes, whole, into memory.

The client of confluent-kafka offers no such bound. It speaks by httpx, which calls a hook when the head of an answer is
there and its body is not. The hook puts a stream between that counts.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

MOST_ANSWER_BYTES = 4_000_000
"""Of the body of an answer. In JSON a schema takes a little more than its characters, and 1,000,000 are taken."""

MOST_SECONDS = 30.0
"""For the body of an answer. The client's own time-out is for each piece of it."""


class AnswerBoundError(Exception):
    """An answer is longer, or takes longer, than is read.

    Attributes:
        is_object: it begins as a JSON object does, so that it may be a registry's own.
        is_long: it is too long; else it takes too long.
    """

    def __init__(self, message: str, *, is_object: bool, is_long: bool) -> None:
        super().__init__(message)
        self.is_object = is_object
        self.is_long = is_long


def bound_answers(session: Any, monotonic: Callable[[], float] = time.monotonic) -> None:
    """Have the client of httpx that this session is read no more of any answer. It raises `AnswerBoundError` then."""
    # What is compressed could be a thousand times as long as what is counted.
    session.headers["Accept-Encoding"] = "identity"

    def bound(response: Any) -> None:
        coding = response.headers.get("Content-Encoding", "").strip().lower()
        if coding not in {"", "identity"}:
            raise AnswerBoundError(f"its answer is in {coding}, unasked", is_object=False, is_long=False)
        response.stream = _bounded(response.stream, response, monotonic)

    session.event_hooks = {**session.event_hooks, "response": [*session.event_hooks["response"], bound]}


def _bounded(stream: Any, response: Any, monotonic: Callable[[], float]) -> Any:
    # Of the package whose the response is: newer versions of the client use httpx2, and a stream has to be of its kind.
    httpx = sys.modules[type(response).__module__.partition(".")[0]]

    class BoundedStream(httpx.SyncByteStream):  # type: ignore[misc, name-defined]
        def __iter__(self) -> Iterator[bytes]:
            size, begin, until = 0, b"", monotonic() + MOST_SECONDS
            for part in stream:
                size += len(part)
                begin = begin or part.lstrip()[:1]
                if size > MOST_ANSWER_BYTES:
                    raise AnswerBoundError(
                        f"its answer has more than {MOST_ANSWER_BYTES} bytes, the most that is read",
                        is_object=begin == b"{",
                        is_long=True,
                    )
                if monotonic() > until:
                    raise AnswerBoundError(
                        f"its answer does not end within {MOST_SECONDS:g} s", is_object=begin == b"{", is_long=False
                    )
                yield part

        def close(self) -> None:
            stream.close()

    return BoundedStream()
