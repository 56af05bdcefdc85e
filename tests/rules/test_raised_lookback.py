"""A raised lookback calls no offer whose purchase retention has deleted, though a straggler stands where it stood."""

from __future__ import annotations

from support.kafka import Consumer

from consumer.core.admission import Admission
from consumer.core.checkpoint import CheckoutCheckpoint, OfferCheckpoint
from consumer.core.rules import DecisionRules
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.events import CheckoutCompleted, OfferPresented
from consumer.kafka.start_offsets import StartOffsets
from consumer.settings import KafkaSettings

SECOND = 1_000
T = 1_800_000_000_000
"""H as it was committed, with a lookback of 200 s."""

RULES = DecisionRules(100 * SECOND, 10 * SECOND, 400 * SECOND, 5 * SECOND, 5 * SECOND)


def test_one_straggler_is_no_sign_that_older_checkouts_are_still_there() -> None:
    """Retention has deleted all before offset 30, the purchase of `o` 100 s before H among them. What stands at 30 came
    an hour late, with its own date and stamp. Of the first twenty that are left, all others are from H on."""
    stamps = [T - 3_600 * SECOND, *(T + n * SECOND for n in range(311))]
    consumer = Consumer()
    consumer.begins["checkouts"], consumer.stamps["checkouts"] = 30, [0] * 30 + stamps
    offers = OfferCheckpoint((100 * SECOND, 10 * SECOND, 200 * SECOND, True), 1, T + 305 * SECOND, 7, 342)
    for topic, offset, text in (
        ("offers", 7, offers.encode(7)),
        ("checkouts", 31, CheckoutCheckpoint(1, 342, T, lookback=200 * SECOND).encode(31)),
    ):
        consumer.committed_offsets[topic, 0], consumer.texts[topic, 0, offset] = offset, text
    settings = KafkaSettings(offer_topic="offers", checkout_topic="checkouts")
    start = StartOffsets(settings, RULES, 1).of(consumer, [0])[0]  # type: ignore[arg-type]

    task = Task(RULES, partitions=1, offers=start.offers, checkouts=start.checkouts, horizon=start.horizon)
    now = T + 330 * SECOND
    for offset, stamp in enumerate(stamps, 30):
        if offset >= start.checkouts.offset:
            task.checkout(CheckoutCompleted("others", f"c{offset}", stamp, offset), stamp, now)
    shown = OfferPresented("s", "P", "o", T + 250 * SECOND, 7)  # looks back to T - 150 s
    verdict = task.offer(shown, shown.presented_at, now)
    for side in Side:
        task.idle(side, T + 1_000 * SECOND)
    assert (verdict, [chain.offer_id for chain in task.decide()]) == (Admission.CUT_OFF, [])
