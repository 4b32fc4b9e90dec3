"""Every secret of a deployment is rotated under load, as docs/runbooks.md describes it.

Two instances under PM2 behind nginx; one client for each secret. All secrets are rotated by the
same two reloads:

    before          the old value
    first reload    the settings get the new value, or both
    overlap         callers and providers accept both; then callers use the new one
    second reload   the settings get the new value alone; providers have revoked the old one
    after           the new value
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from uuid import uuid4

import httpx
import jwt
import psycopg
import pytest
import trio
from attrs import define, field, frozen

from cookcam.sandbox.app_store import FakeAppStore, open_apple
from cookcam.sandbox.google_play import FakeGooglePlay, open_google_play
from cookcam.sandbox.google_play.keys import Keys
from cookcam.sandbox.keys import new_rsa_key
from cookcam.sandbox.stripe.outbox import signature
from tests.support.deployment import Deployment, deployed
from tests.support.key_gate import KeyGate
from tests.support.nginx import running_nginx
from tests.support.sandbox_process import SandboxProcess

pytestmark = [pytest.mark.external, pytest.mark.xdist_group("deploy")]

STAGE_TIMEOUT = 60.0
MIN_ANSWERS = 1
"""Of each client with each value in a stage that is no reload."""
PAUSE = 0.75
"""Seconds between two requests of a client."""
PLACE = "203.0.113.7"
"""The address from which a user signs in, before and after."""
CREATE_LOGIN = (
    "create role {} login noinherit in role anon, authenticated, service_role",
    "grant usage on schema cookcam to {}",
    "grant select on cookcam.migration_checksums to {}",
)
"""As in docs/runbooks.md; a password besides, where the database asks for one."""
LOGINS = ("rotation_old", "rotation_new")
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c"
    "49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
)
"""A PNG of one pixel."""


@frozen
class Pair:
    """The old and the new value of a secret."""

    old: str
    new: str

    @property
    def both(self) -> str:
        return f"{self.new},{self.old}"


@define
class Client:
    """What became of the requests of one client, which uses `value`."""

    value: str
    answered: Counter[tuple[str, str]] = field(factory=Counter[tuple[str, str]])
    """By stage and value."""
    failures: list[str] = field(factory=list[str])


@define
class Rotation:
    """`user`, `subscriber` (who generates, without a quota) and `buyer` (of the app stores) are
    ids of users."""

    sandbox: SandboxProcess
    deployment: Deployment
    http: httpx.AsyncClient
    pairs: Mapping[str, Pair]
    gates: Mapping[str, KeyGate]
    user: str
    subscriber: str
    buyer: str
    apple: FakeAppStore
    google: FakeGooglePlay
    stage: str = "before"
    clients: dict[str, Client] = field(factory=dict[str, Client])
    old_after: dict[str, int] = field(factory=dict[str, int])
    """The status of a request with the old value after the rotation, by secret."""
    notices: list[int] = field(factory=list[int])
    """Notices of sign-ins from a new place, before and after."""
    sessions: set[str] = field(factory=set[str])
    """The logins that had sessions at the database after the rotation."""

    def token(self, secret: str | None = None, *, user: str = "") -> dict[str, str]:
        """The headers of a signed-in user; `secret` signs the token."""
        claims = {
            "sub": user or self.user,
            "aud": "authenticated",
            "iss": f"{self.gates['SUPABASE_ANON_KEY'].url}/auth/v1",
            "exp": int(time.time()) + 3600,
            "role": "authenticated",
        }
        signed = jwt.encode(claims, secret or self.clients["JWT_SECRET"].value, "HS256")
        return {"Authorization": f"Bearer {signed}"}


# One request for each secret, with the value where the caller has it


async def deliver_webhook(
    rotation: Rotation, secret: str, *, connect: bool = False
) -> httpx.Response:
    event = {
        "id": f"evt_{uuid4().hex}",
        "object": "event",
        "api_version": "2025-05-28.basil",
        "created": int(time.time()),
        "livemode": False,
        "type": "charge.succeeded",
        "data": {"object": {"id": "ch_1", "object": "charge"}},
        **({"account": "acct_1"} if connect else {}),
    }
    body = json.dumps(event).encode()
    return await rotation.http.post(
        f"/api/v1/subscription/webhook/stripe{'-connect' if connect else ''}",
        content=body,
        headers={"Stripe-Signature": signature(body, [secret], int(time.time()))},
    )


async def read_metrics(rotation: Rotation, key: str) -> httpx.Response:
    """At an instance's own port; at the other one while the first does not listen."""
    first, second = rotation.deployment.ports
    headers = {"X-API-Key": key, "Connection": "close"}
    try:
        return await rotation.http.get(f"http://127.0.0.1:{first}/metrics", headers=headers)
    except httpx.ConnectError:
        return await rotation.http.get(f"http://127.0.0.1:{second}/metrics", headers=headers)


async def read_reconciliations(rotation: Rotation, key: str) -> httpx.Response:
    path = "/api/v1/reconciliation/health"
    return await rotation.http.get(path, headers={"X-API-Key": key})


async def read_profile(rotation: Rotation, secret: str) -> httpx.Response:
    path = "/api/v1/users/profile"
    return await rotation.http.get(path, headers=rotation.token(secret))


async def sign_in(rotation: Rotation, _: str) -> httpx.Response:
    return await rotation.http.post(
        "/api/v1/auth/login",
        json=rotation.sandbox.credentials,
        headers={"X-Forwarded-For": PLACE},
    )


async def upload_photo(rotation: Rotation, _: str) -> httpx.Response:
    return await rotation.http.post(
        "/api/v1/auth/profile/photo",
        content=PIXEL,
        headers={**rotation.token(), "Content-Type": "image/png"},
    )


async def begin_checkout(rotation: Rotation, _: str) -> httpx.Response:
    return await rotation.http.post(
        "/api/v1/subscription/create-checkout", json={"tier_id": 2}, headers=rotation.token()
    )


async def generate_previews(rotation: Rotation, _: str) -> httpx.Response:
    # The food is new, since a repeated request does not call the model.
    ingredients = [f"Rice {uuid4().hex[:8]}", "Tomato"]
    return await rotation.http.post(
        "/api/v1/recipes/generate-previews",
        json={"detectedIngredients": ingredients, "userPreferences": {}},
        headers=rotation.token(user=rotation.subscriber),
    )


async def search_foods(rotation: Rotation, _: str) -> httpx.Response:
    return await rotation.http.get(
        "/api/v1/ingredients/usda/search", params={"query": f"rice {uuid4().hex[:8]}"}
    )


async def list_recipes(rotation: Rotation, _: str) -> httpx.Response:
    return await rotation.http.get("/api/v1/recipes?limit=5", headers=rotation.token())


async def verify_receipt(rotation: Rotation, _: str) -> httpx.Response:
    # A new one each time, since the store is not asked about a known one.
    purchase = await rotation.apple.buy("com.cookcam.monthly")
    return await rotation.http.post(
        "/api/v1/subscription/verify-ios",
        json={"receipt": purchase.receipt},
        headers=rotation.token(user=rotation.buyer),
    )


async def verify_purchase(rotation: Rotation, _: str) -> httpx.Response:
    purchase = await rotation.google.buy("cookcam_creator_monthly")
    return await rotation.http.post(
        "/api/v1/subscription/verify-android",
        json={"purchaseToken": purchase.token},
        headers=rotation.token(user=rotation.buyer),
    )


Send = Callable[[Rotation, str], Awaitable[httpx.Response]]

OF_CALLERS: Mapping[str, Send] = {
    "STRIPE_WEBHOOK_SECRET": deliver_webhook,
    "STRIPE_CONNECT_WEBHOOK_SECRET": partial(deliver_webhook, connect=True),
    "INTERNAL_API_KEY": read_metrics,
    "OPERATIONS_API_KEY": read_reconciliations,
    "JWT_SECRET": read_profile,
}
"""Secrets that the server checks: its setting lists both during the overlap."""

OF_PROVIDERS: Mapping[str, Send] = {
    "SUPABASE_ANON_KEY": sign_in,
    "SUPABASE_SERVICE_ROLE_KEY": upload_photo,
    "STRIPE_SECRET_KEY": begin_checkout,
    "OPENAI_API_KEY": generate_previews,
    "USDA_API_KEY": search_foods,
    "APPLE_SHARED_SECRET": verify_receipt,
    "GOOGLE_SERVICE_ACCOUNT_KEY": verify_purchase,
}
"""Secrets that the server sends: the provider accepts both during the overlap."""

CLIENTS = {**OF_CALLERS, **OF_PROVIDERS, "DATABASE_URL": list_recipes}

GATED = {
    "SUPABASE_URL": ("SUPABASE_ANON_KEY", "SUPABASE_SERVICE_ROLE_KEY"),
    "STRIPE_API_BASE": ("STRIPE_SECRET_KEY",),
    "OPENAI_BASE_URL": ("OPENAI_API_KEY",),
    "USDA_API_BASE_URL": ("USDA_API_KEY",),
    "APPLE_VERIFY_RECEIPT_URL": ("APPLE_SHARED_SECRET",),
}
"""The setting of a provider's address, and the secrets that are sent there."""


def new_pairs(settings: Mapping[str, str], google: FakeGooglePlay) -> dict[str, Pair]:
    pairs = {name: Pair(uuid4().hex * 2, uuid4().hex * 2) for name in CLIENTS}
    pairs["STRIPE_SECRET_KEY"] = Pair("sk_test_" + "1" * 24, "sk_test_" + "2" * 24)
    first, second = google.keys, Keys(new_rsa_key(), google.keys.push)
    google.further_keys.append(second.account)
    pairs["GOOGLE_SERVICE_ACCOUNT_KEY"] = Pair(
        *(keys.service_account(f"{google.url}/token") for keys in (first, second))
    )
    address = settings["DATABASE_URL"]
    pairs["DATABASE_URL"] = Pair(*(address.replace("cookcam_app", login) for login in LOGINS))
    return pairs


@contextmanager
def two_logins(sandbox: SandboxProcess) -> Iterator[None]:
    """The logins of DATABASE_URL."""
    with psycopg.connect(sandbox.about["database_url"], autocommit=True) as connection:
        for login in LOGINS:
            for statement in CREATE_LOGIN:
                connection.execute(statement.format(login).encode())
    try:
        yield
    finally:
        with psycopg.connect(sandbox.about["database_url"], autocommit=True) as connection:
            for login in LOGINS:
                connection.execute(f"drop owned by {login}".encode())
                connection.execute(f"drop role {login}".encode())


@contextmanager
def subscriptions(sandbox: SandboxProcess, subscriber: str, buyer: str) -> Iterator[None]:
    """`subscriber` has one without a quota of recipes; at the end neither has any."""
    with psycopg.connect(sandbox.about["database_url"], autocommit=True) as connection:
        connection.execute(
            "insert into public.user_subscriptions (user_id, tier_id, status,"
            " current_period_start, current_period_end, provider, provider_subscription_id)"
            " values (%s, 3, 'active', now(), now() + interval '1 day', 'stripe', 'sub_rotation')",
            [subscriber],
        )
    try:
        yield
    finally:
        with psycopg.connect(sandbox.about["database_url"], autocommit=True) as connection:
            connection.execute(
                "delete from public.user_subscriptions where user_id = any(%s::uuid[])",
                [[subscriber, buyer]],
            )


@asynccontextmanager
async def open_rotation(folder: Path, sandbox: SandboxProcess) -> AsyncIterator[Rotation]:
    settings = sandbox.staging
    del settings["GOOGLE_SERVICE_ACCOUNT_KEY_FILE"]  # its text is in the other setting here
    gates = dict[str, KeyGate]()
    async with AsyncExitStack() as stack:
        apple = await stack.enter_async_context(open_apple())
        google = await stack.enter_async_context(open_google_play())
        settings |= {**apple.bindings, **google.bindings}
        pairs = new_pairs(settings, google)
        stack.enter_context(two_logins(sandbox))
        for address, names in GATED.items():
            keys = {key: settings[n] for n in names for key in (pairs[n].old, pairs[n].new)}
            gate = await stack.enter_async_context(KeyGate.open(settings[address], keys))
            gates |= dict.fromkeys(names, gate)
            settings[address] = gate.url
        settings |= {
            "ENABLE_RATE_LIMITING": "false",
            "RECONCILIATION_TIME": "off",
            **{name: pair.old for name, pair in pairs.items()},
        }
        deployment = await stack.enter_async_context(deployed(folder, settings))
        nginx = stack.enter_context(running_nginx(folder / "nginx", deployment.ports))
        http = await stack.enter_async_context(
            httpx.AsyncClient(
                base_url=nginx.url,
                verify=nginx.certificate.client_context(),
                timeout=30,
                # A kept connection may be closed while a request is sent on it.
                limits=httpx.Limits(max_keepalive_connections=0),
            )
        )
        user, subscriber, buyer = (sandbox.sign_in(n)["user"]["id"] for n in range(3))
        stack.enter_context(subscriptions(sandbox, subscriber, buyer))
        rotation = Rotation(
            sandbox,
            deployment,
            http,
            pairs,
            gates,
            user,
            subscriber,
            buyer,
            apple,
            google,
        )
        rotation.clients = {name: Client(pairs[name].old) for name in CLIENTS}
        yield rotation


async def send_requests(rotation: Rotation, secret: str) -> None:
    client = rotation.clients[secret]
    while True:
        stage, value = rotation.stage, client.value
        try:
            response = await CLIENTS[secret](rotation, value)
        except httpx.HTTPError as error:
            client.failures.append(f"{stage}: {error!r}")
        else:
            if response.status_code in (200, 201):
                client.answered[stage, value] += 1
            else:
                client.failures.append(f"{stage}: {response.status_code} {response.text[:300]}")
        await trio.sleep(PAUSE)


async def all_answered(rotation: Rotation) -> None:
    """Waits for MIN_ANSWERS of each client with its current value in the current stage."""
    with trio.fail_after(STAGE_TIMEOUT):
        while any(
            client.answered[rotation.stage, client.value] < MIN_ANSWERS
            for client in rotation.clients.values()
        ):
            failures = [line for one in rotation.clients.values() for line in one.failures]
            assert failures == [], "\n".join(failures)
            await trio.sleep(0.02)


async def reload(rotation: Rotation, settings: Mapping[str, str]) -> None:
    rotation.deployment.releases.configure("first", settings)
    done = await rotation.deployment.reload_one_by_one(ready_seconds=60)
    assert done.returncode == 0, done.stderr


def count_notices(rotation: Rotation) -> int:
    [(notices,)] = rotation.sandbox.rows(
        "select count(*) from public.notification_logs where type = 'new_sign_in'"
    )
    return notices


async def rotate_all(folder: Path, sandbox: SandboxProcess) -> Rotation:
    async with open_rotation(folder, sandbox) as rotation, trio.open_nursery() as nursery:
        pairs, clients = rotation.pairs, rotation.clients
        settings = rotation.deployment.releases.settings("first")
        for secret in CLIENTS:
            nursery.start_soon(send_requests, rotation, secret)
        await all_answered(rotation)
        rotation.notices.append(count_notices(rotation))

        rotation.stage = "first reload"
        settings |= {name: pairs[name].both for name in OF_CALLERS}
        settings |= {name: pairs[name].new for name in (*OF_PROVIDERS, "DATABASE_URL")}
        # Its hashes are recognised under both; only the first is sent.
        settings["SUPABASE_SERVICE_ROLE_KEY"] = pairs["SUPABASE_SERVICE_ROLE_KEY"].both
        await reload(rotation, settings)

        rotation.stage = "overlap"
        await all_answered(rotation)
        for name in OF_CALLERS:
            clients[name].value = pairs[name].new
        await all_answered(rotation)
        for name, gate in rotation.gates.items():
            gate.revoked.add(pairs[name].old)
        rotation.google.keys = Keys(rotation.google.further_keys.pop(), rotation.google.keys.push)
        with psycopg.connect(sandbox.about["database_url"], autocommit=True) as connection:
            connection.execute(f"alter role {LOGINS[0]} nologin".encode())

        rotation.stage = "second reload"
        settings |= {name: pairs[name].new for name in OF_CALLERS}
        await reload(rotation, settings)

        rotation.stage = "after"
        await all_answered(rotation)
        rotation.notices.append(count_notices(rotation))
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            for name, send in OF_CALLERS.items():
                rotation.old_after[name] = (await send(rotation, pairs[name].old)).status_code
            rotation.sessions = {
                login
                for (login,) in sandbox.rows("select distinct usename from pg_stat_activity")
                if login in LOGINS
            }
    return rotation


@pytest.fixture(scope="module")
def rotation(tmp_path_factory: pytest.TempPathFactory, running_sandbox: SandboxProcess) -> Rotation:
    return trio.run(rotate_all, tmp_path_factory.mktemp("rotation"), running_sandbox)


@pytest.mark.parametrize("secret", CLIENTS)
def test_no_request_fails_while_a_secret_is_rotated(rotation: Rotation, secret: str) -> None:
    client, pair = rotation.clients[secret], rotation.pairs[secret]
    assert client.failures == []
    last = pair.new if secret in OF_CALLERS else pair.old
    expected = [
        *(("before", pair.old), ("first reload", pair.old)),
        *(("overlap", pair.old), ("overlap", last)),
        *(("second reload", last), ("after", last)),
    ]
    assert {key: client.answered[key] for key in expected if not client.answered[key]} == {}


@pytest.mark.parametrize("secret", OF_CALLERS)
def test_the_old_value_is_rejected_after_the_rotation(rotation: Rotation, secret: str) -> None:
    assert rotation.old_after[secret] == (400 if "WEBHOOK" in secret else 401)


@pytest.mark.parametrize("secret", [name for names in GATED.values() for name in names])
def test_no_request_to_a_provider_has_the_revoked_key(rotation: Rotation, secret: str) -> None:
    gate, pair = rotation.gates[secret], rotation.pairs[secret]
    assert gate.rejected[pair.old] == 0
    assert min(gate.requests[pair.old], gate.requests[pair.new]) > 0


def test_sessions_of_the_database_have_the_new_login(rotation: Rotation) -> None:
    assert rotation.sessions == {LOGINS[1]}


def test_no_user_is_notified_of_a_sign_in_when_the_service_key_changes(
    rotation: Rotation,
) -> None:
    before, after = rotation.notices
    assert after == before
