"""An outcome as a row of columns: what the files of `opt-out export` have, and what the report counts by."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

import fastavro

from ..codecs.framing import is_framed, payload_of
from ..codecs.schemas import OFFER_OUTCOME, load_schema, without_logical_types
from ..row_file import RowColumn

_FIELDS = (
    RowColumn("offer_id", "text"),
    RowColumn("partner_code", "text"),
    RowColumn("session_id", "text"),
    RowColumn("outcome", "text"),
    RowColumn("reason", "text"),
    RowColumn("checkout_id", "text"),
    RowColumn("presented_at", "time"),
    RowColumn("decided_at", "time"),
    RowColumn("settled_at", "time"),
    RowColumn("status_code", "integer"),
    RowColumn("attempts", "integer"),
    RowColumn("product_code", "text"),
    RowColumn("country", "text"),
    RowColumn("currency", "text"),
    RowColumn("price", "text"),
    RowColumn("mode", "text"),
    RowColumn("note", "text"),
)
"""Fields of the record of their names."""

COLUMNS = (
    *_FIELDS,
    RowColumn("source_topic", "text"),
    RowColumn("source_partition", "integer"),
    RowColumn("source_offset", "integer"),
    RowColumn("outcome_partition", "integer"),
    RowColumn("outcome_offset", "integer"),
)
"""`source_...` is the chain's last presentation; `outcome_...` is where the record itself stands in `offer.outcome`."""

PRESENTED_AT = [column.name for column in COLUMNS].index("presented_at")

_VALUES: Callable[[Mapping[str, Any]], tuple[Any, ...]] = itemgetter(*(column.name for column in _FIELDS))
_SOURCE: Callable[[Mapping[str, Any]], tuple[Any, ...]] = itemgetter("topic", "partition", "offset")


class OutcomeRows:
    """Reads the values of `offer.outcome`: plain Avro, or behind the id of a schema registry."""

    def __init__(self) -> None:
        # Times stay whole numbers: making a datetime of each would take longer than all else.
        self._schema = fastavro.parse_schema(without_logical_types(load_schema(OFFER_OUTCOME)))

    def row(self, value: bytes, partition: int, offset: int) -> tuple[Any, ...]:
        """The values of `COLUMNS`, times in ms.

        Raises:
            Exception: of any class: it is no outcome.
        """
        payload = payload_of(value) if is_framed(value) else value
        stream = io.BytesIO(payload)
        fields: Any = fastavro.schemaless_reader(stream, self._schema, None)
        if stream.tell() != len(payload):
            raise ValueError("it is longer than the outcome that it begins with")
        return (*_VALUES(fields), *_SOURCE(fields["source"]), partition, offset)
