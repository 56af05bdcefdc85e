"""Offers that were presented, left-joined with the checkouts of their session, by Quix Streams.

Each pair is a verdict. Its left join also emits an offer at once that no checkout has come for so far, without waiting
for the window to end: that verdict is to call, and what comes later cannot take it back.

Settings, by the environment: BOOTSTRAP, GROUP, OFFERS, CHECKOUTS, VERDICTS (topics), SCHEMAS and STATE (folders),
WINDOW_MS, LOOKBACK_MS, LATENESS_MS.
"""

import json
import os
import time
from pathlib import Path

from quixstreams import Application
from quixstreams.models.serializers.avro import AvroDeserializer, AvroSerializer

WINDOW, LOOKBACK, LATENESS = (int(os.environ[name]) for name in ("WINDOW_MS", "LOOKBACK_MS", "LATENESS_MS"))


def schema_of(name):
    """The schema with times as plain numbers: what is kept in the state has to be JSON."""
    schema = json.loads((Path(os.environ["SCHEMAS"]) / name).read_text())
    for field in schema["fields"]:
        if isinstance(field["type"], dict) and field["type"].get("logicalType"):
            field["type"] = field["type"]["type"]
    return schema


def verdict(offer, checkout):
    """What the pair says of the offer; without a checkout it was not bought so far."""
    bought = checkout is not None and offer["offer_id"] in checkout["purchased_offer_ids"]
    reason = "PURCHASED" if bought else "ABANDONED" if checkout is None else "DECLINED"
    return {
        "offer_id": offer["offer_id"],
        "partner_code": offer["partner_code"],
        "session_id": offer["session_id"],
        "outcome": "PURCHASED" if bought else "OPTED_OUT",
        "reason": reason,
        "checkout_id": None if checkout is None else checkout["checkout_id"],
        "presented_at": offer["presented_at"],
        "decided_at": offer["presented_at"] + WINDOW if checkout is None else checkout["completed_at"],
        "settled_at": int(time.time() * 1000),
        "status_code": None if bought else 204,
        "attempts": 0 if bought else 1,
        "product_code": offer["product_code"],
        "country": offer["country"],
        "currency": offer["currency"],
        "price": offer["price"],
        # A merger is not told where its records stand.
        "source": {"topic": os.environ["OFFERS"], "partition": -1, "offset": -1},
        "mode": "LIVE",
        "note": None,
    }


class Begun:
    """Says when the first records come."""

    said = False

    def __call__(self, *_):
        if not self.said:
            self.said = True
            print(f"begun {time.time()}", flush=True)


def main():
    app = Application(
        broker_address=os.environ["BOOTSTRAP"],
        consumer_group=os.environ["GROUP"],
        auto_offset_reset="earliest",
        commit_interval=5.0,
        state_dir=os.environ["STATE"],
        producer_extra_config={"linger.ms": 100},
        loglevel="WARNING",
    )
    offers, checkouts = (
        app.topic(
            os.environ[name], key_deserializer="str", value_deserializer=AvroDeserializer(schema=schema_of(schema))
        )
        for name, schema in (("OFFERS", "offer_presented.avsc"), ("CHECKOUTS", "checkout_completed.avsc"))
    )
    verdicts = app.topic(
        os.environ["VERDICTS"],
        key_serializer="str",
        value_serializer=AvroSerializer(schema=schema_of("offer_outcome.avsc")),
    )
    joined = (
        app.dataframe(offers)
        .update(Begun())
        .join_interval(
            app.dataframe(checkouts),
            how="left",
            on_merge=verdict,
            grace_ms=LOOKBACK + LATENESS,
            backward_ms=LOOKBACK,
            forward_ms=WINDOW,
        )
    )
    joined.to_topic(verdicts, key=lambda value: f"{value['partner_code']}/{value['offer_id']}")
    app.run()


if __name__ == "__main__":
    main()
