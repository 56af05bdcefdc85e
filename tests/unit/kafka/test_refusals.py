"""What librdkafka's words mean. Each text here was said by librdkafka 2.16 to a real Kafka or to nobody.

The real ones, asked anew, are in integration/test_refusals.py.
"""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.kafka.refusals import CERTIFICATE, KINDS, hide_secrets, kind_of, refused_certificate
from consumer.settings import KafkaSettings


def settings(**properties: Any) -> KafkaSettings:
    return KafkaSettings.model_validate({"bootstrap_servers": "k:9092", "properties": properties})


PLAIN, TLS = settings(), settings(**{"security.protocol": "SSL"})
LOGIN = settings(**{"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "me"})
LOGIN_TLS = settings(**{"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "sasl.username": "me"})

AT = "sasl_plaintext://127.0.0.1:15435/bootstrap: "
BAD_CERTIFICATE = (
    "SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker certificate could not be "
    "verified, verify that ssl.ca.location is correctly configured or root CA certificates are installed (install "
    "ca-certificates package) (after 5ms in state SSL_HANDSHAKE)"
)

TEXTS = [
    (f"{AT}SASL authentication error: Authentication failed: Invalid username or password", LOGIN, "password"),
    (
        f"{AT}SASL authentication error: Authentication failed during authentication due to invalid credentials with "
        "SASL mechanism SCRAM-SHA-512 (after 348ms in state AUTH_REQ)",
        LOGIN,
        "password",
    ),
    (
        f"{AT}SASL SCRAM-SHA-256 mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's supported "
        "mechanisms: PLAIN,SCRAM-SHA-512 (after 309ms in state AUTH_HANDSHAKE)",
        LOGIN,
        "mechanism",
    ),
    (
        f"{AT}SASL PLAIN mechanism handshake failed: Broker: Request not valid in current SASL state: broker's "
        "supported mechanisms:  (after 0ms in state AUTH_HANDSHAKE)",
        LOGIN,
        "no login wanted",
    ),
    (f'{AT}SASL authentication error: {{"status":"invalid_token"}} (after 303ms in state AUTH_REQ)', LOGIN, "token"),
    ("no token of AWS IAM could be made: there are no AWS credentials", LOGIN, "token not made"),
    ("Failed to acquire SASL OAUTHBEARER token: OAuth callback raised exception", LOGIN, "token not made"),
    (f"{AT}SASL authentication error: [e04d2a]: Access denied (after 303ms in state AUTH_REQ)", LOGIN, "token"),
    (
        "ssl://k:1/bootstrap: Receive failed: error:0A000416:SSL routines::ssl/tls alert certificate unknown: SSL "
        "alert number 46 (after 19ms in state APIVERSION_QUERY)",
        TLS,
        "client certificate",
    ),
    (
        "ssl://k:1/bootstrap: Receive failed: error:0A000415:SSL routines::ssl/tls alert certificate expired: SSL "
        "alert number 45 (after 19ms in state APIVERSION_QUERY)",
        TLS,
        "client certificate",
    ),
    ("Failed to acquire SASL OAUTHBEARER token: Failed to connect to 127.0.0.1:1 after 0 ms", LOGIN, "token missing"),
    ('Failed to retrieve OIDC token from "http://127.0.0.1:1/token": Could not connect', LOGIN, "token missing"),
    (f"ssl://k:9093/bootstrap: {BAD_CERTIFICATE}", TLS, "certificate"),
    (
        "ssl://k:1/bootstrap: SSL handshake failed: error:0A000410:SSL routines::ssl/tls alert handshake failure: SSL "
        "alert number 40 (after 4ms in state SSL_HANDSHAKE)",
        TLS,
        "client certificate",
    ),
    (
        "ssl://k:1/bootstrap: Receive failed: error:0A00045C:SSL routines::tlsv13 alert certificate required: SSL "
        "alert number 116 (after 3ms in state APIVERSION_QUERY)",
        TLS,
        "client certificate",
    ),
    (
        "ssl://k:9092/bootstrap: SSL handshake failed: Disconnected: SSL connection closed by peer: connecting to a "
        "PLAINTEXT broker listener? (after 4ms in state SSL_HANDSHAKE)",
        TLS,
        "no TLS there, it seems",
    ),
    (
        "ssl://k:9092/bootstrap: SSL handshake failed: error:0A00010B:SSL routines::wrong version number (after 4ms)",
        TLS,
        "no TLS there",
    ),
    (
        "GroupCoordinator: SASL authentication error: SaslAuthenticateRequest failed: Local: Broker transport failure "
        "(after 0ms in state DOWN)",
        LOGIN,
        "other",
    ),
    (
        "k:1/bootstrap: SASL authentication error: SaslHandshakeRequest failed: Local: Timed out (after 9ms)",
        LOGIN,
        "other",
    ),
    ("k:9092/1: Receive failed: Invalid response size 352518912 (0..100000000): increase", PLAIN, "TLS there"),
    ("k:9092/1: Receive failed: Invalid response size 1213486160 (0..100000000): increase", PLAIN, "HTTP"),
    ("k:9092/1: Receive failed: Invalid response size 1100000000 (0..100000000): increase", PLAIN, "size"),
    (
        "k:9092/bootstrap: Failed to resolve 'k:9092': Name or service not known (after 1ms in state CONNECT)",
        PLAIN,
        "name",
    ),
    ("k:1/2: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)", PLAIN, "refused"),
    ("[::1]:1/2: Connect to ipv6#[::1]:1 failed: No route to host (after 0ms in state CONNECT)", PLAIN, "way"),
    ("k:1/bootstrap: Connection setup timed out in state CONNECT (after 30028ms in state CONNECT)", PLAIN, "way"),
    (
        "ssl://k:1/bootstrap: Connection setup timed out in state SSL_HANDSHAKE (after 30059ms in state SSL_HANDSHAKE)",
        TLS,
        "never answers",
    ),
    ("k:1/bootstrap: Connection setup timed out in state AUTH_REQ (after 30059ms in state AUTH_REQ)", LOGIN, "silent"),
    ("k:1/bootstrap: Timed out ApiVersionRequest in flight (after 10012ms, timeout #0)", PLAIN, "never answers"),
    (
        "k:1/bootstrap: ApiVersionRequest failed: Local: Timed out: probably due to broker version < 0.10 (see "
        "api.version.request configuration) (after 10013ms in state APIVERSION_QUERY)",
        PLAIN,
        "never answers",
    ),
    ("k:1/1: Timed out FetchRequest in flight (after 60001ms, timeout #0)", PLAIN, "silent"),
    ('Broker name "SSL://k:1" parse error: protocol "SSL" does not match security.protocol setting', PLAIN, "scheme"),
    ("FindCoordinator response error: Group authorization failed.", PLAIN, "group right"),
    ("Broker: Group authorization failed", PLAIN, "group right"),
    ("Subscribed topic not available: t: Broker: Topic authorization failed", PLAIN, "topic right"),
    (
        "Failed to acquire idempotence PID from broker k:1/1: Broker: Cluster authorization failed",
        PLAIN,
        "cluster right",
    ),
    (
        "k:1/bootstrap: Metadata request failed: connected: Local: Required feature not supported by broker (0ms)",
        PLAIN,
        "controller",
    ),
    (
        "k:1/bootstrap: Disconnected: connection closed by peer: receive 0 after POLLIN (after 2ms in state "
        "APIVERSION_QUERY)",
        PLAIN,
        "TLS there, it seems",
    ),
    ("k:1/bootstrap: Disconnected: connection closed by peer (after 3ms in state UP)", PLAIN, "login wanted, it seems"),
    (
        "k:1/bootstrap: Disconnected: SSL connection closed by peer (after 12ms in state UP)",
        TLS,
        "login wanted, it seems",
    ),
    ("GroupCoordinator: k:1: 1 request(s) timed out: disconnect (after 60001ms in state UP)", PLAIN, "silent"),
    ("1/1 brokers are down", PLAIN, "all down"),
    ("k:1/1: Disconnected (after 600012ms in state UP)", PLAIN, "other"),
    ("k:1/1: Disconnected (after 12ms in state UP)", LOGIN, "other"),
    ("k:1/1: Disconnected (after 2ms in state APIVERSION_QUERY)", LOGIN_TLS, "other"),
    ("something new", PLAIN, "other"),
]


@pytest.mark.parametrize(("text", "kafka", "name"), TEXTS)
def test_each_text_is_of_its_kind_and_says_what_to_change(text: str, kafka: KafkaSettings, name: str) -> None:
    refusal = kind_of(text, kafka)
    assert refusal.kind.name == name
    line = kind_of(f"FAIL [me#producer-7] [thrd:sasl_plaintext://127.0.0.1:1/bootstrap]: {text}", kafka)
    assert line == refusal, "a line of the log is the same with a prefix"
    if refusal.kind.is_known:
        assert "{" not in refusal.words + refusal.remedy
        assert refusal.remedy.endswith((".", ")."))
        assert text in refusal.line()
    else:
        assert refusal.line().startswith("the Kafka client says: ")


def test_every_kind_has_its_text() -> None:
    assert {name for _, _, name in TEXTS} == {kind.name for kind in KINDS} | {"other"}


@pytest.mark.parametrize(
    ("text", "broker"),
    [
        ("ssl://a.b-c.example:9093/bootstrap: x", "a.b-c.example:9093"),
        ("k:1/1001: x", "k:1"),
        ("[::1]:9092/bootstrap: x", "[::1]:9092"),
        ("GroupCoordinator: k:1: x", "k:1"),
        ("no broker at all", ""),
    ],
)
def test_the_broker_is_read_from_the_text(text: str, broker: str) -> None:
    assert kind_of(text, PLAIN).broker == broker


def test_a_time_in_the_text_makes_no_cause_of_its_own() -> None:
    first, second = (kind_of(f"k:1/1: Disconnected (after {n}ms in state UP)", LOGIN) for n in (600_012, 700_013))
    assert first == second


@given(st.text(max_size=60), st.sampled_from([text for text, _, _ in TEXTS]), st.integers(0, 60))
def test_any_text_is_of_some_kind(noise: str, text: str, at: int) -> None:
    for kafka in (PLAIN, TLS, LOGIN):
        refusal = kind_of(text[:at] + noise + text[at:], kafka)
        assert refusal.line()


@pytest.mark.parametrize("name", ["sasl.password", "ssl.key.password", "sasl.oauthbearer.client.secret", "ssl.key.pem"])
def test_the_value_of_a_secret_is_not_repeated(name: str) -> None:
    assert hide_secrets("so hush-hush it is", {name: "hush-hush"}) == "so *** it is"


def test_a_user_in_a_url_is_not_repeated() -> None:
    assert hide_secrets('from "https://me:hush@idp:1/t?a@b" x', {}) == 'from "https://***@idp:1/t?a@b" x'


def test_a_certificate_that_cannot_be_looked_at_leaves_it_at_what_is_known() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        # It closes each connection at once.
        def close() -> None:
            server.accept()[0].close()

        thread = threading.Thread(target=close, daemon=True)
        thread.start()
        port = server.getsockname()[1]
        refusal = kind_of(f"ssl://127.0.0.1:{port}/1: {BAD_CERTIFICATE}", TLS)
        assert refusal.kind is CERTIFICATE
        assert refused_certificate(refusal, TLS) == refusal
        thread.join(10)
    nowhere = kind_of(f"ssl://127.0.0.1:1/1: {BAD_CERTIFICATE}", settings(**{"ssl.ca.pem": "no pem"}))
    assert refused_certificate(nowhere, TLS) == nowhere
