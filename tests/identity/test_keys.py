"""The key set, in virtual time: when it fetches, and what it does while it cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import trio
from attrs import define

from cookcam.errors import ServiceError, ServiceUnavailable
from cookcam.identity import keys
from cookcam.identity.keys import KeySet, usable_keys
from tests.identity.signers import Provider, signer

FIRST = signer("ES256").jwk()
SECOND = signer("ES256", "second").jwk()


@define
class Hanging:
    """A provider that accepts the question and never answers."""

    fetches: int = 0

    async def signing_keys(self) -> Sequence[Mapping[str, Any]]:
        self.fetches += 1
        await trio.sleep_forever()
        raise AssertionError


async def test_nothing_is_fetched_before_a_key_is_needed(autojump_clock):
    provider = Provider([FIRST])
    async with KeySet.open(provider.signing_keys):
        await trio.sleep(10_000)
    assert provider.fetches == 0


async def test_keys_are_kept_and_refreshed_when_they_are_old(autojump_clock):
    provider = Provider([FIRST])
    async with KeySet.open(provider.signing_keys) as key_set:
        for _ in range(100):
            assert await key_set.find("first") is not None
        assert provider.fetches == 1
        await trio.sleep(keys.KEEP + 1)
        provider.keys = [SECOND]
        assert await key_set.find("first") is None
        assert await key_set.find("second") is not None
        assert provider.fetches == 2


async def test_concurrent_callers_share_one_fetch(autojump_clock):
    provider = Provider([FIRST])
    found: list[object] = []
    async with KeySet.open(provider.signing_keys) as key_set, trio.open_nursery() as nursery:

        async def ask() -> None:
            found.append(await key_set.find("first"))

        for _ in range(50):
            nursery.start_soon(ask)
    assert len(found) == 50
    assert all(found)
    assert provider.fetches == 1


async def test_a_new_key_is_found_without_waiting_for_the_old_ones_to_age(autojump_clock):
    provider = Provider([FIRST])
    async with KeySet.open(provider.signing_keys) as key_set:
        await key_set.find("first")
        provider.keys = [FIRST, SECOND]
        await trio.sleep(keys.MIN_FETCH_INTERVAL)
        assert await key_set.find("second") is not None


async def test_a_flood_of_unknown_key_ids_is_a_trickle_to_the_provider(autojump_clock):
    provider = Provider([FIRST])
    async with KeySet.open(provider.signing_keys) as key_set:
        for n in range(600):
            assert await key_set.find(f"garbage-{n}") is None
            await trio.sleep(0.1)
    assert provider.fetches <= 60 / keys.MIN_FETCH_INTERVAL + 1


async def test_known_keys_go_on_working_through_an_outage_without_waiting(autojump_clock):
    provider = Provider([FIRST])
    async with KeySet.open(provider.signing_keys) as key_set:
        await key_set.find("first")
        provider.failure = ServiceUnavailable()
        started = trio.current_time()
        for _ in range(24):
            await trio.sleep(3600)
            assert await key_set.find("first") is not None
        assert trio.current_time() - started == pytest.approx(24 * 3600)
        provider.failure = None
        provider.keys = [SECOND]
        await key_set.find("first")
        await trio.sleep(1)
        assert await key_set.find("first") is None


async def test_an_unknown_key_during_an_outage_is_undecided(autojump_clock):
    provider = Provider([FIRST], failure=ServiceUnavailable())
    async with KeySet.open(provider.signing_keys) as key_set:
        for _ in range(5):
            with pytest.raises(ServiceUnavailable):
                await key_set.find("first")
        assert provider.fetches == 1
        await trio.sleep(keys.MIN_FETCH_INTERVAL)
        provider.failure = None
        assert await key_set.find("first") is not None


async def test_a_provider_that_hangs_is_waited_for_within_bounds(autojump_clock):
    provider = Hanging()
    async with KeySet.open(provider.signing_keys) as key_set:
        started = trio.current_time()
        with pytest.raises(ServiceUnavailable):
            await key_set.find("first")
        assert trio.current_time() - started == pytest.approx(keys.FETCH_TIMEOUT)


async def test_an_old_key_is_used_when_fresher_ones_take_long(autojump_clock):
    provider, hanging = Provider([FIRST]), Hanging()

    async def fetch() -> Sequence[Mapping[str, Any]]:
        return await (hanging if provider.fetches else provider).signing_keys()

    async with KeySet.open(fetch) as key_set:
        await key_set.find("first")
        await trio.sleep(keys.KEEP + 1)
        started = trio.current_time()
        assert await key_set.find("first") is not None
        assert trio.current_time() - started == pytest.approx(keys.TIMEOUT)
        await trio.sleep(keys.FETCH_TIMEOUT)
        started = trio.current_time()
        assert await key_set.find("first") is not None
        assert trio.current_time() == started


async def test_cancelled_caller_does_not_cancel_the_shared_result(autojump_clock):
    ready = trio.Event()

    async def fetch() -> Sequence[Mapping[str, Any]]:
        await ready.wait()
        return [FIRST]

    async with KeySet.open(fetch) as key_set, trio.open_nursery() as nursery:
        with trio.move_on_after(0.1):
            await key_set.find("first")

        async def open_later() -> None:
            await trio.sleep(1)
            ready.set()

        nursery.start_soon(open_later)
        assert await key_set.find("first") is not None


@pytest.mark.parametrize("failure", [ServiceError(), KeyError("keys")])
async def test_an_answer_that_cannot_be_used_is_an_outage(autojump_clock, failure: Exception):
    async def fetch() -> Sequence[Mapping[str, Any]]:
        raise failure

    async with KeySet.open(fetch) as key_set:
        with pytest.raises(ServiceUnavailable):
            await key_set.find("first")


def test_entries_that_cannot_verify_a_signature_are_left_out():
    entries = [
        FIRST,
        signer("RS256", "rsa").jwk(),
        signer("EdDSA", "ed").jwk(),
        SECOND | {"kid": None},
        SECOND | {"kid": "encryption", "use": "enc"},
        SECOND | {"kid": "no point", "x": "!"},
        {"kid": "secret", "kty": "oct", "k": "c2VjcmV0", "alg": "HS256"},
        {"kid": "secret without alg", "kty": "oct", "k": "c2VjcmV0"},
        {"kid": "unknown", "kty": "lattice"},
        {"kid": "wrong curve", **{k: v for k, v in FIRST.items() if k != "kid"}, "alg": "ES384"},
        {},
    ]
    assert set(usable_keys(entries)) == {"first", "rsa", "ed"}
