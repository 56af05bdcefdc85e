"""What is told of an offer, for each fate and for each thing that it may wait for."""

from __future__ import annotations

import pytest

from consumer.audit.calls import ReferenceRules
from consumer.audit.committed import Committed
from consumer.audit.explain import InputState, OfferLife, OfferName, Whereabouts, explain
from consumer.audit.partition_log import PartitionLog
from consumer.audit.reading import Checkout, OutcomeRecord, Place, Presentation

RULES = ReferenceRules(1_800_000, 60_000, 7_200_000, lateness=300_000, max_skew=300_000)
T = 1_750_000_000_000
NAME = OfferName("s", "P", "o")
SHOWN = Presentation("s", "P", "o", T, 7)
TOPICS = "offers", "checkouts", "outcomes"
RECORDED = OutcomeRecord(
    "s", "P", "o", T, T + 1_800_000, "OPTED_OUT", "ABANDONED", 204, 3, ("offers", 3, 7), None, None, 5, T + 2_200_000, 1
)
DEAD = RECORDED._replace(outcome="DEAD_LETTERED", reason="LATE", status=None, attempts=0, note="too long ago")
SETTLED = Committed(100)


def told(
    shown: list[Presentation],
    checkouts: list[Checkout],
    outcomes: list[OutcomeRecord],
    *,
    committed: Committed | None = SETTLED,
    now: int = T + 86_400_000,
    rules: ReferenceRules = RULES,
    read: tuple[int | None, int | None] = (8, 1),
    newest: int | None = T,
    unreadable: int | None = None,
    stamps: dict[Place, int] | None = None,
) -> OfferLife:
    log = PartitionLog(rules)
    for event in shown:
        log.present([event], event.presented_at)
    for done in checkouts:
        log.complete(done, done.completed_at)
    if unreadable is not None:
        log.cannot_complete(["s"], unreadable)
    for outcome in outcomes:
        log.settle(outcome)
    inputs = InputState("offers", 3, read[0], 8, newest), InputState("checkouts", 3, read[1], 1, newest)
    return explain(log, NAME, Whereabouts(TOPICS, 3, 1, committed, inputs, now), stamps or {})


def text(life: OfferLife) -> str:
    return " ".join(life.sentences)


def test_an_abandoned_offer_that_was_called() -> None:
    life = told([SHOWN], [], [RECORDED])
    assert [(entry.what, entry.at - T, entry.place) for entry in life.entries] == [
        ("presented", 0, ("offers", 3, 7)),
        ("due", 1_800_000, None),
        ("outcome", 2_200_000, ("outcomes", 3, 5)),
    ]
    assert life.sentences == [
        "The offer was shown at 2025-06-15T15:06:40.000Z.",
        "No checkout of the session came within 30m after that (join.window), so it was due at "
        "2025-06-15T15:36:40.000Z.",
        "No checkout between 2025-06-15T13:06:40.000Z and when it was due names it: it was abandoned, as the session "
        "did not check out, and the insurer is to be told.",
        "At 2025-06-15T15:43:20.000Z: OPTED_OUT, ABANDONED: the insurer was told that the offer was not bought, and "
        "answered 204 at the first try.",
    ]


def test_a_declined_offer_names_the_checkout() -> None:
    checkout = Checkout("s", T + 60_000, ("x", "y"), "c1", 0)
    declined = RECORDED._replace(reason="DECLINED", decided_at=T + 120_000, checkout_id="c1", attempts=3)
    life = told([SHOWN], [checkout], [declined])
    assert "checkout c1 was completed, and bought 2 other offers" in [entry.words for entry in life.entries]
    assert "The first checkout after that, c1 at 2025-06-15T15:07:40.000Z, made it due 1m later" in text(life)
    assert "it was declined, and the insurer is to be told." in text(life)
    assert "answered 204 after 3 tries." in text(life)


def test_a_bought_offer() -> None:
    checkout = Checkout("s", T + 60_000, ("o", "x"), "c1", 0)
    bought = RECORDED._replace(
        outcome="PURCHASED", reason="PURCHASED", status=None, attempts=0, decided_at=T + 120_000, checkout_id="c1"
    )
    life = told([SHOWN], [checkout], [bought])
    assert "checkout c1 was completed, and bought this offer and 1 more" in [entry.words for entry in life.entries]
    assert "it was bought, and the insurer is not to be called." in text(life)
    assert "does not fit" not in text(life)


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (
            RECORDED._replace(outcome="NOT_FOUND", status=404),
            "answered 404 at the first try: it does not know the offer",
        ),
        (
            RECORDED._replace(outcome="DEAD_LETTERED", status=422, note="no such field"),
            "the insurer refused the call with 422 at the first try; note: no such field",
        ),
        (
            RECORDED._replace(outcome="RELEASED", reason="RELEASED", status=None, attempts=0, note="by Ann: a test"),
            "let go by an operator; note: by Ann: a test",
        ),
        (RECORDED._replace(mode="BACKFILL"), "answered 204 at the first try (by a backfill)"),
    ],
)
def test_each_other_fate(outcome: OutcomeRecord, words: str) -> None:
    life = told([SHOWN], [], [outcome])
    assert words in text(life)
    assert "does not fit" not in text(life)


def test_an_ignored_offer() -> None:
    ignored = RECORDED._replace(outcome="IGNORED", status=None, attempts=0)
    life = told([SHOWN], [], [ignored], rules=RULES._replace(call_abandoned=False))
    assert "the insurer is not to be told (join.abandoned = ignore)" in text(life)
    assert "settled without a call, since abandoned offers are ignored" in text(life)


def test_a_late_offer_says_why() -> None:
    life = told([SHOWN], [], [DEAD])
    assert life.sentences == [
        "The presentation at offers[3]@7 was given up as LATE, and not called: too long ago. Its record is in the "
        "dead-letter topic."
    ]


def test_a_late_offer_that_a_backfill_decided_is_judged() -> None:
    life = told([SHOWN], [], [DEAD, RECORDED._replace(mode="BACKFILL")])
    assert "(by a backfill)" in text(life)
    assert "given up as LATE" not in text(life)


def test_an_offer_whose_date_is_not_believed() -> None:
    log = PartitionLog(RULES)
    log.present([SHOWN], T + 10 * RULES.lookback)
    where = Whereabouts(TOPICS, 3, 1, SETTLED, (InputState("offers", 3, 8, 8, T), InputState("c", 3, 1, 1, T)), T)
    life = explain(log, NAME, where, {("offers", 3, 7): T + 10 * RULES.lookback})
    assert "is dated 2025-06-15T15:06:40.000Z, which is not believed." in text(life)
    assert life.entries[0].words == "the offer was shown; its record is stamped 20h later"


def test_a_session_with_a_checkout_that_cannot_be_read() -> None:
    quarantined = RECORDED._replace(outcome="DEAD_LETTERED", reason="CHECKOUT_UNREADABLE", status=None, attempts=0)
    life = told([SHOWN], [], [quarantined], unreadable=T + 5)
    assert "A checkout of the session cannot be read and may have bought it" in text(life)
    assert "checkout" in [entry.what for entry in life.entries]


def test_an_offer_that_was_called_and_bought_later_says_so() -> None:
    life = told([SHOWN], [Checkout("s", T + 1_900_000, ("o",), "c9", 0)], [RECORDED])
    bought = "Checkout c9 bought it after that, at 2025-06-15T15:38:20.000Z: "
    assert f"{bought}the insurer was told all the same." in text(life)
    withheld = RECORDED._replace(
        outcome="PURCHASED", reason="PURCHASED", status=None, attempts=0, checkout_id="c9", note="known"
    )
    life = told([SHOWN], [Checkout("s", T + 1_900_000, ("o",), "c9", 0)], [withheld])
    assert f"{bought}if that was known before the call, none was made." in text(life)
    assert "PURCHASED: settled as bought: the insurer is not called; note: known." in text(life)


def test_of_an_offer_that_was_tried_it_is_not_said_that_the_insurer_was_not_called() -> None:
    """Tries that ended by time-outs may be recorded; then the purchase was read."""
    bought = RECORDED._replace(outcome="PURCHASED", reason="PURCHASED", status=None, attempts=3, checkout_id="c9")
    life = told([SHOWN], [Checkout("s", T + 1_900_000, ("o",), "c9", 0)], [bought._replace(note="known")])
    assert "PURCHASED: settled as bought after 3 tries without a final answer; note: known." in text(life)
    assert "once that was read, no further call was made." in text(life)
    assert "not called" not in text(life)
    assert "none was made" not in text(life)


def test_of_a_quarantined_offer_that_was_tried_it_is_not_said_that_it_was_not_called() -> None:
    quarantined = RECORDED._replace(outcome="DEAD_LETTERED", reason="CHECKOUT_UNREADABLE", status=None, attempts=1)
    life = told([SHOWN], [], [quarantined._replace(note="may be bought")], unreadable=T + 7_000_000)
    assert "CHECKOUT_UNREADABLE: given up after 1 try without a final answer; note: may be bought." in text(life)


def test_an_outcome_that_does_not_fit_is_told() -> None:
    life = told([SHOWN], [Checkout("s", T + 60_000, ("o",), "c1", 0)], [RECORDED])
    assert "This does not fit: it is told as OPTED_OUT, ABANDONED, 204; by the reference" in text(life)
    stray = told([SHOWN], [], [RECORDED, RECORDED._replace(presented_at=T - 5)])
    assert "which was not found as the last of a chain" in text(stray)


def test_an_outcome_of_a_topic_of_another_name_is_told() -> None:
    elsewhere = RECORDED._replace(source=("old", 9, 7))
    nothing = Whereabouts(TOPICS, -1, 1, None, (), T)
    log = PartitionLog(RULES)
    log.settle(elsewhere)
    life = explain(log, NAME, nothing, {})
    assert [entry.what for entry in life.entries] == ["outcome"]
    assert "(old[9]@7), which was not found as the last of a chain" in text(life)
    # It may be of what is in the topic by now, at another place.
    assert "does not fit" not in text(told([SHOWN], [], [elsewhere]))
    late = text(told([SHOWN], [], [DEAD._replace(source=("old", 9, 7))]))
    assert "The presentation at old[9]@7 was given up as LATE" in late
    assert "The offer was shown at" in late


def test_presentations_make_one_chain_or_several_and_it_says_why() -> None:
    again = [SHOWN, SHOWN._replace(presented_at=T + 60_000, offset=8)]
    assert "The offer was shown 2 times from 2025-06-15T15:06:40.000Z to 2025-06-15T15:07:40.000Z." in text(
        told(again, [], [])
    )
    apart = [SHOWN, SHOWN._replace(presented_at=T + 2_000_000, offset=8)]
    life = told(apart, [], [])
    assert "It begins a new chain, since the one before was due by then" in text(life)
    assert [entry.words for entry in life.entries if entry.what == "due"] == [
        "from now on no checkout changes its fate (chain 1)",
        "from now on no checkout changes its fate (chain 2)",
    ]
    long = [SHOWN._replace(presented_at=T + 1_000_000 * number, offset=number) for number in range(9)]
    assert "since the one before had lasted for 2h (join.lookback)" in text(told(long, [], []))


WAITING = Committed(7, 8, 1, T + 1_800_000, frozenset({7}))


@pytest.mark.parametrize(
    ("state", "words"),
    [
        pytest.param({"committed": None}, "the group has committed nothing for this partition", id="no commit"),
        pytest.param({"committed": WAITING}, "It waits for its call: it is decided", id="its call"),
        pytest.param(
            {"committed": Committed(7), "now": T + 1_000_000},
            "It waits for its time: it is due in 13m20s",
            id="not due",
        ),
        pytest.param(
            {"committed": Committed(7), "now": T + 2_000_000},
            "It is due, and decided once both topics are read to 2025-06-15T15:41:40.000Z",
            id="lateness",
        ),
        pytest.param(
            {"committed": Committed(7), "read": (7, 1)},
            "It is due, and waits to be decided: the service has read offers[3] to offset 7 of 8, by its last commit.",
            id="offers are not read",
        ),
        pytest.param(
            {"committed": Committed(7), "read": (8, 0)},
            "the service has read checkouts[3] to offset 0 of 1, by its last commit.",
            id="checkouts are not read",
        ),
        pytest.param(
            {"committed": Committed(7)},
            "the newest record of checkouts[3] is of 2025-06-15T15:06:40.000Z. A quiet topic",
            id="a quiet input",
        ),
        pytest.param({"committed": Committed(7), "newest": None}, "checkouts[3] is empty", id="an empty input"),
        pytest.param({}, "this is a fault: see `opt-out reconcile`", id="settled without an outcome"),
    ],
)
def test_what_an_offer_without_an_outcome_waits_for(state: dict, words: str) -> None:
    assert words in told([SHOWN], [], [], **state).sentences[-1]
