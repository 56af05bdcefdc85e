"""Rule: a backfill settles the chains of its range and no other, once, in a group of its own, and a dry run nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from brokers import Broker
from support.deployment import (
    GRACE_MS,
    LATENESS_MS,
    LOOKBACK_MS,
    PARTITIONS,
    WINDOW_MS,
    Deployment,
    committed_offsets,
    deployed,
    now,
    until,
)

from consumer.events import Details, Mode, OfferOutcome, Outcome, Reason, RecordRef

SPAN = 40_000
"""Milliseconds that the offers of these tests are spread over."""


@dataclass(frozen=True)
class Past:
    """What was presented some time ago, an offer each 200 ms; every fourth was bought, every fourth declined."""

    begin: int
    count: int

    def at(self, number: int) -> int:
        return self.begin + 200 * number

    def between(self, begin: int, end: int) -> list[str]:
        return [f"o{n}" for n in range(self.count) if begin <= self.at(n) < end]

    def to_call(self, begin: int, end: int) -> list[str]:
        return [offer for offer in self.between(begin, end) if int(offer[1:]) % 4]


def iso(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")


class Shopped(NamedTuple):
    """An offer was shown, in a session of its name; or with `bought` the session checked out. `at` is in ms."""

    at: int
    offer: str
    bought: tuple[str, ...] | None = None


@contextmanager
def past(broker: Broker, folder: Path, *more: Shopped) -> Iterator[tuple[Deployment, Past]]:
    """Topics with a past that is over, and checkouts from long before and after it; `more` is relative to its begin."""
    with deployed(broker.bootstrap_servers, folder) as deployment:
        shown = Past(now() - 300_000, SPAN // 200)
        events = [Shopped(at, f"other-{at}", bought=()) for at in range(-60_000, SPAN + 60_000, 1_000)]
        for n in range(shown.count):
            events.append(Shopped(200 * n, f"o{n}"))
            if n % 4 == 0:
                events.append(Shopped(200 * n + 1_000, f"o{n}", bought=(f"o{n}",)))
            elif n % 4 == 1:
                events.append(Shopped(200 * n + 1_000, f"o{n}", bought=()))
        for event in sorted([*events, *more], key=lambda event: event.at):
            at, session = shown.begin + event.at, event.offer
            if event.bought is None:
                deployment.present(event.offer, session=session, at=at)
            else:
                deployment.check_out(*event.bought, session=session, at=at)
        deployment.flush()
        yield deployment, shown


def command(begin: str, end: str, *more: str, name: str = "b1") -> list[str]:
    return [sys.executable, "-m", "consumer", "backfill", name, "--from", begin, "--to", end, *more]


def backfill(
    deployment: Deployment, begin: int | str, end: int | str, *more: str, name: str = "b1", **settings: str
) -> tuple[int, str]:
    """Run `opt-out backfill` to its end: its exit code and what it says."""
    bounds = [bound if isinstance(bound, str) else iso(bound) for bound in (begin, end)]
    ran = subprocess.run(
        command(*bounds, *more, name=name),
        env=deployment.environ(**settings), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return ran.returncode, ran.stdout + ran.stderr


def document(said: str) -> Any:
    """The JSON document among the lines of the log."""
    return json.JSONDecoder().raw_decode(said, said.index("{\n"))[0]


FAST = ("--rate", "1000")


def test_a_backfill_calls_the_chains_of_its_range_and_no_other(real_kafka: Broker, tmp_path: Path) -> None:
    with past(real_kafka, tmp_path) as (deployment, shown):
        begin, end = shown.at(50), shown.at(150)
        code, said = backfill(deployment, begin, end, *FAST)
        assert code == 0, said
        assert sorted(deployment.called()) == sorted(shown.to_call(begin, end))
        outcomes = deployment.outcomes()
        assert sorted(o.offer_id for o in outcomes) == sorted(shown.between(begin, end))
        assert {o.mode for o in outcomes} == {Mode.BACKFILL}
        assert Counter(o.reason for o in outcomes) == {Reason.PURCHASED: 25, Reason.DECLINED: 25, Reason.ABANDONED: 50}
        assert "all of the range is settled" in said

        again = backfill(deployment, begin, end, *FAST)
        assert again[0] == 0, again[1]
        assert len(deployment.called()) == 75, "the same name has nothing left to do"
        other = backfill(deployment, begin, end, *FAST, name="b2")
        assert other[0] == 0, other[1]
        assert len(deployment.called()) == 75, "what has an outcome is skipped under another name, too"
        assert "100 had an outcome already" in other[1]
        forced = backfill(deployment, begin, end, *FAST, "--force", name="b3")
        assert forced[0] == 0, forced[1]
        assert Counter(deployment.called()) == dict.fromkeys(shown.to_call(begin, end), 2)


def test_a_range_ends_where_the_next_one_begins(real_kafka: Broker, tmp_path: Path) -> None:
    """Shown just before `to` and bought just after it; shown again just after `from` and bought just before it."""
    late, again, across, at = "bought-after-to", "again-after-from", "across", 100 * 200
    more = (
        Shopped(at - 10, late),
        Shopped(at + 2_000, late, bought=(late,)),
        Shopped(at - 400, again),
        Shopped(at - 200, again, bought=(again,)),
        Shopped(at + 100, again),
        Shopped(at - 100, across),
        Shopped(at + 100, across),
    )
    with past(real_kafka, tmp_path, *more) as (deployment, shown):
        cut = shown.begin + at
        assert backfill(deployment, shown.begin, cut, *FAST, name="first")[0] == 0
        first = {o.offer_id: o.outcome for o in deployment.outcomes()}
        assert first[late] is Outcome.PURCHASED
        assert across not in first, "its last presentation is in the next range"
        assert again not in first
        assert backfill(deployment, cut, shown.begin + SPAN, *FAST, name="second")[0] == 0
        told = Counter(o.offer_id for o in deployment.outcomes())
        assert set(told.values()) == {1}
        assert len(told) == shown.count + 3
        fates = {o.offer_id: o.outcome for o in deployment.outcomes()}
        assert fates[again] is Outcome.PURCHASED
        assert fates[across] is Outcome.OPTED_OUT


def test_it_leaves_a_live_deployment_alone_and_calls_nothing_twice(real_kafka: Broker, tmp_path: Path) -> None:
    with past(real_kafka, tmp_path) as (deployment, shown):
        live = deployment.start()
        until(lambda: len(deployment.outcomes()) == shown.count, within=60, what="the deployment to settle all")

        def committed() -> int:
            return sum(offset for offset, _ in deployment.committed(deployment.offer_topic).values())

        until(lambda: committed() == shown.count, within=60, what="the deployment to commit that")
        before = deployment.committed(deployment.offer_topic)
        assert backfill(deployment, shown.begin, shown.begin + SPAN, *FAST)[0] == 0
        assert len(deployment.called()) == len(shown.to_call(0, now()))
        assert live.running
        after = deployment.committed(deployment.offer_topic)
        assert {p: offset for p, (offset, _) in after.items()} == {p: offset for p, (offset, _) in before.items()}
        forced = backfill(deployment, shown.at(20), shown.at(40), *FAST, "--force", name="b2")
        assert forced[0] == 0, forced[1]
        twice = {offer for offer, count in Counter(deployment.called()).items() if count == 2}
        assert sorted(twice) == sorted(shown.to_call(shown.at(20), shown.at(40)))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_it_goes_on_where_it_was_stopped(real_kafka: Broker, tmp_path: Path, how: signal.Signals) -> None:
    with past(real_kafka, tmp_path) as (deployment, shown):
        begin, end = shown.begin, shown.begin + SPAN
        log = tmp_path / "killed.log"
        with log.open("wb") as stream:
            started = subprocess.Popen(
                command(iso(begin), iso(end), "--rate", "20"),
                env=deployment.environ(), stdout=stream, stderr=stream,
            )  # fmt: skip
        until(lambda: len(deployment.called()) > 30, within=60, what="some calls to be made")
        started.send_signal(how)
        assert started.wait(60) == (3 if how is signal.SIGINT else -signal.SIGKILL), log.read_text()
        refused = backfill(deployment, begin, end - 1_000)
        assert refused[0] == 2, refused[1]
        assert "was begun with another range" in refused[1]
        code, said = backfill(deployment, begin, end, *FAST)
        assert code == 0, said
        called = Counter(deployment.called())
        assert set(called) == set(shown.to_call(begin, end))
        repeats = sum(called.values()) - len(called)
        assert repeats <= (0 if how is signal.SIGINT else 30), "those whose outcome was not written yet"
        assert {o.offer_id for o in deployment.outcomes()} == set(shown.between(begin, end))


def test_two_instances_share_it_and_both_end_when_all_is_settled(real_kafka: Broker, tmp_path: Path) -> None:
    with past(real_kafka, tmp_path) as (deployment, shown):
        begin, end = shown.begin, shown.begin + SPAN
        running = []
        for number in range(2):
            with (tmp_path / f"instance-{number}.log").open("wb") as log:
                started = subprocess.Popen(
                    command(iso(begin), iso(end), "--rate", "30"),
                    env=deployment.environ(), stdout=log, stderr=log,
                )  # fmt: skip
            running.append(started)
            if number == 0:
                until(lambda: len(deployment.called()) > 5, within=60, what="the first instance to begin")
        assert [process.wait(120) for process in running] == [0, 0]
        called = Counter(deployment.called())
        assert set(called) == set(shown.to_call(begin, end))
        said = [(tmp_path / f"instance-{number}.log").read_text() for number in range(2)]
        assert all("offers settled here" in text for text in said)


def test_a_dry_run_says_what_would_happen_and_leaves_no_trace(real_kafka: Broker, tmp_path: Path) -> None:
    with past(real_kafka, tmp_path) as (deployment, shown):
        begin, end = shown.at(50), shown.at(150)
        assert backfill(deployment, begin, shown.at(100), *FAST)[0] == 0
        calls, outcomes = len(deployment.called()), len(deployment.outcomes())
        file = tmp_path / "would-be.jsonl"
        code, said = backfill(deployment, begin, end, "--dry-run", "--json", "--output", str(file), name="dry")
        assert code == 0, said
        found = document(said)
        assert sum(row["chains"] for row in found["would_happen"] if row["fate"].startswith("called")) == 75
        assert sum(row["new"] for row in found["would_happen"]) == 50, "the other half is told"
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        assert sorted(row["offer_id"] for row in rows) == sorted(shown.to_call(begin, end))
        assert Counter(row["otherwise"] == "nothing" for row in rows)[True] == len(shown.to_call(shown.at(100), end))
        assert {row["source_topic"] for row in rows} == {deployment.offer_topic}
        assert (len(deployment.called()), len(deployment.outcomes())) == (calls, outcomes)
        group = f"{deployment.group}.backfill.dry"
        committed = committed_offsets(real_kafka.bootstrap_servers, group, deployment.offer_topic)
        assert {offset for offset, _ in committed.values()} == {-1001}


def test_what_other_rules_would_change_is_what_a_run_under_them_does(real_kafka: Broker, tmp_path: Path) -> None:
    with past(real_kafka, tmp_path) as (deployment, shown):
        begin, end = shown.begin, shown.begin + SPAN
        changed = {"JOIN__WINDOW": "700ms", "JOIN__CHECKOUT_GRACE": "100ms"}
        sets = ("--set", "join.window=700ms", "--set", "join.checkout_grace=100ms")
        code, said = backfill(deployment, begin, end, "--dry-run", "--json", *sets, name="dry")
        assert code == 0, said
        found = document(said)
        changes = {(row["here"], row["there"]): row["chains"] for row in found["changes"]}
        # The other 50 were bought after a second, which these rules do not count, and are known as bought all the same.
        assert changes == {("called: abandoned", "called: declined"): 50}
        would = Counter[str]()
        for row in found["what_if"]:
            would[row["fate"]] += row["chains"]
        assert backfill(deployment, begin, end, *FAST, name="real", **changed)[0] == 0
        did = Counter(f"{o.outcome}/{o.reason}" for o in deployment.outcomes())
        assert did == {"OPTED_OUT/ABANDONED": would["called: abandoned"], "PURCHASED/PURCHASED": would["bought"]}


def test_a_range_of_offsets(real_kafka: Broker, tmp_path: Path) -> None:
    with past(real_kafka, tmp_path) as (deployment, _):
        bounds = "0:5,2:3", "0:15,2:3"
        code, said = backfill(deployment, *bounds, *FAST)
        assert code == 0, said
        sources = sorted((o.source.partition, o.source.offset) for o in deployment.outcomes())
        assert sources == [(0, offset) for offset in range(5, 15)]


def test_what_the_log_does_not_decide_yet_is_open_and_not_called(real_kafka: Broker, tmp_path: Path) -> None:
    with past(real_kafka, tmp_path) as (deployment, shown):
        shown_at = now()
        deployment.present("fresh", session="fresh", at=shown_at)
        deployment.flush()
        until(lambda: now() > shown_at + 100, within=5, what="the offer to be in the past")
        settings = {"JOIN__WINDOW": "60s", "JOIN__LOOKBACK": "60s"}
        code, said = backfill(deployment, shown.at(100), shown_at + 50, *FAST, **settings)
        assert code == 3, said
        assert "1 open" in said
        assert "fresh" not in deployment.called()
        assert set(deployment.called()) == set(shown.to_call(shown.at(100), now()))


def test_a_range_that_retention_has_cut_is_refused_or_taken_as_it_is(real_kafka: Broker, tmp_path: Path) -> None:
    with past(real_kafka, tmp_path) as (deployment, shown):
        deployment.delete_records(deployment.checkout_topic, 25)
        code, said = backfill(deployment, shown.begin, shown.begin + SPAN, *FAST)
        assert code == 1, said
        assert "records that this range needs are gone from the log" in said
        assert f"{deployment.checkout_topic}[0] from " in said
        assert not deployment.called()
        code, said = backfill(deployment, shown.begin, shown.begin + SPAN, *FAST, "--allow-gaps")
        assert code == 3, said
        outcomes = deployment.outcomes()
        assert {o.offer_id for o in outcomes} == set(shown.between(0, now()))
        late = [o for o in outcomes if o.reason is Reason.LATE]
        assert late, "nobody knows whether those were bought"
        assert not {o.offer_id for o in late} & set(deployment.called())
        assert set(deployment.called()) <= set(shown.to_call(0, now()))
        again = backfill(deployment, shown.begin, shown.begin + SPAN, *FAST)
        assert again[0] == 3, "the gap is still there"
        more = *FAST, "--force", "--allow-gaps"
        forced = [backfill(deployment, shown.begin, shown.begin + SPAN, *more, name="b2")[0] for _ in range(2)]
        assert forced == [3, 3], "by force too, each run of the name says so"


def test_what_was_told_in_outcomes_that_are_gone_is_not_called_again(real_kafka: Broker, tmp_path: Path) -> None:
    with past(real_kafka, tmp_path) as (deployment, shown):
        begin, end = shown.at(100), shown.at(150)
        assert backfill(deployment, begin, end, *FAST)[0] == 0
        called = Counter(deployment.called())
        deployment.delete_records(deployment.outcome_topic, 3)
        code, said = backfill(deployment, begin, end, *FAST, name="b2")
        assert code == 1, said
        assert f"{deployment.outcome_topic}[0] from {iso(begin)[:19]}" in said
        assert Counter(deployment.called()) == called
        code, said = backfill(deployment, begin, end, *FAST, "--allow-gaps", name="b2")
        assert code == 0, said
        assert len(deployment.called()) > called.total()


def test_by_force_what_was_called_is_called_once_more_and_what_is_told_to_be_bought_is_not(
    real_kafka: Broker, tmp_path: Path
) -> None:
    """The purchase came after the decision, and before the call; it is not among what the backfill reads."""
    with past(real_kafka, tmp_path) as (deployment, shown):
        bought, called = (
            OfferOutcome(
                offer_id=offer_id, partner_code="ACME", session_id=offer_id, outcome=fate, reason=reason,
                checkout_id=None, presented_at=at, decided_at=at, settled_at=at, status_code=None, attempts=0,
                details=Details(None), source=RecordRef(deployment.offer_topic, 0, 0), mode=Mode.LIVE, note=None,
            )
            for offer_id, at, fate, reason in (
                ("o102", shown.at(102), Outcome.PURCHASED, Reason.PURCHASED),
                ("o103", shown.at(103), Outcome.OPTED_OUT, Reason.ABANDONED),
            )
        )  # fmt: skip
        process = deployment.start(KAFKA__START_FROM="latest")
        until(lambda: len(process.lines("task begins")) == PARTITIONS, within=60, what="the tasks to begin")
        assert process.terminate() == 0
        for one in (bought, called):
            value = deployment.codec.encode_outcome(one)
            deployment.produce(deployment.outcome_topic, f"ACME/{one.offer_id}", value, one.settled_at, partition=0)
        deployment.flush()
        begin, end = shown.at(100), shown.at(110)
        group = deployment.group
        deployment.group = "another"
        code, said = backfill(deployment, begin, end, *FAST, "--force")
        assert (code, deployment.called()) == (1, []), "the deployment has run, and of this group nothing is committed"
        assert "A backfill goes by what the deployment knows of the checkouts" in said
        deployment.group = group
        code, said = backfill(deployment, begin, end, *FAST, "--force")
        assert code == 0, said
        assert "1 had an outcome already" in said
        assert set(deployment.called()) == set(shown.to_call(begin, end)) - {"o102"}


@pytest.mark.parametrize(
    ("bounds", "more", "settings", "code", "words"),
    [
        (("2026-11-02T00:00:00Z", "2026-11-01T00:00:00Z"), (), {}, 2, "is not before --to"),
        (("2026-11-02T00:00:00Z", "2999-11-01T00:00:00Z"), (), {}, 2, "is in the future"),
        (("yesterday", "2026-11-01T00:00:00Z"), (), {}, 2, "must be a time with its zone"),
        (("0:1", "2026-11-01T00:00:00Z"), (), {}, 2, "must both be times, or both be offsets"),
        (("0:0,9:0", "0:0,9:0"), (), {}, 2, "none with number 9"),
        (("0:0", "0:999999"), (), {}, 2, "is no range of them"),
        (("2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"), ("--set", "join.window=1m"), {}, 2, "goes with --dry-run"),
        (("2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"), ("--output", "x.jsonl"), {}, 2, "goes with --dry-run"),
        (
            ("2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"),
            ("--dry-run", "--set", "kafka.group_id=x"),
            {},
            2,
            "must be one of join.window",
        ),
        (("2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"), ("--dry-run", "--set", "join.window=soon"), {}, 2, "window"),
        (
            ("2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"),
            ("--dry-run", "--output", "no/where.csv"),
            {},
            1,
            "no/where",
        ),
        (("2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"), (), {"KAFKA__OFFER_TOPIC": "nowhere"}, 1, "nowhere"),
    ],
)
def test_what_was_given_wrongly_is_said_and_nothing_is_called(
    real_kafka: Broker,
    tmp_path: Path,
    bounds: tuple[str, str],
    more: tuple[str, ...],
    settings: dict[str, str],
    code: int,
    words: str,
) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        found, said = backfill(deployment, *bounds, *more, **settings)
        assert found == code, said
        assert words in " ".join(said.replace("│", " ").split()), said
        assert not deployment.called()
        assert "Traceback" not in said


def test_the_spans_of_these_tests_leave_room_for_what_is_read_around_a_range() -> None:
    assert 2 * LOOKBACK_MS + LATENESS_MS < 60_000
    assert WINDOW_MS + GRACE_MS + LATENESS_MS < 60_000
