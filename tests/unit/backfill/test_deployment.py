"""What a backfill hears of the deployment: up to when checkouts are lost, and that its positions are in order."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError
from support.changes_world import CHECKOUTS, KAFKA, OFFERS, OURS
from support.kafka import Consumer

from consumer.backfill import deployment
from consumer.backfill.deployment import lost_checkouts
from consumer.core.checkpoint import OfferCheckpoint
from consumer.core.provenance import Provenance
from consumer.core.rules import MIN_TIME
from consumer.errors import PositionsError, StartError
from consumer.settings import ApiSettings, Settings

SETTINGS = Settings(kafka=KAFKA, api=ApiSettings(base_url="https://api.example/x"))


class Member(Consumer):
    """A client of the deployment's group: it has committed offset 7 of the offers and 3 of the checkouts."""

    def __init__(
        self, offers: OfferCheckpoint | str | None = OFFERS, checkouts: str | None = CHECKOUTS.encode(3)
    ) -> None:
        super().__init__()
        self.closed = False
        for topic, offset, text in (
            ("offers", 7, offers.encode(7) if isinstance(offers, OfferCheckpoint) else offers),
            ("checkouts", 3, checkouts),
        ):
            if text is not None:
                self.committed_offsets[topic, 0] = offset
                self.texts[topic, 0, offset] = text

    def close(self) -> None:
        self.closed = True


class History:
    """What else is known of the group."""

    earlier: Any = None

    def __init__(self, *args: object) -> None: ...

    def other_topics(self) -> list[str]:
        return []

    def earlier_outcome(self) -> Any:
        return self.earlier


def lost(member: Member, now: Provenance = OURS, *, is_new: bool = True) -> dict[int, int]:
    clients: Any = SimpleNamespace(member=lambda on_error: member, record_reader=None, epoch_reader=None)
    admin: Any = None
    return lost_checkouts(clients, admin, SETTINGS, 1, now, is_new=is_new)


@pytest.mark.parametrize("below", [MIN_TIME, 5_000])
def test_what_is_lost_for_good_stands_with_the_offers(below: int) -> None:
    member = Member(replace(OFFERS, lost_below=below))
    assert lost(member) == {0: below}
    assert member.closed


def test_a_deployment_that_has_never_run_has_lost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployment, "GroupHistory", History)
    assert lost(Member(None, None)) == {}


def test_where_the_outcomes_tell_that_it_has_run_its_positions_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Told(History):
        earlier = SimpleNamespace(topic="outcomes", partition=0, offset=9)

    monkeypatch.setattr(deployment, "GroupHistory", Told)
    with pytest.raises(PositionsError, match=r"offsets expired.*(?s:.*)A backfill goes by what the deployment knows"):
        lost(Member(None, None))
    assert lost(Member(None, None), is_new=False) == {}, "it was seen to when the backfill began"


@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.parametrize(
    ("member", "now", "words"),
    [
        (Member(), replace(OURS, checkout_topic_id="another"), r"checkouts\[0\]: the topic is not the one"),
        (Member(), replace(OURS, cluster="another"), "committed on another cluster"),
        (Member(None), OURS, r"offers\[0\]: nothing is committed"),
        (Member("changed"), OURS, r"offers\[0\]: the metadata with the offset is not this service's"),
        (
            Member(replace(OFFERS, next_checkout=101)),
            OURS,
            r"checkouts\[0\]: the log no longer holds all",
        ),
    ],
)
def test_a_deployment_that_is_in_doubt_about_the_checkouts_is_to_be_mended_first(
    member: Member, now: Provenance, words: str, is_new: bool
) -> None:
    with pytest.raises(PositionsError, match=words) as refused:
        lost(member, now, is_new=is_new)
    assert "Nothing was called" in str(refused.value)


@pytest.mark.parametrize(
    ("member", "now"),
    [
        (Member(), replace(OURS, base_url="https://other.example")),
        (Member(replace(OFFERS, provenance=replace(OURS, mapping="m0123abcd"))), replace(OURS, mapping="m4567abcd")),
        (Member(replace(OFFERS, each="e01234567", unsettled=frozenset())), OURS),
    ],
)
def test_what_says_nothing_of_the_checkouts_log_is_no_hindrance(member: Member, now: Provenance) -> None:
    assert lost(member, now) == {0: MIN_TIME}


def test_nor_is_what_retention_has_deleted_since_a_range_is_asked_for_that() -> None:
    member = Member()
    member.low = 50
    assert lost(member) == {0: MIN_TIME}


def test_a_cluster_that_does_not_tell_the_ids_of_then_is_asked_again_later() -> None:
    with pytest.raises(StartError, match="does not tell the checkout topic's id"):
        lost(Member(), replace(OURS, checkout_topic_id=""))


def test_a_broker_that_does_not_answer_is_said() -> None:
    member = Member()
    member.errors["get_watermark_offsets"] = [KafkaError.TOPIC_AUTHORIZATION_FAILED]
    with pytest.raises(StartError, match="does not tell where the deployment stands"):
        lost(member)


def test_a_log_that_has_lost_its_end_is_in_doubt_though_retention_has_passed_the_position_too() -> None:
    """As where a leader with fewer records took over, and a checkout is held that retention has deleted since."""
    member = Member(replace(OFFERS, next_checkout=101))
    member.low = 50
    with pytest.raises(PositionsError, match=r"checkouts\[0\]: the log no longer holds all"):
        lost(member)
