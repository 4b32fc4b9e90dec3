"""Scans: the assembled program, with fake servers for model and storage."""

from __future__ import annotations

import base64
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import structlog
import trio
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from msgspec.json import schema_components

from cookcam.features.food.scans import routes as routes_module
from cookcam.features.food.scans import vision as vision_module
from cookcam.features.food.scans.models import CATEGORIES
from cookcam.features.food.scans.requests import ScanCorrectionRequest
from cookcam.features.food.scans.vision import ModelIngredient, accepted
from cookcam.http.openapi_schemas import describe_body
from cookcam.integrations.supabase.storage import BUCKETS
from cookcam.sandbox.gotrue import Failure, Gotrue, open_gotrue
from cookcam.sandbox.openai import FakeOpenAI, Fault, open_openai
from cookcam.sandbox.serving import Faults
from cookcam.sandbox.storage import Files, include_storage
from tests.features.conftest import ApiUser, AppUnderTest, Client, Response
from tests.images.pictures import jpeg_claiming, motion_photo, plain, png_bomb
from tests.images.test_images import BROKEN, FOREIGN
from tests.support.postgres import as_owner
from tests.support.whole_server import environment, whole_server

FIELDS = {"name", "variety", "quantity", "unit", "confidence", "category"}


@frozen
class FoodApp(AppUnderTest):
    """The running program and what it talks to."""

    http: httpx.AsyncClient
    gotrue: Gotrue
    model: FakeOpenAI
    files: Files
    storage: Faults
    database_url: str

    async def stored_counts(self, person: ApiUser) -> tuple[int, int, int]:
        """Scans stored, scans counted, XP."""
        (row,) = await self.sql(
            "select (select count(*) from ingredient_scans where user_id = u.id),"
            " coalesce((select sum(used) from usage_counters where user_id = u.id), 0),"
            " u.total_xp from users u where u.id = %(id)s",
            id=person.id,
        )
        return int(row[0]), int(row[1]), row[2]

    async def allow(self, person: ApiUser) -> None:
        """Give a user the tier without a limit of scans."""
        await self.sql(
            "insert into user_subscriptions (user_id, tier_id, status, current_period_start,"
            " current_period_end, provider, provider_subscription_id)"
            " values (%(id)s, 2, 'active', now(), now() + interval '1 day', 'stripe', %(ref)s)",
            id=person.id,
            ref=f"sub_{uuid4().hex}",
        )


@asynccontextmanager
async def open_food_app(database_url: str, home: Path, **environ: str) -> AsyncIterator[FoodApp]:
    async with AsyncExitStack() as stack:
        files, storage = Files.at(home, BUCKETS), Faults()
        include = partial(include_storage, files=files, behaviour=storage)
        gotrue = await stack.enter_async_context(
            open_gotrue(as_owner(database_url), include=include)
        )
        model = await stack.enter_async_context(open_openai())
        settings = environment(database_url, gotrue, OPENAI_BASE_URL=model.url, **environ)
        server = await stack.enter_async_context(whole_server(settings))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=server.url, timeout=30))
        yield FoodApp(http, gotrue, model, files, storage, database_url)


@pytest.fixture
async def food_app(database_url: str, tmp_path: Path) -> AsyncIterator[FoodApp]:
    async with open_food_app(database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
async def ann(food_app: FoodApp) -> ApiUser:
    return await food_app.person()


def picture(color: int = 0) -> bytes:
    """Another picture for each number."""
    return plain(32, 32, color=(color % 256, color // 256, 99))


def text(data: bytes) -> dict[str, str]:
    return {"image_data": base64.b64encode(data).decode()}


async def camera(
    person: Client, data: bytes, kind: str = "image/jpeg", query: str = ""
) -> Response:
    return await person.post(
        f"/scan/ingredients{query}", content=data, headers={"Content-Type": kind}
    )


async def app(person: Client, data: bytes, **more: Any) -> Response:
    return await person.post("/scan/analyze", {**text(data), **more})


def assert_ingredients(body: dict[str, Any]) -> None:
    items = body["ingredients"]
    assert 1 <= len(items) <= 10
    for item in items:
        assert set(item) == FIELDS
        assert all(isinstance(item[name], str) for name in FIELDS - {"confidence"})
        assert 0.5 <= item["confidence"] <= 0.99
        assert item["name"] == item["name"].lower()
        assert item["category"] in CATEGORIES
    mean = sum(item["confidence"] for item in items) / len(items)
    assert body["confidence_score"] == pytest.approx(mean, abs=1e-4)


class TestCameraScan:
    async def test_scan_accepts_every_request_format(self, food_app: FoodApp, ann: ApiUser):
        responses = [
            await camera(ann, plain(2000, 1000)),
            await camera(ann, plain(32, 32, "PNG"), "image/png"),
            await camera(ann, plain(32, 32, "WEBP"), "image/webp"),
            await ann.post("/scan/ingredients", text(picture())),
        ]
        for response in responses:
            assert response.status_code == 200, response.text
            body = response.json()
            assert set(body) == {"scan_id", "ingredients", "confidence_score", "xp_awarded"}
            assert_ingredients(body)
            assert body["xp_awarded"] == 10
        question = (await food_app.model.request(0)).question
        assert (question.name, len(question.images)) == ("ingredient_scan", 1)
        sent = base64.b64decode(question.images[0].partition(",")[2])
        assert question.images[0].startswith("data:image/jpeg;base64,")
        assert b"\xff\xc0\x00\x11\x08\x01\x90\x03\x20" in sent  # 800 x 400

        scan = (await ann.get(f"/scan/{responses[0].json()['scan_id']}")).json()["scan"]
        assert scan["detected_ingredients"] == responses[0].json()["ingredients"]
        assert scan["image_url"] is None
        assert scan["scan_metadata"]["image_size"] == len(plain(2000, 1000))
        assert 0 < scan["scan_metadata"]["processing_time"] < 30_000
        assert set(scan["scan_metadata"]) == {"image_size", "processing_time"}
        stored, counted, xp = await food_app.stored_counts(ann)
        assert (stored, counted) == (4, 4)
        assert xp >= 40  # and what achievements bring

    @pytest.mark.parametrize(
        "content_type",
        [
            "image/jpg",
            "image/pjpeg",
            "image/x-png",
            "image/heic",
            "application/octet-stream",
            "binary/octet-stream",
            "application/x-www-form-urlencoded",
            "text/plain",
            None,
        ],
    )
    async def test_content_decides_over_the_content_type(
        self, food_app: FoodApp, ann: ApiUser, content_type: str | None
    ):
        headers = {} if content_type is None else {"Content-Type": content_type}
        response = await ann.post("/scan/ingredients", content=picture(), headers=headers)
        assert response.status_code == 200, response.text
        assert_ingredients(response.json())

    async def test_photos_of_phones_are_accepted(self, food_app: FoodApp, ann: ApiUser):
        await food_app.allow(ann)
        for data in (plain(64, 48, "HEIF"), plain(64, 48, "AVIF"), motion_photo()):
            response = await camera(ann, data, "image/heic")
            assert response.status_code == 200, response.text
            data_url = f"\n data:image/heic;base64,{base64.b64encode(data).decode()}"
            response = await ann.post(
                "/scan/analyze", {"image_data": data_url.replace("+", " "), "store_image": True}
            )
            assert response.status_code == 200, response.text

    async def test_unsupported_format_is_named_in_the_error(self, food_app: FoodApp, ann: ApiUser):
        advice = "Send the image as a JPEG, PNG, WebP, HEIC or AVIF"
        response = await camera(ann, FOREIGN["gif"], "image/heic")
        assert response.status_code == 400
        assert response.json()["details"]["reason"] == f"The file is a GIF. {advice}"
        response = await camera(ann, plain(64, 48, "HEIF")[:-20], "image/heic")
        assert response.status_code == 422
        assert response.json()["details"]["reason"] == (
            "The HEIC image could not be decoded. Send it as a JPEG"
        )

    async def test_invalid_images_are_rejected(self, food_app: FoodApp, ann: ApiUser):
        rejected = [
            await camera(ann, b"some words", "text/plain"),
            await camera(ann, FOREIGN["gif"], "image/gif"),
            await camera(ann, FOREIGN["gif"]),
            await camera(ann, b""),
            await ann.post("/scan/ingredients"),
            await ann.post("/scan/ingredients", {}),
        ]
        for response in rejected:
            assert response.status_code == 400, response.text
            assert response.json()["error"] == "No image file provided"
            assert response.json()["details"]["reason"]
        undecodable = (BROKEN["text"], BROKEN["truncated jpeg"], jpeg_claiming(30_000, 30_000))
        for data in undecodable:
            response = await camera(ann, data)
            assert response.status_code == 422
            assert response.json()["code"] == "INVALID_IMAGE"
        assert (await camera(ann, b"x" * (10 * 1024 * 1024 + 1))).status_code == 413
        assert (await camera(food_app.guest, picture())).status_code == 401
        assert food_app.model.received == []
        assert await food_app.stored_counts(ann) == (0, 0, 0)

    async def test_no_food_and_unusable_completions_are_a_422(
        self, food_app: FoodApp, ann: ApiUser
    ):
        for kind in ("empty", "garbage", "wrong_shape", "refusal", "truncated"):
            food_app.model.behaviour.fault = Fault(kind)  # type: ignore[arg-type]
            response = await camera(ann, picture())
            assert response.status_code == 422, kind
            body = response.json()
            assert (body["error"], body["code"]) == ("Failed to analyze image", "ANALYSIS_FAILED")
            assert body["details"]["reason"]
        assert await food_app.stored_counts(ann) == (0, 0, 0)

    async def test_free_tier_allows_five_scans_a_day(self, food_app: FoodApp, ann: ApiUser):
        for n in range(5):
            assert (await camera(ann, picture(n))).status_code == 200
        requested = len(food_app.model.received)
        for response in (await camera(ann, picture(6)), await app(ann, picture(7))):
            assert response.status_code == 403
            body = response.json()
            assert (body["error"], body["limit"], body["usage"]) == ("Limit reached", 5, 5)
            assert body["upgradeUrl"] == "/subscription/upgrade"
        assert len(food_app.model.received) == requested  # nothing was spent
        await food_app.allow(ann)
        assert (await camera(ann, picture(8))).status_code == 200

    async def test_concurrent_scans_do_not_exceed_the_quota(self, food_app: FoodApp, ann: ApiUser):
        statuses: list[int] = []

        async def one(n: int) -> None:
            statuses.append((await camera(ann, picture(n))).status_code)

        async with trio.open_nursery() as nursery:
            for n in range(8):
                nursery.start_soon(one, n)
        assert sorted(statuses) == [200] * 5 + [403] * 3
        assert (await food_app.stored_counts(ann))[:2] == (5, 5)

    async def test_row_that_cannot_be_written_is_a_500(self, food_app: FoodApp, ann: ApiUser):
        async with unwritable(food_app):
            response = await camera(ann, picture())
            assert response.status_code == 500
            assert response.json()["error"] == "Failed to store scan result"
        assert await food_app.stored_counts(ann) == (0, 0, 0)


class TestAppScan:
    async def test_scan_of_a_signed_in_user_is_stored(self, food_app: FoodApp, ann: ApiUser):
        data = picture()
        prefixed = f"data:image/jpeg;base64,{text(data)['image_data']}"
        response = await ann.post("/scan/analyze", {"image_data": prefixed})
        assert response.status_code == 200, response.text
        body = response.json()
        assert set(body) == {
            "success",
            "scan_id",
            "ingredients",
            "confidence_score",
            "xp_awarded",
            "user_authenticated",
        }
        assert (body["success"], body["user_authenticated"]) == (True, True)
        assert_ingredients(body)
        assert body["xp_awarded"] == 15
        scan = (await ann.get(f"/scan/{body['scan_id']}")).json()["scan"]
        assert scan["scan_metadata"]["ingredients_count"] == len(body["ingredients"])
        assert scan["scan_metadata"]["processing_time"] > 0

    async def test_scan_of_a_guest_is_not_stored(self, food_app: FoodApp):
        before = await food_app.sql("select count(*) from ingredient_scans")
        response = await app(food_app.guest, picture(), detected_ingredients=["carrot"])
        assert response.status_code == 200, response.text
        body = response.json()
        assert "scan_id" not in body
        assert (body["xp_awarded"], body["user_authenticated"]) == (0, False)
        assert_ingredients(body)
        stale = Client(food_app.http, "not a token")
        assert (await app(stale, picture(1))).json()["user_authenticated"] is False
        assert await food_app.sql("select count(*) from ingredient_scans") == before

    async def test_repeat_returns_the_first_scan(
        self, food_app: FoodApp, ann: ApiUser, database_url: str, tmp_path: Path
    ):
        first = (await app(ann, picture())).json()
        again = (await app(ann, picture())).json()
        assert again == {**first, "xp_awarded": 0}
        async with open_food_app(database_url, tmp_path / "other") as other_instance:
            assert ann.user is not None
            token = other_instance.gotrue.issue_token(ann.user)
            there = ApiUser(other_instance.http, token, ann.user)
            assert (await app(there, picture())).json() == again
            assert other_instance.model.received == []
        assert len(food_app.model.received) == 1
        assert (await food_app.stored_counts(ann))[:2] == (1, 1)
        bob = await food_app.person("Bob")
        assert (await app(bob, picture())).json()["scan_id"] != first["scan_id"]
        guests = [(await app(food_app.guest, picture())).json() for _ in range(2)]
        assert guests[0] == guests[1]
        assert len(food_app.model.received) == 3

    async def test_concurrent_repeats_share_one_scan(self, food_app: FoodApp, ann: ApiUser):
        food_app.model.behaviour.delay = 0.3
        bodies: list[dict[str, Any]] = []

        async def one() -> None:
            bodies.append((await app(ann, picture())).json())

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(one)
        assert len({body["scan_id"] for body in bodies}) == 1
        assert sorted(body["xp_awarded"] for body in bodies) == [0, 0, 0, 15]
        assert len(food_app.model.received) == 1

    async def test_invalid_images_are_rejected(self, food_app: FoodApp, ann: ApiUser):
        def body(data: Any, **more: Any) -> dict[str, Any]:
            return {"image_data": data, **more}

        huge = base64.b64encode(b"\xff\xd8\xff" + b"x" * 10 * 1024 * 1024).decode()
        gif = base64.b64encode(FOREIGN["gif"]).decode()
        image = text(picture())["image_data"]
        rejected = [
            ({}, 400, "No image data provided"),
            (body(None), 400, "No image data provided"),
            (body(""), 400, "No image data provided"),
            (body(7), 400, "No image data provided"),
            (body(gif), 400, "No image data provided"),
            (body(huge), 400, "Image size too large (max 10MB)"),
            (body(image, detected_ingredients="x"), 400, "Detected ingredients must be an array"),
            (body(image, detected_ingredients=[1] * 101), 400, "Too many ingredients (max 100)"),
            (body("!!!"), 422, "Failed to analyze image"),
            (body("aGVsbG8="), 422, "Failed to analyze image"),
            (text(png_bomb()), 422, "Failed to analyze image"),
        ]
        for sent, status, literal in rejected:
            response = await ann.post("/scan/analyze", sent)
            assert response.status_code == status, response.text
            received = response.json()
            assert (received["success"], received["error"]) == (False, literal)
            assert received["details"]
            if status == 422:
                assert received["code"] == "INVALID_IMAGE"
        assert (await ann.post("/scan/analyze", body("A" * 15 * 1024 * 1024))).status_code == 413
        assert food_app.model.received == []

    async def test_failures_of_the_model(self, food_app: FoodApp, ann: ApiUser):
        for fault, status, code in (
            (Fault("empty"), 422, "ANALYSIS_FAILED"),
            (Fault("garbage"), 422, "ANALYSIS_FAILED"),
            (Fault("status", status=400), 502, "SERVICE_ERROR"),
            (Fault("status", status=401), 500, "SERVICE_AUTH_ERROR"),
        ):
            food_app.model.behaviour.fault = fault
            with structlog.testing.capture_logs():  # a stack takes seconds to be drawn here
                response = await app(ann, picture())
            assert response.status_code == status
            assert (response.json()["code"], response.json()["success"]) == (code, False)
            if status in (422, 500):
                assert response.json()["error"] == "Failed to analyze image"
        food_app.model.behaviour.fault = Fault("garbage", times=1)
        assert (await app(ann, picture())).status_code == 200  # one repeat
        assert (await food_app.stored_counts(ann))[:2] == (1, 1)

    async def test_scan_id_is_omitted_when_the_row_cannot_be_written(
        self, food_app: FoodApp, ann: ApiUser
    ):
        async with unwritable(food_app):
            body = (await app(ann, picture())).json()
        assert "scan_id" not in body
        assert body["xp_awarded"] == 0
        assert_ingredients(body)
        assert await food_app.stored_counts(ann) == (0, 0, 0)
        assert "scan_id" in (await app(ann, picture())).json()

    async def test_disconnected_client_stores_nothing(self, food_app: FoodApp, ann: ApiUser):
        food_app.model.behaviour.delay = 0.5
        with trio.move_on_after(0.3):
            await app(ann, picture())
        received = await food_app.model.request(0)
        with trio.fail_after(5):
            await received.ended()
        assert received.outcome == "disconnected"
        assert await food_app.stored_counts(ann) == (0, 0, 0)

    async def test_hanging_model_is_a_504(
        self, food_app: FoodApp, ann: ApiUser, monkeypatch: pytest.MonkeyPatch
    ):
        assert vision_module.SECONDS < routes_module.SECONDS <= 55
        monkeypatch.setattr(vision_module, "SECONDS", 0.3)
        food_app.model.behaviour.fault = Fault("hang")
        response = await app(ann, picture())
        assert response.status_code == 504
        assert response.json()["error"]
        assert await food_app.stored_counts(ann) == (0, 0, 0)


async def test_costly_requests_have_their_own_rate_limits(database_url: str, tmp_path: Path):
    async with open_food_app(database_url, tmp_path, ENABLE_RATE_LIMITING="true") as food_app:
        guest, ann = food_app.guest, await food_app.person()
        await food_app.allow(ann)
        for sent in ({}, {"image_data": "!!!"}, text(png_bomb()), text(FOREIGN["gif"])):
            assert (await guest.post("/scan/analyze", sent)).status_code in (400, 422)  # free
        statuses = [(await app(guest, picture(n))).status_code for n in range(4)]
        assert statuses == [200, 200, 200, 429]
        rejected = await app(guest, picture(9))
        assert rejected.json()["retryAfter"] == int(rejected.headers["Retry-After"])
        statuses = [(await app(ann, picture(n))).status_code for n in range(5)]
        statuses += [(await camera(ann, picture(n))).status_code for n in range(6)]
        assert statuses == [200] * 10 + [429]


class TestHistory:
    async def test_history_is_newest_first_and_paged(self, food_app: FoodApp, ann: ApiUser):
        ids = [(await camera(ann, picture(n))).json()["scan_id"] for n in range(3)]
        bob = await food_app.person("Bob")
        await camera(bob, picture())

        async def listed(query: str = "") -> list[str]:
            response = await ann.get(f"/scan/history{query}")
            assert response.status_code == 200
            return [scan["id"] for scan in response.json()["scans"]]

        assert await listed() == ids[::-1]
        assert await listed("?limit=2") == ids[:0:-1]
        assert await listed("?limit=2&offset=2") == ids[:1]
        assert await listed("?offset=3") == []
        (scan, *_) = (await ann.get("/scan/history")).json()["scans"]
        assert set(scan) == {
            "id",
            "user_id",
            "detected_ingredients",
            "corrected",
            "image_url",
            "confidence_score",
            "scan_metadata",
            "created_at",
            "updated_at",
        }
        assert scan["user_id"] == ann.id
        for query, literal in (
            ("limit=0", "Invalid limit parameter (1-100)"),
            ("offset=x", "Invalid offset parameter"),
        ):
            response = await ann.get(f"/scan/history?{query}")
            assert (response.status_code, response.json()["error"]) == (400, literal)
        assert (await food_app.guest.get("/scan/history")).status_code == 401
        await food_app.sql("alter table ingredient_scans rename to scans_away")
        try:
            with structlog.testing.capture_logs():
                response = await ann.get("/scan/history")
        finally:
            await food_app.sql("alter table scans_away rename to ingredient_scans")
        assert response.status_code == 500
        assert response.json()["error"] == "Failed to fetch scan history"

    async def test_only_the_owner_can_read_a_scan(self, food_app: FoodApp, ann: ApiUser):
        scan_id = (await camera(ann, picture())).json()["scan_id"]
        assert (await ann.get(f"/scan/{scan_id}")).json()["scan"]["id"] == scan_id
        bob = await food_app.person("Bob")
        for response in (
            await bob.get(f"/scan/{scan_id}"),
            await ann.get(f"/scan/{uuid4()}"),
            await ann.get("/scan/7"),
        ):
            assert response.status_code == 404
            assert response.json()["error"] == "Scan not found"
        assert (await food_app.guest.get(f"/scan/{scan_id}")).status_code == 401


class TestCorrection:
    async def test_list_of_the_model_moves_to_the_metadata(self, food_app: FoodApp, ann: ApiUser):
        scan_id = (await camera(ann, picture())).json()["scan_id"]
        before = (await ann.get(f"/scan/{scan_id}")).json()["scan"]
        given = [
            {"name": " Leek ", "quantity": 2, "unit": "Pieces", "category": "vegetable"},
            {"name": "Gouda", "variety": "old", "confidence": 0.2, "other": "ignored"},
        ]
        response = await ann.put(f"/scan/{scan_id}/ingredients", {"ingredients": given})
        assert response.status_code == 200, response.text
        scan = response.json()["scan"]
        assert response.json()["message"]
        assert scan["corrected"] is True
        assert scan["detected_ingredients"] == [
            {
                "name": "leek",
                "variety": "",
                "quantity": "2",
                "unit": "pieces",
                "confidence": 0.99,
                "category": "vegetable",
            },
            {
                "name": "gouda",
                "variety": "old",
                "quantity": "",
                "unit": "",
                "confidence": 0.5,
                "category": "other",
            },
        ]
        assert scan["updated_at"] > before["updated_at"]
        kept = scan["scan_metadata"]["original_ingredients"]
        assert kept == before["detected_ingredients"]
        response = await ann.put(f"/scan/{scan_id}/ingredients", {"ingredients": []})
        assert response.json()["scan"]["detected_ingredients"] == []
        assert response.json()["scan"]["scan_metadata"]["original_ingredients"] == kept

    async def test_invalid_input_is_rejected(self, food_app: FoodApp, ann: ApiUser):
        scan_id = (await camera(ann, picture())).json()["scan_id"]
        path = f"/scan/{scan_id}/ingredients"
        _, documented = schema_components([ScanCorrectionRequest])
        body = deepcopy(documented["ScanCorrectionRequest"])  # models share parts of their schemas
        describe_body(body, ScanCorrectionRequest)
        schema = Draft202012Validator(body)
        for ingredients in (
            None,
            "leek",
            {"name": "leek"},
            ["leek"],
            [{}],
            [{"name": " "}],
            [{"name": "\u0081"}],
            [{"name": "\u200b"}],
            [{"name": 7}],
            [{"name": "x" * 101}],
            [{"name": "x", "category": "gold"}],
            [{"name": "x", "category": []}],
            [{"name": "x", "confidence": "much"}],
            [{"name": "x", "confidence": 2}],
            [{"name": "x", "unit": 5}],
            [{"name": "x"}] * 101,
        ):
            response = await ann.put(path, {"ingredients": ingredients})
            assert response.status_code == 400, ingredients
            assert response.json()["error"] == "Valid ingredients array is required"
            assert not schema.is_valid({"ingredients": ingredients}), ingredients
        assert (await ann.put(path)).status_code == 400
        good = {"ingredients": [{"name": "leek"}]}
        bob = await food_app.person("Bob")
        for response in (
            await bob.put(path, good),
            await ann.put(f"/scan/{uuid4()}/ingredients", good),
            await ann.put("/scan/7/ingredients", good),
        ):
            assert response.status_code == 404
            assert response.json()["error"] == "Scan not found or update failed"
        assert (await food_app.guest.put(path, good)).status_code == 401
        assert (await ann.get(f"/scan/{scan_id}")).json()["scan"]["corrected"] is False


class TestStoredImages:
    async def test_image_is_stored_on_request_for_its_owner(self, food_app: FoodApp, ann: ApiUser):
        await camera(ann, picture(1))
        assert food_app.files.all("scans") == []
        first = (await camera(ann, picture(2), query="?store_image=true")).json()["scan_id"]
        second = (await app(ann, picture(3), store_image=True)).json()["scan_id"]
        keys = [about.key for about in food_app.files.all("scans")]
        assert len(keys) == 2
        assert all(key.startswith(f"scans/{ann.id}/") for key in keys)
        for scan_id in (first, second):
            link = (await ann.get(f"/scan/{scan_id}")).json()["scan"]["image_url"]
            async with httpx.AsyncClient() as web:
                assert (await web.get(link)).content.startswith(b"\xff\xd8\xff")
        listed = (await ann.get("/scan/history")).json()["scans"]
        assert [bool(scan["image_url"]) for scan in listed] == [True, True, False]
        food_app.storage.failure = Failure(500)
        assert (await ann.get(f"/scan/{first}")).json()["scan"]["image_url"] is None

    async def test_failed_image_upload_does_not_fail_the_scan(
        self, food_app: FoodApp, ann: ApiUser
    ):
        food_app.storage.failure = Failure(400)
        response = await camera(ann, picture(), query="?store_image=true")
        assert response.status_code == 200
        assert (await food_app.stored_counts(ann))[0] == 1

    async def test_failed_scan_leaves_no_image(self, food_app: FoodApp, ann: ApiUser):
        async with unwritable(food_app):
            response = await camera(ann, picture(), query="?store_image=true")
            assert response.status_code == 500
        assert food_app.files.all("scans") == []


async def test_log_contains_no_payload_and_no_key(
    food_app: FoodApp, ann: ApiUser, caplog: pytest.LogCaptureFixture, capfd: Any
):
    caplog.set_level(logging.DEBUG)
    data = picture(77)
    with structlog.testing.capture_logs() as logs:
        body = (await app(ann, data)).json()
        await app(ann, BROKEN["truncated jpeg"])
        food_app.model.behaviour.fault = Fault("wrong_shape")
        await app(ann, picture(78))
    written = "".join([str(logs), caplog.text, *capfd.readouterr()])
    encoded = text(data)["image_data"]
    for secret in (encoded[:60], encoded[-60:], food_app.model.key, body["ingredients"][0]["name"]):
        assert secret not in written


async def test_the_legacy_prefix(food_app: FoodApp, ann: ApiUser):
    headers = {"Authorization": f"Bearer {ann.token}"}
    response = await food_app.http.post("/api/scan/analyze", json=text(picture()), headers=headers)
    assert response.status_code == 200
    assert (await food_app.http.get("/api/v1/scan/test-vision", headers=headers)).status_code == 404


@asynccontextmanager
async def unwritable(food_app: FoodApp) -> AsyncIterator[None]:
    """Inserting scans fails; the resulting errors are not logged."""
    await food_app.sql("revoke insert on ingredient_scans from authenticated")
    try:
        with structlog.testing.capture_logs():
            yield
    finally:
        await food_app.sql(
            "grant insert (id, user_id, detected_ingredients, corrected, image_url,"
            " confidence_score, scan_metadata) on ingredient_scans to authenticated"
        )


words = st.text(max_size=130)


@given(
    st.lists(
        st.builds(
            ModelIngredient,
            name=st.sampled_from(["Leek", " leek ", "egg", "", "x" * 101]) | words,
            variety=st.sampled_from(["", "Old", "old"]) | words,
            quantity=words,
            unit=words,
            confidence=st.floats(0, 1) | st.just(float("nan")),
            category=st.sampled_from(CATEGORIES),
        ),
        max_size=30,
    )
)
def test_accepted_ingredients_are_named_distinct_and_limited(items: list[ModelIngredient]):
    ingredients = accepted(items)
    assert len(ingredients) <= 10
    kinds = [(item.name, item.variety.lower()) for item in ingredients]
    assert len(set(kinds)) == len(kinds)
    for item in ingredients:
        assert 0.5 <= item.confidence <= 0.99
        assert item.name
        assert item.name == item.name.lower().strip()
        assert len(item.name) <= 100
    sure = {" ".join(item.name.split()).lower() for item in items if item.confidence >= 0.3}
    assert {item.name for item in ingredients} <= sure


def test_low_confidence_is_dropped_and_the_better_duplicate_wins():
    def item(name: str, confidence: float, variety: str = "") -> ModelIngredient:
        return ModelIngredient(name, variety, "1", "Whole", confidence, "vegetable")

    ingredients = accepted(
        [item("leek", 0.4), item("kale", 0.29), item("Leek", 0.8), item("leek", 0.7, "baby")]
    )
    assert [(i.name, i.variety, i.unit, i.confidence) for i in ingredients] == [
        ("leek", "", "whole", 0.8),
        ("leek", "baby", "whole", 0.7),
    ]
