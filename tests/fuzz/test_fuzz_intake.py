"""Records of any kind on their way in: each meets a fate, none is lost, none is called that somebody may have bought.

Real are the codec, the task, its runner and the sink; played are the client, which hands out records, and the producer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from fuzz.avro_reader import HarmlessError, NotAvroError, Offer, read_checkout, read_offer
from fuzz.fuzzing import LONGS, fuzz, spoilt
from hypothesis import assume, example, given
from hypothesis import strategies as st
from support.kafka import Message
from support.runner_world import edges, limits

from consumer.audit.decision import Fate, UndatedCheckout, fates
from consumer.calls import CallResult
from consumer.codecs.plain import PlainCodec
from consumer.core.checkpoint import Position
from consumer.core.rules import MAX_TIME, MIN_TIME, YEAR_2000, DecisionRules
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.errors import StopError
from consumer.events import CheckoutCompleted, OfferPresented, Outcome, Reason
from consumer.kafka.producer import OutputProducer
from consumer.runtime.runner import TaskRunner
from consumer.runtime.suspension import Suspension

CODEC = PlainCodec()
RULES = DecisionRules(
    window=1_800_000,
    checkout_grace=60_000,
    lookback=7_200_000,
    lateness=300_000,
    max_skew=300_000,
    checkout_silence=1_800_000,
)
NOW = 1_767_225_600_000
TOPICS = ("offers", "checkouts")

SESSIONS = st.sampled_from(("s", "t"))
# Five minutes are the lateness and the skew, and go into everything else: events meet at the very ends of windows.
NEAR = st.builds(
    lambda steps, beside: NOW + 300_000 * steps + beside, st.integers(-30, 0), st.sampled_from((-1, 0, 0, 1))
)
TIMES = st.one_of(
    NEAR,
    NEAR,
    NEAR,
    st.sampled_from((NOW // 1000, 0, -1, NOW * 1000, NOW + RULES.max_skew, NOW + RULES.max_skew + 1)),
    LONGS,
)
STAMPS = st.one_of(NEAR, NEAR, NEAR, st.sampled_from((-1, 0, NOW, -(2**63), 2**63 - 1)), LONGS)
HEADERS = (
    st.none()
    | st.just(b"\xff")
    | st.lists(
        st.tuples(
            st.sampled_from(("", "reason", "x", "☃")), st.none() | st.binary(max_size=5) | st.text("a☃", max_size=3)
        ),
        max_size=3,
    )
)


class FuzzedMessage(Message):
    """A record of partition 0 that says where it stands once it is written, and whose headers may not be readable."""

    def __init__(self, topic: str, key: bytes | None, value: bytes | None, stamp: int, headers: Any) -> None:
        super().__init__(topic, 0, 0, key, value, timestamp=stamp, headers=headers)
        self.at = 0

    def __repr__(self) -> str:
        return f"FuzzedMessage({self._topic!r}, {self._key!r}, {self._value!r}, {self._timestamp}, {self._headers!r})"

    def offset(self) -> int:
        return self.at

    def headers(self) -> Any:
        if isinstance(self._headers, bytes):
            self._headers.decode()  # as the client does where a name is not UTF-8: nothing of it can be read
        return self._headers


class Producer:
    """Takes what a real producer takes, and acknowledges it at once."""

    def __init__(self) -> None:
        self.written: list[tuple[str, bytes | None, bytes | None, list[tuple[str, Any]]]] = []

    def produce(self, topic: str, value: Any, key: Any, partition: int, delivered: Any, *, headers: Any) -> None:
        for name, text in headers:
            name.encode()
            assert text is None or isinstance(text, bytes) or text.encode() is not None
        assert all(part is None or isinstance(part, bytes) for part in (key, value))
        self.written.append((topic, key, value, headers))
        delivered(None, None)


@st.composite
def records(draw: st.DrawFn, side: Side) -> FuzzedMessage:
    """A record of one of the topics, as often good as not."""
    session = draw(SESSIONS)
    if side is Side.OFFERS:
        value = CODEC.encode_offer(
            {
                "event_id": "e",
                "session_id": session,
                "partner_code": draw(st.sampled_from(("P", "Q"))),
                "offer_id": draw(st.sampled_from(("o1", "o2"))),
                "presented_at": draw(TIMES),
            }
        )
    else:
        value = CODEC.encode_checkout(
            {
                "event_id": "e",
                "session_id": session,
                "checkout_id": "c",
                "completed_at": draw(TIMES),
                "purchased_offer_ids": draw(st.lists(st.sampled_from(("o1", "o2", "x", "")), max_size=2)),
            }
        )
    value = draw(st.one_of(*[st.just(value)] * 4, spoilt(value), st.binary(max_size=20), st.none()))
    key = draw(st.just(session.encode()) | st.sampled_from((b"s", b"t", "☃".encode())))
    if side is Side.OFFERS:
        key = draw(st.just(key) | st.sampled_from((None, b"", b"\xff")))
    return FuzzedMessage(TOPICS[side], key, value, draw(STAMPS), draw(HEADERS))


def said(side: Side, message: FuzzedMessage) -> Any:
    """What the record says, by the other reader; None if it cannot be read."""
    value = message.value() or b""
    try:
        return read_offer(value) if side is Side.OFFERS else read_checkout(value)
    except HarmlessError:
        assume(False)
    except NotAvroError:
        return None


def is_good(message: FuzzedMessage, event: Any) -> bool:
    """Whether what was read can be used."""
    if event is None:
        return False
    ids = event[1:4] if isinstance(event, Offer) else (*event[1:3], *event.purchased_offer_ids)
    return all(ids) and message.key() == event.session_id.encode()


def between(message: FuzzedMessage, dated: int) -> tuple[int, int]:
    """The earliest and the latest time of a checkout that is not believed, or not readable."""
    stamp = message.timestamp()[1]
    now = NOW + 3_000
    earliest = min(dated, stamp - RULES.lateness) if 0 <= stamp <= now + RULES.max_skew else MIN_TIME
    return earliest, min(max(dated, stamp), now) + RULES.max_skew


def is_implausible(time: int, message: FuzzedMessage) -> bool:
    """Whether an event is dated too far ahead of its record, if that is stamped, or of the clock and its tolerance, or
    too far behind its record."""
    stamp = message.timestamp()[1]
    if time - RULES.max_skew > NOW + 3_000:
        return True
    return stamp >= 0 and not time - RULES.max_skew <= stamp <= time + RULES.lookback


def run(offers: list[FuzzedMessage], checkouts: list[FuzzedMessage]) -> tuple[TaskRunner, Producer, list[CallResult]]:
    """Read everything, let time pass, answer every call with 204."""
    producer = Producer()
    runner = TaskRunner(
        0,
        Task(RULES, partitions=1, offers=Position(0), checkouts=Position(0)),
        topics=TOPICS,
        edges=edges(codec=CODEC, outputs=OutputProducer(producer, "outcomes", "dead", CODEC)),  # type: ignore[arg-type]
        bad_records=limits(1_000),
        late_limit=0,
    )
    suspension = Suspension(RULES, 50, 1_000)
    # The checkouts first: a presentation that is not late then finds all of them.
    for source, messages in ((Side.CHECKOUTS, checkouts), (Side.OFFERS, offers)):
        for offset, message in enumerate(messages):
            message.at = offset
            runner.on_message(source, message, NOW)  # type: ignore[arg-type]
            suspension.judge([runner.task])
            suspension.report([runner.task])
    results: list[CallResult] = []
    for side in Side:
        runner.task.idle(side, NOW + 10 * RULES.lookback)
    suspension.judge([runner.task])
    for call in runner.decide():
        results.append(CallResult(call, Outcome.OPTED_OUT, 204, 1, None))
        runner.on_result(results[-1])
    return runner, producer, results


DUE_AS_THE_CHECKOUT_MAY_HAVE_BEEN = CODEC.encode_offer(
    {
        "event_id": "e",
        "session_id": "s",
        "partner_code": "P",
        "offer_id": "o1",
        "presented_at": NOW - RULES.lateness - RULES.window,
    }
)

SHOWN_LONG_BEFORE = CODEC.encode_offer(
    {"event_id": "e", "session_id": "s", "partner_code": "P", "offer_id": "o1", "presented_at": 0}
)
BOUGHT = CODEC.encode_checkout(
    {
        "event_id": "e",
        "session_id": "s",
        "checkout_id": "c",
        "completed_at": NOW // 1000,
        "purchased_offer_ids": ["o1"],
    }
)


@fuzz(100)
@given(st.lists(records(Side.OFFERS), min_size=1, max_size=8), st.lists(records(Side.CHECKOUTS), max_size=5))
@example(
    [FuzzedMessage("offers", b"s", DUE_AS_THE_CHECKOUT_MAY_HAVE_BEEN, NOW, None)],
    [FuzzedMessage("checkouts", b"s", b"\xff", NOW, b"\xff")],
)
@example(
    [FuzzedMessage("offers", b"s", SHOWN_LONG_BEFORE, -1, None)], [FuzzedMessage("checkouts", b"s", BOUGHT, NOW, None)]
)
def test_every_record_meets_its_one_fate(offers: list[FuzzedMessage], checkouts: list[FuzzedMessage]) -> None:
    runner, producer, calls = run(offers, checkouts)
    dead = dead_letters(producer, {"offers": offers, "checkouts": checkouts})
    completed: list[CheckoutCompleted] = []
    undated: list[UndatedCheckout] = []
    reached = [MIN_TIME, MIN_TIME]
    for message in checkouts:
        event = said(Side.CHECKOUTS, message)
        if message.value() is None:
            continue
        if not is_good(message, event):
            assert dead.pop(("checkouts", message.at)) in {"undecodable", "empty_id", "key_mismatch"}
            sessions = {(message.key() or b"").decode(), "" if event is None else event.session_id} - {""}
            undated += [UndatedCheckout(session, *between(message, MAX_TIME)) for session in sorted(sessions)]
            continue
        checkout = CheckoutCompleted(event[1], event[2], event[3], message.at, tuple(event.purchased_offer_ids))
        if is_implausible(event.completed_at, message):
            undated.append(UndatedCheckout(event.session_id, *between(message, event.completed_at), checkout))
        else:
            completed.append(checkout)
            reached[1] = max(reached[1], seen(event.completed_at, message))
    shown: list[OfferPresented] = []
    expected: list[tuple[int, str, set[tuple[Outcome, Reason]]]] = []
    for message in offers:
        event = said(Side.OFFERS, message)
        if message.value() is None:
            continue
        if not is_good(message, event):
            assert dead.pop(("offers", message.at)) in {"undecodable", "empty_id", "key_mismatch"}
            continue
        presentation = OfferPresented(*event[1:5], message.at)
        if is_implausible(event.presented_at, message) or event.presented_at < YEAR_2000:
            why = Reason.IMPLAUSIBLE_TIME
        else:
            reached[0] = max(reached[0], seen(event.presented_at, message))
            late = event.presented_at < min(reached) - RULES.window - RULES.checkout_grace
            why = Reason.LATE if late or event.presented_at < MIN_TIME + RULES.lookback else None
        if why is None:
            shown.append(presentation)
        else:
            assert dead.pop(("offers", message.at)) == why.value.lower()
            expected.append((message.at, event.offer_id, {(Outcome.DEAD_LETTERED, why)}))
    assert dead == {}, "only what cannot be used is dead-lettered"
    for fate in fates(shown, completed, RULES, undated):
        outcome = {
            Reason.PURCHASED: Outcome.PURCHASED,
            Reason.CHECKOUT_UNREADABLE: Outcome.DEAD_LETTERED,
        }.get(fate.reason, Outcome.OPTED_OUT)
        last = min(o for o in fate.offsets if o in {p.offset for p in shown if p.presented_at == fate.last})
        expected.append((last, fate.offer_id, {(outcome, fate.reason), *withholding(fate, undated)}))
    told = [CODEC.decode_outcome(value or b"") for topic, _, value, _ in producer.written if topic == "outcomes"]
    told.sort(key=lambda o: (o.source.offset, o.offer_id))
    expected.sort(key=lambda e: e[:2])
    assert [(o.source.offset, o.offer_id) for o in told] == [e[:2] for e in expected]
    for one, (*_, may_be) in zip(told, expected, strict=True):
        assert (one.outcome, one.reason) in may_be
    assert len(calls) == sum(o.outcome is Outcome.OPTED_OUT for o in told)
    plan = runner.task.prepare_commit()
    assert plan is not None
    assert plan.offers.offset == len(offers), "something is held that nobody will settle"


def withholding(fate: Fate, undated: list[UndatedCheckout]) -> Iterator[tuple[Outcome, Reason]]:
    """What becomes of a chain to be called by a checkout outside of its time, if that is still remembered then."""
    if fate.may_withhold:
        yield Outcome.PURCHASED, Reason.PURCHASED
    if fate.reason in {Reason.ABANDONED, Reason.DECLINED} and any(
        u.session_id == fate.session_id and u.checkout is None and u.latest >= fate.begin - RULES.lookback
        for u in undated
    ):
        yield Outcome.DEAD_LETTERED, Reason.CHECKOUT_UNREADABLE


def seen(time: int, message: FuzzedMessage) -> int:
    """How far the record moves its input's watermark."""
    stamp = message.timestamp()[1]
    return (time if stamp < 0 else min(time, stamp)) - RULES.lateness - 1


def dead_letters(producer: Producer, logs: dict[str, list[FuzzedMessage]]) -> dict[tuple[str, int], str]:
    """Why each record was dead-lettered; checks that it was once, and unchanged."""
    dead: dict[tuple[str, int], str] = {}
    for topic, key, value, headers in producer.written:
        if topic != "dead":
            continue
        facts = dict(headers[-6:])
        where = facts["source.topic"], int(facts["source.offset"])
        assert where not in dead
        dead[where] = facts["reason"]
        record = logs[where[0]][where[1]]
        assert (key, value) == (record.key(), record.value())
        if isinstance(record._headers, bytes):
            assert [name for name, _ in headers[:-6]] == ["headers.left_out"]
            continue
        own = [(name, text.encode() if isinstance(text, str) else text) for name, text in record.headers() or []]
        assert headers[:-6] == own
        assert facts["source.timestamp"] == str(record.timestamp()[1])
    return dead


@fuzz(15)
@given(TIMES, STAMPS, TIMES)
@example(-(10**15), -1, NOW)
@example(-(2**60), -1, -(10**15))
def test_a_hold_is_reported_whatever_year_its_events_are_of(completed: int, stamp: int, presented: int) -> None:
    checkout = {"event_id": "e", "session_id": "s", "checkout_id": "c", "completed_at": completed}
    offer = {"event_id": "e", "session_id": "s", "partner_code": "P", "offer_id": "o", "presented_at": presented}
    task = Task(RULES, partitions=1, offers=Position(0), checkouts=Position(0))
    task.checkout(
        CODEC.decode_checkout(b"s", CODEC.encode_checkout(checkout | {"purchased_offer_ids": []}), 0), stamp, NOW
    )
    task.offer(CODEC.decode_offer(b"s", CODEC.encode_offer(offer), 0), stamp, NOW)
    suspension = Suspension(RULES, 50, 1_000)
    for side in Side:
        task.idle(side, NOW)
    suspension.judge([task])
    suspension.report([task])


@fuzz(15)
@given(st.none() | st.binary(max_size=5), st.binary(max_size=30), STAMPS)
def test_an_unreadable_checkout_without_a_readable_key_stops_the_service(
    key: bytes | None, value: bytes, stamp: int
) -> None:
    with suppress(UnicodeDecodeError):
        assume(not (key or b"").decode())
    message = FuzzedMessage("checkouts", key, value, stamp, None)
    with pytest.raises(StopError, match=r"checkouts\[0\] offset 0: .*no readable key"):
        run([], [message])
