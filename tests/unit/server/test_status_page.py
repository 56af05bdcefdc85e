"""The page as text; how it looks is in integration/test_status_page.py."""

from __future__ import annotations

import re

import pytest
from support.run_states import (
    GOOD_PULSE,
    MINUTE,
    NOW,
    a_partner,
    a_snapshot,
    a_task,
    an_outcome,
    denied,
    latest_of,
    oldest,
    well,
)

from consumer.server.health import HealthStatus
from consumer.server.history import Hour
from consumer.server.problems import Pulse
from consumer.server.status import status_of
from consumer.server.status_page import MOST_ROWS, status_page
from consumer.snapshot import CountsSnapshot, Snapshot


def page(
    snapshot: Snapshot | None, *, pulse: Pulse = GOOD_PULSE, hour: Hour | None = None, show_ids: bool = False
) -> str:
    return status_page(status_of(snapshot, pulse, hour or Hour(), NOW, show_ids=show_ids))


def words(text: str) -> str:
    """What is read of it."""
    main = text[text.index("<main>") : text.index("</main>")]
    return " ".join(re.sub(r"<[^>]*>", " ", main).split())


def test_what_is_well_says_so_in_the_tab_and_first_on_the_page() -> None:
    text = page(well())
    assert "<title>All is well · offer-opt-out</title>" in text
    assert words(text).startswith(
        "✓ All is well Partitions 0, 1, 2 and 3 running; watermark 5 min 2 s behind; 12 offers decided and not "
        "settled. 02:51:14 UTC · instance opt-out-6c9f7-x2lqk of group offer-opt-out, this one alone · up for 1 d 2 h "
        "Tasks"
    )
    assert "What waits" not in text


def test_before_the_first_turn_there_is_a_page() -> None:
    pulse = GOOD_PULSE._replace(ready=HealthStatus(False, "the group has not said yet"))
    assert words(page(None, pulse=pulse)).startswith(
        "… Waiting, and goes on by itself The loop has not turned yet. The group has not said yet. 02:51:14 UTC"
    )


def test_a_spare_member_has_no_tables_of_tasks() -> None:
    pulse = GOOD_PULSE._replace(ready=HealthStatus(True, "spare: the group has more members than partitions"))
    text = words(page(a_snapshot(tasks=()), pulse=pulse))
    assert text.startswith("✓ All is well Spare: the group has more members than partitions.")
    assert "Tasks" not in text


def test_a_problem_is_a_sentence_with_its_time_and_a_link() -> None:
    text = page(denied())
    assert "1 problem to look at" in text
    assert "committed offset held at 88,120.</p>" in text
    assert "for 41 min · what to do: Credentials refused" in words(text)
    assert '<a href="manual/runbook#credentials-refused">Credentials refused</a>' in text


def test_a_task_tells_its_watermark_as_a_time_what_holds_it_and_its_oldest_offer() -> None:
    task = a_task(7, oldest_unsettled=oldest(due_ago=3 * MINUTE))
    text = words(page(a_snapshot(tasks=(task,))))
    assert "7 running 02:46:12 5 min 2 s - 1,439 3 oldest due 3 min ago offers 90,218 checkouts 33,870 offers 0" in text


@pytest.mark.parametrize(
    ("changes", "row"),
    [
        ({}, "ACME calling 204: 48,310 · 404: 112 · 503: 9 - closed 6 2"),
        ({"rate_limit": None, "answered": {}}, "ACME calling - - closed 6 2"),
        (
            {"stopped_by": ("breaker",), "words": "failing", "answered": {"none": 4, "204": 1}, "stopped_since": NOW},
            "ACME failing since 02:51 204: 1 · no answer: 4 - open 6 2",
        ),
    ],
)
def test_a_partner_tells_its_answers_its_rate_and_its_breaker(changes: dict[str, object], row: str) -> None:
    assert row in words(page(a_snapshot(partners=(a_partner(**changes),))))


def test_the_rate_of_all_partners_stands_against_the_limit_of_a_credential() -> None:
    """The default is one key for all: 5 of 10 a second each would be one that is used up, and look like half of one."""
    hour = Hour(rates={"ACME": 5.04, "GLOBEX": 5.0})
    partners = tuple(a_partner(code, answered={}) for code in ("ACME", "GLOBEX", "NEW"))
    text = words(page(a_snapshot(partners=partners), hour=hour))
    assert "ACME calling - 5.0 closed" in text
    assert "NEW calling - - closed" in text
    assert (
        "All partners together: 10.0 calls a second. This instance makes at most 10 a second with a credential, for "
        "all partners that share it." in text
    )
    free = words(page(a_snapshot(partners=(a_partner(rate_limit=None),))))
    assert "credential" not in free


def test_a_partner_code_turns_no_sentence_of_the_page() -> None:
    """As in logs and tables: whoever chooses a code does not choose how the rest of the line reads."""
    turning = a_partner("AC\u202eME\u200b", unsettled=4, stopped_by=("credentials",), last_status=403)
    text = page(a_snapshot(partners=(turning,)))
    assert "\u202e" not in text
    assert r"Partner AC\u202eME\u200b answers 403" in words(text)


def test_ids_have_columns_only_where_they_are_shown() -> None:
    assert "Session" not in words(page(well()))
    assert "server.show_ids is false." in words(page(well())).replace(" .", ".")
    text = page(well(), show_ids=True)
    assert "Session" in words(text)
    assert "offer-5f2c8e&lt;b&gt;" in text
    assert "server.show_ids" not in text


def test_a_table_is_bounded_and_says_what_it_leaves_out() -> None:
    snapshot = a_snapshot(
        tasks=tuple(a_task(n) for n in range(1_000)),
        partners=tuple(a_partner(f"P{n}") for n in range(300)),
        outcomes=tuple(an_outcome() for _ in range(500)),
    )
    text = page(snapshot)
    assert text.count('<th scope="row"') == 3 * MOST_ROWS + 1
    assert "900 more are in the JSON." in text
    assert "200 more are in the JSON." in text
    assert len(text) < 500_000


def test_the_hour_is_summed_up_in_words() -> None:
    latest = latest_of(well(), NOW)
    text = page(well(), hour=latest.history.hour(NOW))
    assert 'aria-label="943 calls in the last hour, 30 of them failed"' in text
    assert "913 answered 204 or 404 30 answered otherwise or not at all" in words(text)


def test_what_was_bought_after_the_insurer_was_told_is_never_hidden() -> None:
    more = a_snapshot(counts=CountsSnapshot(purchases_after_opt_out=2))
    assert '2 <a href="manual/runbook#purchase-after-opt-out">bought after the insurer was told</a>' in page(more)
    assert "purchase-after-opt-out" not in page(well())
