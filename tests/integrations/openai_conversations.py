"""A client of the fake OpenAI server, and options for its calls."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from cookcam.config.readers import Secret
from cookcam.errors import AppError
from cookcam.integrations.openai import OpenAI
from cookcam.integrations.openai.prompts import DATA_RULE, data_block
from cookcam.observability.metrics import Metrics
from cookcam.sandbox.openai import FakeOpenAI

MODEL = "gpt-4o-mini"
INGREDIENTS = ["chicken breast", "broccoli", "carrots", "rice", "ginger", "lemon"]


def request_options(**changes: Any) -> dict[str, Any]:
    """The options of `complete` and `stream` besides the shape."""
    options: dict[str, Any] = {
        "name": "suggestions",
        "instructions": f"You are a chef. {DATA_RULE}",
        "prompt": f"Three ideas, please.\n{data_block({'detectedIngredients': INGREDIENTS})}",
        "temperature": 0.7,
        "max_tokens": 1000,
        "seconds": 50,
    }
    return options | changes


@asynccontextmanager
async def open_model(
    fake: FakeOpenAI, metrics: Metrics | None = None, **changes: Any
) -> AsyncGenerator[OpenAI]:
    """A client with a loaded library and an open connection.

    Both need threads, for which a virtual clock does not wait.
    """
    settings: dict[str, Any] = {
        "api_key": Secret(fake.key),
        "base_url": fake.url,
        "model": MODEL,
        "concurrency": 4,
        "metrics": metrics or Metrics(),
    }
    async with OpenAI.open(**settings | changes) as model:
        await model.warm_up()
        with suppress(AppError):
            await model.reachable()
        yield model


def samples(metrics: Metrics, name: str) -> Mapping[tuple[str, ...], float]:
    """The values of a metric by the values of its labels, without zero values."""
    values: dict[tuple[str, ...], float] = {}
    for family in metrics.registry.collect():
        for sample in family.samples:
            if sample.name == name and sample.value:
                values[tuple(sample.labels.values())] = sample.value
    return values
