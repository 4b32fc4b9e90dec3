-- The queue of push notifications: who works on a row, when it is tried again, and until when it is
-- of any use.
alter table public.notification_logs
  add column attempts smallint not null default 0,
  add column claimed_at timestamptz,
  add column next_attempt_at timestamptz,
  add column expires_at timestamptz;

-- What was won just now.
create index user_achievements_by_time on public.user_achievements (unlocked_at)
  where unlocked_at is not null;

-- The day that it is somewhere at a moment, and where that day begins and ends; of UTC where the
-- zone is none.
create function public.local_day(
  p_at timestamptz, p_timezone text, out today date, out began timestamptz, out ends timestamptz
)
language plpgsql stable set search_path = '' as $$
declare
  zone text := p_timezone;
begin
  begin
    today := (p_at at time zone zone)::date;
  exception
    when invalid_parameter_value then
      zone := 'UTC';
      today := (p_at at time zone zone)::date;
  end;
  began := today::timestamp at time zone zone;
  ends := (today + 1)::timestamp at time zone zone;
end
$$;
revoke execute on function public.local_day(timestamptz, text) from public, anon, authenticated;
grant execute on function public.local_day(timestamptz, text) to service_role;
