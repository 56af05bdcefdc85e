"""Settings and the files they name: whatever is in them, they are taken or refused in words, never with a traceback.

What is taken must also work: a URL that no call can be made of is a wrong setting, not a wrong call.
"""

from __future__ import annotations

import json
import os
import re
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from fuzz.fuzzing import TEXT, fuzz, spoilt
from hypothesis import example, given
from hypothesis import strategies as st
from typer.testing import CliRunner

from consumer.calls import OptOutCall
from consumer.cli import app
from consumer.errors import SettingsError
from consumer.events import Reason, RecordRef
from consumer.hiding import IN_USE
from consumer.runtime.releases import Releases
from consumer.runtime.tasks import rules_of
from consumer.settings import Settings, load
from consumer.settings.model import PREFIX, names
from consumer.settings.outside import proxy_of
from consumer.settings.types import format_duration, parse_duration
from consumer.xcover.api import OptOutApi
from consumer.xcover.auth import Credentials

VARIABLES = [f"{PREFIX}{group.upper()}__{name.upper()}" for group, name in names()]
SECRET_FILES = [f"{PREFIX}{name}_FILE" for name in ("API__KEY", "API__SECRET", "API__CREDENTIALS", "KAFKA__PROPERTIES")]

# What an environment can hold: no NUL, and bytes that are no UTF-8 as lone surrogates.
ENVIRONMENT_TEXT = TEXT.map(lambda text: text.replace("\0", "")) | st.binary(max_size=8).map(
    lambda data: data.replace(b"\0", b"").decode("utf-8", "surrogateescape")
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
PROPERTIES = st.dictionaries(
    st.sampled_from(
        ("max.poll.interval.ms", "session.timeout.ms", "acks", "fetch.min.bytes", "no.such", "client.id", "")
    ),
    st.sampled_from(
        ("1e400", "nan", "-1", "", "x", "٣", 10**400, 1.5, True, float("inf"), float("nan"), 5, [], {}, None)
    )
    | TEXT,
    max_size=3,
)
CREDENTIALS = st.dictionaries(
    TEXT, st.fixed_dictionaries({}, optional={"key": TEXT, "secret": TEXT, "x": TEXT}) | JSON, max_size=3
)
DEEP = ('{"a":' * 50_000, "[" * 50_000, '{"a":' * 50_000 + "1" + "}" * 50_000)
URLS = (
    st.sampled_from(
        (
            "http://a..b",
            "http://[::1",
            "http://[v1.a]",
            "http://xn--a",
            "http://a\x01b",
            "http://a/\x7f",
            "http://a\\b",
            "http://256.1.1.1",
            "http://1.2.3",
            "http://a:0",
            "http://a:99999",
            "http://a:x",
            "http://%zz",
            "http://münchen/é",
            "http://",
            "https:///x",
            "http://*",
            "http://-",
            "http://\ufffd",
            "http://" + "a" * 300,
            "ftp://a",
            "//a",
            "http://\uff41/%",
        )
    )
    | TEXT.map(lambda text: f"http://{text}/x")
    | TEXT.map(lambda text: f"https://host/{text}")
)
PATHS = TEXT.map(lambda text: f"/{text}/{{partner_code}}/{{offer_id}}") | st.sampled_from(
    (
        "/{partner_code}/../{offer_id}",
        "{partner_code}{offer_id}",
        "/{partner_code}/{offer_id}/\x7f",
        "/{partner_code:x}/{offer_id}",
    )
)
NUMBERS = st.sampled_from(
    ("0", "-1", "1e9", "nan", "inf", "٣", "1_000", " 5 ", "9" * 5000, "1e400", "0x10", "5.0", "true")
)
DURATIONS = st.sampled_from(
    (
        "0",
        "5",
        "5s",
        "-5s",
        "1h30m",
        "5 m",
        "٣s",
        "1e3s",
        "9" * 20 + "d",
        "9" * 5000 + "s",
        "999999999d",
        "P1D",
        "s",
        "1ms",
    )
) | st.tuples(st.integers(0, 10**12), st.sampled_from(("ms", "s", "m", "h", "d", "x", ""))).map(
    lambda d: f"{d[0]}{d[1]}"
)
STARTS = st.sampled_from(
    (
        "earliest",
        "latest",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "2026-01-01",
        "2026-01-01T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-01-01T00:00:00+99:99",
        "now",
    )
)
VALUES = st.one_of(
    ENVIRONMENT_TEXT,
    NUMBERS,
    DURATIONS,
    URLS,
    PATHS,
    STARTS,
    st.sampled_from(DEEP),
    *(
        strategy.map(json.dumps).flatmap(
            lambda text: (
                st.just(text)
                | spoilt(text.encode()).map(lambda b: b.decode("utf-8", "surrogateescape").replace("\0", ""))
            )
        )
        for strategy in (JSON, PROPERTIES, CREDENTIALS)
    ),
)
ENVIRONMENTS = st.dictionaries(
    st.sampled_from(VARIABLES) | st.sampled_from(SECRET_FILES) | TEXT.map(lambda text: PREFIX + text.replace("\0", "")),
    VALUES,
    max_size=4,
)


def taken(config: Path | None, environ: dict[str, str]) -> Settings | None:
    """The settings, None if they are refused. Whatever else is raised fails the test."""
    IN_USE.forget()  # what another example had for a secret, such as 1, is none of this one
    words = ""
    try:
        settings = load(config, environ).settings
    except SettingsError as error:
        words = str(error)
    if words:
        # Its own secret may be such a word, or a part of several.
        assert re.match(r"\S+ (setting is|settings are) \S+:\n  \S|.*\*\*\*.*:\n  \S", words)
        return None
    check(settings)
    return settings


def check(settings: Settings) -> None:
    """What was taken can be used."""
    rules = rules_of(settings.join)
    assert 0 <= rules.checkout_grace <= rules.window <= rules.lookback
    proxy_of(settings.api)
    if settings.api.auth == "signature" and settings.api.key is None:
        return
    made: list[httpx.Request] = []
    api = OptOutApi(settings.api, Credentials(settings.api, lambda: 1e9), Keeps(made), lambda: 1e9)
    call = OptOutCall("P", "o", "s", Reason.DECLINED, {}, RecordRef("t", 0, 0), "owner", 0)
    with pytest.raises(StopIteration):
        api(call, lambda: True).send(None)
    assert made, "no request can be made with these settings"
    (request,) = made
    for name, value in request.headers.raw:
        assert not set(name + value) & set(b"\r\n\0"), "aiohttp refuses such a header, at each call"


class Keeps(httpx.AsyncBaseTransport):
    """Keeps the requests, and records everything."""

    def __init__(self, made: list[httpx.Request]) -> None:
        self.made = made

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.made.append(request)
        return httpx.Response(204)


@fuzz(125)
@given(ENVIRONMENTS)
@example({"OPT_OUT_KAFKA__PROPERTIES": '{"max.poll.interval.ms": 1e400}'})
@example({"OPT_OUT_KAFKA__PROPERTIES": '{"max.poll.interval.ms": "inf"}'})
@example({"OPT_OUT_KAFKA__PROPERTIES": '{"max.poll.interval.ms": 1' + "0" * 400 + "}"})
@example({"OPT_OUT_KAFKA__PROPERTIES": DEEP[0]})
@example({"OPT_OUT_API__CREDENTIALS": DEEP[2]})
@example({"OPT_OUT_API__METADATA_KEYS": DEEP[1]})
@example({"OPT_OUT_API__KEY": "k\ney", "OPT_OUT_API__SECRET": "s"})
@example({"OPT_OUT_API__KEY": "ключ", "OPT_OUT_API__SECRET": "s"})
@example({"OPT_OUT_API__AUTH": "none", "OPT_OUT_API__BASE_URL": "http://256.1.1.1"})
@example({"OPT_OUT_API__AUTH": "none", "OPT_OUT_API__BASE_URL": "http://a\\b"})
@example({"OPT_OUT_API__AUTH": "none", "OPT_OUT_API__BASE_URL": "http://xn--a"})
@example({"OPT_OUT_API__AUTH": "none", "OPT_OUT_API__PATH": "/{partner_code}/{offer_id}/\x7f"})
@example({"OPT_OUT_API__KEY": "\udcff", "OPT_OUT_API__SECRET": "\udcff", "OPT_OUT_SERVER__HOST": "\udcff"})
def test_any_environment_is_taken_or_refused_in_words(environ: dict[str, str]) -> None:
    taken(None, environ)


@fuzz(75)
@given(URLS, PATHS, TEXT, TEXT)
def test_calls_can_be_made_with_whatever_is_taken(url: str, path: str, key: str, secret: str) -> None:
    for api in ({"AUTH": "none", "BASE_URL": url}, {"AUTH": "none", "PATH": path}, {"KEY": key, "SECRET": secret}):
        taken(None, {f"OPT_OUT_API__{name}": value for name, value in api.items()})


TOML_VALUES = st.one_of(
    st.sampled_from(
        (
            "1",
            "-1",
            "0x" + "f" * 6000,
            "1e400",
            "nan",
            "true",
            '""',
            '"5s"',
            "[]",
            "{}",
            "{a.b = 1}",
            "2026-01-01",
            "07:00:00",
            "2026-01-01T00:00:00Z",
            "2026-01-01T00:00:00",
            '"a\\u0000b"',
            "[[]]",
            '["a", 1]',
            '"\\ud800"',
            "[" * 3000 + "]" * 3000,
        )
    ),
    VALUES.map(lambda text: json.dumps(text.encode("utf-8", "replace").decode(), ensure_ascii=False)),
    JSON.map(lambda value: json.dumps(value).replace("null", '"x"')),
)
TOML_NAMES = st.sampled_from(list(names())) | st.sampled_from(
    (
        ("api", "secret_file"),
        ("kafka", "properties_file"),
        ("kafka", "properties.a.b"),
        ("", ""),
        ("nothing", "x"),
        ("api", "zzz"),
        ("api.key", "x"),
    )
)
TOML = st.lists(st.tuples(TOML_NAMES, TOML_VALUES), max_size=4).map(
    lambda lines: "\n".join(
        f"[{group}]\n{name} = {value}" if group else f"top = {value}" for (group, name), value in lines
    )
)
TOML_BYTES = st.one_of(
    TOML.map(lambda text: text.encode("utf-8", "surrogatepass")),
    TOML.map(lambda text: text.encode("utf-8", "replace")).filter(lambda data: len(data) < 2000).flatmap(spoilt),
    st.binary(max_size=50),
)


@fuzz(75)
@given(TOML_BYTES)
@example(b"[server]\nport = 0x" + b"f" * 6000)
@example(b"a = " + b"[" * 50_000)
@example(b"[kafka.properties]\n" + b".".join([b"a"] * 3000) + b" = 1")
@example(b'[delivery]\nrelease_file = "a\\u0000b"')
@example(b"\xff\xfe")
@example(b'[api]\nkey = "a"\nkey = "b"')
def test_any_file_of_settings_is_taken_or_refused_in_words(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "opt-out.toml"
    file.write_bytes(content)
    settings = taken(file, {})
    if settings is not None:
        try_releases(settings.delivery.release_file)


def try_releases(path: Path | None) -> Releases | None:
    words = ""
    try:
        return Releases(path)
    except SettingsError as error:
        words = str(error)
    assert "delivery.release_file" in words
    return None


ENTRIES = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("partner_code", "offer_id", "who", "why", "x"),
        st.sampled_from(('"a"', '""', '" "', "1", "[]", "{}", '"☃"', "nan", "0x" + "f" * 6000, '"' + "x" * 600 + '"')),
    ),
)
RELEASES = st.lists(ENTRIES, max_size=3).map(
    lambda entries: "".join(
        "[[release]]\n" + "".join(f"{k} = {v}\n" for k, v in entry.items()) for entry in entries
    ).encode()
)


@fuzz(75)
@given(RELEASES | RELEASES.filter(lambda data: len(data) < 2000).flatmap(spoilt) | TOML_BYTES)
@example(b"a = " + b"[" * 50_000)
@example(b"release = 0x" + b"f" * 6000)
@example(b"[[release]]\npartner_code = 0x" + b"f" * 6000)
@example(b"release = [1, [2]]")
def test_any_release_file_is_taken_or_refused_at_the_start_and_passed_over_while_running(
    tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "releases.toml"
    file.write_bytes(b"")
    running = Releases(file)
    file.write_bytes(content)
    started = try_releases(file)
    changed = running.changed(10.0)
    assert changed == (started is not None and bool(content))
    assert running.notes == ({} if started is None else started.notes)
    for (partner, offer), note in running.notes.items():
        assert partner
        assert offer
        assert note.startswith("released by ")


@pytest.mark.parametrize("kind", ["missing", "directory", "binary", "unreadable", "long", "link to itself"])
@pytest.mark.parametrize("name", [*SECRET_FILES, "OPT_OUT_DELIVERY__RELEASE_FILE", "--config"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, kind: str) -> None:
    file = tmp_path / "file"
    match kind:
        case "directory":
            file.mkdir()
        case "binary":
            file.write_bytes(b"\xff\xfe\0\1")
        case "unreadable":
            file.write_bytes(b"x")
            file.chmod(0)
            if _readable(file):
                pytest.skip("this user may read every file")
        case "long":
            file = tmp_path / ("x" * 5_000)
        case "link to itself":
            file.symlink_to(file)
    config, environ = (file, {}) if name == "--config" else (None, {name: str(file)})
    with pytest.raises(SettingsError) as caught:
        Releases(load(config, environ).settings.delivery.release_file)
    assert str(file) in str(caught.value)
    assert name.removesuffix("_FILE") in str(caught.value)


def _readable(file: Path) -> bool:
    try:
        return bool(file.read_bytes())
    except OSError:
        return False


@fuzz(15)
@given(ENVIRONMENTS, TOML_BYTES)
@example({"OPT_OUT_SERVER__HOST": "\udcff"}, b"")
@example({"OPT_OUT_\0": ""}, b"")
@example({"OPT_OUT_KAFKA__GROUP_ID": "[red]x[/blue]"}, b"")
@example({"OPT_OUT_KAFKA__GROUP_ID": "\ud7ff\u202e\x1b[31m"}, b"")
def test_the_command_ends_with_0_or_2_and_never_with_a_traceback(
    tmp_path: Path, environ: dict[str, str], content: bytes
) -> None:
    file = tmp_path / "opt-out.toml"
    file.write_bytes(content)
    given = {name: value for name, value in environ.items() if "=" not in name and "\0" not in name + value}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in given.items():
            patch.setitem(os.environ, name, value)
        result = CliRunner().invoke(app, ["settings", "--config", str(file)])
    if result.exception is not None:
        assert isinstance(result.exception, SettingsError), repr(result.exception)[:500]


@fuzz(50)
@given(DURATIONS | TEXT, st.integers(0, 10**15))
def test_a_duration_reads_back_and_nothing_else_is_one(text: str, milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(duration)) == duration
    try:
        found = parse_duration(text)
    except ValueError:
        return
    assert found >= timedelta()
    assert text.isascii()
    assert parse_duration(format_duration(found)) == found


def test_the_words_of_an_error_are_not_the_secret() -> None:
    for variable in ("OPT_OUT_API__CREDENTIALS", "OPT_OUT_KAFKA__PROPERTIES"):
        with pytest.raises(SettingsError) as caught:
            load(None, {variable: '{"hunter2": '})
        assert "hunter2" not in str(caught.value)
