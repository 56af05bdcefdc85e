"""What is written to Kafka: outcomes and dead letters, of a fixed list of records that meets every fate.

Compliance reads the outcomes, and people and tools read the dead letters by their headers. Times are told as
milliseconds from the first presentation, topics by their part; `settled_at`, a wall clock's time, is masked.
"""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path
from typing import Any

import brokers
import pytest
from confluent_kafka import Message
from golden.deployed import Cluster, decode, emulator, encode, schema, service, until
from golden.nets import ROOT, hold, hold_json

SCENARIO = "ACME/not-found:404; ACME/rejected:422; ACME/retried:500=100; 204"
RELEASES = """
[[release]]
partner_code = "ACME"
offer_id = "released"
who = "on call"
why = "the insurer has deleted it"
"""
HOUR = 3_600_000


def test_the_schemas_are_what_they_were() -> None:
    """A reader of the topics has a copy of them. That a text in one is put better shows here too."""
    files = sorted((ROOT / "schemas").glob("*.avsc"))
    hold("schemas.txt", "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files))


def test_outcomes_and_dead_letters(broker: brokers.Broker, tmp_path: Path) -> None:
    if not broker.is_real:
        pytest.skip(f"needs a real Kafka: {broker.description} does not do what a deployment asks of it")
    releases = tmp_path / "release.toml"
    releases.write_text(RELEASES, encoding="utf-8")
    cluster = Cluster(broker.bootstrap_servers)
    began = now()
    records = Records(cluster, began - 20_000)
    records.write()
    with emulator(tmp_path / "calls.jsonl", SCENARIO) as base_url:
        settings = cluster.settings(
            API__BASE_URL=base_url, API__KEY="k", API__SECRET="s", DELIVERY__RELEASE_FILE=str(releases)
        )
        with service(tmp_path / "first.log", settings):
            until(cluster.is_settled, within=60, what="the offers to be settled")
            records.write_late()
            until(cluster.is_settled, within=30, what="the late offer to be settled")
        with service(tmp_path / "second.log", settings | {"JOIN__ABANDONED": "ignore"}):
            records.write_ignored()
            until(cluster.is_settled, within=30, what="the ignored offer to be settled")
    outcomes = [records.shown(message, began) for message in cluster.read("outcomes")]
    hold_json("outcomes.json", sorted(outcomes, key=lambda shown: shown["value"]["source"]["offset"]))
    letters = [records.letter(message) for message in cluster.read("dead-letters")]
    hold_json("dead-letters.json", sorted(letters, key=lambda shown: shown["record"]))


def test_every_outcome_and_every_reason_is_among_them() -> None:
    """The list of records is whole: no fate is left out of the golden files."""
    fields = {field["name"]: field["type"] for field in schema("offer_outcome")["fields"]}
    text = (Path(__file__).parent / "data" / "outcomes.json").read_text(encoding="utf-8")
    for symbol in fields["outcome"]["symbols"] + fields["reason"]["symbols"]:
        assert f'"{symbol}"' in text


class Records:
    """The records, dated from `base` (ms) on, and the way to show what becomes of them."""

    def __init__(self, cluster: Cluster, base: int) -> None:
        self._cluster = cluster
        self._base = base

    def write(self) -> None:
        """Those that are there when the service starts."""
        self._present("purchased", product_code="TRAVEL", country="DE", currency="EUR", price="9.90")
        self._present("declined", country="DE", metadata={"secret-note": "not to be shown"})
        self._present("abandoned")
        self._present("not-found")
        self._present("rejected", headers=[("trace", b"\x00\xff"), ("trace", b"2"), ("none", None)])
        self._present("retried")
        self._present("released")
        self._present("tainted")
        self._present("presented twice", session="s-twice")
        self._present("presented twice", session="s-twice", after=1_000, price="8.80")
        self._present("a b/ü?", partner="P/Q", session="s-odd")
        self._present("implausible", after=HOUR, stamped=0)
        self._present("foreign key", key="another")
        self._present("no key", key=None)
        self._present("", session="s-empty-id")
        self._put("offers", "s-undecodable", b"\xff\xff", headers=[("trace", b"1")])
        self._put("offers", "s-left-over", self._offer("left over", "s-left-over") + b"\x00")
        self._put("offers", "s-tombstone", None)
        self._check_out("s-purchased", "purchased")
        self._check_out("s-declined")
        self._put("checkouts", "s-tainted", b"\xff\xff")
        self._check_out("s-of-value", key="s-of-key")
        self._check_out("s-empty-id", "")
        self._check_out("s-ahead", "nothing", after=HOUR, stamped=0)

    def write_late(self) -> None:
        """Once everything else is settled, the watermark has passed this one's time."""
        self._present("late", after=500)

    def write_ignored(self) -> None:
        """For a service that ignores what is abandoned. It is of the present: its time comes within seconds."""
        self._present("ignored", after=now() - self._base)

    def shown(self, message: Message, began: int) -> dict[str, Any]:
        """An outcome as it stands in the golden file."""
        value = decode("offer_outcome", message.value() or b"")
        assert began <= value["settled_at"] <= now()
        is_ignored = value["offer_id"] == "ignored"
        for name in ("presented_at", "decided_at"):
            value[name] = "some time later" if is_ignored else f"T+{value[name] - self._base}"
        shown = value | {"settled_at": "the wall clock"}
        key, headers = (message.key() or b"").decode(), message.headers()
        return {"key": key, "partition": message.partition(), "headers": headers, "value": self._masked(shown)}

    def letter(self, message: Message) -> dict[str, Any]:
        """A dead letter as it stands in the golden file."""
        headers = [
            [name, None if value is None else value.decode("latin-1")] for name, value in message.headers() or ()
        ]
        masked = self._masked(headers)
        told = dict(masked)
        topic, offset = told.get("source.topic", "?"), told.get("source.offset", "?")
        read = self._cluster.read(topic.strip("<>")) if topic != "?" else []
        sources = [(source.key(), source.value()) for source in read if str(source.offset()) == offset]
        return {
            "record": f"{topic} {offset:0>2}",
            "partition": message.partition(),
            "key and value are those of the record": sources == [(message.key(), message.value())],
            "headers": masked,
        }

    def _masked(self, data: Any) -> Any:
        if isinstance(data, dict):
            return {name: self._masked(value) for name, value in data.items()}
        if isinstance(data, list):
            return [self._masked(value) for value in data]
        if not isinstance(data, str):
            return data
        for name, topic in self._cluster.topics.items():
            data = data.replace(topic, f"<{name}>")
        return re.sub(r"\b1[0-9]{12}\b", lambda found: f"T+{int(found[0]) - self._base}", data)

    # --- writing

    def _offer(self, offer_id: str, session: str, partner: str = "ACME", after: int = 0, **more: Any) -> bytes:
        event = {
            "event_id": "e",
            "session_id": session,
            "partner_code": partner,
            "offer_id": offer_id,
            "presented_at": self._base + after,
        }
        return encode("offer_presented", event | more)

    def _present(
        self,
        offer_id: str,
        *,
        session: str | None = None,
        key: str | None = "",
        after: int = 0,
        stamped: int | None = None,
        headers: Any = (),
        partner: str = "ACME",
        **more: Any,
    ) -> None:
        session = session or f"s-{offer_id}"
        value = self._offer(offer_id, session, partner, after, **more)
        self._put("offers", session if key == "" else key, value, after if stamped is None else stamped, headers)

    def _check_out(
        self, session: str, *bought: str, key: str | None = None, after: int = 2_000, stamped: int | None = None
    ) -> None:
        event = {
            "event_id": "e",
            "session_id": session,
            "checkout_id": f"c-{session}",
            "completed_at": self._base + after,
            "purchased_offer_ids": list(bought),
        }
        value = encode("checkout_completed", event)
        self._put("checkouts", key or session, value, after if stamped is None else stamped)

    def _put(self, topic: str, key: str | None, value: bytes | None, after: int = 0, headers: Any = ()) -> None:
        self._cluster.write(topic, key, value, self._base + after, headers)


def now() -> int:
    return time.time_ns() // 1_000_000
