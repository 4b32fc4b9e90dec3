-- Pushes that Expo has accepted and will report on, for a day. Deleted with the device.
create table public.push_tickets (
  id text primary key,
  token text not null references public.device_tokens (token) on delete cascade,
  notification_id uuid references public.notification_logs (id) on delete set null,
  created_at timestamptz not null default pg_catalog.now(),
  next_check_at timestamptz not null default pg_catalog.now() + interval '15 minutes'
);

create index push_tickets_of_token on public.push_tickets (token);
create index push_tickets_of_notification on public.push_tickets (notification_id);
create index push_tickets_due on public.push_tickets (next_check_at);

alter table public.push_tickets enable row level security;
revoke all on table public.push_tickets from anon, authenticated;
grant all on table public.push_tickets to service_role;
