"""The join's spans in a run at size, and a deployment's settings for them."""

from __future__ import annotations

from dataclasses import dataclass

from consumer.audit.calls import ReferenceRules
from consumer.demo.generator import Plan


@dataclass(frozen=True)
class Spans:
    """The join's spans, ms: short, so that thousands of offers are decided within minutes.

    `spare` is what of lateness the customers make no use of.
    """

    window: int
    grace: int
    lookback: int
    lateness: int
    spare: int = 0

    @property
    def rules(self) -> ReferenceRules:
        """As the judge wants them."""
        return ReferenceRules(self.window, self.grace, self.lookback, lateness=self.lateness, max_skew=300_000)

    def plan(self, events: int, span_s: float, seed: int) -> Plan:
        """Customers who come over `span_s` seconds."""
        lateness = self.lateness - self.spare
        return Plan(events, int(span_s * 1000), self.window, self.grace, self.lookback, lateness, seed=seed)

    def settings(self) -> dict[str, str]:
        """For a `Deployment`: these spans, and what else a run at size has other than a test."""
        return {
            "KAFKA__COMMIT_INTERVAL": "1s",
            "KAFKA__REVOKE_TIMEOUT": "10s",
            "JOIN__WINDOW": f"{self.window}ms",
            "JOIN__CHECKOUT_GRACE": f"{self.grace}ms",
            "JOIN__LOOKBACK": f"{self.lookback}ms",
            "JOIN__LATENESS": f"{self.lateness}ms",
            "JOIN__IDLE_AFTER": "1s",
            "LOG__LEVEL": "info",
        }
