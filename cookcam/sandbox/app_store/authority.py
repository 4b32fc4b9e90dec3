"""A certificate authority like Apple's: a root, an intermediate and a leaf with extensions."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import field, frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LEAF_MARK = x509.ObjectIdentifier("1.2.840.113635.100.6.11.1")
INTERMEDIATE_MARK = x509.ObjectIdentifier("1.2.840.113635.100.6.2.1")

BEGINS = datetime(2020, 1, 1, tzinfo=UTC)
ENDS = datetime(2060, 1, 1, tzinfo=UTC)


@frozen
class Authority:
    """`root` is its certificate in DER; `sign` signs as the App Store does."""

    root: bytes
    _chain: list[str] = field(repr=False)
    _key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def make(cls, *, leaf_ends: datetime = ENDS, marked: bool = True) -> Authority:
        """With `leaf_ends` in the past the leaf has expired; without `marked` it lacks Apple's
        extensions."""
        root_key, root = _issue("Sandbox Root CA", None, None, None, ENDS)
        key, intermediate = _issue(
            "Sandbox Worldwide CA", root, root_key, INTERMEDIATE_MARK if marked else None, ENDS
        )
        leaf_key, leaf = _issue(
            "Sandbox Signing", intermediate, key, LEAF_MARK if marked else None, leaf_ends, ca=False
        )
        chain = [b64encode(_der(one)).decode() for one in (leaf, intermediate, root)]
        return cls(_der(root), chain, leaf_key)

    def sign(self, payload: Mapping[str, Any]) -> str:
        """A JWS with its chain in the header, as StoreKit 2 has it."""
        import jwt

        return jwt.encode(
            dict(payload), self._key, algorithm="ES256", headers={"x5c": self._chain, "typ": "JWT"}
        )


def _issue(
    name: str,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey | None,
    mark: x509.ObjectIdentifier | None,
    ends: datetime,
    *,
    ca: bool = True,
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = issuer_key or key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(BEGINS)
        .not_valid_after(max(ends, BEGINS + timedelta(days=1)))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .add_extension(
            x509.KeyUsage(
                digital_signature=not ca,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=ca,
                crl_sign=ca,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )
    if mark is not None:
        null = bytes((5, 0))
        builder = builder.add_extension(x509.UnrecognizedExtension(mark, null), critical=False)
    return key, builder.sign(signer, hashes.SHA256())


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)
