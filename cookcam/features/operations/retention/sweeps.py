"""The retention table: which rows are deleted or cleared, and after how long.

A new entry: a name, the retention time, and a statement that writes at most `%(batch)s` rows older
than `%(before)s` (UTC), each of them once. `deleting` builds it for rows, `clearing` for columns.
An index on the condition keeps a sweep without results cheap.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, LiteralString

from attrs import frozen

ON_EXPIRY: Final = timedelta()
DAY: Final = timedelta(days=1)
MONTH: Final = timedelta(days=30)
QUARTER: Final = timedelta(days=90)
LONG: Final = timedelta(days=400)
SEVEN_YEARS: Final = timedelta(days=7 * 365 + 2)
"""Includes two leap days, the maximum."""

STRIPE_IS_DONE: Final = "(status = 'processed' or (status = 'failed' and attempts >= 10))"
"""The event was processed, or failed for the last time."""

STORE_IS_DONE: Final = """(status in ('processed', 'ignored')
    or ((attempts >= 10 or payload is null) and claimed_at < %(before)s))"""
"""The same for a notification; one without a payload is not retried."""


@frozen
class Sweep:
    """`keep` is the retention time: `%(before)s` is now minus `keep`."""

    name: str
    keep: timedelta
    statement: LiteralString


def deleting(table: LiteralString, condition: LiteralString) -> LiteralString:
    """Delete a batch of rows; rows locked by others stay until the next sweep."""
    return f"""
delete from {table} where ctid = any(array(
  select ctid from {table} where {condition} limit %(batch)s for update skip locked
))"""  # noqa: S608 - constants


def clearing(
    table: LiteralString, *columns: LiteralString, condition: LiteralString
) -> LiteralString:
    """Set the columns of a batch of rows to null where any of them is set."""
    nulls = ", ".join(f"{column} = null" for column in columns)
    some = " or ".join(f"{column} is not null" for column in columns)
    return f"""
update {table} set {nulls} where ctid = any(array(
  select ctid from {table} where ({some}) and {condition} limit %(batch)s for update skip locked
))"""  # noqa: S608 - constants


# Recipes changed since `before`. Their age is measured from the start of the sweep, so that no row
# is written twice. The column has eight digits before the point.
TREND: Final = """
update public.recipes r set trending_score = due.score
from (
  select r.id, now.score
  from public.recipes r, lateral (
    select least(
      round(
        r.view_count + 10.0 * r.rating_sum + 100 / (2 + greatest(
          extract(epoch from %(before)s::timestamptz + interval '720 hours' - r.created_at), 0
        ) / 3600),
        2
      ),
      99999999.99
    ) as score
  ) now
  where r.is_published and r.updated_at >= %(before)s and r.trending_score <> now.score
  limit %(batch)s for update of r skip locked
) due
where r.id = due.id"""


SWEEPS: Final[Sequence[Sweep]] = (
    # Messages and participants are deleted with them.
    Sweep(
        "ended cooking sessions",
        MONTH,
        deleting("public.live_cooking_sessions", "not is_active and ended_at < %(before)s"),
    ),
    Sweep(
        "messages of cooking sessions",
        MONTH,
        deleting("public.live_cooking_messages", "created_at < %(before)s"),
    ),
    # The visitor is cleared before the click is deleted.
    Sweep(
        "visitors of affiliate links",
        MONTH,
        clearing("public.affiliate_link_clicks", "ip_hash", condition="clicked_at < %(before)s"),
    ),
    Sweep(
        "clicks on affiliate links",
        LONG,
        deleting("public.affiliate_link_clicks", "clicked_at < %(before)s"),
    ),
    # Payloads are cleared before the rows, which prevent a repeated delivery from being applied.
    Sweep(
        "payloads of Stripe events",
        QUARTER,
        clearing(
            "public.stripe_webhook_events",
            "payload",
            condition=f"received_at < %(before)s and {STRIPE_IS_DONE}",
        ),
    ),
    Sweep(
        "Stripe events",
        LONG,
        deleting("public.stripe_webhook_events", f"received_at < %(before)s and {STRIPE_IS_DONE}"),
    ),
    Sweep(
        "payloads of store notifications",
        QUARTER,
        clearing(
            "public.iap_webhook_logs",
            "payload",
            condition=f"received_at < %(before)s and {STORE_IS_DONE}",
        ),
    ),
    Sweep(
        "store notifications",
        LONG,
        deleting("public.iap_webhook_logs", f"received_at < %(before)s and {STORE_IS_DONE}"),
    ),
    # Valid receipts and their bindings are kept permanently.
    Sweep(
        "fruitless validations",
        QUARTER,
        deleting(
            "public.iap_validation_history",
            "status in ('invalid', 'error') and validated_at < %(before)s",
        ),
    ),
    Sweep(
        "receipts of validations",
        QUARTER,
        clearing(
            "public.iap_validation_history",
            "receipt_ciphertext",
            "validation_response",
            condition="validated_at < %(before)s",
        ),
    ),
    # `as_of` is the provider's time of the end; an active subscription has none.
    Sweep(
        "ended subscriptions",
        SEVEN_YEARS,
        deleting(
            "public.user_subscriptions",
            "status in ('cancelled', 'expired', 'incomplete') and superseded_status is null"
            " and current_period_end < %(before)s and as_of < %(before)s",
        ),
    ),
    # The history of an existing subscription is kept completely.
    Sweep(
        "history of gone subscriptions",
        SEVEN_YEARS,
        deleting(
            "public.subscription_history", "subscription_id is null and created_at < %(before)s"
        ),
    ),
    # A few rows a day: an index would cost more than the scan.
    Sweep(
        "runs of the reconciliation",
        QUARTER,
        deleting("public.reconciliation_runs", "finished_at < %(before)s"),
    ),
    Sweep(
        "figures of the reconciliation",
        QUARTER,
        deleting("public.reconciliation_metrics", "reconciled_at < %(before)s"),
    ),
    Sweep(
        "addresses of security events",
        MONTH,
        clearing("public.security_events", "ip", "user_agent", condition="created_at < %(before)s"),
    ),
    Sweep(
        "security events", QUARTER, deleting("public.security_events", "created_at < %(before)s")
    ),
    Sweep("blocklist", QUARTER, deleting("public.blocklist", "expires_at < %(before)s")),
    Sweep(
        "security alerts", QUARTER, deleting("public.security_alerts", "created_at < %(before)s")
    ),
    Sweep(
        "notifications", QUARTER, deleting("public.notification_logs", "created_at < %(before)s")
    ),
    # Expo keeps the receipts for a day.
    Sweep("push tickets", DAY, deleting("public.push_tickets", "created_at < %(before)s")),
    Sweep("recipe ideas", QUARTER, deleting("public.recipe_sessions", "created_at < %(before)s")),
    # A leaderboard needs the current period and the one before. The ledger has all awards.
    Sweep(
        "leaderboards",
        QUARTER,
        deleting(
            "public.xp_periods",
            "period in ('daily', 'weekly', 'monthly')"
            " and begins < (%(before)s::timestamptz at time zone 'UTC')::date",
        ),
    ),
    Sweep("sign-in places", LONG, deleting("public.sign_in_places", "last_at < %(before)s")),
    Sweep(
        "active days",
        LONG,
        deleting(
            "public.user_active_days",
            "day < (%(before)s::timestamptz at time zone 'UTC')::date",
        ),
    ),
    Sweep(
        "usage counters",
        LONG,
        deleting(
            "public.usage_counters",
            "period_start < (%(before)s::timestamptz at time zone 'UTC')::date",
        ),
    ),
    Sweep("decided reports", LONG, deleting("public.content_reports", "decided_at < %(before)s")),
    Sweep(
        "actions of moderators",
        SEVEN_YEARS,
        deleting("public.moderation_actions", "created_at < %(before)s"),
    ),
    Sweep(
        "actions of operators",
        SEVEN_YEARS,
        deleting("public.operator_actions", "created_at < %(before)s"),
    ),
    Sweep(
        "stored replies", ON_EXPIRY, deleting("public.idempotency_keys", "expires_at < %(before)s")
    ),
    Sweep(
        "completed account deletions",
        SEVEN_YEARS,
        deleting("public.account_deletions", "status = 'completed' and completed_at < %(before)s"),
    ),
    Sweep(
        "settled charge reversals",
        LONG,
        deleting("public.charge_reversals", "status = 'settled' and settled_at < %(before)s"),
    ),
    Sweep("trending scores", MONTH, TREND),
)
