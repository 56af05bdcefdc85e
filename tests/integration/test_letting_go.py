"""Offers whose call can never be settled: let go by an operator, or moved to the dead-letter topic."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition
from support.deployment import Deployment, deployed, now, until

from consumer.core.checkpoint import OfferCheckpoint
from consumer.events import Outcome, Reason, RecordRef
from consumer.kafka.config import record_reader_config
from consumer.kafka.reader import RecordReader
from consumer.settings import KafkaSettings

AGE = 20_000
LARGE = b"x" * 500_000
NOTE = "released by on call, platform team: the insurer has deleted it"


def release(path: Path, *offers: str) -> None:
    """Write a release file as an operator does."""
    path.write_text(
        "".join(
            f"""
[[release]]
partner_code = "ACME"
offer_id = "{offer_id}"
who = "on call, platform team"
why = "the insurer has deleted it"
"""
            for offer_id in offers
        ),
        encoding="utf-8",
    )


def has_commit_with_one_unsettled(deployment: Deployment) -> bool:
    commits = deployment.committed(deployment.offer_topic).values()
    found = [OfferCheckpoint.decode(metadata, offset) for offset, metadata in commits if metadata]
    return any(checkpoint.unsettled for checkpoint in found)


def test_an_offer_that_is_let_go_lets_its_partitions_commit_pass_and_says_who_and_why(
    real_kafka, tmp_path: Path
) -> None:
    path = tmp_path / "release.toml"
    release(path)
    with deployed(
        real_kafka.bootstrap_servers, tmp_path, scenario="422", settings={"DELIVERY__RELEASE_FILE": str(path)}
    ) as deployment:
        deployment.present("stuck", session="s1", at=now() - AGE)
        deployment.flush()
        process = deployment.start()
        until(deployment.called, within=30, what="the call that is refused")
        deployment.api.set_scenario("204")
        deployment.present("fine", session="s1", at=now())
        deployment.flush()
        until(lambda: deployment.settled() == ["fine"], within=30, what="the offer behind it to be settled")
        until(lambda: has_commit_with_one_unsettled(deployment), within=10, what="a commit that lists the stuck offer")
        assert deployment.committed_total() == 0
        release(path, "stuck")
        until(lambda: deployment.committed_total() == 2, within=15, what="the commit to pass the offer that is let go")
        (line,) = process.lines("released")
        assert (line["partner_code"], line["offer_id"], line["note"]) == ("ACME", "stuck", NOTE)
        assert [line["waiting_here"] for line in process.lines("release file read") if "waiting_here" in line] == [1]
        (outcome,) = [outcome for outcome in deployment.outcomes() if outcome.offer_id == "stuck"]
        assert (outcome.outcome, outcome.reason) == (Outcome.RELEASED, Reason.RELEASED)
        assert (outcome.note, outcome.status_code, outcome.attempts) == (NOTE, 422, 1)
        assert deployment.called() == ["stuck", "fine"]


def test_a_restart_calls_no_offer_that_is_let_go_though_nothing_was_committed(real_kafka, tmp_path: Path) -> None:
    path = tmp_path / "release.toml"
    release(path, "stuck")
    with deployed(real_kafka.bootstrap_servers, tmp_path, settings={"DELIVERY__RELEASE_FILE": str(path)}) as deployment:
        deployment.present("stuck", session="s1", at=now() - AGE)
        deployment.flush()
        first = deployment.start(KAFKA__COMMIT_INTERVAL="1h")
        until(lambda: len(deployment.outcomes()) == 1, within=30, what="the offer to be released")
        first.kill()
        assert deployment.committed_total() == 0
        deployment.start()
        until(lambda: deployment.committed_total() == 1, within=30, what="the commit to pass it")
        assert [outcome.outcome for outcome in deployment.outcomes()] == [Outcome.RELEASED] * 2
        assert deployment.called() == []


def test_a_release_file_that_goes_wrong_while_running_changes_nothing_and_stops_the_next_start(
    real_kafka, tmp_path: Path
) -> None:
    path = tmp_path / "release.toml"
    release(path, "stuck")
    with deployed(real_kafka.bootstrap_servers, tmp_path, settings={"DELIVERY__RELEASE_FILE": str(path)}) as deployment:
        process = deployment.start()
        until(lambda: process.lines("assigned"), within=30, what="the start")
        path.write_text('[[release]]\npartner_code = "ACME"\noffer_id = "stuck"\nwho = "me"\n', encoding="utf-8")
        warning = "release file not taken over: what it said before stays in force; a start would refuse it"
        (line,) = until(lambda: process.lines(warning), within=15, what="the warning")
        assert "entry 1 (ACME/stuck): why is missing" in line["error"]
        deployment.present("stuck", session="s1", at=now() - AGE)
        deployment.flush()
        until(lambda: deployment.committed_total() == 1, within=30, what="the offer to be released all the same")
        assert deployment.called() == []
        assert process.terminate() == 0
        again = deployment.start()
        assert again.popen.wait(30) == 2
        assert "why is missing" in again.text()
        assert str(path) in again.text()
        assert "Traceback" not in again.text()


def test_a_refused_offer_is_moved_to_the_dead_letter_topic_unchanged_and_the_commit_passes(
    real_kafka, tmp_path: Path
) -> None:
    with deployed(
        real_kafka.bootstrap_servers, tmp_path, scenario="422", settings={"DELIVERY__REJECTED": "dead-letter"}
    ) as deployment:
        at = now() - AGE
        values = []
        for number, presented_at in enumerate((at, at + 1_000)):
            event = {
                "event_id": f"e{number}",
                "session_id": "s1",
                "partner_code": "ACME",
                "offer_id": "refused",
                "presented_at": presented_at,
                "metadata": {"secret-note": "do not show"},
            }
            values.append(deployment.codec.encode_offer(event))
            trace = [("trace", b"\x00\xff"), ("trace", str(number).encode()), ("none", None)]
            deployment.produce(deployment.offer_topic, "s1", values[-1], presented_at, headers=trace)
        deployment.flush()
        deployment.start()
        until(lambda: deployment.committed_total() == 2, within=40, what="the commit to pass both presentations")
        (letter,) = deployment.dead_letters()
        assert (letter.key(), letter.value()) == (b"s1", values[1]), "the record of the chain's last presentation"
        headers = letter.headers() or []
        assert headers[:3] == [("trace", b"\x00\xff"), ("trace", b"1"), ("none", None)]
        added = {name: value.decode() for name, value in headers[3:]}
        assert added["reason"] == "rejected"
        assert added["error"].startswith("422: ")
        assert (added["source.topic"], added["source.offset"]) == (deployment.offer_topic, "1")
        assert added["source.timestamp"] == str(at + 1_000)
        (outcome,) = deployment.outcomes()
        assert (outcome.outcome, outcome.reason) == (Outcome.DEAD_LETTERED, Reason.ABANDONED)
        assert (outcome.status_code, outcome.attempts, outcome.source.offset) == (422, 1, 1)
        assert len(deployment.called()) == 1


def test_a_crash_before_the_commit_repeats_the_dead_letter_with_the_same_source(real_kafka, tmp_path: Path) -> None:
    with deployed(
        real_kafka.bootstrap_servers, tmp_path, scenario="422", settings={"DELIVERY__REJECTED": "dead-letter"}
    ) as deployment:
        deployment.present("refused", session="s1", at=now() - AGE)
        deployment.flush()
        first = deployment.start(KAFKA__COMMIT_INTERVAL="1h")
        until(lambda: len(deployment.dead_letters()) == 1, within=30, what="the dead letter")
        first.kill()
        assert deployment.committed_total() == 0
        deployment.start()
        until(lambda: deployment.committed_total() == 1, within=30, what="the commit to pass it")
        before, after = deployment.dead_letters()
        assert (before.key(), before.value(), before.headers()) == (after.key(), after.value(), after.headers())
        assert len(deployment.called()) == 2


def test_an_id_that_cannot_be_sent_is_dead_lettered_and_others_are_called(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, settings={"DELIVERY__REJECTED": "dead-letter"}) as deployment:
        for offer_id in ("..", "fine"):
            deployment.present(offer_id, session="s1", at=now() - AGE)
        deployment.flush()
        deployment.start()
        until(lambda: deployment.committed_total() == 2, within=40, what="both to be settled")
        outcomes = {outcome.offer_id: outcome.outcome for outcome in deployment.outcomes()}
        assert outcomes == {"..": Outcome.DEAD_LETTERED, "fine": Outcome.OPTED_OUT}
        assert deployment.called() == ["fine"]


def test_an_api_that_refuses_everything_does_not_drain_the_topic_and_goes_on_by_itself(
    real_kafka, tmp_path: Path
) -> None:
    with deployed(
        real_kafka.bootstrap_servers,
        tmp_path,
        scenario="422",
        settings={"DELIVERY__REJECTED": "dead-letter", "DEAD_LETTER__MAX_RUN": "5"},
    ) as deployment:
        for number in range(40):
            deployment.present(f"offer-{number}", session=f"s{number}", at=now() - AGE)
        deployment.flush()
        process = deployment.start()
        until(lambda: len(deployment.called()) == 40, within=30, what="every offer to be called")
        until(lambda: len(deployment.outcomes()) == 5, within=30, what="five to be dead-lettered")
        warnings = [line for line in process.lines() if line["event"].startswith("nothing but rejected requests")]
        assert [line["partner_code"] for line in warnings] == ["ACME"]
        deployment.api.set_scenario("204")
        deployment.present("good", session="s1", at=now())
        deployment.flush()
        until(lambda: "good" in deployment.settled(), within=30, what="an offer that is not refused")
        until(
            lambda: any(line["event"].startswith("a request was not rejected") for line in process.lines()),
            within=10,
            what="the guard to let go",
        )
        assert len(deployment.dead_letters()) == 5
        assert process.running


def test_single_records_are_read_again_and_those_that_are_gone_are_told(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        for number in range(10):
            value = b"%d" % number if number != 5 else LARGE
            deployment.produce(deployment.offer_topic, "k", value, now(), partition=2)
        deployment.flush()
        for future in deployment.admin.delete_records([TopicPartition(deployment.offer_topic, 2, 3)]).values():
            future.result(20)
        settings = KafkaSettings(
            bootstrap_servers=real_kafka.bootstrap_servers,
            group_id=deployment.group,
            group_instance_id="the-member-that-works",
        )
        rereader: RecordReader[int] = RecordReader(lambda: Consumer(record_reader_config(settings)))
        for offset in (9, 3, 2, 10, 5):
            rereader.ask(RecordRef(deployment.offer_topic, 2, offset), offset)
        answers = [rereader.results.get(timeout=30) for _ in range(5)]
        rereader.check()
        assert [(token, record and record.value) for token, record in answers] == [
            (9, b"9"), (3, b"3"), (2, None), (10, None), (5, LARGE)
        ]  # fmt: skip
        assert deployment.assigned() == {}, "it joined the group"
        assert {offset for offset, _ in deployment.committed(deployment.offer_topic).values()} == {-1001}
        rereader.stop()


def test_a_rereader_that_fails_says_so() -> None:
    def broken() -> Consumer:
        raise KeyError(KafkaError._FAIL)

    rereader: RecordReader[int] = RecordReader(broken)
    rereader.ask(RecordRef("t", 0, 0), 1)

    def raised() -> str:
        try:
            rereader.check()
        except Exception as error:
            return str(error)
        return ""

    assert "start again" in until(raised, within=10, what="the failure to surface")
    with pytest.raises(Exception, match="has failed"):
        rereader.check()
