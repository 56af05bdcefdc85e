"""What the newest records of the inputs tell, by themselves and together."""

from __future__ import annotations

import pytest

from consumer.checks.check import Check
from consumer.checks.inputs import judge_ids, judge_partitioners, judge_records, judge_times
from consumer.checks.sample import SampledRecord
from consumer.core.dating import HOUR, MINUTE
from consumer.core.rules import DecisionRules
from consumer.errors import DecodeError
from consumer.events import CheckoutCompleted, OfferPresented
from consumer.kafka.partitioners import by_crc32, by_murmur2
from consumer.kafka.record import Record

T = 1_800_000_000_000
RULES = DecisionRules(30 * MINUTE, MINUTE, 2 * HOUR, 5 * MINUTE, 5 * MINUTE)
TOPICS = "offers", "checkouts"


def record(offset: int = 0, *, stamp: int = T, key: bytes = b"s", partition: int = 0, topic: str = "offers") -> Record:
    return Record(topic, partition, offset, stamp, key, b"value")


def offer(offset: int = 0, *, session: str = "s", offer_id: str | None = None, at: int = T) -> OfferPresented:
    return OfferPresented(session, "ACME", offer_id or f"offer-{offset}", at, offset)


def checkout(*bought: str, session: str = "s") -> CheckoutCompleted:
    return CheckoutCompleted(session, "c", T, 0, bought)


def shown(*times: int, stamp: int = T) -> list[SampledRecord]:
    """Offers of these times, whose records are stamped alike."""
    return [SampledRecord(record(n, stamp=stamp), offer(n, at=at)) for n, at in enumerate(times)]


def unreadable(offset: int) -> SampledRecord:
    return SampledRecord(record(offset), None, DecodeError("undecodable", "offer_id is missing"))


# --- whether they can be read


def records(sampled: list[SampledRecord], max_run: int = 100, max_ratio: float = 0.1) -> Check:
    (check,) = judge_records("offers", "offers", sampled, max_run, max_ratio)
    return check


def test_records_that_can_be_read_are_counted_and_the_newest_is_dated() -> None:
    check = records(shown(T, T))
    assert check.level == "ok"
    assert check.found.startswith(
        "2 of the 2 newest records of offers can be read; the newest is from 2027-01-15T08:00"
    )


def test_records_whose_schema_is_not_known_are_told_beside_the_others() -> None:
    waits = [SampledRecord(record(n), None, waits="schema id 7") for n in range(2)]
    (check,) = judge_records("offers", "offers", waits, max_run=100, max_ratio=0.1)
    assert (check.level, check.found) == ("warning", "2 of the 2 newest records of offers wait for their schema")
    first, second = judge_records("offers", "offers", [*waits, *shown(T)], max_run=100, max_ratio=0.1)
    assert first.remedy == "see the check of schemas"
    assert (second.level, second.found[:43]) == ("ok", "1 of the 3 newest records of offers can be ")


def test_a_topic_that_holds_nothing_is_a_warning() -> None:
    assert (records([]).level, records([]).found) == (
        "warning",
        "offers holds no record: nothing is known of what comes",
    )


@pytest.mark.parametrize(("bad", "level"), [(1, "warning"), (2, "error"), (10, "error")])
def test_more_unreadable_records_than_the_service_bears_are_an_error(bad: int, level: str) -> None:
    check = records([*shown(*[T] * (10 - bad)), *map(unreadable, range(10 - bad, 10))])
    assert check.level == level
    assert (
        f"{10 - bad} of the 10 newest records of offers can be read, but not {bad} ({bad} undecodable)" in check.found
    )
    assert "offers[0] offset 9: offer_id is missing" in check.found


@pytest.mark.parametrize(("bad", "level"), [(5, "warning"), (6, "error")])
def test_a_longer_run_of_unreadable_records_than_the_service_bears_is_an_error(bad: int, level: str) -> None:
    """However few they are among all. A record that can be read ends a run, and one that is passed over, too."""
    good = shown(*[T] * 100)
    check = records([*good, *map(unreadable, range(100, 100 + bad))], max_run=5, max_ratio=1.0)
    assert check.level == level
    assert (f"{bad} in a row" in check.found) is (level == "error")
    empty = SampledRecord(record(103)._replace(value=None), None)
    split = [*good, *map(unreadable, range(100, 103)), empty, *map(unreadable, range(104, 107))]
    assert records(split, max_run=5, max_ratio=1.0).level == "warning"


def test_a_run_within_one_partition_counts_as_it_is_read_in_a_batch() -> None:
    """The partitions' records are mixed by their stamps here, and come one partition after the other to a reader that
    is behind."""
    good = [SampledRecord(record(n, partition=1), offer(n)) for n in range(10)]
    mixed = [one for pair in zip(good, map(unreadable, range(10)), strict=True) for one in pair]
    assert records(mixed, max_run=5, max_ratio=1.0).level == "error"
    assert records(mixed, max_run=10, max_ratio=1.0).level == "warning"


def test_records_that_wait_for_their_schema_end_no_run() -> None:
    waits = SampledRecord(record(3), None, waits="schema id 7")
    _, check = judge_records(
        "offers", "offers", [*shown(T), *map(unreadable, range(3)), waits, *map(unreadable, range(4, 7))], 5, 1.0
    )
    assert check.level == "error"


def test_where_none_can_be_read_it_is_an_error_whatever_is_borne() -> None:
    assert records([*map(unreadable, range(10))], max_run=1_000, max_ratio=1.0).level == "error"


def test_what_is_passed_over_is_counted_and_nothing_but_that_is_an_error() -> None:
    other, empty = SampledRecord(record(5), None), SampledRecord(record(6)._replace(value=None), None)
    check = records([*shown(T), other, other, empty])
    assert check.level == "ok"
    assert "3 are passed over (2 of another kind, 1 empty)" in check.found
    assert records([other]).level == "error"
    assert "input.*.when" in records([other]).remedy


# --- whether they are dated right


def times(sampled: list[SampledRecord], now: int = T) -> list[Check]:
    return list(judge_times("times of offers", "offers", sampled, RULES, now, max_ratio=0.1))


def test_dates_about_their_stamps_are_well() -> None:
    (check,) = times(shown(T, T - 3 * MINUTE, T + MINUTE))
    assert (check.level, check.found) == ("ok", "the events of offers are dated at most 3m before their records")


@pytest.mark.parametrize(
    ("time", "says"),
    [
        (T // 1_000, "seconds instead of milliseconds"),
        (T * 1_000, "microseconds instead of milliseconds"),
        (T + 2 * HOUR, "local time instead of UTC (UTC+2)"),
        (T - 7 * HOUR, "local time instead of UTC (UTC-7)"),
    ],
)
def test_dates_in_another_unit_or_zone_are_an_error_that_names_it(time: int, says: str) -> None:
    (check,) = times(shown(*[time] * 3))
    assert check.level == "error"
    assert "3 of 3 records of offers are dated implausibly, such as offers[0] offset 2" in check.found
    assert f"It seems to be {says}" in check.found


def test_a_few_implausible_dates_are_a_warning() -> None:
    (check,) = times(shown(*[T] * 9, T // 1_000))
    assert check.level == "warning"
    assert "1 of 10" in check.found


@pytest.mark.parametrize(("behind", "levels"), [(5 * MINUTE, ["ok"]), (5 * MINUTE + 1, ["warning"])])
def test_events_that_come_later_than_lateness_are_a_warning_with_how_late(behind: int, levels: list[str]) -> None:
    found = times(shown(T, T - behind))
    assert [check.level for check in found] == levels
    if levels == ["warning"]:
        assert "1 of 2 records of offers were stamped more than join.lateness (5m) after their event" in found[0].found
        assert "raise join.lateness" in found[0].remedy


def test_records_stamped_ahead_of_our_clock_are_a_warning_about_it() -> None:
    (check,) = times(shown(T, T), now=T - MINUTE)
    assert check.level == "warning"
    assert "2 of 2 records of offers are stamped ahead of the clock of this machine, up to 1m" in check.found


def test_without_an_event_nothing_is_said_of_times() -> None:
    assert times([unreadable(0)]) == []


# --- whether they belong together


def placed(topic: str, put: object, keys: int) -> list[Record]:
    assert callable(put)
    names = [f"session-{n}".encode() for n in range(keys)]
    return [record(n, key=key, partition=put(key, 4), topic=topic) for n, key in enumerate(names)]


def test_one_partitioner_for_both_topics_is_well_and_named() -> None:
    check = judge_partitioners(TOPICS, 4, [placed(topic, by_murmur2, 60) for topic in TOPICS])
    assert check.level == "ok"
    assert "murmur2" in check.found


def test_two_partitioners_are_an_error_that_names_both() -> None:
    check = judge_partitioners(TOPICS, 4, [placed("offers", by_murmur2, 60), placed("checkouts", by_crc32, 60)])
    assert check.level == "error"
    assert "partitioned by murmur2" in check.found
    assert "partitioned by crc32" in check.found


def test_too_few_keys_and_a_partitioner_of_ones_own_are_warnings() -> None:
    few = judge_partitioners(TOPICS, 4, [placed(topic, by_murmur2, 3) for topic in TOPICS])
    own = judge_partitioners(TOPICS, 4, [placed(topic, lambda key, _: sum(key) % 4, 60) for topic in TOPICS])
    assert (few.level, own.level) == ("warning", "warning")
    assert "too few keys" in few.found
    assert "neither murmur2 nor crc32" in own.found


def test_records_without_a_key_are_no_evidence() -> None:
    check = judge_partitioners(TOPICS, 4, [[record(n, key=b"") for n in range(60)], []])
    assert check.level == "warning"
    assert "of 0 sampled keys" in check.found


# --- whether what is bought was presented


def test_a_purchase_of_an_offer_that_was_presented_shows_that_the_ids_are_the_same() -> None:
    check = judge_ids([offer(1), offer(2)], [checkout("offer-1"), checkout("older")])
    assert (check.level, check.found) == ("ok", "1 of 2 purchased ids are of the 2 newest offers; others may be older")
    assert not judge_ids([offer(1)], [checkout("offer-1")]).found.endswith("older"), "there are no others"


def test_booking_ids_in_the_sessions_of_offers_are_an_error_that_shows_both() -> None:
    offers = [offer(n, session=f"s{n}") for n in range(5)]
    check = judge_ids(offers, [checkout(f"BOOKING-{n}", session=f"s{n}") for n in range(5)])
    assert check.level == "error"
    assert "such as 'BOOKING-4', where offers are called such as 'offer-4'" in check.found


def test_a_few_unknown_ids_or_such_of_other_sessions_cannot_be_told() -> None:
    offers = [offer(n, session=f"s{n}") for n in range(9)]
    few = judge_ids(offers, [checkout(f"BOOKING-{n}", session=f"s{n}") for n in range(4)])
    others = judge_ids(offers, [checkout(f"BOOKING-{n}", session=f"t{n}") for n in range(9)])
    assert (few.level, others.level) == ("warning", "warning")
    assert "only 4 checkouts are of a session in both samples" in few.found
    assert "only 0 checkouts" in others.found


def shops(sessions: int, *, booking: int = 0, elsewhere: int = 0) -> Check:
    """Sessions of one offer each, all bought: so many by the id of a booking, so many under another session."""
    offers = [offer(n, session=f"browser-{n}") for n in range(sessions)]
    bought = [
        checkout(
            f"BOOKING-{n}" if n < booking else f"offer-{n}",
            session=f"cart-{n}" if booking <= n < booking + elsewhere else f"browser-{n}",
        )
        for n in range(sessions)
    ]
    return judge_ids(offers, bought)


@pytest.mark.parametrize("wrong", ["booking", "elsewhere"])
@pytest.mark.parametrize(
    ("count", "level"), [(0, "ok"), (4, "ok"), (5, "warning"), (50, "warning"), (94, "warning"), (95, "error")]
)
def test_what_is_bought_under_another_id_or_in_another_session_is_counted(wrong: str, count: int, level: str) -> None:
    """Both kinds would be called. One of several shops may be at fault, or a few: then some match."""
    check = shops(100, **{wrong: count})
    assert check.level == level, check.found


def test_ids_that_match_only_in_other_sessions_are_an_error_that_shows_both() -> None:
    check = shops(100, elsewhere=100)
    assert check.level == "error"
    assert check.found.startswith(
        "100 of 100 purchased ids are of offers that were presented in another session alone: such as 'offer-99', "
        "bought in the session 'cart-99' and presented in 'browser-99'"
    )
    assert check.remedy.startswith("have both topics carry the same session_id")


def test_ids_of_both_kinds_are_told_of_together() -> None:
    check = shops(100, booking=50, elsewhere=50)
    assert check.level == "error"
    assert "50 of 100 purchased ids are of offers that were presented in another session alone" in check.found
    assert "50 are the id of no offer of their session, though offers of it are known" in check.found


def test_an_offer_presented_in_its_own_session_too_matches() -> None:
    offers = [offer(n, session=session, offer_id=f"o{n}") for n in range(9) for session in (f"s{n}", f"other{n}")]
    assert judge_ids(offers, [checkout(f"o{n}", session=f"s{n}") for n in range(9)]).level == "ok"


def test_few_of_many_may_be_of_offers_older_than_the_sample() -> None:
    """A sample that begins within a session lacks its first offers: 5 of 300 are no finding, and 7 are one."""
    assert (shops(300, booking=5).level, shops(300, booking=7).level) == ("ok", "warning")
    assert shops(300, elsewhere=5).level == "warning", "an offer that was presented elsewhere is not older"


def test_mostly_unknown_ids_are_a_warning_though_some_match() -> None:
    offers = [offer(n, session=f"s{n}") for n in range(9)]
    mixed = [checkout("offer-0" if n == 0 else f"BOOKING-{n}", session=f"s{n}") for n in range(9)]
    check = judge_ids(offers, mixed)
    assert check.level == "warning"
    assert check.found.startswith("8 are the id of no offer of their session, though offers of it are known")
    assert "1 of 9 match" in check.found


def test_checkouts_that_bought_nothing_are_a_warning() -> None:
    check = judge_ids([offer()], [checkout(), checkout()])
    assert check.level == "warning"
    assert "none of the 2 newest checkouts bought an offer" in check.found


@pytest.mark.parametrize(("offers", "checkouts"), [([], [checkout("a")]), ([offer()], [])])
def test_with_one_topic_alone_nothing_is_told(offers: list[OfferPresented], checkouts: list[CheckoutCompleted]) -> None:
    check = judge_ids(offers, checkouts)
    assert check.level == "warning"
    assert "could be read, so no ids can be held against each other" in check.found
