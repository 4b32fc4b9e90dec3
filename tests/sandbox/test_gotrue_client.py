"""The fake Supabase Auth, as the real client library sees it."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID, uuid4

import jwt
import psycopg
import pytest
import trio
from supabase_auth import AsyncGoTrueClient
from supabase_auth.errors import (
    AuthApiError,
    AuthError,
    AuthInvalidJwtError,
    AuthRetryableError,
    AuthWeakPasswordError,
)
from supabase_auth.types import AuthResponse, Session, SignInWithEmailAndPasswordCredentials

from cookcam.sandbox.gotrue import Failure, Gotrue
from tests.sandbox.conftest import PASSWORD, client_of
from tests.support.postgres import as_owner


async def signed_up(client: AsyncGoTrueClient, address: str, name: str = "Ann") -> Session:
    response = await client.sign_up(
        {"email": address, "password": PASSWORD, "options": {"data": {"name": name}}}
    )
    assert response.session is not None
    return response.session


async def error_of(call: object) -> tuple[int, str | None, str]:
    """Status, code and message of an error."""
    with pytest.raises(AuthApiError) as caught:
        await call  # type: ignore[misc]
    return caught.value.status, caught.value.code, caught.value.message


async def test_sign_up_opens_a_session_and_makes_the_profile(
    client: AsyncGoTrueClient, address: str, database_url: str
):
    session = await signed_up(client, address.upper())
    user = session.user
    assert session.token_type == "bearer"
    assert session.expires_in == 3600
    assert (user.email, user.aud, user.role) == (address, "authenticated", "authenticated")
    assert user.user_metadata == {"name": "Ann"}
    assert user.app_metadata == {"provider": "email", "providers": ["email"]}
    assert user.email_confirmed_at is not None
    assert user.identities is not None
    assert user.identities[0].provider == "email"
    with psycopg.connect(as_owner(database_url)) as connection:
        row = connection.execute(
            "select name, email, level from public.users where id = %s", (user.id,)
        ).fetchone()
    assert row == ("Ann", address, 1)


async def test_an_access_token_carries_the_claims_the_server_reads(
    client: AsyncGoTrueClient, gotrue: Gotrue, address: str
):
    session = await signed_up(client, address)
    verified = await client.get_claims(session.access_token)
    assert verified is not None
    claims = verified["claims"]
    assert verified["headers"]["alg"] == "ES256"
    assert claims["iss"] == gotrue.issuer == f"{gotrue.url}/auth/v1"
    assert claims["aud"] == "authenticated"
    assert claims["role"] == "authenticated"
    assert claims["sub"] == session.user.id
    assert claims["email"] == address
    assert claims["aal"] == "aal1"
    assert claims["amr"][0]["method"] == "password"
    assert claims["exp"] == session.expires_at == claims["iat"] + 3600
    assert UUID(claims["session_id"])


async def test_a_token_of_another_key_is_not_verified_by_the_published_keys(
    client: AsyncGoTrueClient, gotrue: Gotrue, address: str
):
    session = await signed_up(client, address)
    head, payload, signature = session.access_token.split(".")
    forged = f"{head}.{payload}.{signature[:-8]}AAAAAAAA"
    with pytest.raises(AuthInvalidJwtError):
        await client.get_claims(forged)


async def test_a_password_opens_a_session_of_its_own(client: AsyncGoTrueClient, address: str):
    first = await signed_up(client, address)
    response = await client.sign_in_with_password({"email": address.title(), "password": PASSWORD})
    assert response.session is not None
    assert response.session.user.id == first.user.id
    assert response.session.refresh_token != first.refresh_token
    assert response.session.user.last_sign_in_at is not None


async def test_a_wrong_password_and_an_unknown_address_look_the_same(
    client: AsyncGoTrueClient, address: str
):
    await signed_up(client, address)
    wrong = client.sign_in_with_password({"email": address, "password": "Wrong-1-again"})
    unknown = client.sign_in_with_password({"email": "x" + address, "password": PASSWORD})
    expected = (400, "invalid_credentials", "Invalid login credentials")
    assert await error_of(wrong) == await error_of(unknown) == expected


async def test_an_address_signs_up_once(client: AsyncGoTrueClient, address: str):
    await signed_up(client, address)
    again = client.sign_up({"email": address, "password": PASSWORD})
    assert await error_of(again) == (422, "user_already_exists", "User already registered")


async def test_concurrent_sign_ups_create_one_user(gotrue: Gotrue, address: str):
    results: list[str] = []

    async def sign_up() -> None:
        try:
            async with client_of(gotrue, gotrue.anon_key) as own:
                await own.sign_up({"email": address, "password": PASSWORD})
            results.append("made")
        except AuthApiError as error:
            results.append(str(error.code))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(sign_up)
    assert sorted(results) == ["made", *["user_already_exists"] * 4]


async def test_invalid_sign_ups_are_rejected(client: AsyncGoTrueClient, address: str):
    assert await error_of(client.sign_up({"email": "nobody", "password": PASSWORD})) == (
        400,
        "validation_failed",
        "Unable to validate email address: invalid format",
    )
    with pytest.raises(AuthWeakPasswordError) as weak:
        await client.sign_up({"email": address, "password": "short"})
    assert (weak.value.status, weak.value.reasons) == (422, ["length"])
    too_long = client.sign_up({"email": address, "password": "x" * 73})
    assert (await error_of(too_long))[:2] == (400, "validation_failed")
    assert (await error_of(client.sign_in_anonymously()))[1] == "anonymous_provider_disabled"


async def test_confirmation_makes_a_user_without_a_session(
    client: AsyncGoTrueClient, gotrue: Gotrue, address: str
):
    gotrue.behaviour.confirm_email = True
    credentials = {"email": address, "password": PASSWORD}
    made = await client.sign_up(credentials)
    assert made.session is None
    assert made.user is not None
    assert made.user.email_confirmed_at is None
    assert made.user.confirmation_sent_at is not None
    assert (await error_of(client.sign_in_with_password(credentials)))[1] == "email_not_confirmed"
    wrong = client.sign_in_with_password({"email": address, "password": "Wrong-1-again"})
    assert (await error_of(wrong))[1] == "invalid_credentials"


async def test_confirmation_hides_that_an_address_is_taken(
    client: AsyncGoTrueClient, gotrue: Gotrue, address: str
):
    existing = await signed_up(client, address)
    gotrue.behaviour.confirm_email = True
    response = await client.sign_up({"email": address, "password": PASSWORD})
    assert response.user is not None
    assert response.user.id != existing.user.id
    assert response.user.identities == []


async def test_the_user_of_a_token(client: AsyncGoTrueClient, address: str):
    session = await signed_up(client, address)
    response = await client.get_user(session.access_token)
    assert response is not None
    assert response.user.id == session.user.id
    assert response.user.user_metadata == {"name": "Ann"}


async def test_invalid_tokens_are_rejected(client: AsyncGoTrueClient, gotrue: Gotrue, address: str):
    user = await gotrue.create_user(address, PASSWORD, "Ann")
    expired = gotrue.issue_token(user, exp=int(time.time()) - 1)
    assert (await error_of(client.get_user(expired)))[:2] == (403, "bad_jwt")
    assert (await error_of(client.get_user("not.a.token")))[:2] == (403, "bad_jwt")
    stranger = gotrue.issue_token(uuid4())
    assert (await error_of(client.get_user(stranger)))[:2] == (403, "user_not_found")
    no_session = gotrue.issue_token(user)
    assert (await error_of(client.get_user(no_session)))[:2] == (403, "session_not_found")
    assert (await error_of(client.get_user(gotrue.anon_key)))[:2] == (403, "bad_jwt")


async def test_a_refresh_token_is_exchanged_for_the_next(client: AsyncGoTrueClient, address: str):
    first = await signed_up(client, address)
    second = (await client.refresh_session(first.refresh_token)).session
    assert second is not None
    third = (await client.refresh_session(second.refresh_token)).session
    assert third is not None
    assert len({first.refresh_token, second.refresh_token, third.refresh_token}) == 3
    sessions = {session_of(s.access_token) for s in (first, second, third)}
    assert len(sessions) == 1
    assert third.user.id == first.user.id


async def test_a_refresh_can_be_repeated_after_a_lost_response(
    client: AsyncGoTrueClient, gotrue: Gotrue, address: str
):
    gotrue.behaviour.reuse_interval = 0
    first = await signed_up(client, address)
    second = (await client.refresh_session(first.refresh_token)).session
    again = (await client.refresh_session(first.refresh_token)).session
    assert second is not None
    assert again is not None
    assert again.refresh_token == second.refresh_token


async def test_a_stolen_refresh_token_ends_the_session(
    client: AsyncGoTrueClient, gotrue: Gotrue, address: str
):
    gotrue.behaviour.reuse_interval = 0
    first = await signed_up(client, address)
    second = (await client.refresh_session(first.refresh_token)).session
    assert second is not None
    third = (await client.refresh_session(second.refresh_token)).session
    assert third is not None
    used = (400, "refresh_token_already_used", "Invalid Refresh Token: Already Used")
    assert await error_of(client.refresh_session(first.refresh_token)) == used
    assert await error_of(client.refresh_session(third.refresh_token)) == used


async def test_reuse_within_the_interval_is_allowed(client: AsyncGoTrueClient, address: str):
    first = await signed_up(client, address)
    second = (await client.refresh_session(first.refresh_token)).session
    assert second is not None
    await client.refresh_session(second.refresh_token)
    late = (await client.refresh_session(first.refresh_token)).session
    assert late is not None


async def test_parallel_refreshes_all_end_with_a_good_session(gotrue: Gotrue, address: str):
    user = await gotrue.create_user(address, PASSWORD, "Ann")
    tokens = await gotrue.sign_in(user)
    successors: list[str] = []

    async def refresh() -> None:
        async with client_of(gotrue, gotrue.anon_key) as own:
            session = (await own.refresh_session(tokens.refresh_token)).session
            assert session is not None
            successors.append(session.refresh_token)

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(refresh)
    assert len(successors) == 4
    assert len(set(successors)) == 1


async def test_an_unknown_refresh_token(client: AsyncGoTrueClient):
    assert await error_of(client.refresh_session("nonsense")) == (
        400,
        "refresh_token_not_found",
        "Invalid Refresh Token: Refresh Token Not Found",
    )


@pytest.mark.parametrize(
    ("scope", "left"), [("local", {"other"}), ("others", {"own"}), ("global", set[str]())]
)
async def test_logout_ends_the_sessions_of_its_scope(
    client: AsyncGoTrueClient, gotrue: Gotrue, address: str, scope: str, left: set[str]
):
    user = await gotrue.create_user(address, PASSWORD, "Ann")
    tokens = {"own": await gotrue.sign_in(user), "other": await gotrue.sign_in(user)}
    await client.admin.sign_out(tokens["own"].access_token, scope)  # type: ignore[arg-type]
    for name in left:
        assert await client.get_user(tokens[name].access_token) is not None
        await client.refresh_session(tokens[name].refresh_token)
    for name in set(tokens) - left:
        ended = client.get_user(tokens[name].access_token)
        assert (await error_of(ended))[:2] == (403, "session_not_found")
        unusable = client.refresh_session(tokens[name].refresh_token)
        assert (await error_of(unusable))[1] == "refresh_token_not_found"


async def test_second_sign_out_reports_that_the_session_has_ended(
    client: AsyncGoTrueClient, gotrue: Gotrue, address: str
):
    tokens = await gotrue.sign_in(await gotrue.create_user(address, PASSWORD, "Ann"))
    await client.admin.sign_out(tokens.access_token, "local")
    again = client.admin.sign_out(tokens.access_token, "local")
    assert (await error_of(again))[:2] == (403, "session_not_found")


async def test_deleting_a_user_deletes_their_data(
    client: AsyncGoTrueClient,
    admin: AsyncGoTrueClient,
    gotrue: Gotrue,
    address: str,
    database_url: str,
):
    user = await gotrue.create_user(address, PASSWORD, "Ann")
    tokens = await gotrue.sign_in(user)
    await admin.admin.delete_user(str(user.id))
    assert (await error_of(client.get_user(tokens.access_token)))[1] == "user_not_found"
    gone = client.refresh_session(tokens.refresh_token)
    assert (await error_of(gone))[1] == "refresh_token_not_found"
    with psycopg.connect(as_owner(database_url)) as connection:
        row = connection.execute(
            "select count(*) from public.users where id = %s", (user.id,)
        ).fetchone()
    assert row == (0,)
    again = admin.admin.delete_user(str(user.id))
    assert await error_of(again) == (404, "user_not_found", "User not found")


async def test_only_the_service_key_administers(
    client: AsyncGoTrueClient, gotrue: Gotrue, address: str
):
    user = await gotrue.create_user(address, PASSWORD, "Root", role="admin")
    rejection = (403, "not_admin", "User not allowed")
    assert await error_of(client.admin.delete_user(str(user.id))) == rejection
    assert await error_of(client.admin.create_user({"email": "a@b.example"})) == rejection


async def test_rights_come_from_the_service_key_alone(
    client: AsyncGoTrueClient, admin: AsyncGoTrueClient, address: str
):
    made = await admin.admin.create_user(
        {
            "email": address,
            "password": PASSWORD,
            "email_confirm": True,
            "user_metadata": {"name": "Root"},
            "app_metadata": {"role": "admin"},
        }
    )
    assert made.user.app_metadata["role"] == "admin"
    response = await client.sign_in_with_password({"email": address, "password": PASSWORD})
    assert response.session is not None
    claims = jwt.decode(response.session.access_token, options={"verify_signature": False})
    assert claims["app_metadata"]["role"] == "admin"
    taken = admin.admin.create_user({"email": address, "password": PASSWORD})
    assert (await error_of(taken))[:2] == (422, "email_exists")


async def test_ban_and_unban(
    client: AsyncGoTrueClient, admin: AsyncGoTrueClient, gotrue: Gotrue, address: str
):
    user = await gotrue.create_user(address, PASSWORD, "Ann")
    tokens = await gotrue.sign_in(user)
    credentials: SignInWithEmailAndPasswordCredentials = {"email": address, "password": PASSWORD}
    await admin.admin.update_user_by_id(str(user.id), {"ban_duration": "1h30m"})
    sign_in = client.sign_in_with_password(credentials)
    assert await error_of(sign_in) == (400, "user_banned", "User is banned")
    assert (await error_of(client.get_user(tokens.access_token)))[:2] == (403, "user_banned")
    assert (await error_of(client.refresh_session(tokens.refresh_token)))[1] == "user_banned"
    malformed = admin.admin.update_user_by_id(str(user.id), {"ban_duration": "for ever"})
    assert (await error_of(malformed))[:2] == (400, "validation_failed")
    await admin.admin.update_user_by_id(str(user.id), {"ban_duration": "none"})
    assert (await client.sign_in_with_password(credentials)).session is not None


@pytest.mark.parametrize(
    ("status", "kind"), [(500, AuthApiError), (429, AuthApiError), (503, AuthRetryableError)]
)
async def test_staged_failures(
    client: AsyncGoTrueClient, gotrue: Gotrue, address: str, status: int, kind: type[AuthError]
):
    gotrue.behaviour.failure = Failure(status, times=1)
    with pytest.raises(kind) as caught:
        await client.sign_in_with_password({"email": address, "password": PASSWORD})
    assert caught.value.status == status  # type: ignore[attr-defined]
    assert gotrue.behaviour.failure is None


async def test_a_late_failure_loses_the_response_and_not_the_work(
    client: AsyncGoTrueClient, gotrue: Gotrue, address: str
):
    gotrue.behaviour.failure = Failure(504, times=1, late=True)
    with pytest.raises(AuthRetryableError):
        await client.sign_up({"email": address, "password": PASSWORD})
    response = await client.sign_in_with_password({"email": address, "password": PASSWORD})
    assert response.session is not None


async def test_the_lifetime_of_tokens_can_be_short(
    client: AsyncGoTrueClient, gotrue: Gotrue, address: str
):
    gotrue.behaviour.token_lifetime = 5
    session = await signed_up(client, address)
    assert session.expires_in == 5


def session_of(access_token: str) -> str:
    return jwt.decode(access_token, options={"verify_signature": False})["session_id"]


async def test_password_recovery_by_mail(client: AsyncGoTrueClient, gotrue: Gotrue, address: str):
    await signed_up(client, address)
    await client.reset_password_for_email(address, {"redirect_to": "https://cookcam.test/new"})
    await client.reset_password_for_email(f"nobody-{address}")
    (mail,) = gotrue.mails
    assert (mail.to, mail.type) == (address, "recovery")
    opened = await client.verify_otp({"token_hash": mail.token, "type": "recovery"})
    assert opened.session is not None
    claims = jwt.decode(opened.session.access_token, options={"verify_signature": False})
    assert claims["amr"][0]["method"] == "otp"
    same = await error_of(client.update_user({"password": PASSWORD}))
    assert same[:2] == (422, "same_password")
    with pytest.raises(AuthWeakPasswordError):
        await client.update_user({"password": "short"})
    attributes: Any = {"password": f"{PASSWORD}2", "code_challenge": None}  # as the JS client sends
    await client.update_user(attributes)
    assert (await error_of(sign_in(client, address, PASSWORD)))[:2] == (400, "invalid_credentials")
    assert (await sign_in(client, address, f"{PASSWORD}2")).session is not None
    again = await error_of(client.verify_otp({"token_hash": mail.token, "type": "recovery"}))
    assert again[:2] == (403, "otp_expired")


async def sign_in(client: AsyncGoTrueClient, address: str, password: str) -> AuthResponse:
    return await client.sign_in_with_password({"email": address, "password": password})
