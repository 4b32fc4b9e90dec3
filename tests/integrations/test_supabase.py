"""The Supabase Auth client against the fake server on a real port."""

from __future__ import annotations

import socket
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from uuid import uuid4

import pytest
import trio

from cookcam.config.readers import Secret
from cookcam.errors import (
    AppError,
    AuthenticationError,
    EmailNotConfirmed,
    InvalidCredentials,
    RateLimited,
    ServiceAuthError,
    ServiceUnavailable,
    TokenExpired,
)
from cookcam.integrations.retry import RetryPolicy, ServiceTimeout
from cookcam.integrations.supabase.auth_errors import AccountExists, PasswordRejected
from cookcam.integrations.supabase.client import SupabaseAuth
from cookcam.sandbox.gotrue import Failure, Gotrue
from tests.identity.project import PASSWORD, new_user, open_client, open_project, some_email


@pytest.fixture
async def gotrue(database_url: str) -> AsyncIterator[Gotrue]:
    async with open_project(database_url) as opened:
        yield opened


@pytest.fixture
async def provider(gotrue: Gotrue) -> AsyncIterator[SupabaseAuth]:
    async with open_client(gotrue) as opened:
        yield opened


async def test_account_from_sign_up_to_deletion(provider: SupabaseAuth):
    email = some_email()
    created = await provider.sign_up(email, PASSWORD, "Ann")
    assert created.session is not None
    assert created.user.email == email
    assert created.user.user_metadata["name"] == "Ann"
    assert created.user.wire["id"] == str(created.user.id)
    assert created.user.wire["aud"] == "authenticated"

    session = await provider.sign_in(email, PASSWORD)
    assert session.user.id == created.user.id
    assert session.expires_in > 0
    assert (await provider.get_user(session.access_token)).id == created.user.id

    renewed = await provider.refresh(session.refresh_token)
    assert renewed.user.id == created.user.id
    assert renewed.refresh_token != session.refresh_token

    await provider.admin_delete_user(created.user.id)
    await provider.admin_delete_user(created.user.id)
    with pytest.raises(InvalidCredentials):
        await provider.sign_in(email, PASSWORD)
    with pytest.raises(TokenExpired):
        await provider.get_user(renewed.access_token)


async def test_bad_credentials_give_the_same_error_for_every_account(
    provider: SupabaseAuth, gotrue: Gotrue
):
    ann = await new_user(gotrue)
    for email, password in ((ann.email, "wrong password"), (some_email(), PASSWORD)):
        with pytest.raises(InvalidCredentials, match="Invalid email or password"):
            await provider.sign_in(email, password)


async def test_unconfirmed_address_is_reported_only_with_the_correct_password(
    provider: SupabaseAuth, gotrue: Gotrue
):
    gotrue.behaviour.confirm_email = True
    email = some_email()
    assert (await provider.sign_up(email, PASSWORD, "Ann")).session is None
    with pytest.raises(EmailNotConfirmed):
        await provider.sign_in(email, PASSWORD)
    with pytest.raises(InvalidCredentials):
        await provider.sign_in(email, "wrong password")


async def test_second_sign_up_is_rejected(provider: SupabaseAuth, gotrue: Gotrue):
    ann = await new_user(gotrue)
    with pytest.raises(AccountExists):
        await provider.sign_up(ann.email, PASSWORD, "Ann")


async def test_providers_password_rules_hold(provider: SupabaseAuth):
    with pytest.raises(PasswordRejected):
        await provider.sign_up(some_email(), "x", "Ann")


@pytest.mark.parametrize("token", ["garbage", "a.b.c"])
async def test_invalid_tokens_are_rejected(provider: SupabaseAuth, token: str):
    with pytest.raises(AuthenticationError):
        await provider.refresh(token)
    with pytest.raises(TokenExpired):
        await provider.get_user(token)
    await provider.sign_out(token)


async def test_sign_out_ends_one_session_only(provider: SupabaseAuth, gotrue: Gotrue):
    ann = await new_user(gotrue)
    phone = await provider.sign_in(ann.email, PASSWORD)
    tablet = await provider.sign_in(ann.email, PASSWORD)
    await provider.sign_out(phone.access_token)
    await provider.sign_out(phone.access_token)
    with pytest.raises(TokenExpired):
        await provider.get_user(phone.access_token)
    with pytest.raises(AuthenticationError):
        await provider.refresh(phone.refresh_token)
    assert (await provider.get_user(tablet.access_token)).id == ann.id
    assert (await provider.refresh(tablet.refresh_token)).user.id == ann.id


async def test_interleaved_sign_ins_never_mix_identities(provider: SupabaseAuth, gotrue: Gotrue):
    people = [await new_user(gotrue, name) for name in ("Ann", "Bob", "Cid", "Dee")]

    async def live(person: int) -> None:
        user = people[person]
        session = await provider.sign_in(user.email, PASSWORD)
        for _ in range(3):
            assert session.user.id == user.id
            assert (await provider.get_user(session.access_token)).id == user.id
            session = await provider.refresh(session.refresh_token)
        await provider.sign_out(session.access_token)

    async with trio.open_nursery() as nursery:
        for person in (0, 1, 2, 3, 0, 1, 2, 3):
            nursery.start_soon(live, person)


async def test_service_key_is_used_for_deletion_only(provider: SupabaseAuth, gotrue: Gotrue):
    ann = await new_user(gotrue)
    session = await provider.sign_in(ann.email, PASSWORD)
    with pytest.raises(TokenExpired):
        await provider.get_user(gotrue.service_role_key)
    async with SupabaseAuth.open(
        supabase_url=gotrue.url,
        anon_key=Secret(gotrue.anon_key),
        service_role_key=Secret(gotrue.anon_key),
    ) as powerless:
        with pytest.raises(ServiceAuthError):
            await powerless.admin_delete_user(ann.id)
    assert (await provider.get_user(session.access_token)).id == ann.id


async def test_signing_keys_are_published(provider: SupabaseAuth):
    (key,) = await provider.signing_keys()
    assert key["kid"]
    assert "d" not in key


Operation = Callable[[SupabaseAuth], Awaitable[object]]

OPERATIONS: dict[str, Operation] = {
    "sign_up": lambda provider: provider.sign_up(some_email(), PASSWORD, "Ann"),
    "sign_in": lambda provider: provider.sign_in(some_email(), PASSWORD),
    "refresh": lambda provider: provider.refresh("some token"),
    "get_user": lambda provider: provider.get_user("some token"),
    "sign_out": lambda provider: provider.sign_out("some token"),
    "admin_delete_user": lambda provider: provider.admin_delete_user(uuid4()),
    "signing_keys": lambda provider: provider.signing_keys(),
}


async def outcomes(provider: SupabaseAuth, names: Iterable[str] = OPERATIONS) -> dict[str, str]:
    """The code of the error that each operation ends in."""
    codes: dict[str, str] = {}
    for name in names:
        try:
            await OPERATIONS[name](provider)
        except AppError as error:
            codes[name] = error.code
        else:
            codes[name] = "fine"
    return codes


def at(port: int, policy: RetryPolicy | None = None) -> AbstractAsyncContextManager[SupabaseAuth]:
    """A client of a server on a local port, optionally with short timeouts."""
    policies = {} if policy is None else {"once": policy, "read": policy}
    return SupabaseAuth.open(
        supabase_url=f"http://127.0.0.1:{port}",
        anon_key=Secret("anon"),
        service_role_key=Secret("service"),
        **policies,
    )


UNAVAILABLE = dict.fromkeys(OPERATIONS, "SERVICE_UNAVAILABLE")


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_provider_that_fails_is_unavailable(
    provider: SupabaseAuth, gotrue: Gotrue, status: int
):
    gotrue.behaviour.failure = Failure(status)
    assert await outcomes(provider) == UNAVAILABLE


async def test_rate_limit_of_the_provider_is_raised(provider: SupabaseAuth, gotrue: Gotrue):
    gotrue.behaviour.failure = Failure(429)
    assert await outcomes(provider) == dict.fromkeys(OPERATIONS, "RATE_LIMIT_ERROR")
    with pytest.raises(RateLimited) as limited:
        await provider.sign_in(some_email(), PASSWORD)
    assert limited.value.retry_after >= 1


async def test_unreachable_provider_is_unavailable():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    async with at(port) as provider:
        assert await outcomes(provider) == UNAVAILABLE


async def test_hanging_provider_times_out():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        async with at(port, RetryPolicy(deadline=0.05)) as provider:
            await provider.warm_up()
            with trio.fail_after(10):
                assert await outcomes(provider) == UNAVAILABLE


ANSWERS = {
    "no JSON": (200, b"<html>maintenance</html>"),
    "an empty object": (200, b"{}"),
    "a list": (200, b"[]"),
    "a page, not found": (404, b"<html>no such project</html>"),
    "a teapot": (418, b'{"msg": "no coffee"}'),
}


@pytest.mark.parametrize("response", ANSWERS.values(), ids=ANSWERS.keys())
async def test_malformed_response_is_a_service_error(response: tuple[int, bytes]):
    status, body = response
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"

    async def respond(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(head.encode() + body)
        await stream.aclose()

    names = ("sign_up", "sign_in", "signing_keys")
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, respond, [listener])
        async with at(listener.socket.getsockname()[1]) as provider:
            assert await outcomes(provider, names) == dict.fromkeys(names, "SERVICE_ERROR")
        nursery.cancel_scope.cancel()


async def test_rejected_api_key_is_a_service_auth_error(gotrue: Gotrue):
    names = ("sign_up", "sign_in", "refresh", "get_user", "sign_out")
    async with open_client(gotrue, anon_key="not the key") as provider:
        assert await outcomes(provider, names) == dict.fromkeys(names, "SERVICE_AUTH_ERROR")


async def test_reads_are_retried(provider: SupabaseAuth, gotrue: Gotrue):
    ann = await new_user(gotrue)
    session = await provider.sign_in(ann.email, PASSWORD)
    gotrue.behaviour.failure = Failure(503, times=2)
    assert (await provider.get_user(session.access_token)).id == ann.id
    gotrue.behaviour.failure = Failure(503, times=2)
    assert len(await provider.signing_keys()) == 1


async def test_sign_in_is_not_retried(provider: SupabaseAuth, gotrue: Gotrue):
    ann = await new_user(gotrue)
    gotrue.behaviour.failure = Failure(503, times=1)
    with pytest.raises(ServiceUnavailable):
        await provider.sign_in(ann.email, PASSWORD)
    assert gotrue.behaviour.failure is None


class TestSignUpWithLostResponse:
    async def test_lost_response_is_recovered_by_signing_in(
        self, provider: SupabaseAuth, gotrue: Gotrue
    ):
        email = some_email()
        gotrue.behaviour.failure = Failure(504, times=1, late=True)
        created = await provider.sign_up(email, PASSWORD, "Ann")
        assert created.user.email == email
        assert created.session is not None

    async def test_second_attempt_creates_the_account(self, provider: SupabaseAuth, gotrue: Gotrue):
        gotrue.behaviour.failure = Failure(504, times=1)
        assert (await provider.sign_up(some_email(), PASSWORD, "Ann")).session is not None

    async def test_existing_account_of_another_user_is_not_opened(
        self, provider: SupabaseAuth, gotrue: Gotrue
    ):
        ann = await new_user(gotrue)
        gotrue.behaviour.failure = Failure(504, times=1)
        with pytest.raises(AccountExists):
            await provider.sign_up(ann.email, "another password", "Mallory")

    async def test_sign_up_is_tried_at_most_twice(self, provider: SupabaseAuth, gotrue: Gotrue):
        gotrue.behaviour.failure = Failure(504, times=3)
        with pytest.raises(ServiceTimeout):
            await provider.sign_up(some_email(), PASSWORD, "Ann")
        assert gotrue.behaviour.failure == Failure(504, times=1)


async def test_errors_contain_no_password_and_no_token(provider: SupabaseAuth, gotrue: Gotrue):
    ann = await new_user(gotrue)
    session = await provider.sign_in(ann.email, PASSWORD)
    assert session.access_token not in repr(session)
    gotrue.behaviour.failure = Failure(500)
    for operation in (
        lambda: provider.sign_in(ann.email, PASSWORD),
        lambda: provider.get_user(session.access_token),
    ):
        with pytest.raises(AppError) as failed:
            await operation()
        shown = "".join(traceback.format_exception(failed.value))
        assert PASSWORD not in shown
        assert ann.email not in shown
        assert session.access_token not in shown
        assert failed.value.__cause__ is None
        assert failed.value.__context__ is None


def test_library_is_not_imported_before_it_is_needed():
    import subprocess

    code = "import sys, cookcam.integrations.supabase.client, cookcam.identity; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"supabase_auth", "httpx", "jwt", "cryptography", "pydantic"} & set(loaded)
