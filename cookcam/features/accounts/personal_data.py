"""Personal data in the schema: the effect of an account's deletion and the content of an export.

One table for both. `tests/features/accounts/test_personal_data.py` compares it with the foreign
keys of the schema: a new table that refers to a user has to be entered here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, LiteralString

from attrs import frozen

from cookcam.integrations.supabase.storage import Bucket

DeletionEffect = Literal["deleted", "anonymised"]
"""Effect of the deletion on the rows; anonymised rows stay without a reference to the user."""


@frozen
class PersonalRows:
    """The rows of `table` whose `column` is the user's id.

    `key` is an SQL expression over the row `t`, unique among these rows; an export pages by it.
    `hidden` columns are omitted from exports: they concern other users or are internal.
    `export_exemption` is the reason why the rows are not exported at all.
    """

    table: LiteralString
    column: LiteralString
    on_deletion: DeletionEffect
    key: LiteralString = "t.id::text"
    where: LiteralString = "true"
    hidden: tuple[str, ...] = ()
    export_exemption: str | None = None

    @property
    def name(self) -> str:
        """Name in receipts: the table, with the column where several reference users."""
        return self.table if self.column in ("user_id", "id") else f"{self.table}.{self.column}"


PERSONAL_ROWS: Final[Sequence[PersonalRows]] = (
    PersonalRows("users", "id", "deleted"),
    PersonalRows("user_follows", "follower_id", "deleted", "t.following_id::text"),
    PersonalRows("user_follows", "following_id", "deleted", "t.follower_id::text"),
    PersonalRows("user_blocks", "blocker_id", "deleted", "t.blocked_id::text"),
    PersonalRows(
        "user_blocks",
        "blocked_id",
        "deleted",
        "t.blocker_id::text",
        export_exemption="decisions of the users who blocked",
    ),
    PersonalRows(
        "content_reports",
        "reporter_id",
        "anonymised",
        hidden=("author_id", "content", "decided_by"),
    ),
    PersonalRows(
        "content_reports",
        "author_id",
        "anonymised",
        export_exemption="reports of other users, who stay unknown to the author",
    ),
    PersonalRows(
        "content_reports",
        "decided_by",
        "anonymised",
        export_exemption="the work of an administrator, not data about one",
    ),
    PersonalRows(
        "moderation_actions",
        "moderator_id",
        "anonymised",
        export_exemption="the work of an administrator, not data about one",
    ),
    PersonalRows(
        "operator_actions",
        "operator_id",
        "anonymised",
        export_exemption="the work of an administrator, not data about one",
    ),
    PersonalRows("user_progress", "user_id", "deleted", hidden=("idempotency_key",)),
    PersonalRows(
        "xp_periods",
        "user_id",
        "deleted",
        "t.period || t.begins::text",
        export_exemption="sums of user_progress",
    ),
    PersonalRows("user_streaks", "user_id", "deleted", "t.user_id::text"),
    PersonalRows("daily_cooks", "user_id", "deleted"),
    PersonalRows("user_achievements", "user_id", "deleted", "t.achievement_id::text"),
    PersonalRows("mystery_boxes", "user_id", "deleted"),
    PersonalRows("ingredient_scans", "user_id", "deleted"),
    PersonalRows("recipe_sessions", "user_id", "deleted"),
    PersonalRows("cooking_sessions", "user_id", "deleted"),
    PersonalRows("recipe_previews", "user_id", "deleted"),
    PersonalRows("saved_recipes", "user_id", "deleted"),
    PersonalRows(
        "favorite_toggles",
        "user_id",
        "deleted",
        "t.recipe_id::text",
        export_exemption="responses to repeated taps, valid for three seconds",
    ),
    PersonalRows("recipe_ratings", "user_id", "deleted", "t.recipe_id::text"),
    PersonalRows("recipe_completion_photos", "user_id", "deleted"),
    PersonalRows(
        "recipes", "created_by", "deleted", where="not t.is_published", hidden=("search_tsv",)
    ),
    PersonalRows(
        "recipes", "created_by", "anonymised", where="t.is_published", hidden=("search_tsv",)
    ),
    PersonalRows(
        "live_cooking_sessions", "host_id", "deleted", "t.id", hidden=("invite_code_hash",)
    ),
    PersonalRows("live_cooking_participants", "user_id", "deleted", "t.session_id"),
    PersonalRows("live_cooking_messages", "user_id", "deleted"),
    PersonalRows("live_recipe_shares", "user_id", "deleted", "t.id"),
    PersonalRows("live_recipe_likes", "user_id", "deleted", "t.share_id"),
    PersonalRows("live_recipe_comments", "user_id", "deleted"),
    PersonalRows("user_subscriptions", "user_id", "deleted"),
    PersonalRows(
        "billing_in_progress",
        "user_id",
        "deleted",
        "t.user_id::text",
        export_exemption="the URL of a checkout page, valid for a day",
    ),
    PersonalRows("subscription_history", "user_id", "anonymised"),
    PersonalRows("usage_counters", "user_id", "deleted", "t.metric || t.period_start::text"),
    PersonalRows(
        "idempotency_keys",
        "user_id",
        "deleted",
        "t.key",
        export_exemption="copies of responses sent to the user, stored for a day",
    ),
    PersonalRows("iap_receipt_bindings", "user_id", "anonymised", "t.platform || t.store_key"),
    PersonalRows("iap_validation_history", "user_id", "anonymised", hidden=("receipt_ciphertext",)),
    PersonalRows("iap_webhook_logs", "user_id", "anonymised", "t.platform || t.notification_id"),
    PersonalRows("creator_stripe_accounts", "creator_id", "deleted", "t.creator_id::text"),
    PersonalRows("creator_affiliate_links", "creator_id", "deleted"),
    PersonalRows("referral_attributions", "user_id", "deleted", "t.user_id::text"),
    PersonalRows(
        "referral_attributions",
        "referrer_id",
        "deleted",
        "t.user_id::text",
        export_exemption="data about the referred users",
    ),
    PersonalRows("affiliate_conversions", "creator_id", "anonymised", hidden=("subscriber_id",)),
    PersonalRows("affiliate_conversions", "subscriber_id", "anonymised"),
    PersonalRows("creator_tips", "creator_id", "anonymised", hidden=("tipper_id",)),
    PersonalRows("creator_tips", "tipper_id", "anonymised"),
    PersonalRows("creator_ledger", "creator_id", "anonymised"),
    PersonalRows("creator_payouts", "creator_id", "anonymised", hidden=("idempotency_key",)),
    PersonalRows("analytics_events", "user_id", "anonymised"),
    PersonalRows("user_active_days", "user_id", "deleted", "t.day::text"),
    PersonalRows("device_tokens", "user_id", "deleted", "t.token"),
    PersonalRows(
        "notification_logs",
        "user_id",
        "deleted",
        hidden=("dedupe_key", "attempts", "claimed_at", "next_attempt_at", "actor_id"),
    ),
    PersonalRows(
        "notification_logs",
        "actor_id",
        "deleted",
        export_exemption="notifications to other users",
    ),
    PersonalRows("sign_in_places", "user_id", "deleted", "t.place_hash", hidden=("place_hash",)),
    PersonalRows("security_events", "user_id", "anonymised"),
    PersonalRows(
        "blocklist",
        "user_id",
        "deleted",
        export_exemption="a measure of the operators against abuse",
    ),
    PersonalRows(
        "security_alerts",
        "acknowledged_by",
        "anonymised",
        export_exemption="the work of an administrator, not data about one",
    ),
)

EXEMPT_COLUMNS: Final = {
    "account_deletions.user_id": "the job of deleting the account; null when it is done",
    "xp_changes.user_id": "which rows of xp_periods changed in the last hour",
}
"""Columns that reference a user outside PERSONAL_ROWS, with the reason."""

FOLDERS: Final[Mapping[Bucket, str]] = {
    "avatars": "avatars",
    "completion-photos": "photos",
    "scans": "scans",
}
"""Folders of a user's files: `{folder}/{userId}/` in each bucket."""
