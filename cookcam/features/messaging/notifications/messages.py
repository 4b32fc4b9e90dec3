"""Texts of the notifications that the server writes, and how each type is pushed.

Database triggers write the others (docs/notifications.md lists all types).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from attrs import evolve, field, frozen

Channel = Literal["app", "reminder", "mail"]
"""`app`: in the inbox, to the user's sockets, and pushed. `reminder`: pushed only. `mail`: a mail
only."""

PAYMENT_TTL: Final = timedelta(days=3)
SIGN_IN_TTL: Final = timedelta(days=1)
DECISION_TTL: Final = timedelta(days=3)

CONTENT_NAMES: Final[Mapping[str, str]] = {"user": "profile"}
"""The words for types of reported content that are not their own."""


@frozen
class PushStyle:
    """What the app does when a notification is opened, and how the device presents it."""

    action: str
    sound: str = "default"
    urgent: bool = False


PUSH_STYLES: Final[Mapping[str, PushStyle]] = {
    "daily_checkin": PushStyle("open_camera"),
    "streak_warning": PushStyle("open_camera", "warning", urgent=True),
    "achievement": PushStyle("open_profile", "achievement"),
    "level_up": PushStyle("open_profile", "achievement"),
    "new_follower": PushStyle("open_profile"),
    "comment": PushStyle("open_recipes"),
    "review": PushStyle("open_recipes"),
    "payment_failed": PushStyle("open_subscription", "warning", urgent=True),
    "trial_will_end": PushStyle("open_subscription"),
    "payout_failed": PushStyle("open_creator", "warning", urgent=True),
    "new_sign_in": PushStyle("open_profile", "warning", urgent=True),
    "report_decided": PushStyle("open_notifications"),
    "content_moderated": PushStyle("open_notifications", "warning"),
}
OTHER_STYLE: Final = PushStyle("open_notifications")


@frozen
class Notification:
    """A notification for one user, who gets at most one with the same `dedupe_key`.

    `data` has the facts, for the app. Nothing is pushed or mailed after `expires_at` (UTC).
    """

    user_id: UUID
    type: str
    title: str = field(repr=False)
    body: str = field(repr=False)
    data: Mapping[str, Any]
    dedupe_key: str
    expires_at: datetime
    channel: Channel = "app"


def daily_checkin(user_id: UUID, day: date, ends: datetime) -> Notification:
    """`day` is the user's local day, which ends at `ends`."""
    return Notification(
        user_id,
        "daily_checkin",
        "What's cooking today?",
        "Scan your ingredients and find something to cook.",
        {},
        f"daily_checkin:{day}",
        ends,
        "reminder",
    )


def streak_warning(user_id: UUID, day: date, ends: datetime, streak: int) -> Notification:
    """`streak` is in days; it ends with the local `day`, at `ends`."""
    days = "1 day" if streak == 1 else f"{streak} days"
    return Notification(
        user_id,
        "streak_warning",
        "Your streak is about to end",
        f"Cook something before midnight to keep your streak of {days}.",
        {"streak": streak},
        f"streak_warning:{day}",
        ends,
        "reminder",
    )


def payment_failed(
    user_id: UUID, data: Mapping[str, Any], event_id: str, now: datetime
) -> list[Notification]:
    """`event_id` is the provider's event, or else names the unpaid period: it makes the
    notification once."""
    retry: datetime | None = data.get("next_payment_attempt")
    notification = Notification(
        user_id,
        "payment_failed",
        "Your payment failed",
        "Please check your payment details to keep your subscription.",
        data,
        f"payment_failed:{event_id}",
        now + PAYMENT_TTL,
    )
    next_attempt = None if retry is None else _day(retry)
    return [notification, _as_mail(notification, {"next_attempt": next_attempt})]


def trial_will_end(
    user_id: UUID, data: Mapping[str, Any], event_id: str, now: datetime
) -> list[Notification]:
    return [
        Notification(
            user_id,
            "trial_will_end",
            "Your free trial ends soon",
            "Your subscription starts when the trial ends. You can cancel before.",
            data,
            f"trial_will_end:{event_id}",
            now + PAYMENT_TTL,
        )
    ]


def new_sign_in(user_id: UUID, device: str | None, key: str, now: datetime) -> list[Notification]:
    """`device` names the program that signed in; `key` makes the notification once."""
    with_device = f" with {device}" if device else ""
    notification = Notification(
        user_id,
        "new_sign_in",
        "New sign-in to your account",
        f"Someone signed in from a new place{with_device}. If it was not you, choose a new"
        " password.",
        {"device": device},
        f"new_sign_in:{key}",
        now + SIGN_IN_TTL,
    )
    at = f"{_day(now)}, {now:%H:%M} UTC"
    return [notification, _as_mail(notification, {"device": device, "at": at})]


def payout_failed(
    user_id: UUID, data: Mapping[str, Any], event_id: str, now: datetime
) -> Notification:
    return Notification(
        user_id,
        "payout_failed",
        "Your payout failed",
        "Your bank refused a payout. Please check your bank details.",
        data,
        f"payout_failed:{event_id}:{data['payout_id']}",
        now + PAYMENT_TTL,
    )


def report_decided(user_id: UUID, data: Mapping[str, Any], key: str, now: datetime) -> Notification:
    """To a reporter. `data`: report_id, target_type, target_id, and whether it was `upheld`."""
    name = CONTENT_NAMES.get(data["target_type"], data["target_type"])
    return Notification(
        user_id,
        "report_decided",
        "Your report was reviewed",
        f"Thank you. The {name} is hidden now."
        if data["upheld"]
        else f"Thank you. The {name} stays visible.",
        data,
        f"report_decided:{key}",
        now + DECISION_TTL,
    )


def content_moderated(
    user_id: UUID, data: Mapping[str, Any], key: str, now: datetime
) -> Notification:
    """To an author. `data`: target_type, target_id, `hidden`, the reason of the report, and
    decided_at."""
    name = CONTENT_NAMES.get(data["target_type"], data["target_type"])
    return Notification(
        user_id,
        "content_moderated",
        f"Your {name} was hidden" if data["hidden"] else f"Your {name} is visible again",
        f"Moderators hid it after a report ({data['reason']})."
        if data["hidden"]
        else "Moderators took back their decision.",
        data,
        f"content_moderated:{key}",
        now + DECISION_TTL,
    )


def _as_mail(notification: Notification, values: Mapping[str, Any]) -> Notification:
    """The mail of the same type; `values` are those of its template."""
    return evolve(
        notification,
        channel="mail",
        data=values,
        dedupe_key=f"mail:{notification.dedupe_key}",
    )


def _day(moment: datetime) -> str:
    return f"{moment.day} {moment:%B %Y}"
