"""Where the schema holds something of a person: what deleting an account does to it, what an export
shows of it.

One table for both. `tests/features/accounts/test_personal_data.py` compares it with the foreign
keys of the schema: a new table that refers to a user has to be entered here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, LiteralString

from attrs import frozen

from cookcam.integrations.supabase.storage import Bucket

Fate = Literal["deleted", "anonymised"]
"""What becomes of the rows with the account: anonymised ones stay, and no longer say whose."""


@frozen
class Holding:
    """The rows of `table` whose `column` is the person.

    `key` is an SQL expression over the row `t`, unique among those rows, by which an export pages.
    `hidden` columns are left out of it: they are about somebody else, or no use to anybody.
    `kept_back` says why the export leaves the rows out altogether.
    """

    table: LiteralString
    column: LiteralString
    fate: Fate
    key: LiteralString = "t.id::text"
    where: LiteralString = "true"
    hidden: tuple[str, ...] = ()
    kept_back: str | None = None

    @property
    def name(self) -> str:
        """What it is called in receipts: the table, and whose role where it has several."""
        return self.table if self.column in ("user_id", "id") else f"{self.table}.{self.column}"


HOLDINGS: Final[Sequence[Holding]] = (
    Holding("users", "id", "deleted"),
    Holding("user_follows", "follower_id", "deleted", "t.following_id::text"),
    Holding("user_follows", "following_id", "deleted", "t.follower_id::text"),
    Holding("user_progress", "user_id", "deleted", hidden=("idempotency_key",)),
    Holding("user_streaks", "user_id", "deleted", "t.user_id::text"),
    Holding("daily_cooks", "user_id", "deleted"),
    Holding("user_achievements", "user_id", "deleted", "t.achievement_id::text"),
    Holding("mystery_boxes", "user_id", "deleted"),
    Holding("ingredient_scans", "user_id", "deleted"),
    Holding("recipe_sessions", "user_id", "deleted"),
    Holding("cooking_sessions", "user_id", "deleted"),
    Holding("recipe_previews", "user_id", "deleted"),
    Holding("saved_recipes", "user_id", "deleted"),
    Holding(
        "favorite_toggles",
        "user_id",
        "deleted",
        "t.recipe_id::text",
        kept_back="answers to a repeated tap, good for three seconds",
    ),
    Holding("recipe_ratings", "user_id", "deleted", "t.recipe_id::text"),
    Holding("recipe_completion_photos", "user_id", "deleted"),
    Holding("recipes", "created_by", "deleted", where="not t.is_published", hidden=("search_tsv",)),
    Holding("recipes", "created_by", "anonymised", where="t.is_published", hidden=("search_tsv",)),
    Holding("live_cooking_sessions", "host_id", "deleted", "t.id", hidden=("invite_code_hash",)),
    Holding("live_cooking_participants", "user_id", "deleted", "t.session_id"),
    Holding("live_cooking_messages", "user_id", "deleted"),
    Holding("live_recipe_shares", "user_id", "deleted", "t.id"),
    Holding("live_recipe_likes", "user_id", "deleted", "t.share_id"),
    Holding("live_recipe_comments", "user_id", "deleted"),
    Holding("user_subscriptions", "user_id", "deleted"),
    Holding(
        "billing_in_progress",
        "user_id",
        "deleted",
        "t.user_id::text",
        kept_back="the address of a page to pay on, good for a day",
    ),
    Holding("subscription_history", "user_id", "anonymised"),
    Holding("usage_counters", "user_id", "deleted", "t.metric || t.period_start::text"),
    Holding(
        "idempotency_keys",
        "user_id",
        "deleted",
        "t.key",
        kept_back="copies of answers the person had, kept for a day",
    ),
    Holding("iap_receipt_bindings", "user_id", "anonymised", "t.platform || t.store_key"),
    Holding("iap_validation_history", "user_id", "anonymised", hidden=("receipt_ciphertext",)),
    Holding("iap_webhook_logs", "user_id", "anonymised", "t.platform || t.notification_id"),
    Holding("creator_stripe_accounts", "creator_id", "deleted", "t.creator_id::text"),
    Holding("creator_affiliate_links", "creator_id", "deleted"),
    Holding("referral_attributions", "user_id", "deleted", "t.user_id::text"),
    Holding(
        "referral_attributions",
        "referrer_id",
        "deleted",
        "t.user_id::text",
        kept_back="about the people who came, who are not the person's to know",
    ),
    Holding("affiliate_conversions", "creator_id", "anonymised", hidden=("subscriber_id",)),
    Holding("affiliate_conversions", "subscriber_id", "anonymised"),
    Holding("creator_tips", "creator_id", "anonymised", hidden=("tipper_id",)),
    Holding("creator_tips", "tipper_id", "anonymised"),
    Holding("creator_ledger", "creator_id", "anonymised"),
    Holding("creator_payouts", "creator_id", "anonymised", hidden=("idempotency_key",)),
    Holding("analytics_events", "user_id", "anonymised"),
    Holding("device_tokens", "user_id", "deleted", "t.token"),
    Holding(
        "notification_logs",
        "user_id",
        "deleted",
        hidden=("dedupe_key", "attempts", "claimed_at", "next_attempt_at"),
    ),
    Holding("security_events", "user_id", "anonymised"),
    Holding(
        "security_alerts",
        "acknowledged_by",
        "anonymised",
        kept_back="the work of an administrator, not data about one",
    ),
)

UNHELD: Final = {
    "account_deletions.user_id": "the job of deleting the account; null when it is done",
}
"""Columns that name a person and belong to no holding, and why."""

FOLDERS: Final[Mapping[Bucket, str]] = {
    "avatars": "avatars",
    "completion-photos": "photos",
    "scans": "scans",
}
"""Where the files of a person are: `{folder}/{userId}/` in each bucket."""
