"""Rows in files: each format read back by a reader of another make, and nothing left behind by what fails."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import duckdb
import pytest
import typer
from support.run_command import clean_environ

from consumer import row_file as module
from consumer.errors import OptOutError, OutputFileError
from consumer.row_file import RowColumn, check_row_file, row_file

COLUMNS = [
    RowColumn("offer_id", "text"),
    RowColumn("attempts", "integer"),
    RowColumn("share", "number"),
    RowColumn("settled_at", "time"),
    RowColumn("repeated", "boolean"),
]
AT = 1_793_491_200_123
ROWS: list[tuple[Any, ...]] = [
    ('a "quoted", one\nof two lines é', 1, 0.5, AT, True),
    (None, None, None, None, None),
    ("", -(2**62), -1e300, 0, False),
]
FORMATS = ["rows.csv", "rows.jsonl", "rows.parquet"]


def written(path: Path, rows: list[tuple[Any, ...]] = ROWS) -> Path:
    with row_file(path, COLUMNS) as write:
        for row in rows:
            write(row)
    return path


def parquet_rows(path: Path, ask: str = "SELECT * REPLACE (epoch_ms(settled_at) AS settled_at)") -> list[Any]:
    return duckdb.sql(f"{ask} FROM '{path}'").fetchall()


# --- what stands in them


def test_csv_holds_what_was_written(tmp_path: Path) -> None:
    with written(tmp_path / "rows.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [
            ["offer_id", "attempts", "share", "settled_at", "repeated"],
            ['a "quoted", one\nof two lines é', "1", "0.5", "2026-11-01T00:00:00.123Z", "true"],
            ["", "", "", "", ""],
            ["", str(-(2**62)), "-1e+300", "1970-01-01T00:00:00.000Z", "false"],
        ]


def test_json_lines_hold_what_was_written(tmp_path: Path) -> None:
    lines = written(tmp_path / "rows.jsonl").read_text("ascii").splitlines()
    assert [list(json.loads(line).values()) for line in lines] == [
        [*ROWS[0][:3], "2026-11-01T00:00:00.123Z", True],
        [None] * 5,
        [*ROWS[2][:3], "1970-01-01T00:00:00.000Z", False],
    ]
    assert list(json.loads(lines[0])) == [column.name for column in COLUMNS]


def test_parquet_holds_what_was_written(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.parquet")
    assert parquet_rows(path) == ROWS
    assert [(name, kind) for name, kind, *_ in duckdb.sql(f"DESCRIBE FROM '{path}'").fetchall()] == [
        ("offer_id", "VARCHAR"),
        ("attempts", "BIGINT"),
        ("share", "DOUBLE"),
        ("settled_at", "TIMESTAMP WITH TIME ZONE"),
        ("repeated", "BOOLEAN"),
    ]


def test_parquet_of_many_batches_keeps_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 3)
    folder = tmp_path / "a folder's [x] *"
    folder.mkdir()
    rows = [(str(n), n, None, None, None) for n in range(20)]
    path = written(folder / "rows.parquet", rows)
    assert parquet_rows(path.rename(tmp_path / "rows.parquet")) == rows


@pytest.mark.parametrize("name", FORMATS)
def test_no_rows_are_a_file_that_says_so(name: str, tmp_path: Path) -> None:
    path = written(tmp_path / name, [])
    if name.endswith(".parquet"):
        assert parquet_rows(path) == []
    else:
        assert path.read_text() == ("" if name.endswith("jsonl") else "offer_id,attempts,share,settled_at,repeated\n")


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
@pytest.mark.parametrize(("value", "shown"), [(10**17, str(10**17)), (253_402_300_800_000, "253402300800000")])
def test_a_time_that_no_calendar_has_is_written_as_a_number(name: str, value: int, shown: str, tmp_path: Path) -> None:
    assert shown in written(tmp_path / name, [(None, None, None, value, None)]).read_text()


def test_a_surrogate_that_stands_alone_stops_no_format(tmp_path: Path) -> None:
    row = ("\ud800", None, None, None, None)
    assert r"\ud800" in written(tmp_path / "rows.csv", [row]).read_text()
    assert r"\ud800" in written(tmp_path / "rows.jsonl", [row]).read_text()
    assert parquet_rows(written(tmp_path / "rows.parquet", [row]), "SELECT offer_id") == [(r"\ud800",)]


# --- how they come to stand there


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_stands_under_the_name_before_the_end(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with row_file(path, COLUMNS) as write:
        write(ROWS[0])
        assert not path.exists()
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


@pytest.mark.parametrize("name", FORMATS)
def test_an_error_on_the_way_leaves_what_was_there(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text("before")

    def failing() -> None:
        with row_file(path, COLUMNS) as write:
            write(ROWS[0])
            raise KeyError

    with pytest.raises(KeyError):
        failing()
    assert path.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", FORMATS)
def test_an_error_of_others_is_not_taken_for_the_file_s(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConnectionError), row_file(tmp_path / name, COLUMNS):
        raise ConnectionError


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "rows.csv"
    link.symlink_to(tmp_path / "there" / "real.csv")
    written(link)
    assert link.is_symlink()
    assert (tmp_path / "there" / "real.csv").read_text() == link.read_text() != ""


@pytest.mark.parametrize("name", FORMATS)
def test_a_full_disk_is_one_error_in_words_and_leaves_nothing(name: str, small_disk: Path) -> None:
    path = small_disk / name
    path.write_text("before")
    with pytest.raises(OutputFileError, match=rf"{name} cannot be written: .*No space left on device"):
        written(path, [(os.urandom(1_000).hex(), n, 0.5, AT, True) for n in range(2_000)])
    assert path.read_text() == "before"
    assert [file.name for file in small_disk.iterdir()] == [name]


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_is_full_at_its_last_byte(name: str, small_disk: Path) -> None:
    path = small_disk / name

    def filling_up() -> None:
        with row_file(path, COLUMNS) as write:
            write(("few bytes, which wait in a buffer", *ROWS[0][1:]))
            with (small_disk / "other").open("wb", buffering=0) as other:
                while os.statvfs(small_disk).f_bavail:
                    other.write(bytes(4096))

    with pytest.raises(OutputFileError, match="No space left on device"):
        filling_up()
    assert [file.name for file in small_disk.iterdir()] == ["other"]


@pytest.mark.parametrize("name", FORMATS)
def test_a_folder_that_is_not_there(name: str, tmp_path: Path) -> None:
    path = tmp_path / "missing" / name
    for attempt in (lambda: check_row_file(path), lambda: written(path)):
        with pytest.raises(OutputFileError, match=r"No such file or directory.*Give a path in a folder that exists"):
            attempt()


@pytest.mark.parametrize("name", FORMATS)
def test_a_folder_under_the_name_of_the_file(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(OutputFileError, match="it is a folder"):
        check_row_file(tmp_path / name)


def test_a_folder_that_this_user_may_not_write_to() -> None:
    code = (
        "import os, sys, pathlib\n"
        "from consumer.row_file import check_row_file\n"
        "os.getuid() or os.setuid(65534)\n"
        "check_row_file(pathlib.Path(sys.argv[1]))"
    )
    # Not below pytest's own folder, which other users may not look into.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        done = subprocess.run(
            [sys.executable, "-c", code, f"{folder}/rows.csv"],
            env=clean_environ(),
            capture_output=True,
            text=True,
            check=False,
        )
        Path(folder).chmod(0o755)
    assert "OutputFileError" in done.stderr
    assert "cannot be written: Permission denied" in done.stderr


# --- what is refused at once


@pytest.mark.parametrize("name", ["rows", "rows.txt", "rows.CSV", "rows.csv.gz", ".csv"])
def test_an_ending_that_names_no_format_is_wrong_usage(name: str, tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match=r"must end in \.csv, \.jsonl or \.parquet"):
        check_row_file(tmp_path / name)


@pytest.mark.parametrize("name", FORMATS)
def test_a_path_that_will_do_is_let_through_and_left_alone(name: str, tmp_path: Path) -> None:
    assert check_row_file(tmp_path / name) == tmp_path / name
    assert list(tmp_path.iterdir()) == []
    assert check_row_file(None) is None


def test_without_the_extra_parquet_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    with pytest.raises(OptOutError, match=r"needs duckdb and arro3.core.*pip install 'offer-opt-out\[evidence\]'"):
        check_row_file(tmp_path / "rows.parquet")
    assert check_row_file(tmp_path / "rows.csv") is not None


# --- inside


def _umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now
