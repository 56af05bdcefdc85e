"""The settings of a simulated process."""

from __future__ import annotations

from datetime import timedelta

from simulation.workload.scenario import CHECKOUTS, OFFERS, Scenario

from consumer.core.rules import DecisionRules
from consumer.settings import ApiSettings, DeliverySettings, JoinSettings, KafkaSettings, Settings

CONCURRENCY = 4
OUTCOMES, DEAD = "outcomes", "dead"


def settings_of(scenario: Scenario, rules: DecisionRules) -> Settings:
    """The settings of a process, by rules in ms."""

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
    )
