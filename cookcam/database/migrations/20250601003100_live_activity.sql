-- When the room of a cooking session last had an event: the six hours after which it ends are
-- counted from here, whatever happens to the server meanwhile.

alter table public.live_cooking_sessions
  add column last_event_at timestamptz not null default pg_catalog.now();

update public.live_cooking_sessions s set last_event_at = greatest(
  s.created_at,
  s.ended_at,
  (select max(m.created_at) from public.live_cooking_messages m where m.session_id = s.id)
);

-- Ended rooms by age, for the sweep that deletes them.
create index live_cooking_sessions_ended on public.live_cooking_sessions (ended_at)
  where not is_active;
