"""Stripe's hosted pages: checkout, customer portal, onboarding."""

from __future__ import annotations

from html import escape
from urllib.parse import parse_qs

from attrs import define

from cookcam.sandbox.stripe import forms
from cookcam.sandbox.stripe.api import Api, card
from cookcam.sandbox.stripe.behaviour import CARDS
from cookcam.sandbox.stripe.faults import ApiFault, invalid
from cookcam.sandbox.stripe.forms import Form
from cookcam.sandbox.stripe.requests import Reply
from cookcam.sandbox.stripe.shapes import Body


@define(eq=False)
class Pages:
    api: Api

    def answer(self, method: str, path: str, query: str, form: Form) -> Reply | None:
        """The page of a path, or None. Raises ApiFault."""
        match [method, *path.strip("/").split("/")]:
            case ["GET", "pay", session_id]:
                return self._checkout(self.api.store.get("checkout.session", session_id))
            case ["POST", "pay", session_id]:
                return self._pay(self.api.store.get("checkout.session", session_id), form)
            case ["GET", "portal", session_id]:
                return self._portal(self.api.store.get("billing_portal.session", session_id))
            case ["POST", "portal", session_id]:
                return self._manage(self.api.store.get("billing_portal.session", session_id), form)
            case ["GET", "onboarding", account_id]:
                self.api.money.account(account_id)
                return _page("Onboarding", _buttons("outcome", ("active", "restricted")))
            case ["POST", "onboarding", account_id]:
                outcome = form.get("outcome", "active")
                active = outcome == "active"
                self.api.money.onboard(account_id, "active" if active else "restricted")
                return _redirect(parse_qs(query).get("return_url", ["/"])[0])
            case ["GET", "express", account_id]:
                self.api.money.account(account_id)
                return _page("Express dashboard", f"<p>{escape(account_id)}</p>")
            case _:
                return None

    def _checkout(self, session: Body) -> Reply:
        if session["status"] != "open":
            return _page("Checkout", f"<p>This page is {escape(session['status'])}.</p>")
        amount = f"{session['amount_total'] / 100:.2f} {session['currency'].upper()}"
        ways = (*CARDS, "later")
        return _page("Checkout", f"<p>{amount}</p>{_buttons('card', ways)}")

    def _pay(self, session: Body, form: Form) -> Reply:
        way = form.get("card", "success")
        try:
            self.api.billing.pay_session(
                session, "success" if way == "later" else card(way), later=way == "later"
            )
        except ApiFault as fault:
            if fault.status != 402:
                raise
            message = f"<p>{escape(fault.message)}</p>{_buttons('card', CARDS)}"
            return _page("Checkout", message, status=402)
        url = str(session["success_url"]).replace("{CHECKOUT_SESSION_ID}", session["id"])
        return _redirect(url)

    def _portal(self, portal: Body) -> Reply:
        found, _ = self.api.store.collection("subscription").page(
            lambda subscription: not subscription.is_over, limit=10, customer=portal["customer"]
        )
        names = (
            f"<p>{escape(subscription.id)} {escape(subscription.status)}</p>"
            for subscription in found
        )
        acts = _buttons("act", ("cancel", "keep")) + _buttons("card", CARDS)
        return _page("Your subscription", "".join(names) + acts)

    def _manage(self, portal: Body, form: Form) -> Reply:
        if "card" in form:
            self.api.state.set_card(portal["customer"], card(form["card"]))
        elif forms.choice(form, "act", ("cancel", "keep"), "keep"):
            found, _ = self.api.store.collection("subscription").page(
                lambda subscription: not subscription.is_over, limit=10, customer=portal["customer"]
            )
            if not found:
                raise invalid("There is no subscription to manage.")
            cancel = "true" if form["act"] == "cancel" else "false"
            path = f"/v1/subscriptions/{found[0].id}"
            self.api.answer("POST", path, {"cancel_at_period_end": cancel}, None)
        return _redirect(str(portal["return_url"] or "/"))


def _buttons(name: str, values: tuple[str, ...]) -> str:
    inside = "".join(f'<button name="{name}" value="{v}">{v}</button> ' for v in values)
    return f'<form method="post">{inside}</form>'


def _page(title: str, inside: str, status: int = 200) -> Reply:
    html = f"<!doctype html><title>{title}</title><h1>{title} (sandbox)</h1>{inside}"
    return Reply(status, html.encode(), {"Content-Type": "text/html; charset=utf-8"})


def _redirect(url: str) -> Reply:
    return Reply(303, b"", {"Location": url})
