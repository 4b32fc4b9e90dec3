"""Validates the purchases that clients submit: the store's response decides."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
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
from cookcam.integrations.provider_calls import StoreRejected
from cookcam.observability.metrics import Metrics

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

EXPIRED = "expired"
FINAL = frozenset({"malformed", "not_authentic", "unknown", "bundle", "account_gone"})
"""Reasons of permanent rejections: they concern the receipt itself."""

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
        """Validates the caller's purchase, which entitles from then on.

        Raises PurchaseRejected (400), PurchasePending (400), ReceiptBelongsToAnother (409), and
        ValidationDeferred (503) when the store or the database does not respond.
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
        previous = await self._previous_result(caller, submitted)
        if previous is not None:
            return previous
        began = trio.current_time()

        def duration_ms() -> int:
            return int((trio.current_time() - began) * 1000)

        purchase: Purchase | None = None
        try:
            purchase = await self._read(submitted)
            self._check(purchase, submitted)
            return await self._grant(caller, submitted, purchase, duration_ms)
        except PurchaseRejected as error:
            if error.reason != EXPIRED:  # `_grant` has recorded it
                await self._record_failure(
                    caller, submitted, "invalid", error.reason, duration_ms(), purchase
                )
            raise
        except ReceiptBelongsToAnother:
            await self._record_failure(
                caller, submitted, "invalid", "another", duration_ms(), purchase
            )
            raise
        except StoreRejected as error:
            await self._record_failure(caller, submitted, "invalid", error.reason, duration_ms())
            raise PurchaseRejected.because(error.message, error.reason) from None
        except PurchasePending:
            raise
        except AppError as error:
            await self._record_failure(caller, submitted, "error", error.code, duration_ms())
            raise

    async def _read(self, submitted: SubmittedPurchase) -> Purchase:
        platform = submitted.platform
        if platform == "android":
            binding = await self.store.binding(platform, hash_of(submitted.proof))
            if binding is not None and binding.user_id is None:
                raise ReceiptBelongsToAnother.here()
            subscription = await self.google_play.subscription(
                submitted.proof, lambda product: product_of("android", product) is not None
            )
            return await self.proceeds.of_google(of_google(subscription), subscription)
        subscription = await self.app_store.verify(
            submitted.proof,
            submitted.product_id,
            lambda product: product_of("ios", product) is not None,
        )
        return await self.proceeds.of_apple(of_apple(subscription), subscription)

    def _check(self, purchase: Purchase, submitted: SubmittedPurchase) -> None:
        """Checks product and environment. Raises PurchaseRejected."""
        if submitted.product_id not in (None, purchase.product.id):
            raise PurchaseRejected.because("Product mismatch", "product")
        if purchase.environment == "sandbox" and not self.allow_sandbox:
            raise PurchaseRejected.because("Sandbox purchases are not accepted", "sandbox")

    async def _previous_result(
        self, caller: UUID, submitted: SubmittedPurchase
    ) -> ValidatedPurchase | None:
        """The result of a validation in the last ten minutes, unless the row changed since.

        Raises PurchaseRejected for a receipt that was permanently rejected.
        """
        record = await self.store.recent(submitted)
        if record is None:
            return None
        if record.status == "invalid" and record.reason in FINAL:
            word = "Receipt" if submitted.platform == "ios" else "Purchase"
            text = f"{word} already validated as invalid"
            raise PurchaseRejected.because(text, record.reason or "")
        if record.status != "valid" or record.user_id != caller or not self._is_current(record):
            return None
        if submitted.product_id not in (None, record.product_id) or not record.store_key:
            return None
        proof = submitted.proof if submitted.platform == "android" else record.store_key
        row = await self.grants.ledger.find(submitted.platform, proof)
        if (
            row is None
            or row.user_id != caller
            or row.provider_status not in ("active", "trialing")
        ):
            return None
        return ValidatedPurchase(
            submitted.platform,
            record.product_id,
            record.transaction_id or "",
            record.environment,
            proof,
        )

    def _is_current(self, record: ValidationRecord) -> bool:
        return record.expires_at is not None and record.expires_at > self.now()

    async def _grant(
        self,
        caller: UUID,
        submitted: SubmittedPurchase,
        purchase: Purchase,
        duration_ms: Callable[[], int],
    ) -> ValidatedPurchase:
        """Binds the purchase, applies it and writes the history, in one transaction."""
        grant_result: GrantResult | None = None
        status: Validation = "pending" if purchase.status is None else "invalid"
        async with self.database.transaction() as tx:
            if status == "pending" or purchase.entitles(self.now()):
                await self.grants.bind(tx, purchase, caller)
                grant_result = await self.grants.apply(tx, purchase, caller, None)
            elif await self._is_bound(tx, purchase, caller):
                grant_result = await self.grants.apply(tx, purchase, caller, None)
            # The row after the change decides, not the receipt, because a refund may be newer.
            if grant_result is not None and grant_result.entitles(self.now()):
                status = "valid"
            await self._record(
                tx, caller, submitted, status, _REASONS.get(status), duration_ms(), purchase
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
        binding = await self.store.binding_in(tx, purchase.product.platform, purchase.store_key)
        if binding is not None and binding.user_id != caller:
            raise ReceiptBelongsToAnother.here()
        return binding is not None

    async def _record_failure(
        self,
        caller: UUID,
        submitted: SubmittedPurchase,
        status: Validation,
        reason: str,
        duration_ms: int,
        purchase: Purchase | None = None,
    ) -> None:
        """Adds a failed validation to the history. A failure to do so is only logged."""
        try:
            async with self.database.transaction() as tx:
                await self._record(tx, caller, submitted, status, reason, duration_ms, purchase)
        except AppError as error:
            log.warning("validation could not be recorded", code=error.code)

    async def _record(
        self,
        tx: Transaction,
        caller: UUID,
        submitted: SubmittedPurchase,
        status: Validation,
        reason: str | None,
        duration_ms: int,
        purchase: Purchase | None,
    ) -> None:
        """Adds a validation to the history."""
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


_REASONS: Mapping[Validation, str] = {"invalid": EXPIRED, "pending": "pending"}


@frozen
class ReceiptCipher:
    """Encrypts the receipts of the history: AES-256-GCM under a key derived from `IAP_RECEIPT_KEY`,
    bound to the receipt's hash. The format is one byte of version, twelve of nonce, then the
    ciphertext with its tag. The first of `keys` encrypts; without one no receipts are stored.
    """

    keys: Sequence[Secret]

    def encrypt(self, receipt: str, receipt_hash: str) -> bytes | None:
        if not self.keys:
            return None
        nonce = secrets.token_bytes(NONCE_LENGTH)
        ciphertext = self._cipher(self.keys[0]).encrypt(
            nonce, receipt.encode(), receipt_hash.encode()
        )
        return CIPHER_VERSION + nonce + ciphertext

    def decrypt(self, ciphertext: bytes, receipt_hash: str) -> str:
        """For an audit. Raises ValueError for a key not in `keys`, another hash, or damage."""
        from cryptography.exceptions import InvalidTag

        nonce, rest = ciphertext[1 : 1 + NONCE_LENGTH], ciphertext[1 + NONCE_LENGTH :]
        for key in self.keys if ciphertext[:1] == CIPHER_VERSION else ():
            with suppress(InvalidTag):
                return self._cipher(key).decrypt(nonce, rest, receipt_hash.encode()).decode()
        raise ValueError("not encrypted with these keys")

    @staticmethod
    def _cipher(key: Secret) -> AESGCM:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        derived = HKDF(
            algorithm=hashes.SHA256(), length=32, salt=None, info=b"cookcam receipts 1"
        ).derive(key.reveal().encode())
        return AESGCM(derived)
