"""The paths of Stripe's API that CookCam uses, as functions from a form to an object."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias, cast
from urllib.parse import urlencode

from attrs import define, field

from cookcam.sandbox.stripe import forms, shapes
from cookcam.sandbox.stripe.behaviour import CARDS, Card
from cookcam.sandbox.stripe.billing import Billing
from cookcam.sandbox.stripe.faults import ApiFault, invalid
from cookcam.sandbox.stripe.forms import Form
from cookcam.sandbox.stripe.money import Money
from cookcam.sandbox.stripe.shapes import Body
from cookcam.sandbox.stripe.state import StripeState
from cookcam.sandbox.stripe.store import Store
from cookcam.sandbox.stripe.subscriptions import Subscription

Handler: TypeAlias = Callable[..., Any]

MAX_PAGE_SIZE = 100
SESSION_LIFE = 86_400
LINK_LIFE = 300
READABLE = {
    "prices": "price",
    "checkout/sessions": "checkout.session",
    "subscriptions": "subscription",
    "subscription_schedules": "subscription_schedule",
    "invoices": "invoice",
    "payment_intents": "payment_intent",
    "charges": "charge",
    "refunds": "refund",
    "disputes": "dispute",
    "transfers": "transfer",
    "events": "event",
}
"""Kinds by their paths: `GET /v1/{path}/{id}`."""

LISTED = {
    "subscriptions": "subscription",
    "invoices": "invoice",
    "invoice_payments": "invoice_payment",
    "transfers": "transfer",
    "events": "event",
}
"""Kinds of `GET /v1/{path}`."""


@define(eq=False)
class Api:
    """`address` is where the fake listens, for the URLs of its hosted pages."""

    state: StripeState
    billing: Billing
    money: Money
    address: str
    _routes: list[tuple[str, re.Pattern[str], Handler]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._routes = [
            (method, re.compile("/v1/" + path.replace("{}", r"([^/]+)")), handler)
            for method, path, handler in self._table()
        ]

    def answer(self, method: str, path: str, form: Form, account: str | None) -> Body:
        """Raises ApiFault."""
        for route_method, pattern, handler in self._routes:
            if route_method == method and (match := pattern.fullmatch(path)):
                if account is not None:
                    form = {**form, "_account": account}
                return self.state.wire(handler(*match.groups(), form))
        raise ApiFault(
            404, "invalid_request_error", f"Unrecognized request URL ({method}: {path})."
        )

    @property
    def store(self) -> Store:
        return self.state.store

    def _table(self) -> list[tuple[str, str, Handler]]:
        return [
            *(("GET", path, self._lister(path, kind)) for path, kind in LISTED.items()),
            *(("GET", path + "/{}", self._reader(kind)) for path, kind in READABLE.items()),
            ("POST", "products", self._create_product),
            ("POST", "checkout/sessions", self._create_session),
            ("POST", "checkout/sessions/{}/expire", self._expire_session),
            ("POST", "billing_portal/sessions", self._create_portal_session),
            ("POST", "subscriptions/{}", self._update_subscription),
            ("DELETE", "subscriptions/{}", self._cancel_subscription),
            ("POST", "subscription_schedules", self._create_schedule),
            ("POST", "subscription_schedules/{}", self._update_schedule),
            ("POST", "subscription_schedules/{}/release", self._release_schedule),
            ("POST", "payment_intents", self._create_intent),
            ("POST", "refunds", self._create_refund),
            ("POST", "accounts", self._create_account),
            ("GET", "accounts/{}", self._account),
            ("POST", "accounts/{}/login_links", self._create_login_link),
            ("POST", "account_links", self._create_account_link),
            ("POST", "transfers", self._create_transfer),
        ]

    # Reading

    def _reader(self, kind: str) -> Handler:
        def read(object_id: str, form: Form) -> Any:
            return self.store.get(kind, object_id)

        return read

    def _lister(self, path: str, kind: str) -> Handler:
        def read(form: Form) -> Body:
            limit = forms.integer(form, "limit")
            if limit is not None and not 1 <= limit <= MAX_PAGE_SIZE:
                raise invalid("Limit must be between 1 and 100", "limit")
            if kind == "subscription":
                form = {"status": "not canceled", **form}
            found, more = self.store.collection(kind).page(
                lambda value: self._matches(kind, value, form),
                limit=limit or 10,
                starting_after=form.get("starting_after"),
                customer=form.get("customer"),
            )
            return {
                "object": "list",
                "data": [self.state.wire(value) for value in found],
                "has_more": more,
                "url": f"/v1/{path}",
            }

        return read

    def _is_undelivered(self, event_id: str) -> bool:
        undelivered = self.store.collection("undelivered").objects.values()
        return any(value["event"] == event_id for value in undelivered)

    def _matches(self, kind: str, value: Any, form: Form) -> bool:
        if isinstance(value, Subscription):
            status = form["status"]
            fits = status == "all" or (
                not value.is_over if status == "not canceled" else value.status == status
            )
            return fits and ("price" not in form or value.price == form["price"])
        if kind == "invoice_payment" and "payment" in form:
            wanted = forms.part(form, "payment").get("payment_intent")
            if value["payment"]["payment_intent"] != wanted:
                return False
        if kind == "invoice" and "subscription" in form:
            details = forms.part(forms.part(value, "parent"), "subscription_details")
            if details.get("subscription") != form["subscription"]:
                return False
        if kind == "event":
            types = form.get("types") or ([form["type"]] if "type" in form else [])
            if types and value["type"] not in types:
                return False
            if value.get("account") != form.get("_account"):
                return False
            if form.get("delivery_success") == "false" and not self._is_undelivered(value["id"]):
                return False
        equal = ("status", "destination", "transfer_group", "invoice")
        if any(name in value and name in form and value[name] != form[name] for name in equal):
            return False
        return _in_range(value.get("created", 0), form.get("created"))

    # Products and prices

    def _create_product(self, form: Form) -> Body:
        if self.store.find("product", form.get("id")):
            raise invalid("Product already exists.", "id", "resource_already_exists")
        name, metadata = forms.required(form, "name"), forms.metadata(form)
        product = self.state.create_product(name, metadata, form.get("id"))
        self.state.emit("product.created", product)
        return product

    def _price(self, form: Form) -> Body:
        """The price of a `price_data`, with its product if it brings one."""
        amount = forms.required_integer(form, "unit_amount")
        if amount < 0:
            raise invalid("Invalid non-negative integer", "unit_amount")
        interval = forms.part(form, "recurring").get("interval")
        if interval not in (None, "day", "week", "month", "year"):
            raise invalid("Invalid recurring[interval]", "recurring[interval]")
        currency = str(forms.required(form, "currency")).lower()
        if "product" in form:
            product_id = self.store.get("product", form["product"])["id"]
        else:
            data = forms.part(form, "product_data")
            product_id = self._create_product({**data, "id": None})["id"]
        price = self.state.create_price(product_id, amount, currency, interval)
        self.state.emit("price.created", price)
        return price

    def _price_of(self, item: Form, *, own_product: bool) -> str:
        if "price" in item:
            return self.store.get("price", item["price"])["id"]
        data = forms.part(item, "price_data")
        if not own_product:
            forms.required(data, "product")
        return self._price(data)["id"]

    # Checkout and portal

    def _create_session(self, form: Form) -> Body:
        mode = forms.choice(form, "mode", ("payment", "setup", "subscription"), "payment")
        forms.required(form, "success_url")
        lines = forms.parts(form, "line_items")
        if mode != "subscription" or len(lines) != 1:
            raise invalid("The sandbox sells one subscription at a time.", "mode")
        data = forms.part(form, "subscription_data")
        price_id = self._price_of(lines[0], own_product=True)
        price = self.store.get("price", price_id)
        if price["recurring"] is None:
            raise invalid("You must provide at least one recurring price.", "line_items")
        customer = form.get("customer")
        if customer is not None:
            self.store.get("customer", customer)
        session_id, now = self.store.new_id("checkout.session"), self.store.now
        email = form.get("customer_email")
        session = self.state.create(
            "checkout.session",
            session_id,
            **dict.fromkeys(("amount_subtotal", "amount_total"), price["unit_amount"]),
            cancel_url=form.get("cancel_url"),
            client_reference_id=form.get("client_reference_id"),
            currency=price["currency"],
            customer=customer,
            customer_details={"email": email} if email else None,
            customer_email=email,
            expires_at=forms.integer(form, "expires_at") or now + SESSION_LIFE,
            metadata=forms.metadata(form),
            mode=mode,
            payment_method_types=form.get("payment_method_types", ["card"]),
            success_url=form["success_url"],
            url=f"{self.address}/pay/{session_id}",
        )
        order = {
            "price": price_id,
            "metadata": forms.metadata(data),
            "trial_days": forms.integer(data, "trial_period_days") or 0,
        }
        self.store.put("order", session_id, order)
        self.billing.watch_session(session)
        return session

    def _expire_session(self, session_id: str, form: Form) -> Body:
        session = self.store.get("checkout.session", session_id)
        if session["status"] != "open":
            raise invalid("Only Checkout Sessions with a status of open can be expired.")
        self.billing.expire_session(session)
        return session

    def _create_portal_session(self, form: Form) -> Body:
        customer = self.store.get("customer", forms.required(form, "customer"))
        session_id = self.store.new_id("billing_portal.session")
        return self.state.create(
            "billing_portal.session",
            session_id,
            customer=customer["id"],
            return_url=form.get("return_url"),
            url=f"{self.address}/portal/{session_id}",
        )

    # Subscriptions

    def _update_subscription(self, subscription_id: str, form: Form) -> Subscription:
        subscription = self.state.subscription(subscription_id)
        if subscription.is_over:
            raise invalid("A canceled subscription can only update its metadata.", "id")
        cancel = forms.boolean(form, "cancel_at_period_end")
        if (
            cancel is not None
            and cancel != subscription.cancel_at_period_end
            and subscription.schedule
        ):
            raise invalid(
                "The subscription is managed by the subscription schedule"
                f" `{subscription.schedule}`, and updating any cancelation behavior directly is not"
                " allowed.",
                "cancel_at_period_end",
            )
        if cancel is not None and "cancel_at" in form:
            raise invalid("You may only specify one of cancel_at, cancel_at_period_end.")
        before = self.state.shown(subscription)
        before["metadata"] = dict(subscription.metadata)
        metadata = forms.metadata(form, subscription.metadata)
        for item in forms.parts(form, "items"):
            if item.get("id") != subscription.item:
                raise invalid("Adding items is not something the sandbox does.", "items")
            proration = forms.choice(
                form,
                "proration_behavior",
                ("always_invoice", "create_prorations", "none"),
                "create_prorations",
            )
            strict = form.get("payment_behavior") == "error_if_incomplete"
            price_id = self._price_of(item, own_product=False)
            self.billing.change_price(subscription, price_id, proration, strict)
        subscription.metadata = metadata
        if cancel is not None:
            subscription.cancel_at_period_end = cancel
            subscription.canceled_at = self.store.now if cancel else None
            subscription.cancel_at = None
        if "cancel_at" in form:
            subscription.cancel_at = forms.integer(form, "cancel_at") if form["cancel_at"] else None
            subscription.cancel_at_period_end = False
            subscription.canceled_at = self.store.now if subscription.cancel_at else None
            self.billing.watch(subscription)
        self.state.emit_update(subscription, before)
        return subscription

    def _cancel_subscription(self, subscription_id: str, form: Form) -> Subscription:
        subscription = self.state.subscription(subscription_id)
        if subscription.is_over:
            message = f"No such subscription: '{subscription_id}'"
            raise ApiFault(404, "invalid_request_error", message, "resource_missing", "id")
        self.billing.end(subscription)
        return subscription

    def _create_schedule(self, form: Form) -> Body:
        subscription = self.state.subscription(forms.required(form, "from_subscription"))
        if subscription.is_over:
            raise invalid("The subscription has ended.", "from_subscription")
        if subscription.schedule is not None:
            raise invalid("The subscription has a schedule already.", "from_subscription")
        before = self.state.shown(subscription)
        period = {"start_date": subscription.period_start, "end_date": subscription.period_end}
        phase: Body = {
            **period,
            "items": [{"price": subscription.price, "quantity": 1}],
            "metadata": {},
            "proration_behavior": "create_prorations",
        }
        schedule = self.state.create(
            "subscription_schedule",
            current_phase=period,
            customer=subscription.customer,
            phases=[phase],
            subscription=subscription.id,
        )
        self.state.emit("subscription_schedule.created", schedule)
        subscription.schedule = schedule["id"]
        self.state.emit_update(subscription, before)
        return schedule

    def _update_schedule(self, schedule_id: str, form: Form) -> Body:
        schedule = self._active_schedule(schedule_id)
        end_behavior = forms.choice(
            form, "end_behavior", ("release", "cancel"), schedule["end_behavior"]
        )
        phases: list[Body] = []
        start = schedule["phases"][0]["start_date"]
        for given in forms.parts(form, "phases"):
            items = forms.parts(given, "items")
            if len(items) != 1:
                raise invalid("The sandbox sells one item per subscription.", "phases[0][items]")
            price = self.store.get("price", self._price_of(items[0], own_product=False))
            start = forms.integer(given, "start_date") or start
            end = forms.integer(given, "end_date")
            if end is None:
                end = start
                for _ in range(forms.integer(given, "iterations") or 1):
                    end = shapes.after(end, price["recurring"]["interval"], start)
            phases.append(
                {
                    "start_date": start,
                    "end_date": end,
                    "items": [{"price": price["id"], "quantity": 1}],
                    "metadata": forms.metadata(given),
                    "proration_behavior": given.get("proration_behavior", "create_prorations"),
                }
            )
            start = end
        before = {"phases": schedule["phases"]}
        schedule |= {"phases": phases or schedule["phases"], "end_behavior": end_behavior}
        self.state.emit("subscription_schedule.updated", self.state.save(schedule), before)
        return schedule

    def _release_schedule(self, schedule_id: str, form: Form) -> Body:
        schedule = self._active_schedule(schedule_id)
        subscription = self.state.subscription(schedule["subscription"])
        before = self.state.shown(subscription)
        self.billing.release(subscription, schedule)
        self.state.emit_update(subscription, before)
        return schedule

    def _active_schedule(self, schedule_id: str) -> Body:
        schedule = self.store.get("subscription_schedule", schedule_id)
        if schedule["status"] != "active":
            raise invalid(f"The schedule is {schedule['status']} and cannot be changed.", "id")
        return schedule

    # Payments

    def _create_intent(self, form: Form) -> Body:
        amount = forms.required_integer(form, "amount")
        if amount < 50:
            message = "Amount must be at least $0.50 usd"
            raise invalid(message, "amount", "amount_too_small")
        currency = str(forms.required(form, "currency")).lower()
        if "customer" in form:
            self.store.get("customer", form["customer"])
        metadata, group = forms.metadata(form), form.get("transfer_group")
        return self.state.create_intent(amount, currency, form.get("customer"), metadata, group)

    def _create_refund(self, form: Form) -> Body:
        charge_id = form.get("charge")
        if charge_id is None:
            intent = self.store.get("payment_intent", forms.required(form, "payment_intent"))
            charge_id = intent["latest_charge"] or ""
        amount, reason = forms.integer(form, "amount"), form.get("reason")
        return self.money.refund(charge_id, amount, metadata=forms.metadata(form), reason=reason)

    # Connect

    def _create_account(self, form: Form) -> Body:
        country = form.get("country", "US")
        if len(country) != 2 or country in ("XX", "ZZ"):
            raise invalid(f"Country '{country}' is unknown.", "country", "country_unsupported")
        capabilities = forms.part(form, "capabilities")
        wanted = [name for name, part in capabilities.items() if part.get("requested") == "true"]
        return self.state.create(
            "account",
            business_type=form.get("business_type"),
            capabilities=dict.fromkeys(wanted, "inactive"),
            country=country,
            email=form.get("email"),
            metadata=forms.metadata(form),
            type=form.get("type", "standard"),
        )

    def _account(self, account_id: str, form: Form) -> Body:
        return self.money.account(account_id)

    def _create_account_link(self, form: Form) -> Body:
        account = self.money.account(forms.required(form, "account"))
        where = {name: forms.required(form, name) for name in ("return_url", "refresh_url")}
        return {
            "object": "account_link",
            "created": self.store.now,
            "expires_at": self.store.now + LINK_LIFE,
            "url": f"{self.address}/onboarding/{account['id']}?{urlencode(where)}",
        }

    def _create_login_link(self, account_id: str, form: Form) -> Body:
        account = self.money.account(account_id)
        if not account["details_submitted"]:
            raise invalid(
                "Cannot create a login link for an account that has not completed onboarding."
            )
        return {
            "object": "login_link",
            "created": self.store.now,
            "url": f"{self.address}/express/{account_id}",
        }

    def _create_transfer(self, form: Form) -> Body:
        destination = forms.required(form, "destination")
        return self.money.transfer(
            forms.required_integer(form, "amount"),
            destination,
            currency=form.get("currency", "usd"),
            metadata=forms.metadata(form),
            transfer_group=form.get("transfer_group"),
        )


def card(text: object) -> Card:
    """Raises ApiFault."""
    if text not in CARDS:
        raise invalid(f"Invalid card: must be one of {', '.join(CARDS)}", "card")
    return text  # pyright: ignore[reportReturnType] # is one of them


def _in_range(created: int, wanted: object) -> bool:
    if wanted is None:
        return True
    if isinstance(wanted, str):
        return created == int(wanted)
    bounds = cast("Form", wanted)
    return (
        created >= int(bounds.get("gte", 0))
        and created > int(bounds.get("gt", -1))
        and created <= int(bounds.get("lte", 2**62))
        and created < int(bounds.get("lt", 2**62))
    )
