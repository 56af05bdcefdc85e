"""What sampled keys tell of the producers' partitioners."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import examples

from consumer.kafka.partitioners import (
    MEMORY,
    PARTITIONERS,
    WINDOW,
    Agreement,
    Finding,
    SampledKeys,
    beyond_chance,
    by_crc32,
    by_murmur2,
    murmur2,
    strays,
)

Put = Callable[[bytes, int], int]
TOPICS = ("offers", "checkouts")


def by_adler32(key: bytes, partitions: int) -> int:
    """A partitioner of somebody's own."""
    return zlib.adler32(zlib.adler32(key).to_bytes(4, "big") + key) % partitions


def by_customer(key: bytes, partitions: int) -> int:
    """A partition that somebody chose by something else than the key."""
    return random.Random(key + b"!").randrange(partitions)


def one_of(first: Put, second: Put, part: float) -> Put:
    """Two producers in one topic: the second writes `part` of the sessions."""
    return lambda key, partitions: (second if random.Random(key).random() < part else first)(key, partitions)


def keys(count: int, seed: str = "") -> list[bytes]:
    return [f"{seed}session-{n}".encode() for n in range(count)]


def sampled(
    offers: Put,
    checkouts: Put,
    partitions: int,
    count: int = 200,
    *,
    checkout_keys: Iterable[bytes] | None = None,
) -> SampledKeys:
    """Both topics with `count` keys each; by default no session is in both."""
    found = SampledKeys(TOPICS, partitions)
    for offset, key in enumerate(keys(count)):
        found.add(0, key, offers(key, partitions), offset)
    for offset, key in enumerate(keys(count, "c") if checkout_keys is None else checkout_keys):
        found.add(1, key, checkouts(key, partitions), offset)
    return found


def find(offers: Put, checkouts: Put, partitions: int, count: int = 200) -> Finding:
    return sampled(offers, checkouts, partitions, count).find()


# --- the hashes


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"abc", 479470107),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (bytes((12, 42, 56, 24, 109, 111)), 274204207),
    ],
)
def test_murmur2_is_that_of_the_java_client(key: bytes, hashed: int) -> None:
    assert murmur2(key) == hashed % 2**32


@pytest.mark.parametrize(
    ("key", "partition"), [(b"", 681), (b"a", 524), (b"ab", 434), (b"abc", 107), (b"123456789", 566), (b"\x00 ", 742)]
)
def test_the_sign_of_the_hash_is_dropped_as_the_java_client_does(key: bytes, partition: int) -> None:
    assert by_murmur2(key, 1000) == partition


# --- agreement


@pytest.mark.parametrize("put", PARTITIONERS)
@pytest.mark.parametrize("partitions", [2, 3, 4, 12, 100])
def test_one_partitioner_in_both_topics_agrees(put: str, partitions: int) -> None:
    finding = find(PARTITIONERS[put], PARTITIONERS[put], partitions)
    assert (finding.verdict, finding.by, finding.misplaced) == (Agreement.AGREE, put, 0)


def test_with_one_partition_there_is_nothing_to_disagree_about() -> None:
    assert find(by_murmur2, by_crc32, 1).verdict is Agreement.AGREE


def test_too_few_keys_tell_nothing() -> None:
    assert SampledKeys(TOPICS, 12).find().verdict is Agreement.TOO_FEW
    assert find(by_murmur2, by_crc32, 12, 3).verdict is Agreement.TOO_FEW
    one_topic_empty = sampled(by_murmur2, by_crc32, 12, 500, checkout_keys=())
    assert one_topic_empty.find().verdict is Agreement.TOO_FEW


@pytest.mark.parametrize("partitions", [2, 4, 12, 100])
def test_a_partitioner_of_ones_own_in_both_topics_is_borne(partitions: int) -> None:
    assert find(by_adler32, by_adler32, partitions, 900).verdict is Agreement.NEITHER


def test_a_stray_record_is_borne_and_counted() -> None:
    found = sampled(by_murmur2, by_murmur2, 12)
    key = b"by hand"
    found.add(0, key, (by_murmur2(key, 12) + 1) % 12, 777)
    finding = found.find()
    assert (finding.verdict, finding.misplaced) == (Agreement.AGREE, 1)
    assert f"offers[{(by_murmur2(key, 12) + 1) % 12}] offset 777" in found.example("murmur2")
    assert found.example("murmur2").endswith(f"in partition {by_murmur2(key, 12)}")


def test_strays_are_outgrown_by_more_keys() -> None:
    found = sampled(by_murmur2, by_murmur2, 12, 40)
    for key in keys(4, "by hand"):
        found.add(0, key, (by_murmur2(key, 12) + 1) % 12, 0)
    assert found.find().verdict is Agreement.DISAGREE
    for key in keys(60, "more"):
        found.add(0, key, by_murmur2(key, 12), 0)
    assert found.find().verdict is Agreement.AGREE


# --- disagreement


@pytest.mark.parametrize("partitions", [2, 3, 4, 12, 100])
@pytest.mark.parametrize(("offers", "checkouts"), [(by_murmur2, by_crc32), (by_crc32, by_murmur2)])
def test_murmur2_and_crc32_disagree(offers: Put, checkouts: Put, partitions: int) -> None:
    finding = find(offers, checkouts, partitions, 50)
    assert finding.verdict is Agreement.DISAGREE
    first, second = ("murmur2", "crc32") if offers is by_murmur2 else ("crc32", "murmur2")
    assert f"offers is partitioned by {first} (50 of 50 sampled keys)" in finding.words
    assert f"checkouts is partitioned by {second} (50 of 50 sampled keys)" in finding.words


@pytest.mark.parametrize("partitions", [2, 4, 12])
@pytest.mark.parametrize("other", [by_adler32, by_customer])
def test_one_of_the_two_and_something_else_disagree(other: Put, partitions: int) -> None:
    assert find(by_murmur2, other, partitions, 60).verdict is Agreement.DISAGREE
    assert find(other, by_crc32, partitions, 60).verdict is Agreement.DISAGREE


@pytest.mark.parametrize("partitions", [2, 4, 12])
def test_producers_that_differ_within_a_topic_disagree(partitions: int) -> None:
    half = one_of(by_murmur2, by_crc32, 0.5)
    assert find(half, half, partitions, 400).verdict is Agreement.DISAGREE
    assert find(half, by_murmur2, partitions).verdict is Agreement.DISAGREE


def test_one_producer_in_thirty_that_differs_is_found_out() -> None:
    few = one_of(by_murmur2, by_crc32, 1 / 30)
    assert find(by_murmur2, few, 12, WINDOW).verdict is Agreement.DISAGREE


def test_a_few_checkouts_are_enough_where_the_offers_are_known() -> None:
    """How many false calls there may be at the most, if the checkouts' producers are wrong from the first on."""
    found = sampled(by_murmur2, by_crc32, 4, 300, checkout_keys=())
    needed = 0
    for key in keys(100, "c"):
        needed += 1
        found.add(1, key, by_crc32(key, 4), 0)
        if found.find().verdict is Agreement.DISAGREE:
            break
    assert needed <= 10


def test_producers_that_change_while_running_are_found_out_by_their_first_records() -> None:
    found = sampled(by_murmur2, by_murmur2, 12, WINDOW)
    assert found.find().verdict is Agreement.AGREE
    needed = 0
    for key in keys(WINDOW, "new"):
        needed += 1
        found.add(1, key, by_crc32(key, 12), 0)
        if found.find().verdict is Agreement.DISAGREE:
            break
    assert needed <= 20


def test_sessions_in_two_partitions_are_proof_whatever_the_partitioner() -> None:
    finding = sampled(by_adler32, by_customer, 12, 20, checkout_keys=keys(20)).find()
    assert finding.verdict is Agreement.DISAGREE
    assert "sampled sessions are in two partitions each" in finding.words


def test_sessions_in_two_partitions_of_one_topic_are_proof_too() -> None:
    found = SampledKeys(TOPICS, 12)
    for key in keys(10):
        found.add(0, key, by_adler32(key, 12), 0)
        found.add(0, key, (by_adler32(key, 12) + 5) % 12, 1)
    assert found.find().verdict is Agreement.DISAGREE


def test_what_was_sampled_long_ago_is_forgotten() -> None:
    found = sampled(by_crc32, by_adler32, 12, 50, checkout_keys=keys(50))
    assert found.find().verdict is Agreement.DISAGREE
    for key in keys(WINDOW, "new"):
        found.add(0, key, by_murmur2(key, 12), 0)
        found.add(1, key, by_murmur2(key, 12), 0)
    finding = found.find()
    assert (finding.verdict, finding.misplaced) == (Agreement.AGREE, 0)
    assert "1000 of 1000 sampled keys" in finding.words


def test_a_key_counts_once() -> None:
    found = sampled(by_murmur2, by_murmur2, 12, 100)
    misplaced = (by_murmur2(b"busy", 12) + 1) % 12
    for offset in range(50):
        found.add(0, b"busy", misplaced, offset)
    assert found.find().misplaced == 1


def test_no_key_is_told_since_keys_are_customers_sessions() -> None:
    for finding in (
        sampled(by_murmur2, by_crc32, 4).find(),
        sampled(by_adler32, by_customer, 4, checkout_keys=keys(200)).find(),
    ):
        assert finding.verdict is Agreement.DISAGREE
        assert "session-" not in finding.words


# --- for any keys

KEYS = st.lists(st.binary(min_size=1, max_size=24), min_size=50, max_size=120, unique=True)
COUNTS = st.integers(2, 64)
PUTS = st.sampled_from([by_murmur2, by_crc32, by_adler32])


@given(offers=KEYS, checkouts=KEYS, partitions=st.integers(1, 64), put=PUTS)
@examples(150)
def test_the_same_partitioner_is_never_refused(
    offers: list[bytes], checkouts: list[bytes], partitions: int, put: Put
) -> None:
    found = SampledKeys(TOPICS, partitions)
    for topic, sample in enumerate((offers, checkouts)):
        for offset, key in enumerate(sample):
            found.add(topic, key, put(key, partitions), offset)
            assert found.find().verdict is not Agreement.DISAGREE


@given(seed=st.integers(), partitions=COUNTS, swap=st.booleans())
@examples(150)
def test_murmur2_against_crc32_is_always_refused_by_sixty_keys_a_topic(seed: int, partitions: int, swap: bool) -> None:
    draw = random.Random(seed)
    puts = (by_crc32, by_murmur2) if swap else (by_murmur2, by_crc32)
    found = SampledKeys(TOPICS, partitions)
    for topic, put in enumerate(puts):
        for offset in range(60):
            key = draw.randbytes(16)
            found.add(topic, key, put(key, partitions), offset)
    assert found.find().verdict is Agreement.DISAGREE


@given(seed=st.integers(), partitions=COUNTS, count=st.integers(1, 6_000))
@examples(15)
def test_the_counts_are_those_of_the_window(seed: int, partitions: int, count: int) -> None:
    """Counted while keys come and go, as counted anew from what is left."""
    draw = random.Random(seed)
    found = SampledKeys(TOPICS, partitions)
    for n in range(count):
        key = b"%d" % (n // 3 + draw.randrange(200))
        found.add(draw.randrange(2), key, draw.randrange(partitions), n)
    offers, checkouts = found._topics
    for topic in (offers, checkouts):
        assert len(topic.seen) <= WINDOW
        assert topic.agreeing == [sum(sight.agrees[which] for sight in topic.seen.values()) for which in (0, 1)]
    assert found._met == len(offers.seen.keys() & checkouts.seen.keys())
    assert found._split.keys() <= offers.seen.keys() | checkouts.seen.keys()


# --- the numbers


def test_how_many_keys_are_beyond_chance() -> None:
    def least(partitions: int, part: float) -> int:
        return next(n for n in range(1, 2_000) if beyond_chance(round(part * n), n, partitions))

    assert (least(2, 1), least(4, 1), least(12, 1)) == (37, 19, 11)
    assert not beyond_chance(500, 1_000, 2)
    assert not beyond_chance(0, 0, 2)


def test_three_strays_are_borne_and_one_in_a_hundred() -> None:
    assert [strays(count) for count in (0, 3, 99, 100, 1_000)] == [3, 3, 3, 4, 13]


# --- a producer that writes few of the keys


def keys_until_found(share: float, partitions: int, *, seed: str, most: int = MEMORY) -> int | None:
    """How many keys of the checkouts are sampled until a producer of this share of them is found; None: it is not."""
    found = sampled(by_murmur2, by_murmur2, partitions, 1_000, checkout_keys=())
    mixed = one_of(by_murmur2, by_crc32, share)
    for offset, key in enumerate(keys(most, seed)):
        found.add(1, key, mixed(key, partitions), offset)
        if offset % 10 == 0 and found.find().verdict is Agreement.DISAGREE:
            return offset
    return None


@pytest.mark.parametrize(("share", "partitions"), [(0.005, 2), (0.0025, 4), (0.0025, 12), (0.0025, 100)])
def test_a_producer_that_writes_one_key_in_400_is_found_within_20000(share: float, partitions: int) -> None:
    assert [keys_until_found(share, partitions, seed=f"{n}-") for n in range(3)].count(None) == 0


def test_one_that_writes_one_key_in_200_is_found_within_10000() -> None:
    assert [keys_until_found(0.005, 12, seed=f"{n}-", most=10_000) for n in range(3)].count(None) == 0


def test_one_that_writes_one_key_in_2000_stays_unseen() -> None:
    assert keys_until_found(0.0005, 12, seed="") is None, "then the manual says too little"


def test_some_keys_in_any_wrong_place_are_no_producer() -> None:
    found = sampled(by_murmur2, by_murmur2, 12, 1_000)
    for key in keys(MEMORY // 2, "more"):
        found.add(1, key, one_of(by_murmur2, by_customer, 0.005)(key, 12), 0)
    assert found.find().verdict is Agreement.AGREE


def test_what_was_written_by_the_other_partitioner_long_ago_is_forgotten() -> None:
    found = sampled(by_murmur2, by_murmur2, 12, 1_000)
    for number, key in enumerate(keys(MEMORY, "more")):
        found.add(1, key, (by_crc32 if number % 200 == 0 and number < 3_800 else by_murmur2)(key, 12), 0)
    for number, key in enumerate(keys(2_000, "again")):
        found.add(1, key, (by_crc32 if number % 200 == 0 else by_murmur2)(key, 12), 0)
    assert found.find().verdict is Agreement.AGREE


def test_a_session_that_comes_again_and_again_is_one_key_astray() -> None:
    found = sampled(by_murmur2, by_murmur2, 12, 1_000)
    astray = [key for key in keys(30, "by hand") if by_crc32(key, 12) != by_murmur2(key, 12)][:15]
    for number, key in enumerate(keys(8_000, "more")):
        found.add(1, key, by_murmur2(key, 12), 0)
        if number % 100 == 0:
            by_hand = astray[number // 100 % len(astray)]
            found.add(1, by_hand, by_crc32(by_hand, 12), 0)
    assert found.find().verdict is Agreement.AGREE
