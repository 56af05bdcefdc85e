"""Where a new group starts by time, with a broker that the test plays."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from support.kafka import Consumer

from consumer.core.admission import Admission
from consumer.core.checkpoint import CheckoutCheckpoint, Position
from consumer.core.rules import MAX_TIME, DecisionRules
from consumer.core.task import Task
from consumer.errors import StartError
from consumer.events import OfferPresented
from consumer.kafka.start_offsets import StartOffsets
from consumer.settings import KafkaSettings

RULES = DecisionRules(window=100, checkout_grace=10, lookback=300, lateness=5, max_skew=50)
SINCE = 1_800_000_000_000


def broker(*, low: int, at: int) -> Consumer:
    """Both topics have one partition; its checkouts begin at `low`, and the first at or after any time is `at`."""
    consumer = Consumer()
    consumer.begins["checkouts"], consumer.at = low, at
    return consumer


def begin(consumer: Consumer, moment: str | None = None) -> dict[str, tuple[int, str]]:
    since = moment or datetime.fromtimestamp(SINCE / 1000, UTC)
    settings = KafkaSettings.model_validate(
        {"offer_topic": "offers", "checkout_topic": "checkouts", "start_from": since}
    )
    StartOffsets(settings, RULES, 1).begin_group(consumer, SINCE + 10**6)
    (commit,) = consumer.commits
    return {topic: (offset, consumer.metadata[topic, partition]) for (topic, partition), offset in commit.items()}


def test_a_start_by_time_knows_its_horizon_where_older_checkouts_are_still_there() -> None:
    offset, metadata = begin(broker(low=3, at=7))["checkouts"]
    assert offset == 7
    assert CheckoutCheckpoint.decode(metadata, offset).horizon == SINCE - RULES.lookback - RULES.lateness


def test_a_start_by_time_at_the_very_first_record_ever_knows_its_horizon() -> None:
    offset, metadata = begin(broker(low=0, at=0))["checkouts"]
    assert CheckoutCheckpoint.decode(metadata, offset).horizon == SINCE - RULES.lookback - RULES.lateness


@pytest.mark.parametrize("at", [3, -1])
def test_a_start_by_time_learns_its_horizon_where_retention_may_have_cut_what_it_needs(at: int) -> None:
    commits = begin(broker(low=3, at=at) if at > 0 else broker(low=100, at=-1))
    assert commits["checkouts"][1] == "", "older checkouts may be gone, and nobody would know"


@pytest.mark.parametrize(
    ("before", "verdict"),
    [(0, Admission.ACCEPTED), (RULES.lateness, Admission.ACCEPTED), (RULES.lateness + 1, Admission.CUT_OFF)],
)
def test_an_offer_on_time_whose_record_is_the_first_after_the_start_is_no_late_one(
    before: int, verdict: Admission
) -> None:
    commits = begin(broker(low=3, at=7))
    offers, checkouts = (Position(*commits[topic]) for topic in ("offers", "checkouts"))
    task = Task(RULES, partitions=1, offers=offers, checkouts=checkouts, horizon=MAX_TIME)
    shown = OfferPresented("s", "ada", "o1", SINCE - before, offers.offset)
    assert task.offer(shown, SINCE, SINCE + 10) is verdict


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1969-12-31T00:00:00Z"])
def test_a_start_by_any_time_that_can_be_set_can_be_logged(moment: str) -> None:
    assert begin(broker(low=0, at=7), moment)["offers"][0] == 7


def test_a_start_of_which_only_a_part_was_committed_stops() -> None:
    consumer = broker(low=0, at=7)
    consumer.refused = {"offers": "too large"}
    with pytest.raises(StartError, match=r"offers\[0\]: too large"):
        begin(consumer)
