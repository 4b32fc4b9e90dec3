"""A fake of Supabase's data API (PostgREST) for what the shipped app reads and writes directly.

    async with open_gotrue(url, include=partial(include_rest, database_url=url)) as gotrue:
        ...                                    # {gotrue.url}/rest/v1/...

Served are the tables and functions of `statements.py`, under the role and claims of the token: the
grants and row policies are those of the schema. Source of the protocol: the documentation of
PostgREST 12, as the `supabase-js` client uses it.
"""

from cookcam.sandbox.rest.routes import include_rest

__all__ = ["include_rest"]
