"""The list of what is secret by name: whole words, in any style of key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cookcam.observability.redaction import Sensitivity, sensitivity
from cookcam.observability.redaction.names import AT_THE_END, DIGITS, SECRETS

# Names that must be redacted: fields, headers, and secret settings.
NAMED_BY_THE_SPEC = [
    *("password", "token", "secret", "apiKey", "api_key", "authorization", "cookie", "receipt"),
    *("purchaseToken", "stripeToken", "cardNumber", "cvv", "ssn", "socialSecurityNumber"),
    *("confirmPassword", "image_data", "x-api-key", "x-confirm-password"),
    *("SUPABASE_ANON_KEY", "SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_SERVICE_KEY", "DATABASE_URL"),
    *("JWT_SECRET", "REDIS_URL", "REDIS_PASSWORD", "OPENAI_API_KEY", "USDA_API_KEY"),
    *("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "APPLE_SHARED_SECRET", "SENTRY_DSN"),
    *("GOOGLE_SERVICE_ACCOUNT_KEY", "SENDGRID_API_KEY", "FCM_SERVER_KEY", "INTERNAL_API_KEY"),
]


@pytest.mark.parametrize("key", NAMED_BY_THE_SPEC)
def test_every_name_of_the_specification_is_secret(key: str) -> None:
    assert sensitivity(key) in (Sensitivity.TEXT, Sensitivity.ALL)


@pytest.mark.parametrize(
    "key",
    [
        *("accessToken", "access_token", "access-token", "ACCESS_TOKEN", "Access Token"),
        *("accesstoken", "refreshTokens", "passwords", "password2", "passwordconfirmation"),
        *("tokenHash", "user.token", "b'cookie'", "Set-Cookie", "Stripe-Signature", "APIKey"),
        *("apikey", "xApiKey", "bearerToken", "clientSecret", "privateKeyPem", "CVV2"),
    ],
)
def test_a_secret_word_counts_anywhere_in_a_key_of_any_style(key: str) -> None:
    assert sensitivity(key) in (Sensitivity.TEXT, Sensitivity.ALL)


@pytest.mark.parametrize(
    "key", ["email", "userEmail", "customer_email", "phoneNumber", "X-Forwarded-For", "clientIp"]
)
def test_a_personal_word_counts_at_the_end_of_a_key(key: str) -> None:
    assert sensitivity(key) in (Sensitivity.TEXT, Sensitivity.ALL)


@pytest.mark.parametrize(
    "key",
    [
        *("tokenizer", "secretary", "emailTemplate", "recipe", "recipeId", "keyboard", "author"),
        *(
            "requestId",
            "userId",
            "method",
            "path",
            "statusCode",
            "duration",
            "bytes",
            "description",
        ),
        *("idempotencyKey", "code", "sqlstate", "ipv6Enabled", "zip", "cook", "", "12", "__"),
        *("assessment", "bookmark", "task", "passed", "compass", "receive", "key", "keys"),
    ],
)
def test_other_words_are_not_secret(key: str) -> None:
    assert sensitivity(key) is Sensitivity.PLAIN


@given(
    st.sampled_from([*SECRETS, *AT_THE_END, *DIGITS]), st.sampled_from(["snake", "camel", "kebab"])
)
def test_every_term_is_found_in_every_style(term: str, style: str) -> None:
    words = ["my", *term.split()]
    key = {
        "snake": "_".join(words).upper(),
        "camel": words[0] + "".join(word.title() for word in words[1:]),
        "kebab": "-".join(word.title() for word in words),
    }[style]
    assert sensitivity(key) in (Sensitivity.TEXT, Sensitivity.ALL)


@given(st.text(max_size=300))
def test_any_text_may_be_a_key(key: str) -> None:
    assert isinstance(sensitivity(key), Sensitivity)
