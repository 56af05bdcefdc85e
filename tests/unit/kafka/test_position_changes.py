"""Rule 2: what `--accept` and `--reset-to` commit, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupState, KafkaError
from support.changes_world import CHECKOUTS, FIRST, KEY, NOW, OFFERS, OURS, RULES, ChangesWorld, PlayedReader
from support.kafka import Message, partition_end

from consumer.core.checkpoint import OfferCheckpoint, each_of, new_checkouts
from consumer.core.provenance import Provenance
from consumer.core.rules import MIN_TIME
from consumer.errors import PositionsError, StartError
from consumer.kafka.positions import NOT_CUT, Doubt, Doubted
from consumer.kafka.start_offsets import readable

pytestmark = pytest.mark.usefixtures("one_record_tells")

BEFORE = 2 * RULES.lookback + 2 * RULES.lateness + RULES.late_after + RULES.max_skew
"""How long before the time of a reset the checkouts begin that are all known: a chain may have lasted for lookback."""


def is_kept(found: OfferCheckpoint) -> bool:
    """What was settled still is."""
    return (found.decided_to, found.unsettled) == (OFFERS.decided_to, OFFERS.unsettled)


def is_new(found: OfferCheckpoint, offset: int) -> bool:
    """Nothing is decided, and it is ours."""
    now = replace(found, provenance=replace(found.provenance, committed_at=MIN_TIME))
    return now == OfferCheckpoint(KEY, 1, MIN_TIME, offset, 0, provenance=now.provenance)


def test_what_is_in_no_doubt_is_left_alone() -> None:
    world = ChangesWorld()
    assert world.accept() == []
    assert world.consumer.commits == []


@pytest.mark.parametrize("state", [ConsumerGroupState.STABLE, ConsumerGroupState.PREPARING_REBALANCING])
def test_a_group_with_members_is_left_alone(state: Any) -> None:
    world = ChangesWorld()
    world.state = state
    world.commit("offers", 7, "")
    for change in (world.accept, lambda: world.changes.reset_to(NOW, NOW)):
        with pytest.raises(PositionsError, match=r"has 1 members: .* Nothing was changed"):
            change()
    assert world.consumer.commits == []


def test_a_group_that_is_not_told_is_left_alone_and_one_that_is_unknown_has_no_members() -> None:
    world = ChangesWorld()
    world.state = KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED)
    with pytest.raises(StartError, match="does not tell who is in it"):
        world.accept()
    world.state = KafkaError(KafkaError.GROUP_ID_NOT_FOUND)
    assert world.accept() == []


@pytest.mark.parametrize("name", ["offer_topic", "checkout_topic", "base_url"])
def test_other_names_keep_what_is_settled(name: str) -> None:
    world = ChangesWorld(replace(OURS, **{name: "another"}))
    world.accept()
    offset, found = world.offers()
    assert offset == 7
    assert getattr(found.provenance, name) == "another"
    assert found.provenance.committed_at > MIN_TIME
    assert found.trusted_since == MIN_TIME, "nobody has watched the inputs until now"
    assert replace(found, provenance=OURS, trusted_since=OFFERS.trusted_since) == OFFERS
    assert world.left("checkouts") == (3, CHECKOUTS.encode(3))


def test_offers_that_are_not_ours_start_anew_where_they_stand_and_the_checkouts_stay() -> None:
    world = ChangesWorld()
    world.commit("offers", 7, "")
    change, other = world.accept()
    offset, found = world.offers()
    assert (offset, is_new(found, 7), change.offset) == (7, True, 7)
    assert change.what.startswith("93 records are read again")
    assert other.what.startswith("stays")
    assert world.left("checkouts") == (3, CHECKOUTS.encode(3))


def test_checkouts_that_are_not_ours_learn_their_horizon_and_what_was_settled_by_them_stays_settled() -> None:
    world = ChangesWorld()
    world.commit("checkouts", 3, "tool")
    world.accept()
    assert world.checkouts() == (3, None)
    offset, found = world.offers()
    assert (offset, is_kept(found), found.next_checkout) == (7, True, 4)


@pytest.mark.parametrize("knows_ids", [True, False])
def test_checkouts_whose_position_vanished_begin_at_their_first_record(knows_ids: bool) -> None:
    world = ChangesWorld()
    if not knows_ids:
        world.commit("offers", 7, replace(OFFERS, provenance=Provenance()).encode(7))
    world.commit("checkouts", -1001, "")
    world.accept()
    offset, found = world.checkouts()
    assert offset == 0
    if knows_ids:
        assert found is None, "it is the topic's very first record"
    else:
        assert found is not None, "the topic may have been made anew"
        assert found.horizon == FIRST + RULES.max_skew + RULES.lateness
    assert is_kept(world.offers()[1])


def test_a_checkout_topic_that_was_made_anew_begins_at_its_first_record_with_a_horizon() -> None:
    world = ChangesWorld(replace(OURS, checkout_topic_id="another"))
    world.accept()
    offset, found = world.checkouts()
    assert offset == 0
    assert found is not None
    assert found.horizon == FIRST + RULES.max_skew + RULES.lateness
    offers = world.offers()[1]
    assert (is_kept(offers), offers.next_checkout) == (True, 0), "offsets of the old topic mean nothing in the new one"
    assert offers.lost_below == found.horizon, "for good: no reset may forget it"


@pytest.mark.parametrize("low", [0, 2], ids=["from its first record on", "its beginning is deleted again"])
def test_what_the_old_checkouts_told_until_the_last_commit_is_gone_however_old_the_new_ones_are(low: int) -> None:
    """A producer that was delayed for long may write the first record of the new log: its time tells too little."""
    committed_at = FIRST + 1_000
    world = ChangesWorld(replace(OURS, checkout_topic_id="another"))
    world.commit("offers", 7, replace(OFFERS, provenance=OURS.at(committed_at, 1)).encode(7))
    world.consumer.begins["checkouts"] = low
    world.accept()
    offset, found = world.checkouts()
    assert offset == low
    assert found is not None
    assert found.horizon == committed_at + RULES.max_skew + RULES.lateness
    assert world.offers()[1].lost_below == found.horizon


def test_a_first_record_that_the_broker_does_not_give_is_no_log_without_records(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = ChangesWorld(replace(OURS, checkout_topic_id="another"))
    monkeypatch.setattr(PlayedReader, "answer", [])
    with pytest.raises(StartError, match=r"checkouts\[0\]: the broker does not give the first record"):
        world.accept()
    assert world.consumer.commits == []
    monkeypatch.setattr(PlayedReader, "answer", [partition_end("checkouts", 0, 100)])
    world.accept()
    _, found = world.checkouts()
    assert found is not None
    assert found.horizon == NOW + RULES.max_skew + RULES.lateness


def test_a_first_record_that_is_stamped_in_seconds_tells_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    world = ChangesWorld(replace(OURS, checkout_topic_id="another"))
    in_seconds = Message("checkouts", 0, 0, timestamp=FIRST // 1000)
    monkeypatch.setattr(PlayedReader, "answer", [in_seconds, partition_end("checkouts", 0, 100)])
    world.accept()
    _, found = world.checkouts()
    assert found is not None
    assert found.horizon == NOW + RULES.max_skew + RULES.lateness


def test_an_offer_topic_that_was_made_anew_begins_at_its_first_record() -> None:
    world = ChangesWorld(replace(OURS, offer_topic_id="another"))
    world.accept()
    offset, found = world.offers()
    assert (offset, is_new(found, 0)) == (0, True)
    assert world.left("checkouts") == (3, CHECKOUTS.encode(3))


def test_on_another_cluster_a_mirror_may_have_kept_the_offsets() -> None:
    world = ChangesWorld(replace(OURS, cluster="another", offer_topic_id="b", checkout_topic_id="c"))
    world.accept()
    offset, found = world.offers()
    assert (offset, is_new(found, 7)) == (7, True)
    offset, checkouts = world.checkouts()
    assert offset == 3
    assert checkouts is not None
    assert checkouts.horizon <= FIRST - RULES.late_after - 2 * RULES.lookback, "a chain may have begun before"


def test_what_retention_deleted_is_gone_on_without() -> None:
    world = ChangesWorld()
    world.consumer.low = 8
    change, _ = world.accept()
    assert change.what.startswith("goes on behind 1 records that retention deleted")
    offset, found = world.offers()
    assert (offset, is_kept(found)) == (8, True)
    assert world.checkouts() == (8, None)


def test_a_checkout_log_that_was_cut_makes_late_what_it_may_have_bought_until_now() -> None:
    world = ChangesWorld()
    world.consumer.high = 3
    world.accept()
    offset, found = world.checkouts()
    assert offset == 3
    assert found is not None
    assert found.horizon == NOW + RULES.max_skew + RULES.lateness


def test_a_group_without_any_position_starts_as_the_settings_say() -> None:
    world = ChangesWorld()
    world.commit("offers", -1001, "")
    world.commit("checkouts", -1001, "")
    assert [(c.topic, c.was, c.offset) for c in world.accept()][:2] == [("offers", -1, 0), ("checkouts", -1, 0)]
    _, checkouts = world.checkouts()
    assert checkouts is not None
    assert checkouts.horizon == FIRST + RULES.max_skew + RULES.lateness, "the topic may be younger than the group"
    offers = world.offers()[1]
    assert offers.lost_below == checkouts.horizon, "for good"
    assert is_new(replace(offers, lost_below=MIN_TIME), 0)


def test_another_number_of_partitions_is_not_accepted() -> None:
    world = ChangesWorld()
    world.commit("offers", 7, replace(OFFERS, partitions=2).encode(7))
    with pytest.raises(StartError, match="keys have moved"):
        world.accept()


# --- back to a time


def test_a_reset_goes_back_with_both_and_knows_its_horizon_where_older_checkouts_are_there() -> None:
    world = ChangesWorld()
    world.consumer.at = 2
    changes = world.changes.reset_to(NOW - 1_000, NOW)
    assert [(c.topic, c.was, c.offset) for c in changes] == [("offers", 7, 2), ("checkouts", 3, 2)]
    assert is_new(world.offers()[1], 2)
    _, found = world.checkouts()
    assert found is not None
    assert found.horizon == NOW - 1_000 - BEFORE


def test_a_reset_never_goes_forward() -> None:
    world = ChangesWorld()
    world.consumer.at = 8
    with pytest.raises(PositionsError, match=r"lies ahead of what is committed: offers\[0\] from 7 to 8"):
        world.changes.reset_to(NOW - 1_000, NOW)
    assert world.consumer.commits == []


def test_where_no_record_is_as_young_the_position_stays_and_checkouts_never_go_forward() -> None:
    world = ChangesWorld()
    world.consumer.at = -1
    world.changes.reset_to(NOW, NOW)
    assert world.offers()[0] == 7
    assert world.left("checkouts") == (3, CHECKOUTS.encode(3)), "offers older than that time stay, and need them"


def test_checkouts_that_stay_have_the_lower_horizon_of_the_two() -> None:
    world = ChangesWorld()
    world.commit("checkouts", 3, replace(CHECKOUTS, horizon=NOW).encode(3))
    world.consumer.at = 4
    world.changes.reset_to(NOW - 1_000, NOW)
    offset, found = world.checkouts()
    assert offset == 3
    assert found is not None
    assert found.horizon == NOW - 1_000 - BEFORE


def test_a_reset_to_a_time_that_is_still_to_come_changes_nothing() -> None:
    world = ChangesWorld()
    world.consumer.at = -1
    with pytest.raises(PositionsError, match="is still to come"):
        world.changes.reset_to(NOW + 1, NOW)
    assert world.consumer.commits == []


def test_a_reset_to_the_first_record_of_the_same_topic_knows_that_no_checkout_is_gone() -> None:
    world = ChangesWorld()
    world.consumer.at = 0
    world.changes.reset_to(NOW - 10_000, NOW)
    assert world.checkouts() == (0, None), "the horizon of whoever starts at the very first record is none"


def test_a_reset_to_the_first_record_of_checkouts_knows_that_some_may_be_gone() -> None:
    world = ChangesWorld(replace(OURS, checkout_topic_id=""))
    world.consumer.at = 0
    world.changes.reset_to(NOW - 10_000, NOW)
    _, found = world.checkouts()
    assert found is not None
    assert found.horizon == FIRST + RULES.max_skew + RULES.lateness
    world.commit("checkouts", 3, replace(CHECKOUTS, horizon=MIN_TIME).encode(3))
    world.changes.reset_to(NOW - 10_000, NOW)
    _, found = world.checkouts()
    assert found is not None, "nothing was ever forgotten"
    assert found.horizon == NOW - 10_000 - BEFORE
    world.consumer.low = world.consumer.at = 2
    world.changes.reset_to(NOW - 10_000, NOW)
    assert world.checkouts() == (2, None)


def test_a_reset_begins_where_nothing_is_committed() -> None:
    world = ChangesWorld()
    world.commit("offers", -1001, "")
    world.consumer.at = 30
    world.changes.reset_to(NOW - 10_000, NOW)
    assert world.offers()[0] == 30
    assert world.checkouts()[0] == 3


@pytest.mark.parametrize("name", ["cluster", "offer_topic_id", "checkout_topic_id"])
def test_a_time_of_before_is_not_looked_for_in_another_log(name: str) -> None:
    world = ChangesWorld(replace(OURS, **{name: "another"}))
    with pytest.raises(PositionsError, match="cannot be found in another log"):
        world.changes.reset_to(NOW - 10_000, NOW)
    assert world.consumer.commits == []


def test_a_commit_that_the_broker_refuses_is_said() -> None:
    world = ChangesWorld()
    world.commit("checkouts", 3, "")
    world.consumer.errors["commit"] = [KafkaError.UNKNOWN_MEMBER_ID]
    with pytest.raises(StartError, match="could not be committed"):
        world.accept()
    assert new_checkouts(3) != world.left("checkouts")[1]


def test_a_change_that_the_broker_took_in_part_is_to_be_done_again_and_nobody_is_told_to_delete_the_group() -> None:
    world = ChangesWorld()
    world.commit("checkouts", 3, "")
    world.consumer.refused["checkouts"] = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    with pytest.raises(StartError, match=r"in part only, not for checkouts\[0\].*do it again") as refused:
        world.accept()
    assert "delete" not in str(refused.value)
    world.consumer.refused.clear()
    world.accept()
    assert world.checkouts() == (3, None)


# --- what is lost for good


def test_a_reset_does_not_forget_that_checkouts_were_lost_with_the_end_of_their_log() -> None:
    world = ChangesWorld()
    world.consumer.stamps["checkouts"] = [FIRST] * 3
    world.accept()
    lost_below = NOW + RULES.max_skew + RULES.lateness
    assert world.offers()[1].lost_below == lost_below
    world.consumer.stamps.clear()
    world.consumer.at = 2
    offers, _ = world.changes.reset_to(NOW - 1_000, NOW)
    _, found = world.checkouts()
    assert found is not None
    assert found.horizon == lost_below
    assert world.offers()[1].lost_below == lost_below
    assert "dead-lettered as late" in offers.what, "and it says so"
    world.accept()
    world.commit("checkouts", 3, "tool")
    world.accept()
    _, found = world.checkouts()
    assert found is not None, "nor does a further yes"
    assert found.horizon >= lost_below


def test_a_reset_to_the_first_record_of_a_topic_that_was_made_anew_knows_that_some_are_gone() -> None:
    world = ChangesWorld(replace(OURS, checkout_topic_id="another"))
    world.accept()
    world.consumer.at = 0
    world.changes.reset_to(NOW - 10_000, NOW)
    _, found = world.checkouts()
    assert found is not None
    assert found.horizon == FIRST + RULES.max_skew + RULES.lateness


# --- what a reset says, and what is no way forward


def test_a_reset_says_which_offers_go_late_and_says_nothing_where_none_do() -> None:
    world = ChangesWorld()
    world.consumer.at = 2
    offers, _ = world.changes.reset_to(NOW - 1_000, NOW)
    assert "late" not in offers.what
    world = ChangesWorld()
    world.consumer.low = world.consumer.at = 2
    offers, _ = world.changes.reset_to(NOW - 10_000, NOW)
    until = readable(FIRST + RULES.max_skew + RULES.lateness + RULES.lookback)
    assert (
        f"dead-lettered as late, since their checkouts may be gone, that were presented before {until}" in offers.what
    )


def test_a_gap_without_records_is_no_way_forward() -> None:
    world = ChangesWorld()
    world.consumer.at = 9
    world.gap = range(7, 9)
    world.changes.reset_to(NOW - 1_000, NOW)
    assert world.offers()[0] == 7
    world.gap = range(7, 8)
    with pytest.raises(PositionsError, match=r"lies ahead of what is committed: offers\[0\] from 7 to 9"):
        world.changes.reset_to(NOW - 1_000, NOW)


OF_SEVERAL = replace(OFFERS, unsettled=frozenset({7 * 64 + 1, 8 * 64}), each=each_of("offers"))


@pytest.mark.parametrize(("then", "now"), [("", "offers"), ("offers", ""), ("offers", "items")])
def test_yes_to_another_setting_of_what_a_record_holds_calls_again_what_is_read_again(then: str, now: str) -> None:
    world = ChangesWorld(each=each_of(now or None))
    before = OF_SEVERAL if then else OFFERS
    world.commit("offers", 7, before.encode(7))
    (change, *_) = world.accept()
    assert "each offer not bought among them is called, again if it was before" in change.what
    offset, found = world.offers()
    assert (found.each, found.unsettled, found.dead, found.splits) == (each_of(now or None), set(), set(), set())
    assert offset <= 7
    assert world.accept() == [], "it is in no doubt any more"


def test_a_way_back_is_one_from_another_setting_too() -> None:
    world = ChangesWorld(each=each_of("items"))
    world.commit("offers", 7, OF_SEVERAL.encode(7))
    world.changes.reset_to(FIRST, NOW)
    assert world.offers()[1].each == each_of("items")
    assert world.accept() == []


def test_yes_to_another_api_keeps_which_offers_of_a_record_are_settled() -> None:
    world = ChangesWorld(replace(OURS, base_url="https://other.example/x"), each=OF_SEVERAL.each)
    world.commit("offers", 7, OF_SEVERAL.encode(7))
    world.accept()
    offset, found = world.offers()
    assert (offset, found.unsettled, found.each) == (7, OF_SEVERAL.unsettled, OF_SEVERAL.each)


def test_behind_what_retention_has_deleted_the_lists_are_of_the_records_that_are_left() -> None:
    world = ChangesWorld(each=OF_SEVERAL.each)
    world.consumer.begins["offers"] = 8
    world.commit("offers", 7, OF_SEVERAL.encode(7))
    world.accept()
    offset, found = world.offers()
    assert (offset, found.unsettled) == (8, {8 * 64})


@pytest.mark.parametrize(("cut", "goes_on_at"), [(8, 7), (7, 7), (6, 0)])
def test_offers_whose_log_was_cut_and_has_grown_are_read_again_from_where_nothing_is_passed_over(
    cut: int, goes_on_at: int
) -> None:
    """7 is committed, and it was read to 9. What stands behind the cut was never read."""
    world = ChangesWorld()
    world.consumer.epochs["offers", 0] = 4
    world.cuts["offers"] = cut
    assert [(doubt.doubt, doubt.topic) for doubt in doubts(world)] == [(Doubt.CUT, "offers")]
    world.accept()
    offset, found = world.offers()
    assert offset <= goes_on_at
    assert found.next_offset <= cut, "nothing behind the cut counts as read"
    assert found.decided_to < OFFERS.decided_to or offset == 0
    assert not doubts(world)


def cut_at_5() -> ChangesWorld:
    """7 is committed, read to 9. The log was cut at 5 and has grown: 5 to 11 are new, and 5 and 6 were never read."""
    world = ChangesWorld()
    world.consumer.epochs["offers", 0] = 4
    world.cuts["offers"] = 5
    old, new = [NOW - 100_000 + n for n in range(5)], [NOW - 3_000 + 10 * n for n in range(2, 7)]
    world.consumer.stamps["offers"] = [*old, NOW - 50_000, NOW - 40_000, *new]
    world.consumer.stamps["checkouts"] = [NOW - 200_000 + n for n in range(12)]
    world.consumer.high = 12
    return world


@pytest.mark.parametrize(("moment", "to"), [(NOW - 45_000, 6), (NOW - 2_985, 7), (NOW - 2_975, 8)])
def test_a_way_back_to_behind_a_cut_would_miss_what_is_new_there(moment: int, to: int) -> None:
    world = cut_at_5()
    with pytest.raises(
        PositionsError, match=rf"lies ahead of (?s:.*): offers\[0\] from its cut at 5 to {to}\. The offers"
    ):
        world.changes.reset_to(moment, NOW)
    assert world.consumer.commits == []


@pytest.mark.parametrize(("moment", "goes_on_at"), [(NOW - 60_000, 5), (NOW - 99_998, 2), (NOW, 5)])
def test_a_way_back_to_before_a_cut_reads_all_that_is_new_behind_it(moment: int, goes_on_at: int) -> None:
    """Where no record is as young as that, it goes on at the cut as well."""
    world = cut_at_5()
    world.changes.reset_to(moment, NOW)
    offset, found = world.offers()
    assert found.next_offset == goes_on_at
    assert offset <= goes_on_at
    assert found.decided_to < NOW - 50_000, "record 5 is not taken for settled"


def test_epochs_of_another_cluster_or_topic_say_nothing_of_a_cut() -> None:
    """A mirror may keep offsets, texts and the epochs of commits. But there its own leaders' epochs stand."""
    other = replace(OURS, cluster="another", offer_topic_id="b", checkout_topic_id="c")
    worlds = ChangesWorld(other), ChangesWorld(other)
    for topic in ("offers", "checkouts"):
        worlds[1].consumer.epochs[topic, 0] = 4
        worlds[1].cuts[topic] = 0
    assert worlds[0].accept() == worlds[1].accept()
    assert [world.left(topic) for world in worlds[:1] for topic in ("offers", "checkouts")] == [
        worlds[1].left(topic) for topic in ("offers", "checkouts")
    ]
    assert worlds[1].offers()[0] == 7
    assert worlds[1].offers()[1].lost_below == MIN_TIME


@pytest.mark.parametrize(("name", "other"), [("offer_topic_id", "checkouts"), ("checkout_topic_id", "offers")])
def test_a_topic_that_was_made_anew_leaves_the_epochs_of_the_other_one(name: str, other: str) -> None:
    world = ChangesWorld(replace(OURS, **{name: "another"}))
    for topic in ("offers", "checkouts"):
        world.consumer.epochs[topic, 0] = 4
        world.cuts[topic] = 2
    found = world.starts.positions(world.consumer, with_cuts=True)
    assert {p.topic: p.cut_at for p in found.by_place.values() if p.cut_at != NOT_CUT} == {other: 2}


def doubts(world: ChangesWorld) -> list[Doubted]:
    return list(world.starts.positions(world.consumer, with_cuts=True).doubts(OURS))
