"""What a client shows is a question to its store; the store's answer decides.

Source: `spec/payments-and-gamification.md` §7.1-§7.3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from uuid import UUID

import structlog
import trio
from attrs import frozen

from cookcam.database import Database, Transaction
from cookcam.errors import AppError
from cookcam.features.billing.app_stores.acknowledging import Acknowledging
from cookcam.features.billing.app_stores.grants import Granted, Grants
from cookcam.features.billing.app_stores.models import (
    Accepted,
    Purchase,
    Recorded,
    Submitted,
    Validation,
    hash_of,
)
from cookcam.features.billing.app_stores.refusals import (
    PurchasePending,
    PurchaseRejected,
    ReceiptOfAnother,
    ValidationDeferred,
)
from cookcam.features.billing.app_stores.states import of_apple, of_google
from cookcam.features.billing.app_stores.store import PurchaseStore
from cookcam.features.billing.app_stores.takings import Takings
from cookcam.features.billing.app_stores.vault import Vault
from cookcam.features.billing.stripe.products import product_of
from cookcam.features.billing.tiers.models import Subscription
from cookcam.integrations.app_store import AppStore
from cookcam.integrations.google_play import GooglePlay
from cookcam.integrations.provider_calls import StoreRejected
from cookcam.observability.metrics import Metrics

EXPIRED = "expired"
FINAL = frozenset({"malformed", "not_authentic", "unknown", "bundle", "account_gone"})
"""Reasons of which no later answer differs: of the receipt itself, not of its time or product."""

log = structlog.get_logger(__name__)


@frozen
class Purchases:
    database: Database
    store: PurchaseStore
    grants: Grants
    acknowledging: Acknowledging
    takings: Takings
    app_store: AppStore
    google_play: GooglePlay
    vault: Vault
    metrics: Metrics
    now: Callable[[], datetime]
    allow_sandbox: bool

    async def validate(self, caller: UUID, submitted: Submitted) -> Accepted:
        """The caller's purchase, which entitles from now on.

        Raises PurchaseRejected (400), PurchasePending (400), ReceiptOfAnother (409), and
        ValidationDeferred (503) whenever nobody can say.
        """
        outcome = "error"
        try:
            accepted = await self._validate(caller, submitted)
            outcome = "valid"
            return accepted
        except (PurchaseRejected, ReceiptOfAnother):
            outcome = "invalid"
            raise
        except PurchasePending:
            outcome = "pending"
            raise
        except AppError as error:
            raise ValidationDeferred.after(error) from error
        finally:
            self.metrics.iap_validations_total.of(submitted.platform, outcome).inc()

    async def subscription_of(self, accepted: Accepted) -> Subscription:
        """The row of a purchase that was just accepted."""
        row = await self.grants.ledger.find(accepted.platform, accepted.subscription_id)
        if row is None:
            raise RuntimeError("an accepted purchase has no subscription")
        return row

    async def _validate(self, caller: UUID, submitted: Submitted) -> Accepted:
        if submitted.product_id and not product_of(submitted.platform, submitted.product_id):
            raise PurchaseRejected.because("Unknown product", "unknown_product")
        known = await self._known(caller, submitted)
        if known is not None:
            return known
        began = trio.current_time()

        def took() -> int:
            return int((trio.current_time() - began) * 1000)

        purchase: Purchase | None = None
        try:
            purchase = await self._read(submitted)
            self._judge(purchase, submitted)
            return await self._grant(caller, submitted, purchase, took)
        except PurchaseRejected as error:
            if error.reason != EXPIRED:  # that was written with the rest
                await self._note(caller, submitted, "invalid", error.reason, took(), purchase)
            raise
        except ReceiptOfAnother:
            await self._note(caller, submitted, "invalid", "another", took(), purchase)
            raise
        except StoreRejected as error:
            await self._note(caller, submitted, "invalid", error.reason, took())
            raise PurchaseRejected.because(error.message, error.reason) from None
        except PurchasePending:
            raise
        except AppError as error:
            await self._note(caller, submitted, "error", error.code, took())
            raise

    async def _read(self, submitted: Submitted) -> Purchase:
        platform = submitted.platform
        if platform == "android":
            bound = await self.store.binding(platform, hash_of(submitted.proof))
            if bound is not None and bound.user_id is None:
                raise ReceiptOfAnother.here()
            sold = await self.google_play.subscription(
                submitted.proof, lambda product: product_of("android", product) is not None
            )
            return await self.takings.of_google(of_google(sold), sold)
        told = await self.app_store.verify(
            submitted.proof,
            submitted.product_id,
            lambda product: product_of("ios", product) is not None,
        )
        return await self.takings.of_apple(of_apple(told), told)

    def _judge(self, purchase: Purchase, submitted: Submitted) -> None:
        """What no user may have. Raises PurchaseRejected."""
        if submitted.product_id not in (None, purchase.product.id):
            raise PurchaseRejected.because("Product mismatch", "product")
        if purchase.environment == "sandbox" and not self.allow_sandbox:
            raise PurchaseRejected.because("Sandbox purchases are not accepted", "sandbox")

    async def _known(self, caller: UUID, submitted: Submitted) -> Accepted | None:
        """The answer of the last ten minutes, while nothing else became known since.

        Raises PurchaseRejected for what the store refused for good.
        """
        found = await self.store.recent(submitted)
        if found is None:
            return None
        if found.status == "invalid" and found.reason in FINAL:
            word = "Receipt" if submitted.platform == "ios" else "Purchase"
            text = f"{word} already validated as invalid"
            raise PurchaseRejected.because(text, found.reason or "")
        if found.status != "valid" or found.user_id != caller or not self._lasts(found):
            return None
        if submitted.product_id not in (None, found.product_id) or not found.store_key:
            return None
        proof = submitted.proof if submitted.platform == "android" else found.store_key
        row = await self.grants.ledger.find(submitted.platform, proof)
        if row is None or row.user_id != caller or row.told not in ("active", "trialing"):
            return None
        return Accepted(
            submitted.platform,
            found.product_id,
            found.transaction_id or "",
            found.environment,
            proof,
        )

    def _lasts(self, found: Recorded) -> bool:
        return found.expires_at is not None and found.expires_at > self.now()

    async def _grant(
        self, caller: UUID, submitted: Submitted, purchase: Purchase, took: Callable[[], int]
    ) -> Accepted:
        """Binds, tells the ledger and writes the history: all of it, or nothing."""
        granted: Granted | None = None
        status: Validation = "pending" if purchase.status is None else "invalid"
        async with self.database.transaction() as tx:
            if status == "pending" or purchase.entitles(self.now()):
                await self.grants.bind_to(tx, purchase, caller)
                granted = await self.grants.apply(tx, purchase, caller, None)
            elif await self._is_bound(tx, purchase, caller):
                granted = await self.grants.apply(tx, purchase, caller, None)
            # Not what we were told counts but what is known after it: a refund may be newer.
            if granted is not None and granted.entitles(self.now()):
                status = "valid"
            await self.store.record(
                tx,
                caller,
                submitted,
                status,
                purchase=purchase,
                ciphertext=self.vault.seal(submitted.proof, submitted.hash),
                response={"reason": _REASONS.get(status), **purchase.evidence},
                duration_ms=took(),
            )
        if granted is not None:
            self.grants.announce(granted)
        if status == "pending":
            raise PurchasePending.now()
        if status == "invalid":
            raise PurchaseRejected.because("Subscription expired", EXPIRED)
        await self.acknowledging.now(purchase)
        return Accepted(
            submitted.platform,
            purchase.product.id,
            purchase.transaction_id,
            purchase.environment,
            purchase.subscription_id,
        )

    async def _is_bound(self, tx: Transaction, purchase: Purchase, caller: UUID) -> bool:
        """Whether it is the caller's already. Raises ReceiptOfAnother."""
        bound = await self.store.binding_in(tx, purchase.product.platform, purchase.store_key)
        if bound is not None and bound.user_id != caller:
            raise ReceiptOfAnother.here()
        return bound is not None

    async def _note(
        self,
        caller: UUID,
        submitted: Submitted,
        status: Validation,
        reason: str,
        duration_ms: int,
        purchase: Purchase | None = None,
    ) -> None:
        """Writes down what came to nothing; that this fails too is not the client's concern."""
        try:
            async with self.database.transaction() as tx:
                await self.store.record(
                    tx,
                    caller,
                    submitted,
                    status,
                    purchase=purchase,
                    ciphertext=self.vault.seal(submitted.proof, submitted.hash),
                    response={"reason": reason, **(purchase.evidence if purchase else {})},
                    duration_ms=duration_ms,
                )
        except AppError as error:
            log.warning("a validation is not in the history", code=error.code)


_REASONS: Mapping[Validation, str] = {"invalid": EXPIRED, "pending": "pending"}
