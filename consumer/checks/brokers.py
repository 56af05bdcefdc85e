"""The brokers: whether they answer, at which addresses, and until when their certificates are good."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata

from ..errors import StartError
from ..kafka.listeners import Listener
from ..settings import KafkaSettings
from .check import Check

NAME, LISTENERS, CERTIFICATES = "brokers", "listeners", "certificates"
"""Of the checks."""

TIMEOUT = 5.0
"""Seconds to wait for the first answer: a broker that is well answers within one."""

DAY = 86_400

SOON = 14 * DAY
"""Seconds before the end of a certificate from which on somebody should know. Those of a cluster that renews its own
are renewed with a third of their life left, a month of the usual three."""


def reach(admin: AdminClient, kafka: KafkaSettings) -> ClusterMetadata:
    """What the cluster says of itself.

    Raises:
        StartError: no broker answers.
    """
    try:
        return admin.list_topics(timeout=TIMEOUT)
    except KafkaException as error:
        raise StartError(
            f"no broker of {kafka.bootstrap_servers} answered within {TIMEOUT:g} s: {error.args[0].str()}. Check "
            "kafka.bootstrap_servers, the network, and the security settings in kafka.properties."
        ) from error


def judge_cluster(cluster: ClusterMetadata) -> Check:
    """Who answered."""
    named = ", ".join(sorted(f"{broker.host}:{broker.port}" for broker in cluster.brokers.values()))
    count = len(cluster.brokers)
    return Check(NAME, "ok", f"{count} broker{'s' * (count > 1)} of cluster {cluster.cluster_id or '?'}: {named}")


def judge_listeners(listeners: Iterable[Listener], now: float) -> Iterator[Check]:
    """What was found at the addresses that the brokers advertise; `now` in seconds since the epoch."""
    listeners = list(listeners)
    for one in listeners:
        if one.refused is not None:
            yield Check(
                LISTENERS,
                "error",
                f"a broker advertises {one.address}, and nothing is reached there from here ({one.refused}): what it "
                "leads can be neither read nor written",
                "mend its advertised.listeners, or the DNS or the firewall between",
            )
    if all(one.refused is None for one in listeners):
        yield Check(LISTENERS, "ok", "each broker is reached at the address that it advertises")
    yield from judge_certificates(listeners, now)


def judge_certificates(listeners: Sequence[Listener], now: float) -> Iterator[Check]:
    """Until when the certificates at these addresses are good; `now` in seconds since the epoch."""
    for one in listeners:
        if one.unknown is not None:
            yield Check(
                CERTIFICATES,
                "warning",
                f"when the certificate of {one.address} ends is not known: {one.unknown}",
                "look at it by openssl s_client -connect",
            )
    ends = sorted((one.expires, one.address) for one in listeners if one.expires is not None)
    if not ends:
        return
    first, address = ends[0]
    found = f"the certificate of {address} ends on {day(first)}, in {(first - now) / DAY:.0f} days"
    if first - now < SOON:
        yield Check(CERTIFICATES, "warning", found, "have it renewed: once it has ended, nobody connects there")
    else:
        yield Check(CERTIFICATES, "ok", f"{found}, and no other one sooner" if len(ends) > 1 else found)


def day(seconds: float) -> str:
    """A day for people, of seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
