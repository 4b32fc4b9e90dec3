"""Requests of account deletion."""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct, field

from cookcam.http import DOCUMENTED_AS_REQUIRED


class AccountDeletionRequest(Struct):
    """The password may come in the body or in a header; see `confirmation_in_header`."""

    confirm_password: str = field(name="confirmPassword", default="")

    def __repr__(self) -> str:
        return "DeletionRequest(...)"


class DeletionReceiptRequest(Struct):
    receipt: Annotated[str, DOCUMENTED_AS_REQUIRED] = ""


def confirmation_in_header(header: str | None) -> str:
    """The password in the header `confirmPassword`, as the shipped app sends it.

    Header bytes are decoded as Latin-1; the app sends UTF-8, or Latin-1 when that fails.
    """
    if header is None:
        return ""
    try:
        return header.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return header
