"""The fake Supabase Auth on the wire: what the client library does not show."""

from __future__ import annotations

import httpx
import jwt
import pytest
import trio

from cookcam.sandbox.gotrue import Gotrue, open_gotrue
from cookcam.sandbox.gotrue.keys import SigningKey
from tests.sandbox.conftest import PASSWORD, bare_http
from tests.support.postgres import as_owner

LOGIN = "/auth/v1/token?grant_type=password"
VERSIONED = {"x-supabase-api-version": "2024-01-01"}


async def test_errors_have_the_older_shape_without_a_version(http: httpx.AsyncClient):
    response = await http.post(LOGIN, json={"email": "nobody@cookcam.example", "password": "x"})
    assert response.status_code == 400
    assert response.json() == {
        "code": 400,
        "error_code": "invalid_credentials",
        "msg": "Invalid login credentials",
    }
    assert response.headers["x-sb-error-code"] == "invalid_credentials"
    assert "x-supabase-api-version" not in response.headers


async def test_errors_have_the_newer_shape_with_one(http: httpx.AsyncClient):
    body = {"email": "nobody@cookcam.example", "password": "x"}
    response = await http.post(LOGIN, json=body, headers=VERSIONED)
    assert response.json() == {
        "code": "invalid_credentials",
        "message": "Invalid login credentials",
    }
    assert response.headers["x-supabase-api-version"] == "2024-01-01"


@pytest.mark.parametrize("key", ["", "nonsense"])
async def test_the_gateway_requires_a_project_key(http: httpx.AsyncClient, key: str):
    response = await http.get("/auth/v1/health", headers={"apikey": key})
    assert response.status_code == 401
    assert "API key" in response.json()["message"]


async def test_the_key_may_come_in_the_query(gotrue: Gotrue):
    async with bare_http() as bare:
        response = await bare.get(f"{gotrue.url}/auth/v1/health?apikey={gotrue.anon_key}")
    assert response.json()["name"] == "GoTrue"


async def test_the_public_keys_need_no_project_key(gotrue: Gotrue):
    async with bare_http() as bare:
        response = await bare.get(f"{gotrue.url}/auth/v1/.well-known/jwks.json")
    (key,) = response.json()["keys"]
    assert {key["kty"], key["crv"], key["alg"], key["use"]} == {"EC", "P-256", "ES256", "sig"}
    assert "d" not in key
    token = gotrue.issue_token("7b1e5c7e-7f0f-4f6e-9d5a-0c5c8e1f2a3b")
    assert jwt.get_unverified_header(token)["kid"] == key["kid"]
    jwt.decode(token, jwt.PyJWK(key), algorithms=["ES256"], audience="authenticated")


async def test_the_settings_tell_whether_addresses_are_confirmed(
    http: httpx.AsyncClient, gotrue: Gotrue
):
    assert (await http.get("/auth/v1/settings")).json()["mailer_autoconfirm"] is True
    gotrue.behaviour.confirm_email = True
    assert (await http.get("/auth/v1/settings")).json()["mailer_autoconfirm"] is False


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (LOGIN, "{"),
        (LOGIN, "[]"),
        (LOGIN, '{"email": 1, "password": "x"}'),
        ("/auth/v1/signup", '{"email": "a@b.example", "password": "Secret-1", "data": []}'),
        ("/auth/v1/signup", b"\xff"),
    ],
)
async def test_invalid_bodies_are_rejected(
    http: httpx.AsyncClient, path: str, content: str | bytes
):
    response = await http.post(path, content=content)
    assert (response.status_code, response.json()["error_code"]) == (400, "bad_json")


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/auth/v1/user", (401, "no_authorization")),
        ("POST", "/auth/v1/logout", (401, "no_authorization")),
        ("POST", "/auth/v1/logout?scope=universe", (400, "validation_failed")),
        ("POST", "/auth/v1/token?grant_type=magic", (400, "invalid_credentials")),
        ("DELETE", "/auth/v1/admin/users/1", (401, "no_authorization")),
    ],
)
async def test_incomplete_requests_are_rejected(
    http: httpx.AsyncClient, method: str, path: str, expected: tuple[int, str]
):
    response = await http.request(method, path, json={})
    assert (response.status_code, response.json()["error_code"]) == expected


async def test_an_invalid_user_id_is_rejected(http: httpx.AsyncClient, gotrue: Gotrue):
    bearer = {"Authorization": f"Bearer {gotrue.service_role_key}"}
    response = await http.delete("/auth/v1/admin/users/1", headers=bearer)
    assert (response.status_code, response.json()["error_code"]) == (404, "validation_failed")


async def test_logout_is_a_204(http: httpx.AsyncClient, gotrue: Gotrue, address: str):
    tokens = await gotrue.sign_in(await gotrue.create_user(address, PASSWORD, "Ann"))
    bearer = {"Authorization": f"Bearer {tokens.access_token}"}
    response = await http.post("/auth/v1/logout", headers=bearer)
    assert (response.status_code, response.content) == (204, b"")


async def test_another_process_may_change_the_behaviour(http: httpx.AsyncClient, gotrue: Gotrue):
    wanted = {"delay": 0.01, "failure": {"status": 503, "times": 2}}
    rejected = await http.put("/sandbox/behaviour", json=wanted)
    assert rejected.status_code == 401
    bearer = {"Authorization": f"Bearer {gotrue.service_role_key}"}
    response = await http.put("/sandbox/behaviour", json=wanted, headers=bearer)
    assert response.json()["failure"] == {"status": 503, "times": 2, "late": False}
    statuses = [(await http.get("/auth/v1/health")).status_code for _ in range(3)]
    assert statuses == [503, 503, 200]
    unknown = await http.put("/sandbox/behaviour", json={"colour": "red"}, headers=bearer)
    assert unknown.status_code == 400
    assert gotrue.behaviour.delay == 0.01


async def test_mails_require_the_service_key(http: httpx.AsyncClient, gotrue: Gotrue, address: str):
    await gotrue.create_user(address, PASSWORD, "Ann")
    query = {"redirect_to": "https://cookcam.test/new"}
    response = await http.post("/auth/v1/recover", json={"email": address}, params=query)
    assert (response.status_code, response.json()) == (200, {})
    assert (await http.get("/sandbox/mails")).status_code == 401
    bearer = {"Authorization": f"Bearer {gotrue.service_role_key}"}
    (mail,) = (await http.get("/sandbox/mails", headers=bearer)).json()
    assert (mail["to"], mail["type"]) == (address, "recovery")
    followed = await http.get(mail["link"])
    assert followed.status_code == 303
    assert followed.headers["location"].startswith("https://cookcam.test/new#access_token=")


async def test_a_delay_precedes_every_response(http: httpx.AsyncClient, gotrue: Gotrue):
    gotrue.behaviour.delay = 60
    with trio.move_on_after(0.05) as waited:
        await http.get("/auth/v1/health")
    assert waited.cancelled_caught


async def test_claims_of_an_issued_token_can_be_replaced_and_removed(gotrue: Gotrue, address: str):
    user = await gotrue.create_user(address, PASSWORD, "Root", role="admin")

    def claims(**changed: object) -> dict[str, object]:
        token = gotrue.issue_token(user, **changed)
        return jwt.decode(token, options={"verify_signature": False})

    assert claims()["app_metadata"] == {"role": "admin"}
    assert claims(aud="other")["aud"] == "other"
    assert "exp" not in claims(exp=None)


async def test_tokens_and_keys_outlive_a_restart(database_url: str, tmp_path, address: str):
    file = tmp_path / "key.pem"
    owner = as_owner(database_url)
    async with open_gotrue(owner, key_file=file) as first:
        user = await first.create_user(address, PASSWORD, "Ann")
        tokens = await first.sign_in(user)
        port = int(first.url.rpartition(":")[2])
    assert file.stat().st_mode & 0o777 == 0o600
    async with open_gotrue(owner, key_file=file, port=port) as second:
        headers = {"apikey": first.anon_key, "Authorization": f"Bearer {tokens.access_token}"}
        async with bare_http(base_url=second.url, headers=headers) as http:
            response = await http.get("/auth/v1/user")
    assert response.json()["id"] == str(user.id)


def test_a_key_file_of_another_kind_is_rejected(tmp_path):
    file = tmp_path / "key.pem"
    file.write_text("not a key")
    with pytest.raises(ValueError):  # noqa: PT011 # cryptography's own words
        SigningKey.kept_in(file)


async def test_a_taken_port_is_an_error(gotrue: Gotrue, database_url: str):
    port = int(gotrue.url.rpartition(":")[2])
    with pytest.raises(OSError, match="in use"):
        async with open_gotrue(as_owner(database_url), port=port):
            pass
