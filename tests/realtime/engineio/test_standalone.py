from __future__ import annotations

import json

import httpx
import pytest

from cookcam.realtime.engineio import EngineServer, standalone
from cookcam.realtime.socketio import SocketServer
from tests.realtime.engineio.client import POLLING, Recorder
from tests.support.every_server import plain_hypercorn


@pytest.mark.parametrize("path", ["/engine.io/", "/engine.io", "/socket.io/"])
async def test_each_server_is_on_its_path(path):
    app = standalone(EngineServer(Recorder()), SocketServer())
    async with plain_hypercorn(app) as address, httpx.AsyncClient() as http:
        response = await http.get(f"http://{address}{path}?{POLLING}")
        assert json.loads(response.text[1:])["pingInterval"] == 25000


async def test_other_paths_are_404():
    async with plain_hypercorn(standalone()) as address, httpx.AsyncClient() as http:
        assert (await http.get(f"http://{address}/elsewhere")).status_code == 404
