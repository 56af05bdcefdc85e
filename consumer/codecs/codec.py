"""What the service needs of a wire format. Each format is a module beside this one; `run` chooses among them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeAlias, TypeVar

from ..errors import DecodeError, OptOutError
from ..events import CheckoutCompleted, OfferOutcome, OfferPresented

P = ParamSpec("P")
T = TypeVar("T")

UNDECODABLE = "undecodable"
"""The reason of a `DecodeError`: the bytes are no such event."""

KEY_MISMATCH = "key_mismatch"
"""The reason of a `DecodeError`: the record's key is not the event's session."""

EMPTY_ID = "empty_id"
"""The reason of a `DecodeError`: an id that names something is empty."""


TOO_LARGE = "too_large"
"""The reason of a `DecodeError`: an id, or another text that an outcome carries, is longer than `MOST_BYTES`."""

MOST_BYTES = 1_000
"""UTF-8 bytes of an id, and of each other text that an outcome carries.

An id is a part of the call's URL, where each of its bytes may take three characters, and servers take URLs of about
8,000. And an outcome, with all of them in it, must be far below any topic's max.message.bytes: a single one that can
not be written would stop the whole deployment. Ids in use have 10 to 100 bytes.
"""


def refuse_too_large(names: Iterable[str], fields: Mapping[str, str | None]) -> None:
    """See that these fields are no longer than `MOST_BYTES`, whatever the format that they came in.

    Raises:
        DecodeError: one is; with the reason `too_large`.
    """
    for name in names:
        text = fields[name] or ""
        # No character takes more than four bytes: few texts have to be encoded to know.
        if 4 * len(text) > MOST_BYTES and (size := len(text.encode())) > MOST_BYTES:
            raise DecodeError(
                TOO_LARGE, f"{name} has {size} bytes, and {MOST_BYTES} is the most that is taken", fields["session_id"]
            )


def failed(what: str, error: Exception) -> DecodeError:
    """The `DecodeError` of a record at which something was raised that nobody has thought of.

    Raises:
        OptOutError, MemoryError: `error` is one. It is told already what it means, or is no fault of the record.
    """
    if isinstance(error, OptOutError | MemoryError):
        raise error
    return DecodeError(UNDECODABLE, f"{what} fails by {type(error).__name__}: {' '.join(str(error).split())[:200]}")


def only_decode_errors(decode: Callable[P, T]) -> Callable[P, T]:
    """A record must never end the service: whatever its bytes make a codec raise, it is undecodable."""

    @wraps(decode)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return decode(*args, **kwargs)
        except Exception as error:
            raise failed("reading it", error) from error

    return guarded


Headers: TypeAlias = Callable[[], Any]
"""Gives a record's headers, as the Kafka client does. Most formats never ask, and no list is made in vain."""


def no_headers() -> None:
    """The `Headers` of a record that has none."""


def header_pairs(headers: Headers) -> Sequence[tuple[str, bytes | None]]:
    """A record's headers in their order; none where the client hands out none, since a name is not UTF-8."""
    try:
        return headers() or ()
    except UnicodeDecodeError:
        return ()


def header_of(headers: Headers, name: str) -> bytes | None:
    """The last header of this name, None where there is none."""
    pairs = header_pairs(headers)
    return next((value for found, value in reversed(pairs) if found == name), None) if pairs else None


Shown: TypeAlias = OfferPresented | list[OfferPresented] | None
"""What a record of the offers' topic holds: a presentation, or a list of them where `input.offers.each` is set.

These are in the order of the record, and of one time and one session; there may be none. None: see `Codec`.
"""


def presentations(shown: Shown) -> Sequence[OfferPresented]:
    """The same as a list, which is empty where nothing was presented."""
    return [shown] if isinstance(shown, OfferPresented) else shown or ()


class Codec(Protocol):
    """From the bytes of a record to an event, and from an outcome to bytes.

    `offset` is where the record stands in its partition. A `DecodeError` has one of the four reasons above. None is a
    record that is of no concern: it is neither an offer nor a checkout, and is passed over.
    """

    def decode_offer(self, key: bytes | None, value: bytes, offset: int, headers: Headers = no_headers) -> Shown:
        """Raises `DecodeError`, or `SchemaWaitError` if it cannot be told yet."""

    def decode_checkout(
        self, key: bytes | None, value: bytes, offset: int, headers: Headers = no_headers
    ) -> CheckoutCompleted | None:
        """Raises `DecodeError`, or `SchemaWaitError` if it cannot be told yet."""

    def encode_outcome(self, outcome: OfferOutcome) -> bytes:
        """The value bytes of an outcome."""

    def close(self) -> None:
        """Close the connections to a schema registry, if there are any: no schema is asked for any more."""
