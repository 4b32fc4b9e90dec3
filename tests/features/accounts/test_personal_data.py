"""The table of what is held of a person, against the schema."""

from __future__ import annotations

from collections import Counter

from cookcam.features.accounts.export.service import file_name
from cookcam.features.accounts.personal_data import EXEMPT_COLUMNS, FOLDERS, PERSONAL_ROWS
from cookcam.integrations.supabase.storage import BUCKETS
from tests.features.conftest import Server

REFERENCES = """
select c.conrelid::regclass::text, a.attname, c.confdeltype::text
from pg_constraint c
join pg_attribute a on a.attrelid = c.conrelid and a.attnum = any(c.conkey)
where c.contype = 'f' and c.confrelid = 'public.users'::regclass and c.conparentid = 0"""

# Columns that name a person without a foreign key of their own.
NAMED = """
select table_name || '.' || column_name from information_schema.columns
where table_schema = 'public' and data_type = 'uuid' and table_name in (
  select table_name from information_schema.tables
  where table_schema = 'public' and table_type = 'BASE TABLE'
)
and column_name ~ '(user|creator|host|owner|author|follower|following|referrer|subscriber|tipper)'
and column_name not in ('creator_tier')"""


async def test_every_reference_to_a_person_is_held_and_dealt_with_as_written(server: Server):
    fates = {"c": "deleted", "n": "anonymised"}
    # What the foreign key would only cut loose is deleted by hand, because it is talk.
    by_hand = {("live_cooking_messages", "user_id")}
    expected = {
        (table, column): "deleted" if (table, column) in by_hand else fates[on_delete]
        for table, column, on_delete in await server.sql(REFERENCES)
    }
    held = {(h.table, h.column): h.on_deletion for h in PERSONAL_ROWS if h.table != "recipes"}
    assert held.pop(("users", "id")) == "deleted"
    assert held.pop(("recipe_previews", "user_id")) == "deleted"  # through cooking_sessions
    assert expected.pop(("recipes", "created_by")) == "anonymised"  # drafts go by a trigger
    assert held == expected


async def test_every_column_that_names_a_person_is_held_or_left_out_with_a_reason(server: Server):
    named = {row[0] for row in await server.sql(NAMED)}
    held = {f"{h.table}.{h.column}" for h in PERSONAL_ROWS}
    others = {f"{h.table}.{column}" for h in PERSONAL_ROWS for column in h.hidden}
    assert named - held - others == set(EXEMPT_COLUMNS)
    assert all(EXEMPT_COLUMNS.values())


async def test_every_hidden_column_is_one(server: Server):
    columns = {
        f"{table}.{column}"
        for table, column in await server.sql(
            "select table_name, column_name from information_schema.columns"
            " where table_schema = 'public'"
        )
    }
    assert {f"{h.table}.{column}" for h in PERSONAL_ROWS for column in h.hidden} <= columns


def test_what_is_exported_or_kept_back_has_a_file_or_a_reason_of_its_own():
    names = Counter(file_name(h) for h in PERSONAL_ROWS if h.export_exemption is None)
    assert set(names.values()) == {1}
    assert all(h.export_exemption is None or len(h.export_exemption) > 10 for h in PERSONAL_ROWS)


def test_every_bucket_has_a_folder_of_each_person():
    assert set(FOLDERS) == set(BUCKETS)
