"""Whether a record that was read again is still the one."""

from __future__ import annotations

from support.builders import CODEC, offer

from consumer.kafka.record import Record
from consumer.runtime.same_record import is_same


def test_it_is_the_same_presentation_and_no_other() -> None:
    message = offer(0, 1_000)
    shown = CODEC.decode_offer(message.key(), message.value() or b"", 0)
    assert is_same(CODEC, Record.of(message), shown)
    assert not is_same(CODEC, Record.of(offer(0, 1_001)), shown)
    assert not is_same(CODEC, Record.of(message)._replace(value=None), shown)
    assert not is_same(CODEC, Record.of(message)._replace(value=b"\xff"), shown)
