"""The table of what is done when to what is old. Source: `spec/database.md` §3.5.

A new row: a name, how long it is kept, and a statement that writes at most `%(batch)s` rows of
which the time is before `%(before)s` (UTC), and none of them twice. `deleting` makes it for rows
that go, `clearing` for columns. An index on the condition keeps a sweep that finds nothing cheap.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, LiteralString

from attrs import frozen

ON_EXPIRY: Final = timedelta()
MONTH: Final = timedelta(days=30)
QUARTER: Final = timedelta(days=90)
LONG: Final = timedelta(days=400)
SEVEN_YEARS: Final = timedelta(days=7 * 365 + 2)
"""With the leap days there are at most."""

STRIPE_IS_DONE: Final = "(status = 'processed' or (status = 'failed' and attempts >= 10))"
"""Nobody waits for the event: it was handled, or given up for good."""

STORE_IS_DONE: Final = """(status in ('processed', 'ignored')
    or ((attempts >= 10 or payload is null) and claimed_at < %(before)s))"""
"""The same of a notification; one without a payload is not tried again either."""


@frozen
class Sweep:
    """`%(before)s` of the statement is `keep` ago."""

    name: str
    keep: timedelta
    statement: LiteralString


def deleting(table: LiteralString, condition: LiteralString) -> LiteralString:
    """Deletes a batch of rows. Who else holds one of them keeps it until the next sweep."""
    return f"""
delete from {table} where ctid = any(array(
  select ctid from {table} where {condition} limit %(batch)s for update skip locked
))"""  # noqa: S608 - constants


def clearing(
    table: LiteralString, *columns: LiteralString, condition: LiteralString
) -> LiteralString:
    """Sets the columns of a batch of rows to null, those that have any of them."""
    nulls = ", ".join(f"{column} = null" for column in columns)
    some = " or ".join(f"{column} is not null" for column in columns)
    return f"""
update {table} set {nulls} where ctid = any(array(
  select ctid from {table} where ({some}) and {condition} limit %(batch)s for update skip locked
))"""  # noqa: S608 - constants


# Of the recipes that changed since `before`. Their age is measured from one moment for the whole
# sweep, the one it began at, so that no row is written twice. The column ends at eight digits.
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
    # With their messages and participants.
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
    # Who clicked is forgotten before the click is.
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
    # What a provider told goes before the note that it was heard, by which a repetition is known.
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
    # That a receipt was good is kept for ever, and so is whose it is.
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
    # `as_of` is the provider's own time of the end. What still goes on there has no end.
    Sweep(
        "ended subscriptions",
        SEVEN_YEARS,
        deleting(
            "public.user_subscriptions",
            "status in ('cancelled', 'expired', 'incomplete') and superseded_status is null"
            " and current_period_end < %(before)s and as_of < %(before)s",
        ),
    ),
    # A subscription that is kept has all of its history.
    Sweep(
        "history of gone subscriptions",
        SEVEN_YEARS,
        deleting(
            "public.subscription_history", "subscription_id is null and created_at < %(before)s"
        ),
    ),
    # A few rows a day: no index of the runs is worth its upkeep.
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
        "security events", QUARTER, deleting("public.security_events", "created_at < %(before)s")
    ),
    Sweep(
        "notifications", QUARTER, deleting("public.notification_logs", "created_at < %(before)s")
    ),
    Sweep("recipe ideas", QUARTER, deleting("public.recipe_sessions", "created_at < %(before)s")),
    Sweep(
        "usage counters",
        LONG,
        deleting(
            "public.usage_counters",
            "period_start < (%(before)s::timestamptz at time zone 'UTC')::date",
        ),
    ),
    Sweep(
        "stored replies", ON_EXPIRY, deleting("public.idempotency_keys", "expires_at < %(before)s")
    ),
    Sweep(
        "completed account deletions",
        SEVEN_YEARS,
        deleting("public.account_deletions", "status = 'completed' and completed_at < %(before)s"),
    ),
    Sweep("trending scores", MONTH, TREND),
)
