"""Each setting that the decision depends on, raised and lowered between two runs with calls in flight.

Nothing but records moves the watermark here (no topic is ever idle for long enough), so what is settled, what waits and
what is open when the first run ends is the same each time. Times are seconds; the clock of the first run ends at 99.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from support.deployment import Deployment, Process, deployed, now, until

from consumer.core.checkpoint import OfferCheckpoint
from consumer.events import Outcome, Reason

THEN = {
    "JOIN__WINDOW": "20s",
    "JOIN__CHECKOUT_GRACE": "2s",
    "JOIN__LOOKBACK": "40s",
    "JOIN__LATENESS": "1s",
    "JOIN__IDLE_AFTER": "1h",
    # Or a partition whose first checkout is the clock would wait for what lands behind it.
    "JOIN__CHECKOUT_SILENCE": "0s",
    "API__TIMEOUT": "60s",
    "DELIVERY__SHUTDOWN_TIMEOUT": "1s",
}

# Offer -> when it is shown. The "last" are settled just before the clock; longer spans would make them due after it.
# The calls of "waits-declined" and "waits-abandoned" hang in the first run. The other "waits" are bought at a time that
# the decision does not count, and are not called since that is known.
SHOWN_BEFORE = {
    "settled-declined": 50,
    "settled-abandoned": 50,
    "settled-bought": 50,
    "settled-bought-before": 60,
    "settled-last-abandoned": 78,
    "settled-last-declined": 94,
    "waits-declined": 52,
    "waits-abandoned": 52,
    "waits-bought-after-window": 52,
    "waits-bought-after-grace": 52,
    "waits-bought-long-before": 52,
    "open-abandoned": 90,
    "open-declined": 95,
    "open-bought": 95,
    "open-bought-late": 90,
    "open-bought-before": 90,
    "open-shown-again": 90,
}
# When -> session, which is named after its offer, and whether it bought it.
CHECKOUTS_BEFORE = [
    (-5, "waits-bought-long-before", True),
    (30, "settled-bought-before", True),
    (55, "settled-declined", False),
    (55, "settled-bought", True),
    (56, "waits-bought-after-grace", False),
    (57, "waits-declined", False),
    (60, "open-bought-before", True),
    (64, "waits-bought-after-grace", True),
    (82, "waits-bought-after-window", True),
    (96, "settled-last-declined", False),
    (98, "open-declined", False),
]
SHOWN_AFTER = {"open-shown-again": 105}
CHECKOUTS_AFTER = [(101, "open-bought", True), (115, "open-bought-late", True)]

SAME = dict.fromkeys(SHOWN_BEFORE, Outcome.OPTED_OUT) | dict.fromkeys(
    (
        "settled-bought",
        "settled-bought-before",
        "open-bought",
        "open-bought-before",
        "open-bought-late",
        "waits-bought-after-window",
        "waits-bought-after-grace",
        "waits-bought-long-before",
    ),
    Outcome.PURCHASED,
)
"""What becomes of each offer with the settings of then."""

IGNORED_BEFORE = dict.fromkeys(
    ("waits-abandoned", "waits-bought-after-window", "waits-bought-long-before"), Outcome.IGNORED
)
IGNORED_THEN = "settled-abandoned", "settled-last-abandoned"
IGNORED_AFTER = dict.fromkeys(("open-abandoned", "open-bought-late", "open-shown-again"), Outcome.IGNORED)

CHANGES = {
    "window-raised": ("WINDOW", "20s", "35s", (), None),
    "window-lowered": ("WINDOW", "20s", "8s", (), None),
    "grace-raised": ("CHECKOUT_GRACE", "2s", "12s", (), None),
    "grace-lowered": ("CHECKOUT_GRACE", "2s", "500ms", (), None),
    "lookback-raised": ("LOOKBACK", "40s", "80s", (), None),
    "lookback-lowered": ("LOOKBACK", "40s", "25s", (), None),
    "abandoned-ignored": ("ABANDONED", "opt-out", "ignore", ("waits-abandoned", *IGNORED_AFTER), Outcome.IGNORED),
    "abandoned-called": ("ABANDONED", "ignore", "opt-out", (*IGNORED_BEFORE, *IGNORED_THEN), Outcome.IGNORED),
}
"""Setting, then, now, and the offers with another outcome than `SAME` tells."""


def write(deployment: Deployment, base: int, shown: dict[str, int], checkouts: list, clock: int) -> None:
    """In order of time, and at the end what moves the clock of each partition."""
    for offer, at in sorted(shown.items(), key=lambda item: item[1]):
        partner = "HANGS" if offer.startswith("waits") else "ACME"
        deployment.present(offer, session=offer, partner=partner, at=base + at * 1_000)
    for at, session, bought in checkouts:
        deployment.check_out(*([session] if bought else []), session=session, at=base + at * 1_000)
    for n in range(40):
        deployment.present(f"clock-{clock}-{n}", session=f"clock-{n}", at=base + clock * 1_000)
        deployment.check_out(session=f"clock-{n}", at=base + clock * 1_000)
    deployment.flush()


def outcomes(deployment: Deployment) -> dict[str, set[Outcome]]:
    found: dict[str, set[Outcome]] = {}
    for outcome in deployment.outcomes():
        if not outcome.offer_id.startswith("clock"):
            found.setdefault(outcome.offer_id, set()).add(outcome.outcome)
    return found


def unsettled(deployment: Deployment, decided_to: int) -> int | None:
    """How many offers the commits of all partitions list, once these speak of all that was decided."""
    listed = 0
    for offset, metadata in deployment.committed(deployment.offer_topic).values():
        if not metadata:
            return None
        found = OfferCheckpoint.decode(metadata, offset)
        if found.decided_to < decided_to:
            return None
        listed += len(found.unsettled)
    return listed


def in_flight(deployment: Deployment) -> set[str]:
    """The offers of the calls that reached the API and were never answered."""
    return {call.offer_id for call in deployment.api.calls() if call.status is None}


def end(process: Process, *, hard: bool) -> None:
    if hard:
        process.kill()
    else:
        assert process.terminate() == 0


@pytest.mark.parametrize(("change", "hard"), [(name, n % 2 == 1) for n, name in enumerate(CHANGES)])
def test_a_changed_setting_misses_none_calls_none_that_was_bought_and_repeats_none(
    real_kafka, tmp_path: Path, change: str, hard: bool
) -> None:
    name, then, new, different, outcome = CHANGES[change]
    expected = SAME | dict.fromkeys(different, outcome)
    base = now() - 300_000
    with deployed(
        real_kafka.bootstrap_servers, tmp_path, scenario="HANGS:hang; 204", settings={**THEN, f"JOIN__{name}": then}
    ) as deployment:
        write(deployment, base, SHOWN_BEFORE, CHECKOUTS_BEFORE, clock=100)
        first = deployment.start()
        waits = {"waits-declined", "waits-abandoned"}
        waits -= set(IGNORED_BEFORE) if then == "ignore" else set()
        until(lambda: unsettled(deployment, base + 98_999) == len(waits), within=60, what="a commit that lists them")
        settled = outcomes(deployment)
        assert settled == {o: {expected[o]} for o in expected if o not in waits and not o.startswith("open")}
        # The commit lists what is decided; its calls leave in a thread of their own, and may arrive later.
        until(lambda: in_flight(deployment) >= waits, within=60, what="their calls")
        assert in_flight(deployment) == waits
        end(first, hard=hard)
        before = len(deployment.api.calls())

        deployment.api.set_scenario("204")
        write(deployment, base, SHOWN_AFTER, CHECKOUTS_AFTER, clock=190)
        second = deployment.start(**{f"JOIN__{name}": new})
        until(lambda: outcomes(deployment).keys() >= expected.keys(), within=60, what="an outcome for each offer")
        end(second, hard=False)
        assert outcomes(deployment) == {offer: {fate} for offer, fate in expected.items()}
        called = {c.offer_id for c in deployment.api.calls()[before:] if not c.offer_id.startswith("clock")}
        assert called == {o for o in expected if expected[o] is Outcome.OPTED_OUT and o not in settled}
        assert deployment.dead_letters() == []
        assert any("differ from those of the last run" in line.get("finding", "") for line in second.lines())


def test_a_raised_lookback_takes_no_checkout_for_gone_where_there_is_none(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, scenario="503") as deployment:
        deployment.present("waits", session="s1", at=now() - 20_000)
        deployment.flush()
        process = deployment.start()
        until(lambda: "waits" in deployment.called(), within=30, what="a call")
        until(lambda: unsettled(deployment, now() - 20_000) == 1, within=30, what="a commit that lists it")
        assert process.terminate() == 0
        deployment.api.set_scenario("204")
        deployment.start(JOIN__LOOKBACK="5m")
        until(deployment.outcomes, within=40, what="its outcome")
        assert [o.outcome for o in deployment.outcomes()] == [Outcome.OPTED_OUT]
        assert deployment.dead_letters() == []


def test_a_raised_lookback_calls_no_offer_whose_older_checkouts_are_deleted(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, scenario="503") as deployment:
        for ago in range(60_000, 0, -5_000):  # without a gap, behind which they would be kept for what waits
            for n in range(40):
                deployment.check_out(session=f"s{n}", at=now() - ago)
        deployment.present("waits", session="s1", at=now() - 20_000)
        deployment.flush()
        process = deployment.start()
        until(lambda: "waits" in deployment.called(), within=30, what="a call: those checkouts are too long ago")
        until(lambda: unsettled(deployment, now() - 20_000) == 1, within=30, what="a commit that lists it")
        topic = deployment.checkout_topic
        until(
            lambda: all(offset > 0 for offset, _ in deployment.committed(topic).values()),
            within=30,
            what="the first checkouts of each partition to be let go",
        )
        assert process.terminate() == 0
        before = len(deployment.called())
        places = [TopicPartition(topic, p, offset) for p, (offset, _) in deployment.committed(topic).items()]
        for future in deployment.admin.delete_records(places).values():
            future.result(20)
        deployment.api.set_scenario("204")
        deployment.start(JOIN__LOOKBACK="5m")
        until(deployment.outcomes, within=40, what="its outcome")
        assert [(o.outcome, o.reason) for o in deployment.outcomes()] == [(Outcome.DEAD_LETTERED, Reason.LATE)]
        assert len(deployment.dead_letters()) == 1
        assert len(deployment.called()) == before
