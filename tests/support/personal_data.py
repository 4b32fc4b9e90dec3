"""Something of one person in every place where the schema can hold it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import LiteralString
from uuid import uuid4

from psycopg import AsyncClientCursor

from cookcam.database.connection import Connection
from tests.features.conftest import ApiUser
from tests.support.owners import OwnersApp
from tests.support.postgres import as_owner

_RECIPE = "(select id from recipes where created_by = %(me)s and is_published limit 1)"
_THEIRS = "(select id from recipes where created_by = %(other)s limit 1)"
_LINK = "(select id from creator_affiliate_links where creator_id = %(me)s limit 1)"
_SUBSCRIPTION = "(select id from user_subscriptions where user_id = %(me)s limit 1)"

FILL: Sequence[LiteralString] = (
    "update users set creator_bio = 'Cooks', timezone = 'Europe/Berlin' where id = %(me)s",
    "insert into recipes (title, created_by, is_published) values"
    " ('Soup ' || %(tag)s, %(me)s, true), ('Draft ' || %(tag)s, %(me)s, false),"
    " ('Stew ' || %(tag)s, %(other)s, true)",
    # A block ends the follows of that time.
    "insert into user_blocks values (%(me)s, %(other)s), (%(other)s, %(me)s)",
    "insert into user_follows values (%(me)s, %(other)s), (%(other)s, %(me)s)",
    "insert into user_progress (user_id, action, xp_gained, total_xp, old_level, new_level)"
    " values (%(me)s, 'COMPLETE_RECIPE', 75, 75, 1, 1)",
    "insert into user_streaks (user_id) values (%(me)s) on conflict do nothing",
    "insert into daily_cooks (user_id, cook_date, recipes_cooked) values (%(me)s, '2026-01-02', 1)",
    "insert into user_achievements (user_id, achievement_id)"
    " select %(me)s, id from achievements limit 2",
    "insert into ingredient_scans (user_id, detected_ingredients, scan_metadata)"
    """ values (%(me)s, '[{"name": "leek"}]', jsonb_build_object('by', %(me)s))""",
    "insert into mystery_boxes (user_id, rarity, reward_type, reward_value)"
    " values (%(me)s, 'rare', 'xp', '{}')",
    "insert into recipe_sessions (user_id, input_data, suggestions) values (%(me)s, '{}', '[]')",
    "insert into cooking_sessions (user_id, session_id, original_ingredients, user_preferences)"
    " values (%(me)s, %(tag)s, '[]', '{}')",
    "insert into recipe_previews (preview_id, session_id, user_id, title)"
    " values ('p1', %(tag)s, %(me)s, 'Preview')",
    f"insert into saved_recipes (user_id, recipe_id) values (%(me)s, {_THEIRS})",
    "insert into favorite_toggles (user_id, recipe_id, favorited)"
    f" values (%(me)s, {_THEIRS}, true)",
    f"insert into recipe_ratings (user_id, recipe_id, rating) values (%(me)s, {_THEIRS}, 4)",
    "insert into recipe_completion_photos (user_id, recipe_id, photo_url)"
    f" values (%(me)s, {_THEIRS}, 'https://example.com/' || %(me)s || '.jpg')",
    "insert into live_cooking_sessions (id, host_id, title) values"
    " ('mine' || %(tag)s, %(me)s, 'Mine'), ('theirs' || %(tag)s, %(other)s, 'Theirs')",
    "insert into live_cooking_participants (session_id, user_id)"
    " values ('theirs' || %(tag)s, %(me)s)",
    "insert into live_cooking_messages (session_id, seq, user_id, message)"
    " values ('theirs' || %(tag)s, 1, %(me)s, 'write to ' || %(email)s)",
    "insert into live_recipe_shares (id, user_id, title) values"
    " ('mine' || %(tag)s, %(me)s, 'Mine'), ('theirs' || %(tag)s, %(other)s, 'Theirs')",
    "insert into live_recipe_likes (share_id, user_id) values ('theirs' || %(tag)s, %(me)s)",
    "insert into live_recipe_comments (share_id, user_id, comment)"
    " values ('theirs' || %(tag)s, %(me)s, 'write to ' || %(email)s)",
    "insert into user_subscriptions (user_id, tier_id, status, current_period_start,"
    " current_period_end, provider, provider_subscription_id, superseded_status)"
    " values (%(me)s, 2, 'cancelled', now(), now() + interval '1 day', 'ios', %(tag)s, 'active')",
    "insert into billing_in_progress (user_id) values (%(me)s)",
    "insert into subscription_history (user_id, subscription_id, action)"
    f" values (%(me)s, {_SUBSCRIPTION}, 'created')",
    "insert into usage_counters (user_id, metric, period_start, used)"
    " values (%(me)s, 'daily_scans', '2026-01-01', 3)",
    "insert into idempotency_keys (user_id, key, endpoint, request_hash, response)"
    " values (%(me)s, 'key', '/recipes', 'x', jsonb_build_object('user', %(me)s))",
    "insert into iap_receipt_bindings (platform, store_key, user_id, first_product_id)"
    " values ('ios', %(tag)s, %(me)s, 'com.cookcam.regular.monthly')",
    "insert into iap_validation_history (user_id, platform, product_id, receipt_hash, status,"
    " environment, receipt_ciphertext, validation_response)"
    " values (%(me)s, 'ios', 'p', repeat('a', 64), 'valid', 'sandbox', 'secret',"
    " jsonb_build_object('account', %(me)s))",
    "insert into iap_webhook_logs (platform, notification_id, notification_type, status, user_id,"
    " payload) values ('ios', %(tag)s, 'RENEWED', 'processed', %(me)s,"
    " jsonb_build_object('appAccountToken', %(me)s))",
    "insert into stripe_webhook_events (event_id, event_type, status, payload) values"
    " ('evt_a' || %(tag)s, 'checkout.session.completed', 'processed',"
    """ jsonb_build_object('data', jsonb_build_object('object', jsonb_build_object('metadata',
    jsonb_build_object('user_id', %(me)s))))),"""
    " ('evt_b' || %(tag)s, 'invoice.paid', 'processed', jsonb_build_object('data',"
    " jsonb_build_object('object', jsonb_build_object('customer', 'cus_' || left(%(me)s, 8),"
    " 'customer_email', %(email)s))))",
    "insert into creator_stripe_accounts (creator_id, stripe_account_id)"
    " values (%(me)s, 'acct_' || %(tag)s)",
    "insert into creator_affiliate_links (creator_id, link_code)"
    " values (%(me)s, 'CC_' || upper(left(%(tag)s, 8)))",
    "insert into affiliate_link_clicks (link_id, hour_bucket, ip_hash, clicked_at)"
    f" values ({_LINK}, now(), %(tag)s, now())",
    "insert into referral_attributions (user_id, referrer_id, link_code) values"
    " (%(me)s, %(other)s, 'CC_ABCDEFGH'), (%(other)s, %(me)s, 'CC_HGFEDCBA')",
    "insert into affiliate_conversions (creator_id, subscriber_id, subscription_id, tier_id)"
    f" values (%(other)s, %(me)s, {_SUBSCRIPTION}, 2), (%(me)s, %(other)s, null, 2)",
    "insert into creator_tips (creator_id, tipper_id, amount_cents, message) values"
    " (%(other)s, %(me)s, 100, 'from ' || %(email)s), (%(me)s, %(other)s, 200, 'thanks')",
    "insert into creator_ledger (creator_id, kind, amount_cents, source_ref, occurred_at)"
    " values (%(me)s, 'tip', 2500, %(tag)s, now() - interval '30 days')",
    "insert into creator_payouts (creator_id, amount_cents) values (%(me)s, 1000)",
    "insert into analytics_events (user_id, event_type, event_data, session_id)"
    " values (%(me)s, 'screen', jsonb_build_object('email', %(email)s), %(me)s)",
    "insert into device_tokens (token, user_id) values ('device' || %(tag)s, %(me)s)",
    "insert into notification_logs (user_id, type, title, body)"
    " values (%(me)s, 'hint', 'Cook', 'Cook something')",
    "insert into notification_logs (user_id, actor_id, type, title, body)"
    " values (%(other)s, %(me)s, 'new_follower', 'New follower', 'write to ' || %(email)s)",
    "insert into sign_in_places (user_id, place_hash)"
    " values (%(me)s, encode(sha256(convert_to(%(tag)s, 'UTF8')), 'hex'))",
    "insert into security_events (type, severity, user_id, details, ip, user_agent)"
    " values ('auth_failure', 'low', %(me)s, jsonb_build_object('email', %(email)s),"
    " '192.0.2.1', 'app')",
    "insert into security_alerts (type, severity, message, acknowledged, acknowledged_by,"
    " acknowledged_at) values ('x', 'low', 'x', true, %(me)s, now())",
    "insert into user_active_days (day, user_id) values ('2026-01-02', %(me)s)",
    "insert into content_reports (reporter_id, target_type, target_id, author_id, reason, details)"
    " values (%(me)s, 'comment', %(tag)s, %(other)s, 'spam', 'write to ' || %(email)s)",
    "insert into content_reports (reporter_id, target_type, target_id, author_id, reason, content,"
    " status, decided_by, decided_at) values (%(other)s, 'comment', 'of' || %(tag)s, %(me)s,"
    " 'spam', 'write to ' || %(email)s, 'upheld', %(me)s, now()),"
    " (%(other)s, 'user', %(me)s, %(me)s, 'spam', null, 'open', null, null)",
    "insert into moderation_actions (moderator_id, action, target_type, target_id)"
    " values (%(me)s, 'hide', 'comment', 'of' || %(tag)s)",
    "insert into moderation_actions (action, target_type, target_id, note)"
    " values ('hide', 'user', %(me)s, 'write to ' || %(email)s),"
    " ('hide', 'review', %(other)s || '/' || %(me)s, %(email)s)",
    "insert into blocklist (user_id, reason, created_at, expires_at)"  # expired
    " values (%(me)s, 'x', now() - interval '2 days', now() - interval '1 day')",
    "insert into operator_actions (operator_id, action, instance)"
    " values (%(me)s, 'drain', 'host:3000')",
)


async def fill(house: OwnersApp, person: ApiUser, other: ApiUser) -> str:
    """Rows in every holding, of `person`; `other` is who they follow, tip, comment on.

    Returns what names and references of theirs end in.
    """
    tag = uuid4().hex
    things = {"me": person.id, "other": other.id, "email": person.email, "tag": tag}
    async with await Connection.connect(
        as_owner(house.database_url), autocommit=True
    ) as connection:
        for statement in FILL:
            # Bound on this side: a text in one place is an id in the next.
            await AsyncClientCursor(connection).execute(statement, things)
    return tag
