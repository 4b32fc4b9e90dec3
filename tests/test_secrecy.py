"""No secret and no personal datum in a log line or an error report, of the whole server.

The server is a process in staging, which logs as production does. Known secrets are sent to it in
headers, bodies, query strings and socket payloads, on requests that succeed, that are refused and
that break: a table is dropped, so that a real fault carries them in its exception, its cause and
its local variables.
"""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import psycopg
import trio
from trio_websocket import WebSocketConnection, open_websocket_url

from tests.identity.project import PASSWORD, new_user, open_project
from tests.observability.seeds import Seeds
from tests.support.environments import STAGING
from tests.support.ports import free_ports
from tests.support.postgres import as_owner
from tests.support.sentry_ingest import open_sentry_ingest
from tests.support.server_process import started_server


async def test_seeded_secrets_reach_neither_the_log_nor_the_error_reports(
    fresh_database_url: str, tmp_path: Path
) -> None:
    seeds = Seeds()
    async with (
        open_project(fresh_database_url) as gotrue,
        open_sentry_ingest() as ingest,
    ):
        ann = await new_user(gotrue)
        token = gotrue.issue_token(ann)
        settings = {
            **STAGING,
            "DATABASE_URL": fresh_database_url,
            "SUPABASE_URL": gotrue.url,
            "SUPABASE_ANON_KEY": gotrue.anon_key,
            "SUPABASE_SERVICE_ROLE_KEY": gotrue.service_role_key,
            "SENTRY_DSN": ingest.dsn.reveal(),
            "STRIPE_SECRET_KEY": seeds.stripe.replace("live", "test"),
            "OPENAI_API_KEY": seeds.openai,
            "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
            "STRIPE_WEBHOOK_SECRET": seeds.webhook,
            "LOG_LEVEL": "debug",
            "DRAIN_LINGER_SECONDS": "0",
        }
        async with started_server(settings, *free_ports(1), tmp_path) as server:
            await server.ready()
            async with httpx.AsyncClient(base_url=f"{server.url}/api/v1", timeout=20) as http:
                headers = {
                    "Authorization": f"Bearer {token}",
                    "Cookie": f"sid={seeds.session}",
                    "X-API-Key": seeds.stripe,
                    "confirmPassword": seeds.password,
                    "Referer": f"https://x.example/?token={seeds.jwt}",
                }
                recipe = {
                    "title": f"Soup for {seeds.email}",
                    "favouriteSpiceOfMine": "saffron from Herat",
                    "description": json.dumps(
                        {"password": seeds.password, "keys": [seeds.jwt, seeds.webhook]}
                    ),
                }
                query = {"search": seeds.email, "token": seeds.jwt, "code": seeds.code}
                login = {"email": seeds.email, "password": seeds.password}
                sign_in = {"email": ann.email, "password": PASSWORD}

                assert (await http.get("/recipes", params=query, headers=headers)).is_success
                assert (await http.post("/auth/login", json=login)).status_code == 401
                assert (await http.post("/auth/login", json=sign_in)).is_success
                bad = {"Authorization": f"Bearer {seeds.jwt}"}
                assert (await http.get("/auth/me", headers=bad)).status_code == 401
                refresh = {"refresh_token": seeds.refresh}
                assert (await http.post("/auth/refresh", json=refresh)).status_code == 401
                malformed = b'{"password": "' + seeds.password.encode()
                response = await http.post("/auth/login", content=malformed, headers=headers)
                assert response.status_code in (400, 415)

                await talk(server.url, token, seeds)

                with psycopg.connect(as_owner(fresh_database_url)) as owner:
                    owner.execute("drop table public.recipes cascade")
                broken = await http.post("/recipes", json=recipe, headers=headers)
                assert broken.status_code == 500
                assert broken.json()["code"] == "DATABASE_ERROR"
                assert (
                    await http.get("/recipes", params=query, headers=headers)
                ).status_code == 500
            server.signal(15)
            assert await server.ended() == 0
        log = server.text()
        reports = ingest.everything()

    assert len(ingest.events) >= 1
    for text in ("Soup for", "favouriteSpice", "saffron"):
        assert text not in reports
    assert log.count('"level":"ERROR"') >= 2
    for name, text in (("log", log), ("error reports", reports), ("answer", broken.text)):
        assert seeds.in_text(text) == [], name
        for secret in (token, ann.email, PASSWORD, gotrue.service_role_key):
            assert secret not in text, name


async def talk(url: str, token: str, seeds: Seeds) -> None:
    """Sends secrets over plain frames and as a token, good and bad."""
    address = f"{url.replace('http', 'ws')}/api/v1/realtime"
    with trio.fail_after(20):
        async with open_websocket_url(
            address, extra_headers=[("Authorization", f"Bearer {token}")]
        ) as websocket:
            await expect(websocket, "connected")
            for event in ("authenticate", "no_such_event"):
                data = {"token": seeds.jwt, "password": seeds.password, "email": seeds.email}
                await websocket.send_message(json.dumps({"event": event, "data": data, "id": 1}))
            await websocket.send_message(f"not json {seeds.jwt}")
            await trio.sleep(0.2)
        async with open_websocket_url(address) as websocket:
            frame = {"event": "authenticate", "data": {"token": seeds.jwt}}
            await websocket.send_message(json.dumps(frame))
            await expect(websocket, "connect_error")


async def expect(websocket: WebSocketConnection, event: str) -> None:
    received = json.loads(await websocket.get_message())
    assert received["event"] == event
