"""The Storage client against the fake Supabase server on a real port."""

from __future__ import annotations

import socket
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import structlog
import trio
from attrs import frozen

from cookcam.config.readers import Secret
from cookcam.errors import (
    AppError,
    PayloadTooLarge,
    RateLimited,
    ServiceAuthError,
    ServiceError,
    ServiceUnavailable,
)
from cookcam.integrations.retry import RetryPolicy, ServiceTimeout
from cookcam.integrations.supabase.storage import (
    BUCKETS,
    ObjectExists,
    ObjectNotFound,
    Storage,
    new_key,
)
from cookcam.sandbox.gotrue import Failure, open_gotrue
from cookcam.sandbox.serving import Faults
from cookcam.sandbox.storage import Files, include_storage
from tests.support.postgres import as_owner

QUICK = RetryPolicy(deadline=2.0, attempts=3, initial_delay=0.01)


@frozen
class Project:
    url: str
    anon_key: str
    service_role_key: str
    files: Files
    behaviour: Faults


@pytest.fixture
async def project(database_url: str, tmp_path: Path) -> AsyncIterator[Project]:
    files, behaviour = Files.at(tmp_path, BUCKETS), Faults()
    include = partial(include_storage, files=files, behaviour=behaviour)
    async with open_gotrue(as_owner(database_url), include=include) as gotrue:
        yield Project(gotrue.url, gotrue.anon_key, gotrue.service_role_key, files, behaviour)


@asynccontextmanager
async def client_of(url: str, key: str, policy: RetryPolicy = QUICK) -> AsyncIterator[Storage]:
    async with Storage.open(
        supabase_url=url, service_role_key=Secret(key), write=policy, read=policy
    ) as storage:
        yield storage


@pytest.fixture
async def storage(project: Project) -> AsyncIterator[Storage]:
    async with client_of(project.url, project.service_role_key) as opened:
        yield opened


@pytest.fixture
async def web() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as client:
        yield client


def test_new_keys_are_unique_and_contain_the_user_id():
    user = uuid4()
    key = new_key("dishes", user)
    assert key.startswith(f"dishes/{user}/")
    assert key.endswith(".jpg")
    assert key != new_key("dishes", user)


async def test_public_object_is_readable_without_credentials(
    storage: Storage, web: httpx.AsyncClient
):
    key = new_key("faces", uuid4())
    await storage.put("avatars", key, b"\xff\xd8\xff picture")
    response = await web.get(storage.public_url("avatars", key))
    assert (response.status_code, response.content) == (200, b"\xff\xd8\xff picture")
    assert response.headers["content-type"] == "image/jpeg"
    assert response.headers["cache-control"] == "max-age=31536000"


async def test_private_object_is_readable_with_a_signed_url_until_it_expires(
    storage: Storage, web: httpx.AsyncClient
):
    key = new_key("scans", uuid4())
    await storage.put("scans", key, b"private")
    assert (await web.get(storage.public_url("scans", key))).status_code == 400
    assert (await web.get(storage.public_url("scans", key).replace("public/", ""))).is_error
    signed = (await storage.signed_urls("scans", [key]))[key]
    assert (await web.get(signed)).content == b"private"
    assert (await web.get(signed[:-4] + "AAAA")).is_error
    other = new_key("scans", uuid4())
    await storage.put("scans", other, b"another user's")
    assert (await web.get(signed.replace(key, other))).is_error
    over = await storage.signed_urls("scans", [key], -1)
    assert "exp" in (await web.get(over[key])).json()["message"]


async def test_many_urls_are_signed_in_one_call(storage: Storage, web: httpx.AsyncClient):
    keys = [new_key("scans", uuid4()) for _ in range(3)]
    for key in keys[:2]:
        await storage.put("scans", key, key.encode())
    links = await storage.signed_urls("scans", keys)
    assert set(links) == set(keys[:2])
    assert (await web.get(links[keys[1]])).content == keys[1].encode()


async def test_existing_object_is_not_overwritten(storage: Storage, web: httpx.AsyncClient):
    key = new_key("faces", uuid4())
    await storage.put("avatars", key, b"first")
    with pytest.raises(ObjectExists):
        await storage.put("avatars", key, b"second")
    assert (await web.get(storage.public_url("avatars", key))).content == b"first"


async def test_listing_and_deleting(storage: Storage):
    user, other = uuid4(), uuid4()
    keys = [new_key("dishes", user) for _ in range(3)]
    async with trio.open_nursery() as nursery:
        for key in [*keys, new_key("dishes", other), f"dishes/{user}/deeper/x.jpg"]:
            nursery.start_soon(storage.put, "completion-photos", key, b"x")
    assert await storage.list("completion-photos", f"dishes/{user}") == sorted(keys)
    assert await storage.list("completion-photos", f"/dishes/{user}/") == sorted(keys)
    assert await storage.list("completion-photos", "nothing") == []
    await storage.delete("completion-photos", [*keys[:2], "never/there.jpg"])
    await storage.delete("completion-photos", [])
    assert await storage.list("completion-photos", f"dishes/{user}") == [keys[2]]
    assert await storage.signed_urls("completion-photos", keys[:1]) == {}


async def test_long_lists_are_read_completely(storage: Storage, project: Project):
    for n in range(205):
        project.files.put("scans", f"many/{n:03}.jpg", b"x", "image/jpeg", "no-cache")
    keys = await storage.list("scans", "many")
    assert keys == [f"many/{n:03}.jpg" for n in range(205)]
    await storage.delete("scans", keys)
    assert await storage.list("scans", "many") == []


async def test_keys_cannot_escape_the_bucket(storage: Storage, project: Project, tmp_path: Path):
    for key in ("../../escape.jpg", "a/../../b.jpg", "a/" + "long" * 99):
        with pytest.raises(ServiceError):
            await storage.put("avatars", key, b"x")
    assert not list(tmp_path.parent.glob("**/escape.jpg"))


async def test_rejections_are_translated(storage: Storage, project: Project):
    project.files.make_bucket("tight", public=False, file_size_limit=3)
    with pytest.raises(PayloadTooLarge):
        await storage.put("tight", "a.jpg", b"xxxx")  # type: ignore[arg-type]
    with pytest.raises(ObjectNotFound):
        await storage.put("nowhere", "a.jpg", b"x")  # type: ignore[arg-type]
    for key in (project.anon_key, "not a key"):
        async with client_of(project.url, key) as stranger:
            with pytest.raises(ServiceAuthError):
                await stranger.put("avatars", "a.jpg", b"x")


class TestWhenStorageFails:
    @pytest.mark.parametrize(
        ("status", "error"),
        [(500, ServiceUnavailable), (503, ServiceUnavailable), (429, RateLimited)],
    )
    async def test_failures_are_translated(
        self, storage: Storage, project: Project, status: int, error: type[AppError]
    ):
        project.behaviour.failure = Failure(status)
        for call in (
            partial(storage.put, "avatars", "a.jpg", b"x"),
            partial(storage.signed_urls, "avatars", ["a.jpg"]),
            partial(storage.delete, "avatars", ["a.jpg"]),
            partial(storage.list, "avatars", ""),
        ):
            with pytest.raises(error):
                await call()

    async def test_transient_failures_are_retried(self, storage: Storage, project: Project):
        project.behaviour.failure = Failure(503, times=2)
        await storage.put("avatars", "a.jpg", b"x")
        project.behaviour.failure = Failure(502, times=2)
        assert await storage.list("avatars", "") == ["a.jpg"]

    async def test_retry_after_a_lost_response_is_not_a_duplicate(
        self, storage: Storage, project: Project
    ):
        project.behaviour.failure = Failure(504, times=1, late=True)
        await storage.put("avatars", "a.jpg", b"x")
        assert project.files.get("avatars", "a.jpg")[1] == b"x"

    async def test_hanging_server_times_out(self, project: Project):
        project.behaviour.delay = 60
        policy = RetryPolicy(deadline=0.2)
        with structlog.testing.capture_logs() as logs:
            async with client_of(project.url, project.service_role_key, policy) as storage:
                with trio.fail_after(30), pytest.raises(ServiceTimeout):
                    await storage.put("avatars", "a.jpg", b"x")
        (line,) = [entry for entry in logs if entry["event"] == "storage does not answer"]
        assert line["operation"] == "put"

    async def test_rejected_connection_is_unavailable(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        async with client_of(f"http://127.0.0.1:{port}", "key") as storage:
            with pytest.raises(ServiceUnavailable):
                await storage.list("avatars", "")

    @pytest.mark.parametrize(
        "body", [b"<html>", b'{"a": 1}', b"[7]", b"7", b'[{"signedURL": null}]']
    )
    async def test_malformed_responses_are_service_errors(self, body: bytes):
        response = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        async with _always(response) as url, client_of(url, "key") as storage:
            with pytest.raises(ServiceError):
                await storage.signed_urls("avatars", ["a.jpg"])

    async def test_errors_do_not_contain_the_key(self, project: Project):
        secret = "sb_secret_hidden"
        project.behaviour.failure = Failure(500)
        async with client_of(project.url, secret) as storage:
            with pytest.raises(ServiceUnavailable) as caught:
                await storage.put("avatars", "a.jpg", b"x")
        shown = "".join(traceback.format_exception(caught.value))
        assert secret not in shown
        assert caught.value.__cause__ is None


@asynccontextmanager
async def _always(response: bytes) -> AsyncIterator[str]:
    """A server that sends the same bytes to every client."""

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(response)

    async with trio.open_nursery() as nursery:
        listening: Callable[..., Awaitable[None]] = partial(
            trio.serve_tcp, serve, 0, host="127.0.0.1"
        )
        (listener,) = await nursery.start(listening)
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()
