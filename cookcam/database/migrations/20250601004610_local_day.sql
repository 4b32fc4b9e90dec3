-- Where a local day begins and ends, right at every change of a clock.

-- The instant at which `p_day` begins in a zone. Where the clock is set back across midnight a day
-- begins twice: the first instant, or the last with `p_last`. Where the clock is set back to midnight
-- the day goes on: the second midnight does not count. Where it is set forward across midnight, the
-- instant of the change.
create function public.local_midnight(p_day date, p_timezone text, p_last boolean)
returns timestamptz
language plpgsql stable set search_path = '' as $$
declare
  midnight timestamp := p_day;
  guess timestamptz := midnight at time zone p_timezone;
  found timestamptz;
  low timestamptz := guess - interval '26 hours';
  high timestamptz := guess + interval '26 hours';
  middle timestamptz;
begin
  -- Midnight under each offset that holds around it, where the day before ends there.
  select case when p_last then max(candidate) else min(candidate) end into found
  from (
    select (midnight - (moment at time zone p_timezone - moment at time zone 'UTC'))
      at time zone 'UTC' as candidate
    from pg_catalog.unnest(array[
      low, guess - interval '3 hours', guess - interval '1 hour', guess,
      guess + interval '1 hour', guess + interval '3 hours', high
    ]) as moment
  ) as candidates
  where candidate at time zone p_timezone = midnight
    and (candidate - interval '1 microsecond') at time zone p_timezone < midnight;
  if found is not null then
    return found;
  end if;
  while high - low > interval '1 second' loop
    middle := low
      + pg_catalog.floor(extract(epoch from high - low) / 2) * interval '1 second';
    if middle at time zone p_timezone >= midnight then
      high := middle;
    else
      low := middle;
    end if;
  end loop;
  return high;
end
$$;

create or replace function public.local_day(
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
  began := public.local_midnight(today, zone, false);
  ends := public.local_midnight(today + 1, zone, true);
end
$$;

revoke execute on function public.local_midnight(date, text, boolean)
from public, anon, authenticated;
grant execute on function public.local_midnight(date, text, boolean) to service_role;
