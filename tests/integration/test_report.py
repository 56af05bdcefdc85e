"""`opt-out report` over topics of a real broker."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
from pathlib import Path
from typing import Any

import brokers
import duckdb
import pytest
from confluent_kafka.admin import NewPartitions
from support.builders import CODEC
from support.deployment import until
from support.evidence import DAY, FATES, EvidenceTopics

from consumer.core.checkpoint import OfferCheckpoint
from consumer.errors import OutputFileError, StartError
from consumer.events import Details, Mode, Outcome, Reason
from consumer.evidence import outcome_parts
from consumer.evidence.outcome_parts import TimeRange
from consumer.kafka.causes import Causes
from consumer.row_file import as_time
from consumer.settings import load_settings


@pytest.fixture
def topics(real_kafka: brokers.Broker) -> EvidenceTopics:
    return EvidenceTopics(real_kafka.bootstrap_servers)


def told(topics: EvidenceTopics, *arguments: str, **span: int) -> dict[str, Any]:
    """The report as JSON, of a run that succeeded."""
    topics.written()
    done = topics("report", "--output", "json", *arguments, **span)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def total(document: dict[str, Any]) -> dict[str, Any]:
    figures: dict[str, Any] = document["figures"][-1]
    return figures


def test_every_fate_is_counted_under_its_name(topics: EvidenceTopics) -> None:
    for number, (outcome, reason, status) in enumerate(FATES):
        topics.outcome(outcome, reason, status, partition=number % 2, schema_id=7 if number % 3 == 0 else None)
    counts = total(told(topics))
    assert {name: counts[name] for name in list(counts)[1:11]} == {
        "presented": 11,
        "bought": 1,
        "opted_out": 2,
        "declined": 1,
        "abandoned": 1,
        "not_found": 2,
        "ignored": 1,
        "dead_lettered": 4,
        "released": 1,
        "open": 0,
    }
    assert counts["conversion"] == pytest.approx(1 / 6)
    # Of one in six, by Wilson's formula.
    assert (counts["conversion_low"], counts["conversion_high"]) == pytest.approx((0.0301, 0.5635), abs=1e-4)


def test_a_chain_belongs_to_the_range_in_which_it_was_presented(topics: EvidenceTopics) -> None:
    topics.outcome(at=1_000, took=-3_600_000)  # by a clock that is behind: it stands first, before the range's begin
    topics.outcome(at=-1)
    topics.outcome(at=0, took=40 * 3_600_000)
    topics.outcome(at=DAY - 1)
    topics.outcome(at=DAY)
    assert total(told(topics))["bought"] == 3


def test_an_outcome_that_stands_there_again_counts_once(topics: EvidenceTopics) -> None:
    once = topics.outcome(Outcome.OPTED_OUT, Reason.DECLINED, 204)
    topics.again(once)
    topics.again(once, settled_at=once.settled_at + 90_000, attempts=2)
    topics.again(once, mode=Mode.BACKFILL, settled_at=once.settled_at + DAY)
    document = told(topics)
    assert (total(document)["opted_out"], total(document)["presented"]) == (1, 1)
    assert document["repeated_outcomes"] == 3
    assert total(document)["median_ms"] == 400_000, "the first live answer counts"
    assert any("stand there again, as after a crash: 3." in note for note in document["notes"])
    assert (document["contradicting"], document["replaced"]) == (0, 0)


def test_what_a_backfill_has_called_since_it_was_dead_lettered_is_called(topics: EvidenceTopics) -> None:
    late = topics.outcome(Outcome.DEAD_LETTERED, Reason.LATE)
    topics.again(late, outcome=Outcome.OPTED_OUT, reason=Reason.ABANDONED, status_code=204, mode=Mode.BACKFILL)
    document = told(topics)
    assert (total(document)["abandoned"], total(document)["dead_lettered"]) == (1, 0)
    assert (document["replaced"], document["contradicting"], document["backfilled"]) == (1, 0, 1)
    assert total(document)["median_ms"] is None, "a backfill's delay tells nothing of the service"


def test_outcomes_that_contradict_each_other_are_said_and_the_chain_counts_once(topics: EvidenceTopics) -> None:
    called = topics.outcome(Outcome.OPTED_OUT, Reason.DECLINED, 204)
    topics.again(called, outcome=Outcome.PURCHASED, reason=Reason.PURCHASED, status_code=None)
    document = told(topics)
    assert (total(document)["bought"], total(document)["opted_out"]) == (1, 0)
    assert document["contradicting"] == 1
    assert any("opt-out reconcile" in note for note in document["notes"])


def test_groups_by_any_of_four_names(topics: EvidenceTopics) -> None:
    for partner, details, at in [
        ("ACME", Details("travel", "DE", "EUR", "1"), 0),
        ("ACME", Details("travel", "AT", "EUR", "1"), 0),
        ("ACME", Details(None, None, None, None), DAY),
        ("Zoë <b>", Details("travel", "DE", "EUR", "1"), DAY),
    ]:
        topics.outcome(partner_code=partner, details=details, at=at)
    document = told(topics, "--by", "partner, country,day", begin=0, end=2 * DAY)
    first, second = (as_time(topics.day + at)[:10] for at in (0, DAY))
    assert [(row["partner"], row["country"], row["day"], row["bought"]) for row in document["figures"]] == [
        ("ACME", "AT", first, 1),
        ("ACME", "DE", first, 1),
        ("ACME", None, second, 1),
        ("Zoë <b>", "DE", second, 1),
        (None, None, None, 4),
    ]
    assert next(iter(told(topics, "--by", "none", begin=0, end=2 * DAY)["figures"][0])) == "presented"


def test_open_chains_are_counted_by_the_reference_decision(topics: EvidenceTopics) -> None:
    minute = 60_000
    # Shown twice within its window: one chain. Its session goes on hours later: another.
    for at in (0, 10 * minute, 300 * minute):
        topics.offer("s1", "o1", at, product_code="travel", country="DE")
    # Of two chains of one offer the first is settled.
    for at in (0, 300 * minute):
        topics.offer("s2", "o2", at, partition=1)
    topics.checkout("s2", 5 * minute, "o2", partition=1)
    topics.outcome(session_id="s2", offer_id="o2", at=0, partition=1)
    # Shown, declined, and shown again after that was decided.
    topics.offer("s3", "o3", 0)
    topics.checkout("s3", minute)
    topics.offer("s3", "o3", 10 * minute)
    topics.record("OFFER", b"no offer", key="s4", stamp=topics.day)
    counts = total(told(topics))
    assert (counts["open"], counts["bought"], counts["presented"]) == (5, 1, 6)
    by_country = told(topics, "--by", "country")["figures"]
    assert [(row["country"], row["open"]) for row in by_country] == [("DE", 2), (None, 3), (None, 5)]


def test_what_is_open_is_looked_for_from_the_committed_offsets_on(topics: EvidenceTopics) -> None:
    for number in range(5):
        topics.offer(f"s{number}", f"o{number}", number)
    topics.written()
    assert told(topics)["inputs_read"] == 5
    topics.commit("OFFER", 0, 3)
    document = told(topics)
    assert (document["inputs_read"], total(document)["open"]) == (2, 2)


def test_outcomes_with_more_partitions_than_the_inputs_are_reported(topics: EvidenceTopics) -> None:
    name = topics.topics["OUTCOME"]
    topics.admin.create_partitions([NewPartitions(name, 4)])[name].result(20)
    topics.outcome()
    topics.offer("s", "o", 0)
    counts = total(told(topics))
    assert (counts["bought"], counts["open"]) == (1, 1)


@pytest.mark.parametrize("settled", [1, 2, 3])
def test_chains_that_lookback_has_split_are_not_open_once_more(topics: EvidenceTopics, settled: int) -> None:
    """Shown every 20 minutes for five hours: chains of two hours each. The commit stands within the first, since
    another offer waits for its call. From there on alone, the chains would be cut elsewhere."""
    step = 20 * 60_000
    for number in range(16):
        if number == 3:
            topics.offer("waits", "w", number * step)
        topics.offer("s", "o", number * step)
    lasts = [6, 13, 15]
    for last in lasts[:settled]:
        topics.outcome(session_id="s", offer_id="o", at=last * step)
    # Records behind offset 3 stand one further. The chains that are settled are not among the splits any more.
    starts = {7 + 1, 14 + 1}
    checkpoint = OfferCheckpoint(
        (1_800_000, 60_000, 7_200_000, True),
        2,
        decided_to=topics.day + lasts[settled - 1] * step + 1_800_000,
        next_offset=17,
        next_checkout=0,
        splits=frozenset(offset for offset in starts if offset > lasts[settled - 1]),
        unsettled=frozenset({3}),
    )
    topics.written()
    topics.commit("OFFER", 0, 3, checkpoint.encode(3))
    assert (total(told(topics))["bought"], total(told(topics))["open"]) == (settled, 1 + 3 - settled)


def test_records_that_could_not_be_read_are_told_once_each(topics: EvidenceTopics) -> None:
    topics.dead_letter("undecodable", 5, 0)
    topics.dead_letter("undecodable", 5, 0)
    topics.dead_letter("key_mismatch", 6, 0)
    topics.dead_letter("undecodable", 6, 1)  # which stands there since the topic was made anew
    topics.dead_letter("undecodable", 7, DAY)
    topics.dead_letter("late", 8, 0)
    topics.record("DEAD_LETTER", b"", stamp=topics.day)
    document = told(topics)
    offers = topics.topics["OFFER"]
    assert document["unread_inputs"] == [
        {"topic": offers, "reason": "key_mismatch", "records": 1},
        {"topic": offers, "reason": "undecodable", "records": 2},
    ]
    assert total(document)["presented"] == 0


def test_what_is_no_outcome_is_said_and_the_exit_code_is_1(topics: EvidenceTopics) -> None:
    topics.outcome()
    topics.record("OUTCOME", b"\x00\x01nonsense", partition=1, stamp=topics.day)
    topics.record("OUTCOME", None, partition=1, stamp=topics.day)
    topics.written()
    done = topics("report")
    assert done.returncode == 1
    assert f"{topics.topics['OUTCOME']}[1]: records that are no outcomes: 1, the first at offset 0" in done.stdout
    assert topics("report", "--output", "csv").stderr.count("no outcomes") == 1


def test_outcomes_that_retention_has_deleted_are_said_and_the_exit_code_is_1(topics: EvidenceTopics) -> None:
    topics.outcome()
    topics.outcome()
    topics.written()
    topics.delete_before("OUTCOME", 0, 1)
    done = topics("report", "--output", "json")
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    assert not document["complete"]
    assert "retention has deleted what stood before offset 1" in document["notes"][0]
    assert total(document)["bought"] == 1


@pytest.mark.parametrize("committed", [None, 0, 1])
def test_open_offers_that_retention_has_deleted_are_said(topics: EvidenceTopics, committed: int | None) -> None:
    for number in range(2):
        topics.offer(f"s{number}", f"o{number}", number)
    topics.written()
    if committed is not None:
        topics.commit("OFFER", 0, committed)
    topics.delete_before("OFFER", 0, 1)
    done = topics("report", "--output", "json")
    document = json.loads(done.stdout)
    was_settled = committed == 1
    assert done.returncode == (0 if was_settled else 1)
    assert any("what was open there is not counted" in note for note in document["notes"]) is not was_settled
    assert total(document)["open"] == 1


def test_csv_and_parquet_have_the_figures_of_json(topics: EvidenceTopics, tmp_path: Path) -> None:
    for outcome, reason, status in FATES:
        topics.outcome(outcome, reason, status)
    row, _ = told(topics)["figures"]
    printed = topics("report", "--output", "csv").stdout
    written = tmp_path / "report.csv"
    topics("report", "--output", "csv", "--file", str(written))
    assert written.read_text() == printed
    (from_csv,) = csv.DictReader(io.StringIO(printed))
    assert {name: str(value) for name, value in row.items()} == from_csv
    done = topics("report", "--output", "parquet", "--file", str(tmp_path / "report.parquet"))
    assert done.returncode == 0, done.stderr
    assert duckdb.sql(f"FROM '{tmp_path}/report.parquet'").fetchall() == [tuple(row.values())]


def test_the_table_is_plain_columns(topics: EvidenceTopics, tmp_path: Path) -> None:
    topics.outcome(Outcome.OPTED_OUT, Reason.DECLINED, 204, took=83_000)
    topics.written()
    done = topics("report")
    assert done.returncode == 0, done.stderr
    heads, acme, all_of_them = done.stdout.splitlines()[:3]
    assert heads.split()[:4] == ["partner", "presented", "bought", "opted"]
    assert acme.replace(" %", "%").split() == ["ACME", *"1011000000", "0.00%", "0.00%", "79.35%", "1m23s", "1m23s"]
    assert all_of_them.split()[0] == "total"
    assert topics("report", "--file", str(tmp_path / "t.txt")).returncode == 0
    assert (tmp_path / "t.txt").read_text().splitlines()[0] == heads


def test_processes_of_their_own_read_the_same(
    topics: EvidenceTopics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, (outcome, reason, status) in enumerate(FATES):
        topics.outcome(outcome, reason, status, partition=number % 2)
    topics.record("OUTCOME", b"?", partition=1, stamp=topics.day)
    topics.written()
    settings = load_settings(None, topics.environ, for_kafka=True).kafka
    causes, wanted = Causes(settings, logs=False), TimeRange(topics.day, topics.day + DAY)
    found = []
    for few in (50_000, 0):
        monkeypatch.setattr(outcome_parts, "FEW", few)
        folder = tmp_path / str(few)
        folder.mkdir()
        read = outcome_parts.read_outcome_parts(settings, causes, wanted, folder)
        rows = duckdb.sql(f"FROM '{outcome_parts.parts_of(folder)}' ORDER BY outcome_partition, outcome_offset")
        found.append((read, rows.fetchall()))
    assert found[0] == found[1]
    assert len(found[0][1]) == len(FATES)
    monkeypatch.setattr(outcome_parts, "FEW", 0)
    nowhere = settings.model_copy(update={"outcome_topic": "nowhere"})
    with pytest.raises(StartError, match="nowhere: the brokers tell no partition of it"):
        outcome_parts.read_outcome_parts(nowhere, causes, wanted, tmp_path)


def test_a_full_disk_in_a_process_of_its_own_is_the_same_error(
    topics: EvidenceTopics, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4_000):
        topics.outcome(note=os.urandom(500).hex())
    topics.written()
    monkeypatch.setattr(outcome_parts, "FEW", 0)
    settings = load_settings(None, topics.environ, for_kafka=True).kafka
    wanted = TimeRange(topics.day, topics.day + DAY)
    with pytest.raises(OutputFileError, match="No space left on device"):
        outcome_parts.read_outcome_parts(settings, Causes(settings, logs=False), wanted, small_disk)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_of_it_and_leaves_no_file(
    topics: EvidenceTopics, tmp_path: Path, sent: signal.Signals
) -> None:
    many_outcomes(topics)
    process = topics.begin("report", TMPDIR=str(tmp_path))
    try:
        # The first file is written by a process of its own.
        until(lambda: list(tmp_path.glob("*/outcomes-*")), within=60, what="a process to have read something")
        process.send_signal(sent)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 130
        assert errors == ""
        assert list(tmp_path.iterdir()) == []
        until(lambda: not is_there(process.pid), within=30, what="the processes that read to have ended")
    finally:
        process.kill()


def test_a_reading_process_that_is_killed_is_said(topics: EvidenceTopics, tmp_path: Path) -> None:
    many_outcomes(topics)
    process = topics.begin("report", TMPDIR=str(tmp_path))
    try:
        until(lambda: list(tmp_path.glob("*/outcomes-*")), within=60, what="a process to have read something")
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "a process that read the outcomes was killed" in errors
        assert list(tmp_path.iterdir()) == []
    finally:
        process.kill()


def many_outcomes(topics: EvidenceTopics) -> None:
    """More than one process reads, and long enough for a signal to come meanwhile, also on a busy machine."""
    value = CODEC.encode_outcome(topics.outcome())
    for number in range(4 * outcome_parts.FEW):
        topics.record_at_once("OUTCOME", value, number % 2)
    topics.written()


def is_there(group: int) -> bool:
    """Whether a group of processes has any left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


# --- what it refuses, and what it has nothing for


def test_an_empty_range_is_zeros_and_a_sentence(topics: EvidenceTopics) -> None:
    document = told(topics, "--by", "partner,day")
    assert total(document)["presented"] == 0
    assert total(document)["conversion"] is None
    assert document["notes"] == ["Nothing was presented in this range, as far as the topics tell."]
    assert "Nothing was presented" in topics("report", "--output", "html").stdout


def test_a_topic_that_is_not_there_is_named(topics: EvidenceTopics) -> None:
    for name in ("OUTCOME", "OFFER", "CHECKOUT"):
        done = topics("report", **{f"OPT_OUT_KAFKA__{name}_TOPIC": "nowhere"})
        assert done.returncode == 1
        assert "nowhere: the brokers tell no partition of it" in done.stderr
        assert "Traceback" not in done.stderr


def test_without_the_dead_letter_topic_a_note_says_what_is_not_known(topics: EvidenceTopics) -> None:
    done = topics("report", OPT_OUT_KAFKA__DEAD_LETTER_TOPIC="nowhere")
    assert done.returncode == 0, done.stderr
    assert "How many records could not be read is not known: nowhere: the brokers tell no partition" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--from", "2026-01-02T00:00:00Z", "--to", "2026-01-01T00:00:00Z"], "--from must be before --to"),
        (["--from", "2026-01-02T00:00:00Z", "--to", "2026-01-02T00:00:00Z"], "--from must be before --to"),
        (["--from", "2999-01-01T00:00:00Z", "--to", "2999-01-02T00:00:00Z"], "lies in the future"),
        (["--from", "yesterday"], "must be a time with its zone"),
        (["--to", "2026-01-01T00:00:00"], "must be a time with its zone"),
        (["--by", "partner,weekday"], "'weekday' is none of partner, product, country, day"),
        (["--output", "parquet"], "give --file report.parquet"),
        (["--output", "parquet", "--file", "report.csv"], "must end in .parquet"),
    ],
)
def test_wrong_usage_is_exit_code_2(topics: EvidenceTopics, arguments: list[str], words: str) -> None:
    done = topics("report", *arguments)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize("form", ["html", "json", "table", "csv"])
def test_a_file_that_cannot_be_written_is_said_before_the_topics_are_read(topics: EvidenceTopics, form: str) -> None:
    nowhere = {"OPT_OUT_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    done = topics("report", "--output", form, "--file", f"no/where.{form}", **nowhere)
    assert done.returncode == 1
    assert f"no/where.{form} cannot be written: No such file or directory" in done.stderr


def test_a_full_disk_is_said_and_leaves_nothing(topics: EvidenceTopics, small_disk: Path) -> None:
    for _ in range(4_000):
        topics.outcome(note=os.urandom(500).hex())
    topics.written()
    done = topics("report", TMPDIR=str(small_disk))
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "TMPDIR says where they go" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(small_disk.iterdir()) == []


def test_what_is_printed_is_utf_8_in_any_locale(topics: EvidenceTopics) -> None:
    topics.outcome(partner_code="Zoë", details=Details("旅行", "DE", "EUR", "1"))
    topics.written()
    for form in ("csv", "html"):
        done = topics("report", "--by", "partner,product", "--output", form, PYTHONIOENCODING="latin-1")
        assert done.returncode == 0, done.stderr
        assert "Zoë" in done.stdout
        assert "旅行" in done.stdout
