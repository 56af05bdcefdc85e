"""Run seeds of the simulation: `python tests/simulation/simulate.py --seeds 1000`, or one again with its trace."""

from __future__ import annotations

import argparse
import multiprocessing
import secrets
import sys
import time
import traceback
from collections import Counter
from functools import partial
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from simulation.checkers.violation import Violation
from simulation.workload.kinds import ON, Kind, kinds_of
from simulation.world.backfill_run import backfill
from simulation.world.late_run import compare
from simulation.world.world import NEITHER, SESSIONS, World


class Result(NamedTuple):
    """What became of a seed."""

    seed: int
    failure: str | None
    faults: Counter[str]
    turns: int
    calls: int
    repeats: int
    crashes: int
    seconds: float
    digest: str
    unjudged: Counter[str]


READ_LATE = 5
"""The logs of every so many seeds are read once more, late."""

BACKFILLED = 5
"""Of every so many seeds two ranges are backfilled."""

MOST_UNJUDGED = 0.04
"""Of all sessions, the share that neither judge may leave unjudged."""


def run(seed: int, *, trace: int = 0, kinds: frozenset[Kind] = ON) -> Result:
    """Run one seed; print the last lines of its trace if asked to."""
    began = time.process_time()
    failure = None
    world = World(seed, kinds)
    try:
        world.run()
        if Kind.LATE_RUN in kinds and seed % READ_LATE == 0:
            world.faults += compare(world)
        if Kind.BACKFILL in kinds and seed % BACKFILLED == 1:
            world.faults += backfill(world)
    except Violation as violation:
        failure = f"invariant broken: {violation}"
    except Exception:
        failure = traceback.format_exc()
    if trace and (failure or trace > 100):
        print("\n".join([*world.trace][-trace:]))
    return Result(
        seed, failure, world.faults, world.turns, len(world.insurer.calls), world.calls.repeats, world.crashes,
        time.process_time() - began, world.digest, world.unjudged(),
    )  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, help="how many seeds to run")
    parser.add_argument("--first", type=int, default=None, help="the first seed; drawn if it is not given")
    parser.add_argument("--seed", type=int, default=None, help="run this seed alone, and print the end of its trace")
    parser.add_argument(
        "--with", dest="kinds", nargs="+", default=(), metavar="KIND",
        help=f"switch on what is off: all, {', '.join(repr(kind.value) for kind in Kind if kind not in ON)}",
    )  # fmt: skip
    parser.add_argument("--minutes", type=float, default=None, help="stop after so long")
    options = parser.parse_args()
    kinds = kinds_of(options.kinds)
    if options.seed is not None:
        return replay(options.seed, kinds)
    first = secrets.randbelow(10**9) if options.first is None else options.first
    print(f"seeds {first} to {first + options.seeds - 1}", flush=True)
    again = " ".join(
        ["python tests/simulation/simulate.py", *(["--with", *map(repr, options.kinds)] if kinds != ON else [])]
    )
    began, faults, unjudged, done, failed = time.monotonic(), Counter[str](), Counter[str](), [], 0
    with multiprocessing.Pool() as pool:
        for result in pool.imap_unordered(partial(run, kinds=kinds), range(first, first + options.seeds), chunksize=8):
            done.append(result)
            faults += result.faults
            unjudged += result.unjudged
            if result.failure:
                failed += 1
                print(f"seed {result.seed} FAILED: {result.failure.splitlines()[-1]}")
                print(f"  again, with its trace: {again} --seed {result.seed}", flush=True)
            if failed >= 10 or (options.minutes and time.monotonic() - began > 60 * options.minutes):
                pool.terminate()
                break
    took = time.monotonic() - began
    print(f"{len(done)} seeds in {took:.0f} s: {len(done) / took:.1f} a second; {failed} broke an invariant")
    print(f"{sum(r.calls for r in done):,} calls, {sum(r.repeats for r in done):,} repeated, "
          f"{sum(r.crashes for r in done):,} crashes, {sum(r.turns for r in done):,} turns")  # fmt: skip
    for name, count in faults.most_common():
        print(f"{count:8,}  {name}")
    return 1 if failed or not report_unjudged(unjudged) else 0


def report_unjudged(unjudged: Counter[str]) -> bool:
    """Print how many sessions were left unjudged, and why. Returns whether they are few enough."""
    sessions, neither = unjudged.pop(SESSIONS), unjudged.pop(NEITHER, 0)
    share = neither / sessions
    print(f"{sessions:,} sessions; neither judge judged {neither:,} of them: {share:.2%}, {MOST_UNJUDGED:.0%} may be")
    for name, count in unjudged.most_common():
        print(f"{count:8,}  {name}")
    return share <= MOST_UNJUDGED


def replay(seed: int, kinds: frozenset[Kind]) -> int:
    result = run(seed, trace=120, kinds=kinds)
    print(result.failure or "no invariant broken")
    print(f"digest {result.digest}, {result.turns} turns, {result.seconds:.2f} s")
    return 1 if result.failure else 0


if __name__ == "__main__":
    sys.exit(main())
