"""What brokers, and the way to them, refuse: told from librdkafka's words, with what it means and what to change."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..settings import KafkaSettings
from ..settings.kafka import secrets_of_properties

_USER_INFO = re.compile(r"://[^/@\s\"]+@")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of refusal.

    Attributes:
        name: of the kind.
        sign: how librdkafka says it.
        words: what it means. `{name}` stands for a group of the sign; and see `kind_of`.
        remedy: what to change.
        vague: it may be nothing, or have another cause: said only where there is no better word.
        only: security protocols with which it means that; None: all.
    """

    name: str
    sign: re.Pattern[str]
    words: str
    remedy: str
    vague: bool = False
    only: str | None = None

    @property
    def is_known(self) -> bool:
        """Whether there is more to say than librdkafka does."""
        return bool(self.words)


@dataclass(frozen=True, slots=True)
class Refusal:
    """One that was told: of which kind, by which broker ("" if by none), and librdkafka's own text."""

    kind: Kind
    broker: str
    text: str
    words: str
    remedy: str

    def line(self) -> str:
        """All of it for people."""
        if not self.kind.is_known:
            return f"the Kafka client says: {self.text}"
        return f"{self.words}. {self.remedy} (The Kafka client says: {self.text})"


def _kind(name: str, sign: str, words: str, remedy: str, *, vague: bool = False, only: str | None = None) -> Kind:
    return Kind(name, re.compile(sign, re.IGNORECASE), words, remedy, vague, only)


_ALLOW = "to the principal that the service logs in as (kafka-acls.sh --add --allow-principal ..."

CERTIFICATE = _kind(
    "certificate",
    r"certificate verify failed|certificate could not be verified",
    "the certificate of {broker} is not believed: its CA is not known here, or it is not for this name, or out of date",
    "In kafka.properties set ssl.ca.location to the CA of the brokers; in kafka.bootstrap_servers use a name that the "
    "certificate has.",
)

UNSIGNED = "no token of AWS IAM could be made"

KINDS: tuple[Kind, ...] = (
    _kind(
        "token not made",
        # The second is what the client makes of the first, without its cause.
        rf"{UNSIGNED}: (?P<why>.*)|OAuth callback raised exception|OAuth token not set within",
        f"{UNSIGNED}, which is tried again every ten seconds: {{why}}",
        "Give the service AWS credentials: a role of its pod, task or machine, or AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY; and look whether it reaches what gives them.",
    ),
    _kind(
        "token missing",
        r"Failed to (acquire|retrieve).*(OAUTHBEARER|OIDC)|OAUTHBEARER.*token.*(fail|refresh)",
        "no token to log in with is to be had",
        "Check sasl.oauthbearer.token.endpoint.url, sasl.oauthbearer.client.id and sasl.oauthbearer.client.secret in "
        "kafka.properties, and that the token endpoint answers.",
    ),
    _kind(
        "token",
        r'"status":"(invalid_token|insufficient_scope)"|invalid_token|token.*(expired|invalid)|expired.*token|'
        r"Access denied",
        "{broker} does not take the token that the service logs in with: it is out of date, or of another issuer, "
        "audience or scope, or its role has no right to connect",
        "Check sasl.oauthbearer.scope and sasl.oauthbearer.client.id in kafka.properties, the lifetime that the token "
        "endpoint gives, and the clocks. With kafka.token = aws-msk-iam check the region, and that the role may "
        "kafka-cluster:Connect.",
    ),
    _kind(
        "mechanism",
        r"Unsupported SASL mechanism: broker's supported mechanisms: (?P<mechanisms>\S*)",
        "{broker} lets nobody log in by {mechanism}, but by {mechanisms}",
        "Set sasl.mechanism in kafka.properties to one of these.",
    ),
    _kind(
        "no login wanted",
        r"Request not valid in current SASL state",
        "{broker} wants no login at this port, and security.protocol is {protocol}",
        "Set security.protocol in kafka.properties to {without_login}, or in kafka.bootstrap_servers name the port of "
        "a listener where one logs in.",
    ),
    _kind(
        "password",
        # A login that broke off, as where the broker is restarted, is no refusal.
        r"SASL authentication (error|failed)(?!: \w+ failed: Local: )|Authentication failed",
        "{broker} refuses the user name or the password (sasl.username is {user}, sasl.mechanism {mechanism})",
        "Set sasl.username, sasl.password and sasl.mechanism in kafka.properties to what this cluster takes. What "
        "stands in a file is read again while the service runs; for all else start anew.",
    ),
    _kind(
        "client certificate",
        r"alert (certificate required|certificate expired|bad certificate|unknown ca|certificate unknown|"
        r"handshake failure)|peer did not return a certificate",
        "{broker} does not take our certificate, for it is out of date or of another CA, or wants one and gets none",
        "Renew it, or set ssl.certificate.location and ssl.key.location in kafka.properties to a certificate that they "
        "trust.",
    ),
    CERTIFICATE,
    _kind(
        "no TLS there",
        r"wrong version number|packet length too long|unexpected message",
        "{broker} does not speak TLS at this port, and security.protocol is {protocol}",
        "Set security.protocol in kafka.properties to {without_tls}, or in kafka.bootstrap_servers name the port of a "
        "listener with TLS.",
    ),
    _kind(
        "TLS there",
        r"Invalid response size (352518144|352518400|352518656|352518912)|connecting to a SSL listener",
        "{broker} speaks TLS at this port, and security.protocol is {protocol}",
        "Set security.protocol in kafka.properties to {with_tls}, and ssl.ca.location to the CA of the brokers.",
    ),
    _kind(
        "HTTP",
        r"Invalid response size 1213486160",
        "{broker} speaks HTTP at this port: it is no Kafka broker",
        "Set kafka.bootstrap_servers to the brokers, and look for a proxy in between.",
    ),
    _kind(
        "size",
        r"Invalid response size (?P<size>\d+)",
        "what {broker} answers is no answer of Kafka, or is larger than receive.message.max.bytes ({size} bytes)",
        "Check the port in kafka.bootstrap_servers; if it is a broker's, raise receive.message.max.bytes in "
        "kafka.properties.",
    ),
    _kind(
        "name",
        r"Failed to resolve '?(?P<name>[^']*?)'?: (?P<why>[^(]*)",
        "the name in {name} leads nowhere from here",
        "Mend it in kafka.bootstrap_servers, or the DNS. If it is not in there, the brokers advertise it: mend their "
        "advertised.listeners.",
    ),
    _kind(
        "refused",
        r"Connect to .* failed: Connection refused",
        "nobody listens at {broker}",
        "Check the host and the port in kafka.bootstrap_servers, and that the broker runs. If the address is not in "
        "there, the brokers advertise it: mend their advertised.listeners.",
    ),
    _kind(
        "never answers",
        r"Connection setup timed out in state (SSL_HANDSHAKE|APIVERSION_QUERY)|Timed out ApiVersionRequest"
        r"|ApiVersionRequest failed: Local: Timed out",
        "{broker} takes connections and answers nothing, not even the first words: something else listens there, which "
        "waits for another protocol (security.protocol is {protocol}), or a firewall or load balancer on the way takes "
        "the connections and is silent, or the broker hangs",
        "Check the host and the port in kafka.bootstrap_servers and security.protocol in kafka.properties; ask whoever "
        "runs the network whether the port leads to the broker from here; look at the broker.",
    ),
    _kind(
        "way",
        r"Connection setup timed out in state (TRY_)?CONNECT\b|Connect to .* failed"
        r"|(No route to host|Network is unreachable)",
        "there is no way from here to {broker}",
        "Check the host and the port in kafka.bootstrap_servers, the network and its firewalls.",
    ),
    _kind(
        "scheme",
        r'Broker name "(?P<name>[^"]*)" parse error: (?P<why>.*)',
        "kafka.bootstrap_servers names {name}, which the client does not take: {why}",
        "Leave the protocol out there, and set security.protocol in kafka.properties.",
    ),
    _kind(
        "group right",
        r"Group authorization failed|GROUP_AUTHORIZATION_FAILED",
        "the service has no right on the group {group}",
        f"Allow Read on it {_ALLOW} --operation Read --group {{group}}).",
    ),
    _kind(
        "topic right",
        r"Topic authorization failed|TOPIC_AUTHORIZATION_FAILED",
        "the service has no right on a topic",
        f"Allow Read and Describe on {{inputs}} and Write and Describe on {{outputs}} {_ALLOW} --topic ...).",
    ),
    _kind(
        "cluster right",
        r"Cluster authorization failed|CLUSTER_AUTHORIZATION_FAILED|TransactionalId authorization failed",
        "the service has no right on the cluster",
        f"Brokers before 2.8 want IdempotentWrite on the cluster of whoever writes: allow it {_ALLOW} --operation "
        "IdempotentWrite --cluster). To create topics takes Create on it.",
    ),
    _kind(
        "controller",
        r"Metadata request failed: .*Required feature not supported by broker",
        "{broker} does not do what a broker does: it is a controller, or older than Kafka 0.10",
        "In kafka.bootstrap_servers name the port of a broker's listener for clients.",
    ),
    # What may have many causes, and while running has none that matters: a broker that was restarted.
    _kind(
        "TLS there, it seems",
        r"Disconnected.*in state APIVERSION_QUERY",
        "{broker} closes each connection as soon as it is asked anything, as a listener with TLS does; "
        "security.protocol is {protocol}",
        "If it is one, set security.protocol in kafka.properties to {with_tls}, and ssl.ca.location to the CA of the "
        "brokers.",
        vague=True,
        only="plaintext sasl_plaintext",
    ),
    _kind(
        "no TLS there, it seems",
        r"connecting to a PLAINTEXT broker listener",
        "{broker} closes each connection in its TLS handshake, as a listener without TLS does, and one that is just "
        "stopping; security.protocol is {protocol}",
        "If it goes on and there is no TLS, set security.protocol in kafka.properties to {without_tls}, or in "
        "kafka.bootstrap_servers name the port of a listener with TLS.",
        vague=True,
    ),
    _kind(
        "login wanted, it seems",
        r"Disconnected.*\(after \d{1,3}ms in state UP\)",
        "{broker} closes each connection at the first question, as a listener does where one must log in; "
        "security.protocol is {protocol}",
        "If it is one, set security.protocol in kafka.properties to {with_login}, with sasl.mechanism, sasl.username "
        "and sasl.password.",
        vague=True,
        only="plaintext ssl",
    ),
    _kind(
        "all down",
        r"brokers are down|All broker connections are down|No brokers configured",
        "the client reaches no broker",
        "Look at the brokers, and at the network between.",
        vague=True,
    ),
    _kind(
        "silent",
        r"timed out in (state|flight|queue)|request\(s\) timed out|Timed out \w*Request",
        "{broker} takes connections and does not answer in time",
        "Look at the broker, and at what stands between.",
        vague=True,
    ),
)
"""The kinds, of two that fit the earlier one."""

_OTHER = Kind("other", re.compile(""), "", "", vague=True)

_ADDRESS = re.compile(r"(?:\w+://)?(?P<address>(?:\[[^\]\s]+\]|[^\s:/\[\]]+):\d+)(?:/(?:bootstrap|\d+))?: ")
_PREFIX = re.compile(r"^\w+ \[[^\]]*\] \[thr[^ ]*\]: ")


def hide_secrets(text: str, properties: Mapping[str, Any]) -> str:
    """The text without the values of secret properties, and without a user in a URL."""
    for value in filter(None, secrets_of_properties(properties)):
        text = text.replace(value, "***")
    return _USER_INFO.sub("://***@", text)


def kind_of(text: str, settings: KafkaSettings) -> Refusal:
    """What librdkafka means by this text of an error or a line of its log."""
    text = _PREFIX.sub("", text)
    found = _ADDRESS.search(text)
    broker = found["address"] if found else ""
    told = _names(settings) | {"broker": broker or "a broker"}
    for kind in KINDS:
        match = kind.sign.search(text)
        if match is not None and (kind.only is None or told["protocol"] in kind.only.split()):
            told |= {name: value.strip() for name, value in match.groupdict("").items()}
            return Refusal(kind, broker, text, kind.words.format(**told), kind.remedy.format(**told))
    # A time in it would make each a cause of its own.
    return Refusal(_OTHER, broker, re.sub(r" \(after \d+ms in state \w+\)", "", text), "", "")


def _names(settings: KafkaSettings) -> dict[str, str]:
    given = {name: str(value) for name, value in settings.properties.items()}
    protocol = given.get("security.protocol", "plaintext").lower()
    sasl = protocol.startswith("sasl")
    return {
        "protocol": protocol,
        "mechanism": given.get("sasl.mechanism") or given.get("sasl.mechanisms") or "GSSAPI",
        "user": given.get("sasl.username") or "not set",
        "without_login": "SSL" if "ssl" in protocol else "PLAINTEXT",
        "with_login": "SASL_SSL" if "ssl" in protocol else "SASL_PLAINTEXT",
        "with_tls": "SASL_SSL" if sasl else "SSL (SASL_SSL where one logs in)",
        "without_tls": "SASL_PLAINTEXT" if sasl else "PLAINTEXT",
        "group": settings.group_id,
        "inputs": f"{settings.offer_topic} and {settings.checkout_topic}",
        "outputs": f"{settings.outcome_topic} and {settings.dead_letter_topic}",
    }


# --- what is wrong with a certificate

_TIMEOUT = 4.0
"""Seconds to wait for a broker."""

_NAME_MISMATCH = frozenset({62, 63, 64})
_OUT_OF_DATE = frozenset({9, 10})
"""Codes of OpenSSL."""


def refused_certificate(refusal: Refusal, settings: KafkaSettings) -> Refusal:
    """The refusal with what is wrong with the certificate: that the client does not tell, so the broker is asked."""
    host, _, port = refusal.broker.rpartition(":")
    try:
        told = _why_not_believed(host.strip("[]"), int(port), settings.properties)
    except (OSError, ValueError):
        told = None
    if told is None:
        return refusal
    code, why = told
    if code in _NAME_MISMATCH:
        words = f"the certificate of {refusal.broker} is not for the name {host}"
        remedy = (
            "In kafka.bootstrap_servers use a name that is in the certificate. If it is not in there, the brokers "
            "advertise it: mend their advertised.listeners, or their certificates."
        )
    elif code in _OUT_OF_DATE:
        words = f"the certificate of {refusal.broker} is out of date"
        remedy = "Have it renewed, and check the clock of this machine."
    else:
        words = f"the certificate of {refusal.broker} is of a CA that is not known here"
        remedy = "In kafka.properties set ssl.ca.location to the file with the CA of the brokers."
    return replace(refusal, words=f"{words} ({why.rstrip('.')})", remedy=remedy)


def trust_of(properties: Mapping[str, Any]) -> ssl.SSLContext:
    """What brokers' certificates are held against, as far as these properties of the client say so."""
    place, pem = str(properties.get("ssl.ca.location", "")), str(properties.get("ssl.ca.pem", ""))
    is_file = bool(place) and place != "probe" and Path(place).is_file()
    is_folder = bool(place) and Path(place).is_dir()
    context = ssl.create_default_context(
        cafile=place if is_file else None, capath=place if is_folder else None, cadata=pem or None
    )
    context.check_hostname = properties.get("ssl.endpoint.identification.algorithm", "https") != "none"
    return context


def _why_not_believed(host: str, port: int, properties: Mapping[str, Any]) -> tuple[int, str] | None:
    """The code and the words of OpenSSL."""
    try:
        with (
            socket.create_connection((host, port), timeout=_TIMEOUT) as connection,
            trust_of(properties).wrap_socket(connection, server_hostname=host),
        ):
            return None
    except ssl.SSLCertVerificationError as error:
        return error.verify_code, error.verify_message
