"""Stripe through its library: customers, checkout, subscriptions, tips, connected accounts.

One client for the program. The library's own retries are off: ours repeat with the same
idempotency key, wait as long as Stripe asks, and end with the caller's patience. What changes
something takes an idempotency key from whoever asks for it; without one the key lasts for the
attempts of one call. Source of the rules: `spec/payments-and-gamification.md` §3-§8, with the
waits of §7.3 for reads of reconciliation.

Importing the library takes some tenths of a second, so that happens in a thread: in `warm_up`, or
else in the first call.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, cast
from uuid import UUID, uuid4

import structlog
import trio
from attrs import define, field, frozen

from cookcam.errors import ServiceAuthError
from cookcam.providers.retry import OutOfTime, RetryPolicy
from cookcam.providers.stripe_errors import (
    AttemptFailed,
    CardDeclined,
    KeyReused,
    NoSuchObject,
    StripeRefused,
    StripeUnavailable,
    failure_of,
)
from cookcam.providers.stripe_events import Event
from cookcam.providers.stripe_models import (
    API_VERSION,
    Account,
    AccountLink,
    Charge,
    CheckoutSession,
    Customer,
    Dispute,
    Interval,
    Invoice,
    MalformedObject,
    Object,
    Page,
    PaymentIntent,
    Refund,
    Subscription,
    Transfer,
)
from cookcam.settings.readers import Secret

if TYPE_CHECKING:
    from stripe import StripeClient

__all__ = [
    "CardDeclined",
    "KeyReused",
    "NoSuchObject",
    "Stripe",
    "StripeRefused",
    "StripeUnavailable",
]

T = TypeVar("T")
Send: TypeAlias = Callable[["StripeClient", Any], Awaitable[Any]]
"""One request: with the client, and the library's options of it."""

WHILE_SOMEBODY_WAITS = RetryPolicy(deadline=10.0, attempts=3, first_pause=0.25, longest_pause=2.0)
"""Two calls in a row stay below the 25 s of an answer."""

SLOWEST_STEP = 8.0
"""Seconds that one step of a request (connecting, sending, waiting for bytes) may take: a net."""

PAGE = 100
"""Objects per page, Stripe's largest."""


@frozen
class _Answer:
    """`as_of` is Stripe's time, not later than the moment of the request."""

    told: Object
    as_of: datetime


@define(eq=False)
class _Library:
    """The library's client, opened with the first call."""

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
        """Runs in a thread: the imports take some tenths of a second."""
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


@define(eq=False)
class Stripe:
    """Payments; open it with `Stripe.open`.

    Every operation raises StripeUnavailable (503, with Retry-After) when Stripe does not answer,
    answers 5xx or 429 in spite of `policy`'s repeats; OutOfTime (503) when the policy's deadline
    passes; ServiceAuthError (500) when it refuses our key; NoSuchObject for an unknown id;
    KeyReused for an idempotency key that meant something else; StripeRefused for any other refusal
    and MalformedObject for an answer that cannot be understood (502); besides what its docstring
    says. Cancelling the caller closes the request at once.
    """

    _library: _Library
    _policy: RetryPolicy

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        *,
        secret_key: Secret,
        api_base: str,
        policy: RetryPolicy = WHILE_SOMEBODY_WAITS,
    ) -> AsyncGenerator[Stripe]:
        """A client; its connections close with the block.

        `api_base` has no version: `https://api.stripe.com`. `policy` bounds each operation, all of
        its requests together, and repeats each request.
        """
        library = _Library(secret_key, api_base)
        try:
            yield cls(library, policy)
        finally:
            with trio.move_on_after(1, shield=True):
                await library.close()

    def patient(self, policy: RetryPolicy) -> Stripe:
        """The same client with the same connections under another policy.

        For work that nobody waits for, as reconciliation.
        """
        return Stripe(self._library, policy)

    async def warm_up(self) -> None:
        """Imports the library ahead of the first call."""
        await self._library.client()

    # Customers and checkout

    async def create_customer(
        self, *, user_id: UUID, email: str | None, idempotency_key: str
    ) -> Customer:
        """A customer with `metadata.user_id`."""
        params: Any = {"metadata": {"user_id": str(user_id)}}
        if email is not None:
            params["email"] = email
        answer = await self._ask(
            lambda client, options: client.v1.customers.create_async(params, options),
            idempotency_key,
        )
        return Customer.of(answer.told)

    async def create_checkout_session(
        self,
        *,
        user_id: UUID,
        tier_id: int,
        tier_name: str,
        amount_cents: int,
        interval: Interval,
        success_url: str,
        cancel_url: str,
        idempotency_key: str,
        currency: str = "usd",
        customer_id: str | None = None,
        email: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> CheckoutSession:
        """A page on which a user subscribes by card; the user goes to its `url`.

        `client_reference_id` is the user, and `metadata` with `user_id` and `tier_id` is on the
        session and on the subscription that comes of it. With `customer_id` the page knows the
        customer; without, it makes one, for `email` if given.
        """
        known = {**(metadata or {}), "user_id": str(user_id), "tier_id": str(tier_id)}
        params: Any = {
            "mode": "subscription",
            "payment_method_types": ["card"],
            "client_reference_id": str(user_id),
            "metadata": known,
            "subscription_data": {"metadata": known},
            "success_url": success_url,
            "cancel_url": cancel_url,
            "line_items": [
                {
                    "quantity": 1,
                    "price_data": {
                        "currency": currency,
                        "unit_amount": amount_cents,
                        "recurring": {"interval": interval},
                        "product_data": {
                            "name": _product_name(tier_name),
                            "metadata": {"tier_id": str(tier_id)},
                        },
                    },
                }
            ],
        }
        if customer_id is not None:
            params["customer"] = customer_id
        elif email is not None:
            params["customer_email"] = email
        answer = await self._ask(
            lambda client, options: client.v1.checkout.sessions.create_async(params, options),
            idempotency_key,
        )
        return CheckoutSession.of(answer.told)

    async def retrieve_checkout_session(self, session_id: str) -> CheckoutSession:
        answer = await self._ask(
            lambda client, options: client.v1.checkout.sessions.retrieve_async(
                session_id, None, options
            )
        )
        return CheckoutSession.of(answer.told)

    async def create_portal_session(self, *, customer_id: str, return_url: str) -> str:
        """The address of a page on which a customer manages cards and subscriptions."""
        params: Any = {"customer": customer_id, "return_url": return_url}
        answer = await self._ask(
            lambda client, options: client.v1.billing_portal.sessions.create_async(params, options),
            _new_key(),
        )
        return _url(answer)

    # Subscriptions

    async def retrieve_subscription(self, subscription_id: str) -> Subscription:
        """A subscription as it is now, an ended one too."""
        answer = await self._ask(
            lambda client, options: client.v1.subscriptions.retrieve_async(
                subscription_id, None, options
            )
        )
        return Subscription.of(answer.told, answer.as_of)

    async def list_subscriptions(
        self,
        *,
        customer_id: str | None = None,
        starting_after: str | None = None,
        limit: int = PAGE,
    ) -> Page[Subscription]:
        """A page of the subscriptions of all states, of one customer or of all."""
        params = _given(status="all", limit=limit, customer=customer_id)
        params |= _given(starting_after=starting_after)
        # The request as the library sends it, its answer as text: of a hundred thousand
        # subscriptions, making objects of the library is most of the time.
        answer = await self._ask(
            lambda client, options: cast("Any", client).raw_request_async(
                "get", "/v1/subscriptions", **params, **options
            )
        )
        return _page(answer, lambda told: Subscription.of(told, answer.as_of))

    async def change_subscription(
        self,
        subscription_id: str,
        *,
        tier_id: int,
        tier_name: str,
        amount_cents: int,
        interval: Interval,
        when: Literal["now", "period_end"],
        idempotency_key: str,
        currency: str = "usd",
    ) -> Subscription:
        """Moves a subscription to another price; `metadata.tier_id` follows.

        "now" charges the difference for the rest of the period at once, and takes back a pending
        cancellation or change. "period_end" leaves it as it is until then: the answer has the old
        price and a `schedule_id`, and Stripe tells `customer.subscription.updated` when the time
        comes. Raises CardDeclined (402), and then the price is the old one.

        Several requests, at most five, each with a key made of `idempotency_key`: asked again
        with the same one, it goes on where it stopped.
        """
        with self._in_time():
            product_id = await self._product(tier_id, tier_name, idempotency_key)
            subscription = await self.retrieve_subscription(subscription_id)
            price = {
                "currency": currency,
                "product": product_id,
                "unit_amount": amount_cents,
                "recurring": {"interval": interval},
            }
            metadata = {"tier_id": str(tier_id)}
            if when == "period_end":
                await self._schedule(subscription, price, metadata, idempotency_key)
                return await self.retrieve_subscription(subscription_id)
            await self._drop_schedule(subscription, idempotency_key)
            return await self._update_subscription(
                subscription_id,
                idempotency_key,
                items=[{"id": subscription.item_id, "price_data": price}],
                proration_behavior="always_invoice",
                payment_behavior="error_if_incomplete",
                cancel_at_period_end=False,
                metadata=metadata,
            )

    async def set_cancel_at_period_end(
        self, subscription_id: str, cancel: bool, *, idempotency_key: str
    ) -> Subscription:
        """Lets a subscription end with its period, or go on after all.

        A change that was pending for the end of the period is dropped. Up to three requests.
        """
        with self._in_time():
            subscription = await self.retrieve_subscription(subscription_id)
            await self._drop_schedule(subscription, idempotency_key)
            return await self._update_subscription(
                subscription_id, idempotency_key, cancel_at_period_end=cancel
            )

    async def cancel_subscription_now(self, subscription_id: str) -> Subscription:
        """Ends a subscription, without giving money back; one that has ended is no error.

        Stripe needs no idempotency key for that.
        """
        try:
            answer = await self._ask(
                lambda client, options: client.v1.subscriptions.cancel_async(
                    subscription_id, None, options
                )
            )
        except NoSuchObject:
            ended = await self.retrieve_subscription(subscription_id)
            if ended.status not in ("canceled", "incomplete_expired"):
                raise
            return ended
        return Subscription.of(answer.told, answer.as_of)

    async def _update_subscription(
        self, subscription_id: str, key: str, **changes: Any
    ) -> Subscription:
        params: Any = changes
        answer = await self._ask(
            lambda client, options: client.v1.subscriptions.update_async(
                subscription_id, params, options
            ),
            key,
        )
        return Subscription.of(answer.told, answer.as_of)

    async def _product(self, tier_id: int, tier_name: str, key: str) -> str:
        """The product of a tier, made if need be: a price that changes cannot bring its own."""
        product_id = f"cookcam_tier_{tier_id}"
        params: Any = {
            "id": product_id,
            "name": _product_name(tier_name),
            "metadata": {"tier_id": str(tier_id)},
        }
        try:
            await self._ask(
                lambda client, options: client.v1.products.create_async(params, options),
                f"{key}:product",
            )
        except StripeRefused as refused:
            if refused.stripe_code != "resource_already_exists":
                raise
        return product_id

    async def _schedule(
        self, subscription: Subscription, price: Object, metadata: Object, key: str
    ) -> None:
        """Lets the present price run to the end of its period, and `price` follow."""
        if subscription.schedule_id is not None:
            known = subscription.schedule_id
            answer = await self._ask(
                lambda client, options: client.v1.subscription_schedules.retrieve_async(
                    known, None, options
                )
            )
        else:
            made_from: Any = {"from_subscription": subscription.id}
            answer = await self._ask(
                lambda client, options: client.v1.subscription_schedules.create_async(
                    made_from, options
                ),
                f"{key}:schedule",
            )
        try:
            schedule_id, phase = str(answer.told["id"]), answer.told["current_phase"]
            start, end = phase["start_date"], phase["end_date"]
        except (KeyError, TypeError):
            raise MalformedObject from None
        present = {"price": subscription.price.id, "quantity": 1}
        params: Any = {
            "end_behavior": "release",
            "proration_behavior": "none",
            "phases": [
                {"items": [present], "start_date": start, "end_date": end},
                {
                    "items": [{"price_data": price, "quantity": 1}],
                    "iterations": 1,
                    "metadata": metadata,
                    "proration_behavior": "none",
                },
            ],
        }
        await self._ask(
            lambda client, options: client.v1.subscription_schedules.update_async(
                schedule_id, params, options
            ),
            f"{key}:phases",
        )

    async def _drop_schedule(self, subscription: Subscription, key: str) -> None:
        schedule_id = subscription.schedule_id
        if schedule_id is not None:
            await self._ask(
                lambda client, options: client.v1.subscription_schedules.release_async(
                    schedule_id, None, options
                ),
                f"{key}:release",
            )

    # Payments

    async def retrieve_invoice(self, invoice_id: str) -> Invoice:
        answer = await self._ask(
            lambda client, options: client.v1.invoices.retrieve_async(invoice_id, None, options)
        )
        return Invoice.of(answer.told)

    async def invoice_of_payment(self, payment_intent_id: str) -> str | None:
        """The id of the invoice that a payment paid; None for a payment without one, as a tip."""
        params: Any = {
            "payment": {"type": "payment_intent", "payment_intent": payment_intent_id},
            "limit": 1,
        }
        answer = await self._ask(
            lambda client, options: client.v1.invoice_payments.list_async(params, options)
        )
        found = _page(answer, lambda told: str(told["invoice"])).items
        return found[0] if found else None

    async def create_payment_intent(
        self,
        *,
        amount_cents: int,
        metadata: Mapping[str, str],
        idempotency_key: str,
        currency: str = "usd",
        customer_id: str | None = None,
        transfer_group: str | None = None,
    ) -> PaymentIntent:
        """A payment that the app completes with the `client_secret`. Raises CardDeclined."""
        params = _given(
            amount=amount_cents,
            currency=currency,
            metadata=dict(metadata),
            customer=customer_id,
            transfer_group=transfer_group,
            automatic_payment_methods={"enabled": True},
        )
        answer = await self._ask(
            lambda client, options: client.v1.payment_intents.create_async(params, options),
            idempotency_key,
        )
        return PaymentIntent.of(answer.told)

    async def retrieve_payment_intent(self, payment_intent_id: str) -> PaymentIntent:
        answer = await self._ask(
            lambda client, options: client.v1.payment_intents.retrieve_async(
                payment_intent_id, None, options
            )
        )
        return PaymentIntent.of(answer.told)

    async def retrieve_charge(self, charge_id: str) -> Charge:
        answer = await self._ask(
            lambda client, options: client.v1.charges.retrieve_async(charge_id, None, options)
        )
        return Charge.of(answer.told)

    async def retrieve_refund(self, refund_id: str) -> Refund:
        answer = await self._ask(
            lambda client, options: client.v1.refunds.retrieve_async(refund_id, None, options)
        )
        return Refund.of(answer.told)

    async def retrieve_dispute(self, dispute_id: str) -> Dispute:
        answer = await self._ask(
            lambda client, options: client.v1.disputes.retrieve_async(dispute_id, None, options)
        )
        return Dispute.of(answer.told)

    # Connect

    async def create_account(
        self, *, creator_id: UUID, country: str, email: str | None, idempotency_key: str
    ) -> Account:
        """An express account that can receive transfers, with `metadata.creator_id`.

        Raises StripeRefused for a country that Stripe does not serve.
        """
        params = _given(
            type="express",
            country=country,
            email=email,
            business_type="individual",
            capabilities={"transfers": {"requested": True}},
            metadata={"creator_id": str(creator_id), "platform": "cookcam"},
        )
        answer = await self._ask(
            lambda client, options: client.v1.accounts.create_async(params, options),
            idempotency_key,
        )
        return Account.of(answer.told)

    async def retrieve_account(self, account_id: str) -> Account:
        answer = await self._ask(
            lambda client, options: client.v1.accounts.retrieve_async(account_id, None, options)
        )
        return Account.of(answer.told)

    async def create_account_link(
        self, account_id: str, *, return_url: str, refresh_url: str
    ) -> AccountLink:
        """A page on which the owner of an account tells Stripe what it needs to know."""
        params = _given(
            account=account_id,
            return_url=return_url,
            refresh_url=refresh_url,
            type="account_onboarding",
        )
        answer = await self._ask(
            lambda client, options: client.v1.account_links.create_async(params, options),
            _new_key(),
        )
        return AccountLink.of(answer.told)

    async def create_login_link(self, account_id: str) -> str:
        """The address of the account's dashboard, for one visit.

        Raises StripeRefused for an account whose onboarding is not complete.
        """
        answer = await self._ask(
            lambda client, options: client.v1.accounts.login_links.create_async(
                account_id, None, options
            ),
            _new_key(),
        )
        return _url(answer)

    async def create_transfer(
        self,
        *,
        account_id: str,
        amount_cents: int,
        metadata: Mapping[str, str],
        idempotency_key: str,
        currency: str = "usd",
        transfer_group: str | None = None,
    ) -> Transfer:
        """Sends money to a connected account: once for an idempotency key, in 24 hours at least.

        Raises StripeRefused, with `stripe_code` "balance_insufficient" when our balance is too
        low and "insufficient_capabilities_for_transfer" when the account cannot receive it.
        """
        params = _given(
            amount=amount_cents,
            currency=currency,
            destination=account_id,
            metadata=dict(metadata),
            transfer_group=transfer_group,
        )
        answer = await self._ask(
            lambda client, options: client.v1.transfers.create_async(params, options),
            idempotency_key,
        )
        return Transfer.of(answer.told)

    async def retrieve_transfer(self, transfer_id: str) -> Transfer:
        answer = await self._ask(
            lambda client, options: client.v1.transfers.retrieve_async(transfer_id, None, options)
        )
        return Transfer.of(answer.told)

    async def list_transfers(
        self,
        *,
        account_id: str | None = None,
        transfer_group: str | None = None,
        starting_after: str | None = None,
        limit: int = PAGE,
    ) -> Page[Transfer]:
        """A page of the transfers to one account, of one group, or of all."""
        params = _given(
            destination=account_id,
            transfer_group=transfer_group,
            starting_after=starting_after,
            limit=limit,
        )
        answer = await self._ask(
            lambda client, options: client.v1.transfers.list_async(params, options)
        )
        return _page(answer, Transfer.of)

    # Events

    async def retrieve_event(self, event_id: str) -> Event:
        """An event of the last 30 days."""
        answer = await self._ask(
            lambda client, options: client.v1.events.retrieve_async(event_id, None, options)
        )
        return Event.of(answer.told)

    async def list_events(
        self,
        *,
        created_after: datetime | None = None,
        types: tuple[str, ...] = (),
        starting_after: str | None = None,
        limit: int = PAGE,
    ) -> Page[Event]:
        """A page of the events of the last 30 days; of all types, or of at most 20 `types`.

        `created_after` is inclusive.
        """
        params = _given(
            created={"gte": int(created_after.timestamp())} if created_after else None,
            types=list(types) or None,
            starting_after=starting_after,
            limit=limit,
        )
        answer = await self._ask(
            lambda client, options: client.v1.events.list_async(params, options)
        )
        return _page(answer, Event.of)

    # Requests

    async def _ask(self, send: Send, key: str | None = None) -> _Answer:
        """The answer to one request, repeated as the policy says with the same idempotency key."""
        options: dict[str, Any] = {} if key is None else {"idempotency_key": key}
        client = await self._library.client()
        with self._in_time():
            attempt = 1
            while True:
                try:
                    return await _once(send, client, options)
                except AttemptFailed as caught:
                    failure = caught
                # Outside the handler: nothing of the library's exceptions hangs on that error.
                await self._prepare_repeat(failure, attempt)
                attempt += 1

    @contextmanager
    def _in_time(self) -> Generator[None]:
        """Bounds an operation; the requests inside have the rest of its time."""
        with trio.move_on_after(self._policy.deadline) as scope:
            yield
        if scope.cancelled_caught:
            structlog.get_logger(__name__).warning("Stripe is out of time")
            raise OutOfTime

    async def _prepare_repeat(self, failure: AttemptFailed, attempt: int) -> None:
        """Waits as long as a repeat should; raises the failure's error when there is to be none."""
        policy = self._policy
        longest = min(policy.longest_pause, policy.first_pause * 2 ** (attempt - 1))
        pause = failure.wait + random.uniform(longest / 2, longest)  # noqa: S311
        too_late = trio.current_time() + pause >= trio.current_effective_deadline()
        repeats = failure.repeatable and attempt < policy.attempts and not too_late
        if isinstance(failure.error, (StripeUnavailable, ServiceAuthError)):
            structlog.get_logger(__name__).warning(
                "Stripe did not do as asked",
                kind=type(failure.error).__name__,
                attempt=attempt,
                repeats=repeats,
            )
        if not repeats:
            raise failure.error
        await trio.sleep(pause)


async def _once(send: Send, client: StripeClient, options: dict[str, Any]) -> _Answer:
    """Raises AttemptFailed."""
    import stripe

    began, sent = datetime.now(UTC), trio.current_time()
    try:
        told: Any = await send(client, options)
        response = told if isinstance(told, stripe.StripeResponse) else told.last_response
        body, date = response.data, response.headers.get("date")
    except stripe.StripeError as error:
        raise failure_of(error) from None
    except (ValueError, AttributeError, TypeError):  # an answer that is no object
        raise AttemptFailed(StripeUnavailable(), repeatable=True) from None
    if not isinstance(body, Mapping):
        raise AttemptFailed(MalformedObject(), repeatable=False)
    return _Answer(cast("Object", body), _as_of(date, began, trio.current_time() - sent))


def _as_of(date: str | None, began: datetime, seconds: float) -> datetime:
    """The moment of the request on Stripe's clock; on ours where it does not tell its own.

    Its `Date` is from the end of the request. The time the request took is subtracted, so that
    an event that happened while it was on its way never counts as older than what was read.
    """
    try:
        answered = parsedate_to_datetime(date or "")
    except ValueError:
        answered = None
    if answered is None or answered.tzinfo is None:
        return began
    return answered - timedelta(seconds=seconds)


def _given(**params: Any) -> Any:
    """Parameters without those that are None."""
    return {name: value for name, value in params.items() if value is not None}


def _page(answer: _Answer, read: Callable[[Object], T]) -> Page[T]:
    """Raises MalformedObject."""
    try:
        objects = cast("list[Object]", answer.told["data"])
        more = answer.told["has_more"] is True
        items = [read(told) for told in objects]
        return Page(items, str(objects[-1]["id"]) if more and objects else None)
    except (KeyError, TypeError):
        raise MalformedObject from None


def _url(answer: _Answer) -> str:
    url = answer.told.get("url")
    if not isinstance(url, str):
        raise MalformedObject
    return url


def _product_name(tier_name: str) -> str:
    return f"CookCam {tier_name} Subscription"


def _new_key() -> str:
    """For what may happen twice, but should not within the attempts of one call."""
    return str(uuid4())
