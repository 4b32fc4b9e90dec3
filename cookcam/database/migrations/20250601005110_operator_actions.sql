-- What administrators did in the operations console: rows are only added.
create table public.operator_actions (
  id bigint primary key generated always as identity,
  operator_id uuid references public.users (id) on delete set null,
  action text not null check (pg_catalog.char_length(action) between 1 and 60),
  target text check (pg_catalog.char_length(target) <= 300),
  instance text not null check (pg_catalog.char_length(instance) <= 300),
  created_at timestamptz not null default pg_catalog.now()
);

create index operator_actions_of_operator on public.operator_actions (operator_id);
create index operator_actions_by_age on public.operator_actions (created_at);

alter table public.operator_actions enable row level security;
revoke all on table public.operator_actions from anon, authenticated, service_role;
grant select, insert, delete on table public.operator_actions to service_role;
-- The retention sweep locks the rows that it deletes, which needs this; an identity cannot be updated.
grant update (id) on table public.operator_actions to service_role;
