"""Every row of the table of routes (`overview.py`), on the whole program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from attrs import frozen

from tests.contract.overview import (
    ADMIN,
    ALSO,
    BACKUPS,
    NEVER,
    REQUIRED,
    ROWS,
    UPLOADS,
    Rejection,
    Row,
)
from tests.contract.server import ContractServer
from tests.contract.test_client import PASSWORD, filled, is_error
from tests.features.conftest import ApiUser, Client, Response
from tests.identity.project import some_email
from tests.images.pictures import plain

LIVE = """
with session as (
  insert into live_cooking_sessions (id, host_id, title) values (%(id)s, %(ann)s, 'Tonight')
  returning id
), participant as (
  insert into live_cooking_participants (session_id, user_id) select id, %(ann)s from session
), message as (
  insert into live_cooking_messages (session_id, seq, user_id, message)
  select id, 1, %(ann)s, 'Hi' from session
), share as (
  insert into live_recipe_shares (id, user_id, title) values (%(id)s, %(ann)s, 'Soup')
  returning id
)
insert into live_recipe_comments (share_id, user_id, comment) select id, %(ann)s, 'Yum' from share
"""
"""A private cooking session of Ann's with a message, and a share with a comment."""

PREFIXES = ("/api/v1", "/api")


@frozen
class Stage:
    """The people, and what is known of them and of what they made."""

    server: ContractServer
    people: Mapping[str, Client]
    kept: dict[str, Any]

    async def ask(self, who: str, method: str, path: str, body: Any, prefix: str) -> Response:
        client = self.people[who]
        headers = {"Authorization": f"Bearer {client.token}"} if client.token else {}
        sent = {} if body is None else {"json": filled(body, self.kept)}
        url = prefix + filled(path, self.kept)
        return await client.http.request(method, url, headers=headers, **sent)


async def staged(server: ContractServer) -> Stage:
    ann: ApiUser = await server.person("Ann", password=PASSWORD)
    bob: ApiUser = await server.person("Bob", password=PASSWORD)
    cora = await server.creator()
    await server.sql("update users set is_creator = true where id = %(id)s", id=cora.id)
    admin = await server.person("Ada", "admin")
    butter = f"Butter, salted {uuid4().hex[:8]}"
    words = "".join(chr(ord("g") + int(digit, 16)) for digit in uuid4().hex)
    content = {"ingredients": ["10 g butter"], "instructions": ["Melt"], "servings": 2}
    live = f"{uuid4().hex}"
    await server.sql(LIVE, ann=ann.id, id=live)
    await server.sql(
        "select notify_user(%(ann)s, 'hint', 'Cook', 'Cook something', '{}', 'hint')", ann=ann.id
    )
    kept = {
        "share": live,
        "live": live,
        "email": ann.email,
        "new_email": some_email("eve"),
        "password": PASSWORD,
        "ann": ann.id,
        "admin": admin.id,
        "chef": f"CHEF_{cora.id[-8:].upper()}",
        "food": butter,
        "ingredient": str(await server.ingredient(butter)),
        "nonsense": str(await server.ingredient(words)),
        "recipe": await server.recipe(ann, **content),
    }
    return Stage(server, {"ann": ann, "bob": bob, "admin": admin, "guest": server.guest}, kept)


def at(body: Any, path: str) -> Any:
    """What is at `a.0.b`. Raises KeyError, IndexError or TypeError."""
    for step in path.split("."):
        body = body[int(step)] if isinstance(body, list) else body[step]
    return body


def has(body: Any, path: str) -> bool:
    try:
        at(body, path)
    except (KeyError, IndexError, TypeError):
        return False
    return True


def unlike_rejection(response: Response, rejection: Rejection, *, flagged: bool) -> list[str]:
    body = response.json()
    wrong = [problem for problem in [is_error(response)] if problem]
    if (response.status_code, body.get("error")) != (rejection.status, rejection.error):
        wrong.append(f"{response.status_code} {body.get('error')!r}, not {rejection}")
    if (body.get("success") is False) != flagged:
        wrong.append(f"the flag is {body.get('success')!r}")
    if rejection.code is not None and body.get("code") != rejection.code:
        wrong.append(f"the code is {body.get('code')}")
    wrong += [f"there is no {key}" for key in (*rejection.extra, "requestId") if key not in body]
    return wrong


def unlike_success(response: Response, row: Row) -> list[str]:
    if response.status_code != row.status:
        return [f"{response.status_code}: {response.text:.200}"]
    body = response.json()
    wrong = [f"there is no {key}" for key in row.keys if not has(body, key)]
    for key, value in row.values.items():
        if not has(body, key) or at(body, key) != value:
            wrong.append(f"{key} is not {value!r}")
    return wrong


async def rejections(stage: Stage, row: Row) -> list[str]:
    """Without a token, as a user without permission, and with the other errors of the row."""
    wrong: list[str] = []
    if row.auth in (REQUIRED, ADMIN):
        wanted = Rejection(401, "Authentication required")
        for prefix in PREFIXES[: 1 + row.alias]:
            response = await stage.ask("guest", row.method, row.path, row.body, prefix)
            wrong += unlike_rejection(response, wanted, flagged=row.flagged)
    if row.auth == ADMIN:
        response = await stage.ask("ann", row.method, row.path, row.body, PREFIXES[0])
        wanted = Rejection(403, "Admin access required")
        wrong += unlike_rejection(response, wanted, flagged=row.flagged)
    for rejection in row.rejections:
        path, who = rejection.path or row.path, rejection.who or row.who
        response = await stage.ask(who, row.method, path, rejection.body, PREFIXES[0])
        wrong += unlike_rejection(response, rejection, flagged=row.flagged)
    return wrong


async def test_every_row_accepts_and_rejects_as_declared(server: ContractServer):
    stage = await staged(server)
    wrong: list[str] = []
    for row in (*ROWS, *ALSO):
        problems = await rejections(stage, row)
        response = await stage.ask(row.who, row.method, row.path, row.body, PREFIXES[0])
        problems += unlike_success(response, row)
        for name, key in row.keep.items():
            if has(response.json(), key):
                stage.kept[name] = at(response.json(), key)
        wrong += [f"{row.number} {row.method} {row.path}: {problem}" for problem in problems]
    assert not wrong, "\n" + "\n".join(wrong)


async def test_the_alias_answers_what_the_canonical_path_does(server: ContractServer):
    """Every read, and every write that can be refused, under both prefixes."""
    stage = await staged(server)
    wrong: list[str] = []
    for row in ROWS:
        if row.auth == ADMIN or any(f"{{{name}}}" in row.path for name in ("scan",)):
            continue
        requested = (row.method, row.path, None if row.method == "GET" else {})
        first = await stage.ask("ann", *requested, PREFIXES[0])
        second = await stage.ask("ann", *requested, PREFIXES[1])
        there = second.json().get("message") != f"Cannot {row.method} /api{row.path.split('?')[0]}"
        if row.alias and (first.status_code != second.status_code or not there):
            wrong.append(f"{row.method} {row.path}: {first.status_code}, {second.status_code}")
        if not row.alias and second.status_code != 404:
            wrong.append(f"{row.method} {row.path} has an alias")
    assert not wrong, "\n" + "\n".join(wrong)


async def test_a_photo_of_oneself(server: ContractServer):
    """Row 6."""
    ann = await server.person()
    response = await ann.post("/auth/profile/photo", files={"photo": ("me.png", plain(kind="PNG"))})
    assert (response.status_code, response.json()["success"]) == (200, True), response.text
    assert response.json()["avatarUrl"] == response.json()["avatar_url"]
    raw = {"content": plain(), "headers": {"Content-Type": "image/jpeg"}}
    assert (await ann.post("/auth/profile/photo", **raw)).status_code == 200
    assert (await server.guest.post("/auth/profile/photo", **raw)).status_code == 401
    raw["content"] = b"GIF89a"
    rejected = await ann.post("/auth/profile/photo", **raw)
    assert (rejected.status_code, is_error(rejected)) == (400, None), rejected.text


async def test_what_is_not_served_is_a_404_in_json(server: ContractServer):
    ann = await server.person()
    wrong: list[str] = []
    for method, path in NEVER:
        response = await ann.request(method, filled(path, {"ann": ann.id}))
        if response.status_code != 404 or is_error(response):
            wrong.append(f"{method} {path}: {response.status_code} {response.text:.80}")
    assert not wrong, "\n" + "\n".join(wrong)


def test_no_row_of_the_overview_is_left_out():
    assert {row.number for row in ROWS} | {*UPLOADS, *BACKUPS} == set(range(1, 59))
