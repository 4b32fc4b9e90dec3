from __future__ import annotations

import re
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from cookcam.http.request_info import new_request_id, request_id

GOOD = re.compile(r"[A-Za-z0-9._-]{1,128}\Z")


@given(st.from_regex(GOOD, fullmatch=True))
def test_a_well_formed_id_is_kept(offered: str) -> None:
    assert request_id(offered.encode()) == offered


@given(st.binary(max_size=140) | st.text(max_size=20).map(str.encode))
def test_whatever_is_offered_the_id_is_harmless(offered: bytes) -> None:
    made = request_id(offered)
    assert GOOD.match(made)
    if not GOOD.match(offered.decode("latin-1")):
        assert UUID(made).version == 4


def test_an_id_of_129_characters_or_with_a_newline_behind_it_is_replaced() -> None:
    assert request_id(b"a" * 128) == "a" * 128
    assert request_id(b"a" * 129) != "a" * 129
    assert request_id(b"abc\n") != "abc\n"
    assert request_id(b"") != ""


def test_new_ids_are_distinct_uuids() -> None:
    made = [new_request_id() for _ in range(2000)]
    assert len(set(made)) == len(made)
    assert all(str(UUID(one)) == one and UUID(one).version == 4 for one in made)
    assert {UUID(one).variant for one in made} == {UUID(made[0]).variant}


async def test_the_id_is_in_the_header_and_in_the_error_body(make_site) -> None:
    client = make_site().client()
    reply = await client.get("/nowhere", x_request_id="from-the-app.1")
    assert reply.headers["x-request-id"] == reply.json()["requestId"] == "from-the-app.1"
    reply = await client.get("/nowhere", x_request_id="<script>")
    assert UUID(reply.headers["x-request-id"]) == UUID(reply.json()["requestId"])
