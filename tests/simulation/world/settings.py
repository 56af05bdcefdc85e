"""The settings of a simulated process."""

from __future__ import annotations

from datetime import timedelta

from simulation.workload.kinds import ON, Kind
from simulation.workload.scenario import CHECKOUTS, OFFERS, Scenario
from simulation.world.shared_topics import WHEN

from consumer.core.rules import DecisionRules
from consumer.settings import (
    ApiSettings,
    CheckoutInputSettings,
    DeadLetterSettings,
    DeliverySettings,
    InputsSettings,
    JoinSettings,
    KafkaSettings,
    OfferInputSettings,
    Settings,
)

CONCURRENCY = 4
OUTCOMES, DEAD = "outcomes", "dead"


def settings_of(scenario: Scenario, rules: DecisionRules, kinds: frozenset[Kind] = ON) -> Settings:
    """The settings of a process, by rules in ms, where these kinds are drawn."""

    def ms(number: int) -> timedelta:
        return timedelta(milliseconds=number)

    return Settings(
        kafka=KafkaSettings(
            bootstrap_servers="simulated",
            offer_topic=OFFERS,
            checkout_topic=CHECKOUTS,
            outcome_topic=OUTCOMES,
            dead_letter_topic=DEAD,
            group_protocol=scenario.group_protocol,
            commit_interval=timedelta(seconds=scenario.commit_interval),
            revoke_timeout=timedelta(seconds=2),
        ),
        join=JoinSettings(
            window=ms(rules.window),
            checkout_grace=ms(rules.checkout_grace),
            lookback=ms(rules.lookback),
            lateness=ms(rules.lateness),
            max_skew=ms(rules.max_skew),
            abandoned="opt-out" if rules.call_abandoned else "ignore",
            checkout_silence=ms(scenario.checkout_silence),
            unmatched_limit=scenario.unmatched_limit,
            idle_after=ms(500),
        ),
        api=ApiSettings(base_url="http://simulated", auth="none"),
        delivery=DeliverySettings(
            concurrency=CONCURRENCY,
            rate_limit=scenario.rate_limit,
            not_found_limit=scenario.not_found_limit,
            max_unsettled=scenario.max_unsettled,
            rejected=scenario.rejected,
            shutdown_timeout=timedelta(seconds=5),
        ),
        dead_letter=DeadLetterSettings(max_run=scenario.max_run, max_ratio=scenario.max_ratio),
        input=_inputs_of(kinds),
    )


def _inputs_of(kinds: frozenset[Kind]) -> InputsSettings:
    """What the records look like, to those who read them by `shared_topics.codec_of`."""
    when = WHEN if Kind.OTHER_KINDS in kinds else None
    each = "offers" if Kind.SEVERAL in kinds else None
    if when is None and each is None:
        return InputsSettings()
    return InputsSettings(
        offers=OfferInputSettings(format="json", when=when, each=each),
        checkouts=CheckoutInputSettings(format="json", when=when),
    )
