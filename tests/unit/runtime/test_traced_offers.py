"""A record's trace on its way to the call, and what it must not change."""

from __future__ import annotations

from typing import NoReturn

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from support.builders import CODEC, NOW, checkout, offer, release_file
from support.kafka import Headers, Message
from support.runner_world import AT, RunnerWorld, pass_time
from support.traced_calls import SAMPLED, TRACE_ID, UNSAMPLED

from consumer.calls import CallResult, OptOutCall
from consumer.codecs.inputs import codec_of
from consumer.codecs.plain import PlainCodec
from consumer.core.watermark import Side
from consumer.events import Outcome
from consumer.kafka.record import Record
from consumer.runtime.releases import Releases
from consumer.settings import Settings, TraceSettings

TRACING = codec_of(Settings(trace=TraceSettings(enabled=True)))
OTHER = SAMPLED.replace("4bf9", "5bf9")


class Unasked(Message):
    """A record whose headers nobody may ask for."""

    def headers(self) -> NoReturn:
        raise AssertionError("the headers were asked for")


def with_headers(shown: Message, headers: Headers | None) -> Message:
    return Message(
        shown.topic(), 0, shown.offset(), shown.key(), shown.value(), timestamp=shown.timestamp()[1], headers=headers
    )


def unasked(shown: Message) -> Message:
    return Unasked(shown.topic(), 0, shown.offset(), shown.key(), shown.value(), timestamp=shown.timestamp()[1])


def traced(shown: Message, *parents: str, state: bytes | None = None) -> Message:
    states = [] if state is None else [("tracestate", state)]
    return with_headers(shown, [*(("traceparent", parent.encode()) for parent in parents), *states])


def calls(*messages: Message, world: RunnerWorld | None = None) -> list[OptOutCall]:
    world = world or RunnerWorld(codec=TRACING)
    for message in messages:
        world.runner.on_message(Side(("offers", "checkouts").index(message.topic() or "")), message, NOW)
    pass_time(world.runner, 12_000)
    return world.runner.decide()


def trace_of(call: OptOutCall) -> tuple[str, str] | None:
    return None if call.trace is None else (call.trace.context.traceparent, call.trace.context.tracestate)


def test_off_no_record_is_asked_for_its_headers() -> None:
    world = RunnerWorld(codec=codec_of(Settings()))
    (call,) = calls(unasked(offer(0, AT)), unasked(checkout(0, AT + 1, "another", session="s1")), world=world)
    assert call.trace is None


def test_on_a_checkout_is_not_asked_for_its_headers() -> None:
    (call,) = calls(traced(offer(0, AT), SAMPLED), unasked(checkout(0, AT + 1, "another", session="s1")))
    assert trace_of(call) == (SAMPLED, "")


def test_the_call_has_the_trace_of_its_record() -> None:
    (call,) = calls(traced(offer(0, AT), UNSAMPLED, state=b"a=1"))
    assert trace_of(call) == (UNSAMPLED, "a=1")


def test_of_a_chain_the_trace_of_the_last_presentation_counts() -> None:
    """As do its metadata, its price and its place. Last by the time it was shown, not by the place in the log."""
    late, early = traced(offer(0, AT + 500), SAMPLED), traced(offer(1, AT), OTHER)
    (call,) = calls(late, early)
    assert (call.source.offset, trace_of(call)) == (0, (SAMPLED, ""))
    (call,) = calls(traced(offer(0, AT), SAMPLED), with_headers(offer(1, AT + 500), None))
    assert (call.source.offset, trace_of(call)) == (1, None), "an older trace is not carried on for it"


@given(st.one_of(st.none(), st.lists(st.tuples(st.sampled_from(["traceparent", "tracestate"]), st.binary()))))
def test_no_headers_change_what_is_called_and_how(headers: list[tuple[str, bytes]] | None) -> None:
    (call,) = calls(with_headers(offer(0, AT), headers))
    (plain,) = calls(offer(0, AT), world=RunnerWorld(codec=PlainCodec()))
    for name in ("partner_code", "offer_id", "session_id", "reason", "metadata", "source", "chain_start"):
        assert getattr(call, name) == getattr(plain, name)


# --- the lines of the log about a call


def purchase_after(world: RunnerWorld) -> None:
    (call,) = calls(traced(offer(0, AT), SAMPLED), world=world)
    world.runner.on_result(CallResult(call, Outcome.OPTED_OUT, 204, 1, None))
    world.runner.on_message(Side.CHECKOUTS, checkout(0, AT + 1, "o1", session="s1"), NOW)


def released(world: RunnerWorld) -> None:
    (call,) = calls(traced(offer(0, AT), SAMPLED), world=world)
    world.runner.on_result(CallResult(call, Outcome.RELEASED, None, 1, "let go"))


def rejected(world: RunnerWorld, gone: bool = False) -> None:
    shown = traced(offer(0, AT), SAMPLED)
    (call,) = calls(shown, world=world)
    result = CallResult(call, Outcome.DEAD_LETTERED, 422, 1, "Unexpected field")
    world.runner.on_result(result)
    world.runner.on_record_fetched(result, None if gone else Record.of(shown))  # type: ignore[arg-type]  # a fake


def record_gone(world: RunnerWorld) -> None:
    rejected(world, gone=True)


@pytest.mark.parametrize(
    ("happens", "line"),
    [
        (purchase_after, "purchase_after_opt_out"),
        (released, "released"),
        (rejected, "dead letter"),
        (record_gone, "rejected, and its record is gone"),
    ],
)
def test_a_line_about_a_call_has_the_id_of_its_trace(happens, line: str) -> None:
    with structlog.testing.capture_logs() as logs:
        happens(RunnerWorld(codec=TRACING))
    (found,) = [entry for entry in logs if entry["event"].startswith(line)]
    assert found["trace_id"] == TRACE_ID


def test_without_a_trace_the_lines_have_no_such_field(tmp_path) -> None:
    with structlog.testing.capture_logs() as logs:
        purchase_after(RunnerWorld(codec=CODEC))
        world = RunnerWorld(Releases(release_file(tmp_path, "o1")), codec=CODEC)
        assert calls(offer(0, AT), world=world) == []
        world.runner.on_message(Side.OFFERS, with_headers(offer(2, AT), None), NOW)
    assert {entry["event"] for entry in logs} >= {"purchase_after_opt_out", "released"}
    assert [entry for entry in logs if "trace_id" in entry] == []
