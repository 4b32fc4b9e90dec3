-- One try for a mystery box for each scan. The server draws, from its cryptographic source, and says
-- here what it drew: no rarity when there is no box. What counts is decided here: whose scan it is,
-- that it is of today and was not tried before, and how many boxes today has seen.

create function public.open_mystery_box(
  p_user_id uuid,
  p_scan_id uuid,
  p_rarity text default null,
  p_reward_type text default null,
  p_reward_value jsonb default null
) returns jsonb
language plpgsql set search_path = '' as $$
declare
  day_begins timestamptz := date_trunc('day', now() at time zone 'UTC') at time zone 'UTC';
begin
  perform public.hold_user(p_user_id);
  update public.ingredient_scans s set box_tried_at = now()
  where s.id = p_scan_id and s.user_id = p_user_id and s.created_at >= day_begins
    and s.box_tried_at is null;
  if not found or p_rarity is null or 3 <= (
    select count(*) from public.mystery_boxes b
    where b.user_id = p_user_id and b.opened_at >= day_begins
  ) then
    return pg_catalog.jsonb_build_object(
      'box_available', false, 'rarity', null, 'reward_type', null, 'reward_value', null
    );
  end if;
  insert into public.mystery_boxes (user_id, source_scan_id, rarity, reward_type, reward_value)
  values (p_user_id, p_scan_id, p_rarity, p_reward_type, p_reward_value);
  if p_reward_type = 'xp' then
    perform public.add_user_xp(
      p_user_id, (p_reward_value ->> 'amount')::integer, 'MYSTERY_BOX',
      pg_catalog.jsonb_build_object('scan_id', p_scan_id, 'rarity', p_rarity), 'box:' || p_scan_id
    );
  elsif p_reward_type = 'badge' then
    perform public.award_achievement(p_user_id, p_reward_value ->> 'id');
  end if;
  return pg_catalog.jsonb_build_object(
    'box_available', true,
    'rarity', p_rarity,
    'reward_type', p_reward_type,
    'reward_value', p_reward_value
  );
end
$$;

revoke execute on function public.open_mystery_box(uuid, uuid, text, text, jsonb)
from public, anon, authenticated;
grant execute on function public.open_mystery_box(uuid, uuid, text, text, jsonb) to service_role;
