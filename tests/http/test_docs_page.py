"""The documentation page in a real browser: drawn from /openapi.json, within the page's own CSP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from jsonschema import Draft202012Validator

from tests.contract.server import ContractServer, open_contract_server
from tests.identity.project import PASSWORD
from tests.images.pictures import plain
from tests.support.chromium import Page, open_page, running_chromium

pytestmark = [pytest.mark.external, pytest.mark.xdist_group("docs-page")]
HOST = "cookcam.test"
OTHER_HOST = f"--host-resolver-rules=MAP {HOST} 127.0.0.1"
"""A browser trusts 127.0.0.1 as it does https, and no other address over plain HTTP."""

OPEN_ALL = "document.querySelectorAll('details.operation').forEach((box) => { box.open = true })"


@pytest.fixture
async def stub(database_url: str, tmp_path: Path) -> AsyncIterator[ContractServer]:
    async with open_contract_server(database_url, tmp_path / "storage") as opened:
        yield opened


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with running_chromium(tmp_path_factory.mktemp("chromium"), OTHER_HOST) as port:
        yield port


@pytest.fixture
async def page(chromium: int, stub: ContractServer) -> AsyncIterator[Page]:
    """The documentation page, drawn, as it is seen from another machine over plain HTTP."""
    with trio.fail_after(90):
        async with open_page(chromium) as opened:
            await opened.open(f"http://{HOST}:{stub.server.port}/api-docs")
            await opened.wait_for("document.querySelectorAll('.operation').length > 50")
            yield opened


def box(method: str, path: str) -> str:
    """The script's expression for the box of an operation."""
    return (
        "[...document.querySelectorAll('.operation')].find((box) =>"
        f" box.querySelector('.method').textContent === '{method}'"
        f" && box.querySelector('.path').textContent === '{path}')"
    )


async def opened_form(page: Page, method: str, path: str) -> None:
    """Opens an operation and marks its form, which is drawn then, with the id `form`."""
    await page.evaluate(f"window.box = {box(method, path)}; window.box.open = true")
    await page.wait_for("window.box.querySelector('form')")
    await page.evaluate("window.box.querySelector('form').id = 'form'")


async def sent(page: Page) -> tuple[int, str]:
    """Sends the form: the status of the response, and what is shown of it."""
    await page.evaluate("document.querySelector('#form').requestSubmit()")
    shown = await page.wait_for(
        "document.querySelector('#form pre').textContent.match(/^(\\d+|\\w*Error)[^]*/)?.[0]"
    )
    assert shown[0].isdecimal(), shown
    return int(shown.split()[0]), shown


async def test_page_lists_operations_within_its_policy_over_plain_http(page: Page) -> None:
    text = await page.evaluate("document.body.textContent")
    for path in ("/api/v1/recipes", "/api/v1/auth/login", "/api/v1/users/profile"):
        assert path in text
    assert [entry for entry in page.messages if "Content Security Policy" in entry] == []


async def test_every_prefilled_body_is_valid_by_its_schema(
    page: Page, stub: ContractServer
) -> None:
    document: dict[str, Any] = (await stub.http.get("/openapi.json")).json()
    await page.evaluate(OPEN_ALL)
    await page.wait_for("document.querySelectorAll('.operation form').length > 50")
    bodies = await page.evaluate(
        """[...document.querySelectorAll('.operation')].map((box) => [
          box.querySelector('.method').textContent.toLowerCase(),
          box.querySelector('.path').textContent.replace('/api/v1', ''),
          box.querySelector('textarea')?.value ?? '',
        ]).filter(([, , body]) => body !== '')"""
    )
    wrong: list[str] = []
    for method, path, body in bodies:
        content = document["paths"][path][method]["requestBody"]["content"]["application/json"]
        whole = {**content["schema"], "components": document["components"]}
        errors = Draft202012Validator(whole).iter_errors(json.loads(body))
        wrong += [f"{method} {path}: {error.message:.100}" for error in errors]
    assert not wrong, "\n".join(wrong)
    assert len(bodies) > 50


async def test_header_parameters_are_sent(page: Page, stub: ContractServer) -> None:
    cora = await stub.creator()
    await page.evaluate(f"document.getElementById('token').value = '{cora.token}'")
    await opened_form(page, "POST", "/api/v1/recipes/suggestions")
    await page.evaluate("document.querySelector('#form [name=\"Idempotency-Key\"]').value = 'k1'")
    status, first = await sent(page)
    assert status == 200
    assert "idempotency-replayed" not in first.lower()
    await page.evaluate("document.querySelector('#form pre').textContent = ''")
    status, second = await sent(page)
    assert status == 200
    assert "idempotency-replayed: true" in second.lower()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/api/v1/scan/ingredients", "file"),
        ("/api/v1/scan/analyze", "json"),
        ("/api/v1/auth/profile/photo", "form"),
        ("/api/v1/recipes/{recipe_id}/upload-completion-photo", "json"),
    ],
)
async def test_files_are_uploaded(
    page: Page, stub: ContractServer, tmp_path: Path, path: str, kind: str
) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(plain())
    cora = await stub.creator()
    await page.evaluate(f"document.getElementById('token').value = '{cora.token}'")
    await opened_form(page, "POST", path)
    if "{recipe_id}" in path:
        recipe = await stub.recipe(cora)
        await page.evaluate(f"document.querySelector('#form [name=recipe_id]').value = '{recipe}'")
    await page.evaluate(
        f"window.kind = document.querySelector('#form select'); window.kind.value = '{kind}';"
        "window.kind.dispatchEvent(new Event('change'))"
    )
    await page.choose_file("#form input[type=file]", photo)
    if kind == "json":
        await page.wait_for("document.querySelector('#form textarea').value.includes('/9j/')")
    status, shown = await sent(page)
    assert status in (200, 201), shown


async def test_page_signs_in_and_shows_examples_of_responses(
    page: Page, stub: ContractServer
) -> None:
    ann = await stub.person("Ann")
    await page.evaluate(
        f"document.querySelector('#sign-in [name=email]').value = {json.dumps(ann.email)};"
        f"document.querySelector('#sign-in [name=password]').value = {json.dumps(PASSWORD)};"
        "document.querySelector('#sign-in form').requestSubmit()"
    )
    await page.wait_for(
        f"document.getElementById('session').textContent === {json.dumps(ann.email)}"
    )
    await opened_form(page, "GET", "/api/v1/auth/me")
    assert '"email": ' in await page.evaluate("window.box.querySelector('pre.code').textContent")
    status, shown = await sent(page)
    assert status == 200
    assert ann.email in shown
    await page.evaluate(
        "document.getElementById('filter').value = 'post login';"
        "document.getElementById('filter').dispatchEvent(new Event('input'))"
    )
    assert await page.evaluate("document.getElementById('found').textContent") == "1 found"


async def test_event_page_connects_sends_an_event_and_shows_the_reply(
    page: Page, stub: ContractServer
) -> None:
    ann = await stub.person("Ann")
    await page.open(f"{stub.server.url}/api-docs/events#receive-update_cooking_status")
    box = "document.getElementById('receive-update_cooking_status')"
    await page.wait_for(f"{box}?.open && {box}.querySelector('form')")
    await page.evaluate(
        f"document.getElementById('token').value = '{ann.token}';"
        "document.getElementById('connect').click()"
    )
    await page.wait_for("document.getElementById('state').dataset.state === 'live'")
    await page.evaluate(f"{box}.querySelector('form').requestSubmit()")
    frames = "[...document.querySelectorAll('#log strong')].map((one) => one.textContent)"
    await page.wait_for(f"{frames}.includes('ack')")
    assert set(await page.evaluate(frames)) == {
        *("connected", "authenticated", "update_cooking_status", "ack")
    }
    assert ann.token not in await page.evaluate("document.getElementById('log').textContent")
    assert [entry for entry in page.messages if "Content Security Policy" in entry] == []
