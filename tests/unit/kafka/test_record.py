"""A record detached from its client: nothing of it is lost, whatever its bytes are."""

from __future__ import annotations

from typing import Any, cast

import confluent_kafka
import pytest
from support.kafka import Headers, Message, partition_end

from consumer.kafka.record import Record


def detached(message: Message) -> Record:
    return Record.of(cast("confluent_kafka.Message", message))


def of_headers(headers: Headers | None) -> Message:
    return Message("offer.presented", 3, 41, b"k", b"v", timestamp=5, headers=headers)


@pytest.mark.parametrize(
    ("key", "value"), [(b"s1", b"\x00\xff"), (None, b""), (b"", None)], ids=["bytes", "no key", "tombstone"]
)
@pytest.mark.parametrize("timestamp", [1_767_225_600_123, -1], ids=["stamped", "without a stamp"])
def test_a_record_is_kept_as_it_is_with_where_it_stands(key: bytes | None, value: bytes | None, timestamp: int) -> None:
    message = Message("offer.presented", 3, 41, key, value, timestamp=timestamp)
    assert detached(message) == Record("offer.presented", 3, 41, timestamp, key, value, ())


def test_the_first_record_of_the_first_partition_is_a_record() -> None:
    assert detached(Message("", 0, 0)) == Record("", 0, 0, 0, None, None)


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        (None, ()),
        ([], ()),
        ([("b", b"\x01\xfe"), ("a", None), ("b", b"")], (("b", b"\x01\xfe"), ("a", None), ("b", b""))),
        ([("a", "Ä")], (("a", "Ä".encode()),)),
    ],
    ids=["none", "empty", "in order, with repeats", "text"],
)
def test_its_headers_are_kept_in_order_as_bytes(
    headers: Headers | None, kept: tuple[tuple[str, bytes | None], ...]
) -> None:
    assert detached(of_headers(headers)).headers == kept


def test_headers_that_come_as_a_table_are_read_too() -> None:
    class WithTable(Message):
        def headers(self) -> Any:
            return {"a": b"1", "b": "2"}

    assert detached(WithTable("t", 0, 0)).headers == (("a", b"1"), ("b", b"2"))


def test_a_key_and_a_value_that_come_as_text_are_kept_as_bytes() -> None:
    message = Message("t", 0, 0, cast("bytes", "Ä"), cast("bytes", "ö"))
    assert detached(message)[4:6] == ("Ä".encode(), "ö".encode())


def test_where_the_client_cannot_read_a_header_the_record_is_kept_with_a_header_that_says_so() -> None:
    class WithUnreadable(Message):
        def headers(self) -> Any:
            return b"\xff".decode()

    record = detached(WithUnreadable("t", 2, 9, b"k", b"v"))
    assert record[:6] == ("t", 2, 9, 0, b"k", b"v")
    ((name, said),) = record.headers
    assert name == "headers.left_out"
    assert said is not None
    assert b"not UTF-8" in said


@pytest.mark.parametrize(
    "event",
    [
        Message(None, 0, 0, error=partition_end("t", 0, 0).error()),
        Message("t", cast("int", None), 0, error=partition_end("t", 0, 0).error()),
        Message("t", 0, cast("int", None), error=partition_end("t", 0, 0).error()),
    ],
    ids=["topic", "partition", "offset"],
)
def test_what_stands_nowhere_in_the_log_is_no_record_and_its_error_is_named(event: Message) -> None:
    with pytest.raises(ValueError, match=r"not a record but an event: KafkaError.*_PARTITION_EOF"):
        detached(event)
