"""Whole environments: the least for development, and complete deployments."""

from __future__ import annotations

import json

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


def private_key(key: RSAPrivateKey | EllipticCurvePrivateKey) -> str:
    """A private key in PEM, as Apple and Google issue them."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


# 1024 bits: the smallest key that the library makes, and the quickest.
RSA_KEY = private_key(rsa.generate_private_key(65537, 1024))
P256_KEY = private_key(ec.generate_private_key(ec.SECP256R1()))
GOOGLE_KEY = json.dumps({"client_email": "play@cookcam.example", "private_key": RSA_KEY})

DEVELOPMENT = {
    "DATABASE_URL": "postgresql://app:pw@db.example:5432/cookcam",
    "SUPABASE_URL": "https://project.supabase.co",
    "SUPABASE_ANON_KEY": "anon-key-of-the-project",
    "SUPABASE_SERVICE_ROLE_KEY": "service-key-of-the-project",
    "OPENAI_API_KEY": "sk-proj-0123456789",
}

PRODUCTION = {
    **DEVELOPMENT,
    "APP_ENV": "production",
    "GIT_COMMIT_SHA": "0a1b2c3d",
    "APP_BASE_URL": "https://cookcam.ai",
    "CORS_ORIGIN": "https://cookcam.ai",
    "TRUSTED_PROXIES": "127.0.0.1/32",
    "JWT_SECRET": "j" * 32,
    "JWT_REFRESH_SECRET": "r" * 32,
    "SENTRY_DSN": "https://key@sentry.example/1",
    "STRIPE_SECRET_KEY": "sk_live_0123456789",
    "STRIPE_WEBHOOK_SECRET": "whsec_0123456789",
    "APPLE_SHARED_SECRET": "apple-shared-0123456789",
    "GOOGLE_SERVICE_ACCOUNT_KEY": GOOGLE_KEY,
    "GOOGLE_PLAY_PACKAGE_NAME": "com.abmccull.cookcamexpo",
}

STAGING = {**PRODUCTION, "APP_ENV": "staging", "STRIPE_SECRET_KEY": "sk_test_0123456789"}

SECRETS = [
    "DATABASE_URL",
    "MIGRATION_DATABASE_URL",
    "SUPABASE_ANON_KEY",
    "SUPABASE_SERVICE_ROLE_KEY",
    "JWT_SECRET",
    "JWT_REFRESH_SECRET",
    "INTERNAL_API_KEY",
    "SENTRY_DSN",
    "OPENAI_API_KEY",
    "STRIPE_SECRET_KEY",
    "STRIPE_WEBHOOK_SECRET",
    "APPLE_SHARED_SECRET",
    "REDIS_URL",
    "USDA_API_KEY",
    "OPERATIONS_API_KEY",
    "IAP_RECEIPT_KEY",
    "STRIPE_CONNECT_WEBHOOK_SECRET",
    "APPLE_API_PRIVATE_KEY",
    "APNS_PRIVATE_KEY",
    "FCM_SERVICE_ACCOUNT_KEY",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
]
