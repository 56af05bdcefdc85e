"""What becomes of living clients when the files that they log in with change. They are real, no broker is there."""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.certificates import AUTHORITY, CLIENT, CLIENT_KEY, SERVER_KEY

from consumer.errors import StartError
from consumer.kafka import clients
from consumer.kafka.causes import Causes
from consumer.kafka.certificate import Validity
from consumer.kafka.clients import DAY, INTERVAL, Clients
from consumer.settings import read_kafka

LOGIN = {"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "me"}


class Place:
    """A folder with the files of one service, which is looked at by a clock of its own."""

    def __init__(self, folder: Path, **properties: str) -> None:
        self.folder, self.now = folder, 0.0
        self.properties = {"sasl.password_file": str(folder / "password"), **properties}
        self.write("password", "first")
        self.write("properties", json.dumps(self.properties))
        kafka = self.read()
        self.causes = Causes(kafka, logs=False)
        self.clients = Clients(kafka, self.causes, self.read, lambda: self.now)

    def read(self) -> Any:
        return read_kafka(None, {"OPT_OUT_KAFKA__PROPERTIES_FILE": str(self.folder / "properties")})

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def look(self, times: int = 2) -> bool:
        found = False
        for _ in range(times):
            self.now += INTERVAL
            found = self.clients.look()
        return found


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str]]:
    """What each client is given: its kind, the user and the password."""
    found: list[tuple[str, str, str]] = []

    def spy(kind: type[Any]) -> None:
        real = kind.set_sasl_credentials

        def take(self: Any, user: str, password: str) -> None:
            found.append((kind.__name__, user, password))
            real(self, user, password)

        monkeypatch.setattr(kind, "set_sasl_credentials", take)

    for kind in (clients.LiveConsumer, clients.LiveProducer, clients.AdminClient):
        spy(kind)
    return found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, **LOGIN)


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[Place]:
    names = {"ssl.ca.location": "ca", "ssl.certificate.location": "certificate", "ssl.key.location": "key"}
    for name, text in (("ca", AUTHORITY), ("certificate", CLIENT), ("key", CLIENT_KEY)):
        (tmp_path / name).write_text(text)
    files = {name: str(tmp_path / file) for name, file in names.items()}
    return Place(tmp_path, **{"security.protocol": "SSL", **files})  # type: ignore[return-value]


def test_a_new_password_is_given_to_every_client_that_lives(place: Place, taken: list[tuple[str, str, str]]) -> None:
    living = [place.clients.admin(), place.clients.producer(), place.clients.record_reader()]
    closed, gone = place.clients.record_reader(), place.clients.producer()
    closed.close()
    del gone
    gc.collect()
    place.look()
    place.write("password", "second")
    with capture_logs() as lines:
        assert place.look() is False
    assert sorted(taken) == [
        ("AdminClient", "me", "second"),
        ("LiveConsumer", "me", "second"),
        ("LiveConsumer", "me", "second"),  # that which is closed refuses it
        ("LiveProducer", "me", "second"),
    ]
    assert [line["event"] for line in lines] == ["kafka: every client logs in with the new password from now on"]
    assert place.clients.settings.properties["sasl.password"] == "second", "a client that is made now has it as well"
    place.look(5)
    assert len(taken) == 4
    assert len(living) == 3


def test_what_two_looks_do_not_find_alike_is_not_taken(place: Place, taken: list[tuple[str, str, str]]) -> None:
    """A user and a password that are written one after the other: the pair in between is nobody's."""
    admin = place.clients.admin()
    place.look()
    place.write("password", "second")
    place.look(1)
    place.write("properties", json.dumps(place.properties | {"sasl.username": "you"}))
    place.look(1)
    assert taken == []
    place.look(1)
    assert taken == [("AdminClient", "you", "second")]
    assert admin is not None


def test_between_two_looks_nothing_is_read(place: Place) -> None:
    reads: list[int] = []
    place.clients._read = lambda: reads.append(1) or place.read()  # type: ignore[func-returns-value]
    place.now = INTERVAL
    for _ in range(5):
        place.clients.look()
    assert len(reads) == 1


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
@pytest.mark.parametrize("content", ["", "\n"])
def test_an_empty_password_is_not_taken_over_and_told_once(
    tmp_path: Path, taken: list[tuple[str, str, str]], content: str, mechanism: str
) -> None:
    """As a start refuses it. Whoever waits for the line that it is taken over would delete the old one then."""
    place = Place(tmp_path, **LOGIN | {"sasl.mechanism": mechanism})
    admin = place.clients.admin()
    for _ in range(2):
        place.write("password", content)
        with capture_logs() as lines:
            assert place.look(5) is False
        assert [line["event"] for line in lines] == ["kafka: what has changed in the files is not taken over"]
        assert "sasl.password" in lines[0]["error"]
        assert place.clients.settings.properties["sasl.password"] == "first"
        place.write("password", "first")
        with capture_logs() as lines:
            place.look(3)
        assert lines == []
    assert taken == []
    place.write("password", "second")
    place.look()
    assert taken == [("AdminClient", "me", "second")]
    assert admin is not None


def test_a_certificate_that_is_half_written_keeps_no_new_password_back(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text(AUTHORITY)
    place = Place(tmp_path, **LOGIN, **{"ssl.ca.location": str(tmp_path / "ca")})
    place.look()
    place.write("ca", AUTHORITY[:200])
    place.write("password", "second")
    with capture_logs() as lines:
        assert place.look(4) is False
    assert [line["event"] for line in lines] == [
        "kafka: every client logs in with the new password from now on",
        "kafka: what has changed in the files is not taken over",
    ]
    assert place.clients.settings.properties["sasl.password"] == "second"


def test_files_that_cannot_be_read_change_nothing_and_are_told_once(
    place: Place, taken: list[tuple[str, str, str]]
) -> None:
    admin = place.clients.admin()
    (place.folder / "password").unlink()
    with capture_logs() as lines:
        assert place.look(4) is False
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("kafka: what has changed in the files is not taken over", "warning")
    ]
    assert "sasl.password_file names a file that cannot be read" in lines[0]["error"]
    place.write("password", "second")
    place.look()
    assert [password for _, _, password in taken] == ["second"]
    assert admin is not None


def test_a_new_certificate_stops_the_service_in_order(tls: Place) -> None:
    assert tls.look(3) is False
    tls.write("certificate", CLIENT + AUTHORITY)
    assert tls.look(1) is False, "its key may still have to be written"
    with capture_logs() as lines:
        assert tls.look(1) is True
    assert tls.clients.outdated == "ssl.certificate.location"
    assert [(line["event"], line["changed"]) for line in lines] == [
        ("kafka: a certificate or a secret has changed: stopping in order", ["ssl.certificate.location"])
    ]


@pytest.mark.parametrize(("file", "name"), [("ca", "ssl.ca.location"), ("key", "ssl.key.location")])
def test_so_does_a_new_ca_or_key(tls: Place, file: str, name: str) -> None:
    tls.look()
    tls.write(file, (tls.folder / file).read_text() + "\n")
    assert tls.look() is True
    assert tls.clients.outdated == name


def test_so_does_a_new_secret_of_an_issuer(tmp_path: Path) -> None:
    issuer = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.client.id": "me",
        "sasl.oauthbearer.token.endpoint.url": "http://127.0.0.1:1/token",
        "sasl.oauthbearer.client.secret": "first",
    }
    place = Place(tmp_path, **issuer)
    place.look()
    place.write("properties", json.dumps(place.properties | {"sasl.oauthbearer.client.secret": "second"}))
    assert place.look() is True
    assert place.clients.outdated == "sasl.oauthbearer.client.secret"


def test_a_key_that_does_not_belong_to_the_certificate_stops_nothing_and_is_told_once(
    tls: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []
    real = clients.try_clients
    monkeypatch.setattr(clients, "try_clients", lambda kafka: (tried.append(1), real(kafka)))
    tls.look()
    tls.write("key", SERVER_KEY)
    with capture_logs() as lines:
        assert tls.look(5) is False
    assert [line["event"] for line in lines] == ["kafka: what has changed in the files is not taken over"]
    assert "ssl.key.location" in lines[0]["error"]
    assert len(tried) == 1, "clients are made for trial once for each state of the files"
    tls.write("key", CLIENT_KEY)
    assert tls.look(3) is False, "it is as it was"


def test_a_certificate_that_ends_soon_is_told_once_a_day(tls: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with capture_logs() as lines:
        tls.look(3)
    assert lines == []
    monkeypatch.setattr(Validity, "is_nearly_over", lambda self, now: True)
    with capture_logs() as lines:
        tls.look(3)
        tls.now += DAY
        tls.look(3)
    assert [line["event"] for line in lines] == ["kafka: the client certificate ends soon"] * 2
    assert lines[0]["ends"] == "2126-11-02T04:18:13+00:00"


def test_without_a_source_nothing_is_looked_at(place: Place) -> None:
    quiet = Clients(place.read(), place.causes)
    place.write("password", "second")
    assert quiet.look() is False
    assert quiet.look() is False


def test_a_client_that_cannot_be_made_is_told_in_words(place: Place) -> None:
    broken = Clients(place.read().model_copy(update={"properties": {"no.such": "thing"}}), place.causes)
    with pytest.raises(StartError, match=r"a Kafka client could not be made: .*no\.such"):
        broken.admin()


def test_a_client_that_is_being_made_is_not_passed_over(
    place: Place, taken: list[tuple[str, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader is made on a thread of its own, with the old password, while the new one is given out."""
    place.look()
    begun, go_on, waits = threading.Event(), threading.Event(), threading.Event()
    real = clients.record_reader_config

    def slow(*given: Any) -> dict[str, Any]:
        config = real(*given)
        begun.set()
        assert go_on.wait(10)
        return config

    monkeypatch.setattr(clients, "record_reader_config", slow)
    lock = place.clients._lock

    class Lock:
        def __enter__(self) -> None:
            if threading.current_thread() is looker:
                waits.set()
            lock.acquire()

        def __exit__(self, *_: object) -> None:
            lock.release()

    monkeypatch.setattr(place.clients, "_lock", Lock())
    made: list[Any] = []
    maker = threading.Thread(target=lambda: made.append(place.clients.record_reader()))
    looker = threading.Thread(target=place.look)
    maker.start()
    assert begun.wait(10)
    place.write("password", "second")
    looker.start()
    assert waits.wait(10)
    go_on.set()
    maker.join(10)
    looker.join(10)
    assert [password for _, _, password in taken] == ["second"]
    assert len(made) == 1
