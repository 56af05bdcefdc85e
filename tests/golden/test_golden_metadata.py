"""The commit metadata byte for byte: what one version has committed is read by the next, and by the one before.

`data/metadata.json` has a checkpoint of every shape: the offset it is committed with, its text, and what it says.
`MIN` is a time that is not known, `MAX` one that has no end yet; offsets are written as runs, `10-19` for ten.
What the guards remember is: the newest checkout, the first offer, when decisions go on, unmatched ids, judged up to.
`data/metadata-version-1.json` has texts of version 1 as the releases before 0.3 wrote them, and
`data/metadata-first-version.json` those of the time before CHECK. They are read, and no longer written for offers.
"""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

import pytest
from golden.nets import hold_json, read_json

from consumer.core.checkpoint import CheckoutCheckpoint, OfferCheckpoint

KINDS: dict[str, Any] = {"offers": OfferCheckpoint, "checkouts": CheckoutCheckpoint}
MIN, MAX = -(2**62), 2**62

SAYS = {
    "offers": (
        "rules", "partitions", "decided_to", "next_offset", "next_checkout",
        "splits", "dead", "unsettled", "late_below", "provenance", "trusted_since",
        "lost_below", "each",
    ),
    "checkouts": ("partitions", "next_offset", "horizon", "guard", "lookback"),
}  # fmt: skip
"""What each value of a checkpoint is called here, in their order; in the code it may be called otherwise."""

WRITTEN: list[dict[str, Any]] = read_json("metadata.json")
OLD: list[tuple[str, dict[str, Any]]] = [
    (file, entry) for file in ("metadata-first-version.json", "metadata-version-1.json") for entry in read_json(file)
]
SOUND = {entry["kind"]: entry for entry in WRITTEN}


def names(entries: list[dict[str, Any]]) -> list[str]:
    return [f"{entry['kind']}: {entry['name']}" for entry in entries]


@pytest.mark.parametrize("name", names(WRITTEN))
def test_what_is_written_today_is_written_as_ever_and_read_as_ever(name: str) -> None:
    now, golden = [], read_json("metadata.json")
    for entry, named in zip(golden, names(golden), strict=True):
        if named != name:
            now.append(entry)
            continue
        read = KINDS[entry["kind"]].decode(entry["text"], entry["committed"])
        now.append(entry | {"text": read.encode(entry["committed"]), "says": says(entry["kind"], read)})
    hold_json("metadata.json", now)


@pytest.mark.parametrize(("file", "name"), [(file, *names([entry])) for file, entry in OLD])
def test_what_version_1_wrote_is_read_as_ever(file: str, name: str) -> None:
    now, golden = [], read_json(file)
    for entry, named in zip(golden, names(golden), strict=True):
        if named == name:
            assert entry["text"].startswith("1:") is (file == "metadata-first-version.json"), "the first had no CHECK"
            read = KINDS[entry["kind"]].decode(entry["text"], entry["committed"])
            now.append(entry | {"says": says(entry["kind"], read)})
        else:
            now.append(entry)
    hold_json(file, now)


def test_what_is_written_today_of_checkouts_is_what_version_1_wrote() -> None:
    """The version before reads H from it after a roll-back; without H it would dead-letter offers as late."""
    old = {
        entry["name"]: entry["text"] for entry in read_json("metadata-version-1.json") if entry["kind"] == "checkouts"
    }
    assert {entry["name"]: entry["text"] for entry in WRITTEN if entry["kind"] == "checkouts"} == old


@pytest.mark.parametrize("name", [f"offers: {entry['name']}" for entry in WRITTEN if entry["kind"] == "offers"])
def test_the_version_before_reads_nothing_out_of_the_offers_text_and_repeats_calls(name: str) -> None:
    """Its decoder took a head that starts with 1, and for any other ignored D and the lists."""
    text = WRITTEN[names(WRITTEN).index(name)]["text"]
    head, colon, _ = text.partition(":")
    assert colon
    assert not head.startswith("1")


@pytest.mark.parametrize("name", names(WRITTEN))
def test_a_text_that_was_damaged_is_refused(name: str) -> None:
    """Whichever character is lost, doubled or changed, and whichever other offset it stands with."""
    entry = WRITTEN[names(WRITTEN).index(name)]
    text, decode = entry["text"], KINDS[entry["kind"]].decode
    assert decode(text, entry["committed"]) is not None
    damaged = {text[:at] + put + text[at + 1 :] for at in range(len(text)) for put in ("", text[at] * 2, "~", "0")}
    taken = []
    for other in sorted(damaged - {text}):
        try:
            decode(other, entry["committed"])
        except ValueError:
            continue
        taken.append(other)
    assert taken == []
    for committed in (entry["committed"] + 1, entry["committed"] - 1, 0, -1):
        if committed != entry["committed"]:
            with pytest.raises(ValueError, match="commit metadata"):
                decode(text, committed)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "text", ["", "1", ":", "2:", "3:", "hello", "x" * 4_096, "1:1:2", "0" * 100, "1:a:b:c:d:e:f:g:h"]
)
def test_a_text_that_is_not_ours_is_refused(kind: str, text: str) -> None:
    with pytest.raises(ValueError, match="commit metadata"):
        KINDS[kind].decode(text, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_text_of_the_other_topic_or_of_a_later_version_is_refused(kind: str) -> None:
    (other,) = SOUND.keys() - {kind}
    with pytest.raises(ValueError, match="commit metadata"):
        KINDS[kind].decode(SOUND[other]["text"], SOUND[other]["committed"])
    with pytest.raises(ValueError, match="commit metadata"):
        KINDS[kind].decode("4" + SOUND[kind]["text"][1:], SOUND[kind]["committed"])


def says(kind: str, checkpoint: Any) -> dict[str, Any]:
    """What a checkpoint says, as it stands in the file. What is lost for good stands there only where something is,
    and so do `input.offers.each` and, behind the provenance, the mapping of the inputs."""
    said = dict(zip(SAYS[kind], map(_shown, astuple(checkpoint)), strict=True))
    if kind == "offers" and not said["provenance"][-1]:
        said["provenance"].pop()
    return {name: value for name, value in said.items() if (name, value) not in (("lost_below", "MIN"), ("each", ""))}


def _shown(value: Any) -> Any:
    if isinstance(value, frozenset):
        return " ".join(_runs(sorted(value)))
    if isinstance(value, tuple):
        return [_shown(inner) for inner in value]
    return {MIN: "MIN", MAX: "MAX"}.get(value, value) if not isinstance(value, bool) else value


def _runs(offsets: list[int]) -> list[str]:
    runs: list[list[int]] = []
    for offset in offsets:
        if runs and runs[-1][1] == offset - 1:
            runs[-1][1] = offset
        else:
            runs.append([offset, offset])
    return [str(first) if first == last else f"{first}-{last}" for first, last in runs]
