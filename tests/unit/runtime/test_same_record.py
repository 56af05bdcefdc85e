"""Whether a record that was read again is still the one."""

from __future__ import annotations

from support.builders import CODEC, offer
from support.several import SEVERAL, page

from consumer.codecs.codec import presentations
from consumer.kafka.record import Record
from consumer.runtime.same_record import is_same


def test_it_is_the_same_presentation_and_no_other() -> None:
    message = offer(0, 1_000)
    shown = CODEC.decode_offer(message.key(), message.value() or b"", 0)
    assert is_same(CODEC, Record.of(message), shown)
    assert not is_same(CODEC, Record.of(offer(0, 1_001)), shown)
    assert not is_same(CODEC, Record.of(message)._replace(value=None), shown)
    assert not is_same(CODEC, Record.of(message)._replace(value=b"\xff"), shown)


def test_of_a_record_that_holds_several_the_one_at_its_place_counts() -> None:
    def held(*offer_ids: str, offset: int = 3) -> Record:
        return Record.of(page(offset, 10_000, *offer_ids))

    message = page(3, 10_000, "a", "b", "c")
    _, shown, _ = presentations(SEVERAL.decode_offer(message.key(), message.value() or b"", 3))
    assert is_same(SEVERAL, held("a", "b", "c"), shown)
    assert is_same(SEVERAL, held("x", "b"), shown)
    for other in (held("b", "a", "c"), held("a"), held(), held("a", "b", "c", offset=4)):
        assert not is_same(SEVERAL, other, shown)
