"""`opt-out explain` at a real Kafka, on what the real service did and while it works."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.builders import CODEC
from support.deployment import AGE, PARTITIONS, WINDOW_MS, Deployment, deployed, now, until
from support.evidence import EvidenceTopics
from support.run_command import clean_environ, opt_out

from consumer.events import Outcome, Reason, RecordRef
from consumer.kafka.partitioners import PARTITIONERS


@pytest.fixture
def deployment(real_kafka, tmp_path: Path) -> Iterator[Deployment]:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as found:
        yield found


def ours(deployment: Deployment, **settings: str) -> dict[str, str]:
    return {name: value for name, value in deployment.environ(**settings).items() if name.startswith("OPT_OUT_")}


def explained(deployment: Deployment, *arguments: str, **settings: str) -> dict[str, Any]:
    done = opt_out("explain", *arguments, "--output", "json", **ours(deployment, **settings))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def words(document: dict[str, Any]) -> str:
    return " ".join(sentence for life in document["lives"] for sentence in life["sentences"])


def settled(deployment: Deployment, offers: int) -> None:
    until(lambda: deployment.committed_total() == offers, within=60, what="all offers to be settled")


def test_the_life_of_offers_that_are_settled(deployment: Deployment) -> None:
    at = now() - AGE
    deployment.present("declined", session="s1", at=at)
    deployment.present("bought", session="s1", at=at)
    deployment.check_out("bought", session="s1", at=at + 500)
    deployment.present("abandoned", session="s2", at=at)
    deployment.present("abandoned", session="s2", at=at + 1_000)
    deployment.present("refused", session="s3", partner="REFUSES", at=at)
    deployment.flush()
    deployment.api.set_scenario("REFUSES:422; 204")
    process = deployment.start(DELIVERY__REJECTED="dead-letter")
    settled(deployment, 5)
    assert process.terminate() == 0

    document = explained(deployment, "declined")
    assert [row["what"] for row in document["timeline"]] == ["presented", "checkout", "due", "outcome"]
    assert "it was declined, and the insurer is to be told" in words(document)
    assert "answered 204 at the first try" in words(document)
    told = {outcome.offer_id: outcome for outcome in deployment.outcomes()}
    source = told["declined"].source
    assert document["timeline"][0]["record"] == {
        "topic": source.topic,
        "partition": source.partition,
        "offset": source.offset,
    }
    assert "it was bought, and the insurer is not to be called" in words(explained(deployment, "bought"))
    twice = words(explained(deployment, "abandoned", "--session", "s2"))
    assert "The offer was shown 2 times" in twice
    assert "it was abandoned" in twice
    refused = words(explained(deployment, "refused", "--partner", "REFUSES"))
    assert "the insurer refused the call with 422" in refused

    plain = opt_out("explain", "bought", **ours(deployment))
    assert plain.returncode == 0
    assert plain.stdout.splitlines()[0].split() == ["time", "partner", "session", "what", "record", "in", "words"]
    assert "Offer bought of partner ACME in session s1:" in plain.stdout


def test_a_session_is_looked_for_in_its_partition_only(deployment: Deployment) -> None:
    for number in range(40):
        deployment.present("o1", session=f"s{number}", at=now() - AGE)
    deployment.flush()
    (life,) = explained(deployment, "o1", "--session", "s7")["lives"]
    assert life["session_id"] == "s7"
    read = [note for note in explained(deployment, "o1", "--session", "s7")["notes"] if note.startswith("Read: ")]
    assert read
    # By murmur2 and by crc32 it may be in two, of which one has it.
    whole = f"{deployment.offer_topic}[0, 1, 2, 3]"
    assert not any(whole in note for note in read)


def test_a_session_that_another_partitioner_put_elsewhere_is_found_all_the_same(deployment: Deployment) -> None:
    by_key = {by(b"s1", PARTITIONS) for by in PARTITIONERS.values()}
    elsewhere = min(set(range(PARTITIONS)) - by_key)
    event = {"event_id": "e", "session_id": "s1", "partner_code": "ACME", "offer_id": "o1", "presented_at": now() - AGE}
    value = deployment.codec.encode_offer(event)
    deployment.produce(deployment.offer_topic, "s1", value, now() - AGE, partition=elsewhere)
    deployment.flush()
    document = explained(deployment, "o1", "--session", "s1")
    assert document["timeline"][0]["record"]["partition"] == elsewhere


def test_what_waits_says_what_for(deployment: Deployment) -> None:
    deployment.present("unread", session="s1", at=now() - AGE)
    deployment.flush()
    assert "the group has committed nothing for this partition" in words(explained(deployment, "unread"))
    deployment.api.set_scenario("503")
    deployment.present("not due", session="s1", at=now() + 3_600_000)
    deployment.flush()
    deployment.start(JOIN__MAX_SKEW="2h")
    skew = {"JOIN__MAX_SKEW": "2h"}
    until(
        lambda: "It waits for its call" in words(explained(deployment, "unread", **skew)),
        within=60,
        what="a commit that lists it",
    )
    assert "It waits for its time: it is due in" in words(explained(deployment, "not due", **skew))
    deployment.api.set_scenario("204")
    until(lambda: "answered 204" in words(explained(deployment, "unread", **skew)), within=90, what="its outcome")


def test_an_offer_of_several_partners_and_sessions_is_told_for_each(deployment: Deployment) -> None:
    at = now() - AGE
    deployment.present("o1", session="s1", partner="ACME", at=at)
    deployment.present("o1", session="s1", partner="OTHER", at=at)
    deployment.present("o1", session="s2", partner="ACME", at=at)
    deployment.flush()
    process = deployment.start()
    settled(deployment, 3)
    assert process.terminate() == 0
    lives = explained(deployment, "o1")["lives"]
    assert {(life["partner_code"], life["session_id"]) for life in lives} == {
        ("ACME", "s1"),
        ("OTHER", "s1"),
        ("ACME", "s2"),
    }
    (one,) = explained(deployment, "o1", "--partner", "OTHER")["lives"]
    assert one["partner_code"] == "OTHER"


def test_late_and_misdated_offers_say_why_they_were_given_up(deployment: Deployment) -> None:
    deployment.present("fine", session="s1", at=now() - AGE)
    deployment.present("from 2099", session="s1", at=4_070_908_800_000, stamp=now() - AGE)
    deployment.produce(deployment.checkout_topic, "s1", b"no Avro", now() - AGE + WINDOW_MS // 2)
    deployment.flush()
    process = deployment.start()
    until(lambda: len(deployment.outcomes()) == 2, within=60, what="both outcomes")
    assert process.terminate() == 0
    assert "A checkout of the session cannot be read" in words(explained(deployment, "fine"))
    assert "given up as IMPLAUSIBLE_TIME" in words(explained(deployment, "from 2099"))


def test_an_outcome_of_a_topic_of_another_name_is_explained(real_kafka) -> None:
    """It had more partitions than the one of now."""
    topics = EvidenceTopics(real_kafka.bootstrap_servers)
    other = topics.outcome(Outcome.OPTED_OUT, Reason.ABANDONED, 204, partition=0)
    topics.record("OUTCOME", CODEC.encode_outcome(replace(other, offer_id="elder", source=RecordRef("old", 9, 7))))
    topics.written()
    for arguments in (("elder",), ("elder", "--session", other.session_id)):
        done = opt_out("explain", *arguments, **topics.environ)
        assert done.returncode == 0, done.stderr
        assert "(old[9]@7), which was not found as the last of a chain" in done.stdout


@pytest.mark.parametrize("arguments", [[b"\xff"], [b"o", b"--session", b"\xff"], [b"o", b"--partner", b"\xff"]])
def test_an_id_that_is_no_text_is_wrong_usage(arguments: list[bytes]) -> None:
    """Before anything is read: there is no broker."""
    command = [sys.executable, "-m", "consumer", "explain", *arguments]
    done = subprocess.run(command, env=clean_environ(), capture_output=True, timeout=60, check=False)
    assert done.returncode == 2
    assert b"no text in UTF-8" in done.stderr
    assert b"Traceback" not in done.stderr


def test_of_a_position_that_is_not_ours_it_is_not_said_that_there_is_none(real_kafka) -> None:
    topics = EvidenceTopics(real_kafka.bootstrap_servers)
    topics.offer("s", "o", 3_600_000)
    topics.written()
    topics.commit("OFFER", 0, 0)
    said = opt_out("explain", "o", "--session", "s", **topics.environ).stdout
    assert "has committed nothing" not in said
    assert "the group's position in this partition is not what the service left there" in said


def test_an_outcome_by_the_settings_of_then_is_not_blamed_without_saying_so(deployment: Deployment) -> None:
    deployment.present("o", session="s", at=now() - AGE)
    deployment.flush()
    process = deployment.start()
    settled(deployment, 1)
    assert process.terminate() == 0
    said = words(explained(deployment, "o", JOIN__WINDOW="1s"))
    assert "This does not fit: it says decided at" in said
    assert f"The last commit was made by other settings, window {WINDOW_MS} ms, " in said
    assert "other settings" not in words(explained(deployment, "o"))


def test_no_such_offer_says_where_it_looked(deployment: Deployment) -> None:
    deployment.present("o1", at=now() - AGE)
    deployment.flush()
    done = opt_out("explain", "nobody's", "--partner", "ACME", **ours(deployment))
    assert (done.returncode, done.stdout) == (1, "")
    assert "no offer nobody's of ACME was found" in done.stderr
    assert f"Read: {deployment.outcome_topic}[0, 1, 2, 3] whole, 0 records." in done.stderr
    assert f"Read: {deployment.offer_topic}[0, 1, 2, 3] whole, 1 records." in done.stderr


def test_an_unknown_topic_is_told(deployment: Deployment) -> None:
    done = opt_out("explain", "o1", **ours(deployment, KAFKA__OFFER_TOPIC="no-such-topic"))
    assert done.returncode == 1
    assert "no-such-topic" in done.stderr
