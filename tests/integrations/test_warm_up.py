"""Heavy libraries are imported by the warm-up's thread and not by the first call.

Each test runs in a new process, where nothing is imported yet. No server listens on
the port that is called.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.commands import ROOT, clean_environment

IDENTITY = """
from cookcam.integrations.supabase.client import SupabaseAuth
opened = SupabaseAuth.open(
    supabase_url="http://127.0.0.1:9", anon_key=Secret("a"), service_role_key=Secret("s")
)
call = lambda client: client.sign_in("a@example.com", "password")
"""
PAYMENTS = """
from cookcam.integrations.stripe import Stripe
opened = Stripe.open(secret_key=Secret("sk_test_1"), api_base="http://127.0.0.1:9")
call = lambda client: client.list_undelivered_events()
"""
MODELS = """
from cookcam.observability.metrics import Metrics
from cookcam.integrations.openai import OpenAI
opened = OpenAI.open(
    api_key=Secret("k"), base_url="http://127.0.0.1:9/v1", model="m", concurrency=1,
    metrics=Metrics()
)
call = lambda client: client.reachable()
"""
RECIPES = (
    MODELS
    + """
from attrs import frozen

@frozen
class Dish:
    name: str

call = lambda client: client.complete(
    Dish, name="dish", instructions="", prompt="", temperature=0, max_tokens=9, seconds=5
)
"""
)

FEW = 5
"""Modules. Stripe's library has a small one for each kind of object, loaded with its first use."""

PROGRAM = """
import sys
import trio
from cookcam.errors import ServiceUnavailable
from cookcam.config.readers import Secret
{opening}
async def main():
    async with opened as client:
        await client.warm_up()
        loaded = set(sys.modules)
        try:
            await call(client)
        except ServiceUnavailable:
            print("refused", *set(sys.modules) - loaded)

trio.run(main)
"""


@pytest.mark.parametrize(
    ("opening", "library"),
    [
        (IDENTITY, "supabase_auth"),
        (PAYMENTS, "stripe"),
        (MODELS, "openai"),
        (RECIPES, "openai"),
    ],
    ids=["identity", "payments", "models", "recipes"],
)
def test_first_call_after_warm_up_imports_almost_nothing(opening: str, library: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(opening=opening)],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    rejected, *loaded = done.stdout.splitlines()[-1].split()
    assert rejected == "refused"
    assert len([name for name in loaded if name.split(".")[0] in {library, "pydantic"}]) < FEW
