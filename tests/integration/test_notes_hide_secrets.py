"""What the API quotes of our own request gets into no note: a real server echoes it, to the transport that ships."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable
from typing import TypeAlias
from urllib.parse import quote, unquote_plus

import pytest
from aiohttp import web
from support.owner import OWNER, always

from consumer.calls import Answer, OptOutCall
from consumer.events import Reason, RecordRef
from consumer.settings import ApiSettings, load_settings
from consumer.xcover.api import NOTE_LENGTH, connect

KEY = "live/key+7f3a9C2e"
SECRET = "ZmFrZS1zZWNyZXQtb2YtYS10ZXN0"
OTHER_KEY, OTHER_SECRET = "other-partner-key-55", "other partner's sëcret-66"
PARTS = 6
"""Characters: so much of a secret in a row would be a leak."""

Echo: TypeAlias = Callable[[dict[str, str]], str]
"""Makes an answer's body of the request's headers."""


def as_json(headers: dict[str, str]) -> str:
    return json.dumps({"message": "unexpected request", "errors": {"headers": headers}})


def as_text(headers: dict[str, str]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in headers.items())


def decoded(headers: dict[str, str]) -> str:
    return unquote_plus(as_text(headers).replace("%2B", "%20"))


def encoded_again(headers: dict[str, str]) -> str:
    return quote(as_text(headers), safe="").lower()


def as_php(headers: dict[str, str]) -> str:
    return json.dumps({"headers": unquote_plus(as_text(headers))}).replace("/", "\\/")


def as_html(headers: dict[str, str]) -> str:
    return "<p>" + "".join(f"&#{ord(c)};" if c in '+/=" ' else c for c in unquote_plus(as_text(headers)))


def as_base64(headers: dict[str, str]) -> str:
    return base64.b64encode(as_text(headers).encode()).decode()


def of_all_partners(_: dict[str, str]) -> str:
    return f"we have {KEY}:{SECRET} and {OTHER_KEY}:{OTHER_SECRET} on record"


def basic(_: dict[str, str]) -> str:
    return "Basic " + base64.urlsafe_b64encode(f"{KEY}:{SECRET}".encode()).decode() + f" Bearer {OTHER_KEY}"


ECHOES = [as_json, as_text, decoded, encoded_again, as_php, as_html, as_base64, of_all_partners, basic]


def settings(base_url: str) -> ApiSettings:
    return ApiSettings.model_validate(
        {
            "base_url": base_url,
            "key": KEY,
            "secret": SECRET,
            "credentials": {"OTHER": {"key": OTHER_KEY, "secret": OTHER_SECRET}},
            "metadata_keys": "channel",
        }
    )


async def ask(reply: Callable[[web.Request], web.Response]) -> tuple[Answer, dict[str, str]]:
    """One call, and the headers that it had."""
    sent: dict[str, str] = {}

    async def handle(request: web.Request) -> web.Response:
        sent.update(request.headers)
        return reply(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    api = connect(settings(f"http://127.0.0.1:{port}/x"), 4)
    try:
        call = OptOutCall("P", "o", "s", Reason.DECLINED, {"channel": "m4tad4ta-value"}, RecordRef("t", 0, 1), OWNER, 1)
        return await api(call, always), sent
    finally:
        await api.aclose()
        await runner.cleanup()


def leaked(note: str, headers: dict[str, str]) -> set[str]:
    """The parts of anything secret that are in a note, in any of the forms that it may have there."""
    signature = headers["Authorization"].rpartition('signature="')[2].strip('"')
    bare = unquote_plus(signature)
    secrets = {KEY, SECRET, OTHER_KEY, OTHER_SECRET, signature, bare, signature.lower(), "m4tad4ta-value"}
    secrets |= {quote(secret, safe="") for secret in secrets} | {quote(secret, safe="").lower() for secret in secrets}
    secrets |= {bare.replace("+", " "), bare.replace("/", "\\/"), KEY.replace("/", "\\/")}
    secrets |= {
        base64.b64encode(b"x" * shift + secret.encode()).decode()[2:].rstrip("=")[:-1]
        for secret in (KEY, SECRET, OTHER_KEY, signature, bare)
        for shift in range(3)
    }
    return {
        secret[at : at + PARTS]
        for secret in secrets
        for at in range(len(secret) - PARTS + 1)
        if secret[at : at + PARTS] in note
    } - {"secret", "-secre", "other-", "other ", "partne", "artner"}


@pytest.mark.parametrize("status", [422, 404, 403, 500, 302])
@pytest.mark.parametrize("echo", ECHOES)
def test_a_note_hides_every_key_secret_and_signature_whatever_form_the_answer_quotes_it_in(
    echo: Echo, status: int
) -> None:
    answer, headers = asyncio.run(ask(lambda request: web.Response(status=status, text=echo(dict(request.headers)))))
    assert answer.note
    assert leaked(answer.note, headers) == set()
    assert "***" in answer.note


@pytest.mark.parametrize("secret", ["key", "signature", "metadata"])
def test_a_secret_is_hidden_before_the_note_is_cut_however_much_of_it_would_be_left(secret: str) -> None:
    async def main() -> None:
        for before in range(NOTE_LENGTH - 120, NOTE_LENGTH):

            def reply(request: web.Request, before: int = before) -> web.Response:
                quoted = {
                    "key": request.headers["X-Api-Key"],
                    "signature": request.headers["Authorization"].rpartition('signature="')[2],
                    "metadata": "m4tad4ta-value",
                }
                return web.json_response({"message": "." * before + quoted[secret] + "." * 400}, status=422)

            answer, headers = await ask(reply)
            assert answer.note is not None
            assert len(answer.note) <= NOTE_LENGTH
            assert leaked(answer.note, headers) == set(), before

    asyncio.run(main())


def test_a_reason_phrase_and_an_error_of_the_connection_hide_them_as_well() -> None:
    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            headers.update(line.split(": ", 1) for line in head.split("\r\n")[1:-2])
            # No HTTP answer, with our own words in the line that the client complains about.
            writer.write(f"HTTP/1.1 {headers['X-Api-Key']} {headers['Authorization']}\r\n\r\n".encode())
            writer.close()

        headers: dict[str, str] = {}
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        api = connect(settings(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"), 4)
        try:
            call = OptOutCall("P", "o", "s", Reason.DECLINED, {}, RecordRef("t", 0, 1), OWNER, 1)
            answer = await api(call, always)
        finally:
            await api.aclose()
            server.close()
        assert answer.note is not None
        assert leaked(answer.note, {name.title(): value for name, value in headers.items()}) == set()

    asyncio.run(main())


REFUSALS = [
    b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 407 http://user:s3cret%%2Fof@proxy %s\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 400\r\n\r\n" + b"." * 150 + b"%s" + b"." * 200,
    b"",
]


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_password_of_a_proxy_is_in_no_note(refusal: bytes, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that refuses, and quotes what it was sent, to the transport that ships."""

    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            sent.append(head)
            basic = next((line for line in head.split("\r\n") if line.startswith("Proxy-Authorization")), "")
            writer.write(refusal.replace(b"%s", basic.encode()).replace(b"%%", b"%"))
            writer.close()

        sent: list[str] = []
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        proxy = f"http://user:s3cret%2Fof+proxy@127.0.0.1:{server.sockets[0].getsockname()[1]}"
        monkeypatch.setenv(f"{scheme}_proxy", proxy)
        api = connect(load_settings(None, {"OPT_OUT_API__BASE_URL": f"{scheme}://api.invalid/x", **ENVIRON}).api, 4)
        try:
            call = OptOutCall("P", "o", "s", Reason.DECLINED, {}, RecordRef("t", 0, 1), OWNER, 1)
            answer = await api(call, always)
        finally:
            await api.aclose()
            server.close()
        assert "Proxy-Authorization" in sent[0]
        note = answer.note or ""
        assert "s3cret" not in note
        assert "cret/of" not in note
        assert base64.b64encode(b"user:s3cret").decode()[:10] not in note

    asyncio.run(main())


ENVIRON = {"OPT_OUT_API__AUTH": "none"}


def test_what_the_api_says_besides_is_kept() -> None:
    answer, _ = asyncio.run(ask(lambda _: web.json_response({"message": "offer 4711 is gone (key: x)"}, status=422)))
    assert answer.note == "offer 4711 is gone (key: x)"


def test_a_long_answer_is_searched_within_a_moment() -> None:
    began = time.monotonic()
    answer, _ = asyncio.run(ask(lambda _: web.Response(status=422, text="%25" * 40_000)))
    assert answer.note is not None
    assert time.monotonic() - began < 5
