"""Each alert fires on its fault, and on no other, in a real Prometheus that asks the real endpoint.

First every fault as a snapshot that the endpoint serves, all at once, each as a deployment of its own. Then those that
somebody can bring about within a minute, in a real consumer with a real Kafka. That a rule waits for as long as it says
is in tests/alerts/alerts_test.yml; here none waits.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import httpx
import pytest
from brokers.base import free_port
from brokers.producers import ordered_producer
from support.deployment import AGE, Deployment, Process, deployed, now, until
from support.health import Told
from support.prometheus import ALERTS, PrometheusServer, program, quick_rules, watching

from consumer.server.http import serving
from consumer.server.latest import Latest
from consumer.settings import ServerSettings
from consumer.snapshot import (
    CallsSnapshot,
    CountsSnapshot,
    HeldBack,
    InputSnapshot,
    OldestUnsettled,
    Snapshot,
    Suspended,
    TaskSnapshot,
)

MINUTE, HOUR = 60_000, 3_600_000
"""Milliseconds."""
DAY_S = 86_400.0

Change = Callable[[Snapshot, int], Snapshot]
"""What is other than all well, at that time (ms)."""


def well(at: int) -> Snapshot:
    """A run of which nothing is to be said."""

    def side(topic: str) -> InputSnapshot:
        return InputSnapshot(topic=topic, watermark=at - 5 * MINUTE, position=9, log_end=9, retention_left=7 * DAY_S)

    task = TaskSnapshot(
        partition=0,
        phase="running",
        watermark=at - 5 * MINUTE,
        offers=side("offers"),
        checkouts=side("checkouts"),
        committed_at=at - 5_000,
        metadata_characters=100,
        metadata_limit=4_095,
    )
    answers = {("ACME", "204"): 1_000, ("ACME", "503"): 1}
    return Snapshot(
        taken_at=at,
        started_at=1_700_000_000_000,
        group="group",
        instance="instance",
        assigned=True,
        tasks=(task,),
        clock_ahead=0.1,
        calls=CallsSnapshot(answers=answers, stopped={"ACME": ()}, unsettled={"ACME": 0}),
        counts=CountsSnapshot(),
    )


def task(**change: Any) -> Change:
    return lambda run, at: replace(
        run, tasks=(replace(run.tasks[0], **{k: v(at) if callable(v) else v for k, v in change.items()}),)
    )


def left(days: float) -> Change:
    return lambda run, _: replace(
        run, tasks=(replace(run.tasks[0], offers=replace(run.tasks[0].offers, retention_left=days * DAY_S)),)
    )


def suspended(reason: str) -> Change:
    return lambda run, at: replace(run, suspended=(Suspended(reason=reason, what="why", since=at),))


def counts(**change: Any) -> Change:
    return lambda run, _: replace(run, counts=replace(run.counts, **change))


def calls(**change: Any) -> Change:
    return lambda run, at: replace(
        run, calls=replace(run.calls, **{k: v(at) if callable(v) else v for k, v in change.items()})
    )


def stopped(by: str) -> Change:
    return calls(stopped={"ACME": (by,)}, unsettled={"ACME": 3})


class Fault(NamedTuple):
    """What is wrong, and which alerts that is to fire."""

    change: Change
    alerts: tuple[str, ...]


def oldest(at: int) -> OldestUnsettled:
    return OldestUnsettled(
        partner_code="ACME", offer_id="o", session_id="s", offset=1, presented_at=at - 2 * HOUR, due_at=at - 2 * HOUR
    )


def held_back(at: int) -> HeldBack:
    return HeldBack(side="checkouts", cause="transaction", what="why", since=at - 15 * MINUTE, told=True)


BEGUN = now()
FAULTS: Mapping[str, Fault] = {
    "restarts": Fault(lambda run, at: replace(run, started_at=at - at % 3_000), ("OptOutRestarts",)),
    "the loop stands": Fault(lambda run, at: replace(run, taken_at=at - 2 * MINUTE), ("OptOutLoopStands",)),
    "no assignment": Fault(
        lambda run, _: replace(run, assigned=False, tasks=()), ("OptOutNotAssigned", "OptOutPartitionsUnattended")
    ),
    # Behind, and not committed, as is usual while restoring.
    "restoring": Fault(
        task(phase="restoring", watermark=lambda at: at - 3 * HOUR, committed_at=lambda at: at - HOUR),
        ("OptOutRestoringLong",),
    ),
    "late": Fault(task(watermark=lambda at: at - 20 * MINUTE), ("OptOutDecisionsLate",)),
    "very late": Fault(task(watermark=lambda at: at - 3 * HOUR), ("OptOutDecisionsLate", "OptOutDecisionsVeryLate")),
    "standing": Fault(
        task(watermark=lambda at: at - 20 * MINUTE, held_back=held_back),
        ("OptOutDecisionsLate", "OptOutWatermarkStands"),
    ),
    "silence": Fault(suspended("checkout_silence"), ("OptOutNoCheckouts",)),
    "unmatched": Fault(suspended("unmatched"), ("OptOutPurchasesMatchNothing",)),
    "misdated": Fault(suspended("misdated"), ("OptOutCheckoutsMisdated",)),
    "clock": Fault(suspended("clock"), ("OptOutClockWrong",)),
    "landing": Fault(suspended("landing"), ("OptOutDecisionsWait",)),
    "gap": Fault(suspended("gap"), ("OptOutDecisionsWait",)),
    "ahead": Fault(lambda run, _: replace(run, clock_ahead=5.0), ("OptOutClockAhead",)),
    "behind": Fault(lambda run, _: replace(run, clock_ahead=-5.0), ("OptOutClockAhead",)),
    "full": Fault(lambda run, _: replace(run, full=True), ("OptOutReadingPaused",)),
    "credentials": Fault(stopped("credentials"), ("OptOutCredentialsRefused",)),
    "breaker": Fault(stopped("breaker"), ("OptOutBreakerOpen",)),
    "not found": Fault(stopped("not_found"), ("OptOutNothingButNotFound",)),
    "rejected": Fault(stopped("rejected"), ("OptOutRejected",)),
    "retry after": Fault(stopped("retry_after"), ("OptOutToldToWait",)),
    "gate": Fault(
        lambda run, at: task(due_uncalled=3)(calls(gate_closed=("why",))(run, at), at), ("OptOutNoCallLeaves",)
    ),
    "calls fail": Fault(
        calls(answers=lambda at: {("ACME", "204"): 1_000, ("ACME", "503"): 1 + (at - BEGUN) // 100}),
        ("OptOutCallsFail",),
    ),
    "held": Fault(task(oldest_unsettled=oldest, unsettled=1, due_uncalled=1), ("OptOutOldestUnsettled",)),
    "bought": Fault(counts(purchases_after_opt_out=8), ("OptOutPurchaseAfterOptOut",)),
    "uncommitted": Fault(task(committed_at=lambda at: at - 20 * MINUTE), ("OptOutCommitOld",)),
    "half": Fault(left(3.0), ("OptOutRetentionHalfUsed",)),
    "ends": Fault(left(0.4), ("OptOutRetentionHalfUsed", "OptOutRetentionEnds")),
    "long text": Fault(task(metadata_characters=4_000), ("OptOutCommitMetadataFull",)),
    "dead letters": Fault(counts(dead_letters={("offers", "late"): 20}), ("OptOutDeadLetters",)),
    "foreign keys": Fault(counts(dead_letters={("checkouts", "key_mismatch"): 1}), ("OptOutForeignCheckoutKeys",)),
}
LOOK_BACK = {"restarts", "retry after", "calls fail", "bought", "dead letters", "foreign keys"}
"""Of these the alert goes on for as long as its expression looks back."""
GONE = {"OptOutNotSeen", "OptOutInstanceDown", "OptOutPartitionsUnattended"}
"""They fire when no instance is there any more."""


def test_every_alert_has_a_fault() -> None:
    assert {alert for fault in FAULTS.values() for alert in fault.alerts} | GONE == set(ALERTS)


class Stage:
    """A deployment of one instance for each fault: what it serves is made here, time and again."""

    def __init__(self) -> None:
        self.ports: dict[str, int] = {}
        self.faulty = False
        self._latest = {fault: Latest() for fault in FAULTS}

    @contextmanager
    def served(self) -> Iterator[None]:
        self.play()
        with ExitStack() as stack:
            for fault, latest in self._latest.items():
                self.ports[fault] = port = free_port()  # and it is taken at once
                stack.enter_context(serving(ServerSettings(port=port), Told(), latest))
            yield

    def play(self) -> None:
        """Swap in what each has to tell now."""
        at = now()
        for name, latest in self._latest.items():
            run = well(at)
            latest.swap_in(FAULTS[name].change(run, at) if self.faulty else run)

    def until(self, missing: Callable[[], object], *, within: float, what: str) -> None:
        """Wait until nothing is missing any more, and play meanwhile."""
        deadline = time.monotonic() + within
        while left := missing():
            assert time.monotonic() < deadline, f"not within {within} s: {what}: {left}"
            self.play()
            time.sleep(0.2)


def fired(server: PrometheusServer) -> dict[str, set[str]]:
    """By job, the alerts that fire."""
    found: dict[str, set[str]] = {}
    for alert in server.alerts():
        found.setdefault(alert["labels"].get("job", ""), set()).add(alert["labels"]["alertname"])
    return found


def differences(server: PrometheusServer, wanted: Mapping[str, set[str]]) -> dict[str, tuple[set[str], set[str]]]:
    """By job, what fires and what should, where these differ."""
    found = fired(server)
    jobs = found.keys() | wanted.keys()
    both = {job: (found.get(job, set()), wanted.get(job, set())) for job in jobs}
    return {job: (is_so, should) for job, (is_so, should) in both.items() if is_so != should}


def test_each_alert_fires_on_its_fault_and_no_other_does_and_it_ends_with_it(tmp_path: Path) -> None:
    stage = Stage()
    with ExitStack() as stack:
        served = stack.enter_context(ExitStack())
        served.enter_context(stage.served())
        server = stack.enter_context(watching(tmp_path, stage.ports, quick_rules()))
        with served:
            well_seen = "min_over_time(up[3s]) == 1 and on (job) opt_out_snapshot_age_seconds"
            stage.until(
                lambda: len(FAULTS) - len(server.ask("query", query=well_seen)["result"]),
                within=60,
                what="all to be asked",
            )
            stage.until(lambda: fired(server), within=30, what="no alert while all is well")

            stage.faulty = True
            wanted = {job: set(fault.alerts) for job, fault in FAULTS.items()}
            stage.until(lambda: differences(server, wanted), what="each its alerts, and no other", within=90)
            rules = [rule for group in server.ask("rules")["groups"] for rule in group["rules"]]
            assert {rule["name"]: rule["health"] for rule in rules} == dict.fromkeys(ALERTS, "ok")
            for alert in server.alerts():
                words = alert["annotations"]
                assert "<no value>" not in str(words)
                assert "  " not in words["description"]
                port = stage.ports[alert["labels"]["job"]]
                assert words["runbook_url"].startswith(f"http://127.0.0.1:{port}/manual/runbook#")
                page = httpx.get(words["runbook_url"], timeout=10)
                assert f'id="{words["runbook"].partition("#")[2]}"' in page.text, words["runbook_url"]

            stage.faulty = False
            stage.until(lambda: fired(server).keys() - LOOK_BACK, within=30, what="the others to end")

        def all_gone() -> bool:
            found = fired(server)
            return found.get("") == {"OptOutNotSeen"} and all(
                found.get(job, set()) >= {"OptOutInstanceDown", "OptOutPartitionsUnattended"} for job in FAULTS
            )

        until(all_gone, within=60, what="the alerts of instances that are gone")


# --- real faults


Watched = Callable[..., tuple[Deployment, Process, PrometheusServer]]


@pytest.fixture
def watched(real_kafka: Any, tmp_path: Path) -> Iterator[Watched]:
    """Gives a deployment, and starts a consumer of it with a Prometheus that asks it."""
    program("prometheus")
    with ExitStack() as stack:

        def start(
            *,
            before: Callable[[Deployment], object],
            numbers: Mapping[str, tuple[str, str]] = MappingProxyType({}),
            patience: float | None = None,
            **more: Any,
        ) -> tuple[Deployment, Process, PrometheusServer]:
            deployment = stack.enter_context(
                deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(2, 2), **more)
            )
            before(deployment)
            deployment.flush()
            port = free_port()
            process = deployment.start(patience=patience, SERVER__PORT=str(port))
            server = stack.enter_context(watching(tmp_path, {"opt-out": port}, quick_rules(numbers)))
            return deployment, process, server

        yield start


def presented(count: int) -> Callable[[Deployment], None]:
    def write(deployment: Deployment) -> None:
        for n in range(count):
            deployment.present(f"offer-{n}", session=f"session-{n}", at=now() - AGE)

    return write


def fires(server: PrometheusServer, *alerts: str, within: float = 60) -> None:
    until(lambda: set(alerts) <= server.firing("opt-out"), within=within, what=f"{alerts} to fire")


def ends(server: PrometheusServer, *alerts: str, within: float = 60) -> None:
    until(lambda: not set(alerts) & server.firing("opt-out"), within=within, what=f"{alerts} to end")


def test_credentials_that_are_refused_and_are_taken_again(watched: Watched) -> None:
    deployment, _, server = watched(before=presented(3), scenario="403")
    fires(server, "OptOutCredentialsRefused")
    (alert,) = [a for a in server.alerts() if a["labels"]["alertname"] == "OptOutCredentialsRefused"]
    assert alert["labels"]["partner"] == "ACME"
    assert alert["annotations"]["summary"] == "The insurer refuses the credentials of ACME"
    deployment.api.set_scenario("204")
    ends(server, "OptOutCredentialsRefused", within=90)  # a probe leaves each 30 s


def test_prometheus_own_tool_finds_nothing_to_say_of_the_page(watched: Watched) -> None:
    _, _, server = watched(before=presented(3))
    url = f"http://127.0.0.1:{server.asked['opt-out']}/metrics"

    def page() -> str:
        try:
            return httpx.get(url, timeout=10).text
        except httpx.TransportError:
            return ""

    told = 'opt_out_calls_total{partner="ACME",status="204"} 3.0'
    until(lambda: told in page(), within=60, what="the calls to be told")
    command = [program("promtool"), "check", "metrics"]
    done = subprocess.run(command, input=page(), capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_an_api_that_fails_and_is_there_again(watched: Watched) -> None:
    deployment, _, server = watched(before=presented(20), scenario="503")
    fires(server, "OptOutBreakerOpen", "OptOutCallsFail", within=90)
    deployment.api.set_scenario("204")
    ends(server, "OptOutBreakerOpen", within=120)  # its back-off is at most a minute


def test_checkouts_that_stop(watched: Watched) -> None:
    def fall_silent(deployment: Deployment) -> None:
        begin = now() - 80_000
        deployment.check_out("sold-0", session="s0", at=begin)
        for second in range(60):
            deployment.present(f"sold-{second}", session=f"s{second}", at=begin - 500 + second * 1_000)

    deployment, _, server = watched(before=fall_silent, settings={"JOIN__CHECKOUT_SILENCE": "20s"})
    fires(server, "OptOutNoCheckouts")
    assert deployment.called() == []
    deployment.check_out(session="now")
    deployment.flush()
    ends(server, "OptOutNoCheckouts")


def test_a_transaction_that_nobody_ends(watched: Watched) -> None:
    producers = []

    def leave_open(deployment: Deployment) -> None:
        producer = ordered_producer(deployment.bootstrap, transactional_id=f"t-{deployment.suffix}")
        producer.init_transactions(30)
        producer.begin_transaction()
        producer.produce(deployment.checkout_topic, key="s1", value=None, partition=1)
        assert producer.flush(30) == 0
        producers.append(producer)

    _, _, server = watched(before=leave_open, numbers={"OptOutWatermarkStands": ("600", "8")}, patience=6.0)
    fires(server, "OptOutWatermarkStands")
    (labels,) = [a["labels"] for a in server.alerts() if a["labels"]["alertname"] == "OptOutWatermarkStands"]
    assert (labels["partition"], labels["input"], labels["cause"]) == ("1", "checkouts", "transaction")
    producers[0].abort_transaction(30)
    ends(server, "OptOutWatermarkStands")


def test_records_that_cannot_be_read(watched: Watched) -> None:
    def write(deployment: Deployment) -> None:
        for n in range(5):
            deployment.produce(deployment.offer_topic, f"session-{n}", b"\xff\xff", now())

    _, _, server = watched(before=write, numbers={"OptOutDeadLetters": ("> 10", "> 2")})
    fires(server, "OptOutDeadLetters")


def test_offers_that_are_rejected_and_an_instance_that_is_killed(watched: Watched) -> None:
    deployment, process, server = watched(
        before=presented(2), scenario="422", numbers={"OptOutOldestUnsettled": ("3600", "5")}
    )
    fires(server, "OptOutOldestUnsettled", "OptOutRejected")
    assert "OptOutInstanceDown" not in server.firing("opt-out")
    process.kill()
    fires(server, "OptOutInstanceDown", "OptOutPartitionsUnattended")
    until(lambda: "OptOutNotSeen" in {a["labels"]["alertname"] for a in server.alerts()}, within=30, what="nobody seen")
    deployment.api.set_scenario("204")
