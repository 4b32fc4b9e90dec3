-- What the sweeps look for (`cookcam/features/operations/retention`), so that one that finds nothing reads nothing.

create index stripe_webhook_events_with_payload on public.stripe_webhook_events (received_at)
  where payload is not null;
create index iap_webhook_logs_with_payload on public.iap_webhook_logs (received_at)
  where payload is not null;

create index iap_validation_history_with_answer on public.iap_validation_history (validated_at)
  where receipt_ciphertext is not null or validation_response is not null;
create index iap_validation_history_fruitless on public.iap_validation_history (validated_at)
  where status in ('invalid', 'error');

create index user_subscriptions_ended on public.user_subscriptions (current_period_end)
  where status in ('cancelled', 'expired', 'incomplete') and superseded_status is null;
create index subscription_history_alone on public.subscription_history (created_at)
  where subscription_id is null;

create index recipe_sessions_by_age on public.recipe_sessions (created_at);
create index usage_counters_by_age on public.usage_counters (period_start);
create index account_deletions_completed on public.account_deletions (completed_at)
  where status = 'completed';

-- Published recipes by their last change: the score of the recent ones is made anew every hour.
create index recipes_changed on public.recipes (updated_at) where is_published;
