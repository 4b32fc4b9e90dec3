"""Migrations: first run, repeated, concurrent, interrupted, changed files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import trio

from cookcam.config.secret import Secret
from cookcam.database import ANONYMOUS, Database
from cookcam.database.connecting import connect
from cookcam.database.migrate import MIGRATIONS, MigrationError, checksums_of, migrate, pending
from tests.support.private_postgres import private_server

ALL = list(checksums_of(MIGRATIONS))
TABLES = """
account_deletions achievements affiliate_conversions affiliate_link_clicks
analytics_events cooking_sessions creator_affiliate_links creator_ledger creator_payouts
creator_stripe_accounts creator_tips daily_cooks device_tokens feature_access
iap_receipt_bindings iap_validation_history iap_webhook_logs idempotency_keys
ingredient_scans ingredients live_cooking_messages live_cooking_participants
live_cooking_sessions live_recipe_comments live_recipe_likes live_recipe_shares
mystery_boxes notification_logs recipe_completion_photos recipe_ingredients
recipe_nutrition recipe_previews recipe_ratings recipe_sessions recipes
reconciliation_metrics referral_attributions saved_recipes security_alerts security_events
stripe_webhook_events subscription_history subscription_tiers usage_counters
user_achievements user_follows user_progress user_streaks user_subscriptions users
xp_actions
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations [of a test]"
    folder.mkdir()
    (folder / "20200101000000_first.sql").write_text("create table public.first (n int);\n")
    (folder / "20200102000000_second.sql").write_text(
        "-- A comment; with a semicolon.\n"
        "create function public.twice(n int) returns int language plpgsql as $$\n"
        "begin\n  if n is null then return 0; end if;\n  return n * 2; -- 100%\nend\n$$;\n"
        "insert into public.first values (public.twice(21)), (public.twice(null));\n"
    )
    return folder


async def rows(url: str, query: str) -> list[tuple[object, ...]]:
    async with await connect(url) as connection:
        cursor = await connection.execute(query)  # type: ignore[arg-type]
        return await cursor.fetchall()


def test_names_are_unique_and_in_order() -> None:
    versions = [name.partition("_")[0] for name in ALL]
    assert all(len(version) == 14 and version.isdigit() for version in versions)
    assert len(set(versions)) == len(versions)


async def test_first_run_applies_all_and_second_run_nothing(empty_database_url: str) -> None:
    assert await pending(empty_database_url) == ALL
    assert await rows(empty_database_url, "select to_regnamespace('cookcam')") == [(None,)]
    assert await migrate(empty_database_url) == ALL
    assert await pending(empty_database_url) == []
    assert await migrate(empty_database_url) == []
    recorded = await rows(
        empty_database_url,
        "select migration_id, checksum from cookcam.migration_checksums order by migration_id",
    )
    assert dict(recorded) == checksums_of(MIGRATIONS)
    tables = await rows(
        empty_database_url,
        "select table_name from information_schema.tables where table_schema = 'public' order by 1",
    )
    assert {name for (name,) in tables} >= set(TABLES.split())


async def test_server_login_may_list_pending_migrations_but_not_apply_them(
    fresh_database_url: str,
) -> None:
    assert await pending(fresh_database_url) == []
    with pytest.raises(MigrationError, match="permission denied"):
        await migrate(fresh_database_url)


async def test_files_are_applied_in_the_order_of_their_names(
    empty_database_url: str, directory: Path
) -> None:
    assert await migrate(empty_database_url, directory) == [
        "20200101000000_first",
        "20200102000000_second",
    ]
    assert await rows(empty_database_url, "select n from first order by n") == [(0,), (42,)]


async def test_only_the_new_file_is_applied(empty_database_url: str, directory: Path) -> None:
    await migrate(empty_database_url, directory)
    (directory / "20200103000000_third.sql").write_text("drop table public.first;")
    assert await pending(empty_database_url, directory) == ["20200103000000_third"]
    assert await migrate(empty_database_url, directory) == ["20200103000000_third"]


async def test_many_instances_may_start_at_once(empty_database_url: str) -> None:
    applied: list[str] = []
    async with trio.open_nursery() as nursery:

        async def start() -> None:
            applied.extend(await migrate(empty_database_url))

        for _ in range(4):
            nursery.start_soon(start)
    assert sorted(applied) == ALL


async def test_failed_file_is_rolled_back_and_named(
    empty_database_url: str, directory: Path
) -> None:
    (directory / "20200103000000_third.sql").write_text(
        "create table public.third (n int);\ninsert into public.third values (1/0);"
    )
    with pytest.raises(MigrationError, match=r"20200103000000_third: division by zero"):
        await migrate(empty_database_url, directory)
    assert await pending(empty_database_url, directory) == ["20200103000000_third"]
    assert await rows(empty_database_url, "select to_regclass('public.third')") == [(None,)]
    (directory / "20200103000000_third.sql").write_text("create table public.third (n int);")
    assert await migrate(empty_database_url, directory) == ["20200103000000_third"]


async def test_killed_instance_leaves_no_changes_and_no_lock(
    empty_database_url: str, directory: Path
) -> None:
    third = directory / "20200103000000_third.sql"
    third.write_text(
        "create table public.third (n int);\ndo $$ begin perform pg_sleep(60); end $$;"
    )
    async with trio.open_nursery() as nursery:

        async def migrate_and_fail() -> None:
            with pytest.raises(MigrationError, match="20200103000000_third"):
                await migrate(empty_database_url, directory)

        nursery.start_soon(migrate_and_fail)
        asleep = (
            "select pid from pg_stat_activity where query like '%pg_sleep(60)%'"
            " and pid <> pg_backend_pid() and datname = current_database()"
        )
        with trio.fail_after(10):
            while not (found := await rows(empty_database_url, asleep)):
                await trio.sleep(0.02)
        await rows(empty_database_url, f"select pg_terminate_backend({found[0][0]})")
    third.write_text("create table public.third (n int);")
    assert await migrate(empty_database_url, directory) == ["20200103000000_third"]


async def test_cancelling_stops_between_files(empty_database_url: str, directory: Path) -> None:
    (directory / "20200103000000_third.sql").write_text("do $$ begin perform pg_sleep(0.3); end $$")
    (directory / "20200104000000_fourth.sql").write_text("create table public.fourth (n int)")
    with trio.move_on_after(0.2) as scope:
        await migrate(empty_database_url, directory)
    assert scope.cancelled_caught
    assert "20200104000000_fourth" in await pending(empty_database_url, directory)


async def test_changed_file_is_an_error(empty_database_url: str, directory: Path) -> None:
    await migrate(empty_database_url, directory)
    (directory / "20200101000000_first.sql").write_text("create table public.first (n bigint);\n")
    (directory / "20200103000000_third.sql").write_text("create table public.third (n int);")
    for operation in (migrate, pending):
        with pytest.raises(MigrationError, match=r"changed.*20200101000000_first"):
            await operation(empty_database_url, directory)
    assert await rows(empty_database_url, "select to_regclass('public.third')") == [(None,)]


async def test_line_endings_do_not_change_the_checksum(
    empty_database_url: str, directory: Path
) -> None:
    await migrate(empty_database_url, directory)
    first = directory / "20200101000000_first.sql"
    first.write_bytes(first.read_bytes().replace(b"\n", b"\r\n"))
    assert await migrate(empty_database_url, directory) == []


async def test_record_of_an_unknown_migration_is_accepted(
    empty_database_url: str, directory: Path
) -> None:
    await migrate(empty_database_url, directory)
    (directory / "20200102000000_second.sql").unlink()
    assert await pending(empty_database_url, directory) == []
    assert await migrate(empty_database_url, directory) == []


async def test_unreachable_database_is_a_migration_error() -> None:
    for operation in (migrate, pending):
        with pytest.raises(MigrationError, match="nowhere"):
            await operation("postgresql://me@/x?host=/nowhere")


def test_yoyo_is_not_imported_before_migrating() -> None:
    code = (
        "import sys, cookcam.database, cookcam.database.migrate;"
        "print([name for name in ('yoyo', 'sqlparse', 'asyncio.x') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Other servers


async def test_postgresql_16_is_supported() -> None:
    from cookcam.config import DatabaseConfig

    with private_server(version=16) as server:
        version = await rows(
            server.url, "select current_setting('server_version_num')::int / 10000"
        )
        assert version == [(16,)]
        assert await migrate(server.url) == ALL
        assert await migrate(server.url) == []
        async with Database.open(DatabaseConfig(url=Secret(server.url))) as database:
            assert await database.fetch_all_as(ANONYMOUS, dict, "select * from recipes") == []
            async with database.transaction() as tx:
                await tx.execute("insert into recipes (title, is_published) values ('Soup', true)")
            assert await database.fetch_value_as(ANONYMOUS, "select title from recipes") == "Soup"


PLATFORM_ROLES = """
    create role anon nologin noinherit;
    create role authenticated nologin noinherit;
    create role service_role nologin noinherit bypassrls;
    create role platform_auth nologin;
    create role owner login bypassrls;
    grant anon, authenticated, service_role to owner;
"""
PLATFORM_AUTH = """
    create schema auth authorization platform_auth;
    create table auth.users (
      instance_id uuid, id uuid primary key, aud varchar(255), role varchar(255),
      email varchar(255), encrypted_password varchar(255), raw_app_meta_data jsonb,
      raw_user_meta_data jsonb, is_super_admin boolean, created_at timestamptz,
      updated_at timestamptz, banned_until timestamptz, deleted_at timestamptz
    );
    alter table auth.users owner to platform_auth;
    create function auth.jwt() returns jsonb language sql stable
      as $$ select current_setting('request.jwt.claims', true)::jsonb $$;
    create function auth.uid() returns uuid language sql stable
      as $$ select (auth.jwt() ->> 'sub')::uuid $$;
    create function auth.role() returns text language sql stable
      as $$ select auth.jwt() ->> 'role' $$;
    grant usage on schema auth to owner, anon, authenticated, service_role;
    grant select, references, trigger on auth.users to owner;
    insert into auth.users (id, email)
      values ('11111111-1111-1111-1111-111111111111', 'early@example.test');
"""
AUTH = """
    select c.relname::text, c.relowner::regrole::text, array_agg(a.attname::text order by attnum)
    from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
    where c.relnamespace = 'auth'::regnamespace group by 1, 2
    union all
    select proname::text, proowner::regrole::text, array[prosrc]
    from pg_proc where pronamespace = 'auth'::regnamespace
    order by 1
"""


async def test_existing_auth_schema_is_not_changed() -> None:
    """As on Supabase: roles and the auth schema exist; the owner cannot create roles."""
    with private_server() as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(PLATFORM_ROLES)
            connection.execute("create database platform owner owner")
        admin_url = server.url.removesuffix("postgres") + "platform"
        url = admin_url.replace("postgres@", "owner@")
        with psycopg.connect(admin_url) as connection:
            connection.execute(PLATFORM_AUTH)
        before = await rows(admin_url, AUTH)
        assert await migrate(url) == ALL
        assert await rows(admin_url, AUTH) == before
        async with await connect(admin_url) as connection:
            # The platform inserts users as its own role; the trigger inserts the profile.
            await connection.execute("set role platform_auth")
            await connection.execute(
                "insert into auth.users (id, email) values (gen_random_uuid(), 'new@example.test')"
            )
        names = await rows(
            admin_url,
            "select name, current_streak from users u join user_streaks s on s.user_id = u.id"
            " order by 1",
        )
        assert names == [("early", 0), ("new", 0)]
        roles = await rows(admin_url, "select 1 from pg_roles where rolname = 'cookcam_app'")
        assert roles == []
