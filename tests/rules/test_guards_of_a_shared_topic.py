"""Records of another kind, which `input.offers.when` passes over, hide no mass of what is wrong with ours.

One offer in twenty records is nothing unusual in a topic of page events. All records are of one partition.
"""

from __future__ import annotations

import json

import pytest
from support.builders import NOW, raw
from support.kafka import Message
from support.runner_world import RULES, FakeRecordReader, Sink, edges, pass_time

from consumer.codecs.inputs import codec_of
from consumer.core.checkpoint import Position
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.errors import TooManyDeadLettersError
from consumer.runtime.bad_record_limit import BadRecordLimit
from consumer.runtime.late_run import BURST, HELD
from consumer.runtime.runner import TaskRunner
from consumer.settings import DeadLetterSettings, Settings

CODEC = codec_of(
    Settings(
        input={
            "offers": {"format": "json", "when": "kind == 'OFFER_SHOWN'", "fields": {"presented_at": "at"}},
            "checkouts": {"format": "json", "when": "kind == 'PAID'", "fields": {"completed_at": "at"}},
        }
    )
)
SHARE = 20
"""Of so many records one is ours."""

OFFERS = 5_000
DEFAULTS = DeadLetterSettings()


def runner() -> tuple[TaskRunner, Sink]:
    sink = Sink()
    made = TaskRunner(
        0,
        Task(RULES, partitions=1, offers=Position(0), checkouts=Position(0)),
        topics=("offers", "checkouts"),
        edges=edges(outputs=sink, record_reader=FakeRecordReader(), codec=CODEC),
        bad_records=tuple(BadRecordLimit(t, DEFAULTS.max_run, DEFAULTS.max_ratio) for t in ("offers", "checkouts")),
        late_limit=DEFAULTS.late_run,
    )
    return made, sink


def event(topic: str, offset: int, stamp: int, **fields: object) -> Message:
    value: dict[str, object] = {"session_id": f"s{offset}", "at": stamp, **fields}
    return raw(topic, offset, f"s{offset}", json.dumps(value).encode(), stamp)


def read_until_it_stops(made: TaskRunner, side: Side, kind: str, **fields: object) -> None:
    for offset in range(OFFERS * SHARE):
        one = {"kind": "PAGE_VIEW"} if offset % SHARE else {"kind": kind, **fields}
        made.on_message(side, event(("offers", "checkouts")[side], offset, 10_000, **one), NOW)


@pytest.mark.parametrize(
    ("side", "kind", "fields"),
    [
        (Side.OFFERS, "OFFER_SHOWN", {"partner_code": "P", "offerId": "o"}),
        (Side.CHECKOUTS, "PAID", {"checkout_id": "c", "ids": ["o"]}),
    ],
)
def test_a_producer_that_renames_a_field_does_not_drain_the_topic(
    side: Side, kind: str, fields: dict[str, object]
) -> None:
    made, sink = runner()
    with pytest.raises(TooManyDeadLettersError):
        read_until_it_stops(made, side, kind, **fields)
    assert len(sink.dead) == DEFAULTS.max_run + 1


@pytest.mark.parametrize("dated", [100, NOW + 2_000_000], ids=["late: the end of an outage", "dated ahead"])
def test_a_mass_of_late_or_misdated_offers_is_kept_back(dated: int) -> None:
    made, sink = runner()
    pass_time(made, 500_000)  # the topics were silent: the watermark went with the clock
    made.decide()
    for offset in range(OFFERS * SHARE):
        offer = {"kind": "OFFER_SHOWN", "partner_code": "P", "offer_id": f"o{offset}"}
        fields = {"kind": "PAGE_VIEW"} if offset % SHARE else offer
        value = json.dumps({"session_id": f"s{offset}", "at": dated, **fields}).encode()
        made.on_message(Side.OFFERS, raw("offers", offset, f"s{offset}", value, min(dated, 500_000)), NOW)
        made.judge_late_run(NOW)
    assert made.late_run.suspended
    assert len(sink.dead) < BURST


def test_stragglers_among_others_of_another_kind_are_told_from_a_mass() -> None:
    """One misdated offer in ten of ours is borne by the default limit."""
    made, sink = runner()
    pass_time(made, 500_000)
    made.decide()
    late = 0
    for offset in range(300 * SHARE):
        if offset % SHARE:
            fields: dict[str, object] = {"kind": "PAGE_VIEW"}
        else:
            late += (is_late := offset % (10 * SHARE) == 0)
            fields = {"kind": "OFFER_SHOWN", "partner_code": "P", "offer_id": "o", "at": 100 if is_late else 600_000}
        made.on_message(Side.OFFERS, event("offers", offset, 600_000, **fields), NOW)
        made.late_run._begun_at -= 2 * HELD
        made.judge_late_run(NOW)
    assert not made.late_run.suspended
    assert [reason for _, reason in sink.dead] == ["implausible_time"] * late
