"""Requests that get no session, and what web pages of which origin may do."""

from __future__ import annotations

import pytest

from cookcam.realtime.engineio import EngineServer, Rejected, Request
from tests.realtime.engineio.client import PATH, POLLING, WEBSOCKET, Recorder, open_polling, poll
from tests.support.asgi import RequestRejected, request, websocket

PAGE = b"https://cookcam.app"
FOREIGN = [(b"origin", b"https://elsewhere.example")]
OWN = [(b"origin", PAGE)]


@pytest.mark.parametrize(
    ("method", "query", "code", "message"),
    [
        ("GET", "EIO=4", 0, "Transport unknown"),
        ("GET", "EIO=4&transport=carrier-pigeon", 0, "Transport unknown"),
        ("GET", "EIO=4&transport=polling&sid=unknown", 1, "Session ID unknown"),
        ("POST", "EIO=4&transport=polling", 2, "Bad handshake method"),
        ("DELETE", "EIO=4&transport=polling", 2, "Bad handshake method"),
        ("GET", "EIO=4&transport=websocket", 3, "Bad request"),
        ("GET", "&".join(f"q{n}=" for n in range(100)), 3, "Bad request"),
        ("GET", "EIO=3&transport=polling", 5, "Unsupported protocol version"),
        ("GET", "transport=polling", 5, "Unsupported protocol version"),
    ],
)
async def test_rejections_over_http(method, query, code, message, autojump_clock):
    async with EngineServer(Recorder()) as server:
        response = await request(server, method, PATH, query)
        assert (response.status, response.json()) == (400, {"code": code, "message": message})
        assert response.headers["content-type"] == "application/json"
        assert not server.sessions


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("EIO=4", 0),
        ("EIO=4&transport=websocket&sid=unknown", 1),
        ("EIO=4&transport=polling", 3),
        ("EIO=3&transport=websocket", 5),
    ],
)
async def test_rejections_of_an_upgrade(query, code, autojump_clock):
    async with EngineServer(Recorder()) as server:
        with pytest.raises(RequestRejected) as rejected:
            async with websocket(server, PATH, query):
                pass
        assert rejected.value.response.status == 400
        assert rejected.value.response.json()["code"] == code


async def test_other_methods_than_get_and_post_are_rejected_for_a_session(autojump_clock):
    async with EngineServer(Recorder()) as server:
        sid = await open_polling(server)
        response = await request(server, "PUT", PATH, f"{POLLING}&sid={sid}")
        assert (response.status, response.json()["code"]) == (400, 2)


async def test_server_of_one_transport_rejects_the_other(autojump_clock):
    async with EngineServer(Recorder(), transports=["websocket"]) as server:
        response = await request(server, "GET", PATH, POLLING)
        assert response.json() == {"code": 0, "message": "Transport unknown"}


async def test_admit_can_reject_a_handshake_with_its_own_status(autojump_clock):
    async def admit(request: Request) -> None:
        if request.header("authorization") is None:
            raise Rejected("Slow down", status=429, headers=[(b"retry-after", b"60")])

    async with EngineServer(Recorder(), admit=admit) as server:
        response = await request(server, "GET", PATH, POLLING)
        assert (response.status, response.headers["retry-after"]) == (429, "60")
        assert response.json() == {"code": 4, "message": "Slow down"}
        with pytest.raises(RequestRejected) as rejected:
            async with websocket(server, PATH, WEBSOCKET):
                pass
        assert rejected.value.response.status == 429
        async with websocket(server, PATH, WEBSOCKET, [(b"authorization", b"x")]):
            pass


async def test_while_draining_handshakes_are_503_and_sessions_go_on(autojump_clock):
    handler = Recorder()
    async with EngineServer(handler) as server:
        sid = await open_polling(server)
        server.draining = True
        response = await request(server, "GET", PATH, POLLING)
        assert (response.status, response.headers["connection"]) == (503, "close")
        with pytest.raises(RequestRejected) as rejected:
            async with websocket(server, PATH, WEBSOCKET):
                pass
        assert rejected.value.response.status == 503
        assert (await poll(server, sid)).text == "2"


async def test_pages_of_listed_origins_can_read_responses(autojump_clock):
    async with EngineServer(Recorder(), origins=[PAGE.decode()]) as server:
        response = await request(server, "GET", PATH, POLLING, headers=OWN)
        assert response.headers["access-control-allow-origin"] == PAGE.decode()
        assert response.headers["access-control-allow-credentials"] == "true"
        assert response.headers["vary"] == "Origin"
        rejected = await request(server, "GET", PATH, "EIO=4", headers=OWN)
        assert "access-control-allow-origin" in rejected.headers
        other = await request(server, "GET", PATH, POLLING, headers=FOREIGN)
        assert "access-control-allow-origin" not in other.headers


async def test_preflights_succeed_for_listed_origins(autojump_clock):
    ask = [(b"access-control-request-headers", b"authorization")]
    async with EngineServer(Recorder(), origins=[PAGE.decode()]) as server:
        response = await request(server, "OPTIONS", PATH, POLLING, headers=[*OWN, *ask])
        assert response.status == 204
        assert response.headers["access-control-allow-methods"] == "GET, POST"
        assert response.headers["access-control-allow-headers"] == "authorization"
        other = await request(server, "OPTIONS", PATH, POLLING, headers=[*FOREIGN, *ask])
        assert "access-control-allow-methods" not in other.headers


@pytest.mark.parametrize(
    ("headers", "admitted"),
    [
        ([], True),
        (OWN, True),
        ([(b"origin", b"https://testserver")], True),
        (FOREIGN, False),
        ([(b"origin", b"null")], False),
    ],
    ids=["no origin", "listed", "same host", "foreign", "opaque"],
)
async def test_websockets_are_for_listed_origins_and_native_apps(headers, admitted, autojump_clock):
    async with EngineServer(Recorder(), origins=[PAGE.decode()]) as server:
        if admitted:
            async with websocket(server, PATH, WEBSOCKET, headers):
                return
        with pytest.raises(RequestRejected) as rejected:
            async with websocket(server, PATH, WEBSOCKET, headers):
                pass
        assert rejected.value.response.status == 403
        assert rejected.value.response.json() == {"code": 4, "message": "Forbidden"}


async def test_star_allows_every_origin_and_none_disables_the_check(autojump_clock):
    for origins in (["*"], None):
        async with EngineServer(Recorder(), origins=origins) as server:
            async with websocket(server, PATH, WEBSOCKET, FOREIGN):
                pass
            response = await request(server, "GET", PATH, POLLING, headers=FOREIGN)
            assert ("access-control-allow-origin" in response.headers) == (origins is not None)


@pytest.mark.parametrize(("path", "handled"), [(PATH, True), (PATH[:-1], True), ("/", False)])
def test_the_last_slash_of_the_path_does_not_matter(path, handled):
    assert EngineServer(Recorder()).handles(path) is handled
