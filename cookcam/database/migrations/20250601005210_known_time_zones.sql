-- A day in a zone that PostgreSQL knows only as a POSIX rule ("UTC+2", two hours west of UTC) is the UTC
-- day, as that of any other name that is not in the tz database.

create or replace function public.local_day(
  p_at timestamptz, p_timezone text, out today date, out began timestamptz, out ends timestamptz
)
language plpgsql stable set search_path = '' as $$
declare
  zone text := case
    when p_timezone !~ '^([A-Za-z]{3,}|<.*>)[+-]?[0-9]' then p_timezone
    when p_timezone in (
      'CST6CDT', 'EST5EDT', 'MST7MDT', 'PST8PDT', 'GMT0', 'GMT+0', 'GMT-0'
    ) then p_timezone
    else 'UTC'
  end;
begin
  begin
    today := (p_at at time zone zone)::date;
  exception
    when invalid_parameter_value then
      zone := 'UTC';
      today := (p_at at time zone zone)::date;
  end;
  began := public.local_midnight(today, zone, false);
  ends := public.local_midnight(today + 1, zone, true);
end
$$;
