"""Deleting an account: the whole program, with identities, files and payments behind it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url

from cookcam.features.accounts.deletion import service
from cookcam.features.accounts.deletion.routes import confirmation_in_header
from cookcam.features.accounts.personal_data import PERSONAL_ROWS
from cookcam.sandbox.gotrue import Failure
from cookcam.sandbox.stripe import Fault
from tests.features.conftest import ApiUser, Response
from tests.identity.project import PASSWORD
from tests.support.owners import OwnersApp, open_owners_app
from tests.support.personal_data import fill
from tests.support.whole_server import whole_server

TYPED = "Correct<horse>9"
"""As people type it; the edge space of PASSWORD does not survive in a header."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs that wait are gone on with soon."""
    monkeypatch.setattr(service, "INTERVAL", 0.1)
    monkeypatch.setattr(service, "FIRST_RETRY_DELAY", 0.1)


@pytest.fixture
async def house(database_url: str, tmp_path: Path) -> AsyncIterator[OwnersApp]:
    async with open_owners_app(database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
async def ann(house: OwnersApp) -> ApiUser:
    return await house.person("Ann")


async def delete(person: ApiUser, password: str = PASSWORD) -> Response:
    return await person.delete("/auth/account", json={"confirmPassword": password})


async def gone(house: OwnersApp, person: ApiUser) -> None:
    """No data of the user is left."""
    with trio.fail_after(10):
        while await house.job(person):
            await trio.sleep(0.05)
    assert await house.traces_of(person) == []
    assert house.files_of(person) == []
    session = await house.guest.post("/auth/login", {"email": person.email, "password": PASSWORD})
    assert session.status_code == 401


class TestDeletingAnAccount:
    async def test_deletes_everything_and_reports_the_counts(self, house: OwnersApp, ann: ApiUser):
        bob = await house.person("Bob")
        subscription = await house.subscribe(ann)
        tag = await fill(house, ann, bob)
        files = house.keep_files(ann)
        house.keep_files(bob)
        assert len(house.files_of(ann)) == files
        for held in PERSONAL_ROWS:
            ((rows,),) = await house.sql(
                f"select count(*) from {held.table} t where t.{held.column} = %(id)s"
                f" and {held.where}",
                id=ann.id,
            )
            assert rows, held
        traces = await house.traces_of(ann)
        assert {f"public.{held.table}" for held in PERSONAL_ROWS} < set(traces)
        assert {"auth.users", "public.stripe_webhook_events"} < set(traces)
        response = await delete(ann)
        assert response.status_code == 200
        body = response.json()
        assert set(body) == {"message", "deletedAt", "receipt"}
        assert body["message"] == "Account deleted successfully"
        await gone(house, ann)
        assert house.stripe.get("subscription", subscription)["status"] == "canceled"
        # Data of other users, and data that must be kept by law, still exists.
        assert house.files_of(bob)
        assert (await bob.get("/auth/me")).json()["user"]["name"] == "Bob"
        titles = await house.sql(
            "select title, created_by from recipes where title = any(%(titles)s)",
            titles=[f"Soup {tag}", f"Draft {tag}"],
        )
        assert titles == [(f"Soup {tag}", None)]
        booked = await house.sql(
            "select creator_id, amount_cents from creator_ledger where source_ref = %(tag)s",
            tag=tag,
        )
        assert booked == [(None, 2500)]
        ((account, owed, subscriptions),) = await house.sql(
            "select stripe_account_id, unpaid_balance_cents, subscriptions"
            " from account_deletions order by requested_at desc limit 1"
        )
        assert account.startswith("acct_")
        assert owed == 1500
        assert subscriptions == {"stripe cancelled": 1, "ios left to its owner": 1}

        verified = await house.guest.post("/auth/account/receipt", {"receipt": body["receipt"]})
        reported = verified.json()
        assert reported["valid"] is True
        receipt = reported["receipt"]
        assert set(receipt["rows"]["deleted"]) | set(receipt["rows"]["anonymised"]) == {
            held.name for held in PERSONAL_ROWS
        }
        assert receipt["files"] == {"avatars": 1, "completion-photos": 1, "scans": 1}
        assert receipt["subscriptions"] == subscriptions
        assert ann.id not in json.dumps(receipt)
        assert ann.email not in json.dumps(receipt)

    async def test_repeat_with_the_same_token_gets_the_same_response(
        self, house: OwnersApp, ann: ApiUser
    ):
        first = await delete(ann)
        again = await delete(ann)
        assert (first.status_code, again.status_code) == (200, 200)
        assert first.json() == again.json()
        for path in ("/auth/me", "/users/profile"):
            response = await ann.get(path)
            assert response.status_code == 404
            assert "not found" in response.json()["error"]

    async def test_by_the_header_as_the_app_sends_it(
        self, house: OwnersApp, capsys: pytest.CaptureFixture[str]
    ):
        secret = "Grüße-an-Änn-9"
        for encoding in ("utf-8", "latin-1"):
            user = await house.gotrue.create_user(f"{encoding}@example.com", secret, "Ann")
            person = ApiUser(house.http, house.gotrue.issue_token(user), user)
            response = await house.http.request(
                "DELETE",
                "/api/v1/auth/account",
                headers=[
                    (b"Authorization", f"Bearer {person.token}".encode()),
                    (b"Content-Type", b"application/json"),
                    (b"confirmPassword", secret.encode(encoding)),
                ],
            )
            assert response.status_code == 200, response.text
            await gone(house, person)
        shown = "".join(capsys.readouterr())
        assert "account deleted" in shown
        for form in (secret, "Grü", "GrÃ¼", "utf-8@example.com"):
            assert form not in shown

    async def test_wants_the_password_and_the_right_one(self, house: OwnersApp, ann: ApiUser):
        for kwargs in ({}, {"json": {}}, {"json": {"confirmPassword": ""}}):
            response = await ann.delete("/auth/account", **kwargs)
            assert response.status_code == 400
            assert response.json()["error"] == "Password confirmation is required"
        response = await ann.delete("/auth/account", json={"confirmPassword": 7})
        assert (response.status_code, response.json()["code"]) == (400, "VALIDATION_ERROR")
        for wrong in ("wrong password", TYPED, "x" * 2000):
            response = await delete(ann, wrong)
            assert response.status_code == 401
            assert response.json()["error"] == "Invalid password"
        assert (await house.guest.delete("/auth/account")).status_code == 401
        assert await house.job(ann) is None
        assert (await ann.get("/auth/me")).status_code == 200

    async def test_of_user_who_is_gone_is_not_found(self, house: OwnersApp, ann: ApiUser):
        await house.sql("delete from auth.users where id = %(id)s", id=ann.id)
        response = await delete(ann)
        assert (response.status_code, response.json()["error"]) == (404, "User not found")

    async def test_twice_at_once_is_done_once(self, house: OwnersApp, ann: ApiUser):
        responses: list[Response] = []

        async def one() -> None:
            responses.append(await delete(ann))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(one)
        # A request in between may have found the identity deleted already.
        assert {response.status_code for response in responses} <= {200, 401, 503}
        assert 200 in {response.status_code for response in responses}
        await gone(house, ann)
        assert {a.json()["receipt"] for a in responses if a.status_code == 200} == {
            (await delete(ann)).json()["receipt"]
        }


class TestAnOutage:
    async def test_of_payments_changes_nothing_yet_and_is_made_up_for(
        self, house: OwnersApp, ann: ApiUser
    ):
        subscription = await house.subscribe(ann)
        house.stripe.behaviour.fault = Fault("status", status=503)
        response = await delete(ann)
        self.assert_under_way(response)
        assert (await ann.get("/auth/me")).status_code == 200
        status, attempts, _ = await house.job(ann)
        assert (status, attempts >= 1) == ("pending", True)
        house.stripe.behaviour.fault = None
        await gone(house, ann)
        assert house.stripe.get("subscription", subscription)["status"] == "canceled"

    async def test_of_identities_leaves_no_way_back_in_and_is_made_up_for(
        self, house: OwnersApp, ann: ApiUser
    ):
        house.hold.next("DELETE", "/auth/v1/admin/users", done=False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(delete, ann)
            await house.hold.reached.wait()
            house.gotrue.behaviour.failure = Failure(503)
            nursery.cancel_scope.cancel()  # the app gives up
        status, _, _ = await house.job(ann)
        assert status == "data_deleted"
        self.assert_under_way(await delete(ann))
        # The token is good, and finds nothing: no profile is made for it.
        for path in ("/auth/me", "/users/profile"):
            response = await ann.get(path)
            assert response.status_code == 404
            assert "not found" in response.json()["error"]
        assert (await ann.post("/recipes", {"title": "After"})).status_code >= 400
        house.hold.nowhere()
        house.gotrue.behaviour.failure = None
        await gone(house, ann)

    async def test_of_files_keeps_nobody_waiting(self, house: OwnersApp, ann: ApiUser):
        house.keep_files(ann)
        house.storage.failure = Failure(503)
        response = await delete(ann)
        assert response.status_code == 200
        reported = jwt.decode(response.json()["receipt"], options={"verify_signature": False})
        assert reported["files"] == "being deleted"
        house.storage.failure = None
        await gone(house, ann)

    def assert_under_way(self, response: Response) -> None:
        assert response.status_code == 503
        body = response.json()
        assert body["code"] == "DELETION_UNDER_WAY"
        assert "will finish by itself" in body["message"]
        assert int(response.headers["Retry-After"]) > 0


async def close_code(socket: WebSocketConnection) -> int:
    try:
        while True:
            await socket.get_message()
    except ConnectionClosed as closed:
        return closed.reason.code if closed.reason else 0


async def test_connections_of_the_account_are_closed(house: OwnersApp, ann: ApiUser):
    assert house.server is not None
    url = f"ws://127.0.0.1:{house.server.port}/api/v1/realtime"
    headers = [(b"authorization", f"Bearer {ann.token}".encode())]
    async with open_websocket_url(url, extra_headers=headers) as socket:
        assert (await delete(ann)).status_code == 200
        with trio.fail_after(5):
            assert await close_code(socket) == 4403


async def test_a_receipt_that_is_not_ours_is_rejected(house: OwnersApp, ann: ApiUser):
    ours = (await delete(ann)).json()["receipt"]
    head, claims, signature = ours.split(".")
    reported: dict[str, Any] = jwt.decode(ours, options={"verify_signature": False})
    forged = [
        jwt.encode(reported, "another key of at least thirty-two bytes", algorithm="HS256"),
        jwt.encode(reported, "", algorithm="none"),
        f"{head}.{claims[:-2]}.{signature}",
        ann.token,
        "",
        "x" * 50_000,
    ]
    for receipt in forged:
        response = await house.guest.post("/auth/account/receipt", {"receipt": receipt})
        assert response.status_code == 400
        assert response.json()["error"] == "Invalid receipt"


async def test_deletion_and_its_receipt_are_known_after_the_key_was_replaced(
    house: OwnersApp, ann: ApiUser
):
    first = (await delete(ann)).json()
    current = house.gotrue.issue_api_key("service_role")
    keys = f"{current},{house.settings['SUPABASE_SERVICE_ROLE_KEY']}"
    settings = {**house.settings, "SUPABASE_SERVICE_ROLE_KEY": keys}
    async with (
        whole_server(settings) as server,
        httpx.AsyncClient(base_url=server.url, timeout=30) as http,
    ):
        again = ApiUser(http, ann.token, ann.user)
        receipt = await again.post("/auth/account/receipt", {"receipt": first["receipt"]})
        assert receipt.json()["valid"] is True
        second = (await delete(again)).json()
        assert second["deletedAt"] == first["deletedAt"]
        assert second["receipt"] != first["receipt"]  # signed with the current key


@pytest.mark.parametrize(
    ("header", "password"),
    [
        (None, ""),
        ("plain", "plain"),
        ("Ã¤", "ä"),  # UTF-8, read as Latin-1
        ("ä", "ä"),  # Latin-1
        ("a < b > c", "a < b > c"),
    ],
)
def test_the_bytes_of_a_header_are_utf_8_or_latin_1(header: str | None, password: str):
    assert confirmation_in_header(header) == password
