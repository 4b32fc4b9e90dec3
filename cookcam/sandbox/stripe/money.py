"""Single payments, refunds, disputes, and connected accounts."""

from __future__ import annotations

from typing import Literal

from attrs import define

from cookcam.sandbox.stripe import shapes
from cookcam.sandbox.stripe.behaviour import Card
from cookcam.sandbox.stripe.faults import ApiFault, declined, invalid
from cookcam.sandbox.stripe.forms import Form
from cookcam.sandbox.stripe.shapes import Body
from cookcam.sandbox.stripe.state import StripeState


@define(eq=False)
class Money:
    state: StripeState

    # Payments

    def confirm(self, intent: Body, card: Card) -> None:
        """A customer pays with a card. Raises ApiFault: 402 when it is declined."""
        if intent["status"] in ("succeeded", "canceled"):
            message = f"You cannot confirm this PaymentIntent: its status is {intent['status']}."
            raise invalid(message, code="payment_intent_unexpected_state")
        if not self.state.charge(intent, card):
            raise declined(card)

    def refund(self, charge: Body, amount: int | None, form: Form) -> Body:
        """Refunds a part of a payment; without an amount, the rest of it."""
        left: int = charge["amount"] - charge["amount_refunded"]
        if left <= 0 or not charge["paid"]:
            message = f"Charge {charge['id']} has already been refunded."
            raise invalid(message, code="charge_already_refunded")
        amount = left if amount is None else amount
        if not 0 < amount <= left:
            raise invalid("Refund amount is greater than unrefunded amount on charge", "amount")
        state = self.state
        refund_id = state.store.new_id("refund")
        refund = state.save(shapes.refund(refund_id, state.store.now, charge, amount, form))
        before = charge["amount_refunded"]
        charge["amount_refunded"] = before + amount
        charge["refunded"] = amount == left
        state.save(charge)
        state.emit("refund.created", refund)
        state.emit("charge.refunded", charge, {"amount_refunded": before})
        return refund

    def open_dispute(self, charge: Body, reason: str) -> Body:
        """The payer disputes a payment at the bank."""
        if charge["disputed"]:
            raise invalid("This charge is disputed already.", "charge")
        state = self.state
        dispute_id = state.store.new_id("dispute")
        dispute = state.save(shapes.dispute(dispute_id, state.store.now, charge, reason))
        charge["disputed"] = True
        state.save(charge)
        state.emit("charge.dispute.created", dispute)
        state.emit("charge.dispute.funds_withdrawn", dispute)
        return dispute

    def close_dispute(self, dispute: Body, *, won: bool) -> None:
        before = dispute["status"]
        dispute["status"] = "won" if won else "lost"
        self.state.save(dispute)
        if won:
            self.state.emit("charge.dispute.funds_reinstated", dispute)
        self.state.emit("charge.dispute.closed", dispute, {"status": before})

    # Connected accounts

    def account(self, account_id: str) -> Body:
        """Raises ApiFault: 403, as for an account that has revoked the platform's access."""
        account: Body | None = self.state.store.find("account", account_id)
        if account is None or self.state.store.find("deauthorized", account_id):
            message = f"The provided key does not have access to account '{account_id}'"
            raise ApiFault(403, "invalid_request_error", message, "account_invalid")
        return account

    def open_account(self, form: Form, capabilities: list[str]) -> Body:
        state = self.state
        account_id = state.store.new_id("account")
        return state.save(shapes.account(account_id, state.store.now, form, capabilities))

    def onboard(self, account: Body, outcome: Literal["active", "restricted"]) -> None:
        """The owner completes the onboarding; "restricted": with insufficient data."""
        active = outcome == "active"
        before = {name: account[name] for name in ("details_submitted", "payouts_enabled")}
        due = [] if active else ["individual.verification.document"]
        account |= {
            "details_submitted": True,
            "payouts_enabled": active,
            # Charges need a separate capability, which an account with only transfers does not
            # have.
            "charges_enabled": active and "card_payments" in account["capabilities"],
            "capabilities": dict.fromkeys(
                account["capabilities"], "active" if active else "inactive"
            ),
            "requirements": {
                "currently_due": due,
                "eventually_due": due,
                "past_due": due,
                "disabled_reason": None if active else "requirements.past_due",
            },
        }
        self.state.save(account)
        self.state.emit("account.updated", account, before, account["id"])

    def deauthorize(self, account: Body) -> None:
        """The owner revokes the platform's access."""
        self.state.store.put("deauthorized", account["id"], {"at": self.state.store.now})
        application = {"id": "ca_sandbox", "object": "application", "name": "CookCam"}
        self.state.emit("account.application.deauthorized", application, None, account["id"])

    def transfer(self, amount: int, form: Form) -> Body:
        state, balance = self.state, self.state.behaviour.balance_cents
        account = self.account(form["destination"])
        if account["capabilities"].get("transfers") != "active":
            message = "Your destination account needs to have the transfers capability enabled."
            raise invalid(message, code="insufficient_capabilities_for_transfer")
        if amount <= 0:
            raise invalid("Invalid positive integer", "amount", "parameter_invalid_integer")
        if balance is not None:
            if amount > balance:
                message = "You have insufficient available funds in your Stripe account."
                raise invalid(message, code="balance_insufficient")
            state.behaviour.balance_cents = balance - amount
        transfer_id = state.store.new_id("transfer")
        transfer = state.save(shapes.transfer(transfer_id, state.store.now, amount, form))
        state.emit("transfer.created", transfer)
        return transfer

    def reverse(self, transfer: Body, amount: int | None) -> Body:
        left: int = transfer["amount"] - transfer["amount_reversed"]
        amount = left if amount is None else amount
        if not 0 < amount <= left:
            raise invalid("Reversal amount is greater than unreversed amount", "amount")
        state = self.state
        reversal = shapes.new_object(
            "transfer_reversal",
            state.store.new_id("transfer_reversal"),
            state.store.now,
            amount=amount,
            currency=transfer["currency"],
            transfer=transfer["id"],
        )
        before = transfer["amount_reversed"]
        transfer["amount_reversed"] = before + amount
        transfer["reversed"] = amount == left
        transfer["reversals"]["data"].insert(0, reversal)
        state.save(transfer)
        state.emit("transfer.reversed", transfer, {"amount_reversed": before})
        return reversal

    def pay_out(self, account: Body, amount: int, *, fails: bool) -> Body:
        """Pays the account's balance out to its bank: events of the account, not of the
        platform."""
        state = self.state
        payout_id = state.store.new_id("payout")
        payout = state.save(shapes.payout(payout_id, state.store.now, amount, fails))
        state.store.put("payout_account", payout_id, {"account": account["id"]})
        state.emit("payout.created", payout, None, account["id"])
        payout["status"] = "failed" if fails else "paid"
        state.save(payout)
        state.emit(f"payout.{payout['status']}", payout, {"status": "pending"}, account["id"])
        return payout
