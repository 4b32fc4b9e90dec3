"""Keys of the fake providers: PEM texts, Google service accounts and their access tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast
from uuid import uuid4

import orjson
from attrs import frozen
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from quart import Response, request
from quart_trio import QuartTrio

from cookcam.sandbox.serving import json_response


def new_rsa_key() -> rsa.RSAPrivateKey:
    """Takes about 100 ms: call it in a thread."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem_of(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def verified_claims(token: str, key: Any, algorithm: str, **checks: Any) -> dict[str, Any] | None:
    """The claims of a token of that public key; None for any other. `checks` are PyJWT's."""
    import jwt

    try:
        return jwt.decode(token, key, algorithms=[algorithm], **checks)
    except jwt.PyJWTError:
        return None


@frozen
class ServiceAccount:
    """A Google service account that may ask for access tokens of one scope."""

    email: str
    project: str
    scope: str

    def key_file(self, key: rsa.RSAPrivateKey, token_uri: str) -> str:
        """The JSON text that Google Cloud issues."""
        return orjson.dumps(
            {
                "type": "service_account",
                "project_id": self.project,
                "private_key_id": "sandbox-account-key",
                "private_key": pem_of(key),
                "client_email": self.email,
                "client_id": "100000000000000000001",
                "token_uri": token_uri,
            }
        ).decode()

    def include_token_endpoint(
        self,
        app: QuartTrio,
        keys: Callable[[], Iterable[rsa.RSAPrivateKey]],
        token_uri: str,
        issued: list[str],
    ) -> None:
        """Add `POST /token` (RFC 7523) to an application; its access tokens are in `issued`.

        `keys` returns the account's keys, of which each may sign.
        """

        @app.post("/token")
        async def token() -> Response:
            assertion = str((await cast("Any", request).form)["assertion"])
            checks = {"audience": token_uri, "issuer": self.email}
            verified = (
                verified_claims(assertion, key.public_key(), "RS256", **checks) for key in keys()
            )
            claims = next((one for one in verified if one is not None), None)
            if (
                claims is None
                or claims["scope"] != self.scope
                or claims["exp"] - claims["iat"] > 3600
            ):
                return json_response({"error": "invalid_grant"}, 400)
            issued.append(f"ya29.{uuid4().hex}")
            granted = {"access_token": issued[-1], "expires_in": 3599, "token_type": "Bearer"}
            return json_response(granted)
