"""What production must not have; staging and development may."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cookcam.config import ConfigError, load
from cookcam.config.sections import DrainConfig
from tests.support.environments import DEVELOPMENT, PRODUCTION, RSA_KEY, STAGING

ACCOUNT = {"client_email": "a@b.example", "private_key": RSA_KEY, "project_id": "p"}
LOCAL_TOKENS = json.dumps({**ACCOUNT, "token_uri": "http://127.0.0.1:4000/token"})

REJECTED = [
    ("CORS_ORIGIN", "http://localhost:8081"),
    ("SMTP_SECURITY", "none"),
    ("EXPO_PUSH_URL", "http://127.0.0.1:3160"),
    ("RESEND_API_URL", "http://127.0.0.1:3160"),
    ("TRUSTED_PROXIES", "0.0.0.0/0"),
    ("TRUSTED_PROXIES", "::/0"),
    ("TRUSTED_PROXIES", "10.0.0.0/8,::/0"),
    ("TRUSTED_PROXIES", "0.0.0.0/1,128.0.0.0/1"),
    ("TRUSTED_PROXIES", "::ffff:0.0.0.0/96"),
    ("APP_BASE_URL", "http://localhost"),
    ("APP_BASE_URL", "https://localhost"),
    ("APP_BASE_URL", "https://192.168.1.5"),
    ("APP_BASE_URL", "http://cookcam.ai"),
    ("API_BASE_URL", "http://127.0.0.1:3000"),
    ("API_BASE_URL", "https://[::1]:3000"),
    ("SUPABASE_URL", "http://project.supabase.co"),
    ("SUPABASE_URL", "https://127.0.0.1:54321"),
    ("OPENAI_BASE_URL", "http://127.0.0.1:9/v1"),
    ("USDA_API_BASE_URL", "http://localhost:9"),
    ("STRIPE_API_BASE", "http://0.0.0.0:9"),
    ("APPLE_VERIFY_RECEIPT_URL", "https://sandbox.itunes.apple.com/verifyReceipt"),
    ("APPLE_API_URL", "https://api.storekit-sandbox.apple.com"),
    ("APPLE_SANDBOX_API_URL", "http://127.0.0.1:9"),
    ("GOOGLE_PLAY_API_URL", "http://127.0.0.1:9"),
    ("GOOGLE_CERTS_URL", "http://127.0.0.1:9"),
    ("FCM_API_URL", "http://127.0.0.1:9"),
    ("APNS_URL", "https://api.sandbox.push.apple.com"),
    ("SENTRY_DSN", "http://key@sentry.example/1"),
    ("PORT", "0"),
    ("ENABLE_RATE_LIMITING", "false"),
    ("IAP_ALLOW_SANDBOX", "true"),
    ("STRIPE_SECRET_KEY", "sk_test_0123456789"),
    ("STRIPE_WEBHOOK_SECRET", "whsec_sandbox"),
    ("STRIPE_CONNECT_WEBHOOK_SECRET", "whsec_x,whsec_sandbox_connect"),
    ("OPENAI_API_KEY", "sk-sandbox"),
    ("GOOGLE_SERVICE_ACCOUNT_KEY", LOCAL_TOKENS),
    ("FCM_SERVICE_ACCOUNT_KEY", LOCAL_TOKENS),
    ("CHECKOUT_ALLOWED_ORIGINS", "http://localhost:8081"),
    ("DRAIN_TIMEOUT_SECONDS", "31"),
]


# The ids are the same in every worker of a run: some values hold a key made for this process.
@pytest.mark.parametrize(
    ("name", "value"), REJECTED, ids=[f"{name}-{index}" for index, (name, _) in enumerate(REJECTED)]
)
def test_production_refuses_what_staging_takes(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load({**PRODUCTION, name: value})
    [mistake] = caught.value.mistakes
    assert mistake.variable == name
    load({**STAGING, name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRUSTED_PROXIES", "10.0.0.0/8,172.16.0.0/12,fd00::/8,173.245.48.0/20"),
        ("TRUSTED_PROXIES", "::ffff:10.0.0.0/104"),
        ("APP_BASE_URL", "https://8.8.8.8"),
        ("SUPABASE_URL", "https://10.0.0.5:8443"),
        ("HOST", "0.0.0.0"),
        ("DATABASE_URL", "postgresql://cookcam_app@/cookcam?host=/var/run/postgresql"),
        ("REDIS_URL", "redis://127.0.0.1:6379/0"),
    ],
)
def test_production_takes_private_services_and_named_networks(name: str, value: str) -> None:
    load({**PRODUCTION, name: value})


def test_drain_has_to_end_before_the_process_is_killed() -> None:
    environ = {**PRODUCTION, "DRAIN_NOTICE_SECONDS": "5", "DRAIN_TIMEOUT_SECONDS": "60"}
    with pytest.raises(ConfigError, match="KILL_TIMEOUT_SECONDS"):
        load(environ)
    load({**environ, "KILL_TIMEOUT_SECONDS": "75"})
    load({**DEVELOPMENT, "DRAIN_TIMEOUT_SECONDS": "60"})


def test_default_kill_timeout_is_that_of_the_shipped_process_file() -> None:
    text = (Path(__file__).parents[2] / "deploy" / "pm2.config.js").read_text()
    [seconds] = re.findall(r"COOKCAM_KILL_TIMEOUT_SECONDS \|\| (\d+)", text)
    drain = load(DEVELOPMENT).drain
    assert isinstance(drain, DrainConfig)
    assert drain.kill_timeout == float(seconds)
    assert drain.max_seconds <= drain.kill_timeout


def test_refusals_are_reported_with_all_other_mistakes() -> None:
    with pytest.raises(ConfigError) as caught:
        load({**PRODUCTION, "PORT": "0", "LOG_LEVEL": "loud", "SUPABASE_URL": "http://a.example"})
    assert {m.variable for m in caught.value.mistakes} == {"PORT", "LOG_LEVEL", "SUPABASE_URL"}


@pytest.mark.parametrize("name", ["GOOGLE_SERVICE_ACCOUNT_KEY", "FCM_SERVICE_ACCOUNT_KEY"])
def test_local_token_address_in_a_key_is_named(name: str) -> None:
    with pytest.raises(
        ConfigError, match=f"{name} token_uri of the key must start with https:// in production"
    ):
        load({**PRODUCTION, name: LOCAL_TOKENS})


def test_published_secrets_of_the_sandbox_are_all_refused() -> None:
    from cookcam.config.production import SANDBOX_SECRETS
    from cookcam.sandbox.openai.server import KEY
    from cookcam.sandbox.stripe.server import CONNECT_WEBHOOK_SECRET, WEBHOOK_SECRET

    assert {KEY, WEBHOOK_SECRET, CONNECT_WEBHOOK_SECRET} == {*SANDBOX_SECRETS}
