"""No secret is ever shown: not by its type, not by a config, not by a mistake or a summary."""

from __future__ import annotations

import json

import attrs
import orjson
import pytest
from cattrs import unstructure
from hypothesis import given, settings
from hypothesis import strategies as st

from cookcam.config import ConfigError, described, load
from cookcam.config.secret import Secret
from tests.support.environments import (
    DEVELOPMENT,
    P256_KEY,
    PRODUCTION,
    RSA_KEY,
    SECRETS,
    STAGING,
)


def marked(environ: dict[str, str], mark: str) -> dict[str, str]:
    """`environ` with the mark inside every secret."""
    account = {"client_email": "a", "private_key": RSA_KEY, "private_key_id": mark}
    secret = {
        **{name: f"{environ.get(name, 'x' * 32)}{mark}" for name in SECRETS},
        "DATABASE_URL": f"postgresql://app:{mark}@db.example/cookcam",
        "MIGRATION_DATABASE_URL": f"postgresql://owner:{mark}@db.example/cookcam",
        "SENTRY_DSN": f"https://{mark}@sentry.example/1",
        "REDIS_URL": f"redis://:{mark}@cache.example:6379/0",
        "GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(account),
        "FCM_SERVICE_ACCOUNT_KEY": json.dumps({**account, "project_id": "p"}),
        "APPLE_API_PRIVATE_KEY": f"{mark}\n{P256_KEY}",
        "APNS_KEY_ID": "k",
        "APNS_TEAM_ID": "t",
        "APNS_PRIVATE_KEY": f"{mark}\n{P256_KEY}",
        "SUPABASE_URL": "https://project.supabase.co/base",
    }
    return {**environ, **secret}


def test_the_summary_shows_presence_and_no_value():
    summary = load(marked(STAGING, "m4rk")).summary()
    assert summary["environment"] == "staging"
    assert summary["PORT"] == 3000
    assert summary["LOG_LEVEL"] == "info"
    assert summary["CORS_ORIGIN"] == "https://cookcam.ai"
    assert summary["SUPABASE_URL"] == "https://project.supabase.co/base"
    assert summary["hasDatabaseUrl"] is True
    assert summary["hasInternalApiKey"] is True
    assert load(DEVELOPMENT).summary()["hasStripeSecretKey"] is False
    assert "m4rk" not in repr(summary)


def test_secret_is_only_readable_through_reveal():
    secret = Secret("m4rk")
    assert secret.reveal() == "m4rk"
    assert f"{secret!r} {secret!s} {secret}" == "[REDACTED] [REDACTED] [REDACTED]"
    assert json.loads(json.dumps([secret], default=str)) == ["[REDACTED]"]
    assert orjson.loads(orjson.dumps({"a": secret}, default=str)) == {"a": "[REDACTED]"}
    with pytest.raises(TypeError):
        json.dumps(secret)
    assert "m4rk" not in repr(attrs.make_class("Holder", ["secret"])(secret))
    assert (bool(secret), bool(Secret(""))) == (True, False)
    assert secret == Secret("m4rk")
    assert secret != Secret("other")
    assert len({secret, Secret("m4rk")}) == 1


def test_a_whole_config_shows_no_secret_however_it_is_turned_inside_out():
    config = load(marked({**STAGING, "SUPABASE_URL": ""}, "m4rk"))
    bare = attrs.evolve(config, identity=attrs.evolve(config.identity, supabase_url="https://x.co"))
    for shown in (
        repr(bare),
        str(bare),
        repr(attrs.asdict(bare)),
        repr(attrs.astuple(bare)),
        repr(unstructure(bare)),
        json.dumps(attrs.asdict(bare), default=str),
        orjson.dumps(attrs.asdict(bare), default=str).decode(),
    ):
        assert "m4rk" not in shown
        assert "REDACTED" in shown


# The end tells them from the words of a message, which Hypothesis finds in the source and tries.
WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=8, max_size=60).map(
    "{}~7~".format
)

NOT_SECRET = " ".join(
    [
        *(f"{setting.name} {setting.source} {setting.about}" for setting in described()),
        *(repr(load(environ)) for environ in (DEVELOPMENT, STAGING, PRODUCTION)),
    ]
)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([DEVELOPMENT, STAGING, PRODUCTION]),
    st.dictionaries(st.sampled_from(SECRETS), WORDS),
)
def test_no_secret_value_ever_appears_in_a_mistake_or_a_summary(
    environ: dict[str, str], values: dict[str, str]
):
    try:
        shown = repr(load({**environ, **values}).summary())
    except ConfigError as error:
        shown = f"{error} {error.mistakes!r}"
    for value in values.values():
        assert value not in shown or value in NOT_SECRET
