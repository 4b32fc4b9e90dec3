"""What answers of the model cost: tokens, requests, seconds and an estimate in money."""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import frozen

from cookcam.observability.metrics import Metrics

_SNAPSHOT = re.compile(r"-\d{4}-\d{2}-\d{2}$")


@frozen
class Price:
    """Micro-dollars for a million tokens."""

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

An estimate to watch a trend by; the invoice is OpenAI's. A model that is not here costs nothing
in the metrics.
"""


@frozen
class Tokens:
    """Tokens of one answer; the cached ones are part of the prompt's."""

    prompt: int
    cached_prompt: int
    completion: int


def cost(model: str, tokens: Tokens) -> float:
    """The estimated micro-dollars of an answer of `model`, dated snapshot or not."""
    price = PRICES.get(_SNAPSHOT.sub("", model))
    if price is None:
        return 0.0
    fresh = tokens.prompt - tokens.cached_prompt
    whole = (
        fresh * price.prompt
        + tokens.cached_prompt * price.cached_prompt
        + tokens.completion * price.completion
    )
    return whole / 1_000_000


@frozen
class UsageMeter:
    """Counts the requests to one model in the metrics of the server."""

    model: str
    metrics: Metrics

    def asked(self, contract: str, outcome: str, seconds: float) -> None:
        """One request to OpenAI ended."""
        self.metrics.model_requests_total.of(self.model, contract, outcome).inc()
        self.metrics.model_request_seconds.of(self.model, contract).observe(seconds)

    def used(self, contract: str, tokens: Tokens) -> None:
        """An answer was paid for, whether or not it could be used."""
        count = self.metrics.model_tokens_total
        count.of(self.model, contract, "prompt").inc(tokens.prompt)
        count.of(self.model, contract, "completion").inc(tokens.completion)
        spent = cost(self.model, tokens)
        self.metrics.model_cost_microdollars_total.of(self.model, contract).inc(spent)
