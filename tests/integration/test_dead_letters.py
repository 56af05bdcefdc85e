"""`opt-out dead-letters` against a real Kafka: what is listed and shown, and what is written again, how often."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import brokers
import pytest
from brokers.producers import ordered_producer
from confluent_kafka import Message
from confluent_kafka.admin import NewPartitions
from support.deployment import AGE, Deployment, deployed, moment, now, read_topic, until
from support.letters import HEADER, dead_letter, dead_letters, limit, resubmit, resubmitted, started

from consumer.emulator import emulator
from consumer.events import Outcome, Reason
from consumer.kafka.partitioners import PARTITIONERS

JSON = {"INPUT__OFFERS__FORMAT": "json"}
"""By which what the tests write as JSON can be read: how a wrong setting is mended."""
WIDE = {"JOIN__WINDOW": "60s", "JOIN__LOOKBACK": "120s"}
"""So that what was shown some seconds ago is not late."""


@pytest.fixture
def deployment(real_kafka: brokers.Broker, tmp_path: Path) -> Iterator[Deployment]:
    with deployed(real_kafka.bootstrap_servers, tmp_path, settings=WIDE) as found:
        yield found


def show_json(deployment: Deployment, session: str, at: int | None = None, headers: Any = (), **more: Any) -> bytes:
    """An offer in JSON, which is undecodable until the settings say so. Returns its value."""
    at = now() if at is None else at
    event = {"event_id": "e", "session_id": session, "partner_code": "ACME", "offer_id": f"o-{session}"}
    value = json.dumps({**event, "presented_at": at, **more}).encode()
    deployment.produce(deployment.offer_topic, session, value, at, headers=[*headers])
    deployment.flush()
    return value


def listed(deployment: Deployment, *arguments: str, **settings: str) -> dict[str, Any]:
    done = dead_letters(deployment, *arguments, "--output", "json", **settings)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def letters_of(deployment: Deployment) -> list[Message]:
    """The dead letters, without the notes."""
    return [
        letter for letter in deployment.dead_letters() if dict(letter.headers() or ()).get("reason") != b"resubmitted"
    ]


def place_of(letter: Message) -> str:
    return f"{letter.partition()}:{letter.offset()}"


# --- what is there


def test_each_reason_is_counted_and_found(real_kafka: brokers.Broker, tmp_path: Path) -> None:
    settings = {"DELIVERY__REJECTED": "dead-letter", "DEAD_LETTER__MAX_RUN": "100"}
    with deployed(real_kafka.bootstrap_servers, tmp_path, scenario="422", settings=settings) as deployment:
        at = now() - AGE
        deployment.present("rejected", session="s-rejected", at=at)
        deployment.present("ahead", session="s-ahead", at=now() + 3_600_000, stamp=at)
        deployment.present("", session="s-empty", at=at)
        deployment.present("x" * 1_001, session="s-large", at=at)
        deployment.produce(deployment.offer_topic, "s-bytes", b"\xff\xff", at)
        deployment.check_out(session="s-value", key="s-key", at=at)
        deployment.flush()
        process = deployment.start()
        until(lambda: deployment.committed_total() == 5, within=60, what="all offers to be settled")
        deployment.present("late", session="s-rejected", at=at - 10_000)
        deployment.flush()
        until(lambda: deployment.committed_total() == 6, within=60, what="the late one to be settled")
        assert process.terminate() == 0
        found = listed(deployment)
        reasons = Counter({row["reason"]: row["dead_letters"] for row in found["counts"]})
        assert reasons == dict.fromkeys(
            ("rejected", "implausible_time", "empty_id", "too_large", "undecodable", "key_mismatch", "late"), 1
        )
        assert (found["dead_letters"], found["resubmitted"]) == (7, 0)
        assert {row["topic"] for row in found["counts"] if row["reason"] == "key_mismatch"} == {
            deployment.checkout_topic
        }
        assert [row["written"] for row in found["newest"]] == sorted(
            (row["written"] for row in found["newest"]), reverse=True
        )
        # Nothing of these is of any use: each one says why, and nothing is written.
        code, counts = resubmit(deployment, "--all")
        assert (code, counts) == (3, {"unreadable": 4, "late": 2, "implausible_time": 1})
        assert resubmitted(deployment, deployment.offer_topic) == []
        table = dead_letters(deployment, "--reason", "late").stdout.splitlines()
        assert table[0].split() == ["reason", "from", "partition", "dead", "letters", "re-submitted", "first", "last"]
        assert table[1].startswith(f"late    {deployment.offer_topic}  ")
        assert table[-1] == f"{deployment.dead_letter_topic}: 1 dead letters, 0 of them re-submitted"


def test_they_are_chosen_by_reason_and_by_time(deployment: Deployment) -> None:
    show_json(deployment, "s1")
    dead_letter(deployment, deployment.offer_topic, "undecodable")
    (first,) = letters_of(deployment)
    until(lambda: now() > first.timestamp()[1] + 1, within=5, what="another millisecond")
    between = now()
    show_json(deployment, "s2")
    dead_letter(deployment, deployment.offer_topic, "rejected")
    assert listed(deployment)["dead_letters"] == 2
    assert [row["reason"] for row in listed(deployment, "--from", moment(between))["counts"]] == ["rejected"]
    assert [row["reason"] for row in listed(deployment, "--to", moment(between))["counts"]] == ["undecodable"]
    assert listed(deployment, "--reason", "undecodable", "--from", moment(between))["dead_letters"] == 0
    assert len(listed(deployment, "--newest", "1")["newest"]) == 1
    assert listed(deployment, "--newest", "0")["newest"] == []
    code, counts = resubmit(deployment, "--all", "--from", moment(between), **JSON)
    assert (code, counts) == (0, {"resubmitted": 1})
    (again,) = resubmitted(deployment, deployment.offer_topic)
    assert again.key() == b"s2"


def test_one_is_shown_decoded_or_raw_and_says_what_would_become_of_it(deployment: Deployment) -> None:
    value = show_json(deployment, "s1", headers=[("trace", b"\x00\xff")])
    dead_letter(deployment, deployment.offer_topic, "undecodable")
    deployment.produce(deployment.offer_topic, "s2", b"\xff\x00bytes", now())
    deployment.flush()
    dead_letter(deployment, deployment.offer_topic, "undecodable")
    mine = {letter.key(): place_of(letter) for letter in letters_of(deployment)}
    raw = dead_letters(deployment, "show", mine[b"s1"]).stdout
    assert "not read by these settings: not a optout.events.OfferPresented" in raw.replace("Not read", "not read")
    assert value.decode() in raw
    decoded = dead_letters(deployment, "show", mine[b"s1"], **JSON).stdout
    assert "decoded offer_id" in decoded
    assert "it would be read" in decoded
    assert r"b'\x00\xff'" in decoded
    dump = dead_letters(deployment, "show", mine[b"s2"]).stdout
    assert "00000000  ff 00 62 79 74 65 73" in dump
    assert "|..bytes|" in dump
    shown = json.loads(dead_letters(deployment, "show", mine[b"s1"], "--output", "json", **JSON).stdout)
    assert (shown["reason"], shown["form"], shown["key"]["text"]) == ("undecodable", "whole", "s1")
    assert shown["decoded"]["offer_id"] == "o-s1"
    assert shown["headers"] == [{"name": "trace", "text": None, "base64": "AP8="}]
    assert shown["resubmitted"] == []


# --- once, and only once


def test_what_is_resubmitted_is_the_record_as_it_was_in_its_partition_and_is_consumed(deployment: Deployment) -> None:
    values = {f"s{n}": show_json(deployment, f"s{n}", headers=[("trace", b"1")]) for n in range(6)}
    for session in values:
        deployment.check_out(session=session, at=now())
    deployment.flush()
    first = deployment.start()
    until(lambda: len(letters_of(deployment)) == 6, within=60, what="all to be dead-lettered")
    assert first.terminate() == 0
    before = {m.key(): m for m in read_topic(deployment.bootstrap, deployment.offer_topic)}
    letters = {letter.key(): letter for letter in letters_of(deployment)}
    code, counts = resubmit(deployment, "--reason", "undecodable", **JSON)
    assert (code, counts) == (0, {"resubmitted": 6})
    found = resubmitted(deployment, deployment.offer_topic)
    assert len(found) == 6
    for message in found:
        source, letter = before[message.key()], letters[message.key()]
        assert (message.value(), message.partition()) == (source.value(), source.partition())
        assert message.timestamp() == source.timestamp()
        named = f"{deployment.dead_letter_topic}[{letter.partition()}]@{letter.offset()}"
        assert message.headers() == [("trace", b"1"), (HEADER, named.encode())]
    second = deployment.start(**JSON)
    until(lambda: len(deployment.outcomes()) == 6, within=60, what="each to have its outcome")
    fates = {(o.session_id, o.outcome, o.reason, o.source.offset) for o in deployment.outcomes()}
    offsets = {(m.key() or b"").decode(): m.offset() for m in found}
    assert fates == {(s, Outcome.OPTED_OUT, Reason.DECLINED, offsets[s]) for s in values}
    assert sorted(deployment.called()) == sorted(f"o-{session}" for session in values)
    assert second.terminate() == 0


def test_a_refused_offer_that_is_resubmitted_in_time_is_called_and_has_a_second_outcome(
    real_kafka: brokers.Broker, tmp_path: Path
) -> None:
    settings = {**WIDE, "DELIVERY__REJECTED": "dead-letter"}
    with deployed(real_kafka.bootstrap_servers, tmp_path, scenario="422", settings=settings) as deployment:
        deployment.present("o1", at=now())
        deployment.check_out(at=now())
        deployment.flush()
        first = deployment.start()
        until(lambda: letters_of(deployment), within=60, what="the refused offer to be dead-lettered")
        until(lambda: deployment.committed_total() == 1, within=60, what="that to be committed")
        assert first.terminate() == 0
        assert resubmit(deployment, "--reason", "rejected") == (0, {"resubmitted": 1})
        with emulator.running(tmp_path / "mended.jsonl", scenario="204") as mended:
            # The emulator that takes it is another one, which has to be said.
            assert deployment.positions("--accept", API__BASE_URL=mended.base_url)[0] == 0
            second = deployment.start(API__BASE_URL=mended.base_url)
            until(lambda: len(deployment.outcomes()) == 2, within=60, what="the second outcome")
            assert [call.offer_id for call in mended.calls()] == ["o1"]
            assert second.terminate() == 0
        (again,) = resubmitted(deployment, deployment.offer_topic)
        fates = [(o.outcome, o.reason, o.source.offset) for o in deployment.outcomes()]
        assert fates == [
            (Outcome.DEAD_LETTERED, Reason.DECLINED, 0),
            (Outcome.OPTED_OUT, Reason.DECLINED, again.offset()),
        ]


def test_what_is_resubmitted_though_it_is_late_is_dead_lettered_again_with_another_outcome(
    real_kafka: brokers.Broker, tmp_path: Path
) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        deployment.present("early", at=now() - AGE)
        deployment.flush()
        process = deployment.start(JOIN__LOOKBACK="120s")
        until(lambda: deployment.committed_total() == 1, within=60, what="the early one to be settled")
        deployment.present("late", at=now() - AGE - 60_000, stamp=now() - AGE)
        deployment.flush()
        until(lambda: len(letters_of(deployment)) == 1, within=60, what="the late one to be dead-lettered")
        late = {"JOIN__LOOKBACK": "120s"}
        assert resubmit(deployment, "--reason", "late", **late) == (3, {"late": 1})
        assert resubmit(deployment, "--reason", "late", "--anyway", **late) == (0, {"resubmitted": 1})
        until(lambda: len(letters_of(deployment)) == 2, within=60, what="it to be dead-lettered again")
        assert process.terminate() == 0
        told = [o for o in deployment.outcomes() if o.offer_id == "late"]
        assert [(o.outcome, o.reason) for o in told] == [(Outcome.DEAD_LETTERED, Reason.LATE)] * 2
        assert len({o.source.offset for o in told}) == 2


def test_the_second_time_does_nothing_and_says_so_and_again_does_it_again(deployment: Deployment) -> None:
    show_json(deployment, "s1")
    show_json(deployment, "s2")
    dead_letter(deployment, deployment.offer_topic, "undecodable", last=2)
    assert resubmit(deployment, "--all", "--dry-run", **JSON)[0] == 0
    assert resubmitted(deployment, deployment.offer_topic) == []
    assert resubmit(deployment, "--all", **JSON) == (0, {"resubmitted": 2})
    assert resubmit(deployment, "--all", **JSON) == (0, {"already": 2})
    done = dead_letters(deployment, "resubmit", "--all", "--yes", **JSON)
    assert "re-submitted before" in done.stdout
    assert "Nothing was re-submitted." in done.stdout
    assert len(resubmitted(deployment, deployment.offer_topic)) == 2
    assert listed(deployment)["resubmitted"] == 2
    place = place_of(letters_of(deployment)[0])
    shown = json.loads(dead_letters(deployment, "show", place, "--output", "json", **JSON).stdout)
    assert [note["as"].partition("[")[0] for note in shown["resubmitted"]] == [deployment.offer_topic]
    assert resubmit(deployment, "--offset", place, "--again", **JSON) == (0, {"resubmitted": 1})
    assert len(resubmitted(deployment, deployment.offer_topic)) == 3


def test_two_dead_letters_of_one_record_put_it_there_once(deployment: Deployment) -> None:
    """As a crash leaves them, between the dead letter and the commit; the second may come after the re-submission."""
    show_json(deployment, "s1")
    dead_letter(deployment, deployment.offer_topic, "undecodable", times=2)
    assert resubmit(deployment, "--all", "--again", **JSON) == (0, {"resubmitted": 1, "already": 1})
    source = read_topic(deployment.bootstrap, deployment.offer_topic)
    assert len(source) == 2
    show_json(deployment, "s2")
    dead_letter(deployment, deployment.offer_topic, "undecodable")
    assert resubmit(deployment, "--all", **JSON) == (0, {"resubmitted": 1, "already": 2})
    since = moment(now())
    dead_letter(deployment, deployment.offer_topic, "undecodable", last=1)
    assert len(resubmitted(deployment, deployment.offer_topic)) == 2
    # The last record is the re-submitted one by now: that it was dead-lettered once more is another matter.
    assert resubmit(deployment, "--all", "--from", since, **JSON) == (0, {"resubmitted": 1})


def test_a_copy_that_comes_after_the_resubmission_is_known_although_its_note_is_older(deployment: Deployment) -> None:
    show_json(deployment, "s1")
    dead_letter(deployment, deployment.offer_topic, "undecodable")
    assert resubmit(deployment, "--all", **JSON) == (0, {"resubmitted": 1})
    until(lambda: now() > max(m.timestamp()[1] for m in deployment.dead_letters()), within=5, what="a later time")
    since = moment(now())
    (letter,) = letters_of(deployment)
    deployment.produce(
        deployment.dead_letter_topic,
        letter.key(),
        letter.value(),
        now(),
        headers=letter.headers(),
        partition=letter.partition(),
    )
    deployment.flush()
    assert resubmit(deployment, "--all", "--from", since, **JSON) == (0, {"already": 1})


def test_a_record_whose_note_retention_has_taken_is_not_there_twice(deployment: Deployment) -> None:
    """A note may be older than another dead letter of the same record, as of a way back, and is deleted before it."""
    show_json(deployment, "s1")
    dead_letter(deployment, deployment.offer_topic, "undecodable")
    (letter,) = letters_of(deployment)
    assert resubmit(deployment, "--all", **JSON) == (0, {"resubmitted": 1})
    deployment.delete_records(deployment.dead_letter_topic, -1)
    deployment.produce(
        deployment.dead_letter_topic,
        letter.key(),
        letter.value(),
        now(),
        headers=letter.headers(),
        partition=letter.partition(),
    )
    deployment.flush()
    assert resubmit(deployment, "--all", "--anyway", **JSON) == (3, {"perhaps_already": 1})
    done = dead_letters(deployment, "resubmit", "--all", "--dry-run", **JSON)
    assert "it cannot be told whether they were re-submitted (--again takes them)" in done.stdout
    assert len(resubmitted(deployment, deployment.offer_topic)) == 1
    assert resubmit(deployment, "--all", "--again", **JSON) == (0, {"resubmitted": 1})


def test_what_was_resubmitted_and_dead_lettered_again_may_be_resubmitted_and_keeps_its_history(
    deployment: Deployment,
) -> None:
    show_json(deployment, "s1")
    dead_letter(deployment, deployment.offer_topic, "undecodable")
    assert resubmit(deployment, "--all", **JSON) == (0, {"resubmitted": 1})
    dead_letter(deployment, deployment.offer_topic, "undecodable")
    assert resubmit(deployment, "--all", **JSON) == (0, {"resubmitted": 1, "already": 1})
    newest = resubmitted(deployment, deployment.offer_topic)[-1]
    own = [value for name, value in newest.headers() or () if name == HEADER]
    assert own == [
        f"{deployment.dead_letter_topic}[{letter.partition()}]@{letter.offset()}".encode()
        for letter in sorted(letters_of(deployment), key=lambda letter: letter.offset() or 0)
    ]


@pytest.mark.parametrize(("where", "there"), [("before", 0), ("after", 1)])
def test_a_run_that_is_killed_around_its_commit_is_all_there_or_not_at_all(
    deployment: Deployment, where: str, there: int
) -> None:
    show_json(deployment, "s1")
    show_json(deployment, "s2")
    dead_letter(deployment, deployment.offer_topic, "undecodable", last=2)
    assert dead_letters(deployment, "resubmit", "--all", "--yes", halt=where, **JSON).returncode == -9
    expected = {"already": 2} if there else {"resubmitted": 2}
    assert resubmit(deployment, "--all", **JSON) == (0, expected)
    found = resubmitted(deployment, deployment.offer_topic)
    assert sorted(message.key() or b"" for message in found) == [b"s1", b"s2"]


@pytest.mark.parametrize("where", ["begin", "before"])
def test_of_two_at_once_one_fails_and_each_record_is_there_once(
    deployment: Deployment, tmp_path: Path, where: str
) -> None:
    show_json(deployment, "s1")
    show_json(deployment, "s2")
    dead_letter(deployment, deployment.offer_topic, "undecodable", last=2)
    go_on = tmp_path / "go-on"
    first = started(deployment, "resubmit", "--all", "--yes", halt=where, HALT=str(go_on), **JSON)
    try:
        assert first.stderr is not None
        assert first.stderr.readline() == "halted\n"
        assert resubmit(deployment, "--all", **JSON) == (0, {"resubmitted": 2})
        go_on.touch()
        _, words = first.communicate(timeout=60)
    finally:
        first.kill()
    assert first.returncode == 1
    assert "somebody else has begun to write" in words
    assert "Re-submitted before that: 0." in words
    assert len(resubmitted(deployment, deployment.offer_topic)) == 2


def test_while_a_transaction_of_another_may_hide_a_note_nothing_is_written(deployment: Deployment) -> None:
    show_json(deployment, "s1")
    dead_letter(deployment, deployment.offer_topic, "undecodable")
    (letter,) = letters_of(deployment)
    other = ordered_producer(deployment.bootstrap, transactional_id=f"other-{deployment.suffix}")
    other.init_transactions(30)
    other.begin_transaction()
    other.produce(deployment.dead_letter_topic, b"of another", partition=letter.partition() or 0)
    assert other.flush(30) == 0
    done = dead_letters(deployment, "resubmit", "--all", "--yes", **JSON)
    assert done.returncode == 1
    assert "a transaction is open in" in done.stderr
    other.abort_transaction(30)
    assert resubmit(deployment, "--all", **JSON) == (0, {"resubmitted": 1})


# --- what is not there as a whole


def test_a_stub_is_read_where_it_stood_and_is_left_out_once_it_is_gone(deployment: Deployment) -> None:
    limit(deployment, deployment.dead_letter_topic, "max.message.bytes", "3000")
    show_json(deployment, "s1", headers=[("large", b"x" * 4_000)])
    value = show_json(deployment, "s2", headers=[("trace", b"1")], metadata={"page": "x" * 4_000})
    dead_letter(deployment, deployment.offer_topic, "undecodable", last=2)
    forms = [row["form"] for row in listed(deployment)["newest"]]
    assert sorted(forms) == ["bare", "stub"]
    places = {letter.key(): place_of(letter) for letter in letters_of(deployment)}
    shown = json.loads(dead_letters(deployment, "show", places[b"s2"], "--output", "json", **JSON).stdout)
    assert (shown["form"], shown["is_whole"], shown["decoded"]["offer_id"]) == ("stub", True, "o-s2")
    assert resubmit(deployment, "--offset", places[b"s2"], **JSON) == (0, {"resubmitted": 1})
    (again,) = resubmitted(deployment, deployment.offer_topic)
    assert again.value() == value
    assert (again.headers() or [])[0] == ("trace", b"1")
    deployment.delete_records(deployment.offer_topic, -1)
    assert resubmit(deployment, "--all", **JSON) == (3, {"already": 1, "gone": 1})
    words = dead_letters(deployment, "show", places[b"s2"], **JSON).stdout
    assert "is no longer there" in words
    assert "value_sha256" in words


def test_where_another_record_stands_now_as_in_a_topic_made_anew_nothing_is_read(deployment: Deployment) -> None:
    limit(deployment, deployment.dead_letter_topic, "max.message.bytes", "3000")
    show_json(deployment, "s1", metadata={"page": "x" * 4_000})
    dead_letter(deployment, deployment.offer_topic, "undecodable")
    show_json(deployment, "s1", metadata={"page": "y" * 4_000})
    (letter,) = letters_of(deployment)
    # A dead letter of the first record that names the place of the second one.
    told = [(name, b"1" if name == "source.offset" else value) for name, value in letter.headers() or ()]
    deployment.produce(
        deployment.dead_letter_topic, "s1", letter.value(), now(), headers=told, partition=letter.partition()
    )
    deployment.flush()
    assert resubmit(deployment, "--all", **JSON) == (3, {"resubmitted": 1, "gone": 1})
    (again,) = resubmitted(deployment, deployment.offer_topic)
    assert b"xxx" in (again.value() or b"")
    assert "stands another record now" in dead_letters(deployment, "resubmit", "--all", "--dry-run", **JSON).stdout


def test_a_record_that_is_too_large_with_its_header_is_left_out_and_the_others_are_written(
    deployment: Deployment,
) -> None:
    show_json(deployment, "s1")
    show_json(deployment, "s2", headers=[("large", b"x" * 2_900)])
    dead_letter(deployment, deployment.offer_topic, "undecodable", last=2)
    limit(deployment, deployment.offer_topic, "max.message.bytes", "2000")
    assert resubmit(deployment, "--all", **JSON) == (3, {"resubmitted": 1, "too_large": 1})
    (again,) = resubmitted(deployment, deployment.offer_topic)
    assert again.key() == b"s1"


def test_what_says_nothing_of_where_it_is_from_or_of_another_topic_is_left_out(deployment: Deployment) -> None:
    deployment.produce(deployment.dead_letter_topic, "s1", b"by hand", now(), headers=[("reason", b"none")])
    deployment.flush()
    show_json(deployment, "s2")
    dead_letter(deployment, deployment.offer_topic, "undecodable")
    elsewhere = {**JSON, "KAFKA__OFFER_TOPIC": deployment.outcome_topic, "KAFKA__OUTCOME_TOPIC": "outcomes-elsewhere"}
    assert resubmit(deployment, "--all", **elsewhere) == (3, {"untold": 1, "other_topic": 1})
    assert read_topic(deployment.bootstrap, deployment.outcome_topic) == []


def test_a_record_is_not_resubmitted_to_a_partition_where_its_key_belongs_no_more(deployment: Deployment) -> None:
    """The inputs got more partitions since: the session's purchases go elsewhere, and the offer would be called."""
    sessions = [f"s{number}" for number in range(20)]
    moved = next(s for s in sessions if {by(s.encode(), 8) for by in PARTITIONERS.values()}.isdisjoint(range(4)))
    stays = next(s for s in sessions if {by(s.encode(), 8) for by in PARTITIONERS.values()} <= {*range(4)})
    show_json(deployment, moved)
    show_json(deployment, stays)
    dead_letter(deployment, deployment.offer_topic, "undecodable", last=2)
    for topic in (deployment.offer_topic, deployment.checkout_topic):
        deployment.admin.create_partitions([NewPartitions(topic, 8)])[topic].result(20)
    assert resubmit(deployment, "--all", "--anyway", **JSON) == (3, {"resubmitted": 1, "other_partition": 1})
    (again,) = resubmitted(deployment, deployment.offer_topic)
    assert again.key() == stays.encode()
    place = next(place_of(letter) for letter in letters_of(deployment) if letter.key() == moved.encode())
    assert "other_partition: no partitioner" in dead_letters(deployment, "show", place, **JSON).stdout


# --- what is late or still wrong


def test_what_would_be_dead_lettered_again_is_left_out_unless_it_is_wanted_anyway(deployment: Deployment) -> None:
    show_json(deployment, "s-late", at=now() - 100_000)
    dead_letter(deployment, deployment.offer_topic, "undecodable")
    deployment.produce(deployment.offer_topic, "s-bytes", b"\xff", now())
    deployment.flush()
    dead_letter(deployment, deployment.offer_topic, "undecodable")
    done = dead_letters(deployment, "resubmit", "--all", "--yes", **JSON)
    assert done.returncode == 3
    assert "1 left out, since their event time is so long ago" in done.stdout
    assert "1 left out, since they still cannot be read" in done.stdout
    assert resubmit(deployment, "--all", "--anyway", **JSON) == (0, {"resubmitted": 2})


def test_a_checkout_is_resubmitted_however_late(deployment: Deployment) -> None:
    deployment.check_out("o1", session="s1", at=now() - 3_600_000)
    deployment.flush()
    dead_letter(deployment, deployment.checkout_topic, "undecodable")
    assert resubmit(deployment, "--all") == (0, {"resubmitted": 1})
    (again,) = resubmitted(deployment, deployment.checkout_topic)
    assert again.key() == b"s1"


# --- errors


def test_what_is_not_there_is_an_error_and_nothing_is_written(deployment: Deployment) -> None:
    show_json(deployment, "s1")
    dead_letter(deployment, deployment.offer_topic, "undecodable")
    (letter,) = letters_of(deployment)
    other = f"{letter.partition()}:999"
    for arguments, code, words in [
        (("show", other), 1, "is not there: the partition has the offsets from 0 to 0"),
        (("show", "99:0"), 1, "has 4 partitions, and no partition 99"),
        (("show", "3"), 2, "must be PARTITION:OFFSET"),
        (("resubmit", "--offset", other, "--offset", place_of(letter), "--yes"), 1, "is no dead letter"),
        (("resubmit", "--yes"), 2, "which dead letters are meant"),
        (("resubmit", "--all", "--reason", "late", "--yes"), 2, "one of them"),
        (("resubmit", "--all"), 2, "there is no terminal to ask in"),
        (("--from", "yesterday"), 2, "must be a time with its zone"),
        (("--from", "2026-01-02T00:00:00Z", "--to", "2026-01-01T00:00:00Z"), 2, "must be later than"),
        (("--newest", "1", "show", "0:0"), 2, "options go behind the command"),
    ]:
        done = dead_letters(deployment, *arguments, COLUMNS="200", **JSON)
        assert done.returncode == code, (arguments, done.stderr)
        assert words in done.stderr, done.stderr
    done = dead_letters(deployment, "resubmit", "--all", "--yes", KAFKA__DEAD_LETTER_TOPIC="no-such-topic", **JSON)
    assert done.returncode == 1
    assert "no-such-topic could not be read" in done.stderr
    assert resubmitted(deployment, deployment.offer_topic) == []


def test_an_empty_topic_is_no_error(deployment: Deployment) -> None:
    assert listed(deployment) == {
        "topic": deployment.dead_letter_topic,
        "counts": [],
        "newest": [],
        "dead_letters": 0,
        "resubmitted": 0,
        "notes": [f"{deployment.dead_letter_topic}: no dead letter of these is there"],
    }
    assert resubmit(deployment, "--all") == (0, {})
