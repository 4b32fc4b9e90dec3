"""Commands of the fake app stores, valid and invalid."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from cookcam.sandbox.app_store import FakeAppStore, open_apple
from cookcam.sandbox.google_play import FakeGooglePlay, open_google_play
from cookcam.sandbox.google_play.server import money

PRODUCTS = {"apple": "com.cookcam.pro.monthly", "google": "cookcam_pro_monthly"}


@pytest.fixture
async def apple() -> AsyncIterator[FakeAppStore]:
    async with open_apple() as opened:
        yield opened


@pytest.fixture
async def google() -> AsyncIterator[FakeGooglePlay]:
    async with open_google_play() as opened:
        yield opened


@pytest.fixture(params=["apple", "google"])
def store(request: pytest.FixtureRequest, apple: FakeAppStore, google: FakeGooglePlay) -> Any:
    return apple if request.param == "apple" else google


async def command(store: Any, name: str, body: bytes | dict[str, Any] = b"") -> httpx.Response:
    sent: Any = {"json": body} if isinstance(body, dict) else {"content": body}
    async with httpx.AsyncClient(base_url=store.url, trust_env=False) as http:
        return await http.post(f"/_sandbox/{name}", **sent)


def product(store: Any) -> str:
    return PRODUCTS["apple" if isinstance(store, FakeAppStore) else "google"]


@pytest.mark.parametrize(
    ("name", "body", "status", "error"),
    [
        ("buy", b"x", 400, "the body is not JSON"),
        ("buy", b"[]", 400, "the body is not a JSON object"),
        ("buy", b"", 400, "product_id is missing"),
        ("buy", b'{"product_id": 5}', 400, "product_id has to be text"),
        ("buy", b'{"product_id": "a", "trial": 1}', 400, "trial has to be true or false"),
        ("buy", b'{"product_id": "a", "lasts": 1}', 400, "lasts is not known here, but product_id"),
        ("renew", b"\xff", 400, "the body is not JSON"),
        ("renew", b"{}", 400, " is missing"),
        ("steal", b"x", 404, "there is no steal here"),
        ("advance", b'{"days": "1"}', 400, "days has to be a number"),
        ("advance", b'{"days": 1e300}', 400, "3660 days is as far as time is moved"),
        ("advance", b"x", 400, "the body is not JSON"),
    ],
)
async def test_invalid_commands_are_errors_in_json(
    store: Any, name: str, body: bytes, status: int, error: str
):
    response = await command(store, name, body)
    assert response.status_code == status
    assert error in response.json()["error"]
    assert not store.purchases


async def test_invalid_commands_of_each_store(apple: FakeAppStore, google: FakeGooglePlay):
    at_apple = await apple.buy(PRODUCTS["apple"])
    at_google = await google.buy(PRODUCTS["google"])
    for response, status in (
        (await command(apple, "buy", {"product_id": "a", "where": "Mars"}), 400),
        (await command(apple, "renew", {"id": "5"}), 404),
        (await command(apple, "set_renewal", {"id": at_apple.id}), 400),
        (await command(apple, "refund", {"id": at_apple.id, "periods_ago": 1}), 400),
        (await command(apple, "refund", {"id": at_apple.id, "percent": 101}), 400),
        (await command(google, "renew", {"purchase_token": "5"}), 404),
        (await command(google, "void", {"purchase_token": at_google.token, "order_id": "5"}), 404),
    ):
        assert response.status_code == status
        assert set(response.json()) == {"error"}


async def test_a_stores_clock_runs_and_is_advanced(store: Any):
    real = datetime.now(UTC)
    assert real <= store.now <= datetime.now(UTC)
    response = await command(store, "advance", {"days": 2, "hours": 1.5})
    moved = datetime.fromisoformat(response.json()["now"])
    assert timedelta(days=2, hours=1.5) <= moved - real < timedelta(days=2, hours=1.6)
    bought = await store.buy(product(store))
    await store.renew(bought)  # at the end of the period
    assert store.now - moved >= timedelta(days=30)
    before = store.now
    await store.fail_payment(bought)
    assert store.now - before > timedelta(days=29)


async def test_commands_over_http(apple: FakeAppStore, google: FakeGooglePlay):
    bought = (await command(apple, "buy", {"product_id": PRODUCTS["apple"]})).json()
    assert (await command(apple, "set_renewal", {"id": bought["id"], "renews": False})).is_success
    assert not apple.purchases[bought["id"]].renews
    sold = (await command(google, "buy", {"product_id": PRODUCTS["google"], "trial": True})).json()
    assert (await command(google, "cancel", {"purchase_token": sold["purchase_token"]})).is_success
    assert google.purchases[sold["purchase_token"]].cancelled_at is not None


@pytest.mark.parametrize(
    ("cents", "shown"),
    [
        (0, {}),
        (399, {"units": "3", "nanos": 990_000_000}),
        (339.15, {"units": "3", "nanos": 391_500_000}),
        (500, {"units": "5"}),
    ],
)
def test_money_as_google_writes_it(cents: float, shown: dict[str, Any]):
    assert money(cents) == {"currencyCode": "USD", **shown}
