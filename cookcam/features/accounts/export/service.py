"""Everything we hold of a person (GDPR art. 20), as files of JSON.

`profile.json` and one file for each of `cookcam.features.accounts.personal_data`, an array of rows;
`files.json`, where photographs can be had; `about.json`, what is what and what is left out.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Iterable
from datetime import datetime
from typing import Any

from attrs import field, frozen

from cookcam.features.accounts.export.archive import Entry, zipped
from cookcam.features.accounts.export.store import ExportStore
from cookcam.features.accounts.personal_data import FOLDERS, HOLDINGS, Holding
from cookcam.features.accounts.service import Profiles
from cookcam.identity import Identity
from cookcam.integrations.supabase.storage import BUCKETS, SIGNED_URL_TTL, Storage


@frozen
class Export:
    store: ExportStore
    profiles: Profiles
    storage: Storage
    now: Callable[[], datetime] = field(repr=False)

    async def open(self, caller: Identity) -> AsyncGenerator[bytes]:
        """The archive, made while it is read.

        Raises NotFound when the account is gone, and ServiceUnavailable when database or storage
        are away: before the first byte, so that it can still be said.
        """
        await self.profiles.of(caller)
        files = await self._files(caller)
        return zipped(self._entries(caller, files), self.now())

    async def _entries(
        self, caller: Identity, files: list[dict[str, Any]]
    ) -> AsyncGenerator[Entry]:
        yield Entry("about.json", _parts(self._about(caller)))
        yield Entry("files.json", _parts(files))
        for holding in _shown():
            yield Entry(f"{file_name(holding)}.json", self._rows(holding, caller))

    async def _rows(self, holding: Holding, caller: Identity) -> AsyncGenerator[str]:
        after, between = None, "[\n"
        while rows := await self.store.page(holding, caller.user_id, after):
            for row in rows:
                yield between + row.body
                between = ",\n"
            after = rows[-1].at
        yield "]\n" if between != "[\n" else "[]\n"

    async def _files(self, caller: Identity) -> list[dict[str, Any]]:
        """Private ones with a link that is good for an hour."""
        found: list[dict[str, Any]] = []
        for bucket, public in BUCKETS.items():
            keys = await self.storage.list(bucket, f"{FOLDERS[bucket]}/{caller.user_id}")
            signed = {} if public or not keys else await self.storage.signed_urls(bucket, keys)
            found += [
                {
                    "bucket": bucket,
                    "key": key,
                    "url": self.storage.public_url(bucket, key) if public else signed.get(key),
                    "url_good_for_seconds": None if public else SIGNED_URL_TTL,
                }
                for key in keys
            ]
        return found

    def _about(self, caller: Identity) -> dict[str, Any]:
        return {
            "user_id": str(caller.user_id),
            "made_at": self.now().isoformat(),
            "files": {
                f"{file_name(h)}.json": {"table": h.table, "rows_by": h.column} for h in _shown()
            },
            "left_out": [
                {"table": h.table, "rows_by": h.column, "reason": h.kept_back}
                for h in HOLDINGS
                if h.kept_back
            ],
        }


def file_name(holding: Holding) -> str:
    """`profile`, the table, or the table with whose part it is."""
    if holding.table == "users":
        return "profile"
    if holding.table == "recipes":
        return "recipes_drafts" if holding.fate == "deleted" else "recipes_published"
    return holding.name.replace(".", "_by_")


def _shown() -> Iterable[Holding]:
    return (holding for holding in HOLDINGS if holding.kept_back is None)


async def _parts(value: object) -> AsyncGenerator[str]:
    yield json.dumps(value, indent=2, ensure_ascii=False) + "\n"
