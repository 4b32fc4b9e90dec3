"""Verifies signed transactions, renewals and notifications with Apple's library.

A signature is valid when its chain of three certificates ends in one of our roots, has Apple's
extensions, and was valid at the time of signing. Revocation of certificates is not checked: the
library would send requests of up to 30 s, and the current state is read from the App Store anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from attrs import define, field, frozen

from cookcam.integrations.app_store.models import (
    ALL,
    AppleNotification,
    AppleSubscription,
    AppStoreSettings,
    Environment,
    moment,
)
from cookcam.integrations.provider_calls import ProviderMisconfigured, StoreRejected

if TYPE_CHECKING:
    from appstoreserverlibrary.models.JWSRenewalInfoDecodedPayload import (
        JWSRenewalInfoDecodedPayload as Renewal,
    )
    from appstoreserverlibrary.models.JWSTransactionDecodedPayload import (
        JWSTransactionDecodedPayload as Transaction,
    )
    from appstoreserverlibrary.signed_data_verifier import SignedDataVerifier

T = TypeVar("T")

SHARED = "FAMILY_SHARED"
UNREADABLE = "unreadable"
"""Reason of a rejection: signed by Apple, but malformed."""


@define(slots=False, eq=False)
class NotSigned(StoreRejected):
    """The data is not signed by Apple for our app."""

    default_message = "The signature could not be verified"


def is_signed(text: str) -> bool:
    """Whether the text is a signed transaction (JWS), as opposed to a receipt (base64)."""
    return text.count(".") == 2


@frozen
class _Verifier:
    environment: Environment
    of_library: SignedDataVerifier


@define(eq=False)
class Signatures:
    """Each method uses some milliseconds of CPU time: call it in a worker thread."""

    settings: AppStoreSettings
    _verifiers: Sequence[_Verifier] = field(default=(), init=False)

    def transaction(self, signed: str) -> AppleSubscription:
        """Raises NotSigned, StoreRejected if it is no subscription, and ProviderMisconfigured."""
        environment, payload = self._verify("verify_and_decode_signed_transaction", signed)
        return _subscription(environment, payload, None, payload.signedDate, None)

    def status(self, signed: str, renewal: str | None, status: int | None) -> AppleSubscription:
        """Parses an item of the Server API: a transaction, its renewal, and their status."""
        environment, payload = self._verify("verify_and_decode_signed_transaction", signed)
        renewing = self._renewal(renewal)
        signed_at = max(payload.signedDate or 0, (renewing and renewing.signedDate) or 0)
        return _subscription(environment, payload, renewing, signed_at, status)

    def notification(self, signed: str) -> AppleNotification:
        environment, payload = self._verify("verify_and_decode_notification", signed)
        kind, subtype, data = payload.rawNotificationType, payload.rawSubtype, payload.data
        if not payload.notificationUUID or not kind or not payload.signedDate:
            raise NotSigned(reason="incomplete")
        try:
            signed_at = moment(payload.signedDate)
        except (TypeError, ValueError, OverflowError, OSError):
            raise NotSigned(reason=UNREADABLE) from None
        return AppleNotification(
            id=payload.notificationUUID,
            type=kind,
            subtype=subtype,
            environment=environment,
            signed_at=signed_at,
            subscription=None if data is None else self._notified(environment, payload, data),
        )

    def _notified(
        self, environment: Environment, payload: Any, data: Any
    ) -> AppleSubscription | None:
        """The subscription of a notification. None when it is about none, or, with an error in the
        log, when its transaction cannot be parsed: a retry would not change that."""
        try:
            if not data.signedTransactionInfo:
                return None
            _, transaction = self._verify(
                "verify_and_decode_signed_transaction", data.signedTransactionInfo
            )
            if not transaction.expiresDate:
                return None
            renewal = self._renewal(data.signedRenewalInfo)
            return _subscription(
                environment, transaction, renewal, payload.signedDate, data.rawStatus
            )
        except StoreRejected as error:
            if isinstance(error, NotSigned) and error.reason != UNREADABLE:
                raise
        except (TypeError, ValueError, ArithmeticError, OSError):
            pass
        structlog.get_logger(__name__).error(
            "notification of Apple cannot be read", notification_id=str(payload.notificationUUID)
        )
        return None

    def _renewal(self, signed: str | None) -> Renewal | None:
        if not signed:
            return None
        return self._verify("verify_and_decode_renewal_info", signed)[1]

    def _verify(self, method: str, signed: str) -> tuple[Environment, Any]:
        """Verifies and decodes `signed`; returns its environment and payload."""
        from appstoreserverlibrary.signed_data_verifier import (
            VerificationException,
            VerificationStatus,
        )

        if not self._verifiers:
            self._verifiers = self._open()
        reason = "environment"
        for verifier in self._verifiers:
            try:
                return verifier.environment, getattr(verifier.of_library, method)(signed)
            except VerificationException as error:
                reason = error.status.name.lower()
                if error.status is VerificationStatus.INVALID_APP_IDENTIFIER:
                    # In production it may be the app's id, which sandbox data does not have.
                    continue
                if error.status is not VerificationStatus.INVALID_ENVIRONMENT:
                    break
            except Exception:  # verified, but malformed
                reason = UNREADABLE
                break
        raise NotSigned(reason=reason)

    def _open(self) -> list[_Verifier]:
        from appstoreserverlibrary.models.Environment import Environment as Theirs
        from appstoreserverlibrary.signed_data_verifier import SignedDataVerifier

        settings = self.settings
        if not settings.roots or settings.app_apple_id is None:
            raise ProviderMisconfigured()
        roots = list(settings.roots)
        bundle, app = settings.bundle_id, settings.app_apple_id
        return [
            _Verifier(
                "production", SignedDataVerifier(roots, False, Theirs.PRODUCTION, bundle, app)
            ),
            _Verifier("sandbox", SignedDataVerifier(roots, False, Theirs.SANDBOX, bundle, app)),
        ]


def _subscription(
    environment: Environment,
    payload: Transaction,
    renewal: Renewal | None,
    signed_at: int | None,
    status: int | None,
) -> AppleSubscription:
    if (
        not payload.originalTransactionId
        or not payload.transactionId
        or not payload.productId
        or not payload.expiresDate
        or not payload.purchaseDate
        or not signed_at
    ):
        raise StoreRejected("The transaction is no subscription", reason="no_subscription")
    return AppleSubscription(
        original_transaction_id=payload.originalTransactionId,
        transaction_id=payload.transactionId,
        product_id=payload.productId,
        environment=environment,
        purchased_at=moment(payload.purchaseDate),
        expires_at=moment(payload.expiresDate),
        as_of=moment(signed_at),
        status=status,
        renews=bool(renewal.rawAutoRenewStatus) if renewal is not None else None,
        trial=payload.rawOfferDiscountType == "FREE_TRIAL",
        upgraded=bool(payload.isUpgraded),
        revoked_at=moment(payload.revocationDate) if payload.revocationDate else None,
        in_retry=bool(renewal and renewal.isInBillingRetryPeriod),
        account_token=payload.appAccountToken,
        price=Decimal(payload.price) / 1000
        if payload.price is not None and payload.currency
        else None,
        currency=payload.currency,
        discounted=payload.rawOfferType is not None,
        shared=payload.rawInAppOwnershipType == SHARED,
        revoked_part=ALL if payload.revocationPercentage is None else payload.revocationPercentage,
        grace_until=(
            moment(renewal.gracePeriodExpiresDate)
            if renewal is not None and renewal.gracePeriodExpiresDate
            else None
        ),
    )
