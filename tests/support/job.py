"""The whole job at a small size: customers' events are written, and the calls are judged from outside."""

from __future__ import annotations

import time

from confluent_kafka import Consumer, TopicPartition
from support.deployment import GRACE_MS, LATENESS_MS, LOOKBACK_MS, PARTITIONS, WINDOW_MS, Deployment, now, until

from consumer.audit.calls import Judgement, ReferenceRules, judge_from_topics
from consumer.demo.feed import feed
from consumer.demo.generator import Plan, generate

RULES = ReferenceRules(WINDOW_MS, GRACE_MS, LOOKBACK_MS)


def plan(events: int, span: int, seed: int) -> Plan:
    return Plan(
        events=events,
        span=span,
        window=WINDOW_MS,
        grace=GRACE_MS,
        lookback=LOOKBACK_MS,
        lateness=LATENESS_MS // 2,
        seed=seed,
    )


def write(deployment: Deployment, what: Plan, *, paced: bool) -> int:
    return feed(
        generate(what),
        bootstrap=deployment.bootstrap,
        offer_topic=deployment.offer_topic,
        checkout_topic=deployment.checkout_topic,
        base_ms=now() if paced else now() - what.span - 60_000,
        paced=paced,
    )


def judged(deployment: Deployment) -> Judgement:
    topics = deployment.offer_topic, deployment.checkout_topic
    return judge_from_topics(deployment.bootstrap, topics, deployment.api.log_path, RULES)


def wait_until_all_is_settled(deployment: Deployment, within: float = 60) -> None:
    """Wait until everything presented so far is settled and committed.

    Fails `within` seconds after the last call or commit, since a busy machine takes long for all of them, but not later
    than after ten times that: calls may go on for ever.
    """
    total = sum(ends_of(deployment).values())
    progress, deadline, last = (0, 0), time.monotonic() + within, time.monotonic() + 10 * within
    while True:
        settled = sum(max(offset, 0) for offset, _ in deployment.committed(deployment.offer_topic).values())
        if settled == total:
            return
        before, progress = progress, (settled, deployment.api.log_path.stat().st_size)
        if progress != before:
            deadline = min(last, time.monotonic() + within)
        assert time.monotonic() < deadline, f"{settled} of {total} offers settled and committed, and no more"
        time.sleep(0.1)


def ends_of(deployment: Deployment) -> dict[int, int]:
    consumer = Consumer({"bootstrap.servers": deployment.bootstrap, "group.id": "ends"})
    try:
        return {
            p: consumer.get_watermark_offsets(TopicPartition(deployment.offer_topic, p), timeout=20)[1]
            for p in range(PARTITIONS)
        }
    finally:
        consumer.close()


def assert_nothing_missed_and_nothing_false(found: Judgement) -> None:
    assert found.holds, f"missed {found.missed[:3]} false {found.false[:3]} early {found.early[:3]}"
    assert found.to_call > 0
    assert found.bought > 0


def whole_assignment(deployment: Deployment, members: int) -> dict[str, dict[str, set[int]]]:
    """The assignment once every partition of both topics is with one of so many members."""

    def settled() -> dict[str, dict[str, set[int]]] | None:
        found = deployment.assigned()
        for topic in (deployment.offer_topic, deployment.checkout_topic):
            if sorted(p for topics in found.values() for p in topics.get(topic, ())) != list(range(PARTITIONS)):
                return None
        return found if len(found) == members else None

    return until(settled, within=40, what=f"{members} members to share all partitions")
