"""Keys of the fake push services: a service account of Google's, and a key for APNs."""

from __future__ import annotations

from attrs import field, frozen
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from cookcam.sandbox.keys import ServiceAccount, new_rsa_key, pem_of

PROJECT = "cookcam-sandbox"
SERVICE_ACCOUNT = ServiceAccount(
    "firebase-adminsdk@sandbox.iam.gserviceaccount.com",
    PROJECT,
    "https://www.googleapis.com/auth/firebase.messaging",
)
KEY_ID, TEAM_ID = "SANDBOXAPN", "SANDBOXTEA"


@frozen
class Keys:
    account: rsa.RSAPrivateKey = field(repr=False)
    apns: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def make(cls) -> Keys:
        return cls(new_rsa_key(), ec.generate_private_key(ec.SECP256R1()))

    def service_account(self, token_uri: str) -> str:
        return SERVICE_ACCOUNT.key_file(self.account, token_uri)

    @property
    def p8(self) -> str:
        """The text of the key file that Apple issues."""
        return pem_of(self.apns)
