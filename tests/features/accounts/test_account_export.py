"""The export of everything we hold of a person, and their photograph: the whole program."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio

from cookcam.features.accounts.export import archive as archive_module
from cookcam.features.accounts.export import store as store_module
from cookcam.features.accounts.export.archive import Entry, zipped
from cookcam.features.accounts.export.service import file_name
from cookcam.features.accounts.personal_data import PERSONAL_ROWS
from cookcam.sandbox.gotrue import Failure
from tests.features.conftest import ApiUser
from tests.images.pictures import plain, png_bomb
from tests.support.owners import OwnersApp, open_owners_app
from tests.support.personal_data import fill


@pytest.fixture
async def house(database_url: str, tmp_path: Path) -> AsyncIterator[OwnersApp]:
    async with open_owners_app(database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
async def ann(house: OwnersApp) -> ApiUser:
    return await house.person("Ann")


class TestTheExport:
    async def test_holds_every_row_and_file_of_the_person_and_of_nobody_else(
        self, house: OwnersApp, ann: ApiUser, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(store_module, "PAGE_SIZE", 2)
        bob = await house.person("Bob")
        await house.subscribe(ann)
        await fill(house, ann, bob)
        house.keep_files(ann)
        house.keep_files(bob)
        await house.sql(
            "insert into user_progress (user_id, action, xp_gained, total_xp, old_level, new_level)"
            " select %(id)s, 'STEP_COMPLETE', 5, n, 1, 1 from generate_series(1, 6) n",
            id=ann.id,
        )
        response = await ann.get("/auth/account/export")
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/zip"
        assert response.headers["cache-control"] == "no-store"
        assert "attachment" in response.headers["content-disposition"]
        assert "etag" not in response.headers
        files = unzipped(response.content)
        shown = [held for held in PERSONAL_ROWS if held.export_exemption is None]
        assert set(files) == {"about.json", "files.json", *(f"{file_name(h)}.json" for h in shown)}
        for held in shown:
            ((count,),) = await house.sql(
                f"select count(*) from {held.table} t where t.{held.column} = %(id)s"
                f" and {held.where}",
                id=ann.id,
            )
            rows = files[f"{file_name(held)}.json"]
            assert len(rows) == count > 0, held
            assert all(row[held.column] == ann.id for row in rows)
            assert not any(set(held.hidden) & row.keys() for row in rows)
        assert files["profile.json"][0]["email"] == ann.email
        assert len(files["user_progress.json"]) == 8
        received = files["files.json"]
        assert {file["bucket"] for file in received} == {"avatars", "completion-photos", "scans"}
        for file in received:
            assert ann.id in file["key"]
            assert (await house.http.get(file["url"])).content == b"jpeg"
        assert bob.email not in json.dumps(files)
        assert {left["table"] for left in files["about.json"]["left_out"]} == {
            held.table for held in PERSONAL_ROWS if held.export_exemption
        }

    async def test_of_user_with_nothing_is_made_of_empty_files(self, ann: ApiUser):
        files = unzipped((await ann.get("/auth/account/export")).content)
        assert files["recipes_published.json"] == []
        assert files["files.json"] == []

    async def test_requested_for_its_head_has_no_body(self, ann: ApiUser):
        response = await ann.request("HEAD", "/auth/account/export")
        assert (response.status_code, response.content) == (200, b"")
        assert (await ann.get("/auth/me")).status_code == 200

    async def test_is_rejected_in_time_to_say_so(self, house: OwnersApp, ann: ApiUser):
        assert (await house.guest.get("/auth/account/export")).status_code == 401
        house.storage.failure = Failure(503)
        response = await ann.get("/auth/account/export")
        assert (response.status_code, response.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
        house.storage.failure = None
        await house.sql("delete from auth.users where id = %(id)s", id=ann.id)
        assert (await ann.get("/auth/account/export")).status_code == 401

    async def test_may_be_requested_for_ten_times_a_minute(self, database_url: str, tmp_path: Path):
        async with open_owners_app(
            database_url, tmp_path / "limited", ENABLE_RATE_LIMITING="true"
        ) as house:
            ann, bob = await house.person("Ann"), await house.person("Bob")
            for _ in range(10):
                assert (await ann.get("/auth/account/export")).status_code == 200
            rejected = await ann.get("/auth/account/export")
            assert rejected.status_code == 429
            assert rejected.json()["retryAfter"] > 0
            assert (await bob.get("/auth/account/export")).status_code == 200


async def test_an_archive_is_sent_while_it_is_made(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(archive_module, "FLUSH_BYTES", 1)
    written = 0

    async def parts() -> AsyncIterator[str]:
        nonlocal written
        for n in range(200):
            written = n
            yield f"{n * n * 7919:0500}"

    async def entries() -> AsyncIterator[Entry]:
        yield Entry("a.txt", parts())
        yield Entry("empty.txt", nothing())

    async def nothing() -> AsyncIterator[str]:
        for part in ():
            yield part

    sent, early = bytearray(), 0
    async for part in zipped(entries(), datetime(2026, 1, 2, tzinfo=UTC)):
        early += bool(part and written < 199)
        sent += part
    assert early
    with zipfile.ZipFile(io.BytesIO(sent)) as archive:
        assert archive.testzip() is None
        assert len(archive.read("a.txt")) == 200 * 500
        assert archive.read("empty.txt") == b""


class TestThePhotograph:
    async def test_is_redrawn_kept_and_replaces_the_last_one(self, house: OwnersApp, ann: ApiUser):
        first = await ann.post(
            "/auth/profile/photo",
            files={"photo": ("a.png", plain(3000, 200, "PNG"), "image/png")},
        )
        assert first.status_code == 200
        body = first.json()
        assert body["success"] is True
        assert body["avatarUrl"] == body["avatar_url"] == body["user"]["avatar_url"]
        (old,) = house.files_of(ann)
        assert old.startswith(f"avatars/{ann.id}/")
        stored = await house.http.get(body["avatarUrl"])
        assert stored.headers["content-type"] == "image/jpeg"
        assert stored.content.startswith(b"\xff\xd8")
        second = await ann.post(
            "/auth/profile/photo", content=plain(), headers={"Content-Type": "image/jpeg"}
        )
        assert second.status_code == 200
        (new,) = house.files_of(ann)
        assert new != old
        assert (await ann.get("/auth/me")).json()["user"]["avatar_url"].endswith(new)

    async def test_does_not_touch_files_that_an_address_names(self, house: OwnersApp, ann: ApiUser):
        bob = await house.person("Bob")
        house.keep_files(bob)
        theirs = next(key for key in house.files_of(bob) if key.startswith("avatars"))
        await house.sql(
            "update users set avatar_url = %(url)s where id = %(id)s",
            id=ann.id,
            url=f"{house.gotrue.url}/storage/v1/object/public/avatars/{theirs}",
        )
        response = await ann.post("/auth/profile/photo", content=plain())
        assert response.status_code == 200
        assert theirs in house.files_of(bob)

    async def test_of_the_app_is_rejected_at_once(self, ann: ApiUser):
        broken = json.dumps({"_parts": [["photo", {"uri": "file:///a.jpg", "type": "image/jpeg"}]]})
        with trio.fail_after(1):
            response = await ann.post(
                "/auth/profile/photo",
                content=broken,
                headers={"Content-Type": "multipart/form-data"},
            )
        assert response.status_code == 400
        body = response.json()
        assert body["success"] is False
        assert "photo" in body["message"]
        assert body["error"] == body["message"]

    async def test_heic_is_taken_as_phones_send_it(self, house: OwnersApp, ann: ApiUser):
        heic = plain(64, 48, "HEIF")
        responses = [
            await ann.post("/auth/profile/photo", files={"photo": ("a.heic", heic, "image/heic")}),
            await ann.post("/auth/profile/photo", content=heic),
        ]
        for response in responses:
            assert response.status_code == 200, response.text
        assert len(house.files_of(ann)) == 1

    async def test_that_cannot_be_taken_is_rejected(self, house: OwnersApp, ann: ApiUser):
        form = {"Content-Type": "multipart/form-data; boundary=b"}
        png = plain(kind="PNG")
        cases: list[tuple[dict[str, Any], int]] = [
            ({"content": b""}, 400),
            ({"content": b"%PDF-1.7", "headers": {"Content-Type": "image/jpeg"}}, 400),
            ({"content": png[: len(png) // 2]}, 422),
            ({"content": png_bomb()}, 422),
            ({"content": b"x" * (10 * 1024 * 1024 + 1)}, 413),
            ({"files": {"picture": ("a.png", png, "image/png")}}, 400),
            ({"data": {"photo": "text"}, "files": {"x": ("a", b"y")}}, 400),
            ({"content": b"", "headers": form}, 400),
            ({"content": b"no form at all", "headers": form}, 400),
            ({"content": b"--b\r\nContent-Disposition: form-data", "headers": form}, 400),
        ]
        for kwargs, status in cases:
            response = await ann.post("/auth/profile/photo", **kwargs)
            assert response.status_code == status, (str(kwargs)[:80], response.text)
            body = response.json()
            assert body["success"] is False
            assert isinstance(body["error"], str)
        # More than any form around a photograph is refused before it gets here.
        huge = await ann.post("/auth/profile/photo", content=b"x" * (12 * 1024 * 1024))
        assert (huge.status_code, huge.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")
        assert (await house.guest.post("/auth/profile/photo", content=png)).status_code == 401
        assert house.files_of(ann) == []

    async def test_without_storage_the_old_one_stays(self, house: OwnersApp, ann: ApiUser):
        before = (await ann.post("/auth/profile/photo", content=plain())).json()["avatarUrl"]
        house.storage.failure = Failure(503)
        response = await ann.post("/auth/profile/photo", content=plain())
        assert response.status_code == 503
        house.storage.failure = None
        assert (await ann.get("/auth/me")).json()["user"]["avatar_url"] == before
        assert len(house.files_of(ann)) == 1


def unzipped(content: bytes) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {name: json.loads(archive.read(name)) for name in archive.namelist()}
