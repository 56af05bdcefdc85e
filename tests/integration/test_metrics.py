"""Each metric moves when it should: real processes, a real broker, real HTTP, read as Prometheus reads them."""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from support.deployment import AGE, Deployment, deployed, now, until
from support.scraped import Scraped, moved

from consumer.server.metrics import METRICS
from consumer.snapshot import MOST_PARTNERS, OTHER

MOVES = {
    "test_offers_of_every_fate": {
        "opt_out_assigned", "opt_out_call_duration_seconds", "opt_out_call_retries_total", "opt_out_calls_total",
        "opt_out_clock_ahead_seconds", "opt_out_commit_age_seconds", "opt_out_commit_metadata_characters",
        "opt_out_commit_metadata_limit_characters", "opt_out_committed_offset", "opt_out_dead_letters_total",
        "opt_out_decisions_total", "opt_out_input_position", "opt_out_kept_checkouts", "opt_out_left_out_records_total",
        "opt_out_open_presentations", "opt_out_outcomes_total", "opt_out_purchases_after_opt_out_total",
        "opt_out_records_total", "opt_out_sessions", "opt_out_snapshot_age_seconds", "opt_out_task_phase",
        "opt_out_tasks", "opt_out_watermark_delay_seconds",
    },
    "test_an_api_that_is_down": {
        "opt_out_calls_in_flight", "opt_out_calls_queued", "opt_out_due_uncalled", "opt_out_held_back",
        "opt_out_input_lag_records", "opt_out_input_log_end", "opt_out_input_paused",
        "opt_out_oldest_unsettled_age_seconds", "opt_out_partner_stopped", "opt_out_partner_unsettled",
        "opt_out_reading_paused", "opt_out_retention_left_seconds", "opt_out_unsettled",
        "opt_out_watermark_standing_seconds",
    },
    "test_each_way_to_stop_a_partner": {"opt_out_partner_stopped"},
    "test_silence_of_the_checkouts": {"opt_out_suspended"},
    "test_a_clock_that_goes_wrong": {
        "opt_out_calls_gate_closed", "opt_out_clock_ahead_seconds", "opt_out_suspended",
    },
    "test_a_restart_after_kill_9": {"opt_out_repeats_skipped_total", "opt_out_started_time_seconds"},
}  # fmt: skip
"""The metrics that each of these tests sees moving."""


def test_every_metric_is_seen_moving_by_one_of_these_tests() -> None:
    assert set().union(*MOVES.values()) == {metric.name for metric in METRICS}
    assert [name for name in MOVES if not callable(globals().get(name))] == []


@pytest.fixture
def moves(request: pytest.FixtureRequest) -> set[str]:
    """The metrics that this test is to see moving."""
    return MOVES[request.node.name]


def test_offers_of_every_fate(real_kafka, tmp_path: Path, moves: set[str]) -> None:
    scenario = "ACME/unknown:404; ACME/odd:500=100; 204"
    settings = {
        "INPUT__OFFERS__FORMAT": "json",
        "INPUT__OFFERS__WHEN": "partner_code != 'FOREIGN'",
        "DEAD_LETTER__LATE_RUN": "0",
    }
    with deployed(
        real_kafka.bootstrap_servers, tmp_path, scenario=scenario, partitions=(1, 1), settings=settings
    ) as deployment:
        metrics = Scraped(deployment)
        metrics.until("opt_out_task_phase", 1, partition="0", phase="running")
        at = now()
        for offer_id in ("left", "unknown", "odd", "declined", "bought"):
            present(deployment, offer_id, session=f"s-{offer_id}", at=at)
        present(deployment, "foreign", session="s1", at=at, partner="FOREIGN")
        deployment.check_out("bought", session="s-bought", at=at + 1)
        deployment.check_out(session="s-declined", at=at + 1)
        deployment.produce(deployment.offer_topic, "s1", b"\xff\xff", at)
        deployment.flush()
        metrics.until("opt_out_open_presentations", 5, partition="0")
        assert metrics.value("opt_out_kept_checkouts", partition="0")
        metrics.until("opt_out_outcomes_total", 3, outcome="OPTED_OUT")
        metrics.until("opt_out_outcomes_total", 1, outcome="NOT_FOUND")
        metrics.until("opt_out_outcomes_total", 1, outcome="PURCHASED")
        decided = {reason: metrics.value("opt_out_decisions_total", reason=reason) for reason in
                   ("ABANDONED", "DECLINED", "PURCHASED", "CHECKOUT_UNREADABLE")}  # fmt: skip
        assert decided == {"ABANDONED": 3, "DECLINED": 1, "PURCHASED": 1, "CHECKOUT_UNREADABLE": 0}
        # What the calls have come to is told a moment later than what was settled.
        metrics.until("opt_out_calls_total", 3, partner="ACME", status="204")
        metrics.until("opt_out_calls_total", 1, partner="ACME", status="404")
        failed = metrics.value("opt_out_calls_total", partner="ACME", status="500")
        assert failed == metrics.value("opt_out_call_retries_total", partner="ACME")
        assert metrics.value("opt_out_call_duration_seconds_count") == metrics.total("opt_out_calls_total")
        assert metrics.value("opt_out_dead_letters_total", input="offers", reason="undecodable") == 1
        assert metrics.value("opt_out_left_out_records_total", input="offers") == 1
        assert metrics.value("opt_out_records_total", input="offers") == 7
        assert metrics.value("opt_out_records_total", input="checkouts") == 2
        # One that was called is bought, one comes too late, and one is dated ahead.
        deployment.check_out("left", session="s-left")
        present(deployment, "late", session="s2", at=at - 3_600_000)
        present(deployment, "ahead", session="s3", at=at + 7_200_000, stamp=now())
        deployment.flush()
        metrics.until("opt_out_purchases_after_opt_out_total", 1)
        metrics.until("opt_out_dead_letters_total", 1, input="offers", reason="late")
        metrics.until("opt_out_dead_letters_total", 1, input="offers", reason="implausible_time")
        metrics.until("opt_out_outcomes_total", 2, outcome="DEAD_LETTERED")
        metrics.until("opt_out_committed_offset", 9, topic=deployment.offer_topic, partition="0")
        assert moves <= moved(metrics)
        check_by_promtool(metrics.text())
        assert metrics.process.terminate() == 0


def present(
    deployment: Deployment, offer_id: str, *, session: str, at: int, partner: str = "ACME", stamp: int | None = None
) -> None:
    """An offer is shown, as JSON; its record is stamped as it is dated, if not told otherwise (ms)."""
    event = {
        "event_id": uuid.uuid4().hex,
        "session_id": session,
        "partner_code": partner,
        "offer_id": offer_id,
        "presented_at": at,
    }
    deployment.produce(deployment.offer_topic, session, json.dumps(event).encode(), at if stamp is None else stamp)


def check_by_promtool(text: str) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        print("not looked at by promtool, which is not installed: apt install prometheus")
        return
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, check=False, timeout=60, text=True
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_an_api_that_is_down(real_kafka, tmp_path: Path, moves: set[str]) -> None:
    settings = {"DELIVERY__MAX_UNSETTLED": "10", "API__TIMEOUT": "1s"}
    with deployed(
        real_kafka.bootstrap_servers, tmp_path, scenario="HANG:hang; 503", partitions=(1, 1), settings=settings
    ) as deployment:
        offers = {"topic": deployment.offer_topic, "partition": "0"}
        keep_for(deployment.admin, deployment.offer_topic, hours=2)
        metrics = Scraped(deployment)
        metrics.until("opt_out_tasks", 1)
        metrics.until("opt_out_unsettled", 0, partition="0")
        metrics.until("opt_out_reading_paused", 0)
        for number in range(12):
            partner = "HANG" if number % 2 else "ACME"
            deployment.present(f"offer-{number}", session=f"s{number}", partner=partner)
        deployment.flush()
        metrics.until("opt_out_unsettled", 12, partition="0")
        metrics.until("opt_out_due_uncalled", 12, partition="0")
        metrics.until("opt_out_calls_in_flight", lambda calls: calls > 0)
        metrics.until("opt_out_partner_stopped", 1, partner="ACME", by="breaker")
        metrics.until("opt_out_partner_unsettled", 6, partner="HANG")
        metrics.until("opt_out_calls_total", lambda tries: tries > 0, partner="HANG", status="none")
        metrics.until("opt_out_reading_paused", 1)
        metrics.until("opt_out_input_paused", 1, **offers)
        for number in range(30):
            deployment.present(f"more-{number}", session=f"t{number}")
        deployment.flush()
        # librdkafka's own figure would stand at what it was when the partition was paused.
        metrics.until("opt_out_input_lag_records", 30, **offers)
        assert metrics.value("opt_out_input_position", **offers) == 12
        assert metrics.value("opt_out_input_log_end", **offers) == 42
        metrics.until("opt_out_held_back", 1, partition="0", input="offers", cause="unsettled")
        assert (metrics.value("opt_out_watermark_standing_seconds", partition="0") or 0) >= 10
        assert (metrics.value("opt_out_oldest_unsettled_age_seconds", partition="0") or 0) >= 10
        metrics.until("opt_out_retention_left_seconds", lambda left: 7_000 < left < 7_190, **offers)
        deployment.api.set_scenario("204")
        metrics.until("opt_out_reading_paused", 0, within=120)
        metrics.until("opt_out_partner_stopped", 0, partner="ACME", by="breaker", within=120)
        metrics.until("opt_out_input_lag_records", 0, within=120, **offers)
        metrics.until("opt_out_unsettled", 0, partition="0", within=120)
        metrics.until("opt_out_watermark_standing_seconds", 0, partition="0")
        metrics.until("opt_out_held_back", None, partition="0", input="offers", cause="unsettled")
        assert metrics.value("opt_out_oldest_unsettled_age_seconds", partition="0") == 0
        assert moves <= moved(metrics)


def keep_for(admin: AdminClient, topic: str, *, hours: int) -> None:
    """Set the topic's retention."""
    entry = ConfigEntry("retention.ms", str(hours * 3_600_000), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for answer in admin.incremental_alter_configs([resource]).values():
        answer.result(20)


def test_each_way_to_stop_a_partner(real_kafka, tmp_path: Path, moves: set[str]) -> None:
    stops = {"DENIED": "credentials", "SLOW": "retry_after", "LOST": "not_found", "WRONG": "rejected"}
    scenario = "DENIED:403; SLOW:429; LOST:404; WRONG:422; 204"
    with deployed(
        real_kafka.bootstrap_servers, tmp_path, scenario=scenario, settings={"DELIVERY__NOT_FOUND_LIMIT": "2"}
    ) as deployment:
        metrics = Scraped(deployment)
        metrics.until("opt_out_tasks", 4)
        for partner in stops:
            for number in range(2):
                deployment.present(f"{partner}-{number}", session=f"{partner}-{number}", partner=partner)
        deployment.flush()
        for partner, stop in stops.items():
            metrics.until("opt_out_partner_stopped", 1, partner=partner, by=stop)
            assert metrics.value("opt_out_partner_stopped", partner=partner, by="breaker") is not None
        assert moves <= moved(metrics)


def test_silence_of_the_checkouts(real_kafka, tmp_path: Path, moves: set[str]) -> None:
    settings = {"JOIN__CHECKOUT_SILENCE": "20s", "JOIN__LATENESS": "3s"}
    with deployed(real_kafka.bootstrap_servers, tmp_path, settings=settings) as deployment:
        metrics = Scraped(deployment)
        metrics.until("opt_out_suspended", 0, reason="checkout_silence")
        begin = now() - 60_000
        deployment.check_out(session="s0", at=begin)
        for second in range(60):
            deployment.present(f"offer-{second}", session=f"s{second}", at=begin - 500 + second * 1_000)
        deployment.flush()
        metrics.until("opt_out_suspended", 1, reason="checkout_silence")
        assert metrics.total("opt_out_decisions_total") == 0
        deployment.check_out(session="now")
        deployment.flush()
        metrics.until("opt_out_suspended", 0, reason="checkout_silence")
        metrics.until("opt_out_outcomes_total", lambda settled: settled > 50, outcome="OPTED_OUT")
        assert moves <= moved(metrics)


def test_a_clock_that_goes_wrong(real_kafka, tmp_path: Path, moves: set[str]) -> None:
    clock = tmp_path / "clock"
    clock.write_text("0", encoding="utf-8")
    settings = {"JOIN__MAX_SKEW": "30s"}
    with deployed(real_kafka.bootstrap_servers, tmp_path, scenario="503", settings=settings) as deployment:
        metrics = Scraped(deployment, clock=clock)
        deployment.present("waits", at=now() - AGE)
        deployment.flush()
        metrics.until("opt_out_calls_total", lambda tries: tries > 0, partner="ACME", status="503")
        metrics.until("opt_out_clock_ahead_seconds", 0)
        metrics.until("opt_out_calls_gate_closed", 0)
        (beside := tmp_path / "clock.new").write_text("90", encoding="utf-8")
        beside.rename(clock)
        metrics.until("opt_out_clock_ahead_seconds", lambda ahead: 80 < ahead < 100)
        metrics.until("opt_out_suspended", 1, reason="clock")
        metrics.until("opt_out_calls_gate_closed", 1)
        assert moves <= moved(metrics)


def test_a_restart_after_kill_9(real_kafka, tmp_path: Path, moves: set[str]) -> None:
    with deployed(
        real_kafka.bootstrap_servers, tmp_path, scenario="ACME/stuck:503; 204", partitions=(1, 1)
    ) as deployment:
        deployment.present("stuck", session="s", at=now() - AGE)
        for number in range(20):
            deployment.present(f"offer-{number}", session=f"s{number}", at=now() - AGE)
        deployment.flush()
        first = Scraped(deployment)
        first.until("opt_out_outcomes_total", 20, outcome="OPTED_OUT")
        assert first.value("opt_out_repeats_skipped_total") == 0
        until(lambda: has_listed_what_is_stuck(deployment), within=30, what="a commit that lists what waits")
        first.process.kill()
        again = Scraped(deployment)
        again.until("opt_out_repeats_skipped_total", 20)
        again.until("opt_out_unsettled", 1, partition="0")
        again.until("opt_out_decisions_total", 1, reason="ABANDONED")
        assert sorted(deployment.settled()) == sorted(f"offer-{number}" for number in range(20)), "none a second time"
        assert moves <= moved(first, again)


def has_listed_what_is_stuck(deployment: Deployment) -> bool:
    """Whether the last commit was made with all but the first offer settled: nothing is listed but that."""
    ((offset, metadata),) = deployment.committed(deployment.offer_topic).values()
    return offset == 0 and bool(metadata) and len(deployment.settled()) == 20


def test_a_thousand_partners_and_no_id_in_any_label(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        for number in range(1_000):
            deployment.present(
                f"offer-of-{number}", session=f"session-of-{number}", at=now() - AGE, partner=f"partner-{number}"
            )
        deployment.flush()
        metrics = Scraped(deployment)
        metrics.until("opt_out_outcomes_total", 1_000, outcome="OPTED_OUT", within=90)
        # What the calls have come to is told a moment later than what was settled.
        metrics.until("opt_out_calls_total", 1_000 - MOST_PARTNERS, partner=OTHER, status="204")
        partners = {labels for name, labels in metrics.now if name == "opt_out_partner_unsettled"}
        assert len(partners) == MOST_PARTNERS + 1
        text = metrics.text()
        assert "offer-of-" not in text
        assert "session-of-" not in text
        assert text.count("\n") < 2_500
