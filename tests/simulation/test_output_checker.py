"""Up to which time a presentation may be dead-lettered as late, where lookback changes between two runs."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from simulation.checkers.expected import ExpectedFates
from simulation.checkers.head import HEAD
from simulation.checkers.outputs import OutputChecker
from simulation.checkers.violation import Violation
from simulation.workload.drawing import draw
from simulation.workload.scenario import CHECKOUTS, CODEC, OFFERS, START, Written
from simulation.world.broker import Broker
from simulation.world.insurer import Insurer
from simulation.world.timeline import Clock

from consumer.core.rules import DecisionRules
from consumer.events import CheckoutCompleted, OfferPresented

LOOKS_BACK_4S = DecisionRules(window=4_000, checkout_grace=0, lookback=4_000, lateness=1_000, max_skew=2_000)
LOOKS_BACK_8S = replace(LOOKS_BACK_4S, lookback=8_000)

NOW = START * 1_000 + 15_000
WATERMARK = NOW - 1_000 - 1
"""The highest W (ms) that any member may have."""

CHECKOUT_AT = START * 1_000 + 4_000
HORIZON = CHECKOUT_AT + 2_000 + 1_000
"""H (ms) once the metadata is lost: the first checkouts that are read, for which max_skew is allowed, and lateness."""


def dead_letter_as_late(
    presented_at: int,
    settings: tuple[DecisionRules, ...],
    *,
    metadata_lost: bool = False,
    checkouts_deleted: bool = False,
) -> None:
    """The checker is shown the dead letter of an offer that was read on time."""
    offer = OfferPresented("s", "ada", "o", presented_at, 0)
    checkouts = [CheckoutCompleted("s", f"c{n}", CHECKOUT_AT, 3 + n, ()) for n in range(HEAD)]
    fields = {"event_id": "e", "session_id": "s", "partner_code": "ada", "offer_id": "o", "presented_at": presented_at}
    value = CODEC.encode_offer(fields)
    scenario = replace(
        draw(0),
        partitions=1,
        settings=[*settings],
        records=[
            *(
                Written(CHECKOUT_AT, CHECKOUTS, 0, one.offset, CHECKOUT_AT, b"s", b"", one, True, happened=CHECKOUT_AT)
                for one in checkouts
            ),
            Written(presented_at, OFFERS, 0, 0, presented_at, b"s", value, offer, True),
        ],
    )
    clock, random = Clock(NOW / 1_000), Random(0)
    broker = Broker(clock, random, (OFFERS, CHECKOUTS), ("outcomes", "dead letters"), 1, "classic")
    outputs = OutputChecker(ExpectedFates(scenario), broker, Insurer(clock, random, frozenset(), frozenset()), ())
    for one in checkouts:
        broker.logs[CHECKOUTS, 0].append(CHECKOUT_AT, b"s", b"", gap=one.offset - broker.logs[CHECKOUTS, 0].end)
    if checkouts_deleted:
        broker.logs[CHECKOUTS, 0].delete_below(3)
    if metadata_lost:
        outputs.on_loss(0, 3)
    headers = {"source.topic": OFFERS, "source.partition": "0", "source.offset": "0", "reason": "late"}
    encoded = tuple((name, text.encode()) for name, text in headers.items())
    broker.logs["dead letters", 0].append(clock.ms, b"s", value, encoded)
    outputs.read()


@pytest.mark.parametrize("settings", [(LOOKS_BACK_4S, LOOKS_BACK_8S), (LOOKS_BACK_8S, LOOKS_BACK_4S)])
@pytest.mark.parametrize(
    ("metadata_lost", "checkouts_deleted", "limit"),
    [
        (False, False, WATERMARK - 4_000),
        # A member that looks back 8 s needs checkouts from 8 s before the presentation, and those before H may be gone.
        (True, False, HORIZON + 8_000),
        # The member that looked back 4 s kept checkouts from W - window - 4 s on; the next one wants 8 s of them.
        (False, True, WATERMARK - 4_000 - 4_000 + 8_000),
    ],
    ids=["checkouts are read again", "the metadata is lost", "the checkouts are deleted"],
)
def test_late_goes_by_the_longest_lookback(
    settings: tuple[DecisionRules, ...], metadata_lost: bool, checkouts_deleted: bool, limit: int
) -> None:
    dead_letter_as_late(limit - 1, settings, metadata_lost=metadata_lost, checkouts_deleted=checkouts_deleted)
    with pytest.raises(Violation, match="is not late"):
        dead_letter_as_late(limit, settings, metadata_lost=metadata_lost, checkouts_deleted=checkouts_deleted)


def test_with_one_setting_what_comes_on_time_is_late_only_if_the_metadata_is_lost() -> None:
    dead_letter_as_late(HORIZON + 4_000 - 1, (LOOKS_BACK_4S,), metadata_lost=True)
    with pytest.raises(Violation, match="is not late"):
        dead_letter_as_late(HORIZON + 4_000, (LOOKS_BACK_4S,), metadata_lost=True)
    with pytest.raises(Violation, match="is not late"):
        dead_letter_as_late(HORIZON, (LOOKS_BACK_4S,), checkouts_deleted=True)
