"""`opt-out doctor`: everything that can be known before a start, a step at a time. Nothing is called or changed."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import chain
from urllib.parse import urlsplit

from ..codecs.codec import Codec
from ..codecs.inputs import codec_of
from ..codecs.registry_client import Registry, RegistryError
from ..core.rules import DecisionRules
from ..core.watermark import Side
from ..events import CheckoutCompleted, OfferPresented
from ..hiding import hide
from ..kafka.causes import Causes
from ..kafka.clients import Clients
from ..kafka.listeners import look_at_listeners, tls_of
from ..kafka.members import first_held, members_of
from ..kafka.rights import rights_of
from ..kafka.topics import TopicFacts, look_at_topics
from ..settings import Settings
from ..settings.network import without_password
from ..settings.outside import outside_variables, proxy_of, tls_context
from ..settings.release_file import read_release_file
from ..xcover.api import fits_in_a_path
from ..xcover.probe import Reply, ask_base_url, ask_for_partners
from . import (
    api,
    broker_clock,
    brokers,
    environment,
    group,
    inputs,
    limits,
    own_certificates,
    registry,
    rights,
    topics,
)
from .check import Check, errors_of, not_looked_at, or_else
from .examine import Step, examine
from .positions import PositionsCommand
from .sample import SampledRecord, judged, newest

_BROKERS = "an answer of the brokers"

RELEASES = "releases"
"""Of the check of the file of offers that an operator lets go."""

NEWEST = 1_000
"""Records of each input that are looked at."""

PARTNERS = 20
"""Partners whose credentials are tried: those of which most is presented. The rate that the API allows is shared with
the partner's other calls."""


class Doctor:
    """Makes all checks, in an order in which each may rest on those before it.

    Args:
        rules: as `run` takes them from the settings.
        causes: adds why brokers refuse us.
    """

    def __init__(self, settings: Settings, rules: DecisionRules, causes: Causes) -> None:
        self._settings = settings
        self._rules = rules
        self._causes = causes
        self._clients = Clients(settings.kafka, causes)
        self._admin = causes.attend(self._clients.admin())
        self._addresses: list[tuple[str, int]] = []
        self._facts = TopicFacts({}, {}, {}, [], None)
        self._reply = Reply()
        self._ends = ExitStack()
        self._registry_refused = False
        self._sampled: dict[Side, list[SampledRecord]] = {side: [] for side in Side}

    def examine(self) -> Iterator[Check]:
        """What is found, as it is found, without what is secret."""
        with ExitStack() as self._ends:
            for check in examine(self.steps(), self._causes):
                yield check._replace(found=hide(check.found), remedy=hide(check.remedy))

    def steps(self) -> Sequence[Step]:
        """All steps; what is to be looked at beside them is one more line here."""
        settings = self._settings
        asks_registry = settings.needs_registry is not None
        return [
            Step(environment.SETTINGS, lambda: environment.judge_settings(settings), "nobody"),
            Step(environment.ENVIRONMENT, self._environment, "nobody"),
            Step(own_certificates.NAME, self._own_certificates, "nobody"),
            *([Step(RELEASES, self._releases, "the file")] if settings.delivery.release_file else []),
            Step(brokers.NAME, self._brokers, _BROKERS),
            Step(brokers.LISTENERS, self._listeners, "connections to all brokers", needs=brokers.NAME),
            Step(topics.NAME, self._topics, _BROKERS, needs=brokers.NAME),
            Step(limits.NAME, self._limits, "nobody", needs=topics.NAME),
            Step(rights.NAME, self._rights, _BROKERS, needs=brokers.NAME),
            *([Step(registry.NAME, self._registry, f"an answer of {settings.avro.registry_url}")] * asks_registry),
            *(self._sample(side) for side in Side),
            *(self._schemas(side) for side in Side if self._has_ids(side)),
            Step(registry.OUTCOMES, self._outcomes, f"an answer of {settings.avro.registry_url or 'nobody'}"),
            Step(inputs.PARTITIONERS, self._partitioners, "nobody", needs=topics.NAME),
            Step(inputs.IDS, self._ids, "nobody", needs=topics.NAME),
            Step(group.MEMBERS, self._members, _BROKERS, needs=brokers.NAME),
            Step(group.POSITIONS, self._positions, _BROKERS, needs=topics.NAME),
            Step(group.HELD, self._held, "the records that the group holds", needs=topics.NAME),
            Step(broker_clock.NAME, self._broker_clock, "the last record of some partitions", needs=topics.NAME),
            Step(api.NAME, self._api, f"an answer of {settings.api.base_url}"),
            Step(api.CLOCK, self._clock, "nobody", needs=api.NAME),
            Step(api.CREDENTIALS, self._credentials, f"answers of {settings.api.base_url}", needs=api.NAME),
        ]

    def _environment(self) -> Iterator[Check]:
        return environment.judge_environment(list(outside_variables(self._settings.api, os.environ)))

    def _own_certificates(self) -> Iterator[Check]:
        return own_certificates.judge_own_certificates(self._settings, datetime.fromtimestamp(time.time(), UTC))

    def _releases(self) -> Iterator[Check]:
        file = self._settings.delivery.release_file
        if file is not None:
            _, released = read_release_file(file)
            named = f"{len(released)} offer{'s are' if len(released) != 1 else ' is'} let go"
            yield Check(RELEASES, "ok", f"{file} (delivery.release_file) is read: {named}")

    def _brokers(self) -> Iterator[Check]:
        cluster = brokers.reach(self._admin, self._settings.kafka)
        self._addresses = [(str(broker.host), broker.port) for broker in cluster.brokers.values()]
        yield brokers.judge_cluster(cluster)

    def _listeners(self) -> Iterator[Check]:
        found = look_at_listeners(self._addresses, tls_of(self._settings.kafka.properties))
        return brokers.judge_listeners(found, time.time())

    def _topics(self) -> Iterator[Check]:
        self._facts = facts = look_at_topics(self._admin, self._settings.kafka)
        return or_else(topics.judge_topics(facts, self._settings), topics.fit(facts, self._settings.kafka))

    def _limits(self) -> Iterator[Check]:
        told = self._facts.limits
        kept = limits.judge_kept(self._facts.configs, self._inputs(), self._reads_back())
        if told is None:
            return chain([limits.not_told()], kept)
        return or_else(chain(limits.judge_limits(told), kept), limits.enough(told))

    def _rights(self) -> Iterator[Check]:
        kafka = self._settings.kafka
        outputs = kafka.outcome_topic, kafka.dead_letter_topic
        found = rights_of(self._admin, self._inputs(), outputs, kafka.group_id)
        return or_else(rights.judge_rights(found, kafka.group_id), rights.there(found))

    def _sample(self, side: Side) -> Step:
        name = side.name.lower()
        topic = self._inputs()[side]

        def look() -> Iterator[Check]:
            if topic not in self._facts.counts:
                yield not_looked_at(name, f"{topic} is not there")
                return
            with closing(self._clients.record_reader()) as consumer:
                records = newest(consumer, topic, NEWEST)
            if self._registry_refused and self._has_ids(side):
                self._sampled[side] = [SampledRecord(one, None, waits="the registry tells nothing") for one in records]
                yield not_looked_at(name, "the registry tells no schema")
                return
            sampled = self._sampled[side] = [judged(record, side, self._codec) for record in records]
            borne = self._settings.dead_letter
            now = _now()
            yield from inputs.judge_records(name, topic, sampled, borne.max_run, borne.max_ratio)
            yield from inputs.judge_times(f"times of {name}", topic, sampled, self._rules, now, borne.max_ratio)

        return Step(name, look, f"records of {topic}", needs=topics.NAME)

    def _partitioners(self) -> Iterator[Check]:
        offers, checkouts = self._inputs()
        counts = {self._facts.counts.get(topic) for topic in (offers, checkouts)}
        if len(counts) != 1 or None in counts:
            yield not_looked_at(inputs.PARTITIONERS, "the inputs do not have the same partitions")
            return
        records = [[one.record for one in self._sampled[side]] for side in Side]
        yield inputs.judge_partitioners((offers, checkouts), self._facts.counts[offers], records)

    def _ids(self) -> Iterator[Check]:
        offers = [event for one in self._sampled[Side.OFFERS] for event in one.events]
        checkouts = [event for one in self._sampled[Side.CHECKOUTS] for event in one.events]
        yield inputs.judge_ids(
            [event for event in offers if isinstance(event, OfferPresented)],
            [event for event in checkouts if isinstance(event, CheckoutCompleted)],
        )

    def _has_ids(self, side: Side) -> bool:
        given = self._settings.input
        return self._settings.has_ids(given.offers if side is Side.OFFERS else given.checkouts)

    def _registry(self) -> Iterator[Check]:
        avro = self._settings.avro
        self._registry_refused = True  # also if there is no client
        found: RegistryError | None = None
        try:
            with closing(Registry(avro)) as asked:
                asked.see_that_it_answers()
            self._registry_refused = False
        except RegistryError as error:
            found = error
        yield registry.judge_answer(avro.registry_url or "", found)

    def _schemas(self, side: Side) -> Step:
        topic = self._inputs()[side]

        def look() -> Iterator[Check]:
            found = registry.ids_of([one.record for one in self._sampled[side]])
            counts = dict(found.most_common(registry.MOST_IDS))
            if self._registry_refused or not counts:
                why = "the registry tells none" if self._registry_refused else f"no record of {topic} has an id"
                yield not_looked_at(registry.SCHEMAS, why)
                return
            with closing(Registry(self._settings.avro)) as asked:
                unknown = registry.unknown_of(asked, counts)
            yield from registry.judge_ids(topic, counts, unknown)

        return Step(registry.SCHEMAS, look, f"answers of {self._settings.avro.registry_url}", needs=side.name.lower())

    def _outcomes(self) -> Iterator[Check]:
        if self._settings.avro.outcome_format == "plain":
            yield registry.plain_outcomes()
        elif self._registry_refused:
            yield not_looked_at(registry.OUTCOMES, "the registry does not tell")
        else:
            with closing(Registry(self._settings.avro)) as asked:
                yield registry.judge_outcomes(asked, self._settings.kafka.outcome_topic)

    def _inputs(self) -> tuple[str, str]:
        return self._settings.kafka.offer_topic, self._settings.kafka.checkout_topic

    @cached_property
    def _codec(self) -> Codec:
        """Made when the first record is read: what is wrong with the registry is an error of that step alone."""
        return self._ends.enter_context(closing(codec_of(self._settings, at_once=True)))

    def _members(self) -> Iterator[Check]:
        kafka = self._settings.kafka
        return group.judge_members(members_of(self._admin, kafka.group_id), kafka.group_id, self._inputs())

    def _positions(self) -> Iterator[Check]:
        if errors_of(topics.judge_topics(self._facts, self._settings)):
            yield not_looked_at(group.POSITIONS, "the topics do not fit")
            return
        with closing(PositionsCommand(self._settings, self._rules, self._causes)) as command:
            report = command.show()
        if report.refused:
            yield Check(group.POSITIONS, "error", report.document.notes[-1], "see `opt-out positions`")
        else:
            yield Check(group.POSITIONS, "ok", "\n".join(report.document.notes))

    def _held(self) -> Iterator[Check]:
        counts = {topic: count for topic, count in self._facts.counts.items() if topic in self._inputs()}
        with closing(self._clients.record_reader()) as consumer:
            held = first_held(consumer, counts)
        now = _now()
        nothing = Check(group.HELD, "ok", "the group holds no record")
        return or_else(group.judge_held(held, self._facts.configs, now, self._reads_back()), nothing)

    def _reads_back(self) -> timedelta:
        """How far back a start may read the inputs."""
        join = self._settings.join
        return join.lookback + join.window + join.lateness

    def _broker_clock(self) -> Iterator[Check]:
        # The outcome topic first: its records have the brokers' stamps wherever it was made by us.
        counts = self._facts.counts
        topics = [name for name in (self._settings.kafka.outcome_topic, *self._inputs()) if name in counts]
        # The first partitions of each topic, then the next ones: a few of every topic.
        places = sorted(((topic, p) for topic in topics for p in range(counts[topic])), key=lambda place: place[1])
        with closing(self._clients.record_reader()) as consumer:
            stamp = broker_clock.newest_stamp(consumer, places)
        yield broker_clock.judge_stamp(stamp, _now(), self._rules.max_skew)

    def _api(self) -> Iterator[Check]:
        settings = self._settings.api
        proxy = proxy_of(settings)
        self._reply = ask_base_url(settings)
        yield api.judge_api(self._reply, settings, "" if proxy is None else f" by the proxy {without_password(proxy)}")
        url = urlsplit(settings.base_url)
        if self._reply.trouble is None and proxy is None and url.scheme == "https":
            found = look_at_listeners([(url.hostname or "", url.port or 443)], tls_context(settings))
            yield from brokers.judge_certificates(found, time.time())

    def _clock(self) -> Iterator[Check]:
        if self._reply.trouble is not None:
            yield not_looked_at(api.CLOCK, "the API is not reached")
        else:
            yield api.judge_clock(self._reply, self._settings.api, self._rules.max_skew / 1000)

    def _credentials(self) -> Iterator[Check]:
        settings = self._settings.api
        shown = [event for one in self._sampled[Side.OFFERS] for event in one.events]
        offers = [event for event in shown if isinstance(event, OfferPresented)]
        seen = [code for code, _ in Counter(offer.partner_code for offer in offers).most_common()]
        partners = [code for code in seen or settings.credentials if fits_in_a_path(code)]
        if settings.auth == "none":
            yield Check(api.CREDENTIALS, "ok", "no call is signed (api.auth), so there are none to try")
        elif self._reply.trouble is not None:
            yield not_looked_at(api.CREDENTIALS, "the API is not reached")
        elif not partners:
            yield not_looked_at(api.CREDENTIALS, "no partner_code is known, since no offer could be read")
        else:
            yield from api.judge_credentials(ask_for_partners(settings, partners[:PARTNERS]))


def _now() -> int:
    """The wall clock (ms)."""
    return int(1000 * time.time())
