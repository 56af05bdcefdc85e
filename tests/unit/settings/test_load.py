"""Settings: where they come from, what is checked, and that every mistake is named at once."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from consumer.errors import SettingsError
from consumer.hiding import hide
from consumer.settings import DeliverySettings, JoinSettings, KafkaSettings, Settings, load, load_settings
from consumer.settings.kafka import CLASSIC_PROPERTIES, REFUSED_PROPERTIES
from consumer.settings.model import names
from consumer.settings.table import rows


def said(environ: dict[str, str], config: Path | None = None, **needs: bool) -> str:
    """What is said of wrong settings."""
    with pytest.raises(SettingsError) as caught:
        load_settings(config, environ, **needs)
    return str(caught.value)


def toml(folder: Path, text: str) -> Path:
    file = folder / "opt-out.toml"
    file.write_text(text, encoding="utf-8")
    return file


# --- credentials in plain text

SIGNED = {"OPT_OUT_API__KEY": "live-key-1", "OPT_OUT_API__SECRET": "hush"}


@pytest.mark.parametrize("host", ["api.example", "10.0.0.7:8081", "[2001:db8::1]", "localhost.example", "api"])
@pytest.mark.parametrize(
    "credentials", [SIGNED, {"OPT_OUT_API__CREDENTIALS": '{"P": {"key": "live-key-1", "secret": "hush"}}'}]
)
def test_credentials_to_another_machine_over_http_are_refused_with_what_to_do(
    host: str, credentials: dict[str, str]
) -> None:
    given = {"OPT_OUT_API__BASE_URL": f"http://{host}/x", **credentials}
    text = said(given)
    assert "plain text" in text
    assert "https://" in text
    assert "api.allow_plain_http to true" in text
    assert "live-key-1" not in text
    assert load_settings(None, {**given, "OPT_OUT_API__ALLOW_PLAIN_HTTP": "true"}).api.base_url == f"http://{host}/x"


@pytest.mark.parametrize(
    "given",
    [
        {"OPT_OUT_API__BASE_URL": "http://127.0.0.1:8081/x", **SIGNED},
        {"OPT_OUT_API__BASE_URL": "http://[::1]/x", **SIGNED},
        {"OPT_OUT_API__BASE_URL": "http://localhost:8081/x", **SIGNED},
        {"OPT_OUT_API__BASE_URL": "https://api.example/x", **SIGNED},
        {"OPT_OUT_API__BASE_URL": "http://api.example/x", "OPT_OUT_API__AUTH": "none", **SIGNED},
        {"OPT_OUT_API__BASE_URL": "http://api.example/x"},
    ],
)
def test_what_gives_no_credentials_away_may_be_http(given: dict[str, str]) -> None:
    load_settings(None, given)


# --- defaults and sources


def test_defaults_are_the_documented_ones() -> None:
    settings = load_settings(None, {})
    assert settings.kafka.group_id == "offer-opt-out"
    assert (settings.kafka.offer_topic, settings.kafka.checkout_topic) == ("offer.presented", "checkout.completed")
    assert (settings.kafka.outcome_topic, settings.kafka.dead_letter_topic) == ("offer.outcome", "opt-out.dead-letter")
    assert (settings.kafka.start_from, settings.kafka.group_protocol) == ("earliest", "classic")
    assert settings.kafka.commit_interval == timedelta(seconds=5)
    assert settings.kafka.revoke_timeout == timedelta(seconds=10)
    join = settings.join
    assert (join.window, join.checkout_grace) == (timedelta(minutes=30), timedelta(seconds=60))
    assert (join.lookback, join.lateness) == (timedelta(hours=2), timedelta(minutes=5))
    assert (join.max_skew, join.checkout_silence) == (timedelta(minutes=5), timedelta(minutes=30))
    assert (join.unmatched_limit, join.idle_after, join.abandoned) == (50, timedelta(seconds=5), "opt-out")
    assert settings.api.base_url == "https://api.xcover.com/x"
    assert settings.api.path == "/partners/{partner_code}/offers/{offer_id}/opt_out/"
    assert (settings.api.connect_timeout, settings.api.timeout) == (timedelta(seconds=5), timedelta(seconds=10))
    delivery = settings.delivery
    assert (delivery.concurrency, delivery.rate_limit, delivery.max_unsettled) == (64, 10, 1_000_000)
    assert (delivery.rejected, delivery.not_found_limit) == ("hold", 20)
    assert delivery.shutdown_timeout == timedelta(seconds=25)
    assert (settings.dead_letter.max_run, settings.dead_letter.max_ratio) == (100, 0.1)
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8080)
    assert (settings.log.level, settings.log.format) == ("info", "json")


def test_the_environment_wins_over_the_file_and_each_value_knows_its_source(tmp_path: Path) -> None:
    config = toml(tmp_path, '[join]\nwindow = "10m"\nlookback = "1h"\n[delivery]\nconcurrency = 7\n')
    loaded = load(config, {"OPT_OUT_JOIN__WINDOW": "20m"})
    assert loaded.settings.join.window == timedelta(minutes=20)
    assert loaded.settings.join.lookback == timedelta(hours=1)
    assert loaded.settings.delivery.concurrency == 7
    sources = {row.name: row.source for row in rows(loaded)}
    assert sources["join.window"] == "environment"
    assert sources["join.lookback"] == f"file {config}"
    assert sources["join.lateness"] == "default"


def test_the_process_environment_is_read_when_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPT_OUT_KAFKA__GROUP_ID", "other")
    assert load_settings(None).kafka.group_id == "other"


def test_settings_built_directly_read_nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPT_OUT_KAFKA__GROUP_ID", "other")
    assert Settings().kafka.group_id == "offer-opt-out"


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load_settings(None, {"OPT_OUT_KAFKA__GROUP_ID": ""}).kafka.group_id == "offer-opt-out"


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings().join.window = timedelta(1)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("KAFKA__START_FROM", "2026-11-01T00:00:00Z", datetime(2026, 11, 1, tzinfo=UTC)),
        ("KAFKA__START_FROM", "latest", "latest"),
        ("KAFKA__PROPERTIES", '{"client.id": "a", "fetch.min.bytes": 5}', {"client.id": "a", "fetch.min.bytes": 5}),
        ("API__BASE_URL", "http://127.0.0.1:8081/x/", "http://127.0.0.1:8081/x"),
        ("API__METADATA_KEYS", "tier, channel", ("tier", "channel")),
        ("API__METADATA_KEYS", '["a,b", "c"]', ("a,b", "c")),
        ("LOG__LEVEL", "DEBUG", "debug"),
        ("DELIVERY__RATE_LIMIT", "2.5", 2.5),
        ("DELIVERY__REJECTED", "dead-letter", "dead-letter"),
        ("DELIVERY__RELEASE_FILE", "/etc/opt-out/release.toml", Path("/etc/opt-out/release.toml")),
        ("SERVER__PORT", "0", 0),
    ],
)
def test_a_variable_is_read_as_what_it_means(name: str, text: str, value: object) -> None:
    group, field = name.lower().split("__")
    assert getattr(getattr(load_settings(None, {f"OPT_OUT_{name}": text}), group), field) == value


def test_dotted_librdkafka_names_in_a_toml_table_need_no_quotes(tmp_path: Path) -> None:
    config = toml(tmp_path, '[kafka.properties]\nsasl.username = "u"\n"client.id" = "c"\n')
    assert load_settings(config, {}).kafka.properties == {"sasl.username": "u", "client.id": "c"}


# --- secrets


def test_a_secret_may_come_from_a_file_by_either_way(tmp_path: Path) -> None:
    secret, credentials = tmp_path / "secret", tmp_path / "credentials.json"
    secret.write_text("hush\n")
    credentials.write_text('{"P1": {"key": "k1", "secret": "s1"}}')
    config = toml(tmp_path, f'[api]\nkey = "k"\ncredentials_file = "{credentials}"\n')
    loaded = load(config, {"OPT_OUT_API__SECRET_FILE": str(secret)}, for_api=True)
    api = loaded.settings.api
    assert api.secret == SecretStr("hush")
    assert (api.key, api.credentials["P1"].key, api.credentials["P1"].secret.get_secret_value()) == ("k", "k1", "s1")
    assert loaded.origins["api.secret"] == f"file {secret}"


def test_a_secret_file_that_cannot_be_read_is_named() -> None:
    text = said({"OPT_OUT_API__SECRET_FILE": "/nowhere/secret"})
    assert "OPT_OUT_API__SECRET_FILE" in text
    assert "/nowhere/secret" in text


def test_a_secret_and_its_file_together_are_refused(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("x")
    text = said({"OPT_OUT_API__SECRET": "y", "OPT_OUT_API__SECRET_FILE": str(tmp_path / "s"), "OPT_OUT_API__KEY": "k"})
    assert "keep one" in text


def test_only_secrets_may_come_from_a_file() -> None:
    assert "OPT_OUT_JOIN__WINDOW_FILE in the environment is not a setting" in said({"OPT_OUT_JOIN__WINDOW_FILE": "x"})


@pytest.mark.parametrize(
    "environ",
    [
        {"OPT_OUT_API__SECRET": "hush"},
        {"OPT_OUT_API__KEY": "hush"},
        {"OPT_OUT_API__CREDENTIALS": '{"P": {"key": "hush"'},
        {"OPT_OUT_API__CREDENTIALS": '{"P": {"key": "hush", "secret": ["hush"]}}'},
        {"OPT_OUT_API__CREDENTIALS": '["hush"]'},
        {"OPT_OUT_KAFKA__PROPERTIES": '{"sasl.password": "hush"'},
        {"OPT_OUT_KAFKA__PROPERTIES": '{"sasl.password": "hush", "acks": "all"}'},
    ],
)
def test_no_message_holds_the_value_of_a_secret(environ: dict[str, str]) -> None:
    assert "hush" not in said(environ, for_kafka=True)


PROXY = {"https_proxy": "http://user:s3cret@proxy:3128"}


@pytest.mark.parametrize(
    "environ",
    [
        {"OPT_OUT_API__BASE_URL": "https://user:s3cret@api.xcover.com/x"},
        {"OPT_OUT_API__BASE_URL": "https://user:s3cret/of?odd#signs@api.xcover.com/x"},
        {"OPT_OUT_API__BASE_URL": "ftp://s3cret@api.xcover.com/x"},
        {"OPT_OUT_API__BASE_URL": f"https://{'x' * 150}:{'y' * 20}s3cret@api.xcover.com/x"},
        {"OPT_OUT_API__PATH": "http://user:s3cret@api/x"},
        {"OPT_OUT_KAFKA__OFFER_TOPIC": "http://user:s3cret@api/x"},
        {"OPT_OUT_API__SECRET": "s3cret", "OPT_OUT_JOIN__WINDOW": "s3cret"},
        {"OPT_OUT_API__SECRET": "s3cret", "OPT_OUT_API__SECRET_FILE": "/run/s3cret"},
        {"OPT_OUT_API__CREDENTIALS": '{"P": {"key": "k1", "secret": "s3cret"}}', "OPT_OUT_LOG__LEVEL": "s3cret"},
        {"OPT_OUT_KAFKA__PROPERTIES": '{"sasl.password": "s3cret"}', "OPT_OUT_JOIN__WINDOW": "s3cret"},
        {**PROXY, "OPT_OUT_JOIN__WINDOW": "s3cret"},
        {"OPT_OUT_API__SECRET_FILE": "s3cret"},
        {"OPT_OUT_API__SECRET_FILE": "s3cret/of+base64=="},
        {"OPT_OUT_API__SECRET_FILE": "/s3cret+of+base64=="},
        {"OPT_OUT_API__SECRET_FILE": "a.token.s3cret"},
        {"OPT_OUT_KAFKA__BOOTSTRAP_SERVERS": "b1:9092,user:s3cret@b2:9092"},
        {"OPT_OUT_API__BASE_URL": "user:s3cret@api.example/x"},
        {**PROXY, "OPT_OUT_API__BASE_URL": "s3cret"},
    ],
)
def test_no_message_holds_a_secret_that_stands_in_a_wrong_place(environ: dict[str, str]) -> None:
    text = said({"OPT_OUT_KAFKA__BOOTSTRAP_SERVERS": "b:9092", **environ}, for_kafka=True)
    assert "s3cret" not in text
    assert "***" in text


def test_what_is_secret_in_the_settings_is_known_as_such_from_then_on(tmp_path: Path) -> None:
    config = toml(tmp_path, '[kafka.properties]\nsasl.password = "of-kafka"\nssl.key.location = "/etc/key.pem"\n')
    environ = {
        "OPT_OUT_API__KEY": "the-key",
        "OPT_OUT_API__SECRET": "the-secret",
        "OPT_OUT_API__CREDENTIALS": '{"P": {"key": "another-key", "secret": "another-secret"}}',
        "HTTPS_PROXY": "http://user:of%2Fproxy@proxy:3128",
    }
    load(config, environ)
    basic = base64.b64encode(b"user:of/proxy").decode()
    words = "of-kafka the-key the-secret another-key another-secret of/proxy of%2Fproxy"
    assert hide(f"{words} Basic {basic}").split() == [*["***"] * 7, "Basic", "***"]
    assert hide("/etc/key.pem P user b1:9092") == "/etc/key.pem P user b1:9092"


def test_a_password_that_is_a_number_is_a_secret_too() -> None:
    load(None, {"OPT_OUT_KAFKA__PROPERTIES": '{"sasl.password": 13371337, "linger.ms": 7777777}'})
    assert hide("13371337 7777777") == "*** 7777777"


def test_a_secret_of_one_character_makes_no_text_unreadable() -> None:
    load(None, {"OPT_OUT_API__KEY": "k", "OPT_OUT_API__SECRET": "s"})
    assert hide("the session's records") == "the session's records"


def test_neither_the_table_nor_the_settings_themselves_show_a_secret() -> None:
    loaded = load(
        None,
        {
            "OPT_OUT_API__KEY": "hush-key",
            "OPT_OUT_API__SECRET": "hush",
            "OPT_OUT_API__CREDENTIALS": '{"P": {"key": "hush1", "secret": "hush2"}}',
            "OPT_OUT_KAFKA__PROPERTIES": '{"sasl.password": "hush4", "ssl.key.pem": "hush5", "client.id": "me"}',
        },
    )
    shown = {row.name: row.value for row in rows(loaded)}
    assert "hush" not in repr(loaded.settings) + str(shown)
    assert shown["api.secret"] == "(hidden)"
    assert shown["api.credentials"] == "P: (hidden)"
    assert "client.id=me" in shown["kafka.properties"]
    assert shown["join.window"] == "30m"


def test_the_table_shows_every_setting() -> None:
    assert [row.name for row in rows(load(None, {}))] == [f"{group}.{name}" for group, name in names()]
    assert all(row.meaning for row in rows(load(None, {})))


# --- unknown names


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("OPT_OUT_JOIN__WINDOWS", "OPT_OUT_JOIN__WINDOW"),
        ("OPT_OUT_KAFKA__BOOTSTRAP_SERVER", "OPT_OUT_KAFKA__BOOTSTRAP_SERVERS"),
        ("OPT_OUT_KAFKA_GROUP_ID", "OPT_OUT_KAFKA__GROUP_ID"),
        ("opt_out_join__window", "OPT_OUT_JOIN__WINDOW"),
        ("OPT_OUT_API__SECRETFILE", "OPT_OUT_API__SECRET_FILE"),
    ],
)
def test_an_unknown_variable_is_an_error_that_suggests_the_nearest(variable: str, nearest: str) -> None:
    assert f"{variable} in the environment is not a setting; did you mean {nearest}?" in said({variable: "30m"})


def test_a_whole_group_as_one_variable_is_refused() -> None:
    assert "OPT_OUT_JOIN in the environment is not a setting" in said({"OPT_OUT_JOIN": '{"window": "1m"}'})


def test_an_unknown_key_or_table_in_the_file_is_an_error_that_suggests_the_nearest(tmp_path: Path) -> None:
    text = said({}, toml(tmp_path, 'loose = 1\n[join]\nwindw = "1m"\n[jion]\nwindow = "1m"\n'))
    assert "join.windw" in text
    assert "did you mean join.window?" in text
    assert "jion.window" in text
    assert "loose" in text


def test_a_file_that_is_missing_or_no_toml_is_named(tmp_path: Path) -> None:
    assert "nowhere.toml" in said({}, tmp_path / "nowhere.toml")
    assert "opt-out.toml given by --config cannot be read" in said({}, toml(tmp_path, "[join\n"))


# --- wrong values


def test_all_mistakes_are_listed_at_once_with_both_names_what_was_given_and_what_would_be_right(tmp_path: Path) -> None:
    text = said(
        {
            "OPT_OUT_JOIN__WINDOW": "3x",
            "OPT_OUT_DELIVERY__CONCURRENCY": "none",
            "OPT_OUT_API__AUTH": "basic",
            "OPT_OUT_NONSENSE": "1",
            "OPT_OUT_LOG__FORMAT": "xml",
        },
        toml(tmp_path, '[dead_letter]\nmax_ratio = 2\n[kafka]\ngroup_protocol = "eager"\n'),
        for_kafka=True,
    )
    assert text.startswith("8 settings are wrong:")
    for part in (
        "OPT_OUT_JOIN__WINDOW (join.window in a TOML file) is '3x': not a duration; write whole numbers with their",
        "OPT_OUT_DELIVERY__CONCURRENCY (delivery.concurrency in a TOML file) is 'none': should be a valid integer",
        "api.auth in a TOML file) is 'basic': should be 'signature' or 'none'",
        "OPT_OUT_NONSENSE",
        "is 'xml': should be 'json' or 'console'",
        "dead_letter.max_ratio in a TOML file) is 2: should be less than or equal to 1",
        "kafka.group_protocol in a TOML file) is 'eager': should be 'classic' or 'consumer'",
        "OPT_OUT_KAFKA__BOOTSTRAP_SERVERS (kafka.bootstrap_servers in a TOML file) is not set",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("JOIN__LATENESS", "0s", "must be longer than 0"),
        ("JOIN__WINDOW", "0", "must be longer than 0"),
        ("JOIN__WINDOW", "30", "not a duration"),
        ("JOIN__WINDOW", "99999999999999d", "too long"),
        ("JOIN__UNMATCHED_LIMIT", "-1", "greater than or equal to 0"),
        ("DELIVERY__RATE_LIMIT", "-1", "greater than or equal to 0"),
        ("DELIVERY__RATE_LIMIT", "nan", "finite"),
        ("DELIVERY__CONCURRENCY", "0", "greater than or equal to 1"),
        ("DELIVERY__REJECTED", "drop", "should be 'hold' or 'dead-letter'"),
        ("KAFKA__GROUP_PROTOCOL", "cooperative", "'classic' or 'consumer'"),
        ("KAFKA__START_FROM", "yesterday", "earliest, latest, or a time with its zone"),
        ("KAFKA__START_FROM", "2026-11-01T00:00:00", "earliest, latest, or a time with its zone"),
        ("KAFKA__OFFER_TOPIC", "a topic", "must be a topic name"),
        ("KAFKA__OUTCOME_TOPIC", "offer.presented", "the same topic as kafka.offer_topic"),
        ("KAFKA__CHECKOUT_TOPIC", "offer.presented", "the same topic as kafka.offer_topic"),
        ("KAFKA__PROPERTIES", "client.id=x", "not JSON"),
        ("KAFKA__PROPERTIES", "[1]", "must be a JSON object"),
        ("KAFKA__REVOKE_TIMEOUT", "5m", "must be shorter than max.poll.interval.ms (5m)"),
        ("API__BASE_URL", "api.xcover.com/x", "must be an http or https URL"),
        ("API__BASE_URL", "ftp://api.xcover.com/x", "must be an http or https URL"),
        ("API__BASE_URL", "https://api.xcover.com/x?a=b", "no query"),
        ("API__BASE_URL", "https://me:pw@api.xcover.com/x", "no user name"),
        ("API__BASE_URL", "https://api.xcover.com:port/x", "must be an http or https URL"),
        ("API__PATH", "/offers/{offer_id}/opt_out/", "must begin with / and contain {partner_code} and {offer_id}"),
        ("API__PATH", "partners/{partner_code}/{offer_id}/", "must begin with /"),
        ("API__PATH", "/{partner_code}/{offer_id}/{session}", "no other braces"),
        ("API__PATH", "/{partner_code}/{offer_id}?x=1", "no query"),
        ("SERVER__PORT", "65536", "less than or equal to 65535"),
        ("SERVER__HOST", " ", "at least 1 character"),
        ("API__METADATA_KEYS", "tier,reason", "must not contain reason"),
        ("API__CREDENTIALS", '{"P": {"key": "k"}}', "P.secret: is missing"),
    ],
)
def test_a_wrong_value_is_refused(variable: str, text: str, expected: str) -> None:
    message = said({f"OPT_OUT_{variable}": text})
    assert expected in message
    assert f"OPT_OUT_{variable} " in message


def test_grace_must_fit_in_the_window_and_the_window_in_the_lookback_defaults_included() -> None:
    assert "JOIN__CHECKOUT_GRACE" in said({"OPT_OUT_JOIN__CHECKOUT_GRACE": "31m"})
    assert "is 2h by default: must be at least join.window, which is 3h" in said({"OPT_OUT_JOIN__WINDOW": "3h"})
    assert "is 1m by default: must be at most join.window, which is 30s" in said({"OPT_OUT_JOIN__WINDOW": "30s"})
    edge = {f"OPT_OUT_JOIN__{name}": "30m" for name in ("WINDOW", "CHECKOUT_GRACE", "LOOKBACK")}
    assert load_settings(None, edge).join.lookback == timedelta(minutes=30)


@pytest.mark.parametrize("name", sorted(CLASSIC_PROPERTIES))
def test_a_setting_of_the_classic_protocol_is_refused_on_the_other_and_taken_on_its_own(name: str) -> None:
    environ = {"OPT_OUT_KAFKA__PROPERTIES": f'{{"{name}": "x"}}'}
    text = said({**environ, "OPT_OUT_KAFKA__GROUP_PROTOCOL": "consumer"})
    assert f"{name} is refused with kafka.group_protocol = consumer: {CLASSIC_PROPERTIES[name]}" in text
    assert name in load_settings(None, environ).kafka.properties


@pytest.mark.parametrize("name", sorted(REFUSED_PROPERTIES))
def test_a_librdkafka_setting_that_would_break_a_promise_is_refused_with_the_reason(name: str) -> None:
    text = said({"OPT_OUT_KAFKA__PROPERTIES": f'{{"{name}": "x"}}'})
    assert f"{name} is refused: {REFUSED_PROPERTIES[name]}" in text


@pytest.mark.parametrize(
    "servers",
    ["kafka:abc", "kafka:99999", "kafka:0", "http://kafka:9092", "kafka:9092/x", "a b:9092", "a:1;b:1", "::1"],
)
def test_what_librdkafka_would_take_for_another_broker_is_refused(servers: str) -> None:
    assert "names brokers as host:port" in said({"OPT_OUT_KAFKA__BOOTSTRAP_SERVERS": f"good:9092,{servers}"})


@pytest.mark.parametrize(
    "servers", ["kafka", "a:1, b:2", "[::1]:9092", "SASL_SSL://a.b-c:9092", "127.0.0.1:65535", "a:1,"]
)
def test_brokers_are_named_in_any_form_that_librdkafka_reads(servers: str) -> None:
    assert load_settings(None, {"OPT_OUT_KAFKA__BOOTSTRAP_SERVERS": servers}).kafka.bootstrap_servers == servers


@pytest.mark.parametrize(
    ("more", "refused"),
    [
        ({}, True),
        ({"sasl.oauthbearer.method": "default"}, True),
        ({"sasl.oauthbearer.method": "OIDC"}, False),
        ({"enable.sasl.oauthbearer.unsecure.jwt": True}, False),
    ],
)
@pytest.mark.parametrize("name", ["sasl.mechanism", "sasl.mechanisms"])
def test_a_login_by_tokens_needs_somebody_who_gives_them(name: str, more: dict[str, object], refused: bool) -> None:
    environ = {"OPT_OUT_KAFKA__PROPERTIES": json.dumps({name: "OAUTHBEARER", **more})}
    if refused:
        assert "OAUTHBEARER needs sasl.oauthbearer.method oidc" in said(environ)
    else:
        load_settings(None, environ)


# --- what a command needs


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OPT_OUT_API__CREDENTIALS": "{}"},
    ],
)
def test_signing_needs_credentials(environ: dict[str, str]) -> None:
    assert "cannot be signed" in said(environ, for_api=True)


@pytest.mark.parametrize(
    "environ",
    [
        {"OPT_OUT_API__AUTH": "none"},
        {"OPT_OUT_API__KEY": "k", "OPT_OUT_API__SECRET": "s"},
        {"OPT_OUT_API__CREDENTIALS": '{"P": {"key": "k", "secret": "s"}}'},
    ],
)
def test_credentials_of_any_kind_or_no_auth_will_do(environ: dict[str, str]) -> None:
    load_settings(None, environ, for_api=True)


@pytest.mark.parametrize("alone", ["KEY", "SECRET"])
def test_a_key_without_its_secret_is_refused_and_the_other_way_round(alone: str) -> None:
    assert "belong together" in said({f"OPT_OUT_API__{alone}": "x"})


def test_groups_can_be_built_directly() -> None:
    assert DeliverySettings(concurrency=4).concurrency == 4
    assert JoinSettings(window=timedelta(minutes=1)).window == timedelta(minutes=1)
    with pytest.raises(ValidationError):
        KafkaSettings(properties={"acks": "1"})
