"""The short memory of the provider's answers."""

from __future__ import annotations

from uuid import uuid4

import trio

from cookcam.identity.lookup_cache import LookupCache
from cookcam.identity.models import Identity


async def test_an_answer_is_remembered_for_a_while(autojump_clock):
    answers, ann = LookupCache(seconds=30), Identity(uuid4())
    answers.put("token", ann)
    await trio.sleep(29)
    assert answers.get("token") is ann
    await trio.sleep(1)
    assert answers.get("token") is None


async def test_the_memory_is_bounded_and_forgets_the_oldest(autojump_clock):
    answers = LookupCache(capacity=3)
    for name in "abcd":
        answers.put(name, Identity(uuid4()))
    assert answers.get("a") is None
    assert all(answers.get(name) for name in "bcd")


async def test_no_token_is_kept():
    answers = LookupCache()
    answers.put("the token itself", Identity(uuid4()))
    assert "token" not in str(answers._kept)
