"""Readers of keys and certificates, checked by the library that uses them."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from cookcam.config.readers import InvalidSetting, items
from cookcam.config.secret import Secret

PEM_RULE = "must be a private key in PEM, or the name of its file"
ACCOUNT_RULE = "must be the JSON text of a service account key"
CERTIFICATE_RULE = "must name certificates in DER or PEM"


def es256_key(value: str) -> Secret:
    """A private key of the curve P-256, or the name of its file.

    Apple issues such keys as .p8 files. Line breaks may be written as `\\n`, since an environment
    often cannot hold them.
    """
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey

    text = value.replace("\\n", "\n")
    if "PRIVATE KEY-----" not in text:
        try:
            text = _content(value).decode("ascii")
        except (OSError, ValueError):
            raise InvalidSetting(PEM_RULE) from None
    key = _private_key(text)
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise InvalidSetting(f"{PEM_RULE}; it must be of the curve P-256, as Apple's .p8 files are")
    return Secret(text)


def service_account(value: str) -> Secret:
    """The JSON text of the key of a Google service account."""
    _check_rsa(_account(value))
    return Secret(value)


def firebase_account(value: str) -> Secret:
    """A service account that names its project, or the name of its file."""
    text = value
    if not value.startswith("{"):
        try:
            text = _content(value).decode()
        except (OSError, ValueError):
            raise InvalidSetting(
                "must be the JSON text of a key, or the name of its file"
            ) from None
    account = _account(text)
    if not re.fullmatch(r"[a-z0-9:.-]+", str(account.get("project_id"))):
        raise InvalidSetting("must have project_id")
    _check_rsa(account)
    return Secret(text)


def token_address(account: Secret) -> str:
    """Where the key of a service account is exchanged for access; empty for Google's default."""
    return str(json.loads(account.reveal()).get("token_uri") or "")


def certificates(value: str) -> tuple[bytes, ...]:
    """The files of a comma list, each one certificate, as DER."""
    from cryptography.x509 import load_der_x509_certificate

    roots: list[bytes] = []
    for name in items(value):
        try:
            content = _content(name)
        except (OSError, ValueError):
            raise InvalidSetting("must be a comma list of readable files") from None
        pem = re.search(rb"-----BEGIN CERTIFICATE-----(.+?)-----END", content, re.S)
        try:
            der = b64decode(b"".join(pem[1].split()), validate=True) if pem else content
            load_der_x509_certificate(der)
        except ValueError:
            raise InvalidSetting(CERTIFICATE_RULE) from None
        roots.append(der)
    return tuple(roots)


def check_tls_files(certificate: str, key: str) -> None:
    """Raises InvalidSetting where the server could not serve TLS with these two files."""
    import ssl

    for file in (certificate, key):
        if not Path(file).is_file():
            raise InvalidSetting("and TLS_KEY_FILE must name readable files")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ValueError):
        raise InvalidSetting(
            "and TLS_KEY_FILE must be a certificate chain and its unencrypted key, both in PEM"
        ) from None


def _content(file: str) -> bytes:
    """Raises OSError, and ValueError for what can be no file's name."""
    if not Path(file).is_file():  # a device would never end
        raise FileNotFoundError
    return Path(file).read_bytes()


def _account(text: str) -> Mapping[str, Any]:
    try:
        account: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidSetting(ACCOUNT_RULE) from None
    if not isinstance(account, dict) or not {"client_email", "private_key"} <= account.keys():
        raise InvalidSetting("must have client_email and private_key")
    account = cast("dict[str, Any]", account)
    for name in ("client_email", "private_key"):
        if not isinstance(account[name], str):
            raise InvalidSetting(f"{name} must be text")
    return account


def _check_rsa(account: Mapping[str, Any]) -> None:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    if not isinstance(_private_key(account["private_key"]), RSAPrivateKey):
        raise InvalidSetting("private_key must be an RSA key in PEM")


def _private_key(text: str) -> object:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(text.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it is encrypted
        raise InvalidSetting("must hold an unencrypted private key in PEM") from None
