"""A fake of Supabase Storage that speaks its REST protocol, with files in a directory.

    files = Files.at(home / "storage", BUCKETS)
    async with open_gotrue(url, include=partial(include_storage, files=files)) as gotrue:
        ...                                    # {gotrue.url}/storage/v1/...

It is served under the same base address and takes the same keys as the fake Supabase Auth,
as in a Supabase project. Source of the protocol: the published API of Supabase Storage as the
`storage3` client library uses it.
"""

from cookcam.sandbox.storage.files import Files
from cookcam.sandbox.storage.routes import include_storage

__all__ = ["Files", "include_storage"]
