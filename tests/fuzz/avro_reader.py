"""Avro read a second time, by its specification and by nothing of the code under test.

What the specification does not allow is refused, such as a count of items that has no opposite. Only the two inputs'
schemas are known.
"""

from __future__ import annotations

from typing import NamedTuple


class NotAvroError(ValueError):
    """These bytes are no such record."""


class HarmlessError(NotAvroError):
    """No writer writes this, and fastavro makes something of it that hides nothing: a number of more than 64 bits, a
    branch counted from the end, which is how Python counts, and a map whose count has no opposite: it is taken for an
    empty one, and no decision goes by metadata."""


class Offer(NamedTuple):
    """The fields of an `OfferPresented`, in order."""

    event_id: str
    session_id: str
    partner_code: str
    offer_id: str
    presented_at: int
    product_code: str | None
    country: str | None
    currency: str | None
    price: str | None
    metadata: dict[str, str]


class Checkout(NamedTuple):
    """The fields of a `CheckoutCompleted`, in order."""

    event_id: str
    session_id: str
    checkout_id: str
    completed_at: int
    purchased_offer_ids: list[str]
    metadata: dict[str, str]


def read_offer(data: bytes) -> Offer:
    """Raises NotAvroError."""
    r = _Reader(data)
    ids = r.text(), r.text(), r.text(), r.text()
    event = Offer(*ids, r.long(), r.maybe(), r.maybe(), r.maybe(), r.maybe(), r.map())
    r.end()
    return event


def read_checkout(data: bytes) -> Checkout:
    """Raises NotAvroError."""
    r = _Reader(data)
    event = Checkout(r.text(), r.text(), r.text(), r.long(), r.array(), r.map())
    r.end()
    return event


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def end(self) -> None:
        if self._at != len(self._data):
            raise NotAvroError("bytes are left over")

    def take(self, count: int) -> bytes:
        if not 0 <= count <= len(self._data) - self._at:
            raise NotAvroError(f"{count} bytes are not there")
        self._at += count
        return self._data[self._at - count : self._at]

    def long(self) -> int:
        number = 0
        for place in range(10):
            (byte,) = self.take(1)
            number |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                if number >= 2**64:
                    break
                return (number >> 1) ^ -(number & 1)
        raise HarmlessError("a number of more than 64 bits")

    def text(self) -> str:
        try:
            return self.take(self.long()).decode()
        except UnicodeDecodeError as error:
            raise NotAvroError("not UTF-8") from error

    def maybe(self) -> str | None:
        branch = self.long()
        if branch in (-1, -2):
            raise HarmlessError("a branch counted from the end")
        if branch not in (0, 1):
            raise NotAvroError(f"no branch {branch} of two")
        return self.text() if branch else None

    def block(self, *, of_map: bool = False) -> int:
        count = self.long()
        if count == -(2**63):
            raise (HarmlessError if of_map else NotAvroError)("a count without an opposite")
        if count < 0 and self.long() == -(2**63):  # how many bytes it has, for who would pass over it
            raise HarmlessError("a size that no block has, and that looks like a count without an opposite")
        return abs(count)

    def array(self) -> list[str]:
        items: list[str] = []
        while count := self.block():
            items += [self.text() for _ in range(count)]
        return items

    def map(self) -> dict[str, str]:
        items: dict[str, str] = {}
        while count := self.block(of_map=True):
            for _ in range(count):
                key = self.text()
                items[key] = self.text()
        return items
