"""The checks of claims, independent of the signature's verifier."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cookcam.identity.claims import LEEWAY, Rejected, identity_from
from tests.identity.signers import ANN, ISSUER, NOW, claims


def identify(given_claims: dict[str, Any], now: float = NOW):
    return identity_from(given_claims, issuer=ISSUER, now=now)


def test_an_identity_holds_what_the_claims_say():
    identity = identify(claims(session_id="s-1"))
    assert identity.user_id == ANN
    assert identity.email == "ann@example.com"
    assert identity.name == "Ann"
    assert identity.expires_at == datetime.fromtimestamp(NOW + 3600, UTC)
    assert identity.session_id == "s-1"
    assert not identity.is_admin


def test_the_database_role_is_forced_whatever_the_token_says():
    for role in ("service_role", "anon", "postgres", None):
        identity = identify(claims(role=role))
        assert identity.database_role == "authenticated"
        assert identity.claims["role"] == "authenticated"


def test_only_app_metadata_makes_an_administrator():
    assert identify(claims(app_metadata={"role": "admin"})).is_admin
    assert not identify(claims(user_metadata={"role": "admin"})).is_admin
    assert not identify(claims(role="admin")).is_admin
    assert not identify(claims(app_metadata=["role", "admin"])).is_admin


def test_personal_data_stays_out_of_repr():
    shown = repr(identify(claims()))
    assert "example.com" not in shown
    assert "Ann" not in shown
    assert str(ANN) in shown


def test_the_clocks_may_differ_by_the_leeway():
    identify(claims(exp=NOW - LEEWAY + 1))
    identify(claims(nbf=NOW + LEEWAY - 1))


def test_an_audience_list_with_ours_is_accepted():
    identify(claims(aud=["other", "authenticated"]))


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": NOW - LEEWAY - 1},
        {"exp": None},
        {"exp": "2099"},
        {"exp": True},
        {"exp": float("nan")},
        {"exp": float("inf")},
        {"exp": 10**400},
        {"exp": 10.0**20},
        {"nbf": NOW + LEEWAY + 1},
        {"nbf": "tomorrow"},
        {"aud": "anon"},
        {"aud": None},
        {"aud": ["other"]},
        {"aud": {"authenticated": True}},
        {"iss": "https://elsewhere.supabase.co/auth/v1"},
        {"iss": None},
        {"iss": [ISSUER]},
        {"sub": None},
        {"sub": "ann"},
        {"sub": 7},
    ],
    ids=lambda changes: ",".join(f"{k}={v!s:.20}" for k, v in changes.items()),
)
def test_invalid_claims_are_rejected(changes: dict[str, Any]):
    with pytest.raises(Rejected):
        identify(claims(**changes))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["sub", "aud", "exp", "nbf", "email", "session_id", "user_metadata"]),
        json_values,
    )
)
def test_odd_claims_give_an_identity_or_a_rejection_and_nothing_else(changes: dict[str, Any]):
    try:
        identity = identify({**claims(), **changes})
    except Rejected:
        return
    assert identity.email is None or isinstance(identity.email, str)
    assert identity.name is None or isinstance(identity.name, str)
    assert isinstance(identity.is_admin, bool)
