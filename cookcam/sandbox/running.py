"""The sandbox as a whole: database, migrations, fakes, demo data, and the files about them."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from attrs import asdict, frozen
from quart_trio import QuartTrio

from cookcam.database.migrate import migrate
from cookcam.integrations.supabase.storage import BUCKETS
from cookcam.sandbox import home as sandbox_home
from cookcam.sandbox.app_store import FakeAppStore, open_apple
from cookcam.sandbox.google_play import FakeGooglePlay, open_google_play
from cookcam.sandbox.gotrue import Gotrue, open_gotrue
from cookcam.sandbox.gotrue.keys import SigningKey
from cookcam.sandbox.home import free_port, reachable_host
from cookcam.sandbox.mail import FakeMail, open_mail
from cookcam.sandbox.openai import FakeOpenAI, open_openai
from cookcam.sandbox.postgres import APP, OWNER, Postgres, open_postgres
from cookcam.sandbox.push import FakePush, open_push
from cookcam.sandbox.rest import include_rest
from cookcam.sandbox.seed import DemoUser, seed
from cookcam.sandbox.storage import Files, include_storage
from cookcam.sandbox.stripe import (
    CONNECT_WEBHOOK_SECRET,
    WEBHOOK_SECRET,
    Endpoint,
    FakeStripe,
    open_stripe,
)
from cookcam.sandbox.usda import FakeUsda, open_usda

AUTH_PORT, OPENAI_PORT, USDA_PORT, STRIPE_PORT = 100, 110, 120, 130
APPLE_PORT, GOOGLE_PLAY_PORT, PUSH_PORT = 140, 150, 160
MAIL_PORT, SMTP_PORT = 170, 171
"""How far above the API's port each fake listens, clear of the ports of PM2's instances."""

APPLE_ROOT, APPLE_KEY, GOOGLE_KEY = "apple-root.der", "apple-key.p8", "google-account.json"
FIREBASE_KEY, APNS_KEY = "firebase-account.json", "apns-key.p8"
"""Files of the home: the root of the App Store's signatures, and the keys of the providers."""

WEBHOOKS = "/api/v1/subscription/webhook"
"""Where the server takes Stripe's events and the notifications of the stores."""


@frozen
class Sandbox:
    """The running servers and the settings that connect CookCam to them."""

    home: Path
    base_url: str
    postgres: Postgres
    gotrue: Gotrue
    openai: FakeOpenAI
    usda: FakeUsda
    stripe: FakeStripe
    apple: FakeAppStore
    google_play: FakeGooglePlay
    push: FakePush
    mail: FakeMail
    users: list[DemoUser]
    migrated: list[str]

    @property
    def bindings(self) -> dict[str, str]:
        """The settings that tie a server to this sandbox, by variable."""
        return {
            "DATABASE_URL": self.postgres.url(APP),
            "MIGRATION_DATABASE_URL": self.postgres.url(OWNER),
            "POSTGRES_TOOLS_DIRECTORY": str(self.postgres.binaries),
            "SUPABASE_URL": self.gotrue.url,
            "SUPABASE_ANON_KEY": self.gotrue.anon_key,
            "SUPABASE_SERVICE_ROLE_KEY": self.gotrue.service_role_key,
            "OPENAI_API_KEY": self.openai.key,
            "OPENAI_BASE_URL": self.openai.url,
            "USDA_API_KEY": self.usda.api_key,
            "USDA_API_BASE_URL": self.usda.url,
            "STRIPE_SECRET_KEY": self.stripe.key,
            "STRIPE_API_BASE": self.stripe.url,
            "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "STRIPE_CONNECT_WEBHOOK_SECRET": CONNECT_WEBHOOK_SECRET,
            **self.apple.bindings,
            **self.google_play.bindings,
            **self.push.bindings,
            **self.mail.bindings,
            # What does not fit on a line is in files.
            "APPLE_ROOT_CERTIFICATES": str(self.home / APPLE_ROOT),
            "APPLE_API_PRIVATE_KEY": str(self.home / APPLE_KEY),
            "GOOGLE_SERVICE_ACCOUNT_KEY_FILE": str(self.home / GOOGLE_KEY),
            "FCM_SERVICE_ACCOUNT_KEY": str(self.home / FIREBASE_KEY),
            "APNS_PRIVATE_KEY": str(self.home / APNS_KEY),
            "IAP_ALLOW_SANDBOX": "true",
            "API_BASE_URL": self.base_url,
            "APP_BASE_URL": self.base_url,  # links stay on this machine
        }


DEFAULTS: Mapping[str, str] = {
    "APP_ENV": "development",
}
"""Settings the sandbox brings and the environment may replace."""


@asynccontextmanager
async def open_sandbox(home: Path, port: int, host: str = "127.0.0.1") -> AsyncGenerator[Sandbox]:
    """Run the database and the providers' local servers until the block ends.

    `host` and `port` are where the API will listen (port 0: a free one); nothing here listens on
    that port. With another host than the loopback the local servers listen on the address under
    which other devices of the network find this machine, and every URL names it.
    When the block begins, `home/sandbox.env` and `home/sandbox.json` exist; the second is removed
    when the block ends. Raises SandboxError with a message for the user.
    """
    host = reachable_host(host)
    port = port or free_port(host=host)
    base_url = f"http://{host}:{port}"

    def address(offset: int) -> dict[str, Any]:
        return {"host": host, "port": free_port(port + offset, host)}

    with sandbox_home.owned(home) as home:
        announcement = home / "sandbox.json"
        announcement.unlink(missing_ok=True)  # of a run that was killed
        async with open_postgres(home / "postgres") as postgres:
            owner_url = postgres.url(OWNER)
            migrated = await migrate(owner_url)
            async with (
                open_gotrue(
                    owner_url,
                    **address(AUTH_PORT),
                    key_file=home / "auth-key.pem",
                    include=partial(_include_project, home=home, database_url=owner_url),
                ) as gotrue,
                open_openai(**address(OPENAI_PORT)) as openai,
                open_usda(**address(USDA_PORT)) as usda,
                open_stripe(
                    **address(STRIPE_PORT),
                    endpoints=_stripe_endpoints(base_url),
                    state=home / "stripe.sqlite",
                ) as stripe,
                open_apple(
                    **address(APPLE_PORT),
                    endpoint=f"{base_url}{WEBHOOKS}/apple",
                ) as apple,
                open_google_play(
                    **address(GOOGLE_PLAY_PORT),
                    endpoint=f"{base_url}{WEBHOOKS}/google",
                ) as google_play,
                open_push(**address(PUSH_PORT)) as push,
                open_mail(
                    **address(MAIL_PORT), smtp_port=free_port(port + SMTP_PORT, host)
                ) as mail,
            ):
                (home / APPLE_ROOT).write_bytes(apple.authority.root)
                sandbox_home.write_secret(home / APPLE_KEY, apple.private_key)
                sandbox_home.write_secret(home / GOOGLE_KEY, google_play.service_account)
                sandbox_home.write_secret(home / FIREBASE_KEY, push.service_account)
                sandbox_home.write_secret(home / APNS_KEY, push.keys.p8)
                users = await seed(gotrue, owner_url)
                sandbox = Sandbox(
                    home,
                    base_url,
                    *(postgres, gotrue, openai, usda, stripe, apple, google_play, push, mail),
                    users,
                    migrated,
                )
                sandbox_home.write_env(
                    home / "sandbox.env", {**DEFAULTS, "PORT": str(port), **sandbox.bindings}
                )
                sandbox_home.write_json(announcement, _announced(sandbox))
                try:
                    yield sandbox
                finally:
                    announcement.unlink(missing_ok=True)


def _stripe_endpoints(base_url: str) -> list[Endpoint]:
    webhooks = base_url + WEBHOOKS
    return [
        Endpoint(f"{webhooks}/stripe", [WEBHOOK_SECRET]),
        Endpoint(f"{webhooks}/stripe-connect", [CONNECT_WEBHOOK_SECRET], connect=True),
    ]


def _announced(sandbox: Sandbox) -> dict[str, object]:
    return {
        "pid": os.getpid(),
        "base_url": sandbox.base_url,
        # The owner's login, for looking at everything; the server's own is in sandbox.env.
        "database_url": sandbox.postgres.url(OWNER),
        "supabase_url": sandbox.gotrue.url,
        "openai_url": sandbox.openai.url,
        "usda_url": sandbox.usda.url,
        "stripe_url": sandbox.stripe.url,
        "apple_url": sandbox.apple.url,
        "google_play_url": sandbox.google_play.url,
        "push_url": sandbox.push.url,
        "mail_url": sandbox.mail.url,
        "demo_users": [asdict(user) for user in sandbox.users],
        "env_file": str(sandbox.home / "sandbox.env"),
        "postgres": sandbox.postgres.as_announcement(),
    }


def _include_project(app: QuartTrio, key: SigningKey, *, home: Path, database_url: str) -> None:
    """The services of a Supabase project besides Auth: Storage and the data API."""
    include_storage(app, key, files=Files.at(home / "storage", BUCKETS))
    include_rest(app, key, database_url=database_url)
