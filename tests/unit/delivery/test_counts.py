"""Tries are counted by partner and status, both bounded, and by how long they took."""

from __future__ import annotations

import math

from consumer.delivery.counts import BOUNDS, CallCounts, FirstNames
from consumer.snapshot import MOST_PARTNERS, MOST_STATUSES, NO_ANSWER, OTHER


def test_a_try_counts_by_partner_and_status_and_a_further_one_as_a_retry() -> None:
    counts = CallCounts()
    counts.answered("ACME", 204, 0.2, again=False)
    counts.answered("ACME", None, 10.0, again=True)
    counts.answered("ACME", 204, 0.3, again=True)
    assert counts.answers == {("ACME", "204"): 2, ("ACME", NO_ANSWER): 1}
    assert counts.retries == {"ACME": 2}
    assert counts.duration_sum == 10.5


def test_a_bucket_holds_what_took_up_to_its_bound_and_those_below() -> None:
    counts = CallCounts()
    for seconds in (0.001, 0.005, 0.0051, 3.0, 10.0, 10.1, 3_600.0):
        counts.answered("P", 204, seconds, again=False)
    found = dict(counts.duration_buckets())
    assert list(found) == list(BOUNDS) == sorted(BOUNDS)
    assert (found[0.005], found[0.01], found[2.5], found[5.0], found[10.0], found[math.inf]) == (2, 3, 3, 4, 5, 7)


def test_a_thousand_partner_codes_and_all_statuses_give_a_bounded_number_of_labels() -> None:
    counts = CallCounts()
    for number in range(1_000):
        counts.answered(f"partner-{number}", 100 + number, 0.1, again=True)
    partners, statuses = ({labels[place] for labels in counts.answers} for place in (0, 1))
    assert len(partners) == MOST_PARTNERS + 1
    assert len(statuses) == MOST_STATUSES + 1
    assert counts.answers[OTHER, OTHER] == 900
    assert (counts.answers.total(), counts.retries.total(), counts.retries[OTHER]) == (1_000, 1_000, 900)


def test_the_first_names_keep_theirs() -> None:
    names = FirstNames(2)
    assert [names.name(name) for name in ("a", "b", "c", "a", "c")] == ["a", "b", OTHER, "a", OTHER]
