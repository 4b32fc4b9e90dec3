"""The short memory of the provider's answers."""

from __future__ import annotations

from uuid import uuid4

import trio

from cookcam.identity.lookup_cache import LookupCache
from cookcam.identity.models import Identity


async def test_an_answer_is_remembered_for_a_while(autojump_clock):
    cache, ann = LookupCache(seconds=30), Identity(uuid4())
    cache.put("token", ann)
    await trio.sleep(29)
    assert cache.get("token") is ann
    await trio.sleep(1)
    assert cache.get("token") is None


async def test_the_memory_is_bounded_and_forgets_the_oldest(autojump_clock):
    cache = LookupCache(capacity=3)
    for name in "abcd":
        cache.put(name, Identity(uuid4()))
    assert cache.get("a") is None
    assert all(cache.get(name) for name in "bcd")


async def test_no_token_is_kept():
    cache = LookupCache()
    cache.put("the token itself", Identity(uuid4()))
    assert "token" not in str(cache._entries)
