"""Single payments, refunds, disputes, and connected accounts."""

from __future__ import annotations

from typing import Any, Literal

from attrs import define

from cookcam.sandbox.stripe import shapes
from cookcam.sandbox.stripe.behaviour import DAY, Card
from cookcam.sandbox.stripe.faults import ApiFault, declined, invalid
from cookcam.sandbox.stripe.shapes import Body
from cookcam.sandbox.stripe.state import StripeState


@define(eq=False)
class Money:
    """Actions of payers, creators and banks, at the simulated time.

    They raise ApiFault for an unknown object and for an impossible action.
    """

    state: StripeState

    # Payments

    def confirm(self, intent_id: str, card: Card = "success") -> Body:
        """The app completes a payment with its client secret.

        Raises ApiFault: 402 when the card is declined.
        """
        intent = self.state.store.get("payment_intent", intent_id)
        if intent["status"] in ("succeeded", "canceled"):
            message = f"You cannot confirm this PaymentIntent: its status is {intent['status']}."
            raise invalid(message, code="payment_intent_unexpected_state")
        if not self.state.charge(intent, card):
            raise declined(card)
        return intent

    def refund(self, charge_id: str, amount: int | None = None, **fields: Any) -> Body:
        """Refunds a part of a payment; without an amount, the rest of it."""
        charge: Body = self.state.store.get("charge", charge_id)
        left: int = charge["amount"] - charge["amount_refunded"]
        if left <= 0 or not charge["paid"]:
            message = f"Charge {charge['id']} has already been refunded."
            raise invalid(message, code="charge_already_refunded")
        amount = left if amount is None else amount
        if not 0 < amount <= left:
            raise invalid("Refund amount is greater than unrefunded amount on charge", "amount")
        state = self.state
        refund = state.create("refund", amount=amount, **_of_charge(charge), **fields)
        before = charge["amount_refunded"]
        charge["amount_refunded"] = before + amount
        charge["refunded"] = amount == left
        state.save(charge)
        state.emit("refund.created", refund)
        state.emit("charge.refunded", charge, {"amount_refunded": before})
        return refund

    def dispute(self, charge_id: str, reason: str = "fraudulent") -> Body:
        """The payer disputes a payment at the bank."""
        charge: Body = self.state.store.get("charge", charge_id)
        if charge["disputed"]:
            raise invalid("This charge is disputed already.", "charge")
        state = self.state
        dispute = state.create(
            "dispute",
            amount=charge["amount"],
            evidence_details={"due_by": state.store.now + 7 * DAY, "has_evidence": False},
            reason=reason,
            **_of_charge(charge),
        )
        charge["disputed"] = True
        state.save(charge)
        state.emit("charge.dispute.created", dispute)
        state.emit("charge.dispute.funds_withdrawn", dispute)
        return dispute

    def close_dispute(self, dispute_id: str, *, won: bool) -> None:
        dispute: Body = self.state.store.get("dispute", dispute_id)
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

    def onboard(self, account_id: str, outcome: Literal["active", "restricted"] = "active") -> Body:
        """The owner completes the onboarding; "restricted": with insufficient data."""
        account = self.account(account_id)
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
        self.state.emit("account.updated", account, before, account_id)
        return account

    def deauthorize(self, account_id: str) -> None:
        """The owner revokes the platform's access."""
        self.account(account_id)
        self.state.store.put("deauthorized", account_id, {"at": self.state.store.now})
        application = {"id": "ca_sandbox", "object": "application", "name": "CookCam"}
        self.state.emit("account.application.deauthorized", application, None, account_id)

    def transfer(self, amount: int, destination: str, **fields: Any) -> Body:
        state, balance = self.state, self.state.behaviour.balance_cents
        account = self.account(destination)
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
        reversals = shapes.list_of([], f"/v1/transfers/{transfer_id}/reversals")
        transfer = state.create(
            "transfer",
            transfer_id,
            amount=amount,
            destination=destination,
            reversals=reversals,
            **fields,
        )
        state.emit("transfer.created", transfer)
        return transfer

    def reverse(self, transfer_id: str, amount: int | None = None) -> Body:
        transfer: Body = self.state.store.get("transfer", transfer_id)
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

    def pay_out(self, account_id: str, amount: int, *, fails: bool = False) -> Body:
        """Pays the account's balance out to its bank: events of the account, not of the
        platform."""
        self.account(account_id)
        state = self.state
        payout_id = state.store.new_id("payout")
        payout = state.create(
            "payout",
            payout_id,
            amount=amount,
            arrival_date=state.store.now,
            destination=f"ba_{payout_id[3:]}",
            failure_code="account_closed" if fails else None,
            failure_message="The bank account has been closed." if fails else None,
        )
        state.emit("payout.created", payout, None, account_id)
        payout["status"] = "failed" if fails else "paid"
        state.save(payout)
        state.emit(f"payout.{payout['status']}", payout, {"status": "pending"}, account_id)
        return payout


def _of_charge(charge: Body) -> Body:
    """The fields that a refund or dispute has from its charge."""
    copied = {name: charge[name] for name in ("currency", "payment_intent")}
    return {**copied, "charge": charge["id"]}
