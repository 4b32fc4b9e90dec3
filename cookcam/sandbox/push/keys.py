"""The keys that the stand-in gives out: a service account of Google's, and a key for APNs."""

from __future__ import annotations

import orjson
from attrs import field, frozen
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

ACCOUNT = "firebase-adminsdk@sandbox.iam.gserviceaccount.com"
PROJECT = "cookcam-sandbox"
KEY_ID, TEAM_ID = "SANDBOXAPN", "SANDBOXTEA"


@frozen
class Keys:
    """Made once: an RSA key takes a while."""

    account: rsa.RSAPrivateKey = field(repr=False)
    apns: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def make(cls) -> Keys:
        return cls(
            rsa.generate_private_key(public_exponent=65537, key_size=2048),
            ec.generate_private_key(ec.SECP256R1()),
        )

    def service_account(self, token_uri: str) -> str:
        """The JSON text that Firebase gives out."""
        return orjson.dumps(
            {
                "type": "service_account",
                "project_id": PROJECT,
                "private_key_id": "sandbox-firebase-key",
                "private_key": _pem(self.account),
                "client_email": ACCOUNT,
                "client_id": "100000000000000000003",
                "token_uri": token_uri,
            }
        ).decode()

    @property
    def p8(self) -> str:
        """The text of the file that Apple gives out."""
        return _pem(self.apns)


def _pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
