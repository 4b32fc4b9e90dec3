"""Secrets that exist at run time only: error reports quote source lines, which hold none."""

from __future__ import annotations

import base64
import json
from secrets import token_hex

from attrs import field, frozen


def _opaque() -> str:
    return token_hex(12)


def _jwt() -> str:
    def part(claims: dict[str, str]) -> str:
        return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")

    return f"{part({'alg': 'HS256'})}.{part({'sub': token_hex(8)})}.{token_hex(16)}"


def _email() -> str:
    return f"ann.{token_hex(4)}@mail.example.org"


@frozen
class Seeds:
    """One secret of every kind. Those without a shape are known only by the name beside them."""

    password: str = field(factory=_opaque)
    refresh: str = field(factory=_opaque)
    session: str = field(factory=_opaque)
    card: str = field(factory=lambda: f"4{int(token_hex(6), 16):015d}"[:16])
    receipt: str = field(factory=_opaque)
    database: str = field(factory=_opaque)
    code: str = field(factory=_opaque)
    jwt: str = field(factory=_jwt)
    stripe: str = field(factory=lambda: f"sk_live_{token_hex(12)}")
    webhook: str = field(factory=lambda: f"whsec_{token_hex(12)}")
    openai: str = field(factory=lambda: f"sk-proj-{token_hex(12)}")
    email: str = field(factory=_email)

    @property
    def shaped(self) -> dict[str, str]:
        """Those that are recognised wherever they stand."""
        return {
            "jwt": self.jwt,
            "bearer": f"Bearer {self.session}",
            "stripe": self.stripe,
            "webhook": self.webhook,
            "openai": self.openai,
            "email": self.email,
            "database": f"postgresql://cookcam:{self.database}@db.internal:5432/cookcam",
            "query": f"/callback?code={self.code}&next=/home",
        }

    @property
    def named(self) -> dict[str, object]:
        """Those that are known by their key, nested in every way."""
        return {
            "confirmPassword": self.password,
            "profile": {"refresh_token": self.refresh, "cards": [{"cardNumber": self.card}]},
            "headers": [
                ("authorization", f"Token {self.session}"),
                (b"Cookie", b"sid=" + self.session.encode()),
            ],
            "purchase": ({"purchaseToken": self.receipt},),
            "DATABASE_URL": self.database,
        }

    def in_text(self, text: str) -> list[str]:
        """The names of the secrets that stand in `text`; parts of them count."""
        parts = {
            "password": self.password,
            "refresh": self.refresh,
            "session": self.session,
            "card": self.card,
            "receipt": self.receipt,
            "database": self.database,
            "code": self.code,
            "jwt": self.jwt.split(".")[2],
            "jwt claims": self.jwt.split(".")[1],
            "stripe": self.stripe.removeprefix("sk_live_"),
            "webhook": self.webhook.removeprefix("whsec_"),
            "openai": self.openai.removeprefix("sk-proj-"),
            "email": self.email.partition("@")[0],
        }
        return [name for name, part in parts.items() if part in text]
