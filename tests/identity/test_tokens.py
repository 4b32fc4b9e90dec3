"""From a token to an identity: who verifies what, and what nobody accepts."""

from __future__ import annotations

import base64
import json
import re
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
import trio
from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st

from cookcam.config.secret import Secret
from cookcam.errors import (
    AppError,
    RateLimited,
    ServiceAuthError,
    ServiceError,
    ServiceUnavailable,
    TokenExpired,
)
from cookcam.identity import Authenticator, Identity, token_cache
from cookcam.identity import tokens as tokens_module
from cookcam.identity.account_states import AccountClosed, AccountState
from cookcam.identity.claims import LEEWAY
from cookcam.identity.keys import KEEP
from cookcam.identity.token_cache import TokenCache, VerifiedToken
from cookcam.identity.tokens import LOOKUP_TTL, MAX_TOKEN_LENGTH, claims_of
from cookcam.integrations.supabase.sessions import AuthUser
from cookcam.observability.metrics import Metrics
from tests.identity.signers import ANN, NOW, PROJECT, SECRET, Provider, claims, signer


@define
class FakeStates:
    """The state of every account."""

    state: AccountState = "active"

    async def state_of(self, _user_id: UUID) -> AccountState:
        return self.state


@asynccontextmanager
async def authenticator(
    provider: Provider,
    *,
    secret: str | None = SECRET,
    previous_secret: str | None = None,
    metrics: Metrics | None = None,
    accounts: FakeStates | None = None,
) -> AsyncIterator[Authenticator]:
    """Opened at NOW; its clock is Trio's."""
    opened_at = trio.current_time()
    async with Authenticator.open(
        provider,
        supabase_url=PROJECT,
        jwt_secrets=[Secret(one) for one in (secret, previous_secret) if one is not None],
        metrics=metrics or Metrics(),
        clock=lambda: NOW + trio.current_time() - opened_at,
        accounts=accounts,  # pyright: ignore[reportArgumentType]
    ) as opened:
        yield opened


def by_secret(changes: dict[str, Any] | None = None, secret: str = SECRET) -> str:
    return jwt.encode(claims(**(changes or {})), secret, "HS256")


def unsigned(header: dict[str, Any], payload: dict[str, Any], signature: str = "") -> str:
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part(header)}.{part(payload)}.{signature}"


def ann(**changes: Any) -> AuthUser:
    user = {
        "id": ANN,
        "email": "ann@example.com",
        "app_metadata": {},
        "user_metadata": {"name": "Ann"},
        "wire": {},
    }
    return AuthUser(**{**user, **changes})


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA"])
async def test_the_projects_own_key_is_accepted(autojump_clock, algorithm: str):
    key = signer(algorithm)
    async with authenticator(Provider([key.jwk()])) as auth:
        identity = await auth.identify(key.sign(claims()))
    assert identity.user_id == ANN
    assert identity.claims["role"] == "authenticated"


async def test_the_secret_is_accepted_where_it_is_known(autojump_clock):
    provider = Provider()
    async with authenticator(provider) as auth:
        assert (await auth.identify(by_secret())).user_id == ANN
    assert provider.fetches == 0
    assert provider.lookups == []


KEY = signer("ES256")
FOREIGN = signer("ES256", "foreign")

BAD_TOKENS = {
    "empty": "",
    "not a token": "hello",
    "two parts": "a.b",
    "not base64": "!.!.!",
    "too long": "a" * (MAX_TOKEN_LENGTH + 1),
    "not ascii": "é.é.é",
    "a lone surrogate": "\ud800.a.b",
    "header is a list": base64.urlsafe_b64encode(b"[]").decode() + ".e30.",
    "header nested deeply": base64.urlsafe_b64encode(b"[" * 5000).decode() + ".e30.",
    "expired": KEY.sign(claims(exp=NOW - 60)),
    "no expiry": KEY.sign(claims(exp=None)),
    "not valid yet": KEY.sign(claims(nbf=NOW + 60)),
    "wrong audience": KEY.sign(claims(aud="anon")),
    "wrong issuer": KEY.sign(claims(iss="https://elsewhere.supabase.co/auth/v1")),
    "subject is no uuid": KEY.sign(claims(sub="ann")),
    "the anonymous key itself": by_secret({"sub": None, "iss": "supabase", "role": "anon"}),
    "foreign key, unknown id": FOREIGN.sign(claims()),
    "foreign key, our key id": FOREIGN.sign(claims(), kid=KEY.key_id),
    "no key id": jwt.encode(claims(), KEY.private, "ES256"),
    "alg none": unsigned({"alg": "none", "typ": "JWT"}, claims()),
    "alg None with our key id": unsigned({"alg": "NONE", "kid": KEY.key_id}, claims()),
    "no alg": unsigned({"typ": "JWT", "kid": KEY.key_id}, claims(), "AAAA"),
    "alg is a list": unsigned({"alg": ["HS256"]}, claims(), "AAAA"),
    "signed with another secret": by_secret(secret="another secret of thirty-two characters"),
    "signed with HS512": jwt.encode(claims(), SECRET, "HS512"),
    "signature removed": KEY.sign(claims()).rpartition(".")[0] + ".",
    "says ES256, key is RSA": unsigned({"alg": "ES256", "kid": "rsa"}, claims(), "AAAA"),
    "says RS256, key is EC": unsigned({"alg": "RS256", "kid": KEY.key_id}, claims(), "AAAA"),
}


def signed_with_the_public_key() -> dict[str, str]:
    """HS256 with what everybody can know as the secret: PyJWT refuses to make these."""
    import hashlib
    import hmac

    found: dict[str, str] = {}
    for name, secret in {
        "PEM": KEY.public_pem(),
        "JWK": json.dumps(KEY.jwk()).encode(),
        "x coordinate": KEY.jwk()["x"].encode(),
        "empty secret": b"",
    }.items():
        message = unsigned({"alg": "HS256", "kid": KEY.key_id}, claims()).rpartition(".")[0]
        mac = hmac.new(secret, message.encode(), hashlib.sha256).digest()
        signature = base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
        found[f"HS256 signed with the public key, {name}"] = f"{message}.{signature}"
    return found


BAD_TOKENS |= signed_with_the_public_key()


@pytest.mark.parametrize("name", BAD_TOKENS)
async def test_a_bad_token_is_rejected_with_the_words_clients_know(autojump_clock, name: str):
    provider = Provider([KEY.jwk(), signer("RS256", "rsa").jwk()])
    async with authenticator(provider) as auth:
        with pytest.raises(TokenExpired) as rejected:
            await auth.identify(BAD_TOKENS[name])
    assert rejected.value.status == 401
    assert rejected.value.error == "Token expired or invalid"
    assert rejected.value.code == "TOKEN_EXPIRED"
    assert rejected.value.message == "Please refresh your session"


async def test_rejection_does_not_quote_the_token(autojump_clock):
    async with authenticator(Provider([KEY.jwk()])) as auth:
        with pytest.raises(TokenExpired) as rejected:
            await auth.identify(FOREIGN.sign(claims(), kid=KEY.key_id))
    shown = "".join(traceback.format_exception(rejected.value))
    assert not re.search(r"eyJ|ann@example\.com", shown)


async def test_a_flood_of_unknown_key_ids_hardly_reaches_the_provider(autojump_clock):
    provider = Provider([KEY.jwk()])
    async with authenticator(provider) as auth:
        for n in range(200):
            with pytest.raises(TokenExpired):
                await auth.identify(FOREIGN.sign(claims(), kid=f"garbage-{n}"))
            await auth.identify(KEY.sign(claims()))
    assert provider.fetches == 1


async def test_an_outage_is_not_a_rejection(autojump_clock):
    provider = Provider([KEY.jwk()], failure=ServiceUnavailable())
    async with authenticator(provider) as auth:
        with pytest.raises(ServiceUnavailable):
            await auth.identify(KEY.sign(claims()))
        assert (await auth.identify(by_secret())).user_id == ANN


async def test_tokens_of_both_secrets_are_valid_while_the_secret_is_replaced(autojump_clock):
    previous, other = "previous-" * 4, "another-" * 4
    async with authenticator(Provider(), previous_secret=previous) as auth:
        for secret in (SECRET, previous):
            assert (await auth.identify(by_secret(secret=secret))).user_id == ANN
            with pytest.raises(TokenExpired):
                await auth.identify(by_secret({"exp": NOW - 60}, secret=secret))
        with pytest.raises(TokenExpired):
            await auth.identify(by_secret(secret=other))


class TestWithoutTheSecret:
    """HS256 tokens then go to the provider, which holds it."""

    async def test_the_provider_decides_and_is_requested_once(self, autojump_clock):
        provider = Provider(user=ann(app_metadata={"role": "admin"}))
        token = by_secret({"app_metadata": {}, "user_metadata": {}})
        async with authenticator(provider, secret=None) as auth:
            for _ in range(20):
                identity = await auth.identify(token)
        assert provider.lookups == [token]
        assert identity.user_id == ANN
        assert identity.is_admin
        assert identity.name == "Ann"

    async def test_a_revoked_session_is_noticed_soon(self, autojump_clock):
        provider = Provider(user=ann())
        async with authenticator(provider, secret=None) as auth:
            await auth.identify(by_secret())
            token = provider.lookups[0]
            provider.failure = TokenExpired()
            await auth.identify(token)
            await trio.sleep(LOOKUP_TTL)
            with pytest.raises(TokenExpired):
                await auth.identify(token)

    async def test_another_signature_is_another_question(self, autojump_clock):
        provider = Provider(user=ann())
        async with authenticator(provider, secret=None) as auth:
            token = by_secret()
            await auth.identify(token)
            provider.failure = TokenExpired()
            with pytest.raises(TokenExpired):
                await auth.identify(token.rpartition(".")[0] + ".AAAA")

    async def test_what_can_be_rejected_here_is_not_requested(self, autojump_clock):
        provider = Provider(user=ann())
        async with authenticator(provider, secret=None) as auth:
            for changes in ({"exp": NOW - 60}, {"iss": "x"}, {"aud": "x"}, {"sub": "x"}):
                with pytest.raises(TokenExpired):
                    await auth.identify(by_secret(changes))
            for name, token in BAD_TOKENS.items():
                if "secret" not in name and "public key" not in name and "HS" not in name:
                    with pytest.raises(TokenExpired):
                        await auth.identify(token)
        assert provider.lookups == []

    async def test_a_token_of_user_else_is_rejected(self, autojump_clock):
        async with authenticator(Provider(user=ann(id=uuid4())), secret=None) as auth:
            with pytest.raises(TokenExpired):
                await auth.identify(by_secret())

    @pytest.mark.parametrize(
        "failure",
        [ServiceUnavailable(), RateLimited(), ServiceError(), ServiceAuthError()],
        ids=lambda failure: type(failure).__name__,
    )
    async def test_whatever_keeps_the_provider_from_deciding_is_503(
        self, autojump_clock, failure: AppError
    ):
        async with authenticator(Provider(failure=failure), secret=None) as auth:
            with pytest.raises(ServiceUnavailable):
                await auth.identify(by_secret())

    async def test_a_provider_that_hangs_is_503(self, autojump_clock):
        class Hanging(Provider):
            async def get_user(self, token: str) -> AuthUser:
                await trio.sleep_forever()
                raise AssertionError

        async with authenticator(Hanging(), secret=None) as auth:
            with pytest.raises(ServiceUnavailable):
                await auth.identify(by_secret())


class TestCache:
    """A token's signature is verified once."""

    @pytest.fixture
    def verified(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The tokens whose signature was verified."""
        tokens: list[str] = []

        def recorded(token: str, key: Any, algorithm: str) -> dict[str, Any]:
            tokens.append(token)
            return claims_of(token, key, algorithm)

        monkeypatch.setattr(tokens_module, "claims_of", recorded)
        return tokens

    @pytest.mark.parametrize("token", [KEY.sign(claims()), by_secret()], ids=["key", "secret"])
    async def test_token_is_verified_once_until_it_expires(
        self, autojump_clock, verified: list[str], token: str
    ):
        metrics = Metrics()
        async with authenticator(Provider([KEY.jwk()]), metrics=metrics) as auth:
            identities = [await auth.identify(token) for _ in range(50)]
            assert all(identity is identities[0] for identity in identities)
            assert verified == [token]
            await trio.sleep(3600 + LEEWAY)
            with pytest.raises(TokenExpired):
                await auth.identify(token)
            assert len(auth._tokens) == 0
        rendered = metrics.render().decode()
        assert 'cache_requests_total{namespace="tokens",result="hit"} 49.0' in rendered
        assert 'cache_requests_total{namespace="tokens",result="miss"} 2.0' in rendered

    async def test_rejected_token_is_not_cached(self, autojump_clock):
        async with authenticator(Provider([KEY.jwk()])) as auth:
            for token in BAD_TOKENS.values():
                with pytest.raises(TokenExpired):
                    await auth.identify(token)
            assert len(auth._tokens) == 0

    async def test_token_of_a_withdrawn_key_is_rejected_after_the_next_refresh(
        self, autojump_clock
    ):
        token, rotated = KEY.sign(claims()), signer("ES256", "rotated")
        provider = Provider([KEY.jwk()])
        async with authenticator(provider) as auth:
            await auth.identify(token)
            provider.keys = [rotated.jwk()]
            await trio.sleep(KEEP - 1)
            await auth.identify(token)
            await trio.sleep(1)
            with pytest.raises(TokenExpired):
                await auth.identify(token)
            assert (await auth.identify(rotated.sign(claims()))).user_id == ANN

    async def test_key_replaced_under_the_same_id_rejects_the_tokens_of_the_old_key(
        self, autojump_clock
    ):
        token, replaced = KEY.sign(claims()), signer("RS256", "other").jwk(kid=KEY.key_id)
        provider = Provider([KEY.jwk()])
        async with authenticator(provider) as auth:
            await auth.identify(token)
            provider.keys = [replaced]
            await trio.sleep(KEEP)
            with pytest.raises(TokenExpired):
                await auth.identify(token)

    async def test_not_before_is_checked_at_each_use(
        self, autojump_clock, monkeypatch: pytest.MonkeyPatch
    ):
        token = by_secret({"nbf": NOW})
        async with authenticator(Provider()) as auth:
            await auth.identify(token)
            monkeypatch.setattr(auth, "_clock", lambda: NOW - LEEWAY - 1)
            with pytest.raises(TokenExpired):
                await auth.identify(token)

    @pytest.mark.parametrize("state", ["banned", "deleted"])
    async def test_token_of_a_closed_account_is_rejected_and_dropped(
        self, autojump_clock, state: AccountState
    ):
        states = FakeStates()
        async with authenticator(Provider(), accounts=states) as auth:
            await auth.identify(by_secret())
            assert len(auth._tokens) == 1
            token = by_secret()
            await auth.identify(token)
            states.state = state
            with pytest.raises(AccountClosed):
                await auth.identify(token)
            assert len(auth._tokens) == 1

    async def test_signed_out_token_is_decided_by_the_provider_again(self, autojump_clock):
        provider = Provider(user=ann())
        async with authenticator(provider, secret=None) as auth:
            token = by_secret()
            await auth.identify(token)
            auth.forget(token)
            provider.failure = TokenExpired()
            with pytest.raises(TokenExpired):
                await auth.identify(token)

    async def test_cache_is_bounded_and_drops_the_least_recently_used(
        self, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(token_cache, "MAX_ENTRIES", 3)
        cache, entry = TokenCache(), VerifiedToken(Identity(uuid4()))
        for token in "abc":
            cache.put(token, entry)
        assert cache.get("a") is entry
        cache.put("d", entry)
        assert [token for token in "abcd" if cache.get(token)] == ["a", "c", "d"]

    async def test_cache_holds_no_token(self):
        cache = TokenCache()
        cache.put("the token itself", VerifiedToken(Identity(uuid4())))
        assert "token itself" not in str(cache._entries)


good_token = KEY.sign(claims())


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.text(max_size=200),
        st.lists(st.text(alphabet="eyJhbGciOi-_=.0", max_size=40), min_size=3, max_size=3).map(
            ".".join
        ),
        st.tuples(st.integers(0, len(good_token) - 1), st.characters()).map(
            lambda change: good_token[: change[0]] + change[1] + good_token[change[0] + 1 :]
        ),
    )
)
def test_any_text_is_rejected_or_undecided_and_nothing_else(token: str):
    async def main() -> None:
        async with authenticator(Provider([KEY.jwk()])) as auth:
            try:
                identity = await auth.identify(token)
            except TokenExpired:
                return
            assert identity.user_id == ANN

    trio.run(main)
