"""Export of a user's data (GDPR art. 20) as JSON files.

`profile.json`; one array of rows for each entry of `cookcam.features.accounts.personal_data`;
`files.json` with the URLs of photos; `about.json` with the content and what is omitted.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Iterable
from datetime import datetime
from typing import Any

from attrs import field, frozen

from cookcam.features.accounts.export.archive import Entry, zipped
from cookcam.features.accounts.export.store import ExportStore
from cookcam.features.accounts.personal_data import FOLDERS, PERSONAL_ROWS, PersonalRows
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
        """The archive, generated while it is read.

        Raises NotFound for a deleted account and ServiceUnavailable without database or storage,
        both before the first byte.
        """
        await self.profiles.of(caller)
        files = await self._files(caller)
        return zipped(self._entries(caller, files), self.now())

    async def _entries(
        self, caller: Identity, files: list[dict[str, Any]]
    ) -> AsyncGenerator[Entry]:
        yield Entry("about.json", _parts(self._about(caller)))
        yield Entry("files.json", _parts(files))
        for source in _shown():
            yield Entry(f"{file_name(source)}.json", self._rows(source, caller))

    async def _rows(self, source: PersonalRows, caller: Identity) -> AsyncGenerator[str]:
        after, between = None, "[\n"
        while rows := await self.store.page(source, caller.user_id, after):
            for row in rows:
                yield between + row.body
                between = ",\n"
            after = rows[-1].at
        yield "]\n" if between != "[\n" else "[]\n"

    async def _files(self, caller: Identity) -> list[dict[str, Any]]:
        """URLs of the caller's files; private ones are signed for an hour."""
        files: list[dict[str, Any]] = []
        for bucket, public in BUCKETS.items():
            keys = await self.storage.list(bucket, f"{FOLDERS[bucket]}/{caller.user_id}")
            signed = {} if public or not keys else await self.storage.signed_urls(bucket, keys)
            files += [
                {
                    "bucket": bucket,
                    "key": key,
                    "url": self.storage.public_url(bucket, key) if public else signed.get(key),
                    "url_good_for_seconds": None if public else SIGNED_URL_TTL,
                }
                for key in keys
            ]
        return files

    def _about(self, caller: Identity) -> dict[str, Any]:
        return {
            "user_id": str(caller.user_id),
            "made_at": self.now().isoformat(),
            "files": {
                f"{file_name(h)}.json": {"table": h.table, "rows_by": h.column} for h in _shown()
            },
            "left_out": [
                {"table": h.table, "rows_by": h.column, "reason": h.export_exemption}
                for h in PERSONAL_ROWS
                if h.export_exemption
            ],
        }


def file_name(source: PersonalRows) -> str:
    """`profile`, the table, or the table with the column."""
    if source.table == "users":
        return "profile"
    if source.table == "recipes":
        return "recipes_drafts" if source.on_deletion == "deleted" else "recipes_published"
    return source.name.replace(".", "_by_")


def _shown() -> Iterable[PersonalRows]:
    return (source for source in PERSONAL_ROWS if source.export_exemption is None)


async def _parts(value: object) -> AsyncGenerator[str]:
    yield json.dumps(value, indent=2, ensure_ascii=False) + "\n"
