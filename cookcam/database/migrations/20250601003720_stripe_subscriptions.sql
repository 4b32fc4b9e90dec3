-- Whose Stripe customer it is: refunds and subscriptions made by hand name no more than that.
create index user_subscriptions_of_customer on public.user_subscriptions (provider_customer_id)
  where provider_customer_id is not null;
-- What another subscription supersedes, and its provider may still charge for.
create index user_subscriptions_superseded on public.user_subscriptions (provider)
  where superseded_status is not null;
