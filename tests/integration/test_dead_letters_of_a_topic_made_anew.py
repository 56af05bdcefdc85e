"""Dead letters of records that stood in one place one after the other, in a topic and in the one made anew."""

from __future__ import annotations

import json
from pathlib import Path

import brokers
from support.deployment import Deployment, deployed, headers, now
from support.letters import dead_letter, dead_letters, resubmit, resubmitted

JSON = {"INPUT__OFFERS__FORMAT": "json"}
"""By which what the tests write as JSON can be read: how a wrong setting is mended."""


def show_json(deployment: Deployment, offer: str) -> None:
    """An offer in JSON in the same partition as all others of these, dead-lettered as undecodable."""
    at = now()
    event = {"event_id": "e", "session_id": "s1", "partner_code": "ACME", "offer_id": offer, "presented_at": at}
    deployment.produce(deployment.offer_topic, "s1", json.dumps(event).encode(), at)
    deployment.flush()
    dead_letter(deployment, deployment.offer_topic, "undecodable")


def make_anew(deployment: Deployment) -> None:
    """Somebody deletes the offer topic and makes it anew."""
    deployment.make_anew(deployment.offer_topic)
    deployment.write_anew()


def test_a_record_of_a_topic_made_anew_is_not_the_one_that_stood_there_before(
    real_kafka: brokers.Broker, tmp_path: Path
) -> None:
    settings = {"JOIN__WINDOW": "60s", "JOIN__LOOKBACK": "120s"}  # so that none of them is late
    with deployed(real_kafka.bootstrap_servers, tmp_path, settings=settings) as deployment:
        show_json(deployment, "first")
        assert resubmit(deployment, "--all", **JSON) == (0, {"resubmitted": 1})
        make_anew(deployment)
        show_json(deployment, "second")
        make_anew(deployment)
        show_json(deployment, "third")
        letters = [m for m in deployment.dead_letters() if headers(m)["reason"] == "undecodable"]
        assert [headers(letter)["source.offset"] for letter in letters] == ["0", "0", "0"]
        listed = json.loads(dead_letters(deployment, "--output", "json", **JSON).stdout)
        assert (listed["dead_letters"], listed["resubmitted"]) == (3, 1)
        assert resubmit(deployment, "--all", **JSON) == (0, {"already": 1, "resubmitted": 2})
        written = [
            json.loads(message.value() or b"")["offer_id"]
            for message in resubmitted(deployment, deployment.offer_topic)
        ]
        assert written == ["second", "third"]
        assert resubmit(deployment, "--all", **JSON) == (0, {"already": 3})
        for letter in letters:
            place = f"{letter.partition()}:{letter.offset()}"
            shown = json.loads(dead_letters(deployment, "show", place, "--output", "json", **JSON).stdout)
            assert [note["from"] for note in shown["resubmitted"]] == [shown["dead_letter"]]
