"""A fake Supabase Auth that speaks GoTrue's wire protocol.

    async with open_gotrue(database_url) as gotrue:
        ann = await gotrue.create_user("ann@example.com", "Password1!", "Ann")
        client = await acreate_client(gotrue.url, gotrue.anon_key)

It keeps its users in `auth.users` of the database it is given and its sessions in a schema of its
own, `sandbox`. Source of the protocol: the published API of Supabase Auth (GoTrue 2.x) as the
`supabase` client library uses it.
"""

from cookcam.sandbox.gotrue.server import Gotrue, Tokens, User, open_gotrue
from cookcam.sandbox.gotrue.service import Behaviour
from cookcam.sandbox.serving import Failure

__all__ = ["Behaviour", "Failure", "Gotrue", "Tokens", "User", "open_gotrue"]
