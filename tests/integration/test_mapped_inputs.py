"""Topics of another shape, in JSON: found by their own paths, as a shop has them, at a real Kafka."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from support.deployment import AGE, Deployment, deployed, headers, now, until
from support.run_command import opt_out

from consumer.core.checkpoint import OfferCheckpoint
from consumer.events import Outcome, Reason

OFFERS = {"offer_id": "offer.id", "partner_code": "$headers.tenant", "session_id": "$key", "presented_at": "at"}
CHECKOUTS = {
    "session_id": "cart.session",
    "checkout_id": "cart.id",
    "completed_at": "at",
    "purchased_offer_ids": "cart.items[?type=='insurance'].offerId",
}
SETTINGS = {
    "INPUT__OFFERS__FORMAT": "json",
    "INPUT__OFFERS__TIME": "iso8601",
    "INPUT__OFFERS__WHEN": "eventType == 'OFFER_SHOWN'",
    "INPUT__OFFERS__FIELDS": json.dumps(OFFERS),
    "INPUT__CHECKOUTS__FORMAT": "json",
    "INPUT__CHECKOUTS__TIME": "us",
    "INPUT__CHECKOUTS__FIELDS": json.dumps(CHECKOUTS),
}


def send(deployment: Deployment, topic: str, session: str, document: dict[str, Any], at: int, **more: Any) -> None:
    deployment.produce(topic, session, json.dumps(document).encode(), at, **more)


def show(deployment: Deployment, offer_id: str, session: str, kind: str = "OFFER_SHOWN", at: int | None = None) -> None:
    at = now() - AGE if at is None else at
    document = {
        "eventType": kind,
        "at": datetime.fromtimestamp(at / 1_000, UTC).isoformat(),
        "offer": {"id": offer_id, "premium": 12.5},
    }
    send(deployment, deployment.offer_topic, session, document, at, headers={"tenant": "ACME"})


def check_out(deployment: Deployment, session: str, items: list[dict[str, Any]]) -> None:
    at = now() - AGE + 1_000
    cart = {"session": session, "id": f"c-{session}", "items": items}
    send(deployment, deployment.checkout_topic, session, {"at": at * 1_000, "cart": cart}, at)


def test_offers_and_purchases_are_found_where_the_settings_say(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(1, 1), settings=SETTINGS) as deployment:
        for session, offer_id in (("s1", "declined"), ("s2", "bought"), ("s3", "doubtful"), ("s4", "left alone")):
            show(deployment, offer_id, session)
            show(deployment, f"hidden-{offer_id}", session, "OFFER_HIDDEN")
        flight = {"type": "flight", "offerId": "f1"}
        check_out(deployment, "s1", [flight])
        check_out(deployment, "s2", [flight, {"type": "insurance", "offerId": "bought"}])
        check_out(deployment, "s3", [flight, {"type": "insurance", "offerID": "doubtful"}])
        deployment.flush()
        process = deployment.start()
        until(lambda: deployment.committed_total() == 8, within=60, what="all offers to be settled")
        assert sorted(deployment.called()) == ["declined", "left alone"]
        fates = {outcome.offer_id: (outcome.outcome, outcome.reason) for outcome in deployment.outcomes()}
        assert fates == {
            "declined": (Outcome.OPTED_OUT, Reason.DECLINED),
            "bought": (Outcome.PURCHASED, Reason.PURCHASED),
            "doubtful": (Outcome.DEAD_LETTERED, Reason.CHECKOUT_UNREADABLE),
            "left alone": (Outcome.OPTED_OUT, Reason.ABANDONED),
        }
        assert {outcome.partner_code for outcome in deployment.outcomes()} == {"ACME"}
        (dead,) = deployment.dead_letters()
        told = headers(dead)
        assert told["reason"] == "undecodable"
        assert told["error"] == f"purchased_offer_ids ({CHECKOUTS['purchased_offer_ids']}): there is no 'offerId'"
        assert process.terminate() == 0


def test_a_misspelt_path_stops_the_service_and_calls_nothing(real_kafka, tmp_path: Path) -> None:
    misspelt = json.dumps({**CHECKOUTS, "purchased_offer_ids": "cart.item[].offerId"})
    settings = {**SETTINGS, "INPUT__CHECKOUTS__FIELDS": misspelt, "DEAD_LETTER__MAX_RUN": "5"}
    with deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(1, 1), settings=settings) as deployment:
        for number in range(10):
            show(deployment, f"o{number}", f"s{number}")
            check_out(deployment, f"s{number}", [{"type": "insurance", "offerId": f"o{number}"}])
        deployment.flush()
        process = deployment.start()
        assert process.popen.wait(60) == 1
        assert "cannot be used, the last because: purchased_offer_ids (cart.item[].offerId): there is no 'item'" in (
            process.text()
        )
        assert deployment.called() == []


def test_the_newest_records_and_what_becomes_of_them_are_shown_before_anything_is_started(
    real_kafka, tmp_path: Path
) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(3, 3), settings=SETTINGS) as deployment:
        begin = now()
        for number in range(7):
            show(deployment, f"o{number}", f"s{number}", at=begin + number)
        show(deployment, "hidden", "s1", "OFFER_HIDDEN", at=begin + 7)
        check_out(deployment, "s1", [{"type": "insurance", "offerId": "o1"}])
        deployment.flush()
        environ = {name: value for name, value in deployment.environ().items() if name.startswith("OPT_OUT_")}
        found = opt_out("map", "--sample", "5", "--output", "json", **environ)
        assert (found.returncode, found.stderr) == (0, "")
        told = json.loads(found.stdout)
        assert [(row["fate"], row["event"] and row["event"]["offer_id"]) for row in told["offers"]] == [
            *(("read", f"o{number}") for number in range(3, 7)),
            ("left out", None),
        ]
        assert [row["event"]["purchased_offer_ids"] for row in told["checkouts"]] == [["o1"]]
        assert deployment.committed(deployment.offer_topic)[0] == (-1001, ""), "it commits nothing"

        check_out(deployment, "s2", [{"type": "insurance", "offerID": "o2"}])
        deployment.flush()
        failed = opt_out("map", **environ)
        assert failed.returncode == 1
        assert "undecodable" in failed.stdout
        assert "there is no 'offerId'" in failed.stdout
        assert "of 2 records 1 read, 1 undecodable" in failed.stdout

        missing = opt_out("map", **environ | {"OPT_OUT_KAFKA__OFFER_TOPIC": "ofer.presented"})
        assert (missing.returncode, missing.stdout) == (1, "")
        assert "ofer.presented: the brokers tell no partition of it" in missing.stderr


PAGE = {
    "offer_id": "id",
    "partner_code": "$record.shop",
    "session_id": "$key",
    "presented_at": "$record.at",
    "price": "to_string($record.premiums[0])",
}
PAGES = {
    "INPUT__OFFERS__FORMAT": "json",
    "INPUT__OFFERS__EACH": "offers[?kind=='insurance']",
    "INPUT__OFFERS__FIELDS": json.dumps(PAGE),
}


def show_page(deployment: Deployment, session: str, *offer_ids: str, at: int | None = None) -> None:
    at = now() - AGE if at is None else at
    offers = [{"kind": "hotel", "id": "h"}, *({"kind": "insurance", "id": offer_id} for offer_id in offer_ids)]
    page = {"shop": "ACME", "at": at, "premiums": [12.5], "offers": offers}
    send(deployment, deployment.offer_topic, session, page, at)


def test_each_offer_of_a_page_has_its_own_fate_and_the_page_is_committed_when_all_have(
    real_kafka, tmp_path: Path
) -> None:
    with deployed(
        real_kafka.bootstrap_servers,
        tmp_path,
        partitions=(1, 1),
        settings={**PAGES, "KAFKA__START_FROM": "earliest"},
        scenario="ACME/held:422; 204",
    ) as deployment:
        show_page(deployment, "s1", "declined", "bought", "held")
        show_page(deployment, "s2")
        show_page(deployment, "s3", "left alone", "left too")
        deployment.check_out("bought", session="s1", at=now() - AGE + 1_000)
        deployment.flush()
        process = deployment.start()
        until(lambda: len(deployment.outcomes()) == 4, within=60, what="all but one offer to be settled")
        until(
            lambda: listed(deployment) == {2}, within=10, what="a commit that lists the third offer of the first page"
        )
        assert sorted(deployment.settled()) == ["declined", "left alone", "left too"]
        assert deployment.committed(deployment.offer_topic)[0][0] == 0
        fates = {outcome.offer_id: (outcome.outcome, outcome.source.offset) for outcome in deployment.outcomes()}
        assert fates == {
            "declined": (Outcome.OPTED_OUT, 0),
            "bought": (Outcome.PURCHASED, 0),
            "left alone": (Outcome.OPTED_OUT, 2),
            "left too": (Outcome.OPTED_OUT, 2),
        }
        assert {outcome.details.price for outcome in deployment.outcomes()} == {"12.5"}
        process.kill()

        calls = len(deployment.called())
        again = deployment.start()
        until(lambda: deployment.called()[calls:], within=60, what="the one that is held to be called again")
        assert deployment.called()[calls:] == ["held"]
        assert again.terminate() == 0

        shown = opt_out("map", "--output", "json", **ours(deployment))
        pages = json.loads(shown.stdout)["offers"]
        assert [row["fate"] for row in pages] == ["read", "left out", "read"]
        assert [one["offer_id"] for one in pages[0]["event"]] == ["declined", "bought", "held"]

        deployment.api.set_scenario("204")
        third = deployment.start()
        until(lambda: deployment.committed_total() == 3, within=60, what="all pages to be committed")
        assert deployment.called()[calls + 1 :] == ["held"]
        assert third.terminate() == 0
        assert deployment.dead_letters() == []


def test_another_each_is_refused_until_an_operator_says_yes(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(1, 1), settings=PAGES) as deployment:
        show_page(deployment, "s1", "a", "b")
        deployment.flush()
        first = deployment.start()
        until(lambda: deployment.committed_total() == 1, within=60, what="the page to be committed")
        assert first.terminate() == 0

        other = {"INPUT__OFFERS__EACH": "offers"}
        refused = deployment.start(**other)
        assert refused.popen.wait(60) == 1
        assert "another input.offers.each" in refused.text()
        assert "opt-out positions --reset-to TIME" in refused.text()
        until(lambda: not deployment.assigned(), within=30, what="the group to be empty")
        told = opt_out("positions", **ours(deployment, **other))
        assert "no: another input.offers.each" in told.stdout
        accepted = opt_out("positions", "--accept", **ours(deployment, **other))
        assert (accepted.returncode, accepted.stderr) == (0, "")

        show_page(deployment, "s2", "c", at=now())
        deployment.flush()
        second = deployment.start(**other)
        until(lambda: deployment.committed_total() == 2, within=60, what="the second page to be committed")
        assert second.terminate() == 0
        assert deployment.called()[2:] == ["h", "c"], "what was called before is taken for settled"


def listed(deployment: Deployment) -> frozenset[int]:
    offset, metadata = deployment.committed(deployment.offer_topic)[0]
    return OfferCheckpoint.decode(metadata, offset).unsettled if metadata else frozenset()


def ours(deployment: Deployment, **settings: str) -> dict[str, str]:
    return {name: value for name, value in deployment.environ(**settings).items() if name.startswith("OPT_OUT_")}
