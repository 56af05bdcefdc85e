"""Figures over files of outcomes: each chain once, by the fate that says most, and the interval of a share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import examples

from consumer.events import Outcome
from consumer.evidence import open_chains, outcome_rows
from consumer.evidence.figures import DELAY_STEPS_MS, PRECEDENCE, Figures, count, wilson
from consumer.row_file import row_file

DAY = 86_400_000
AT = 20_000 * DAY
CHAIN: dict[str, Any] = {
    "offer_id": "o",
    "partner_code": "P",
    "session_id": "s",
    "outcome": "PURCHASED",
    "reason": "PURCHASED",
    "presented_at": AT,
    "decided_at": AT + 1,
    "settled_at": AT + 2,
    "product_code": "travel",
    "country": "DE",
    "mode": "LIVE",
}


class Files:
    """The files of a folder for the work."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(
        self, outcomes: Sequence[dict[str, Any]], presented: Sequence[dict[str, Any]] = (), partition: int = 0
    ) -> None:
        parts = (
            (f"outcomes-{partition}-000000.parquet", outcome_rows.COLUMNS, outcomes),
            (f"presented-{partition}.parquet", open_chains.COLUMNS, presented),
        )
        for name, columns, chains in parts:
            with row_file(self.folder / name, columns) as write:
                for offset, chain in enumerate(chains):
                    fields = CHAIN | {"outcome_partition": partition, "outcome_offset": offset} | chain
                    write([fields.get(column.name) for column in columns])


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_a_chain_counts_once_by_the_fate_that_comes_first(files: Files) -> None:
    for index in range(len(PRECEDENCE)):
        fates = [*reversed(PRECEDENCE[index:]), PRECEDENCE[-1]]
        folder = files.folder / str(index)
        folder.mkdir()
        Files(folder).write([{"outcome": fate.value, "reason": "DECLINED"} for fate in fates])
        counted = count(folder, [0], ())
        assert counted.total.presented == 1
        assert counted.repeated == 1
        name = {"PURCHASED": "bought", "OPTED_OUT": "declined"}.get(PRECEDENCE[index], PRECEDENCE[index].lower())
        assert getattr(counted.total, name) == 1, PRECEDENCE[index]


@pytest.mark.parametrize(
    ("outcomes", "repeated"),
    [
        ([("DEAD_LETTERED", "LATE", "LIVE"), ("OPTED_OUT", "DECLINED", "BACKFILL")], 0),
        ([("DEAD_LETTERED", "LATE", "LIVE"), ("DEAD_LETTERED", "DECLINED", "BACKFILL")], 0),
        ([("OPTED_OUT", "DECLINED", "LIVE"), ("OPTED_OUT", "ABANDONED", "LIVE")], 0),
        ([("OPTED_OUT", "DECLINED", "LIVE"), ("OPTED_OUT", "DECLINED", "BACKFILL")], 1),
        ([("DEAD_LETTERED", "LATE", "LIVE"), ("OPTED_OUT", "DECLINED", "LIVE"), ("DEAD_LETTERED", "LATE", "LIVE")], 1),
    ],
)
def test_outcomes_that_differ_are_not_the_same_outcome_again(
    files: Files, outcomes: list[tuple[str, str, str]], repeated: int
) -> None:
    files.write([{"outcome": outcome, "reason": reason, "mode": mode} for outcome, reason, mode in outcomes])
    assert count(files.folder, [0], ()).repeated == repeated


def test_every_outcome_has_its_place_in_the_order() -> None:
    assert set(PRECEDENCE) == set(Outcome)


@pytest.mark.parametrize(
    ("outcomes", "replaced", "contradicting"),
    [
        ([("PURCHASED", "PURCHASED"), ("PURCHASED", "PURCHASED")], 0, 0),
        ([("OPTED_OUT", "DECLINED"), ("OPTED_OUT", "ABANDONED")], 0, 1),
        ([("OPTED_OUT", "DECLINED"), ("NOT_FOUND", "DECLINED")], 0, 1),
        ([("NOT_FOUND", "DECLINED"), ("NOT_FOUND", "ABANDONED")], 0, 1),
        ([("IGNORED", "ABANDONED"), ("OPTED_OUT", "ABANDONED")], 0, 1),
        ([("DEAD_LETTERED", "LATE"), ("OPTED_OUT", "DECLINED")], 1, 0),
        ([("RELEASED", "RELEASED"), ("PURCHASED", "PURCHASED")], 1, 0),
        ([("RELEASED", "RELEASED"), ("DEAD_LETTERED", "LATE")], 0, 0),
        ([("DEAD_LETTERED", "LATE"), ("OPTED_OUT", "DECLINED"), ("PURCHASED", "PURCHASED")], 1, 1),
    ],
)
def test_what_differs_is_told(files: Files, outcomes: list[tuple[str, str]], replaced: int, contradicting: int) -> None:
    files.write([{"outcome": outcome, "reason": reason} for outcome, reason in outcomes])
    counted = count(files.folder, [0], ())
    assert (counted.replaced, counted.contradicting) == (replaced, contradicting)


@pytest.mark.parametrize("name", ["session_id", "partner_code", "offer_id", "presented_at"])
def test_what_makes_two_chains_of_one_offer(files: Files, name: str) -> None:
    files.write([{}, {name: AT + 1 if name == "presented_at" else "another"}])
    assert count(files.folder, [0], ()).total.bought == 2


def test_what_was_presented_is_open_unless_it_has_an_outcome(files: Files) -> None:
    files.write([{}], [{}, {"presented_at": AT + 1}, {"offer_id": "another"}])
    files.write([], [{"session_id": "of another partition"}], partition=7)
    total = count(files.folder, [0, 7], ()).total
    assert (total.bought, total.open, total.presented) == (1, 3, 4)


def test_an_outcome_topic_with_more_partitions_than_the_inputs_is_reported(files: Files) -> None:
    """`opt-out topics --check` and a start allow it. Of the inputs there is a file for each of their partitions."""
    files.write([{}], [{"offer_id": "another"}])
    files.write([{"offer_id": "elsewhere"}], partition=1)
    (files.folder / "presented-1.parquet").unlink()
    total = count(files.folder, [0, 1], ()).total
    assert (total.bought, total.open) == (2, 1)


def test_the_time_to_204_is_that_of_live_calls(files: Files) -> None:
    called = {"outcome": "OPTED_OUT", "reason": "ABANDONED"}
    delays = [60_000, 60_001, 200_000_000]
    files.write(
        [
            *({**called, "offer_id": str(ms), "settled_at": AT + 1 + ms} for ms in delays),
            {**called, "offer_id": "b", "mode": "BACKFILL"},
            {"outcome": "NOT_FOUND", "offer_id": "n"},
            {"offer_id": "p"},
        ]
    )
    counted = count(files.folder, [0], ())
    assert counted.total.median_ms == 60_001
    assert counted.total.p99_ms == pytest.approx(60_001 + 0.98 * (200_000_000 - 60_001))
    assert counted.delays == [1, 1, *[0] * (len(DELAY_STEPS_MS) - 2), 1]
    assert counted.backfilled == 1
    assert [(day.recorded, day.not_found) for day in counted.calls] == [(3, 1), (1, 0)]


def test_days_are_those_of_utc_before_1970_too(files: Files) -> None:
    times = [0, -1, DAY - 1, DAY]
    files.write([{"presented_at": at, "offer_id": str(at)} for at in times])
    groups = count(files.folder, [0], ("day",)).groups
    assert [(one.group, one.bought) for one in groups] == [
        (("1969-12-31",), 1),
        (("1970-01-01",), 2),
        (("1970-01-02",), 1),
    ]


def test_groups_stand_in_order_and_those_without_a_name_last(files: Files) -> None:
    files.write(
        [{"product_code": name, "offer_id": str(name)} for name in ("b", None, "a", "'; DROP TABLE chains; --")]
    )
    groups = count(files.folder, [0], ("product", "partner")).groups
    assert [one.group for one in groups] == [
        ("'; DROP TABLE chains; --", "P"),
        ("a", "P"),
        ("b", "P"),
        (None, "P"),
    ]


def test_what_is_known_is_the_denominator() -> None:
    figures = Figures((), 1, 2, 3, 4, 5, 6, 7, 8)
    assert (figures.opted_out, figures.known, figures.presented) == (5, 15, 36)
    assert figures.conversion == 1 / 15
    assert Figures((), open=3).conversion is None
    assert Figures((), dead_lettered=3).interval is None


@pytest.mark.parametrize(
    ("bought", "of", "low", "high"),
    [
        # R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_s_interval_is_that_of_the_literature(bought: int, of: int, low: float, high: float) -> None:
    assert wilson(bought, of) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 10**9).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
@examples(200)
def test_the_interval_holds_the_share_and_stays_between_0_and_1(told: tuple[int, int]) -> None:
    bought, of = told
    low, high = wilson(bought, of)
    assert 0 <= low <= bought / of + 1e-12
    assert bought / of - 1e-12 <= high <= 1
    assert wilson(of - bought, of) == pytest.approx((1 - high, 1 - low), abs=1e-9)


def test_the_order_of_rows_in_the_files_does_not_matter(files: Files) -> None:
    outcomes = [{"outcome": fate.value, "offer_id": str(n % 3)} for n, fate in enumerate(PRECEDENCE)]
    files.write(outcomes)
    before = count(files.folder, [0], ())
    (files.folder / "chains.duckdb").unlink()
    path = files.folder / "outcomes-0-000000.parquet"
    rows = duckdb.sql(f"FROM '{path}' ORDER BY outcome_offset DESC").fetchall()
    assert len(rows) == len(outcomes)
    duckdb.sql(f"COPY (FROM '{path}' ORDER BY outcome_offset DESC) TO '{path}.new' (FORMAT parquet)")
    Path(f"{path}.new").rename(path)
    assert count(files.folder, [0], ()) == before
