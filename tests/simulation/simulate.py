"""Run seeds of the simulation: `python tests/simulation/simulate.py --seeds 1000`, or one again with its trace."""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import secrets
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import structlog

sys.path.insert(0, str(Path(__file__).parents[1]))

from simulation.checkers.violation import Violation
from simulation.world.world import World


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


@contextmanager
def quiet() -> Iterator[None]:
    """What a simulated process logs goes nowhere: the trace tells more."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


def run(seed: int, *, trace: int = 0) -> Result:
    """Run one seed; print the last lines of its trace if asked to."""
    began = time.process_time()
    failure = None
    world = World(seed)
    try:
        with quiet():
            world.run()
    except Violation as violation:
        failure = f"invariant broken: {violation}"
    except Exception:
        failure = traceback.format_exc()
    if trace and (failure or trace > 100):
        print("\n".join([*world.trace][-trace:]))
    return Result(
        seed, failure, world.faults, world.turns, len(world.insurer.calls), world.calls.repeats, world.crashes,
        time.process_time() - began, world.digest,
    )  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, help="how many seeds to run")
    parser.add_argument("--first", type=int, default=None, help="the first seed; drawn if it is not given")
    parser.add_argument("--seed", type=int, default=None, help="run this seed alone, and print the end of its trace")
    parser.add_argument("--minutes", type=float, default=None, help="stop after so long")
    options = parser.parse_args()
    if options.seed is not None:
        return replay(options.seed)
    first = secrets.randbelow(10**9) if options.first is None else options.first
    print(f"seeds {first} to {first + options.seeds - 1}", flush=True)
    began, faults, done, failed = time.monotonic(), Counter[str](), [], 0
    with multiprocessing.Pool() as pool:
        for result in pool.imap_unordered(run, range(first, first + options.seeds), chunksize=8):
            done.append(result)
            faults += result.faults
            if result.failure:
                failed += 1
                print(f"seed {result.seed} FAILED: {result.failure.splitlines()[-1]}")
                print(f"  again, with its trace: python tests/simulation/simulate.py --seed {result.seed}", flush=True)
            if failed >= 10 or (options.minutes and time.monotonic() - began > 60 * options.minutes):
                pool.terminate()
                break
    took = time.monotonic() - began
    print(f"{len(done)} seeds in {took:.0f} s: {len(done) / took:.1f} a second; {failed} broke an invariant")
    print(f"{sum(r.calls for r in done):,} calls, {sum(r.repeats for r in done):,} repeated, "
          f"{sum(r.crashes for r in done):,} crashes, {sum(r.turns for r in done):,} turns")  # fmt: skip
    for name, count in sorted(faults.items(), key=lambda item: -item[1]):
        print(f"{count:8,}  {name}")
    return 1 if failed else 0


def replay(seed: int) -> int:
    result = run(seed, trace=120)
    print(result.failure or "no invariant broken")
    print(f"digest {result.digest}, {result.turns} turns, {result.seconds:.2f} s")
    return 1 if result.failure else 0


if __name__ == "__main__":
    sys.exit(main())
