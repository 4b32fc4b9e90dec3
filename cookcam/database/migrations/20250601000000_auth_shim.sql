-- What the schema needs from Supabase, where Supabase is absent.
--
-- Every step looks first and does nothing where the object exists, so this file is applied to
-- Supabase as it is. No later migration creates or replaces anything in schema auth.

do $$
declare
  wanted record;
begin
  for wanted in
    select * from (values
      ('anon', 'nologin noinherit'),
      ('authenticated', 'nologin noinherit'),
      ('service_role', 'nologin noinherit bypassrls'),
      -- The server's own login: it owns nothing and can do nothing until it takes one of the roles
      -- above. It has no password here: whoever deploys gives it one.
      ('cookcam_app', 'login noinherit')
    ) as roles(name, attributes)
  loop
    if not exists (select from pg_catalog.pg_roles where rolname = wanted.name) then
      begin
        execute pg_catalog.format('create role %I %s', wanted.name, wanted.attributes);
      exception
        -- Roles belong to the cluster: another database may be creating the same ones now.
        when duplicate_object or unique_violation then null;
        when insufficient_privilege then
          if wanted.name <> 'cookcam_app' then
            raise;
          end if;
          raise notice 'role cookcam_app was not created: this login may not create roles';
      end;
    end if;
  end loop;
end
$$;

do $$
declare
  granted text;
begin
  if not exists (select from pg_catalog.pg_roles where rolname = 'cookcam_app') then
    return;
  end if;
  foreach granted in array array['anon', 'authenticated', 'service_role'] loop
    if not exists (
      select from pg_catalog.pg_auth_members m
      where m.roleid = granted::pg_catalog.regrole and m.member = 'cookcam_app'::pg_catalog.regrole
    ) then
      begin
        execute pg_catalog.format('grant %I to cookcam_app', granted);
      exception
        when insufficient_privilege then
          raise notice 'role % was not granted to cookcam_app: this login may not', granted;
      end;
    end if;
  end loop;
end
$$;

do $$
begin
  if pg_catalog.to_regnamespace('auth') is not null then
    return;
  end if;
  create schema auth;
  grant usage on schema auth to anon, authenticated, service_role;
end
$$;

do $$
begin
  if pg_catalog.to_regclass('auth.users') is not null then
    return;
  end if;
  create table auth.users (
    id uuid primary key default pg_catalog.gen_random_uuid(),
    email text,
    encrypted_password text,
    email_confirmed_at timestamptz,
    last_sign_in_at timestamptz,
    raw_user_meta_data jsonb not null default '{}',
    raw_app_meta_data jsonb not null default '{}',
    created_at timestamptz not null default pg_catalog.now(),
    updated_at timestamptz not null default pg_catalog.now()
  );
  create unique index users_email_key on auth.users (pg_catalog.lower(email));
end
$$;

do $$
begin
  if pg_catalog.to_regprocedure('auth.jwt()') is null then
    create function auth.jwt() returns jsonb language sql stable set search_path = '' as $body$
      select coalesce(
        nullif(pg_catalog.current_setting('request.jwt.claims', true), ''), '{}'
      )::jsonb
    $body$;
  end if;
  if pg_catalog.to_regprocedure('auth.uid()') is null then
    create function auth.uid() returns uuid language sql stable set search_path = '' as $body$
      select coalesce(
        nullif(pg_catalog.current_setting('request.jwt.claim.sub', true), ''),
        nullif(pg_catalog.current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'
      )::uuid
    $body$;
  end if;
  if pg_catalog.to_regprocedure('auth.role()') is null then
    create function auth.role() returns text language sql stable set search_path = '' as $body$
      select coalesce(
        nullif(pg_catalog.current_setting('request.jwt.claim.role', true), ''),
        nullif(pg_catalog.current_setting('request.jwt.claims', true), '')::jsonb ->> 'role'
      )
    $body$;
  end if;
end
$$;

-- Supabase grants new objects in public to all three roles. Doing the same here makes a forgotten
-- REVOKE show in the tests, and not first in production.
do $$
begin
  if exists (
    select
    from pg_catalog.pg_default_acl d, pg_catalog.aclexplode(d.defaclacl) a
    where d.defaclnamespace = 'public'::pg_catalog.regnamespace
      and a.grantee = 'anon'::pg_catalog.regrole
  ) then
    return;
  end if;
  grant usage on schema public to anon, authenticated, service_role;
  alter default privileges in schema public
    grant all on tables to anon, authenticated, service_role;
  alter default privileges in schema public
    grant all on sequences to anon, authenticated, service_role;
  alter default privileges in schema public
    grant all on functions to anon, authenticated, service_role;
end
$$;
