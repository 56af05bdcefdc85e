"""`opt-out reconcile` over topics that the real service has worked on, at a real Kafka."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.deployment import AGE, GRACE_MS, WINDOW_MS, Deployment, deployed, moment, now, read_topic, until
from support.job import plan, wait_until_all_is_settled, write
from support.run_command import opt_out

from consumer.audit.findings import Flaw
from consumer.emulator.call_log import Call
from consumer.events import Details, Mode, OfferOutcome, Outcome, Reason, RecordRef

ARGUMENTS = ("reconcile", "--output", "json")


@pytest.fixture
def deployment(real_kafka, tmp_path: Path) -> Iterator[Deployment]:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as found:
        yield found


def ours(deployment: Deployment, **settings: str) -> dict[str, str]:
    return {name: value for name, value in deployment.environ(**settings).items() if name.startswith("OPT_OUT_")}


def reconciled(
    deployment: Deployment, code: int = 0, *, begin: int | None = None, end: int | None = None, **settings: str
) -> dict[str, Any]:
    """What the command says, by default of the last hour; it ends with this code."""
    begin = now() - 3_600_000 if begin is None else begin
    end = now() + 3_600_000 if end is None else end
    done = opt_out(*ARGUMENTS, "--from", moment(begin), "--to", moment(end), **ours(deployment, **settings))
    assert done.returncode == code, (done.returncode, done.stderr, done.stdout[-3000:])
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["adds_up"]
    return document


def counts(document: dict[str, Any]) -> dict[str, int]:
    return {row["fate"]: row["chains"] for row in document["chains"] if row["chains"]}


def kinds(document: dict[str, Any]) -> dict[str, int]:
    return {kind: count for kind, count in document["counts"].items() if count}


def tell(deployment: Deployment, outcome: OfferOutcome, partition: int | None = None) -> None:
    """Write an outcome as the service would."""
    place = outcome.source.partition if partition is None else partition
    deployment.produce(
        deployment.outcome_topic,
        f"{outcome.partner_code}/{outcome.offer_id}",
        deployment.codec.encode_outcome(outcome),
        outcome.settled_at,
        partition=place,
    )
    deployment.flush()


def settled(deployment: Deployment, offers: int) -> None:
    until(lambda: deployment.committed_total() == offers, within=60, what="all offers to be settled")


def test_a_whole_job_is_in_order(deployment: Deployment) -> None:
    write(deployment, plan(3_000, 20_000, seed=7), paced=False)
    process = deployment.start()
    wait_until_all_is_settled(deployment)
    assert process.terminate() == 0
    document = reconciled(deployment)
    assert (kinds(document), document["not_judged"], document["exceptions"]) == ({}, {}, [])
    fates = counts(document)
    told = {(o.session_id, o.partner_code, o.offer_id, o.presented_at) for o in deployment.outcomes()}
    assert fates["presented"] == len(told) > 500
    assert fates["presented"] == fates["purchased"] + fates["opted_out"]
    assert document["notes"][-1] == "No exception."
    # Each chain belongs to one of two ranges that stand beside each other.
    border = sorted(at for *_, at in told)[len(told) // 2]
    before, behind = reconciled(deployment, end=border), reconciled(deployment, begin=border)
    assert counts(before)["presented"] + counts(behind)["presented"] == len(told)
    assert counts(before)["presented"] == sum(at < border for *_, at in told)


def test_planted_errors_of_each_kind_are_found_and_nothing_else(deployment: Deployment) -> None:
    base = now() - AGE
    for number, name in enumerate(("fine", "lost", "twice", "bought", "after", "wrong", "again")):
        deployment.present(name, session=f"s-{name}", at=base + number)
    deployment.check_out("bought", session="s-bought", at=base + 100)
    deployment.present("shared", session="s-a", at=base)
    deployment.present("shared", session="s-b", at=base + 1)
    deployment.flush()
    process = deployment.start()
    settled(deployment, 9)
    assert process.terminate() == 0
    document = reconciled(deployment, 1)
    assert kinds(document) == {"two-sessions": 1}
    (one,) = document["exceptions"]
    assert (one["offer_id"], len(one["records"]), one["what"]) == ("shared", 2, "shown in the sessions s-a and s-b")

    told = {outcome.offer_id: outcome for outcome in deployment.outcomes()}
    tell(deployment, replace(told["twice"], outcome=Outcome.NOT_FOUND, status_code=404))
    tell(deployment, replace(told["again"], mode=Mode.BACKFILL))
    tell(deployment, replace(told["fine"], offer_id="nobody's"))
    tell(deployment, replace(told["bought"], outcome=Outcome.OPTED_OUT, reason=Reason.DECLINED, status_code=204))
    deployment.check_out("after", session="s-after", at=base + WINDOW_MS + 100)
    deployment.flush()
    document = reconciled(deployment, 1)
    assert kinds(document) == {
        "two-sessions": 1,
        "two-outcomes": 1,
        "unknown-chain": 1,
        "called-though-bought": 1,
        "bought-after-call": 1,
    }
    assert document["repeated_outcomes"] == 1
    by_kind = {one["kind"]: one for one in document["exceptions"]}
    assert by_kind["two-outcomes"]["offer_id"] == "twice"
    assert {record["topic"] for record in by_kind["bought-after-call"]["records"]} == {
        deployment.offer_topic,
        deployment.checkout_topic,
        deployment.outcome_topic,
    }
    (presented,) = (r for r in by_kind["two-outcomes"]["records"] if r["topic"] == deployment.offer_topic)
    assert (presented["partition"], presented["offset"]) == (
        told["twice"].source.partition,
        told["twice"].source.offset,
    )
    plain = opt_out("reconcile", "--from", moment(base), "--to", moment(now()), **ours(deployment))
    assert plain.returncode == 1
    assert "1 x called-though-bought: the insurer was told that an offer was not bought, and it was." in plain.stdout
    assert plain.stderr == ""


def test_what_is_missing_or_wrong_in_the_outcomes_is_found(deployment: Deployment) -> None:
    base = now() - AGE
    for number, name in enumerate(("right", "lost", "wrong")):
        deployment.present(name, session=f"s-{name}", at=base + number)
    deployment.flush()
    process = deployment.start()
    settled(deployment, 3)
    assert process.terminate() == 0
    told = {outcome.offer_id: outcome for outcome in deployment.outcomes()}
    # What is left of it in a topic of its own.
    other = f"{deployment.outcome_topic}-other"
    deployment.admin.create_topics([deployment._topic(other, 4)])[other].result(20)
    deployment.outcome_topic = other
    tell(deployment, told["right"])
    tell(deployment, replace(told["wrong"], outcome=Outcome.IGNORED, status_code=None))
    document = reconciled(deployment, 1)
    assert kinds(document) == {"no-outcome": 1, "other-fate": 1}
    by_kind = {one["kind"]: one["offer_id"] for one in document["exceptions"]}
    assert by_kind == {"no-outcome": "lost", "other-fate": "wrong"}
    assert counts(document) == {"presented": 3, "opted_out": 1, "ignored": 1, "without_outcome": 1}


def test_a_range_in_the_past_reads_no_further_than_it_must(deployment: Deployment) -> None:
    base = now() - 600_000
    for number in range(300):
        deployment.present(f"o{number}", session=f"s{number}", at=base + 2_000 * number)
        deployment.check_out(session=f"s{number}", at=base + 2_000 * number)
    deployment.flush()
    document = reconciled(deployment, begin=base + 100_000, end=base + 120_000, JOIN__MAX_SKEW="5s")
    assert counts(document) == {"presented": 10, "open_not_decided": 10}
    assert document["records_read"] < 100


def test_what_outcomes_name_is_read_however_late_it_came(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(1, 1)) as deployment:
        base = now() - 600_000
        for number in range(300):
            deployment.present(f"o{number}", session=f"s{number}", at=base + 2_000 * number)
            deployment.check_out(session=f"s{number}", at=base + 2_000 * number)
        at = base + 110_500
        deployment.present("late", session="late", at=at)
        deployment.check_out("late", session="late", at=at + 100)
        deployment.flush()
        (bought,) = (
            deployment.codec.decode_checkout(m.key(), m.value() or b"", 0)
            for m in read_topic(deployment.bootstrap, deployment.checkout_topic)
            if m.key() == b"late"
        )
        assert bought is not None
        told = OfferOutcome(
            offer_id="late",
            partner_code="ACME",
            session_id="late",
            outcome=Outcome.PURCHASED,
            reason=Reason.PURCHASED,
            checkout_id=bought.checkout_id,
            presented_at=at,
            decided_at=at + 100 + GRACE_MS,
            settled_at=now(),
            status_code=None,
            attempts=0,
            details=Details(),
            source=RecordRef(deployment.offer_topic, 0, 300),
            mode=Mode.LIVE,
            note=None,
        )
        tell(deployment, told)
        document = reconciled(deployment, begin=base + 100_000, end=base + 120_000, JOIN__MAX_SKEW="5s")
        assert counts(document) == {"presented": 11, "purchased": 1, "open_not_decided": 10}
        assert (kinds(document), document["not_judged"]) == ({}, {})


def calls_of(deployment: Deployment, offer_id: str) -> list[Call]:
    return [call for call in deployment.api.calls() if call.offer_id == offer_id]


def test_beside_a_running_deployment_what_waits_is_open(deployment: Deployment) -> None:
    deployment.api.set_scenario("503")
    deployment.present("waits", session="s1", at=now() - AGE)
    deployment.present("bought", session="s2", at=now() - AGE)
    deployment.check_out("bought", session="s2", at=now() - AGE + 1)
    deployment.present("not due", session="s3", at=now() + 200_000)
    deployment.flush()
    deployment.start()
    until(lambda: calls_of(deployment, "waits"), within=60, what="a call")
    until(lambda: counts(reconciled(deployment)).get("open_call_waits"), within=60, what="a commit that lists it")
    document = reconciled(deployment)
    assert counts(document) == {"presented": 3, "purchased": 1, "open_call_waits": 1, "open_not_decided": 1}
    assert kinds(document) == {}
    deployment.api.set_scenario("204")
    until(lambda: calls_of(deployment, "waits")[-1].recorded, within=90, what="the call")
    settled = {"presented": 3, "purchased": 1, "opted_out": 1, "open_not_decided": 1}
    until(lambda: counts(reconciled(deployment)) == settled, within=30, what="its outcome")


def test_while_the_deployment_works_there_is_no_false_exception(deployment: Deployment) -> None:
    deployment.start()
    what = plan(4_000, 8_000, seed=3)
    write(deployment, what, paced=True)
    for _ in range(4):
        assert service_faults(deployment) == {}
    wait_until_all_is_settled(deployment)
    assert service_faults(deployment) == {}


def service_faults(deployment: Deployment) -> dict[str, int]:
    """The exceptions, but for the customers who buy after the call, as some do there."""
    arguments = (*ARGUMENTS, "--from", moment(now() - 3_600_000), "--to", moment(now() + 3_600_000))
    done = opt_out(*arguments, **ours(deployment))
    document = json.loads(done.stdout)
    found = kinds(document)
    assert done.returncode == bool(found)
    assert document["not_judged"] == {}
    assert all(one["by_the_rules"] for one in document["exceptions"] if one["kind"] == "bought-after-call")
    found.pop("bought-after-call", None)
    return found


def test_a_group_that_has_committed_nothing_leaves_all_open(deployment: Deployment) -> None:
    deployment.present("o1", at=now() - AGE)
    deployment.flush()
    document = reconciled(deployment)
    assert counts(document) == {"presented": 1, "open_not_decided": 1}
    assert any("has committed nothing" in note for note in document["notes"])


def test_late_and_misdated_offers_and_unreadable_records_have_their_place(deployment: Deployment) -> None:
    at = now() - AGE
    deployment.present("on time", session="s1", at=at)
    deployment.present("from 2099", session="s1", at=4_070_908_800_000, stamp=at)
    deployment.produce(deployment.offer_topic, "s1", b"no Avro", at)
    deployment.present("tainted", session="s4", at=at)
    deployment.produce(deployment.checkout_topic, "s4", b"no Avro either", at + 5)
    deployment.flush()
    process = deployment.start()
    settled(deployment, 4)
    deployment.present("late", session="s1", at=now() - 3 * AGE, stamp=now() - 3 * AGE)
    deployment.flush()
    until(lambda: {o.offer_id for o in deployment.outcomes()} >= {"late"}, within=60, what="its dead letter")
    settled(deployment, 5)
    assert process.terminate() == 0
    document = reconciled(deployment)
    assert kinds(document) == {}
    assert counts(document) == {"presented": 5, "opted_out": 1, "dead_lettered": 3, "unreadable": 1}


def test_retention_that_took_what_is_needed_is_told_and_nothing_is_guessed(deployment: Deployment) -> None:
    base = now() - AGE
    for number in range(40):
        deployment.present(f"o{number}", session=f"s{number}", at=base + number)
        deployment.check_out(f"o{number}", session=f"s{number}", at=base + 100 + number)
    deployment.flush()
    process = deployment.start()
    settled(deployment, 40)
    assert process.terminate() == 0
    assert counts(reconciled(deployment)) == {"presented": 40, "purchased": 40}
    deployment.delete_records(deployment.checkout_topic, 3)
    document = reconciled(deployment, 3)
    assert kinds(document) == {}
    assert list(document["not_judged"]) == ["retention has deleted checkouts that may have decided it"]
    assert sum(document["not_judged"].values()) == 12
    missing = [note for note in document["notes"] if "retention has deleted what stood before offset 3" in note]
    assert len(missing) == 4
    deployment.delete_records(deployment.offer_topic, 3)
    document = reconciled(deployment, 3)
    assert (kinds(document), counts(document)) == ({}, {"presented": 28, "purchased": 28})
    deployment.delete_records(deployment.outcome_topic, 4)
    document = reconciled(deployment, 3)
    assert (kinds(document), counts(document)) == ({}, {"presented": 28, "purchased": 24, "not_known": 4})


def test_topics_in_json_with_several_offers_a_record(real_kafka, tmp_path: Path) -> None:
    settings = {
        "INPUT__OFFERS__FORMAT": "json",
        "INPUT__OFFERS__EACH": "offers",
        "INPUT__OFFERS__FIELDS": json.dumps(
            {
                "offer_id": "id",
                "partner_code": "$record.partner",
                "session_id": "$key",
                "presented_at": "$record.at",
            }
        ),
        "INPUT__CHECKOUTS__FORMAT": "json",
    }
    with deployed(real_kafka.bootstrap_servers, tmp_path, settings=settings) as deployment:
        at = now() - AGE
        shown = {"partner": "ACME", "at": at, "offers": [{"id": "a"}, {"id": "b"}]}
        deployment.produce(deployment.offer_topic, "s1", json.dumps(shown).encode(), at)
        done = {
            "event_id": "e",
            "session_id": "s1",
            "checkout_id": "c1",
            "completed_at": at + 1,
            "purchased_offer_ids": ["b"],
        }
        deployment.produce(deployment.checkout_topic, "s1", json.dumps(done).encode(), at + 1)
        deployment.flush()
        process = deployment.start()
        settled(deployment, 1)
        assert process.terminate() == 0
        assert counts(reconciled(deployment)) == {"presented": 2, "purchased": 1, "opted_out": 1}


@pytest.mark.parametrize(
    ("begin", "end", "words"),
    [
        ("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", "--from must be before --to"),
        ("2126-01-01T00:00:00Z", "2126-01-02T00:00:00Z", "lies in the future"),
        ("yesterday", "2026-01-01T00:00:00Z", "must be a time with its zone"),
        ("2026-01-01T00:00:00", "2026-01-02T00:00:00Z", "must be a time with its zone"),
    ],
)
def test_a_range_that_is_none_is_wrong_usage(begin: str, end: str, words: str) -> None:
    done = opt_out("reconcile", "--from", begin, "--to", end)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())


def test_an_unknown_topic_is_told(deployment: Deployment) -> None:
    for setting in ("KAFKA__OFFER_TOPIC", "KAFKA__CHECKOUT_TOPIC", "KAFKA__OUTCOME_TOPIC"):
        arguments = ("reconcile", "--from", moment(now() - 1_000), "--to", moment(now()))
        done = opt_out(*arguments, **ours(deployment, **{setting: "no-such-topic"}))
        assert (done.returncode, done.stdout) == (1, "")
        assert "no-such-topic" in done.stderr


def test_every_kind_of_exception_is_planted_somewhere_here_or_in_the_unit_tests() -> None:
    here = Path(__file__).read_text(encoding="utf-8")
    unit = Path(__file__).parents[1] / "unit" / "audit" / "test_reconcile.py"
    beside = unit.read_text(encoding="utf-8")
    assert [kind for kind in Flaw if kind.value not in here and f"Flaw.{kind.name}" not in beside] == []
