"""The nginx configuration of deploy/nginx in front of two instances that echo their requests."""

from __future__ import annotations

import json
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from attrs import frozen
from trio_websocket import connect_websocket_url

from tests.support.nginx import Nginx, running_nginx
from tests.support.ports import free_ports
from tests.support.serving import our_server
from tests.support.tls import make_certificate

pytestmark = [pytest.mark.external, pytest.mark.xdist_group("deploy")]


@frozen
class Instance:
    """Responds with the request it received; `/status/503` responds with that status."""

    name: str

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": self.name})
            await receive()
            return
        size = 0
        while (message := await receive())["type"] == "http.request":
            size += len(message.get("body", b""))
            if not message.get("more_body"):
                break
        headers = {k.decode(): v.decode() for k, v in scope["headers"]}
        about = {"instance": self.name, "path": scope["path"], "size": size, "headers": headers}
        _, _, status = scope["path"].partition("/status/")
        body = json.dumps(about).encode()
        if "big" in scope["path"]:
            body = json.dumps({**about, "padding": "x" * 4000}).encode()
        await send(
            {
                "type": "http.response.start",
                "status": int(status or 200),
                "headers": [
                    (b"content-type", b"application/json; charset=utf-8"),
                    (b"content-length", b"%d" % len(body)),
                    (b"x-request-id", headers["x-request-id"].encode()),
                    (b"x-frame-options", b"DENY"),
                ],
            }
        )
        await send({"type": "http.response.body", "body": body})


@frozen
class Front:
    """nginx with two instances behind it, and a client."""

    nginx: Nginx
    client: httpx.AsyncClient

    async def seen(self, path: str, **headers: str) -> dict[str, Any]:
        """The GET request as the instance received it."""
        response = await self.client.get(path, headers=headers)
        assert response.status_code == 200, response.text
        return response.json()


@asynccontextmanager
async def front(
    folder: Path, *, limited: bool = False, redirect: str | None = None
) -> AsyncIterator[Front]:
    async with AsyncExitStack() as stack:
        ports = [(await stack.enter_async_context(our_server(Instance(n))))[0] for n in "ab"]
        unlimited = "192.0.2.1/32" if limited else "127.0.0.1/32"
        nginx = stack.enter_context(
            running_nginx(folder / "nginx", ports, unlimited=unlimited, redirect=redirect)
        )
        context = nginx.certificate.client_context()
        client = httpx.AsyncClient(base_url=nginx.url, verify=context, timeout=20)
        yield Front(nginx, await stack.enter_async_context(client))


def is_error(response: httpx.Response, status: int, code: str) -> bool:
    """True for an error in the format of the server's errors."""
    body = response.json()
    return (
        response.status_code == body["statusCode"] == status
        and response.headers["content-type"] == "application/json; charset=utf-8"
        and body["error"] == body["code"] == code
        and body["requestId"] == response.headers["x-request-id"]
        and bool(body["message"])
        and bool(body["timestamp"])
    )


@pytest.mark.parametrize(("redirect", "port"), [(None, ""), (":8443", ":8443")])
async def test_plain_port_redirects_to_tls(tmp_path: Path, redirect: str | None, port: str):
    async with front(tmp_path, redirect=redirect) as it, httpx.AsyncClient(verify=False) as plain:
        response = await plain.get(f"http://127.0.0.1:{it.nginx.plain_port}/api/v1/recipes?page=2")
        assert response.status_code == 301
        assert response.headers["location"] == f"https://api.test{port}/api/v1/recipes?page=2"


async def test_request_arrives_with_forwarded_headers(tmp_path: Path):
    async with front(tmp_path) as it:
        seen = await it.seen(
            "/api/v1/recipes",
            **{"X-Request-ID": "my-id.1", "X-Forwarded-For": "203.0.113.9", "Upgrade": "nonsense"},
        )
        headers = seen["headers"]
        assert headers["x-request-id"] == "my-id.1"
        assert headers["x-forwarded-for"] == "203.0.113.9, 127.0.0.1"
        assert headers["x-forwarded-proto"] == "https"
        assert "connection" not in headers
        assert "upgrade" not in headers
        unusable = (await it.seen("/api/v1/recipes", **{"X-Request-ID": 'a"b'}))["headers"]
        assert len(unusable["x-request-id"]) == 32
        assert {(await it.seen("/"))["instance"] for _ in range(4)} == {"a", "b"}


@pytest.mark.parametrize("http2", [False, True])
async def test_host_arrives_with_its_port(tmp_path: Path, *, http2: bool):
    """Pages are compared by it with the origin of a form or a socket."""
    async with front(tmp_path) as it:
        context = it.nginx.certificate.client_context()
        async with httpx.AsyncClient(
            base_url=it.nginx.url, verify=context, http2=http2, http1=not http2
        ) as client:
            seen = (await client.get("/ops")).json()["headers"]
            assert seen["host"] == f"127.0.0.1:{it.nginx.port}"
            seen = (await client.get("/ops", headers={"Host": "api.test"})).json()["headers"]
            assert seen["host"] == "api.test"


async def test_certificate_is_replaced_without_a_failed_request(tmp_path: Path):
    (tmp_path / "next").mkdir()
    following = make_certificate(tmp_path / "next", "next")
    async with front(tmp_path) as it:
        context = it.nginx.certificate.client_context()
        context.load_verify_locations(following.cert_file)
        statuses: list[int] = []
        served: list[str] = []  # serial numbers

        async def ask() -> None:
            async with httpx.AsyncClient(base_url=it.nginx.url, verify=context) as client:
                response = await client.get("/api/v1/recipes")
            statuses.append(response.status_code)
            stream = response.extensions["network_stream"]
            served.append(stream.get_extra_info("ssl_object").getpeercert()["serialNumber"])

        await ask()
        shutil.copy(following.cert_file, it.nginx.certificate.cert_file)
        shutil.copy(following.key_file, it.nginx.certificate.key_file)
        it.nginx.reload()
        with trio.fail_after(20):
            while served[-1] == served[0]:
                await ask()
        await ask()
        assert served[-1] != served[0]
        assert set(statuses) == {200}


async def test_responses_pass_unchanged_and_large_ones_are_compressed(tmp_path: Path):
    async with front(tmp_path) as it:
        response = await it.client.get("/api/v1/status/503")
        assert response.status_code == 503
        assert response.json()["path"] == "/api/v1/status/503"
        assert response.headers.get_list("x-frame-options") == ["DENY"]
        assert "content-encoding" not in response.headers
        assert (await it.client.get("/api/v1/big")).headers["content-encoding"] == "gzip"


async def test_body_size_is_limited_by_path(tmp_path: Path):
    async with front(tmp_path) as it:
        three = b"x" * 3_000_000
        rejected = await it.client.post("/api/v1/recipes", content=three)
        assert is_error(rejected, 413, "PAYLOAD_TOO_LARGE")
        assert rejected.json()["path"] == "/api/v1/recipes"
        photographs = (
            "/api/v1/scan/analyze",
            "/api/scan/ingredients",
            "/api/v1/auth/profile/photo",
            "/API/V1/recipes/1/upload-completion-photo",
        )
        for path in photographs:
            response = await it.client.post(path, content=three)
            assert response.json()["size"] == len(three), path


async def test_internal_paths_are_not_reachable(tmp_path: Path):
    async with front(tmp_path) as it:
        for prefix in ("", "/api/v1"):
            for path in (
                *("/health/ready", "/health/detailed", "/health/db", "/health/cache"),
                *("/health/metrics", "/health/security", "/metrics"),
            ):
                for spelling in (path, path.upper(), path + "/", path.replace("e", "%65")):
                    response = await it.client.get(prefix + spelling)
                    assert is_error(response, 404, "NOT_FOUND"), spelling
            assert await it.seen(f"{prefix}/health")
            assert await it.seen(f"{prefix}/health/live")


async def test_without_an_instance_the_error_is_json(tmp_path: Path):
    with running_nginx(tmp_path / "nginx", free_ports(2)) as nginx:
        context = nginx.certificate.client_context()
        async with httpx.AsyncClient(base_url=nginx.url, verify=context) as client:
            response = await client.post("/api/v1/recipes", json={"title": "Bread"})
            assert is_error(response, 502, "SERVICE_UNAVAILABLE")
            assert response.headers["retry-after"] == "2"
            harmful = await client.get('/api/v1/"},{"')
            assert is_error(harmful, 502, "SERVICE_UNAVAILABLE")
            assert harmful.json()["path"] == ""


async def test_an_instance_that_is_down_costs_no_request(tmp_path: Path):
    async with our_server(Instance("a")) as (port, _):
        with running_nginx(tmp_path / "nginx", [port, *free_ports(1)]) as nginx:
            context = nginx.certificate.client_context()
            async with httpx.AsyncClient(base_url=nginx.url, verify=context) as client:
                for _ in range(10):
                    response = await client.post("/api/v1/recipes", json={"title": "Bread"})
                    assert response.json()["instance"] == "a"
            assert {line["status"] for line in nginx.log()} == {200}


async def test_flood_from_one_client_is_429_and_others_are_served(tmp_path: Path):
    async with front(tmp_path, limited=True) as it:
        mine, yours = (f"Bearer header.payload.{letter * 40}" for letter in "my")
        statuses: list[int] = []

        async def ask() -> None:
            response = await it.client.get("/api/v1/recipes", headers={"Authorization": mine})
            statuses.append(response.status_code)
            if response.status_code == 429:
                assert is_error(response, 429, "RATE_LIMIT_ERROR")
                assert response.json()["retryAfter"] == 1
                assert response.headers["retry-after"] == "1"

        for _ in range(10):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(ask)
        assert set(statuses) == {200, 429}
        assert statuses.count(200) >= 100  # the app sends that many events in one go
        assert await it.seen("/api/v1/recipes", Authorization=yours)
        assert await it.seen("/health")


@pytest.mark.parametrize("path", ["/socket.io/?EIO=4&transport=polling", "/api/v1/realtime"])
async def test_only_websocket_upgrades_pass(path: str, tmp_path: Path):
    """A tunnel of another protocol would bypass every location and limit."""
    async with front(tmp_path) as it:
        for upgrade in ("h2c", "h2c, websocket", "websocket, h2c", "TLS/1.0"):
            settings = {"Upgrade": upgrade, "HTTP2-Settings": "AAMAAABkAAQAAP__"}
            seen = await it.seen(path, Connection="Upgrade, HTTP2-Settings", **settings)
            assert "upgrade" not in seen["headers"]
            assert "connection" not in seen["headers"]


async def test_sockets_are_upgraded_and_polling_stays_with_one_instance(tmp_path: Path):
    async with front(tmp_path) as it:
        polls = [(await it.seen("/socket.io/?transport=polling"))["instance"] for _ in range(6)]
        assert len(set(polls)) == 1
        assert "connection" not in (await it.seen("/socket.io/"))["headers"]
        upgraded = [
            await first_message(it.nginx, "/socket.io/?transport=websocket&sid=1") for _ in range(3)
        ]
        assert set(upgraded) == set(polls)
        direct = {await first_message(it.nginx, "/api/v1/realtime") for _ in range(4)}
        assert direct == {"a", "b"}
        spread = [
            await first_message(it.nginx, "/socket.io/?EIO=4&transport=websocket")
            for _ in range(20)
        ]
        assert set(spread) == {"a", "b"}


async def first_message(nginx: Nginx, path: str) -> str:
    """The message of the instance on a WebSocket at `path`."""
    context: ssl.SSLContext = nginx.certificate.client_context()
    url = f"wss://127.0.0.1:{nginx.port}{path}"
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            connection = await connect_websocket_url(nursery, url, ssl_context=context)
            message = await connection.get_message()
            await connection.aclose()
            return str(message)


async def test_log_is_json_without_query_strings(tmp_path: Path):
    async with front(tmp_path) as it:
        await it.seen("/api/v1/recipes?token=secret-in-query", **{"X-Request-ID": "the-id"})
        await it.seen("/health")
        with trio.fail_after(5):
            while not (lines := it.nginx.log()):
                await trio.sleep(0.02)
        [line] = lines  # probes are not logged
        assert (line["request_id"], line["path"]) == ("the-id", "/api/v1/recipes")
        assert (line["status"], line["upstream_status"]) == (200, "200")
        assert line["request_time"] >= 0
        assert float(line["upstream_response_time"]) >= 0
        assert "secret" not in json.dumps(line)
