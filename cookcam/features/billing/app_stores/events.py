"""Notifications of the app stores: verified, stored, and applied once through the webhook inbox."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias, cast

import orjson
import structlog
from attrs import field, frozen

from cookcam.database import Transaction
from cookcam.errors import BadRequest, ServiceUnavailable
from cookcam.features.billing.app_stores.acknowledgements import Acknowledgements
from cookcam.features.billing.app_stores.grants import GrantResult, PurchaseGrants
from cookcam.features.billing.app_stores.models import Purchase, ReturnedMoney, hash_of
from cookcam.features.billing.app_stores.proceeds import StoreProceeds
from cookcam.features.billing.app_stores.states import of_apple, of_google
from cookcam.features.billing.errors import PurchasePending, PurchaseRejected
from cookcam.features.billing.ledger.changes import SourceEvent, SubscriptionChange
from cookcam.features.billing.tiers.models import Subscription, product_of
from cookcam.features.billing.webhooks.inbox import WebhookInbox
from cookcam.features.billing.webhooks.store import ClaimedEvent, EventHeader, EventResult
from cookcam.features.messaging.notifications.messages import payment_failed
from cookcam.features.messaging.notifications.queue_store import QueueStore
from cookcam.integrations.app_store import AppleNotification, AppStore
from cookcam.integrations.google_play import GooglePlay, PushTokens
from cookcam.integrations.google_play.client import UnknownPurchase
from cookcam.integrations.provider_calls import StoreRejected

GOOGLE_REVOKED: Final = 12
GOOGLE_CHARGED: Final = (1, 2, 4)
"""`notificationType` of a recovered, a renewed and a new purchase."""
APPLE_CHARGED: Final = ("SUBSCRIBED", "DID_RENEW", "OFFER_REDEEMED")
APPLE_RESTORED: Final = "REFUND_REVERSED"
SUBSCRIPTION: Final = 1
"""`productType` of a voided purchase."""
TIMEOUT: Final = 30.0
"""Seconds for one notification: a store's client gives up after 25."""

log = structlog.get_logger(__name__)


class EventInProgress(ServiceUnavailable):
    """Another delivery of the notification is being processed; the store sends it again."""

    default_message = "The notification is being worked on"


@frozen
class GoogleMessage:
    """A developer notification, pushed by Pub/Sub. `data` is empty if it is not JSON."""

    id: str
    data: Mapping[str, Any] = field(repr=False)

    @property
    def type(self) -> str:
        return str(self.notification.get("notificationType", "other"))

    @property
    def notification(self) -> Mapping[str, Any]:
        return _object(self.data, "subscriptionNotification")

    @property
    def voided_purchase(self) -> Mapping[str, Any] | None:
        """The subscription whose purchase Google voided and refunded."""
        voided = _object(self.data, "voidedPurchaseNotification")
        return voided if voided.get("productType") == SUBSCRIPTION else None

    @property
    def token(self) -> str | None:
        return _text((self.voided_purchase or self.notification).get("purchaseToken"))

    @property
    def voided_order(self) -> str | None:
        return _text((self.voided_purchase or {}).get("orderId"))

    @property
    def is_refund(self) -> bool:
        if self.voided_purchase is not None:
            return True
        return self.notification.get("notificationType") == GOOGLE_REVOKED


StoreEvent: TypeAlias = AppleNotification | GoogleMessage


@frozen
class StorePlan:
    """`purchase` is the store's current state. It is None for a token that Google has deleted, 60
    days after its end; `returned` is then the refund of its voided order."""

    purchase: Purchase | None
    returned: Sequence[ReturnedMoney] = ()


@frozen(kw_only=True)
class StoreResult(EventResult):
    grant_result: GrantResult | None = None
    purchase: Purchase | None = None


@frozen
class StoreEvents:
    """Implements `EventProcessor` for the App Store and Google Play."""

    grants: PurchaseGrants
    acknowledgements: Acknowledgements
    proceeds: StoreProceeds
    app_store: AppStore
    google_play: GooglePlay
    notifications: QueueStore
    now: Callable[[], datetime]
    allow_sandbox: bool

    def header(self, event: StoreEvent) -> EventHeader:
        platform = "ios" if isinstance(event, AppleNotification) else "android"
        return EventHeader(platform, event.id, event.type)

    def handles(self, event: StoreEvent) -> bool:
        if isinstance(event, AppleNotification):
            return event.subscription is not None
        is_ours = event.data.get("packageName") == self.google_play.package
        return is_ours and event.token is not None

    async def restore(self, stored: ClaimedEvent) -> StoreEvent:
        payload = stored.payload or {}
        if stored.provider == "ios":
            return await self.app_store.notification(str(payload.get("signedPayload")))
        return GoogleMessage(stored.event_id, payload)

    async def read(self, event: StoreEvent) -> StorePlan | None:
        if isinstance(event, AppleNotification):
            plan = await self._read_apple(event)
        else:
            plan = await self._read_google(event)
        purchase = None if plan is None else plan.purchase
        if purchase is not None and purchase.environment == "sandbox" and not self.allow_sandbox:
            return None
        return plan

    async def read_again(self, event: StoreEvent, plan: StorePlan) -> StorePlan:
        return plan

    async def apply(self, tx: Transaction, event: StoreEvent, plan: StorePlan) -> StoreResult:
        if plan.purchase is None:
            return await self._expire(tx, event, plan)
        purchase, grants, grant_result = plan.purchase, self.grants, None
        platform = purchase.product.platform
        user_id = await grants.owner_of(tx, purchase)
        row = await grants.subscriptions.find_in(tx, platform, purchase.subscription_id)
        if user_id is not None and not _is_of_past_period(event, purchase, row):
            grant_result = await grants.apply(tx, purchase, user_id, event.id)
            await self._notify_failure(tx, grant_result)
        elif user_id is not None and row is not None:
            await grants.book(tx, purchase, row)
        else:
            await grants.book_refunds(tx, purchase.returned)
            if user_id is None and _is_charge(event):
                await grants.record_charge(tx, purchase)
        return StoreResult(
            ignored=user_id is None,
            subtype=event.subtype if isinstance(event, AppleNotification) else None,
            store_key=purchase.store_key,
            user_id=user_id,
            grant_result=grant_result,
            purchase=purchase,
        )

    async def _notify_failure(self, tx: Transaction, grant_result: GrantResult) -> None:
        """Once for each period whose renewal the store could not collect."""
        for applied in grant_result.applied[:1]:
            row = applied.subscription
            if applied.outcome == "applied" and row.provider_status == "past_due":
                data = {"subscription_id": row.id, "tier_id": row.tier_id}
                key = f"{row.id}:{row.current_period_end:%Y-%m-%d}"
                notices = payment_failed(row.user_id, data, key, self.now())
                await self.notifications.add(tx, notices)

    async def after_commit(self, result: StoreResult) -> None:
        if result.grant_result is None:
            return
        self.grants.announce(result.grant_result)
        if result.purchase is not None:
            await self.acknowledgements.now(result.purchase)

    async def _read_apple(self, event: AppleNotification) -> StorePlan | None:
        subscription = event.subscription
        if subscription is None:
            return None
        try:
            purchase = of_apple(subscription)
        except PurchaseRejected:
            log.warning("notification of an unknown product", platform="ios")
            return None
        restored = event.type == APPLE_RESTORED
        return StorePlan(await self.proceeds.of_apple(purchase, subscription, restored=restored))

    async def _read_google(self, event: GoogleMessage) -> StorePlan | None:
        token = event.token
        if token is None or not self.handles(event):
            return None
        try:
            subscription = await self.google_play.subscription(
                token, lambda product: product_of("android", product) is not None
            )
            current = await self.grants.subscriptions.find("android", token)
            purchase = of_google(subscription, refunded=event.is_refund, existing=current)
            return StorePlan(
                await self.proceeds.of_google(purchase, subscription, event.voided_order)
            )
        except UnknownPurchase:
            returned = await self.proceeds.of_voided(event.voided_order, self.now())
            return StorePlan(None, returned)
        except (StoreRejected, PurchaseRejected) as error:
            log.warning("notification rejected", platform="android", reason=error.reason)
            return None
        except PurchasePending:
            return None  # a later notification names the product

    async def _expire(self, tx: Transaction, event: StoreEvent, plan: StorePlan) -> StoreResult:
        """Google has deleted the token: the subscription has ended. Google keeps its orders
        longer."""
        token = event.token if isinstance(event, GoogleMessage) else None
        await self.grants.book_refunds(tx, plan.returned)
        row = await self.grants.subscriptions.find_in(tx, "android", token or "")
        if row is None:
            return StoreResult(ignored=True, store_key=hash_of(token or ""))
        change = SubscriptionChange.of(row, as_of=self.now(), status="expired")
        source = SourceEvent("google_play", event.id)
        applied = await self.grants.ledger.apply_in(tx, change, source_event=source)
        return StoreResult(
            store_key=hash_of(token or ""),
            user_id=row.user_id,
            grant_result=GrantResult(row.user_id, [applied]),
        )


@frozen
class StoreWebhooks:
    """Verifies the stores' requests and passes their events to the inbox."""

    inbox: WebhookInbox[StoreEvent, StorePlan, StoreResult]
    app_store: AppStore
    push_tokens: PushTokens

    async def receive_apple(self, signed: str) -> None:
        """A version 2 notification of the App Store. Returns once its changes are committed.

        Raises StoreRejected (400) for an invalid signature, ServiceUnavailable, and what the
        processing raised.
        """
        notification = await self.app_store.notification(signed)
        await self._receive(notification, orjson.dumps({"signedPayload": signed}))

    async def receive_google(self, bearer: str, message: Mapping[str, Any]) -> None:
        """A message pushed by Pub/Sub. Raises NotPushed (401), BadRequest, ServiceUnavailable,
        and what the processing raised."""
        await self.push_tokens.check(bearer)
        message_id = message.get("messageId") or message.get("message_id")
        if not isinstance(message_id, str) or not message_id:
            raise BadRequest("The message has no messageId")
        data = _decode(message.get("data"))
        await self._receive(GoogleMessage(message_id, data), orjson.dumps(data))

    async def run(self) -> None:
        """Background task of the inbox."""
        await self.inbox.run()

    async def _receive(self, event: StoreEvent, body: bytes) -> None:
        receipt = await self.inbox.receive(event, body)
        if receipt.outcome == "failed" and receipt.error is not None:
            raise receipt.error
        if receipt.outcome == "in_progress":
            raise EventInProgress()


def _is_of_past_period(event: StoreEvent, purchase: Purchase, row: Subscription | None) -> bool:
    """Whether Apple's notification concerns an earlier transaction, such as a refund of an older
    period, which does not change the current one."""
    if not isinstance(event, AppleNotification):
        return False
    if event.subscription is not None and event.subscription.upgraded:
        return True
    return row is not None and purchase.period_start < row.current_period_start


def _is_charge(event: StoreEvent) -> bool:
    """Whether the notification reports a paid period."""
    if isinstance(event, AppleNotification):
        return event.type in APPLE_CHARGED
    return event.notification.get("notificationType") in GOOGLE_CHARGED


def _decode(data: object) -> dict[str, Any]:
    """The message's JSON object; empty if it has none, since a retry would not change that."""
    try:
        value: object = orjson.loads(b64decode(_text(data) or "", validate=True))
    except ValueError:
        value = None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _object(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    value: object = data.get(name)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
