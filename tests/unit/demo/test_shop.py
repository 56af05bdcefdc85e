"""The demo's customers, on the embedded broker."""

from __future__ import annotations

import time
from collections.abc import Iterator

from consumer.demo.broker import embedded_broker, make_topics
from consumer.demo.formats import PlainFormat
from consumer.demo.generator import Event, Plan, generate
from consumer.demo.service import TOPICS
from consumer.demo.shop import Shop

PLAN = Plan(events=40, span=50, window=40, grace=5, lookback=80, lateness=10)


def ended(shop: Shop) -> Shop:
    """Once the last event of its plans is written."""
    deadline = time.monotonic() + 60
    while not shop.closed:
        assert time.monotonic() < deadline, "customers still write"
        time.sleep(0.01)
    return shop


def test_customers_write_every_plan_and_what_they_wrote_is_remembered() -> None:
    plans = [generate(PLAN), generate(PLAN)]
    with embedded_broker() as bootstrap:
        make_topics(bootstrap, TOPICS)
        shop = Shop(bootstrap, plans, PlainFormat())
        with shop.open():
            ended(shop)
    presented, completed = shop.events()
    checkouts = sum(event.is_checkout for plan in plans for event in plan)
    assert shop.failure is None
    assert (len(completed), shop.checkouts) == (checkouts, checkouts)
    assert len(presented) == shop.offers == sum(map(len, plans)) - checkouts > 0


def test_when_the_checkouts_stop_only_offers_are_written() -> None:
    with embedded_broker() as bootstrap:
        make_topics(bootstrap, TOPICS)
        shop = Shop(bootstrap, [generate(PLAN)], PlainFormat())
        shop.checkouts_stop = True
        with shop.open():
            ended(shop)
    assert (shop.checkouts, shop.offers > 0) == (0, True)


def test_customers_without_end_go_home_when_they_are_asked_to_and_nothing_is_remembered() -> None:
    made: list[int] = []

    def for_ever() -> Iterator[list[Event]]:
        while True:
            made.append(1)
            yield generate(PLAN)

    with embedded_broker() as bootstrap:
        make_topics(bootstrap, TOPICS)
        shop = Shop(bootstrap, for_ever(), PlainFormat(), remembers=False)
        with shop.open():
            while len(made) < 3:
                assert not shop.closed, shop.failure
                time.sleep(0.01)
    assert (shop.closed, shop.events()) == (True, ([], []))
    assert shop.offers > 0
