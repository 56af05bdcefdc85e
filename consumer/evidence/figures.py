"""Counts chains by their fates, over the files that `outcome_parts` and `open_chains` have written.

A chain counts once, however often its outcome stands in the topic. Where its outcomes differ, the one counts that comes
first in `PRECEDENCE`: a dead letter that a backfill has called since was called.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from ..events import Outcome
from ..row_file import explained, open_duckdb, quoted
from .open_chains import candidates_of
from .outcome_parts import PROCESSES, parts_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# What is put into SQL here are names of our own and quoted paths.
# ruff: noqa: S608

By: TypeAlias = Literal["partner", "product", "country", "day"]
"""What figures can be grouped by. `day` is the day in UTC on which the chain was presented last."""

BY: tuple[By, ...] = ("partner", "product", "country", "day")

PRECEDENCE = (
    Outcome.PURCHASED,
    Outcome.OPTED_OUT,
    Outcome.NOT_FOUND,
    Outcome.IGNORED,
    Outcome.RELEASED,
    Outcome.DEAD_LETTERED,
)
"""Of several different outcomes of one chain, the first of these counts."""

_KNOWN = 0b111111
"""The bits of the fates that are known: bought, or not bought."""

Z_95 = 1.959963984540054
"""So many standard deviations to both sides hold 95 % of a normal distribution."""

MEMORY = "1GB"
"""What DuckDB may take; what does not fit goes to the folder for the work."""


class Figures(NamedTuple):
    """Of the chains of one group.

    Attributes:
        group: the values that it is grouped by, in their order; None where the presentation had none.
        median_ms, p99_ms: from the decision to the recorded 204, of calls that were made live; None without any.
    """

    group: tuple[str | None, ...]
    bought: int = 0
    declined: int = 0
    abandoned: int = 0
    not_found: int = 0
    ignored: int = 0
    dead_lettered: int = 0
    released: int = 0
    open: int = 0
    median_ms: float | None = None
    p99_ms: float | None = None

    @property
    def opted_out(self) -> int:
        """Told to the insurer: the API answered 204."""
        return self.declined + self.abandoned

    @property
    def presented(self) -> int:
        """All chains."""
        return self.known + self.dead_lettered + self.released + self.open

    @property
    def known(self) -> int:
        """Chains of which it is known whether they were bought."""
        return self.bought + self.opted_out + self.not_found + self.ignored

    @property
    def conversion(self) -> float | None:
        """The share of `known` that was bought; None where nothing is known."""
        return self.bought / self.known if self.known else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the conversion; see `wilson`."""
        return wilson(self.bought, self.known) if self.known else None


class Day(NamedTuple):
    """Calls that were answered on a day, as it is shown: 204s and terminal 404s."""

    day: str
    recorded: int
    not_found: int


class Counted(NamedTuple):
    """All that the files tell.

    Attributes:
        groups: by what was asked for, in order; empty where that is nothing.
        repeated: outcomes that say once more what another one of their chain says.
        replaced: chains that were dead-lettered or released, and have an outcome with a known fate as well.
        contradicting: chains with outcomes of different known fates.
        backfilled: chains whose outcome is a backfill's.
        calls: by the day (UTC) on which the answer was recorded.
        delays: how many live 204s took up to so many ms from the decision, by `DELAY_STEPS_MS`, the last one the rest.
    """

    groups: list[Figures]
    total: Figures
    repeated: int
    replaced: int
    contradicting: int
    backfilled: int
    calls: list[Day]
    delays: list[int]


DELAY_STEPS_MS = (60_000, 300_000, 330_000, 360_000, 420_000, 600_000, 1_800_000, 3_600_000, 21_600_000, 86_400_000)
"""Around the default lateness of five minutes, within which no call is made."""


def wilson(bought: int, of: int) -> tuple[float, float]:
    """The interval in which the true share lies with 95 %, by E. B. Wilson (1927); `of` is above 0.

    It stays within 0 and 1 and holds for few chains and for shares near 0, where the textbook's interval does not.
    """
    share, z2 = bought / of, Z_95**2
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = Z_95 * math.sqrt(share * (1 - share) / of + z2 / (4 * of**2)) / (1 + z2 / of)
    return max(0.0, middle - half), min(1.0, middle + half)


def count(folder: Path, partitions: Sequence[int], by: Sequence[By]) -> Counted:
    """Count what stands in the files of these partitions.

    Raises:
        OutputFileError: the folder for the work has no room.
    """
    db = open_duckdb(folder, memory=MEMORY, threads=PROCESSES)
    try:
        with explained(folder):
            db.execute(f"ATTACH '{quoted(folder / 'chains.duckdb')}' AS work; USE work")
            db.execute(_CHAINS)
            for partition in partitions:
                db.execute(
                    f"INSERT INTO chains {one_a_chain(folder, partition)}",
                )
                # The outcomes' topic may have more partitions than the inputs.
                if Path(candidates_of(folder, partition)).exists():
                    db.execute(_OPEN, [candidates_of(folder, partition), parts_of(folder, partition)])
            return _counted(db, by)
    finally:
        db.close()


_CHAINS = """
CREATE TABLE chains (
    partner VARCHAR, product VARCHAR, country VARCHAR, day INTEGER, outcome VARCHAR, reason VARCHAR, mode VARCHAR,
    settled_day INTEGER, delay BIGINT, outcomes BIGINT, fates INTEGER
)"""

DAY = "CAST(floor(epoch_ms({}) / 86400000) AS INTEGER)"
"""The days since 1970 in UTC, whatever the time zone of the machine."""

_KEY = "session_id, partner_code, offer_id, presented_at"

_RANK = "CASE outcome {} END".format(
    " ".join(f"WHEN '{outcome}' THEN {rank}" for rank, outcome in enumerate(PRECEDENCE))
)

_FATE_BIT = (
    "CASE WHEN outcome = 'PURCHASED' THEN 1 WHEN outcome = 'IGNORED' THEN 32 WHEN outcome = 'RELEASED' THEN 64 "
    "WHEN outcome = 'DEAD_LETTERED' THEN (CASE reason WHEN 'LATE' THEN 128 WHEN 'IMPLAUSIBLE_TIME' THEN 256 "
    "WHEN 'CHECKOUT_UNREADABLE' THEN 512 ELSE 1024 END) "
    "ELSE (CASE outcome WHEN 'OPTED_OUT' THEN 2 ELSE 8 END) * (CASE reason WHEN 'DECLINED' THEN 1 ELSE 2 END) END"
)


def ranked(folder: Path, partition: int) -> str:
    """SQL: the outcomes of a partition, all their columns, and `nth` in the chain: the one of 1 counts."""
    return (
        f"SELECT *, row_number() OVER (PARTITION BY {_KEY} ORDER BY {_RANK}, outcome_offset) AS nth "
        f"FROM read_parquet('{quoted(parts_of(folder, partition))}')"
    )


def one_a_chain(folder: Path, partition: int) -> str:
    """SQL: the rows of the table `chains` that are settled. All outcomes of a chain stand in one partition."""
    return f"""
SELECT partner_code, product_code, country, {DAY.format("presented_at")}, outcome, reason, mode,
    {DAY.format("settled_at")},
    CASE WHEN outcome = 'OPTED_OUT' AND mode = 'LIVE' THEN epoch_ms(settled_at) - epoch_ms(decided_at) END,
    outcomes, fates
FROM (
    SELECT *,
        count(*) OVER (PARTITION BY {_KEY}) AS outcomes,
        bit_or({_FATE_BIT}) OVER (PARTITION BY {_KEY}) AS fates
    FROM ({ranked(folder, partition)})
)
WHERE nth = 1"""


_OPEN = f"""
INSERT INTO chains
SELECT partner_code, product_code, country, {DAY.format("presented_at")}, 'OPEN', NULL, NULL, NULL, NULL, 0, 0
FROM read_parquet($1) AS shown ANTI JOIN read_parquet($2) AS settled USING ({_KEY})"""

_COUNTS = """
    count(*) FILTER (outcome = 'PURCHASED'),
    count(*) FILTER (outcome = 'OPTED_OUT' AND reason = 'DECLINED'),
    count(*) FILTER (outcome = 'OPTED_OUT' AND reason <> 'DECLINED'),
    count(*) FILTER (outcome = 'NOT_FOUND'),
    count(*) FILTER (outcome = 'IGNORED'),
    count(*) FILTER (outcome = 'DEAD_LETTERED'),
    count(*) FILTER (outcome = 'RELEASED'),
    count(*) FILTER (outcome = 'OPEN'),
    quantile_cont(delay, 0.5),
    quantile_cont(delay, 0.99)"""


def _counted(db: DuckDBPyConnection, by: Sequence[By]) -> Counted:
    names = ", ".join(by)
    groups = db.execute(f"SELECT {names}, {_COUNTS} FROM chains GROUP BY ALL ORDER BY {names}").fetchall() if by else []
    (total,) = db.execute(f"SELECT {_COUNTS} FROM chains").fetchall()
    (sums,) = db.execute(
        "SELECT coalesce(sum(outcomes - bit_count(fates)), 0),"
        f" count(*) FILTER (fates & {_KNOWN} > 0 AND fates > {_KNOWN}),"
        f" count(*) FILTER (bit_count(fates & {_KNOWN}) > 1), count(*) FILTER (mode = 'BACKFILL') FROM chains"
    ).fetchall()
    calls = db.execute(
        "SELECT settled_day, count(*) FILTER (outcome = 'OPTED_OUT'), count(*) FILTER (outcome = 'NOT_FOUND')"
        " FROM chains WHERE outcome IN ('OPTED_OUT', 'NOT_FOUND') GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    steps = " ".join(f"WHEN delay <= {step} THEN {number}" for number, step in enumerate(DELAY_STEPS_MS))
    found = dict(
        db.execute(
            f"SELECT CASE {steps} ELSE {len(DELAY_STEPS_MS)} END, count(*) FROM chains"
            " WHERE delay IS NOT NULL GROUP BY ALL"
        ).fetchall()
    )
    repeated, replaced, contradicting, backfilled = map(int, sums)
    return Counted(
        [_figures(by, row) for row in groups],
        Figures((None,) * len(by), *total),
        repeated,
        replaced,
        contradicting,
        backfilled,
        [Day(_day(number), recorded, not_found) for number, recorded, not_found in calls],
        [found.get(number, 0) for number in range(len(DELAY_STEPS_MS) + 1)],
    )


def _figures(by: Sequence[By], row: tuple[Any, ...]) -> Figures:
    group = tuple(_day(value) if name == "day" else value for name, value in zip(by, row, strict=False))
    return Figures(group, *row[len(by) :])


def _day(number: int) -> str:
    return datetime.fromtimestamp(number * 86_400, UTC).date().isoformat()
