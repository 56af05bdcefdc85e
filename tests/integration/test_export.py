"""`opt-out export` over a topic of a real broker."""

from __future__ import annotations

import os
from pathlib import Path

import brokers
import duckdb
import pytest
from support.documents import examples
from support.evidence import DAY, FATES, EvidenceTopics

from consumer.events import Mode, Outcome, Reason
from consumer.evidence.outcome_rows import COLUMNS
from consumer.row_file import as_time


@pytest.fixture
def topics(real_kafka: brokers.Broker) -> EvidenceTopics:
    return EvidenceTopics(real_kafka.bootstrap_servers)


def exported(topics: EvidenceTopics, folder: Path, *, end: int = DAY) -> list[Path]:
    """The files that a run has left, which succeeded."""
    topics.written()
    done = topics("export", str(folder), end=end)
    assert done.returncode == 0, done.stderr
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def test_each_day_has_a_folder_with_a_file_of_each_partition(topics: EvidenceTopics, tmp_path: Path) -> None:
    for number, (outcome, reason, status) in enumerate(FATES):
        topics.outcome(outcome, reason, status, at=(number % 3) * DAY, partition=number % 2)
    first, second = (as_time(topics.day + at)[:10] for at in (0, DAY))
    names = [str(path) for path in exported(topics, tmp_path / "new", end=2 * DAY)]
    assert names == [f"day={day}/part-{partition}-0.parquet" for day in (first, second) for partition in (0, 1)]
    read = duckdb.sql(f"FROM read_parquet('{tmp_path}/new/*/*.parquet', hive_partitioning = true)")
    assert [name for name, *_ in read.description] == [*(column.name for column in COLUMNS), "counts", "day"]
    found = read.aggregate("list((outcome, reason) ORDER BY outcome_partition, outcome_offset)").fetchall()[0][0]
    wanted = [FATES[number] for partition in (0, 1) for number in range(partition, 11, 2) if number % 3 < 2]
    assert found == [(outcome.value, reason.value) for outcome, reason, _ in wanted]


def test_a_day_that_is_exported_again_is_replaced_whole(topics: EvidenceTopics, tmp_path: Path) -> None:
    first = topics.outcome(Outcome.DEAD_LETTERED, Reason.LATE)
    (file,) = exported(topics, tmp_path)
    stray = tmp_path / file.parent / "stray.parquet"
    stray.write_text("left by another program")
    other = tmp_path / "day=1999-01-01" / "part-0-0.parquet"
    other.parent.mkdir()
    other.write_text("another day")
    topics.again(first, outcome=Outcome.OPTED_OUT, reason=Reason.DECLINED, mode=Mode.BACKFILL)
    assert exported(topics, tmp_path) == [other.relative_to(tmp_path), file]
    rows = duckdb.sql(f"SELECT outcome, counts, epoch_ms(settled_at) FROM '{tmp_path / file}'").fetchall()
    assert rows == [("DEAD_LETTERED", False, first.settled_at), ("OPTED_OUT", True, first.settled_at)]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_query_of_the_manual_gives_the_figures_of_the_report(topics: EvidenceTopics, tmp_path: Path) -> None:
    for outcome, reason, status in FATES:
        topics.again(topics.outcome(outcome, reason, status))
    exported(topics, tmp_path / "outcomes")
    (query,) = [text for text in examples("sql") if "read_parquet('outcomes/" in text]
    day = as_time(topics.day)[:10]
    for written, here in (("2026-11-01", day), ("2026-11-30", day), ("outcomes/*", f"{tmp_path}/outcomes/*")):
        assert written in query
        query = query.replace(written, here)
    rows = duckdb.sql(query).fetchall()
    assert rows == [("ACME", 11, 1, 2, pytest.approx(1 / 6))]


def test_outcomes_that_retention_has_deleted_replace_nothing(topics: EvidenceTopics, tmp_path: Path) -> None:
    topics.outcome()
    topics.outcome()
    (file,) = exported(topics, tmp_path)
    before = (tmp_path / file).read_bytes()
    topics.delete_before("OUTCOME", 0, 1)
    done = topics("export", str(tmp_path))
    assert done.returncode == 1
    assert "retention has deleted what stood before offset 1" in done.stderr
    assert (tmp_path / file).read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_no_outcome_is_a_sentence(topics: EvidenceTopics, tmp_path: Path) -> None:
    assert exported(topics, tmp_path / "none") == []
    assert "No outcome is of these days" in topics("export", str(tmp_path / "none")).stdout


def test_a_full_disk_leaves_what_was_there(topics: EvidenceTopics, small_disk: Path) -> None:
    topics.outcome()
    (file,) = exported(topics, small_disk)
    before = (small_disk / file).read_bytes()
    (small_disk / "other").write_bytes(bytes(900_000))
    for _ in range(3_000):
        topics.outcome(note=os.urandom(100).hex())
    topics.written()
    (small_disk / "more").write_bytes(bytes(100_000))
    done = topics("export", str(small_disk))
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert (small_disk / file).read_bytes() == before


def test_half_a_day_is_wrong_usage(topics: EvidenceTopics, tmp_path: Path) -> None:
    done = topics("export", str(tmp_path / "new"), begin=1)
    assert done.returncode == 2
    assert "must be a midnight in UTC" in done.stderr
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_made(topics: EvidenceTopics, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path, words in ((tmp_path / "file", "File exists"), (tmp_path / "no" / "where", "No such file or directory")):
        done = topics("export", str(path))
        assert done.returncode == 1
        assert f"{path} cannot be written: {words}" in done.stderr
