"""Ten purchases that are validated at once, with a store that takes a second for each answer."""

from __future__ import annotations

import trio

from cookcam.sandbox.app_store import Authority
from cookcam.sandbox.google_play import Keys
from tests.support.app_stores import open_stores_app, show

BUYERS = 10
STORE_DELAY = 0.5
"""Seconds of each answer of the store."""
MAX_RATIO = 4.0
"""All together may take so many times as long as one alone, which leaves time for their work."""


async def test_ten_validations_at_once_take_little_longer_than_one(database_url: str) -> None:
    async with open_stores_app(database_url, Authority.make(), Keys.make()) as stores_app:
        buyers = [await stores_app.person() for _ in range(BUYERS + 1)]
        bought = [await stores_app.apple.buy("com.cookcam.pro.monthly") for _ in buyers]
        stores_app.apple.behaviour.delay = STORE_DELAY
        began = trio.current_time()
        assert (await show(buyers[0], bought[0])).status_code == 200
        alone = trio.current_time() - began
        statuses: list[int] = []

        async def validate(number: int) -> None:
            statuses.append((await show(buyers[number], bought[number])).status_code)

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for number in range(1, BUYERS + 1):
                nursery.start_soon(validate, number)
        together = trio.current_time() - began
        assert statuses == [200] * BUYERS
        assert together < min(10.0, MAX_RATIO * alone)
