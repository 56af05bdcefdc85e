"""What a registry is asked, and what is made of its answers: against a real small server, over TLS too."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import pytest
from support import certificates
from support.loopback_server import LoopbackServer, read_request

from consumer.codecs import bounded_answer
from consumer.codecs.bounded_answer import MOST_ANSWER_BYTES
from consumer.codecs.codec import UNDECODABLE
from consumer.codecs.registry_client import MOST_SCHEMA_BYTES, Registry, RegistryError, Trouble
from consumer.codecs.schemas import OFFER_PRESENTED, schema_text
from consumer.errors import DecodeError, SettingsError
from consumer.hiding import IN_USE
from consumer.settings import AvroSettings

T = TypeVar("T")
GUID = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
OURS = {"schema": schema_text(OFFER_PRESENTED)}


class Server(LoopbackServer):
    """Answers each path as the test says, and keeps the heads of the requests."""

    def __init__(self, answers: dict[str, Any], tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls=tls)
        self.answers = answers
        self.heads: list[str] = []

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, _ = await read_request(reader)
            self.heads.append(head.decode())
            path = self.heads[-1].split(" ")[1].partition("?")[0]
            answer = self.answers.get(path, (404, {"error_code": 40403, "message": "Schema not found"}))
            status, body = answer if isinstance(answer, tuple) else (200, answer)
            text = body if isinstance(body, bytes) else json.dumps(body).encode()
            writer.write(b"HTTP/1.1 %d So\r\nContent-Length: %d\r\n\r\n%b" % (status, len(text), text))
            await writer.drain()


def ask(server: Server, question: Callable[[Registry], T], **settings: Any) -> T:
    """Put a question to the server. It is served by this thread, and asked by another."""

    async def talk() -> T:
        async with server:
            url = settings.pop("registry_url", "{}").format(server.url)

            def there() -> T:
                registry = Registry(AvroSettings(registry_url=url, **settings))
                try:
                    return question(registry)
                finally:
                    registry.close()

            return await asyncio.to_thread(there)

    return asyncio.run(talk())


def trouble(answer: Any, **settings: Any) -> RegistryError:
    with pytest.raises(RegistryError) as caught:
        ask(Server({"/schemas/ids/7": answer}), lambda registry: registry.schema(7), **settings)
    return caught.value


def refused(answers: dict[str, Any]) -> str:
    with pytest.raises(DecodeError) as caught:
        ask(Server(answers), lambda registry: registry.schema(7))
    assert caught.value.reason == UNDECODABLE
    return str(caught.value)


def test_a_schema_is_found_by_its_number_and_by_its_guid() -> None:
    server = Server({"/schemas/ids/7": OURS, f"/schemas/guids/{GUID}": {**OURS, "schemaType": "AVRO"}})
    found = ask(server, lambda registry: [registry.schema(7), registry.schema(GUID), registry.schema(7)])
    assert [one.types[0]["name"] for one in found] == ["optout.events.OfferPresented"] * 3
    assert len(server.heads) == 2, "the client keeps what it was given"


def test_references_are_fetched_each_once_and_before_what_uses_them() -> None:
    def using(name: str, *types: str, refs: list[tuple[str, int]]) -> dict[str, Any]:
        fields = [{"name": f"f{n}", "type": one} for n, one in enumerate(types)]
        references = [{"name": subject, "subject": subject, "version": version} for subject, version in refs]
        schema = json.dumps({"type": "record", "name": name, "fields": fields})
        return {"subject": name, "id": 1, "version": 1, "schema": schema, "references": references}

    answers = {
        "/schemas/ids/7": using("Top", "Left", "Right", refs=[("left", 1), ("right", 2)]),
        "/subjects/left/versions/1": using("Left", "Both", refs=[("a/b", 3)]),
        "/subjects/right/versions/2": using("Right", "Both", refs=[("a/b", 3)]),
        "/subjects/a%2Fb/versions/3": using("Both", "string", refs=[]),
    }
    server = Server(answers)
    written = ask(server, lambda registry: registry.schema(7))
    assert list(written.named) == ["Both", "Left", "Right", "Top"]
    assert len(server.heads) == 4
    answers["/subjects/a%2Fb/versions/3"] = using("Both", "Left", refs=[("left", 1)])
    assert "refers to too many other schemas, or to itself" in refused(answers)
    del answers["/subjects/right/versions/2"]
    answers["/subjects/a%2Fb/versions/3"] = using("Both", "string", refs=[])
    with pytest.raises(RegistryError) as caught:
        ask(Server(answers), lambda registry: registry.schema(7))
    assert caught.value.trouble is Trouble.UNKNOWN


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((401, {"error_code": 40101, "message": "Unauthorized"}), Trouble.REFUSED),
        ((403, {"error_code": 40301, "message": "Forbidden"}), Trouble.REFUSED),
        ((401, b"<html>"), Trouble.REFUSED),
        ((404, {"error_code": 40403, "message": "Schema not found"}), Trouble.UNKNOWN),
        ((404, {"error_code": 40402, "message": "Version not found"}), Trouble.UNKNOWN),
        ((404, {"error_code": 404, "message": "HTTP 404 Not Found"}), Trouble.FAULTY),
        ((404, b"<html>no such page</html>"), Trouble.FAULTY),
        ((302, b""), Trouble.FAULTY),
        ((422, {"error_code": 42201, "message": "no"}), Trouble.FAULTY),
        ((429, {"error_code": 42901, "message": "slower"}), Trouble.UNREACHABLE),
        ((500, {"error_code": 50001, "message": "store"}), Trouble.UNREACHABLE),
        ((503, b"gateway"), Trouble.UNREACHABLE),
        ((200, b"<html>log in</html>"), Trouble.FAULTY),
        ((200, []), Trouble.FAULTY),
        ((200, {}), Trouble.FAULTY),
        ((200, b""), Trouble.FAULTY),
        ((200, {"schema": 5}), Trouble.FAULTY),
    ],
)
def test_an_answer_that_is_no_schema_may_be_another_one_tomorrow(answer: Any, expected: Trouble) -> None:
    assert trouble(answer).trouble is expected


def test_whether_it_answers_is_asked_without_a_right_on_a_subject() -> None:
    ask(Server({"/schemas/types": ["AVRO"]}), lambda registry: registry.see_that_it_answers())
    for answer, expected in (
        ((401, {"error_code": 40101, "message": "Unauthorized"}), Trouble.REFUSED),
        ((404, b"<html>"), Trouble.FAULTY),
        ({"message": "hello"}, Trouble.FAULTY),
        (b"<html>", Trouble.FAULTY),
        ((503, b""), Trouble.UNREACHABLE),
    ):
        with pytest.raises(RegistryError) as caught:
            ask(Server({"/schemas/types": answer}), lambda registry: registry.see_that_it_answers())
        assert caught.value.trouble is expected


def test_the_versions_of_a_subject_are_counted_and_a_schema_is_tried_without_being_registered() -> None:
    answers = {
        "/subjects/s/versions": [1, 2],
        "/compatibility/subjects/s/versions/latest": {"is_compatible": False},
    }
    server = Server(answers)
    assert ask(server, lambda registry: (registry.versions("s"), registry.versions("t"))) == (2, 0)
    assert ask(Server(answers), lambda registry: registry.takes("s", schema_text(OFFER_PRESENTED))) is False


def test_a_registry_that_is_not_there_is_no_answer() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        error = trouble(OURS, registry_url=url)
        assert (error.trouble, "refused" in str(error)) == (Trouble.UNREACHABLE, True)
        server = Server({"/schemas/ids/7": OURS})
        assert ask(server, lambda registry: registry.schema(7), registry_url=url + ", {}/")
        assert len(server.heads) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"schema": "nonsense"}, "is no Avro schema"),
        ({"schema": "{}", "schemaType": "JSON"}, "is a JSON schema and no Avro"),
        ({"schema": 'syntax = "proto3";', "schemaType": "PROTOBUF"}, "is a Protobuf schema and no Avro"),
        ({"schema": "…", "schemaType": "THRIFT"}, "is THRIFT and no Avro"),
        ({"schema": json.dumps("x" * 2_000_000)}, f"{MOST_SCHEMA_BYTES} is the most that is taken"),
        ({"schema": json.dumps("x" * 10_000_000)}, f"more than {MOST_ANSWER_BYTES} bytes, the most that is read"),
        ({"schema": '"a.B"', "references": [{"name": "a", "subject": "s", "version": 1}] * 200}, "no Avro"),
    ],
)
def test_what_is_given_and_cannot_be_read_by_is_undecodable(answer: dict[str, Any], words: str) -> None:
    assert words in refused({"/schemas/ids/7": answer, "/subjects/s/versions/1": {"schema": '"string"'}})


def test_references_are_bounded() -> None:
    references = [{"name": "a", "subject": f"s{n}", "version": 1} for n in range(200)]
    versions = {f"/subjects/s{n}/versions/1": {"schema": '"string"', "id": n, "version": 1} for n in range(200)}
    assert "too many" in refused({"/schemas/ids/7": {"schema": '"string"', "references": references}, **versions})


class EndlessServer(Server):
    """Sends a body that does not end, and counts what the other side took of it.

    Args:
        begin: how the body begins.
        more: what follows, again and again.
        pause: seconds between the pieces.
    """

    def __init__(self, begin: bytes, more: bytes = b"x" * 65_536, pause: float = 0.0, head: bytes = b"") -> None:
        super().__init__({})
        self._begin, self._more, self._pause, self._head = begin, more, pause, head
        self.sent = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append((await read_request(reader))[0].decode())
        writer.write(b"HTTP/1.1 200 So\r\n" + self._head + b"\r\n" + self._begin)
        with suppress(ConnectionError):
            while True:
                writer.write(self._more)
                await writer.drain()
                self.sent += len(self._more)
                await asyncio.sleep(self._pause)


def test_a_body_without_an_end_is_not_read_to_it() -> None:
    server = EndlessServer(b'{"schema": "')
    with pytest.raises(DecodeError, match=f"more than {MOST_ANSWER_BYTES} bytes"):
        ask(server, lambda registry: registry.schema(7))
    assert server.sent < 3 * MOST_ANSWER_BYTES, "but for what the sockets hold"
    assert "accept-encoding: identity" in server.heads[0].lower()


def test_what_is_too_long_and_no_registrys_may_be_another_one_tomorrow() -> None:
    with pytest.raises(RegistryError, match="more than") as caught:
        ask(EndlessServer(b"<html>"), lambda registry: registry.schema(7))
    assert caught.value.trouble is Trouble.FAULTY
    with pytest.raises(RegistryError, match="more than") as caught:
        ask(EndlessServer(b'{"a": "'), lambda registry: registry.find("s", schema_text(OFFER_PRESENTED)))
    assert caught.value.trouble is Trouble.FAULTY


def test_a_body_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_answer, "MOST_SECONDS", 0.3)
    with pytest.raises(RegistryError, match=r"does not end within 0\.3 s") as caught:
        ask(EndlessServer(b'{"schema": "', b"x", pause=0.05), lambda registry: registry.schema(7))
    assert caught.value.trouble is Trouble.FAULTY


def test_what_is_compressed_unasked_is_not_unpacked() -> None:
    server = EndlessServer(b"", head=b"Content-Encoding: gzip\r\n")
    with pytest.raises(RegistryError, match="its answer is in gzip, unasked"):
        ask(server, lambda registry: registry.schema(7))


class RedirectingServer(LoopbackServer):
    """Sends everybody elsewhere."""

    def __init__(self, elsewhere: str) -> None:
        super().__init__()
        self._elsewhere = elsewhere.encode()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % self._elsewhere)
        await writer.drain()


def test_a_redirect_is_not_followed_and_no_password_goes_elsewhere() -> None:
    async def main() -> int:
        async with Server({"/elsewhere": OURS}) as other, RedirectingServer(f"{other.url}/elsewhere") as server:
            settings = AvroSettings(registry_url=server.url, registry_user="u", registry_password="hush")
            with closing(Registry(settings)) as registry, pytest.raises((RegistryError, DecodeError)):
                await asyncio.to_thread(registry.schema, 7)
            return other.connections

    assert asyncio.run(main()) == 0


def test_who_we_are_is_told_by_a_password_or_by_a_token() -> None:
    found = []
    for given in ({"registry_user": "me", "registry_password": "hush"}, {"registry_token": "tok.en"}, {}):
        server = Server({"/schemas/ids/7": OURS})
        ask(server, lambda registry: registry.schema(7), **given)
        lines = server.heads[0].lower().split("\r\n")
        found.append([line for line in lines if line.startswith("authorization")])
    assert found == [["authorization: basic bwu6ahvzaa=="], ["authorization: bearer tok.en"], []]


def test_no_secret_is_in_what_is_told_of_a_refusal() -> None:
    IN_USE.learn(["very-secret-token"])
    body = {"error_code": 401, "message": "no such token: Bearer very-secret-token"}
    error = trouble((401, body), registry_token="very-secret-token")
    assert "very-secret-token" not in str(error)
    assert "no such token" in str(error)


# --- TLS


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    found = {}
    for name in ("AUTHORITY", "SERVER", "SERVER_KEY", "CLIENT", "CLIENT_KEY"):
        found[name] = tmp_path / f"{name}.pem"
        found[name].write_text(getattr(certificates, name))
    return found


def tls(files: dict[str, Path], *, asks: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["SERVER"], files["SERVER_KEY"])
    if asks:
        context.load_verify_locations(files["AUTHORITY"])
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_a_private_authority_is_believed_if_it_is_named_and_no_other(files: dict[str, Path]) -> None:
    server = Server({"/schemas/ids/7": OURS}, tls(files))
    assert ask(server, lambda registry: registry.schema(7), registry_ca_file=files["AUTHORITY"])
    with pytest.raises(RegistryError, match="CERTIFICATE_VERIFY_FAILED") as caught:
        ask(Server({"/schemas/ids/7": OURS}, tls(files)), lambda registry: registry.schema(7))
    assert caught.value.trouble is Trouble.UNREACHABLE


def test_a_certificate_is_shown_where_the_registry_asks_for_one(files: dict[str, Path]) -> None:
    server = Server({"/schemas/ids/7": OURS}, tls(files, asks=True))
    ours = {"registry_client_certificate": files["CLIENT"], "registry_client_key": files["CLIENT_KEY"]}
    assert ask(server, lambda registry: registry.schema(7), registry_ca_file=files["AUTHORITY"], **ours)
    with pytest.raises(RegistryError) as caught:
        ask(
            Server({"/schemas/ids/7": OURS}, tls(files, asks=True)),
            lambda registry: registry.schema(7),
            registry_ca_file=files["AUTHORITY"],
        )
    assert caught.value.trouble is Trouble.UNREACHABLE


# --- the client itself


def test_a_client_that_is_not_installed_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka.schema_registry", None)
    with pytest.raises(SettingsError, match=r"pip install 'offer-opt-out\[registry\]'"):
        Registry(AvroSettings(registry_url="http://127.0.0.1:1"))


def test_a_file_that_has_gone_since_the_settings_were_read_is_an_error_of_settings(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text(certificates.AUTHORITY)
    settings = AvroSettings(registry_url="https://127.0.0.1:1", registry_ca_file=file)
    file.unlink()
    with pytest.raises(SettingsError, match="cannot be asked by these settings"):
        Registry(settings)
