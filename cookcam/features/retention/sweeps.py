"""The table of what is deleted when. Source: `spec/database.md` §3.5.

A new row: a name, how long it is kept, and a statement that writes at most `%(batch)s` rows of
which the time is before `%(before)s` (UTC), and none of them twice. `deleting` makes it for rows
that go; where only a column goes, the statement is an update of the same shape. An index on the
condition keeps a sweep that finds nothing cheap.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, LiteralString

from attrs import frozen


@frozen
class Sweep:
    name: str
    keep: timedelta
    statement: LiteralString


def deleting(table: LiteralString, condition: LiteralString) -> LiteralString:
    """Deletes a batch of rows. Who else holds one of them keeps it until the next sweep."""
    return f"""
delete from {table} where ctid = any(array(
  select ctid from {table} where {condition} limit %(batch)s for update skip locked
))"""  # noqa: S608 - constants


SWEEPS: Final[Sequence[Sweep]] = (
    # With their messages and participants.
    Sweep(
        "ended cooking sessions",
        timedelta(days=30),
        deleting("public.live_cooking_sessions", "not is_active and ended_at < %(before)s"),
    ),
    Sweep(
        "messages of cooking sessions",
        timedelta(days=30),
        deleting("public.live_cooking_messages", "created_at < %(before)s"),
    ),
    # Who clicked is forgotten before the click is.
    Sweep(
        "visitors of affiliate links",
        timedelta(days=30),
        """
update public.affiliate_link_clicks set ip_hash = null where ctid = any(array(
  select ctid from public.affiliate_link_clicks
  where ip_hash is not null and clicked_at < %(before)s limit %(batch)s for update skip locked
))""",
    ),
    Sweep(
        "clicks on affiliate links",
        timedelta(days=400),
        deleting("public.affiliate_link_clicks", "clicked_at < %(before)s"),
    ),
)
