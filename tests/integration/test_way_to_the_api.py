"""The way to the API, over real sockets: proxies, what they refuse, and certificates of both sides."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from base64 import b64encode
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.certificates import AUTHORITY, CLIENT, CLIENT_KEY, SERVER, SERVER_KEY
from support.loopback_server import LoopbackServer, read_request
from support.owner import OWNER, always
from typer.testing import CliRunner

from consumer.calls import Answer, AnswerKind, OptOutCall
from consumer.cli import app
from consumer.errors import SettingsError
from consumer.events import Reason, RecordRef
from consumer.settings import ApiSettings
from consumer.xcover.api import OptOutApi
from consumer.xcover.api_clock import ApiClock
from consumer.xcover.auth import Credentials
from consumer.xcover.transport import AiohttpTransport

GOOD = b"HTTP/1.1 204 No Content\r\nDate: Sun, 22 Nov 2026 12:00:00 GMT\r\n\r\n"


class Peer(LoopbackServer):
    """An API or a proxy: answers each request with the same bytes, and connects if it is asked to and `connects`."""

    def __init__(self, reply: bytes = GOOD, tls: ssl.SSLContext | None = None, *, connects: bool = False) -> None:
        super().__init__(tls=tls)
        self.reply, self.connects = reply, connects
        self.heads: list[bytes] = []
        self.certificates: list[Any] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.certificates.append(writer.get_extra_info("peercert"))
        while True:
            head, _ = await read_request(reader)
            self.heads.append(head)
            if self.connects and head.startswith(b"CONNECT "):
                host, _, port = head.split(b" ")[1].partition(b":")
                there = await asyncio.open_connection(host.decode(), int(port))
                writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
                await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))
                return
            writer.write(self.reply)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with closing(writer):
        while data := await reader.read(65_536):
            writer.write(data)


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if re.fullmatch(r".*_proxy|SSL.*", name, re.IGNORECASE)]:
        monkeypatch.delenv(name)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    texts = {"ca": AUTHORITY, "server": SERVER + SERVER_KEY, "client": CLIENT + CLIENT_KEY}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return {name: tmp_path / name for name in texts}


def server_tls(files: dict[str, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["server"])
    return context


async def call(url: str, **settings: object) -> Answer:
    api = ApiSettings.model_validate({"base_url": url, "auth": "none", **settings})
    transport = AiohttpTransport(api, 1)
    caller = OptOutApi(api, Credentials(api, lambda: 0.0), transport, lambda: 0.0)
    try:
        call = OptOutCall("P", "o", "s", Reason.DECLINED, {}, RecordRef("offers", 0, 1), OWNER, 1)
        return await caller(call, always)
    finally:
        await transport.aclose()


@pytest.mark.parametrize("source", ["setting", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_calls_go_through_the_proxy_with_its_user_and_password(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with Peer() as proxy:
            url = f"http://user:p%40ss@127.0.0.1:{proxy.port}"
            settings = {"proxy": url} if source == "setting" else {}
            if not settings:
                monkeypatch.setenv(source, url)
            assert (await call("http://api.test:81/x", **settings)).kind is AnswerKind.RECORDED
            (head,) = proxy.heads
            assert head.startswith(b"POST http://api.test:81/x/partners/P/offers/o/opt_out/ HTTP/1.1\r\n")
            assert b"Proxy-Authorization: Basic " + b64encode(b"user:p@ss") in head

    asyncio.run(main())


def test_the_question_for_the_time_goes_the_same_way() -> None:
    async def main() -> float | None:
        async with Peer() as proxy:
            api = ApiSettings.model_validate(
                {"base_url": "http://api.test:81/x", "proxy": f"http://127.0.0.1:{proxy.port}"}
            )
            told: asyncio.Future[float | None] = asyncio.get_running_loop().create_future()
            loop = asyncio.get_running_loop()
            ApiClock(api).ask(lambda date, *_: loop.call_soon_threadsafe(told.set_result, date) and None)
            return await asyncio.wait_for(told, 20)

    assert asyncio.run(main()) is not None


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("body", [b"{}", b"<html>user:hush-hush dXNlcjpodXNoLWh1c2g=</html>"])
def test_a_407_is_the_proxys_and_the_call_is_made_again(scheme: str, body: bytes) -> None:
    async def main() -> Answer:
        reply = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        async with Peer(reply) as proxy:
            answer = await call(f"{scheme}://api.test:81/x", proxy=f"http://user:hush-hush@127.0.0.1:{proxy.port}")
            assert len(proxy.heads) == 1
            return answer

    answer = asyncio.run(main())
    assert answer.kind is AnswerKind.TRANSIENT
    assert answer.note is not None
    assert "proxy" in answer.note
    assert "407" in answer.note
    assert "hush" not in answer.note
    assert "dXNlcjpodXNo" not in answer.note


@pytest.mark.parametrize(
    "status", ["204 No Content", "403 Forbidden", "404 Not Found", "422 No", "502 Bad Gateway", "x"]
)
def test_what_a_proxy_answers_when_asked_to_connect_is_never_the_apis_answer(status: str) -> None:
    async def main() -> Answer:
        async with Peer(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()) as proxy:
            return await call("https://api.test/x", proxy=f"http://user:hush-hush@127.0.0.1:{proxy.port}")

    answer = asyncio.run(main())
    assert (answer.kind, answer.status_code) == (AnswerKind.TRANSIENT, None)
    assert answer.note is not None
    assert "proxy" in answer.note
    assert "hush" not in answer.note
    assert "user" not in answer.note


def test_a_proxy_that_is_not_there_is_named() -> None:
    async def main() -> Answer:
        async with Peer() as proxy:
            port = proxy.port
        return await call("http://api.test/x", proxy=f"http://127.0.0.1:{port}")

    answer = asyncio.run(main())
    assert answer.kind is AnswerKind.TRANSIENT
    assert answer.note is not None
    assert answer.note.startswith("ProxyError: through the proxy http://127.0.0.1:")


@pytest.mark.parametrize("through_proxy", [False, True])
def test_the_api_is_held_against_the_file_that_is_named(files: dict[str, Path], through_proxy: bool) -> None:
    async def main() -> None:
        async with Peer(tls=server_tls(files)) as api, Peer(connects=True) as proxy:
            url = f"https://localhost:{api.port}/x"
            way = {"proxy": f"http://127.0.0.1:{proxy.port}" if through_proxy else "none"}
            assert (await call(url, ca_file=files["ca"], **way)).kind is AnswerKind.RECORDED
            assert len(proxy.heads) == int(through_proxy)
            answer = await call(url, **way)
            assert answer.kind is AnswerKind.TRANSIENT
            assert "certificate verify failed" in (answer.note or "")
            assert len(api.heads) == 1

    asyncio.run(main())


def test_our_certificate_is_shown(files: dict[str, Path]) -> None:
    async def main() -> None:
        tls = server_tls(files)
        tls.verify_mode = ssl.CERT_REQUIRED
        tls.load_verify_locations(files["ca"])
        async with Peer(tls=tls) as api:
            url = f"https://localhost:{api.port}/x"
            answer = await call(url, ca_file=files["ca"], client_certificate=files["client"])
            assert answer.kind is AnswerKind.RECORDED
            assert api.certificates[0]["subject"] == ((("commonName", "client.test"),),)
            assert (await call(url, ca_file=files["ca"])).kind is AnswerKind.TRANSIENT

    asyncio.run(main())


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("https_proxy", "u:hush@proxy:3128"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem"),
        ("SSL_CERT_DIR", "/nowhere"),
        ("SSLKEYLOGFILE", "/nowhere/keys"),
        ("OPT_OUT_API__PROXY", "u:hush@proxy:3128"),
        ("OPT_OUT_API__CA_FILE", "/nowhere/ca.pem"),
        ("OPT_OUT_API__CLIENT_CERTIFICATE", "/nowhere/me.pem"),
    ],
)
@pytest.mark.parametrize("command", ["settings", "run"])
def test_what_is_wrong_ends_the_command_with_2_and_its_name(command: str, variable: str, value: str) -> None:
    ended = CliRunner().invoke(app, [command], env={variable: value, "OPT_OUT_API__AUTH": "none"})
    said = ended.output + str(ended.exception)
    assert isinstance(ended.exception, SettingsError), "which is exit code 2: golden/test_golden_cli.py"
    assert variable in said
    assert "hush" not in said
