"""What one partner's trouble costs the others: nothing but what they share. Real HTTP, from a process of its own.

The delivery runs in this process, with the transport that ships; the wait between probes is shortened, or a test would
take minutes. `test_one_partners_403_...` has the whole consumer, a broker, and the wait as it is.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from support.delivery_world import states
from support.deployment import deployed, now, until
from support.owner import OWNER

from consumer.backoff import full_jitter
from consumer.calls import CallResult, OptOutCall
from consumer.delivery import breaker
from consumer.delivery import partner as partner_module
from consumer.delivery import queue as calls
from consumer.delivery.thread import DeliveryThread
from consumer.emulator import emulator
from consumer.emulator.call_log import Call
from consumer.emulator.emulator import DEMO_KEY, DEMO_SECRET, Emulator
from consumer.events import Outcome, Reason, RecordRef
from consumer.settings import ApiSettings, DeliverySettings
from consumer.xcover.api import connect

PROBE_S = 1.0
RETRY_AFTER_MS = 1_000
"""What the emulator asks for with a 429."""


class Insured:
    """A delivery and the emulator that it calls."""

    def __init__(self, api: Emulator, thread: DeliveryThread) -> None:
        self.api = api
        self.thread = thread
        self.results: list[CallResult] = []

    def submit(self, partner: str, *offer_ids: str) -> None:
        self.thread.submit(
            OptOutCall(partner, offer, "session", Reason.DECLINED, {}, RecordRef("offer.presented", 0, 1), OWNER, 1)
            for offer in offer_ids
        )

    def outcomes(self, partner: str) -> dict[str, Outcome | None]:
        while True:
            try:
                self.results.append(self.thread.results.get_nowait())
            except queue.Empty:
                break
        return {r.call.offer_id: r.outcome for r in self.results if r.call.partner_code == partner}

    def calls(self, partner: str) -> list[Call]:
        return [call for call in self.api.calls() if call.partner_code == partner]

    def wait_for(self, partner: str, count: int, within: float = 30) -> None:
        until(lambda: len(self.outcomes(partner)) >= count, within=within, what=f"{count} settled of {partner}")

    def state(self, partner: str) -> str:
        """By a snapshot that was begun after this was asked: the newest may be half a second old."""
        seen = self.thread.snapshot()
        until(lambda: self.thread.snapshot() is not seen, within=10, what="a newer snapshot")
        return states(self.thread.snapshot()).get(partner, "nothing waits")


@contextmanager
def insured(folder: Path, scenario: str, own_keys: tuple[str, ...] = (), **delivery: object) -> Iterator[Insured]:
    """`own_keys` are partners with a credential of their own; the others share one."""
    credentials = {partner: {"key": f"key-{partner}", "secret": f"secret-{partner}"} for partner in own_keys}
    known = {DEMO_KEY: DEMO_SECRET} | {c["key"]: c["secret"] for c in credentials.values()}
    with emulator.running(folder / "calls.jsonl", scenario=scenario, credentials=known) as api:
        settings = {"base_url": api.base_url, "key": DEMO_KEY, "secret": DEMO_SECRET, "credentials": credentials}
        thread = DeliveryThread(
            partial(connect, ApiSettings.model_validate(settings | {"timeout": "3s"})),
            DeliverySettings.model_validate({"rate_limit": 0, "concurrency": 8, **delivery}),
        )
        thread.start()
        try:
            yield Insured(api, thread)
            thread.check()
        finally:
            thread.stop(0.5)


@pytest.fixture
def short_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partner_module, "CREDENTIALS_PROBE_S", PROBE_S)


def numbered(count: int, prefix: str = "o") -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


def test_a_403_stops_its_partner_but_for_probes_in_turn_and_no_other(tmp_path: Path, short_probes: None) -> None:
    with insured(tmp_path, "BAD:403; 204") as world:
        world.submit("BAD", *numbered(100))
        until(lambda: world.calls("BAD"), within=10, what="the first call")
        world.submit("GOOD", *numbered(300))
        world.wait_for("GOOD", 300, within=20)
        until(lambda: len(world.calls("BAD")) >= 8 + 3, within=20, what="three probes")
        assert "credentials refused, next probe in" in world.state("BAD")
        calls = world.calls("BAD")
        offers = [call.offer_id for call in calls]
        assert offers == numbered(len(calls)), "in turn: none twice while others have not been tried"
        gaps = [(b.time_ms - a.time_ms) / 1000 for a, b in pairwise(calls[8:])]
        # By when they arrived: the way of one may have taken longer than that of the next.
        assert all(gap >= 0.9 * PROBE_S for gap in gaps), gaps
        assert world.outcomes("BAD") == {}
        world.api.set_scenario("204")
        world.wait_for("BAD", 100)
        assert set(world.outcomes("BAD").values()) == {Outcome.OPTED_OUT}


def test_a_poisoned_offer_answered_403_does_not_hold_its_partners_others(tmp_path: Path, short_probes: None) -> None:
    with insured(tmp_path, "P/poisoned:403; 204", rate_limit=50) as world:
        world.submit("P", "poisoned", *numbered(200))
        began = time.monotonic()
        world.wait_for("P", 200)
        assert time.monotonic() - began < 200 / 50 + 2 * PROBE_S + 2
        assert "poisoned" not in world.outcomes("P")
        until(lambda: "1 refused by the API" in world.state("P"), within=10, what="its own refusal to be told")


def test_a_partner_that_hangs_leaves_half_of_the_slots_to_others(tmp_path: Path) -> None:
    with insured(tmp_path, "HANGS:hang; 204") as world:
        world.submit("GOOD", *numbered(500))
        world.submit("HANGS", *numbered(50))
        world.wait_for("GOOD", 500, within=20)
        last = max(call.time_ms for call in world.calls("GOOD"))
        first_at = min(call.time_ms for call in world.calls("HANGS"))
        assert last - first_at < 3_000, "all within the time-out of the first call that hangs"
        assert sum(call.time_ms < last for call in world.calls("HANGS")) == 4, "half of the slots"
        until(lambda: "failing, next probe" in world.state("HANGS"), within=20, what="its breaker to open")
        world.api.set_scenario("204")
        world.wait_for("HANGS", 50, within=60)


def test_a_partner_whose_calls_fail_is_probed_one_at_a_time_and_others_go_on(tmp_path: Path) -> None:
    with insured(tmp_path, "FAILS:503; 204") as world:
        world.submit("FAILS", *numbered(500))
        until(lambda: "failing, next probe" in world.state("FAILS"), within=10, what="its breaker to open")
        world.submit("GOOD", *numbered(500))
        world.wait_for("GOOD", 500)
        assert len(world.calls("FAILS")) < 40
        world.api.set_scenario("204")
        world.wait_for("FAILS", 500, within=60)


@pytest.mark.parametrize(("answer", "state"), [("404", "nothing but 404s"), ("404-html", "failing, next probe")])
def test_a_flood_of_404s_is_not_believed_and_those_of_others_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, state: str
) -> None:
    for module in (breaker, calls):  # after a slow first part the next try may be a minute away
        monkeypatch.setattr(module, "full_jitter", partial(full_jitter, cap_s=2.0))
    with insured(tmp_path, f"FLOOD:{answer}; GOOD/lost:404; 204") as world:
        world.submit("FLOOD", *numbered(60))
        until(lambda: state in world.state("FLOOD"), within=10, what="the guard or the breaker to speak")
        world.submit("GOOD", *numbered(100), "lost")
        until(lambda: "lost" in {call.offer_id for call in world.calls("GOOD")}, within=20, what="the call of lost")
        world.submit("GOOD", "next")  # its 204 ends the run of one 404, which is believed by that
        world.wait_for("GOOD", 102)
        believed = dict.fromkeys([*numbered(100), "next"], Outcome.OPTED_OUT) | {"lost": Outcome.NOT_FOUND}
        assert world.outcomes("GOOD") == believed
        assert world.outcomes("FLOOD") == {}
        # One 204 shows that the route is right, and no more: those behind it are a run of their own.
        world.api.set_scenario("FLOOD/o0:204; FLOOD:404; 204")
        world.wait_for("FLOOD", 1)
        until(lambda: "nothing but 404s" in world.state("FLOOD"), within=20, what="the guard to speak again")
        fates = world.outcomes("FLOOD")
        assert fates.pop("o0") is Outcome.OPTED_OUT
        # Where they were no such 404s before, some may have come since, and were ended by that 204.
        assert set(fates.values()) <= {Outcome.NOT_FOUND}
        assert len(fates) < 20
        world.api.set_scenario("204")
        world.wait_for("FLOOD", 60)
        assert world.outcomes("FLOOD") == dict.fromkeys(numbered(60), Outcome.OPTED_OUT) | fates


def test_retry_after_gates_all_calls_of_the_credential_and_of_no_other(tmp_path: Path) -> None:
    with insured(tmp_path, "A:429; 204", own_keys=("OTHER",), rate_limit=20) as world:
        world.submit("A", "a")
        until(lambda: world.calls("A"), within=10, what="the 429")
        until(lambda: "told to wait" in world.state("A"), within=10, what="the gate")
        world.submit("SHARES", *numbered(3))
        world.submit("OTHER", *numbered(30))
        world.wait_for("OTHER", 30)
        world.wait_for("SHARES", 3)
        gate = [call.time_ms for call in world.calls("A")]
        for call in world.calls("SHARES"):
            assert not any(0 < call.time_ms - shut < RETRY_AFTER_MS - 20 for shut in gate), "called while gated"
        within = [call for call in world.calls("OTHER") if 0 < call.time_ms - gate[0] < RETRY_AFTER_MS]
        # At 20 a second; how many come out of it is for the machine to say.
        assert len(within) >= 3, "another credential goes on"


def test_an_offer_that_is_refused_holds_none_of_its_partners_others(tmp_path: Path) -> None:
    with insured(tmp_path, "P/bad:422; 204") as world:
        world.submit("P", "bad", *numbered(200))
        world.wait_for("P", 200)
        assert "bad" not in world.outcomes("P")
        assert world.state("P") == "1 refused by the API"
        assert len([call for call in world.calls("P") if call.offer_id == "bad"]) == 1


def test_two_instances_share_the_rate_by_their_tasks_for_each_credential(tmp_path: Path) -> None:
    rate = 20.0
    with insured(tmp_path, "204", ("B",), rate_limit=rate) as one:
        two = DeliveryThread(one.thread._connect, DeliverySettings.model_validate({"rate_limit": rate}))
        two.start()
        try:
            one.thread.set_share(1 / 4)
            two.set_share(3 / 4)
            other = Insured(one.api, two)
            for world in (one, other):
                for partner in ("A", "B"):
                    world.submit(partner, *numbered(200))
            until(lambda: len(one.api.calls()) >= 2 * 4 * rate, within=30, what="four seconds' worth of calls")
            for partner in ("A", "B"):
                times = [call.time_ms for call in one.calls(partner)]
                whole = range(times[0], times[-1] - 1_000, 100)
                assert len(whole) > 10
                for start in whole:
                    assert sum(start <= t < start + 1_000 for t in times) <= rate + 3, "a call or two may be delayed"
            mine, theirs = len(one.outcomes("A")), len(other.outcomes("A"))
            assert mine / (mine + theirs) == pytest.approx(1 / 4, abs=0.05)
        finally:
            two.stop(0)


def test_one_partners_403_holds_its_offers_and_no_others_and_ends_by_itself(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, scenario="BAD:403; 204") as deployment:
        for n in range(40):
            deployment.present(f"bad-{n}", session=f"s{n}", partner="BAD", at=now() - 20_000)
            deployment.present(f"good-{n}", session=f"s{n}", partner="GOOD", at=now() - 20_000)
        deployment.flush()
        process = deployment.start(DELIVERY__CONCURRENCY="4")
        until(lambda: len(deployment.settled()) == 40, within=40, what="the other partner's offers to be settled")
        assert {o.partner_code for o in deployment.outcomes()} == {"GOOD"}
        assert deployment.committed_total() < 80, "a commit went past what is not settled"

        def tried() -> list[Call]:
            return [call for call in deployment.api.calls() if call.partner_code == "BAD"]

        before = len(tried())
        until(lambda: len(tried()) > before, within=45, what="a probe")
        assert 29.5 < (tried()[before].time_ms - tried()[before - 1].time_ms) / 1000 < 33
        assert len({call.offer_id for call in tried()}) == len(tried()) <= 6, "one at a time, in turn"
        deployment.api.set_scenario("204")
        until(lambda: deployment.committed_total() == 80, within=60, what="its offers to be settled once accepted")
        assert len(process.lines("credentials accepted: calls go on")) == 1


def test_of_5000_404s_after_one_204_none_is_believed_and_each_is_told_once_the_route_is_right(tmp_path: Path) -> None:
    offers = [f"offer-{number}" for number in range(5_000)]
    with insured(tmp_path, "ACME/known:204; 404", concurrency=64) as world:
        world.submit("ACME", "known")
        world.wait_for("ACME", 1)
        world.submit("ACME", *offers)
        log = world.api.log_path
        until(lambda: log.read_bytes().count(b"\n") > 5_000, within=120, what="5,000 calls")
        assert len({call.offer_id for call in world.calls("ACME")}) > 2_500, "most were answered, not a few again"
        assert world.outcomes("ACME") == {"known": Outcome.OPTED_OUT}
        assert "nothing but 404s" in world.state("ACME")
        world.api.set_scenario("204")
        world.wait_for("ACME", 5_001, within=120)
        assert set(world.outcomes("ACME").values()) == {Outcome.OPTED_OUT}
