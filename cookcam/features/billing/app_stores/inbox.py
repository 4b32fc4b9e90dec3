"""What the stores tell by themselves: each notification is worked on once, and answered after.

A notification is claimed in a transaction of its own, and done in the one that changes the
subscription: a process that dies in between leaves it to be claimed again. Sources:
`spec/payments-and-gamification.md` §7.4, §7.5.
"""

from __future__ import annotations

import random
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, cast

import orjson
import structlog
import trio
from attrs import frozen

from cookcam.database import Database
from cookcam.errors import AppError, BadRequest, ServiceUnavailable
from cookcam.features.billing.app_stores.acknowledging import Acknowledging
from cookcam.features.billing.app_stores.grants import Granted, Grants
from cookcam.features.billing.app_stores.models import Purchase, Waiting, hash_of
from cookcam.features.billing.app_stores.refusals import PurchasePending, PurchaseRejected
from cookcam.features.billing.app_stores.states import of_apple, of_google
from cookcam.features.billing.app_stores.store import PurchaseStore
from cookcam.features.billing.app_stores.takings import Takings
from cookcam.features.billing.ledger.changes import SourceEvent, SubscriptionChange
from cookcam.features.billing.stripe.products import Platform, product_of
from cookcam.features.billing.tiers.models import Subscription
from cookcam.integrations.app_store import AppleNotification, AppStore
from cookcam.integrations.google_play import GooglePlay, PushTokens
from cookcam.integrations.google_play.client import UnknownPurchase
from cookcam.integrations.provider_calls import StoreRejected

GOOGLE_REVOKED = 12
GOOGLE_CHARGED = (1, 2, 4)
"""`notificationType` of a recovered, a renewed and a new purchase."""
APPLE_CHARGED = ("SUBSCRIBED", "DID_RENEW", "OFFER_REDEEMED")
APPLE_RESTORED = "REFUND_REVERSED"
SUBSCRIPTION = 1
"""`productType` of a voided purchase."""

INTERVAL = 30.0
BATCH = 20

log = structlog.get_logger(__name__)


class BeingWorkedOn(ServiceUnavailable):
    """Another delivery of the same notification is at work; the store should come again."""

    default_message = "The notification is being worked on"


@frozen
class Inbox:
    database: Database
    store: PurchaseStore
    grants: Grants
    acknowledging: Acknowledging
    takings: Takings
    app_store: AppStore
    google_play: GooglePlay
    push_tokens: PushTokens
    now: Callable[[], datetime]
    allow_sandbox: bool

    async def of_apple(self, signed: str) -> None:
        """A version 2 notification of the App Store; returns once all of it is committed.

        Raises StoreRejected (400) for a signature that is not good, and ServiceUnavailable.
        """
        told = await self.app_store.notification(signed)
        payload = {"signedPayload": signed}
        await self._take("ios", told.id, told.type, payload, partial(self._apple, told))

    async def of_google(self, bearer: str, envelope: Mapping[str, Any]) -> None:
        """A message that Pub/Sub pushed. Raises NotPushed (401), BadRequest, ServiceUnavailable."""
        await self.push_tokens.check(bearer)
        message: object = envelope.get("message")
        known = cast("dict[str, Any]", message) if isinstance(message, dict) else {}
        message_id = known.get("messageId") or known.get("message_id")
        if not isinstance(message_id, str) or not message_id:
            raise BadRequest("The message has no messageId")
        data = _decoded(known.get("data"))
        kind = str(_part(data, "subscriptionNotification").get("notificationType", "other"))
        await self._take("android", message_id, kind, data, partial(self._google, message_id, data))

    async def sweep(self) -> int:
        """Works on what failed, or was left; how many there were. Raises ServiceUnavailable
        without a database."""
        waiting = await self.store.waiting(BATCH)
        for one in waiting:
            try:
                await self._again(one)
            except AppError as error:
                log.warning("a notification still waits", platform=one.platform, code=error.code)
        return len(waiting)

    async def run(self) -> None:
        """Background task."""
        while True:
            if await self.sweep() < BATCH:
                await trio.sleep(INTERVAL * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    async def _again(self, one: Waiting) -> None:
        if one.platform == "ios":
            await self.of_apple(str(one.payload["signedPayload"]))
            return
        work = partial(self._google, one.notification_id, one.payload)
        await self._take(
            one.platform, one.notification_id, one.notification_type, one.payload, work
        )

    async def _take(
        self,
        platform: Platform,
        notification_id: str,
        kind: str,
        payload: Mapping[str, Any],
        work: Callable[[], Awaitable[None]],
    ) -> None:
        claim = await self.store.claim(platform, notification_id, kind, payload)
        if claim == "duplicate":
            return
        if claim == "in_progress":
            raise BeingWorkedOn()
        try:
            await work()
        except BaseException as error:
            reason = error.code if isinstance(error, AppError) else type(error).__name__
            with trio.move_on_after(2, shield=True):
                try:
                    await self.store.failed(platform, notification_id, reason)
                except AppError:
                    log.warning("a notification is left to be claimed again", platform=platform)
            raise

    async def _apple(self, told: AppleNotification) -> None:
        purchase = await self._of_apple(told)
        async with self.database.transaction() as tx:
            done = partial(self.store.done, tx, "ios", told.id, subtype=told.subtype)
            if purchase is None:
                await done(ignored=True)
                return
            granted = None
            user_id = await self.grants.owner_of(tx, purchase)
            row = await self.grants.subscriptions.find_in(tx, "ios", purchase.subscription_id)
            if user_id is not None and not _is_over(told, purchase, row):
                granted = await self.grants.apply(tx, purchase, user_id, told.id)
            elif user_id is not None and row is not None:
                await self.grants.book(tx, purchase, row)
            else:
                await self.grants.take_back(tx, purchase.returned)
                if user_id is None and told.type in APPLE_CHARGED:
                    await self.grants.note_charge(tx, purchase)
            await done(ignored=user_id is None, store_key=purchase.store_key, user_id=user_id)
        self._announce(granted)

    async def _of_apple(self, told: AppleNotification) -> Purchase | None:
        """What a notification says of a subscription of ours; None where that is nothing."""
        about = told.subscription
        if about is None:
            return None
        try:
            purchase = of_apple(about)
        except PurchaseRejected:
            log.warning("a notification is about an unknown product", platform="ios")
            return None
        if purchase.environment == "sandbox" and not self.allow_sandbox:
            return None
        return await self.takings.of_apple(purchase, about, restored=told.type == APPLE_RESTORED)

    async def _google(self, message_id: str, data: Mapping[str, Any]) -> None:
        token, revoked, voided = self._token_of(data)
        if token is None:
            await self._ignore_google(message_id)
            return
        try:
            told = await self.google_play.subscription(
                token, lambda product: product_of("android", product) is not None
            )
            known = await self.grants.subscriptions.find("android", token)
            purchase = of_google(told, refunded=revoked, known=known)
            purchase = await self.takings.of_google(purchase, told, voided)
        except UnknownPurchase:
            await self._gone(message_id, token, voided)
            return
        except (StoreRejected, PurchaseRejected) as error:
            log.warning("a notification leads nowhere", platform="android", reason=error.reason)
            await self._ignore_google(message_id)
            return
        except PurchasePending:
            # Nobody's yet, and of no product: a later notification tells more.
            await self._ignore_google(message_id)
            return
        if purchase.environment == "sandbox" and not self.allow_sandbox:
            await self._ignore_google(message_id)
            return
        async with self.database.transaction() as tx:
            done = partial(self.store.done, tx, "android", message_id, store_key=purchase.store_key)
            user_id = await self.grants.owner_of(tx, purchase)
            if user_id is None:
                await self.grants.take_back(tx, purchase.returned)
                if _kind(data) in GOOGLE_CHARGED:
                    await self.grants.note_charge(tx, purchase)
                await done(ignored=True)
                return
            granted = await self.grants.apply(tx, purchase, user_id, message_id)
            await done(user_id=user_id)
        self._announce(granted)
        await self.acknowledging.now(purchase)

    def _token_of(self, data: Mapping[str, Any]) -> tuple[str | None, bool, str | None]:
        """The purchase token of a message about our app, whether money was given back, and for
        which order if it says so."""
        if data.get("packageName") != self.google_play.package:
            return None, False, None
        told = _part(data, "subscriptionNotification")
        voided = _part(data, "voidedPurchaseNotification")
        if voided.get("productType") == SUBSCRIPTION:
            return _text(voided.get("purchaseToken")), True, _text(voided.get("orderId"))
        revoked = told.get("notificationType") == GOOGLE_REVOKED
        return _text(told.get("purchaseToken")), revoked, None

    async def _gone(self, message_id: str, token: str, voided: str | None) -> None:
        """Google forgets a purchase 60 days after its end: what we know of it is over. Its orders
        it knows for longer."""
        granted, returned = None, await self.takings.of_voided(voided, self.now())
        async with self.database.transaction() as tx:
            await self.grants.take_back(tx, returned)
            row = await self.grants.subscriptions.find_in(tx, "android", token)
            if row is not None:
                over = SubscriptionChange.of(row, as_of=self.now(), status="expired")
                event = SourceEvent("google_play", message_id)
                applied = await self.grants.ledger.apply_in(tx, over, source_event=event)
                granted = Granted(row.user_id, [applied])
            await self.store.done(
                tx,
                "android",
                message_id,
                ignored=row is None,
                store_key=hash_of(token),
                user_id=row.user_id if row else None,
            )
        self._announce(granted)

    async def _ignore_google(self, message_id: str) -> None:
        async with self.database.transaction() as tx:
            await self.store.done(tx, "android", message_id, ignored=True)

    def _announce(self, granted: Granted | None) -> None:
        if granted is not None:
            self.grants.announce(granted)


def _is_over(told: AppleNotification, purchase: Purchase, row: Subscription | None) -> bool:
    """Whether another transaction runs: what is told of this one changes nothing of that, however
    lately it is told, as when the money of an older period is given back or asked for."""
    if told.subscription is not None and told.subscription.upgraded:
        return True
    return row is not None and purchase.period_start < row.current_period_start


def _decoded(data: object) -> dict[str, Any]:
    """The message's JSON; what is none says nothing, and would say nothing the next time."""
    try:
        value: object = orjson.loads(b64decode(_text(data) or "", validate=True))
    except ValueError:
        value = None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _part(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    value: object = data.get(name)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _kind(data: Mapping[str, Any]) -> object:
    return _part(data, "subscriptionNotification").get("notificationType")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
