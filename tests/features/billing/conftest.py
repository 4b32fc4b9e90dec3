"""The app with a fake Stripe or both fake app stores.

The keys of the stores are created once: an RSA key takes 0.1 s of processor time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cookcam.sandbox.app_store.authority import Authority
from cookcam.sandbox.google_play.keys import Keys
from tests.support.app_stores import StoresApp, open_stores_app
from tests.support.stripe_billing import BillingApp, open_billing_app


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority.make()


@pytest.fixture(scope="session")
def keys() -> Keys:
    return Keys.make()


@pytest.fixture
async def stores_app(
    database_url: str, authority: Authority, keys: Keys
) -> AsyncIterator[StoresApp]:
    async with open_stores_app(database_url, authority, keys) as opened:
        yield opened


@pytest.fixture
async def billing(database_url: str) -> AsyncIterator[BillingApp]:
    async with open_billing_app(database_url) as opened:
        yield opened
