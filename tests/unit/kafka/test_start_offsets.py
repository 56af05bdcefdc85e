"""Where a new group starts by time, with a broker that the test plays."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from confluent_kafka import KafkaError, KafkaException
from support.kafka import Consumer, Place

from consumer.core.admission import Admission
from consumer.core.checkpoint import CheckoutCheckpoint, OfferCheckpoint, Position, are_new_checkouts, each_of
from consumer.core.provenance import Provenance
from consumer.core.rules import MAX_TIME, MIN_TIME, DecisionRules
from consumer.core.task import Task
from consumer.errors import OffsetGoneError, PositionsError, StartError
from consumer.events import OfferPresented, RecordRef
from consumer.kafka.leader_epochs import NO_EPOCH, ReadTo
from consumer.kafka.start_offsets import StartOffsets
from consumer.settings import KafkaSettings

pytestmark = pytest.mark.usefixtures("one_record_tells")

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
    offset, metadata = commits["checkouts"]
    assert are_new_checkouts(metadata, offset), "older checkouts may be gone, and nobody would know"


def test_a_gap_at_the_beginning_of_the_log_is_no_older_checkout() -> None:
    consumer = broker(low=3, at=7)
    consumer.firsts["checkouts"] = 7
    offset, metadata = begin(consumer)["checkouts"]
    assert are_new_checkouts(metadata, offset), "a transaction's marker stands at 3, and what stood before may be gone"


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


@pytest.mark.parametrize(
    ("moment", "offset"),
    [("0001-01-01T00:00:00+14:00", 0), ("9999-12-31T23:59:59-14:00", 7), ("1969-12-31T00:00:00Z", 0)],
)
def test_a_start_by_any_time_that_can_be_set_can_be_logged(moment: str, offset: int) -> None:
    assert begin(broker(low=0, at=7), moment)["offers"][0] == offset


def test_a_start_of_which_only_a_part_was_committed_stops() -> None:
    consumer = broker(low=0, at=7)
    consumer.refused = {"offers": KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)}
    with pytest.raises(StartError, match=r"not for offers\[0\]: .*TOPIC_AUTHORIZATION_FAILED"):
        begin(consumer)


# --- a group that is known, or is not as new as it looks


class History:
    """What else is known of the group."""

    def __init__(self, *, others: tuple[str, ...] = (), outcome: RecordRef | None = None) -> None:
        self.others, self.outcome = list(others), outcome

    def other_topics(self) -> list[str]:
        return self.others

    def earlier_outcome(self) -> RecordRef | None:
        return self.outcome


def starts(history: History | None = None, **whose: str) -> StartOffsets:
    settings = KafkaSettings(offer_topic="offers", checkout_topic="checkouts")
    return StartOffsets(settings, RULES, 1, Provenance(**whose), history)  # type: ignore[arg-type]


@pytest.mark.parametrize("start_from", ["earliest", "latest", None])
def test_a_new_group_is_marked_as_ours_whatever_it_starts_from(start_from: str | None) -> None:
    consumer = broker(low=0, at=7)
    begin(consumer, start_from)
    starts().begin_group(consumer, SINCE)
    assert len(consumer.commits) == 1, "the second start finds it known, and ours"
    offsets = {topic: consumer.committed_offsets[topic, 0] for topic in ("offers", "checkouts")}
    found = OfferCheckpoint.decode(consumer.texts["offers", 0, offsets["offers"]], offsets["offers"])
    assert found.decided_to == MIN_TIME
    assert set(starts().of(consumer, [0])) == {0}


def test_a_new_group_is_marked_with_what_a_record_holds_and_goes_on_by_that_alone() -> None:
    consumer, settings = broker(low=0, at=7), KafkaSettings(offer_topic="offers", checkout_topic="checkouts")
    several = StartOffsets(settings, RULES, 1, each=each_of("offers"))
    several.begin_group(consumer, SINCE)
    offset = consumer.committed_offsets["offers", 0]
    assert OfferCheckpoint.decode(consumer.texts["offers", 0, offset], offset).each == each_of("offers")
    several.begin_group(consumer, SINCE)
    assert set(several.of(consumer, [0])) == {0}
    for other in ("", each_of("items")):
        changed = StartOffsets(settings, RULES, 1, each=other)
        with pytest.raises(PositionsError, match=r"another input\.offers\.each"):
            changed.begin_group(consumer, SINCE)
        with pytest.raises(PositionsError, match=r"another input\.offers\.each"):
            changed.of(consumer, [0])


@pytest.mark.parametrize(
    ("history", "words"),
    [
        (History(others=("old",)), "has for old: the topics were renamed"),
        (History(outcome=RecordRef("outcomes", 2, 9)), r"outcomes\[2\] tells at offset 9 of an outcome of offers"),
    ],
)
def test_a_group_that_looks_new_and_is_not_does_not_start(history: History, words: str) -> None:
    consumer = broker(low=0, at=7)
    with pytest.raises(PositionsError, match=words):
        starts(history).begin_group(consumer, SINCE)
    assert consumer.commits == []
    starts(History()).begin_group(consumer, SINCE)
    assert len(consumer.commits) == 1
    starts(history).begin_group(consumer, SINCE)
    assert len(consumer.commits) == 1, "a group that has positions is not asked for its past"


def test_a_member_that_begins_the_group_meanwhile_may_have_told_outcomes_already() -> None:
    consumer = broker(low=0, at=7)

    class Quicker(History):
        def earlier_outcome(self) -> RecordRef | None:
            starts(base_url="https://production/x").begin_group(consumer, SINCE)
            return RecordRef("outcomes", 2, 9)

    starts(Quicker(), base_url="https://production/x").begin_group(consumer, SINCE)
    assert len(consumer.commits) == 1
    consumer.committed_offsets.clear()
    with pytest.raises(PositionsError, match="calls another API"):
        starts(Quicker(), base_url="https://staging/x").begin_group(consumer, SINCE)


def test_positions_of_another_api_stop_the_start_and_each_assignment() -> None:
    consumer = broker(low=0, at=7)
    starts(base_url="https://production/x").begin_group(consumer, SINCE)
    staging = starts(base_url="https://staging/x")
    with pytest.raises(PositionsError, match="calls another API"):
        staging.begin_group(consumer, SINCE)
    with pytest.raises(PositionsError, match="calls another API"):
        staging.of(consumer, [0])


def test_what_another_program_commits_while_the_group_runs_stops_the_next_assignment() -> None:
    consumer = broker(low=0, at=7)
    starts().begin_group(consumer, SINCE)
    consumer.committed_offsets["checkouts", 0] = 50
    consumer.texts["checkouts", 0, 50] = ""
    with pytest.raises(PositionsError, match=r"checkouts\[0\]: the offset stands without this service's metadata"):
        starts().of(consumer, [0])


def test_a_member_that_begins_the_group_first_may_be_of_another_api() -> None:
    consumer = broker(low=0, at=7)
    production = starts(base_url="https://production/x")

    def quicker(*_: object, **__: object) -> None:
        del consumer.commit  # type: ignore[method-assign]
        production.begin_group(consumer, SINCE)
        raise KafkaException(KafkaError(KafkaError.UNKNOWN_MEMBER_ID))

    consumer.commit = quicker  # type: ignore[method-assign,assignment]
    with pytest.raises(PositionsError, match="calls another API"):
        starts(base_url="https://staging/x").begin_group(consumer, SINCE)
    consumer.commit = quicker  # type: ignore[method-assign,assignment]
    consumer.committed_offsets.clear()
    production.begin_group(consumer, SINCE)


def test_where_the_first_member_of_a_new_group_begins_stands_though_another_one_found_nothing_before() -> None:
    """With `latest` that other one would begin later, and pass over what was presented between the two."""
    consumer = broker(low=0, at=7)
    first, second = starts(), starts()
    asked = second.check_really_new

    def asked_slowly() -> None:
        asked()
        first.begin_group(consumer, SINCE)
        consumer.commits.clear()

    second.check_really_new = asked_slowly  # type: ignore[method-assign]
    second.begin_group(consumer, SINCE + 1_000)
    assert consumer.commits == []


@pytest.mark.parametrize("lost_below", [MIN_TIME, 690, 700])
def test_a_raised_lookback_reads_further_back_but_finds_no_checkout_that_is_lost_for_good(lost_below: int) -> None:
    consumer = broker(low=0, at=1)
    offers = OfferCheckpoint((100, 10, 200, True), 1, 5_000, 9, 4, lost_below=lost_below)
    for topic, offset, text in (
        ("offers", 7, offers.encode(7)),
        ("checkouts", 3, CheckoutCheckpoint(1, 4, 700, lookback=200).encode(3)),
    ):
        consumer.committed_offsets[topic, 0] = offset
        consumer.texts[topic, 0, offset] = text
    settings = KafkaSettings(offer_topic="offers", checkout_topic="checkouts")
    found = StartOffsets(settings, RULES, 1).of(consumer, [0])[0].checkouts  # type: ignore[arg-type]
    horizon = CheckoutCheckpoint.decode(found.metadata, found.offset).horizon
    assert (found.offset, horizon) == (3 if lost_below == 700 else 1, max(600, lost_below))


class Cuts:
    """Says where logs were cut, by topic."""

    def __init__(self, **cuts: int) -> None:
        self.cuts = cuts
        self.asked: list[Mapping[Place, ReadTo]] = []
        self.silent = False

    def of(self, read: Mapping[Place, ReadTo], timeout: float = 30.0) -> dict[Place, int]:
        self.asked.append(read)
        if self.silent:
            raise StartError(f"no answer within {timeout} s")
        return {(topic, 0): at for topic, at in self.cuts.items() if (topic, 0) in read}


def read_along(epochs: tuple[int, int] = (2, 4)) -> Consumer:
    """A group that has read the offers to 9 and the checkouts to 40, and has committed 7 and 3."""
    consumer = broker(low=0, at=1)
    for topic, offset, text, epoch in (
        ("offers", 7, OfferCheckpoint((100, 10, 300, True), 1, 5_000, 9, 40).encode(7), epochs[0]),
        ("checkouts", 3, CheckoutCheckpoint(1, 40, 700, lookback=300).encode(3), epochs[1]),
    ):
        consumer.committed_offsets[topic, 0], consumer.epochs[topic, 0] = offset, epoch
        consumer.texts[topic, 0, offset] = text
    return consumer


def cutting(cuts: Cuts) -> StartOffsets:
    settings = KafkaSettings(offer_topic="offers", checkout_topic="checkouts")
    return StartOffsets(settings, RULES, 1, cut_logs=cuts)  # type: ignore[arg-type]


@pytest.mark.parametrize(("topic", "at"), [("offers", 8), ("checkouts", 39), ("checkouts", 2)])
def test_a_log_that_was_cut_and_has_grown_stops_the_start_and_whoever_is_given_the_partition(
    topic: str, at: int
) -> None:
    consumer = read_along()
    cut = cutting(Cuts(**{topic: at}))
    for ask in (lambda: cut.begin_group(consumer, SINCE), lambda: cut.of(consumer, [0])):  # type: ignore[arg-type]
        with pytest.raises(PositionsError, match=rf"{topic}\[0\]: the log no longer holds(?s:.*)--accept"):
            ask()


def test_a_log_that_was_cut_since_the_task_began_is_named() -> None:
    starts = cutting(Cuts(checkouts=5))
    assert not starts.check_cuts({})
    assert not starts.check_cuts({("offers", 0): ReadTo(9, 2)})
    with pytest.raises(OffsetGoneError, match=r"checkouts\[0\]: the log was cut(?s:.*)from offset 5 on"):
        starts.check_cuts({("checkouts", 0): ReadTo(40, 4)})


def test_a_broker_that_does_not_tell_of_cuts_while_running_stops_nothing() -> None:
    cuts = Cuts()
    cuts.silent = True
    assert cutting(cuts).check_cuts({("checkouts", 0): ReadTo(40, 4)}) == "no answer within 10.0 s"


def test_a_task_is_told_how_far_was_read_and_in_which_epochs() -> None:
    cuts = Cuts()
    (start,) = cutting(cuts).of(read_along(), [0]).values()  # type: ignore[arg-type]
    assert start.read_to == (ReadTo(9, 2), ReadTo(40, 4))
    assert cuts.asked == [{("offers", 0): ReadTo(9, 2), ("checkouts", 0): ReadTo(40, 4)}]


def test_what_older_versions_have_committed_has_no_epoch() -> None:
    (start,) = cutting(Cuts()).of(read_along((NO_EPOCH, NO_EPOCH)), [0]).values()  # type: ignore[arg-type]
    assert start.read_to == (ReadTo(9, NO_EPOCH), ReadTo(40, NO_EPOCH))
