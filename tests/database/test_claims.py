"""Claims and parameters of any content arrive unchanged and cannot inject SQL."""

from __future__ import annotations

import json
from typing import LiteralString

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cookcam.database.actors import Actor, FixedActor
from cookcam.database.connecting import connect
from cookcam.database.transaction import read, read_encoded, row_factory_for

text_in_json = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | text_in_json,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text_in_json, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(claims=st.dictionaries(text_in_json, json_values, max_size=4))
async def test_claims_and_parameters_arrive_unchanged(
    database_url: str, claims: dict[str, object]
) -> None:
    text = json.dumps(claims, ensure_ascii=False)
    row = await read_as(
        FixedActor("authenticated", claims),
        database_url,
        "select auth.jwt() as claims, current_user::text as role, %(text)s as text, '100%%' as p",
        text=text,
    )
    assert row == {
        "claims": {**claims, "role": "authenticated"},
        "role": "authenticated",
        "text": text,
        "p": "100%",
    }


HOSTILE = ["'", '"', "\\", "%", "%s", "%(x)s", "$1", ";", "--", "/*", "\n", "é", "🥚"]


@given(text=st.lists(st.sampled_from(HOSTILE)).map("".join))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
async def test_claim_with_sql_syntax_is_not_interpreted(database_url: str, text: str) -> None:
    actor = FixedActor("anon", {"sub": text, text: text})
    row = await read_as(actor, database_url, "select auth.jwt() ->> 'sub' as sub")
    assert row == {"sub": text}
    async with await connect(database_url) as connection:
        read_back = "select (auth.jwt() ->> 'sub') || %(text)s"
        [encoded] = await read_encoded(connection, actor, 30, read_back, {"text": text}) or []
    assert encoded == (text * 2).encode()


async def read_as(
    actor: Actor, url: str, statement: LiteralString, **params: object
) -> dict[str, object]:
    """Read on a new connection; an async fixture cannot serve several Hypothesis examples."""
    async with await connect(url) as connection:
        (row,) = await read(connection, actor, 30, row_factory_for(dict), statement, params)
        return row


async def test_statement_parameters_cannot_replace_the_actor(database_url: str) -> None:
    actor = FixedActor("anon")
    statement = "select current_user::text as role"
    parameters = {"role": "postgres", "actor__role": "postgres"}
    row = await read_as(actor, database_url, statement, **parameters)
    assert row == {"role": "anon"}
