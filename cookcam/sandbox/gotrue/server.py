"""The fake server on a listener, and the object through which tests control it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from attrs import field, frozen
from quart_trio import QuartTrio

from cookcam.sandbox.gotrue import shapes
from cookcam.sandbox.gotrue.keys import SigningKey
from cookcam.sandbox.gotrue.routes import create_app
from cookcam.sandbox.gotrue.service import Auth, Behaviour, Mail
from cookcam.sandbox.gotrue.store import Store
from cookcam.sandbox.serving import Listener


@frozen
class User:
    """A user of the fake, with the password."""

    id: UUID
    email: str
    password: str = field(repr=False)
    name: str
    role: str | None = None


@frozen
class Tokens:
    """A user's session."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)


@frozen
class Gotrue:
    """A running fake: `url` is what `SUPABASE_URL` has to be, the keys go with it."""

    url: str
    anon_key: str = field(repr=False)
    service_role_key: str = field(repr=False)
    behaviour: Behaviour
    _auth: Auth = field(alias="auth", repr=False)

    @property
    def issuer(self) -> str:
        return self._auth.issuer

    @property
    def mails(self) -> list[Mail]:
        """The mails it would have sent, oldest first."""
        return self._auth.mails

    def issue_token(self, user: User | UUID | str, **claims: Any) -> str:
        """An access token as the fake would sign it, without a session behind it.

        `claims` replace the usual ones; None removes one. `GET /user` refuses such a token
        (`session_not_found`), as it does after a logout.
        """
        extra: dict[str, Any] = {"session_id": str(uuid4())}
        if isinstance(user, User):
            extra |= {
                "email": user.email,
                "user_metadata": {"name": user.name},
                "app_metadata": {"role": user.role} if user.role else {},
            }
            user = user.id
        basic = shapes.basic_claims(
            UUID(str(user)), self._auth.issuer, self.behaviour.token_lifetime
        )
        merged = {**basic, **extra, **claims}
        return self._auth.key.sign({k: v for k, v in merged.items() if v is not None})

    def issue_api_key(self, role: str) -> str:
        """Another key of the project, with the rights of `role`. Earlier ones stay valid."""
        return self._auth.key.api_key(role)

    async def create_user(
        self, email: str, password: str, name: str, role: str | None = None
    ) -> User:
        """A confirmed user; `role="admin"` makes an administrator (`app_metadata.role`).

        Raises AuthFault when the address is taken.
        """
        row = await self._auth.create_user(
            email,
            password,
            {"name": name},
            {"role": role} if role else {},
            confirmed=True,
        )
        return User(row.id, row.email or email, password, name, role)

    async def follow(self, mail: Mail) -> Tokens:
        """The session that the link of a mail opens."""
        answer = await self._auth.verify(mail.token)
        return Tokens(answer["access_token"], answer["refresh_token"])

    async def sign_in(self, user: User) -> Tokens:
        """A real session of `user`."""
        answer = await self._auth.sign_in(user.email, user.password)
        return Tokens(answer["access_token"], answer["refresh_token"])


@asynccontextmanager
async def open_gotrue(
    database_url: str,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    key_file: Path | None = None,
    behaviour: Behaviour | None = None,
    include: Callable[[QuartTrio, SigningKey], None] | None = None,
) -> AsyncGenerator[Gotrue]:
    """Serve the fake until the block ends; it is ready when the block begins.

    `database_url` must be of a role that owns `auth.users` (the role of the migrations), and the
    migrations must have run. Port 0 takes a free one. Without `key_file` the signing key lives
    as long as the block. `include` adds the routes of a project's other services under the same
    address; it gets the app, and the key that signed the project's keys. Raises OSError when the
    port is taken, psycopg.Error when the database cannot be used.
    """
    behaviour = behaviour or Behaviour()
    key = SigningKey.kept_in(key_file) if key_file else SigningKey.generate()
    async with aclosing(Store(database_url)) as store:
        await store.create_schema()
        listener = Listener.open(host, port)
        auth = Auth(store, key, f"{listener.url}/auth/v1", behaviour)
        app = create_app(auth)
        if include is not None:
            include(app, key)
        anon, service = key.api_key("anon"), key.api_key("service_role")
        async with listener.serving(app):
            yield Gotrue(listener.url, anon, service, behaviour, auth)
