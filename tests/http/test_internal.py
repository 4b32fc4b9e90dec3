from __future__ import annotations

import pytest

from cookcam.http import Routes
from cookcam.http.internal import require_internal
from tests.http.conftest import MakeSite

OLD, NEW = "o" * 32, "n" * 32


@pytest.mark.parametrize(
    ("setting", "offered", "status"),
    [
        (OLD, OLD, 200),
        (f"{NEW},{OLD}", OLD, 200),
        (f"{NEW},{OLD}", NEW, 200),
        (f"{NEW},{OLD}", f"{NEW},{OLD}", 401),
        (NEW, OLD, 401),
    ],
)
async def test_each_of_the_configured_keys_opens_internal_pages(
    make_site: MakeSite, setting: str, offered: str, status: int
) -> None:
    bp = Routes("internal", __name__)

    @bp.get("/figures")
    async def figures():
        from quart import request

        require_internal(request, site.config.server.internal_api_keys)  # pyright: ignore
        return {}

    site = make_site(bp, INTERNAL_API_KEY=setting)
    response = await site.client().get("/api/v1/figures", x_api_key=offered)
    assert response.status == status
