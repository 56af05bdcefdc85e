"""The commit metadata: what a restart must know that the log does not say, in the 4096 characters a broker allows.

Offer partition      2CHECK:RULES:PARTITIONS:D:P:Pc:SPLITS:DEAD:UNSETTLED:LATE:PROVENANCE:TRUST[:LOST]
                     3CHECK:RULES:PARTITIONS:D:P:Pc:SPLITS:DEAD:UNSETTLED:LATE:PROVENANCE:TRUST:EACH[:LOST]
Checkout partition   1CHECK:PARTITIONS:Pc:H:LOOKBACK:HEARD:RESUME:UNMATCHED:JUDGED
                     2CHECK:new, where nothing is known yet

CHECK is a CRC-32 of the rest and of the committed offset. A list that was cut, or that was copied to another offset, as
tools do that mirror a cluster or move a group, reads well and would settle offers that are not: calls would be missed.

RULES are the numbers that decided what is settled: window, checkout_grace, lookback (ms) and `a` (abandoned offers
are called) or `i` (ignored), joined by commas. D, P, Pc and H are decimal; `-` stands for a time not known.
The three sets of offsets are written as the gaps from the committed offset on and the lengths of runs, as
variable-length integers in base 85 (the alphabet of RFC 1924, which has no colon): a backlog in which nothing is
settled is one run, one in which a call in a hundred failed costs three bytes a call.

Where `input.offers.each` is set, a record has several presentations, and the text is of version 3. P and the committed
offset are of records all the same. The sets name presentations: by the record's offset times 64 plus the place in the
record, in gaps from the committed offset times 64 on. EACH is a hash of the setting: by another one the same place may
be another offer, and what is not listed would be taken for settled. So a start refuses it.

Pc stands in both, since a broker may take one partition's commit and not the other's: D rests on the checkouts
below it. For the same reason LATE stands with the offers: presentations below that time (ms) were late when they were
read, and are settled unless listed. H of another commit could not tell.

HEARD, RESUME, UNMATCHED and JUDGED are what the guards remember (`GuardState`): the newest checkout's time, or `f`
and the first presentation's while no checkout was ever seen; when decisions may go on, `!` while that is open; a
number of ids, and up to when they were counted. LOOKBACK (ms) is the one that H was made with: the offer partition's
may be of another commit.

PROVENANCE says whose the position is (see `provenance`), and TRUST since when (ms) the inputs have been watched
without trouble. LOST stands only where an operator has accepted that checkouts are gone for good: it is the time (ms)
below which some may be. H may be lowered again by reading further back, but never below that.

Version 1 of the offer partition's ended with LATE. It is still read, so that an upgrade goes on where the old version
stopped; its first texts had neither CHECK nor LATE, nor the checkout partition's last five fields. The way back is
safe too: the old version cannot read a 2, ignores D and the lists, and so repeats calls and misses none. It does need
H, without which it would dead-letter offers as late: so what the checkout partition says of H stands as version 1.

The rules stand here as numbers and not as a hash, so that a start with changed settings can still tell, by the
rules of then, what was settled then.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from zlib import crc32

from ..events import MOST_ELEMENTS
from .offset_list import decode_offsets, encode_offsets
from .provenance import NOT_KNOWN, Provenance
from .rules import MAX_TIME, MIN_TIME, DecisionRules

METADATA_LIMIT = 4095
"""Characters of commit metadata that get through: a broker takes 4096 by default (offset.metadata.max.bytes), and
librdkafka sends a closing NUL along."""

FIRST, SECOND, THIRD = "1", "2", "3"
"""The versions of the text. A new one is needed when the rules of the decision change too, so that what older code
settled is not taken for settled by these."""

_NEW = "new"

_EACH = re.compile("e[0-9a-f]{8}")
"""What `OfferCheckpoint.each` looks like. No time does: the field behind it may be left out."""


@dataclass(frozen=True, slots=True)
class Position:
    """An offset as committed: the first to read, and the metadata with it."""

    offset: int
    metadata: str = ""


class UnreadableMetadata(ValueError):  # noqa: N818 - a finding, no fault
    """The metadata is not of this version, or is damaged."""


@dataclass(frozen=True, slots=True)
class OfferCheckpoint:
    """What is committed with the offer partition.

    Attributes:
        rules: (window, checkout_grace, lookback, call_abandoned) by which was decided.
        partitions: how many partitions the topics had: with another number keys have moved.
        decided_to: D; everything due by then is settled, unless listed in `unsettled`.
        next_offset: P, the first offset that had not been applied.
        next_checkout: Pc, the same of the checkout partition, when this was decided.
        splits: of presentations, see `chain_splits`, and of records that are in `dead` too, see `unreadable`.
        dead: of records whose dead letters are acknowledged, for a reason that may not be found again by D and H: what
            was late by a watermark that D has not come to is one.
        unsettled: of presentations below P, due by D, that are not settled.
        late_below: presentations below P from before this time (ms) were late, and dead-lettered unless `unsettled`.
        provenance: whose this is.
        trusted_since: since when (wall clock, ms) the inputs have been watched without trouble.
        lost_below: checkouts from before this time (ms) may be gone from the log for good: no horizon lies below it.
        each: by which setting a record has several presentations, see `each_of`; empty: it has one.

    The three sets hold `OfferPresented.offset`; a record is in them by its first one, which is its own times `unit`.
    """

    rules: tuple[int, int, int, bool]
    partitions: int
    decided_to: int
    next_offset: int
    next_checkout: int
    splits: frozenset[int] = frozenset()
    dead: frozenset[int] = frozenset()
    unsettled: frozenset[int] = frozenset()
    late_below: int = MIN_TIME
    provenance: Provenance = NOT_KNOWN
    trusted_since: int = MIN_TIME
    lost_below: int = MIN_TIME
    each: str = ""

    @property
    def chain_splits(self) -> frozenset[int]:
        """Of presentations that begin a chain only because the one before had lasted for `lookback`."""
        return self.splits - self.dead

    @property
    def unreadable(self) -> frozenset[int]:
        """Of records that cannot be read and are not settled; what else is in `dead` and `unsettled` is misdated."""
        return self.splits & self.dead

    @property
    def unit(self) -> int:
        """By how much the offsets of the presentations of two records differ that stand one behind the other."""
        return unit_of(self.each)

    def encode(self, committed: int) -> str:
        """As metadata for a commit of the offset `committed`, to which the sets are relative."""
        window, grace, lookback, call_abandoned = self.rules
        base = committed * self.unit
        return _checked(
            THIRD if self.each else SECOND,
            committed,
            (
                f"{window},{grace},{lookback},{'a' if call_abandoned else 'i'}",
                str(self.partitions),
                _time(self.decided_to),
                str(self.next_offset),
                str(self.next_checkout),
                encode_offsets(self.splits, base),
                encode_offsets(self.dead, base),
                encode_offsets(self.unsettled, base),
                _time(self.late_below),
                self.provenance.encode(),
                _time(self.trusted_since),
                *([self.each] if self.each else []),
                *([] if self.lost_below == MIN_TIME else [_time(self.lost_below)]),
            ),
        )

    @classmethod
    def decode(cls, metadata: str, committed: int) -> OfferCheckpoint:
        """Read what `encode` wrote.

        Raises:
            UnreadableMetadata: it is of another version, not ours, or damaged.
        """
        try:
            version, (rules, partitions, decided_to, next_offset, next_checkout, *rest) = _fields(metadata, committed)
            if len(rest) not in _AFTER_PC[version]:
                raise ValueError(f"{len(rest)} fields after Pc instead of {_AFTER_PC[version][-1]}")
            each = _parse_each(rest.pop(6)) if version == THIRD else ""
            base, limit = committed * unit_of(each), _number(next_offset) * unit_of(each)
            splits, dead, unsettled = (decode_offsets(text, base, limit) for text in rest[:3])
            window, grace, lookback, abandoned = rules.split(",")
            checkpoint = cls(
                (_number(window), _number(grace), _number(lookback), {"a": True, "i": False}[abandoned]),
                _number(partitions),
                _parse_time(decided_to),
                _number(next_offset),
                _number(next_checkout),
                splits,
                dead,
                unsettled,
                _parse_time(rest[3]) if rest[3:] else MIN_TIME,
                Provenance.decode(rest[4]) if rest[4:] else NOT_KNOWN,
                _parse_time(rest[5]) if rest[5:] else MIN_TIME,
                _parse_time(rest[6]) if rest[6:] else MIN_TIME,
                each,
            )
            if not 0 <= committed <= checkpoint.next_offset or not 0 < checkpoint.rules[0] <= checkpoint.rules[2]:
                raise ValueError("numbers out of range")
        except (ValueError, KeyError, TypeError) as error:
            raise UnreadableMetadata(f"offer partition's commit metadata {metadata[:60]!r}: {error}") from error
        return checkpoint


@dataclass(frozen=True, slots=True)
class GuardState:
    """What a task contributes to the guards, as far as the log could not say it again after a restart.

    Attributes:
        newest_checkout: event time (ms), MIN_TIME if none was ever seen.
        first_offer: event time (ms), MIN_TIME if none was seen; of no interest once there is a newest checkout.
        resume_at: what the checkouts' watermark must reach (ms) after a silence; MAX_TIME while the silence lasts.
        unmatched: purchased ids in a row that named no offer.
        judged_to: checkouts up to this time (ms), below Pc, were counted.
    """

    newest_checkout: int = MIN_TIME
    first_offer: int = MIN_TIME
    resume_at: int = MIN_TIME
    unmatched: int = 0
    judged_to: int = MIN_TIME

    def encode(self) -> str:
        """As the last four fields of the checkout partition's metadata."""
        heard = _time(self.newest_checkout)
        if self.newest_checkout == MIN_TIME and self.first_offer != MIN_TIME:
            heard = f"f{self.first_offer}"
        resume = "!" if self.resume_at == MAX_TIME else _time(self.resume_at)
        return f"{heard}:{resume}:{self.unmatched}:{_time(self.judged_to)}"

    @classmethod
    def decode(cls, heard: str = "-", resume_at: str = "-", unmatched: str = "0", judged: str = "-") -> GuardState:
        """Read what `encode` wrote.

        Raises:
            ValueError: not such fields.
        """
        return cls(
            MIN_TIME if heard.startswith("f") else _parse_time(heard),
            _parse_time(heard[1:]) if heard.startswith("f") else MIN_TIME,
            MAX_TIME if resume_at == "!" else _parse_time(resume_at),
            _number(unmatched),
            _parse_time(judged),
        )


@dataclass(frozen=True, slots=True)
class CheckoutCheckpoint:
    """What is committed with the checkout partition.

    Attributes:
        partitions: how many partitions the topics had.
        next_offset: Pc, the first offset that had not been applied.
        horizon: H; checkouts with a lower completed_at (ms) may have been forgotten.
        guard: what the guards remember.
        lookback: (ms) that the horizon was made with; None: that of the offer partition's rules.
    """

    partitions: int
    next_offset: int
    horizon: int
    guard: GuardState = GuardState()
    lookback: int | None = None

    def encode(self, committed: int) -> str:
        """As metadata for a commit of the offset `committed`."""
        lookback = "-" if self.lookback is None else str(self.lookback)
        horizon = _time(self.horizon)
        return _checked(
            FIRST, committed, (str(self.partitions), str(self.next_offset), horizon, lookback, self.guard.encode())
        )

    @classmethod
    def decode(cls, metadata: str, committed: int) -> CheckoutCheckpoint:
        """Read what `encode` wrote.

        Raises:
            UnreadableMetadata: it is of another version, not ours, or damaged.
        """
        try:
            version, (partitions, next_offset, horizon, *more) = _fields(metadata, committed)
            if version != FIRST:
                raise ValueError(f"version {version!r}")
            if len(more) not in (0, 5):
                raise ValueError(f"{len(more)} fields after H instead of 5")
            lookback, *guard = more or ("-",)
            checkpoint = cls(
                _number(partitions),
                _number(next_offset),
                _parse_time(horizon),
                GuardState.decode(*guard),
                None if lookback == "-" else _number(lookback),
            )
            if not 0 <= committed <= checkpoint.next_offset:
                raise ValueError("numbers out of range")
        except ValueError as error:
            raise UnreadableMetadata(f"checkout partition's commit metadata {metadata[:60]!r}: {error}") from error
        return checkpoint


def losing(offers: Position, below: int) -> Position:
    """The same, where checkouts from before a time (ms) may be gone for good, as well as those that it tells of."""
    if below == MIN_TIME:
        return offers
    try:
        found = OfferCheckpoint.decode(offers.metadata, offers.offset)
    except UnreadableMetadata:
        return offers
    return replace(offers, metadata=replace(found, lost_below=max(below, found.lost_below)).encode(offers.offset))


def new_checkouts(committed: int) -> str:
    """Metadata for a checkout partition of which nothing is known yet: H is to be learnt by reading."""
    return _checked(SECOND, committed, (_NEW,))


def are_new_checkouts(metadata: str, committed: int) -> bool:
    """Whether `new_checkouts` wrote this."""
    return metadata == new_checkouts(committed)


def rules_key(rules: DecisionRules) -> tuple[int, int, int, bool]:
    """What of the rules decides which chains there are and what becomes of them."""
    return rules.window, rules.checkout_grace, rules.lookback, rules.call_abandoned


def unit_of(each: str) -> int:
    """By how much the offsets of presentations of neighbouring records differ, by `OfferCheckpoint.each`."""
    return MOST_ELEMENTS if each else 1


_AFTER_PC = {FIRST: (3, 4), SECOND: (6, 7), THIRD: (7, 8)}
"""How many fields may follow Pc, by version."""


def _checked(version: str, committed: int, fields: Iterable[str]) -> str:
    rest = ":".join(fields)
    return f"{version}{_check(committed, rest)}:{rest}"


def _check(committed: int, rest: str) -> str:
    return base64.b85encode(crc32(f"{committed}:{rest}".encode()).to_bytes(4, "big")).decode("ascii")


def _fields(metadata: str, committed: int) -> tuple[str, list[str]]:
    """The version, and the fields behind the check.

    Raises:
        ValueError: it is of another version, or damaged, or stands with another offset than it was written for.
    """
    head, _, rest = metadata.partition(":")
    version = head[:1]
    if version not in _AFTER_PC:
        raise ValueError(f"version {head[:10]!r}")
    if head != version + _check(committed, rest) and head != FIRST:
        raise ValueError(f"it was changed since it was written, or is not of offset {committed}")
    return version, rest.split(":")


def _time(value: int) -> str:
    return "-" if value in (MIN_TIME, MAX_TIME) else str(value)


def _parse_time(text: str) -> int:
    sign, digits = ("-", text[1:]) if text.startswith("-") else ("", text)
    time = int(f"{sign}{_number(digits)}") if text != "-" else MIN_TIME
    if not MIN_TIME <= time < MAX_TIME:
        raise ValueError("numbers out of range")
    return time


def each_of(setting: str | None) -> str:
    """`OfferCheckpoint.each` for this setting of `input.offers.each`; None: a record has one presentation."""
    return "" if setting is None else f"e{sha256(setting.encode()).hexdigest()[:8]}"


def _parse_each(text: str) -> str:
    if not _EACH.fullmatch(text):
        raise ValueError(f"{text[:30]!r} is no hash of input.offers.each")
    return text


def _number(text: str) -> int:
    # int() would take blanks, underscores and the digits of other scripts too, and numbers of any size.
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ValueError(f"{text[:30]!r} is not a number from 0 on")
    return int(text)
