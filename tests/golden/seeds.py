"""What a seed of the simulation yields, told by what leaves the service: calls, outcomes, dead letters, commits.

As a program it prints that for the seeds it is given: `python tests/golden/seeds.py 0 1 2`.
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from golden.deployed import decode
from golden.nets import as_json
from simulation.world.world import DEAD, OUTCOMES, World


class Left(NamedTuple):
    """What left the service in the run of a seed.

    Attributes:
        calls: time (ms), process, partner, offer, reason, status; in their order.
        outcomes, letters: partition, the record's offset, key, value and headers.
        commits: topic, partition, offset and metadata at the end.
    """

    calls: list[tuple[Any, ...]]
    outcomes: list[tuple[Any, ...]]
    letters: list[tuple[Any, ...]]
    commits: list[tuple[Any, ...]]


def run(seed: int) -> Left:
    """Run a seed. All that is needed to know of the simulation is here and in the imports."""
    world = World(seed)
    world.run()

    def records(topic: str) -> list[tuple[Any, ...]]:
        logs = sorted((place[1], log) for place, log in world.broker.logs.items() if place[0] == topic)
        return [(p, r.offset, r.key, r.value, r.headers) for p, log in logs for r in log.records]

    return Left(
        [(c.at, c.process, c.partner_code, c.offer_id, c.reason, c.status) for c in world.insurer.calls],
        records(OUTCOMES),
        records(DEAD),
        [(*place, *told) for place, told in sorted(world.broker.group.committed.items())],
    )


def yields(seed: int) -> dict[str, Any]:
    """Figures and digests, the ones that say least first.

    `fates` is a digest of which offer met which fates; `calls` of the calls in their order; `times` of everything, with
    its virtual times, offsets, who did it, and the metadata committed. Where only `times` differs, the service did the
    same at other moments, or asked the broker more or less often: each question is a chance for a fault.
    """
    left = run(seed)
    outcomes = [decode("offer_outcome", value) for _, _, _, value, _ in left.outcomes]
    fates = {
        (o["source"]["partition"], o["source"]["offset"], o["offer_id"], o["outcome"], o["reason"]) for o in outcomes
    }
    reasons = [dict(headers)["reason"].decode() for *_, headers in left.letters]
    return {
        "seed": seed,
        "outcomes": _counted(f"{o['outcome']} {o['reason']}" for o in outcomes),
        "dead letters": _counted(reasons),
        "calls answered": _counted(str(status) for *_, status in left.calls),
        "fates": _digest(sorted(fates)),
        "calls": _digest([call[2:] for call in left.calls]),
        "times": _digest(left),
    }


def _counted(words: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(words).items()))


def _digest(data: object) -> str:
    return hashlib.sha256(repr(data).encode()).hexdigest()[:16]


if __name__ == "__main__":
    print(as_json([yields(int(seed)) for seed in sys.argv[1:]]), end="")
