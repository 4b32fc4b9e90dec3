"""The OpenAPI document of `cookcam openapi`, requested from the program as a client would."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from cookcam.app import open_services
from cookcam.config import load
from cookcam.lifecycle.state import Lifecycle

SETTINGS: Mapping[str, str] = {
    # The document does not depend on these settings, and nothing connects to these addresses.
    "DATABASE_URL": "postgresql:///cookcam",
    "DB_POOL_MIN": "0",
    "SUPABASE_URL": "http://127.0.0.1:9",
    "SUPABASE_ANON_KEY": "none",
    "SUPABASE_SERVICE_ROLE_KEY": "none",
    "OPENAI_API_KEY": "none",
}


async def openapi_document() -> str:
    """The text of `/openapi.json`, which is the same in every environment."""
    async with open_services(load(SETTINGS), Lifecycle()) as services:
        transport = httpx.ASGITransport(services.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://cookcam") as client:
            response = await client.get("/openapi.json")
            return response.raise_for_status().text
