"""What a client shows is a question to its store; the store's answer decides.

Source: `spec/payments-and-gamification.md` §7.1-§7.3.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

import structlog
import trio
from attrs import frozen

from cookcam.config.readers import Secret
from cookcam.database import Database, Transaction
from cookcam.errors import AppError
from cookcam.features.billing.app_stores.acknowledgements import Acknowledgements
from cookcam.features.billing.app_stores.grants import GrantResult, PurchaseGrants
from cookcam.features.billing.app_stores.models import (
    Purchase,
    SubmittedPurchase,
    ValidatedPurchase,
    Validation,
    ValidationRecord,
    hash_of,
)
from cookcam.features.billing.app_stores.proceeds import StoreProceeds
from cookcam.features.billing.app_stores.states import of_apple, of_google
from cookcam.features.billing.app_stores.store import PurchaseStore
from cookcam.features.billing.errors import (
    PurchasePending,
    PurchaseRejected,
    ReceiptBelongsToAnother,
    ValidationDeferred,
)
from cookcam.features.billing.tiers.models import Subscription, product_of
from cookcam.integrations.app_store import AppStore
from cookcam.integrations.google_play import GooglePlay
from cookcam.integrations.store_calls import StoreRejected
from cookcam.observability.metrics import Metrics

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

EXPIRED = "expired"
FINAL = frozenset({"malformed", "not_authentic", "unknown", "bundle", "account_gone"})
"""Reasons of which no later answer differs: of the receipt itself, not of its time or product."""

CIPHER_VERSION = b"\x01"
NONCE_LENGTH = 12

log = structlog.get_logger(__name__)


@frozen
class Purchases:
    database: Database
    store: PurchaseStore
    grants: PurchaseGrants
    acknowledgements: Acknowledgements
    proceeds: StoreProceeds
    app_store: AppStore
    google_play: GooglePlay
    cipher: ReceiptCipher
    metrics: Metrics
    now: Callable[[], datetime]
    allow_sandbox: bool

    async def validate(self, caller: UUID, submitted: SubmittedPurchase) -> ValidatedPurchase:
        """The caller's purchase, which entitles from now on.

        Raises PurchaseRejected (400), PurchasePending (400), ReceiptBelongsToAnother (409), and
        ValidationDeferred (503) whenever nobody can say.
        """
        outcome = "error"
        try:
            accepted = await self._validate(caller, submitted)
            outcome = "valid"
            return accepted
        except (PurchaseRejected, ReceiptBelongsToAnother):
            outcome = "invalid"
            raise
        except PurchasePending:
            outcome = "pending"
            raise
        except AppError as error:
            raise ValidationDeferred.after(error) from error
        finally:
            self.metrics.iap_validations_total.of(submitted.platform, outcome).inc()

    async def subscription_of(self, accepted: ValidatedPurchase) -> Subscription:
        """The row of a purchase that was just accepted."""
        row = await self.grants.ledger.find(accepted.platform, accepted.subscription_id)
        if row is None:
            raise RuntimeError("an accepted purchase has no subscription")
        return row

    async def _validate(self, caller: UUID, submitted: SubmittedPurchase) -> ValidatedPurchase:
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
        except ReceiptBelongsToAnother:
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

    async def _read(self, submitted: SubmittedPurchase) -> Purchase:
        platform = submitted.platform
        if platform == "android":
            bound = await self.store.binding(platform, hash_of(submitted.proof))
            if bound is not None and bound.user_id is None:
                raise ReceiptBelongsToAnother.here()
            sold = await self.google_play.subscription(
                submitted.proof, lambda product: product_of("android", product) is not None
            )
            return await self.proceeds.of_google(of_google(sold), sold)
        told = await self.app_store.verify(
            submitted.proof,
            submitted.product_id,
            lambda product: product_of("ios", product) is not None,
        )
        return await self.proceeds.of_apple(of_apple(told), told)

    def _judge(self, purchase: Purchase, submitted: SubmittedPurchase) -> None:
        """What no user may have. Raises PurchaseRejected."""
        if submitted.product_id not in (None, purchase.product.id):
            raise PurchaseRejected.because("Product mismatch", "product")
        if purchase.environment == "sandbox" and not self.allow_sandbox:
            raise PurchaseRejected.because("Sandbox purchases are not accepted", "sandbox")

    async def _known(self, caller: UUID, submitted: SubmittedPurchase) -> ValidatedPurchase | None:
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
        if (
            row is None
            or row.user_id != caller
            or row.provider_status not in ("active", "trialing")
        ):
            return None
        return ValidatedPurchase(
            submitted.platform,
            found.product_id,
            found.transaction_id or "",
            found.environment,
            proof,
        )

    def _lasts(self, found: ValidationRecord) -> bool:
        return found.expires_at is not None and found.expires_at > self.now()

    async def _grant(
        self,
        caller: UUID,
        submitted: SubmittedPurchase,
        purchase: Purchase,
        took: Callable[[], int],
    ) -> ValidatedPurchase:
        """Binds, tells the ledger and writes the history: all of it, or nothing."""
        grant_result: GrantResult | None = None
        status: Validation = "pending" if purchase.status is None else "invalid"
        async with self.database.transaction() as tx:
            if status == "pending" or purchase.entitles(self.now()):
                await self.grants.bind(tx, purchase, caller)
                grant_result = await self.grants.apply(tx, purchase, caller, None)
            elif await self._is_bound(tx, purchase, caller):
                grant_result = await self.grants.apply(tx, purchase, caller, None)
            # Not what we were told counts but what is known after it: a refund may be newer.
            if grant_result is not None and grant_result.entitles(self.now()):
                status = "valid"
            await self.store.record(
                tx,
                caller,
                submitted,
                status,
                purchase=purchase,
                ciphertext=self.cipher.encrypt(submitted.proof, submitted.hash),
                response={"reason": _REASONS.get(status), **purchase.evidence},
                duration_ms=took(),
            )
        if grant_result is not None:
            self.grants.announce(grant_result)
        if status == "pending":
            raise PurchasePending.now()
        if status == "invalid":
            raise PurchaseRejected.because("Subscription expired", EXPIRED)
        await self.acknowledgements.now(purchase)
        return ValidatedPurchase(
            submitted.platform,
            purchase.product.id,
            purchase.transaction_id,
            purchase.environment,
            purchase.subscription_id,
        )

    async def _is_bound(self, tx: Transaction, purchase: Purchase, caller: UUID) -> bool:
        """Whether it is the caller's already. Raises ReceiptBelongsToAnother."""
        bound = await self.store.binding_in(tx, purchase.product.platform, purchase.store_key)
        if bound is not None and bound.user_id != caller:
            raise ReceiptBelongsToAnother.here()
        return bound is not None

    async def _note(
        self,
        caller: UUID,
        submitted: SubmittedPurchase,
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
                    ciphertext=self.cipher.encrypt(submitted.proof, submitted.hash),
                    response={"reason": reason, **(purchase.evidence if purchase else {})},
                    duration_ms=duration_ms,
                )
        except AppError as error:
            log.warning("a validation is not in the history", code=error.code)


_REASONS: Mapping[Validation, str] = {"invalid": EXPIRED, "pending": "pending"}


@frozen
class ReceiptCipher:
    """Encrypts the receipts of the history: AES-256-GCM under a key derived from `IAP_RECEIPT_KEY`,
    bound to the receipt's hash. The form is one byte of version, twelve of nonce, then the
    ciphertext with its tag. Without a key no receipts are stored.
    """

    key: Secret | None

    def encrypt(self, receipt: str, receipt_hash: str) -> bytes | None:
        if self.key is None:
            return None
        nonce = secrets.token_bytes(NONCE_LENGTH)
        ciphertext = self._cipher(self.key).encrypt(nonce, receipt.encode(), receipt_hash.encode())
        return CIPHER_VERSION + nonce + ciphertext

    def decrypt(self, ciphertext: bytes, receipt_hash: str) -> str:
        """For an audit. Raises ValueError for another key, another hash, or damage."""
        from cryptography.exceptions import InvalidTag

        if self.key is None or ciphertext[:1] != CIPHER_VERSION:
            raise ValueError("not encrypted with this key")
        nonce, rest = ciphertext[1 : 1 + NONCE_LENGTH], ciphertext[1 + NONCE_LENGTH :]
        try:
            return self._cipher(self.key).decrypt(nonce, rest, receipt_hash.encode()).decode()
        except InvalidTag:
            raise ValueError("not encrypted with this key") from None

    @staticmethod
    def _cipher(key: Secret) -> AESGCM:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        derived = HKDF(
            algorithm=hashes.SHA256(), length=32, salt=None, info=b"cookcam receipts 1"
        ).derive(key.reveal().encode())
        return AESGCM(derived)
