"""What a seed may draw or be judged by beyond the usual, each kind by its name: to be switched on one by one."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from random import Random


class Kind(Enum):
    """A kind of event or fault, or a rule of the second judge. Each draws from a random source of its own, so that a
    kind that is switched on changes nothing that the others draw."""

    KNOWN_PURCHASES = "known purchases"
    """The second judge holds the service to what it knows when a call leaves."""
    BOUGHT_WHILE_WAITING = "bought while waiting"
    """Calls wait, for a slow rate limit or a partner that does not take them, and their offers are bought meanwhile."""
    WRONG_ROUTE = "wrong route"
    """A partner's calls are answered 204, then for a while 404 whatever the offer."""
    FAST_CLOCKS = "fast clocks"
    """Producers whose clocks are ahead by up to max_skew, of their records' stamps too."""
    MISDATED_PRODUCERS = "misdated producers"
    """Some producers date in another unit or zone, or by a clock that stands still; some of them from a release on."""
    DELAYED_PRODUCERS = "delayed producers"
    """The brokers are away, and what was to be written meanwhile lands after them, newer events first."""
    CLOCK_STEPS = "clock steps"
    """The clock of one of our machines is set ahead or back, and is set right after a while; the insurer's is right."""
    NO_RIGHTS = "no rights"
    """The right to write outcomes or dead letters is withdrawn for long."""
    LOST_POSITIONS = "lost positions"
    """Another program commits for the group, offsets expire, or a topic is deleted and made anew, of one topic or both;
    an operator answers."""
    CUT_LOGS = "cut logs"
    """A log loses its end, of which some was read, and has grown past that when the service starts again: a leader was
    elected that had not all. An operator answers."""
    LATE_RUN = "late run"
    """The logs of some seeds are read once more, late, and what is called must be the same."""
    BACKFILL = "backfill"
    """Ranges of the logs of some seeds are backfilled, after the live run."""
    SEVERAL = "several in a record"
    """A record holds its offer several times: `input.offers.each` is set, and all fates must stay what they are."""
    IN_PORTIONS = "in portions"
    """The processes of a seed decide one to three chains a turn, and as many as they read."""
    OTHER_KINDS = "other kinds"
    """Both topics are shared: records of another kind, which `input.….when` passes over, stand between ours."""
    WRONG_SCHEMA = "wrong schema"
    """A producer writes a row of what nobody can read, mostly longer than `dead_letter.max_run` bears. A supervisor
    starts again what stops by that within a second, and it stops again, until an operator raises the limit."""
    CHANGED_MAPPING = "changed mapping"
    """The mapping of the inputs is another one from some start on, which is refused; an operator answers."""


ON: frozenset[Kind] = frozenset(
    {
        Kind.KNOWN_PURCHASES,
        Kind.BOUGHT_WHILE_WAITING,
        Kind.WRONG_ROUTE,
        Kind.DELAYED_PRODUCERS,
        Kind.FAST_CLOCKS,
        Kind.MISDATED_PRODUCERS,
        Kind.CLOCK_STEPS,
        Kind.NO_RIGHTS,
        Kind.LOST_POSITIONS,
        Kind.LATE_RUN,
        Kind.BACKFILL,
    }
)
"""What every run has."""


def source_of(kind: Kind, seed: int) -> Random:
    """The random source of a kind in a seed."""
    return Random(f"{seed} {kind.value}")


def kinds_of(names: Iterable[str]) -> frozenset[Kind]:
    """Those of these names, `all` being all, besides what is on.

    Raises:
        ValueError: there is no such kind.
    """
    named = set(names)
    return ON | (frozenset(Kind) if "all" in named else {Kind(name) for name in named})
