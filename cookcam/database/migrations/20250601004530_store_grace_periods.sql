-- Until when a subscription entitles while its payment is overdue, where its store says so; seven
-- days after the period where it does not.
alter table public.user_subscriptions add column grace_until timestamptz;

create or replace function public.user_tier_id(p_user_id uuid) returns smallint
language sql stable set search_path = '' as $$
  select coalesce(
    (
      select s.tier_id
      from public.user_subscriptions s
      where s.user_id = p_user_id
        and (
          (s.status in ('active', 'trialing') and s.current_period_end > pg_catalog.now())
          or (
            s.status = 'past_due'
            and coalesce(s.grace_until, s.current_period_end + interval '7 days')
              > pg_catalog.now()
          )
        )
    ),
    1::smallint
  )
$$;
