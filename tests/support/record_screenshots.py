"""Screenshots of the operations console and the documentation pages, for docs/images.

    python -m tests.support.record_screenshots docs/images

A running program with some users, errors, failed webhooks and reports, in headless Chromium.
"""

from __future__ import annotations

import base64
import json
import sys
import tempfile
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Final
from uuid import uuid4

import trio
from PIL import Image
from trio_websocket import ConnectionClosed, open_websocket_url

from tests.contract.server import ContractServer, open_contract_server
from tests.features.conftest import ApiUser
from tests.identity.project import PASSWORD
from tests.support.chromium import Page, open_page, running_chromium
from tests.support.postgres import TEMPLATE, start_cluster

DESKTOP: Final = (1280, 860)
PHONE: Final = (375, 780)
TRAFFIC_SECONDS: Final = 45.0
TIMEOUT: Final = 200.0

FAILED_EVENT: Final = """
    insert into stripe_webhook_events (
      event_id, event_type, livemode, status, payload, attempts, error_message, next_attempt_at
    )
    values (
      %(id)s, %(type)s, false, 'failed', '{}', %(attempts)s, %(error)s,
      now() + %(due)s::interval
    )
"""


async def fill(stub: ContractServer, ann: ApiUser, bob: ApiUser) -> None:
    """Failed webhooks, and reports of a recipe and a user."""
    for name, kind, attempts, error, due in (
        ("evt_1Q8f3kPayment", "invoice.payment_failed", 10, "SERVICE_ERROR", None),
        ("evt_1Q8f9cDispute", "charge.dispute.created", 10, "unreadable", None),
        ("evt_1Q8g2vRenewal", "customer.subscription.updated", 3, "TIMEOUT", "25 minutes"),
    ):
        await stub.sql(FAILED_EVENT, id=name, type=kind, attempts=attempts, error=error, due=due)
    recipe = await stub.recipe(
        bob, title="Miracle weight loss soup", description="Order at cheap-pills.example now"
    )
    for reason, details, target in (
        ("spam", "It only advertises a shop.", {"target_type": "recipe", "target_id": recipe}),
        (
            "harassment",
            "Rude messages in a cooking session.",
            {"target_type": "user", "target_id": bob.id},
        ),
    ):
        await ann.post("/reports", {**target, "reason": reason, "details": details})


async def traffic(stub: ContractServer, person: ApiUser) -> None:
    """Requests, some of which fail, and sockets that come and go."""
    async with trio.open_nursery() as nursery:
        for number in range(12):
            nursery.start_soon(socket_of, stub, person, number)
        with trio.move_on_after(TRAFFIC_SECONDS):
            while True:
                for path in ("/recipes", "/auth/me", f"/recipes/{uuid4()}", "/subscription/tiers"):
                    await person.get(path)
                await stub.http.get("/api/v1/auth/me")
                await trio.sleep(0.1)
        nursery.cancel_scope.cancel()


async def socket_of(stub: ContractServer, person: ApiUser, number: int) -> None:
    await trio.sleep(2.5 * number)
    url = f"{stub.server.url.replace('http', 'ws')}/api/v1/realtime"
    headers = [(b"authorization", f"Bearer {person.token}".encode())]
    with suppress(ConnectionClosed):
        async with open_websocket_url(url, extra_headers=headers) as socket:
            while True:
                await socket.get_message()


async def screenshot(page: Page, file: Path, size: tuple[int, int], scheme: str) -> None:
    width, height = size
    await page.call(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=height,
        deviceScaleFactor=1,
        mobile=size == PHONE,
    )
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    await page.call("Emulation.setEmulatedMedia", features=features)
    await trio.sleep(1.5)
    shot = await page.call("Page.captureScreenshot", format="png")
    picture = Image.open(BytesIO(base64.b64decode(shot["data"]))).convert("RGB")
    picture.quantize(256, dither=Image.Dither.NONE).save(file, optimize=True)


async def open_view(page: Page, stub: ContractServer, path: str) -> None:
    await page.open(f"{stub.server.url}{path}")
    await page.wait_for(
        f"location.pathname === '{path}'"
        " && document.getElementById('connection')?.dataset.state === 'live'"
    )


async def record(page: Page, stub: ContractServer, folder: Path) -> None:
    ada, ann, bob = [await stub.person(*who) for who in (("Ada", "admin"), ("Ann",), ("Bob",))]
    await fill(stub, ann, bob)
    await page.open(f"{stub.server.url}/ops/sign-in")
    await page.wait_for("document.forms[0]")
    await page.evaluate(
        f"document.getElementById('email').value = {json.dumps(ada.email)};"
        f"document.getElementById('password').value = {json.dumps(PASSWORD)};"
        "document.forms[0].requestSubmit()"
    )
    await page.wait_for("document.getElementById('connection')?.dataset.state === 'live'")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(traffic, stub, ann)
        await trio.sleep(TRAFFIC_SECONDS - 10)
        await screenshot(page, folder / "console-overview.png", DESKTOP, "light")
        await screenshot(page, folder / "console-overview-dark.png", DESKTOP, "dark")
        await screenshot(page, folder / "console-phone.png", PHONE, "light")
        await open_view(page, stub, "/ops/tasks")
        await screenshot(page, folder / "console-tasks.png", DESKTOP, "light")
        await open_view(page, stub, "/ops/process")
        await screenshot(page, folder / "console-process-dark.png", DESKTOP, "dark")
        nursery.cancel_scope.cancel()
    await open_view(page, stub, "/ops/webhooks")
    await screenshot(page, folder / "console-webhooks.png", DESKTOP, "light")
    await open_view(page, stub, "/ops/reports")
    await screenshot(page, folder / "console-reports-dark.png", DESKTOP, "dark")
    await page.open(f"{stub.server.url}/api-docs/events#receive-update_cooking_status")
    await page.wait_for("document.querySelector('details[open] form')")
    await page.evaluate(
        f"document.getElementById('token').value = '{ann.token}';"
        "document.getElementById('connect').click()"
    )
    await page.wait_for("document.getElementById('state').dataset.state === 'live'")
    await page.evaluate("document.querySelector('main details[open] form').requestSubmit()")
    await screenshot(page, folder / "events.png", DESKTOP, "light")
    await page.open(f"{stub.server.url}/api-docs#post-/api/v1/auth/login")
    await page.wait_for("document.querySelector('details[open] form')")
    await screenshot(page, folder / "api-docs-dark.png", DESKTOP, "dark")


async def run(url: str, home: Path, folder: Path) -> None:
    with running_chromium(home / "profile") as chromium:
        async with (
            open_contract_server(url, home / "storage") as stub,
            open_page(chromium) as page,
        ):
            with trio.fail_after(TIMEOUT):
                await record(page, stub, folder)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    cluster = start_cluster(Path(tempfile.gettempdir()) / f"cookcam-{uuid4().hex[:12]}")
    with cluster.temporary(TEMPLATE) as database, tempfile.TemporaryDirectory() as home:
        trio.run(run, cluster.url(database, "cookcam_app"), Path(home), folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
