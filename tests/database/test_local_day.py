"""Local days at every change of every clock."""

from __future__ import annotations

import importlib.resources
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import TZPATH, ZoneInfo, available_timezones

import psycopg
import pytest

from tests.support.postgres import as_owner

FROM, UNTIL = datetime(1900, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)

WRONG = """
with days as (
  select z.zone, z.at, d.*
  from unnest(%(zones)s::text[], %(moments)s::timestamptz[]) as z(zone, at)
  cross join lateral public.local_day(z.at, z.zone) as d
)
select zone, at, today, began, ends from days
where today is distinct from (at at time zone zone)::date
  or began > at or at >= ends
  or (began at time zone zone)::date is distinct from today
  or ((began - interval '1 microsecond') at time zone zone)::date >= today
  or (ends at time zone zone)::date <= today
  or ((ends - interval '1 microsecond') at time zone zone)::date is distinct from today
limit 20
"""


def transitions(zone: str) -> Iterator[int]:
    """Seconds since the epoch at which the clock of a zone changes (RFC 9636, version 2 block)."""
    path = next((Path(base, zone) for base in TZPATH if Path(base, zone).is_file()), None)
    if path is None:
        data = importlib.resources.files("tzdata.zoneinfo").joinpath(zone).read_bytes()
    else:
        data = path.read_bytes()
    header = struct.Struct(">4s1c15x6l")
    _, _, utc, std, leap, times, types, chars = header.unpack_from(data)
    second = header.size + times * 5 + types * 6 + chars + leap * 8 + std + utc
    *_, times, _, _ = header.unpack_from(data, second)
    yield from struct.unpack_from(f">{times}q", data, second + header.size)
    # What only the rule at the end of the file says.
    zoneinfo, step = ZoneInfo(zone), timedelta(days=20)
    at = datetime(2023, 1, 1, tzinfo=UTC)
    while at < datetime(2027, 1, 1, tzinfo=UTC):
        low, high = at, at + step
        if zoneinfo.utcoffset(low.astimezone(zoneinfo)) != zoneinfo.utcoffset(
            high.astimezone(zoneinfo)
        ):
            while high - low > timedelta(seconds=1):
                middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
                same = zoneinfo.utcoffset(middle.astimezone(zoneinfo)) == zoneinfo.utcoffset(
                    low.astimezone(zoneinfo)
                )
                low, high = (middle, high) if same else (low, middle)
            yield int(high.timestamp())
        at += step


def wrong_days(database_url: str, moments: dict[str, set[datetime]]) -> list[Any]:
    pairs = [(zone, at) for zone, ats in moments.items() for at in ats]
    with psycopg.connect(as_owner(database_url)) as owner:
        return owner.execute(
            WRONG, {"zones": [zone for zone, _ in pairs], "moments": [at for _, at in pairs]}
        ).fetchall()


def test_day_is_right_around_every_transition_of_every_zone(database_url: str) -> None:
    with psycopg.connect(as_owner(database_url)) as owner:
        known = {name for (name,) in owner.execute("select name from pg_timezone_names")}
    zones = sorted(known & available_timezones())
    assert len(zones) > 400
    seen: set[tuple[int, ...]] = set()
    moments: dict[str, set[datetime]] = {}
    for zone in zones:
        changes = tuple(transitions(zone))
        if changes in seen:  # another name of the same clock
            continue
        seen.add(changes)
        around = {
            datetime.fromtimestamp(change, UTC) + timedelta(seconds=seconds)
            for change in changes
            if FROM.timestamp() < change < UNTIL.timestamp()
            for seconds in (-5400, -1, 0, 1800, 5400)
        }
        moments[zone] = around
    assert sum(map(len, moments.values())) > 50_000
    wrong = wrong_days(database_url, moments)
    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.parametrize(
    ("zone", "at", "began", "ends"),
    [
        # Midnight comes twice: the day begins at the first.
        ("America/Havana", "2025-11-02T04:30Z", "2025-11-02T04:00Z", "2025-11-03T05:00Z"),
        ("America/Havana", "2025-11-02T05:30Z", "2025-11-02T04:00Z", "2025-11-03T05:00Z"),
        ("America/Havana", "2025-11-02T03:30Z", "2025-11-01T04:00Z", "2025-11-02T04:00Z"),
        ("Atlantic/Azores", "2025-10-26T00:30Z", "2025-10-26T00:00Z", "2025-10-27T01:00Z"),
        # The clock goes back across midnight: the days overlap, and each holds all of its moments.
        ("America/St_Johns", "2010-11-07T02:30Z", "2010-11-07T02:30Z", "2010-11-08T03:30Z"),
        ("America/St_Johns", "2010-11-07T03:00Z", "2010-11-06T02:30Z", "2010-11-07T03:30Z"),
        # Midnight does not come: the day begins when the clock is set forward.
        ("America/Havana", "2025-03-09T05:00Z", "2025-03-09T05:00Z", "2025-03-10T04:00Z"),
        ("Africa/Cairo", "2025-04-25T12:00Z", "2025-04-24T22:00Z", "2025-04-25T21:00Z"),
        # A day that does not come: Samoa had no 30 December 2011.
        ("Pacific/Apia", "2011-12-30T09:59Z", "2011-12-29T10:00Z", "2011-12-30T10:00Z"),
        ("UTC", "2025-01-01T00:00Z", "2025-01-01T00:00Z", "2025-01-02T00:00Z"),
        *[
            (zone, "2025-01-01T00:00Z", "2025-01-01T00:00Z", "2025-01-02T00:00Z")
            for zone in ("No/Where", "UTC+2", "UTC-14", "ABC5DEF", "<+05>-5")
        ],
    ],
)
def test_day_of_a_moment(database_url: str, zone: str, at: str, began: str, ends: str) -> None:
    with psycopg.connect(as_owner(database_url)) as owner:
        row = owner.execute(
            "select began, ends from public.local_day(%s::timestamptz, %s)", (at, zone)
        ).fetchone()
    assert row == (datetime.fromisoformat(began), datetime.fromisoformat(ends))
