"""`opt-out map`: side by side what the newest records are and what becomes of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from ..core.dating import iso_of
from ..core.watermark import Side
from ..events import CheckoutCompleted, OfferPresented
from ..output import Cell, Column, Document, TableShown
from .sample import SampledRecord

MOST_SHOWN = 300
"""Characters of a record that are shown: what is looked for stands in the first lines, and rows are to be compared."""

Fields: TypeAlias = dict[str, object]
"""Of an event, by their names."""

_COLUMNS = (
    Column("place", "record"),
    Column("timestamp", "stamped"),
    Column("key", "key"),
    Column("value", "value"),
    Column("fate", "becomes"),
    Column("event", "what"),
)


def document(samples: Mapping[Side, tuple[str, Sequence[SampledRecord]]]) -> Document:
    """Both inputs, by the topic of each and its records."""
    tables, notes = {}, []
    for side, (topic, records) in samples.items():
        name = side.name.lower()
        tables[name] = TableShown(f"The newest records of {topic}", _COLUMNS, [_row(sampled) for sampled in records])
        notes.append(f"{topic}: {_summary(records)}")
    return Document(tables, notes=notes)


def _summary(records: Sequence[SampledRecord]) -> str:
    if not records:
        return "has no records"
    counts = Counter(sampled.fate for sampled in records)
    return f"of {len(records)} records " + ", ".join(f"{count} {fate}" for fate, count in counts.most_common())


def _row(sampled: SampledRecord) -> list[object]:
    record = sampled.record
    return [
        f"{record.topic}[{record.partition}]@{record.offset}",
        Cell(_when(record.timestamp), record.timestamp),
        _shown(record.key),
        _shown(record.value),
        sampled.fate,
        Cell(_words(sampled), fields_of(sampled)),
    ]


def _words(sampled: SampledRecord) -> str:
    fields = fields_of(sampled)
    if isinstance(fields, str):
        return fields
    several = fields if isinstance(fields, list) else [fields] if fields else []
    return "; ".join(", ".join(f"{name}: {value}" for name, value in one.items()) for one in several)


def fields_of(sampled: SampledRecord) -> Fields | list[Fields] | str | None:
    """The event's fields, of a record that may hold several those of each, or why there is none."""
    if sampled.error is not None:
        return str(sampled.error)
    if sampled.waits is not None:
        return sampled.waits
    if isinstance(sampled.event, list):
        return [_fields_of(one) for one in sampled.event]
    return _fields_of(sampled.event) if sampled.event is not None else None


def _fields_of(event: OfferPresented | CheckoutCompleted) -> Fields:
    if isinstance(event, OfferPresented):
        shown = {name: value for name, value in event.details._asdict().items() if value is not None}
        return {
            "session_id": event.session_id,
            "partner_code": event.partner_code,
            "offer_id": event.offer_id,
            "presented_at": _when(event.presented_at),
            **shown,
            **({"metadata": dict(event.metadata)} if event.metadata else {}),
        }
    return {
        "session_id": event.session_id,
        "checkout_id": event.checkout_id,
        "completed_at": _when(event.completed_at),
        "purchased_offer_ids": list(event.purchased),
    }


def _when(milliseconds: int) -> str:
    return iso_of(milliseconds) or str(milliseconds)


def _shown(data: bytes | None) -> str | None:
    """Bytes as text where they are one, else as Python writes them."""
    if data is None:
        return None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = ""
    if not text.isprintable() or (data and not text):
        text = repr(data)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}… ({len(data)} bytes)"
