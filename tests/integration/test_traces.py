"""A trace from the header of a record at a real Kafka to the header of the call, and to a receiver of spans."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from support.deployment import AGE, Deployment, deployed, now, until
from support.otlp_receiver import OtlpReceiver, values
from support.run_command import opt_out
from support.traced_calls import PARENT_ID, SAMPLED, TRACE_ID, UNSAMPLED, HeaderApi

FORGED = f"{SAMPLED}\r\nX-Api-Key: forged"


def present(deployment: Deployment, offer_id: str, *headers: tuple[str, str]) -> None:
    at = now() - AGE
    event = {
        "event_id": offer_id,
        "session_id": f"session-{offer_id}",
        "partner_code": "ACME",
        "offer_id": offer_id,
        "presented_at": at,
    }
    value = deployment.codec.encode_offer(event)
    deployment.produce(deployment.offer_topic, f"session-{offer_id}", value, at, headers=list(headers))


def present_all(deployment: Deployment) -> int:
    """One of each kind, and how many they are."""
    present(deployment, "sampled", ("traceparent", SAMPLED), ("tracestate", "rojo=1"), ("tracestate", "congo=t61"))
    present(deployment, "unsampled", ("traceparent", UNSAMPLED), ("other", "x"))
    present(deployment, "plain")
    present(deployment, "forged", ("traceparent", FORGED), ("tracestate", "a=1\r\nX-Api-Key: forged"))
    present(deployment, "half-forged", ("traceparent", SAMPLED), ("tracestate", "a=1\r\nX-Api-Key: forged"))
    deployment.flush()
    return 5


def traces(api: HeaderApi, offer_id: str) -> list[tuple[str | None, str | None]]:
    return [(headers.get("traceparent"), headers.get("tracestate")) for headers in api.of(offer_id)]


def test_a_call_carries_on_the_trace_of_its_record(real_kafka, tmp_path: Path) -> None:
    with (
        HeaderApi().serving() as api,
        deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(1, 1)) as deployment,
    ):
        count = present_all(deployment)
        process = deployment.start(API__BASE_URL=api.base_url, TRACE__ENABLED="true")
        until(lambda: deployment.committed_total() == count, within=60, what="all offers to be settled")
        assert process.terminate() == 0
        assert traces(api, "sampled") == [(SAMPLED, "rojo=1,congo=t61")] * 2, "each try carries it on"
        assert traces(api, "unsampled") == [(UNSAMPLED, None)] * 2
        assert traces(api, "plain") == traces(api, "forged") == [(None, None)] * 2
        assert traces(api, "half-forged") == [(SAMPLED, None)] * 2
        assert {headers["x-api-key"] for _, headers in api.calls} == {deployment.environ()["OPT_OUT_API__KEY"]}
        told = {line["offer_id"]: line.get("trace_id") for line in process.lines("call answered")}
        assert told == {
            "sampled": TRACE_ID, "unsampled": TRACE_ID, "half-forged": TRACE_ID, "plain": None, "forged": None,
        }  # fmt: skip


def test_without_the_setting_no_call_has_a_trace(real_kafka, tmp_path: Path) -> None:
    with (
        HeaderApi().serving() as api,
        deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(1, 1)) as deployment,
    ):
        count = present_all(deployment)
        process = deployment.start(API__BASE_URL=api.base_url)
        until(lambda: deployment.committed_total() == count, within=60, what="all offers to be settled")
        assert process.terminate() == 0
        assert len(api.calls) == 2 * count
        assert [headers for _, headers in api.calls if {"traceparent", "tracestate"} & set(headers)] == []
        assert TRACE_ID not in process.text()


def test_a_span_of_each_request_arrives_before_the_process_has_ended(real_kafka, tmp_path: Path) -> None:
    with (
        HeaderApi().serving() as api,
        OtlpReceiver().serving() as receiver,
        deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(1, 1)) as deployment,
    ):
        count = present_all(deployment)
        process = deployment.start(
            API__BASE_URL=api.base_url, TRACE__ENABLED="true", TRACE__OTLP_ENDPOINT=receiver.endpoint
        )
        until(lambda: deployment.committed_total() == count, within=60, what="all offers to be settled")
        assert process.terminate() == 0
        assert len(receiver.spans) == 4
        assert {(span.trace_id.hex(), span.parent_span_id.hex()) for span in receiver.spans} == {(TRACE_ID, PARENT_ID)}
        children = {f"00-{TRACE_ID}-{span.span_id.hex()}-01" for span in receiver.spans}
        assert {parent for parent, _ in traces(api, "sampled") + traces(api, "half-forged")} == children
        assert traces(api, "unsampled") == [(UNSAMPLED, None)] * 2
        assert sorted(values(span)["http.response.status_code"] for span in receiver.spans) == [204, 204, 503, 503]
        for span in receiver.spans:
            assert not [word for word in (b"sampled", b"ACME", b"session-") if word in span.SerializeToString()]


@pytest.mark.parametrize("status", [None, 503, 0], ids=["hangs", "refuses", "is not there"])
def test_a_receiver_that_is_gone_stops_neither_calls_nor_the_stop(
    real_kafka, tmp_path: Path, status: int | None
) -> None:
    with (
        HeaderApi().serving() as api,
        OtlpReceiver().serving() as receiver,
        deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(1, 1)) as deployment,
    ):
        receiver.status = status
        endpoint = receiver.endpoint if status != 0 else "http://127.0.0.1:9"
        count = present_all(deployment)
        process = deployment.start(
            API__BASE_URL=api.base_url, TRACE__ENABLED="true", TRACE__OTLP_ENDPOINT=endpoint,
            DELIVERY__SHUTDOWN_TIMEOUT="5s",
        )  # fmt: skip
        until(lambda: deployment.committed_total() == count, within=60, what="all offers to be settled")
        if status == 0:
            until(lambda: "spans are lost" in process.text(), within=40, what="the log to say so")
        begun = time.monotonic()
        assert process.terminate() == 0
        assert time.monotonic() - begun < 5
        assert len(api.calls) == 2 * count
        if status == 0:
            (line,) = [line for line in process.lines() if line["event"].startswith("spans are lost")]
            assert line["runbook"] == "opt-out manual runbook#spans-are-lost"
            assert "refused" in line["why"]
        assert [line for line in process.lines() if str(line.get("logger", "")).startswith("opentelemetry")] == []


def test_an_endpoint_alone_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    told = opt_out("settings", "--check", OPT_OUT_TRACE__OTLP_ENDPOINT="http://127.0.0.1:4318")
    assert told.returncode == 2
    assert "trace.enabled" in told.stdout + told.stderr
