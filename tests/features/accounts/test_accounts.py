"""Accounts over HTTP: the assembled app, the real supabase client, a real database."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any, cast
from uuid import uuid4

import pytest
import trio

from cookcam.features.accounts import sign_in_limits
from cookcam.http.rate_limit import AUTH
from cookcam.sandbox.gotrue import Failure
from cookcam.sliding_windows import Quota
from tests.features.conftest import ApiUser, Client, Server, open_server
from tests.identity.project import PASSWORD, some_email

PASSWORD_TOO_LONG = (
    "Password must be at most 72 bytes long (letters outside of English take two or more)"
)


async def sign_up(client: Client, email: str | None = None, **changes: Any) -> Any:
    given = {"email": email} if email else {}
    body = {"email": some_email(), "password": PASSWORD, "name": "Ann", **given, **changes}
    return await client.post("/auth/signup", body)


async def log_in(client: Client, email: str, password: str = PASSWORD) -> Any:
    return await client.post("/auth/login", {"email": email, "password": password})


def as_user(server: Server, token: str) -> Client:
    return Client(server.http, token)


NOT_PUBLIC = [
    "127.0.0.1",
    "169.254.169.254",
    "10.0.0.1",
    "192.168.1.1",
    "8.8.8.8",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "0x7f.1",
    "127.0.0.1.",
    "１２７.0.0.1",  # noqa: RUF001
    "127。0。0。1",
    "%31%32%37.0.0.1",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[fe80::1%25eth0]",
    "localhost",
    "LOCALHOST",
    "app.localhost",
    "router.local",
    "metadata.google.internal",
    "intranet",
    "ann:secret@example.com",
    "example.com@127.0.0.1",
    "127.0.0.1\\@example.com",
    "127.0.0.1#@example.com",
    "example.com:22",
    "exam ple.com",
    "exam\tple.com",
    "example.com\n",
    "-example.com",
    "",
]


class TestSigningUp:
    async def test_gives_an_account_a_session_and_a_profile(self, server: Server):
        email = some_email()
        response = await sign_up(server.guest, email.upper(), name="Ann Other")
        assert response.status_code == 201
        body = response.json()
        assert body["user"]["email"] == email
        assert body["user"]["user_metadata"]["name"] == "Ann Other"
        assert body["token"] == body["access_token"] == body["session"]["access_token"]
        assert body["refreshToken"] == body["refresh_token"] == body["session"]["refresh_token"]
        assert body["session"]["token_type"] == "bearer"
        assert body["session"]["user"] == body["user"]
        assert body["message"]
        profile = (await as_user(server, body["token"]).get("/users/profile")).json()
        assert profile["id"] == body["user"]["id"]
        assert (profile["email"], profile["name"]) == (email, "Ann Other")
        assert (await log_in(server.guest, email)).status_code == 200

    async def test_without_a_session_while_the_address_is_unconfirmed(self, server: Server):
        server.gotrue.behaviour.confirm_email = True
        email = some_email()
        response = await sign_up(server.guest, email)
        assert response.status_code == 201
        body = response.json()
        assert body["session"] is None
        assert body["user"]["email"] == email
        assert not {"token", "refreshToken", "access_token", "refresh_token"} & body.keys()
        rejected = await log_in(server.guest, email)
        assert rejected.status_code == 403
        assert rejected.json()["code"] == "EMAIL_NOT_CONFIRMED"
        wrong = await log_in(server.guest, email, "wrong password")
        assert (wrong.status_code, wrong.json()["code"]) == (401, "INVALID_CREDENTIALS")

    async def test_a_taken_address_reads_like_any_other_rejection(
        self, server: Server, ann: ApiUser
    ):
        response = await sign_up(server.guest, ann.email)
        body = response.json()
        assert response.status_code == 400
        assert body["code"] == "SIGNUP_ERROR"
        assert body["error"] == "Failed to create user"
        assert "exists" not in response.text
        assert "registered" not in response.text

    async def test_password_of_72_bytes_signs_in(self, guest: Client):
        email, maximum = some_email(), "ä" * 36
        assert (await sign_up(guest, email, password=maximum)).status_code == 201
        assert (await log_in(guest, email, maximum)).status_code == 200

    async def test_spaces_around_an_email_are_removed(self, server: Server):
        email = some_email()
        written = f" \t{email.upper()} \u00a0"
        assert (await sign_up(server.guest, written)).json()["user"]["email"] == email
        assert (await log_in(server.guest, written)).status_code == 200
        response = await server.guest.post("/auth/forgot-password", {"email": f"{email} "})
        assert response.status_code == 200
        assert [mail.to for mail in server.gotrue.mails] == [email]

    async def test_controls_are_removed_from_a_name(self, server: Server):
        body = (await sign_up(server.guest, name="\u202eAnn\u200b Lee\u2069 ")).json()
        assert body["user"]["user_metadata"]["name"] == "Ann Lee"
        profile = (await as_user(server, body["token"]).get("/users/profile")).json()
        assert profile["name"] == "Ann Lee"

    async def test_name_that_the_provider_was_given_directly_is_cleaned(self, server: Server):
        user = await server.gotrue.create_user(some_email(), PASSWORD, "\u202eAnn\u200b Lee\u3164")
        person = ApiUser(server.http, server.gotrue.issue_token(user), user)
        assert (await person.get("/users/profile")).json()["name"] == "Ann Lee"
        user = await server.gotrue.create_user(some_email("eve"), PASSWORD, "\u200b\u200b\u200d")
        person = ApiUser(server.http, server.gotrue.issue_token(user), user)
        assert (await person.get("/users/profile")).json()["name"].startswith("eve-")

    async def test_what_is_missing_or_out_of_bounds_is_rejected(self, guest: Client):
        missing = "Email, password, and name are required"
        cases: list[tuple[dict[str, Any], str]] = [
            ({"email": None}, missing),
            ({"email": ""}, missing),
            ({"password": ""}, missing),
            ({"name": None}, missing),
            ({"email": "ann"}, "Invalid email format"),
            ({"email": "ann@example"}, "Invalid email format"),
            ({"email": "a b@example.com"}, "Invalid email format"),
            ({"email": "a@b@example.com"}, "Invalid email format"),
            ({"email": "x" * 400 + "@example.com"}, "Invalid email format"),
            ({"password": "1234567"}, "Password must be at least 8 characters long"),
            ({"password": "x" * 73}, PASSWORD_TOO_LONG),
            ({"password": "ä" * 37}, PASSWORD_TOO_LONG),
            ({"name": "\u200b\u200b\u200b"}, "Name must be at least 2 characters"),
            ({"name": "\u202e A \u2069"}, "Name must be at least 2 characters"),
            ({"name": " A "}, "Name must be at least 2 characters"),
            ({"name": "A" * 1001}, "Name must be at most 1000 characters"),
            ({"email": 5}, "VALIDATION_ERROR"),
            ({"password": ["x" * 8]}, "VALIDATION_ERROR"),
            ({"name": {"first": "Ann"}}, "VALIDATION_ERROR"),
        ]
        good = {"email": some_email(), "password": PASSWORD, "name": "Ann"}
        for changes, literal in cases:
            response = await guest.post("/auth/signup", {**good, **changes})
            assert response.status_code == 400, changes
            assert response.json()["error"] == literal, changes
        assert (await guest.post("/auth/signup")).json()["error"] == missing

    async def test_a_lost_answer_does_not_lose_the_account(self, server: Server):
        server.gotrue.behaviour.failure = Failure(504, times=1, late=True)
        email = some_email()
        response = await sign_up(server.guest, email)
        assert response.status_code == 201
        assert response.json()["user"]["email"] == email
        assert response.json()["token"]

    async def test_both_aliases_and_the_legacy_prefix(self, server: Server):
        for path in ("/api/v1/auth/register", "/api/auth/signup"):
            body = {"email": some_email(), "password": PASSWORD, "name": "Ann"}
            assert (await server.http.post(path, json=body)).status_code == 201


class TestSigningIn:
    async def test_gives_the_tokens_in_every_spelling(self, guest: Client, ann: ApiUser):
        for path in ("/auth/login", "/auth/signin"):
            response = await guest.post(path, {"email": ann.email, "password": PASSWORD})
            assert response.status_code == 200
            body = response.json()
            assert body["user"]["id"] == ann.id
            assert body["token"] == body["access_token"] == body["session"]["access_token"]
            assert body["refreshToken"] == body["refresh_token"]
            assert body["refreshToken"] == body["session"]["refresh_token"]
            assert body["session"]["expires_at"] > time.time()
            assert body["message"]

    async def test_bad_credentials_get_the_same_error_for_every_account(
        self, guest: Client, ann: ApiUser
    ):
        for email, password in ((ann.email, "wrong"), (some_email(), PASSWORD), (ann.email, "x")):
            response = await log_in(guest, email, password)
            assert response.status_code == 401
            assert response.json()["error"] == "Invalid email or password"
            assert response.json()["code"] == "INVALID_CREDENTIALS"

    async def test_what_is_missing_is_rejected(self, guest: Client):
        for body in ({}, {"email": "a@b.c"}, {"password": "x"}, {"email": None, "password": None}):
            response = await guest.post("/auth/login", body)
            assert response.status_code == 400
            assert response.json()["error"] == "Email and password are required"
        response = await log_in(guest, "nobody")
        assert (response.status_code, response.json()["error"]) == (400, "Invalid email format")
        response = await guest.post("/auth/login", {"email": 5, "password": True})
        assert (response.status_code, response.json()["code"]) == (400, "VALIDATION_ERROR")

    async def test_interleaved_sign_ins_never_mix_identities(self, server: Server):
        people = [await server.person(name) for name in ("Ann", "Bob", "Cid")]

        async def live(person: ApiUser) -> None:
            for _ in range(3):
                session = (await log_in(server.guest, person.email)).json()
                assert session["user"]["id"] == person.id
                me = await as_user(server, session["token"]).get("/auth/me")
                assert me.json()["user"]["id"] == person.id

        async with trio.open_nursery() as nursery:
            for person in (*people, *people):
                nursery.start_soon(live, person)

    async def test_neither_password_nor_address_is_logged(
        self, server: Server, ann: ApiUser, capsys: pytest.CaptureFixture[str]
    ):
        await log_in(server.guest, ann.email, "wrong password 77")
        session = (await log_in(server.guest, ann.email)).json()
        server.gotrue.behaviour.failure = Failure(500)
        await log_in(server.guest, ann.email)
        await sign_up(server.guest, ann.email)
        shown = "".join(capsys.readouterr())
        assert "auth_failure" in shown
        for secret in (ann.email, PASSWORD, "wrong password 77", session["refreshToken"], "eyJ"):
            assert secret not in shown


class TestTheQuotaOfAnAddress:
    @pytest.fixture
    async def limited(self, database_url: str) -> AsyncIterator[Server]:
        async with open_server(
            database_url,
            ENABLE_RATE_LIMITING="true",
            RATE_LIMIT_AUTH_MAX_REQUESTS="3",
            TRUSTED_PROXIES="127.0.0.1/32",
        ) as opened:
            yield opened

    async def attempt(
        self, limited: Server, email: str, client_address: str, password: str = "wrong password"
    ) -> Any:
        return await limited.guest.post(
            "/auth/login",
            {"email": email, "password": password},
            headers={"X-Forwarded-For": client_address},
        )

    async def test_wrong_passwords_from_anywhere_do_not_lock_the_owner_out(
        self, limited: Server, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(sign_in_limits, "ACCOUNT_DELAY", 0.01)
        ann, bob = await limited.person("Ann"), await limited.person("Bob")
        for n in range(20):
            response = await self.attempt(limited, ann.email.upper(), f"192.0.2.{n}")
            assert response.status_code == 401
        assert (await self.attempt(limited, ann.email, "192.0.2.99", PASSWORD)).status_code == 200
        assert (await self.attempt(limited, bob.email, "192.0.2.100")).status_code == 401

    async def test_attempts_on_an_account_with_many_failures_are_slow(self, limited: Server):
        ann = await limited.person("Ann")
        for n in range(3):
            await self.attempt(limited, ann.email, f"192.0.2.{n}")
        began = trio.current_time()
        assert (await self.attempt(limited, ann.email, "192.0.2.9", PASSWORD)).status_code == 200
        assert trio.current_time() - began >= sign_in_limits.ACCOUNT_DELAY

    async def test_address_that_fails_with_one_account_is_rejected(
        self, limited: Server, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setitem(cast("Any", limited.limits.quotas), AUTH, Quota(AUTH, 1000, 900))
        monkeypatch.setattr(sign_in_limits, "ACCOUNT_DELAY", 0.0)
        ann, bob = await limited.person("Ann"), await limited.person("Bob")
        for _ in range(3):
            assert (await self.attempt(limited, ann.email, "192.0.2.1")).status_code == 401
        rejected = await self.attempt(limited, ann.email, "192.0.2.1", PASSWORD)
        assert rejected.status_code == 429
        assert rejected.json()["retryAfter"] > 900
        assert (await self.attempt(limited, bob.email, "192.0.2.1", PASSWORD)).status_code == 200
        assert (await self.attempt(limited, ann.email, "192.0.2.2", PASSWORD)).status_code == 200

    @pytest.mark.parametrize(
        "paths",
        [
            ("/auth/register", "/auth/signup"),
            ("/auth/login", "/auth/signin"),
            ("/auth/refresh",),
            ("/auth/forgot-password",),
            ("/auth/reset-password",),
        ],
    )
    async def test_aliases_and_prefixes_share_the_limit_of_an_address(
        self, limited: Server, paths: tuple[str, ...]
    ):
        statuses = [
            (await limited.http.post(f"{prefix}{path}", json={})).status_code
            for path in paths * 4
            for prefix in ("/api", "/api/v1", "/API/V1")
        ]
        assert 429 not in statuses[:3]
        assert set(statuses[3:]) == {429}


class TestSigningOut:
    async def test_ends_this_session_and_no_other(self, server: Server, ann: ApiUser):
        phone = (await log_in(server.guest, ann.email)).json()
        tablet = (await log_in(server.guest, ann.email)).json()
        for path in ("/auth/logout", "/auth/signout"):
            response = await as_user(server, phone["token"]).post(path)
            assert response.status_code == 200
            assert response.json()["message"]
        ended = await server.guest.post("/auth/refresh", {"refresh_token": phone["refreshToken"]})
        assert ended.status_code == 401
        kept = await server.guest.post("/auth/refresh", {"refresh_token": tablet["refreshToken"]})
        assert kept.status_code == 200
        assert (await server.provider.get_user(tablet["token"])).email == ann.email

    async def test_wants_a_token(self, guest: Client):
        assert (await guest.post("/auth/logout")).status_code == 401


class TestRefreshing:
    async def test_rotates_and_answers_in_both_spellings(self, server: Server, ann: ApiUser):
        token = (await log_in(server.guest, ann.email)).json()["refreshToken"]
        for name in ("refresh_token", "refreshToken"):
            response = await server.guest.post("/auth/refresh", {name: token})
            assert response.status_code == 200
            body = response.json()
            assert body["token"] == body["access_token"]
            assert body["refreshToken"] == body["refresh_token"] != token
            assert body["expires_in"] > 0
            assert body["user"]["id"] == ann.id
            me = await as_user(server, body["token"]).get("/auth/me")
            assert me.status_code == 200
            token = body["refreshToken"]

    async def test_a_missing_and_a_bad_token(self, guest: Client):
        for body in ({}, {"refresh_token": ""}, {"refreshToken": None}):
            response = await guest.post("/auth/refresh", body)
            assert (response.status_code, response.json()["error"]) == (
                400,
                "Refresh token is required",
            )
        for token in ("garbage", "x" * 5000):
            response = await guest.post("/auth/refresh", {"refresh_token": token})
            assert (response.status_code, response.json()["error"]) == (
                401,
                "Invalid refresh token",
            )


class TestTokens:
    async def test_without_a_bearer_token_authentication_is_required(
        self, server: Server, ann: ApiUser
    ):
        for header in (None, "", "Bearer", "Bearer ", ann.token, f"Basic {ann.token}"):
            headers = {} if header is None else {"Authorization": header}
            response = await server.guest.get("/auth/me", headers=headers)
            assert response.status_code == 401
            assert response.json()["error"] == "Authentication required"
            assert response.headers["WWW-Authenticate"] == "Bearer"

    async def test_invalid_token_is_rejected(self, server: Server, ann: ApiUser):
        gotrue, user = server.gotrue, ann.user
        assert user is not None
        tokens = {
            "malformed": "garbage",
            "expired": gotrue.issue_token(user, exp=int(time.time()) - 60),
            "wrong audience": gotrue.issue_token(user, aud="anon"),
            "wrong issuer": gotrue.issue_token(user, iss="https://elsewhere.test/auth/v1"),
            "no subject": gotrue.issue_token(user, sub=None),
            "anonymous key": gotrue.anon_key,
            "service key": gotrue.service_role_key,
            "tampered": str(ann.token)[:-4] + "AAAA",
        }
        for name, token in tokens.items():
            response = await as_user(server, token).get("/auth/me")
            body = response.json()
            assert response.status_code == 401, name
            assert body["error"] == "Token expired or invalid"
            assert body["code"] == "TOKEN_EXPIRED"
            assert body["message"] == "Please refresh your session"

    async def test_the_scheme_ignores_case(self, server: Server, ann: ApiUser):
        headers = {"Authorization": f"bearer  {ann.token}"}
        assert (await server.guest.get("/auth/me", headers=headers)).status_code == 200

    async def test_role_claim_of_a_token_grants_nothing(self, server: Server, ann: ApiUser):
        assert ann.user is not None
        forged = server.gotrue.issue_token(ann.user, role="service_role")
        body = {"title": "By role", "is_published": True}
        response = await as_user(server, forged).post("/recipes", body)
        assert response.status_code == 201
        assert response.json()["created_by"] == ann.id


class TestAnOutageOfTheProvider:
    @pytest.mark.parametrize("failure", [Failure(500), Failure(503), Failure(429)])
    async def test_is_503_and_never_401(self, server: Server, ann: ApiUser, failure: Failure):
        server.gotrue.behaviour.failure = failure
        response = await ann.get("/auth/me")
        assert response.status_code == 503
        assert response.json()["code"] == "SERVICE_UNAVAILABLE"
        assert int(response.headers["Retry-After"]) > 0

    async def test_leaves_known_keys_working_and_guests_served(self, server: Server, ann: ApiUser):
        assert (await ann.get("/auth/me")).status_code == 200
        server.gotrue.behaviour.failure = Failure(503)
        assert (await ann.get("/auth/me")).status_code == 200
        assert (await server.guest.get("/recipes?limit=1")).status_code == 200

    async def test_reaches_sign_in_sign_up_refresh_and_sign_out_as_503(
        self, server: Server, ann: ApiUser
    ):
        await ann.get("/auth/me")
        server.gotrue.behaviour.failure = Failure(503)
        for response in (
            await log_in(server.guest, ann.email),
            await sign_up(server.guest),
            await server.guest.post("/auth/refresh", {"refresh_token": "some token"}),
            await ann.post("/auth/logout"),
        ):
            assert response.status_code == 503
            assert response.json()["code"] == "SERVICE_UNAVAILABLE"


class TestTheProfile:
    async def test_is_the_bare_row_and_the_same_row_wrapped(self, ann: ApiUser):
        row = (await ann.get("/users/profile")).json()
        assert (await ann.get("/auth/me")).json() == {"user": row}
        assert row["id"] == ann.id
        assert row["email"] == ann.email
        assert row["name"] == "Ann"
        assert (row["level"], row["xp"], row["total_xp"], row["streak_current"]) == (1, 0, 0, 0)
        assert (row["is_creator"], row["creator_tier"]) == (False, 0)
        assert row["kitchen_appliances"] == ["oven", "stove"]
        assert row["cooking_skill_level"] == "beginner"
        assert "avatar_url" in row
        assert "push_token" not in row

    async def test_is_made_when_it_is_missing(self, server: Server, ann: ApiUser):
        await server.sql("delete from public.users where id = %(id)s", id=ann.id)
        responses: list[Any] = []

        async def read() -> None:
            responses.append(await ann.get("/users/profile"))

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(read)
        assert {response.status_code for response in responses} == {200}
        assert responses[0].json()["name"] == "Ann"
        assert responses[0].json()["email"] == ann.email

    async def test_of_an_account_that_is_gone_is_not_found(self, server: Server, ann: ApiUser):
        assert ann.user is not None
        await server.provider.admin_delete_user(ann.user.id)
        for path in ("/users/profile", "/auth/me"):
            response = await ann.get(path)
            assert response.status_code == 404
            assert response.json()["error"] == "User profile not found"
        # 401 as soon as the server knows of the deletion, 404 until then.
        assert (await ann.put("/users/profile", {"name": "Ghost"})).status_code in (401, 404)

    async def test_changes_what_is_given(self, ann: ApiUser):
        before = (await ann.get("/users/profile")).json()
        changes = {
            "name": "Änn <3",
            "avatar_url": "https://example.com/a.png",
            "creator_bio": "Cooks",
            "creator_specialty": "Soup",
            "onboarding_completed": True,
            "meal_prep_enabled": True,
            "default_serving_size": 6,
            "default_meal_prep_count": 10,
            "kitchen_appliances": [],
            "dietary_preferences": ["vegan"],
            "cuisine_preferences": ["thai", "greek"],
        }
        response = await ann.put(
            "/users/profile", {**changes, "cooking_skill_level": "Hard", "unknown": 1}
        )
        assert response.status_code == 200
        after = response.json()
        assert after.pop("updated_at") > before.pop("updated_at")
        assert after == {**before, **changes, "cooking_skill_level": "advanced"}

    @pytest.mark.parametrize("path", ["/users/profile", "/auth/profile"])
    async def test_time_zone_and_notifications_are_written(self, ann: ApiUser, path: str):
        changes = {
            "timezone": "America/Argentina/Buenos_Aires",
            "country": "AR",
            "notifications_enabled": False,
            "notification_preferences": {"daily_checkin": False, "achievement": True},
        }
        for field, value in changes.items():
            assert (await ann.put(path, {field: value})).status_code == 200
        quiet_hours = {"quiet_hours_start": "22:00", "quiet_hours_end": "07:30"}
        assert (await ann.put(path, quiet_hours)).status_code == 200
        changes |= quiet_hours
        assert changes.items() <= (await ann.get("/users/profile")).json().items()
        assert changes.items() <= (await ann.get("/auth/me")).json()["user"].items()

    async def test_nulls_clear_the_quiet_hours(self, ann: ApiUser):
        before = (await ann.get("/users/profile")).json()
        times = {"quiet_hours_start": "22:00", "quiet_hours_end": "07:30"}
        assert (await ann.put("/users/profile", times)).status_code == 200
        unchanged = await ann.put("/users/profile", {"country": "DE"})
        assert times.items() <= unchanged.json().items()
        for path in ("/users/profile", "/auth/profile"):
            assert (await ann.put(path, dict.fromkeys(times))).status_code == 200
            after = (await ann.get("/users/profile")).json()
            assert (after["quiet_hours_start"], after["quiet_hours_end"]) == (None, None)
            assert (await ann.put(path, times)).status_code == 200
        assert before["quiet_hours_start"] is None

    @pytest.mark.parametrize(
        "body",
        [
            {"timezone": "UTC+2"},
            {"timezone": "EST5EDT4"},
            {"timezone": "<+02>-2"},
            {"timezone": "europe/berlin"},
            {"timezone": "../../etc/passwd"},
            {"timezone": "Factory"},
            {"timezone": ""},
            {"timezone": 2},
            {"notifications_enabled": "no"},
            {"notification_preferences": {"daily_checkin": "no"}},
            {"notification_preferences": ["daily_checkin"]},
            {"quiet_hours_start": None, "quiet_hours_end": "07:00"},
            {"country": "Germany"},
            {"quiet_hours_start": "7:00", "quiet_hours_end": "08:00"},
            {"quiet_hours_start": "24:00", "quiet_hours_end": "08:00"},
        ],
    )
    async def test_time_zone_or_preference_that_is_none_is_rejected(
        self, ann: ApiUser, body: dict[str, Any]
    ):
        response = await ann.put("/users/profile", body)
        assert (response.status_code, response.json()["code"]) == (400, "VALIDATION_ERROR")
        assert response.json()["details"]["field"].startswith(next(iter(body)))

    @pytest.mark.parametrize("given", [{"quiet_hours_end": None}, {}])
    async def test_quiet_hours_are_set_and_cleared_together(
        self, ann: ApiUser, given: dict[str, Any]
    ):
        response = await ann.put("/users/profile", {"quiet_hours_start": "07:00", **given})
        assert response.status_code == 400
        assert response.json()["details"]["field"] == "quiet_hours_end"
        assert (await ann.put("/users/profile", {"quiet_hours_start": None})).status_code == 400

    @pytest.mark.parametrize("body", [None, {}, {"timeZone": "UTC"}, {"xp": 9, "level": 9}])
    async def test_change_without_known_fields_is_rejected(
        self, ann: ApiUser, body: dict[str, Any] | None
    ):
        for path in ("/users/profile", "/auth/profile"):
            response = await ann.put(path, body)
            assert (response.status_code, response.json()["error"]) == (400, "No fields to update")

    @pytest.mark.parametrize("host", NOT_PUBLIC)
    async def test_avatar_on_a_host_that_is_not_public_is_rejected(self, ann: ApiUser, host: str):
        for path in ("/users/profile", "/auth/profile"):
            response = await ann.put(path, {"avatar_url": f"https://{host}/a.png"})
            assert response.status_code == 400, host
            assert response.json()["details"]["field"] == "avatar_url"

    async def test_avatar_on_a_public_host_is_accepted(self, ann: ApiUser):
        for url in (
            "https://cdn.example.com/a.png?size=2#top",
            "https://example.co.uk:443/ä.png",
            "https://xn--bcher-kva.example.com",
            "https://1.2.3.example.com/",
        ):
            response = await ann.put("/users/profile", {"avatar_url": url})
            assert response.json().get("avatar_url") == url, url

    async def test_changes_nothing_for_nulls(self, ann: ApiUser):
        before = (await ann.get("/users/profile")).json()
        for body in ({"name": None, "is_creator": None}, {"creator_tier": 5, "xp": 9}):
            response = await ann.put("/users/profile", body)
            assert response.status_code == 200
            assert response.json() == before

    async def test_does_not_make_a_creator(self, server: Server, ann: ApiUser):
        response = await ann.put("/users/profile", {"is_creator": True, "name": "Creator"})
        body = response.json()
        assert response.status_code == 403
        assert body["error"] == "Creator access required"
        assert body["upgradeUrl"] == "/subscription/upgrade?tier=creator"
        assert (await ann.get("/users/profile")).json()["name"] == "Ann"
        # Nor does having been one: the mark alone is no entitlement.
        await server.sql("update public.users set is_creator = true where id = %(id)s", id=ann.id)
        assert (await ann.put("/users/profile", {"is_creator": True})).status_code == 403
        given_up = await ann.put("/users/profile", {"is_creator": False})
        assert given_up.json()["is_creator"] is False

    async def test_refuses_what_is_out_of_bounds(self, ann: ApiUser):
        cases: list[tuple[dict[str, Any], str]] = [
            ({"name": "  A  "}, "Name must be at least 2 characters"),
            ({"cooking_skill_level": "chef"}, "Invalid cooking skill level"),
            ({"name": "A"}, "VALIDATION_ERROR"),
            ({"name": "A" * 101}, "VALIDATION_ERROR"),
            ({"avatar_url": "http://example.com/a.png"}, "VALIDATION_ERROR"),
            ({"avatar_url": "https://" + "x" * 2048}, "VALIDATION_ERROR"),
            ({"creator_bio": "x" * 1001}, "VALIDATION_ERROR"),
            ({"creator_specialty": "x" * 1001}, "VALIDATION_ERROR"),
            ({"default_serving_size": 0}, "VALIDATION_ERROR"),
            ({"default_serving_size": 51}, "VALIDATION_ERROR"),
            ({"default_serving_size": "2"}, "VALIDATION_ERROR"),
            ({"kitchen_appliances": "oven"}, "VALIDATION_ERROR"),
            ({"kitchen_appliances": [1]}, "VALIDATION_ERROR"),
            ({"is_creator": "yes"}, "VALIDATION_ERROR"),
        ]
        for body, literal in cases:
            response = await ann.put("/users/profile", body)
            assert response.status_code == 400, body
            assert response.json()["error"] == literal, body

    async def test_wants_a_token(self, guest: Client):
        for method, path in (("GET", "/users/profile"), ("PUT", "/users/profile")):
            response = await guest.request(method, path, json={})
            assert response.status_code == 401
            assert response.json()["error"] == "Authentication required"


async def test_every_route_is_documented_with_its_security(server: Server):
    document = (await server.http.get("/openapi.json")).json()
    paths = document["paths"]
    for method, path in (
        ("post", "/auth/signup"),
        ("post", "/auth/login"),
        ("post", "/auth/refresh"),
    ):
        assert "security" not in paths[path][method], path
    for path in ("/recipes", "/recipes/{recipe_id}"):  # guests are served as well
        assert {} in paths[path]["get"]["security"], path
    for method, path in (
        ("post", "/auth/logout"),
        ("get", "/auth/me"),
        ("get", "/users/profile"),
        ("put", "/users/profile"),
        ("post", "/recipes"),
        ("put", "/recipes/{recipe_id}"),
        ("delete", "/recipes/{recipe_id}"),
    ):
        assert paths[path][method]["security"], path
    created = paths["/recipes"]["post"]["responses"]["201"]["content"]["application/json"]
    assert created["schema"]


async def test_valid_token_of_an_unknown_user_cannot_write(server: Server):
    stranger = as_user(server, server.gotrue.issue_token(uuid4()))
    response = await stranger.post("/recipes", {"title": "From nowhere"})
    assert 400 <= response.status_code < 500
