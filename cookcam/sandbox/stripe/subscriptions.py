"""A stored subscription: small, so that a hundred thousand fit into memory."""

from __future__ import annotations

from typing import Any

from attrs import asdict, define, field


@define(eq=False)
class Subscription:
    """Times are simulated seconds. `price` is the id of the price of its one item.

    `status` and the period are as on the wire. `cancel_at` is the end that the customer portal has
    set; None for one that ends with its period or renews.
    `open_invoice` is the unpaid invoice. `reshaped` replaces fields in responses, for tests of
    objects that the fake does not create.
    """

    id: str
    customer: str
    item: str
    price: str
    status: str
    created: int
    period_start: int
    period_end: int
    metadata: dict[str, str] = field(factory=dict[str, str])
    item_created: int = 0
    anchor: int = 0
    trial_start: int | None = None
    trial_end: int | None = None
    cancel_at_period_end: bool = False
    cancel_at: int | None = None
    canceled_at: int | None = None
    ended_at: int | None = None
    schedule: str | None = None
    latest_invoice: str | None = None
    open_invoice: str | None = None
    reshaped: dict[str, Any] = field(factory=dict[str, Any])

    @property
    def is_over(self) -> bool:
        return self.status in ("canceled", "incomplete_expired")

    @property
    def renews(self) -> bool:
        return self.status in ("active", "trialing", "past_due", "unpaid")

    def record(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_record(cls, record: dict[str, Any]) -> Subscription:
        return cls(**record)
