"""Whose a committed position is: of which cluster and topics, under which names, and for which API.

An offset is a number that any program may commit for the group, and that means nothing in another log. So each commit
of the offer partition says what it was made with, and a start compares that with what it finds. What one of the two
does not know is compared with nothing: older versions wrote none of it, and not every broker tells its ids.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from hashlib import sha256
from urllib.parse import quote, unquote

from .rules import MIN_TIME

LONGEST = 64
"""Characters of one text as it is stored. Of a longer one stands a hash, so that the list keeps its room."""

UNMAPPED = "none"
"""The mapping of inputs whose records have our own shape. It is not written."""

SECOND, MINUTE = 1_000, 60_000


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a position was committed with. An empty text is not known.

    Attributes:
        cluster: the cluster's id.
        offer_topic_id, checkout_topic_id: a topic that is deleted and made anew has another id under the same name.
        offer_topic, checkout_topic: their names.
        base_url: of the API that is called.
        committed_at: wall clock (ms), rounded down (`date_step`): or a position that stays the same would be committed
            anew each time.
        scope: of a backfill its range and rules, in a text of its own; empty for the deployment.
        mapping: a hash of how the inputs are read (`InputsSettings.mapping`), or `UNMAPPED`.
    """

    cluster: str = ""
    offer_topic_id: str = ""
    checkout_topic_id: str = ""
    offer_topic: str = ""
    checkout_topic: str = ""
    base_url: str = ""
    committed_at: int = MIN_TIME
    scope: str = ""
    mapping: str = ""

    @property
    def written_mapping(self) -> str:
        """The mapping as it stands in the metadata: empty where nothing is mapped, or it is not known."""
        return "" if self.mapping == UNMAPPED else self.mapping

    def at(self, now: int, step: int = MINUTE) -> Provenance:
        """The same, committed at `now` (wall clock, ms), rounded down to a multiple of `step`."""
        return replace(self, committed_at=now if now == MIN_TIME else now - now % step)

    def differences(self, now: Provenance) -> dict[str, tuple[str, str]]:
        """What is known of both and is not the same: by its name here, (what it was, what it is `now`)."""
        found = {}
        for name in TEXTS:
            then, current = getattr(self, name), getattr(now, name)
            # The deployment has no scope, which is as good as another one.
            known = (then and current) or name == "scope"
            if name == "mapping" and "." not in then:  # by 0.8.0, which told nothing of the fields that decide no fate
                current = current.partition(".")[0]
            if known and _stored(then) != _stored(current):
                found[name] = then, current
        return found

    def untold(self, now: Provenance) -> list[str]:
        """The ids that are known here, and not `now`, in words."""
        return [words for name, words in _IDS.items() if getattr(self, name) and not getattr(now, name)]

    def encode(self) -> str:
        """As one field of the metadata: texts percent-encoded and joined by commas, `-` for what is not known.

        The scope and, behind it, the mapping stand there only if there is one: without, the metadata is as it was
        before there were any. Before a mapping the scope always stands.
        """
        committed_at = "-" if self.committed_at == MIN_TIME else str(self.committed_at)
        count = len(TEXTS) if self.written_mapping else len(TEXTS) - 1 if self.scope else len(TEXTS) - 2
        texts = [_stored(getattr(self, name)) for name in TEXTS[:count]]
        return ",".join([*texts, committed_at])

    @classmethod
    def decode(cls, text: str) -> Provenance:
        """Read what `encode` wrote. A text that was too long is read as its hash.

        Raises:
            ValueError: not such a text.
        """
        *texts, committed_at = text.split(",")
        if not len(TEXTS) - 2 <= len(texts) <= len(TEXTS):
            raise ValueError(f"{len(texts) + 1} parts of provenance instead of {len(TEXTS) - 1}")
        if committed_at != "-" and not (committed_at.isascii() and committed_at.isdigit() and len(committed_at) < 19):
            raise ValueError(f"{committed_at[:30]!r} is no time")
        if len(texts) == len(TEXTS) and not _MAPPING.fullmatch(texts[-1]):
            raise ValueError(f"{texts[-1][:30]!r} is no hash of a mapping")
        known = {name: "" if stored == "-" else unquote(stored) for name, stored in zip(TEXTS, texts, strict=False)}
        return cls(**known, committed_at=MIN_TIME if committed_at == "-" else int(committed_at))


def date_step(lateness: int) -> int:
    """To what the date of a commit is rounded (ms): whoever takes the task over asks whether it is younger than half of
    lateness, and half of that is left for the commit's interval and the way to the new owner."""
    return max(SECOND, min(MINUTE, lateness // 4))


_IDS = {
    "cluster": "its own id",
    "offer_topic_id": "the offer topic's id",
    "checkout_topic_id": "the checkout topic's id",
}

_MAPPING = re.compile(r"m[0-9a-f]{8}(\.[0-9a-f]{8})?")

TEXTS = tuple(field.name for field in fields(Provenance) if field.name != "committed_at")


def _stored(text: str) -> str:
    """The text as it stands in the metadata: in ASCII, without a colon or a comma. Of a hash it is the hash itself."""
    if text in ("", "-"):
        return "%2D" if text else "-"
    stored = quote(text, safe="/#")
    return stored if len(stored) <= LONGEST else f"#{sha256(text.encode()).hexdigest()[:20]}"


NOT_KNOWN = Provenance()
