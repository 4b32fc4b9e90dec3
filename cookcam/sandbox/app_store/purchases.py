"""Purchases at the fake App Store, in the formats of Apple's interfaces."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import uuid4

from attrs import define, evolve, field, frozen

from cookcam.sandbox.app_stores import without_none

ACTIVE, EXPIRED, BILLING_RETRY, GRACE, REVOKED = 1, 2, 3, 4, 5
GROUP = "20990001"
Where = Literal["Production", "Sandbox"]


@frozen
class Transaction:
    id: str
    product_id: str
    purchased_at: datetime
    expires_at: datetime
    trial: bool = False
    revoked_at: datetime | None = None
    upgraded: bool = False
    price_cents: int = 0
    currency: str = "USD"
    revoked_part: int | None = None


@define(eq=False)
class Purchase:
    """One subscription: its transactions, oldest first, and the action at the end of the period."""

    id: str
    where: Where
    bundle_id: str
    transactions: list[Transaction]
    account_token: str | None = None
    shared: bool = False
    status: int = ACTIVE
    renews: bool = True
    renews_to: str = ""
    grace_until: datetime | None = None
    receipt: str = field(factory=lambda: f"MII{uuid4().hex}{uuid4().hex}")

    @property
    def newest(self) -> Transaction:
        return self.transactions[-1]

    def replace_newest(self, **changes: Any) -> None:
        self.replace(-1, **changes)

    def replace(self, number: int, **changes: Any) -> None:
        self.transactions[number] = evolve(self.transactions[number], **changes)

    def transaction_info(self, now: datetime, one: Transaction | None = None) -> dict[str, Any]:
        """`JWSTransactionDecodedPayload`."""
        shown = one or self.newest
        return {
            "transactionId": shown.id,
            "originalTransactionId": self.id,
            "webOrderLineItemId": shown.id,
            "bundleId": self.bundle_id,
            "productId": shown.product_id,
            "subscriptionGroupIdentifier": GROUP,
            "purchaseDate": _ms(shown.purchased_at),
            "originalPurchaseDate": _ms(self.transactions[0].purchased_at),
            "expiresDate": _ms(shown.expires_at),
            "quantity": 1,
            "type": "Auto-Renewable Subscription",
            "inAppOwnershipType": "FAMILY_SHARED" if self.shared else "PURCHASED",
            "signedDate": _ms(now),
            "environment": self.where,
            "transactionReason": "PURCHASE" if len(self.transactions) == 1 else "RENEWAL",
            "storefront": "USA",
            "storefrontId": "143441",
            "price": shown.price_cents * 10,
            "currency": shown.currency,
            **without_none(
                appAccountToken=self.account_token,
                offerType=1 if shown.trial else None,
                offerDiscountType="FREE_TRIAL" if shown.trial else None,
                isUpgraded=shown.upgraded or None,
                revocationDate=_ms_or_none(shown.revoked_at),
                revocationReason=0 if shown.revoked_at else None,
                revocationType=None if shown.revoked_part is None else "REFUND_PRORATED",
                revocationPercentage=shown.revoked_part,
            ),
        }

    def renewal_info(self, now: datetime) -> dict[str, Any]:
        """`JWSRenewalInfoDecodedPayload`."""
        return {
            "originalTransactionId": self.id,
            "autoRenewProductId": self.renews_to or self.newest.product_id,
            "productId": self.newest.product_id,
            "autoRenewStatus": int(self.renews),
            "isInBillingRetryPeriod": self.status in (BILLING_RETRY, GRACE),
            "signedDate": _ms(now),
            "environment": self.where,
            "recentSubscriptionStartDate": _ms(self.transactions[0].purchased_at),
            **without_none(gracePeriodExpiresDate=_ms_or_none(self.grace_until)),
        }

    def receipt_info(self, now: datetime) -> dict[str, Any]:
        """The response of `verifyReceipt`: transactions in no particular order."""
        return {
            "status": 0,
            "environment": self.where,
            "receipt": {
                "receipt_type": "Production" if self.where == "Production" else "ProductionSandbox",
                "bundle_id": self.bundle_id,
                "request_date_ms": str(_ms(now)),
                "in_app": [self._entry(one) for one in self.transactions],
            },
            "latest_receipt_info": [self._entry(one) for one in self.transactions],
            "pending_renewal_info": [
                {
                    "original_transaction_id": self.id,
                    "product_id": self.newest.product_id,
                    "auto_renew_product_id": self.renews_to or self.newest.product_id,
                    "auto_renew_status": str(int(self.renews)),
                    **without_none(
                        is_in_billing_retry_period="1"
                        if self.status in (BILLING_RETRY, GRACE)
                        else None
                    ),
                }
            ],
        }

    def _entry(self, one: Transaction) -> dict[str, Any]:
        return {
            "quantity": "1",
            "product_id": one.product_id,
            "transaction_id": one.id,
            "original_transaction_id": self.id,
            "purchase_date_ms": str(_ms(one.purchased_at)),
            "original_purchase_date_ms": str(_ms(self.transactions[0].purchased_at)),
            "expires_date_ms": str(_ms(one.expires_at)),
            "is_trial_period": str(one.trial).lower(),
            "in_app_ownership_type": "FAMILY_SHARED" if self.shared else "PURCHASED",
            "subscription_group_identifier": GROUP,
            **without_none(
                app_account_token=self.account_token,
                is_upgraded="true" if one.upgraded else None,
                cancellation_date_ms=str(_ms(one.revoked_at)) if one.revoked_at else None,
                cancellation_reason="0" if one.revoked_at else None,
            ),
        }


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def _ms_or_none(at: datetime | None) -> int | None:
    return None if at is None else _ms(at)
