"""The API emulator over real HTTP: strict about the request, true to the scenario, and logging every call."""

from __future__ import annotations

import asyncio
import base64
import hmac
from collections.abc import Iterator
from contextlib import suppress
from email.utils import formatdate
from io import StringIO
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from consumer.emulator.app import EmulatorApp
from consumer.emulator.call_log import CallLog
from consumer.emulator.emulator import DEMO_KEY, DEMO_SECRET, Emulator, ScenarioError, running
from consumer.emulator.scenario import Scenario


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with running(tmp_path_factory.mktemp("emulator") / "calls.jsonl", scenario="204") as emulator:
        yield emulator


@pytest.fixture
def emulator(shared: Emulator) -> Emulator:
    shared.set_scenario("204")
    return shared


def signed(key: str = DEMO_KEY, secret: str = DEMO_SECRET, date: str | None = None) -> dict[str, str]:
    date = formatdate(usegmt=True) if date is None else date
    signature = base64.b64encode(hmac.digest(secret.encode(), f"date: {date}".encode(), "sha512"))
    authorization = f'Signature keyId="{key}",algorithm="hmac-sha512",signature="{quote(signature, safe="")}"'
    return {"X-Api-Key": key, "Date": date, "Authorization": authorization}


def post(
    emulator: Emulator,
    offer_id: str,
    headers: dict[str, str] | None = None,
    content: bytes = b"{}",
    timeout: float = 10,
) -> httpx.Response:
    url = f"{emulator.base_url}/partners/P/offers/{quote(offer_id, safe='')}/opt_out/"
    return httpx.post(url, headers=signed() if headers is None else headers, content=content, timeout=timeout)


def calls_of(emulator: Emulator, offer_id: str) -> list[tuple[int | None, int, bool, bool]]:
    return [
        (call.status, call.attempt, call.signature_ok, call.terminal)
        for call in emulator.calls()
        if call.offer_id == offer_id
    ]


def test_a_signed_call_is_recorded_with_an_empty_204(emulator: Emulator) -> None:
    response = post(emulator, "signed", content=b'{"partner_metadata": {"reason": "DECLINED"}}')
    assert (response.status_code, response.content) == (204, b"")
    call = next(call for call in emulator.calls() if call.offer_id == "signed")
    assert (call.partner_code, call.status, call.terminal, call.reason) == ("P", 204, True, "DECLINED")


GOOD = signed()
VECTOR_DATE = "Sun, 22 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="none"),
        pytest.param(signed(secret="other"), id="another secret"),
        pytest.param(signed(key="other"), id="a key not known"),
        pytest.param(GOOD | {"X-Api-Key": "other"}, id="another key in X-Api-Key"),
        pytest.param({k: v for k, v in GOOD.items() if k != "Date"}, id="no date"),
        pytest.param(GOOD | {"Date": VECTOR_DATE}, id="the signature of another date"),
        pytest.param(signed(date="2026-11-22T12:00:00Z"), id="a date in another form"),
        pytest.param(GOOD | {"Authorization": GOOD["Authorization"].replace("sha512", "sha1")}, id="another algorithm"),
        pytest.param(GOOD | {"Authorization": "Signature"}, id="no signature"),
    ],
)
def test_a_call_not_signed_right_is_refused_and_logged_as_such(
    emulator: Emulator, headers: dict[str, str], request: pytest.FixtureRequest
) -> None:
    offer_id = request.node.name
    response = post(emulator, offer_id, headers)
    assert (response.status_code, response.json()["type"]) == (403, "auth_error")
    assert calls_of(emulator, offer_id) == [(403, 1, False, False)]


def test_the_published_vector_of_the_signature_is_accepted() -> None:
    headers = {
        "X-Api-Key": "test_api_key",
        "Date": VECTOR_DATE,
        "Authorization": 'Signature keyId="test_api_key",algorithm="hmac-sha512",signature="IbuLl2%2Bnsnc%2F%2BM%2Bj%2B'
        'RHaOgyfR9IrRL0k3wgnqtksd3uzmuzLNT7EVz%2BaBuTxsN1L9jVM64LMqmPsTWxF0Qw29w%3D%3D"',
    }
    app = EmulatorApp(Scenario.parse("204"), {"test_api_key": "test_api_secret"}, "/x", CallLog(StringIO()))

    async def call() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            return await client.post("/x/partners/LLODT/offers/1/opt_out/", headers=headers)

    assert asyncio.run(call()).status_code == 204


@pytest.mark.parametrize("offer_id", ["a/b", "../../x", "q?x=1#f", "100%", "%2F", "ü ö", "a+b"])
def test_an_id_is_percent_decoded_exactly_once(emulator: Emulator, offer_id: str) -> None:
    assert post(emulator, offer_id).status_code == 204
    assert len(calls_of(emulator, offer_id)) == 1


@pytest.mark.parametrize(
    "path", ["/partners/P/offers/o/opt_out", "/partners/P/offers/o/opt-out/", "/partners/P/offers/a/b/opt_out/", "/"]
)
def test_a_wrong_route_is_answered_a_404_in_html_and_not_logged(emulator: Emulator, path: str) -> None:
    before = len(emulator.calls())
    response = httpx.post(emulator.base_url + path, headers=signed(), content=b"{}")
    assert (response.status_code, response.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert len(emulator.calls()) == before


def test_only_a_post_is_allowed(emulator: Emulator) -> None:
    assert httpx.get(f"{emulator.base_url}/partners/P/offers/got/opt_out/", headers=signed()).status_code == 405
    assert calls_of(emulator, "got") == []


@pytest.mark.parametrize(
    ("content", "status"), [(b"", 204), (b"{}", 204), (b'{"x": 1}', 422), (b"[]", 400), (b"{", 400), (b"\xff", 400)]
)
def test_a_body_that_is_no_object_or_holds_an_unknown_key_is_refused(
    emulator: Emulator, content: bytes, status: int
) -> None:
    assert post(emulator, "body", content=content).status_code == status


@pytest.mark.parametrize(
    ("scenario", "status", "terminal"),
    [("403", 403, False), ("404", 404, True), ("404-html", 404, False), ("200", 200, False), ("500", 500, False)],
)
def test_the_scenario_is_switched_while_it_runs(emulator: Emulator, scenario: str, status: int, terminal: bool) -> None:
    emulator.set_scenario(scenario)
    assert post(emulator, f"switched-{scenario}").status_code == status
    assert calls_of(emulator, f"switched-{scenario}") == [(status, 1, True, terminal)]


def test_a_scenario_that_is_none_is_refused_and_changes_nothing(emulator: Emulator) -> None:
    emulator.set_scenario("409")
    with pytest.raises(ScenarioError, match="'nonsense' is no answer"):
        emulator.set_scenario("nonsense")
    assert post(emulator, "unchanged").status_code == 409


def test_throttling_says_when_to_come_back(emulator: Emulator) -> None:
    emulator.set_scenario("429")
    assert post(emulator, "throttled").headers["retry-after"] == "1"


def test_a_redirect_leads_to_what_looks_like_success(emulator: Emulator) -> None:
    emulator.set_scenario("302")
    response = post(emulator, "redirected")
    assert response.status_code == 302
    assert httpx.post(response.url.join(response.headers["location"])).status_code == 204


def test_a_hanging_call_is_logged_without_an_answer_and_hinders_no_other(emulator: Emulator) -> None:
    emulator.set_scenario("hang")
    with pytest.raises(httpx.ReadTimeout):
        post(emulator, "hanging", timeout=0.3)
    assert calls_of(emulator, "hanging") == [(None, 1, True, False)]
    emulator.set_scenario("204")
    assert post(emulator, "hanging").status_code == 204
    assert calls_of(emulator, "hanging")[1:] == [(204, 2, True, True)]


@pytest.mark.parametrize(
    ("scenario", "recorded"), [("204", True), ("404", False), ("hang", False), ("204-hang", True), ("204-cut", True)]
)
def test_the_log_tells_what_the_api_took_down_though_its_answer_was_lost(
    emulator: Emulator, scenario: str, recorded: bool
) -> None:
    emulator.set_scenario(scenario)
    with suppress(httpx.TransportError):
        post(emulator, f"recorded-{scenario}", timeout=0.3)
    (call,) = [call for call in emulator.calls() if call.offer_id == f"recorded-{scenario}"]
    assert call.recorded is recorded
    assert call.terminal is (scenario in {"204", "404"})


@pytest.mark.parametrize("scenario", ["cut", "204-cut"])
def test_a_connection_is_cut_in_the_place_of_an_answer(emulator: Emulator, scenario: str) -> None:
    emulator.set_scenario(scenario)
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        post(emulator, f"is-{scenario}", timeout=30)
    assert calls_of(emulator, f"is-{scenario}") == [(None, 1, True, False)]


def test_the_log_outlives_the_emulator_and_nothing_listens_afterwards(tmp_path: Path) -> None:
    with running(tmp_path / "calls.jsonl", scenario="204", prefix="/elsewhere") as emulator:
        assert emulator.base_url.endswith("/elsewhere")
        assert post(emulator, "kept").status_code == 204
    assert calls_of(emulator, "kept") == [(204, 1, True, True)]
    with pytest.raises(httpx.ConnectError):
        post(emulator, "gone")


def test_the_scenario_is_closed_to_other_machines() -> None:
    app = EmulatorApp(Scenario.parse("204"), None, "/x", CallLog(StringIO()))

    async def put(client_host: str) -> int:
        transport = httpx.ASGITransport(app, client=(client_host, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return (await client.put("/_scenario", content=b"500")).status_code

    assert asyncio.run(put("192.0.2.1")) == 403
    assert app.scenario.text == "204"
    assert asyncio.run(put("127.0.0.1")) == 200
    assert app.scenario.text == "500"


@pytest.mark.parametrize(("headers", "status"), [(GOOD, 405), ({}, 403), (signed(secret="other"), 403)])
def test_where_offers_are_created_a_get_tells_a_right_signature_from_none_and_is_no_call(
    emulator: Emulator, headers: dict[str, str], status: int
) -> None:
    before = len(emulator.calls())
    response = httpx.get(f"{emulator.base_url}/partners/P/offers/", headers=headers, timeout=10)
    assert (response.status_code, response.json()["type"]) == (status, "api_error" if status == 405 else "auth_error")
    assert len(emulator.calls()) == before
