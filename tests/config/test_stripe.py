"""Secrets of webhooks: one, or several while one is replaced."""

from __future__ import annotations

import pytest

from cookcam.config import ConfigError, load
from tests.support.environments import DEVELOPMENT


def test_one_or_several():
    environ = {
        "STRIPE_WEBHOOK_SECRET": "whsec_new, whsec_old,",
        "STRIPE_CONNECT_WEBHOOK_SECRET": "whsec_connect",
    }
    config = load({**DEVELOPMENT, **environ})
    providers = config.providers
    assert providers.stripe_webhook_secrets is not None
    assert providers.stripe_connect_webhook_secrets is not None
    assert [s.reveal() for s in providers.stripe_webhook_secrets] == ["whsec_new", "whsec_old"]
    assert [s.reveal() for s in providers.stripe_connect_webhook_secrets] == ["whsec_connect"]
    assert "whsec" not in repr(config)
    assert "whsec" not in repr(config.summary())


def test_without_them():
    providers = load(DEVELOPMENT).providers
    assert providers.stripe_webhook_secrets is None
    assert providers.stripe_connect_webhook_secrets is None
    assert providers.stripe_api_base == "https://api.stripe.com"


def test_a_list_without_any():
    with pytest.raises(ConfigError, match="comma list of secrets"):
        load({**DEVELOPMENT, "STRIPE_WEBHOOK_SECRET": ","})
