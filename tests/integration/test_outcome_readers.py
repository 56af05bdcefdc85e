"""What the service writes to the outcome topic, read by Apache's Avro library with the schema file as it stands."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import avro.io
import avro.schema
import brokers
from support.deployment import AGE, deployed, now, read_topic, until
from support.outcome_fields import SCHEMA, schema
from support.released_schemas import SCHEMAS


def read(value: bytes, reader: str) -> dict[str, Any]:
    """One outcome, to its last byte."""
    stream = io.BytesIO(value)
    writer = SCHEMA.read_text(encoding="utf-8")
    datum = avro.io.DatumReader(avro.schema.parse(writer), avro.schema.parse(reader))
    found = datum.read(avro.io.BinaryDecoder(stream))
    assert stream.tell() == len(value)
    assert isinstance(found, dict)
    return found


def test_any_reader_takes_the_outcomes_of_the_service(real_kafka: brokers.Broker, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        at = now() - AGE
        for name in ("bought", "declined", "abandoned"):
            deployment.present(name, session=name, at=at)
        deployment.check_out("bought", session="bought", at=at + 1_000)
        deployment.check_out(session="declined", at=at + 1_000)
        deployment.flush()
        process = deployment.start()
        until(lambda: deployment.committed_total() == 3, within=60, what="all offers to be settled")
        assert process.terminate() == 0
        values = [message.value() or b"" for message in read_topic(deployment.bootstrap, deployment.outcome_topic)]
        ours = SCHEMA.read_text(encoding="utf-8")
        outcomes = {found["offer_id"]: found for found in (read(value, ours) for value in values)}
        assert {name: found["reason"] for name, found in outcomes.items()} == {
            "bought": "PURCHASED",
            "declined": "DECLINED",
            "abandoned": "ABANDONED",
        }
        for name, found in outcomes.items():
            assert int(found["presented_at"].timestamp() * 1000) == at, name
            assert found["source"]["topic"] == deployment.offer_topic
            assert (found["price"], found["mode"]) == ("9.90", "LIVE")
        # What a released reader had, and one of a later version that knows a field more.
        later = schema()
        later["fields"].append({"name": "more", "type": ["null", "string"], "default": None})
        for value in values:
            for released in SCHEMAS.glob("released/*/offer_outcome.avsc"):
                assert read(value, released.read_text(encoding="utf-8")) == read(value, ours)
            assert read(value, json.dumps(later)) == {**read(value, ours), "more": None}
