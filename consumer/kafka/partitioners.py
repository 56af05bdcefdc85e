"""Whether the producers of the two topics put a session in the same partition, by what sampled keys show.

A task joins partition p of both topics. If one topic is written by murmur2 (the default of Java's clients) and the
other by crc32 (the default of librdkafka and what is built on it), a session's offers and its checkouts land in
different tasks, and every offer that was bought looks as if it had not been. Nothing else would show it.

The broker does not know how a partition was chosen, but the keys tell: a key that murmur2 puts in partition 3 and that
is found in 5 was put there by something else. Chance agrees too, with one key in as many as there are partitions, so a
topic is judged by many keys. Three things are found out:

- **agree**: one of the two partitioners explains both topics, and chance does not.
- **disagree**: neither partitioner explains both topics, although at least one is at work; or sessions are found in two
  partitions, which is proof whatever the partitioner. That includes a topic with mixed producers. A producer that
  writes few of the keys is told by these few: what one partitioner put in a wrong place is where the other puts it.
- **not known**: too few keys so far; or no trace of either, as with a partitioner of one's own in both topics. It may
  be the same one, so that is borne, and sessions found in two partitions are looked for.

Some keys may be in a wrong place without anything following from it: somebody wrote a few records by hand. `strays`
says how many are borne, and `FEW` how many by the other partitioner.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

WINDOW = 1_000
"""How many keys of a topic count: the newest. So a producer that changes is noticed within that many, and what was
written by hand is forgotten after that many."""

CHANCE = 25.0
"""What is less likely than e^-25 (one in 7 x 10^10) is not taken for chance: keys are judged many times a day, for
years. So many keys does it take: where all are by one partitioner, 37 with two partitions, 19 with four, 11 with
twelve; where half are by another, 192, 80 and 37."""

MEMORY = 20_000
"""For so many keys of a topic it is remembered which were in a wrong place."""

FEW = 20
"""So many keys by the other partitioner, among the remembered ones of both topics, are borne: somebody who tries
something writes them with a tool, and the usual tools are built on librdkafka, whose partitioner is the other one."""


def murmur2(key: bytes) -> int:
    """The 32-bit hash of Kafka's Java client, as an unsigned number."""
    factor = 0x5BD1E995
    words = len(key) // 4
    hashed = 0x9747B28C ^ len(key)
    for word in struct.unpack_from(f"<{words}I", key):
        mixed = word * factor & 0xFFFFFFFF
        hashed = (hashed * factor ^ (mixed ^ mixed >> 24) * factor) & 0xFFFFFFFF
    if rest := key[4 * words :]:
        hashed = (hashed ^ int.from_bytes(rest, "little")) * factor & 0xFFFFFFFF
    hashed = (hashed ^ hashed >> 13) * factor & 0xFFFFFFFF
    return hashed ^ hashed >> 15


def by_murmur2(key: bytes, partitions: int) -> int:
    """The partition by Java's default, and by librdkafka's `murmur2` and `murmur2_random`."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def by_crc32(key: bytes, partitions: int) -> int:
    """The partition by librdkafka's default `consistent_random`, and by `consistent`.

    Not for the empty key, which the first of them puts anywhere.
    """
    return zlib.crc32(key) % partitions


PARTITIONERS: dict[str, Callable[[bytes, int], int]] = {"murmur2": by_murmur2, "crc32": by_crc32}


def strays(keys: int) -> int:
    """How many of so many sampled keys may be in a wrong place without another producer being made out.

    Three, and one in a hundred. Three, because a person who tries something writes a few sessions; with four a topic
    that is wholly by another partitioner is found out by its fourth to eighth key. One in a hundred, so that these few
    are outgrown. A producer that writes less than about one in a hundred keys is hence not found out by this, but by
    what is remembered for longer: see `FEW`.
    """
    return 3 + keys // 100


def beyond_chance(agreeing: int, keys: int, partitions: int) -> bool:
    """Whether so many of the keys agree with a partitioner that something must have to do with it.

    By Chernoff's bound: of n keys that fall anywhere, the part a or more agrees with a probability below
    exp(-n D(a, 1/partitions)), D being the relative entropy.
    """
    part, chance = agreeing / max(keys, 1), 1 / partitions
    if part <= chance:
        return False
    entropy = part * math.log(part / chance)
    if part < 1:
        entropy += (1 - part) * math.log((1 - part) / (1 - chance))
    return keys * entropy > CHANCE


class Agreement(Enum):
    """See the module. TOO_FEW and NEITHER are the two ways not to know."""

    AGREE = "agree"
    TOO_FEW = "too few keys"
    NEITHER = "neither murmur2 nor crc32"
    DISAGREE = "disagree"


@dataclass(frozen=True, slots=True)
class Finding:
    """What the keys show.

    Attributes:
        words: what each topic is partitioned by, with figures and places, and without a key: they are customers'.
        by: the partitioner of both, if they agree.
        misplaced: how many keys it would have put elsewhere.
    """

    verdict: Agreement
    words: str
    by: str | None = None
    misplaced: int = 0


@dataclass(frozen=True, slots=True)
class _Sight:
    """Where a key was found first, and whether each partitioner puts it there."""

    partition: int
    offset: int
    agrees: tuple[bool, ...]


class _Topic:
    """The newest keys of one topic. A key counts once, as it was found first."""

    def __init__(self, name: str, partitions: int) -> None:
        self.name = name
        self.seen: dict[bytes, _Sight] = {}
        self.agreeing = [0] * len(PARTITIONERS)
        self._partitions = partitions
        self._keys = 0
        self._astray: tuple[dict[bytes, tuple[int, bool]], ...] = tuple({} for _ in PARTITIONERS)

    def note_astray(self, key: bytes, sight: _Sight) -> None:
        """If the key is where a partitioner that fits would not have put it, remember that, and whether another would.

        To be called once the key is counted.
        """
        self._keys += 1
        for which, agrees in enumerate(sight.agrees):
            if not agrees and self.fits(which):
                self._astray[which].setdefault(key, (self._keys, any(sight.agrees)))

    def astray(self, which: int) -> tuple[int, int]:
        """How many of the last MEMORY keys this partitioner would have put elsewhere, and how many of them another one
        put where they are."""
        found = self._astray[which]
        while found and next(iter(found.values()))[0] <= self._keys - MEMORY:
            found.pop(next(iter(found)))
        return len(found), sum(by_another for _, by_another in found.values())

    def count(self, sight: _Sight, step: int) -> None:
        for which, agrees in enumerate(sight.agrees):
            self.agreeing[which] += step * agrees

    def misplaced(self, which: int) -> int:
        return len(self.seen) - self.agreeing[which]

    def fits(self, which: int) -> bool:
        return self.misplaced(which) <= strays(len(self.seen))

    def shows(self, which: int) -> bool:
        return beyond_chance(self.agreeing[which], len(self.seen), self._partitions)

    def has_enough(self) -> bool:
        return beyond_chance(len(self.seen), len(self.seen), self._partitions)

    def words(self) -> str:
        keys = len(self.seen)
        shown = [
            f"{'' if self.fits(which) else 'partly '}by {name} ({self.agreeing[which]} of {keys} sampled keys)"
            for which, name in enumerate(PARTITIONERS)
            if self.shows(which)
        ]
        if shown:
            return f"{self.name} is partitioned {' and '.join(shown)}"
        agreeing = " and ".join(f"{self.agreeing[which]} with {name}" for which, name in enumerate(PARTITIONERS))
        return f"of {keys} sampled keys of {self.name} {agreeing} agree"


class SampledKeys:
    """The sampled keys of both topics. Not thread-safe.

    Args:
        topics: offers, checkouts.
        partitions: how many each topic has.
    """

    def __init__(self, topics: tuple[str, str], partitions: int) -> None:
        self._partitions = partitions
        self._topics = _Topic(topics[0], partitions), _Topic(topics[1], partitions)
        self._met = 0
        self._split: dict[bytes, str] = {}

    def add(self, topic: int, key: bytes, partition: int, offset: int) -> None:
        """A record of topic 0 or 1 with this key was found there. The key must not be empty."""
        here, there = self._topics[topic], self._topics[1 - topic]
        sight = here.seen.get(key)
        if sight is not None:
            self._compare(key, here, sight, f"{here.name}[{partition}] offset {offset}", partition)
            return
        here.seen[key] = sight = _Sight(
            partition, offset, tuple(put(key, self._partitions) == partition for put in PARTITIONERS.values())
        )
        here.count(sight, 1)
        here.note_astray(key, sight)
        met = there.seen.get(key)
        if met is not None:
            self._met += 1
            self._compare(key, there, met, f"{here.name}[{partition}] offset {offset}", partition)
        if len(here.seen) > WINDOW:
            oldest = next(iter(here.seen))
            here.count(here.seen.pop(oldest), -1)
            self._met -= oldest in there.seen
            self._split.pop(oldest, None)

    def find(self) -> Finding:
        """What the keys show by now."""
        if self._partitions == 1:
            return Finding(Agreement.AGREE, "one partition holds every session")
        words = "; ".join(topic.words() for topic in self._topics)
        if len(self._split) > strays(self._met):
            first = next(iter(self._split.values()))
            found = f"{len(self._split)} sampled sessions are in two partitions each, such as {first}; {words}"
            return Finding(Agreement.DISAGREE, found)
        which = range(len(PARTITIONERS))
        fitting = [one for one in which if all(topic.fits(one) for topic in self._topics)]
        for one in fitting:
            if all(topic.shows(one) for topic in self._topics):
                few, by_another = map(sum, zip(*(topic.astray(one) for topic in self._topics), strict=True))
                if by_another > FEW and beyond_chance(by_another, few, self._partitions):
                    found = (
                        f"of the last {MEMORY:,} sampled keys of each topic {few} are where {list(PARTITIONERS)[one]} "
                        f"would not have put them, and {by_another} of these where another partitioner does"
                    )
                    return Finding(Agreement.DISAGREE, f"{found}; {words}")
                misplaced = sum(topic.misplaced(one) for topic in self._topics)
                return Finding(Agreement.AGREE, words, list(PARTITIONERS)[one], misplaced)
        shown = [one for one in which if any(topic.shows(one) for topic in self._topics)]
        if shown and not fitting:
            by = max(shown, key=lambda one: sum(topic.agreeing[one] for topic in self._topics))
            return Finding(Agreement.DISAGREE, f"{words}; {self.example(list(PARTITIONERS)[by])}")
        enough = all(topic.has_enough() for topic in self._topics)
        return Finding(Agreement.NEITHER if enough and not fitting else Agreement.TOO_FEW, words)

    def example(self, by: str) -> str:
        """In words, the newest record that this partitioner would have put elsewhere. There must be one."""
        which = list(PARTITIONERS).index(by)
        topic = max(self._topics, key=lambda topic: topic.misplaced(which))
        key, sight = next((key, sight) for key, sight in reversed(topic.seen.items()) if not sight.agrees[which])
        right = PARTITIONERS[by](key, self._partitions)
        return (
            f"{by} would have put {topic.name}[{sight.partition}] offset {sight.offset}, for one, in partition {right}"
        )

    def _compare(self, key: bytes, where: _Topic, sight: _Sight, place: str, partition: int) -> None:
        if sight.partition != partition:
            self._split.setdefault(key, f"{where.name}[{sight.partition}] offset {sight.offset} and {place}")
