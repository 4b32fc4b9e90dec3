"""Metrics of the language model: requests, seconds, tokens and an estimate of their cost."""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import frozen

from cookcam.observability.metrics import Metrics

_SNAPSHOT = re.compile(r"-\d{4}-\d{2}-\d{2}$")


@frozen
class Price:
    """Micro-dollars per million tokens."""

    prompt: int
    cached_prompt: int
    completion: int


PRICES: Mapping[str, Price] = {
    "gpt-4o-mini": Price(150_000, 75_000, 600_000),
    "gpt-4o": Price(2_500_000, 1_250_000, 10_000_000),
    "gpt-4.1-mini": Price(400_000, 100_000, 1_600_000),
    "gpt-4.1": Price(2_000_000, 500_000, 8_000_000),
}
"""OpenAI's published prices for the standard tier (https://platform.openai.com/docs/pricing).

Used for an estimate that shows trends. A model that is not listed counts as free.
"""


@frozen
class Tokens:
    """Tokens of one completion; `prompt` includes `cached_prompt`."""

    prompt: int
    cached_prompt: int
    completion: int


def cost(model: str, tokens: Tokens) -> float:
    """Estimate the micro-dollars of a completion; `model` may carry a snapshot date."""
    price = PRICES.get(_SNAPSHOT.sub("", model))
    if price is None:
        return 0.0
    fresh = tokens.prompt - tokens.cached_prompt
    total = (
        fresh * price.prompt
        + tokens.cached_prompt * price.cached_prompt
        + tokens.completion * price.completion
    )
    return total / 1_000_000


@frozen
class UsageMeter:
    """Records requests to one model in the server's metrics."""

    model: str
    metrics: Metrics

    def count_request(self, contract: str, outcome: str, seconds: float) -> None:
        """Record a request that has ended."""
        self.metrics.model_requests_total.of(self.model, contract, outcome).inc()
        self.metrics.model_request_seconds.of(self.model, contract).observe(seconds)

    def count_tokens(self, contract: str, tokens: Tokens) -> None:
        """Record the tokens of a completion, usable or not: OpenAI charges for both."""
        count = self.metrics.model_tokens_total
        count.of(self.model, contract, "prompt").inc(tokens.prompt)
        count.of(self.model, contract, "completion").inc(tokens.completion)
        self.metrics.model_cost_microdollars_total.of(self.model, contract).inc(
            cost(self.model, tokens)
        )
