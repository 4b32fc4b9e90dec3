"""Stripe's own library, opened with the first call.

Importing it takes some tenths of a second, so that happens in a thread: in `Stripe.warm_up`, or
else in the first call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
from attrs import define, field

from cookcam.config.readers import Secret
from cookcam.integrations.stripe.reading import API_VERSION

if TYPE_CHECKING:
    from stripe import StripeClient

SLOWEST_STEP = 8.0
"""Seconds that one step of a request (connecting, sending, waiting for bytes) may take: a net."""


@define(eq=False)
class Library:
    """Its client, and the HTTP client under it."""

    secret_key: Secret
    api_base: str
    opened: StripeClient | None = field(default=None, repr=False)
    http: Any = field(default=None, repr=False)
    _opening: trio.Lock = field(factory=trio.Lock)

    async def client(self) -> StripeClient:
        if self.opened is None:
            async with self._opening:
                if self.opened is None:
                    self.opened, self.http = await trio.to_thread.run_sync(self._open)
        return self.opened

    def _open(self) -> tuple[StripeClient, Any]:
        """Runs in a thread."""
        import stripe

        stripe.enable_telemetry = False  # it writes a file into the home directory
        # Waiting is bounded by cancel scopes; this limit is per step, as a net.
        http = stripe.HTTPXClient(timeout=SLOWEST_STEP)
        client = stripe.StripeClient(
            self.secret_key.reveal(),
            stripe_version=API_VERSION,
            base_addresses={"api": self.api_base},
            max_network_retries=0,
            http_client=http,
        )
        return client, http

    async def close(self) -> None:
        if self.http is not None:
            await self.http.close_async()
