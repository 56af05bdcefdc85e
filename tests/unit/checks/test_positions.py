"""`opt-out positions` says that a start would go on where one does, and only there."""

from __future__ import annotations

from dataclasses import replace

import pytest
from confluent_kafka import TopicPartition
from support.changes_world import CHECKOUTS, OFFERS, OURS

from consumer.checks.positions import PositionsCommand
from consumer.core.checkpoint import OfferCheckpoint
from consumer.core.provenance import Provenance
from consumer.core.watermark import Side
from consumer.errors import StartError
from consumer.kafka.positions import Positions, check_positions

LOGS = {(side, 0): (0, 100) for side in Side}


def found(offers: OfferCheckpoint = OFFERS) -> Positions:
    places = [
        TopicPartition("offers", 0, 7, metadata=offers.encode(7)),
        TopicPartition("checkouts", 0, 3, metadata=CHECKOUTS.encode(3)),
    ]
    return Positions(("offers", "checkouts"), places)


def why_refused(positions: Positions, whose: Provenance = OURS, partitions: int = 1, end: int = 100) -> str:
    command = PositionsCommand.__new__(PositionsCommand)
    command._group, command._partitions, command._provenance = "g", partitions, whose
    return command._why_refused(positions, {place: (low, end) for place, (low, _) in LOGS.items()})


def test_a_start_goes_on_from_what_is_in_no_doubt() -> None:
    check_positions("g", found(), OURS, 1)
    assert why_refused(found()) == ""


@pytest.mark.parametrize(
    ("whose", "partitions"),
    [
        (replace(OURS, checkout_topic_id=""), 1),
        (replace(OURS, cluster=""), 1),
        (replace(OURS, base_url="https://another.example"), 1),
        (OURS, 2),
    ],
    ids=["an id that is not told just now", "a cluster that is not told", "another API", "another partition count"],
)
def test_what_is_said_is_what_a_start_says(whose: Provenance, partitions: int) -> None:
    with pytest.raises(StartError) as refused:
        check_positions("g", found(), whose, partitions)
    assert why_refused(found(), whose, partitions) == str(refused.value)


def test_it_looks_at_the_logs_ends_too() -> None:
    assert "no longer holds all that was read from it" in why_refused(found(), end=8)


def test_a_time_that_is_still_to_come_is_said() -> None:
    assert "ahead of this machine's clock" in why_refused(found(replace(OFFERS, decided_to=9_000_000_000_000)))
