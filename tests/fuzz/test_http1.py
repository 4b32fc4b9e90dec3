"""A small run of the comparison with h11, and that it would notice a parser that accepts more."""

from __future__ import annotations

import re

import pytest

from cookcam.serving import request_parser
from tests.fuzz.http1 import EXPLAINED, compare


async def test_random_requests_are_parsed_as_h11_parses_them() -> None:
    result = await compare(1000, 0, seed=3)
    assert result.unexplained == []
    assert result.accepted > 500
    assert len(result.explained) > len(EXPLAINED) / 2


async def test_a_parser_that_accepts_more_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    loose = re.compile(rb"\s*([A-Z]+) +(\S+) +HTTP/([0-9]\.[0-9])\s*\r\n")
    monkeypatch.setattr(request_parser, "_REQUEST_LINE", loose)
    assert (await compare(1000, 0, seed=3)).unexplained
