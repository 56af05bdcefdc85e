"""The sink, against librdkafka's mock cluster: what is written, when it counts, and what a failure does."""

from __future__ import annotations

import json
import string
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from consumer.codecs.plain import PlainCodec
from consumer.demo.broker import embedded_broker, make_topics
from consumer.errors import DeadLetterError
from consumer.events import Details, Mode, OfferOutcome, Outcome, Reason, RecordRef
from consumer.kafka.config import producer_config
from consumer.kafka.producer import OutputProducer, outcome_key
from consumer.kafka.record import Record
from consumer.kafka.writes import Writes
from consumer.settings import KafkaSettings

CODEC = PlainCodec()
NOWHERE = "127.0.0.1:1"
IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    with embedded_broker() as bootstrap:
        yield bootstrap


@pytest.fixture
def names(cluster: str, request: pytest.FixtureRequest) -> tuple[str, str]:
    """An outcome and a dead-letter topic for this test alone."""
    stem = request.node.name.replace("[", "-").replace("]", "")[-100:]
    names = f"out-{stem}", f"dead-{stem}"
    make_topics(cluster, names)
    return names


def make(bootstrap: str, names: tuple[str, str], queue_timeout: float = 30, **properties: Any) -> OutputProducer:
    settings = KafkaSettings(
        bootstrap_servers=bootstrap, properties={name.replace("_", "."): value for name, value in properties.items()}
    )
    return OutputProducer(Producer(producer_config(settings)), *names, CODEC, queue_timeout=queue_timeout)


def outcome(offer: str = "o1") -> OfferOutcome:
    return OfferOutcome(
        offer_id=offer,
        partner_code="P1",
        session_id="s1",
        outcome=Outcome.OPTED_OUT,
        reason=Reason.DECLINED,
        checkout_id="c1",
        presented_at=1,
        decided_at=2,
        settled_at=3,
        status_code=204,
        attempts=1,
        details=Details(),
        source=RecordRef("offer.presented", 2, 9),
        mode=Mode.LIVE,
        note=None,
    )


def read(bootstrap: str, topic: str) -> list[Message]:
    """Everything in a topic, read to the end of its four partitions."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "reader",
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "log_level": 0,
        }
    )
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(4)])
    found, ended = [], 0
    while ended < 4:
        message = consumer.poll(20)
        assert message is not None, "no answer from the mock cluster"
        problem = message.error()
        if problem is None:
            found.append(message)
        else:
            assert problem.code() == KafkaError._PARTITION_EOF
            ended += 1
    consumer.close()
    return found


def test_an_outcome_is_written_to_the_partition_of_its_task_under_its_offer(
    cluster: str, names: tuple[str, str]
) -> None:
    sink = make(cluster, names)
    sink.outcome(outcome("o/1"), 2)
    assert sink.flush(20)
    sink.check()
    (message,) = read(cluster, names[0])
    assert (message.partition(), message.key()) == (2, b"P1/o%2F1")
    assert CODEC.decode_outcome(bytes(message.value() or b"")) == outcome("o/1")


@pytest.mark.parametrize(
    ("key", "value", "headers"),
    [
        (b"s1", b"\x00\xff", (("trace", b"\x01\xfe"), ("trace", b"two"), ("none", None))),
        (None, b"", ()),
        (b"", b"x" * 900_000, ()),
    ],
)
def test_a_dead_letter_is_the_record_unchanged_with_further_headers(
    cluster: str,
    names: tuple[str, str],
    key: bytes | None,
    value: bytes,
    headers: tuple[tuple[str, bytes | None], ...],
) -> None:
    acknowledged: list[str] = []
    sink = make(cluster, names)
    record = Record("offer.presented", 3, 41, 1_767_225_600_123, key, value, headers)
    sink.dead_letter(record, reason="undecodable", error="not Ävro", on_ack=lambda: acknowledged.append("ack"))
    assert sink.flush(20)
    assert acknowledged == ["ack"]
    (message,) = read(cluster, names[1])
    assert (message.partition(), message.key(), message.value()) == (3, key, value)
    assert Record.of(message).headers == (
        *headers,
        ("error", "not Ävro".encode()),
        ("reason", b"undecodable"),
        ("source.topic", b"offer.presented"),
        ("source.partition", b"3"),
        ("source.offset", b"41"),
        ("source.timestamp", b"1767225600123"),
    )


def test_a_dead_letter_counts_only_once_the_broker_has_it(cluster: str, names: tuple[str, str]) -> None:
    acknowledged: list[str] = []
    sink = make(NOWHERE, names)
    record = Record("t", 0, 0, 0, b"k", b"v")
    sink.dead_letter(record, reason="r", error="e", on_ack=lambda: acknowledged.append("ack"))
    assert not sink.flush(0.2)
    sink.poll()
    sink.check()  # not written yet is no failure
    assert acknowledged == []


def test_a_long_error_is_cut_so_that_the_record_still_fits(cluster: str, names: tuple[str, str]) -> None:
    sink = make(cluster, names)
    sink.dead_letter(Record("t", 0, 0, 0, b"k", b"v"), reason="r", error="e" * 5_000, on_ack=lambda: None)
    assert sink.flush(20)
    (message,) = read(cluster, names[1])
    assert dict(Record.of(message).headers)["error"] == b"e" * 1_000


def test_a_dead_letter_too_large_for_the_client_goes_with_less_and_counts_once(
    cluster: str, names: tuple[str, str]
) -> None:
    acknowledged: list[str] = []
    sink = make(cluster, names, message_max_bytes=10_000)
    for number, value in enumerate((9_900, 12_000, 10)):
        record = Record("offer.presented", 1, number, 7, b"s1", b"x" * value, (("trace", b"7"),))
        sink.dead_letter(record, reason="undecodable", error="e" * 200, on_ack=lambda n=number: acknowledged.append(n))
    sink.outcome(outcome(), 1)
    assert sink.flush(20)
    sink.check()
    assert sorted(acknowledged) == [0, 1, 2]  # type: ignore[type-var]
    letters = {len(message.value() or b""): Record.of(message) for message in read(cluster, names[1])}
    assert letters[9_900].headers == (("trace", b"7"),)
    assert dict(letters[10].headers)["reason"] == b"undecodable"
    (stub,) = [letter for size, letter in letters.items() if size not in (9_900, 10)]
    assert json.loads(stub.value or b"")["offset"] == 1
    assert len(read(cluster, names[0])) == 1


def test_a_stub_that_is_too_large_as_well_is_a_failure(cluster: str, names: tuple[str, str]) -> None:
    # The least that the client takes.
    sink = make(cluster, names, message_max_bytes=1_000)
    record = Record("offer.presented", 1, 4, 7, b"s1", b"x" * 2_000)
    sink.dead_letter(record, reason="undecodable", error="e" * 1_000, on_ack=lambda: pytest.fail("it was not written"))
    assert not sink.flush(20)
    with pytest.raises(DeadLetterError, match=r"the dead letter of offer.presented\[1\]@4 could not be written"):
        sink.check()


def test_what_is_written_tells_whether_writes_are_recorded(cluster: str, names: tuple[str, str]) -> None:
    now = 0.0
    writes = Writes(names[0], monotonic=lambda: now)
    settings = KafkaSettings(bootstrap_servers=cluster)
    sink = OutputProducer(Producer(producer_config(settings)), *names, CODEC, writes)
    sink.outcome(outcome(), 1)
    now = 3.0
    assert "has waited" in (writes.trouble() or "")
    assert sink.flush(20)
    assert (writes.trouble(), writes.unproven()) == (None, None)
    sink.outcome(outcome(), 77)  # no such partition
    sink.flush(20)
    assert "could not be recorded" in (writes.trouble() or "")


def test_a_write_that_failed_for_good_is_remembered_and_never_acknowledged(
    cluster: str, names: tuple[str, str]
) -> None:
    acknowledged: list[str] = []
    sink = make(cluster, names)
    sink.outcome(outcome(), 0)
    assert sink.flush(20)
    record = Record("offer.presented", 77, 5, 0, b"k", b"v")  # no such partition of the dead-letter topic
    sink.dead_letter(record, reason="r", error="e", on_ack=lambda: acknowledged.append("ack"))
    assert not sink.flush(20)
    sink.outcome(outcome(), 0)
    assert not sink.flush(20)
    with pytest.raises(DeadLetterError, match=r"could not be written: .*[Uu]nknown partition"):
        sink.check()
    assert acknowledged == []


def test_a_failed_delivery_report_is_remembered(names: tuple[str, str]) -> None:
    acknowledged: list[str] = []
    sink = make(NOWHERE, names, message_timeout_ms=50)
    sink.dead_letter(
        Record("in", 1, 5, 0, b"k", b"v"), reason="r", error="e", on_ack=lambda: acknowledged.append("ack")
    )
    sink.outcome(outcome(), 0)
    assert not sink.flush(20)
    with pytest.raises(DeadLetterError, match=r"the dead letter of in\[1\]@5|an outcome for") as caught:
        sink.check()
    assert "timed out" in str(caught.value)
    assert acknowledged == []


def test_a_full_queue_is_waited_for_and_drops_nothing(cluster: str, names: tuple[str, str]) -> None:
    sink = make(cluster, names, queue_buffering_max_messages=2)
    for number in range(50):
        sink.outcome(outcome(str(number)), 1)
    assert sink.flush(20)
    sink.check()
    assert [message.key() for message in read(cluster, names[0])] == [f"P1/{n}".encode() for n in range(50)]


def test_a_queue_that_stays_full_is_a_failure_and_no_silent_loss(names: tuple[str, str]) -> None:
    sink = make(NOWHERE, names, queue_timeout=0.2, queue_buffering_max_messages=1)
    sink.outcome(outcome(), 0)
    sink.check()
    sink.outcome(outcome(), 0)
    with pytest.raises(DeadLetterError, match="queue stayed full"):
        sink.check()


def test_the_settings_cannot_weaken_what_a_written_outcome_means() -> None:
    # Past the settings' own check, as a last defence.
    settings = KafkaSettings.model_construct(
        bootstrap_servers="b:1", properties={"acks": "0", "enable.idempotence": False}
    )
    config = producer_config(settings)
    assert (config["acks"], config["enable.idempotence"], config["bootstrap.servers"]) == ("all", True, "b:1")


@given(IDS, IDS, IDS, IDS)
def test_outcome_keys_differ_as_the_ids_do(partner: str, offer: str, other_partner: str, other_offer: str) -> None:
    same = (partner, offer) == (other_partner, other_offer)
    assert (outcome_key(partner, offer) == outcome_key(other_partner, other_offer)) == same


@given(st.text(string.printable), st.text(string.ascii_letters + string.digits + "-_.~é"))
def test_an_outcome_key_is_what_the_standard_library_makes_of_the_ids(partner: str, offer: str) -> None:
    assert outcome_key(partner, offer).decode() == f"{quote(partner, safe='')}/{quote(offer, safe='')}"


def test_an_outcome_key_is_percent_encoded() -> None:
    assert outcome_key("P/1", "a b?../ü") == b"P%2F1/a%20b%3F..%2F%C3%BC"


class Stamped:
    """A delivery report: a record that was appended at `stamp` (s), by the broker's clock or by its producer's."""

    def __init__(self, kind: int, stamp: float) -> None:
        self.kind, self.stamp = kind, stamp

    def timestamp(self) -> tuple[int, int]:
        return self.kind, int(self.stamp * 1000)

    def topic(self) -> str:
        return "out"

    def partition(self) -> int:
        return 0


class Reporting:
    """A producer that keeps the reports that are to come."""

    def __init__(self) -> None:
        self.reports: list[Any] = []

    def produce(self, topic: str, value: bytes, key: bytes, partition: int, on_delivery: Any, headers: Any) -> None:
        self.reports.append(on_delivery)


def test_the_stamp_of_a_write_a_second_tells_what_time_the_broker_has_where_it_stamps_records(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[tuple[float, float, float]] = []
    producer, now = Reporting(), [50.0]
    monkeypatch.setattr("consumer.kafka.producer.time.monotonic", lambda: now[0])
    outputs = OutputProducer(producer, "out", "dead", CODEC, on_stamp=lambda *it: told.append(it))  # type: ignore[arg-type]
    by_broker, by_producer, by_mock = Stamped(2, 7_000.5), Stamped(1, 7_000.5), Stamped(2, 1.234)
    for _ in range(2):
        outputs.outcome(outcome(), 0)
    now[0] = 50.3
    for report in producer.reports:
        report(None, by_broker)
    assert told == [(7_000.5, 50.0, 50.3)], "the second write is no second later"
    now[0] = 52.0
    for report in (by_producer, by_mock, by_broker):
        outputs.outcome(outcome(), 0)
        producer.reports[-1](KafkaError(KafkaError._MSG_TIMED_OUT) if report is by_broker else None, report)
        now[0] += 1.0
    assert len(told) == 1, "neither our own stamp, nor a mock's, nor a failed write tells what time the broker has"
    with pytest.raises(DeadLetterError):
        outputs.check()


def test_a_poll_does_not_wait_for_what_is_not_acknowledged_yet(names: tuple[str, str]) -> None:
    waited: list[float] = []
    producer = SimpleNamespace(poll=waited.append)
    OutputProducer(producer, *names, CODEC).poll()  # type: ignore[arg-type]
    assert waited == [0]


def test_the_mock_cluster_has_no_clock(cluster: str, names: tuple[str, str]) -> None:
    told: list[tuple[float, float, float]] = []
    settings = KafkaSettings(bootstrap_servers=cluster)
    outputs = OutputProducer(Producer(producer_config(settings)), *names, CODEC, on_stamp=lambda *it: told.append(it))
    outputs.outcome(outcome(), 0)
    assert outputs.flush(20)
    assert told == []
